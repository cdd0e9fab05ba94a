"""The same job a batch at a time, as a careful engineer writes it with numpy: rows by name, one pass over the events.

Rule: what job.py says of one event and of one customer after the other; tests/test_benchmark_peers.py compares them.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.job import BEGIN, CENTRES, DEMAND, HALF_LIVES, PER_DAY

ROW = np.dtype([("orders", "<i8"), ("cents", "<i8"), ("last", "<i8"), ("near", "<f8"), ("far", "<f8")])
Array = NDArray[Any]


class Event(msgspec.Struct):
    customer_id: str
    event_type: str
    occurred_at: datetime
    quantity: float = 0
    unit_price: float = 0


read = msgspec.json.Decoder(Event).decode


class Customers:
    """Rows by name; packed: what was kept of them."""

    def __init__(self, packed: Mapping[str, bytes] | None = None) -> None:
        self.names = list(packed or ())
        self.index = {name: i for i, name in enumerate(self.names)}
        self.rows = np.frombuffer(b"".join((packed or {}).values()), ROW).copy()

    def fold(self, values: Iterable[bytes]) -> Array:
        """Folds events as they stand in Kafka; the numbers of the rows that they changed, each once."""
        events = [read(value) for value in values]
        at = np.array([self._row(event.customer_id) for event in events], np.int64)
        kinds = np.array([event.event_type for event in events])
        seconds = np.array([event.occurred_at.timestamp() for event in events]).astype(np.int64) - BEGIN
        cents = np.rint([event.quantity * event.unit_price * 100 for event in events]).astype(np.int64)
        cents[kinds == "return"] *= -1
        np.add.at(self.rows["orders"], at, kinds == "purchase")
        np.add.at(self.rows["cents"], at, cents)
        np.maximum.at(self.rows["last"], at, seconds)
        for name, half in zip(("near", "far"), HALF_LIVES, strict=True):
            np.add.at(self.rows[name], at, cents * np.exp2(seconds / half))
        return np.unique(at)

    def _row(self, name: str) -> int:
        found = self.index.get(name)
        if found is None:
            found = self.index[name] = len(self.names)
            self.names.append(name)
            if found == len(self.rows):
                self.rows = np.concatenate([self.rows, np.zeros(max(1_024, found), ROW)])
        return found

    def hashes(self, at: Array) -> list[Sequence[str | int]]:
        """The values of job.FIELDS for each of these rows."""
        rows = self.rows[at]
        near, far = (
            rows[name] / 100 * np.exp2(-rows["last"] / half) * per_day
            for name, half, per_day in zip(("near", "far"), HALF_LIVES, PER_DAY, strict=True)
        )
        spend = rows["cents"] / 100
        demand = np.maximum(0, DEMAND[0] + DEMAND[1] * rows["orders"] + DEMAND[2] * near + DEMAND[3] * far)
        x = np.log1p(np.maximum(0, np.stack([rows["orders"], spend, near], axis=1)))
        cluster = ((x[:, None] - np.array(CENTRES)) ** 2).sum(axis=2).argmin(axis=1)
        columns = (rows["orders"], spend, near, far, demand, cluster, rows["last"] + BEGIN)
        return [
            (orders, f"{spent:.2f}", f"{r30:.4f}", f"{r90:.4f}", f"{expected:.2f}", k, last)
            for orders, spent, r30, r90, expected, k, last in zip(*(c.tolist() for c in columns), strict=True)
        ]
