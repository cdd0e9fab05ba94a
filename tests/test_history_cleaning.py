"""Cleaning: nasty files in every encoding, formats decided or asked for, steps against plain oracles, and the table."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.kinds import PURCHASE, RETURN, VIEW
from offline.__main__ import main
from offline.errors import HistoryError
from offline.history import csvs, files, steps
from offline.history import read as history
from offline.history.numerals import Numbers
from offline.history.policy import Policy
from offline.history.quality import STEPS, Counts, Line
from offline.history.read import History
from offline.history.times import times
from offline.history.values import money

DOCS = Path(__file__).parent.parent / "docs" / "cleaning.md"
HEAD = "customer_id,occurred_at,amount"


def load(path: Path, text: str, encoding: str = "utf-8", **policy: Any) -> History:
    path.write_bytes(text.encode(encoding))
    return history.read([path], {}, policy=Policy(**policy))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "raw.csv"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that examples of hypothesis write over."""
    return tmp_path_factory.mktemp("clean") / "raw.csv"


def notes(counts: Counts, step: str) -> list[tuple[str, str, int]]:
    return [(line.column, line.what, line.rows) for line in counts.notes if line.step == step]


def utc(text: str) -> int:
    """us since the epoch."""
    return int(pd.Timestamp(text, tz="UTC").timestamp()) * 10**6


def column(*texts: str | None) -> pa.Array:
    return pa.array(texts, pa.large_string())


# ---- files -----------------------------------------------------------------------------------------------------------

NASTY = (
    "customer_id;occurred_at;product_id;quantity;unit_price;order_id\r\n"
    "Müller;13/02/2024 10:00;Käse;2;1.234,50 £;1.0\r\n"
    '"Zoë; Ltd";2024-02-14;"Brie ""fin""";1;12,5 £;2.0\r\n'
    "Müller;31/02/2024;Käse;1;3,00 £;3.0\r\n"
    "Müller;14/02/2024;Käse;1;drei;4.0\r\n"
)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "cp1252"])
def test_a_nasty_file_is_read_in_every_encoding(file: Path, encoding: str, delimiter: str) -> None:
    sign = "€" if encoding == "cp1252" else "£"
    read = load(file, NASTY.replace(";", delimiter).replace("£", sign), encoding)
    assert read.frame.customer_id.tolist() == ["Müller", f"Zoë{delimiter} Ltd"]
    assert read.frame.amount.tolist() == [24_690_000, 125_000]
    assert read.frame.product_id.tolist() == ["Käse", 'Brie "fin"']
    assert read.frame.order_id.tolist() == ["1", "2"]
    assert (read.counts.bad_times, read.counts.bad_numbers, read.counts.kept) == (1, 1, 2)
    assert notes(read.counts, "decode") == [("", f"told: raw.csv: {encoding}, separated by {delimiter!r}", 4)]
    assert notes(read.counts, "numbers") == [("unit_price", f"told: decimal ',', currency {sign}", 4)]
    assert notes(read.counts, "ids") == [("order_id", "changed: 17850.0 to 17850 and the like", 2)]


def test_an_encoding_is_found_in_the_last_byte_and_a_damaged_file_is_not_guessed(file: Path) -> None:
    rows = "x,2024-01-01,1\n" * 100_000
    assert "latin-1" in load(file, f"{HEAD}\n{rows}Zoë,2024-01-01,1", "latin-1").counts.notes[0].what
    assert "cp1252" in load(file, f"{HEAD}\nZoë,2024-01-01,1\n{rows}Zoë,2024-01-01,1 €", "cp1252").counts.notes[0].what
    file.write_bytes(f"{HEAD}\nZoë,2024-01-01,1\nMüller,2024-01-01,1\n{rows}".encode() + b"Zo\xeb,2024-01-01,1\n")
    with pytest.raises(HistoryError, match="not UTF-8 in 1 bytes"):
        history.read([file], {})
    assert history.read([file], {}, policy=Policy(encoding="latin-1")).frame.customer_id.iloc[0] == "ZoÃ«"


def test_a_delimiter_that_is_told_wins(file: Path) -> None:
    text = "customer_id:occurred_at:amount:a,b,c,d,e\nx:2024-01-01:5:1,2,3,4,5\n"
    assert load(file, text, delimiter=":").counts.kept == 1
    with pytest.raises(HistoryError, match="no column 'customer_id'"):
        load(file, text)


# ---- numbers ---------------------------------------------------------------------------------------------------------

LOCALES = {
    "en_US": (",", ".", "${}"),
    "de_DE": (".", ",", "{} €"),
    "fr_FR": ("\u202f", ",", "{}\u00a0€"),
    "de_CH": ("\u2019", ".", "CHF {}"),
    "sv_SE": ("\u00a0", ",", "{} SEK"),
    "es_ES": (".", ",", "{}EUR"),
}


