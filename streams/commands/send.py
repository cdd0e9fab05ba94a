"""`python -m streams send FILE`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import bar, deployed, run

if TYPE_CHECKING:
    from streams.send import Bad
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--check", is_flag=True, help="Say what would be rejected; send nothing, ask neither Kafka nor Redis.")
@click.option(
    "--timestamps",
    type=click.Choice(["now", "occurred_at"]),
    default="now",
    show_default=True,
    help="What the records' timestamps are.",
)
@click.option("--most", default=20, show_default=True, help="Bad lines to print.")
def send(file: str, check: bool, timestamps: str, most: int) -> None:
    """Send FILE's events into the topic: one JSON object a line, - for standard input.

    Each is judged first as a worker will judge it. Good lines are sent, bad ones told; exit code 1 if any is bad. To
    send all or nothing, run it with --check first.

    \b
    Example:
      python -m streams send --check events.jsonl && python -m streams send events.jsonl
    """

    async def work(store: "Store", settings: "Settings") -> int:
        import time

        from streams import send as job

        deployment = None if check else (await deployed(store, settings))[0]
        progress, task = bar("checking" if check else "sending", None)
        bad = 0

        def told(line: "Bad") -> None:
            nonlocal bad
            bad += 1
            if bad <= most:
                progress.console.print(str(line), markup=False, highlight=False, soft_wrap=True)

        with click.open_file(file, "rb") as stream, progress:
            lines = job.judged(stream, timestamps == "occurred_at", lambda: time.time_ns() // 1_000_000)
            tally = job.send(settings, deployment, lines, told, lambda: progress.advance(task))
        if bad > most:
            click.echo(f"and {bad - most:,} more bad lines", err=True)
        click.echo(f"{'good' if check else 'sent'}: {tally.good:,} events; bad lines: {tally.bad:,}")
        if tally.early:
            click.echo(f"{tally.early:,} of them are from before the cut-off: workers pass them over", err=True)
        if tally.padded:
            click.echo(f"{tally.padded:,} of them have {job.PADDED}", err=True)
        return 1 if tally.bad else 0

    sys.exit(run(work))
