"""`python -m streams erase CUSTOMER`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.commands.common import bar, cannot, deployed, run

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.argument("customer", required=False)
@click.option(
    "--history",
    "histories",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A DIR, or a cleaned history, in which to count the customer's records; may be given again.",
)
@click.option(
    "--receipt", type=click.Path(dir_okay=False, path_type=Path), help="Write the receipt to this file, not to stdout."
)
@click.option("--no-wait", is_flag=True, help="Only send the tombstone; clean nothing else.")
@click.option("--no-log", is_flag=True, help="Do not read the whole topic to count the customer's events.")
@click.option("--again", is_flag=True, help="Send no tombstone: clean up behind the last; without CUSTOMER, of all.")
@click.option("--list", "list_", is_flag=True, help="Print when whom was erased, by keyed hash.")
def erase(
    customer: str | None,
    histories: tuple[Path, ...],
    receipt: Path | None,
    no_wait: bool,
    no_log: bool,
    again: bool,
    list_: bool,
) -> None:
    """Erase CUSTOMER: a tombstone in the topic, then every place cleaned, or named with the time until when.

    Waits until a worker has passed the tombstone, at most two minutes in which it does not move. May be run again:
    with --again after what broke off, and whoever has come back since stays. A purchase that comes later begins a new
    customer. After a Redis was put back or published anew, --again without CUSTOMER cleans up behind everybody.

    \b
    Examples:
      python -m streams erase 00042 --history build/fit --receipt erased.json
      python -m streams erase --again
    """
    if (customer is not None and list_) or (customer is None and list_ is again):
        raise click.UsageError("give a CUSTOMER, or --list, or --again")
    if customer is None and (histories or receipt or no_wait):
        raise click.UsageError("--history, --receipt and --no-wait are about one CUSTOMER")
    if receipt is not None and not receipt.parent.is_dir():
        cannot(f"--receipt {receipt}: there is no directory {receipt.parent}")
    fresh = receipt and receipt.with_name(receipt.name + ".new")

    async def work(store: "Store", settings: "Settings") -> None:
        import json

        from streams import erase as job
        from streams.customer import Customer

        deployment, topic = await deployed(store, settings)
        progress, task = bar("erasing", None)
        if customer is None and again:
            with progress:
                found = await job.again(store, settings, topic, deployment, lambda: progress.advance(task))
            click.echo("erased before: {:,} customers; records that stood again, removed: {:,}".format(*found))
            return
        if customer is None:
            for partition, offset, when, hashed in await job.listed(store, deployment):
                click.echo(f"{hashed}  {when or 'time not kept':24}  {topic.name}:{partition}:{offset}")
            return
        who = Customer(store, deployment, customer)
        if fresh:
            fresh.touch()  # what cannot be written is refused before anything is sent
        asked = job.Asked(histories, not no_wait, not no_log, again)
        with progress:
            done = await job.erase(
                store,
                settings,
                topic,
                who,
                asked,
                lambda: progress.advance(task),
                lambda line: click.echo(line, err=True),
            )
        text = json.dumps(done, indent=2)
        if receipt is None or fresh is None:
            click.echo(text)
            return
        try:
            fresh.write_text(text + "\n")
            fresh.replace(receipt)
        except OSError:
            click.echo(text)  # nobody could make it again
            raise

    try:
        sys.exit(run(work))
    finally:
        if fresh:
            fresh.unlink(missing_ok=True)  # of what was refused, or could not be written to its end
