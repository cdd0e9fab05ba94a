"""Redis: all that workers and commands read and write there.

The rule: a partition is read and written only under the token of its guard, and each write brings a new token.
Repeating a write is safe (it answers with the token that stands), so callers repeat until Redis answers;
redis-py must not repeat by itself, for that hides what happened.
"""

import asyncio
import contextlib
import itertools
import os
import random
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import redis.asyncio
from redis import exceptions
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from streams import answers, rights, security, wire
from streams.deployment import Deployment, DeploymentError, Guard, GuardState
from streams.freshness import SAID, Freshness
from streams.keys import Keys
from streams.settings import Settings, parted
from streams.writes import Block, GuardedWrites, Position

PAGE = 2_000  # rows or examples a page
SETS = ("members", "segment")  # kinds of keys that hold a segment's customers: those of now, and of schema 1
LEDGER_DAYS = 400  # that lines of the ledger are kept
DAY = re.compile("0|[1-9][0-9]{0,4}")  # since the epoch, as it is written
CONNECTIONS = 1 << 16  # redis-py would stop at 100, and a worker has one for each partition that it holds
SLOWEST = 2.0  # seconds between two tries at most
_pack = msgspec.msgpack.Encoder().encode


def connect(settings: Settings, **more: Any) -> "redis.asyncio.Redis":
    """A client of the primary, which answers or raises within 3 s and repeats nothing by itself; more: of redis-py.

    Where Sentinels are set, each new connection asks them who the primary is; all else is as CRM_REDIS_URL says.
    """
    patience: dict[str, Any] = {"socket_timeout": 3, "socket_connect_timeout": 2, "retry": Retry(NoBackoff(), 0)}
    patience |= {"protocol": 2, "max_connections": CONNECTIONS} | security.redis(settings) | more
    mine: dict[str, Any] = {"parser_class": wire.Parser}
    if not settings.redis_sentinels:
        return redis.asyncio.Redis.from_url(settings.redis_url, **patience, **mine)
    given: dict[str, Any] = {**parse_url(settings.redis_url)}
    secure = {"ssl": True} if given.pop("connection_class", None) is SSLConnection else {}
    common = patience | secure | {name: value for name, value in given.items() if name.startswith("ssl_")}
    mine |= common | {name: given[name] for name in ("db", "username", "password") if name in given}
    addresses = [parted(each) for each in settings.redis_sentinels.split(",")]
    sentinel: Any = redis.asyncio.Sentinel(addresses, sentinel_kwargs=common, **mine)  # type: ignore[no-untyped-call]
    client: redis.asyncio.Redis = sentinel.master_for(settings.redis_service, redis_class=OfSentinels)
    return client


class Moved(Exception):
    """What guards a read is not as expected, or not any more: what was read so far means nothing."""


class OfSentinels(redis.asyncio.Redis):
    """A client of the primary that Sentinels name, which closes its connections to them too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        for each in pool.sentinel_manager.sentinels:
            await each.aclose()


def _text(found: bytes, key: str) -> str:
    """What stands at `key`, or in a field of it. Raises DeploymentError for what is none."""
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise DeploymentError(f"{key} holds what is no text: restore Redis") from None


def _texts(found: dict[bytes, bytes], key: str) -> dict[str, str]:
    """The fields of a hash, likewise."""
    return {_text(name, key): _text(value, key) for name, value in found.items()}


def token() -> bytes:
    """A fencing token: nobody else's, ever."""
    return os.urandom(16)


def pauses() -> Iterator[float]:
    """Seconds to wait between tries, growing up to SLOWEST; `patience` makes each a little longer or shorter."""
    pause = 0.05
    while True:
        yield pause
        pause = min(2 * pause, SLOWEST)


async def patience(pause: float) -> None:
    """Waits about so many seconds."""
    await asyncio.sleep(pause * random.uniform(0.5, 1.5))


