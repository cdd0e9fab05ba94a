"""The feed and the export over HTTP: a copy that is kept by them is whole, or is told to begin anew."""

import asyncio
import contextlib
import csv
import gc
import http.client
import io
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import redis
from deployment import Play, World
from running import until
from serving import Answer, Served, customer, furnish, serving
from shops import T0
from test_stream_feed import stands

from streams.crm import changes, shell
from streams.crm.feed import Changes
from streams.crm.schemas import Customer
from streams.keys import Keys

EVENTS, JSON = "text/event-stream", "application/json"


@pytest.fixture
def at(request: pytest.FixtureRequest) -> Iterator[tuple[Served, Any, Keys]]:
    """(the API, Redis, the names of its keys)."""
    url, prefix = request.getfixturevalue("valkey").url, f"api-{secrets.token_hex(4)}"
    with redis.Redis.from_url(url) as store, serving(furnish(url, prefix)) as served:
        yield served, store, Keys(prefix)


def announce(store: Any, keys: Keys, customer: str, to: str = "3", kind: str = "moved", partition: int = 0) -> None:
    """As a worker's write does: number and entry at one moment."""
    n = int(store.hget(keys.freshness(partition), "feed") or 0) + 1
    entry = {"n": n, "type": kind, "customer": customer, "from": "2", "to": to, "at": "2024-01-01T00:00:00Z"}
    id_ = f"{time.time_ns() // 1000}-{n}"
    with store.pipeline(transaction=True) as pipe:
        pipe.hset(keys.freshness(partition), mapping={"feed": n, "feed_id": id_})
        pipe.xadd(keys.changes(partition), entry | {"source": "crm.events:0:4"}, id=id_)
        pipe.execute()


