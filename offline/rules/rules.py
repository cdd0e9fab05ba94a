"""Association rules: which products are bought in one order, and what an order that holds some is likely to hold too.

Orders become a sparse matrix (`baskets`); `apriori` and `eclat` find the same sets of products in it, the one level by
level, the other depth first over bitsets; `rules` weighs one product against the rest of its set.
Rule: whatever is mined is first known to be affordable. `affordable` counts the pairs and bounds all larger sets, and a
support that lets more than MOST of them pass is refused with one line before any of them is looked for.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pandas as pd
from mlxtend.frequent_patterns import apriori as mlxtend_apriori
from numpy.typing import NDArray
from scipy import sparse

from models.kinds import RETURN, TRADED
from offline.errors import OfflineError
from offline.history.read import History

Ints = NDArray[np.int64]
Itemsets = dict[tuple[int, ...], int]  # ascending columns -> orders that hold them all; by size, then columns

MOST = 100_000  # sets of two and more products: apriori needs minutes for so many, and nobody reads more rules
FEW = 30  # orders: a rule on fewer is marked
COLUMNS = ["antecedent", "consequent", "support", "confidence", "lift", "leverage", "orders", "few"]  # of rules


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

    An order is a customer's lines with one order_id. A product is in it when it was purchased there and not given back:
    with returns that name the same order, while the amounts of both leave more than 0. Lines without a product are
    passed over. Raises RulesError where nothing is left.
    """
    bought = history["kind"].isin(TRADED) & history["product_id"].notna()
    lines = history.loc[bought, ["customer_id", "order_id", "product_id", "amount"]]
    by = lines.assign(returned=history["kind"] == RETURN).groupby(["customer_id", "order_id", "product_id"], sort=False)
    pairs = by.agg(returned=("returned", "any"), amount=("amount", "sum"))
    kept = pairs.index[~pairs["returned"] | (pairs["amount"] > 0)].to_frame(index=False)
    if kept.empty:
        raise RulesError("no purchase that was kept names a product; name that column with --columns product_id=...")
    order = kept.groupby(["customer_id", "order_id"], sort=False).ngroup().to_numpy()
    column, products = pd.factorize(kept["product_id"].to_numpy(), sort=True)
    return Baskets(sparse.csc_matrix((np.ones(len(kept), np.bool_), (order, column))), list(map(str, products)))


# ---- sets of products ------------------------------------------------------------------------------------------------


def affordable(found: Baskets, min_support: float, max_length: int) -> None:
    """Raises RulesError when no two products share enough orders, or when more than MOST sets may pass.

    Pairs are counted. Triples are bounded by those whose pairs all pass (the candidates of Apriori), larger sets from
    these by Geerts, Goethals and Van den Bussche, "A tight upper bound on the number of candidate patterns" (ICDM
    2001), theorem 1.
    """
    least, orders = found.least(min_support), found.matrix.shape[0]
    products, pairs = _pairs(found, least)
    if pairs.data.max(initial=0) < least:
        raise _too_rare(found, min_support)
    if _bound(pairs, least, max_length) > MOST:
        enough = bisect.bisect_left(range(orders), True, least, key=lambda at: _bound(pairs, at, max_length) <= MOST)
        raise RulesError(
            f"--min-support {min_support}: {products:,} products and {np.sum(pairs.data >= least):,} pairs pass, with"
            f" larger sets perhaps more than {MOST:,}; try --min-support {_share(enough, orders, ROUND_CEILING)}"
        )


def _pairs(found: Baskets, least: int) -> tuple[int, Any]:
    """(products in `least` orders, COO matrix above its diagonal: orders that each two of them share)."""
    passing = np.flatnonzero(found.counts >= least)
    part = found.matrix[:, passing].astype(np.int32)
    return len(passing), sparse.triu(part.T @ part, 1, format="coo")


def _too_rare(found: Baskets, min_support: float) -> RulesError:
    orders, best = found.matrix.shape[0], int(_pairs(found, 1)[1].data.max(initial=0))
    if not best:
        return RulesError("no order holds two different products; check which columns are order_id and product_id")
    return RulesError(
        f"--min-support {min_support}: no two products share {found.least(min_support):,} of {orders:,} orders, two"
        f" share {best:,}; try --min-support {_share(best, orders, ROUND_FLOOR)}"
    )


def _share(part: int, whole: int, rounding: str) -> str:
    return f"{Context(prec=2, rounding=rounding).divide(Decimal(part), Decimal(whole)):f}"


def _bound(pairs: Any, least: int, max_length: int) -> int:
    """No fewer than the sets of 2 to max_length products that `least` orders hold; past MOST, any larger number."""
    passing = pairs.data >= least
    total = level = int(passing.sum())
    for size in range(3, max_length + 1):
        if total > MOST:
            break
        level = _triangles(pairs, passing) if size == 3 else _larger(level, size - 1)
        total += level
    return total


def _triangles(pairs: Any, passing: NDArray[np.bool_]) -> int:
    edges = np.ones(passing.sum(), np.int64), (pairs.row[passing], pairs.col[passing])
    above = sparse.csr_matrix(edges, shape=pairs.shape)
    return int((above @ above).multiply(above).sum())


