"""What a worker cannot go below however the rest is written: its decoder alone, and its guarded writes alone.

The third limit, its consumer alone, is a process and runs as a peer does (consumed.py).
"""

import asyncio
import time
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

from benchmarks import cpu, run, traffic
from benchmarks.metered import Chunk, chunked, located
from demo import services
from models.events import decode_many
from streams.metrics import Meter
from streams.partitioner import partitioner
from streams.rehearsal import rehearse
from streams.settings import Settings
from streams.store import Store
from streams.writes import Block, Position

CONSUMED, DECODED, WRITTEN = (f"limit: {what} alone" for what in ("consumer", "decoder", "guarded writes"))
LACKS = {DECODED: "all but to read JSON", WRITTEN: "all but to write"}
Figures = dict[str, Any]


class Noting(Store):
    """Notes what it is to write, and answers as if that stood in Redis."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.noted: list[tuple[Position, Block]] = []
        self.stood: tuple[bytes, str] | None = None

    async def write(
        self, partition: int, expected: bytes, new: bytes, position: Position, block: Block
    ) -> tuple[bytes, str]:
        self.noted.append((position, block))
        self.stood = new, position.model
        return self.stood

    async def stands(self, partition: int) -> tuple[bytes, str]:
        return self.stood or await super().stands(partition)

    async def replayed(self, partition: int, token: bytes) -> None:
        """Writes all of it, one after the other, as a worker does."""
        for number, (position, block) in enumerate(self.noted):
            expected, token = token, number.to_bytes(16)
            await super().write(partition, expected, token, position, block)


def measure(server: services.Valkey, fit: Path, log: Iterator[traffic.Record]) -> dict[str, Figures]:
    """The events of the first partition, in chunks and blocks as a worker has them that is behind."""
    home = partitioner("murmur2", run.PARTITIONS)
    rehearse()
    chunks = chunked((each for each in log if home(each[0].decode()) == 0), Settings().chunk)
    n = chunks[-1].end
    names = ("key", "value", "timestamp")
    columns = [[[*map(attrgetter(name), chunk.records)] for name in names] for chunk in chunks]
    begun, moment = time.process_time(), time.monotonic()
    for keys, values, times in columns:
        decode_many(keys, values, times)
    decoded = _figures(n, time.monotonic() - moment, time.process_time() - begun, 0.0)
    return {DECODED: decoded, WRITTEN: asyncio.run(_written(server, fit, chunks, n))}


async def _written(server: services.Valkey, fit: Path, chunks: list[Chunk], n: int) -> Figures:
    part = await located(server.url, "limits", fit, n, Meter(), run.PARTITIONS)
    token = part.token
    part.store = store = Noting(part.store.redis, part.store.settings)
    for chunk in chunks:
        await part.process(chunk)
    await part.settle()
    begun, other, moment = time.process_time(), cpu.spent(server.pid), time.monotonic()
    await store.replayed(0, token)
    took = time.monotonic() - moment, time.process_time() - begun, cpu.spent(server.pid) - other
    await store.close()
    return _figures(n, *took)


def _figures(events: int, seconds: float, mine: float, of_redis: float) -> Figures:
    each = {"peer": mine, "redis": of_redis, "kafka": 0.0, "whole": mine + of_redis}
    return {"rate": events / seconds, "events": events, "wrong": None} | {
        name: used / events * 1e6 for name, used in each.items()
    }
