"""`python -m streams init`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import run, topic

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
def init() -> None:
    """Create the topics that are missing: events and rejects.

    \b
    Example:
      CRM_KAFKA=kafka:9092 CRM_PARTITIONS=12 python -m streams init
    """

    async def work(_: "Store", settings: "Settings") -> None:
        import asyncio

        from streams import kafka

        created = await asyncio.to_thread(kafka.create, settings)
        partitions = (await topic(settings)).partitions
        click.echo(f"created: {', '.join(created) or 'nothing'}; {settings.events_topic} has {partitions} partitions")

    sys.exit(run(work))
