"""`python -m streams replay FILE`."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offline.commands.common import cleaning, sourced
from offline.errors import OfflineError
from streams.commands.common import bar, cannot, run

if TYPE_CHECKING:
    import pandas as pd

    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--free", is_flag=True, help="Do not wait for each day's model.")
@cleaning
def replay(file: Path, free: bool, **options: Any) -> None:
    """Send FILE's events from the cut-off on through the topic, a day at a time.

    FILE is whatever the offline jobs take, cleaned as they clean it, with the same options.

    \b
    Examples:
      python -m streams replay build/fit/history.parquet
      python -m streams replay orders.csv --columns customer_id=Customer,amount=Total --until 2026-03-01
    """
    frame = _read(file, options)

    async def work(store: "Store", settings: "Settings") -> None:
        from streams import replay as job
        from streams import versions

        click.echo(await versions.aged(store, await store.deployment()))
        progress, task = bar("replaying", None)

        def told(n: int, day: str) -> None:
            progress.update(task, advance=n, description=day)

        with progress:
            sent, erased, meanwhile = await job.replay(store, settings, frame, free, told)
        click.echo(f"sent: {sent:,} events" + (f"; of erased customers, not sent: {erased:,}" if erased else ""))
        if meanwhile:
            click.echo(
                f"warning: erased meanwhile: {', '.join(meanwhile)}: some of their events may stand behind the"
                " tombstone, and have begun new customers: run `streams erase` for each again",
                err=True,
            )

    sys.exit(run(work))


def _read(file: Path, options: dict[str, Any]) -> "pd.DataFrame":
    """The events, and on stderr what became of the rows."""
    from offline.commands import common

    try:
        given = sourced(files=(file,), **options)
        # What is made up for a row must not be an id that the history, or another file, made up for another one.
        given = replace(given, policy=replace(given.policy, by_content=True))
        given.check()
        with common.bar() as steps:
            read = given.read(steps, whole=True)
    except OfflineError as error:
        cannot(error)
    for line in (read.counts.table(), *click.get_current_context().meta.get(common.AT_END, ())):
        click.echo(line, err=True)
    return read.frame
