"""Sales that stand in two sources under two ids: exports of the same months, a shop's file beside its own stream.

An id that is known, or a row that is equal, is the same event wherever it stands. Here counted are purchases and
returns of a later source that agree with one of an earlier source in customer, type, amount and day (UTC), and not in
their id. Rule: chance makes a few; more are an overlap, and each of its sales would be counted twice.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from models.kinds import TRADED
from models.rows import DAY
from offline.history.values import Ints

SHARE, FEW = 0.03, 10  # of the sales, and sales, above which it is no chance
KEY = ["customer_id", "kind", "amount", "day"]


class Overlap(NamedTuple):
    """again: how many agree; of: how many sales the later sources have on the days from first to last (day numbers), on
    which the first and the last of those fall, and `whole`, on all days."""

    again: int
    of: int
    whole: int
    first: int
    last: int

    @property
    def chance(self) -> bool:
        """Are they so few that chance may have made them?

        >>> [Overlap(n, 60, 2_000, 0, 9).chance for n in (9, 11)], Overlap(2, 2, 50, 0, 1).chance
        ([True, False], False)
        """
        return self.again <= SHARE * self.whole and (self.again <= FEW or self.again <= SHARE * self.of)

    def __str__(self) -> str:
        """
        >>> print(Overlap(11, 60, 2_000, 0, 9))
        11 of 60 purchases and returns from 1970-01-01 to 1970-01-10
        """
        return (
            f"{self.again:,} of {self.of:,} purchases and returns from {self.begins} to {np.datetime64(self.last, 'D')}"
        )

    @property
    def begins(self) -> str:
        """The first day, as a date."""
        return str(np.datetime64(self.first, "D"))


def by_day(events: pd.DataFrame, source: Ints) -> pd.DataFrame:
    """Of each day (index) that later sources sold on, how many of their sales agree (`again`) and how many there are
    (`of`). events: columns customer_id, kind, amount, occurred_at and event_id; source (n,): of each row, from 0 on.

    All rows of a customer must be among them; tables of different customers add up (`found`).
    """
    sold = (events["kind"].isin(TRADED) & events["customer_id"].notna()).to_numpy()
    table = events.loc[sold, ["customer_id", "kind", "amount", "event_id"]]
    table = table.assign(day=events["occurred_at"].to_numpy()[sold] // DAY, source=source[sold], again=False)
    table = table.reset_index(drop=True)
    alike = table[table.duplicated(KEY, keep=False)]
    earliest = alike.groupby(KEY, sort=False)["source"].transform("min")
    known = alike.groupby([*KEY, "event_id"], sort=False)["source"].transform("min")
    met = (alike["source"] > earliest) & (alike["source"] == known)
    table.loc[met.index[met], "again"] = True
    return table[table["source"] > 0].groupby("day").agg(again=("again", "sum"), of=("again", "size"))


def found(days: Iterable[pd.DataFrame]) -> Overlap | None:
    """What these tables of `by_day` say together; None where no sale agrees."""
    tables = [*days]
    whole = pd.concat(tables).groupby(level=0).sum() if tables else pd.DataFrame({"again": []})
    met = whole.index[whole["again"] > 0]
    if not len(met):
        return None
    first, last = int(met[0]), int(met[-1])
    among = int(whole.loc[first:last, "of"].sum())
    return Overlap(int(whole["again"].sum()), among, int(whole["of"].sum()), first, last)
