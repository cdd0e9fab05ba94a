"""`python -m offline evaluate`: every way to predict demand side by side, on later time."""

from pathlib import Path
from typing import Any

import click

from offline.commands.common import bar, one_line, source, sourced
from offline.errors import OfflineError


@click.command()
@source
@click.option("--cuts", "most", default=3, show_default=True, type=click.IntRange(1, 24), help="Cut dates, at most.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV of all figures by target, cut, model.")
def evaluate(out: Path, most: int, **options: Any) -> None:
    """Judge baselines, batch regressions and the served model on later time, and write the figures to --out.

    \b
    Example:
      python -m offline evaluate --history orders.csv --columns customer_id=Customer,amount=Total --out figures.csv
    """
    with one_line(out):
        given = sourced(**options)
        out.parent.mkdir(parents=True, exist_ok=True)
        with bar() as steps:
            import pandas as pd

            from offline import evaluate as job
            from offline import regressors
            from offline.examples import TARGETS, cuts_of, learnable

            folded = given.fold(given.read(steps), steps)
            learnable(folded, given.horizon)
            at = cuts_of(folded, given.horizon, most)
            if not at:
                raise OfflineError(f"nothing to judge on: a history of 4 horizons ({4 * given.horizon} days) is needed")
            steps.step("serving as the stream would")
            streams = [job.stream(folded.days, cut, given.horizon) for cut in at]
            judged = [
                job.evaluate(folded.days, streams, target, given.horizon, progress=steps.step) for target in TARGETS
            ]
        for each in judged:
            click.echo(f"{each.target}, mean of {len(at)} cuts (spread: largest less smallest)")
            click.echo(f"{each.shown().round(3).to_string()}\n{each.reason}\n{each.gain}\n")
        tables = pd.concat([each.by_cut for each in judged], keys=TARGETS, names=["target"]).reset_index()
        tables["cut"] = pd.to_datetime(tables["cut"], unit="D").dt.strftime("%Y-%m-%d")
        tables.to_csv(out, index=False)
    click.echo(f"svr learned from {regressors.SVR_ROWS:,} examples at most, drawn with seed {regressors.SEED}")
    click.echo(f"written: {out}")
