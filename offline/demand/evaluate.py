"""Demand predictions side by side on later time, at several cuts.

Each judged customer counts once a cut: with the example that opened in the horizon from the cut on. Batch models and
baselines stand as of the cut; the served model learns on daily, as it does in the stream, and predicts each example by
what it knew on the day the example opened. Baselines: nothing, the last period, the customer's own rate, the own rate
decayed over 90 days; and, fitted, MBG/NBD times the shrunk mean of a purchase day. A batch model that cannot be fitted
at a cut is judged at none, and its row says why; the others go on.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from models.features import UNIT
from offline.demand import buytilldie
from offline.demand.buytilldie import ValueModelError
from offline.demand.examples import COLUMNS, TARGETS, Examples, Floats, Target, check, cuts_of, labels, learnable, split
from offline.demand.metrics import compare, covered, deciles, least, less, share
from offline.demand.regressors import REGRESSORS, tune
from offline.demand.served import BROWSED, Stream, stream, unseen
from offline.errors import OfflineError
from offline.history.fold import Day, Folded

NO_BROWSING = "browsing: this history has no views and no carts, so there is nothing to leave out"
SERVED, MBG_NBD, BLIND = "served", "mbg_nbd", "served_without_browsing"
BATCH = (MBG_NBD, *REGRESSORS)
MODELS = {"quick": (MBG_NBD, "linear", "polynomial"), "all": BATCH}  # the others take minutes
SAME, SAME_RANK = 0.005, 0.002  # a relative difference of deviance, and one of nGini, that mean nothing
RATES = {"spend": ("own", "r90"), "orders": ("own_orders", "n90")}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """figures: a row a model (index `model`): mean over the cuts, and `<figure>_spread`, largest less smallest.

    by_cut: the figures of each (cut, model); verdict: the served model beside the best baseline; gain: what batch would
    gain; browsing: what views and carts gave, where that was asked.
    deciles: of each model (`metrics.deciles`), mean over the cuts; covered: of spend, the share of labels up to the
    bound that the stream serves, in the same tenths of its prediction, mean over the cuts (empty for orders). failed:
    why, of each batch model that could not be fitted; its figures are NaN.
    """

    target: Target
    cuts: list[int]
    by_cut: pd.DataFrame
    figures: pd.DataFrame
    verdict: str
    gain: str
    deciles: pd.DataFrame
    covered: pd.Series
    failed: dict[str, str]
    browsing: str = ""

    def shown(self) -> pd.DataFrame:
        """The figures, with the spread of deviance and nGini alone; why, where a model failed."""
        means = [name for name in self.figures.columns if not name.endswith("_spread")]
        table = self.figures[[*means, "deviance_spread", "ngini_spread"]]
        return table.assign(why=table.index.map(self.failed).fillna("")) if self.failed else table


def run(
    folded: Folded,
    horizon: int,
    most: int,
    batch: Sequence[str] = BATCH,
    progress: Callable[[str], object] = len,
    without: bool = False,
) -> dict[Target, Evaluation]:
    """`evaluate` of each target at the last cuts of a history, `most` of them at most. Raises OfflineError.

    without: the served model is judged too as it would be had nobody seen customers browsing.
    """
    learnable(folded, horizon)
    cuts = cuts_of(folded, horizon, most)
    if not cuts:
        raise OfflineError(f"nothing to judge on: a history of 4 horizons ({4 * horizon} days) is needed")
    progress("serving as the stream would")
    streams = [stream(folded.days, cut, horizon) for cut in cuts]
    blind, nobody = [], without and not _browsed(folded.days)
    if without and not nobody:
        progress("serving without views and carts")
        days = unseen(folded.days)
        blind = [stream(days, cut, horizon) for cut in cuts]
    found = {target: evaluate(folded.days, streams, target, horizon, batch, progress, blind) for target in TARGETS}
    return {target: replace(each, browsing=NO_BROWSING) for target, each in found.items()} if nobody else found


def _browsed(days: Sequence[Day]) -> bool:
    """Did anybody view anything, or put it into a cart?"""
    return any((entries["now"][name] > 0).any() for _, _, entries in days for name in BROWSED)


def evaluate(
    days: Sequence[Day],
    streams: Sequence[Stream],
    target: Target,
    horizon: int,
    batch: Sequence[str] = BATCH,
    progress: Callable[[str], object] = len,
    blind: Sequence[Stream] = (),
) -> Evaluation:
    """Judges the baselines, the served model and these batch models at the cut of each stream (at least one).

    blind: the streams of a log without views and carts, at the same cuts, or none.
    """
    tables, tenths, within, closing = [], [], [], np.array([day for day, _, _ in days])
    failed: dict[str, str] = {}
    for each, other in itertools.zip_longest(streams, blind):
        teach, judge = (list(itertools.compress(days, side)) for side in split(closing, each.cut, horizon))
        later = Examples.of(judge, target, horizon, each.usual)
        learned = Examples.of(teach if batch else [], target, horizon, each.usual)  # of millions, labels will do
        check(learned.day, later.day, each.cut, horizon)
        predictions = baselines(later, target)
        for name in batch:
            progress(f"{target}, cut of day {each.cut}: {name}")
            try:
                predictions[name] = _predicted(name, learned, later, target, each.cut, horizon)
            except (ValueModelError, ValueError) as error:
                failed.setdefault(name, f"cannot be fitted before {np.datetime64(each.cut, 'D')}: {_line(error)}")
        predictions[SERVED] = each.predictions[target]
        if other:
            predictions[BLIND] = other.predictions[target]
        tables.append(compare(later.label, predictions, least(labels(teach, target))))
        tenths.append(deciles(later.label, predictions))
        if target == "spend":
            within.append(covered(later.label, predictions[SERVED], each.high))
    cuts = [each.cut for each in streams]
    order = pd.Index([*baselines(later, target), *batch, SERVED, *([BLIND] if blind else [])], name="model")
    by_cut = pd.concat(
        [table.drop([*failed], errors="ignore").reindex(order) for table in tables], keys=cuts, names=["cut"]
    )
    figures = summary(by_cut)
    gain = _gain(figures, [model for model in batch if model not in failed])
    deciled = _mean(tenths).drop(columns=[*failed], level=0, errors="ignore")
    beside = verdict(figures.deviance[[*baselines(later, target), SERVED]])
    told = browsing(figures.T[SERVED], figures.T[BLIND]) if blind else ""
    return Evaluation(target, cuts, by_cut, figures, beside, gain, deciled, _mean(within), failed, told)


def _predicted(name: str, learned: Examples, later: Examples, target: Target, cut: int, horizon: int) -> Floats:
    if name == MBG_NBD:
        return mbg_nbd(learned, later, target, cut, horizon)
    return tune(name, learned, target, horizon).predict(later.x)


def _line(error: Exception) -> str:
    """What it says first; libraries go on for paragraphs."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def baselines(examples: Examples, target: Target) -> dict[str, Floats]:
    """What needs no learning, for each example, in the target's unit."""
    own, decayed = (examples.x[:, COLUMNS.index(name)] for name in RATES[target])
    last = {"last_period": np.maximum(examples.raw["window"] / UNIT, 0)} if target == "spend" else {}
    return {"zero": np.zeros(len(examples)), **last, "own_rate": own, "decayed_rate": decayed}


