"""`python -m streams publish DIR`."""

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.commands.common import DIRECTORY, bar, run, topic

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store

YEAR = 365  # days after which it is said what an old history means


@click.command()
@click.argument("directory", type=DIRECTORY)
def publish(directory: Path) -> None:
    """Put what `offline fit --out DIRECTORY` left into Redis; on a running system it swaps the model.

    \b
    Example:
      python -m streams publish build/fit
    """

    async def work(store: "Store", settings: "Settings") -> None:
        from streams.kept import Kept

        kept = Kept(directory)
        from streams import publish as job
        from streams.deployment import age, date_of, ended

        progress, task = bar("publishing", len(kept.names))
        where = await topic(settings)
        for line in where.warnings():
            click.echo(f"warning: {line}", err=True)
        with progress:
            version = await job.publish(store, settings, where, kept, functools.partial(progress.advance, task))
        cut_off = kept.artefact.trained_through
        click.echo(f"published: model {version}, {len(kept.names):,} customers in the history")
        click.echo(ended(cut_off, len(kept.names)))
        if age(cut_off) > YEAR:
            click.echo("that is more than a year: the first event of today sweeps every day between, to be learned")
        if version.startswith("1-"):
            click.echo(f"from {date_of(cut_off)} on the topic must hold all events")

    sys.exit(run(work))
