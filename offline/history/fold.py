"""A history folded by the product's one fold: customers as they stand at the cut-off, and the examples by day.

The same rows and entries that the stream would have made of these events; landmarks are passed by events, and once at
the cut-off.
"""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.customers import NOTED, Table
from models.events import Batch, hash_ids
from models.handover import HORIZON, STATED
from models.kinds import PURCHASE
from models.offers import Offers
from models.rows import ENTRY, ROW, joined, packed_rows, whole
from offline.history import spill
from offline.history.pauses import pauses
from offline.history.spill import Each

Array = npt.NDArray[Any]
BLOCK = 1 << 16  # states written at a time
STATES = pa.schema([("customer_id", pa.string()), ("state", pa.binary())], STATED.metadata)
Reader = Callable[[], Array]
Day = tuple[int, list[str], Array]  # day, customer_ids, entries


@dataclass(frozen=True, eq=False)
class Folded:
    """table: everybody at the cut-off, midnight `day`; days: (day, customer_ids, entries) ascending, none empty;
    pauses: between purchase days, `offline.history.pauses`."""

    day: int
    table: Table
    days: list[Day]
    noted: dict[str, int]
    pauses: Array

    @cached_property
    def raw(self) -> Array:
        """(n,) of RAW: everybody as a model sees them at the cut-off, in the order of the table."""
        return self.table.observe(np.arange(len(self.table)), self.day)


@dataclass(frozen=True, eq=False)
class Part:
    """A part of the customers, whose rows and entries lie beside its events. names: by row; began: (n, 2), time and
    place of each one's first purchase.
    """

    path: Path
    names: list[str]
    began: Array
    noted: dict[str, int]

    def rows(self) -> Array:
        return np.fromfile(self.path.with_suffix(".rows"), ROW)

    def entries(self) -> Array:
        return np.fromfile(self.path.with_suffix(".entries"), ENTRY)

    def pauses(self) -> Array:
        return np.fromfile(self.path.with_suffix(".pauses"), np.int32).reshape(-1, 3)


def batch(frame: pd.DataFrame) -> Batch:
    """The canonical history frame as the fold takes it, but for the customers, who are located by `_located`."""
    event = hash_ids(map(str.encode, frame["event_id"].tolist()))
    order, other = event.copy(), (frame["order_id"] != frame["event_id"]).to_numpy()
    order[other] = hash_ids(map(str.encode, frame["order_id"][other].tolist()))
    t, kind, amount = (frame[name].to_numpy() for name in ("occurred_at", "kind", "amount"))
    return Batch(np.arange(len(frame)), [], t, kind, amount, order, event)


def fold(frame: pd.DataFrame, day: int, horizon: int = HORIZON, offers: Offers | None = None) -> Folded:
    """Folds events before the cut-off, midnight `day`, in the order of the frame, then sweeps to it.

    offers: whose products the rows shall remember.
    """
    table, entries, noted, _, paused = _fold(frame, day, horizon, offers)
    return Folded(day, table, _days(table.names, [np.arange(len(table))], [lambda: entries]), noted, paused)


def fold_file(path: Path, day: int, horizon: int, offers: Offers | None) -> Part:
    """The same of the events of one part, which lie in its file."""
    frame = spill.load(path).to_pandas()
    table, entries, noted, first, paused = _fold(frame, day, horizon, offers)
    part = Part(path, table.names, frame[["occurred_at", "place"]].to_numpy()[first], noted)
    table.rows.tofile(path.with_suffix(".rows"))
    entries.tofile(path.with_suffix(".entries"))
    paused.tofile(path.with_suffix(".pauses"))
    return part


