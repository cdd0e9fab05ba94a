"""What a worker holds for one partition, and the only way to change it: chunks and sweeps become guarded writes.

The rule: rows in memory may be ahead of Redis by the write under way, never by anything else. Whoever leaves the lock
by an exception has lost the partition: its rows are dropped, and a new one is located from Redis. Nothing is skipped.
An event's way: `process` (decode, cut at sweeps) -> `_fold` -> `_publish` (in blocks) -> `_write` -> `_send` ->
`insist` -> Store.write. Rules by number are those of the write protocol (docs/architecture.md).
"""

import asyncio
import contextlib
import enum
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from redis import exceptions

from models import scores
from models.artefact import Version
from models.customers import NOTED, Table, gathered
from models.events import Batch, Reason, decode_many
from models.kinds import ERASE, TICK
from models.rows import DAY, ENTRY, NONE, UnknownForm
from streams import answers, memory
from streams.compose import MODEL, NOBODY, Ahead, Erasure, Gone, compose
from streams.console import say
from streams.deployment import BROKE, Deployment, DeploymentError, GuardState, beyond, marked
from streams.freshness import Freshness
from streams.metrics import Meter
from streams.rejects import Reject
from streams.serving import Serving
from streams.store import SLOWEST, Moved, Store, patience, pauses, token
from streams.told import Told
from streams.writes import Block, Position

Array = npt.NDArray[Any]
T = TypeVar("T")
CHECKED, TOLERATED = 1_000, 200  # of a partition's first customers, so many may belong to another partition
LOOKED = 1 << 12  # rows that a sweep looks at at once, some milliseconds
SLOW = 5.0  # seconds after which it is said what is waited for
FRESH = 1.0  # seconds for which the token and the serving model that were heard last are believed
MOVED = 0.1  # of the published demand or value: a sweep publishes what moved so far; a learned day alone moves some 1 %
ELSEWHERE = "the key's partition by the deployment's partitioner is another"
_NO_ROWS, _NO_ENTRIES = np.empty(0, np.int64), np.empty(0, ENTRY)


class Lost(Exception):
    """Go and locate the partition anew, if it is still ours: this worker no longer knows where it stands."""


class Life(enum.Enum):
    """A partition's life in this process, from one assignment or loss to the next.

        LOCATING --> READY ----> LOST      another partition takes its place here, and is located
            |          |          ^
            |          +-----> REVOKED     Kafka gave it to another worker
            |                     ^
            +---------------------+        either may come before it is ready

    LOCATING reads guard and states; READY folds and writes. Nothing leaves LOST or REVOKED.
    """

    LOCATING = enum.auto()
    READY = enum.auto()
    LOST = enum.auto()
    REVOKED = enum.auto()


MOVES = {
    Life.LOCATING: {Life.READY, Life.LOST, Life.REVOKED},
    Life.READY: {Life.LOST, Life.REVOKED},
    Life.LOST: set[Life](),
    Life.REVOKED: set[Life](),
}


class Record(Protocol):
    """A record of the log, as aiokafka gives it."""

    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None


class Chunk(Protocol):
    """Consecutive records: from the position where a fetch began to the position after it."""

    @property
    def records(self) -> Sequence[Any]: ...

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


class Heard(NamedTuple):
    """What stood in Redis, asked for at a moment of the steady clock at which the partition's token was `token`: the
    token there, and the serving model's version."""

    asked: float
    token: bytes
    stands: bytes
    version: str


class Log(Protocol):
    """What a partition asks of Kafka, and tells of itself. `TRANSIENT` errors are repeated."""

    TRANSIENT: tuple[type[Exception], ...]

    async def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset that the log holds and the one after its last."""

    async def check(self) -> object:
        """Raises DeploymentError where the topic is not the deployment's."""

    async def seek(self, partition: int, offset: int, epoch: int) -> None:
        """The next chunk starts at `offset` and carries `epoch`, unless a newer epoch was sought."""

    async def reject(self, partition: int, rejects: Sequence[Reject]) -> None:
        """Appends these to the topic of rejects and waits until they stand there."""

    def lose(self, partition: "Partition") -> None:
        """Replaces the partition by a new one, to be located, if it is still held."""

    def swept(self) -> None:
        """A partition is swept further: a day may be complete."""


