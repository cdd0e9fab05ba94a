"""A log to test with: CDNOW's last six months, disturbed by a seeded generator in every way that producers manage.

Customers unknown to the history, views and carts, several lines an order, returns (some before their purchase),
duplicates near and far, late events (some of them first purchases), ties in time, midnights, tombstones, garbage.
"""

import csv
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from models.events import encode_event
from models.rows import DAY

MINUTE, HOUR = 60_000_000, 3_600_000_000
EPOCH = date(1970, 1, 1).toordinal()
GARBAGE = (b"", b"{", b"\xff\xfe\x00", b"[1,2]", b'{"event_type":"purchase"}', b"null", b'"text"', b"0" * 5000)


@dataclass(frozen=True)
class Sent:
    """A record to send when event time has come to `arrival` (us); `partition` only where it is chosen on purpose."""

    arrival: int
    key: bytes | None
    value: bytes | None
    partition: int | None = None


def unknown(customer: str) -> bool:
    """A fifth of the customers is unknown to the history."""
    return zlib.crc32(customer.encode()) % 5 == 0


def purchases(path: Path) -> Iterator[tuple[str, int, Decimal]]:
    """(customer, day, amount) of a CSV with customer, date, amount."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield row["customer"], date.fromisoformat(row["date"]).toordinal() - EPOCH, Decimal(row["amount"])


def split(source: Path, history: Path, cut_off: int) -> list[tuple[str, int, Decimal]]:
    """Writes the history (known customers, before the cut-off); returns the purchases from the cut-off on."""
    live = []
    with history.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["customer_id", "occurred_at", "amount"])
        for customer, day, amount in purchases(source):
            if day >= cut_off:
                live.append((customer, day, amount))
            elif not unknown(customer):
                table.writerow([customer, str(date.fromordinal(day + EPOCH)), amount])
    return live


def log(live: list[tuple[str, int, Decimal]], seed: int) -> list[Sent]:
    """The disturbed records, by arrival."""
    rng = random.Random(seed)
    records = [record for n, purchase in enumerate(live) for record in _order(rng, n, *purchase)]
    last = (max(day for _, day, _ in live) + 1) * DAY - 1
    records = [record for record in records if record.arrival <= last]
    late = [rng.choice(records) for _ in range(len(records) // 100)]  # the same bytes again, 1 to 40 days later
    records += [Sent(min(r.arrival + rng.randint(1, 40) * DAY, last), r.key, r.value) for r in late]
    near = [rng.choice(records) for _ in range(len(records) // 100)]
    records += [Sent(r.arrival + rng.randint(0, 3), r.key, r.value) for r in near]
    for customer, _, _ in rng.sample(live, 40):  # tombstones, and garbage in the same partitions
        records.append(Sent(rng.randint(live[0][1] * DAY, last), customer.encode(), None))
        records.append(Sent(rng.randint(live[0][1] * DAY, last), customer.encode(), rng.choice(GARBAGE)))
    for p in range(4):
        value = encode_event(f"stray{p}", "purchase", f"stray{p}", last, quantity=1, unit_price="1")
        records += [Sent(last, f"stray{p}".encode(), value, partition) for partition in range(4)]
    return sorted(records, key=lambda record: record.arrival)


def _order(rng: random.Random, n: int, customer: str, day: int, amount: Decimal) -> Iterator[Sent]:
    """An order of 1 to 3 lines, with what comes before and after it."""
    t = day * DAY + (0 if rng.random() < 0.05 else rng.randint(0, 1439) * MINUTE)
    key, lines = customer.encode(), rng.choice((1, 1, 1, 2, 3))
    for i in range(rng.choice((0, 0, 1, 2, 4))):
        before, kind = rng.randint(1, 72 * 60) * MINUTE, rng.choice(("view", "view", "cart"))
        yield Sent(t - before, key, encode_event(f"{n}v{i}", kind, customer, t - before, product_id=f"p{n % 50}"))
    price = (amount / lines).quantize(Decimal("0.00001"))  # a fifth decimal: rounded half-even on the way
    late = rng.randint(1, 40) * DAY if rng.random() < 0.01 else 0
    for i in range(lines):
        value = encode_event(f"{n}-{i}", "purchase", customer, t, f"o{n}", f"p{n % 50}", rng.randint(1, 2), price)
        yield Sent(t + late, key, value)
    if rng.random() < 0.02:
        when = t + rng.choice((-2 * HOUR, 3 * HOUR, 9 * DAY))
        yield Sent(when, key, encode_event(f"{n}r", "return", customer, when, f"o{n}", f"p{n % 50}", 1, price))
