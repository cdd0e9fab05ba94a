"""`python -m streams retrain --history DIR --out DIR`."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models import handover
from streams.commands.common import DIRECTORY, cannot, deployed, run
from streams.commands.common import history as cleaned
from streams.commands.history import gathered

if TYPE_CHECKING:
    import pandas as pd

    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.option("--history", "first", required=True, type=DIRECTORY, help="The directory of the first publish.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory for the new fit."
)
@click.option(
    "--files", multiple=True, type=click.Path(exists=True, path_type=Path), help="Other history file; several times."
)
@click.option("--offers", type=click.Path(exists=True, path_type=Path), help="What `rules --offers` wrote, to go live.")
@click.option("--dry-run", is_flag=True, help="Fit and compare, publish nothing.")
@click.option("--force", is_flag=True, help="Publish even what is worse, or cannot be judged.")
def retrain(
    first: Path, out: Path, files: tuple[Path, ...], offers: Path | None, dry_run: bool, force: bool
) -> None:  # fmt: skip
    """Fit anew on the history that workers have counted, and publish the fit unless it is worse than what serves.

    Both are judged on the examples that the publish which serves has promised and that closed in the last horizon: what
    was served as it was promised, the new fit as it would have served from two horizons ago on. In the horizon after a
    publish there are none, and nothing is fitted but with --force or --dry-run. Exit code 0 published (or, with
    --dry-run, worth it), 1 not worth it or not to be judged yet, 2 cannot.

    \b
    Example, every second month at night:
      0 3 1 */2 * python -m streams retrain --history build/fit --out build/newer
    """

    if out.resolve() == first.resolve():
        cannot(
            f"--out {out}: is the directory of the first publish, which `verify` and `rebuild` need; name another one"
        )
    past = cleaned(first / handover.HISTORY)

    async def work(store: "Store", settings: "Settings") -> int:
        from offline.history.read import write_parquet
        from streams import history as job
        from streams.deployment import date_of

        deployment, where = await deployed(store, settings)
        stored = await store.model()
        day = int(stored["day"])
        promised = await job.promised(store, deployment.partitions, day, deployment.horizon, stored["version"])
        if early := _early(len(promised), stored, deployment.horizon):
            click.echo(early)
            if not (force or dry_run):
                click.echo("not fitted, not published; --force does both all the same")
                return 1
        found = await gathered(store, settings, where, past)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "history.parquet"
            write_parquet(found, path)
            _fit([path, *files], date_of(day), deployment.horizon, out, offers)
            good = _judged([path, *files], promised, day, deployment.horizon)
        if dry_run or not (good or force):
            click.echo("not published" + (": --dry-run" if dry_run else "; --force publishes it all the same"))
            return 0 if good else 1
        from streams import publish
        from streams.kept import Kept

        version = await publish.publish(store, settings, where, Kept(out), lambda _: None)
        click.echo(f"published: model {version}")
        return 0

    sys.exit(run(work))


def _fit(files: list[Path], until: str, horizon: int, out: Path, offers: Path | None) -> None:
    """As `offline fit` by hand, in a process of its own; ends where that cannot."""
    beside = ["--offers", str(offers)] if offers else []
    histories = [word for file in files for word in ("--history", str(file))]
    told = [*histories, "--until", until, "--horizon", str(horizon), "--out", str(out), *beside]
    done = subprocess.run([sys.executable, "-m", "offline", "fit", *told], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        cannot("offline fit could not fit the history; its line stands above")
    click.echo(done.stdout)


def _early(closed: int, stored: dict[str, str], horizon: int) -> str | None:
    """Why the publish that serves cannot be judged yet, in a line; None where it can. closed: of what it promised."""
    from models.artefact import Version
    from offline.demand.beside import FEWEST
    from streams.deployment import date_of

    if closed >= FEWEST:
        return None
    since, name = stored.get("since"), f"the serving publish, {Version.parse(stored['version']).n}"
    said = f"has promised only {closed:,} examples that closed, and {FEWEST} are needed to judge it"
    if since is None:
        return f"{name}, {said}: its promises close from {horizon} days after it on"
    first, last = int(since) + horizon, int(since) + 2 * horizon
    why = f"its promises close from {date_of(first)} on, those of all customers by {date_of(last)}"
    if last <= int(stored["day"]):
        why = "the customers are too few, or a rebuild has noted anew what they were promised"
    return f"{name} of {date_of(int(since))}, {said}: {why}"


def _judged(files: list[Path], promised: "pd.DataFrame", day: int, horizon: int) -> bool:
    """Prints the new fit beside what serves, both on the history as the stream counts it; is it not worse?"""
    from models.rows import DAY
    from offline.demand import beside
    from offline.history import read as history
    from offline.history.fold import fold

    folded = fold(history.read(files, {}, until=day * DAY).streamed.frame, day, horizon)
    figures = beside.beside(folded, promised, horizon)
    good, why = beside.verdict(figures)
    click.echo(f"what was served and what the new fit would have served, {horizon} days to the model's day")
    click.echo(f"{figures.round(3).to_string()}\n{why}")
    return good