class Partition:
    """One assignment of one partition. `epoch` tells the chunks sought for it from those of earlier assignments.

    Three offsets, each the next one after what it speaks of: `reached`, the end of the last chunk that was folded
    whole; `offset`, where the write that was handed over last leaves the guard, which runs from one `reached` to the
    next; `committed`, where Redis has said that the guard stands, which is what Kafka is told.
    """

    def __init__(
        self,
        number: int,
        epoch: int,
        store: Store,
        log: Log,
        serving: Serving,
        deployment: Deployment,
        stop: Callable[[str], NoReturn],
        meter: Meter,
    ) -> None:
        self.number, self.epoch = number, epoch
        self.store, self.log, self.serving, self.deployment, self.stop = store, log, serving, deployment, stop
        self.lock, self.life, self.meter = asyncio.Lock(), Life.LOCATING, meter
        self.fresh: Freshness | None = None  # as the worker found it last
        self.table, self.told, self.grace = Table(deployment.horizon), Told(store.keys), deployment.grace * 1_000_000
        self.mark, self.proved = "", True  # the last record that was counted; whether the log still holds it
        self._offsets, self._records = _NO_ROWS, ()  # type: tuple[Array, Sequence[Record]]  # of the chunk in hand
        self._times = _NO_ROWS  # and their timestamps, ms, negative where one has none
        self.token, self.flight = b"", None  # type: tuple[bytes, asyncio.Task[None] | None]
        self.offset = self.swept_to = self.reached = self.committed = -1  # unknown until located
        self.heard = -FRESH  # when token and serving model were asked for last, by the steady clock
        self.quiet_until, self.hashes, self.model = 0, 0, ""  # the version that the last write was scored by
        self.publish = -1  # of whose models all rows have their scores, as far as that was looked for
        self.tombstones: dict[str, int] = {}  # keyed hashes of who was erased, and where in the log at last
        self.doomed: dict[str, int] = {}  # those of who is erased further on in the log
        self.torn: set[str] = set()  # whose hashes had lost fields that the last write did not bring back
        self.judged, self.met, self.strays = False, 0, 0  # the partitioner, by so many customers and strays

    def become(self, life: Life) -> None:
        """Moves on in its life; a move that MOVES does not know is an error of this program."""
        if life not in MOVES[self.life]:
            raise RuntimeError(f"partition {self.number}: from {self.life.name} to {life.name} is no move")
        self.life = life

    @property
    def ours(self) -> bool:
        """Whether it is worth asking Redis or Kafka for it again."""
        return self.life in (Life.LOCATING, Life.READY)

    @property
    def waits_since(self) -> float | None:
        """The timestamp, in seconds, of the first record in hand that Redis does not hold yet, of those that have one,
        else of the last that it does; None where neither has."""
        waiting = self._times[self._offsets.searchsorted(self.committed) :]
        timed = waiting[waiting >= 0]
        if len(timed):
            return float(timed[0]) / 1000
        at = self.mark.split(":")[1] if self.mark else ""
        return int(at) / 1000 if at.isdecimal() else None

    @property
    def _last(self) -> int:
        """The offset of the last record that was counted; -1 where none was."""
        return int(self.mark.partition(":")[0] or -1)

    # ---- where the partition stands ----------------------------------------------------------------------------------

    async def locate(self) -> None:
        """Reads guard and states, checks them against the log, seeks; runs in the background until Redis answers."""
        with contextlib.suppress(Lost):
            while not await self._locate():
                await asyncio.sleep(0.05)

    async def _locate(self) -> bool:
        """One try; False where the guard moved meanwhile."""
        # 1. The guard alone says where the partition stands, and whether it may be folded (rules 1 and 8).
        key = self.store.keys.guard(self.number)
        guard = await self.insist(lambda: self.store.guard(self.number))
        if guard is None:
            await self.insist(self.log.check)
            self.stop(f"no guard {key}: restore Redis, or run `streams rebuild`")
        if guard.state is GuardState.DAMAGED:
            self.stop(BROKE.format(key))
        if guard.state is not GuardState.READY:
            say(f"{key} is {guard.state}: waiting for it to be ready", partition=self.number)
            await asyncio.sleep(2)
            return False
        await self.insist(self._stands)
        if lacking := await self.insist(lambda: self.store.lacking(self.number)):
            self.stop(
                f"partition {self.number}: the user of CRM_REDIS_URL may not {lacking}: grant it (docs/operations.md)"
            )
        if guard.hashes > scores.FORM:
            self.stop(f"{key}: a newer program wrote the customers' hashes: upgrade this worker")
        # 2. The log must hold the offset (rule 8).
        low, high = await self.insist(lambda: self.log.bounds(self.number))
        if not low <= guard.offset <= high:
            await self.insist(self.log.check)
            place = f"partition {self.number} of {self.deployment.topic}"
            self.stop(beyond(key, guard.offset, place, low, high))
        # 3. The states under the guard's token: another token, and all begins again (rule 4).
        async with self.store.loading:  # so that the first one is scored in a part of the time that all take
            if not await self._load(guard.token):
                return False
        erased = await self.insist(lambda: self.store.erased(self.number))
        self.tombstones = {hashed: offset for hashed, (offset, _) in erased.items()}
        again = range(guard.offset, guard.quiet_until)  # what a rebuild folds again: its tombstones were passed once
        self.doomed = {hashed: offset for hashed, offset in self.tombstones.items() if offset in again}
        # 4. From here on rows and Redis agree; the model is the one that serves now (rule 11).
        self.token, self.quiet_until, self.hashes = guard.token, guard.quiet_until, guard.hashes
        self.offset = self.committed = self.reached = guard.offset
        self.swept_to, self.mark, self.model = guard.swept_to, guard.mark, guard.model
        if low <= self._last < guard.offset:  # read it once more: is it still that one?
            self.proved, self.reached = False, self._last
        # Customers whom producers brought here were judged by; a rebuild folds a log that was.
        self.judged = guard.quiet_until > guard.offset or bool((self.table.rows["seen"] > 0).any())
        await self._take_model((await self.insist(lambda: self.store.standing(self.number)))[1])
        if wrong := await self.insist(lambda: self.store.mistyped(self.number, len(self.serving.segments))):
            self.stop(f"partition {self.number}: {answers.ends(exceptions.ResponseError(f'WRONGTYPE {wrong}'))}")
        # 5. The seek comes last: the first chunk of this epoch finds a partition that is ready (rules 5 and 6).
        if self.ours:
            self.become(Life.READY)
        await self.insist(lambda: self.log.seek(self.number, self.reached, self.epoch))
        return True

    async def _stands(self) -> None:
        """That it is the deployment that was read at the start: one published anew has another cut-off, perhaps, and
        other hashes of who is erased."""
        self.deployment.check_stands(await self.store.published(), self.store.keys.meta)

    async def doubt(self, epoch: int) -> None:
        """Reads the last record that was counted once more, and goes on if it is still that one: brokers were away, or
        their leader changed, and either may have cut the log, which grew again (rule 8)."""
        async with self.locked():
            self.epoch = epoch
            if 0 <= self._last < self.offset:
                self.proved, self.reached = False, self._last
            await self.insist(lambda: self.log.seek(self.number, self.reached, epoch))

    async def _load(self, expected: bytes) -> bool:
        await self.insist(lambda: self.store.standing(self.number))  # ends where states are missing
        customers = await self.insist(lambda: self.store.customers(self.number))
        if tight := memory.warning(self.number, customers, memory.free()):
            say(tight, level="warning", partition=self.number)
        try:
            self.table = await self.insist(lambda: self._states(expected, customers))
        except Moved:
            return False
        except UnknownForm as error:
            self.stop(f"{self.store.keys.state(self.number)}: {error}: upgrade this worker, or run `streams rebuild`")
        self.told = Told(self.store.keys)
        self.told.load(len(self.table))
        return True

    async def _states(self, expected: bytes, customers: int) -> Table:
        """One try at the states, of about so many customers; a page at a time, so that none stands in memory twice."""
        table = Table(self.deployment.horizon, customers + customers // 8)
        async for names, packed in self.store.load(self.number, expected):
            if not self.ours:  # others wait for their turn
                raise Lost
            table.load(names, packed)
        return table

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeats a call to Redis or Kafka until it answers; gives up only when the partition is not ours any more."""
        known: tuple[type[Exception], ...] = (exceptions.RedisError, OSError, *self.log.TRANSIENT)
        tries, begun = pauses(), time.monotonic()
        while self.ours:
            try:
                return await call()
            except DeploymentError as error:
                self.stop(f"partition {self.number}: {error}")
            except known as error:
                waits = answers.waits(error) or self._unless_of_redis(error)
                self.meter.repeated(answers.word(error))
                pause = next(tries)
                if pause == SLOWEST or time.monotonic() > begun + SLOW:
                    say(f"partition {self.number} waits: {waits}", level="warning", partition=self.number)
                if waits.startswith("READONLY"):  # by its word: in 6.2 a script's error has no class
                    await self.store.connect_anew()
                await patience(pause)
        raise Lost

    def _unless_of_redis(self, error: Exception) -> str:
        """What is waited for, if it is Kafka; what Redis goes on answering ends the worker."""
        if isinstance(error, exceptions.RedisError):
            self.stop(f"partition {self.number}: {answers.ends(error)}")
        return str(error) or type(error).__name__

    @contextlib.asynccontextmanager
    async def locked(self, fresh: float = FRESH, heard: Heard | None = None) -> AsyncIterator[None]:
        """The lock, no write under way, token and serving model as they were at most `fresh` seconds ago, or as `heard`
        if nothing was written since; left by an exception: the partition is lost.

        Rules 10 and 11.
        """
        async with self.lock:
            try:
                await self.settle()
                if heard is not None and heard.token == self.token:
                    await self._hear(heard)
                elif time.monotonic() > self.heard + fresh:
                    await self.refresh()
                yield
            except BaseException:
                self.log.lose(self)
                raise

    async def settle(self) -> None:
        """Waits for the write under way, whose answer names the serving model."""
        if self.flight is not None:
            if not self.flight.done():
                await asyncio.wait([self.flight])  # not `await`: our cancellation must not cancel the write
            self.flight.result()
        if self.life is not Life.READY:
            raise Lost

    async def refresh(self) -> None:
        """Compares the token, for Redis may have been emptied or gone back in time, and takes the serving model."""
        asked = time.monotonic()
        await self._hear(Heard(asked, self.token, *await self.insist(lambda: self.store.stands(self.number))))

    async def _hear(self, heard: Heard) -> None:
        if not heard.stands:
            self.stop(f"{self.store.keys.guard(self.number)} is gone: restore Redis, or run `streams rebuild`")
        if heard.stands != self.token:
            raise Lost
        await self._take_model(heard.version)
        self.heard = heard.asked

    async def _take_model(self, version: str) -> None:
        """Serves this version, or the one that took its place: Redis may go back in time between the two readings."""
        while version != self.serving.version and not await self.insist(partial(self.serving.use, version)):
            _, named = await self.insist(lambda: self.store.standing(self.number))
            if named == version:
                key = self.store.keys.version(version) if version else self.store.keys.model
                self.stop(f"{key}, the serving model, is not in Redis: run `streams publish DIR`")
            version = named

    # ---- events ------------------------------------------------------------------------------------------------------

    async def process(self, chunk: Chunk) -> None:
        """Folds a chunk and writes what it changed; sweeps where its events ask for it."""
        begun = time.perf_counter()
        records = chunk.records if self.proved or chunk.start != self.reached else await self._prove(chunk.records)
        keys, values = ([*map(attrgetter(name), records)] for name in ("key", "value"))
        offsets, times = (_numbers(records, name) for name in ("offset", "timestamp"))
        decoded = decode_many(keys, values, times)  # before the lock: our own last write may be under way
        async with self.locked():
            if chunk.start != self.reached:  # a chunk went astray, or Kafka's client reset the position
                raise Lost
            self._offsets, self._records, self._times = offsets, records, times
            batch, found, rejects = await self._accepted(records, *decoded)
            for i, j, day in cuts(batch, self.grace, self.swept_to, self.store.settings.block):
                first = int(offsets[batch.index[i]])
                if day > self.swept_to:
                    if first > self.offset:  # what stands before the cut
                        await self._publish(
                            _NO_ROWS, _NO_ENTRIES, first, _between(rejects, offsets, self.offset, first)
                        )
                    await self._sweep(day)
                end = int(offsets[batch.index[j]]) if j < len(batch) else chunk.end
                counts = _between(rejects, offsets, self.offset, end)
                part = batch.part(i, j)
                rows = self.table.ids.find(part.customer_id) if i else found[:j]  # the part before may have moved them
                await self._fold(part, rows, offsets, end, counts)
            if self.offset < chunk.end:  # nothing but rejects, or holes of the log
                await self._publish(
                    _NO_ROWS, _NO_ENTRIES, chunk.end, _between(rejects, offsets, self.offset, chunk.end)
                )
            self.reached = chunk.end
            self._offsets, self._records, self._times = _NO_ROWS, (), _NO_ROWS
            self.meter.folded(len(records), batch.kind, time.perf_counter() - begun)

    async def _prove(self, records: Sequence[Record]) -> Sequence[Record]:
        """Those behind the guard, if what stands before it is the record that was counted last: a log that was cut and
        grew again holds other records under the same offsets (rule 8)."""
        before = [record for record in records if record.offset < self.offset]
        if [_marked(record) for record in before] != [self.mark]:
            await self.insist(self.log.check)  # one that was made anew is said to be
            self.stop(
                f"{self.store.keys.guard(self.number)} stands at offset {self.offset}, but partition {self.number} of"
                f" {self.deployment.topic} holds another record before it than the one that was counted: the log was"
                " cut and grew again, or is another; restore it, or run `streams rebuild`"
            )
        self.proved = True
        return records[len(before) :]

    def _mark(self, offset: int) -> str:
        """The last record before this offset, which is at most the end of the chunk in hand."""
        at = int(self._offsets.searchsorted(offset)) - 1
        return _marked(self._records[at]) if at >= 0 else self.mark

    async def _accepted(
        self, records: Sequence[Record], batch: Batch, faults: list[tuple[int, Reason, str]]
    ) -> tuple[Batch, Array, list[tuple[int, str]]]:
        """Events, their customers' rows, and the rejects (number of the record, reason), which stand in their topic
        when this returns: those that a rebuild meets again stood there before, and what has left it since stays away.
        """
        found = self.table.ids.find(batch.customer_id)
        stray = self._strays(batch, found < 0)
        faults = faults + [(i, Reason.wrong_partition, ELSEWHERE) for i in batch.index[stray].tolist()]
        rejects = [Reject(records[i], str(reason), detail) for i, reason, detail in faults]
        if fresh := [reject for reject in rejects if reject.record.offset >= self.quiet_until]:
            await self.insist(lambda: self.log.reject(self.number, fresh))
        if stray.any():
            batch, found = batch.keep(~stray), found[~stray]
        return batch, found, [(i, str(reason)) for i, reason, _ in faults]

    def _strays(self, batch: Batch, unknown: Array) -> Array:
        """Mask (n,) of events whose customer belongs to another partition; unknown: of those that are not known here,
        who alone are asked."""
        home = self.deployment.home
        if self.judged and not unknown.any():  # as mostly
            return unknown
        strays = {
            name for name in {*itertools.compress(batch.customer_id, unknown)} - {""} if home(name) != self.number
        }
        if not self.judged:
            self._judge(len({*batch.customer_id}), len(strays))
        return np.array([name in strays for name in batch.customer_id], bool) if strays else np.zeros(len(batch), bool)

    def _judge(self, met: int, strays: int) -> None:
        """Judges the partitioner by the first customers of a deployment, and never again: what one producer does wrong
        later is rejected."""
        self.met, self.strays = self.met + met, self.strays + strays
        self.judged = self.met >= CHECKED
        if self.strays > TOLERATED and self.strays * CHECKED > TOLERATED * self.met:
            self.stop(
                f"partition {self.number} of {self.deployment.topic} holds customers of other partitions"
                f" ({self.strays} of its first {self.met}): producers and CRM_PARTITIONER must choose alike"
                " (murmur2: Java, aiokafka; crc32: librdkafka's default)"
            )

    async def _fold(self, batch: Batch, found: Array, offsets: Array, end: int, counts: Counter[str]) -> None:
        """Folds a piece and publishes it. What a tombstone ends has a row of its own until all is composed.

        found: its customers' rows, -1 where there is none yet.
        """
        passed = batch.kind != TICK
        old = (batch.t < self.deployment.cut_off * DAY) & passed & (batch.kind != ERASE)
        counts["before_history_ends"] += int(np.count_nonzero(old))
        doomed = self._doomed(batch, offsets)
        counts["erased"] += int(np.count_nonzero(doomed & ~old))
        kept = passed & ~old & ~doomed
        batch = batch.keep(kept)
        rows, ended = self.table.lives(batch, found[kept])
        erasures: list[Erasure] = []
        if ended:
            erase = batch.kind == ERASE
            erasures = self._erasures(batch.keep(erase), ended, offsets)
            batch, rows = batch.keep(~erase), rows[~erase]
        noted = np.zeros(len(NOTED), np.int64)
        codes = self.serving.model.offers.codes(batch.product_id)
        entries = self.table.fold(batch, rows, offsets[batch.index], self.swept_to, noted, codes)
        counts.update(dict(zip(NOTED, noted.tolist(), strict=True)))
        touched = np.unique(np.concatenate([rows[rows >= 0], self._torn()]))
        gone = NOBODY
        if erasures:
            over = np.isin(touched, ended)
            touched, gone = touched[~over], Gone(erasures, touched[over])
        await self._publish(touched, entries, end, counts, gone=gone)

    def _doomed(self, batch: Batch, offsets: Array) -> Array:
        """Mask (n,) of events before a tombstone of their customer that was passed once: a rebuild brings nobody back,
        not for a moment, nor an example."""
        mask = np.zeros(len(batch), bool)
        if self.doomed and len(batch) and offsets[batch.index[0]] <= max(self.doomed.values()):
            until = {name: self.doomed.get(self.deployment.erasure(name), -1) for name in set(batch.customer_id)}
            ends = np.array([until[name] for name in batch.customer_id], np.int64)
            mask = (offsets[batch.index] < ends) & (batch.kind != ERASE) & (batch.kind != TICK)
        return mask

    def _erasures(self, tombstones: Batch, ended: list[int], offsets: Array) -> list[Erasure]:
        """Each tombstone with the row that it ends."""
        places = offsets[tombstones.index].tolist(), self._times[tombstones.index].tolist()
        return [*map(self._erasure, tombstones.customer_id, ended, *places)]

    def _erasure(self, name: str, row: int, offset: int, at: int) -> Erasure:
        """A tombstone, which is the customer's last one from here on; a rebuild meets older ones."""
        hashed = self.deployment.erasure(name)
        older = offset < self.tombstones.get(hashed, -1)
        if not older:
            self.tombstones[hashed] = offset
        return Erasure(name, hashed, row, offset, at, older)

    # ---- sweeps ------------------------------------------------------------------------------------------------------

    async def _sweep(self, day: int) -> None:
        """Passes the landmarks up to `day` and scores everybody anew; `swept_to` moves with the last write."""
        begun = time.perf_counter()
        entries, mask = await self._passed(day), np.zeros(len(self.table), bool)
        mask[entries["row"]] = True
        mask[await self._moved(day)] = True
        await self._publish(np.flatnonzero(mask), entries, self.offset, Counter(), day, scores.FORM)
        self.meter.swept(time.perf_counter() - begun)
        self.log.swept()

    async def _passed(self, day: int) -> Array:
        """Passes the landmarks up to `day`; their entries. Other partitions, and the consumer, go on meanwhile."""
        parts = []
        for part in self.table.sweeping(day):
            parts.append(part)
            await asyncio.sleep(0)
        return await asyncio.to_thread(gathered, parts)  # after years of silence it takes seconds

    async def _moved(self, day: int) -> Array:
        """Rows whose score is not the published one, as of `day`: segment, RFM, or demand or value by MOVED and a cent;
        all of an earlier publish; all, where hashes are of an earlier form."""
        alive = np.flatnonzero(self.table.rows["first"] != NONE)
        if self.hashes < scores.FORM:
            return alive
        found = [_NO_ROWS]
        for part in (alive[start : start + LOOKED] for start in range(0, len(alive), LOOKED)):  # few copies at a time
            found.append(part[self._has_moved(part, day)])
            await asyncio.sleep(0)  # other partitions go on
        return np.concatenate(found)

    def _has_moved(self, rows: Array, day: int) -> Array:
        said, kept = self.serving.model.predict_many(self.table.observe(rows, day)), self.table.rows
        told = _differs(said.demand, kept["demand"][rows]) | _differs(said.value, kept["value"][rows])
        others = (said.segment != kept["segment"][rows]) | (said.rfm != kept["rfm"][rows])
        mask: Array = told | others | self._of_old_publish(kept["version"][rows])
        return mask

    def _of_old_publish(self, versions: Array) -> Array:
        mask: Array = Version.publish_of(versions) != Version.publish_of(self.serving.number)
        return mask

    async def idle(self, heard: Heard | None = None) -> None:
        """Nothing arrives: notices another Redis or another model, and scores everybody anew after a `publish`, or
        after an upgrade to a program whose hashes have fields more. heard: just now; without, Redis is asked."""
        async with self.locked(FRESH if heard else 0.0, heard):
            rows, torn, publish = self.table.rows, self._torn(), Version.publish_of(self.serving.number)
            behind = self.publish != publish and (self._of_old_publish(rows["version"]) & (rows["first"] != NONE)).any()
            if not behind:
                self.publish = publish
            if behind or self.hashes < scores.FORM:
                torn = np.union1d(torn, await self._moved(self.swept_to))
            if len(torn) or self.hashes < scores.FORM:
                await self._publish(torn, _NO_ENTRIES, self.offset, Counter(), self.swept_to, scores.FORM)

    def _torn(self) -> Array:
        """Rows, ascending, of whose hashes somebody took fields away: they are written whole again."""
        if not self.torn:
            return _NO_ROWS
        rows = np.sort(self.table.ids.find([*self.torn]))
        rows = rows[rows >= 0]
        self.told.forget(rows, held=True)
        self.torn.clear()
        return rows

    # ---- writes ------------------------------------------------------------------------------------------------------

    async def _publish(
        self,
        rows: Array,
        entries: Array,
        offset: int,
        counts: Counter[str],
        swept_to: int | None = None,
        hashes: int | None = None,
        gone: Gone = NOBODY,
    ) -> None:
        """Writes rows, ascending, with their entries in blocks; the last moves the guard, and erases who is gone."""
        before = Position(self.offset, self.swept_to, self.hashes, self.mark, self.model)
        after = Position(
            offset,
            self.swept_to if swept_to is None else swept_to,
            self.hashes if hashes is None else hashes,
            self._mark(offset),
            self.model,
        )
        ends_quiet = self.offset < self.quiet_until <= offset
        names = {each.customer_id for each in gone.erasures}
        again = np.zeros(len(rows), bool)
        if names:
            again[:] = [name in names for name in self.table.ids.of(rows)]
        # 1. A block holds whole customers: row, entries, hash and set together (the second of the three rules).
        scored = np.union1d(rows, gone.lives) if len(gone.lives) else rows
        ahead = Ahead(self.table, self.serving, scored, after.swept_to)
        await ahead.asked()
        for block_rows, block_entries, last in _blocks(rows, entries, again, gone.lives, self.store.settings.block):
            block = self._compose(ahead, block_rows, block_entries, gone if last else NOBODY)
            # 2. Only the last block moves the guard: a crash before it repeats the piece, and `seen` passes over those
            #    rows that were written (rule 9). Who is erased has no `seen`: all lives but in the last block are as
            #    they were before the piece.
            if last:
                block.counts, block.missed = _counted(counts), int(ends_quiet)
                if ended := [each.row for each in gone.erasures if each.row >= 0]:
                    self.table.forget(ended)
                    self.told.forget(ended)
            # 3. It is sent once the one before has been settled: one write under way (rule 10).
            position = (after if last else before)._replace(model=self.serving.version)
            await self._write(self._announced(block), position)

    def _compose(self, ahead: Ahead, rows: Array, entries: Array, gone: Gone) -> Block:
        if not len(rows) and not gone.erasures:
            return Block()
        place = f"{self.deployment.topic}:{self.number}"
        quiet = self.quiet_until if self.offset < self.quiet_until else -1
        return compose(ahead, rows, entries, place, quiet, self.told, gone)

    def _announced(self, block: Block) -> Block:
        """The block, which tells of the model first where it is the first to be scored by another publish's."""
        model, before = self.serving.version, self.model
        if before and before.partition("-")[0] != model.partition("-")[0]:
            learned = scores.iso(np.array([Version.parse(model).day * DAY]))[0]
            block.changes = [(MODEL, "", before, model, learned, ""), *block.changes]
        return block

    async def _write(self, block: Block, position: Position) -> None:
        """Starts the guarded write once the one before is settled; what is computed meanwhile overlaps with Redis."""
        await self.settle()
        times = self._times[slice(*self._offsets.searchsorted((self.offset, position.offset)))]
        self.offset, self.swept_to, self.hashes, self.mark, self.model = position
        self.flight = asyncio.create_task(self._send(self.token, token(), position, block, times))
        for _ in range(3):  # let the bytes leave before we go on computing, here or for another partition
            await asyncio.sleep(0)

    async def _send(self, expected: bytes, new: bytes, position: Position, block: Block, times: Array) -> None:
        """The same write with the same token until Redis answers (rule 3). times: of the records that it passes."""
        begun, asked = time.perf_counter(), time.monotonic()
        with contextlib.suppress(Lost):
            stands, version = await self.insist(lambda: self.store.write(self.number, expected, new, position, block))
            if stands == new:  # applied, now or by an earlier copy
                self.token, self.committed = new, position.offset
                self.torn.update(block.torn)
                self.meter.written(times, block.counts, time.perf_counter() - begun)
                await self._take_model(version)
                self.heard = asked
            else:  # somebody else wrote, or Redis went back in time
                self.log.lose(self)


def _marked(record: Record) -> str:
    return marked(record.offset, record.timestamp, record.key, record.value)


def _numbers(records: Sequence[Record], name: str) -> Array:
    """Offsets or timestamps int64 (n,), -1 where there is none: records of the first format have no timestamp."""
    try:
        return np.fromiter(map(attrgetter(name), records), np.int64, len(records))
    except TypeError:
        return np.array([-1 if (found := getattr(record, name)) is None else found for record in records], np.int64)


def _differs(now: Array, published: Array) -> Array:
    """Of amounts (n,): which have moved by MOVED of what was published, and by a cent?"""
    moved = np.abs(now - published)
    told: Array = (moved > MOVED * published) & (moved > 0.01)
    return told


def _blocks(rows: Array, entries: Array, again: Array, lives: Array, size: int) -> Iterator[tuple[Array, Array, bool]]:
    """(rows, their entries, whether it is the last) of blocks of at most so many rows.

    The last block has the rows of the mask `again`, and the entries of `lives` besides, before those.
    """
    if len(rows) <= size and not len(lives):  # as most chunks of a live stream
        yield rows, entries, True
        return
    others, back = rows[~again], rows[again]
    split = max(len(others) + len(back) - size, 0)
    order = np.concatenate([others, lives, back])
    by_row = np.argsort(order)
    place = by_row[np.searchsorted(order, entries["row"], sorter=by_row)]  # of each entry's row in the order
    if (np.diff(place) < 0).any():  # else no copy is made, of what may be gigabytes in a sweep
        sorted_by_place = np.argsort(place, kind="stable")
        place, entries = place[sorted_by_place], entries[sorted_by_place]
    for i in range(0, split, size):
        end = min(i + size, split)
        low, high = np.searchsorted(place, (i, end)).tolist()
        yield others[i:end], entries[low:high], False
    yield np.concatenate([others[split:], back]), entries[np.searchsorted(place, split) :], True


def cuts(batch: Batch, grace: int, swept_to: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Pieces [i, j) of a batch with at most so many tombstones, each with the day that must be swept before it."""
    if not len(batch):
        return
    erase = batch.kind == ERASE
    if (batch.t.max() - grace) // DAY <= swept_to and np.count_nonzero(erase) <= most:
        yield 0, len(batch), swept_to
        return
    asked = np.where(erase, swept_to, (batch.t - grace) // DAY)
    day = np.maximum(np.maximum.accumulate(asked), swept_to)
    before = np.cumsum(erase) - erase  # tombstones before each event
    full = erase & (before > 0) & (before % most == 0)
    starts = np.flatnonzero((np.diff(day, prepend=swept_to) > 0) | full)
    edges = [0, *starts[starts > 0].tolist(), len(batch)]
    for i, j in itertools.pairwise(edges):
        yield i, j, int(day[i])


def _between(rejects: list[tuple[int, str]], offsets: Array, start: int, end: int) -> Counter[str]:
    """How many rejects of each reason stand at offsets in [start, end)."""
    return Counter(reason for i, reason in rejects if start <= offsets[i] < end)


def _counted(counts: Counter[str]) -> list[tuple[str, int]]:
    return [(reason, n) for reason, n in counts.items() if n]
