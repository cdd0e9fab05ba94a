"""What the dates of a column say of how they are written: the order of day and month, and what must not be read.

Rule: a number above 12 is a day, or the year where it may stand first. Dates whose days and months a spreadsheet has
swapped read well and mean other days, and so does a date without marks as Unix time: a file that shows it is refused,
whatever order is told.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline.history import times
from offline.history.numerals import AGREE, Votes
from offline.history.values import matches

_MARKED = r"^(?P<a>\d{1,2})[/.-](?P<b>\d{1,2})[/.-](?P<year>\d{4}|\d\d)(?P<end>[ ,Tt]|$)"
_SHORT = r"^\d\d?-\d\d?-\d\d([ ,Tt]|$)"  # may begin with the year: not read
_ISO = r"^(?P<year>\d{4})[/.-](?P<a>\d{1,2})[/.-](?P<b>\d{1,2})(?P<end>\D|$)"
_LONG = 11  # characters in which a date stands, and what ends it
_SEVERAL = 5  # different dates of a kind
_RARE = 12  # digits: milliseconds of 1973 to 2001, of which 1 in 200 looks like a date; of seconds 1 in 40 does

Date = tuple[int, int, int]  # its year, of two digits or of four, then its two other numbers as they stand


@dataclass
class Swapped:
    """Of a spreadsheet that took day and month for each other, and left as text what this made no date of.

    iso, marked: the different dates that begin with the year, and the others, as they stand. The first have no day
    above 12, the second always have one: by chance four dates in ten are so. Read the other way round, the first are of
    the months of the second.

    >>> swapped = Swapped()
    >>> swapped.count(pa.array([f"2024-{day:02}-0{month}" for month in (4, 5) for day in range(1, 13)]))
    >>> swapped.count(pa.array([f"{day}/0{month}/2024" for month in (4, 5) for day in range(13, 31)]))
    >>> swapped.found
    True
    """

    iso: dict[Date, str] = field(default_factory=dict)
    marked: dict[Date, str] = field(default_factory=dict)

    def count(self, words: pa.Array) -> None:
        """Adds the dates of a block's words."""
        starts = pc.utf8_slice_codeunits(words, 0, _LONG).unique()
        for form, dates in ((_ISO, self.iso), (_MARKED, self.marked)):
            found = pc.extract_regex(starts, form)
            texts, parts = starts.filter(found.is_valid()).to_pylist(), found.drop_null()
            numbers = (pc.struct_field(parts, name).cast(pa.int32()).to_pylist() for name in ("year", "a", "b"))
            dates.update({(year, a, b): text for text, year, a, b in zip(texts, *numbers, strict=True)})

    @property
    def open(self) -> bool:
        """May more rows show it?"""
        low = sum(day <= 12 for _, _, day in self.iso)
        high = sum((a > 12) != (b > 12) for _, a, b in self.marked)
        return low >= AGREE * len(self.iso) and high >= AGREE * len(self.marked)

    @property
    def found(self) -> bool:
        if not self.open or min(len(self.iso), len(self.marked)) < _SEVERAL:
            return False
        turned = {(year % 100, day) for year, _, day in self.iso}
        stood = {(year % 100, min(a, b)) for year, a, b in self.marked}
        return 2 * len(turned & stood) >= max(len(turned), len(stood))

    def refusal(self) -> str:
        """What to say where it is found."""
        iso = next(text for (_, _, day), text in self.iso.items() if day <= 12)
        marked = next(text for (_, a, b), text in self.marked.items() if max(a, b) > 12)
        return (
            f"no date like {iso[:10]!r} has a day above 12, and all like {marked[:10].strip()!r} have one: a "
            f"spreadsheet has swapped day and month of the first; take the export as it was before that, or write all "
            f"dates as 2024-12-31"
        )


