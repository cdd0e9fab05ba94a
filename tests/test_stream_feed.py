"""The feed: whoever copies everybody and then follows it has the members that Redis has, or is told to copy anew."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from deployment import Crash, Play, World, crash, run
from shops import T0

from demo import services
from streams import rebuild
from streams.crm.feed import CursorError, Feed, Gap, Place, _check
from streams.crm.reader import AsyncCustomerScores, CustomerScores
from streams.crm.reads import Reads
from streams.kept import Kept
from streams.partition import Partition


class Follower:
    """A copy of who is in which segment. It keeps what it has and its cursor together, as a program would on disk."""

    def __init__(self, url: str, prefix: str) -> None:
        self.at = url, prefix
        self.copy: dict[str, int] = {}
        self.cursor, self.copies = "", 0

    def follow(self, limit: int = 1_000) -> None:
        """Reads one page over a connection of its own, as after a crash."""
        with CustomerScores(*self.at) as scores:
            try:
                told = scores.changes(self.cursor, limit) if self.cursor else None
            except Gap:
                told = None
            if told is None:
                self.cursor, self.copies = scores.changes().cursor, self.copies + 1
                self.copy = {each.customer_id: each.segment_id for each in scores.everybody()}
                return
            for change in told.entries:
                if change.customer_id is not None and change.to_segment is not None:
                    self.copy[change.customer_id] = change.to_segment
                elif change.type == "erased":
                    self.copy.pop(change.customer_id or "", None)
            self.cursor = told.cursor

    def catch_up(self, limit: int = 1_000) -> None:
        """Reads on until nothing comes."""
        before = ""
        while self.cursor != before:
            before = self.cursor
            self.follow(limit)


def stands(world: World) -> dict[str, int]:
    return standing(world.redis, world.settings.prefix)


def standing(store: Any, prefix: str) -> dict[str, int]:
    """Who is in which segment, by the hashes."""
    keys = list(store.scan_iter(f"{prefix}:customer:*", count=1000))
    with store.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hget(key, "segment_id")
        found = pipe.execute()
    return {key.decode().partition(":customer:")[2]: int(n) for key, n in zip(keys, found, strict=True)}


def members(world: World, partitions: int) -> dict[str, int]:
    """The same, by the sets."""
    found = [(n, p) for n in range(7) for p in range(partitions)]
    return {name.decode(): n for n, p in found for name in world.redis.zrange(world.members(n, p), 0, -1)}


# ---- faults at random ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(2))
def test_a_copy_survives_whatever_happens(shop: Path, seed: int) -> None:
    """A follower that reads now and then, a page or a few entries of it, while customers come, move and are erased,
    workers die between writes, the stream is trimmed to little or nothing, everything is rebuilt twice and Redis comes
    back older: it ends with the members of Redis. So does one that sleeps till the end, and one that copied in the
    middle of a rebuild.

    Mutations caught: a rebuild that leaves the number alone; a jump passed over.
    """
    chance = random.Random(seed)
    with services.valkey(appendonly=False) as server:

        async def scenario(world: World) -> None:
            followers = [Follower(server.url, "crm") for _ in range(2)]
            for each in followers:
                each.follow()
            parts: dict[int, Partition] = {}
            day, kept = T0, b""

            async def folded() -> None:
                for p in range(2):
                    while p not in parts or parts[p].reached < len(world.log.records[p]):
                        with contextlib.suppress(Crash):
                            dies = world.struck({chance.randrange(9): crash}) if chance.random() < 0.3 else None
                            parts[p] = parts.get(p) or await world.located(p, dies)
                            await world.catch_up(parts[p])
                            continue
                        parts.pop(p, None)

            for step in range(60):
                for _ in range(chance.randrange(6)):
                    who = chance.choice(["h", "n"]) + str(chance.randrange(60))
                    if chance.random() < 0.1:
                        world.log.erase(who, day)
                    else:
                        world.log.buy(who, day + chance.random(), str(chance.randrange(1, 90)))
                if chance.random() < 0.3:
                    day += chance.randrange(1, 20)
                    world.log.tick(day)
                await folded()
                fault = chance.random()
                if step in (20, 59):
                    await rebuild.rebuild(world.store, world.topic, Kept(shop), lambda _: None)
                    parts.clear()
                    parts[0] = await world.located(0)
                    await world.catch_up(parts[0], chance.randrange(len(world.log.records[0])))
                    followers.append(Follower(server.url, "crm"))  # copies what is half folded
                    followers[-1].follow()
                    await folded()
                elif step == 30:
                    await world.publish(shop)
                elif fault < 0.15:
                    world.redis.xtrim(world.store.keys.changes(chance.randrange(2)), maxlen=chance.randrange(3))
                elif fault < 0.3:
                    parts.clear()
                elif fault < 0.35:
                    world.redis.save()
                    kept = (server.directory / "dump.rdb").read_bytes()
                elif fault < 0.4 and kept:
                    await asyncio.to_thread(server.stop)
                    (server.directory / "dump.rdb").write_bytes(kept)
                    await asyncio.to_thread(server.start)
                    parts.clear()
                    await folded()
                if chance.random() < 0.4:
                    followers[0].follow(chance.choice([1, 3, 1_000]))
            expected = stands(world)
            assert expected == members(world, 2)
            for each in followers:
                each.catch_up(7)
                assert each.copy == expected
            assert followers[0].copies > 2

        run(scenario, World(server.url, "crm", partitions=2, block=4), shop)


# ---- each gap by itself ----------------------------------------------------------------------------------------------
def _lengthen(world: World, **fields: str) -> None:
    entry = {"type": "moved", "customer": "n0", "from": "3", "to": "2", "at": "", "source": ""} | fields
    world.redis.xadd(world.store.keys.changes(0), entry)


GAPS: dict[str, Callable[[World], Any]] = {
    "trimmed to nothing": lambda world: world.redis.xtrim(world.store.keys.changes(0), maxlen=0),
    "the stream is gone": lambda world: world.redis.delete(world.store.keys.changes(0)),
    "one in between is gone": lambda world: world.redis.xdel(
        world.store.keys.changes(0), world.redis.xrange(world.store.keys.changes(0))[2][0]
    ),
    "a number without an entry, as behind a rebuild": lambda world: world.redis.hincrby(
        world.store.keys.freshness(0), "feed", 1
    ),
    "Redis came back older": lambda world: (
        world.redis.xtrim(world.store.keys.changes(0), maxlen=0),
        world.redis.hset(world.store.keys.freshness(0), "feed", 0),
    ),
    "Redis came back older, and others were announced": lambda world: _lengthen(world, n="2"),
    "Redis came back older, others were announced, and those were trimmed": lambda world: (
        world.redis.xtrim(world.store.keys.changes(0), maxlen=0),
        world.redis.hset(world.store.keys.freshness(0), mapping={"feed": 4, "feed_id": "99-1"}),
    ),
    "a program of before went on": lambda world: _lengthen(world),
}


@pytest.mark.parametrize("gap", GAPS)
def test_each_gap_is_told(play: Play, gap: str) -> None:
    """Mutations caught: an empty stream taken for its end; only jumps ahead, or only those back, looked for; a tail
    that is short of the number given last; an entry without a number passed over."""

    async def scenario(world: World) -> None:
        part = await world.located()
        with CustomerScores(world.settings.redis_url, world.settings.prefix) as scores:
            world.log.buy("n0", T0)
            await world.catch_up(part)
            cursor = scores.changes().cursor
            for n in range(1, 4):
                world.log.buy(f"n{n}", T0)
            await world.catch_up(part)
            told = scores.changes(cursor)
            assert [(c.type, c.customer_id, c.number, c.partition) for c in told.entries] == [
                ("new", f"n{n}", n + 1, 0) for n in range(1, 4)
            ]
            assert scores.changes(told.cursor) == replace(told, entries=[])
            GAPS[gap](world)
            with pytest.raises(Gap, match=r"^partition 0: behind number \d"):
                _ = scores.changes(scores.changes(cursor).cursor)
            now = scores.changes()
            assert now.entries == []
            assert scores.changes(now.cursor) == now
            world.log.buy("n9", T0)
            await world.catch_up(await world.located(store=world.struck({})))
            assert [c.customer_id for c in scores.changes(now.cursor).entries] == ["n9"]

    play(scenario)


@pytest.mark.parametrize(
    ("given", "gone"),
    [(("7", "5-1"), False), (("7", "9-0"), True), (("7", "5-2"), True), (("6", "4-0"), True), ((None, None), True)],
)
def test_another_entry_of_the_same_number_is_a_gap(given: tuple[str | None, str | None], gone: bool) -> None:
    """Redis came back older and went on as far. Mutation caught: the number asked alone."""
    with pytest.raises(Gap) if gone else contextlib.nullcontext():
        _check(0, Place("5-1", 7), given, [], 10)


def test_an_entry_announced_while_now_is_asked_for_is_on_one_side_of_it() -> None:
    """Mutations caught: the number read once, before the last entry or behind it; what a program of before left."""
    reads = Reads("crm")
    steps = Feed(reads).changes(None, 10)
    next(steps)
    commands = steps.send([{"partitions": "1", "partitioner": "crc32", "life": "3f2a91bc"}])
    assert [command[0] for command in commands] == ["HMGET", "XREVRANGE", "HMGET"]
    assert steps.send([["7", "7-0"], [("8-0", {"n": "8"})], ["8", "8-0"]]) == commands
    with pytest.raises(StopIteration) as end:
        steps.send([["8", "8-0"], [("10-0", {})], ["8", "8-0"]])
    assert end.value.value.cursor == "3f2a91bc.10-0:8"


def test_a_deployment_that_is_published_anew_is_a_gap(play: Play, shop: Path) -> None:
    """Also to a reader that knew the one before, of another number of partitions, and before anything was announced.
    Mutations caught: what tells one from another left out of the cursor; partitions asked for once."""

    async def scenario(world: World) -> None:
        with CustomerScores(world.settings.redis_url, world.settings.prefix) as scores:
            cursor = scores.changes().cursor
            assert len(list(scores.everybody())) == 60
            world.empty()
            more = World(world.settings.redis_url, world.settings.prefix, partitions=5)
            await more.publish(shop)
            with pytest.raises(Gap, match=r"^the deployment was published anew$"):
                scores.changes(cursor)
            assert scores.changes().cursor.count("0-0:0") == 5
            assert {each.customer_id: each.segment_id for each in scores.everybody()} == members(more, 5)
            assert sum(each.customers for each in scores.segments()) == 60
            assert len(list(filter(None, scores.get_many([f"h{n}" for n in range(60)])))) == 60
            await more.close()

    play(scenario, shop, partitions=2)


def test_types_and_fields_of_changes_and_a_publish_among_them(play: Play, shop: Path) -> None:
    """Mutations caught: a learned day announced as a model; `model` left out, or told behind the scores that it made,
    or by each block; an erasure without its segment."""

    async def scenario(world: World) -> None:
        first = world.version
        part = await world.located()
        async with AsyncCustomerScores(world.settings.redis_url, world.settings.prefix) as scores:
            cursor = (await scores.changes()).cursor
            world.log.buy("ann", T0 + 0.5)
            world.log.erase("ann", T0 + 1)
            await world.catch_up(part)
            await world.publish(shop)
            part = await world.located()
            world.log.tick(T0 + 40)
            await world.catch_up(part)
            assert await world.learn()
            world.log.tick(T0 + 41)
            await world.catch_up(part)
            assert part.serving.version != world.version
            told = (await scores.changes(cursor)).entries
        assert [each.number for each in told] == [*range(1, len(told) + 1)]
        new, erased, model, *moved = told
        assert (new.type, new.customer_id, new.from_segment, new.source) == ("new", "ann", None, "t:0:0")
        assert new.at == datetime.fromtimestamp((T0 + 0.5) * 86_400, UTC)
        assert (erased.type, erased.customer_id, erased.to_segment) == ("erased", "ann", None)
        assert erased.from_segment == new.to_segment
        assert (model.type, model.customer_id, model.model_version) == ("model", None, world.version)
        assert (model.from_segment, model.to_segment, model.source) == (None, None, None)
        assert first != world.version
        assert {each.type for each in moved} == {"moved"}
        assert len(moved) > 2

    play(scenario, shop, block=2)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "0",
        "0-0",
        "0-0:1",
        ".",
        "LIFE.",
        "LIFE.0-0:",
        "LIFE.1-1:1,",
        "LIFE.1-1:1,2-2:2",
        f"LIFE.{'9' * 40}-0:1",
        "LIFE.٣-0:1",
        "ü.1-1:1",
    ],
)
def test_what_is_no_cursor_of_this_deployment_is_refused(play: Play, cursor: str) -> None:
    async def scenario(world: World) -> None:
        with (
            CustomerScores(world.settings.redis_url, world.settings.prefix) as scores,
            pytest.raises(CursorError, match=r"is no cursor: take|^the cursor is of 2 partitions, and there are 1$"),
        ):
            scores.changes(cursor.replace("LIFE", world.deployment.life))

    play(scenario)


# ---- everybody -------------------------------------------------------------------------------------------------------
def test_everybody_is_read_though_they_move_meanwhile(play: Play, shop: Path) -> None:
    """Mutations caught: who moved from a set that was not read yet to one that was; who was erased meanwhile."""

    async def scenario(world: World) -> None:
        with CustomerScores(world.settings.redis_url, world.settings.prefix) as scores:
            assert {each.customer_id: each.segment_id for each in scores.everybody()} == stands(world)
            feed, part = Feed(scores.reads), await world.located()
            steps, moved = feed.names(0), False
            try:
                commands = next(steps)
                while True:
                    scan = commands[0][0] == "ZSCAN"
                    if scan and not moved:  # everybody stands where they were not looked for, and h1 is gone
                        moved = True
                        with world.redis.pipeline() as pipe:
                            for command in commands:
                                pipe.delete(command[1])
                            pipe.execute()
                        world.log.erase("h1", T0 + 1)
                        world.log.tick(T0 + 300)
                        await world.catch_up(part)
                        answers: list[Any] = [(0, []) for _ in commands]
                    else:
                        with scores.redis.pipeline(transaction=False) as pipe:
                            for command in commands:
                                pipe.execute_command(*command)
                            answers = pipe.execute()
                    commands = steps.send(answers)
            except StopIteration as end:
                found = end.value
        told = {fields["customer"] for fields in world.changes()}
        assert set(found) == told - {"h1"}
        assert len(found) > 20

    play(scenario, shop)
