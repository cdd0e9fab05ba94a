"""The worker: Faust hands it partitions and chunks; it keeps the partitions, ticks where time stands still, and trains.

The rule: an error that is not known to pass ends the process with one line and exit code 2. Dying is always safe, for a
write is applied as a whole or not at all; going on without knowing where a partition stands is not.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faust
from aiokafka import errors
from faust.types import TP
from redis.exceptions import RedisError

from models.artefact import Version
from models.events import FUTURE, encode_tick
from models.rows import DAY
from models.truth import Window
from streams import answers, ending, kafka, security, status, trainer, truth
from streams.console import LIBRARIES, say, stop
from streams.deployment import Deployment, DeploymentError
from streams.freshness import Freshness
from streams.metrics import Held, Meter, Now
from streams.outage import Outage
from streams.overview import WINDOW
from streams.partition import Heard, Life, Lost, Partition
from streams.probes import Server
from streams.refusal import Refusal
from streams.rejects import Outgoing, Reject, laid_out
from streams.serving import Serving
from streams.settings import Settings
from streams.status import Status
from streams.store import Store, connect
from streams.transport import REFRESH, Chunk, ChunkTransport, Owner, ends

HEARTBEAT, TRAIN, TICK, REPEAT, WATCH, SILENT, LEAVE = 1.0, 0.05, 0.5, 5.0, 15.0, 3.0, 2.0  # seconds
OPEN = 10.0  # seconds that a last stable offset may stand still unsaid; then it is said at twice the age, and so on


class OpenTransactions:
    """Last stable offsets that stand still while records wait behind them: somebody's transaction was left open."""

    def __init__(self) -> None:
        self.since: dict[int, tuple[int, float, float]] = {}  # partition: stable offset, seen first at, told next at

    def seen(self, partition: int, stable: int, end: int, now: float) -> str | None:
        """What to say of this look at a partition, if anything; now: seconds of any clock that only grows.

        >>> opened = OpenTransactions()
        >>> [opened.seen(2, 17, 20, now) for now in (0.0, 9.0)]
        [None, None]
        >>> opened.seen(2, 17, 21, 10.0)
        "partition 2: 4 records wait behind offset 17, for 10 s now: a producer's transaction is open"
        >>> opened.seen(2, 21, 21, 15.0)
        'partition 2: goes on behind offset 17'
        """
        held, since, due = self.since.get(partition, (-1, now, now + OPEN))
        if held != stable or end <= stable:
            self.since.pop(partition, None)
            if end > stable:
                self.since[partition] = stable, now, now + OPEN
            return f"partition {partition}: goes on behind offset {held}" if held >= 0 and due > since + OPEN else None
        if now < due:
            return None
        self.since[partition] = stable, since, now + (now - since)
        waits = f"{end - stable:,} records wait behind offset {stable}, for {now - since:.0f} s now"
        return f"partition {partition}: {waits}: a producer's transaction is open"


