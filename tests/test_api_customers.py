"""Customers over HTTP: what Redis holds, as JSON, byte by byte; who is not known, and who was erased."""

import asyncio
import http.client
import json
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import redis
from deployment import Play, World
from running import until
from serving import DEPLOYMENT, RECORDED, Served, customer, furnish, serving
from test_docs_redis_contract import scripted

from models import scores
from streams import wire
from streams.crm.schemas import MOST_IDS
from streams.crm.scores import NAMES
from streams.freshness import Freshness
from streams.keys import Keys

LITERAL = (
    '{"customer_id":"c-17","segment":"Promising","segment_id":2,"previous_segment":"New","segment_since":"2023-12-21",'
    '"cluster":0,"rfm":"5-2-4","predicted_demand":43.08,"predicted_demand_high":43.08,"predicted_orders":0.6264,'
    '"p_buy":0.3851,"customer_value":524.13,"orders":2,"spend":140.00,"average_order_value":70.00,"total_value":664.13,'
    '"first_purchase_at":"2023-12-09T12:00:00Z","last_purchase_at":"2023-12-21T00:00:00Z",'
    '"last_event_at":"2023-12-21T18:00:00Z","mean_days_between_orders":11.5,'
    '"expected_next_order_at":"2024-01-23T22:43:56Z","next_offers":["P-7","P-9"],"source":"crm.events:0:4",'
    '"demand_horizon_days":30,"scored_at":"SCORED","model_version":"MODEL","schema":2,"as_of":"2023-12-21T18:00:01Z",'
    '"lag_seconds":92.5,"stale":STALE,"coverage":null,"served":"cold start"}'
)


@pytest.fixture(scope="module")
def at(request: pytest.FixtureRequest) -> Iterator[tuple[Served, Any, Keys]]:
    """(the API, Redis, the names of its keys)."""
    url, prefix = request.getfixturevalue("valkey").url, f"api-{secrets.token_hex(4)}"
    with redis.Redis.from_url(url) as store, serving(furnish(url, prefix)) as served:
        yield served, store, Keys(prefix)


def test_a_scripted_customer_byte_by_byte(play: Play) -> None:
    """What workers wrote of the customer of docs/redis-contract.md, on each server."""

    async def scenario(world: World) -> None:
        await scripted(world)
        fresh = Freshness(0, 1703181601.0, 92.5, 7, "w:1")
        await world.store.freshen("w:1", [fresh])

        def ask() -> bytes:
            with serving(world.settings) as served:
                return served.ask("/v1/customers/c-17").body

        found = (await asyncio.to_thread(ask)).decode()
        told = {name: world.customer("c-17")[name] for name in ("scored_at", "model_version")}
        expected = LITERAL.replace("SCORED", told["scored_at"]).replace("MODEL", told["model_version"])
        stale = '"partition 0: counted up to 2023-12-21T18:00:01Z, 7 records wait"'
        assert found == expected.replace("STALE", stale)

    play(scenario, events_topic="crm.events")


def test_the_names_are_those_of_the_contract() -> None:
    assert scores.FIELDS == NAMES


def test_some_fields(at: tuple[Served, Any, Keys]) -> None:
    served, _, _ = at
    found = served.ask("/v1/customers/c-17?fields=spend,segment,stale,spend,customer_id")
    assert found.body.startswith(b'{"customer_id":"c-17","spend":140.00,"segment":"Promising","stale":"partition ')
    assert [*found.json] == ["customer_id", "spend", "segment", "stale"]
    assert served.ask("/v1/customers/c-17?fields=customer_id").body == b'{"customer_id":"c-17"}'
    for wrong in ("", "spent", "spend,", "spend,%00"):
        assert served.ask(f"/v1/customers/c-17?fields={wrong}").problem == (422, "wrong-request")


