"""`rejected list|show|replay`: each reject told once, its content only when asked for, and sent again once."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException, Producer
from logs import Record
from running import Running, purchase, running
from shops import T0

from demo import services
from models.events import encode_tick
from models.rows import DAY
from streams import kafka as topics
from streams import rejected
from streams.rejected import BYTES, TOGETHER, Wanted, listed, one
from streams.rejects import Held, Reject, Replayed, laid_out

PRIVATE = "of-nobody-else"  # stands in the content of rejects and nowhere else
NOON = (T0 * DAY + DAY // 2) // 1000


class Rejects:
    """A topic of rejects filled by hand, as workers of this and of earlier programs do; `origins` in their order."""

    def __init__(self, deployment: Running) -> None:
        self.deployment = deployment
        self.producer = Producer({"bootstrap.servers": deployment.settings.kafka})

    def put(
        self, partition: int, offset: int, key: bytes | None, value: bytes | None, reason: str, **more: Any
    ) -> None:
        record = Record(offset, more.pop("timestamp", NOON), key, value)
        topic = self.deployment.settings.rejected_topic
        out = laid_out(
            topic, (self.deployment.name, partition), Reject(record, reason, "why"), more.pop("room", 4 << 20)
        )
        left_out = more.pop("without", ())
        headers: dict[str, Any] = {name: text for name, text in out.headers if name not in left_out}
        self.producer.produce(topic, out.value, out.key, headers=headers, **more)

    def done(self) -> None:
        assert self.producer.flush(30) == 0


def log(deployment: Running, partition: int) -> list[tuple[bytes | None, bytes | None, int]]:
    low, high = topics.describe(deployment.settings).bounds[partition]
    records = topics.read(deployment.settings, partition, low, high)
    return [(record.key(), record.value(), record.timestamp()[1]) for record in records]


def of(home: int, deployment: Running, n: int = 0) -> str:
    """The n-th customer of this partition."""
    return [name for name in map("stray-{}".format, range(100)) if deployment.home(name) == home][n]


def test_a_reject_that_stands_twice_is_told_as_it_came_first() -> None:
    """A worker that died behind it rejects it again. Mutations caught: as it came last; told twice."""
    first = Held("t", (0, 7), "not_json", "", NOON, NOON + 5, 1, "", b"c1", b"{")
    other = first._replace(origin=(0, 3), rejected_at=NOON + 7)
    again = [each._replace(rejected_at=NOON + 60_000) for each in (first, other)]
    found, notes = listed([first, other, *again, Replayed((0, 3))], Wanted())
    assert [(each.origin, each.rejected_at, each.key, each.value) for each in found] == [
        ((0, 3), NOON + 7, None, None), ((0, 7), NOON + 5, None, None),
    ]  # fmt: skip
    assert notes == {(0, 3)}
    assert one([first, *again, Replayed((0, 3))], (0, 7)) == (first, False)


def test_a_record_without_a_time_has_none_that_is_told() -> None:
    """Mutation caught: -1 told as a time of 1969."""
    held = [Held("t", (0, 7), "no_timestamp", "", t, NOON, 1, "", b"c1", b"{") for t in (-1, None, 0)]
    assert [rejected.as_fields(each)["timestamp"] for each in held] == [None, None, "1970-01-01T00:00:00.000Z"]


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([BYTES - 1, 1, 1], [2, 1]),
        ([BYTES, BYTES - 1, 2], [1, 1, 1]),
        ([1, BYTES + 1, 1], [1, 1, 1]),
        ([0] * (2 * TOGETHER + 1), [TOGETHER, TOGETHER, 1]),
        ([], []),
    ],
)
def test_what_is_sent_together_is_neither_too_many_nor_too_much(sizes: list[int], parts: list[int]) -> None:
    """Workers wait for a transaction's end. Mutations caught: either bound left out; the first of a part not added."""
    held: Any = [(Held("t", (0, 7), "future", "", NOON, NOON, size, "", b"c1", b"{"), None) for size in sizes]
    assert [len(part) for part in rejected._parts(held)] == parts


