"""Events: literal bytes both ways; the columnar way, the plain one and that of `verify` against each other, and the
schema and the document against them."""

import json
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from models import events
from models.events import Event, Reason, Rejected
from models.kinds import CART, ERASE, NUMBER_OF, PURCHASE, RETURN, TICK, VIEW
from streams import recount

Record = tuple[bytes | None, bytes | None, int | None]  # key, value, timestamp
DOCS = Path(__file__).parent.parent / "docs"
SCHEMA = json.loads((DOCS / "event.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
NOW = 1_772_366_407_000  # a record's timestamp: 2026-03-01T12:00:07Z in milliseconds
LATE = 7_300_000_000_000  # a timestamp after every time that is allowed
T = NOW * 1000
BASE = {
    "event_id": '"e1"',
    "event_type": '"purchase"',
    "customer_id": '"c1"',
    "occurred_at": '"2026-03-01T12:00:07Z"',
    "order_id": '"o1"',
    "product_id": '"p1"',
    "quantity": "2",
    "unit_price": "9.90",
}


def value(**texts: str | None) -> bytes:
    """The base event's bytes with these fields' JSON texts; None leaves a field out."""
    fields = {name: text for name, text in (BASE | texts).items() if text is not None}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}").encode()


def outcome(key: bytes | None, raw: bytes | None, timestamp: int | None) -> Any:
    """What all ways say, having checked that they say the same."""
    (found,) = outcomes([(key, raw, timestamp)])
    return found


def outcomes(records: list[Record]) -> list[Any]:
    plain: list[Event | Rejected] = []
    for record in records:
        try:
            plain.append(events.decode_one(*record))
        except Rejected as error:
            plain.append(error)
    keys, values, timestamps = zip(*records, strict=True)
    batch, rejected = events.decode_many(keys, values, [-1 if each is None else each for each in timestamps])
    assert [(i, p.reason, p.detail) for i, p in enumerate(plain) if isinstance(p, Rejected)] == rejected
    ids = (batch.customer_id, batch.product_id)
    columns = (batch.index, batch.t, batch.kind, batch.amount, batch.order, batch.event, *ids)
    assert {len(column) for column in columns} == {len(batch)}
    assert [str(c.dtype) for c in columns[:6]] == ["int64", "int64", "int8", "int64", "uint64", "uint64"]
    rows = list(zip(*(column if isinstance(column, list) else column.tolist() for column in columns), strict=True))
    accepted = [(i, event) for i, event in enumerate(plain) if isinstance(event, Event)]
    assert rows == [
        (i, e.occurred_at, e.kind, e.amount, digest(e.order_id), digest(e.event_id), e.customer_id, e.product_id)
        for i, e in accepted
    ]
    recounted = [recount.parse(key, raw, -1 if timestamp is None else timestamp) for key, raw, timestamp in records]
    assert recounted == [counted(event) for event in plain]
    return plain


def counted(event: Event | Rejected) -> Any:
    """The event as `verify` reads it, which passes over ticks."""
    if isinstance(event, Rejected) or event.kind == TICK:
        return None
    return event.event_id, event.kind, event.customer_id, event.occurred_at, event.order_id, event.amount


def digest(name: str) -> int:
    return (xxhash.xxh3_64_intdigest(name.encode()) or 1) if name else 0


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (value(), Event("e1", PURCHASE, "c1", T, "o1", "p1", 198_000)),
        (value(event_type='"return"'), Event("e1", RETURN, "c1", T, "o1", "p1", -198_000)),
        (value(event_type='"view"'), Event("e1", VIEW, "c1", T, "o1", "p1", 0)),
        (value(event_type='"cart"', quantity="[]", unit_price='"x"'), Event("e1", CART, "c1", T, "o1", "p1", 0)),
        (value(event_type='"view"', quantity=None, unit_price=None), Event("e1", VIEW, "c1", T, "o1", "p1", 0)),
        (value(order_id=None, product_id=None), Event("e1", PURCHASE, "c1", T, "e1", None, 198_000)),
        (value(order_id="null", product_id="null"), Event("e1", PURCHASE, "c1", T, "e1", None, 198_000)),
        (value(quantity="2.0"), Event("e1", PURCHASE, "c1", T, "o1", "p1", 198_000)),
        (value(unit_price="-0.0"), Event("e1", PURCHASE, "c1", T, "o1", "p1", 0)),
        (value(occurred_at="1772366407"), Event("e1", PURCHASE, "c1", T, "o1", "p1", 198_000)),
        (value(occurred_at='"2026-03-01t17:30:07.0000015+05:30"'), Event("e1", 0, "c1", T + 2, "o1", "p1", 198_000)),
        (value(occurred_at='"2026-03-01 12:10:07-0000"'), Event("e1", 0, "c1", T + 600_000_000, "o1", "p1", 198_000)),
        (value(unknown='{"a":[1,{"b":null}]}', quantity="1"), Event("e1", PURCHASE, "c1", T, "o1", "p1", 99_000)),
        (value(product_id='"\\u00e9\\ud83d\\ude00"'), Event("e1", PURCHASE, "c1", T, "o1", "é😀", 198_000)),
        (b' \r\n{"quantity":1,"quantity":2,' + value(quantity=None)[1:], Event("e1", 0, "c1", T, "o1", "p1", 198_000)),
    ],
)
def test_accepted(raw: bytes, event: Event) -> None:
    assert outcome(b"c1", raw, NOW) == event


