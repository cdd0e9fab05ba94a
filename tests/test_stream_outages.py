"""Redis emptied, put back, read-only or full; another model; a log that is away: noticed, waited for, never guessed."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment import Play, Stopped, World, assert_same, disturb, held, run, undisturbed
from redis import exceptions
from redis._parsers import _AsyncRESP2Parser
from redis.asyncio import Redis
from running import Running, running, until
from shops import T0

from demo import services
from models.rows import DAY
from streams import answers
from streams import worker as worker_module
from streams.deployment import DeploymentError
from streams.partition import FRESH, Heard, Lost
from streams.worker import Worker, build
from streams.writes import Block, Position


# ---- rule 11 ---------------------------------------------------------------------------------------------------------
def test_11_another_token_is_noticed_while_idle(play: Play) -> None:
    """Mutation caught: `refresh` without the comparison of tokens."""

    async def scenario(world: World) -> None:
        part = await world.located()
        world.redis.hset(world.store.keys.guard(0), "token", "of an older snapshot")
        with pytest.raises(Lost):
            await part.idle()
        assert world.log.lost == [part]

    play(scenario)


def test_11_what_was_heard_of_all_partitions_at_once_is_compared_unless_something_was_written_since(play: Play) -> None:
    """Mutations caught: `heard` taken whatever the token was as it was asked for; `heard` that is not compared."""

    async def scenario(world: World) -> None:
        part = await world.located()
        before = Heard(0.0, part.token, *await world.store.standing(0))
        world.log.buy("ann", T0)
        await world.catch_up(part)
        await part.settle()
        part.heard = -FRESH
        await part.idle(before)  # of before the write: Redis is asked anew
        assert part.heard > 0
        with pytest.raises(Lost):
            await part.idle(Heard(0.0, part.token, b"of an older snapshot", part.serving.version))
        assert world.log.lost == [part]

    play(scenario)


def test_11_an_emptied_redis_is_noticed_while_idle_and_at_a_write(play: Play) -> None:
    """Mutation caught: `refresh` and `locate` going on without a guard."""

    async def scenario(world: World) -> None:
        async def emptied() -> None:
            world.empty()

        part = await world.located()
        world.log.buy("ann", T0)
        store = world.struck({0: emptied})
        other = await world.located(store=store)
        with pytest.raises(Lost):
            await world.catch_up(other)
        with pytest.raises(Stopped, match="guard:0 is gone: restore Redis"):
            await part.idle()
        with pytest.raises(Stopped, match=r"no guard .*guard:0: restore Redis"):
            await world.located()
        assert world.contents() == {}

    play(scenario)


def test_11_a_new_model_is_taken_while_idle_and_with_a_write(play: Play) -> None:
    """Mutations caught: `refresh` that compares the token alone; the version in a write's answer passed over."""

    async def scenario(world: World) -> None:
        async def learned() -> None:
            assert await world.learn()

        world.log.tick(T0 + 2)
        store = world.struck({2: learned})
        part, idle = await world.located(store=store), await world.located()
        assert part.serving.version == idle.serving.version == world.version
        await world.catch_up(part)
        world.log.buy("ann", T0 + 2)
        world.log.buy("bob", T0 + 2)
        await part.process(world.log.chunk(1, 2))
        await part.process(world.log.chunk(2, 3))
        assert part.serving.version.startswith("1-20231210-")
        other = await world.located()
        assert await world.learn()
        await other.idle()
        assert other.serving.version.startswith("1-20231211-")

    play(scenario)


