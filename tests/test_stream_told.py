"""Only what changed is written again, and a hash is whole all the same: each field as if all were written each time."""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from deployment import Play, World
from hiredis import Reader
from hypothesis import example, given
from hypothesis import strategies as st
from shops import T0

from models import scores
from models.artefact import Version
from models.ids import Ids
from models.model import Predictions
from models.offers import Offers, code
from models.rows import BLANK, DAY, ROW
from streams import compose
from streams.compose import Ahead
from streams.keys import Keys
from streams.told import Hashes, Told

COMMON = ("30", "2026-11-29T10:45:52Z", "1-19980701-b2c34de8", "2")
NAMES = ["New", "Übrige"]
ROWS, DAY_NOW = 3, 19_700
AMOUNT = st.sampled_from([0.0, 0.004, 0.005, 0.015, 0.125, 1.005, 2.675, 1e9 + 0.005, 3e15]) | st.floats(0, 1e7)
SMALL = st.integers(0, 1)
DAYS = st.integers(DAY_NOW - 400, DAY_NOW)
VERSION = "1-19980701-b2c34de8"
VERSIONS = st.sampled_from([VERSION, "1-19980702-b2c34de8", "1-19980701-b2c34de9", "65535-19980701-b2c34de8"])


@st.composite
def writes(draw: st.DrawFn) -> tuple[int, str, Any, Any]:
    """(row, version, its state, its predictions), of which few things differ from those of another draw."""
    state = np.zeros(1, ROW)
    for name in ("segment_before", "orders", "spend", "seen"):
        state[name] = draw(SMALL) * (150 if name == "spend" else 1) + (name == "orders")
    for name in ("first", "last", "at"):
        state[name] = draw(DAYS) * DAY
    state["segment_since"] = draw(DAYS)
    amounts = sorted([draw(AMOUNT), draw(AMOUNT)])
    shares = draw(st.floats(0, 1)), draw(st.floats(0, 1)), draw(AMOUNT)
    segment, cluster, rfm = (np.array([each]) for each in (draw(SMALL), draw(SMALL), 111 + draw(SMALL)))
    floats = (one(amount) for amount in (*amounts, *shares))
    return draw(st.integers(0, ROWS - 1)), draw(VERSIONS), state, Predictions(segment, cluster, rfm, *floats)


def one(amount: float) -> Any:
    return np.array([amount])


OFFERS = Offers({"tea": ["pot", "tasse à thé", '"quoted" cup'], "pot": ["tea"]})


def texts(names: Sequence[str]) -> tuple[Any, Any]:
    """As a table keeps them."""
    ids, rows = Ids(), np.arange(len(names))
    ids.store(rows, names)
    return ids.texts(rows)


def serving(version: str = VERSION, horizon: int = 30) -> Any:
    """What compose asks of one, for models that nobody fitted."""
    common = (str(horizon), COMMON[1], version, COMMON[3])
    model = SimpleNamespace(offers=OFFERS, horizon=horizon)
    number = Version.parse(common[2]).number
    return SimpleNamespace(common=lambda: common, version=common[2], number=number, segments=NAMES, model=model)


def expected(serves: Any, state: Any, said: Any, place: str = "t:0") -> list[dict[str, str]]:
    """The hashes by the plain way."""
    values = scores.texts(state, said, NAMES, OFFERS, serves.model.horizon, DAY_NOW, place)
    return [dict(zip(scores.FIELDS, (*texts, *serves.common()), strict=True)) for texts in values]


def sent(found: Hashes, names: Sequence[str]) -> list[dict[str, str]]:
    """The fields of each command, which is Redis's own protocol to the byte."""
    reader, said = Reader(), []
    reader.feed(found.commands)
    for name, bits in zip(names, found.written.tolist(), strict=True):
        command, key, *pairs = (each.decode() for each in reader.gets())
        assert (command, key) == ("HSET", f"shop:customer:{name}")
        said.append(dict(zip(pairs[::2], pairs[1::2], strict=True)))
        assert sum(1 << scores.FIELDS.index(field) for field in said[-1]) == bits
    assert reader.gets() is False
    return said


