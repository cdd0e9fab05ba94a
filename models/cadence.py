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

from models.features import INPUTS, UNIT

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
    span = np.maximum(raw["tenure"].astype(np.float64) - raw["recency"], 0.0)
    gap: Floats = span / np.maximum(raw["days"].astype(np.float64) - 1, 1.0)
    return gap


def cells(raw: Raw, horizon: int) -> NDArray[np.int64]:
    """(n,) the cell of each of (n,) RAW, 0 to CELLS - 1. horizon: days."""
    recency, gap, per_gap = np.maximum(raw["recency"], 0), gap_of(raw), len(SINCE) + 1
    rhythm = np.searchsorted(GAPS * horizon, gap) * per_gap + np.searchsorted(SINCE, recency / np.maximum(gap, 1.0))
    often = (raw["days"] > OFTEN) * (len(GAPS) + 1) * per_gap
    found: NDArray[np.int64] = np.where(raw["days"] < 2, np.searchsorted(ONCE, recency), len(ONCE) + 1 + often + rhythm)
    return found


def a_day(raw: Raw, usual: float, cap: float) -> Floats:
    """(n,) spend on a purchase day of (n,) RAW, shrunk by two usual days and at most `cap`, major units."""
    spend = np.maximum(raw["spend"] / UNIT, 0.0)
    money: Floats = np.minimum((2 * usual + spend) / (2 + np.maximum(raw["days"].astype(np.int64), 0)), cap)
    return money


class Cadence:
    """usual: spend on a purchase day; cap, most: the largest spend (major units) and number of orders that are learned
    from; all > 0. horizon: days."""

    def __init__(self, horizon: int, usual: float, cap: float, most: float) -> None:
        self.horizon, self.usual, self.cap, self.most = horizon, float(usual), float(cap), float(most)
        self.sums = np.zeros((CELLS, 5))

    def predict_many(self, raw: Raw, x: Floats) -> Following:
        """For (n,) RAW and their inputs (n, len(INPUTS))."""
        s, money, n90 = self.sums[cells(raw, self.horizon)], a_day(raw, self.usual, self.cap), x[:, N90]
        bought, count = self.sums[:, BOUGHT].sum(), self.sums[:, COUNT].sum()
        share = (bought + PRIOR * (n90 / (1 + n90))) / (count + PRIOR)  # of all; without examples that of the own rate
        return Following(
            money * ((s[:, SPENT] + PRIOR * self.usual * n90) / (s[:, MONEY] + PRIOR * self.usual)),
            (s[:, ORDERED] + PRIOR * n90) / (s[:, COUNT] + PRIOR),
            (s[:, BOUGHT] + PRIOR * share) / (s[:, COUNT] + PRIOR),
        )

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
