"""A live stream for ten minutes: how late its events were, and who waited for a core while they were.

    python -m benchmarks.live [--rate 5000] [--seconds 600] [--customers 50000]

One worker with everything on; Kafka, Redis (Debian's `redis-server` where it is on PATH), producer and watcher beside
it. An event is late that cannot be read 50 ms after the broker took it; late ones that come close together are a stall.
That a thread was ready and had no core is Linux's word (/proc/PID/task/TID/schedstat); that Redis copies its
append-only file is seen by its child.
"""

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import run, traffic
from benchmarks.peers import meter
from models.rows import DAY

BACKLOG, DAYS, VISIT = 4, 0.4, 6.0  # events a customer before the stream begins: the worker has met about half of them
PAUSE = 3.0  # seconds in which it comes to rest
LATE, APART = 0.05, 0.5  # seconds that make an event late, and two stalls of late ones
LOOK = 0.05  # seconds between two looks at the threads
PROC = Path("/proc")
console = Console(soft_wrap=True, highlight=False)


class Stall(NamedTuple):
    """begin, end: from the first late event's arrival until the last could be read; worst: seconds that one took."""

    begin: float
    end: float
    events: int
    worst: float


def stalls(arrived: run.Seconds, latency: run.Seconds) -> Iterator[Stall]:
    """Of the events that arrived at these moments (n,), in any order, and could be read so many seconds later (n,).

    >>> list(stalls(np.array([9.0, 1.0, 1.2, 5.0]), np.array([0.25, 0.125, 0.5, 0.01])))
    [Stall(begin=1.0, end=1.7, events=2, worst=0.5), Stall(begin=9.0, end=9.25, events=1, worst=0.25)]
    """
    late = np.flatnonzero(latency > LATE)
    late = late[np.argsort(arrived[late])]
    for one in np.split(late, np.flatnonzero(np.diff(arrived[late]) > APART) + 1):
        if len(one):
            worst = float(latency[one].max())
            yield Stall(float(arrived[one[0]]), float((arrived[one] + latency[one]).max()), len(one), worst)


class Looks:
    """Again and again: how long threads of some processes were ready and had no core; whether one has children."""

    def __init__(self, pids: Mapping[str, int], parent: str, proc: Path = PROC) -> None:
        self.pids, self.parent, self.proc = pids, parent, proc
        # Until when; by process seconds of the thread that waited longest; whether the parent has children.
        self.seen: list[tuple[float, dict[str, float], bool]] = []
        self.known = self._waited()

    def look(self, now: float) -> None:
        """now: by the clock of those moments that are asked about later."""
        waited, found = self._waited(), dict.fromkeys(self.pids, 0.0)
        for (name, thread), total in waited.items():
            found[name] = max(found[name], (total - self.known.get((name, thread), total)) / 1e9)
        self.seen.append((now, found, self._has_children()))
        self.known = waited

    def between(self, begin: float, end: float) -> tuple[dict[str, float], bool]:
        """From the look before `begin` to the one behind `end`: seconds by process; whether the parent had children."""
        first, last = np.searchsorted([now for now, *_ in self.seen], (begin, end)).tolist()
        seen = self.seen[first : last + 1]
        return {name: sum(found[name] for _, found, _ in seen) for name in self.pids}, any(has for *_, has in seen)

    def _has_children(self) -> bool:
        pid = str(self.pids[self.parent])
        with contextlib.suppress(OSError):
            return bool((self.proc / pid / "task" / pid / "children").read_text().strip())
        return False

    def _waited(self) -> dict[tuple[str, str], int]:
        found = {}
        for name, pid in self.pids.items():
            for path in (self.proc / str(pid) / "task").glob("*/schedstat"):
                with contextlib.suppress(OSError):  # it has ended
                    found[name, path.parent.name] = int(path.read_text().split()[1])
        return found


def measure(
    where: run.Deployment, per_second: int, seconds: float, known: int
) -> tuple[dict[str, float], run.Seconds, run.Seconds, Looks]:
    """CPU an event by process; when each event arrived, and how many seconds later it could be read; the looks."""
    traffic.send(where.producer(), where.topic, traffic.records(BACKLOG * known, traffic.START, DAYS, 3, VISIT, known))
    with where.process("streams", "worker") as worker:
        meter.reach(lambda: sum(where.offsets()), where.end())
        time.sleep(PAUSE)
        pids = {"worker": worker.pid, **where.pids}
        looks, done = Looks(pids, "redis"), threading.Event()

        def look() -> None:
            while not done.wait(LOOK):
                looks.look(time.perf_counter())

        watcher = threading.Thread(target=look)
        first, stream = meter.mark(sum(where.offsets()), pids), run.Latency(where, per_second)
        later, n = traffic.START + int(DAYS * DAY), int(per_second * seconds)
        watcher.start()
        try:
            latency = stream.measure(traffic.records(n, later, seconds / 86_400, 4, VISIT, known))
        finally:
            done.set()
            watcher.join()
        last = meter.mark(sum(where.offsets()), pids)
    return meter.between(first, last), stream.moments(), latency, looks


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--rate", type=int, default=5_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=600.0, help="that it lasts")
    parser.add_argument("--customers", type=int, default=traffic.KNOWN, help="whom the shop knows")
    given: Any = parser.parse_args()
    with run.deployment(partial(print, file=sys.stderr), run.keeper(), given.customers) as where:
        cpu, arrived, latency, looks = measure(where, given.rate, given.seconds, given.customers)
    p50, p99 = np.percentile(latency, [50, 99]).tolist()
    table = Table("figure", "value")
    for name, value in (
        ("events", f"{len(latency):,}"),
        ("arrival to readable, p50, p99, max", f"{p50 * 1e3:.1f}, {p99 * 1e3:.1f}, {latency.max() * 1e3:.1f} ms"),
        (f"later than {LATE * 1e3:.0f} ms", f"{(latency > LATE).mean():.3%}"),
        ("CPU an event, worker + Redis", f"{cpu['worker']:.0f} + {cpu['redis']:.0f} us"),
    ):
        table.add_row(name, value)
    console.print(table)
    waits = (f"{name} waits for a core" for name in looks.pids)
    table = Table("stall, s", "its events", "worst", *waits, "Redis copies its file")
    for stall in stalls(arrived, latency):
        waited, copies = looks.between(stall.begin, stall.end)
        told = f"{stall.begin - arrived.min():.1f} + {stall.end - stall.begin:.2f}", f"{stall.events:,}"
        times = (f"{each * 1e3:.0f} ms" for each in (stall.worst, *waited.values()))
        table.add_row(*told, *times, "yes" if copies else "no")
    if table.row_count:
        console.print(table)
    return 0


if __name__ == "__main__":
    run.end(main)
