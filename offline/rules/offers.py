"""What to offer beside each product: from rules to the file that a person may look through, and into a model.

The file is CSV: `product`, then `offer_1`, `confidence_1` and so on, best first. Rule: whoever reads it takes products
alone; the confidences are for people.
"""

from pathlib import Path

import pandas as pd

from models.offers import MOST, Offers
from offline import listing
from offline.errors import OfflineError

COLUMNS = ["product", *(f"{what}_{i}" for i in range(1, MOST + 1) for what in ("offer", "confidence"))]


def best(rules: pd.DataFrame) -> pd.DataFrame:
    """The best products to offer beside each one, at most MOST, from rules with one product on each side.

    rules: as `rules.rules` gives them; returns COLUMNS, a row a product, by name. Best is the highest
    confidence x lift. Confidence alone offers what everybody buys, lift alone what hardly anybody does; for one
    antecedent the order of their product is that of the cosine between two products' orders, ab / sqrt(a b), the
    similarity of item-based top-N recommendation (Deshpande and Karypis, ACM TOIS 2004, eq. 1). Only findings are
    offered: of other products the antecedent does not surely make any likelier.

    >>> rows = {"antecedent": [("tea",), ("tea",), ("tea", "milk")], "consequent": ["pot", "cup", "cup"]}
    >>> weights = {"confidence": [0.1, 0.6, 0.9], "lift": [5.0, 2.0, 3.0], "finding": True}
    >>> print(best(pd.DataFrame(rows | weights)).to_csv(index=False))
    product,offer_1,confidence_1,offer_2,confidence_2,offer_3,confidence_3
    tea,cup,0.6,pot,0.1,,
    <BLANKLINE>
    """
    single = rules[(rules["antecedent"].map(len) == 1) & rules["finding"]]
    order = (-single["confidence"] * single["lift"]).sort_values(kind="stable").index
    ranked = single.loc[order].assign(product=single["antecedent"].str[0])
    rows = [
        [product, *group[["consequent", "confidence"]].head(MOST).to_numpy().ravel()]
        for product, group in ranked.groupby("product")
    ]
    return pd.DataFrame([row + [None] * (len(COLUMNS) - len(row)) for row in rows], columns=COLUMNS)


def read(path: Path) -> Offers:
    """The offers in such a file; empty ones are passed over. Raises OfflineError, one line."""
    offered = [f"offer_{i}" for i in range(1, MOST + 1)]
    rows = listing.rows(path, "--offers", ["product", *offered], "product")
    try:
        return Offers({row["product"]: [row[name] for name in offered if row[name]] for row in rows})
    except ValueError as error:
        raise OfflineError(f"--offers {path}: {error}; mine with a higher --min-support") from None
