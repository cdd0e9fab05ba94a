"""A table whose customers come again: is it a history of events, and under which names are its columns to be read?

Rule: a guess is said before it is followed, and what cannot be guessed is asked for with the command to type.
"""

import re
from collections.abc import Mapping

import pandas as pd

from offline.errors import OfflineError
from offline.segments.table import Repeated

DATE = re.compile(r"\s*(\d{4}[-/.]?\d{2}[-/.]?\d{2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([T ,].*)?\s*")
MONEY = re.compile(r"amount|total|spend|spent|sales|revenue|paid|price|value|sum|betrag|umsatz", re.I)
MOSTLY, LOOKED_AT = 0.9, 1_000
NEEDED = ("customer_id", "occurred_at", "amount")


def columns(found: Repeated, told: Mapping[str, str], out: str) -> dict[str, str]:
    """Our column names -> those of the table, as `--columns` takes them: those told, the others guessed.

    Raises OfflineError where there is no date or no amount: the table's own line, and what to type if it is of events.
    """
    frame, given = found.table.frame, dict(told)
    if "customer_id" not in frame:
        given.setdefault("customer_id", found.key)
    for name, guess in (("occurred_at", _date), ("amount", _amount)):
        known = given.get(name, name) in frame or (name == "amount" and _priced(frame, given))
        if not known and (column := guess(found, set(given.values()))) is not None:
            given[name] = column
    missing = [name for name in NEEDED if given.get(name, name) not in frame]
    if "amount" in missing and _priced(frame, given):
        missing.remove("amount")
    if not missing:
        return given
    names = ",".join(f"{ours}={given.get(ours, '...')}" for ours in NEEDED if ours in given or ours in missing)
    raise OfflineError(
        f"{found}; if it is one of events: python -m offline segment --history {found.table.where} --columns {names}"
        f" --out {out}"
    )


def _priced(frame: pd.DataFrame, given: Mapping[str, str]) -> bool:
    return all(given.get(name, name) in frame for name in ("quantity", "unit_price"))


def _date(found: Repeated, taken: set[str]) -> str | None:
    """The first column of dates."""
    return next((name for name in _free(found, taken) if _share(found, name) >= MOSTLY), None)


def _share(found: Repeated, column: str) -> float:
    cells = found.table.frame[column][~found.table.missing(column)].head(LOOKED_AT)
    return float(cells.str.fullmatch(DATE.pattern).mean()) if len(cells) else 0.0


def _amount(found: Repeated, taken: set[str]) -> str | None:
    """The first column of numbers that is named like money."""
    named = (name for name in _free(found, taken) if MONEY.search(name))
    return next((name for name in named if found.table.numbers(name)[1] is None), None)


def _free(found: Repeated, taken: set[str]) -> list[str]:
    return [name for name in map(str, found.table.frame) if name not in taken]
