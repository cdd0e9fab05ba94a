"""Redis's users of deploy/users.acl on a real Valkey: each can do its work, and nothing else. TLS on a real Redis."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from certificates import Authority, authority
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from running import purchase, running, until
from serving import serving
from shops import T0

from demo import services
from demo.services.process import free_port
from streams.rights import RIGHTS

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Guarded:
    """A Valkey that knows these users alone; secrets: what deploy/users.py left."""

    port: int
    secrets: Path

    def url(self, user: str) -> str:
        return (self.secrets / f"{user}.url").read_text().strip()

    def user(self, name: str) -> Any:
        return redis.Redis.from_url(self.url(name), decode_responses=True)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    secrets, port = tmp_path_factory.mktemp("guarded") / "secrets", free_port()
    make: list[str | Path] = [sys.executable, ROOT / "deploy" / "users.py", secrets, f"127.0.0.1:{port}"]
    subprocess.run(make, check=True)
    kept = (secrets / "worker").read_text()
    for each in secrets.iterdir():
        each.chmod(0o600)
    subprocess.run(make, check=True)
    assert (secrets / "worker").read_text() == kept, "a second run changes no password"
    assert {each.stat().st_mode & 0o777 for each in secrets.iterdir()} == {0o644}, "containers have other users"
    acl = secrets / "users.acl"
    acl.write_text(acl.read_text().replace("~crm:", "~running-*:"))  # the prefixes of tests
    with services.valkey(port, more=["--aclfile", str(acl)]):
        yield Guarded(port, secrets)


def refused(client: Any, *command: object) -> bool:
    """Whether the user may not."""
    try:
        client.execute_command(*command)
    except exceptions.NoPermissionError:
        return True
    return False


@pytest.mark.parametrize("name", ["worker", "publisher", "reader", "api"])
def test_nobody_without_a_name_and_nobody_more_than_his_own(guarded: Guarded, name: str) -> None:
    once = Retry(NoBackoff(), 0)
    with redis.Redis(port=guarded.port, retry=once) as nobody, pytest.raises(exceptions.AuthenticationError):
        nobody.ping()
    with guarded.user(name) as client:
        assert client.ping()
        for command in (
            ["FLUSHALL"], ["CONFIG", "GET", "*"], ["ACL", "LIST"], ["KEYS", "*"], ["SHUTDOWN"], ["CLIENT", "LIST"],
            ["SET", "elsewhere", 1], ["GET", "elsewhere"], ["RANDOMKEY"], ["REPLICAOF", "no", "one"], ["MONITOR"],
        ):  # fmt: skip
            assert refused(client, *command), command


def test_a_worker_may_do_what_it_asks_for_and_no_more() -> None:
    """Of the commands with keys; and a publisher all of that too."""
    found = re.findall(r"^user (\w+) on (.*)$", (ROOT / "deploy" / "users.acl").read_text(), re.MULTILINE)
    may = {name: {word[1:].upper() for word in rules.split() if word.startswith("+")} for name, rules in found}
    asked = {command for commands in RIGHTS.values() for command in commands.split()}
    without_keys = {"HELLO", "PING", "SELECT", "INFO", "MULTI", "EXEC", "EVALSHA", "SCRIPT|LOAD", "TIME"}
    assert may["worker"] == asked | without_keys
    assert may["worker"] < may["publisher"]


def test_the_whole_way(kafka: str, guarded: Guarded, shop: Path, tmp_path: Path) -> None:
    """A publisher publishes, rebuilds, verifies, exports and erases, a worker folds, erases, learns and sweeps, a
    reader reads the contract's keys and nothing else, and the API serves and writes nothing.

    Mutations caught: a right of publisher or worker struck from deploy/users.acl.
    """
    with running(kafka, guarded.url("publisher"), shop, tmp_path, partitions=2) as run:
        worker = run.worker(CRM_REDIS_URL=guarded.url("worker"))
        customer = next(f"c{n}" for n in range(1000) if run.home(f"c{n}") == 0)
        producer = run.producer()
        for key, value, timestamp in (
            purchase(customer, "e1", T0),
            purchase(customer, "e2", T0 + 60),
            (b"c", b"no JSON", T0 * 86_400_000),
        ):
            producer.produce(run.name, value, key, partition=0, timestamp=timestamp)
        producer.flush()
        day: Any = lambda: int(run.redis.hget(f"{run.name}:model", "day"))  # noqa: E731
        until(lambda: run.offset(0) == 3 and day() == T0 + 60, lambda: f"{run.offset(0)} {day()} {run.said}")
        with guarded.user("reader") as reader:
            assert reader.hgetall(f"{run.name}:customer:{customer}")["orders"] == "2"
            segment = reader.hget(f"{run.name}:customer:{customer}", "segment_id")
            assert reader.zscore(f"{run.name}:members:{segment}:0", customer) is not None
            until(lambda: reader.hget(f"{run.name}:freshness:0", "at"))  # it is said once a second
            assert reader.time()[0] - int(reader.hget(f"{run.name}:freshness:0", "at")) < 60
            assert reader.hget(f"{run.name}:partitions", "partitions") == "2"
            assert "definition" in reader.hget(f"{run.name}:segments", segment)
            assert len(reader.hgetall(f"{run.name}:clusters")) >= 1
            assert reader.xrange(f"{run.name}:changes:0")
            assert refused(reader, "HGETALL", f"{run.name}:state:0")
            assert refused(reader, "HSET", f"{run.name}:customer:{customer}", "orders", 3)
            assert refused(reader, "SCAN", 0)
        with serving(run.settings.model_copy(update={"redis_url": guarded.url("api")})) as served:
            assert served.ask(f"/v1/customers/{customer}").json["orders"] == 2
            assert served.ask("/v1/customers/nobody").problem == (404, "unknown-customer")
            with guarded.user("api") as client:
                for kind in ("state:0", "guard:0", "meta", "model", "ledger", "erased:0"):
                    assert not refused(client, "HLEN", f"{run.name}:{kind}")
                for command, kind in (("HSET", "customer:x"), ("HDEL", "meta"), ("ZADD", "members:0:0")):
                    assert refused(client, command, f"{run.name}:{kind}", "1", "2")
                assert refused(client, "SCAN", 0)
                assert refused(client, "HGETALL", f"{run.name}:rejected:0")
        assert "wrong: 0" in run.verify()
        assert "orders" in run.call("show", customer)
        assert "adds" in run.call("show", customer, "--why")
        assert "kept: " in run.call("model")
        run.call("rebuild", "--history", str(shop))
        until(lambda: run.offset(0) == 3, lambda: run.said)
        assert '"orders": "2"' in run.call("export", customer)
        assert '"passed": true' in run.call("erase", customer)
        assert run.orders(customer) is None
        assert "wrong: 0" in run.verify()
        run.call("publish", str(shop), code=2)  # too old by now: it is refused by the job, not by Redis
        assert worker.stop() == 0
        assert not {guarded.url("worker"), (guarded.secrets / "worker").read_text()} & set(run.said.split())


def test_an_older_server_takes_the_file_too(guarded: Guarded, tmp_path: Path) -> None:
    """Mutation caught: a command in deploy/users.acl that Redis 7.0 does not know."""
    file = tmp_path / "users.acl"
    file.write_text((guarded.secrets / "users.acl").read_text())
    with services.redis_server(more=["--aclfile", str(file)]) as server:
        if server is None:
            missing = "redis-server is not on PATH, so it was not given the users: apt-get install redis-server"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
        password = (guarded.secrets / "reader").read_text()
        with redis.Redis(port=server.port, username="reader", password=password) as reader:
            assert reader.ping()


def test_a_wrong_password_is_one_line(guarded: Guarded, kafka: str, tmp_path: Path) -> None:
    with running(kafka, guarded.url("publisher"), None, tmp_path) as run:
        run.env["CRM_REDIS_URL"] = f"redis://worker:wrong-horse@127.0.0.1:{guarded.port}/0"
        line = run.call("model", code=2)
        assert line.startswith("streams: CRM_REDIS_URL: ")
        assert "invalid username-password pair" in line
        assert len(line.splitlines()) == 1
        assert "wrong-horse" not in line


# ---- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Authority]]:
    """(URL, authority) of a Redis that speaks TLS; the wheel's Valkey cannot."""
    ours, port = authority(tmp_path_factory.mktemp("ours"), "ours"), free_port()
    files = ["--tls-cert-file", ours.signed, "--tls-key-file", ours.key, "--tls-ca-cert-file", ours.ca]
    more = ["--tls-port", port, "--tls-auth-clients", "no", *files]
    with services.redis_server(more=[str(each) for each in more]) as server:
        if server is None:
            missing = "redis-server is not on PATH, so TLS towards Redis was not tried: apt-get install redis-server"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
        yield f"rediss://127.0.0.1:{port}/0", ours


def test_a_redis_that_speaks_tls(kafka: str, encrypted: tuple[str, Authority], shop: Path, tmp_path: Path) -> None:
    """A worker folds over it; whoever trusts another authority, or none, is told so in one line."""
    url, ours = encrypted
    with running(kafka, url, shop, tmp_path, redis_ca=str(ours.ca)) as run:
        worker = run.worker()
        key, value, timestamp = purchase("ann", "e1", T0)
        producer = run.producer()
        producer.produce(run.name, value, key, timestamp=timestamp)
        producer.flush()
        run.reaches(1)
        assert "wrong: 0" in run.verify()
        assert worker.stop() == 0
        for ca in (str(authority(tmp_path / "theirs", "theirs").ca), ""):
            run.env["CRM_REDIS_CA"] = ca
            (line,) = run.call("model", code=2).splitlines()
            assert line.startswith("streams: CRM_REDIS_URL: ")
            assert "certificate verify failed" in line
