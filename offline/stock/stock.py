"""Units of each product in the weeks ahead: ways to predict them side by side on later time, the choice, the bound.

The cuts lie a horizon apart, and the latest window ends at the cut-off. At a cut a model learns from the windows that
had closed by then, and judges each product that had been sold by then once. Rule: the lowest mean Poisson deviance is
used. It is least for an expectation; absolute errors (WAPE, MASE) are told but do not choose, for they are least for a
median, which is 0 where a product sells now and then. Figures are in usual weeks: no product weighs by its unit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from offline.demand.evaluate import SAME, summary
from offline.demand.examples import check
from offline.demand.metrics import bias, least, mase, poisson_deviance, wape
from offline.demand.regressors import REGRESSORS, fit
from offline.history.read import History
from offline.history.values import Bools
from offline.stock import intermittent
from offline.stock.conformal import Bound
from offline.stock.intermittent import YEAR, Floats
from offline.stock.weeks import Opening, StockError, Weeks, openings, together

POOLED = ("linear", "polynomial", "boosting")
ROWS = 50_000  # examples that a regression learns from, at most: the latest


@dataclass(frozen=True, eq=False)
class StockForecast:
    """frame: product_id, expected_units, upper_90, suggested_reorder (where `run` was told what there is), model,
    weeks_of_history (since the first sale), most expected first.

    figures: a row a model (index `model`), mean over the cuts of wape, mase, deviance, bias, and `<figure>_spread`,
    largest less smallest; by_cut: the figures of each (cut: day number, latest first; model). model, reason: the
    choice. left_out: lines on what could not be judged. kinds: products by class. coverage: a row for all `products`
    and for each class: how many were judged at the latest cut, and the share that held, that is, stayed at or under the
    bound calibrated on the earlier cuts.
    """

    weeks: Weeks
    horizon: int
    frame: pd.DataFrame
    by_cut: pd.DataFrame
    figures: pd.DataFrame
    model: str
    reason: str
    left_out: tuple[str, ...]
    kinds: pd.Series
    coverage: pd.DataFrame


def run(
    history: History,
    day: int,
    horizon: int,
    most: int,
    available: Mapping[str, float] | None = None,
    progress: Callable[[str], object] = len,
) -> StockForecast:
    """Predicts the units of each product in the `horizon` weeks from the cut-off, midnight `day`, on.

    most: cuts to judge at, at most. available: units by product (`inventory.available`), to say what to order. Raises
    StockError where no purchase names a product, or the history is too short.
    """
    found = forecast(Weeks.of(history.frame, day), horizon, most, progress)
    return found if available is None else replace(found, frame=ordered(found, available))


def forecast(weeks: Weeks, horizon: int, most: int, progress: Callable[[str], object] = len) -> StockForecast:
    """Judges every model at up to `most` cuts, and predicts `horizon` weeks with the best. Raises StockError."""
    windows = openings(weeks, horizon)
    cuts = windows[1:-1][: -most - 1 : -1]
    if len(cuts) < 2:
        raise StockError(_too_short(weeks.units.shape[1], horizon))
    names, left_out = _judged(cuts)
    predicted: list[dict[str, Floats]] = []
    for cut in cuts:
        progress(f"cut {len(predicted) + 1} of {len(cuts)}")
        predicted.append({name: expected(name, windows, cut, horizon) for name in names})
    tables = [_figures(windows, cut, p, horizon) for cut, p in zip(cuts, predicted, strict=True)]
    by_cut = pd.concat(tables, keys=[weeks.day(cut.week) for cut in cuts], names=["cut"])
    figures = summary(by_cut)
    model, reason = choose(figures["deviance"])
    chosen, sold = [p[model] for p in predicted], [cut.sold for cut in cuts]
    coverage = _coverage(weeks, cuts[0], sold[0] <= _bound(chosen[1:], sold[1:]).predict(chosen[0]))
    progress(f"predicting: {model}")
    frame = _frame(weeks, windows, model, horizon, _bound(chosen, sold))
    classes = intermittent.kinds(weeks.units, weeks.start)
    kinds = pd.Series({kind: int((classes == kind).sum()) for kind in intermittent.KINDS})
    return StockForecast(weeks, horizon, frame, by_cut, figures, model, reason, left_out, kinds, coverage)


def _judged(cuts: Sequence[Opening]) -> tuple[list[str], tuple[str, ...]]:
    """(the models that can be judged at these cuts, latest first; what cannot be judged)."""
    names, left_out = [*cuts[0].forecasts, *POOLED], []
    if cuts[-1].week < YEAR:
        names.remove("seasonal_naive")
        left_out.append(f"seasonal_naive is left out: {cuts[-1].week} weeks come before the earliest cut, not {YEAR}")
    if unscaled := sum(int((cut.naive_error == 0).sum()) for cut in cuts):
        every = sum(len(cut.rows) for cut in cuts)
        left_out.append(f"mase leaves out {unscaled:,} of {every:,}: products whose units never changed before a cut")
    return names, tuple(left_out)


def expected(name: str, windows: Sequence[Opening], at: Opening, horizon: int) -> Floats:
    """What this model expects in the window of `at` (n,), in usual weeks, from what had closed when it opened."""
    if name in at.forecasts:
        return at.forecasts[name]
    closing, x, label = together([each for each in windows if each.week + horizon <= at.week], horizon, ROWS)
    check(closing, np.array([at.week + horizon]), at.week, horizon)
    family = REGRESSORS[name]
    model = family.make("orders")[1:]  # without its choice among the inputs of customers
    return fit(model, family.grid, closing, x, label, horizon).predict(at.x)


def _figures(windows: Sequence[Opening], cut: Opening, predicted: Mapping[str, Floats], horizon: int) -> pd.DataFrame:
    floor = least(together([each for each in windows if each.week + horizon <= cut.week], horizon, ROWS)[2])
    rows = [
        {
            "wape": wape(cut.sold, p),
            "mase": mase(cut.sold / horizon, p / horizon, cut.naive_error),
            "deviance": poisson_deviance(cut.sold, p, floor),
            "bias": bias(cut.sold, p),
        }
        for p in predicted.values()
    ]
    return pd.DataFrame(rows, index=pd.Index(list(predicted), name="model"))


def _coverage(weeks: Weeks, cut: Opening, held: Bools) -> pd.DataFrame:
    kinds = intermittent.kinds(weeks.units[cut.rows, : cut.week], weeks.start[cut.rows])
    parts = {"products": held} | {kind: held[kinds == kind] for kind in intermittent.KINDS if (kinds == kind).any()}
    rows = [{"judged": len(part), "held": float(part.mean())} for part in parts.values()]
    return pd.DataFrame(rows, index=pd.Index(list(parts), name="kind"))


def choose(deviance: pd.Series) -> tuple[str, str]:
    """(model, reason): the first, that is the simplest, whose deviance is within 0.5 % of the lowest.

    >>> choose(pd.Series({"zero": 9.0, "own_rate": 4.01, "boosting": 4.0}))
    ('own_rate', 'own_rate is used: mean Poisson deviance 4.010, within 0.5% of the lowest, 4.000 of boosting; simpler')
    """
    best = str(deviance.idxmin())
    model = str(deviance.index[deviance <= deviance[best] * (1 + SAME)][0])
    told = f"{model} is used: mean Poisson deviance {deviance[model]:.3f}"
    if model == best:
        return model, f"{told}, the lowest"
    return model, f"{told}, within {SAME:.1%} of the lowest, {deviance[best]:.3f} of {best}; simpler"


def ordered(found: StockForecast, units: Mapping[str, float]) -> pd.DataFrame:
    """The frame of a forecast with `suggested_reorder` behind the bound; units by product.

    Of a product that sold in whole units, whoever stays at or under 7.2 stays at or under 7, and under 0.2 sells none:
    a unit more for each product that hardly sells would make orders of many times the demand.
    """
    upper = found.frame.set_index("product_id")["upper_90"]
    whole = pd.Series((found.weeks.units % 1 == 0).all(axis=1), found.weeks.products)
    needed = upper.mask(whole.reindex(upper.index), np.floor(upper))
    suggested = reorder(needed, pd.Series(units, dtype=float)).array
    frame = found.frame.assign(suggested_reorder=suggested)
    return frame[["product_id", "expected_units", "upper_90", "suggested_reorder", "model", "weeks_of_history"]]


def reorder(upper: pd.Series, available: pd.Series) -> pd.Series:
    """Whole units to order, at least 0 (Int64), by product; none for a product of which nothing is told.

    upper (what is needed), available (on hand and on order): units, index product_id.

    >>> reorder(pd.Series({"a": 7.2, "b": 3.0, "c": 1.0}), pd.Series({"a": 2.0, "b": 5.0})).tolist()
    [6, 0, <NA>]
    """
    short = (upper - available.reindex(upper.index)).round(4)  # 0.1 + 0.2 is no reason for one more unit
    return pd.Series(np.maximum(np.ceil(short), 0.0), upper.index).astype("Int64")


def _bound(predicted: Sequence[Floats], sold: Sequence[Floats]) -> Bound:
    return Bound.of(np.concatenate(predicted), np.concatenate(sold))


def _frame(weeks: Weeks, windows: Sequence[Opening], model: str, horizon: int, bound: Bound) -> pd.DataFrame:
    last = windows[-1]
    predicted = expected(model, windows, last, horizon)
    columns = {
        "product_id": weeks.products,
        "expected_units": (predicted * last.usual).round(4),
        "upper_90": (bound.predict(predicted) * last.usual).round(4),
        "model": model,
        "weeks_of_history": last.week - weeks.start,
    }
    frame = pd.DataFrame(columns)
    return frame.sort_values("expected_units", ascending=False, kind="stable", ignore_index=True)


def _too_short(weeks: int, horizon: int) -> str:
    least, fits = 3 * horizon + 1, (weeks - 1) // 3
    instead = f"; enough for --weeks {fits}" if fits else ""
    return f"{weeks} whole weeks of sales are too short a history: --weeks {horizon} needs {least}{instead}"
