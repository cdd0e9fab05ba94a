"""`python -m offline demand`: one family of regressions, tuned on time, predicts every customer's next horizon."""

from pathlib import Path
from typing import Any, Literal

import click

from offline import writing
from offline.commands.common import bar, one_line, source, sourced


@click.command()
@source
@click.option(
    "--model", "name", default="linear", show_default=True,
    type=click.Choice(["linear", "polynomial", "svr", "boosting"]), help="Family of the regression.",
)  # fmt: skip
@click.option("--target", default="spend", show_default=True, type=click.Choice(["spend", "orders"]))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="CSV: customer_id, predicted_<target>.")
def demand(out: Path, name: str, target: Literal["spend", "orders"], **options: Any) -> None:
    """Tune a regression on expanding windows, fit it on everything, predict each customer's next horizon.

    \b
    Example:
      python -m offline demand --history orders.csv --columns customer_id=Customer,amount=Total \\
          --model polynomial --out demand.csv
    """
    with one_line(out):
        given = sourced(**options)
        writing.writable(out)
        given.check()
        with bar() as steps:
            read = given.read(steps)
            folded = given.fold(read, steps)
            streamed = folded if read.streamed is read else given.fold(read.streamed, steps)

            from offline.demand import predict, regressors

            found = predict.run(folded, streamed, name, target, given.horizon, steps.step)
        writing.write(found.frame(f"predicted_{target}"), out)
    tuned = found.tuned
    click.echo(f"{name}, {target} of the next {given.horizon} days, learned from {tuned.rows:,} examples")
    for setting, deviance in tuned.scores.items():
        click.echo(f"  {setting}: mean Poisson deviance {deviance:.3f} on later time")
    click.echo(f"chosen: {regressors.setting(tuned.chosen)}; total predicted: {found.predicted.sum():,.2f}")
    click.echo(f"written: {out}")
