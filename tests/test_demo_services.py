"""The services are real, keep what they promise to keep, and leave nothing running whichever way their user ends."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from demo import services
from demo.services import ServiceError, Valkey, jars

ROOT = Path(__file__).parent.parent
Start = Callable[..., contextlib.AbstractContextManager[Valkey]]
STORES: dict[str, Start] = {"valkey": services.valkey, "redis-server": services.redis_server}  # type: ignore[dict-item]


@pytest.fixture(params=STORES)
def start(request: pytest.FixtureRequest) -> Start:
    """Starts a store of its own; the one on PATH only where there is one."""
    if request.param == "redis-server":
        request.getfixturevalue("old_redis")
    starter: Start = STORES[request.param]
    return starter


def client(server: Valkey) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def alive(pid: int) -> bool:
    """Running, and not a zombie that its new parent has yet to collect."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_kafka_takes_and_gives_back_a_record(kafka: str) -> None:
    topic = f"services-{os.getpid()}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(10)
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(topic, b"value", b"key")
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    record = consumer.poll(30)
    consumer.close()
    assert record is not None
    assert (record.key(), record.value()) == (b"key", b"value")


def test_a_store_evicts_nothing_and_listens_on_loopback_only(start: Start) -> None:
    with start() as server, client(server) as store:
        assert store.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert store.config_get("bind") == {"bind": "127.0.0.1"}


@pytest.mark.parametrize("appendonly", [True, False])
def test_data_survive_stop_and_start_on_the_same_port(start: Start, appendonly: bool) -> None:
    with start(appendonly=appendonly) as server, client(server) as store:
        store.set("kept", "1")
        port, pid = server.port, server.pid
        server.stop()
        with pytest.raises(ServiceError, match="is not running"):
            _ = server.pid
        server.start()
        assert (server.port, store.get("kept")) == (port, b"1")
        assert server.pid != pid


def test_appended_data_survive_kill_9(start: Start) -> None:
    with start() as server, client(server) as store:
        store.set("kept", "1")
        os.kill(server.pid, signal.SIGKILL)
        server.start()
        assert store.get("kept") == b"1"


def test_an_older_append_only_file_can_be_put_back(start: Start, tmp_path: Path) -> None:
    with start(directory=tmp_path / "data") as server, client(server) as store:
        store.set("state", "old")
        shutil.copytree(server.directory / "appendonlydir", tmp_path / "copy")
        store.set("state", "new")
        server.stop(signal.SIGKILL)
        shutil.rmtree(server.directory / "appendonlydir")
        shutil.copytree(tmp_path / "copy", server.directory / "appendonlydir")
        server.start()
        assert store.get("state") == b"old"


def test_an_older_snapshot_can_be_put_back(start: Start, tmp_path: Path) -> None:
    with start(directory=tmp_path / "data", appendonly=False) as server, client(server) as store:
        store.set("state", "old")
        store.save()
        shutil.copy(server.directory / "dump.rdb", tmp_path / "copy.rdb")
        store.set("state", "new")
        server.stop(signal.SIGKILL)
        shutil.copy(tmp_path / "copy.rdb", server.directory / "dump.rdb")
        server.start()
        assert store.get("state") == b"old"


def test_a_given_directory_outlives_the_server(start: Start, tmp_path: Path) -> None:
    with start(directory=tmp_path) as server, client(server) as store:
        store.set("kept", "1")
    with start(directory=tmp_path) as server, client(server) as store:
        assert store.get("kept") == b"1"


def test_a_stopped_process_can_go_on_or_be_ended(start: Start) -> None:
    with start() as server:
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
        with client(server) as store:
            os.kill(pid, signal.SIGCONT)
            assert store.ping()
        os.kill(pid, signal.SIGSTOP)
        server.stop()
        assert not alive(pid)
        assert "bye bye" in (server.directory / "server.log").read_text(), "it was killed, not asked to end"


def test_a_taken_port_is_one_clear_line() -> None:
    with services.valkey() as server:
        taken = services.valkey(port=server.port)
        with pytest.raises(ServiceError, match=rf"^Valkey cannot start: port {server.port} is taken"), taken:
            pass


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "dump.rdb").write_bytes(b"no snapshot at all")
    damaged = services.valkey(directory=tmp_path, appendonly=False)
    with pytest.raises(ServiceError, match=r"^Valkey did not start: .*Wrong signature.*Fatal error"), damaged:
        pass


