"""Demand: a strong baseline plus a linear correction learned online, three times; and an upper bound for spend.

Rules. The baseline is the customer's own 90-day decayed rate; the prior says "no correction", worth PRIOR examples.
Learning happens once a day: forget a day (the prior does not fade), then ONE river `learn_many` call on one float64
matrix in one kind of frame, for rows split or handed over otherwise give other last bits. Below MATURED examples the
baseline serves alone. Labels and inputs are capped: one uncancelled giant order ruins the ranking for everyone.
Source of the regression: Bishop, Pattern Recognition and Machine Learning, eq. 3.50-3.51, as river implements it.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from river import linear_model

from models.compiled import njit
from models.features import BUY_INPUTS, INPUTS, ORDER_INPUTS, SPEND_INPUTS

HALFLIFE, MATURED = 90.0, 1000
DECAY = 2 ** (-1 / HALFLIFE)
ROOT_PRIOR = 10.0  # of PRIOR = 100 examples; river's alpha must stay 1, so the inputs are divided instead
BINS, PER_BIN, BUCKETS, QUANTILE = 20, 50, 32, 0.9

Floats = NDArray[np.float64]


class Target(NamedTuple):
    """What one correction predicts: its inputs, the baseline among them, are rows weighted, the largest value."""

    names: tuple[str, ...]
    baseline: str
    weighted: bool
    top: float


SPEND = Target((*SPEND_INPUTS, "one"), "r90", True, math.inf)
ORDERS = Target((*ORDER_INPUTS, "one"), "n90", True, math.inf)
BUY = Target((*BUY_INPUTS, "one"), "p90", False, 1.0)


class Scales(NamedTuple):
    """The scales that labels give a target: see `scales`."""

    unit: float
    cap: float
    lowest: float
    highest: float


def scales(labels: Floats, usual: float) -> Scales:
    """Unit (mean), cap (0.9995 quantile) and range of positive labels; all > 0. `usual` > 0: one usual purchase.

    Fewer than MATURED labels show no reliable range: room for 20 usual purchases is left above them.

    >>> scales(np.array([0.0, 0.0, 30.0]), 40.0)
    Scales(unit=10.0, cap=800.0, lowest=0.4, highest=1600.0)
    """
    positive, room = labels[labels > 0], 1.0 if len(labels) >= MATURED else 20.0
    if not len(positive):
        return Scales(usual, 20 * usual, usual / 100, 40 * usual)
    unit, cap = float(labels.mean()), max(float(np.quantile(labels, 0.9995)), room * usual)
    lowest, highest = float(np.quantile(positive, 0.005)), 2 * float(positive.max())
    if room > 1:
        lowest, highest = min(lowest, usual / 100), max(highest, 2 * cap)
    return Scales(unit, cap, lowest, highest)


class Correction:
    """Baseline + unit * (learned weights . inputs / unit), within [0, target.top].

    unit: the scale of the target (its mean label); cap: the largest label and input that is learned from, in the
    target's own unit. Both > 0 and fixed until the next offline fit. corrects: False serves the baseline alone,
    and learns on; the offline fit decides.
    """

    def __init__(self, target: Target, unit: float, cap: float, corrects: bool = True) -> None:
        if not (0 < unit < math.inf and 0 < cap < math.inf):
            raise ValueError(f"correction: unit and cap must be positive and finite, not {unit} and {cap}")
        self.target, self.unit, self.cap, self.examples = target, float(unit), float(cap), 0
        self.corrects = corrects
        self.columns = np.array([INPUTS.index(name) for name in target.names])
        self.base = INPUTS.index(target.baseline)
        constant = np.array([name == "one" for name in target.names])
        self.caps, self.units = np.where(constant, 1.0, self.cap), np.where(constant, 1.0, self.unit)
        self.model: Any = linear_model.BayesianLinearRegression()
        self.model._ensure_features(target.names)  # all at once: another capacity gives other bits
        self._solve()

    def rows(self, x: Floats) -> Floats:
        """(n, len(INPUTS)) -> (n, k), C-ordered: this target's inputs, capped, in units, divided by sqrt(PRIOR)."""
        return np.ascontiguousarray(np.minimum(x[:, self.columns], self.caps) / self.units / ROOT_PRIOR)

    def predict_many(self, x: Floats) -> Floats:
        """(n,) predictions from (n, len(INPUTS)); sums in river's order, so equal inputs give river's own bits."""
        weights = self.coefficients if self.serves else np.zeros(len(self.columns))
        out = np.empty(len(x))
        _correct(x, self.columns, weights, self.caps, self.units, self.base, self.unit, self.target.top, out)
        return out

    def learn_many(self, x: Floats, labels: Floats) -> None:
        """One day: forgets, then learns (n, len(INPUTS)) with n labels in the target's unit; n may be 0."""
        k, model = len(self.columns), self.model
        model._ss_arr[:k, :k] = np.eye(k) + DECAY * (model._ss_arr[:k, :k] - np.eye(k))
        model._eta_arr *= DECAY
        if len(x):
            self._learn(x, labels)
        self.examples += len(x)
        self._solve()

    @property
    def serves(self) -> bool:
        """Whether what was learned is served, or the baseline alone."""
        return self.corrects and self.examples >= MATURED

    @property
    def coefficients(self) -> Floats:
        """(k,) learned weights, in the order of target.names."""
        return np.array(self.model._m_arr[: len(self.columns)])

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers and names."""
        k, model = len(self.columns), self.model
        return {
            "names": list(self.target.names),
            "unit": self.unit,
            "cap": self.cap,
            "corrects": self.corrects,
            "examples": self.examples,
            "precision": model._ss_arr[:k, :k].tolist(),
            "eta": model._eta_arr[:k].tolist(),
            "coefficients": self.coefficients.tolist(),
        }

    @classmethod
    def restore(cls, target: Target, state: Mapping[str, Any]) -> Self:
        """The model that gave this snapshot, bit for bit; ValueError if it was learned on other inputs."""
        if tuple(state["names"]) != target.names:
            raise ValueError(f"correction: learned on {', '.join(state['names'])}, not on {', '.join(target.names)}")
        new, k = cls(target, state["unit"], state["cap"], state.get("corrects", True)), len(target.names)
        new.model._ss_arr[:k, :k] = state["precision"]
        new.model._eta_arr[:k] = state["eta"]
        new.examples = state["examples"]
        new._solve()
        # Solved anew on another kind of CPU these may differ in the last bits: serve what the trainer served.
        new.model._m_arr[:k] = state["coefficients"]
        return new

    def _learn(self, x: Floats, labels: Floats) -> None:
        import pandas as pd  # here, for a worker that only predicts does without its 60 MB

        base = x[:, self.base]
        weight = np.sqrt(1 / (base / self.unit + 0.05)) if self.target.weighted else np.ones(len(x))
        y = (np.minimum(labels, self.cap) - base) / self.unit
        frame = pd.DataFrame(self.rows(x) * weight[:, None], columns=list(self.target.names))
        self.model.learn_many(frame, pd.Series(weight * y))

    def _solve(self) -> None:
        k, model = len(self.columns), self.model
        model._ss_inv_arr[:k, :k] = np.linalg.inv(model._ss_arr[:k, :k])
        model._m_dirty = True
        model._ensure_m()


class Upper:
    """What 9 of 10 like customers stay under: per bin of the prediction a decayed histogram of matured labels.

    edges: ascending inner bin edges of the prediction; bounds: BUCKETS ascending upper ends of the label buckets.
    Bucket 0 counts labels of 0; what exceeds the last bound counts in the last bucket. All in major units.
    """

    def __init__(self, edges: Sequence[float], bounds: Sequence[float]) -> None:
        self.edges, self.bounds = [float(x) for x in edges], [float(x) for x in bounds]
        self.counts = np.zeros((len(self.edges) + 1, len(self.bounds) + 1))
        self.high = self._read()

    @classmethod
    def create(cls, predictions: Floats, lowest: float, highest: float) -> Self:
        """Bins of equal numbers of `predictions` (n,), and log-spaced buckets from `lowest` to `highest`, both > 0."""
        bins = max(1, min(BINS, len(predictions) // PER_BIN))
        edges = np.unique(np.quantile(predictions, np.linspace(0, 1, bins + 1)[1:-1])) if bins > 1 else np.empty(0)
        step = math.log(highest / lowest) / (BUCKETS - 1)
        return cls(edges.tolist(), [lowest * math.exp(step * i) for i in range(BUCKETS)])

    def predict_many(self, predictions: Floats) -> Floats:
        """(n,) bounds for (n,) predictions; never below them, for they are means and may exceed the quantile."""
        return np.maximum(predictions, self.high[np.searchsorted(self.edges, predictions, side="right")])

    def learn_many(self, predictions: Floats, labels: Floats) -> None:
        """One day: forgets, then counts n labels by the predictions made for them; n may be 0."""
        self.counts *= DECAY
        for p, y in zip(predictions.tolist(), labels.tolist(), strict=True):
            bucket = 0 if y <= 0 else 1 + min(bisect_left(self.bounds, y), len(self.bounds) - 1)
            self.counts[bisect_right(self.edges, p), bucket] += 1
        self.high = self._read()

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers."""
        return {"edges": list(self.edges), "bounds": list(self.bounds), "counts": self.counts.tolist()}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The model that gave this snapshot, bit for bit."""
        new = cls(state["edges"], state["bounds"])
        new.counts[:] = state["counts"]
        new.high = new._read()
        return new

    def _read(self) -> Floats:
        """(bins,) the QUANTILE of each bin; with less than one label that of all bins; 0 where there is none."""
        pooled = self.counts.sum(0)
        return np.array([self._quantile(row if row.sum() >= 1 else pooled) for row in self.counts])

    def _quantile(self, counts: Floats) -> float:
        """Interpolated in the logarithm, within the bucket that QUANTILE falls into."""
        total = float(counts.sum())
        if total == 0:
            return 0.0
        share = (np.cumsum(counts) / total).tolist()
        k = min(bisect_left(share, QUANTILE - 1e-12), len(self.bounds))
        if k == 0:
            return 0.0
        upper = self.bounds[k - 1]
        lower = self.bounds[k - 2] if k > 1 else upper / 2
        part = (QUANTILE - share[k - 1]) / max(share[k] - share[k - 1], 1e-12)
        return lower * math.exp(part * math.log(upper / lower))


@njit
def _correct(
    x: Any, columns: Any, weights: Any, caps: Any, units: Any, base: int, unit: float, top: float, out: Any
) -> None:
    for i in range(len(x)):
        learned = 0.0
        for j in range(len(columns)):
            learned += weights[j] * (min(x[i, columns[j]], caps[j]) / units[j] / ROOT_PRIOR)
        out[i] = min(max(0.0, x[i, base] + unit * learned), top)
