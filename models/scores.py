"""The record that a CRM reads: every field a text, formatted here and nowhere else (docs/redis-contract.md)."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.features import LN2
from models.offers import Offers
from models.rows import DAY

Array = npt.NDArray[Any]

# The fields of a customer's hash, in the order of the columns; the COMMON ones are the same for a whole block.
FIELDS = (
    "segment", "segment_id", "previous_segment", "segment_since", "cluster", "rfm", "predicted_demand",
    "predicted_demand_high", "predicted_orders", "p_buy", "customer_value", "orders", "spend", "average_order_value",
    "total_value", "first_purchase_at", "last_purchase_at", "last_event_at", "mean_days_between_orders",
    "expected_next_order_at", "next_offers", "source", "demand_horizon_days", "scored_at", "model_version", "schema",
)  # fmt: skip
COMMON = FIELDS[-4:]
SCHEMA = 2  # of the contract with a CRM: another one where a field goes or says something else
FORM = 3  # of a hash: one more with every field that comes, and workers write everybody's hash anew
NEAR = 100  # by at most one part in so many of its value a customer's score in its segment's set differs from it
YEAR = 365 * DAY
LIKELY, KEEPS = 0.5, 1.25  # chance of an order, and silence in own mean gaps, of who is expected back in rhythm
MINUTES = [f"{minute // 60:02}:{minute % 60:02}:" for minute in range(1440)]
SECONDS = [f"{second:02}Z" for second in range(60)]
RFM = {int(f"{r}{f}{m}"): f"{r}-{f}-{m}" for r, f, m in itertools.product(range(1, 6), repeat=3)}


def dates(days: Array) -> list[str]:
    """ISO 8601 of days since the epoch.

    >>> dates(np.array([0, 14_288]))
    ['1970-01-01', '2009-02-13']
    """
    texts = {day: str(np.datetime64(day, "D")) for day in set(days.tolist())}  # few; numpy formats 1 us a text
    return [texts[day] for day in days.tolist()]


def iso(t: Array) -> list[str]:
    """ISO 8601 UTC of microseconds, to the second.

    >>> iso(np.array([0, 1_234_567_890_999_999]))
    ['1970-01-01T00:00:00Z', '2009-02-13T23:31:30Z']
    """
    minutes, seconds = np.divmod(t // 1_000_000, 60)
    days, minutes = np.divmod(minutes, 1440)
    parts = zip(dates(days), minutes.tolist(), seconds.tolist(), strict=True)
    return [f"{date}T{MINUTES[minute]}{SECONDS[second]}" for date, minute, second in parts]


def cents(amount: Array, by: Any = 1) -> Array:
    """int64 in 1/10,000 of the major unit, divided by whole numbers, in 1/100, half-even.

    >>> cents(np.array([12_345_050, -150, -49, 50, 250])).tolist(), cents(np.array([250, 350, 1]), np.array([10, 2, 3]))
    ([123450, -2, 0, 0, 2], array([0, 2, 0]))
    """
    found: Array
    found, rest = np.divmod(amount, 100 * by)
    found += (2 * rest > 100 * by) | ((2 * rest == 100 * by) & (found % 2 == 1))
    return found


def money(in_cents: Array) -> list[str]:
    """Text with 2 decimals of int64 in 1/100 of the major unit.

    >>> money(np.array([123450, -2, 0]))
    ['1234.50', '-0.02', '0.00']
    """
    signs = np.where(in_cents < 0, "-", "").tolist()
    whole, part = np.divmod(np.abs(in_cents), 100)
    return list(map("%s%d.%02d".__mod__, zip(signs, whole.tolist(), part.tolist(), strict=True)))


def totals(spend: Array, values: Sequence[str]) -> list[str]:
    """What was spent (n,), in 1/100, and what is expected, text with 2 decimals: together, to the cent.

    >>> totals(np.array([-250, 1999]), ["1.00", "0.01"])
    ['-1.50', '20.00']
    """
    together = (spent + int(value.replace(".", "")) for spent, value in zip(spend.tolist(), values, strict=True))
    return [f"{'-' * (each < 0)}{abs(each) // 100}.{abs(each) % 100:02}" for each in together]


def moment(rows: Array, swept_to: int) -> Array:
    """The event time (us) at which these rows are scored: the later of their last event and the midnight swept to."""
    at: Array = np.maximum(rows["at"], swept_to * DAY)
    return at


def next_orders(rows: Array, orders: Array, p_buy: Array, at: Array, horizon: int) -> list[str]:
    """When the next order is expected; empty beyond a year.

    Of a likely buyer who keeps to their own mean gap: when that ends, a day from `at` on at the least. Of others: the
    median wait at a constant rate that gives `orders` in the horizon.
    """
    gap = (rows["last"] - rows["first"]) / np.maximum(rows["days"].astype(np.int64) - 1, 1)
    since = at - rows["last"]
    keeps = (p_buy >= LIKELY) & (rows["days"] >= 2) & (since <= KEEPS * gap)
    wait = np.where(keeps, np.maximum(gap - since, DAY), LN2 * horizon * DAY / np.maximum(orders, 1e-4))
    soon = wait <= YEAR
    texts = iso(at + np.where(soon, np.rint(wait), 0).astype(np.int64))
    return [text if near else "" for text, near in zip(texts, soon.tolist(), strict=True)]


def gaps(rows: Array) -> list[str]:
    """Mean days between orders; empty for one order."""
    between = (rows["last"] - rows["first"]) / DAY / np.maximum(rows["orders"] - 1, 1)
    return [f"{days:.1f}" if n > 1 else "" for days, n in zip(between.tolist(), rows["orders"].tolist(), strict=True)]


def sources(seen: Array, place: str) -> list[str]:
    """The customer's last event in the log, `topic:partition:offset`; `history` if it has none there."""
    return [f"{place}:{after - 1}" if after else "history" for after in seen.tolist()]


def texts(
    rows: Array, predicted: Any, segments: Sequence[str], offers: Offers, horizon: int, swept_to: int, place: str
) -> list[Any]:
    """One tuple of FIELDS without COMMON for each row; `predicted` has the columns of a model's predictions, `segments`
    the names by number."""
    at = moment(rows, swept_to)
    names = [*segments, ""]  # -1: none
    who = zip(
        predicted.segment.tolist(),
        rows["segment_before"].tolist(),
        dates(rows["segment_since"]),
        predicted.cluster.tolist(),
        predicted.rfm.tolist(),
        strict=True,
    )
    # Orders as exact as p_buy, so that who reads the texts too finds no p_buy above them.
    spend, values = cents(rows["spend"]), list(map("%.2f".__mod__, predicted.value.tolist()))
    numbers = (predicted.demand, predicted.high, predicted.orders, predicted.p_buy)
    predictions = map("%.2f|%.2f|%.4f|%.4f".__mod__, zip(*(c.tolist() for c in numbers), strict=True))
    columns = (
        values,
        map(str, rows["orders"].tolist()),
        money(spend),
        money(cents(rows["spend"], np.maximum(rows["orders"], 1).astype(np.int64))),
        totals(spend, values),
        iso(rows["first"]),
        iso(rows["last"]),
        iso(rows["at"]),
        gaps(rows),
        next_orders(rows, predicted.orders, predicted.p_buy, at, horizon),
        offers.texts(rows, at),
        sources(rows["seen"], place),
    )
    return [
        (names[s], str(s), names[before], since, str(c), RFM[rfm], *prediction.split("|"), *rest)
        for (s, before, since, c, rfm), prediction, *rest in zip(who, predictions, *columns, strict=True)
    ]