@pytest.mark.parametrize(
    ("key", "raw", "timestamp", "reason", "word"),
    [
        (b"c1", b"", NOW, Reason.not_json, "value"),
        (b"c1", b"null", NOW, Reason.not_json, "value"),
        (b"c1", b"[1]", NOW, Reason.not_json, "value"),
        (b"c1", value() + b"{}", NOW, Reason.not_json, "value"),
        (b"c1", b"\xef\xbb\xbf" + value(), NOW, Reason.not_json, "value"),
        (b"c1", value(unit_price="NaN"), NOW, Reason.not_json, "value"),
        (b"c1", value(other="Infinity"), NOW, Reason.not_json, "value"),
        (b"c1", value(event_id='"\\ud800"'), NOW, Reason.not_json, "value"),
        (b"c1", value(other='"\\udc00"'), NOW, Reason.not_json, "value"),
        (b"c1", value(other='"?"').replace(b"?", b"\xff"), NOW, Reason.not_json, "value"),
        (b"c1", value(other='"?"').replace(b"?", b"\xed\xa0\x80"), NOW, Reason.not_json, "value"),
        (b"c1", value(event_type=None), NOW, Reason.wrong_field, "event_type"),
        (b"c1", value(event_type='"refund"'), NOW, Reason.wrong_field, "event_type"),
        (b"c1", value(event_id="1"), NOW, Reason.wrong_field, "event_id"),
        (b"c1", value(event_id='""'), NOW, Reason.wrong_field, "event_id"),
        (b"c1", value(customer_id="null"), NOW, Reason.wrong_field, "customer_id"),
        (b"c1", value(order_id='""'), NOW, Reason.wrong_field, "order_id"),
        (b"c1", value(product_id="7"), NOW, Reason.wrong_field, "product_id"),
        (b"c1", value(occurred_at=None), NOW, Reason.wrong_field, "occurred_at"),
        (b"c1", value(occurred_at='"2016-12-31T23:59:60Z"'), NOW, Reason.wrong_field, "occurred_at"),
        (b"c1", value(occurred_at='"2026-02-29T00:00:00Z"'), NOW, Reason.wrong_field, "occurred_at"),
        (b"c1", value(occurred_at="-1"), NOW, Reason.wrong_field, "occurred_at"),
        (b"c1", value(occurred_at="true"), NOW, Reason.wrong_field, "occurred_at"),
        (b"c1", value(quantity=None), NOW, Reason.wrong_field, "quantity"),
        (b"c1", value(quantity="true"), NOW, Reason.wrong_field, "quantity"),
        (b"c1", value(quantity="1.00005"), NOW, Reason.wrong_field, "quantity"),
        (b"c1", value(unit_price='"9.90"'), NOW, Reason.wrong_field, "unit_price"),
        (b"c1", value(unit_price="-0.01"), NOW, Reason.wrong_field, "unit_price"),
        (b"c1", value(occurred_at='"2026-03-01T12:00:07"'), NOW, Reason.no_time_zone, "occurred_at"),
        (None, value(), NOW, Reason.no_key, "key"),
        (None, None, NOW, Reason.no_key, "key"),
        (b"c2", value(), NOW, Reason.wrong_key, "key"),
        (b"", value(), NOW, Reason.wrong_key, "key"),
        (b"\xff", None, NOW, Reason.wrong_key, "key"),
        (b"", None, NOW, Reason.wrong_key, "key"),
        (b"x" * 129, None, NOW, Reason.wrong_key, "key"),
        (b"x" + "é".encode() * 64, None, NOW, Reason.wrong_key, "128 bytes"),
        ("😀".encode() * 33, None, NOW, Reason.wrong_key, "128 bytes"),
        (b"c1", events.encode_tick(T), NOW, Reason.wrong_key, "key"),
        (b"", events.encode_tick(T), NOW, Reason.wrong_key, "key"),
        (b"c1", value(quantity="0"), NOW, Reason.bad_quantity, "quantity"),
        (b"c1", value(quantity="-3.0"), NOW, Reason.bad_quantity, "quantity"),
        (b"c1", value(quantity="-0.00005"), NOW, Reason.bad_quantity, "quantity"),
        (b"c1", value(quantity="-1e400"), NOW, Reason.bad_quantity, "quantity"),
        (b"c1", value(quantity="9" * 5000), NOW, Reason.overflow, "quantity"),
        (b"c1", value(unit_price="1e400"), NOW, Reason.overflow, "unit_price"),
        (b"c1", value(occurred_at='"2026-03-01T12:10:07.000001Z"'), NOW, Reason.future, "occurred_at"),
        (None, events.encode_tick(T + 600_000_001), NOW, Reason.future, "occurred_at"),
        (None, b'{"event_type":"tick"}', NOW, Reason.wrong_field, "occurred_at"),
        (b"c1", value(), None, Reason.no_timestamp, "timestamp"),
        (b"c1", b"junk", -1, Reason.no_timestamp, "timestamp"),
        (b"c1", value(occurred_at="0"), -1, Reason.no_timestamp, "timestamp"),
    ],
)
def test_rejected(key: bytes | None, raw: bytes | None, timestamp: int | None, reason: Reason, word: str) -> None:
    found = outcome(key, raw, timestamp)
    assert isinstance(found, Rejected)
    assert found.reason is reason
    assert word in found.detail
    assert str(found) == f"{reason}: {found.detail}"


