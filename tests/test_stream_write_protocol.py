"""The write protocol on a real Redis: a scripted interleaving for each rule that docs/architecture.md numbers.

Rule 8's wrong types stand in test_stream_store.py, rule 11 in test_stream_outages.py. A docstring names the mutations
of the product that its test was seen to catch.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
import redis
import shops
from deployment import Crash, Event, Play, Stopped, World, assert_same, crash, disturb, held, run, undisturbed
from faust.types import TP
from proxy import Fault, Proxy
from shops import T0

from demo import services
from streams.partition import Lost
from streams.store import Moved, Store, connect
from streams.transport import Chunk, ChunkReader
from streams.worker import Worker, build
from streams.writes import Block, GuardedWrites, Position


class Executed:
    """Cuts the reply to the next write: it was executed, and nobody knows."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy, self.struck = proxy, False

    def __call__(self, request: bytes) -> None:
        if not self.struck and b"\r\nHSET\r\n" in request and b"\r\nEXEC\r\n" in request:
            self.struck = True
            self.proxy.strike(Fault.CUT_REPLY, times=1)


# ---- rule 1 ----------------------------------------------------------------------------------------------------------
def test_1_no_worker_makes_a_guard(play: Play) -> None:
    """Mutation caught: a missing guard taken as offset 0."""

    async def scenario(world: World) -> None:
        world.redis.delete(world.store.keys.guard(0))
        with pytest.raises(Stopped, match=r"no guard .*guard:0: restore Redis, or run `streams rebuild`"):
            await world.located()
        assert not world.redis.exists(world.store.keys.guard(0))

    play(scenario)


