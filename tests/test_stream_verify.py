"""`verify`: whatever is wrong in Redis is found and named, and nothing else is, while workers write too."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shops
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from deployment import Play, World, run
from logs import MemoryLog, busy
from redis import exceptions
from shops import T0

from demo import services
from models import artefact, handover, scores
from models.artefact import Version
from models.events import encode_event
from models.kinds import PURCHASE
from models.rows import DAY, ROW, load_rows, packed_rows
from offline.history.read import read_parquet, write_parquet
from streams import kafka as topics
from streams import recount, verify
from streams.__main__ import main
from streams.deployment import DeploymentError
from streams.partitioner import partitioner
from streams.settings import Settings
from streams.store import Store, connect

PARTITIONS = 2
home = partitioner("murmur2", PARTITIONS)
NOT_UTF8 = b"\xff\xed\xa0\x80"
PAST = pd.DataFrame(
    {
        "event_id": ["e1", "e2"],
        "kind": [PURCHASE, PURCHASE],
        "customer_id": ["ann", "ann"],
        "occurred_at": [19_600 * DAY, 19_601 * DAY],
        "order_id": ["o1", "o2"],
        "amount": [10_000, 20_000],
        "offset": [-1, -1],
    }
)


# ---- a deployment, its log in a real topic ---------------------------------------------------------------------------
def happened(log: MemoryLog) -> None:
    """Four months of everything that producers manage, and what is no event but could be taken for one."""
    busy(log, T0, 120, ["h0", "h1", "h2", "h3"])
    good = encode_event("odd", "purchase", "odd", (T0 + 120) * DAY, quantity=1, unit_price="7.77")
    for text in (b'"\\ud800"', b'""', b'"' + b"x" * 129 + b'"', b"[" * 5000 + b"]" * 5000):
        log.put(b"odd", good.replace(b'"odd"', text, 1), (T0 + 120) * DAY, home("odd"))
    log.put(NOT_UTF8, None, (T0 + 120) * DAY)
    seconds = f"{(T0 + 120) * 86_400}.008008".encode()  # as a double a hair below the microsecond
    log.put(b"odd", good.replace(b'"2024-04-07T00:00:00Z"', seconds), (T0 + 121) * DAY, home("odd"))
    log.buy("h9", T0)  # at the cut-off, to the microsecond
    log.erase("h7", T0 + 120)
    log.buy("h8", T0 + 121, partition=1 - home("h8"))
    log.put(b"h8", None, (T0 + 121) * DAY, 1 - home("h8"))
    for n in range(10, 40):
        log.buy(f"h{n}", T0 + 121)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `offline fit` would leave, with the history."""
    return with_history(shops.shop(tmp_path_factory.mktemp("kept")), 60)


def with_history(directory: Path, customers: int) -> Path:
    past = shops.history(customers, T0).assign(product_id=None, quantity=10_000)
    write_parquet(past, directory / handover.HISTORY)
    return directory


@pytest.fixture(scope="module")
def sent(kafka: str) -> dict[str, Any]:
    """The settings of a topic that holds what happened."""
    where: dict[str, Any] = {"kafka": kafka, "events_topic": f"verify-{secrets.token_hex(4)}", "partitions": PARTITIONS}
    topics.create(Settings(**where))
    log, producer = MemoryLog(PARTITIONS), Producer({"bootstrap.servers": kafka})
    happened(log)
    for p, records in enumerate(log.records):
        for r in records:
            producer.produce(where["events_topic"], r.value, r.key, partition=p, timestamp=r.timestamp)
    assert producer.flush(30) == 0
    return where


async def folded(world: World, end: int | None = None) -> None:
    """Workers have folded the log, or its first records only."""
    happened(world.log)
    for p in range(PARTITIONS):
        await world.catch_up(await world.located(p), end)


async def checked(world: World, kept: Path, store: Store | None = None) -> verify.Verdict:
    store = store or world.store
    past = read_parquet(kept / handover.HISTORY)
    return await verify.verify(store, world.settings, past, world.topic, lambda _: None)


