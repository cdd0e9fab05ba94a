"""History files against a plain reading (csv, Decimal, datetime) and against what the stream makes of the same text."""

import csv
import importlib.metadata
import io
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.events import Rejected, decode_one
from models.kinds import CART, PURCHASE, RETURN, VIEW
from offline.errors import HistoryError
from offline.history import csvs, files, judge
from offline.history import read as history
from offline.history.amounts import amounts
from offline.history.policy import Policy
from offline.history.quality import Counts
from offline.history.read import History
from offline.history.times import times
from offline.history.values import money

COLUMNS = ["event_id", "kind", "customer_id", "occurred_at", "order_id", "product_id", "amount", "quantity"]
FEW = {"customer_id": "c", "occurred_at": "t", "amount": "a"}
NOTHING = Counts(0, 0, 0, 0, 0, 0, 0, 0, 0)


def us(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def store(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def load(path: Path, text: str, columns: Mapping[str, str] = FEW, **options: Any) -> History:
    return history.read([store(path, text)], columns, **options)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.csv"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that examples of hypothesis write over."""
    return tmp_path_factory.mktemp("history") / "history.csv"


# ---- real data -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cdnow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = next(f for f in importlib.metadata.files("lifetimes") or [] if f.name == "CDNOW_master.txt")
    rows = [line.split() for line in Path(str(source.locate())).read_text().splitlines()]
    path = tmp_path_factory.mktemp("cdnow") / "cdnow.csv"
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([["customer_id", "date", "cds", "amount"], *rows[1:]])
    return path


def test_cdnow_is_read_whole_and_exactly(cdnow: Path) -> None:
    read = history.read([cdnow], {"occurred_at": "date"})
    assert read.counts == Counts(69_659, 0, 0, 0, 0, 0, 0, 69_659, duplicates_kept=255)
    frame = read.frame
    assert frame.amount.sum() == 25_003_156_300
    assert frame.customer_id.nunique() == 23_570
    assert frame.customer_id.min() == "00001"
    assert (frame.kind == PURCHASE).all()
    assert (frame.order_id == frame.event_id).all()
    assert frame.event_id.is_unique
    first, last = us("1997-01-01T00:00+00:00"), us("1998-06-30T00:00+00:00")
    assert (frame.occurred_at.iloc[0], frame.occurred_at.iloc[-1]) == (first, last)


def test_no_row_is_a_call_of_python(cdnow: Path) -> None:
    """Mutation caught: the ids of 23,570 customers made one by one. All else is a call a block, or once."""
    calls = Counter[str]()
    sys.setprofile(lambda _frame, event, _argument: calls.update([event]))
    try:
        read = history.read([cdnow], {"occurred_at": "date"})
    finally:
        sys.setprofile(None)
    assert calls["call"] + calls["c_call"] < read.counts.read * 2 / 3


def test_cdnow_comes_back_from_parquet_equal_in_every_value(cdnow: Path, tmp_path: Path) -> None:
    frame = history.read([cdnow], {"occurred_at": "date"}).frame
    history.write_parquet(frame, tmp_path / "history.parquet")
    pd.testing.assert_frame_equal(history.read_parquet(tmp_path / "history.parquet"), frame)
    assert [path.name for path in tmp_path.iterdir()] == ["history.parquet"]


# ---- the plain way, row by row ---------------------------------------------------------------------------------------

CUSTOMERS = ["17850", "17850.0", "00017", " x ", "ü", "", "NULL", "x" * 128, "x" * 129, "ü" * 65, "a,b", 'say "hi"']
TIMES = [
    *("2020-01-01", "2020-01-01 00:00:00", "2020-01-01T10:00:00Z", "2020-03-29 02:30", "2020-10-25T02:30:00"),
    *("2020-01-01T10:00:00.5+05:30", "1577836800", "1577836800.25", "20200101", "", "yesterday", "2020-02-30"),
    *("1969-12-31", "2200-01-01", "2199-12-31T23:00:00-01:00", "2 Foo 2020"),
]
NUMBERS = ["1", "2", "-3", "0", "12.5", "0.00005", "0.00015", "-0.00025", "1e2", "1,5", "", "nan", "inf", "9" * 15]
TYPES = ["purchase", "return", "view", "cart", "Purchase", "", "refund"]
MEANT = {"": PURCHASE, "purchase": PURCHASE, "return": RETURN, "view": VIEW, "cart": CART}
GAP = (datetime(2020, 3, 29, 2), datetime(2020, 3, 29, 3))


def plain_time(text: str) -> int | None:
    if re.fullmatch(r"\d{10}(\.\d+)?", text):
        return round(float(text) * 1e6)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = (GAP[1] if GAP[0] <= moment < GAP[1] else moment).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    t = us(moment.isoformat())
    return t if us("1970-01-01T00:00+00:00") <= t < us("2200-01-01T00:00+00:00") else None


def plain_money(text: str) -> int | None:
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?(e\d+)?", text):
        return None
    units = round(Fraction(text) * 10_000)
    return units if abs(units) < 2**62 else None


def plain_amount(kind: int, quantity: str, price: str) -> int | None:
    if kind in (VIEW, CART):
        return 0
    if plain_money(quantity) is None or plain_money(price) is None:
        return None
    count, cost = Fraction(quantity), Fraction(price)
    if count == 0 or count * 10_000 % 1 or cost < 0:
        return None
    size = round(abs(count) * cost * 10_000)
    return None if size > 10**13 or abs(count) > 10**13 else -size if kind == RETURN else size


def plain(rows: Sequence[Sequence[str]], until: int) -> tuple[list[list[object]], Counter[str]]:
    kept: list[list[object]] = []
    counts: Counter[str] = Counter(read=len(rows))
    for number, (customer_id, at, event_type, quantity, price, order_id) in enumerate(rows, 1):
        kind, t, count = MEANT.get(event_type.lower()), plain_time(at), plain_money(quantity)
        if kind == PURCHASE and count is not None and count < 0:
            kind = RETURN
        amount = None if kind is None else plain_amount(kind, quantity, price)
        if customer_id in ("", "NULL") or len(customer_id.encode()) > 128:
            counts["without_customer"] += 1
        elif kind is None:
            counts["other_types"] += 1
        elif t is None:
            counts["bad_times"] += 1
        elif t >= until:
            counts["future"] += 1
        elif amount is None:
            counts["bad_numbers"] += 1
        elif list(rows[number - 1]) in [list(row) for row in rows[: number - 1]]:
            counts["duplicates"] += 1
        else:
            counts["kept"] += 1
            event_id = f"h:0:{number}"
            units = 0 if kind in (VIEW, CART) or count is None else -abs(count) if kind == RETURN else count
            kept.append([event_id, kind, customer_id.strip(), t, order_id or event_id, "p", amount, units])
    return sorted(kept, key=lambda row: row[3]), counts  # type: ignore[arg-type, return-value]


HEAD = ["customer_id", "occurred_at", "event_type", "quantity", "unit_price", "order_id", "product_id"]
texts = st.tuples(*map(st.sampled_from, (CUSTOMERS, TIMES, TYPES, NUMBERS, NUMBERS, ["o1", ""])))
good = st.tuples(
    *map(st.sampled_from, (CUSTOMERS[:5], TIMES[:9], TYPES[:4], ["1", "-3"], ["1", "0.00015"], ["o1", ""]))
)


@given(st.lists(st.one_of(texts, good), max_size=30), st.sampled_from([256, 1 << 20]))
def test_every_row_is_what_the_plain_way_makes_of_it(shared: Path, rows: list[tuple[str, ...]], block: int) -> None:
    """One good row with an order id stands first, so that duplicates are dropped; blocks end anywhere."""
    rows = [("first", "2020-01-01T12:00:00Z", "purchase", "1", "1", "o0"), *rows]
    out = io.StringIO()
    csv.writer(out).writerows([HEAD, *([*row, "p"] for row in rows)])
    until = us("2020-06-01T00:00+00:00")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csvs, "BLOCK", max(block, len(max(out.getvalue().splitlines(), key=len)) * 4))
        policy = Policy(decimal=".", cancelled=False)
        read = load(shared, out.getvalue(), {}, timezone="Europe/Berlin", until=until, policy=policy)
    kept, counts = plain(rows, until)
    assert read.frame.to_numpy(object).tolist() == kept
    assert {name: getattr(read.counts, name) for name in counts} == counts
    assert read.counts.duplicates_kept == 0
    assert list(read.frame) == COLUMNS
    assert read.frame.index.equals(pd.RangeIndex(len(kept)))


# ---- money -----------------------------------------------------------------------------------------------------------


@given(st.decimals(-(10**16), 10**16) | st.decimals(-100, 100, places=6))
def test_money_is_rounded_once_half_even_from_its_text(value: Decimal) -> None:
    exact = round(Fraction(value) * 10_000)
    units, sound = money(pa.array([str(value)]))
    assert (units[0], sound[0]) == ((exact, True) if abs(exact) < 2**62 else (0, False))


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("11.77", 117_700),
        ("0.00005", 0),
        ("0.00015", 2),
        ("-0.00015", -2),
        ("0.000250000000000000000000000000000000001", 3),
        ("0.1" + "0" * 70, 1_000),
        ("20.400000000000002", 204_000),
        (".5", 5_000),
        ("5.", 50_000),
        ("+7", 70_000),
        (" 7 ", 70_000),
        ("1e-9999", 0),
        ("461168601842738.7903", 2**62 - 1),
        ("461168601842738.7904", None),
        ("1e999", None),
        ("1e99999", None),
        ("1_000", None),
        ("1,000.00", None),
        ("$5", None),
        ("٣", None),
        ("--1", None),
        ("NaN", None),
        ("-inf", None),
        ("", None),
        (None, None),
    ],
)
def test_money_of_text(text: str | None, units: int | None) -> None:
    found, sound = money(pa.array([text], pa.large_string()))
    assert (found[0], sound[0]) == (units or 0, units is not None)


