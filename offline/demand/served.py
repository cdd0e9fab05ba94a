"""The demand that the stream serves, of a history: as of the cut-off, and as it would have been from a cut on.

Rule: nothing but `models.model` predicts here, learning on daily as it does in the stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.clusters import Clusters
from models.model import Model, fit_history
from models.rows import ENTRY
from models.segments import Segments
from offline.demand.examples import Floats, Target
from offline.history.fold import Day, Folded

BROWSED = ("v7", "c7")  # of RAW: views and carts, decayed
EVERYBODY = Segments(), Clusters.one()  # demand does not look at them


@dataclass(frozen=True, eq=False)
class Stream:
    """What the stream would have served from a cut on: spend on a usual purchase day as of the cut, major units, and
    the predictions and the bound of spend of each example that opens in the horizon from the cut on, in the order of
    `Examples`."""

    cut: int
    usual: float
    predictions: dict[Target, Floats]
    high: Floats


def stream(days: Sequence[Day], cut: int, horizon: int) -> Stream:
    """The model as of the cut learns on, a day at a time; each example is predicted by the model of its opening day."""
    learning = fit_history([day for day in days if day[0] <= cut], cut, *EVERYBODY, horizon)
    by_day = {day: (names, entries) for day, names, entries in days}
    none: tuple[list[str], Any] = ([], np.empty(0, ENTRY))
    spend, orders, high = [], [], []
    for opening in range(cut, cut + horizon):
        if opening > cut:
            learning.learn_day(opening, *by_day.get(opening, none))
        closing = by_day.get(opening + horizon, none)[1]
        served = learning.predict_many(closing[closing["open"] == 1]["then"])
        spend.append(served.demand)
        orders.append(served.orders)
        high.append(served.high)
    predictions: dict[Target, Floats] = {"spend": np.concatenate(spend), "orders": np.concatenate(orders)}
    return Stream(cut, learning.usual, predictions, np.concatenate(high))


def unseen(days: Sequence[Day]) -> list[Day]:
    """The same days of customers whom nobody saw browsing."""
    blind = [(day, names, entries.copy()) for day, names, entries in days]
    for _, _, entries in blind:
        for side in ("now", "then"):
            for name in BROWSED:
                entries[side][name] = 0
    return blind


def model(folded: Folded, horizon: int) -> Model:
    """What serves demand as of the cut-off."""
    return fit_history(folded.days, folded.day, *EVERYBODY, horizon)
