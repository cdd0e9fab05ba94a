"""A history folded by the product's one fold: customers as they stand at the cut-off, and the examples by day.

The same rows and entries that the stream would have made of these events; landmarks are passed by events, and once at
the end.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.customers import HORIZON, SKIPPED, Table
from models.events import Batch, hash_ids
from models.offers import Offers

Array = npt.NDArray[Any]
Day = tuple[int, list[str], Array]  # day, customer_ids, entries


@dataclass(frozen=True, eq=False)
class Folded:
    """table: everybody at midnight `day`; days: (day, customer_ids, entries) ascending, without empty days."""

    day: int
    table: Table
    days: list[Day]
    skipped: dict[str, int]


def batch(frame: pd.DataFrame) -> Batch:
    """The canonical history frame as the fold takes it."""
    order, event = (hash_ids(map(str.encode, frame[name].tolist())) for name in ("order_id", "event_id"))
    t, kind, amount = (frame[name].to_numpy() for name in ("occurred_at", "kind", "amount"))
    return Batch(np.arange(len(frame)), frame["customer_id"].tolist(), t, kind, amount, order, event)


def fold(frame: pd.DataFrame, day: int, horizon: int = HORIZON, offers: Offers | None = None) -> Folded:
    """Folds events that are all older than midnight `day`, in the order of the frame, then sweeps to it.

    offers: whose products the rows shall remember.
    """
    table, events, skipped = Table(horizon), batch(frame), np.zeros(len(SKIPPED), np.int64)
    codes = offers.codes(frame["product_id"].tolist()) if offers else None
    passed = table.fold(events, table.locate(events), events.index, -1, skipped, codes)
    entries = np.concatenate([passed, table.sweep(day)])
    table.rows["seen"] = 0  # offsets of the topic start anew
    entries = entries[np.argsort(entries["day"], kind="stable")]
    numbers, starts = np.unique(entries["day"], return_index=True)
    days = [
        (int(number), [table.names[row] for row in part["row"].tolist()], part)
        for number, part in zip(numbers, np.split(entries, starts)[1:], strict=True)
    ]
    return Folded(day, table, days, dict(zip(SKIPPED, skipped.tolist(), strict=True)))


def write_states(table: Table, path: Path) -> None:
    """customer_id and packed row, as the store keeps them."""
    packed = [row.tobytes() for row in table.rows]
    pq.write_table(pa.table({"customer_id": table.names, "state": pa.array(packed, pa.binary())}), path)