@settings(max_examples=60)
@given(st.sampled_from(sorted(LOCALES)), st.lists(st.decimals(-(10**9), 10**9, places=2), min_size=1, max_size=20))
def test_numbers_of_six_locales_are_read_back_exactly(shared: Path, locale: str, values: list[Decimal]) -> None:
    group, mark, sign = LOCALES[locale]
    written = [f"{value:,.2f}".translate({ord(","): group, ord("."): mark}) for value in values]
    out = io.StringIO()
    csv.writer(out).writerows([HEAD.split(","), *(["x", "2024-01-01", sign.format(text)] for text in written)])
    read = load(shared, out.getvalue())
    assert sorted(read.frame.amount) == sorted(int(value * 10_000) for value in values)


@pytest.mark.parametrize(
    ("decimal", "text", "plain"),
    [
        (".", "12,34,567.89", "1234567.89"),
        (".", "1,5", "?"),
        (".", "1,2345", "?"),
        (".", "1,234.5,6", "?"),
        (".", "1 234'567", "?"),
        (",", "12.5", "?"),
        (",", "\u2212 7,5".replace(" ", ""), "-7.5"),
        (",", "$5", "?"),
        (",", "5e2", "5e2"),
        ("", "1,234", "?"),
    ],
)
def test_a_number_is_read_whole_or_not_at_all(decimal: str, text: str, plain: str) -> None:
    assert Numbers(decimal).plain(column(text)).to_pylist() == [plain]


@pytest.mark.parametrize("amounts", [['"1,234"'], ["1.234", "7"], ['"12,345"', '"1,234"']])
def test_one_mark_before_three_digits_is_asked_for(file: Path, amounts: Sequence[str]) -> None:
    text = "\n".join([HEAD, *(f"x,2024-01-0{n},{amount}" for n, amount in enumerate(amounts, 1))])
    with pytest.raises(HistoryError, match=r"column 'amount': .* two ways, and no value decides; say --decimal"):
        load(file, text)
    whole, part = (load(file, text, decimal=mark).frame.amount.sum() for mark in ".,")
    assert whole != part


def test_a_value_far_below_decides_what_the_first_block_leaves_open(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csvs, "BLOCK", 256)
    rows = [f'x,2024-01-01,"{n},234"' for n in range(1, 100)]
    assert load(file, "\n".join([HEAD, *rows, 'x,2024-01-01,"1,5"'])).frame.amount.iloc[0] == 12_340
    assert load(file, "\n".join([HEAD, *rows, 'x,2024-01-01,"1,234.5"'])).frame.amount.iloc[0] == 12_340_000


def test_a_column_of_two_formats_or_currencies_is_refused_but_a_tenth_is_only_bad(file: Path) -> None:
    with pytest.raises(HistoryError, match=r"'amount': 1 like , and 1 like \.: no format of its own"):
        load(file, f'{HEAD}\nx,2024-01-01,"1,5"\nx,2024-01-02,1.25\n')
    with pytest.raises(
        HistoryError, match=r"1 like \$ and 1 like €: no format of its own; .*, or convert them into one"
    ):
        load(file, f"{HEAD}\nx,2024-01-01,$1\nx,2024-01-02,1 €\n")
    rows = [f"x,2024-01-01,{n}.5" for n in range(1, 10)]
    assert load(file, "\n".join([HEAD, *rows, 'x,2024-01-01,"1,5"'])).counts.bad_numbers == 1


def test_a_column_of_floats_in_parquet_is_never_unclear(tmp_path: Path) -> None:
    table = pa.table({"customer_id": ["x"], "occurred_at": ["2024-01-01"], "amount": [1.125]})
    pq.write_table(table, tmp_path / "raw.parquet")
    assert history.read([tmp_path / "raw.parquet"], {}).frame.amount.tolist() == [11_250]


