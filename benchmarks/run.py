"""How the figures are taken: commands as a user types them, one worker process, and what stands in Redis meanwhile."""

import contextlib
import gc
import importlib.metadata
import itertools
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from redis import Redis

from benchmarks import cpu, traffic
from demo import services
from streams.keys import Keys

PARTITIONS = 4
PATIENCE = 120.0  # seconds without progress
Seconds = npt.NDArray[np.float64]


class BenchmarkError(RuntimeError):
    """A step failed; the text is for the user."""


def end(main: Callable[[], int]) -> NoReturn:
    """Ends the process with main's exit code, or with 2 and one line where a step failed."""
    try:
        sys.exit(main())
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        sys.exit(2)


@dataclass(frozen=True)
class Running:
    """A process that was started here; check: raises BenchmarkError with what it said if it has ended."""

    pid: int
    check: Callable[[], None]

    def cpu(self) -> float:
        """Seconds of user and system time so far, its children's too (Linux)."""
        return cpu.spent(self.pid)


@contextlib.contextmanager
def process(command: Sequence[str | Path], env: Mapping[str, str]) -> Iterator[Running]:
    """A process that runs until the end of the block, and its children; BenchmarkError if it ended by itself."""
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(command, env=os.environ | env, stdout=log, stderr=log, start_new_session=True)

        def check() -> None:
            if started.poll() is not None:
                log.seek(0)
                said = log.read().decode(errors="replace")[-2000:]
                raise BenchmarkError(f"{' '.join(map(str, command[1:]))}: exit code {started.returncode}: {said}")

        try:
            yield Running(started.pid, check)
            check()
        finally:
            started.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


GUARDS = tuple(("HGET", Keys().guard(p), "offset") for p in range(PARTITIONS))


