"""The fold beside two oracles: plain Python that writes the same rules another way, and a pandas group-by."""

import math
import zlib
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.customers import (
    CART,
    DAY,
    DOWN7,
    DOWN30,
    DOWN90,
    ENTRY,
    EVENTS,
    HORIZON,
    NEVER,
    NONE,
    ORDERS,
    PROMISED,
    PURCHASE,
    RETURN,
    UP7,
    UP30,
    UP90,
    VIEW,
    Table,
)
from models.events import Batch
from streams.verify import recount

Event = tuple[str, int, int, int, int, int]  # customer, t, kind, amount, order, event
UP, DOWN = {30: UP30, 90: UP90, 7: UP7}, {30: DOWN30, 90: DOWN90, 7: DOWN7}
SUMS = {"s30": ("s", 30), "s90": ("s", 90), "n30": ("n", 30), "n90": ("n", 90), "v7": (VIEW, 7), "c7": (CART, 7)}


class Customer:
    """The same rules written another way: weights from a fixed origin, sets and deques, no scaling of state."""

    def __init__(self, name: str) -> None:
        self.phase = (zlib.crc32(name.encode()) >> 16) % HORIZON
        self.due, self.first, self.last, self.at, self.origin = NEVER, NONE, NONE, NONE, 0
        self.open: tuple[Any, ...] | None = None
        self.seen = self.orders = self.spend = self.returned = self.window = self.window_orders = 0
        self.event_ids: deque[int] = deque(maxlen=EVENTS)
        self.order_ids: deque[int] = deque(maxlen=ORDERS)
        self.days: set[int] = set()
        self.sums: dict[Any, float] = defaultdict(float)

    def add(self, what: Any, h: int, day: int, value: float) -> None:
        self.sums[what, h] += value * math.ldexp(float(UP[h][day % h]), day // h - self.origin // h)

    def read(self, key: Any, day: int) -> float:
        h = key[1]
        decayed = math.ldexp(self.sums[key] * float(DOWN[h][day % h]), self.origin // h - day // h)
        return float(np.float32(decayed))

    def advance(self, day: int) -> Iterator[tuple[Any, ...]]:
        """(raw now, raw then, label, day, orders) of every landmark up to `day`."""
        while self.due <= day:
            d, then = self.due, self.open
            sums = tuple(self.read(key, d) for key in SUMS.values())
            ages = (d - self.first // DAY, d - self.last // DAY)
            self.open = (self.spend, self.window, *sums, self.orders, len(self.days), *ages)
            yield self.open, then, max(0, self.window), d, self.window_orders
            self.window, self.window_orders, self.due = 0, 0, d + HORIZON

    def fold(self, event: Event, offset: int, swept_to: int) -> Iterator[tuple[Any, ...]]:
        _, t, kind, amount, order, number = event
        self.seen, day = offset + 1, t // DAY
        if number in self.event_ids or (kind != PURCHASE and self.first == NONE):
            return
        yield from self.advance(day)
        self.event_ids.append(number)
        self.origin = day if self.at == NONE else self.origin
        self.at = max(self.at, t)
        if kind in (VIEW, CART):
            self.add(kind, 7, day, 1.0)
            return
        if kind == PURCHASE:
            self.purchase(t, day, swept_to, order)
        self.spend, self.returned = self.spend + amount, self.returned - (amount if kind == RETURN else 0)
        self.window += amount if day >= self.due - HORIZON else 0
        self.add("s", 30, day, amount)
        self.add("s", 90, day, amount)

    def purchase(self, t: int, day: int, swept_to: int, order: int) -> None:
        if self.first == NONE:
            self.first = t
            self.due = next(d for d in range(max(day, swept_to) + 1, NEVER) if d % HORIZON == self.phase)
        self.first, self.last = min(self.first, t), max(self.last, t)
        self.days |= {day} if day > self.last // DAY - 64 else set()  # more than 63 days late: no new purchase day
        if order not in self.order_ids:
            self.order_ids.append(order)
            self.orders, self.window_orders = self.orders + 1, self.window_orders + (day >= self.due - HORIZON)
            self.add("n", 30, day, 1.0)
            self.add("n", 90, day, 1.0)

    def check(self, r: Any) -> None:
        names = ("seen", "first", "last", "at", "spend", "returned", "window", "orders", "due", "window_orders")
        assert {n: getattr(self, n) for n in names} == {n: int(r[n]) for n in names}
        assert len(self.days) == r["days"]
        assert (self.open or 0) == (r["raw"].item() if r["open"] else 0)
        for name, key in SUMS.items():
            at = self.at // DAY
            assert math.ldexp(self.sums[key], self.origin // key[1] - at // key[1]) == r[name]


NAMES = ("ann", "bob", "cem", "дан")


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Events of four customers in arrival order: bursts, long silences, late ones, duplicates, ties and midnights."""
    now, found = draw(st.integers(19_700, 19_800)) * DAY, []
    for number in range(1, draw(st.integers(0, 60)) + 1):
        now += draw(st.sampled_from([0, 0, 1, DAY // 3, DAY, 20 * DAY, 95 * DAY]))
        late = draw(st.sampled_from([0, 0, 0, 1, DAY, 40 * DAY, 70 * DAY]))
        midnight = draw(st.booleans())
        t = (now - late) // DAY * DAY if midnight else now - late
        kind = draw(st.sampled_from([PURCHASE, PURCHASE, PURCHASE, RETURN, VIEW, CART]))
        amount = draw(st.integers(0, 10**7)) * (-1 if kind == RETURN else 1) if kind in (PURCHASE, RETURN) else 0
        found.append((draw(st.sampled_from(NAMES)), t, kind, amount, draw(st.integers(1, 12)), number))
        if draw(st.integers(0, 4)) == 0:
            found.append(draw(st.sampled_from(found)))
    return found


def batch(events: list[Event]) -> Batch:
    names = [e[0] for e in events]
    t, kind, amount, order, event = (np.array([e[i] for e in events], np.int64) for i in range(1, 6))
    ids = (order.astype(np.uint64), event.astype(np.uint64))
    return Batch(np.arange(len(events)), names, t, kind.astype(np.int8), amount, *ids)


class Worker:
    """What a worker does with one partition: chunks cut at sweeps, blocks that are written or lost in a crash."""

    def __init__(self, store: dict[str, bytes], sweeping: bool) -> None:
        self.table, self.store, self.sweeping = Table(), store, sweeping
        self.table.load(list(store), b"".join(store.values()))
        self.entries: dict[tuple[int, str], bytes] = {}

    def run(self, events: list[Event], start: int, swept_to: int) -> int:
        """Folds a chunk; returns the day swept to."""
        i = 0
        while i < len(events):
            day = max(swept_to, events[i][1] // DAY) if self.sweeping else swept_to
            if day > swept_to:
                self.note(self.table.sweep(day))
                swept_to = day
            j = i + 1
            while j < len(events) and not (self.sweeping and events[j][1] // DAY > swept_to):
                j += 1
            piece = batch(events[i:j])
            rows, skipped = self.table.locate(piece), np.zeros(2, np.int64)
            self.note(self.table.fold(piece, rows, np.arange(start + i, start + j), swept_to, skipped))
            i = j
            live = self.table.rows[self.table.rows["first"] != NONE]
            assert (live["due"] > swept_to).all() if self.sweeping else True
        return swept_to

    def note(self, entries: Any) -> None:
        for e in entries:
            key, e["row"] = (int(e["day"]), self.table.names[e["row"]]), 0
            self.entries[key] = e.tobytes()

    def rows(self) -> dict[str, bytes]:
        return {name: self.table.rows[row].tobytes() for name, row in self.table.index.items()}


def whole(events: list[Event], sizes: list[int], end: int, sweeping: bool) -> Worker:
    worker, i, swept_to = Worker({}, sweeping), 0, -1
    for size in [*sizes, len(events)]:
        swept_to = worker.run(events[i : i + size], i, swept_to)
        i += size
    worker.note(worker.table.sweep(end))
    return worker


@given(logs(), st.lists(st.integers(1, 20), max_size=8))
@settings(max_examples=150, deadline=None)
def test_plain_python_gives_the_same_bits(events: list[Event], sizes: list[int]) -> None:
    end = max((e[1] for e in events), default=0) // DAY + 40
    one, own = whole(events, sizes, end, True), {name: Customer(name) for name in NAMES}
    given_: dict[tuple[int, str], Any] = {}
    swept_to = -1
    for offset, event in enumerate(events):
        if event[1] // DAY > swept_to:
            swept_to = event[1] // DAY
            given_ |= {(y[3], n): y for n, c in own.items() for y in c.advance(swept_to)}
        given_ |= {(y[3], event[0]): y for y in own[event[0]].fold(event, offset, swept_to)}
    given_ |= {(y[3], n): y for n, c in own.items() for y in c.advance(end)}
    assert one.entries.keys() == given_.keys()
    for key, packed in one.entries.items():
        e = np.frombuffer(packed, ENTRY)[0]
        then = e["then"].item() if e["open"] else None
        assert (e["now"].item(), then, *e[["label", "day", "orders"]].item()) == given_[key]
    for name, row in one.table.index.items():
        own[name].check(one.table.rows[row])
    assert one.table.index.keys() == {name for name, c in own.items() if c.first != NONE}


@given(logs(), st.lists(st.integers(1, 20), max_size=8))
@settings(max_examples=100, deadline=None)
def test_chunks_do_not_matter(events: list[Event], sizes: list[int]) -> None:
    end = max((e[1] for e in events), default=0) // DAY + 40
    assert whole(events, sizes, end, True).entries == whole(events, [], end, True).entries
    assert whole(events, sizes, end, True).rows() == whole(events, [], end, True).rows()


@given(logs())
@settings(max_examples=100, deadline=None)
def test_a_landmark_is_passed_by_an_event_or_by_a_sweep_to_the_same_bits(events: list[Event]) -> None:
    """For events in time order: a late first purchase opens after what was swept, which only a sweep knows."""
    events = sorted(events, key=lambda e: e[1])
    end = max((e[1] for e in events), default=0) // DAY + 40
    swept, unswept = whole(events, [], end, True), whole(events, [], end, False)
    assert swept.entries == unswept.entries
    assert swept.rows() == unswept.rows()


@given(logs(), st.integers(0, 4), st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_a_crash_between_blocks_repeats_nothing(events: list[Event], written: int, size: int) -> None:
    """Some customers of a chunk were written, others not; the chunk is folded again from its start."""
    end = max((e[1] for e in events), default=0) // DAY + 40
    undisturbed = whole(events, [size], end, True)
    first = Worker({}, True)
    swept_to = first.run(events[:size], 0, -1)
    before, entries = first.rows(), dict(first.entries)
    second = Worker(before, True)
    second.run(events[size:], size, swept_to)  # folded in memory, then the worker dies
    some = sorted(second.rows())[:written]
    store = before | {name: second.rows()[name] for name in some}
    entries |= {key: e for key, e in second.entries.items() if key[1] in some}
    third = Worker(store, True)
    third.run(events[size:], size, swept_to)
    third.note(third.table.sweep(end))
    assert third.rows() == undisturbed.rows()
    assert entries | third.entries == undisturbed.entries


@given(logs())
@settings(max_examples=150, deadline=None)
def test_pandas_counts_the_same(events: list[Event]) -> None:
    worker = whole(events, [], max((e[1] for e in events), default=0) // DAY + 40, True)
    columns = ["customer_id", "occurred_at", "kind", "amount", "order_id", "event_id"]
    frame = pd.DataFrame(events, columns=columns).astype(dict.fromkeys(columns[1:], "int64"))
    expected = recount(frame.assign(place=range(len(events))))
    assert set(expected.index) == set(worker.table.index)
    for name in expected.index:
        row = worker.table.rows[worker.table.index[name]]
        assert {c: int(row[c]) for c in expected.columns} == expected.loc[name].astype("int64").to_dict()


@pytest.mark.parametrize(("distance", "orders"), [(EVENTS - 1, EVENTS), (EVENTS, EVENTS + 2)])
def test_duplicates_at_and_beyond_the_ring(distance: int, orders: int) -> None:
    """An event comes again after `distance` others: inside the ring it is nothing, beyond it counts as new."""
    events = [("ann", 19_700 * DAY + i, PURCHASE, 100, 100 + i, 1 + i) for i in range(distance + 1)]
    worker = whole([*events, (*events[0][:4], 999, events[0][5])], [], 19_701, False)
    assert worker.table.rows["orders"][0] == orders


def test_an_advance_in_steps_is_an_advance_at_once() -> None:
    events = [("ann", 19_782 * DAY + 5, PURCHASE, 123_457, 1, 1)]  # 2024-02-29
    one, many = whole(events, [], 19_782 + 400, False), Worker({}, True)
    many.run(events, 0, -1)
    for day in range(19_783, 19_782 + 401):
        many.note(many.table.sweep(day))
    assert one.entries == many.entries
    assert one.rows()["ann"][:PROMISED] == many.rows()["ann"][:PROMISED]
    assert len(one.entries) == 13 or len(one.entries) == 14  # several landmarks at once


def test_nothing_gives_nothing() -> None:
    worker = whole([], [], 19_700, True)
    assert (len(worker.table), worker.entries) == (0, {})


def test_erased_and_come_back() -> None:
    table = Table()
    for t in (19_700, 19_800):
        events = batch([("ann", t * DAY, PURCHASE, 100, 1, 1)])
        table.fold(events, table.locate(events), np.array([0]), -1, np.zeros(2, np.int64))
        assert table.rows["spend"].tolist() == [100]
        table.erase("ann")
        assert table.index == {}
        assert len(table.sweep(30_000)) == 0
    assert len(table) == 1  # the row was taken again


def test_what_comes_before_the_first_purchase_is_counted_and_skipped() -> None:
    table, skipped = Table(), np.zeros(2, np.int64)
    events = batch([("ann", 1, VIEW, 0, 1, 1), ("ann", 2, RETURN, -5, 1, 2), ("bob", 3, VIEW, 0, 1, 3)])
    table.fold(events, table.locate(events), np.arange(3), -1, skipped)
    assert (len(table), skipped.tolist()) == (0, [0, 3])
