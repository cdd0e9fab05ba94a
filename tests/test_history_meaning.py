"""What the shop means is said by the user: its event types, which rows are wanted, where an order's fields stand."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import run

from models.kinds import PURCHASE, RETURN, VIEW
from offline.history import files, look
from offline.history import read as history
from offline.history.policy import Policy
from offline.history.wanted import FillDown


def store(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


BOOKS = """Konto;Datum;Beleg;Betrag
K1;2024-01-03;Rechnung;100.00
K2;2024-01-04; RECHNUNG ;50.00
K1;2024-01-08;Gutschrift;40.00
K1;2024-01-09;Mahnung;5.00
"""
GERMAN = ["--columns", "customer_id=Konto,occurred_at=Datum,event_type=Beleg,amount=Betrag"]


def test_event_types_are_read_in_the_shops_own_words(tmp_path: Path) -> None:
    """Mutations caught: case or blanks of a word; one meaning for each of ours; unknown words unnamed."""
    books, out = store(tmp_path / "books.csv", BOOKS), tmp_path / "out.parquet"
    said = run("clean", books, *GERMAN, "--allow-loss", "--types", "purchase=Rechnung", "--out", out)
    assert "told: 'Gutschrift' is no event type; perhaps return=Gutschrift in --types, too (1 rows)" in said
    assert "told: 'Mahnung' is no event type; see --types (1 rows)" in said
    assert "- of no known event type                                       2" in said
    said = run("clean", books, *GERMAN, "--out", out, code=2)
    named = "'Rechnung' (1), 'RECHNUNG' (1), 'Gutschrift' (1), 'Mahnung' (1)"
    perhaps = "say what they mean, perhaps --types purchase=Rechnung,return=Gutschrift"
    assert f"4 of no known event type); {named}: {perhaps}" in said
    columns = ["--columns", "customer_id=Konto,occurred_at=Datum,amount=Betrag"]
    said = run("clean", books, *columns, "--types", "purchase=Rechnung", "--out", out, code=2)
    assert "no column 'event_type'" in said, "or all of them would be purchases"
    types = "purchase=Rechnung,return=Gutschrift,view=Mahnung"
    said = run("clean", books, *GERMAN, "--types", types, "--out", out)
    assert "no event type" not in said
    frame = history.read_parquet(out)
    assert frame["kind"].tolist() == [PURCHASE, PURCHASE, RETURN, VIEW]
    assert frame["amount"].tolist() == [1_000_000, 500_000, -400_000, 0]
    ours = store(
        tmp_path / "ours.csv",
        "customer_id,occurred_at,event_type,amount\na,2024-01-01,Sale,5\na,2024-01-02,purchase,5\n",
    )
    run("clean", ours, "--types", "purchase=Sale,purchase=Order", "--out", out)
    assert len(history.read_parquet(out)) == 2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--types", "refund=Gutschrift"], "--types: 'refund' is no event type of ours; nearest is 'return'"),
        (["--types", "purchase=X,return=x"], "--types 'purchase=X,return=x': a word of theirs is named twice"),
        (["--types", "purchase"], "--types 'purchase': say ours=theirs,..., for example purchase=Rechnung"),
        (["--only", "Status"], "--only 'Status': say column=value, for example"),
        (["--except", "=x"], "--except '=x': say column=value, for example"),
        (["--only", "Statuss=paid"], "has no column 'Statuss'; nearest is 'Status' of"),
        (["--except", "Stat=paid"], "has no column 'Stat'; nearest is 'Status' of"),
        (["--fill-down", "order"], "has no column order_id; name it with --columns order_id="),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, options: list[str], line: str) -> None:
    file = store(tmp_path / "shop.csv", "customer_id,occurred_at,amount,Status\na,2024-01-01,5,paid\n")
    assert line in run("clean", file, *options, "--out", tmp_path / "out", code=2)


def test_only_wanted_rows_stay(tmp_path: Path) -> None:
    """Several values of a column are `or`, several columns `and`; what is left out is counted and no loss. Mutations
    caught: two values of one column taken for two columns; --except before --only wins."""
    rows = [("paid", "web"), ("Paid ", "pos"), ("refunded", "web"), ("pending", "web"), ("", "web"), ("paid", "test")]
    text = "customer_id,occurred_at,amount,Financial Status,Source\n"
    text += "".join(f"c{n},2024-01-0{n + 1},{n + 1},{status},{source}\n" for n, (status, source) in enumerate(rows))
    file, out = store(tmp_path / "shop.csv", text), tmp_path / "out.parquet"

    def kept(*options: str) -> list[int]:
        said = run("clean", file, *options, "--out", out)
        found = history.read_parquet(out)["amount"].tolist()
        assert f"{'- left out by --only or --except':<50}{6 - len(found):>14}" in said
        assert "lost:" not in said
        return [amount // 10_000 for amount in found]

    assert kept("--only", "Financial Status=paid") == [1, 2, 6]
    assert kept("--only", "Financial Status=paid", "--only", " Financial Status = REFUNDED") == [1, 2, 3, 6]
    assert kept("--only", "Financial Status=paid", "--only", "Source=web") == [1]
    assert kept("--only", "Financial Status=paid", "--except", "Source=test") == [1, 2]
    assert kept("--except", "Financial Status=") == [1, 2, 3, 4, 6]


SHOP = """Name,Email,Created at,Financial Status,Lineitem sku,Lineitem quantity,Lineitem price
#1001,ann@x.org,2023-05-01 12:00:00 -0400,paid,tea,1,4.50
#1001,,,,pot,1,20.00
#1002,bob@x.org,2023-05-02 09:00:00 -0400,pending,tea,2,4.50
#1002,,,,cup,1,7.00
#1003,,2023-05-03 10:00:00 -0400,paid,tea,1,4.50
#1003,,,,pot,1,20.00
"""
SHOPS = "order_id=Name,customer_id=Email,occurred_at=Created at,product_id=Lineitem sku,quantity=Lineitem quantity"
WEB = ["--columns", SHOPS + ",unit_price=Lineitem price"]


def test_fields_of_an_order_are_filled_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web shop's export, in blocks that part an order too: the guest of the last order does not become its neighbour.
    Mutation caught: what stands above filled in whatever the order."""
    monkeypatch.setattr(files, "BLOCK", 160, raising=False)
    file, out = store(tmp_path / "orders.csv", SHOP), tmp_path / "out.parquet"
    options = [*WEB, "--fill-down", "order", "--allow-loss"]
    said = run("clean", file, *options, "--only", "Financial Status=paid", "--out", out)
    frame = history.read_parquet(out)
    assert frame[["customer_id", "order_id", "product_id"]].to_numpy().tolist() == [
        ["ann@x.org", "#1001", "tea"],
        ["ann@x.org", "#1001", "pot"],
    ]
    assert "changed: filled down from the order's first line" in said
    assert "- without customer (1 to 128 bytes)                            2" in said
    said = run("clean", file, *WEB, "--allow-loss", "--out", out)
    assert "filled down" not in said
    assert len(history.read_parquet(out)) == 2


