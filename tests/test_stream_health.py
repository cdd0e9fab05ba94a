"""`streams health` beside a worker: well only if it holds partitions, all are ready, and Kafka and Redis answer."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from running import HERE, Running, running, until

from demo import services
from streams import answers, status
from streams.refusal import Refusal


def health(run: Running, code: int) -> str:
    return run.call("health", code=code)


def wrong(path: Path) -> str:
    return "; ".join(status.wrong(status.read(path)))


def well(run: Running) -> bool:
    found = status.read(Path(run.env["CRM_STATUS"]))
    return found is not None and not list(status.wrong(found))


def test_a_worker_that_is_well_and_one_that_is_not(
    kafka: str, valkey: services.Valkey, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutations caught: the file's age, or lives that are not ready, passed over; a worker without partitions well; a
    Redis that answers, but takes nothing, said to be silent; what it answered kept once it takes again."""
    with running(kafka, valkey.url, shop, tmp_path, partitions=2, status=str(tmp_path / "status")) as run:
        assert run.command("health", code=1).startswith("not well: no worker has written here")
        worker = run.worker()
        until(lambda: well(run), lambda: run.said)
        assert run.command("health").endswith("well: holds partitions 0, 1, all ready; Kafka and Redis answer\n")
        run.redis.hset(f"{run.name}:guard:1", "token", "of somebody else")
        run.redis.hset(f"{run.name}:guard:1", "state", "rebuilding")
        until(lambda: not well(run), lambda: run.said)
        assert health(run, 1).startswith("not well: partition 1 is locating")
        run.redis.hset(f"{run.name}:guard:1", "state", "ready")
        until(lambda: well(run), lambda: run.said)
        path = tmp_path / "status"
        monkeypatch.setattr(status, "UNHEARD", 2.0)
        for word, setting in (("OOM", "maxmemory"), ("NOREPLICAS", "min-replicas-to-write")):  # and no event comes
            run.redis.config_set(setting, "1")
            until(lambda: wrong(path).startswith("Redis took nothing for "), lambda: wrong(path))
            assert f" s: {word}: {answers.PASSING[word]}" in wrong(path)
            run.redis.config_set(setting, "0")
            until(lambda: well(run), lambda: wrong(path))
        monkeypatch.undo()
        os.kill(worker.process.pid, signal.SIGSTOP)
        said = status.read(path)
        assert said is not None
        status.write(path, msgspec.structs.replace(said, at=time.time() - 60))
        assert health(run, 1).startswith("not well: the worker said nothing for 6")
        os.kill(worker.process.pid, signal.SIGCONT)
        until(lambda: well(run), lambda: run.said)
        for times in (1, 2):  # said once while it lasts, and the next time
            path.unlink()
            path.mkdir()
            line = f"warning: CRM_STATUS={path}: Is a directory"
            until(lambda: run.said.count(line) == times, lambda: run.said)  # noqa: B023
            assert health(run, 2).startswith(f"streams: CRM_STATUS={path}: Is a directory")
            time.sleep(1.2)
            assert run.said.count(line) == times, run.said
            path.rmdir()
            until(lambda: path.exists() and well(run), lambda: run.said)
        run.env["CRM_KAFKA"] = "127.0.0.1:1"
        assert "is Kafka up?" in health(run, 2)
        run.env |= {"CRM_KAFKA": kafka, "CRM_REDIS_URL": "redis://127.0.0.1:1/0"}
        assert health(run, 2).startswith("streams: CRM_REDIS_URL: ")
        run.env.pop("CRM_STATUS")
        assert "CRM_STATUS is not set" in health(run, 2)


@pytest.mark.parametrize("kind", ["a directory", "in none", "below a file", "a name that is too long"])
def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """Mutation caught: the bare error, which names a file of ours that nobody has set."""
    (tmp_path / "file").touch()
    (tmp_path / "status").mkdir()
    name = {"a directory": "status", "in none": "none/status", "below a file": "file/status"}.get(kind, "x" * 300)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Refusal, match=re.escape(f"CRM_STATUS={tmp_path / name}: ") + r"\w[\w ]+: a worker must"):
        status.write(tmp_path / name, status.Status(time.time()))
    assert sorted(tmp_path.iterdir()) == before


def test_an_idle_worker_asks_redis_little(kafka: str, valkey: services.Valkey, shop: Path, tmp_path: Path) -> None:
    """By its server's own count; 4 partitions. Mutation caught: a trainer that asks 20 times a second whether a day is
    complete: over 120 commands a second."""
    with running(kafka, valkey.url, shop, tmp_path, partitions=4, status=str(tmp_path / "status")) as run:
        run.worker()
        until(lambda: well(run), lambda: run.said)
        before, begun = run.redis.info("stats")["total_commands_processed"], time.monotonic()
        time.sleep(3)
        commands = run.redis.info("stats")["total_commands_processed"] - before
        assert commands < 60 * (time.monotonic() - begun)


def test_what_a_worker_warns_of_is_said(kafka: str, valkey: services.Valkey, shop: Path, tmp_path: Path) -> None:
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

    with running(kafka, valkey.url, shop, tmp_path, status=str(tmp_path / "status")) as run:
        entry = ConfigEntry("retention.ms", "86400000", incremental_operation=AlterConfigOpType.SET)
        topic = ConfigResource(ResourceType.TOPIC, run.name, incremental_configs=[entry])
        run.admin.incremental_alter_configs([topic])[topic].result(15)
        assert "keeps 86400000 ms only" in health(run, 1)
        evicting = answers.warnings("allkeys-lru", 1, "")
        run.redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert f"warning: {evicting[0]}\n" in health(run, 1)
        finally:
            run.redis.config_set("maxmemory-policy", "noeviction")


@pytest.mark.long
@pytest.mark.e2e
def test_the_partitions_of_a_worker_that_hangs_go_to_another(
    kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path
) -> None:
    """Its process lives, its threads go on, but its loop waits for somebody to read the pipe of its lines. Mutation
    caught: a consumer in a thread of its own, which goes on telling Kafka that all is well."""
    with running(kafka, valkey.url, nobody, tmp_path, partitions=2) as run:
        other, (reads, writes) = run.worker(), os.pipe()
        other.says("holds partitions 0, 1")
        command = [sys.executable, "-m", "streams", "worker"]
        hangs = subprocess.Popen(command, env=os.environ | run.env, cwd=HERE, stdout=writes, stderr=writes)
        try:
            said = b""
            while not (found := re.search(rb"holds partitions (\d)\n", said)):
                said += os.read(reads, 1 << 16)
            held = int(found[1])
            until(lambda: f"holds partitions {1 - held}\n" in other.said, lambda: other.said)
            os.set_blocking(writes, False)
            os.write(writes, bytes(fcntl.fcntl(writes, fcntl.F_GETPIPE_SZ)))  # full to the brim
            os.set_blocking(writes, True)
            run.redis.hset(f"{run.name}:guard:{held}", mapping={"token": "of somebody else", "state": "rebuilding"})
            until(lambda: other.said.count("holds partitions 0, 1\n") > 1, lambda: other.said)
            run.redis.hset(f"{run.name}:guard:{held}", "state", "ready")
            run.bought(customer := next(f"c{n}" for n in range(99) if run.home(f"c{n}") == held))
            until(lambda: run.orders(customer) == "1", lambda: run.said)
            assert hangs.poll() is None
        finally:
            hangs.kill()
            hangs.wait()
            os.close(reads)
            os.close(writes)
