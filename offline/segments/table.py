"""A table of customers as a person keeps it: one row a customer, an id column, numbers and categories.

Rule: it is read as histories are (`offline/history`): containers, encodings, delimiters, headers, words for nothing and
numbers mean the same in both. Every cell is kept as the text it was, so what is written again is what was read; values
are made of that text in one place, `numbers`. Errors are one line: what, where, what to do.
"""

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from offline.errors import OfflineError, nearest
from offline.history import csvs, files, guess, losses, steps
from offline.history.csvs import Uneven
from offline.history.files import File
from offline.history.formats import in_words, settled
from offline.history.numerals import Numbers, Votes, share
from offline.history.policy import Policy
from offline.history.quality import LABELS, Counts, Line
from offline.history.values import Bools, matches
from offline.history.words import MISSING, TOTAL, nothing
from offline.writing import replacing

ID = re.compile(r"id|(customer|cust|client|user|member|household|person|account)[ _-]*(id|no|nr|num|number|key)", re.I)
# Squares of larger numbers overflow in sums.
LARGEST = 1e100
EVENTS = 1_000  # rows that tell what a table may be
MOSTLY = 0.9  # of the cells of a number column that hold something are numbers


class TableError(OfflineError):
    """A table of customers that cannot be read; its text is one line for the user."""


class Repeated(TableError):
    """A table whose rows are not each a customer of their own: perhaps one of events. table: it, without an id; key:
    the column that should have named them."""

    def __init__(self, line: str, table: "CustomerTable", key: str) -> None:
        super().__init__(line)
        self.table, self.key = table, key


@dataclass(frozen=True, eq=False)
class CustomerTable:
    """frame: a row a customer, every column text; id: its column. gaps: where a cell holds nothing, like frame; None:
    where it is blank or a word for nothing. decimal: told, not found out. typed: columns whose values were no text.
    read: what became of the rows, with notes. exact: like frame, what numbers are read from; None: from frame itself.
    """

    frame: pd.DataFrame
    id: str | None
    separator: str = ","
    where: str = "the table"
    decimal: str | None = None
    gaps: pd.DataFrame | None = None
    typed: frozenset[str] = frozenset()
    read: Counts | None = None
    exact: pd.DataFrame | None = None

    def missing(self, column: str) -> pd.Series:
        """Which cells hold nothing."""
        if self.gaps is not None:
            gaps: pd.Series = self.gaps.loc[self.frame.index, column]
            return gaps
        gone = nothing(_arrow(self.frame[column])).fill_null(True)
        return pd.Series(gone.to_numpy(zero_copy_only=False), self.frame.index, bool)

    @property
    def columns(self) -> list[str]:
        return [*map(str, self.frame.columns)]

    def numbers(self, column: str) -> tuple[pd.Series, str | None]:
        """(float64, NaN where there is nothing or no number; the first text that is no number, None where MOSTLY of the
        cells that hold something are numbers). Raises OfflineError where a number can be read in two ways.
        """
        text, gaps = self._exactly(column), self.missing(column)
        plain = self._formats.get(column, Numbers(".")).plain(_arrow(text.mask(gaps)))
        values = pd.to_numeric(pd.Series(plain.to_pandas().to_numpy(), text.index), errors="coerce").astype(np.float64)
        values = values.where(values.abs() < LARGEST)
        bad = values.isna() & ~gaps
        if bad.sum() <= (1 - MOSTLY) * (~gaps).sum():
            return values, None
        return values, str(self.frame[column][bad].iloc[0]).strip()

    def _exactly(self, column: str) -> pd.Series:
        return (self.frame if self.exact is None else self.exact.loc[self.frame.index])[column]

    @cached_property
    def _formats(self) -> dict[str, Numbers]:
        """How each column that may be one of numbers writes them; the id is none, whatever it is made of."""
        votes = {}
        for column in self.columns:
            if column != self.id and column not in self.typed and not ID.fullmatch(column):
                text = _arrow(self._exactly(column)[~self.missing(column)])
                found = Votes(named=False)
                found.count(text)
                if share(text, found) >= MOSTLY:
                    votes[column] = found
        return settled(votes, self.decimal, lambda column: f"{self.where}: column {column!r}")

    def notes(self) -> list[Line]:
        """What a person should know of it."""
        lines = list(self.read.notes) if self.read else []
        for column in self._formats:
            numbers = self._formats[column]
            if (numbers.decimal == "," and self.decimal is None) or numbers.currency:
                lines.append(Line("numbers", column, f"told: {in_words(numbers)}", len(self.frame)))
        for column in self.columns:
            values, bad = self.numbers(column)
            strange = values.isna() & ~self.missing(column)
            if bad is None and strange.any() and column != self.id:
                example = str(self.frame[column][strange].iloc[0]).strip()
                lines.append(Line("numbers", column, f"told: no number, so missing: {example!r}", int(strange.sum())))
        return lines


