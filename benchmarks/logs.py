"""The logs on which learning is judged: two real ones, and ten generated ones, each with what it is named after.

Rule: a log is a function of its name and a seed (real ones are the same for every seed), in time order, of whole
seconds and cents, and ends at a midnight. Its live part begins at the cut: what is before is the history of a fit.
"""

import importlib.metadata
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from demo.data import complete_journey
from models.events import Batch
from models.features import UNIT
from models.kinds import PURCHASE
from models.rows import DAY
from offline.history import fold
from offline.history.read import read

EPOCH = date(1970, 1, 1)
END = (date(2024, 3, 1) - EPOCH).days  # of generated logs
SEED, LIVE, CHANGE, YEAR = 7, 180, 150, 365  # days of the live part; days since the change of a log that has one
SECOND = 1_000_000
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Log:
    """frame: events as `offline.history.read` leaves them, with the columns that the fold looks at; cut, end: the
    midnights (day numbers) between which it is live; change: the one from which on something is else.
    """

    frame: pd.DataFrame
    cut: int
    end: int
    change: int | None = None

    @cached_property
    def batch(self) -> Batch:
        """The same events for the stream's fold."""
        return replace(fold.batch(self.frame), customer_id=self.frame["customer_id"].tolist())

    def before(self, day: int) -> pd.DataFrame:
        """The events before midnight `day`."""
        return self.frame[self.frame["occurred_at"] < day * DAY]


class Orders(NamedTuple):
    """Of each order, in any order: number of its customer, day with fraction, money in major units; (n,) each."""

    who: Ints
    at: Floats
    money: Floats


# ---- generated -------------------------------------------------------------------------------------------------------
def subscriptions(rng: np.random.Generator, customers: int = 4000) -> Orders:
    """Each pays on a day of the month of its own, 4 % cancel a month; a tenth pays ten prices for a year at once."""
    begins = (np.datetime64("2021-09") + np.arange(31)).astype("datetime64[D]").astype(np.int64)
    start, day, lasts = rng.integers(0, 28, customers), rng.integers(1, 32, customers), rng.geometric(0.04, customers)
    price, yearly = rng.choice([9.99, 19.99, 49.99], customers, p=[0.6, 0.3, 0.1]), rng.random(customers) < 0.1
    age = np.arange(30) - start[:, None]
    who, month = np.nonzero((age >= 0) & (age < lasts[:, None]) & (~yearly[:, None] | (age % 12 == 0)))
    at = begins[month] + np.minimum(day[who], np.diff(begins)[month]) - 1 + rng.random(len(who))
    return Orders(who, at, np.where(yearly, 10, 1)[who] * price[who])


@dataclass(frozen=True)
class Shop:
    """Customers come evenly and order at rates of their own, at values about a level of their own.

    since, december: how many times as many come and order since the change and in December; cheaper: a factor on the
    values since the change; once: share of those who never order again; leaves: does everybody leave after an order
    with a chance of his own?
    """

    days: int = 1095
    since: float = 1.0
    december: float = 1.0
    cheaper: float = 1.0
    once: float = 0.0
    leaves: bool = False
    customers: int = 6000

    def __call__(self, rng: np.random.Generator) -> Orders:
        n, (day, clock) = self.customers, self._clock()
        first, rate = rng.uniform(0, clock[-1], n), rng.gamma(0.6, 1 / 45 / 0.6, n) * (rng.random(n) >= self.once)
        orders = 1 + rng.poisson(rate * (clock[-1] - first))
        who, opens = np.repeat(np.arange(n), orders), np.cumsum(orders) - orders
        at = first[who] + (clock[-1] - first[who]) * rng.random(len(who))
        at[opens] = first
        at = np.interp(at[np.lexsort((at, who))], clock, day)
        level = rng.normal(np.log(40), 0.6, n)[who]
        money = np.exp(rng.normal(level, 0.5)) * np.where(at >= END - CHANGE, self.cheaper, 1)
        stays = rng.geometric(np.maximum(rng.beta(1.2, 8.8, n), 1e-6))[who]
        keep = (np.arange(len(who)) - opens[who] < stays) | (not self.leaves)
        return Orders(who[keep], at[keep], money[keep])

    def _clock(self) -> tuple[Ints, Floats]:
        """Midnights, and what a clock shows there that runs as fast as customers come and order: by it, evenly."""
        day = END - self.days + np.arange(self.days + 1)
        month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
        speed = np.where(month == 11, self.december, 1) * np.where(day >= END - CHANGE, self.since, 1)
        return day, np.cumsum(np.r_[0, speed[:-1]])