@pytest.mark.e2e
def test_what_a_worker_rejected_is_listed_shown_and_sent_to_its_partition(
    kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path
) -> None:
    """Events in a wrong partition; beside them garbage that stays refused. Mutation caught: a replay without notes."""
    with running(kafka, valkey.url, nobody, tmp_path, partitions=2) as deployment:
        stray = of(1, deployment)
        producer = deployment.producer()
        for n in range(3):
            key, value, timestamp = purchase(stray, f"e{n}", T0)
            producer.produce(deployment.name, value, key, partition=0, timestamp=timestamp + n)
        producer.produce(deployment.name, b'{"' + PRIVATE.encode() + b"\x1b[2J", b"x", partition=0, timestamp=NOON)
        producer.flush()
        deployment.worker()
        deployment.reaches(4, 0)
        listed = deployment.call("rejected", "list")
        assert "3  wrong_partition: the key's partition by the deployment's partitioner is another" in listed
        assert f"{deployment.name}:0:3" in listed
        assert (PRIVATE in listed, stray in listed) == (False, False)
        told = json.loads(deployment.call("rejected", "list", "--json", "--reason", "not_json"))
        assert [(each["record"], each["replayed"]) for each in told["rejects"]] == [(f"{deployment.name}:0:3", False)]
        shown = deployment.call("rejected", "show", "0:3")
        assert rf'value        {{"{PRIVATE}\x1b[2J' in shown
        assert "holds no reject of 1:3" in deployment.call("rejected", "show", "1:3", code=1)
        dry = deployment.call("rejected", "replay", "--dry-run")
        assert dry == "accepted now: 3\nstill refused: 1 not_json\n"
        assert deployment.call("rejected", "replay") == dry.replace("accepted now", "sent")
        deployment.reaches(4, 4)  # three events and a marker of the transaction
        assert deployment.orders(stray) == "3"
        again = deployment.call("rejected", "replay")
        assert again == "sent: 0\nstill refused: 1 not_json\n3 sent by an earlier replay\n"
        assert deployment.call("rejected", "list").count("sent again") == 3
        assert "wrong: 0" in deployment.verify()


def test_each_reject_is_sent_once_in_the_order_of_origin(
    kafka: str, redis_url: str, nobody: Path, tmp_path: Path
) -> None:
    """What stands there twice, out of order, cut, without its time, or is no reject. Mutations caught: no `seen`; no
    sorting; the time of the replay in place of the record's own; cut values sent."""
    with running(kafka, redis_url, nobody, tmp_path, partitions=2) as deployment:
        name = of(0, deployment)
        rejects = Rejects(deployment)
        sent = [purchase(name, f"e{n}", T0) for n in range(5)]
        for offset in (3, 1, 1, 4, 1):
            rejects.put(0, offset, *sent[offset][:2], "wrong_field", timestamp=NOON + offset)
        rejects.put(0, 2, *sent[2][:2], "not_json", without=("timestamp", "detail"), timestamp=NOON + 2)
        rejects.put(0, 5, name.encode(), b"x" * 20_000, "not_json", room=16_384)
        for _ in range(2):
            rejects.put(0, 6, name.encode(), sent[0][1], "no_timestamp", timestamp=-1)
        rejects.put(1, 0, None, encode_tick(NOON * 1000), "wrong_key")
        rejects.producer.produce(deployment.settings.rejected_topic, b"somebody else's", headers=[("reason", b"x")])
        rejects.done()
        done = deployment.call("rejected", "replay")
        assert done == "sent: 5\nstill refused: 1 no_timestamp\n1 cut: not whole, so they cannot be sent\n"
        found = log(deployment, 0)
        assert [value for _, value, _ in found] == [sent[n][1] for n in (1, 2, 3, 4)]
        assert {key for key, _, _ in found} == {name.encode()}
        assert [at for *_, at in found if at != found[1][2]] == [NOON + 1, NOON + 3, NOON + 4]
        assert log(deployment, 1) == [(None, encode_tick(NOON * 1000), NOON)]


