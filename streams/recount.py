"""What must stand in Redis, counted anew from history and log with pandas alone.

It shares nothing with the decoder and the fold but the file of cleaned events: its own JSON, times, decimals and
group-by. So it is slow, and must agree with them on every event (a test holds both to that).
"""

import itertools
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pandas as pd

from models.kinds import ERASE, NUMBER_OF, PURCHASE, RETURN, TRADED
from models.rows import BROWSED_IDS, DAY, LARGEST, ORDERS, TRADED_IDS
from streams import kafka
from streams.settings import Settings

COMPARED = ("orders", "spend", "returned", "days", "first", "last", "at")  # the figures, as a state names them
SECOND, EPOCH = 1_000_000, datetime(1970, 1, 1)
FUTURE, END, MOST, DEPTH = 600 * SECOND, 7_258_118_400 * SECOND, 10**13, 200  # docs/events.md
ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))", re.ASCII
)


class _Number(str):
    """The text of a JSON number; what it is worth depends on its field."""


def parse(key: bytes | None, value: bytes | None, timestamp: int) -> tuple[Any, ...] | None:
    """(event_id, kind, customer_id, occurred_at, order_id, amount) of a good event or tombstone, else None.

    timestamp: the record's, in milliseconds; kind of a tombstone: ERASE.
    """
    try:
        if value is None:
            return "", ERASE, _id((key or b"").decode()), 0, "", 0
        event = _json(value)
        kind, event_id, customer_id = NUMBER_OF[event["event_type"]], _id(event["event_id"]), _id(event["customer_id"])
        order_id, _ = (event_id if event.get(n) is None else _id(event[n]) for n in ("order_id", "product_id"))
        t = _time(event["occurred_at"])
        if key != customer_id.encode() or timestamp < 0 or not 0 <= t <= min(timestamp * 1000 + FUTURE, END - 1):
            return None
        amount = _amount(event) if kind in TRADED else 0
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        return None
    return event_id, kind, customer_id, t, order_id, -amount if kind == RETURN else amount


class _Object(dict[str, Any]):
    """A JSON object: of a field given twice the last counts, and `pairs` still has the others."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _json(value: bytes) -> Any:
    """The value as JSON, strictly: in UTF-8, without NaN and lone surrogates, nested to DEPTH; numbers stay texts."""
    found = json.loads(
        value.decode(),
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=int,  # int("NaN") raises
        object_pairs_hook=_Object,
    )
    if b"\\u" in value or value.count(b"[") + value.count(b"{") > DEPTH:
        _strict(found, DEPTH)
    return found


def _strict(value: Any, deep: int) -> None:
    """Raises ValueError for a lone surrogate anywhere, and for what is nested deeper than `deep`."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, _Object | list):
        if not deep:
            raise ValueError("nested too deep")
        for each in itertools.chain(*value.pairs) if isinstance(value, _Object) else value:
            _strict(each, deep - 1)


def _id(value: Any) -> str:
    if type(value) is not str or not 1 <= len(value.encode()) <= 128:
        raise ValueError("no id")
    return value


def _time(value: Any) -> int:
    """Microseconds: of an ISO time rounded half up, of Unix seconds half-even from their double."""
    if isinstance(value, _Number):
        return round(float(value) * 1e6) if float(value) >= 0 else -1
    found = ISO.fullmatch(value)
    if found is None:
        raise ValueError("no time")
    *whole, fraction, sign, hours, minutes = found.groups()
    seconds = (datetime(*map(int, whole)) - EPOCH) // timedelta(seconds=1)  # type: ignore[arg-type]  # six of them
    east = (int(hours) * 60 + int(minutes)) * (-60 if sign == "-" else 60) if sign else 0
    return (seconds - east) * SECOND + (int(((fraction or "") + "0000000")[:7]) + 5) // 10


