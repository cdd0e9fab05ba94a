"""`python -m offline stock`: units of each product in the weeks ahead, and what to order."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offline import writing
from offline.commands.common import bar, one_line, source, sourced
from offline.stock.inventory import available

if TYPE_CHECKING:
    import pandas as pd

    from offline.stock.stock import StockForecast

NEEDED = {"product_id": "product_id"}  # optional for others: here a missing one is an error
SHOWN = 10


@click.command()
@partial(source, horizon=False)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="CSV file to write, a row for each product."
)
@click.option("--weeks", default=4, show_default=True, type=click.IntRange(1, 52), help="Weeks that a demand spans.")
@click.option("--cuts", "most", default=4, show_default=True, type=click.IntRange(2, 24), help="Cut dates, at most.")
@click.option(
    "--stock", "held", type=click.Path(path_type=Path), help="CSV of product_id, on_hand and, if any, on_order: units."
)
def stock(out: Path, weeks: int, most: int, held: Path | None, **options: Any) -> None:
    """Predict the units of each product in the next --weeks and write them to --out, the most expected first.

    With --stock, also what to order so that 9 of 10 products last: the upper bound less on hand and on order.

    \b
    Example:
      python -m offline stock --history orders.csv --columns product_id=SKU --stock stock.csv --out reorder.csv
    """
    with one_line(out):
        given = sourced(**options)
        policy = replace(given.policy, needs=frozenset({"occurred_at"}))
        given = replace(given, columns=NEEDED | given.columns, policy=policy)
        writing.writable(out)
        given.check()
        units = available(held) if held else None
        with bar() as steps:
            read = given.read(steps)

            from offline.stock import stock as job

            found = job.run(read, read.cut_off, weeks, most, units, steps.step)
        click.echo(f"{read.counts.table()}\n")
        _report(found)
        click.echo(f"\n{found.frame.head(SHOWN).round(1).to_string(index=False, na_rep='-')}")
        if units is not None:
            _held(found.frame, units)
        writing.write(found.frame, out)
    click.echo(f"\nwritten: {out}")


def _report(found: "StockForecast") -> None:
    import numpy as np

    products, weeks = found.weeks.units.shape
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in found.kinds.items())
    click.echo(f"{products:,} products in {weeks} weeks up to {np.datetime64(found.weeks.end, 'D')}: {kinds}\n")
    cuts = found.by_cut.index.get_level_values("cut").unique()
    click.echo(f"{found.horizon} weeks ahead, mean of {len(cuts)} cuts (spread: largest less smallest)")
    click.echo(found.figures.round(3).rename_axis(None).to_string())
    for line in (*found.left_out, found.reason):
        click.echo(line)
    since = np.datetime64(int(cuts[0]), "D")
    every, *classes = [f"{held:.1%} of {n:,} {name}" for name, n, held in found.coverage.itertuples()]
    click.echo(f"upper_90, calibrated before {since}, held after it for {every}:\n  {', '.join(classes)}")


def _held(table: "pd.DataFrame", units: dict[str, float]) -> None:
    untold = int(table["suggested_reorder"].isna().sum())
    click.echo(
        f"\nto order: {table['suggested_reorder'].sum():,} units of {(table['suggested_reorder'] > 0).sum():,} products"
    )
    if untold:
        click.echo(f"no suggestion for {untold:,} products that --stock does not name")
    if unknown := sorted(units.keys() - set(table["product_id"])):
        more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
        click.echo(f"in --stock, but never sold in these weeks: {', '.join(map(repr, unknown[:3]))}{more}")
