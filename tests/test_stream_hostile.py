"""Whatever comes: every message counted, and standing in the topic of rejects with its reason, or in its customer."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from hostile import MARK, Message, messages
from logs import Record
from running import Running, running, until
from shops import T0

from demo import services
from streams.rejects import OVERHEAD, SMALLEST, Reject, laid_out

PARTITIONS = 4


def sent(deployment: Running, produced: list[Message]) -> dict[tuple[int, int], Message]:
    """Sends them; where each came to stand."""
    stand: dict[tuple[int, int], Message] = {}
    producer = deployment.producer(**{"compression.type": "zstd", "linger.ms": 20, "message.max.bytes": 20_000_000})
    for n, message in enumerate(produced):

        def delivered(error: Any, record: Any, message: Message = message) -> None:
            assert error is None, error
            stand[record.partition(), record.offset()] = message

        where: dict[str, Any] = {} if message.partition is None else {"partition": message.partition}
        producer.produce(
            deployment.name, message.value, message.key, timestamp=message.timestamp, on_delivery=delivered, **where
        )
        if n % 1_000 == 0:
            producer.poll(0)
    producer.flush()
    return stand


def rejected(deployment: Running, count: int) -> dict[tuple[int, int], tuple[dict[str, str], Any]]:
    """By origin, the headers and the record of each reject."""
    consumer = Consumer(
        {"bootstrap.servers": deployment.settings.kafka, "group.id": "none", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(deployment.settings.rejected_topic, 0, 0)])
    found: dict[tuple[int, int], tuple[dict[str, str], Any]] = {}
    while len(found) < count:
        record = consumer.poll(30)
        assert record is not None, f"{len(found)} of {count} rejects"
        if record.error():
            continue
        headers = {name: value.decode() for name, value in dict[str, Any](record.headers() or ()).items()}
        found[int(headers["partition"]), int(headers["offset"])] = headers, record
    consumer.close()
    return found


def play(deployment: Running, produced: list[Message]) -> float:
    """A worker meets them as a backlog; everything is where it must be. MB by which it grew in the second half."""
    stand = sent(deployment, produced)
    worker = deployment.worker()
    counts = Counter(p for p, _ in stand)
    until(lambda: sum(deployment.offset(p) for p in range(PARTITIONS)) > len(stand) // 2, lambda: worker.said)
    half = worker.memory
    deployment.reaches(*(counts[p] for p in range(PARTITIONS)))
    grown = worker.memory - half
    bad = {where: message for where, message in stand.items() if message.reason is not None}
    found = rejected(deployment, len(bad))
    wrong = {
        where: (message, headers)
        for where, message in bad.items()
        if (headers := found[where][0])["reason"] != message.reason
    }
    assert not wrong, next(iter(wrong.values()))
    assert found.keys() == bad.keys()
    for where, (headers, record) in found.items():
        assert headers["topic"] == deployment.name
        assert headers["detail"]
        assert MARK not in "".join(headers.values()), headers
        if "cut" not in headers:
            assert (record.key(), record.value()) == (bad[where].key, bad[where].value)
    counted: Counter[str] = Counter()
    for p in range(PARTITIONS):
        counted.update({k: int(v) for k, v in deployment.redis.hgetall(f"{deployment.name}:rejected:{p}").items()})
    assert counted == Counter(message.reason for message in bad.values())
    good = {message.key for message in produced if message.reason is None}
    assert f"customers: {len(good):,}; wrong: 0" in deployment.verify()
    assert worker.process.poll() is None
    assert "unexpected" not in deployment.said
    assert MARK not in deployment.said
    return grown


@pytest.mark.e2e
def test_hostile_messages(kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path) -> None:
    """Mutations caught: a null key with a null value (an assertion of the client); a reject larger than its topic."""
    with running(kafka, valkey.url, nobody, tmp_path, partitions=PARTITIONS) as deployment:
        play(deployment, list(messages(12_000, 1, T0, deployment.home, PARTITIONS)))


@pytest.mark.soak
def test_a_million_hostile_messages(kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path) -> None:
    """The same a million times, and memory stays as it is."""
    with running(kafka, valkey.url, nobody, tmp_path, partitions=PARTITIONS) as deployment:
        assert play(deployment, list(messages(1_000_000, 2, T0, deployment.home, PARTITIONS))) < 100


# ---- how a reject is laid out ----------------------------------------------------------------------------------------
def size(sent: Any) -> int:
    return len(sent.key or b"") + len(sent.value or b"") + sum(len(name) + len(value) for name, value in sent.headers)


@pytest.mark.parametrize(("at", "said"), [(99, b"99"), (-1, b"-1"), (None, b"-1")])
def test_a_reject_is_the_record_as_it_came(at: int | None, said: bytes) -> None:
    out = laid_out("r", ("t", 3), Reject(Record(7, at, b"c", b"{"), "not_json", "no object"), 1 << 20)
    assert (out.topic, out.key, out.value) == ("r", b"c", b"{")
    assert [*out.headers] == [
        ("reason", b"not_json"), ("detail", b"no object"), ("topic", b"t"), ("partition", b"3"), ("offset", b"7"),
        ("timestamp", said),
    ]  # fmt: skip


@pytest.mark.parametrize("room", [SMALLEST, 100_000, 4 << 20])
def test_a_reject_always_fits(room: int) -> None:
    """Whatever the sizes of key and value: it fits, and says what was cut and what it was."""
    rng = random.Random(room)
    for _ in range(60):
        key, value = (rng.choice([None, b"a" * rng.choice([0, 9, 2_000, room, 3 * room])]) for _ in "kv")
        out = laid_out("r", ("t", 0), Reject(Record(0, 0, key, value), "not_json", "d" * 200), room)
        assert size(out) <= room
        said = {name: text.decode() for name, text in out.headers}
        fits = len(key or b"") + len(value or b"") <= room - OVERHEAD
        assert ("cut" in said) is not fits
        if fits:
            assert (out.key, out.value) == (key, value)
        for name, was, now in (("key", key, out.key), ("value", value, out.value)):
            if was != now:
                assert was is not None
                assert now is not None
                assert name in said["cut"].split(",")
                assert (int(said[f"{name}_size"]), was.startswith(now)) == (len(was), True)
                assert len(said[f"{name}_sha256"]) == 64
