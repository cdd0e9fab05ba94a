"""One customer exported and erased: everything that is held is shown, cleaned or named, and nothing brings it back."""

import asyncio
import json
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import shops
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from deployment import Play, World
from running import Running, purchase, running, until
from shops import T0

from demo import services
from models import handover
from models.events import encode_event, encode_tick, hash_ids
from models.rows import DAY, RINGS, ROW, load_rows
from offline.history.read import write_parquet
from streams import erase, rebuild
from streams import kafka as topics
from streams.compose import ERASED
from streams.customer import Customer
from streams.export import state
from streams.kept import Kept
from streams.keys import Keys
from streams.partition import Partition

GONE, BACK = "h3", "h5"  # of the shop: one is erased, one is erased and comes back


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `offline fit` would leave of 12 customers; the test that purges it is the only one that takes it."""
    return shops.shop(tmp_path_factory.mktemp("little"), customers=12)


class Shop:
    """A running deployment whose customers buy for a month and a half, so that examples close and segments change."""

    def __init__(self, deployment: Running) -> None:
        self.deployment, self.producer = deployment, deployment.producer()

    def buys(self, *customers: str, days: range) -> None:
        for day in days:
            for name in customers:
                key, value, timestamp = purchase(name, f"{name}-{day}", day)
                self.producer.produce(self.deployment.name, value, key, timestamp=timestamp)
        self.producer.flush()

    def spoils(self, customer: str) -> None:
        """A bad event about the customer, under the right key and under another."""
        bad = encode_event("bad", "purchase", customer, T0 * DAY)
        for key in (customer.encode(), b"another"):
            self.producer.produce(self.deployment.name, bad, key, timestamp=T0 * DAY // 1000)
        self.producer.flush()

    def tick(self, day: int) -> None:
        at = day * DAY + DAY // 24
        for p in range(self.deployment.partitions):
            self.producer.produce(self.deployment.name, encode_tick(at), partition=p, timestamp=at // 1000)
        self.producer.flush()

    def folded(self) -> None:
        """Waits until the workers stand at the end of the log."""
        self.producer.flush()
        ends = [high for _, high in topics.bounds(self.deployment.settings, self.deployment.name)]
        self.deployment.reaches(*ends)

    def holds(self, customer: str) -> list[str]:
        """The keys of Redis that hold the id: in their name, or in what stands there."""
        redis, found = self.deployment.redis, []
        for key in redis.scan_iter(f"{self.deployment.name}:*", count=1000):
            kind = redis.type(key)
            inside = (
                (kind == "hash" and redis.hexists(key, customer))
                or (kind == "zset" and redis.zscore(key, customer) is not None)
                or (kind == "stream" and any(customer in entry.values() for _, entry in redis.xrange(key)))
            )
            if inside or key.endswith(f":{customer}"):
                found.append(key.removeprefix(f"{self.deployment.name}:"))
        return sorted(found)


@pytest.fixture
def shop_running(kafka: str, valkey: services.Valkey, little: Path, tmp_path: Path) -> Any:
    with running(kafka, valkey.url, little, tmp_path, partitions=2, training_days=400) as deployment:
        yield Shop(deployment)


def places(receipt: dict[str, Any]) -> dict[str, list[tuple[int | None, int]]]:
    """(found, removed) of each place, by the last part of its name that is a word."""
    told: dict[str, list[tuple[int | None, int]]] = {}
    for place in receipt["places"]:
        told.setdefault(place["place"], []).append((place["found"], place["removed"]))
    return told


def purge(customer: str, directory: Path) -> None:
    """As docs/operations.md says."""
    text = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    found = re.search(r'^    python -c "\n(.*?)^    " ', text, re.MULTILINE | re.DOTALL)
    assert found is not None
    files = [directory / name for name in (handover.HISTORY, handover.STATES)]
    subprocess.run([sys.executable, "-c", textwrap.dedent(found[1]), customer, *files], check=True)
    assert sum(place.found or 0 for place in erase._history(directory, customer)) == 0


@pytest.mark.e2e
def test_a_customer_is_exported_erased_and_never_comes_back(shop_running: Shop, little: Path, tmp_path: Path) -> None:
    """Mutations caught: examples or changes left; a rebuild that folds what came before the tombstone; a reject or an
    event of a file sent again; the id in the receipt."""
    made, deployment = shop_running, shop_running.deployment
    worker = deployment.worker()
    made.buys(GONE, BACK, "h1", days=range(T0, T0 + 45, 3))
    made.spoils(GONE)
    made.tick(T0 + 46)
    made.folded()

    told = json.loads(deployment.call("export", GONE, "--log"))
    assert told["hash"]["orders"] == str(told["state"]["orders"])
    assert told["state"]["last"] == "2024-01-20T12:00:00.000000Z"
    assert [each["set"] for each in told["segment_sets"]] == [f"members:{told['state']['segment']}"]
    assert len(told["examples"]) >= 1
    assert {change["customer"] for change in told["changes"]} <= {GONE}
    assert [each["reason"] for each in told["rejected"]] == ["wrong_field", "wrong_key"]
    assert len(told["events"]) == 17
    assert {each["key"] for each in told["events"]} == {GONE, "another"}
    assert {json.loads(each["value"])["customer_id"] for each in told["events"]} == {GONE}
    assert told["erased"] is None
    assert "unknown" in deployment.call("export", "nobody", code=1)

    file, name = tmp_path / "receipt.json", deployment.name
    deployment.call("erase", GONE, "--history", str(little), "--receipt", str(file))
    assert f'"{GONE}"' not in file.read_text()
    receipt = json.loads(file.read_text())
    found = places(receipt)
    assert found[f"{name}:customer:*"] == found[f"{name}:state:*"] == found[f"{name}:members:*"] == [(1, 1)]
    assert found[f"{name}:training:*"] == [(len(told["examples"]),) * 2]
    assert found[f"{name}:changes:*"] == [(len(told["changes"]),) * 2, (1, 0)]
    assert found[f"{name}.rejected"] == [(2, 0)]
    assert found[name] == [(17, 0)]
    past = shops.history(12, T0)
    assert found[str(little / "history.parquet")] == [((past["customer_id"] == GONE).sum(), 0)]
    assert found[str(little / "states.parquet")] == [(1, 0)]
    (rejected,) = [place for place in receipt["places"] if place["place"] == f"{name}.rejected"]
    kept = topics.config(deployment.settings, f"{name}.rejected")
    assert (kept["retention.ms"], rejected["whose"]) == (str(90 * 86_400_000), "ours")
    assert rejected["until"] > receipt["erased_at"]
    assert made.holds(GONE) == [f"changes:{deployment.home(GONE)}"]
    (line,) = deployment.call("erase", "--list").splitlines()
    assert line.split() == [receipt["customer"], receipt["erased_at"], receipt["tombstone"]]

    deployment.call("erase", BACK, "--no-log")
    made.buys(BACK, days=range(T0 + 47, T0 + 48))
    made.folded()
    assert deployment.orders(BACK) == "1"
    assert "no tombstone of this customer" in deployment.call("erase", "h1", "--again", code=2)
    behind = json.loads(deployment.call("erase", BACK, "--again", "--no-log").partition("\n")[2])
    assert places(behind)[f"{name}:customer:*"] == [(0, 0)]
    assert deployment.orders(BACK) == "1"
    events = tmp_path / "again.parquet"
    frame = past.assign(product_id=None, quantity=10_000, occurred_at=(T0 + 46) * DAY)
    write_parquet(frame[frame["customer_id"].isin([GONE, BACK, "h1"])].drop_duplicates("customer_id"), events)
    assert "sent: 1 events; of erased customers, not sent: 2" in deployment.call("replay", str(events), "--free")
    export = tmp_path / "export.csv"  # whatever `offline` takes, with its options
    export.write_text(f"Kunde;Tag;Betrag\n{GONE};20.01.2024;1.234,50\nh1;21.01.2024;9,90\nh1;1.1.1999;5,00\n")
    made.folded()
    before = int(deployment.orders("h1") or 0)
    german = ("--columns", "customer_id=Kunde,occurred_at=Tag,amount=Betrag", "--decimal", ",", "--from", "2000-01-01")
    said = deployment.call("replay", str(export), "--free", *german)
    assert "- before --from                                                1" in said
    assert "sent: 1 events; of erased customers, not sent: 1" in said
    made.folded()
    assert deployment.orders("h1") == str(before + 1)
    purge(GONE, little)
    deployment.call("rebuild", "--history", str(little))
    made.folded()
    assert made.holds(GONE) == [f"changes:{deployment.home(GONE)}"]
    assert deployment.orders(BACK) == "1"
    assert "wrong: 0" in deployment.call("verify", "--history", str(little))
    told = json.loads(deployment.call("export", GONE))
    assert (told["hash"], told["state"], told["examples"], told["segment_sets"]) == ({}, None, [], [])
    assert told["erased"]["at"] == receipt["erased_at"]
    assert [change["to"] for change in told["changes"]] == ["erased"]
    assert [who for who in (GONE, BACK, "h1") if who in worker.said] == []
    assert worker.process.poll() is None


# ---- refusals and reading --------------------------------------------------------------------------------------------
def test_nothing_is_sent_where_something_is_refused(kafka: str, redis_url: str, nobody: Path, tmp_path: Path) -> None:
    """Mutations caught: a history looked into after the tombstone; an empty receipt left."""
    receipt = tmp_path / "receipt.json"
    with running(kafka, redis_url, nobody, tmp_path) as deployment:
        (tmp_path / "text").write_text("no parquet")
        for args, says in [
            (["c1", "--history", str(tmp_path / "text")], "text is no cleaned history"),
            (["c1", "--history", str(tmp_path)], "history.parquet is missing"),
            (["c1", "--receipt", str(tmp_path / "none" / "r.json")], "there is no directory"),
            (["c1", "--receipt", str(receipt), "--history", str(tmp_path / "text")], "text is no cleaned history"),
            (["x" * 129, "--receipt", str(receipt)], "CUSTOMER is no id"),
            (["c1", "--receipt", str(receipt), "--again"], "no tombstone of this customer"),
            (["x" * 129], "CUSTOMER is no id"),
            (["c1", "--list"], "give a CUSTOMER, or --list"),
            ([], "give a CUSTOMER, or --list"),
            (["--list", "--again"], "give a CUSTOMER, or --list"),
            (["--again", "--receipt", str(receipt)], "are about one CUSTOMER"),
        ]:
            assert says in deployment.call("erase", *args, code=2)
        assert sorted(path.name for path in tmp_path.glob("receipt*")) == []
        assert topics.bounds(deployment.settings, deployment.name) == [(0, 0)]


def test_without_a_worker_it_says_what_to_do(
    kafka: str, redis_url: str, nobody: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The customer is erased all the same; `--no-wait` says what is left to do. A topic that keeps for ever is told.
    Mutation caught: a keyed hash told that no worker has written yet."""
    monkeypatch.setattr(erase, "PATIENCE", 0.3)
    with running(kafka, redis_url, nobody, tmp_path) as deployment:
        said = deployment.call("erase", "c1", code=2)
        assert f"the tombstone stands at {deployment.name}:0:0, but" in said
        assert "is a worker up?" in said
        resource = ConfigResource(ResourceType.TOPIC, deployment.settings.rejected_topic)
        entry = ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)
        resource.add_incremental_config(entry)
        deployment.admin.incremental_alter_configs([resource])[resource].result(15)
        until(lambda: topics.config(deployment.settings, resource.name)["retention.ms"] == "-1")
        said = deployment.call("erase", "c1", "--no-wait")
        assert said.startswith(f"the tombstone stands at {deployment.name}:0:1; should this break off")
        receipt = json.loads(said.partition("\n")[2])
        assert receipt["passed"] is False
        assert receipt["tombstone"] == f"{deployment.name}:0:1"
        erased = f"{deployment.name}:erased"
        assert places(receipt)[f"{erased}:*"] == [(0, 0)]
        deployment.redis.hset(f"{erased}:0", receipt["customer"], "0 1702123200000")  # the first one was passed
        again = json.loads(deployment.call("erase", "c1", "--no-wait").partition("\n")[2])
        assert places(again)[f"{erased}:*"] == [(1, 0)]
        deployment.redis.delete(f"{erased}:0")
        notes = " ".join(place["note"] for place in receipt["places"])
        assert "goes when a worker passes the tombstone" in notes
        assert "keeps records for ever, longer than CRM_REJECTED_DAYS=90" in notes
        assert "keeps records for ever, longer than" in deployment.call("init")
        deployment.redis.hset(f"{deployment.name}:erased:0", "of-before", "17")
        assert deployment.call("erase", "--list") == f"of-before  time not kept             {deployment.name}:0:17\n"