def test_tombstones_and_ticks() -> None:
    found = outcomes([(b"c\xc3\xa9", None, None), (None, events.encode_tick(T), NOW), (b"c1", value(), NOW)])
    assert found[0] == Event("", ERASE, "cé", 0, "", None, 0)
    assert found[1] == Event("", TICK, "", T, "", None, 0)


def test_nothing_gives_an_empty_batch() -> None:
    batch, rejected = events.decode_many([], [], [])
    assert len(batch) == 0
    assert (batch.customer_id, rejected) == ([], [])


LITERAL = [
    (
        ("e1", "purchase", "c1", T, "o1", "p1", 2, "9.90"),
        b'{"event_id":"e1","event_type":"purchase","customer_id":"c1","occurred_at":"2026-03-01T12:00:07Z",'
        b'"order_id":"o1","product_id":"p1","quantity":2,"unit_price":9.90}',
        Event("e1", PURCHASE, "c1", T, "o1", "p1", 198_000),
    ),
    (
        ("e2", "return", "c1", T + 1, None, None, 1, Decimal("123456789.00005")),
        b'{"event_id":"e2","event_type":"return","customer_id":"c1","occurred_at":"2026-03-01T12:00:07.000001Z",'
        b'"quantity":1,"unit_price":123456789.00005}',
        Event("e2", RETURN, "c1", T + 1, "e2", None, -1_234_567_890_000),
    ),
    (
        ("é", "view", "c1", 0, None, 'p"1'),
        '{"event_id":"é","event_type":"view","customer_id":"c1","occurred_at":"1970-01-01T00:00:00Z",'
        '"product_id":"p\\"1"}'.encode(),
        Event("é", VIEW, "c1", 0, "é", 'p"1', 0),
    ),
]


