"""Who else keeps a score per customer in Redis, from the same topic: in turn, each on a fresh Redis.

A peer does the job of job.py, writes `peer:<customer>`, and says in `offset:<p>` before which offset of a partition all
can be read. It drains a backlog, then follows a stream at steady rates; then everybody is compared with the truth.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from benchmarks import run, traffic
from benchmarks.peers import limits, meter
from benchmarks.peers.truth import Truth
from demo import services
from demo.services.jars import java
from models.rows import DAY
from streams import kafka as topics
from streams.settings import Settings

DAYS = 2.0  # that a backlog spans
VISITS = {"visits of 6": 6.0, "visits of 1": 1.0}  # by topic: events of a visit on average
REACHED = tuple(("GET", f"offset:{p}") for p in range(run.PARTITIONS))
PAUSE = 3.0  # seconds from a backlog's end to a steady stretch: what it left to be done is done
SETTLED = 0.5  # seconds for a peer whose word on an offset comes a moment early
ALL = "duplicates, labels, training, erasure, verify"
ONCE = f"exactly once in Redis, {ALL}"  # state is, and writes are absolute: older values for a moment
NEVER = f"exactly once, restart, {ALL}"
Said = Callable[[str], None]
Figures = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """command: of its Python. environment: its directory under build/peers, "": the product's. lacks: what of the
    product it does not do. rates: events/s that it is to follow. share: how much of the backlog a slow one gets.
    """

    name: str
    command: tuple[str, ...]
    lacks: str
    environment: str = ""
    rates: tuple[int, ...] = (500, 5_000)
    share: float = 1.0

    def python(self, built: Path) -> Path:
        return built / self.environment / "bin" / "python" if self.environment else Path(sys.executable)

    def absent(self, built: Path) -> str:
        """Why it cannot be run; empty: it can."""
        ready = built / self.environment / "ready"
        return f"not installed here: no {ready}" if self.environment and not ready.exists() else ""


LOOP = "loop, batches of 10 ms"
PRODUCT = Peer("product, one worker", ("-m", "streams", "worker"), "nothing")
CONSUMER = Peer(limits.CONSUMED, ("-m", "benchmarks.peers.consumed"), "all but to fetch events")
PEERS = (
    CONSUMER,
    PRODUCT,
    Peer(LOOP, ("-m", "benchmarks.peers.loop", "10"), ALL),
    Peer("loop, batches of 50 ms", ("-m", "benchmarks.peers.loop", "50"), ALL),
    Peer("loop, no guarantees", ("-m", "benchmarks.peers.unguarded", "10"), NEVER),
    Peer("flink, SQL", ("-m", "benchmarks.peers.flink.peer"), ONCE, "flink"),
    Peer("pathway, persisted", ("-m", "benchmarks.peers.pathway.peer"), ONCE, "pathway"),
    Peer("quix, exactly once", ("-m", "benchmarks.peers.quix.peer"), ONCE, "quix"),
    Peer(
        "faust, as taught",
        ("-m", "benchmarks.peers.taught", "worker", "--without-web", "-l", "error"),
        NEVER,
        rates=(500,),
        share=0.1,
    ),
)


class Log:
    """A topic with a backlog of so many events, which each steady stretch makes longer; and its truth."""

    def __init__(self, kafka: str, topic: str, events: int, visit: float) -> None:
        self.events, self.visit, self.seed, self.later = events, visit, 3, traffic.START + int(DAYS * DAY)
        self.begin = partial(traffic.records, events, traffic.START, DAYS, self.seed, visit)
        self.env = {"CRM_KAFKA": kafka, "CRM_EVENTS_TOPIC": topic}
        topics.create(Settings(kafka=kafka, events_topic=topic, partitions=run.PARTITIONS))
        traffic.send(self.where({}, None).producer(compression_type="lz4", linger_ms=20), topic, self.begin())
        self.truth = Truth(kafka, topic)

    def where(self, more: dict[str, str], store: Any) -> run.Deployment:
        """For a peer."""
        return run.Deployment(self.env | more, store, Path(), REACHED)

    def steady(self, per_second: int, seconds: float) -> Iterator[traffic.Record]:
        """The events of the next seconds."""
        self.seed, begin = self.seed + 1, self.later
        self.later += int(seconds * 1_000_000)
        return traffic.records(int(per_second * seconds), begin, seconds / 86_400, self.seed, self.visit)


@dataclass(frozen=True)
class Course:
    """What everybody runs on: a broker, the published fit, peers' environments, seconds of a steady rate."""

    kafka: services.Kafka
    fit: Path
    built: Path
    seconds: float

    def measured(self, peer: Peer, log: Log, server: services.Valkey, steady: bool) -> Figures:
        """One peer on a fresh server."""
        with tempfile.TemporaryDirectory(prefix="peer-") as scratch, Redis.from_url(server.url) as store:
            group = f"bench-{server.port}"
            more = {"CRM_REDIS_URL": server.url, "CRM_GROUP": group, "PEER_GROUP": group, "PEER_DIRECTORY": scratch}
            more["JAVA_HOME"] = str(java().resolve().parents[1])
            where = log.where(more, store)
            if peer is PRODUCT:
                where = replace(where, directory=self.fit, reached=run.GUARDS)
                where.command("streams", "publish", str(self.fit))
            end = where.end()
            with run.process([peer.python(self.built), *peer.command], where.env) as process:
                pids = {"peer": process.pid, "redis": server.pid, "kafka": self.kafka.pid}

                def progress() -> int:
                    process.check()
                    return sum(where.offsets())

                found: Figures = meter.backlog(progress, log.events, end, pids)
                for per_second in peer.rates if steady else ():
                    time.sleep(PAUSE)
                    found[f"{per_second}/s"] = self._follows(where, log, per_second, pids)
                time.sleep(SETTLED)
            return found | {"wrong": self._wrong(peer, where, log)}

    def _follows(self, where: run.Deployment, log: Log, per_second: int, pids: dict[str, int]) -> Figures:
        """Latency in ms from arrival until an event can be read, and CPU an event."""
        first = meter.mark(sum(where.offsets()), pids)
        latency = run.Latency(where, per_second).measure(log.steady(per_second, self.seconds)) * 1e3
        last = meter.mark(sum(where.offsets()), pids)
        p50, p99 = np.percentile(latency, [50, 99]).tolist()
        return meter.between(first, last) | {"p50": p50, "p99": p99, "max": float(latency.max())}

    def _wrong(self, peer: Peer, where: run.Deployment, log: Log) -> int | None:
        if peer is CONSUMER:
            return None
        if peer is PRODUCT:
            said = where.command("streams", "verify", "--history", str(self.fit))
            return int(said.rpartition("wrong: ")[2].split()[0].replace(",", ""))
        log.truth.catch_up(where.end())
        return log.truth.wrong(where.store)


