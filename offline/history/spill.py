"""Rows that may outgrow memory: few stay there, many go to files, all of a customer into one.

Rule: what the rows become does not depend on where they went. Each part holds its rows in the order in which they came,
and a customer's part follows from the id alone. A spreadsheet's 17850.0 goes where 17850 goes, for it may be the same.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline.writing import replacing

HELD = 1 << 20  # rows
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # `map`, or another that does the same elsewhere
PARTS = 64  # a part of 100 million rows is 1.6 million


class Spill:
    """Takes tables of one schema with a column customer_id. directory: of the files; None: everything is held."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.held: list[pa.Table] = []
        self.writers: list[pa.ipc.RecordBatchFileWriter] = []

    def add(self, table: pa.Table) -> None:
        if self.directory is not None and self.held and sum(map(len, [*self.held, table])) > HELD:
            self._write(self.directory)
        self.held.append(table)

    def close(self) -> pa.Table | list[Path]:
        """All rows, or the files of the parts if they were too many (`load` reads one)."""
        if self.directory is None or not self.writers:
            return pa.concat_tables(self.held)
        self._write(self.directory)
        for writer in self.writers:
            writer.close()
        return [self._path(self.directory, part) for part in range(PARTS)]

    def _write(self, directory: Path) -> None:
        rows = pa.concat_tables(self.held)
        self.held = []
        if not self.writers:
            self.writers = [pa.ipc.new_file(self._path(directory, part), rows.schema) for part in range(PARTS)]
        part = _part(rows["customer_id"])
        rows = rows.take(pa.array(np.argsort(part, kind="stable")))
        edges = np.cumsum(np.bincount(part, minlength=PARTS)).tolist()
        for writer, start, end in zip(self.writers, [0, *edges], edges, strict=False):
            writer.write_table(rows.slice(start, end - start))

    def _path(self, directory: Path, part: int) -> Path:
        return directory / f"{part}.arrow"


def _part(customers: pa.ChunkedArray) -> NDArray[np.int16]:
    bare = pc.replace_substring_regex(customers, r"\.0$", "")
    hashes: NDArray[np.uint64] = pd.util.hash_array(bare.to_numpy(), categorize=False)
    return (hashes % PARTS).astype(np.int16)


def load(path: Path) -> pa.Table:
    """The rows of a part, as they lie in its file: what is not looked at is not read."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def store(table: pa.Table, path: Path) -> None:
    """Writes a part; `path` holds either nothing or all of it."""
    with replacing(path) as fresh, pa.ipc.new_file(fresh, table.schema) as file:
        file.write_table(table)
