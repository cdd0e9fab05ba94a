"""`python -m streams retrain --history DIR --out DIR`."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models import handover
from streams.commands.common import DIRECTORY, begun, cannot, run
from streams.commands.common import history as cleaned
from streams.commands.history import gathered

if TYPE_CHECKING:
    import pandas as pd

    from streams.deployment import Deployment
    from streams.history import Promised
    from streams.settings import Settings
    from streams.store import Store

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--history", "first", required=True, type=DIRECTORY, help="The directory of the first publish.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory for the new fit."
)
@click.option(
    "--files", multiple=True, type=EXISTING, help="Other history, as `offline clean` leaves it; several times."
)
@click.option("--clusters", type=click.IntRange(2), help="How many, as in `offline fit`; default: chosen anew.")
@click.option("--names", type=EXISTING, help="Names of the segments, as in `offline fit`; default: those that serve.")
@click.option("--offers", type=EXISTING, help="What `rules --offers` wrote, to go live.")
@click.option("--dry-run", is_flag=True, help="Fit into --out and compare, publish nothing.")
@click.option("--force", is_flag=True, help="Publish even what is worse, or cannot be judged.")
def retrain(
    first: Path, out: Path, files: tuple[Path, ...], clusters: int | None, names: Path | None, offers: Path | None,
    dry_run: bool, force: bool,
) -> None:  # fmt: skip
    """Fit anew on the history that workers have counted, and publish the fit unless it is worse than what serves.

    Both are judged on the examples that the publish which serves has promised and that closed in the last horizon (in
    the last CRM_TRAINING_DAYS, where those are fewer): what was served as it was promised, the new fit as it would have
    served from two horizons ago on. In the horizon after a publish there are none, and nothing is fitted but with
    --force or --dry-run. What was fitted stays in --out, published or not. Of --files, whoever was erased is left out;
    sales that the history holds under another id are refused. Where another publish or a rollback comes meanwhile,
    nothing is published, with --force neither. Exit code 0 published (or, with --dry-run, worth it), 1 not worth it,
    not to be judged yet, or another publish came, 2 cannot.

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
        from models.artefact import Version
        from offline.commands.common import scratch
        from offline.history.read import write_parquet
        from streams import history as job
        from streams import publish, versions
        from streams.deployment import date_of
        from streams.kept import Kept

        deployment, where = await begun(store, settings, first)
        stored, document = await store.served()
        serving = Version.parse(stored["version"]).n
        promised = await job.promised(store, deployment.partitions, deployment.horizon, serving)
        if early := _early(promised, stored, deployment.horizon, settings.training_days):
            click.echo(early)
            if not (force or dry_run):
                click.echo("not fitted, not published; --force does both all the same")
                return 1
        found = await gathered(store, settings, where, past)
        gone = await job.erased(store, deployment, found["customer_id"].unique())  # and came back
        out.mkdir(parents=True, exist_ok=True)
        with scratch(out) as parts:
            histories = [parts / "history.parquet"]
            write_parquet(found, histories[0])
            more = await _others(store, deployment, files, found, promised.day) if files else found[:0]
            if len(more):
                histories.append(parts / "files.parquet")
                write_parquet(more, histories[1])
            called = names or _names(parts / "names.yml", document)
            beside = {"--clusters": clusters, "--names": called, "--offers": offers}
            _fit(histories, date_of(promised.day), deployment.horizon, out, beside)
            good = _judged(histories, promised, deployment.horizon)
        now = await job.erased(store, deployment, {*found["customer_id"], *more["customer_id"]})
        if meanwhile := sorted(name for name, offset in now.items() if offset != gone.get(name)):
            purge = "yours to purge (docs/operations.md, Erase a customer)"
            click.echo(f"warning: erased meanwhile, and still in {out}: {', '.join(meanwhile)}: {purge}", err=True)
        if dry_run or not (good or force):
            why = ": --dry-run" if dry_run else "; --force publishes it all the same"
            click.echo(f"not published{why}; the fit is in {out}")
            return 0 if good else 1
        version = await publish.publish(store, settings, where, Kept(out), lambda _: None, serving)
        click.echo(f"published: model {version}")
        if again := await versions.learned_again(store, version):
            click.echo(again)
        return 0

    async def unless_overtaken(store: "Store", settings: "Settings") -> int:
        from streams.serving import Overtaken

        try:
            return await work(store, settings)
        except Overtaken as error:
            click.echo(f"not published: {error}")
            return 1

    sys.exit(run(unless_overtaken))


async def _others(
    store: "Store", deployment: "Deployment", files: tuple[Path, ...], found: "pd.DataFrame", day: int
) -> "pd.DataFrame":
    """What --files add to the history before the day: no event that it holds, and nobody who was erased.

    Ends where it holds the same sales under other ids.
    """
    from streams import history as job

    frame = _cleaned(files, day)
    gone = await job.erased(store, deployment, frame["customer_id"].unique())
    left = frame["customer_id"].isin([*gone])
    if gone:
        click.echo(f"--files: {left.sum():,} events of {len(gone):,} erased customers are left out")
    frame = frame[~left]
    held = frame.set_index(["customer_id", "event_id"]).index.isin(found.set_index(["customer_id", "event_id"]).index)
    if held.any():
        click.echo(f"--files: {held.sum():,} events stand in the history under the same ids: they count once")
    frame = frame[~held].reset_index(drop=True)
    _no_overlap(found, frame)
    return frame


