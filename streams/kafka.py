"""What commands and workers ask of Kafka: the topics, their state, and to send. (Workers consume through Faust.)"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, NewTopic, ResourceType

from streams import security
from streams.refusal import Refusal
from streams.rejects import OVERHEAD, SMALLEST, Outgoing
from streams.settings import Settings

Answer = TypeVar("Answer")

# Seconds: for an answer; for one try at it, since a leader that is gone answers nobody; until a topic is none for good.
WAIT, TRY, MISSING = 15.0, 5.0, 3.0
ASKED: dict[str, Any] = {"include_authorized_operations": True, "request_timeout": TRY}
PARTITIONERS = {"murmur2": "murmur2_random", "crc32": "consistent_random"}  # as librdkafka calls them
LIMIT = "message.timestamp.after.max.ms"  # how far ahead of the broker's clock; known since Kafka 3.6
# Retention goes by record timestamp: with a finite one, a topic of old events is emptied soon after the broker starts.
CONFIG = {"retention.ms": "-1", LIMIT: "3600000"}
AHEAD = 86_400_000  # ms: the most that it may be
BY_BROKER = "message.timestamp.type=LogAppendTime"  # what keeps strange times away in brokers before
LARGEST = 4 << 20  # bytes of a record in the topic of rejects: of the events topic it is 1 MB, and headers are more
DAY = 86_400_000  # ms
REJECTED = CONFIG | {"max.message.bytes": str(LARGEST), "segment.ms": str(DAY)}  # records go a segment at a time
TRANSACTION = 10_000  # ms after which Kafka aborts one whose process died: until then what stands behind it waits
DENIED = {  # codes, and of what kind that is on which a right is missing
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional id",
}
OPERATIONS = {each.name.title().replace("_", ""): each for each in AclOperation}  # as Kafka's own tools write them
MUTED = logging.getLogger("librdkafka")  # its fatal errors come as exceptions too, and their line is ours to write
MUTED.addHandler(logging.NullHandler())
MUTED.propagate = False
FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)
DESTROYED = -137  # what a broker was asked that left: librdkafka's _DESTROY_BROKER, for which its client has no name
# What passes by itself, and is tried again: brokers come and go, and leaders, coordinators and controllers move. What
# else Kafka says ends the worker or command with one line.
PASSING = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        DESTROYED,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._QUEUE_FULL,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError._UNKNOWN_PARTITION,  # of a broker that comes or goes; a topic that is gone has another error
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,  # of the first group of a cluster, too
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.LISTENER_NOT_FOUND,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)


class KafkaProblem(Refusal):
    """Kafka cannot be used."""


class KafkaAway(KafkaProblem):
    """Kafka does not answer, or not yet: it passes by itself."""


class NoTopic(KafkaProblem):
    """There is none of that name; of one just made, or by a broker just started, it is said for a moment."""


@dataclass(frozen=True)
class Topic:
    """The events topic as it stands: `bounds[p]` is (first offset held, the one after the last that is committed)."""

    name: str
    id: str
    bounds: list[tuple[int, int]]
    config: Mapping[str, str]

    @property
    def partitions(self) -> int:
        return len(self.bounds)

    def check(self) -> None:
        """Raises KafkaProblem for settings with which the log would not be what was sent, or time not what it is."""
        if "compact" in self.config.get("cleanup.policy", "delete"):
            raise KafkaProblem(
                f"{self.name} has cleanup.policy={self.config['cleanup.policy']}: compaction forgets all but the last"
                " record of a customer, and each counts: set it to delete; if anything is forgotten already, publish"
                " anew with another topic and CRM_PREFIX"
            )
        by_producers = self.config.get("message.timestamp.type", "CreateTime") == "CreateTime"
        name = LIMIT if LIMIT in self.config else "message.timestamp.difference.max.ms"  # of brokers before 3.6
        ahead = int(self.config.get(name, AHEAD))
        if by_producers and ahead > AHEAD:
            raise KafkaProblem(
                f"{self.name} takes records of any time to come ({name}={ahead}): one of them would pass all days until"
                f" then for everybody; set {f'it to {CONFIG[LIMIT]}' if name == LIMIT else BY_BROKER}"
            )

    def warnings(self) -> list[str]:
        """What somebody should mend while it goes on: records that will go, and with them `rebuild` and `verify`."""
        kept = {"retention.ms": "ms", "retention.bytes": "bytes of records a partition"}
        return [
            f"{self.name} keeps {self.config[name]} {what} only; a rebuild needs all records: set {name}=-1"
            for name, what in kept.items()
            if self.config.get(name, "-1") != "-1"
        ]


Config = dict[str, str | int | float | bool]
READER: Config = {"enable.auto.commit": False, "auto.offset.reset": "error"}


def _config(settings: Settings, more: Config | None = None) -> Config:
    return {"bootstrap.servers": settings.kafka, "log_level": 0, **security.librdkafka(settings), **(more or {})}


def _away(settings: Settings, said: str) -> KafkaProblem:
    """What to say of a Kafka that does not answer: what does not pass, if it turns us away, or we it."""
    if why := security.refused(settings):
        return KafkaProblem(f"CRM_KAFKA={settings.kafka}: {why}")
    asked = "is Kafka up, and is this a listener with TLS?" if settings.kafka_tls else "is Kafka up?"
    return KafkaAway(f"CRM_KAFKA={settings.kafka}: {said}: {asked}")


def create(settings: Settings) -> list[str]:
    """Creates the topics that are missing; returns their names."""
    rejected = REJECTED | {"retention.ms": str(settings.rejected_days * DAY)}
    topics = {settings.events_topic: (settings.partitions, CONFIG), settings.rejected_topic: (1, rejected)}
    wanted = [NewTopic(name, n, settings.replication, config=config) for name, (n, config) in topics.items()]
    admin = AdminClient(_config(settings))  # must outlive its futures
    created = []
    for name, future in admin.create_topics(wanted, operation_timeout=WAIT).items():
        try:
            future.result(WAIT + 1)
            created.append(name)
        except TimeoutError:
            raise _away(settings, f"no answer in {WAIT:.0f} s") from None
        except KafkaException as error:
            if error.args[0].code() in PASSING:
                raise _away(settings, error.args[0].str()) from None
            if error.args[0].code() in DENIED:
                raise said(error.args[0], name, "Create") from None
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                why = error.args[0].str()
                way_out = _without_limit(topics[name][1]) if LIMIT in why else ""
                raise KafkaProblem(f"{settings.kafka}: cannot create {name}: {why}{way_out}") from None
    return created


def _without_limit(config: Mapping[str, str]) -> str:
    """How to create a topic with these settings on a broker that does not know LIMIT."""
    others = ", ".join(f"{key}={value}" for key, value in config.items() if key != LIMIT)
    return f", for Kafka is older than 3.6: create it with {others}, {BY_BROKER}"


def describe(settings: Settings) -> Topic:
    """The events topic; KafkaProblem if it or Kafka is not there."""
    name, admin = settings.events_topic, AdminClient(_config(settings))
    found = _asked(settings, lambda: _described(admin, name), name, "Describe")
    with _reader(settings) as consumer:
        places = [TopicPartition(name, p) for p in range(len(found.partitions))]
        bounds = [_bounds(settings, consumer, place) for place in places]
    return Topic(name, str(found.topic_id), bounds, config(settings, name, admin))


def _described(admin: AdminClient, name: str) -> Any:
    return admin.describe_topics(TopicCollection([name]), **ASKED)[name].result(TRY + 1)


@contextlib.contextmanager
def _reader(settings: Settings, **more: str | bool) -> Iterator[Consumer]:
    """A consumer that joins no group, writes nothing and skips nothing."""
    consumer = Consumer(_config(settings, {**READER, "group.id": settings.group, **more}))
    try:
        yield consumer
    finally:
        consumer.close()


def _asked(settings: Settings, ask: Callable[[], Answer], name: str, *operations: str) -> Answer:
    """Kafka's answer: a try that fails of what passes is made again, for WAIT in all. What else comes in place of it is
    a KafkaProblem.

    operations: on `name`, that this takes.
    """
    begun, patience = time.monotonic(), {KafkaAway: WAIT, NoTopic: MISSING}
    while True:
        try:
            return ask()
        except TimeoutError:
            problem = _away(settings, f"no answer in {WAIT:.0f} s")
        except KafkaException as error:
            problem = _problem(settings, error.args[0], name, *operations)
        if time.monotonic() > begun + patience.get(type(problem), 0.0):
            raise problem
        time.sleep(0.1)


def _problem(settings: Settings, error: KafkaError, name: str, *operations: str) -> KafkaProblem:
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return NoTopic(f"{settings.kafka} has no topic {name}: run `python -m streams init`")
    if error.code() in PASSING:
        return _away(settings, error.str())
    if error.code() in DENIED:
        return denied(error.code(), name, *operations)
    return KafkaProblem(f"CRM_KAFKA={settings.kafka}: {error.str()}")


def bounds(settings: Settings, topic: str) -> list[tuple[int, int]]:
    """Of each partition of a topic (first offset held, the one after the last that is committed)."""
    with _reader(settings) as consumer:
        found = _asked(settings, lambda: _partitions(consumer, topic), topic, "Describe")
        return [_bounds(settings, consumer, TopicPartition(topic, p)) for p in found]


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    found = consumer.list_topics(topic, TRY).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def _bounds(settings: Settings, consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """First and next offset. Of all that is asked it alone has to come from the broker that leads the partition."""
    try:
        low, high = _asked(settings, lambda: consumer.get_watermark_offsets(place, TRY), place.topic, "Describe")
    except KafkaAway as away:
        raise KafkaAway(
            f"partition {place.partition} of {place.topic}: {away} Is the broker up that leads it?"
        ) from None
    return low, high


def check_worker(settings: Settings) -> None:
    """Raises KafkaProblem where a worker may not read events, or not write ticks and rejects.

    Whether it may join its group is told as it does: librdkafka that asks for a group aborts the process where a broker
    goes meanwhile ("eonce->refcnt > 0").
    """
    check_topics(settings, {settings.events_topic: ("Read", "Write"), settings.rejected_topic: ("Write",)})


def check_topics(settings: Settings, wanted: Mapping[str, Sequence[str]]) -> None:
    """Raises KafkaProblem where a right is missing; wanted: operations by topic. For what cannot be undone."""
    admin = AdminClient(_config(settings))
    for name, operations in wanted.items():
        found = _asked(settings, partial(_described, admin, name), name, *operations)
        _require(KafkaError.TOPIC_AUTHORIZATION_FAILED, name, operations, found.authorized_operations)


def _require(code: int, name: str, wanted: Sequence[str], granted: Sequence[AclOperation] | None) -> None:
    """granted: None where the broker knows no rights."""
    lacking = [each for each in wanted if granted is not None and OPERATIONS[each] not in granted]
    if lacking:
        raise denied(code, name, *lacking)


def denied(code: int, name: str, *operations: str) -> KafkaProblem:
    """What to grant, in the words of Kafka's own tools.

    >>> print(denied(KafkaError.GROUP_AUTHORIZATION_FAILED, "crm-scorer", "Read"))
    the user of CRM_KAFKA may not Read group crm-scorer: grant it: docs/operations.md, Who may do what
    """
    what = f"{' and '.join(operations)} {DENIED[code]} {name}"
    return KafkaProblem(f"the user of CRM_KAFKA may not {what}: grant it: docs/operations.md, Who may do what")


def room_of_rejects(settings: Settings) -> int:
    """Bytes that a record in the topic of rejects may have. Raises KafkaProblem where one could not stand there."""
    name = settings.rejected_topic
    found = config(settings, name)
    if "compact" in found["cleanup.policy"]:
        raise KafkaProblem(
            f"{name} has cleanup.policy={found['cleanup.policy']}: compaction takes no reject without a key, and"
            " forgets all but the last of each: set it to delete"
        )
    room = int(found["max.message.bytes"])
    if room < SMALLEST:
        raise KafkaProblem(
            f"{name} takes records of {room:,} bytes only: set its max.message.bytes to {LARGEST}, at least {SMALLEST}"
        )
    return min(room, LARGEST)


def config(settings: Settings, topic: str, admin: AdminClient | None = None) -> dict[str, str]:
    """The topic's settings as they stand."""
    asked, resource = admin or AdminClient(_config(settings)), ConfigResource(ResourceType.TOPIC, topic)
    found = _asked(
        settings,
        lambda: asked.describe_configs([resource], request_timeout=TRY)[resource].result(TRY + 1),
        topic,
        "DescribeConfigs",
    )
    return {name: entry.value for name, entry in found.items()}


