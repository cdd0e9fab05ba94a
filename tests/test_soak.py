"""`make soak`: three workers under one fault after another for half an hour, on a broker and a Redis of their own.

After each fault every customer is recounted from the log. Ends with a table: fault, times, events, wrong customers,
longest pause; then how memory and files of a worker that was never killed moved. CRM_SOAK_MINUTES says how long.
"""

import contextlib
import io
import itertools
import os
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
import redis
from confluent_kafka import Consumer, KafkaException, TopicPartition
from proxy import Fault, Proxy
from rich.console import Console
from rich.table import Table
from running import Running, Worker, running
from shops import T0

from demo import services
from models.events import encode_event
from models.rows import DAY

MINUTES = float(os.environ.get("CRM_SOAK_MINUTES", "30"))
RATE, CUSTOMERS, PARTITIONS, A_DAY = 200, 3_000, 4, 45.0  # events/s, ..., seconds in which a day of the events passes
PAUSE = 300.0  # seconds in which a fault must be over


class Feed(threading.Thread):
    """Purchases, browsing, returns, copies, garbage, tombstones, and transactions of which half are aborted."""

    def __init__(self, deployment: Running) -> None:
        super().__init__(daemon=True)
        self.deployment, self.rng, self.stop = deployment, random.Random(7), threading.Event()
        self.plain = deployment.producer()
        self.bad = [make for makes in hostile.KINDS.values() for make in makes]
        self.sent, self.begun = 0, time.monotonic()

    @property
    def now(self) -> int:
        """Event time, in microseconds."""
        return int((T0 + 0.5) * DAY + (time.monotonic() - self.begun) / A_DAY * DAY)

    def run(self) -> None:
        with contextlib.suppress(Exception):  # a broker that is away for long: the next one goes on
            open_one = self.deployment.producer(**{"transactional.id": self.deployment.name})
            open_one.init_transactions(60)
        for n in itertools.count():
            if self.stop.is_set():
                break
            if n % 20 == 0:
                self.transaction(open_one, commit=n % 40 == 0)
            for _ in range(RATE // 4):
                self.one(self.plain)
            self.plain.poll(0)
            time.sleep(0.25)
        self.plain.flush(60)

    def one(self, producer: Any) -> None:
        self.sent += 1
        customer, event = f"c{self.rng.randrange(CUSTOMERS)}", f"e{self.sent - self.rng.choice((0, 0, 0, 1, 40))}"
        t, kind = self.now - self.rng.choice((0, 0, 0, 3_600_000_000, 2 * DAY)), self.rng.random()
        key: bytes | None = customer.encode()
        if kind < 0.02:
            good = hostile.Good(event_id=event, event_type="view", customer_id=customer, occurred_at=t // 1_000_000)
            key, value = hostile.made(self.rng.choice(self.bad), good)
        elif kind < 0.022:
            value = None
        elif kind < 0.6:
            value = encode_event(event, self.rng.choice(("view", "cart")), customer, t)
        else:
            word = "return" if kind > 0.97 else "purchase"
            value = encode_event(event, word, customer, t, f"o{self.sent // 3}", None, 1, f"{self.sent % 90 + 1}.50")
        with contextlib.suppress(BufferError):
            producer.produce(self.deployment.name, value, key, timestamp=self.now // 1000)

    def transaction(self, producer: Any, commit: bool) -> None:
        with contextlib.suppress(Exception):  # the broker is away
            producer.begin_transaction()
            for _ in range(5):
                self.one(producer)
            (producer.commit_transaction if commit else producer.abort_transaction)(20)


@dataclass
class Line:
    """Of one fault: how often, events sent meanwhile, customers found wrong, seconds of the longest pause."""

    times: int = 0
    events: int = 0
    wrong: int = 0
    pause: float = 0.0


@dataclass
class Watch:
    """Looks every fifth of a second how far the partitions are, and every 5 s what the witness takes."""

    deployment: Running
    witness: Worker
    pause: float = 0.0
    samples: list[tuple[float, float, float]] = field(default_factory=list)  # seconds, MB, descriptors
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        stood, since, next_sample = -1, time.monotonic(), 0.0
        while not self.stopped.wait(0.2):
            now = time.monotonic()
            with contextlib.suppress(Exception):
                at = sum(self.deployment.offset(p) for p in range(PARTITIONS))
                if at != stood:
                    stood, since = at, now
            self.pause = max(self.pause, now - since)
            if now > next_sample:
                next_sample = now + 5
                files = len(list(Path(f"/proc/{self.witness.process.pid}/fd").iterdir()))
                self.samples.append((now, self.witness.memory, float(files)))


class Faults:
    """What may happen; each method returns when it is over for the servers, not for the workers."""

    def __init__(self, deployment: Running, kafka: services.Kafka, valkey: services.Valkey, proxy: Proxy) -> None:
        self.deployment, self.kafka, self.valkey, self.proxy = deployment, kafka, valkey, proxy
        self.env = {"CRM_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
        self.rng = random.Random(11)

    @property
    def workers(self) -> list[Worker]:
        """Those that run, but for the witness, which is the first."""
        return [worker for worker in self.deployment.workers[1:] if worker.process.poll() is None]

    def full(self) -> None:
        while len(self.workers) < 2:
            self.deployment.worker(**self.env)

    def worker_killed(self) -> None:
        self.rng.choice(self.workers).process.kill()

    def worker_stopped_past_its_session(self) -> None:
        worker = self.rng.choice(self.workers)
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(9)
        worker.process.send_signal(signal.SIGCONT)

    def worker_asked_to_end(self) -> None:
        assert self.rng.choice(self.workers).stop() == 0

    def all_but_one_killed(self) -> None:
        for worker in self.workers:
            worker.process.kill()

    def redis_silent(self) -> None:
        os.kill(self.valkey.pid, signal.SIGSTOP)
        time.sleep(self.rng.randint(4, 12))
        os.kill(self.valkey.pid, signal.SIGCONT)

    def redis_killed(self) -> None:
        """Comes back as it was saved last: older."""
        self.deployment.redis.save()
        time.sleep(self.rng.randint(1, 6))
        self.valkey.stop(signal.SIGKILL)
        time.sleep(1)
        self.valkey.start()

    def redis_put_back(self) -> None:
        self.deployment.redis.save()
        kept = (self.valkey.directory / "dump.rdb").read_bytes()
        time.sleep(self.rng.randint(3, 9))
        self.valkey.stop(signal.SIGKILL)
        (self.valkey.directory / "dump.rdb").write_bytes(kept)
        self.valkey.start()

    def redis_read_only(self) -> None:
        self.deployment.redis.replicaof("127.0.0.1", 1)
        time.sleep(4)
        self.deployment.redis.replicaof("no", "one")

    def redis_full(self) -> None:
        self.deployment.redis.config_set("maxmemory", 1)
        time.sleep(4)
        self.deployment.redis.config_set("maxmemory", 0)

    def redis_connections_cut(self) -> None:
        for _ in range(5):
            self.proxy.cut()
            self.proxy.strike(Fault.CUT_REPLY, times=3)
            time.sleep(0.5)

    def redis_unreachable(self) -> None:
        self.proxy.strike(Fault.SILENT)
        time.sleep(5)
        self.proxy.strike(Fault.PASS)

    def broker_silent(self) -> None:
        os.kill(self.kafka.pid, signal.SIGSTOP)
        time.sleep(self.rng.randint(5, 20))
        os.kill(self.kafka.pid, signal.SIGCONT)

    def broker_killed(self) -> None:
        self.kafka.broker.stop(signal.SIGKILL)
        time.sleep(self.rng.randint(1, 15))
        self.kafka.broker.start()

    def transaction_left_open(self) -> None:
        producer = self.deployment.producer(**{"transactional.id": f"{self.deployment.name}-{self.rng.random()}"})
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.produce(self.deployment.name, b"x", b"c1", partition=self.rng.randrange(PARTITIONS))
        producer.flush(20)
        time.sleep(12)
        producer.abort_transaction(20)

    def model_published(self) -> None:
        self.deployment.command("publish", str(self.deployment.directory))


NAMES = [name for name, what in vars(Faults).items() if callable(what) and name not in ("__init__", "full")]


def caught_up(deployment: Running) -> None:
    """Waits until the guards are where the log was, committed, when this was asked."""
    consumer = Consumer({"bootstrap.servers": deployment.settings.kafka, "group.id": "none"})
    limit = time.monotonic() + PAUSE
    for p in range(PARTITIONS):
        end = None
        while end is None or not reached(deployment, p, end):
            assert time.monotonic() < limit, deployment.said
            end = end or committed(consumer, deployment.name, p)
            time.sleep(0.1)
    consumer.close()


def committed(consumer: Consumer, topic: str, partition: int) -> int | None:
    """The end of what is committed; None while no broker says."""
    with contextlib.suppress(KafkaException):
        found = consumer.get_watermark_offsets(TopicPartition(topic, partition), 5)
        return None if found is None else found[1]
    return None


def reached(deployment: Running, partition: int, end: int) -> bool:
    with contextlib.suppress(redis.RedisError):
        return deployment.offset(partition) >= end
    return False


def wrong_customers(deployment: Running) -> int:
    """As `verify` finds them."""
    said = deployment.look("verify", "--history", str(deployment.directory))
    found = re.search(r"wrong: ([\d,]+)$", said)
    assert found, said
    return int(found[1].replace(",", ""))


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_soak(nobody: Path, tmp_path: Path) -> None:
    """Every fault at least once in half an hour: 0 wrong after each; memory and descriptors do not grow."""
    with contextlib.ExitStack() as stack:
        kafka = stack.enter_context(services.kafka())
        valkey = stack.enter_context(services.valkey(appendonly=False))
        how = {"partitions": PARTITIONS, "training_days": 400, "models_kept": 60}
        deployment = stack.enter_context(running(kafka.address, valkey.url, nobody, tmp_path, **how))
        proxy = stack.enter_context(Proxy(valkey.port))
        faults = Faults(deployment, kafka, valkey, proxy)
        witness = deployment.worker(**faults.env)
        faults.full()
        feed, watch = Feed(deployment), Watch(deployment, witness)
        feed.start()
        caught_up(deployment)
        looking = threading.Thread(target=watch.run, daemon=True)
        looking.start()
        lines = run(faults, feed, watch)
        feed.stop.set()
        feed.join()
        caught_up(deployment)
        last = wrong_customers(deployment)
        watch.stopped.set()
        looking.join()
        assert witness.process.poll() is None, witness.said
        print(table(lines))
        print(f"at the end: {feed.sent:,} events sent, {last} customers wrong; {slopes(watch)}")
        assert last == sum(line.wrong for line in lines.values()) == 0, deployment.said
        shutil.rmtree(tmp_path, ignore_errors=True)


def run(faults: Faults, feed: Feed, watch: Watch) -> dict[str, Line]:
    """Strikes until the time is over."""
    lines: dict[str, Line] = {name: Line() for name in NAMES}
    end, order, done = time.monotonic() + MINUTES * 60, list[str](), Counter[str]()
    while time.monotonic() < end:
        order = order or random.Random(sum(done.values())).sample(NAMES, len(NAMES))
        name = order.pop()
        strike: Callable[[], None] = getattr(faults, name)
        watch.pause, sent = 0.0, feed.sent
        strike()
        faults.full()
        caught_up(faults.deployment)
        line = lines[name]
        line.times, line.events = line.times + 1, line.events + feed.sent - sent
        line.pause, line.wrong = max(line.pause, watch.pause), line.wrong + wrong_customers(faults.deployment)
        done[name] += 1
        print(f"{name}: wrong {line.wrong}, paused {watch.pause:.1f} s", flush=True)
    return lines


def table(lines: dict[str, Line]) -> str:
    console, drawn = Console(width=100, record=True, file=io.StringIO()), Table()
    for name in ("fault", "times", "events", "wrong", "longest pause"):
        drawn.add_column(name, justify="left" if name == "fault" else "right")
    for name, line in lines.items():
        drawn.add_row(
            name.replace("_", " "), str(line.times), f"{line.events:,}", str(line.wrong), f"{line.pause:.1f} s"
        )
    console.print(drawn)
    return console.export_text()


def slopes(watch: Watch) -> str:
    """Of the second half, when everything was met once."""
    half = np.array(watch.samples[len(watch.samples) // 2 :])
    minutes = (half[:, 0] - half[0, 0]) / 60
    memory, files = (np.polyfit(minutes, half[:, i], 1)[0] for i in (1, 2))
    return f"a worker's memory {memory:+.2f} MB/min at {half[:, 1].mean():.0f} MB, files {files:+.2f}/min"