@contextlib.contextmanager
def stream(served: Served, after: str = "", **headers: str) -> Iterator[Any]:
    """The lines of server-sent events as they come."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        asked = {"Accept": EVENTS} | {name.replace("_", "-"): text for name, text in headers.items()}
        connection.request("GET", f"/v1/changes?after={after}" if after else "/v1/changes", headers=asked)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type")) == (200, f"{EVENTS}; charset=utf-8")
        yield answer


def event(answer: Any) -> dict[str, str]:
    """The next one: its fields; comments, which keep the connection, are passed over."""
    found: dict[str, str] = {}
    while not found:
        while line := answer.readline().decode().rstrip("\n"):
            name, _, text = line.partition(": ")
            found |= {name: text} if name else {}
    return found


# ---- pages -----------------------------------------------------------------------------------------------------------
def test_pages_in_literal_json(at: tuple[Served, Any, Keys]) -> None:
    served, store, keys = at
    now = served.ask("/v1/changes").json
    assert now == {"changes": [], "cursor": "3f2a91bc.0-0:0,0-0:0", "more": False}
    announce(store, keys, "c-17")
    announce(store, keys, "c-18", to="erased", kind="erased")
    announce(store, keys, "", to="2-20240101-0a1b2c3d", kind="model", partition=1)
    first = served.ask(f"/v1/changes?after={now['cursor']}&limit=1").json
    assert first["changes"] == [
        {
            "partition": 0,
            "number": 1,
            "type": "moved",
            "customer_id": "c-17",
            "from_segment": 2,
            "to_segment": 3,
            "model_version": None,
            "at": "2024-01-01T00:00:00Z",
            "source": "crm.events:0:4",
        }
    ]
    assert first["more"]
    rest = served.ask(f"/v1/changes?after={first['cursor']}").json
    erased, model = sorted(rest["changes"], key=lambda each: each["partition"])  # by when they came, to the millisecond
    assert (erased["type"], erased["customer_id"], erased["to_segment"]) == ("erased", "c-18", None)
    assert (model["type"], model["customer_id"], model["to_segment"]) == ("model", None, None)
    assert model["model_version"] == "2-20240101-0a1b2c3d"
    assert not rest["more"]
    some = served.ask(f"/v1/changes?after={now['cursor']}&types=model,new&limit=1").json
    assert [each["type"] for each in some["changes"]] == ["model"]
    assert served.ask(f"/v1/changes?after={some['cursor']}&types=model").json["changes"] == []


def test_a_page_waits_until_something_comes(at: tuple[Served, Any, Keys]) -> None:
    """Mutations caught: an answer with nothing though there is time; one that waits on for the types not asked for."""
    served, store, keys = at
    cursor = served.ask("/v1/changes").json["cursor"]
    found: list[Answer] = []
    path = f"/v1/changes?after={cursor}&wait=30&types=erased"
    waits = threading.Thread(target=lambda: found.append(served.ask(path)))
    waits.start()
    until(lambda: len(served.requests()) == 1)
    announce(store, keys, "c-17")
    announce(store, keys, "c-18", to="erased", kind="erased", partition=1)
    waits.join(25)
    assert [each["customer_id"] for each in found[0].json["changes"]] == ["c-18"]
    assert served.ask(f"/v1/changes?after={found[0].json['cursor']}&wait=1").json["changes"] == []


@pytest.mark.parametrize("partitions", [190, 400, 1_000])
def test_a_cursor_of_many_partitions_is_taken(at: tuple[Served, Any, Keys], partitions: int) -> None:
    """Percent-encoded, too, as a client writes it that encodes whatever it is given."""
    served, store, keys = at
    for key in (keys.meta, keys.partitions):
        store.hset(key, "partitions", partitions)
    for p in range(partitions):
        store.hset(keys.freshness(p), mapping={"feed": 123_456, "feed_id": f"{time.time_ns() // 1_000_000}-0"})
    cursor = served.ask("/v1/changes").json["cursor"]
    announce(store, keys, "c-17", partition=partitions - 1)
    for after in (cursor, quote(cursor)):
        assert [each["customer_id"] for each in served.ask(f"/v1/changes?after={after}").json["changes"]] == ["c-17"]
    with stream(served, Last_Event_ID=cursor) as answer:
        assert event(answer)["id"] == cursor
        assert event(answer)["event"] == "moved"


@pytest.mark.parametrize(
    "asked", ["after=", "after=x", "after=0-0:0", "types=", "types=moved,left", "limit=0", "limit=1001", "wait=61"]
)
def test_what_cannot_be_asked_is_told(at: tuple[Served, Any, Keys], asked: str) -> None:
    assert at[0].ask(f"/v1/changes?{asked}").problem == (422, "wrong-request")


def test_where_entries_are_gone_it_is_410_with_the_way_to_a_new_copy(at: tuple[Served, Any, Keys]) -> None:
    """Of a page, of one that waits, and in the middle of a stream; a stream that reconnects is told by its status."""
    served, store, keys = at
    cursor = served.ask("/v1/changes").json["cursor"]
    with stream(served) as answer:
        assert event(answer) == {"retry": "1000", "id": cursor}
        announce(store, keys, "c-17")
        store.hincrby(keys.freshness(0), "feed", 1)  # as a rebuild does
        told = event(answer)
        while told.get("event") == "moved":
            told = event(answer)
        assert told["event"] == "problem"
        assert json.loads(told["data"])["type"] == "urn:problem:crm:gone"
        assert answer.read() == b""
    for waits in ("", "&wait=9"):
        gone = served.ask(f"/v1/changes?after={cursor}{waits}")
        assert gone.problem == (410, "gone")
        assert "copy everybody anew by /v1/export" in gone.json["detail"]
    assert served.ask("/v1/changes", accept=EVENTS, last_event_id=cursor).status == 410
    anew = served.ask("/v1/export").headers["x-changes-cursor"]
    assert served.ask(f"/v1/changes?after={anew}").json == {"changes": [], "cursor": anew, "more": False}


# ---- server-sent events ----------------------------------------------------------------------------------------------
def test_a_stream_goes_on_where_it_was(at: tuple[Served, Any, Keys]) -> None:
    """Mutations caught: no id at the end of a page, or the one of before; Last-Event-ID passed over; a stream that
    leaves its task behind when nobody listens any more."""
    served, store, keys = at
    with stream(served) as answer:
        begun = event(answer)
        announce(store, keys, "c-17")
        first = event(answer)
        assert (first["event"], json.loads(first["data"])["customer_id"]) == ("moved", "c-17")
    for n in range(3):
        announce(store, keys, f"n{n}", partition=n % 2)
    with stream(served, after=begun["id"], last_event_id=first["id"]) as answer:
        assert event(answer)["id"] == first["id"]
        told = [event(answer) for _ in range(3)]
        assert {json.loads(each["data"])["customer_id"] for each in told} == {"n0", "n1", "n2"}
        assert [*map(len, told)] == [2, 2, 3]
        announce(store, keys, "n3")
        assert json.loads(event(answer)["data"])["customer_id"] == "n3"
    until(lambda: not served.requests())
    assert served.in_use() == 0


# ---- a whole copy ----------------------------------------------------------------------------------------------------
def test_an_export_and_the_feed_from_there_are_a_whole_copy(play: Play, shop: Any) -> None:
    """Line by line what a single read answers; then whoever comes, moves and goes."""

    async def scenario(world: World) -> None:
        parts = [await world.located(p) for p in range(2)]

        def read() -> tuple[dict[str, Any], str]:
            whole = served.ask("/v1/export")
            assert whole.headers["content-type"] == "application/x-ndjson"
            found = [json.loads(line) for line in whole.body.splitlines()]
            for each in found[::7]:
                assert served.ask(f"/v1/customers/{each['customer_id']}").json == each
            copy = {each["customer_id"]: each["segment_id"] for each in found}
            assert len(copy) == len(found)
            return copy, whole.headers["x-changes-cursor"]

        def followed(copy: dict[str, Any], cursor: str) -> None:
            more = True
            while more:
                told = served.ask(f"/v1/changes?after={cursor}&limit=5").json
                for change in told["changes"]:
                    if change["type"] == "erased":
                        copy.pop(change["customer_id"], None)
                    elif change["to_segment"] is not None:
                        copy[change["customer_id"]] = change["to_segment"]
                cursor, more = told["cursor"], told["more"]

        with serving(world.settings) as served:
            copy, cursor = await asyncio.to_thread(read)
            assert copy == stands(world)
            for n in range(5):
                world.log.buy(f'new, "{n}"', T0 + 1)
                world.log.erase(f"h{n}", T0 + 1)
            world.log.tick(T0 + 40)
            for part in parts:
                await world.catch_up(part)
            await asyncio.to_thread(followed, copy, cursor)
            assert copy == stands(world)
            table = await asyncio.to_thread(served.ask, "/v1/export?format=csv")
            rows = {row["customer_id"]: row for row in csv.DictReader(io.StringIO(table.body.decode(), newline=""))}
            assert rows.keys() == copy.keys()
            assert {*rows['new, "3"']} == {*Customer.__struct_fields__}
            for name, row in rows.items():
                fields = world.customer(name)
                assert {field: row[field] for field in fields} == fields

    play(scenario, shop, partitions=2)


# ---- those who wait --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("application/json,text/event-stream,application/problem+json", JSON),  # as OpenAPI Generator's clients ask
        ("text/event-stream;q=0.9, application/json", JSON),
        ("text/event-stream; q=0, */*", JSON),
        ("TEXT/Event-Stream", EVENTS),
        ("application/json;q=0.5, text/event-stream", EVENTS),
        ("text/event-stream, */*", EVENTS),
    ],
)
def test_an_answer_without_an_end_is_for_who_prefers_it(
    at: tuple[Served, Any, Keys], accept: str, answered: str
) -> None:
    """A client that reads JSON and names all there is would wait for ever. Mutations caught: weights passed over, or
    case; JSON that is not named taken for named."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", at[0].port, timeout=30)) as connection:
        connection.request("GET", "/v1/changes", headers={"Accept": accept})
        answer = connection.getresponse()
        assert str(answer.getheader("content-type")).partition(";")[0] == answered


