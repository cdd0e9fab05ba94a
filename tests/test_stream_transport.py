"""The private hooks of Faust and aiokafka that streams/transport.py uses: an upgrade that moves one says so here."""

import asyncio
import contextlib
import inspect
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.consumer.consumer import AIOKafkaConsumer
from aiokafka.record import default_records, legacy_records, memory_records
from aiokafka.structs import ConsumerRecord
from faust.transport import consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.settings import Settings as FaustSettings
from logs import Record
from mode.threads import ServiceThread

from streams.freshness import Freshness
from streams.partition import Life
from streams.settings import Settings
from streams.transport import (
    BUFFER,
    CHUNK,
    ENOUGH,
    FETCH_WAIT,
    FETCH_WAIT_OTHERS,
    REST,
    Chunk,
    ChunkConsumer,
    ChunkReader,
    Forgetful,
    Patience,
    Round,
    Standing,
    sized,
)
from streams.worker import Worker, application

MOVED = "{} is not what streams/transport.py overrides any more: read Faust's change log before this upgrade"
HOOKS = {
    driver.AIOKafkaConsumerThread: {
        "on_start": ["self"],
        "_fetch_records": ["self", "consumer", "active_partitions", "timeout", "max_records"],
        "_ensure_consumer": ["self"],
        "call_thread": ["self", "fun", "args", "kwargs"],
        "start": ["self"],
        "stop": ["self"],
        "_default_start": ["self"],
        "_shutdown_thread": ["self"],
        "verify_event_path": ["self", "now", "tp"],
    },
    driver.Consumer: {
        "_new_consumer_thread": ["self"],
        "_getmany": ["self", "active_partitions", "timeout"],
        "_filter_tps_with_pending_acks": ["self", "topics"],
        "_new_offset": ["self", "tp"],
        "on_partitions_revoked": ["self", "revoked"],
        "on_partitions_assigned": ["self", "assigned", "generation_id"],
        "perform_seek": ["self"],
    },
    fetcher.FetchResult: {"has_more": ["self"]},
    fetcher.Fetcher: {
        "_create_fetch_waiter": ["self"],
        "_get_actions_per_node": ["self", "assignment"],
        "fetched_records": ["self", "partitions", "timeout", "max_records"],
    },
    subscription_state.Assignment: {"state_value": ["self", "tp"]},
    subscription_state.SubscriptionState: {"fetch_context": ["self"]},
    group_coordinator.GroupCoordinator: {"check_errors": ["self"]},
    AIOKafkaClient: {"bootstrap": ["self"]},
    AIOKafkaConsumer: {"seek": ["self", "partition", "offset"], "commit": ["self", "offsets"]},
}


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in HOOKS.items() for name in names])
def test_hook_is_where_it_was(owner: type, name: str) -> None:
    assert hasattr(owner, name), MOVED.format(f"{owner.__name__}.{name}")
    assert list(inspect.signature(getattr(owner, name)).parameters) == HOOKS[owner][name], MOVED.format(name)


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        (fetcher.Fetcher, "self._fetch_max_wait_ms"),
        (fetcher.Fetcher, "self._fetch_min_bytes"),
        (fetcher.Fetcher, "in self._records"),
        (fetcher.Fetcher, "tp_state.timestamp = now_ms"),
        (subscription_state.SubscriptionState, "self._fetch_count += 1"),
        (fetcher.FetchResult, "self._partition_records"),
        (fetcher.PartitionRecords, "self._consumer_record(tp, record)"),
        (consumer.Consumer, "self._read_offset"),
        (consumer.Consumer, "self._acked_index"),
        (driver.AIOKafkaConsumerThread, "self._consumer"),
        (ServiceThread, "self._thread_started.is_set()"),
        (ServiceThread, "self._stopped.set"),
        (AIOKafkaClient, "self._conns[(node_id, group)]"),
        (ClusterMetadata, "self._last_successful_refresh_ms = now"),
        (consumer.Consumer, "self.verify_event_path(now, tp)"),
    ],
)
def test_attribute_is_still_used(owner: type, text: str) -> None:
    assert text in inspect.getsource(owner), MOVED.format(f"{owner.__name__}: {text}")


