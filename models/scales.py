"""Scales that a few giants cannot move: the usual spend of a purchase day, and the unit and the cap of labels.

Rule: medians decide what is too large, so that who ordered for ten million once changes nothing for the others.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
