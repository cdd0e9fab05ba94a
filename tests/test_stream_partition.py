"""What a partition does with the records of a chunk: cuts, sweeps, rejects, strays, tombstones (on a real Redis)."""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import redis
from deployment import Crash, Play, Stopped, World, assert_agree, crash
from hypothesis import assume, given
from hypothesis import strategies as st
from shops import T0

from models.customers import gathered
from models.events import Batch
from models.kinds import ERASE, PURCHASE, TICK
from models.rows import DAY, ENTRY
from streams.partition import Life, Partition, _blocks, _differs, _numbers, cuts
from streams.store import Store, connect


# ---- cuts ------------------------------------------------------------------------------------------------------------
def batch(events: Sequence[tuple[int, int]]) -> Batch:
    """Events given as (kind, time)."""
    t, kind = np.array([t for _, t in events], np.int64), np.array([kind for kind, _ in events], np.int8)
    hashes = np.ones(len(events), np.uint64)
    return Batch(np.arange(len(events)), ["ann"] * len(events), t, kind, t, hashes, hashes)


def plain(events: Sequence[tuple[int, int]], grace: int, swept_to: int, most: int) -> list[tuple[int, int, int]]:
    """The same by looking at one event after another."""
    pieces: list[list[int]] = []
    tombstones = 0
    for i, (kind, t) in enumerate(events):
        asked = swept_to if kind == ERASE else max(swept_to, (t - grace) // DAY)
        full = kind == ERASE and tombstones > 0 and tombstones % most == 0
        if not pieces or asked > swept_to or full:
            pieces.append([i, i + 1, asked])
        pieces[-1][1] = i + 1
        swept_to, tombstones = asked, tombstones + (kind == ERASE)
    return [(i, j, day) for i, j, day in pieces]


TIMES = st.integers(-3 * DAY, 3 * DAY) | st.sampled_from([k * DAY + e for k in range(-2, 3) for e in (-1, 0, 1)])


@given(
    st.lists(st.tuples(st.sampled_from([PURCHASE, PURCHASE, TICK, ERASE]), TIMES.map(lambda t: T0 * DAY + t))),
    st.sampled_from([0, 1, DAY // 24, DAY]),
    st.integers(T0 - 3, T0 + 3),
    st.integers(1, 4),
)
def test_cuts_are_where_a_plain_loop_makes_them(
    events: list[tuple[int, int]], grace: int, swept_to: int, most: int
) -> None:
    """Mutations caught: the accumulated day left out; the grace left out; tombstones asking, or not counted."""
    found = list(cuts(batch(events), grace, swept_to, most))
    assert found == plain(events, grace, swept_to, most)
    assert all(sum(kind == ERASE for kind, _ in events[i:j]) <= most for i, j, _ in found)


@given(st.lists(st.sampled_from(["other", "other", "again", "life"]), min_size=1), st.integers(1, 5), st.data())
def test_blocks_hold_whole_customers_and_the_last_one_who_is_erased(whose: list[str], size: int, data: Any) -> None:
    """Mutations caught: a last block of more than its size, who came back beside it; an entry without its row; the
    entries of a life that ended, or who came back, before the write that erases them."""
    assume(whose.count("again") <= size)  # `cuts` sees to that
    of = np.array(data.draw(st.lists(st.integers(0, len(whose) - 1), max_size=40)), np.int64)
    entries = np.zeros(len(of), ENTRY)
    entries["row"], entries["label"] = of, np.arange(len(of))
    everybody = np.array(whose)
    rows, lives = np.flatnonzero(everybody != "life"), np.flatnonzero(everybody == "life")
    found = list(_blocks(rows, entries, everybody[rows] == "again", lives, size))
    assert [last for _, _, last in found] == [False] * (len(found) - 1) + [True]
    assert max(len(block) for block, _, _ in found) <= size
    assert sorted(row for block, _, _ in found for row in block) == rows.tolist()
    held = []
    for block, part, last in found:
        assert {*part["row"]} <= {*block, *(lives if last else ())}
        assert last or {*everybody[block]} <= {"other"}
        held += part["label"].tolist()
    assert sorted(held) == [*range(len(of))]
    for row in range(len(whose)):
        assert [label for label in held if of[label] == row] == np.flatnonzero(of == row).tolist()


def test_a_score_has_moved_by_a_tenth_and_by_a_cent() -> None:
    """Mutations caught: either one left out; a move downwards passed over."""
    published, now = np.array([0, 0, 100, 100, 100, 0.05]), np.array([0.009, 0.02, 110, 111, 89, 0.059])
    assert _differs(now, published).tolist() == [False, True, False, True, True, False]


@pytest.mark.parametrize("name", ["segment", "rfm", "demand", "value", "version"])
def test_a_score_that_is_not_the_published_one_has_moved(play: Play, shop: Path, name: str) -> None:
    """Whichever part of it. Mutation caught: one of them not compared, or compared with another."""

    async def scenario(world: World) -> None:
        part = await world.located()
        rows = np.arange(len(part.table))
        assert not part._has_moved(rows, part.swept_to).any()
        kept = part.table.rows[name]
        other = {"version": 7 << 16, "demand": 1e6, "value": 1e6}  # the 7th publish's, and more than anybody's
        kept[[3, 8]] = other.get(name, kept[[3, 8]] + 111)
        assert np.flatnonzero(part._has_moved(rows, part.swept_to)).tolist() == [3, 8]

    play(scenario, shop)


# ---- where it stands -------------------------------------------------------------------------------------------------
class Paged(Store):
    """Reads pages of two customers, and remembers of which keys; `revoked` is taken away as its third page is read."""

    def __init__(self, world: World) -> None:
        super().__init__(connect(world.settings), world.settings)
        world.reached.append(self)
        self.asked: list[str] = []
        self.revoked: Partition | None = None

    async def _page(self, key: str, cursor: bytes, count: int = 2) -> tuple[bytes, list[bytes]]:
        self.asked.append(key)
        if self.revoked is not None and self.asked.count(key) == 3:
            self.revoked.become(Life.REVOKED)
            self.revoked = None
        return await super()._page(key, cursor, count)


def test_partitions_are_loaded_one_after_the_other(play: Play, shop: Path) -> None:
    """So the first is ready in a part of the time that all take. Mutation caught: pages of all in turn."""

    async def scenario(world: World) -> None:
        store = Paged(world)
        parts = [world.partition(number, store) for number in range(2)]
        await asyncio.gather(*(part.locate() for part in parts))
        assert [part.life for part in parts] == [Life.READY, Life.READY]
        assert sum(len(part.table) for part in parts) == 60
        turns = [key for key, _ in itertools.groupby(store.asked)]
        assert sorted(turns) == [store.keys.state(0), store.keys.state(1)]

    play(scenario, shop, partitions=2)


def test_one_that_is_taken_away_while_it_loads_lets_the_next_one_load(play: Play, shop: Path) -> None:
    """Mutation caught: read to its end, for nothing, while the others wait."""

    async def scenario(world: World) -> None:
        store = Paged(world)
        first, second = (world.partition(number, store) for number in range(2))
        store.revoked = first
        loads = asyncio.create_task(first.locate())
        while not store.asked:
            await asyncio.sleep(0)
        await asyncio.gather(loads, second.locate())
        assert (first.life, second.life) == (Life.REVOKED, Life.READY)
        assert store.asked.count(store.keys.state(0)) == 3
        assert len(second.table) == await store.customers(1) > 0

    play(scenario, shop, partitions=2)


@pytest.mark.parametrize("odd", [None, -1])
def test_a_record_without_a_timestamp_has_a_negative_one(odd: int | None) -> None:
    """Those of Kafka's first format have none."""
    records = [SimpleNamespace(offset=5 + i, timestamp=at) for i, at in enumerate([7, odd, 1_700_000_000_000])]
    assert _numbers(records, "offset").tolist() == [5, 6, 7]
    assert _numbers(records, "timestamp").tolist() == [7, -1, 1_700_000_000_000]
    assert _numbers([], "timestamp").dtype == np.int64


# ---- sweeps ----------------------------------------------------------------------------------------------------------
def test_a_sweep_of_many_lets_others_go_on(play: Play, shop: Path) -> None:
    """Other partitions, and the consumer, whose session would end. Mutation caught: all landmarks in one step."""

    async def scenario(world: World) -> None:
        part = await world.located()
        sweeping, turns, seen = part.table.sweeping, itertools.count(), list[int]()

        def one_by_one(day: int) -> Iterator[Any]:
            entries = gathered(sweeping(day))
            for i in range(len(entries)):
                seen.append(next(turns))
                yield entries[i : i + 1]

        async def others() -> None:
            while True:
                next(turns)
                await asyncio.sleep(0)

        part.table.sweeping = one_by_one  # type: ignore[method-assign]
        busy = asyncio.create_task(others())
        world.log.tick(T0 + 40)
        await world.catch_up(part)
        busy.cancel()
        assert len(seen) > 50
        assert np.diff(seen).min() > 1
        assert sum(map(len, world.examples().values())) == len(seen)

    play(scenario, shop)


def test_a_sweep_comes_before_the_event_that_asks_for_it(play: Play) -> None:
    """Mutations caught: folded before the sweep, a late first purchase makes an example of a day that is over; nobody
    is told that there was one."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        world.log.buy("ann", T0 + 61, "7.00")
        part = await world.located()
        await world.catch_up(part)
        assert world.guard() == (2, T0 + 60)  # a grace later it would have been 61
        assert world.log.sweeps == 1
        (first, one), (second, two) = ((day, np.frombuffer(e["ann"], ENTRY)[0]) for day, e in world.examples().items())
        assert second - first == 30
        assert (one["open"], two["open"]) == (0, 1)
        assert (one["now"]["spend"], two["label"], two["now"]["spend"]) == (100_000, 0, 100_000)
        assert world.customer("ann")["spend"] == "17.00"
        world.log.tick(T0 + 100)
        world.log.buy("bob", T0 + 61)
        world.log.tick(T0 + 165)
        await world.catch_up(part)
        days = [day for day, entries in world.examples().items() if "bob" in entries]
        assert len(days) >= 2
        assert min(days) > T0 + 100

    play(scenario)


def test_a_sweep_scores_anew_whoever_changed(play: Play, shop: Path) -> None:
    """Mutations caught: a sweep that writes those with a landmark only: demand would stand still for a month; who
    leaves segment 0 told as new, or left in its set."""

    async def scenario(world: World) -> None:
        part = await world.located()
        before = {name: world.customer(name) for name in part.table.index}
        world.log.tick(T0 + 20)
        await world.catch_up(part)
        after = {name: world.customer(name) for name in before}
        every = np.arange(len(part.table))
        now = part.serving.model.predict_many(part.table.observe(every, T0 + 20))
        for i, name in enumerate(part.table.names):
            old, new = float(before[name]["predicted_demand"]), float(after[name]["predicted_demand"])
            assert int(after[name]["segment_id"]) == now.segment[i]
            assert abs(new - now.demand[i]) <= 0.05 * new + 0.02
            assert new == old or abs(new - now.demand[i]) < 0.006
        assert sum(after[n]["predicted_demand"] != before[n]["predicted_demand"] for n in before) > 20
        from_to = {name: (before[name]["segment_id"], after[name]["segment_id"]) for name in before}
        moved = {("moved", name, *both) for name, both in from_to.items() if both[0] != both[1]}
        assert {(*change.values(),)[:4] for change in world.changes()} == moved
        assert {"0"} < {left for _, _, left, _ in moved}
        stand = {(name.decode(), str(n)) for n in range(7) for name in world.redis.zrange(world.members(n), 0, -1)}
        assert stand == {(name, to) for name, (_, to) in from_to.items()}

    play(scenario, shop)


def test_a_sweep_scores_anew_whose_value_alone_moved(play: Play, shop: Path) -> None:
    """Mutations caught: a value that is not noted in the row; a sweep that looks at the demand only, or at any cent."""

    async def scenario(world: World) -> None:
        part = await world.located()
        world.log.tick(T0 + 20)
        await world.catch_up(part)
        rows, names = part.table.rows, part.table.names
        told = [float(world.customer(name)["customer_value"]) for name in names]
        assert rows["value"].tolist() == pytest.approx(told, abs=0.006)
        still = np.setdiff1d(np.flatnonzero(rows["value"] > 1), await part._moved(part.swept_to))[:2]
        now = part.serving.model.predict_many(part.table.observe(still, part.swept_to)).value
        rows["value"][still] = now * [1 / 1.2, 1 / 1.05]
        assert {*await part._moved(part.swept_to)} & {*still} == {still[0]}

    play(scenario, shop)


def test_a_hash_and_the_sets_say_what_the_state_says(play: Play, shop: Path) -> None:
    """Mutations caught: a purchase written without the fields that it changes; the old segment set not left."""

    async def scenario(world: World) -> None:
        for day in range(T0, T0 + 70, 3):
            world.log.buy(f"h{day % 5}", day, f"{day % 90}.50")
            world.log.event("view", f"h{day % 7}", day + 0.1)
            world.log.event("return", f"h{day % 11}", day + 0.2, "3.25")
        part = await world.located()
        await world.catch_up(part)
        await world.catch_up(part)
        assert_agree(world, part)

    play(scenario, shop, block=7)


# ---- what is passed over ---------------------------------------------------------------------------------------------
def test_rejects_stand_in_their_topic_before_the_write_and_are_counted_once(play: Play) -> None:
    """Mutations caught: the rejects sent after the chunk's last write; counts written with every block of a chunk;
    counts of rejects before a cut written again behind it."""

    async def scenario(world: World) -> None:
        async def note() -> None:
            seen.append(list(world.log.rejects))

        world.log.put(b"x", b"garbage", T0 * DAY)  # nothing but a reject before a cut
        world.log.tick(T0 + 1)
        for n in range(6):
            world.log.buy(f"c{n}", T0 + 1)
            world.log.put(None, b"{}", (T0 + 1) * DAY)
        world.log.put(b"x", b"garbage", T0 * DAY)
        seen: list[Any] = []
        part = await world.located(store=world.struck(dict.fromkeys(range(9), note)))
        await world.catch_up(part)
        expected = [(0, "not_json"), *((o, "wrong_field") for o in range(3, 14, 2)), (14, "not_json")]
        assert sorted(world.log.rejects) == sorted(expected)
        assert all(len(rejects) == len(expected) for rejects in seen)
        counts = world.redis.hgetall(world.store.keys.rejected(0))
        assert counts == {b"not_json": b"2", b"wrong_field": b"6"}

    play(scenario, block=2)


def test_a_crash_sends_rejects_again_but_counts_them_once(play: Play) -> None:
    """Mutation caught: counts written with a chunk's first block."""

    async def scenario(world: World) -> None:
        for n in range(6):
            world.log.buy(f"c{n}", T0)
            world.log.put(f"c{n}".encode(), b"{", T0 * DAY)

        with pytest.raises(Crash):
            await world.catch_up(await world.located(store=world.struck({2: crash})))
        assert world.redis.hgetall(world.store.keys.rejected(0)) == {}
        await world.catch_up(await world.located())
        assert sorted(world.log.rejects) == sorted([(o, "not_json") for o in range(1, 12, 2)] * 2)
        assert world.redis.hgetall(world.store.keys.rejected(0)) == {b"not_json": b"6"}

    play(scenario, block=2)


def test_holes_and_rejects_alone_move_the_offset(play: Play) -> None:
    """Mutation caught: the write left out where a chunk holds no event: its offset would be folded again for ever."""

    async def scenario(world: World) -> None:
        world.log.put(b"x", b"garbage", T0 * DAY)
        part = await world.located()
        await world.catch_up(part)
        assert (world.guard(), part.reached) == ((1, T0), 1)
        world.log.put(None, None, T0 * DAY)  # stands for a transaction's mark: a chunk without a record
        hole = world.log.chunk(1)
        hole.records.clear()
        await part.process(hole)
        await world.settled(part)
        assert (world.guard(), part.reached) == ((2, T0), 2)

    play(scenario)


def test_events_before_the_cut_off_are_counted_and_skipped(play: Play) -> None:
    """Mutation caught: old events folded: the history holds them already."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0 - 0.001)
        world.log.buy("ann", T0)
        world.log.event("view", "bob", T0)
        world.log.buy("ann", T0, event_id="0-1")
        await world.catch_up(await world.located())
        assert world.customer("ann")["orders"] == "1"
        counts = {b"before_history_ends": b"1", b"before_first_purchase": b"1", b"duplicate": b"1"}
        assert world.redis.hgetall(world.store.keys.rejected(0)) == counts

    play(scenario)


@pytest.mark.parametrize("grace", [0, 3_600, 40 * 86_400])
def test_events_later_than_the_grace_are_counted_and_fold_all_the_same(play: Play, grace: int) -> None:
    """Against a plain count over the log. Mutation caught: the day that was swept to not handed on."""
    days = [0, 5, 1, 4.5, 3.99, 60, 19.9, 19.5, 59, 10, 110, 20]

    async def scenario(world: World) -> None:
        for n, day in enumerate(days):
            world.log.buy("ann" if n % 3 else "bob", T0 + day)
        world.log.buy("ann", T0 + 20, event_id="0-11")  # a copy
        world.log.event("cart", "eve", T0 + 1)  # nobody's
        world.log.event("view", "ann", T0 + 2)
        await world.catch_up(await world.located())
        found = {name.decode(): int(n) for name, n in world.redis.hgetall(world.store.keys.rejected(0)).items()}
        swept, late = 0.0, 0
        for day in [*days, 2]:
            swept = max(swept, (day * 86_400 - grace) // 86_400)
            late += day // 1 < swept
        assert found == {"duplicate": 1, "before_first_purchase": 1, "late": late}
        orders = [world.customer(name)["orders"] for name in ("ann", "bob")]
        assert orders == ["8", "4"]

    play(scenario, grace=grace)


def test_a_customer_of_another_partition_is_rejected(play: Play) -> None:
    """Mutation caught: strays folded: two partitions would write one customer's hash."""

    async def scenario(world: World) -> None:
        name = next(f"c{n}" for n in range(99) if world.deployment.home(f"c{n}") == 1)
        world.log.buy(name, T0, partition=0)
        world.log.buy(name, T0)
        for p in range(2):
            await world.catch_up(await world.located(p))
        assert world.log.rejects == [(0, "wrong_partition")]
        assert (world.rows(0), [*world.rows(1)]) == ({}, [name])
        assert world.customer(name)["source"] == "t:1:0"

    play(scenario, partitions=2)


def test_many_strays_stop_for_producers_choose_otherwise(play: Play) -> None:
    """Mutation caught: the share of strays not watched: half of a deployment's events would be rejected in silence."""

    async def scenario(world: World) -> None:
        for n in range(500):
            world.log.buy(f"c{n}", T0, partition=0)
        with pytest.raises(Stopped, match=r"partition 0 of t holds customers of other partitions.*CRM_PARTITIONER"):
            await world.catch_up(await world.located(0))
        assert (world.rows(), world.guard(), world.log.rejects) == ({}, (0, T0), [])

    play(scenario, partitions=2)


@pytest.mark.parametrize(("homes", "goes_on"), [(1_004, True), (1_003, False)])
def test_a_fifth_of_strays_is_borne(play: Play, homes: int, goes_on: bool) -> None:
    """Of however many customers the first chunk holds. Mutations caught: strays counted and no share of them; a share
    of CHECKED customers alone."""

    async def scenario(world: World) -> None:
        for p, most in ((0, homes), (1, 251)):
            for name in itertools.islice((f"c{n}" for n in range(9_999) if world.deployment.home(f"c{n}") == p), most):
                world.log.buy(name, T0, partition=0)
        with (
            contextlib.nullcontext()
            if goes_on
            else pytest.raises(Stopped, match=rf"\(251 of its first {homes + 251}\)")
        ):
            await world.catch_up(await world.located(0))
        assert (len(world.rows()), len(world.log.rejects)) == ((homes, 251) if goes_on else (0, 0))

    play(scenario, partitions=2)


@pytest.mark.parametrize("judged", ["by a customer of the log", "by the log that a rebuild folds"])
def test_the_partitioner_is_judged_once_a_deployment(play: Play, judged: str) -> None:
    """What is wrong later is rejected, also by a worker that starts. Mutation caught: judged at each start."""

    async def scenario(world: World) -> None:
        mine = next(f"c{n}" for n in range(99) if world.deployment.home(f"c{n}") == 0)
        if judged.startswith("by a customer"):
            world.log.buy(mine, T0, partition=0)
            await world.catch_up(await world.located(0))
        else:
            world.redis.hset(world.store.keys.guard(0), "quiet_until", 9_999)
        strays = [name for n in range(1_000) if world.deployment.home(name := f"stray{n}") == 1]
        for name in strays:
            world.log.buy(name, T0, partition=0)
        await world.catch_up(await world.located(0))
        counted = world.redis.hget(world.store.keys.rejected(0), "wrong_partition")
        assert int(counted) == len(strays) > 400
        assert [*world.rows()] == ([mine] if judged.startswith("by a customer") else [])

    play(scenario, partitions=2)


# ---- waiting ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("seconds", "told"), [(2.0, 0), (4.0, 1), (6.0, 2)])
def test_slow_answers_are_told_of_as_soon_as_many_quick_ones(
    play: Play, monkeypatch: pytest.MonkeyPatch, seconds: float, told: int
) -> None:
    """Two answers that fail, each behind so many seconds: from the fifth second on it is said what is waited for.
    Mutation caught: said only once the pauses between tries are long."""

    async def scenario(world: World) -> None:
        part, now, answers = await world.located(), itertools.count(0.0, seconds), [b"late", None, None]

        async def ask() -> bytes | None:
            if answers[-1] is None:
                answers.pop()
                raise redis.exceptions.TimeoutError("Timeout reading")
            return answers[-1]

        said: list[str] = []
        with monkeypatch.context() as patched:
            patched.setattr("streams.partition.time", SimpleNamespace(monotonic=lambda: next(now)))
            patched.setattr("streams.partition.say", lambda line, **_: said.append(line))
            assert await part.insist(ask) == b"late"
        assert said == ["partition 0 waits: Timeout reading"] * told

    play(scenario)


# ---- erasure ---------------------------------------------------------------------------------------------------------
def test_a_tombstone_leaves_nothing_but_a_keyed_hash(play: Play) -> None:
    """Mutations caught: a tombstone folded with later events of its customer; the set, or the hash, left standing."""

    async def scenario(world: World) -> None:
        part = await world.located()
        for name in ("ann", "bob"):
            world.log.buy(name, T0)
        world.log.erase("ann", T0)
        world.log.erase("nobody", T0)
        await world.catch_up(part)
        assert [*world.rows()] == ["bob"]
        assert world.customer("ann") == {}
        members = [world.redis.zrange(world.members(n), 0, -1) for n in range(7)]
        assert sorted(members) == [[]] * 6 + [[b"bob"]]
        hashes = {
            world.deployment.erasure(name).encode(): b"%d %d" % (n, T0 * 86_400_000)
            for n, name in ((2, "ann"), (3, "nobody"))
        }
        assert world.redis.hgetall(world.store.keys.erased(0)) == hashes
        everything = repr({k: v for k, v in world.contents().items() if k != "changes:0"})
        assert "ann" not in everything
        assert_agree(world, part)

    play(scenario)


def test_what_does_not_count_for_two_reasons_is_told_of_once(play: Play) -> None:
    """A rebuild meets what came before a tombstone again, some of it of days that are in the history. Mutation caught:
    counted under both."""

    async def scenario(world: World) -> None:
        part = await world.located()
        part.doomed = {world.deployment.erasure("ann"): 9}
        for name, day in (("ann", T0 - 1), ("ann", T0), ("ann", T0 - 2), ("bob", T0 - 1)):
            world.log.buy(name, day)
        await world.catch_up(part)
        counted = world.redis.hgetall(world.store.keys.rejected(0))
        assert counted == {b"before_history_ends": b"3", b"erased": b"1"}

    play(scenario)


def test_a_purchase_after_a_tombstone_begins_anew(play: Play) -> None:
    """Mutation caught: a tombstone that erases what came later."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        world.log.buy("ann", T0 + 1)
        world.log.erase("ann", T0 + 2)
        world.log.buy("ann", T0 + 3, "3.00")
        world.log.erase("bob", T0 + 3)
        world.log.buy("ann", T0 + 3, "1.00")
        part = await world.located()
        await world.catch_up(part)
        found = world.customer("ann")
        assert (found["orders"], found["spend"], found["first_purchase_at"]) == ("2", "4.00", "2023-12-12T00:00:00Z")
        assert [change["to"] for change in world.changes()] == ["2", "erased", "3"]
        assert_agree(world, part)
        assert len((await world.located()).table) == 1

    play(scenario)
