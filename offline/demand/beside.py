"""What a new fit would have served beside what was served, on the same examples: is it worth a publish?

Rule: nobody is judged by what they had learned. The new way stands as of a cut two horizons back and learns on daily,
as the stream does; what was served stands in the examples themselves, as it was promised when they opened.
"""

import pandas as pd

from models.features import UNIT
from offline.demand.evaluate import SAME
from offline.demand.metrics import compare, less, share
from offline.demand.served import stream
from offline.history.fold import Folded

SERVING, NEW = "serving", "new"
FEWEST = 100  # examples that can judge anything
FIGURES = ["ngini", "deviance", "bias"]


def beside(folded: Folded, served: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """Figures of both (index `model`: serving, new; columns n and FIGURES) on examples that closed in the last horizon.

    folded: the history up to the day that serving has learned through. served: index (customer_id, closing day),
    columns label and demand, major units. Only examples that both know are judged: n may be 0, and then there are no
    figures.
    """
    cut = folded.day - 2 * horizon + 1
    predicted = stream(folded.days, cut, horizon).predictions["spend"]
    closing = [each for each in folded.days if cut + horizon <= each[0] < cut + 2 * horizon]
    keys = [
        (name, day)
        for day, names, entries in closing
        for name, closes in zip(names, (entries["open"] == 1).tolist(), strict=True)
        if closes
    ]
    new = pd.Series(predicted, pd.MultiIndex.from_tuples(keys, names=served.index.names), dtype=float) if keys else None
    both = served.join(new.rename("new"), how="inner") if new is not None else served[:0].assign(new=0.0)
    if both.empty:
        return pd.DataFrame({"n": 0}, index=pd.Index([SERVING, NEW], name="model"))
    floor = 0.01 * max(float(both["label"].mean()), 1 / UNIT)
    figures = compare(both["label"], {SERVING: both["demand"], NEW: both["new"]}, floor)[FIGURES]
    figures.insert(0, "n", len(both))
    return figures


def verdict(figures: pd.DataFrame) -> tuple[bool, str]:
    """Is the new fit not worse, and why, in a line.

    >>> verdict(pd.DataFrame({"n": 500, "deviance": [10.0, 9.0]}, index=[SERVING, NEW]))
    (True, 'the new fit is better: its deviance is 10.0% lower on 500 examples')
    """
    n = int(figures["n"].iloc[0])
    if n < FEWEST:
        return False, f"the new fit cannot be judged: {n:,} examples are known to both, and {FEWEST} are needed"
    lower = less(figures["deviance"][NEW], figures["deviance"][SERVING])
    if abs(lower) <= SAME:
        return True, f"the new fit is as good as what was served, on {n:,} examples"
    word, other = ("better", "lower") if lower > 0 else ("worse", "higher")
    return lower > 0, f"the new fit is {word}: its deviance is {share(lower)}{other} on {n:,} examples"
