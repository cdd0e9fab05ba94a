"""Workers in their group: who is idle stays in it, who joins or leaves takes nothing along, who cannot join says so."""

import os
import re
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, ConsumerGroupState
from running import Running, Worker, purchase, running, until
from shops import T0

from demo import services
from streams import status

PARTITIONS = 6


@pytest.mark.long
def test_who_is_idle_stays_in_the_group(kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path) -> None:
    """Also one that holds nothing. aiokafka leaves for good where nobody fetched for BROKER_MAX_POLL_INTERVAL seconds,
    1,000 by default. Mutation caught: a fetch context that is entered only where something has come."""
    with running(kafka, valkey.url, nobody, tmp_path) as run:
        patience = {"BROKER_MAX_POLL_INTERVAL": "2"}
        holds = run.worker(**patience)
        holds.says("holds partitions 0")
        spare = run.worker(**patience)
        until(lambda: "holds partitions none" in run.said, lambda: run.said)
        time.sleep(5)
        run.bought("ann")
        until(lambda: run.orders("ann") == "1", lambda: run.said)
        first, other = (holds, spare) if "none" not in holds.said else (spare, holds)
        first.stop()
        run.bought("bob")
        until(lambda: run.orders("bob") == "1", lambda: run.said)
        assert other.said.splitlines()[-1].endswith("holds partitions 0")


class Feed(threading.Thread):
    """Sends purchases until it is told to stop; `sent` of them."""

    def __init__(self, run: Running) -> None:
        super().__init__()
        self.run_, self.sent, self.done = run, 0, threading.Event()

    def run(self) -> None:
        producer = self.run_.producer(log_level=0)
        while not self.done.is_set():
            for n in range(self.sent, self.sent + 20):
                key, value, timestamp = purchase(f"c{n % 300}", f"e{n}", T0)
                producer.produce(self.run_.name, value, key, timestamp=timestamp)
            self.sent += 20
            producer.poll(0.02)
        producer.flush()


def held(worker: Worker) -> set[int]:
    """What Kafka gave it last, by its own lines."""
    *_, last = re.findall(r"holds partitions (.*)", worker.said) or ["none"]
    return {int(number) for number in last.split(", ")} if last != "none" else set()


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_worker_shows_what_it_holds_and_no_more(
    kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path
) -> None:
    """After each rebalance, while events flow. Mutation caught: Faust asks for a seek while partitions are taken away,
    and those that still stood as assigned were located anew, for good."""
    with running(kafka, valkey.url, nobody, tmp_path, partitions=PARTITIONS) as run:

        def started() -> tuple[Worker, Path]:
            path = tmp_path / f"status-{len(run.workers)}"
            return run.worker(CRM_STATUS=str(path)), path

        def shown(path: Path) -> dict[int, str]:
            said = status.read(path)
            return said.partitions if said is not None else {}

        def settled() -> bool:
            """Each holds as many as the others, shows these, and all of them are ready."""
            each = [held(worker) for worker, _ in alive]
            even = {*map(len, each)} == {PARTITIONS // len(alive)} and len(set().union(*each)) == PARTITIONS
            return even and all(
                shown(path) == dict.fromkeys(sorted(mine), "ready") for mine, (_, path) in zip(each, alive, strict=True)
            )

        def told() -> str:
            return "\n".join(f"{sorted(held(worker))}, but shows {shown(path)}" for worker, path in alive)

        def stable() -> bool:
            described = run.admin.describe_consumer_groups([run.name])[run.name].result(15)
            return bool(described.state == ConsumerGroupState.STABLE)

        alive = [started(), started()]
        until(settled, told)
        feed = Feed(run)
        feed.start()
        try:
            alive.append(started())
            until(lambda: not stable())
            slow = alive[1][0].process  # the first one waits for it, longer than a fetch lasts
            slow.send_signal(signal.SIGSTOP)
            time.sleep(2.5)
            slow.send_signal(signal.SIGCONT)
            until(settled, told)
            alive.pop()[0].stop()
            until(settled, told)
        finally:
            feed.done.set()
            feed.join()
        names = [f"c{n}" for n in range(300)]
        until(lambda: sum(int(run.orders(name) or 0) for name in names) == feed.sent, lambda: run.said)


@pytest.mark.long
def test_who_cannot_join_says_why_and_ends(kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path) -> None:
    """Somebody's tool is in the group, with another protocol. Mutation caught: what aiokafka holds back until somebody
    asks, so that the worker held nothing for ever, also once the tool was gone."""
    with running(kafka, valkey.url, nobody, tmp_path) as run:
        mine = {"bootstrap.servers": kafka, "group.id": run.name, "partition.assignment.strategy": "range"}
        with closing(Consumer(mine)) as tool:
            tool.subscribe([run.name])
            until(lambda: tool.poll(0.1) or tool.assignment())
            worker = run.worker()
            until(lambda: tool.poll(0.1) or worker.process.poll() is not None, lambda: worker.said)
            assert worker.ends() == 2
            assert "CRM_GROUP: the group has a member that is no worker" in worker.said.splitlines()[-1]
        run.bought("ann")
        run.worker()
        until(lambda: run.orders("ann") == "1", lambda: run.said)


def test_kafka_that_goes_away_as_a_worker_starts_ends_it(valkey: services.Valkey, nobody: Path, tmp_path: Path) -> None:
    """Between its own checks and the start of its consumer. Mutation caught: Faust's trace and exit code 1, of its
    consumer or of a producer that nobody uses."""
    with services.kafka() as kafka, running(kafka.address, valkey.url, nobody, tmp_path) as run:
        worker = run.worker()
        worker.says("the model that serves")
        os.kill(kafka.pid, signal.SIGKILL)
        assert worker.ends() == 2
        assert "Kafka says: KafkaConnectionError: Unable to bootstrap" in worker.said.splitlines()[-1]
