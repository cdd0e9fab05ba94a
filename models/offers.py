"""Next-best offers: what to show a customer beside what was bought last, from rules that were mined offline.

A customer's row remembers the last RING purchases of products that the offers name, on either side, as codes. Offers
are looked up for these, the latest first, and none is shown that was bought in the last KEPT days as far as the ring
can tell. So the ring depends on the offers that were served when an event was folded: no part of the promise of rows.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from models.compiled import njit
from models.rows import DAY, RING

KEPT = 90  # days, inclusive
MOST = 3  # offers shown to a customer
PRODUCTS = 10_000  # with offers of their own: every model version carries them
EMPTY = "[]"


class Offers:
    """beside: product_id -> at most MOST product_ids, best first. ValueError beyond PRODUCTS or MOST.

    Codes have 32 bits. Of two products with one code, the later by name is left out: neither offered nor remembered.
    """

    def __init__(self, beside: Mapping[str, Sequence[str]]) -> None:
        if len(beside) > PRODUCTS or any(len(offered) > MOST for offered in beside.values()):
            raise ValueError(f"offers: at most {PRODUCTS:,} products, with at most {MOST} offers each")
        self.beside = {product: list(offered) for product, offered in sorted(beside.items())}
        owner: dict[int, str] = {}
        for product in sorted({*self.beside, *itertools.chain(*self.beside.values())}):
            owner.setdefault(code(product), product)
        products = [owner[c] for c in sorted(owner)]
        self.code_of = {product: code(product) for product in products}
        place = {product: i for i, product in enumerate(products)}
        self.products = [json.dumps(product, ensure_ascii=False) for product in products]
        self._codes = np.array(sorted(owner), np.uint32)
        self._beside = np.full((len(products), MOST), -1, np.int64)
        for product, offered in self.beside.items():
            known = [place[other] for other in offered if other in place]
            if product in place:
                self._beside[place[product], : len(known)] = known

    def codes(self, products: Iterable[str | None]) -> NDArray[np.uint32] | None:
        """(n,) codes of the products that stand in the offers, 0 for all others; None where there are no offers."""
        if not self.code_of:
            return None
        known = self.code_of.get
        return np.array([known(product, 0) for product in products], np.uint32)  # type: ignore[arg-type]

    def texts(self, rows: NDArray[Any], moments: NDArray[np.int64]) -> list[str]:
        """What to offer these rows (n,) at these event times (us): JSON arrays of at most MOST product_ids.

        >>> from models.customers import ROW
        >>> offers, row = Offers({"tea": ["pot", "cup"]}), np.zeros(1, ROW)
        >>> row["offered"][0, 0], row["offered_slot"] = code("tea"), 1
        >>> offers.texts(row, np.array([0]))
        ['["pot","cup"]']
        """
        if not self.code_of:
            return [EMPTY] * len(rows)
        chosen, texts = self.choose(rows, moments), self.products
        return [f"[{','.join([texts[i] for i in picks if i >= 0])}]" for picks in chosen.tolist()]

    def choose(self, rows: NDArray[Any], moments: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same as places (n, MOST) in `products`, which are JSON texts; -1 behind the last."""
        chosen = np.full((len(rows), MOST), -1, np.int64)
        if self.code_of:
            ring, days, slot = (np.ascontiguousarray(rows[name]) for name in ("offered", "offered_day", "offered_slot"))
            _choose(ring, days, slot, moments // DAY, self._codes, self._beside, chosen)
        return chosen

    def snapshot(self) -> dict[str, list[str]]:
        """What stands beside each product."""
        return self.beside


def code(product_id: str) -> int:
    """32 bits of a product_id's XXH3, never 0: the same in every publish.

    >>> code("tea") == code("tea") != code("pot")
    True
    """
    return max(1, xxhash.xxh3_64_intdigest(product_id.encode()) & 0xFFFF_FFFF)


@njit
def _choose(rings: Any, days: Any, slots: Any, today: Any, codes: Any, beside: Any, out: Any) -> None:
    for i in range(len(rings)):
        k = 0
        for back in range(1, RING + 1):
            bought = rings[i, (slots[i] - back) % RING]
            if bought == 0 or k == MOST:
                break
            at = np.searchsorted(codes, bought)
            if at == len(codes) or codes[at] != bought:  # of offers served before
                continue
            for j in range(MOST):
                offer = beside[at, j]
                if offer < 0 or k == MOST:
                    break
                if _free(rings[i], days[i], today[i], codes[offer]) and offer not in out[i, :k]:
                    out[i, k] = offer
                    k += 1


@njit
def _free(ring: Any, days: Any, today: int, product: int) -> bool:
    """Was the product not bought in the last KEPT days? Days are kept modulo 2**16."""
    free = True
    for j in range(RING):
        free &= ring[j] != product or (today - days[j]) % 65_536 > KEPT
    return free
