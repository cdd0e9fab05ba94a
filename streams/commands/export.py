"""`python -m streams export CUSTOMER`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import bar, deployed, run

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.argument("customer")
@click.option("--log", is_flag=True, help="Also read the whole topic for the customer's events.")
def export(customer: str, log: bool) -> None:
    """Print all that is held on CUSTOMER as one JSON document; exit code 1 if that is nothing.

    \b
    Example:
      python -m streams export 00042 --log
    """

    async def work(store: "Store", settings: "Settings") -> int:
        import json

        from streams import export as job
        from streams.customer import Customer

        deployment, topic = await deployed(store, settings)
        progress, task = bar("reading", None)
        with progress:
            who = Customer(store, deployment, customer)
            told = await job.export(settings, topic, who, log, lambda: progress.advance(task))
        if not any(held for name, held in told.items() if name != "customer_id"):
            click.echo(f"{customer}: unknown", err=True)
            return 1
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return 0

    sys.exit(run(work))
