"""Amounts of several currencies, ids in two spellings, and days of the shop's own clock."""

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import run

from models.events import MOST
from offline.history import clock
from offline.history import read as history
from offline.history.currencies import convert
from offline.history.policy import Policy

HEAD = "customer_id,occurred_at,amount"


def store(path: Path, *rows: str, head: str = HEAD) -> Path:
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def cleaned(tmp_path: Path, *args: object) -> tuple[list[float], str]:
    """The amounts in order of their rows, and what was said."""
    said = run("clean", *args, "--out", tmp_path / "out.parquet")
    frame = history.read_parquet(tmp_path / "out.parquet")
    return (frame["amount"] / 10_000).tolist(), said


# ---- currencies ------------------------------------------------------------------------------------------------------


def beside(tmp_path: Path) -> list[Path]:
    """In two files, beside the numbers."""
    euros = store(tmp_path / "euros.csv", "c1,2024-01-01,10.50 €", "c2,2024-01-02,7.00 €")
    return [euros, store(tmp_path / "dollars.csv", "c1,2024-01-03,$100.50", "c2,2024-01-04,USD 7.00")]


def mixed(tmp_path: Path) -> list[Path]:
    """In one column."""
    return [store(tmp_path / "x.csv", *(f"c1,2024-01-0{i},{t}" for i, t in enumerate(MIXED, 1)))]


def named(tmp_path: Path) -> list[Path]:
    """In a column of their own that nobody mapped."""
    rows = ("c1,2024-01-01,10.50,EUR", "c2,2024-01-02,7.00,eur ", "c1,2024-01-03,100.50,USD", "c2,2024-01-04,7.00,$")
    return [store(tmp_path / "x.csv", *rows, head=HEAD + ",Währung")]


MIXED = ("10.50 €", "EUR 7.00", "$100.50", "7.00 USD")


@pytest.mark.parametrize(
    ("head", "rows", "below"),
    [
        (HEAD, ("a,2024-01-01,-30", "b,2024-01-02,-20", "a,2024-02-03,5"), 2),
        (HEAD, ("a,2024-01-01,(30.00)", 'b,2024-01-02,"(1,020.00)"', "a,2024-02-03,50.00"), 2),
        (
            "customer_id,occurred_at,quantity,unit_price",
            ("a,2024-01-01,-3,7", "b,2024-01-02,1,7", "c,2024-01-03,1,7"),
            1,
        ),
        (HEAD + ",event_type", ("a,2024-01-01,5,purchase", "b,2024-01-02,20,return"), 1),
        (HEAD, ("a,2024-01-01,30", "b,2024-01-02,-20", "c,2024-02-03,-5", "c,2024-02-04,-4"), 0),
        (HEAD, ("a,2024-01-01,30", "b,2024-01-02,-30"), 0),
    ],
)
def test_more_that_was_given_back_than_bought_is_told(
    head: str, rows: tuple[str, ...], below: int, tmp_path: Path
) -> None:
    """A ledger's sales stand below 0, and all of them were returns without a word. Of all files together: returns may
    stand in one of their own. Mutations caught: rows below 0 counted against the others; each file by itself."""
    sold, said = cleaned(tmp_path, store(tmp_path / "x.csv", *rows, head=head), "--cancelled", "keep")
    what = "told: returns come to more than purchases; if it is a ledger with sales below 0, turn the signs in the file"
    assert (f"numbers    amount       {what} ({below} rows)" in said) == bool(below) == (sum(sold) < 0)
    shop = store(tmp_path / "shop.csv", *(f"d{n},2024-01-05,100{n}" for n in range(9)))
    assert what not in cleaned(tmp_path, shop, tmp_path / "x.csv", "--cancelled", "keep")[1]


