"""Requests of a benchmark, from a process of its own, so that it takes little of what it measures.

    python -m benchmarks.load FILE URL --seconds 10 [--rate 1000] [--connections 32]

FILE holds whole HTTP/1.1 requests, one JSON string a line, sent in turn. Rule: at a steady rate a request has a time at
which it is due, and its latency begins there, whether a connection was free or not (open loop); without a rate each
connection asks again once it is answered. Prints one line of JSON at the end, which SIGTERM brings about too.
"""

import argparse
import asyncio
import itertools
import json
import signal
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import uvloop

TICK = 0.001  # seconds between two looks at what is due; less and uvloop does not wait at all


class Load:
    """The requests under way. latencies: seconds, of those that were answered with 200."""

    def __init__(self, requests: Iterator[bytes], again: bool) -> None:
        self.requests, self.again = requests, again
        self.free: list[Connection] = []
        self.due: deque[float] = deque()
        self.latencies: list[float] = []
        self.refused = 0
        self.over = asyncio.get_running_loop().create_future()

    def ask(self, now: float) -> None:
        """One more is due now."""
        self.due.append(now)
        self.send()

    def send(self) -> None:
        while self.due and self.free:
            self.free.pop().ask(self.due.popleft(), next(self.requests))

    def answered(self, connection: "Connection", since: float, good: bool) -> None:
        now = time.perf_counter()
        if good:
            self.latencies.append(now - since)
        else:
            self.refused += 1
        self.free.append(connection)
        if self.again:
            self.due.append(now)
        self.send()


class Connection(asyncio.Protocol):
    """Kept alive; one request at a time, whose answer tells its length."""

    def __init__(self, load: Load) -> None:
        self.load, self.since, self.held, self.missing = load, 0.0, b"", -1
        self.good = False
        self.transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, since: float, request: bytes) -> None:
        self.since, self.held, self.missing = since, b"", -1
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.held += data
            head = self.held.find(b"\r\n\r\n")
            if head < 0:
                return
            self.good = self.held[9:12] == b"200"
            length = self.held[:head].lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self.missing = int(length) + head + 4 - len(self.held)
        else:
            self.missing -= len(data)
        if self.missing <= 0:
            self.load.answered(self, self.since, self.good)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.load.over.done():
            self.load.over.set_exception(error or ConnectionError("the server closed a connection"))


async def steady(load: Load, rate: float, seconds: float) -> None:
    """Each request at its time."""
    start = time.perf_counter()
    for i in range(int(rate * seconds)):
        while time.perf_counter() < (due := start + i / rate):
            await asyncio.sleep(TICK)
        if load.over.done():
            return
        load.ask(due)


async def drive(file: Path, url: str, seconds: float, rate: float, connections: int) -> dict[str, float]:
    """Requests a second, milliseconds of the 50th and 99th in a hundred, and how many were not answered with 200."""
    requests = itertools.cycle([json.loads(line).encode() for line in file.read_text().splitlines()])
    load, place, loop = Load(requests, not rate), urlsplit(url), asyncio.get_running_loop()
    host, port = str(place.hostname), int(place.port or 80)
    for _ in range(connections):
        _, connection = await loop.create_connection(lambda: Connection(load), host, port)
        load.free.append(connection)
    loop.add_signal_handler(signal.SIGTERM, load.over.cancel)
    begun, spent = time.perf_counter(), time.process_time()
    if rate:
        await asyncio.wait(
            [asyncio.ensure_future(steady(load, rate, seconds)), load.over], return_when="FIRST_COMPLETED"
        )
        while len(load.free) < connections and not load.over.done():
            await asyncio.sleep(TICK)
    else:
        for _ in range(connections):
            load.ask(time.perf_counter())
        await asyncio.wait([load.over], timeout=seconds)
    if load.over.done() and not load.over.cancelled():
        load.over.result()
    took = time.perf_counter() - begun
    load.over.cancel()
    if not load.latencies:
        raise SystemExit(f"{url}: nothing was answered with 200 in {took:.0f} s, {load.refused} requests otherwise")
    p50, p99 = np.percentile(np.array(load.latencies) * 1e3, (50, 99)).tolist()
    return {
        "rate": len(load.latencies) / took,
        "p50_ms": p50,
        "p99_ms": p99,
        "refused": load.refused,
        "cpu_us": 1e6 * (time.process_time() - spent) / max(1, len(load.latencies)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("file", type=Path)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; without: as many as are answered")
    parser.add_argument("--connections", type=int, default=32)
    given = parser.parse_args()
    print(json.dumps(uvloop.run(drive(given.file, given.url, given.seconds, given.rate, given.connections))))


if __name__ == "__main__":
    main()
