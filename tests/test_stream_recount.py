"""The worker and `verify` take and refuse the same records, whatever somebody sends, and read the same in them.

Neither side is the truth here: docs/events.md is. The two share no line of code, so what one of them misreads differs.
"""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.events import Event, Rejected, decode_many, decode_one, hash_ids
from models.kinds import TICK
from streams.recount import parse

Record = tuple[bytes | None, bytes | None, int | None]  # key, value, timestamp in ms
NOW, LATE = 1_772_366_407_000, 7_300_000_000_000  # 2026-03-01T12:00:07Z; after every time that is allowed
GOOD = {
    "event_id": '"e1"',
    "event_type": '"purchase"',
    "customer_id": '"c1"',
    "occurred_at": '"2026-03-01T12:00:07Z"',
    "order_id": '"o1"',
    "product_id": '"p1"',
    "quantity": "2",
    "unit_price": "9.90",
}


# ---- what both say ---------------------------------------------------------------------------------------------------
def read_by_the_worker(record: Record) -> Any:
    """(event_id, kind, customer_id, occurred_at, order_id, amount) as `parse` gives it, by both ways of the decoder."""
    try:
        event = decode_one(*record)
    except Rejected:
        event = None
    key, value, timestamp = record
    batch, rejected = decode_many([key], [value], [-1 if timestamp is None else timestamp])
    assert len(batch) + len(rejected) == 1
    assert (event is None) == bool(rejected)
    if event is None:
        return None
    columns = (batch.customer_id[0], *(int(column[0]) for column in (batch.t, batch.kind, batch.amount)))
    assert columns == (event.customer_id, event.occurred_at, event.kind, event.amount)
    if event.kind >= 0:
        hashes = hash_ids([event.order_id.encode(), event.event_id.encode()]).tolist()
        assert [int(batch.order[0]), int(batch.event[0])] == hashes
    return None if event.kind == TICK else fields(event)


def fields(event: Event) -> tuple[Any, ...]:
    return event.event_id, event.kind, event.customer_id, event.occurred_at, event.order_id, event.amount


def same(record: Record) -> Any:
    """What both read in the record: None where both refuse it."""
    key, value, timestamp = record
    found = parse(key, value, -1 if timestamp is None else timestamp)
    assert found == read_by_the_worker(record)
    return found


# ---- what somebody may send ------------------------------------------------------------------------------------------
def written(pairs: list[tuple[str, str]], colon: str = ":") -> bytes:
    """A JSON object of these names and texts, as they stand: a name may come twice."""
    members = (f"{json.dumps(name)}{colon}{text}" for name, text in pairs)
    return ("{" + ",".join(members) + "}").encode(errors="surrogatepass")


def good(*more: tuple[str, str], **texts: str) -> bytes:
    """A good purchase with these texts, behind other members."""
    return written([*more, *(GOOD | texts).items()])


def nested(depth: int, opens: str, closes: str) -> str:
    return opens * depth + "1" * (opens != "[") + closes * depth


