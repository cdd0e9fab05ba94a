"""Brokers come and go, and leaders move: nobody ends for it, and who is gone is asked for no longer."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from proxy import Fault, Proxy
from running import running

from demo import services
from streams import kafka as topics
from streams.kafka import DESTROYED, KafkaAway, KafkaProblem, NoTopic
from streams.settings import Settings


class Moves:
    """A client that is told an error in place of offsets, `left` times more, but for partitions `spared`; the rest is a
    real one's."""

    left, code = 0, 0
    spared: frozenset[int] | set[int] = frozenset()  # partitions

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    @classmethod
    def fails(cls) -> bool:
        cls.left -= cls.left > 0
        return cls.left > 0

    def get_watermark_offsets(self, place: TopicPartition, timeout: float) -> Any:
        if place.partition not in self.spared and self.fails():
            raise KafkaException(KafkaError(self.code, "Failed to get watermark offsets: "))
        return self.client.get_watermark_offsets(place, timeout)


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> type[Moves]:
    monkeypatch.setattr(topics, "Consumer", lambda config: Moves(Consumer(config)))
    for name in ("left", "code"):
        monkeypatch.setattr(Moves, name, 0)
    return Moves


@pytest.mark.parametrize(
    "code", [DESTROYED, KafkaError.OFFSET_NOT_AVAILABLE, KafkaError.LEADER_NOT_AVAILABLE, KafkaError._TIMED_OUT]
)
def test_a_leader_that_moves_is_waited_for(kafka: str, moves: type[Moves], code: int) -> None:
    """Mutations caught: its code taken for what does not pass; one try alone, that of a leader that is gone."""
    settings = Settings(kafka=kafka, events_topic=f"led-{-code}", group="led", partitions=2)
    topics.create(settings)
    moves.code, moves.left = code, 3
    assert topics.describe(settings).bounds == [(0, 0), (0, 0)]
    assert moves.left == 0
    moves.left = 2
    assert topics.bounds(settings, settings.events_topic) == [(0, 0), (0, 0)]


@pytest.mark.parametrize("name", ["message.timestamp.ahead.max.ms", "message.timestamp.after.most.ms"])
def test_a_broker_that_does_not_know_a_setting_is_told_of(
    kafka: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As one before 3.6. Mutations caught: what it should be left out; said of other reasons too."""
    settings = Settings(kafka=kafka, events_topic=name, rejected_days=2)
    monkeypatch.setattr(topics, "CONFIG", {"retention.ms": "-1", name: "3600000"})
    with pytest.raises(KafkaProblem, match=f"cannot create {name}: .*{name}$"):
        topics.create(settings)
    monkeypatch.setattr(topics, "LIMIT", name)
    told = "create it with retention.ms=-1, message.timestamp.type=LogAppendTime$"
    with pytest.raises(KafkaProblem, match=f"cannot create {name}: .*{name}, for Kafka is older than 3.6: {told}"):
        topics.create(settings)


@pytest.mark.parametrize("code", [KafkaError._UNKNOWN_PARTITION, KafkaError.LEADER_NOT_AVAILABLE])
def test_a_partition_whose_leader_is_away_is_named(
    kafka: str, moves: type[Moves], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka is up. Mutation caught: which one it is left out."""
    settings = Settings(kafka=kafka, events_topic=f"left-{abs(code)}", group="left", partitions=2)
    topics.create(settings)
    monkeypatch.setattr(topics, "WAIT", 0.2)
    for ask in (topics.describe, lambda settings: topics.bounds(settings, settings.events_topic)):
        moves.code, moves.left = code, 1_000
        monkeypatch.setattr(moves, "spared", {0})
        with pytest.raises(
            KafkaAway, match=f"^partition 1 of {settings.events_topic}: .*Is the broker up that leads it"
        ):
            ask(settings)


def test_a_topic_is_missing_once_that_was_said_for_a_while(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a broker just started it is said of one that is there. Mutation caught: believed at once, or never."""
    settings, begins = Settings(kafka=kafka, events_topic="late", partitions=1), time.monotonic()
    real, left = topics._described, [2]

    def described(admin: Any, name: str) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        return real(admin, name)

    monkeypatch.setattr(topics, "_described", described)
    topics.create(settings)
    assert topics.describe(settings).partitions == 1
    left[0] = 1_000
    with pytest.raises(NoTopic, match="has no topic late: run `python -m streams init`"):
        topics.describe(settings)
    assert time.monotonic() > begins + topics.MISSING


def test_what_a_reader_is_told_on_the_way_ends_nothing() -> None:
    """librdkafka tells a reader that a broker went, and reads on from the next. Mutation caught: taken for the end."""

    def told(code: int) -> Any:
        error = KafkaError(code)
        return SimpleNamespace(error=lambda: error, topic=lambda: "t", partition=lambda: 0)

    for code in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError.NOT_LEADER_FOR_PARTITION):
        assert topics._reached(told(code), "t", 7, 9) == 7
    with pytest.raises(KafkaProblem, match="may not Read topic t"):
        topics._reached(told(KafkaError.TOPIC_AUTHORIZATION_FAILED), "t", 7, 9)


class Fed:
    """A client that brings one batch after the other, then nothing; each record is its offset."""

    def __init__(self, batches: list[list[int]]) -> None:
        self.batches = batches

    def assign(self, places: list[TopicPartition]) -> None: ...

    def close(self) -> None: ...

    def consume(self, most: int, seconds: float) -> list[Any]:
        batch = self.batches.pop(0) if self.batches else []
        return [SimpleNamespace(error=lambda: None, offset=lambda at=at: at) for at in batch]


def test_who_reads_may_take_its_time_over_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka is silent while nothing comes, not while whoever asked is at work. Mutation caught: counted from when a
    record came."""
    now = [0.0]

    def later() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(topics, "time", SimpleNamespace(monotonic=later))
    monkeypatch.setattr(topics, "Consumer", lambda _: Fed([[3, 4], [5]]))
    read = []
    for record in topics.read(Settings(), 0, 3, 6):
        now[0] += 10 * topics.WAIT
        read.append(record.offset())
    assert read == [3, 4, 5]
    monkeypatch.setattr(topics, "Consumer", lambda _: Fed([[3, 4]]))
    with pytest.raises(KafkaProblem, match="nothing came for 15 s: is Kafka up"):
        list(topics.read(Settings(), 0, 3, 6))


@pytest.mark.timeout(300)
def test_brokers_that_all_moved_are_found_again(valkey: services.Valkey, nobody: Path, tmp_path: Path) -> None:
    """By those named in CRM_KAFKA: a cluster whose known brokers are gone has others. Mutation caught: aiokafka asks
    those for ever."""
    with services.kafka() as broker, Proxy(broker.broker.port) as first, Proxy(broker.broker.port) as other:
        properties = broker.data.parent / "server.properties"
        own = properties.read_text()

        def advertised(port: int) -> None:
            broker.broker.stop()
            properties.write_text(f"{own}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{port}\n")
            broker.broker.start()

        advertised(first.port)
        with running(broker.address, valkey.url, nobody, tmp_path) as run:
            worker = run.worker()
            run.bought("ann")
            run.reaches(1)
            first.strike(Fault.REFUSE)
            advertised(other.port)
            run.bought("bob")
            run.reaches(2)
            assert worker.stop() == 0
