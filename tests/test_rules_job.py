"""Association rules: the same sets from both algorithms and brute force, weights as published, one line of refusal."""

import csv
import itertools
import math
import os
import subprocess
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from mlxtend.frequent_patterns import fpgrowth
from refusal import one_line
from scipy import sparse

from benchmarks import rules as benchmark
from demo.data import complete_journey
from models.kinds import CART, PURCHASE, RETURN, VIEW
from offline.__main__ import main
from offline.rules import rules as job
from offline.rules.offers import best
from offline.rules.rules import Baskets, Itemsets, RulesError, affordable, apriori, baskets, eclat, rules

ROOT = Path(__file__).parent.parent
Orders = list[set[str]]


def events(orders: Orders) -> pd.DataFrame:
    lines = [("c", str(n), product, PURCHASE, 10_000) for n, order in enumerate(orders) for product in sorted(order)]
    return pd.DataFrame(lines, columns=["customer_id", "order_id", "product_id", "kind", "amount"])


def brute_force(orders: Orders, least: int, max_length: int) -> dict[tuple[str, ...], int]:
    """Every set of products there is, counted one by one."""
    products = sorted(set[str]().union(*orders))
    sets = [c for size in range(1, max_length + 1) for c in itertools.combinations(products, size)]
    counts = {c: sum(order.issuperset(c) for order in orders) for c in sets}
    return {c: n for c, n in counts.items() if n >= least}


def named(found: Baskets, sets: Itemsets) -> dict[tuple[str, ...], int]:
    return {tuple(found.products[item] for item in items): n for items, n in sets.items()}


def drawn(orders: int, products: int, seed: int, share: float) -> Baskets:
    """Random orders, every one with the first product."""
    held = np.random.default_rng(seed).random((orders, products)) < share
    held[:, 0] = True
    return Baskets(sparse.csc_matrix(held), [f"p{i:03}" for i in range(products)])


SOME = st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=12)


# ---- baskets ---------------------------------------------------------------------------------------------------------

LINE = st.tuples(
    st.sampled_from("xy"),  # customer
    st.sampled_from("12"),  # order
    st.sampled_from(["a", "b", None]),
    st.sampled_from([PURCHASE, PURCHASE, RETURN, VIEW, CART]),
    st.integers(0, 3),
)


@given(st.lists(LINE, max_size=25))
def test_baskets_are_what_was_bought_and_kept(lines: list[tuple[str, str, str | None, int, int]]) -> None:
    """An oracle in plain Python. A return in part leaves the product in, one of another order or customer does too."""
    left: dict[tuple[str, str, str], int] = defaultdict(int)
    bought, returned = set(), set()
    rows = []
    for customer, order, product, kind, units in lines:
        amount = {PURCHASE: units, RETURN: -units}.get(kind, 0)
        rows.append((customer, order, product, kind, amount))
        if product is not None:
            place = (customer, order, product)
            left[place] += amount
            bought |= {place} if kind == PURCHASE else set()
            returned |= {place} if kind == RETURN else set()
    kept = {place for place in bought if place not in returned or left[place] > 0}
    expected = defaultdict(set)
    for customer, order, product in kept:
        expected[customer, order].add(product)
    frame = pd.DataFrame(rows, columns=["customer_id", "order_id", "product_id", "kind", "amount"])
    if not kept:
        with pytest.raises(RulesError, match="no purchase that was kept names a product"):
            baskets(frame)
        return
    found = baskets(frame)
    got = [{found.products[i] for i in np.flatnonzero(row)} for row in found.matrix.toarray()]
    assert sorted(map(sorted, got)) == sorted(map(sorted, expected.values()))
    assert found.products == sorted(found.products)
    assert found.counts.tolist() == found.matrix.toarray().sum(axis=0).tolist()


def test_the_least_count_is_exact() -> None:
    """0.07 x 100 is 7.000000000000001 in floating point, and 8 orders would be asked for."""
    found = drawn(100, 2, 0, 0.5)
    assert [found.least(share) for share in (0.07, 0.29, 0.011, 1e-9, 1.0)] == [7, 29, 2, 1, 100]


# ---- sets ------------------------------------------------------------------------------------------------------------


@given(SOME, st.integers(1, 5), st.integers(2, 5))
@settings(max_examples=60)
def test_both_find_what_brute_force_finds(orders: Orders, least: int, max_length: int) -> None:
    found, expected = baskets(events(orders)), brute_force(orders, least, max_length)
    for sets in (apriori(found, least, max_length), eclat(found, least, max_length)):
        assert named(found, sets) == expected
        assert list(sets) == sorted(sets, key=lambda items: (len(items), items))


