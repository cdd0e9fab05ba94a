"""The value of twelve months as it is served: bounds, what may move it and what may not, and its plain expectations."""

import json
from typing import Any

import numpy as np
import pytest
from checks import HORIZON, USUAL, clusters, extremes, raws, segments, untaught, valued
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.cadence import CELLS, a_day
from models.features import UNIT
from models.model import NEEDED, Model
from models.rows import RAW
from models.scales import in_own_scale
from models.value import SHAPE, SIMPLE, YEAR, Buying, Value
from offline.demand.buytilldie import HIGHEST, LOWEST, BuyTillDie, clv
from offline.demand.customer_value import while_alive

Array = NDArray[Any]
PARAMETER, SHARE = st.floats(LOWEST, HIGHEST), st.floats(0, 1)


def buying(model: BuyTillDie) -> Buying:
    near, far = (while_alive(model, days) for days in (HORIZON, YEAR))
    return Buying(model.r, model.alpha, model.a, model.b, near, far)


def value(**given_parts: Any) -> Value:
    return Value(HORIZON, USUAL, 700.0, **given_parts)


@given(
    st.tuples(PARAMETER, st.floats(1e-4, 1e8), PARAMETER, PARAMETER),
    st.tuples(SHARE, SHARE, SHARE),
    st.floats(0.5, 2),
    st.integers(0, 2**32 - 1),
)
def test_no_value_is_beyond_its_bounds(parameters: Any, weights: Any, level: float, seed: int) -> None:
    """Of any row that fits, under any parameters that a fit may find; nobody counts for more than the capped day."""
    table = np.random.default_rng(seed).uniform(-20, 9, (2, *SHAPE))
    part = value(buying=Buying(*parameters, *table), weights=weights, level=level, chain=np.full(CELLS, 99.0))
    raw = extremes(300)
    found = part.predict_many(raw, np.full(len(raw), 5.0))
    assert np.isfinite(found).all()
    assert found.min() >= 5  # the demand
    most = weights[0] * 5 * YEAR / HORIZON + (weights[1] * np.exp(9) + weights[2] * 99) * 700
    assert found.max() <= max(level * most, 5) * (1 + 1e-9)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 10**12), st.integers(0, 10**12))
def test_more_demand_and_more_spend_are_never_worth_less(a: float, b: float, spend: int, more: int) -> None:
    part, raw = valued(), raws(40, 3)
    low, high = np.full(40, min(a, b)), np.full(40, max(a, b))
    assert (part.predict_many(raw, low) <= part.predict_many(raw, high)).all()
    richer = raw.copy()
    raw["spend"], richer["spend"] = spend, spend + more
    assert (part.predict_many(raw, low) <= part.predict_many(richer, low)).all()


def test_what_it_does_not_hang_on_does_not_move_it() -> None:
    """Browsing, the last window and decayed sums come in with the demand alone."""
    part, raw = valued(), raws(200, 4)
    demand = np.arange(200.0)
    before = part.predict_many(raw, demand).tobytes()
    for name in ("window", "s30", "s90", "n30", "n90", "v7", "c7", "orders"):
        raw[name] = raw[name] * 7 + 3
    assert part.predict_many(raw, demand).tobytes() == before


def test_silence_makes_the_orders_of_who_came_back_worth_less() -> None:
    part, raw = value(buying=buying(BuyTillDie(0.6, 60, 0.6, 1.0, 1)), weights=(0, 1, 0)), np.zeros(50, RAW)
    raw["days"], raw["tenure"], raw["recency"], raw["spend"] = 5, 500, np.arange(0, 500, 10), 100 * UNIT
    assert (np.diff(part.predict_many(raw, np.zeros(50))) < 0).all()


@pytest.mark.parametrize("model", [BuyTillDie(0.62, 60.6, 0.55, 1.01, 1), BuyTillDie(0.05, 5, 0.01, 0.1, 1),
                                   BuyTillDie(5, 300, 2, 9, 1), BuyTillDie(1e-3, 1, 1e-3, 1, 1)])  # fmt: skip
def test_the_tables_say_what_the_model_says(model: BuyTillDie) -> None:
    """To half a percent: orders of the year, and of the year over those of the horizon."""
    raw, demand = raws(500, 5), np.full(500, 2.0)
    said = value(buying=buying(model)).experts(raw, demand)
    near, far = model.expected_orders([HORIZON, YEAR], *clv(raw)).T
    np.testing.assert_allclose(said[:, 1], far * a_day(raw, USUAL, 700.0), rtol=5e-3)
    np.testing.assert_allclose(said[:, 0], 2.0 * np.minimum(far / near, YEAR / HORIZON), rtol=8e-3)


