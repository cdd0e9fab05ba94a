"""`python -m streams worker`: checks that Redis and Kafka are those of the deployment, then scores until stopped."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.commands.common import cannot, deployed, run

if TYPE_CHECKING:
    from streams.deployment import Deployment
    from streams.settings import Settings
    from streams.store import Store


@click.command()
def worker() -> None:
    """Consume events and write scores until stopped; run up to one worker a partition.

    \b
    Example:
      CRM_KAFKA=kafka:9092 CRM_REDIS_URL=redis://redis:6379/0 python -m streams worker
    """
    from streams import ending

    ending.prepare(_asked_to_end)
    found: list[tuple[Settings, Deployment, int, list[str]]] = []

    async def check(store: "Store", settings: "Settings") -> None:
        found.append((settings, *await _checked(store, settings)))

    run(check)
    from streams.refusal import Refusal
    from streams.worker import build, serve

    try:
        app = build(*found[0])
    except Refusal as error:
        cannot(error)
    from streams.rehearsal import rehearse

    rehearse()
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  # Faust draws on it; our own lines go to stderr
    serve(app)


def _asked_to_end(by: str) -> None:
    from streams.console import say

    say(f"ends, for it was asked to ({by})")


async def _checked(store: "Store", settings: "Settings") -> "tuple[Deployment, int, list[str]]":
    """The deployment, if topic, partitions and partitioner are as they were at the first publish, the room that
    rejects have, and what was warned of: a doubt ends it."""
    import asyncio
    import time

    from streams import kafka, status, versions
    from streams import settings as settings_module
    from streams.console import say, use

    use(settings.log)
    for line in settings_module.notes():
        say(line, level="warning")
    warned = await store.warnings()
    for line in warned:
        say(line, level="warning")
    if settings.status:  # what cannot be written is said now, not passed over each second
        status.write(Path(settings.status), status.Status(time.time()))
    deployment, now = await deployed(store, settings)
    await store.keep(deployment)
    for line in now.warnings():
        say(line, level="warning")
    await asyncio.to_thread(kafka.check_worker, settings)
    room = await asyncio.to_thread(kafka.room_of_rejects, settings)
    say(await versions.aged(store, deployment))
    return deployment, room, [*warned, *now.warnings()]