def test_what_stands_again_of_whoever_was_erased_is_removed_at_once(
    kafka: str, redis_url: str, nobody: Path, tmp_path: Path
) -> None:
    """As after a Redis that came back older, or was published anew: nobody keeps the ids that were erased, but the log.
    Mutations caught: what a new customer of that id left since, or somebody whose tombstone no worker has passed;
    the first of two tombstones taken; a key that can be no id ends it."""
    with running(kafka, redis_url, nobody, tmp_path, partitions=2) as deployment:
        producer, name, day = deployment.producer(), deployment.name, int(time.time() // 86_400)
        told: dict[str, list[int]] = {who: [] for who in ("ann", "bob", "cyd", "dan")}

        def sends(who: str, value: bytes | None) -> None:
            home, stands = deployment.home(who), told[who]
            producer.produce(name, value, who, home, on_delivery=lambda _, sent: stands.append(sent.offset() or 0))
            producer.flush()

        for who, value in [("ann", None), ("bob", b"{}"), ("cyd", None), ("cyd", b"{}"), ("cyd", None), ("dan", b"{}")]:
            sends(who, value)
        producer.produce(name, None, b"\xff", 0)
        producer.flush()
        ends = topics.bounds(deployment.settings, name)
        for p, (_, end) in enumerate(ends):
            deployment.redis.hset(f"{name}:guard:{p}", "offset", end)
        producer.produce(name, None, "dan", deployment.home("dan"))  # not passed yet
        producer.flush()
        for who, offsets in told.items():
            p = deployment.home(who)
            for source in ("history", f"{name}:{p}:{offsets[-1] - 1}", f"{name}:{p}:{offsets[-1] + 1}"):
                change = {"type": "moved", "customer": who, "from": "0", "to": "1", "source": source}
                deployment.redis.xadd(f"{name}:changes:{p}", change)
            for of in (day - 30, day + 30):
                deployment.redis.hset(f"{name}:training:{p}:{of}", who, "an example")
        said = deployment.call("erase", "--again")
        assert said == "erased before: 2 customers; records that stood again, removed: 6\n"
        left = dict.fromkeys(told, 0)
        for p in range(2):
            for _, change in deployment.redis.xrange(f"{name}:changes:{p}"):
                left[change["customer"]] += 1
            for of in (day - 30, day + 30):
                for who in deployment.redis.hkeys(f"{name}:training:{p}:{of}"):
                    left[who] += 1
        assert left == {"ann": 2, "bob": 5, "cyd": 2, "dan": 5}
        assert "removed: 0" in deployment.call("erase", "--again")


def test_who_is_nowhere_is_told(kafka: str, redis_url: str, shop: Path, tmp_path: Path) -> None:
    """An id that was mistyped is erased, too, and its receipt does not show it. Mutations caught: said of who stands in
    Redis, in the log or in a history alone, or where what was left is cleaned."""
    with running(kafka, redis_url, shop, tmp_path) as deployment:
        deployment.bought("ann")  # no worker: she stands in the log alone

        def warned(*args: str) -> bool:
            return "nothing of this customer was found" in deployment.call("erase", *args, "--no-wait")

        assert [name for name in ("H1", "h1 ", "anne", "h1", "ann") if warned(name)] == ["H1", "h1 ", "anne"]
        assert warned("h999", "--history", str(shop), "--no-log")
        assert not warned("H1", "--again")


def test_a_rebuild_does_not_make_an_erased_customers_examples_anew(play: Play, shop: Path) -> None:
    """Not for a moment either; who came back is folded from the tombstone on. Mutation caught: nobody doomed."""

    async def scenario(world: World) -> None:
        for day in range(0, 45, 5):
            for name in ("h0", "h1", "n0"):
                world.log.buy(name, T0 + day)
        world.log.erase("h0", T0 + 45)
        world.log.erase("n0", T0 + 45)
        world.log.buy("n0", T0 + 46)
        world.log.tick(T0 + 47)
        await world.catch_up(await world.located())
        for name in ("h0", "n0"):
            who = Customer(world.store, world.deployment, name)
            assert len(await who.examples()) >= 1
            await who.forget_examples([*await who.examples()])
        before = world.contents()
        await rebuild.rebuild(world.store, world.topic, Kept(shop), lambda _: None)
        part: Partition = await world.located()
        for end in range(1, len(world.log.records[0]) + 1):
            await world.catch_up(part, end)
            assert world.customer("h0") == {}
        after = world.contents()
        assert after.pop("rejected:0").pop(b"erased") == b"18"
        before.pop("rejected:0", None)
        assert {
            day: set(mine) & {"h0", "n0"} for day, mine in world.examples().items() if set(mine) & {"h0", "n0"}
        } == {}
        assert after["customer:n0"] == before["customer:n0"]
        assert [key for key in after if key.startswith("state") and after[key].keys() != before[key].keys()] == []

    play(scenario, shop, training_days=400)


def test_every_field_of_a_state_is_told_in_units_that_a_person_reads(play: Play, shop: Path) -> None:
    """Two of each kind: times, dates, money, decayed sums, ids."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0, "12.34")
        world.log.buy("ann", T0 + 7, "1.00")
        world.log.event("view", "ann", T0 + 7)
        await world.catch_up(await world.located())
        packed = await Customer(world.store, world.deployment, "ann").state()
        assert packed is not None
        told = state(load_rows([packed])[0])
        halves = {half for name in ("traded", "browsed") for half in RINGS[name]}
        assert told.keys() == set(ROW.names or ()) - halves | {"traded_ids", "browsed_ids"}
        ids = [int(each, 16) for each in (*told["traded_ids"], *told["browsed_ids"], *told["order_ids"])]
        assert ids == [
            *(int(n) % 2**48 for n in hash_ids([b"0-0", b"0-1", b"0-2"])),
            *map(int, hash_ids([b"0-0", b"0-1"])),
        ]
        assert (told["first"], told["last"]) == ("2023-12-09T00:00:00.000000Z", "2023-12-16T00:00:00.000000Z")
        assert (told["spend"], told["returned"]) == ("13.3400", "0.0000")
        assert told["v7"] == 1.0
        assert told["n30"] == pytest.approx(1 + 2 ** (-7 / 30))
        assert told["n90"] == pytest.approx(1 + 2 ** (-7 / 90))
        assert told["s90"] == pytest.approx(1 + 12.34 * 2 ** (-7 / 90))
        assert told["s30"] == pytest.approx(1 + 12.34 * 2 ** (-7 / 30))
        assert len(told["order_ids"]) == 2
        assert told["due"] > "2023-12-16"
        json.dumps(told)

    play(scenario, shop)


@pytest.mark.parametrize(
    ("at", "gone"), [(T0 * topics.DAY + 7, [T0 - 9, T0, T0 + 1]), (None, [T0 - 9, T0 + 1, T0 + 2, T0])]
)
def test_what_is_of_before_a_tombstone_goes_and_what_came_since_stays(at: int | None, gone: list[int]) -> None:
    """An example of the day of a tombstone closes at midnight. Mutations caught: that one left; those of who came back
    taken; changes of the tombstone's own record or of none in the log."""
    sources = {"a": "t:0:6", "b": "t:0:7", "c": "t:0:8", "d": "history"}
    found = [(each.encode(), {"to": "3", "source": source}) for each, source in sources.items()]
    taken: list[Any] = []

    class Held:
        kept: tuple[int, int | None] | None = (7, at)

        async def erased(self) -> Any:
            return self.kept

        async def changes(self) -> Any:
            return [*found, (b"e", {"to": ERASED, "source": "t:0:5"})]

        async def examples(self) -> Any:
            return dict.fromkeys((T0 - 9, T0, T0 + 1, T0 + 2), b"example")

        async def forget_examples(self, days: list[int]) -> int:
            taken.append(sorted(days))
            return len(days)

        async def forget_changes(self, places: list[bytes]) -> int:
            taken.append(places)
            return len(places)

    store: Any = SimpleNamespace(keys=Keys())
    held: Any = Held()
    places = asyncio.run(erase._cleaned(store, held, erase.Tombstone(0, 7, at), passed=True))
    assert taken == [sorted(gone), [b"a", b"d"]]
    assert [(each.found, each.removed) for each in places] == [(len(gone), len(gone)), (2, 2), (1, 0), (1, 0)]
    held.kept = None
    waits = asyncio.run(erase._cleaned(store, held, erase.Tombstone(0, 7, at), passed=False))
    assert [(each.found, each.removed) for each in waits] == [(len(gone), 0), (2, 0), (1, 0), (0, 0)]
    assert len(taken) == 2
