"""Segments, their members and the model over HTTP, beside what stands in Redis and what the commands say."""

import asyncio
import csv
import io
import json
import os
import re
import secrets
import signal
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from click.testing import CliRunner
from deployment import Play, World
from running import until
from serving import DEPLOYMENT, Served, customer, furnish, serving
from shops import T0

from demo import services
from models.truth import Truth
from streams import versions
from streams.__main__ import main
from streams.crm import kept
from streams.crm import segments as module
from streams.keys import Keys

MANY = 2_345  # in segment 2


def asked(world: World, *paths: str, **headers: str) -> Any:
    """What these paths answer, in a thread, for the test's loop holds the world."""

    def ask() -> list[Any]:
        with serving(world.settings) as served:
            return [served.ask(path, **headers) for path in paths]

    return asyncio.to_thread(ask)


def test_segments_are_counted_and_added_up(play: Play, shop: Path) -> None:
    """As everybody's hashes say. Mutations caught: a partition left out; values of whoever is in another segment."""

    async def scenario(world: World) -> None:
        (answer,) = await asked(world, "/v1/segments")
        found = answer.json
        people = [world.customer(f"h{n}") for n in range(60)]
        assert [each["number"] for each in found["segments"]] == [*range(7)]
        assert found["customers"] == 60
        assert (found["as_of"], found["stale"]) == (
            None,
            "partition 0: no worker has held it since the publish or rebuild",
        )
        for each in found["segments"]:
            values = [Decimal(p["customer_value"]) for p in people if p["segment_id"] == str(each["number"])]
            assert each["customers"] == len(values)
            assert each["share"] == len(values) / 60
            assert each["customer_value_sum"] == float(sum(values))
            assert each["customer_value_mean"] == (round(float(sum(values)) / len(values), 2) if values else None)
            told = json.loads(world.redis.hget(world.store.keys.segments, str(each["number"])))
            assert {name: each[name] for name in ("name", "definition", "usual")} == {
                name: told[name] for name in ("name", "definition", "usual")
            }

    play(scenario, shop, partitions=3)


@pytest.mark.parametrize("said", [{"at": "0"}, {"as_of": "1970-01-01T00:00:00Z", "lag_seconds": "99.0"}])
def test_a_count_that_is_kept_says_how_fresh_it_was(request: pytest.FixtureRequest, said: dict[str, str]) -> None:
    """What came since is not in it, and stands where it is read anew. Mutation caught: freshness of now."""
    url, prefix = request.getfixturevalue("valkey").url, f"api-{secrets.token_hex(4)}"
    with redis.Redis.from_url(url) as store, serving(furnish(url, prefix)) as served:
        fresh = {"as_of": "2024-01-01T00:00:00Z", "lag_seconds": "0.0", "lag_records": "0", "owner": "w:1"}
        for p in range(2):
            store.hset(Keys(prefix).freshness(p), mapping={**fresh, "at": store.time()[0]})
        served.looked()
        counted = served.ask("/v1/segments").json
        assert (counted["as_of"], counted["lag_seconds"], counted["stale"]) == (fresh["as_of"], 0.0, None)
        store.hset(Keys(prefix).freshness(1), mapping=said)
        served.looked()
        assert served.ask("/v1/segments").json == counted
        assert served.ask("/v1/segments/2/customers").json["stale"].startswith("partition 1: ")


def test_the_model_and_its_truth_are_what_the_commands_say(play: Play, shop: Path) -> None:
    async def scenario(world: World) -> None:
        part = await world.located()
        for day in range(T0, T0 + 3):
            world.log.buy("h1", day)
            world.log.tick(day + 1)
        await world.catch_up(part)
        while await world.learn():
            pass
        model, models, truth, one = await asked(world, "/v1/model", "/v1/models", "/v1/truth", "/v1/customers/h1")
        env = {"CRM_REDIS_URL": world.settings.redis_url, "CRM_PREFIX": world.settings.prefix}
        said = await asyncio.to_thread(CliRunner(env=env).invoke, main, ["model", "--json"])
        assert truth.body.decode() == said.output.rstrip("\n")
        told = Truth.read(truth.body)
        assert model.json == {
            "version": told.serving,
            "learned_through": told.learned_through,
            "horizon_days": 30,
            "examples": told.examples,
            "served": one.json["served"],
            "fit": told.fit,
        }
        known = await versions.listed(world.store)
        assert [(each["version"], each["serving"]) for each in models.json["models"]] == [
            (each.version, each.serving) for each in known
        ]
        assert one.json["coverage"] == told.windows[1].held["all"]

    play(scenario, shop)


def test_a_document_of_another_shape_is_a_line(play: Play, shop: Path) -> None:
    """Of command and API. Mutation caught: a traceback."""

    async def scenario(world: World) -> None:
        key = world.store.keys.version(world.version)
        env = {"CRM_REDIS_URL": world.settings.redis_url, "CRM_PREFIX": world.settings.prefix}
        for document in (b"[]", b'{"payload":7}', b'{"payload":{"metrics":{"spend/served":{"bias":"x"}}}}'):
            world.redis.set(key, document)
            said = await asyncio.to_thread(CliRunner(env=env).invoke, main, ["models"])
            assert (said.exit_code, said.stdout) == (2, "")
            assert re.fullmatch(
                rf"streams: {key} is no model's document \(.*\): restore Redis, or DEL .*\n", said.stderr
            )
            (answer,) = await asked(world, "/v1/models")
            assert answer.problem == (503, "not-ready")
            assert said.stderr == f"streams: {answer.json['detail']}\n"

    play(scenario, shop)


