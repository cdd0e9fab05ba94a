"""How a file writes its numbers and dates: decided per column from its values together, or asked of the person.

The first block decides; while it is undecided, or nothing in a column has told anything yet, later ones are looked at
too: whole numbers and ISO 8601 say nothing of what stands below them. Rule: 9 of 10 different values that can decide
must agree (those that do not are bad ones, counted); where none can, and the file's other columns have that mark as
their decimal mark and no other, it is one here too; else one line asks, and nothing is guessed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from offline.errors import HistoryError
from offline.history import currencies, files, ids, spelled
from offline.history.dates import Dates
from offline.history.files import File
from offline.history.numerals import Numbers, Votes, known, most
from offline.history.policy import IDS, NUMBERS, ROUNDED, Policy
from offline.history.quality import Line
from offline.history.times import looks_serial
from offline.history.values import matches

CONVERT = "convert them into one currency"


@dataclass(frozen=True)
class Formats:
    """Of one file. numbers: by column of ours; dayfirst: None where no date needs it; serial: are times days as
    spreadsheets count them?"""

    numbers: dict[str, Numbers]
    dayfirst: bool | None
    serial: bool = False

    def notes(self, rows: int) -> list[Line]:
        """What a person should know of it: the formats that are not plain, for so many rows."""
        told = [
            Line("numbers", column, f"told: {in_words(n)}", rows)
            for column, n in self.numbers.items()
            if n.decimal == "," or n.currency
        ]
        if self.dayfirst is not None:
            order = "day/month/year" if self.dayfirst else "month/day/year"
            told.append(Line("dates", "occurred_at", f"told: dates that are not ISO 8601 read as {order}", rows))
        if self.serial:
            what = "told: numbers read as a spreadsheet's days since 1899-12-30"
            told.append(Line("dates", "occurred_at", what, rows))
        return told


def in_words(numbers: Numbers) -> str:
    """How a column writes its numbers.

    >>> in_words(Numbers(",", "€")), in_words(Numbers("", "kg"))
    ("decimal ',', currency €", 'unit kg')
    """
    beside = f"{'currency' if known(numbers.currency) else 'unit'} {numbers.currency}" if numbers.currency else ""
    return ", ".join(filter(None, (f"decimal {numbers.decimal!r}" if numbers.decimal else "", beside)))


def decide(file: File, policy: Policy) -> Formats:
    """The formats of a file's columns. Raises HistoryError where its values leave them open, and for ids and times that
    cannot be meant as they stand."""
    written = {ours: at for ours, at in file.at.items() if at not in file.typed}
    votes = {ours: Votes() for ours in NUMBERS if ours in written}
    when, dates = None if file.cleaned else file.at.get("occurred_at"), Dates()
    serial: bool | None = None
    waiting = list(votes)
    for block, _ in files.blocks(file):
        if serial is None:
            serial = "occurred_at" in file.at and looks_serial(block[file.at["occurred_at"]])
            _refuse(file, written, block, policy)
        for ours in waiting:
            votes[ours].count(currencies.apart(block[written[ours]], policy)[0])
        waiting = _waiting(votes, policy)
        if when is not None:
            dates.count(block[when])
            texts = "occurred_at" in written or file.sheet
            when = when if texts and dates.open(policy.dayfirst is not None) else None
        if when is None and not waiting:
            break
    rate = f"{CONVERT}, or say --rate EUR=1.08 (how much of the others one euro is)"
    numbers = settled(votes, policy.decimal, lambda ours: _where(file, ours), rate)
    if refusal := dates.refusal(policy.dayfirst is not None) or dates.contrary(policy.dayfirst):
        raise HistoryError(f"{_where(file, 'occurred_at')}: {refusal}")
    dayfirst = policy.dayfirst
    if dayfirst is None and "occurred_at" in file.at:
        order = dates.order.winner(_where(file, "occurred_at"), "say --dayfirst or --monthfirst")
        dayfirst = {"day/month": True, "month/day": False}.get(order)
    return Formats(numbers, dayfirst, bool(serial))


def _waiting(votes: Mapping[str, Votes], policy: Policy) -> list[str]:
    """The columns of numbers of which more rows may answer a question, or ask the first."""
    told = policy.decimal is not None or any(found.of for found in votes.values())
    return [ours for ours, found in votes.items() if not found.of and not (found.open and told)]


def _refuse(file: File, written: Mapping[str, int], block: list[pa.Array], policy: Policy) -> None:
    """What would be read wrong in silence: ids that are not all there, and zones that mean several."""
    for ours in () if ROUNDED in policy.ids else IDS:
        if ours in file.at and (rounded := ids.rounded(block[file.at[ours]])):
            raise ids.refused(_where(file, ours), rounded)
    if "occurred_at" in written:
        words = pc.utf8_upper(block[written["occurred_at"]].drop_null())
        zoned = words.filter(pa.array(matches(words, r"\d ?[A-Z]{2,5}$")))
        if word := spelled.ambiguous(zoned.unique().to_pylist()):
            raise HistoryError(
                f"{_where(file, 'occurred_at')}: {word!r} ends in the name of a zone that means several; write its "
                f"offset instead (-06:00), or leave it out and say --timezone"
            )


def _where(file: File, ours: str) -> str:
    return f"{file.path}: column {file.header[file.at[ours]]!r}"


def settled(
    votes: Mapping[str, Votes], told: str | None, where: Callable[[str], str], convert: str = CONVERT
) -> dict[str, Numbers]:
    """The format of each column. told: the decimal mark. where: a column's place in words. convert: what to do about
    several currencies. Raises HistoryError."""
    sure = {mark for found in votes.values() if not found.open for mark in found.of}
    numbers = {}
    for ours, found in votes.items():
        currency = most(found.currencies, where(ours), convert)
        here = next((mark for mark in ",." if mark in (found.unclear or "")), "") if found.open else ""
        elsewhere = here if sure == {here} else ""
        decimal = told or elsewhere or found.winner(where(ours), "say --decimal . or --decimal ,")
        numbers[ours] = Numbers(decimal, currency)
    return numbers
