"""`python -m streams history --history DIR --out FILE`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models import handover
from streams.commands.common import DIRECTORY, bar, begun, cannot, run
from streams.commands.common import history as cleaned

if TYPE_CHECKING:
    import pandas as pd

    from streams.kafka import Topic
    from streams.settings import Settings
    from streams.store import Store


async def gathered(store: "Store", settings: "Settings", where: "Topic", past: "pd.DataFrame") -> "pd.DataFrame":
    """The history that workers have counted, with a bar while the topic is read. past: that of the first publish."""
    from streams import history as job

    progress, task = bar("reading the topic", sum(high - low for low, high in where.bounds))
    with progress:
        found = await job.gather(store, settings, where, past, lambda n: progress.advance(task, n))
    if not len(found):
        cannot("nothing has been counted yet: DIR holds no event, and the workers have met none in the topic")
    return found


@click.command()
@click.option("--history", "first", required=True, type=DIRECTORY, help="The directory of the first publish.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Parquet file to write.")
def history(first: Path, out: Path) -> None:
    """Write the history that workers have counted, as `offline fit --history` takes it, without whom was erased.

    It holds what the first publish had before its cut-off and, of the topic, all good events up to where the workers
    stand. Exit code 2 where records that were counted are gone (retention).

    \b
    Example:
      python -m streams history --history build/fit --out build/history.parquet
      python -m offline fit --history build/history.parquet --out build/newer
      python -m streams publish build/newer
    """

    if out.resolve() in {(first / name).resolve() for name in (handover.ARTEFACT, handover.HISTORY, handover.STATES)}:
        cannot(f"--out {out}: belongs to the first publish, whose files `verify` and `rebuild` need; name another one")
    past = cleaned(first / handover.HISTORY)

    async def work(store: "Store", settings: "Settings") -> None:
        from models.kinds import PURCHASE
        from offline.history.read import write_parquet

        _, where = await begun(store, settings, first)
        found = await gathered(store, settings, where, past)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(found, out)
        whose, buyers = (rows["customer_id"].nunique() for rows in (found, found[found["kind"] == PURCHASE]))
        others = f" and {whose - buyers:,} more who bought nothing, whom workers do not count" if whose > buyers else ""
        click.echo(
            f"written: {out}, {len(found):,} events of {buyers:,} customers{others}; next: python -m"
            f" offline fit --history {out} --out DIR2, and python -m streams publish DIR2"
        )

    sys.exit(run(work))
