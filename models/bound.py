"""An upper bound: what 9 of 10 like customers stay under.

By bins of the prediction a decayed histogram of label / prediction. Rule: the bound is the upper edge of the bucket
that holds the quantile, never inside it, for a fixed price is one point; and never below the prediction, which is a
mean and may exceed the quantile where most buy nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.ridge import DECAY

QUANTILE = 0.9
EDGES = (*np.linspace(0.05, 0.95, 19).tolist(), 0.975, 0.99)  # quantiles of the predictions between the bins
RATIOS = np.geomspace(0.02, 200, 48)  # upper edges of the buckets above 0

Floats = NDArray[np.float64]


class Upper:
    """edges: ascending, between the bins of the prediction, in its unit."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = np.array(edges, np.float64)
        self.counts = np.zeros((len(self.edges) + 1, 1 + len(RATIOS)))
        self.limits = self._read()

    @classmethod
    def create(cls, predictions: Floats) -> Self:
        """Bins by EDGES of these predictions, (n,); one bin of none."""
        return cls(np.unique(np.quantile(predictions, EDGES)).tolist() if len(predictions) else [])

    def predict_many(self, predictions: Floats) -> Floats:
        """(n,) bounds for (n,) predictions."""
        limit = self.limits[np.searchsorted(self.edges, predictions, side="right")]
        return np.maximum(predictions, predictions * limit)

    def learn_many(self, predictions: Floats, labels: Floats) -> None:
        """One day: forgets, then counts n labels by the predictions made for them; n may be 0."""
        self.counts *= DECAY
        bucket = 1 + np.minimum(np.searchsorted(RATIOS, labels / np.maximum(predictions, 1e-9)), len(RATIOS) - 1)
        bins = np.searchsorted(self.edges, predictions, side="right")
        np.add.at(self.counts, (bins, np.where(labels > 0, bucket, 0)), 1.0)
        self.limits = self._read()

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers."""
        return {"edges": self.edges.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The model that gave this snapshot, bit for bit; ValueError for another histogram."""
        new, counts = cls(state["edges"]), np.array(state["counts"], np.float64)
        if counts.shape != new.counts.shape:
            raise ValueError(f"bound: counts of {counts.shape}, not of {new.counts.shape}")
        new.counts = counts
        new.limits = new._read()
        return new

    def _read(self) -> Floats:
        """(bins,) the upper edge of the bucket with QUANTILE of each bin; with less than one label that of all."""
        counts = np.where(self.counts.sum(1, keepdims=True) >= 1, self.counts, self.counts.sum(0))
        share = np.cumsum(counts, 1) / np.maximum(counts.sum(1, keepdims=True), 1e-9)
        bucket = (share < QUANTILE - 1e-12).sum(1).clip(max=len(RATIOS))
        return np.where(counts.sum(1) > 0, np.concatenate([[0.0], RATIOS])[bucket], 0.0)