# ---- dates -----------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.datetimes(pd.Timestamp(1970, 1, 2), pd.Timestamp(2068, 12, 30)), min_size=1),
    st.sampled_from(["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%y %H:%M", "%m/%d/%Y %I:%M %p", "%d-%m-%YT%H:%M:%S"]),
)
def test_dates_of_a_told_order_are_those_that_strptime_reads(moments: list[pd.Timestamp], form: str) -> None:
    words = [f"{moment:{form}}" for moment in moments]
    meant = [pd.to_datetime(word, format=form).value // 1000 for word in words]
    assert times(column(*words), "UTC", form.startswith("%d"))[0].tolist() == meant


def test_the_order_of_day_and_month_is_decided_by_the_days_above_12(file: Path) -> None:
    for decides, month in (("13/01/2024", 2), ("01/13/2024", 1)):
        read = load(file, f"{HEAD}\nx,2024-03-04,1\nx,{decides},1\nx,01/02/2024,1\nx,30/31/2024,1\n")
        assert pd.to_datetime(read.frame.occurred_at, unit="us").dt.month.tolist() == sorted([1, month, 3])
        assert read.counts.bad_times == 1
    assert load(file, f"{HEAD}\nx,05/05/2024,1\nx,01-02-24,1\n").counts.bad_times == 1  # whose year stands first?
    assert load(file, f"{HEAD}\nx,05/05/2024,1\n", dayfirst=True).counts.kept == 1


def test_an_order_that_nothing_decides_is_asked_for(file: Path) -> None:
    text = f"{HEAD}\nx,2024-03-14,1\nx,01/02/2024,1\n"
    with pytest.raises(HistoryError, match=r"'01/02/2024' can be read in two ways.*say --dayfirst or --monthfirst"):
        load(file, text)
    assert [
        pd.Timestamp(load(file, text, dayfirst=told).frame.occurred_at[0], unit="us").month for told in (True, False)
    ] == [2, 1]
    with pytest.raises(HistoryError, match="1 like day/month and 1 like month/day"):
        load(file, f"{HEAD}\nx,13/01/2024,1\nx,01/13/2024,1\n")


# ---- ids -------------------------------------------------------------------------------------------------------------


def test_ids_that_became_floats_are_made_whole_only_together(file: Path) -> None:
    read = load(file, f"{HEAD}\n17850.0,2024-01-01,1\n17851.0,2024-01-02,1\n")
    assert read.frame.customer_id.tolist() == ["17850", "17851"]
    read = load(file, f"{HEAD}\n17850.0,2024-01-01,1\nA1,never,1\n")  # also a row that is of no use says what ids are
    assert read.frame.customer_id.tolist() == ["17850.0"]


def test_a_quoted_empty_id_is_no_id_that_is_no_float(file: Path) -> None:
    read = load(file, f'{HEAD},product_id\nx,2024-01-01,1,"7.0"\nx,2024-01-02,1,""\n')
    assert read.frame.product_id.tolist()[0] == "7"


def test_a_file_without_rows_beside_one_with_rows(tmp_path: Path) -> None:
    for name, rows in (("empty.csv", ""), ("raw.csv", "x,2024-01-01,1\n")):
        (tmp_path / name).write_text(f"{HEAD}\n{rows}")
    assert history.read([tmp_path / "empty.csv", tmp_path / "raw.csv"], {}).counts.read == 1


def test_ids_of_all_blocks_decide(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvs, "BLOCK", 64)
    rows = [f"{n}.0,2024-01-01,1" for n in range(100, 150)]
    assert load(file, "\n".join([HEAD, *rows])).frame.customer_id.tolist() == [str(n) for n in range(100, 150)]
    assert load(file, "\n".join([HEAD, "A,2024-01-01,1", *rows])).frame.customer_id[1] == "100.0"


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (
            ["12345", "23456", "34567", "45678", "56789", "4711"],
            [("told: shorter than 5 digits; leading zeros may be lost", 1)],
        ),
        (["12345", "23456", "34567", "45678", "56789", "04711"], []),
        (["12345", "4711"], []),
        (["00042", "42", "7"], [("told: written with and without leading zeros", 2)]),
        (["x42", "0x42"], []),
    ],
)
def test_lost_zeros_are_told_and_nothing_is_changed(file: Path, ids: list[str], told: list[tuple[str, int]]) -> None:
    read = load(file, "\n".join([HEAD, *(f"{name},2024-01-01,1" for name in ids)]))
    assert read.frame.customer_id.tolist() == ids
    assert [line[1:] for line in notes(read.counts, "ids")] == told


