"""The API when something is away, hangs, or asks what nobody should: an answer each time, and nothing left behind."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from running import until
from serving import customer, furnish, serving

from demo import services
from streams import truth
from streams.crm import api
from streams.crm.shell import HEADERS, LONGEST
from streams.keys import Keys

ROOT = Path(__file__).parent.parent


@pytest.fixture
def own() -> Iterator[services.Valkey]:
    with services.valkey() as server:
        yield server


def test_redis_killed_is_503_and_it_comes_back_by_itself(own: services.Valkey) -> None:
    """Mutations caught: freshness of before served on; a read that hangs; an API that has to be started again."""
    with serving(furnish(own.url, "crm")) as served:
        assert served.ask("/v1/customers/c-17").status == 200
        own.stop(signal.SIGKILL)
        for path in ("/v1/customers/c-17", "/v1/customers/nobody"):
            answer = served.ask(path)
            assert answer.problem == (503, "redis-away")
            assert answer.headers["retry-after"] == "1"
        batch = served.ask("/v1/customers:batchGet", "POST", {"ids": ["c-17"] * 1_000})
        assert batch.problem == (503, "redis-away")
        assert served.ask("/health/live").status == 200
        until(lambda: served.ask("/health/ready").status == 503)
        own.start()
        until(lambda: served.ask("/health/ready").status == 200)
        assert served.ask("/v1/customers/c-17").status == 200


def test_what_serves_is_told_after_a_hiccup(own: services.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation caught: a version noted as judged before Redis answered: `served` stayed null until the next one."""
    found, calls = truth.found, []

    async def first_fails(*asked: Any) -> Any:
        calls.append(asked)
        if len(calls) == 1:
            raise redis.ConnectionError
        return await found(*asked)

    monkeypatch.setattr(truth, "found", first_fails)
    with serving(furnish(own.url, "crm")) as served:
        until(lambda: served.ask("/v1/customers/c-17").status == 200)
        assert served.ask("/v1/customers/c-17").json["served"] == "cold start"
    assert len(calls) == 2


def test_nobody_is_sent_elsewhere(own: services.Valkey) -> None:
    with serving(furnish(own.url, "crm")) as served:
        for path in ("/v1/customers/c-17/", "/v1/segments/", "/health/live/"):
            assert served.ask(path).problem == (404, "no-route")


def test_a_redis_that_hangs_is_503_in_time(own: services.Valkey) -> None:
    with serving(furnish(own.url, "crm")) as served:
        os.kill(own.pid, signal.SIGSTOP)
        begun = time.monotonic()
        assert served.ask("/v1/customers/c-17").problem == (503, "redis-away")
        assert time.monotonic() - begun < 10
        os.kill(own.pid, signal.SIGCONT)
        until(lambda: served.ask("/v1/customers/c-17").status == 200)


def test_where_nobody_has_published_it_says_so_and_serves_once_somebody_has(own: services.Valkey) -> None:
    """An older look is no look where the deployment is gone."""
    settings = furnish(own.url, "crm")
    with redis.Redis.from_url(own.url) as store:
        store.flushall()
        with serving(settings) as served:
            for path in ("/health/ready", "/v1/customers/c-17"):
                assert served.ask(path).problem == (503, "not-ready")
            assert "run `python -m streams publish DIR`" in served.ask("/health/ready").json["detail"]
            furnish(own.url, "crm")
            until(lambda: served.ask("/health/ready").status == 200)
            assert served.ask("/v1/customers/c-17").status == 200
            store.delete(Keys("crm").meta)
            served.looked()
            assert served.ask("/v1/customers/c-17").problem == (503, "not-ready")


def test_a_client_that_goes_away_leaves_nothing(own: services.Valkey) -> None:
    """Neither a task nor a connection in use. Mutation caught: a future that nobody waits for is answered."""
    with serving(furnish(own.url, "crm")) as served:
        os.kill(own.pid, signal.SIGSTOP)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", served.port)) as connection:
                connection.sendall(b"GET /v1/customers/c-17 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", served.port)) as connection:
                connection.sendall(
                    b"POST /v1/customers:batchGet HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n{"
                )
        os.kill(own.pid, signal.SIGCONT)
        until(lambda: not served.requests() and not served.app.state.service.scores._flying)
        until(lambda: served.in_use() == 0)
        assert served.ask("/v1/customers/c-17").status == 200


def test_a_fault_of_ours_is_500_without_a_trace(own: services.Valkey, caplog: pytest.LogCaptureFixture) -> None:
    with serving(furnish(own.url, "crm")) as served:

        def broken(_: str) -> None:
            raise RuntimeError("secret of the inside")

        served.app.state.service.scores.one = broken
        answer = served.ask("/v1/customers/c-17")
        assert answer.problem == (500, "fault")
        assert b"secret" not in answer.body
        assert "secret of the inside" in caplog.text
        assert f"fault in request {answer.headers['x-request-id']}" in caplog.text


def test_what_a_request_may_be(own: services.Valkey) -> None:
    with serving(furnish(own.url, "crm")) as served:
        assert served.ask(f"/v1/customers/{'x' * LONGEST}").problem == (414, "too-long")
        assert served.ask("/v1/customers/c-17", X="y" * HEADERS).problem == (431, "headers-too-large")
        assert served.ask("/v1/nothing").problem == (404, "no-route")
        answer = served.ask("/v1/customers/c-17", "DELETE")
        assert answer.problem == (405, "wrong-method")
        assert answer.headers["allow"] == "GET"
        for name, echoed in (("abc-1:2.3_", True), ("a b", False), ("x" * 65, False), ("", False), ('"', False)):
            found = served.ask("/health/live", X_Request_ID=name).headers
            assert (found["x-request-id"] == name) == echoed
            assert found["x-content-type-options"] == "nosniff"
            assert found["cache-control"] == "no-store"


