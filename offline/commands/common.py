"""What the commands share: options that name a history, one line for what cannot be done, the bar on a terminal.

Rule: at its head a command imports click, the standard library and modules of ours that import nothing else, so that
help and whatever is refused unread come at once; a job is imported where it begins.
"""

import contextlib
import functools
import math
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from models.handover import HORIZON
from offline import writing
from offline.commands import shop
from offline.errors import OfflineError
from offline.history.policy import ACTIONS, ANY_CASE, LINE, METHODS, NAMED, ORDER, ROUNDED, Policy, known
from offline.history.units import code

if TYPE_CHECKING:
    from rich.progress import Progress

    from models.offers import Offers
    from offline.history.fold import Folded
    from offline.history.read import History
    from offline.history.spill import Each

Command = TypeVar("Command", bound=Callable[..., Any])
PAIR = re.compile(r'([^=,"]*)=(\s*"(?:[^"]|"")*"\s*|[^,]*)')
QUOTED = re.compile(r'"(?:[^"]|"")*"')
AT_END = "offline.at_end"
EXAMPLES = {
    "--columns": "customer_id=Customer,amount=Total",
    "--missing": "unit_price=median,product_id=drop",
    "--types": "purchase=Rechnung,return=Gutschrift",
    "--only": '"Financial Status=paid"',
    "--except": '"Status=test"',
    "--rate": "EUR=1.08,GBP=1.27",
}


