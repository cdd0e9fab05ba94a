"""Records with rings as they are stored: each ring only as far as it is filled.

A ring is one or more array fields of a record, filled together from their first entry on; the caller says how many
entries each has. Rule: a record whose other entries are zero is, packed and unpacked, the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import njit

Array = npt.NDArray[Any]
FIXED = -1  # a piece that is no part of a ring


class Layout(NamedTuple):
    """pieces: int64 (p, 3) in order, where each begins, bytes of it (of an entry, in a ring), which ring or FIXED;
    rooms: int64 (rings,), entries that each has at most; widths: int64 (rings,), bytes of an entry; fixed: bytes of
    what is no ring.
    """

    pieces: Array
    rooms: Array
    widths: Array
    fixed: int

    @classmethod
    def of(cls, record: np.dtype[Any], rings: Mapping[str, Sequence[str]]) -> "Layout":
        """rings: the fields of each."""
        ring_of = {field: number for number, fields in enumerate(rings.values()) for field in fields}
        pieces: list[tuple[int, int, int]] = []
        rooms, widths = np.zeros(len(rings), np.int64), np.zeros(len(rings), np.int64)
        for name in record.names or ():
            kind, start = record.fields[name][:2]  # type: ignore[index]  # of the stubs
            if name in ring_of:
                ring = ring_of[name]
                rooms[ring] = kind.shape[0]
                widths[ring] += kind.base.itemsize
                pieces.append((start, kind.base.itemsize, ring))
            elif pieces and pieces[-1][2] == FIXED:  # one piece with the field before
                pieces[-1] = (pieces[-1][0], pieces[-1][1] + kind.itemsize, FIXED)
            else:
                pieces.append((start, kind.itemsize, FIXED))
        return cls(np.array(pieces, np.int64), rooms, widths, sum(size for _, size, ring in pieces if ring == FIXED))

    def sizes(self, counts: Array) -> Array:
        """Bytes (n,) of records whose rings hold so many entries, counts (n, rings)."""
        sizes: Array = self.fixed + counts.astype(np.int64) @ self.widths
        return sizes


def pack(mark: Array, records: Array, slots: Array, layout: Layout) -> tuple[Array, Array]:
    """Each record (n,) behind a head, one behind the other, uint8, and the bytes (n,) of each with its head.

    A head is `mark`, uint8, and a byte for each ring, how many entries it holds: all where the last one is there, else
    as many as its slot says. slots: where each ring's next entry goes, by where that byte stands in a record.
    """
    memory, counts = _bytes(records), np.empty((len(records), len(slots)), np.uint8)
    filled_kernel(memory, layout.pieces, layout.rooms, slots, counts)
    sizes = len(mark) + len(slots) + layout.sizes(counts)
    packed = np.empty(int(sizes.sum()), np.uint8)
    pack_kernel(mark, memory, layout.pieces, counts, packed)
    return packed, sizes


def unpack(packed: Array, starts: Array, counts: Array, record: np.dtype[Any], layout: Layout) -> Array:
    """Records (n,) that begin, behind their heads, at these places of the bytes; counts: as `pack` had them."""
    memory = np.zeros((len(starts), record.itemsize), np.uint8)
    unpack_kernel(packed, starts, layout.pieces, counts, memory)
    return memory.reshape(-1).view(record)


def _bytes(records: Array) -> Array:
    return np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.itemsize)


# Indices are unsigned: of a signed one numba asks each time whether it counts from the end, three times the work.
@njit
def filled_kernel(memory: Array, pieces: Array, rooms: Array, slots: Array, counts: Array) -> None:
    for i in range(np.uint64(len(memory))):
        for k in range(len(slots)):
            counts[i, k] = memory[i, slots[k]]
        for j in range(len(pieces)):
            start, length, ring = pieces[j]
            if ring == FIXED:
                continue
            last = start + length * (rooms[ring] - 1)
            for b in range(last, last + length):
                if memory[i, b]:
                    counts[i, ring] = rooms[ring]


@njit
def pack_kernel(mark: Array, memory: Array, pieces: Array, counts: Array, packed: Array) -> None:
    """Copies each head and the filled pieces of its record behind what is packed already."""
    at, rings = np.uint64(0), np.uint64(counts.shape[1])
    for i in range(np.uint64(len(memory))):
        for byte in mark:
            packed[at] = byte
            at += np.uint64(1)
        for k in range(rings):
            packed[at + k] = counts[i, k]
        at += rings
        for j in range(len(pieces)):
            start, length = piece(pieces[j], counts[i])
            for b in range(length):
                packed[at + b] = memory[i, start + b]
            at += length


@njit
def unpack_kernel(packed: Array, starts: Array, pieces: Array, counts: Array, memory: Array) -> None:
    """Copies the filled pieces of each record back to their places; the rest of the memory stays as it is."""
    for i in range(np.uint64(len(memory))):
        at = np.uint64(starts[i])
        for j in range(len(pieces)):
            start, length = piece(pieces[j], counts[i])
            for b in range(length):
                memory[i, start + b] = packed[at + b]
            at += length


@njit
def piece(layout: Array, counts: Array) -> tuple[Any, Any]:
    """Where a piece of a record begins, and its bytes."""
    start, length = np.uint64(layout[0]), np.uint64(layout[1])
    return start, length if layout[2] == FIXED else length * np.uint64(counts[layout[2]])
