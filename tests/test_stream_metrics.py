"""What a worker shows to Prometheus and to whoever restarts it: what it counts is what there was, and nobody's id."""

import asyncio
import contextlib
import http.client
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from running import Running, Worker, purchase, running, until
from shops import T0

from demo import services
from models.events import encode_event
from models.kinds import ERASE, TICK, VIEW
from models.rows import DAY
from models.truth import Figures, Window
from streams import status
from streams.metrics import Ages, Meter, Now
from streams.overview import PASSED_OVER
from streams.probes import Server
from streams.refusal import Refusal
from streams.status import Status

Shown = dict[str, dict[tuple[str, ...], float]]  # by name: by the values of its labels
NAMES = {
    *("events", "events_rejected", "events_passed_over", "partitions_lost"),
    *("lag_records", "lag_seconds", "freshness_seconds", "end_to_end_seconds", "write_seconds", "chunk_events"),
    *("fold_seconds", "sweep_seconds", "swept_to_timestamp_seconds", "customers", "table_bytes"),
    *("model_day", "model", "feed_silent_seconds"),
}


def get(url: str) -> tuple[int, str]:
    """(status, body), whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def asked(url: str, what: str) -> tuple[int, list[str]]:
    code, body = get(f"{url}/health/{what}")
    return code, json.loads(body)["reasons"]


def base(worker: Worker) -> str:
    """Where this worker answers."""
    worker.says("metrics at ")
    (found,) = re.findall(r"metrics at (http://\S+)/metrics", worker.said)
    return str(found)


def shown(worker: Worker) -> Shown:
    code, text = get(f"{base(worker)}/metrics")
    assert code == 200
    found: Shown = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def held(worker: Worker) -> set[str]:
    """Partitions of which any gauge tells."""
    gauges = ("customers", "lag_records", "lag_seconds", "freshness_seconds", "swept_to_timestamp_seconds")
    found = shown(worker)
    return {number for name in gauges for (number,) in found.get(f"crm_{name}", {})}


def ready(worker: Worker) -> tuple[int, list[str]]:
    return asked(base(worker), "ready")


def records() -> Iterator[tuple[bytes, bytes | None, int]]:
    """(key, value, timestamp): events of every type, a copy, what is late, what is no event, what is passed over."""
    noon = T0 * DAY + DAY // 2
    for customer in ("secret-ann", "secret-bob", "secret-cyd"):
        key = customer.encode()
        yield purchase(customer, f"p-{customer}", T0)
        yield purchase(customer, f"p-{customer}", T0)  # a duplicate
        yield purchase(customer, f"old-{customer}", T0 - 2)  # before the history ends
        for kind in ("view", "cart"):
            yield key, encode_event(f"{kind}-{customer}", kind, customer, noon), noon // 1000
        yield key, encode_event(f"r-{customer}", "return", customer, noon, quantity=1, unit_price="1.00"), noon // 1000
        yield b"secret-nobody", b"{", noon // 1000  # not JSON
    yield from (purchase("secret-ann", f"later-{day}", T0 + day) for day in range(1, 4))  # each asks for a sweep
    yield purchase("secret-ann", "late", T0)  # its day is closed
    yield b"secret-eve", encode_event("v", "view", "secret-eve", noon), noon // 1000  # before a first purchase
    yield b"secret-cyd", None, noon // 1000


COUNTED = {"not_json": 3, "duplicate": 3, "before_history_ends": 3, "late": 1, "before_first_purchase": 1}
KINDS = {"purchase": 13, "return": 3, "view": 4, "cart": 3, "erase": 1}


def test_what_is_counted_is_what_there_was(kafka: str, shop: Path, tmp_path: Path) -> None:
    """Mutations caught: a reason counted twice; ticks or tombstones left out; ages of a chunk's other pieces; gauges of
    a partition that moved on; readiness without Redis; a label that names a customer."""
    with services.valkey() as valkey, running(kafka, valkey.url, shop, tmp_path, partitions=2, metrics="0") as run:
        first = run.worker()
        until(lambda: ready(first) == (200, []), lambda: f"{ready(first)} {run.said}")
        producer = run.producer()
        for key, value, timestamp in records():
            producer.produce(run.name, value, key, timestamp=timestamp)
        producer.flush()
        until(lambda: done(shown(first)), lambda: run.said)
        check(run, shown(first))
        assert "secret" not in get(f"{base(first)}/metrics")[1]

        second = run.worker(CRM_LOG="json")
        until(lambda: (len(held(first)), len(held(second))) == (1, 1), lambda: run.said)
        assert held(first) | held(second) == {"0", "1"}

        run.redis.hset(f"{run.name}:guard:1", mapping={"token": "of somebody else", "state": "rebuilding"})
        until(lambda: ["partition 1 is locating"] in (ready(first)[1], ready(second)[1]), lambda: run.said)
        until(lambda: held(first) | held(second) == {"0"}, lambda: run.said)  # what was said may be of before
        assert sum(shown(each)["crm_partitions_lost_total"][()] for each in (first, second)) == 1
        run.redis.hset(f"{run.name}:guard:1", "state", "ready")
        until(lambda: held(first) | held(second) == {"0", "1"}, lambda: run.said)

        valkey.stop()
        until(lambda: any("Redis did not answer" in reason for reason in ready(first)[1]), lambda: run.said)
        assert (ready(first)[0], get(f"{base(first)}/health/live")[0]) == (503, 200)
        run.bought("secret-ann", "secret-bob", "secret-cyd")
        until(lambda: "crm_write_retries_total" in shown(first) | shown(second), lambda: run.said)
        valkey.start()
        until(lambda: (ready(first), ready(second)) == ((200, []), (200, [])), lambda: run.said)
        lines = [json.loads(line) for line in second.said.splitlines()]
        assert all({"time", "level", "event"} <= line.keys() for line in lines)
        assert all(str(line["partition"]) in line["event"] for line in lines if "partition" in line)


def done(found: Shown) -> bool:
    """Whether all was swept, the other partition by a tick, all days are learned, and the last write is counted."""
    swept = set(found["crm_swept_to_timestamp_seconds"].values()) == {(T0 + 3) * 86_400.0}
    learned, behind = found["crm_model_day"][()] == T0 + 3, sum(found["crm_lag_records"].values())
    return swept and learned and not behind and found["crm_end_to_end_seconds_count"] == found["crm_chunk_events_sum"]


def check(run: Running, found: Shown) -> None:
    """What is shown after `records`, of a worker that holds both partitions."""
    stands: Counter[str] = Counter()
    for p in range(run.partitions):
        stands.update({reason: int(n) for reason, n in run.redis.hgetall(f"{run.name}:rejected:{p}").items()})
    assert stands == COUNTED
    told = found["crm_events_rejected_total"] | found["crm_events_passed_over_total"]
    assert {reason: n for (reason,), n in told.items() if n} == COUNTED
    assert {reason for (reason,) in found["crm_events_passed_over_total"]} == set(PASSED_OVER)
    kinds = {kind: n for (kind,), n in found["crm_events_total"].items()}
    ticks = kinds.pop("tick")
    assert ticks >= 1
    assert kinds == KINDS
    total = sum(KINDS.values()) + ticks + COUNTED["not_json"]
    assert found["crm_end_to_end_seconds_count"] == found["crm_chunk_events_sum"] == {(): total}
    assert found["crm_end_to_end_seconds_bucket"][("86400.0",)] == ticks, "what was sent has the time of its event"
    assert (found["crm_partitions"], found["crm_partitions_lost_total"]) == ({(): 2}, {(): 0})
    assert found["crm_sweep_seconds_count"][()] >= 3 + 1
    assert sum(found["crm_customers"].values()) == 60 + 2
    assert found["crm_model_info"].keys() == {(run.redis.hget(f"{run.name}:model", "version"),)}
    assert found["crm_lag_records"] == found["crm_lag_seconds"] == {("0",): 0, ("1",): 0}
    assert all(0 <= value < 60 for value in found["crm_freshness_seconds"].values())
    assert {name for name in NAMES if not any(each.startswith(f"crm_{name}") for each in found)} == set()


def test_many_ages_fall_into_the_buckets_that_each_would() -> None:
    """A value on a bound is in that bound's bucket, as with prometheus-client's own histogram."""
    values = np.array([0.0, 0.5, 0.5001, 1.0, 7.0, 1e9])
    registry, bounds = CollectorRegistry(), (0.5, 1.0, 5.0)
    plain = Histogram("plain", "one by one", buckets=bounds, registry=registry)
    many = Ages("many", "at once", bounds, registry)
    many.add(values[:2])
    many.add(values[2:])
    for value in values.tolist():
        plain.observe(value)
    text = generate_latest(registry).decode()
    one, other = (re.findall(f"^{name}_(.+)$", text, re.MULTILINE) for name in ("plain", "many"))
    assert one == other
    assert len(one) == len(bounds) + 3


def test_ticks_are_no_feed() -> None:
    """Workers write them: a feed that fell silent is not heard by its own echo."""
    meter = Meter()
    meter.heard -= 60
    meter.folded(2, np.array([TICK, TICK], np.int8), 0.0)
    assert (silent := time.monotonic() - meter.heard) >= 60
    for kind in (ERASE, VIEW):
        meter.heard -= 60
        meter.folded(2, np.array([TICK, kind], np.int8), 0.0)
        assert time.monotonic() - meter.heard < silent


def test_what_came_of_what_was_served() -> None:
    """Of the worker that trains: deviance beside who said something else, and how often the bound held."""
    named = {"served": 2.0, "r90": 4.0, "zero": 0.0, "ridge": None}
    demand = {name: Figures(None, None, deviance, None) for name, deviance in named.items()}
    window = Window(30, "", "", 30, 9, 0, 1.0, 0.5, demand, {"all": 0.91, "top_5": None, "top_1": None}, None)
    text = generate_latest(Meter(lambda: Now(1, (), "3-20240301-0a1b2c3d", window)).registry).decode()
    ratios = [line for line in text.splitlines() if line.startswith("crm_model_deviance_ratio{")]
    assert ratios == ['crm_model_deviance_ratio{against="r90"} 0.5']
    assert "\ncrm_bound_coverage 0.91\n" in text
    assert f"\ncrm_model_day {date(2024, 3, 1).toordinal() - date(1970, 1, 1).toordinal()}.0\n" in text
    nothing = generate_latest(Meter().registry).decode()
    assert not re.search("^crm_(model|bound)", nothing, re.MULTILINE)


@contextlib.contextmanager
def served(told: Callable[[], Status]) -> Iterator[str]:
    """Where it answers."""
    server = Server("0", Meter().registry, told)
    yield server.url
    server.shutdown()
    server.server_close()


def test_head_answers_as_get_without_a_body() -> None:
    """Mutation caught: 501, as http.server's own."""
    with served(lambda: Status(0.0)) as url:
        for path, code in (("/metrics", 200), ("/health/ready", 503), ("/elsewhere", 404)):
            with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
                connection.request("HEAD", path)
                found = connection.getresponse()
                assert (found.status, found.read()) == (code, b"")
                assert int(found.headers["Content-Length"]) > 0


