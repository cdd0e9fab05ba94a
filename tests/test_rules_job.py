"""Association rules: the same sets from all algorithms and brute force, weights as published, findings that chance does
not make, costs said first, one line of refusal."""

import csv
import itertools
import re
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import jobs
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from mlxtend.frequent_patterns import association_rules, fpgrowth
from refusal import one_line
from scipy import sparse
from scipy.stats import chi2

from benchmarks import rules as benchmark
from demo.data import complete_journey
from models.kinds import CART, PURCHASE, RETURN, VIEW
from offline.__main__ import main
from offline.history.quality import Counts
from offline.history.read import History
from offline.rules import cost
from offline.rules import rules as job
from offline.rules.offers import best
from offline.rules.rules import Baskets, Itemsets, RulesError, apriori, baskets, costs, eclat, low, rules

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


def supermarket(orders: int) -> Orders:
    """Carts drawn from 60 recipes of 1 to 7 of 250 products, some left out, some bought on the way."""
    rng = np.random.default_rng(11)
    recipes = [rng.choice(250, size, replace=False) for size in rng.integers(1, 8, 60)]
    popular = 1 / np.arange(1, 61)
    chosen = [rng.choice(60, 1 + rng.poisson(1), p=popular / popular.sum()) for _ in range(orders)]
    carts = [{int(p) for r in each for p in recipes[r] if rng.random() < 0.8} for each in chosen]
    return [{f"p{p:03}" for p in {*cart, *rng.integers(0, 250, rng.poisson(3)).tolist()}} for cart in carts]


def history_of(found: Baskets) -> History:
    return history([{found.products[i] for i in np.flatnonzero(row)} for row in found.matrix.toarray()])


def history(orders: Orders) -> History:
    frame = events(orders)
    rows = len(frame)
    return History(frame, Counts(rows, 0, 0, 0, 0, 0, 0, rows, 0), 0, 0)


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
    frame["quantity"] = frame["amount"]
    if not kept:
        with pytest.raises(RulesError, match="no purchase that was kept names a product"):
            baskets(frame)
        return
    found = baskets(frame)
    got = [{found.products[i] for i in np.flatnonzero(row)} for row in found.matrix.toarray()]
    assert sorted(map(sorted, got)) == sorted(map(sorted, expected.values()))
    assert found.products == sorted(found.products)
    assert found.counts.tolist() == found.matrix.toarray().sum(axis=0).tolist()


@pytest.mark.parametrize(("amounts", "orders"), [([5, -2, 0, 3], ["ab", "c"]), ([0, 0, 0, 0], ["b", "c"])])
def test_what_was_kept_is_told_by_money_and_where_there_is_none_by_units(amounts: list[int], orders: list[str]) -> None:
    """x gave a back for a part of its price, and b was free; a guest's order is nobody else's. Mutations caught: units
    for money where one line is free; guests taken for a customer."""
    frame = pd.DataFrame({"customer_id": ["x", "x", "x", None], "order_id": "1", "product_id": list("aabc")})
    frame["kind"], frame["quantity"] = [PURCHASE, RETURN, PURCHASE, PURCHASE], [1, -1, 1, 1]
    found = baskets(frame.assign(amount=amounts))
    assert ["".join(found.products[i] for i in np.flatnonzero(row)) for row in found.matrix.toarray()] == orders


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