@given(
    st.integers(1, 10**6) | st.decimals("0.0001", 10**6, places=4),
    st.decimals(0, 10**7, places=7).map(lambda d: format(d, "f")) | st.floats(0, 1e9).map(repr),
)
def test_amounts_are_those_that_the_stream_reads(quantity: int | Decimal, price: str) -> None:
    """Mutation caught: the price rounded before it is multiplied."""
    head = '{"event_id":"e","event_type":"purchase","customer_id":"c","occurred_at":0'
    event = f'{head},"quantity":{quantity},"unit_price":{price}}}'.encode()
    columns = {"quantity": pa.array([str(quantity)]), "unit_price": pa.array([price])}
    _, amount, _, sound = amounts(columns, False, np.array([PURCHASE], np.int8))
    if sound[0]:
        assert decode_one(b"c", event, 0).amount == amount[0]
    else:
        with pytest.raises(Rejected, match="overflow"):
            decode_one(b"c", event, 0)


def test_a_negative_amount_or_quantity_or_the_type_says_return(file: Path) -> None:
    text = (
        "c,t,amount,quantity,event_type\n"
        "x,2020-01-01,5,1,\nx,2020-01-02,-5,1,\nx,2020-01-03,5,-1,purchase\n"
        "x,2020-01-04,5,,return\nx,2020-01-05,-5,-1,return\nx,2020-01-06,0,1,\nx,2020-01-07,,,view\nx,2020-01-08,9,1,cart\n"
    )
    frame = load(file, text, {"customer_id": "c", "occurred_at": "t"}).frame
    assert frame.kind.tolist() == [PURCHASE, RETURN, RETURN, RETURN, RETURN, PURCHASE, VIEW, CART]
    assert frame.amount.tolist() == [50_000, -50_000, -50_000, -50_000, -50_000, 0, 0, 0]
    assert frame.quantity.tolist() == [10_000, -10_000, -10_000, -10_000, -10_000, 10_000, 0, 0]


