"""`python -m offline segment`: any table of customers, or a history, gets a cluster for every customer."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offline.commands.common import Bar, Source, bar, one_line, source, sourced
from offline.errors import OfflineError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from offline.segments.clusters import Clusters
    from offline.segments.table import CustomerTable

ADDED = ("cluster", "distance", "silhouette")


@click.command()
@click.argument("table", required=False, type=click.Path(path_type=Path))
@partial(source, required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV to write; centres go beside it.")
@click.option("--id", "id_column", help="The column that names each customer once; default: one named like an id.")
@click.option(
    "--treat", default="", help="Treatments of your own: column=standard|minmax|log|onehot|ordinal:a<b|drop,..."
)
@click.option("--method", default="kmeans", show_default=True, type=click.Choice(["kmeans", "dbscan"]))
@click.option(
    "--clusters", type=click.IntRange(2), help="How many (kmeans); default: chosen of 3 to 8, with the reason."
)
@click.option(
    "--eps", type=click.FloatRange(0, min_open=True), help="Radius (dbscan); default: knee of the k-distances."
)
@click.option(
    "--min-samples", type=click.IntRange(2), help="Customers within eps of a core one, itself counted (dbscan)."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
def segment(
    table: Path | None, out: Path, id_column: str | None, treat: str, method: str,
    clusters: int | None, eps: float | None, min_samples: int | None, seed: int, **history: Any,
) -> None:  # fmt: skip
    """Segment the customers of TABLE (CSV or Parquet, a row each), or of a history of their events.

    \b
    Examples:
      python -m offline segment customer_data.csv --clusters 3 --out cluster_result.csv
      python -m offline segment --history orders.csv --columns customer_id=Customer --out cluster_result.csv
    """
    with one_line(out):
        given = _given(table, history, id_column)
        _fits(method, clusters, eps, min_samples)
        if table is not None and out.resolve() == table.resolve():
            raise OfflineError(f"--out {out}: this is the table itself; name another file")
        out.parent.mkdir(parents=True, exist_ok=True)
        with bar() as steps:
            from offline.segments import preprocess

            customers, counts = given(steps)
            _free(customers)
            steps.step("preprocessing")
            plan = preprocess.plan(customers, treat)
            features = preprocess.features(customers, plan)
            if method == "kmeans":
                found, told = _kmeans(features, clusters, seed, steps)
            else:
                found, told = _dbscan(features, eps, min_samples, seed, steps)
        click.echo(counts, nl=False)
        _tell(customers, str(plan), told, found, seed)
        values = preprocess.values(customers, plan)
        _write(out, customers, values, found)


def _given(
    table: Path | None, history: dict[str, Any], id_column: str | None
) -> Callable[[Bar], "tuple[CustomerTable, str]"]:
    """How the customers are to be had, once there is a bar, and what became of the rows. Raises OfflineError."""
    if (table is None) == (not history["files"]):
        raise OfflineError("give either a table of customers or --history; see python -m offline segment --help")
    if table is None:
        if id_column is not None:
            raise OfflineError("--id names a column of a table; for a history say --columns customer_id=...")
        return partial(_folded, sourced(**history))
    path = table

    def read(steps: Bar) -> "tuple[CustomerTable, str]":
        from offline.segments import table as customer_table

        steps.step("reading")
        return customer_table.read(path, id_column), ""

    return read


def _folded(given: Source, steps: Bar) -> "tuple[CustomerTable, str]":
    from offline.segments import rfm

    read = given.read(steps)
    return rfm.table(given.fold(read, steps)), f"{read.counts.table()}\n\n"


def _fits(method: str, clusters: int | None, eps: float | None, min_samples: int | None) -> None:
    others = {"--clusters": clusters} if method == "dbscan" else {"--eps": eps, "--min-samples": min_samples}
    for option, value in others.items():
        if value is not None:
            raise OfflineError(f"{option} says nothing to --method {method}; leave one of them out")


def _free(customers: "CustomerTable") -> None:
    taken = [name for name in ADDED if name in customers.frame]
    if taken:
        raise OfflineError(f"{customers.where}: a column {taken[0]!r} is there already; remove or rename it")


def _kmeans(features: "NDArray[Any]", clusters: int | None, seed: int, steps: Bar) -> tuple["Clusters", str]:
    from offline.segments.clusters import nearest
    from offline.segments.kmeans import choose_k

    choice = choose_k(features, seed, clusters, steps.step)
    steps.step("silhouettes")
    return nearest(features, choice.centres, seed), f"k-means ({features.shape[1]} features)\n{choice}"


def _dbscan(
    features: "NDArray[Any]", eps: float | None, min_samples: int | None, seed: int, steps: Bar
) -> tuple["Clusters", str]:
    from offline.segments.clusters import around_means
    from offline.segments.dbscan import dbscan

    steps.step("DBSCAN")
    density = dbscan(features, eps, min_samples, seed)
    outliers, found = int((density.labels < 0).sum()), int(density.labels.max()) + 1
    told = f"{density.reason}\nclusters: {found}; outliers: {outliers:,} ({outliers / len(features):.1%})"
    steps.step("silhouettes")
    return around_means(features, density.labels, seed), f"DBSCAN ({features.shape[1]} features)\n{told}"


def _tell(customers: "CustomerTable", plan: str, told: str, found: "Clusters", seed: int) -> None:
    import numpy as np

    key = "no id column" if customers.id is None else f"id column {customers.id!r}"
    click.echo(f"read: {len(customers.frame):,} customers of {customers.where}, {key}\n\n{plan}\n\n{told}")
    if found.sampled:
        mean = np.nanmean(found.silhouette)
        click.echo(f"silhouette of each: {found.sampled:,} customers (seed {seed}), mean {mean:.3f}")
    else:
        click.echo("silhouette of each: none, there are not two clusters")


def _write(out: Path, customers: "CustomerTable", values: "pd.DataFrame", found: "Clusters") -> None:
    from offline.segments import profiles
    from offline.segments import table as customer_table

    click.echo("\n" + "\n".join(profiles.words(values, found.labels)))
    added = {
        "cluster": found.labels.tolist(),
        **{name: [f"{x:.6f}" if x == x else "" for x in getattr(found, name).tolist()] for name in ADDED[1:]},
    }
    columns: dict[str, Any] = {name: customers.frame[name].tolist() for name in map(str, customers.frame)}
    customer_table.write(out, columns | added, customers.separator)
    centres = profiles.centres(values, found.labels).reset_index()
    beside = out.with_name(f"{out.stem}_centres.csv")
    customer_table.write(beside, {name: centres[name].tolist() for name in map(str, centres)}, customers.separator)
    click.echo(
        f"\nwritten: {out} ({len(customers.frame):,} rows), {beside} ({len(centres)} rows, in the table's units)"
    )
