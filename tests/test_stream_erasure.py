"""Tombstones: a piece of a log with many of them is folded at once, and leaves what one after another would leave."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shops
from deployment import UNSURE, Crash, Play, World, assert_agree, crash, run
from shops import T0

from models.rows import DAY, load_rows, packed_rows
from streams import rebuild
from streams.kept import Kept

PEOPLE = [*(f"h{n}" for n in range(6)), *(f"n{n}" for n in range(6))]  # known to the history, and not


def dense(world: World, seed: int, events: int = 150) -> None:
    """A third of it tombstones, of known and unknown customers, between purchases, views, copies, garbage, days."""
    rng, now = random.Random(seed), float(T0)
    for _ in range(events):
        who, kind = rng.choice(PEOPLE), rng.random()
        if kind < 0.33:
            world.log.erase(who, now)
        elif kind < 0.65:
            world.log.buy(who, max(now - rng.choice((0, 0, 0, 3, 40)), 0), f"{rng.randint(1, 9000) / 100:.2f}")
        elif kind < 0.8:
            world.log.event(rng.choice(("view", "cart", "return")), who, now, None if kind < 0.75 else "1.00")
        elif kind < 0.9 and (good := [r for r in world.log.records[0] if r.value and r.key]):
            copied = rng.choice(good)
            world.log.put(copied.key, copied.value, int(now * DAY))
        else:
            world.log.put(who.encode(), b"{", int(now * DAY))
        now += rng.choice((0, 0, 0, 0.01, 0.2, 9.3))
    world.log.tick(int(now) + 1)


async def one_by_one(world: World) -> None:
    """The plain way: each tombstone is a chunk of its own."""
    part, records = await world.located(), world.log.records[0]
    edges = [n for n in range(1, len(records)) if records[n].value is None or records[n - 1].value is None]
    for end in [*edges, len(records)]:
        await world.catch_up(part, end)


def lives(changes: list[dict[str, str]]) -> dict[str, list[tuple[str, ...]]]:
    """Of each customer: from where to where a life went, and each erasure; what lies between depends on the chunks."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for change in changes:
        mine = found.setdefault(change["customer"], [])
        if change["to"] == "erased":
            mine.append(tuple(change.values()))
        elif mine and len(mine[-1]) == 2:
            mine[-1] = (mine[-1][0], change["to"])
        else:
            mine.append((change["from"], change["to"]))
    return {name: [each for each in mine if len(each) > 2 or each[0] != each[1]] for name, mine in found.items()}


def left(world: World) -> tuple[dict[str, Any], dict[str, list[tuple[str, ...]]]]:
    """All that stands in Redis, and the lives that were announced, but for the segment before: which ones a customer
    passes through hangs on how many events are scored at once."""
    hashes = world.redis.hgetall(world.store.keys.erased(0))
    mine = {name: hashes.get(world.deployment.erasure(name).encode()) for name in PEOPLE}
    contents = world.contents() | {"changes:0": None, "freshness:0": None, "erased:0": mine}
    for key in (key for key in contents if key.startswith("customer:")):
        del contents[key][b"previous_segment"], contents[key][b"segment_since"]
    rows = load_rows([*contents["state:0"].values()])
    rows["segment_before"] = rows["segment_since"] = 0
    contents["state:0"] = dict(zip(contents["state:0"], packed_rows(rows), strict=True))
    return contents, lives(world.changes())


@pytest.mark.parametrize("seed", range(3))
def test_a_piece_with_tombstones_leaves_what_one_after_another_leaves(play: Play, shop: Path, seed: int) -> None:
    """Mutations caught: a life that takes the row of the one before; the examples of a life that ended left out, or
    written behind those of the next; a set left after the next was come to; a customer who came back left out of the
    last block; the last tombstone of a customer not the one that is kept; a farewell before the life's last change.
    """

    async def plain(world: World) -> None:
        dense(world, seed)
        await one_by_one(world)
        found.append(left(world))

    async def at_once(world: World) -> None:
        dense(world, seed)
        part = await world.located()
        await world.catch_up(part)
        found.append(left(world))
        assert_agree(world, part)
        assert sorted(part.table.free) == [row for row, name in enumerate(part.table.names) if not name]

    found: list[Any] = []
    play(plain, shop)
    for block in (500, 7, 1):
        play(at_once, shop, block=block)
        assert found[-1] == found[0]


def test_a_crash_before_any_write_of_a_piece_with_tombstones_repeats_it_whole(
    redis_url: str, store_prefix: str, tmp_path: Path
) -> None:
    """Mutations caught: an erasure in another block than the last; one who came back written before the last block."""

    async def scenario(world: World) -> None:
        dense(world, seed=5, events=30)
        store = world.struck({at: crash})
        try:
            await world.catch_up(await world.located(store=store))
            writes.append(store.writes)
        except Crash:
            await world.catch_up(await world.located())
        contents, told = left(world)
        counts = contents.pop("rejected:0")
        found.append((contents, told, {k: n for k, n in counts.items() if k not in UNSURE}))

    found: list[Any] = []
    writes: list[int] = []
    shop = shops.shop(tmp_path, customers=12)
    for at in itertools.chain([-1], itertools.takewhile(lambda at: at < writes[0], itertools.count())):
        run(scenario, World(redis_url, f"{store_prefix}{at}", block=2), shop)
    assert len(found) > 20
    assert [each for each in found if each != found[0]] == []


