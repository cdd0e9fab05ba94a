"""A published deployment on a real Redis, with a log in memory, and what can be made to happen to its workers."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import redis as redis_module
from logs import MemoryLog, busy
from shops import T0

from models import scores
from models.rows import PROMISED, load_rows
from streams import trainer
from streams.deployment import Deployment
from streams.kafka import Topic
from streams.kept import Kept
from streams.metrics import Meter
from streams.partition import Partition
from streams.publish import publish
from streams.serving import Serving
from streams.settings import Settings
from streams.store import Store, connect

UNSURE = (b"duplicate", b"before_first_purchase", b"late", b"erased")  # counts that a crash or a rebuild may change
WALL = (b"scored_at", b"token", b"counted", b"erasure_key", b"life", b"feed_id")  # what no two runs have in common
Event = Callable[[], Awaitable[None]]


class Stopped(RuntimeError):
    """What ends a worker with exit code 2."""


class Crash(Exception):
    """The worker is gone; what it wrote stands."""


def stop(reason: str) -> NoReturn:
    raise Stopped(reason)


class Struck(Store):
    """A connection of its own; things happen before the writes (or their repeats) of these numbers, counted from 0."""

    def __init__(self, url: str, settings: Settings, happens: Mapping[int, Event]) -> None:
        super().__init__(connect(settings.model_copy(update={"redis_url": url})), settings)
        self.happens, self.writes = happens, 0

    async def write(self, *args: Any) -> tuple[bytes, str]:
        self.writes += 1
        await self.happens.get(self.writes - 1, nothing)()
        return await super().write(*args)


async def nothing() -> None:
    pass


async def crash() -> None:
    raise Crash


class World:
    """A deployment under a prefix of its own; `log` is what its producers sent."""

    def __init__(self, url: str, prefix: str, partitions: int = 1, **settings: Any) -> None:
        self.settings = Settings(**{"redis_url": url, "prefix": prefix, "events_topic": "t"} | settings)
        self.store = Store(connect(self.settings), self.settings)
        self.reached: list[Store] = [self.store]
        self.redis: Any = redis_module.Redis.from_url(url)
        self.log, self.count, self.epochs = MemoryLog(partitions), partitions, itertools.count(1)
        self.deployment: Deployment
        self.meter = Meter()
        self.port: int = self.redis.connection_pool.connection_kwargs["port"]
        self.version = ""

    @property
    def topic(self) -> Topic:
        return Topic("t", "id", [(self.log.low, len(held)) for held in self.log.records], {})

    async def publish(self, directory: Path, store: Store | None = None) -> str:
        """`streams publish DIR`; returns the version."""
        store = store or self.store
        self.version = await publish(store, self.settings, self.topic, Kept(directory), lambda _: None)
        self.deployment = await self.store.deployment()
        return self.version

    async def learn(self) -> bool:
        """One step of the trainer."""
        return await trainer.step(self.store, self.count)

    async def located(self, number: int = 0, store: Store | None = None) -> Partition:
        """A worker's partition, ready to process."""
        part = self.partition(number, store)
        await part.locate()
        return part

    def partition(self, number: int = 0, store: Store | None = None) -> Partition:
        """A worker's partition as it is assigned."""
        store = store or self.store
        return Partition(number, next(self.epochs), store, self.log, Serving(store), self.deployment, stop, self.meter)

    def struck(self, happens: Mapping[int, Event], port: int | None = None) -> Struck:
        """A store of its own, closed with this world; port: of a proxy."""
        store = Struck(f"redis://127.0.0.1:{port or self.port}/0", self.settings, happens)
        self.reached.append(store)
        return store

    async def catch_up(self, part: Partition, end: int | None = None) -> None:
        """Processes what the partition has not seen, as one chunk, and waits for its last write."""
        await part.process(self.log.chunk(part.reached, end, part.number))
        await self.settled(part)

    async def settled(self, part: Partition) -> None:
        """Waits for the write under way; raises what became of it."""
        async with part.locked():
            pass

    def empty(self) -> None:
        for key in self.redis.scan_iter(f"{self.settings.prefix}:*"):
            self.redis.delete(key)

    async def close(self) -> None:
        for store in self.reached:
            await store.redis.aclose()
        self.redis.close()

    # ---- what stands in Redis ----------------------------------------------------------------------------------------

    def customer(self, name: str) -> dict[str, str]:
        return {k.decode(): v.decode() for k, v in self.redis.hgetall(self.store.keys.customer(name)).items()}

    def members(self, segment: int, partition: int = 0) -> str:
        """The key of a segment's set."""
        return self.store.keys.set(self.store.keys.members_of(segment), partition)

    def rows(self, partition: int = 0) -> dict[str, bytes]:
        """The promised bytes of every customer's state."""
        found = self.redis.hgetall(self.store.keys.state(partition))
        rows = load_rows([*found.values()])
        return {name.decode(): row.tobytes()[:PROMISED] for name, row in zip(found, rows, strict=True)}

    def guard(self, partition: int = 0) -> tuple[int, int]:
        """Offset and swept_to."""
        offset, swept_to = self.redis.hmget(self.store.keys.guard(partition), "offset", "swept_to")
        return int(offset), int(swept_to)

    def changes(self, partition: int = 0) -> list[dict[str, str]]:
        """But for their numbers."""
        found = self.redis.xrange(self.store.keys.changes(partition))
        return [{k.decode(): v.decode() for k, v in fields.items() if k != b"n"} for _, fields in found]

    def examples(self, partition: int = 0) -> dict[int, dict[str, bytes]]:
        """Packed examples by day and customer."""
        prefix = self.store.keys.training(partition, 0)[:-1]
        keys = {int(key.decode().removeprefix(prefix)): key for key in self.redis.scan_iter(f"{prefix}*")}
        return {day: {n.decode(): e for n, e in self.redis.hgetall(keys[day]).items()} for day in sorted(keys)}

    def contents(self) -> dict[str, Any]:
        """Everything, but for what no two runs have in common."""
        prefix = f"{self.settings.prefix}:"
        keys = sorted(key.decode().removeprefix(prefix) for key in self.redis.scan_iter(f"{prefix}*"))
        return {key: self._value(prefix + key) for key in keys}

    def _value(self, key: str) -> Any:
        kind = self.redis.type(key)
        if kind == b"hash":
            found = {k: v for k, v in self.redis.hgetall(key).items() if k not in WALL}
            return sorted(found.values()) if ":erased:" in key else found  # its fields are hashes under a secret key
        if kind == b"zset":
            return self.redis.zrange(key, 0, -1, withscores=True)
        if kind == b"stream":  # only a customer's own changes have an order, so numbers are not compared
            told = [{k: v for k, v in fields.items() if k != b"n"} for _, fields in self.redis.xrange(key)]
            return sorted(told, key=lambda fields: fields[b"customer"])
        if kind == b"list":
            return self.redis.lrange(key, 0, -1)
        return self.redis.get(key)


