"""The versions that Redis keeps: listed, kept for ever, and published again."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import shops
from deployment import Play, World, assert_agree
from shops import T0, learned

from streams import versions
from streams.publish import rollback
from streams.refusal import Refusal

ROOT = Path(__file__).parent.parent


async def lived(world: World, days: int) -> None:
    """So many days of events, folded and learned."""
    part = await world.located()
    for day in range(world.guard()[1], world.guard()[1] + days):
        world.log.buy(f"h{day % 7}", day)
        world.log.tick(day + 1)
    await world.catch_up(part)
    while await world.learn():
        pass
    await part.idle()
    await world.settled(part)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shops.shop(tmp_path_factory.mktemp("later"), day=T0 + 5)


def test_versions_are_listed_with_what_they_learned(play: Play, shop: Path, later: Path) -> None:
    """Mutations caught: names sorted as texts; a document that is gone, or of another program, ends the list."""

    async def scenario(world: World) -> None:
        await lived(world, 10)
        await world.publish(later)
        known = await versions.listed(world.store)
        assert [(each.version[:11], each.learned, each.serving) for each in known] == [
            *((f"1-202312{day:02}-"[:11], f"2023-12-{day:02}", False) for day in range(9, 20)),
            ("2-20231214-", "2023-12-14", True),
        ]
        world.redis.sadd(world.store.keys.pinned, "nonsense")
        chain = [each.examples for each in known[:-1]]
        assert chain == sorted(chain)
        assert chain[-1] > chain[0] > 0
        world.redis.delete(world.store.keys.version(known[3].version))
        key = world.store.keys.version(known[4].version)
        world.redis.set(key, world.redis.get(key).replace(b'"schema":1', b'"schema":99'))
        assert await versions.listed(world.store) == [*known[:3], *known[4:]]
        world.redis.set(key, b"damaged")
        assert (await versions.listed(world.store))[3].examples == 0
        assert versions.table(known).splitlines()[-1].endswith("serving")

    play(scenario, shop)


def test_who_reads_no_further_is_no_error(play: Play, shop: Path) -> None:
    """As `| head` does. Mutation caught: a line about a broken pipe."""

    async def scenario(world: World) -> None:
        env = os.environ | {"CRM_REDIS_URL": world.settings.redis_url, "CRM_PREFIX": world.settings.prefix}
        reads, writes = os.pipe()
        os.close(reads)
        asked = [sys.executable, "-m", "streams", "models"]
        done = subprocess.run(asked, stdout=writes, stderr=subprocess.PIPE, env=env, cwd=ROOT)
        os.close(writes)
        assert (done.returncode, done.stderr) == (1, b"")

    play(scenario, shop)


def test_what_is_kept_outlives_the_others(play: Play, shop: Path) -> None:
    """Mutations caught: the document dropped with its turn; one that is gone already said to be kept; after `--undo` a
    document that nobody lists stays for ever, or the one that serves goes."""

    async def scenario(world: World) -> None:
        first = world.version
        assert await world.store.pin(first)
        await lived(world, 5)
        second = (await world.store.versions())[0]
        assert next((each.version, each.kept) for each in await versions.listed(world.store)) == (first, True)
        assert len(await versions.listed(world.store)) == 4
        for gone in ("1-20231210-00000000", "nonsense"):
            assert not await world.store.pin(gone)
            assert not await world.store.unpin(gone)
        assert await world.store.pinned() == {first}
        assert await world.store.pin(second)
        assert await world.store.unpin(second)
        assert await world.store.document(second) is not None, "its turn has not come"
        assert await world.store.unpin(first)
        assert await world.store.document(first) is None
        assert [each.kept for each in await versions.listed(world.store)] == [False] * 3

    play(scenario, shop, models_kept=3)


def test_a_rollback_publishes_the_document_and_learns_the_days_since_again(play: Play, shop: Path, later: Path) -> None:
    """Mutations caught: the version under its old name; the day left where it stood; segments under other numbers."""

    async def scenario(world: World) -> None:
        first = world.version
        await lived(world, 8)
        await world.publish(later)
        while await world.learn():
            pass
        part = await world.located()
        segments = part.serving.segments
        version = await rollback(world.store, world.deployment, first)
        assert version == f"3-{first[2:]}", "the same document"
        document = await world.store.document(version)
        assert document == await world.store.document(first)
        await part.idle()
        await world.settled(part)
        assert {world.customer(name)["model_version"] for name in part.table.names} == {version}
        assert part.serving.segments == segments
        assert_agree(world, part)
        while await world.learn():
            pass
        stored = await world.store.model()
        assert stored["day"] == str(T0 + 8)
        assert document is not None
        assert await world.store.document(stored["version"]) == learned(document, world.examples(), T0 + 8)

    play(scenario, shop)


@pytest.mark.parametrize("days", [1, 8])
def test_a_learned_version_that_is_back_says_the_day_of_its_fit(play: Play, shop: Path, later: Path, days: int) -> None:
    """However far it had learned, whatever was published meanwhile. Mutations caught: as of the day learned through;
    the day of the fit lost where a document is published again."""

    async def scenario(world: World) -> None:
        def as_of() -> set[str]:
            keys = world.store.keys.segments, world.store.keys.clusters
            return {json.loads(text)["as_of"] for key in keys for text in world.redis.hvals(key)}

        await lived(world, days)
        learned = (await world.store.model())["version"]
        await world.publish(later)
        assert as_of() == {"2023-12-14"}
        for _ in range(2):
            learned = await rollback(world.store, world.deployment, learned)
            assert as_of() == {"2023-12-09"}
            await world.publish(later)

    play(scenario, shop)


@pytest.mark.parametrize("behind", [35, 36])
def test_a_rollback_beyond_the_kept_examples_is_refused(play: Play, nobody: Path, behind: int) -> None:
    """Also what is not there, what serves already and what this program cannot read; nothing changes.

    Mutation caught: the kept days not asked for.
    """

    async def scenario(world: World) -> None:
        first = world.version
        for wrong, line in ((first, "is the version that serves"), ("1-20231208-00000000", "no such version is kept")):
            with pytest.raises(Refusal, match=f"{wrong}:? {line}"):
                await rollback(world.store, world.deployment, wrong)
        await lived(world, 1)
        world.redis.hset(world.store.keys.model, "day", T0 + behind)
        before = world.contents()
        if behind == 36:
            with pytest.raises(Refusal, match=rf"{first} has learned .* 36 days before .* it is 1 days too old"):
                await rollback(world.store, world.deployment, first)
            key = world.store.keys.version(first)
            world.redis.set(key, b"{}")
            with pytest.raises(Refusal, match=f"{key}: artefact: "):
                await rollback(world.store, world.deployment, first)
            assert world.contents() == before | {f"model:{first}": b"{}"}
        else:
            assert (await rollback(world.store, world.deployment, first)).startswith("2-20231209-")

    play(scenario, nobody)


def test_what_was_learned_once_is_not_forgotten_by_a_rollback(play: Play, shop: Path, tmp_path: Path) -> None:
    """What fell out before it is gone, wherever the trainer stands now. Mutations caught: the serving model's day
    asked, which the rollback moved back; `since` told from it; the day left out, which a program of before moves alone.
    """

    async def scenario(world: World) -> None:
        first, keys = world.version, world.store.keys
        await lived(world, 30)
        sixth = (await world.store.versions())[6]
        world.redis.hdel(keys.model, "furthest")  # as a program of before leaves it
        for version in (first, sixth):  # nothing is learned between the two
            await rollback(world.store, world.deployment, version)
            stored = await world.store.model()
            assert (stored["since"], stored["furthest"]) == (str(T0 + 30), str(T0 + 30))
        before = world.contents()
        with pytest.raises(Refusal, match=r"artefact .* 36 days before .* 2024-01-08, .* it is 1 days too old"):
            await world.publish(older)
        assert world.contents() == before
        while await world.learn():
            pass
        assert (await world.store.model())["furthest"] == str(T0 + 30)
        world.redis.hset(keys.model, "day", T0 + 31)
        assert (await world.store.model())["furthest"] == str(T0 + 31)
        await rollback(world.store, world.deployment, sixth)
        assert world.redis.hmget(keys.model, "since", "furthest") == [b"%d" % (T0 + 31)] * 2

    older = shops.shop(tmp_path, day=T0 - 6)
    play(scenario, shop, models_kept=100)


@pytest.mark.parametrize(
    ("serving", "since", "told"),
    [
        ("3-20240110-0a1b2c3d", 19_733, "from 2024-01-11 on, 1 in all: "),
        ("3-20240110-0a1b2c3d", 19_742, "from 2024-01-11 on, 10 in all: "),
        ("3-20240110-0a1b2c3d", 19_732, None),
        ("4-20240110-0a1b2c3d", 19_742, None),
    ],
)
def test_the_days_that_are_learned_again_are_those_behind_the_version(
    serving: str, since: int, told: str | None
) -> None:
    """2024-01-10 is day 19732. Mutations caught: none of them told; the day that it has learned through told."""

    async def model() -> dict[str, str]:
        return {"version": serving, "since": str(since)}

    store: Any = SimpleNamespace(model=model)
    said = asyncio.run(versions.learned_again(store, "3-20240110-0a1b2c3d"))
    again = "days that had been learned are learned again, "
    assert said == (told and f"{again}{told}`streams model` tells how far that is")
