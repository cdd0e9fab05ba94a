"""The log is what it was at the first publish: when somebody changes the topic, workers end with a line about it."""

import contextlib
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from deployment import Crash, Play, Stopped, World, crash
from running import Running, running
from shops import T0

from demo import services
from streams import kafka as topics
from streams.deployment import DeploymentError, marked
from streams.kafka import KafkaProblem, Topic
from streams.settings import Settings

YEARS = "9223372036854775807"


def altered(deployment: Running, topic: str, **config: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    deployment.admin.incremental_alter_configs([resource])[resource].result(15)


def made_anew(deployment: Running) -> None:
    deployment.admin.delete_topics([deployment.name])[deployment.name].result(15)
    time.sleep(0.5)
    deployment.admin.create_topics([NewTopic(deployment.name, 1, 1)])[deployment.name].result(15)


def grown(deployment: Running) -> None:
    deployment.admin.create_partitions([NewPartitions(deployment.name, 3)])[deployment.name].result(15)


def compacted(deployment: Running) -> None:
    altered(deployment, deployment.name, cleanup_policy="delete,compact")


def timeless(deployment: Running) -> None:
    altered(deployment, deployment.name, message_timestamp_after_max_ms=YEARS)


def rejects_gone(deployment: Running) -> None:
    deployment.admin.delete_topics([deployment.settings.rejected_topic])[deployment.settings.rejected_topic].result(15)


def rejects_small(deployment: Running) -> None:
    altered(deployment, deployment.settings.rejected_topic, max_message_bytes="2000")


def rejects_compacted(deployment: Running) -> None:
    altered(deployment, deployment.settings.rejected_topic, cleanup_policy="compact")


CHANGES: dict[Callable[[Running], None], str] = {
    made_anew: "the topic was deleted and made anew",
    grown: "partitions is 3, but was 1 at the first publish: customers would move",
    compacted: "has cleanup.policy=delete,compact",
    timeless: f"message.timestamp.after.max.ms={YEARS}",
    rejects_gone: ".rejected: run `python -m streams init`",
    rejects_small: ".rejected takes records of 2,000 bytes only",
    rejects_compacted: ".rejected has cleanup.policy=compact: compaction takes no reject without a key",
}


@pytest.mark.long
@pytest.mark.e2e
def test_a_topic_that_changes_under_a_running_worker_ends_it(
    kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path
) -> None:
    """Within seconds and with the reason; whoever starts then says the same. Mutation caught: `watch` not repeated."""
    with contextlib.ExitStack() as stack:
        worlds = {change: stack.enter_context(running(kafka, valkey.url, nobody, tmp_path)) for change in CHANGES}
        for world in worlds.values():
            world.bought("ann")
            world.worker()
        for world in worlds.values():
            world.reaches(1)
        for change, world in worlds.items():
            altered(world, world.name, retention_ms="1000000000")
            change(world)
        for change, world in worlds.items():
            assert world.workers[0].ends() == 2, world.said
            last = [line for line in world.said.splitlines() if " error: " in line][-1]
            assert CHANGES[change] in last, world.said
        assert CHANGES[compacted] in worlds[compacted].call("publish", str(nobody), code=2)
        assert CHANGES[timeless] in worlds[timeless].call("rebuild", "--history", str(nobody), code=2)
        assert CHANGES[rejects_small] in worlds[rejects_small].call("init", code=2)
        assert CHANGES[rejects_compacted] in worlds[rejects_compacted].call("init", code=2)
        assert CHANGES[made_anew] in worlds[made_anew].command("worker", code=2)
        world = worlds[rejects_gone]
        assert f"created: {world.settings.rejected_topic}" in world.call("init")
        assert "keeps 1000000000 ms only; a rebuild needs all records" in world.call("init")
        world.env["CRM_EVENTS_TOPIC"] = worlds[compacted].name
        for args in (["publish", str(nobody)], ["rebuild", "--history", str(nobody)]):
            assert f"topic is {worlds[compacted].name}, but was {world.name}" in world.call(*args, code=2)


@pytest.mark.e2e
def test_verify_says_what_it_cannot_verify(kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path) -> None:
    """Records behind the guard are gone. Mutation caught: their customers called wrong."""
    with running(kafka, valkey.url, nobody, tmp_path) as deployment:
        deployment.bought(*(f"c{n}" for n in range(40)))
        deployment.worker()
        deployment.reaches(40)
        deployment.admin.delete_records([TopicPartition(deployment.name, 0, 30)])[
            TopicPartition(deployment.name, 0)
        ].result(15)
        said = deployment.call("verify", "--history", str(nobody), code=2)
        assert said.splitlines() == [
            "not verified: partition 0: records 0 to 29 of it were deleted, so 40 customers cannot be recounted",
            "customers: 40; wrong: 0",
        ]
        deployment.redis.hset(f"{deployment.name}:customer:c3", "orders", 7)
        said = deployment.call("verify", "--history", str(nobody), code=1)
        assert "c3: hash: orders: in Redis 7, should be 1" in said
        assert "begins at offset 30: older events are gone" in deployment.call(
            "rebuild", "--history", str(nobody), code=2
        )


# ---- a log that was cut and grew again -------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["another event", "the same at another time", "a tombstone", "the end was a reject"])
@pytest.mark.parametrize("before", [0, 4])
def test_a_log_that_was_cut_and_grew_again_is_noticed(play: Play, kind: str, before: int) -> None:
    """The offset is within the log, what stands before it is another record, be it the first that the log holds.
    Mutations caught: `mark` not compared; of the log's first record nothing proved."""

    async def scenario(world: World) -> None:
        for n in range(before + (kind != "the end was a reject")):
            world.log.buy(f"c{n}", T0)
        if kind == "the end was a reject":
            world.log.put(b"c", b"{", T0)
        part = await world.located()
        await world.catch_up(part)
        held = world.log.records[0]
        cut = held.pop()
        if kind == "another event":
            world.log.buy("else", T0)
        elif kind == "the same at another time":
            world.log.put(cut.key, cut.value, cut.timestamp * 1000 + 1_000)
        else:
            world.log.erase("c1", T0)
        for n in range(3):
            world.log.buy(f"d{n}", T0)
        other = await world.located()
        with pytest.raises(Stopped, match=r"holds another record before it .* the log was cut and grew again"):
            await world.catch_up(other)

    play(scenario)


@pytest.mark.parametrize("held", [False, True])
def test_a_topic_that_was_made_anew_is_not_called_one_that_was_cut(play: Play, held: bool) -> None:
    """For a rebuild would be refused; of a partition that is located anew, and of one that is held. Mutation caught:
    the topic not looked at before a line is said of its records."""

    async def scenario(world: World) -> None:
        async def made_anew() -> None:
            raise DeploymentError("topic_id is another")

        world.log.buy("ann", T0)
        part = await world.located()
        await world.catch_up(part)
        world.log.records[0].clear()
        world.log.buy("bob", T0)
        world.log.buy("cid", T0)
        world.log.check = made_anew  # type: ignore[method-assign]
        if held:
            await part.doubt(7)
        with pytest.raises(Stopped, match="partition 0: topic_id is another"):
            await world.catch_up(part if held else await world.located())

    play(scenario)


@pytest.mark.parametrize("before", [1, 4])
def test_a_log_that_lost_the_record_that_was_counted_last_is_noticed(play: Play, before: int) -> None:
    """It stands among what the log says that it holds. Mutation caught: what is not there taken for proved."""

    async def scenario(world: World) -> None:
        for n in range(before):
            world.log.buy(f"c{n}", T0)
        await world.catch_up(await world.located())
        world.log.buy("else", T0)
        part = await world.located()
        chunk = world.log.chunk(part.reached)
        assert chunk.start == before - 1
        with pytest.raises(Stopped, match="holds another record before it than the one that was counted"):
            await part.process(replace(chunk, records=chunk.records[1:]))

    play(scenario)


@pytest.mark.parametrize("write", [1, 3])
def test_the_mark_of_a_chunk_that_broke_off_is_the_last_record_that_counted(play: Play, write: int) -> None:
    """Mutation caught: of a guard that stopped before a sweep, the mark of the record behind it: it proves nothing."""

    async def scenario(world: World) -> None:
        for day in (0, 2, 4):
            world.log.buy("ann", T0 + day)
        with pytest.raises(Crash):
            await world.catch_up(await world.located(store=world.struck({write: crash})))
        guard = await world.store.guard(0)
        assert guard is not None
        assert guard.offset == (write + 1) // 2
        last = world.log.records[0][guard.offset - 1]
        assert guard.mark == marked(last.offset, last.timestamp, last.key, last.value)

    play(scenario)


def test_a_log_that_may_have_been_cut_meanwhile_is_proved(play: Play) -> None:
    """Of a partition that is held, too. Mutations caught: it goes on without a seek, or under the epoch before; what
    was counted counts again; nothing is proved."""

    async def scenario(world: World) -> None:
        part = await world.located()
        await part.doubt(7)  # nothing was counted yet
        for n in range(5):
            world.log.buy("ann", T0)
            await world.catch_up(part)
            await part.doubt(8 + n)
        assert world.log.sought[-6:] == [(0, 7), (0, 8), (1, 9), (2, 10), (3, 11), (4, 12)]
        assert (part.epoch, part.reached, world.customer("ann")["orders"]) == (12, 4, "5")
        await world.catch_up(part)
        assert world.customer("ann")["orders"] == "5"
        world.log.records[0].pop()
        for n in range(3):
            world.log.buy(f"d{n}", T0)
        await part.doubt(13)
        with pytest.raises(Stopped, match=r"holds another record before it .* the log was cut and grew again"):
            await world.catch_up(part)

    play(scenario)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_broker_that_lost_what_a_running_worker_counted_ends_it(
    valkey: services.Valkey, nobody: Path, tmp_path: Path
) -> None:
    """Other records stand under the offsets that it passed. Mutation caught: who reads on believes what comes."""
    with services.kafka() as broker, running(broker.address, valkey.url, nobody, tmp_path) as run:
        worker = run.worker()
        for n in range(3):
            run.bought(f"ann{n}")
        run.reaches(3)
        broker.broker.stop()
        shutil.copytree(broker.data, tmp_path / "older")
        broker.broker.start()
        run.bought("bob", "cid")
        run.reaches(5)  # through a restart that loses nothing
        worker.process.send_signal(signal.SIGSTOP)  # it sees no log that is too short
        broker.broker.stop(signal.SIGKILL)
        shutil.rmtree(broker.data)
        shutil.copytree(tmp_path / "older", broker.data)
        broker.broker.start()
        run.bought("dan", "eve", "fay", "gus")
        worker.process.send_signal(signal.SIGCONT)
        assert worker.ends() == 2, worker.said
        assert "holds another record before it than the one that was counted: the log was cut" in worker.said
        assert run.orders("gus") is None


def test_the_same_log_is_gone_on_with(play: Play) -> None:
    """Whatever was counted last, nothing is counted again; also where a chunk ended with a reject, a sweep or holes."""

    async def scenario(world: World) -> None:
        for day in range(4):
            world.log.buy("ann", T0 + day)
            world.log.put(b"ann", b"{", T0 + day)
            world.log.tick(T0 + day + 1)
            await world.catch_up(await world.located())
            await world.catch_up(await world.located(), len(world.log.records[0]))
            assert world.customer("ann")["orders"] == str(day + 1)
        assert [offset for offset, _ in world.log.sought] == [0, 2, 2, 5, 5, 8, 8, 11]

    play(scenario)


def test_a_mark_that_was_deleted_is_passed(play: Play) -> None:
    """Records behind the guard may expire: the log still holds the offset."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        await world.catch_up(await world.located())
        world.log.buy("ann", T0, order_id="o2")
        world.log.low = 1
        await world.catch_up(await world.located())
        assert world.customer("ann")["orders"] == "2"

    play(scenario)


# ---- what a topic may be ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({}, None),
        ({"cleanup.policy": "delete", "message.timestamp.after.max.ms": "3600000"}, None),
        ({"cleanup.policy": "compact"}, "compaction forgets"),
        ({"cleanup.policy": "compact,delete"}, "compaction forgets"),
        ({"message.timestamp.after.max.ms": YEARS}, "any time to come"),
        ({"message.timestamp.after.max.ms": "86400001"}, "any time to come"),
        ({"message.timestamp.after.max.ms": YEARS, "message.timestamp.type": "LogAppendTime"}, None),
        ({"message.timestamp.difference.max.ms": YEARS}, "set message.timestamp.type=LogAppendTime$"),
        ({"message.timestamp.difference.max.ms": YEARS, "message.timestamp.after.max.ms": "3600000"}, None),
    ],
)
def test_settings_with_which_the_log_is_not_what_was_sent_are_refused(
    config: dict[str, str], refused: str | None
) -> None:
    with pytest.raises(KafkaProblem, match=refused) if refused else contextlib.nullcontext():
        Topic("t", "id", [(0, 0)], config).check()


def test_a_topic_that_forgets_is_warned_of() -> None:
    lines = Topic("t", "id", [(0, 0)], {"retention.ms": "5", "retention.bytes": "7"}).warnings()
    assert lines == [
        "t keeps 5 ms only; a rebuild needs all records: set retention.ms=-1",
        "t keeps 7 bytes of records a partition only; a rebuild needs all records: set retention.bytes=-1",
    ]


@pytest.mark.parametrize("policy", ["delete", "compact", "compact,delete", "delete,compact"])
def test_a_topic_in_which_rejects_would_be_forgotten_is_refused(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    """Mutation caught: the policy compared with one word."""
    found = {"cleanup.policy": policy, "max.message.bytes": "1048588"}
    monkeypatch.setattr(topics, "config", lambda *_: found)
    refused = pytest.raises(KafkaProblem, match=f"{policy}: compaction takes no reject without a key")
    with refused if "compact" in policy else contextlib.nullcontext():
        assert topics.room_of_rejects(Settings()) == 1_048_588


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (90, None),
        (7, "for 7 days, shorter than CRM_REJECTED_DAYS=90"),
        (89.5, "for 89.5 days, shorter than CRM_REJECTED_DAYS=90"),
        (91, "for 91 days, longer than CRM_REJECTED_DAYS=90"),
    ],
)
def test_a_topic_that_keeps_rejects_otherwise_than_was_said_is_told(kept: float, said: str | None) -> None:
    """One made by hand has the broker's week, and what is to be replayed is gone. Mutation caught: only longer told."""
    found = topics.kept_otherwise(Settings(), {"retention.ms": str(int(kept * topics.DAY))})
    way_out = "set its retention.ms=7776000000 and segment.ms=86400000"
    assert found == (said and f"crm.events.rejected keeps records {said}: {way_out}")