@pytest.mark.parametrize(("given_", "raw", "event"), LITERAL)
def test_literal_bytes_both_ways(given_: tuple[Any, ...], raw: bytes, event: Event) -> None:
    assert events.encode_event(*given_) == raw
    assert outcome(b"c1", raw, NOW) == event


def test_a_tick_has_literal_bytes() -> None:
    assert events.encode_tick(T) == b'{"event_type":"tick","occurred_at":"2026-03-01T12:00:07Z"}'


@pytest.mark.parametrize("price", ["NaN", "Infinity", Decimal("-Infinity")])
def test_a_price_that_is_no_number_is_not_encoded(price: str | Decimal) -> None:
    with pytest.raises(ValueError, match="finite"):
        events.encode_event("e", "purchase", "c", 0, quantity=1, unit_price=price)


ids = st.text(min_size=1, max_size=12)
moments = st.integers(0, 7_258_118_400_000_000 - 1)


@given(
    ids,
    st.sampled_from(["purchase", "return", "view", "cart"]),
    ids,
    moments,
    ids | st.none(),
    ids | st.none(),
    st.data(),
)
def test_what_is_encoded_is_decoded(
    event_id: str,
    event_type: str,
    customer_id: str,
    t: int,
    order_id: str | None,
    product_id: str | None,
    data: st.DataObject,
) -> None:
    quantity, price = None, None
    amount = 0
    if event_type in ("purchase", "return"):
        quantity = data.draw(st.integers(1, 10**5) | st.decimals("0.0001", 10**5, places=4))
        price = data.draw(st.decimals(0, 10**4, places=4))
        amount = round(Fraction(price) * Fraction(quantity) * 10_000) * (-1 if event_type == "return" else 1)
    raw = events.encode_event(event_id, event_type, customer_id, t, order_id, product_id, quantity, price)
    event = Event(event_id, NUMBER_OF[event_type], customer_id, t, order_id or event_id, product_id, amount)
    assert outcome(customer_id.encode(), raw, LATE) == event
    VALIDATOR.validate(json.loads(raw))


# ---- numbers and times -----------------------------------------------------------------------------------------------
near_halves = st.sampled_from(["5", "49999999999999999999", "50000000000000000001"])
price_texts = st.one_of(
    st.decimals(0, 10**9, places=5).map(str),
    st.decimals(0, 10**14).map(str),
    st.floats(0, 1e12).map(repr),
    st.builds("{}.{:04d}{}".format, st.integers(0, 10**9), st.integers(0, 9999), near_halves),
    st.builds("{}e{}".format, st.integers(0, 10**6), st.integers(-25, 8)),
)


@given(price_texts, st.integers(1, 2**20) | st.decimals("0.0001", 2**20, places=4))
@settings(max_examples=500)
def test_amounts_are_exact_from_the_decimal_text(text: str, quantity: int | Decimal) -> None:
    """Mutation caught: the price rounded before it is multiplied."""
    amount = round(Fraction(text) * Fraction(quantity) * 10_000)
    found = outcome(b"c1", value(unit_price=text, quantity=str(quantity)), NOW)
    if amount > 10**13 or Fraction(text) > Fraction("1000000000.00005"):
        assert found.reason is Reason.overflow
    else:
        assert found.amount == amount


