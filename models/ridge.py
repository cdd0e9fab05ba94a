"""An expert that corrects: the customer's own 90-day rate plus a linear correction learned online (river's ridge).

Rules. The prior says "no correction", worth PRIOR examples. Learning happens once a day: forget a day (the prior does
not fade), then ONE river `learn_many` call on one float64 matrix in Fortran's order, for rows split or laid out
otherwise give other last bits. Labels and inputs are capped: one giant order ruins the ranking for everyone.
Source: Bishop, Pattern Recognition and Machine Learning, eq. 3.50-3.51, as river implements it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from narwhals import Implementation
from numpy.typing import NDArray
from river import linear_model

from models.compiled import njit
from models.features import INPUTS, ORDER_INPUTS, SPEND_INPUTS

HALFLIFE = 90.0
DECAY = 2 ** (-1 / HALFLIFE)
ROOT_PRIOR = 10.0  # of PRIOR = 100 examples; river's alpha must stay 1, so the inputs are divided instead
SOFT = 0.05  # in mean labels: the least expectation in a weight, so that who buys nothing does not outweigh all

Floats = NDArray[np.float64]


class Target(NamedTuple):
    """What is predicted: the inputs, and the 90-day rate among them."""

    names: tuple[str, ...]
    baseline: str


SPEND = Target((*SPEND_INPUTS, "one"), "r90")
ORDERS = Target((*ORDER_INPUTS, "one"), "n90")


class Ridge:
    """Baseline + unit * (learned weights . inputs / unit), at least 0.

    unit: the scale of the target (its mean label); cap: the largest label and input that is learned from, in the
    target's own unit. Both > 0 and fixed until the next offline fit.
    """

    def __init__(self, target: Target, unit: float, cap: float) -> None:
        if not (0 < unit < math.inf and 0 < cap < math.inf):
            raise ValueError(f"ridge: unit and cap must be positive and finite, not {unit} and {cap}")
        self.target, self.unit, self.cap, self.examples = target, float(unit), float(cap), 0
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
        out = np.empty(len(x))
        _correct(x, self.columns, self.coefficients, self.caps, self.units, self.base, self.unit, out)
        return out

    def shares(self, x: Floats) -> Floats:
        """(n, k + 1): what each prediction is the sum of, by input in the order of target.names, the 90-day rate among
        them with what was learned on it; then what holds it at 0."""
        shares = self.rows(x) * self.coefficients * self.unit
        shares[:, self.columns == self.base] += x[:, [self.base]]
        return np.column_stack([shares, np.maximum(0.0, -shares.sum(1))])

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
            "examples": self.examples,
            "precision": model._ss_arr[:k, :k].tolist(),
            "eta": model._eta_arr[:k].tolist(),
            "coefficients": self.coefficients.tolist(),
        }

    @classmethod
    def restore(cls, target: Target, state: Mapping[str, Any]) -> Self:
        """The model that gave this snapshot, bit for bit; ValueError if it was learned on other inputs."""
        if tuple(state["names"]) != target.names:
            raise ValueError(f"ridge: learned on {', '.join(state['names'])}, not on {', '.join(target.names)}")
        new, k = cls(target, state["unit"], state["cap"]), len(target.names)
        new.model._ss_arr[:k, :k] = state["precision"]
        new.model._eta_arr[:k] = state["eta"]
        new.examples = state["examples"]
        new._solve()
        # Solved anew on another kind of CPU these may differ in the last bits: serve what the trainer served.
        new.model._m_arr[:k] = state["coefficients"]
        return new

    def _learn(self, x: Floats, labels: Floats) -> None:
        base = x[:, self.base]
        weight = np.sqrt(1 / (base / self.unit + SOFT))
        y = (np.minimum(labels, self.cap) - base) / self.unit
        rows = np.asfortranarray(self.rows(x) * weight[:, None])
        self.model.learn_many(_Frame(rows, self.target.names), _Series(weight * y))

    def _solve(self) -> None:
        k, model = len(self.columns), self.model
        model._ss_inv_arr[:k, :k] = np.linalg.inv(model._ss_arr[:k, :k])
        model._m_dirty = True
        model._ensure_m()


class _Numbers:
    """Numbers as river takes them, by the protocol of narwhals: pandas would cost a worker, in the midst of its events,
    half a second and 60 MB."""

    _implementation = Implementation.UNKNOWN

    def __init__(self, values: Floats, columns: Sequence[str] = ()) -> None:
        self.values, self.columns = values, columns

    def _with_version(self, version: Any) -> Self:
        self._version = version
        return self

    def to_numpy(self, *_: Any, **__: Any) -> Floats:
        return self.values


class _Frame(_Numbers):
    def __narwhals_dataframe__(self) -> Self:
        return self


class _Series(_Numbers):
    def __narwhals_series__(self) -> Self:
        return self


@njit
def _correct(x: Any, columns: Any, weights: Any, caps: Any, units: Any, base: int, unit: float, out: Any) -> None:
    for i in range(len(x)):
        learned = 0.0
        for j in range(len(columns)):
            learned += weights[j] * (min(x[i, columns[j]], caps[j]) / units[j] / ROOT_PRIOR)
        out[i] = max(0.0, x[i, base] + unit * learned)