def test_an_etag_names_what_stands_there_and_whether_it_is_stale(at: tuple[Served, Any, Keys]) -> None:
    """Mutations caught: what was scored anew keeps its tag; a partition that stops is 'not modified'."""
    served, store, keys = at
    customer(store, keys, "tagged")
    first = served.ask("/v1/customers/tagged")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for named in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = served.ask("/v1/customers/tagged", If_None_Match=named)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert served.ask("/v1/customers/tagged", If_None_Match='W/"other"').status == 200
    for change in ({"source": "crm.events:0:5"}, {"model_version": "2-x"}, {"scored_at": "2023-12-22T00:00:00Z"}):
        customer(store, keys, "tagged", **change)
        again = served.ask("/v1/customers/tagged", If_None_Match=tag)
        assert again.status == 200
        assert again.headers["etag"] != tag
    customer(store, keys, "tagged")
    home = DEPLOYMENT.home("tagged")
    now = store.time()[0]
    fields = {"as_of": "2026-01-01T00:00:00Z", "lag_seconds": "0.0", "lag_records": "0", "owner": "w", "at": now}
    fields["as_of"] = Freshness(home, now, 0.0, 0, "w").fields[0]
    store.hset(keys.freshness(home), mapping=fields)
    served.looked()
    fresh = served.ask("/v1/customers/tagged", If_None_Match=tag)
    assert (fresh.status, fresh.json["stale"], fresh.json["lag_seconds"]) == (200, None, 0)
    store.delete(keys.freshness(home))
    served.looked()


def test_a_worker_that_says_nothing_shows(at: tuple[Served, Any, Keys]) -> None:
    """Each partition has its own; a list has those of the one furthest behind. Mutations caught: another partition's
    freshness; one that is read once; 0 seconds behind of one that nobody holds."""
    served, store, keys = at
    now = store.time()[0]
    homes = {DEPLOYMENT.home(name): name for name in ("c-17", "b", "a", "d")}
    assert len(homes) == 2
    for name in homes.values():
        customer(store, keys, name)
    for partition, (silent, behind) in enumerate(((1, 0.0), (2, 7.5))):
        found = Freshness(partition, now - behind, behind, 3, "w").fields
        told = dict(zip(("as_of", "lag_seconds", "lag_records"), found, strict=True))
        store.hset(keys.freshness(partition), mapping=told | {"owner": "w", "at": now - silent})
    served.looked()
    records = [served.ask(f"/v1/customers/{homes[p]}").json for p in range(2)]
    assert [each["lag_seconds"] for each in records] == [0, 7.5]
    assert [each["stale"] for each in records] == [None, None]
    whole = served.ask("/v1/segments/2/customers").json
    assert {name: whole[name] for name in ("as_of", "lag_seconds", "stale")} == {
        name: records[1][name] for name in ("as_of", "lag_seconds", "stale")
    }
    store.hset(keys.freshness(0), "at", now - 16)
    until(
        lambda: str(served.ask(f"/v1/customers/{homes[0]}").json["stale"]).startswith("partition 0: no worker holds it")
    )
    assert served.ask(f"/v1/customers/{homes[1]}").json["stale"] is None
    whole = served.ask("/v1/segments/2/customers").json
    assert whole["stale"].startswith("partition 0: no worker holds it")
    assert (whole["as_of"], whole["lag_seconds"]) == (records[1]["as_of"], None)
    unheld = served.ask(f"/v1/customers/{homes[0]}").json
    assert (unheld["as_of"], unheld["lag_seconds"]) == (records[0]["as_of"], None)
    assert served.ask("/health/ready").status == 200
    for partition in range(2):
        store.delete(keys.freshness(partition))
    served.looked()


ODD = [
    "a/b",
    "/",
    "//",
    "a%2Fb",
    "why",
    "a/why",
    ":",
    "a b",
    "%",
    "ü",
    "日本",
    "\0",
    "..",
    ".",
    "\\",
    '"',
    "x" * 128,
    "é" * 64,
]


@pytest.mark.parametrize("name", ODD)
def test_any_id_is_reached(at: tuple[Served, Any, Keys], name: str) -> None:
    served, store, keys = at
    customer(store, keys, name)
    path = f"/v1/customers/{quote(name, safe='').replace('.', '%2E')}"
    assert served.ask(path).json["customer_id"] == name
    (found,) = served.ask("/v1/customers:batchGet", "POST", {"ids": [name]}).json["customers"]
    assert (found["customer_id"], found["customer"]["customer_id"]) == (name, name)


