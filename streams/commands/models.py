"""`python -m streams models`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import run

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
def models() -> None:
    """List the model versions that Redis keeps: the day learned through, figures of the fit, which serves, which `keep`
    keeps. Exit code 1 if there is none.

    A version is called N-YYYYMMDD-HASH: the N-th publish, the day, the document; examples: 0 says that its scores rest
    on defaults alone.

    \b
    Example:
      python -m streams models
    """

    async def work(store: "Store", _: "Settings") -> int:
        from streams import versions

        known = await versions.listed(store)
        if not known:
            click.echo("no model: run `python -m streams publish DIR`", err=True)
            return 1
        click.echo(versions.table(known))
        return 0

    sys.exit(run(work))
