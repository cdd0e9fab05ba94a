"""Tables as they were written, treatments by rule and by order, features beside plain numpy."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offline.errors import OfflineError
from offline.segments import preprocess
from offline.segments import table as customer_table
from offline.segments.table import CustomerTable, TableError
from offline.segments.treatments import TreatError, asked


def table(key: str | None = None, separator: str = ",", /, **columns: list[str]) -> CustomerTable:
    return CustomerTable(pd.DataFrame(columns, dtype="str"), key, separator)


def read(tmp_path: Path, data: str | bytes, key: str | None = None) -> CustomerTable:
    path = tmp_path / "customers.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return customer_table.read(path, key)


# ---- tables ----------------------------------------------------------------------------------------------------------

cells = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=6)


@example(";", [("x", ",")])  # with commas: one name, and rows that end in a comma
@given(st.sampled_from(",;\t|"), st.lists(st.tuples(cells.map("x{}".format), cells), min_size=1, max_size=6))
def test_what_is_written_is_read_again_to_the_letter(
    tmp_path_factory: pytest.TempPathFactory, separator: str, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    columns = dict(zip(("city", 'so "called"'), map(list, zip(*rows, strict=True)), strict=True))
    customer_table.write(path, columns, separator)
    found = customer_table.read(path)
    assert found.frame.to_dict("list") == columns
    assert found.separator == separator


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    found = read(tmp_path, b"\xef\xbb\xbfCustomerID;x\r\n7;1,5\r\n8;2\r\n\r\n")
    assert (found.id, found.separator, list(found.frame)) == ("CustomerID", ";", ["CustomerID", "x"])
    assert found.numbers("x")[0].tolist() == [1.5, 2.0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])
def test_a_table_is_read_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    city = "\u2019s-Hertogenbosch" if encoding != "latin-1" else "Köln"
    found = read(tmp_path, f"id|Städte\n7|{city}\n8|Ulm\n".encode(encoding))
    assert (found.frame["Städte"].tolist(), found.separator) == ([city, "Ulm"], "|")


def test_parquet_is_read_as_text(tmp_path: Path) -> None:
    columns = {"id": [1, 2, 3], "x": [0.1, None, 1e-7], "city": pa.array(["Köln", None, "a"]).dictionary_encode()}
    pq.write_table(pa.table(columns | {"tags": [["a"], [], None]}), tmp_path / "t.parquet")
    found = customer_table.read(tmp_path / "t.parquet")
    assert found.frame["id"].tolist() == ["1", "2", "3"]
    assert found.frame["city"].tolist() == ["Köln", "", "a"]
    assert found.frame["tags"].tolist() == ["['a']", "[]", ""]
    np.testing.assert_array_equal(found.numbers("x")[0], [0.1, np.nan, 1e-7])


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("id", "id"),
        ("age,Customer_ID", "Customer_ID"),
        ("USER ID", "USER ID"),
        ("client-no", "client-no"),
        ("age,CLIENTNUM", "CLIENTNUM"),
        ("household_id,customer id", "customer id"),
        ("paid", None),
        ("number", None),
        ("age,idea", None),
    ],
)
def test_which_column_is_the_id(tmp_path: Path, header: str, key: str | None) -> None:
    rows = "7,a\n7,b\n" if "," in header else "1\n2\n"
    assert read(tmp_path, f"{header}\n{rows}").id == key


def test_numbers_are_finite_and_gaps_are_none() -> None:
    values, bad = table(x=["1", " 2.5 ", "", "NA", "1e3"]).numbers("x")
    np.testing.assert_array_equal(values, [1, 2.5, np.nan, np.nan, 1000])
    assert bad is None
    for text in ("inf", "1e200", "n/a?", "1.5,5"):
        assert table(x=["1", text]).numbers("x")[1] == text
    assert table(None, ";", x=["1", "1,5"]).numbers("x")[1] is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "customers.csv: the file is empty"),
        ("id,x\n", "no row follows the header"),
        ("id,x\n1,2,3\n", "line 2 has 3 fields, the header 2 (separated by ',')"),
        ("x,x\n1,2\n", "column 'x' stands there more than once"),
        ("id,x\n1,2\n1,3\n", "'1' comes again in row 2 of the id column 'id'"),
        ("id,x\n1,2\n1,2\n1,3\n", "'1' comes again in row 3 of the id column 'id'"),
        ("id,x\n1,2\n,3\n", "the id column 'id' holds nothing in row 2"),
        ("äöüßäöü,x\nß,1\n".encode() + b"\xfc,2\n", "not UTF-8 in 1 bytes, but in most others"),
        (b"id,x\n1,\0\n", "holds zero bytes"),
        (b"PAR1 and no more", "cannot be read"),
    ],
)
def test_tables_that_cannot_be_read_are_one_line(tmp_path: Path, data: str | bytes, said: str) -> None:
    with pytest.raises(OfflineError) as error:
        read(tmp_path, data)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_that_is_not_there_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no column 'Customer'; nearest is 'customer_nr' of"):
        read(tmp_path, "age,customer_nr\n1,2\n", "Customer")
    assert read(tmp_path, "id,customer_nr\n1,2\n1,3\n", "customer_nr").id == "customer_nr"
    with pytest.raises(OfflineError, match="cannot be read: No such file"):
        customer_table.read(tmp_path / "nowhere.csv")


# ---- the plan --------------------------------------------------------------------------------------------------------

MANY = [f"text {n}" for n in range(21)]
NUMBERED = [n * 3 % 23 for n in range(21)]
NUMBERS = [str(n) for n in NUMBERED]


@pytest.mark.parametrize(
    ("column", "treatment", "why"),
    [
        (NUMBERS, "standard", "skewness"),
        ([str(2**n) for n in range(21)], "log", "above 1"),
        ([str(n - 9) for n in NUMBERED], "standard", "from -9 to 13: no log below 0"),
        ([str(-(2**n)) for n in range(21)], "robust", "no log below 0"),
        ([str(100 - n**4 // 2000) for n in range(21)], "robust", "skewness -1.4, below -1"),
        (["-500", "500", "-5", *map(str, [*range(-9, 9)] * 3)], "robust", "heavy tails: excess kurtosis 25.3, above 6"),
        (["a", "b", "c"] * 7, "onehot", "3 different texts"),
        (MANY[:20] + MANY[:1], "onehot", "20 different texts"),
        (MANY, "drop", "21 different texts, such as 'text 0': more than 20"),
        (["0", "1", "0"] * 7, "onehot", "two values"),
        (["7"] * 21, "drop", "one value throughout"),
        (["", "NA", "NaN"] * 7, "drop", "holds nothing"),
        ([str(n) for n in range(21)], "drop", "numbers the rows"),
    ],
)
def test_what_a_column_holds_decides(column: list[str], treatment: str, why: str) -> None:
    found = preprocess.plan(table(x=column, other=(NUMBERS * 3)[: len(column)])).treatments[0]
    assert found.treatment == treatment
    assert why in found.why


def test_ids_are_not_features() -> None:
    plan = preprocess.plan(table("nr", nr=NUMBERS, household_id=NUMBERS, x=NUMBERS))
    assert [each.treatment for each in plan.treatments] == ["drop", "drop", "standard"]


RNG = np.random.default_rng(3)
DRAWN = RNG.integers(710_000_000, 830_000_000, 200)


@pytest.mark.parametrize(
    ("name", "column", "why"),
    [
        ("CLIENTNUM", DRAWN, "named like an id"),
        ("StoreId", RNG.integers(1, 9, 200), "named like a key"),
        ("loyalty_key", RNG.integers(1, 9, 200), "named like a key"),
        ("zip", RNG.integers(10_000, 99_999, 200), "named like a postal code"),
        ("Postal Code", RNG.choice([10115, 20095, 80331], 200), "named like a postal code"),
        ("billingPLZ", RNG.integers(1_000, 9_999, 200), "named like a postal code"),
        ("phone", RNG.integers(10**9, 10**10, 200), "named like a phone number"),
        ("Mobile no", RNG.integers(10**7, 10**11, 200), "named like a phone number"),
        ("ticket_number", RNG.permutation(9_000)[:200], "named like a number of something"),
        ("region code", RNG.integers(1, 9, 200), "named like a code"),
        ("anything", DRAWN, "whole numbers of 9 digits, nearly all different: like a key"),
        ("anything", RNG.integers(100_000, 1_000_000, 200), "whole numbers of 6 digits, nearly all different"),
        ("anything", RNG.permutation(200) + 5_000, "whole numbers from 5000 to 5199, different where chance would"),
        ("anything", RNG.permutation(700)[:200], "different where chance would repeat some: like a key"),
        ("anything", [f"{n:05}" for n in RNG.integers(1_000, 99_999, 200)], "written with zeros before it, such as '0"),
    ],
)
def test_keys_and_codes_are_no_features_and_the_plan_says_how_to_take_them_in(
    name: str, column: Iterable[object], why: str
) -> None:
    given = table(**{name: list(map(str, column)), "age": list(map(str, RNG.integers(18, 80, 200)))})
    dropped, age = preprocess.plan(given).treatments
    assert (dropped.treatment, age.treatment) == ("drop", "standard")
    assert why in dropped.why
    if why != "named like an id":
        assert dropped.why.endswith(f"; to take it in: --treat {name}=standard")
    assert preprocess.plan(given, asked(f"{name}=standard")).treatments[0].treatment == "standard"
    if why != "named like an id":
        assert preprocess.plan(given, keyed=False).treatments[0].treatment != "drop"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("income", RNG.normal(55_000, 9_000, 200).round().astype(int)),  # all of 5 digits, nearly all different
        ("house price", RNG.lognormal(12.6, 0.3, 200).round().astype(int)),  # of 6 digits, skewed
        ("number_of_orders", RNG.poisson(9, 200)),
        ("NumWebVisits", RNG.poisson(5, 200)),
        ("children no", RNG.poisson(3, 200)),
        ("mobile_minutes", RNG.poisson(200, 200)),
        ("age", RNG.integers(18, 80, 200)),
        ("days", RNG.integers(0, 365, 200)),
        ("balance", RNG.normal(0, 10_000_000, 200).round().astype(int)),
        ("paid", RNG.gamma(2, 50, 200).round(2)),
        ("price_index", RNG.normal(100, 9, 200).round(1)),
        ("revenue", RNG.lognormal(16, 1, 200).round().astype(int)),
    ],
)
def test_amounts_and_counts_stay_features(name: str, column: Iterable[object]) -> None:
    (found,) = preprocess.plan(table(**{name: list(map(str, column))})).treatments
    assert found.treatment != "drop", found.why


def test_levels_that_differ_in_case_or_blanks_are_one() -> None:
    """The most frequent spelling stands for all; 1 stays a level of its own, for who wrote it is not known."""
    sex = ["Male", "male", " MALE", "Female", "female", "female ", "diverse"]
    city = ["New York", "new  york", "NEW YORK ", "Ulm", "ulm", "ULM", "Bonn"]
    flag = ["True", "TRUE", "true", "True", "1", "False", "false"]
    given = table(sex=sex, city=city, flag=flag)
    plan = preprocess.plan(given)
    assert [each.why.split(",")[0] for each in plan.treatments] == ["3 different texts"] * 3
    found = preprocess.values(given, plan)
    assert found["sex"].tolist() == [*["Male"] * 3, *["female"] * 3, "diverse"]
    assert found["city"].tolist() == [*["New York"] * 3, *["Ulm"] * 3, "Bonn"]
    assert found["flag"].tolist() == [*["True"] * 4, "1", *["False"] * 2]
    assert preprocess.plan(table(x=["Yes", "yes", "NO", "no"])).treatments[0].why == "two values"
    assert features("ordinal:low<mid<high", "HIGH", "low", "Mid", "NA") == [[1.414214], [-1.414214], [0], [0]]


def test_a_robust_scale_is_linear_within_and_logarithmic_far_out() -> None:
    """A whale and its return leave the others where they can be told apart: on the plain scale they are one point."""
    column = [*map(str, range(-5, 6))] * 12 + ["100000", "-100000"]
    robust, plain = (np.ravel(features(treat, *column)) for treat in ("robust", "standard"))
    assert np.ptp(plain[:11]) < 0.001
    assert np.ptp(robust[:11]) > 1
    steps = np.diff(robust[:11]) / np.diff(np.arcsinh(np.arange(-5, 6) / 6))  # the middle half spans 6
    np.testing.assert_allclose(steps, steps[0], rtol=1e-4)
    assert robust[-2] == pytest.approx(np.arcsinh(100_000 / 6) * steps[0], rel=1e-3)


def test_the_plan_is_told_with_gaps_counted() -> None:
    printed = str(preprocess.plan(table(x=["", "NA", *NUMBERS], city=["", *"ab" * 11]), asked("x=minmax"))).splitlines()
    assert [line.split()[:4] for line in printed] == [
        ["column", "type", "missing", "treatment"],
        ["x", "number", "2", "minmax"],
        ["city", "category", "1", "onehot"],
    ]
    assert printed[1].endswith("asked for")


@pytest.mark.parametrize(
    ("treat", "said"),
    [
        ("x", "say column=treatment"),
        ("x=mini", "no such treatment; nearest is 'minmax'"),
        ("x=minmax,x=log", "'x' is named twice"),
        ("y=log", "no column 'y'; nearest is"),
        ("x=ordinal", "say ordinal with its levels"),
        ("x=ordinal:a<a", "each once"),
        ("x=log:2", "say ordinal with its levels"),
        ("x=log", "there is no log of -2; say robust"),
        ("city=minmax", "'b' is not a number; say onehot, ordinal or drop"),
        ("city=ordinal:b<c", "'a' stands in the column but not in b<c"),
        ("gap=standard", "the column holds nothing; say drop"),
        ("many=onehot", "101 different values, at most 100"),
        ("x=drop,city=drop", "no column is left to segment by (x: asked for; city: asked for; gap: holds nothing;"),
    ],
)
def test_treatments_that_do_not_fit_are_one_line(treat: str, said: str) -> None:
    columns = {"x": [str(n % 7 - 2) for n in range(101)], "city": [*"ba" * 50, "b"], "gap": [""] * 101}
    with pytest.raises(TreatError) as error:
        preprocess.plan(table(**columns, many=[f"t{n}" for n in range(101)]), asked(treat))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("column", ["store, id", 'size 5", key', "a=b, ref", "shop id"])
def test_what_a_plan_says_to_type_is_taken_whatever_the_column_is_called(column: str) -> None:
    """Of keys with a comma in their name the told --treat was refused."""
    given = table(**{column: [f"x{n % 40}" for n in range(80)], "x": [str(n * n) for n in range(80)]})
    first = preprocess.plan(given).treatments[0]
    assert first.treatment == "drop"
    told = first.why.partition("to take it in: --treat ")[2]
    assert preprocess.plan(given, asked(f"{told},x=log")).treatments[0].treatment == told.rpartition("=")[2] == "onehot"


@pytest.mark.parametrize("level", ["a, b", "c<d", 'the "new" one'])
def test_a_level_in_quotes_is_what_they_hold(level: str) -> None:
    quoted = level.replace('"', '""')
    assert asked(f'x=ordinal:low<"{quoted}",y=drop')["x"] == ("ordinal", ("low", level))


# ---- features --------------------------------------------------------------------------------------------------------


def features(treat: str, *column: str) -> list[list[float]]:
    given = table(x=list(column))
    rows: list[list[float]] = preprocess.features(given, preprocess.plan(given, asked(f"x={treat}"))).round(6).tolist()
    return rows


def test_each_treatment_does_what_it_says() -> None:
    assert features("minmax", "2", "4", "", "10") == [[0], [0.25], [0.25], [1]]  # the median of 2, 4, 10 is 4
    assert features("standard", "1", "3") == [[-1], [1]]
    assert features("log", "0", "1", "3") == [[-1.224745], [0], [1.224745]]  # ln 1, ln 2, ln 4
    assert features("onehot", "b", "a", "b") == [[1], [0], [1]]
    assert features("onehot", "b", "a", "") == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]  # (missing), a, b
    assert features("ordinal:low<mid<high", "high", "low", "mid", "NA") == [[1.414214], [-1.414214], [0], [0]]


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**6)), min_size=4, max_size=40))
def test_numbers_are_as_numpy_makes_them(column: list[int | None]) -> None:
    given_ones = np.array([x for x in column if x is not None], float)
    if len(np.unique(given_ones)) < 3:
        return
    median = np.median(given_ones)
    filled = np.array([median if x is None else x for x in column])
    texts = table(**{name: ["" if x is None else str(x) for x in column] for name in "abc"})
    found = preprocess.features(texts, preprocess.plan(texts, asked("a=standard,b=minmax,c=log")))
    log = np.log1p(filled)
    np.testing.assert_allclose(found[:, 0], (filled - filled.mean()) / filled.std(), atol=1e-9)
    np.testing.assert_allclose(found[:, 1], (filled - filled.min()) / np.ptp(filled), atol=1e-9)
    np.testing.assert_allclose(found[:, 2], (log - log.mean()) / log.std(), atol=1e-9)