@given(st.lists(writes(), max_size=12))
def test_hashes_are_as_if_all_was_written_each_time(history: list[tuple[int, str, Any, Any]]) -> None:
    """Mutations caught: a mark that no field follows; the version not compared, or its publish, day or digest; what was
    written not noted; a field in another's place; a tie rounded up; the error of a product left out."""
    written, held = Told(Keys("shop")), [dict[str, str]() for _ in range(ROWS)]
    for row, version, state, said in history:
        serves, names = serving(version), [f"née{row}"]
        found = written.hashes(serves, np.array([row]), texts(names), state, said, DAY_NOW, "t:0")
        (fields,), (whole,) = sent(found, names), expected(serves, state, said)
        held[row].update(fields)
        assert held[row] == whole


def test_many_hashes_are_spelled_letter_by_letter() -> None:
    """Amounts on ties and beside them, of all sizes; dates of two centuries; offers; names of any alphabet.

    Mutations caught: rounding half up; the error of the product left out; cents of a loss rounded to zero; a year's
    last day; a century's February; a product behind the second not parted by a comma.
    """
    n, chance = 20_000, np.random.default_rng(7)
    state = np.full(n, BLANK)
    state["offered"][:, :2] = [[code(each) for each in pair] for pair in chance.choice(["tea", "pot"], (n, 2))]
    state["offered_slot"], state["offered_day"] = 2, chance.integers(DAY_NOW - 200, DAY_NOW, n)[:, None]
    for name, most in (("orders", 60), ("days", 40)):
        state[name] = chance.integers(1, most, n)
    state["spend"] = chance.integers(-(10**6), 10**10, n)
    state["spend"][::9] = chance.integers(-(9 * 10**18), 9 * 10**18, len(state[::9]))
    state["first"] = chance.integers(0, 47_000 * DAY, n)
    state["last"] = state["first"] + chance.integers(0, 900 * DAY, n)
    state["at"] = state["last"] + chance.integers(0, 90 * DAY, n)
    state["segment_before"] = chance.integers(-1, len(NAMES), n)
    state["segment_since"] = chance.integers(0, 84_000, n)
    state["seen"] = chance.integers(0, 3, n) * chance.integers(0, 10**12, n)
    amounts = [abs(chance.normal(size=n)) * 10 ** chance.uniform(-5, 11, n) for _ in range(5)]
    for each in amounts:
        each[::3] = chance.integers(0, 10**7, len(each[::3])) / 1_000  # near a tie, which the double decides
        each[1::3] = chance.integers(0, 10**6, len(each[1::3])) / 8  # on one
    segment, cluster = chance.integers(len(NAMES), size=n), chance.integers(300, size=n)
    said = Predictions(segment, cluster, np.array([100, 10, 1]) @ chance.integers(1, 6, (3, n)), *amounts)
    names, rows = [f"{'abé中'[i % 4] * (i % 120)}{i}" for i in range(n)], np.arange(n)
    for horizon, place in ((30, "t:0"), (7, "crm.events:11")):
        serves, written = serving(horizon=horizon), Told(Keys("shop"))
        for at in range(0, n, 500):
            part = slice(at, at + 500)
            some: Any = Predictions(*(column[part] for column in said))  # type: ignore[arg-type]
            found = written.hashes(serves, rows[part], texts(names[part]), state[part], some, DAY_NOW, place)
            assert sent(found, names[part]) == expected(serves, state[part], some, place)


