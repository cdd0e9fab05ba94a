"""The guarded write: scores, states, examples, changes and guard as one transaction of plain commands, or nothing.

The rule: the guard is watched from the moment at which its token was read, so a transaction is executed only where
nobody has written since (https://redis.io/docs/latest/develop/interact/transactions/, optimistic locking). Behind each
one the guard is watched and read again with the same bytes: the next write needs no further round trip. What Redis
refuses, a right, memory, a replica, it refuses as commands are queued, and then executes none. Only a key of another
type fails inside: then the guard says `damaged`, for Redis does not roll back.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis import exceptions

from streams.deployment import GuardState
from streams.keys import Keys
from streams.settings import Settings
from streams.wire import Line, begun, pack

UNCOUNTED = -1  # customers of a guard that was written by a program that does not count them
FRESH = 1.0  # seconds for which what was read behind a write is believed before it is read anew
READS = 6  # answers of `_reads`
Change = tuple[str, str, str, str, str, str]  # type, customer, from, to, at, source


@dataclass
class Block:
    """What one write carries beside offset, day and token; customers' columns have one item a customer."""

    names: Sequence[str] = ()
    hashes: bytes = b""  # a command each, packed, one behind the other: fields of their hashes, those that changed, or
    whole: Sequence[bool] = ()  # all of them
    new: int = 0  # customers whose state is not in Redis yet
    states: bytes = b""  # behind the customer of each, packed
    left: Sequence[tuple[str, list[str]]] = ()  # set (Keys.set), [customer, ...]: whoever moved or is erased
    sets: Sequence[tuple[str, list[str]]] = ()  # set, [value, customer, value, customer, ...]
    entries: Sequence[tuple[int, str]] = ()  # day, customer
    packed: bytes = b""  # an example for each, one behind the other
    entry_size: int = 0
    changes: Sequence[Change] = ()  # what is announced
    missed: int = 0  # numbers of the feed that are passed over first: who follows it must copy everybody anew
    erased: Sequence[tuple[str, bool]] = ()  # customer, and whether a state of theirs is in Redis
    tombstones: Sequence[tuple[str, str]] = ()  # keyed hash, what is kept under it
    counts: Sequence[tuple[str, int]] = field(default_factory=list)  # reason, rejects
    torn: Sequence[str] = ()  # found by the write: whose hash had lost fields, so that it is not whole now


class Position(NamedTuple):
    """Where a write leaves its partition: fields of the guard (streams/deployment.py says what each is)."""

    offset: int
    swept_to: int
    hashes: int
    mark: str = ""
    model: str = ""


class Standing(NamedTuple):
    """What stood as the guard was watched. read: by this process's steady clock; now: ms since the epoch by Redis's;
    customers: as the guard counts them, or UNCOUNTED; held: states; day: the model's; feed, last: number and id of the
    last change that was announced.
    """

    read: float
    now: int
    token: bytes
    customers: int
    held: int
    version: str
    day: int
    feed: int
    last: str

    @property
    def whole(self) -> bool:
        """Whether no states were deleted or evicted."""
        return self.customers in (UNCOUNTED, self.held)


