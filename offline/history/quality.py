"""The data-quality table: what cleaning did to the rows of a history, step by step.

Rule: every row that was read is counted once among the dropped or the kept; `Counts` that do not add up cannot be made.
Changed, flagged and told rows are among those; they are lines of their own and enter no sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from models.events import ID_BYTES

LABELS = {
    "read": "rows read",
    "without_customer": f"- without customer (1 to {ID_BYTES} bytes)",
    "other_types": "- of no known event type",
    "bad_times": "- bad time",
    "ahead": "- more than a day after now",
    "early": "- before --from",
    "future": "- at or after the cut-off",
    "bad_numbers": "- bad number",
    "duplicates": "- exact duplicate",
    "kept": "= kept",
    "duplicates_kept": "  of these exact duplicates (dates alone, no ids)",
    "uneven": "- of another length than the header",
    "blank": "- blank",
    "headers": "- the header again",
    "totals": "- a total",
    "unwanted": "- left out by --only or --except",
}

OPTIONAL = ("rows", "keys", "cancelled", "outliers")  # steps that are told where they dropped something
SELDOM = (LABELS["ahead"], LABELS["early"])
STEPS = ("decode", "rows", "types", "missing", "dates", "numbers", "ids", "duplicates", "keys", "cancelled", "outliers")

Note = tuple[str, str, str]  # step, column and words of a line


class Line(NamedTuple):
    """A line of the table. what begins with read, told, dropped, changed, flagged or kept."""

    step: str
    column: str
    what: str
    rows: int

    def __str__(self) -> str:
        return f"{self.step:<11}{self.column:<13}{self.what} ({self.rows:,} rows)"


@dataclass(frozen=True)
class Counts:
    """What happened to the rows: `read` is what was dropped and `kept`; `duplicates_kept` are among the kept.

    missing: (column, rows dropped because it was missing there). keys: rows whose key came before. cancelled: sales and
    their returns. outliers: dropped ones. uneven: rows of another length than the header. blank, headers (again) and
    totals: rows that are no events. filled: rows that a stream counts without what was made from other rows, or not at
    all. notes: what else the table tells, in the order of the steps. money: |amounts| by the name of the field that
    counts their rows, "" of usable ones. examples: what was not read, in words, by such a name.
    """

    read: int
    without_customer: int
    other_types: int
    bad_times: int
    future: int
    bad_numbers: int
    duplicates: int
    kept: int
    duplicates_kept: int
    missing: tuple[tuple[str, int], ...] = ()
    keys: int = 0
    cancelled: int = 0
    outliers: int = 0
    ahead: int = 0
    early: int = 0
    uneven: int = 0
    blank: int = 0
    headers: int = 0
    totals: int = 0
    unwanted: int = 0
    filled: int = 0
    notes: tuple[Line, ...] = field(default=(), compare=False)
    money: Mapping[str, float] = field(default_factory=dict, compare=False)
    examples: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        dropped = sum(line.rows for line in self._dropped())
        assert self.read == dropped + self.kept, f"counts do not add up: {self}"

    def _dropped(self) -> list[Line]:
        lines = [
            *(
                ("rows", "", LABELS[name], getattr(self, name))
                for name in ("uneven", "blank", "headers", "totals", "unwanted")
            ),
            ("missing", "customer_id", LABELS["without_customer"], self.without_customer),
            ("types", "event_type", LABELS["other_types"], self.other_types),
            *(("missing", column, f"- without {column}", rows) for column, rows in self.missing),
            ("dates", "occurred_at", LABELS["bad_times"], self.bad_times),
            ("dates", "occurred_at", LABELS["ahead"], self.ahead),
            ("dates", "occurred_at", LABELS["early"], self.early),
            ("dates", "occurred_at", LABELS["future"], self.future),
            ("numbers", "amount", LABELS["bad_numbers"], self.bad_numbers),
            ("duplicates", "", LABELS["duplicates"], self.duplicates),
            ("keys", "", "- key that came before", self.keys),
            ("cancelled", "", "- cancelled sale or its return", self.cancelled),
            ("outliers", "amount", "- outlier", self.outliers),
        ]
        return [Line(*line) for line in lines]

    def lines(self) -> list[Line]:
        """The whole table, step by step: rows told, changed, flagged or dropped (0 too), from read to kept."""
        dropped = [line._replace(what="dropped: " + line.what.removeprefix("- ")) for line in self._dropped()]
        lines = sorted([*self.notes, *dropped], key=lambda line: STEPS.index(line.step))
        return [Line("read", "", "read", self.read), *lines, Line("kept", "", "kept", self.kept)]

    def table(self) -> str:
        """For printing: the notes, then the sum; of the optional steps only what dropped a row."""
        dropped = [
            (line.what, line.rows)
            for line in self._dropped()
            if line.rows or not (line.step in OPTIONAL or line.what in SELDOM)
        ]
        rows = [(LABELS["read"], self.read), *dropped, (LABELS["kept"], self.kept)]
        if self.duplicates_kept:
            rows.append((LABELS["duplicates_kept"], self.duplicates_kept))
        notes = [f"{line}\n" for line in self.notes]
        return "".join(notes) + "\n".join(f"{label:<50}{n:>14,}" for label, n in rows)

    def write_csv(self, path: Path) -> None:
        """`lines` as CSV with the columns step, column, what, rows. Raises OSError."""
        import pandas as pd

        pd.DataFrame(self.lines(), columns=Line._fields).to_csv(path, index=False)
