"""Events: from a Kafka record's bytes to values, and back.

Two ways that agree on every input: `decode_one`, one readable check after another, says what an event is;
`decode_many` has records of usual form parsed by machine code (models/json_columns.py), and all others by `decode_one`.
An event is accepted whole or rejected with one `Reason`; docs/events.md explains both to a producer's developer.
"""

import enum
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from typing import Annotated, Any

import msgspec
import numpy as np
import xxhash
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from models.kinds import ERASE, NUMBER_OF, RETURN, TICK, TRADED, listed

SECOND = 1_000_000
FUTURE = 600 * SECOND  # how far an event may be ahead of its own record's timestamp, inclusive
END = 7_258_118_400  # 2200-01-01T00:00:00Z in seconds, exclusive; time begins at 0
MOST = 10**13  # of an amount in 1/10,000, and of a quantity, inclusive: a customer's sums hold 922,337 such amounts
DEAREST = MOST / 1e4 + 0.00005  # unit_price whose amount is rounded to MOST, inclusive
ID_BYTES = 128
BOUNDS = np.array([END * SECOND, FUTURE, MOST, ID_BYTES])
TICKS = "tick"  # the event_type of a record that only asks for a sweep
DEPTH = 200  # of nested JSON, inclusive; a limit of our own, for Python's depends on version and caller

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, rounding=ROUND_HALF_EVEN)  # a product loses nothing
ESCAPE = re.compile(rb"\\.", re.DOTALL)

Seconds = Annotated[int, Meta(ge=0, lt=END)] | Annotated[float, Meta(ge=0, lt=END)]
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_moment_of: Callable[[msgspec.Raw], Any] = msgspec.json.Decoder(Seconds | datetime).decode

QUOTE = ord('"')
NESTS = np.zeros(256, np.int8)  # by byte, outside of strings
NESTS[[*b"[{"]], NESTS[[*b"]}"]] = 1, -1


class Reason(enum.StrEnum):
    """Why a record was rejected: the `reason` header in the rejected topic."""

    not_json = enum.auto()
    wrong_field = enum.auto()
    no_time_zone = enum.auto()
    no_key = enum.auto()
    wrong_key = enum.auto()
    bad_quantity = enum.auto()
    overflow = enum.auto()
    future = enum.auto()
    wrong_partition = enum.auto()  # found by the worker, which knows the partitions
    no_timestamp = enum.auto()


class Rejected(ValueError):
    """The record is no event: `reason`, and `detail`, which names the field but never quotes its content."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Event(msgspec.Struct, frozen=True):
    """One accepted event; ids are "" and amount 0 where a kind has none."""

    event_id: str
    kind: int  # a number of models.kinds
    customer_id: str
    occurred_at: int  # microseconds since the epoch, UTC; 0 for ERASE
    order_id: str  # event_id if the producer gave none
    product_id: str | None
    amount: int  # quantity x unit_price in 1/10,000 of the major unit, negative for a return


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Accepted events as columns of one length, in record order."""

    index: NDArray[np.int64]  # which record of those given
    customer_id: list[str]
    t: NDArray[np.int64]  # occurred_at
    kind: NDArray[np.int8]
    amount: NDArray[np.int64]
    order: NDArray[np.uint64]  # hash_ids of order_id, 0 for TICK and ERASE
    event: NDArray[np.uint64]  # hash_ids of event_id, likewise
    product_id: list[str | None] = field(default_factory=list)  # empty: nobody asks for products

    def __len__(self) -> int:
        return len(self.index)

    def part(self, start: int, stop: int) -> "Batch":
        """Events [start, stop); the batch itself if that is all of them."""
        if stop - start == len(self):
            return self
        return Batch(*(getattr(self, name)[start:stop] for name in self.__slots__))

    def keep(self, mask: NDArray[np.bool_]) -> "Batch":
        """The events where `mask` (n,) is True; the batch itself if that is all of them."""
        if mask.all():
            return self
        kept = mask.tolist()

        def column(name: str) -> Any:
            values = getattr(self, name)
            return list(itertools.compress(values, kept)) if isinstance(values, list) else values[mask]

        return Batch(*map(column, self.__slots__))


