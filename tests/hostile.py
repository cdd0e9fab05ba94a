"""Messages of every kind that somebody may send, each with the reason for which it must be rejected (None: it is good).

What each kind holds is said here by hand, not by the decoder. MARK stands in their content: nothing that is said of a
reject may quote it.
"""

import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from models.rows import DAY

MARK = "s3cr3t"


class Message(NamedTuple):
    """partition: chosen on purpose, else the key's own; timestamp in ms."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    reason: str | None
    partition: int | None = None


class Good(dict[str, Any]):
    """The fields of a good purchase, to be spoilt."""

    @property
    def key(self) -> bytes:
        return str(self["customer_id"]).encode()

    def text(self, **more: Any) -> bytes:
        return json.dumps(self | more).encode()

    def without(self, name: str) -> bytes:
        return json.dumps({k: v for k, v in self.items() if k != name}).encode()

    def raw(self, name: str, text: str) -> bytes:
        """With this text in place of the field's value."""
        return self.text(**{name: "@@"}).replace(b'"@@"', text.encode())


# A value under the good key; key and value; or either of them made of a good purchase.
Pair = tuple[bytes | None, bytes | None]
Make = bytes | Pair | Callable[[Good], bytes | Pair]


def spoilt(name: str, *texts: str) -> list[Make]:
    """The field holds each of these texts in turn."""
    return [partial(Good.raw, name=name, text=text) for text in texts]


LONG, NAMES = f'"{MARK * 30}"', ("event_id", "event_type", "customer_id", "occurred_at", "quantity", "unit_price")
TIMES = ('"2024"', f'"{MARK}"', '"1700000000"', "-1", "7258118400", "1e300", '"2023-02-30T00:00:00Z"')
NOTES = (
    "NaN",
    "-Infinity",
    '"\\ud800"',
    "{'a':1}",
    "01",
    '"a\tb"',
    "[" * 300 + "]" * 300,
    '{"a":' * 999 + "1" + "}" * 999,
)
KINDS: dict[str, list[Make]] = {
    "not_json": [
        b"",
        b"null",
        b"[" * 100_000,
        f'"{MARK}"'.encode(),
        f"<event>{MARK}</event>".encode(),
        f"{MARK};purchase;9.90".encode(),
        bytes(range(128, 256)),
        lambda good: good.text()[:-1],
        lambda good: b"\xef\xbb\xbf" + good.text(),
        lambda good: good.text().decode().encode("utf-16"),
        lambda good: good.text() + good.text(),
        lambda good: b"[" + good.text() + b"]",
        lambda good: good.text(note="@").replace(b'"@"', b'"\xc3\x28"'),
        *spoilt("note", *NOTES),
    ],
    "wrong_field": [
        b"{}",
        *[partial(Good.without, name=name) for name in NAMES],
        *[make for name in NAMES for make in spoilt(name, "null", "true", "[]", '{"a":1}')],
        *spoilt("event_id", '""', "17", LONG),
        *spoilt("event_type", '"PURCHASE"', '"refund"', f'"{MARK}"', '""'),
        *spoilt("customer_id", '""', "17850", "17850.0", LONG),
        *spoilt("order_id", '""', "7", LONG),
        *spoilt("product_id", '""', "7", LONG),
        *spoilt("occurred_at", *TIMES),
        *spoilt("quantity", '"2"', "2.00001", "1e-5"),
        *spoilt("unit_price", '"9.90"', "-0.01", f'"{MARK}"'),
        lambda good: json.dumps({"before": None, "after": good, "op": "c"}).encode(),
    ],
    "no_time_zone": spoilt("occurred_at", '"2023-12-10T12:00:00"', '"2023-12-10 12:00:00.5"'),
    "no_key": [(None, None), lambda good: (None, good.text())],
    "wrong_key": [
        (b"\xff\xfe" + MARK.encode(), None),
        (b"k" * 129, None),
        (b"", None),
        (MARK.encode(), b'{"event_type":"tick","occurred_at":1700000000}'),
        lambda good: (good.key + b" ", good.text()),
        lambda good: (json.dumps(good["customer_id"]).encode(), good.text()),
        lambda good: (b"\xff\xfe", good.text()),
    ],
    "bad_quantity": spoilt("quantity", "0", "-1", "-2.0", "0e5"),
    "overflow": [
        *spoilt("quantity", "4611686018427387904", "1e300"),
        *spoilt("unit_price", "1000000001", "1e19", "1" + "0" * 400),
    ],
    "future": [lambda good: good.text(occurred_at=good["occurred_at"] + 601)],
}
LARGE: list[tuple[str, Make]] = [  # more than the topic of rejects takes, though small where they were compressed
    ("not_json", b"x" * 5_000_000),
    ("wrong_field", partial(Good.raw, name="unit_price", text='"' + "9" * 4_500_000 + '"')),
    ("not_json", (b"k" * 5_000_000, b"")),
]


def made(make: Make, good: Good) -> Pair:
    """Key and value."""
    found = make(good) if callable(make) else make
    return (good.key, found) if isinstance(found, bytes) else found


def messages(count: int, seed: int, day: int, home: Callable[[str], int], partitions: int) -> Iterator[Message]:
    """`count` messages of that day: good ones, each kind of bad ones in turn, strays, and a few large ones."""
    rng = random.Random(seed)
    bad = [(reason, make) for reason, makes in KINDS.items() for make in makes]
    for n in range(count):
        second = day * DAY // 1_000_000 + 3_600 + n % 40_000
        good = Good(
            event_id=f"e{n}",
            event_type="purchase",
            customer_id=f"{MARK}-{rng.randrange(count // 20 + 1)}",
            occurred_at=second,
            quantity=(1, 2.5, 3)[n % 3],
            unit_price=9.9,
        )
        if n % 2:
            yield Message(good.key, good.text(), second * 1000, None)
        elif n % 200 == 0:
            other = (home(stray := f"{MARK}-stray{n}") + 1) % partitions
            yield Message(stray.encode(), good.text(customer_id=stray), second * 1000, "wrong_partition", other)
        else:
            reason, make = bad[n // 2 % len(bad)]
            yield Message(*made(make, good), second * 1000, reason)
    for reason, make in LARGE:
        yield Message(*made(make, good), second * 1000, reason)