@pytest.mark.parametrize("files", [beside, mixed, named])
def test_two_currencies_are_refused_or_converted(files, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Mutations caught: files that are never compared; a column of currencies that is not looked at; a sign and a code
    of one currency taken for two; a rate that divides."""
    paths = files(tmp_path)
    said = run("clean", *paths, "--out", tmp_path / "out.parquet", code=2)
    assert "--rate" in said
    assert "EUR" in said or "€" in said
    assert not (tmp_path / "out.parquet").exists()
    amounts, said = cleaned(tmp_path, *paths, "--rate", "USD=.5")
    assert amounts == [10.5, 7, 50.25, 3.5]
    assert "changed: USD times 0.5 (2 rows)" in said
    assert cleaned(tmp_path, *paths, "--rate", "€=2")[0] == [21, 14, 100.5, 7]


def test_three_currencies_need_two_rates_and_the_files_are_named(tmp_path: Path) -> None:
    paths = [*beside(tmp_path), store(tmp_path / "pounds.csv", "c3,2024-01-05,£1.00", "c3,2024-01-06,£2.00")]
    said = run("clean", *paths, "--rate", "USD=0.9", "--out", tmp_path / "out.parquet", code=2)
    assert f"{paths[0]}: 2 rows in EUR; {paths[2]}: 2 rows in GBP" in said
    assert "dollars.csv" not in said
    assert cleaned(tmp_path, *paths, "--rate", "USD=1,GBP=1.2")[0][-2:] == [1.2, 2.4]


def test_a_currency_that_is_left_out_does_not_count_and_neither_does_a_word_that_is_none(tmp_path: Path) -> None:
    assert cleaned(tmp_path, *named(tmp_path), "--only", "Währung=EUR")[0] == [10.5, 7]
    odd = store(tmp_path / "odd.csv", "c1,2024-01-01,5,unknown", "c1,2024-01-02,6,", head=HEAD + ",currency")
    assert cleaned(tmp_path, odd)[0] == [5, 6]


@pytest.mark.parametrize("rate", ["USD", "USD=0", "USD=-1", "USD=1e3", "USD=x", "USD=1,$=2"])
def test_what_is_no_rate_is_refused(rate: str, tmp_path: Path) -> None:
    said = run("clean", *beside(tmp_path), "--rate", rate, "--out", tmp_path / "out.parquet", code=2)
    assert said.startswith("offline: --rate")
    assert said.count("\n") == 1


def test_a_mean_of_several_currencies_is_refused(tmp_path: Path) -> None:
    options = ("--rate", "USD=2", "--missing", "amount=mean")
    said = run("clean", *beside(tmp_path), *options, "--out", tmp_path / "out.parquet", code=2)
    assert "--missing amount: amounts of several currencies" in said


@given(st.lists(st.integers(-(10**13), 10**13), min_size=1, max_size=5), st.decimals("0.0001", "99999", places=4))
@settings(max_examples=60, deadline=None)
def test_a_converted_amount_is_exact_and_rounded_once(units: list[int], rate: Decimal) -> None:
    """Against fractions. What is larger than an amount may be is a bad number."""
    found, fits = convert(np.array(units), pa.array(["USD"] * len(units)), {"USD": rate}, Counter())
    for unit, got, fit in zip(units, found.tolist(), fits.tolist(), strict=True):
        exact = round(Fraction(rate) * unit)
        assert fit == (abs(exact) <= MOST)
        assert not fit or got == exact


def test_look_asks_for_the_rate(tmp_path: Path) -> None:
    """Mutation caught: a rate that stays open and is passed over."""
    (file,), shop = named(tmp_path), tmp_path / "shop.yml"
    said = run("look", file, "--out", shop)
    assert "its amounts are in EUR (2 rows) and USD (2 rows): how much EUR is one USD (rate)" in said
    assert "rate is still ?" in run("clean", file, "--shop", shop, "--out", tmp_path / "out.parquet", code=2)
    shop.write_text(shop.read_text().replace("{USD: '?'}", "{USD: 0.5}"))
    assert cleaned(tmp_path, file, "--shop", shop)[0] == [10.5, 7, 50.25, 3.5]


def test_a_currency_may_stand_on_the_first_line_of_an_order(tmp_path: Path) -> None:
    """Mapped or not. Mutation caught: only customer, time and type filled down."""
    for name in ("currency", "Devise"):
        head = f"order_id,customer_id,occurred_at,{name},quantity,unit_price"
        rows = ("1,a@x,2024-01-01,EUR,1,5.00", "1,,,,2,3.00", "2,b@x,2024-01-02,USD,1,7.00", "2,,,,1,1.00")
        file = store(tmp_path / "orders.csv", *rows, head=head)
        assert cleaned(tmp_path, file, "--fill-down", "order", "--rate", "EUR=2")[0] == [10, 12, 7, 1]


# ---- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["customer_id", "product_id"])
def test_ids_that_differ_in_case_alone_are_told_and_made_one(column: str, tmp_path: Path) -> None:
    """Mutations caught: the last spelling; small letters; a file of its own spelling."""
    other = {"customer_id": "product_id", "product_id": "customer_id"}[column]
    head = f"occurred_at,amount,order_id,{other},{column}"
    one = store(tmp_path / "one.csv", "2024-01-01,1,o1,x,Ann@x.org", "2024-01-02,1,o2,x,bob", head=head)
    two = store(tmp_path / "two.csv", "2024-01-03,1,o3,x,ANN@x.org", "2024-01-04,1,o4,x,bob", head=head)
    out = tmp_path / "out.parquet"
    said = run("clean", one, two, "--out", out)
    assert "'ANN@x.org'" in said
    assert "'Ann@x.org'" in said
    assert "differ in case alone; --ids any-case makes such ids one (2 rows)" in said
    said = run("clean", one, two, "--ids", "any-case", "--out", out)
    assert history.read_parquet(out)[column].tolist() == ["Ann@x.org", "bob", "Ann@x.org", "bob"]
    assert f"ids        {column:<13}changed: spelled as it stood first, but for case (1 rows)" in said


@pytest.mark.parametrize("pair", ["\u0130nce,ince", "\u0393\u0399\u03a3,\u03b3\u03b9\u03c2", "Stra\u00dfe,STRASSE"])
def test_case_is_that_of_every_alphabet(pair: str, tmp_path: Path) -> None:
    """Mutation caught: two libraries that do not agree what small letters are."""
    one, other = pair.split(",")
    file = store(tmp_path / "x.csv", f"{one},2024-01-01,5", f"{other},2024-01-02,5", "c,2024-01-03,5")
    assert "differ in case alone" in cleaned(tmp_path, file)[1]
    cleaned(tmp_path, file, "--ids", "any-case")
    assert history.read_parquet(tmp_path / "out.parquet")["customer_id"].tolist() == [one, one, "c"]


@pytest.mark.parametrize("blank", ["\u200b", "\ufeff", "\u2060", "\u3000"])
def test_blanks_of_no_width_are_no_part_of_an_id(blank: str, tmp_path: Path) -> None:
    file = store(
        tmp_path / "x.csv", "d,2024-01-01,5", f"{blank}c1,2024-01-01,5", f"c1{blank},2024-01-02,5", "c1,2024-01-03,5"
    )
    assert "changed: blanks around them left (2 rows)" in cleaned(tmp_path, file)[1]
    assert history.read_parquet(tmp_path / "out.parquet")["customer_id"].tolist() == ["d", "c1", "c1", "c1"]


def test_what_keeps_a_number_a_text_is_no_part_of_an_id(tmp_path: Path) -> None:
    """As programs write it for spreadsheets. Mutation caught: three customers of one."""
    rows = (
        "d,2024-01-01,5",
        '"=""00123""",2024-01-01,5',
        "'00123,2024-01-02,5",
        "00123,2024-01-03,5",
        "o'neil,2024-01-04,5",
    )
    said = cleaned(tmp_path, store(tmp_path / "x.csv", *rows))[1]
    assert "changed: blanks around them left (2 rows)" in said
    names = history.read_parquet(tmp_path / "out.parquet")["customer_id"].tolist()
    assert names == ["d", "00123", "00123", "00123", "o'neil"]


