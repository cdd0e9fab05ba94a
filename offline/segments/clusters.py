"""Who is in which cluster, whichever method found it: labels by size, distance to the centre, silhouette.

Rules: cluster 0 is the largest, unless they have numbers already; -1 is an outlier and in no cluster; silhouettes stand
on a seeded sample of at most 10,000 customers in clusters, NaN elsewhere. Seeded and single-threaded: a second run
gives the same bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_argmin, silhouette_samples
from threadpoolctl import threadpool_limits

from offline.segments.kmeans import draw

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLE = 10_000
OUTLIER = -1


@dataclass(frozen=True, eq=False)
class Clusters:
    """labels: (n,), OUTLIER or 0..k-1; distance: (n,) Euclidean to the own centre in the space of the features, NaN for
    outliers; silhouette: (n,) in -1..1, NaN where not sampled; sampled: on how many it stands.
    """

    labels: Ints
    distance: Floats
    silhouette: Floats
    sampled: int


def nearest(rows: Floats, centres: Floats, seed: int = 0, outside: NDArray[np.bool_] | None = None) -> Clusters:
    """Everybody in the cluster of the nearest centre, but the outliers. rows: (n, features); centres: (k, features);
    outside: (n,), who is an outlier."""
    with threadpool_limits(limits=1):
        labels = pairwise_distances_argmin(rows, centres)
    labels[np.zeros(len(rows), np.bool_) if outside is None else outside] = OUTLIER
    return clusters(rows, labels, centres, seed)


def around_means(rows: Floats, labels: Ints, seed: int = 0) -> Clusters:
    """Clusters that come without centres: theirs are the means. labels: (n,), OUTLIER or 0..k-1, none of them empty."""
    means = [rows[labels == label].mean(axis=0) for label in range(labels.max() + 1)]
    return clusters(rows, labels, np.array(means).reshape(-1, rows.shape[1]), seed)


def clusters(rows: Floats, labels: Ints, centres: Floats, seed: int, ranked: bool = True) -> Clusters:
    """Those with these labels (n,); ranked: numbered by size, else as they are."""
    inside = np.flatnonzero(labels != OUTLIER)
    sizes = np.bincount(labels[inside], minlength=len(centres))
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    distance, silhouette = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    distance[inside] = np.linalg.norm(rows[inside] - centres[labels[inside]], axis=1)
    sample = inside[draw(np.random.default_rng(seed), len(inside), SAMPLE)]
    if 1 < len(np.unique(labels[sample])) < len(sample):  # of one cluster, or of singles, it is not defined
        with threadpool_limits(limits=1):
            silhouette[sample] = silhouette_samples(rows[sample], labels[sample])
    ordered = labels.astype(np.int64)
    if ranked:
        ordered[inside] = rank[labels[inside]]
    return Clusters(ordered, distance, silhouette, int(np.isfinite(silhouette).sum()))
