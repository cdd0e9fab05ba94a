"""Exports as shops have them: what was misread, refused or lost in silence is read, or one line says what to do."""

import gzip
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from jobs import run
from refusal import one_line

from offline.__main__ import main
from offline.errors import HistoryError
from offline.history import csvs, look, losses
from offline.history import read as history
from offline.history.policy import Policy
from offline.history.read import History
from offline.history.times import times

HEAD = "customer_id,occurred_at,amount"
GOOD = "good,2024-01-01,1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "export"


def load(path: Path, *lines: str, head: str = HEAD, columns: dict[str, str] | None = None, **policy: Any) -> History:
    path.write_text("\n".join([head, *lines, ""]))
    return history.read([path], columns or {}, policy=Policy(**policy))


def refused(path: Path, *lines: str, head: str = HEAD, **policy: Any) -> str:
    with pytest.raises(HistoryError) as error:
        load(path, *lines, head=head, **policy)
    assert "\n" not in str(error.value)
    return str(error.value)


def amounts(read: History) -> list[float]:
    return [amount / 10_000 for amount in read.frame["amount"]]


def told(read: History, step: str) -> list[str]:
    return [f"{line.column}: {line.what} {line.rows}" for line in read.counts.notes if line.step == step]


# ---- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2023-05-01 12:00:00 -0400", "2023-05-01T16:00:00"),
        ("2023-05-01 12:00 +05:30", "2023-05-01T06:30:00"),
        ("2023-05-01 12:00:00.25 UTC", "2023-05-01T12:00:00.25"),
        ("2023-05-01 12:00:00 +0000 UTC", "2023-05-01T12:00:00"),
        ("2024-07-01 12:00 EDT", "2024-07-01T16:00:00"),
        ("2024-07-01 12:00 Europe/Berlin", "2024-07-01T10:00:00"),
        ("2024-03-05 09:07:09 America/New_York", "2024-03-05T14:07:09"),  # no AM
        ("2024-03-05 09:07 Pacific/Auckland", "2024-03-04T20:07:00"),
        ("2024-03-05 9:07 PM America/Chicago", "2024-03-06T03:07:00"),
        ("2024-10-27T02:30:00[Europe/Berlin]", "2024-10-27T00:30:00"),  # comes twice: the first
        ("2024-03-31T02:30:00[Europe/Berlin]", "2024-03-31T01:00:00"),  # is skipped: after the gap
        ("2024-07-01T12:00:00-04:00[America/New_York]", "2024-07-01T16:00:00"),
        ("12-Jan-2024", "2024-01-12T00:00:00"),
        ("12-JAN-24 03.05.00.000000 PM", "2024-01-12T15:05:00"),
        ("Jan 12, 2024 3:05 PM", "2024-01-12T15:05:00"),
        ("January 12th, 2024 at 12:05 a.m.", "2024-01-12T00:05:00"),
        ("12. März 2024, 10:05 Uhr", "2024-03-12T10:05:00"),
        ("2 de enero de 2024 21:03 hs.", "2024-01-02T21:03:00"),
        ("20240112 10:05:22", "2024-01-12T10:05:22"),
        ("1er août 2024 à 10h05", "2024-08-01T10:05:00"),
        ("12 de enero de 2024", "2024-01-12T00:00:00"),
        ("12/Jan/2024:10:00:00 +0100", "2024-01-12T09:00:00"),
        ("Fri, 12 Jan 2024 10:05:00 GMT", "2024-01-12T10:05:00"),
        ("Fri Jan 12 2024 10:05:00 GMT+0100 (Central European Standard Time)", "2024-01-12T09:05:00"),
        ("Fri Jan 12 10:05:00 2024", "2024-01-12T10:05:00"),
        ("2024-1-2 9:05", "2024-01-02T09:05:00"),
        ("2024-01-12 03:05:00 PM", "2024-01-12T15:05:00"),
        ("2024.01.12", "2024-01-12T00:00:00"),
        ("2024-01-12T10:05:00,5", "2024-01-12T10:05:00.5"),
        ("20240112100500", "2024-01-12T10:05:00"),
        ("202401121005", "2024-01-12T10:05:00"),
        ("20240112T100500Z", "2024-01-12T10:05:00"),
        ("1704067200", "2024-01-01T00:00:00"),
        ("1704067200000", "2024-01-01T00:00:00"),
        ("1704067200,5", "2024-01-01T00:00:00.5"),
        ("1704067200000001", "2024-01-01T00:00:00.000001"),
        ("1704067200000001500", "2024-01-01T00:00:00.000002"),
    ],
)
def test_times_as_programs_and_people_write_them(text: str, meant: str) -> None:
    found, _ = times(pa.array([text]), "UTC")
    assert found.tolist() == [np.datetime64(meant, "us").astype(int)]


@pytest.mark.parametrize(
    "text", ["12 Foo 2024", "32 Jan 2024", "2024-01-12 25:00 UTC", "12 Jan", "2024-01-12 10:00 XYZ"]
)
def test_what_is_not_quite_a_time(text: str) -> None:
    assert times(pa.array([text]), "UTC")[0].tolist() == [-1]


def test_a_spreadsheets_days_are_read_where_the_whole_column_looks_like_them(file: Path) -> None:
    read = load(file, *(f"c,{day},1" for day in ("45292.5", "45293", '"45294,25"')))
    assert read.frame["occurred_at"].tolist() == [
        np.datetime64(text, "us").astype(int) for text in ("2024-01-01T12", "2024-01-02", "2024-01-03T06")
    ]
    assert told(read, "dates") == ["occurred_at: told: numbers read as a spreadsheet's days since 1899-12-30 3"]
    assert load(file, GOOD, "c,45292.5,1").counts.bad_times == 1


TWO = "customer_id,occurred_at,time_of_day,amount"


