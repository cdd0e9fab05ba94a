"""How fresh scores are stands in Redis: a worker that stops shows, and so does one that is behind."""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from deployment import Play, World
from running import Running, running, until
from shops import T0

from demo import services
from streams import rebuild
from streams.freshness import LATE, Freshness, stale
from streams.kept import Kept


def found(run: Running, partition: int = 0) -> Freshness | None:
    return Freshness.read(partition, run.redis.hgetall(f"{run.name}:freshness:{partition}"))


def why(run: Running, partition: int = 0) -> str | None:
    """What a reader makes of it."""
    return stale(partition, found(run, partition), run.redis.time()[0])


def test_a_stopped_worker_shows_within_30_s(kafka: str, valkey: services.Valkey, shop: Path, tmp_path: Path) -> None:
    """Killed, so that it can say nothing. Mutation caught: as_of or the beat taken from a clock of the reader's."""
    with running(kafka, valkey.url, shop, tmp_path, partitions=2) as run:
        assert why(run) == "partition 0: no worker has held it since the publish or rebuild"
        worker = run.worker()
        until(lambda: why(run, 0) is None and why(run, 1) is None, lambda: run.said)
        seen: Any = found(run)
        assert (seen.lag_seconds, seen.lag_records) == (0, 0)
        assert abs(seen.as_of - time.time()) < LATE
        assert seen.owner.endswith(f":{worker.process.pid}")
        assert run.call("status").splitlines()[5].endswith(f"  {seen.owner}")
        run.bought("ann")
        until(lambda: found(run).as_of > seen.as_of, lambda: run.said)  # type: ignore[union-attr]  # was there
        *_, shown = run.call("show", "ann").splitlines()
        assert re.fullmatch(r"as of {20}20\S+Z, \d+\.\d s behind", shown)
        os.kill(worker.process.pid, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: why(run) is not None, lambda: run.said)
        assert time.monotonic() - killed < 30
        assert str(why(run)).startswith("partition 0: no worker holds it since 20")
        *_, shown = run.call("show", "ann").splitlines()
        assert shown.split(", ", 2)[1:] == ["- s behind", why(run, run.home("ann"))]
        told = run.call("status", code=1)
        assert told.count("not well: partition ") == 2
        assert f"{seen.owner}\n" not in told
        run.worker()
        until(lambda: why(run) is None, lambda: run.said)


def test_a_worker_of_an_older_deployment_tells_where_customers_are(
    kafka: str, valkey: services.Valkey, shop: Path, tmp_path: Path
) -> None:
    with running(kafka, valkey.url, shop, tmp_path, partitions=3) as run:
        told = run.redis.hgetall(f"{run.name}:partitions")
        assert {**told, "life": ""} == {"partitions": "3", "partitioner": "murmur2", "life": ""}
        assert len(told["life"]) == 8
        run.redis.delete(f"{run.name}:partitions")
        run.worker().says("holds partitions")
        assert run.redis.hgetall(f"{run.name}:partitions") == told


def test_what_waits_is_known_by_its_own_time(play: Play, shop: Path) -> None:
    """The first record in hand that Redis does not hold; else the last that it does. Mutation caught: the chunk's first
    record, though half of the chunk is written."""

    async def scenario(world: World) -> None:
        seen: list[tuple[int, Any]] = []

        async def look() -> None:
            seen.append((part.committed, part.waits_since))

        part = await world.located(store=world.struck(dict.fromkeys(range(9), look)))
        assert part.waits_since is None
        for day in (T0 + 0.5, T0 + 3.5, T0 + 6.5):  # each but the first asks for a sweep
            world.log.buy("ann", day)
        times = [record.timestamp / 1000 for record in world.log.records[0]]
        await world.catch_up(part)
        assert {committed for committed, _ in seen} == {0, 1, 2}
        assert seen == [(committed, times[committed]) for committed, _ in seen]
        last: Any = part.waits_since
        assert (part.committed, last) == (3, times[-1])

    play(scenario, shop)


@pytest.mark.parametrize("untimed", [None, -1_000])
def test_a_record_without_a_time_says_nothing_of_what_waits(play: Play, shop: Path, untimed: int | None) -> None:
    """Whether Kafka's first format, which has none, or a producer that gave -1; nor does it hold its partition up.
    Mutations caught: the time of the first record whatever it is, which ended the worker or said 1969; a tombstone's
    time taken from its record."""

    async def scenario(world: World) -> None:
        waits: list[float | None] = []

        async def look() -> None:
            waits.append(part.waits_since)

        part = await world.located(store=world.struck(dict.fromkeys(range(9), look)))
        event = b'{"event_id":"e","event_type":"purchase","customer_id":"ann","occurred_at":0,"quantity":1}'
        world.log.put(b"ann", event, untimed)
        await world.catch_up(part)
        assert (waits, part.waits_since) == ([None], None)
        world.log.buy("ann", T0 + 0.5)
        world.log.put(b"ann", None, untimed)
        world.log.buy("bob", T0 + 0.75)
        world.log.put(b"bob", None, untimed)
        await world.catch_up(part)
        assert world.log.rejects == [(0, "no_timestamp")]
        assert waits[1:] == [(T0 + 0.5) * 86_400]  # of one write; those behind it in hand have later ones
        assert (part.committed, part.waits_since) == (5, None)
        assert (world.customer("ann"), world.customer("bob")) == ({}, {})
        assert [at for _, at in (await world.store.erased(0)).values()] == [None, None]

    play(scenario, shop)


@pytest.mark.parametrize("runs", [True, False])
def test_what_a_rebuild_makes_old_is_called_fresh_by_nobody(play: Play, shop: Path, runs: bool) -> None:
    """Its scores are those of the history until a worker has folded the log again, whether one spoke before or, unaware
    of it, meanwhile; the feed goes on. Mutations caught: what was said is taken back at the begin alone, or at the end
    alone; the feed's number with it."""

    async def scenario(world: World) -> None:
        async def say() -> None:
            now = time.time()
            await world.store.freshen("w:1", [Freshness(p, now, 0.0, 0, "w:1") for p in range(world.count)])

        def told() -> list[Freshness | None]:
            return [Freshness.read(p, {k.decode(): v.decode() for k, v in at(p).items()}) for p in range(world.count)]

        def at(p: int) -> Any:
            return world.redis.hgetall(world.store.keys.freshness(p))

        part = await world.located()
        world.log.buy("ann", T0 + 0.5)
        await world.catch_up(part)
        await say()
        feed = at(0)[b"feed"], at(0)[b"feed_id"]
        assert all(told())
        met: list[list[Freshness | None]] = []
        drop = world.store.drop_scores

        async def dropped() -> None:
            met.append(told())
            await drop()
            if runs:
                await say()

        world.store.drop_scores = dropped  # type: ignore[method-assign]
        await rebuild.rebuild(world.store, world.topic, Kept(shop), lambda _: None)
        assert met == [told()] == [[None] * world.count]
        assert at(0) == {b"feed": feed[0], b"feed_id": feed[1]}
        await say()
        assert all(told())

    play(scenario, shop, partitions=2)