def test_nobody_is_expected_to_speed_up() -> None:
    """(a) is at most the demand of every horizon of the year; it is just that where nothing else is known."""
    raw, demand, most = raws(300, 6), np.linspace(0, 50, 300), YEAR / HORIZON
    wild = Buying(1.0, 1.0, 1.0, 1.0, np.zeros(SHAPE), np.full(SHAPE, 9.0))
    np.testing.assert_allclose(value(buying=wild).experts(raw, demand)[:, 0], demand * most)
    np.testing.assert_allclose(value().predict_many(raw, demand), demand * most)
    assert value().weights == SIMPLE


def test_a_year_brings_no_less_than_its_first_horizon() -> None:
    """Whichever expert the mix follows, of a customer of whom that one knows nothing. Mutations caught: the mix alone;
    the demand of a window that ends within the horizon; none of one that is the horizon."""
    raw, demand = raws(300, 6), np.linspace(0, 5_000, 300)
    for weights in np.eye(3):
        part = value(weights=tuple(weights), chain=np.zeros(CELLS), level=0.5)
        assert (part.predict_many(raw, demand) >= demand).all()
    same = value(weights=(0, 0, 1), chain=np.zeros(CELLS), window=float(HORIZON))
    assert (same.predict_many(raw, demand) == demand).all()
    short = value(weights=(0, 0, 1), chain=np.zeros(CELLS), window=HORIZON - 1.0)
    assert not short.predict_many(raw, demand).any()


def test_a_model_that_was_not_fitted_carries_the_demand_on() -> None:
    model, raw = Model.create(9, np.empty(0), np.empty(0), 20.0, segments(), clusters(), 7), raws(100, 7)
    served = model.predict_many(raw)
    np.testing.assert_allclose(served.value, served.demand * YEAR / 7)


def test_the_year_is_told_from_the_demand_that_is_served() -> None:
    model, raw = untaught(), raws(100, 8)
    served = model.predict_many(raw)
    mine, scale = in_own_scale(raw, model.usual)
    np.testing.assert_allclose(served.value, model.value.predict_many(mine, served.demand / scale) * scale, rtol=1e-12)
    assert (scale > 1).any()
    assert "value" in NEEDED


def test_experts_are_added_in_their_order_to_the_bit() -> None:
    """What they say times their weights, from the first on, then the level. Mutations caught: from the last on; the
    level on each."""
    weights, level = (0.1, 0.2, 0.7), 1 / 3
    part = value(
        buying=buying(BuyTillDie(0.6, 60, 0.6, 1.0, 1)), weights=weights, level=level, chain=np.full(CELLS, 0.7)
    )
    raw, demand = raws(300, 11), np.linspace(0.1, 9, 300)
    a, b, c = (part.experts(raw, demand) * weights).T
    found = part.predict_many(raw, demand)
    assert found.tolist() == np.maximum(((a + b) + c) * level, demand).tolist()
    for other in ((a + (b + c)) * level, (b + (a + c)) * level, (a * level + b * level) + c * level):
        assert found.tolist() != other.tolist()


@pytest.mark.parametrize("with_tables", [True, False])
def test_a_snapshot_is_read_back_to_the_bit(with_tables: bool) -> None:
    part = valued() if with_tables else value(weights=(0.5, 0, 0.5), chain=np.arange(CELLS) / 3, level=1 / 3)
    text = json.dumps(part.snapshot())
    again = Value.restore(json.loads(text))
    assert json.dumps(again.snapshot()) == text
    raw, demand = raws(300, 9), np.linspace(0, 9, 300)
    assert again.predict_many(raw, demand).tobytes() == part.predict_many(raw, demand).tobytes()
    assert len(text) < 30_000


@pytest.mark.parametrize("name", ["chain", "weights", "near", "far"])
def test_tables_of_another_shape_are_refused(name: str) -> None:
    state = valued().snapshot()
    where = state["buying"] if name in ("near", "far") else state
    where[name] = where[name][:-1]
    with pytest.raises(ValueError, match=r"^value: tables of .*, not of "):
        Value.restore(state)


def test_a_giant_of_the_past_is_worth_a_capped_day_to_the_table() -> None:
    raw = raws(2, 10)
    raw[1] = raw[0]
    raw["spend"][1] = 10**7 * UNIT
    told = valued().experts(raw, np.full(2, 3.0))
    assert told[1, 1] / told[0, 1] <= 700 / a_day(raw, USUAL, 700.0)[0] * (1 + 1e-12)