def _arrow(text: pd.Series) -> pa.Array:
    found = pa.array(text, pa.large_string(), from_pandas=True)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def read(path: Path, id_column: str | None = None, policy: Policy | None = None) -> CustomerTable:
    """The table in `path`; `id_column` is its key, by default the first column named like one. policy: encoding,
    delimiter, decimal and allow_loss. Raises OfflineError.

    A key is unique: a file that repeats it is a history, not a table of customers. Of rows without it 5 % may leave.
    """
    policy = policy or Policy()
    file = files.look_into(path, policy, () if id_column is None else (id_column,))
    if unnamed := files.no_header(file):
        raise unnamed
    again = next((name for name in file.header if name and file.header.count(name) > 1), None)
    if again is not None:
        raise TableError(f"{path}: column {again!r} stands there more than once; rename one")
    uneven = Uneven()
    frame, gaps, exact = _cells(file, uneven)
    noise = _noise(frame, gaps, id_column)
    counts = _counted(file, uneven, noise, len(frame))
    _check(path, counts, policy)
    customers = ~np.any([*noise.values()], axis=0)
    frame, gaps, exact = (each[customers].reset_index(drop=True) for each in (frame, gaps, exact))
    typed = frozenset(file.header[at] for at in file.typed)
    separator = file.layout.delimiter if file.layout else ","
    table = CustomerTable(frame, None, separator, str(path), policy.decimal, gaps, typed, counts, exact)
    key = _key(table, id_column)
    return table if key is None else _stripped(*_named(replace(table, id=key), key, counts))


def _named(table: CustomerTable, key: str, counts: Counts) -> tuple[CustomerTable, str, Counts]:
    """(the table without its rows that name nobody, its key, the counts with these); told how many there were."""
    nobody = table.missing(key)
    if not (n := int(nobody.sum())):
        return table, key, counts
    told = Line("missing", key, "dropped: without an id", n)
    counts = replace(counts, kept=counts.kept - n, without_customer=n, notes=(*counts.notes, told))
    frame, gaps, exact = (
        None if each is None else each[~nobody].reset_index(drop=True)
        for each in (table.frame, table.gaps, table.exact)
    )
    assert frame is not None
    return replace(table, frame=frame, gaps=gaps, exact=exact, read=counts), key, counts


def _stripped(table: CustomerTable, key: str, counts: Counts) -> CustomerTable:
    """The table without blanks around its ids, as in a history; told how many had some."""
    ids = table.frame[key].str.strip()
    if not (changed := int((ids != table.frame[key]).sum())):
        return table
    told = Line("ids", key, "changed: blanks around them left", changed)
    return replace(table, frame=table.frame.assign(**{key: ids}), read=replace(counts, notes=(*counts.notes, told)))


