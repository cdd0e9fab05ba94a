"""The plain way to every prediction: one customer at a time, by Python and by river's own `predict_one`.

It is the oracle of the compiled, columnar way that serves. ONE names that of each part; a part without one fails the
shared promises (checks.py).
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from models.demand import ROOT_PRIOR, Correction, Upper
from models.features import CHANCES, UNIT, Raw, expectations, fading
from models.model import Model
from models.offers import Offers, code
from models.rfm import Quintiles
from models.segments import Segments


def inputs(raw: Raw, horizon: int, mean_day: float) -> tuple[float, ...]:
    """What the models see of one customer, in the order of INPUTS."""
    spend, _, s30, s90, n30, n90, v7, c7, orders, days, tenure, recency = raw
    e90 = fading(recency)
    x = [*expectations(spend, s30, s90, n30, n90, v7, c7, orders, days, tenure, e90, horizon, mean_day)]
    for chance in CHANCES:
        x[chance] = -math.expm1(-x[chance])
    return tuple(x)


def log_rfm(raw: Raw) -> tuple[float, ...]:
    """What the segments see of one customer, unscaled."""
    spend, orders, recency = raw[0], raw[8], raw[11]
    return tuple(math.log1p(max(0, value)) for value in (recency, orders, spend / UNIT))


def cluster(part: Segments, raw: Raw) -> int:
    """The number of the nearest centre, by river."""
    scaled = [(x - mean) / sd for x, mean, sd in zip(log_rfm(raw), part.mean.tolist(), part.sd.tolist(), strict=True)]
    return int(part.model.predict_one(dict(enumerate(scaled))))


def corrected(part: Correction, x: Sequence[float]) -> float:
    """The baseline with what was learned, by river."""
    row = {}
    for name, j in zip(part.target.names, part.columns.tolist(), strict=True):
        cap, unit = (1.0, 1.0) if name == "one" else (part.cap, part.unit)
        row[name] = min(x[j], cap) / unit / ROOT_PRIOR
    learned = part.model.predict_one(row) if part.serves else 0.0
    return min(max(0.0, x[part.base] + part.unit * learned), part.target.top)


def bound(part: Upper, demand: float) -> float:
    """The bound of one prediction."""
    return max(demand, float(part.high[bisect_right(part.edges, demand)]))


def rfm(part: Quintiles, raw: Raw) -> int:
    """The three scores as digits: how many edges the customer is above."""
    edges = zip((raw[11], raw[8], raw[0]), (part.recency, part.orders, part.spend), strict=True)
    recency, orders, spend = (sum(value > edge for edge in below) for value, below in edges)
    return 100 * (5 - recency) + 10 * (1 + orders) + 1 + spend


def known(part: Offers, product: str) -> int:
    """The code of a product that stands in the offers, on either side; 0 for any other."""
    return code(product) if any(product in (beside, *offered) for beside, offered in part.beside.items()) else 0


ONE: dict[str, Callable[[Any, Any], float]] = {
    "segments": cluster,
    "spend": corrected,
    "upper": bound,
    "orders": corrected,
    "p_buy": corrected,
    "rfm": rfm,
    "offers": known,
}


def predict(model: Model, raw: Raw) -> dict[str, float]:
    """What one customer is served, by column of Predictions; `raw` is one RAW record as `.item()` gives it."""
    x = inputs(raw, model.horizon, model.mean_day)
    demand = corrected(model.spend, x)
    return {
        "cluster": cluster(model.segments, raw),
        "rfm": rfm(model.rfm, raw),
        "demand": demand,
        "high": bound(model.upper, demand),
        "orders": corrected(model.orders, x),
        "p_buy": corrected(model.p_buy, x),
    }