@pytest.mark.parametrize(
    ("day", "clock", "meant"),
    [
        ("01/25/2024", "1:05:22 PM", "2024-01-25T13:05:22"),
        ("25.01.2024", "13:05 Uhr", "2024-01-25T13:05"),
        ("20240125", "130522", "2024-01-25T13:05:22"),
        ("20240125", "905", "2024-01-25T09:05"),
        ("2024-01-25", "5", "2024-01-25T00:05"),
        ("2024-01-25 00:00:00", "1899-12-30 13:05:22", "2024-01-25T13:05:22"),
        ("1/25/2024 12:00:00 AM", "13:05", "2024-01-25T13:05"),
        ("2024-01-25T00:00", "0:00", "2024-01-25"),
        ("2024-01-25", " ", "2024-01-25"),
        ("2024-01-25", "", "2024-01-25"),
    ],
)
def test_a_date_and_a_time_of_day_in_two_columns_are_one_moment(file: Path, day: str, clock: str, meant: str) -> None:
    read = load(file, f"c,{day},{clock},5", head=TWO)
    assert read.frame["occurred_at"].tolist() == [np.datetime64(meant, "us").astype(int)]


def test_a_time_of_day_beside_one_or_none_of_its_date_is_no_time(file: Path) -> None:
    """Mutation caught: of two times of day the first, or the second, is taken."""
    read = load(
        file, "c,2024-01-25 10:00,13:05,5", "c,2024-01-25,25:05,5", "c,,13:05,5", "c,2024-01-25,10:00,5", head=TWO
    )
    assert (read.counts.bad_times, read.counts.kept) == (3, 1)


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        ("Datum;Uhrzeit;Kunde;Betrag", ["05.01.2024;13:05;c1;5,00", "25.01.2024;9:05;c2;7,50"]),
        ("ORDER DATE,CUSTOMER,TOTAL,TIME", ["20240105,c1,5.00,130500", "20240125,c2,7.50,090500"]),
    ],
)
def test_a_column_of_times_of_day_is_guessed_beside_one_of_dates(file: Path, head: str, rows: list[str]) -> None:
    """Mutation caught: it is guessed beside dates that have a time of day."""
    file.write_text("\n".join([head, *rows, ""]))
    looked = look.look(file, Policy())
    read = history.read([file], looked.columns, policy=Policy(dayfirst=True))
    assert [np.datetime64(us, "us") for us in read.frame["occurred_at"].tolist()] == [
        np.datetime64("2024-01-05T13:05"),
        np.datetime64("2024-01-25T09:05"),
    ]
    assert "of which zone are its times (timezone: Europe/Berlin)? UTC unless it is said" in looked.questions
    file.write_text("Date,Time,Customer,Total\n2024-01-05 13:05,13:05,c1,5\n2024-01-06 09:05,09:05,c2,7\n")
    assert "time_of_day" not in look.look(file, Policy()).columns


@pytest.mark.parametrize("zone", ["CST", "IST", "BST"])
def test_a_zone_that_means_several_is_asked_about(file: Path, zone: str) -> None:
    said = refused(file, f"c,2024-01-01 10:00 {zone},1")
    assert f"'2024-01-01 10:00 {zone}' ends in the name of a zone that means several; write its offset" in said


def test_the_line_speaks_of_what_failed_alone(file: Path) -> None:
    assert refused(file, "c,someday,5").endswith("no row can be used (1 bad time); times like 'someday' are not read")
    said = refused(file, 'c,2024-01-01,"Zoë, 12"')
    assert said.endswith("no row can be used (1 bad number); numbers like 'aaa, 99' are not read")  # its form alone


# ---- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "meant"),
    [
        (["100.00", "(40.00)", '"(1,000.00)"'], [100, -40, -1000]),
        (["$5.25", "$(40.00)", "($7)", "-$3"], [5.25, -40, -7, -3]),
        (["100.00-", "5.5", '"1,000.25-"'], [100 * -1, 5.5, -1000.25]),
        (["\u22125.5", "\u20133.25"], [-5.5, -3.25]),
        (['"kr 1 000,50"', '"kr. 20,00"'], [1000.5, 20]),
        (['"1.000,-"', '"20,-"', '"15,50"'], [1000, 20, 15.5]),
        (['"12,50 zł"', '"1 234,00 zł"'], [12.5, 1234]),
        (["EUR 5.50", "6.25 EUR"], [5.5, 6.25]),
        (["US$5.50", '"US$1,234.00"'], [5.5, 1234]),
        (["Fr. 1'234.50", "Fr. 5.\u2013"], [1234.5, 5]),
        (["12 руб.", "5 руб."], [12, 5]),  # noqa: RUF001
        (["3 Taler", "4 Taler"], [3, 4]),
        (['"12,34,567.50"', '"1,00,000.00"'], [1234567.5, 100000]),
        (["1 234 567", "12 345"], [1234567, 12345]),
        (["12.5 %", "5%"], [12.5, 5]),
    ],
)
def test_amounts_as_bookkeepers_write_them(file: Path, texts: Sequence[str], meant: Sequence[float]) -> None:
    read = load(file, *(f"c{n},2024-01-{n + 1:02},{text}" for n, text in enumerate(texts)))
    assert (amounts(read), read.counts.bad_numbers) == (list(meant), 0)


@pytest.mark.parametrize("text", ["2.5k", "3 Mio.", "5 CR", "--5", "(-5)", "12.05.2024", "five"])
def test_what_is_another_number_is_a_bad_one(file: Path, text: str) -> None:
    assert load(file, GOOD, f"c,2024-01-02,{text}").counts.bad_numbers == 1


def test_a_word_beside_few_numbers_makes_them_bad(file: Path) -> None:
    assert load(file, *(f"c,2024-01-01,{n}" for n in range(1, 9)), "c,2024-01-01,9 pieces").counts.bad_numbers == 1


