"""What `offline fit --out DIR` leaves and the stream takes: names of files and columns, and the form of each.

Pure names and numbers. Rule: the form stands in a Parquet file's metadata and is asked before anything else is read;
files of before forms were written are of form 1. Columns are read by name. A change of a column's meaning, or a needed
column more, is a new form; docs/upgrading.md says what it asks of an operator.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

ARTEFACT, HISTORY, STATES = "artefact.json", "history.parquet", "states.parquet"
HORIZON = 30  # days from a landmark to the next, which a demand spans, unless `offline fit` was told another


class Column(NamedTuple):
    """ours: what `--columns` calls it in a person's file, where that is another name; id: is it the name of somebody or
    something? wanted: is an older file without it refused?
    """

    name: str
    type: Literal["text", "bytes", "int8", "int64"]
    ours: str = ""
    id: bool = False
    wanted: bool = True


class Form(NamedTuple):
    """What a Parquet file holds: `key` names its number in the metadata."""

    what: str
    key: bytes
    number: int
    columns: tuple[Column, ...]
    anew: str  # how to make it anew

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """What a file of this form says of itself."""
        return {self.key: str(self.number).encode()}

    def refused(self, metadata: Mapping[bytes, bytes] | None, names: list[str]) -> str | None:
        """Why a file with this metadata and these columns cannot be read; None if it can.

        >>> STATED.refused({b"crm.states": b"9"}, ["customer_id", "state"])
        'customer states of form 9, and this program reads form 1: use a newer program'
        >>> STATED.refused(None, ["customer_id"])
        'customer states without state: run `offline fit` again'
        """
        number = (metadata or {}).get(self.key, b"1").decode("ascii", "replace")
        if not number.isdigit() or int(number) > self.number:
            return f"{self.what} of form {number}, and this program reads form {self.number}: use a newer program"
        missing = [column.name for column in self.columns if column.wanted and column.name not in names]
        return f"{self.what} without {', '.join(missing)}: {self.anew}" if missing else None


# A row for each event, sorted by occurred_at. kind: a number of models.kinds; occurred_at: us since the epoch (UTC);
# product_id: null where there is none; amount in 1/10,000 major unit and quantity in 1/10,000 unit, both negative for a
# return, 0 for what is only browsed.
CLEANED = Form(
    "a cleaned history",
    b"crm.history",
    1,
    (
        Column("event_id", "text", id=True),
        Column("kind", "int8", ours="event_type"),
        Column("customer_id", "text", id=True),
        Column("occurred_at", "int64"),
        Column("order_id", "text", id=True),
        Column("product_id", "text", id=True),
        Column("amount", "int64"),
        Column("quantity", "int64"),
    ),
    "clean the history files again",
)
# Everybody at the cut-off. state: a row as models/rows.py lays it out, of any form.
STATED = Form(
    "customer states",
    b"crm.states",
    1,
    (Column("customer_id", "text", id=True), Column("state", "bytes")),
    "run `offline fit` again",
)