LINES = """Order,Email,Date,State,Total
1,a@x.org,2024-01-01,{},5
1,a@x.org,2024-01-01,{},6
2,b@x.org,2024-01-02,{},7
2,b@x.org,2024-01-02,{},8
"""
SUMS = ["--columns", "order_id=Order,customer_id=Email,occurred_at=Date,amount=Total"]


@pytest.mark.parametrize(
    ("option", "states", "lines"),
    [
        (("--only", "State=paid"), ("paid", "", "open", ""), 2),
        (("--except", "State=storniert"), ("bezahlt", " ", "storniert", " "), 2),
        (("--only", "State=paid"), ("", "", "paid", "N/A"), 1),
        (("--only", "State=paid"), ("paid", "paid", "paid", ""), 0),
        (("--except", "State=gift"), ("", "gift", "gift", ""), 0),
    ],
)
def test_a_state_on_first_lines_alone_is_told(
    option: tuple[str, str], states: tuple[str, ...], lines: int, tmp_path: Path
) -> None:
    """Shops that repeat the customer on each line do not repeat the state: `only` lost lines of what was paid, `except`
    kept those of what was not. Mutation caught: a state of each line's own is told, too."""
    file, out = store(tmp_path / "x.csv", LINES.format(*states)), tmp_path / "out.parquet"
    said = run("clean", file, *SUMS, *option, "--out", out)
    told = f"told: 'State' stands on an order's first line only; say --fill-down order ({lines} rows)"
    assert (told in said) == bool(lines)
    asked = f"{lines} rows have no 'State': does it stand on an order's first line only (fill_down: order)?"
    assert (asked in look.look(file, Policy()).questions) == (lines == 2)  # one word alone is no question
    assert "first line only" not in run("clean", file, *SUMS, *option, "--fill-down", "order", "--out", out)


def test_lines_without_an_order_belong_to_the_one_above(tmp_path: Path) -> None:
    """But not one that names a customer, a blank one or a total. Mutations caught: each of these three."""
    rows = "O1,ann,2024-01-01,tea,1\n,,,pot,2\n,cid,2024-01-03,cup,3\n , ,,mug,4\n,,,,\nTotal,,,,10\n"
    file, out = store(tmp_path / "x.csv", "Order,Who,Date,Item,Paid\n" + rows), tmp_path / "out.parquet"
    columns = "order_id=Order,customer_id=Who,occurred_at=Date,product_id=Item,amount=Paid"
    said = run("clean", file, "--columns", columns, "--fill-down", "order", "--out", out)
    frame = history.read_parquet(out)
    assert frame[["order_id", "customer_id", "product_id"]].to_numpy().tolist() == [
        ["O1", "ann", "tea"],
        ["O1", "ann", "pot"],
        ["h:0:3", "cid", "cup"],
        ["h:0:4", "cid", "mug"],
    ]
    assert "changed: filled down from the order's first line (2 rows)" in said


