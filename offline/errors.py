"""What a job cannot do is one line for the person who asked: what was wrong, where, and what to do."""

import difflib
from collections.abc import Sequence


class OfflineError(ValueError):
    """The base of every error that a command prints as it is, with exit code 2."""


class HistoryError(OfflineError):
    """A history that cannot be read or cleaned as asked."""


def nearest(name: str, present: Sequence[str]) -> str:
    """What to say of a name that is not there.

    >>> nearest("Date", ["customer", "date"])
    "nearest is 'date' of 'customer', 'date'"
    """
    return f"nearest is {closest(name, present)!r} of {', '.join(map(repr, present))}"


def closest(name: str, present: Sequence[str]) -> str:
    """The name most like it, but for case.

    >>> closest("Date", ["customer", "date"])
    'date'
    """
    lower = {other.lower(): other for other in reversed(present)}
    return lower[difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0)[0]]
