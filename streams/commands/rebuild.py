"""`python -m streams rebuild --history DIR`."""

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.commands.common import DIRECTORY, bar, run, topic

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.option("--history", required=True, type=DIRECTORY, help="The directory of the first publish.")
def rebuild(history: Path) -> None:
    """Make all states and scores anew: seed the history, then let the workers fold the topic again. Models stay.

    \b
    Example:
      python -m streams rebuild --history build/fit
    """

    async def work(store: "Store", settings: "Settings") -> None:
        from streams.kept import Kept

        kept = Kept(history)
        from streams import rebuild as job

        where = await topic(settings)
        for line in where.warnings():
            click.echo(f"warning: {line}", err=True)
        progress, task = bar("seeding", len(kept.names))
        with progress:
            await job.rebuild(store, where, kept, functools.partial(progress.advance, task))
        click.echo(f"seeded: {len(kept.names):,} customers; workers now fold {settings.events_topic} again")

    sys.exit(run(work))