HOLD = """import signal
from demo import services
with services.valkey() as server:
    print(server.pid, server.directory, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_service_ends_with_its_parent(how: int) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert alive(int(pid))
        parent.send_signal(how)
    wait_for(lambda: not alive(int(pid)))
    if how != signal.SIGKILL:
        assert not Path(directory).exists()
    else:
        shutil.rmtree(directory)


def test_the_command_prints_addresses_until_interrupted() -> None:
    command = [sys.executable, "-m", "demo.services"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(3)]
        running.send_signal(signal.SIGINT)
    assert running.returncode == 0
    pids = [int(line.split("(pid ")[1].rstrip(")\n")) for line in lines[:2]]
    assert ["CRM_KAFKA=127.0.0.1:" in lines[0], "CRM_REDIS_URL=redis://127.0.0.1:" in lines[1]] == [True, True]
    assert lines[2] == "Ctrl-C stops both.\n"
    assert [alive(pid) for pid in pids] == [False, False]


# --- Kafka's jars, fetched by programs of the test's own that stand in for mvn and jgo ---

MVN = """#!/bin/sh
echo call >> "$(dirname "$0")/calls"
for word; do case "$word" in -DoutputDirectory=*) into="${word#*=}";; esac; done
sleep 0.3
cp "$JARS"/*.jar "$into"
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a directory first on PATH and on Python's path."""
    monkeypatch.setenv("JARS", str(jars.jars()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (tmp_path / "jgo").mkdir()
    (tmp_path / "jgo/__init__.py").write_text("raise ImportError('no route to the repository')")
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_four_processes_fetch_the_jars_once(bench: Path) -> None:
    program(bench / "mvn", MVN)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = [pool.apply_async(jars.jars) for _ in range(4)]
        directories = {each.get(60) for each in found}
    assert directories == {bench / "cache/crm-scorer" / f"kafka-{jars.VERSION}"}
    assert (bench / "calls").read_text().splitlines() == ["call"]
    assert [path.name for path in (bench / "cache/crm-scorer").iterdir() if path.name not in ("lock",)] == [
        f"kafka-{jars.VERSION}"
    ]


def test_a_damaged_jar_is_fetched_again(bench: Path) -> None:
    program(bench / "mvn", MVN)
    damaged = next(jars.jars().glob("kafka-clients-*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    jars.jars()
    assert (bench / "calls").read_text().splitlines() == ["call", "call"]


def test_one_line_says_what_was_tried(bench: Path) -> None:
    program(bench / "mvn", "#!/bin/sh\necho '[ERROR] Could not transfer artifact'; exit 1\n")
    with pytest.raises(ServiceError) as raised:
        jars.jars()
    assert str(raised.value) == (
        f"Kafka {jars.VERSION} cannot be had: mvn failed: [ERROR] Could not transfer artifact; "
        "jgo failed: ImportError: no route to the repository"
    )


def test_a_jar_that_differs_is_not_used(bench: Path) -> None:
    program(bench / "mvn", MVN + 'for jar in "$into"/kafka-clients-*; do echo >> "$jar"; done\n')
    with pytest.raises(ServiceError, match=rf"differs from kafka-{jars.VERSION}.sha256 in kafka-clients-"):
        jars.jars()
    assert not (bench / "cache/crm-scorer" / f"kafka-{jars.VERSION}").exists()


def test_the_command_ends_with_2_when_kafka_cannot_be_had(bench: Path) -> None:
    program(bench / "mvn", "#!/bin/sh\nexit 1\n")
    done = subprocess.run([sys.executable, "-m", "demo.services"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"Kafka {jars.VERSION} cannot be had: mvn failed")
    assert "Traceback" not in done.stderr


def test_an_old_java_on_path_is_passed_over(bench: Path) -> None:
    program(bench / "java", "#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    assert jars.java().parent != bench
    program(bench / "java", "#!/bin/sh\necho 'openjdk version \"21.0.2\"' >&2\n")
    assert jars.java() == bench / "java"
