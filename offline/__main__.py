"""`python -m offline`: the jobs over a history. Exit code 0 done, 2 cannot (one line says why)."""

import math
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import pandas as pd
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from models.artefact import Artefact, encode
from models.customers import DAY, HORIZON


@click.group()
def main() -> None:
    """Offline jobs: clean the history, fold it, fit the models, judge them on later time."""


def mapping(text: str) -> dict[str, str]:
    """`ours=theirs,...` as a dict.

    >>> mapping("customer_id=Customer ID,amount=Total")
    {'customer_id': 'Customer ID', 'amount': 'Total'}
    """
    pairs = [pair.split("=", 1) for pair in text.split(",") if pair]
    if any(len(pair) != 2 for pair in pairs):
        raise click.BadParameter(f"{text!r}: say ours=theirs,..., for example customer_id=Customer,amount=Total")
    return {ours.strip(): theirs.strip() for ours, theirs in pairs}


def midnight(text: str) -> int:
    """A date as the day number of its midnight, UTC."""
    return (datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days


@main.command()
@click.option(
    "--history", "files", multiple=True, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV or Parquet file of events; may be given several times.",
)  # fmt: skip
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory to write.")
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
    from offline import fit as job  # these imports take seconds: `--help` does without
    from offline import fold, history

    try:
        end = midnight(until) if until else None
    except ValueError:
        _cannot(f"--until {until}: not a date like 1998-01-01")
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), transient=not sys.stderr.isatty()
    )
    try:
        with bar:
            task = bar.add_task("reading", total=None)
            read = history.read(
                files, mapping(columns), timezone, None if end is None else end * DAY,
                lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
            if not len(read.frame):
                _cannot(f"{files[0]}: no usable event\n{read.counts.table()}")
            day = end if end is not None else int(read.frame["occurred_at"].max()) // DAY + 1
            bar.update(task, description="folding", total=None)
            folded = fold.fold(read.frame, day, horizon)
            fitted = job.fit(folded, horizon, lambda step: bar.update(task, description=step))
    except (history.HistoryError, job.FitError) as error:
        _cannot(str(error))
    click.echo(read.counts.table())
    click.echo(f"\nfolded: {len(folded.table):,} customers, {sum(len(e) for _, _, e in folded.days):,} landmarks")
    click.echo(f"\nsegments\n{fitted.choice}")
    _profiles(folded, fitted)
    _figures(fitted)
    out.mkdir(parents=True, exist_ok=True)
    history.write_parquet(read.frame, out / "history.parquet")
    fold.write_states(folded.table, out / "states.parquet")
    figures = {
        str(name): {str(k): float(v) for k, v in row.items() if math.isfinite(v)}
        for name, row in fitted.figures.iterrows()
    }
    artefact = Artefact.of(fitted.model, figures, fitted.cuts[0] if fitted.cuts else None)
    (out / "artefact.json").write_bytes(encode(artefact))
    click.echo(
        f"\nwritten: {out}/artefact.json, history.parquet, states.parquet; next: python -m streams publish {out}"
    )


def _profiles(folded: "fold.Folded", fitted: "job.Fit") -> None:  # type: ignore[name-defined]  # noqa: F821
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


def _figures(fitted: "job.Fit") -> None:  # type: ignore[name-defined]  # noqa: F821
    if fitted.cuts:
        click.echo(f"\ndemand on later time, mean of {len(fitted.cuts)} cuts (spread: largest less smallest)")
        click.echo(fitted.figures.round(3).to_string())
    else:
        click.echo("\ndemand was not judged: the history leaves no cut with two horizons of later time")


def _cannot(reason: str) -> None:
    click.echo(f"offline: {reason}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main()
