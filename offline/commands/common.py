"""What the commands share: options that name a history, one line for what cannot be done, the bar on a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from models.customers import DAY, HORIZON
from offline.errors import OfflineError

if TYPE_CHECKING:
    from offline.fold import Folded
    from offline.history import History

Command = TypeVar("Command", bound=Callable[..., Any])


def mapping(text: str) -> dict[str, str]:
    """`ours=theirs,...` as a dict; OfflineError where it is something else.

    >>> mapping("customer_id=Customer ID,amount=Total")
    {'customer_id': 'Customer ID', 'amount': 'Total'}
    """
    pairs = [[name.strip() for name in pair.split("=", 1)] for pair in text.split(",") if pair.strip()]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise OfflineError(f"--columns {text!r}: say ours=theirs,..., for example customer_id=Customer,amount=Total")
    names = dict(pairs)
    if len(names) < len(pairs):
        raise OfflineError(f"--columns {text!r}: a column of ours is named twice")
    return names


def midnight(text: str) -> int:
    """A date as the day number of its midnight, UTC; OfflineError where it is something else.

    >>> midnight("1970-01-03")
    2
    """
    try:
        moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise OfflineError(f"--until {text!r}: not a date like 1998-01-01") from None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).days


def cannot(reason: object) -> NoReturn:
    """One line on stderr, exit code 2."""
    click.echo(f"offline: {reason}", err=True)
    sys.exit(2)


@contextlib.contextmanager
def one_line(out: Path) -> Iterator[None]:
    """Whatever a job cannot do becomes one line; an error of the system is one of writing `out`."""
    try:
        yield
    except OfflineError as error:
        cannot(error)
    except OSError as error:
        cannot(f"--out {out}: {error.strerror or error}")


class Bar:
    """Progress of a job; it shows on a terminal only."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.task = progress, progress.add_task("", total=None)

    def step(self, description: str) -> None:
        """A step begins, of unknown length until `told`."""
        self.progress.update(self.task, description=description, total=None)

    def told(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)


@contextlib.contextmanager
def bar() -> Iterator[Bar]:
    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as progress:
        yield Bar(progress)


@dataclass(frozen=True)
class Source:
    """A history as a person names it: files, names of their columns, time zone, cut-off (day number) and horizon."""

    files: tuple[Path, ...]
    columns: dict[str, str]
    timezone: str
    until: int | None
    horizon: int

    def read(self, bar: Bar) -> "History":
        """The cleaned events before the cut-off. Raises HistoryError."""
        from offline import history

        bar.step("reading")
        return history.read(
            self.files, self.columns, self.timezone, None if self.until is None else self.until * DAY, bar.told
        )

    def fold(self, read: "History", bar: Bar) -> "Folded":
        """The customers at the cut-off, by default the midnight after the last event."""
        from offline import fold

        bar.step("folding")
        day = self.until if self.until is not None else int(read.frame["occurred_at"].max()) // DAY + 1
        return fold.fold(read.frame, day, self.horizon)


def source(command: Command) -> Command:
    """Adds the options that name a history; the command gets them as keywords for `sourced`."""
    for option in reversed(
        (
            click.option(
                "--history", "files", multiple=True, required=True, type=click.Path(path_type=Path),
                help="CSV or Parquet file of events; may be given several times.",
            ),
            click.option("--columns", default="", help="Column names that differ: ours=theirs,..."),
            click.option("--timezone", default="UTC", show_default=True, help="Of times without an offset."),
            click.option("--until", help="Cut-off, YYYY-MM-DD, exclusive; default: the midnight after the last event."),
            click.option(
                "--horizon", default=HORIZON, show_default=True, type=click.IntRange(1, 255),
                help="Days that a demand spans.",
            ),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def sourced(files: tuple[Path, ...], columns: str, timezone: str, until: str | None, horizon: int) -> Source:
    """The Source that those options name. Raises OfflineError."""
    return Source(files, mapping(columns), timezone, midnight(until) if until else None, horizon)
