"""The report of a shop that does not know all who buy, and of files that lack what a section needs."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import run

from offline.history import guests
from offline.history.fold import fold
from offline.history.policy import NEEDS, Policy
from offline.history.read import read
from offline.report import mining
from offline.report.mining import Shop

OF_CUSTOMERS = ("segments", "demand", "customer-value", "retention")
POLICY = Policy(needs=frozenset(), wants=NEEDS - {"customer_id"})


@pytest.fixture(scope="module")
def shop() -> pd.DataFrame:
    """300 orders by 60 customers in 15 weeks; tea and pot go together."""
    rng, rows = np.random.default_rng(3), []
    for order in range(300):
        day = np.datetime64("2024-01-02") + np.timedelta64(order * 7 // 20, "D")
        who = rng.integers(60)
        goods = {"tea", "pot"} if rng.random() < 0.4 else {str(rng.choice(["tea", "cup", "jam"]))}
        for product in sorted(goods | ({"jam"} if rng.random() < 0.1 else set())):
            rows.append((f"c{who}", f"{day} 10:00", f"o{order}", product, int(rng.integers(1, 5)), "2.50"))
    names = ["customer_id", "occurred_at", "order_id", "product_id", "quantity", "unit_price"]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture(scope="module")
def strangers(shop: pd.DataFrame) -> pd.DataFrame:
    """The same orders, each by a customer of its own: who never came back has no value, which is said at once."""
    return shop.assign(customer_id="k" + shop["order_id"])


def report(tmp_path: Path, frame: pd.DataFrame, *options: str) -> tuple[dict[str, str], str]:
    """(the text of each section by its anchor, "" above them; what the command printed)."""
    frame.to_csv(tmp_path / "till.csv", index=False)
    said = run("report", "--history", tmp_path / "till.csv", *options, "--out", tmp_path / "page.html")
    parts = re.split(r'<section id="([^"]+)">', (tmp_path / "page.html").read_text().split("</head>")[1])
    texts = [unescape(re.sub(r"<[^>]+>", " ", part)) for part in parts]
    return {"": texts[0], **dict(zip(texts[1::2], texts[2::2], strict=True))}, said


def every_second(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(customer_id=frame["customer_id"].where(frame["order_id"].str[-1].isin([*"13579"]), ""))


def some_with_returns(frame: pd.DataFrame) -> pd.DataFrame:
    """A tenth, who bring back a part of one order."""
    named = frame["customer_id"].where(~frame["order_id"].str.endswith("8"), None)
    back = (
        frame[frame["order_id"] == "o8"].head(1).assign(quantity=-1, occurred_at="2024-03-15 11:00", unit_price="1.50")
    )
    return pd.concat([frame.assign(customer_id=named), back.assign(customer_id=None)], ignore_index=True)


ANONYMOUS = pytest.mark.parametrize("anonymous", [every_second, some_with_returns])


def mined(tmp_path: Path, frame: pd.DataFrame) -> Shop:
    """What the command makes of a file."""
    frame.to_csv(tmp_path / "till.csv", index=False)
    history, others = guests.apart(read([tmp_path / "till.csv"], {}, policy=POLICY))
    return Shop(("till.csv",), history, fold(history.frame, history.cut_off), 30, guests=others)


@ANONYMOUS
def test_customers_are_those_of_the_file_without_guests_and_sales_those_of_all(
    shop: pd.DataFrame, tmp_path: Path, anonymous: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    """Mutations caught: the fold fed guests; rules or stock fed customers alone."""
    frame = anonymous(shop)
    who = frame["customer_id"].fillna("")
    found, without = mined(tmp_path, frame), mined(tmp_path, frame[who != ""])
    named = mined(tmp_path, frame.assign(customer_id=who.where(who != "", "g-" + frame["order_id"])))
    for of, wanted in ((found.history.frame, without.history.frame), (found.sales.frame, named.history.frame)):
        values = ["kind", "occurred_at", "order_id", "product_id", "amount", "quantity"]
        found_rows, wanted_rows = (each[values].sort_values(values, ignore_index=True) for each in (of, wanted))
        pd.testing.assert_frame_equal(found_rows, wanted_rows)
    assert found.folded.raw.tobytes() == without.folded.raw.tobytes()
    pd.testing.assert_frame_equal(mining.rules(found, len).table, mining.rules(named, len).table)
    pd.testing.assert_frame_equal(mining.stock(found, len).frame, mining.stock(named, len).frame)
    assert named.history is named.sales  # nothing is held twice


@ANONYMOUS
def test_guests_are_told_with_their_revenue(
    strangers: pd.DataFrame, tmp_path: Path, anonymous: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    frame = anonymous(strangers)
    gone, worth = frame["customer_id"].fillna("") == "", frame["quantity"] * frame["unit_price"].astype(float)
    page, said = report(tmp_path, frame, "--until", "2024-04-16")
    of = f"{gone.sum():,} rows without a customer, {frame['order_id'][gone].nunique():,} orders,"
    of += f" {worth[gone].sum():,.2f} ({worth[gone].sum() / worth.sum():.1%}) of the revenue"
    assert f"\nGuests: {of}; they count in the revenue," in said
    assert f"{worth.sum():,.2f} ({worth[gone].sum():,.2f} of guests)" in page[""]
    assert f"300 ({frame['order_id'][gone].nunique()} of guests)" in page[""]
    for section in ("segments", "retention", "model-card"):
        assert page[section].count(f"Guests are left out here: {of}.") == 1
    for section in ("bought-together", "stock"):
        assert page[section].count(f"Sales to guests count here: {of}.") == 1


# ---- what a file does not have ---------------------------------------------------------------------------------------

CARD = "model-card"
LACKS = {
    "customers": (["customer_id"], {*OF_CUSTOMERS, CARD}, "customer_id in till.csv; say --columns customer_id=..."),
    "dates": (["occurred_at"], {*OF_CUSTOMERS, CARD, "stock"}, "occurred_at in till.csv"),
    "amounts": (["unit_price"], {"segments", "demand", "customer-value", CARD}, "amount in till.csv"),
    "products": (["product_id"], {"demand", "customer-value", "bought-together", "stock"}, ""),
    "customers and orders": (["customer_id", "order_id"], {*OF_CUSTOMERS, CARD, "bought-together"}, "customer_id in"),
    "all but orders": (
        ["customer_id", "occurred_at", "unit_price", "quantity"], {*OF_CUSTOMERS, CARD, "stock"},
        "customer_id nor occurred_at nor amount in till.csv",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lacks", LACKS)
def test_what_a_file_cannot_feed_is_one_sentence_and_the_rest_stands(
    strangers: pd.DataFrame, tmp_path: Path, lacks: str
) -> None:
    columns, missing, why = LACKS[lacks]
    page, said = report(tmp_path, strangers.drop(columns=columns))
    assert {section for section, text in page.items() if "Not in this report: " in text and section} == missing
    assert ("\nNot in this report: " in said) == bool(why)
    assert f"there is no column {why}" in said or not why
    assert ("Revenue, net of returns" in page[""]) == lacks.startswith("customers")
    assert ("Units, net of returns" in page[""]) == ("unit_price" in columns)
    assert "1970" not in "".join(page.values())
    assert "nan" not in "".join(page.values()).lower()
    assert "guests" not in said.lower()


def test_a_quantity_a_day_by_product_gets_its_stock(shop: pd.DataFrame, tmp_path: Path) -> None:
    frame = shop[["occurred_at", "product_id", "quantity"]].set_axis(["date", "item", "sales"], axis=1)
    page, said = report(tmp_path, frame, "--columns", "occurred_at=date,product_id=item,quantity=sales")
    assert "Stock: " in said
    assert "Most units" in page["stock"]
    assert f"{shop['quantity'].sum():,}" not in page["segments"]


def test_a_column_under_another_name_is_pointed_at_and_not_followed(shop: pd.DataFrame, tmp_path: Path) -> None:
    for ours, theirs in (("customer_id", "Kunden-Nr."), ("customer_id", "CustomerID"), ("occurred_at", "Order Date")):
        _, said = report(tmp_path, shop.rename(columns={ours: theirs}))
        assert f"say --columns {ours}={theirs} where one has another name" in said


def test_files_that_say_nothing_or_disagree_are_refused(shop: pd.DataFrame, tmp_path: Path) -> None:
    """Dates and amounts are in all files or in none: others would stand in 1970, or be worth nothing. Rules do without.
    Mutation caught: one row without a date asked about as far off."""
    shop.to_csv(tmp_path / "a.csv", index=False)
    for lacking, said in (("occurred_at", "b.csv: no column 'occurred_at'"), ("unit_price", "b.csv: no column 'unit_")):
        shop.drop(columns=lacking).head(1).to_csv(tmp_path / "b.csv", index=False)
        files = [part for name in "ab" for part in ("--history", tmp_path / f"{name}.csv")]
        assert said in run("report", *files, "--out", tmp_path / "page.html", code=2)
        run("rules", *files, "--out", tmp_path / "rules.csv")
    shop.add_suffix("s").to_csv(tmp_path / "c.csv", index=False)
    said = run("report", "--history", tmp_path / "c.csv", "--out", tmp_path / "page.html", code=2)
    assert re.search("no column 'customer_id'.*'occurred_at'.*'amount'", said)
    assert not (tmp_path / "page.html").exists()


# ---- jobs that ask who bought ----------------------------------------------------------------------------------------

JOBS = {
    "clean": ["clean", "{}"],
    "fit": ["fit", "--history", "{}"],
    "segment": ["segment", "--history", "{}"],
    "segment TABLE": ["segment", "{}", "--columns", "occurred_at=occurred_at"],
    "value": ["value", "--history", "{}"],
    "demand": ["demand", "--history", "{}", "--horizon", "7"],
    "evaluate": ["evaluate", "--history", "{}", "--horizon", "7", "--models", "quick", "--cuts", "1"],
}


def given(job: str, file: Path) -> list[str]:
    return [part.format(file) for part in JOBS[job]]


@pytest.mark.parametrize("job", JOBS)
def test_guests_who_are_left_out_are_told_with_rows_and_money(job: str, shop: pd.DataFrame, tmp_path: Path) -> None:
    short = shop[shop["occurred_at"] < "2024-03-10"]  # too short to judge values on, which takes its time
    few = short.assign(customer_id=short["customer_id"].mask(short["order_id"].isin(["o7", "o8"]), ""))
    few.to_csv(tmp_path / "till.csv", index=False)
    said = run(*given(job, tmp_path / "till.csv"), "--out", tmp_path / "out")
    gone, worth = few["customer_id"] == "", few["quantity"]
    share = f"({gone.mean():.1%}) and {worth[gone].sum() / worth.sum():.1%} of the money, left out; rules, stock and"
    assert f"\nwithout customer: {gone.sum()} of {len(few)} rows {share}" in said
    assert "lost:" not in said


def test_who_is_named_throughout_is_told_nothing(shop: pd.DataFrame, tmp_path: Path) -> None:
    shop.to_csv(tmp_path / "till.csv", index=False)
    assert "\nwithout customer:" not in run(*given("clean", tmp_path / "till.csv"), "--out", tmp_path / "out")
    every_second(shop).to_csv(tmp_path / "till.csv", index=False)
    for job in ("rules", "stock"):  # which count them
        said = run(job, "--history", tmp_path / "till.csv", "--out", tmp_path / "out")
        assert "\nwithout customer:" not in said


@pytest.mark.parametrize("job", [job for job in JOBS if job != "clean"])
@pytest.mark.parametrize("rest", ["view,", "cart,", "return,4.50", "purchase,-4.50"])
def test_a_history_in_which_nobody_bought_is_one_line(job: str, rest: str, tmp_path: Path) -> None:
    rows = [f"c{n % 4},2024-{1 + n % 5:02}-{1 + n % 7:02} 10:00,{rest}" for n in range(40)]
    (tmp_path / "till.csv").write_text("\n".join(["customer_id,occurred_at,event_type,amount", *dict.fromkeys(rows)]))
    said = run(*given(job, tmp_path / "till.csv"), "--until", "2024-06-01", "--out", tmp_path / "out", code=2)
    last = said.rstrip().split("\n")[-1]
    assert re.fullmatch(r"offline: nobody bought anything in this history: none of its \d+ events is a purchase", last)
