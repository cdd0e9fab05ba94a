"""What one machine makes of a long history: seconds, events a second and peak memory of each step and of a whole fit.

    python -m benchmarks.scale [--events 10000000]

The history is synthetic (benchmarks/history.py), a CSV file. Steps run in a process of their own, part after part, and
are CPU time, most of it on one core; the fit is `python -m offline fit` as anybody runs it.
"""

import argparse
import itertools
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import history as synthetic
from models.rows import DAY
from offline.history import fold
from offline.history import read as history

GB = 1024 / 1e9  # of a kilobyte, in which Linux tells the peak
console = Console(soft_wrap=True, highlight=False)


def steps(path: Path, scratch: Path) -> dict[str, float]:
    """Events a second of each step, and the peak of this process, whose only work this is."""
    small = path.with_name("small.csv")
    synthetic.write(small, 2_000)
    fold.fold(history.read([small], {}).frame, synthetic.FIRST + synthetic.DAYS)  # compiles
    clock = [time.process_time()]

    def each(function: Callable[[Any], Any], parts: Iterable[Any]) -> list[Any]:
        clock.append(time.process_time())
        done = [*map(function, parts)]
        clock.append(time.process_time())
        return done

    read = history.read([path], {}, scratch=scratch, each=each)
    clock.append(time.process_time())
    assert isinstance(read.parts, list), "so few events are held: say more"
    folded = fold.fold_parts(read.parts, read.last // DAY + 1, each=each)
    clock.append(time.process_time())
    split, clean, _, _, parts, gather = (after - before for before, after in itertools.pairwise(clock))
    n = read.counts.read
    return {
        "events": n,
        "kept": read.counts.kept,
        "customers": len(folded.table),
        "landmarks": sum(len(entries) for _, _, entries in folded.days),
        "read_and_split": n / split,
        "clean": n / clean,
        "fold": read.counts.kept / parts,
        "fold_and_gather": read.counts.kept / (parts + gather),
        "steps_peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * GB,
    }


def fit(path: Path, out: Path) -> dict[str, float]:
    """Seconds and peak of the whole command."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "offline", "fit", "--history", str(path), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    seconds, cpu = time.perf_counter() - begun, used.ru_utime + used.ru_stime
    return {"fit_seconds": seconds, "fit_cpu_seconds": cpu, "fit_peak_gb": used.ru_maxrss * GB}


def measure(events: int = synthetic.EVENTS) -> dict[str, float]:
    """Both, on a history of about so many events."""
    with tempfile.TemporaryDirectory(prefix="scale-") as directory:
        path, parts = Path(directory) / "history.csv", Path(directory) / "parts"
        console.print(f"a history of {events:,} events", style="dim")
        synthetic.write(path, events)
        parts.mkdir()
        console.print("read, cleaned and folded", style="dim")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            figures = pool.submit(steps, path, parts).result()
        console.print("fitted", style="dim")
        return figures | fit(path, Path(directory) / "fit")


def rows(figures: dict[str, float]) -> list[tuple[str, str]]:
    """For printing."""
    what = f"{figures['events']:,} events, {figures['customers']:,} customers, {figures['landmarks']:,} landmarks"
    return [
        ("synthetic history", what),
        ("read, judged and split by customer, events/s", f"{figures['read_and_split']:,.0f}"),
        ("cleaned, part after part, events/s", f"{figures['clean']:,.0f}"),
        ("folded, part after part, events/s", f"{figures['fold']:,.0f}"),
        ("the same, gathered into one table, events/s", f"{figures['fold_and_gather']:,.0f}"),
        ("peak of these steps", f"{figures['steps_peak_gb']:.2f} GB"),
        ("offline fit, all of it", f"{figures['fit_seconds']:.0f} s ({figures['fit_cpu_seconds']:.0f} s of CPU)"),
        ("peak of offline fit", f"{figures['fit_peak_gb']:.2f} GB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--events", type=int, default=synthetic.EVENTS, help="about so many")
    table = Table("figure", "value")
    for row in rows(measure(parser.parse_args().events)):
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