class Worker:
    """The partitions that this process holds; it is their `Log` too."""

    # What passes by itself, IllegalStateError as soon as it is known that the partition is ours no more.
    TRANSIENT: tuple[type[Exception], ...] = (
        kafka.KafkaAway,
        errors.IllegalStateError,
        errors.KafkaConnectionError,
        errors.KafkaTimeoutError,
        errors.KafkaUnavailableError,
        errors.LeaderNotAvailableError,
        errors.NodeNotReadyError,
        errors.NotLeaderForPartitionError,
        errors.RequestTimedOutError,
        errors.StaleMetadata,
        errors.UnknownTopicOrPartitionError,  # while leaders change; a topic that is gone is found by `watch`
        OSError,
        asyncio.TimeoutError,
    )

    def __init__(
        self, app: faust.App, settings: Settings, deployment: Deployment, room: int, warned: Sequence[str] = ()
    ) -> None:
        self.app, self.settings, self.deployment, self.room = app, settings, deployment, room
        self.warned = {*warned}
        self.store = Store(connect(settings), settings)
        self.serving, self.grace = Serving(self.store), deployment.grace * 1_000_000
        self.partitions: dict[int, Partition] = {}
        self.epochs = itertools.count(1)
        self.furthered = asyncio.Event()  # a sweep of a partition since the trainer looked last
        self.ticked: dict[tuple[int, int], float] = {}
        self.stalled: dict[int, tuple[int, int]] = {}
        self.open = OpenTransactions()
        self.busy: dict[int, asyncio.Future[None]] = {}  # the work that each partition is at
        self.sender = kafka.Sender(settings, room)
        self.outage, self.owner = (
            Outage.of("aiokafka", partial(say, level="warning", logger="aiokafka")),
            f"{socket.gethostname()}:{os.getpid()}",
        )
        self.meter, self.status = Meter(self.now), Status(time.time())
        self.answered: float | None = None  # when Redis took something last, seconds since the epoch
        self.refused = ""  # what it says since, where it answers
        self.unwritten = ""  # why CRM_STATUS could not be written the last time
        self.truth: Window | None = None  # of the version that is named in `judged`
        self.judged = ""

    def tp(self, partition: int) -> TP:
        return TP(self.deployment.topic, partition)

    # ---- assignments -------------------------------------------------------------------------------------------------

    def assigned(self, tps: set[TP]) -> None:
        mine = sorted(tp.partition for tp in tps if tp.topic == self.deployment.topic)
        say(f"holds partitions {', '.join(map(str, mine)) or 'none'}")
        for number in self.partitions.keys() - mine:
            self._drop(number, Life.REVOKED)
        for number in mine:
            self._locate(number)

    def revoked(self, tps: set[TP]) -> None:
        for tp in tps:
            self._drop(tp.partition, Life.REVOKED)

    def _drop(self, number: int, life: Life) -> None:
        part = self.partitions.pop(number, None)
        if part is not None:
            part.become(life)

    def _locate(self, number: int) -> None:
        self._drop(number, Life.LOST)
        self.app.consumer.waiting.pop(self.tp(number), None)  # else a chunk thrown away in a rebalance blocks for ever
        ends, given = partial(stop, partition=number), (self.serving, self.deployment)
        part = Partition(number, next(self.epochs), self.store, self, *given, ends, self.meter)
        self.partitions[number] = part
        self.app.add_future(self._watched(part.locate()))

    async def _watched(self, work: Awaitable[Any]) -> None:
        """An exception would end this task in silence, and what it looks after would stand still."""
        try:
            await work
        except Refusal as error:
            stop(str(error))
        except errors.KafkaError as error:
            stop(ends(error))
        except RedisError as error:
            stop(answers.ends(error))
        except Exception as error:
            stop(f"unexpected: {error!r}")

    def lose(self, partition: Partition) -> None:
        if self.partitions.get(partition.number) is partition and not self.app.should_stop:
            self.meter.lost()
            self._locate(partition.number)

    def swept(self) -> None:
        self.furthered.set()

    # ---- Kafka -------------------------------------------------------------------------------------------------------

    async def check(self) -> kafka.Topic:
        topic = await asyncio.to_thread(kafka.describe, self.settings)
        self.deployment.check(self.settings, topic.id, topic.partitions)
        return topic

    async def bounds(self, partition: int) -> tuple[int, int]:
        tp = self.tp(partition)
        low, high = await self.app.consumer.earliest_offsets(tp), await self.app.consumer.highwaters(tp)
        return low[tp], high[tp]

    async def seek(self, partition: int, offset: int, epoch: int) -> None:
        self.app.consumer.reader.seek_in_epoch(self.tp(partition), offset, epoch)

    async def reject(self, partition: int, rejects: Sequence[Reject]) -> None:
        topic, origin = self.settings.rejected_topic, (self.deployment.topic, partition)
        await self.sender.send([laid_out(topic, origin, reject, self.room) for reject in rejects])

    def committed(self, tp: TP) -> int | None:
        part = self.partitions.get(tp.partition)
        return part.committed if part is not None and part.life is Life.READY else None

    # ---- work --------------------------------------------------------------------------------------------------------

    async def score(self, chunks: Sequence[Chunk]) -> None:
        """Queues each chunk behind the one before it of its partition: no partition waits for another.

        The queue stays short, for the transport lets what comes meanwhile join the chunk that waits.
        """
        for chunk in chunks:
            self._queue(chunk.tp.partition, partial(self._score, chunk))

    async def _score(self, chunk: Chunk) -> None:
        part = self.partitions.get(chunk.tp.partition)
        chunk.taken = True
        if part is not None and chunk.epoch == part.epoch:
            await part.process(chunk)

    def doubted(self, tp: TP) -> None:
        """Queues the proof that the log still holds what was counted, behind the chunks that came before."""
        self._queue(tp.partition, partial(self._doubt, tp.partition))

    async def _doubt(self, number: int) -> None:
        part = self.partitions.get(number)
        if part is not None and part.life is Life.READY:  # else it is sought once it is located
            await part.doubt(next(self.epochs))

    def _queue(self, number: int, work: Callable[[], Awaitable[None]]) -> None:
        """Behind what the partition is at, and what waits there already."""
        self.busy[number] = self.app.add_future(self._watched(self._behind(self.busy.get(number), work)))

    async def _behind(self, before: asyncio.Future[None] | None, work: Callable[[], Awaitable[None]]) -> None:
        if before is not None:
            await asyncio.wait([before])
        with contextlib.suppress(Lost):
            await work()

    async def heartbeat(self) -> None:
        """Partitions on which nothing arrives notice another Redis, a new model, or a chunk that went astray."""
        parts = [p for p in self.partitions.values() if p.life is Life.READY and not p.lock.locked()]
        heard, standings = await self._heard(parts), self.app.consumer.reader.standings()
        for part in parts:
            with contextlib.suppress(Lost):
                await part.idle(heard.get(part.number))
            standing = standings.get(self.tp(part.number))
            if standing is not None:
                self._astray(part, standing.position)
                line = self.open.seen(part.number, standing.stable, standing.end, time.monotonic())
                if line and not self.outage.lasts:
                    say(line, partition=part.number)

    async def _heard(self, parts: Sequence[Partition]) -> dict[int, Heard]:
        """What stands of these, asked for at once; nothing where that fails: then each asks by itself, and tells."""
        asked, tokens = time.monotonic(), [part.token for part in parts]
        with contextlib.suppress(RedisError, OSError, DeploymentError):
            found = await self.store.standings([part.number for part in parts])
            told = zip(parts, tokens, found, strict=True)
            return {part.number: Heard(asked, token, *each) for part, token, each in told}
        return {}

    async def freshen(self) -> None:
        """Says of each partition that is ready how far behind its log it is; of one that is not nothing is known."""
        found, now, standings = [], time.time(), self.app.consumer.reader.standings()
        for part in [p for p in self.partitions.values() if p.life is Life.READY]:
            standing = standings.get(self.tp(part.number))
            if standing is not None:
                behind = max(0, standing.end - part.committed)
                part.fresh = Freshness.of(part.number, self.owner, now, standing.heard, behind, part.waits_since)
                found.append(part.fresh)
        if found:
            try:
                await self.store.freshen(self.owner, found)
            except RedisError as error:
                self.refused = answers.refused(error)
                raise
            self.answered, self.refused = time.time(), ""

    def _astray(self, part: Partition, position: int) -> None:
        """Loses a partition on which the consumer was ahead in two beats running and nothing is under way."""
        chunk = self.app.consumer.waiting.get(self.tp(part.number))
        here = (part.reached, position)
        waits = part.lock.locked() or (chunk is not None and not chunk.taken)
        if position > part.reached and not waits and self.stalled.get(part.number) == here:
            self.lose(part)
        self.stalled[part.number] = here

    async def tick(self) -> None:
        """Asks for a sweep of partitions that are consumed to their end but lag behind the others: no clock does."""
        ready, count = [p for p in self.partitions.values() if p.life is Life.READY], self.deployment.partitions
        swept = [p.swept_to for p in ready] if len(ready) == count else await self.store.swept(count)
        target = max(swept)
        lagging = [p for p in ready if p.swept_to < target]
        standings = self.app.consumer.reader.standings() if lagging else {}
        for part in lagging:
            now, key = time.monotonic(), (part.number, target)
            standing = standings.get(self.tp(part.number))
            waits = standing is None or standing.end > part.reached  # also behind an open transaction
            if waits or self.ticked.get(key, -REPEAT) + REPEAT > now:
                continue
            self.ticked = {k: v for k, v in self.ticked.items() if k[1] >= target} | {key: now}
            at = target * DAY + self.grace
            # Sent now, for the topic may refuse records that say they are old; or as late as it is no future.
            sent = max(int(time.time() * 1000), -((FUTURE - at) // 1000))
            await self.sender.send(
                [Outgoing(self.deployment.topic, None, encode_tick(at), partition=part.number, timestamp=sent)]
            )

    async def watch(self) -> None:
        """Whether the log is still what it was at the first publish, and rejects still fit: anybody may change both."""
        topic = await self.check()
        topic.check()
        self._warn(topic.warnings())
        await asyncio.to_thread(kafka.check_worker, self.settings)
        self.room = await asyncio.to_thread(kafka.room_of_rejects, self.settings)

    async def look(self) -> None:
        """Whether Redis still holds the deployment that was read at the start, and forgets nothing by itself."""
        self._warn(await self.store.warnings())  # first, for it says how what is missing went
        self.deployment.check_stands(await self.store.published(), self.store.keys.meta)

    def _warn(self, lines: Sequence[str]) -> None:
        """Says those that were not said before."""
        for line in lines:
            if line not in self.warned:
                say(line, level="warning")
        self.warned.update(lines)

    async def listen(self) -> None:
        """Whether Kafka answers: its client's complaints are one line, and their end another."""
        heard = self.app.consumer.reader.heard()
        self.outage.beat(heard is None or heard < SILENT)

    # ---- what it says of itself --------------------------------------------------------------------------------------

    async def report(self) -> None:
        """Says how it is, to whoever asks over HTTP and, in a file, to `streams health`."""
        held = sorted(self.partitions.items())
        self.status = Status(
            at=time.time(),
            partitions={number: part.life.name.lower() for number, part in held},
            behind={number: part.fresh.lag_seconds for number, part in held if part.fresh},
            answered=self.answered,
            refused=self.refused,
            model=self.serving.version,
        )
        if self.settings.status:
            self._show(Path(self.settings.status))

    def _show(self, path: Path) -> None:
        """Where it cannot be written `health` sees a worker that hangs: that is said as it begins."""
        unwritten = ""
        try:
            status.write(path, self.status)
        except Refusal as error:
            unwritten = str(error)
        if unwritten and unwritten != self.unwritten:
            say(unwritten, level="warning")
        self.unwritten = unwritten

    async def judge(self) -> None:
        """How true the model was lately, once for each version; told by the worker that trains."""
        stored = await self.store.model()
        if 0 in self.partitions and stored and stored["version"] != self.judged:
            self.truth = None
            with contextlib.suppress(DeploymentError):  # a ledger that is damaged: `streams model` says what to do
                self.truth = await truth.lately(self.store, self.deployment, WINDOW)
            self.judged = stored["version"]

    def now(self) -> Now:
        """What metrics show of now; asked from their thread, so it changes nothing and waits for nothing."""
        held = [
            Held(part.number, part.fresh, part.swept_to, part.table.customers, part.table.rows.nbytes)
            for part in list(self.partitions.values())
            if part.life is Life.READY
        ]
        return Now(self.deployment.partitions, held, self.serving.version, self.truth if 0 in self.partitions else None)

    async def train(self) -> None:
        """Learns all days that are complete; Kafka's group elects the worker that holds partition 0.

        Where no day can be complete, for its own partitions are not swept far enough, it waits until one of them is,
        and looks again now and then: a model may have gone back, or a partition have come or gone.
        """
        count = self.deployment.partitions
        if not self._trains():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.furthered.wait(), HEARTBEAT)
        self.furthered.clear()
        while self._trains() and await trainer.step(self.store, count):
            pass

    def _trains(self) -> bool:
        """Whether it is for this worker to ask Redis if a day is complete: not before the partitions that it holds are
        swept beyond what the serving model has learned."""
        held = [part for part in self.partitions.values() if part.life is Life.READY]
        if not any(part.number == 0 for part in held):
            return False
        learned = Version.day_of(self.serving.number)
        return all(part.swept_to > learned for part in held)

    async def repeat(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Does the work again and again; errors that pass are passed over until the next time."""
        known: tuple[type[Exception], ...] = (RedisError, *self.TRANSIENT)
        while True:
            try:
                await work()
            except known as error:
                if isinstance(error, RedisError):
                    if not answers.waits(error):
                        raise
                    await self.store.connect_anew()
            await asyncio.sleep(seconds)

    async def start(self) -> None:
        """Once the app is up: the timers, and what would stop the stream is spared."""
        for seconds, work in (
            (HEARTBEAT, self.heartbeat),
            (HEARTBEAT, self.freshen),
            (TICK, self.tick),
            (TRAIN, self.train),
            (WATCH, self.watch),
            (WATCH, self.look),
            (HEARTBEAT, self.listen),
            (HEARTBEAT, self.report),
            *([(WATCH, self.judge)] if self.settings.metrics else []),
        ):
            self.app.add_future(self._watched(self.repeat(seconds, work)))
        spare()
        shutil.rmtree(self.app.conf.datadir, ignore_errors=True)  # made by Faust for tables, of which there are none
        loop = asyncio.get_running_loop()
        ending.farewells.append(lambda: asyncio.run_coroutine_threadsafe(self.leave(), loop).result())

    async def leave(self) -> None:
        """Tells Kafka's tools where it stands and leaves the group; what is under way may break off anywhere."""
        for last in (self.app.consumer.commit, self.app.consumer.reader.leave):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(last(), LEAVE)


def build(settings: Settings, deployment: Deployment, room: int, warned: Sequence[str] = ()) -> faust.App:
    """The Faust app of this deployment; room: bytes of a reject; warned: lines that were said of Redis and the topic
    already. Raises Refusal where metrics cannot be shown."""
    app = application(settings, deployment.partitions)
    worker = Worker(app, settings, deployment, room, warned)
    if settings.metrics:
        say(f"metrics at {Server(settings.metrics, worker.meter.registry, lambda: worker.status).url}/metrics")
    consume(app, settings, worker, worker.score)

    @app.task(on_leader=False)  # type: ignore[untyped-decorator]
    async def started() -> None:
        await worker.start()

    return app


def application(settings: Settings, partitions: int) -> faust.App:
    """One that waits for what it is to consume."""
    app = faust.App(
        settings.group,
        env={},  # what is set for other programs, as BROKER_URL for Celery, is not meant for this one
        broker=[f"kafka://{address}" for address in settings.kafka.split(",")],
        broker_credentials=security.faust(settings),
        autodiscover=False,
        logging_config=LIBRARIES,
        datadir=tempfile.mkdtemp(prefix="crm-scorer-"),
        topic_partitions=partitions,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        stream_wait_empty=False,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
        broker_request_timeout=10.0,
        consumer_metadata_max_age_ms=int(1_000 * REFRESH),
        web_enabled=False,
        web_tables_enabled=False,
        web_bind="127.0.0.1",
    )
    app.boot_strategy.enable_kafka_producer = False  # a worker sends by one of its own
    return app


def serve(app: faust.App) -> None:
    """Runs it until the process ends; Faust reads its options from the command line."""
    sys.argv = [sys.argv[0], "--quiet", "worker", "-l", "error", "--without-web"]
    asyncio.set_event_loop(asyncio.new_event_loop())  # Faust takes the one that is there; Python 3.14 makes none
    app.main()


def spare() -> None:
    """What would stop the stream again and again; once Faust is up, which makes it so."""
    logging.getLogger().setLevel(logging.ERROR)  # Faust's spinner sets DEBUG: messages that nobody reads
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)  # the default stops the worker for 80 ms twice a second


def consume(
    app: faust.App, settings: Settings, owner: Owner, score: Callable[[Sequence[Chunk]], Awaitable[None]]
) -> None:
    """From its start on the app hands what a fetch of the events brought to `score`, each chunk as its owner sought."""
    app.transport = ChunkTransport(app, owner, settings.chunk)
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}

    @app.agent(app.topic(settings.events_topic, **raw))  # type: ignore[untyped-decorator]
    async def consumed(rounds: Any) -> None:
        async for event in rounds.events():
            await score(event.message.value)
