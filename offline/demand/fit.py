"""`offline fit`: a cleaned history becomes segments and demand models, judged on later time, then refitted on all.

The figures of `evaluate` say how good it is; they decide nothing, for what serves weighs its experts by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.features import UNIT, log_rfm_many
from models.handover import HORIZON
from models.model import Model, fit_history
from models.offers import Offers
from models.rfm import Quintiles
from models.segments import Segments
from offline.demand import customer_value
from offline.demand.customer_value import Judged, Past
from offline.demand.evaluate import Evaluation, evaluate
from offline.demand.examples import TARGETS, Target, cuts_of, learnable
from offline.demand.served import stream
from offline.errors import OfflineError
from offline.history.fold import Folded
from offline.segments.kmeans import Choice, choose_k, names

CUTS = 3


class FitError(OfflineError):
    """The history does not allow a fit; one line for the user."""


@dataclass(frozen=True, eq=False)
class Fit:
    """model: of the whole history. choice: of k. judged: each target's figures on later time ({}: too short).

    value: how the last window of customer_value came out (None: there is none); worth: its total as of the cut-off, in
    words.
    profiles: a row a segment (index `segment`, the highest spend first), as its customers stand at the cut-off: means
    of days since last purchase, orders, spend and predicted demand (major units), and how many customers.
    """

    model: Model
    choice: Choice
    judged: dict[Target, Evaluation]
    value: Judged | None
    worth: str
    profiles: pd.DataFrame


def segments(folded: Folded) -> tuple[Segments, Choice]:
    """k-means on frozen-scaled log-RFM of everybody at the cut-off, with business names."""
    features = log_rfm_many(folded.raw)
    mean, sd = features.mean(0), features.std(0)
    sd = np.where(sd > 0, sd, 1.0)
    try:
        choice = choose_k((features - mean) / sd)
    except ValueError as error:
        raise FitError(str(error)) from None
    unscaled = choice.centres * sd + mean
    return Segments(choice.centres, mean, sd, range(choice.k), names(unscaled)), choice


def run(
    folded: Folded, horizon: int = HORIZON, progress: Callable[[str], object] = len, offers: Offers | None = None
) -> Fit:
    """Chooses segments, judges at the last cuts that leave a full horizon of later time, refits on everything.

    offers: go into the model as they are; `folded` was folded with the same. Raises OfflineError.
    """
    learnable(folded, horizon)
    progress("segments")
    frozen, choice = segments(folded)
    at = cuts_of(folded, horizon, CUTS)
    streams = []
    for cut in at:
        progress(f"judging a cut {folded.day - cut} days before the cut-off")
        streams.append(stream(folded.days, cut, horizon))
    judged = {target: evaluate(folded.days, streams, target, horizon, ()) for target in TARGETS if streams}
    progress("fitting on everything")
    model = fit_history(folded.days, folded.day, frozen, horizon)
    model.rfm = Quintiles.fit(folded.raw)
    model.offers = offers or model.offers
    progress("value of 12 months")
    past = Past(folded.days, horizon, {folded.day: model})
    model.value, value = customer_value.fit(past, folded.day), customer_value.judge(past, folded.day)
    worth = customer_value.told(float(model.predict_many(folded.raw).value.sum()), value)
    return Fit(model, choice, judged, value, worth, _profiles(folded, model))


def _profiles(folded: Folded, model: Model) -> pd.DataFrame:
    raw = folded.raw
    predicted = model.predict_many(raw)
    frame = pd.DataFrame(
        {
            "segment": [model.segments.name(cluster) for cluster in predicted.cluster.tolist()],
            "days since last purchase": raw["recency"],
            "orders": raw["orders"],
            "spend": raw["spend"] / UNIT,
            "predicted demand": predicted.demand,
        }
    )
    table = frame.groupby("segment").mean().assign(customers=frame["segment"].value_counts())
    return table.sort_values("spend", ascending=False)