def test_no_variable_of_another_program_moves_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would take BROKER_URL, Celery's as often as not, before the broker that it is told, and so each of its
    settings. Mutation caught: Faust reads the environment."""
    names = {param.env_name for param in FaustSettings.SETTINGS.values() if param.env_name}
    assert {"BROKER_URL", "TOPIC_PARTITIONS", "TIMEZONE"} <= names
    plain = application(Settings(kafka="kafka-1:9092"), 4).conf
    for name in names - {"APP_ENV_PREFIX"}:  # with which the others had other names
        monkeypatch.setenv(name, "7")
    moved = application(Settings(kafka="kafka-1:9092"), 4).conf
    for name in (
        "broker",
        "topic_partitions",
        "timezone",
        "broker_session_timeout",
        "processing_guarantee",
        "web_port",
    ):
        assert getattr(moved, name) == getattr(plain, name), name
    assert [str(url) for url in moved.broker] == ["kafka://kafka-1:9092"]


HELD, OTHER = TP("t", 0), TP("t", 1)
ASSIGNED = SimpleNamespace(tps={HELD})


class Fetching:
    """An aiokafka fetcher's plan: a request where no partition's records wait here."""

    def __init__(self) -> None:
        self._records: dict[TP, str] = {}
        self._fetch_max_wait_ms, self._fetch_min_bytes, self.in_flight = 0, 0, False

    def _get_actions_per_node(self, assignment: Any) -> Any:
        return [] if self.in_flight else [(1, (self._fetch_max_wait_ms, self._fetch_min_bytes))], "others", assignment


def test_a_fetch_that_leaves_out_partitions_waits_for_less() -> None:
    """Else those whose records wait here would starve. Mutations caught: one wait for all; to rest then, too."""
    fetching = Fetching()
    patience, planned = Patience(fetching, {HELD}.__contains__), []
    for records in ({}, {TP("t", 0): "records"}, {}):
        fetching._records, patience.brought = records, bool(records)
        planned += fetching._get_actions_per_node(ASSIGNED)[0]
    assert planned == [(1, (FETCH_WAIT, 1)), (1, (FETCH_WAIT_OTHERS, 1)), (1, (FETCH_WAIT, 1))]
    assert FETCH_WAIT_OTHERS < FETCH_WAIT


def test_a_fetch_behind_one_that_brought_something_rests() -> None:
    """Once, and the next one waits for something again: what comes after a silence is fetched at once. Mutations
    caught: `brought` kept; `brought` forgotten while no request could be made."""
    fetching = Fetching()
    patience, planned = Patience(fetching, {HELD}.__contains__), []
    patience.brought = True
    for fetching.in_flight in (True, False, False):
        requests, *others = fetching._get_actions_per_node(ASSIGNED)
        planned += requests
        assert others == ["others", ASSIGNED]
    assert planned == [(1, (REST, ENOUGH)), (1, (FETCH_WAIT, 1))]


@pytest.mark.parametrize("magic", [0, 1, 2])
def test_the_record_of_a_batch_has_what_aiokafka_copies_of_it(magic: int) -> None:
    """All that is asked of a record here, in every format of a batch, with nothing in it too."""
    sent = [
        (7, 1_700_000_000_000, b"key", b"value"),
        (8, 1_700_000_000_001, None, b""),
        (9, 1_600_000_000_000, b"", None),
    ]
    builder: Any = (
        default_records.DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 16)
        if magic == 2
        else legacy_records.LegacyRecordBatchBuilder(magic, 0, 1 << 16)
    )
    for offset, *record in sent:
        builder.append(offset, *record, *([[]] if magic == 2 else []))

    def read(as_it_is: bool) -> list[tuple[Any, ...]]:
        log = memory_records.MemoryRecords(bytes(builder.build()))
        records = fetcher.PartitionRecords(TP("t", 0), log, [], 7, None, None, True, 1)
        if as_it_is:
            records._consumer_record = lambda _, record: record
        return [(each.offset, each.timestamp, each.key, each.value) for each in records]

    assert read(True) == read(False) == [(offset, at if magic else None, *more) for offset, at, *more in sent]


def test_a_fetch_waits_for_less_until_all_partitions_are_located() -> None:
    """What is asked of Kafka to locate one waits behind it, on one connection. Mutations caught: one that is located is
    enough; no rest while another is not."""
    fetching, located = Fetching(), {HELD}
    patience, planned = Patience(fetching, located.__contains__), []
    for patience.brought in (False, True):
        planned += fetching._get_actions_per_node(SimpleNamespace(tps={HELD, OTHER}))[0]
    located.add(OTHER)
    planned += fetching._get_actions_per_node(SimpleNamespace(tps={HELD, OTHER}))[0]
    assert planned == [(1, (FETCH_WAIT_OTHERS, 1)), (1, (REST, ENOUGH)), (1, (FETCH_WAIT, 1))]
    assert REST < FETCH_WAIT_OTHERS


def batch_of(values: Sequence[bytes], full: int) -> tuple[Any, Any]:
    """A reader of chunks of at most `full` records, and a consumer that has fetched these of HELD in one batch."""
    builder = default_records.DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 22)
    for offset, value in enumerate(values):
        builder.append(offset, 1_700_000_000_000, b"key", value, [])
    log = memory_records.MemoryRecords(bytes(builder.build()))
    state = SimpleNamespace(paused=False, position=0)
    state.consumed_to = lambda position: setattr(state, "position", position)
    assignment = SimpleNamespace(active=True, state_value=lambda _: state)
    records = fetcher.PartitionRecords(HELD, log, [], 0, None, None, True, 1)
    waiting: Any = SimpleNamespace(_closed=False, _wait_consume_future=None, _notify=lambda _: None)
    waiting._subscriptions = SimpleNamespace(reassignment_in_progress=False, fetch_context=contextlib.nullcontext)
    waiting._records = {HELD: fetcher.FetchResult(HELD, assignment=assignment, partition_records=records, backoff=0)}
    waiting.fetched_records = partial(fetcher.Fetcher.fetched_records, waiting)
    reader: Any = ChunkReader.__new__(ChunkReader)
    reader.full, reader.consumer = full, SimpleNamespace(flow_active=True)
    return reader, SimpleNamespace(_closed=False, _fetcher=waiting)


def test_records_are_taken_as_their_batch_has_them_up_to_the_most_of_a_chunk() -> None:
    """Mutation caught: the hook of no effect."""
    reader, consumer = batch_of([b"value"] * 3, 2)
    taken = [asyncio.run(reader._some(consumer, HELD, 1 << 20)) for _ in range(2)]
    assert [([(each.offset, each.value) for each in some], size) for some, size in taken] == [
        ([(0, b"value"), (1, b"value")], 16),
        ([(2, b"value")], 8),
    ]
    assert not any(isinstance(each, ConsumerRecord) for some, _ in taken for each in some)


@pytest.mark.parametrize(("size", "taken"), [(600_000, 1), (300_000, 3)])
def test_no_more_bytes_are_taken_at_once_than_there_is_room_for(size: int, taken: int) -> None:
    """Mutation caught: up to the most of a chunk, however large its records are."""
    reader, consumer = batch_of([bytes(size)] * 5, 5)
    assert len(asyncio.run(reader._some(consumer, HELD, 1 << 20))[0]) == taken


def fetched(
    places: set[TP], waiting: set[TP], meanwhile: Callable[[Any, Any], None] = lambda *_: None
) -> tuple[dict[TP, Chunk], list[tuple[TP, int]]]:
    """What a fetch hands over of these assigned partitions, where records of some wait; and of whom it asked, with room
    for how much. meanwhile: what becomes of the position and of the subscription as it asks."""
    asked = []

    async def some(_: Any, tp: TP, room: int) -> tuple[list[Record], int]:
        asked.append((tp, room))
        state.position = 8
        meanwhile(state, subscription)
        return [Record(7, 0, b"k", b"value")], 6

    state = SimpleNamespace(has_valid_position=True, position=7)
    assignment = SimpleNamespace(tps=places, state_value=lambda _: state)
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    consumer = SimpleNamespace(_subscription=subscription, _fetcher=SimpleNamespace(_records=dict.fromkeys(waiting)))
    consumer._client = SimpleNamespace(_conns={}, cluster=SimpleNamespace(leader_for_partition=lambda _: 1))
    reader: Any = ChunkReader.__new__(ChunkReader)
    reader.epochs, reader.patience, reader._some = {HELD: 3}, SimpleNamespace(brought=False), some
    reader.connections = {}
    return asyncio.run(reader._fetched(consumer, places)), asked


def test_partitions_of_which_nothing_has_come_cost_nothing() -> None:
    """A worker may hold many. Mutation caught: each is asked in each fetch."""
    chunks, asked = fetched({HELD, OTHER}, {HELD})
    (chunk,) = chunks.values()
    assert (chunk.tp, chunk.size, chunk.start, chunk.end, chunk.epoch) == (HELD, 6, 7, 8, 3)
    assert asked == [(HELD, CHUNK)]


def test_the_chunks_of_many_partitions_fit_into_the_buffer_together() -> None:
    """Mutation caught: as much of each of many as of one."""
    places = {TP("t", p) for p in range(64)}
    assert [room for _, room in fetched(places, {HELD, OTHER})[1]] == 2 * [BUFFER // 64]


def test_what_was_taken_while_a_partition_was_moved_or_lost_its_place_is_not_handed_over() -> None:
    """A seek follows, which brings it again. Mutations caught: the assignment not compared; a position that is none."""

    def assigned_anew(_: Any, subscription: Any) -> None:
        subscription.subscription = SimpleNamespace(assignment=SimpleNamespace(tps={HELD}))

    def lost(state: Any, _: Any) -> None:
        state.has_valid_position, state.position = False, None

    for meanwhile in (assigned_anew, lost):
        assert fetched({HELD}, {HELD}, meanwhile) == ({}, [(HELD, CHUNK)])


def test_each_partition_was_heard_of_when_its_own_broker_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several brokers one may be silent. The worst of those that are asked tells whether Kafka answers; while its
    records wait here a partition's broker is not asked. Mutations caught: the last answer of any broker for all; a
    partition whose records wait taken for one of a silent broker."""
    places, now = [TP("t", p) for p in range(4)], 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    states = {
        tp: SimpleNamespace(position=5, lso=7, highwater=9, timestamp=(now - ago) * 1000, has_valid_position=True)
        for tp, ago in zip(places, (1, 60, 90), strict=False)
    }
    states[places[3]] = SimpleNamespace(has_valid_position=True, highwater=None, timestamp=None)
    assignment = SimpleNamespace(tps={*places}, state_value=states.get)
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    waiting = {places[2]: "records"}
    consumer = SimpleNamespace(_subscription=subscription, _fetcher=SimpleNamespace(_records=waiting))
    reader: Any = ChunkReader.__new__(ChunkReader)
    reader._ensure_consumer = lambda: consumer
    found = reader.standings()
    assert {tp.partition: (each[:3], each.heard, each.waits) for tp, each in found.items()} == {
        0: ((5, 7, 9), 1, False), 1: ((5, 7, 9), 60, False), 2: ((5, 7, 9), 90, True),
    }  # fmt: skip
    assert reader.heard() == 60
    waiting |= dict.fromkeys(places, "records")
    assert reader.heard() == 1
    assignment.tps = set()
    assert reader.heard() is None