class Store:
    """All that workers and commands ask of Redis."""

    def __init__(self, client: "redis.asyncio.Redis", settings: Settings) -> None:
        self.redis: Any = client  # redis-py types every answer as a union with its awaitable
        self.settings, self.keys = settings, Keys(settings.prefix)
        self.loading = asyncio.Lock()  # of whoever reads all states of a partition
        self._writes: dict[int, GuardedWrites] = {}  # by partition
        here = Path(__file__).parent
        self._examples, self._learn, self._rights, self._freshness = (
            client.register_script((here / f"{name}.lua").read_text())
            for name in ("examples", "learn", "rights", "freshness")
        )

    # ---- the deployment ----------------------------------------------------------------------------------------------

    async def published(self) -> Deployment | None:
        """What the first `publish` wrote last; None before that."""
        fields = await self.redis.hgetall(self.keys.meta)
        named = _texts(fields, self.keys.meta)
        return Deployment.read(named, self.keys.meta, self.settings.grace) if named else None

    async def deployment(self) -> Deployment:
        """The same. Raises DeploymentError before the first publish."""
        found = await self.published()
        if found is None:
            raise DeploymentError(f"{self.keys.meta} is missing: run `python -m streams publish DIR`, or restore Redis")
        return found

    async def write_deployment(self, deployment: Deployment) -> None:
        """From here on workers start."""
        await self.redis.hset(self.keys.meta, mapping=deployment.fields())

    async def keep(self, deployment: Deployment) -> None:
        """What a deployment that was published before lacks: its grace, so that all workers have the same from here on,
        and where a customer's partition is told."""
        if await self.redis.hget(self.keys.meta, "grace") is None:
            await self.redis.hset(self.keys.meta, "grace", deployment.grace)
        told = {"partitions": deployment.partitions, "partitioner": deployment.partitioner, "life": deployment.life}
        await self.redis.hset(self.keys.partitions, mapping=told)

    async def freshen(self, owner: str, found: Sequence[Freshness]) -> None:
        """Says how fresh these partitions are, of which this worker is the owner."""
        keys = [self.keys.freshness(each.partition) for each in found]
        await self._freshness(keys=keys, args=[owner, *itertools.chain.from_iterable(each.fields for each in found)])

    async def unheard(self, partition: int) -> None:
        """Takes back what a worker said of a partition: the scores are others now. What its feed gave stays."""
        await self.redis.hdel(self.keys.freshness(partition), *SAID)

    # ---- guards ------------------------------------------------------------------------------------------------------

    async def guard(self, partition: int) -> Guard | None:
        """Raises DeploymentError for a damaged one."""
        key = self.keys.guard(partition)
        found = await self.redis.hgetall(key)
        return Guard.read(found, key) if found else None

    async def standing(self, partition: int) -> tuple[bytes, str]:
        """The token that stands and the serving model version. Raises DeploymentError where states are missing."""
        ((stands, version),) = await self.standings([partition])
        return stands, version

    async def standings(self, partitions: Sequence[int]) -> list[tuple[bytes, str]]:
        """The same of each of these, as of one moment."""
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hget(self.keys.model, "version")
            for p in partitions:
                pipe.hmget(self.keys.guard(p), "token", "customers", "counted").hlen(self.keys.state(p))
            version, *found = await pipe.execute()
        for p, (stands, customers, counted), held in zip(partitions, found[::2], found[1::2], strict=True):
            if stands is not None and counted == stands and int(customers) != held:
                raise self._missing(p, int(customers), held)
        return [(stands or b"", (version or b"").decode()) for stands, _, _ in found[::2]]

    def _missing(self, partition: int, counted: int, held: int) -> DeploymentError:
        """What is to be done where a partition's states are not as many as were written."""
        return DeploymentError(
            f"{self.keys.state(partition)} holds {held:,} customers, but {counted:,} were written: states were deleted"
            " or evicted: restore Redis, or run `streams rebuild`"
        )

    async def lacking(self, partition: int) -> str | None:
        """What a worker of the partition does and the user may not: a command, and a key of the kind that it changes.

        None if nothing is lacking, or Redis cannot say (6.2).
        """
        asked = rights.commands(self.keys, partition)
        first = int(await self._rights(keys=[], args=[_pack(asked)]))
        return " ".join(asked[first - 1][:2]) if first else None

    async def mistyped(self, partition: int, segments: int) -> str | None:
        """A key that a write of the partition changes and that is of another type; segments: how many there are."""
        k = self.keys
        types = {k.state(partition): "hash", k.changes(partition): "stream", k.rejected(partition): "hash"}
        types |= {k.erased(partition): "hash", k.freshness(partition): "hash"}
        types |= {k.set(k.members_of(n), partition): "zset" for n in range(segments)}
        async with self.redis.pipeline(transaction=False) as pipe:
            for key in types:
                pipe.type(key)
            found = await pipe.execute()
        wrong = (key for key, name in zip(types, found, strict=True) if name.decode() not in ("none", types[key]))
        return next((f"{key} is no {types[key]}" for key in wrong), None)

    async def looked_over(
        self, partitions: int
    ) -> tuple[int, list[tuple[Guard | None, int, Freshness | None, dict[str, int]]]]:
        """(seconds since the epoch by this server's clock; of each partition its guard, how many customers it holds,
        how fresh it is, and what of its records did not count, by reason)."""
        k = self.keys
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for p in range(partitions):
                pipe.hgetall(k.guard(p)).hlen(k.state(p)).hgetall(k.freshness(p)).hgetall(k.rejected(p))
            (now, _), *found = await pipe.execute()
        each = zip(found[::4], found[1::4], found[2::4], found[3::4], strict=True)
        return now, [
            (
                Guard.read(guard, k.guard(p)) if guard else None,
                customers,
                Freshness.read(p, {name.decode(): text.decode() for name, text in fresh.items()}),
                {name.decode(): int(count) for name, count in counted.items()},
            )
            for p, (guard, customers, fresh, counted) in enumerate(each)
        ]

    async def swept(self, partitions: int) -> list[int]:
        """The day that each partition was swept to; -1 where there is no guard."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for p in range(partitions):
                pipe.hget(self.keys.guard(p), "swept_to")
            return [-1 if day is None else int(day) for day in await pipe.execute()]

    async def rebuilding(self, partition: int, quiet_until: int) -> None:
        """From here on no worker writes the partition or starts to read it."""
        mapping = {"token": token(), "state": GuardState.REBUILDING, "quiet_until": quiet_until}
        await self.redis.hset(self.keys.guard(partition), mapping=mapping)

    async def seeding(self, partition: int, position: Position) -> bytes:
        """A guard that stands there and is not READY; returns its token."""
        fresh = token()
        mapping = {"token": fresh, "state": GuardState.SEEDING, **position._asdict(), "start": position.offset}
        await self.redis.hset(self.keys.guard(partition), mapping=mapping)
        return fresh

    async def void(self, partition: int) -> None:
        """From here on who follows the partition's feed must copy everybody anew."""
        await self.redis.hincrby(self.keys.freshness(partition), "feed", 1)

    async def ready(self, partition: int, **more: int) -> None:
        """From here on workers fold the partition; more: other fields of the guard."""
        await self.redis.hset(self.keys.guard(partition), mapping={"state": GuardState.READY, **more})

    # ---- a partition's customers -------------------------------------------------------------------------------------

    async def customer(self, customer_id: str) -> dict[str, str]:
        """What a CRM reads; empty for somebody unknown."""
        found = await self.redis.hgetall(self.keys.customer(customer_id))
        return _texts(found, self.keys.of_kind("customer"))

    async def customers(self, partition: int) -> int:
        """How many customers the partition holds."""
        return int(await self.redis.hlen(self.keys.state(partition)))

    async def erased(self, partition: int) -> dict[str, tuple[int, int | None]]:
        """Of each customer who was erased, by keyed hash, the last tombstone: offset, and time in ms if it was kept."""
        found = await self.redis.hgetall(self.keys.erased(partition))
        tombstones = {name.decode(): [int(number) for number in kept.split()] for name, kept in found.items()}
        return {name: (offset, at[0] if at else None) for name, (offset, *at) in tombstones.items()}

    async def load(self, partition: int, expected: bytes) -> AsyncIterator[tuple[list[str], list[bytes]]]:
        """The partition's customers and their packed rows, a page at a time; some may come twice. Raises Moved.

        No token comes a second time while one server runs: where it stands before and behind all pages nobody wrote
        between them.
        """
        started, cursor = await self.run_id(), b""
        await self._expect(partition, expected)
        while cursor != b"0":
            cursor, found = await self._page(self.keys.state(partition), cursor or b"0")
            yield [*map(bytes.decode, found[::2])], found[1::2]
        await self._expect(partition, expected)
        await self._runs_since(started)

    async def _expect(self, partition: int, token: bytes) -> None:
        """Raises Moved where another token stands."""
        if await self.redis.hget(self.keys.guard(partition), "token") != token:
            raise Moved

    async def _runs_since(self, started: str) -> None:
        """Raises ConnectionError where the server was started anew since: a cursor means nothing to the new one, and
        pages would be missed (redis-py connects anew without a word)."""
        if await self.run_id() != started:
            raise exceptions.ConnectionError("Redis was started anew in the middle of a read")

    async def _page(self, key: str, cursor: bytes, count: int = PAGE) -> tuple[bytes, list[bytes]]:
        """The next cursor, and about so many names and values, one behind the other: as Redis says it, a script would
        lay it all out twice."""
        (page,) = await wire.exchange(self.redis, wire.pack(("HSCAN", key, cursor, "COUNT", count)), 1)
        if isinstance(page, Exception):
            raise page
        return page[0], page[1]

    async def stands(self, partition: int) -> tuple[bytes, str]:
        """The same as `standing`, as the next write will find it."""
        stands = await self._of(partition).read()
        if not stands.whole:
            return await self.standing(partition)
        return stands.token, stands.version

    def _of(self, partition: int) -> GuardedWrites:
        if partition not in self._writes:
            self._writes[partition] = GuardedWrites(self.redis, self.keys, self.settings, partition)
        return self._writes[partition]

    async def write(
        self, partition: int, expected: bytes, new: bytes, position: Position, block: Block
    ) -> tuple[bytes, str]:
        """The guarded write: compare the token with the one expected, and set (streams/writes.py).

        Answers (token that stands, serving version): it was applied if that token is the new one. Raises
        DeploymentError where states are missing.
        """
        writes = self._of(partition)
        while (stands := await writes.stands(expected)).token == expected:
            if stands.whole:
                after = await writes.write(stands, new, position, block)
                if after is None:
                    continue
                if after.whole:
                    return new, after.version
            await self.standing(partition)  # says what is missing, unless somebody wrote between two readings
        return stands.token, stands.version

    # ---- models ------------------------------------------------------------------------------------------------------

    async def model(self) -> dict[str, str]:
        """The serving model: version, day, token, metrics, furthest (the last day that any model learned) and since
        (that day as it was published; a program of before keeps none); empty before the first `publish`.

        Raises DeploymentError for a damaged one.
        """
        found = _texts(await self.redis.hgetall(self.keys.model), self.keys.model)
        lacking = [name for name in ("version", "day", "token", "metrics") if name not in found]
        if found and lacking:
            raise DeploymentError(f"{self.keys.model} lacks {', '.join(lacking)}: restore Redis")
        for name in ("day", "since", "furthest"):
            if name in found and not DAY.fullmatch(found[name]):
                raise DeploymentError(f"{self.keys.model}: its {name}, {found[name]!r}, is none: restore Redis")
        # A program of before writes no `furthest`, and one beside this one does not move it.
        return found and found | {"furthest": str(max(int(found.get("furthest", 0)), int(found["day"])))}

    async def versions(self) -> list[str]:
        """The versions that are kept, the oldest first."""
        return [_text(version, self.keys.versions) for version in await self.redis.lrange(self.keys.versions, 0, -1)]

    async def pinned(self) -> set[str]:
        """The versions whose documents are never dropped."""
        return {_text(version, self.keys.pinned) for version in await self.redis.smembers(self.keys.pinned)}

    async def pin(self, version: str) -> bool:
        """From here on its document is not dropped; False, and nothing changed, where there is none any more."""
        added = await self.redis.sadd(self.keys.pinned, version)
        if await self.document(version) is not None:  # asked behind that: `learn.lua` drops none that is pinned
            return True
        if added:
            await self.redis.srem(self.keys.pinned, version)
        return False

    async def unpin(self, version: str) -> bool:
        """Its document goes as others do, at once where its turn was; False where it was not pinned."""
        if not await self.redis.srem(self.keys.pinned, version):
            return False
        if version not in await self.versions():
            await self.redis.delete(self.keys.version(version))
        return True

    async def document(self, version: str) -> bytes | None:
        """The artefact of a model version."""
        found: bytes | None = await self.redis.get(self.keys.version(version))
        return found

    async def served(self) -> tuple[dict[str, str], bytes | None]:
        """The serving model and its document; None if it stands nowhere, though it is still the one that serves.

        The trainer may learn more days than versions are kept while the document is read: then it is looked for anew.
        """
        stored = await self.model()
        while True:
            document = await self.document(stored.get("version", ""))
            named = stored if document is not None else await self.model()
            if named.get("version") == stored.get("version"):
                return stored, document
            stored = named

    async def examples(self, partition: int, day: int, version: str) -> list[tuple[str, bytes]] | None:
        """The day's examples by customer; None while the partition is not swept to it or the model is another."""
        keys = [self.keys.guard(partition), self.keys.model, self.keys.training(partition, day)]
        started, found, cursor = await self.run_id(), dict[bytes, bytes](), b""
        while cursor != b"0":
            page = await self._examples(keys=keys, args=[day, version, cursor or b"0", PAGE])
            if page is None:
                return None
            cursor = page[0]
            found.update(zip(page[1][::2], page[1][1::2], strict=True))
        await self._runs_since(started)
        return [(name.decode(), example) for name, example in found.items()]

    async def ledger(self) -> dict[int, bytes]:
        """The lines of truth (models/ledger.py) by day. Raises DeploymentError for a field that is no day."""
        lines: dict[bytes, bytes] = await self.redis.hgetall(self.keys.ledger)
        for field_ in lines:
            if not DAY.fullmatch(field_.decode("latin-1")):
                raise DeploymentError(f"{self.keys.ledger}: its field {field_!r} is no day: HDEL that field")
        return {int(day): line for day, line in lines.items()}

    async def learned(
        self,
        held: tuple[str, str],
        version: str,
        token: str,
        day: int,
        document: bytes,
        metrics: str,
        partitions: int,
        line: bytes = b"",
        described: Sequence[Sequence[str]] = (),
    ) -> bool:
        """Writes the model version of `day` if (version, token) held still stand; False otherwise.

        line: the day's of the ledger; a publish has none. described: of segments and of clusters the fields and their
        texts, one behind the other; a publish has them.
        """
        k, s = self.keys, self.settings
        args: list[Any] = [
            *held,
            version,
            token,
            day,
            document,
            metrics,
            s.models_kept,
            s.training_days,
            k.prefix,
            partitions,
            line,
            LEDGER_DAYS,
            _pack(described) if described else "",
        ]
        keys = [k.model, k.versions, k.pinned, k.version(version), k.ledger, k.segments, k.clusters]
        return bool(await self._learn(keys=keys, args=args))

    # ---- all of it ---------------------------------------------------------------------------------------------------

    async def drop_everything(self) -> None:
        """Every key of the prefix: what an interrupted first publish left."""
        await self._drop(self.keys.everything)

    async def drop_scores(self) -> None:
        """States, customers' hashes, segment sets and reject counts; the counts are made again with the rejects."""
        for kind in ("state", "customer", *SETS, "rejected"):
            await self._drop(self.keys.of_kind(kind))

    async def close(self) -> None:
        await self.redis.aclose()

    async def connect_anew(self) -> None:
        """Drops the connections that nobody uses, for another server may have the address by now, or the primary may be
        another. Those in use find that out for themselves."""
        with contextlib.suppress(exceptions.RedisError, OSError):  # TLS takes leave of a server that may not answer
            await self.redis.connection_pool.disconnect(inuse_connections=False)

    async def warnings(self) -> list[str]:
        """What of this server's settings may lose data, a line each; nothing of what it does not tell."""
        memory, kept = await self.redis.info("memory"), await self.redis.info("persistence")
        try:
            snapshots: str | None = (await self.redis.config_get("save"))["save"]
        except (exceptions.ResponseError, KeyError):  # CONFIG is refused where others run the server
            snapshots = None
        return answers.warnings(memory.get("maxmemory_policy"), kept.get("aof_enabled"), snapshots)

    async def _drop(self, pattern: str) -> None:
        """Without blocking Redis for long."""
        found = [key async for key in self.redis.scan_iter(pattern, count=1000)]
        async with self.redis.pipeline(transaction=False) as pipe:
            for key in found:
                pipe.unlink(key)
            await pipe.execute()

    # ---- what `verify` reads: all of it, and without a token ---------------------------------------------------------

    async def run_id(self) -> str:
        """Names this start of the server: a scan that spans two of them misses what stood there all the time."""
        started: str = (await self.redis.info("server"))["run_id"]
        return started

    async def scan(self, kind: str) -> list[str]:
        """What follows the kind in the names of its keys; bytes that are not UTF-8 as lone surrogates."""
        pattern = self.keys.of_kind(kind)
        found = {key async for key in self.redis.scan_iter(pattern, count=PAGE)}
        return [key.decode(errors="surrogateescape").removeprefix(pattern[:-1]) for key in found]

    async def names(self, partition: int, sets: Iterable[str]) -> set[str]:
        """Who has a state in the partition or stands in one of these segment sets of it; decoded as by `scan`."""
        found = {name async for name, _ in self.redis.hscan_iter(self.keys.state(partition), count=PAGE)}
        for each in sets:
            key = self.keys.set(each, partition)
            found |= {name async for name, _ in self.redis.zscan_iter(key, count=PAGE)}
        return {name.decode(errors="surrogateescape") for name in found}

    async def look(
        self, partition: int, names: Sequence[str], fields: Sequence[str], sets: Sequence[str]
    ) -> tuple[Guard | None, list[bytes | None], list[list[bytes | None]], list[list[float | None]]]:
        """As of one moment: the guard, and of each of these customers the packed state, these fields of the hash, and
        the scores in these segment sets (a list a set)."""
        k = self.keys
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(k.guard(partition)).hmget(k.state(partition), names)
            for name in names:
                pipe.hmget(k.customer(name), fields)
            for each in sets:
                pipe.zmscore(k.set(each, partition), names)
            guard, states, *rest = await pipe.execute()
        found = Guard.read(guard, k.guard(partition)) if guard else None
        return found, states, rest[: len(names)], rest[len(names) :]
