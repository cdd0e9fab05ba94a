"""How good a demand prediction is: sizes of errors, quality of the ranking, and the total, on held-out labels.

Demand per customer is zero-inflated and heavy-tailed, so no single figure serves: MAE, RMSE and WAPE measure sizes,
the Poisson deviance measures expectations; Spearman, normalised Gini and top share the ranking; bias the total.
Rule: equal predictions are averaged over every order of the tied customers, exactly, so no figure hangs on a seed or on
the order of rows. A figure that the labels leave undefined (nothing was spent) is NaN, never a guess.

In every function y holds the labels (shape (n,), n >= 1, finite, >= 0) and p the predictions (shape (n,), finite), both
in one unit (major unit for spend); anything else raises ValueError.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy
from scipy.stats import rankdata

Floats = NDArray[np.float64]

FAR = 10.0  # beyond, a share says nothing but that the other deviance is next to nothing


def _pair(y: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    labels, predictions = np.asarray(y, np.float64), np.asarray(p, np.float64)
    if labels.ndim != 1 or labels.shape != predictions.shape or not labels.size:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must be equally long, not empty")
    if not (np.isfinite(labels).all() and np.isfinite(predictions).all()):
        raise ValueError("labels and predictions must be finite")
    if labels.min() < 0:
        raise ValueError("labels must not be negative")
    return labels, predictions


def mae(y: ArrayLike, p: ArrayLike) -> float:
    """Mean absolute error, mean |y - p|: [0, inf), in the unit of y.

    >>> mae([0, 0, 6], [1, 1, 2])
    2.0
    """
    labels, predictions = _pair(y, p)
    return float(np.abs(labels - predictions).mean())


def rmse(y: ArrayLike, p: ArrayLike) -> float:
    """Root mean squared error, sqrt(mean (y - p)^2): [0, inf), in the unit of y.

    >>> rmse([1, 1], [4, 5])
    3.5355339059327378
    """
    labels, predictions = _pair(y, p)
    return float(np.sqrt(np.square(labels - predictions).mean()))


def wape(y: ArrayLike, p: ArrayLike) -> float:
    """Weighted absolute percentage error, sum |y - p| / sum y: [0, inf), 1 for the zero prediction; NaN if sum y is 0.

    >>> wape([0, 0, 6], [1, 1, 2])
    1.0
    """
    labels, predictions = _pair(y, p)
    total = labels.sum()
    return float(np.abs(labels - predictions).sum() / total) if total else float("nan")


def mase(y: ArrayLike, p: ArrayLike, scale: ArrayLike) -> float:
    """Mean absolute scaled error, mean |y - p| / scale: [0, inf); NaN if every scale is 0.

    scale (n,), >= 0: of each series the mean absolute error of the naive forecast where it was learned (Hyndman and
    Koehler 2006); those whose scale is 0 are left out.

    >>> mase([4, 9, 5], [2, 9, 0], [1, 3, 0])
    1.0
    """
    (labels, predictions), scales = _pair(y, p), np.asarray(scale, np.float64)
    some = scales > 0
    return float((np.abs(labels - predictions)[some] / scales[some]).mean()) if some.any() else float("nan")


def least(y: ArrayLike) -> float:
    """The floor of a deviance, where y was learned from: a hundredth of its mean, and positive.

    >>> least([0, 4, 8]), least([0.0]), least([])
    (0.04, 1e-06, 1e-06)
    """
    labels = np.asarray(y, np.float64)
    return max(0.01 * float(labels.mean()) if labels.size else 0.0, 1e-6)


def poisson_deviance(y: ArrayLike, p: ArrayLike, floor: float) -> float:
    """Mean Poisson deviance, 2 mean(y ln(y / p) - y + p) with p raised to `floor`: [0, inf), least for the expectation.

    floor > 0, in the unit of y: a prediction of nothing would otherwise cost infinitely much once something is bought.

    >>> poisson_deviance([0, 1], [1, 1], 0.01)
    1.0
    """
    labels, predictions = _pair(y, p)
    if not floor > 0:
        raise ValueError(f"floor must be positive, not {floor}")
    raised = np.maximum(predictions, floor)
    return float(2 * (xlogy(labels, labels / raised) - labels + raised).mean())


def spearman(y: ArrayLike, p: ArrayLike) -> float:
    """Spearman's rank correlation, ties at their mean rank: [-1, 1]; 0 if all p are equal, NaN if all y are.

    >>> round(spearman([1, 2, 3, 4], [10, 30, 20, 40]), 3)
    0.8
    """
    labels, predictions = _pair(y, p)
    if np.ptp(labels) == 0:
        return float("nan")
    if np.ptp(predictions) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(labels), rankdata(predictions))[0, 1])


def _captured(labels: Floats, predictions: Floats) -> Floats:
    """Share of the labels' sum held by the i highest predictions, i = 0..n (shape (n + 1,)), expected over ties."""
    _, group, size = np.unique(-predictions, return_inverse=True, return_counts=True)
    mean = np.bincount(group, weights=labels) / size  # within a tie every label is expected at every place
    held: Floats = np.concatenate([[0.0], np.cumsum(np.repeat(mean, size))])
    held /= labels.sum()
    return held