def test_a_worker_says_of_each_partition_when_its_own_broker_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    told: list[Freshness] = []

    async def freshen(_: str, found: list[Freshness]) -> None:
        told.extend(found)

    worker: Any = Worker.__new__(Worker)
    worker.owner, worker.deployment, worker.store = "w:1", SimpleNamespace(topic="t"), SimpleNamespace(freshen=freshen)
    part = partial(SimpleNamespace, life=Life.READY, committed=9, waits_since=None)
    worker.partitions = {number: part(number=number) for number in (0, 1)}
    standings = {TP("t", p): Standing(9, 9, 9, heard, waits=False) for p, heard in ((0, 0.25), (1, 60.0))}
    worker.app = SimpleNamespace(consumer=SimpleNamespace(reader=SimpleNamespace(standings=lambda: standings)))
    asyncio.run(worker.freshen())
    assert [(each.partition, each.lag_seconds) for each in told] == [(0, 0.0), (1, 60.0)]
    assert [each.as_of for each in told] == [999.75, 940.0]


def test_a_records_bytes_are_those_of_key_and_value() -> None:
    assert sized([Record(0, 0, b"k", b"value"), Record(1, 0, None, b""), Record(2, 0, b"", None)]) == 6
    assert sized([]) == 0


def test_a_partition_is_located_once_it_is_known_where_it_stands() -> None:
    reader: Any = ChunkReader.__new__(ChunkReader)
    reader.transport = SimpleNamespace(owner=SimpleNamespace(committed={HELD: 0}.get))
    assert (reader.located(HELD), reader.located(OTHER)) == (True, False)


