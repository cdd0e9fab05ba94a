"""What metrics and freshness cost a worker: CPU an event of a backlog, with a meter and without one, chunk by chunk.

    python -m benchmarks.metered [--events 400000]

One process folds the same synthetic log (benchmarks/traffic.py) into two deployments on one Valkey. Each chunk goes to
one of them and then to the other, first to the one that came second before: whatever else the machine does is in both.
"""

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from prometheus_client import generate_latest

from benchmarks import traffic
from demo import services
from streams.freshness import Freshness
from streams.kafka import Topic
from streams.kept import Kept
from streams.metrics import Held, Meter, Now
from streams.partition import Partition
from streams.publish import publish
from streams.rejects import Reject
from streams.serving import Serving
from streams.settings import Settings
from streams.store import Store, connect

CHUNK, DAYS, VISIT = 20_000, 2.0, 6.0
BEATS = 300  # that freshness is measured over


@dataclass(frozen=True)
class Record:
    offset: int
    timestamp: int
    key: bytes
    value: bytes | None


@dataclass(frozen=True)
class Chunk:
    records: Sequence[Record]
    start: int
    end: int


class NoLog:
    """Nothing is asked of it: chunks are handed over in order, and hold no rejects."""

    TRANSIENT: tuple[type[Exception], ...] = ()

    def __init__(self, end: int) -> None:
        self.end = end

    async def check(self) -> None:
        pass

    async def bounds(self, partition: int) -> tuple[int, int]:
        return 0, self.end

    async def seek(self, partition: int, offset: int, epoch: int) -> None:
        pass

    async def reject(self, partition: int, rejects: Sequence[Reject]) -> None:
        pass

    def swept(self) -> None:
        pass

    def lose(self, partition: Partition) -> None:
        stop(f"partition {partition.number} was lost")


class Silent(Meter):
    """Counts nothing."""

    def folded(self, *_: Any) -> None:
        pass

    def swept(self, *_: Any) -> None:
        pass

    def written(self, *_: Any) -> None:
        pass


def stop(reason: str) -> NoReturn:
    raise RuntimeError(reason)


async def located(url: str, name: str, directory: Path, end: int, meter: Meter, partitions: int = 1) -> Partition:
    """The first partition of a deployment of its own, ready to fold."""
    settings = Settings(redis_url=url, prefix=name, events_topic=name, partitions=partitions)
    store = Store(connect(settings), settings)
    bounds = [(0, end)] * partitions
    await publish(store, settings, Topic(name, "id", bounds, {}), Kept(directory), lambda _: None)
    part = Partition(0, 1, store, NoLog(end), Serving(store), await store.deployment(), stop, meter)
    await part.locate()
    return part


def chunked(log: Iterable[traffic.Record], size: int) -> list[Chunk]:
    """A log from offset 0 on, so many records a chunk."""
    records = [Record(offset, timestamp, key, value) for offset, (key, value, timestamp) in enumerate(log)]
    parts = ((i, records[i : i + size]) for i in range(0, len(records), size))
    return [Chunk(part, i, i + len(part)) for i, part in parts]


def begun(scratch: str) -> Path:
    """What `publish` takes of a deployment without a history, at the log's cut-off."""
    directory = Path(scratch, "begun")
    begin = [sys.executable, "-m", "offline", "begin", "--basket", "40", "--out", str(directory)]
    subprocess.run([*begin, "--until", f"{traffic.CUT_OFF:%Y-%m-%d}"], check=True, stdout=subprocess.DEVNULL)
    return directory


def cpu(work: Callable[[], Any], times: int) -> float:
    """Seconds of CPU of one call, on average."""
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times


async def fold(part: Partition, chunk: Chunk, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds by this clock until all of it stands in Redis: of CPU, unless another is given."""
    begun = clock()
    await part.process(chunk)
    async with part.locked():
        pass
    return clock() - begun


async def beats(part: Partition) -> float:
    """Seconds of CPU of a beat that says how fresh the partition is."""
    begun = time.process_time()
    for _ in range(BEATS):
        part.fresh = Freshness.of(0, "bench:1", time.time(), 0.1, 20_000, part.waits_since)
        await part.store.freshen("bench:1", [part.fresh])
    return (time.process_time() - begun) / BEATS


async def compare(url: str, directory: Path, events: int) -> dict[str, float]:
    chunks = chunked(traffic.records(events, traffic.START, DAYS, 3, VISIT), CHUNK)
    with_meter = await located(url, "metered", directory, events, Meter())
    without = await located(url, "silent", directory, events, Silent())
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)  # as a worker has it
    spent: dict[Partition, list[float]] = {with_meter: [], without: []}
    for i, chunk in enumerate(chunks):
        for part in (with_meter, without)[:: 1 if i % 2 else -1]:
            spent[part].append(await fold(part, chunk))
    times = [record.timestamp for record in chunks[0].records]
    held = Held(0, Freshness(0, 0.0, 0.0, 0, ""), 0, 0, 0)
    with_meter.meter.look = lambda: Now(12, [held] * 12, "1-20240301-0a1b2c3d")
    n = [len(chunk.records) for chunk in chunks]
    each = {part: np.array(seconds[2:]) / n[2:] for part, seconds in spent.items()}  # the first two compile
    return {
        "with": float(each[with_meter].mean()),
        "without": float(each[without].mean()),
        "difference": float(np.median(each[with_meter] - each[without])),
        "carried": cpu(lambda: np.array(times, np.float64), 50) / CHUNK,
        "beat": await beats(with_meter),
        "scrape": cpu(lambda: generate_latest(with_meter.meter.registry), 50),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metered", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000, help="of the backlog")
    with tempfile.TemporaryDirectory(prefix="metered-") as scratch, services.valkey(appendonly=False) as valkey:
        found = asyncio.run(compare(valkey.url, begun(scratch), parser.parse_args().events))
    print(f"with a meter          {found['with'] * 1e6:6.3f} us of CPU an event")
    print(f"without               {found['without'] * 1e6:6.3f}")
    print(f"chunk by chunk        {found['difference'] * 1e6:6.3f} (median of the differences)")
    print(f"timestamps carried    {found['carried'] * 1e6:6.3f} (in both)")
    print(f"a beat of freshness   {found['beat'] * 1e6:6.0f} us, once a second")
    print(f"a scrape              {found['scrape'] * 1e6:6.0f} us, of 12 partitions")


if __name__ == "__main__":
    main()
