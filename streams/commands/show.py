"""`python -m streams show CUSTOMER`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import run

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.argument("customer")
def show(customer: str) -> None:
    """Print CUSTOMER's scores as a CRM reads them.

    \b
    Example:
      python -m streams show 00042
    """

    async def work(store: "Store", _: "Settings") -> int:
        try:
            fields = await store.customer(customer)
        except UnicodeEncodeError:  # no id
            fields = {}
        if not fields:
            click.echo(f"{customer}: unknown; customers begin with their first purchase", err=True)
            return 1
        for name, value in fields.items():
            click.echo(f"{name:24} {value}")
        return 0

    sys.exit(run(work))
