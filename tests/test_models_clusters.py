"""Cluster numbers through retrains: kept where a cluster goes on, and never given twice (`Clusters.continuing`)."""

import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.clusters import Clusters

Floats = NDArray[np.float64]

FIVE = np.array([[-2, 2, 2], [-2, -1, -1], [0, 0.5, 0.5], [2, -2, -2], [2, 2, 2]], float)
LETTERS = "abcdefghij"


def fitted(unscaled: Floats, clusters: Sequence[int] | None = None, mean: float = 0.0, sd: float = 1.0) -> Clusters:
    """Clusters at these unscaled centres, under a scaler of their own; descriptions and sizes follow the centres."""
    k = len(unscaled)
    given = range(k) if clusters is None else clusters
    return Clusters((unscaled - mean) / sd, [mean] * 3, [sd] * 3, 30.0, given, LETTERS[:k], range(k))


def places(given: Clusters) -> dict[int, tuple[float, ...]]:
    """Where each number stands, unscaled."""
    unscaled = given.centres * given.sd + given.mean
    return dict(zip(given.numbers, map(tuple, unscaled.round(6).tolist()), strict=True))


def test_a_shuffled_and_slightly_moved_refit_keeps_its_numbers_whatever_its_scaler() -> None:
    old = fitted(FIVE, [0, 1, 3, 7, 9])
    for order in itertools.permutations(range(5)):
        new = fitted(FIVE[list(order)] + 0.1, mean=3.0, sd=5.0).continuing(old)
        assert new.numbers == [0, 1, 3, 7, 9]
        assert places(new) == {n: tuple(centre + 0.1) for n, centre in zip(old.numbers, FIVE, strict=True)}
        assert [LETTERS[order.index(i)] for i in range(5)] == new.told
        assert [order.index(i) for i in range(5)] == new.sizes


@pytest.mark.parametrize("columns", [[0, 1, 2], [1, 2, 0]])
def test_what_goes_on_is_told_by_where_it_stands_unscaled(columns: list[int]) -> None:
    """Mutation caught: scaled centres compared; one scaler for all columns and of as many clusters finds the same."""
    old, new = np.array([[0, 0, 0], [1, 10, 0]], float)[:, columns], np.array([[1.2, 1, 0], [0, 9, 0]])[:, columns]
    sd = np.array([0.1, 10, 1])[columns]
    for order, numbers in (([0, 1], [4, 6]), ([1, 0], [4, 6])):
        refit = Clusters(new[order] / sd, [0] * 3, sd, 30.0, [0, 1], "ab", [0, 1])
        assert places(refit.continuing(fitted(old, numbers))) == dict(zip(numbers, map(tuple, new), strict=True))


def test_numbers_that_meant_something_else_are_left_behind() -> None:
    """Mutations caught: the first of them given again; one of those that come left out."""
    for unused in (5, 8):
        new = fitted(FIVE).after(unused)
        assert (new.numbers, new.unused) == ([*range(unused, unused + 5)], unused + 5)
        assert places(new) == {unused + i: tuple(centre) for i, centre in enumerate(FIVE)}


def test_a_larger_k_takes_unused_numbers() -> None:
    new = fitted(FIVE[::-1]).continuing(fitted(FIVE[:3]))
    assert new.numbers == [0, 1, 2, 3, 4]
    assert places(new) == places(fitted(FIVE[[0, 1, 2, 4, 3]]))


def test_a_number_that_was_retired_never_comes_back() -> None:
    """Five segments, then two, then five again: the three that vanished keep their numbers to themselves."""
    two = fitted(FIVE[[4, 1]]).continuing(fitted(FIVE))
    assert two.numbers == [1, 4]
    five = fitted(FIVE).continuing(two)
    assert set(five.numbers) == {1, 4, 5, 6, 7}
    assert {n: places(five)[n] for n in (1, 4)} == {1: tuple(FIVE[1]), 4: tuple(FIVE[4])}
    one = fitted(FIVE[[1]]).continuing(five)
    assert fitted(FIVE[:2]).continuing(one).numbers == [1, 8]


def test_what_was_given_is_remembered_through_learning_and_redis() -> None:
    """The last number vanishes; the trainer's versions since then are all that the next publish sees."""
    kept = fitted(FIVE[:4]).continuing(fitted(FIVE))
    restored = Clusters.restore(json.loads(json.dumps(kept.snapshot())))
    assert (restored.numbers, restored.unused) == ([0, 1, 2, 3], 5)
    assert fitted(FIVE).continuing(restored).numbers == [0, 1, 2, 3, 5]


def test_continuing_changes_neither_the_old_nor_the_new() -> None:
    old, new = fitted(FIVE), fitted(FIVE[::-1][:3])
    before = old.snapshot(), new.snapshot()
    new.continuing(old)
    assert (old.snapshot(), new.snapshot()) == before


def test_unused_must_be_above_every_number() -> None:
    with pytest.raises(ValueError, match="4 cannot be unused, 4 is the last one"):
        Clusters(FIVE, [0] * 3, [1] * 3, 30.0, range(5), LETTERS[:5], [0] * 5, 4)


distinct = st.lists(st.tuples(*[st.integers(0, 40).map(lambda n: n / 4)] * 3), min_size=1, max_size=8, unique=True).map(
    lambda rows: np.array(rows, float)
)


@given(st.lists(distinct, min_size=2, max_size=6))
def test_whatever_retrains_come_numbers_are_distinct_and_never_given_twice(fits: list[Floats]) -> None:
    current, ever = fitted(fits[0]), set(range(len(fits[0])))
    for centres in fits[1:]:
        new = fitted(centres).continuing(current)
        kept = set(new.numbers) & set(current.numbers)
        assert len(kept) == min(len(new.numbers), len(current.numbers))
        assert not (set(new.numbers) - kept) & ever
        ever |= set(new.numbers)
        current = new


@given(distinct, distinct)
def test_old_and_new_are_matched_at_least_total_squared_distance(old: Floats, new: Floats) -> None:
    before, after = places(fitted(old)), places(fitted(new).continuing(fitted(old)))
    total = sum(np.subtract(before[n], after[n]) @ np.subtract(before[n], after[n]) for n in before.keys() & after)
    if max(len(old), len(new)) <= 5:
        long, short = (old, new) if len(old) >= len(new) else (new, old)
        best = min(((long[list(p)] - short) ** 2).sum() for p in itertools.permutations(range(len(long)), len(short)))
        assert total == pytest.approx(best)
