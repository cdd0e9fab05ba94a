"""CPU time of a process and of all that it started, as Linux counts it in /proc."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
PARENT, TIMES = 1, slice(11, 15)  # behind the name: its parent; user and system, its own and of children that ended


def spent(pid: int, proc: Path = PROC) -> float:
    """Seconds of user and system time of a process, of its descendants, and of those that it waited for."""
    stats = dict(_stats(proc))
    children = defaultdict(list)
    for each, fields in stats.items():
        children[int(fields[PARENT])].append(each)
    ticks, left = 0, [pid]
    while left:
        each = left.pop()
        left += children[each]
        ticks += sum(map(int, stats[each][TIMES])) if each in stats else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _stats(proc: Path) -> Iterator[tuple[int, list[str]]]:
    for path in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            yield int(path.parent.name), path.read_text().rpartition(")")[2].split()