numbers = st.sampled_from(
    "0 -0 -0.0 1 1.0 1e2 2e-1 20e-1 1E400 -1 1.00005 1e-400 524288 01 1. .5 +1 0x1 1_0 1e - NaN Infinity -Infinity 1e9 "
    "1000000000.0001 1000000000.00005 1000000000.000051 10000000000001 9007199254740993 1e13 0.1e14 0e99999999999999 "
    f"1e-99999999999999999999 123456789012345678e-12 2.000000000000000000001 {'9' * 5000} 0.{'0' * 400}1 "
    f"1{'0' * 400}e-400".split()
)
plain = [
    r"x",
    "",
    "c1",
    r"\u0063\u0031",
    r"a\u0062",
    r"\"\\\b\f\n\r\t",
    r"\/",
    r"\u0000",
    r"\ud83d\ude00",
    "é",
    "\u2028",
    "\ufeff",
]
wrong = [r"\ud800", r"\udc00\ud800", r"\ud83d", r"\uD800\uDC0", r"\x", "a\tb", "a\x7fb", "\ud800"]
strings = st.sampled_from(plain + wrong).map('"{}"'.format)
long_ones = st.builds(
    lambda letter, n, rest: f'"{letter * n}{rest}"',
    *(st.sampled_from(["x", "é", r"\u00e9", "😀"]), st.sampled_from([31, 32, 33, 63, 64, 65, 127, 128, 129])),
    st.sampled_from(["", "é", "x"]),
)
depths = st.builds(
    nested, st.sampled_from([198, 199, 200, 201, 5_000]), *(st.sampled_from(part) for part in (["["], ["]"]))
) | st.sampled_from([nested(depth, '{"a":', "}") for depth in (199, 200)])
others = st.sampled_from(
    ["null", "true", "[]", "{}", "nul", "[1,]", '{"a":1,}', "{a:1}", '{"a":"\\ud800"}', '{"\\ud800":1}', "/**/1"]
)
seconds = st.builds(
    lambda whole, form, rest: form.format(whole, rest),
    *(st.integers(0, 7_258_118_401), st.sampled_from(["{}", "{}.{:06d}", "{}.{:06d}5", "{}.{:012d}", "{}e0", "-{}"])),
    st.integers(0, 999_999),
) | st.floats(0, 7.26e9).map(repr)
moments = st.builds(
    lambda date, clock, fraction, zone: json.dumps(f"{date}{clock}{fraction}{zone}"),
    st.sampled_from(["1969-12-31", "1970-01-01", "2000-02-29", "2026-02-29", "2199-12-31", "2200-01-01", "0000-01-01"]),
    st.sampled_from(["T00:00:00", "t23:59:59", " 12:00:07", "T23:59:60", "T24:00:00", "T12:00", "T1:00:00", ""]),
    st.sampled_from(["", ".", ",5"]) | st.text("0123456789", min_size=1, max_size=12).map(".{}".format),
    st.sampled_from(["Z", "z", "", "+00:00", "+05:30", "+0530", "+05", "-23:59", "+24:00", "+23:60", "UTC", " Z"]),
)
anything = numbers | strings | long_ones | depths | others
texts = dict.fromkeys(GOOD, anything) | {
    "event_type": st.sampled_from([*('"purchase"', '"return"', '"view"', '"tick"', r'"\u0076iew"', '"Cart"')]) | others,
    "occurred_at": seconds | moments | anything,
    "quantity": numbers | anything,
    "unit_price": numbers | st.decimals(0, 10**10, places=6).map("{:f}".format) | anything,
    "other": anything,
}


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """A good purchase with up to three fields spoilt: gone, changed, or given twice, before or behind the good one."""
    pairs = [*GOOD.items()]
    for name in draw(st.lists(st.sampled_from(sorted(texts)), max_size=3)):
        how, text = draw(st.sampled_from(["change", "change", "gone", "before", "behind"])), draw(texts[name])
        if how in ("change", "gone"):
            pairs = [pair for pair in pairs if pair[0] != name]
        if how != "gone":
            pairs.insert(0 if how == "before" else len(pairs), (name, text))
    return written(pairs, draw(st.sampled_from([":", " : "])))


WRAPS: list[Any] = [
    lambda raw: b"\xef\xbb\xbf" + raw,
    lambda raw: raw + b"\x00",
    lambda raw: b"\t\n\r " + raw + b" ",
    lambda raw: b"\x0b" + raw,
    lambda raw: raw + b"\xc2\xa0",
    lambda raw: raw + raw,
    lambda raw: b"[" + raw + b"]",
    lambda raw: raw[:-1],
    lambda raw: raw.decode(errors="replace").encode("utf-16"),
    lambda raw: raw.replace(b"event", b"\\u0065vent"),
    lambda raw: raw.replace(b"order", b"\\ud800rder"),
    lambda raw: raw[:0],
    lambda raw: b"null" + raw[:0],
]
JUNK = [b"\xff", b"\xc3", b"\\", b'"', b"\\u00e9", b"\\ud800", b"{", b"]", b",", b"\n", b"0", b"e", b"-", b"\x1f"]


@st.composite
def values(draw: st.DrawFn) -> bytes:
    """An object, sometimes wrapped, sometimes with a few bytes of junk in it."""
    raw = draw(objects())
    if draw(st.integers(0, 9)) == 0:
        raw = draw(st.sampled_from(WRAPS))(raw)
    elif draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.sampled_from(JUNK)) + raw[at + draw(st.integers(0, 2)) :]
    return raw


KEYS = [None, b"", b"c1", b"c2", b"\xff", b"\xed\xa0\x80", b"x" * 128, b"x" * 129, "é".encode() * 65]


def own_key(raw: bytes) -> bytes | None:
    """As the producer of this value would choose it."""
    try:
        found = json.loads(raw, parse_int=lambda text: int(text) if len(text) < 4_000 else math.inf)
    except (ValueError, RecursionError):
        return b"c1"
    name = found.get("customer_id") if isinstance(found, dict) else None
    tick = isinstance(found, dict) and found.get("event_type") == "tick"
    return None if tick else name.encode(errors="replace") if isinstance(name, str) else b"c1"


@st.composite
def records(draw: st.DrawFn) -> Record:
    raw = draw(st.none() | values() | values() | values())
    key = draw(st.sampled_from(KEYS)) if raw is None or draw(st.integers(0, 9)) == 0 else own_key(raw)
    return key, raw, draw(st.sampled_from([NOW, LATE, LATE, LATE, None, -1, 0, 2**63 - 1]))


# ---- each bound, from both of its sides ------------------------------------------------------------------------------
LAST = 7_258_118_400_000_000 - 1  # before the year 2200, in microseconds


