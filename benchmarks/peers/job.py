"""The job of every streaming peer, told once: a customer's score out of the customer's own events.

Rule: the standard library alone, for a peer's own environment imports this. State is counts, sums and a maximum, so it
hangs neither on batches nor on the order of events, and SQL can say it too: an amount is weighted by 2 to the power of
its time since BEGIN over the half-life (forward decay, Cormode et al. 2009), and a rate divides by the weight of the
customer's last event.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

BEGIN, DAY = 1_709_251_200, 86_400  # 2024-03-01T00:00:00Z in seconds, where the log begins; seconds
HALF_LIVES = (30 * DAY, 90 * DAY)
PER_DAY = tuple(DAY * math.log(2) / half for half in HALF_LIVES)  # a decayed sum as an amount a day
DEMAND = (0.5, 0.8, 14.0, 12.0)  # of anybody; of an order; of each unit of rate_30 and of rate_90
# Of log(1 + x) of orders, spend and rate_30, each 0 at least.
CENTRES = ((0.0, 0.0, 0.0), (0.7, 2.5, 0.3), (0.7, 3.8, 0.6), (1.1, 4.5, 1.1), (1.8, 5.5, 1.8))
FIELDS = ("orders", "spend", "rate_30", "rate_90", "predicted_demand", "cluster", "last_event_at")
# How far a number may be from the truth: the last digit of what engines add up in an order of their own.
TOLERANCE = {"rate_30": 1e-4, "rate_90": 1e-4, "predicted_demand": 1e-2}


class Facts(NamedTuple):
    """What counts of an event."""

    order: int  # 1: it is one
    cents: int  # returns are negative
    at: int  # seconds since BEGIN


class State(NamedTuple):
    orders: int = 0
    cents: int = 0
    last: int = 0  # seconds since BEGIN
    near: float = 0.0  # cents, decayed forward with each of HALF_LIVES
    far: float = 0.0


def facts(event: Mapping[str, Any]) -> Facts:
    """Of an event as its JSON says it.

    >>> facts({"event_type": "return", "occurred_at": "2024-03-01T00:00:09.5Z", "quantity": 2, "unit_price": 9.9})
    Facts(order=0, cents=-1980, at=9)
    """
    kind, at = event["event_type"], int(datetime.fromisoformat(event["occurred_at"]).timestamp()) - BEGIN
    cents = round(event.get("quantity", 0) * event.get("unit_price", 0) * 100)
    return Facts(int(kind == "purchase"), -cents if kind == "return" else cents, at)


def step(state: State, event: Facts) -> State:
    order, cents, at = event
    orders, spent, last, near, far = state
    if cents:
        near += cents * 2.0 ** (at / HALF_LIVES[0])
        far += cents * 2.0 ** (at / HALF_LIVES[1])
    return State(orders + order, spent + cents, max(last, at), near, far)


def fields(state: State) -> dict[str, str]:
    """What stands in `peer:<customer>`, as of the customer's last event; money in the major unit, rates a day."""
    near, far = (
        decayed / 100 * 2.0 ** (-state.last / half) * per_day
        for decayed, half, per_day in zip((state.near, state.far), HALF_LIVES, PER_DAY, strict=True)
    )
    spend = state.cents / 100
    demand = max(0.0, DEMAND[0] + DEMAND[1] * state.orders + DEMAND[2] * near + DEMAND[3] * far)
    at = tuple(math.log1p(max(0.0, x)) for x in (state.orders, spend, near))
    away = [sum((x - c) ** 2 for x, c in zip(at, centre, strict=True)) for centre in CENTRES]
    texts = str(state.orders), f"{spend:.2f}", f"{near:.4f}", f"{far:.4f}", f"{demand:.2f}"
    return dict(zip(FIELDS, (*texts, str(away.index(min(away))), str(BEGIN + state.last)), strict=True))


def same(found: Mapping[str, str], true: Mapping[str, str]) -> bool:
    """Whether a customer's fields are those of the truth: texts, but for TOLERANCE."""
    return found.keys() == true.keys() and all(
        found[name] == text or (name in TOLERANCE and abs(float(found[name]) - float(text)) < TOLERANCE[name] * 1.01)
        for name, text in true.items()
    )
