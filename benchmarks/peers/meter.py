"""How far somebody is, and what it took: a stretch of a log between two marks."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import cpu
from benchmarks.run import PATIENCE, BenchmarkError

FROM, TO = 0.2, 0.9  # of a backlog: before it things are started, behind it partitions run dry


@dataclass(frozen=True)
class Mark:
    """How many events were done at a moment, and the seconds of CPU by process until then."""

    moment: float
    events: int
    cpu: Mapping[str, float]


def mark(events: int, pids: Mapping[str, int]) -> Mark:
    return Mark(time.monotonic(), events, {name: cpu.spent(pid) for name, pid in pids.items()})


def between(first: Mark, last: Mark) -> dict[str, float]:
    """`rate` in events a second, and by process us of CPU an event.

    >>> between(Mark(1.0, 200, {"peer": 2.0}), Mark(3.0, 1_200, {"peer": 2.5}))
    {'rate': 500.0, 'peer': 500.0}
    """
    n = last.events - first.events
    us = {name: (seconds - first.cpu[name]) / n * 1e6 for name, seconds in last.cpu.items()}
    return {"rate": n / (last.moment - first.moment), **us}


def backlog(progress: Callable[[], int], events: int, end: int, pids: Mapping[str, int]) -> dict[str, float]:
    """What is `between` the marks of the first `events`; returns when all up to `end` is done.

    whole: us of CPU an event of everybody but the broker from now to the end, starting included: who reads far ahead of
    what it writes did a part of the stretch's work before its first mark.
    """
    begun = mark(0, pids)
    first = mark(reach(progress, int(FROM * events)), pids)
    last = mark(reach(progress, int(TO * events)), pids)
    if last.events == first.events:
        raise BenchmarkError(f"the log is too short: one write took it from {FROM:.0%} to {TO:.0%}")
    all_of_it = between(begun, mark(reach(progress, end), pids))
    whole = sum(us for name, us in all_of_it.items() if name not in ("rate", "kafka"))
    return between(first, last) | {"whole": whole}


def reach(progress: Callable[[], int], goal: int) -> int:
    """Waits; how far it was then. BenchmarkError when there is no progress."""
    before, until = -1, time.monotonic() + PATIENCE
    while (now := progress()) < goal:
        if now != before:
            before, until = now, time.monotonic() + PATIENCE
        if time.monotonic() > until:
            raise BenchmarkError(f"no progress beyond event {now:,} of {goal:,} in {PATIENCE:.0f} s")
        time.sleep(0.005)
    return now