@pytest.mark.parametrize("part", ["%ff", "%ed%a0%80", "x" * 129, quote("é" * 65)])
def test_what_is_no_id_is_refused(at: tuple[Served, Any, Keys], part: str) -> None:
    """Not UTF-8, a lone surrogate, too long."""
    assert at[0].ask(f"/v1/customers/{part}").problem == (422, "wrong-request")


def test_unknown_and_erased_are_told_apart(at: tuple[Served, Any, Keys]) -> None:
    served, store, keys = at
    home = DEPLOYMENT.home("gone")
    store.hset(keys.erased(home), DEPLOYMENT.erasure("gone"), "7 1000")
    assert served.ask("/v1/customers/gone").problem == (404, "erased-customer")
    assert served.ask("/v1/customers/nobody").problem == (404, "unknown-customer")
    ids = ["nobody", "c-17", "gone", "c-17", "nobody"]
    found = served.ask("/v1/customers:batchGet", "POST", {"ids": ids, "fields": ["orders"]})
    record = '{"customer_id":"c-17","status":"found","customer":{"customer_id":"c-17","orders":2}}'
    nobody = '{"customer_id":"nobody","status":"unknown","customer":null}'
    gone = '{"customer_id":"gone","status":"erased","customer":null}'
    expected = (
        f'{{"customers":[{",".join([nobody, record, gone, record, nobody])}],"missing":["nobody","gone","nobody"]}}'
    )
    assert found.body.decode() == expected
    customer(store, keys, "gone")
    assert served.ask("/v1/customers/gone").json["customer_id"] == "gone", "who came back is there"


def test_a_batch_is_what_single_reads_say(at: tuple[Served, Any, Keys]) -> None:
    """More than one call to Redis carries, in order. Mutation caught: parts of a batch out of order."""
    served, store, keys = at
    names = [f"many-{n}" for n in range(MOST_IDS)]
    for n in range(0, MOST_IDS, 3):
        customer(store, keys, names[n], orders=str(n + 1))
    found = served.ask("/v1/customers:batchGet", "POST", {"ids": names}).json
    assert [each["customer_id"] for each in found["customers"]] == names
    assert [each["customer"] and each["customer"]["orders"] for each in found["customers"]] == [
        None if n % 3 else n + 1 for n in range(MOST_IDS)
    ]
    assert found["missing"] == [name for n, name in enumerate(names) if n % 3]
    assert found["customers"][999]["customer"] == served.ask("/v1/customers/many-999").json


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "wrong-request"),
        (b"{", "wrong-request"),
        (b"[]", "wrong-request"),
        (b"\xff", "wrong-request"),
        (b'{"ids":["\\ud800"]}', "wrong-request"),
        (b"[" * 100_000, "wrong-request"),
        ({"ids": []}, "wrong-request"),
        ({"ids": [""]}, "wrong-request"),
        ({"ids": [7]}, "wrong-request"),
        ({"ids": ["x" * 129]}, "wrong-request"),
        ({"ids": ["é" * 65]}, "wrong-request"),
        ({"ids": ["x"] * (MOST_IDS + 1)}, "wrong-request"),
        ({"ids": ["x"], "fields": []}, "wrong-request"),
        ({"ids": ["x"], "fields": ["nothing"]}, "wrong-request"),
        ({"ids": ["x"], "field": ["orders"]}, "wrong-request"),
        (b" " * (1 << 21), "too-large"),
    ],
)
def test_a_batch_that_is_none_is_refused(at: tuple[Served, Any, Keys], body: Any, kind: str) -> None:
    assert at[0].ask("/v1/customers:batchGet", "POST", body).problem[1] == kind


