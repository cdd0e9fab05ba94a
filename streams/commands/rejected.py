"""`python -m streams rejected list|show|replay`."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from streams.commands.common import bar, deployed, run

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


class Time(click.ParamType):
    """ISO 8601 text to milliseconds; UTC where it has no offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from datetime import UTC, datetime

        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no ISO 8601 time, as 2026-03-01 or 2026-03-01T12:00:00Z", param, ctx)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


class Record(click.ParamType):
    """PARTITION:OFFSET to two numbers."""

    name = "partition:offset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        partition, _, offset = value.partition(":")
        if not (partition.isdecimal() and offset.isdecimal()):
            self.fail(f"{value!r} is not like 2:17", param, ctx)
        return int(partition), int(offset)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which rejects are meant."""
    for option in (
        click.option("--until", type=Time(), help="Rejected before this time."),
        click.option("--since", type=Time(), help="Rejected at this time or later."),
        click.option("--partition", type=click.IntRange(0), help="Sent to this partition."),
        click.option("--reason", help="For this reason."),
    ):
        command = option(command)
    return command


@click.group()
def rejected() -> None:
    """What was sent that is no event: list it, show one, send again what is accepted now."""


@rejected.command(name="list")
@filters
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
def list_(reason: str | None, partition: int | None, since: int | None, until: int | None, as_json: bool) -> None:
    """Count rejects by reason and detail, then list them. Never prints what they hold.

    \b
    Example:
      python -m streams rejected list --reason wrong_field --since 2026-03-01
    """

    async def work(_: "Store", settings: "Settings") -> None:
        import json
        from collections import Counter

        from streams import rejected as job

        wanted = job.Wanted(reason, partition, since, until)
        progress, task = bar("reading", None)
        with progress:
            held, notes = job.listed(job.stored(settings, lambda: progress.advance(task)), wanted)
        counts = Counter((each.reason, each.detail) for each in held).most_common()
        if as_json:
            told = [job.as_fields(each) | {"replayed": each.origin in notes} for each in held]
            by = [{"reason": reason, "detail": detail, "rejects": n} for (reason, detail), n in counts]
            click.echo(json.dumps({"counts": by, "rejects": told}, indent=2))
            return
        for (why, detail), n in counts:
            click.echo(f"{n:9,}  {job.printable(why)}: {job.printable(detail)}")
        click.echo(f"{len(held):9,}  rejects")
        for each in held:
            sent = ", sent again" if each.origin in notes else ""
            said = f"{each.reason}: {each.detail}{sent}"
            click.echo(job.printable(f"{job.place(each)}  {job.moment(each.rejected_at)}  {each.size:,} bytes  {said}"))

    sys.exit(run(work))


@rejected.command()
@click.argument("record", type=Record())
def show(record: tuple[int, int]) -> None:
    """Print one reject whole, what it holds too: RECORD is the PARTITION:OFFSET that it was sent to.

    \b
    Example:
      python -m streams rejected show 2:17
    """

    async def work(_: "Store", settings: "Settings") -> int:
        from streams import rejected as job

        progress, task = bar("reading", None)
        with progress:
            held, replayed = job.one(job.stored(settings, lambda: progress.advance(task)), record)
        if held is None:
            click.echo(f"{settings.rejected_topic} holds no reject of {record[0]}:{record[1]}", err=True)
            return 1
        content = {"replayed": str(replayed), "key": held.key, "value": held.value}
        for name, text in (job.as_fields(held) | content).items():
            click.echo(f"{name:12} {job.printable(text if isinstance(text, bytes | None) else str(text))}")
        return 0

    sys.exit(run(work))


@rejected.command()
@filters
@click.option("--dry-run", is_flag=True, help="Say what would be sent; send nothing.")
def replay(reason: str | None, partition: int | None, since: int | None, until: int | None, dry_run: bool) -> None:
    """Send what is accepted now to the events topic, as it came and with its own time, once.

    A second replay sends none of it again. What was cut cannot be sent, and what came before an erasure is not.

    \b
    Example:
      python -m streams rejected replay --reason wrong_partition --dry-run
    """

    async def work(store: "Store", settings: "Settings") -> None:
        from streams import rejected as job

        deployment, _ = await deployed(store, settings)
        wanted = job.Wanted(reason, partition, since, until)
        progress, task = bar("reading", None)
        with progress:
            done = await job.replay(store, settings, deployment, wanted, dry_run, lambda: progress.advance(task))
        click.echo(f"{'accepted now' if dry_run else 'sent'}: {done.sent:,}")
        for why, n in done.refused.most_common():
            click.echo(f"still refused: {n:,} {why}")
        for n, what in (
            (done.cut, "cut: not whole, so they cannot be sent"),
            (done.erased, "of customers who were erased since: not sent"),
            (done.before, "sent by an earlier replay"),
        ):
            if n:
                click.echo(f"{n:,} {what}")

    sys.exit(run(work))
