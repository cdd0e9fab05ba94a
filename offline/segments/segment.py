"""`offline segment`: a table of customers is preprocessed, clustered, and everybody gets a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from offline.errors import OfflineError
from offline.segments import preprocess
from offline.segments.clusters import Clusters, Floats, around_means, nearest
from offline.segments.dbscan import dbscan
from offline.segments.kmeans import choose_k
from offline.segments.preprocess import Plan
from offline.segments.table import CustomerTable
from offline.segments.treatments import Asked

ADDED = ("cluster", "distance", "silhouette")  # columns that the result has beside the table's
Progress = Callable[[str], object]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """plan: how each column was treated; values: a row a customer, the used columns in their own units; found: who is
    in which cluster; told: how the clusters came about, in lines."""

    plan: Plan
    values: pd.DataFrame
    found: Clusters
    told: str

    def added(self) -> dict[str, list[Any]]:
        """The columns that the result has beside the table's, by name: "" where there is no distance or silhouette."""
        texts = ([f"{x:.6f}" if x == x else "" for x in getattr(self.found, name).tolist()] for name in ADDED[1:])
        return dict(zip(ADDED, [self.found.labels.tolist(), *texts], strict=True))


def run(
    customers: CustomerTable,
    treat: Asked | None = None,
    method: Literal["kmeans", "dbscan"] = "kmeans",
    clusters: int | None = None,
    eps: float | None = None,
    min_samples: int | None = None,
    seed: int = 0,
    progress: Progress = len,
) -> Segmentation:
    """Segments everybody in the table.

    treat: treatments of columns, `treatments.asked`. clusters (at least 2): of kmeans; eps (above 0) and min_samples
    (at least 2): of dbscan; None: chosen by the rule there. Raises OfflineError where a column of the result is there
    already, a treatment does not fit, or customers are too few or too much alike.
    """
    taken = [name for name in ADDED if name in customers.frame]
    if taken:
        raise OfflineError(f"{customers.where}: a column {taken[0]!r} is there already; remove or rename it")
    progress("preprocessing")
    plan = preprocess.plan(customers, treat)
    features = preprocess.features(customers, plan)
    if method == "kmeans":
        found, told = _kmeans(features, clusters, seed, progress)
    else:
        found, told = _dbscan(features, eps, min_samples, seed, progress)
    return Segmentation(plan, preprocess.values(customers, plan), found, told)


def _kmeans(features: Floats, clusters: int | None, seed: int, progress: Progress) -> tuple[Clusters, str]:
    choice = choose_k(features, seed, clusters, progress)
    progress("silhouettes")
    return nearest(features, choice.centres, seed), f"k-means ({features.shape[1]} features)\n{choice}"


def _dbscan(
    features: Floats, eps: float | None, min_samples: int | None, seed: int, progress: Progress
) -> tuple[Clusters, str]:
    progress("DBSCAN")
    density = dbscan(features, eps, min_samples, seed)
    outliers, found = int((density.labels < 0).sum()), int(density.labels.max()) + 1
    told = f"{density.reason}\nclusters: {found}; outliers: {outliers:,} ({outliers / len(features):.1%})"
    progress("silhouettes")
    return around_means(features, density.labels, seed), f"DBSCAN ({features.shape[1]} features)\n{told}"
