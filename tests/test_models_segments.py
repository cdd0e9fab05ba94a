"""Segments say what is true of each customer who bears their name, by the sentences that a marketer reads."""

import json
import re
from typing import Any

import numpy as np
import plain
import pytest
from checks import extremes, raws, segments
from hypothesis import given
from hypothesis import strategies as st

from models.features import UNIT
from models.rows import RAW
from models.segments import (
    AT_RISK,
    CHAMPIONS,
    FRESH,
    LONG,
    LOST,
    LOYAL,
    NAMES,
    NEW,
    ONE_TIME,
    PROMISING,
    Segments,
)

facts = st.tuples(
    st.integers(1, 60), st.integers(0, 3000), st.integers(0, 3000), st.integers(-(10**9), 10**9)
)  # days, days from the first to the last purchase, since the last, spend
rules = st.builds(
    Segments,
    st.floats(0.2, 400, allow_nan=False),
    st.floats(0.1, 3, allow_nan=False),  # a fit finds 1.25 or more; the rule holds of any
    st.integers(1, 10**8),
)


def customers(*each: tuple[int, int, int, int]) -> Any:
    """(n,) RAW of (days, days from first to last, since the last, spend)."""
    raw = np.zeros(len(each), RAW)
    for row, (days, span, recency, spend) in zip(raw, each, strict=True):
        row["days"], row["tenure"], row["recency"], row["spend"] = days, span + recency, recency, spend
    return raw


def sentence(name: str, text: str, days: int, span: int, recency: int, spend: int) -> bool:
    """Is the sentence of a segment true of a customer? It is read as a person reads it, numbers and all."""
    numbers = {
        word: float(n.replace(",", "")) for n, word in re.findall(r"([\d,.]+) (usual gaps|days ago|or more)", text)
    }
    shop = re.search(r"one of the shop's ([\d.]+) days", text)
    usual = max(1.0, (float(shop[1]) + span) / days) if shop else np.nan
    own = span / (days - 1) if days > 1 else 0.0
    in_time = recency / usual <= numbers.get("usual gaps", np.inf) or recency <= own
    late = recency / usual > numbers.get("usual gaps", 0) and recency > own
    spent = re.search(r"spent (?:less than )?([\d,.]+)", text)
    top = round(float(spent[1].replace(",", "")) * UNIT) if spent else 0
    return {
        "Champions": days >= 3 and in_time and spend >= top,
        "Loyal": days >= 3 and in_time and spend < top,
        "Promising": days == 2 and in_time,
        "New": days == 1 and recency <= numbers.get("days ago", 0),
        "At risk": days >= 2 and late,
        "One-time": days == 1 and recency > numbers.get("days ago", 0),
        "Lost": late and recency > LONG,
    }[name]


