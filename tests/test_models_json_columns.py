"""Events of usual form: that the compiled way takes them, and that whatever it is given, it says what the plain says.

`outcomes` has every record read by all ways and compares them; here stand the texts that are hard for a kernel.
"""

import json
import random
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from test_models_events import BASE, LATE, NOW, Record, T, digest, outcome, outcomes, value

from models import events, json_columns
from models.events import Reason, Rejected, encode_event
from models.kinds import PURCHASE, RETURN, VIEW
from models.rows import DAY

PLAIN = {
    "event_id": "e1",
    "event_type": "purchase",
    "customer_id": "c1",
    "occurred_at": "2026-03-01T12:00:07Z",
    "quantity": 2,
    "unit_price": 9.9,
}
UTF_8 = (
    '{"note":"Ω","event_id":"é😀","event_type":"view","customer_id":"c1","occurred_at":5,"product_id":"日"}'.encode()
)
NESTED = (
    b' {\n  "event_id" : "e1",\t"context": {"page": [1, -2.5, {"a": null}, [], {}], "u\\u00e9": "\\"\\\\"},\r\n'
    b'  "event_type": "cart", "customer_id": "c1", "occurred_at": 1772366407.25\n} '
)
MONEY = {"quantity": "1.5", "unit_price": "0.3333"}
OFFSET = value(occurred_at='"2026-03-01T12:00:07.25+05:30"', order_id="null", product_id=None, **MONEY)
LITERAL = [value(), OFFSET, UTF_8, NESTED]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the kernel leaves to `decode_one` fails."""

    def refuse(*record: Any) -> None:
        raise AssertionError(record)

    monkeypatch.setattr(events, "decode_one", refuse)


def taken(raw: bytes, timestamp: int = LATE, key: bytes = b"c1") -> bool:
    """Does the kernel take the record?"""
    columns, _, _ = json_columns.parse([key], [raw], np.array([timestamp]), events.BOUNDS)
    return bool(columns.shape[1])


# ---- what is usual ---------------------------------------------------------------------------------------------------
USUAL = [
    encode_event("e1", "purchase", "c1", T, "o1", "p1", 2, "9.90"),
    encode_event("e1", "return", "c1", T + 250_000, quantity=Decimal("0.5"), unit_price="1000.0001"),
    encode_event("e1", "view", "c1", 0),
    json.dumps(PLAIN).encode(),
    json.dumps(PLAIN, separators=(",", ":")).encode() + b"\n",
    json.dumps(PLAIN, indent=2).encode(),
    json.dumps(dict(reversed(PLAIN.items()))).encode(),
    json.dumps(
        PLAIN | {"currency": "GBP", "store": 7, "vat": -0.25, "test": True, "coupon": None, "at": "a\\u00e9"}
    ).encode(),
    json.dumps(PLAIN | {"context": {"path": ["/", {"n": [[]]}], "agent": 'a "b" \\ é'}, "tags": []}).encode(),
    UTF_8,
    NESTED,
    value(order_id="null", product_id="null"),
    value(event_type='"view"', quantity="null", unit_price="null"),
    value(event_type='"cart"', quantity="[]", unit_price='"x"'),
    value(event_id='"' + "é" * 64 + '"', order_id='"' + "x" * 128 + '"', product_id='"' + "😀" * 32 + '"'),
    *(value(quantity=text) for text in ("1", "2.0", "0.0001", "12.3456", "1000000.9999")),
    *(value(quantity="1", unit_price=text) for text in ("0", "0.0", "0.0001", "6.663333333333333", "999999999.99994")),
    *(value(quantity="0.75", unit_price=text) for text in ("0.00005", "19.333333333333332", "7.990000")),
]
TIMES = [
    '"2026-03-01T12:00:07+00:00"',
    '"2026-03-01T12:00:07.1Z"',
    '"2026-03-01T12:00:07.123456+05:30"',
    '"2026-03-01T12:00:07.123456789-09:00"',
    '"1970-01-01T00:00:00Z"',
    '"2199-12-31T23:59:59.999999Z"',
    '"2200-01-01T00:30:00+01:00"',
    '"2000-02-29T23:59:59-00:00"',
    "0",
    "1772366407",
    "7258118399",
    "1772366407.5",
    "1772366407.123456",
    "1772366407.1234567",
]


@pytest.mark.parametrize("raw", [*USUAL, *(value(occurred_at=text) for text in TIMES)])
def test_usual_forms_are_taken(raw: bytes) -> None:
    assert not isinstance(outcome(b"c1", raw, LATE), Rejected)
    assert taken(raw)


@pytest.mark.usefixtures("alone")
def test_events_come_from_the_kernel_alone() -> None:
    raws = [value(), value(event_type='"return"', order_id=None, product_id=None), UTF_8]
    batch, rejected = events.decode_many([b"c1"] * 3, raws, [NOW] * 3)
    assert not rejected
    assert (batch.index.tolist(), batch.t.tolist()) == ([0, 1, 2], [T, T, 5_000_000])
    assert (batch.kind.tolist(), batch.amount.tolist()) == ([PURCHASE, RETURN, VIEW], [198_000, -198_000, 0])
    assert (batch.customer_id, batch.product_id) == (["c1"] * 3, ["p1", None, "日"])
    assert batch.order.tolist() == [digest("o1"), digest("e1"), digest("é😀")]
    assert batch.event.tolist() == [digest("e1"), digest("e1"), digest("é😀")]


@pytest.mark.usefixtures("alone")
@given(st.data())
def test_what_encode_event_writes_is_taken(data: st.DataObject) -> None:
    ids = st.text(
        st.characters(min_codepoint=32, exclude_characters='"\\', exclude_categories=["Cs"]), min_size=1, max_size=32
    )
    customer, t = data.draw(ids), data.draw(st.integers(0, 7_258_118_400_000_000 - 1))
    quantity = data.draw(st.integers(1, 10**5) | st.decimals("0.0001", 10**5, places=4))
    price = data.draw(st.decimals(0, 10**4, places=data.draw(st.integers(0, 4))))
    more = data.draw(ids | st.none()), data.draw(ids | st.none())
    raw = encode_event(data.draw(ids), "purchase", customer, t, *more, quantity, price)
    batch, _ = events.decode_many([customer.encode()], [raw], [LATE])
    assert (batch.customer_id, batch.product_id, batch.t.tolist()) == ([customer], [more[1]], [t])
    assert batch.amount.tolist() == [round(Fraction(price) * Fraction(quantity) * 10_000)]


@pytest.mark.parametrize(
    "raw",
    [
        value(event_id='"\\u00e9"'),
        value(product_id='"a\\/b"'),
        value(other='"\\ud83d\\ude00"'),
        value(unit_price="1e2"),
        value(unit_price="-0.0"),
        value(occurred_at="1000000000.5e0"),
        value(occurred_at="1073741823.5"),
        value(other="[" * 150 + "]" * 150),
        b'{"quantity":1,' + value()[1:],
    ],
)
def test_what_is_hard_is_left_to_the_plain_way(raw: bytes) -> None:
    assert not isinstance(outcome(b"c1", raw, LATE), Rejected)
    assert not taken(raw)


# ---- the end of a record ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("raw", LITERAL)
def test_a_record_that_is_cut_never_reads_on(raw: bytes) -> None:
    """Behind it stands its own rest, as the next value and as the key, a whole record, or what would end it."""
    cuts = [raw[:at] for at in range(len(raw.rstrip()))]
    for rest in (raw, b"}", b',"x":1}'):
        found = outcomes([(b"c1", part, LATE) for cut in cuts for part in (cut, rest)])
        assert all(isinstance(event, Rejected) for event in found[::2])
    found = outcomes([(b"c1", part, LATE) for cut in cuts for part in (cut, raw[len(cut) :])])
    assert all(isinstance(event, Rejected) for event in found[::2])
    assert not any(taken(cut, key=raw[len(cut) :]) for cut in cuts)


@pytest.mark.parametrize(
    "rest", [b"nul", b"tru", b"null", b'"\\', b'"\\u00', b'"\xf0\x9f', b"1.", b"-", b"[[", b'{"a', b'"x']
)
def test_a_value_that_is_cut_never_reads_on(rest: bytes) -> None:
    for raw in (value(other="@"), value()[:-1] + b',"quantity":@'):
        cut = raw.partition(b"@")[0] + rest
        for more in (b"", b"l", b"}", b',"b":1}', b'"}', b"]]}", b'\x98\x80"}'):
            found = outcomes([(b"c1", cut, LATE), (b"c1", more, LATE), (b"c1", value(), LATE)])
            assert [isinstance(event, Rejected) for event in found] == [True, True, False]


STRUCTURAL = b'"\\{}[]:,.-+eEuZT 09\n\0\x1f\x7f\x80\xbf\xc3\xe0\xed\xf0\xf4\xff'


@pytest.mark.parametrize("raw", LITERAL)
def test_a_byte_that_is_changed(raw: bytes) -> None:
    others = [{byte ^ 1 << bit for bit in range(8)} | set(STRUCTURAL) - {byte} for byte in raw]
    changed = [raw[:at] + bytes([byte]) + raw[at + 1 :] for at, some in enumerate(others) for byte in sorted(some)]
    outcomes([(b"c1", each, LATE) for each in changed])


# ---- mutated records, all ways ---------------------------------------------------------------------------------------
digits = st.builds(
    "{}.{}".format,
    st.integers(0, 10**10),
    st.text("0123456789", min_size=1, max_size=9) | st.sampled_from(["5", "00005", "00015", "12500"]),
)
numbers = st.integers(0, 10**20).map(str) | st.integers(0, 99).map(str) | digits
clocks = st.builds(
    '"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}{}"'.format,
    st.integers(1969, 2201),
    st.integers(0, 13),
    st.integers(0, 32),
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 60),
    st.just("") | st.text("0123456789", max_size=10).map(".{}".format),
    st.sampled_from(["Z", "Z", "+00:00", "-23:59", "+23:59", "+24:00", "+00:60", "z", "", "+0100", "Z "]),
)
seconds = st.floats(2**30, 2**31).map(repr) | st.floats(0, 2**33).map(repr) | st.integers(0, 8 * 10**9).map(str)
names = st.text(max_size=9) | st.sampled_from(["x" * 128, "x" * 129, "é" * 64, "é" * 65, "\u2028", "a\\/b", "\x7f"])
strings = st.tuples(names, st.booleans()).map(lambda pair: json.dumps(pair[0], ensure_ascii=pair[1]))
scalars = (
    strings | numbers | st.sampled_from(["null", "true", "false", "-1", "-0.5", "1e5", "01", "1.", "nul", "{}", "[]"])
)
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(strings, inner), max_size=3).map(
            lambda p: "{" + ", ".join(f"{a} :{b}" for a, b in p) + "}"
        )
    ),
    max_leaves=6,
)
BY_FIELD = {
    "occurred_at": clocks | seconds | scalars,
    "quantity": numbers | scalars,
    "unit_price": numbers | scalars,
    "event_type": st.sampled_from(['"purchase"', '"return"', '"view"', '"cart"', '"tick"', '"carts"', '""']) | scalars,
    "currency": nested,
    "event_idx": nested,
    "unit_pricf": nested,
} | dict.fromkeys(("event_id", "customer_id", "order_id", "product_id"), strings | scalars)
spaces = st.sampled_from(["", "", " ", "\n\t", "\r "])


@st.composite
def mutated(draw: st.DrawFn) -> Record:
    fields = [*BASE.items()]
    for name in draw(st.lists(st.sampled_from(sorted(BY_FIELD)), max_size=3)):
        fields = [
            *(pair for pair in fields if pair[0] != name or not draw(st.integers(0, 4))),
            (name, draw(BY_FIELD[name])),
        ]
    fields = draw(st.permutations(fields))
    before, behind, around = draw(spaces), draw(spaces), draw(spaces)
    text = f"{behind},{before}".join(f'"{name}"{before}:{behind}{text}' for name, text in fields)
    raw = bytearray(f"{around}{{{before}{text}{behind}}}{around}".encode(errors="surrogatepass"))
    if not draw(st.integers(0, 3)):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=2) | st.sampled_from([*map(bytes, zip(STRUCTURAL))])
        )
    customer = next((text for name, text in reversed(fields) if name == "customer_id"), '"c1"')
    key = (
        customer.strip('"').encode(errors="replace")
        if draw(st.integers(0, 9))
        else draw(st.none() | st.binary(max_size=3))
    )
    return key, bytes(raw), draw(st.sampled_from([LATE, LATE, LATE, NOW, None, -1, 2**63 - 1]))


@given(st.lists(mutated(), min_size=1, max_size=6))
@settings(max_examples=500)
def test_many_equals_one_by_one(found: list[Record]) -> None:
    outcomes(found)


def test_a_chunk_of_several_parts_is_read_as_its_records_are() -> None:
    n = 2 * json_columns.PART + 3
    rng = random.Random(1)
    raws = [value(event_id=f'"e{i}"', product_id=f'"p{i}"' if i % 3 else None, quantity=str(i % 5)) for i in range(n)]
    records: list[Record] = [(b"c1", raw if rng.random() < 0.9 else raw[:-1], NOW) for raw in raws]
    records[5], records[json_columns.PART] = (b"c1", None, NOW), (None, events.encode_tick(T), NOW)
    outcomes(records)


def test_a_chunk_of_nothing_usual_has_the_same_columns() -> None:
    outcomes([(b"c1", None, NOW), (None, events.encode_tick(T), NOW), (b"c1", b"junk", NOW)])
    columns, *names = json_columns.parse([], [], np.empty(0, np.int64), events.BOUNDS)
    assert (columns.shape, str(columns.dtype), names) == ((6, 0), "int64", [[], []])


# ---- times, amounts, hashes ------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("alone")
def test_every_day_until_2200() -> None:
    first, last = date(1970, 1, 1), date(2199, 12, 31)
    days = [first + timedelta(days=i) for i in range((last - first).days + 1)]
    raws = [value(occurred_at=f'"{day}T00:00:00Z"') for day in days]
    batch, _ = events.decode_many([b"c1"] * len(raws), raws, [LATE] * len(raws))
    assert np.array_equal(batch.t, np.arange(len(days)) * DAY)


@pytest.mark.parametrize("year", [1970, 2000, 2023, 2024, 2100, 2199])
def test_days_that_no_month_has(year: int) -> None:
    raws = [value(occurred_at=f'"{year}-{m:02}-{d:02}T00:00:00Z"') for m in range(14) for d in (0, 28, 29, 30, 31, 32)]
    outcomes([(b"c1", raw, LATE) for raw in raws])
    days = {
        1: 31,
        2: 29 if year in (2000, 2024) else 28,
        3: 31,
        4: 30,
        5: 31,
        6: 30,
        7: 31,
        8: 31,
        9: 30,
        10: 31,
        11: 30,
        12: 31,
    }
    assert [taken(raw) for raw in raws] == [
        1 <= d <= days.get(m, 0) for m in range(14) for d in (0, 28, 29, 30, 31, 32)
    ]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("2100-02-29T00:00:00Z", False),
        ("2096-02-29T00:00:00Z", True),
        ("2026-04-31T00:00:00Z", False),
        ("2026-04-30T00:00:00Z", True),
        ("2026-00-10T00:00:00Z", False),
        ("2026-01-00T00:00:00Z", False),
        ("2026-01-01T00:00:60Z", False),
        ("2026-01-01T00:60:00Z", False),
        ("2026-01-01T24:00:00Z", False),
        ("2026-01-01T00:00:00.Z", False),
        ("2026-01-01T00:00:00+01.30", False),
        ("2026-01-01T00:00:00+01:300", False),
        ("2026-01-01T00:00:00Z00:00", False),
        ("2026-01-01T00:00:00+24:00", False),
        ("2026-01-01T00:00:00+00:60", False),
        ("1970-01-01T00:00:00+00:01", False),
        ("1970-01-01T23:59:00+23:59", True),
        ("2199-12-31T23:59:59.999999499Z", True),
        ("2199-12-31T23:59:59.9999995Z", False),
        ("2199-12-31T23:59:59-00:01", False),
        ("2200-01-01T00:00:00Z", False),
        ("2200-01-01T23:58:59+23:59", True),
        ("2200-01-31T00:00:00Z", False),
        ("2200-02-01T00:00:00+23:59", False),
        ("9999-12-31T00:00:00Z", False),
        ("2O26-01-01T00:00:00Z", False),
        ("2026-01-01T00:00:00", False),
    ],
)
def test_times_at_the_edges(text: str, fits: bool) -> None:
    raw = value(occurred_at=f'"{text}"')
    assert taken(raw) == fits
    assert isinstance(outcome(b"c1", raw, LATE), Rejected) == (not fits)


@pytest.mark.parametrize(
    ("decimals", "microseconds"),
    [
        ("1", 100_000),
        ("12", 120_000),
        ("123", 123_000),
        ("1234", 123_400),
        ("12345", 123_450),
        ("123456", 123_456),
        ("1234564", 123_456),
        ("1234565", 123_457),
        ("12345649", 123_456),
        ("123456500", 123_457),
        ("999999500", 1_000_000),
        ("000000499", 0),
    ],
)
@pytest.mark.parametrize(("offset", "minutes"), [("Z", 0), ("+00:00", 0), ("-11:30", 690), ("+14:00", -840)])
def test_decimals_of_a_second(decimals: str, microseconds: int, offset: str, minutes: int) -> None:
    raw = value(occurred_at=f'"2026-03-01T12:00:07.{decimals}{offset}"')
    assert taken(raw)
    assert outcome(b"c1", raw, LATE).occurred_at == T + minutes * 60_000_000 + microseconds


@given(st.integers(2**30, 2**31 - 1), st.text("0123456789", min_size=1, max_size=7))
@settings(max_examples=500)
def test_unix_seconds_with_decimals_are_doubles(whole: int, decimals: str) -> None:
    raw = value(occurred_at=f"{whole}.{decimals}")
    assert taken(raw)
    assert outcome(b"c1", raw, LATE).occurred_at == round(float(f"{whole}.{decimals}") * 1e6)


@pytest.mark.parametrize(("ahead", "fits"), [(600_000_000, True), (600_000_001, False)])
def test_a_time_may_be_ten_minutes_ahead(ahead: int, fits: bool) -> None:
    raw = encode_event("e1", "view", "c1", T + ahead)
    assert (taken(raw, NOW), not isinstance(outcome(b"c1", raw, NOW), Rejected)) == (fits, fits)


@given(st.integers(0, 10**13), st.integers(0, 12), st.integers(1, 10**8), st.integers(0, 4))
@settings(max_examples=500)
def test_ties_are_rounded_half_even(price: int, decimals: int, quantity: int, places: int) -> None:
    """A product that ends in a half, of which there are many: prices in 1/20,000."""
    half = Decimal(price).scaleb(-decimals) + Decimal("0.00005")
    raw = value(unit_price=f"{half:f}", quantity=f"{Decimal(quantity).scaleb(-places):f}")
    amount = round(Fraction(half) * Fraction(quantity, 10**places) * 10_000)
    found = outcome(b"c1", raw, LATE)
    if amount > 10**13 or half > 10**9 + Decimal("0.00005"):
        assert found.reason is Reason.overflow
    else:
        assert found.amount == amount


@pytest.mark.parametrize(
    ("price", "quantity", "amount"),
    [
        ("999999999.9999", "1", 9_999_999_999_999),
        ("1000000.0000", "1000.0000", 10**13),
        ("0.00005", "1", 0),
        ("0.00015", "1", 2),
        ("0.00025", "1", 2),
        ("0.0001", "0.5", 0),
        ("0.0003", "0.5", 2),
        ("0.0001", "0.5001", 1),
        ("0.000049999999999", "1", 0),
        ("0.000050000000001", "1", 1),
        ("0.0001", "999999999", 999_999_999),
    ],
)
def test_amounts_of_the_kernel(price: str, quantity: str, amount: int) -> None:
    raw = value(unit_price=price, quantity=quantity)
    assert taken(raw)
    assert outcome(b"c1", raw, LATE).amount == amount


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "1.00001", "1000000000", "1.5e0", '"1"', "true"])
def test_quantities_that_the_kernel_leaves(text: str) -> None:
    raw = value(quantity=text)
    outcome(b"c1", raw, LATE)
    assert not taken(raw)


def test_hashes_are_xxh3() -> None:
    rng = random.Random(2)
    for size in range(1, 129):
        for _ in range(20):
            text, behind = rng.randbytes(size), rng.randbytes(8)
            start = rng.randrange(5)
            padded = np.frombuffer(bytes(start) + text + behind, np.uint8)
            found = json_columns.digest(padded, np.uint64(start), np.uint64(start + size))
            assert found == xxhash.xxh3_64_intdigest(text)


@pytest.mark.parametrize("size", range(1, 129))
def test_ids_of_every_length(size: int) -> None:
    raw = value(event_id=f'"{"e" * size}"', order_id=f'"{"o" * size}"', product_id=f'"{"p" * size}"')
    assert taken(raw)
    outcome(b"c1", raw, LATE)


def test_a_hash_of_zero_becomes_one() -> None:
    nothing = bytes.fromhex("42d568e138d727ff")  # found by running XXH3 backwards
    assert xxhash.xxh3_64_intdigest(nothing) == 0
    quoted = np.frombuffer(b'"' + nothing + b'"', np.uint8)
    assert json_columns.hash_of(quoted, np.array([[0, 10]], np.uint64), 0) == events.hash_ids([nothing])[0] == 1


# ---- UTF-8 -----------------------------------------------------------------------------------------------------------
def decoded(text: bytes) -> int:
    """How many bytes Python takes for UTF-8."""
    try:
        return len(text.decode().encode())
    except UnicodeDecodeError as error:
        return error.start


def plain(text: bytes) -> int:
    return int(json_columns.plain_end(np.frombuffer(text + b'"' + bytes(8), np.uint8), np.uint64(0)))


@given(st.lists(st.sampled_from([*range(48, 58), *range(0x80, 0x100)]), max_size=12).map(bytes))
@settings(max_examples=1000)
def test_utf_8_is_what_python_takes_for_it(text: bytes) -> None:
    assert plain(text) == decoded(text)


def test_the_edges_of_utf_8() -> None:
    """Mutation caught: overlong forms, surrogates, beyond U+10FFFF, a character that is cut."""
    seconds = (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    others = (b"", b"\x80", b"\xbf", b"\x80\x80", b"\xbf\xbf", b"\x80\xc0", b"a")
    texts = [bytes([first, second]) + rest for first in range(0xC0, 0x100) for second in seconds for rest in others]
    assert [plain(text) for text in texts] == [decoded(text) for text in texts]
