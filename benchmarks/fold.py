"""How fast the fold is: events a second on one core, CPU time, without Kafka and Redis.

    python -m benchmarks.fold

Synthetic logs: 1,000,000 events of 100,000 customers drawn at random (the worst for caches), within a month, and within
a year, where nearly every event passes a landmark. And CDNOW, folded as `offline fit` does it.
"""

import itertools
import time
from typing import NamedTuple

import numpy as np

from benchmarks.logs import cdnow
from models.customers import NOTED, Table
from models.events import Batch
from models.kinds import CART, PURCHASE, RETURN, VIEW
from models.rows import DAY
from offline.history import fold as offline

EVENTS, CUSTOMERS, FIRST = 1_000_000, 100_000, 19_700
RUNS = 3  # the best of so many: others use the machine too
CHUNK = 5_000  # as many events as a worker folds at once
KINDS, SHARES = (PURCHASE, RETURN, VIEW, CART), (0.5, 0.02, 0.38, 0.1)


class Speed(NamedTuple):
    """Events a second of CPU time."""

    fold: float  # all events in one call, their rows known
    located: float  # the same with finding each customer's row by name
    chunked: float  # in chunks of CHUNK, rows found, swept at each midnight
    landmarks: int


def log(days: int, n: int = EVENTS, customers: int = CUSTOMERS, seed: int = 1) -> Batch:
    """n events in time order, spread evenly over the days and over the customers."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(np.array(KINDS, np.int8), n, p=SHARES)
    amount = rng.integers(1, 10**6, n) * np.array([1, -1, 0, 0])[kind]
    names = [f"customer-{i:07}" for i in range(customers)]
    order, event = (rng.integers(1, 2**63, n).astype(np.uint64) for _ in range(2))
    who = rng.integers(customers, size=n).tolist()
    t = (FIRST * DAY + np.linspace(0, days * DAY, n, endpoint=False)).astype(np.int64)
    return Batch(np.arange(n), [names[i] for i in who], t, kind, amount, order, event)


def in_chunks(events: Batch, days: int) -> tuple[Table, int]:
    """As a worker folds a log: cut at midnights, where everybody is swept; the table and the landmarks passed."""
    table, noted, landmarks = Table(), np.zeros(len(NOTED), np.int64), 0
    midnights = np.searchsorted(events.t, np.arange(FIRST, FIRST + days + 1) * DAY).tolist()
    for day, (start, stop) in enumerate(itertools.pairwise(midnights), FIRST):
        landmarks += len(table.sweep(day))
        for i in range(start, stop, CHUNK):
            part = events.part(i, min(i + CHUNK, stop))
            landmarks += len(table.fold(part, table.locate(part), part.index, day, noted))
    return table, landmarks


def measure(days: int, n: int = EVENTS, customers: int = CUSTOMERS) -> Speed:
    """Both ways over the same log, which must give the same customers; compiles before the clock starts."""
    in_chunks(log(days, 100, 10), days)
    events, best = log(days, n, customers), [float("inf")] * 3
    for _ in range(RUNS):
        table, noted = Table(), np.zeros(len(NOTED), np.int64)
        clock = [time.process_time()]
        rows = table.locate(events)
        clock.append(time.process_time())
        passed = len(table.fold(events, rows, events.index, -1, noted))
        clock.append(time.process_time())
        other, landmarks = in_chunks(events, days)
        clock.append(time.process_time())
        locate, fold, chunked = np.diff(clock).tolist()
        best = list(map(min, best, (fold, locate + fold, chunked)))
    passed += len(table.sweep(FIRST + days - 1))
    if passed != landmarks or other.rows.tobytes() != table.rows.tobytes():
        raise AssertionError("chunks and sweeps gave other customers than one fold of the whole log")
    speed, located, chunked = (n / seconds for seconds in best)
    return Speed(speed, located, chunked, landmarks)


def main() -> None:
    print(f"{EVENTS:,} synthetic events of {CUSTOMERS:,} customers, million events/s on one core, best of {RUNS}")
    for days in (30, 365):
        speed = measure(days)
        print(f"  {days:3} days, {speed.landmarks:9,} landmarks passed: the fold {speed.fold / 1e6:.2f},", end=" ")
        print(f"with rows found by name {speed.located / 1e6:.2f},", end=" ")
        print(f"in chunks of {CHUNK:,} with daily sweeps {speed.chunked / 1e6:.2f}")
    log = cdnow()
    begun = time.process_time()
    folded = offline.fold(log.frame, log.end)
    seconds = time.process_time() - begun
    landmarks = sum(len(entries) for _, _, entries in folded.days)
    print(
        f"CDNOW: {len(log.frame):,} purchases, {len(folded.table):,} customers,",
        f"{landmarks:,} landmarks in {seconds:.2f} s",
    )


if __name__ == "__main__":
    main()
