"""From the text of a column to exact values: money in 1/10,000 of the major unit, times in microseconds.

Rule: a value is read whole or not at all, by the one format of its column; nothing is guessed from a value alone.
"""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.events import END, SECOND

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY = 86_400 * SECOND
CURRENCY = r"(?:[A-Z]{0,3}\p{Sc}|[A-Z]{3})"  # RE2: a currency sign, US$ and the like, or an ISO 4217 code
SPACES = " \u00a0\u2009\u202f'\u2019"  # what groups thousands in one locale or another, beside point and comma

PLAIN = r"^[+-]?\d{1,13}(\.\d{1,4})?$"


@dataclass(frozen=True)
class Numbers:
    """How a column writes numbers. decimal "": plain ones, as programs write them (1234.5, 1e3), and no others.

    decimal "." or ",": thousands may be grouped by the other one, a space or an apostrophe; one sign or code of a
    currency may stand before or after.
    """

    decimal: str = ""
    currency: str = ""

    def plain(self, text: pa.Array) -> pa.Array:
        """The same numbers written plainly; "?" for what this format does not write.

        >>> Numbers(",", "€").plain(pa.array(["1.234,5 €", "-7", "12.5", "$3"])).to_pylist()
        ['1234.5', '-7', '?', '?']
        """
        if not self.decimal or (self.decimal == "." and matches(text.drop_null(), PLAIN).all()):
            return text
        text = pc.replace_substring(pc.utf8_trim_whitespace(text), "\u2212", "-")
        if self.currency:
            sign = re.escape(self.currency)
            text = pc.replace_substring_regex(
                text, rf"^([-+]?)[\s\x{{a0}}]*{sign}[\s\x{{a0}}]*|[\s\x{{a0}}\x{{202f}}]*{sign}$", r"\1"
            )
        marks = (SPACES + ".,").replace(self.decimal, "")
        groups = "|".join(rf"\d{{1,3}}(?:{re.escape(mark)}\d{{2,3}})*{re.escape(mark)}\d{{3}}" for mark in marks)
        written = rf"^[-+]?(?:{groups}|\d*)(?:{re.escape(self.decimal)}\d*)?(?:[eE][-+]?\d{{1,4}})?$"
        plain = pc.replace_substring(pc.replace_substring_regex(text, f"[{marks}]", ""), self.decimal, ".")
        return pc.if_else(pc.match_substring_regex(text, written), plain, "?")


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def money(text: pa.Array) -> tuple[Ints, Bools]:
    """(units, sound): decimal text in 1/10,000, half-even; 0 and False where it is no number or 2**62 units or more.

    >>> units, sound = money(pa.array(["12.5", "-0.00005", "1e3", "1,000", None]))
    >>> units.tolist(), sound.tolist()
    ([125000, 0, 10000000, 0, 0], [True, True, True, False, False])
    """
    plain = pc.match_substring_regex(text, PLAIN).fill_null(False)
    fixed = pc.if_else(plain, text, None).cast(pa.decimal64(18, 4))
    units = fixed.view(pa.int64()).fill_null(0).to_numpy().copy()
    sound = plain.to_numpy(zero_copy_only=False).copy()
    others = ~sound & text.is_valid().to_numpy(zero_copy_only=False)
    for i, other in zip(np.flatnonzero(others), text.filter(pa.array(others)).to_pylist(), strict=True):
        exact = _units(other)
        units[i], sound[i] = exact or 0, exact is not None
    return units, sound


def _units(text: str) -> int | None:
    if not _NUMBER.fullmatch(text := text.strip()):
        return None
    try:
        units = int(Decimal(text).quantize(Decimal("0.0001"), context=_EXACT).scaleb(4, _EXACT))
    except InvalidOperation:  # more than 60 digits
        return None
    return units if abs(units) < 2**62 else None


_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"