def test_a_mark_that_is_the_decimal_mark_elsewhere_is_one_here(file: Path) -> None:
    head = "customer_id,occurred_at,quantity,unit_price"
    assert load(file, "c,2024-01-01,1,1.125", "c,2024-01-02,2.0,1.250", head=head).frame["amount"].tolist() == [
        11_250,
        25_000,
    ]
    said = refused(file, 'c,2024-01-01,1.000,"1,5"', 'c,2024-01-02,2.000,"2,5"', head=head)
    assert "column 'quantity': '1.000' can be read in two ways, and no value decides; say --decimal" in said


QUIET = [f"c{n},2024-01-{n % 28 + 1:02},{n % 900 + 1}" for n in range(200)]
LATE = {
    "a point before three digits": ["c,2024-02-01,4.766", "c,2024-02-02,2.500"],
    "a comma before three digits": ['c,2024-02-01,"1,234"'],
    "a comma before two": ['c,2024-02-01,"12,50"', "c,2024-02-02,4.766"],
    "a currency": ['c,2024-02-01,"12,50 €"', "c,2024-02-02,1.000 €"],
    "a currency and no mark": ["c,2024-02-01,12 €"],
    "a day above 12": ["c,1/31/2024,5", "c,2/3/2024,5"],
    "no day above 12": ["c,1/3/2024,5", "c,2/3/2024,5"],
}