def test_who_waits_for_what_seldom_comes_keeps_up(at: tuple[Served, Any, Keys]) -> None:
    """The cursor comes by itself where nothing came that was asked for: else entries would be gone when it reconnects.
    And a process that ends lets those go who wait, without a word in its log."""
    served, store, keys = at
    cursor = served.ask("/v1/changes").json["cursor"]
    with stream(served, after=f"{cursor}&types=erased") as answer:
        assert event(answer)["id"] == cursor
        announce(store, keys, "c-17")
        moved = event(answer)
        assert moved == {"id": served.ask("/v1/changes").json["cursor"]}
        announce(store, keys, "c-17", to="erased", kind="erased")
        assert event(answer)["event"] == "erased"
        served.loop.call_soon_threadsafe(served.app.state.service.ending.set)
        assert answer.read() == b""


def looked(*given: int) -> Any:
    """A feed of one partition, whose looks find these numbers one after another, and then the last one."""
    feeds: Any = changes.Feeds.__new__(changes.Feeds)
    left = list(given)

    async def get() -> list[int]:
        return [left.pop(0) if len(left) > 1 else left[0]]

    feeds.service, feeds._numbers = SimpleNamespace(ending=asyncio.Event()), SimpleNamespace(get=get)
    return feeds


@pytest.mark.parametrize(
    ("given", "comes"),
    [((7, 8), True), ((5, 5, 6, 7), False), ((5, 5, 5, 5), True), ((5, 7, 6, 7), False), ((0, 0, 0, 0), True)],
)
def test_redis_went_back_where_it_is_so_look_after_look(given: tuple[int, ...], comes: bool) -> None:
    """One look may be of before the cursor. Mutations caught: who waits is never told; told by one look."""

    async def waits() -> bool:
        found: bool = await looked(*given)._comes("3f2a91bc.1764-0:7", time.monotonic() + 4.5 * changes.LOOK)
        return found

    assert asyncio.run(waits()) is comes