@given(rules, st.lists(facts, min_size=1, max_size=20))
def test_what_a_name_says_is_true_of_everybody_who_bears_it(
    rule: Segments, some: list[tuple[int, int, int, int]]
) -> None:
    """Mutations caught: a bound of another segment's; a gap that is not the customer's."""
    rule = Segments(round(rule.gap, 1), round(rule.late, 2), rule.top // 100 * 100 + 100)  # as the fit leaves it
    some = [(days, span if days > 1 else 0, recency, spend) for days, span, recency, spend in some]
    for each, found in zip(some, rule.predict_many(customers(*some)).tolist(), strict=True):
        assert sentence(NAMES[found], f"{rule.definitions()[found]}; {rule.usual()}", *each), (NAMES[found], each)


@given(rules, st.lists(facts, min_size=1, max_size=20))
def test_the_compiled_rule_is_the_plain_one(rule: Segments, some: list[tuple[int, int, int, int]]) -> None:
    raw = customers(*some)
    assert rule.predict_many(raw).tolist() == [plain.segment(rule, each) for each in raw.tolist()]


@given(rules, st.integers(0, FRESH), st.integers(-(10**9), 10**9))
def test_who_bought_once_in_the_last_two_weeks_is_new(rule: Segments, recency: int, spend: int) -> None:
    assert rule.predict_many(customers((1, 0, recency, spend))).tolist() == [NEW]


def test_the_last_day_on_which_who_bought_once_is_new_for_sure() -> None:
    """Two weeks to the day, however short the shop's gap. Mutation caught: one day fewer, or more."""
    found = Segments(5.0, 2.0, 1).predict_many(customers((1, 0, FRESH, 9), (1, 0, FRESH + 1, 9)))
    assert (found.tolist(), FRESH) == ([NEW, ONE_TIME], 14)


def test_the_last_day_on_which_nobody_is_lost() -> None:
    """90 days, however short the gaps. Mutation caught: one day fewer, or more."""
    once, twice = [(1, 0, LONG + day, 9) for day in (0, 1)], [(2, 3, LONG + day, 9) for day in (0, 1)]
    found = Segments(5.0, 2.0, 1).predict_many(customers(*once, *twice))
    assert (found.tolist(), LONG) == ([ONE_TIME, LOST, AT_RISK, LOST], 90)


@pytest.mark.parametrize(("gap", "day"), [(20.6, 20), (14.9, 14), (33.5, 33)])
def test_the_day_that_a_definition_names_is_the_last_of_who_is_new(gap: float, day: int) -> None:
    """Mutation caught: the shop's gap rounded up."""
    rule = Segments(gap, 2.0, 1)
    assert f"at most {day} days ago" in rule.definitions()[NEW]
    assert f"more than {day} days ago" in rule.definitions()[ONE_TIME]
    assert rule.predict_many(customers((1, 0, day, 9), (1, 0, day + 1, 9))).tolist() == [NEW, ONE_TIME]


@given(rules, st.integers(2, 60), st.integers(1, 3000), st.integers(0, 10**9), st.data())
def test_nobody_is_at_risk_or_lost_before_the_own_mean_gap_has_passed(
    rule: Segments, days: int, span: int, spend: int, data: st.DataObject
) -> None:
    """Who pays yearly is not late after two months. Mutation caught: `overdue` left out."""
    recency = data.draw(st.integers(0, span // (days - 1)))
    assert rule.predict_many(customers((days, span, recency, spend)))[0] not in (AT_RISK, LOST)


def test_a_customer_walks_through_the_segments_by_what_they_do() -> None:
    rule = Segments(30.0, 2.0, 5_000_000)
    walk = [
        ((1, 0, 1, 120_000), NEW),
        ((1, 0, 30, 120_000), NEW),
        ((1, 0, 31, 120_000), ONE_TIME),
        ((1, 0, 121, 120_000), LOST),
        ((2, 31, 0, 300_000), PROMISING),
        ((2, 31, 61, 300_000), PROMISING),
        ((2, 31, 62, 300_000), AT_RISK),
        ((3, 60, 10, 4_999_999), LOYAL),
        ((3, 60, 10, 5_000_000), CHAMPIONS),
        ((3, 60, 61, 5_000_000), AT_RISK),
        ((3, 60, 121, 5_000_000), LOST),
        ((12, 4015, 675, 5_000_000), AT_RISK),
        ((12, 4015, 674, 5_000_000), CHAMPIONS),
    ]
    found = rule.predict_many(customers(*(each for each, _ in walk))).tolist()
    assert [NAMES[n] for n in found] == [NAMES[n] for _, n in walk]


def test_any_numbers_have_a_segment() -> None:
    for raw in (raws(2000), extremes()):
        assert set(segments().predict_many(raw).tolist()) <= {*range(len(NAMES))}


def test_the_dearest_champion_that_a_number_can_hold_is_told() -> None:
    rule = Segments(top=(1 << 63) - 1)
    spent = customers((3, 60, 10, (1 << 63) - 1), (3, 60, 10, (1 << 63) - 2))
    assert rule.predict_many(spent).tolist() == [CHAMPIONS, LOYAL]


def test_a_rule_comes_back_from_its_snapshot() -> None:
    mine = Segments(12.25, 1.5, 700, ["a", "b", "c", "d", "e", "f", "g"], [7, 6, 5, 4, 3, 2, 1])
    state = json.loads(json.dumps(mine.snapshot()))
    assert Segments.restore(state).snapshot() == mine.snapshot()


@pytest.mark.parametrize(
    "given_",
    [
        {"gap": 0},
        {"late": float("nan")},
        {"gap": float("inf")},
        {"names": ["a"] * 7},
        {"names": list("abc")},
        {"sizes": [1]},
        *({"top": top} for top in (0, -5, 1 << 63, 1e20, float("nan"), float("inf"))),
    ],
)
def test_what_does_not_fit_together_is_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^segments: "):
        Segments(**given_)
