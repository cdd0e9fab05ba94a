"""`python -m streams verify --history DIR`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models import handover
from streams.commands.common import DIRECTORY, bar, begun, run
from streams.commands.common import history as cleaned

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.option("--history", required=True, type=DIRECTORY, help="The directory of the first publish.")
@click.option("--most", default=20, show_default=True, help="Differences to print.")
def verify(history: Path, most: int) -> None:
    """Recount every customer from history and log with pandas, and compare with Redis.

    Exit code 1 if any differs, 2 if some could not be recounted for their records are gone.

    \b
    Example:
      python -m streams verify --history build/fit
    """

    past = cleaned(history / handover.HISTORY)

    async def work(store: "Store", settings: "Settings") -> int:
        from streams import verify as job

        _, where = await begun(store, settings, history)
        progress, task = bar("recounting", None)
        with progress:
            verdict = await job.verify(
                store,
                settings,
                past,
                where,
                lambda what: progress.update(task, description=what),
            )
        for name, field, found, expected in verdict.wrong[:most]:
            click.echo(f"{name}: {field}: in Redis {found}, should be {expected}")
        for line in verdict.unknown:
            click.echo(f"not verified: {line}")
        click.echo(f"customers: {verdict.customers:,}; wrong: {verdict.wrong_customers:,}")
        return 1 if verdict.wrong else 2 if verdict.unknown else 0

    sys.exit(run(work))