@pytest.mark.long
def test_10_000_baskets_have_the_sets_and_rules_of_fpgrowth_down_to_a_thousandth() -> None:
    """Nothing is refused; the floor of orders takes the rules below it and nothing else."""
    shop, columns = history(supermarket(10_000)), ["support", "confidence", "lift", "leverage"]
    found = baskets(shop.frame)
    dense = pd.DataFrame(found.matrix.toarray(), columns=found.products)
    for support in (0.01, 0.003, 0.001):
        mined = job.run(shop, support, 0.2003)
        theirs = fpgrowth(dense, min_support=support, max_len=3, use_colnames=True)
        counts = (theirs["support"] * len(dense)).round().astype(int)
        assert {frozenset(items): n for items, n in named(mined.baskets, mined.sets).items()} == dict(
            zip(theirs["itemsets"], counts, strict=True)
        )
        ruled = association_rules(theirs, metric="confidence", min_threshold=0.2003)
        ruled = ruled[(ruled["consequents"].map(len) == 1) & (ruled["support"] * len(dense) > 29.5)]
        keys = [(frozenset(a), *c) for a, c in zip(ruled["antecedents"], ruled["consequents"], strict=True)]
        ours = [(frozenset(a), c) for a, c in zip(mined.table["antecedent"], mined.table["consequent"], strict=True)]
        expected = ruled.set_index(pd.Index(keys, tupleize_cols=False))[columns].loc[ours]
        np.testing.assert_allclose(mined.table[columns], expected, rtol=1e-9, atol=1e-12)
        assert len(ours) == len(keys)
    assert len(mined.sets) > 13_000


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


# ---- what it costs ---------------------------------------------------------------------------------------------------