def test_a_quantity_may_be_of_kilos_and_without_one_a_line_is_one_unit(file: Path) -> None:
    lines = ["x,2020-01-01,5,1.2345,", "x,2020-01-02,-5,0.5,", "x,2020-01-03,5,some,", "x,2020-01-04,5,0,"]
    columns = {"customer_id": "c", "occurred_at": "t"}
    frame = load(file, "\n".join(["c,t,amount,quantity,event_type", *lines, "x,2020-01-05,5,,return"]), columns).frame
    assert frame.quantity.tolist() == [12_345, -5_000, 10_000, 0, -10_000]
    text = "c,t,amount,event_type\nx,2020-01-01,5,\nx,2020-01-02,-6,\nx,2020-01-03,,view\n"
    assert load(file, text, columns).frame.quantity.tolist() == [10_000, -10_000, 0]


def test_goods_by_weight_cost_the_exact_product_rounded_once(file: Path) -> None:
    """What doubles add to a quantity is passed over; a fifth decimal place is a bad number, and so is 0."""
    good = {
        "0.75,4.00": 30_000, "3,0.33335": 10_000, "-0.5,0.0003": -2, "0.5,0.0001": 0,
        "0.30000000000000004,19.99": 59_970, "1.5e-1,2": 3_000, "12.3456,1e1": 1_234_560,
    }  # fmt: skip
    bad = ["0.00005,4", "1.23456,1", "0.0,1", "1,-0.00001"]
    lines = [f"x,2020-01-{day:02},{row}\n" for day, row in enumerate([*good, *bad], 1)]
    columns = {"customer_id": "c", "occurred_at": "t", "quantity": "q", "unit_price": "p"}
    read = load(file, "c,t,q,p\n" + "".join(lines), columns)
    assert (read.frame.amount.tolist(), read.counts.bad_numbers) == ([*good.values()], len(bad))
    assert read.frame.quantity.tolist() == [7_500, 30_000, -5_000, 5_000, 3_000, 1_500, 123_456]


