"""Association rules: which products are bought in one order, and what an order that holds some is likely to hold too.

Orders become a sparse matrix (`baskets`); `apriori` and `eclat` find the same sets of products in it, the one level by
level, the other depth first over bitsets; `rules` weighs one product against the rest of its set.
Rule: sets are counted, never bounded. What mining will take is said first (`cost`), and only what the free memory does
not hold is refused, with a support that it does. A rule is a finding where chance does not explain its lift.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pandas as pd
from mlxtend.frequent_patterns import apriori as mlxtend_apriori
from scipy import sparse
from scipy.special import gammaincinv

from models.kinds import RETURN, TRADED
from offline.errors import OfflineError
from offline.history.read import History
from offline.rules.cost import A_SET, Bits, Cost, Ints, cost, free

Itemsets = dict[tuple[int, ...], int]  # ascending columns -> orders that hold them all; by size, then columns

FEW = 30  # orders: no rule stands on fewer unless told, and then it is marked
CHANCE = 0.025  # of any lift at all being below its lower bound
LIKELIER = 1.1  # a finding's lower bound is above: whatever is surely less than a tenth likelier helps nobody
WEIGHTS = ["support", "confidence", "lift", "leverage", "orders", "few", "lift_low", "finding"]
COLUMNS = ["antecedent", "consequent", *WEIGHTS]  # of rules


class RulesError(OfflineError):
    """A history from which no rules can be had; its text is one line for the user."""


@dataclass(frozen=True, eq=False)
class Baskets:
    """matrix: scipy CSC of bool, shape (orders, products), no empty row. products: ids of the columns, ascending."""

    matrix: Any
    products: list[str]

    @property
    def counts(self) -> Ints:
        """Orders that hold each product, shape (products,)."""
        counts: Ints = np.diff(self.matrix.indptr).astype(np.int64)
        return counts

    def least(self, min_support: float) -> int:
        """The least number of orders that is at least this share of them, 0 < min_support <= 1; exact, as typed."""
        return math.ceil(Fraction(str(min_support)) * int(self.matrix.shape[0]))


def baskets(history: pd.DataFrame) -> Baskets:
    """The orders of a history frame (`offline.history`) as sets of products.

    An order is a customer's lines with one order_id; of guests the order_id alone. A product is in it when it was
    purchased there and not given back: with returns that name the same order, while the amounts of both (where nothing
    has an amount, the quantities) leave more than 0. Lines without a product are passed over. Raises RulesError where
    nothing is left.
    """
    bought = history["kind"].isin(TRADED) & history["product_id"].notna()
    worth = history["amount"] if history["amount"].any() else history["quantity"]
    lines = history.assign(amount=worth, customer_id=history["customer_id"].fillna(""))
    lines = lines.loc[bought, ["customer_id", "order_id", "product_id", "amount"]]
    by = lines.assign(returned=history["kind"] == RETURN).groupby(["customer_id", "order_id", "product_id"], sort=False)
    pairs = by.agg(returned=("returned", "any"), amount=("amount", "sum"))
    kept = pairs.index[~pairs["returned"] | (pairs["amount"] > 0)].to_frame(index=False)
    if kept.empty:
        raise RulesError("no purchase that was kept names a product; name that column with --columns product_id=...")
    order = kept.groupby(["customer_id", "order_id"], sort=False).ngroup().to_numpy()
    column, products = pd.factorize(kept["product_id"].to_numpy(), sort=True)
    return Baskets(sparse.csc_matrix((np.ones(len(kept), np.bool_), (order, column))), list(map(str, products)))


# ---- sets of products ------------------------------------------------------------------------------------------------


def _pairs(found: Baskets, least: int) -> Any:
    """COO matrix above its diagonal: orders that each two of the products in `least` orders share."""
    part = found.matrix[:, np.flatnonzero(found.counts >= least)].astype(np.int32)
    return sparse.triu(part.T @ part, 1, format="coo")


def _too_rare(found: Baskets, min_support: float) -> RulesError:
    orders, best = found.matrix.shape[0], int(_pairs(found, 1).data.max(initial=0))
    if not best:
        return RulesError("no order holds two different products; check which columns are order_id and product_id")
    return RulesError(
        f"--min-support {min_support}: no two products share {found.least(min_support):,} of {orders:,} orders, two"
        f" share {best:,}; try --min-support {_share(best, orders, ROUND_FLOOR)}"
    )


def _too_many(most: int, enough: int, orders: int) -> RulesError:
    way = f"--min-support {_share(enough, orders, ROUND_CEILING)} or " if enough <= orders else ""
    return RulesError(f"more than {most:,} sets pass, which is what memory holds; try {way}a smaller --max-length")


def _share(part: int, whole: int, rounding: str) -> str:
    return f"{Context(prec=2, rounding=rounding).divide(Decimal(part), Decimal(whole)):f}"


def apriori(found: Baskets, least: int, max_length: int) -> Itemsets:
    """Sets of 1 to max_length products that at least `least` orders hold (Agrawal and Srikant, VLDB 1994, figure 1).

    mlxtend counts them, on sparse columns and with low_memory: its other way makes orders x candidates dense.
    """
    passing = np.flatnonzero(found.counts >= least)
    if not len(passing):
        return {}
    frame = pd.DataFrame.sparse.from_spmatrix(found.matrix[:, passing])  # type: ignore[attr-defined]  # of the stubs
    orders = len(frame)
    share = (least - 0.5) / orders  # between two counts, so that no rounding decides
    sets = mlxtend_apriori(frame, min_support=share, max_len=max_length, low_memory=True)
    columns = [tuple(sorted(passing[list(items)].tolist())) for items in sets["itemsets"]]
    return _ordered(dict(zip(columns, (sets["support"] * orders).round().astype(int).tolist(), strict=True)))


def eclat(
    found: Baskets,
    least: int,
    max_length: int,
    told: Callable[[int, int], object] | None = None,
    most: float = math.inf,
) -> Itemsets:
    """The same sets as `apriori`, depth first (Zaki, "Scalable algorithms for association mining", IEEE TKDE 2000).

    A product's orders are a bitset; those of a set are the intersection. The stack holds one level of bitsets for each
    product of a set, never those of two branches. told: called with (products done, products in all). Where more than
    `most` sets pass, the least count rises until they do not, and RulesError names the support at which all is held.
    """
    single = np.flatnonzero(found.counts >= least)
    sets: Itemsets = {(item,): n for item, n in zip(single.tolist(), found.counts[single].tolist(), strict=True)}
    stack: list[tuple[tuple[int, ...], Ints, Bits, int]] = [((), single, bitsets(found, single), 0)]
    enough = least
    while stack and sets:
        prefix, items, orders, at = stack.pop()
        if at + 1 < len(items):
            stack.append((prefix, items, orders, at + 1))
        if told and not prefix:
            told(at + 1, len(items))
        shared = orders[at + 1 :] & orders[at]
        counts = np.bitwise_count(shared).sum(axis=1, dtype=np.int64)
        passing = counts >= enough
        head, rest = (*prefix, int(items[at])), items[at + 1 :][passing]
        sets |= {(*head, item): n for item, n in zip(rest.tolist(), counts[passing].tolist(), strict=True)}
        if len(rest) > 1 and len(head) + 1 < max_length:
            stack.append((head, rest, shared[passing], 0))
        if len(sets) > most:
            enough = int(np.median(list(sets.values()))) + 1
            sets = {items: n for items, n in sets.items() if n >= enough}
    if enough > least:
        raise _too_many(int(most), enough, found.matrix.shape[0])
    return _ordered(sets)


def bitsets(found: Baskets, columns: Ints) -> Bits:
    """The orders of each column as bits, shape (columns, orders / 64)."""
    part = found.matrix[:, columns]
    bits = np.zeros((len(columns), -(-part.shape[0] // 64)), np.uint64)
    column, (word, bit) = np.repeat(np.arange(len(columns)), np.diff(part.indptr)), np.divmod(part.indices, 64)
    np.bitwise_or.at(bits, (column, word), np.uint64(1) << bit.astype(np.uint64))
    return bits


def _ordered(sets: Itemsets) -> Itemsets:
    return dict(sorted(sets.items(), key=lambda item: (len(item[0]), item[0])))


# ---- rules -----------------------------------------------------------------------------------------------------------


def rules(found: Baskets, sets: Itemsets, min_confidence: float, min_orders: int = 1) -> pd.DataFrame:
    """Every set's products one by one against the rest of it, highest lift first: those on `min_orders` orders or more
    and with a confidence of at least `min_confidence`.

    Columns: antecedent (tuple of product ids), consequent (one id), and with n orders of which a hold the antecedent,
    b the consequent and ab both: support ab/n, confidence ab/a (Agrawal, Imielinski and Swami, SIGMOD 1993), lift
    ab n/(a b) (Brin et al., SIGMOD 1997: "interest"; 1 where the two are independent), leverage ab/n - a b/n^2
    (Piatetsky-Shapiro 1991; 0 there), orders ab, few (ab < FEW), lift_low (`low`), finding (lift_low > LIKELIER),
    orders_antecedent a, orders_consequent b. Ties go to the higher support, then by name. Raises RulesError where no
    rule stands on so many orders, or none of them is confident enough.
    """
    n, names = found.matrix.shape[0], found.products
    most = max((both for items, both in sets.items() if len(items) > 1), default=0)
    if 0 < most < min_orders:
        raise RulesError(f"--min-orders {min_orders}: no rule stands on so many, one does on {most}; try {most}")
    rows, best = [], 0.0
    for items, both in sets.items():
        for consequent in items if len(items) > 1 and both >= min_orders else ():
            rest = tuple(item for item in items if item != consequent)
            a, b = sets[rest], sets[(consequent,)]
            best = max(best, both / a)
            if both / a >= min_confidence:
                antecedent = tuple(names[item] for item in rest)
                weights = (both / n, both / a, both * n / (a * b), (both * n - a * b) / (n * n))
                rows.append((antecedent, names[consequent], *weights, both, both < FEW, a, b))
    if not rows:
        raise RulesError(f"--min-confidence {min_confidence}: no rule reaches it; the best has {best:.4f}")
    rows.sort(key=lambda row: (-row[4], -row[2], row[0], row[1]))
    sides = ["orders_antecedent", "orders_consequent"]
    table = pd.DataFrame(rows, columns=[*COLUMNS[:-2], *sides])
    table["lift_low"] = low(table["lift"], table["orders"], len(sets) * sum(len(items) == 1 for items in sets))
    return table.assign(finding=table["lift_low"] > LIKELIER)[[*COLUMNS, *sides]]


def low(lift: pd.Series, orders: pd.Series, tried: int) -> pd.Series:
    """The lower bound of each lift: with 95 % confidence (two-sided) all of `tried` lifts are above theirs.

    Both sides are taken as known, and the orders that hold them together as Poisson (Garwood 1936), of which
    Bonferroni's share for each of the tried is allowed to be chance. Tried is every antecedent with every product.

    >>> low(pd.Series([1.02, 1.5, 1.5]), pd.Series([20_000, 200, 30]), 10_000).round(2).tolist()
    [0.99, 1.06, 0.56]
    """
    least: pd.Series = lift * gammaincinv(orders, CHANCE / tried) / orders
    return least


# ---- the job ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mined:
    """baskets: the orders; least: how many of them make a set frequent; sets: the frequent ones, with the orders that
    hold each; table: `rules`, highest lift first."""

    baskets: Baskets
    least: int
    sets: Itemsets
    table: pd.DataFrame

    @property
    def findings(self) -> pd.DataFrame:
        """The rules whose lift is surely above LIKELIER."""
        return self.table[self.table["finding"]]


def run(
    history: History,
    min_support: float,
    min_confidence: float,
    max_length: int = 3,
    algorithm: Literal["apriori", "eclat"] = "eclat",
    separator: str | None = None,
    progress: Callable[[str], object] = len,
    told: Callable[[int, int], object] | None = None,
    min_orders: int = FEW,
    said: Callable[[str], object] = len,
) -> Mined:
    """Mines the orders of a history for rules of 2 to max_length products.

    min_support: least share of orders, min_confidence: of those with the antecedent, both in (0, 1]; min_orders: on
    which a rule must stand. separator: what an antecedent's products will be joined by, so no product may hold it;
    None: nothing. told: as `eclat` takes it. said: called with what mining will take, where that is much. Raises
    RulesError where orders hold no two products, the support lets no set pass or more than memory holds, or no rule is
    left.
    """
    progress("making baskets")
    found = baskets(history.frame)
    if separator is not None:
        _separable(found.products, separator)
    progress("counting pairs")
    expected, left = costs(found, min_support, max_length, algorithm), free()
    if expected.notable:
        said(str(expected))
    progress(algorithm)
    least = found.least(min_support)
    # Of what eclat counted apriori is known to end; by itself it could not tell before.
    sets = eclat(found, least, max_length, told, math.inf if left is None else left // 2 // A_SET)
    if algorithm == "apriori":
        sets = apriori(found, least, max_length)
    return Mined(found, least, sets, rules(found, sets, min_confidence, min_orders))


def costs(found: Baskets, min_support: float, max_length: int, algorithm: str = "eclat") -> Cost:
    """What mining will take. Raises RulesError when no two products share enough orders, or no memory holds them."""
    least = found.least(min_support)
    pairs, passing, left = _pairs(found, least), np.flatnonzero(found.counts >= least), free()
    if pairs.data.max(initial=0) < least:
        raise _too_rare(found, min_support)
    needed = 3 * len(passing) * found.matrix.shape[0] // 8
    if left is not None and needed > left:
        raise RulesError(
            f"--min-support {min_support}: the orders of {len(passing):,} products take {needed / 1e9:.1f} GB,"
            f" {left / 1e9:.1f} GB are free; try a higher one"
        )
    return cost(pairs, bitsets(found, passing), least, max_length, algorithm)


def _separable(products: Sequence[str], separator: str) -> None:
    """An antecedent must come apart again where it was joined."""
    clash = next((product for product in products if separator in product), None)
    if clash is not None:
        raise RulesError(f"--separator {separator!r}: product {clash!r} holds it; choose another")
