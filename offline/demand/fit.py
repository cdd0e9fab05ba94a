"""`offline fit`: a cleaned history becomes segments, clusters and demand models, judged on later time, then refitted.

The figures of `evaluate` say how good it is; they decide nothing, for what serves weighs its experts by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from models.features import UNIT
from models.handover import HORIZON
from models.model import Model, Predictions, fit_history
from models.offers import Offers
from models.rfm import Quintiles
from models.segments import NAMES
from offline.demand import customer_value
from offline.demand.customer_value import Judged, Past
from offline.demand.evaluate import Evaluation, evaluate
from offline.demand.examples import TARGETS, Target, cuts_of, learnable
from offline.demand.served import stream
from offline.history.fold import Folded
from offline.segments import rule, standing
from offline.segments.kmeans import Choice

CUTS = 3


@dataclass(frozen=True, eq=False)
class Fit:
    """model: of the whole history. choice: of k. judged: each target's figures on later time ({}: too short).
    value: how the last window of customer_value came out (None: there is none); worth: its total as of the cut-off, in
    words; predicted: what the model says of everybody at the cut-off, in the order of the folded table."""

    model: Model
    choice: Choice
    judged: dict[Target, Evaluation]
    value: Judged | None
    worth: str
    predicted: Predictions

    def profiles(self, folded: Folded) -> pd.DataFrame:
        """A row a segment (index `segment`, by number) as its customers stand at the cut-off: how many, and their means
        of days since last purchase, orders, spend and predicted demand (major units)."""
        raw, names = folded.raw, dict(enumerate(self.model.segments.names))
        frame = pd.DataFrame(
            {
                "days since last purchase": raw["recency"],
                "orders": raw["orders"],
                "spend": raw["spend"] / UNIT,
                "predicted demand": self.predicted.demand,
            }
        ).groupby(self.predicted.segment)
        table = frame.mean()
        table.insert(0, "customers", frame.size())
        return table.rename(index=names).rename_axis("segment")


def run(
    folded: Folded,
    horizon: int = HORIZON,
    progress: Callable[[str], object] = len,
    offers: Offers | None = None,
    names: Sequence[str] | None = None,
    k: int | None = None,
) -> Fit:
    """Fits segments and clusters, judges at the last cuts that leave a full horizon of later time, refits on all.

    offers: go into the model as they are; `folded` was folded with the same; names: of the segments, by number (None:
    ours); k: how many clusters (None: chosen). Raises OfflineError.
    """
    learnable(folded, horizon)
    progress("segments")
    segments = rule.fit(folded, names or NAMES)
    clusters, choice = standing.fit(folded, segments.gap, k)
    at = cuts_of(folded, horizon, CUTS)
    streams = []
    for cut in at:
        progress(f"judging a cut {folded.day - cut} days before the cut-off")
        streams.append(stream(folded.days, cut, horizon))
    judged = {target: evaluate(folded.days, streams, target, horizon, ()) for target in TARGETS if streams}
    progress("fitting on everything")
    model = fit_history(folded.days, folded.day, segments, clusters, horizon)
    model.rfm = Quintiles.fit(folded.raw)
    model.offers = offers or model.offers
    progress("value of 12 months")
    past = Past(folded.days, horizon, {folded.day: model})
    model.value, value = customer_value.fit(past, folded.day), customer_value.judge(past, folded.day)
    predicted = model.predict_many(folded.raw)
    standing.describe(model.clusters, folded.raw, predicted.demand, horizon)
    worth = customer_value.told(float(predicted.value.sum()), value)
    return Fit(model, choice, judged, value, worth, predicted)
