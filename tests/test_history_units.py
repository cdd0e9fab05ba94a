"""Units and currencies that only a column, or another file, tells apart; words for nothing; what is a code."""

from pathlib import Path

import numpy as np
import pytest
from jobs import run

from offline.history import header
from offline.history import read as history

HEAD = "customer_id,occurred_at,amount"


def store(path: Path, *rows: str, head: str = HEAD) -> Path:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def amounts(tmp_path: Path, *args: object) -> list[float]:
    run("clean", *args, "--out", tmp_path / "out.parquet")
    return (history.read_parquet(tmp_path / "out.parquet")["amount"] / 10_000).tolist()


@pytest.mark.parametrize(
    ("head", "one", "other", "rate"),
    [
        ("Currency", "$5,USD", "$7,CAD", "CAD=2"),
        ("currency", "5 kr,SEK", "7 kr,NOK", "NOK=2"),
        ("Currency", "5,Euro", "7,US Dollar", "USD=2"),
        ("currency_code", "5,978", "7,840", "USD=2"),
        ("currency", "5,USDC", "7,USDT", "USDT=2"),
        ("Invoice Currency", "5,EUR", "7,USD", "USD=2"),
        ("presentment_currency", "5,EUR", "7,GBP", "GBP=2"),
        ("WKZ", "5,EUR", "7,CHF", "CHF=2"),
        ("Transaction Ccy", "5,EUR", "7,CHF", "CHF=2"),
        ("Curr.", "5,eur", "7,sek", "SEK=2"),
        ("Price Currency", "5,EUR", "7,USD", "USD=2"),
        ("Corporate currency", "5,USDC", "7,USDT", "USDT=2"),
        ("Währung (ISO)", "5,978", "7,36", "AUD=2"),
        ("Currency", "5,EUR.", "7,U.S. Dollar", "USD=2"),
        ("Currency", "5,EUR - Euro", "7,Pound Sterling (GBP)", "GBP=2"),
        ("Currency", "5,Norwegian Krone", "7,Swedish Krona", "SEK=2"),
    ],
)
def test_what_a_currency_column_says_counts(head: str, one: str, other: str, rate: str, tmp_path: Path) -> None:
    """Mutations caught: a sign that may mean several wins; unknown words pass; only whole names are found."""
    file = store(tmp_path / "x.csv", f"a,2024-01-01,{one}", f"b,2024-01-02,{other}", head=f"{HEAD},{head}")
    said = run("clean", file, "--out", tmp_path / "out.parquet", code=2)
    assert "the sum of several currencies means nothing; say --rate" in said
    assert amounts(tmp_path, file, "--rate", rate) == [5, 14]


@pytest.mark.parametrize("head", ["currency_rate", "Amount in currency", "Exchange rate (currency)"])
def test_a_rate_or_an_amount_is_no_currency_column(head: str, tmp_path: Path) -> None:
    file = store(tmp_path / "x.csv", "a,2024-01-01,5,1.08", "b,2024-01-02,7,1.09", head=f"{HEAD},{head}")
    assert amounts(tmp_path, file) == [5, 7]


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("amount", "150 ct", "900 €"),
        ("quantity", "500 g", "2 kg"),
        ("amount", "150 ct", "900"),
        ("unit_price", "900", "150 cents"),
        ("quantity", "500 g", "2 pcs"),
    ],
)
def test_units_that_differ_between_files_are_refused(column: str, one: str, other: str, tmp_path: Path) -> None:
    """Mutation caught: a unit in one file and none in the other are added up."""
    beside = {"amount": "", "quantity": ",unit_price", "unit_price": ",quantity"}[column]
    head, price = f"customer_id,occurred_at,{column}{beside}", ",1" * bool(beside)
    files = [
        store(tmp_path / f"{n}.csv", f"a,2024-01-0{n},{text}{price}", head=head) for n, text in ((1, one), (2, other))
    ]
    said = run("clean", *files, "--out", tmp_path / "out.parquet", code=2)
    assert f"{column} has several units, " in said


def test_pieces_are_no_unit(tmp_path: Path) -> None:
    head = "customer_id,occurred_at,quantity,unit_price"
    files = [
        store(tmp_path / f"{n}.csv", f"a,2024-01-0{n},{n} {unit},3", head=head) for n, unit in ((1, "pcs"), (2, ""))
    ]
    assert amounts(tmp_path, *files) == [3, 6]


