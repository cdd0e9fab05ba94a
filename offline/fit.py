"""`offline fit`: a cleaned history becomes segments and demand models, judged on later time, then refitted on all.

The rule of judging: a cut's model learns only what had matured by the cut; it is judged on examples that opened later.
So no label window that crosses the cut is on either side.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.customers import HORIZON
from models.features import INPUTS, UNIT, inputs_many, log_rfm_many
from models.model import Model, fit_history
from models.segments import Segments
from offline.errors import OfflineError
from offline.fold import Day, Folded
from offline.metrics import compare
from offline.segment import Choice, choose_k, names

CUTS = 3


class FitError(OfflineError):
    """The history does not allow a fit; one line for the user."""


@dataclass(frozen=True, eq=False)
class Fit:
    """The model of the whole history, how k was chosen, and the figures on later time (mean over cuts, and spread)."""

    model: Model
    choice: Choice
    figures: pd.DataFrame
    cuts: list[int]


def segments(folded: Folded) -> tuple[Segments, Choice]:
    """k-means on frozen-scaled log-RFM of everybody at the cut-off, with business names."""
    everybody = np.arange(len(folded.table))
    features = log_rfm_many(folded.table.observe(everybody, folded.day))
    mean, sd = features.mean(0), features.std(0)
    sd = np.where(sd > 0, sd, 1.0)
    try:
        choice = choose_k((features - mean) / sd)
    except ValueError as error:
        raise FitError(str(error)) from None
    unscaled = choice.centres * sd + mean
    return Segments(choice.centres, mean, sd, range(choice.k), names(unscaled)), choice


def judge(days: list[Day], cut: int, horizon: int, frozen: Segments) -> pd.DataFrame:
    """The model as of `cut` beside the baselines, on the examples that opened in the horizon from `cut` on."""
    model = fit_history([day for day in days if day[0] <= cut], cut, frozen, horizon)
    later = [e for d, _, e in days if cut + horizon <= d < cut + 2 * horizon]
    closed = np.concatenate(later)
    closed = closed[closed["open"] == 1]
    x = inputs_many(closed["then"], horizon, model.mean_day)
    predictions = {
        "zero": np.zeros(len(closed)),
        "last_period": np.maximum(closed["then"]["window"] / UNIT, 0),
        "own_rate": x[:, INPUTS.index("own")],
        "decayed_rate": x[:, INPUTS.index("r90")],
        "model": model.predict_many(closed["then"]).demand,
    }
    return compare(closed["label"] / UNIT, predictions, model.floor)


def fit(folded: Folded, horizon: int = HORIZON, progress: Callable[[str], object] = len) -> Fit:
    """Chooses segments, judges at the last cuts that leave a full horizon of later time, refits on everything."""
    if not folded.days:
        raise FitError(f"no customer's history spans a landmark: more than {horizon} days of purchases are needed")
    progress("segments")
    frozen, choice = segments(folded)
    first = folded.days[0][0]
    cuts = [cut for i in range(CUTS) if (cut := folded.day - (2 + i) * horizon) > first + horizon]
    tables = []
    for cut in cuts:
        progress(f"judging a cut {folded.day - cut} days before the end")
        tables.append(judge(folded.days, cut, horizon, frozen))
    progress("fitting on everything")
    model = fit_history(folded.days, folded.day, frozen, horizon)
    return Fit(model, choice, _summary(tables), cuts)


def _summary(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean over the cuts, and for deviance and nGini the spread between them."""
    if not tables:
        return pd.DataFrame()
    stacked = pd.concat(tables, keys=range(len(tables)), names=["cut"])
    by_model = stacked.groupby("model", sort=False)
    spread = (by_model.max() - by_model.min())[["deviance", "ngini"]].add_suffix("_spread")
    return by_model.mean().join(spread)