def hash_ids(ids: Iterable[bytes]) -> NDArray[np.uint64]:
    """64-bit hashes (XXH3) of UTF-8 ids; never 0, which means "no id" in a customer's rings."""
    return np.maximum(np.array([xxhash.xxh3_64_intdigest(name) for name in ids], np.uint64), np.uint64(1))


# ---- one record: what an event is ------------------------------------------------------------------------------------
def decode_one(key: bytes | None, value: bytes | None, timestamp: int | None) -> Event:
    """The event in a Kafka record; `timestamp` is the record's, in milliseconds (None or negative: it has none).

    Raises `Rejected`; where several reasons hold, the first in the order of the checks below.

    >>> decode_one(b"c1", b'{"event_id":"e1","event_type":"view","customer_id":"c1","occurred_at":0.5}', 0)
    Event(event_id='e1', kind=2, customer_id='c1', occurred_at=500000, order_id='e1', product_id=None, amount=0)
    """
    if value is None:
        return _erase(key)
    if timestamp is None or timestamp < 0:
        raise Rejected(Reason.no_timestamp, "the record has no timestamp")
    fields = _fields(value)
    event_type = _field(fields, "event_type", _text, "a string")
    if event_type == TICKS:
        if key is not None:
            raise Rejected(Reason.wrong_key, "a tick must have no key")
        return Event("", TICK, "", _occurred_at(fields, timestamp), "", None, 0)
    if event_type not in NUMBER_OF:
        raise Rejected(Reason.wrong_field, f"event_type must be {listed()}")
    kind = NUMBER_OF[event_type]
    event_id, customer_id = _id(fields, "event_id"), _id(fields, "customer_id")
    _check_key(key, customer_id)
    occurred_at = _occurred_at(fields, timestamp)
    order_id, product_id = _optional_id(fields, "order_id") or event_id, _optional_id(fields, "product_id")
    amount = _amount(fields) if kind in TRADED else 0
    return Event(event_id, kind, customer_id, occurred_at, order_id, product_id, -amount if kind == RETURN else amount)


def _erase(key: bytes | None) -> Event:
    if key is None:
        raise Rejected(Reason.no_key, "a null value erases the customer named by the key, and there is no key")
    try:
        customer_id = key.decode()
    except UnicodeDecodeError:
        raise Rejected(Reason.wrong_key, "the key is not UTF-8") from None
    if not 1 <= len(key) <= ID_BYTES:
        raise Rejected(Reason.wrong_key, f"the key must have 1 to {ID_BYTES} bytes")
    return Event("", ERASE, customer_id, 0, "", None, 0)


def _fields(value: bytes) -> dict[str, msgspec.Raw]:
    try:
        value.decode()  # msgspec skips what it does not decode without looking at its encoding
        if _too_deep(value):
            raise Rejected(Reason.not_json, f"nested deeper than {DEPTH}")
        return _object(value)
    except UnicodeDecodeError as error:
        raise Rejected(Reason.not_json, f"the value is not UTF-8 at byte {error.start}") from None
    except msgspec.DecodeError as error:
        raise Rejected(Reason.not_json, f"the value is not one JSON object in UTF-8: {error}") from None


def _too_deep(value: bytes) -> bool:
    if len(value) <= 2 * DEPTH or value.count(b"[") + value.count(b"{") <= DEPTH:
        return False
    text = np.frombuffer(ESCAPE.sub(b"", value) if b"\\" in value else value, np.uint8)
    inside = np.bitwise_xor.accumulate(text == QUOTE)  # of strings, the quotes that begin them too
    steps = np.where(inside, np.int8(0), NESTS[text])
    return int(steps.cumsum(dtype=np.int32).max(initial=0)) > DEPTH


def _field(fields: dict[str, msgspec.Raw], name: str, decode: Callable[[msgspec.Raw], Any], wanted: str) -> Any:
    if name not in fields:
        raise Rejected(Reason.wrong_field, f"{name} is missing")
    try:
        return decode(fields[name])
    except msgspec.ValidationError:
        raise Rejected(Reason.wrong_field, f"{name} must be {wanted}") from None


