"""docs/redis-contract.md beside the code, and what a CRM reads, byte by byte."""

import re
from pathlib import Path
from typing import Any

import pytest
import redis
from deployment import Play, World
from shops import T0

from demo.services import Valkey
from models import scores
from streams.keys import Keys

DOCUMENT = (Path(__file__).parent.parent / "docs" / "redis-contract.md").read_text()
RECORD = {  # HGETALL crm:customer:c-17, but for scored_at and the hash of the model
    b"segment": b"Promising",
    b"segment_id": b"2",
    b"previous_segment": b"New",
    b"segment_since": b"2023-12-21",
    b"cluster": b"0",
    b"rfm": b"5-2-4",
    b"predicted_demand": b"43.08",
    b"predicted_demand_high": b"43.08",
    b"predicted_orders": b"0.6264",
    b"p_buy": b"0.3851",
    b"customer_value": b"524.13",
    b"orders": b"2",
    b"spend": b"140.00",  # 19.99 + 5.015 - 5.00 + 120.00, half-even
    b"average_order_value": b"70.00",
    b"total_value": b"664.13",
    b"first_purchase_at": b"2023-12-09T12:00:00Z",
    b"last_purchase_at": b"2023-12-21T00:00:00Z",
    b"last_event_at": b"2023-12-21T18:00:00Z",
    b"mean_days_between_orders": b"11.5",
    b"expected_next_order_at": b"2024-01-23T22:43:56Z",
    b"next_offers": b'["P-7","P-9"]',  # P-2, bought twelve days before, is left out
    b"source": b"crm.events:0:4",
    b"demand_horizon_days": b"30",
    b"schema": b"2",
}
GUARD = {b"token", b"state", b"offset", b"swept_to", b"hashes", b"quiet_until", b"start", b"mark"}
GUARD |= {b"customers", b"counted", b"model"}
CHANGE = {
    b"n": b"1",
    b"type": b"new",
    b"customer": b"c-17",
    b"from": b"",
    b"to": b"3",
    b"at": b"2023-12-09T12:00:00Z",
    b"source": b"crm.events:0:1",
}
MOVE = {b"n": b"2", b"type": b"moved", b"from": b"3", b"to": b"2", b"at": b"2023-12-21T00:00:00Z"}
MOVE = CHANGE | MOVE | {b"source": b"crm.events:0:3"}


def table(heading: str) -> dict[str, str]:
    """Field and example of each line of the table under a heading of the document, in order."""
    section = next(part for part in DOCUMENT.split("\n## ") if part.startswith(heading))
    return dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`]*)` \|", section, re.MULTILINE))


# ---- the document ----------------------------------------------------------------------------------------------------
def test_the_document_names_every_field_in_order() -> None:
    assert tuple(table("`crm:customer:")) == scores.FIELDS


def test_the_document_shows_a_record_that_was_read() -> None:
    shown = table("`crm:customer:")
    assert re.fullmatch(r"1-20231209-[0-9a-f]{8}", shown.pop("model_version"))
    assert re.fullmatch(r"2023-12-\d\dT\d\d:\d\d:\d\dZ", shown.pop("scored_at"))
    assert shown == {name.decode(): value.decode() for name, value in RECORD.items()}
    assert table("`crm:changes:") == {name.decode(): value.decode() for name, value in CHANGE.items()}


def test_the_document_names_every_key() -> None:
    keys = Keys("crm")
    named = [
        keys.customer("<customer_id>"),
        keys.meta,
        keys.model,
        keys.versions,
        keys.pinned,
        keys.ledger,
        keys.version("<version>"),
    ]
    for key in named:
        assert f"`{key}`" in DOCUMENT
    for kind in ("state", "guard", "rejected", "erased", "changes"):
        key = getattr(keys, kind)(7)
        assert key == f"crm:{kind}:7"
        assert f"`crm:{kind}:<p" in DOCUMENT
    assert "`crm:training:<p>:<day>`" in DOCUMENT
    assert "`crm:members:<segment>:<partition>`" in DOCUMENT
    assert (keys.training(7, 19_700), keys.set(keys.members_of(2), 7)) == ("crm:training:7:19700", "crm:members:2:7")
    assert (keys.segments, keys.clusters) == ("crm:segments", "crm:clusters")
    assert "`crm:segments`" in DOCUMENT
    assert "`crm:clusters`" in DOCUMENT