def stores() -> dict[str, Callable[[], AbstractContextManager[services.Valkey | None]]]:
    """By how memory is allocated: Debian's redis-server, and Valkey as its wheel has it."""
    return {"redis-server, jemalloc": services.redis_server, "Valkey of the wheel, libc malloc": services.valkey}


def measure(peers: tuple[Peer, ...], events: int, seconds: float, built: Path, said: Said) -> dict[str, Figures]:
    """By server, by topic and by peer: its figures, or why it has none."""
    with services.kafka() as kafka, tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        said("offline fit")
        course = Course(kafka, fitted(Path(scratch)), built, seconds)
        found: dict[str, Figures] = {}
        for name, visit in VISITS.items():
            n = events if visit > 1 else events // 2
            logs = {
                share: Log(kafka.address, f"bench.{visit:.0f}.{share}", int(n * share), visit)
                for share in sorted({peer.share for peer in peers})
            }
            for store, start in stores().items():
                figures = found.setdefault(store, {}).setdefault(name, {})
                for peer in peers:
                    said(f"{store}, {name}: {peer.name}")
                    figures[peer.name] = one(course, peer, logs[peer.share], start, visit > 1)
                if CONSUMER in peers:
                    said(f"{store}, {name}: the other limits")
                    with start() as server:
                        figures |= limits.measure(server, course.fit, logs[1.0].begin()) if server else {}
        return found


def one(course: Course, peer: Peer, log: Log, start: Callable[[], Any], steady: bool) -> Figures:
    """A peer that fails is a row that says so, and does not end the others."""
    if absent := peer.absent(course.built):
        return {"failed": absent}
    with start() as server:
        if server is None:
            return {"failed": "no such server on PATH"}
        try:
            return {"events": log.events} | course.measured(peer, log, server, steady)
        except run.BenchmarkError as error:
            return {"failed": str(error)}


def fitted(scratch: Path) -> Path:
    """What `offline fit` leaves of the shop's history, for the product."""
    history, fit = scratch / "history.csv", scratch / "fit"
    traffic.write_history(history)
    until = f"{traffic.CUT_OFF:%Y-%m-%d}"
    run.Deployment({}, None, fit).command(
        "offline", "fit", "--history", str(history), "--until", until, "--out", str(fit)
    )
    return fit