@pytest.mark.parametrize("column", ["customer_id", "product_id"])
@pytest.mark.parametrize(
    ("ids", "read"),
    [
        (["17850.0", "17851", "17850"], ["17850", "17851", "17850"]),
        (["7", "7.0", "08"], ["7", "7", "08"]),
        (["1", "2", "3"], ["1", "2", "3"]),
    ],
)
def test_ids_that_became_floats_in_a_part_of_the_file_are_made_whole(
    file: Path, column: str, ids: list[str], read: list[str]
) -> None:
    """Of two exports in one file. Mutation caught: only where all of them are floats."""
    other = {"customer_id": "product_id", "product_id": "customer_id"}[column]
    found = load(file, "\n".join([f"{column},{other},occurred_at,amount", *(f"{name},x,2024-01-01,1" for name in ids)]))
    assert found.frame[column].tolist() == read
    changed = sum(name.endswith(".0") for name in ids)
    told = [("changed: 17850.0 to 17850 and the like", changed)] * bool(changed)
    assert [line[1:] for line in notes(found.counts, "ids") if line[0] == column] == told


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (['"17,850"', "17850", "A1"], [("'17,850' and '17850'", 2)]),
        (["17850.0", "17850", "A1", "17850"], [("'17850.0' and '17850'", 3)]),
        (["1'234'567", "1 234 567", "B-2", "7"], [("\"1'234'567\" and '1 234 567'", 2)]),
        (["17.850", '"17,850.0"', "A"], [("'17.850' and '17,850.0'", 2)]),
        (["17850.0", "17851", "A1"], []),
        (["1.5", "15", "A"], []),
        (["12,34", "1234", "A"], []),
    ],
)
@pytest.mark.parametrize("files", [1, 2])
def test_one_number_written_in_two_ways_is_told_and_nothing_is_changed(
    tmp_path: Path, files: int, ids: list[str], told: list[tuple[str, int]]
) -> None:
    """In one file and between two. Mutations caught: each spelling a customer of its own, untold."""
    rows = [f"{name},2024-01-01,1" for name in ids]
    paths = [tmp_path / f"{n}.csv" for n in range(files)]
    for n, path in enumerate(paths):
        path.write_text(
            "\n".join([HEAD, *(rows if files == 1 else [rows[n], "A1,2024-01-02,1", *rows[2:][n:]])]) + "\n"
        )
    found = history.read(paths, {})
    lines = [line[1:] for line in notes(found.counts, "ids") if "one number" in line[1]]
    assert [what.partition(" are one number")[0].removeprefix("told: ") for what, _ in lines] == [
        what for what, _ in told
    ]
    if files == 1:
        assert [n for _, n in lines] == [n for _, n in told]
    assert not any("changed" in line[1] for line in notes(found.counts, "ids"))


# ---- missing values --------------------------------------------------------------------------------------------------

GAPS = (
    "customer_id,occurred_at,quantity,unit_price,product_id,event_type\n"
    "x,2024-01-01,1,1.00,A,\nx,2024-01-02,2,2.00,B,\nx,2024-01-03,2,9.00,B,\nx,2024-01-04,1,2.00,,\n"
    "x,2024-01-05,1,,A,\nx,2024-01-06,, ,A,view\n"
)


@pytest.mark.parametrize(
    ("how", "amount"), [("mean", 35_000), ("median", 20_000), ("mode", 20_000), ("constant:0.5", 5_000), ("drop", None)]
)
def test_a_missing_price_is_filled_or_drops_the_purchase_but_no_view(file: Path, how: str, amount: int | None) -> None:
    read = load(file, GAPS, missing={"unit_price": how})
    assert read.frame.amount.tolist() == [10_000, 40_000, 180_000, 20_000, *([amount] if amount else []), 0]
    dropped = 0 if amount else 1
    assert (read.counts.bad_numbers, sum(n for _, n in read.counts.missing)) == (0, dropped)
    filled = [rows for _, what, rows in notes(read.counts, "missing") if what.startswith("changed")]
    assert filled == [1] * (amount is not None)


@pytest.mark.parametrize(("how", "quantity"), [("median", 3), ("mode", 2)])
def test_what_is_missing_is_filled_from_a_cleaned_history_too(file: Path, how: str, quantity: int) -> None:
    """Its numbers have no format. Mutation caught: one asked of every column of numbers."""
    head, cleaned = f"{HEAD},quantity", file.with_suffix(".parquet")
    history.write_parquet(load(file, f"{head}\na,2024-01-01,5,2\na,2024-01-02,5,2\na,2024-01-03,5,4\n").frame, cleaned)
    file.write_text(f"{head}\nb,2024-01-04,6,\nb,2024-01-05,6,4\n")
    both = history.read([cleaned, file], {}, policy=Policy(missing={"quantity": how}))
    assert both.frame.quantity.tolist() == [20_000, 20_000, 40_000, quantity * 10_000, 40_000]


@pytest.mark.parametrize("gap", [" NULL ", "n/a ", "\t(leer)", "  "])
def test_a_word_for_nothing_between_blanks_is_missing(file: Path, gap: str) -> None:
    """Also among numbers with a currency. What is quoted without blanks is none. Mutations caught: a word is one only
    as it stands; a number that is not read, whatever stands there."""
    text = f"customer_id,occurred_at,amount\nx,2024-01-01,2\nx,2024-01-02,{gap}\nx,2024-01-03,4\n"
    for how, filled in (("mean", 30_000), ("constant:7", 70_000)):
        assert load(file, text, missing={"amount": how}).frame.amount.tolist() == [20_000, filled, 40_000]
        euros = text.replace(",2\n", ",2 €\n").replace(",4\n", ",4 €\n")
        assert load(file, euros, missing={"amount": how}).frame.amount.tolist() == [20_000, filled, 40_000]
    assert load(file, text, missing={"amount": "drop"}).counts.missing == (("amount", 1),)
    sold = f"customer_id,occurred_at,amount,product_id\nx,2024-01-01,2,A\nx,2024-01-02,4,{gap}\n"
    assert load(file, sold, missing={"product_id": "mode"}).frame.product_id.tolist() == ["A", "A"]
    assert load(file, text.replace(gap, '"NULL"'), missing={"amount": "drop"}).counts.bad_numbers == 1