class Number(click.FloatRange):
    """A number within a range; no range refuses `nan` by itself."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is no number.", param, ctx)
        return found


SHARE = Number(0, 1, min_open=True)


def mapping(text: str, option: str = "--columns") -> dict[str, str]:
    """`ours=theirs,...` as a dict; theirs in quotes may hold a comma. OfflineError where it is something else.

    >>> mapping('customer_id=Customer ID,amount="Total, EUR"')
    {'customer_id': 'Customer ID', 'amount': 'Total, EUR'}
    """
    found = pairs(text, option)
    names = dict(found)
    if len(names) < len(found):
        raise OfflineError(f"{option} {text!r}: a column of ours is named twice")
    return names


def pairs(text: str, option: str) -> list[tuple[str, str]]:
    """`left=right,...` in its order; OfflineError where it is something else."""
    found = [[name.strip() for name in pair] for pair in PAIR.findall(text)]
    whole = "".join(PAIR.sub("", text).split()).strip(",") == ""
    found = [[ours, theirs[1:-1].replace('""', '"') if QUOTED.fullmatch(theirs) else theirs] for ours, theirs in found]
    if not whole or any(not all(pair) for pair in found):
        raise OfflineError(f"{option} {text!r}: say ours=theirs,..., for example {EXAMPLES[option]}")
    return [(left, right) for left, right in found]


def theirs(text: str) -> dict[str, str]:
    """Event types, theirs (lower case) -> ours; OfflineError where one of theirs is said to mean two.

    >>> theirs("purchase=Sale,purchase=Order,return=Refund")
    {'sale': 'purchase', 'order': 'purchase', 'refund': 'return'}
    """
    found = [(theirs.lower(), ours) for ours, theirs in pairs(text, "--types")]
    if len(dict(found)) < len(found):
        raise OfflineError(f"--types {text!r}: a word of theirs is named twice")
    return dict(found)


def rows(texts: tuple[str, ...], option: str) -> tuple[tuple[str, str], ...]:
    """(column, value) of each `column=value`; OfflineError where one is something else.

    >>> rows(("Financial Status=paid",), "--only")
    (('Financial Status', 'paid'),)
    """
    found = [text.partition("=") for text in texts]
    for text, (column, _, _) in zip(texts, found, strict=True):
        if not column.strip() or "=" not in text:
            raise OfflineError(f"{option} {text!r}: say column=value, for example {EXAMPLES[option]}")
    return tuple((column.strip(), value.strip()) for column, _, value in found)


def of_currencies(text: str) -> dict[str, Decimal]:
    """Currencies by code; OfflineError for what is no rate.

    >>> of_currencies("€=1.08,GBP=1.27")
    {'EUR': Decimal('1.08'), 'GBP': Decimal('1.27')}
    """
    found = {}
    for name, number in pairs(text, "--rate"):
        if not re.fullmatch(r"\d{0,6}(\.\d{1,10})?", number) or not float(number):
            raise OfflineError(f"--rate {text!r}: {number!r} is no rate; for example {EXAMPLES['--rate']}")
        if code(name) in found:
            raise OfflineError(f"--rate {text!r}: {name} is named twice")
        found[code(name)] = Decimal(number)
    return found


def midnight(text: str, option: str = "--until") -> int:
    """A date as the day number of its midnight, UTC; OfflineError where it is something else.

    >>> midnight("1970-01-03")
    2
    """
    try:
        moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise OfflineError(f"{option} {text!r}: not a date like 1998-01-01") from None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).days


def date_of(day: int) -> str:
    """The other way round.

    >>> date_of(2)
    '1970-01-03'
    """
    return f"{datetime(1970, 1, 1) + timedelta(days=day):%Y-%m-%d}"


def now() -> int:
    """The moment, in us since the epoch: no cut-off by default is later."""
    return time.time_ns() // 1000


def readable(*paths: Path, option: str = "") -> None:
    """Raises OfflineError, one line that begins with `option`, for a file that is not there or cannot be opened."""
    for path in paths:
        try:
            path.open("rb").close()
        except IsADirectoryError as error:
            way_out = "" if option else f": name its files, as {path}/*.csv (with --history, once for each)"
            raise OfflineError(f"{option} {path}: cannot be read: {error.strerror}{way_out}".lstrip()) from None
        except OSError as error:
            raise OfflineError(f"{option} {path}: cannot be read: {error.strerror or error}".lstrip()) from None


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
    except BrokenPipeError:  # of what it prints: unlike a question, a job that breaks off may leave no file
        cannot("it broke off, for what it prints is read no further, as by `| head`: print into a file, `> said.txt`")
    except OSError as error:
        cannot(f"--out {out}: {error.strerror or error}")


def at_end(line: str) -> None:
    """What the program prints behind everything that the command does, if the command does its work."""
    if context := click.get_current_context(silent=True):
        context.meta.setdefault(AT_END, []).append(line)


class Bar:
    """Progress of a job; it shows on a terminal only."""

    def __init__(self, progress: "Progress") -> None:
        self.progress, self.task = progress, progress.add_task("", total=None)

    def step(self, description: str) -> None:
        """A step begins, of unknown length until `told`."""
        self.progress.update(self.task, description=description, total=None)

    def told(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)


@contextlib.contextmanager
def bar() -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as progress:
        yield Bar(progress)


@dataclass(frozen=True)
class Source:
    """A history as a person names it: files, names of their columns, time zone, cut-off (day number), horizon, and the
    day number that it begins at.

    Raises OfflineError for names and time zones that cannot be meant.
    """

    files: tuple[Path, ...]
    columns: dict[str, str]
    timezone: str
    until: int | None
    horizon: int
    policy: Policy = field(default_factory=Policy)
    quality_report: Path | None = None
    since: int | None = None

    def __post_init__(self) -> None:
        known(self.columns, self.timezone)

    def check(self) -> None:
        """Raises OfflineError where a file cannot be opened or the quality report cannot be written."""
        if self.quality_report is not None:
            writing.writable(self.quality_report, "--quality-report", parents=False)
        readable(*self.files)

    def read(self, bar: Bar, scratch: Path | None = None, each: "Each" = map, whole: bool = False) -> "History":
        """The cleaned events before the cut-off; writes the quality report. scratch, each: `history.read`. whole: all
        of them where no cut-off was said.

        Raises OfflineError.
        """
        from models.rows import DAY
        from offline.history import files

        bar.step("reading")
        opened = files.look(self.files, self.columns, self.policy)  # a wrong name shows before pandas is imported

        from offline.history import losses
        from offline.history import read as history

        since, until = (None if day is None else day * DAY for day in (self.since, self.until))
        read = history.clean(opened, self.timezone, until, bar.told, self.policy, scratch, each, now(), whole, since)
        if self.quality_report is not None:
            try:
                read.counts.write_csv(self.quality_report)
            except OSError as error:
                raise OfflineError(f"--quality-report {self.quality_report}: {error.strerror or error}") from None
        lost = losses.line(read.counts)
        if lost and losses.refused(read.counts) and not self.policy.allow_loss:
            names = ", ".join(map(str, self.files))
            raise OfflineError(f"{names}: too much would be lost: {lost}; mend the file, or say --allow-loss")
        if lost:
            at_end(f"lost: {lost}")
        if "customer_id" in self.policy.needs and (guests := losses.guests(read.counts)):
            at_end(guests)
        if "amount" in self.policy.needs and read.totals:
            at_end(f"orders: {read.totals}: {read.totals.way_out}")
        if twice := read.overlap:
            agree = (
                f"overlap: {twice} agree in customer, type, amount and day with one of an earlier file, not in their id"
            )
            way_out = f"each counts twice: leave a file out, or cut it with `offline clean --until {twice.begins}`"
            at_end(f"{agree}; {'few enough to be chance' if twice.chance else way_out}")
        return read

    def fold(
        self,
        read: "History",
        bar: Bar,
        offers: "Offers | None" = None,
        each: "Each" = map,
        somebody: bool = True,
    ) -> "Folded":
        """The customers at the cut-off. somebody: raises OfflineError where none of them bought anything."""
        from offline.history import clock, fold

        bar.step("folding")
        if told := clock.differ(read):
            at_end(f"days: {told}")
        if isinstance(read.parts, list):
            folded = fold.fold_parts(read.parts, read.cut_off, self.horizon, offers, each)
        else:
            folded = fold.fold(read.parts, read.cut_off, self.horizon, offers)
        if somebody and not len(folded.table):
            kept = f"{read.counts.kept:,} events"
            raise OfflineError(f"nobody bought anything in this history: none of its {kept} is a purchase")
        return folded


@contextlib.contextmanager
def tidied() -> Iterator[None]:
    """SIGTERM leaves the block as Ctrl-C does, so that what it made is taken away; then it ends the process as ever."""
    asked: list[int] = []

    def leave(number: int, _: object) -> None:
        asked.append(number)
        if len(asked) == 1:  # a second one does not cut the tidying short
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number, then in before.items():
        if then != signal.SIG_IGN:
            signal.signal(number, leave)
    try:
        yield
    finally:
        for number, then in before.items():
            signal.signal(number, then)
        if signal.SIGTERM in asked:
            signal.raise_signal(signal.SIGTERM)


@contextlib.contextmanager
def scratch(where: Path) -> Iterator[Path]:
    """A directory for the parts of a long history, gone at the end, also of a process that is asked to end; where its
    result goes, there is room for them."""
    with tidied(), tempfile.TemporaryDirectory(prefix=".parts-", dir=where.resolve()) as directory:
        yield Path(directory)


def _add(command: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def cleaning(command: Command, until: str = "none, all is kept") -> Command:
    """Adds the options that say how files are read and cleaned, and to the help which columns there may be; until: the
    cut-off by default, in words."""
    rows = "".join(f"\n      {n.name:<12}{n.type:<8}{n.needed:<24}{n.example}" for n in NAMED)
    command.__doc__ = (
        f"{command.__doc__}\n\n    \b\n    Columns (--columns ours=theirs), needed?, for example:{rows}\n    "
    )
    return _add(
        command,
        click.option(
            "--shop", type=click.Path(path_type=Path), is_eager=True, expose_value=False, callback=shop.defaults,
            help="YAML of these options, as `offline look` writes it.",
        ),
        click.option("--columns", default="", help="Column names that differ: ours=theirs,..."),
        click.option("--types", default="", help="Event types in words of theirs: purchase=Rechnung,return=Gutschrift"),
        click.option("--only", multiple=True, help="Rows that are wanted: 'Financial Status=paid'; again: or, and."),
        click.option("--except", "without", multiple=True, help="Rows that are not wanted: 'Status=test'."),
        click.option(
            "--fill-down", type=click.Choice(["order"]),
            help="Customer, time and type stand on the first line of an order only.",
        ),
        click.option("--rate", "rates", default="", help="What one of another currency is: EUR=1.08,GBP=1.27"),
        click.option(
            "--ids", multiple=True, type=click.Choice([ANY_CASE, ROUNDED]),
            help="any-case: those that differ in case alone are one; rounded: go on though a spreadsheet cut some off.",
        ),
        click.option("--timezone", default="UTC", show_default=True, help="Of times without an offset."),
        click.option("--from", "since", help="The first day, YYYY-MM-DD; default: that of the first event."),
        click.option("--until", help=f"Cut-off, YYYY-MM-DD, exclusive; default: {until}."),
        click.option("--encoding", help="Of CSV files; default: found out."),
        click.option("--delimiter", help="Of CSV files, one character or tab; default: found out."),
        click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark; default: found out."),
        click.option("--dayfirst/--monthfirst", default=None, help="Of dates like 01/02/2020; default: found out."),
        click.option("--missing", default="", help="Missing values: column=drop|mean|median|mode|constant:VALUE,..."),
        click.option("--key", default="", help="Of rows equal in these columns the first is kept: order_id,product_id"),
        click.option(
            "--amount-of", type=click.Choice([ORDER, LINE]),
            help="order: what an order came to stands on each of its lines, and counts once; line: the line's own.",
        ),
        click.option("--keep-duplicates", is_flag=True, help="Equal rows are real: a till that writes each scan."),
        click.option(
            "--cancelled", type=click.Choice(["drop", "keep"]), default="drop", show_default=True,
            help="Sales that a later return takes back whole, and that return.",
        ),
        click.option("--outliers", type=click.Choice(METHODS), help="Find unusual purchase amounts, on their logs."),
        click.option(
            "--outlier-action", type=click.Choice(ACTIONS), default="flag", show_default=True,
            help="Only count them, move them to the nearest usual amount, or drop them.",
        ),
        click.option("--allow-loss", is_flag=True, help="Go on though more than half of the rows or money is lost."),
        click.option(
            "--quality-report", type=click.Path(path_type=Path), help="CSV to write: what happened to every row."
        ),
    )  # fmt: skip


def source(command: Command, required: bool = True, horizon: bool = True, cut: bool = True) -> Command:
    """Adds the options that name a history; the command gets them as keywords for `sourced`.

    horizon: is a demand predicted? cut: is there a cut-off by default?
    """
    files = click.option(
        "--history", "files", multiple=True, required=required, type=click.Path(path_type=Path),
        help="CSV, Excel or Parquet file of events; may be given several times.",
    )  # fmt: skip
    days = click.option(
        "--horizon", default=HORIZON, show_default=True, type=click.IntRange(1, 255), help="Days that a demand spans."
    )
    until = "the midnight that begins the last event's day; of dates alone the one after it"
    cleaned = functools.partial(cleaning, until=until) if cut else cleaning
    return _add(command, files, cleaned, *([days] if horizon else []))


def naming(command: Command) -> Command:
    """Adds the option that gives the segments other names; the command gets it as a keyword for `called`."""
    file = click.Path(path_type=Path)
    return click.option("--names", type=file, help="YAML with other names of the segments, `Lost: Verloren`.")(command)


def called(names: Path | None) -> tuple[str, ...] | None:
    """The names by number that such a file gives. Raises OfflineError."""
    if names is None:
        return None
    readable(names, option="--names")
    from offline.segments import rule

    return rule.named(names)


def sourced(
    files: tuple[Path, ...],
    columns: str,
    timezone: str,
    until: str | None,
    since: str | None = None,
    horizon: int = HORIZON,
    quality_report: Path | None = None,
    **cleaning: Any,
) -> Source:
    """The Source that those options name. Raises OfflineError."""
    return Source(
        files,
        mapping(columns),
        timezone,
        midnight(until) if until else None,
        horizon,
        _policy(**cleaning),
        quality_report,
        midnight(since, "--from") if since else None,
    )


def _policy(
    delimiter: str | None = None,
    missing: str = "",
    key: str = "",
    cancelled: str = "drop",
    outlier_action: str = "flag",
    types: str = "",
    only: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    fill_down: str | None = None,
    rates: str = "",
    outliers: str | None = None,
    **found_out: Any,
) -> Policy:
    if outlier_action != "flag" and outliers is None:
        raise OfflineError(
            f"--outlier-action {outlier_action}: nobody looks for outliers; say how too, for example --outliers iqr"
        )
    return Policy(
        rates=of_currencies(rates),
        types=theirs(types),
        only=rows(only, "--only"),
        without=rows(without, "--except"),
        fill_down=fill_down is not None,
        delimiter="\t" if delimiter in ("tab", "\\t") else delimiter,
        missing=mapping(missing, "--missing"),
        key=tuple(name.strip() for name in key.split(",") if name.strip()),
        cancelled=cancelled == "drop",
        outliers=outliers,
        action=outlier_action,
        **found_out,
    )
