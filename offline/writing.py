"""Files that are written as a whole or not at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from offline.errors import OfflineError

if TYPE_CHECKING:
    import pandas as pd


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what shall stand at `path`, which until then holds what it held before, also after an error."""
    fresh = path.with_name(path.name + ".new")
    yield fresh
    fresh.replace(path)


def writable(path: Path) -> None:
    """Raises OfflineError or OSError where no file can be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise OfflineError(f"{path}: is a directory; name a file in it")


def write(table: "pd.DataFrame", path: Path) -> None:
    """`path` holds either what it held before or the whole table, as CSV."""
    with replacing(path) as fresh:
        table.to_csv(fresh, index=False)
