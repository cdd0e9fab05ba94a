"""Dates that stand alone at either end of a history: a typing error there moves its end, or its begin, by years.

Rule: at most 1 row in 1,000 (at least one) that stands farther from all others than 180 days and than half of their
span is asked about, never dropped: only its owner knows. A closure of a year is no such thing.
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
    """How many rows each day has, and the place of one of them."""

    def __init__(self) -> None:
        self.rows: Ints = np.zeros(LAST, np.int64)
        self.places: Ints = np.zeros(LAST, np.int64)

    def add(self, occurred_at: Ints, places: Ints) -> None:
        """occurred_at: us, from 1970 to 2199, any order; places alike (n,)."""
        days = occurred_at // DAY
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
        high = _ends(days[::-1], self.rows, most)
        low = _ends(days[: len(days) - high], self.rows, most)
        return self._told(days[:low], days[low:][:1]), self._told(
            days[len(days) - high :], days[: len(days) - high][-1:]
        )

    def _told(self, days: Ints, nearest: Ints) -> Alone | None:
        if not len(days):
            return None
        rows, place = int(self.rows[days].sum()), int(self.places[days[-1]])
        return Alone(rows, int(days[0]), int(days[-1]), int(nearest[0]), place)


def _ends(days: Ints, rows: Ints, most: int) -> int:
    """How many of the days, from the far end on, stand alone: few rows, and a gap to the others."""
    counted = np.cumsum(rows[days])
    gaps, spans = np.abs(np.diff(days)), np.abs(days[1:] - days[-1:])
    few = (counted[:-1] <= most) & (counted[-1:] - counted[:-1] > 1)
    found = np.flatnonzero(few & (gaps > np.maximum(GAP, spans / 2)))
    return int(found[0]) + 1 if len(found) else 0