# ---- what is wrong ---------------------------------------------------------------------------------------------------
Tamper = Callable[[World, str], object]


def hash_says(field: str, text: str) -> Tamper:
    return lambda world, name: world.redis.hset(world.store.keys.customer(name), field, text)


def state_says(change: Callable[[Any], object]) -> Tamper:
    def tamper(world: World, name: str) -> None:
        key = world.store.keys.state(home(name))
        row = load_rows([world.redis.hget(key, name)])
        change(row)
        world.redis.hset(key, name, *packed_rows(row))

    return tamper


def figure(name: str) -> Tamper:
    return state_says(lambda row: row.__setitem__(name, row[name] + 1))


def its_set(world: World, name: str, other: int = 0) -> str:
    """The customer's segment set, or another one of the partition."""
    segment = (int(world.customer(name)["segment_id"]) + other) % 7
    return world.members(segment, home(name))


def no_hash(world: World, name: str) -> None:
    world.redis.delete(world.store.keys.customer(name))


def no_state(world: World, name: str) -> None:
    world.redis.hdel(world.store.keys.state(home(name)), name)


def no_trace(world: World, name: str) -> None:
    world.redis.zrem(its_set(world, name), name)
    no_state(world, name)
    no_hash(world, name)


def stray_state(world: World, name: str) -> None:
    place, keys = home(name), world.store.keys
    world.redis.hset(keys.state(1 - place), name, world.redis.hget(keys.state(place), name))


def next_publish(row: Any) -> None:
    row["version"] += 1 << 16


BLANK_FIGURES = [f"state: {name}" for name in recount.COMPARED if name != "returned"]  # 0 is right
STATE_OF_A_SEGMENT = ["segment sets", "hash: segment", "hash: segment_id"]
WRONG: dict[str, tuple[Tamper, list[str]]] = {  # what was done to one customer -> what is found of it
    **{f"state: {name}": (figure(name), [f"state: {name}"]) for name in recount.COMPARED},
    "hash: orders": (hash_says("orders", "99"), ["hash: orders"]),
    "hash: spend": (hash_says("spend", "0.01"), ["hash: spend", "hash: total_value"]),
    "hash: average_order_value": (hash_says("average_order_value", "0.01"), ["hash: average_order_value"]),
    "hash: total_value": (hash_says("total_value", "0.01"), ["hash: total_value"]),
    **{f"hash: {name}": (hash_says(name, "2023-01-01T00:00:00Z"), [f"hash: {name}"]) for name in verify.DATES},
    "hash: cluster": (hash_says("cluster", "7"), ["hash: cluster"]),
    "hash: segment": (hash_says("segment", "Nobodies"), ["hash: segment"]),
    "hash: segment_id": (hash_says("segment_id", "9"), ["hash: segment_id"]),
    "hash: previous_segment": (hash_says("previous_segment", "Nobodies"), ["hash: previous_segment"]),
    "hash: segment_since": (hash_says("segment_since", "2020-01-01"), ["hash: segment_since"]),
    "hash: model_version": (hash_says("model_version", "1-20230101-0badcafe"), ["hash: model_version"]),
    "hash: customer_value": (
        hash_says("customer_value", "0.01"),
        ["hash: total_value", "value in its segment set"],
    ),
    "hash: not text": (hash_says("spend", NOT_UTF8), ["hash: spend", "hash: total_value"]),  # type: ignore[arg-type]
    "state: cluster": (state_says(lambda row: row.__setitem__("cluster", 7)), ["hash: cluster"]),
    "state: segment": (state_says(lambda row: row.__setitem__("segment", 101)), STATE_OF_A_SEGMENT),
    "state: version": (state_says(next_publish), ["hash: model_version"]),
    "state: half of it": (
        lambda w, name: w.redis.hset(w.store.keys.state(home(name)), name, b"half"),
        [
            "segment sets",
            *(f"state: {n}" for n in recount.COMPARED if n != "returned"),
            *(f"hash: {n}" for n in ("segment_id", "segment_since", "cluster", "model_version")),
        ],
    ),
    "no hash": (no_hash, ["hash"]),
    "no state": (no_state, ["state", "segment sets"]),
    "no trace": (no_trace, ["state", "hash"]),
    "in a second set": (lambda w, name: w.redis.zadd(its_set(w, name, 1), {name: 1}), ["segment sets"]),
    "in the wrong set": (
        lambda w, name: (w.redis.zrem(its_set(w, name), name), w.redis.zadd(its_set(w, name, 1), {name: 1})),
        ["segment sets"],
    ),
    "in no set": (lambda w, name: w.redis.zrem(its_set(w, name), name), ["segment sets"]),
    "in a set that fell away": (
        lambda w, name: w.redis.zadd(w.members(9, home(name)), {name: 1}),
        ["segment sets"],
    ),
    "its score in the set": (
        lambda w, name: w.redis.zadd(its_set(w, name), {name: 1.02 * float(w.customer(name)["customer_value"])}),
        ["value in its segment set"],
    ),
    "state in another partition": (stray_state, ["partition"]),
    "set of another partition": (
        lambda w, name: w.redis.zadd(w.members(0, 1 - home(name)), {name: 1}),
        ["partition"],
    ),
}


