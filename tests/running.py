"""A published deployment on a real Kafka and a real Redis, with worker processes, for tests of what they do and say."""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from operator import ge
from pathlib import Path
from typing import Any

import redis
from click.testing import CliRunner
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from shops import T0

from models.events import encode_event
from models.rows import DAY
from streams import kafka as topics
from streams import security
from streams.__main__ import main
from streams.kept import Kept
from streams.partitioner import partitioner
from streams.publish import publish
from streams.settings import Settings
from streams.store import Store, connect

HERE = Path(__file__).parent.parent
PATIENCE = 120.0  # seconds: a busy machine
WELL = "holds partitions|history ended|ends, for it was asked"  # lines of a worker that is


class Worker:
    """A worker process and what it says; killed at the end if it is still there."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as file:
            run = [sys.executable, "-m", "streams", "worker"]
            self.process = subprocess.Popen(run, env=os.environ | env, cwd=HERE, stdout=file, stderr=file)

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def memory(self) -> float:
        """MB that are resident."""
        resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        assert resident is not None
        return int(resident[1]) / 1e3

    def says(self, text: str) -> None:
        """Waits until it has said so."""
        until(lambda: text in self.said or self.process.poll() is not None, lambda: self.said)
        assert text in self.said, self.said

    def ends(self) -> int:
        """Waits for its end; the exit code."""
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ends()


class Running:
    """A topic and a key prefix of its own; `directory` is published."""

    def __init__(
        self, kafka: str, redis_url: str, directory: Path | None, scratch: Path, partitions: int = 1, **more: Any
    ) -> None:
        name = f"running-{secrets.token_hex(4)}"
        own = {"kafka": kafka, "redis_url": redis_url, "events_topic": name, "group": name, "prefix": name} | more
        self.settings = Settings(**own | {"partitions": partitions})
        self.env = {f"CRM_{key.upper()}": str(value) for key, value in own.items()}
        self.name, self.scratch, self.partitions = name, scratch, partitions
        self.admin = AdminClient({"bootstrap.servers": kafka})
        self.redis: Any = redis.Redis.from_url(redis_url, decode_responses=True, **security.redis(self.settings))
        self.home = partitioner("murmur2", partitions)
        self.workers: list[Worker] = []
        self.directory = directory
        topics.create(self.settings)
        if directory is not None:
            asyncio.run(self._publish(directory))

    async def _publish(self, directory: Path) -> None:
        store = Store(connect(self.settings), self.settings)
        await publish(store, self.settings, topics.describe(self.settings), Kept(directory), lambda _: None)
        await store.close()

    def worker(self, **env: str) -> Worker:
        """Starts one more."""
        log = self.scratch / f"{self.name}-{len(self.workers)}.log"
        self.workers.append(Worker(self.env | env, log))
        return self.workers[-1]

    def command(self, *args: str, code: int = 0) -> str:
        """What `python -m streams ...` says, after checking its exit code."""
        run = [sys.executable, "-m", "streams", *args]
        done = subprocess.run(run, env=os.environ | self.env, cwd=HERE, capture_output=True, text=True)
        assert done.returncode == code, f"{args}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def call(self, *args: str, code: int = 0, **more: Any) -> str:
        """The same in this process."""
        done = CliRunner(env=self.env).invoke(main, args, **more)
        assert done.exit_code == code, f"{args}: exit code {done.exit_code}\n{done.output}{done.exception!r}"
        return done.output

    def look(self, *args: str) -> str:
        """What it says on stdout, whatever its exit code."""
        run = [sys.executable, "-m", "streams", *args]
        return subprocess.run(
            run, env=os.environ | self.env, cwd=HERE, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    def verify(self) -> str:
        """What `verify` says; it must find nothing wrong."""
        return self.call("verify", "--history", str(self.directory))

    def producer(self, **config: Any) -> Producer:
        """One that chooses partitions as the deployment does."""
        own = {"bootstrap.servers": self.settings.kafka, "partitioner": "murmur2_random"}
        return Producer(own | security.librdkafka(self.settings) | config)

    def bought(self, *customers: str) -> None:
        """Sends a purchase of each."""
        producer = self.producer()
        for customer in customers:
            key, value, timestamp = purchase(customer, f"of-{customer}", T0)
            producer.produce(self.name, value, key, timestamp=timestamp)
        producer.flush()

    def offset(self, partition: int = 0) -> int:
        """Where the partition stands."""
        return int(self.redis.hget(f"{self.name}:guard:{partition}", "offset"))

    def reaches(self, *offsets: int) -> None:
        """Waits until the partitions stand there or beyond: where one lags behind, a worker itself sends a tick."""
        now: Callable[[], list[int]] = lambda: [self.offset(p) for p in range(len(offsets))]  # noqa: E731
        until(lambda: all(map(ge, now(), offsets)), lambda: f"{now()} of {offsets}: {self.said}")

    @property
    def said(self) -> str:
        return "\n".join(worker.said for worker in self.workers)

    def orders(self, customer: str) -> str | None:
        """Of the customer's hash; None where there is none."""
        found: str | None = self.redis.hget(f"{self.name}:customer:{customer}", "orders")
        return found

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
        self.redis.close()


@contextlib.contextmanager
def running(kafka: str, redis_url: str, directory: Path | None, scratch: Path, **how: Any) -> Iterator[Running]:
    """Everything of it is gone at the end but the topics."""
    made = Running(kafka, redis_url, directory, scratch, **how)
    try:
        yield made
    finally:
        made.close()


def until(true: Callable[[], object], said: Callable[[], str] = str) -> None:
    """Waits until it is true; fails with `said`."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, said()
        time.sleep(0.05)


def purchase(customer: str, event: str, day: int, price: str = "10.00", **more: Any) -> tuple[bytes, bytes, int]:
    """(key, value, timestamp in ms) of a purchase at noon."""
    t = day * DAY + DAY // 2
    value = encode_event(event, "purchase", customer, t, quantity=1, unit_price=price, **more)
    return customer.encode(), value, t // 1000
