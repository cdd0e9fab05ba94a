"""A small CSV file that a person hands to an option, such as names of products: UTF-8, commas, named columns.

Histories are another matter (offline/history/files.py): they are large, and come in any encoding.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from offline.errors import OfflineError, nearest


def rows(
    path: Path, option: str, wanted: Sequence[str], key: str, optional: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Each row's values of the wanted columns (`key` is one of them), and of optional ones that are there.

    In the file's order; blank lines are passed over.

    Raises OfflineError, one line that begins with `option`: a file that cannot be read, a missing column, a row with
    too few values, an empty or repeated `key`.
    """
    where = f"{option} {path}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = next(lines, [])
            found = [(lines.line_num, row) for row in lines if row]
    except UnicodeError:
        raise OfflineError(f"{where}: not UTF-8; convert it, for example: iconv -f LATIN1 -t UTF-8") from None
    except (OSError, csv.Error) as error:
        raise OfflineError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for name in wanted:
        if name not in header:
            told = f"{nearest(name, header)}; rename it" if header else "the file is empty"
            raise OfflineError(f"{where}: no column {name!r} among its comma-separated columns; {told}")
    seen: set[str] = set()
    for number, row in found:
        if len(row) != len(header):
            raise OfflineError(f"{where}: line {number} has {len(row)} values, the first line {len(header)} names")
        if (value := row[header.index(key)]) in seen or not value:
            raise OfflineError(f"{where}: line {number}: {key} {'is empty' if not value else f'{value!r} came before'}")
        seen.add(value)
    at = {name: header.index(name) for name in (*wanted, *optional) if name in header}
    return [{name: row[place] for name, place in at.items()} for _, row in found]
