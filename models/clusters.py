"""Clusters: river's KMeans on how customers stand under a frozen scaler, started from scikit-learn's centres.

Rules: an event only predicts; the model learns each customer once per landmark, in the order given. Centres are plain
dicts with integer names, so that neither a hash seed nor an unseen feature can matter. Clusters carry stable numbers,
ascending: ties go to the lower one. A number means one cluster for ever: it is never given a second time. A cluster has
a description and no name: it promises nothing about one member, as a segment does.
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
from models.features import Raw, standing_many, standing_one

RATE = 0.005


class Clusters:
    """k centres in scaled standing (`models.features.standing`).

    centres: (k, 3) in scaled units; mean, sd: (3,) of the frozen scaler (an sd of 0 counts as 1); gap: the shop's usual
    one, days; numbers: k stable ones, ascending; told: of each cluster what its members did, in words, and sizes: how
    many they were, when it was fitted; unused: above every number ever given (None: one more than the last of
    `numbers`). ValueError where these do not fit together.
    """

    def __init__(
        self,
        centres: ArrayLike,
        mean: ArrayLike,
        sd: ArrayLike,
        gap: float,
        numbers: Sequence[int],
        told: Sequence[str],
        sizes: Sequence[int],
        unused: int | None = None,
    ) -> None:
        start = np.asarray(centres, np.float64)
        self.mean, self.sd = np.asarray(mean, np.float64), np.asarray(sd, np.float64)
        self.sd = np.where(self.sd > 0, self.sd, 1.0)
        self.gap, self.numbers = float(gap), [int(c) for c in numbers]
        self.told, self.sizes = list(told), [int(n) for n in sizes]
        if start.shape != (len(self.numbers), 3) or self.mean.shape != (3,) or self.sd.shape != (3,):
            raise ValueError(f"clusters: centres must be ({len(self.numbers)}, 3), mean and sd (3,)")
        if not self.numbers or self.numbers != sorted(set(self.numbers)):
            raise ValueError("clusters: their numbers must be distinct and ascending")
        if not len(self.told) == len(self.sizes) == len(self.numbers):
            raise ValueError("clusters: each has a description and a size")
        self.unused = self.numbers[-1] + 1 if unused is None else unused
        if self.unused <= self.numbers[-1]:
            raise ValueError(f"clusters: {self.unused} cannot be unused, {self.numbers[-1]} is the last one")
        self.model: Any = cluster.KMeans(n_clusters=len(start), halflife=RATE)
        plain: Any = {c: dict(enumerate(row)) for c, row in zip(self.numbers, start.tolist(), strict=True)}
        self.model.centers = plain
        self._now: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None  # centres and numbers, until it learns

    @property
    def centres(self) -> NDArray[np.float64]:
        """(k, 3) in scaled units, in the order of `numbers`."""
        return np.array([[self.model.centers[c][j] for j in range(3)] for c in self.numbers])

    @classmethod
    def one(cls) -> Self:
        """Everybody in one cluster."""
        return cls(np.zeros((1, 3)), np.zeros(3), np.ones(3), 1.0, [0], ["everybody"], [0])

    def continuing(self, old: "Clusters") -> "Clusters":
        """These clusters under the numbers of the old ones that they continue; what is new gets one never given before.

        One-to-one assignment at least total squared distance in unscaled standing, for every fit has its own scaler.
        """
        ours, theirs = self.centres * self.sd + self.mean, old.centres * old.sd + old.mean
        kept = {
            i: old.numbers[j] for j, i in zip(*linear_sum_assignment(cdist(theirs, ours, "sqeuclidean")), strict=True)
        }
        fresh = itertools.count(old.unused)
        return self._numbered([kept[i] if i in kept else next(fresh) for i in range(len(ours))], next(fresh))

    def after(self, unused: int) -> "Clusters":
        """These clusters under numbers from `unused` on: those before meant something else."""
        ours = len(self.numbers)
        return self._numbered([*range(unused, unused + ours)], unused + ours)

    def _numbered(self, numbers: Sequence[int], unused: int) -> "Clusters":
        """numbers: of the clusters as they stand."""
        order = np.argsort(numbers)
        ascending, told, sizes = ([of[i] for i in order] for of in (numbers, self.told, self.sizes))
        return Clusters(self.centres[order], self.mean, self.sd, self.gap, ascending, told, sizes, unused)

    def predict_many(self, raw: NDArray[np.void]) -> NDArray[np.int64]:
        """(n,) stable numbers of the nearest centres, for (n,) of RAW."""
        out = np.empty(len(raw), np.int64)
        if self._now is None:
            self._now = self.centres, np.array(self.numbers)
        _nearest(standing_many(raw, self.gap), self.mean, self.sd, *self._now, out)
        return out

    def learn_many(self, raw: NDArray[np.void]) -> None:
        """Shows the model these customers one by one, in this order."""
        self._now = None
        for each in raw.tolist():
            self.model.learn_one(self._scaled(each))

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers and names."""
        parts = {"centres": self.centres, "mean": self.mean, "sd": self.sd}
        return {name: part.tolist() for name, part in parts.items()} | {
            "gap": self.gap,
            "numbers": list(self.numbers),
            "told": list(self.told),
            "sizes": list(self.sizes),
            "unused": self.unused,
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The model that gave this snapshot, bit for bit."""
        names = ("centres", "mean", "sd", "gap", "numbers", "told", "sizes", "unused")
        return cls(**{name: state[name] for name in names})

    def _scaled(self, raw: Raw) -> dict[int, float]:
        pairs = zip(standing_one(raw, self.gap), self.mean.tolist(), self.sd.tolist(), strict=True)
        return {j: (x - mean) / sd for j, (x, mean, sd) in enumerate(pairs)}


@njit
def _nearest(x: Any, mean: Any, sd: Any, centres: Any, numbers: Any, out: Any) -> None:
    for i in range(len(x)):
        best, least = 0, np.inf
        for k in range(len(centres)):
            distance = 0.0
            for j in range(3):
                distance += ((x[i, j] - mean[j]) / sd[j] - centres[k, j]) ** 2
            if distance < least:
                best, least = k, distance
        out[i] = numbers[best]
