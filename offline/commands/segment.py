"""`python -m offline segment`: any table of customers, or a history, gets a cluster for every customer."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click
from click.core import ParameterSource

from offline import writing
from offline.commands.common import (
    Bar,
    Number,
    Source,
    at_end,
    bar,
    called,
    mapping,
    naming,
    one_line,
    readable,
    source,
    sourced,
)
from offline.errors import OfflineError
from offline.segments.treatments import asked

if TYPE_CHECKING:
    from offline.history.fold import Folded
    from offline.segments.segment import Segmentation
    from offline.segments.table import CustomerTable


OF_TABLES = ("encoding", "delimiter", "decimal", "allow_loss")  # of the options that say how a file is read


@click.command()
@click.argument("table", required=False, type=click.Path(path_type=Path))
@partial(source, required=False)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV to write; centres go beside it.")
@click.option("--id", "id_column", help="The column that names each customer once; default: one named like an id.")
@click.option(
    "--treat", default="", help="Treatments of your own: column=standard|minmax|log|robust|onehot|ordinal:a<b|drop,..."
)
@click.option("--method", default="kmeans", show_default=True, type=click.Choice(["kmeans", "dbscan"]))
@click.option(
    "--clusters", type=click.IntRange(2), help="How many (kmeans); default: chosen of 3 to 8, with the reason."
)
@click.option("--eps", type=Number(0, min_open=True), help="Radius (dbscan); default: knee of the k-distances.")
@click.option(
    "--min-samples", type=click.IntRange(2), help="Customers within eps of a core one, itself counted (dbscan)."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1))
@naming
def segment(
    table: Path | None, out: Path, id_column: str | None, treat: str,
    method: Literal["kmeans", "dbscan"],
    clusters: int | None, eps: float | None, min_samples: int | None, seed: int, names: Path | None, **history: Any,
) -> None:  # fmt: skip
    """Segment the customers of TABLE (CSV, Excel or Parquet, a row each), or of a history of their events.

    Customers of a history have the segment and the cluster that the stream serves; with --treat or --method dbscan
    another clustering. --names gives the segments of a history other names, as it does in `fit`.

    \b
    Examples:
      python -m offline segment customer_data.csv --clusters 3 --out cluster_result.csv
      python -m offline segment --history orders.csv --columns customer_id=Customer --out cluster_result.csv
    """
    with one_line(out):
        given = _given(table, id_column, history)
        _fits(method, clusters, eps, min_samples)
        treatments, words = asked(treat), called(names)
        writing.writable(out)
        writing.writable(_centres(out))
        with bar() as steps:
            read = _folded(given, steps) if table is None else _read(table, id_column, given, steps, out, history)

            from offline.history.fold import Folded
            from offline.segments import segment as job

            by_table = partial(
                job.run, treat=treatments, method=method, k=clusters, eps=eps, min_samples=min_samples, seed=seed,
                progress=steps.step,
            )  # fmt: skip
            if isinstance(read.customers, Folded):
                served = method == "kmeans" and not treat
                other = None if served else partial(by_table, keyed=False)
                found = job.history(read.customers, other, clusters, seed, steps.step, words)
            else:
                found = by_table(read.customers)
        click.echo(read.told, nl=False)
        _tell(found, seed)
        _write(out, found)


def _given(table: Path | None, id_column: str | None, history: dict[str, Any]) -> Source:
    """Where the customers are: a history, or a table, which is one without files. Raises OfflineError where neither can
    be read."""
    if (table is None) == (not history["files"]):
        raise OfflineError("give either a table of customers or --history; see python -m offline segment --help")
    if table is not None:
        readable(table)
        return sourced((), "", "UTC", None, **{name: history[name] for name in OF_TABLES})
    if id_column is not None:
        raise OfflineError("--id names a column of a table; for a history say --columns customer_id=...")
    given = sourced(**history)
    given.check()
    return given


def _only(history: Collection[str]) -> None:
    """Raises OfflineError for an option that was given and says nothing to a table of customers."""
    context = click.get_current_context()
    for option in context.command.params:
        default = context.get_parameter_source(option.name or "") is ParameterSource.DEFAULT
        if option.name in history and option.name not in OF_TABLES and not default:
            instead = "; its id column is named with --id" if option.name == "columns" else "; leave it out"
            raise OfflineError(f"{option.opts[0]} says nothing to a table of customers{instead}")


class Read(NamedTuple):
    """customers: of a table, or of a history; told: what is said of the file, in lines."""

    customers: "CustomerTable | Folded"
    told: str


def _read(table: Path, id_column: str | None, given: Source, steps: Bar, out: Path, history: dict[str, Any]) -> Read:
    """The customers of a table; of one in which they come again, those of its events."""
    from offline.history import losses
    from offline.segments import events
    from offline.segments import table as customer_table

    steps.step("reading")
    try:
        read = customer_table.read(table, id_column, given.policy)
    except customer_table.Repeated as found:
        columns = events.columns(found, mapping(history["columns"]), str(out))
        why = f"{found}".split(",", 1)[0]
    else:
        _only({*history, "names"})
        if read.read and (lost := losses.line(read.read)):
            at_end(f"lost: {lost}")
        return Read(read, "".join(f"{line}\n" for line in read.notes()))
    said = ",".join(map("=".join, columns.items()))
    of_events = _folded(sourced(**history | {"files": (table,), "columns": said}), steps)
    return of_events._replace(told=f"{why}: read as --history {table} --columns {said!r}\n{of_events.told}")


def _folded(given: Source, steps: Bar) -> Read:
    read = given.read(steps)
    return Read(given.fold(read, steps), f"{read.counts.table()}\n\n")


def _fits(method: str, clusters: int | None, eps: float | None, min_samples: int | None) -> None:
    others = {"--clusters": clusters} if method == "dbscan" else {"--eps": eps, "--min-samples": min_samples}
    for option, value in others.items():
        if value is not None:
            raise OfflineError(f"{option} says nothing to --method {method}; leave one of them out")


def _tell(result: "Segmentation", seed: int) -> None:
    import numpy as np

    from offline.segments import profiles

    customers = result.customers
    key = "no id column" if customers.id is None else f"id column {customers.id!r}"
    click.echo(f"read: {len(customers.frame):,} customers of {customers.where}, {key}")
    if result.copies:
        click.echo(f"left out: {result.copies:,} rows, exact copies of rows before them")
    click.echo(f"\n{result.told}")
    if result.found.sampled:
        mean = np.nanmean(result.found.silhouette)
        click.echo(f"silhouette of each: {result.found.sampled:,} customers (seed {seed}), mean {mean:.3f}")
    else:
        click.echo("silhouette of each: none, there are not two clusters")
    click.echo("\n" + "\n".join(profiles.words(result.values, result.found.labels)))


def _centres(out: Path) -> Path:
    """The file of centres, beside that of customers."""
    return out.with_name(f"{out.stem}_centres.csv")


def _write(out: Path, result: "Segmentation") -> None:
    from offline.segments import profiles
    from offline.segments import table as customer_table

    customers = result.customers
    columns: dict[str, Any] = {name: customers.frame[name].tolist() for name in map(str, customers.frame)}
    customer_table.write(out, columns | result.added(), customers.separator)
    centres = profiles.centres(result.values, result.found.labels).reset_index()
    beside = _centres(out)
    customer_table.write(beside, {name: centres[name].tolist() for name in map(str, centres)}, customers.separator)
    click.echo(
        f"\nwritten: {out} ({len(customers.frame):,} rows), {beside} ({len(centres)} rows, in the table's units)"
    )