def test_what_is_worth_more_than_a_thousand_millions_is_a_bad_number(file: Path) -> None:
    """As in the stream; the last two are more than int64 holds."""
    head, columns = "c,t,q,p\n", {"customer_id": "c", "occurred_at": "t", "quantity": "q", "unit_price": "p"}
    good, bad = ["1,1e9", "-2,5e8", f"{10**13},0.0001"], ["1,1000000000.0001", "-2,500000000.0001", f"{10**13 + 1},0"]
    bad += [f"{10**14},100000", f"{10**10},46116.8602"]
    lines = [f"x,2020-01-{day:02},{row}\n" for day, row in enumerate(good + bad, 1)]
    read = load(file, head + "".join(lines), columns)
    assert (read.counts.bad_numbers, read.frame.amount.tolist()) == (len(bad), [10**13, -(10**13), 10**13])
    rows = [
        f"x,2020-01-{day:02},{row}\n" for day, row in enumerate(["1e9,1", "-1e9,1", "1000000000.0001,1", "4e14,1"], 1)
    ]
    read = load(
        file, "c,t,amount,q\n" + "".join(rows), {name: columns[name] for name in ("customer_id", "occurred_at")}
    )
    assert (read.counts.bad_numbers, read.frame.amount.tolist()) == (2, [10**13, -(10**13)])


