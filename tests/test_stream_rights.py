"""A worker's user who lacks one of the rights that a write needs: nothing is written."""

from pathlib import Path
from typing import Any

import pytest
from deployment import Play, Stopped, Struck, World, assert_agree
from shops import T0

from models.rows import DAY
from streams import rights
from streams.store import Store

USER = "the-worker"
WRITES = [  # (command, kind of key) of each right that changes something in a write
    *[("HSET", kind) for kind in ("guard", "state", "customer", "training", "erased", "freshness")],
    *[("HDEL", "state"), ("DEL", "customer"), ("ZADD", "members"), ("ZREM", "members")],
    *[("XADD", "changes"), ("HINCRBY", "rejected")],
]
TRUTHS: dict[str, dict[str, Any]] = {}  # by server
COMMANDS, KINDS = (sorted(set(column)) for column in zip(*WRITES, strict=True))
Rules = list[str]


def without(right: tuple[str, str], prefix: str) -> Rules:
    """Everything but one command with one kind of key, as Redis can say it since 7.0."""
    command, group = right[0], right[1].partition(":")[0].rstrip("s")  # a pattern for `model` fits `models` too
    others = (f"~{prefix}:{kind}*" for kind in rights.RIGHTS if not kind.startswith(group))
    return ["+@all", "~*", f"-{command}", f"(+{command} {' '.join(others)})"]


def grant(world: World, *rules: str) -> None:
    world.redis.execute_command("ACL", "SETUSER", USER, "reset", "on", ">secret", *rules)


def as_user(world: World, asks: bool = True) -> tuple[Store, list[dict[str, Any]]]:
    """A worker's store, and all of Redis as it was before each write; asks: the server can say what the user may do."""

    async def note() -> None:
        before.append(whole(world))

    before: list[dict[str, Any]] = []
    store = Struck(f"redis://{USER}:secret@127.0.0.1:{world.port}/0", world.settings, dict.fromkeys(range(20), note))
    if not asks:
        text = str(store._rights.script)
        assert "redis.acl_check_cmd" in text
        store._rights.__init__(store.redis, text.replace("redis.acl_check_cmd", "redis.not_there"))  # type: ignore[misc]
    world.reached.append(store)
    return store, before


def eventful(world: World) -> None:
    """All that a write can carry: moves, landmarks, rejects, erasures of known and unknown, one who comes back."""
    for n in range(6):
        world.log.buy(f"h{n}", T0 + 1, f"{900 * n + 10}.00")
        world.log.put(f"h{n}".encode(), b"{", T0 * DAY)
    world.log.erase("h1", T0 + 1)
    world.log.erase("nobody", T0 + 1)
    world.log.erase("h2", T0 + 1)
    world.log.buy("h2", T0 + 1)
    world.log.tick(T0 + 40)
    for n in range(3, 6):
        world.log.buy(f"h{n}", T0 + 41, "7.00")


def told(world: World) -> set[tuple[str, ...]]:
    """The changes, those that came twice once."""
    return {tuple(change.values()) for change in world.changes()}


def whole(world: World) -> dict[str, Any]:
    """A write that broke inside leaves a jump of the feed's numbers."""
    return world.contents() | {"changes:0": told(world), "freshness:0": None}


@pytest.fixture
def truth(play: Play, servers: str, shop: Path) -> dict[str, Any]:
    """What stands on this server when nothing is lacking."""

    async def undisturbed(world: World) -> None:
        eventful(world)
        await world.catch_up(await world.located())
        TRUTHS[servers] = whole(world)

    if servers not in TRUTHS:
        play(undisturbed, shop)
    return TRUTHS[servers]


async def goes_on(world: World, store: Store) -> dict[str, Any]:
    """The right is given back, and a worker starts again."""
    grant(world, "+@all", "~*")
    part = await world.located(store=store)
    await world.catch_up(part)
    assert_agree(world, part)
    return whole(world)


@pytest.mark.parametrize("right", WRITES, ids="-".join)
def test_a_write_without_one_right_writes_nothing(
    play: Play, shop: Path, truth: dict[str, Any], right: tuple[str, str]
) -> None:
    """Redis refuses the command as it is queued. Mutation caught: the rights not asked for by `locate`."""

    async def scenario(world: World) -> None:
        grant(world, "+@all", "~*")
        eventful(world)
        store, before = as_user(world)
        part = await world.located(store=store)
        before.append(whole(world))
        grant(world, *without(right, world.settings.prefix))
        with pytest.raises(Stopped, match="partition 0: Redis says: "):
            await world.catch_up(part)
        assert whole(world) == before[-1]
        with pytest.raises(Stopped, match=rf"may not {right[0]} {world.settings.prefix}:{right[1]}"):
            await world.located(store=store)
        assert await goes_on(world, store) == truth

    play(scenario, shop)


def test_a_server_is_asked_of_commands_that_it_would_run(play: Play) -> None:
    """Redis 8 answers no other question, and a worker ended by that."""

    async def scenario(world: World) -> None:
        known = world.redis.command()
        for words in rights.commands(world.store.keys, 3):
            arity = known[words[0].lower()]["arity"]  # with the name; below 0 where there may be more words
            assert len(words) >= -arity if arity < 0 else len(words) == arity, words

    play(scenario)


def test_every_right_is_asked_for_before_a_partition_is_written(play: Play) -> None:
    """Mutation caught: the rights not asked for by `locate`."""

    async def scenario(world: World) -> None:
        store, _ = as_user(world)
        for kind, commands in rights.RIGHTS.items():
            for command in commands.split():
                grant(world, *without((command, kind), world.settings.prefix))
                with pytest.raises(Stopped, match=r"partition 0: (the user .* may not|Redis says: .*permi)"):
                    await world.located(store=store)
        grant(world, "+@all", "~*")
        assert (await world.located(store=store)).offset == 0

    play(scenario)


@pytest.mark.parametrize("lacking", [*COMMANDS, *KINDS])
def test_a_server_that_cannot_be_asked_writes_nothing_either(
    play: Play, shop: Path, truth: dict[str, Any], lacking: str
) -> None:
    """As before Redis 7.0, which knows no right to a command with some keys only either.

    Mutation caught: commands that are no transaction.
    """

    async def scenario(world: World) -> None:
        grant(world, "+@all", "~*")
        eventful(world)
        store, before = as_user(world, asks=False)
        part = await world.located(store=store)
        before.append(whole(world))
        others = (f"~{world.settings.prefix}:{kind}*" for kind in rights.RIGHTS if not kind.startswith(lacking))
        grant(world, "+@all", *(["~*", f"-{lacking}"] if lacking in COMMANDS else others))
        with pytest.raises(Stopped, match="partition 0: Redis says: "):
            await world.catch_up(part)
        assert whole(world) == before[-1]
        assert await goes_on(world, store) == truth

    play(scenario, shop)