def _amount(event: Any) -> int:
    """quantity x unit_price in 1/10,000, exact and then rounded half-even; a quantity's double is of 4 places."""
    quantity, price = event["quantity"], event["unit_price"]
    if not isinstance(quantity, _Number) or not isinstance(price, _Number):
        raise TypeError("not a number")
    if not 0 < float(quantity) <= MOST or not 0 <= float(price) <= 1_000_000_000.00005:
        raise ValueError("out of range")
    with localcontext(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, rounding=ROUND_HALF_EVEN):
        sold = Decimal(quantity) if quantity.isdigit() else round(Decimal(float(quantity)), 4)
        if float(sold) != float(quantity):
            raise ValueError("more than 4 places")
        amount = round(Decimal(price) * sold * 10_000) if float(price) else 0
    if amount > MOST:
        raise ValueError("too large")
    return amount


def log(
    settings: Settings, partition: int, start: int, end: int, cut_off: int, home: Callable[[str], int]
) -> pd.DataFrame:
    """The partition's good events and tombstones (kind ERASE) at offsets [start, end)."""
    rows = []
    for message in kafka.read(settings, partition, start, end):
        event = parse(message.key(), message.value(), message.timestamp()[1])
        if event is None or home(event[2]) != partition:
            continue
        if event[1] == ERASE or event[3] >= cut_off * DAY:
            rows.append((message.offset(), *event))
    columns = ["offset", "event_id", "kind", "customer_id", "occurred_at", "order_id", "amount"]
    numbers = dict.fromkeys(("offset", "kind", "occurred_at", "amount"), "int64")
    return pd.DataFrame(rows, columns=columns).astype(numbers)  # without a row pandas would take them for objects


def recount(events: pd.DataFrame) -> pd.DataFrame:
    """Per customer the figures of COMPARED; `events` in order (history first, then by offset)."""
    last_erased = events["customer_id"].map(events[events["kind"] == ERASE].groupby("customer_id")["place"].max())
    events = events[~(events["place"] <= last_erased)]
    bought = events["kind"] == PURCHASE
    begun = bought.groupby(events["customer_id"]).cummax()  # before the first purchase there is no customer
    events = events[begun]
    traded = events["kind"].isin(TRADED)
    copies = [_recent(events[traded], "event_id", TRADED_IDS), _recent(events[~traded], "event_id", BROWSED_IDS)]
    events = events[~pd.concat(copies).reindex(events.index)]
    bought = events["kind"] == PURCHASE
    purchases = events[bought]
    orders = purchases[~_recent(purchases, "order_id", ORDERS)]
    by_purchase, day = purchases.groupby("customer_id"), purchases["occurred_at"] // DAY
    returned = -events["amount"].where(events["kind"] == RETURN, 0)
    return pd.DataFrame(
        {
            "orders": orders.groupby("customer_id").size(),
            "spend": _summed(events["amount"], events["customer_id"]),
            "returned": _summed(returned, events["customer_id"]),
            "days": day[~_too_late(purchases, day)].groupby(purchases["customer_id"]).nunique(),
            "first": by_purchase["occurred_at"].min(),
            "last": by_purchase["occurred_at"].max(),
            "at": events.groupby("customer_id")["occurred_at"].max(),
        }
    )


def _summed(amounts: "pd.Series[int]", by: "pd.Series[str]") -> "pd.Series[int]":
    """The sum of each customer; one that comes near the end of int64 is added up again in order, and held there."""
    found = amounts.groupby(by).sum()
    reach = amounts.astype(float).abs().groupby(by).sum()
    for name in reach.index[reach > LARGEST / 2]:
        total = 0
        for amount in amounts[by == name].tolist():
            total = max(-LARGEST, min(LARGEST, total + amount))
        found[name] = total
    return found


def _too_late(purchases: pd.DataFrame, day: "pd.Series[int]") -> "pd.Series[bool]":
    """More than 63 days behind the customer's latest purchase so far, and not before all others: no purchase day of its
    own is counted."""
    by_customer = day.groupby(purchases["customer_id"])
    first = by_customer.cummin().groupby(purchases["customer_id"]).shift()
    return (day <= by_customer.cummax() - 64) & (day >= first)


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
