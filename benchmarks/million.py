"""What a customer costs where there are many: time, memory, and how long nobody is scored after a crash.

    python -m benchmarks.million [--customers 20000 1000000]

A shop of so many customers (benchmarks/traffic.py) is published; then each event is of a customer taken at random, the
dear case: hardly any two events of a chunk share one. Figures are taken once the worker has met most of them. Redis is
Debian's `redis-server` (jemalloc) where it is on PATH; it rewrites its append-only file when it is told to, and what
that costs stands by itself. Memory is a worker's and Redis's own. After a `kill -9` the first score waits for the dead
worker's session to end; where the group has forgotten it, for the new one alone.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rich.console import Console
from rich.table import Table

from benchmarks import run, traffic
from benchmarks.peers import meter
from benchmarks.sizing import resident
from models.rows import DAY, ROW

EVENTS, DAYS = 300_000, 0.5
SESSION = 8.0  # seconds after which the group has forgotten a dead worker
QUIET = 5.0  # seconds after a worker's start in which it comes to rest
IDLE = 20.0  # seconds in which nothing arrives
VISITS = 2  # of each customer, on average, before figures are taken
Figures = dict[str, float]
console = Console(soft_wrap=True, highlight=False)


def info(where: run.Deployment, section: str, name: str) -> float:
    return float(where.store.info(section)[name])


def written(where: run.Deployment) -> int:
    """Hashes so far: each write has one of each customer, and a few besides."""
    return int(where.store.info("commandstats").get("cmdstat_hset", {}).get("calls", 0))


class Shop:
    """A deployment of so many customers, and the moment at which its log goes on."""

    def __init__(self, where: run.Deployment, customers: int) -> None:
        self.where, self.customers, self.day = where, customers, 0.0

    def done(self) -> int:
        return sum(self.where.offsets())

    def send(self, events: int) -> None:
        """More visits of one event each."""
        start = traffic.START + int(self.day * DAY)
        log = list(traffic.records(events, start, DAYS, 11 + int(2 * self.day), 1.0, self.customers))
        producer = self.where.producer(compression_type="lz4", linger_ms=20)
        traffic.send(producer, self.where.topic, iter(log))  # laid out before: nobody folds as fast
        self.day += DAYS

    def scored(self) -> float:
        """Seconds from here until one more event than now is in the scores."""
        begun, before = time.monotonic(), self.done()
        meter.reach(self.done, before + 1)
        return time.monotonic() - begun

    def costs(self) -> Figures:
        """Of a worker: memory before it has much to do, and what `folding` says."""
        with self.where.process("streams", "worker") as worker:
            self.send(1_000)
            meter.reach(self.done, self.where.end())
            time.sleep(QUIET)
            found: Figures = {"loaded": resident(pid=worker.pid), "peak": resident("VmHWM", worker.pid)}
            found |= self.idle(worker)
            pids = {"worker": worker.pid, "redis": int(info(self.where, "server", "process_id"))}
            self.send(VISITS * self.customers)
            meter.reach(self.done, self.where.end())
            found |= self.folding(pids) | {"held": resident(pid=worker.pid)}
            self.where.store.bgrewriteaof()
            beside = self.folding(pids)
            while info(self.where, "persistence", "aof_rewrite_in_progress"):
                time.sleep(0.1)
            return found | {"rewriting": beside["write"]}

    def idle(self, worker: run.Running) -> Figures:
        """Share of a core, and commands that Redis gets a second, while nothing arrives."""
        before, commands = worker.cpu(), info(self.where, "stats", "total_commands_processed")
        time.sleep(IDLE)
        asked = info(self.where, "stats", "total_commands_processed") - commands
        return {"idle": (worker.cpu() - before) / IDLE, "asked": asked / IDLE}

    def folding(self, pids: Mapping[str, int]) -> Figures:
        """us of CPU an event, and of Redis, with what it starts, a customer written."""
        base = self.done()
        self.send(EVENTS)
        first = meter.mark(meter.reach(self.done, base + int(meter.FROM * EVENTS)), pids)
        hashes = written(self.where)
        last = meter.mark(meter.reach(self.done, base + int(meter.TO * EVENTS)), pids)
        hashes = written(self.where) - hashes
        meter.reach(self.done, self.where.end())
        return meter.between(first, last) | {"write": 1e6 * (last.cpu["redis"] - first.cpu["redis"]) / hashes}

    def crashed(self, wait: float) -> float:
        """Seconds until a new worker's first score, started `wait` seconds after one that folded was killed."""
        self.send(EVENTS)
        with contextlib.suppress(run.BenchmarkError), self.where.process("streams", "worker") as worker:
            meter.reach(self.done, self.done() + EVENTS // 10)
            os.kill(worker.pid, signal.SIGKILL)
        time.sleep(wait)
        with self.where.process("streams", "worker"):
            seconds = self.scored()
            meter.reach(self.done, self.where.end())
        return seconds


def measure(customers: int, said: Callable[[str], None]) -> Figures:
    """The figures of so many customers."""
    with run.deployment(said, run.keeper(), customers) as where:
        shop, found = Shop(where, customers), {"bytes": info(where, "memory", "used_memory")}
        where.store.config_set("auto-aof-rewrite-percentage", 0)
        said("random visits")
        found |= shop.costs()
        said("killed")
        return found | {"crashed": shop.crashed(0.0), "forgotten": shop.crashed(SESSION)}


def rows(few: Figures, many: Figures, sizes: Sequence[int]) -> list[tuple[str, ...]]:
    """What is told of two sizes: each figure, and what a customer more takes."""
    more = sizes[1] - sizes[0]

    def each(name: str, form: str) -> list[str]:
        return [form.format(found[name]) for found in (few, many)]

    def slope(name: str) -> str:
        return f"{(many[name] - few[name]) / more:,.0f} bytes a customer"

    def grown(name: str) -> str:
        return f"{many[name] / few[name]:.2f} x"

    return [
        ("a worker's CPU an event, us", *each("worker", "{:.1f}"), ""),
        ("Redis's CPU an event, us", *each("redis", "{:.1f}"), ""),
        ("Redis's CPU a customer written, us", *each("write", "{:.1f}"), grown("write")),
        ("the same, while it rewrites its file", *each("rewriting", "{:.1f}"), grown("rewriting")),
        ("events/s", *each("rate", "{:,.0f}"), ""),
        ("Redis, bytes", *each("bytes", "{:,.0f}"), slope("bytes")),
        ("a worker while it loads, bytes", *each("peak", "{:,.0f}"), slope("peak")),
        (f"a worker that has loaded all (a row has {ROW.itemsize})", *each("loaded", "{:,.0f}"), slope("loaded")),
        ("a worker that has met nearly all", *each("held", "{:,.0f}"), slope("held")),
        ("a worker while nothing arrives, of a core", *each("idle", "{:.1%}"), ""),
        ("commands that it sends Redis a second", *each("asked", "{:.0f}"), ""),
        ("first score after kill -9, s", *each("crashed", "{:.1f}"), ""),
        ("the same, the dead worker's session ended, s", *each("forgotten", "{:.1f}"), ""),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__)
    parser.add_argument("--customers", type=int, nargs=2, default=(20_000, 1_000_000), metavar="N", help="two shops")
    sizes = parser.parse_args().customers
    few, many = (measure(n, partial(print, f"  {n:,} customers:", file=sys.stderr)) for n in sizes)
    table = Table("figure", *(f"{n:,} customers" for n in sizes), "")
    for told in rows(few, many, sizes):
        table.add_row(*told)
    console.print(table)
    return 0


if __name__ == "__main__":
    run.end(main)
