"""`python -m offline evaluate`: every way to predict demand side by side, on later time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offline import writing
from offline.commands.common import bar, one_line, source, sourced

if TYPE_CHECKING:
    import pandas as pd

    from offline.demand.evaluate import Evaluation
    from offline.demand.examples import Target


@click.command()
@source
@click.option(
    "--models",
    default="all",
    show_default=True,
    type=click.Choice(["quick", "all"]),
    help="Batch models to judge: all adds those that take minutes.",
)
@click.option("--cuts", "most", default=3, show_default=True, type=click.IntRange(1, 24), help="Cut dates, at most.")
@click.option(
    "--without", "unseen", type=click.Choice(["browsing"]), help="Judge the served model without views and carts, too."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV of all figures by target, cut, model.")
def evaluate(out: Path, models: str, most: int, unseen: str | None, **options: Any) -> None:
    """Judge baselines, batch regressions and the served model on later time, and write the figures to --out.

    A model that cannot be fitted to this history says why in its row; the others are judged.

    \b
    Examples:
      python -m offline evaluate --history orders.csv --columns customer_id=Customer,amount=Total --out figures.csv
      python -m offline evaluate --history events.parquet --without browsing --models quick --out figures.csv
    """
    with one_line(out):
        given = sourced(**options)
        writing.writable(out)
        given.check()
        with bar() as steps:
            folded = given.fold(given.read(steps).streamed, steps)

            from offline.demand import evaluate as job
            from offline.demand import regressors

            judged = job.run(folded, given.horizon, most, job.MODELS[models], steps.step, unseen is not None)
        for target, each in judged.items():
            click.echo(f"{target}, mean of {len(each.cuts)} cuts (spread: largest less smallest)")
            told = "\n".join(filter(None, (each.verdict, each.gain, each.browsing)))
            click.echo(f"{each.shown().round(3).to_string()}\n{told}\n")
        writing.write(_figures(judged), out)
    if "svr" in job.MODELS[models]:
        click.echo(f"svr learned from {regressors.SVR_ROWS:,} examples at most, drawn with seed {regressors.SEED}")
    click.echo(f"written: {out}")


def _figures(judged: "dict[Target, Evaluation]") -> "pd.DataFrame":
    """Every figure, a row for each target, cut (a date) and model; why: it has none."""
    import pandas as pd

    by_cut: dict[str, pd.DataFrame] = {
        target: each.by_cut.assign(why=each.by_cut.index.get_level_values("model").map(each.failed))
        for target, each in judged.items()
    }
    tables = pd.concat(by_cut, names=["target"]).reset_index()
    return tables.assign(cut=pd.to_datetime(tables["cut"], unit="D").dt.strftime("%Y-%m-%d"))
