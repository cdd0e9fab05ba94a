"""Clusters in words and in original units: how many, their means, and what sets each apart from everybody.

Rule: what is told is what differs most, in standard deviations of all customers: of a number's ranks (a few large
spenders would hide everybody else), of a level's share. Below 0.2 ("small", Cohen 1988, Statistical Power Analysis,
section 2.2.3) nothing is told, nor is a mean within a tenth of everybody's. Gaps do not count in means.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from offline.segments.clusters import OUTLIER

SMALL, NEAR, TOLD = 0.2, 0.1, 4


def centres(values: pd.DataFrame, labels: NDArray[np.int64]) -> pd.DataFrame:
    """One row per cluster (index `cluster`, outliers last): customers, share, the mean of every column.

    values: (n, columns), float64 or text. A text column becomes a column for each level, `city=Berlin`: its share.
    """
    spread = _spread(values)
    table = spread.groupby(labels).mean()
    sizes = pd.Series(labels).value_counts().reindex(table.index)
    table.insert(0, "customers", sizes, allow_duplicates=True)
    table.insert(1, "share", sizes / len(values), allow_duplicates=True)
    order = sorted(table.index, key=lambda cluster: (cluster == OUTLIER, cluster))
    return table.loc[order].rename_axis("cluster")


def _spread(values: pd.DataFrame) -> pd.DataFrame:
    """Texts as 0 and 1."""
    parts = [
        values[[name]]
        if pd.api.types.is_float_dtype(values[name])
        else pd.get_dummies(values[name], prefix=name, prefix_sep="=", dtype=float)
        for name in map(str, values)
    ]
    return pd.concat(parts, axis=1)


def words(values: pd.DataFrame, labels: NDArray[np.int64]) -> list[str]:
    """A line for each cluster, in the order of `centres`; values as there."""
    return [_line(values, labels == cluster, int(cluster)) for cluster in centres(values, labels).index]


def _line(values: pd.DataFrame, inside: NDArray[np.bool_], cluster: int) -> str:
    who = "outliers" if cluster == OUTLIER else f"cluster {cluster}"
    return f"{who} ({inside.sum():,} customers, {_percent(inside.mean())}): {apart(values, inside)}"


def apart(values: pd.DataFrame, inside: NDArray[np.bool_]) -> str:
    """What sets these customers, a mask (n,), apart from everybody; values as in `centres`."""
    numbers = {name: pd.api.types.is_float_dtype(values[name]) for name in map(str, values)}
    differs = [(*(_number if numbers[name] else _level)(values[name], inside), numbers[name]) for name in numbers]
    top = sorted((each for each in differs if each[0] >= SMALL), key=lambda each: -each[0])[:TOLD]
    means = [text for _, text, number in top if number]
    if (first := next((i for i, text in enumerate(means) if text.endswith(" x")), None)) is not None:
        means[first] += " the average"
    told = "; ".join(filter(None, [", ".join(means), ", ".join(text for _, text, number in top if not number)]))
    return told or "like the average"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 or not share else f"{share:.1%}"


def _number(column: pd.Series, inside: NDArray[np.bool_]) -> tuple[float, str]:
    """(how far the mean rank is from everybody's, in standard deviations of the ranks; the mean in words)."""
    ranks, here, mean = column.rank(), float(column[inside].mean()), float(column.mean())
    sd = float(ranks.std(ddof=0))
    if np.isnan(here) or not sd > 0:
        return 0.0, ""
    apart = abs(float(ranks[inside].mean()) - float(ranks.mean())) / sd
    if column.min() < 0:  # a multiple of what may be below 0 says nothing
        return apart, f"{column.name} {here:,.2f} (average {mean:,.2f})"
    ratio = here / mean
    return apart if abs(ratio - 1) > NEAR else 0.0, f"{column.name} {ratio:,.{1 if ratio >= 2 else 2}f} x"


def _level(column: pd.Series, inside: NDArray[np.bool_]) -> tuple[float, str]:
    """The same of the level whose share here exceeds that among all by most standard deviations."""
    everybody = column.value_counts(normalize=True).sort_index()
    here = column[inside].value_counts(normalize=True).reindex(everybody.index, fill_value=0.0)
    apart = (here - everybody) / ((everybody * (1 - everybody)) ** 0.5).replace(0.0, 1.0)
    level = str(apart.idxmax())
    often = "all" if here[level] == 1 else "mostly" if here[level] >= 0.5 else "more often"
    share, among_all = _percent(float(here[level])), _percent(float(everybody[level]))
    return float(apart[level]), f"{often} {column.name} = {level} ({share} against {among_all})"