@pytest.mark.parametrize(
    ("price", "quantity", "amount"),
    [
        ("1000000000", "1", 10**13),
        ("1000000000.0001", "1", None),
        ("1000000000.00005", "1", 10**13),
        ("1000000000.000050000000000000001", "1", None),
        ("999999999.9999", "1", 10**13 - 1),
        ("879609302.22", "1", 8_796_093_022_200),
        ("500000000", "2", 10**13),
        ("500000000.0001", "2", None),
        ("0.0001", str(10**13), 10**13),
        ("0.0001", str(10**13 + 1), None),
        ("0", str(10**13), 0),
        ("0", str(10**13 + 1), None),
        ("1907.3", str(2**19 - 1), 19_073_000 * (2**19 - 1)),
        ("1907.4", str(2**19 - 1), None),
        ("4e14", "1", None),
        ("0.00005", "1", 0),
        ("0.00015", "1", 2),
        ("0.33335", "3", 10_000),
        ("0.00005", "3", 2),
        ("4.00", "0.75", 30_000),
        ("0.0001", "0.5", 0),
        ("0.0003", "0.5", 2),
        ("0.0003", "0.49999999999999994", None),
        ("10000000000", "0.0001", None),
        ("1000000000", "0.0001", 10**9),
        ("19.99", "0.3", 59_970),
        ("0.000049999999999999999999999999999999999999999999999999999", "1", 0),
        ("0.000050000000000000000000000000000000000000000000000000001", "1", 1),
        ("1" + "0" * 5000, "1", None),
        ("0." + "0" * 5000 + "1", "1", 0),
        ("1e-400", "1", 0),
        ("-1e-400", "1", 0),
        ("1e-99999999999999999999999", "1", 0),
        ("0e99999999999999999999999", "1", 0),
        ("1e99999999999999999999999", "1", None),
        ("5", "1e3", 50_000_000),
        ("879609302", "1", 8_796_093_020_000),
        ("879609302", "2", None),
        ("879609302", str(2**21), None),
    ],
)
def test_amounts_at_the_edges(price: str, quantity: str, amount: int | None) -> None:
    found = outcome(b"c1", value(unit_price=price, quantity=quantity), NOW)
    why = Reason.wrong_field if "999" in quantity else Reason.overflow
    assert (found.reason if amount is None else found.amount) == (why if amount is None else amount)


@given(moments, st.integers(-1439, 1439), st.sampled_from(["microseconds", "milliseconds", "seconds"]))
@settings(max_examples=300)
def test_iso_times_are_exact(t: int, offset: int, grain: str) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t)
    text = moment.astimezone(timezone(timedelta(minutes=offset))).isoformat(timespec=grain)
    kept = t - t % {"microseconds": 1, "milliseconds": 1000, "seconds": 1_000_000}[grain]
    assert outcome(b"c1", value(occurred_at=f'"{text}"'), LATE).occurred_at == kept


@pytest.mark.parametrize(("digits", "t"), [("0000004999999", 0), ("0000005", 1), ("0000015", 2), ("0000025", 3)])
def test_digits_below_a_microsecond_are_rounded_half_up(digits: str, t: int) -> None:
    assert outcome(b"c1", value(occurred_at=f'"1970-01-01T00:00:00.{digits}Z"'), NOW).occurred_at == t


@given(st.floats(0, 7_258_118_400, exclude_max=True) | st.integers(0, 7_258_118_399))
@settings(max_examples=300)
def test_unix_seconds_are_doubles_rounded_half_even(seconds: float) -> None:
    found = outcome(b"c1", value(occurred_at=repr(seconds)), LATE)
    assert found.occurred_at == (round(seconds * 1e6) if isinstance(seconds, float) else seconds * 1_000_000)


@given(st.integers(0, 2**31 * 1_000_000))
def test_microseconds_written_as_unix_seconds_come_back(t: int) -> None:
    text = f"{t // 1_000_000}.{t % 1_000_000:06d}"
    assert outcome(b"c1", value(occurred_at=text), LATE).occurred_at == t


@pytest.mark.parametrize(
    ("text", "t"),
    [
        ('"2199-12-31T23:59:59.999999Z"', 7_258_118_399_999_999),
        ('"2199-12-31T23:59:59.9999999Z"', None),
        ('"2200-01-01T00:30:00+01:00"', 7_258_116_600_000_000),
        ('"1970-01-01T00:30:00+01:00"', None),
        ('"1969-12-31T23:30:00-01:00"', 1_800_000_000),
        ('"0001-01-01T00:00:00+23:00"', None),
        ('"9999-12-31T23:59:59Z"', None),
        ("7258118399.9999999999999", None),
        ("7258118400", None),
        ("1e400", None),
        ("9" * 5000, None),
        ("-0.0", 0),
    ],
)
def test_times_at_the_edges(text: str, t: int | None) -> None:
    found = outcome(b"c1", value(occurred_at=text), LATE)
    assert (found.reason if t is None else found.occurred_at) == (Reason.wrong_field if t is None else t)