# ---- times -----------------------------------------------------------------------------------------------------------


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30)),
    st.integers(0, 10**9 - 1),
    st.integers(1, 9),
    st.sampled_from(["Z", "+00:00", "-08:00", "+05:45"]),
)
def test_times_with_offset_are_those_that_the_stream_reads(moment: datetime, ns: int, digits: int, offset: str) -> None:
    text = f"{moment:%Y-%m-%dT%H:%M:%S}.{f'{ns:09d}'[:digits]}{offset}"
    streamed = (msgspec.convert(text, datetime) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert times(pa.array([text]), "Asia/Tokyo")[0][0] == streamed


@pytest.mark.parametrize(
    ("text", "zone", "meant"),
    [
        ("2020-01-02", "UTC", "2020-01-02T00:00+00:00"),
        ("2020-01-02", "Europe/Berlin", "2020-01-01T23:00+00:00"),
        ("20200102", "Europe/Berlin", "2020-01-01T23:00+00:00"),
        ("2020-01-02 08:30", "America/New_York", "2020-01-02T13:30+00:00"),
        ("2020-10-25 02:30", "Europe/Berlin", "2020-10-25T00:30+00:00"),  # comes twice: the first
        ("2020-03-29 02:30", "Europe/Berlin", "2020-03-29T01:00+00:00"),  # is skipped: after the gap
        ("2020-01-02t08:30:00z", "Europe/Berlin", "2020-01-02T08:30+00:00"),
        ("2020-01-02T08:30:00+0130", "UTC", "2020-01-02T07:00+00:00"),
        (" 2020-01-02 ", "UTC", "2020-01-02T00:00+00:00"),
        ("852076800", "Europe/Berlin", "1997-01-01T00:00+00:00"),
        ("852076800.0000015", "UTC", "1997-01-01T00:00:00.000002+00:00"),
    ],
)
def test_time_of_text(text: str, zone: str, meant: str) -> None:
    assert times(pa.array([text]), zone)[0].tolist() == [us(meant)]


@pytest.mark.parametrize(
    "text", ["", None, "2020", "2020-01", "2020-13-01", "2020-01-02T25:00:00Z", "1/2/2020", "0001-01-01", "9999-12-31"]
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_what_is_no_time(text: str | None, zone: str) -> None:
    assert times(pa.array([text], pa.large_string()), zone)[0].tolist() == [-1]


def test_the_cut_off_is_exclusive(file: Path) -> None:
    text = "c,t,a\nx,2020-01-01T23:59:59.999999Z,1\nx,2020-01-02T00:00:00Z,1\nx,2020-01-03T00:00:00Z,1\n"
    read = load(file, text, until=us("2020-01-02T00:00+00:00"))
    assert (read.counts.kept, read.counts.future) == (1, 2)


# ---- duplicates, order, ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("c,t,a\nx,2020-01-01,5\nx,2020-01-01,5\nx,2020-01-01,5\n", 0),
        ("c,t,a\nx,2020-01-01 00:00:00,5\nx,2020-01-01 00:00:00,5\n", 0),
        ("c,t,a\nx,2020-01-01T00:00:00+02:00,5\nx,2020-01-01T00:00:00+02:00,5\n", 0),
        ("c,t,a,order_id\nx,2020-01-01,5,\nx,2020-01-01,5,\n", 0),
        ("c,t,a\nx,2020-01-01 10:00:00,5\nx,2020-01-01 10:00:00,5\nx,2020-01-01 10:00:00,5\n", 2),
        ("c,t,a\nx,2020-01-01,5\nx,2020-01-01,5\ny,2020-01-01 10:00,5\n", 1),
        ("c,t,a\nx,852076801,5\nx,852076801,5\n", 1),
        ("c,t,a,order_id\nx,2020-01-01,5,7\nx,2020-01-01,5,7\n", 1),
        ("c,t,a,event_id\nx,2020-01-01,5,7\nx,2020-01-01,5,7\nx,2020-01-01,5,8\n", 1),
        ("c,t,a,line\nx,2020-01-01 10:00,5,1\nx,2020-01-01 10:00,5,2\n", 0),
    ],
)
def test_exact_duplicates_are_dropped_where_the_file_says_more_than_dates(file: Path, text: str, dropped: int) -> None:
    read = load(file, text)
    assert read.counts.duplicates == dropped
    assert len(read.frame) == text.count("\n") - 1 - dropped