def test_a_missing_product_and_the_default(file: Path) -> None:
    assert load(file, GAPS, missing={"product_id": "drop"}).counts.missing == (("product_id", 1),)
    assert load(file, GAPS, missing={"product_id": "mode"}).frame.product_id[3] == "A"  # as frequent as B with the view
    assert load(file, GAPS).counts.bad_numbers == 1


DATED = "customer_id,occurred_at,amount,status\n"


@pytest.mark.parametrize("how", ["mean", "median", "mode"])
def test_only_rows_that_count_decide_what_is_filled_in(file: Path, how: str) -> None:
    """Those from --from to the cut-off that are wanted. Mutations caught, a row for each: rows of before or after, at
    the cut-off itself, unwanted, without a time (a total), a day that has not come."""
    rows = ["x,2023-12-31T23:59Z,900,paid", "x,2024-01-01T00:00Z,2,paid", "x,2024-01-02T00:00Z,,paid"]
    rows += [
        "x,2024-01-03T00:00Z,900,paid",
        "x,2024-01-02T01:00Z,900,refunded",
        "Total,,900,paid",
        "x,2031-01-01,9,paid",
    ]
    file.write_text(DATED + "\n".join(rows) + "\n")
    policy = Policy(missing={"amount": how}, only=(("status", "paid"),))
    first, until, now = (utc(f"2024-01-0{day}") for day in (1, 3, 4))
    read = history.clean(files.look([file], {}, policy), "UTC", until, None, policy, now=now, since=first)
    assert read.frame["amount"].tolist() == [20_000] * 2
    assert [rows for _, _, rows in notes(read.counts, "missing")] == [1, 1]


def test_the_cut_off_by_default_bounds_what_is_filled_in_too(file: Path) -> None:
    """Rows of the last event's day do not decide; where all is kept they do. Mutation caught: a statistic of all rows
    where no cut-off was said."""
    file.write_text(DATED + "x,2024-01-01T10:00Z,2,\nx,2024-01-02T10:00Z,,\nx,2024-01-03T10:00Z,900,\n")
    policy = Policy(missing={"amount": "mean"})
    for whole, amounts in ((False, [20_000] * 2), (True, [20_000, 4_510_000, 9_000_000])):
        opened = files.look([file], {}, policy)
        read = history.clean(opened, "UTC", None, None, policy, now=utc("2024-01-04"), whole=whole)
        assert read.frame["amount"].tolist() == amounts


def test_lines_that_take_their_time_from_above_decide_too(file: Path) -> None:
    """Mutation caught: their time looked for before it was filled down, so that the 9 is not among the mean's."""
    text = "order_id,customer_id,occurred_at,amount\no1,x,2024-01-01,1\no1,,,9\no2,x,2024-01-02,\n"
    file.write_text(text)
    policy = Policy(missing={"amount": "mean"}, fill_down=True)
    assert history.read([file], {}, until=utc("2024-01-03"), policy=policy).frame["amount"].tolist()[-1] == 50_000


def test_a_stream_counts_rows_without_what_was_made_from_others(file: Path) -> None:
    """A sale without money is none there, one without a product is one; what the owner said (constant) stays. Mutations
    caught: filled rows that stay, or all leave; values of one filled in beside another; what was said taken out too."""
    text = "customer_id,occurred_at,amount,quantity,product_id\n"
    text += "x,2024-01-01,1,2,A\nx,2024-01-02,,2,A\nx,2024-01-03,3,2,\nx,2024-01-04,3,,A\n"
    missing = {"amount": "mean", "product_id": "mode", "quantity": "mode"}
    read = load(file, text, missing=missing)
    assert read.frame["product_id"].tolist() == ["A"] * 4
    assert (read.counts.filled, read.counts.kept) == (3, 4)
    streamed = read.streamed.frame[["amount", "quantity", "product_id"]].fillna("none")
    assert streamed.values.tolist() == [[10_000, 20_000, "A"], [30_000, 20_000, "none"], [30_000, 10_000, "A"]]
    pd.testing.assert_frame_equal(read.streamed.frame, load(file, text).frame)
    said = load(file, text, missing={"amount": "constant:5"})
    assert (said.streamed is said, said.counts.filled) == (True, 0)
    both = load(file, text + "x,2024-01-05,,2,\n", missing={"amount": "constant:5", "product_id": "mode"})
    last = both.streamed.frame[["amount", "product_id"]].fillna("none")
    assert (len(last), *last.iloc[-1]) == (5, 50_000, "none")


