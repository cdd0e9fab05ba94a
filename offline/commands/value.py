"""`python -m offline value`: what each customer will be worth in 12 months, by two models and as it is served."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offline import writing
from offline.commands.common import Number, bar, one_line, source, sourced

if TYPE_CHECKING:
    from offline.value.value import Judged


@click.command()
@source
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="CSV file to write, a row for each customer."
)
@click.option(
    "--discount-rate", "rate", default=0.10, show_default=True, type=Number(0, 10),
    help="A year; 0.10 is 10 %.",
)  # fmt: skip
def value(out: Path, rate: float, **options: Any) -> None:
    """Fit BG/NBD, MBG/NBD and Gamma-Gamma and write each customer's value of the next 12 months to --out.

    The served customer_value stands beside it, and all are judged on held-out windows. Time is in days.

    \b
    Example:
      python -m offline value --history orders.csv --columns customer_id=Customer,amount=Total --out value.csv
    """
    with one_line(out):
        given = sourced(**options)
        writing.writable(out)
        given.check()
        with bar() as steps:
            read = given.read(steps)
            folded = given.fold(read, steps)

            from offline.value import value as job

            found = job.run(read, folded, given.horizon, rate, steps.step)
        fitted, table = found.fitted, found.table
        click.echo(f"{read.counts.table()}\n\n{len(table):,} customers, {(table.frequency > 0).sum():,} with repeats")
        click.echo("\n".join([str(fitted), *(f"WARNING: {text}" for text in fitted.warnings())]))
        click.echo(f"customer_value: {found.total}")
        _judged(found.judged)
        with writing.replacing(out) as fresh:
            table.to_csv(fresh, float_format="%.4f", lineterminator="\n")
    click.echo(f"\nwritten: {out}; frequency and monetary_value count days after the first purchase day")


def _judged(judged: "Judged | None") -> None:
    if judged is None:
        click.echo("\nnot judged: no third of the history has 30 days, repeat purchases before it and spend within")
        return
    import numpy as np

    cuts = ", ".join(str(np.datetime64(cut, "D")) for cut in judged.cuts)
    click.echo(f"\nnet spend in {judged.window} held-out days from {cuts} on, mean")
    click.echo(judged.figures[["deviance", "ngini", "mae", "bias"]].round(3).to_string())
    click.echo("\n".join(judged.verdict()))
    click.echo(f"\ncalibration from {np.datetime64(judged.cuts[0], 'D')} on, customers by decile of each prediction")
    click.echo(judged.deciles.round(2).to_string(na_rep="-"))
