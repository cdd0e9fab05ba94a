"""The yardstick of peers: one job, told twice, whose truth comes from the log alone; the arithmetic of its figures."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from benchmarks import cpu, run, traffic
from benchmarks.metered import begun
from benchmarks.peers import batch, job, limits, loop, meter, tables
from benchmarks.peers.job import DAY, FIELDS, Facts, State
from benchmarks.peers.streaming import LOOP, PEERS, Log
from demo import services
from streams.partitioner import partitioner


# ---- the job ---------------------------------------------------------------------------------------------------------
def test_an_order_halves_every_30_and_every_90_days() -> None:
    """ln 2 / 30 of 10.00 a day at once, half of it after 30 days; ln 2 / 90 and 2 ** -(1/3) of it."""
    bought = job.step(State(), Facts(1, 1_000, 0))
    later = job.step(bought, Facts(0, 0, 30 * DAY))
    now = dict(zip(FIELDS, ("1", "10.00", "0.2310", "0.0770", "5.46", "1", "1709251200"), strict=True))
    then = dict(zip(FIELDS, ("1", "10.00", "0.1155", "0.0611", "3.65", "1", "1711843200"), strict=True))
    assert (job.fields(bought), job.fields(later)) == (now, then)


def test_a_return_takes_back_and_is_no_order() -> None:
    state = job.step(job.step(State(), Facts(1, 1_000, 5)), Facts(0, -1_500, 5))
    texts = ("1", "-5.00", "-0.1155", "-0.0385", "0.00", "0", "1709251205")
    assert job.fields(state) == dict(zip(FIELDS, texts, strict=True))


def test_late_events_count_as_if_they_had_come_in_time() -> None:
    events = [Facts(1, 1_000, 0), Facts(1, 2_500, 40 * DAY), Facts(0, -300, 9 * DAY)]
    states = [State(), State()]
    for forth, back in zip(events, reversed(events), strict=True):
        states = [job.step(states[0], forth), job.step(states[1], back)]
    assert job.same(job.fields(states[0]), job.fields(states[1]))


@pytest.mark.parametrize("field", FIELDS)
def test_what_differs_by_more_than_the_last_digit_is_wrong(field: str) -> None:
    true = job.fields(job.step(State(), Facts(1, 1_000, 0)))
    step = job.TOLERANCE.get(field, 0)
    assert job.same(true | {field: f"{float(true[field]) + step:.4f}"} if step else true, true)
    assert not job.same(true | {field: f"{float(true[field]) + 2 * step + (not step):.4f}"}, true)
    assert not job.same({name: text for name, text in true.items() if name != field}, true)


EVENTS = st.builds(
    lambda who, kind, seconds, cents: {
        "customer_id": f"c{who}",
        "event_type": kind,
        "occurred_at": np.datetime_as_string(np.datetime64(job.BEGIN + seconds, "s")) + "Z",
        **({"quantity": 1, "unit_price": cents / 100} if kind in ("purchase", "return") else {}),
    },
    st.integers(0, 9),
    st.sampled_from(traffic.TYPES),
    st.integers(0, 100 * DAY),
    st.integers(0, 10**6),
)


@pytest.fixture
def server() -> Iterator[services.Valkey]:
    with services.valkey(appendonly=False) as own:
        yield own


@given(st.lists(st.lists(EVENTS, min_size=1, max_size=30), min_size=1, max_size=4))
def test_a_batch_at_a_time_is_what_one_event_at_a_time_is(batches: list[list[dict[str, object]]]) -> None:
    """Through a restart after each batch, from packed rows; catches a sum that counts a customer of a batch once."""
    states: dict[str, State] = {}
    packed: dict[str, bytes] = {}
    for events in batches:
        customers = batch.Customers(packed)
        at = customers.fold(msgspec.json.encode(event) for event in events)
        hashes = {customers.names[i]: texts for i, texts in zip(at.tolist(), customers.hashes(at), strict=True)}
        packed |= {name: customers.rows[i].tobytes() for i, name in enumerate(customers.names)}
        for event in events:
            name = str(event["customer_id"])
            states[name] = job.step(states.get(name, State()), job.facts(event))
        assert hashes.keys() == {event["customer_id"] for event in events}
        for name, texts in hashes.items():
            assert job.same(dict(zip(FIELDS, map(str, texts), strict=True)), job.fields(states[name]))


def test_the_log_begins_where_the_job_does() -> None:
    assert job.BEGIN * 1_000_000 == traffic.START


# ---- figures ---------------------------------------------------------------------------------------------------------
def test_a_process_has_the_time_of_its_descendants_and_of_those_who_ended(tmp_path: Path) -> None:
    """Four fields each: user and system, its own and of children that were waited for. 9 is nobody of 1's."""
    for pid, parent, times in ((1, 0, "1 2 3 4"), (2, 1, "10 0 0 0"), (3, 2, "0 100 0 0"), (9, 0, "1000 0 0 0")):
        (tmp_path / str(pid)).mkdir()
        line = f"{pid} (a) name) S {parent} 1 1 0 -1 0 0 0 0 0 {times} 20 0"
        (tmp_path / str(pid) / "stat").write_text(line)
    assert cpu.spent(1, tmp_path) == 120 / os.sysconf("SC_CLK_TCK")


