"""How a worker ends: at once and quietly where asked to, else with the reason and the way out; nothing is skipped."""

import asyncio
import csv
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import redis
from confluent_kafka import Producer, admin
from running import WELL

from demo import services
from models.events import encode_event
from streams import kafka as topics
from streams.commands.common import run
from streams.kept import Kept
from streams.publish import publish
from streams.settings import Settings
from streams.store import Store, connect

NOON = 43_200_000_000
CUT_OFF = 19_723  # 2024-01-01


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `offline fit` leaves of 80 customers who buy every 5 to 30 days."""
    scratch = tmp_path_factory.mktemp("small")
    with (scratch / "history.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["customer_id", "occurred_at", "amount"])
        for n in range(80):
            for day in range(19_523 + n % 7, CUT_OFF, 5 + n % 26):
                table.writerow([f"c{n}", day * 86_400 + 3600, f"{5 + n % 13}.50"])
    args = ["--history", str(scratch / "history.csv"), "--until", "2024-01-01", "--out", str(scratch / "fit")]
    subprocess.run([sys.executable, "-m", "offline", "fit", *args], check=True, capture_output=True)
    return scratch / "fit"


def test_a_fault_of_a_command_is_one_line_and_no_finding(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 says that something was found wrong, so no fault may end with it. Mutation caught: the traceback."""

    async def work(*_: object) -> None:
        raise ZeroDivisionError("of\nsomething")

    async def usage(*_: object) -> None:
        raise click.UsageError("give a CUSTOMER")

    with pytest.raises(SystemExit) as ended:
        run(work)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"streams: unexpected: ZeroDivisionError\('of\\nsomething'\) \(.*\.py, line \d+\)\n", said)
    with pytest.raises(click.UsageError):
        run(usage)