def test_sets_are_counted_and_not_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs whose triangles would make 8 times as many triples as there are; all are mined where memory holds them."""
    found = drawn(400, 20, 3, 0.3)
    sets = eclat(found, 4, 3)
    monkeypatch.setattr(job, "free", lambda: 2 * cost.A_SET * len(sets))
    assert eclat(found, 4, 3, most=len(sets)) == sets
    assert job.run(history_of(found), 0.01, 0.01, min_orders=1).sets == sets


@given(SOME, st.integers(1, 4), st.integers(2, 5), st.integers(1, 30))
@settings(max_examples=60)
def test_more_sets_than_memory_holds_are_refused_and_the_told_support_works(
    orders: Orders, least: int, max_length: int, most: int
) -> None:
    found, sets = baskets(events(orders)), brute_force(orders, least, max_length)
    if len(sets) <= most:
        assert named(found, eclat(found, least, max_length, most=most)) == sets
        return
    with pytest.raises(RulesError, match=f"more than {most} sets pass, which is what memory holds; try") as error:
        eclat(found, least, max_length, most=most)
    if told := re.search(r"--min-support (\S+) or", str(error.value)):
        enough = found.least(float(told[1]))
        assert named(found, eclat(found, enough, max_length, most=most)) == brute_force(orders, enough, max_length)


@pytest.mark.parametrize("most", [20, 60, 150])
def test_a_told_support_is_rounded_so_that_it_helps(most: int) -> None:
    """Mutations caught: rounded down, so that as many pass again; more than all orders asked for."""
    found = drawn(1_009, 20, 3, 0.3)
    with pytest.raises(RulesError, match=r"try --min-support \S+ or a smaller --max-length") as error:
        eclat(found, 1, 3, most=most)
    told = float(str(error.value).split("--min-support ")[1].split()[0])
    assert 0 < len(eclat(found, found.least(told), 3, most=most)) <= most
    with pytest.raises(RulesError, match="holds; try a smaller --max-length"):
        eclat(baskets(events([set("abc")] * 3)), 1, 3, most=6)


def test_what_does_not_fit_is_refused_with_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    found = drawn(400, 20, 3, 0.3)
    monkeypatch.setattr(job, "free", lambda: 300 * cost.A_SET)
    for algorithm in ("eclat", "apriori"):
        with pytest.raises(RulesError, match="more than 150 sets pass, which is what memory holds; try --min-support"):
            job.run(history_of(found), 0.01, 0.01, algorithm=algorithm, min_orders=1)
    monkeypatch.setattr(job, "free", lambda: 2_000)
    with pytest.raises(RulesError, match=r"the orders of 20 products take .* are free; try a higher one"):
        costs(found, 0.01, 3)
    monkeypatch.setattr(job, "free", lambda: 3_000)  # three times a bit for each order of each product
    costs(found, 0.01, 3)


@pytest.mark.parametrize(("share", "max_length"), [(0.1, 2), (0.1, 3), (0.25, 3), (0.25, 5)])
def test_the_number_of_sets_is_told_beforehand(share: float, max_length: int) -> None:
    """Within a fifth, products and pairs exactly. A walk that is not weighed by its turnings tells a tenth of them."""
    found = drawn(1_000, 60, 7, share)
    sets = eclat(found, 10, max_length)
    told = costs(found, 0.01, max_length)
    assert (told.products, told.pairs) == tuple(sum(len(items) == size for items in sets) for size in (1, 2))
    assert told.sets == pytest.approx(len(sets), rel=0.2 if max_length > 2 else 0)
    assert told.bytes > told.sets * cost.A_SET
    assert costs(found, 0.01, max_length, "apriori").seconds > told.seconds


def test_what_takes_long_or_much_is_said_first(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    found = history_of(drawn(400, 20, 3, 0.3))
    job.run(found, 0.01, 0.01, min_orders=1, said=said.append)
    monkeypatch.setattr(cost, "LARGE", 100_000)
    job.run(found, 0.01, 0.01, min_orders=1, said=said.append)
    (line,) = said
    assert re.fullmatch(
        r"20 products and \d+ pairs pass, about [\d,]+ sets in all: mining takes about 0 s and 0.0 GB", line
    )
    told = [str(cost.Cost(3, 2, 6, seconds, 0)).split("about ")[2] for seconds in (119.0, 120.0)]
    assert told == ["119 s and 0.0 GB", "2 minutes and 0.0 GB"]


def test_a_support_that_no_pair_reaches_is_refused_and_the_told_one_works() -> None:
    found = baskets(events([*[{"a"}] * 70, {"a", "b"}, {"b", "c"}, {"b", "c"}]))
    with pytest.raises(
        RulesError, match="no two products share 8 of 73 orders, two share 2; try --min-support"
    ) as error:
        costs(found, 0.1, 3)
    told = float(str(error.value).rsplit(" ", 1)[1])
    assert found.least(told) == 2
    costs(found, told, 3)


def test_orders_of_one_product_each_are_refused() -> None:
    with pytest.raises(RulesError, match="no order holds two different products"):
        costs(baskets(events([{"a"}, {"a"}, {"b"}])), 0.01, 3)


def test_memory_is_that_of_the_machine_or_of_the_container(tmp_path: Path) -> None:
    assert cost.free(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  5000 kB\n")
    assert cost.free(tmp_path) == 5_120_000
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    for most, left in (("max", 5_120_000), ("4096000", 3_072_000), ("1000", 0)):
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{most}\n")
        (tmp_path / "sys/fs/cgroup/memory.current").write_text("1024000\n")
        assert cost.free(tmp_path) == left


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


def test_no_rule_stands_on_fewer_orders_than_told() -> None:
    found = baskets(events([{"a", "b"}] * 29 + [{"c", "d"}] * 30 + [{"e", "f", "g"}] * 31))
    sets = eclat(found, 1, 3)
    for least, products in ((30, set("cdefg")), (29, set("abcdefg")), (31, set("efg"))):
        assert set(rules(found, sets, 0.01, least)["consequent"]) == products
    with pytest.raises(RulesError, match="--min-orders 32: no rule stands on so many, one does on 31; try 31"):
        rules(found, sets, 0.01, 32)


@pytest.mark.parametrize("seed", range(3))
def test_chance_makes_no_finding(seed: int) -> None:
    """Products bought independently of each other, popular and rare, in few and in many orders: of thousands of rules
    none is a finding, though their lifts reach 1.9. Without Bonferroni's share, dozens are."""
    orders = (300, 3_000, 20_000)[seed]
    share = np.random.default_rng(seed).uniform(0.02, 0.6, 60)
    held = np.random.default_rng(seed).random((orders, 60)) < share
    found = Baskets(sparse.csc_matrix(held), [f"p{i:02}" for i in range(60)])
    table = rules(found, eclat(found, found.least(0.001), 3), 1e-9, 10)
    assert table["lift"].max() > 1.5
    assert len(table) > 5_000
    assert not table["finding"].any()


