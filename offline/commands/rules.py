"""`python -m offline rules`: from history files to association rules, and to what to offer beside each product."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from offline import listing, writing
from offline.commands.common import SHARE, bar, one_line, source, sourced
from offline.errors import OfflineError

if TYPE_CHECKING:
    import pandas as pd

    from offline.rules.rules import Mined

NEEDED = {"order_id": "order_id", "product_id": "product_id"}  # optional for others: here a missing one is an error
SHOWN = 20


@click.command()
@partial(source, horizon=False, cut=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV file to write.")
@click.option("--min-support", default=0.01, show_default=True, type=SHARE, help="Least share of orders.")
@click.option(
    "--min-confidence", default=0.2, show_default=True, type=SHARE, help="Least share of orders with the antecedent."
)
@click.option(
    "--min-orders", default=30, show_default=True, type=click.IntRange(1), help="Least orders that a rule stands on."
)
@click.option("--max-length", default=3, show_default=True, type=click.IntRange(2, 6), help="Most products in a rule.")
@click.option(
    "--algorithm",
    default="eclat",
    show_default=True,
    type=click.Choice(["apriori", "eclat"]),
    help="How sets are found; both find the same.",
)
@click.option("--separator", default=" + ", show_default=True, help="Between the products of an antecedent.")
@click.option("--products", type=click.Path(path_type=Path), help="CSV of product_id and name: names are printed.")
@click.option("--offers", type=click.Path(path_type=Path), help="CSV file of the best 3 offers beside each product.")
def rules(
    out: Path,
    min_support: float,
    min_confidence: float,
    min_orders: int,
    max_length: int,
    algorithm: Literal["apriori", "eclat"],
    separator: str,
    products: Path | None,
    offers: Path | None,
    **options: Any,
) -> None:
    """Find which products are bought in one order, and write rules to --out, highest lift first.

    \b
    Example:
      python -m offline rules --history orders.csv --columns order_id=Invoice,product_id=SKU --out rules.csv
    """
    with one_line(out):
        given = sourced(**options)
        given = replace(given, columns=NEEDED | given.columns, policy=replace(given.policy, needs=frozenset()))
        if not separator:
            raise OfflineError("--separator: is empty; say for example ' + '")
        if out == offers:
            raise OfflineError(f"--offers {offers}: is --out too; name another file")
        writing.writable(out)
        if offers:
            writing.writable(offers, "--offers")
        given.check()
        named = names(products) if products else {}
        with bar() as steps:
            read = given.read(steps, whole=True)

            from offline.rules import rules as job

            found = job.run(
                read,
                min_support,
                min_confidence,
                max_length,
                algorithm,
                separator,
                steps.step,
                steps.told,
                min_orders,
                said=click.echo,
            )
        click.echo(f"{read.counts.table()}\n")
        _report(found, job.FEW, job.LIKELIER)
        _show(found.findings.head(SHOWN), named)
        joined = found.table["antecedent"].map(separator.join)
        writing.write(found.table.assign(antecedent=joined)[job.COLUMNS], out)
        click.echo(f"\nwritten: {out}")
    if offers:
        with one_line(offers):
            from offline.rules import offers as chosen

            best = chosen.best(found.table)
            writing.write(best, offers)
            click.echo(f"written: {offers}, for {len(best):,} products; next: python -m offline fit --offers {offers}")


def names(path: Path) -> dict[str, str]:
    """Names by product_id from a CSV file with the columns product_id and name. Raises OfflineError."""
    rows = listing.rows(path, "--products", ["product_id", "name"], "product_id")
    return {row["product_id"]: row["name"] for row in rows}


def _report(found: "Mined", few: int, likelier: float) -> None:
    orders, products = found.baskets.matrix.shape
    click.echo(f"{orders:,} orders of {products:,} products; a set is frequent in {found.least:,} orders and more")
    for size, count in Counter(map(len, found.sets)).items():
        click.echo(f"frequent sets of {size}: {count:,}")
    rules, on_few, findings = len(found.table), found.table["few"].sum(), len(found.findings)
    click.echo(f"\n{rules:,} rules, {on_few:,} of them on fewer than {few} orders")
    if not findings:
        click.echo(f"no finding: chance alone may explain every lift, or it is not surely above {likelier}")
        return
    click.echo(f"{findings:,} findings, with a lift that is surely above {likelier} (lift_low); the first by lift:")


def _show(table: "pd.DataFrame", named: dict[str, str]) -> None:
    """The rules with the counts behind them, products by their names."""
    if table.empty:
        return
    click.echo(f"{'lift':>8}{'at least':>10}{'confidence':>12}{'orders':>9}{'with if':>9}{'then':>9}  if => then")
    for row in table.to_dict("records"):
        left = " + ".join(named.get(product, product) for product in row["antecedent"])
        right = named.get(row["consequent"], row["consequent"]) + (" (few)" if row["few"] else "")
        figures = f"{row['lift']:>8.2f}{row['lift_low']:>10.2f}{row['confidence']:>12.3f}{row['orders']:>9,}"
        click.echo(f"{figures}{row['orders_antecedent']:>9,}{row['orders_consequent']:>9,}  {left} => {right}")