class Deployment:
    """A topic and a key prefix of its own, published."""

    def __init__(self, kafka: str, redis_url: str, small: Path) -> None:
        name = f"refusals-{secrets.token_hex(4)}"
        self.env = os.environ | {
            "CRM_KAFKA": kafka,
            "CRM_REDIS_URL": redis_url,
            "CRM_EVENTS_TOPIC": name,
            "CRM_GROUP": name,
            "CRM_PREFIX": name,
        }
        self.name, self.settings = name, Settings(kafka=kafka, redis_url=redis_url, events_topic=name, prefix=name)
        self.admin = admin.AdminClient({"bootstrap.servers": kafka})
        self.redis = redis.Redis.from_url(redis_url)
        topics.create(self.settings)
        asyncio.run(self.publish(small))

    async def publish(self, small: Path) -> None:
        store = Store(connect(self.settings), self.settings)
        await publish(store, self.settings, topics.describe(self.settings), Kept(small), lambda _: None)
        await store.redis.aclose()

    def refusal(self) -> str:
        """The one line with which a worker ends, exit code 2."""
        run = [sys.executable, "-m", "streams", "worker"]
        done = subprocess.run(run, env=self.env, capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        lines = [line for line in done.stderr.splitlines() if not re.search(WELL, line)]
        assert len(lines) == 1, done.stderr
        return lines[0]


@pytest.fixture
def deployment(kafka: str, valkey: services.Valkey, small: Path) -> Iterator[Deployment]:
    made = Deployment(kafka, valkey.url, small)
    yield made
    made.redis.close()


def test_guard_beyond_the_log(deployment: Deployment) -> None:
    deployment.redis.hset(f"{deployment.name}:guard:1", "offset", 10**9)
    line = deployment.refusal()
    assert f"{deployment.name}:guard:1 stands at offset 1000000000" in line
    assert "holds 0 to 0" in line
    assert "streams rebuild" in line
    assert deployment.redis.hget(f"{deployment.name}:guard:1", "offset") == b"1000000000"


def test_guard_missing(deployment: Deployment) -> None:
    deployment.redis.delete(f"{deployment.name}:guard:2")
    assert f"no guard {deployment.name}:guard:2: restore Redis, or run `streams rebuild`" in deployment.refusal()


def test_meta_missing(deployment: Deployment) -> None:
    deployment.redis.delete(f"{deployment.name}:meta")
    assert f"{deployment.name}:meta is missing: run `python -m streams publish DIR`" in deployment.refusal()


@pytest.mark.parametrize("command", ["worker", "status", "publish"])
def test_before_init_it_is_named(kafka: str, valkey: services.Valkey, small: Path, command: str) -> None:
    """Mutation caught: `publish` named first, which then names `init`."""
    name = f"refusals-{secrets.token_hex(4)}"
    env = os.environ | {"CRM_KAFKA": kafka, "CRM_REDIS_URL": valkey.url, "CRM_EVENTS_TOPIC": name, "CRM_PREFIX": name}
    run = [sys.executable, "-m", "streams", command, *([str(small)] if command == "publish" else [])]
    done = subprocess.run(run, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"streams: {kafka} has no topic {name}: run `python -m streams init`\n"


def test_more_partitions(deployment: Deployment) -> None:
    future = deployment.admin.create_partitions([admin.NewPartitions(deployment.name, 6)])[deployment.name]
    future.result(15)
    line = deployment.refusal()
    assert "partitions is 6, but was 4 at the first publish" in line
    assert "publish anew" in line


def test_topic_made_anew(deployment: Deployment) -> None:
    deployment.admin.delete_topics([deployment.name])[deployment.name].result(15)
    time.sleep(0.5)
    deployment.admin.create_topics([admin.NewTopic(deployment.name, 4, 1)])[deployment.name].result(15)
    assert "the topic was deleted and made anew" in deployment.refusal()


def test_other_partitioner_by_setting(deployment: Deployment) -> None:
    deployment.env["CRM_PARTITIONER"] = "crc32"
    assert "partitioner is crc32, but was murmur2" in deployment.refusal()


def send(deployment: Deployment, partitioner: str, events: int) -> None:
    producer = Producer({"bootstrap.servers": deployment.settings.kafka, "partitioner": partitioner})
    t = CUT_OFF * 86_400_000_000 + NOON
    for n in range(events):
        value = encode_event(f"e{n}", "purchase", f"new{n}", t, quantity=1, unit_price="9.99")
        producer.produce(deployment.name, value, f"new{n}".encode(), timestamp=t // 1000)
    producer.flush()


def test_asked_to_end_in_the_middle_of_a_chunk(deployment: Deployment) -> None:
    """Mutation caught: a partition lost while the worker ends is located anew, on an event loop that is closed."""
    deployment.env["CRM_BLOCK"] = "1"
    send(deployment, "murmur2_random", 12_000)
    run = [sys.executable, "-m", "streams", "worker"]
    worker = subprocess.Popen(run, env=deployment.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 240
    while deployment.redis.hlen(f"{deployment.name}:state:0") < 200:
        assert time.monotonic() < until
        time.sleep(0.01)
    worker.terminate()
    said, _ = worker.communicate()
    assert worker.returncode == 0, said
    lines = [line for line in said.splitlines() if re.search(" (info|warning|error): ", line)]
    assert [line for line in lines if not re.search(WELL, line)] == []
    assert deployment.redis.hget(f"{deployment.name}:guard:0", "offset") == b"0", "it was not in the middle of a chunk"


def test_other_partitioner_by_producers(deployment: Deployment) -> None:
    """A crc32 producer against a murmur2 deployment: the worker ends before anything of its customers is scored."""
    send(deployment, "consistent_random", 1200)
    line = deployment.refusal()
    assert "holds customers of other partitions" in line
    assert "CRM_PARTITIONER" in line


def test_kafka_away(deployment: Deployment) -> None:
    deployment.env["CRM_KAFKA"] = "127.0.0.1:1"
    assert "CRM_KAFKA=127.0.0.1:1" in deployment.refusal()


def test_redis_away(deployment: Deployment) -> None:
    deployment.env["CRM_REDIS_URL"] = "redis://127.0.0.1:1/0"
    assert "CRM_REDIS_URL" in deployment.refusal()
