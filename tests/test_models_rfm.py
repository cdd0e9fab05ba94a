"""RFM quintiles: where the edges lie, what falls on them, and that the stream keeps the published scores true."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import plain
from checks import raws
from deployment import Play, World
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from shops import T0

from models.rfm import Quintiles
from models.rows import RAW


def customers(recency: list[int], orders: list[int], spend: list[int]) -> NDArray[Any]:
    raw = np.zeros(len(recency), RAW)
    raw["recency"], raw["orders"], raw["spend"] = recency, orders, spend
    return raw


def test_a_fifth_of_all_customers_gets_each_score_where_nobody_ties() -> None:
    n = list(range(100))
    raw = customers(n, [100 - i for i in n], [i * 37 % 100 for i in n])
    scores = Quintiles.fit(raw).predict_many(raw)
    for digit in (scores // 100, scores // 10 % 10, scores % 10):
        assert np.bincount(digit).tolist() == [0, 20, 20, 20, 20, 20]
    assert scores[[0, 99]].tolist() == [551, 114]  # bought today and most often, the least spent; the other way round


def test_a_value_on_an_edge_belongs_to_the_fifth_below() -> None:
    """Half of all customers have one order, as in most shops: nobody scores 2."""
    raw = customers([0] * 10, [1, 1, 1, 1, 1, 2, 2, 3, 5, 9], [0] * 10)
    quintiles = Quintiles.fit(raw)
    assert quintiles.orders == (1, 1, 2, 3)
    assert (quintiles.predict_many(raw) // 10 % 10).tolist() == [1, 1, 1, 1, 1, 3, 3, 4, 5, 5]
    assert (quintiles.predict_many(raw) // 100).tolist() == [5] * 10
    assert (quintiles.predict_many(raw) % 10).tolist() == [1] * 10


@given(st.lists(st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 2, st.integers(-(2**63), 2**63 - 1)), min_size=1))
def test_scores_never_fall_when_a_customer_becomes_better(rows: list[tuple[int, int, int]]) -> None:
    raw = customers(*(list(column) for column in zip(*rows, strict=True)))
    quintiles = Quintiles.fit(raw)
    found = quintiles.predict_many(raw)
    assert found.tolist() == [plain.rfm(quintiles, each) for each in raw.tolist()]
    for name, digit in (("recency", -(found // 100)), ("orders", found // 10 % 10), ("spend", found % 10)):
        order = np.lexsort([digit, raw[name]])
        assert (np.diff(digit[order]) >= 0).all()
        ties = raw[name][:, None] == raw[name]
        assert (digit[:, None] == digit)[ties].all()
    assert Quintiles.restore(json.loads(json.dumps(quintiles.snapshot()))) == quintiles


def test_without_a_fit_nobody_is_above_anything() -> None:
    assert set(Quintiles().predict_many(raws(20)).tolist()) == {511}


def test_a_sweep_lowers_the_recency_of_the_silent(play: Play, shop: Path) -> None:
    """Mutation caught: a sweep that does not look at RFM: the silent would keep their score until their landmark."""

    async def scenario(world: World) -> None:
        part = await world.located()
        before = {name: world.customer(name)["rfm"] for name in part.table.index}
        assert len(set(before.values())) > 5
        for day in range(T0 + 1, T0 + 25):
            world.log.tick(day)
            await world.catch_up(part)
            every = np.arange(len(part.table))
            now = part.serving.model.rfm.predict_many(part.table.observe(every, day)).tolist()
            for name, score in zip(part.table.names, now, strict=True):
                assert world.customer(name)["rfm"] == "-".join(str(score))
        assert sum(world.customer(name)["rfm"] != text for name, text in before.items()) > 20

    play(scenario, shop)
