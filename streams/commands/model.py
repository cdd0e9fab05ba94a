"""`python -m streams model`."""

import json
import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import run

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
def model() -> None:
    """Print the serving model, its figures, and the versions that Redis keeps.

    \b
    Example:
      python -m streams model
    """

    async def work(store: "Store", _: "Settings") -> int:
        stored = await store.model()
        if not stored:
            click.echo("no model: run `python -m streams publish DIR`", err=True)
            return 1
        click.echo(f"serving {stored['version']}\n{json.dumps(json.loads(stored['metrics']), indent=2)}")
        versions = await store.versions()
        click.echo(f"kept: {len(versions)}, {versions[0]} to {versions[-1]}")
        return 0

    sys.exit(run(work))
