"""How long a day that is learned holds up what a worker writes meanwhile.

    python -m benchmarks.training

Chunks of two events go through a partition to Redis, one behind the other: alone, while a day of 20,000 examples is
learned in another thread, and while that thread takes turns as the trainer's does (streams/trainer.py).
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import traffic
from benchmarks.learning import daily
from benchmarks.metered import Chunk, begun, chunked, fold, located
from demo import services
from models.events import decode_many
from models.rows import DAY, EXAMPLE, stored
from streams import trainer
from streams.metrics import Meter
from streams.partition import Partition

EXAMPLES, ROUNDS, ALONE, EVENTS = 20_000, 8, 1_000, 400_000
PAUSE = 0.001  # seconds between two chunks
Ways = dict[str, list[float]]


def examples(day: int) -> list[tuple[str, bytes]]:
    """Of synthetic traffic, as if they had closed on this day: those of one day, again and again under other names."""
    keys, values, times = zip(*traffic.records(200_000, traffic.START, 45.0, 7, 6.0), strict=True)
    batch = decode_many(keys, values, times)[0]
    *_, last = daily(batch, int(batch.t[-1] // DAY))
    entries = last.entries.copy()
    entries["day"], size = day, EXAMPLE.itemsize
    packed = stored(entries)
    found = [packed[i : i + size] for i in range(0, len(packed), size)]
    return [(f"c{i}", found[i % len(found)]) for i in range(EXAMPLES)]


async def measure(part: Partition, chunks: Iterator[Chunk], document: bytes, day: int) -> Ways:
    found: Ways = {"alone": [], "beside a plain thread": [], "beside the trainer": []}
    told = await asyncio.to_thread(examples, day)
    for way, learned in (("beside a plain thread", _plain), ("beside the trainer", trainer.aside)) * ROUNDS:
        for _ in range(ALONE // ROUNDS):
            found["alone"].append(await fold(part, next(chunks), time.perf_counter))
        task = asyncio.ensure_future(learned(document, day, told))
        while not task.done():
            found[way].append(await fold(part, next(chunks), time.perf_counter))
            await asyncio.sleep(PAUSE)
        await task
    return found


async def _plain(document: bytes, day: int, told: Sequence[tuple[str, bytes]]) -> Any:
    return await asyncio.to_thread(trainer.learn, document, day, told)


async def run(url: str, directory: Path) -> Ways:
    chunks = iter(chunked(traffic.records(EVENTS, traffic.START, 0.5, 3, 1.0), 2))
    part = await located(url, "training", directory, EVENTS, Meter())
    stored_model, document = await part.store.served()
    if document is None:
        raise RuntimeError("no model was published")
    for _ in range(ALONE):  # compiles
        await fold(part, next(chunks), time.perf_counter)
    return await measure(part, chunks, document, int(stored_model["day"]) + 1)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="training-") as scratch, services.valkey(appendonly=False) as valkey:
        found = asyncio.run(run(valkey.url, begun(scratch)))
    print(f"a chunk of two events until it stands in Redis, ms{'':3}     p50     p99     max  chunks")
    for way, seconds in found.items():
        ms = np.array(seconds) * 1e3
        print(f"{way:50} {np.median(ms):9.1f} {np.percentile(ms, 99):7.1f} {ms.max():7.1f} {len(ms):7,}")


if __name__ == "__main__":
    main()
