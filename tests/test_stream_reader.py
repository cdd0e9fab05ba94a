"""`CustomerScores` and `AsyncCustomerScores`: a CRM's Python reads what stands in Redis, typed, and how fresh it is."""

import ast
import asyncio
import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from deployment import Play, World
from hypothesis import given, settings
from hypothesis import strategies as st
from shops import T0

from models.scores import FIELDS
from streams.crm import reader
from streams.crm.reader import AsyncCustomerScores, CustomerScores
from streams.crm.records import ContractError, Customer, Member
from streams.freshness import Freshness
from streams.partitioner import partitioner

Reader = Callable[..., Any]  # (url, prefix, what to read, its arguments...) -> what was read


def waits(url: str, prefix: str, read: str, *args: Any, **more: Any) -> Any:
    with CustomerScores(url, prefix) as scores:
        return getattr(scores, read)(*args, **more)


def awaited(url: str, prefix: str, read: str, *args: Any, **more: Any) -> Any:
    async def ask() -> Any:
        async with AsyncCustomerScores(url, prefix) as scores:
            return await getattr(scores, read)(*args, **more)

    with asyncio.Runner() as loop:  # of its own: a scenario runs in one
        return loop.run(ask())


@pytest.fixture(params=[waits, awaited])
def read(request: pytest.FixtureRequest) -> Reader:
    found: Reader = request.param
    return found


async def ask(read: Reader, world: World, *args: Any, **more: Any) -> Any:
    return await asyncio.to_thread(read, world.settings.redis_url, world.settings.prefix, *args, **more)


def test_every_customer_is_read_as_it_stands(play: Play, shop: Path, read: Reader) -> None:
    """Field by field, types beside texts; in the order asked for, None for nobody. Mutations caught: a field left out
    of the record; the freshness of another partition."""

    async def scenario(world: World) -> None:
        parts = [await world.located(p) for p in range(3)]
        for n in range(12):
            world.log.buy(f"new{n}", T0 + n / 24)
        for part in parts:
            await world.catch_up(part)
        behind = [Freshness(p, 1000.0 + p, 90.5 + p, p, "w:1") for p in range(3)]
        await world.store.freshen("w:1", behind)
        names = [f"h{n}" for n in range(60)] + ["nobody"] + [f"new{n}" for n in range(12)]
        found = await ask(read, world, "get_many", names)
        assert [each and each.customer_id for each in found] == [None if n == "nobody" else n for n in names]
        for customer in filter(None, found):
            fields = world.customer(customer.customer_id)
            assert {*Customer.__dataclass_fields__} == {"customer_id", *FIELDS, "as_of", "lag_seconds", "stale"}
            assert {name: text(name, getattr(customer, name)) for name in FIELDS} == fields
            home = partitioner("murmur2", 3)(customer.customer_id)
            assert (customer.as_of, customer.lag_seconds) == (datetime.fromtimestamp(1000 + home, UTC), 90.5 + home)
            assert customer.stale.startswith(f"partition {home}: counted up to 1970-01-01T00:16:4{home}Z")
        one = await ask(read, world, "get", "new3")
        assert one == found[names.index("new3")]
        assert isinstance(one.spend, Decimal)
        assert isinstance(one.segment_since, date)
        assert await ask(read, world, "get", "nobody") is None
        home = partitioner("murmur2", 3)("new3")
        world.redis.hset(world.store.keys.freshness(home), "at", world.redis.time()[0] - 99)
        unheld = await ask(read, world, "get", "new3")
        assert (unheld.as_of, unheld.lag_seconds) == (one.as_of, None)
        assert unheld.stale.startswith(f"partition {home}: no worker holds it since")

    play(scenario, shop, partitions=3)


def test_fields_that_came_last_are_none_until_they_are_written(play: Play, shop: Path, read: Reader) -> None:
    """After an upgrade, before everybody is written anew; whatever else is missing is damage."""

    async def scenario(world: World) -> None:
        key = world.store.keys.customer("h1")
        world.redis.hdel(key, "average_order_value", "total_value")
        found = await ask(read, world, "get", "h1")
        assert (found.average_order_value, found.total_value) == (None, None)
        world.redis.hdel(key, "customer_value")
        with pytest.raises(ContractError, match="customer_value"):
            await ask(read, world, "get", "h1")

    play(scenario, shop)


def text(name: str, value: Any) -> str:
    """As the contract writes it."""
    if isinstance(value, float):
        return f"{value:.1f}" if name == "mean_days_between_orders" else f"{value:.4f}"
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, list):
        return str(value).replace("'", '"').replace(" ", "")
    return str(value)


def test_segments_and_their_members(play: Play, shop: Path, read: Reader) -> None:
    async def scenario(world: World) -> None:
        segments = await ask(read, world, "segments")
        assert [each.number for each in segments] == [*range(7)]
        assert sum(each.customers for each in segments) == 60
        assert all(each.definition and each.name for each in segments)
        for each in segments:
            found, after = [], None
            while True:
                page = await ask(read, world, "members", each.number, limit=4, after=after)
                assert len(page.members) <= 4
                found += page.members
                if (after := page.after) is None:
                    break
            assert len(found) == each.customers
            assert [m.value for m in found] == sorted((m.value for m in found), reverse=True)
            for member in found:
                fields = world.customer(member.customer_id)
                assert (fields["segment"], float(fields["customer_value"])) == (each.name, member.value)

    play(scenario, shop, partitions=3)


