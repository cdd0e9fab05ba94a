"""Retention: of those who first bought in one month, the share that bought in each month after it.

Months are those of the calendar; one that was not over at the cut-off says nothing yet. A purchase of the history
counts whether or not it was returned (cleaning takes out those taken back whole); returns, views and carts do not.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.kinds import PURCHASE
from models.rows import DAY


@dataclass(frozen=True, eq=False)
class Cohorts:
    """Index of both: the month of the first purchase, such as 1997-01. customers: how many; shares: (cohorts, months
    since) in 0..1, column 0 always 1, NaN for months that were not over at the cut-off."""

    customers: pd.Series
    shares: pd.DataFrame

    def mean(self, month: int) -> float:
        """The share that bought in this month of theirs, of all customers old enough; NaN where nobody is."""
        known = self.shares[month].dropna() if month in self.shares else pd.Series(dtype=float)
        return float(np.average(known, weights=self.customers[known.index])) if len(known) else float("nan")


def cohorts(frame: pd.DataFrame, day: int) -> Cohorts:
    """Of a history frame (`offline.history`) with its cut-off at midnight `day` and at least one purchase."""
    bought = frame.loc[frame["kind"] == PURCHASE, ["customer_id", "occurred_at"]]
    visits = bought[["customer_id"]].assign(month=_months(bought["occurred_at"] // DAY)).drop_duplicates()
    first = visits.groupby("customer_id")["month"].transform("min")
    counts = visits.assign(first=first, since=visits["month"] - first).groupby(["first", "since"]).size().unstack()
    started, over = counts.index.to_numpy(), int(_months(day)) - 1  # the last month that is over
    counts = counts.reindex(columns=range(max(1, over - int(started.min()) + 1))).fillna(0.0)
    since = counts.columns.to_numpy()
    known = (started[:, None] + since <= over) | (since == 0)
    names = pd.Index([str(np.datetime64(m, "M")) for m in started.tolist()], name="first bought in")
    shares = counts.div(counts[0], axis=0).where(known)
    return Cohorts(counts[0].astype(np.int64).set_axis(names), shares.set_axis(names))


def _months(day: ArrayLike) -> NDArray[np.int64]:
    """Months since 1970-01 of day numbers."""
    return np.asarray(day, np.int64).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
