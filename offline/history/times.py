"""Times from the text of a column to microseconds since the epoch.

Rule: a time is read whole or not at all. Almost all files write ISO 8601, which is read a column at a time; whatever
else is written is first made ISO 8601, word by word (`spelled`), for words repeat.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.events import END, SECOND
from offline.history import spelled
from offline.history.values import DAY, Bools, Ints, matches

_CLOCK = r"\d\d:\d\d(:\d\d(\.\d+)?)?"
_ISO = rf"^\d{{4}}-\d\d-\d\d([T ]{_CLOCK}(Z|[+-]\d\d(:?\d\d)?)?)?$"
_NAMED = r"(?P<day>\d\d?)[-/ .](?P<month>[A-Z]{3,9})[-/ .]"
_COMPACT = r"^((?:19|2[01])\d\d)(\d\d)(\d\d)[T ]?([012]\d)([0-5]\d)([0-5]\d)?(Z?)$"
_OFFSET = r"[T ].*(Z|[+-]\d\d(:?\d\d)?)$"
# Unix time by its size: seconds from 1973 to 2199, and the same moments in units a thousand times smaller.
UNIX = {
    r"^\d{9,10}(\.\d+)?$": SECOND,
    r"^\d{12,13}(\.\d+)?$": 1_000,
    r"^\d{15,16}(\.0*)?$": 1,
    r"^\d{18,19}(\.0*)?$": 0,
}
# A date without marks that has as many digits as Unix time: of two digits of its year, of its day first, of no minutes.
_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_HOUR, _SIXTY = r"(?:[01]\d|2[0-3])", r"[0-5]\d"
_CALENDAR = "|".join(
    (
        rf"(?:\d\d{_MONTH}{_DAY}|{_DAY}{_MONTH}\d\d|{_MONTH}{_DAY}\d\d){_HOUR}{_SIXTY}(?:{_SIXTY})?",
        rf"(?:{_DAY}{_MONTH}|{_MONTH}{_DAY}){_YEAR}{_HOUR}{_SIXTY}",
        rf"{_YEAR}{_MONTH}{_DAY}{_HOUR}",
        rf"[1-9](?:{_MONTH}|{_DAY})(?:\d\d{_HOUR}|{_YEAR}{_HOUR}{_SIXTY}){_SIXTY}",  # without the 0 of its day or month
    )
)
# A spreadsheet's days since 1899-12-30, from 1970 to 2199: a number of this form alone might be anything.
SERIAL, FIRST = r"^(2[5-9]|[3-9]\d|10)\d{3}(\.\d+)?$", 25_569


def times(text: pa.Array, timezone: str, dayfirst: bool | None = None, serial: bool = False) -> tuple[Ints, bool]:
    """(us since the epoch, is any not a midnight of its own clock?); -1 for what is no time from 1970 to 2199.

    Read are ISO 8601 dates and times (without offset: in `timezone`), what `spelled` reads, Unix seconds and parts of
    them (milli-, micro-, nanoseconds), where `dayfirst` is told (or makes no difference) dates like 31/12/2020 or
    12/31/20 1:05 PM, and days as spreadsheets count them where `serial` says that this column does.

    >>> t, time_of_day = times(pa.array(["1970-01-02", "1970-01-02T01:00:00+01:00", "100000000.5", "1/2/70"]), "UTC")
    >>> t.tolist(), time_of_day
    ([86400000000, 86400000000, 100000000500000, -1], True)
    """
    encoded = text.dictionary_encode()  # times repeat, dates above all
    words = pc.utf8_upper(pc.utf8_trim_whitespace(encoded.dictionary.cast(pa.large_string())))
    if not matches(words, _ISO).all():
        words = _iso_words(words, dayfirst, serial)
    t = _iso(words, timezone)
    unix = np.zeros(len(words), np.bool_)
    for form, unit in UNIX.items() if len(words) and (t < 0).any() else ():
        found = matches(words, form)
        t[found] = _unix(words.filter(pa.array(found)), unit)
        unix |= found
    t[(t < 0) | (t >= END * SECOND)] = -1
    time_of_day = (t >= 0) & np.where(unix, t % DAY != 0, matches(words, r"[T ][0:.]*[1-9]"))
    each = encoded.indices.fill_null(len(words)).to_numpy()
    return np.append(t, -1)[each], bool(time_of_day.any())


def _unix(words: pa.Array, unit: int) -> Ints:
    """us of so many units (0: nanoseconds, rounded half-even); whole ones exactly, others as doubles."""
    if unit > 1:
        some: Ints = np.rint(words.cast(pa.float64()).to_numpy() * unit).astype(np.int64)
        return some
    whole: NDArray[np.uint64] = pc.replace_substring_regex(words, r"\.0*$", "").cast(pa.uint64()).to_numpy()
    return whole.astype(np.int64) if unit else _half_even(whole)


def _half_even(ns: NDArray[np.uint64]) -> Ints:
    us, rest = np.divmod(ns, np.uint64(1_000))
    up: Bools = (rest > 500) | ((rest == 500) & (us % 2 == 1))
    return us.astype(np.int64) + up


def _iso_words(words: pa.Array, dayfirst: bool | None, serial: bool) -> pa.Array:
    """Words as ISO 8601 where they can be, others as they are: common forms together, the rest one by one."""
    words = _pointed(words)
    for form, iso in (
        (r"^(\d{4})(\d\d)(\d\d)(\.0)?$", r"\1-\2-\3"),
        (_COMPACT, None),
        (r"^((?:19|2[01])\d\d)(\d\d)(\d\d)([T ]\d\d?:)", r"\1-\2-\3\4"),
        (r"^(\d{4})[/.](\d\d)[/.](\d\d)", r"\1-\2-\3"),
        (rf"^(\d{{4}}-\d\d-\d\d[T ]{_CLOCK}) ([+-]\d\d(:?\d\d)?)$", r"\1\4"),
        (rf"^(\d{{4}}-\d\d-\d\d[T ]{_CLOCK}) ?(UTC|GMT|Z)$", r"\1Z"),
    ):
        if iso is None:
            words = _compact(words, form)
        elif matches(words, form).any():
            words = pc.replace_substring_regex(words, form, iso)
    if serial:
        words = _days(words)
    words = _columnwise(words, dayfirst)
    others = ~matches(words, "|".join((_ISO, *UNIX)))
    if others.any():
        found = [spelled.iso(word, dayfirst) for word in words.filter(pa.array(others)).to_pylist()]
        words = pc.replace_with_mask(words, pa.array(others), pa.array(found, pa.large_string()))
    return words


def _pointed(words: pa.Array) -> pa.Array:
    """Days and seconds with the decimal mark that programs write."""
    return pc.replace_substring_regex(words, r"^(\d{5,}),(\d+)$", r"\1.\2")


def _columnwise(words: pa.Array, dayfirst: bool | None) -> pa.Array:
    """The commonest of what `spelled` reads, together: 31/12/2020 10:05 and 12-Jan-2024 10:05:00."""
    forms = [_NAMED]
    if dayfirst is not None:
        first, second = ("day", "month") if dayfirst else ("month", "day")
        forms += [rf"(?P<{first}>\d\d?){mark}(?P<{second}>\d\d?){mark}" for mark in ("/", "-", r"\.")]
    for form in forms:
        whole = rf"^{form}(?P<year>\d{{4}})(?:(?:, ?|[ T])(?P<clock>{_CLOCK.replace('(', '(?:')}))?$"
        if matches(words, whole).any():
            words = pc.coalesce(_joined(pc.extract_regex(words, whole)), words)
    return words


def _joined(found: pa.StructArray) -> pa.Array:
    """day, month (a number or a name), year and clock ("" where there is none) as ISO 8601; null where found is."""
    day, month, year, clock = (pc.struct_field(found, name) for name in ("day", "month", "year", "clock"))
    known, numbers = (pa.array([*names], month.type) for names in (spelled.MONTH, spelled.MONTH.values()))
    month = pc.coalesce(numbers.take(pc.index_in(month, known)), month)
    date = [year, pc.utf8_lpad(month, 2, "0"), pc.utf8_lpad(day, 2, "0")]
    iso = pc.binary_join_element_wise(*date, pa.scalar("-", month.type))
    return pc.utf8_rtrim(pc.binary_join_element_wise(iso, clock, pa.scalar("T", month.type)), "T")


def _compact(words: pa.Array, form: str) -> pa.Array:
    """YYYYMMDDhhmmss, with or without seconds and a T."""
    words = pc.replace_substring_regex(words, form.replace("?(Z?)$", "(Z?)$"), r"\1-\2-\3T\4:\5:\6\7")
    return pc.replace_substring_regex(words, form.replace(r"([0-5]\d)?(Z?)$", "(Z?)$"), r"\1-\2-\3T\4:\5\6")


def _days(words: pa.Array) -> pa.Array:
    """Days since 1899-12-30 as ISO 8601, to the millisecond: a double holds no more of them."""
    found = matches(words, SERIAL)
    days = words.filter(pa.array(found)).cast(pa.float64()).to_numpy() - FIRST
    moments = np.rint(days * 86_400_000).astype("datetime64[ms]")
    return pc.replace_with_mask(words, pa.array(found), pa.array(np.datetime_as_string(moments), pa.large_string()))


def _iso(words: pa.Array, timezone: str) -> Ints:
    """us of ISO 8601 words, negative for others; digits beyond are rounded half up, as msgspec does in the stream."""
    half = matches(words, r"\.\d{6}[5-9]")
    short = pc.replace_substring_regex(words, r"(\.\d{6})\d+", r"\1")
    known = pc.if_else(pa.array(matches(words, _ISO)), short, None)
    moment = pd.to_datetime(pd.Series(known.to_pylist(), dtype="str"), format="ISO8601", errors="coerce", utc=True)
    naive = ~matches(words, _OFFSET)
    if timezone != "UTC":
        wall = moment[naive].dt.tz_localize(None)
        local = wall.dt.tz_localize(timezone, ambiguous=np.ones(len(wall), np.bool_), nonexistent="shift_forward")
        moment[naive] = local.dt.tz_convert("UTC")
    return moment.dt.as_unit("us").to_numpy("datetime64[us]").astype(np.int64) + half


def looks_serial(text: pa.Array) -> bool:
    """Are nine in ten different texts that have a digit days as spreadsheets count them?

    >>> looks_serial(pa.array(["45292,5", "45293"])), looks_serial(pa.array(["45292", "2024-01-01"]))
    (True, False)
    """
    words = pc.utf8_trim_whitespace(text.drop_null().unique())
    words = _pointed(words.filter(pa.array(matches(words, r"\d"))))
    return len(words) > 0 and float(matches(words, SERIAL).mean()) >= 0.9


def unix(text: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The different texts that are read as Unix time, and those of them that look like a date without marks.

    >>> some = pa.array(["1704067200", "241231150500", "311220241505", "202412311505", "2024-12-31"])
    >>> [texts.to_pylist() for texts in unix(some)]
    [['1704067200', '241231150500', '311220241505'], ['241231150500', '311220241505']]
    """
    words = pc.utf8_trim_whitespace(text.drop_null().unique())
    words = words.filter(pa.array(matches(words, "|".join(UNIX)) & ~matches(words, _COMPACT)))
    return words, words.filter(pa.array(matches(words, rf"^(?:{_CALENDAR})(\.0*)?$")))
