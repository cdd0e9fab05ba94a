"""Metrics against hand-computed values, scikit-learn's and scipy's, and, for ties, against all orders."""

import itertools
import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, mean_poisson_deviance, root_mean_squared_error

from offline.demand import metrics

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]

pairs = st.lists(st.tuples(st.integers(0, 50), st.integers(-3, 9)), min_size=2, max_size=40).map(
    lambda rows: (np.array([y for y, _ in rows], float), np.array([p for _, p in rows], float))
)


def jittered_gini(y: Floats, p: Floats) -> float:
    """The plain way for distinct predictions: sort, accumulate, subtract the diagonal."""
    order = np.argsort(-p, kind="stable")
    return float((np.cumsum(y[order]) / y.sum() - np.arange(1, len(y) + 1) / len(y)).sum())


@given(pairs)
def test_sizes_of_errors_equal_scikit_learns(pair: Pair) -> None:
    y, p = pair
    assert metrics.mae(y, p) == pytest.approx(mean_absolute_error(y, p))
    assert metrics.rmse(y, p) == pytest.approx(root_mean_squared_error(y, p))
    floored = mean_poisson_deviance(y, np.maximum(p, 0.25))
    assert metrics.poisson_deviance(y, p, 0.25) == pytest.approx(floored, abs=1e-12)


@given(pairs)
def test_spearman_equals_scipys_where_scipy_has_one(pair: Pair) -> None:
    y, p = pair
    if np.ptp(y) and np.ptp(p):
        assert metrics.spearman(y, p) == pytest.approx(spearmanr(y, p).statistic)


def test_hand_computed() -> None:
    y, p = [0, 2, 10, 8], [1, 2, 6, 11]
    assert metrics.mae(y, p) == 2
    assert metrics.rmse(y, p) == pytest.approx(math.sqrt(26 / 4))
    assert metrics.wape(y, p) == 8 / 20
    assert metrics.bias(y, p) == 1
    # in order of p: 8, 10, 2, 0 of 20 against the diagonal 5, 10, 15, 20; at best 10, 8, 2, 0
    assert metrics.ngini(y, p) == pytest.approx((0.4 + 0.9 + 1 + 1 - 2.5) / (0.5 + 0.9 + 1 + 1 - 2.5))
    assert metrics.top_share(y, p, 0.25) == 0.4
    assert metrics.top_share(y, p, 0.375) == pytest.approx(0.65)
    assert metrics.top_share(y, p, 1) == 1
    assert metrics.poisson_deviance([3], [1], 0.01) == pytest.approx(2 * (3 * math.log(3) - 2))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2)), min_size=2, max_size=6))
def test_ties_are_the_mean_over_every_order(rows: list[tuple[int, int]]) -> None:
    """The exact average over all permutations, where `jittered_gini` keeps tied rows in the order given."""
    y, p = np.array([y for y, _ in rows], float), np.array([p for _, p in rows], float)
    if not np.ptp(y):
        return
    orders = [list(order) for order in itertools.permutations(range(len(y)))]
    best = jittered_gini(y, y)
    mean = np.mean([jittered_gini(y[o], p[o]) for o in orders])
    assert metrics.ngini(y, p) == pytest.approx(mean / best, rel=1e-9, abs=1e-9)
    half = len(y) // 2
    tops = [y[o][np.argsort(-p[o], kind="stable")[:half]].sum() / y.sum() for o in orders]
    assert metrics.top_share(y, p, half / len(y)) == pytest.approx(np.mean(tops), rel=1e-9, abs=1e-9)


def test_ngini_equals_a_seeded_jitter_on_a_zero_inflated_log() -> None:
    rng = np.random.default_rng(7)
    y = np.where(rng.random(20_000) < 0.9, 0, rng.lognormal(3, 1, 20_000))
    p = np.round(np.where(y > 0, y, 0) * rng.random(20_000) + rng.random(20_000), 1)
    jitter = rng.random(20_000) * 1e-7
    assert metrics.ngini(y, p) == pytest.approx(jittered_gini(y, p + jitter) / jittered_gini(y, y), abs=1e-3)


