"""Scales that a few giants cannot move: the usual spend of a purchase day, and the unit and the cap of labels.

Rule: medians decide what is too large, so that who ordered for ten million once changes nothing for the others. Who
spends that much again and again is no giant: such a customer counts, and is served, in a scale of the customer's own.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.compiled import njit
from models.features import UNIT, laid_out

PROVEN = 5.0  # usual purchase days: a customer whose day is worth more has a scale of their own
FEW = 1_000  # positive labels below which their highest quantiles mean nothing
MEDIANS_FEW, MEDIANS = 20, 50  # of positive labels: the cap below FEW, and above
QUANTILE = 0.9995

Floats = NDArray[np.float64]


class Scales(NamedTuple):
    """Of a target's labels, both > 0: their mean, capped, and the largest that is learned from."""

    unit: float
    cap: float


def usual_day(spend: Floats, days: Floats) -> float:
    """Mean spend of a purchase day over customers, none of whom counts for more than 20 median days; 1 where nobody
    spent. spend (n,): net, major units; days (n,): purchase days.

    >>> usual_day(np.array([10.0, 30.0, 1e9]), np.array([1, 2, 1]))
    85.0
    """
    spend, days = np.maximum(spend, 0.0), np.maximum(days, 1)
    each = spend / days
    if not (each > 0).any():
        return 1.0
    most = MEDIANS_FEW * float(np.median(each[each > 0]))
    return float(np.minimum(spend, most * days).sum() / days.sum())


def scales(labels: Floats, usual: float) -> Scales:
    """labels (n,), >= 0; usual: what stands in where none is positive, > 0.

    >>> scales(np.array([0.0, 0.0, 30.0]), 40.0)
    Scales(unit=10.0, cap=600.0)
    """
    positive = labels[labels > 0]
    if not len(positive):
        return Scales(usual, MEDIANS_FEW * usual)
    few = len(positive) < FEW
    cap = (MEDIANS_FEW if few else MEDIANS) * float(np.median(positive))
    if not few:
        cap = min(cap, float(np.quantile(labels, QUANTILE)) or cap)
    return Scales(float(np.minimum(labels, cap).mean()), cap)


def in_own_scale(raw: NDArray[Any], usual: float) -> tuple[NDArray[Any], Floats]:
    """((n,) RAW in scales of the customers' own, these scales (n,) >= 1). usual: spend on a purchase day, major units.

    A scale is what a purchase day is proven to be worth, over PROVEN usual ones: the mean of the customer's purchase
    days without the largest. So a shop's model sees a wholesaler as a customer like others, who pays in another coin,
    and one giant order proves nothing.

    >>> from models.rows import RAW
    >>> raw = np.zeros(2, RAW)
    >>> raw["spend"], raw["days"], raw["peak"] = [8_000_0000, 8_000_0000], 9, [1_000_0000, 7_840_0000]
    >>> in_own_scale(raw, 20.0)[1].tolist()
    [8.75, 1.0]
    """
    scale = np.empty(len(raw))
    if not _own(laid_out(raw), PROVEN * usual, scale):
        return raw, scale
    large = np.flatnonzero(scale > 1)
    scaled, by = raw.copy(), scale[large]
    for name in ("spend", "window", "peak"):
        scaled[name][large] = np.rint(raw[name][large] / by)
    for name in ("s30", "s90"):
        scaled[name][large] = raw[name][large] / by
    return scaled, scale


@njit
def _own(raw: Any, proven: float, out: Any) -> int:
    """How many of them are not 1."""
    large = 0
    for i in range(len(raw)):
        row = raw[i]
        before = (float(row.spend) - row.peak) / max(row.days - 1, 1)
        out[i] = max(1.0, before / UNIT / proven)
        large += out[i] > 1
    return large
