"""Does what an order came to stand on each of its lines, or on one of its own? Added up, it counts more than once.

Told by orders of several lines that differ: nearly all of them have one amount on all their lines, and no two orders
have the same one but by chance; or nearly all of three and more have one that is the sum of the others. Tickets may
look like the first, so it is asked and told, never decided. Rule: where it is said, an amount counts once an order, on
the first line that has it; the other lines stay, with what was bought.
"""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from offline.history.policy import LINE, ORDER
from offline.history.values import Bools

NEARLY, SELDOM = 0.9, 0.1  # of the orders of several lines that have one amount; of two orders that have the same
CHANCE = 0.05
KEY = ["customer_id", "order_id"]


class Totals(NamedTuple):
    """Of orders: how many have several lines, how many of these have one amount, and how many lines too many."""

    several: int
    same: int
    more: int

    def __str__(self) -> str:
        """
        >>> print(Totals(20, 19, 30))
        19 of 20 orders of several lines have one amount on all their lines
        """
        return f"{self.same:,} of {self.several:,} orders of several lines have one amount on all their lines"

    @property
    def way_out(self) -> str:
        """What its owner says then."""
        once = "if it is what the order came to, it counts once for each line"
        return f"{once}; say --amount-of {ORDER}, or {LINE}"


class Sums(NamedTuple):
    """Of orders: how many have three lines and more, and how many of these one that is the sum of the others."""

    several: int
    summed: int

    def __str__(self) -> str:
        """
        >>> print(Sums(20, 19))
        19 of 20 orders of three and more lines have one that is the sum of the others
        """
        return (
            f"{self.summed:,} of {self.several:,} orders of three and more lines have one that is the sum of the others"
        )

    @property
    def way_out(self) -> str:
        """What its owner says then."""
        return "if it is the order's own, all that was sold counts twice: leave such lines out with --only or --except"


def by_amount(lines: pd.DataFrame) -> pd.DataFrame:
    """Of each amount (index) of an order's first line: orders, and how many have several lines (`several`), one amount
    (`same`), lines beyond the first (`more`), three and more lines (`three`), one of which is the sum of the others
    (`summed`). lines: purchases, columns of KEY, product_id, content and amount.

    All lines of an order must be among them; tables of different orders add up (`found`). Lines of one product, or all
    alike, are one.
    """
    what = lines["product_id"].where(lines["product_id"].notna(), lines["content"].astype(str))
    lines = lines.assign(what=what).drop_duplicates([*KEY, "what"])
    orders = lines.groupby(KEY, sort=False, dropna=False)["amount"].agg(["first", "min", "max", "sum", "size"])
    several = orders["size"] > 1
    same = several & (orders["min"] == orders["max"]) & (orders["max"] != 0)
    table = pd.DataFrame({"amount": orders["first"], "orders": 1, "several": several, "same": same})
    three = orders["size"] > 2
    summed = three & (2 * orders["max"] == orders["sum"]) & (orders["max"] != 0)
    table = table.assign(more=(orders["size"] - 1).where(same, 0), three=three, summed=summed)
    return table.groupby("amount").sum()


def found(tables: Iterable[pd.DataFrame]) -> Totals | Sums | None:
    """What these tables of `by_amount` say together; None where an amount may be each line's.

    >>> lines = pd.DataFrame({"customer_id": "a", "order_id": [*"112234"], "product_id": None, "content": range(6)})
    >>> shop = [[60, 60, 25, 25, 10, 7], [60, 60, 25, 24, 10, 7], [60, 60, 60, 60, 60, 60]]
    >>> [found([by_amount(lines.assign(amount=amounts))]) for amounts in shop]
    [Totals(several=2, same=2, more=2), None, None]
    >>> lines = pd.DataFrame({"customer_id": "a", "order_id": [*"1112222"], "product_id": None, "content": range(7)})
    >>> found([by_amount(lines.assign(amount=[30, 10, 20, 18, 5, 6, 7]))])
    Sums(several=2, summed=2)
    """
    whole = pd.concat(tables).groupby(level=0).sum()
    orders, several, same, more, three, summed = whole.sum().astype(int).tolist() if len(whole) else [0] * 6
    if summed >= 2 and summed >= NEARLY * three:
        return Sums(three, summed)
    if several < 2 or same < NEARLY * several:
        return None
    pairs, equal = orders * (orders - 1) / 2, float((whole["orders"] * (whole["orders"] - 1) / 2).sum())
    if equal > SELDOM * pairs or ((equal + 1) / (pairs + 2)) ** more > CHANCE:
        return None
    return Totals(several, same, more)


def again(rows: pd.DataFrame) -> Bools:
    """Which rows repeat the amount of an order; columns of KEY, kind and amount."""
    repeated: Bools = rows.duplicated([*KEY, "kind", "amount"]).to_numpy() & (rows["amount"] != 0).to_numpy()
    return repeated