# ---- rule 2 ----------------------------------------------------------------------------------------------------------
def test_2_only_the_holder_of_the_token_writes(play: Play) -> None:
    """Mutation caught: `refresh` without the comparison of tokens."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        zombie, owner = await world.located(), await world.located()
        await world.catch_up(owner)
        before = world.contents()
        with pytest.raises(Lost):
            await zombie.process(world.log.chunk())
        assert world.log.lost == [zombie]
        assert world.contents() == before
        assert world.customer("ann")["spend"] == "10.00"

    play(scenario)


def test_2_a_zombie_at_any_write_is_refused(redis_url: str, store_prefix: str, shop: Path) -> None:
    """Mutations caught: `Store.write` without the comparison of tokens; another token answered, taken for a success.

    Before write number n another worker takes the partition and does everything; then that write comes, with its token.
    """

    async def scenario(world: World) -> None:
        async def takeover() -> None:
            await world.catch_up(await world.located())

        disturb(world.log)
        store = world.struck({at: takeover})
        zombie = await world.located(store=store)
        with pytest.raises(Lost):
            await world.catch_up(zombie)
        assert zombie in world.log.lost
        assert_same(world.contents(), expected)

    expected, _ = undisturbed(redis_url, store_prefix, shop)
    for at in (0, 1, 7, 23):
        run(scenario, World(redis_url, f"{store_prefix}-{at}", block=2), shop)


def test_2_what_stood_is_believed_only_while_the_guard_is_watched_since(play: Play) -> None:
    """A lost partition is still at its last write while the one in its place reads, over the same connection, and
    another worker wrote in between. Mutation caught: a write by what stood before the last reading."""

    async def scenario(world: World) -> None:
        guard = await world.store.guard(0)
        assert guard is not None
        writes, position = GuardedWrites(world.store.redis, world.store.keys, world.settings, 0), Position(0, T0, 1)
        stood = await writes.stands(guard.token)
        assert await world.store.write(0, guard.token, b"another", position, Block()) == (b"another", world.version)
        await writes._line.drop()  # or Redis remembers over this connection that the guard was written
        assert (await writes.read()).token == b"another"
        assert await writes.write(stood, b"mine", position, Block()) is None
        assert world.redis.hget(world.store.keys.guard(0), "token") == b"another"
        assert await writes.write(await writes.stands(b"another"), b"mine", position, Block()) is not None

    play(scenario)


@pytest.mark.parametrize("lost", ["the connection", "a reading over it"])
def test_2_nothing_is_written_over_a_connection_that_watches_nothing(play: Play, lost: str) -> None:
    """What stood was read over one that is gone, and Redis is another meanwhile: it came back older, or somebody wrote.

    Mutations caught: a write that connects anew; what stood believed after a reading that failed.
    """

    async def scenario(world: World) -> None:
        guard = await world.store.guard(0)
        assert guard is not None
        with Proxy(world.port) as proxy:
            store, position = world.struck({}, proxy.port), Position(0, T0, 1)
            writes = GuardedWrites(store.redis, store.keys, store.settings, 0)
            stood = await writes.stands(guard.token)
            if lost == "the connection":
                await writes._line.drop()
            else:
                proxy.strike(Fault.REFUSE)
                with pytest.raises(redis.exceptions.ConnectionError):
                    await writes.read()
                proxy.strike(Fault.PASS)
            assert await world.store.write(0, guard.token, b"another", position, Block()) == (b"another", world.version)
            with contextlib.suppress(redis.exceptions.ConnectionError):
                assert await writes.write(stood, b"mine", position, Block()) is None
        assert world.redis.hget(world.store.keys.guard(0), "token") == b"another"

    play(scenario)


# ---- rule 3 ----------------------------------------------------------------------------------------------------------
def test_3_a_lost_reply_is_repeated_and_applied_once(play: Play) -> None:
    """Mutation caught: a new token for the repeat, which finds another token and loses the partition."""

    async def scenario(world: World) -> None:
        for n in range(20):
            world.log.buy("ann", T0 + n / 100)
        with Proxy(world.port) as proxy:
            store = world.struck({}, proxy.port)
            part = await world.located(store=store)
            proxy.watch = executed = Executed(proxy)
            await world.catch_up(part)
        assert (executed.struck, store.writes) == (True, 2)
        assert world.log.lost == []
        assert world.guard() == (20, T0)
        assert (world.customer("ann")["orders"], world.customer("ann")["spend"]) == ("20", "200.00")

    play(scenario)


def test_3_a_repeat_that_comes_after_another_owners_write_is_refused(play: Play) -> None:
    """Mutation caught: `Store.write` without the comparison of tokens, which sets the offset back to 1."""

    async def scenario(world: World) -> None:
        async def takeover() -> None:
            assert world.guard() == (1, T0)  # it was applied, but nobody knows
            world.log.buy("ann", T0)
            await world.catch_up(await world.located())

        world.log.buy("ann", T0)
        with Proxy(world.port) as proxy:
            store = world.struck({1: takeover}, proxy.port)
            part = await world.located(store=store)
            proxy.watch = Executed(proxy)
            with pytest.raises(Lost):
                await world.catch_up(part)
        assert part in world.log.lost
        assert world.guard() == (2, T0)
        assert world.customer("ann")["spend"] == "20.00"

    play(scenario)


# ---- rule 4 ----------------------------------------------------------------------------------------------------------
def test_4_states_are_read_under_the_token_only(play: Play) -> None:
    """Mutation caught: the token not compared before the first page."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        guard = await world.store.guard(0)
        assert guard is not None
        owner = await world.located()
        await world.catch_up(owner)
        with pytest.raises(Moved):
            await anext(world.store.load(0, guard.token))
        names, _ = await anext(world.store.load(0, owner.token))
        assert names == ["ann"]

    play(scenario)


class Watched(Store):
    """Reads pages of two customers; something happens before the third page, once."""

    def __init__(self, world: World, happens: Event, port: int | None = None) -> None:
        there = {"redis_url": f"redis://127.0.0.1:{port or world.port}/0"}
        super().__init__(connect(world.settings.model_copy(update=there)), world.settings)
        world.reached.append(self)
        self.happens, self.pages = happens, 0

    async def _page(self, key: str, cursor: bytes, count: int = 2) -> tuple[bytes, list[bytes]]:
        self.pages += 1
        if self.pages == 3:
            await self.happens()
        return await super()._page(key, cursor, count)


