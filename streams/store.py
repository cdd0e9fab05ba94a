"""Redis: the names of its keys and the scripts that read and write them.

The rule: a partition is read and written only under the token of its guard, and each write brings a new token.
Repeating a write is safe (the script answers with the token that stands), so callers repeat until Redis answers;
redis-py must not repeat by itself, for that hides what happened.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from models import scores
from models.customers import ENTRY, ROW
from streams.block import Block
from streams.settings import Settings

# What passes by itself: the call is repeated. Any other error of Redis means that this worker must not go on.
TRANSIENT: tuple[type[Exception], ...] = (
    exceptions.ConnectionError,  # also: loading
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.TryAgainError,
    OSError,
)
PAGE = 2_000  # rows or examples a page
_pack = msgspec.msgpack.Encoder().encode


class Keys:
    """The names of the keys; docs/redis-contract.md says what a CRM may rely on."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.meta, self.model = f"{prefix}:meta", f"{prefix}:model"
        self.versions, self.pinned = f"{prefix}:models", f"{prefix}:models:pinned"

    def customer(self, customer_id: str) -> str:
        return f"{self.prefix}:customer:{customer_id}"

    def guard(self, partition: int) -> str:
        return f"{self.prefix}:guard:{partition}"

    def state(self, partition: int) -> str:
        return f"{self.prefix}:state:{partition}"

    def changes(self, partition: int) -> str:
        return f"{self.prefix}:changes:{partition}"

    def rejected(self, partition: int) -> str:
        return f"{self.prefix}:rejected:{partition}"

    def erased(self, partition: int) -> str:
        return f"{self.prefix}:erased:{partition}"

    def segment(self, cluster: int, partition: int) -> str:
        return f"{self.prefix}:segment:{cluster}:{partition}"

    def training(self, partition: int, day: int) -> str:
        return f"{self.prefix}:training:{partition}:{day}"

    def version(self, version: str) -> str:
        return f"{self.prefix}:model:{version}"


@dataclass(frozen=True)
class Guard:
    """Where a partition stands: the next offset to fold, the day it was swept to, and the token of its last write."""

    offset: int
    swept_to: int
    token: bytes
    state: str
    quiet_until: int


def connect(url: str) -> "redis.asyncio.Redis":
    """A client that answers or raises within 3 s and repeats nothing by itself."""
    return redis.asyncio.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))


