"""The write protocol on a real Redis, a scripted interleaving for each rule that docs/architecture.md numbers."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import pytest
import redis as redis_module
from proxy import Fault, Proxy

from models import artefact
from models.customers import DAY, ENTRY, PROMISED, Table
from models.events import encode_event, encode_tick
from models.model import Model
from models.segments import Segments
from streams import trainer
from streams.partition import Lost, Partition, Rules
from streams.publish import seed
from streams.serving import Serving
from streams.settings import Settings
from streams.store import Store, connect, erasure

T0 = 19_700  # the cut-off
KEY = "00" * 32


@dataclass
class Record:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


@dataclass
class Chunk:
    records: list[Record]
    start: int
    end: int


class Stopped(RuntimeError):
    """What ends a worker with exit code 2."""


def stop(reason: str) -> NoReturn:
    raise Stopped(reason)


@dataclass
class MemoryLog:
    """A partition's log in memory; keeps what it was asked."""

    records: list[Record] = field(default_factory=list)
    rejects: list[tuple[int, str]] = field(default_factory=list)
    lost: list[Partition] = field(default_factory=list)
    sought: list[tuple[int, int]] = field(default_factory=list)
    low: int = 0
    TRANSIENT: tuple[type[Exception], ...] = ()

    async def bounds(self, partition: int) -> tuple[int, int]:
        return self.low, len(self.records)

    async def seek(self, partition: int, offset: int, epoch: int) -> None:
        self.sought.append((offset, epoch))

    async def reject(self, partition: int, rejects: Sequence[tuple[Any, str]]) -> None:
        self.rejects += [(record.offset, reason) for record, reason in rejects]

    def lose(self, partition: Partition) -> None:
        partition.held_by_us = False
        self.lost.append(partition)

    def home(self, customer_id: str) -> int:
        return 1 if customer_id.startswith("stray") else 0

    def buy(self, customer: str, day: float, amount: str = "10.00", **more: Any) -> None:
        n, t = len(self.records), int(day * DAY)
        value = encode_event(f"e{n}", "purchase", customer, t, quantity=1, unit_price=amount, **more)
        self.put(customer.encode(), value, t)

    def put(self, key: bytes | None, value: bytes | None, t: int) -> None:
        self.records.append(Record(len(self.records), t // 1000, key, value))

    def chunk(self, start: int = 0, end: int | None = None) -> Chunk:
        end = len(self.records) if end is None else end
        return Chunk(self.records[start:end], start, end)


class World:
    """A published deployment of one partition under a prefix of its own."""

    def __init__(self, url: str, prefix: str, block: int = 500) -> None:
        self.settings = Settings(redis_url=url, prefix=prefix, block=block)
        self.store = Store(connect(url), self.settings)
        self.redis: Any = redis_module.Redis.from_url(url)
        self.log, self.rules, self.epoch = MemoryLog(), Rules("t", T0, 30, 3_600_000_000, KEY), 0

    async def publish(self) -> None:
        centres = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        segments = Segments(centres, np.zeros(3), np.ones(3), [0, 1], ["Champions", "Lost"])
        kept = artefact.Artefact.of(Model.create(T0, np.empty(0, ENTRY), 10.0, segments))
        document = artefact.encode(kept)
        self.version = artefact.version(1, T0, document)
        assert await self.store.learned(("", ""), self.version, "token", T0, document, "{}", 1)
        serving = Serving(self.store)
        await serving.use(self.version)
        await seed(self.store, serving, self.rules, 0, 0, [], Table().rows, lambda _: None)
        await self.store.redis.hset(self.store.keys.guard(0), mapping={"state": "ready", "quiet_until": 0})

    async def located(self, url: str = "") -> Partition:
        self.epoch += 1
        store = Store(connect(url), self.settings) if url else self.store
        part = Partition(0, self.epoch, store, self.log, Serving(store), self.rules, stop)
        await part.locate()
        return part

    async def end(self, part: Partition) -> None:
        async with part.held():
            pass

    def rows(self) -> dict[str, bytes]:
        found = self.redis.hgetall(self.store.keys.state(0))
        return {name.decode(): row[:PROMISED] for name, row in found.items()}

    def guard(self) -> tuple[int, int]:
        offset, swept_to = self.redis.hmget(self.store.keys.guard(0), "offset", "swept_to")
        return int(offset), int(swept_to)


Scenario = Callable[[World], Coroutine[Any, Any, None]]


@pytest.fixture
def play(servers: str, store_prefix: str) -> Callable[..., None]:
    """Runs a scenario on a fresh deployment, on each server in turn."""

    def run(scenario: Scenario, block: int = 500) -> None:
        async def whole() -> None:
            world = World(servers, store_prefix, block)
            for key in world.redis.scan_iter(f"{store_prefix}:*"):
                world.redis.delete(key)
            await world.publish()
            await scenario(world)
            await world.store.redis.aclose()
            world.redis.close()

        asyncio.run(whole())

    return run


def test_1_no_worker_makes_a_guard(play: Callable[..., None]) -> None:
    """Mutation caught: a missing guard taken as offset 0."""

    async def scenario(world: World) -> None:
        world.redis.delete(world.store.keys.guard(0))
        with pytest.raises(Stopped, match="no guard"):
            await world.located()
        assert not world.redis.exists(world.store.keys.guard(0))

    play(scenario)


def test_2_only_the_holder_of_the_token_writes(play: Callable[..., None]) -> None:
    """Mutation caught: `refresh` without the comparison of tokens."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        zombie, owner = await world.located(), await world.located()
        await owner.process(world.log.chunk())
        await world.end(owner)
        before = world.rows()
        with pytest.raises(Lost):
            await zombie.process(world.log.chunk())
        assert zombie in world.log.lost
        assert (world.rows(), world.guard()) == (before, (1, T0))
        assert world.redis.hget(world.store.keys.customer("ann"), "spend") == b"10.00"

    play(scenario)


def test_2_a_zombie_that_computed_before_it_lost(play: Callable[..., None]) -> None:
    """Mutations caught: write.lua without the comparison of tokens; another token answered, taken for a success."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        zombie = await world.located()

        async def too_late() -> None:
            async with zombie.held():
                owner = await world.located()
                await owner.process(world.log.chunk())
                await world.end(owner)
                await zombie.score_rows(np.empty(0, np.int64))  # its write is under way with the old token
                await zombie.settle()

        with pytest.raises(Lost):
            await too_late()
        assert zombie in world.log.lost
        assert world.guard() == (1, T0)

    play(scenario)


def test_3_a_lost_reply_is_repeated_once(play: Callable[..., None]) -> None:
    """Mutation caught: a new token for the repeat, which finds another token and loses the partition."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        port = int(world.settings.redis_url.rsplit(":", 1)[1].split("/")[0])
        with Proxy(port) as proxy:
            part = await world.located(f"redis://127.0.0.1:{proxy.port}/0")
            proxy.strike(Fault.CUT_REPLY, times=1)
            await part.process(world.log.chunk())
            await world.end(part)
            await part.store.redis.aclose()
        assert proxy.struck == 1
        assert world.log.lost == []
        assert world.guard() == (1, T0)
        assert world.redis.hget(world.store.keys.customer("ann"), "orders") == b"1"

    play(scenario)


def test_4_rows_of_another_owner_are_not_read(play: Callable[..., None]) -> None:
    """Mutation caught: load.lua without the token."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        guard = await world.store.guard(0)
        assert guard is not None
        owner = await world.located()
        await owner.process(world.log.chunk())
        await world.end(owner)
        assert await world.store.load(0, guard.token) is None
        assert await world.store.load(0, owner.token) is not None

    play(scenario)


def test_6_7_a_chunk_that_does_not_follow_is_lost(play: Callable[..., None]) -> None:
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

    play(scenario)


@pytest.mark.parametrize(("offset", "low"), [(5, 0), (0, 1)])
def test_8_an_offset_outside_the_log_stops(play: Callable[..., None], offset: int, low: int) -> None:
    """Mutation caught: starting at the log's end or start instead."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        world.log.low = low
        world.redis.hset(world.store.keys.guard(0), "offset", offset)
        with pytest.raises(Stopped, match="events are missing"):
            await world.located()

    play(scenario)


def test_8_a_key_of_another_type_stops_and_nothing_is_written(play: Callable[..., None]) -> None:
    """Mutation caught: write.lua without the check of types before the first write."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        part = await world.located()
        for cluster in (0, 1):
            world.redis.set(world.store.keys.segment(cluster, 0), "text")
        await part.process(world.log.chunk())
        with pytest.raises(Stopped, match="is no zset"):
            await world.end(part)
        assert (world.rows(), world.guard()) == ({}, (0, T0))

    play(scenario)


def test_9_a_crash_between_blocks_counts_nothing_twice(play: Callable[..., None]) -> None:
    """Mutation caught: the fold without `seen`."""

    async def scenario(world: World) -> None:
        for n in range(120):  # 20 a customer: more than the ring of event ids recognises
            world.log.buy(f"c{n % 6}", T0 + n / 200, f"{n + 1}.00")
        first = await world.located()
        written = 0
        send = first._send

        async def crash(*args: Any) -> None:
            nonlocal written
            written += 1
            if written <= 2:
                await send(*args)

        first._send = crash  # type: ignore[method-assign,assignment]
        await first.process(world.log.chunk())
        assert world.guard()[0] == 0
        assert len(world.rows()) == 4
        second = await world.located()
        await second.process(world.log.chunk())
        await world.end(second)
        assert world.guard()[0] == 120
        spends = {n: world.redis.hget(world.store.keys.customer(f"c{n}"), "spend") for n in range(6)}
        assert spends == {n: f"{sum(range(n, 120, 6)) + 20}.00".encode() for n in range(6)}

    play(scenario, block=2)


def test_11_an_emptied_redis_is_noticed_while_idle(play: Callable[..., None]) -> None:
    """Mutation caught: `idle` without the comparison of tokens."""

    async def scenario(world: World) -> None:
        part = await world.located()
        world.redis.hset(world.store.keys.guard(0), "token", "of an older snapshot")
        with pytest.raises(Lost):
            await part.idle()
        other = await world.located()
        world.redis.delete(world.store.keys.guard(0))
        with pytest.raises(Stopped, match="is gone"):
            await other.idle()

    play(scenario)


def test_a_sweep_is_cut_in_before_its_event_and_writes_examples(play: Callable[..., None]) -> None:
    """Mutation caught: the event folded before the sweep that it asks for."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        world.log.put(b"x", b"garbage", T0 * DAY)
        world.log.put(None, encode_tick((T0 + 40) * DAY + 3_600_000_000), (T0 + 40) * DAY + 3_600_000_000)
        world.log.buy("stray1", T0)
        part = await world.located()
        await part.process(world.log.chunk())
        await world.end(part)
        assert world.guard() == (4, T0 + 40)
        assert world.log.rejects == [(1, "not_json"), (3, "wrong_partition")]
        rejected = world.redis.hgetall(world.store.keys.rejected(0))
        assert rejected == {b"not_json": b"1", b"wrong_partition": b"1"}
        keys = list(world.redis.scan_iter(f"{world.store.keys.prefix}:training:0:*"))
        entries = [np.frombuffer(world.redis.hget(k, "ann"), ENTRY)[0] for k in sorted(keys)]
        assert [int(e["open"]) for e in entries] == [0, 1][: len(entries)]
        assert entries[0]["now"]["spend"] == 100_000

    play(scenario)


def test_a_tombstone_leaves_nothing_but_a_keyed_hash(play: Callable[..., None]) -> None:
    """Mutation caught: a tombstone folded in one write with later events of the customer."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        world.log.put(b"ann", None, T0 * DAY)
        part = await world.located()
        await part.process(world.log.chunk())
        await world.end(part)
        assert world.rows() == {}
        assert not world.redis.exists(world.store.keys.customer("ann"))
        assert [world.redis.zcard(world.store.keys.segment(c, 0)) for c in (0, 1)] == [0, 0]
        assert world.redis.hkeys(world.store.keys.erased(0)) == [erasure("ann", KEY).encode()]
        world.log.buy("ann", T0 + 1, "3.00")
        await part.process(world.log.chunk(2))
        await world.end(part)
        assert world.redis.hget(world.store.keys.customer("ann"), "spend") == b"3.00"

    play(scenario)


def test_the_trainer_writes_one_version_a_day_from_the_one_before(play: Callable[..., None]) -> None:
    """Mutation caught: learn.lua without the comparison of version and token."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        world.log.put(None, encode_tick((T0 + 3) * DAY + 3_600_000_000), (T0 + 3) * DAY + 3_600_000_000)
        assert not await trainer.step(world.store, 1)
        part = await world.located()
        await part.process(world.log.chunk())
        await world.end(part)
        while await trainer.step(world.store, 1):
            pass
        versions = [v.decode() for v in world.redis.lrange(world.store.keys.versions, 0, -1)]
        assert versions[0] == world.version
        assert [v.split("-")[1] for v in versions] == ["20231209", "20231210", "20231211", "20231212"]
        assert not await world.store.learned((versions[1], "x"), "1-x", "y", T0 + 9, b"", "{}", 1)
        assert (await world.store.model())["version"] == versions[-1]
        await part.idle()
        assert part.serving.version == versions[-1]

    play(scenario)
