"""DBSCAN (Ester, Kriegel, Sander & Xu 1996): clusters are dense, of any shape, and who is in none is an outlier.

min_samples is by default twice the number of features (Sander et al. 1998, section 4.2), at least 4. eps is by default
the knee of the k-distance curve (Ester et al., section 4.2), found as the point farthest below the chord from its
least to its largest distance (Satopaa et al. 2011, Kneedle, without smoothing). Beyond 10,000 customers a seeded sample
is clustered; any other joins the cluster of the nearest core customer within eps, else it is an outlier.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from offline.segments.clusters import OUTLIER, SAMPLE, Floats, Ints
from offline.segments.kmeans import SegmentError, draw


@dataclass(frozen=True, eq=False)
class Density:
    """labels: (n,), OUTLIER or 0..k-1 in the order of discovery; how eps and min_samples came about, in words.

    curve: ascending k-distances above 0 of the customers it stands on; empty where eps was asked for.
    """

    labels: Ints
    eps: float
    min_samples: int
    reason: str
    curve: Floats


def knee(curve: ArrayLike) -> int:
    """Index of the point of an ascending curve that lies farthest below the chord, both axes scaled to 0..1.

    curve: (n,), n >= 1; 0 where it is flat.

    >>> knee([1.0, 1.1, 1.2, 1.3, 5.0, 9.0])
    3
    """
    y = np.asarray(curve, np.float64)
    span = y[-1] - y[0]
    if span <= 0:
        return 0
    return int(np.argmax(np.linspace(0, 1, len(y)) - (y - y[0]) / span))


def dbscan(rows: Floats, eps: float | None = None, min_samples: int | None = None, seed: int = 0) -> Density:
    """Clusters of scaled rows (n, features). min_samples counts the customer itself. SegmentError where eps cannot be.

    eps: Euclidean, above 0.
    """
    least = min_samples or max(4, 2 * rows.shape[1])
    sample = draw(np.random.default_rng(seed), len(rows), SAMPLE)
    if len(sample) <= least:
        raise SegmentError(f"cannot segment: {len(sample)} customers; more than min_samples = {least} are needed")
    with threadpool_limits(limits=1):
        chosen, reason, curve = (eps, "was asked for", np.empty(0)) if eps is not None else _eps(rows[sample], least)
        fit = DBSCAN(eps=chosen, min_samples=least).fit(rows[sample])
        labels = _joined(rows, sample, fit, chosen)
    words = f"eps = {chosen:.4g} {reason}; min_samples = {least}" + (
        "" if min_samples else f" (twice the {rows.shape[1]} features, at least 4)"
    )
    if len(sample) < len(rows):
        words += (
            f"\nclustered: {len(sample):,} of {len(rows):,} customers (seed {seed}); of the others those within eps "
            f"of a core customer joined its cluster"
        )
    return Density(labels, chosen, least, words, curve)


def _eps(rows: Floats, least: int) -> tuple[float, str, Floats]:
    neighbours = NearestNeighbors(n_neighbors=least - 1).fit(rows)
    curve = np.sort(neighbours.kneighbors()[0][:, -1])
    curve = curve[curve > 0]  # of many equal customers the curve is 0, and its knee where they end
    if not len(curve):
        raise SegmentError(f"cannot choose eps: each customer equals {least - 1} others or more; say --eps 0.5")
    at = knee(curve)
    words = f"is the knee of the {least - 1}-distance curve ({(at + 1) / len(curve):.0%} lie below)"
    return float(curve[at]), words, curve


def _joined(rows: Floats, sample: Ints, fit: DBSCAN, eps: float) -> Ints:
    """Labels of all rows, from those of the sample."""
    labels = np.full(len(rows), OUTLIER)
    labels[sample] = fit.labels_
    others = np.setdiff1d(np.arange(len(rows)), sample)
    if len(others) and len(fit.core_sample_indices_):
        core = sample[fit.core_sample_indices_]
        distance, at = (each[:, 0] for each in NearestNeighbors(n_neighbors=1).fit(rows[core]).kneighbors(rows[others]))
        labels[others] = np.where(distance <= eps, labels[core[at]], OUTLIER)
    return labels