def test_filters(kafka: str, redis_url: str, nobody: Path, tmp_path: Path) -> None:
    """`--until` excludes, `--since` includes. Two of each kind."""
    with running(kafka, redis_url, nobody, tmp_path, partitions=2) as deployment:
        rejects = Rejects(deployment)
        begun = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)  # the topic keeps 90 days
        for n, (partition, reason) in enumerate([(0, "not_json"), (1, "not_json"), (0, "future"), (1, "no_key")]):
            record = laid_out(
                "r", (deployment.name, partition), Reject(Record(n, NOON, b"k", b"{"), reason, "why"), 1 << 20
            )
            topic = deployment.settings.rejected_topic
            rejects.producer.produce(
                topic, b"{", b"k", headers=dict[str, Any](record.headers), timestamp=int(begun.timestamp() + n) * 1000
            )
        rejects.done()

        def listed(*filters: str) -> list[int]:
            told = json.loads(deployment.call("rejected", "list", "--json", *filters))
            return sorted(int(each["record"].rpartition(":")[2]) for each in told["rejects"])

        assert listed() == [0, 1, 2, 3]
        assert listed("--reason", "not_json") == [0, 1]
        assert listed("--partition", "1") == [1, 3]
        first, second = (begun + timedelta(seconds=n) for n in (1, 2))
        assert listed("--since", f"{first:%Y-%m-%dT%H:%M:%SZ}") == [1, 2, 3]
        assert listed("--until", second.astimezone(timezone(timedelta(hours=1))).isoformat()) == [0, 1]
        day, next_day = (f"{begun + timedelta(n):%Y-%m-%d}" for n in (0, 1))
        assert listed("--since", day, "--until", next_day, "--reason", "future") == [2]
        assert listed("--since", next_day) == []
        assert "is no ISO 8601 time" in deployment.call("rejected", "list", "--since", "soon", code=2)
        assert "is not like 2:17" in deployment.call("rejected", "show", "17", code=2)


def test_a_replay_that_died_has_sent_nothing_and_cannot_go_on(
    kafka: str, redis_url: str, nobody: Path, tmp_path: Path
) -> None:
    """Its open transaction is gone when the next one begins. Mutations caught: notes in a transaction of their own, or
    read before the other replay is shut out."""
    with running(kafka, redis_url, nobody, tmp_path) as deployment:
        rejects, bought = Rejects(deployment), [purchase(f"c{n}", f"e{n}", T0) for n in range(2)]
        for n, (key, value, _) in enumerate(bought):
            rejects.put(0, n, key, value, "wrong_field")
        rejects.done()
        settings = deployment.settings
        died = topics.transactional(settings, "murmur2", f"{settings.rejected_topic}.replay")
        died.begin_transaction()
        died.produce(deployment.name, bought[0][1], bought[0][0], timestamp=NOON)
        died.flush()
        assert deployment.call("rejected", "replay") == "sent: 2\n"
        with pytest.raises(KafkaException):
            died.commit_transaction(10)
        with pytest.raises(topics.KafkaProblem), topics.transaction(died, deployment.name):
            pass
        assert [value for _, value, _ in log(deployment, 0)] == [value for _, value, _ in bought]
        assert deployment.call("rejected", "replay") == "sent: 0\n2 sent by an earlier replay\n"


