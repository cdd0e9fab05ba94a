"""`offline look` on exports that nobody has seen, and `--shop` with what it wrote: one edit to a cleaned history."""

from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import run

from offline.__main__ import main
from offline.commands import shop
from offline.errors import OfflineError
from offline.history import guess, look, wanted
from offline.history import read as history
from offline.history.policy import NAMED, Policy
from offline.history.values import Bools

WEB = """Name,Email,Financial Status,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku
#1001,ann@x.org,paid,2023-05-01 12:00:00 -0400,1,Green tea,4.50,T-1
#1001,,,,1,"Pot, large",20.00,P-7
#1002,bob@x.org,refunded,2023-05-02 09:00:00 -0400,2,Green tea,4.50,T-1
#1003,cem@x.org,paid,2023-05-03 10:00:00 -0400,2,Green tea,4.50,T-1
"""
BOOKS = """Buchungen 2024;;;;;

Kunden-Nr.;Kunde;Buchungsdatum;Belegart;Belegnr;Betrag in EUR
10001;Anna Ott;03.01.2024;Rechnung;R1;1.234,50
10002;Bernd Au;14.01.2024;Rechnung;R2;99,00
10001;Anna Ott;20.01.2024;Gutschrift;R3;200,00
10003;Cem Yi;25.01.2024;Mahnung;R4;5,00
"""
SHEET = """,,,
Sales of May,,,
Date,Client,Item,Total
5/1/2024 10:30 AM,c7,tea,$4.50
5/13/2024 1:05 PM,c8,pot,"$1,020.00"
5/14/2024 9:00 AM,c7,cup,$7.00
,,Total,"$1,031.50"
"""


@pytest.mark.parametrize(
    ("text", "columns", "edit", "amounts"),
    [
        (
            WEB,
            {
                "customer_id": "Email", "occurred_at": "Created at", "quantity": "Lineitem quantity",
                "order_id": "Name", "unit_price": "Lineitem price", "product_id": "Lineitem sku",
            },
            "fill_down: order\nonly: {Financial Status: paid}\n",
            [45_000, 200_000, 90_000],
        ),
        (
            BOOKS,
            {
                "customer_id": "Kunden-Nr.", "occurred_at": "Buchungsdatum", "amount": "Betrag in EUR",
                "event_type": "Belegart", "order_id": "Belegnr",
            },
            "",
            [12_345_000, 990_000, -2_000_000],
        ),
        (
            SHEET,
            {"customer_id": "Client", "occurred_at": "Date", "product_id": "Item", "amount": "Total"},
            "timezone: America/New_York\n",
            [45_000, 10_200_000, 70_000],
        ),
    ],
    ids=["web shop", "bookkeeping", "spreadsheet"],
)  # fmt: skip
def test_from_an_unknown_export_to_a_cleaned_history(
    tmp_path: Path, text: str, columns: dict[str, str], edit: str, amounts: list[int]
) -> None:
    file, yml, out = tmp_path / "export.csv", tmp_path / "shop.yml", tmp_path / "cleaned.parquet"
    file.write_text(text)
    said = run("look", file, "--out", yml)
    assert yml.read_text() in said
    found = yaml.safe_load(yml.read_text())
    assert found["columns"] == columns
    yml.write_text(yml.read_text() + edit)
    run("clean", file, "--shop", yml, "--out", out)
    assert history.read_parquet(out)["amount"].tolist() == amounts
    assert "is there already, perhaps edited" in run("look", file, "--out", yml, code=2)


def test_questions_are_those_that_a_person_must_answer(tmp_path: Path) -> None:
    """Of what the file says nothing is asked. Mutations caught: the zone of dates alone; a total that is a guest."""
    asked = {}
    for name, text in (("web", WEB), ("books", BOOKS), ("sheet", SHEET)):
        (tmp_path / name).write_text(text)
        asked[name] = look.look(tmp_path / name, Policy()).questions
    assert asked == {
        "web": [
            "1 of 4 rows have no customer: guests, or does it stand on an order's first line only (fill_down: order)?",
            "are all of 'Financial Status' wanted: 'paid' (2 rows), 'refunded' (1 rows)?"
            " (only: {Financial Status: paid})",
        ],
        "books": ["what do the event types 'Mahnung' mean? (a line that stays ? is dropped)"],
        "sheet": ["of which zone are its times (timezone: Europe/Berlin)? UTC unless it is said"],
    }
    (tmp_path / "codes").write_text("a,b\n1,01/02/2024\n2,03/04/2024\n")
    found = look.look(tmp_path / "codes", Policy())
    assert found.questions[:2] == ["which column is customer_id (text)?", "which column is amount (number)?"]
    assert found.options == {"dayfirst": "?"}
    assert found.questions[2].endswith("can be read in two ways, and no value decides; say --dayfirst or --monthfirst")


