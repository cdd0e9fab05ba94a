"""The proxy's faults are what they are called, seen by a client of a real server behind it."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import redis
from proxy import Fault, Proxy
from redis.backoff import NoBackoff
from redis.retry import Retry

from demo.services import Valkey


@pytest.fixture
def proxy(valkey: Valkey) -> Iterator[Proxy]:
    with Proxy(valkey.port) as between:
        yield between


def client(port: int, patience: float = 60) -> redis.Redis:
    return redis.Redis(port=port, socket_timeout=patience, retry=Retry(NoBackoff(), 0))


def test_passes_a_megabyte_each_way(proxy: Proxy, store_prefix: str) -> None:
    with client(proxy.port) as through:
        through.set(f"{store_prefix}:large", b"x" * 1_000_000)
        assert through.get(f"{store_prefix}:large") == b"x" * 1_000_000
    assert proxy.struck == 0


def test_many_connections_at_once(proxy: Proxy, store_prefix: str) -> None:
    def add() -> None:
        with client(proxy.port) as through:
            for _ in range(20):
                through.incr(f"{store_prefix}:sum")

    threads = [threading.Thread(target=add) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with client(proxy.target) as direct:
        assert direct.get(f"{store_prefix}:sum") == b"200"


def test_refuse_closes_open_and_new_connections(proxy: Proxy) -> None:
    with client(proxy.port) as through:
        through.ping()
        proxy.strike(Fault.REFUSE)
        with pytest.raises(redis.ConnectionError):
            through.ping()
        with pytest.raises(redis.ConnectionError):
            through.ping()
        proxy.strike(Fault.PASS)
        assert through.ping()


def test_refuses_as_often_as_told(proxy: Proxy) -> None:
    proxy.strike(Fault.REFUSE, times=2)
    with client(proxy.port) as through:
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                through.ping()
        assert through.ping()
    assert proxy.struck == 2


def test_silent_forwards_nothing_until_it_passes(proxy: Proxy, store_prefix: str) -> None:
    """The request of a client that gave up arrives late, as over a real network: the case that tokens are for."""
    with client(proxy.port, patience=2) as through, client(proxy.target) as direct:
        through.ping()
        proxy.strike(Fault.SILENT)
        with pytest.raises(redis.TimeoutError):
            through.set(f"{store_prefix}:late", "1")
        with pytest.raises(redis.TimeoutError):  # a new connection is accepted and held as well
            through.ping()
        assert direct.get(f"{store_prefix}:late") is None
        proxy.strike(Fault.PASS)
        until = time.monotonic() + 60
        while direct.get(f"{store_prefix}:late") is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert through.ping()


def test_cut_reply_loses_the_answer_of_what_was_done(proxy: Proxy, store_prefix: str) -> None:
    with client(proxy.port) as through, client(proxy.target) as direct:
        through.ping()
        proxy.strike(Fault.CUT_REPLY, times=1)
        with pytest.raises(redis.ConnectionError):
            through.incr(f"{store_prefix}:count")
        assert direct.get(f"{store_prefix}:count") == b"1"
        assert through.incr(f"{store_prefix}:count") == 2
    assert proxy.struck == 1


def test_cut_ends_a_request_under_way(proxy: Proxy, store_prefix: str) -> None:
    with client(proxy.port) as through:
        through.ping()
        threading.Timer(0.1, proxy.cut).start()
        with pytest.raises(redis.ConnectionError):
            through.blpop([f"{store_prefix}:never"], timeout=60)


def test_closing_ends_held_connections(valkey: Valkey) -> None:
    with Proxy(valkey.port) as between:
        held = socket.create_connection(("127.0.0.1", between.port), timeout=60)
        held.sendall(b"PING\r\n")
        assert held.recv(64) == b"+PONG\r\n"
        between.strike(Fault.SILENT)
        held.sendall(b"PING\r\n")
    with held:
        assert held.recv(64) == b""


def test_a_server_that_is_down_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    with Proxy(nobody) as between, client(between.port) as through, pytest.raises(redis.ConnectionError):
        through.ping()