def test_head_answers_as_get_without_a_body(own: services.Valkey) -> None:
    """Watchers and load balancers ask so (RFC 9110, 9.3.2). Mutation caught: the app's own 405."""
    with serving(furnish(own.url, "crm")) as served:
        for path in ("/health/live", "/v1/customers/c-17", "/v1/customers/nobody", "/v1/segments", "/v1/export"):
            whole, head = served.ask(path), served.ask(path, "HEAD")
            changes = {"x-request-id", "date", "content-length", "transfer-encoding"}
            assert (head.status, head.body) == (whole.status, b"")
            assert head.headers.keys() - changes == whole.headers.keys() - changes, path
        assert b'crm_http_request_seconds_count{code="200",route="/health/live"} 2.0' in served.ask("/metrics").body


def test_metrics_hold_no_id(own: services.Valkey) -> None:
    with serving(furnish(own.url, "crm")) as served:
        for path in ("/v1/customers/c-17", "/v1/customers/whoever", "/v1/whoever", "/v1/customers/whoever%2F"):
            served.ask(path)
        text = served.ask("/metrics").body.decode()
        assert 'crm_http_request_seconds_count{code="200",route="/v1/customers/{customer_id}"} 1.0' in text
        assert 'crm_http_request_seconds_count{code="404",route="/v1/customers/{customer_id}"} 2.0' in text
        assert 'crm_http_request_seconds_count{code="404",route="none"} 1.0' in text
        assert "whoever" not in text
        assert "c-17" not in text


# ---- the command -----------------------------------------------------------------------------------------------------
def test_the_command_serves_until_it_is_asked_to_end(own: services.Valkey) -> None:
    """It says where, and ends with exit code 0; nothing of the workers is loaded."""
    furnish(own.url, "crm")
    run, port = started(own.url)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /v1/customers/c-17 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        run.send_signal(signal.SIGTERM)
        out, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (0, "")
    assert not {"faust", "confluent_kafka", "numba", "pandas", "river", "scipy", "sklearn"} & set(out.split())


def test_what_is_under_way_as_it_ends_leaves_no_trace(own: services.Valkey) -> None:
    """A body that does not come to its end, of one length and of chunks, and an export that nobody takes. Mutation
    caught: what uvicorn cancels is left to uvicorn."""
    settings, keys = furnish(own.url, "crm"), Keys("crm")
    with redis.Redis.from_url(settings.redis_url) as store, store.pipeline(transaction=False) as pipe:
        for n in range(1_200):
            customer(pipe, keys, f"c-{n}", next_offers=f'["{"P" * 10_000}"]')
        pipe.execute()
    run, port = started(own.url, warnings="ignore")  # uvloop warns of the connection that nobody reads, and waits then
    with contextlib.ExitStack() as stack:
        asked = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)]
        post = b"POST /v1/customers:batchGet HTTP/1.1\r\nHost: localhost\r\n"
        asked[0].sendall(post + b"Content-Length: 90\r\n\r\n{")
        asked[1].sendall(post + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        asked[2].sendall(b"GET /v1/export HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asked[2].recv(15) == b"HTTP/1.1 200 OK"
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=30)
        for each in asked[:2]:
            answer = each.recv(1 << 16)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"urn:problem:crm:ending" in answer
    assert run.returncode == 0
    assert "Traceback" not in err


def test_it_ends_though_the_cancellation_of_its_look_is_lost() -> None:
    """Before Python 3.12 `asyncio.wait_for`, through which redis-py sends, forgets one that comes as it is done, and
    the process stayed for ever. Mutation caught: it is cancelled once."""

    async def loses() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def begun() -> None:
        """As far as Redis would be asked."""

    async def lived() -> None:
        looks: Any = SimpleNamespace(once=begun, go_on=loses)
        app: Any = SimpleNamespace(state=SimpleNamespace(service=SimpleNamespace(looks=looks)))
        async with api._lifespan(app):
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(lived(), 10))


def started(url: str, warnings: str = "error") -> tuple[Any, int]:
    """The command, which prints at its end what it has loaded, and its port."""
    code = (
        "import sys; from streams.__main__ import main\n"
        "try: main(['api', '--port', '0'])\n"
        "finally: print(*sorted({each.partition('.')[0] for each in sys.modules}))"
    )
    env = os.environ | {"CRM_REDIS_URL": url, "PYTHONWARNINGS": warnings}
    run: Any = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    where = re.fullmatch(r"20\S+Z info: serves at http://127\.0\.0\.1:(\d+)\n", run.stderr.readline())
    assert where is not None
    return run, int(where[1])


def test_a_port_that_is_taken_is_one_line(own: services.Valkey) -> None:
    run = [sys.executable, "-m", "streams", "api", "--port", str(own.port)]
    done = subprocess.run(run, cwd=ROOT, env=os.environ | {"CRM_REDIS_URL": own.url}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"streams: --host 127.0.0.1 --port {own.port}: Address already in use")
    assert len(done.stderr.splitlines()) == 1
