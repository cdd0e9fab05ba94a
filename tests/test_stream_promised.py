"""What a retrain judges of what serves: the promises of the publish that serves, as it made them, and no others."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import shops
from deployment import Play, World
from shops import T0

from models.artefact import Version
from models.rows import load_examples
from streams import rebuild
from streams.commands.retrain import _early
from streams.deployment import DeploymentError
from streams.history import Promised, promised
from streams.kept import Kept
from streams.publish import PublishError, publish, rollback
from streams.serving import Overtaken
from streams.store import Store, connect

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
    serving = Version.parse((await world.store.model())["version"]).n
    found = (await promised(world.store, 1, HORIZON, serving)).table
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
    """And when it was, is told. Mutation caught: its day not looked for."""

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
        assert (await promised(world.store, 1, HORIZON, 1)).rebuilt == T0 + 40

    play(scenario, shop, training_days=100)


def test_from_when_on_it_can_be_judged_is_said() -> None:
    """Mutations caught: the day of the fit for that of the publish; no day after a rebuild; a window not kept."""

    def told(stored: dict[str, str], closed: int = 0, rebuilt: int | None = None, kept: int = 35) -> str:
        table = pd.DataFrame(index=range(closed))
        return str(_early(Promised(int(stored["day"]), 20, table, rebuilt), stored, HORIZON, kept))

    stored = {"version": "3-20231220-00000000", "day": str(T0 + 20), "since": str(T0 + 10)}
    assert told(stored, 100) == "None"
    said = (
        "the serving publish, 3 of 2023-12-19, has promised only 7 examples that closed, and 100 are needed to judge it"
    )
    close = "its promises close from 2024-01-18 on, those of"
    assert told(stored, 7) == f"{said}: {close} all customers by 2024-02-17"
    assert told(stored, 7, kept=14) == f"{said}: {close} the 14 days that examples are kept by 2024-02-01"
    assert told(stored | {"day": str(T0 + 70)}, 7) == f"{said}: the customers are too few"
    assert told(stored, 7, rebuilt=T0 + 8) == f"{said}: {close} all customers by 2024-02-17"
    assert told(stored | {"day": str(T0 + 70)}, 7, rebuilt=T0 + 15) == (
        f"{said}: a rebuild noted anew what it promised before 2023-12-24; from then on its promises close from"
        " 2024-01-23 on, those of all customers by 2024-02-22"
    )
    del stored["since"]
    assert told(stored).endswith("its promises close from 30 days after it on")


@pytest.mark.parametrize("learn", [1, 3])
def test_a_model_that_is_learned_meanwhile_takes_no_promise_away(play: Play, shop: Path, learn: int) -> None:
    """The version that serves is another then. Mutations caught: the pages that are none taken for empty ones; another
    publish taken for the same."""

    class Beside(Store):
        """So many days are learned, or something is published, between two of its pages."""

        def __init__(self, world: World, happens: Callable[[], Awaitable[object]], times: int) -> None:
            super().__init__(connect(world.settings), world.settings)
            world.reached.append(self)
            self.happens, self.asked, self.times = happens, 0, times

        async def examples(self, partition: int, day: int, version: str) -> list[tuple[str, bytes]] | None:
            self.asked += 1
            if self.asked % 7 == 0 and self.times:
                self.times -= 1
                assert await self.happens()
            return await super().examples(partition, day, version)

    async def scenario(world: World) -> None:
        await lived(world, 40)
        world.log.tick(T0 + 43)
        await world.catch_up(await world.located())
        found = await promised(Beside(world, world.learn, learn), 1, HORIZON, 1)
        assert (found.day, found.days, found.rebuilt) == (T0 + 40 + learn, HORIZON, None)
        still = await promised(world.store, 1, HORIZON, 1)
        assert found.table.equals(still.table)
        assert len(found.table) > 10
        assert {*found.table.index.get_level_values("day")} > {T0 + 40}
        with pytest.raises(Overtaken, match="publish 2 came meanwhile, and this began under publish 1: run it again"):
            await promised(Beside(world, lambda: world.publish(shop), 1), 1, HORIZON, 1)

    play(scenario, shop, models_kept=200, training_days=100)


def test_no_more_days_are_judged_than_examples_are_kept_for(play: Play, shop: Path) -> None:
    """Mutations caught: a horizon said; the days kept counted from the day that a rollback left."""

    async def scenario(world: World) -> None:
        await lived(world, 40)
        found = await promised(world.store, 1, HORIZON, 1)
        assert (found.days, found.day) == (7, T0 + 40)
        assert found.table.index.get_level_values("day").min() > T0 + 33
        await rollback(world.store, world.deployment, (await world.store.versions())[-3])
        assert (await promised(world.store, 1, HORIZON, 2)).days == 5

    play(scenario, shop, models_kept=200, training_days=7)


def test_a_partition_that_is_rebuilt_is_waited_for(play: Play, shop: Path) -> None:
    """Mutation caught: the days that it has not reached again taken for days without promises."""

    async def scenario(world: World) -> None:
        await lived(world, 40)
        await rebuild.rebuild(world.store, world.topic, Kept(shop), lambda _: None)
        with pytest.raises(
            DeploymentError, match="guard:0: a rebuild is folding the log again: wait until its offset is"
        ):
            await promised(world.store, 1, HORIZON, 1)

    play(scenario, shop, training_days=100)


def test_only_over_the_publish_that_it_was_judged_by(play: Play, shop: Path, later: Path) -> None:
    """Mutations caught: the publish not compared; compared long before it is written; days that were learned meanwhile
    taken for a publish."""

    async def scenario(world: World) -> None:
        await lived(world, 3)
        kept = Kept(later)

        async def over(store: Store, n: int) -> str:
            return await publish(store, world.settings, world.topic, kept, lambda _: None, n)

        class Beside(Store):
            async def learned(self, *args: Any, **more: Any) -> bool:
                assert await happens()
                return await super().learned(*args, **more)

        happens: Callable[[], Awaitable[object]] = lambda: world.publish(shop)  # noqa: E731
        beside = Beside(connect(world.settings), world.settings)
        world.reached.append(beside)
        with pytest.raises(Overtaken, match="publish 2 came meanwhile, and this began under publish 1: run it again"):
            await over(beside, 1)
        happens = world.learn
        with pytest.raises(PublishError, match="was changed by somebody else meanwhile: publish again"):
            await over(beside, 2)
        before = world.contents()
        with pytest.raises(Overtaken):
            await over(world.store, 1)
        assert world.contents() == before
        assert (await over(world.store, 2)).startswith("3-")

    play(scenario, shop)
