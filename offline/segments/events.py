"""A table whose customers come again: is it a history of events, and under which names are its columns to be read?

Rule: a guess, made as `offline look` makes it, is said before it is followed, and what cannot be guessed is asked for
with the command to type.
"""

from collections.abc import Mapping

import pandas as pd
import pyarrow as pa

from offline.errors import OfflineError
from offline.history import guess
from offline.segments.table import Repeated

LOOKED_AT = 1_000  # rows
PRICED = ("quantity", "unit_price")
NEEDED = ("customer_id", "occurred_at", "amount")


def columns(found: Repeated, told: Mapping[str, str], out: str) -> dict[str, str]:
    """Our column names -> those of the table, as `--columns` takes them: those told, the others guessed.

    Raises OfflineError where there is no date or no amount: the table's own line, and what to type if it is of events.
    Where event types are named, they may be views and carts, which have no amount.
    """
    frame, given = found.table.frame, dict(told)
    if "customer_id" not in frame:
        given.setdefault("customer_id", found.key)
    guessed = _guessed(found, set(given.values()))
    for name in ("occurred_at", "amount"):
        if not _known(frame, given, name):
            instead = PRICED if name not in guessed and {*PRICED} <= guessed.keys() else (name,)
            given |= {ours: guessed[ours] for ours in instead if ours in guessed}
    missing = [name for name in NEEDED if not _known(frame, given, name)]
    if "amount" in missing and given.get("event_type", "event_type") in frame:
        missing.remove("amount")
    if not missing:
        return given
    names = ",".join(f"{ours}={given.get(ours, '...')}" for ours in NEEDED if ours in given or ours in missing)
    raise OfflineError(
        f"{found}; if it is one of events: python -m offline segment --history {found.table.where} --columns {names}"
        f" --out {out}"
    )


def _known(frame: pd.DataFrame, given: Mapping[str, str], name: str) -> bool:
    """Is it a column of the table? Of an amount quantity and price may be."""
    there = [given.get(ours, ours) in frame for ours in (name, *PRICED)]
    return there[0] or (name == "amount" and all(there[1:]))


def _guessed(found: Repeated, taken: set[str]) -> dict[str, str]:
    """Of the columns that were not told and are not ours by name."""
    free = [name for name in map(str, found.table.frame) if name not in taken]
    cells = [found.table.frame[name].mask(found.table.missing(name)).head(LOOKED_AT) for name in free]
    return guess.columns(free, [pa.array(each.tolist(), pa.large_string(), from_pandas=True) for each in cells])