def test_who_goes_away_takes_the_page_from_nobody_else() -> None:
    async def scenario() -> None:
        feeds, ready = looked(6), asyncio.Event()
        page = Changes([], "3f2a91bc.1764-0:7", True)

        async def read(*_: Any) -> Changes:
            await ready.wait()
            return page

        feeds._pages, feeds._read = {}, read
        gone, *others = [asyncio.ensure_future(feeds._next("3f2a91bc.1764-0:6", 9)) for _ in range(3)]
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        ready.set()
        assert await asyncio.gather(*others) == [page, page]
        assert (gone.cancelled(), feeds._pages) == (True, {})

    asyncio.run(scenario())


def test_those_who_wait_are_few_and_keep_no_probe_away(
    at: tuple[Served, Any, Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, _, _ = at
    monkeypatch.setattr(changes, "FOLLOWERS", 1)
    with stream(served) as answer:
        event(answer)
        cursor = served.ask("/v1/changes").json["cursor"]
        assert served.ask(f"/v1/changes?after={cursor}&wait=9").problem == (503, "overloaded")
        assert served.ask("/v1/changes", accept=EVENTS).problem == (503, "overloaded")
        assert served.ask(f"/v1/changes?after={cursor}").status == 200
        monkeypatch.setattr(shell, "UNDER_WAY", 0)
        assert served.ask("/v1/customers/c-17").problem == (503, "overloaded")
        assert [served.ask(path).status for path in ("/health/live", "/health/ready", "/metrics")] == [200] * 3
    monkeypatch.undo()
    until(lambda: not served.requests())
    with stream(served) as answer:
        event(answer)


@pytest.mark.parametrize("path", ["/v1/export", "/v1/export?format=csv", "/v1/changes?after=3f2a91bc.0-0:0,0-0:0"])
def test_who_takes_nothing_any_more_keeps_no_place(
    at: tuple[Served, Any, Keys], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Though the connection stands, and no garbage is collected. Mutation caught: what makes the answer is left where
    it stood."""
    served, store, keys = at
    with store.pipeline(transaction=False) as pipe:
        for n in range(1_200):
            customer(pipe, keys, f"c-{n:0100}")
            pipe.xadd(keys.changes(0), {"n": n + 1, "type": "new", "customer": f"c-{n:0100}", "from": ""} | NEW)
        *_, last = pipe.execute()
    store.hset(keys.freshness(0), mapping={"feed": 1_200, "feed_id": last})
    monkeypatch.setattr(changes, "FOLLOWERS", 2)
    monkeypatch.setattr(shell, "PATIENCE", 0.3)
    served.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    gc.disable()
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(contextlib.closing(stuck(served, path)))
            until(lambda: len(served.requests()) == 2)
            assert taken(served, path) == 503
            until(lambda: not served.requests())
            assert taken(served, path) == 200
    finally:
        gc.enable()


NEW = {"to": "2", "at": "2024-01-01T00:00:00Z", "source": "crm.events:0:4"}


def stuck(served: Served, path: str) -> socket.socket:
    """Asks, and takes nothing of the answer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect(("127.0.0.1", served.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {EVENTS}\r\n\r\n".encode())
    return connection


def taken(served: Served, path: str) -> int:
    """The status of one more who asks, and goes away."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Accept": EVENTS})
        return connection.getresponse().status
