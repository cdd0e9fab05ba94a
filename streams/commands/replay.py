"""`python -m streams replay FILE`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.commands.common import bar, history, run

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--free", is_flag=True, help="Do not wait for each day's model.")
def replay(file: Path, free: bool) -> None:
    """Send FILE's events (a history.parquet) from the cut-off on through the topic, a day at a time.

    \b
    Example:
      python -m streams replay build/fit/history.parquet
    """

    frame = history(file)

    async def work(store: "Store", settings: "Settings") -> None:
        from streams import replay as job

        progress, task = bar("replaying", None)

        def told(n: int, day: str) -> None:
            progress.update(task, advance=n, description=day)

        with progress:
            sent, erased = await job.replay(store, settings, frame, free, told)
        click.echo(f"sent: {sent:,} events" + (f"; of erased customers, not sent: {erased:,}" if erased else ""))

    sys.exit(run(work))