def test_4_pages_of_two_owners_are_never_put_together(play: Play, shop: Path) -> None:
    """Mutation caught: the token not compared behind the last page."""

    async def scenario(world: World) -> None:
        async def write() -> None:
            await world.catch_up(await world.located())

        disturb(world.log)
        store = Watched(world, write)
        part = await world.located(store=store)
        assert part.offset == len(world.log.records[0])
        assert held(part) == world.rows()

    play(scenario, shop)


def test_4_a_cut_connection_starts_the_load_again(play: Play, shop: Path) -> None:
    """Mutation caught: the connection error passed over and the pages so far taken."""

    async def scenario(world: World) -> None:
        async def cut() -> None:
            proxy.strike(Fault.CUT_REPLY, times=1)

        with Proxy(world.port) as proxy:
            store = Watched(world, cut, proxy.port)
            part = await world.located(store=store)
        assert proxy.struck == 1
        assert len(part.table) == 60
        assert held(part) == world.rows()

    play(scenario, shop)


def test_4_a_server_started_anew_in_mid_load_starts_the_load_again(shop: Path) -> None:
    """Mutation caught: the run ids not compared: a cursor means nothing to another process; customers are missing."""
    with services.valkey() as server:

        async def scenario(world: World) -> None:
            async def again() -> None:
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
                with contextlib.suppress(redis.exceptions.ConnectionError):
                    await store.guard(0)  # another task of the worker meets the cut; the load gets a new connection

            store = Watched(world, again)
            part = await world.located(store=store)
            assert len(part.table) == 60
            assert held(part) == world.rows()

        run(scenario, World(server.url, "crm"), shop)


# ---- rule 6 ----------------------------------------------------------------------------------------------------------
class Positions:
    """Where a consumer stands: what seek_in_epoch asks of aiokafka."""

    def __init__(self) -> None:
        self.sought: list[int] = []

    def seek(self, tp: TP, offset: int) -> None:
        self.sought.append(offset)


class Bare(ChunkReader):
    """A reader without a consumer."""

    def __init__(self, positions: Positions) -> None:
        self.positions, self.epochs, self.connections = positions, {}, {}

    def _ensure_consumer(self) -> Positions:
        return self.positions


def test_6_a_slow_older_seek_does_not_undo_a_newer_one() -> None:
    """Mutation caught: seek_in_epoch without the comparison of epochs."""
    positions, tp = Positions(), TP("t", 0)
    reader = Bare(positions)
    for offset, epoch in ((5, 2), (3, 1), (4, 2), (7, 3)):
        reader.seek_in_epoch(tp, offset, epoch)
    assert positions.sought == [5, 7]
    assert reader.epochs == {tp: 3}


