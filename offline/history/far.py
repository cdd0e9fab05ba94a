"""Dates that stand alone at either end of a history: a typing error there moves its end, or its begin, by years.

Rule: what stands farther from all others than 180 days and than half of their span is asked about, never dropped: only
its owner knows. It is at most 1 row in 1,000 (at least one), for a closure of a year is no such thing. What programs
write where they know no date is more: one moment beside more than 10 other days, the first of 1970, or less than half
of the rows, 3 years and 5 times their span away from the others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.events import END, SECOND
from models.rows import DAY
from offline.history.judge import FILE

RARE, GAP = 1_000, 180  # rows among which one may stand alone; days
OTHERS = 10  # days beside which one moment is none of a shop that opens one day a year
LONG, TIMES = 1_095, 5  # days, and spans of all others, beyond which few rows are none of a shop that was closed
LAST = END * SECOND // DAY  # exclusive

Ints = NDArray[np.int64]


class Alone(NamedTuple):
    """The rows of the days [first, last]; nearest: the day of the nearest other row; place: of one of them."""

    rows: int
    first: int
    last: int
    nearest: int
    place: int

    def question(self, files: Mapping[int, Path]) -> str:
        """What to ask their owner. files: by number, as in a place.

        >>> Alone(1, 0, 0, 700, FILE + 8).question({1: Path("till.csv")}).partition(";")[0]
        '1 row stands alone, 700 days before all others: 1970-01-01 (row 8 of till.csv)'
        """
        after = self.first > self.nearest
        number, row = divmod(self.place, FILE)
        gap = self.first - self.nearest if after else self.nearest - self.last
        out, meant = (self.nearest + 1, self.last + 1) if after else (self.nearest, self.first)
        option = "--until" if after else "--from"
        dates = " to ".join(map(date_of, sorted({self.first, self.last})))
        rows, they, are = (
            ("1 row stands", "it", "it is") if self.rows == 1 else (f"{self.rows:,} rows stand", "them", "they are")
        )
        return (
            f"{rows} alone, {gap:,} days {'after' if after else 'before'} all others: {dates} (row {row} of"
            f" {files[number]}); say {option} {date_of(out)} to leave {they} out,"
            f" {option} {date_of(meant)} if {are} meant"
        )


def date_of(day: int) -> str:
    return str(np.datetime64(day, "D"))


class Days:
    """How many rows each day has, the place and the moment of one of them, and whether others have another moment."""

    def __init__(self) -> None:
        self.rows: Ints = np.zeros(LAST, np.int64)
        self.places: Ints = np.zeros(LAST, np.int64)
        self.moments: Ints = np.zeros(LAST, np.int64)
        self.several = np.zeros(LAST, np.bool_)

    def add(self, occurred_at: Ints, places: Ints) -> None:
        """occurred_at: us, from 1970 to 2199, any order; places alike (n,)."""
        days = occurred_at // DAY
        fresh = self.rows[days] == 0
        self.moments[days[fresh]] = occurred_at[fresh]
        self.several[days[occurred_at != self.moments[days]]] = True
        self.rows += np.bincount(days, minlength=LAST)
        self.places[days] = places

    def alone(self) -> tuple[Alone | None, Alone | None]:
        """Who stands alone (before all others, after all others).

        >>> days, usual = Days(), np.arange(700, 1_000)
        >>> days.add(np.append(usual, [0, 19_000]) * DAY, np.arange(302))
        >>> [(each.rows, each.first, each.nearest, each.place) for each in days.alone() if each]
        [(1, 0, 700, 300), (1, 19000, 999, 301)]
        """
        days = np.flatnonzero(self.rows)
        most = max(1, int(self.rows.sum()) // RARE)
        epoch = self._epoch(days)
        high = self._ends(days[epoch:][::-1], most)
        low = epoch + self._ends(days[epoch : len(days) - high], most)
        return self._told(days[:low], days[low:][:1]), self._told(
            days[len(days) - high :], days[: len(days) - high][-1:]
        )

    def _told(self, days: Ints, nearest: Ints) -> Alone | None:
        if not len(days):
            return None
        rows, place = int(self.rows[days].sum()), int(self.places[days[-1]])
        return Alone(rows, int(days[0]), int(days[-1]), int(nearest[0]), place)

    def _epoch(self, days: Ints) -> int:
        """Of the days, in order, how many are the first of 1970 as a time that was 0."""
        zero = len(days) > 1 and days[0] == 0 and not self.several[0] and int(self.rows[days[1:]].sum()) > 1
        return int(zero and days[1] > GAP)

    def _ends(self, days: Ints, most: int) -> int:
        """How many of the days, from the far end on, stand alone: few rows, and a gap to the others."""
        counted = np.cumsum(self.rows[days])
        far, others = counted[:-1], counted[-1:] - counted[:-1]
        gaps, spans = np.abs(np.diff(days)), np.abs(days[1:] - days[-1:])
        once = np.arange(len(far)) < int(len(days) > 0 and not self.several[days[0]])
        fewer = far < others
        made_up = (fewer & once & (len(days) - 1 > OTHERS)) | (fewer & (gaps > np.maximum(LONG, TIMES * spans)))
        found = np.flatnonzero(((far <= most) | made_up) & (others > 1) & (gaps > np.maximum(GAP, spans / 2)))
        return int(found[0]) + 1 if len(found) else 0