def times(text: pa.Array, timezone: str, dayfirst: bool | None = None) -> tuple[Ints, bool]:
    """(us since the epoch, is any not a midnight of its own clock?); -1 for what is no time from 1970 to 2199.

    Read are ISO 8601 dates and times (without offset: in `timezone`), YYYY/MM/DD, YYYYMMDD, Unix seconds of 9 or 10
    digits and, where `dayfirst` is told (or makes no difference), dates like 31/12/2020 or 12/31/20 1:05 PM.

    >>> t, time_of_day = times(pa.array(["1970-01-02", "1970-01-02T01:00:00+01:00", "100000000.5", "1/2/70"]), "UTC")
    >>> t.tolist(), time_of_day
    ([86400000000, 86400000000, 100000000500000, -1], True)
    """
    encoded = text.dictionary_encode()  # times repeat, dates above all
    words = pc.utf8_upper(pc.utf8_trim_whitespace(encoded.dictionary))
    words = pc.replace_substring_regex(words, r"^(\d{4})(\d\d)(\d\d)(\.0)?$", r"\1-\2-\3")
    words = pc.replace_substring_regex(words, r"^(\d{4})/(\d\d)/(\d\d)", r"\1-\2-\3")
    if matches(words, r"^\d\d?[/.-]\d\d?[/.-]\d").any():
        words = pa.array([_local(word, dayfirst) for word in words.to_pylist()], pa.large_string())
    seconds = matches(words, r"^\d{9,10}(\.\d+)?$")
    t = _iso(words, timezone)
    t[seconds] = np.rint(words.filter(pa.array(seconds)).cast(pa.float64()).to_numpy() * SECOND).astype(np.int64)
    t[(t < 0) | (t >= END * SECOND)] = -1
    time_of_day = (t >= 0) & np.where(seconds, t % DAY != 0, matches(words, r"[T ][0:.]*[1-9]"))
    each = encoded.indices.fill_null(len(words)).to_numpy()
    return np.append(t, -1)[each], bool(time_of_day.any())


LOCAL = re.compile(
    r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|(?<!-)\d\d)"
    r"(?:(?:, ?| +|T)(\d{1,2})(:\d\d(?::\d\d(?:\.\d+)?)?)(?: ?([AP])M)?)?((?:Z|[+-]\d\d(?::?\d\d)?)?)",
    re.ASCII,
)


def _local(word: str | None, dayfirst: bool | None) -> str | None:
    """A date with day and month in this order as ISO 8601, which then judges it; other words as they are."""
    if word is None or not (found := LOCAL.fullmatch(word)):
        return word
    first, _, second, year, hour, minutes, half, offset = found.groups()
    if dayfirst is None and int(first) != int(second):
        return word
    day, month = (first, second) if dayfirst else (second, first)
    if len(year) == 2:
        year = ("19" if year >= "69" else "20") + year  # POSIX strptime's %y
    if half and not 1 <= int(hour) <= 12:
        return word
    if half:
        hour = str(int(hour) % 12 + 12 * (half == "P"))
    return f"{year}-{month:0>2}-{day:0>2}" + (f"T{hour:0>2}{minutes}{offset}" if hour else "")


def _iso(words: pa.Array, timezone: str) -> Ints:
    """us of ISO 8601 words, negative for others; digits beyond are rounded half up, as msgspec does in the stream."""
    half = matches(words, r"\.\d{6}[5-9]")
    short = pc.replace_substring_regex(words, r"(\.\d{6})\d+", r"\1")
    known = pc.if_else(pa.array(matches(words, _ISO)), short, None)
    moment = pd.to_datetime(pd.Series(known.to_pylist(), dtype="str"), format="ISO8601", errors="coerce", utc=True)
    naive = ~matches(words, r"[T ].*(Z|[+-]\d\d(:?\d\d)?)$")
    if timezone != "UTC":
        wall = moment[naive].dt.tz_localize(None)
        local = wall.dt.tz_localize(timezone, ambiguous=np.ones(len(wall), np.bool_), nonexistent="shift_forward")
        moment[naive] = local.dt.tz_convert("UTC")
    return moment.dt.as_unit("us").to_numpy("datetime64[us]").astype(np.int64) + half


def matches(words: pa.Array, pattern: str) -> Bools:
    found: Bools = pc.match_substring_regex(words, pattern).fill_null(False).to_numpy(zero_copy_only=False)
    return found