def test_where_nobody_has_published_or_another_contract_stands_it_is_said(play: Play, shop: Path, read: Reader) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(ContractError, match=r":partitions is missing: publish, or start a worker$"):
            await ask(lambda url, _, *args: read(url, "no-such-prefix", *args), world, "get", "h1")
        assert (
            await ask(read, world, "get", "h1")
        ).stale == "partition 0: no worker has held it since the publish or rebuild"
        for change in ({"spend": "much"}, {"next_offers": "[1]"}, {"segment_since": ""}):
            world.redis.hset(world.store.keys.customer("h1"), mapping=change)
            with pytest.raises(ContractError, match=r"^customer 'h1': not a hash of this contract: "):
                await ask(read, world, "get", "h1")
            world.redis.hset(world.store.keys.customer("h1"), mapping=world.customer("h2"))
        world.redis.hset(world.store.keys.customer("h1"), "of_a_newer_program", "7")
        assert (await ask(read, world, "get", "h1")).customer_id == "h1"

    play(scenario, shop)


@pytest.fixture(scope="module")
def sets(request: pytest.FixtureRequest) -> Iterator[tuple[Any, str, str]]:
    url = request.getfixturevalue("valkey").url
    prefix = f"reader-{secrets.token_hex(4)}"
    with redis.Redis.from_url(url, decode_responses=True) as store:
        store.hset(f"{prefix}:partitions", mapping={"partitions": "3", "partitioner": "crc32"})
        yield store, url, prefix


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4)
values = st.sampled_from([0.0, 0.0, 1.5, 99.99, 1e9]) | st.floats(0, 1e6).map(lambda x: round(x, 2))
people = st.dictionaries(names, st.tuples(st.integers(0, 2), values), max_size=25)


@settings(max_examples=60, deadline=None)
@given(people, st.dictionaries(names, st.tuples(st.integers(0, 2), values), max_size=6), st.integers(1, 7), st.data())
def test_whose_value_does_not_change_is_seen_once(
    sets: tuple[Any, str, str], staying: Any, moving: Any, limit: int, data: st.DataObject
) -> None:
    """While others come, go and change between the pages. Mutations caught: pages by rank; ties by the set's own order
    alone; a page cut before the ties of its cursor are passed."""
    store, url, prefix = sets
    moving = {name: at for name, at in moving.items() if name not in staying}
    for p in range(3):
        store.delete(f"{prefix}:members:0:{p}")
    for name, (p, value) in (staying | moving).items():
        store.zadd(f"{prefix}:members:0:{p}", {name: value})
    seen: list[Member] = []
    with CustomerScores(url, prefix) as scores:
        after = None
        for _ in range(len(staying) + 3 * len(moving) + 2):
            page = scores.members(0, limit=limit, after=after)
            assert [(m.value, m.customer_id) for m in page.members] == sorted(
                ((m.value, m.customer_id) for m in page.members), reverse=True
            )
            seen += page.members
            for name, (p, _) in moving.items():
                new = data.draw(values | st.none())
                if new is None:
                    store.zrem(f"{prefix}:members:0:{p}", name)
                else:
                    store.zadd(f"{prefix}:members:0:{p}", {name: new})
            if (after := page.after) is None:
                break
    stayed = [m.customer_id for m in seen if m.customer_id in staying]
    assert sorted(stayed) == sorted(staying)


def test_a_page_among_many_of_one_value_is_no_dearer(sets: tuple[Any, str, str]) -> None:
    """Mutation caught: all who have the value of the last one seen read again for each page."""
    store, url, prefix = sets
    store.zadd(f"{prefix}:members:5:0", {f"c{n:05}": 0.0 for n in range(20_000)})
    with CustomerScores(url, prefix) as scores:
        steps, told = scores.reads.members(5, 10, Member("c10000", 0.0)), 0
        try:
            commands = next(steps)
            while True:
                answers = [store.execute_command(*command) for command in commands]
                told += sum(len(answer) for answer in answers if isinstance(answer, list))
                commands = steps.send(answers)
        except StopIteration as end:
            page = end.value
    assert [each.customer_id for each in page.members] == [f"c{n:05}" for n in range(9_999, 9_989, -1)]
    assert told < 100


def test_both_readers_read_the_same_and_say_the_same() -> None:
    """Every public method of the one is one of the other, with the same arguments."""
    tree = ast.parse(Path(reader.__file__).read_text())
    found = {
        node.name: {
            each.name: ast.dump(each.args)
            for each in node.body
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not re.match("_|a?close", each.name)
        }
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    assert found["CustomerScores"] == found["AsyncCustomerScores"]


def test_a_redis_that_is_away_is_an_error_in_time(read: Reader) -> None:
    with pytest.raises(redis.RedisError):
        read("redis://127.0.0.1:1/0", "crm", "get", "h1")
