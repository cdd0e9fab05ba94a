"""`offline segment`: a table of customers is preprocessed, clustered, and everybody gets a cluster.

Customers of a history have what the stream serves: the segment of the rule, and the cluster of k-means on how they
stand, unless another clustering was asked for.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.features import standing_many
from models.segments import NAMES
from offline.errors import OfflineError
from offline.history.fold import Folded
from offline.segments import clusters, preprocess, rfm, rule, standing
from offline.segments.clusters import Clusters, Floats, around_means, nearest
from offline.segments.dbscan import dbscan
from offline.segments.kmeans import choose_k, floor, outliers
from offline.segments.table import CustomerTable
from offline.segments.treatments import Asked

ADDED = ("cluster", "distance", "silhouette")  # columns that the result has beside the table's
NAMED = 10  # outliers
Progress = Callable[[str], object]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """customers: who was segmented; copies: rows that stood there again, letter for letter, and left; values: a row a
    customer, the used columns in their own units; found: who is in which cluster; told: how each column was treated and
    the clusters came about, in lines; segments: names, of a history's customers."""

    customers: CustomerTable
    copies: int
    values: pd.DataFrame
    found: Clusters
    told: str
    segments: list[str] | None = None

    def added(self) -> dict[str, list[Any]]:
        """The columns that the result has beside the table's, by name: "" where there is no distance or silhouette."""
        texts = ([f"{x:.6f}" if x == x else "" for x in getattr(self.found, name).tolist()] for name in ADDED[1:])
        named = {} if self.segments is None else {"segment": self.segments}
        return named | dict(zip(ADDED, [self.found.labels.tolist(), *texts], strict=True))


def run(
    customers: CustomerTable,
    treat: Asked | None = None,
    method: Literal["kmeans", "dbscan"] = "kmeans",
    k: int | None = None,
    eps: float | None = None,
    min_samples: int | None = None,
    seed: int = 0,
    progress: Progress = len,
    keyed: bool = True,
) -> Segmentation:
    """Segments everybody in the table, each once: of rows equal in all columns, the id among them, the first is kept.

    treat: treatments of columns, `treatments.asked`. k (at least 2): of kmeans; eps (above 0) and min_samples
    (at least 2): of dbscan; None: chosen by the rule there. keyed: may columns be keys? Raises OfflineError where a
    column of the result is there already, a treatment does not fit, or customers are too few or too much alike.
    """
    taken = [name for name in ADDED if name in customers.frame]
    if taken:
        raise OfflineError(f"{customers.where}: a column {taken[0]!r} is there already; remove or rename it")
    progress("preprocessing")
    customers, copies = once(customers)
    plan = preprocess.plan(customers, treat, keyed)
    features = preprocess.features(customers, plan)
    if method == "kmeans":
        found, told = _kmeans(customers, features, k, seed, progress)
    else:
        found, told = _dbscan(features, eps, min_samples, seed, progress)
    return Segmentation(customers, copies, preprocess.values(customers, plan), found, f"{plan}\n\n{told}")


def history(
    folded: Folded,
    table: Callable[[CustomerTable], Segmentation] | None,
    k: int | None,
    seed: int,
    progress: Progress,
    names: Sequence[str] | None = None,
) -> Segmentation:
    """Segments the customers of a history. table: another clustering of them, as of a table of customers; None: that of
    the stream, with k clusters (None: chosen); names: of the segments, by number (None: ours). Raises OfflineError."""
    progress("segments")
    fitted, customers = rule.fit(folded, names or NAMES), rfm.table(folded)
    found = table(customers) if table else _standing(folded, customers, fitted.gap, k, seed, progress)
    meant = zip(fitted.names, fitted.definitions(), fitted.sizes, strict=True)
    told = "\n".join(f"{name} ({size:,} customers): {text}" for name, text, size in meant)
    theirs = [fitted.names[number] for number in fitted.predict_many(folded.raw).tolist()]
    return replace(found, told=f"segments\n{told}\n{fitted.usual()}\n\n{found.told}", segments=theirs)


def _standing(
    folded: Folded, customers: CustomerTable, gap: float, k: int | None, seed: int, progress: Progress
) -> Segmentation:
    served, choice = standing.fit(folded, gap, k, seed, progress)
    z = (standing_many(folded.raw, gap) - served.mean) / served.sd
    progress("silhouettes")
    found = clusters.clusters(z, served.predict_many(folded.raw), served.centres, seed, ranked=False)
    numbers = customers.frame.drop(columns="customer_id").astype(float)
    values = numbers.loc[:, numbers.nunique() > 1]  # of no browsing there is nothing to say
    told = f"clusters: k-means on silence, orders and spend\n{choice}"
    if empty := sorted({*served.numbers} - {*found.labels.tolist()}):
        said = ", ".join(map(str, empty))
        told += f"\nin cluster {said} is nobody at the cut-off: there customers stood within the last year"
    return Segmentation(customers, 0, values, found, told)


def once(customers: CustomerTable) -> tuple[CustomerTable, int]:
    """(the table without exact copies of rows, how many those were). Without an id equal rows may be two customers."""
    if customers.id is None:
        return customers, 0
    frame = customers.frame.drop_duplicates()
    return replace(customers, frame=frame), len(customers.frame) - len(frame)


def _kmeans(
    customers: CustomerTable, features: Floats, k: int | None, seed: int, progress: Progress
) -> tuple[Clusters, str]:
    progress("outliers")
    far = outliers(features, seed) if k is None else np.zeros(len(features), np.bool_)
    choice = choose_k(features[~far], seed, k, progress)
    progress("silhouettes")
    told = f"k-means ({features.shape[1]} features)\n{choice}{_outside(customers, far)}"
    return nearest(features, choice.centres, seed, far), told


def _outside(customers: CustomerTable, far: NDArray[np.bool_]) -> str:
    """Who is in no cluster, by name."""
    if not far.any():
        return ""
    rows = customers.frame[far]
    names = [f"row {at + 1}" for at in rows.index] if customers.id is None else rows[customers.id].tolist()
    least = math.ceil(round(floor(len(far)) * len(far), 6))
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return (
        f"\noutliers: {len(names):,}, who with every k would be in a cluster of fewer than {least:,}:"
        f" {', '.join(names[:NAMED])}{more}"
    )


def _dbscan(
    features: Floats, eps: float | None, min_samples: int | None, seed: int, progress: Progress
) -> tuple[Clusters, str]:
    progress("DBSCAN")
    density = dbscan(features, eps, min_samples, seed)
    outliers, found = int((density.labels < 0).sum()), int(density.labels.max()) + 1
    told = f"{density.reason}\nclusters: {found}; outliers: {outliers:,} ({outliers / len(features):.1%})"
    progress("silhouettes")
    return around_means(features, density.labels, seed), f"DBSCAN ({features.shape[1]} features)\n{told}"
