"""What is written in Redis: all or nothing, under its conditions only, within Redis's limits (Lua, literal keys)."""

import asyncio
import itertools
import threading
import uuid
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from deployment import Play, Stopped, World, run
from shops import T0

from demo import services
from models.customers import phase
from models.rows import DAY, ENTRY
from streams.partition import FRESH
from streams.settings import Settings
from streams.store import PAGE, connect

DUE = T0 + 1 + (phase("ann", 30) - T0 - 1) % 30  # ann's first landmark after a purchase on T0


# ---- the guarded write -----------------------------------------------------------------------------------------------
KEYS = ["changes:0", "rejected:0", "members:3:0", "members:5:0", "erased:0"]


def mistyped(world: World, key: str) -> str:
    """Gives the key another type; returns its whole name."""
    name = f"{world.settings.prefix}:{key}"
    world.redis.delete(name)
    world.redis.set(name, "text")
    return name


@pytest.mark.parametrize("key", ["guard:0", "model", "state:0", "freshness:0", *KEYS])
def test_a_key_of_another_type_stops_a_worker_before_it_writes(play: Play, key: str) -> None:
    """Mutation caught: a key left out of what `mistyped` asks: a write broke inside."""

    async def scenario(world: World) -> None:
        mistyped(world, key)
        world.log.buy("ann", T0)
        before = world.contents()
        with pytest.raises(Stopped, match=r"WRONGTYPE .*: remove its key, then run `streams rebuild`"):
            await world.located()
        assert world.contents() == before

    play(scenario)


@pytest.mark.parametrize("key", [*KEYS, f"training:0:{DUE}", "customer:ann"])
def test_a_key_that_becomes_of_another_type_leaves_a_guard_that_says_so(play: Play, key: str) -> None:
    """No worker goes on: what the write left out only a rebuild brings.

    Mutations caught: an error inside a transaction passed over; the guard ready all the same.
    """

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        part = await world.located()
        await world.catch_up(part)
        name = mistyped(world, key)
        world.log.put(b"ann", b"{", T0 * DAY)
        world.log.event("view", "ann", T0)
        world.log.tick(T0 + 100)
        world.log.buy("bob", T0 + 100, "900.00")
        if key != "customer:ann":  # an erasure deletes it, whatever it is
            world.log.erase("ann", T0 + 100)
        with pytest.raises(Stopped, match=r"Redis says: WRONGTYPE .*: remove its key, then run `streams rebuild`"):
            await world.catch_up(part)
        assert part in world.log.lost
        world.redis.delete(name)
        with pytest.raises(Stopped, match=r"guard:0 is damaged, for a write broke inside: run `streams rebuild`"):
            await world.located()

    play(scenario)


@pytest.mark.parametrize("key", ["guard:0", "model", "state:0"])
def test_what_a_write_reads_of_another_type_stops_it(play: Play, key: str) -> None:
    """Before the write, where what was read last is not believed any more; else with the reading behind it.

    Mutations caught: answers read without a look for errors; what is behind a write not looked at.
    """

    async def scenario(world: World, believed: bool) -> None:
        world.log.buy("ann", T0)
        part = await world.located()
        await world.catch_up(part)
        mistyped(world, key)
        world.log.buy("ann", T0)
        part.heard -= 0.0 if believed else FRESH
        with pytest.raises(Stopped, match=r"partition 0: Redis says: .*WRONGTYPE"):
            await world.catch_up(part)
        assert believed or world.customer("ann")["spend"] == "10.00"

    for believed in (False, True):
        play(partial(scenario, believed=believed))


def test_a_full_block_and_a_long_load_are_within_the_limits(play: Play) -> None:
    """Of Lua too, which reads pages. Mutation caught: states read in one go: `too many results to unpack`."""

    async def scenario(world: World) -> None:
        people = [f"c{n}" for n in range(PAGE + 500)]
        for name in people:
            world.log.buy(name, T0)
        world.log.tick(T0 + 65)
        part = await world.located()
        await world.catch_up(part)
        assert world.rows().keys() == set(people)
        assert sum(map(len, world.examples().values())) >= 2 * len(people)
        again = await world.located()
        assert set(again.table.names) == set(people)
        assert [again.table.rows[again.table.index[n]]["spend"] for n in people[::999]] == [100_000] * 3

    play(scenario, training_days=1000)


