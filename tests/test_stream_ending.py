"""A worker that is asked to end does, with exit code 0, whatever is away; what Kafka's client says fills no log."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from running import HERE, running

from demo import services
from streams.outage import Outage


@pytest.mark.e2e
def test_an_outage_is_two_lines_and_holds_no_end_up(nobody: Path, tmp_path: Path) -> None:
    """Mutations caught: the client's own lines let through; a stop that waits for the client's."""
    with (
        services.kafka() as kafka,
        services.valkey() as valkey,
        running(kafka.address, valkey.url, nobody, tmp_path, partitions=2) as deployment,
    ):
        workers = [deployment.worker(), deployment.worker()]
        deployment.bought("ann", "bob")
        home = [sum(deployment.home(name) == p for name in ("ann", "bob")) for p in range(2)]
        deployment.reaches(*home)
        os.kill(kafka.pid, signal.SIGSTOP)
        for worker in workers:
            worker.says("Kafka does not answer as it should")
        assert workers[0].stop() == 0
        assert workers[0].said.endswith(" info: ends, for it was asked to (SIGTERM)\n")
        os.kill(kafka.pid, signal.SIGCONT)
        workers[1].says("Kafka answers again")
        deployment.bought("cid")
        deployment.reaches(*(n + (deployment.home("cid") == p) for p, n in enumerate(home)))
        os.kill(valkey.pid, signal.SIGSTOP)
        os.killpg(kafka.pid, signal.SIGKILL)
        time.sleep(2)
        workers[1].process.send_signal(signal.SIGINT)
        assert workers[1].ends() == 0
        os.kill(valkey.pid, signal.SIGCONT)
        said = [line for line in workers[1].said.splitlines() if line.strip()]
        assert len(said) < 12, workers[1].said


@pytest.mark.e2e
def test_kafka_is_told_of_every_partition(kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path) -> None:
    """Its tools show no lag that is none. What waits comes in one round, which Faust knows by one partition's name.
    Mutation caught: Faust's own choice of whom to tell of."""
    names = [f"c{i}" for i in range(12)]
    with running(kafka, valkey.url, nobody, tmp_path, partitions=3) as deployment:
        deployment.bought(*names)
        home = [sum(deployment.home(name) == p for name in names) for p in range(3)]
        worker = deployment.worker()
        deployment.reaches(*home)
        assert worker.stop() == 0
        assert all(home)
        topic, group = deployment.env["CRM_EVENTS_TOPIC"], deployment.env["CRM_GROUP"]
        with Consumer({"bootstrap.servers": kafka, "group.id": group}) as consumer:
            told = consumer.committed([TopicPartition(topic, p) for p in range(3)], 10)
        assert [each.offset for each in told] == home


@pytest.mark.e2e
def test_a_starting_worker_ends_when_asked_to(
    kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any moment of its start. Mutation caught: signals left to the event loop, or to Faust's own stop."""
    monkeypatch.delenv(
        "COVERAGE_PROCESS_CONFIG", raising=False
    )  # begins before the program, which then goes without half of it
    with running(kafka, valkey.url, nobody, tmp_path) as deployment:
        workers = []
        for delay in (0.6, 0.9, 0.7, 0.8, 1.5, 0.5):
            workers.append(deployment.worker())
            time.sleep(delay)
            workers[-1].process.send_signal(signal.SIGTERM if len(workers) % 2 else signal.SIGINT)
        workers.append(deployment.worker())
        workers[-1].says("holds partitions 0")
        workers[-1].process.send_signal(signal.SIGTERM)
        for worker in workers:
            assert worker.ends() in (0, -signal.SIGTERM, -signal.SIGINT), worker.said  # Python itself was starting
            assert "Error" not in worker.said
        assert workers[-1].ends() == 0


@pytest.mark.e2e
def test_a_pipe_that_nobody_reads_ends_nothing(
    kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path
) -> None:
    """Mutation caught: `say` that raises what the pipe says."""
    with running(kafka, valkey.url, nobody, tmp_path) as deployment:
        run = [sys.executable, "-m", "streams", "worker"]
        worker = subprocess.Popen(
            run, env=os.environ | deployment.env, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            for pipe in (worker.stdout, worker.stderr):
                assert pipe is not None
                pipe.close()
            deployment.bought("ann")
            deployment.reaches(1)
            worker.terminate()  # what it says of that, too, goes nowhere
            assert worker.wait(60) == 0
        finally:
            worker.kill()
            worker.wait()


@pytest.mark.parametrize("takes", [0.0, 60.0])
def test_a_process_is_ended_once(takes: float) -> None:
    """Two threads that end it at one time wrote what coverage had measured at one time, too, and crashed.
    Mutation caught: a timer that ends the process beside the thread that waits for the farewells."""
    program = f"""
import os, signal, time
from streams import ending

def say(line):
    os.write(1, line.encode() + b"\\n")

def end(code):
    say(f"ends {{code}}")
    time.sleep(1.5)
    end_at_once(code)

end_at_once, os._exit, ending.PATIENCE = os._exit, end, 1.0
ending.farewells += [lambda: 1 / 0, lambda: say("farewell"), lambda: time.sleep({takes})]
ending.prepare(say)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=HERE, capture_output=True, text=True, timeout=50)
    assert (sorted(run.stdout.splitlines()), run.returncode) == (["SIGTERM", "ends 0", "farewell"], 0), run.stderr


def test_complaints_are_one_line_as_they_begin_and_one_at_their_end() -> None:
    now, said = [100.0], list[str]()
    outage = Outage(said.append, lambda: now[0])
    outage.beat(answered=True)
    assert said == []
    for second in range(3):
        now[0] += 1
        outage.emit(logging.makeLogRecord({"msg": "Unable to connect %d", "args": (second,)}))
        outage.beat(answered=True)
    assert said == ["Kafka does not answer as it should; its client says: Unable to connect 0"]
    now[0] += 9
    outage.beat(answered=False)
    assert len(said) == 1
    outage.beat(answered=True)
    outage.beat(answered=True)
    assert said[1:] == ["Kafka answers again, after 2 s; 2 lines of its client were left out"]
    outage.emit(logging.makeLogRecord({"msg": "gone"}))
    assert len(said) == 3