def traces_of_nobody(world: World) -> dict[str, list[str]]:
    """Names of which no event tells, each with its trace in Redis; what is found of them."""
    keys, place = world.store.keys, home("h59")
    twin = next(name for name in map("twin{}".format, range(99)) if home(name) == place)
    world.redis.copy(keys.customer("h59"), keys.customer(twin))
    world.redis.hset(keys.state(place), twin, world.redis.hget(keys.state(place), "h59"))
    world.redis.zadd(its_set(world, "h59"), {twin: float(world.customer("h59")["customer_value"])})
    world.redis.hset(keys.customer("hash"), "orders", "1")
    world.redis.hset(keys.state(home("state")), "state", *packed_rows(np.zeros(1, ROW)))
    world.redis.zadd(world.members(0, home("member")), {"member": 1})
    world.redis.zadd(world.members(0), {NOT_UTF8: 1})
    world.redis.hset(keys.state(1), NOT_UTF8, b"state")
    world.redis.hset(keys.customer("").encode() + NOT_UTF8, "orders", "1")
    return {
        twin: ["state", "hash"],
        "hash": ["hash"],
        "state": ["state", "segment sets"],
        "member": ["segment sets"],
        r"\xff\xed\xa0\x80": ["hash", "partition 0", "partition 1"],
    }


async def wronged(world: World) -> dict[str, list[str]]:
    """Does all that to a customer each; what must be found of whom."""
    await folded(world)
    expected = {}
    for n, (tamper, found) in enumerate(WRONG.values()):
        name = f"h{10 + n}"
        tamper(world, name)
        expected[name] = [w if w != "partition" else f"partition {1 - home(name)}" for w in found]
    no_trace(world, "odd")  # of whom the history tells nothing, the log alone
    return expected | {"odd": ["state", "hash"]} | traces_of_nobody(world)


def by_customer(verdict: verify.Verdict) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, what, *_ in verdict.wrong:
        found.setdefault(name, []).append(what)
    return found


def test_whatever_is_wrong_is_found_and_nothing_else(play: Play, kept: Path, sent: dict[str, Any]) -> None:
    """Mutations caught: nothing found at all; any of the comparisons left out; customers sought in one place only."""

    async def scenario(world: World) -> None:
        expected = await wronged(world)
        verdict = await checked(world, kept)
        assert by_customer(verdict) == expected
        assert verdict.wrong_customers == len(expected)

    play(scenario, kept, **sent)


