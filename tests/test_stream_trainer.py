"""The trainer on a real Redis: one version a day, from the one before, to the bits of a chain in one process."""

import asyncio
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deployment import Play, World
from logs import busy
from shops import T0, learned

from streams import rebuild, replay, trainer
from streams.deployment import DeploymentError
from streams.kept import Kept
from streams.store import LEDGER_DAYS, Store, connect
from streams.worker import HEARTBEAT, Worker


class Beside(Store):
    """Something happens once between a trainer's reads and its write."""

    def __init__(self, world: World, happens: Any) -> None:
        super().__init__(connect(world.settings), world.settings)
        world.reached.append(self)
        self.happens = happens

    async def learned(self, *args: Any, **more: Any) -> bool:
        happens, self.happens = self.happens, None
        if happens is not None:
            await happens()
        return await super().learned(*args, **more)


async def folded(world: World, days: int) -> None:
    """Both partitions' logs, folded and swept to T0 + days."""
    for n, day in enumerate(range(T0, T0 + days)):
        for customer in (f"h{n % 60}", f"h{n * 7 % 60}", f"n{n % 5}"):
            world.log.buy(customer, day, f"{5 + n}.00")
            world.log.event("view", customer, day + 0.5)
    world.log.tick(T0 + days)
    for p in range(world.count):
        await world.catch_up(await world.located(p))


def versions(world: World) -> list[str]:
    return [v.decode() for v in world.redis.lrange(world.store.keys.versions, 0, -1)]


def test_each_day_has_the_version_of_a_chain_in_one_process(play: Play, shop: Path) -> None:
    """Mutations caught: examples learned in the order of arrival; one partition left out; a day without examples passed
    over."""

    async def scenario(world: World) -> None:
        await folded(world, 40)
        document = await world.store.document(world.version)
        assert document is not None
        examples = world.examples(0)
        for day, more in world.examples(1).items():
            examples[day] = examples.get(day, {}) | more
        assert sum(map(len, examples.values())) > 60
        assert len(examples) < 40
        for day in range(T0 + 1, T0 + 41):
            assert await world.learn()
            stored = await world.store.model()
            assert stored["day"] == str(day)
            document = learned(document, {day: examples.get(day, {})}, day)
            assert await world.store.document(stored["version"]) == document
        assert not await world.learn()
        assert len(versions(world)) == 41

    play(scenario, shop, partitions=2, models_kept=100, training_days=100)