def test_an_example_older_than_the_kept_window_is_not_written(play: Play) -> None:
    """Mutation caught: a write without the comparison with the serving model's day."""

    async def scenario(world: World) -> None:
        world.redis.hset(world.store.keys.model, "day", DUE + 35)
        world.log.buy("ann", T0)
        world.log.tick(DUE + 30)
        await world.catch_up(await world.located())
        assert [*world.examples()] == [DUE + 30]

    play(scenario)


# ---- examples.lua and learn.lua --------------------------------------------------------------------------------------
def test_examples_are_read_once_nothing_can_add_to_them(play: Play) -> None:
    """Mutations caught: examples.lua without the comparison of `swept_to`; without that of the model's version."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        world.log.tick(DUE)
        await world.catch_up(await world.located())
        found = await world.store.examples(0, DUE, world.version)
        assert found is not None
        assert [(name, np.frombuffer(entry, ENTRY)[0]["day"]) for name, entry in found] == [("ann", DUE)]
        assert await world.store.examples(0, DUE + 1, world.version) is None
        assert await world.store.examples(0, DUE, "1-20200101-deadbeef") is None
        assert await world.store.examples(1, DUE, world.version) is None
        assert await world.store.examples(0, DUE - 1, world.version) == []

    play(scenario)


async def learned(world: World, day: int, held: tuple[str, str] | None = None, version: str = "") -> bool:
    stored = await world.store.model()
    held = held or (stored["version"], stored["token"])
    token = uuid.uuid4().hex
    return await world.store.learned(held, version or f"1-v{day}", token, day, b"document", "{}", world.count)


def test_a_model_is_written_over_the_one_it_was_learned_from_only(play: Play) -> None:
    """Mutations caught: learn.lua without the comparison of the version; without that of the token."""

    async def scenario(world: World) -> None:
        before, stored = world.contents(), await world.store.model()
        assert not await learned(world, T0 + 1, (stored["version"], "the token before a rollback"))
        assert not await learned(world, T0 + 1, ("1-v0", stored["token"]))
        assert not await learned(world, T0 + 1, ("", ""))
        assert world.contents() == before
        assert await learned(world, T0 + 1)
        model = await world.store.model()
        assert (model["version"], model["day"], model["metrics"]) == (f"1-v{T0 + 1}", str(T0 + 1), "{}")
        assert model["token"] != stored["token"]
        assert await world.store.document(model["version"]) == b"document"

    play(scenario)


def test_the_last_versions_and_pinned_ones_are_kept(play: Play) -> None:
    """Mutations caught: the list not trimmed; pinned ones deleted; a version that is written again listed twice."""

    async def scenario(world: World) -> None:
        world.redis.sadd(world.store.keys.pinned, f"1-v{T0 + 2}")
        for day in range(T0 + 1, T0 + 7):
            assert await learned(world, day)
        assert await learned(world, T0 + 6)
        listed = [v.decode() for v in world.redis.lrange(world.store.keys.versions, 0, -1)]
        assert listed == [f"1-v{T0 + d}" for d in (4, 5, 6)]
        kept = [d for d in range(1, 7) if await world.store.document(f"1-v{T0 + d}")]
        assert kept == [2, 4, 5, 6]
        assert await world.store.document(world.version) is None

    play(scenario, models_kept=3)


@pytest.mark.parametrize(("steps", "left"), [((1, 2), 6), ((5,), 3), ((5, -1), 3), ((30,), 0)])
def test_examples_outside_the_kept_window_go_with_the_model_of_the_day(
    play: Play, steps: tuple[int, ...], left: int
) -> None:
    """Mutations caught: no day deleted; one day deleted where a publish passes over several."""

    async def scenario(world: World) -> None:
        for day in range(T0 - 2, T0 + 6):
            for p in range(2):
                world.redis.hset(world.store.keys.training(p, day), "ann", b"entry")
        for step in steps:
            assert await learned(world, T0 + step)
        assert [len(world.examples(p)) for p in range(2)] == [left, left]

    play(scenario, partitions=2, training_days=3)


def test_examples_that_a_write_brought_too_late_go_too(play: Play) -> None:
    """It compared with the day before, and was executed behind the trainer's. Mutation caught: only the day itself."""

    async def scenario(world: World) -> None:
        assert await learned(world, T0 + 1)
        for day in (T0 - 3, T0 - 2, T0 - 1):
            world.redis.hset(world.store.keys.training(0, day), "ann", b"entry")
        assert await learned(world, T0 + 2)
        assert world.examples() == {}

    play(scenario, training_days=2)


