"""CSV files that a command writes."""

from pathlib import Path
from typing import TYPE_CHECKING

from offline.errors import OfflineError
from offline.replacing import replacing

if TYPE_CHECKING:
    import pandas as pd


def writable(path: Path) -> None:
    """Raises OfflineError or OSError where no file can be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise OfflineError(f"{path}: is a directory; name a file in it")


def write(table: "pd.DataFrame", path: Path) -> None:
    """`path` holds either what it held before or the whole table."""
    with replacing(path) as fresh:
        table.to_csv(fresh, index=False)