Scenario = Callable[[World], Awaitable[None]]
Play = Callable[..., None]  # the fixture: (scenario, directory=nobody or None, partitions=1, **settings)


def run(scenario: Scenario, world: World, directory: Path | None) -> None:
    """Publishes the directory, if one is given, and plays the scenario."""

    async def whole() -> None:
        try:
            if directory is not None:
                await world.publish(directory)
            await scenario(world)
        finally:
            await world.close()

    asyncio.run(whole())


# ---- comparisons -----------------------------------------------------------------------------------------------------
def disturb(log: MemoryLog) -> None:
    """Three customers of the shop and three new ones, some 20 events each: more than a ring recognises."""
    busy(log, T0, 45, ["h0", "h1", "h2"], seed=1)


def undisturbed(url: str, prefix: str, shop: Path) -> tuple[dict[str, Any], int]:
    """What stands in Redis when one worker did it all, and with how many writes."""
    found: dict[str, Any] = {}

    async def scenario(world: World) -> None:
        disturb(world.log)
        store = world.struck({})
        await world.catch_up(await world.located(store=store))
        found.update(world.contents())
        writes.append(store.writes)

    writes: list[int] = []
    run(scenario, World(url, f"{prefix}-undisturbed", block=2), shop)
    return found, writes[0]


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Everything in Redis is equal, but for the counts that may be short."""
    short = found.pop("rejected:0"), dict(expected["rejected:0"])
    assert all(int(short[0].pop(name, 0)) <= int(short[1].pop(name, 0)) for name in UNSURE)
    assert short[0] == short[1]
    assert found == {key: value for key, value in expected.items() if key != "rejected:0"}


def held(part: Partition) -> dict[str, bytes]:
    """The promised bytes of the rows in memory."""
    return {name: part.table.rows[row].tobytes()[:PROMISED] for name, row in part.table.index.items()}


def assert_agree(world: World, part: Partition) -> None:
    """Hashes, segment sets and states of everybody say the same."""
    states = world.redis.hgetall(world.store.keys.state(0))
    assert {name.decode() for name in states} == part.table.index.keys()
    for name, packed in states.items():
        row, found = load_rows([packed]), world.customer(name.decode())
        segment, before = int(row["segment"][0]), int(row["segment_before"][0])
        assert (found["cluster"], found["segment_id"]) == (str(row["cluster"][0]), str(segment))
        assert found["segment"] == part.serving.segments[segment]
        assert found["previous_segment"] == (part.serving.segments[before] if before >= 0 else "")
        assert [found["segment_since"]] == scores.dates(row["segment_since"])
        assert (found["orders"], [found["spend"]]) == (str(row["orders"][0]), scores.money(scores.cents(row["spend"])))
        times = [found[f"{name}_at"] for name in ("first_purchase", "last_purchase", "last_event")]
        assert times == [scores.iso(row[name])[0] for name in ("first", "last", "at")]
        assert [found["mean_days_between_orders"]] == scores.gaps(row)
        assert [found["source"]] == scores.sources(row["seen"], "t:0")
        sets = {n: world.redis.zscore(world.members(n), name) for n in range(len(part.serving.segments))}
        assert {n for n, value in sets.items() if value is not None} == {segment}
        score, value = Decimal(f"{sets[segment]:.2f}"), Decimal(found["customer_value"])
        assert abs(score - value) * 100 <= value