def test_what_was_filled_in_with_what_would_stand_there_anyhow_is_no_difference(file: Path) -> None:
    """A row without a type is a purchase; most are."""
    text = "customer_id,occurred_at,amount,event_type\nx,2024-01-01,1,purchase\nx,2024-01-02,1,\n"
    read = load(file, text, missing={"event_type": "mode"})
    assert (read.streamed is read, read.counts.filled) == (True, 0)
    other = load(file, text.replace("purchase", "view"), missing={"event_type": "mode"})
    assert (other.frame["kind"].tolist(), other.streamed.frame["kind"].tolist()) == ([VIEW] * 2, [VIEW, PURCHASE])


def test_of_equal_keys_a_stream_counts_the_first_in_time(file: Path) -> None:
    """The file's first row is the later one: at an earlier moment nobody knew it. Mutation caught: its key decides."""
    text = "customer_id,occurred_at,amount,order_id\nx,2024-01-05,7,o\nx,2024-01-01,1,o\n"
    read = load(file, text, key=("order_id",))
    assert (read.frame["amount"].tolist(), read.streamed.frame["amount"].tolist()) == ([70_000], [10_000])


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1), st.sampled_from(["mean", "median", "mode"]))
def test_statistics_are_those_of_pandas(values: list[int], how: str) -> None:
    found = steps._statistic("amount", how, Counter(map(str, values)))
    series = pd.Series(values)
    oracle = {"mean": series.mean(), "median": series.median(), "mode": series.mode()[0]}[how]
    assert abs(money(column(found))[0][0] - oracle) <= 0.5
    whole = steps._statistic("quantity", how, Counter(map(str, values)))
    assert money(column(whole))[0][0] % 10_000 == 0


def test_a_column_without_any_value_has_no_statistic(file: Path) -> None:
    text = "customer_id,occurred_at,quantity,unit_price\nx,2024-01-01,1,\nx,2024-01-02,1,NaN\n"
    with pytest.raises(HistoryError, match="--missing unit_price=median: no row from --from to the cut-off holds"):
        load(file, text, missing={"unit_price": "median"})
    assert load(file, text, missing={"unit_price": "constant:2"}).frame.amount.tolist() == [20_000] * 2


# ---- keys and cancelled sales ----------------------------------------------------------------------------------------


def test_the_first_of_equal_keys_stays_and_a_missing_part_equals_nothing(file: Path) -> None:
    text = f"{HEAD},order_id,product_id\nx,2024-01-02,1,o,A\nx,2024-01-01,2,o,A\nx,2024-01-01,3,o,\nx,2024-01-01,4,o,\n"
    read = load(file, text, key=("order_id", "product_id"))
    assert (sorted(read.frame.amount), read.counts.keys) == ([10_000, 30_000, 40_000], 1)


Sale = tuple[int, int, str, str | None, str | None, int, int]
trades = st.tuples(
    st.sampled_from([PURCHASE, PURCHASE, RETURN, 2]), st.integers(0, 3), st.sampled_from("xy"),
    st.sampled_from(["A", "B", None]), st.sampled_from(["o1", "o2", None]), st.integers(1, 2), st.integers(1, 2),
)  # fmt: skip


def matching(rows: list[Sale]) -> set[int]:
    """Brute force: each return in turn takes the latest earlier sale that is equal and still open."""
    gone: set[int] = set()
    for at, (kind, _, customer, product, order, quantity, amount) in enumerate(rows):
        if kind != RETURN or (product is None and order is None):
            continue
        for before in reversed(range(at)):
            other, _, *rest = rows[before]
            same = rest[0] == customer and rest[1] == product and rest[3:] == [quantity, amount]
            if other == PURCHASE and before not in gone and same and (product is not None or rest[2] == order):
                gone |= {before, at}
                break
    return gone


@settings(max_examples=60)
@given(st.lists(trades, max_size=25))
@example([(PURCHASE, 0, "x", "A", None, 1, 1), (PURCHASE, 1, "x", "A", None, 1, 1), (RETURN, 2, "x", "A", None, 1, 1)])
@example([(PURCHASE, 0, "x", None, "o1", 1, 1), (RETURN, 1, "x", None, "o2", 1, 1)])
def test_cancelled_sales_are_those_of_a_brute_force_matching(shared: Path, rows: list[Sale]) -> None:
    rows = sorted([(PURCHASE, 0, "first", None, "o0", 1, 9), *rows], key=lambda row: row[1])
    kinds = {PURCHASE: "purchase", RETURN: "return", 2: "view"}
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow([*HEAD.split(","), "event_type", "product_id", "order_id", "quantity", "line"])
    for line, (kind, day, customer, product, order, quantity, amount) in enumerate(rows):
        table.writerow([customer, f"2024-01-0{day + 1}", amount, kinds[kind], product, order, quantity, line])
    read, gone = load(shared, out.getvalue()), matching(rows)
    assert read.frame.event_id.tolist() == [f"h:0:{n + 1}" for n in range(len(rows)) if n not in gone]
    assert read.counts.cancelled == len(gone)
    assert load(shared, out.getvalue(), cancelled=False).counts.kept == len(rows)