def kept_otherwise(settings: Settings, found: Mapping[str, str]) -> str | None:
    """What to do about a topic of rejects with these settings that keeps them longer or shorter than CRM_REJECTED_DAYS.

    >>> days_2 = Settings(rejected_days=2)
    >>> kept_otherwise(days_2, {"retention.ms": "172800000"})
    >>> str(kept_otherwise(days_2, {"retention.ms": "86400000"})).partition(":")[0]
    'crm.events.rejected keeps records for 1 days, shorter than CRM_REJECTED_DAYS=2'
    """
    wanted, kept = settings.rejected_days * DAY, int(found["retention.ms"])
    if kept == wanted:
        return None
    how = "for ever" if kept < 0 else f"for {kept / DAY:g} days"
    than = "shorter" if 0 <= kept < wanted else "longer"
    return (
        f"{settings.rejected_topic} keeps records {how}, {than} than CRM_REJECTED_DAYS={settings.rejected_days}: set"
        f" its retention.ms={wanted} and segment.ms={DAY}"
    )


class Sender:
    """Sends from an event loop, which goes on meanwhile: librdkafka carries the records, and a thread waits for it.

    Without idempotence, whose errors would be for good: a record may stand twice, and whoever reads rejects knows that.
    """

    def __init__(self, settings: Settings, largest: int) -> None:
        """largest: bytes that a topic allows a batch of records."""
        more: Config = {
            "linger.ms": 5,
            "message.max.bytes": 2 * LARGEST,
            "batch.size": min(largest - OVERHEAD, 1_000_000),
            "queue.buffering.max.kbytes": 64 << 10,
            "delivery.report.only.error": True,
        }
        self._producer, self._lock = Producer(_config(settings, more)), asyncio.Lock()

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Returns once all of them stand in their topics; raises KafkaAway, or KafkaProblem for what does not pass."""
        async with self._lock:  # so that what is under way is ours, and all of it
            failed: list[KafkaError] = []
            for record in records:
                while not _produced(self._producer, record, lambda error, _: failed.append(error)):
                    await asyncio.to_thread(self._producer.poll, 0.1)
            while len(self._producer):
                await asyncio.to_thread(self._producer.flush, 1.0)
        if failed:
            raise said(failed[0], records[0].topic)


def said(error: KafkaError, topic: str, operation: str = "Write") -> Exception:
    """What librdkafka says of a record of `topic`, as something that passes or as what ends."""
    if error.code() in PASSING:
        return KafkaAway(f"Kafka: {error.str()}")
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
        return KafkaProblem(f"Kafka has no topic {topic} any more: run `python -m streams init`")
    if error.code() in DENIED:
        return denied(error.code(), topic, operation)
    if error.code() in FENCED:
        return KafkaProblem("another process has begun the same meanwhile, and this one sent no more")
    return KafkaProblem(f"{topic}: Kafka says: {error.str()}")


def producer(settings: Settings, partitioner: str, more: Config | None = None) -> Producer:
    """A producer that chooses partitions as the deployment does."""
    own: Config = {
        "partitioner": PARTITIONERS[partitioner],
        "linger.ms": 5,
        "enable.idempotence": True,
        "queue.buffering.max.messages": 1_000_000,
    }
    return Producer(_config(settings, own | (more or {})), logger=MUTED)


def transactional(settings: Settings, partitioner: str, name: str) -> Producer:
    """A producer for `transaction`: from here on nobody else sends under this name, and what was left open is gone."""
    sender = producer(settings, partitioner, {"transactional.id": name, "transaction.timeout.ms": TRANSACTION})
    _asked(settings, lambda: sender.init_transactions(WAIT), name, "Write")
    return sender


@contextlib.contextmanager
def transaction(sender: Producer, topic: str) -> Iterator[None]:
    """What is sent inside stands as a whole or not at all, whoever dies; `topic` is named in an error."""
    try:
        sender.begin_transaction()
        yield
        sender.commit_transaction(WAIT)
    except BaseException as error:
        with contextlib.suppress(KafkaException):
            sender.abort_transaction(WAIT)
        if isinstance(error, KafkaException):
            raise said(error.args[0], topic) from None
        raise


def append(sender: Producer, records: Iterable[Outgoing], told: Callable[[int, Message], Any] | None = None) -> None:
    """Sends records in their order; `told` of each that stands in its topic, and its number, from 0. Returns once all
    do, or raises."""
    errors: list[tuple[KafkaError, str]] = []

    def delivered(number: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            errors.append((error, message.topic() or ""))
        elif told is not None:
            told(number, message)

    for number, record in enumerate(records):
        while not _produced(sender, record, partial(delivered, number)):
            sender.poll(0.1)
        sender.poll(0)
        if errors:
            break
    sender.flush()
    if errors:
        raise said(*errors[0])


def _produced(sender: Producer, record: Outgoing, delivered: Any) -> bool:
    """False where the queue is full: some of it is on its way. Raises what `said` says."""
    topic, key, value, headers, partition, timestamp = record
    try:
        sender.produce(topic, value, key, partition, delivered, timestamp=timestamp, headers=list(headers))
    except BufferError:
        return False
    except KafkaException as error:
        raise said(error.args[0], topic) from None
    return True


def read(settings: Settings, partition: int, start: int, end: int, topic: str = "") -> Iterator[Message]:
    """The records at offsets [start, end) of a partition of a topic, by default that of the events."""
    topic = topic or settings.events_topic
    with _reader(settings, **{"enable.partition.eof": True}) as consumer:
        consumer.assign([TopicPartition(topic, partition, start)])
        reached, until = start, time.monotonic() + WAIT
        while reached < end:
            for message in consumer.consume(10_000, 0.1):
                reached = _reached(message, topic, reached, end)
                if not message.error():
                    if reached <= end:
                        yield message
                    until = time.monotonic() + WAIT  # from here: who reads may take its time over one
            if time.monotonic() > until:
                raise KafkaProblem(f"{topic}:{partition}: nothing came for {WAIT:.0f} s: is Kafka up?")


def _reached(message: Message, topic: str, start: int, end: int) -> int:
    """The offset after this message, `start` if it tells of none; at the end of the partition `end`, for its last
    offsets may be holes. Raises KafkaProblem."""
    error = message.error()
    if error is None:
        return int(message.offset() or 0) + 1
    if error.code() == KafkaError._PARTITION_EOF:
        return end
    # librdkafka asks for a coordinator that nobody needs; and it goes on by itself where brokers come and go.
    if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED or error.code() in PASSING:
        return start
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise KafkaProblem(f"{message.topic()}:{message.partition()}: records were deleted meanwhile: run it again")
    raise said(error, topic, "Read")
