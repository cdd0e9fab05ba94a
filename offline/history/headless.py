"""Has a table no line that names its columns? Then its first row stands where the names should, and is lost as a row.

Rule: a value is told from a name by the cells below it, which are of its kind: dates below a date, codes of one stem
below a code, numbers below numbers alone. Years, or numbers beside a word, may be names, as in a table of months.
"""

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from offline.history import guess

ROWS = 1_000  # that are looked at
_NUMBER = re.compile(r"[-+(]?[\d.,' ]*\d[\d.,' ]*\)?%?")
_YEAR = re.compile(r"(19|20)\d\d")
_CODE = re.compile(r"(?=.*\d).*[^\W\d_].*", re.DOTALL)


def values(names: Sequence[str], block: Sequence[pa.Array]) -> list[str]:
    """Those of the names that are values; none where they are a header. block: a column of text each.

    >>> below = [pa.array(["c2", "c3"]), pa.array(["2024-01-02", "2024-01-03"]), pa.array(["2.5", "7"])]
    >>> values(["c1", "2024-01-01", "1.5"], below), values(["shop", "2023", "2024"], below)
    (['c1', '2024-01-01', '1.5'], [])
    """
    if any(map(guess.is_one, names)):
        return []
    cells = [column.slice(0, ROWS).drop_null().cast(pa.large_string()) for column in block]
    below = [(name, column) for name, column in zip(names, cells, strict=True) if name and len(column)]
    dates = [name for name, column in below if guess.written(pa.array([name])) and guess.written(column)]
    codes = [name for name, column in below if name not in dates and _coded(name, column)]
    numbers = [
        name for name, column in below if name not in dates and _NUMBER.fullmatch(name) and guess.numbers(column)
    ]
    alone = len(numbers) == len(below) > 0 and not all(map(_YEAR.fullmatch, numbers))
    if not (dates or (codes and numbers) or alone):
        return []
    return [name for name, _ in below if name in (*dates, *codes, *numbers)]


def _coded(name: str, column: pa.Array) -> bool:
    """Is it a code (K7, k7@shop.example), as most below it are but for their digits?"""
    if not _CODE.fullmatch(name):
        return False
    stems = pc.replace_substring_regex(column, r"\d+", "0")
    same = pc.sum(pc.equal(stems, re.sub(r"\d+", "0", name))).as_py() or 0
    return bool(same >= guess.MOSTLY * len(column))
