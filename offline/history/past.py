"""What the cleaning of before did to the rows: a cleaned history carries its data-quality tables in its own metadata.

Rule: they are for people; a file without them, or with some that cannot be read, is read all the same.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from offline.history.quality import Counts, Line

KEY = b"crm.cleaning"


class Cleaning(NamedTuple):
    """files: the names of what was cleaned; lines: what became of their rows (`Counts.lines`), from read to kept."""

    files: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def kept(self) -> str:
        """
        >>> lines = [("read", "", "read", 9), ("dates", "", "dropped: bad time", 2), ("kept", "", "kept", 7)]
        >>> Cleaning(("a.csv",), tuple(Line(*line) for line in lines)).kept
        'Cleaning a.csv before kept 7 of 9 rows; dropped: 2 bad time.'
        """
        shares = f"{self.lines[-1].rows:,} of {self.lines[0].rows:,} rows"
        return f"Cleaning {', '.join(self.files)} before kept {shares}{dropped(self.lines)}."


def dropped(lines: Iterable[Line]) -> str:
    """Why rows left, to go on a sentence with; empty where none did.

    >>> dropped([Line("read", "", "read", 9), Line("dates", "", "dropped: bad time", 2)])
    '; dropped: 2 bad time'
    """
    mark = "dropped: "
    why = [
        f"{each.rows:,} {each.what.removeprefix(mark)}" for each in lines if each.what.startswith(mark) and each.rows
    ]
    return f"; {mark}{', '.join(why)}" if why else ""


def told(paths: Iterable[Path], counts: Counts) -> list[Cleaning]:
    """The cleanings that a history read from these files with these counts went through, the earliest first."""
    files = list(paths)
    return [*before(files), Cleaning(tuple(path.name for path in files), tuple(counts.lines()))]


def before(paths: Iterable[Path]) -> list[Cleaning]:
    """Those that the files went through before they were read; none of CSV files."""
    return [cleaning for path in paths for cleaning in _of(path)]


def metadata(cleanings: Sequence[Cleaning]) -> dict[bytes, bytes]:
    """What a file says of them."""
    return {KEY: json.dumps(cleanings, ensure_ascii=False).encode()} if cleanings else {}


def _of(path: Path) -> list[Cleaning]:
    import pyarrow.parquet as pq

    try:
        kept = json.loads((pq.read_schema(path).metadata or {}).get(KEY, b"[]"))
        return [Cleaning(tuple(files), tuple(Line(*line) for line in lines)) for files, lines in kept]
    except (ValueError, TypeError, OSError):  # no Parquet, or written by somebody else
        return []