# ---- who may not ask -------------------------------------------------------------------------------------------------
def test_a_password_that_is_not_right_stops_with_the_setting(nobody: Path) -> None:
    """Mutation caught: AuthenticationError taken for the broken connection that it is, and waited for."""
    with services.valkey() as server:

        async def scenario(world: World) -> None:
            world.redis.config_set("requirepass", "secret")
            for store in (world.store, world.struck({})):
                await store.redis.connection_pool.disconnect()
                with pytest.raises(Stopped, match=r"partition 0: Redis says: .*mend user and password"):
                    await world.located(store=store)

        run(scenario, World(server.url, "crm"), nobody)


def test_a_user_that_may_not_write_stops_and_nothing_is_written(nobody: Path) -> None:
    """Mutation caught: NoPermissionError taken for an error that passes."""
    with services.valkey() as server:

        async def scenario(world: World) -> None:
            world.log.buy("ann", T0)
            part = await world.located()
            world.redis.acl_setuser("default", enabled=True, commands=["-hset"])
            with pytest.raises(Stopped, match=r"partition 0: Redis says: .*no permissions to run the 'hset'"):
                await world.catch_up(part)
            assert (world.rows(), world.guard()) == ({}, (0, T0))

        run(scenario, World(server.url, "crm"), nobody)


@pytest.mark.parametrize("more", [{}, {"redis_sentinels": "127.0.0.1:26379", "redis_service": "crm"}])
def test_each_partition_of_the_largest_deployment_has_a_connection(more: dict[str, str]) -> None:
    """Mutation caught: redis-py's own limit, at which the 101st partition was refused for ever."""
    settings = Settings(kafka="127.0.0.1:9092", redis_url="redis://127.0.0.1:6379/0", **more)  # type: ignore[arg-type]
    most = next(each.le for each in Settings.model_fields["partitions"].metadata if hasattr(each, "le"))
    assert connect(settings).connection_pool.max_connections > most == 10_000


# ---- what `verify` reads ---------------------------------------------------------------------------------------------
def test_a_look_at_many_customers_is_of_one_moment(play: Play) -> None:
    """Mutation caught: a pipeline without a transaction: a write comes between a customer's state and its hash."""

    async def scenario(world: World) -> None:
        names, keys, looked = [f"c{n:0>120}" for n in range(500)], world.store.keys, threading.Event()

        def write() -> None:
            """The same number, ascending, as the guard's offset and as the last one's state, hash and score."""
            for n in itertools.count(1):
                if looked.is_set():
                    return
                with world.redis.pipeline(transaction=True) as pipe:
                    pipe.hset(keys.guard(0), "offset", n).hset(keys.state(0), names[-1], n)
                    pipe.hset(keys.customer(names[-1]), "orders", n).zadd(keys.set("members:0", 0), {names[-1]: n})
                    pipe.execute()

        writing, offsets = asyncio.create_task(asyncio.to_thread(write)), set()
        try:
            for _ in range(50):
                guard, packed, hashes, scores = await world.store.look(0, names, ["orders"], ["members:0"])
                if guard is not None and guard.offset:
                    assert packed[-1] == hashes[-1][0] == b"%d" % guard.offset
                    assert scores[0][-1] == guard.offset
                    offsets.add(guard.offset)
        finally:
            looked.set()
            await writing
        assert len(offsets) > 10

    play(scenario)
