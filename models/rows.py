"""How a customer's state and a training example are laid out: in memory, in Redis and in what `offline fit` leaves.

Rule: what is stored is read by the names of its fields, whatever form it has. A change of a layout gives it a new
number and keeps the one before in ROWS or EXAMPLES; what an older form lacks is as in a blank row. docs/upgrading.md
says what a change asks of an operator. Time is in microseconds since the epoch (UTC), days in days since then, money in
1/10,000 of the major unit. From form 3 on a row is stored behind a HEAD, its rings only as far as they are filled.
"""

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

DAY = 86_400_000_000  # microseconds
NONE, NEVER = -(2**63), 2**31 - 1  # a time, a day that never was
LARGEST = 2**63 - 1  # that a sum of money can hold, either way, in 1/10,000
# How far back ids are recognised: of purchases and returns, of what is only browsed, of orders.
TRADED_IDS, BROWSED_IDS, ORDERS = 64, 16, 8
RING = 16  # purchases of offered products that are remembered
SCHEMA = 5  # of a row
EXAMPLE_SCHEMA = 2  # of a stored example

Array = npt.NDArray[Any]


def _fields(kind: str, names: str) -> list[tuple[str, str]]:
    return [(name, kind) for name in names.split()]


# What a model may see of a customer, as it stood at a midnight.
_RAW_TO_4 = [
    *_fields("i8", "spend window"),
    *_fields("f4", "s30 s90 n30 n90 v7 c7"),
    *_fields("i4", "orders days tenure recency"),
]
RAW = np.dtype([*_RAW_TO_4, ("peak", "i8")])
# An event's id is kept as 48 bits of its hash (`short`), the low 32 and the high 16 of them apart.
_IDS = [
    *_fields("u1", "traded_slot browsed_slot order_slot open phase"),
    *[("traded_low", "u4", TRADED_IDS), ("traded_high", "u2", TRADED_IDS)],
    *[("browsed_low", "u4", BROWSED_IDS), ("browsed_high", "u2", BROWSED_IDS)],
    ("order_ids", "u8", ORDERS),
]
FOLDED = [
    *_fields("i8", "seen first last at spend returned window today peak"),
    *_fields("u8", "day_mask"),
    *_fields("f8", "s30 s90 n30 n90 v7 c7"),
    ("raw", RAW),
    *_fields("i4", "due orders days window_orders"),
    *_IDS,
]
# What was last published (the segment, the one before it and the day since when), what was promised when the open
# example opened (a high below 0: nothing was), and the last purchases of products with a code in the offers
# (models/offers.py; their days modulo 2**16). It depends on when a model arrived: no part of the promise.
_OPENED = [("open_demand", "f4"), ("open_high", "f4"), ("open_p_buy", "f4"), ("open_version", "u4")]
_OFFERED = [("offered", "u4", RING), ("offered_day", "u2", RING), ("offered_slot", "u1")]
SERVED = [
    *[("cluster", "i2"), ("rfm", "u2"), ("segment", "i1"), ("segment_before", "i1"), ("segment_since", "i4")],
    *[("demand", "f4"), ("value", "f4"), ("version", "u4")],
    *_OPENED,
    *_OFFERED,
]
# The rings: the fields of each, and where its next entry goes. They are filled from the first entry on, and no id or
# code is 0: a ring is full if its last entry is there, else it holds as many as its slot says.
RINGS = {
    "traded": ("traded_low", "traded_high"),
    "browsed": ("browsed_low", "browsed_high"),
    "ordered": ("order_ids",),
    "offered": ("offered", "offered_day"),
}
SLOTS = {"traded": "traded_slot", "browsed": "browsed_slot", "ordered": "order_slot", "offered": "offered_slot"}
ROW = np.dtype([*FOLDED, *SERVED])
_SLOTS_AT = np.array([ROW.fields[name][1] for name in SLOTS.values()])  # type: ignore[index]  # of the stubs
PROMISED = np.dtype(FOLDED).itemsize  # the leading bytes of a row that every replay reproduces

# One a landmark: the example that closes there (`open` = 1) and the raw sums that open the next.
_LABELS = [*_fields("i8", "label"), *_fields("i4", "row day orders open")]
_CLOSED = [("now", RAW), ("then", RAW), *_LABELS]
_CLOSED_TO_1 = [("now", np.dtype(_RAW_TO_4)), ("then", np.dtype(_RAW_TO_4)), *_LABELS]


def _as_stored(entry: list[tuple[str, Any]]) -> np.dtype[Any]:
    """By customer: the number of its form stands where memory has the number of the row."""
    return np.dtype([("schema" if name == "row" else name, kind) for name, kind in entry])


ENTRY = np.dtype([*_CLOSED, *_OPENED])
EXAMPLE = _as_stored([*_CLOSED, *_OPENED])

# What stands before a row of form 3 and later: minus its form, where the forms before have `seen`, which is never
# negative; and how many entries of each ring are there.
HEAD = np.dtype([("form", "i8"), *((name, "u1") for name in RINGS)])
_MARK = np.array([-SCHEMA], HEAD["form"]).view(np.uint8)  # of a row as it is stored now

