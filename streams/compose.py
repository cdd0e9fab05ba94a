"""Where a prediction becomes what is served: some customers' scores, states, examples and changes as one Block.

The rule: what is laid out is noted in the rows, so that rows and Redis agree; nothing else of the caller's is changed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models import scores
from models.customers import Table
from models.ids import split
from models.model import Predictions
from models.rows import EXAMPLE, pack_rows, stored
from streams import spelled
from streams.keys import Keys
from streams.serving import Serving
from streams.told import Told
from streams.writes import Block, Change

Array = npt.NDArray[Any]
AHEAD = 4_096  # rows that are scored at once
FEW = 256  # rows that are scored together with those of other partitions
NEW, MOVED, ERASED, MODEL = "new", "moved", "erased", "model"  # types of changes; ERASED stands for the segment come to


@dataclass(frozen=True)
class Erasure:
    """A tombstone. hashed: the keyed hash that stays of the customer; row: of the life that it ended, -1 for somebody
    unknown; offset, at: the record's; at in ms since the epoch, -1 if it has no time; older: another one stands that
    came later in the log.
    """

    customer_id: str
    hashed: str
    row: int
    offset: int
    at: int
    older: bool = False


@dataclass(frozen=True)
class Gone:
    """Who is erased by a write, in the order of the log; lives: those of their rows that had events since the last."""

    erasures: Sequence[Erasure]
    lives: Array


NOBODY = Gone((), np.empty(0, np.int64))


class Move(NamedTuple):
    """A customer's change of segment; left: the set in which they stood, "" for none."""

    change: Change
    left: str
    announced: bool


class Ahead:
    """What the serving model says of rows (n,), ascending, as of `swept_to`: of AHEAD at once, for a call of it costs
    as much as two hundred customers."""

    def __init__(self, table: Table, serving: Serving, rows: Array, swept_to: int) -> None:
        self.table, self.serving, self.rows, self.swept_to = table, serving, rows, swept_to
        self._start = self._end = 0
        self._said: tuple[str, Sequence[Any]] = "", ()  # by which version

    async def asked(self) -> None:
        """Has them scored together with those of other partitions, where they are few."""
        if 0 < len(self.rows) <= FEW:
            self._end = len(self.rows)
            self._said = await self.serving.said(self.table.observe(self.rows, self.swept_to))

    def of(self, rows: Array) -> Predictions:
        """Of some of these rows."""
        known = self._said[0] == self.serving.version
        if known and rows is self.rows and self._end - self._start == len(rows):  # as in most chunks of a live stream
            return Predictions(*self._said[1])
        places = np.searchsorted(self.rows, rows)
        low, high = int(places.min(initial=len(self.rows))), int(places.max(initial=-1)) + 1
        if not known or low < self._start or high > self._end:
            self._start, self._end = low, max(high, min(low + AHEAD, len(self.rows)))
            asked = self.table.observe(self.rows[self._start : self._end], self.swept_to)
            self._said = self.serving.version, self.serving.model.predict_many(asked)
        return Predictions(*(column[places - self._start] for column in self._said[1]))


def compose(
    ahead: Ahead,
    rows: Array,
    entries: Array,
    place: str,
    quiet: int,
    written: Told,
    gone: Gone = NOBODY,
) -> Block:
    """Scores these rows and lays out their write with the entries (ENTRY) of landmarks they passed.

    ahead: of all rows that are published; place: `topic:partition` of their events; quiet: changes by events below this
    offset are not announced; written: what stands in Redis of each row, which is noted there; gone: who is erased. A
    life that ended is scored too, for the changes that it made, and leaves nothing else.
    """
    table, serving = ahead.table, ahead.serving
    if len(entries):
        opened(table, serving, np.unique(entries["row"]))
    over = _scored(ahead, gone.lives, table.ids.of(gone.lives), place, quiet)[2] if len(gone.lives) else {}
    farewells = list(_farewells(table, gone, over, place, quiet))
    ids = table.ids.texts(rows)
    names, new = split(*ids), written.missing(rows)
    predicted, state, moves = _scored(ahead, rows, names, place, quiet)
    hashes = written.hashes(serving, rows, ids, state, predicted, ahead.swept_to, place)
    ranked = np.flatnonzero(hashes.ranked)
    return Block(
        names=names,
        hashes=hashes.commands,
        whole=(hashes.written == spelled.ALL).tolist(),
        new=new,
        states=spelled.pairs(ids, *pack_rows(state)),
        left=_by_set((move.left, (move.change[1],)) for move in (*farewells, *moves.values())),
        sets=_by_set(
            (Keys.members_of(segment), (f"{value:.2f}", names[i]))
            for i, segment, value in zip(
                ranked.tolist(), predicted.segment[ranked].tolist(), predicted.value[ranked].tolist(), strict=True
            )
        ),
        entries=list(zip(entries["day"].tolist(), table.ids.of(entries["row"]), strict=True)),
        packed=stored(entries),
        entry_size=EXAMPLE.itemsize,
        changes=[move.change for move in (*farewells, *moves.values()) if move.announced],
        erased=[(each.customer_id, each.row >= 0 and written.holds(each.row)) for each in gone.erasures],
        tombstones=[(each.hashed, _when(each)) for each in gone.erasures if not each.older],
    )