@dataclass
class Dates:
    """order: votes for "day/month" or "month/day". unix: different values that are read as Unix time; unmarked: those
    of them that look like a date without marks, and the first."""

    order: Votes = field(default_factory=Votes)
    swapped: Swapped = field(default_factory=Swapped)
    unix: int = 0
    unmarked: int = 0
    first: str = ""

    def count(self, column: pa.Array) -> None:
        """Adds the different values of a block's column."""
        words = pc.utf8_trim_whitespace(column.drop_null().unique())
        self.swapped.count(words)
        words = words.filter(pa.array(~matches(words, _ISO)))
        numbers, unmarked = times.unix(words)
        self.unix, self.unmarked = self.unix + len(numbers), self.unmarked + len(unmarked)
        self.first = self.first or next(iter(unmarked.to_pylist()), "")
        words = words.filter(pa.array(~matches(words, _SHORT)))
        parts = pc.extract_regex(words, _MARKED)
        a, b = (pc.struct_field(parts, name).drop_null().cast(pa.int8()).to_numpy() for name in "ab")
        for answer, decides in (("day/month", (a > 12) & (b <= 12)), ("month/day", (b > 12) & (a <= 12))):
            if n := int(decides.sum()):
                self.order.of[answer] += n
        unclear = (a <= 12) & (b <= 12) & (a != b)
        if self.order.unclear is None and unclear.any():
            self.order.unclear = words.filter(parts.is_valid())[int(unclear.argmax())].as_py()

    def open(self, told: bool) -> bool:
        """May more rows answer a question, or ask the first? told: is their order?"""
        order = not self.order.of or self.year_first is not None
        return (order and not told) or self.swapped.open

    @property
    def year_first(self) -> str | None:
        """The first of dates of two digits thrice that may as well begin with their year: years that have come, no
        earlier than the last numbers would be and as near each other. 24.01.01 to 24.01.26 are days of one month, or of
        26 years; days of every kind beside one year are days.

        >>> dates = Dates()
        >>> dates.count(pa.array([f"24.01.{day:02}" for day in range(1, 27)]))
        >>> dates.year_first
        '24.01.01'
        """
        marked = self.swapped.marked
        short = {(a, b, year): text for (year, a, b), text in marked.items() if "-" not in text}
        if any(year > 99 for year, _, _ in marked):  # it stands last there
            return None
        fits = {date: text for date, text in short.items() if date[1] <= 12 and 1 <= date[2] <= 31}
        if len(fits) < AGREE * len(short) or not any(first != last for first, _, last in fits):
            return None
        firsts, lasts = {first for first, _, _ in fits}, {last for _, _, last in fits}
        come = max(firsts) <= datetime.now(UTC).year % 100
        near = max(firsts) - min(firsts) <= max(lasts) - min(lasts)
        return re.split("[ ,Tt]", next(iter(fits.values())))[0] if come and near and min(firsts) >= min(lasts) else None

    def contrary(self, dayfirst: bool | None) -> str | None:
        """What to say where the order that is told is not that of the dates: those that decide would be bad, and the
        others other days in silence. It may be that of another file."""
        if dayfirst is None:
            return None
        answer, option = ("month/day", "--dayfirst") if dayfirst else ("day/month", "--monthfirst")
        if (n := self.order.of[answer]) < max(_SEVERAL, AGREE * self.order.of.total()):
            return None
        which = f"{n:,} different dates can be {answer}/year alone, and {option} is told"
        return f"{which}: leave it out (in --shop: dayfirst), for each file tells its own"

    def refusal(self, told: bool) -> str | None:
        """What to say of dates that must not be read. told: is their order?"""
        if not told and (text := self.year_first):
            first, month, last = (f"{number:0>2}" for number in re.split("[/.]", text))
            return (
                f"{text!r} may be 20{first}-{month}-{last} or 20{last}-{month}-{first}, for the year may stand first; "
                f"write years with four digits, or say --dayfirst if it stands last"
            )
        few = len(self.first) < _RARE and self.unmarked < _SEVERAL
        if self.unmarked >= AGREE * max(self.unix, 1) and not few:
            read = np.datetime64(int(times.times(pa.array([self.first]), "UTC")[0][0]), "us").astype("datetime64[D]")
            what = f"{self.first!r} looks like a date without marks, and would be read as Unix time, of {read}"
            return f"{what}; write such dates as 20241231150500 or 2024-12-31 15:05:00"
        return self.swapped.refusal() if self.swapped.found else None
