"""Files that are written as a whole or not at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what shall stand at `path`, which until then holds what it held before, also after an error."""
    fresh = path.with_name(path.name + ".new")
    yield fresh
    fresh.replace(path)