class Store:
    """All that workers and commands ask of Redis."""

    def __init__(self, client: "redis.asyncio.Redis", settings: Settings) -> None:
        self.redis: Any = client  # redis-py types every answer as a union with its awaitable
        self.settings, self.keys = settings, Keys(settings.prefix)
        here = Path(__file__).parent
        self._write, self._load, self._examples, self._learn = (
            client.register_script((here / f"{name}.lua").read_text())
            for name in ("write", "load", "examples", "learn")
        )

    async def meta(self) -> dict[str, str]:
        """What the first `publish` wrote last; empty before that."""
        return {k.decode(): v.decode() for k, v in (await self.redis.hgetall(self.keys.meta)).items()}

    async def guard(self, partition: int) -> Guard | None:
        found = await self.redis.hgetall(self.keys.guard(partition))
        if not found:
            return None
        offset, swept_to, quiet_until = (int(found.get(name, 0)) for name in (b"offset", b"swept_to", b"quiet_until"))
        return Guard(offset, swept_to, found[b"token"], found[b"state"].decode(), quiet_until)

    async def standing(self, partition: int) -> tuple[bytes, str]:
        """The token that stands and the serving model version."""
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hget(self.keys.guard(partition), "token").hget(self.keys.model, "version")
            token, version = await pipe.execute()
        return token or b"", (version or b"").decode()

    async def swept(self, partitions: int) -> list[int]:
        """The day that each partition was swept to; -1 where there is no guard."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for p in range(partitions):
                pipe.hget(self.keys.guard(p), "swept_to")
            return [-1 if day is None else int(day) for day in await pipe.execute()]

    async def customers(self, partition: int) -> int:
        """How many customers the partition holds."""
        return int(await self.redis.hlen(self.keys.state(partition)))

    async def load(self, partition: int, token: bytes) -> list[tuple[str, bytes]] | None:
        """The partition's customers with their packed rows; None when the token is another."""
        keys = [self.keys.guard(partition), self.keys.state(partition)]
        return await self._pages(lambda cursor: self._load(keys=keys, args=[token, cursor, PAGE]))

    async def _pages(self, read: Callable[[int], Awaitable[Any]]) -> list[tuple[str, bytes]] | None:
        """All pages of a hash, each guarded by its script.

        A cursor means nothing to a server that was started meanwhile (redis-py connects anew without a word), and pages
        would be missed: the server's run id is compared before and after.
        """
        started = (await self.redis.info("server"))["run_id"]
        found: dict[bytes, bytes] = {}
        cursor: int | None = None
        while cursor != 0:
            page = await read(cursor or 0)
            if page is None:
                return None
            cursor = int(page[0])
            found.update(zip(page[1][::2], page[1][1::2], strict=True))
        if (await self.redis.info("server"))["run_id"] != started:
            raise exceptions.ConnectionError("Redis was started anew in the middle of a read")
        return [(name.decode(), packed) for name, packed in found.items()]

    async def write(
        self, partition: int, held: bytes, token: bytes, offset: int, swept_to: int, block: Block
    ) -> tuple[bytes, str]:
        """The guarded write; answers (token that stands, serving version): applied if the token is the one given."""
        k, s = self.keys, self.settings
        keys = [k.guard(partition), k.state(partition), k.changes(partition), k.rejected(partition), k.model]
        packed = _pack(
            {
                "partition": partition,
                "fields": scores.FIELDS,
                "common": block.common,
                "names": block.names,
                "values": block.values,
                "size": ROW.itemsize,
                "segments": block.segments,
                "entries": block.entries,
                "entry_size": ENTRY.itemsize,
                "changes": block.changes,
                "erased": block.erased,
                "counts": block.counts,
                "training_days": s.training_days,
                "changes_kept": s.changes_kept,
            }
        )
        guard = _pack({"offset": str(offset), "swept_to": str(swept_to)})
        args: list[Any] = [held, token, guard, packed, block.states, block.packed, k.prefix]
        stands, version = await self._write(keys=keys, args=args)
        return stands, version.decode()

    async def model(self) -> dict[str, str]:
        """The serving model: version, day, token, metrics; empty before the first `publish`."""
        return {k.decode(): v.decode() for k, v in (await self.redis.hgetall(self.keys.model)).items()}

    async def document(self, version: str) -> bytes | None:
        """The artefact of a model version."""
        found: bytes | None = await self.redis.get(self.keys.version(version))
        return found

    async def examples(self, partition: int, day: int, version: str) -> list[tuple[str, bytes]] | None:
        """The day's examples by customer; None while the partition is not swept to it or the model is another."""
        keys = [self.keys.guard(partition), self.keys.model, self.keys.training(partition, day)]
        return await self._pages(lambda cursor: self._examples(keys=keys, args=[day, version, cursor, PAGE]))

    async def learned(
        self, held: tuple[str, str], version: str, token: str, day: int, document: bytes, metrics: str, partitions: int
    ) -> bool:
        """Writes the model version of `day` if (version, token) held still stand; False otherwise."""
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
        ]
        keys = [k.model, k.versions, k.pinned, k.version(version)]
        return bool(await self._learn(keys=keys, args=args))

    async def delete(self, keys: Iterable[str]) -> None:
        """Deletes without blocking Redis for long."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.unlink(key)
            await pipe.execute()


def erasure(customer_id: str, key: str) -> str:
    """The keyed hash that stands for an erased customer."""
    return hashlib.blake2b(customer_id.encode(), key=bytes.fromhex(key), digest_size=16).hexdigest()
