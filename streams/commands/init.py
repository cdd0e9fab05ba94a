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
        found = await topic(settings)
        found.check()
        await asyncio.to_thread(kafka.room_of_rejects, settings)
        rejected = await asyncio.to_thread(kafka.config, settings, settings.rejected_topic)
        for line in filter(None, [*found.warnings(), kafka.kept_otherwise(settings, rejected)]):
            click.echo(f"warning: {line}", err=True)
        many = f"{settings.events_topic} has {found.partitions} partitions"
        click.echo(f"created: {', '.join(created) or 'nothing'}; {many}")

    sys.exit(run(work))
