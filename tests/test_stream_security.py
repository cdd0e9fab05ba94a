"""TLS, users and passwords towards a real Kafka, with an authority of our own; who is turned away says why."""

import contextlib
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from certificates import Authority, authority
from click.testing import CliRunner
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from running import Running, purchase, running, until
from shops import T0

from demo import services
from demo.services.process import free_port
from streams import kafka, security, settings
from streams.__main__ import main
from streams.kafka import KafkaProblem
from streams.settings import PREFIX, Settings, SettingsError

PASSWORD = "correct-horse-0042"
BROKER = """listeners=PLAINTEXT://127.0.0.1:{{port}},SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{sasl},\
CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{sasl}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={chain}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.ssl.ssl.client.auth={asked}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_crm="{password}" user_worker="{password}" user_operator="{password}" user_init="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:crm;User:CN=localhost
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""
USERS = [f"--add-scram=SCRAM-SHA-{n}=[name=crm,password={PASSWORD}]" for n in (256, 512)]


@dataclass(frozen=True)
class Secured:
    """Addresses of one broker without TLS, with TLS (which asks for our certificate), with TLS and users."""

    plain: str
    tls: str
    sasl: str
    ours: Authority
    theirs: Authority

    def user(self, mechanism: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
        """The settings of somebody at the listener with users."""
        how = {"kafka": self.sasl, "kafka_tls": True, "kafka_ca": str(self.ours.ca), "kafka_sasl": mechanism}
        return how | {"kafka_user": "crm", "kafka_password": password} | more


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    scratch = tmp_path_factory.mktemp("secured")
    ours, theirs = authority(scratch / "ours", "ours"), authority(scratch / "theirs", "theirs")
    tls, sasl = free_port(), free_port()
    more = BROKER.format(tls=tls, sasl=sasl, chain=ours.chain, ca=ours.ca, asked="required", password=PASSWORD)
    with services.kafka(more=more, storage=USERS) as kafka:
        yield Secured(kafka.address, f"127.0.0.1:{tls}", f"127.0.0.1:{sasl}", ours, theirs)


def whole_way(run: Running) -> None:
    """A worker folds an event, a reject is written, ticks pass, `verify` recounts."""
    customers = [next(f"c{n}" for n in range(1000) if run.home(f"c{n}") == p) for p in range(2)]
    producer = run.producer()
    worker = run.worker()
    for key, text, timestamp in (purchase(customers[0], "e1", T0 + 1), (b"c", b"no JSON", T0 * 86_400_000)):
        producer.produce(run.name, text, key, partition=0, timestamp=timestamp)
    producer.flush()
    until(lambda: run.offset(0) == 2 and run.offset(1) > 0, lambda: run.said)  # the tick went through the same door
    assert run.orders(customers[0]) == "1"
    assert "wrong: 0" in run.verify()
    assert worker.stop() == 0
    assert PASSWORD not in worker.said


def test_users_go_the_whole_way(secured: Secured, valkey: services.Valkey, shop: Path, tmp_path: Path) -> None:
    """init, publish, worker (consumer, rejects, ticks) and verify, by `librdkafka` and by Faust."""
    scram = secured.user("SCRAM-SHA-512")
    with running(redis_url=valkey.url, directory=shop, scratch=tmp_path, partitions=2, **scram) as run:
        assert "created: nothing" in run.call("init")
        whole_way(run)


def test_certificates_go_the_whole_way(secured: Secured, valkey: services.Valkey, shop: Path, tmp_path: Path) -> None:
    """The same without users, where Kafka asks for our certificate. Mutation caught: Faust without a context."""
    ours = {"kafka_ca": secured.ours.ca, "kafka_certificate": secured.ours.signed, "kafka_key": secured.ours.key}
    tls: dict[str, Any] = {name: str(path) for name, path in ours.items()} | {"kafka": secured.tls, "kafka_tls": True}
    with running(redis_url=valkey.url, directory=shop, scratch=tmp_path, partitions=2, **tls) as run:
        whole_way(run)


# ---- rights ----------------------------------------------------------------------------------------------------------
KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()


class Right(NamedTuple):
    """As a row of docs/operations.md has it."""

    user: str
    operation: str
    kind: str
    name: str

    def acl(self) -> tuple[Any, ...]:
        who, what = f"User:{self.user}", (KINDS[self.kind], self.name, ResourcePatternType.LITERAL)
        return *what, who, "*", kafka.OPERATIONS[self.operation], AclPermissionType.ALLOW

    def missing(self) -> str:
        """What the one line says."""
        return f"the user of CRM_KAFKA may not {self.operation} {self.kind} {self.name}: grant it: docs/operations.md"


@dataclass(frozen=True)
class Rights:
    """What users of one deployment may do."""

    run: Running
    secured: Secured

    def grant(self, rights: Sequence[Right]) -> None:
        for future in self.run.admin.create_acls([AclBinding(*right.acl()) for right in rights]).values():
            future.result(15)
        until(lambda: all(self._stands(right) for right in rights))

    @contextlib.contextmanager
    def without(self, right: Right) -> Iterator[str]:
        """Somebody has taken it away; what the one line says then."""
        for future in self.run.admin.delete_acls([AclBindingFilter(*right.acl())]).values():
            future.result(15)
        until(lambda: not self._stands(right))
        yield right.missing()
        self.grant([right])

    def _stands(self, right: Right) -> bool:
        """Whether the broker has heard of it."""
        return bool(self.run.admin.describe_acls(AclBindingFilter(*right.acl())).result(15))

    def env(self, user: str) -> dict[str, str]:
        own = self.secured.user("PLAIN", kafka_user=user)
        return self.run.env | {PREFIX + name.upper(): str(value) for name, value in own.items()}

    def call(self, user: str, *args: object, code: int = 0, **env: str) -> str:
        """What a command prints; where it cannot, that is one line."""
        done = CliRunner(env=self.env(user) | env).invoke(main, [*map(str, args)])
        assert done.exit_code == code, f"{args}: {done.output}{done.exception!r}"
        assert code != 2 or len(done.output.splitlines()) == 1, f"{args}: {done.output}"
        return done.output


def table(name: str) -> dict[str, list[Right]]:
    """The rights of docs/operations.md, by user; name: of the topic and the group."""
    rows = re.findall(rf"^\| (.+) \| (`.+`) \| ({'|'.join(KINDS)}) `(.+)` \|$", OPERATIONS, re.MULTILINE)
    found: dict[str, list[Right]] = {}
    for users, operations, kind, on in rows:
        what = on.replace("crm.events", name).replace("crm-scorer", name)
        for user in re.findall(r"`(\w+)`", users):
            mine = found.setdefault(user, [])
            mine += [Right(user, operation, kind, what) for operation in re.findall(r"`(\w+)`", operations)]
    return found


def test_the_commands_of_the_document_grant_its_table() -> None:
    """Mutation caught: an option struck from one of them."""
    granted = set()
    both = re.findall(r'^    both="(.*)"$', OPERATIONS, re.MULTILINE)[0]
    for line in re.findall(r"^    acl (.*)$", OPERATIONS, re.MULTILINE):
        options = re.findall(r"--(\S+) (\S+)", line.replace("$both", both))
        users = [value.removeprefix("User:") for name, value in options if name == "allow-principal"]
        operations = [value for name, value in options if name == "operation"]
        (on,) = [(name.replace("-", " "), value) for name, value in options if name.replace("-", " ") in KINDS]
        granted |= {Right(user, operation, *on) for user in users for operation in operations}
    named = {right._replace(name="crm.events") if right.kind == "group" else right for right in granted}
    assert named == {right for rights in table("crm.events").values() for right in rights}


@pytest.fixture(scope="module")
def rights(
    secured: Secured, valkey: services.Valkey, shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rights]:
    """A deployment whose users have the rights of the document."""
    how: dict[str, Any] = {"kafka": secured.plain, "redis_url": valkey.url, "partitions": 2}
    with running(directory=shop, scratch=tmp_path_factory.mktemp("rights"), **how) as run:
        made = Rights(run, secured)
        made.grant([right for each in table(run.name).values() for right in each])
        yield made


def test_init_creates_both_topics_with_its_rights(rights: Rights) -> None:
    """Mutation caught: a check of a worker's rights in `init`."""
    name = f"{rights.run.name}-new"
    granted = table(name)["init"]
    rights.grant(granted)
    assert f"created: {name}, {name}.rejected;" in rights.call("init", "init", CRM_EVENTS_TOPIC=name)
    for right in granted:
        with rights.without(right) as line:
            assert line in rights.call("init", "init", code=2, CRM_EVENTS_TOPIC=name)


