"""Excel files (.xlsx) to blocks of columns, by openpyxl, an optional extra.

Rule: numbers and dates are the values of their cells, whatever they are shown as; only text is looked at for formats.
The sheet that names the most of what is asked for is read; where another one has nearly all of these names too (in
capitals or not), a person must say which.
"""

import contextlib
import itertools
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from offline.errors import HistoryError
from offline.history.header import LINES, bare, header_at
from offline.history.units import code
from offline.history.words import MISSING

ROWS = 1 << 14  # of a block
NEARLY = 0.75  # of the names: so is last year's sheet, and no sum by customer, which has no dates
DAMAGED = (  # what openpyxl raises of a file that no program wrote so; XML that breaks off is a SyntaxError
    *(SyntaxError, KeyError, ValueError, TypeError, AttributeError, IndexError, OSError, EOFError),
    *(zlib.error, zipfile.BadZipFile),
)


@contextlib.contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    """Whatever openpyxl raises becomes one line."""
    try:
        yield
    except DAMAGED as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise HistoryError(
            f"{path}: an Excel file that cannot be read ({why}): save it anew in the program that it is for, or as CSV"
        ) from None


@contextlib.contextmanager
def _workbook(path: Path, values: bool = True) -> Iterator[Any]:
    """values: of formulas what came of them, as far as it was saved."""
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise HistoryError(
            f"{path}: an Excel file, for which openpyxl is not installed; pip install '.[excel]', or save it as CSV"
        ) from None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="openpyxl")  # of styles and extensions, which are no cells
        with _undamaged(path):
            book = _load(path, values)
        try:
            yield book
        finally:
            book.close()


def _load(path: Path, values: bool) -> Any:
    """openpyxl's workbook, read as it is needed. A chart on a sheet of its own has no cells, and one without a drawing
    is none that openpyxl reads."""
    from openpyxl.chartsheet import Chartsheet
    from openpyxl.reader.excel import ExcelReader

    class Reader(ExcelReader):
        def read_chartsheet(self, sheet: Any, rel: Any) -> None:
            self.wb._sheets.append(Chartsheet(parent=self.wb))  # type: ignore[attr-defined]

    reader = Reader(path, read_only=True, data_only=values)
    try:
        reader.read()
    except BaseException:  # else it stays open until garbage is collected; its archive would wait for members' ends
        reader.archive.fp.close()  # type: ignore[union-attr]
        raise
    return reader.wb


def _cells(path: Path, sheet: Any, **bounds: int) -> Iterator[Sequence[Any]]:
    """The rows of a sheet."""
    with _undamaged(path):
        yield from sheet.iter_rows(values_only=True, **bounds)


def head(path: Path, asked: Collection[str]) -> tuple[str, list[str], int, int, frozenset[int], str]:
    """(sheet, names of its columns, row of these, rows with text above it, columns without text, what to tell)."""
    found = _visible(path)
    if not found:
        return "", [], 0, 0, frozenset(), ""
    at = [header_at([_texts(row) for _, row in rows], asked, even=False) for _, rows in found]
    headers = [[bare(text) for text in _texts(rows[row][1])] for (_, rows), (row, _) in zip(found, at, strict=True)]
    which = max(range(len(at)), key=lambda n: at[n][1])
    (title, rows), (row, best), names = found[which], at[which], headers[which]
    alike = [hits == best or _alike(names, header, asked) for (_, hits), header in zip(at, headers, strict=True)]
    if best and sum(alike) > 1:
        both = " and ".join(repr(title) for (title, _), is_ in zip(found, alike, strict=True) if is_)
        raise HistoryError(f"{path}: sheets {both} both name the columns; save each that is meant as a file of its own")
    typed = _typed([cells for _, cells in rows[row + 1 :]], len(names))
    told = f"sheet {title!r}" + f" of {len(found)}" * (len(found) > 1)
    return title, names, rows[row][0], row, typed, told


def names(path: Path) -> set[str]:
    """All that may name a column: the texts of the first rows of every sheet that is shown."""
    return {bare(text) for _, rows in _visible(path) for _, row in rows for text in row if isinstance(text, str)}


def _alike(names: Sequence[str], others: Sequence[str], asked: Collection[str]) -> bool:
    """Have others nearly all of the names that are asked for, in any case?"""
    wanted = {name.casefold() for name in names if name in asked}
    return len(wanted & {name.casefold() for name in others}) >= max(2, NEARLY * len(wanted))


def _visible(path: Path) -> list[tuple[str, list[tuple[int, Sequence[Any]]]]]:
    """(title, `_first`) of each sheet that is shown and not blank."""
    with _workbook(path) as book:
        shown = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        return [(sheet.title, rows) for sheet in shown if (rows := _first(path, sheet))]


