"""What a customer is, written twice more: as plain Python over lists of events, and as pandas group-bys.

Nothing here keeps a running sum, scales one or touches a row: every figure is computed anew from the accepted events.
Only what depends on the moment of arrival is kept: the ids recognised, whether a window was open, which days counted.
"""

import datetime
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xxhash

from models.events import Batch, hash_ids
from models.kinds import CART, ERASE, PURCHASE, RETURN, VIEW
from models.rows import DAY, ENTRY, PROMISED, ROW

NONE, NEVER = -(2**63), 2**31 - 1
FIGURES = ("orders", "spend", "returned", "days", "first", "last", "at")
Entries = dict[tuple[int, str], bytes]


class Event(NamedTuple):
    """One event of the log; an erasure has nothing but a kind and a customer."""

    customer_id: str
    t: int
    kind: int
    amount: int = 0
    order_id: str = ""
    event_id: str = ""


def batch(events: Sequence[Event]) -> Batch:
    """The events as the fold takes them."""
    order, event = (hash_ids(getattr(e, name).encode() for e in events) for name in ("order_id", "event_id"))
    t, kind, amount = (np.array([getattr(e, n) for e in events], np.int64) for n in ("t", "kind", "amount"))
    index = np.arange(len(events))
    return Batch(index, [e.customer_id for e in events], t, kind.astype(np.int8), amount, order, event)


def microseconds(text: str) -> int:
    """Of an ISO 8601 time, read as UTC."""
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)


