"""Tables of customers are read as histories are: numbers, words for nothing, headers, encodings, containers."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from refusal import one_line

from offline.__main__ import main
from offline.errors import OfflineError
from offline.history import csvs
from offline.history.policy import Policy
from offline.segments import table as customer_table
from offline.segments.table import CustomerTable, TableError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "customers"


def read(
    path: Path, *lines: str, encoding: str = "utf-8", key: str | None = None, **policy: str | bool
) -> CustomerTable:
    path.write_bytes("\n".join([*lines, ""]).encode(encoding))
    return customer_table.read(path, key, Policy(**policy))  # type: ignore[arg-type]


def column(path: Path, *texts: str, delimiter: str = ",", **policy: str | bool) -> CustomerTable:
    rows = (f"{n}{delimiter}{text}" for n, text in enumerate(texts))
    return read(path, f"id{delimiter}x", *rows, **policy)  # type: ignore[arg-type]


def told(table: CustomerTable) -> list[str]:
    return [f"{line.step} {line.column}: {line.what} {line.rows}" for line in table.notes()]


@pytest.mark.parametrize(
    ("texts", "meant", "how"),
    [
        (['"$22,174.17"', "$5.5", '"$1,000"'], [22174.17, 5.5, 1000], "decimal '.', currency $"),
        (['"17,827.0"', '"1,234,567"'], [17827, 1234567], None),
        (["(5.5)", "3-", "\u22122"], [-5.5, -3, -2], None),
        (["12 kg", "5.5 kg"], [12, 5.5], "decimal '.', unit kg"),
        (["5%", "7.5 %"], [5, 7.5], "decimal '.', unit %"),
        (['"1 234,5"', '"2,5"'], [1234.5, 2.5], "decimal ','"),
        (["kr 5", "kr 6"], [5, 6], "currency kr"),
    ],
)
def test_numbers_are_read_as_those_of_histories(
    file: Path, texts: Sequence[str], meant: Sequence[float], how: str | None
) -> None:
    table = column(file, *texts)
    values, bad = table.numbers("x")
    assert (values.tolist(), bad) == (list(meant), None)
    assert told(table) == ([f"numbers x: told: {how} {len(texts)}"] if how else [])


@pytest.mark.parametrize(
    ("texts", "delimiter"), [(["987", "2.500", "1.487"], ";"), (['"17,827"', '"12,345"'], ","), (["1.234"], ",")]
)
def test_a_number_of_two_readings_is_asked_about_and_read_as_told(
    file: Path, texts: Sequence[str], delimiter: str
) -> None:
    """Mutation caught: a point taken for the decimal mark though the file's own may be the comma: 987 above 1.487."""
    table = column(file, *texts, delimiter=delimiter)
    with pytest.raises(
        OfflineError, match=r"column 'x': .* can be read in two ways, and no value decides; say --decimal"
    ):
        table.numbers("x")
    bare = [text.strip('"') for text in texts]
    for decimal, group in (".,", ",."):
        values, _ = column(file, *texts, delimiter=delimiter, decimal=decimal).numbers("x")
        assert values.tolist() == [float(text.replace(group, "").replace(decimal, ".")) for text in bare]


def test_a_column_that_settles_its_mark_settles_that_of_another(file: Path) -> None:
    assert read(file, "id,x,y", "1,1.250,0.5", "2,1.125,7").numbers("x")[0].tolist() == [1.25, 1.125]


def test_codes_and_keys_are_no_numbers_and_nothing_is_asked_about_them(file: Path) -> None:
    assert column(file, "P12", "P7", "P1").numbers("x")[1] == "P12"
    table = read(file, "id,customer no,x", "1.234,5.678,a", "2.345,6.789,b")
    assert told(table) == []
    assert table.numbers("x")[1] == "a"