def test_ids_that_were_rounded_are_taken_when_it_is_said(tmp_path: Path) -> None:
    file = store(tmp_path / "x.csv", "1.23457E+12,2024-01-01,5", "1.23458E+12,2024-01-01,5", "c1,2024-01-01,5")
    said = run("clean", file, "--out", tmp_path / "out.parquet", code=2)
    assert "'1.23457E+12'" in said
    assert "--ids rounded" in said
    amounts, said = cleaned(tmp_path, file, "--ids", "rounded", "--ids", "any-case")
    assert amounts == [5, 5, 5]
    assert "told: numbers like 1.23457E+12, of which a spreadsheet left the first digits: several may be one" in said


# ---- the shop's clock ------------------------------------------------------------------------------------------------


def bought(tmp_path: Path) -> Path:
    """40 customers who come at 8 and at 20 o'clock, on the same days."""
    rng = np.random.default_rng(5)
    rows = [
        f"c{who},{np.datetime64('2024-01-01') + np.timedelta64(day, 'D')}T{hour}:00,{amount:.2f}"
        for who in range(40)
        for day in np.sort(rng.choice(120, rng.integers(3, 9), replace=False)).tolist()
        for hour, amount in (("08", rng.uniform(5, 20)), ("20", rng.uniform(5, 20)))
    ]
    return store(tmp_path / "shop.csv", *rows)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_value_counts_days_of_the_shops_clock(zone: str, tmp_path: Path) -> None:
    """As if the shop stood at Greenwich. Mutations caught: days of UTC; a customer lost whose only day is the last."""
    file = bought(tmp_path)
    tables = []
    for name in ("UTC", zone):
        out = tmp_path / "value.csv"
        said = run("value", "--history", file, "--timezone", name, "--until", "2024-06-01", "--out", out)
        tables.append(pd.read_csv(out, index_col="customer_id"))
        assert ("purchase days of customers" in said) == (name == zone)
    here, there = tables
    columns = ["frequency", "recency", "T", "monetary_value"]
    pd.testing.assert_frame_equal(here[columns], there[columns])


