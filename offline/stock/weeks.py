"""Units sold by product and week, and the examples that pooled regressions of them learn from.

Weeks count backwards from the cut-off midnight, so the last one is whole; so is the first, for days before it are left
out. Rule: what is known at the opening of a window comes from the weeks before it alone; and there every product is
measured in its own usual week, so that pieces, kilos and thousandths of a gallon can stand beside each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.kinds import PURCHASE
from offline.errors import OfflineError
from offline.history.values import DAY
from offline.stock import intermittent
from offline.stock.intermittent import Floats, Ints

WEEK = 7 * DAY
UNIT = 10_000  # of quantities
QUARTER = 13  # weeks
INPUTS = ("last_period", "own_rate", "decayed_rate", "seasonal_naive", "tsb")  # forecasts that are learned from


class StockError(OfflineError):
    """Demand by product that cannot be predicted."""


@dataclass(frozen=True, eq=False)
class Weeks:
    """units (products, weeks): sold, returns not taken off, oldest week first, which holds a sale; products: ascending;
    start (products,): the week of each one's first sale; end: the day number of the cut-off."""

    units: Floats
    products: list[str]
    start: Ints
    end: int

    @classmethod
    def of(cls, history: pd.DataFrame, end: int) -> "Weeks":
        """From a cleaned history whose events all come before the cut-off, midnight `end`. Raises StockError."""
        bought = history["kind"].eq(PURCHASE) & history["product_id"].notna() & history["quantity"].gt(0)
        lines = history.loc[bought, ["product_id", "occurred_at", "quantity"]]
        back = (end * DAY - 1 - lines["occurred_at"].to_numpy()) // WEEK
        most = (end - int(lines["occurred_at"].min()) // DAY) // 7 if len(lines) else 0
        lines, back = lines[back < most], back[back < most]
        if lines.empty:
            raise StockError("no product was bought in a whole week before the cut-off: nothing to predict")
        codes, products = pd.factorize(lines["product_id"], sort=True)
        weeks = int(back.max()) + 1
        sums = np.bincount(codes * weeks + weeks - 1 - back, lines["quantity"], len(products) * weeks)
        units = sums.reshape(len(products), weeks) / UNIT
        return cls(units, products.tolist(), (units > 0).argmax(1), end)

    def day(self, week: int) -> int:
        """The day number on which a week opens."""
        return self.end - 7 * (len(self.units[0]) - week)


@dataclass(frozen=True, eq=False)
class Opening:
    """A window of some weeks as it opens in `week`: the products that had been sold by then, and what follows.

    rows (n,): their places in `Weeks`; usual (n,): units of their usual week. In usual weeks: forecasts (n,) by model,
    x (n, inputs) for regressions (the last two in weeks), naive_error (n,), and what is sold in the window (n,).
    """

    week: int
    rows: Ints
    usual: Floats
    forecasts: dict[str, Floats]
    x: Floats
    naive_error: Floats
    sold: Floats

    @classmethod
    def of(cls, weeks: Weeks, week: int, horizon: int) -> "Opening":
        rows = np.flatnonzero(weeks.start < week)
        start, usual = weeks.start[rows], intermittent.usual(weeks.units[rows, :week])
        known = weeks.units[rows, :week] / usual[:, None]
        forecasts = intermittent.forecasts(known, start, horizon)
        quarter = known[:, -QUARTER:].sum(1) * horizon / min(QUARTER, week)
        silent = (known[:, ::-1] > 0).argmax(1)
        x = np.column_stack([*(forecasts[name] for name in INPUTS), quarter, week - start, silent])
        sold = weeks.units[rows, week : week + horizon].sum(1) / usual
        return cls(week, rows, usual, forecasts, x, intermittent.naive_error(known, start), sold)


def openings(weeks: Weeks, horizon: int) -> list[Opening]:
    """A horizon apart, oldest first; the last one opens at the cut-off and nothing is known of what follows."""
    last = weeks.units.shape[1]
    return [Opening.of(weeks, week, horizon) for week in range((last - 1) % horizon + 1, last + 1, horizon)]


def together(taught: Sequence[Opening], horizon: int, most: int) -> tuple[Ints, Floats, Floats]:
    """(week on which each example closes (n,), x, units sold in usual weeks (n,)) of the latest `most` examples."""
    closing = np.concatenate([np.full(len(each.rows), each.week + horizon) for each in taught])
    x, sold = np.concatenate([each.x for each in taught]), np.concatenate([each.sold for each in taught])
    return closing[-most:], x[-most:], sold[-most:]