@pytest.mark.parametrize("texts", [("500 g", "2 kg"), ("2 dozen", "2"), ("x2", "3 boxes"), ("1 1/2", "3")])
def test_a_quantity_that_is_not_read_beside_an_amount_is_told(texts: tuple[str, str], tmp_path: Path) -> None:
    """Mutation caught: one unit each, in silence. Views, and rows without a quantity, have none to be read."""
    head = "customer_id,occurred_at,amount,quantity,event_type"
    rows = [f"c{n},2024-01-{n:02},{n},{texts[n % 2]},purchase" for n in range(1, 9)]
    file = store(tmp_path / "x.csv", *rows, "c1,2024-01-09,5,,purchase", "c1,2024-01-09,,many,view", head=head)
    read = texts[1].isdigit()
    assert f"so each is one unit ({4 if read else 8} rows)" in run("clean", file, "--out", tmp_path / "out.parquet")
    plain = store(tmp_path / "plain.csv", "c1,2024-01-09,5,2,purchase", "c1,2024-01-10,5,,purchase", head=head)
    assert "one unit" not in run("clean", plain, "--out", tmp_path / "out.parquet")


MULTIPLIED = ["$1.5M", "1.5k€", "1.5 T€", "1.5 TEUR", "1.5 kUSD", "USD 1.5M", "$2bn", "1.5 Mkr", "₹2 Cr", "5万", "£3k"]


@pytest.mark.parametrize("text", MULTIPLIED)
def test_a_multiplier_beside_a_currency_is_not_read(text: str, tmp_path: Path) -> None:
    """Mutation caught: 1.5, in a currency $M."""
    file = store(tmp_path / "x.csv", f"a,2024-01-01,{text}", f"b,2024-01-02,{text}")
    assert "2 bad number" in run("clean", file, "--out", tmp_path / "out.parquet", code=2)


@pytest.mark.parametrize("text", ["A12X", "AB12CD", "W32L", "€5 USD"])
def test_a_unit_on_both_sides_is_none(text: str, tmp_path: Path) -> None:
    file = store(tmp_path / "x.csv", f"a,2024-01-01,{text}", f"b,2024-01-02,{text}")
    assert "2 bad number" in run("clean", file, "--out", tmp_path / "out.parquet", code=2)


@pytest.mark.parametrize(("one", "other"), [("$5 USD", "$7 CAD"), ("kr 5 SEK", "kr 7 NOK"), ("5 EUR", "€7 EUR")])
def test_a_code_beside_a_sign_tells_the_currency(one: str, other: str, tmp_path: Path) -> None:
    """Mutation caught: a currency $USD, for which no rate can be said."""
    file = store(tmp_path / "x.csv", f"a,2024-01-01,{one}", f"b,2024-01-02,{other}")
    last = other[-3:]
    if one[-3:] != last:
        run("clean", file, "--out", tmp_path / "out.parquet", code=2)
    else:
        assert amounts(tmp_path, file) == [5, 7]
    assert amounts(tmp_path, file, "--rate", f"{last}=2") == ([5, 14] if one[-3:] != last else [10, 14])


@pytest.mark.parametrize("text", ["R$5", "B$5", "5 kr", "5 TRY", "5 Kč", "MXN 5", "5 tl", "C$5", "5 ct"])
def test_a_currency_with_such_letters_is_one(text: str, tmp_path: Path) -> None:
    file = store(tmp_path / "x.csv", f"a,2024-01-01,{text}", f"b,2024-01-02,{text}")
    assert amounts(tmp_path, file) == [5, 5]


NOTHING = [
    *("#N/D", "#VALEUR!", "#ЗНАЧ!", "#NOMBRE!", "#¡NUM!", "#GETAL!", "#ARG!", "#ИМЯ?", "#DEĞER!", "#VÆRDI!", "#Н/Д"),  # noqa: RUF001
    *("undefined", "(none)", "(leer)", "(vide)", "(vacío)", "(vuoto)", "(Vazio)", "k.A.", "n.v."),
]


