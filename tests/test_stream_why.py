"""The reasons of what is published: they add up for everybody, whatever serves and whenever it was written."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import shops
from deployment import Play, World, run
from running import running

from benchmarks import logs
from models import artefact, why
from models.customers import observed
from models.rows import DAY, load_rows
from streams.crm.records import ContractError
from streams.crm.why import Reasons, Why

CUSTOMERS, LIVE = 23_570, 5  # of the demo; days after its cut-off


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shops.cdnow(tmp_path_factory.mktemp("demo"))


async def everybody(world: World) -> tuple[list[str], list[list[why.Part]], list[str]]:
    """(names, parts, published demands) of all customers of partition 0, by the model that serves."""
    keys, pipe = world.store.keys, world.redis.pipeline(transaction=False)
    found = world.redis.hgetall(keys.state(0))
    for name in found:
        pipe.hget(keys.customer(name.decode()), "predicted_demand")
    published = [text.decode() for text in pipe.execute()]
    _, document = await world.store.served()
    assert document is not None
    raw = observed(load_rows([*found.values()]), np.arange(len(found)), world.guard()[1])
    parts = why.parts(artefact.decode(document).restored(), raw, [why.cents(text) for text in published])
    return [name.decode() for name in found], parts, published


async def unpublished(world: World) -> int:
    """Of how many customers the hash says another demand than the model that serves; of all of them the parts add up,
    and what the program answers about some of them is made of these parts."""
    names, parts, published = await everybody(world)
    assert [sum(part.cents for part in each) for each in parts] == [why.cents(text) for text in published]
    assert all(abs(by_input(each)["rounding"]) == 0 for each in parts)
    reasons = Reasons(world.store.redis, world.store.keys)
    for i in range(0, len(names), len(names) // 20):
        found = await reasons.of(names[i], 0)
        assert found is not None
        assert found.predicted_demand == sum(part.amount for part in found.parts) == Decimal(published[i])
        assert found.total == found.predicted_demand - Decimal(by_input(parts[i])["not_yet"]) / 100
        assert [part.amount * 100 for part in found.parts] == [part.cents for part in parts[i]]
        assert (found.words, found.model_version) == (why.words(parts[i]), world_version(world))
    return sum(by_input(each)["not_yet"] != 0 for each in parts)


def by_input(parts: list[why.Part]) -> dict[str, int]:
    return {part.input: part.cents for part in parts}


def world_version(world: World) -> str:
    version: bytes = world.redis.hget(world.store.keys.model, "version")
    return version.decode()


@pytest.mark.long
def test_parts_add_up_for_every_customer_of_the_demo(redis_url: str, store_prefix: str, demo: Path) -> None:
    """As published, in mid-stream, right after another publish, and when all are scored anew.

    Mutations caught: a customer looked at as of another midnight than that of the partition; the model of before.
    """
    log = logs.cdnow()

    async def scenario(world: World) -> None:
        assert world.redis.hlen(world.store.keys.state(0)) == CUSTOMERS
        assert await unpublished(world) == 0
        part = await world.located()
        live = log.frame[log.frame["occurred_at"] >= log.cut * DAY]
        for day in range(log.cut, log.cut + LIVE):
            today = live[live["occurred_at"] < (day + 1) * DAY]
            live = live[len(today) :]
            for name, amount in zip(today["customer_id"], today["amount"].tolist(), strict=True):
                world.log.buy(name, day + 0.5, f"{amount / 10_000:.2f}")
            world.log.tick(day + 1)
            await world.catch_up(part)
            await world.learn()
        assert CUSTOMERS / 2 < await unpublished(world) < CUSTOMERS
        await world.publish(demo)
        assert await unpublished(world) > CUSTOMERS / 2
        await part.idle()
        await world.settled(part)
        assert await unpublished(world) == 0

    run(scenario, World(redis_url, store_prefix), demo)


def test_what_is_not_there_is_told(play: Play, shop: Path) -> None:
    """Nobody's reasons are none; of a customer without a state or a model there is no answer but the reason."""

    async def scenario(world: World) -> None:
        reasons, keys = Reasons(world.store.redis, world.store.keys), world.store.keys
        assert await reasons.of("nobody", 0) is None
        assert isinstance(await reasons.of("h0", 0), Why)
        world.redis.delete(keys.version(world.version))
        assert isinstance(await reasons.of("h0", 0), Why)  # it is loaded
        with pytest.raises(ContractError, match="the version that serves is not in Redis"):
            await Reasons(world.store.redis, keys).of("h0", 0)
        world.redis.set(keys.version(world.version), b"{}")
        with pytest.raises(ContractError, match=f"{world.version}: artefact: "):
            await Reasons(world.store.redis, keys).of("h0", 0)
        state = world.redis.hget(keys.state(0), "h0")
        world.redis.hset(keys.state(0), "h0", state[:-1])
        with pytest.raises(ContractError, match="of no form that this program knows"):
            await reasons.of("h0", 0)
        world.redis.hdel(keys.state(0), "h0")
        with pytest.raises(ContractError, match="no state or no model"):
            await reasons.of("h0", 0)

    play(scenario, shop)


def test_another_model_explains_as_soon_as_it_serves(play: Play, shop: Path, nobody: Path) -> None:
    """Mutation caught: a model that is kept, whichever serves. The document may go while it is looked for."""

    async def scenario(world: World) -> None:
        reasons, document = Reasons(world.store.redis, world.store.keys), await world.store.document(world.version)
        assert (first := await reasons.of("h0", 0)) is not None
        await world.publish(nobody)
        assert (second := await reasons.of("h0", 0)) is not None
        assert second.model_version == world.version != first.model_version
        assert second.predicted_demand == first.predicted_demand == first.total != second.total

        class Late:
            """A client that asks for the document of a version just gone, as once may happen."""

            pipeline, found = world.store.redis.pipeline, [None, document]

            async def get(self, key: str) -> bytes | None:
                return self.found.pop(0)

        assert await Reasons(Late(), world.store.keys).of("h0", 0) is not None
        assert not Late.found

    play(scenario, shop)


def test_show_prints_them(kafka: str, redis_url: str, shop: Path, tmp_path: Path) -> None:
    with running(kafka, redis_url, shop, tmp_path) as deployment:
        first, *lines = deployment.call("show", "h0", "--why").splitlines()
        words, parts = lines[: lines.index("")], lines[lines.index("") + 1 :]
        published = deployment.redis.hget(f"{deployment.name}:customer:h0", "predicted_demand")
        assert first.startswith(f"predicted_demand {published} over 30 days; as of 2023-12-09 1-20231209-")
        assert first.endswith(f" says {published}")
        assert [line[:2] for line in words] == ["- "] * 3
        assert sum(Decimal(line.split()[0]) for line in parts) == Decimal(published)
        assert not any(line.split()[0] == "0.00" for line in parts)
        assert "unknown" in deployment.call("show", "nobody", "--why", code=1)
        deployment.redis.delete(f"{deployment.name}:state:0")
        assert "no state or no model" in deployment.call("show", "h0", "--why", code=2)
