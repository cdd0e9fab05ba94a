"""`python -m offline`: the jobs over a history. Exit code 0 done, 2 cannot (one line says why)."""

import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from models.artefact import Artefact, encode
from models.customers import DAY, HORIZON

if TYPE_CHECKING:  # imported where they are used, for they take seconds: `--help` does without
    from offline.fit import Fit
    from offline.fold import Folded
    from offline.history import History


@click.group()
def main() -> None:
    """Offline jobs: clean the history, fold it, fit the models, judge them on later time."""


def mapping(text: str) -> dict[str, str]:
    """`ours=theirs,...` as a dict; ValueError where it is something else.

    >>> mapping("customer_id=Customer ID,amount=Total")
    {'customer_id': 'Customer ID', 'amount': 'Total'}
    """
    pairs = [[name.strip() for name in pair.split("=", 1)] for pair in text.split(",") if pair.strip()]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise ValueError(f"--columns {text!r}: say ours=theirs,..., for example customer_id=Customer,amount=Total")
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError(f"--columns {text!r}: a column of ours is named twice")
    return names


def midnight(text: str) -> int:
    """A date as the day number of its midnight, UTC; ValueError where it is something else.

    >>> midnight("1970-01-03")
    2
    """
    try:
        moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"--until {text!r}: not a date like 1998-01-01") from None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).days


@main.command()
@click.option(
    "--history", "files", multiple=True, required=True, type=click.Path(path_type=Path),
    help="CSV or Parquet file of events; may be given several times.",
)  # fmt: skip
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory to write.")
@click.option("--columns", default="", help="Column names that differ: ours=theirs,...")
@click.option("--timezone", default="UTC", show_default=True, help="Of times without an offset.")
@click.option("--until", help="Cut-off, YYYY-MM-DD, exclusive; default: the midnight after the last event.")
@click.option(
    "--horizon", default=HORIZON, show_default=True, type=click.IntRange(1, 255), help="Days that a demand spans."
)
def fit(files: tuple[Path, ...], out: Path, columns: str, timezone: str, until: str | None, horizon: int) -> None:
    """Clean the history, choose segments, fit and judge the demand models, and leave an artefact in --out.

    \b
    Example:
      python -m offline fit --history orders.csv --columns customer_id=Customer,amount=Total --out build/fit
    """
    from offline.fit import FitError
    from offline.history import HistoryError

    try:
        names, end = mapping(columns), midnight(until) if until else None
    except ValueError as error:
        _cannot(error)
    try:
        out.mkdir(parents=True, exist_ok=True)  # a directory that cannot be written shows now, not after the fit
        read, folded, fitted = _mine(files, names, timezone, end, horizon)
        click.echo(read.counts.table())
        click.echo(f"\nfolded: {len(folded.table):,} customers, {sum(len(e) for _, _, e in folded.days):,} landmarks")
        click.echo(f"\nsegments\n{fitted.choice}")
        _profiles(folded, fitted)
        _figures(fitted)
        _write(out, read, folded, fitted)
    except (HistoryError, FitError) as error:
        _cannot(error)
    except OSError as error:
        _cannot(f"--out {out}: {error.strerror or error}")
    click.echo(
        f"\nwritten: {out}/artefact.json, history.parquet, states.parquet; next: python -m streams publish {out}"
    )


def _mine(
    files: Sequence[Path], names: dict[str, str], timezone: str, end: int | None, horizon: int
) -> tuple["History", "Folded", "Fit"]:
    """Reads and cleans, folds, fits; the bar shows on a terminal only."""
    from offline import fit as job
    from offline import fold, history

    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as bar:
        task = bar.add_task("reading", total=None)

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        read = history.read(files, names, timezone, None if end is None else end * DAY, told)
        day = end if end is not None else int(read.frame["occurred_at"].max()) // DAY + 1
        bar.update(task, description="folding", total=None)
        folded = fold.fold(read.frame, day, horizon)
        return read, folded, job.fit(folded, horizon, lambda step: bar.update(task, description=step))


def _profiles(folded: "Folded", fitted: "Fit") -> None:
    """Size and means of each segment, as its customers stand at the cut-off."""
    raw = folded.table.observe(np.arange(len(folded.table)), folded.day)
    predicted = fitted.model.predict_many(raw)
    frame = pd.DataFrame(
        {
            "segment": [fitted.model.segments.name(c) for c in predicted.cluster.tolist()],
            "days since last purchase": raw["recency"],
            "orders": raw["orders"],
            "spend": raw["spend"] / 1e4,
            "predicted demand": predicted.demand,
        }
    )
    table = frame.groupby("segment").mean().assign(customers=frame["segment"].value_counts())
    click.echo(f"\n{table.sort_values('spend', ascending=False).round(2).to_string()}")


def _figures(fitted: "Fit") -> None:
    if fitted.cuts:
        click.echo(f"\ndemand on later time, mean of {len(fitted.cuts)} cuts (spread: largest less smallest)")
        click.echo(fitted.figures.round(3).to_string())
    else:
        click.echo("\ndemand was not judged: the history leaves no cut with two horizons of later time")


def _write(out: Path, read: "History", folded: "Folded", fitted: "Fit") -> None:
    """The artefact goes first and comes last: files of two fits are never published together."""
    from offline import fold, history

    (out / "artefact.json").unlink(missing_ok=True)
    history.write_parquet(read.frame, out / "history.parquet")
    fold.write_states(folded.table, out / "states.parquet")
    figures = {
        str(name): {str(k): float(v) for k, v in row.items() if math.isfinite(v)}
        for name, row in fitted.figures.iterrows()
    }
    artefact = Artefact.of(fitted.model, figures, min(fitted.cuts, default=None))
    (out / "artefact.json").write_bytes(encode(artefact))


def _cannot(reason: object) -> NoReturn:
    click.echo(f"offline: {reason}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
