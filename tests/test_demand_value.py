"""`offline fit` tells twelve months ahead: by what it knew at each cut alone, moved by no giant, judged and said."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.logs import Shop, generated
from models.cadence import CELLS, cells
from models.features import UNIT
from models.kinds import PURCHASE
from models.rows import DAY, RAW
from models.value import SIMPLE, YEAR, Value
from offline.demand import customer_value as job
from offline.demand.customer_value import Judged, Past, Window
from offline.history.fold import Day, Folded, fold

HORIZON, LONG = 30, 560  # days of the shop


def folded_of(frame: pd.DataFrame, day: int) -> Folded:
    return fold(frame[frame["occurred_at"] < day * DAY], day, HORIZON)


@pytest.fixture(scope="module")
def shop() -> tuple[pd.DataFrame, int]:
    """(events, cut-off) of 300 customers, of whom everybody leaves some day."""
    log = generated(Shop(days=LONG, customers=300, leaves=True), 5)
    return log.frame, log.end


@pytest.fixture(scope="module")
def past(shop: tuple[pd.DataFrame, int]) -> Past:
    return Past(folded_of(*shop).days, HORIZON)


@pytest.fixture(scope="module")
def calm(shop: tuple[pd.DataFrame, int], past: Past) -> pd.Series:
    """What is served of everybody."""
    folded = folded_of(*shop)
    return job.served(folded, HORIZON, model=past.model(shop[1]))[0]


def state(value: Value) -> str:
    return json.dumps(value.snapshot())


# ---- windows ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("span", "horizon", "days"), [(60, 30, None), (91, 30, 30), (400, 30, 120), (2000, 30, 360), (1500, 90, 360)]
)
def test_windows_are_a_third_in_whole_horizons_and_end_by_the_cut_off(
    span: int, horizon: int, days: int | None
) -> None:
    entries = np.zeros(0, [("now", RAW), ("row", np.int64)])
    found = job.windows(Past([(1000, [], entries)], horizon), 1000 + span)
    assert [each.days for each in found] == ([days, days] if days else [])
    if days:
        last, before = found
        assert last.cut + horizon - 1 + days == 1000 + span  # the last opening's last day
        assert last.cut - before.cut == days // 2


def test_a_year_ago_is_asked_where_something_was_known_then() -> None:
    entries = np.zeros(0, [("now", RAW), ("row", np.int64)])
    assert job.year_ago(Past([(0, [], entries)], 30), 538) is None
    assert job.year_ago(Past([(0, [], entries)], 30), 539) == Window(150, 360)
    assert job.year_ago(Past([], 30), 10_000) is None


def test_what_came_is_the_net_spend_from_the_opening_on(shop: tuple[pd.DataFrame, int], past: Past) -> None:
    """Beside a plain loop over the events of each customer."""
    frame, end = shop
    window = job.windows(past, end)[0]
    raw, row = past.standing(window.cut)
    _, came = job._came(past, window)
    names = folded_of(*shop).table.names
    opened = {entry["row"]: day for day, _, entries in past.days for entry in entries
              if window.cut <= day < window.cut + HORIZON}  # fmt: skip
    events = dict(iter(frame.groupby("customer_id")))
    for i in range(0, len(raw), 7):
        mine, begin = events[names[row[i]]], opened[row[i]] * DAY
        within = mine["occurred_at"].between(begin, begin + window.days * DAY - 1)
        assert came[i] == pytest.approx(mine["amount"][within].sum() / UNIT)
    assert came.any()


# ---- no leak ---------------------------------------------------------------------------------------------------------
def lying(days: list[Day], after: int) -> list[Day]:
    """From day `after` on everything is another: labels, features of the opening and of the closing."""
    lies = []
    for day, names, entries in days:
        told = entries.copy()
        if day >= after:
            told["label"], told["orders"] = told["label"] * 50 + 7 * int(UNIT), 9
            for side in ("now", "then"):
                told[side]["spend"] = told[side]["spend"] * 3 + day * int(UNIT)
                told[side]["days"], told[side]["s90"], told[side]["n90"] = 40, 1e9, 30.0
        lies.append((day, names, told))
    return lies


def test_a_fit_knows_nothing_of_what_comes_after_its_cut(shop: tuple[pd.DataFrame, int], past: Past) -> None:
    """Planted in labels, in features of openings and closings, and so in every scale, usual day, cap and weight."""
    cut = shop[1] - 90
    honest = job.fit(past, cut)
    assert state(job.fit(Past(lying([*past.days], cut + 1), HORIZON), cut)) == state(honest)
    seen = Past(lying([*past.days], cut), HORIZON)  # a day earlier, and it is no longer the future
    assert seen.model(cut).snapshot() != past.model(cut).snapshot()


def test_what_is_judged_moves_the_bias_alone(shop: tuple[pd.DataFrame, int], past: Past) -> None:
    """Ten times the spend within the last window: what was predicted of it stays, to the bit."""
    last = job.windows(past, shop[1])[0]
    judged = job.judge(past, shop[1])
    more = []
    for day, names, entries in past.days:
        told = entries.copy()
        if day >= last.cut + last.days:
            _, begun = past.standing(last.cut)
            before = dict(zip(begun.tolist(), past.standing(last.cut)[0]["spend"].tolist(), strict=True))
            start = np.array([before.get(row, 0) for row in told["row"].tolist()])
            told["now"]["spend"] = start + 10 * (told["now"]["spend"] - start)
        more.append((day, names, told))
    again = job.judge(Past(more, HORIZON), shop[1])
    assert judged is not None
    assert again is not None
    assert again.bias == pytest.approx(judged.bias / 10, rel=1e-6)
    assert (judged.cut, judged.days) == (last.cut, last.days)


def test_a_past_model_is_that_of_a_fit_of_then(shop: tuple[pd.DataFrame, int], past: Past) -> None:
    """What is had from the landmarks of a whole history is what folding the shorter one gives: no second fold."""
    cut = shop[1] - 200
    shorter = Past(folded_of(shop[0], cut).days, HORIZON)
    assert shorter.model(cut).snapshot() == past.model(cut).snapshot()
    assert state(job.fit(shorter, cut)) == state(job.fit(past, cut))


# ---- giants ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ago", [100, 300])
def test_a_giant_order_does_not_raise_everybody(shop: tuple[pd.DataFrame, int], calm: pd.Series, ago: int) -> None:
    """Of ten millions among some of forty, by a customer of the first days: in a window, or in the level's year.
    Mutation caught: what came and what was expected without a cap."""
    frame, end = shop
    first, giant = (frame.iloc[[0]].assign(customer_id="giant", event_id=name, order_id=name) for name in "fg")
    first = first.assign(occurred_at=(end - LONG + 5) * DAY, amount=40 * int(UNIT))
    giant = giant.assign(occurred_at=(end - ago) * DAY, amount=10**7 * int(UNIT))
    struck = pd.concat([frame, first, giant]).sort_values("occurred_at", kind="stable", ignore_index=True)
    moved, *_ = job.served(folded_of(struck, end), HORIZON)
    assert (
        0.8 < moved.drop("giant").reindex(calm.index).sum() / calm.sum() < 1.25
    )  # of 100 to 200 judged, one counts 20 medians
    assert moved["giant"] < 1e6


# ---- the chain -------------------------------------------------------------------------------------------------------
def told_of(now: Any, then: Any, label: float, n: int = 400) -> list[Day]:
    entries = np.zeros(n, [("now", RAW), ("then", RAW), ("label", np.int64), ("orders", np.int32), ("open", np.int32)])
    entries["now"], entries["then"], entries["label"], entries["open"] = now, then, label * UNIT, 1
    return [(100, [], entries)]


def row(days: int, tenure: int, recency: int) -> Any:
    raw = np.zeros((), RAW)
    raw["days"], raw["tenure"], raw["recency"], raw["spend"] = days, tenure, recency, days * 20 * UNIT
    return raw


def test_who_stays_in_a_cell_brings_its_reward_every_horizon_and_who_leaves_once() -> None:
    """20.00 a horizon, a usual day: 12.17 of them, less what three examples of nothing take off; or one."""
    active, gone = row(5, 125, 5), row(5, 425, 300)
    at = int(cells(np.array([active]), HORIZON)[0])
    stays = job.chain(told_of(active, active, 20.0), 100, HORIZON, 20.0, 400.0, YEAR)
    leaves = job.chain(told_of(gone, active, 20.0), 100, HORIZON, 20.0, 400.0, YEAR)
    assert stays.shape == (CELLS,)
    assert stays[at] == pytest.approx(YEAR / HORIZON, rel=0.06)
    assert leaves[at] == pytest.approx(1, rel=0.01)
    assert job.chain([], 100, HORIZON, 20.0, 400.0, YEAR).tolist() == [0.0] * CELLS


# ---- what a fit leaves and says --------------------------------------------------------------------------------------
def test_a_shop_that_is_left_is_not_told_as_one_that_stays() -> None:
    """A year before the end of a log: demand x 12 tells far too much, what is served does not."""
    log = generated(Shop(days=900, customers=1500, leaves=True), 5)
    cut = log.end - 365
    folded = folded_of(log.frame, cut)
    value, model, _ = job.served(folded, HORIZON)
    later = log.frame[log.frame["occurred_at"] >= cut * DAY].groupby("customer_id")["amount"].sum()
    came = later.reindex(value.index, fill_value=0).sum() / UNIT
    assert 0.85 < value.sum() / came < 1.15
    assert model.predict_many(folded.raw).demand.sum() * YEAR / HORIZON / came > 1.15


def test_a_history_too_short_has_the_simple_form_and_says_so() -> None:
    rows = [(f"c{n}", day * DAY + n, 20_000) for n in range(30) for day in range(n % 9, 85, 11)]
    frame = pd.DataFrame(rows, columns=["customer_id", "occurred_at", "amount"]).sort_values("occurred_at")
    ids = [f"e{i}" for i in range(len(frame))]
    frame = frame.assign(event_id=ids, order_id=ids, kind=np.int8(PURCHASE))
    short = Past(folded_of(frame, 85).days, HORIZON)
    value = job.fit(short, 85)
    assert (value.weights, value.level) == (SIMPLE, 1.0)
    assert job.judge(short, 85) is None
    assert job.told(1234.5, None) == (
        "1,234 in the next 12 months, not judged: the history is too short for a window, or nothing was spent in it"
    )


def test_nobody_who_came_back_leaves_no_weight_to_who_still_buys() -> None:
    rows = [(f"c{n}", n * DAY // 2, 10_000 + n) for n in range(400)]
    frame = pd.DataFrame(rows, columns=["customer_id", "occurred_at", "amount"])
    ids = [f"e{i}" for i in range(len(frame))]
    folded = folded_of(frame.assign(event_id=ids, order_id=ids, kind=np.int8(PURCHASE)), 200)
    fitted = job.fit(Past(folded.days, HORIZON), 200)
    assert (fitted.buying, fitted.weights[1]) == (None, 0.0)
    assert np.isfinite(fitted.predict_many(folded.raw, np.ones(len(folded.raw)))).all()


@pytest.mark.parametrize(("bias", "usable"), [(0.79, False), (0.8, True), (1.0, True), (1.25, True), (1.26, False)])
def test_a_total_stands_beside_its_error_and_a_bias_beyond_is_said_first(bias: float, usable: bool) -> None:
    said = job.told(1000.0, Judged(0, 180, bias))
    assert f"1,000 in the next 12 months, {1000 / bias:,.0f} if it is as far off again" in said
    assert f"told {bias:.2f} times what came" in said
    assert said.startswith("not to be relied on: ") != usable
    assert "\n" not in said


@pytest.mark.parametrize(("level", "far"), [(0.79, False), (1.0, False), (1.25, False), (1.26, True), (2.0, True)])
@pytest.mark.parametrize("judged", [None, Judged(0, 180, 1.0), Judged(0, 180, 2.0)])
def test_a_level_that_raises_a_total_far_is_said_behind_it(judged: Judged | None, level: float, far: bool) -> None:
    said = job.told(1000.0, judged, level)
    raised = f"; raised {level:.2f} times by the last year, which is too much where little was known a year ago"
    assert said.endswith(raised) == far
    assert far or said == job.told(1000.0, judged)


def test_nothing_that_came_is_no_judgement(past: Past, shop: tuple[pd.DataFrame, int]) -> None:
    silent = []
    last = job.windows(past, shop[1])[0]
    for day, names, entries in past.days:
        told = entries.copy()
        if day >= last.cut + last.days:
            told["now"]["spend"] = 0
        silent.append((day, names, told))
    assert job.judge(Past(silent, HORIZON), shop[1]) is None


def outcome(said: list[float], came: list[float]) -> job.Outcome:
    """Of customers to whom the experts say these three, and each of whom spent one of those."""
    return job.Outcome(Value(30, 50.0, 400.0), np.array([said] * len(came)), np.array(came))


@pytest.mark.parametrize(
    ("came", "level"), [([4.5, 4.5], 1.5), ([1.0, 0.0], 0.5), ([2.0, 2.0], 1.0), ([9e9, 0.0], 2.0), ([0.0, 0.0], 0.5)]
)
def test_a_year_raises_by_the_root_of_what_it_brought_and_at_most_twice(came: list[float], level: float) -> None:
    """Mutations caught: the whole ratio; a spread without its ends."""
    assert job._level(outcome([2.0, 9.0, 9.0], came), (1.0, 0.0, 0.0)) == pytest.approx(level)


def test_an_expert_that_knows_nothing_has_no_weight() -> None:
    """Of a history of which MBG/NBD cannot be fitted it says 0. Mutation caught: a weight of it, which lowers all."""
    weights = job._weights([outcome([2.0, 0.0, 2.0], [1.0] * 9)], Value(30, 50.0, 400.0))
    assert weights[1] == 0
    assert sum(weights) == pytest.approx(1.0)
    assert job._weights([outcome([2.0, 0.0, 2.0], [0.0] * 9)], Value(30, 50.0, 400.0)) == SIMPLE


def test_the_level_is_of_the_last_year_where_a_history_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutations caught: none whatever the year brought; one of a year that nothing is known of."""
    monkeypatch.setattr(job, "_unweighed", lambda *_: Value(30, 50.0, 400.0))
    years = None, outcome([2.0, 9.0, 9.0], [4.5, 4.5])
    found = [job.fit(Past([], 30), 0, told=job.Outcomes([], year)) for year in years]
    assert [(value.weights, value.level) for value in found] == [(SIMPLE, 1.0), (SIMPLE, 1.5)]
