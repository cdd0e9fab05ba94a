"""CDNOW: 69,659 purchases of 23,570 customers, 1997-01-01 to 1998-06-30, as the PyPI package `lifetimes` ships it.

    python -m demo.data.cdnow build/cdnow.csv

The package is installed without its dependencies and its file is found without importing it.
"""

import csv
import sys
from importlib import metadata
from pathlib import Path

CUT_OFF = "1998-01-01"  # 12 months of history, 6 months live


def write_csv(path: Path) -> int:
    """A shop's file: customer, date, amount; returns the number of purchases."""
    source = next(f for f in metadata.files("lifetimes") or () if f.name == "CDNOW_master.txt").locate()
    rows = [line.split() for line in Path(str(source)).read_text().splitlines()[1:] if line.strip()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["customer", "date", "amount"])
        table.writerows((customer, f"{day[:4]}-{day[4:6]}-{day[6:]}", amount) for customer, day, _, amount in rows)
    return len(rows)


if __name__ == "__main__":
    print(f"{write_csv(Path(sys.argv[1])):,} lines")
