"""`python -m offline report`: one page about a history, for people: what is in it, who buys, what to expect."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offline import writing
from offline.commands.common import SHARE, Number, bar, one_line, readable, source, sourced
from offline.errors import OfflineError
from offline.history.policy import NEEDS
from offline.stock.inventory import available
from offline.writing import replacing

if TYPE_CHECKING:
    from models.truth import Truth


@click.command()
@source
@click.option("--out", required=True, type=click.Path(path_type=Path), help="HTML file to write.")
@click.option(
    "--models",
    default="quick",
    show_default=True,
    type=click.Choice(["quick", "all"]),
    help="Demand models beside the served one: all adds those that take minutes.",
)
@click.option(
    "--discount-rate",
    "rate",
    default=0.10,
    show_default=True,
    type=Number(0, 10),
    help="Of 12-month value, a year; 0.10 is 10 %.",
)
@click.option("--min-support", default=0.01, show_default=True, type=SHARE, help="Of rules: least share of orders.")
@click.option(
    "--min-confidence",
    default=0.2,
    show_default=True,
    type=SHARE,
    help="Of rules: least share of orders with the antecedent.",
)
@click.option(
    "--min-orders", default=30, show_default=True, type=click.IntRange(1), help="Of rules: least orders of a rule."
)
@click.option(
    "--stock", "held", type=click.Path(path_type=Path), help="CSV of product_id, on_hand, on_order: says what to order."
)
@click.option(
    "--truth",
    "live",
    type=click.Path(path_type=Path),
    help="What `streams model --json` wrote: how true it was live.",
)
def report(
    out: Path,
    models: str,
    rate: float,
    min_support: float,
    min_confidence: float,
    min_orders: int,
    held: Path | None,
    live: Path | None,
    **options: Any,
) -> None:
    """Run every job on a history and write one self-contained HTML page to --out.

    It needs no network and no script, and reads on a phone, in the dark and in print. What the history does not allow,
    or has no column for, is one sentence in its section. Sales to guests, who are no customers, count in the revenue,
    the rules and the stock.

    \b
    Example:
      python -m offline report --history orders.csv --columns customer_id=Customer,amount=Total --out report.html
    """  # fmt: skip
    with one_line(out):
        given = sourced(**options)
        policy = replace(given.policy, needs=frozenset(), wants=NEEDS - {"customer_id"})
        given = replace(given, policy=policy)
        writing.writable(out)
        given.check()
        units = available(held) if held else None
        truth = _truth(live) if live else None
        with bar() as steps:
            read = given.read(steps)

            from offline.history import guests, past
            from offline.report.make import make
            from offline.report.mining import Shop

            names = tuple(file.name for file in given.files)
            cleaned = tuple(past.before(given.files))
            asked = (models, rate, min_support, min_confidence, min_orders)
            history, others = guests.apart(read)
            del read  # two of it would be held
            folded = given.fold(history, steps, somebody=False)
            shop = Shop(names, history, folded, given.horizon, *asked, units, cleaned, others, truth)
            made = make(shop, steps.step)
        with replacing(out) as fresh:
            fresh.write_text(made.html, encoding="utf-8")
    click.echo(history.counts.table() + "\n\n" + "\n".join(made.says))
    click.echo(f"\nwritten: {out}")


def _truth(path: Path) -> "Truth":
    """What `streams model --json` wrote there. Raises OfflineError."""
    readable(path, option="--truth")

    from models.truth import Truth, TruthError

    try:
        return Truth.read(path.read_bytes())
    except TruthError as error:
        raise OfflineError(f"--truth {path}: {error}") from None
