"""An expert that knows rhythms: what customers did who stood where this one stands between its purchases.

A customer migration model: cells by the mean gap between purchase days and the time since the last, in gaps; each keeps
decayed sums of what followed, and believes the customer's own 90-day rate as far as PRIOR examples. Rule: one table for
spend, orders and the chance of any; what is counted is capped, as everything that is learned.
Source: Berger and Nasr, Customer lifetime value, Journal of Interactive Marketing 12 (1998).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.compiled import njit
from models.features import INPUTS, UNIT, laid_out

HALFLIFE = 180.0
DECAY = 2 ** (-1 / HALFLIFE)
PRIOR = 10.0  # examples
ONCE = np.array([7, 15, 30, 60, 90, 180, 335, 365])  # bought on one day: days since; the last two for yearly renewals
GAPS = np.array([0.2, 0.45, 0.8, 1.2, 2.5, 5])  # bought on more: mean gap between purchase days, in horizons
SINCE = np.array([0.25, 0.5, 0.75, 0.95, 1.1, 1.5, 2.5, 5])  # and time since the last, in mean gaps
OFTEN = 3  # purchase days above which a customer's gap is known well
CELLS = len(ONCE) + 1 + 2 * (len(GAPS) + 1) * (len(SINCE) + 1)
SPENT, MONEY, ORDERED, BOUGHT, COUNT = range(5)  # columns of the sums
N90 = INPUTS.index("n90")

Floats = NDArray[np.float64]
Raw = NDArray[np.void]


class Following(NamedTuple):
    """What follows in a horizon, (n,) each: spend in major units, orders, chance of any."""

    spend: Floats
    orders: Floats
    buyers: Floats


def gap_of(raw: Raw) -> Floats:
    """(n,) mean days between purchase days of (n,) RAW; 0 for one day."""
    out = np.empty(len(raw))
    _gaps(laid_out(raw), out)
    return out


def cells(raw: Raw, horizon: int) -> NDArray[np.int64]:
    """(n,) the cell of each of (n,) RAW, 0 to CELLS - 1. horizon: days."""
    out = np.empty(len(raw), np.int64)
    _cells(laid_out(raw), horizon, out)
    return out


def a_day(raw: Raw, usual: float, cap: float) -> Floats:
    """(n,) spend on a purchase day of (n,) RAW, shrunk by two usual days and at most `cap`, major units."""
    out = np.empty(len(raw))
    _days(laid_out(raw), float(usual), float(cap), out)
    return out


class Cadence:
    """usual: spend on a purchase day; cap, most: the largest spend (major units) and number of orders that are learned
    from; all > 0. horizon: days."""

    def __init__(self, horizon: int, usual: float, cap: float, most: float) -> None:
        self.horizon, self.usual, self.cap, self.most = horizon, float(usual), float(cap), float(most)
        self.sums = np.zeros((CELLS, 5))

    def predict_many(self, raw: Raw, x: Floats) -> Following:
        """For (n,) RAW and their inputs (n, len(INPUTS))."""
        following = Following(*np.empty((3, len(raw))))
        cell, money = cells(raw, self.horizon), a_day(raw, self.usual, self.cap)
        bought, count = self.sums[:, BOUGHT].sum(), self.sums[:, COUNT].sum()
        _follow(cell, money, x, self.sums, PRIOR * self.usual, bought, count, *following)
        return following

    def shares(self, raw: Raw, x: Floats) -> Floats:
        """(n, 2): what each spend predicted is the sum of: what others of the cell spent, the customer's own orders."""
        s, money, prior = self.sums[cells(raw, self.horizon)], a_day(raw, self.usual, self.cap), PRIOR * self.usual
        return (money / (s[:, MONEY] + prior))[:, None] * np.stack([s[:, SPENT], prior * x[:, N90]], 1)

    def learn_many(self, raw: Raw, spent: Floats, ordered: Floats) -> None:
        """One day: forgets, then counts what followed n openings; n may be 0."""
        self.sums *= DECAY
        cell, spent, ordered = cells(raw, self.horizon), np.minimum(spent, self.cap), np.minimum(ordered, self.most)
        for column, values in enumerate(
            (spent, a_day(raw, self.usual, self.cap), ordered, ordered > 0, np.ones(len(cell)))
        ):
            self.sums[:, column] += np.bincount(cell, values, CELLS)

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers."""
        plain = {"horizon": self.horizon, "usual": self.usual, "cap": self.cap, "most": self.most}
        return plain | {"sums": self.sums.tolist()}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The model that gave this snapshot, bit for bit; ValueError for another table."""
        new = cls(state["horizon"], state["usual"], state["cap"], state["most"])
        sums = np.array(state["sums"], np.float64)
        if sums.shape != new.sums.shape:
            raise ValueError(f"cadence: a table of {sums.shape}, not of {new.sums.shape}")
        new.sums = sums
        return new


@njit
def _gap(row: Any) -> float:
    gap: float = max(float(row.tenure) - row.recency, 0.0) / max(row.days - 1.0, 1.0)
    return gap


@njit
def _below(edges: Any, unit: float, value: float) -> int:
    """How many of these ascending edges, in units, are below a value."""
    found = 0
    while found < len(edges) and edges[found] * unit < value:
        found += 1
    return found


@njit
def _cells(raw: Any, horizon: int, out: Any) -> None:
    per_gap = len(SINCE) + 1
    for i in range(len(raw)):
        row = raw[i]
        gap, recency = _gap(row), max(row.recency, 0)
        if row.days < 2:
            out[i] = _below(ONCE, 1, recency)
            continue
        rhythm = _below(GAPS, horizon, gap) * per_gap + _below(SINCE, 1, recency / max(gap, 1.0))
        out[i] = len(ONCE) + 1 + (row.days > OFTEN) * (len(GAPS) + 1) * per_gap + rhythm


@njit
def _gaps(raw: Any, out: Any) -> None:
    for i in range(len(raw)):
        out[i] = _gap(raw[i])


@njit
def _days(raw: Any, usual: float, cap: float, out: Any) -> None:
    for i in range(len(raw)):
        spend = max(raw[i].spend / UNIT, 0.0)
        out[i] = min((2 * usual + spend) / (2 + max(raw[i].days, 0)), cap)


@njit
def _follow(
    cell: Any, money: Any, x: Any, sums: Any, prior: float, bought: float, count: float,
    spend: Any, orders: Any, buyers: Any,
) -> None:  # fmt: skip
    """prior: PRIOR usual days; bought, count: of all cells, whose buyers are those of a cell without examples."""
    for i in range(len(cell)):
        s, n90 = sums[cell[i]], x[i, N90]
        share = (bought + PRIOR * (n90 / (1 + n90))) / (count + PRIOR)
        spend[i] = money[i] * ((s[SPENT] + prior * n90) / (s[MONEY] + prior))
        orders[i] = (s[ORDERED] + PRIOR * n90) / (s[COUNT] + PRIOR)
        buyers[i] = (s[BOUGHT] + PRIOR * share) / (s[COUNT] + PRIOR)
