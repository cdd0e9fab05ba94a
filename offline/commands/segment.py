"""`python -m offline segment`: any table of customers, or a history, gets a cluster for every customer."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from offline import writing
from offline.commands.common import Bar, Source, at_end, bar, one_line, readable, source, sourced
from offline.errors import OfflineError
from offline.segments.treatments import asked

if TYPE_CHECKING:
    from offline.segments.segment import Segmentation
    from offline.segments.table import CustomerTable


OF_TABLES = ("encoding", "delimiter", "decimal", "allow_loss")  # of the options that say how a file is read


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
    table: Path | None, out: Path, id_column: str | None, treat: str,
    method: Literal["kmeans", "dbscan"],
    clusters: int | None, eps: float | None, min_samples: int | None, seed: int, **history: Any,
) -> None:  # fmt: skip
    """Segment the customers of TABLE (CSV or Parquet, a row each), or of a history of their events.

    \b
    Examples:
      python -m offline segment customer_data.csv --clusters 3 --out cluster_result.csv
      python -m offline segment --history orders.csv --columns customer_id=Customer --out cluster_result.csv
    """
    with one_line(out):
        given = _given(table, id_column, history)
        _fits(method, clusters, eps, min_samples)
        treatments = asked(treat)
        if table is not None and out.resolve() == table.resolve():
            raise OfflineError(f"--out {out}: this is the table itself; name another file")
        writing.writable(out)
        with bar() as steps:
            customers, counts = _folded(given, steps) if table is None else _read(table, id_column, given, steps)

            from offline.segments import segment as job

            found = job.run(customers, treatments, method, clusters, eps, min_samples, seed, steps.step)
        click.echo(counts, nl=False)
        _tell(customers, found, seed)
        _write(out, customers, found)


def _given(table: Path | None, id_column: str | None, history: dict[str, Any]) -> Source:
    """Where the customers are: a history, or a table, which is one without files. Raises OfflineError where neither can
    be read, and for an option that says nothing to a table."""
    if (table is None) == (not history["files"]):
        raise OfflineError("give either a table of customers or --history; see python -m offline segment --help")
    if table is not None:
        _only(history)
        readable(table)
        return sourced(**history)
    if id_column is not None:
        raise OfflineError("--id names a column of a table; for a history say --columns customer_id=...")
    given = sourced(**history)
    given.check()
    return given


def _only(history: dict[str, Any]) -> None:
    """Raises OfflineError for an option that was given and says nothing to a table of customers."""
    context = click.get_current_context()
    for option in context.command.params:
        default = context.get_parameter_source(option.name or "") is ParameterSource.DEFAULT
        if option.name in history and option.name not in OF_TABLES and not default:
            instead = "; its id column is named with --id" if option.name == "columns" else "; leave it out"
            raise OfflineError(f"{option.opts[0]} says nothing to a table of customers{instead}")


def _read(table: Path, id_column: str | None, given: Source, steps: Bar) -> "tuple[CustomerTable, str]":
    """(the customers, what is told of the table)."""
    from offline.history import losses
    from offline.segments import table as customer_table

    steps.step("reading")
    read = customer_table.read(table, id_column, given.policy)
    if read.read and (lost := losses.line(read.read)):
        at_end(f"lost: {lost}")
    return read, "".join(f"{line}\n" for line in read.notes())


def _folded(given: Source, steps: Bar) -> "tuple[CustomerTable, str]":
    read = given.read(steps)
    folded = given.fold(read, steps)

    from offline.segments import rfm

    return rfm.table(folded), f"{read.counts.table()}\n\n"


def _fits(method: str, clusters: int | None, eps: float | None, min_samples: int | None) -> None:
    others = {"--clusters": clusters} if method == "dbscan" else {"--eps": eps, "--min-samples": min_samples}
    for option, value in others.items():
        if value is not None:
            raise OfflineError(f"{option} says nothing to --method {method}; leave one of them out")


def _tell(customers: "CustomerTable", result: "Segmentation", seed: int) -> None:
    import numpy as np

    from offline.segments import profiles

    key = "no id column" if customers.id is None else f"id column {customers.id!r}"
    click.echo(
        f"read: {len(customers.frame):,} customers of {customers.where}, {key}\n\n{result.plan}\n\n{result.told}"
    )
    if result.found.sampled:
        mean = np.nanmean(result.found.silhouette)
        click.echo(f"silhouette of each: {result.found.sampled:,} customers (seed {seed}), mean {mean:.3f}")
    else:
        click.echo("silhouette of each: none, there are not two clusters")
    click.echo("\n" + "\n".join(profiles.words(result.values, result.found.labels)))


def _write(out: Path, customers: "CustomerTable", result: "Segmentation") -> None:
    from offline.segments import profiles
    from offline.segments import table as customer_table

    columns: dict[str, Any] = {name: customers.frame[name].tolist() for name in map(str, customers.frame)}
    customer_table.write(out, columns | result.added(), customers.separator)
    centres = profiles.centres(result.values, result.found.labels).reset_index()
    beside = out.with_name(f"{out.stem}_centres.csv")
    customer_table.write(beside, {name: centres[name].tolist() for name in map(str, centres)}, customers.separator)
    click.echo(
        f"\nwritten: {out} ({len(customers.frame):,} rows), {beside} ({len(centres)} rows, in the table's units)"
    )