def test_nothing_is_wrong_with_an_untouched_deployment(play: Play, kept: Path, sent: dict[str, Any]) -> None:
    """Mutations caught: what workers reject taken for an event; an erased customer still counted."""

    async def scenario(world: World) -> None:
        assert await checked(world, kept) == verify.Verdict(60, [])  # nothing folded yet
        await folded(world)
        customers = sum(len(world.rows(p)) for p in range(PARTITIONS))
        assert await checked(world, kept) == verify.Verdict(customers, [])
        assert "odd" in world.rows(home("odd"))
        assert "h7" not in world.rows(home("h7"))

    play(scenario, kept, **sent)


def test_the_command_says_what_is_wrong_and_ends_with_1(
    redis_url: str, store_prefix: str, kept: Path, sent: dict[str, Any]
) -> None:
    """Mutation caught: `return count, []`, that is, a command that never finds anything."""

    def command(*more: str) -> Result:
        told = world.settings.model_dump(exclude_none=True)
        env = {f"CRM_{name.upper()}": str(value) for name, value in told.items()}
        return CliRunner().invoke(main, ["verify", "--history", str(kept), *more], env=env)

    world = World(redis_url, store_prefix, **sent)
    run(folded, world, kept)
    world.redis.hset(world.store.keys.meta, "topic_id", topics.describe(world.settings).id)
    done = command()
    assert (done.exit_code, done.output) == (0, "customers: 62; wrong: 0\n")
    true = world.customer("h20")["orders"]
    hash_says("orders", "99")(world, "h20")
    no_hash(world, "h21")
    no_state(world, "h22")
    done = command("--most", "2")
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        f"h20: hash: orders: in Redis 99, should be {true}",
        "h21: hash: in Redis absent, should be present",
        "customers: 62; wrong: 3",
    ]


def test_the_document_says_of_every_field_whether_it_is_compared() -> None:
    document = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    section = document.partition("\n## Verify\n")[2].partition("\n## ")[0]
    compared, others = (
        set(re.findall(r"`(\w+)`", part)) & {*scores.FIELDS} for part in section.split("What it does not:")
    )
    assert compared == {*verify.SHOWN}
    assert others - {"customer_value", "segment", "previous_segment"} == {*scores.FIELDS} - compared


# ---- while workers write ---------------------------------------------------------------------------------------------
class Meanwhile(Store):
    """Something happens before each read of a page."""

    def __init__(self, world: World, happens: Callable[[], Any]) -> None:
        super().__init__(connect(world.settings), world.settings)
        world.reached.append(self)
        self.happens, self.pages = happens, 0

    async def look(self, *args: Any) -> Any:
        self.pages += 1
        await self.happens()
        return await super().look(*args)


