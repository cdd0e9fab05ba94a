"""`python -m streams model`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from streams.commands.common import run

if TYPE_CHECKING:
    from models.truth import Figures, Standing, Truth, Window
    from streams.settings import Settings
    from streams.store import Store

COLUMNS = (  # of a window's table, with their widths
    *[("nGini", 8), ("MAE", 13), ("deviance", 13), ("bias", 8)],
    *[("held: all", 12), ("top 5 %", 9), ("top 1 %", 9), ("Brier", 9)],
)
FIGURES = {"ngini": ".3f", "mae": ",.2f", "deviance": ",.2f", "bias": ".2f"}


@click.command()
@click.option("--days", multiple=True, type=click.IntRange(1, 400), help="Of a window; again for more.  [30 and 90]")
@click.option("--json", "data", is_flag=True, help="The same as data: what `offline report --truth` takes.")
def model(days: tuple[int, ...], data: bool) -> None:
    """Print the serving model, which experts it follows, and how true its promises were lately.

    What was served when an example opened stands beside what the customer then spent, and beside what each expert, the
    customer's own rate and a prediction of nothing would have said.

    \b
    Example:
      python -m streams model --json > truth.json
    """

    async def work(store: "Store", _: "Settings") -> int:
        if not await store.model():
            click.echo("no model: run `python -m streams publish DIR`", err=True)
            return 1
        deployment = await store.deployment()
        from models.truth import WINDOWS
        from streams import truth

        told = await truth.found(store, deployment, days or WINDOWS)
        click.echo(told.document() if data else shown(told))
        return 0

    sys.exit(run(work))


def shown(truth: "Truth") -> str:
    """The text, for a screen of 100 columns."""
    told = [
        f"serving {truth.serving}, learned through {truth.learned_through}: {truth.examples:,} examples",
        f"kept: {truth.versions:,} versions from {truth.oldest} on; truth by day from {truth.begins or 'the next'} on",
    ]
    if truth.first:
        told.append(f"it began without examples: scores of before {truth.first} rest on defaults")
    tables = [_experts(truth), *(_window(window, truth) for window in truth.windows)]
    return "\n\n".join("\n".join(map(str.rstrip, lines)) for lines in (told, *tables) if lines)


def _experts(truth: "Truth") -> list[str]:
    """A line an expert: its weight for each target, and when it had the most."""
    if not truth.experts:
        return []
    targets, names = truth.experts.values(), dict.fromkeys(name for each in truth.experts.values() for name in each)
    head = [f"{'weight':<9}", *(f"for {target:<25}" for target in truth.experts)]
    rows = [[f"{name:<9}", *(f"{_standing(each.get(name), truth):<29}" for each in targets)] for name in names]
    return ["".join(cells) for cells in (head, *rows)]


def _standing(expert: "Standing | None", truth: "Truth") -> str:
    if expert is None or expert.led is None:
        return f"{expert.weight:.2f}" if expert else ""
    first, last = expert.led
    return f"{expert.weight:.2f} " + (f"leads since {first}" if last == truth.learned_through else f"led until {last}")


def _window(window: "Window", truth: "Truth") -> list[str]:
    """What came in a window, a line for each who says a demand; the last one is what the fit promised, where it
    promised any of it."""
    seen = "" if window.learned == window.days else f", {window.learned} seen"
    title = f"{window.days} days to {window.last}{seen}: {window.n:,} examples of {truth.horizon_days} days"
    more = [f"{window.left_out:,} more had opened without a model: in no figure"] if window.left_out else []
    if not window.n:
        return [title, *more]
    if others := truth.by_others(window):
        more.append(others)
    title += f", mean {window.mean:,.2f}, {window.bought:.1%} bought"
    held = [*(_number(share, ".3f") for share in window.held.values()), _number(window.brier, ".4f")]
    rows = [_row(name, figures, held if name == "served" else []) for name, figures in window.demand.items()]
    promised = truth.promised_in(window)
    fit = [_row("the fit's", promised)] if promised else []
    return [title, *more, _line("", [name for name, _ in COLUMNS]), *rows, *fit]


def _row(name: str, figures: "Figures", held: Sequence[str] = ()) -> str:
    return _line(
        name.replace("_", " "), [_number(getattr(figures, each), form) for each, form in FIGURES.items()], held
    )


def _line(name: str, numbers: Sequence[str], held: Sequence[str] = ()) -> str:
    cells = zip((*numbers, *held), COLUMNS, strict=False)
    return f"{name:<9}" + "".join(f"{cell:>{width}}" for cell, (_, width) in cells)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