def test_what_is_typed_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("k,t,v\nx,2024-01-05,5\nx,2024-02-05,7\n")
    yml = tmp_path / "shop.yml"
    yml.write_text("columns: {customer_id: k, occurred_at: t, amount: v}\nuntil: 2024-02-01\n")
    out = tmp_path / "out"
    run("clean", tmp_path / "a.csv", "--shop", yml, "--out", out)
    assert len(history.read_parquet(out)) == 1
    run("clean", tmp_path / "a.csv", "--shop", yml, "--until", "2024-03-01", "--out", out)
    assert len(history.read_parquet(out)) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("columns: [a", "no YAML at line 1"),
        ("decimal: ','\nencoding: utf-8\ndecimal: '.'", "no YAML at line 3: 'decimal' is given twice"),
        ("columns:\n  amount: Total\n  amount: Net", "no YAML at line 3: 'amount' is given twice"),
        ('timezone: "\\udc51"', "no YAML at line 1: half a character"),
        ("only: " + "[" * 3000, "too deeply nested"),
        ("just words", "says nothing; `python -m offline look FILE` writes one"),
        ("colums: {amount: x}", "'colums' is no option; nearest is 'columns' of"),
        ("columns: {amont: x}", "columns: nearest is 'amount' of"),
        ("columns: {amount: '?', customer_id: k}", "columns: amount still ?: name a column of the file"),
        ("dayfirst: '?'", "dayfirst is still ?: fill it in, or take the line out"),
        ("dayfirst: perhaps", "dayfirst: say true or false"),
        ("only: paid", "only: say column: value"),
        ("decimal: ';'", "';' is not one of '.', ','"),
    ],
)
def test_what_the_file_says_wrong_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "a.csv").write_text("customer_id,occurred_at,amount\nx,2024-01-05,5\n")
    (tmp_path / "shop.yml").write_text(text)
    assert line in run("clean", tmp_path / "a.csv", "--shop", tmp_path / "shop.yml", "--out", tmp_path / "o", code=2)


def test_every_key_is_an_option_of_clean() -> None:
    """And every option of cleaning but those of one run has a key."""
    options = {parameter.name for parameter in main.commands["clean"].params}
    keys = {parameter for parameter, _ in shop.KEYS.values()}
    assert keys == options - {"files", "out", "shop", "quality_report"}


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).map(str.strip).filter(bool)


@given(st.dictionaries(st.sampled_from([column.name for column in NAMED]), names, min_size=1))
@settings(max_examples=200, deadline=None)
def test_names_go_through_the_file_whatever_they_hold(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, str]
) -> None:
    """As `look` writes them and the option reads them."""
    from offline.commands.common import mapping

    path = tmp_path_factory.getbasetemp() / "names.yml"
    lines = "".join(f"  {ours}: {look._scalar(theirs)}\n" for ours, theirs in columns.items())
    path.write_text("columns:\n" + lines, encoding="utf-8")
    if "?" in columns.values():
        with pytest.raises(OfflineError, match="still"):
            shop.read(path)
    else:
        assert mapping(shop.read(path)["columns"]) == columns


@pytest.mark.parametrize(
    ("header", "row", "found"),
    [
        ("k,date,order_total,tax_amount", "a,20240105,5,1", {"occurred_at": "date", "amount": "order_total"}),
        ("k,code,Rechnungsbetrag", "a,20240105,5", {"amount": "Rechnungsbetrag"}),
        ("k,timestamp,price", "a,1704450000,5.50", {"occurred_at": "timestamp", "amount": "price"}),
        ("k,day,price,qty", "a,12,5.50,2", {"unit_price": "price", "quantity": "qty"}),
        ("k,day,discount,Umsatz", "a,2024-01-05,1,5.50", {"occurred_at": "day", "amount": "Umsatz"}),
    ],
)
def test_amounts_and_dates_are_guessed_by_how_they_are_named_and_written(
    tmp_path: Path, header: str, row: str, found: dict[str, str]
) -> None:
    """Mutations caught: a tax for the total, a discount for a count, a code of digits for a date, and not where the
    column is named one; a price without a quantity left out."""
    (tmp_path / "a.csv").write_text(f"{header}\n{row}\n{row.replace('a', 'b', 1)}\n")
    assert look.look(tmp_path / "a.csv", Policy()).columns == found


