"""`offline demand`: one family of regressions learns from a whole history and predicts everybody's next horizon."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from offline.demand.examples import Floats, Target, examples_of, table
from offline.demand.regressors import Tuned, tune
from offline.history.fold import Folded


@dataclass(frozen=True, eq=False)
class Prediction:
    """tuned: the regression; customers: their ids (n,), in the order of the fold; predicted: (n,) expectations of the
    horizon from the cut-off on, in the target's unit, at least 0."""

    tuned: Tuned
    customers: list[str]
    predicted: Floats

    def frame(self, column: str) -> pd.DataFrame:
        """customer_id, ascending, and the predictions with 4 decimals under this name."""
        frame = pd.DataFrame({"customer_id": self.customers, column: self.predicted.round(4)})
        return frame.sort_values("customer_id", ignore_index=True)


def run(
    folded: Folded,
    streamed: Folded,
    name: str,
    target: Target,
    horizon: int,
    progress: Callable[[str], object] = len,
) -> Prediction:
    """Tunes the family `name` of REGRESSORS on time and predicts everybody. Raises OfflineError.

    streamed: the history as a stream counts it, from which it learns.
    """
    examples, usual = examples_of(streamed, target, horizon)
    progress(f"tuning {name}")
    tuned = tune(name, examples, target, horizon)
    return Prediction(tuned, folded.table.names, tuned.predict(table(folded.raw, horizon, usual)))
