"""One customer: what Redis holds under that name, and which records are about it.

The rule: whatever is kept by customer has its line here, so that an export shows it and an erasure reaches it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from confluent_kafka import Message

from models.events import Rejected, decode_one
from streams import kafka
from streams.deployment import Deployment
from streams.kafka import Topic
from streams.refusal import Refusal
from streams.settings import Settings
from streams.store import SETS, Store

PAGE = 5_000  # changes read at once: Redis answers nobody else meanwhile
Change = tuple[bytes, dict[str, str]]  # its id in the stream, its fields


class _Who(msgspec.Struct):
    customer_id: str | int


def named(value: bytes) -> str | int | None:
    """The customer_id of a record's value, which is a reject's if it is a number; None where it names nobody.

    >>> named(b'{"customer_id":"c1","quantity":0}'), named(b'{"customer_id":7}'), named(b'{"customer_id":null}')
    ('c1', 7, None)
    """
    try:
        return msgspec.json.decode(value, type=_Who).customer_id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def about(customer_id: str, key: bytes | None, value: bytes | None) -> bool:
    """Whether a record, good or not, is about this customer: by its key, by what its value names, or, where that is no
    JSON, by a text in it.

    >>> about("c1", b"c1", None), about("c1", b"x", b'{"customer_id":"c1"}'), about("c1", b"x", b'{"customer_id":"c1"')
    (True, True, True)
    >>> about("7", b"x", b'{"customer_id":7}')
    True
    >>> about("c1", b"c2", b'{"customer_id":"c2","note":"c1"}'), about("c1", b"c2", None)
    (False, False)
    """
    mine = customer_id.encode()
    if key == mine:
        return True
    if value is None or (mine not in value and b"\\" not in value):
        return False
    found = named(value)
    return str(found) == customer_id if found is not None else b'"%b"' % mine in value


def in_log(
    settings: Settings, topic: Topic, customer_id: str, progress: Callable[[], None]
) -> Iterator[tuple[int, Message]]:
    """(partition, record) of all that the log holds about the customer: the whole topic is read."""
    for p, (low, high) in enumerate(topic.bounds):
        for record in kafka.read(settings, p, low, high):
            progress()
            if about(customer_id, record.key(), record.value()):
                yield p, record


async def erasures(store: Store, settings: Settings, deployment: Deployment) -> list[dict[str, tuple[int, int | None]]]:
    """Of each partition the last tombstone (offset, time in ms) by keyed hash, passed by a worker or not."""
    found = [await store.erased(p) for p in range(deployment.partitions)]
    ends = await asyncio.to_thread(kafka.bounds, settings, deployment.topic)
    for p, (low, high) in enumerate(ends[: deployment.partitions]):
        guard = await store.guard(p)
        for record in kafka.read(settings, p, max(low, guard.offset if guard else low), high):
            key = record.key()
            if record.value() is None and key is not None:
                with contextlib.suppress(UnicodeDecodeError):
                    found[p][deployment.erasure(key.decode())] = record.offset() or 0, record.timestamp()[1]
    return found


class Customer:
    """What is held on one customer. Raises Refusal for what can be no id."""

    def __init__(self, store: Store, deployment: Deployment, customer_id: str) -> None:
        try:
            decode_one(customer_id.encode(), None, None)
        except (Rejected, UnicodeEncodeError):
            raise Refusal("CUSTOMER is no id: it has 1 to 128 bytes of UTF-8") from None
        self.id, self.deployment = customer_id, deployment
        self.partition, self.hashed = deployment.home(customer_id), deployment.erasure(customer_id)
        self._store, self._redis, self._keys = store, store.redis, store.keys

    async def hash(self) -> dict[str, str]:
        """What a CRM reads."""
        return await self._store.customer(self.id)

    async def state(self) -> bytes | None:
        """The packed row."""
        found: bytes | None = await self._redis.hget(self._keys.state(self.partition), self.id)
        return found

    async def sets(self) -> dict[str, float]:
        """The score by set (Keys.set), of each segment set that holds the customer."""
        found: dict[str, float] = {}
        for kind in SETS:
            for name in sorted(await self._of_partition(kind, first=False)):
                each = f"{kind}:{name.partition(':')[0]}"
                value = await self._redis.zscore(self._keys.set(each, self.partition), self.id)
                found |= {} if value is None else {each: value}
        return found

    async def examples(self) -> dict[int, bytes]:
        """The packed examples by day."""
        days = sorted(int(name.partition(":")[2]) for name in await self._of_partition("training", first=True))
        packed = [await self._redis.hget(self._keys.training(self.partition, day), self.id) for day in days]
        return {day: example for day, example in zip(days, packed, strict=True) if example is not None}

    async def changes(self) -> list[Change]:
        """The customer's entries in the stream of changes, the oldest first."""
        key, mine, start = self._keys.changes(self.partition), [], "-"
        while page := await self._redis.xrange(key, start, count=PAGE):
            start = b"(" + page[-1][0]
            mine += [(at, fields) for at, fields in page if fields.get(b"customer") == self.id.encode()]
        return [(at, {k.decode(): v.decode() for k, v in fields.items()}) for at, fields in mine]

    async def erased(self) -> tuple[int, int | None] | None:
        """The last tombstone: its offset, and its time in ms if it was kept."""
        kept = await self._redis.hget(self._keys.erased(self.partition), self.hashed)
        if kept is None:
            return None
        offset, *at = map(int, kept.split())
        return offset, at[0] if at else None

    async def forget_examples(self, days: list[int]) -> int:
        """Returns how many there were."""
        gone = [await self._redis.hdel(self._keys.training(self.partition, day), self.id) for day in days]
        return sum(gone)

    async def forget_changes(self, ids: list[bytes]) -> int:
        """Returns how many there were."""
        return int(await self._redis.xdel(self._keys.changes(self.partition), *ids)) if ids else 0

    async def _of_partition(self, kind: str, first: bool) -> list[str]:
        """What follows the kind in the names of this partition's keys, which name it first or last."""
        mine: Any = str(self.partition)
        return [name for name in await self._store.scan(kind) if name.split(":")[0 if first else -1] == mine]