# The forms of before.
_SUMS_TO_4 = [
    *_fields("i8", "seen first last at spend returned window"),
    *_fields("u8", "day_mask"),
    *_fields("f8", "s30 s90 n30 n90 v7 c7"),
    ("raw", np.dtype(_RAW_TO_4)),
]
_FOLDED_TO_2 = [
    *_SUMS_TO_4,
    ("event_ids", "u8", 16),
    ("order_ids", "u8", 8),
    *_fields("i4", "due orders days window_orders"),
    *_fields("u1", "event_slot order_slot open phase"),
    *_fields("u2", "schema"),
]
_FOLDED_TO_4 = [*_SUMS_TO_4, *_fields("i4", "due orders days window_orders"), *_IDS]
_SERVED_1 = [
    *[("cluster", "i2"), ("demand", "f4"), ("version", "u4")],
    *[("open_demand", "f4"), ("open_version", "u4")],
]
_SERVED_TO_3 = [
    *[("cluster", "i2"), ("rfm", "u2"), ("demand", "f4"), ("version", "u4")],
    *[("open_demand", "f4"), ("open_version", "u4")],
    *[("offered", "u4", 16), ("offered_day", "u2", 16), ("offered_slot", "u1")],
]
# Every form that may be stored, by its number; those up to 2 stand there whole and without a head.
ROWS = {
    1: np.dtype([*_FOLDED_TO_2, *_SERVED_1]),
    2: np.dtype([*_FOLDED_TO_2, *_SERVED_TO_3]),
    3: np.dtype([*_FOLDED_TO_4, *_SERVED_TO_3]),
    4: np.dtype([*_FOLDED_TO_4, *SERVED]),
    SCHEMA: ROW,
}
EXAMPLES = {
    0: _as_stored([*_CLOSED_TO_1, ("open_version", "u4"), ("open_demand", "f4")]),
    1: _as_stored([*_CLOSED_TO_1, *_OPENED]),
    EXAMPLE_SCHEMA: EXAMPLE,
}

BLANK = np.zeros((), ROW)
for _name, _value in {"first": NONE, "last": NONE, "at": NONE, "due": NEVER}.items():
    BLANK[_name] = _value
BLANK["cluster"] = BLANK["segment"] = BLANK["segment_before"] = BLANK["open_high"] = -1  # none
_UNPROMISED = np.zeros((), EXAMPLE)
_UNPROMISED["open_high"] = -1


class UnknownForm(ValueError):
    """Records of a form that this program does not know, so of a newer one, or damaged; the line says which."""


# ---- ids -------------------------------------------------------------------------------------------------------------
def short(hashes: Array) -> tuple[Array, Array]:
    """The low 32 and the high 16 of 48 bits of hashes (uint64, any shape): what rings keep. Never both 0: no id."""
    low, high = hashes.astype(np.uint32), (hashes >> np.uint64(32)).astype(np.uint16)
    low[(low == 0) & (high == 0)] = 1
    return low, high


# ---- rows ------------------------------------------------------------------------------------------------------------
def pack_rows(rows: Array) -> tuple[Array, Array]:
    """Rows (n,) of ROW as they are stored, one behind the other, uint8, and the bytes (n,) of each."""
    from models import packing  # here, for it brings numba, which takes a while to load

    return packing.pack(_MARK, rows, _SLOTS_AT, _layout(ROW))


@cache
def _layout(form: np.dtype[Any]) -> Any:
    """Its packing.Layout."""
    from models import packing

    return packing.Layout.of(form, RINGS)


def _counts(heads: Array) -> Array:
    """Entries uint8 (n, rings) that the rings of the records behind these heads hold."""
    return np.stack([heads[name] for name in RINGS], axis=1)


def packed_rows(rows: Array) -> list[bytes]:
    """The same, each by itself."""
    packed, sizes = pack_rows(rows)
    data, edges = packed.tobytes(), itertools.pairwise([0, *np.cumsum(sizes).tolist()])
    return [data[start:end] for start, end in edges]


def load_rows(packed: Sequence[bytes]) -> Array:
    """(n,) of ROW from stored rows of any known form, each by itself. Raises UnknownForm."""
    together = np.frombuffer(b"".join(packed), np.uint8)
    sizes = np.fromiter(map(len, packed), np.int64, len(packed))
    starts = np.cumsum(sizes) - sizes
    headed = sizes > 7
    headed[headed] = together[starts[headed] + 7] > 0x7F  # the sign of the first field
    if headed.all():  # as nearly always
        return _headed(together, starts, sizes)
    found, older = np.full(len(packed), BLANK), list(itertools.compress(packed, (~headed).tolist()))
    whole(found)[headed] = whole(_headed(together, starts[headed], sizes[headed]))
    whole(found)[~headed] = whole(_headless(older))
    return found