@pytest.mark.parametrize("records", [12, 1000])
def test_nothing_is_wrong_while_workers_write(
    play: Play, kept: Path, sent: dict[str, Any], monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    """Mutations caught: everybody counted up to the offset at which `verify` began, or the log read no further."""
    monkeypatch.setattr(verify, "PAGE", 5)

    async def scenario(world: World) -> None:
        async def work() -> None:
            for part in parts:
                end = len(world.log.records[part.number])
                await world.catch_up(part, min(part.reached + records, end))

        happened(world.log)
        parts = [await world.located(p) for p in range(PARTITIONS)]
        store = Meanwhile(world, work)
        assert (await checked(world, kept, store)).wrong == []
        assert store.pages > 10
        assert sum(world.guard(p)[0] for p in range(PARTITIONS)) > 100

    play(scenario, kept, **sent)


def test_nothing_is_wrong_between_two_blocks_of_a_chunk(play: Play, kept: Path, sent: dict[str, Any]) -> None:
    """Mutation caught: a customer counted up to the guard's offset, which only the last block of a chunk moves."""

    async def scenario(world: World) -> None:
        async def check() -> None:
            found.append((await checked(world, kept)).wrong)

        happened(world.log)
        await world.catch_up(await world.located(), len(world.log.records[0]) - 10)
        await world.catch_up(await world.located(store=world.struck({3: check, 7: check})))
        assert found == [[], []]

    found: list[list[verify.Difference]] = []
    play(scenario, kept, block=1, **sent)


def test_a_segment_set_that_comes_into_being_meanwhile_is_read(play: Play, kept: Path, sent: dict[str, Any]) -> None:
    """Mutation caught: only those sets asked for that stood there when `verify` began."""

    class Early(Store):
        async def scan(self, kind: str) -> list[str]:
            return [] if kind == "members" else await super().scan(kind)

    async def scenario(world: World) -> None:
        store = Early(connect(world.settings), world.settings)
        world.reached.append(store)
        assert (await checked(world, kept, store)).wrong == []

    play(scenario, kept, **sent)


def test_a_redis_started_anew_meanwhile_ends_it(kept: Path, sent: dict[str, Any]) -> None:
    """Mutation caught: the run ids not compared: what a scan missed that spans two servers would go unnoticed."""
    with services.valkey() as server:

        async def scenario(world: World) -> None:
            async def start_anew() -> None:
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
                with contextlib.suppress(exceptions.ConnectionError):
                    await store.guard(0)  # the client connects anew

            store = Meanwhile(world, start_anew)
            with pytest.raises(exceptions.ConnectionError, match="started anew in the middle of verify: run it again"):
                await checked(world, kept, store)

        run(scenario, World(server.url, "crm", **sent), kept)


def test_what_is_not_there_or_not_ready_is_not_compared(play: Play, kept: Path, sent: dict[str, Any]) -> None:
    """Mutations caught: no look at crm:meta, at the guard, or at its state: everybody would be found wrong."""

    async def scenario(world: World) -> None:
        async def begin() -> None:
            world.redis.hset(world.store.keys.guard(0), "state", "rebuilding")

        with pytest.raises(DeploymentError, match=r":meta is missing: run `python -m streams publish DIR`"):
            await checked(world, kept)
        await world.publish(kept)
        for store in (Meanwhile(world, begin), world.store):
            with pytest.raises(DeploymentError, match=r":guard:0 is rebuilding: wait for it to be ready"):
                await checked(world, kept, store)
        world.redis.delete(world.store.keys.guard(0))
        with pytest.raises(DeploymentError, match=r":guard:0 is missing: restore Redis, or run .*rebuild"):
            await checked(world, kept)

    play(scenario, None, **sent)


def test_what_stands_where_the_log_is_not_or_was_written_by_an_older_program_is_not_compared(
    play: Play, kept: Path, sent: dict[str, Any]
) -> None:
    """Mutations caught: an offset beyond the log's end, before its beginning, or hashes of an older form compared: most
    customers would be found wrong. Workers that went on behind the look at the topic are not that, and what a
    history holds of the cut-off and later is the log's to tell."""

    async def scenario(world: World) -> None:
        async def refused(line: str, bounds: tuple[int, int], **guard: int) -> None:
            world.redis.hset(key, mapping=guard)
            topic = replace(known, bounds=[bounds] * PARTITIONS)
            with pytest.raises(DeploymentError, match=line):
                await verify.verify(world.store, world.settings, past, topic, lambda _: None)

        await folded(world)
        key, past = world.store.keys.guard(0), read_parquet(kept / handover.HISTORY)
        late = past[:2].assign(event_id=["late", "later"], occurred_at=[T0 * DAY, T0 * DAY + 1])
        past = pd.concat([past, late], ignore_index=True)
        stood, known = world.guard(0)[0], replace(world.topic, name=sent["events_topic"], bounds=[(0, 0)] * PARTITIONS)
        assert (await verify.verify(world.store, world.settings, past, known, lambda _: None)).wrong == []
        beyond = f":guard:0 stands at offset {stood + 1}, but partition 0 of .* holds 0 to {stood}: .*streams rebuild"
        await refused(beyond, (0, 0), offset=stood + 1)
        await refused(
            ":guard:0 stands at offset 3, .* holds 5 to .*: records 3 to 4 were deleted", (5, stood), offset=3
        )
        await refused(":guard:0: some customers have no segment yet", (0, stood), offset=stood, hashes=scores.FORM - 1)

    play(scenario, kept, **sent)


# ---- names of segments -----------------------------------------------------------------------------------------------
def renamed(kept: Path, directory: Path) -> Path:
    """The same artefact, its segments under other names."""
    what = artefact.decode((kept / "artefact.json").read_bytes())
    model = what.restored()
    model.segments.names = [f"new {name}" for name in model.segments.names]
    (directory / "artefact.json").write_bytes(artefact.encode(artefact.Artefact.of(model)))
    (directory / "states.parquet").write_bytes((kept / "states.parquet").read_bytes())
    return directory


def test_a_segment_is_called_as_the_model_called_it_that_the_hash_names(
    play: Play, kept: Path, sent: dict[str, Any], tmp_path: Path
) -> None:
    """Mutations caught: names taken from the serving model; names compared with no model of their publish kept."""

    async def scenario(world: World) -> None:
        await folded(world)
        first = world.version
        await world.publish(renamed(kept, tmp_path))
        assert (await checked(world, kept)).wrong == []
        assert not world.customer("h20")["segment"].startswith("new ")
        document = world.redis.get(world.store.keys.version(first))
        world.redis.delete(world.store.keys.version(first))
        assert (await checked(world, kept)).wrong == []
        world.redis.set(world.store.keys.version(first), document)
        hash_says("segment", "new " + world.customer("h20")["segment"])(world, "h20")
        assert by_customer(await checked(world, kept)) == {"h20": ["hash: segment"]}
        for p in range(PARTITIONS):
            await (await world.located(p)).idle()
        assert world.customer("h20")["segment"].startswith("new ")
        assert (await checked(world, kept)).wrong == []

    play(scenario, kept, **sent)


def test_a_segment_is_called_as_a_later_model_of_the_same_publish_has_it(
    play: Play, kept: Path, sent: dict[str, Any]
) -> None:
    """The trainer's versions come and go; the names stand. Mutation caught: names of a hash's own version alone."""

    async def scenario(world: World) -> None:
        await folded(world)
        keys, document = world.store.keys, world.redis.get(world.store.keys.version(world.version))
        later = str(Version.of(1, T0 + 1, document))
        world.redis.rename(keys.version(world.version), keys.version(later))
        world.redis.hset(keys.model, "version", later)
        assert (await checked(world, kept)).wrong == []
        hash_says("segment", "another")(world, "h20")
        hash_says("previous_segment", "another")(world, "h21")
        assert by_customer(await checked(world, kept)) == {"h20": ["hash: segment"], "h21": ["hash: previous_segment"]}

    play(scenario, kept, **sent)


# ---- a log without an event ------------------------------------------------------------------------------------------
@pytest.fixture
def topic(kafka: str) -> Settings:
    """A new topic of one partition."""
    made = Settings(kafka=kafka, events_topic=f"verify-{secrets.token_hex(4)}", partitions=1)
    topics.create(made)
    return made


def test_history_is_counted_where_the_log_is_empty(topic: Settings) -> None:
    empty = recount.log(topic, 0, 0, 0, 19_700, lambda _: 0)
    events = pd.concat([PAST, empty], ignore_index=True)
    counted = recount.recount(events.assign(place=range(len(events))))
    assert [int(counted[name]["ann"]) for name in ("orders", "spend", "days")] == [2, 30_000, 2]


def test_nothing_is_counted_where_there_is_nothing(topic: Settings) -> None:
    empty = recount.log(topic, 0, 0, 0, 19_700, lambda _: 0)
    assert len(recount.recount(empty.assign(place=range(0)))) == 0


def test_nobody_is_wrong_where_there_is_nobody(play: Play, kafka: str, topic: Settings, tmp_path: Path) -> None:
    """A shop that never sold anything."""

    async def scenario(world: World) -> None:
        assert await checked(world, with_history(tmp_path, 0)) == verify.Verdict(0, [])

    play(scenario, kafka=kafka, events_topic=topic.events_topic)