def test_a_lift_of_1_02_is_no_finding_however_many_orders_it_has() -> None:
    """102,000 of 1,000,000 hold both where 100,000 would by chance; beside it one of 3, and one of 3 on 6 orders."""
    orders = np.array([1_000_000] * 3, float)
    a, b, ab = (
        np.array([100_000, 1_000, 100.0]),
        np.array([1_000_000, 300_000, 20_000.0]),
        np.array([102_000, 900, 6.0]),
    )
    lift = pd.Series(ab * orders / (a * b))
    assert lift.round(2).tolist() == [1.02, 3.0, 3.0]
    surely = low(lift, pd.Series(ab), 1_000)
    assert [1.0 < surely[0] < job.LIKELIER, surely[1] > 2, surely[2] < 1] == [True] * 3
    held = np.repeat([[True, True], [True, False], [False, True], [False, False]], [5_300, 4_700, 4_700, 5_300], 0)
    found = Baskets(sparse.csc_matrix(held), ["a", "b"])
    table = rules(found, eclat(found, 1, 2), 0.1)
    assert table["lift_low"].between(1.01, job.LIKELIER).tolist() == [True, True]
    assert not table["finding"].any()


def test_what_is_bought_together_is_found() -> None:
    """Planted: q comes with p in 9 of 10 orders, s with r in two thirds more than chance; the rest is chance."""
    rng = np.random.default_rng(5)
    held = rng.random((4_000, 12)) < 0.2
    held[:, 1] = np.where(held[:, 0], rng.random(4_000) < 0.9, held[:, 1])
    held[:, 3] = np.where(held[:, 2], rng.random(4_000) < 0.35, held[:, 3])
    found = Baskets(sparse.csc_matrix(held), list("pqrsabcdefgh"))
    table = rules(found, eclat(found, 4, 2), 1e-9)
    pairs = {
        (*a, c) for a, c in zip(*(table.loc[table["finding"], n] for n in ("antecedent", "consequent")), strict=True)
    }
    assert pairs == {("p", "q"), ("q", "p"), ("r", "s"), ("s", "r")}
    assert (table["lift_low"] < table["lift"]).all()


def test_fewer_than_30_orders_are_marked() -> None:
    table = mined([{"a", "b"}] * 29 + [{"c", "d"}] * 30)
    assert dict(zip(table["consequent"], table["few"], strict=True)) == {"a": True, "b": True, "c": False, "d": False}


# ---- offers ----------------------------------------------------------------------------------------------------------


def beside(table: pd.DataFrame) -> dict[str, list[str]]:
    rows = best(table)[["product", "offer_1", "offer_2", "offer_3"]].to_numpy().tolist()
    return {product: [offer for offer in offers if pd.notna(offer)] for product, *offers in rows}


def test_offers_are_ranked_by_the_cosine_of_two_products_orders() -> None:
    found = drawn(300, 8, 5, 0.3)
    weighed = rules(found, eclat(found, 1, 2), 1e-9)
    offered = beside(weighed.assign(finding=weighed["lift"] > 1))
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
    table = mined([{"a", "b", "c"}] * 30 + [{"d"}] * 90)
    assert beside(table[table["antecedent"].map(len) > 1]) == {}
    assert beside(table) == {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}
    assert beside(table.assign(finding=False)) == {}


# ---- the command -----------------------------------------------------------------------------------------------------

HEADER = "customer_id,occurred_at,amount,Order,product_id"
COLUMNS = ["--columns", "order_id=Order"]


