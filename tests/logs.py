"""A working log without Kafka: a list of records for each partition, and a way to script what stands in it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.events import encode_event, encode_tick
from models.rows import DAY
from streams.partition import Life, Partition
from streams.partitioner import partitioner
from streams.rejects import Reject

HOUR = DAY // 24


@dataclass(frozen=True)
class Record:
    offset: int
    timestamp: Any  # milliseconds, None in records of Kafka's first format
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Chunk:
    records: list[Record]
    start: int
    end: int


class Away(Exception):
    """The log cannot be reached; that passes by itself."""


@dataclass
class MemoryLog:
    """Implements streams.partition.Log, and keeps what it was asked. The next `away` calls find nobody."""

    count: int = 1
    records: list[list[Record]] = field(default_factory=list)
    rejects: list[tuple[int, str]] = field(default_factory=list)  # offset, reason
    lost: list[Partition] = field(default_factory=list)
    sought: list[tuple[int, int]] = field(default_factory=list)  # offset, epoch
    low: int = 0
    away: int = 0
    sweeps: int = 0  # that were told
    TRANSIENT: tuple[type[Exception], ...] = (Away,)

    def __post_init__(self) -> None:
        self.records = [[] for _ in range(self.count)]
        self._home = partitioner("murmur2", self.count)

    # ---- what a partition asks ---------------------------------------------------------------------------------------

    async def bounds(self, partition: int) -> tuple[int, int]:
        self._reach()
        return self.low, len(self.records[partition])

    async def check(self) -> None:
        pass

    async def seek(self, partition: int, offset: int, epoch: int) -> None:
        self._reach()
        self.sought.append((offset, epoch))

    async def reject(self, partition: int, rejects: Sequence[Reject]) -> None:
        self._reach()
        self.rejects += [(reject.record.offset, reject.reason) for reject in rejects]

    def swept(self) -> None:
        self.sweeps += 1

    def lose(self, partition: Partition) -> None:
        if partition.ours:
            partition.become(Life.LOST)
        self.lost.append(partition)

    def _reach(self) -> None:
        if self.away:
            self.away -= 1
            raise Away("no broker answers")

    # ---- what a test puts there --------------------------------------------------------------------------------------

    def put(self, key: bytes | None, value: bytes | None, t: int | None, partition: int = 0) -> None:
        """Any record at all; t: its timestamp, in microseconds, None for none."""
        held = self.records[partition]
        held.append(Record(len(held), None if t is None else t // 1000, key, value))

    def event(self, kind: str, customer: str, day: float, amount: str | None = None, **more: Any) -> None:
        """An event on that day (a fraction is a time of day) in its customer's partition, or in the one given."""
        partition, t = more.pop("partition", self._home(customer)), int(day * DAY)
        event_id = more.pop("event_id", None) or f"{partition}-{len(self.records[partition])}"
        quantity = None if amount is None else 1
        value = encode_event(event_id, kind, customer, t, quantity=quantity, unit_price=amount, **more)
        self.put(customer.encode(), value, t, partition)

    def buy(self, customer: str, day: float, amount: str = "10.00", **more: Any) -> None:
        self.event("purchase", customer, day, amount, **more)

    def erase(self, customer: str, day: float) -> None:
        self.put(customer.encode(), None, int(day * DAY), self._home(customer))

    def tick(self, day: int) -> None:
        """Asks every partition for a sweep to `day`."""
        t = day * DAY + HOUR
        for partition in range(self.count):
            self.put(None, encode_tick(t), t, partition)

    def chunk(self, start: int = 0, end: int | None = None, partition: int = 0) -> Chunk:
        held = self.records[partition]
        end = len(held) if end is None else end
        return Chunk(held[start:end], start, end)


def busy(log: MemoryLog, day: int, days: int, known: Sequence[str], seed: int = 7) -> None:
    """Everything that producers manage, from `day` on, by some of the known customers and as many new ones.

    Purchases with several lines, returns, views, carts, copies, late events, midnights, garbage, tombstones, ticks.
    """
    rng = random.Random(seed)
    people = [*known, *(f"n{n}" for n in range(len(known)))]
    now = float(day)
    while now < day + days:
        who, kind = rng.choice(people), rng.random()
        if kind < 0.5:
            for line in range(rng.choice((1, 1, 2, 3))):
                late = rng.choice((0, 0, 0, 0, 3, 40))
                order, price = f"o{now:.3f}", f"{rng.randint(1, 9000) / 100 + line:.2f}"
                log.buy(who, max(now - late, 0), price, order_id=order)
        elif kind < 0.6:
            log.event("return", who, now, f"{rng.randint(1, 2000) / 100:.2f}")
        elif kind < 0.75:
            log.event(rng.choice(("view", "cart")), who, now)
        elif kind < 0.85:
            copied = rng.choice([r for r in log.records[0] if r.key] or [Record(0, 0, b"x", b"{")])
            log.put(copied.key, copied.value, int(now * DAY))
        elif kind < 0.9:
            log.put(who.encode(), rng.choice((b"", b"{", b"null", b"\xff")), int(now * DAY))
        elif kind < 0.95:
            log.erase(who, now)
        else:
            log.tick(int(now))
        now += rng.choice((0, 0, 0, 0.01, 0.2, 1 - now % 1, 9.3))
    log.tick(day + days)