# ---- outliers --------------------------------------------------------------------------------------------------------


def shop(amounts: Sequence[float]) -> str:
    return "\n".join([HEAD, *(f"c{n},2024-01-01,{amount:.2f}" for n, amount in enumerate(amounts))])


@pytest.mark.parametrize("method", ["iqr", "zscore", "isolation-forest"])
def test_outliers_are_flagged_capped_or_dropped(file: Path, method: str) -> None:
    """Mutation caught: what is far too little moved to nothing, as if a purchase for nothing were a usual one."""
    rng = np.random.default_rng(1)
    text = shop([*np.exp(rng.normal(3, 0.5, 200)), 100_000, 0.01, 0.02, 0, -90_000])
    plain, flag, cap, drop = (load(file, text, outliers=method, action=a) for a in ("flag", "flag", "cap", "drop"))
    ((_, what, found),) = notes(flag.counts, "outliers")
    assert what == f"flagged ({method})"
    assert 1 <= found <= 10
    pd.testing.assert_frame_equal(flag.frame, load(file, text).frame)
    pd.testing.assert_frame_equal(flag.frame, plain.frame)
    assert (drop.counts.outliers, drop.counts.kept) == (found, 205 - found)
    dropped = set(drop.frame.event_id)
    usual = drop.frame.amount[drop.frame.amount > 0]
    for before, after, name in zip(flag.frame.amount, cap.frame.amount, flag.frame.event_id, strict=True):
        nearest = min(usual, key=lambda amount: (abs(amount - before), amount))
        assert after == (before if name in dropped else nearest)
    assert {0, -900_000_000} <= set(drop.frame.amount)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_fences_and_deviations_are_those_of_pandas(amounts: list[int]) -> None:
    frame = pd.DataFrame({"kind": PURCHASE, "amount": amounts})
    logs = pd.Series(np.log(amounts))
    low, high = logs.quantile(0.25), logs.quantile(0.75)
    if low < high:
        oracle = ~logs.between(low - 1.5 * (high - low), high + 1.5 * (high - low))
        assert steps.outliers(frame, "iqr").tolist() == oracle.tolist()
    oracle = (logs - logs.mean()).abs() > 3 * logs.std(ddof=0)
    assert steps.outliers(frame, "zscore").tolist() == (oracle & (logs.nunique() > 1)).tolist()


def test_constant_amounts_have_no_outlier_and_a_range_of_0_is_refused(file: Path) -> None:
    for method in ("iqr", "zscore", "isolation-forest"):
        assert notes(load(file, shop([5] * 30), outliers=method).counts, "outliers")[0][2] == 0
    with pytest.raises(HistoryError, match="half of the purchases have one amount"):
        load(file, shop([*[5] * 30, 7]), outliers="iqr")


# ---- the whole -------------------------------------------------------------------------------------------------------

GARBAGE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6)
cells = st.tuples(
    GARBAGE | st.sampled_from(["x", "1.0", ""]),
    GARBAGE | st.sampled_from(["2024-01-01", "13/02/2024", "31/02/2024", ""]),
    GARBAGE | st.sampled_from(["1", "1,234.5", "-2.5", "$3", "", "nan"]),
    GARBAGE | st.sampled_from(["A", ""]),
)


@settings(max_examples=60)
@given(st.lists(cells, max_size=20), st.sampled_from(["drop", "constant:1"]), st.sampled_from(["drop", "cap"]))
def test_counts_add_up_on_garbage(shared: Path, rows: list[tuple[str, ...]], missing: str, action: str) -> None:
    out = io.StringIO()
    rows = [*rows, ("x", "2024-01-13", "1.5", "A")]
    csv.writer(out).writerows([[*HEAD.split(","), "product_id"], *rows])
    policy: dict[str, Any] = {
        "missing": {"amount": missing},
        "key": ("product_id",),
        "outliers": "zscore",
        "action": action,
    }
    try:
        counts = load(shared, out.getvalue(), decimal=".", dayfirst=True, **policy).counts
    except HistoryError as error:
        if "no format of its own" not in str(error):
            raise
        return
    parts = [line.rows for line in counts.lines() if line.what.startswith(("dropped", "kept"))]
    assert counts.read == len(rows) == sum(parts)


@settings(max_examples=60)
@given(st.lists(trades, max_size=25))
def test_cleaning_a_cleaned_history_changes_nothing(shared: Path, rows: list[Sale]) -> None:
    lines = [
        f"x{c},2024-01-0{d + 1},{a if k != RETURN else -a}.5,{p or ''},{o or ''},{q}.25" for k, d, c, p, o, q, a in rows
    ]
    once = load(shared, "\n".join([f"{HEAD},product_id,order_id,quantity", "x,2024-01-01,7,,,1", *lines]))
    history.write_parquet(once.frame, shared.with_name("once.parquet"))
    again = history.read([shared.with_name("once.parquet")], {})
    pd.testing.assert_frame_equal(again.frame, once.frame)
    rows_kept = len(once.frame)
    assert again.counts == Counts(rows_kept, 0, 0, 0, 0, 0, 0, rows_kept, 0)