def _gini(labels: Floats, predictions: Floats) -> float:
    n = len(labels)
    return float((_captured(labels, predictions) - np.arange(n + 1) / n).sum())


def ngini(y: ArrayLike, p: ArrayLike) -> float:
    """Normalised Gini: area between the capture curve of p and the diagonal, over that of a perfect ranking.

    [-1, 1]: 1 ranks perfectly, 0 like chance or all p equal, -1 backwards. NaN if all y are equal.

    >>> ngini([0, 1, 3], [5, 6, 7]), ngini([0, 1, 3], [1, 1, 1]), ngini([0, 1, 3], [3, 2, 1])
    (1.0, 0.0, -1.0)
    """
    labels, predictions = _pair(y, p)
    if np.ptp(labels) == 0:
        return float("nan")
    if np.ptp(predictions) == 0:
        return 0.0
    return _gini(labels, predictions) / _gini(labels, labels)


def top_share(y: ArrayLike, p: ArrayLike, share: float = 0.1) -> float:
    """Share of the sum of y held by the customers whose p is in the top `share` (in (0, 1]): [0, 1]; NaN if sum y is 0.

    Where share * n is not whole, the last customer counts in part.

    >>> top_share([1, 2, 3, 4], [1, 2, 3, 4], 0.25), top_share([1, 2, 3, 4], [0, 0, 0, 0], 0.25)
    (0.4, 0.25)
    """
    labels, predictions = _pair(y, p)
    if not 0 < share <= 1:
        raise ValueError(f"share must be within (0, 1], not {share}")
    if not labels.any():
        return float("nan")
    n = len(labels)
    return float(np.interp(share * n, np.arange(n + 1), _captured(labels, predictions)))


def bias(y: ArrayLike, p: ArrayLike) -> float:
    """Total predicted over total observed, sum p / sum y: 1 is right in total, above 1 too much; NaN if sum y is 0.

    >>> bias([1, 3], [3, 3])
    1.5
    """
    labels, predictions = _pair(y, p)
    total = labels.sum()
    return float(predictions.sum() / total) if total else float("nan")


def compare(y: ArrayLike, predictions: Mapping[str, ArrayLike], floor: float) -> pd.DataFrame:
    """Every figure of every prediction, one row each in the given order, index `model`.

    Columns: mae, rmse, wape, deviance (poisson_deviance with `floor`), spearman, ngini, top_share (top 10 %), bias.

    >>> compare([0, 4], {"zero": [0, 0], "exact": [0, 4]}, 0.01).mae.to_dict()
    {'zero': 2.0, 'exact': 0.0}
    """
    rows = [
        {
            "mae": mae(y, p),
            "rmse": rmse(y, p),
            "wape": wape(y, p),
            "deviance": poisson_deviance(y, p, floor),
            "spearman": spearman(y, p),
            "ngini": ngini(y, p),
            "top_share": top_share(y, p),
            "bias": bias(y, p),
        }
        for p in predictions.values()
    ]
    return pd.DataFrame(rows, index=pd.Index(list(predictions), name="model"))


def deciles(labels: Floats, predictions: Mapping[str, Floats]) -> pd.DataFrame:
    """Mean prediction and mean label (n,) in each tenth of the customers by prediction, index 1 (least) to 10.

    Customers of one prediction stay together, in the tenth of their mean rank: a tenth may be empty (NaN).

    >>> deciles(np.array([0.0, 8.0]), {"model": np.array([1.0, 5.0])})["model"].dropna().T.to_dict()
    {5: {'predicted': 1.0, 'actual': 0.0}, 10: {'predicted': 5.0, 'actual': 8.0}}
    """
    tables = {
        name: _by_tenth(pd.DataFrame({"predicted": predicted, "actual": labels}), predicted)
        for name, predicted in predictions.items()
    }
    return pd.concat(tables, axis=1)


def covered(labels: Floats, predicted: Floats, bound: Floats) -> pd.Series:
    """Share of the labels (n,) up to their bound (n,), in the same tenths by prediction.

    >>> covered(np.array([2.0, 8.0]), np.array([1.0, 5.0]), np.array([2.0, 6.0])).dropna().to_dict()
    {5: 1.0, 10: 0.0}
    """
    return _by_tenth(pd.DataFrame({"covered": labels <= bound}), predicted)["covered"]


def less(one: float, other: float) -> float:
    """By which share of the other deviance one is less; where the other is nothing, for all buy alike, 0 or -inf.

    >>> less(7.5, 10.0), less(0.0, 0.0), less(0.5, 0.0)
    (0.25, 0.0, -inf)
    """
    if other > 0:
        return 1 - float(one) / float(other)
    return -math.inf if one > 0 else 0.0


def share(less: float) -> str:
    """In words, with a space behind it; of what has no bound, or is beyond ten times next to nothing, there are none.

    >>> share(-0.125), share(-44_000.0), share(-math.inf)
    ('12.5% ', '', '')
    """
    return f"{abs(less):.1%} " if abs(less) <= FAR else ""


def _by_tenth(table: pd.DataFrame, predicted: Floats) -> pd.DataFrame:
    decile = np.ceil(10 * rankdata(predicted) / len(predicted)).astype(int)
    return table.groupby(decile).mean().reindex(range(1, 11)).rename_axis("decile")
