"""RFM scores: recency, frequency and monetary value, each by the fifth of all customers it falls into.

1 is the lowest fifth, 5 the best. The edges between the fifths are those of the customers at the fit and stay as they
are until the next one, so a score moves only with its customer. A value on an edge belongs to the fifth below it: where
half of all customers have one order, these all score 1, and nobody scores 2. Source: Hughes, Strategic Database
Marketing, 1994.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

FIFTHS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Quintiles:
    """Four ascending edges each: recency in days since the last purchase, orders, net spend in 1/10,000 major unit.

    Without edges everybody scores as if above nothing: 5-1-1.
    """

    recency: tuple[int, ...] = ()
    orders: tuple[int, ...] = ()
    spend: tuple[int, ...] = ()

    @classmethod
    def fit(cls, raw: NDArray[np.void]) -> Self:
        """The edges among these customers, (n,) of RAW, n >= 1; each edge is a value of one of them."""
        quantiles = (np.quantile(raw[f.name], FIFTHS, method="inverted_cdf") for f in fields(cls))
        return cls(*(tuple(edges.tolist()) for edges in quantiles))

    def predict_many(self, raw: NDArray[np.void]) -> NDArray[np.int64]:
        """(n,) of RAW in, the three scores as the digits of one number each.

        >>> raw = np.array([(9, 4, 1_200_000)], [("recency", "i4"), ("orders", "i4"), ("spend", "i8")])
        >>> Quintiles((7, 30, 90, 365), (1, 1, 2, 4), (100_000, 250_000, 600_000, 2_000_000)).predict_many(raw)
        array([444])
        """
        recency, orders, spend = (np.searchsorted(edges, raw[name]) for name, edges in self._edges)
        scores: NDArray[np.int64] = 100 * (5 - recency) + 10 * (1 + orders) + 1 + spend
        return scores

    @cached_property
    def _edges(self) -> list[tuple[str, NDArray[np.int64]]]:
        return [(f.name, np.array(getattr(self, f.name), np.int64)) for f in fields(self)]

    def snapshot(self) -> dict[str, list[int]]:
        """The edges as plain lists."""
        return {f.name: list(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def restore(cls, state: Mapping[str, Sequence[int]]) -> Self:
        """The scores that gave this snapshot."""
        return cls(**{f.name: tuple(state[f.name]) for f in fields(cls)})
