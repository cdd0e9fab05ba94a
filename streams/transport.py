"""Chunks: what one fetch brought is one Faust message with a chunk for each partition, for Faust spends 70 us on each.

A small subclass of Faust's aiokafka driver. It keeps four rules: the consumer runs in the worker's own event loop, for
a loop that hangs must not keep its partitions; a chunk knows the epoch it was sought for and the position its fetch
began at; Kafka's commits are told, never asked (positions live in Redis); and only what was committed is read: an
aborted transaction never happened, an open one has not happened yet. tests/test_stream_transport.py names each hook of
Faust and aiokafka that is used here.
"""

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import faust
from aiokafka import errors
from aiokafka.client import ConnectionGroup
from aiokafka.consumer.fetcher import FetchResult
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams import kafka
from streams.console import stop

# Milliseconds that a broker waits for something to come: with a fetch of all partitions, and with one behind which
# others wait: those whose records wait here, and what is asked to locate some. aiokafka has one fetch under way per
# broker, and on the connection of all its requests; Faust's 1500 would starve these.
FETCH_WAIT, FETCH_WAIT_OTHERS = 250, 50
# A fetch behind one that brought something rests for so many milliseconds, unless so many bytes are there: a live
# stream comes in rounds of all partitions, not event by event.
REST, ENOUGH = 8, 256 << 10
# Bytes of keys and values: of all chunks that wait, and of one. A partition may have one that waits, and one in work.
BUFFER, CHUNK = 128 << 20, 16 << 20
TASTE = 16  # records that are taken before it is known how large they are
DOUBTED = object()
REFRESH = 5.0  # seconds after which it is asked anew who leads: an earlier leader goes on answering, .5 s late
GONE = 2.5 * REFRESH  # seconds without an answer to that, after which all brokers known are taken to be gone
ATTEND = 1.0  # seconds between two looks at how the group's coordination is


class Standing(NamedTuple):
    """position: the offset that the next fetch begins at; stable: the one after the last record that is committed or
    aborted for good; end: the one after the last record; heard: seconds since the partition's broker said so; waits:
    whether records of it wait here, so that its broker is not asked.
    """

    position: int
    stable: int
    end: int
    heard: float
    waits: bool


class Chunk:
    """Of one partition; it grows until it is taken for work. size: bytes of keys and values."""

    def __init__(self, tp: TP, records: list[Any], size: int, start: int, end: int, epoch: int) -> None:
        self.tp, self.records, self.size = tp, records, size
        self.start, self.end, self.epoch, self.taken = start, end, epoch, False

    def joined(self, later: "Chunk") -> bool:
        """Takes in a chunk that continues this one, if that was not taken."""
        if self.taken or (self.epoch, self.end) != (later.epoch, later.start):
            return False
        self.records.extend(later.records)
        self.end, self.size = later.end, self.size + later.size
        return True


class Round:
    """Chunks of different partitions, shaped like an aiokafka record of the first of them."""

    headers = key = checksum = timestamp = None
    timestamp_type = serialized_key_size = serialized_value_size = 0

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.tp = chunks[0].tp
        self.topic, self.partition, self.offset = self.tp.topic, self.tp.partition, chunks[0].end - 1
        self.value = chunks  # what Faust hands to the agent


def sized(records: Sequence[Any]) -> int:
    """Bytes of keys and values."""
    return sum(sum(map(len, filter(None, map(attrgetter(name), records)))) for name in ("key", "value"))