def test_a_worker_and_an_operator_need_the_rights_of_the_document_and_no_more(
    rights: Rights, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With one of them missing each ends with one line, which names it.

    Mutations caught: a worker that is not told of its group or of ticks; a trace where its commit is refused; a reader
    that stops where librdkafka asks for a coordinator; a tombstone that is sent before it is known that the rest may be
    done; librdkafka's own line beside ours.
    """
    run, granted = rights.run, table(rights.run.name)
    folded(rights)
    for right in (right for right in granted["worker"] if right.kind != "group"):
        with rights.without(right) as line, pytest.raises(KafkaProblem, match=re.escape(line)):
            starts(run.settings.model_copy(update=rights.secured.user("PLAIN", kafka_user="worker")))
    works, needs = operators(rights, tmp_path)
    for args in works:
        rights.call("operator", *args)
    capfd.readouterr()
    assert len(needs) == len(granted["operator"])
    for right in granted["operator"]:
        with rights.without(right) as line:
            assert line in rights.call("operator", *needs[right.operation, right.name], code=2)
    assert capfd.readouterr().err == ""


def folded(rights: Rights) -> None:
    """A worker folds an event, rejects one, and ends when it may not be of its group any more; the next ends as it
    joins, and one that may not write ticks does not begin."""
    run = rights.run
    key, text, timestamp = purchase(customer(run), "e1", T0 + 1)
    worker, producer = run.worker(**rights.env("worker")), run.producer()
    for partition in (0, 1):  # in 1 it is a reject that can be replayed
        producer.produce(run.name, text, key, partition=partition, timestamp=timestamp)
    producer.flush()
    until(lambda: run.offset(0) == 1 and run.offset(1) == 2, lambda: run.said)
    with rights.without(Right("worker", "Read", "group", run.name)) as line:
        for each in (worker, run.worker(**rights.env("worker"))):
            assert each.ends() == 2
            assert f" error: {line}" in each.said.splitlines()[-1]
            assert "Traceback" not in each.said
    with rights.without(Right("worker", "Write", "topic", run.name)) as line:
        worker = run.worker(**rights.env("worker"))
        assert worker.ends() == 2
        assert worker.said.startswith(f"streams: {line}")
        assert len(worker.said.splitlines()) == 1


def customer(run: Running) -> str:
    """Of partition 0."""
    return next(f"c{n}" for n in range(99) if run.home(f"c{n}") == 0)


Command = tuple[object, ...]


def operators(rights: Rights, scratch: Path) -> tuple[list[Command], dict[tuple[str, str], Command]]:
    """All that an operator does; and for each right, by operation and name, a command that cannot do without."""
    name, shop, who = rights.run.name, rights.run.directory, customer(rights.run)
    events, later = scratch / "events", scratch / "later.csv"
    events.write_bytes(purchase(who, "e2", T0 + 1)[1])
    later.write_text(f"customer_id,occurred_at,amount\n{who},{np.datetime64(T0 + 2, 'D')},10.00\n")
    send, erase, again = ("send", events), ("erase", who, "--no-wait"), ("rejected", "replay")
    works: list[Command] = [
        ("publish", shop), ("verify", "--history", shop), ("rejected", "list"), ("rejected", "show", "1:0"), send,
        ("export", who, "--log"), again, ("replay", later, "--free"), erase, ("erase", "--list"),
        ("rebuild", "--history", shop),
    ]  # fmt: skip
    needs: dict[tuple[str, str], Command] = {
        ("Read", name): ("export", who, "--log"),
        ("Write", name): send,
        ("DescribeConfigs", name): ("publish", shop),
        ("Write", f"{name}.rejected"): again,
        ("DescribeConfigs", f"{name}.rejected"): erase,
        ("Read", f"{name}.rejected"): erase,
        ("Write", f"{name}.rejected.replay"): again,
    }
    return works, needs


def starts(settings: Settings) -> None:
    """What a worker asks Kafka before it does anything."""
    kafka.check_worker(settings)
    kafka.describe(settings)
    kafka.room_of_rejects(settings)


def refused(monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]) -> str:
    """The one line with which a command ends, exit code 2."""
    for name, value in how.items():
        monkeypatch.setenv(PREFIX + name.upper(), str(value))
    done = CliRunner().invoke(main, ["init"])
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    (line,) = done.stderr.splitlines()
    return line


def test_who_is_turned_away_says_why(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, without the password. Mutation caught: `refused` not asked: "is Kafka up?"."""
    monkeypatch.setattr("streams.kafka.WAIT", 1.0)
    wrong, ca = "wrong-horse-0007", {"kafka_tls": True, "kafka_ca": secured.ours.ca}
    theirs: dict[str, Any] = {"kafka_ca": secured.theirs.ca}
    cases: list[tuple[dict[str, Any], str]] = [
        (
            secured.user("SCRAM-SHA-256", wrong),
            "Authentication failed during authentication due to invalid cred",
        ),
        (secured.user("PLAIN", wrong), "Invalid username or password: CRM_KAFKA_SASL, CRM_KAFKA_USER, CRM_KAFKA_PASS"),
        (
            secured.user("PLAIN", **theirs),
            "its certificate is not trusted (self-signed certificate in certificate chain)",
        ),
        (secured.user("PLAIN", kafka_ca="", kafka=secured.sasl), "its certificate is not trusted (self"),
        ({"kafka": secured.sasl}, "it speaks TLS: set CRM_KAFKA_TLS=1"),
        (ca | {"kafka": secured.plain}, "is Kafka up, and is this a listener with TLS?"),
    ]
    for how, said in cases:
        with monkeypatch.context() as patch:
            line = refused(patch, how)
        assert line.startswith(f"streams: CRM_KAFKA={how['kafka']}: "), line
        assert said in line
        assert not {wrong, PASSWORD} & set(line.replace(":", " ").split())


def test_a_kafka_that_is_silent_is_away_and_nothing_else(secured: Secured) -> None:
    """What listens and says nothing, or is not there, may come back."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for sasl in ({"kafka_tls": True}, secured.user("PLAIN") | {"kafka": address}):
            assert security.refused(Settings(**{"kafka": address} | sasl)) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"KAFKA_SASL": "PLAIN"}, "CRM_KAFKA_SASL=PLAIN: CRM_KAFKA_USER and CRM_KAFKA_PASSWORD are needed"),
        (
            {"KAFKA_SASL": "PLAIN", "KAFKA_USER": "crm", "KAFKA_PASSWORD": "hunter2"},
            "CRM_KAFKA_SASL=PLAIN: set CRM_KAFKA_TLS=1, or the password travels readable; CRM_KAFKA_INSECURE=1",
        ),
        ({"KAFKA_PASSWORD": "hunter2"}, "CRM_KAFKA_USER, CRM_KAFKA_PASSWORD: not shown to Kafka: set CRM_KAFKA_SASL"),
        ({"KAFKA_SASL": "GSSAPI", "KAFKA_PASSWORD": "hunter2"}, "CRM_KAFKA_SASL='GSSAPI': Input should be 'none', "),
        ({"KAFKA_CA": "ca.pem"}, "CRM_KAFKA_CA=ca.pem: says nothing without CRM_KAFKA_TLS=1"),
        ({"KAFKA_TLS": "1", "KAFKA_KEY": "k.pem"}, "CRM_KAFKA_CERTIFICATE, CRM_KAFKA_KEY: set both or none"),
        (
            {"KAFKA_TLS": "1", "KAFKA_CA": "/none"},
            "CRM_KAFKA_CA=/none: no certificate (PEM): No such file or directory",
        ),
        ({"KAFKA_TLS": "maybe"}, "CRM_KAFKA_TLS='maybe': Input should be a valid boolean"),
        ({"REDIS_CA": "ca.pem"}, "CRM_REDIS_CA=ca.pem: says nothing unless CRM_REDIS_URL begins with rediss://"),
    ],
)
def test_settings_that_make_no_sense(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str) -> None:
    line = refused(monkeypatch, dict(given))
    assert line.startswith(f"streams: {said}")
    assert "hunter" not in line


def test_without_tls_where_it_is_allowed() -> None:
    """The password stands in the configuration alone: neither it nor Redis's in the text of the settings."""
    given = Settings(
        kafka_sasl="PLAIN",
        kafka_user="crm",
        kafka_password="hunter2",
        kafka_insecure=True,
        redis_url="redis://:hunter@r",
    )
    assert security.librdkafka(given)["security.protocol"] == "sasl_plaintext"
    assert security.faust(given).protocol.value == "SASL_PLAINTEXT"
    assert "hunter" not in f"{given!r} {given}"


def test_a_file_that_is_no_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca").write_text("not PEM")
    with pytest.raises(SettingsError, match=r"CRM_KAFKA_CA=.*: no certificate \(PEM\)"):
        security.librdkafka(Settings(kafka_tls=True, kafka_ca=str(tmp_path / "ca")))
    (tmp_path / "password").write_text("hunter2\n")
    monkeypatch.setenv("CRM_KAFKA_PASSWORD_FILE", str(tmp_path / "password"))
    for name, value in {"SASL": "PLAIN", "USER": "crm", "TLS": "1"}.items():
        monkeypatch.setenv(f"CRM_KAFKA_{name}", value)
    assert settings.load().kafka_password == "hunter2"