def test_a_loop_that_hangs_is_found_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers from a thread of its own. Mutations caught: the server in the loop; its silence passed over."""
    monkeypatch.setattr(status, "OLD", 0.5)
    said = [Status(0.0)]
    found: list[tuple[int, list[str]]] = []

    async def beat() -> None:
        while True:
            said.append(Status(time.time(), {0: "ready"}, {0: 0.0}, time.time(), "1-20240301-0a1b2c3d"))
            await asyncio.sleep(0.01)

    async def scenario(url: str) -> None:
        beating = asyncio.create_task(beat())
        await asyncio.sleep(0.05)
        found.append(await asyncio.to_thread(asked, url, "live"))
        asking = threading.Timer(0.7, lambda: found.extend(asked(url, what) for what in ("live", "ready")))
        asking.start()
        asking.join()  # and so the loop hangs
        beating.cancel()

    with served(lambda: said[-1]) as url:
        assert url.startswith("http://127.0.0.1:")
        asyncio.run(scenario(url))
        assert get(f"{url}/elsewhere")[0] == 404
    hangs = 503, ["the worker said nothing for 1 s"]
    assert found == [(200, []), hangs, hangs]


def test_who_is_not_ready_is_live() -> None:
    now, said = time.time(), [Status(0.0)]
    with served(lambda: said[-1]) as url:
        for each, reasons in (
            (Status(now, {0: "locating"}), ["partition 0 is locating"]),
            (Status(now, {0: "ready"}, {0: 61.0}, now, "1-20240301-0a1b2c3d"), ["partition 0 is 61 s behind"]),
            (Status(now), ["the worker holds no partition"]),
        ):
            said.append(each)
            assert (asked(url, "live"), asked(url, "ready")) == ((200, []), (503, reasons))


@pytest.mark.parametrize("host", ["[::1]", "[::]"])
def test_it_listens_on_ipv6(host: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = Server(f"{host}:0", Meter().registry, lambda: Status(time.time(), {0: "ready"}))
    try:
        assert server.url.startswith(f"http://{host}:")
        assert asked(server.url.replace("[::]", "[::1]"), "live") == (200, [])
    finally:
        server.shutdown()
        server.server_close()


def test_a_port_that_is_taken_is_refused() -> None:
    server = Server("127.0.0.1:0", Meter().registry, lambda: Status(0.0))
    address = server.url.removeprefix("http://")
    with pytest.raises(Refusal, match=f"CRM_METRICS={address}: Address already in use: workers of one machine need"):
        Server(address, Meter().registry, lambda: Status(0.0))
    server.shutdown()
    server.server_close()
