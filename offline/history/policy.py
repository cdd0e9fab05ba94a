"""What a person decided about cleaning: how files are read, and which rows leave the history or are changed.

Rule: nothing here looks at data, and whatever cannot be meant is refused before a file is opened.
"""

import codecs
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from models.handover import CLEANED
from models.kinds import NUMBER_OF
from offline.errors import HistoryError, nearest

NUMBERS = ("amount", "quantity", "unit_price")
OURS = (*(column.ours or column.name for column in CLEANED.columns), "unit_price", "currency", "time_of_day")


class Named(NamedTuple):
    """A column as its owner names it: by ours, or told with --columns. needed: what happens without it."""

    name: str
    type: str
    needed: str
    example: str


NAMED = (
    Named("customer_id", "text", "yes", "C-17"),
    Named("occurred_at", "time", "yes", "2026-03-01 12:00"),
    Named("time_of_day", "time", "no: it stands beside the date", "12:00"),
    Named("amount", "number", "yes, or the next two", "19.80"),
    Named("quantity", "number", "no: one unit", "2"),
    Named("unit_price", "number", "no", "9.90"),
    Named("currency", "code", "no: one currency", "EUR"),
    Named("event_type", "word", "no: a purchase", "purchase, return, view, cart"),
    Named("order_id", "text", "no: a line is an order", "O-5"),
    Named("product_id", "text", "no", "sku-9"),
    Named("event_id", "text", "no: made up", "E-1"),
)
IDS = tuple(column.name for column in CLEANED.columns if column.id)
KEYS = ("order_id", "product_id", "event_id", "customer_id", "occurred_at", "amount")
NEEDS = frozenset({"customer_id", "occurred_at", "amount"})  # of an event; some jobs need less
OPEN = "?"  # what `look` leaves to be filled in
STATISTICS = ("mean", "median", "mode")
CONSTANT = "constant:"
METHODS = ("iqr", "zscore", "isolation-forest")
ACTIONS = ("flag", "cap", "drop")
ORDER, LINE = "order", "line"  # whose an amount is
ANY_CASE, ROUNDED = "any-case", "rounded"  # what may be said of ids


@dataclass(frozen=True)
class Policy:
    """Defaults: everything about a file is found out, missing values are as `history.read` says, outliers stay.

    encoding: a codec's name. delimiter: one character. decimal: "." or ",". dayfirst: of dates like 01/02/2020.
    missing: by column "drop", "mean", "median", "mode" or "constant:VALUE". key: columns; of rows that are equal in all
    of them the first is kept. cancelled: do sales that were returned whole leave, with their return? outliers: one of
    `METHODS`; action: one of `ACTIONS`. allow_loss: go on though over half of the rows or of the money cannot be read?
    types: event types in words of theirs (lower case) -> ours. only, without: (column of theirs, value) of the rows
    that are wanted, or not. fill_down: do fields of an order stand on its first line only? keep_duplicates: are equal
    rows real? amount_of: ORDER where what an order came to stands on each of its lines, LINE where an amount is the
    line's; None where nobody said. rates: of other currencies, by code: what one of them is in the history's, above 0.
    ids: ANY_CASE makes those one that differ in case alone, ROUNDED goes on though a spreadsheet left only their first
    digits. needs: the columns of NEEDS that the job needs; of the others a file may have none, and a row no customer.
    wants: those of them that every file must have where one has them. by_content: is an id that is made up one of the
    row's text, so that it is the same in another file? Raises HistoryError.
    """

    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    dayfirst: bool | None = None
    missing: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    cancelled: bool = True
    outliers: str | None = None
    action: str = "flag"
    allow_loss: bool = False
    types: Mapping[str, str] = field(default_factory=dict)
    only: tuple[tuple[str, str], ...] = ()
    without: tuple[tuple[str, str], ...] = ()
    fill_down: bool = False
    keep_duplicates: bool = False
    amount_of: str | None = None
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    needs: frozenset[str] = NEEDS
    wants: frozenset[str] = frozenset()
    by_content: bool = False

    def __post_init__(self) -> None:
        if self.encoding is not None:
            _codec(self.encoding)
        if self.delimiter is not None and (
            len(self.delimiter) != 1 or self.delimiter in '"\r\n' or ord(self.delimiter) > 127
        ):
            raise HistoryError(f"--delimiter {self.delimiter!r}: say one ASCII character, or tab")
        for column, how in self.missing.items():
            if column not in OURS:
                raise HistoryError(f"--missing: {column!r} is no name of ours; {nearest(column, OURS)}")
            _means(column, how)
        if self.rates and (made := [c for c in ("amount", "unit_price") if self.missing.get(c, "drop") != "drop"]):
            raise HistoryError(f"--missing {made[0]}: amounts of several currencies (--rate) have no common value")
        for ours in self.types.values():
            if ours not in NUMBER_OF:
                raise HistoryError(f"--types: {ours!r} is no event type of ours; {nearest(ours, [*NUMBER_OF])}")
        for column in self.key:
            if column not in KEYS:
                raise HistoryError(f"--key: {column!r} cannot be compared; {nearest(column, KEYS)}")

    @property
    def dropped(self) -> tuple[str, ...]:
        """The columns of which a missing value drops the row."""
        return tuple(column for column, how in self.missing.items() if how == "drop")

    @property
    def estimated(self) -> tuple[str, ...]:
        """The columns of which a missing value is made from others of the column."""
        return tuple(column for column, how in self.missing.items() if how in STATISTICS)

    @property
    def compares_customers(self) -> bool:
        """Whether rows of different customers decide about one another."""
        return self.outliers is not None or (bool(self.key) and "customer_id" not in self.key)


def known(columns: Mapping[str, str], timezone: str) -> None:
    """Raises HistoryError for a column that is no name of ours, or a time zone that is not known."""
    for ours in columns:
        if ours not in OURS:
            raise HistoryError(f"--columns: {ours!r} is no name of ours; {nearest(ours, OURS)}")
    try:
        zoneinfo.ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise HistoryError(f"--timezone: {timezone!r} is not known; say for example Europe/Berlin") from None


def _codec(name: str) -> None:
    try:
        "".encode(name)
        codecs.lookup(name)
    except (LookupError, ValueError):
        raise HistoryError(
            f"--encoding {name!r} is not known; say for example utf-8, latin-1, cp1252, utf-16"
        ) from None


def _means(column: str, how: str) -> None:
    """Ids and times are dropped or kept: a made-up one would join rows that have nothing in common."""
    ways = ["drop"]
    if column in (*NUMBERS, "product_id", "event_type"):
        ways += ["mode", CONSTANT + "VALUE"]
    if column in NUMBERS:
        ways += ["mean", "median"]
    value = how.removeprefix(CONSTANT) if how.startswith(CONSTANT) and len(ways) > 1 else ""
    if how not in ways and (not value.strip() or (column in NUMBERS and not re.fullmatch(r"-?\d+(\.\d+)?", value))):
        raise HistoryError(f"--missing {column}={how}: for {column} say {' or '.join(ways)}")
