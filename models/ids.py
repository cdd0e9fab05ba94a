"""Ids of customers and the rows that are theirs, in a third of the memory that strings and a dict take.

The rule: an id is the bytes of its UTF-8. They are kept one behind the other, and a hash table leads from them to the
row: open addressing with linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithm L), hashed by FNV-1a.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import njit

Array = npt.NDArray[Any]

U64 = np.uint64
BASIS, PRIME, MIX = U64(0xCBF29CE484222325), U64(0x100000001B3), U64(0xFF51AFD7ED558CCD)  # FNV-1a; murmur3's last step
HALF, LOW = U64(32), U64(2**32 - 1)
# A slot: what follows of the hash in its upper half; in its lower one the row and FIRST, or one of these.
EMPTY, GONE, FIRST = U64(0), U64(1), U64(2)
SIZE_BITS = 16  # of a place, below where the id begins
LONGEST = (1 << SIZE_BITS) - 1  # bytes of an id
NOWHERE = -1  # the place of a row that has no id
PAGE = 4096  # bytes for which there is room at least, once ids have been moved


class Ids:
    """`len` rows, each with an id or none. An id that is linked is found; one that is not is only known by its row."""

    def __init__(self, room: int = 1024) -> None:
        """room: ids for which there is room at first; what nobody has taken yet takes no memory."""
        self._count = self._used = self._filled = 0  # rows; bytes; slots that are not EMPTY
        self._held, self._places = np.empty(room * 16, np.uint8), np.empty(room, np.int64)
        self._slots = np.zeros(_slots_for(room), np.uint64)

    def __len__(self) -> int:
        return self._count

    def find(self, ids: Sequence[str]) -> Array:
        """The row (n,) of each of these ids, -1 where none is linked."""
        text, ends = laid_out(ids)
        rows = np.empty(len(ids), np.int64)
        find_kernel(text, ends, self._held, self._places, self._slots, rows)
        return rows

    def store(self, rows: Array, ids: Sequence[str]) -> None:
        """These rows (n,) have these ids from now on, not linked; rows from `len` on are new, and none is left out."""
        text, ends = laid_out(ids)
        if len(ids) and int(np.diff(ends, prepend=0).max()) > LONGEST:
            raise ValueError(f"an id has more than {LONGEST:,} bytes")
        before, self._count = self._count, max(self._count, int(rows.max(initial=-1)) + 1)
        if self._count > len(self._places):
            places = np.empty(max(self._count, len(self._places) * 3 // 2), np.int64)
            places[:before] = self._places[:before]
            self._places = places
        self._places[before : self._count] = NOWHERE
        if self._used + len(text) > len(self._held):
            places = self._places[: self._count]
            kept = int((places[places >= 0] & LONGEST).sum())
            held = np.empty(kept * 3 // 2 + len(text) + PAGE, np.uint8)
            used = move_kernel(self._held, places, held)
            self._held[: self._used] = 0
            self._held, self._used = held, used
        self._used = store_kernel(text, ends, rows, self._held, self._used, self._places)

    def link(self, rows: Array) -> None:
        """Makes the ids of these rows (n,) be found; no other row with the same id is linked."""
        if (self._filled + len(rows)) * 2 > len(self._slots):
            live = int((self._slots >= FIRST).sum())
            slots = np.zeros(_slots_for((live + len(rows)) * 9 // 8), np.uint64)  # else they were full soon again
            self._filled = relink_kernel(self._slots, self._held, self._places, slots)
            self._slots = slots
        self._filled += link_kernel(rows, self._held, self._places, self._slots)

    def unlink(self, rows: Array) -> None:
        """Makes the ids of these rows (n,), which are linked, be found no more."""
        unlink_kernel(rows, self._held, self._places, self._slots)

    def forget(self, rows: Array) -> None:
        """These rows (n,), not linked, have no id from now on; nothing of it stays here."""
        forget_kernel(rows, self._held, self._places)

    def linked(self) -> Array:
        """(n,) rows whose ids are linked, ascending."""
        slots = self._slots[self._slots >= FIRST]
        return np.sort((slots & LOW) - FIRST).astype(np.int64)

    def texts(self, rows: Array) -> tuple[Array, Array]:
        """The ids of these rows (n,) as UTF-8, one behind the other, uint8, and where each ends, int64 (n,)."""
        places, ends = self._places[rows], np.empty(len(rows), np.int64)
        text = np.empty(ends_kernel(places, ends), np.uint8)
        texts_kernel(places, self._held, text)
        return text, ends

    def of(self, rows: Array) -> list[str]:
        """The ids of these rows, "" where there is none."""
        return split(*self.texts(rows)) if len(rows) else []


def laid_out(ids: Sequence[str]) -> tuple[Array, Array]:
    """Ids as UTF-8, one behind the other, and where each ends."""
    together = "".join(ids)
    if together.isascii():
        text, sizes = together.encode(), map(len, ids)
    else:
        each = [name.encode() for name in ids]
        text, sizes = b"".join(each), map(len, each)
    return np.frombuffer(text, np.uint8), np.cumsum(np.fromiter(sizes, np.int64, len(ids)))


def split(text: Array, ends: Array) -> list[str]:
    """What `laid_out` says of ids, the other way round."""
    data, pieces = text.tobytes(), itertools.pairwise([0, *ends.tolist()])
    together = data.decode()
    if len(together) == len(data):
        return [together[start:end] for start, end in pieces]
    return [data[start:end].decode() for start, end in pieces]


def _slots_for(ids: int) -> int:
    """A power of two: between a quarter and half of so many slots are taken."""
    return 1 << max(2 * ids, 16).bit_length()


@njit
def digest(text: Array, start: int, stop: int) -> np.uint64:
    """FNV-1a, mixed so that its lower bits hang on all of its bytes."""
    found = BASIS
    for i in range(start, stop):
        found = (found ^ U64(text[i])) * PRIME
    found = (found ^ found >> HALF) * MIX
    return found ^ found >> HALF


@njit
def same(text: Array, start: int, held: Array, place: int) -> bool:
    """Whether as many bytes as the id at this place has are that id."""
    first, different = place >> SIZE_BITS, 0
    for i in range(place & LONGEST):
        different += held[first + i] != text[start + i]
    return different == 0


@njit
def slot_of(text: Array, start: int, stop: int, held: Array, places: Array, slots: Array) -> Any:
    """Where this id is linked, or -1."""
    found, mask = digest(text, start, stop), U64(len(slots) - 1)
    at = found & mask
    while slots[at] != EMPTY:
        if slots[at] >> HALF == found >> HALF and slots[at] & LOW >= FIRST:
            place = places[np.int64((slots[at] & LOW) - FIRST)]
            if place & LONGEST == stop - start and same(text, start, held, place):
                return np.int64(at)
        at = at + U64(1) & mask
    return -1


@njit
def find_kernel(text: Array, ends: Array, held: Array, places: Array, slots: Array, out: Array) -> None:
    start = 0
    for i in range(len(ends)):
        at = slot_of(text, start, ends[i], held, places, slots)
        out[i] = np.int64((slots[at] & LOW) - FIRST) if at >= 0 else -1
        start = ends[i]


@njit
def store_kernel(text: Array, ends: Array, rows: Array, held: Array, used: int, places: Array) -> int:
    """Returns how many bytes are used then."""
    start = 0
    for i in range(len(rows)):
        places[rows[i]] = used << SIZE_BITS | (ends[i] - start)
        for j in range(start, ends[i]):
            held[used] = text[j]
            used += 1
        start = ends[i]
    return used


@njit
def move_kernel(held: Array, places: Array, other: Array) -> int:
    """Copies what is not forgotten, in the order of the rows; returns how many bytes that is."""
    used = 0
    for row in range(len(places)):
        if places[row] >= 0:
            first, size = places[row] >> SIZE_BITS, places[row] & LONGEST
            for i in range(size):
                other[used + i] = held[first + i]
            places[row] = used << SIZE_BITS | size
            used += size
    return used


@njit
def link_kernel(rows: Array, held: Array, places: Array, slots: Array) -> int:
    """Returns how many slots were taken that were EMPTY."""
    mask, taken = U64(len(slots) - 1), 0
    for i in range(len(rows)):
        first = places[rows[i]] >> SIZE_BITS
        found = digest(held, first, first + (places[rows[i]] & LONGEST))
        at = found & mask
        while slots[at] > GONE:
            at = at + U64(1) & mask
        taken += slots[at] == EMPTY
        slots[at] = found >> HALF << HALF | U64(rows[i]) + FIRST
    return taken


@njit
def relink_kernel(older: Array, held: Array, places: Array, slots: Array) -> int:
    """Links what is linked in older slots; returns how many that are."""
    row, count = np.empty(1, np.int64), 0
    for slot in older:
        if slot & LOW >= FIRST:
            row[0] = np.int64((slot & LOW) - FIRST)
            count += link_kernel(row, held, places, slots)
    return count


@njit
def unlink_kernel(rows: Array, held: Array, places: Array, slots: Array) -> None:
    for i in range(len(rows)):
        first = places[rows[i]] >> SIZE_BITS
        at = slot_of(held, first, first + (places[rows[i]] & LONGEST), held, places, slots)
        if at >= 0 and slots[at] & LOW == U64(rows[i]) + FIRST:
            slots[at] = GONE


@njit
def forget_kernel(rows: Array, held: Array, places: Array) -> None:
    for i in range(len(rows)):
        first = places[rows[i]] >> SIZE_BITS
        if places[rows[i]] >= 0:
            held[first : first + (places[rows[i]] & LONGEST)] = 0
        places[rows[i]] = NOWHERE


@njit
def ends_kernel(places: Array, ends: Array) -> int:
    """Where each text ends of those that stand at these places; returns their bytes."""
    size = 0
    for i in range(len(places)):
        if places[i] >= 0:
            size += places[i] & LONGEST
        ends[i] = size
    return size


@njit
def texts_kernel(places: Array, held: Array, out: Array) -> None:
    used = 0
    for place in places:
        if place >= 0:
            for j in range(place & LONGEST):
                out[used] = held[(place >> SIZE_BITS) + j]
                used += 1
