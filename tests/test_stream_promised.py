"""What a retrain judges of what serves: the promises of the publish that serves, as it made them, and no others."""

from pathlib import Path

import pytest
import shops
from deployment import Play, World
from shops import T0

from models.artefact import Version
from models.rows import load_examples
from streams import rebuild
from streams.commands.retrain import _early
from streams.history import promised
from streams.kept import Kept
from streams.publish import rollback

HORIZON = 30


async def lived(world: World, to: int) -> None:
    """Up to T0 + `to` somebody buys each day; all is folded and learned."""
    part = await world.located()
    for day in range(world.guard()[1], T0 + to):
        world.log.buy(f"h{day % 7}", day)
        world.log.tick(day + 1)
        await world.catch_up(part)
        while await world.learn():
            pass
        await part.idle()
    await world.settled(part)


async def judged(world: World) -> tuple[set[int], int]:
    """(openings of the examples that are judged, days since the cut-off; how many)."""
    stored = await world.store.model()
    found = await promised(world.store, 1, int(stored["day"]), HORIZON, stored["version"])
    return {day - HORIZON - T0 for _, day in found.index}, len(found)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shops.shop(tmp_path_factory.mktemp("later"), day=T0 + 5)


def test_a_publish_is_judged_on_its_own_promises(play: Play, shop: Path, later: Path) -> None:
    """Mutations caught: those of the publish before; all versions of a publish but the one that serves left out; those
    that a rebuild noted, of a model that had learned what they are judged by."""

    async def scenario(world: World) -> None:
        await lived(world, 35)
        openings, n = await judged(world)
        assert n > 10
        assert openings <= {*range(6)}
        assert (await world.store.model())["since"] == str(T0)
        await world.publish(later)
        assert await judged(world) == (set(), 0)
        assert (await world.store.model())["since"] == str(T0 + 35)
        while await world.learn():  # the days since its fit
            pass
        await lived(world, 80)
        openings, n = await judged(world)
        assert n > 10
        assert min(openings) >= 35
        assert (await world.store.model())["since"] == str(T0 + 35)
        await rollback(world.store, world.deployment, (await world.store.versions())[0])
        assert await judged(world) == (set(), 0)

    play(scenario, shop, models_kept=200, training_days=100)


def test_what_a_rebuild_noted_is_no_promise(play: Play, shop: Path) -> None:
    async def scenario(world: World) -> None:
        await lived(world, 40)
        before = await judged(world)
        await rebuild.rebuild(world.store, world.topic, Kept(shop), lambda _: None)
        part = await world.located()
        await world.catch_up(part)
        noted = load_examples([packed for day in world.examples().values() for packed in day.values()])["open_version"]
        assert int(Version.day_of(noted).max()) == T0 + 40  # so the model that served then had seen what came
        assert before[1] > 10
        assert (await judged(world))[1] < before[1] / 4

    play(scenario, shop, training_days=100)


def test_from_when_on_it_can_be_judged_is_said() -> None:
    """Mutation caught: the day of the fit for that of the publish."""
    stored = {"version": "3-20231220-00000000", "day": str(T0 + 20), "since": str(T0 + 10)}
    assert _early(100, stored, HORIZON) is None
    assert _early(7, stored, HORIZON) == (
        "the serving publish, 3 of 2023-12-19, has promised only 7 examples that closed, and 100 are needed to judge"
        " it: its promises close from 2024-01-18 on, those of all customers by 2024-02-17"
    )
    assert str(_early(7, stored | {"day": str(T0 + 70)}, HORIZON)).endswith("noted anew what they were promised")
    of_before = {"version": "3-20231220-00000000", "day": str(T0 + 20)}
    assert str(_early(0, of_before, HORIZON)).endswith("its promises close from 30 days after it on")
