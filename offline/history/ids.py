"""Ids that are not what their shop wrote: blanks around them, words for nothing, numbers that a program rounded.

Rule: blanks leave, told; what was rounded cannot be had back and is refused, for two customers may have become one;
everything else is told and stays.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline.errors import HistoryError
from offline.history.quality import Line
from offline.history.values import Bools, matches
from offline.history.words import nothing

ROUNDED = r"^\d(?:[.,]\d+)?[eE]\+\d{2,3}$"  # 1.23457E+12, as spreadsheets and data frames write 1234567890123
DIGITS = 15  # that a spreadsheet keeps of a number


def present(text: pa.Array) -> tuple[pa.Array, int]:
    """(ids without the blanks around them, null where nothing is left or a word for nothing stood between blanks; how
    many lost blanks).

    >>> ids, changed = present(pa.array(["c1", " c1\\u00a0", " ", " N/A ", "N/A", None]))
    >>> ids.to_pylist(), changed
    (['c1', 'c1', None, None, 'N/A', None], 1)
    """
    bare = pc.utf8_trim_whitespace(text)
    found = pc.if_else(pc.equal(bare, ""), None, bare)
    if bare.nbytes == text.nbytes:
        return found, 0
    trimmed = pc.not_equal(bare, text)
    found = pc.if_else(pc.and_(trimmed, nothing(text)), None, found)
    return found, pc.sum(pc.and_(trimmed, found.is_valid())).as_py() or 0


def rounded(text: pa.Array) -> str | None:
    """The first id that is a number of which only the first digits are left."""
    found = text.filter(pa.array(matches(text, ROUNDED)))
    return found[0].as_py() if len(found) else None


def refused(where: str, example: str) -> HistoryError:
    """What is said of ids that were rounded."""
    return HistoryError(
        f"{where}: {example!r} is a number of which a spreadsheet left the first digits: different ids are one; "
        f"export it again with that column as text"
    )


def told(parts: Sequence[Mapping[str, pa.Table]], where: str) -> list[Line]:
    """What a person should know of the ids that stand in a history, and cannot be changed here. parts: of each part of
    the rows what `steps.counted` says. where: the files. Raises HistoryError where some were rounded."""
    lines = []
    for column in parts[0]:
        ids = pa.concat_tables(part[column] for part in parts).group_by("id").aggregate([("rows", "sum")])
        texts, rows = ids["id"].combine_chunks(), ids["rows_sum"].to_numpy()
        if example := rounded(texts):
            raise refused(f"{where}: {column}", example)
        words = nothing(texts).fill_null(False).to_numpy(zero_copy_only=False)
        if words.any():
            some = ", ".join(map(repr, texts.filter(pa.array(words)).to_pylist()[:3]))
            what = f"told: {some} kept as an id: it is quoted, or the file is Parquet"
            lines.append(Line("ids", column, what, int(rows[words].sum())))
        if (long := _cut(texts)).any():
            what = f"told: digits beyond the {DIGITS}th are all 0; a spreadsheet may have rounded them"
            lines.append(Line("ids", column, what, int(rows[long].sum())))
    return lines


def _cut(texts: pa.Array) -> Bools:
    """Which ids are of more digits than a spreadsheet keeps, where none has any beyond those."""
    long = matches(texts, rf"^\d{{{DIGITS + 1},}}$")
    whole = matches(texts, rf"^\d{{{DIGITS}}}0+$")
    return long if long.sum() > 1 and (whole == long).all() else np.zeros(len(long), np.bool_)
