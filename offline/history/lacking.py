"""The columns that a history has under no name of ours, for jobs that do without some of them.

Rule: which other column may be meant is a guess by its name, told and never followed.
"""

from collections.abc import Sequence

from offline.history import files, guess
from offline.history.files import File
from offline.history.policy import NAMED, NEEDS

UNKNOWN = "..."


def lacking(opened: Sequence[File]) -> dict[str, str]:
    """What of NEEDS no file has: our name -> the column that is named like one, UNKNOWN where none is."""
    return {
        column.name: next(filter(None, (_alike(file, column.name) for file in opened)), UNKNOWN)
        for column in NAMED
        if column.name in NEEDS and not any(files.has(file, column.name) for file in opened)
    }


def _alike(file: File, ours: str) -> str | None:
    """Of the columns that nobody mapped."""
    return guess.named(ours, [name for at, name in enumerate(file.header) if at not in file.at.values()])
