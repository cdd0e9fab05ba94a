"""The worker: Faust hands it partitions and chunks; it keeps the partitions, ticks where time stands still, and trains.

The rule: an error that is not known to pass ends the process with one line and exit code 2. Dying is always safe, for a
write is applied as a whole or not at all; going on without knowing where a partition stands is not.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import faust
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from faust.types import TP

from models.events import encode_tick
from models.rows import DAY
from streams import trainer
from streams.console import say, stop
from streams.deployment import Deployment
from streams.partition import Life, Lost, Partition
from streams.refusal import Refusal
from streams.serving import Serving
from streams.settings import Settings
from streams.store import TRANSIENT, Store, connect
from streams.transport import Chunk, ChunkTransport

HEARTBEAT, TRAIN, TICK, REPEAT = 1.0, 0.05, 0.5, 5.0  # seconds
OPEN = 10.0  # seconds that a last stable offset may stand still unsaid; then it is said at twice the age, and so on
LARGEST = 4 << 20  # bytes: a reject is a record with headers more


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

    TRANSIENT: tuple[type[Exception], ...] = (KafkaError, OSError, asyncio.TimeoutError)

    def __init__(self, app: faust.App, settings: Settings, deployment: Deployment) -> None:
        self.app, self.settings, self.deployment = app, settings, deployment
        self.store = Store(connect(settings.redis_url), settings)
        self.serving, self.grace = Serving(self.store), settings.grace * 1_000_000
        self.partitions: dict[int, Partition] = {}
        self.epochs = itertools.count(1)
        self.ticked: dict[tuple[int, int], float] = {}
        self.stalled: dict[int, tuple[int, int]] = {}
        self.open = OpenTransactions()
        self.busy: dict[int, asyncio.Future[None]] = {}  # the chunk that each partition is at
        self.producer: AIOKafkaProducer

    def tp(self, partition: int) -> TP:
        return TP(self.deployment.topic, partition)

    # ---- assignments -------------------------------------------------------------------------------------------------

    def assigned(self, tps: set[TP]) -> None:
        mine = sorted(tp.partition for tp in tps if tp.topic == self.deployment.topic)
        say(f"holds partitions {', '.join(map(str, mine)) or 'none'}")
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
        part = Partition(number, next(self.epochs), self.store, self, self.serving, self.deployment, stop)
        self.partitions[number] = part
        self.app.add_future(self._watched(part.locate()))

    async def _watched(self, work: Awaitable[Any]) -> None:
        """An exception would end this task in silence, and what it looks after would stand still."""
        try:
            await work
        except Refusal as error:
            stop(str(error))
        except Exception as error:
            stop(f"unexpected: {error!r}")

    def lose(self, partition: Partition) -> None:
        if self.partitions.get(partition.number) is partition and not self.app.should_stop:
            self._locate(partition.number)

    # ---- Kafka -------------------------------------------------------------------------------------------------------

    async def bounds(self, partition: int) -> tuple[int, int]:
        tp = self.tp(partition)
        low, high = await self.app.consumer.earliest_offsets(tp), await self.app.consumer.highwaters(tp)
        return low[tp], high[tp]

    async def seek(self, partition: int, offset: int, epoch: int) -> None:
        await self.app.consumer.seek_in_epoch(self.tp(partition), offset, epoch)

    async def reject(self, partition: int, rejects: Sequence[tuple[Any, str]]) -> None:
        place = [("topic", self.deployment.topic.encode()), ("partition", str(partition).encode())]
        topic = self.settings.rejected_topic
        await asyncio.gather(
            *[
                await self.producer.send(
                    topic,
                    record.value,
                    key=record.key,
                    headers=[("reason", reason.encode()), *place, ("offset", str(record.offset).encode())],
                )
                for record, reason in rejects
            ]
        )

    def committed(self, tp: TP) -> int | None:
        part = self.partitions.get(tp.partition)
        return part.committed if part is not None and part.life is Life.READY else None

    # ---- work --------------------------------------------------------------------------------------------------------

    async def score(self, chunk: Chunk) -> None:
        """Starts on a chunk once the one before it is done; meanwhile other partitions go on beside this one."""
        before = self.busy.get(chunk.partition)
        if before is not None:
            await asyncio.wait([before])
        self.busy[chunk.partition] = self.app.add_future(self._watched(self._score(chunk)))

    async def _score(self, chunk: Chunk) -> None:
        part = self.partitions.get(chunk.partition)
        chunk.taken = True
        if part is not None and chunk.epoch == part.epoch:
            with contextlib.suppress(Lost):
                await part.process(chunk)

    async def heartbeat(self) -> None:
        """Partitions on which nothing arrives notice another Redis, a new model, or a chunk that went astray."""
        for part in [p for p in self.partitions.values() if p.life is Life.READY and not p.lock.locked()]:
            with contextlib.suppress(Lost):
                await part.idle()
            standing = await self.app.consumer.standing_of(self.tp(part.number))
            if standing is not None:
                self._astray(part, standing.position)
                if line := self.open.seen(part.number, standing.stable, standing.end, time.monotonic()):
                    say(line)

    def _astray(self, part: Partition, position: int) -> None:
        """Loses a partition on which the consumer was ahead in two beats running and nothing is under way."""
        chunk = self.app.consumer.waiting.get(self.tp(part.number))
        here = (part.reached, position)
        waits = part.lock.locked() or (chunk is not None and not chunk.taken)
        if position > part.reached and not waits and self.stalled.get(part.number) == here:
            self.lose(part)
        self.stalled[part.number] = here

    async def tick(self) -> None:
        """Asks for a sweep of partitions that are consumed to their end but lag behind the others, or the clock."""
        target = max(await self.store.swept(self.deployment.partitions))
        if self.settings.clock == "wall":
            target = max(target, (int(time.time() * 1e6) - self.grace) // DAY)
        for part in [p for p in self.partitions.values() if p.life is Life.READY and p.swept_to < target]:
            now, key = time.monotonic(), (part.number, target)
            standing = await self.app.consumer.standing_of(self.tp(part.number))
            waits = standing is None or standing.end > part.reached  # also behind an open transaction
            if waits or self.ticked.get(key, -REPEAT) + REPEAT > now:
                continue
            self.ticked = {k: v for k, v in self.ticked.items() if k[1] >= target} | {key: now}
            at = target * DAY + self.grace
            await self.producer.send_and_wait(
                self.deployment.topic, encode_tick(at), partition=part.number, timestamp_ms=at // 1000
            )

    async def train(self) -> None:
        """Learns all days that are complete; Kafka's group elects the worker that holds partition 0."""
        count = self.deployment.partitions
        while 0 in self.partitions and self.partitions[0].life is Life.READY and await trainer.step(self.store, count):
            pass

    async def repeat(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Does the work again and again; errors that pass are passed over until the next time."""
        while True:
            with contextlib.suppress(*TRANSIENT, *self.TRANSIENT):
                await work()
            await asyncio.sleep(seconds)

    async def start(self) -> None:
        """Once the app is up: the producer, the timers, and a garbage collector that does not stop the stream."""
        self.producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka, acks="all", enable_idempotence=True, max_request_size=LARGEST
        )
        await self.producer.start()
        for seconds, work in ((HEARTBEAT, self.heartbeat), (TICK, self.tick), (TRAIN, self.train)):
            self.app.add_future(self._watched(self.repeat(seconds, work)))
        logging.getLogger().setLevel(logging.ERROR)  # Faust's spinner sets DEBUG: messages that nobody reads
        shutil.rmtree(self.app.conf.datadir, ignore_errors=True)  # made by Faust for tables, of which there are none
        gc.collect()
        gc.freeze()
        gc.set_threshold(200_000, 50, 100)  # the default stops the worker for 80 ms twice a second


def build(settings: Settings, deployment: Deployment) -> faust.App:
    """The Faust app of this deployment."""
    app = faust.App(
        settings.group,
        broker=[f"kafka://{address}" for address in settings.kafka.split(",")],
        autodiscover=False,
        datadir=tempfile.mkdtemp(prefix="crm-scorer-"),
        topic_partitions=deployment.partitions,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        stream_wait_empty=False,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
        broker_request_timeout=10.0,
        web_enabled=False,
        web_tables_enabled=False,
        web_bind="127.0.0.1",
    )
    worker = Worker(app, settings, deployment)
    app.transport = ChunkTransport(app, worker, settings.chunk)
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    topic = app.topic(settings.events_topic, **raw)

    @app.agent(topic)  # type: ignore[untyped-decorator]
    async def score(chunks: Any) -> None:
        async for event in chunks.events():
            await worker.score(event.message.value)

    @app.task(on_leader=False)  # type: ignore[untyped-decorator]
    async def started() -> None:
        await worker.start()

    return app