def test_a_mixture_of_iso_times_and_unix_seconds() -> None:
    texts = ['"2026-03-01T12:00:07Z"', "1772366407", "1772366407.0", '"2026-03-01T12:00:07"', '"2150-01-01T00:00:00Z"']
    found = outcomes([(b"c1", value(occurred_at=text), LATE) for text in texts])
    assert [event.occurred_at for event in found[:3]] == [T] * 3
    assert found[4].occurred_at == 5_680_281_600_000_000


# ---- ids, depth ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["event_id", "customer_id", "order_id", "product_id"])
@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("x" * 128, True),
        ("x" * 129, False),
        ("é" * 64, True),
        ("é" * 65, False),
        ("x" * 126 + "é", True),
        ("x" * 127 + "é", False),
    ],
)
@pytest.mark.parametrize("escape", [True, False])
def test_ids_have_at_most_128_bytes(name: str, text: str, fits: bool, escape: bool) -> None:
    key = text.encode() if name == "customer_id" else b"c1"
    found = outcome(key, value(**{name: json.dumps(text, ensure_ascii=escape)}), NOW)
    assert isinstance(found, Event) == fits
    assert fits or (found.reason is Reason.wrong_field and name in found.detail)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("[" * 199 + "]" * 199, True),
        ("[" * 200 + "]" * 200, False),
        ('{"a":' * 199 + "1" + "}" * 199, True),
        ('{"a":' * 200 + "1" + "}" * 200, False),
        ("[" + ",".join(["[]"] * 500) + "]", True),
        ('"' + "[" * 500 + '"', True),
        ('["' + "]" * 500 + '",' + "[" * 200 + "]" * 200 + "]", False),
        ('["\\\\\\"' + "[" * 500 + '"]', True),
        ("[" * 100_000, False),
        ('"\\"' * 100_000, False),
    ],
)
def test_depth_is_counted_outside_strings_and_limited(text: str, fits: bool) -> None:
    found = outcome(b"c1", value(other=text), NOW)
    assert isinstance(found, Event) == fits
    assert fits or found.reason is Reason.not_json


def test_an_unterminated_string_of_escapes_costs_linear_time() -> None:
    """Quadratic time would be hours."""
    assert outcome(b"c1", value(other='"' + "[" * 300 + '\\"' * 2_000_000), NOW).reason is Reason.not_json


def test_hashes_of_ids() -> None:
    assert events.hash_ids([b"", b"e1", "é".encode()]).tolist() == [
        0x2D06800538D394C2,
        xxhash.xxh3_64_intdigest(b"e1"),
        xxhash.xxh3_64_intdigest("é".encode()),
    ]
    batch, _ = events.decode_many([b"c1"] * 2, [value(order_id=None), value()], [NOW] * 2)
    assert batch.order[0] == batch.event[0] == batch.event[1]
    assert batch.order[1] == xxhash.xxh3_64_intdigest(b"o1")


def test_a_hash_of_zero_becomes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.events.xxhash.xxh3_64_intdigest", {b"a": 0}.get)
    assert events.hash_ids([b"a"]).tolist() == [1]