def workbook(path: Path, *rows: Sequence[object]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    path = path.with_suffix(".xlsx")
    book.save(path)
    return path


@pytest.mark.parametrize("name", ["Spent", "amount"])  # a column of histories is none of a table's
@pytest.mark.parametrize("cell", [1.125, 12.5, -1234.5])
@pytest.mark.parametrize(
    ("texts", "meant"), [(["0,50", "12,5"], [0.5, 12.5]), (["1.5"], [1.5]), (["1.000,25"], [1000.25])]
)
def test_a_number_cell_among_texts_is_the_number_it_holds(
    file: Path, texts: list[str], meant: list[float], cell: float, name: str
) -> None:
    """And is written again as it stood there. Mutation caught: 1125 of a cell that holds 1.125."""
    path = workbook(file, ["id", name], *([f"k{n}", each] for n, each in enumerate([*texts, cell])))
    table = customer_table.read(path)
    values, bad = table.numbers(name)
    assert (values.tolist(), bad) == ([*meant, cell], None)
    assert table.frame[name].tolist() == [*texts, str(cell)]


@pytest.mark.parametrize("text", ["0,50", "1.234,5"])
def test_number_cells_stay_so_in_rows_that_leave(file: Path, text: str) -> None:
    path = workbook(file, ["id", "x"], ["a", 9.125], [None, None], ["Total", 99.5], ["b", text], ["c", 1.125])
    values, _ = customer_table.read(path).numbers("x")
    assert values.tolist() == [9.125, {"0,50": 0.5, "1.234,5": 1234.5}[text], 1.125]


@pytest.mark.parametrize("text", ["unknown", "inf", "n.b.", "ca. 5", "12-13"])
def test_a_number_column_stays_one_though_a_few_cells_are_not(file: Path, text: str) -> None:
    table = column(file, *map(str, range(3, 30)), text, "#N/A", "")
    values, bad = table.numbers("x")
    assert (values.tolist()[:27], bad) == (list(range(3, 30)), None)
    assert np.isnan(values[27:]).all()
    assert table.missing("x").sum() == 2
    assert told(table) == [f"numbers x: told: no number, so missing: {text!r} 1"]
    assert column(file, *"12345678", text).numbers("x")[1] == text  # more than a tenth


def test_what_is_quoted_is_a_value_and_comes_back_as_it_was(file: Path) -> None:
    table = read(file, "id,country", '1,"NA"', "2,NA", "3,ZA", '4," n/a "', "5, NULL ")
    assert table.frame["country"].tolist() == ["NA", "NA", "ZA", " n/a ", " NULL "]
    assert table.missing("country").tolist() == [False, True, False, True, True]
    pq.write_table(pa.table({"id": ["1", "2"], "country": ["NA", None]}), file)
    assert customer_table.read(file).missing("country").tolist() == [False, True]


def test_titles_footers_headers_again_and_blank_rows_are_no_customers(file: Path) -> None:
    rows = [f"c{n};{n}" for n in range(30)]
    table = read(file, "Customers of May, 2024", "", "id;x", *rows, ";", "id;x", "Total;435", "c1;2;3")
    assert (len(table.frame), table.id) == (30, "id")
    assert told(table) == [
        "decode : told: utf-8, separated by ';', 1 line above the header passed over 33",
        "rows : dropped: of another length: line 37 has 3 fields, the header 2 (separated by ';') 1",
        "rows : dropped: blank 1",
        "rows : dropped: the header again 1",
        "rows : dropped: a total 1",
    ]


def test_a_total_is_one_in_the_id_or_at_the_end_alone(file: Path) -> None:
    assert len(read(file, "id,brand", "1,Total", "2,Shell").frame) == 2
    assert len(read(file, "brand,x", "Total,1", "Shell,2").frame) == 2
    assert len(read(file, "brand,x", "Shell,2", "Sum,2").frame) == 1


@pytest.mark.parametrize(
    ("empty", "name"), [("", "CustomerID"), (" ", "Kunden-ID"), ("NULL", "client no"), ("-", "id")]
)
@pytest.mark.parametrize("at", [(0,), (7, 8, 59)])
def test_few_rows_without_an_id_leave_and_are_told(file: Path, empty: str, name: str, at: Sequence[int]) -> None:
    """Their neighbours keep their own cells. Mutations caught: a table that is refused; rows that leave in silence."""
    rows = [f"{empty if n in at else f'K{n}'},{n},{'' if n == 20 else 'x'}" for n in range(60)]
    table = read(file, f"{name},Age,Note", *rows)
    kept = [n for n in range(60) if n not in at]
    assert (table.id, table.frame[name].tolist()) == (name, [f"K{n}" for n in kept])
    assert table.numbers("Age")[0].tolist() == kept
    assert table.missing("Note").tolist() == [n == 20 for n in kept]
    assert f"missing {name}: dropped: without an id {len(at)}" in told(table)
    assert table.read is not None
    assert (table.read.read, table.read.kept, table.read.without_customer) == (60, len(kept), len(at))


@pytest.mark.parametrize("name", ["Kunden-Nr.", "E-Mail", "client", "Kundennummer", "buyer_email"])
def test_a_table_has_an_id_by_every_name_of_a_customer(file: Path, name: str) -> None:
    """Mutation caught: a customer's number as a number of which clusters are made."""
    assert read(file, f"Age,{name}", *(f"{n % 9},{1000 + n}" for n in range(30))).id == name


@pytest.mark.parametrize("name", ["customer", "Kunde", "member_id_card"])
def test_a_word_for_customers_that_names_nobody_is_no_id(file: Path, name: str) -> None:
    assert read(file, f"Age,{name}", *(f"{n % 9},{'yes' if n % 2 else 'no'}" for n in range(30))).id is None


def test_a_key_that_is_whole_goes_before_one_that_is_not(file: Path) -> None:
    rows = [f"{f'a{n}' if n else ''},b{n},{n}" for n in range(30)]
    assert read(file, "user id,account id,x", *rows).id == "account id"


@pytest.mark.parametrize("empty", [4, 30, 60])
def test_many_rows_without_an_id_are_refused(file: Path, empty: int) -> None:
    rows = [f"{'' if n < empty else f'K{n}'},{n}" for n in range(60)]
    with pytest.raises(TableError, match=f"holds nothing in row 1, in {empty} of 60 rows: more than 5%"):
        read(file, "id,x", *rows)


def test_an_id_that_comes_again_is_named_beside_rows_without_one(file: Path) -> None:
    with pytest.raises(TableError, match="'K5' comes again in row 61 of the id column 'id'"):
        read(file, "id,x", *(f"{f'K{n}' if n else ''},{n}" for n in range(60)), "K5,7")


def test_rows_of_another_length_are_lost_up_to_a_half(file: Path) -> None:
    with pytest.raises(TableError, match=r"line 3 has 3 fields, the header 2 .*; quote texts .*, or say --allow-loss"):
        read(file, "id,x", "1,2", "2,3,4", "3")
    assert len(read(file, "id,x", "1,2", "2,3,4", "3", allow_loss=True).frame) == 1


def test_a_quote_that_is_never_closed_is_refused(file: Path) -> None:
    with pytest.raises(OfflineError, match="a quote opens in line 3 and is not closed there"):
        read(file, "id,note", "1,a", '2,"12 inch', "3,c", "4,d")


def test_blocks_make_no_difference(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation caught: a column in several chunks, of which some values are written in another way than most."""
    lines = ["id,x,city", *(f"{n},{n}.5,Ulm" for n in range(60)), "60,(7.5),NA"]
    whole = read(file, *lines)
    monkeypatch.setattr(csvs, "BLOCK", 64)
    split = read(file, *lines)
    assert split.frame.equals(whole.frame)
    assert split.numbers("x")[0].tolist() == whole.numbers("x")[0].tolist() == [*(n + 0.5 for n in range(60)), -7.5]
    assert split.missing("city").sum() == 1


def test_names_compare_stripped(file: Path) -> None:
    assert read(file, " Customer ID , Age ", "7,5", "8,6", key="Customer ID").id == "Customer ID"


def test_a_packed_table_and_one_in_a_told_encoding(file: Path) -> None:
    file.write_bytes(gzip.compress(b"id,x\n1,2\n2,3\n"))
    assert customer_table.read(file).frame["x"].tolist() == ["2", "3"]
    table = read(file, "id,Город", "1,Омск", "2,Тула", encoding="cp1251", key="id")
    assert "Город" not in table.frame
    assert list(read(file, "id|Город", "1|Омск", encoding="cp1251", key="id").frame) != ["id", "Город"]
    file.write_bytes("id,Город\n1,Омск\n".encode("cp1251"))
    assert list(customer_table.read(file, policy=Policy(encoding="cp1251")).frame) == ["id", "Город"]
    file.write_bytes("id:x,y\n1:2,5\n".encode("utf-16-be"))
    assert list(customer_table.read(file, policy=Policy(encoding="utf-16", delimiter=":")).frame) == ["id", "x,y"]


@pytest.mark.parametrize(
    "options",
    [
        *(["--columns", "customer_id=id"], ["--until", "2024-01-01"], ["--timezone", "UTC"], ["--dayfirst"]),
        *(["--missing", "x=drop"], ["--key", "id"], ["--cancelled", "keep"], ["--outliers", "iqr"]),
        *(["--quality-report", "q.csv"], ["--horizon", "7"]),
    ],
)  # fmt: skip
def test_options_that_say_nothing_to_a_table_are_refused(file: Path, options: list[str]) -> None:
    file.write_text("id,x\n1,2\n")
    said = one_line(file.with_name("out.csv"), "segment", file, *options, "--out", file.with_name("out.csv"))
    assert f"{options[0]} says nothing to a table of customers; " in said


def test_options_of_reading_do_for_a_table_what_they_say(file: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [f"k{n}|Köln|{money // 1000}.{money % 1000:03}" for n, money in enumerate(rng.integers(1000, 9000, 40))]
    file.write_bytes("\n".join(["id|Stadt|Umsatz", *rows, "k1|2"]).encode("mac_roman"))
    out = file.with_name("out.csv")
    arguments = ["segment", str(file), "--out", str(out), "--clusters", "2", "--encoding", "mac_roman"]
    done = CliRunner().invoke(main, [*arguments, "--delimiter", "|", "--decimal", ","])
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    assert "decode                  told: mac_roman, separated by '|' (40 rows)" in done.stdout
    assert out.read_text().splitlines()[1].startswith("k0|Köln|")
    centres = [line.split("|") for line in out.with_name("out_centres.csv").read_text().splitlines()]
    assert all(float(row[centres[0].index("Umsatz")]) > 1000 for row in centres[1:])