def store(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Orders: 40 tea and a pot, 10 tea, 10 tea and "milk, fresh", 5 a cup, 300 water; a cup and a pot given back."""
    bought = {("tea", "pot"): 40, ("tea",): 10, ("tea", '"milk, fresh"'): 10, ("cup",): 5, ("water",): 300}
    orders = [order for order, count in bought.items() for _ in range(count)]
    lines = [f"c,2024-01-01,5,{n},{product}" for n, order in enumerate(orders) for product in order]
    back = [f"c,2024-01-0{day},{sign}5,99,{p}" for day, sign in ((1, ""), (2, "-")) for p in ("cup", "pot")]
    return store(tmp_path / "orders.csv", [HEADER, *lines, *back])


def run(*arguments: str | Path, hash_seed: str = "0") -> str:
    return jobs.alone("rules", *arguments, hash_seed=hash_seed)


def test_what_is_written_and_printed(shop: Path, tmp_path: Path) -> None:
    out, best = tmp_path / "new" / "rules.csv", tmp_path / "offers.csv"
    products = store(tmp_path / "products.csv", ["name,product_id", "Earl Grey,tea", '"Teapot, blue",pot'])
    options = ["--history", shop, *COLUMNS, "--out", out, "--offers", best, "--products", products, "--min-orders", 10]
    printed = run(*map(str, options))
    lift, leverage = 365 / 60, 12_200 / 365**2  # of 40 x 365 / (40 x 60), and of (40 x 365 - 40 x 60) / 365 squared
    surely, less = (lift * chi2.ppf(0.025 / 35, 2 * both) / 2 / both for both in (40, 10))  # 7 sets with 5 products
    assert out.read_text().splitlines() == [
        "antecedent,consequent,support,confidence,lift,leverage,orders,few,lift_low,finding",
        f"pot,tea,{40 / 365},1.0,{lift},{leverage},40,False,{surely},True",
        f"tea,pot,{40 / 365},{40 / 60},{lift},{leverage},40,False,{surely},True",
        f'"milk, fresh",tea,{10 / 365},1.0,{lift},{3_050 / 365**2},10,True,{less},True',
    ]
    assert best.read_text().splitlines() == [
        "product,offer_1,confidence_1,offer_2,confidence_2,offer_3,confidence_3",
        '"milk, fresh",tea,1.0,,,,',
        "pot,tea,1.0,,,,",
        f"tea,pot,{40 / 60},,,,",
    ]
    assert "365 orders of 5 products; a set is frequent in 4 orders and more" in printed
    assert "frequent sets of 1: 5\nfrequent sets of 2: 2\n" in printed
    assert "3 rules, 1 of them on fewer than 30 orders\n3 findings, with a lift that is surely above 1.1" in printed
    assert f"    6.08{surely:10.2f}       0.667       40       60       40  Earl Grey => Teapot, blue\n" in printed
    assert "milk, fresh => Earl Grey (few)\n" in printed
    assert printed.endswith(
        f"\nwritten: {out}\nwritten: {best}, for 3 products; next: python -m offline fit --offers {best}\n"
    )


def test_where_nothing_is_a_finding_that_is_said_and_the_rules_are_written(tmp_path: Path) -> None:
    file = store(tmp_path / "h.csv", [HEADER, *(f"c,2024-01-01,5,{n},{p}" for n in range(40) for p in "ab")])
    out, best = tmp_path / "r.csv", tmp_path / "o.csv"
    given = ["rules", "--history", str(file), *COLUMNS, "--out", str(out), "--offers", str(best)]
    done = CliRunner().invoke(main, given)
    assert "2 rules, 0 of them on fewer than 30 orders\nno finding: chance alone may explain every lift" in done.output
    assert [len(path.read_text().splitlines()) for path in (out, best)] == [3, 1]


def test_another_run_under_another_hash_seed_with_the_other_algorithm_leaves_the_same_bytes(tmp_path: Path) -> None:
    history = tmp_path / "h.csv"
    events(supermarket(3_000)).drop(columns="kind").assign(occurred_at="2024-01-01").to_csv(history, index=False)
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
    done = CliRunner().invoke(main, [*arguments, "--separator", "|", "--min-orders", "1"])
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
        (["--min-support", "0.9"], "no two products share 329 of 365 orders, two share 40; try --min-support 0.10"),
        (["--min-orders", "41"], "--min-orders 41: no rule stands on so many, one does on 40; try 40"),
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