@pytest.mark.parametrize(
    ("text", "timestamp", "reads"),
    [
        ('"2026-03-01T14:30:07+02:30"', NOW, NOW * 1000),
        ('"2026-03-01T06:30:07-0530"', NOW, NOW * 1000),
        ('"2026-03-01T12:00:07.0000004Z"', NOW, NOW * 1000),
        ('"2026-03-01T12:00:07.0000005Z"', NOW, NOW * 1000 + 1),
        ('"2026-03-01T12:10:07Z"', NOW, (NOW + 600_000) * 1000),
        ('"2026-03-01T12:10:07.000001Z"', NOW, None),
        ('"1970-01-01T00:00:00Z"', 0, 0),
        ('"1970-01-01T00:00:00+00:01"', 0, None),
        ('"1970-01-01T00:00:00Z"', -1, None),
        ('"2199-12-31T23:59:59.999999Z"', LATE, LAST),
        ('"2199-12-31T23:59:59.9999995Z"', LATE, None),
        ('"2200-01-01T00:00:00Z"', LATE, None),
        ("7258118400", LATE, None),
    ],
)
def test_a_time_is_read_to_the_microsecond_up_to_its_bounds(text: str, timestamp: int, reads: int | None) -> None:
    """Mutations caught: a zone's sign turned; a fraction cut off; a bound moved by one."""
    found = same((b"c1", good(occurred_at=text), timestamp))
    assert (found and found[3]) == reads


@pytest.mark.parametrize(
    ("quantity", "price", "reads"),
    [
        ("0", "9.90", None),
        ("0.0001", "1", 1),
        ("0.00005", "1", None),
        ("1", "1000000000.00005", 10**13),  # half-even
        ("1", "1000000000.00006", None),
        ("2", "500000000", 10**13),
        ("2", "500000000.0001", None),
        ("10000000000000", "0.0001", 10**13),
        ("10000000000001", "0", None),
        ("2", "0.00025", 5),
        ("1", "0.00025", 2),
    ],
)
def test_an_amount_is_exact_up_to_its_bounds(quantity: str, price: str, reads: int | None) -> None:
    """Mutations caught: a bound moved by one, or left out; rounded before it is multiplied."""
    found = same((b"c1", good(quantity=quantity, unit_price=price), NOW))
    assert (found and found[5]) == reads


# ---- the property ----------------------------------------------------------------------------------------------------
@settings(max_examples=600)
@given(records())
@example((b"c1", good(("event_id", r'"\ud800"')), NOW))  # of what is given twice the last counts, and all must be JSON
@example((b"c1", good(("other", r'"\udc00\ud800"'), ("other", "1")), NOW))
@example((b"c1", good(("customer_id", r'{"\ud800":[]}')), NOW))
@example((b"c1", good(("quantity", nested(200, "[", "]"))), NOW))
@example((b"c1", good(("order_id", nested(200, '{"a":', "}")), ("order_id", "null")), NOW))
def test_the_worker_and_verify_take_and_refuse_the_same(record: Record) -> None:
    """Mutations caught: any bound of `parse` or the decoder moved by one; what was given before not looked at."""
    same(record)


@settings(max_examples=300)
@given(seconds, st.sampled_from(['"purchase"', '"view"']))
def test_unix_seconds_are_the_same_to_the_microsecond(text: str, event_type: str) -> None:
    record = b"c1", good(occurred_at=text, event_type=event_type), LATE
    if (found := same(record)) is not None:
        assert found[3] == round(float(text) * 1e6)


@pytest.mark.parametrize("depth", [199, 200, 100_000])
@pytest.mark.parametrize("more", [[], [("note", "1")]])
def test_nesting_ends_neither(depth: int, more: list[tuple[str, str]]) -> None:
    for text in (nested(depth, "[", "]"), nested(depth, '{"a":', "}"), nested(depth, '[{"a":', "}]"), "[" * depth):
        found = same((b"c1", written([("note", text), *GOOD.items(), *more]), NOW))
        assert (found is not None) == (depth == 199 and text.endswith(("]", "}")) and "[{" not in text)


@pytest.mark.parametrize("name", [*GOOD, "other"])
def test_a_lone_surrogate_ends_neither(name: str) -> None:
    """As an escape, as the bytes that no UTF-8 has, alone or given before the good one; in the key too."""
    for text in (r'"\ud800"', '"\ud800"'):
        assert same((b"c1", written([*(GOOD | {name: text}).items()]), NOW)) is None
        assert same((b"c1", good((name, text), **({} if name in GOOD else {name: "1"})), NOW)) is None
    assert same((b"\xed\xa0\x80", written([*(GOOD | {name: '"x"'}).items()]), NOW)) is None
    assert same((b"\xed\xa0\x80", None, NOW)) is None


def test_what_the_property_is_made_of_is_often_an_event() -> None:
    assert same((b"c1", good(), NOW)) == ("e1", 0, "c1", NOW * 1000, "o1", 198_000)
