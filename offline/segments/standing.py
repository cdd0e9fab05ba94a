"""The clusters of a history, as the stream serves them: k-means on how customers stand (`models.clusters`).

Rule: fitted on what the stream will show it, the landmarks of the last year and the first midnight of who came in it; k
and clusters then stay the same where the cut-off is another day's.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.clusters import Clusters
from models.features import standing_many
from models.rows import joined
from offline.history.fold import Folded
from offline.segments.kmeans import Choice, SegmentError, asked, choose_k, draw

YEAR = 365
FEWEST = 4  # different customers
SHOWN = 200_000  # landmarks at most, drawn
Array = NDArray[Any]


def fit(
    folded: Folded, gap: float, k: int | None = None, seed: int = 0, progress: Callable[[str], object] = len
) -> tuple[Clusters, Choice]:
    """gap: the shop's usual one, days; k: None: chosen, else warned of by how many are in its clusters at the cut-off.
    Raises SegmentError where customers are too few or alike."""
    different = len(np.unique(standing_many(folded.raw, gap), axis=0))
    if different < FEWEST:
        raise SegmentError(f"cannot segment: different customers: {different}; at least {FEWEST} are needed")
    x, mean, sd = _scaled(folded, gap, seed)
    choice = choose_k((x - mean) / sd, seed, k, progress)
    choice = replace(choice, samples=choice.samples.replace(" customers:", " landmarks of the last year:"))
    found = Clusters(choice.centres, mean, sd, gap, range(choice.k), [""] * choice.k, [0] * choice.k)
    if k is not None:
        smallest = int(np.bincount(found.predict_many(folded.raw), minlength=k).min())
        choice = replace(choice, reason=asked(k, smallest, len(folded.raw), " at the cut-off"))
    return found, choice


def served(folded: Folded, gap: float, k: int | None = None) -> tuple[Clusters, Choice]:
    """As `fit`; but where customers are too few or alike to be told apart and no k is asked for, everybody is in one
    cluster, for they are served all the same."""
    try:
        return fit(folded, gap, k)
    except SegmentError as error:
        if k is not None:
            raise
        why = str(error).removeprefix("cannot segment: ")
    _, mean, sd = _scaled(folded, gap)
    choice = Choice(1, np.zeros((1, 3)), pd.DataFrame(), f"k = 1, everybody in one cluster: {why}", "")
    return Clusters(choice.centres, mean, sd, gap, [0], [""], [0]), choice


def _scaled(folded: Folded, gap: float, seed: int = 0) -> tuple[Array, Array, Array]:
    """How they stand, (n, 3), with means and standard deviations (3,)."""
    seen = shown(folded)
    x = standing_many(_drawn(seen, draw(np.random.default_rng(seed), sum(map(len, seen)), SHOWN)), gap)
    mean, sd = x.mean(0), x.std(0)
    return x, mean, np.where(sd > 0, sd, 1.0)


def _drawn(parts: Sequence[Array], places: Array) -> Array:
    """Those at these places, ascending, of all parts one behind the other, which together would take much memory."""
    ends = np.cumsum([len(part) for part in parts])
    at = np.split(places, np.searchsorted(places, ends[:-1]))
    return joined([part[here - end + len(part)] for part, here, end in zip(parts, at, ends, strict=True)])


def shown(folded: Folded) -> list[Array]:
    """Parts (n,) of RAW: everybody at their landmarks of the last year; and, as if each purchase day had been alike, at
    the midnight after the first one."""
    landmarks = [entries["now"] for day, _, entries in folded.days if day > folded.day - YEAR]
    fresh = folded.raw[folded.raw["tenure"] <= YEAR].copy()
    days = np.maximum(fresh["days"], 1)
    fresh["spend"] = fresh["spend"] // days
    fresh["orders"] = np.maximum(fresh["orders"] // days, 1)
    fresh["days"] = fresh["tenure"] = fresh["recency"] = 1
    return [*landmarks, fresh]


def describe(clusters: Clusters, raw: Array, demand: NDArray[np.float64], horizon: int) -> None:
    """Notes in them how many of these customers (n,) of RAW are in each, and in words where its centre stands and what
    is expected of them; demand: (n,) over `horizon` days, major units."""
    number = clusters.predict_many(raw)
    clusters.sizes = [int((number == each).sum()) for each in clusters.numbers]
    rhythm, orders, spend = (clusters.centres * clusters.sd + clusters.mean).T
    clusters.told = [
        f"silent for {2**silent:.1f} usual gaps, {np.expm1(ordered):,.1f} orders, spent {np.expm1(spent):,.2f}:"
        f" {size / max(1, len(raw)):.0%} of the customers, {_mean(demand[number == each]):,.2f} each expected in the"
        f" next {horizon} days"
        for each, silent, ordered, spent, size in zip(
            clusters.numbers, rhythm, orders, spend, clusters.sizes, strict=True
        )
    ]


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