def _id(fields: dict[str, msgspec.Raw], name: str) -> str:
    text: str = _field(fields, name, _text, "a string")
    if not 1 <= len(text.encode()) <= ID_BYTES:
        raise Rejected(Reason.wrong_field, f"{name} must have 1 to {ID_BYTES} bytes")
    return text


def _optional_id(fields: dict[str, msgspec.Raw], name: str) -> str | None:
    return _id(fields, name) if name in fields and bytes(fields[name]) != b"null" else None


def _check_key(key: bytes | None, customer_id: str) -> None:
    if key is None:
        raise Rejected(Reason.no_key, "the record's key must be customer_id")
    if key != customer_id.encode():
        raise Rejected(Reason.wrong_key, "the record's key is not customer_id")


def _occurred_at(fields: dict[str, msgspec.Raw], timestamp: int) -> int:
    wanted = "an ISO 8601 time with offset or Unix seconds, 1970 to 2199"
    moment = _field(fields, "occurred_at", _moment_of, wanted)
    if isinstance(moment, datetime) and moment.tzinfo is None:
        raise Rejected(Reason.no_time_zone, "occurred_at has no offset from UTC")
    t = _microseconds(moment)
    if not 0 <= t < END * SECOND:
        raise Rejected(Reason.wrong_field, f"occurred_at must be {wanted}")
    if t > timestamp * 1000 + FUTURE:
        raise Rejected(Reason.future, "occurred_at is more than 10 minutes after the record's timestamp")
    return t


def _microseconds(moment: datetime | float) -> int:
    """Half-even from the double that Unix seconds are; msgspec has rounded an ISO time (half up)."""
    if isinstance(moment, datetime):
        return (moment - EPOCH) // timedelta(microseconds=1)
    return moment * SECOND if isinstance(moment, int) else round(moment * 1e6)


def _amount(fields: dict[str, msgspec.Raw]) -> int:
    """The exact product in 1/10,000 of the major unit, rounded half-even once."""
    quantity, price = _quantity(*_number(fields, "quantity", MOST)), _price(*_number(fields, "unit_price", DEAREST))
    amount = whole(EXACT.multiply(price, Decimal(quantity)))
    if amount > MOST:
        raise Rejected(Reason.overflow, "quantity x unit_price is too large")
    return amount


def _number(fields: dict[str, msgspec.Raw], name: str, most: float) -> tuple[float, str]:
    text = bytes(_field(fields, name, bytes, "")).decode()
    if text[0] not in "-0123456789":
        raise Rejected(Reason.wrong_field, f"{name} must be a number")
    if (number := float(text)) > most:
        raise Rejected(Reason.overflow, f"{name} is too large")
    return number, text


def _quantity(number: float, text: str) -> int:
    """In 1/10,000: of the decimals with up to 4 places the one whose double it is."""
    if number <= 0:
        raise Rejected(Reason.bad_quantity, "quantity must be more than 0; a return says so in event_type")
    units = 10_000 * int(text) if text.isdigit() else whole(EXACT.multiply(Decimal(number), Decimal(10_000)))
    if units / 10_000 != number:
        raise Rejected(Reason.wrong_field, "quantity must have at most 4 decimal places")
    return units


def whole(number: Decimal) -> int:
    """Rounded half-even."""
    return int(number.to_integral_value(ROUND_HALF_EVEN, EXACT))


def _price(number: float, text: str) -> Decimal:
    if number < 0:
        raise Rejected(Reason.wrong_field, "unit_price must be at least 0")
    return Decimal(text) if number else Decimal(0)  # Decimal takes no exponent beyond 1e18: 0 as a double is 0 here


