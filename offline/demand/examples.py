"""Examples of demand: what was known when a window of `horizon` days opened, and what was bought in it.

The rule of a cut: an example that closes on day d has the label window [d - horizon, d). It teaches if d <= cut, it
judges if its window begins in the horizon from the cut on, and if its window holds the cut it does neither (purged):
its features belong to the one side, its label to the other. Source: Lopez de Prado, Advances in Financial Machine
Learning, 7.4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from models.features import INPUTS, UNIT, inputs_many
from models.rows import ENTRY, RAW, whole
from models.scales import usual_day
from offline.errors import OfflineError
from offline.history.fold import Day, Folded

Target = Literal["spend", "orders"]
TARGETS: tuple[Target, ...] = ("spend", "orders")
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RAW_COLUMNS = ("days", "tenure", "recency")  # beside INPUTS
COLUMNS = (*INPUTS, *RAW_COLUMNS)


class LeakError(OfflineError):
    """Examples whose label window is not wholly on their side of a cut."""


@dataclass(frozen=True, eq=False)
class Examples:
    """day (n,): on which each closes, ascending; raw (n,) of RAW: its features as the window opened; label (n,): spend
    in major units, or orders, both at least 0. usual: major units."""

    day: Ints
    raw: NDArray[Any]
    label: Floats
    horizon: int
    usual: float

    @classmethod
    def of(cls, days: Sequence[Day], target: Target, horizon: int, usual: float) -> Self:
        """Those that closed on these days; a customer's first landmark closes none."""
        closed = [(entries, entries["open"] == 1) for entries in (np.empty(0, ENTRY), *(each[2] for each in days))]
        raw = np.concatenate([whole(entries["then"])[which] for entries, which in closed]).view(RAW)
        day = np.concatenate([entries["day"][which] for entries, which in closed])
        return cls(day.astype(np.int64), raw, labels(days, target), horizon, usual)

    @cached_property
    def x(self) -> Floats:
        """(n, COLUMNS): what a regression sees of them."""
        return table(self.raw, self.horizon, self.usual)

    def __len__(self) -> int:
        return len(self.day)

    def part(self, which: Bools | Ints) -> "Examples":
        """Those at these places, or under this mask."""
        return Examples(self.day[which], self.raw[which], self.label[which], self.horizon, self.usual)


def labels(days: Sequence[Day], target: Target) -> Floats:
    """(n,) of the examples that closed on these days, in the target's unit."""
    name, unit = ("label", UNIT) if target == "spend" else ("orders", 1.0)
    closed = [entries[name][entries["open"] == 1] for entries in (np.empty(0, ENTRY), *(each[2] for each in days))]
    return np.concatenate(closed) / unit


def table(raw: NDArray[Any], horizon: int, usual: float) -> Floats:
    """(n, len(COLUMNS)) from (n,) of RAW: the inputs of the served models, and the counts behind them."""
    return np.column_stack([inputs_many(raw, horizon, usual), *(np.maximum(raw[c], 0) for c in RAW_COLUMNS)])


def split(day: Ints, cut: int, horizon: int) -> tuple[Bools, Bools]:
    """(those that teach, those that judge) at a cut, masks (n,) over the days on which examples close.

    >>> day = np.array([10, 11, 39, 40, 69, 70])
    >>> [mask.astype(int).tolist() for mask in split(day, 10, 30)]
    [[1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]]
    """
    return day <= cut, (day >= cut + horizon) & (day < cut + 2 * horizon)


def check(teach: Ints, judge: Ints, cut: int, horizon: int) -> None:
    """Raises LeakError if a label window of these closing days crosses the cut, from either side."""
    crossing = int((teach > cut).sum() + (judge < cut + horizon).sum())
    if crossing:
        raise LeakError(
            f"{crossing:,} examples hold the cut of day {cut} in their label window of {horizon} days: purge them"
        )


def cuts_of(folded: Folded, horizon: int, most: int) -> list[int]:
    """The last cuts of a history, a horizon apart, latest first; none where it is too short to judge anything.

    Each judges windows that end by the cut-off, and learns from one window at least.
    """
    first = folded.days[0][0] if folded.days else folded.day
    return [cut for i in range(most) if (cut := folded.day - (2 + i) * horizon) > first + horizon]


def learnable(folded: Folded, horizon: int) -> None:
    """Raises OfflineError where no customer has passed a landmark."""
    if not folded.days:
        raise OfflineError(f"no customer's history spans a landmark: more than {horizon} days of purchases are needed")


def examples_of(folded: Folded, target: Target, horizon: int) -> tuple[Examples, float]:
    """(all examples of a history, spend on a usual purchase day in major units); OfflineError where none closed."""
    learnable(folded, horizon)
    raw = folded.raw
    usual = usual_day(raw["spend"] / UNIT, raw["days"])
    examples = Examples.of(folded.days, target, horizon, usual)
    if not len(examples):
        raise OfflineError(
            f"no example of {horizon} days has closed: more than {2 * horizon} days of purchases are needed"
        )
    return examples, usual