def opened(table: Table, serving: Serving, rows: Array) -> None:
    """Notes what is promised from the features with which these rows' examples opened."""
    promised = serving.model.predict_many(table.rows["raw"][rows])
    for column in ("demand", "high", "p_buy"):
        table.rows[f"open_{column}"][rows] = getattr(promised, column)
    table.rows["open_version"][rows] = serving.number


def _scored(
    ahead: Ahead, rows: Array, names: Sequence[str], place: str, quiet: int
) -> tuple[Predictions, Array, dict[int, Move]]:
    """The predictions, noted in these rows; copies of them; the move of each whose segment changed."""
    table, serving, swept_to = ahead.table, ahead.serving, ahead.swept_to
    predicted = ahead.of(rows)
    before, clusters, at = table.note(rows, predicted, serving.number, swept_to)
    state = table.rows.take(rows)  # `rows[...]` copies field by field, 15 times slower
    (moved,) = (before != predicted.segment).nonzero()
    if not len(moved):  # as mostly
        return predicted, state, {}
    changes = zip(
        np.where(before[moved] < 0, NEW, MOVED).tolist(),
        [names[i] for i in moved.tolist()],
        [str(number) if number >= 0 else "" for number in before[moved].tolist()],
        map(str, predicted.segment[moved].tolist()),
        scores.iso(at[moved]),
        scores.sources(state["seen"][moved], place),
        strict=True,
    )
    sets = map(_stood, before[moved].tolist(), clusters[moved].tolist())
    # Whom a program of before published had a cluster only: to have a segment is no move of theirs.
    announced = (state["seen"][moved] > quiet) & ((before[moved] >= 0) | (clusters[moved] < 0))
    moves = map(Move, changes, sets, announced.tolist())
    return predicted, state, dict(zip(rows[moved].tolist(), moves, strict=True))


def _stood(segment: int, cluster: int) -> str:
    """The set of a customer with this published segment, or with a cluster alone, as a program of before published."""
    if segment >= 0:
        return Keys.members_of(segment)
    return f"segment:{cluster}" if cluster >= 0 else ""


def _farewells(table: Table, gone: Gone, moves: dict[int, Move], place: str, quiet: int) -> Iterator[Move]:
    """Of each known customer who is erased: the last move of that life, then that it is erased."""
    for each in gone.erasures:
        if each.row >= 0:
            if each.row in moves:
                yield moves[each.row]
            row, at = table.rows[each.row], each.at * 1000
            segment, when = int(row["segment"]), scores.iso(np.array([at]))[0] if at >= 0 else ""
            left = str(segment) if segment >= 0 else ""
            change = ERASED, each.customer_id, left, ERASED, when, f"{place}:{each.offset}"
            yield Move(change, _stood(segment, int(row["cluster"])), each.offset >= quiet)


def _when(each: Erasure) -> str:
    """What is kept of a tombstone: its offset, and its time if it has one."""
    return f"{each.offset} {each.at}" if each.at >= 0 else str(each.offset)


def _by_set(members: Iterable[tuple[str, tuple[Any, ...]]]) -> list[tuple[str, list[Any]]]:
    """(set, [what is said of its members, one behind the other]), as ZADD and ZREM take them; "" is no set."""
    sets: dict[str, list[Any]] = {}
    for name, said in members:
        sets.setdefault(name, []).extend(said)
    return [(name, said) for name, said in sets.items() if name]
