"""`python -m streams`: what runs a deployment. Exit code 0 done, 1 found wrong, 2 cannot (one line says why)."""

import signal
from typing import Any

import click

from streams.commands.api import api
from streams.commands.erase import erase
from streams.commands.export import export
from streams.commands.health import health
from streams.commands.history import history
from streams.commands.init import init
from streams.commands.keep import keep
from streams.commands.model import model
from streams.commands.models import models
from streams.commands.publish import publish
from streams.commands.rebuild import rebuild
from streams.commands.rejected import rejected
from streams.commands.replay import replay
from streams.commands.retrain import retrain
from streams.commands.rollback import rollback
from streams.commands.send import send
from streams.commands.show import show
from streams.commands.status import status
from streams.commands.verify import verify
from streams.commands.worker import worker

INTERRUPTED = 128 + signal.SIGINT  # as shells have it


class Commands(click.Group):
    """Whom Ctrl-C ends found nothing wrong, which click's own exit code 1 would say."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("streams: interrupted", err=True)
            context.exit(INTERRUPTED)


@click.group(cls=Commands)
def main() -> None:
    """Kafka events in, every customer's scores in Redis. Settings: environment variables CRM_... (docs/settings.md)."""


for command in (
    init,
    publish,
    worker,
    send,
    rejected,
    replay,
    show,
    export,
    erase,
    verify,
    rebuild,
    model,
    models,
    keep,
    rollback,
    history,
    retrain,
    status,
    health,
    api,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