def fold_parts(
    paths: Sequence[Path], day: int, horizon: int = HORIZON, offers: Offers | None = None, each: Each = map
) -> Folded:
    """What `fold` makes of the events of all parts: customers stand in the order of their first purchases."""
    parts: list[Part] = [*each(partial(fold_file, day=day, horizon=horizon, offers=offers), paths)]
    names, began = [name for part in parts for name in part.names], np.concatenate([part.began for part in parts])
    order = np.lexsort(began.T[::-1])
    numbers = _split(_inverse(order), [part.names for part in parts])
    table = Table(horizon)
    table.take([names[i] for i in order.tolist()], _gathered(ROW, numbers, [part.rows for part in parts]))
    noted = {name: sum(part.noted[name] for part in parts) for name in NOTED}
    days = _days(table.names, numbers, [part.entries for part in parts])
    return Folded(day, table, days, noted, np.concatenate([part.pauses() for part in parts]))


def _fold(
    frame: pd.DataFrame, day: int, horizon: int, offers: Offers | None
) -> tuple[Table, Array, dict[str, int], Array, Array]:
    """(table, entries in any order, events that were passed over, the place of each customer's first purchase, the
    pauses between purchase days)."""
    table, events, noted = Table(horizon), batch(frame), np.zeros(len(NOTED), np.int64)
    codes = offers.codes(frame["product_id"].tolist()) if offers else None
    rows, first = _located(table, frame)
    passed = table.fold(events, rows, events.index, -1, noted, codes)
    entries = joined([passed, table.sweep(day)])
    table.rows["seen"] = 0  # offsets of the topic start anew
    bought = events.kind == PURCHASE
    paused = pauses(rows[bought], events.t[bought], day)
    return table, entries, dict(zip(NOTED, noted.tolist(), strict=True)), first, paused


def _located(table: Table, frame: pd.DataFrame) -> tuple[Array, Array]:
    """(what `Table.locate` says to an empty table, the place of each row's first purchase), each id looked up once."""
    who, names = pd.factorize(frame["customer_id"])
    bought = np.flatnonzero(frame["kind"] == PURCHASE)
    first = bought[~pd.Series(who[bought]).duplicated().to_numpy()]
    rows = np.full(len(names), -1)
    rows[who[first]] = table.add(names[who[first]].tolist())
    return rows[who], first


def _days(names: list[str], numbers: Sequence[Array], parts: Sequence[Reader]) -> list[Day]:
    """The entries of all parts by day, those of a day in customer_id order, as models learn them.

    numbers: of each part, the rows of its customers among all. Parts are read twice, so that one copy of all is held.
    """
    by_name = pc.sort_indices(pa.array(names, pa.large_string())).to_numpy().astype(np.int64)
    rank, n = _inverse(by_name), max(1, len(names))
    keys = [_keys(part(), rank[number], n) for number, part in zip(numbers, parts, strict=True)]
    order = np.argsort(np.concatenate(keys))
    day, who = np.divmod(np.concatenate(keys)[order], n)
    entries = _gathered(ENTRY, _split(_inverse(order), keys), parts)
    entries["row"] = by_name[who]
    days, starts = np.unique(day, return_index=True)
    named = np.array(names, object)
    return [
        (int(number), named[part["row"]].tolist(), part)
        for number, part in zip(days, np.split(entries, starts)[1:], strict=True)
    ]


def _keys(entries: Array, rank: Array, n: int) -> Array:
    """Numbers that order entries by day, then by their customers' rank of n."""
    keys: Array = entries["day"].astype(np.int64) * n + rank[entries["row"]]
    return keys


def _gathered(of: np.dtype[Any], places: Sequence[Array], parts: Sequence[Reader]) -> Array:
    """The records of all parts, each at its place; one part is read at a time."""
    records = np.empty(sum(map(len, places)), of)
    for place, part in zip(places, parts, strict=True):
        whole(records)[place] = whole(part())
    return records


def _split(places: Array, parts: Sequence[Sized]) -> list[Array]:
    return np.split(places, np.cumsum([len(part) for part in parts])[:-1])


def _inverse(order: Array) -> Array:
    """Where each stands in an order."""
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return places


def write_states(table: Table, path: Path) -> None:
    """customer_id and packed row, as the store keeps them."""
    names = table.names
    with pq.ParquetWriter(path, STATES) as file:
        for start in range(0, max(1, len(table)), BLOCK):
            part = slice(start, start + BLOCK)
            file.write_table(pa.table([names[part], packed_rows(table.rows[part])], STATES))
