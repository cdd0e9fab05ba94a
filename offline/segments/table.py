"""A table of customers as a person keeps it: one row a customer, an id column, numbers and categories.

Rule: every cell is kept as the text it was, so what is written again is what was read; values are made of that text in
one place, `numbers`. Read are Parquet, and CSV whose encoding and delimiter are found out as for histories. In a file
with semicolons 12,5 is a number. Errors are one line: what, where, what to do.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from offline.errors import OfflineError, nearest
from offline.history import files
from offline.history.files import MISSING
from offline.writing import replacing

ID = re.compile(r"id|(customer|cust|client|user|member|household|person|account)[ _-]*(id|no|number|key)", re.I)
# Squares of larger numbers overflow in sums.
LARGEST = 1e100


class TableError(OfflineError):
    """A table of customers that cannot be read; its text is one line for the user."""


@dataclass(frozen=True, eq=False)
class CustomerTable:
    """frame: a row a customer, every column text, "" or a word of MISSING where there is nothing; id: its column."""

    frame: pd.DataFrame
    id: str | None
    separator: str = ","
    where: str = "the table"

    def missing(self, column: str) -> pd.Series:
        """Which cells hold nothing."""
        return self.frame[column].str.strip().isin(MISSING)

    def numbers(self, column: str) -> tuple[pd.Series, str | None]:
        """(float64, NaN where there is nothing or no number; the first text that is no number, None if all are)."""
        text = self.frame[column].str.strip()
        plain = text.str.replace(",", ".") if self.separator == ";" else text
        values = pd.to_numeric(plain, errors="coerce").astype(np.float64)
        values = values.where(values.abs() < LARGEST)
        bad = values.isna() & ~self.missing(column)
        return values, str(text[bad].iloc[0]) if bad.any() else None


def read(path: Path, id_column: str | None = None) -> CustomerTable:
    """The table in `path`; `id_column` is its key, by default the first column named like one. Raises OfflineError.

    A key is whole and unique: a file that repeats it is a history, not a table of customers.
    """
    with files.readable(path):
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        header, rows, separator = _parquet(path) if parquet else _csv(path)
    _check_header(path, header)
    if not len(rows):
        raise TableError(f"{path}: no row follows the header; each customer must be one")
    table = CustomerTable(rows, None, separator, str(path))
    return CustomerTable(rows, _key(table, id_column), separator, str(path))


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not any(header):
        raise TableError(f"{path}: the file is empty; the first line must name the columns")
    again = next((name for name in header if header.count(name) > 1), None)
    if again is not None:
        raise TableError(f"{path}: column {again!r} stands there more than once; rename one")


def _parquet(path: Path) -> tuple[list[str], pd.DataFrame, str]:
    table = pq.read_table(path)
    table.validate(full=True)
    rows = list(zip(*map(_text, table.columns), strict=True))
    return table.column_names, pd.DataFrame(rows, columns=table.column_names, dtype="str"), ","


def _text(column: pa.ChunkedArray) -> list[str]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        texts = column.cast(pa.large_string()).to_pylist()
    except pa.ArrowNotImplementedError:  # lists and structs
        texts = [None if value is None else repr(value) for value in column.to_pylist()]
    return ["" if text is None else text for text in texts]


def _csv(path: Path) -> tuple[list[str], pd.DataFrame, str]:
    with path.open(encoding=files.encoding_of(path), newline="") as file:
        separator, _ = files.header_of(file.read(1 << 16))
        file.seek(0)
        lines = csv.reader(file, delimiter=separator)
        header, rows = next(lines, []), []
        for row in lines:
            if len(row) == len(header):
                rows.append(row)
            elif row:  # an empty line is none
                raise TableError(
                    f"{path}: line {lines.line_num} has {len(row)} fields, the header {len(header)} (separated by "
                    f"{separator!r}); quote texts that hold a {separator!r}"
                )
    return header, pd.DataFrame(rows, columns=header, dtype="str"), separator


def _key(table: CustomerTable, named: str | None) -> str | None:
    header = table.frame.columns.tolist()
    if named is not None and named not in header:
        raise TableError(f"{table.where}: no column {named!r}; {nearest(named, header)}; name it with --id ...")
    keys = [named] if named is not None else [name for name in header if ID.fullmatch(name.strip())]
    wrong = [_no_key(table, key) for key in keys]
    if wrong and all(wrong):
        raise TableError(f"{table.where}: {wrong[0]}")
    return keys[wrong.index(None)] if keys else None


def _no_key(table: CustomerTable, key: str) -> str | None:
    """Why a column does not name each customer once."""
    if (empty := table.missing(key)).any():
        return f"the id column {key!r} holds nothing in row {_row(empty)}; name another column with --id"
    if (again := table.frame[key].duplicated()).any():
        return (
            f"{table.frame[key][again].iloc[0]!r} comes again in row {_row(again)} of the id column {key!r}, and a row "
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
