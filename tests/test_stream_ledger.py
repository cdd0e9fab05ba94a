"""The ledger on a real Redis: a day's line goes with its model, once; and what is printed of it is what came."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deployment import Play, World
from logs import busy
from shops import T0
from test_stream_rights import USER, as_user, grant
from test_stream_trainer import Beside, folded

from models import ledger
from models.artefact import decode
from models.judge import judge
from models.rows import load_examples
from streams import rebuild, rights, trainer
from streams.kept import Kept
from streams.store import LEDGER_DAYS


def lines(world: World) -> dict[int, bytes]:
    """As they stand, by day."""
    return {int(day): line for day, line in world.redis.hgetall(f"{world.settings.prefix}:ledger").items()}


async def plain(world: World, day: int) -> bytes:
    """The line of a day from its stored examples and the document of the day before."""
    versions = [v.decode() for v in world.redis.lrange(world.store.keys.versions, 0, -1)]
    document = await world.store.document(versions[versions.index((await world.store.model())["version"]) - 1])
    assert document is not None
    model = decode(document).restored()
    found = {name: packed for p in range(world.count) for name, packed in world.examples(p).get(day, {}).items()}
    return ledger.encoded(judge(model, model.learn_day(day, [*found], load_examples([*found.values()]))))


def test_each_day_that_is_learned_has_its_line(play: Play, shop: Path) -> None:
    """Mutations caught: no line of a day without examples; one partition left out; a line that names customers."""

    async def scenario(world: World) -> None:
        assert lines(world) == {}  # a publish knows no truth
        await folded(world, 45)
        for day in range(T0 + 1, T0 + 46):
            assert await world.learn()
            assert lines(world).keys() == {*range(T0 + 1, day + 1)}
            assert lines(world)[day] == await plain(world, day)
        total = ledger.added([*ledger.decoded(await world.store.ledger()).values()])
        examples = [load_examples([*each.values()]) for p in range(2) for each in world.examples(p).values()]
        closed = np.concatenate([each[each["open"] == 1] for each in examples])
        assert total.n == (closed["open_version"] > 0).sum() > 30
        assert total.left_out == (closed["open_version"] == 0).sum() > 30
        names = {name for p in range(2) for each in world.examples(p).values() for name in each}
        assert not [name for name in names if any(name.encode() in line for line in lines(world).values())]

    play(scenario, shop, partitions=2, models_kept=100, training_days=100)


def test_a_line_is_written_with_its_model_or_not_at_all(play: Play, shop: Path) -> None:
    """Mutations caught: the line written by a call of its own, before or after the model's."""

    async def scenario(world: World) -> None:
        async def other() -> None:
            assert await world.learn()
            assert await world.learn()
            stood.update(lines(world))

        stood: dict[int, bytes] = {}
        await folded(world, 3)
        late = Beside(world, other)
        assert not await trainer.step(late, world.count)
        assert lines(world) == stood
        assert stood.keys() == {T0 + 1, T0 + 2}

    play(scenario, shop, partitions=2)


@pytest.mark.parametrize("back", ["published", "rolled back"])
def test_days_that_are_learned_again_replace_their_lines(play: Play, shop: Path, back: str) -> None:
    """Mutations caught: HSETNX for HSET; lines of both counted; a publish that takes lines away.

    After a rollback of the model the same lines come again; a model of its own has its own weights.
    """

    async def scenario(world: World) -> None:
        await folded(world, 40)
        keys, older = world.store.keys, world.redis.hgetall(world.store.keys.model)
        while await world.learn():
            pass
        before = lines(world)
        world.redis.hset(keys.ledger, T0 + 3, b"of a program that was wrong")
        if back == "published":
            await world.publish(shop)
        else:
            world.redis.delete(keys.model)
            world.redis.hset(keys.model, mapping=older)
        assert lines(world).keys() == before.keys()
        while await world.learn():
            pass
        assert lines(world) == before

    play(scenario, shop, models_kept=100, training_days=100)


@pytest.mark.parametrize("steps", [(1, 2, 3), (3,), (3, -1, 3)])
def test_lines_are_kept_for_so_many_days(play: Play, steps: tuple[int, ...]) -> None:
    """Mutations caught: no line dropped; one dropped where a publish passes over several days; one too many."""

    async def scenario(world: World) -> None:
        for day in range(T0 - LEDGER_DAYS - 5, T0 + 4):
            world.redis.hset(world.store.keys.ledger, day, b"line")
        world.redis.hdel(world.store.keys.ledger, *range(T0 - LEDGER_DAYS - 5, T0 - LEDGER_DAYS + 1))
        for step in steps:
            stored = await world.store.model()
            held = (stored["version"], stored["token"])
            assert await world.store.learned(held, f"1-v{T0 + step}", f"t{step}", T0 + step, b"document", "{}", 1)
        assert min(lines(world)) == T0 + 3 - LEDGER_DAYS + 1
        assert len(lines(world)) == LEDGER_DAYS

    play(scenario)


def test_a_rebuild_and_an_erasure_leave_the_lines_as_they_are(play: Play, shop: Path) -> None:
    async def scenario(world: World) -> None:
        busy(world.log, T0, 40, ["h0", "h1", "h2"], seed=1)
        await world.catch_up(await world.located())
        while await world.learn():
            pass
        before = lines(world)
        assert len(before) == 40
        world.log.erase("h0", T0 + 40)
        await world.catch_up(await world.located())
        await rebuild.rebuild(world.store, world.topic, Kept(shop), lambda _: None)
        await world.catch_up(await world.located())
        assert lines(world) == before

    play(scenario, shop, training_days=100)


def test_a_user_without_the_right_is_told_before_anything_is_written(play: Play) -> None:
    """Mutation caught: the ledger left out of what is asked."""

    async def scenario(world: World) -> None:
        prefix = world.settings.prefix
        others: Any = (f"~{prefix}:{kind}*" for kind in rights.RIGHTS if kind != "ledger")
        grant(world, "+@all", "~*", "-hdel", f"(+hdel {' '.join(others)})")
        store, _ = as_user(world)
        assert await store.lacking(0) == f"HDEL {prefix}:ledger"
        world.redis.execute_command("ACL", "DELUSER", USER)

    play(scenario)
