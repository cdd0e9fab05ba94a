"""Answers that are read together: each in its place, none of another's, and what that takes of redis-py."""

import asyncio
import inspect
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from proxy import Fault, Proxy
from redis import exceptions
from redis._parsers import hiredis
from redis.asyncio.connection import Connection, ConnectionPool

from streams import wire
from streams.settings import Settings
from streams.store import connect

HOOKS = {
    Connection: ["send_packed_command", "disconnect"],
    ConnectionPool: ["get_connection", "release"],
    hiredis._AsyncHiredisParser: ["read_from_socket", "read_response"],
}


@pytest.fixture
def through(servers: str) -> Iterator[Proxy]:
    with Proxy(urlsplit(servers).port or 0) as proxy:
        yield proxy


@pytest.fixture
def key(servers: str) -> Iterator[str]:
    name = f"wire-{secrets.token_hex(4)}"
    with redis.Redis.from_url(servers) as store:
        store.hset(name, mapping={"n": "1", "m": "2"})
        yield name
        store.delete(name)


def client(proxy: Proxy, patience: float = 3.0) -> Any:
    given = Settings(redis_url=f"redis://127.0.0.1:{proxy.port}/0")
    return connect(given, socket_timeout=patience)


def test_each_answer_stands_in_its_place(through: Proxy, key: str) -> None:
    """Also an error, and thousands that come in many parts."""

    async def scenario() -> None:
        async with client(through) as store:
            asked = wire.pack(("HGETALL", key), ("GET", key), ("HGET", key, "n"))
            whole, error, one = await wire.exchange(store, asked, 3)
            assert (whole, one) == ([b"n", b"1", b"m", b"2"], b"1")
            assert isinstance(error, exceptions.ResponseError)
            assert str(error).startswith("WRONGTYPE")
            count = 20_000
            said = [str(i).encode() for i in range(count)]
            assert await wire.exchange(store, wire.pack(*(("ECHO", each) for each in said)), count) == said

    asyncio.run(scenario())


def test_an_answer_that_comes_too_late_is_nobody_elses(through: Proxy) -> None:
    """Nor is one whose caller was cancelled. Mutation caught: such a connection was used again."""

    async def scenario() -> None:
        async with client(through, patience=0.2) as store:
            assert await wire.exchange(store, wire.pack(("ECHO", "first")), 1) == [b"first"]
            through.strike(Fault.SILENT)
            with pytest.raises(exceptions.TimeoutError, match="did not answer in time"):
                await wire.exchange(store, wire.pack(("ECHO", "late")), 1)
            through.strike(Fault.PASS)
            assert await wire.exchange(store, wire.pack(("ECHO", "second")), 1) == [b"second"]
            through.strike(Fault.SILENT)
            task = asyncio.create_task(wire.exchange(store, wire.pack(("ECHO", "cancelled")), 1))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            through.strike(Fault.PASS)
            assert await wire.exchange(store, wire.pack(("ECHO", "third")), 1) == [b"third"]
            through.strike(Fault.CUT_REPLY, 1)
            with pytest.raises(exceptions.ConnectionError):
                await wire.exchange(store, wire.pack(("ECHO", "cut")), 1)
            assert await wire.exchange(store, wire.pack(("ECHO", "fourth")), 1) == [b"fourth"]

    asyncio.run(scenario())


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in HOOKS.items() for name in names])
def test_what_is_taken_of_redis_py_is_where_it_was(owner: type, name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(owner, name)), "read redis-py's change log before this upgrade"
    assert hiredis.NOT_ENOUGH_DATA is not None