def mbg_nbd(learned: Examples, later: Examples, target: Target, cut: int, horizon: int) -> Floats:
    """Expected purchase days in the horizon, times what a purchase day brings, for each later example.

    Fitted to the customers as the last window before the cut found them: each of them once.
    """
    model = buytilldie.fit(*buytilldie.clv(learned.raw[learned.day > cut - horizon]), chances=1)
    fading = np.exp(-np.maximum(later.raw["recency"], 0) / 90)
    a_day: Floats = later.x[:, COLUMNS.index("m90" if target == "spend" else "e90_orders")] / fading
    expected: Floats = model.expected_orders([horizon], *buytilldie.clv(later.raw))[:, 0] * a_day
    return expected


def summary(by_cut: pd.DataFrame) -> pd.DataFrame:
    """Mean over the cuts, then the spread between them (largest less smallest) of every figure."""
    grouped = by_cut.groupby("model", sort=False)
    return grouped.mean().join((grouped.max() - grouped.min()).add_suffix("_spread"))


def verdict(deviance: pd.Series) -> str:
    """The served model beside the best baseline, in a line. deviance: by model.

    >>> verdict(pd.Series({"zero": 30.0, "decayed_rate": 10.0, "served": 9.5}))
    'served: mean Poisson deviance 9.500, 5.0% less than decayed_rate, the best that needs no learning'
    >>> verdict(pd.Series({"last_period": 0.0, "served": 0.5}))
    'served: mean Poisson deviance 0.500, more than last_period, the best that needs no learning'
    """
    served, others = float(deviance[SERVED]), deviance.drop(SERVED)
    best = str(others.idxmin())
    lower = less(served, float(others[best]))
    by = f"{share(lower)}{'less' if lower > 0 else 'more'} than" if abs(lower) > SAME else "as good as"
    return f"{SERVED}: mean Poisson deviance {served:.3f}, {by} {best}, the best that needs no learning"


def browsing(seen: pd.Series, unseen: pd.Series) -> str:
    """What views and carts gave the served model, in a line. seen, unseen: its figures with them and without.

    >>> browsing(pd.Series({"deviance": 9.0, "ngini": 0.75}), pd.Series({"deviance": 10.0, "ngini": 0.74}))
    'browsing: with views and carts the deviance is 10.0% lower and nGini .010 higher than without'
    """
    lower, rank = less(seen["deviance"], unseen["deviance"]), seen["ngini"] - unseen["ngini"]
    if abs(lower) <= SAME and not abs(rank) > SAME_RANK:
        return "browsing: with views and carts the served model is as good as without"
    by = f"{share(lower)}{'lower' if lower > 0 else 'higher'}"
    ranks = "" if math.isnan(rank) else f" and nGini {abs(rank):.3f} {'higher' if rank > 0 else 'lower'}"
    return f"browsing: with views and carts the deviance is {by}{ranks.replace(' 0.', ' .')} than without"


def _mean(tables: Sequence[Any]) -> Any:
    """The mean of tables or columns of one shape, over those that have a value there; empty of none."""
    return pd.concat(tables).groupby(level=0).mean() if tables else pd.Series(dtype=float)


def _gain(figures: pd.DataFrame, batch: Sequence[str]) -> str:
    if not batch:
        return ""
    best = str(figures.deviance[list(batch)].idxmin())
    lower = less(figures.deviance[best], figures.deviance[SERVED])
    rank = figures.ngini[best] - figures.ngini[SERVED]
    by = f" by {far.strip()}" if (far := share(lower)) else ""
    ranks = "" if math.isnan(rank) else f" and {'raise' if rank > 0 else 'lower'} nGini by {abs(rank):.3f}"
    return f"the best batch model, {best}, would {'lower' if lower > 0 else 'raise'} the deviance{by}{ranks}"
