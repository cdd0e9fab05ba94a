"""`python -m streams`: what runs a deployment. Exit code 0 done, 1 found wrong, 2 cannot (one line says why)."""

import asyncio
import functools
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
from redis import exceptions
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from streams import settings as settings_module
from streams.settings import Settings, SettingsError
from streams.store import Store, connect

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


def fail(reason: object) -> None:
    click.echo(f"streams: {reason}", err=True)
    sys.exit(2)


def _run(work: Callable[..., Awaitable[int | None]], *args: Any) -> None:
    """Runs a command's coroutine with store and settings; known problems become one line and exit code 2."""
    from models.artefact import ArtefactError
    from streams import kafka, publish, replay

    known = (ArtefactError, SettingsError, kafka.KafkaProblem, publish.PublishError, replay.ReplayError)

    async def with_store() -> int | None:
        settings = settings_module.load()
        store = Store(connect(settings.redis_url), settings)
        try:
            return await work(store, settings, *args)
        finally:
            await store.redis.aclose()

    try:
        sys.exit(asyncio.run(with_store()))
    except known as error:
        fail(error)
    except exceptions.RedisError as error:
        fail(f"CRM_REDIS_URL: {error}")
    except OSError as error:
        fail(error)


def bar(what: str, total: int | None) -> tuple[Progress, TaskID]:
    """A progress bar on stderr, if that is a terminal: stdout holds results only."""
    terminal = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=terminal,
        disable=not terminal.is_terminal,
    )
    return progress, progress.add_task(what, total=total)


@click.group()
def main() -> None:
    """Kafka events in, every customer's scores in Redis. Settings: environment variables CRM_... (docs/settings.md)."""


@main.command()
def init() -> None:
    """Create the topics that are missing: events and rejects.

    \b
    Example:
      CRM_KAFKA=kafka:9092 CRM_PARTITIONS=12 python -m streams init
    """

    async def work(_: Store, settings: Settings) -> None:
        from streams import kafka

        created = await asyncio.to_thread(kafka.create, settings)
        topic = await asyncio.to_thread(kafka.describe, settings)
        click.echo(
            f"created: {', '.join(created) or 'nothing'}; {settings.events_topic} has {topic.partitions} partitions"
        )

    _run(work)


@main.command()
@click.argument("directory", type=DIRECTORY)
def publish(directory: Path) -> None:
    """Put what `offline fit --out DIRECTORY` left into Redis; on a running system it swaps the model.

    \b
    Example:
      python -m streams publish build/fit
    """

    async def work(store: Store, settings: Settings) -> None:
        from streams import kafka
        from streams.publish import Kept
        from streams.publish import publish as job

        kept = Kept(directory)
        topic = await asyncio.to_thread(kafka.describe, settings)
        progress, task = bar("publishing", len(kept.names))
        with progress:
            version = await job(store, settings, topic, kept, functools.partial(progress.advance, task))
        click.echo(f"published: model {version}, {len(kept.names):,} customers in the history")

    _run(work)


@main.command()
def worker() -> None:
    """Consume events and write scores until stopped; run up to one worker a partition.

    \b
    Example:
      CRM_KAFKA=kafka:9092 CRM_REDIS_URL=redis://redis:6379/0 python -m streams worker
    """

    async def check(store: Store, settings: Settings) -> int:
        from streams import start

        meta.update(await start.check(store, settings))
        return 0

    meta: dict[str, str] = {}
    try:
        _run(check)
    except SystemExit as done:
        if done.code:
            raise
    from streams.worker import build

    app = build(settings_module.load(), meta)
    sys.argv = [sys.argv[0], "--quiet", "worker", "-l", "error", "--without-web"]
    app.main()


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--free", is_flag=True, help="Do not wait for each day's model.")
def replay(file: Path, free: bool) -> None:
    """Send FILE's events (a history.parquet) from the cut-off on through the topic, a day at a time.

    \b
    Example:
      python -m streams replay build/fit/history.parquet
    """

    async def work(store: Store, settings: Settings) -> None:
        from streams import replay as job

        frame = job.read(file)
        progress, task = bar("replaying", None)

        def told(n: int, day: str) -> None:
            progress.update(task, advance=n, description=day)

        with progress:
            sent = await job.replay(store, settings, frame, free, told)
        click.echo(f"sent: {sent:,} events")

    _run(work)


@main.command()
@click.argument("customer")
def show(customer: str) -> None:
    """Print CUSTOMER's scores as a CRM reads them.

    \b
    Example:
      python -m streams show 00042
    """

    async def work(store: Store, _: Settings) -> int:
        fields = await store.redis.hgetall(store.keys.customer(customer))
        if not fields:
            click.echo(f"{customer}: unknown; customers begin with their first purchase", err=True)
            return 1
        for name, value in fields.items():
            click.echo(f"{name.decode():24} {value.decode()}")
        return 0

    _run(work)


@main.command()
@click.option("--history", required=True, type=DIRECTORY, help="The directory of the first publish.")
@click.option("--most", default=20, show_default=True, help="Differences to print.")
def verify(history: Path, most: int) -> None:
    """Recount every customer from history and log with pandas, and compare with Redis; exit code 1 if any differs.

    \b
    Example:
      python -m streams verify --history build/fit
    """

    async def work(store: Store, settings: Settings) -> int:
        from streams import kafka
        from streams import verify as job

        topic = await asyncio.to_thread(kafka.describe, settings)
        progress, task = bar("recounting", None)
        with progress:
            verdict = await job.verify(
                store,
                settings,
                history / "history.parquet",
                topic,
                lambda what: progress.update(task, description=what),
            )
        for name, field, found, expected in verdict.wrong[:most]:
            click.echo(f"{name}: {field}: in Redis {found}, recounted {expected}")
        click.echo(f"customers: {verdict.customers:,}; wrong: {verdict.wrong_customers:,}")
        return 1 if verdict.wrong else 0

    _run(work)


@main.command()
@click.option("--history", required=True, type=DIRECTORY, help="The directory of the first publish.")
def rebuild(history: Path) -> None:
    """Make all states and scores anew: seed the history, then let the workers fold the topic again. Models stay.

    \b
    Example:
      python -m streams rebuild --history build/fit
    """

    async def work(store: Store, settings: Settings) -> None:
        from streams import kafka
        from streams.publish import Kept
        from streams.rebuild import rebuild as job

        kept = Kept(history)
        topic = await asyncio.to_thread(kafka.describe, settings)
        progress, task = bar("seeding", len(kept.names))
        with progress:
            await job(store, topic, kept, functools.partial(progress.advance, task))
        click.echo(f"seeded: {len(kept.names):,} customers; workers now fold {settings.events_topic} again")

    _run(work)


@main.command()
def model() -> None:
    """Print the serving model, its figures, and the versions that Redis keeps.

    \b
    Example:
      python -m streams model
    """

    async def work(store: Store, _: Settings) -> int:
        stored = await store.model()
        if not stored:
            click.echo("no model: run `python -m streams publish DIR`", err=True)
            return 1
        click.echo(f"serving {stored['version']}\n{json.dumps(json.loads(stored['metrics']), indent=2)}")
        versions = [v.decode() for v in await store.redis.lrange(store.keys.versions, 0, -1)]
        click.echo(f"kept: {len(versions)}, {versions[0]} to {versions[-1]}")
        return 0

    _run(work)


if __name__ == "__main__":
    main()