@pytest.mark.parametrize("rows", LATE.values(), ids=LATE)
@pytest.mark.parametrize("told", [{}, {"decimal": ",", "dayfirst": False}])
def test_a_format_that_shows_late_is_found_or_asked_for_as_if_it_showed_at_once(
    file: Path, rows: list[str], told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutations caught: a first block that tells nothing taken for decided; a told mark for a currency."""
    found: list[str] = []
    for block in (1 << 20, 500):
        monkeypatch.setattr(csvs, "BLOCK", block)
        try:
            read = load(file, *QUIET, *rows, **told)
        except HistoryError as error:
            found.append(str(error))
        else:
            found.append(f"{read.frame.to_csv()}{read.counts.bad_numbers} {read.counts.bad_times}")
    asked = "can be read in two ways, and no value decides; say --d" in found[0]
    assert asked or told or found[0].endswith("\n0 0")
    assert found[0] == found[1]


# ---- ids and words for nothing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["N/A", "#N/A", "Null", "NONE", "nan", "n/a", "-", "#NULL!", "#NV", "(null)", "NaT", " NA "]
)
def test_a_word_for_nothing_is_no_customer(file: Path, word: str) -> None:
    read = load(file, GOOD, f"{word},2024-01-01,5")
    assert (read.counts.without_customer, read.frame["customer_id"].tolist()) == (1, ["good"])


def test_a_quoted_word_is_a_value_and_told(file: Path) -> None:
    read = load(file, '"NA",2024-01-01,5', '"None",2024-01-02,5')
    assert read.frame["customer_id"].tolist() == ["NA", "None"]
    assert told(read, "ids") == [
        "customer_id: told: 'NA', 'None' kept as an id: it is quoted, or the file is Parquet 2"
    ]


def test_blanks_around_ids_leave_and_are_told(file: Path) -> None:
    lines = ["c1,2024-01-01,5,p", "c1 ,2024-01-02,5,p ", " c1,2024-01-03,5,\u00a0p", "c1\u202f,2024-01-04,5,p"]
    read = load(file, *lines, head=f"{HEAD},product_id")
    assert set(read.frame["customer_id"]) == {"c1"}
    assert set(read.frame["product_id"]) == {"p"}
    assert told(read, "ids") == [
        "customer_id: changed: blanks around them left 3",
        "product_id: changed: blanks around them left 2",
    ]


@pytest.mark.parametrize("column", ["customer_id", "product_id", "order_id"])
@pytest.mark.parametrize("rounded", ["1.23457E+12", '"1,23457E+12"', "4e+15"])
def test_ids_that_a_spreadsheet_rounded_are_refused(file: Path, column: str, rounded: str) -> None:
    row = {"customer_id": "c", "order_id": "o", "product_id": "p"} | {column: rounded}
    said = refused(file, f"2024-01-01,5,{','.join(row.values())}", head=f"occurred_at,amount,{','.join(row)}")
    assert (
        f"column '{column}': {rounded.strip(chr(34))!r} is a number of which a spreadsheet left the first digits"
        in said
    )
    assert "export it again with that column as text, or say --ids rounded" in said


def test_rounded_ids_far_below_are_refused_too_and_codes_are_not(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvs, "BLOCK", 64)
    rows = [f"c{n},2024-01-01,1" for n in range(50)]
    assert "'1.23457E+12' is a number" in refused(file, *rows, "1.23457E+12,2024-01-02,1")
    assert load(file, *rows, "1E5,2024-01-02,1").counts.kept == 51


def test_digits_that_a_spreadsheet_does_not_keep_are_told(file: Path) -> None:
    read = load(file, "4006381333931230000,2024-01-01,5", "4006381333931240000,2024-01-01,5")
    assert told(read, "ids") == [
        "customer_id: told: digits beyond the 15th are all 0; a spreadsheet may have rounded them 2"
    ]


# ---- headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("above", "passed"),
    [("sep=;", 0), ('"sep=;"', 0), ("\n", 0), ("# exported 2024-05-01, by the shop", 1), ("Orders\n\nof May; June", 2)],
)
def test_what_stands_above_the_header_is_passed_over_and_told(file: Path, above: str, passed: int) -> None:
    read = load(file, HEAD.replace(",", ";"), "c1;2024-01-01;5", "c2;2024-01-02;6", head=above)
    assert read.frame["customer_id"].tolist() == ["c1", "c2"]
    line = f", {passed} line{'s' * (passed > 1)} above the header passed over" if passed else ""
    assert told(read, "decode") == [f": told: export: utf-8, separated by ';'{line} 2"]


def test_a_header_that_names_nothing_is_said_to_be_where_it_seems_to_be(file: Path) -> None:
    said = refused(file, "by the shop", "who,when,what", "c1,2024-01-01,5", "c2,2024-01-01,6", head="Orders")
    assert "no column 'customer_id'; the header seems to be line 3; nearest is " in said
    assert " of 'who', 'when', 'what'; nor 'occurred_at' (nearest is " in said


@pytest.mark.parametrize(
    ("head", "row", "mark"),
    [
        ("Name,Note", "A{n},x;y;z", ","),
        ("Name;Note", "A{n};b, c, d", ";"),
        ("Shop|Tags|Note", "A{n}|x;y;z;a|b,c,d,e,f", "|"),
        ("Name;Umsatz;Alter", "A{n}, B;{n},5;0", ";"),
        ("Firma\tPreis", "A, B, C{n}\t1,5", "\t"),
    ],
)
def test_a_first_line_that_every_row_fits_is_the_header(file: Path, head: str, row: str, mark: str) -> None:
    """Whatever else stands in the cells. Mutation caught: a longer header below it, of another delimiter."""
    said = refused(file, *(row.format(n=n) for n in range(60)), head=head)
    assert "the header seems to be" not in said
    assert f" of {', '.join(map(repr, head.split(mark)))};" in said


def test_a_title_with_another_delimiter_is_no_header(file: Path) -> None:
    said = refused(file, "Name;Umsatz;Alter", *(f"A{n};{n},5;{n}" for n in range(60)), head="Bericht, Mai")
    assert "the header seems to be line 2" in said
    assert " of 'Name', 'Umsatz', 'Alter';" in said


BARE = {
    "events": lambda n: [f"c{n % 20}", f"2024-01-{n % 28 + 1:02}", f"{n}.5"],
    "tills": lambda n: ["Ann" if n % 2 else "Bob", f"{n % 28 + 1}.01.2024 10:05", f"{n}"],
    "mails": lambda n: [f"k{n}@shop.example", f"{n * 3}", f"{n % 7}"],
    "numbers": lambda n: [f"{n + 100}", f"{n * 3}", f"{n}"],
}


@pytest.mark.parametrize("rows", BARE.values(), ids=BARE)
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("say", [False, True])
def test_a_file_without_a_header_is_said_to_have_none(
    tmp_path: Path, file: Path, rows: Callable[[int], list[str]], mark: str, say: bool
) -> None:
    """By every command, whether its delimiter is told or not. Mutation caught: a first row that is lost as names."""
    file.write_text("".join(f"{mark.join(rows(n))}\n" for n in range(60)))
    delimiter = ["--delimiter", mark] if say else []
    for job in ("clean", "look", "segment"):
        said = one_line(tmp_path / "out", job, file, "--out", tmp_path / "out", *delimiter)
        assert "export: there seems to be no header: line 1 holds values (" in said
        assert said.endswith("where names should be; write a line of names above it")


@pytest.mark.parametrize(
    "head", ["shop,2022,2023,2024", "2022,2023,2024,2025", "Region,2024-01-01,2024-02-01,x", "Q1,Q2,Q3,Q4", "r,1,2,3"]
)
def test_a_header_of_years_months_and_codes_is_one(file: Path, head: str) -> None:
    said = refused(file, *(f"{n},{n + 5},{n * 2},{n}.5" for n in range(20)), head=head)
    assert "no column 'customer_id'" in said
    assert "no header" not in said


@pytest.mark.parametrize(
    "name", [" Customer ID ", "\ufeffCustomer ID", '"Customer ID"', '"Customer\nID"', "Customer\u00a0ID"]
)
def test_names_compare_stripped(file: Path, name: str) -> None:
    columns = {"customer_id": " Customer  ID", "occurred_at": "Date", "amount": "Total"}
    read = load(file, "c1,2024-01-01,5", head=f"{name}, Date,Total ", columns=columns)
    assert read.frame["customer_id"].tolist() == ["c1"]


def test_all_missing_columns_are_named_at_once(file: Path) -> None:
    said = refused(file, "1,2,3", head="Customer,Day,Money")
    assert (
        "no column 'customer_id'; nearest is 'Customer' of 'Customer', 'Day', 'Money'; nor 'occurred_at' (nearest"
        in said
    )
    assert "'amount' (nearest is 'Money') (amount, or quantity and unit_price, is needed); name them" in said
    assert said.endswith("name them with --columns customer_id=...,occurred_at=...,amount=...")


def test_a_name_with_a_comma_can_be_said(file: Path, tmp_path: Path) -> None:
    file.write_text('who,when,"Total, EUR"\nc1,2024-01-01,5\n')
    columns = 'customer_id=who,occurred_at=when,amount="Total, EUR"'
    done = CliRunner().invoke(main, ["clean", str(file), "--columns", columns, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output


def test_headers_again_blank_rows_and_totals_are_counted_and_are_no_customers(file: Path) -> None:
    head, rows = "customer_id;occurred_at;amount", ["c1;2024-01-01;5", ";;", " ; ;", "c2;2024-01-02;6", "Total;;11"]
    read = load(file, rows[0], head, *rows[1:], '"Grand total";"";"11"', "  ", "Summe", head=head)
    counts = read.counts
    assert read.frame["customer_id"].tolist() == ["c1", "c2"]
    assert (counts.read, counts.headers, counts.blank, counts.totals, counts.kept) == (9, 1, 3, 3, 2)
    assert losses.shares(counts) == (0, 0)
    assert "- the header again                                             1" in counts.table()


@pytest.mark.parametrize("word", ["Total", "Zwischensumme", "Gesamtergebnis", "Total général", "Sub-total:", "**"])
def test_a_total_with_a_date_is_told_and_one_without_ends_the_list(file: Path, word: str) -> None:
    """A total of each day looks like a customer, which it may be. Mutation caught: a name that begins so is told."""
    rows = [f"2024-01-0{n},{who},{amount}" for n in (1, 2) for who, amount in (("a", 2), ("Total Wine", 3), (word, 5))]
    found = load(file, *rows, f",{word},10", head="occurred_at,customer_id,amount")
    lines = [line for line in found.counts.lines() if "totals, leave them out" in line.what]
    assert [(line.what, line.rows) for line in lines] == [
        (f"told: {word!r} is a customer; if its rows are totals, leave them out with --except", 2)
    ]
    assert (found.counts.totals, found.counts.kept) == (1, 6)


@pytest.mark.parametrize("guests", ["Walk-in Customer", "0"])
def test_an_id_under_which_all_guests_seem_to_stand_is_told_and_asked_about(file: Path, guests: str) -> None:
    """A till's guests would be its best customer. Mutation caught: the best of few customers is told, too."""
    rows = [f"c{n % 50},2024-01-{n % 28 + 1:02d},{n}" for n in range(300)]
    assert not told(load(file, *rows, *(f"c7,2024-02-{n + 1:02d},5" for n in range(20))), "ids")
    found = load(file, *rows, *(f"{guests},2024-02-{n % 28 + 1:02d},{n}" for n in range(100)))
    assert told(found, "ids") == [
        f"customer_id: told: {guests!r} has 25.0% of the rows; if it stands for guests, leave it out with --except 100"
    ]
    asked = [each for each in look.look(file, Policy()).questions if "guests" in each]
    name = "'0'" if guests == "0" else guests
    assert asked == [
        f"{guests!r} has 25.0% of the rows: is it one customer, or does it stand for guests"
        f" (except: {{customer_id: {name}}})?"
    ]


NAMES = "customer_id,order_id,occurred_at,net,amount"


def dated(names: str, month: int) -> list[str]:
    """30 sales, each cell where its name stands; what was paid is 2.50 more than what is net of it."""
    cells = [
        {"customer_id": f"c{n % 7}", "order_id": f"{month}-{n}", "occurred_at": f"2024-{month:02d}-{n % 28 + 1:02d}"}
        | {"net": f"{n}.00", "amount": f"{n + 2}.50"}
        for n in range(30)
    ]
    return [",".join(row.get(name, "x") for name in names.split(",")) for row in cells]


@pytest.mark.parametrize(
    "again",
    [
        NAMES.upper(),
        f"\ufeff{NAMES}",
        '"Customer_ID"," Order_ID ","Occurred_At","Net","Amount"',
        "customer_id,order_id,occurred_at,,amount",
        "customer_id,order_id,occurred_at,tax,amount",
    ],
)
def test_the_header_of_a_second_file_below_the_first_is_no_event(file: Path, again: str) -> None:
    """Two exports in one file, as `cat` makes it. Mutation caught: a header that is known to the letter alone."""
    file.write_text("\n".join([NAMES, *dated(NAMES, 1), again, *dated(NAMES, 2)]) + "\n")
    read = history.read([file], {})
    assert (read.counts.headers, read.counts.bad_times, read.counts.kept) == (1, 0, 60)
    assert read.frame["amount"].sum() == 2 * sum(n + 2.5 for n in range(30)) * 10_000


@pytest.mark.parametrize(
    ("names", "how"),
    [
        ("customer_id,order_id,occurred_at,amount,net", " anew, in another order"),
        ("order_id,customer_id,occurred_at,net,amount", " anew, in another order"),
        ("Occurred_at,Amount,Net,Order_id,Customer_id", " anew, in another order"),
        ("customer_id,order_id,occurred_at,net,tax", " anew"),
    ],
)
@pytest.mark.parametrize("remark", ["", ',"two\nlines"'])
def test_a_header_with_the_columns_elsewhere_is_refused_with_its_line(
    file: Path, names: str, how: str, remark: str
) -> None:
    """Mutation caught: what stands below it is read as if nothing were said."""
    more = ",remark" * bool(remark)
    above = [row + remark for row in dated(NAMES, 1)]
    below = [row + remark for row in dated(names.lower(), 2)]
    file.write_text("\n".join([NAMES + more, *above, names + more, *below]) + "\n")
    line = 32 + 30 * bool(remark)
    with pytest.raises(HistoryError, match=rf"line {line} names the columns{how} \('.*\): split the file there"):
        history.read([file], {})


def test_only_columns_that_are_used_are_looked_for_where_a_header_comes_again(file: Path) -> None:
    """Also those of which a row's being wanted depends. Mutations caught: every column; those of ours alone."""
    names = "customer_id,occurred_at,amount,status,note"
    above, below = "a,2024-01-05,5,paid,open", "a,2024-01-06,5,open,paid"
    file.write_text("\n".join([names, above, names.replace("status,note", "note,status"), below]) + "\n")
    assert history.read([file], {}).counts.headers == 1
    with pytest.raises(HistoryError, match="line 3 names the columns anew, in another order"):
        history.read([file], {}, policy=Policy(only=(("status", "paid"),)))


def test_rows_that_end_in_a_delimiter_where_the_header_does_not(file: Path) -> None:
    assert load(file, "c1,2024-01-01,5,", "c2,2024-01-01,6,").counts.kept == 2
    assert load(file, "c1,2024-01-01,5", "c2,2024-01-01,6", head=f"{HEAD},").counts.kept == 2


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_rows_of_another_length_are_counted_with_the_first_line(file: Path) -> None:
    rows = [f'c{n},2024-01-01,5,"of two\nlines"' for n in range(30)]
    read = load(file, *rows, "c1,2024-01-02,5,x, y", *rows, "c,2024-0", head=f"{HEAD},note")
    assert (read.counts.read, read.counts.uneven, read.counts.kept) == (62, 2, 60)
    assert told(read, "rows") == [": told: export: line 62 has 5 fields, the header 4 (separated by ',') 2"]


OPEN = [
    ['c2,2024-01-02,20,"12 inch', 'c3,2024-01-03,30,5 inch"', "c4,2024-01-04,40,d"],
    ['c2,2024-01-02,20,"12 inch', "c3,2024-01-03,30,b", "c4,2024-01-04,40,d"],
    ['c2,2024-01-02,20,"12 inch', "c3,2024-01-03,30,b", 'c4,2024-01-04,40,"5 inch"'],
    ['c2,2024-01-02,20,"12 inch', "c3,2024-01-03,30,b", 'c4,2024-01-04,40,5 inch"', "c5,2024-01-01,50,e"],
    ['c2,2024-01-02,20,"12 inch', 'c3,2024-01-03,30,""', 'c4,2024-01-04,40,"e"'],
    ['"c2","2024-01-02","20","12 inch', '"c3","2024-01-03","30","b"'],
    ['c2,2024-01-02,"20,12 inch', "c3,2024-01-03,30,b", 'c4,2024-01-04,40,"d"'],
]


@pytest.mark.parametrize("rows", OPEN)
@pytest.mark.parametrize("block", [64, 1 << 20])
def test_a_quote_that_is_never_closed_is_refused_where_it_opens(
    file: Path, rows: Sequence[str], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csvs, "BLOCK", block)
    said = refused(file, 'c1,2024-01-01,10,"good\nnote"', *rows, head=f"{HEAD},note")
    assert "a quote opens in line 4 and is not closed there: it would swallow rows below; mend the line" in said


def test_a_quote_that_makes_one_row_of_another_length_of_many_is_refused(file: Path) -> None:
    """Mutation caught: rows of another length never looked at, as none of their values is read."""
    rows = [f"c{n},2024-01-01,10,x" for n in range(30)]
    said = refused(file, *rows, 'c,2024-01-02,"20,12 inch', *rows, 'c,2024-01-04,40,"d"', *rows, head=f"{HEAD},note")
    assert "a quote opens in line 32" in said


@pytest.mark.parametrize(
    "note",
    [
        '"two\nlines, of text, and, commas"',
        '"says ""no"",\n""never"""',
        '"a\n\n\nb"',
        '12" wide',
        '"ends\r\n"',
        '"Dear\nc1, thanks, 5, x"',
    ],
)
def test_notes_of_several_lines_stay_readable(file: Path, note: str) -> None:
    read = load(file, f"c1,2024-01-01,10,{note}", "c2,2024-01-02,20,x", head=f"{HEAD},note")
    assert (read.counts.kept, read.counts.uneven) == (2, 0)


def test_a_cell_of_three_megabytes(file: Path) -> None:
    rows = [f"c{n},2024-01-01,10,x" for n in range(60_000)]
    read = load(
        file, *rows, 'big,2024-01-02,5,"' + "line\n" * 600_000 + '"', "last,2024-01-03,5,y", head=f"{HEAD},note"
    )
    assert read.counts.kept == 60_002
    assert read.frame["customer_id"].iloc[[0, -2, -1]].tolist() == ["c0", "big", "last"]


def test_no_row_comes_twice_where_a_long_cell_stands_far_below(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvs, "BLOCK", 1 << 12)
    rows = [f"c{n},2024-01-01,10,x" for n in range(5_000)]
    read = load(file, *rows, "c,2024-01-02,5,x,y", f'big,2024-01-02,5,"{"x" * 20_000}"', *rows, head=f"{HEAD},note")
    assert (read.counts.kept, read.counts.uneven) == (10_001, 1)
    assert read.frame["customer_id"].iloc[:5_000].tolist() == [f"c{n}" for n in range(5_000)]


# ---- containers and encodings ----------------------------------------------------------------------------------------

TEXT = f"{HEAD}\nZoë,2024-01-01,5\n".encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive: unpack it"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive: unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Excel file (.xls), or one with"),
        (b"%PDF-1.7\n", "a PDF: export the table itself as CSV"),
        (b"\n<html><body><table><tr><td>c", "a web page (HTML), as some programs save under .xls"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "XML: open it"),
        (b'{"customer_id": "c"}', "JSON: open it"),
        (b"SQLite format 3\0", "an SQLite database: export the table as CSV"),
        (b"ARROW1\0\0", "an Arrow (Feather) file: write it as Parquet or CSV"),
        (gzip.compress(TEXT * 9000, mtime=0)[:-20], "a packed file that is damaged"),
        (gzip.compress(b"PAR1....", mtime=0), "Parquet packed by gzip: unpack it"),
        (b"PK\x03\x04 and no more", "a zip archive that is damaged"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_named(file: Path, data: bytes, said: str) -> None:
    file.write_bytes(data)
    with pytest.raises(HistoryError, match="export: ") as error:
        history.read([file], {})
    assert said in str(error.value)


def zipped(path: Path, **files: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)


def test_a_zip_archive_of_one_file_is_read_and_of_more_named(file: Path) -> None:
    zipped(file, orders_csv=TEXT)
    read = history.read([file], {})
    assert read.frame["customer_id"].tolist() == ["Zoë"]
    assert told(read, "decode") == [": told: export: utf-8, separated by ',', zip (orders.csv) 1"]
    for files, said in (
        (
            {"a_csv": TEXT, "b_csv": TEXT},
            "a zip archive of 2 files ('a.csv', 'b.csv'): unpack it and give what is meant",
        ),
        ({"x_zip": b"PK\x03\x04"}, "another archive packed by zip: unpack it"),
        ({"mimetype": b"application/vnd.oasis"}, "an office document (.ods and the like): save it as CSV"),
        ({"xl/workbook_bin": b""}, "a binary Excel file (.xlsb): save it as .xlsx or CSV"),
    ):
        zipped(file, **files)
        with pytest.raises(HistoryError) as error:
            history.read([file], {})
        assert said in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("told_so", [None, "utf-16"])
def test_utf_16_without_a_mark_is_found_and_believed(file: Path, encoding: str, told_so: str | None) -> None:
    file.write_bytes(TEXT.decode().encode(encoding))
    assert history.read([file], {}, policy=Policy(encoding=told_so)).frame["customer_id"].tolist() == ["Zoë"]


@pytest.mark.parametrize(
    ("encoding", "last", "cut"),
    [("utf-8", "ä", 1), ("utf-8", "€", 1), ("utf-8", "😀", 1), ("utf-8-sig", "é", 1), ("utf-16", "é", 1)],
)
@pytest.mark.parametrize("encode", [bytes, gzip.compress])
def test_a_file_that_ends_within_a_character_was_cut_off(
    file: Path, encoding: str, last: str, cut: int, encode: Callable[[bytes], bytes]
) -> None:
    """Mutations caught: bytes that are not UTF-8, of which there are none; another encoding that is asked for."""
    file.write_bytes(encode(f"{HEAD}\nZoë,2024-01-01,5\nMia,2024-01-02,{last}".encode(encoding)[:-cut]))
    with pytest.raises(HistoryError, match=r"export: ends within a character of UTF-(8|16).*, so it was cut off"):
        history.read([file], {})


def test_a_last_byte_that_a_western_program_wrote_is_a_letter(file: Path) -> None:
    file.write_bytes(f"note,{HEAD}\nx,c1,2024-01-01,5\n".encode() + "x,José".encode("latin-1"))
    assert told(history.read([file], {}), "decode")[0].startswith(": told: export: latin-1")


@pytest.mark.parametrize(
    ("who", "encoding"),
    [
        ("顧客番号の表", "shift_jis"),
        ("鋪購", "gb18030"),
        ("Cathérès", "mac-roman"),
        ("Šťastný", "cp1250"),
    ],
)
def test_bytes_that_are_none_of_windows_ask_for_the_encoding(file: Path, who: str, encoding: str) -> None:
    """Mutation caught: "not charmap", a name of Python's for all that has 8 bits."""
    file.write_bytes(f"{HEAD}\n{who},2024-01-01,5\n".encode(encoding))
    with pytest.raises(HistoryError, match=r"neither UTF-8 nor Windows-1252; say its --encoding, as shift_jis, "):
        history.read([file], {})
    assert history.read([file], {}, policy=Policy(encoding=encoding)).frame["customer_id"].tolist() == [who]


@pytest.mark.parametrize("encoding", ["cp1251", "cp1253", "cp874"])
def test_an_encoding_of_8_bits_that_is_told_wrong_is_said_so(file: Path, encoding: str) -> None:
    """Mutation caught: "not charmap"."""
    file.write_bytes(f"{HEAD}\n".encode() + b"\x98\xff,2024-01-01,5\n")
    with pytest.raises(HistoryError, match=r"export: not that encoding; say another --encoding"):
        history.read([file], {}, policy=Policy(encoding=encoding))


def test_other_encodings_are_read_as_they_are_told(file: Path) -> None:
    for encoding, name in (("cp1251", "Жук"), ("shift_jis", "東京"), ("utf-32", "Zoë"), ("mac_roman", "Zoë")):
        file.write_bytes(f"{HEAD}\n{name},2024-01-01,5\n".encode(encoding))
        assert history.read([file], {}, policy=Policy(encoding=encoding)).frame["customer_id"].tolist() == [name]


# ---- what is lost ----------------------------------------------------------------------------------------------------


def cleaned(file: Path, rows: Sequence[str], *options: str) -> list[str]:
    file.write_text("\n".join([HEAD, *rows, ""]))
    done = CliRunner().invoke(main, ["clean", str(file), "--out", str(file.with_name("out")), *options])
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return done.stdout.splitlines()


def rows(good: int, bad: int, money: int = 1) -> list[str]:
    return [f"c{n},2024-01-01,10" for n in range(good)] + [f"c,soon,{10 * money}"] * bad


def test_above_a_twentieth_the_loss_is_said_at_the_end(file: Path) -> None:
    assert not any(line.startswith("lost") for line in cleaned(file, rows(95, 5)))
    assert cleaned(file, rows(94, 6))[-1] == (
        "lost: 6.0% of the rows (6 of 100) and 6.0% of the money, most for: bad time "
        "(6 rows; times like 'soon' are not read)"
    )
    assert cleaned(file, rows(99, 1, money=20))[-1].startswith(
        "lost: 1.0% of the rows (1 of 100) and 16.8% of the money"
    )
    wanted = [*rows(50, 0), *[f"c{n},2030-01-01,10" for n in range(50)]]
    assert not any(
        line.startswith("lost") for line in cleaned(file, wanted, "--until", "2025-01-01")
    )  # so it was asked


def test_above_a_half_it_is_asked_for(file: Path) -> None:
    file.write_text("\n".join([HEAD, *rows(1, 2), ""]))
    said = one_line(file.with_name("out"), "clean", file, "--out", file.with_name("out"))
    assert said.endswith(
        "export: too much would be lost: 66.7% of the rows (2 of 3) and 66.7% of the money, most for: bad time "
        "(2 rows; times like 'soon' are not read); mend the file, or say --allow-loss"
    )
    assert cleaned(file, rows(1, 2), "--allow-loss")[-1].startswith("lost: 66.7% of the rows")
    assert cleaned(file, rows(1, 1))[-1].startswith("lost: 50.0% of the rows")


# ---- spreadsheets and Parquet ----------------------------------------------------------------------------------------


def test_parquet_has_nothing_that_is_read_as_nothing_but_names_that_are_stripped(file: Path) -> None:
    table = {" customer_id": ["NA", "x "], "occurred_at": ["2024-01-01"] * 2, "amount": [1.5, 2.5]}
    pq.write_table(pa.table(table), file)
    assert history.read([file], {}).frame["customer_id"].tolist() == ["NA", "x"]


def test_without_the_extra_an_excel_file_is_told_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    zipped(file, **{"xl/workbook_xml": b""})
    with pytest.raises(HistoryError, match=r"openpyxl is not installed; pip install '\.\[excel\]', or save it as CSV"):
        history.read([file], {})


@pytest.mark.parametrize(
    ("sale", "discount", "lost"),
    [("1,1.50", "1,-5.00", 5), ('1,"10,00"', '1,"-20,50"', 20.5), ("2,1.00 €", "2,-3.00 €", 6)],
)
def test_a_price_below_0_is_money_that_is_lost_and_its_reason_is_said(
    file: Path, sale: str, discount: str, lost: float
) -> None:
    """A discount as a line of its own. Mutations caught: worth nothing, so that nothing is lost; a reason without
    what to do."""
    lines = [f"c{n},2024-01-05,{sale}" for n in range(20)]
    file.write_text("\n".join(["customer_id,occurred_at,quantity,unit_price", *lines, f"d,2024-01-07,{discount}"]))
    read = history.read([file], {})
    kept = read.frame["amount"].sum() / 10_000
    assert losses.shares(read.counts) == pytest.approx((1 / 21, lost / (lost + kept)))
    why = "price below 0: a discount? give the line's amount, which may be below 0 (--columns amount=...)"
    assert f"numbers    unit_price   told: {why} (1 rows)" in [*map(str, read.counts.notes)]
    assert str(losses.line(read.counts)).endswith(f"most for: bad number (1 rows; {why})")


# ---- lines that say what to do ---------------------------------------------------------------------------------------


def first_lines(path: Path, orders: int, several: int) -> Path:
    """Orders of which the first `several` have two lines more, on which customer, time and total are empty."""
    rows = ["order_id,customer_id,occurred_at,amount,sku"]
    for n in range(orders):
        below = [f"#{n},,,,{product}" for product in "bc"] if n < several else []
        rows += [f"#{n},c{n % 9},2024-01-{n % 28 + 1:02d},{n + 5}.50,a", *below]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(("orders", "several", "rows"), [(40, 17, 34), (10, 1, 2), (60, 2, 4)])
def test_a_total_on_an_orders_first_line_says_what_the_others_lack(
    file: Path, orders: int, several: int, rows: int
) -> None:
    """Nothing is no number that cannot be read. Mutation caught: bad numbers without a reason."""
    options, out = ["clean", str(first_lines(file, orders, several)), "--fill-down", "order"], file.with_name("out")
    said = run(*options, "--out", out)
    why = "no amount: --missing amount=drop, if they are no sales"
    assert f"missing    amount       told: {why} ({rows} rows)" in said
    assert (
        (f"most for: bad number ({rows} rows; {why})" in said) == ("lost: " in said) == (rows / (orders + rows) > 0.05)
    )
    said = run(*options, "--missing", "amount=drop", "--out", out)
    assert f"- without amount{rows:>48}" in said
    assert "lost: " not in said


@pytest.mark.parametrize(
    ("head", "row", "why"),
    [
        ("customer_id,occurred_at,quantity,unit_price", "d,2024-01-09,2,", "no unit_price"),
        ("customer_id,occurred_at,unit_price,quantity", "d,2024-01-09,2,", "no quantity"),
        ("customer_id,occurred_at,quantity,unit_price", "d,2024-01-09,2,NULL", "no unit_price"),
    ],
)
def test_a_row_without_a_price_or_quantity_says_so(file: Path, head: str, row: str, why: str) -> None:
    file.write_text("\n".join([head, "c,2024-01-05,1,5", row, row.replace("d", "e"), "f,2024-01-08,1,soon"]) + "\n")
    read = history.read([file], {}, policy=Policy(allow_loss=True))
    column = why.removeprefix("no ")
    assert f"{why}: --missing {column}=drop, if they are no sales (2 rows)" in str(read.counts.notes[-1])
    assert f"bad number (3 rows; {why}: " in str(losses.line(read.counts))


@pytest.mark.parametrize(("orders", "several"), [(40, 17), (10, 1), (200, 2)])
def test_customers_on_first_lines_alone_name_the_option(file: Path, orders: int, several: int) -> None:
    """Where much is lost, and where little is. Mutations caught: named where an order is a guest's."""
    said = run("clean", first_lines(file, orders, several), "--out", file.with_name("out"))
    assert said.count("does it stand on an order's first line only? Say --fill-down order") == 1
    guests = ["7,,2024-01-05,5,a", "7,,2024-01-05,6,b", "8,c1,2024-01-05,5,a", "9,,2024-01-05,7,b"]
    file.write_text("\n".join(["order_id,customer_id,occurred_at,amount,sku", *guests]) + "\n")
    assert "--fill-down" not in run("clean", file, "--allow-loss", "--out", file.with_name("out"))


@pytest.mark.parametrize("command", [["clean"], ["look"], ["fit", "--history"], ["rules", "--history"]])
def test_a_directory_is_told_how_to_name_its_files(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "exports").mkdir()
    said = run(*command, tmp_path / "exports", "--out", tmp_path / "out", code=2)
    names = f"name its files, as {tmp_path}/exports/*.csv (with --history, once for each)"
    assert f"exports: cannot be read: Is a directory: {names}" in said


@pytest.mark.parametrize(
    "start", ['[\n {"customer_id": 1}', '[ { "a": 1 }', "[\r\n\t[1, 2]", '\ufeff[\n\n{"a":', "[[1"]
)
def test_json_is_known_with_blanks_between(file: Path, start: str) -> None:
    """Mutation caught: taken for a table of one column."""
    file.write_text(start + ",\n" + ' {"customer_id": 2}\n]', encoding="utf-8", newline="")
    with pytest.raises(HistoryError, match=f"{file}: JSON: open it in the program that it is for and save it as CSV"):
        history.read([file], {})


def test_a_name_in_brackets_is_no_json(file: Path) -> None:
    file.write_text("[customer_id],occurred_at,amount\nc,2024-01-01,5\n")
    assert history.read([file], {"customer_id": "[customer_id]"}).counts.kept == 1