@given(
    st.lists(st.tuples(st.sampled_from(["o1", "o2", "", " "]), st.sampled_from(["a", "b", "", None])), max_size=12),
    st.integers(1, 5),
)
@settings(max_examples=100, deadline=None)
def test_filling_down_does_not_depend_on_blocks(rows: list[tuple[str, str | None]], size: int) -> None:
    """Against a loop over rows."""
    expected, above = [], ("", None)  # type: tuple[list[str | None], tuple[str, str | None]]
    for order, who in rows:
        empty = who is None or not who.strip()
        silent = empty and not order.strip()
        order = above[0] if silent else order
        found = above[1] if silent or (empty and order.strip() and order == above[0]) else None if empty else who
        expected.append(found)
        above = (order, found)
    at = {"order_id": 0, "customer_id": 1}
    file = files.File(0, Path("x"), 0, ["order", "who", "paid"], frozenset(), False, at, "")
    down, got = FillDown(file, Policy(fill_down=True)), []
    for i in range(0, len(rows), size):
        orders, names = zip(*rows[i : i + size], strict=True)
        block = [pa.array(column, pa.large_string()) for column in (orders, names, ["5"] * len(orders))]
        got += down(block)[1].to_pylist()
    assert [name or None for name in got] == expected


def test_equal_rows_of_a_till_may_be_kept(tmp_path: Path) -> None:
    """And what goes with them is said. Mutation caught: the option asked of the file with times only."""
    scans = "customer_id,occurred_at,order_id,product_id,amount\n" + "a,2024-01-01T10:00,o1,tea,5.00\n" * 3
    file, out = store(tmp_path / "till.csv", scans + "b,2024-01-02T10:00,o2,pot,20.00\n"), tmp_path / "out.parquet"
    said = run("clean", file, "--out", out)
    assert "duplicates amount       told: 10.00 of 35.00 go with them; --keep-duplicates keeps them (2 rows)" in said
    assert len(history.read_parquet(out)) == 2
    said = run("clean", file, "--keep-duplicates", "--out", out)
    assert "go with them" not in said
    assert len(history.read_parquet(out)) == 4


@pytest.mark.parametrize("job", ["clean", "value", "stock", "demand", "report"])
@pytest.mark.parametrize("option", ["--out", "--quality-report"])
def test_what_is_read_is_never_written_over(job: str, option: str, tmp_path: Path) -> None:
    """Nor by another name of the same file, nor two outputs into one. Mutation caught: a check of one command."""
    file = store(tmp_path / "a.csv", "customer_id,occurred_at,amount\na,2024-01-01,5\n")
    read, other = [file] if job == "clean" else ["--history", file], tmp_path / "other"
    same = tmp_path / "." / "x" / ".." / "a.csv"
    (tmp_path / "x").mkdir()
    outs = [option, same] if option == "--out" else ["--out", other, option, same]
    said = run(job, *read, *outs, code=2)
    assert f"{option} {same}: " in said
    assert "names the same file; name another one" in said
    assert file.read_text().startswith("customer_id")
    assert "names the same file" in run(job, *read, "--out", other, "--quality-report", other, code=2)
    shop = store(tmp_path / "shop.yml", "timezone: UTC\n")
    assert "--shop names the same file" in run(job, *read, "--shop", shop, "--out", shop, code=2)


@pytest.mark.parametrize(
    ("options", "name", "read"),
    [
        (["segment", "{}", "--out", "a.csv"], "a_centres.csv", "TABLE"),
        (["segment", "--history", "{}", "--out", "a.x.csv"], "a.x_centres.csv", "--history"),
        (["segment", "--history", "o", "--out", "a.csv", "--quality-report", "{}"], "a_centres.csv", "--quality"),
        (["fit", "--history", "{}", "--out", "."], "history.parquet", "--history"),
        (["fit", "--history", "other.csv", "--out", ".", "--customers", "{}"], "states.parquet", "--customers"),
        (["fit", "--history", "other.csv", "--out", ".", "--offers", "{}"], "artefact.json", "--offers"),
    ],
)  # fmt: skip
def test_nor_is_it_by_what_a_job_writes_beside_its_out(
    options: list[str], name: str, read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit of DIR's own history into DIR would lose a day each time."""
    monkeypatch.chdir(tmp_path)
    for each in (name, "other.csv", "o"):
        store(Path(each), "customer_id,occurred_at,amount\na,2024-01-01,5\n")
    said = run(*(option.format(name) for option in options), code=2)
    assert f"--out {name}: {read}" in said
    assert Path(name).read_text().startswith("customer_id")
