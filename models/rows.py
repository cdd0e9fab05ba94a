"""How a customer's state and a training example are laid out: in memory, in Redis and in what `offline fit` leaves.

Rule: what is stored is read by the names of its fields, whatever form it has. A change of a layout gives it a new
number and keeps the one before in ROWS or EXAMPLES; what an older form lacks is as in a blank row. docs/upgrading.md
says what a change asks of an operator. Time is in microseconds since the epoch (UTC), days in days since then, money in
1/10,000 of the major unit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

DAY = 86_400_000_000  # microseconds
NONE, NEVER = -(2**63), 2**31 - 1  # a time, a day that never was
LARGEST = 2**63 - 1  # that a sum of money can hold, either way, in 1/10,000
EVENTS, ORDERS = 16, 8  # how far back an event id and an order id are recognised
RING = 16  # purchases of offered products that are remembered
SCHEMA = 2  # of a row
EXAMPLE_SCHEMA = 0  # of a stored example

Array = npt.NDArray[Any]


def _fields(kind: str, names: str) -> list[tuple[str, str]]:
    return [(name, kind) for name in names.split()]


# What a model may see of a customer, as it stood at a midnight.
RAW = np.dtype(
    [
        *_fields("i8", "spend window"),
        *_fields("f4", "s30 s90 n30 n90 v7 c7"),
        *_fields("i4", "orders days tenure recency"),
    ]
)
FOLDED = [
    *_fields("i8", "seen first last at spend returned window"),
    *_fields("u8", "day_mask"),
    *_fields("f8", "s30 s90 n30 n90 v7 c7"),
    ("raw", RAW),
    ("event_ids", "u8", EVENTS),
    ("order_ids", "u8", ORDERS),
    *_fields("i4", "due orders days window_orders"),
    *_fields("u1", "event_slot order_slot open phase"),
    *_fields("u2", "schema"),
]
# What was last published, when the open example opened, and the last purchases of products with a code in the offers
# (models/offers.py; their days modulo 2**16). It depends on when a model arrived: no part of the promise.
SERVED = [
    *[("cluster", "i2"), ("rfm", "u2"), ("demand", "f4"), ("version", "u4")],
    *[("open_demand", "f4"), ("open_version", "u4")],
    *[("offered", "u4", RING), ("offered_day", "u2", RING), ("offered_slot", "u1")],
]
ROW = np.dtype([*FOLDED, *SERVED])
PROMISED = np.dtype(FOLDED).itemsize  # the leading bytes of a row that every replay reproduces

# One a landmark: the example that closes there (`open` = 1) and the raw sums that open the next.
_EXAMPLE = [
    ("now", RAW),
    ("then", RAW),
    *_fields("i8", "label"),
    *_fields("i4", "row day orders open"),
    *_fields("u4", "open_version"),
    *_fields("f4", "open_demand"),
]
ENTRY = np.dtype(_EXAMPLE)
# As it is stored, by customer: the number of its form stands where memory has the number of the row.
EXAMPLE = np.dtype([("schema" if name == "row" else name, kind) for name, kind in _EXAMPLE])

_OF_1 = [*[("cluster", "i2"), ("demand", "f4"), ("version", "u4")], *[("open_demand", "f4"), ("open_version", "u4")]]
ROWS = {1: np.dtype([*FOLDED, *_OF_1]), SCHEMA: ROW}  # every form that may be stored, by its number
EXAMPLES = {EXAMPLE_SCHEMA: EXAMPLE}

BLANK = np.zeros((), ROW)
for _name, _value in {"schema": SCHEMA, "first": NONE, "last": NONE, "at": NONE, "due": NEVER, "cluster": -1}.items():
    BLANK[_name] = _value


class UnknownForm(ValueError):
    """Records of a form that this program does not know, so of a newer one, or damaged; the line says which."""


def load_rows(packed: Sequence[bytes]) -> Array:
    """(n,) of ROW from stored rows of any known form, each by itself. Raises UnknownForm."""
    return _load(packed, ROWS, BLANK, "customer states")


def load_examples(packed: Sequence[bytes]) -> Array:
    """(n,) of ENTRY from stored examples of any known form; their `row` is 0. Raises UnknownForm."""
    found = _load(packed, EXAMPLES, np.zeros((), EXAMPLE), "training examples").copy()
    found["schema"] = 0
    return found.view(ENTRY)


def stored(entries: Array) -> bytes:
    """These entries (n,) of ENTRY as they are stored, one behind the other."""
    examples = entries.copy().view(EXAMPLE)
    examples["schema"] = EXAMPLE_SCHEMA
    return examples.tobytes()


def _load(packed: Sequence[bytes], forms: Mapping[int, np.dtype[Any]], blank: Array, what: str) -> Array:
    """Records of the newest form. A form has a length of its own; the number in the record must agree with it."""
    newest, by_length = max(forms), {form.itemsize: number for number, form in forms.items()}
    lengths = set(map(len, packed))
    if unknown := lengths - by_length.keys():
        raise UnknownForm(f"{what} of {min(unknown)} bytes are of no form that this program knows")
    if lengths <= {forms[newest].itemsize}:  # as nearly always: nothing is copied
        return _agreeing(packed, forms, newest, what)
    from numpy.lib import recfunctions  # here, for it takes a tenth of a second that few need

    found = np.full(len(packed), blank)
    for length in lengths:
        here = [place for place, record in enumerate(packed) if len(record) == length]
        older = _agreeing([packed[place] for place in here], forms, by_length[length], what)
        newer = np.full(len(here), blank)
        recfunctions.assign_fields_by_name(newer, older, zero_unassigned=False)
        newer["schema"] = newest
        found[here] = newer
    return found


def _agreeing(packed: Sequence[bytes], forms: Mapping[int, np.dtype[Any]], number: int, what: str) -> Array:
    """Records of one form, each of which says so."""
    records = np.frombuffer(b"".join(packed), forms[number])
    others = records["schema"][records["schema"] != number]
    if len(others):
        raise UnknownForm(f"{what} as long as those of form {number} say that they are of form {others[0]}")
    return records


def whole(records: Array) -> Array:
    """The same memory without fields: numpy copies records ten times as fast when it does not look into them."""
    return records.view(f"V{records.itemsize}")


def joined(parts: Sequence[Array]) -> Array:
    """Records of one type in one array."""
    return np.concatenate([whole(part) for part in parts]).view(parts[0].dtype)