def test_names_that_columns_have_are_known_in_any_spelling() -> None:
    for name in ("Customer ID", "CUSTOMER_ID", "customerId", "Stück", "Unit-Price", "E-Mail"):
        assert guess.is_one(name), name
    assert not guess.is_one("Remarks")


@pytest.mark.parametrize(
    ("head", "row", "why"),
    [
        ("customer,Order Date,Total", "c{n},{n} Foo 2024,5.50", "times like '1 Foo 2024' are not read"),
        ("customer,kind,Order Date,Total", "c{n},x,0{n}-01-24,5.50", "times like '01-01-24' are not read"),
        ("customer,date,Betrag", "c{n},2024-01-0{n},{n} : 50", "numbers like '1 : 50' are not read"),
        ("customer,date,Grand Total", "c{n},2024-01-0{n},ab{n}c", "numbers like 'ab1c' are not read"),
        ("date,amount,Email", "2024-01-0{n},{n}.50,", "nothing stands in it"),
        (
            "amount,date,user",
            "{n}.5,2024-01-0{n},2024-01-0{n} 10:00",
            "what stands there ('2024-01-01 10:00') looks like",
        ),
        ("who,date,amount", "c{n},2024-01-0{n},{n}.5", ""),
    ],
)
def test_a_column_that_has_the_name_is_told_with_what_speaks_against_it(
    head: str, row: str, why: str, tmp_path: Path
) -> None:
    """One read `which column is occurred_at?` over a column Order Date."""
    rows = [row.format(n=n) for n in range(1, 9)]
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]) + "\n")
    asked, *_ = look.look(tmp_path / "x.csv", Policy()).questions
    name = next(name for name in ("Order Date", "Betrag", "Grand Total", "Email", "user", "who") if name in head)
    assert asked.startswith("which column is ")
    assert (f"? {name!r} has such a name, but {why}" in asked) if why else asked.endswith("customer_id (text)?")


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("customer_id,Order Date,amount", "c{n},4529{n}.5,{n}.50"),
        ('customer_id,Datum,amount', 'c{n},"4529{n},25",{n}.50'),
        ("customer_id,date,amount", "123456789012{n}.0,2024-01-0{n},{n}.50"),
        ("Kundennr,date,amount", "170406720{n}.0,2024-01-0{n},{n}.50"),
    ],
    ids=["days with a point", "days with a comma", "ids like milliseconds", "ids like seconds"],
)  # fmt: skip
def test_a_spreadsheets_days_are_times_and_ids_that_became_floats_are_none(head: str, row: str, tmp_path: Path) -> None:
    """Every other command read both. Mutation caught: a point between digits makes a time of a number."""
    rows = [row.format(n=n) for n in range(1, 9)]
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]) + "\n")
    found = look.look(tmp_path / "x.csv", Policy())
    assert [*found.columns.values()] == head.split(",")


@pytest.mark.parametrize(
    ("others", "amount"),
    [
        (("Sales Rep ID", "total_items"), "Net Amount"),
        (("Total Refunded", "Total Due", "Total Canceled"), "Grand Total (Base)"),
        (("sales_channel_id", "Umsatz Konto Nr", "returned_amount"), "price"),
        (("Sales Record Number", "Value Code"), "Total Paid"),
        ((), "Amount in company currency"),
    ],
)
def test_what_begins_like_an_amount_may_be_a_number_of_something_else(
    others: tuple[str, ...], amount: str, tmp_path: Path
) -> None:
    """Wherever they stand. Mutations caught: of such names the first is added up; so is what was given back."""
    head = ",".join(["customer_id", "date", *others, amount])
    rows = [f"c{n},2024-01-0{n},{'7,' * len(others)}{n}.50" for n in range(1, 5)]
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]) + "\n")
    assert look.look(tmp_path / "x.csv", Policy()).columns["amount"] == amount