def test_duplicates_that_are_kept_are_said(file: Path) -> None:
    counts = load(file, "c,t,a\nx,2020-01-01,5\nx,2020-01-01,5\n").counts
    assert counts.duplicates_kept == 1
    assert "exact duplicates (dates alone, no ids)              1" in counts.table()
    assert "dates alone" not in NOTHING.table()


def test_overlapping_files_are_one_history(tmp_path: Path) -> None:
    one = store(tmp_path / "1.csv", "c,t,a\nx,2020-01-01 10:00,5\nx,2020-01-01 11:00,5\n")
    two = store(tmp_path / "2.csv", "c,t,a\nx,2020-01-01 11:00,5\nx,2020-01-01 12:00,5\n")
    read = history.read([one, two], FEW)
    assert read.frame.event_id.tolist() == ["h:0:1", "h:0:2", "h:1:2"]
    assert (read.counts.read, read.counts.duplicates) == (4, 1)


def test_rows_that_differ_only_where_hashes_agree_are_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "hashes", lambda block: np.zeros(len(block[0]), np.uint64))
    read = load(file, "c,t,a\nx,2020-01-01 10:00,5\ny,2020-01-01 10:00,5\nx,2020-01-01 10:00,6\nx,2020-01-01 10:00,5\n")
    assert (read.counts.kept, read.counts.duplicates) == (3, 1)


def test_events_come_by_time_then_in_file_order(tmp_path: Path) -> None:
    one = store(tmp_path / "1.csv", "c,t,a\nlate,2020-01-02,1\nb,2020-01-01,1\na,2020-01-01,1\n")
    two = store(tmp_path / "2.csv", "c,t,a\n0,2020-01-01,1\n")
    frame = history.read([one, two], FEW).frame
    assert frame.customer_id.tolist() == ["b", "a", "0", "late"]
    assert frame.event_id.tolist() == ["h:0:2", "h:0:3", "h:1:1", "h:0:1"]


def test_ids_stay_as_they_are_written(file: Path) -> None:
    text = (
        "c,t,a,event_id,order_id,product_id\n"
        "17850.0,2020-01-01,1,1e5,007,85123A\n"
        "00042,2020-01-02,1,,,\n"
        '"NA",2020-01-03,1,e,"",""\n'
    )
    frame = load(file, text).frame
    assert frame.customer_id.tolist() == ["17850.0", "00042", "NA"]
    assert frame.event_id.tolist() == ["1e5", "h:0:2", "e"]
    assert frame.order_id.tolist() == ["007", "h:0:2", "e"]
    assert frame.product_id.isna().tolist() == [False, True, True]


def test_dtypes(file: Path) -> None:
    frame = load(file, "c,t,a\nx,2020-01-01,1\n").frame
    assert frame.dtypes.astype(str).tolist() == ["str", "int8", "str", "int64", "str", "str", "int64", "int64"]