def test_11_a_redis_put_back_between_two_readings_serves_the_model_it_names(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutation caught: a document that is gone taken for a broken deployment, although its version is gone too."""

    async def scenario(world: World) -> None:
        world.log.tick(T0 + 2)
        await world.catch_up(await world.located())
        before = world.redis.hgetall(world.store.keys.model)
        assert await world.learn()
        store = world.struck({})
        read = store.document

        async def put_back(version: str) -> bytes | None:
            if not version.startswith(world.version):
                world.redis.hset(world.store.keys.model, mapping=before)
                world.redis.delete(world.store.keys.version(version))
            return await read(version)

        monkeypatch.setattr(store, "document", put_back)
        assert (await world.located(store=store)).serving.version == world.version
        world.redis.delete(world.store.keys.version(world.version))
        with pytest.raises(Stopped, match=rf"{world.version}, the serving model, is not in Redis"):
            await world.located()

    play(scenario)


@pytest.mark.parametrize("how", ["published anew", "gone", "changed"])
def test_11_a_deployment_that_is_not_the_one_that_was_read_ends_a_worker(play: Play, shop: Path, how: str) -> None:
    """As it locates a partition, and while it runs: it would have another cut-off, and erase under another key.
    Mutations caught: `locate`, or `look`, without the comparison; a part of the deployment alone compared."""

    async def scenario(world: World) -> None:
        worker = watching(world)
        await worker.look()
        began = world.deployment
        if how == "published anew":
            world.empty()
            await world.publish(shop)
            world.deployment = began
        elif how == "gone":
            world.redis.delete(world.store.keys.meta)
        else:
            world.redis.hset(world.store.keys.meta, "cut_off", T0 + 1)
        for looks, error in ((worker.look, DeploymentError), (world.located, Stopped)):
            with pytest.raises(
                error, match=r":meta is gone: restore" if how == "gone" else r":meta is not as it was read"
            ):
                await looks()

    play(scenario, shop)


def watching(world: World) -> Worker:
    """A worker of the deployment that was not started."""
    worker: Worker = build(world.settings, world.deployment, 1 << 20).transport.owner
    world.reached.append(worker.store)
    return worker


# ---- states that are missing -----------------------------------------------------------------------------------------
Loss = Callable[[World], object]
UNORDERED = {"changes:0": None, "freshness:0": None}  # what was announced meanwhile, and its number
LOSSES: dict[str, Loss] = {
    "one deleted": lambda world: world.redis.hdel(world.store.keys.state(0), "h0"),
    "all evicted": lambda world: world.redis.delete(world.store.keys.state(0)),
    "one too many": lambda world: world.redis.hset(world.store.keys.state(0), "h60", b"what"),
}


@pytest.mark.parametrize("lost", LOSSES)
def test_missing_states_end_a_worker_at_a_write_while_idle_and_at_its_start(play: Play, shop: Path, lost: str) -> None:
    """Mutations caught: the number not compared by `Store.write`; not by `standing`; not set again by a write."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        await world.catch_up(await world.located())
        part, idle = await world.located(), await world.located()
        LOSSES[lost](world)
        before, missing = (
            world.contents(),
            r"partition 0: \S+:state:0 holds \d+ customers, but 61 were written: .*rebuild",
        )
        guard = await world.store.guard(0)
        assert guard is not None
        with pytest.raises(DeploymentError, match="were written"):
            await world.struck({}).write(0, guard.token, b"new", Position(2, T0, 1), Block())
        for broken in (part.process(world.log.chunk(1)), idle.idle(), world.located()):
            with pytest.raises(Stopped, match=missing):
                await broken
        assert world.contents() == before

    play(scenario, shop)


@pytest.mark.parametrize("lost", LOSSES)
def test_states_that_went_behind_the_last_write_keep_the_next_from_being_written(
    play: Play, shop: Path, lost: str
) -> None:
    """What is put back is then whole: no write went into what was left. Mutation caught: the guard watched alone."""

    async def scenario(world: World) -> None:
        async def loses() -> None:
            LOSSES[lost](world)
            before.append(world.contents())

        before: list[dict[str, Any]] = []
        part = await world.located(store=world.struck({1: loses}))
        for n in range(2):
            world.log.buy("h1", T0, event_id=f"e{n}")
            if not n:
                await world.catch_up(part)
        with pytest.raises(Stopped, match="were written: states were deleted or evicted"):
            await world.catch_up(part)
        assert before == [world.contents()]

    play(scenario, shop)


def test_a_guard_that_an_earlier_version_wrote_is_counted_from_the_next_write_on(play: Play, shop: Path) -> None:
    """Mutations caught: the number compared under another token than it was counted; a guard without one refused."""

    async def scenario(world: World) -> None:
        guard, state = world.store.keys.guard(0), world.store.keys.state(0)
        world.redis.hdel(guard, "customers", "counted")
        part = await world.located()
        world.log.buy("ann", T0)
        await world.catch_up(part)
        assert world.redis.hget(guard, "customers") == b"61"
        world.redis.hset(guard, "token", "of an older program's write")  # which does not count
        world.redis.hset(state, "bob", world.redis.hget(state, "ann"))
        part = await world.located()
        world.log.buy("ann", T0)
        await world.catch_up(part)
        assert world.redis.hget(guard, "customers") == b"62"

    play(scenario, shop)


# ---- Redis goes back in time, or cannot be written -------------------------------------------------------------------
def test_a_redis_put_back_to_an_older_snapshot_loses_nothing(shop: Path) -> None:
    """Mutations caught: `Store.write`, or `refresh`, comparing offsets in place of tokens."""
    with services.valkey(appendonly=False) as server:

        async def scenario(world: World) -> None:
            disturb(world.log)
            end = len(world.log.records[0])
            part = await world.located()
            for step in (20, 50, 80):
                await world.catch_up(part, step)
                world.redis.save()
                kept = (server.directory / "dump.rdb").read_bytes()
                await world.catch_up(part, min(step + 30, end))
                await asyncio.to_thread(server.stop)
                (server.directory / "dump.rdb").write_bytes(kept)
                await asyncio.to_thread(server.start)
                assert world.guard()[0] == step
                other = await world.located()
                if step == 50:  # another worker has come as far again before this one notices
                    await world.catch_up(other, part.offset)
                with pytest.raises(Lost):
                    await (world.catch_up(part, end) if step == 20 else part.idle())
                part = other
                assert held(part) == world.rows()
            await world.catch_up(part)
            assert_same(world.contents() | UNORDERED, expected | UNORDERED)

        expected, _ = undisturbed(server.url, "reference", shop)
        run(scenario, World(server.url, "crm", block=2), shop)


@contextlib.contextmanager
def asked(server: services.Valkey, command: str) -> Iterator[None]:
    """A connection that has sent this command and waits for the answer."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(command.encode() + b"\r\n")
        yield


@pytest.mark.parametrize("start", [services.valkey, services.redis_server])
def test_8_a_redis_that_cannot_write_for_now_is_waited_for(nobody: Path, start: Any) -> None:
    """Mutation caught: a word left out of what passes by itself."""
    with start() as server, contextlib.ExitStack() as busy:
        if server is None:
            pytest.skip("no redis-server on PATH")

        async def scenario(world: World) -> None:
            async def read_only() -> None:
                world.redis.replicaof("127.0.0.1", 1)

            async def cut_off() -> None:
                world.redis.config_set("replica-serve-stale-data", "no")

            async def full() -> None:
                world.redis.replicaof("no", "one")
                world.redis.config_set("maxmemory", 1)

            async def too_few() -> None:
                world.redis.config_set("maxmemory", 0)
                world.redis.config_set("min-replicas-to-write", 1)

            async def too_long() -> None:
                world.redis.config_set("min-replicas-to-write", 0)
                world.redis.config_set("busy-reply-threshold", 1)
                busy.enter_context(asked(server, 'EVAL "while true do end" 0'))
                await asyncio.sleep(0.1)

            async def repaired() -> None:
                world.redis.script_kill()
                assert world.rows() == {}

            world.log.buy("ann", T0)
            happens = dict(enumerate((read_only, cut_off, full, too_few, too_long, repaired)))
            store = world.struck(happens)
            await world.catch_up(await world.located(store=store))
            assert store.writes >= 6
            assert (world.guard(), world.customer("ann")["spend"]) == ((1, T0), "10.00")

        run(scenario, World(server.url, "crm"), nobody)


def answered(said: str) -> Any:
    """The error that redis-py makes of an answer."""
    parser: Any = _AsyncRESP2Parser
    return parser.parse_error(said)


@pytest.mark.parametrize(
    ("said", "then"),
    [
        ("MOVED 1 127.0.0.1:1", "Redis Cluster is not served"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "Redis Cluster is not served"),
        ("WRONGTYPE Operation against a key (crm:customer:*)", r"\(crm:customer:\*\): another program wrote"),
        ("NOAUTH Authentication required.", "mend user and password"),
        ("ERR unknown command 'HSETX', with args beginning with: 'crm:customer:ann' ", "'HSETX': Redis 6.2 or newer"),
    ],
)
def test_what_goes_on_being_refused_ends_with_its_way_out(said: str, then: str) -> None:
    """Mutation caught: an error that is known taken for one that is not, or for one that passes."""
    for error in (answered(said), piped(said), piped(said, again=True)):
        assert answers.waits(error) is None
        assert re.search(then, answers.ends(error))
        assert "ann" not in answers.ends(error)


def piped(said: str, key: str = "crm:customer:ann OOM", again: bool = False) -> Any:
    """The same as a pipeline of redis-py raises it; again: as a transaction does."""
    error, pipe = answered(said), Redis().pipeline()
    for _ in range(1 + again):
        pipe.annotate_exception(error, 1, ("HMGET", key, "token"))
    return error


@pytest.mark.parametrize("word", answers.PASSING)
def test_what_passes_is_known_by_its_word_also_inside_of_a_script_and_of_a_pipeline(word: str) -> None:
    """Mutations caught: the word looked for in the command that redis-py quotes; a command that is cut, not seen."""
    passing = answers.PASSING[word]
    for said in (f"{word} can't", f"ERR Error running script (call to f_0): @user_script:7: -{word} says Redis"):
        for error in (answered(said), piped(said), piped(said, again=True), piped(said, "k" * 300), piped(said, "(')")):
            assert answers.waits(error) == f"{word}: {passing}"
            assert answers.word(error) == word


def responds(deployment: Running) -> bool:
    """Whether Redis is not busy."""
    with contextlib.suppress(exceptions.ResponseError):
        return bool(deployment.redis.ping())
    return False


def test_a_script_that_runs_too_long_is_waited_for_where_nothing_is_to_be_done(
    kafka: str, nobody: Path, tmp_path: Path
) -> None:
    """Mutation caught: an answer within a pipeline not known by its word, which ended each worker of the deployment."""
    with services.valkey() as server, running(kafka, server.url, nobody, tmp_path) as deployment:
        worker = deployment.worker()
        deployment.bought("ann")
        until(lambda: deployment.orders("ann"), lambda: deployment.said)
        deployment.redis.config_set("busy-reply-threshold", 100)
        with asked(server, 'EVAL "while true do end" 0'):
            worker.says("partition 0 waits: BUSY: a script runs too long")
            deployment.redis.script_kill()
        until(lambda: responds(deployment), lambda: deployment.said)  # it is killed a moment later
        deployment.bought("bob")
        until(lambda: deployment.orders("bob"), lambda: deployment.said)
        assert worker.process.poll() is None
        assert "crm:" not in worker.said
        assert f"{deployment.name}:guard" not in worker.said


def test_a_log_that_is_away_is_waited_for(play: Play) -> None:
    """Mutation caught: errors of the log not taken for ones that pass."""

    async def scenario(world: World) -> None:
        world.log.put(b"ann", b"{", T0 * DAY)
        world.log.away = 2
        part = await world.located()
        world.log.away = 2
        await world.catch_up(part)
        assert (world.log.sought, world.log.rejects, world.guard()) == ([(0, 1)], [(0, "not_json")], (1, T0))

    play(scenario)


# ---- warnings --------------------------------------------------------------------------------------------------------
def test_settings_of_a_server_that_may_lose_data_are_told(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a worker's start, and where somebody sets them under a running one, once. Mutations caught: one that keeps
    snapshots warned of; one that does not say so, too; a worker that looks at its start alone, or says it each time."""
    told: list[str] = []
    monkeypatch.setattr(worker_module, "say", lambda line, **_: told.append(line))
    with services.valkey(appendonly=False) as server:

        async def scenario(world: World) -> None:
            assert await world.store.warnings() == []
            worker = watching(world)
            await worker.look()
            assert told == []
            world.redis.config_set("maxmemory-policy", "allkeys-lru")
            world.redis.config_set("save", "")
            evicts, forgets = await world.store.warnings()
            assert "maxmemory-policy allkeys-lru" in evicts
            assert "keeps nothing on disk" in forgets
            await worker.look()
            await worker.look()
            assert told == [evicts, forgets]
            world.redis.acl_setuser("default", enabled=True, commands=["+@all", "-config"])
            assert await world.store.warnings() == [evicts]

        run(scenario, World(server.url, "crm"), nobody)