def _cells(file: File, uneven: Uneven) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(every cell as it stands there, where they hold nothing, what numbers are read from). Of a CSV file only a second
    reading tells a word for nothing from the same word in quotes, and of an Excel file a number from a text that looks
    like it. A last column without name and content is the end of the lines."""
    texts = _columns(file, uneven, (), ())
    nulls = _columns(file, Uneven(), MISSING, range(len(file.header))) if file.layout or file.sheet else texts
    width = len(file.header) - (not file.header[-1] and all(map(_nothing, nulls[-1])))
    frame = {name: texts[at].fill_null("").to_pandas() for at, name in enumerate(file.header[:width])}
    gaps = {name: _gap(nulls[at]) for at, name in enumerate(file.header[:width])}
    exact = {name: nulls[at].fill_null("").to_pandas() for at, name in enumerate([*frame])} if file.sheet else frame
    return pd.DataFrame(frame, dtype="str"), pd.DataFrame(gaps, dtype=bool), pd.DataFrame(exact, dtype="str")


def _nothing(cell: pa.Scalar) -> bool:
    return not (cell.as_py() or "").strip()


def _columns(file: File, uneven: Uneven, missing: Sequence[str], unmarked: Collection[int]) -> list[pa.ChunkedArray]:
    found = [columns for columns, _ in files.blocks(file, uneven, missing, unmarked)]
    chunks = zip(*found, strict=True) if found else ([] for _ in file.header)
    return [pa.chunked_array(each, pa.large_string()) for each in chunks]


def _gap(cells: pa.ChunkedArray) -> Bools:
    """Where a column holds nothing: null, blank, or a word for nothing between blanks."""
    return steps.absent(cells.combine_chunks())


def _noise(frame: pd.DataFrame, gaps: pd.DataFrame, key: str | None) -> dict[str, Bools]:
    """Rows that are no customers, by what they are: blank ones, the header again, and totals: in the id column, where
    there is one, else in the last row."""
    blank = gaps.all(axis=1).to_numpy()
    again = (frame == frame.columns).all(axis=1).to_numpy() & ~blank
    words = np.array([matches(_arrow(frame[column]), TOTAL) for column in frame])
    keys = [key] if key in frame else [name for name in map(str, frame) if ID.fullmatch(name)]
    last = np.arange(len(frame)) == len(frame) - 1
    bare = gaps[keys[0]].to_numpy() | words[frame.columns.get_loc(keys[0])] if keys else last
    return {"blank": blank, "headers": again, "totals": words.any(axis=0) & bare}


def _counted(file: File, uneven: Uneven, noise: Mapping[str, Bools], rows: int) -> Counts:
    """What became of the rows, and what of that is to be told of a file that is not plain."""
    of = {name: int(found.sum()) for name, found in noise.items()}
    kept, of["blank"], of["totals"] = rows - sum(of.values()), of["blank"] + uneven.blank, of["totals"] + uneven.totals
    plain = f"utf-8, separated by {file.layout.delimiter!r}" if file.layout else "Parquet"
    notes = [Line("decode", "", f"told: {file.told}", rows)] if file.told != plain else []
    examples = {}
    if uneven.others and file.layout:
        examples["uneven"] = csvs.where(file.layout)
        notes.append(Line("rows", "", f"dropped: of another length: {examples['uneven']}", uneven.others))
    notes += [Line("rows", "", f"dropped: {LABELS[name].strip('- ')}", n) for name, n in of.items() if n]
    read = kept + uneven.others + sum(of.values())
    blank, again, totals = (of[name] for name in ("blank", "headers", "totals"))
    return Counts(
        *(read, 0, 0, 0, 0, 0, 0, kept, 0),
        uneven=uneven.others, blank=blank, headers=again, totals=totals, notes=tuple(notes), examples=examples,
    )  # fmt: skip


def _check(path: Path, counts: Counts, policy: Policy) -> None:
    if counts.uneven and (not counts.kept or (losses.refused(counts) and not policy.allow_loss)):
        raise TableError(f"{path}: {counts.examples['uneven']}; quote texts that hold a delimiter, or say --allow-loss")
    if not counts.kept:
        raise TableError(f"{path}: no row follows the header; each customer must be one")


def _key(table: CustomerTable, named: str | None) -> str | None:
    header = table.frame.columns.tolist()
    if named is not None and named not in header:
        raise TableError(f"{table.where}: no column {named!r}; {nearest(named, header)}; name it with --id ...")
    keys = [named] if named is not None else _called(table) or _who(table)
    wrong = [_no_key(table, key) for key in keys]
    if wrong and all(wrong):
        raise Repeated(f"{table.where}: {wrong[0]}", table, keys[0])
    sound = [key for key, why in zip(keys, wrong, strict=True) if why is None]
    return min(sound, key=lambda key: table.missing(key).sum(), default=None)


def _called(table: CustomerTable) -> list[str]:
    """The columns that are named as ids; where none is, those named as a customer is (Kunde, Email) that are one."""
    ids = [name for name in table.columns if ID.fullmatch(name.strip())]
    words = guess.NAMES["customer_id"].split()
    return ids or [name for name in table.columns if guess.bare(name) in words and _no_key(table, name) is None]


def _who(table: CustomerTable) -> list[str]:
    """The column of who came again, of a table that has dates and none named as a key: perhaps events."""
    cells = [_arrow(table.frame[name].mask(table.missing(name)).head(EVENTS)) for name in table.columns]
    found = guess.columns(table.columns, cells)
    who = found.get("customer_id")
    again = who is not None and "occurred_at" in found and table.frame[who].duplicated().any()
    return [who] if who is not None and again else []


def _no_key(table: CustomerTable, key: str) -> str | None:
    """Why a column does not name each customer once."""
    if (n := (empty := table.missing(key)).sum()) > losses.SAID * len(empty):
        return (
            f"the id column {key!r} holds nothing in row {_row(empty)}, in {n:,} of {len(empty):,} rows: more than "
            f"{losses.SAID:.0%} do not leave; fill them in, or name another column with --id"
        )
    stripped = table.frame.assign(**{key: table.frame[key].str.strip()})
    rows = stripped[~empty].drop_duplicates()  # copies of a whole row leave later, counted
    if (again := rows[key].duplicated().reindex(table.frame.index, fill_value=False)).any():
        return (
            f"{stripped[key][again].iloc[0]!r} comes again in row {_row(again)} of the id column {key!r}, and a row "
            f"must be a customer; name another column with --id, or give a history of events as --history"
        )
    return None


def _row(where: pd.Series) -> int:
    """The first row that is meant, counted from 1 without the header."""
    return int(where.to_numpy().argmax()) + 1


def write(path: Path, columns: Mapping[str, Sequence[object]], separator: str = ",") -> None:
    """Writes columns of equal length as CSV; `path` holds either what it held before or all of them."""
    with replacing(path) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=separator, lineterminator="\n")
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))
