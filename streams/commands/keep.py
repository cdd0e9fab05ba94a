"""`python -m streams keep VERSION`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import run
from streams.commands.common import version as called

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.argument("version", callback=called)
@click.option("--undo", is_flag=True, help="From here on it goes as others do.")
def keep(version: str, undo: bool) -> None:
    """Never drop the document of VERSION, though later ones come (CRM_MODELS_KEPT).

    What it learned is kept, not what it would learn from: `rollback` takes it for CRM_TRAINING_DAYS.

    \b
    Example:
      python -m streams keep 3-20260301-ab5df625
    """

    async def work(store: "Store", _: "Settings") -> None:
        from streams.refusal import Refusal

        done = await (store.unpin if undo else store.pin)(version)
        if not done:
            why = "it is not kept" if undo else "no such version is kept"
            raise Refusal(f"{version}: {why}: `streams models` lists them")
        click.echo(f"{version}: {'goes as others do' if undo else 'kept'}")

    sys.exit(run(work))
