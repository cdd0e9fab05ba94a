"""`streams status`: a deployment on one screen is what stands in Redis and Kafka."""

import re
from collections.abc import Callable

import msgspec
from deployment import Play, World
from shops import T0

from models.rows import DAY
from models.truth import Figures, Window
from streams.commands.status import shown
from streams.freshness import Freshness
from streams.kafka import KafkaAway
from streams.overview import Overview, Standing, overview

SCREEN = """
crm.events, 2 partitions, at 2026-11-28T09:30:03Z
model 1-20231209-288f78d4, learned through 2023-12-19
30 days to 2023-12-19: deviance 13.09 (r90 13.38), bias 1.00, bound held 91%

partition                 as of   s behind    records    swept to   customers  held by
        0  2026-11-28T09:30:02Z        0.0          0  2023-12-19       5,892  scorer-1:17
        1  2026-11-28T09:12:00Z          -      1,203  2023-12-18      12,004  -
      all                                       1,203                  17,896

rejected: 3 not_json, 1 wrong_key
passed over: none

not well: partition 1: no worker holds it since 2026-11-28T09:12:01Z
"""


def test_the_screen_is_literally_this() -> None:
    figures = [Figures(0.7, 5.0, deviance, 1.0) for deviance in (13.09, 13.38)]
    demand = dict(zip(("served", "r90"), figures, strict=True))
    held = {"all": 0.91, "top_5": None, "top_1": None}
    window = Window(30, "2023-11-20", "2023-12-19", 30, 9, 0, 3.4, 0.1, demand, held, 0.05)
    wrong = "partition 1: no worker holds it since 2026-11-28T09:12:01Z"
    found = Overview(
        "2026-11-28T09:30:03Z",
        "crm.events",
        [
            Standing(0, "ready", "scorer-1:17", "2026-11-28T09:30:02Z", 0.0, 0, "2023-12-19", 5_892, None),
            Standing(1, "ready", "scorer-2:9", "2026-11-28T09:12:00Z", None, 1_203, "2023-12-18", 12_004, wrong),
        ],
        {"not_json": 3, "wrong_key": 1},
        {},
        "1-20231209-288f78d4",
        "2023-12-19",
        window,
    )
    assert shown(found) == SCREEN.strip("\n")
    assert "no example of it has closed yet" in shown(msgspec.structs.replace(found, truth=None))


def test_what_is_told_is_what_stands_there(play: Play, shop: Callable[[], object]) -> None:
    """Mutations caught: rejects told as passed over; a guard that is not ready called well; the end of another
    partition's log; one that nobody holds told to be 0 s behind."""

    async def scenario(world: World) -> None:
        part, _ = await world.located(0), await world.located(1)
        for n in range(8):
            world.log.buy(f"new{n}", T0 + 1)
        world.log.put(b"x", b"no JSON", T0 * DAY)
        world.log.put(b"new0", world.log.records[0][0].value, (T0 + 1) * DAY)
        end, other = len(world.log.records[0]), len(world.log.records[1])
        await world.catch_up(part, end - 1)
        now = world.redis.time()[0]
        await world.store.freshen("w:1", [Freshness(0, now, 0.0, 0, "w:1"), Freshness(1, now - 99, 99.0, 7, "w:1")])
        world.redis.hset(world.store.keys.guard(1), "state", "rebuilding")
        found = await overview(world.store, world.deployment, world.topic)
        zero, one = found.partitions
        assert (zero.behind, one.behind) == (1, other)
        assert (zero.wrong, one.wrong) == (None, "partition 1: rebuilding")
        assert zero.customers + one.customers == 60 + len(world.log.records[0]) - 2
        assert sum(found.rejected.values()) == 1
        assert (found.model, found.truth) == (world.version, None)
        world.redis.hset(world.store.keys.guard(1), "state", "ready")
        (wrong,) = (await overview(world.store, world.deployment, world.topic)).wrong
        assert wrong.startswith("partition 1: counted up to ")
        assert [each.lag_seconds for each in found.partitions] == [0, 99]
        world.redis.hset(world.store.keys.freshness(1), "at", now - 99)
        _, gone = (await overview(world.store, world.deployment, world.topic)).partitions
        assert (gone.as_of, gone.lag_seconds) == (one.as_of, None)
        away = await overview(world.store, world.deployment, KafkaAway("is Kafka up?"))
        assert away.wrong == ["is Kafka up?", *(each.wrong for each in away.partitions if each.wrong)]
        assert [each.behind for each in away.partitions] == [None, None]
        assert away.partitions[0].as_of == zero.as_of
        assert re.search(r"^ +all +- +\d+$", shown(away), re.MULTILINE)
        world.redis.delete(world.store.keys.guard(1))
        (wrong,) = (await overview(world.store, world.deployment, world.topic)).wrong
        assert wrong == "partition 1: missing"

    play(scenario, shop, partitions=2)