# ---- near-valid events: all ways, the schema and the standard library ------------------------------------------------
odd_numbers = st.sampled_from(
    "0 -0 -0.0 1 1.0 1e2 0.75 0.0001 0.00005 7.5e-1 "
    "1E400 -1 -1e400 0.5 1.00005 1e-400 -1e-400 524287 524288 524287.99999999999999999 01 1. NaN "
    "1.00000000000000000001 879609302.2207 879609302.2208 4611686018427387904 1e9 1000000000.0001 10000000000001 "
    f"1000000000.00005 0e99999999999999999999 {'9' * 30} {'9' * 5000}".split()
)
odd_values = st.sampled_from(
    ["null", "true", "[]", "{}", '""', '"1"', '"x"', "[1]", '"\\u0000"', '"\\ud83d\\ude00"', "nul"]
)
odd_ids = st.text(max_size=5) | st.sampled_from(
    ["c1", "x" * 128, "x" * 129, "é" * 64, "é" * 65, "😀" * 32, "😀" * 33, ""]
)
odd_times = st.sampled_from(
    [
        "2026-03-01T12:00:07",
        "2026-03-01",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-03-01T24:00:00Z",
        "12:00",
        "2026-03-01T12:00:60Z",
        "2026-03-01T12:00:07+24:00",
        "2026-03-01T12:00:07+0530",
        "2026-03-01T12:00:07+05",
        "x",
        "2026-03-01t12:00:07.123456789z",
        "2026-03-01 12:00:07Z",
        "2026-03-01T12:00Z",
        "2026-03-01T12:00:07.Z",
        "2026-03-01T12:00:07,5Z",
        "20260301T120007Z",
        "1969-12-31T23:59:59Z",
        "2199-12-31T23:59:59.9999999Z",
        "2200-01-01T00:00:00Z",
    ]
)
quoted = st.tuples(odd_ids, st.booleans()).map(lambda pair: json.dumps(pair[0], ensure_ascii=pair[1]))
types = st.sampled_from(['"purchase"', '"return"', '"view"', '"cart"', '"tick"', '"refund"', '"\\u0076iew"'])
texts = {
    "event_type": types | odd_values,
    "occurred_at": odd_times.map(json.dumps) | odd_numbers | odd_values,
    "quantity": odd_numbers | odd_values,
    "unit_price": odd_numbers | odd_values | price_texts,
    "other": odd_values | odd_numbers | quoted,
} | dict.fromkeys(("event_id", "customer_id", "order_id", "product_id"), quoted | odd_values | odd_numbers)
changes = st.lists(st.sampled_from(sorted(texts)), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: st.none() | texts[name] for name in names})
)
near_valid = st.tuples(types, changes).map(lambda pair: value(**({"event_type": pair[0]} | pair[1])))


def long(text: str) -> float:
    """An integer; the longest, which Python refuses to read, as infinity."""
    return int(text) if len(text) < 4000 else math.inf


def fitting_key(raw: bytes) -> bytes | None:
    """The key that a producer of this value would use."""
    try:
        document = json.loads(raw, parse_int=long)
    except ValueError:
        return b"c1"
    if not isinstance(document, dict) or document.get("event_type") == "tick":
        return None
    customer_id = document.get("customer_id")
    return customer_id.encode(errors="replace") if isinstance(customer_id, str) else b"c1"


junk = st.sampled_from([b"\xff", b"\xc3", b"\\", b'"', b"\\u00e9", b"\\ud800", b"{", b"]", b",", b"\n", b"0", b"e"])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    raw = bytearray(draw(near_valid))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 2))] = draw(junk)
    return bytes(raw)


@st.composite
def records(draw: st.DrawFn) -> Record:
    raw = draw(st.none() | near_valid | damaged() | st.binary(max_size=20))
    key = draw(st.sampled_from([None, b"c1", b"\xff", b"", b"x" * 129]))
    if raw is not None and draw(st.integers(0, 9)):
        key = fitting_key(raw)
    return key, raw, draw(st.sampled_from([NOW, NOW, NOW, LATE, None, -1, 0, 2**63 - 1]))


@given(st.lists(records(), min_size=1, max_size=8))
@settings(max_examples=600)
def test_many_equals_one_by_one(found: list[Record]) -> None:
    outcomes(found)


def parsed(raw: bytes) -> Any:
    """As the standard library reads JSON, made strict: UTF-8, no NaN, no lone surrogates, one object at the top."""

    def refuse(text: str) -> None:
        raise ValueError(text)

    pairs = json.loads(
        raw.decode(), parse_constant=refuse, parse_int=long, object_pairs_hook=lambda pairs: ("object", pairs)
    )
    json.dumps(pairs, ensure_ascii=False).encode()
    if not isinstance(pairs, tuple):
        raise ValueError("not an object")
    return json.loads(raw.decode(), parse_int=long)


