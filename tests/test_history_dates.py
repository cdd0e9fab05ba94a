"""Dates that read well and mean other days: refused or asked about, and what only looks like them is read."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jobs import run

from offline.errors import HistoryError
from offline.history import csvs
from offline.history import read as history
from offline.history.policy import Policy
from offline.history.read import History

HEAD = "customer_id,occurred_at,amount"
YEAR = [date(2024, 1, 1) + timedelta(int(day)) for day in np.random.default_rng(0).integers(366, size=400)]


def load(path: Path, times: Iterable[str], **policy: Any) -> History:
    path.write_text("\n".join([HEAD, *(f"c{n % 40},{when},{n + 1}" for n, when in enumerate(times)), ""]))
    return history.read([path], {}, policy=Policy(**policy))


def refused(path: Path, times: Iterable[str], **policy: Any) -> str:
    with pytest.raises(HistoryError) as error:
        load(path, times, **policy)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "export.csv"


# ---- months by name -------------------------------------------------------------------------------------------------

MONTHS = {
    "Polish": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "Polish, short": "sty lut mar kwi maj cze lip sie wrz paź lis gru",
    "Czech": "ledna února března dubna května června července srpna září října listopadu prosince",
    "Swedish": "januari februari mars april maj juni juli augusti september oktober november december",
    "Danish": "januar februar marts april maj juni juli august september oktober november december",
    "Norwegian, short": "jan. feb. mars apr. mai juni juli aug. sep. okt. nov. des.",
    "Finnish": "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta"
    " lokakuuta marraskuuta joulukuuta",
    "Hungarian": "január február március április május június július augusztus szeptember október november december",
    "Romanian": "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie",
    "Turkish": "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık",  # noqa: RUF001
    "Turkish, short": "Oca Şub Mar Nis May Haz Tem Ağu Eyl Eki Kas Ara",
}


@pytest.mark.parametrize("language", MONTHS)
@pytest.mark.parametrize("form", ["{day} {name} {year}", "{day}. {name} {year} 00:00", "{year}. {name} {day}."])
def test_months_are_read_by_their_names(language: str, form: str, file: Path) -> None:
    """Of a Swedish file May alone was lost, of a Polish one all but August. Mutations caught: short names alone; names
    of up to 10 letters."""
    days = [date(2024, month, 5 + month) for month in range(1, 13)]
    names = MONTHS[language].split()
    read = load(file, (form.format(day=day.day, name=names[day.month - 1], year=day.year) for day in days))
    assert read.frame["occurred_at"].astype("datetime64[us]").dt.date.tolist() == days


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024. 01. 05. 10:05:09", "2024-01-05T10:05:09"),
        ("2024. 1. 5.", "2024-01-05"),
        ("5.1.2024 klo 15.30", "2024-01-05T15:30"),
        ("5 tammikuuta 2024 klo 9.05", "2024-01-05T09:05"),
    ],
)
def test_times_as_hungarians_koreans_and_finns_write_them(text: str, meant: str, file: Path) -> None:
    read = load(file, [text], dayfirst=True)
    assert read.frame["occurred_at"].tolist() == [np.datetime64(meant, "us").astype(int)]


@pytest.mark.parametrize("mark", "-/")
def test_a_year_of_two_digits_may_stand_behind_a_month_by_name_and_a_day(mark: str, file: Path) -> None:
    """So marketplaces write it. Mutation caught: an hour for the year."""
    texts = ["Jan-05-24", "Dec-31-99", "May-7-23 10:05:09", "Sep-30-24 1:05 PM"]
    meant = ["2024-01-05", "1999-12-31", "2023-05-07T10:05:09", "2024-09-30T13:05"]
    texts += ["Jan-12-10:05", "Jan 12 10:05:00", "Jan-12 24"]
    read = load(file, (text.replace("-", mark) for text in texts))
    assert sorted(read.frame["occurred_at"]) == sorted(np.datetime64(time, "us").astype(int) for time in meant)
    assert read.counts.bad_times == 3


# ---- day and month that a spreadsheet has swapped --------------------------------------------------------------------


def turned(day: date) -> date | None:
    """What a spreadsheet of the other order makes of it; None where that is no date."""
    return date(day.year, day.day, day.month) if day.day <= 12 else None


def saved(form: str, iso: str) -> Callable[[date], str]:
    return lambda day: f"{other:{iso}}" if (other := turned(day)) else f"{day:{form}}"


SAVED = {
    "days first": saved("%d/%m/%Y", "%Y-%m-%d 00:00:00"),
    "months first": saved("%m/%d/%Y", "%Y-%m-%d"),
    "short years and times": saved("%d-%m-%y 10:30", "%Y-%m-%dT10:30"),
}
SWAPPED = "a spreadsheet has swapped day and month of the first"


@pytest.mark.parametrize("write", SAVED.values(), ids=SAVED)
@pytest.mark.parametrize("days", [YEAR, sorted(YEAR), sorted(YEAR)[:60]], ids=["a year", "in order", "two months"])
@pytest.mark.parametrize("told", [None, True, False])
def test_days_and_months_that_a_spreadsheet_swapped_are_refused(
    file: Path, write: Callable[[date], str], days: list[date], told: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever order is told, for none is that of all. Mutations caught: text dates looked at alone; the first block
    alone."""
    monkeypatch.setattr(csvs, "BLOCK", 400)
    said = refused(file, map(write, days), dayfirst=told)
    assert f"{file}: column 'occurred_at': no date like '2024-" in said
    assert SWAPPED in said


