"""What an order came to, on each of its lines: told and asked about, and counted once an order where that is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from jobs import run

from offline.history import look, totals
from offline.history import read as history
from offline.history.policy import Policy

HEAD = "order_id,customer_id,occurred_at,amount,sku"
SMALL = ["1,a,2024-01-01,60.00,x", "1,a,2024-01-01,60.00,y", "1,a,2024-01-01,60.00,z", "2,b,2024-01-02,25.50,x",
         "2,b,2024-01-02,25.50,y", "3,a,2024-01-05,10.00,x"]  # fmt: skip
TOLD = "have one amount on all their lines"


def shop(
    path: Path, prices: list[float], totals: bool, names: str = "order_id,customer_id,occurred_at,amount,sku"
) -> Path:
    """200 orders of one to four lines; totals: each line has the sum of all."""
    rng, rows = np.random.default_rng(7), []
    for order in range(200):
        paid = rng.choice(prices, rng.integers(1, 5))
        for line, price in enumerate(paid.tolist()):
            amount = paid.sum() if totals else price
            rows.append((order, f"c{order % 30}", f"2024-{order % 12 + 1:02d}-05", f"{amount:.2f}", f"p{line}"))
    pd.DataFrame(rows, columns=names.split(",")).to_csv(path, index=False)
    return path


def spent(path: Path, *options: object) -> tuple[dict[str, float], str]:
    """What each customer spent, and what was said."""
    said = run("clean", path, *options, "--out", path.with_suffix(".parquet"))
    frame = history.read_parquet(path.with_suffix(".parquet"))
    spent = frame.groupby("customer_id")["amount"].sum() / 10_000
    return {str(name): float(amount) for name, amount in spent.items()}, said


def test_a_total_on_each_line_is_told_and_counts_once_where_it_is_said(tmp_path: Path) -> None:
    """The lines stay, with what was bought. Mutations caught: nothing told; lines that leave; told after the answer."""
    (file := tmp_path / "x.csv").write_text("\n".join([HEAD, *SMALL]) + "\n")
    whole, said = spent(file)
    assert whole == {"a": 190, "b": 51}
    assert f"orders: 2 of 2 orders of several lines {TOLD}: if it is what the order came to, it counts" in said
    assert "say --amount-of order, or line" in said
    whole, said = spent(file, "--amount-of", "order")
    assert whole == {"a": 70, "b": 25.5}
    assert "changed: counts on another line of its order (3 rows)" in said
    assert "= kept                                                         6" in said
    assert TOLD not in said
    assert TOLD not in spent(file, "--amount-of", "line")[1]


def test_orders_of_a_shop_with_totals_come_to_what_they_do(tmp_path: Path) -> None:
    """Whatever the file is cut into. Mutation caught: what is found of one part of the customers alone."""
    prices = [4.5, 7.9, 12.0, 24.0, 31.25, 60.0]
    lines, totals = (shop(tmp_path / f"{each}.csv", prices, each) for each in (False, True))
    true, said = spent(lines)
    assert TOLD not in said
    doubled, said = spent(totals)
    assert TOLD in said
    assert sum(doubled.values()) > 1.5 * sum(true.values())
    assert spent(totals, "--amount-of", "order")[0] == pytest.approx(true)
    found = history.read([totals], {}, scratch=tmp_path)
    assert found.totals == history.read([totals], {}).totals is not None


def test_parts_of_a_long_history_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shop(tmp_path / "x.csv", [4.5, 7.9, 12.0, 24.0, 31.25, 60.0], totals=True)
    for amount_of in (None, "order"):
        policy = Policy(amount_of=amount_of)
        whole = history.read([file], {}, policy=policy)
        monkeypatch.setattr("offline.history.spill.HELD", 50)
        parts = history.read([file], {}, policy=policy, scratch=tmp_path)
        assert isinstance(parts.parts, list)
        assert (parts.totals, parts.counts.notes) == (whole.totals, whole.counts.notes)
        assert parts.frame["amount"].tolist() == whole.frame["amount"].tolist()
        monkeypatch.undo()


@pytest.mark.parametrize(
    "prices",
    [[1.0], [10.0, 12.0], [9.9] * 30 + [5.0, 7.0]],
    ids=["one price", "two prices", "mostly one"],
)
def test_a_shop_of_one_price_is_no_fault(prices: list[float], tmp_path: Path) -> None:
    """Mutation caught: one amount on all lines is enough."""
    file = shop(tmp_path / "x.csv", prices, totals=False)
    assert TOLD not in spent(file)[1]
    assert "amount_of" not in run("look", file, "--out", tmp_path / "shop.yml")


@pytest.mark.parametrize(
    "rows",
    [
        ["1,a,2024-01-01,60.00,x,6,10.00", "1,a,2024-01-01,60.00,y,3,20.00", "2,b,2024-01-02,25.50,x,1,25.50",
         "2,b,2024-01-02,25.50,y,1,25.50", "3,a,2024-01-05,10.00,x,1,10.00", "4,b,2024-01-06,8.00,x,2,4.00"],
        ["1,a,2024-01-01,2.50,bread,1,", "1,a,2024-01-01,2.50,bread,2,", "1,a,2024-01-01,2.50,bread,3,",
         "2,b,2024-01-02,7.00,jam,1,", "2,b,2024-01-02,7.00,jam,2,", "3,a,2024-01-05,9.00,tea,1,"],
    ],
    ids=["quantity x price", "scans of one product"],
)  # fmt: skip
def test_what_makes_the_amount_of_a_line_is_no_total(rows: list[str], tmp_path: Path) -> None:
    (file := tmp_path / "x.csv").write_text("\n".join([f"{HEAD},quantity,unit_price", *rows]) + "\n")
    assert TOLD not in spent(file, "--columns", "product_id=sku")[1]


@pytest.mark.parametrize(
    "names",
    [
        "Order ID,Customer,Order Date,Order Total,SKU",
        "Bestellnummer,Kundennummer,Datum,Gesamtbetrag,Artikelnummer",
        "increment,Email,created_at,grand_total,item",
    ],
)
def test_look_asks_whose_an_amount_is(names: str, tmp_path: Path) -> None:
    """And waits for the answer. Mutation caught: proposed without a question."""
    names = names.replace("increment", "order_increment")
    file, yml = shop(tmp_path / "x.csv", [4.5, 7.9, 12.0, 24.0, 31.25, 60.0], True, names), tmp_path / "shop.yml"
    looked = look.look(file, Policy())
    (asked,) = [question for question in looked.questions if TOLD in question]
    assert f"in {names.split(',')[3]!r}: is it what the order came to (amount_of: order)" in asked
    run("look", file, "--out", yml)
    assert "amount_of is still ?" in run("clean", file, "--shop", yml, "--out", tmp_path / "out", code=2)
    yml.write_text(yaml.safe_dump(yaml.safe_load(yml.read_text()) | {"amount_of": "order"}))
    run("clean", file, "--shop", yml, "--out", tmp_path / "out")
    assert history.read_parquet(tmp_path / "out")["amount"].gt(0).sum() == 200


def table(*orders: int, several: int, same: int, more: int) -> pd.DataFrame:
    """As `by_amount` tells it of shops with so many orders of each amount."""
    columns = {"orders": orders, "several": 0, "same": 0, "more": 0, "three": 0, "summed": 0}
    found = pd.DataFrame(columns, index=range(len(orders)))
    found.loc[0, ["several", "same", "more"]] = several, same, more
    return found


@pytest.mark.parametrize(
    ("told", "other"),
    [
        (table(*[1] * 30, several=20, same=18, more=18), table(*[1] * 30, several=20, same=17, more=17)),
        (table(*[1] * 9, several=2, same=2, more=3), table(*[1] * 9, several=1, same=1, more=3)),
        (table(3, *[1] * 7, several=8, same=8, more=9), table(4, *[1] * 6, several=8, same=8, more=9)),
        (table(1, 1, 1, several=2, same=2, more=2), table(1, 1, several=2, same=2, more=2)),
    ],
    ids=["nine in ten", "two orders", "a tenth of the pairs", "a chance of a twentieth"],
)
def test_where_a_total_begins(told: pd.DataFrame, other: pd.DataFrame) -> None:
    assert (totals.found([told]) is None, totals.found([other])) == (False, None)


def with_own_lines(path: Path, own: str, of: str) -> Path:
    """60 orders of one to four lines, each with a line of its own, in the place of its sum."""
    rng, rows = np.random.default_rng(3), ["kind,receipt,customer,date,total,sku"]
    for order in range(60):
        paid = rng.choice([4.5, 7.9, 12.0, 31.25], rng.integers(1, 5)).tolist()
        head = f"{order},c{order % 7},2024-{order % 12 + 1:02d}-05"
        rows += [f"{own},{head},{sum(paid):.2f},"] * (own == "Sale")
        rows += [f"{of},{head},{price:.2f},p{n}" for n, price in enumerate(paid)]
        rows += [f"{own},{head},{sum(paid):.2f},"] * (own != "Sale")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(("own", "of"), [("Sale", "Sale Line"), ("Summe", "Position")])
def test_a_line_that_is_the_sum_of_the_others_is_told_and_asked_about(own: str, of: str, tmp_path: Path) -> None:
    """A till's export has a line for each sale, and one for each thing that was sold in it. Mutations caught: such a
    line doubles all that was sold, and nothing is said; it is told where it was left out."""
    file = with_own_lines(tmp_path / "x.csv", own, of)
    columns = "order_id=receipt,customer_id=customer,occurred_at=date,amount=total,product_id=sku"
    doubled, said = spent(file, "--columns", columns)
    told = "have one that is the sum of the others: if it is the order's own, all that was sold counts twice"
    assert told in said
    true, said = spent(file, "--columns", columns, "--except", f"kind={own}")
    assert "the sum of the others" not in said
    assert doubled == pytest.approx({name: 2 * amount for name, amount in true.items()})
    assert any("is the sum of the others in 'total': if it is" in each for each in look.look(file, Policy()).questions)


def test_some_lines_are_the_sum_of_others_by_chance() -> None:
    """Nine in ten are no chance, nor is a second one. Mutation caught: nothing is bought, and that is the sum."""
    table = totals.by_amount(
        pd.DataFrame(
            {"customer_id": "a", "order_id": [*"111222333444"], "product_id": None, "content": range(12)}
        ).assign(amount=[3, 1, 2, 0, 0, 0, 9, 4, 5, 3, 3, 3])
    )
    assert (table["three"].sum(), table["summed"].sum()) == (4, 2)
    assert not isinstance(totals.found([table]), totals.Sums)
    for summed, of, sums in ((18, 20, True), (17, 20, False), (1, 1, False)):
        found = totals.found(
            [table.assign(several=0, same=0, three=0, summed=0).head(1).assign(three=of, summed=summed)]
        )
        assert isinstance(found, totals.Sums) == sums


def test_what_costs_nothing_tells_nothing_of_its_order() -> None:
    """Mutations caught: gifts of an order are one amount on all its lines; a return is its sale again."""
    lines = pd.DataFrame({"customer_id": "a", "order_id": [*"112233"], "product_id": [*"xyxyxy"], "content": range(6)})
    lines = lines.assign(amount=[0, 0, 5, 5, -7, 7], kind=[0, 0, 0, 0, 1, 0])
    assert totals.by_amount(lines)["same"].sum() == 1
    assert totals.again(lines).tolist() == [False, False, False, True, False, False]
    assert totals.again(lines.assign(amount=7)).tolist() == [False, True, False, True, False, False]