def test_what_came_before_an_erasure_is_not_sent(kafka: str, redis_url: str, nobody: Path, tmp_path: Path) -> None:
    """In doubt neither: from another partition. Who came back after it is a new customer."""
    with running(kafka, redis_url, nobody, tmp_path, partitions=2) as deployment:
        erased, other = of(0, deployment), of(0, deployment, 1)
        rejects = Rejects(deployment)
        for partition, offset, name in ((0, 4, erased), (0, 4_000, erased), (1, 9_000, erased), (0, 5, other)):
            rejects.put(partition, offset, *purchase(name, f"{partition}-{offset}", T0)[:2], "wrong_field")
        rejects.done()
        key = bytes.fromhex(deployment.redis.hget(f"{deployment.name}:meta", "erasure_key"))
        hashed = hashlib.blake2b(erased.encode(), key=key, digest_size=16).hexdigest()
        for text in ("17", "17 1700000000000"):
            deployment.redis.hset(f"{deployment.name}:erased:0", hashed, text)
            dry = deployment.call("rejected", "replay", "--dry-run")
            assert dry == "accepted now: 2\n2 of customers who were erased since: not sent\n"
        assert deployment.call("rejected", "replay").startswith("sent: 2\n")
        assert [key for key, *_ in log(deployment, 0)] == [other.encode(), erased.encode()]


def test_whoever_is_erased_while_a_file_or_rejects_are_sent_does_not_come_back(
    kafka: str, redis_url: str, nobody: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose tombstone a worker has passed, one whose stands in the log alone. Mutations caught: who was erased is
    asked at the beginning alone, or in Redis alone; who may have come back not named."""
    with running(kafka, redis_url, nobody, tmp_path) as deployment:
        key = bytes.fromhex(deployment.redis.hget(f"{deployment.name}:meta", "erasure_key"))
        rejects, append, stored = Rejects(deployment), topics.append, rejected.stored

        def erases(passed: str, waits: str) -> None:
            hashed = hashlib.blake2b(passed.encode(), key=key, digest_size=16).hexdigest()
            deployment.redis.hset(f"{deployment.name}:erased:0", hashed, "9000")
            rejects.producer.produce(deployment.name, None, waits)
            rejects.done()

        def sent(*given: Any) -> None:
            append(*given)
            monkeypatch.undo()
            erases("ann", "bob")

        rows = [f"{who},2023-12-{9 + n:02},7.00" for n in range(3) for who in ("ann", "bob", "cid")]
        file = tmp_path / "events.csv"
        file.write_text("\n".join(["customer_id,occurred_at,amount", *rows]))
        monkeypatch.setattr(topics, "append", sent)
        said = deployment.call("replay", str(file), "--free")
        assert "sent: 7 events; of erased customers, not sent: 2" in said
        assert "warning: erased meanwhile: ann, bob: some of their events may stand behind the tombstone" in said
        names = [name for name, value, _ in log(deployment, 0) if name and value]
        assert [names.count(who) for who in (b"ann", b"bob", b"cid")] == [1, 3, 3]

        def read(*given: Any) -> Any:
            yield from stored(*given)
            erases("dan", "eve")

        for n, who in enumerate(("dan", "eve", "fay")):
            rejects.put(0, n, *purchase(who, f"of-{who}", T0)[:2], "wrong_field")
        rejects.done()
        monkeypatch.setattr(rejected, "stored", read)
        assert deployment.call("rejected", "replay").startswith("sent: 1\n2 of customers who were erased since")
        names = [name for name, value, _ in log(deployment, 0) if name and value]
        assert [names.count(who) for who in (b"dan", b"eve", b"fay")] == [0, 0, 1]


def test_many_are_sent_in_parts(kafka: str, redis_url: str, nobody: Path, tmp_path: Path) -> None:
    """More than one transaction; nothing between two of them is lost."""
    with running(kafka, redis_url, nobody, tmp_path) as deployment:
        rejects, many = Rejects(deployment), TOGETHER + 7
        for n in range(many):
            rejects.put(0, n, *purchase("c", f"e{n}", T0)[:2], "wrong_field")
        rejects.done()
        assert deployment.call("rejected", "replay") == f"sent: {many:,}\n"
        assert [value for _, value, _ in log(deployment, 0)] == [purchase("c", f"e{n}", T0)[1] for n in range(many)]
        assert deployment.call("rejected", "replay") == f"sent: 0\n{many:,} sent by an earlier replay\n"
