"""Services for the tests: started when a test first asks, once a session; never skipped in silence.

CRM_TEST_KAFKA=host:port and CRM_TEST_REDIS=redis://... take given servers instead. On a given Redis the tests touch
only keys under their own prefixes and remove these.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator

import pytest
import redis

from demo import services


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
