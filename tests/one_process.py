"""The truth to compare with: the whole log folded and learned in one process, partition by partition, undisturbed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from folding import OPENED

from models import artefact
from models.customers import NOTED, Table
from models.events import decode_many
from models.kinds import ERASE, TICK
from models.offers import Offers
from models.rows import DAY, ENTRY, PROMISED, ROW, stored
from streams import kafka, trainer
from streams.deployment import GRACE
from streams.partitioner import partitioner
from streams.settings import Settings


@dataclass
class Truth:
    """rows: what is kept by customer; entries by (partition, day, customer); rejects (partition, offset, reason)."""

    rows: dict[str, bytes] = field(default_factory=dict)
    entries: dict[tuple[int, int, str], bytes] = field(default_factory=dict)
    rejects: set[tuple[int, int, str]] = field(default_factory=set)


def truth(settings: Settings, directory: Path, bounds: list[tuple[int, int]], cut_off: int, end: int) -> Truth:
    """Every partition's log up to the present, swept to day `end`."""
    states = pq.read_table(directory / "states.parquet").to_pydict()
    home, found = partitioner(settings.partitioner, len(bounds)), Truth()
    offers = artefact.decode((directory / "artefact.json").read_bytes()).restored().offers
    for p, (low, high) in enumerate(bounds):
        mine = [(n, s) for n, s in zip(states["customer_id"], states["state"], strict=True) if home(n) == p]
        table = Table()
        table.load([name for name, _ in mine], [state for _, state in mine])
        log = list(kafka.read(settings, p, low, high))
        for entries in _folded(table, found, log, p, cut_off, end, home, settings, offers):
            for name, entry in zip(table.ids.of(entries["row"]), entries, strict=True):
                found.entries[p, int(entry["day"]), name] = promised(entry)
        found.rows |= {name: remembered(table.rows[row].tobytes()) for name, row in table.index.items()}
    return found


def remembered(row: bytes) -> bytes:
    """A row's promised bytes, and its ring: one set of offers was served all the time."""
    return row[:PROMISED] + row[ROW.fields["offered"][1] :]  # type: ignore[index]  # of the stubs


def promised(entry: Any) -> bytes:
    """An entry's bytes without what depends on when a model arrived."""
    copy = np.array(entry, ENTRY)
    copy["row"] = 0
    for name in OPENED:
        copy[name] = 0
    return copy.tobytes()


def _folded(
    table: Table,
    found: Truth,
    log: list[Any],
    p: int,
    cut_off: int,
    end: int,
    home: Any,
    settings: Settings,
    offers: Offers,
) -> Iterator[Any]:
    keys, values = [m.key() for m in log], [m.value() for m in log]
    batch, faults = decode_many(keys, values, [m.timestamp()[1] for m in log])
    offsets, swept_to = np.array([m.offset() for m in log]), cut_off
    found.rejects |= {(p, int(offsets[i]), str(reason)) for i, reason, _ in faults}
    stray = np.array([bool(name) and home(name) != p for name in batch.customer_id])
    found.rejects |= {(p, int(offsets[i]), "wrong_partition") for i in batch.index[stray]}
    batch = batch.keep(~stray)
    for i, j, day in plain_cuts(
        batch.kind.tolist(),
        batch.t.tolist(),
        (GRACE if settings.grace is None else settings.grace) * 1_000_000,
        cut_off,
    ):
        if day > swept_to:
            yield table.sweep(day)
            swept_to = day
        piece = batch.part(i, j)
        if piece.kind[0] == ERASE:
            for name in piece.customer_id:
                table.erase(name)
            continue
        piece = piece.keep((piece.kind != TICK) & (piece.t >= cut_off * DAY))
        rows, codes = table.locate(piece), offers.codes(piece.product_id)
        yield table.fold(piece, rows, offsets[piece.index], swept_to, np.zeros(len(NOTED), np.int64), codes)
    yield table.sweep(end)


def plain_cuts(kinds: list[int], times: list[int], grace: int, swept_to: int) -> Iterator[tuple[int, int, int]]:
    """Pieces [start, end) of a log, each with the day that must be swept before it; tombstones make their own."""
    start = 0
    for i, (kind, t) in enumerate(zip(kinds, times, strict=True)):
        asked = swept_to if kind == ERASE else max(swept_to, (t - grace) // DAY)
        if i > start and (asked > swept_to or (kind == ERASE) != (kinds[i - 1] == ERASE)):
            yield start, i, swept_to
            start = i
        swept_to = asked
    if kinds:
        yield start, len(kinds), swept_to


def versions(entries: dict[tuple[int, int, str], bytes], document: bytes, n: int, end: int) -> list[str]:
    """The versions that a trainer must have written from this document on, day by day to `end`."""
    by_day: dict[int, list[tuple[str, bytes]]] = {}
    for (_, day, name), entry in entries.items():
        by_day.setdefault(day, []).append((name, stored(np.frombuffer(entry, ENTRY))))
    found = []
    for day in range(artefact.decode(document).trained_through + 1, end + 1):
        document = trainer.learn(document, day, by_day.get(day, [])).document
        found.append(str(artefact.Version.of(n, day, document)))
    return found