@pytest.mark.parametrize("document", [True, False], ids=["learned", "damaged"])
def test_others_have_their_turn_soon_while_a_day_is_learned(
    document: bool, play: Play, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutations caught: Python's own interval; one that stays, where it is learned and where it cannot be."""
    seen, learn = [], trainer.learn

    def watched(*given: Any) -> trainer.Learned:
        seen.append(sys.getswitchinterval())
        return learn(*given) if document else learn(b"{}", *given[1:])

    monkeypatch.setattr(trainer, "learn", watched)

    async def scenario(world: World) -> None:
        before = sys.getswitchinterval()
        await folded(world, 2)
        if document:
            assert await world.learn()
        else:
            with pytest.raises(DeploymentError, match="cannot be learned"):
                await world.learn()
        assert seen == [pytest.approx(trainer.TURN)]
        assert sys.getswitchinterval() == before > 10 * trainer.TURN

    play(scenario, nobody, partitions=2)


def test_a_day_is_learned_once_every_partition_is_swept_to_it(play: Play, nobody: Path) -> None:
    """Mutation caught: the furthest partition taken for all, in `step` and in examples.lua: either alone is enough."""

    async def scenario(world: World) -> None:
        world.log.tick(T0 + 2)
        await world.catch_up(await world.located(1))
        assert not await world.learn()
        await world.catch_up(await world.located(0))
        assert [await world.learn() for _ in range(3)] == [True, True, False]
        assert [v.split("-")[1] for v in versions(world)] == ["20231209", "20231210", "20231211"]

    play(scenario, nobody, partitions=2)


def test_a_worker_looks_for_a_day_once_a_partition_of_its_own_is_swept_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, also where that was while it looked elsewhere; and now and then without. Mutations caught: a sweep that
    wakes nobody; one that is forgotten; no look but after a sweep."""
    asked, complete = [], False

    async def step(*_: Any) -> bool:
        asked.append(complete)
        return False

    async def scenario() -> None:
        nonlocal complete
        monkeypatch.setattr(trainer, "step", step)
        worker: Any = SimpleNamespace(
            deployment=SimpleNamespace(partitions=1), store=None, furthered=asyncio.Event(), _trains=lambda: complete
        )
        waits = asyncio.create_task(Worker.train(worker))
        await asyncio.sleep(0)
        assert not waits.done()
        complete = True
        Worker.swept(worker)
        await asyncio.wait_for(waits, HEARTBEAT / 2)
        assert asked == [True]
        complete = False
        Worker.swept(worker)
        await asyncio.wait_for(Worker.train(worker), HEARTBEAT / 2)
        assert asked == [True]
        monkeypatch.setattr("streams.worker.HEARTBEAT", 0.01)
        await Worker.train(worker)

    asyncio.run(scenario())


def test_of_two_trainers_one_writes_and_the_other_starts_over(play: Play, shop: Path) -> None:
    """Mutation caught: learn.lua without the comparison of version and token: a day would be listed twice."""

    async def scenario(world: World) -> None:
        async def other() -> None:
            assert await world.learn()

        await folded(world, 3)
        late = Beside(world, other)
        assert not await trainer.step(late, world.count)
        assert (await world.store.model())["day"] == str(T0 + 1)
        assert await trainer.step(late, world.count)
        assert [v.split("-")[1] for v in versions(world)] == ["20231209", "20231210", "20231211"]

    play(scenario, shop, partitions=2)


@pytest.mark.parametrize("partition", [0, 1])
def test_nothing_is_learned_without_a_partition_that_went_back_meanwhile(
    play: Play, shop: Path, monkeypatch: pytest.MonkeyPatch, partition: int
) -> None:
    """A rebuild seeds it between two reads of the trainer. Mutation caught: the others' examples learned alone."""

    async def scenario(world: World) -> None:
        await folded(world, 3)
        before, swept = await world.store.model(), world.store.swept

        async def went_back(partitions: int) -> list[int]:
            found = await swept(partitions)
            world.redis.hset(world.store.keys.guard(partition), "swept_to", T0)
            return found

        monkeypatch.setattr(world.store, "swept", went_back)
        assert not await trainer.step(world.store, world.count)
        assert await world.store.model() == before

    play(scenario, shop, partitions=2)


def test_a_model_published_meanwhile_is_not_written_over(play: Play, shop: Path) -> None:
    """Mutation caught: learn.lua without the comparison of version and token."""

    async def scenario(world: World) -> None:
        async def published() -> None:
            await world.publish(shop)

        await folded(world, 3)
        late = Beside(world, published)
        assert not await trainer.step(late, world.count)
        assert (await world.store.model())["version"] == world.version
        assert world.version.startswith("2-20231209-")
        while await trainer.step(late, world.count):
            pass
        assert [v[:10] for v in versions(world)[-3:]] == ["2-20231210", "2-20231211", "2-20231212"]

    play(scenario, shop, partitions=2)


def test_a_rollback_of_the_model_is_learned_again_to_the_same_version(play: Play, shop: Path) -> None:
    """Mutations caught: learn.lua without the comparison of version and token; a name with something of the moment."""

    async def scenario(world: World) -> None:
        async def rolled_back() -> None:
            world.redis.delete(keys.model)
            world.redis.hset(keys.model, mapping=older)

        await folded(world, 4)
        keys = world.store.keys
        assert await world.learn()
        older = world.redis.hgetall(keys.model)
        assert await world.learn()
        second = versions(world)[-1]
        assert not await trainer.step(Beside(world, rolled_back), world.count)
        assert await world.learn()
        assert (await world.store.model())["version"] == second
        assert versions(world).count(second) == 1

    play(scenario, shop)


def test_examples_older_than_the_kept_window_are_dropped(play: Play, shop: Path) -> None:
    """Mutation caught: the deletion left out of learn.lua."""

    async def scenario(world: World) -> None:
        busy(world.log, T0, 45, ["h0", "h1", "h2"], seed=1)
        await world.catch_up(await world.located())
        assert min(world.examples()) <= T0 + 10
        while await world.learn():
            day = int((await world.store.model())["day"])
            assert min(world.examples(), default=day) > day - 7
        assert day == T0 + 45
        assert world.examples()

    play(scenario, shop, training_days=7)


@pytest.mark.parametrize("passed", [1, 9, 30])
def test_of_days_that_a_publish_passes_over_nothing_is_left(play: Play, nobody: Path, passed: int) -> None:
    """Of the last window nothing either, though a write brought some behind it. Mutations caught: the day's own
    examples and lines dropped alone; those of the week before left."""

    async def scenario(world: World) -> None:
        keys, day = world.store.keys, T0 + passed
        for each in range(T0 - 7 - 6, day + 1):
            world.redis.hset(keys.training(0, each), "ann", b"an example")
        for each in range(T0 - LEDGER_DAYS - 6, day + 1):
            world.redis.hset(keys.ledger, each, b"a line")
        stored = await world.store.model()
        held = stored["version"], stored["token"]
        assert await world.store.learned(held, f"2-v{day}", "new", day, b"document", "{}", 1)
        left = {int(key.rsplit(b":", 1)[1]) for key in world.redis.keys(keys.training(0, 0)[:-1] + "*")}
        assert left == {*range(day - 7 + 1, day + 1)}
        assert {*map(int, world.redis.hkeys(keys.ledger))} == {*range(day - LEDGER_DAYS + 1, day + 1)}

    play(scenario, nobody, training_days=7)


def test_an_emptied_redis_is_nothing_to_learn_from(play: Play, nobody: Path) -> None:
    """Mutation caught: the missing model not looked for: KeyError('day') in place of the partition's clear line."""

    async def scenario(world: World) -> None:
        world.empty()
        assert not await world.learn()

    play(scenario, nobody)


def test_a_replay_ends_when_redis_was_emptied(play: Play, nobody: Path) -> None:
    """Mutation caught: the missing model not looked for: KeyError('day') in place of one line."""

    async def scenario(world: World) -> None:
        world.empty()
        with pytest.raises(replay.ReplayError, match=":model is gone: restore Redis"):
            await replay._learned(world.store, T0 + 1)

    play(scenario, nobody)


def test_an_older_trainer_ends_at_examples_that_a_newer_program_wrote(play: Play, nobody: Path) -> None:
    """Mutation caught: what cannot be read not told from a fault of this program: `unexpected: ...`."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        world.log.tick(T0 + 1)
        await world.catch_up(await world.located())
        world.redis.hset(world.store.keys.training(0, T0 + 1), "ann", b"an example with fields more")
        with pytest.raises(
            DeploymentError, match=rf"^day {T0 + 1} cannot be learned: training examples of 27 bytes .*: "
        ):
            await world.learn()

    play(scenario, nobody)


# ---- more days learned than versions are kept ------------------------------------------------------------------------
class Outrun(Store):
    """The trainer learns two days before the serving model's document is read, the first two times."""

    def __init__(self, world: World) -> None:
        super().__init__(connect(world.settings), world.settings)
        world.reached.append(self)
        self.world, self.times = world, 2

    async def document(self, version: str) -> bytes | None:
        if self.times:
            self.times -= 1
            assert await self.world.learn()
            assert await self.world.learn()
        return await super().document(version)


async def locates(world: World, store: Store, _: Path) -> None:
    assert (await world.located(store=store)).serving.version == versions(world)[-1]


async def publishes(world: World, store: Store, directory: Path) -> None:
    assert (await world.publish(directory, store)).startswith("2-")


async def rebuilds(world: World, store: Store, directory: Path) -> None:
    await rebuild.rebuild(store, world.topic, Kept(directory), lambda _: None)
    assert world.customer("h0")["model_version"] == versions(world)[-1]


async def trains(world: World, store: Store, _: Path) -> None:
    before = versions(world)
    assert not await trainer.step(store, world.count)
    assert versions(world)[-1] > before[-1]


@pytest.mark.parametrize("does", [locates, publishes, rebuilds, trains])
def test_a_model_that_the_trainer_outran_is_looked_for_anew(play: Play, shop: Path, does: Any) -> None:
    """Mutation caught: a document that is gone taken for a broken deployment, although its version serves no more."""

    async def scenario(world: World) -> None:
        world.log.tick(T0 + 9)
        await world.catch_up(await world.located())
        await does(world, Outrun(world), shop)

    play(scenario, shop, models_kept=2)


def test_the_serving_model_gone_for_good_ends_the_trainer(play: Play) -> None:
    """Mutation caught: a step that starts over for ever, in silence."""

    async def scenario(world: World) -> None:
        world.log.tick(T0 + 2)
        await world.catch_up(await world.located())
        world.redis.delete(world.store.keys.version(world.version))
        with pytest.raises(DeploymentError, match=f"{world.version}, the serving model, is not in Redis: restore it"):
            await world.learn()

    play(scenario)
