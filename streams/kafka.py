"""What the commands ask of Kafka: the topics, their state, and a fast producer. (Workers consume through Faust.)"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from streams.refusal import Refusal
from streams.settings import Settings

WAIT = 15.0  # seconds
PARTITIONERS = {"murmur2": "murmur2_random", "crc32": "consistent_random"}  # as librdkafka calls them
# Retention goes by record timestamp: with a finite one, a topic of old events is emptied soon after the broker starts.
SETTLING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.UNKNOWN_TOPIC_OR_PART)
CONFIG = {"retention.ms": "-1", "message.timestamp.after.max.ms": "3600000"}
REJECTED = CONFIG | {"max.message.bytes": str(4 << 20)}  # a reject is a record with headers more


class KafkaProblem(Refusal):
    """Kafka cannot be used."""


@dataclass(frozen=True)
class Topic:
    """The events topic as it stands: `bounds[p]` is (first offset held, the one after the last)."""

    id: str
    bounds: list[tuple[int, int]]
    retention_ms: int

    @property
    def partitions(self) -> int:
        return len(self.bounds)


Config = dict[str, str | int | float | bool]


def _config(settings: Settings, more: Config | None = None) -> Config:
    return {"bootstrap.servers": settings.kafka, "log_level": 0, **(more or {})}


def create(settings: Settings) -> list[str]:
    """Creates the topics that are missing; returns their names."""
    topics = [(settings.events_topic, settings.partitions, CONFIG), (settings.rejected_topic, 1, REJECTED)]
    wanted = [NewTopic(name, n, settings.replication, config=config) for name, n, config in topics]
    admin = AdminClient(_config(settings))  # must outlive its futures
    created = []
    for name, future in admin.create_topics(wanted, operation_timeout=WAIT).items():
        try:
            future.result(WAIT + 1)
            created.append(name)
        except TimeoutError:
            raise KafkaProblem(f"CRM_KAFKA={settings.kafka}: no answer in {WAIT:.0f} s: is Kafka up?") from None
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise KafkaProblem(f"{settings.kafka}: cannot create {name}: {error.args[0].str()}") from None
    return created


def describe(settings: Settings) -> Topic:
    """The events topic; KafkaProblem if it or Kafka is not there."""
    name, admin = settings.events_topic, AdminClient(_config(settings))
    try:
        found = admin.describe_topics(TopicCollection([name]), request_timeout=WAIT)[name].result(WAIT + 1)
        resource = ConfigResource(ResourceType.TOPIC, name)
        config = admin.describe_configs([resource], request_timeout=WAIT)[resource].result(WAIT + 1)
        consumer = Consumer(_config(settings, {"group.id": "none"}))
        try:
            tps = [TopicPartition(name, p) for p in range(len(found.partitions))]
            bounds = [_bounds(consumer, tp) for tp in tps]
        finally:
            consumer.close()
    except TimeoutError:
        raise KafkaProblem(f"CRM_KAFKA={settings.kafka}: no answer in {WAIT:.0f} s: is Kafka up?") from None
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaProblem(f"{settings.kafka} has no topic {name}: run `python -m streams init`") from None
        raise KafkaProblem(f"CRM_KAFKA={settings.kafka}: {error.args[0].str()}: is Kafka up?") from None
    return Topic(str(found.topic_id), bounds, int(config["retention.ms"].value or -1))


def _bounds(consumer: Consumer, tp: TopicPartition) -> tuple[int, int]:
    """First and next offset; a topic just made has no leader for a moment, which librdkafka does not wait for."""
    until = time.monotonic() + WAIT
    while True:
        try:
            low, high = consumer.get_watermark_offsets(tp, WAIT)
            return low, high
        except KafkaException as error:
            if time.monotonic() > until or error.args[0].code() not in SETTLING:
                raise
            time.sleep(0.1)


def producer(settings: Settings, partitioner: str) -> Producer:
    """A producer that chooses partitions as the deployment does."""
    more: Config = {
        "partitioner": PARTITIONERS[partitioner],
        "linger.ms": 5,
        "enable.idempotence": True,
        "queue.buffering.max.messages": 1_000_000,
    }
    return Producer(_config(settings, more))


def read(settings: Settings, partition: int, start: int, end: int) -> Iterator[Message]:
    """The records at offsets [start, end) of a partition of the events topic."""
    consumer = Consumer(_config(settings, {"group.id": "none", "enable.partition.eof": True}))
    try:
        consumer.assign([TopicPartition(settings.events_topic, partition, start)])
        reached, until = start, time.monotonic() + WAIT
        while reached < end:
            for message in consumer.consume(10_000, 0.1):
                reached = _reached(message, end)
                until = time.monotonic() + WAIT
                if not message.error() and reached <= end:
                    yield message
            if time.monotonic() > until:
                raise KafkaProblem(f"{settings.events_topic}:{partition}: nothing came for {WAIT:.0f} s: is Kafka up?")
    finally:
        consumer.close()


def _reached(message: Message, end: int) -> int:
    """The offset after this message; at the end of the partition `end`, for its last offsets may be holes."""
    error = message.error()
    if error is None:
        return int(message.offset() or 0) + 1
    if error.code() == KafkaError._PARTITION_EOF:
        return end
    raise KafkaProblem(f"{message.topic()}:{message.partition()}: {error.str()}")