def ends(error: errors.KafkaError) -> str:
    """The line with which a worker ends of what aiokafka raises and does not pass.

    >>> ends(errors.GroupAuthorizationFailedError("crm-scorer"))
    'the user of CRM_KAFKA may not Read group crm-scorer: grant it: docs/operations.md, Who may do what'
    >>> ends(errors.TopicAuthorizationFailedError({"crm.events"}))
    'the user of CRM_KAFKA may not Read topic crm.events: grant it: docs/operations.md, Who may do what'
    >>> ends(errors.InconsistentGroupProtocolError())
    'CRM_GROUP: the group has a member that is no worker, a console consumer for one: end it, or set another'
    """
    if isinstance(error, errors.InconsistentGroupProtocolError):
        return "CRM_GROUP: the group has a member that is no worker, a console consumer for one: end it, or set another"
    if _denied(error):
        (named,) = error.args or ("",)  # of topics there may be a set
        return str(kafka.denied(error.errno, named if isinstance(named, str) else ", ".join(sorted(named)), "Read"))
    return f"Kafka says: {error}: docs/operations.md"


def _denied(error: errors.KafkaError) -> bool:
    return getattr(error, "errno", None) in kafka.DENIED


def _told(commit: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    """aiokafka's commit; where the right to it is gone the worker ends with a line: Faust would print a trace."""

    async def tell(offsets: Any) -> None:
        try:
            await commit(offsets)
        except errors.KafkaError as error:
            if _denied(error):
                stop(ends(error))
            raise

    return tell


class Patience:
    """Gives each of an aiokafka fetcher's fetches its wait; `brought`: whether something came since the last one.

    located: whether this partition of those assigned is.
    """

    def __init__(self, fetcher: Any, located: Callable[[Any], bool]) -> None:
        self.brought, self._fetcher, self._planned = False, fetcher, fetcher._get_actions_per_node
        self._located = located
        fetcher._get_actions_per_node = self._plan

    def _plan(self, assignment: Any) -> Any:
        fetcher, others = self._fetcher, bool(self._fetcher._records)
        rests = self.brought and not others
        wait = FETCH_WAIT if not others and all(map(self._located, assignment.tps)) else FETCH_WAIT_OTHERS
        fetcher._fetch_max_wait_ms = REST if rests else wait
        fetcher._fetch_min_bytes = ENOUGH if rests else 1
        requests, *others = self._planned(assignment)
        if requests:
            self.brought = False
        return requests, *others


class ChunkReader(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """What Faust would run in a thread, in the loop of its consumer: between two threads each call costs two turns of
    two loops and of Python's lock, and a thread of its own goes on saying that a worker is well whose loop hangs.
    """

    def __init__(self, consumer: "ChunkConsumer") -> None:
        super().__init__(consumer, loop=consumer.loop, thread_loop=consumer.loop, beacon=consumer.beacon)
        self.full: int = self.transport.full
        self.epochs: dict[TP, int] = {}
        self.connections: dict[TP, Any] = {}  # over which each came first since it was sought, or DOUBTED

    async def start(self) -> None:
        self._thread_started.set()
        await self._default_start()

    async def stop(self) -> None:
        if self._started.is_set() and not self._stopped.is_set():
            self._stopped.set()
            await self._shutdown_thread()

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found = fun(*args, **kwargs)
        return await found if inspect.isawaitable(found) else found

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # Faust offers it with its own transactions only
        consumer.commit = _told(consumer.commit)
        return consumer

    async def on_start(self) -> None:
        try:
            await super().on_start()
        except errors.KafkaError as error:  # it went away since the worker's own checks
            stop(ends(error))
        consumer = self._ensure_consumer()
        self.patience = Patience(consumer._fetcher, self.located)
        # aiokafka would leave the group for good once nobody fetched for long: whoever has nothing to fetch is well.
        self.add_context(consumer._subscription.fetch_context())
        self.add_future(self._attend(consumer))

    async def _attend(self, consumer: Any) -> None:
        """Ends the worker with what keeps it out of its group: aiokafka holds that back until somebody asks. And asks
        those named in CRM_KAFKA once all brokers known are gone, whom alone aiokafka would ask for ever."""
        client, refreshed, since = consumer._client, 0.0, 0.0
        while not self.should_stop:
            try:
                consumer._coordinator.check_errors()
            except errors.KafkaError as error:
                stop(ends(error))
            now = time.monotonic()
            if refreshed != client.cluster._last_successful_refresh_ms:
                refreshed, since = client.cluster._last_successful_refresh_ms, now
            elif now > since + GONE:
                with contextlib.suppress(errors.KafkaError):
                    await client.bootstrap()
                since = now
            await asyncio.sleep(ATTEND)

    def located(self, tp: TP) -> bool:
        """Whether it is known where the partition stands."""
        return self.transport.owner.committed(tp) is not None

    def seek_in_epoch(self, tp: TP, offset: int, epoch: int) -> None:
        """Seeks, unless a newer seek was made: a slow older one must not undo it."""
        if epoch > self.epochs.get(tp, 0):
            self._ensure_consumer().seek(tp, offset)
            self.epochs[tp] = epoch
            self.connections.pop(tp, None)

    def heard(self) -> float | None:
        """Seconds since the brokers answered, by the one that did longest ago; None while no partition is held."""
        found = self.standings().values()
        return max(
            (each.heard for each in found if not each.waits), default=min((each.heard for each in found), default=None)
        )

    async def leave(self) -> None:
        """Leaves the group, so that others need not wait for the session to end."""
        await self._ensure_consumer()._coordinator.close()

    def standings(self) -> dict[TP, Standing]:
        """Where each partition stood when its broker answered last; without those of which nothing is known."""
        consumer, now = self._ensure_consumer(), time.time()
        assignment, waiting = consumer._subscription.subscription.assignment, consumer._fetcher._records
        states = {tp: assignment.state_value(tp) for tp in assignment.tps} if assignment else {}
        return {
            tp: Standing(state.position, state.lso, state.highwater, now - state.timestamp / 1000, tp in waiting)
            for tp, state in states.items()
            if state and state.has_valid_position and state.highwater is not None
        }

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], timeout: float | None = None, max_records: int | None = None
    ) -> dict[TP, Chunk]:
        try:
            chunks = await self._fetched(consumer, active_partitions)
            if chunks or not timeout:
                return chunks
            waiter = consumer._fetcher._create_fetch_waiter()
            await asyncio.wait([waiter], timeout=timeout)
            waiter.cancel()
            return await self._fetched(consumer, active_partitions)
        except errors.KafkaError as error:  # what aiokafka hands on does not pass: Faust would print a trace
            stop(ends(error))

    async def _fetched(self, consumer: Any, active_partitions: set[TP]) -> dict[TP, Chunk]:
        """What is there already, up to `full` records of each partition: none starves."""
        chunks: dict[TP, Chunk] = {}
        assignment = consumer._subscription.subscription.assignment
        for tp in sorted(active_partitions.intersection(consumer._fetcher._records)):
            state = assignment.state_value(tp) if assignment and tp in assignment.tps else None
            if state is None or not state.has_valid_position or self._in_doubt(consumer, tp):
                continue
            start = state.position
            some = await self._some(consumer, tp, min(CHUNK, BUFFER // len(assignment.tps)))
            if assignment is not consumer._subscription.subscription.assignment:
                return {}  # a rebalance came between: a seek follows
            if state.has_valid_position and state.position != start:  # also if it passed holes only
                chunks[tp] = Chunk(tp, *some, start, state.position, self.epochs.get(tp, 0))
                self.patience.brought = True
        return chunks

    def _in_doubt(self, consumer: Any, tp: TP) -> bool:
        """Whether records come over another connection than the ones before: a broker that was away, or another one,
        may have lost what was read. The owner is told once, and seeks."""
        client, before = consumer._client, self.connections.get(tp)
        connection = client._conns.get((client.cluster.leader_for_partition(tp), ConnectionGroup.DEFAULT))
        if before is None and connection is not None:
            self.connections[tp] = connection
        elif before is not None and before is not connection:
            if before is not DOUBTED:
                self.connections[tp] = DOUBTED
                self.transport.owner.doubted(tp)
            return True
        return False

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: what stands still shows in freshness. Faust's own look fails of a partition that has no position."""

    async def _some(self, consumer: Any, tp: TP, room: int) -> tuple[list[Any], int]:
        """Up to `full` records and their bytes, no more than `room` by the mean of those taken before."""
        fetched = consumer._fetcher._records.get(tp)
        if isinstance(fetched, FetchResult) and fetched.has_more():
            # Records stay as their batch has them: aiokafka's copy of one takes as long as all else that it does.
            fetched._partition_records._consumer_record = lambda _, record: record
        found: list[Any] = []
        size, asked = 0, max(1, min(TASTE, room >> 20))  # a record may have a megabyte
        while asked > 0:
            more = (await super()._fetch_records(consumer, {tp}, timeout=0, max_records=asked)).get(tp, [])
            found += more
            size += sized(more)
            if len(more) < asked:
                break
            asked = min(self.full - len(found), int((room - size) * len(found) / max(size, 1)))
        return found, size


class Owner(Protocol):
    """Who works on the partitions: told of assignments, asked for what Kafka is told."""

    def assigned(self, tps: set[TP]) -> None:
        """All partitions assigned now; each is to be sought."""

    def revoked(self, tps: set[TP]) -> None:
        """These are no longer ours."""

    def committed(self, tp: TP) -> int | None:
        """The offset after what is done; None while unknown."""

    def doubted(self, tp: TP) -> None:
        """The log may have lost what was read: it is to be proved and sought anew."""


class Forgetful(dict[Any, Any]):
    """Faust drops messages below the offset it read last; after a seek back those are the ones we need."""

    def __getitem__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int) -> None:
        pass


class ChunkConsumer(driver.Consumer):  # type: ignore[misc]
    """Gathers chunks, and tells their owner of assignments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = Forgetful()
        self.waiting: dict[TP, Chunk] = {}
        self.owner: Owner = self.transport.owner
        self.reader: ChunkReader = self._thread

    def _new_consumer_thread(self) -> ChunkReader:
        return ChunkReader(self)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        """Of all that are held Kafka is told, whether a round was named by them or not."""
        return iter(self.assignment() if self._thread._consumer else ())

    def _new_offset(self, tp: TP) -> int | None:
        """What Kafka is told: advisory, for tools that watch the lag."""
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self.owner.committed(tp)

    async def _getmany(self, active_partitions: set[TP], timeout: float) -> dict[TP, list[Round]]:
        """Gathers: what arrives while a chunk waits for its turn joins that chunk."""
        full = {tp for tp, chunk in self.waiting.items() if not chunk.taken and self._is_full(chunk)}
        hungry = set(active_partitions or ()) - full
        if not hungry:
            await asyncio.sleep(0.002)
            return {}
        fetched = await super()._getmany(hungry, 0.01 if full else timeout)
        fresh = {
            tp: chunk for tp, chunk in fetched.items() if tp not in self.waiting or not self.waiting[tp].joined(chunk)
        }
        self.waiting.update(fresh)
        if not fresh:
            return {}
        one = Round([*fresh.values()])
        return {one.tp: [one]}

    def _is_full(self, chunk: Chunk) -> bool:
        return len(chunk.records) >= self.transport.full or chunk.size >= min(CHUNK, BUFFER // len(self.waiting))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self.owner.revoked(revoked)
        for tp in revoked:
            self.waiting.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.owner.assigned(assigned)
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Nothing: each partition is sought once it is located. Faust asks for it also while partitions are taken away,
        which stand as assigned then."""


class ChunkTransport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport, handing over chunks of at most `full` records a fetch."""

    Consumer = ChunkConsumer

    def __init__(self, app: faust.App, owner: Owner, full: int) -> None:
        super().__init__(app.conf.broker_consumer, app)
        self.owner, self.full = owner, full
