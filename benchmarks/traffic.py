"""The synthetic log of the benchmark: a shop with a short history, then views, carts, purchases and returns.

Events come in visits, as shops see them: some pages, a cart, perhaps a purchase, half a minute apart, while others do
the same. How many events a visit has decides what the product pays, for it writes each customer of a chunk once; visits
of one event are the dear case, in which hardly any two events of a chunk share a customer.
"""

import csv
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Producer

from models.events import encode_event
from models.rows import DAY

CUT_OFF, HISTORY_DAYS = datetime(2024, 3, 1, tzinfo=UTC), 60
START = int(CUT_OFF.timestamp()) * 1_000_000  # microseconds: the log begins where the history ends
KNOWN, NEW = 50_000, 0.02  # customers of the history; share of events that begin a new customer
MORE = 1.4  # purchases of the history beyond the first one, a customer
TYPES, SHARES = ("view", "cart", "purchase", "return"), (0.70, 0.15, 0.14, 0.01)
PRODUCTS, PAUSE = 5_000, 30.0  # seconds between two events of a visit, on average
QUEUED = 500_000  # records that wait in the producer
PIECE = 10_000  # records that are laid out at once
Record = tuple[bytes, bytes | None, int]  # key, value, timestamp in ms


def write_history(path: Path, seed: int = 1, known: int = KNOWN) -> None:
    """A CSV of purchases in the 60 days before the log; each of the known customers has one at least."""
    rng = np.random.default_rng(seed)
    more = int(MORE * known)
    customers = np.concatenate([np.arange(known), rng.integers(known, size=more)])
    minutes = rng.integers(HISTORY_DAYS * 24 * 60, size=known + more)
    prices = np.round(rng.lognormal(3, 1, known + more), 2)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["customer_id", "occurred_at", "order_id", "quantity", "unit_price"])
        for i, (customer, minute, price) in enumerate(zip(customers, minutes, prices, strict=True)):
            at = CUT_OFF - timedelta(minutes=int(minute) + 1)
            table.writerow([f"c{customer:07}", at.isoformat(), f"h{i}", 1, f"{price:.2f}"])


def records(n: int, start: int, days: float, seed: int, visit: float, known: int = KNOWN) -> Iterator[Record]:
    """n records in visits of `visit` events on average, which begin evenly from `start` (us) over so many days.

    Each visit has one event at least. A record's timestamp is its event's time.
    """
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(n), rng.geometric(1 / visit, size=n))[:n]
    first = np.searchsorted(number, number) == np.arange(n)
    pauses = np.cumsum(rng.exponential(PAUSE, size=n))
    since = pauses - np.maximum.accumulate(np.where(first, pauses, 0))
    times = start + (days * DAY * number / (number[-1] + 1) + since * 1_000_000).astype(np.int64)
    customers, fresh = rng.integers(known, size=n)[number], rng.random(n)[number] < NEW * visit
    kinds = np.where(first & fresh, TYPES.index("purchase"), rng.choice(len(TYPES), size=n, p=SHARES))
    cents, products = np.round(rng.lognormal(3, 1, n) * 100).astype(np.int64), rng.integers(PRODUCTS, size=n)
    ids, order = rng.bytes(16 * n), np.argsort(times, kind="stable")
    columns = [column[order] for column in (kinds, times, number, customers, fresh, cents, products)]
    pieces = ((column[i : i + PIECE].tolist() for column in columns) for i in range(0, n, PIECE))
    rows = itertools.chain.from_iterable(zip(*piece, strict=True) for piece in pieces)
    for i, (kind, t, visitor, customer, new, price, product) in enumerate(rows):
        name, event_id = f"n{seed}-{visitor:07}" if new else f"c{customer:07}", ids[16 * i : 16 * i + 16].hex()
        money: dict[str, Any] = {}
        if TYPES[kind] in ("purchase", "return"):
            money = {"order_id": f"o{seed}-{i:08}", "quantity": 1, "unit_price": Decimal(price).scaleb(-2)}
        value = encode_event(event_id, TYPES[kind], name, t, product_id=f"p{product:05}", **money)
        yield name.encode(), value, t // 1000


def erasing(log: Iterator[Record]) -> Iterator[Record]:
    """The log with a tombstone behind every second record, for the customer of that record."""
    for i, record in enumerate(log):
        yield record
        if i % 2:
            yield record[0], None, record[2]


def spoilt(log: Iterator[Record]) -> Iterator[Record]:
    """The log as a producer sends it who does all of it wrong: cut in two, of a type of its own, under another key."""
    for i, (key, value, timestamp) in enumerate(log):
        text = value or b""
        ways = (
            (key, text[: len(text) // 2]),
            (key, text.replace(b'"event_type":"', b'"event_type":"my-')),
            (key + b"@", text),
        )
        yield *ways[i % len(ways)], timestamp


def send(producer: Producer, topic: str, log: Iterator[Record]) -> int:
    """Sends the whole log as fast as it goes; returns the bytes of its keys and values."""
    total = 0
    for key, value, timestamp in log:
        while len(producer) > QUEUED:
            producer.poll(0.1)
        producer.produce(topic, value, key, timestamp=timestamp)
        total += len(key) + len(value or b"")
    if producer.flush(60):
        raise RuntimeError("Kafka did not take the whole log within a minute")
    return total