def _first(path: Path, sheet: Any) -> list[tuple[int, Sequence[Any]]]:
    """(number, cells) of the first rows that are not blank."""
    rows = ((n, row) for n, row in enumerate(_cells(path, sheet), 1) if any(map(_text, row)))
    return list(itertools.islice(rows, LINES))


def _texts(row: Sequence[Any]) -> list[str]:
    texts = [_text(cell) or "" for cell in row]
    while texts and not texts[-1].strip():
        texts.pop()
    return texts


def _typed(rows: Sequence[Sequence[Any]], width: int) -> frozenset[int]:
    """Columns in which a cell that holds something holds no text."""
    words = {at for row in rows for at, cell in enumerate(row[:width]) if isinstance(cell, str) and _text(cell)}
    return frozenset(range(width)) - words


def _text(cell: Any) -> str | None:
    """A cell as text: dates in ISO 8601, numbers by their shortest decimal; None for nothing and for errors."""
    if cell is None or isinstance(cell, bool):
        return None if cell is None else str(cell).lower()
    if isinstance(cell, (datetime, date, time)):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, timedelta):
        return str(cell)
    return str(cell)


def _cell(cell: Any, unmarked: bool) -> str | None:
    """A cell as text; unmarked: a number without a decimal mark, which a text beside it may write another way.

    >>> _cell(1.125, False), _cell(1.125, True), _cell("1,5", True)
    ('1.125', '1125e-3', '1,5')
    """
    text = _text(cell)
    if not unmarked or not isinstance(cell, float) or text is None or "." not in text or "e" in text:
        return text
    whole, _, part = text.partition(".")
    return f"{whole}{part}e-{len(part)}"


def formulas(path: Path, sheet: str, line: int, width: int) -> set[int]:
    """The columns that hold formulas below row `line`, in its first rows."""
    with _workbook(path, values=False) as book:
        rows = itertools.islice(_cells(path, book[sheet], min_row=line + 1, max_col=width), LINES)
        return {at for row in rows for at, cell in enumerate(row) if _formula(cell)}


def _formula(cell: Any) -> bool:
    """Is it one, also of several cells?"""
    return cell.startswith("=") if isinstance(cell, str) else type(cell).__name__.endswith("Formula")


def currencies(path: Path, sheet: str, line: int, at: int) -> Counter[str]:
    """How many numbers of a column, below row `line`, are shown in each currency; nothing of a workbook in which no two
    currencies are shown, for it takes another reading."""
    from openpyxl.styles.numbers import BUILTIN_FORMATS, BUILTIN_FORMATS_MAX_SIZE

    found = Counter[str]()
    with _workbook(path) as book:
        formats = BUILTIN_FORMATS | dict(enumerate(book._number_formats, BUILTIN_FORMATS_MAX_SIZE))
        if len({_money(formats.get(style.numFmtId, "")) for style in book._cell_styles} - {""}) > 1:
            with _undamaged(path):
                for (cell,) in book[sheet].iter_rows(min_row=line + 1, min_col=at + 1, max_col=at + 1):
                    if isinstance(cell.value, (int, float)) and (name := _money(cell.number_format)):
                        found[name] += 1
    return found


@lru_cache
def _money(shown: str) -> str:
    """The currency in which a format shows numbers, "" where in none.

    >>> [_money(shown) for shown in ('#,##0.00 [$€-407]', '_("$"* #,##0.00_)', '0.00 "CHF"', "£#,##0")]
    ['EUR', 'USD', 'CHF', 'GBP']
    >>> [_money(shown) for shown in ("[$-409]d. mmm yy", "[Red]#,##0.00", '0.0 "kg"', "General")]
    ['', '', '', '']
    """
    from offline.history.numerals import known  # now: it imports pandas, and a wrong name shows before

    words = re.findall(r'\[(?:\$([^\]-]*))?[^\]]*\]|"([^"]*)"|([$€£¥₹₽₩₺₴])', shown)
    return next((code(word) for word in map(str.strip, map("".join, words)) if word and known(word)), "")


def blocks(
    path: Path, sheet: str, line: int, width: int, words: Sequence[str] = MISSING, mixed: Collection[int] = ()
) -> Iterator[tuple[list[pa.Array], int]]:
    """The columns of each block below row `line`, as text; null for an empty cell and a word of `words`; rows done.
    mixed: columns of numbers in which texts stand too, with a decimal mark of theirs."""
    nothing = frozenset(words)
    with _workbook(path) as book:
        rows = _cells(path, book[sheet], min_row=line + 1, max_col=width)
        texts = (found for row in rows if any(found := [_cell(cell, at in mixed) for at, cell in enumerate(row)]))
        done = 0
        while block := list(itertools.islice(texts, ROWS)):
            done += len(block)
            full = ([None if text in nothing else text for text in row] + [None] * (width - len(row)) for row in block)
            yield [pa.array(column, pa.large_string()) for column in zip(*full, strict=True)], done