@given(pairs, st.randoms(use_true_random=False))
def test_no_figure_depends_on_the_order_of_rows(pair: Pair, random: Random) -> None:
    y, p = pair
    order = list(range(len(y)))
    random.shuffle(order)
    one = metrics.compare(y, {"p": p}, 0.1)
    other = metrics.compare(y[order], {"p": p[order]}, 0.1)
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@given(pairs)
def test_ranges(pair: Pair) -> None:
    y, p = pair
    row = metrics.compare(y, {"p": p}, 0.1).iloc[0]
    assert row["mae"] >= 0
    assert row["rmse"] >= row["mae"] - 1e-12
    assert row["deviance"] >= 0
    for name, low in (("spearman", -1), ("ngini", -1), ("top_share", 0)):
        assert math.isnan(row[name]) or low - 1e-9 <= row[name] <= 1 + 1e-9


def test_a_prediction_that_says_nothing_ranks_nothing() -> None:
    y = [0, 1, 5, 2]
    assert metrics.ngini(y, [3, 3, 3, 3]) == 0
    assert metrics.spearman(y, [3, 3, 3, 3]) == 0
    assert metrics.top_share(y, [3, 3, 3, 3], 0.5) == pytest.approx(0.5)


def test_nothing_spent_leaves_figures_undefined() -> None:
    frame = metrics.compare([0, 0, 0], {"p": [1, 2, 3], "alike": [1, 1, 1]}, 0.1)
    undefined = [str(name) for name in frame if frame[name].isna().all()]
    assert undefined == ["wape", "spearman", "ngini", "top_share", "bias"]


def test_a_share_is_told_up_to_ten_times() -> None:
    assert [metrics.share(less) for less in (-10.0, -10.001)] == ["1000.0% ", ""]


def test_compare_names_rows_and_columns_in_order() -> None:
    frame = metrics.compare([0, 4, 2], {"zero": [0, 0, 0], "exact": [0, 4, 2], "back": [4, 0, 2]}, 0.01)
    assert list(frame.index) == ["zero", "exact", "back"]
    assert frame.index.name == "model"
    assert list(frame) == ["mae", "rmse", "wape", "deviance", "spearman", "ngini", "top_share", "bias"]
    assert frame["ngini"].tolist() == pytest.approx([0, 1, -1])
    assert frame["spearman"].tolist() == pytest.approx([0, 1, -1])
    assert frame["wape"].tolist() == pytest.approx([1, 0, 8 / 6])
    assert frame["bias"].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("y", "p"), [([], []), ([1], [1, 2]), ([[1]], [[1]]), ([1, math.nan], [1, 1]), ([1, 1], [1, math.inf]), ([-1], [1])]
)
def test_what_is_no_pair_of_labels_and_predictions_is_refused(y: ArrayLike, p: ArrayLike) -> None:
    with pytest.raises(ValueError, match="labels"):
        metrics.mae(y, p)


def test_floor_and_share_have_bounds() -> None:
    with pytest.raises(ValueError, match="floor"):
        metrics.poisson_deviance([1], [1], 0)
    with pytest.raises(ValueError, match="share"):
        metrics.top_share([1], [1], 0)


@pytest.mark.parametrize(("n", "tenths"), [(3, [4, 7, 10]), (7, [2, 3, 5, 6, 8, 9, 10]), (10, [*range(1, 11)])])
def test_each_customer_stands_in_the_tenth_of_its_rank(n: int, tenths: list[int]) -> None:
    """Where they do not come out even, too. Mutation caught: ranks rounded down, so that the least are in none."""
    predicted, labels = np.arange(1.0, n + 1), np.arange(n, 0, -1.0)
    table = metrics.deciles(labels, {"model": predicted})["model"]
    assert table.index.tolist() == [*range(1, 11)]
    table = table.dropna()
    assert table.index.tolist() == tenths
    assert table["predicted"].tolist() == predicted.tolist()
    assert table["actual"].tolist() == labels.tolist()
    held = metrics.covered(labels, predicted, labels - (predicted == n)).dropna()
    assert held.to_dict() == dict(zip(tenths, [1.0] * (n - 1) + [0.0], strict=True))
