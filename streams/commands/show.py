"""`python -m streams show CUSTOMER`."""

import sys
from typing import TYPE_CHECKING

import click

from streams.commands.common import cannot, run

if TYPE_CHECKING:
    from streams.crm.why import Why
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.argument("customer")
@click.option("--why", is_flag=True, help="Print what the predicted demand is the sum of, and its largest reasons.")
def show(customer: str, why: bool) -> None:
    """Print CUSTOMER's scores as a CRM reads them, and how fresh they are.

    \b
    Example:
      python -m streams show 00042 --why
    """

    async def work(store: "Store", _: "Settings") -> int:
        try:
            lines = await (_reasons if why else _fields)(store, customer)
        except UnicodeEncodeError:  # no id
            lines = []
        if not lines:
            click.echo(f"{customer}: unknown; customers begin with their first purchase", err=True)
            return 1
        click.echo("\n".join(lines))
        return 0

    sys.exit(run(work))


async def _fields(store: "Store", customer: str) -> list[str]:
    lines = [f"{name:24} {value}" for name, value in (await store.customer(customer)).items()]
    return [*lines, f"{'as of':24} {await _fresh(store, customer)}"] if lines else []


async def _fresh(store: "Store", customer: str) -> str:
    """How fresh that is, in a line."""
    from streams.freshness import Freshness, lag, stale

    home = (await store.deployment()).home(customer)
    async with store.redis.pipeline(transaction=False) as pipe:
        (now, _), told = await pipe.time().hgetall(store.keys.freshness(home)).execute()
    found = Freshness.read(home, {name.decode(): text.decode() for name, text in told.items()})
    why, behind = stale(home, found, now), lag(found, now)
    as_of = found.fields[0] if found else "-"
    return ", ".join([as_of, "- s behind" if behind is None else f"{behind:,.1f} s behind", *([why] if why else [])])


async def _reasons(store: "Store", customer: str) -> list[str]:
    from streams.crm.records import ContractError
    from streams.crm.why import Reasons

    deployment = await store.deployment()
    try:
        found = await Reasons(store.redis, store.keys).of(customer, deployment.home(customer))
    except ContractError as error:
        cannot(error)
    return _told(found) if found else []


def _told(found: "Why") -> list[str]:
    """The sum and its largest reasons, then every part that is not 0."""
    by = f"over {found.demand_horizon_days} days; as of {found.as_of} {found.model_version} says {found.total}"
    parts = [f"{part.amount:>12} {part.expert:9} {part.input:8} {part.says}" for part in found.parts if part.amount]
    return [f"predicted_demand {found.predicted_demand} {by}", *(f"- {words}" for words in found.words), "", *parts]
