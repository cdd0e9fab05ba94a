"""Ids that are not what their shop wrote: blanks around them, words for nothing, numbers that a program rounded.

Rule: blanks leave, told; what was rounded cannot be had back and is refused, for two customers may have become one;
everything else is told and stays.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from offline.errors import HistoryError
from offline.history.policy import ANY_CASE, ROUNDED
from offline.history.quality import Line, Note
from offline.history.values import Bools, Ints, matches
from offline.history.words import TOTAL, nothing

_ROUNDED = r"^\d(?:[.,]\d+)?[eE]\+\d{2,3}$"  # 1.23457E+12, as spreadsheets and data frames write 1234567890123
NO_WIDTH = "\u200b\u2060\ufeff"
BLANK = NO_WIDTH + "".join(each for each in map(chr, range(0x3001)) if each.isspace())
DIGITS = 15  # that a spreadsheet keeps of a number
SHARE, TIMES = 0.05, 10  # of all rows, and of a customer's mean, beyond which an id seems to be several customers'


def present(text: pa.Array) -> tuple[pa.Array, int]:
    """(ids without the blanks around them, of no width too, null where nothing is left or a word for nothing stood
    between blanks; how many lost blanks).

    >>> ids, changed = present(pa.array(["c1", " c1\\u00a0", " ", " N/A ", "N/A", None]))
    >>> ids.to_pylist(), changed
    (['c1', 'c1', None, None, 'N/A', None], 1)
    """
    bare = _unquoted(pc.utf8_trim(text, BLANK))
    found = pc.if_else(pc.equal(bare, ""), None, bare)
    if bare.nbytes == text.nbytes:
        return found, 0
    trimmed = pc.not_equal(bare, text)
    found = pc.if_else(pc.and_(trimmed, nothing(text)), None, found)
    return found, pc.sum(pc.and_(trimmed, found.is_valid())).as_py() or 0


def folded(names: pa.Array) -> pa.Array:
    """Names of columns as they compare: without blanks, marks and quotes around them, in small letters.

    >>> folded(pa.array(["\\ufeffOrder ID", '"amount" '])).to_pylist()
    ['order id', 'amount']
    """
    return pc.utf8_lower(pc.utf8_trim(names, BLANK + '"'))


def _unquoted(text: pa.Array) -> pa.Array:
    """Without what keeps a spreadsheet from making a number of an id: ="00123" and '00123."""
    if not pc.any(pc.or_(pc.starts_with(text, "="), pc.starts_with(text, "'"))).as_py():
        return text
    return pc.replace_substring_regex(text, r"""^(?:="([^"]*)"|'([^']*))$""", r"\1\2")


def rounded(text: pa.Array) -> str | None:
    """The first id that is a number of which only the first digits are left."""
    found = text.filter(pa.array(matches(text, _ROUNDED)))
    return found[0].as_py() if len(found) else None


def refused(where: str, example: str) -> HistoryError:
    """What is said of ids that were rounded."""
    return HistoryError(
        f"{where}: {example!r} is a number of which a spreadsheet left the first digits: different ids are one; "
        f"export it again with that column as text, or say --ids {ROUNDED} to go on with what is left"
    )


def told(parts: Sequence[Mapping[str, pa.Table]], where: str, allowed: Collection[str]) -> list[Line]:
    """What a person should know of the ids that stand in a history. parts: of each part of the rows what
    `steps.counted` says. where: the files. allowed: what was said of ids. Raises HistoryError where some were rounded.
    """
    lines = []
    for column in parts[0]:
        ids = pa.concat_tables(part[column] for part in parts).group_by("id").aggregate([("rows", "sum")])
        texts, rows = ids["id"].combine_chunks(), ids["rows_sum"].to_numpy()
        if example := rounded(texts):
            if ROUNDED not in allowed:
                raise refused(f"{where}: {column}", example)
            what = f"told: numbers like {example}, of which a spreadsheet left the first digits: several may be one"
            lines.append(Line("ids", column, what, int(rows[matches(texts, _ROUNDED)].sum())))
        if (twins := _twins(texts)).any():
            one, *others = texts.filter(pa.array(twins)).to_pylist()
            other = next(text for text in others if fold(text) == fold(one))
            what = f"told: {one!r} and {other!r} differ in case alone; --ids {ANY_CASE} makes such ids one"
            lines.append(Line("ids", column, what, int(rows[twins].sum())))
        words = nothing(texts).fill_null(False).to_numpy(zero_copy_only=False)
        if words.any():
            some = ", ".join(map(repr, texts.filter(pa.array(words)).to_pylist()[:3]))
            what = f"told: {some} kept as an id: it is quoted, or the file is Parquet"
            lines.append(Line("ids", column, what, int(rows[words].sum())))
        if column == "customer_id" and (ends := matches(texts, TOTAL)).any():
            one = texts.filter(pa.array(ends))[0].as_py()
            what = f"told: {one!r} is a customer; if its rows are totals, leave them out with --except"
            lines.append(Line("ids", column, what, int(rows[ends].sum())))
        if column == "customer_id" and (most := of_many(texts, rows)):
            what = f"told: {most}; if it stands for guests, leave it out with --except"
            lines.append(Line("ids", column, what, most.rows))
        if (long := _cut(texts)).any():
            what = f"told: digits beyond the {DIGITS}th are all 0; a spreadsheet may have rounded them"
            lines.append(Line("ids", column, what, int(rows[long].sum())))
    return lines


