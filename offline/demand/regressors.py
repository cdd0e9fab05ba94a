"""The batch regressions of demand: linear, polynomial, SVM and boosting, tuned on time within what they learn from.

The rule: a setting is chosen by its mean Poisson deviance on the last horizons before the end of the training data,
each time learned from what had closed before (expanding window, purged); then the model learns from everything it was
given. Predictions are cut at 0. SVR takes minutes beyond some 10,000 rows, so it learns from a seeded sample of so
many. It aims at a median, which is 0 where most buy nothing: half of its sample are customers who bought, and what it
predicts is scaled to the mean of all labels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits

from models.ridge import ORDERS, SPEND
from offline.demand.examples import COLUMNS, Examples, Floats, Ints, Target, check, split
from offline.demand.metrics import least, poisson_deviance

SVR_ROWS, FOLDS, SEED = 10_000, 2, 0


@dataclass(frozen=True)
class Regressor:
    """A family: how it is made for a target, its grid (settings of the pipeline), how many rows it can take."""

    make: Callable[[Target], Pipeline]
    grid: dict[str, list[Any]]
    rows: int | None = None


@dataclass(frozen=True, eq=False)
class Tuned:
    """A regression that has learned: the setting chosen, each setting's mean deviance, and the rows it learned from."""

    estimator: Any
    factor: float
    chosen: dict[str, Any]
    scores: dict[str, float] = field(repr=False)
    rows: int = 0

    def predict(self, x: Floats) -> Floats:
        """(n,) expectations, at least 0, for (n, len(COLUMNS))."""
        with threadpool_limits(limits=1):
            predicted: Floats = np.maximum(self.estimator.predict(x), 0.0) * self.factor
        return predicted


def _own(target: Target) -> FunctionTransformer:
    """The inputs that the served model of this target sees, but for its constant."""
    names = (SPEND if target == "spend" else ORDERS).names
    return FunctionTransformer(np.take, kw_args={"indices": [COLUMNS.index(n) for n in names if n != "one"], "axis": 1})


def _linear(target: Target) -> Pipeline:
    return make_pipeline(_own(target), StandardScaler(), Ridge(copy_X=False))


def _polynomial(target: Target) -> Pipeline:
    powers = PolynomialFeatures(include_bias=False, order="F")  # a column is written at once: three times as fast
    return make_pipeline(_own(target), FunctionTransformer(np.log1p), StandardScaler(), powers, Ridge(copy_X=False))


def _svr(target: Target) -> Pipeline:
    regression = TransformedTargetRegressor(SVR(cache_size=500), func=np.log1p, inverse_func=np.expm1)
    return make_pipeline(_own(target), FunctionTransformer(np.log1p), StandardScaler(), regression)


def _boosting(_: Target) -> Pipeline:
    every = FunctionTransformer(
        np.take, kw_args={"indices": [i for i, c in enumerate(COLUMNS) if c != "one"], "axis": 1}
    )
    forest = HistGradientBoostingRegressor(
        loss="poisson", learning_rate=0.05, max_iter=150, min_samples_leaf=50, random_state=SEED, early_stopping=False
    )
    return make_pipeline(every, forest)


REGRESSORS = {
    "linear": Regressor(_linear, {"ridge__alpha": [1.0, 1e3, 1e5]}),
    "polynomial": Regressor(_polynomial, {"polynomialfeatures__degree": [2, 3], "ridge__alpha": [1e2, 1e4]}),
    "svr": Regressor(_svr, {"transformedtargetregressor__regressor__C": [0.1, 1.0]}, SVR_ROWS),
    "boosting": Regressor(_boosting, {"histgradientboostingregressor__max_leaf_nodes": [4, 8]}),
}


def folds(day: Ints, end: int, horizon: int, most: int = FOLDS) -> list[tuple[Ints, Ints]]:
    """(learn from, judge on) places of expanding windows whose label windows all end by `end`, latest first.

    day (n,): on which examples close, ascending. Empty where the history is too short for one.
    """
    found = []
    for i in range(most):
        cut = end + 1 - (2 + i) * horizon
        teach, judge = (np.flatnonzero(mask) for mask in split(day, cut, horizon))
        if len(teach) and len(judge):
            check(day[teach], day[judge], cut, horizon)
            found.append((teach, judge))
    return found


def tune(name: str, examples: Examples, target: Target, horizon: int) -> Tuned:
    """Chooses the setting of this family on time, then learns from all examples (n >= 1)."""
    family, every = REGRESSORS[name], examples
    if family.rows is not None and len(examples) > family.rows:
        examples = every.part(_balanced(every.label > 0, family.rows))
    sampled = examples is not every
    learned = fit(family.make(target), family.grid, examples.day, examples.x, examples.label, horizon, sampled)
    if not sampled:
        return learned
    drawn = np.random.default_rng(SEED).choice(len(every), len(examples), replace=False)
    return replace(learned, factor=_factor(every.label, learned.predict(every.x[drawn])))


def fit(
    model: Pipeline, grid: dict[str, list[Any]], day: Ints, x: Floats, label: Floats, horizon: int, scaled: bool = False
) -> Tuned:
    """Chooses the setting on time, then learns from all of x (n, inputs) and label (n,), n >= 1.

    day (n,): on which each closes, ascending, in the unit of the horizon. scaled: settings are judged by predictions
    brought to the right mean.
    """
    floor = least(label)

    def score(estimator: BaseEstimator, x: Floats, y: Floats) -> float:
        predicted = np.maximum(estimator.predict(x), 0.0)
        return -poisson_deviance(y, predicted * (_factor(y, predicted) if scaled else 1.0), floor)

    if not label.any():  # of which a Poisson loss makes nothing
        return Tuned(DummyRegressor(strategy="constant", constant=0.0).fit(x, label), 1.0, {}, {}, len(x))
    windows = [(teach, judge) for teach, judge in folds(day, int(day[-1]), horizon) if label[teach].any()]
    with threadpool_limits(limits=1):
        if not windows:  # too short a history to choose on: the middle of the grid
            chosen = {key: values[len(values) // 2] for key, values in grid.items()}
            return Tuned(model.set_params(**chosen).fit(x, label), 1.0, chosen, {}, len(x))
        search = GridSearchCV(model, grid, scoring=score, cv=windows, error_score="raise").fit(x, label)
    tried = zip(search.cv_results_["params"], search.cv_results_["mean_test_score"].tolist(), strict=True)
    scores = {setting(parameters): -mean for parameters, mean in tried}
    return Tuned(search.best_estimator_, 1.0, search.best_params_, scores, len(x))


def _factor(labels: Floats, predicted: Floats) -> float:
    """What brings the mean of the predictions to that of the labels; 1 where all predictions are 0."""
    mean = float(predicted.mean())
    return float(labels.mean()) / mean if mean > 0 else 1.0


def _balanced(bought: NDArray[np.bool_], rows: int) -> Ints:
    """Places of `rows` of more examples, half of them of customers who bought, where there are as many; seeded."""
    rng = np.random.default_rng(SEED)
    buyers, others = (rng.permutation(np.flatnonzero(mask)) for mask in (bought, ~bought))
    most = min(len(buyers), max(rows // 2, rows - len(others)))
    return np.sort(np.concatenate([buyers[:most], others[: rows - most]]))


def setting(parameters: dict[str, Any]) -> str:
    """Parameters as a person reads them, without the steps of the pipeline.

    >>> setting({"ridge__alpha": 10.0, "polynomialfeatures__degree": 2})
    'alpha=10.0, degree=2'
    """
    return ", ".join(f"{key.rsplit('__', 1)[1]}={value}" for key, value in parameters.items())