@pytest.mark.parametrize("orders", [63, 64, 65, 1000])
def test_both_agree_with_fpgrowth_over_many_words(orders: int) -> None:
    found, least = drawn(orders, 30, orders, 0.25), orders // 50 + 1
    frame = pd.DataFrame(found.matrix.toarray())
    oracle = fpgrowth(frame, min_support=(least - 0.5) / orders, max_len=4)
    counts = (oracle["support"] * orders).round().astype(int)
    expected = {tuple(sorted(items)): n for items, n in zip(oracle["itemsets"], counts, strict=True)}
    assert eclat(found, least, 4) == apriori(found, least, 4) == expected
    assert max(map(len, expected)) > 2


def test_the_example_of_the_apriori_paper() -> None:
    """Agrawal and Srikant (1994), figure 3: 4 transactions, minimum support 2."""
    found = baskets(events([set("134"), set("235"), set("1235"), set("25")]))
    counts = {"1": 2, "2": 3, "3": 3, "5": 3, "13": 2, "23": 2, "25": 3, "35": 2, "235": 2}
    for sets in (apriori(found, 2, 4), eclat(found, 2, 4)):
        assert {"".join(items): n for items, n in named(found, sets).items()} == counts


def test_progress_of_eclat_is_told() -> None:
    told: list[tuple[int, int]] = []
    eclat(drawn(50, 4, 0, 0.5), 1, 3, lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


# ---- what is affordable ----------------------------------------------------------------------------------------------


@given(SOME, st.integers(1, 4), st.integers(2, 6))
def test_the_bound_is_never_too_low_and_exact_for_pairs(orders: Orders, least: int, max_length: int) -> None:
    found = baskets(events(orders))
    sizes = [len(items) for items in brute_force(orders, least, max_length) if len(items) > 1]
    _, pairs = job._pairs(found, least)
    assert job._bound(pairs, least, 2) == sizes.count(2)
    assert job._bound(pairs, least, max_length) >= len(sizes)


def test_the_bound_is_tight() -> None:
    """Where every order holds all of 9 products, every set passes."""
    _, pairs = job._pairs(baskets(events([set("abcdefghi")] * 3)), 3)
    for max_length in range(2, 10):
        assert job._bound(pairs, 3, max_length) == sum(math.comb(9, size) for size in range(2, max_length + 1))


def test_an_explosion_is_refused_and_the_told_support_works(monkeypatch: pytest.MonkeyPatch) -> None:
    found = drawn(400, 20, 3, 0.3)
    monkeypatch.setattr(job, "MOST", 150)
    with pytest.raises(RulesError) as error:
        affordable(found, 0.01, 3)
    pairs = len([items for items in eclat(found, 4, 2) if len(items) == 2])
    line = str(error.value)
    assert line.startswith(
        f"--min-support 0.01: 20 products and {pairs} pairs pass, with larger sets perhaps more than"
    )
    told = float(line.rsplit(" ", 1)[1])
    affordable(found, told, 3)
    assert 4 < len(eclat(found, found.least(told), 3)) - 20 <= 150
    with pytest.raises(RulesError):
        affordable(found, told * 0.9, 3)


def test_a_support_that_no_pair_reaches_is_refused_and_the_told_one_works() -> None:
    found = baskets(events([*[{"a"}] * 70, {"a", "b"}, {"b", "c"}, {"b", "c"}]))
    with pytest.raises(
        RulesError, match="no two products share 8 of 73 orders, two share 2; try --min-support"
    ) as error:
        affordable(found, 0.1, 3)
    told = float(str(error.value).rsplit(" ", 1)[1])
    assert found.least(told) == 2
    affordable(found, told, 3)


def test_orders_of_one_product_each_are_refused() -> None:
    with pytest.raises(RulesError, match="no order holds two different products"):
        affordable(baskets(events([{"a"}, {"a"}, {"b"}])), 0.01, 3)


# ---- rules -----------------------------------------------------------------------------------------------------------


def mined(orders: Orders, min_confidence: float = 0.01) -> pd.DataFrame:
    found = baskets(events(orders))
    return rules(found, eclat(found, 1, 4), min_confidence)


def rule(table: pd.DataFrame, antecedent: tuple[str, ...], consequent: str) -> dict[str, Any]:
    at = [a == antecedent and c == consequent for a, c in zip(table["antecedent"], table["consequent"], strict=True)]
    (row,) = table[at].to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_tea_and_coffee() -> None:
    """The table of Tan, Steinbach and Kumar, Introduction to Data Mining, 6.7: of 1,000 people 150 drink both, 50 tea
    alone, 650 coffee alone. 75 % of the tea drinkers drink coffee, which is fewer than of all: lift 0.9375."""
    orders = [{"tea", "coffee"}] * 150 + [{"tea"}] * 50 + [{"coffee"}] * 650 + [{"water"}] * 150
    row = rule(mined(orders), ("tea",), "coffee")
    assert (row["support"], row["confidence"], row["lift"]) == (0.15, 0.75, 0.9375)
    assert row["leverage"] == pytest.approx(-0.01, abs=1e-15)
    assert (row["orders"], row["orders_antecedent"], row["orders_consequent"]) == (150, 200, 800)


def test_milk_diapers_and_beer() -> None:
    """The same book's table 6.1: support 0.4 and confidence 0.67 of milk and diapers => beer."""
    orders = ["bread milk", "bread diapers beer eggs", "milk diapers beer cola", "bread milk diapers beer",
              "bread milk diapers cola"]  # fmt: skip
    row = rule(mined([set(order.split()) for order in orders]), ("diapers", "milk"), "beer")
    assert (row["support"], round(row["confidence"], 2)) == (0.4, 0.67)


@given(SOME, st.sampled_from([0.01, 0.5, 0.75, 1.0]))
@settings(max_examples=60)
def test_weights_are_what_their_definitions_say(orders: Orders, least: float) -> None:
    """Shares counted anew in the orders, in fractions."""

    def share(*products: str) -> Fraction:
        return Fraction(sum(order.issuperset(products) for order in orders), len(orders))

    expected = {}
    for items, consequent in ((c, p) for c in brute_force(orders, 1, 4) if len(c) > 1 for p in c):
        rest = tuple(item for item in items if item != consequent)
        both, a, b = share(*items), share(*rest), share(consequent)
        if both / a >= Fraction(str(least)):
            expected[rest, consequent] = tuple(map(float, (both, both / a, both / (a * b), both - a * b)))
    if not expected:
        with pytest.raises(RulesError, match=f"--min-confidence {least}: no rule reaches it; the best has"):
            mined(orders, least)
        return
    weights = ["support", "confidence", "lift", "leverage"]
    got = {(row["antecedent"], row["consequent"]): row for row in mined(orders, least).to_dict("records")}
    assert {key: tuple(row[weight] for weight in weights) for key, row in got.items()} == expected


def test_order_is_lift_then_support_then_names() -> None:
    """Of 12 orders: lift 12 x 1 / (2 x 1) = 6 for ab; 12 x 2 / (2 x 2) = 6 for cd and xy, both bought more often."""
    orders = [{"b", "a"}, {"b"}, *[{"x", "y"}, {"d", "c"}] * 2, *[{"z"}] * 6]
    table = mined(orders, 0.5)
    order = [("".join(a), c) for a, c in zip(table["antecedent"], table["consequent"], strict=True)]
    assert table["lift"].tolist() == [6] * 6
    assert order == [("c", "d"), ("d", "c"), ("x", "y"), ("y", "x"), ("a", "b"), ("b", "a")]
    first = mined([*orders[:-2], {"p", "q"}, {"z"}], 0.5)
    assert (first["antecedent"][0], first["lift"][0], first["orders"][0]) == (("p",), 12, 1)


def test_fewer_than_30_orders_are_marked() -> None:
    table = mined([{"a", "b"}] * 29 + [{"c", "d"}] * 30)
    assert dict(zip(table["consequent"], table["few"], strict=True)) == {"a": True, "b": True, "c": False, "d": False}


# ---- offers ----------------------------------------------------------------------------------------------------------


def beside(table: pd.DataFrame) -> dict[str, list[str]]:
    rows = best(table)[["product", "offer_1", "offer_2", "offer_3"]].to_numpy().tolist()
    return {product: [offer for offer in offers if pd.notna(offer)] for product, *offers in rows}


def test_offers_are_ranked_by_the_cosine_of_two_products_orders() -> None:
    found = drawn(300, 8, 5, 0.3)
    offered = beside(rules(found, eclat(found, 1, 2), 1e-9))
    columns = found.matrix.toarray().astype(float)
    norms = np.linalg.norm(columns, axis=0)
    cosine = columns.T @ columns / np.outer(norms, norms)
    share = columns.mean(axis=0)
    together = columns.T @ columns / len(columns)
    for a, name in enumerate(found.products):
        likelier = [b for b in range(8) if b != a and together[a, b] > share[a] * share[b] + 1e-12]
        expected = [found.products[b] for b in sorted(likelier, key=lambda b: -cosine[a, b])]
        assert offered.get(name, []) == expected[:3]
    assert max(map(len, offered.values())) == 3


def test_larger_antecedents_make_no_offer() -> None:
    table = mined([{"a", "b", "c"}] * 3 + [{"d"}] * 3)
    assert beside(table[table["antecedent"].map(len) > 1]) == {}
    assert beside(table) == {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}


# ---- the command -----------------------------------------------------------------------------------------------------

HEADER = "customer_id,occurred_at,amount,Order,product_id"
COLUMNS = ["--columns", "order_id=Order"]


def store(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Orders: 40 tea and a pot, 10 tea, 10 tea and "milk, fresh", 5 a cup, and a cup and a pot that were given back."""
    orders = [["tea", "pot"]] * 40 + [["tea"]] * 10 + [["tea", '"milk, fresh"']] * 10 + [["cup"]] * 5
    lines = [f"c,2024-01-01,5,{n},{product}" for n, order in enumerate(orders) for product in order]
    back = [f"c,2024-01-0{day},{sign}5,99,{p}" for day, sign in ((1, ""), (2, "-")) for p in ("cup", "pot")]
    return store(tmp_path / "orders.csv", [HEADER, *lines, *back])


def run(*arguments: str | Path, hash_seed: str = "0") -> str:
    env = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "offline", "rules", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_what_is_written_and_printed(shop: Path, tmp_path: Path) -> None:
    out, best = tmp_path / "new" / "rules.csv", tmp_path / "offers.csv"
    products = store(tmp_path / "products.csv", ["name,product_id", "Earl Grey,tea", '"Teapot, blue",pot'])
    printed = run("--history", shop, *COLUMNS, "--out", out, "--offers", best, "--products", products)
    lift, leverage = 65 / 60, 200 / 65**2  # of 40 x 65 / (40 x 60), and of (40 x 65 - 40 x 60) / 65 squared
    assert out.read_text().splitlines() == [
        "antecedent,consequent,support,confidence,lift,leverage,orders,few",
        f"pot,tea,{40 / 65},1.0,{lift},{leverage},40,False",
        f"tea,pot,{40 / 65},{40 / 60},{lift},{leverage},40,False",
        f'"milk, fresh",tea,{10 / 65},1.0,{lift},{50 / 65**2},10,True',
    ]
    assert best.read_text().splitlines() == [
        "product,offer_1,confidence_1,offer_2,confidence_2,offer_3,confidence_3",
        '"milk, fresh",tea,1.0,,,,',
        "pot,tea,1.0,,,,",
        f"tea,pot,{40 / 60},,,,",
    ]
    assert "65 orders of 4 products; a set is frequent in 1 orders and more" in printed
    assert "frequent sets of 1: 4\nfrequent sets of 2: 2\n" in printed
    assert "3 rules, 1 of them on fewer than 30 orders" in printed
    assert "    1.08       0.667    0.0473       40       60       40  Earl Grey => Teapot, blue\n" in printed
    assert "milk, fresh => Earl Grey (few)\n" in printed
    assert printed.endswith(
        f"\nwritten: {out}\nwritten: {best}, for 3 products; next: python -m offline fit --offers {best}\n"
    )


def test_another_run_under_another_hash_seed_with_the_other_algorithm_leaves_the_same_bytes(tmp_path: Path) -> None:
    history = tmp_path / "h.csv"
    benchmark.history(2_000, 60).drop(columns="kind").assign(occurred_at="2024-01-01").to_csv(history, index=False)
    files = []
    for seed, algorithm in (("0", "eclat"), ("1", "apriori")):
        files.append([tmp_path / f"rules{seed}", tmp_path / f"offers{seed}"])
        out, best = files[-1]
        told = ("--min-support", "0.03", "--algorithm", algorithm)
        run("--history", history, "--out", out, "--offers", best, *told, hash_seed=seed)
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert len(one.read_bytes()) > 500


def test_a_larger_antecedent_comes_apart_at_the_told_separator(tmp_path: Path) -> None:
    file = store(
        tmp_path / "h.csv", [HEADER, *(f"c,2024-01-01,5,{n},{p}" for n in range(3) for p in ("a + b", "c", "d"))]
    )
    arguments = ["rules", "--history", str(file), *COLUMNS, "--out", str(tmp_path / "r.csv")]
    done = CliRunner().invoke(main, [*arguments, "--separator", "|"])
    assert done.exit_code == 0, done.output
    with (tmp_path / "r.csv").open(newline="") as file_:
        antecedents = {tuple(row["antecedent"].split("|")) for row in csv.DictReader(file_)}
    assert antecedents == {("a + b",), ("c",), ("d",), ("a + b", "c"), ("a + b", "d"), ("c", "d")}
    assert "product 'a + b' holds it; choose another" in refused(tmp_path, *arguments[1:5])


def test_help_has_an_example_and_no_horizon() -> None:
    told = CliRunner().invoke(main, ["rules", "--help"])
    assert "python -m offline rules --history orders.csv" in told.stdout
    assert "--horizon" not in told.stdout


# ---- whatever goes wrong ---------------------------------------------------------------------------------------------


def refused(tmp_path: Path, *arguments: str | Path) -> str:
    out: list[str | Path] = [] if "--out" in arguments else ["--out", tmp_path / "refused.csv"]
    return one_line(tmp_path / "refused.csv", "rules", *arguments, *out)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([""], "the file is empty"),
        ([HEADER], "no row can be used (no rows)"),
        ([HEADER, "c,2024-01-01,5,1,", "c,2024-01-01,5,2,"], "no purchase that was kept names a product"),
        ([HEADER, "c,2024-01-01,5,1,a", "c,2024-01-02,5,2,a"], "no order holds two different products"),
        ([HEADER, "c,2024-01-01,5,1,a"], "no order holds two different products"),
        ([HEADER.replace("Order", "Invoice")], "no column 'Order'; nearest is 'occurred_at'"),
        ([HEADER.replace("product_id", "Product")], "no column 'product_id'; nearest is 'Product'"),
    ],
)
def test_histories_that_cannot_be_mined(tmp_path: Path, lines: list[str], said: str) -> None:
    assert said in refused(tmp_path, "--history", store(tmp_path / "h.csv", lines), *COLUMNS)


def test_order_id_is_needed(shop: Path, tmp_path: Path) -> None:
    assert "no column 'order_id'; nearest is 'Order'" in refused(tmp_path, "--history", shop)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--min-support", "0.9"], "no two products share 59 of 65 orders, two share 40; try --min-support 0.61"),
        (["--separator", ""], "--separator: is empty"),
        (["--separator", "m"], "product 'milk, fresh' holds it"),
        (["--offers", "{tmp}/refused.csv"], "is --out too"),
        (["--offers", "{tmp}"], "is a directory; name a file in it"),
        (["--out", "{tmp}/orders.csv/below.csv"], "File exists"),
        (["--products", "{tmp}/nowhere.csv"], "nowhere.csv: cannot be read: No such file or directory"),
    ],
)
def test_options_that_cannot_be_met(shop: Path, tmp_path: Path, options: list[str], said: str) -> None:
    filled = [option.replace("{tmp}", str(tmp_path)) for option in options]
    assert said in refused(tmp_path, "--history", shop, *COLUMNS, *filled)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no column 'product_id' among its comma-separated columns; the file is empty"),
        (
            b"product_id,Name\n1,a\n",
            "no column 'name' among its comma-separated columns; nearest is 'Name' of",
        ),
        (
            b"product_id;name\n1;a\n",
            "no column 'product_id' among its comma-separated columns; nearest is 'product_id;",
        ),
        ("product_id,name\n1,é\n".encode("latin-1"), "not UTF-8; convert it"),
        (b'product_id,name\n1,"a', "cannot be read: unexpected end of data"),
    ],
)
def test_products_that_cannot_be_read(shop: Path, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    assert said in refused(tmp_path, "--history", shop, *COLUMNS, "--products", tmp_path / "p.csv")


# ---- documents -------------------------------------------------------------------------------------------------------


def test_the_document_shows_what_is_printed(tmp_path: Path) -> None:
    """The whole of the Complete Journey, at its default level."""
    history, out = tmp_path / "journey.parquet", tmp_path / "rules.csv"
    assert complete_journey.write_history(history) == 1_460_438
    done = CliRunner().invoke(main, ["rules", "--history", str(history), "--out", str(out)])
    assert done.exit_code == 0, done.output
    shown = done.stdout[done.stdout.index("155,489 orders") :].replace(str(out), "build/rules.csv").rstrip()
    text = (ROOT / "docs" / "rules.md").read_text()
    for line in shown.splitlines():
        assert f"    {line}".rstrip() in text.splitlines(), line


def test_the_benchmark_measures_the_same_sets() -> None:
    results = [benchmark.measure(name, 0.01, orders=2_000, products=100) for name in benchmark.ALGORITHMS]
    assert results[0].sets == results[1].sets
    assert all(cost.mining > 0 and cost.peak > 0 for cost in results)