class GuardedWrites:
    """Of one partition. client: of store.connect."""

    def __init__(self, client: Any, keys: Keys, settings: Settings, partition: int) -> None:
        self.keys, self.settings, self.partition = keys, settings, partition
        self._line, self._stands = Line(client), None  # type: tuple[Line, Standing | None]
        self._turn = asyncio.Lock()  # a partition that was lost may still be at its last write
        self._reads = pack(
            ("WATCH", keys.guard(partition), keys.state(partition)),  # states that go meanwhile are none to add to
            ("TIME",),
            ("HMGET", keys.guard(partition), "token", "customers", "counted"),
            ("HLEN", keys.state(partition)),
            ("HMGET", keys.model, "version", "day"),
            ("HMGET", keys.freshness(partition), "feed", "feed_id"),
        )

    async def stands(self, expected: bytes) -> Standing:
        """What stands, the guard being watched; read anew unless that was just now, under this token."""
        async with self._turn:
            known = self._stands
            if known and known.token == expected and time.monotonic() < known.read + FRESH:
                return known
            return await self._read()

    async def read(self) -> Standing:
        """What stands now, the guard being watched from here on."""
        async with self._turn:
            return await self._read()

    async def _read(self) -> Standing:
        self._stands = None  # whatever comes of this, nobody writes by what stood before
        await self._line.holds()  # one that was closed meanwhile is given up without an error
        return self._found(await self._line.begin(self._reads, READS))

    async def write(self, stands: Standing, new: bytes, position: Position, block: Block) -> Standing | None:
        """Writes the block if the guard is as it stood, and says what stands now; None: it is another, or somebody here
        read it since, and nothing was written.

        Raises RedisError where nothing was written, where nobody knows, or where the write broke inside.
        """
        async with self._turn:
            if stands is not self._stands:  # then the guard is watched from a later moment on
                return None
            before, after = self._erased(block), self._commands(stands, new, position, block)
            customers, last = len(block.names), [("HSET", self.keys.state(self.partition))] if block.names else []
            states = (begun(2 * customers, *command) + block.states for command in last)
            sent = pack(("MULTI",), *before), block.hashes, pack(*after), *states, pack(("EXEC",)), self._reads
            hashes = (("HSET", self.keys.customer(name)) for name in block.names)
            commands = itertools.chain(before, hashes, after, last)
            return await self._write(b"".join(sent), commands, len(before) + customers + len(after) + len(last), block)

    async def _write(
        self, sent: bytes, commands: Iterable[tuple[Any, ...]], count: int, block: Block
    ) -> Standing | None:
        """commands: what is sent between MULTI and EXEC, so many; of what is packed already as far as to name it."""
        self._stands = None
        answers = await self._line.exchange(sent, count + 2 + READS)
        queued, done, then = answers[: count + 1], answers[count + 1], answers[count + 2 :]
        if isinstance(done, Exception):
            await self._line.drop()
            raise next((each for each in queued if isinstance(each, Exception)), done)
        if done is None:
            return None
        if any(isinstance(answer, Exception) for answer in done):
            broke = zip(commands, done, strict=True)
            await self._damaged(*next(each for each in broke if isinstance(each[1], Exception)))
        first = len(block.erased)
        added = zip(block.names, block.whole, done[first : first + len(block.names)], strict=True)
        block.torn = [name for name, whole, fields in added if fields and not whole]
        return self._found(then)

    def _found(self, answers: list[Any]) -> Standing:
        for each in answers:
            if isinstance(each, Exception):
                raise each
        _, (seconds, micros), (token, customers, counted), held, (version, day), (feed, last) = answers
        now = int(seconds) * 1000 + int(micros) // 1000
        mine = int(customers) if token is not None and counted == token else UNCOUNTED
        told = (version or b"").decode(), int(day or 0), int(feed or 0), (last or b"").decode()
        self._stands = Standing(time.monotonic(), now, token or b"", mine, held, *told)
        return self._stands

    def _erased(self, block: Block) -> list[tuple[Any, ...]]:
        """What goes before the hashes: who was erased and came back since stands among the names too."""
        return [("DEL", self.keys.customer(name)) for name, _ in block.erased]

    def _commands(self, stands: Standing, new: bytes, position: Position, block: Block) -> list[tuple[Any, ...]]:
        """What goes between hashes and states; where one undoes another, the old goes before the new comes."""
        k, p = self.keys, self.partition
        commands = self._feed(stands, block)
        # Examples, but for those that already fell out of the kept window.
        oldest, size = stands.day - self.settings.training_days, block.entry_size
        commands += [
            ("HSET", k.training(p, day), name, block.packed[i * size : (i + 1) * size])
            for i, (day, name) in enumerate(block.entries)
            if day > oldest
        ]
        commands += [("HSET", k.erased(p), *tombstone) for tombstone in block.tombstones]
        commands += [("ZREM", k.set(name, p), *customers) for name, customers in block.left]
        commands += [("ZADD", k.set(name, p), *members) for name, members in block.sets]
        commands += [("HINCRBY", k.rejected(p), reason, n) for reason, n in block.counts]
        gone = [name for name, held in block.erased if held]
        if gone:
            commands.append(("HDEL", k.state(p), *gone))
        fields = position._asdict() | {
            "token": new,
            "counted": new,
            "customers": stands.held + block.new - len(gone),
        }
        commands.append(("HSET", k.guard(p), *itertools.chain(*fields.items())))
        return commands

    def _feed(self, stands: Standing, block: Block) -> list[tuple[Any, ...]]:
        """Numbers follow the last one; ids are times that grow, by Redis's clock: all that stand have passed."""
        if not block.changes and not block.missed:
            return []
        k, p, number = self.keys, self.partition, stands.feed + block.missed
        at, _, n = (stands.last or "0-0").partition("-")
        now, last = max((stands.now + 1, -1), (int(at), int(n)))
        kept = ("MAXLEN", "~", self.settings.changes_kept)
        names = ("type", "customer", "from", "to", "at", "source")
        commands: list[tuple[Any, ...]] = [
            ("XADD", k.changes(p), *kept, f"{now}-{last + i}", "n", number + i, *_paired(names, change))
            for i, change in enumerate(block.changes, 1)
        ]
        told: dict[str, Any] = {"feed": number + len(block.changes)}
        if block.changes:
            told |= {"feed_id": f"{now}-{last + len(block.changes)}"}
        return [("HSET", k.freshness(p), *itertools.chain(*told.items())), *commands]

    async def _damaged(self, command: tuple[Any, ...], error: Exception) -> None:
        """Raises what a command of an executed write answered; only a rebuild mends what it left out."""
        key = self.keys.guard(self.partition)
        with contextlib.suppress(exceptions.RedisError, OSError):  # else a repeat would find the write applied
            await self._line.exchange(pack(("HSET", key, "state", GuardState.DAMAGED)), 1)
        named = self.keys.of_kind("customer") if command[1].startswith(self.keys.customer("")) else command[1]
        raise exceptions.ResponseError(f"{error} ({command[0]} {named})")


def _paired(names: Sequence[str], texts: Sequence[Any]) -> Iterator[Any]:
    return itertools.chain.from_iterable(zip(names, texts, strict=True))
