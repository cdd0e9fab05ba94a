"""What this process last wrote of each customer's hash, so that only what changed is written again.

The rule: nothing is known at first, and whatever is not known to stand in Redis is written whole. What texts are made
of is compared, not the texts: amounts as they are rounded, and one so near to the middle of two that its text could be
either is written each time.
"""

import itertools
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from models import scores

Array = npt.NDArray[Any]
# Fields that are written together, for they change together; those of COMMON are not among them.
GROUPS = (
    ("segment", "segment_id", "previous_segment", "segment_since"),
    ("cluster",), ("rfm",), ("last_event_at", "source"), ("expected_next_order_at",), ("next_offers",),
    ("orders", "spend", "average_order_value", "first_purchase_at", "last_purchase_at", "mean_days_between_orders"),
    ("total_value",), ("predicted_demand",), ("predicted_demand_high",), ("predicted_orders",), ("p_buy",),
    ("customer_value",),
)  # fmt: skip
ALWAYS = ("scored_at", "model_version")
ALL = (1 << len(GROUPS)) - 1  # of the bits that say which groups are written
AMOUNTS = {"demand": 100, "high": 100, "orders": 10_000, "p_buy": 10_000, "value": 100}  # steps of a unit in the text
NEXT, OFFERS = scores.FIELDS.index("expected_next_order_at"), scores.FIELDS.index("next_offers")
MARKS = 12  # columns of `_marks`: of GROUPS the first ones, then what the others are made of, then the publish
SOURCE, BOUGHT, AT = 3, slice(6, 10), 10
_POWERS = 1 << np.arange(len(GROUPS))

assert {*itertools.chain(*GROUPS)} == {*scores.FIELDS} - {*scores.COMMON}


class Told:
    """By row of a Table: whose state stands in Redis, and what the texts of the hash were made of."""

    def __init__(self) -> None:
        self._held = np.zeros(1024, bool)
        self._marks = np.zeros((1024, MARKS), np.int64)  # the last one: the publish that the hash was written whole in
        self._amounts = np.full((1024, len(AMOUNTS)), np.nan)

    def load(self, customers: int) -> None:
        """The states of the first rows, so many, stand in Redis; nothing is known of their hashes."""
        self._grow(customers)
        self._held[:customers] = True

    def holds(self, row: int) -> bool:
        """Whether its state stands in Redis."""
        return row < len(self._held) and bool(self._held[row])

    def missing(self, rows: Array) -> int:
        """How many states of these do not."""
        self._grow(int(rows.max(initial=-1)) + 1)
        return int((~self._held[rows]).sum())

    def forget(self, rows: Sequence[int] | Array, held: bool = False) -> None:
        """Nothing is known of these any more; held: but whether their states stand there."""
        self._grow(int(np.max(rows, initial=-1)) + 1)
        self._marks[rows, -1] = 0
        if not held:
            self._held[rows] = False

    def news(
        self, rows: Array, state: Array, predicted: Any, values: Sequence[Sequence[str]], publish: int
    ) -> list[int]:
        """Which groups of fields are to be written of each row, as bits; from here on they are.

        state (n,) of ROW, predicted: columns (n,) of a model's predictions, values: what scores.texts made of both;
        publish: the number of the one that scores, from 1 on.
        """
        self._grow(int(rows.max(initial=-1)) + 1)
        marks, amounts = _marks(state, predicted, values, publish), _amounts(predicted)
        other, moved = marks != self._marks[rows], amounts != self._amounts[rows]
        other[:, SOURCE] |= other[:, AT]
        bought = other[:, BOUGHT].any(1)
        changed = np.column_stack([other[:, : BOUGHT.start], bought, bought | moved[:, -1], moved])
        changed[other[:, -1]] = True
        self._marks[rows], self._amounts[rows], self._held[rows] = marks, amounts, True
        found: list[int] = (changed @ _POWERS).tolist()
        return found

    def _grow(self, size: int) -> None:
        """Room for so many rows."""
        if size > len(self._held):
            more = max(size, len(self._held) * 3 // 2) - len(self._held)
            self._held = np.concatenate([self._held, np.zeros(more, bool)])
            self._marks = np.concatenate([self._marks, np.zeros((more, MARKS), np.int64)])
            self._amounts = np.concatenate([self._amounts, np.full((more, len(AMOUNTS)), np.nan)])


def _marks(state: Array, predicted: Any, values: Sequence[Sequence[str]], publish: int) -> Array:
    """int64 (n, MARKS): what all texts but those of amounts are made of."""
    who = predicted.segment.astype(np.int64) + (state["segment_before"].astype(np.int64) << 8)
    return np.column_stack(
        [
            who + (state["segment_since"].astype(np.int64) << 16),
            *(predicted.cluster, predicted.rfm, state["seen"]),
            *(np.fromiter((hash(texts[place]) for texts in values), np.int64, len(values)) for place in (NEXT, OFFERS)),
            *(state[name] for name in ("orders", "spend", "first", "last", "at")),
            np.full(len(state), publish),
        ]
    )


def _amounts(predicted: Any) -> Array:
    """float64 (n, AMOUNTS) in steps of the text; NaN, which nothing equals, where it is not sure which one it is.

    >>> from types import SimpleNamespace
    >>> _amounts(SimpleNamespace(**{name: np.array([1.234, 0.125, 1.005]) for name in AMOUNTS}))[:, 0].tolist()
    [123.0, nan, nan]
    """
    scaled = np.column_stack([getattr(predicted, name).astype(np.float64) * by for name, by in AMOUNTS.items()])
    steps = np.rint(scaled)
    unsure = (np.abs(np.abs(scaled - steps) - 0.5) < 1e-3) | ~(np.abs(scaled) < 1e12)
    steps[unsure] = np.nan
    found: Array = steps
    return found


def bits_of(*names: str) -> int:
    """Those of the groups that have a field of one of these names.

    >>> bits_of("segment", "rfm")
    5
    """
    return sum(1 << i for i, group in enumerate(GROUPS) if {*group} & {*names})


def fields(bits: int, texts: Sequence[str]) -> list[str]:
    """Name and text in turn of the fields in these groups; texts: of all FIELDS. With ALL of them all of COMMON too.

    >>> fields(1 << 2, scores.FIELDS)
    ['rfm', 'rfm', 'scored_at', 'scored_at', 'model_version', 'model_version']
    """
    if bits == ALL:
        pairs = zip(scores.FIELDS, texts, strict=True)
    else:
        names, pick = _pick(bits)
        pairs = zip(names, pick(texts), strict=True)
    return list(itertools.chain.from_iterable(pairs))


@cache
def _pick(bits: int) -> tuple[Sequence[str], Callable[[Sequence[str]], Sequence[str]]]:
    """The names of the fields, and what picks their texts."""
    told = [name for i, group in enumerate(GROUPS) if bits >> i & 1 for name in group]
    names = [*told, *ALWAYS]
    return names, itemgetter(*map(scores.FIELDS.index, names))
