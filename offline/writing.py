"""Files that are written as a whole or not at all, and where they can be."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from offline.errors import OfflineError

if TYPE_CHECKING:
    import pandas as pd


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what shall stand at `path`, which until then holds what it held before, also after an error; then
    what was begun is gone, for a full disk has no room for it."""
    fresh = path.with_name(path.name + ".new")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def writable(path: Path, option: str = "--out", parents: bool = True) -> None:
    """Raises OfflineError, one line that begins with `option`, where no file can be written: now, not after the job.

    That is also where another option of the command names the same file, which is read, or written too. parents: are
    directories made that are not there?
    """
    for name, other in _named(option):
        if other.resolve() == path.resolve():
            raise OfflineError(f"{option} {path}: {name} names the same file; name another one")
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.is_dir():
            raise OfflineError(f"{option} {path}: is a directory; name a file in it")
    except OSError as error:
        raise OfflineError(f"{option} {path}: {error.strerror or error}") from None


def _named(option: str) -> Iterator[tuple[str, Path]]:
    """(option or argument, path) of every other path that the command was given."""
    context = click.get_current_context(silent=True)
    if context is None:
        return
    for parameter in context.command.params:
        values = context.params.get(parameter.name or "", context.meta.get(f"offline.{parameter.name}"))
        for value in values if isinstance(values, tuple) else (values,):
            if isinstance(value, Path) and option not in parameter.opts:
                argument = (parameter.name or "").upper()
                yield (argument if isinstance(parameter, click.Argument) else parameter.opts[0]), value


def write(table: "pd.DataFrame", path: Path) -> None:
    """`path` holds either what it held before or the whole table, as CSV."""
    with replacing(path) as fresh:
        table.to_csv(fresh, index=False)
