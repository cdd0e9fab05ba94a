"""`offline fit`: a cleaned history becomes segments, clusters and demand models, judged on later time, then refitted.

The figures of `evaluate` say how good it is; they decide nothing, for what serves weighs its experts by itself.
Rule: what is judged as of a cut is judged on the history as a stream counts it (`History.streamed`), for at the cut
nobody knew which sales would be taken back.
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
from offline.demand.customer_value import Judged, Outcomes, Past
from offline.demand.evaluate import Evaluation, evaluate
from offline.demand.examples import TARGETS, Target, cuts_of, learnable
from offline.demand.served import stream
from offline.history.fold import Folded
from offline.segments import rule, standing
from offline.segments.kmeans import Choice

CUTS = 3


@dataclass(frozen=True, eq=False)
class Verdict:
    """Of the past, as a stream counts it: each target's figures on later time ({}: too short), how the last window of
    customer_value came out (None: there is none), and what the windows tell about its experts."""

    judged: dict[Target, Evaluation]
    value: Judged | None
    outcomes: Outcomes


@dataclass(frozen=True, eq=False)
class Fit:
    """model: of the whole history. choice: of k. worth: the total of customer_value as of the cut-off, in words;
    predicted: what the model says of everybody at the cut-off, in the order of the folded table."""

    model: Model
    choice: Choice
    verdict: Verdict
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


def judge(streamed: Folded, horizon: int = HORIZON, progress: Callable[[str], object] = len) -> Verdict:
    """Judges at the last cuts that leave a full horizon of later time. streamed: the history as a stream counts it."""
    return _judge(streamed, Past(streamed.days, horizon), progress)


def _judge(streamed: Folded, past: Past, progress: Callable[[str], object]) -> Verdict:
    horizon, streams = past.horizon, []
    for cut in cuts_of(streamed, horizon, CUTS):
        progress(f"judging a cut {streamed.day - cut} days before the cut-off")
        streams.append(stream(streamed.days, cut, horizon))
    judged = {target: evaluate(streamed.days, streams, target, horizon, ()) for target in TARGETS if streams}
    progress("judging the value of 12 months")
    value = customer_value.judge(past, streamed.day)
    return Verdict(judged, value, customer_value.outcomes(past, streamed.day))


def run(
    folded: Folded,
    horizon: int = HORIZON,
    progress: Callable[[str], object] = len,
    offers: Offers | None = None,
    names: Sequence[str] | None = None,
    k: int | None = None,
    verdict: Verdict | None = None,
) -> Fit:
    """Fits segments, clusters, demand and value to a history.

    offers: go into the model as they are; `folded` was folded with the same; names: of the segments, by number (None:
    ours); k: how many clusters (None: chosen); verdict: of `judge` (None: a stream counts this history as it is, and it
    is judged here). Raises OfflineError.
    """
    learnable(folded, horizon)
    progress("segments")
    segments = rule.fit(folded, names or NAMES)
    clusters, choice = standing.served(folded, segments.gap, k)
    past = Past(folded.days, horizon)
    verdict = verdict or _judge(folded, past, progress)
    progress("fitting on everything")
    model = fit_history(folded.days, folded.day, segments, clusters, horizon)
    model.rfm = Quintiles.fit(folded.raw)
    model.offers = offers or model.offers
    progress("value of 12 months")
    past.models[folded.day] = model
    model.value = customer_value.fit(past, folded.day, told=verdict.outcomes)
    predicted = model.predict_many(folded.raw)
    standing.describe(model.clusters, folded.raw, predicted.demand, horizon)
    worth = customer_value.told(float(predicted.value.sum()), verdict.value, model.value.level)
    return Fit(model, choice, verdict, worth, predicted)