# ---- files -----------------------------------------------------------------------------------------------------------


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    moments = [datetime(2020, 1, 1, 10), datetime(2020, 1, 2, 0, 0, 0, 1), datetime(2020, 1, 3)]
    table = pa.table(
        {
            "c": pa.array(["x", "y", None]).dictionary_encode(),
            "t": pa.array(moments, pa.timestamp("ns")),
            "quantity": pa.array([1, -2, 3], pa.int32()),
            "unit_price": pa.array([20.400000000000002, 0.00015, 1e15]),
            "order_id": pa.array([536365, 536366, None], pa.int64()),
            "tags": pa.array([["a"], [], None]),
        }
    )
    pq.write_table(table, tmp_path / "data", row_group_size=2)
    steps: list[tuple[int, int]] = []
    columns = {"customer_id": "c", "occurred_at": "t"}
    read = history.read([tmp_path / "data"], columns, progress=lambda done, total: steps.append((done, total)))
    assert read.frame.drop(columns="product_id").to_numpy(object).tolist() == [
        ["h:0:1", PURCHASE, "x", us("2020-01-01T10:00+00:00"), "536365", 204_000, 10_000],
        ["h:0:2", RETURN, "y", us("2020-01-02T00:00:00.000001+00:00"), "536366", -3, -20_000],
    ]
    assert read.counts.without_customer == 1
    size = (tmp_path / "data").stat().st_size
    assert steps[-1] == (size, size)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([17850.0, float("nan"), None]), ["17850.0", None, None]),
        (pa.array([0.1, 1e16], pa.float64()), ["0.1", "1e+16"]),
        (pa.array(np.array([1234.57], np.float32)), ["1234.57"]),
        (pa.array([Decimal("12.3400")]), ["12.3400"]),
        (pa.array([date(2020, 1, 2)]), ["2020-01-02"]),
        (pa.array([b"x"]), ["x"]),
        (pa.array([True]), ["true"]),
        (pa.array([None]), [None]),
        (pa.array([{"a": 1}, None]), ["{'a': 1}", None]),
    ],
)
def test_columns_as_text(column: pa.Array, text: list[str | None]) -> None:
    assert files._text(column).to_pylist() == text


def test_parquet_times_with_a_zone_and_days_as_numbers(tmp_path: Path) -> None:
    moment = pa.array([datetime(2020, 1, 1, 10, tzinfo=UTC)], pa.timestamp("us", "Asia/Tokyo"))
    for number, column in enumerate([moment, pa.array([1577872800]), pa.array([1577872800.0]), pa.array([20200101.0])]):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"c": ["x"], "t": column, "a": [1]}), path)
        found = history.read([path], FEW, timezone="Europe/Berlin").frame.occurred_at[0]
        assert found == us("2020-01-01T10:00+00:00" if number < 3 else "2019-12-31T23:00+00:00")


def test_parquet_text_that_is_not_utf_8_is_one_clear_line(tmp_path: Path) -> None:
    wrong = pa.array([b"Zo\xeb"]).view(pa.string())
    pq.write_table(pa.table({"c": wrong, "t": ["2020-01-01"], "a": [1]}), tmp_path / "data")
    with pytest.raises(HistoryError, match="not UTF-8; convert"):
        history.read([tmp_path / "data"], FEW)


def test_utf_8_with_and_without_bom_and_values_with_newlines(file: Path) -> None:
    text = 'c,t,a\r\n"Zoë\n, Ltd",2020-01-01,5\r\n'
    for start in ("", "\ufeff"):
        assert load(file, start + text).frame.customer_id.tolist() == ["Zoë\n, Ltd"]


def test_blocks_make_no_difference(cdnow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = history.read([cdnow], {"occurred_at": "date"})
    monkeypatch.setattr(csvs, "BLOCK", 50_001)
    steps: list[tuple[int, int]] = []
    read = history.read([cdnow, cdnow], {"occurred_at": "date"}, progress=lambda *step: steps.append(step))
    assert read.counts.read == 2 * whole.counts.read
    first = read.frame[read.frame.event_id.str.startswith("h:0:")].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, whole.frame)
    assert steps == sorted(steps)
    assert steps[-1] == (2 * cdnow.stat().st_size,) * 2
    assert len(steps) > 50


