"""Segments: a rule on three facts of a customer, true of each who bears a segment's name.

The facts: on how many days they bought, how long they have been silent in their own usual gaps, what they spent. A fit
finds three numbers, which stand until the next publish: so a customer moves only by what they do or do not do. A
number means one segment for ever; its name may be another language's. Nobody is late before the own mean gap has
passed: some pay yearly.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.compiled import njit
from models.features import UNIT, silence_many

NAMES = ("Champions", "Loyal", "Promising", "New", "At risk", "One-time", "Lost")
CHAMPIONS, LOYAL, PROMISING, NEW, AT_RISK, ONE_TIME, LOST = range(len(NAMES))
FRESH, LONG = 14, 90  # days: whose first purchase is newer is new, whose last is newer is not lost, whatever their gaps
USUAL, LATE = 90.0, 2.0  # of a shop where nobody came back yet


class Segments:
    """The rule with the numbers of a shop.

    gap: the shop's usual gap between two purchase days, days, > 0; late: usual gaps of silence beyond which a customer
    is late, > 0; top: spend of a champion, 1/10,000 of the major unit, 1 to 2**63 - 1; names: of the segments, by
    number; sizes: customers of each when it was fitted. ValueError where they do not fit together.
    """

    def __init__(
        self,
        gap: float = USUAL,
        late: float = LATE,
        top: int = 1,
        names: Sequence[str] = NAMES,
        sizes: Sequence[int] = (0,) * len(NAMES),
    ) -> None:
        if not 0 < top < 1 << 63:
            raise ValueError(f"segments: a champion's spend of {top} is none of 1 to 2**63 - 1")
        self.gap, self.late, self.top = float(gap), float(late), int(top)
        self.names, self.sizes = list(names), [int(n) for n in sizes]
        if not (0 < self.gap < np.inf and 0 < self.late < np.inf):
            raise ValueError(f"segments: a usual gap of {gap} days and {late} of them are no numbers above 0")
        if len(set(self.names)) != len(NAMES) or len(self.sizes) != len(NAMES):
            raise ValueError(f"segments: there are {len(NAMES)}, each with a name of its own and a size")

    def predict_many(self, raw: NDArray[np.void]) -> NDArray[np.int64]:
        """(n,) numbers of the segments of (n,) RAW."""
        out = np.empty(len(raw), np.int64)
        days, tenure, recency, spend = (np.ascontiguousarray(raw[of]) for of in ("days", "tenure", "recency", "spend"))
        _numbers(days, tenure, recency, spend, silence_many(raw, self.gap), self.late, self.top, out)
        return out

    def definitions(self) -> list[str]:
        """What is true of everybody in a segment, by number, in words and with the numbers of the shop."""
        late, lost, new = f"{self.late:.2f}", f"{2 * self.late:.2f}", max(FRESH, int(self.gap))
        often, spent = "bought on 3 days or more", f"{self.top / UNIT:,.2f}"
        in_time = f"silent for at most {late} usual gaps, or for no longer than the own mean gap"
        return [
            f"{often}, {in_time}, spent {spent} or more",
            f"{often}, {in_time}, spent less than {spent}",
            f"bought on 2 days, {in_time}",
            f"bought on one day, at most {new} days ago",
            f"bought on 2 days or more, silent for more than {late} usual gaps and the own mean gap",
            f"bought on one day, more than {new} days ago",
            f"silent for more than {lost} usual gaps, {LONG} days and the own mean gap",
        ]

    def usual(self) -> str:
        """What a usual gap is, in words."""
        return f"usual gap: the mean of the own gaps between purchase days and one of the shop's {self.gap:.1f} days"

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers and names."""
        return {name: getattr(self, name) for name in ("gap", "late", "top")} | {
            "names": list(self.names),
            "sizes": list(self.sizes),
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The rule that gave this snapshot."""
        return cls(**{name: state[name] for name in ("gap", "late", "top", "names", "sizes")})


def number(days: int, tenure: int, recency: int, spend: int, silent: float, late: float, top: int) -> int:
    """The segment of one customer. days on which they bought; tenure, recency: days since the first and the last
    purchase; silent: usual gaps since the last; the others as `Segments` has them.

    >>> NAMES[number(5, 200, 10, 900_000, 0.3, 2.0, 500_000)], NAMES[number(1, 10, 10, 900_000, 5.0, 2.0, 500_000)]
    ('Champions', 'New')
    """
    overdue = recency > max(0, tenure - recency) / max(1, days - 1)  # longer than the own mean gap
    if silent > 2 * late and recency > LONG and overdue:
        return LOST
    if days < 2:
        return NEW if silent <= 1 or recency <= FRESH else ONE_TIME
    if silent > late and overdue:
        return AT_RISK
    if days < 3:
        return PROMISING
    return CHAMPIONS if spend >= top else LOYAL


_number = njit(number)


@njit
def _numbers(
    days: Any, tenure: Any, recency: Any, spend: Any, silent: Any, late: float, top: int, out: Any
) -> None:  # fmt: skip
    for i in range(len(out)):
        out[i] = _number(days[i], tenure[i], recency[i], spend[i], silent[i], late, top)
