"""`python -m offline demand`: one family of regressions, tuned on time, predicts every customer's next horizon."""

from pathlib import Path
from typing import Any

import click

from offline.commands.common import bar, one_line, source, sourced


@click.command()
@source
@click.option(
    "--model", "name", default="linear", show_default=True,
    type=click.Choice(["linear", "polynomial", "svr", "boosting"]), help="Family of the regression.",
)  # fmt: skip
@click.option("--target", default="spend", show_default=True, type=click.Choice(["spend", "orders"]))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV: customer_id, predicted_<target>.")
def demand(out: Path, name: str, target: Any, **options: Any) -> None:
    """Tune a regression on expanding windows, fit it on everything, predict each customer's next horizon.

    \b
    Example:
      python -m offline demand --history orders.csv --columns customer_id=Customer,amount=Total \\
          --model polynomial --out demand.csv
    """
    with one_line(out):
        given = sourced(**options)
        out.parent.mkdir(parents=True, exist_ok=True)
        with bar() as steps:
            import pandas as pd

            from offline.demand import regressors
            from offline.demand.examples import examples_of, table

            folded = given.fold(given.read(steps), steps)
            examples, mean_day = examples_of(folded, target, given.horizon)
            steps.step(f"tuning {name}")
            tuned = regressors.tune(name, examples, target, given.horizon)
            raw = folded.raw
            predicted = tuned.predict(table(raw, given.horizon, mean_day))
        frame = pd.DataFrame({"customer_id": folded.table.names, f"predicted_{target}": predicted.round(4)})
        frame.sort_values("customer_id", ignore_index=True).to_csv(out, index=False)
    click.echo(f"{name}, {target} of the next {given.horizon} days, learned from {tuned.rows:,} examples")
    for setting, deviance in tuned.scores.items():
        click.echo(f"  {setting}: mean Poisson deviance {deviance:.3f} on later time")
    click.echo(f"chosen: {regressors.setting(tuned.chosen)}; total predicted: {predicted.sum():,.2f}")
    click.echo(f"written: {out}")