@cache
def root(h: int, j: int) -> float:
    """2 ** (j / h) correctly rounded, by whole numbers: the h-th root of 2**j with 200 bits behind the point."""
    power = 1 << (200 * h + j)
    x = 1 << -(-power.bit_length() // h)
    while (y := ((h - 1) * x + power // x ** (h - 1)) // h) < x:
        x = y
    return float(Fraction(x, 1 << 200))


def decayed(terms: Sequence[tuple[int, int]], h: int, at: int) -> float:
    """Sum of the values of (day, value), in their order, relative to the block of `at`; h: half-life in days."""
    total = 0.0
    for day, value in terms:
        total += value * math.ldexp(root(h, day % h), day // h - at // h)
    return total


class Accepted(NamedTuple):
    """An event that counted; `new_order`: it was the first line of its order, as far as the ring can tell."""

    t: int
    kind: int
    amount: int
    new_order: bool

    @property
    def day(self) -> int:
        return self.t // DAY


class Customer:
    """One customer's events; `horizon` in days."""

    def __init__(self, customer_id: str, horizon: int) -> None:
        self.horizon, self.phase = horizon, (zlib.crc32(customer_id.encode()) >> 16) % horizon
        self.due, self.seen = NEVER, 0
        self.events: list[Accepted] = []
        self.window: list[Accepted] = []
        self.traded_ids: list[str] = []
        self.browsed_ids: list[str] = []
        self.order_ids: list[str] = []
        self.days: set[int] = set()
        self.raw: tuple[Any, ...] | None = None  # at the last landmark

    def ids(self, kind: int) -> tuple[list[str], int]:
        """The ids of events that counted, of purchases and returns or of the others; how many are recognised."""
        return (self.traded_ids, 64) if kind in (PURCHASE, RETURN) else (self.browsed_ids, 16)

    @property
    def purchases(self) -> list[Accepted]:
        return [e for e in self.events if e.kind == PURCHASE]

    @property
    def figures(self) -> dict[str, int]:
        """FIGURES; times in microseconds, money in 1/10,000."""
        return {
            "orders": sum(e.new_order for e in self.events),
            "spend": sum(e.amount for e in self.events),
            "returned": -sum(e.amount for e in self.events if e.kind == RETURN),
            "days": len(self.days),
            "first": min(e.t for e in self.purchases),
            "last": max(e.t for e in self.purchases),
            "at": max(e.t for e in self.events),
        }

    def sums(self) -> dict[str, float]:
        """The decayed sums, relative to the block of the last event."""
        at = max(e.day for e in self.events)
        money = [(e.day, e.amount) for e in self.events if e.kind in (PURCHASE, RETURN)]
        orders = [(e.day, 1) for e in self.events if e.new_order]
        views, carts = ([(e.day, 1) for e in self.events if e.kind == kind] for kind in (VIEW, CART))
        terms = {"s30": money, "s90": money, "n30": orders, "n90": orders, "v7": views, "c7": carts}
        return {name: decayed(found, int(name[1:]), at) for name, found in terms.items()}

    def look(self, day: int) -> tuple[Any, ...]:
        """RAW at midnight `day`."""
        at, now = max(e.day for e in self.events), self.figures
        sums = [
            np.float32(math.ldexp(total * root(h, -(day % h)), at // h - day // h))
            for name, total in self.sums().items()
            for h in [int(name[1:])]
        ]
        tenure, recency = day - now["first"] // DAY, day - now["last"] // DAY
        window = sum(e.amount for e in self.window)
        return (now["spend"], window, *sums, now["orders"], now["days"], tenure, recency, self.day_spend()[1])

    def day_spend(self) -> tuple[int, int]:
        """(what the latest purchase day brought, the most that any did); a late purchase counts by itself."""
        latest, today, peak = -1, 0, 0
        for e in self.purchases:
            late = e.day < latest
            if not late:
                latest, today = e.day, e.amount + (today if e.day == latest else 0)
            peak = max(peak, e.amount if late else today)
        return today, peak

    def advance(self, day: int) -> Iterator[tuple[int, bytes]]:
        """Passes the landmarks up to `day`, inclusive: (day, promised bytes of the entry)."""
        while self.due <= day:
            entry, then = np.zeros((), ENTRY), self.raw
            self.raw = self.look(self.due)
            entry["now"], entry["open"], entry["day"] = self.raw, then is not None, self.due
            entry["label"] = max(0, sum(e.amount for e in self.window))
            entry["orders"] = sum(e.new_order for e in self.window)
            if then is not None:
                entry["then"] = then
            yield self.due, entry.tobytes()
            self.window, self.due = [], self.due + self.horizon

    def fold(self, event: Event, swept_to: int) -> Iterator[tuple[int, bytes]]:
        """Takes an accepted event after the partition was swept to `swept_to`."""
        day = event.t // DAY
        yield from self.advance(max(day, swept_to))
        self.ids(event.kind)[0].append(event.event_id)
        new_order = event.kind == PURCHASE and event.order_id not in self.order_ids[-8:]
        if new_order:
            self.order_ids.append(event.order_id)
        if event.kind == PURCHASE:
            if not self.events:
                self.due = next(d for d in range(max(day, swept_to) + 1, NEVER) if d % self.horizon == self.phase)
            known = [e.day for e in self.purchases]
            if day > max([day, *known]) - 64 or day < min(known):
                self.days.add(day)
        accepted = Accepted(event.t, event.kind, event.amount, new_order)
        self.events.append(accepted)
        if day >= self.due - self.horizon:
            self.window.append(accepted)

    def row(self) -> bytes:
        """The promised bytes of the customer's row."""
        row = np.zeros((), ROW)
        for name, value in {**self.figures, **self.sums()}.items():
            row[name] = value
        last = max(e.day for e in self.purchases)
        row["day_mask"] = sum(1 << (last - day) for day in self.days if last - day < 64)
        row["today"], row["peak"] = self.day_spend()
        row["window"] = sum(e.amount for e in self.window)
        row["window_orders"] = sum(e.new_order for e in self.window)
        if self.raw is not None:
            row["open"], row["raw"] = 1, self.raw
        for name, ids in (("traded", self.traded_ids), ("browsed", self.browsed_ids)):
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            for place, text in enumerate(ids):
                whole = xxhash.xxh3_64_intdigest(text.encode())
                low[place % len(low)], high[place % len(low)] = whole % 2**32, whole // 2**32 % 2**16
            row[f"{name}_slot"] = len(ids) % len(low)
        for place, text in enumerate(self.order_ids):
            row["order_ids"][place % 8] = xxhash.xxh3_64_intdigest(text.encode())
        row["order_slot"] = len(self.order_ids) % 8
        row["seen"], row["due"], row["phase"] = self.seen, self.due, self.phase
        return row.tobytes()[:PROMISED]


class Plain:
    """A partition's log, event by event, in plain Python; landmarks are passed when the customer next matters."""

    def __init__(self, horizon: int) -> None:
        self.horizon, self.offset = horizon, 0
        self.customers: dict[str, Customer] = {}
        self.entries: Entries = {}
        self.noted: Counter[str] = Counter()

    def add(self, event: Event, swept_to: int) -> None:
        """The next event of the log, which is swept to `swept_to` before it."""
        name, self.offset = event.customer_id, self.offset + 1
        customer = self.customers.get(name)
        if event.kind == ERASE:
            if customer is not None:
                self._keep(name, customer.advance(swept_to))
                del self.customers[name]
            return
        if customer is None and event.kind != PURCHASE:
            self.noted["before_first_purchase"] += 1
            return
        customer = self.customers.setdefault(name, Customer(name, self.horizon))
        customer.seen = self.offset
        ids, recognised = customer.ids(event.kind)
        if event.event_id in ids[-recognised:]:
            self.noted["duplicate"] += 1
            return
        self.noted["late"] += event.t // DAY < swept_to
        self._keep(name, customer.fold(event, swept_to))

    def sweep(self, day: int) -> None:
        for name, customer in self.customers.items():
            self._keep(name, customer.advance(day))

    def _keep(self, name: str, entries: Iterator[tuple[int, bytes]]) -> None:
        self.entries |= {(day, name): packed for day, packed in entries}

    def rows(self) -> dict[str, bytes]:
        return {name: customer.row() for name, customer in self.customers.items()}


# ---- pandas ----------------------------------------------------------------------------------------------------------
def frame(events: Sequence[Event]) -> pd.DataFrame:
    """The log as `streams.recount` lays it out: `place` is the order."""
    table = pd.DataFrame(
        [(e.event_id, e.kind, *e[:2], e.order_id, e.amount) for e in events],
        columns=["event_id", "kind", "customer_id", "occurred_at", "order_id", "amount"],
    )
    table = table.astype(dict.fromkeys(["kind", "occurred_at", "amount"], np.int64))  # an empty log has no types
    return table.assign(place=np.arange(len(table)))


def group_by(events: pd.DataFrame) -> pd.DataFrame:
    """FIGURES per customer, of a `frame`."""
    found = {name: _figures(mine) for name, mine in events.groupby("customer_id")}
    return pd.DataFrame.from_dict(
        {n: f for n, f in found.items() if f}, orient="index", columns=FIGURES, dtype=np.int64
    )


def _figures(mine: pd.DataFrame) -> tuple[Any, ...]:
    mine = mine.loc[mine["kind"].eq(ERASE)[::-1].cumsum()[::-1].eq(0)]  # since the last erasure
    mine = mine.loc[mine["kind"].eq(PURCHASE).cumsum().gt(0)]
    traded = mine["kind"].isin([PURCHASE, RETURN])
    sorts = (mine.loc[traded], 64), (mine.loc[~traded], 16)
    mine = pd.concat([sort.loc[_unknown(sort["event_id"], recognised)] for sort, recognised in sorts]).sort_index()
    bought = mine.loc[mine["kind"] == PURCHASE]
    day = bought["occurred_at"].floordiv(DAY)
    if not len(mine):
        return ()
    return (
        sum(_unknown(bought["order_id"], 8)),
        mine["amount"].sum(),
        -mine.loc[mine["kind"] == RETURN, "amount"].sum(),
        day[(day.cummax() - day < 64) | (day < day.cummin().shift())].nunique(),
        bought["occurred_at"].min(),
        bought["occurred_at"].max(),
        mine["occurred_at"].max(),
    )


def _unknown(ids: "pd.Series[str]", distance: int) -> list[bool]:
    """Whether each id is none of the `distance` that were new before it."""
    new: list[str] = []
    known = []
    for name in ids:
        known.append(name not in new[-distance:])
        new += [name] if known[-1] else []
    return known


def examples(events: pd.DataFrame, horizon: int, end: int) -> pd.DataFrame:
    """What the entries up to `end` must say of a log in time order without duplicates, each order on one day.

    Index (customer_id, day); every figure is a group-by over the events before the landmark, or in its window.
    """
    events = events.assign(day=events["occurred_at"] // DAY, bought=events["kind"] == PURCHASE)
    first = events[events["bought"]].groupby("customer_id")["occurred_at"].min()
    events = events[events["occurred_at"] >= events["customer_id"].map(first)]  # in time order: nothing before it
    marks = pd.DataFrame(
        [
            (name, d)
            for name, t in first.items()
            for d in range(t // DAY + 1, end + 1)
            if d % horizon == phase(name, horizon)
        ],
        columns=["customer_id", "landmark"],
    )
    before = marks.merge(events, on="customer_id").query("day < landmark")
    before["age"] = before["landmark"] - before["day"]
    inside, bought = before[before["age"] <= horizon], before[before["bought"]]
    keys = ["customer_id", "landmark"]
    found = {
        "spend": before.groupby(keys)["amount"].sum(),
        "orders": bought.groupby(keys)["order_id"].nunique(),
        "days": bought.groupby(keys)["day"].nunique(),
        "tenure": bought.groupby(keys)["age"].max(),
        "recency": bought.groupby(keys)["age"].min(),
        "window": inside.groupby(keys)["amount"].sum(),
        "peak": bought.groupby([*keys, "day"])["amount"].sum().groupby(keys).max(),
        "window_orders": inside[inside["bought"]].groupby(keys)["order_id"].nunique(),
    }
    lines = bought.drop_duplicates([*keys, "order_id"])
    for h in (30, 90):
        found[f"s{h}"] = before["amount"].mul(0.5 ** (before["age"] / h)).groupby([before[k] for k in keys]).sum()
        found[f"n{h}"] = (0.5 ** (lines["age"] / h)).groupby([lines[k] for k in keys]).sum()
    for name, kind in (("v7", VIEW), ("c7", CART)):
        seen = before[before["kind"] == kind]
        found[name] = (0.5 ** (seen["age"] / 7)).groupby([seen[k] for k in keys]).sum()
    return pd.DataFrame(found).fillna(0)


def phase(customer_id: object, horizon: int) -> int:
    return (zlib.crc32(str(customer_id).encode()) >> 16) % horizon
