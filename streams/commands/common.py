"""What the commands share: how one runs, and the bar on a terminal. Exit code 0 done, 1 found wrong, 2 cannot."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    import pandas as pd
    from rich.progress import Progress, TaskID

    from streams.deployment import Deployment
    from streams.kafka import Topic
    from streams.settings import Settings
    from streams.store import Store

DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)
LASTING = ("worker", "api")  # commands that go on until they are stopped


def cannot(reason: object) -> NoReturn:
    """One line on stderr, exit code 2."""
    if _collected():
        from streams.console import say, use

        use("json")
        say(str(reason), level="error")
    else:
        click.echo(f"streams: {reason}", err=True)
    sys.exit(2)


def _collected() -> bool:
    """Whether a program reads this process's lines, which it finds in one form: a command's are for whoever called it.

    Asked of the environment, for the settings may be what is wrong.
    """
    context = click.get_current_context(silent=True)
    return context is not None and context.info_name in LASTING and os.environ.get("CRM_LOG") == "json"


def version(_: object, __: object, text: str) -> str:
    """Of an argument: what a model version may be called."""
    from models.artefact import ArtefactError, Version

    try:
        return str(Version.parse(text))
    except ArtefactError as error:
        cannot(f"{error}: `streams models` lists those that are kept")


def run(work: "Callable[[Store, Settings], Awaitable[int | None]]", loop: "Callable[[], Any] | None" = None) -> int:
    """The exit code of a command's coroutine, given store and settings; what it cannot do becomes one line.

    loop: makes an event loop of another kind than asyncio's.
    """
    import asyncio

    from redis import exceptions

    from streams import answers
    from streams import settings as settings_module
    from streams.refusal import Refusal
    from streams.store import Store, connect

    async def with_store() -> int | None:
        settings = settings_module.load()
        store = Store(connect(settings), settings)
        try:
            return await work(store, settings)
        finally:
            await store.close()

    try:
        with _interrupted(), asyncio.Runner(loop_factory=loop) as runner:
            return runner.run(with_store()) or 0
    except Refusal as error:
        cannot(error)
    except exceptions.RedisError as error:
        said = answers.waits(error) or answers.ends(error)
        cannot(said if said.startswith("CRM_REDIS_SENTINELS: ") else f"CRM_REDIS_URL: {said}")
    except BrokenPipeError:  # who reads has what they wanted, as `| head` does: click ends it in silence
        raise
    except OSError as error:
        cannot(error)
    except click.ClickException:
        raise
    except Exception as error:  # a fault of ours must not end as 1, which says that something was found wrong
        *_, last = traceback.extract_tb(error.__traceback__)
        cannot(f"unexpected: {' '.join(repr(error).split())} ({last.filename}, line {last.lineno})")


@contextlib.contextmanager
def _interrupted() -> Iterator[None]:
    """Ctrl-C ends a command wherever it is: asyncio would let it go on until it awaits something, which whoever sends a
    file does at its end."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, as in the background of a shell
        yield
        return
    signal.signal(signal.SIGINT, lambda *said: signal.default_int_handler(*said))  # another than asyncio knows
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def history(path: Path) -> "pd.DataFrame":
    """The cleaned history at `path`, as the offline jobs read it."""
    if not path.exists():
        cannot(f"{path} is missing: {path.parent} is not what `offline fit --out` wrote")
    from offline.errors import OfflineError
    from offline.history.read import read_parquet

    try:
        return read_parquet(path)
    except OfflineError as error:
        cannot(error)


async def topic(settings: "Settings") -> Any:
    """The events topic as Kafka describes it now."""
    import asyncio

    from streams import kafka

    return await asyncio.to_thread(kafka.describe, settings)


async def begun(store: "Store", settings: "Settings", first: Path) -> "tuple[Deployment, Topic]":
    """`deployed`, of whose first publish `first` is the directory. Raises Refusal where it is not."""
    from streams.kept import artefact_in, fingerprint

    deployment, found = await deployed(store, settings)
    deployment.check_history(artefact_in(first).trained_through, fingerprint(first))
    return deployment, found


async def deployed(store: "Store", settings: "Settings") -> "tuple[Deployment, Topic]":
    """The deployment, and its topic as it stands now. Raises Refusal where the topic is not the deployment's."""
    if not await store.published():
        await _before_publish(settings)
    deployment = await store.deployment()
    found: Topic = await topic(settings)
    deployment.check(settings, found.id, found.partitions)
    found.check()
    return deployment, found


async def _before_publish(settings: "Settings") -> None:
    """Raises Refusal where the topic is missing, too: then `init` comes before `publish`."""
    import contextlib

    from streams.kafka import KafkaAway

    with contextlib.suppress(KafkaAway):
        await topic(settings)


def bar(what: str, total: int | None) -> "tuple[Progress, TaskID]":
    """A progress bar on stderr, if that is a terminal: stdout holds results only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

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