@pytest.mark.parametrize(
    ("others", "kind"), [(("Event ID", "event_date"), "event_name"), (("Vorgang Nr.", "action_time"), "Vorgangsart")]
)
def test_a_number_or_date_of_an_event_is_not_its_type(others: tuple[str, str], kind: str, tmp_path: Path) -> None:
    rows = [f"c{n},2024-01-0{n},{n}.50,e{n},20240105,sale" for n in range(1, 5)]
    (tmp_path / "x.csv").write_text("\n".join([",".join(["customer_id,date,amount", *others, kind]), *rows]) + "\n")
    found = look.look(tmp_path / "x.csv", Policy())
    assert (found.columns["event_type"], found.types) == (kind, {"sale": "purchase"})


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("amazon-order-id,order-status,buyer-email,purchase-date,item-price", "405-1,{},a{}@x.org,2024-01-0{},5.00"),
        ("Order Status,Email,Date,Total,Order", "{},a{}@x.org,2024-01-0{},5.00,77"),
        ("Name,State,Kunde,Datum,Betrag", "Ann,{},K{},2024-01-0{},5.00"),
    ],
)
def test_how_far_an_order_came_is_no_number_of_it(head: str, row: str, tmp_path: Path) -> None:
    """Nor is a name of a person, nor what kind it is. Mutation caught: any column whose name begins with order."""
    words = ("Shipped", "Cancelled", "Shipped", "no")
    rows = [row.format(word, n, n) for n, word in enumerate(words, 1)]
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]) + "\n")
    found = look.look(tmp_path / "x.csv", Policy())
    order = next((name for name in head.split(",") if name in ("amazon-order-id", "Order")), None)
    assert found.columns.get("order_id") == order
    assert any(question.startswith("are all of '") for question in found.questions)


def test_words_of_a_shop_are_texts(tmp_path: Path) -> None:
    """YAML of before 2009 takes no, on and 1 for other things. Mutation caught: a loader that does."""
    (tmp_path / "a.csv").write_text(
        "customer_id,occurred_at,amount,event_type,mail\nx,2024-01-05,5,1,no\ny,2024-01-06,7,on,yes\n"
    )
    yml, out = tmp_path / "shop.yml", tmp_path / "out"
    yml.write_text("types: {1: purchase, on: return}\nkeep_duplicates: true\n")
    run("clean", tmp_path / "a.csv", "--shop", yml, "--out", out)
    assert history.read_parquet(out)["kind"].tolist() == [0, 1]
    yml.write_text("types: {1: purchase, on: return}\nonly: {mail: no}\n")
    run("clean", tmp_path / "a.csv", "--shop", yml, "--out", out)
    assert history.read_parquet(out)["customer_id"].tolist() == ["x"]


