"""What a shop has of each product: a small CSV file of product_id, on_hand and, if any, on_order, in units.

Their sum is the inventory position, which an order brings up to the bound of what will be sold.
"""

import re
from pathlib import Path

from offline import listing
from offline.errors import OfflineError

NUMBER = re.compile(r"\s*[+-]?\d+(\.\d+)?\s*", re.ASCII)


def available(path: Path) -> dict[str, float]:
    """Units on hand and on order by product. Raises OfflineError, one line that begins with --stock."""
    found: dict[str, float] = {}
    for row in listing.rows(path, "--stock", ("product_id", "on_hand"), "product_id", optional=("on_order",)):
        product = row.pop("product_id")
        for column, text in row.items():
            if not NUMBER.fullmatch(text):
                raise OfflineError(
                    f"--stock {path}: {column} of product {product!r} is {text!r}; say a number like 12.5"
                )
        found[product] = sum(map(float, row.values()))
    return found