@dataclass(frozen=True)
class Deployment:
    """Kafka and Valkey with a published model; `directory` holds what `offline fit` left.

    reached: what is asked of Redis for the next offset of each partition, before which everything can be read; pids:
    of the services, by name.
    """

    env: dict[str, str]
    store: Any  # a redis.Redis; redis-py types its answers as unions that no caller can narrow
    directory: Path
    reached: tuple[tuple[str, ...], ...] = GUARDS
    pids: Mapping[str, int] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        return self.env["CRM_EVENTS_TOPIC"]

    def command(self, *args: str) -> str:
        """Runs a command of the product; returns what it printed."""
        run = [sys.executable, "-m", *args]
        done = subprocess.run(run, env=os.environ | self.env, capture_output=True, text=True)
        if done.returncode:
            raise BenchmarkError(f"python -m {' '.join(args)}: exit code {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def process(self, *args: str) -> contextlib.AbstractContextManager[Running]:
        """A process of the product that runs until the end of the block."""
        return process([sys.executable, "-m", *args], self.env)

    def producer(self, **config: Any) -> Producer:
        given = {name.replace("_", "."): value for name, value in config.items()}
        plain = {"bootstrap.servers": self.env["CRM_KAFKA"], "partitioner": "murmur2_random", "log_level": 0}
        return Producer(plain | {"queue.buffering.max.messages": 1_000_000} | given)

    def end(self) -> int:
        """How many records the topic holds."""
        consumer = Consumer({"bootstrap.servers": self.env["CRM_KAFKA"], "group.id": "bench-ends"})
        places = (TopicPartition(self.topic, p) for p in range(PARTITIONS))
        total = sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
        consumer.close()
        return total

    def offsets(self) -> list[int]:
        """The next offset of each partition: all before it can be read from Redis."""
        pipe = self.store.pipeline(transaction=False)
        for asked in self.reached:
            pipe.execute_command(*asked)
        return [int(offset or 0) for offset in pipe.execute()]


def keeper() -> Callable[[], Any]:
    """Starts Debian's `redis-server` (jemalloc) where that is on PATH, else Valkey."""
    return services.redis_server if shutil.which("redis-server") else services.valkey


@contextlib.contextmanager
def deployment(
    said: Callable[[str], None], keeper: Callable[[], Any] = services.valkey, known: int = traffic.KNOWN
) -> Iterator[Deployment]:
    """Both services, a history of so many customers, its fit and its publication."""
    with tempfile.TemporaryDirectory() as scratch, services.kafka() as kafka, keeper() as valkey:
        history, fit = Path(scratch, "history.csv"), Path(scratch, "fit")
        env = {"CRM_KAFKA": kafka.address, "CRM_REDIS_URL": valkey.url, "CRM_EVENTS_TOPIC": "bench.events"}
        env |= {"CRM_PARTITIONS": str(PARTITIONS)}
        with Redis.from_url(valkey.url) as store:
            made = Deployment(env, store, fit, pids={"redis": valkey.pid, "kafka": kafka.pid})
            traffic.write_history(history, known=known)
            said("offline fit")
            until = f"{traffic.CUT_OFF:%Y-%m-%d}"
            made.command("offline", "fit", "--history", str(history), "--until", until, "--out", str(fit))
            said("streams init, publish")
            made.command("streams", "init")
            made.command("streams", "publish", str(fit))
            yield made


def rate(progress: Callable[[], int], end: int, seconds: float = math.inf) -> float:
    """Events a second from the first progress to `end` or for so many seconds, whichever comes first."""
    first, begun, last, until = 0, 0.0, progress(), time.monotonic() + PATIENCE
    start = last
    while last < end and not (begun and time.monotonic() > begun + seconds):
        now, moment = progress(), time.monotonic()
        if now != last:
            last, seen, until = now, moment, moment + PATIENCE
            if not begun and now > start:
                first, begun = now, moment
        if moment > until:
            raise BenchmarkError(f"no progress beyond event {last:,} of {end:,} in {PATIENCE:.0f} s")
        time.sleep(0.005)
    return (last - first) / (seen - begun)


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    packages = ("faust-streaming", "aiokafka", "redis", "river", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    load = f"{os.getloadavg()[0]:.2f}"
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "load_before": load,
        **versions,
    }


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Python collects no garbage meanwhile: of millions of objects it takes a tenth of a second and more, in which this
    process would see nothing of what it measures."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Latency:
    """Sends at a steady rate while another thread asks every millisecond how far Redis is."""

    def __init__(self, where: Deployment, per_second: int) -> None:
        self.where, self.per_second = where, per_second
        # By partition: offsets, and the moments at which the broker answered; (moment, next offset) as it was seen.
        # Neither is ever laid out anew as a whole, as a dict is that grows: that takes as long as a stall does.
        self.arrived = [(array("q"), array("d")) for _ in range(PARTITIONS)]
        self.seen: list[deque[tuple[float, int]]] = [deque() for _ in range(PARTITIONS)]
        self.ends = [0] * PARTITIONS  # of what arrived
        self.done = threading.Event()

    def measure(self, log: Iterator[traffic.Record]) -> Seconds:
        """Seconds from the broker's answer to the producer until Redis is past the event, for each event."""
        watcher = threading.Thread(target=self._watch)
        with uncollected():
            watcher.start()
            try:
                self._send(log)
                self._wait()
            finally:
                self.done.set()
                watcher.join()
        return np.concatenate([self._of(p) for p in range(PARTITIONS)])

    def moments(self) -> Seconds:
        """When each of those events arrived, by the process's clock."""
        return np.concatenate([np.frombuffer(moments) for _, moments in self.arrived])

    def _send(self, log: Iterator[traffic.Record]) -> None:
        producer, first = self.where.producer(), next(log)  # takes as long as a second's events and more
        start = time.perf_counter()
        for i, (key, value, timestamp) in enumerate(itertools.chain([first], log)):
            while time.perf_counter() < start + i / self.per_second:
                producer.poll(0)
                time.sleep(0.001)
            arrival = self._arrival(time.perf_counter())
            producer.produce(self.where.topic, value, key, timestamp=timestamp, on_delivery=arrival)
        producer.flush(30)

    def _arrival(self, produced: float) -> Callable[[Any, Message], None]:
        def note(_: Any, message: Message) -> None:
            partition, offset = int(message.partition() or 0), int(message.offset() or 0)
            self.ends[partition] = max(self.ends[partition], offset + 1)
            offsets, moments = self.arrived[partition]
            offsets.append(offset)
            moments.append(produced + float(message.latency() or 0))  # the client's own clock, not this call's

        return note

    def _watch(self) -> None:
        """Asks with bytes laid out once: it must not take from the machine what it measures."""
        connection = self.where.store.connection_pool.get_connection()
        asked = connection.pack_commands(self.where.reached)
        while not self.done.is_set():
            connection.send_packed_command(asked)
            offsets = [int(connection.read_response() or 0) for _ in range(PARTITIONS)]
            moment = time.perf_counter()
            for seen, offset in zip(self.seen, offsets, strict=True):
                if not seen or seen[-1][1] != offset:
                    seen.append((moment, offset))
            time.sleep(0.001)
        self.where.store.connection_pool.release(connection)

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE
        while any(now < end for now, end in zip(self.where.offsets(), self.ends, strict=True)):
            if time.monotonic() > until:
                raise BenchmarkError(f"the worker did not catch up in {PATIENCE:.0f} s")
            time.sleep(0.1)
        time.sleep(0.1)

    def _of(self, partition: int) -> Seconds:
        seen, nexts = (np.array(column) for column in zip(*self.seen[partition], strict=True))
        offsets, arrived = map(np.array, self.arrived[partition])
        late: Seconds = seen[nexts.searchsorted(offsets, side="right")] - arrived
        return late
