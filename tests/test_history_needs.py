"""Jobs ask only for the columns that they need, and sales to guests count where nobody asks who bought."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import run

from models.kinds import PURCHASE, RETURN
from offline.history import files
from offline.history import read as history
from offline.history.policy import NEEDS, Policy
from offline.rules.rules import baskets


@pytest.fixture(scope="module")
def shop() -> pd.DataFrame:
    """400 orders of two years by 40 customers; tea and pot go together."""
    rng, rows = np.random.default_rng(3), []
    for order in range(400):
        day = np.datetime64("2023-01-02") + np.timedelta64(order * 7 // 4, "D")
        goods = ["tea", "pot"] if rng.random() < 0.4 else [str(rng.choice(["tea", "pot", "cup", "jam"]))]
        for product in goods + ["jam"] * (rng.random() < 0.1):
            rows.append((f"c{order % 40}", str(day), f"o{order}", product, int(rng.integers(1, 5)), "2.50"))
    names = ["customer_id", "occurred_at", "order_id", "product_id", "quantity", "unit_price"]
    return pd.DataFrame(rows, columns=names)


def test_rules_ask_for_orders_and_products_alone(shop: pd.DataFrame, tmp_path: Path) -> None:
    """Neither customers, dates nor amounts change what was bought together. Mutation caught: one of them asked for."""
    every, two = ["occurred_at", "unit_price", "quantity", "customer_id"], tmp_path / "rules.csv"
    found = []
    for without in ([], every[:1], every[1:3], every[3:], every):
        shop.drop(columns=without).to_csv(tmp_path / "till.csv", index=False)
        run("rules", "--history", tmp_path / "till.csv", "--out", two)
        found.append(two.read_bytes())
    assert len(set(found)) == 1
    shop.drop(columns=[*every, "product_id"]).to_csv(tmp_path / "till.csv", index=False)
    assert "no column 'product_id'" in run("rules", "--history", tmp_path / "till.csv", "--out", two, code=2)


def test_stock_asks_for_dates_products_and_units_alone(shop: pd.DataFrame, tmp_path: Path) -> None:
    found = []
    for n, without in enumerate(([], ["customer_id"], ["unit_price"], ["customer_id", "unit_price"])):
        shop.drop(columns=without).to_csv(tmp_path / f"{n}.csv", index=False)
        run("stock", "--history", tmp_path / f"{n}.csv", "--out", tmp_path / "stock.csv")
        found.append((tmp_path / "stock.csv").read_bytes())
    assert len(set(found)) == 1
    shop.drop(columns="occurred_at").to_csv(tmp_path / "none.csv", index=False)
    assert "no column 'occurred_at'" in run(
        "stock", "--history", tmp_path / "none.csv", "--out", tmp_path / "x", code=2
    )


def test_sales_to_guests_count_in_rules_and_stock_and_are_said_elsewhere(shop: pd.DataFrame, tmp_path: Path) -> None:
    """Every second order is a guest's. Mutations caught: guests' baskets lost by a group-by; their rows dropped."""
    guests = shop.assign(customer_id=shop["customer_id"].where(shop["order_id"].str[-1].isin([*"02468"]), ""))
    for name, frame in (("all", shop), ("guests", guests)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    for job in ("rules", "stock"):
        said = [run(job, "--history", tmp_path / f"{n}.csv", "--out", tmp_path / f"{n}.out") for n in ("all", "guests")]
        assert (tmp_path / "all.out").read_bytes() == (tmp_path / "guests.out").read_bytes()
        n = int((guests["customer_id"] == "").sum())
        assert f"missing    customer_id  told: sales without a customer stay ({n} rows)" in said[1]
        assert "without a customer" not in said[0]
    cleaned = run("clean", tmp_path / "guests.csv", "--out", tmp_path / "cleaned.parquet")
    assert f"- without customer (1 to 128 bytes){n:>29,}" in cleaned


def clean(path: Path, needs: frozenset[str] = NEEDS) -> history.History:
    policy = Policy(needs=needs)
    return history.clean(files.look([path], {}, policy), "UTC", None, None, policy)


def test_a_guest_takes_back_what_that_order_bought(tmp_path: Path) -> None:
    """Two guests are not one customer. Mutation caught: guests compared by being nobody."""
    rows = [
        ("", "2024-01-01", "o1", "tea", 2, "5"),
        ("", "2024-01-02", "o2", "tea", 2, "5"),
        ("", "2024-01-03", "o2", "tea", -2, "5"),
        ("c1", "2024-01-04", "o3", "tea", 2, "5"),
    ]
    names = ["customer_id", "occurred_at", "order_id", "product_id", "quantity", "unit_price"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "till.csv", index=False)
    frame = clean(tmp_path / "till.csv", frozenset({"occurred_at"})).frame
    assert frame["order_id"].tolist() == ["o1", "o3"]
    assert clean(tmp_path / "till.csv").frame["order_id"].tolist() == ["o3"]


def test_without_amounts_quantities_say_what_was_given_back() -> None:
    lines = [
        ("o1", "tea", 3, PURCHASE),
        ("o1", "tea", -1, RETURN),
        ("o1", "pot", 1, PURCHASE),
        ("o2", "pot", 1, PURCHASE),
    ]
    lines += [("o2", "tea", 1, PURCHASE), ("o2", "tea", -1, RETURN)]
    frame = pd.DataFrame(lines, columns=["order_id", "product_id", "quantity", "kind"]).assign(
        amount=0, customer_id=None
    )
    found = baskets(frame)
    assert found.products == ["pot", "tea"]
    assert sorted(found.matrix.toarray().tolist()) == [[True, False], [True, True]]


@pytest.mark.parametrize(
    ("job", "lacking"),
    [("rules", "order_id=...,product_id=..."), ("stock", "product_id=...,occurred_at=...")],
)
def test_a_job_asks_for_no_more_than_it_needs(job: str, lacking: str, tmp_path: Path) -> None:
    """Of a file in which no column has a name of ours. Mutation caught: all columns of an event are asked for."""
    (tmp_path / "x.csv").write_text("order;item\n1;a\n1;b\n")
    said = run(job, "--history", tmp_path / "x.csv", "--out", tmp_path / "out.csv", code=2)
    assert said.endswith(f"name them with --columns {lacking}\n")