def test_each_life_is_announced_and_each_erasure_of_somebody_known(play: Play) -> None:
    """Mutations caught: an unknown customer's erasure announced; `at` or `source` of the piece's last event; the last
    life announced before the erasure of the one before."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        await world.catch_up(part := await world.located())
        world.log.erase("bob", T0 + 1)
        world.log.erase("ann", T0 + 1.5)
        world.log.buy("ann", T0 + 2)
        world.log.erase("ann", T0 + 3)
        world.log.erase("ann", T0 + 3)
        world.log.buy("ann", T0 + 3.5)
        await world.catch_up(part)
        segment = world.customer("ann")["segment_id"]
        told = [tuple(change.values()) for change in world.changes()]
        assert told == [
            ("new", "ann", "", segment, "2023-12-09T00:00:00Z", "t:0:0"),
            ("erased", "ann", segment, "erased", "2023-12-10T12:00:00Z", "t:0:2"),
            ("new", "ann", "", segment, "2023-12-11T00:00:00Z", "t:0:3"),
            ("erased", "ann", segment, "erased", "2023-12-12T00:00:00Z", "t:0:4"),
            ("new", "ann", "", segment, "2023-12-12T12:00:00Z", "t:0:6"),
        ]
        kept = await world.store.erased(0)
        assert kept[world.deployment.erasure("ann")] == (5, (T0 + 3) * 86_400_000)
        assert kept[world.deployment.erasure("bob")] == (2 - 1, (T0 + 1) * 86_400_000)

    play(scenario)


def test_what_an_earlier_version_kept_of_a_tombstone_is_read(play: Play) -> None:
    """Mutation caught: a value of one number not read. A record without a time leaves one, too."""

    async def scenario(world: World) -> None:
        world.redis.hset(world.store.keys.erased(0), "of before", "17")
        world.log.buy("ann", T0)
        world.log.put(b"ann", None, -1000)
        await world.catch_up(await world.located())
        assert await world.store.erased(0) == {"of before": (17, None), world.deployment.erasure("ann"): (1, None)}
        assert [change["at"] for change in world.changes()] == ["2023-12-09T00:00:00Z", ""]

    play(scenario)


def test_a_rebuild_does_not_announce_an_erasure_again(play: Play, shop: Path) -> None:
    """Mutation caught: `quiet_until` not asked for erasures."""

    async def scenario(world: World) -> None:
        world.log.buy("n0", T0)
        world.log.erase("n0", T0)
        world.log.erase("h0", T0)
        await world.catch_up(await world.located())
        before = world.changes()
        assert [change["to"] for change in before][-2:] == ["erased", "erased"]
        await rebuild.rebuild(world.store, world.topic, Kept(shop), lambda _: None)
        world.log.erase("h1", T0)
        await world.catch_up(await world.located())
        assert world.changes()[:-1] == before
        assert (world.changes()[-1]["customer"], world.changes()[-1]["to"]) == ("h1", "erased")

    play(scenario, shop)


def test_one_customer_who_is_erased_all_the_time_takes_a_write_for_each_full_piece(play: Play) -> None:
    """Mutation caught: a write for each tombstone; and a life for each row: rows are given back after each piece."""

    async def scenario(world: World) -> None:
        for n in range(3_000):
            world.log.buy("ann", T0, f"{n + 1}.00")
            world.log.erase("ann", T0)
        store = world.struck({})
        part = await world.located(store=store)
        await world.catch_up(part)
        assert store.writes == 6
        assert (world.rows(), len(part.table)) == ({}, 501)
        assert np.array_equal(np.unique(part.table.free), np.arange(501))
        assert len(world.changes()) == 6_000

    play(scenario, block=500)


def test_the_rows_of_many_erased_customers_are_taken_again(play: Play) -> None:
    """Mutation caught: rows not given back at a piece's end."""

    async def scenario(world: World) -> None:
        part = await world.located()
        for n in range(50):
            world.log.buy(f"n{n}", T0)
            world.log.erase(f"n{n - 1}", T0)
            await world.catch_up(part)
        assert len(part.table) == 2

    play(scenario)


def test_a_rebuild_that_breaks_off_between_two_tombstones_brings_nobody_back(play: Play, shop: Path) -> None:
    """Mutation caught: the first of two tombstones, met again, kept in place of the last."""

    async def scenario(world: World) -> None:
        world.log.erase("ann", T0)
        world.log.buy("ann", T0)
        world.log.erase("ann", T0)
        await world.catch_up(await world.located())
        last = world.redis.hgetall(world.store.keys.erased(0))
        await rebuild.rebuild(world.store, world.topic, Kept(shop), lambda _: None)
        await world.catch_up(await world.located(), 1)
        assert world.redis.hgetall(world.store.keys.erased(0)) == last
        await world.catch_up(await world.located(), 2)
        assert world.customer("ann") == {}

    play(scenario, shop)
