"""Services for the tests: started when a test first asks, once a process; never skipped in silence.

CRM_TEST_KAFKA=host:port and CRM_TEST_REDIS=redis://... take given servers instead. On a given Redis the tests touch
only keys under their own prefixes and remove these.
"""

import contextlib
import itertools
import os
import secrets
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deployment
import hypothesis
import pytest
import redis
import shops
from coverage import Coverage

from demo import services
from streams import ending

# The background job of a shell ignores SIGINT, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# An example's time tells of the machine, which may be busy, and of nothing else.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One of several processes begins with the longest tests, those given more time; the others go on beside it."""
    if hasattr(config, "workerinput"):
        longest: dict[Path, float] = defaultdict(float)
        for item in items:
            for mark in item.iter_markers("timeout"):
                longest[item.path] = max(longest[item.path], mark.args[0])
        items.sort(key=lambda item: -longest[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """What is `long` is not measured: while coverage looks on, Python takes half as long again, in libraries too."""
    with _unmeasured() if item.get_closest_marker("long") else contextlib.nullcontext():
        return (yield)


@contextlib.contextmanager
def _unmeasured() -> Iterator[None]:
    """Neither this process nor those that it starts."""
    if (measuring := Coverage.current()) is None:
        yield
        return
    measuring.stop()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG")
        try:
            yield
        finally:
            measuring.start()


@pytest.fixture(autouse=True)
def _signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in a test's own process takes no signals: servers that are started later would inherit that none come,
    and stop when they are killed, ten seconds later."""
    monkeypatch.setattr(ending, "prepare", lambda _: None)


@contextlib.contextmanager
def _or_exit(instead: str) -> Iterator[None]:
    try:
        yield
    except services.ServiceError as error:
        pytest.exit(f"{error} (or give a server of yours: {instead})", returncode=2)


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Address (host:port) of a real broker."""
    given = os.environ.get("CRM_TEST_KAFKA")
    with contextlib.ExitStack() as stack:
        if not given:
            with _or_exit("CRM_TEST_KAFKA=host:port"):
                given = stack.enter_context(services.kafka()).address
        yield given


@pytest.fixture(scope="session")
def valkey() -> Iterator[services.Valkey]:
    """A Valkey of our own, shared by the session: a test that stops it or puts back older data starts another."""
    with contextlib.ExitStack() as stack:
        with _or_exit("CRM_TEST_REDIS=redis://host:port/0"):
            server = stack.enter_context(services.valkey())
        yield server


@pytest.fixture(scope="session")
def old_redis() -> Iterator[services.Valkey]:
    """Debian's redis-server, the older of the two that the Lua must run on."""
    with services.redis_server() as server:
        if server is None:
            missing = "redis-server is not on PATH, so nothing was tried on Redis itself: apt-get install redis-server"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
        yield server


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """A server of the Redis protocol: the given one, else Valkey."""
    given = os.environ.get("CRM_TEST_REDIS")
    if given:
        return given
    server: services.Valkey = request.getfixturevalue("valkey")
    return server.url


@pytest.fixture(params=["valkey", "redis-server"])
def servers(request: pytest.FixtureRequest) -> str:
    """URL of each server in turn that the Lua must run on; the given one takes the place of Valkey."""
    name = "redis_url" if request.param == "valkey" else "old_redis"
    server = request.getfixturevalue(name)
    return server if isinstance(server, str) else server.url


@pytest.fixture
def store_prefix() -> Iterator[str]:
    """A key prefix of this test's own, without the colon."""
    prefix = f"crm-test-{secrets.token_hex(6)}"
    yield prefix
    if given := os.environ.get("CRM_TEST_REDIS"):
        with redis.Redis.from_url(given) as store:
            for key in store.scan_iter(f"{prefix}*", count=1000):
                store.delete(key)


@pytest.fixture(scope="session")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `offline fit` would leave of a shop that never sold anything."""
    return shops.nobody(tmp_path_factory.mktemp("nobody"))


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `offline fit` would leave of 60 customers and 200 days."""
    return shops.shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def play(servers: str, store_prefix: str, nobody: Path) -> Callable[..., None]:
    """Plays a scenario on a fresh deployment, on each server in turn; publishes `directory`, by default `nobody`."""
    numbers = itertools.count()

    def run(scenario: deployment.Scenario, directory: Path | None = nobody, **how: Any) -> None:
        world = deployment.World(servers, f"{store_prefix}-{next(numbers)}", **how)
        deployment.run(scenario, world, directory)

    return run
