"""`python -m streams health`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import deployed, run

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
def health() -> None:
    """Exit code 0 if the worker beside this command holds partitions, all are ready, and Kafka and Redis answer.

    It reads what the worker writes at CRM_STATUS each second, and says what an operator should mend while it goes on.

    \b
    Example:
      CRM_STATUS=/run/crm/status python -m streams health
    """

    async def work(store: "Store", settings: "Settings") -> int:
        from pathlib import Path

        from streams import status
        from streams.refusal import Refusal

        if not settings.status:
            raise Refusal("CRM_STATUS is not set: give worker and health the same file")
        found = status.read(Path(settings.status))
        _, now = await deployed(store, settings)
        for line in [*now.warnings(), *await store.warnings()]:
            click.echo(f"warning: {line}")
        if wrong := list(status.wrong(found)):
            click.echo(f"not well: {'; '.join(wrong)} ({settings.status})", err=True)
            return 1
        held = ", ".join(map(str, sorted(found.partitions))) if found else ""
        click.echo(f"well: holds partitions {held}, all ready; Kafka and Redis answer")
        return 0

    sys.exit(run(work))