def test_a_body_that_does_not_say_how_long_it_is(at: tuple[Served, Any, Keys]) -> None:
    """In chunks, more than is taken: refused before all of it has come."""
    connection = http.client.HTTPConnection("127.0.0.1", at[0].port, timeout=30)
    parts = (b" " * 65_536 for _ in range(40))
    connection.request("POST", "/v1/customers:batchGet", parts, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_what_is_not_of_this_contract_is_never_served(at: tuple[Served, Any, Keys]) -> None:
    """Neither as it is, nor as JSON that is none. Mutation caught: a record that was not looked at."""
    served, store, keys = at
    for name, text in {"spend": "much", "next_offers": "[1]", "rfm": '5-5-5","orders":"9', "segment_since": ""}.items():
        customer(store, keys, "odd", **{name: text})
        found = served.ask("/v1/customers/odd")
        assert found.problem == (503, "damaged")
        wrong = f"its {name} is {'not as it must be' if text else 'missing'}"
        assert found.json["detail"] == f"customer 'odd': not a hash of this contract: {wrong}"
    customer(store, keys, "odd", source="a\0b")
    assert served.ask("/v1/customers/odd").json["detail"].endswith(": its source is not as it must be")
    store.hset(keys.customer("odd"), "segment", b"\xff")
    store.hset(keys.customer("odd"), "source", "history")
    assert served.ask("/v1/customers/odd").json["detail"].endswith(": its segment is not as it must be")
    store.hdel(keys.customer("odd"), "segment")
    assert served.ask("/v1/customers/odd").json["detail"].endswith(": its segment is missing")
    store.delete(keys.customer("odd"))
    store.set(keys.customer("odd"), "text")
    assert served.ask("/v1/customers/odd").json["detail"].endswith(": its key is of another type")
    customer(store, keys, "named", segment='Ü "quoted" \\ \x01/', previous_segment="")
    found = served.ask("/v1/customers/named").json
    assert (found["segment"], found["previous_segment"]) == ('Ü "quoted" \\ \x01/', None)
    store.delete(keys.customer("odd"))


def test_one_who_is_damaged_keeps_nobody_else_from_the_answer(
    at: tuple[Served, Any, Keys], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither from a batch nor from the export, which tells the operator."""
    served, store, keys = at
    customer(store, keys, "odd", spend="much")
    customer(store, keys, "even")
    found = served.ask("/v1/customers:batchGet", "POST", {"ids": ["even", "odd", "nobody"]}).json
    assert [each["status"] for each in found["customers"]] == ["found", "damaged", "unknown"]
    assert [each["customer"] is None for each in found["customers"]] == [False, True, True]
    assert found["missing"] == ["odd", "nobody"]
    ids = {json.loads(line)["customer_id"] for line in served.ask("/v1/export").body.splitlines()}
    assert "even" in ids
    assert "odd" not in ids
    said = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert said == [
        "left out of the export: customer 'odd': not a hash of this contract: its spend is not as it must be"
    ]
    store.delete(keys.customer("odd"))
    store.zrem(keys.set(keys.members_of(2), DEPLOYMENT.home("odd")), "odd")


def test_fields_that_came_last_are_null_until_they_are_written(at: tuple[Served, Any, Keys]) -> None:
    """After an upgrade, before everybody is written anew."""
    served, store, keys = at
    customer(store, keys, "older")
    store.hdel(keys.customer("older"), "average_order_value", "total_value")
    found = served.ask("/v1/customers/older").json
    assert (found["average_order_value"], found["total_value"]) == (None, None)
    assert found["spend"] == float(RECORDED[b"spend"])
    line = served.ask("/v1/customers:batchGet", "POST", {"ids": ["older"], "fields": ["total_value"]}).json
    assert line["customers"][0]["customer"] == {"customer_id": "older", "total_value": None}
    store.delete(keys.customer("older"))


def test_reads_of_one_moment_are_few_calls(at: tuple[Served, Any, Keys], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks while others are under way goes with the next call. Mutation caught: a call each."""
    served, exchange = at[0], wire.exchange
    calls: list[int] = []

    async def counted(client: Any, commands: bytes, count: int) -> list[Any]:
        calls.append(count)
        return await exchange(client, commands, count)

    async def many() -> list[Any]:
        reads = served.app.state.service.scores
        return await asyncio.gather(*(reads.one("c-17") for _ in range(1_000)))

    monkeypatch.setattr(wire, "exchange", counted)
    found = asyncio.run_coroutine_threadsafe(many(), served.loop).result(30)
    assert calls == [100] * 10
    assert len(set(found)) == 1
    assert json.loads(b"{%b}" % found[0])["orders"] == int(RECORDED[b"orders"])
