"""Segments: river's KMeans on log-RFM under a frozen scaler, started from scikit-learn's centres.

Rules: an event only predicts; the model learns each customer once per landmark, in the order given. Centres are plain
dicts with integer names, so that neither a hash seed nor an unseen feature can matter. Clusters carry stable numbers,
ascending: ties go to the lower one. A number means one segment for ever: it is never given a second time.
Why a rate of 0.005 (river calls it `halflife`): inertia within 1.01 of a batch refit; river's default 0.5 gives 1.34.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from river import cluster
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from models.compiled import njit
from models.features import Raw, log_rfm_many, log_rfm_one

RATE = 0.005


class Segments:
    """k centres in scaled log-RFM.

    centres: (k, 3) in scaled units; mean, sd: (3,) of the frozen scaler (an sd of 0 counts as 1);
    clusters: k stable numbers, ascending; names: k business names; unused: above every number ever given (None: one
    more than the last of `clusters`). ValueError where these do not fit together.
    """

    def __init__(
        self,
        centres: ArrayLike,
        mean: ArrayLike,
        sd: ArrayLike,
        clusters: Sequence[int],
        names: Sequence[str],
        unused: int | None = None,
    ) -> None:
        start = np.asarray(centres, np.float64)
        self.mean, self.sd = np.asarray(mean, np.float64), np.asarray(sd, np.float64)
        self.sd = np.where(self.sd > 0, self.sd, 1.0)
        self.clusters, self.names = [int(c) for c in clusters], list(names)
        if start.shape != (len(self.clusters), 3) or self.mean.shape != (3,) or self.sd.shape != (3,):
            raise ValueError(f"segments: centres must be ({len(self.clusters)}, 3), mean and sd (3,)")
        if not self.clusters or self.clusters != sorted(set(self.clusters)) or len(self.names) != len(self.clusters):
            raise ValueError("segments: clusters must be distinct ascending numbers, with one name each")
        self.unused = self.clusters[-1] + 1 if unused is None else unused
        if self.unused <= self.clusters[-1]:
            raise ValueError(f"segments: {self.unused} cannot be unused, {self.clusters[-1]} is the last cluster")
        self.model: Any = cluster.KMeans(n_clusters=len(start), halflife=RATE)
        plain: Any = {c: dict(enumerate(row)) for c, row in zip(self.clusters, start.tolist(), strict=True)}
        self.model.centers = plain

    @property
    def centres(self) -> NDArray[np.float64]:
        """(k, 3) in scaled units, in the order of `clusters`."""
        return np.array([[self.model.centers[c][j] for j in range(3)] for c in self.clusters])

    def name(self, number: int) -> str:
        """The business name of a cluster."""
        return self.names[self.clusters.index(number)]

    def continuing(self, old: "Segments") -> "Segments":
        """These segments under the numbers of the old ones that they continue; what is new gets one never given before.

        One-to-one assignment at least total squared distance in unscaled log-RFM, for every fit has its own scaler.
        """
        ours, theirs = self.centres * self.sd + self.mean, old.centres * old.sd + old.mean
        kept = {
            i: old.clusters[j] for j, i in zip(*linear_sum_assignment(cdist(theirs, ours, "sqeuclidean")), strict=True)
        }
        fresh = itertools.count(old.unused)
        numbers = [kept[i] if i in kept else next(fresh) for i in range(len(ours))]
        order = np.argsort(numbers)
        names = [self.names[i] for i in order]
        ascending, unused = [numbers[i] for i in order], next(fresh)
        return Segments(self.centres[order], self.mean, self.sd, ascending, names, unused)

    def predict_many(self, raw: NDArray[np.void]) -> NDArray[np.int64]:
        """(n,) stable numbers of the nearest centres, for (n,) of RAW."""
        out = np.empty(len(raw), np.int64)
        _nearest(log_rfm_many(raw), self.mean, self.sd, self.centres, np.array(self.clusters), out)
        return out

    def learn_many(self, raw: NDArray[np.void]) -> None:
        """Shows the model these customers one by one, in this order."""
        for each in raw.tolist():
            self.model.learn_one(self._scaled(each))

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers and names."""
        parts = {"centres": self.centres, "mean": self.mean, "sd": self.sd}
        return {name: part.tolist() for name, part in parts.items()} | {
            "clusters": list(self.clusters),
            "names": list(self.names),
            "unused": self.unused,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The model that gave this snapshot, bit for bit."""
        return cls(**{name: state[name] for name in ("centres", "mean", "sd", "clusters", "names", "unused")})

    def _scaled(self, raw: Raw) -> dict[int, float]:
        pairs = zip(log_rfm_one(raw), self.mean.tolist(), self.sd.tolist(), strict=True)
        return {j: (x - mean) / sd for j, (x, mean, sd) in enumerate(pairs)}


@njit
def _nearest(x: Any, mean: Any, sd: Any, centres: Any, clusters: Any, out: Any) -> None:
    for i in range(len(x)):
        best, least = 0, np.inf
        for k in range(len(centres)):
            distance = 0.0
            for j in range(3):
                distance += ((x[i, j] - mean[j]) / sd[j] - centres[k, j]) ** 2
            if distance < least:
                best, least = k, distance
        out[i] = clusters[best]