def test_6_chunks_of_another_epoch_are_dropped(play: Play) -> None:
    """Mutation caught: Worker.score without the comparison of epochs: it follows by chance, and is folded."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        app = build(world.settings, world.deployment, 1 << 20)
        worker: Worker = app.transport.owner
        world.reached.append(worker.store)
        first, part = await world.located(), await world.located()
        worker.partitions[0] = part
        records, tp = world.log.records[0], TP("t", 0)
        await worker.score([Chunk(tp, records, 0, 0, 1, first.epoch)])
        await worker.score([chunk := Chunk(tp, records, 0, 0, 1, part.epoch)])
        while not chunk.taken:
            await asyncio.sleep(0)
        await world.settled(part)  # had the first been folded, the second would not follow
        assert (world.guard(), world.log.lost) == ((1, T0), [])

    play(scenario)


# ---- rule 7 ----------------------------------------------------------------------------------------------------------
def test_7_a_chunk_that_does_not_follow_loses_the_partition(play: Play) -> None:
    """Mutation caught: the comparison of `chunk.start` and `reached` left out."""

    async def scenario(world: World) -> None:
        for _ in range(3):
            world.log.buy("ann", T0)
        part = await world.located()
        assert world.log.sought == [(0, 1)]
        with pytest.raises(Lost):
            await part.process(world.log.chunk(1))
        assert world.log.lost == [part]
        assert world.guard() == (0, T0)
        again = await world.located()
        await world.catch_up(again, 2)
        with pytest.raises(Lost):
            await again.process(world.log.chunk(1))  # nor does one that comes twice
        assert (world.guard(), world.customer("ann")["spend"]) == ((2, T0), "20.00")

    play(scenario)


# ---- rule 8: wrong types and wrong states stand in test_stream_store.py ----------------------------------------------
LOST_END, DELETED = "lost its end, .* or run `streams rebuild`", "records 0 to 0 were deleted .* no rebuild brings them"


@pytest.mark.parametrize(("offset", "low", "why"), [(5, 0, LOST_END), (2, 0, LOST_END), (0, 1, DELETED)])
def test_8_an_offset_outside_the_log_stops(play: Play, offset: int, low: int, why: str) -> None:
    """Mutations caught: the comparison with the log's bounds left out; one record that is missing passed over; a
    rebuild advised that would be refused."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        world.log.low = low
        world.redis.hset(world.store.keys.guard(0), "offset", offset)
        with pytest.raises(Stopped, match=f"stands at offset {offset}, .* holds {low} to 1: .*{why}"):
            await world.located()
        assert world.log.sought == []

    play(scenario)


# ---- rule 9 ----------------------------------------------------------------------------------------------------------
def test_9_a_crash_before_any_write_changes_nothing(redis_url: str, store_prefix: str, tmp_path: Path) -> None:
    """Mutations caught: the fold without `seen`; `swept_to` moved with a sweep's first block; the offset moved with a
    chunk's first block; a tombstone folded with its customer's other events; entries written with the last block only.

    A worker dies before write number n, for every n, and another goes on: all of Redis equals an undisturbed run's.
    """

    async def scenario(world: World) -> None:
        disturb(world.log)
        store = world.struck({at: crash})
        with pytest.raises(Crash):
            await world.catch_up(await world.located(store=store))
        await world.catch_up(await world.located())
        assert_same(world.contents(), expected)

    shop = shops.shop(tmp_path, customers=12)
    expected, writes = undisturbed(redis_url, store_prefix, shop)
    assert writes > 50
    for at in range(writes):
        run(scenario, World(redis_url, f"{store_prefix}-{at}", block=2), shop)


def test_9_chunks_of_any_size_with_crashes_between_give_the_same(play: Play, shop: Path) -> None:
    """Mutations caught: a tombstone folded with its customer's other events; entries written with the last block only.

    Scores pass through other moments on the way, so changes of segment may differ.
    """

    async def scenario(world: World) -> None:
        disturb(world.log)
        stores = [world.struck({n: crash}) for n in (2, 3, 5, 7, 30)]
        for store, size in zip(stores, (9, 4, 1, 30, 50), strict=True):
            with pytest.raises(Crash):
                await in_chunks(world, store, size)
        await world.catch_up(await world.located())
        found.append(world.contents() | {"changes:0": None, "freshness:0": None})

    async def once(world: World) -> None:
        disturb(world.log)
        await world.catch_up(await world.located())
        found.append(world.contents() | {"changes:0": None, "freshness:0": None})

    found: list[dict[str, Any]] = []
    play(scenario, shop, block=2)
    play(once, shop)
    assert_same(*found)


async def in_chunks(world: World, store: Store, size: int) -> None:
    """Everything, so many records at a time."""
    part, end = await world.located(store=store), len(world.log.records[0])
    while part.reached < end:
        await world.catch_up(part, min(part.reached + size, end))
