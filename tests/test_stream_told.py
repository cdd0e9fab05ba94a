"""Only what changed is written again, and a hash is whole all the same: each field as if all were written each time."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from deployment import Play, World
from hypothesis import given
from hypothesis import strategies as st
from shops import T0

from models import scores
from models.model import Predictions
from models.offers import Offers
from models.rows import DAY, ROW
from streams import told
from streams.told import Told

COMMON = ("30", "2026-11-29T10:45:52Z", "1-19980701-b2c34de8", "2")
NAMES = ["New", "Promising"]
ROWS, DAY_NOW = 3, 19_700
AMOUNT = st.sampled_from([0.0, 0.004, 0.005, 0.015, 0.125, 1.005, 2.675, 1e9 + 0.005, 3e15]) | st.floats(0, 1e7)
SMALL = st.integers(0, 1)
DAYS = st.integers(DAY_NOW - 400, DAY_NOW)


@st.composite
def writes(draw: st.DrawFn) -> tuple[int, int, Any, Any]:
    """(row, publish, its state, its predictions), of which few things differ from those of another draw."""
    state = np.zeros(1, ROW)
    for name in ("segment_before", "orders", "spend", "seen"):
        state[name] = draw(SMALL) + (name == "orders")
    for name in ("first", "last", "at"):
        state[name] = draw(DAYS) * DAY
    state["segment_since"] = draw(DAYS)
    amounts = sorted([draw(AMOUNT), draw(AMOUNT)])
    shares = draw(st.floats(0, 1)), draw(st.floats(0, 1)), draw(AMOUNT)
    segment, cluster, rfm = (np.array([each]) for each in (draw(SMALL), draw(SMALL), 111 + draw(SMALL)))
    floats = (one(amount) for amount in (*amounts, *shares))
    return draw(st.integers(0, ROWS - 1)), 1 + draw(SMALL), state, Predictions(segment, cluster, rfm, *floats)


def one(amount: float) -> Any:
    return np.array([amount])


def made(state: Any, predicted: Any) -> list[Any]:
    """The texts of a row."""
    return scores.texts(state, predicted, NAMES, Offers({}), 30, DAY_NOW, "t:0")


@given(st.lists(writes(), max_size=12))
def test_hashes_are_as_if_all_was_written_each_time(history: list[tuple[int, int, Any, Any]]) -> None:
    """Mutations caught: a group left out; the publish not compared; ties of rounding taken for sure; what was written
    not noted; a field in another's place."""
    written, held, expected = Told(), [dict[str, str]() for _ in range(ROWS)], [dict[str, str]() for _ in range(ROWS)]
    for row, publish, state, predicted in history:
        (texts,) = values = made(state, predicted)
        (bits,) = written.news(np.array([row]), state, predicted, values, publish)
        said = told.fields(bits, (*texts, *COMMON))
        held[row].update(zip(said[::2], said[1::2], strict=True))
        expected[row] = dict(zip(scores.FIELDS, (*texts, *COMMON), strict=True))
        for name in expected[row]:
            assert held[row][name] == expected[row][name], name


def test_what_did_not_change_is_not_said_again() -> None:
    """Mutation caught: all groups, whatever changed."""
    written, rows = Told(), np.array([0, 5_000])
    state, amounts = np.zeros(2, ROW), [np.array([1.0, 2.0]) for _ in range(5)]
    predicted = Predictions(np.zeros(2, np.int64), np.zeros(2, np.int64), np.array([111, 111]), *amounts)

    def news(publish: int = 1) -> list[int]:
        return written.news(rows, state, predicted, made(state, predicted), publish)

    assert news() == [told.ALL, told.ALL]
    assert news() == [0, 0]
    assert told.fields(0, (*map(str, range(22)), *COMMON)) == ["scored_at", COMMON[1], "model_version", COMMON[2]]
    state["orders"][1] = 1
    assert news() == [0, told.bits_of("orders", "total_value")]
    state["seen"][0], predicted.value[1] = 8, 2.001
    assert news() == [told.bits_of("source"), 0]
    written.forget([5_000])
    assert news() == [0, told.ALL]
    assert news(2) == [told.ALL, told.ALL]


def test_states_that_are_not_there_yet_are_counted() -> None:
    """Mutation caught: `forget` that leaves the state held."""
    written = Told()
    written.load(2_000)
    assert written.missing(np.array([0, 1_999, 2_000])) == 1
    zero = np.zeros(1, np.int64)
    predicted = Predictions(zero, zero, zero + 111, one(0.0), one(0.0), one(0.0), one(0.0), one(0.0))
    written.news(np.array([2_000]), np.zeros(1, ROW), predicted, made(np.zeros(1, ROW), predicted), 1)
    assert written.missing(np.array([0, 1_999, 2_000])) == 0
    written.forget([0])
    written.forget([1], held=True)
    written.forget([3_000], held=True)  # a name that came back before its first write
    assert written.missing(np.array([3_000])) == 1
    assert (written.missing(np.array([0, 1])), written.holds(0), written.holds(1), written.holds(9_999)) == (
        1, False, True, False,
    )  # fmt: skip


def test_a_hash_that_was_deleted_is_whole_again_by_itself(play: Play, shop: Path) -> None:
    """The next write of that customer finds it, the next heartbeat mends it.

    Mutations caught: how many fields came not looked at; those found forgotten; a whole hash taken for one that lost.
    """

    async def scenario(world: World) -> None:
        part = await world.located()
        world.log.buy("ann", T0)
        await world.catch_up(part)
        whole = world.customer("ann")
        world.redis.delete(world.store.keys.customer("ann"))
        world.log.event("view", "ann", T0)
        await world.catch_up(part)
        assert len(world.customer("ann")) < len(scores.FIELDS)
        await part.idle()
        await world.settled(part)
        assert {*world.customer("ann")} == {*scores.FIELDS}
        same = ("orders", "spend", "segment", "first_purchase_at", "next_offers")
        assert [world.customer("ann")[name] for name in same] == [whole[name] for name in same]
        writes = part.token
        await part.idle()
        await world.settled(part)
        assert part.token == writes

    play(scenario, shop)


class Whole(Told):
    """Writes everything each time."""

    def news(self, *given: Any) -> list[int]:
        return [told.ALL for _ in super().news(*given)]


def test_many_small_writes_leave_what_whole_ones_leave(play: Play, shop: Path) -> None:
    """Event by event, over days, sweeps and learned models.

    Mutations caught: a group compared by less than its texts; a field that only whole hashes have.
    """
    left: list[dict[str, dict[str, str]]] = []

    async def scenario(world: World, written: type[Told]) -> None:
        chance = np.random.default_rng(3)
        part = await world.located()
        part.told = written()
        part.told.load(len(part.table.names))
        for day in range(T0, T0 + 45):
            kinds, people = chance.choice(["view", "cart", "buy"], 4).tolist(), chance.integers(6, size=4).tolist()
            for kind, n in zip(kinds, people, strict=True):
                if kind == "buy":
                    world.log.buy(f"h{n}", day, f"{n + 1}.37")
                else:
                    world.log.event(kind, f"h{n}", day)
                await world.catch_up(part)
            await world.learn()
        left.append({name: world.customer(name) | {"scored_at": ""} for name in part.table.names})

    for written in (Told, Whole):
        play(partial(scenario, written=written), shop)
        assert left[0] == left[-1]