# ---- many records ----------------------------------------------------------------------------------------------------
def decode_many(
    keys: Sequence[bytes | None], values: Sequence[bytes | None], timestamps: ArrayLike
) -> tuple[Batch, list[tuple[int, Reason, str]]]:
    """`decode_one` of every record: the accepted, and (which, reason, detail) of the rejected.

    timestamps: (n,), the records' own in milliseconds, negative where one has none.

    Records of usual form take half a microsecond each. Others take 5 to 10: ticks, what is rejected, ids with escapes
    (as those beyond ASCII have that are not sent in UTF-8), numbers with exponents or of more than 18 characters.
    """
    from models.json_columns import parse  # here, for it brings numba: who decodes one event needs none

    stamps = np.asarray(timestamps, np.int64)
    (index, t, kind, amount, order, event), customers, products = parse(keys, values, stamps, BOUNDS)
    hashes = order.view(np.uint64), event.view(np.uint64)
    fast = Batch(index, customers, t, kind.astype(np.int8), amount, *hashes, products)
    if len(fast) == len(stamps):
        return fast, []
    odd = np.ones(len(stamps), np.bool_)
    odd[fast.index] = False
    slow, rejected = [], []
    for i in np.flatnonzero(odd).tolist():
        try:
            slow.append((i, decode_one(keys[i], values[i], int(stamps[i]))))
        except Rejected as error:
            rejected.append((i, error.reason, error.detail))
    return _merged(fast, _batch(slow)) if slow else fast, rejected


def _batch(found: list[tuple[int, Event]]) -> Batch:
    events = [event for _, event in found]
    named = np.array([event.kind >= 0 for event in events], np.uint64)
    return Batch(
        np.array([i for i, _ in found], np.int64),
        [event.customer_id for event in events],
        np.array([event.occurred_at for event in events], np.int64),
        np.array([event.kind for event in events], np.int8),
        np.array([event.amount for event in events], np.int64),
        named * hash_ids(event.order_id.encode() for event in events),
        named * hash_ids(event.event_id.encode() for event in events),
        [event.product_id for event in events],
    )


def _merged(one: Batch, other: Batch) -> Batch:
    by = np.argsort(np.concatenate([one.index, other.index]))

    def column(name: str) -> Any:
        first, second = getattr(one, name), getattr(other, name)
        if isinstance(first, list):
            together = first + second
            return [together[i] for i in by.tolist()]
        return np.concatenate([first, second])[by]

    return Batch(*map(column, Batch.__slots__))


# ---- from values to bytes --------------------------------------------------------------------------------------------
class _Out(msgspec.Struct, omit_defaults=True):
    event_id: str
    event_type: str
    customer_id: str
    occurred_at: datetime
    order_id: str | None = None
    product_id: str | None = None
    quantity: int | Decimal | None = None
    unit_price: Decimal | None = None


class _Tick(msgspec.Struct, tag_field="event_type", tag=TICKS):
    occurred_at: datetime


_encode = msgspec.json.Encoder(decimal_format="number").encode


def encode_event(
    event_id: str,
    event_type: str,
    customer_id: str,
    occurred_at: int,
    order_id: str | None = None,
    product_id: str | None = None,
    quantity: int | Decimal | None = None,
    unit_price: Decimal | str | None = None,
) -> bytes:
    """A record's value; `occurred_at` in microseconds, `quantity` and `unit_price` exact; None is left out.

    >>> encode_event("e1", "purchase", "c1", 1_500_000, quantity=2, unit_price="9.90").decode()
    '{"event_id":"e1","event_type":"purchase","customer_id":"c1","occurred_at":"1970-01-01T00:00:01.500000Z","quantity":2,"unit_price":9.90}'
    """
    price = None if unit_price is None else Decimal(unit_price)
    if price is not None and not price.is_finite():
        raise ValueError("unit_price must be finite")
    return _encode(_Out(event_id, event_type, customer_id, _moment(occurred_at), order_id, product_id, quantity, price))


def encode_tick(occurred_at: int) -> bytes:
    """The value of a tick, which is sent without a key; `occurred_at` in microseconds.

    >>> encode_tick(0)
    b'{"event_type":"tick","occurred_at":"1970-01-01T00:00:00Z"}'
    """
    return _encode(_Tick(_moment(occurred_at)))


def _moment(t: int) -> datetime:
    return EPOCH + timedelta(microseconds=t)