def test_on_the_bounds_of_a_rhythm_both_ways_say_the_same() -> None:
    """Half a chance, a silence of exactly 1.25 gaps, a year to the microsecond, and beside them. Mutations caught: any
    of the three comparisons of the spelling one step on."""
    now, chances = DAY_NOW * DAY, [0.5, np.nextafter(0.5, 0)]
    cases = [(chance, gap, since) for chance in chances for gap, since in ((8, 10), (8, 11), (365, 0), (366, 0))]
    state, n = np.full(len(cases), BLANK), len(cases)
    state["days"], state["orders"], state["at"] = 3, 3, now
    state["last"] = [now - since * DAY for *_, since in cases]
    state["first"] = [now - (since + 2 * gap) * DAY for _, gap, since in cases]
    p_buy = np.array([chance for chance, *_ in cases])
    zeros, ones = np.zeros(n, np.int64), np.ones(n)
    said = Predictions(zeros, zeros, zeros + 111, ones, ones, 0.1 * ones, p_buy, ones)
    names, serves = [f"c{i}" for i in range(n)], serving()
    whole = expected(serves, state, said)
    found = Told(Keys("shop")).hashes(serves, np.arange(n), texts(names), state, said, DAY_NOW, "t:0")
    assert sent(found, names) == whole
    assert len({each["expected_next_order_at"] for each in whole}) == 4


@pytest.mark.parametrize("amount", [2.0**60, 5e14 + 2**-4, 1e12 + 2**-13, np.nan])
@pytest.mark.parametrize("odd", ["demand", "high", "orders", "p_buy"])
def test_what_cannot_be_compared_is_written_whole_each_time(odd: str, amount: float) -> None:
    """Amounts beyond what a double holds in steps of their texts, in any column.

    Mutations caught: what was noted of them believed; a number that is none compared as if it were small; amounts that
    fit in 64 bits, spelled from a product that was rounded.
    """
    written, state = Told(Keys("shop")), np.zeros(2, ROW)
    numbers = (np.zeros(2, np.int64), np.zeros(2, np.int64), np.array([111, 111]))
    said = Predictions(*numbers, *(np.ones(2),) * 5)._replace(**{odd: np.array([1.0, amount])})
    for _ in range(2):
        found = written.hashes(serving(), np.array([4, 9]), texts(["ann", "bob"]), state, said, DAY_NOW, "t:0")
        assert sent(found, ["ann", "bob"]) == expected(serving(), state, said)


def test_what_did_not_change_is_not_said_again() -> None:
    """Mutation caught: all fields, whatever changed."""
    written, rows = Told(Keys("shop")), np.array([0, 5_000])
    state, amounts = np.zeros(2, ROW), [np.array([1.0, 2.0]) for _ in range(5)]
    said = Predictions(np.zeros(2, np.int64), np.zeros(2, np.int64), np.array([111, 111]), *amounts)

    def news(version: str = VERSION) -> list[set[str]]:
        found = written.hashes(serving(version), rows, texts(["ann", "bob"]), state, said, DAY_NOW, "t:0")
        return [{*fields} for fields in sent(found, ["ann", "bob"])]

    whole, always = {*scores.FIELDS}, {"scored_at"}
    assert news() == [whole, whole]
    assert news() == [always, always]
    state["orders"][1] = 1
    assert news() == [always, always | {"orders", "average_order_value", "mean_days_between_orders"}]
    state["seen"][0], said.value[1] = 8, 2.001
    assert news() == [always | {"source"}, always]
    written.forget([5_000])
    assert news() == [always, whole]
    assert news("1-19980702-b2c34de9") == [always | {"model_version"}, always | {"model_version"}]
    assert news("2-19980702-b2c34de9") == [whole, whole]