@pytest.mark.parametrize("columns", [3, 40, 400])
def test_a_wide_file_takes_no_longer_for_each_of_its_columns(
    columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which rows are events is asked of all columns together. Mutation caught: it is asked again for each of them."""
    asked: list[int] = []
    noise = wanted.noise

    def counted(block: list[pa.Array]) -> Bools:
        asked.append(len(block))
        return noise(block)

    monkeypatch.setattr(wanted, "noise", counted)
    head = ",".join(["customer_id,occurred_at,amount", *(f"x{n}" for n in range(3, columns))])
    row = ",".join(["a,2024-01-05,5", *("1" for _ in range(3, columns))])
    (tmp_path / "a.csv").write_text(f"{head}\n{row}\n{row}\n")
    assert look.look(tmp_path / "a.csv", Policy()).missing == []
    assert asked == [columns]


@pytest.mark.parametrize(
    ("name", "values", "undone"),
    [
        ("Cancelled at", ("", "2024-02-01", "", "2024-02-03"), True),
        ("is_test", ("false", "false", "TRUE", "false"), True),
        ("Storniert", ("Nein", "Ja", "Nein", "Nein"), True),
        ("Amount Refunded", ("0.00", "", "12.50", "0"), True),
        ("Chargeback", ("", "", "x", "N/A"), True),
        ("Cancelled at", ("", "", "", ""), False),
        ("Refundable", ("yes", "yes", "yes", "yes"), False),
        ("Latest visit", ("", "2024-02-01", "", ""), False),
    ],
)
def test_what_was_cancelled_or_given_back_is_asked_about(
    name: str, values: tuple[str, ...], undone: bool, tmp_path: Path
) -> None:
    """Such sales counted, and nobody was told. The answer that the question offers leaves them out, and them alone."""
    rows = [f"c{n},2024-01-0{n},{n}.5,{value}" for n, value in enumerate(values, 1)]
    file, yml, out = tmp_path / "x.csv", tmp_path / "shop.yml", tmp_path / "out.parquet"
    file.write_text("\n".join([f"customer,date,amount,{name}", *rows]) + "\n")
    said = run("look", file, "--out", yml)
    asked = [line for line in said.splitlines() if "are they sales as they stand?" in line]
    assert bool(asked) == undone
    if undone:
        with yml.open("a") as text:
            text.write(asked[0][asked[0].index("(only: ") + 1 : -1] + "\n")
        run("clean", file, "--shop", yml, "--out", out, "--allow-loss")
        stay = [n * 10_000 + 5_000 for n, v in enumerate(values, 1) if v in ("", "N/A", "0", "0.00", "false", "Nein")]
        assert history.read_parquet(out)["amount"].tolist() == stay


@pytest.mark.parametrize(
    ("name", "words", "undone"),
    [
        ("Move", ("out_invoice", "out_refund"), ["out_refund"]),
        ("Payment", ("visa", "Refunded", "cash", "test"), ["Refunded", "test"]),
        ("Art der Zeile", ("Ware", "Gutschrift", "Storno"), ["Gutschrift", "Storno"]),
        ("Journal", ("", "Credit Note"), ["Credit Note"]),
        ("Payment", ("visa", "Credit card", "contest"), []),
        ("Shipping", ("Returnable", "Return"), []),
        ("Remark", tuple(f"return {n} or not" for n in range(13)), []),
    ],
)
def test_words_of_what_was_given_back_are_asked_about_below_any_name(
    name: str, words: tuple[str, ...], undone: list[str], tmp_path: Path
) -> None:
    """Refunds counted as sales below a name that says nothing. The answer that the question offers leaves them out, and
    them alone. Mutations caught: all words of a column; texts of which none comes twice."""
    file, yml, out = tmp_path / "x.csv", tmp_path / "shop.yml", tmp_path / "out.parquet"
    rows = [f"c{n},2024-01-05,{n}.5,{words[n % len(words)]}" for n in range(26)]
    file.write_text("\n".join([f"customer,date,amount,{name}", *rows]) + "\n")
    asked = [line for line in run("look", file, "--out", yml).splitlines() if "are they sales as they stand?" in line]
    assert bool(asked) == bool(undone)
    if undone:
        with yml.open("a") as text:
            text.write(asked[0][asked[0].index("(except: ") + 1 : asked[0].index(";")] + "\n")
        run("clean", file, "--shop", yml, "--out", out)
        stay = [n * 10_000 + 5_000 for n in range(26) if words[n % len(words)] not in undone]
        assert history.read_parquet(out)["amount"].tolist() == stay


@pytest.mark.parametrize(
    ("head", "values", "asked"),
    [
        ("quantity,price,Discount", ("0", "0.1"), "4 rows have 'Discount' (0.1): is it taken off 'price'"),
        ("quantity,price,Lineitem discount", ("", "$2.50"), "4 rows have 'Lineitem discount' ($2.50): is it"),
        ("kind,Gross Sales,Discounts", ("-1.20", "-3"), "(-3 | -1.20): is it taken off 'Gross Sales'"),
        ("kind,Betrag,Rabatt %", ("5%", "0 %"), "4 rows have 'Rabatt %' (5%): is it taken off 'Betrag'"),
        ("kind,Betrag,Discount Code", ("", "SPRING"), ""),
        ("quantity,price,Discount", ("0.00", "0"), ""),
    ],
)
def test_a_discount_beside_what_counts_is_asked_about(
    head: str, values: tuple[str, str], asked: str, tmp_path: Path
) -> None:
    """Quantity x price is more than was paid, and nobody was told."""
    rows = [f"c{n},2024-01-0{n},1,{n}.50,{values[n % 2]}" for n in range(1, 9)]
    (tmp_path / "x.csv").write_text("\n".join([f"customer,date,{head}", *rows]) + "\n")
    found = [each for each in look.look(tmp_path / "x.csv", Policy()).questions if "what was paid" in each]
    assert len(found) == bool(asked)
    assert asked in "".join(found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("city", "Å".encode().decode("latin-1").encode().decode("latin-1")),  # made UTF-8 twice
        ("note", "a\x1b$Bb"),
        ("note", "a\x7fb"),
        ("x\x01y", "a\ufffeb"),
        ("Cancelled because", "changed\nhis mind"),
        ("Cancelled because", "twice\u2028ordered"),
    ],
)
def test_what_look_writes_is_read_whatever_stands_in_the_file(name: str, text: str, tmp_path: Path) -> None:
    """Examples of a column ended the next command as `no YAML`. Mutations caught: texts as they are, in examples and in
    questions."""
    file, yml, out = tmp_path / "x.csv", tmp_path / "shop.yml", tmp_path / "out.parquet"
    head, *rows = f"customer,date,amount,order,{name}", *(f"c{n},2024-01-0{n},{n},o{n}," for n in range(1, 5))
    file.write_text("\n".join([head, f'{rows[0]}"{text}"', *rows[1:], ""]))
    run("look", file, "--out", yml)
    run("clean", file, "--shop", yml, "--out", out)
    assert history.read_parquet(out)["amount"].tolist() == [10_000, 20_000, 30_000, 40_000]


@pytest.mark.parametrize(
    ("head", "first", "below", "columns"),
    [
        (
            '"Order Reference","Customer/ID","Order Date","Order Lines/Product","Total"',
            '"S{n}","C{n}","2024-01-0{n}","[P1] Desk","{n}.5"',
            '"","","","[P2] Chair",""',
            {
                "customer_id": "Customer/ID", "occurred_at": "Order Date", "order_id": "Order Reference",
                "product_id": "Order Lines/Product", "amount": "Total",
            },
        ),
        (
            "Kunde;Datum;Menge;Betrag;Devise",
            '"K{n}";"0{n}.01.2024";"{n}";"{n},50";"EUR"',
            '"K{n}";" ";" ";" ";" "',
            {
                "customer_id": "Kunde", "occurred_at": "Datum", "quantity": "Menge", "amount": "Betrag",
                "currency": "Devise",
            },
        ),
        (
            "client,price,qty,when",
            '"a{n}","{n}.5","1","2024-01-0{n} 10:00"',
            '"a{n}","","",""\n"a{n}","","",""',
            {"customer_id": "client", "occurred_at": "when", "quantity": "qty", "unit_price": "price"},
        ),
    ],
)  # fmt: skip
def test_quoted_blanks_say_nothing_of_a_column(
    head: str, first: str, below: str, columns: dict[str, str], tmp_path: Path
) -> None:
    """Programs that quote every cell quote those in which nothing stands. Mutation caught: a blank is no time and no
    number, so half of such a column spoke against it."""
    rows = [line.format(n=n) for n in range(1, 9) for line in (first, below)]
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]) + "\n")
    found = look.look(tmp_path / "x.csv", Policy())
    assert found.columns == columns
    assert not any(" |  | " in line or "#  |" in line for line in look.document(found, "shop.yml").splitlines())


@pytest.mark.parametrize(
    ("head", "row", "customer", "order"),
    [
        ("customer_id,order_date,order_tax,order_total", "C{n},2024-01-0{n},0.{n},5.5", "customer_id", None),
        ("customer_id,Order Date,Invoice Date,amount", "C{n},2024-01-0{n},2024-02-0{n},5.5", "customer_id", None),
        ("customer_id,created_at,order_quantity,order_value", "C{n},2024-01-0{n},{n},5.5", "customer_id", None),
        ("Customer Since,Customer Name,Date,Total", "2020-01-0{n},Ann {n},2024-01-0{n},5.5", "Customer Name", None),
        ("customer_country,customer_code,date,total", "DE,K{n},2024-01-0{n},5.5", "customer_code", None),
        ("Kunde,Datum,Belegdatum,Beleg Nummer2,Betrag", "C{n},2024-01-0{n},0{n}01,R{n},5.5", "Kunde", "Beleg Nummer2"),
    ],
)
def test_what_stands_beside_an_order_is_no_number_of_it(
    head: str, row: str, customer: str, order: str | None, tmp_path: Path
) -> None:
    """Nor of a customer. Mutation caught: any column whose name begins with order: orders of one tax were one."""
    (tmp_path / "x.csv").write_text("\n".join([head, *(row.format(n=n) for n in range(1, 9))]) + "\n")
    found = look.look(tmp_path / "x.csv", Policy()).columns
    assert (found.get("customer_id"), found.get("order_id")) == (customer, order)


@pytest.mark.parametrize(
    ("head", "row", "customer"),
    [
        ("Date,User,Customer Code,Customer Name,Total", "2024-01-{n:02d},Ann,K{n},Name {n},5.5", "Customer Code"),
        ("Date,User,Customer Name,Total", "2024-01-{n:02d},Till {m},Name {n},5.5", "Customer Name"),
        ("Date,User,Total", "2024-01-{n:02d},Ann,5.5", None),
        ("Fecha,Comprador,Total", "2024-01-{n:02d},Ana {n},5.5", "Comprador"),
    ],
)
def test_who_sold_is_no_customer(head: str, row: str, customer: str | None, tmp_path: Path) -> None:
    """Mutations caught: a till's user goes before a customer's name; an id that all rows have."""
    rows = [row.format(n=n, m=n % 2) for n in range(1, 29)]
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]) + "\n")
    assert look.look(tmp_path / "x.csv", Policy()).columns.get("customer_id") == customer


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        (
            "Order Reference,Customer,Order Date,Order Lines/Product,Order Lines/Quantity,Order Lines/Unit Price",
            "Customer,Order Date,Order Reference,Order Lines/Product,Order Lines/Quantity,Order Lines/Unit Price",
        ),
        (
            "order.id,customer.email,order.created_at,line_items.sku,line_items.quantity,line_items.price",
            "customer.email,order.created_at,order.id,line_items.sku,line_items.quantity,line_items.price",
        ),
    ],
)
def test_the_last_part_of_a_name_tells_what_it_is(head: str, columns: str, tmp_path: Path) -> None:
    """As programs name the fields of what hangs on an order."""
    rows = [f"S{n},Ann {n}@x.org,2024-01-{n:02d} 10:00,P{n % 3},{n % 4 + 1},{n}.5" for n in range(1, 29)]
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]) + "\n")
    ours = ["customer_id", "occurred_at", "order_id", "product_id", "quantity", "unit_price"]
    assert look.look(tmp_path / "x.csv", Policy()).columns == dict(zip(ours, columns.split(","), strict=True))


def test_the_last_part_may_be_of_something_else(tmp_path: Path) -> None:
    """Mutations caught: what is bought is an order by its name, as a web shop calls that; the price of sending it."""
    head = "customer.email,order.created_at,line_items.name,line_items.quantity,shipping.price"
    rows = [f"Ann {n}@x.org,2024-01-{n:02d} 10:00,Tea {n},{n % 4 + 1},{n}.5" for n in range(1, 29)]
    (tmp_path / "x.csv").write_text("\n".join([head, *rows]) + "\n")
    found = look.look(tmp_path / "x.csv", Policy()).columns
    assert found.keys() == {"customer_id", "occurred_at", "quantity"}


def test_of_columns_of_times_without_a_name_the_fullest_is_guessed(tmp_path: Path) -> None:
    rows = ["2023-01-01,,", *(f",2024-01-{n:02d},C{n}" for n in range(1, 29))]
    (tmp_path / "x.csv").write_text("\n".join(["settlement-start-date,posted-date,customer", *rows]) + "\n")
    assert look.look(tmp_path / "x.csv", Policy()).columns["occurred_at"] == "posted-date"


@pytest.mark.parametrize("time", ["2024-01-{n:02d} 10:0{n}", "{n:02d}.01.2024"])
def test_lines_that_may_be_of_one_order_are_asked_about(time: str, tmp_path: Path) -> None:
    """Without an order each line is one. Mutation caught: it is asked where nearly all have a time of their own."""
    file, head = tmp_path / "x.csv", "customer,date,amount,no\n"
    lines = [f"c{n % 3},{time.format(n=n)},{line}.5,R{n}\n" for n in range(1, 9) for line in range(1, 3)]
    asked = "16 rows have customer and time of another: are they lines of one order?"
    file.write_text(head + "".join(lines))
    assert [each for each in look.look(file, Policy()).questions if each.startswith(asked)]
    file.write_text(head.replace("no", "order no") + "".join(lines))
    assert not [each for each in look.look(file, Policy()).questions if "of one order" in each]
    file.write_text(head + "".join(f"c{n},{time.format(n=n % 9 + 1)},1.5,x\n" for n in range(30)) + lines[0] + lines[1])
    assert not [each for each in look.look(file, Policy()).questions if "of one order" in each]


PRICED = {"tea": 12.5, "pot": 30.0, "cup": 7.9}


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("sku,quantity,item-price", True),
        ("Artikel,Menge,Preis", True),
        ("StockCode,Quantity,Price", True),
        ("sku,quantity,item-price", False),
        ("Artikel,Menge,Einzelpreis", False),
    ],
)
def test_a_price_that_grows_with_the_quantity_is_the_lines(names: str, line: bool, tmp_path: Path) -> None:
    """Amazon's item-price is that of all units: times the quantity it counted twice and more, and nothing said.
    Mutation caught: prices that rise with time, whatever the quantity."""
    rows = []
    for n in range(24):
        product, count = [*PRICED][n % 3], 1 + n % 4
        price = PRICED[product] + (n >= 18)
        rows.append(f"C{n % 5},2024-01-{n + 1:02},{product},{count},{price * (count if line else 1):.2f}")
    file, yml, out = tmp_path / "x.csv", tmp_path / "shop.yml", tmp_path / "out.parquet"
    file.write_text("\n".join([f"customer,date,{names}", *rows]) + "\n")
    said = run("look", file, "--out", yml)
    name = names.split(",")[2]
    assert (f"# Question: {name!r} grows with the quantity, of 3 products: is it what the line came to" in said) == line
    run("clean", file, "--shop", yml, "--out", out)
    total = sum((PRICED[[*PRICED][n % 3]] + (n >= 18)) * (1 + n % 4) for n in range(24))
    assert history.read_parquet(out)["amount"].sum() == round(total * 10_000)
    assert history.read_parquet(out)["quantity"].sum() == 60 * 10_000


def test_prices_of_fewer_cents_than_tell_are_those_of_one(tmp_path: Path) -> None:
    """Divided by hundreds they round to the same."""
    rows = [f"C{n % 5},2024-01-{n + 1:02},{'ab'[n % 2]},{100 * (1 + n % 5)},0.0{4 + n % 3}" for n in range(24)]
    (tmp_path / "x.csv").write_text("\n".join(["customer,date,sku,quantity,price", *rows]) + "\n")
    assert look.look(tmp_path / "x.csv", Policy()).columns["unit_price"] == "price"


@pytest.mark.parametrize(
    ("head", "row", "decimal"),
    [
        ("Kunde;Datum;Menge;Betrag", "K{n};2024-01-0{n};{n},000;{n}0,50", ","),
        ("Kunde;Datum;Menge;Preis", "K{n};2024-01-0{n};{n};1.{n}00", "?"),
        ("Kunde;Datum;Menge;Betrag", "K{n};2024-01-0{n};{n},500;1.20{n},50", ","),
        ("customer;date;qty;amount", "K{n};2024-01-0{n};{n}.000;1,20{n}.50", None),
        ("Kunde;Datum;Menge;Betrag", "K{n};2024-01-0{n};{n}.500;20{n},50", "?"),
    ],
)
def test_a_decimal_mark_is_asked_for_where_reading_the_file_would(
    head: str, row: str, decimal: str | None, tmp_path: Path
) -> None:
    """One column tells another's mark (SAP writes units as 1,000). Mutation caught: each column looked at alone."""
    file, yml = tmp_path / "x.csv", tmp_path / "shop.yml"
    file.write_text("\n".join([head, *(row.format(n=n) for n in range(1, 9))]) + "\n")
    found = look.look(file, Policy())
    assert found.options.get("decimal") == decimal
    assert bool([question for question in found.questions if "can be read in two ways" in question]) == (decimal == "?")
    run("look", file, "--out", yml)
    bare = yml.read_text().partition("decimal:")[0]  # as whoever answers nothing reads it
    yml.write_text(bare)
    run("clean", file, "--shop", yml, "--out", tmp_path / "out.parquet", code=2 if decimal == "?" else 0)


@pytest.mark.parametrize(
    ("name", "words", "types"),
    [
        ("tipo", ("Venta", "Devolución", "Abono"), ("purchase", "return", "return")),
        ("Typ", ("Verkauf", "Erstattung", "Auszahlung"), ("purchase", "return", "?")),
        ("Soll/Haben-Kennzeichen", ("S", "H", "S"), ("?", "?", "?")),
        ("Debit/Credit", ("Debit", "Credit", "Debit"), ("?", "return", "?")),
    ],
)
def test_what_kind_a_line_is_of_is_asked_about_under_more_names(
    name: str, words: tuple[str, ...], types: tuple[str, ...], tmp_path: Path
) -> None:
    """PayPal's Typ and a bookkeeper's Soll/Haben were no event types, so what was given back was a sale."""
    rows = [f"K{n};2024-01-0{n};{n}.50;{words[n % 3]}" for n in range(1, 9)]
    (tmp_path / "x.csv").write_text("\n".join([f"Kunde;Datum;Betrag;{name}", *rows]) + "\n")
    found = look.look(tmp_path / "x.csv", Policy())
    assert found.columns["event_type"] == name
    assert found.types == dict(zip(words, types, strict=True))
    assert any(question.startswith("what do the event types") for question in found.questions) == ("?" in types)
