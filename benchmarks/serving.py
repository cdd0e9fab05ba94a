"""What the API answers, and what that costs a worker beside it: all on loopback, the load on the same cores.

    python -m benchmarks.serving

Beside a bare app that makes the same call to Redis (benchmarks/bare.py), in turn, round after round. At steady rates a
request's latency begins when it is due (benchmarks/load.py).
"""

import contextlib
import http.client
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import run, traffic
from demo.services.process import free_port
from models.rows import DAY
from streams.keys import Keys

ROUNDS, SECONDS = 3, 5.0  # of each app in turn, as fast as it goes
STEADY, STEADY_SECONDS = 1_000, 15.0  # single customers a second
BATCHES, BATCH_SECONDS = {100: 40, 1_000: 8}, 30.0  # batches a second, by their ids
BESIDE, EVENTS, PAIRS = 500, 600_000, 5  # customers a second while a worker folds; its backlogs, alone and beside
CONNECTIONS = "512"  # for that: with few, requests would wait for one another and not for the API
LATER = 20  # days after which they begin, behind all other logs of the run
ASKED = 20_000  # customers that are asked for
Figures = dict[str, float]
console = Console(soft_wrap=True, highlight=False)


def get(customer_id: str) -> str:
    """A whole request."""
    return f"GET /v1/customers/{customer_id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def post(path: str, body: Any) -> str:
    """Likewise."""
    text = json.dumps(body, separators=(",", ":"))
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n{text}"


def batch(ids: Sequence[str]) -> str:
    return post("/v1/customers:batchGet", {"ids": ids})


class Requests:
    """Files of requests for some customers, in a directory."""

    def __init__(self, directory: Path, ids: Sequence[str]) -> None:
        self.directory, self.ids, self.chance = directory, ids, random.Random(1)

    def single(self, request: Any = get) -> Path:
        """One customer a request."""
        return self._written("single", [request(each) for each in self.ids])

    def batches(self, size: int, request: Any = batch) -> Path:
        """So many at once."""
        return self._written(f"batch-{size}", [request(self.chance.sample(self.ids, size)) for _ in range(200)])

    def _written(self, name: str, requests: Sequence[str]) -> Path:
        path = self.directory / name
        path.write_text("\n".join(map(json.dumps, requests)) + "\n")
        return path


def customers(where: run.Deployment) -> list[str]:
    """ASKED of those who are known, the same in each run."""
    every = [name.decode() for p in range(run.PARTITIONS) for name in where.store.hkeys(Keys().state(p))]
    return random.Random(1).sample(sorted(every), ASKED)


def load(requests: Path, port: int, *options: str) -> Figures:
    """What a process that asks has found; all of it must have been answered."""
    with asking(requests, port, *options) as process:
        return told(process)