def test_each_write_says_when_it_was_scored() -> None:
    """Mutation caught: what is common to all customers laid out once, for the first write."""
    written, state, serves = Told(Keys("shop")), np.zeros(1, ROW), serving()
    said = Predictions(np.array([0]), np.array([0]), np.array([111]), *(one(1.0) for _ in range(5)))
    for at in ("2026-11-29T10:45:52Z", "2026-11-29T10:45:53Z", "2027-01-01T00:00:00Z"):
        serves.common = lambda at=at: ("30", at, VERSION, "2")
        (fields,) = sent(written.hashes(serves, np.array([0]), texts(["ann"]), state, said, DAY_NOW, "t:0"), ["ann"])
        assert fields["scored_at"] == at


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 1.01, 1.0199, 1.02]) | st.floats(0, 1e4), SMALL), max_size=12))
@example([(100.0, 0), (100.6, 0), (101.2, 0)])
@example([(100.0, 0), (99.0, 0)])
def test_a_customer_is_ranked_anew_once_its_value_has_moved(history: list[tuple[float, int]]) -> None:
    """Or with another segment, or where all is written: what stands in the set is never off by more than a hundredth.

    Mutations caught: compared with what was written last, not with what stands; not ranked with a move; noted when not
    ranked.
    """
    written, state, stands = Told(Keys("shop")), np.zeros(1, ROW), (-1, Decimal(0))
    for value, segment in history:
        who, always = (np.array([segment]), np.zeros(1, np.int64), np.array([111])), one(1.0)
        said = Predictions(*who, always, always, always, always, one(value))
        found = written.hashes(serving(), np.array([0]), texts(["ann"]), state, said, DAY_NOW, "t:0")
        told = Decimal(f"{value:.2f}")
        moved = segment != stands[0] or abs(told - stands[1]) > told / 100
        assert found.ranked.tolist() == [moved]
        stands = (segment, told) if moved else stands
    written.forget([0], held=True)
    if history:
        assert written.hashes(serving(), np.array([0]), texts(["ann"]), state, said, DAY_NOW, "t:0").ranked.all()


def test_states_that_are_not_there_yet_are_counted() -> None:
    """Mutation caught: `forget` that leaves the state held."""
    written = Told(Keys("shop"))
    written.load(2_000)
    assert written.missing(np.array([0, 1_999, 2_000])) == 1
    zero = np.zeros(1, np.int64)
    said = Predictions(zero, zero, zero + 111, one(0.0), one(0.0), one(0.0), one(0.0), one(0.0))
    written.hashes(serving(), np.array([2_000]), texts(["ann"]), np.zeros(1, ROW), said, DAY_NOW, "t:0")
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

    def hashes(self, serving: Any, rows: Any, *given: Any) -> Hashes:
        self.forget(rows, held=True)
        return super().hashes(serving, rows, *given)


def test_many_small_writes_leave_what_whole_ones_leave(play: Play, shop: Path) -> None:
    """Event by event, over days, sweeps and learned models.

    Mutations caught: a group compared by less than its texts; a field that only whole hashes have.
    """
    left: list[dict[str, dict[str, str]]] = []

    async def scenario(world: World, written: type[Told]) -> None:
        chance = np.random.default_rng(3)
        part = await world.located()
        part.told = written(world.store.keys)
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


class Says:
    """A model and a table whose scores tell the row and the version; `calls` of them."""

    def __init__(self) -> None:
        self.version, self.calls, self.model = "1", 0, self

    def observe(self, rows: Any, day: int) -> Any:
        return rows + 100_000 * day

    def predict_many(self, raw: Any) -> Predictions:
        self.calls += 1
        return Predictions(*(raw * 10 + int(self.version) for _ in Predictions._fields))


@given(st.sets(st.integers(0, 9_999)), st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.booleans())))
def test_scores_made_ahead_are_those_of_each_row_by_the_model_that_serves(
    rows: set[int], asked: list[tuple[int, int, bool]]
) -> None:
    """Mutations caught: the scores of another row; what another model said served on; nothing behind those at hand."""
    says, every = Says(), np.array(sorted(rows), np.int64)
    ahead = Ahead(cast(Any, says), cast(Any, says), every, 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compose, "AHEAD", 10)
        for start, count, swap in asked:
            says.version = str(int(says.version) + swap)
            some = every[start : start + count][::-1]
            expected = (some + 700_000) * 10 + int(says.version)
            assert all(np.array_equal(column, expected) for column in ahead.of(some))


def test_a_model_is_asked_once_for_many_blocks() -> None:
    """Mutation caught: a call for each block."""
    says, rows = Says(), np.arange(5_000)
    ahead = Ahead(cast(Any, says), cast(Any, says), rows, 7)
    for start in range(0, 4_000, 200):
        ahead.of(rows[start : start + 200])
    assert says.calls == 1
