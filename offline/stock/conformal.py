"""An upper bound for predictions: what `SHARE` of like things stayed under, calibrated on held-out ones.

Split conformal prediction (Lei et al., JASA 113, 2018): the bound is p + q sqrt(p + 1), where q is a quantile of the
held-out (y - p) / sqrt(p + 1), for the spread of counts grows with the root of their mean. Each bin of the prediction
has its own q (Mondrian: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, 4.5). The share holds
for exchangeable data; time is not, so it has to be measured on later data. Rule: no bound is below its prediction.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHARE = 0.9
BINS, PER_BIN = 10, 100  # at most so many bins, and at least so many predictions in each


@dataclass(frozen=True, eq=False)
class Bound:
    """edges: ascending inner edges of the bins of the prediction; quantiles (bins,): q of each bin, at least 0."""

    edges: Floats
    quantiles: Floats

    @classmethod
    def of(cls, predicted: Floats, actual: Floats) -> "Bound":
        """Calibrated on predictions (n,), n >= 1 and at least 0, and what came of them (n,), in one unit.

        >>> bound = Bound.of(np.full(9, 8.0), np.array([2.0, 4, 6, 8, 8, 10, 11, 12, 14]))
        >>> bound.predict(np.array([8.0, 0.0])).tolist()
        [14.0, 2.0]
        """
        bins = max(1, min(BINS, len(predicted) // PER_BIN))
        edges = np.unique(np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1]))
        at, scores = np.searchsorted(edges, predicted, side="right"), (actual - predicted) / np.sqrt(predicted + 1)
        return cls(
            edges, np.array([_quantile(scores[at == i] if (at == i).any() else scores) for i in range(len(edges) + 1)])
        )

    def predict(self, predicted: Floats) -> Floats:
        """(n,) bounds for (n,) predictions."""
        at = np.searchsorted(self.edges, predicted, side="right")
        bound: Floats = predicted + self.quantiles[at] * np.sqrt(predicted + 1)
        return bound


def _quantile(scores: Floats) -> float:
    """The least score that SHARE of n + 1 stay under, of which one is to come; at least 0."""
    rank = min(math.ceil(SHARE * (len(scores) + 1)), len(scores))
    return max(0.0, float(np.sort(scores)[rank - 1]))
