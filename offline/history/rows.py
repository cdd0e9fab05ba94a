"""The rows of a CSV file as lines of text: where one is of another length, where a quote opens that is never closed.

Rule: this is the slow way, gone only when the fast one has met something that needs a line number. A quote is closed by
one that a delimiter or the line's end follows; text between quotes may hold lines, but none that is a row of the file.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

HELD = 1_000  # lines of one text that are looked at


@dataclass
class Row:
    """line: of its beginning; fields: how many; opened: line of the first text that spans lines, with the fields before
    it; inner: lines within such texts, but for the first of each; broken: is a text never closed, or not at its end?"""

    line: int
    fields: int = 1
    opened: int = 0
    before: str = ""
    inner: list[str] = field(default_factory=list)
    broken: bool = False
    blank: bool = False


def rows(lines: Iterable[str], delimiter: str, first: int) -> Iterator[Row]:
    """lines: with their ends, from line `first` on."""
    row: Row | None = None
    for number, line in enumerate(lines, first):
        at = 0
        if row is None:
            row = Row(number, blank=not line.strip())
        elif (at := _closing(line, 0)) < 0:
            row.inner += [line] if len(row.inner) < HELD else []
            continue
        else:
            row.inner.append(line[: at - 1])
            rest = line[at:].strip(" \r\n")
            row.broken |= bool(rest) and not rest.startswith(delimiter)
        opens = _fields(row, line, at, delimiter)
        if opens >= 0:
            row.opened, row.before = row.opened or number, row.before or line[:opens]
            continue
        yield row
        row = None
    if row is not None:
        row.broken = True
        yield row


def _closing(line: str, at: int) -> int:
    """Where the quoted text ends that goes on at `at`, behind its closing quote; -1 if not in this line."""
    while (at := line.find('"', at)) >= 0:
        if line[at + 1 : at + 2] != '"':
            return at + 1
        at += 2
    return -1


def _fields(row: Row, line: str, at: int, delimiter: str) -> int:
    """Counts the fields that begin in the rest of a line. Returns where a text opens that does not end in it, or -1."""
    if '"' not in line:
        row.fields += line.count(delimiter)
        return -1
    begins = at == 0
    while True:
        if begins and line[at : at + 1] == '"':
            opened = at
            if (at := _closing(line, at + 1)) < 0:
                return opened
        if (at := line.find(delimiter, at)) < 0:
            return -1
        row.fields, at, begins = row.fields + 1, at + 1, True


def unclosed(found: Iterable[Row], delimiter: str, fields: int) -> int | None:
    """The line where a quote opens that is not closed in its own row.

    >>> text = '1,2,"a\\nb"\\n2,3,"12 inch\\n3,4,x\\n4,5,y\\n'
    >>> unclosed(rows(text.splitlines(keepends=True), ",", 2), ",", 3)
    4
    """
    return next((row.opened or row.line for row in found if row.broken or _swallowed(row, delimiter, fields)), None)


def _swallowed(row: Row, delimiter: str, fields: int) -> bool:
    """Is a line within a text a row like its own: as many fields, alike in what stands before the text?"""
    own = next(csv.reader([row.before], delimiter=delimiter), [])[:-1]  # the text that opens is the last
    for line in row.inner:
        cells = next(csv.reader([line], delimiter=delimiter), [])
        if len(cells) == fields > 1 and own and all(map(_alike, own, cells)):
            return True
    return False


def _alike(one: str, other: str) -> bool:
    """Do both have digits, and both letters, or neither?"""
    kinds = ((any(map(str.isdigit, text)), any(map(str.isalpha, text))) for text in (one, other))
    return next(kinds) == next(kinds)
