"""Where a prediction becomes what is served: some customers' scores, states, examples and changes as one Block.

The rule: what is laid out is noted in the rows, so that rows and Redis agree; nothing else of the caller's is changed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models import scores
from models.customers import Table
from models.model import Predictions
from models.rows import EXAMPLE, pack_rows, stored
from streams.serving import Serving
from streams.store import Block, Change

Array = npt.NDArray[Any]
VALUE = scores.FIELDS.index("customer_value")
ERASED = "erased"  # what a change says in place of the cluster come to


@dataclass(frozen=True)
class Erasure:
    """A tombstone. hashed: the keyed hash that stays of the customer; row: of the life that it ended, -1 for somebody
    unknown; offset, at: the record's; at in ms since the epoch, -1 if it has no time.
    """

    customer_id: str
    hashed: str
    row: int
    offset: int
    at: int


@dataclass(frozen=True)
class Gone:
    """Who is erased by a write, in the order of the log; lives: those of their rows that had events since the last."""

    erasures: Sequence[Erasure]
    lives: Array


NOBODY = Gone((), np.empty(0, np.int64))


def compose(
    table: Table,
    serving: Serving,
    rows: Array,
    entries: Array,
    swept_to: int,
    place: str,
    quiet: int,
    gone: Gone = NOBODY,
) -> Block:
    """Scores these rows as of `swept_to` and lays out their write with the entries (ENTRY) of landmarks they passed.

    place: `topic:partition` of their events; quiet: changes by events below this offset are not announced; gone: who is
    erased. A life that ended is scored too, for the changes that it made, and leaves nothing else.
    """
    opened(table, serving, np.unique(entries["row"]))
    over = _scored(table, serving, gone.lives, swept_to, place, quiet)[2] if len(gone.lives) else {}
    farewells = list(_farewells(table, gone, over, place, quiet))
    predicted, state, moves = _scored(table, serving, rows, swept_to, place, quiet)
    states, sizes = pack_rows(state)
    names = [table.names[row] for row in rows.tolist()]
    values = scores.texts(state, predicted, serving.segments, serving.model.offers, table.horizon, swept_to, place)
    return Block(
        names=names,
        fields=scores.FIELDS,
        values=values,
        common=serving.common(),
        states=states,
        sizes=sizes,
        segments=_by_cluster(predicted.cluster, names, values),
        entries=list(zip(entries["day"].tolist(), (table.names[r] for r in entries["row"].tolist()), strict=True)),
        packed=stored(entries),
        entry_size=EXAMPLE.itemsize,
        changes=[*farewells, *moves.values()],
        erased=[(each.customer_id, each.hashed, _when(each)) for each in gone.erasures],
    )


def opened(table: Table, serving: Serving, rows: Array) -> None:
    """Notes what is promised from the features with which these rows' examples opened."""
    if len(rows):
        promised = serving.model.predict_many(table.rows["raw"][rows])
        for column in ("demand", "high", "p_buy"):
            table.rows[f"open_{column}"][rows] = getattr(promised, column)
        table.rows["open_version"][rows] = serving.number


def _scored(
    table: Table, serving: Serving, rows: Array, swept_to: int, place: str, quiet: int
) -> tuple[Predictions, Array, dict[int, Change]]:
    """The predictions, noted in the rows; copies of these; the change of segment of each row that moved."""
    predicted = serving.model.predict_many(table.observe(rows, swept_to))
    before = table.rows["cluster"][rows]
    for column in ("cluster", "rfm", "demand", "value"):
        table.rows[column][rows] = getattr(predicted, column)
    table.rows["version"][rows] = serving.number
    state = table.rows.take(rows)  # `rows[...]` copies field by field, 15 times slower
    moved = np.flatnonzero(before != predicted.cluster)
    columns = (
        [table.names[row] for row in rows[moved].tolist()],
        [str(cluster) if cluster >= 0 else "" for cluster in before[moved].tolist()],
        map(str, predicted.cluster[moved].tolist()),
        scores.iso(scores.moment(state[moved], swept_to)),
        scores.sources(state[moved], place),
        (state["seen"][moved] > quiet).tolist(),
    )
    return predicted, state, dict(zip(rows[moved].tolist(), zip(*columns, strict=True), strict=True))


def _farewells(table: Table, gone: Gone, moves: dict[int, Change], place: str, quiet: int) -> Iterator[Change]:
    """Of each known customer who is erased: the last move of that life, then that it is erased."""
    for each in gone.erasures:
        if each.row >= 0:
            if each.row in moves:
                yield moves[each.row]
            cluster, at = str(table.rows["cluster"][each.row]), each.at * 1000
            when = scores.iso(np.array([at]))[0] if at >= 0 else ""
            yield each.customer_id, cluster, ERASED, when, f"{place}:{each.offset}", each.offset >= quiet


def _when(each: Erasure) -> str:
    """What is kept of a tombstone: its offset, and its time if it has one."""
    return f"{each.offset} {each.at}" if each.at >= 0 else str(each.offset)


def _by_cluster(clusters: Array, names: list[str], values: list[Any]) -> list[tuple[int, list[str | float]]]:
    """(cluster, [value, customer, ...]) as ZADD takes them."""
    sets: dict[int, list[str | float]] = {}
    for cluster, name, value in zip(clusters.tolist(), names, values, strict=True):
        sets.setdefault(cluster, []).extend((value[VALUE], name))
    return list(sets.items())
