"""How many clusters (`choose_k`, for scaled columns of any number), and who is in none (`outliers`).

k is chosen by a rule that is printed with every figure it used: no cluster smaller than 3 % (nobody runs a campaign for
fewer) or 5 customers, stable when they are drawn anew (median ARI of 20 bootstrap resamples >= 0.85), then silhouette,
where ties within 0.03 go to the larger k. Calinski-Harabasz, Davies-Bouldin and inertia are shown beside and decide
nothing.
Where none passes, still no k with a cluster of fewer than 1 % or 5 customers is chosen while another is there.
Seeded and single-threaded (threads add up in any order): a second run gives the same bits.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, davies_bouldin_score, silhouette_score
from threadpoolctl import threadpool_limits

from offline.errors import OfflineError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KS = range(3, 9)
SMALLEST, STABLE, TIE = 0.03, 0.85, 0.03
FEWEST, LEAST = 0.01, 5  # share and number of customers, the larger of which is the least that is called a cluster
OUTLYING = 0.05  # share of the customers beyond which those in tiny clusters are no outliers, but how things are
RESAMPLES, RESAMPLE_ROWS = 20, 10_000
# The mean silhouette of 5,000 customers has a standard error near 0.004, a seventh of the tie margin, at a quarter of
# the time of 10,000.
SILHOUETTE_ROWS = 5_000
# Of a million customers k-means takes seconds a k, and mini-batch k-means ends with up to 7 % more inertia.
MANY, BATCH = 2_000_000, 1 << 16


class SegmentError(OfflineError):
    """Customers who cannot be segmented; one line for the user."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The chosen k, its centres (shape (k, columns), scaled as the input was), figures and reasons.

    centres: highest in the last column first. table: one row per k tried (index `k`): smallest
    (share of the customers), ari, silhouette, calinski_harabasz, davies_bouldin, inertia, passes. reason: which rule
    decided. samples: on how many customers the figures stand; without figures there is neither.
    """

    k: int
    centres: Floats
    table: pd.DataFrame
    reason: str
    samples: str

    def __str__(self) -> str:
        told = [] if self.table.empty else [self.table.round(3).to_string(), self.samples]
        return "\n".join([*told, self.reason])


def choose_k(
    z: ArrayLike, seed: int = 0, clusters: int | None = None, progress: Callable[[str], object] = len
) -> Choice:
    """k of 3..8 (fewer where there are not more than k different customers) for scaled features.

    z: shape (n, columns), finite, already scaled; n at least a few dozen to mean anything. clusters: this k alone is
    fitted and judged, at least 2. progress: called with what is being fitted. ValueError if z has another shape or is
    not finite, SegmentError if it holds too few different rows.
    """
    rows = np.ascontiguousarray(z, np.float64)
    if rows.ndim != 2 or not rows.shape[1] or not np.isfinite(rows).all():
        raise ValueError(f"features must be a finite matrix of at least one column, not of shape {rows.shape}")
    different, tried = len(np.unique(rows, axis=0)), [*KS] if clusters is None else [clusters]
    if different <= tried[0]:
        raise SegmentError(
            f"cannot segment: different customers by the features: {different};"
            f" at least {tried[0] + 1} are needed for {tried[0]} clusters"
        )
    sample = draw(np.random.default_rng(seed), len(rows), SILHOUETTE_ROWS)
    fits, figures = {}, []
    with threadpool_limits(limits=1):
        for k in (k for k in tried if k < different):
            progress(f"k = {k}")
            fits[k] = _fit(rows, k, seed)
            figures.append(_judge(rows, k, fits[k], sample, seed))
    table = pd.DataFrame(figures).set_index("k")
    if clusters is None:
        k, reason = decide(table, floor(len(rows)))
    else:
        k, reason = clusters, asked(clusters, round(float(table["smallest"].iloc[0]) * len(rows)), len(rows))
    centres = fits[k].cluster_centers_
    samples = (
        f"of {len(rows):,} customers: silhouette on {len(sample):,} (seed {seed}), "
        f"ARI over all after {RESAMPLES} fits on {min(len(rows), RESAMPLE_ROWS):,} drawn with replacement"
    ) + (f"; mini-batch k-means, for they are more than {MANY:,}" if len(rows) > MANY else "")
    return Choice(k, centres[np.lexsort(centres.T)[::-1]], table, reason, samples)


def floor(customers: int) -> float:
    """The least share of so many customers that is called a cluster."""
    return max(FEWEST, LEAST / customers)


def asked(k: int, smallest: int, customers: int, when: str = "") -> str:
    """The reason of a k that was asked for, with a warning where its smallest cluster is none. when: of these sizes.

    >>> asked(3, 5, 20), asked(3, 0, 20, " at the cut-off")
    ('k = 3 was asked for', 'k = 3 was asked for; WARNING: its smallest cluster has 0 customers at the cut-off')
    """
    few = f"; WARNING: its smallest cluster has {smallest:,} customers{when}"
    return f"k = {k} was asked for{few if smallest < floor(customers) * customers else ''}"


def outliers(z: ArrayLike, seed: int = 0) -> NDArray[np.bool_]:
    """Who stands so far out, alone or with a few, that every k of KS would give them a cluster of their own: (n,).

    While every k leaves a cluster smaller than `floor`, those in such of the smallest k are set aside, and the others
    are clustered again. Nobody is an outlier where that would take more than OUTLYING of them.
    """
    rows = np.ascontiguousarray(z, np.float64)
    inside = np.arange(len(rows))
    while len(inside) >= (1 - OUTLYING) * len(rows):
        tiny = _tiny(rows[inside], floor(len(rows)) * len(rows), seed)
        if not tiny.any():
            return ~np.isin(np.arange(len(rows)), inside)
        inside = inside[~tiny]
    return np.zeros(len(rows), np.bool_)


def _tiny(rows: Floats, least: float, seed: int) -> NDArray[np.bool_]:
    """Who is in a cluster of fewer than `least` of the smallest k; nobody where some k has none."""
    first = np.zeros(len(rows), np.bool_)
    different = len(np.unique(rows, axis=0))
    with threadpool_limits(limits=1):
        for k in (k for k in KS if k < different):
            labels = _fit(rows, k, seed).labels_
            sizes = np.bincount(labels, minlength=k)
            if sizes.min() >= least:
                return np.zeros(len(rows), np.bool_)
            first = first if first.any() else sizes[labels] < least
    return first


def draw(rng: np.random.Generator, n: int, most: int) -> Ints:
    """The rows of a sample, ascending: all of n, or `most` drawn without replacement."""
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def _fit(rows: Floats, k: int, seed: int) -> KMeans | MiniBatchKMeans:
    if len(rows) > MANY:
        return MiniBatchKMeans(n_clusters=k, n_init=10, batch_size=BATCH, random_state=seed).fit(rows)
    return KMeans(n_clusters=k, n_init=10, random_state=seed).fit(rows)


def _judge(rows: Floats, k: int, fit: KMeans | MiniBatchKMeans, sample: Ints, seed: int) -> dict[str, float]:
    labels = fit.labels_
    smallest = float(np.bincount(labels, minlength=k).min() / len(rows))
    ari = _stability(rows, k, labels, seed)
    several = len(np.unique(labels[sample])) > 1
    silhouette = float(silhouette_score(rows[sample], labels[sample])) if several else -1.0
    return {
        "k": k,
        "smallest": smallest,
        "ari": ari,
        "silhouette": silhouette,
        "calinski_harabasz": float(calinski_harabasz_score(rows, labels)),
        "davies_bouldin": float(davies_bouldin_score(rows, labels)),
        "inertia": float(fit.inertia_),
        "passes": smallest >= max(SMALLEST, floor(len(rows))) and ari >= STABLE,
    }


def _stability(rows: Floats, k: int, labels: Ints, seed: int) -> float:
    """Median ARI with `labels` over the resamples.

    Each is fitted like the base (10 k-means++ starts): started at the base's centres, it would only tell whether they
    are a local optimum. Resamples of 10,000 of more customers scatter more: the bar gets higher, not lower.
    """
    rng = np.random.default_rng([seed, k])
    scores = []
    for _ in range(RESAMPLES):
        drawn = rows[rng.integers(0, len(rows), min(len(rows), RESAMPLE_ROWS))]
        with warnings.catch_warnings():
            # a resample of a tiny shop may hold fewer different customers than k; its ARI says so
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit = _fit(drawn, k, int(rng.integers(2**31)))
        scores.append(adjusted_rand_score(labels, fit.predict(rows)))
    return float(np.median(scores))


def decide(table: pd.DataFrame, least: float = FEWEST) -> tuple[int, str]:
    """(k, reason) from a table with index k and columns smallest, ari, silhouette, passes. least: share of the smallest
    cluster below which a k is chosen only where every one is.

    >>> rows = {"smallest": [0.2, 0.1], "ari": [0.9, 0.9], "silhouette": [0.42, 0.40], "passes": [True, True]}
    >>> decide(pd.DataFrame(rows, index=[3, 4]))[0]
    4
    """
    large = max(SMALLEST, least)
    bars = f"(smallest cluster >= {large:.0%}, median ARI >= {STABLE})"
    good = table[table.passes.astype(bool)]
    if good.empty:
        bar = next((bar for bar in (large, least) if (table.smallest >= bar).any()), 0.0)
        among = table[table.smallest >= bar]
        which = "all" if len(among) == len(table) else f"those without a cluster under {bar:.0%}"
        k = _argmax(among.ari)
        return k, (
            f"WARNING: no k passes both bars {bars}; k = {k} has the best ARI of {which} ({among.ari[k]:.2f}): "
            f"these segments may change when the customers do"
        )
    best = _argmax(good.silhouette)
    k = max(good.index[good.silhouette >= good.silhouette[best] - TIE].tolist())
    passed = f"k = {', '.join(map(str, good.index))} {'pass' if len(good) > 1 else 'passes'} both bars {bars}"
    if len(good) == 1:
        return k, f"{passed}: k = {k} is the only one"
    if k == best:
        return k, f"{passed}: k = {k} has the best silhouette ({good.silhouette[k]:.3f}), no larger k is within {TIE}"
    return k, (
        f"{passed}: k = {k} is the largest whose silhouette ({good.silhouette[k]:.3f}) is within {TIE} "
        f"of the best ({good.silhouette[best]:.3f}, k = {best})"
    )


def _argmax(figures: pd.Series) -> int:
    return int(figures.index.to_numpy()[figures.to_numpy().argmax()])
