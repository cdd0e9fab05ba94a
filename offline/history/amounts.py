"""What a row is worth: its amount, or quantity x unit_price as the stream counts it.

Rule: the product is exact and rounded half-even to 1/10,000 once; nothing that goes into it was rounded before.
"""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.events import EXACT, MOST, whole
from models.kinds import PURCHASE, RETURN, TRADED
from offline.history.values import PLAIN, Bools, Ints, matches, money

NOISE = 1e-6  # of 1/10,000 of a unit: what a program's doubles add to a quantity of 4 decimal places


def amounts(
    columns: Mapping[str, pa.Array], whole_amounts: bool, kind: NDArray[np.int8]
) -> tuple[NDArray[np.int8], Ints, Ints, Bools]:
    """(kind, amount, quantity, sound): a negative amount or quantity makes a purchase a return; views are worth 0.

    What has an amount and no readable quantity is one unit. Amounts in 1/10,000 of the major unit, quantities in
    1/10,000 of a unit.
    """
    bought = np.isin(kind, TRADED)
    quantity, counted = money(columns["quantity"])
    if whole_amounts:
        amount, sound = money(columns["amount"])
    else:
        amount, sound = _products(columns["quantity"], columns["unit_price"], quantity, counted & bought)
    sound &= (np.abs(amount) <= MOST) & (np.abs(quantity) <= 10_000 * MOST)
    kind = np.where(bought & ((amount < 0) | (quantity < 0)), RETURN, kind).astype(np.int8)
    sign = np.select([kind == PURCHASE, kind == RETURN], [1, -1], 0)
    units = np.where(counted, np.abs(quantity), 10_000)
    return kind, sign * np.abs(amount), sign * units, sound | ~bought


def _products(quantities: pa.Array, prices: pa.Array, quantity: Ints, wanted: Bools) -> tuple[Ints, Bools]:
    """(amount, sound) of quantity (in 1/10,000) x price; a quantity of 0, or of more than 4 places, is not sound."""
    price, sound = money(prices)
    sound &= wanted & (quantity != 0) & (price >= 0)
    sound &= np.abs(quantity / 10_000 * price) < 2 * MOST  # beyond, int64 might overflow
    product = np.where(sound, np.abs(quantity), 0) * np.where(sound, price, 0)
    amount, rest = np.divmod(product, 10_000)
    amount += (rest > 5_000) | ((rest == 5_000) & (amount % 2 == 1))
    others = sound & ~(matches(quantities, PLAIN) & matches(prices, PLAIN))
    chosen = pa.array(others)
    texts = zip(quantities.filter(chosen).to_pylist(), prices.filter(chosen).to_pylist(), strict=True)
    for i, (count, cost) in zip(np.flatnonzero(others).tolist(), texts, strict=True):
        amount[i], sound[i] = _product(float(count), abs(int(quantity[i])), cost.strip())
    return np.sign(quantity) * amount, sound


def _product(count: float, parts: int, cost: str) -> tuple[int, bool]:
    """The amount of `parts` 1/10,000 at a price as it is written; False where the count is no such number of parts."""
    exact = EXACT.multiply(Decimal(cost), Decimal(parts))
    sound = abs(abs(count) * 1e4 - parts) <= NOISE and exact >= 0
    return whole(exact), sound
