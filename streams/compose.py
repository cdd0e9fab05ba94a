"""Where a prediction becomes what is served: some customers' scores, states, examples and changes as one Block.

The rule: what is laid out is noted in the rows, so that rows and Redis agree; nothing else of the caller's is changed.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from models import scores
from models.customers import Table
from models.rows import EXAMPLE, stored
from streams.serving import Serving
from streams.store import Block

Array = npt.NDArray[Any]
SOURCE, VALUE = scores.FIELDS.index("source"), scores.FIELDS.index("customer_value")


def compose(
    table: Table, serving: Serving, rows: Array, entries: Array, swept_to: int, place: str, quiet: int
) -> Block:
    """Scores these rows as of `swept_to` and lays out their write with the entries (ENTRY) of landmarks they passed.

    place: `topic:partition` of their events; quiet: changes of segment by events below this offset are not announced.
    """
    names = [table.names[row] for row in rows.tolist()]
    predicted = serving.model.predict_many(table.observe(rows, swept_to))
    before = table.rows["cluster"][rows]
    for column in ("cluster", "rfm", "demand"):
        table.rows[column][rows] = getattr(predicted, column)
    table.rows["version"][rows] = serving.number
    opened(table, serving, np.unique(entries["row"]))
    state = table.rows.take(rows)  # `rows[...]` copies field by field, 15 times slower
    offers = serving.model.offers
    values = scores.texts(state, predicted, serving.segments, offers, table.horizon, swept_to, place)
    keys = list(zip(entries["day"].tolist(), (table.names[row] for row in entries["row"].tolist()), strict=True))
    moved = np.flatnonzero(before != predicted.cluster)
    at = scores.iso(scores.moment(state[moved], swept_to))
    announced = (state["seen"] > quiet).tolist()
    return Block(
        names=names,
        fields=scores.FIELDS,
        values=values,
        common=serving.common(),
        states=state.tobytes(),
        size=state.itemsize,
        segments=_by_cluster(predicted.cluster, names, values),
        entries=keys,
        packed=stored(entries),
        entry_size=EXAMPLE.itemsize,
        changes=[
            (
                names[i],
                str(before[i]) if before[i] >= 0 else "",
                str(predicted.cluster[i]),
                t,
                values[i][SOURCE],
                announced[i],
            )
            for i, t in zip(moved.tolist(), at, strict=True)
        ],
    )


def opened(table: Table, serving: Serving, rows: Array) -> None:
    """Notes the prediction from the features with which these rows' examples opened."""
    if len(rows):
        table.rows["open_demand"][rows] = serving.model.predict_many(table.rows["raw"][rows]).demand
        table.rows["open_version"][rows] = serving.number


def _by_cluster(clusters: Array, names: list[str], values: list[Any]) -> list[tuple[int, list[str | float]]]:
    """(cluster, [value, customer, ...]) as ZADD takes them."""
    sets: dict[int, list[str | float]] = {}
    for cluster, name, value in zip(clusters.tolist(), names, values, strict=True):
        sets.setdefault(cluster, []).extend((value[VALUE], name))
    return list(sets.items())
