"""`python -m streams rollback VERSION`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import deployed, run
from streams.commands.common import version as called

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.argument("version", callback=called)
def rollback(version: str) -> None:
    """Publish the document of VERSION again; the days since, it says how many, are learned anew from the kept examples.

    Refused, with exit code 2, where VERSION has learned through a day more than CRM_TRAINING_DAYS before the last that
    any model learned: of the days since not all examples are kept.

    \b
    Example:
      python -m streams rollback 3-20260301-ab5df625
    """

    async def work(store: "Store", settings: "Settings") -> None:
        deployment, _ = await deployed(store, settings)

        from streams import publish as job
        from streams import versions

        fresh = await job.rollback(store, deployment, version)
        click.echo(f"published: model {fresh}, the document of {version}")
        if again := await versions.learned_again(store, fresh):
            click.echo(again)

    sys.exit(run(work))