@contextlib.contextmanager
def asking(requests: Path, port: int, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that asks."""
    command = [sys.executable, "-m", "benchmarks.load", str(requests), f"http://127.0.0.1:{port}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: "subprocess.Popen[str]") -> Figures:
    """Waits for its end."""
    said, wrong = process.communicate()
    if process.returncode:
        raise run.BenchmarkError(f"benchmarks.load: {wrong[-2000:]}")
    found: Figures = json.loads(said)
    if found["refused"]:
        raise run.BenchmarkError(f"{found['refused']:,.0f} requests were not answered with 200")
    return found


def answers(port: int, path: str) -> None:
    """Waits until somebody serves there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            connection.getresponse().read()
            return connection.close()
        time.sleep(0.1)
    raise run.BenchmarkError(f"nobody serves at port {port}")


@contextlib.contextmanager
def api(where: run.Deployment) -> Iterator[int]:
    """`streams api`, at this port, which lets through whatever is asked."""
    port, unlimited = free_port(), replace(where, env=where.env | {"CRM_API_RATE": "0"})
    with unlimited.process("streams", "api", "--port", str(port)):
        answers(port, "/health/live")
        yield port


def rates(requests: Sequence[Path], ports: Sequence[int], connections: int = 32) -> list[float]:
    """Requests a second of each, as fast as it goes: the medians of rounds taken in turn."""
    each, options = (
        list(zip(requests, ports, strict=True)),
        ("--seconds", str(SECONDS), "--connections", str(connections)),
    )
    found = [[load(file, port, *options)["rate"] for file, port in each] for _ in range(ROUNDS)]
    return [median(each) for each in zip(*found, strict=True)]


def idle(where: run.Deployment, asked: Requests, port: int) -> dict[str, Any]:
    """Beside a worker that has nothing to do."""
    single, other = asked.single(), free_port()
    with where.process("benchmarks.bare", str(other)):
        answers(other, f"/v1/customers/{asked.ids[0]}")
        console.print("single customers, as fast as it goes, beside the bare app", style="dim")
        ours, bare = rates([single, single], [port, other])
    console.print("at steady rates", style="dim")
    found: dict[str, Any] = {"rate": ours, "bare": bare, "ratio": ours / bare}
    found["steady"] = load(single, port, "--rate", str(STEADY), "--seconds", str(STEADY_SECONDS))
    for size, rate in BATCHES.items():
        options = ("--rate", str(rate), "--seconds", str(BATCH_SECONDS))
        found[f"batch_{size}"] = load(asked.batches(size), port, *options)
    return found


def folding(where: run.Deployment, asked: Requests, port: int) -> dict[str, Any]:
    """CPU an event of a worker that drains a backlog, alone and while customers are asked for, in turn; how much more
    it takes: the median of pairs, for the machine is faster at one time than at another."""
    spent: dict[bool, list[float]] = {False: [], True: []}
    reads: list[Figures] = []
    for i in range(2 * PAIRS):
        beside, start = bool(i % 2), traffic.START + int((LATER + i * 2) * DAY)
        log = traffic.records(EVENTS, start, 2.0, 20 + i, 6.0)
        console.print(f"a worker drains a backlog, {f'{BESIDE} GET/s beside it' if beside else 'alone'}", style="dim")
        producer = where.producer(compression_type="lz4", linger_ms=20)
        traffic.send(producer, where.topic, log)
        spent[beside].append(_drained(where, asked, port, reads if beside else None))
    return {
        "cpu_us": median(spent[False]),
        "cpu_us_beside": median(spent[True]),
        "more": median(loaded / alone for alone, loaded in zip(spent[False], spent[True], strict=True)) - 1,
        "p99_ms": median(r["p99_ms"] for r in reads),
    }


def _drained(where: run.Deployment, asked: Requests, port: int, reads: list[Figures] | None) -> float:
    """Microseconds of CPU an event, from the first that the worker has folded to the last."""
    begin, end = sum(where.offsets()), where.end()
    with where.process("streams", "worker") as worker, contextlib.ExitStack() as stack:
        _reaches(where, begin + 1)
        before, first = worker.cpu(), sum(where.offsets())
        if reads is not None:
            options = ("--rate", str(BESIDE), "--seconds", str(run.PATIENCE), "--connections", CONNECTIONS)
            process = stack.enter_context(asking(asked.single(), port, *options))
        _reaches(where, end)
        after = worker.cpu()
        if reads is not None:
            process.terminate()
            reads.append(told(process))
    return 1e6 * (after - before) / (end - first)


def _reaches(where: run.Deployment, offset: int) -> None:
    until = time.monotonic() + run.PATIENCE
    while sum(where.offsets()) < offset:
        if time.monotonic() > until:
            raise run.BenchmarkError(f"the worker did not reach event {offset:,} in {run.PATIENCE:.0f} s")
        time.sleep(0.02)


def measure(where: run.Deployment) -> dict[str, Any]:
    """All figures of serving."""
    with TemporaryDirectory() as scratch, api(where) as port:
        asked = Requests(Path(scratch), customers(where))
        with where.process("streams", "worker"):
            time.sleep(5)  # it has its partitions
            found = idle(where, asked, port)
        return found | {"folding": folding(where, asked, port)}


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures as the table of `make bench` shows them."""
    told = [
        ("GET a customer, requests/s over those of a bare app", f"{found['ratio']:.2f} x"),
        ("GET a customer, requests/s", f"{found['rate']:,.0f}"),
        ("the bare app, requests/s", f"{found['bare']:,.0f}"),
        (f"GET a customer at {STEADY:,}/s, p99", f"{found['steady']['p99_ms']:.1f} ms"),
    ]
    for size, rate in BATCHES.items():
        told.append((f"batch of {size:,} at {rate}/s, p99", f"{found[f'batch_{size}']['p99_ms']:.1f} ms"))
    folding = found["folding"]
    return [
        *told,
        (f"a folding worker's CPU an event, {BESIDE} GET/s beside it", f"{folding['more']:+.1%}"),
        ("the same, alone", f"{folding['cpu_us']:.2f} us"),
        (f"GET a customer at {BESIDE}/s while a worker folds, p99", f"{folding['p99_ms']:.1f} ms"),
    ]


def main() -> int:
    with run.deployment(lambda step: console.print(step, style="dim")) as where:
        table = Table("figure", "value")
        for name, value in rows(measure(where)):
            table.add_row(name, value)
        console.print(table)
    return 0


if __name__ == "__main__":
    run.end(main)
