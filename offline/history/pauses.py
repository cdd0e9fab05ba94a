"""How long customers paused between purchase days: what tells a long silence from a usual one."""

from typing import Any

import numpy as np
import numpy.typing as npt

from models.rows import DAY

Array = npt.NDArray[Any]


def pauses(rows: Array, bought: Array, day: int) -> Array:
    """Of each purchase day but a customer's first, before midnight `day`: int32 (n, 3), days since the one before, the
    gaps known until then, and their sum in days.

    rows: whose purchase each is, -1 for nobody's; bought: when, us since the epoch; (m,) each.

    >>> times = np.array([0, 3, 3, 10, 4]) * DAY
    >>> pauses(np.array([0, 0, 0, 0, 1]), times, 99).tolist()
    [[3, 0, 0], [7, 1, 3]]
    """
    known = (rows >= 0) & (bought < day * DAY)
    days = bought[known] // DAY
    if not len(days):
        return np.empty((0, 3), np.int32)
    first, span = days.min(), np.ptp(days) + 1
    who, at = np.divmod(np.unique(rows[known].astype(np.int64) * span + days - first), span)
    begins = np.flatnonzero(np.diff(who, prepend=-1))
    start = np.repeat(begins, np.diff(begins, append=len(who)))  # of each day, the customer's first
    later = np.flatnonzero(np.arange(len(who)) > start)
    before = at[later - 1]
    told: Array = np.stack([at[later] - before, later - start[later] - 1, before - at[start[later]]], axis=1)
    return told.astype(np.int32)