# ---- what stands there -----------------------------------------------------------------------------------------------
async def scripted(world: World) -> None:
    """One customer's events: an order of two lines, a return, a second order, a look around."""
    world.log.buy("c-17", T0 + 0.5, "19.99", order_id="o1", product_id="P-1")
    world.log.buy("c-17", T0 + 0.5, "5.015", order_id="o1", product_id="P-2")
    world.log.event("return", "c-17", T0 + 2.25, "5.00")
    world.log.buy("c-17", T0 + 12, "120.00", order_id="o2", product_id="P-1")
    world.log.event("view", "c-17", T0 + 12.75)
    await world.catch_up(await world.located())


def test_a_scripted_customer_byte_by_byte(play: Play) -> None:
    """Fields, keys and bytes as a client reads them that knows nothing of this program."""

    async def scenario(world: World) -> None:
        await scripted(world)
        prefix = world.settings.prefix
        found: dict[bytes, bytes] = world.redis.hgetall(f"{prefix}:customer:c-17")
        assert tuple(name.decode() for name in found) == scores.FIELDS
        assert re.fullmatch(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", found.pop(b"scored_at"))
        assert re.fullmatch(rb"1-20231209-[0-9a-f]{8}", found.pop(b"model_version"))
        assert found == RECORD
        assert [fields for _, fields in world.redis.xrange(f"{prefix}:changes:0")] == [CHANGE, MOVE]
        assert world.redis.zrange(f"{prefix}:members:2:0", 0, -1, withscores=True) == [(b"c-17", 524.13)]
        keys = {key.decode().removeprefix(f"{prefix}:") for key in world.redis.scan_iter(f"{prefix}:*")}
        internal = {"state:0", "guard:0", "meta", "model", "models", "segments", "clusters", "partitions"}
        internal |= {f"model:{world.version}", "training:0:19702", "freshness:0"}
        assert keys == {"customer:c-17", "changes:0", "members:2:0", *internal}
        assert {*world.redis.hkeys(f"{prefix}:guard:0")} == GUARD
        (_, (last, _)) = world.redis.xrange(f"{prefix}:changes:0")
        assert world.redis.hgetall(f"{prefix}:freshness:0") == {b"feed": b"2", b"feed_id": last}

    play(scenario, events_topic="crm.events")


@pytest.mark.parametrize("name", ["valkey", "old_redis"])
def test_the_user_that_the_document_makes_reads_what_it_needs_and_nothing_else(
    request: pytest.FixtureRequest, name: str
) -> None:
    server: Valkey = request.getfixturevalue(name)
    with redis.Redis.from_url(server.url) as admin:
        for key, made in (("customer:a", "hset"), ("state:0", "hset")):
            getattr(admin, made)(f"crm:{key}", "orders", "1")
        admin.zadd("crm:members:2:0", {"a": 1})
        admin.xadd("crm:changes:0", {"customer": "a"})
        line = next(line for line in DOCUMENT.splitlines() if "ACL SETUSER" in line)
        admin.execute_command(*line.split())
    crm: Any = redis.Redis(port=server.port, username="the-crm", password="password")
    assert crm.ping()
    assert crm.hgetall("crm:customer:a") == {b"orders": b"1"}
    assert crm.zrevrange("crm:members:2:0", 0, 9, withscores=True) == [(b"a", 1.0)]
    assert len(crm.xread({"crm:changes:0": "0"})) == 1
    with crm.pipeline(transaction=False) as pipe:  # as the document says, for the one that is a transaction may not
        assert pipe.hgetall("crm:customer:a").hget("crm:customer:a", "orders").execute()[1] == b"1"
    assert "pipeline(transaction=False)" in DOCUMENT
    for forbidden in (
        ("MULTI",),
        ("HGETALL", "crm:state:0"),
        ("HSET", "crm:customer:a", "orders", "2"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("RANDOMKEY",),
        ("FLUSHALL",),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            crm.execute_command(*forbidden)
    crm.close()
