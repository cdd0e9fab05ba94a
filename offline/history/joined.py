"""A date and a time of day that stand in two columns, as one text: that of the moment.

Rule: a date that has a time of day of its own keeps it, so that the two contradict each other and it is no time; where
no time of day stands, the date is all that is known.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

MIDNIGHT = r"(?i)[T ](?:0?0:00(?::00(?:\.0+)?)?|12:00(?::00)? ?AM)$"  # what programs write behind a date that has none
# In front of a time of day: the days with which spreadsheets and databases begin to count.
FIRST = r"^(?:(?:1899-12-3[01]|1900-01-0[01]|1970-01-01)|(?:30|31)[./]12[./]1899|12/3[01]/1899)[T ]"
DIGITS = ((r"^(\d)$", r"000\1"), (r"^(\d\d)$", r"00\1"), (r"^(\d\d?)(\d\d)$", r"\1:\2"))  # of hours and minutes
TO_THE_SECOND = (r"^(\d\d?)(\d\d)(\d\d)$", r"\1:\2:\3")
WRITTEN = (  # as a column of them writes them
    r"(?i)^(?:\d\d?[:h]\d\d(?::\d\d(?:[.,]\d+)?)?(?:\s?[ap]\.?m\.?|\suhr)?|(?:[01]\d|2[0-3])[0-5]\d[0-5]\d)$"
)


def moments(block: Sequence[pa.Array], at: Mapping[str, int]) -> list[pa.Array]:
    """The columns of a block, in which that of the dates holds the moments. at: our name -> position of the column.

    >>> block = [pa.array(["2024-01-05", "05.01.2024", None]), pa.array(["1:05 PM", None, "9:00"])]
    >>> moments(block, {"occurred_at": 0, "time_of_day": 1})[0].to_pylist()
    ['2024-01-05 1:05 PM', '05.01.2024', None]
    """
    columns = list(block)
    if {"occurred_at", "time_of_day"} <= at.keys():
        columns[at["occurred_at"]] = _moments(columns[at["occurred_at"]], columns[at["time_of_day"]])
    return columns


def are_times(text: pa.Array) -> int:
    """How many of these texts, without nulls, are times of day as a column of them writes them.

    >>> are_times(pa.array(["13:05", "1:05:22 p.m.", "10:05 Uhr", "130522", "1899-12-30 13:05:22", "1305", "soon"]))
    5
    """
    bare = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), FIRST, "")
    return pc.sum(pc.match_substring_regex(bare, WRITTEN)).as_py() or 0


def _moments(dates: pa.Array, times: pa.Array) -> pa.Array:
    """
    >>> dates = pa.array(["2024-01-05T00:00:00", "20240105", "2024-01-05 10:00"])
    >>> _moments(dates, pa.array(["1899-12-30T13:05:22", "130522", "905"])).to_pylist()
    ['2024-01-05 13:05:22', '20240105 13:05:22', '2024-01-05 10:00 9:05']
    """
    days = pc.replace_substring_regex(pc.utf8_trim_whitespace(dates), MIDNIGHT, "")
    clock = pc.replace_substring_regex(pc.utf8_trim_whitespace(times), FIRST, "")
    for form, spelled in (TO_THE_SECOND, *DIGITS):
        clock = pc.replace_substring_regex(clock, form, spelled)
    stands = pc.not_equal(clock, "").fill_null(False)
    return pc.if_else(stands, pc.binary_join_element_wise(days, clock, pa.scalar(" ", days.type)), dates)
