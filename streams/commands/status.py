"""`python -m streams status`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import deployed, run

if TYPE_CHECKING:
    from streams.overview import Overview, Standing
    from streams.settings import Settings
    from streams.store import Store

EVERY = 1.0  # seconds between two looks
COLUMNS = (("partition", 9), ("as of", 22), ("s behind", 11), ("records", 11), ("swept to", 12), ("customers", 12))


@click.command()
@click.option("--watch", is_flag=True, help="Look again each second, until Ctrl-C.")
@click.option("--json", "data", is_flag=True, help="The same as data, a line a look.")
def status(watch: bool, data: bool) -> None:
    """Print where every partition stands: who holds it, as of when its scores are, how far behind its log it is.

    Also what was rejected, the serving model and how true it was lately. Exit code 1 if something is not well.

    \b
    Example:
      python -m streams status --watch
    """

    async def work(store: "Store", settings: "Settings") -> int:
        import asyncio

        import msgspec

        from streams.kafka import KafkaAway
        from streams.overview import overview

        while True:
            try:
                deployment, topic = await deployed(store, settings)
                found = await overview(store, deployment, topic)
            except KafkaAway as away:
                found = await overview(store, await store.deployment(), away)
            if watch and not data and sys.stdout.isatty():
                click.clear()
            click.echo(msgspec.json.encode(found).decode() if data else shown(found))
            if not watch:
                return 1 if found.wrong else 0
            await asyncio.sleep(EVERY)

    try:
        sys.exit(run(work))
    except KeyboardInterrupt:
        if not watch:
            raise
        sys.exit(0)


def shown(found: "Overview") -> str:
    """The text, for a screen of 100 columns."""
    head = [
        f"{found.topic}, {len(found.partitions)} partitions, at {found.at}",
        f"model {found.model}, learned through {found.learned_through}",
        _live(found),
    ]
    table = [_line([name for name, _ in COLUMNS], "held by"), *map(_row, found.partitions)]
    behind = [each.behind for each in found.partitions if each.behind is not None]
    customers = sum(each.customers for each in found.partitions)
    total = ["all", "", "", f"{sum(behind):,}" if behind else "-", "", f"{customers:,}"]
    counts = [
        f"{what}: {', '.join(f'{n:,} {reason}' for reason, n in counted.items()) or 'none'}"
        for what, counted in (("rejected", found.rejected), ("passed over", found.passed_over))
    ]
    wrong = [f"not well: {line}" for line in found.wrong]
    parts = (head, [*table, _line(total, "")], counts, wrong)
    return "\n\n".join("\n".join(map(str.rstrip, lines)) for lines in parts if lines)


def _live(found: "Overview") -> str:
    """How true the model was, in words."""
    if found.truth is None:
        return "no example of it has closed yet"
    served, r90 = (found.truth.demand[name] for name in ("served", "r90"))
    held = found.truth.held["all"]
    figures = [
        f"deviance {served.deviance:,.2f} (r90 {r90.deviance:,.2f})",
        *([f"bias {served.bias:.2f}"] if served.bias is not None else []),
        *([f"bound held {held:.0%}"] if held is not None else []),
    ]
    return f"{found.truth.days} days to {found.truth.last}: {', '.join(figures)}"


def _row(each: "Standing") -> str:
    cells = [
        str(each.partition),
        each.as_of or "-",
        "-" if each.lag_seconds is None else f"{each.lag_seconds:,.1f}",
        "-" if each.behind is None else f"{each.behind:,}",
        each.swept_to or "-",
        f"{each.customers:,}",
    ]
    return _line(cells, "-" if each.owner is None or each.wrong else each.owner)


def _line(cells: list[str], last: str) -> str:
    return "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)) + f"  {last}"