@pytest.mark.parametrize("word", NOTHING)
def test_words_for_nothing_of_other_languages_are_nobody(word: str, tmp_path: Path) -> None:
    file = store(tmp_path / "x.csv", f"{word},2024-01-01,5", "c1,2024-01-02,5", "c2,2024-01-02,5")
    assert len(amounts(tmp_path, file)) == 2


@pytest.mark.parametrize("word", ["#N/D", "(leer)", "k.A.", "(blank)"])
def test_what_a_person_quoted_is_a_customer(word: str, tmp_path: Path) -> None:
    """Mutation caught: quoted ones are nobody, too."""
    file = store(tmp_path / "x.csv", f'"{word}",2024-01-01,5', '"c1",2024-01-02,5')
    assert len(amounts(tmp_path, file)) == 2


def test_a_word_for_nothing_may_be_unwanted(tmp_path: Path) -> None:
    rows = ("a,2024-01-01,5,N/A", "b,2024-01-02,6,", "c,2024-01-03,7,ok")
    file = store(tmp_path / "x.csv", *rows, head=f"{HEAD},St")
    assert amounts(tmp_path, file, "--except", "St=N/A") == [7]
    assert amounts(tmp_path, file, "--only", "St=n/a") == [5, 6]
    assert amounts(tmp_path, file, "--except", "St=ok") == [5, 6]


@pytest.mark.parametrize("name", ["Currency rate", "Currency note", "Total in currency"])
def test_of_several_columns_the_first_that_holds_currencies(name: str, tmp_path: Path) -> None:
    """Mutation caught: the first by its name."""
    values = {"Currency rate": ("1.0", "1.1"), "Currency note": ("as paid", "by card"), "Total in currency": ("5", "7")}
    rows = [f"{who},2024-01-01,5,{v},{of}" for who, v, of in zip("ab", values[name], ("EUR", "USD"), strict=True)]
    file = store(tmp_path / "x.csv", *rows, head=f"{HEAD},{name},Invoice Currency")
    said = run("clean", file, "--out", tmp_path / "out.parquet", code=2)
    assert "1 rows in EUR, 1 rows in USD" in said
    alone = store(tmp_path / "y.csv", *(row.rsplit(",", 1)[0] for row in rows), head=f"{HEAD},{name}")
    assert amounts(tmp_path, alone) == [5, 5]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--except", "St=cancelled", "--except: no row of 'St' has 'cancelled'"),
        ("--except", "St=refused", "--except: no row of 'St' has 'refused'"),
        ("--types", "purchase=Sale,return=Refund", "--types: no row has 'refund'"),
        ("--types", "purchase=Sale,view=Click", "--types: no row has 'click'"),
        ("--rate", "EUR=1.08", "--rate: no row has 'EUR'"),
        ("--rate", "CAD=.75", "--rate: no row has 'CAD'"),
    ],
)
def test_what_is_named_and_stands_nowhere_is_told_once(option: str, value: str, told: str, tmp_path: Path) -> None:
    """Mutation caught: a line for each file, one of which has it or not."""
    head = f"{HEAD},St,event_type"
    files = [
        store(tmp_path / f"{n}.csv", f"a,2024-01-0{n},5,{word},sale", f"b,2024-01-0{n},6,ok,SALE", head=head)
        for n, word in ((1, "test"), (2, "N/A"))
    ]
    types = () if option == "--types" else ("--types", "purchase=sale")
    for more in ((), ("--except", "St=test"), ("--except", "St=none")):
        said = run("clean", *files, option, value, *types, *more, "--out", tmp_path / "out.parquet")
        assert [line for line in said.splitlines() if "no row" in line and told in line] == [
            line for line in said.splitlines() if "no row" in line
        ]
        assert said.count("told: " + told) == 1