def giant(rng: np.random.Generator, customers: int = 250, orders: int = 735) -> Orders:
    """A year of a small shop, and one order of ten millions in the middle of its last half."""
    weight = rng.gamma(1.0, size=customers)
    again = rng.choice(customers, orders - customers, p=weight / weight.sum())
    who = np.r_[np.arange(customers), again, rng.integers(customers)]
    at = END - YEAR + np.r_[rng.uniform(0, YEAR, orders), 0.75 * YEAR]
    return Orders(who, at, np.r_[np.exp(rng.normal(np.log(20), 0.4, orders)), 1e7])


def wholesale(rng: np.random.Generator, customers: int = 1500, resellers: int = 15, times: float = 50.0) -> Orders:
    """A shop of small orders; one customer in a hundred orders every week, for many times as much."""
    n, days = customers + resellers, 2 * YEAR
    reseller = np.arange(n) >= customers
    first, gap = rng.uniform(0, days / 3, n), np.where(reseller, 7.0, rng.gamma(2.0, 20.0, n))
    lasts = np.where(reseller, days, rng.exponential(YEAR, n))
    repeats = 1 + rng.poisson(np.clip(np.minimum(lasts, days - first), 0, None) / gap)
    who = np.repeat(np.arange(n), repeats)
    place = np.arange(len(who)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    at = first[who] + np.where(reseller[who], 7.0 * place, rng.random(len(who)) * np.minimum(lasts, days - first)[who])
    at[place == 0] = first
    money = np.exp(rng.normal(np.log(10), 0.4, len(who))) * np.where(reseller[who], times, 1.0)
    keep = at < days
    return Orders(who[keep], END - days + at[keep], money[keep])


def generated(
    orders: Callable[[np.random.Generator], Orders], seed: int, live: int = LIVE, changes: bool = False
) -> Log:
    """The log of these orders, live in the last `live` days."""
    who, at, money = orders(np.random.default_rng(seed))
    by = np.argsort(at, kind="stable")
    seconds, cents = np.floor(at[by] * (DAY // SECOND)).astype(np.int64), np.rint(money[by] * 100).astype(np.int64)
    ids = [f"c{number}" for number in who[by].tolist()]
    frame = _frame(ids, seconds * SECOND, np.maximum(cents, 1) * 100)
    return Log(frame, END - live, END, END - CHANGE if changes else None)


# ---- real ------------------------------------------------------------------------------------------------------------
def cdnow() -> Log:
    """CDNOW (PyPI `lifetimes`, 69,659 purchases), each row its own order: 12 months of history, 6 live."""
    files = importlib.metadata.files("lifetimes") or []
    path = Path(str(next(f for f in files if f.name == "CDNOW_master.txt").locate()))
    rows = [line.split() for line in path.read_text().splitlines()[1:] if line.strip()]
    rows.sort(key=lambda row: row[1])
    day = {d: _day(int(d[:4]), int(d[4:6]), int(d[6:])) for _, d, _, _ in rows}
    times, amount = [day[row[1]] * DAY for row in rows], [int(Decimal(row[3]) * int(UNIT)) for row in rows]
    frame = _frame([row[0] for row in rows], np.array(times), np.array(amount))
    return Log(frame, _day(1998, 1, 1), _day(1998, 7, 1))


def journey() -> Log:
    """The Complete Journey, cleaned as a user's history is: 6 months of history, 6 live."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "journey.parquet"
        complete_journey.write_history(path)
        frame = read([path], {}).frame
    return Log(frame, _day(2017, 7, 1), _day(2018, 1, 1))


def _day(*at: int) -> int:
    return (date(*at) - EPOCH).days


def _frame(customer_id: list[str], occurred_at: Ints, amount: Ints) -> pd.DataFrame:
    """Purchases in time order, numbered from 1, each its own order."""
    number = [str(i) for i in range(1, len(customer_id) + 1)]
    columns = {"event_id": number, "kind": np.int8(PURCHASE), "customer_id": customer_id}
    return pd.DataFrame(columns | {"occurred_at": occurred_at, "order_id": number, "amount": amount})


LOGS: dict[str, Callable[[int], Log]] = {
    "cdnow": lambda _: cdnow(),
    "journey": lambda _: journey(),
    "subscriptions": partial(generated, subscriptions),
    "shop": partial(generated, Shop()),
    "leaving": partial(generated, Shop(leaves=True)),
    "onetime": partial(generated, Shop(once=0.92)),
    "halved": partial(generated, Shop(since=0.5), changes=True),
    "quartered": partial(generated, Shop(since=0.25), changes=True),
    "doubled": partial(generated, Shop(since=2.0), changes=True),
    "cheaper": partial(generated, Shop(cheaper=0.4), changes=True),
    "giant": partial(generated, giant, live=90),
    "wholesale": partial(generated, wholesale),
    "christmas": partial(generated, Shop(days=1065, december=3.0)),  # 35 months
}
