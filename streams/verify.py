"""`verify`: recounts every customer from the history and the log with pandas alone, and compares with Redis.

It shares nothing with the fold but the file of cleaned events: its own JSON parsing, decimals and group-by. A customer
is counted up to the later of the partition's offset and its own `seen`; what is written meanwhile is read again.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
import pandas as pd

from models.kinds import NUMBER_OF, PURCHASE, RETURN, TRADED
from models.rows import DAY, EVENTS, ORDERS, ROW
from streams import kafka
from streams.settings import Settings
from streams.store import Store

ATTEMPTS = 5
Difference = tuple[str, str, Any, Any]  # customer_id, field, in Redis, recounted
COMPARED = ("orders", "spend", "returned", "days", "first", "last", "at")


@dataclass(frozen=True)
class Verdict:
    """How many customers were compared, and what differs."""

    customers: int
    wrong: list[Difference]

    @property
    def wrong_customers(self) -> int:
        return len({name for name, *_ in self.wrong})


def parse(value: bytes, key: bytes, timestamp: int) -> tuple[Any, ...] | None:
    """(event_id, kind, customer_id, occurred_at, order_id, amount) of a good event, else None."""
    try:
        event = json.loads(value, parse_float=Decimal)
        customer, kind, when = event["customer_id"], NUMBER_OF[event["event_type"]], event["occurred_at"]
        stamp = pd.Timestamp(when) if isinstance(when, str) else pd.Timestamp(float(when), unit="s", tz="UTC")
        if stamp.tz is None or key != customer.encode() or not 1 <= len(key) <= 128:
            return None
        t = int(stamp.value) // 1000
        if not 0 <= t <= timestamp * 1000 + 600_000_000:
            return None
        amount = 0
        if kind in TRADED:
            price, quantity = _number(event["unit_price"]), _number(event["quantity"])
            amount = int(price.scaleb(4).to_integral_value(ROUND_HALF_EVEN)) * int(quantity)
            if quantity <= 0 or quantity % 1 or price < 0 or amount >= 2**62:
                return None
        event_id = event["event_id"]
        if not isinstance(event_id, str):
            return None
        return event_id, kind, customer, t, event.get("order_id") or event_id, -amount if kind == RETURN else amount
    except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError):
        return None


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError("not a number")
    return Decimal(value)


def log(
    settings: Settings, partition: int, start: int, end: int, cut_off: int, home: Callable[[str], int]
) -> pd.DataFrame:
    """The partition's good events and tombstones (kind -1) with their offsets."""
    rows = []
    for message in kafka.read(settings, partition, start, end):
        key, value, offset = message.key(), message.value(), message.offset()
        if value is None:
            if key is not None:
                rows.append((offset, "", -1, key.decode(errors="replace"), 0, "", 0))
            continue
        event = parse(value, key or b"", message.timestamp()[1])
        if event is not None and event[3] >= cut_off * DAY and home(event[2]) == partition:
            rows.append((offset, *event))
    columns = ["offset", "event_id", "kind", "customer_id", "occurred_at", "order_id", "amount"]
    numbers = dict.fromkeys(("offset", "kind", "occurred_at", "amount"), "int64")
    return pd.DataFrame(rows, columns=columns).astype(numbers)  # without a row pandas would take them for objects


def recount(events: pd.DataFrame) -> pd.DataFrame:
    """Per customer the figures of COMPARED; `events` in order (history first, then by offset)."""
    last_erased = events["customer_id"].map(events[events["kind"] == -1].groupby("customer_id")["place"].max())
    events = events[~(events["place"] <= last_erased)]
    bought = events["kind"] == PURCHASE
    begun = bought.groupby(events["customer_id"]).cummax()  # before the first purchase there is no customer
    events = events[begun]
    events = events[~_recent(events, "event_id", EVENTS)]
    bought = events["kind"] == PURCHASE
    purchases = events[bought]
    orders = purchases[~_recent(purchases, "order_id", ORDERS)]
    by_purchase, day = purchases.groupby("customer_id"), purchases["occurred_at"] // DAY
    returned = -events["amount"].where(events["kind"] == RETURN, 0)
    return pd.DataFrame(
        {
            "orders": orders.groupby("customer_id").size(),
            "spend": events.groupby("customer_id")["amount"].sum(),
            "returned": returned.groupby(events["customer_id"]).sum(),
            "days": day[~_too_late(purchases, day)].groupby(purchases["customer_id"]).nunique(),
            "first": by_purchase["occurred_at"].min(),
            "last": by_purchase["occurred_at"].max(),
            "at": events.groupby("customer_id")["occurred_at"].max(),
        }
    )