def _cleaned(files: tuple[Path, ...], day: int) -> "pd.DataFrame":
    """The events before the day, as a stream counts them; what became of the rows on stderr."""
    from offline.commands import common
    from offline.errors import OfflineError
    from streams.deployment import date_of

    try:
        given = common.sourced(files=files, columns="", timezone="UTC", until=date_of(day))
        # What is made up for a row must not be an id that the history made up for another one.
        given = replace(given, policy=replace(given.policy, by_content=True, cancelled=False))
        given.check()
        with common.bar() as steps:
            read = given.read(steps)
    except OfflineError as error:
        cannot(
            f"--files {error}; `python -m offline clean`, which takes options, makes a file of it that retrain takes"
        )
    for line in (read.counts.table(), *click.get_current_context().meta.get(common.AT_END, ())):
        click.echo(line, err=True)
    return read.frame


def _no_overlap(found: "pd.DataFrame", more: "pd.DataFrame") -> None:
    """Says how many sales of the files may stand in the history under another id; ends where they are too many."""
    import numpy as np
    import pandas as pd

    from offline.history import overlap

    both = pd.concat([found, more], ignore_index=True)
    twice = overlap.found([overlap.by_day(both, np.repeat([0, 1], [len(found), len(more)]))])
    if twice is None:
        return
    agree = f"--files: {twice} agree with the history in customer, type, amount and day, not in their id"
    if not twice.chance:
        cannot(
            f"{agree}: each would count twice; leave the file out, or cut it with `python -m offline clean --until"
            f" {twice.begins}`"
        )
    click.echo(f"{agree}: few enough to be chance, they count")


def _names(path: Path, document: bytes | None) -> Path | None:
    """The names of the segments that serve, at `path`, as `offline fit --names` takes them."""
    import yaml

    from models.segments import NAMES
    from streams.deployment import DeploymentError
    from streams.serving import segments_of

    try:
        names = segments_of(document or b"", "").names
    except DeploymentError:  # of before segments were a rule: there are none that go on
        return None
    path.write_text(yaml.safe_dump(dict(zip(NAMES, names, strict=True)), allow_unicode=True), encoding="utf-8")
    return path


def _fit(files: list[Path], until: str, horizon: int, out: Path, beside: Mapping[str, object]) -> None:
    """As `offline fit` by hand, in a process of its own; ends where that cannot. beside: other options, if not None."""
    histories = [word for file in files for word in ("--history", str(file))]
    more = [word for option, of in beside.items() if of is not None for word in (option, str(of))]
    told = [*histories, "--until", until, "--horizon", str(horizon), "--out", str(out), *more]
    child = subprocess.Popen([sys.executable, "-m", "offline", "fit", *told], stdout=subprocess.PIPE, text=True)
    try:
        said, _ = child.communicate()
    except BaseException:  # asked to end: so is the fit, which takes away what it made
        child.terminate()
        child.wait()
        raise
    if child.returncode:
        cannot("offline fit could not fit the history; its line stands above")
    click.echo(said.replace(f"; next: python -m streams publish {out}", ""))  # whether, is not known yet


def _early(found: "Promised", stored: dict[str, str], horizon: int, kept: int) -> str | None:
    """Why the publish that serves cannot be judged yet, in a line; None where it can. found: what it promised; kept:
    for how many days examples are."""
    from models.artefact import Version
    from offline.demand.beside import FEWEST
    from streams.deployment import date_of

    if len(found.table) >= FEWEST:
        return None
    since, name = stored.get("since"), f"the serving publish, {Version.parse(stored['version']).n}"
    if since is not None:
        name += f" of {date_of(int(since))}"
    said = f"{name}, has promised only {len(found.table):,} examples that closed, and {FEWEST} are needed to judge it"
    known = [int(day) for day in (since, found.rebuilt) if day is not None]
    if not known:
        return f"{said}: its promises close from {horizon} days after it on"
    first, last = max(known) + horizon, max(known) + horizon + min(horizon, kept)
    if last <= found.day:
        return f"{said}: the customers are too few"
    whole = "all customers" if horizon <= kept else f"the {kept} days that examples are kept"
    why = f"its promises close from {date_of(first)} on, those of {whole} by {date_of(last)}"
    if found.rebuilt == max(known):
        why = f"a rebuild noted anew what it promised before {date_of(found.rebuilt)}; from then on {why}"
    return f"{said}: {why}"


def _judged(files: list[Path], promised: "Promised", horizon: int) -> bool:
    """Prints the new fit beside what serves, both on the history as the stream counts it, as these files, which were
    cleaned, have it; is it not worse?"""
    from models.rows import DAY
    from offline.demand import beside
    from offline.history import read as history
    from offline.history.fold import fold

    folded = fold(history.read(files, {}, until=promised.day * DAY).frame, promised.day, horizon)
    figures = beside.beside(folded, promised.table, horizon)
    good, why = beside.verdict(figures)
    click.echo(f"what was served and what the new fit would have served, {promised.days} days to the model's day")
    click.echo(f"{figures.round(3).to_string()}\n{why}")
    return good