def test_a_round_is_one_message_of_its_first_partition() -> None:
    one, other = Chunk(TP("t", 3), [Record(5, 0, b"k", b"value")], 6, 5, 6, 1), Chunk(TP("t", 1), [], 0, 0, 2, 1)
    consumer: Any = SimpleNamespace(app=SimpleNamespace(consumer_generation_id=7))
    message = driver.Consumer._to_message(consumer, TP("t", 3), Round([one, other]))
    assert (message.tp, message.offset, message.value, message.generation_id) == (TP("t", 3), 5, [one, other], 7)


def test_chunks_join_only_without_a_gap_and_before_they_are_taken() -> None:
    a, b, c = (Record(offset, 0, b"k", b"value") for offset in (5, 6, 9))
    tp = TP("t", 0)
    first, next_one = Chunk(tp, [a], 6, 5, 6, 1), Chunk(tp, [b], 6, 6, 9, 1)
    assert first.joined(next_one)
    assert (first.records, first.start, first.end, first.size) == ([a, b], 5, 9, 12)
    assert not first.joined(Chunk(tp, [c], 6, 10, 11, 1))  # a hole between
    assert not first.joined(Chunk(tp, [c], 6, 9, 10, 2))  # another epoch
    first.taken = True
    assert not first.joined(Chunk(tp, [c], 6, 9, 10, 1))