def test_a_file_of_every_kind_comes_back_equal(file: Path) -> None:
    types = ["purchase", "return", "view", "cart"]
    once = load(
        file,
        "\n".join(
            [f"{HEAD},event_type", *(f"x,2024-01-01T10:00:00.00000{n},46{n}.0001,{t}" for n, t in enumerate(types))]
        ),
    )
    history.write_parquet(once.frame, file)
    pd.testing.assert_frame_equal(history.read([file], {}).frame, once.frame)


def test_lines_that_do_not_add_up_do_not_exist() -> None:
    with pytest.raises(AssertionError, match="add up"):
        Counts(3, 0, 0, 0, 0, 0, 0, 1, 0, missing=(("product_id", 1),))
    whole = Counts(
        4, 0, 0, 0, 0, 0, 0, 1, 0, missing=(("product_id", 1),), cancelled=2, notes=(Line("ids", "", "told", 1),)
    )
    steps = [line.step for line in whole.lines()]
    assert steps[1:-1] == sorted(steps[1:-1], key=STEPS.index)
    assert re.search(r"^- without product_id +1$", whole.table(), re.MULTILINE)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_page_shows_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, session, report = re.findall(r"```\w*\n(.*?)```", DOCS.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_text(raw, encoding="cp1252")
    command, printed = session.replace("\\\n", "").split("\n", 1)
    done = CliRunner().invoke(main, command.removeprefix("python -m offline").split())
    assert (done.exit_code, done.stderr, done.stdout) == (0, "", printed)
    assert Path("quality.csv").read_text() == report


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--encoding klingon", "--encoding 'klingon' is not known"),
        ("--encoding rot13", "--encoding 'rot13' is not known"),
        ("--delimiter ab", "--delimiter 'ab': say one ASCII character"),
        ("--delimiter ;", "columns look separated by ','; say so with --delimiter"),
        ("--missing unit_price", "--missing 'unit_price': say ours=theirs"),
        ("--missing price=drop", "--missing: 'price' is no name of ours; nearest is 'unit_price'"),
        ("--missing customer_id=mode", "for customer_id say drop"),
        ("--missing amount=constant:x", "for amount say drop or mode or constant:VALUE or mean or median"),
        ("--missing product_id=drop", "no column 'product_id'; nearest is"),
        ("--key orderid", "--key: 'orderid' cannot be compared; nearest is 'order_id'"),
        ("--key product_id", "no column 'product_id'"),
        ("--outlier-action cap", "nobody looks for outliers; say how too, for example --outliers iqr"),
        ("--outlier-action drop", "--outlier-action drop: nobody looks for outliers"),
        ("--quality-report /nowhere/q.csv", "--quality-report /nowhere/q.csv: "),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path: Path, options: str, said: str) -> None:
    (tmp_path / "raw.csv").write_text(f"{HEAD}\nx,2024-01-01,5\n")
    arguments = ["clean", str(tmp_path / "raw.csv"), "--out", str(tmp_path / "out.parquet"), *options.split()]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("offline: ")
    assert said in line
    assert not (tmp_path / "out.parquet").exists()


def test_a_history_of_which_nothing_is_left_is_one_line(file: Path) -> None:
    with pytest.raises(HistoryError, match="no row is left"):
        load(file, f"{HEAD},product_id\nx,2024-01-01 10:00,5,A\nx,2024-01-01 10:16,-5,A\n")


# ---- ids that are made up --------------------------------------------------------------------------------------------
def test_ids_of_a_rows_content_are_the_same_in_another_file_and_no_others(file: Path) -> None:
    """So that what is replayed from a file is no copy of another file's row, and a copy of itself. Mutations caught:
    the row's place; equal rows that share an id."""
    rows = ["c1,2024-01-01,5", "c1,2024-01-02,6", "c1,2024-01-02,6"]
    first = load(file, "\n".join([HEAD, *rows]) + "\n", by_content=True).frame
    longer = load(file, "\n".join([HEAD, "c1,2024-01-01,7", *rows, "c1,2024-01-02,6"]) + "\n", by_content=True).frame
    assert first["event_id"].is_unique
    assert longer["event_id"].is_unique
    assert set(longer["event_id"]) > set(first["event_id"])
    assert len(longer) == len(first) + 2
    assert load(file, "\n".join([HEAD, *rows]) + "\n").frame["event_id"].tolist() == ["h:0:1", "h:0:2", "h:0:3"]
