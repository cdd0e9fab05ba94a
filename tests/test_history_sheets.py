"""Excel files, read by the optional openpyxl: cells are the values they hold, sheets are told or asked about."""

import gc
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from jobs import run

from offline.errors import HistoryError
from offline.history import read as history
from offline.history import sheets
from offline.history.policy import Policy
from offline.history.read import History
from offline.segments import table as customer_table

openpyxl = pytest.importorskip("openpyxl")
HEAD = ["customer_id", "occurred_at", "amount"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "orders.xlsx"


def written(path: Path, **rows: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, lines in rows.items():
        sheet = book.create_sheet(title)
        for line in lines:
            sheet.append(line)
    book.save(path)
    return path


def load(path: Path, columns: dict[str, str] | None = None, **rows: list[list[Any]]) -> History:
    return history.read([written(path, **rows)], columns or {}, policy=Policy(cancelled=False))


def test_cells_are_the_values_they_hold(file: Path) -> None:
    """Numbers and dates are no text of which a format is guessed: 1.125 is one and an eighth."""
    rows: list[list[Any]] = [
        ["c1", datetime(2024, 2, 1, 10, 30), 1.125],
        [17850, date(2024, 2, 2), 1000],
        [17850.0, datetime(2024, 2, 3), -2.5],
        ["#N/A", datetime(2024, 2, 4), 1],
        [None, None, None],
    ]
    read = load(file, Orders=[HEAD, *rows])
    frame = read.frame
    assert frame["customer_id"].tolist() == ["c1", "17850", "17850"]
    assert frame["amount"].tolist() == [11_250, 10_000_000, -25_000]
    assert frame["occurred_at"].tolist()[0] == 1_706_783_400_000_000
    assert (read.counts.read, read.counts.without_customer) == (4, 1)


def test_text_in_cells_is_read_as_that_of_csv(file: Path) -> None:
    rows: list[list[Any]] = [["c1", "13.02.2024", "1.234,50 €"], ["c2 ", "01.03.2024", "2,50 €"], ["Total", None, "3"]]
    read = load(file, Orders=[["Report"], [], HEAD, *rows])
    assert read.frame["amount"].tolist() == [12_345_000, 25_000]
    assert (read.counts.totals, read.counts.kept) == (1, 2)
    assert read.counts.notes[0].what == "told: orders.xlsx: Excel, sheet 'Orders', 1 line above the header passed over"


def test_the_sheet_that_names_the_columns_is_read_and_of_two_one_must_be_said(file: Path) -> None:
    row = ["c1", date(2024, 1, 1), 5]
    read = load(file, Notes=[["hello"]], Orders=[HEAD, row], Prices=[["amount"], [5]])
    assert read.counts.notes[0].what == "told: orders.xlsx: Excel, sheet 'Orders' of 3"
    with pytest.raises(HistoryError, match=r"sheets 'Jan' and 'Feb' both name the columns; save each that is meant"):
        load(file, Jan=[HEAD, row], Feb=[HEAD, row])
    with pytest.raises(HistoryError, match="the file is empty"):
        load(file, Empty=[])
    with pytest.raises(HistoryError, match="no column 'customer_id'; nearest is 'c' of 'a', 'b', 'c'; nor"):
        load(file, Orders=[["a", "b", "c"], row])


WIDE = ["order_id", "customer_id", "occurred_at", "product_id", "amount"]
SALE = ["o1", "c1", date(2024, 1, 1), "tea", 5]


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ([name.upper() for name in WIDE], SALE),
        (WIDE[:3] + WIDE[4:], SALE[:3] + SALE[4:]),
        ([*WIDE[1:], "note"], [*SALE[1:], "late"]),
    ],
    ids=["in capitals", "without products", "without orders"],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_sheet_of_nearly_the_same_columns_is_not_passed_over(
    file: Path, columns: list[str], row: list[Any], first: bool
) -> None:
    """Last year's sales were gone, told as `sheet '2024' of 2`. Mutation caught: as many names alone are alike."""
    years: list[tuple[str, list[list[Any]]]] = [("2024", [WIDE, SALE]), ("2023", [columns, row])]
    written(file, **dict(years if first else years[::-1]))
    with pytest.raises(HistoryError, match=r"sheets '202[34]' and '202[34]' both name the columns; save each"):
        history.read([file], {})


def test_a_sum_by_customer_beside_the_sales_is_no_history(file: Path) -> None:
    sums: list[list[Any]] = [["Customer_ID", "Amount", "Orders"], ["c1", 5, 1]]
    for sales, row in ((WIDE, SALE), (HEAD, ["c1", date(2024, 1, 1), 5])):
        assert load(file, Sums=sums, Sales=[sales, row]).frame["amount"].tolist() == [50_000]


@pytest.mark.parametrize(
    "cover",
    [
        [["Export of the shop"], ["Created", datetime(2024, 12, 1)], ["By", "Ann"]],
        [["Customer No", "Town"], *([f"c{n}", "Ulm"] for n in range(9))],
        [["Total"], [1_234.5], [99]],
    ],
    ids=["a cover", "a list of customers", "a chart's figures"],
)
def test_look_finds_the_sheet_by_the_names_that_columns_have(file: Path, cover: list[list[Any]]) -> None:
    """It looked at the first sheet alone, while other commands find theirs. Mutation caught: without the names."""
    sales: list[list[Any]] = [["Kunde", "Datum", "Artikel", "Betrag"]]
    sales += [[f"c{n}", date(2024, 1, 1 + n), "tea", n] for n in range(1, 5)]
    yml, out = file.with_suffix(".yml"), file.with_suffix(".parquet")
    run("look", written(file, Cover=cover, Sales=sales), "--out", yml)
    run("clean", file, "--shop", yml, "--out", out)
    assert history.read_parquet(out)["amount"].tolist() == [10_000, 20_000, 30_000, 40_000]


def test_look_too_asks_which_of_several_sheets_is_meant(file: Path) -> None:
    sales: list[list[Any]] = [["Kunde", "Datum", "Artikel", "Betrag"], ["c1", date(2024, 1, 1), "tea", 5]]
    said = run("look", written(file, Jan=sales, Feb=sales), "--out", file.with_suffix(".yml"), code=2)
    assert "sheets 'Jan' and 'Feb' both name the columns" in said


def shown(path: Path, head: list[str], formats: list[str], currency: str | None = None) -> Path:
    """A sheet whose rows have 5.5 in a cell of each of these formats."""
    book = openpyxl.Workbook()
    book.active.append(["customer_id", "occurred_at", *head])
    for n, form in enumerate(formats, 1):
        book.active.append([f"c{n}", date(2024, 1, n), *(currency if name == "currency" else 5.5 for name in head)])
        book.active.cell(n + 1, 3).number_format = form
        book.active.cell(n + 1, 2).number_format = "[$-409]d. mmm yy"
    book.active["Z9"].number_format = "0 [$kr.-406]"  # of nothing
    book.save(path)
    return path


@pytest.mark.parametrize(
    ("formats", "told"),
    [
        (["#,##0.00 [$€-407]", "[$$-409]#,##0.00", "#,##0.00 [$€-407]"], "EUR (2 cells) and USD (1 cell)"),
        (['_("$"* #,##0.00_);_("$"* (#,##0.00)', '#,##0.00\\ "CHF"'], "USD (1 cell) and CHF (1 cell)"),
        (["£#,##0", "[$GBP] 0.00", "General", '0 "pcs"'], ""),
    ],
)
@pytest.mark.parametrize("command", ["clean", "look"])
def test_currencies_that_formats_alone_tell_apart_are_not_added_up(
    command: str, formats: list[str], told: str, file: Path
) -> None:
    """Mutations caught: cells of other columns, or of none; a date's language; two signs of one currency."""
    for head in (["amount"], ["unit_price", "quantity"]):
        read = shown(file, head, formats)
        out = file.with_name(f"{command}{len(head)}.out")
        said = run(command, read, "--out", out, code=2 if told else 0)
        assert (f"{head[0]!r} is shown in {told} by the formats of its cells alone" in said) == bool(told)
    if told:
        run(command, shown(file, ["amount", "currency"], formats, "EUR"), "--out", file.with_name("of_a_column"))


def test_blocks_make_no_difference(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "ROWS", 2)
    read = load(file, Orders=[HEAD, *(["c", date(2024, 1, 1 + n), n] for n in range(9))])
    assert read.frame["amount"].tolist() == [10_000 * n for n in range(9)]


def test_a_table_of_customers_too(file: Path) -> None:
    rows = [[n, n + 0.5, ("Köln", "Ulm")[n % 2], None if n else "n/a"] for n in range(4)]
    table = customer_table.read(written(file, Customers=[["id", "x", "city", "gap"], *rows]))
    assert table.id == "id"
    assert table.numbers("x")[0].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert table.missing("gap").all()
    assert table.frame["gap"].tolist() == ["n/a", "", "", ""]


def test_a_workbook_that_is_damaged_is_one_line(file: Path) -> None:
    written(file, Orders=[HEAD])
    data = file.read_bytes()
    file.write_bytes(data.replace(b"workbook.xml.rels", b"workbook.xml.relz"))
    with pytest.raises(HistoryError, match="an Excel file that cannot be read"):
        history.read([file], {})


@pytest.mark.parametrize("texts", [["0,50", "12,5"], ["0.50", "1,012.5"], ["1.000,25", "7"]])
@pytest.mark.parametrize("cell", [1.125, -2.5, 1234.5, 3])
def test_a_number_among_texts_is_the_number_it_is(file: Path, texts: list[str], cell: float) -> None:
    """Whatever the decimal mark of the texts. Mutation caught: a cell that is written as a text of another locale."""
    meant = [
        float(text.replace(".", "").replace(",", ".") if "," in text[-3:] else text.replace(",", "")) for text in texts
    ]
    rows: list[list[Any]] = [[f"c{n}", date(2024, 2, 1), each] for n, each in enumerate([*texts, cell])]
    read = load(file, Orders=[["customer_id", "occurred_at", "amount"], *rows])
    assert (read.frame["amount"].abs() / 10_000).tolist() == [*meant, abs(cell)]


def rewritten(path: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    """The workbook with what is in one of its files changed."""
    with zipfile.ZipFile(path) as book:
        held = {name: book.read(name) for name in book.namelist()}
    with zipfile.ZipFile(path, "w") as book:
        for name, data in held.items():
            book.writestr(name, change(data) if name == member else data)
    return path


@pytest.mark.parametrize(
    ("member", "change"),
    [
        ("xl/worksheets/sheet1.xml", lambda data: data[: len(data) // 2]),
        ("xl/worksheets/sheet1.xml", lambda data: data[:0]),
        ("xl/worksheets/sheet1.xml", lambda data: data.replace(b"<v>5</v>", b"<v>abc</v>")),
        ("xl/worksheets/sheet1.xml", lambda data: data.replace(b'<row r="200"', b'<row r="two"')),
        ("xl/workbook.xml", lambda data: data[:-30]),
        ("xl/styles.xml", lambda data: data[:100]),
        ("xl/_rels/workbook.xml.rels", lambda data: data[:60]),
        ("[Content_Types].xml", lambda data: data[:0] + b"<Types/>"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["look", "clean"])
def test_damage_anywhere_in_a_workbook_is_one_line(
    file: Path, member: str, change: Callable[[bytes], bytes], command: str
) -> None:
    """Also below its first rows. Mutation caught: errors that are awaited where the workbook is opened alone."""
    rows: list[list[Any]] = [["c1", date(2024, 1, 1), 5], *(["c1", date(2024, 1, 2), n] for n in range(300))]
    said = run(command, rewritten(written(file, Orders=[HEAD, *rows]), member, change), "--out", f"{file}.out", code=2)
    assert said.count("\n") == 1
    assert f"{file}: an Excel file that cannot be read (" in said
    assert "save it anew in the program that it is for, or as CSV" in said


@pytest.mark.parametrize("member", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"])
def test_a_damaged_workbook_is_closed(file: Path, member: str) -> None:
    """At once. Mutation caught: it stays open until garbage is collected."""
    damaged = rewritten(written(file, Orders=[HEAD, ["c1", date(2024, 1, 1), 5]]), member, lambda _: b"")
    gc.disable()
    try:
        with pytest.raises(HistoryError, match="cannot be read") as kept:  # with all that its trace holds
            sheets.head(damaged, HEAD)
        assert kept.value
        assert damaged not in [each.resolve() for each in Path("/proc/self/fd").iterdir()]
    finally:
        gc.enable()


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_a_chart_on_a_sheet_of_its_own_is_passed_over(file: Path, drawn: bool, first: bool) -> None:
    """Empty, as a program leaves it, or with a drawing; before the table or behind it."""
    book = openpyxl.Workbook()
    for row in (HEAD, ["c1", date(2024, 1, 1), 5], ["c2", date(2024, 1, 2), 7]):
        book.active.append(row)
    sheet = book.create_chartsheet("Sales", 0 if first else 1)
    if drawn:
        chart = openpyxl.chart.BarChart()
        chart.add_data(openpyxl.chart.Reference(book.worksheets[0], min_col=3, min_row=2, max_row=3))
        sheet.add_chart(chart)
    book.save(file)
    read = history.read([file], {})
    assert read.frame["amount"].tolist() == [50_000, 70_000]
    assert read.counts.notes[0].what == "told: orders.xlsx: Excel, sheet 'Sheet'"


@pytest.mark.parametrize(
    ("columns", "formula"),
    [(["amount"], "=C{0}*D{0}"), (["occurred_at", "amount"], "=TODAY()-{0}"), (["customer_id"], "array")],
)
@pytest.mark.parametrize("command", ["look", "clean"])
def test_formulas_whose_values_were_not_saved_are_named(
    file: Path, columns: list[str], formula: str, command: str
) -> None:
    """As programs that do not reckon write them. Mutation caught: rows without a number, or without a customer."""
    rows: list[list[Any]] = []
    for n in range(2, 14):
        array = openpyxl.worksheet.formula.ArrayFormula(f"A{n}", f'="c"&C{n}')
        text = array if formula == "array" else formula.format(n)
        row = {"customer_id": f"c{n}", "occurred_at": date(2024, 1, n), "amount": 5} | dict.fromkeys(columns, text)
        rows.append([row[name] for name in HEAD] + [2])
    said = run(command, written(file, Orders=[[*HEAD, "pieces"], *rows]), "--out", f"{file}.out", code=2)
    names = ", ".join(map(repr, columns))
    assert (
        f"{file}: {names}: formulas without their values, which the program that wrote them did not save: open" in said
    )


def test_an_empty_column_is_no_formula(file: Path) -> None:
    read = load(
        file, Orders=[[*HEAD, "product_id"], ["c1", date(2024, 1, 1), 5, None], ["c2", date(2024, 1, 2), 6, None]]
    )
    assert read.counts.kept == 2