# ---- members ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def own() -> Iterator[services.Valkey]:
    with services.valkey() as server:
        yield server


@pytest.fixture(scope="module")
def at(own: services.Valkey) -> Iterator[Served]:
    """Many in segment 2, one of them with an id that a CSV must quote."""
    settings, keys = furnish(own.url, "crm"), Keys("crm")
    with redis.Redis.from_url(own.url) as store, serving(settings) as served:
        for n in range(MANY):
            name = f"m{n}"
            store.zadd(keys.set(keys.members_of(2), DEPLOYMENT.home(name)), {name: n // 3})
        customer(store, keys, 'a,"b"\n=1', customer_value="0.50")
        yield served


def walked(served: Served, limit: int) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        found = served.ask(f"/v1/segments/2/customers?limit={limit}" + (f"&cursor={quote(cursor)}" if cursor else ""))
        assert len(found.json["members"]) <= limit
        yield from found.json["members"]
        if (cursor := found.json["next"]) is None:
            return


def test_all_pages_and_a_csv_say_the_same(at: Served) -> None:
    """Mutations caught: a page that begins at its cursor; rows of a CSV beyond the first page lost."""
    pages = [(each["customer_id"], each["customer_value"]) for each in walked(at, 500)]
    assert len(pages) == len(set(pages)) == MANY + 2
    assert [value for _, value in pages] == sorted((value for _, value in pages), reverse=True)
    answer = at.ask("/v1/segments/2/customers", Accept="text/csv")
    assert answer.body.startswith(b"customer_id,customer_value\r\nm2344,781.00\r\n")
    rows = list(csv.reader(io.StringIO(answer.body.decode(), newline="")))
    assert [(name, float(value)) for name, value in rows[1:]] == pages
    assert at.ask("/v1/segments").json["segments"][2]["customers"] == MANY + 2
    both = at.ask("/v1/segments/2/customers", Accept="application/json,text/csv,application/problem+json")
    assert both.json["members"]  # of a client that was made from OpenAPI, and reads JSON
    weighed = at.ask("/v1/segments/2/customers?limit=1", Accept="application/json;q=0.1, Text/CSV; charset=utf-8")
    assert weighed.body == answer.body


def test_what_is_no_page_is_refused(at: Served) -> None:
    assert at.ask("/v1/segments/7/customers").problem == (404, "unknown-segment")
    assert at.ask(f"/v1/segments/{'9' * 40}/customers").problem == (404, "unknown-segment")
    assert at.ask("/v1/segments/Loyal/customers").json["detail"].endswith(": see /v1/segments")
    for wrong in ("/v1/segments/x/customers", *(f"/v1/segments/2/customers?limit={n}" for n in (0, 1_001, "x"))):
        assert at.ask(wrong).problem == (422, "wrong-request")
    for cursor in ("x", "", "W10", "WzEsMl0", "WyJ4IiwiYSJd", "%00", "é", "WzFlOTk5LCJhIl0"):
        answer = at.ask(f"/v1/segments/2/customers?cursor={quote(cursor)}")
        assert answer.problem == (422, "wrong-request")
    assert at.ask("/v1/segments/0/customers").json["members"] == []


def test_whoever_leaves_a_long_answer_leaves_nothing(
    at: Served, own: services.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amid a CSV, while Redis hangs: neither a task nor a connection in use."""
    monkeypatch.setattr(module, "LISTED", 1)
    with socket.create_connection(("127.0.0.1", at.port)) as connection:
        connection.sendall(b"GET /v1/segments/2/customers HTTP/1.1\r\nHost: localhost\r\nAccept: text/csv\r\n\r\n")
        assert connection.recv(4_096).startswith(b"HTTP/1.1 200 ")
        os.kill(own.pid, signal.SIGSTOP)
    try:
        until(lambda: at.requests() == [])
        until(lambda: at.in_use() == 0)
    finally:
        os.kill(own.pid, signal.SIGCONT)
    until(lambda: at.ask("/health/ready").status == 200)


def test_what_is_long_in_the_making_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For all who wait, and not again for a while; what failed is made again."""
    made: list[int] = []

    async def make() -> int:
        made.append(1)
        await asyncio.sleep(0.01)
        if len(made) == 1:
            raise ValueError
        return len(made)

    async def scenario() -> None:
        held = kept.Kept(make)
        with pytest.raises(ValueError):  # noqa: PT011
            await held.get()
        waiting = [asyncio.create_task(held.get()) for _ in range(9)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        assert (await asyncio.gather(*waiting[1:])) == [2] * 8
        assert await held.get() == 2
        monkeypatch.setattr(kept, "SHARE", 0)
        held = kept.Kept(make, least=0.0)
        assert [await held.get() for _ in range(2)] == [3, 4]

    asyncio.run(scenario())