def _too_late(purchases: pd.DataFrame, day: "pd.Series[int]") -> "pd.Series[bool]":
    """More than 63 days behind the customer's latest purchase so far: no purchase day of its own is counted."""
    return day <= day.groupby(purchases["customer_id"]).cummax() - 64


def _recent(events: pd.DataFrame, column: str, distance: int) -> "pd.Series[bool]":
    """Whether an id stands among the customer's last `distance` distinct ids: what the rings recognise."""
    repeated = events.duplicated(["customer_id", column], keep=False)
    suspects = events[events["customer_id"].isin(events.loc[repeated, "customer_id"].unique())]
    found = []
    for _, mine in suspects.groupby("customer_id")[column]:
        ring: list[str] = []
        for place, name in mine.items():
            if name in ring[-distance:]:
                found.append(place)
            else:
                ring.append(name)
    return pd.Series(events.index.isin(found), index=events.index)


async def verify(
    store: Store, settings: Settings, past: pd.DataFrame, topic: kafka.Topic, progress: Callable[[str], None]
) -> Verdict:
    """Compares every customer of every partition; a partition that was written meanwhile is compared again."""
    deployment = await store.deployment()
    home, cut_off = deployment.home, deployment.cut_off
    past = past[past["occurred_at"] < cut_off * DAY].assign(offset=-1)
    homes = past["customer_id"].map(home)
    customers = 0
    wrong: list[Difference] = []
    for p in range(topic.partitions):
        progress(f"partition {p}")
        for _ in range(ATTEMPTS):
            guard = await store.guard(p)
            if guard is None:
                raise kafka.KafkaProblem(f"{store.keys.guard(p)} is missing: run `python -m streams publish DIR`")
            states = await store.load(p, guard.token)
            if states is None:
                continue
            end = max([guard.offset, *(int(np.frombuffer(row, ROW)["seen"][0]) for _, row in states)])
            events = pd.concat(
                [past[homes == p], log(settings, p, topic.bounds[p][0], end, cut_off, home)], ignore_index=True
            )
            counted, differences = await _compare(store, states, guard.offset, events)
            if not differences or (await store.standing(p))[0] == guard.token:
                break
        customers, wrong = customers + counted, wrong + differences
    return Verdict(customers, wrong)


async def _compare(
    store: Store, states: list[tuple[str, bytes]], offset: int, events: pd.DataFrame
) -> tuple[int, list[Difference]]:
    """How many customers there should be, and what differs; each counts up to the later of `offset` and its `seen`."""
    names, rows = [name for name, _ in states], np.frombuffer(b"".join(packed for _, packed in states), ROW)
    upto = pd.Series(np.maximum(rows["seen"], offset), index=names)
    events = events[events["offset"] < events["customer_id"].map(upto).fillna(offset)]
    expected = recount(events.assign(place=np.arange(len(events))))
    found = pd.DataFrame({name: rows[name] for name in COMPARED}, index=names)
    wrong: list[Difference] = [(n, "customer", "present", "absent") for n in found.index.difference(expected.index)]
    wrong += [(n, "customer", "absent", "present") for n in expected.index.difference(found.index)]
    count = len(expected)
    found, expected = found.align(expected, join="inner", axis=0)
    for column in COMPARED:
        for n in found.index[found[column].to_numpy() != expected[column].to_numpy()]:
            wrong.append((n, column, found.at[n, column], expected.at[n, column]))
    hashes = await _hashes(store, found.index.tolist())
    for n, shown, orders, spend in zip(
        found.index, hashes, expected["orders"].tolist(), expected["spend"].tolist(), strict=True
    ):
        cents = Decimal(int(spend)).scaleb(-4).quantize(Decimal("0.01"), ROUND_HALF_EVEN)
        if shown != (str(int(orders)), f"{cents + 0:f}"):  # + 0: no negative zero
            wrong.append((n, "hash: orders, spend", shown, (orders, cents)))
    return count, wrong


async def _hashes(store: Store, names: list[str]) -> list[tuple[str, str]]:
    """What a CRM reads: orders and spend of these customers."""
    found: list[tuple[str, str]] = []
    for i in range(0, len(names), 1000):
        async with store.redis.pipeline(transaction=False) as pipe:
            for name in names[i : i + 1000]:
                pipe.hmget(store.keys.customer(name), "orders", "spend")
            found += [tuple((v or b"").decode() for v in row) for row in await pipe.execute()]  # type: ignore[misc]
    return found