@given(damaged())
@settings(max_examples=1000)
def test_not_json_is_what_the_standard_library_refuses(raw: bytes) -> None:
    try:
        parsed(raw)
        fine = True
    except ValueError:
        fine = False
    found = outcome(b"c1", raw, NOW)
    assert fine == (not isinstance(found, Rejected) or found.reason is not Reason.not_json)


SAYABLE = {Reason.wrong_field, Reason.no_time_zone, Reason.bad_quantity, Reason.overflow}
UNSAYABLE = re.compile(r"too large|128 bytes|occurred_at must be|decimal places")


@given(near_valid)
@settings(max_examples=1000)
def test_the_schema_agrees(raw: bytes) -> None:
    try:
        document = parsed(raw)
    except ValueError:
        return
    found = outcome(fitting_key(raw), raw, LATE)
    if isinstance(found, Event):
        VALIDATOR.validate(document)
    elif VALIDATOR.is_valid(document):
        assert UNSAYABLE.search(found.detail)
    else:
        assert found.reason in SAYABLE


@pytest.mark.parametrize(
    "text", ["-1", '"2026-13-01T00:00:00Z"', '"2026-03-01T12:00:07"', '"1960-01-01T00:00:00Z"', "1e11", "null"]
)
def test_the_schema_refuses_wrong_times(text: str) -> None:
    assert not VALIDATOR.is_valid(json.loads(value(occurred_at=text)))


@pytest.mark.parametrize(("quantity", "price"), [("1", "1000000000.0001"), ("10000000000001", "0"), ("1", "4e14")])
def test_the_schema_refuses_what_is_too_large_by_itself(quantity: str, price: str) -> None:
    assert not VALIDATOR.is_valid(json.loads(value(quantity=quantity, unit_price=price)))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


# ---- the document ----------------------------------------------------------------------------------------------------
def test_every_reason_has_its_sentence() -> None:
    table = (DOCS / "events.md").read_text().partition("## Rejected")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)
    assert [name for name, _ in rows] == [str(reason) for reason in Reason]
    assert all(sentence.endswith(".") and len(sentence) > 20 for _, sentence in rows)


def test_the_documents_examples_are_events() -> None:
    text = (DOCS / "events.md").read_text()
    lines = text.partition("```json\n")[2].partition("```")[0].splitlines()
    found = [outcome(b"c-17", line.encode(), LATE) for line in lines]
    assert [event.kind for event in found] == [PURCHASE, RETURN, VIEW, CART]
    for line in lines:
        VALIDATOR.validate(json.loads(line))
    (tick,) = re.findall(r'`(\{"event_type":"tick".*?\})`', text)
    assert outcome(None, tick.encode(), LATE).kind == TICK


def test_columns_are_independent_of_the_batch_they_came_in() -> None:
    raws = [value(event_id=f'"e{i}"', quantity=str(i % 7), customer_id=f'"c{i % 3}"') for i in range(50)]
    keys, stamps = [f"c{i % 3}".encode() for i in range(50)], [NOW] * 50
    whole, _ = events.decode_many(keys, raws, stamps)
    parts = [events.decode_many(keys[i : i + 9], raws[i : i + 9], stamps[i : i + 9])[0] for i in range(0, 50, 9)]
    for name in ("t", "kind", "amount", "order", "event"):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))
    assert whole.customer_id == [name for part in parts for name in part.customer_id]


def test_parts_of_a_batch() -> None:
    raws = [value(event_id=f'"e{i}"', quantity=str(i + 1), product_id=f'"p{i}"') for i in range(5)]
    batch, _ = events.decode_many([b"c1"] * 5, raws, [NOW] * 5)
    part = batch.part(1, 3)
    assert (part.index.tolist(), part.amount.tolist(), len(part.customer_id)) == ([1, 2], [198_000, 297_000], 2)
    kept = batch.keep(np.array([True, False, False, False, True]))
    assert (kept.index.tolist(), kept.event.tolist()) == ([0, 4], batch.event[[0, 4]].tolist())
    assert (kept.customer_id, kept.product_id) == (["c1", "c1"], ["p0", "p4"])
    assert part.product_id == ["p1", "p2"]
    assert batch.keep(np.ones(5, np.bool_)) is batch