def test_a_file_of_views_needs_no_money_but_one_of_purchases_does(tmp_path: Path) -> None:
    views = store(tmp_path / "views.csv", "c,t,event_type\nx,2020-01-01,view\n")
    sales = store(tmp_path / "sales.csv", "c,t,event_type,a\nx,2020-01-01,purchase,5\n")
    assert history.read([sales, views], FEW).frame.kind.tolist() == [PURCHASE, VIEW]
    store(views, "c,t,event_type\nx,2020-01-01,view\nx,2020-01-01,purchase\n")
    with pytest.raises(HistoryError, match=r"views\.csv: no column 'amount'"):
        history.read([sales, views], FEW)


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "columns", "said"),
    [
        (
            b"Customer ID,t,a\nx,2020-01-01,5\n",
            {"occurred_at": "t", "amount": "a"},
            "no column 'customer_id'.*'Customer ID'",
        ),
        (
            b"c,t,Amount EUR\nx,2020-01-01,5\n",
            {**FEW, "amount": "Amount"},
            "no column 'Amount'; nearest is 'Amount EUR' of 'c', 't', 'Amount EUR'; name it with --columns amount=",
        ),
        (
            b"c,t,Price\nx,2020-01-01,5\n",
            {"customer_id": "c", "occurred_at": "t"},
            "no column 'amount'.*quantity and unit_price",
        ),
        (
            b"c,t,quantity,Unit Price\n",
            {"customer_id": "c", "occurred_at": "t"},
            "no column 'unit_price'.*'Unit Price'",
        ),
        (
            b"c,t,a\nx,2020-01-01,5\n",
            {**FEW, "customer": "c"},
            "--columns: 'customer' is no name of ours.*'customer_id'",
        ),
        (b"c,t,a\nx,2020-01-01,5\n", {**FEW, "product_id": "sku"}, "no column 'sku'"),
        (
            b"c:t:a\nx:2020-01-01:5\n",
            FEW,
            "no column 'c'; nearest is 'c:t:a'",
        ),
        (b"c,t,a,a\nx,2020-01-01,5,6\n", FEW, "'a' stands there more than once"),
        (b"c,t,a\nx,2020-01-01\n", FEW, "1 of another length than the header.; line 2 has 2 fields, the header 3"),
        ("c,t,a\nZoë,2020-01-01,ë5\n".encode() + b"Zo\xeb,,\n", FEW, "not UTF-8 in 1 bytes"),
        (b"c,t,a\nx,2020-01-01,5\0\0\n", FEW, "holds zero bytes"),
        (
            b"c,t,a\nx,2020-01-01,five\ny,2020-01-01,\xa4\n\x81,,\n",
            FEW,
            "neither UTF-8 nor Windows-1252; say its --encoding",
        ),
        (b"", FEW, "the file is empty"),
        (b"c,t,a\n", FEW, "no row can be used .no rows."),
        (
            b"c,t,a\n,2020-01-01,5\nx,soon,5\nx,2020-01-01,five\n",
            FEW,
            "1 without customer.*, 1 bad time, 1 bad number",
        ),
        (b"PAR1 but not really", FEW, "cannot be read: "),
    ],
)
def test_an_unusable_file_is_one_clear_line(file: Path, content: bytes, columns: dict[str, str], said: str) -> None:
    file.write_bytes(content)
    with pytest.raises(HistoryError, match=said) as error:
        history.read([file], columns)
    assert "\n" not in str(error.value)
    assert "history.csv" in str(error.value) or "--columns" in str(error.value)


def test_a_missing_file_no_file_and_an_unknown_zone(file: Path, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"history\.csv: cannot be read: No such file"):
        history.read([file], FEW)
    with pytest.raises(HistoryError, match="cannot be read: Is a directory"):
        history.read([tmp_path], FEW)
    with pytest.raises(HistoryError, match="no history file"):
        history.read([], FEW)
    for zone in ("Mars/Olympus", "", "../x"):
        with pytest.raises(HistoryError, match="--timezone"):
            load(file, "c,t,a\nx,2020-01-01,5\n", timezone=zone)


def test_a_damaged_or_foreign_parquet_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "history.parquet"
    pq.write_table(pa.table({"customer_id": ["x"]}), path)
    with pytest.raises(HistoryError, match=r"history\.parquet: not a cleaned history"):
        history.read_parquet(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(HistoryError, match=r"history\.parquet: cannot be read") as error:
        history.read_parquet(path)
    assert "\n" not in str(error.value)


def test_counts_that_do_not_add_up_do_not_exist() -> None:
    with pytest.raises(AssertionError, match="add up"):
        Counts(3, 1, 0, 0, 0, 0, 0, 1, 0)
    assert NOTHING.table().count("\n") == 7