@pytest.mark.parametrize("values", [("St=ok", "St=paid"), ("St=paid", "St=ok"), ("St=OK ", "St=PAID")])
def test_one_of_several_wanted_values_may_stand_nowhere(values: tuple[str, str], tmp_path: Path) -> None:
    rows = ("a,2024-01-01,5,ok", "b,2024-01-02,6,open")
    file = store(tmp_path / "x.csv", *rows, head=f"{HEAD},St")
    options = [word for value in values for word in ("--only", value)]
    said = run("clean", file, *options, "--out", tmp_path / "out.parquet")
    assert said.count("told: --only: no row of 'St' has") == 1
    assert "paid" in said.lower()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--only", "St=true"), "; --only: no row of 'St' has 'true'"),
        (("--only", "St=ok", "--only", "Kind=gift"), "; --only: no row of 'Kind' has 'gift'"),
        (("--types", "purchase=Sold"), "; --types: no row has 'sold'"),
        (("--only", "St=ok", "--except", "Kind=tea"), ""),
    ],
)
def test_where_no_row_is_left_it_is_said_what_stands_nowhere(
    options: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    """One read `no row can be used (2 left out by --only or --except)`, and not that of a value none stands there."""
    rows = ("a,2024-01-01,5,ok,tea,sale", "b,2024-01-02,6,ok,tea,sale")
    file = store(tmp_path / "x.csv", *rows, head=f"{HEAD},St,Kind,event_type")
    said = run("clean", file, *options, "--out", tmp_path / "out.parquet", code=2).splitlines()[-1]
    assert "no row can be used (2 " in said
    assert told in said
    assert ("no row of" in said or "no row has" in said) == bool(told)


# ---- tables ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("codes", ["A{}X", "AB{}CD", "W{}L", "Str. {} b", "Müller{}. Anna"])
def test_codes_are_no_numbers_with_a_unit(codes: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = [f"c{n},{codes.format(n % 50)},{rng.integers(18, 80)},{rng.integers(1, 999)}" for n in range(80)]
    table = store(tmp_path / "t.csv", *rows, head="CustomerID,Code,Age,Spent")
    said = run("segment", table, "--clusters", "2", "--out", tmp_path / "out.csv")
    assert "told: unit" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("Code")]
    assert "drop" in line


@pytest.mark.parametrize("name", ["customer", "Email", "Kunde", "client", "buyer_email", "Kunden-Nr."])
def test_events_are_known_by_every_name_of_a_customer(name: str, tmp_path: Path) -> None:
    """Mutation caught: a table of 300 customers, each of whom is an event of one of 60."""
    rng = np.random.default_rng(3)
    rows = [f"k{n % 60},2024-0{1 + n % 9}-1{n % 7},{rng.integers(5, 90)}" for n in range(300)]
    said = run(
        "segment",
        store(tmp_path / "t.csv", *rows, head=f"{name},Date,Total"),
        "--clusters",
        "2",
        "--out",
        tmp_path / "o.csv",
    )
    assert "read as --history" in said
    assert "60 customers" in said


# ---- delimiters ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "mark", "names"),
    [
        ("Name;Umsatz;Alter\n" + "".join(f"A{n}, B;{n},5;{n}\n" for n in range(9)), ";", ["Name", "Umsatz", "Alter"]),
        ("id,2022,2023,2024\n1,5,6,7\n2,5,6,7\n", ",", ["id", "2022", "2023", "2024"]),
        ("id|2022|2023\n1|5|6\n2|5|6\n", "|", ["id", "2022", "2023"]),
        ("id\t2022\n1\t5\n", "\t", ["id", "2022"]),
        ("a,b;c\n1,2;3\n4,5;6\n", ",", ["a", "b;c"]),
    ],
)
def test_the_first_line_names_the_columns_where_it_can(text: str, mark: str, names: list[str]) -> None:
    """Mutations caught: a header below it that another delimiter finds; years that cannot be names."""
    head = header.head_of(text)
    assert (head.delimiter, head.names, head.above) == (mark, names, 0)


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0"])
def test_ids_of_a_table_have_no_blanks_around_them(blank: str, tmp_path: Path) -> None:
    """A copy of a whole row leaves, one that differs is named. Mutation caught: 61 customers of 60."""
    rng = np.random.default_rng(4)
    rows = [f"K{n:03};{rng.integers(18, 80)};{rng.integers(1, 999)}" for n in range(60)]
    table = store(tmp_path / "t.csv", *rows, rows[0].replace("K000", "K000" + blank), head="CustomerID;Age;Spent")
    said = run("segment", table, "--clusters", "2", "--out", tmp_path / "out.csv")
    assert "changed: blanks around them left (1 rows)" in said
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 61
    other = store(tmp_path / "o.csv", *rows, f"K000{blank};1;2", head="CustomerID;Age;Spent")
    assert "'K000' comes again" in run("segment", other, "--out", tmp_path / "out2.csv", code=2).replace(
        blank + "'", "'"
    )
