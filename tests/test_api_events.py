"""Events over HTTP: as they came into the topic, each with its verdict; Kafka away is 503."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from running import Running, running
from serving import DEPLOYMENT, Served, furnish, serving
from shops import T0
from test_stream_send import line

from demo import services
from models.rows import DAY
from streams import ingest, kafka
from streams.crm.access import ADMIN, READ, Access, Caller
from streams.deployment import Deployment
from streams.ingest import PASSED_OVER, Ingest
from streams.kafka import KafkaAway
from streams.rejects import Outgoing
from streams.send import LONGEST, PADDED
from streams.settings import Settings

ROOT = Path(__file__).parent.parent
TOKEN = "of-the-shop"
LATER = f"{T0 * DAY // 1_000_000 + 3_600}"  # seconds: the cut-off's first hour


def access() -> Access:
    return Access({hashlib.sha256(TOKEN.encode()).digest(): Caller("shop", frozenset({ADMIN, READ}))})


async def located() -> Deployment:
    return DEPLOYMENT


class Noted(Ingest):
    """Keeps what would be sent."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, located)
        self.sent: list[Outgoing] = []

    def _appended(self, deployment: Deployment, records: Sequence[Outgoing]) -> None:
        self.sent += records


@pytest.fixture(scope="module")
def deployment(request: pytest.FixtureRequest) -> Settings:
    server: services.Valkey = request.getfixturevalue("valkey")
    return furnish(server.url, f"api-events-{os.getpid()}")


@pytest.fixture
def at(deployment: Settings) -> Iterator[tuple[Served, Noted]]:
    noted = Noted(deployment)
    with serving(deployment, access(), events=noted) as served:
        yield served, noted


def post(served: Served, body: Any, **more: Any) -> Any:
    return served.ask("/v1/events", "POST", body, token=TOKEN, **more)


def test_a_verdict_each_in_order_and_good_events_as_they_came(at: tuple[Served, Noted]) -> None:
    """Mutations caught: verdicts out of order; an event that is written anew; a bad one that keeps others back."""
    served, noted = at
    good = [line(event_id=f"e{n}", customer_id=f"c {n}", occurred_at=float(LATER) + n) for n in range(3)]
    early = line(occurred_at=0)
    odd = '{ "customer_id":"c1" , "event_id":"e9","event_type":"view", "occurred_at":' + LATER + ', "more":[1.10, {}] }'
    bad = ["7", "[]", "{}", line(quantity=0), '{"event_type":"tick","occurred_at":0}', line(customer_id="x" * 129)]
    bad.append(line(occurred_at="2199-01-01T00:00:00Z"))
    answer = post(served, f"[{', '.join([good[0], *bad, good[1], early, odd, good[2]])}]".encode())
    found = answer.json
    reasons = ["not_json", "not_json", "wrong_field", "bad_quantity", "tick", "wrong_field", "future"]
    assert [each.get("reason", each.get("note", "sent")) for each in found["verdicts"]] == [
        "sent", *reasons, "sent", PASSED_OVER, "sent", "sent",
    ]  # fmt: skip
    assert (found["sent"], found["rejected"]) == (5, 7)
    assert [each.value.decode() for each in noted.sent if each.value] == [good[0], good[1], early, odd, good[2]]
    assert [each.key for each in noted.sent] == [b"c 0", b"c 1", b"c1", b"c1", b"c 2"]
    assert post(served, good[0].encode()).json == {"verdicts": [{"verdict": "sent"}], "sent": 1, "rejected": 0}
    assert post(served, b"{").json["verdicts"][0]["reason"] == "not_json"
    assert post(served, line(more="x" * LONGEST).encode()).json["verdicts"][0]["reason"] == "too_long"


