"""The synthetic history of the scale benchmark: 18 months of a shop, as a CSV file.

    python -m benchmarks.history FILE [--events 10000000]

A customer for every ten events, with one order at least. How often somebody comes is gamma distributed and ends after
an exponential lifetime, so a few customers make most events. A visit is some views, perhaps a cart, perhaps an order
of several lines; a few lines come back, and stand beside their order. Rule: a day is drawn and written at a time, so
memory does not grow with the events, and a seed always gives the same bytes.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

EVENTS, A_CUSTOMER = 10_000_000, 10
FIRST, DAYS, A_DAY = 19_358, 547, 86_400  # 2023-01-01 to 2024-06-30; seconds
SHAPE, LIFETIME = 0.35, 150.0  # of the gamma distribution of rates; days until a customer leaves, on average
TYPES = ("view", "cart", "purchase", "return")
VIEWS, CARTS, ORDERS, LINES = 2.5, 0.35, 0.4, 1.6  # a visit: views; shares with a cart, an order; lines of an order
RETURNS, RETURNED_AFTER = 0.03, 12  # share of the lines that come back, and days until then
VISIT = VIEWS + CARTS + ORDERS * LINES * (1 + RETURNS)  # events, on average
PRODUCTS, PAUSE = 20_000, 90  # pause: seconds between two events of a visit
Ints = NDArray[np.int64]


def days(events: int, seed: int = 1) -> Iterator[pa.Table]:
    """The rows of each day, about `events` in all."""
    rng = np.random.default_rng(seed)
    n = events // A_CUSTOMER
    joins = np.sort(rng.integers(DAYS, size=n))
    leaves = joins + rng.exponential(LIFETIME, n)
    rates, names = rng.gamma(SHAPE, size=n), rng.permutation(n)
    living = np.array([np.count_nonzero((joins < day) & (leaves > day)) for day in range(DAYS)])
    firsts = n * (VISIT + (1 - ORDERS) * LINES * (1 + RETURNS))  # events of everybody's first visit
    upto = ((events - firsts) / VISIT * np.cumsum(living) / living.sum()).astype(np.int64)  # visits beside these
    visits = np.diff(upto, prepend=0)
    for day in range(DAYS):
        old, new = np.searchsorted(joins, [day, day + 1])
        weight = np.cumsum(rates[:old] * (leaves[:old] > day))
        again = np.searchsorted(weight, rng.random(visits[day]) * weight[-1]) if visits[day] else visits[:0]
        visitor = rng.permutation(np.concatenate([again, np.arange(old, new)]))
        yield _rows(rng, day, names[visitor], visitor >= old)


def _rows(rng: np.random.Generator, day: int, customer: Ints, buys: NDArray[np.bool_]) -> pa.Table:
    """The events of a day's visits, one visitor each; who `buys` does so for certain."""
    n = len(customer)
    lines = np.where(buys | (rng.random(n) < ORDERS), rng.geometric(1 / LINES, n), 0)
    sizes = np.column_stack([rng.geometric(1 / VIEWS, n), rng.random(n) < CARTS, lines, rng.binomial(lines, RETURNS)])
    visit, kind = np.repeat(np.arange(n), sizes.sum(1)), np.repeat(np.tile(np.arange(4), n), sizes.ravel())
    row, begins = np.arange(len(visit)), np.sort(rng.integers(A_DAY, size=n))
    second = (FIRST + day) * A_DAY + begins[visit] + PAUSE * (row - np.searchsorted(visit, visit))
    second += (kind == 3) * RETURNED_AFTER * A_DAY
    of = np.where(kind == 3, row - lines[visit], row)  # a line that comes back is one that was bought
    product = (PRODUCTS * rng.random(len(row)) ** 3).astype(np.int64)[of]
    quantity, cents = rng.geometric(0.8, len(row))[of], (100 * rng.lognormal(3, 0.8, len(row))).astype(np.int64)[of] + 1
    money = pa.array(kind < 2)  # views and carts have none
    order = _named("o", day * 1_000_000 + visit)
    columns = {
        "event_type": pa.array(TYPES).take(pa.array(kind)),
        "customer_id": _named("c", customer[visit]),
        "occurred_at": pa.array(second).cast(pa.timestamp("s")),
        "order_id": pc.if_else(money, None, order),
        "product_id": _named("p", product),
        "quantity": pc.if_else(money, None, pa.array(quantity)),
        "unit_price": pc.if_else(money, None, pa.array(cents / 100)),
    }
    return pa.table(columns).filter(pa.array(second < (FIRST + DAYS) * A_DAY))


def _named(letter: str, numbers: Ints) -> pa.Array:
    return pc.binary_join_element_wise(letter, pa.array(numbers).cast(pa.string()), "")


def write(path: Path, events: int = EVENTS, seed: int = 1) -> int:
    """Writes the CSV file; returns its number of rows."""
    written = 0
    options = pyarrow.csv.WriteOptions(quoting_style="none")
    tables = days(events, seed)
    first = next(tables)
    with pyarrow.csv.CSVWriter(path, first.schema, write_options=options) as file:
        for table in (first, *tables):
            file.write_table(table)
            written += len(table)
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--events", type=int, default=EVENTS, help="about so many")
    given = parser.parse_args()
    print(f"{write(given.file, given.events):,} rows")