def _headed(together: Array, starts: Array, sizes: Array) -> Array:
    """Rows (n,) that stand behind a HEAD, by where each begins and its bytes."""
    if (sizes < HEAD.itemsize).any():
        raise UnknownForm(_no_form("customer states", int(sizes.min())))
    heads = together[starts[:, None] + np.arange(HEAD.itemsize)].reshape(-1).view(HEAD)
    forms = set((-heads["form"]).tolist())
    if others := forms - {number for number in ROWS if number > 2}:
        raise UnknownForm(f"customer states say that they are of form {min(others)}")
    if forms == {SCHEMA}:  # as nearly always: nothing is copied
        return _unpacked(together, starts, sizes, heads, ROW)
    found = np.full(len(sizes), BLANK)
    for form in forms:
        here = heads["form"] == -form
        newer = np.full(int(here.sum()), BLANK)
        _taken(newer, _unpacked(together, starts[here], sizes[here], heads[here], ROWS[form]))
        whole(found)[here] = whole(newer)
    return found


def _taken(newer: Array, older: Array) -> None:
    """Records of the newest form get what those of another one have, by the names of the fields.

    What a purchase day brought at most stands in no row of form 4 or before: all that was spent, so that what is spent
    from there on proves a customer's own scale (models/scales.py).
    """
    from numpy.lib import recfunctions  # here, for it takes a tenth of a second that few need

    recfunctions.assign_fields_by_name(newer, older, zero_unassigned=False)
    inside = [name for name in ("raw", "now", "then") if name in _names(newer)]
    for now, before in ((newer, older), *((newer[name], older[name]) for name in inside)):
        if "peak" in _names(now) and "peak" not in _names(before):
            now["peak"] = before["spend"]


def _names(records: Array) -> tuple[str, ...]:
    return records.dtype.names or ()


def _unpacked(together: Array, starts: Array, sizes: Array, heads: Array, form: np.dtype[Any]) -> Array:
    """Rows of one form, (n,), whose heads begin at these places."""
    from models import packing

    counts, layout = _counts(heads), _layout(form)
    wrong = (counts > layout.rooms).any(axis=1) | (sizes != HEAD.itemsize + layout.sizes(counts))
    if wrong.any():
        raise UnknownForm(_no_form("customer states", int(sizes[wrong].min())))
    return packing.unpack(together, starts + HEAD.itemsize, counts, form, layout)


def _headless(packed: Sequence[bytes]) -> Array:
    """Rows of forms 1 and 2, whose one ring of event ids was filled by all kinds: either ring gets what it held."""
    older = {number: form for number, form in ROWS.items() if number < 3}
    rows = _load(packed, older, np.zeros((), older[2]), "customer states")
    found = np.full(len(rows), BLANK)
    _taken(found, rows)
    ids, known = _oldest_first(rows["event_ids"], rows["event_slot"])
    for name, room in (("traded", TRADED_IDS), ("browsed", BROWSED_IDS)):
        for part, values in zip(RINGS[name], short(ids), strict=True):
            found[part][:, : ids.shape[1]] = np.where(ids > 0, values, 0)
        found[f"{name}_slot"] = known % room
    return found


def _oldest_first(ring: Array, slot: Array) -> tuple[Array, Array]:
    """Each ring (n, room) from its oldest id on, 0 behind its newest, and how many ids (n,) it holds."""
    room = ring.shape[1]
    turned = np.take_along_axis(ring, (slot[:, None].astype(np.int64) + np.arange(room)) % room, axis=1)
    filled = np.argsort(turned == 0, axis=1, kind="stable")
    return np.take_along_axis(turned, filled, axis=1), (ring > 0).sum(axis=1)


# ---- examples --------------------------------------------------------------------------------------------------------
def load_examples(packed: Sequence[bytes]) -> Array:
    """(n,) of ENTRY from stored examples of any known form; their `row` is 0. Raises UnknownForm."""
    found = _load(packed, EXAMPLES, _UNPROMISED, "training examples").copy()
    found["schema"] = 0
    return found.view(ENTRY)


def stored(entries: Array) -> bytes:
    """These entries (n,) of ENTRY as they are stored, one behind the other."""
    if not len(entries):  # as most writes of a live stream
        return b""
    examples = entries.copy().view(EXAMPLE)
    examples["schema"] = EXAMPLE_SCHEMA
    return examples.tobytes()


def _load(packed: Sequence[bytes], forms: Mapping[int, np.dtype[Any]], blank: Array, what: str) -> Array:
    """Records laid out as the newest form. Each form has a length; the number in a record must agree with it."""
    newest, by_length = max(forms), {form.itemsize: number for number, form in forms.items()}
    lengths = set(map(len, packed))
    if unknown := lengths - by_length.keys():
        raise UnknownForm(_no_form(what, min(unknown)))
    if lengths <= {forms[newest].itemsize}:  # as nearly always: nothing is copied
        return _agreeing(packed, forms, newest, what)
    found = np.full(len(packed), blank)
    for length in lengths:
        here = [place for place, record in enumerate(packed) if len(record) == length]
        older = _agreeing([packed[place] for place in here], forms, by_length[length], what)
        newer = np.full(len(here), blank)
        _taken(newer, older)
        found[here] = newer
    return found


def _no_form(what: str, length: int) -> str:
    return f"{what} of {length} bytes are of no form that this program knows"


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