def test_a_rate_is_of_the_stretch_from_a_fifth_to_nine_tenths(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 events a step of one second and 2 s of CPU; what came before a fifth and after nine tenths counts nowhere."""
    now = [0]

    def progress() -> int:
        now[0] += 1
        return 200 * now[0]

    monkeypatch.setattr(time, "monotonic", lambda: float(now[0]))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(cpu, "spent", lambda _: 2.0 * now[0])
    found = meter.backlog(progress, 2_000, 2_400, {"peer": 1})
    assert found == {"rate": 200.0, "peer": pytest.approx(1e4), "whole": pytest.approx(1e4)}
    assert now == [12]


def test_a_log_that_is_one_write_has_no_rate() -> None:
    with pytest.raises(run.BenchmarkError, match="the log is too short"):
        meter.backlog(lambda: 100, 100, 100, {})


def test_ratios_are_to_the_loop_and_a_failure_is_a_row() -> None:
    base = {"rate": 1e5, "peer": 6.0, "redis": 4.0, "kafka": 1.0, "whole": 12.0, "events": 10, "wrong": 0}
    peers = {LOOP: base, "slow": base | {"rate": 5e4, "redis": 9.0}, "gone": {"failed": "a\nnot here"}}
    table = tables.backlog("", peers, dict.fromkeys(peers, "nothing"))
    cells = [list(column.cells) for column in table.columns]
    assert [cells[i] for i in (1, 2, 10)] == [
        ["1.00 x", "1.50 x", "-"],
        ["1.00 x", "0.50 x", "-"],
        ["nothing", "nothing", "not here"],
    ]


def test_a_peer_that_is_not_installed_says_so(tmp_path: Path) -> None:
    for peer in PEERS:
        assert bool(peer.absent(tmp_path)) == bool(peer.environment)


def test_a_process_that_ends_says_what_it_said() -> None:
    """Instead of patience: a peer that fails is told of at once."""
    ended = [sys.executable, "-c", "import sys; print('alas'); sys.exit(3)"]
    with pytest.raises(run.BenchmarkError, match=r"(?s)-c .*: exit code 3: alas"), run.process(ended, {}) as process:
        meter.reach(lambda: _stuck(process), 1)


def _stuck(process: run.Running) -> int:
    process.check()
    return 0


# ---- limits ----------------------------------------------------------------------------------------------------------
def test_the_consumer_alone_passes_every_event(kafka: str, server: services.Valkey) -> None:
    """And writes nothing else. Catches one that is not sought, and so never begins."""
    log = Log(kafka, f"limit-{time.time_ns()}", 400, 6.0)
    with Redis.from_url(server.url) as store:
        where = log.where({"CRM_REDIS_URL": server.url, "CRM_GROUP": log.env["CRM_EVENTS_TOPIC"]}, store)
        with run.process([sys.executable, "-m", "benchmarks.peers.consumed"], where.env):
            meter.reach(lambda: sum(where.offsets()), 400)
        assert sorted(store.keys()) == [b"offset:%d" % p for p in range(run.PARTITIONS)]


def test_guarded_writes_alone_leave_what_a_worker_would(tmp_path: Path, server: services.Valkey) -> None:
    """All of the first partition's log, in Redis under the guard. Catches what is noted and not written, and what the
    first publish wrote among it."""
    log = list(traffic.records(600, traffic.START, 2.0, 3, 6.0))
    home = partitioner("murmur2", run.PARTITIONS)
    first = [(key.decode(), value or b"") for key, value, _ in log if home(key.decode()) == 0]
    bought = sorted({name for name, value in first if b'"purchase"' in value})  # who did not is no customer yet
    found = limits.measure(server, begun(str(tmp_path)), iter(log))
    assert [each["events"] for each in found.values()] == [len(first)] * 2
    with Redis.from_url(server.url, decode_responses=True) as store:
        assert sorted(store.hkeys("limits:state:0")) == bought
        assert sorted(store.scan_iter("limits:customer:*")) == [f"limits:customer:{name}" for name in bought]
        assert store.hmget("limits:guard:0", "offset", "customers") == [str(len(first)), str(len(bought))]


# ---- the loop --------------------------------------------------------------------------------------------------------
def test_a_loop_that_was_overtaken_writes_nothing(server: services.Valkey) -> None:
    """Catches a write that compares no offset."""
    with Redis.from_url(server.url) as store:
        part = loop.Part(store, 0)
        store.set("offset:0", 5)
        _, value, _ = next(traffic.records(1, traffic.START, 1.0, 3, 1.0))
        with pytest.raises(SystemExit, match="somebody else"):
            loop.write(store.connection_pool.get_connection(), [part], part.commands([value or b""], 1))
        assert store.keys() == [b"offset:0"]


def test_a_loop_that_is_killed_counts_every_event_once(kafka: str, server: services.Valkey) -> None:
    """Twice, while events come; catches states that are not written, and an offset that a start does not ask for."""
    log = Log(kafka, f"peers-{time.time_ns()}", 400, 6.0)
    with Redis.from_url(server.url) as store:
        where = log.where({"CRM_REDIS_URL": server.url, "PEER_GROUP": log.env["CRM_EVENTS_TOPIC"]}, store)
        sending = threading.Thread(target=_send, args=(where, log))
        sending.start()
        for goal in (100, 500, 800):
            run_it = [sys.executable, "-m", "benchmarks.peers.loop", "10"]
            with subprocess.Popen(run_it, env=os.environ | where.env) as process:
                try:
                    meter.reach(lambda: sum(where.offsets()), goal)
                finally:
                    process.kill()
        sending.join()
        log.truth.catch_up(800)
        assert (where.end(), sum(where.offsets()), log.truth.wrong(store)) == (800, 800, 0)


def _send(where: run.Deployment, log: Log) -> None:
    producer = where.producer()
    for key, value, timestamp in log.steady(200, 2.0):
        producer.produce(where.topic, value, key, timestamp=timestamp)
        producer.poll(0)
        time.sleep(0.005)
    producer.flush(30)