class Most(NamedTuple):
    """The customer with the most rows, and their share of all."""

    customer: str
    rows: int
    share: float

    def __str__(self) -> str:
        """
        >>> print(Most("Guest", 3_120, 0.312))
        'Guest' has 31.2% of the rows
        """
        return f"{self.customer!r} has {self.share:.1%} of the rows"


def of_many(texts: pa.Array, rows: Ints) -> Most | None:
    """The customer who has so many rows that all who gave no name may stand under this one: a till's walk-in customer.

    texts: of customers, all different; rows: of each, alike (n,). None where nobody has.

    >>> shop = pa.array([f"c{n}" for n in range(300)])
    >>> [of_many(shop, np.array([first] + [3] * 299)) for first in (40, 60)]
    [None, Most(customer='c0', rows=60, share=0.06269592476489028)]
    """
    if not len(rows):
        return None
    at, all_rows = int(rows.argmax()), int(rows.sum())
    most = Most(texts[at].as_py(), int(rows[at]), int(rows[at]) / all_rows)
    return most if most.share > max(SHARE, TIMES / len(rows)) else None


def fold(text: str) -> str:
    """What ids that differ in case alone have in common.

    >>> fold("\u0130nce") == fold("ince"), fold("Stra\u00dfe") == fold("STRASSE")
    (True, True)
    """
    return text.casefold().replace("i\u0307", "i")


def _twins(texts: pa.Array) -> Bools:
    """Which ids, all different, another one equals but for case."""
    plain = pc.all(pc.string_is_ascii(texts)).as_py()
    if plain and len(pc.utf8_lower(texts).unique()) == len(texts):
        return np.zeros(len(texts), np.bool_)
    twins: Bools = pd.Series([*map(fold, texts.to_pylist())]).duplicated(keep=False).to_numpy()
    return twins


class AnyCase:
    """Of all files: ids that differ in case alone take the spelling that came first."""

    def __init__(self) -> None:
        self.first: dict[str, dict[str, str]] = {name: {} for name in ("customer_id", "product_id", "order_id")}

    def __call__(self, table: pa.Table, notes: Counter[Note]) -> pa.Table:
        """The table so; `notes` gets how many rows were changed.

        >>> one = AnyCase()
        >>> ids = pa.array(["Ann@x.com", "ann@x.com", None], pa.large_string())
        >>> one(pa.table({name: ids for name in one.first}), Counter())["customer_id"].to_pylist()
        ['Ann@x.com', 'Ann@x.com', None]
        """
        for name, first in self.first.items():
            texts = table[name].combine_chunks().dictionary_encode()
            spelled = pa.array([first.setdefault(fold(text), text) for text in texts.dictionary.to_pylist()])
            one = spelled.cast(pa.large_string()).take(texts.indices)
            changed = pc.sum(pc.not_equal(one, table[name])).as_py() or 0
            notes["ids", name, "changed: spelled as it stood first, but for case"] += changed
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), one)
        return table


def _cut(texts: pa.Array) -> Bools:
    """Which ids are of more digits than a spreadsheet keeps, where none has any beyond those."""
    long = matches(texts, rf"^\d{{{DIGITS + 1},}}$")
    whole = matches(texts, rf"^\d{{{DIGITS}}}0+$")
    return long if long.sum() > 1 and (whole == long).all() else np.zeros(len(long), np.bool_)
