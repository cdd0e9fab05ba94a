"""Logs of every kind for the fold, and a worker simulated to the letter of the write protocol's rule 9.

A chunk is folded whole and each of its customers is written once, in blocks at an unchanged offset; the last block
moves it. A sweep is the same kind of write. After a crash a new table is loaded, and the chunk comes again.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles import Entries, Event, Plain, batch, microseconds

from models.customers import NOTED, Table
from models.kinds import CART, ERASE, PURCHASE, RETURN, VIEW
from models.rows import DAY, PROMISED, load_rows, packed_rows

OPENED = ("open_version", "open_demand", "open_high", "open_p_buy")  # depends on when a model arrived

Array = NDArray[Any]
HOUR = DAY // 24
NEVER = 10**6 * DAY  # a grace that asks for no sweep


# ---- logs ------------------------------------------------------------------------------------------------------------
@dataclass
class Log:
    """Events, and how far the partition is swept before each: the latest event time so far, less the grace."""

    events: list[Event]
    grace: int = NEVER
    horizon: int = 30
    swept: list[int] = field(init=False)

    def __post_init__(self) -> None:
        asked = [-1 if e.kind == ERASE else max((e.t - self.grace) // DAY, -1) for e in self.events]
        self.swept = list(itertools.accumulate(asked, max))

    @property
    def end(self) -> int:
        """A day on which some landmarks of everybody are over."""
        return max((e.t // DAY for e in self.events), default=0) + 2 * self.horizon + 1


BEGINNINGS = ["1970-01-01", "1999-12-30", "2000-02-28", "2024-02-27T23:59:59.999999", "2100-02-27", "2199-01-01"]
FORWARD = [0, 0, 1, HOUR, DAY - 1, DAY, DAY, 7 * DAY, 29 * DAY, 30 * DAY, 63 * DAY, 64 * DAY, 95 * DAY, 400 * DAY]
BACK = [1, HOUR, DAY, 20 * DAY, 40 * DAY, 63 * DAY, 64 * DAY, 65 * DAY, 100 * DAY, 1000 * DAY]
KINDS = [PURCHASE] * 6 + [RETURN] * 2 + [VIEW, CART, ERASE]
AMOUNTS = st.integers(0, 10**7) | st.sampled_from([0, 1, 99_999_999_999_999])
REPEATS = [0] * 12 + [1, 1, 2, 3, 15, 16, 17]  # of the id that the customer's log had so many events ago
MOVES = st.sampled_from(FORWARD * 2 + [-step for step in BACK])
STEPS = st.tuples(
    *(st.integers(0, 3), st.sampled_from(KINDS), MOVES, st.booleans(), AMOUNTS),
    *(st.sampled_from(REPEATS), st.sampled_from([0] * 4 + [1, 1, 1, 2, 7, 8, 9])),
)


@st.composite
def logs(draw: st.DrawFn, size: int = 30) -> Log:
    """Up to `size` events of 1 to 4 customers within 15 years (beyond, a decayed sum may round as it vanishes)."""
    now = begin = microseconds(draw(st.sampled_from(BEGINNINGS)))
    people, most = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([size, size // 2, 3]))
    events: list[Event] = []
    ids: dict[str, list[tuple[str, str]]] = {}
    for number, step in enumerate(draw(st.lists(STEPS, min_size=most // 2, max_size=most))):
        who, kind, move, midnight, amount, event_back, order_back = step
        t = min(max(now + move, 0), begin + 5_000 * DAY)
        t, name = t - t % DAY if midnight else t, f"c{who % people}"
        now, mine = max(now, t), ids.setdefault(name, [])
        event_id = mine[-event_back][0] if 0 < event_back <= len(mine) else f"e{number}"
        order_id = mine[-order_back][1] if 0 < order_back <= len(mine) else f"o{number}"
        if kind == ERASE:
            events.append(Event(name, 0, ERASE))
            continue
        mine.append((event_id, order_id))
        events.append(Event(name, t, kind, {PURCHASE: amount, RETURN: -amount}.get(kind, 0), order_id, event_id))
    grace = draw(st.sampled_from([0, HOUR, 2 * DAY, 50 * DAY, NEVER]))
    return Log(events, grace, draw(st.sampled_from([30, 30, 7, 1, 90])))


def plain(log: Log) -> Plain:
    found = Plain(log.horizon)
    for e, swept_to in zip(log.events, log.swept, strict=True):
        found.add(e, swept_to)
    found.sweep(log.end)
    return found


# ---- a worker --------------------------------------------------------------------------------------------------------
class Crash(Exception):
    """The worker is gone; what it wrote stands."""


@dataclass
class Disk:
    """What is written survives; write number n is not made if n is in `crashes`, and its worker is gone."""

    crashes: frozenset[int] = frozenset()
    rows: dict[str, bytes] = field(default_factory=dict)
    entries: Entries = field(default_factory=dict)
    offset: int = 0
    swept_to: int = -1
    writes: int = 0

    def write(self, offset: int, swept_to: int, rows: dict[str, bytes], entries: Entries, gone: str = "") -> None:
        self.writes += 1
        if self.writes in self.crashes:
            raise Crash
        self.rows |= rows
        self.rows.pop(gone, None)
        self.entries |= entries
        self.offset, self.swept_to = offset, swept_to

    @property
    def promised(self) -> dict[str, bytes]:
        rows = load_rows([*self.rows.values()])
        return {name: row.tobytes()[:PROMISED] for name, row in zip(self.rows, rows, strict=True)}


class Worker:
    """Begins with what stands on the disk; `sizes` of its chunks, customers in a block."""

    def __init__(self, disk: Disk, log: Log, block: int) -> None:
        self.disk, self.log, self.block = disk, log, block
        self.noted = np.zeros(len(NOTED), np.int64)
        self.table = Table(log.horizon)
        self.table.load(list(disk.rows), list(disk.rows.values()))

    def run(self, sizes: Iterator[int]) -> None:
        while self.disk.offset < len(self.log.events):
            start = self.disk.offset
            for i, j in self.pieces(start, min(start + next(sizes), len(self.log.events))):
                self.sweep(self.log.swept[i])
                self.fold(i, j)
        self.sweep(self.log.end)

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """[i, j) of equal `swept`; an erasure is alone."""
        kinds, swept = [e.kind for e in self.log.events], self.log.swept
        i = start
        for j in range(start + 1, end + 1):
            if j == end or swept[j] > swept[i] or ERASE in (kinds[j - 1], kinds[j]):
                yield i, j
                i = j

    def sweep(self, day: int) -> None:
        if day > self.disk.swept_to:
            entries = self.table.sweep(day)
            self.publish(np.unique(entries["row"]), entries, self.disk.offset, day)

    def fold(self, i: int, j: int) -> None:
        first, swept_to = self.log.events[i], self.disk.swept_to
        if first.kind == ERASE:
            self.table.erase(first.customer_id)
            self.disk.write(j, swept_to, {}, {}, first.customer_id)
            return
        events = batch(self.log.events[i:j])
        rows = self.table.locate(events)
        entries = self.table.fold(events, rows, np.arange(i, j), swept_to, self.noted)
        self.publish(np.unique(rows[rows >= 0]), entries, j, swept_to)

    def publish(self, rows: Array, entries: Array, offset: int, swept_to: int) -> None:
        """Blocks of rows with their entries; what a model serves changes at every write. Rule 3 holds throughout."""
        assert (entries["day"] > self.disk.swept_to).all()
        assert (self.table.rows["due"] > swept_to).all()
        for name in ("cluster", "demand", "value", "version", *OPENED):
            self.table.rows[name][rows] = self.disk.writes
        for k in range(0, max(len(rows), 1), self.block):
            mine, last = rows[k : k + self.block], k + self.block >= len(rows)
            part = dict(zip(self.table.ids.of(mine), packed_rows(self.table.rows[mine]), strict=True))
            passed = named(self.table, entries[np.isin(entries["row"], mine)])
            self.disk.write(*((offset, swept_to) if last else (self.disk.offset, self.disk.swept_to)), part, passed)


def named(table: Table, entries: Array) -> Entries:
    """The promised bytes of entries by (day, customer_id)."""
    found: Entries = {}
    for name, entry in zip(table.ids.of(entries["row"]), entries.copy(), strict=True):
        key = int(entry["day"]), name
        entry["row"] = 0
        for promised in OPENED:
            entry[promised] = 0
        found[key] = entry.tobytes()
    return found


def work(log: Log, sizes: Sequence[int], block: int, crashes: frozenset[int] = frozenset()) -> tuple[Disk, Worker]:
    """The whole log by one worker after another; each begins where the one before was seen last."""
    disk, chunks = Disk(crashes), itertools.cycle(sizes)
    while True:
        worker = Worker(disk, log, block)
        try:
            worker.run(chunks)
        except Crash:
            continue
        return disk, worker
