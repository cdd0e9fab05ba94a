"""`python -m offline value`: what each customer will be worth in 12 months, by two models and as it is served."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offline.commands.common import bar, one_line, source, sourced
from offline.errors import OfflineError
from offline.writing import replacing

if TYPE_CHECKING:
    from offline.value.value import Judged


@click.command()
@source
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="CSV file to write, a row for each customer."
)
@click.option(
    "--discount-rate", "rate", default=0.10, show_default=True, type=click.FloatRange(0, 10),
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
        if not rate >= 0:  # NaN passes the option's own range
            raise OfflineError("--discount-rate: a rate like 0.10 is needed")
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            raise OfflineError(f"--out {out}: is a directory; name a CSV file")
        with bar() as steps:
            from models.scores import customer_value
            from offline.demand.served import demand
            from offline.value import value as job

            read = given.read(steps)
            folded = given.fold(read, steps)
            steps.step("fitting")
            customers = job.summary(read.frame, folded.day)
            fitted = job.fit(customers)
            served, _ = demand(folded, given.horizon)
            steps.step("valuing")
            table = job.values(fitted, customers, rate)
            table["customer_value"] = customer_value(served[table.index].to_numpy(), given.horizon)
            window, cuts = job.windows(read.frame, folded.day)
            judged = job.judge(read.frame, cuts, window, given.horizon, steps.step) if cuts else None
        click.echo(f"{read.counts.table()}\n\n{len(table):,} customers, {(table.frequency > 0).sum():,} with repeats")
        click.echo("\n".join([str(fitted), *(f"WARNING: {text}" for text in fitted.warnings())]))
        _judged(judged)
        with replacing(out) as fresh:
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
