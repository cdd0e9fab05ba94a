"""Back-up and restore as docs/operations.md has them: an older Redis and a copied DIR are put back: 0 wrong."""

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import shops
from running import Running, purchase, running, until
from shops import T0

from demo import services
from models.rows import DAY
from streams import kafka as topics


def saved(deployment: Running, server: services.Valkey, where: Path) -> None:
    """`redis-cli BGSAVE`, and the file once it stands."""
    before = deployment.redis.lastsave()
    until(lambda: time.time() > before.timestamp() + 1)  # LASTSAVE counts whole seconds
    deployment.redis.bgsave()
    until(lambda: deployment.redis.lastsave() != before)
    shutil.copy(server.directory / "dump.rdb", where)


def copied(deployment: Running, server: services.Valkey, where: Path) -> None:
    """The directory of the append-only file, while it is not written anew."""
    deployment.redis.config_set("auto-aof-rewrite-percentage", 0)
    until(lambda: not deployment.redis.info("persistence")["aof_rewrite_in_progress"])
    until(lambda: not deployment.redis.info("persistence")["aof_buffer_length"])  # a busy disk is waited for, up to 2 s
    shutil.copytree(server.directory / "appendonlydir", where / "appendonlydir")
    deployment.redis.config_set("auto-aof-rewrite-percentage", 100)


def sold(deployment: Running, hours: range) -> None:
    """Every hour old and new customers buy, one record is rejected, one customer is erased."""
    producer = deployment.producer()
    for hour in hours:
        day = T0 + hour // 24
        for name in (f"h{hour % 12}", f"n{hour % 5}", f"of-{hour}"):
            key, value, timestamp = purchase(name, f"{name}-{hour}", day)
            producer.produce(deployment.name, value, key, timestamp=timestamp)
        producer.produce(deployment.name, b"{", b"x", timestamp=day * DAY // 1000)
        producer.produce(deployment.name, None, f"of-{hour - 1}".encode())
    producer.flush()
    deployment.reaches(*(high for _, high in topics.bounds(deployment.settings, deployment.name)))


@pytest.mark.e2e
@pytest.mark.parametrize(("appendonly", "back_up"), [(False, saved), (True, copied)], ids=["rdb", "aof"])
def test_a_redis_of_an_hour_ago_is_put_back(
    kafka: str, tmp_path: Path, appendonly: bool, back_up: Callable[[Running, services.Valkey, Path], None]
) -> None:
    """With it the DIR from its copy. The worker runs on; what came since is folded again, an erasure too."""
    kept = tmp_path / "backup"
    kept.mkdir()
    fitted = shops.shop(tmp_path / "fitted", customers=12)
    with (
        services.valkey(directory=tmp_path / "valkey", appendonly=appendonly) as server,
        running(kafka, server.url, fitted, tmp_path, partitions=2) as deployment,
    ):
        worker = deployment.worker()
        sold(deployment, range(24))
        stood = [deployment.offset(p) for p in range(2)]
        back_up(deployment, server, kept)
        shutil.copytree(fitted, kept / "fitted")
        sold(deployment, range(24, 36))
        server.stop()
        for path in kept.glob("*.rdb"):
            shutil.copy(path, server.directory)
        for path in kept.glob("appendonlydir"):
            shutil.rmtree(server.directory / path.name)
            shutil.copytree(path, server.directory / path.name)
        shutil.rmtree(fitted)
        shutil.copytree(kept / "fitted", fitted)
        worker.process.send_signal(signal.SIGSTOP)  # that Redis is older is seen before it is mended
        server.start()
        assert [deployment.offset(p) for p in range(2)] == stood
        worker.process.send_signal(signal.SIGCONT)
        deployment.reaches(*(high for _, high in topics.bounds(deployment.settings, deployment.name)))
        assert "wrong: 0" in deployment.call("verify", "--history", str(fitted))
        assert (deployment.orders("of-34"), deployment.orders("of-35")) == (None, "1")
        rejects = sum(int(deployment.redis.hget(f"{deployment.name}:rejected:{p}", "not_json") or 0) for p in range(2))
        assert rejects == 36
        assert worker.process.poll() is None
