"""Days of a shop's own clock (`--timezone`), beside the days of UTC on which customers are folded here and live.

Rule: a moment stays a moment; only what counts days, weeks or months by itself looks at the clock on the wall.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from models.kinds import PURCHASE
from models.rows import DAY
from offline.history import spill
from offline.history.read import History
from offline.history.values import Ints


def wall(occurred_at: Ints, timezone: str) -> Ints:
    """What the clock showed, us, as if it showed UTC. occurred_at: us since the epoch.

    >>> wall(np.array([0]), "Asia/Tokyo").tolist() == [9 * 3_600_000_000]
    True
    """
    if timezone == "UTC":
        return occurred_at
    moments = pd.DatetimeIndex(pd.to_datetime(occurred_at, unit="us", utc=True)).tz_convert(timezone).tz_localize(None)
    shown: Ints = moments.as_unit("us").asi8
    return shown


def on(history: History) -> tuple[pd.DataFrame, int]:
    """(the history's frame with what the clock showed as occurred_at; the midnight of that clock, a day number, that is
    nearest to the cut-off and behind all events)."""
    if history.timezone == "UTC":
        return history.frame, history.cut_off
    shown = wall(history.frame["occurred_at"].to_numpy(), history.timezone)
    cut = int(wall(np.array([history.cut_off * DAY]), history.timezone)[0])
    return history.frame.assign(occurred_at=shown), max((cut + DAY // 2) // DAY, int(shown.max()) // DAY + 1)


def differ(history: History) -> str | None:
    """By how much days of UTC differ from the shop's, in a line; None where they do not."""
    if history.timezone == "UTC":
        return None
    parts = history.parts if isinstance(history.parts, list) else [history.parts]
    utc, own = np.sum([_days(part, history.timezone) for part in parts], axis=0).tolist()
    if utc == own:
        return None
    return (
        f"customers are folded by days of UTC: {utc:,} purchase days of customers, {own:,} by the clock of"
        f" {history.timezone} ({utc / own - 1:+.1%}); what counts their days differs by as much, money does not"
    )


def _days(part: pd.DataFrame | Path, timezone: str) -> tuple[int, int]:
    """How many purchase days its customers have, (of UTC, by the clock)."""
    frame = spill.load(part).to_pandas() if isinstance(part, Path) else part
    bought = frame.loc[frame["kind"] == PURCHASE, ["customer_id", "occurred_at"]]
    who, moments = pd.factorize(bought["customer_id"])[0].astype(np.int64), bought["occurred_at"].to_numpy()
    days = (times // DAY for times in (moments, wall(moments, timezone)))
    utc, own = (len(np.unique(who * (1 << 20) + day)) for day in days)
    return utc, own
