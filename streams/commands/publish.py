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

    A swap says on what the new model was fitted, and how many days it learns again; it warns where that is no history.

    \b
    Example:
      python -m streams publish build/fit
    """

    async def work(store: "Store", settings: "Settings") -> None:
        from streams.kept import Kept

        kept = Kept(directory)
        from streams import publish as job
        from streams import versions
        from streams.deployment import age, date_of, ended

        progress, task = bar("publishing", len(kept.names))
        where = await topic(settings)
        for line in where.warnings():
            click.echo(f"warning: {line}", err=True)
        with progress:
            before = (await store.model())["version"] if await store.published() else ""
            version = await job.publish(store, settings, where, kept, functools.partial(progress.advance, task))
        cut_off = kept.artefact.trained_through
        click.echo(f"published: model {version}, {len(kept.names):,} customers in the history")
        if version.startswith("1-"):
            click.echo(ended(cut_off, len(kept.names)))
            if age(cut_off) > YEAR:
                click.echo("that is more than a year: the first event of today sweeps every day between, to be learned")
            click.echo(f"from {date_of(cut_off)} on the topic must hold all events")
        elif kept.names:
            click.echo(f"the model was {versions.fitted_on(kept.artefact.as_of)}")
        else:
            click.echo(
                f"warning: {directory} is of no history: the model has learned nothing, and scores rest on defaults"
                f" until it has; `python -m streams rollback {before}` publishes again what served",
                err=True,
            )
        if again := await versions.learned_again(store, version):
            click.echo(again)

    sys.exit(run(work))