def test_other_jobs_say_by_how_much_days_differ(tmp_path: Path) -> None:
    """Two visits a day, of which Tokyo's morning is yesterday's in UTC."""
    file = store(tmp_path / "x.csv", "a,2024-03-01T08:00,5", "a,2024-03-01T20:00,5", "b,2024-03-02T20:00,5")
    policy = Policy()
    read = history.read([file], {}, "Asia/Tokyo", policy=policy)
    said = clock.differ(read)
    assert said is not None
    assert "3 purchase days of customers, 2 by the clock of Asia/Tokyo (+50.0%)" in said
    assert clock.differ(history.read([file], {}, policy=policy)) is None
    dates = store(tmp_path / "dates.csv", "a,2024-03-01,5", "a,2024-03-02,5")
    assert clock.differ(history.read([dates], {}, "Asia/Tokyo", policy=policy)) is None


def test_parts_of_a_long_history_differ_like_the_whole(tmp_path: Path) -> None:
    file = bought(tmp_path)
    whole = history.read([file], {}, "Asia/Tokyo")
    with_parts = history.read([file], {}, "Asia/Tokyo", scratch=tmp_path)
    assert clock.differ(whole) == clock.differ(with_parts)


@pytest.mark.parametrize("name", ["WAERS", "Whg", "BillingCurr", "x"])
@pytest.mark.parametrize(("one", "other"), [("EUR", "USD"), ("CLP", "ARS"), ("TRY", "GEL"), ("SEK", "sek")])
def test_a_column_of_codes_is_one_of_currencies_whatever_its_name(
    name: str, one: str, other: str, tmp_path: Path
) -> None:
    """Not mapped, and nothing beside the numbers. What is written otherwise than a code is no code."""
    rows = (f"a,2024-01-01,10,{one}", f"a,2024-01-02,10,{other}", f"b,2024-01-03,10, {one}", "b,2024-01-04,10,")
    file, out = store(tmp_path / "x.csv", *rows, head=f"{HEAD},{name}"), tmp_path / "out.parquet"
    if other == "sek":
        assert cleaned(tmp_path, file)[0] == [10, 10, 10, 10]
        return
    said = run("clean", file, "--out", out, code=2)
    assert f"2 rows in {one}, 1 rows in {other}: the sum of several currencies means nothing; say --rate" in said
    amounts, said = cleaned(tmp_path, file, "--rate", f"{other}=0.5")
    assert amounts == [10, 5, 10, 10]
    assert f"told: x.csv: no currency, read as {one} (1 rows)" in said
    assert f"rate: {{{other}: '?'}}" in run("look", file, "--out", tmp_path / "shop.yml")


@pytest.mark.parametrize("words", [("TOP", "CUP"), ("DEU", "FRA"), ("EUR", "DEU"), ("XXL", "EUR")])
def test_a_column_of_other_words_is_none_of_currencies(words: tuple[str, str], tmp_path: Path) -> None:
    """Mutations caught: any three letters; codes that are words too."""
    rows = [f"a,2024-01-0{n},10,{word}" for n, word in enumerate(words, 1)]
    amounts, said = cleaned(tmp_path, store(tmp_path / "x.csv", *rows, head=f"{HEAD},x"))
    assert amounts == [10, 10]
    assert "currency" not in said


def test_a_second_currency_far_below_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation caught: a column that is looked at for two codes in its first block."""
    monkeypatch.setattr("offline.history.csvs.BLOCK", 256)
    rows = [f"a,2024-01-{n % 28 + 1:02d},{n},EUR" for n in range(100)]
    file = store(tmp_path / "x.csv", *rows, "b,2024-01-04,10,USD", head=f"{HEAD},WAERS")
    said = run("clean", file, "--out", tmp_path / "out.parquet", code=2)
    assert "100 rows in EUR" in said or "99 rows in EUR" in said
    assert "1 rows in USD" in said


@pytest.mark.parametrize(
    ("head", "currency", "other"),
    [(f"{HEAD},currency", ",EUR", ","), (HEAD, " €", ""), (f"{HEAD},Whg", ",EUR", ",n/a")],
)
def test_amounts_in_no_currency_beside_others_in_one_are_told(
    head: str, currency: str, other: str, tmp_path: Path
) -> None:
    """In one file, and in another. Mutations caught: each; told where nothing is in any."""
    with_one = store(tmp_path / "one.csv", *(f"a,2024-01-0{n},1.50{currency}" for n in range(1, 6)), head=head)
    without = store(tmp_path / "two.csv", "b,2024-02-01,1.50", "b,2024-02-02,2.50")
    amounts, said = cleaned(tmp_path, with_one, without)
    assert amounts == [1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 2.5]
    assert "numbers    amount       told: two.csv: no currency, read as EUR (2 rows)" in said
    assert "no currency" not in cleaned(tmp_path, without)[1]
    if "," in currency:
        rows = (f"a,2024-01-0{n},1.50{currency if n % 2 else other}" for n in range(1, 7))
        said = cleaned(tmp_path, store(tmp_path / "one.csv", *rows, head=head))[1]
        assert "told: one.csv: no currency, read as EUR (3 rows)" in said