def test_a_chunk_is_full_by_its_records_or_by_its_share_of_the_buffer() -> None:
    """Mutations caught: either left out; the buffer of all as the share of each."""
    consumer: Any = SimpleNamespace(transport=SimpleNamespace(full=2), waiting={HELD: None})

    def full(records: int, size: int) -> bool:
        return ChunkConsumer._is_full(consumer, Chunk(HELD, [None] * records, size, 0, 1, 1))

    assert [full(1, 0), full(2, 0), full(1, CHUNK - 1), full(1, CHUNK)] == [False, True, False, True]
    consumer.waiting = dict.fromkeys(TP("t", p) for p in range(64))
    assert [full(1, BUFFER // 64 - 1), full(1, BUFFER // 64)] == [False, True]


def test_what_waits_is_fetched_no_further_once_it_is_full_and_is_forgotten_with_its_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mutations caught: a full chunk that was taken holds up what comes behind it; what waits of a revoked partition
    stays: whoever gets it back would find records of before."""
    asked: list[tuple[set[TP], float]] = []

    async def getmany(_: Any, hungry: set[TP], timeout: float) -> dict[TP, Chunk]:
        asked.append((hungry, timeout))
        return {OTHER: Chunk(OTHER, [None], 6, 6, 7, 1)}

    async def revoked(*_: Any) -> None:
        return None

    monkeypatch.setattr(driver.Consumer, "_getmany", getmany)
    monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", revoked)
    consumer: Any = ChunkConsumer.__new__(ChunkConsumer)
    consumer.transport, lost = SimpleNamespace(full=1), list[set[TP]]()
    consumer.owner = SimpleNamespace(revoked=lost.append)
    waits, taken = Chunk(HELD, [None], 6, 5, 6, 1), Chunk(OTHER, [None], 6, 5, 6, 1)
    consumer.waiting, taken.taken = {HELD: waits, OTHER: taken}, True
    ((one,),) = asyncio.run(consumer._getmany({HELD, OTHER}, 1.0)).values()
    assert (asked, [chunk.start for chunk in one.value]) == ([({OTHER}, 0.01)], [6])
    assert asyncio.run(consumer._getmany({HELD}, 1.0)) == {}
    assert len(asked) == 1
    asyncio.run(consumer.on_partitions_revoked({HELD}))
    assert ([*consumer.waiting], lost) == ([OTHER], [{HELD}])


def test_rounds_that_were_acknowledged_are_not_kept() -> None:
    """What Kafka is told comes from the owner. Mutation caught: Faust's lists of them grow for ever."""
    consumer: Any = SimpleNamespace(owner=SimpleNamespace(committed={HELD: 9}.get))
    consumer._acked, consumer._acked_index = {HELD: [5, 7], OTHER: [1]}, {HELD: {5, 7}, OTHER: {1}}
    assert ChunkConsumer._new_offset(consumer, HELD) == 9
    assert (consumer._acked, consumer._acked_index) == ({HELD: [], OTHER: [1]}, {HELD: set(), OTHER: {1}})


def test_what_comes_over_another_connection_is_in_doubt_until_it_is_sought() -> None:
    """A broker that was away, or another leader, may have lost what was read. Mutations caught: the owner told with
    each look, or never; records handed on meanwhile; a first connection in doubt; a closed one in doubt for ever."""
    first, other = object(), object()
    doubted, leaders, connections = list[TP](), {HELD: 1, OTHER: 2}, dict[tuple[int, int], object]()
    client = SimpleNamespace(_conns=connections, cluster=SimpleNamespace(leader_for_partition=leaders.get))
    consumer: Any = SimpleNamespace(_client=client, seek=lambda *_: None)
    reader: Any = ChunkReader.__new__(ChunkReader)
    reader.connections, reader.epochs, reader._consumer = {}, {}, consumer
    reader.transport = SimpleNamespace(owner=SimpleNamespace(doubted=doubted.append))

    def looks() -> list[bool]:
        return [reader._in_doubt(consumer, tp) for tp in (HELD, HELD, OTHER)]

    assert looks() == [False, False, False]  # what was fetched before a connection closed
    connections |= {(1, ConnectionGroup.DEFAULT): first, (2, ConnectionGroup.DEFAULT): other}
    assert looks() == [False, False, False]
    del connections[1, ConnectionGroup.DEFAULT]
    assert (looks(), doubted) == ([True, True, False], [HELD])
    reader.seek_in_epoch(HELD, 7, 1)
    assert looks() == [False, False, False]
    connections[1, ConnectionGroup.DEFAULT] = first
    assert looks() == [False, False, False]
    leaders[HELD] = 2
    assert (looks(), doubted) == ([True, True, False], [HELD, HELD])
    reader.seek_in_epoch(HELD, 7, 2)
    assert (looks(), doubted) == ([False, False, False], [HELD, HELD])


def test_positions_are_forgotten() -> None:
    positions = Forgetful()
    positions[TP("t", 0)] = 7
    assert positions[TP("t", 0)] is None
    assert not positions
