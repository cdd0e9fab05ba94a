"""CSV files to blocks of columns, by Arrow, and what becomes of rows that do not fit.

Rule: a row of another length than the header is counted, never read by halves; a file with a quote that is never closed
is refused with the line, for nobody knows how many rows the text has swallowed.
"""

import contextlib
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.csv

from offline.errors import HistoryError
from offline.history import rows
from offline.history.containers import Container
from offline.history.words import TOTAL

BLOCK = 1 << 20  # bytes; pyarrow reads up to 32 blocks ahead
LARGEST = 1 << 30  # a row may have as many
_SLACK = re.compile(r"[\s\",;|]*")


@dataclass(frozen=True)
class Layout:
    """How a CSV file is written. width: fields of its header; line: that of the header, the first is 1."""

    container: Container
    encoding: str
    delimiter: str
    width: int
    line: int

    @property
    def path(self) -> Path:
        return self.container.path

    def lines(self) -> TextIO:
        """The file as text; line ends are as they are."""
        return io.TextIOWrapper(self.container.open(), self.encoding, newline="")

    def rows(self) -> Iterator[rows.Row]:
        """The rows below the header, the slow way."""
        with self.lines() as text:
            for _ in range(self.line):
                next(text, "")
            yield from rows.rows(text, self.delimiter, self.line + 1)


@dataclass
class Uneven:
    """Rows of another length, counted while a file is read: blank ones, totals, and others. spans: has a value of the
    file's rows a line's end in it? checked: were its quotes looked at?"""

    blank: int = 0
    totals: int = 0
    others: int = 0
    spans: bool = False
    checked: bool = field(default=False, compare=False)

    def __call__(self, row: "pyarrow.csv.InvalidRow") -> str:
        self.spans |= "\n" in row.text or "\r" in row.text
        first = next((cell for cell in re.split(r"[,;\t|]", row.text) if cell.strip()), "")
        if _SLACK.fullmatch(row.text):
            self.blank += 1
        elif re.match(TOTAL, first):
            self.totals += 1
        else:
            self.others += 1
        return "skip"

    def begin(self) -> None:
        """A file is read from its start, perhaps again."""
        self.blank = self.totals = self.others = 0


def where(layout: Layout) -> str:
    """The first row of another length, in words."""
    for row in layout.rows():
        if row.fields != layout.width and not row.blank:
            found = f"line {row.line:,} has {row.fields} fields, the header {layout.width}"
            return f"{found} (separated by {layout.delimiter!r})"
    return ""


def line_of(layout: Layout, cells: Sequence[str]) -> int:
    """The line of the first row below the header that holds these texts; 0 where none does."""
    with layout.lines() as text:
        for _ in range(layout.line):
            next(text, "")
        lines = csv.reader(text, delimiter=layout.delimiter)
        with contextlib.suppress(csv.Error):  # a cell above is too large for it
            return next((layout.line + lines.line_num for row in lines if row == [*cells]), 0)
    return 0


def blocks(layout: Layout, uneven: Uneven, missing: Sequence[str]) -> Iterator[tuple[list[pa.Array], int]]:
    """The columns of each block, text, null for an unquoted word of `missing`; and how many bytes were read.

    Raises HistoryError for a quote that is never closed; whatever Arrow raises.
    """
    size, done = BLOCK, 0
    while True:
        seen = 0
        uneven.begin()
        try:
            for number, batch in enumerate(_batches(layout, size, uneven, missing), 1):
                seen += len(batch)
                if seen > done:
                    fresh = batch.slice(max(0, len(batch) - (seen - done)))
                    done = seen
                    uneven.spans = uneven.spans or any(map(_spans, fresh.columns))
                    _closed(layout, uneven)
                    yield fresh.columns, number * size
            _closed(layout, uneven)
            return
        except pa.ArrowInvalid as error:
            if "block" not in str(error):
                raise
            if "straddling" in str(error):
                uneven.spans = True
                _closed(layout, uneven)
            elif size > 16 * BLOCK:  # nothing follows the header
                return
            if (size := 8 * size) > LARGEST:
                what = f"a row of more than {LARGEST >> 20:,} MB; is it a CSV file?"
                raise HistoryError(f"{layout.path}: {what}") from None


def _batches(layout: Layout, size: int, uneven: Uneven, missing: Sequence[str]) -> Iterator[pa.RecordBatch]:
    names = [str(number) for number in range(layout.width)]
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=missing,
        strings_can_be_null=bool(missing),
        quoted_strings_can_be_null=False,
    )
    read = pyarrow.csv.ReadOptions(
        block_size=size, encoding=layout.encoding.removesuffix("-sig"), skip_rows=layout.line, column_names=names
    )
    parse = pyarrow.csv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=uneven)
    with layout.container.stream() as stream, pyarrow.csv.open_csv(stream, read, parse, convert) as source:
        yield from source


def _spans(column: pa.Array) -> bool:
    """Is there a line's end in a value of the column's buffer?"""
    data = column.buffers()[2]
    values = data.to_pybytes() if data is not None else b""
    return b"\n" in values or b"\r" in values


def _closed(layout: Layout, uneven: Uneven) -> None:
    """Looks at all quotes, once, where a value spans lines."""
    if uneven.checked or not uneven.spans:
        return
    uneven.checked = True
    if line := rows.unclosed(layout.rows(), layout.delimiter, layout.width):
        raise HistoryError(
            f"{layout.path}: a quote opens in line {line:,} and is not closed there: it would swallow rows below; "
            f'mend the line (within a text, a quote is written twice: 12"" inch)'
        )
