"""Where a table of text begins: its delimiter, the line that names its columns, and what stands above that line.

Rule: the header is the first line with the most of the names that are asked for; where there is none of them, the first
with as many fields as most lines have. Names compare without blanks, quotes or a mark around them.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

DELIMITERS = ",;\t|"
LINES = 200  # that are looked at
_SAID = re.compile(r'\ufeff?"?sep=(.)"?[,;\t|]*\r?\n?', re.IGNORECASE)  # as Excel writes and reads it
_NUMBER = re.compile(r"[-+(]?[\d.,' ]*\d[\d.,' ]*\)?%?")


@dataclass(frozen=True)
class Head:
    """names: of the columns. line: that holds them, counted from 1 (0: there is none); above: lines with text above it;
    asked: how many of the names that were asked for are among them; even: is it the first line, of several names, and
    has every row as many fields?"""

    delimiter: str
    names: list[str]
    line: int
    above: int
    asked: int
    even: bool = field(default=False, repr=False)

    @property
    def sure(self) -> bool:
        """Is it the first line, or one that has names that were asked for?"""
        return not self.above or self.asked > 0


def bare(name: str) -> str:
    """A name without what a program or a hand left around it.

    >>> bare('\\ufeff Order\\n Date\\u00a0'), bare('"Total"'), bare('so "called"')
    ('Order Date', 'Total', 'so "called"')
    """
    name = " ".join(name.replace("\ufeff", "").replace("\u200b", "").split())
    return name[1:-1].strip() if len(name) > 1 and name[0] == name[-1] == '"' else name


def head_of(start: str, asked: Collection[str] = (), told: str | None = None) -> Head:
    """The head in the first characters of a file. asked: names that are looked for. told: the delimiter.

    >>> head_of("Orders of May\\n\\nid;total\\n1;2,5\\n2;3,5\\n")
    Head(delimiter=';', names=['id', 'total'], line=3, above=1, asked=0)
    """
    said = _SAID.match(start)
    skipped = 1 if said else 0
    text = start[said.end() :] if said else start
    marks = told or (said[1] if said else DELIMITERS)
    heads = [_head(lines_of(text, mark), mark, asked, skipped) for mark in marks]
    return max(
        heads, key=lambda head: (head.asked, _words(head.names), head.even, sum(map(bool, head.names)), -head.above)
    )


def lines_of(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """(number of its last line, fields) of each of the first rows that are not blank; the last one may be cut off."""
    rows, lines = [], csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for row in lines:
        if any(map(bare, row)):
            rows.append((lines.line_num, row))
        if len(rows) > LINES:
            break
    return rows if len(rows) < 3 or text.endswith(("\n", "\r")) else rows[:-1]


def header_at(rows: Sequence[Sequence[str]], asked: Collection[str] = (), even: bool = True) -> tuple[int, int]:
    """(which row names the columns, how many of the names that are asked for it has); rows: at least one. even: are all
    rows of a table as long as its header? In a spreadsheet those are shorter whose last cells are empty.

    >>> rows = [["a title"], ["id", "total"], ["1", "2"], ["2", ""]]
    >>> header_at(rows, {"id"}), header_at(rows)
    ((1, 1), (1, 0))
    """
    lengths, usual = _lengths(rows)
    hits = [len(set(asked) & set(map(bare, row))) for row in rows]
    most, found = max(hits), hits.index(max(hits))
    if most > 1 or (most == 1 and (found == 0 or lengths[found] >= usual)):
        return found, most
    fits = (at for at, n in enumerate(lengths) if n == usual or (n > usual and not even))
    return next(fits, 0), 0


def _lengths(rows: Sequence[Sequence[str]]) -> tuple[list[int], int]:
    """(fields of each row, of most): without the empty field with which all of them may end."""
    counts = Counter(map(len, rows))
    usual = counts.most_common(1)[0][0]
    while usual > 1 and not any(bare(row[usual - 1]) for row in rows if len(row) == usual):
        usual -= 1
    return [len(row) if any(map(bare, row[usual:])) else min(len(row), usual) for row in rows], usual


def _head(rows: list[tuple[int, list[str]]], mark: str, asked: Collection[str], skipped: int) -> Head:
    if not rows:
        return Head(mark, [], 0, 0, 0)
    at, hits = header_at([row for _, row in rows], asked)
    line, names = rows[at][0], [bare(name) for name in rows[at][1]]
    below = [row for _, row in rows[at + 1 :]]
    usual = Counter(map(len, below)).most_common(1)[0][0] if below else len(names)
    if not (any(names[usual:]) or any(any(map(bare, row[len(names) :])) for row in below)):
        names = (names + [""] * usual)[:usual]  # either the header or the rows end in a delimiter
    even = at == 0 and len(names) > 1 and all(len(row) == len(rows[0][1]) for row in below)
    return Head(mark, names, line + skipped, at, hits, even)


def _words(names: list[str]) -> bool:
    """Several, none of them a number: so are those of most tables, and never the whole line of one."""
    return sum(map(bool, names)) > 1 and not any(map(_NUMBER.fullmatch, names))