def test_cells_of_a_workbook_are_dates_of_the_first_kind(tmp_path: Path) -> None:
    """Also where no text stands among the first rows."""
    openpyxl = pytest.importorskip("openpyxl")
    book, path = openpyxl.Workbook(), tmp_path / "orders.xlsx"
    book.active.append(HEAD.split(","))
    for day in sorted(YEAR, key=lambda day: day.day):
        cell = datetime.combine(other, datetime.min.time()) if (other := turned(day)) else f"{day:%d/%m/%Y}"
        book.active.append(["c1", cell, 5])
    book.save(path)
    with pytest.raises(HistoryError, match=SWAPPED):
        history.read([path], {})


MIXED = {
    "a new program on the 13th": [f"2024-06-{day:02}" for day in range(1, 13)]
    + [f"{day}/06/2024" for day in range(13, 31)],
    "bills of the first, and of the 28th": [f"2024-{month:02}-01" for month in range(1, 13)]
    + [f"28/{month:02}/2024" for month in range(1, 13)],
    "days above 12 of both": [f"{day}" if n % 2 else f"{day:%d/%m/%Y}" for n, day in enumerate(YEAR)],
    "few": ["2024-05-03", "2024-04-05", "13/04/2024", "14/05/2024", "15/03/2024"],
    "four of one kind": [
        *(f"2024-06-0{month}" for month in range(1, 5)),
        *(f"15/0{month}/2024" for month in range(1, 6)),
    ],
    "months of which two in five are the same": [
        *(f"2024-06-0{month}" for month in range(1, 6)),
        *(f"15/0{month}/2024" for month in range(4, 9)),
    ],
}


@pytest.mark.parametrize("times", MIXED.values(), ids=MIXED)
def test_two_ways_of_writing_dates_are_read_as_they_stand(file: Path, times: list[str]) -> None:
    read = load(file, times)
    assert (read.counts.kept, read.counts.bad_times) == (len(times), 0)


@pytest.mark.parametrize(("days", "months"), [(range(1, 6), range(1, 6)), (range(1, 7), range(4, 10))])
def test_five_dates_of_a_kind_and_half_of_the_months_are_enough(file: Path, days: range, months: range) -> None:
    times = [*(f"2024-06-{day:02}" for day in days), *(f"{12 + month}/{month:02}/2024" for month in months)]
    assert SWAPPED in refused(file, times)


# ---- dates without marks ---------------------------------------------------------------------------------------------

UNMARKED = ["%y%m%d%H%M%S", "%d%m%Y%H%M", "%d%m%y%H%M%S", "%m%d%Y%H%M", "%y%m%d%H%M", "%d%m%y%H%M", "%Y%m%d%H"]
MINUTES = np.random.default_rng(1).integers(500_000, size=60).tolist()
MOMENTS = [datetime(2024, 1, 1) + timedelta(minutes=minute) for minute in MINUTES]


@pytest.mark.parametrize("form", UNMARKED)
@pytest.mark.parametrize("typed", [False, True])
def test_dates_without_marks_are_no_unix_time(file: Path, form: str, typed: bool) -> None:
    """Also as numbers, which have lost their first 0. Mutation caught: what is a number by its column's type."""
    texts = [f"{moment:{form}}" for moment in MOMENTS]
    if typed:
        table = pa.table({"customer_id": ["c"] * 60, "occurred_at": [*map(int, texts)], "amount": [5] * 60})
        pq.write_table(table, file)
        with pytest.raises(HistoryError, match="looks like a date without marks"):
            history.read([file], {})
        return
    said = refused(file, texts)
    assert f"column 'occurred_at': {texts[0]!r} looks like a date without marks, and would be read as Unix time" in said
    assert said.endswith("write such dates as 20241231150500 or 2024-12-31 15:05:00")


def test_two_rows_of_twelve_digits_are_enough(file: Path) -> None:
    said = refused(file, ["241231150500", "180520230930"])
    assert "'241231150500' looks like a date without marks, and would be read as Unix time, of 1977-08-24" in said