def _larger(count: int, size: int) -> int:
    """Most sets of size + 1 whose subsets of `size` are all among `count` sets (Kruskal-Katona).

    >>> _larger(4, 3), _larger(5, 3)  # four triples can make one set of four, a fifth adds nothing
    (1, 1)
    """
    most = 0
    while count and size:
        n = next(n for n in itertools.count(size) if math.comb(n + 1, size) > count)
        most, count, size = most + math.comb(n, size + 1), count - math.comb(n, size), size - 1
    return most


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


def eclat(found: Baskets, least: int, max_length: int, told: Callable[[int, int], object] | None = None) -> Itemsets:
    """The same sets as `apriori`, depth first (Zaki, "Scalable algorithms for association mining", IEEE TKDE 2000).

    A product's orders are a bitset; those of a set are the intersection. The stack holds one level of bitsets for each
    product of a set, never those of two branches. told: called with (products done, products in all).
    """
    single = np.flatnonzero(found.counts >= least)
    sets: Itemsets = {(item,): n for item, n in zip(single.tolist(), found.counts[single].tolist(), strict=True)}
    stack: list[tuple[tuple[int, ...], Ints, NDArray[np.uint64], int]] = [((), single, _bitsets(found, single), 0)]
    while stack and sets:
        prefix, items, orders, at = stack.pop()
        if at + 1 < len(items):
            stack.append((prefix, items, orders, at + 1))
        if told and not prefix:
            told(at + 1, len(items))
        shared = orders[at + 1 :] & orders[at]
        counts = np.bitwise_count(shared).sum(axis=1, dtype=np.int64)
        passing = counts >= least
        head, rest = (*prefix, int(items[at])), items[at + 1 :][passing]
        sets |= {(*head, item): n for item, n in zip(rest.tolist(), counts[passing].tolist(), strict=True)}
        if len(rest) > 1 and len(head) + 1 < max_length:
            stack.append((head, rest, shared[passing], 0))
    return _ordered(sets)


def _bitsets(found: Baskets, columns: Ints) -> NDArray[np.uint64]:
    """The orders of each column as bits, shape (columns, orders / 64)."""
    part = found.matrix[:, columns]
    bits = np.zeros((len(columns), -(-part.shape[0] // 64)), np.uint64)
    column, (word, bit) = np.repeat(np.arange(len(columns)), np.diff(part.indptr)), np.divmod(part.indices, 64)
    np.bitwise_or.at(bits, (column, word), np.uint64(1) << bit.astype(np.uint64))
    return bits


def _ordered(sets: Itemsets) -> Itemsets:
    return dict(sorted(sets.items(), key=lambda item: (len(item[0]), item[0])))


# ---- rules -----------------------------------------------------------------------------------------------------------


def rules(found: Baskets, sets: Itemsets, min_confidence: float) -> pd.DataFrame:
    """Every set's products one by one against the rest of it, confidence at least `min_confidence`, highest lift first.

    Columns: antecedent (tuple of product ids), consequent (one id), and with n orders of which a hold the antecedent,
    b the consequent and ab both: support ab/n, confidence ab/a (Agrawal, Imielinski and Swami, SIGMOD 1993), lift
    ab n/(a b) (Brin et al., SIGMOD 1997: "interest"; 1 where the two are independent), leverage ab/n - a b/n^2
    (Piatetsky-Shapiro 1991; 0 there), orders ab, few (ab < FEW), orders_antecedent a, orders_consequent b. Ties go to
    the higher support, then by name. Raises RulesError where no rule is confident enough.
    """
    n, names = found.matrix.shape[0], found.products
    rows, best = [], 0.0
    for items, both in sets.items():
        for consequent in items if len(items) > 1 else ():
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
    return pd.DataFrame(rows, columns=[*COLUMNS, "orders_antecedent", "orders_consequent"])


# ---- the job ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mined:
    """baskets: the orders; least: how many of them make a set frequent; sets: the frequent ones, with the orders that
    hold each; table: `rules`, highest lift first."""

    baskets: Baskets
    least: int
    sets: Itemsets
    table: pd.DataFrame


def run(
    history: History,
    min_support: float,
    min_confidence: float,
    max_length: int = 3,
    algorithm: Literal["apriori", "eclat"] = "eclat",
    separator: str | None = None,
    progress: Callable[[str], object] = len,
    told: Callable[[int, int], object] | None = None,
) -> Mined:
    """Mines the orders of a history for rules of 2 to max_length products.

    min_support: least share of orders, min_confidence: of those with the antecedent, both in (0, 1]. separator: what an
    antecedent's products will be joined by, so no product may hold it; None: nothing. told: as `eclat` takes it. Raises
    RulesError where orders hold no two products, or the support lets too many sets pass, or none.
    """
    progress("making baskets")
    found = baskets(history.frame)
    if separator is not None:
        _separable(found.products, separator)
    progress("counting pairs")
    affordable(found, min_support, max_length)
    progress(algorithm)
    least = found.least(min_support)
    sets = apriori(found, least, max_length) if algorithm == "apriori" else eclat(found, least, max_length, told)
    return Mined(found, least, sets, rules(found, sets, min_confidence))


def _separable(products: Sequence[str], separator: str) -> None:
    """An antecedent must come apart again where it was joined."""
    clash = next((product for product in products if separator in product), None)
    if clash is not None:
        raise RulesError(f"--separator {separator!r}: product {clash!r} holds it; choose another")