@pytest.mark.parametrize("customer", ["c1 ", "\t\u00fc", "c1\u00a0\n", "\u3000c1"])
def test_blanks_around_an_id_are_noted(at: tuple[Served, Noted], customer: str) -> None:
    """As columns of fixed width have them; those within are nobody's. Mutation caught: ASCII's blanks alone."""
    events = [json.loads(line(customer_id=each, occurred_at=float(LATER))) for each in (customer, "c 1")]
    assert post(at[0], events).json["verdicts"] == [{"verdict": "sent", "note": PADDED}, {"verdict": "sent"}]
    assert [each.key for each in at[1].sent] == [customer.encode(), b"c 1"]


@pytest.mark.parametrize("body", [b"[]", b"[1", b"[" * 100_000, b"[{}]x", json.dumps([{}] * 1_001).encode()])
def test_what_is_no_list_of_events_is_refused(at: tuple[Served, Noted], body: bytes) -> None:
    assert post(at[0], body).problem == (422, "wrong-request")
    assert not at[1].sent


def test_who_sends_too_much_or_may_not_is_refused(at: tuple[Served, Noted], deployment: Settings) -> None:
    served, noted = at
    assert post(served, b" " * (5 << 20)).problem == (413, "too-large")
    assert served.ask("/v1/events", "POST", {}).problem == (401, "no-token")
    with serving(deployment) as open_:
        assert open_.ask("/v1/events", "POST", {}).problem == (403, "not-allowed")
    assert not noted.sent


def test_kafka_away_is_503_and_it_comes_back_by_itself(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at that port; then everything that was sent before is sent again. Mutation caught: an answer
    before Kafka has acknowledged."""
    monkeypatch.setattr(ingest, "PATIENCE", 300)
    away = Ingest(deployment.model_copy(update={"kafka": "127.0.0.1:1"}), located)
    with serving(deployment, access(), events=away) as served:
        body = line(occurred_at=0).encode()
        for _ in range(2):  # the second time it is not even tried
            answer = post(served, body)
            assert answer.problem == (503, "kafka-away")
            assert "127.0.0.1" not in answer.body.decode()
        assert post(served, b"{}").status == 200, "a reject asks Kafka for nothing"
        monkeypatch.setattr(away, "_away", None)
        monkeypatch.setattr(away, "_appended", lambda *_: None)
        assert post(served, body).json["sent"] == 1
        monkeypatch.setattr(away, "_appended", lambda *_: (_ for _ in ()).throw(KafkaAway("away")))
        assert post(served, body).status == 503


@pytest.fixture(scope="module")
def run(kafka: str, valkey: services.Valkey, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(kafka, valkey.url, shop, tmp_path_factory.mktemp("run"), partitions=2) as made:
        yield made


def test_the_command_sends_to_the_deployments_topic(run: Running, tmp_path: Path) -> None:
    """Each event in its customer's partition, with a timestamp of now; what is sent twice stands there twice."""
    file = tmp_path / "tokens"
    made = [sys.executable, "-m", "streams", "api", "--tokens", str(file)]
    new = subprocess.run([*made, "--new-token", "shop", "--scopes", "admin"], cwd=ROOT, check=True, capture_output=True)
    token = new.stdout.decode().strip()
    process: Any = subprocess.Popen(
        [*made, "--port", "0"], cwd=ROOT, env=os.environ | run.env, text=True, stderr=subprocess.PIPE
    )
    port = re.search(r":(\d+)$", process.stderr.readline().strip())
    assert port is not None
    served = Served(run.settings)
    served.at = int(port[1])
    sent = [line(event_id=f"e{n}", customer_id=f"c{n}", occurred_at=float(LATER)) for n in range(9)]
    for _ in range(2):
        answer = served.ask("/v1/events", "POST", f"[{','.join(sent)}]".encode(), token=token)
        assert (answer.status, answer.json["sent"]) == (200, 9)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 0
    bounds = kafka.describe(run.settings).bounds
    for p, (start, end) in enumerate(bounds):
        records = list(kafka.read(run.settings, p, start, end))
        mine = [each for each in sent if run.home(json.loads(each)["customer_id"]) == p]
        assert [record.value() for record in records] == [each.encode() for each in mine] * 2
        assert all(abs(record.timestamp()[1] - time.time() * 1000) < 600_000 for record in records)