@pytest.mark.parametrize(("unit", "first"), [(1, 10**9), (1, 3 * 10**8), (1_000, 10**12), (1_000, 3 * 10**11)])
def test_unix_time_is_read_where_some_of_it_looks_like_dates(file: Path, unit: int, first: int) -> None:
    """As some does by chance; and years of four digits are read as they stand."""
    some = np.random.default_rng(2).integers(first, 2 * first, size=400)
    assert load(file, map(str, some)).frame["occurred_at"].tolist() == sorted((some * (1_000_000 // unit)).tolist())
    read = load(file, (f"{moment:%Y%m%d%H%M}" for moment in MOMENTS))
    assert read.frame["occurred_at"].tolist() == sorted(np.array(MOMENTS, "datetime64[us]").astype(int).tolist())


# ---- short years that may stand first --------------------------------------------------------------------------------

FIRST = {
    "a month": [f"24.01.{day:02}" for day in range(1, 27)],
    "two years": [f"{day:%y/%m/%d}" for day in (*YEAR, *(day.replace(year=2023, day=1) for day in YEAR))],
    "three days, with times": [f"24.01.{day} 10:05" for day in (13, 14, 15)],
    "bills of the 25th, for all one knows": [f"25/{month:02}/{year}" for month in range(1, 13) for year in (22, 23)],
}


@pytest.mark.parametrize("times", FIRST.values(), ids=FIRST)
@pytest.mark.parametrize("block", [100, 1 << 20])
def test_a_short_year_that_may_stand_first_is_asked_about(
    file: Path, times: list[str], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutations caught: asked of the first block alone, in which all may be; asked again when it was told."""
    monkeypatch.setattr(csvs, "BLOCK", block)
    said = refused(file, times)
    assert f"column 'occurred_at': '{times[0][:8]}' may be 20" in said
    assert said.endswith("the year may stand first; write years with four digits, or say --dayfirst if it stands last")
    assert load(file, times, dayfirst=True).counts.kept == len(times)


LAST = {
    "a year": [f"{day:%d.%m.%y}" for day in YEAR],
    "in order, from the 25th on": [f"{day:%d/%m/%y}" for day in sorted(YEAR) if day >= date(2024, 1, 25)],
    "a week": [f"{day}.05.24" for day in range(22, 27)],
    "bills of the 15th": [f"15/{month:02}/{year}" for month in range(1, 13) for year in (22, 23, 24)],
    "one day, and no year that has come": ["31.05.24"] * 3,
    "the same from either end, or nearly": ["24.01.24", "23.02.23", "22.03.22"],
    "a long year among them": [*(f"25/{month:02}/24" for month in range(1, 13)), "25/01/2025"],
}


@pytest.mark.parametrize("times", LAST.values(), ids=LAST)
def test_a_short_year_that_stands_last_is_read(file: Path, times: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csvs, "BLOCK", 100)
    read = load(file, times)
    assert (read.counts.bad_times, read.counts.kept + read.counts.duplicates) == (0, len(times))
    assert {moment[:3] for moment in read.frame["occurred_at"].to_numpy().astype("datetime64[us]").astype(str)} == {
        "202"
    }


def test_rows_that_are_still_to_come_are_lost(tmp_path: Path) -> None:
    """As where the year was read from the wrong end. Mutation caught: left out as if somebody wanted it."""
    rows = [f"c{n},{2024 if n < 90 else 2190}-03-{n % 28 + 1:02},5" for n in range(100)]
    (tmp_path / "shop.csv").write_text("\n".join([HEAD, *rows, ""]))
    said = run("clean", tmp_path / "shop.csv", "--out", tmp_path / "out")
    assert "lost: 10.0% of the rows (10 of 100) and 10.0% of the money, most for: more than a day after now" in said
    rows = [row.replace("2024", "2180") if n < 45 else row for n, row in enumerate(rows)]
    (tmp_path / "shop.csv").write_text("\n".join([HEAD, *rows, ""]))
    assert "more than a day after now" in run("clean", tmp_path / "shop.csv", "--out", tmp_path / "out", code=2)


@pytest.mark.parametrize(
    ("dayfirst", "form", "other"),
    [(True, "%m/%d/%Y", "%d/%m/%Y"), (False, "%d.%m.%Y", "%m.%d.%Y"), (True, "%m-%d-%Y 10:05", "%d/%m/%y")],
)
def test_an_order_that_is_told_and_is_another_files_is_refused(
    file: Path, dayfirst: bool, form: str, other: str
) -> None:
    """What `look` found in one file was told of all: of another's dates most were bad, and the rest other days.
    Mutation caught: one typing error, or a few, refuse a file."""
    right = [f"{day:{other}}" for day in YEAR]
    file.with_name("right.csv").write_text("\n".join([HEAD, *(f"c{n},{when},1" for n, when in enumerate(right)), ""]))
    wrong = [f"{day:{form}}" for day in YEAR[:90]]
    load(file, wrong)
    with pytest.raises(HistoryError) as error:
        history.read([file.with_name("right.csv"), file], {}, policy=Policy(dayfirst=dayfirst))
    days, order = len({day for day in YEAR[:90] if day.day > 12}), "month/day" if dayfirst else "day/month"
    said = f"{days} different dates can be {order}/year alone, and --{'day' if dayfirst else 'month'}first is told"
    assert said in str(error.value)
    assert "leave it out (in --shop: dayfirst)" in str(error.value)
    assert len(history.read([file.with_name("right.csv"), file], {}).frame) == len(YEAR) + 90
    for few in (4, 30):
        assert load(file, [*right, *wrong[:few]], dayfirst=dayfirst).counts.kept >= len(YEAR)
