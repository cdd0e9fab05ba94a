"""The plain way to every prediction: one customer at a time, by Python and by river's own `predict_one`.

It is the oracle of the compiled, columnar way that serves. ONE names that of each part; a part without one fails the
shared promises (checks.py).
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.bound import Upper
from models.cadence import BOUGHT, COUNT, GAPS, MONEY, ONCE, ORDERED, PRIOR, SINCE, SPENT, Cadence
from models.clusters import Clusters
from models.features import INPUTS, UNIT, Raw, expectations, fading
from models.mix import BuyMix, Mix
from models.model import PARTS, Model
from models.offers import Offers, code
from models.rfm import Quintiles
from models.ridge import ROOT_PRIOR, Ridge
from models.segments import (
    AT_RISK,
    CHAMPIONS,
    FRESH,
    LONG,
    LOST,
    LOYAL,
    NEW,
    ONE_TIME,
    PROMISING,
    Segments,
)
from models.value import REPEATS, SEEN, Value


def own(raw: Raw, usual: float) -> tuple[Raw, float]:
    """The customer in a scale of its own, and that scale: 1 up to 5 usual days' spend on a day but the largest."""
    spend, window, s30, s90, n30, n90, v7, c7, *counts, peak = raw
    scale = (float(spend) - float(peak)) / max(raw[9] - 1, 1) / UNIT / (5 * usual)
    if scale <= 1:
        return raw, 1.0
    s30, s90 = (float(np.float32(each / scale)) for each in (s30, s90))
    orders, days, tenure, recency = counts
    money = round(spend / scale), round(window / scale), s30, s90
    return (*money, n30, n90, v7, c7, orders, days, tenure, recency, round(peak / scale)), scale


def inputs(raw: Raw, horizon: int, usual: float) -> tuple[float, ...]:
    """What the models see of one customer, in the order of INPUTS."""
    spend, _, s30, s90, n30, n90, v7, c7, orders, days, tenure, recency, _ = raw
    e90 = fading(recency)
    return expectations(spend, s30, s90, n30, n90, v7, c7, orders, days, tenure, e90, horizon, usual)


def standing(raw: Raw, gap: float) -> tuple[float, ...]:
    """What the clusters see of one customer, unscaled."""
    spend, orders, days, tenure, recency = raw[0], *raw[8:12]
    usual = max(1.0, (gap + max(0, tenure - recency)) / max(1, days))
    silent = math.log2(min(16.0, max(0.25, max(0, recency) / usual)))
    return silent, math.log1p(max(0, orders)), math.log1p(max(0, spend / UNIT))


def segment(part: Segments, raw: Raw) -> int:
    """The first segment, of the gravest to the best, whose sentence is true."""
    spend, days, tenure, recency = raw[0], *raw[9:12]
    since, span = max(0, recency), max(0, tenure - recency)
    silent, overdue = since / max(1.0, (part.gap + span) / max(1, days)), recency > span / max(1, days - 1)
    fresh = silent <= 1 or recency <= FRESH
    first_true = [
        (LOST, silent > 2 * part.late and recency > LONG and overdue),
        (NEW, days < 2 and fresh),
        (ONE_TIME, days < 2),
        (AT_RISK, silent > part.late and overdue),
        (PROMISING, days < 3),
        (CHAMPIONS, spend >= part.top),
        (LOYAL, True),
    ]
    return next(number for number, true in first_true if true)


def cluster(part: Clusters, raw: Raw) -> int:
    """The number of the nearest centre, by river."""
    parts = zip(standing(raw, part.gap), part.mean.tolist(), part.sd.tolist(), strict=True)
    return int(part.model.predict_one(dict(enumerate((x - mean) / sd for x, mean, sd in parts))))


def corrected(part: Ridge, x: Sequence[float]) -> float:
    """The baseline with what was learned, by river."""
    row = {}
    for name, j in zip(part.target.names, part.columns.tolist(), strict=True):
        cap, unit = (1.0, 1.0) if name == "one" else (part.cap, part.unit)
        row[name] = min(x[j], cap) / unit / ROOT_PRIOR
    return float(max(0.0, x[part.base] + part.unit * part.model.predict_one(row)))


def cell(raw: Raw, horizon: int) -> int:
    """Where one customer stands in its rhythm."""
    days, tenure, recency = raw[9], raw[10], raw[11]
    silent = max(recency, 0)
    if days < 2:
        return bisect_left(ONCE.tolist(), silent)
    gap = max(tenure - recency, 0) / (days - 1)
    row = bisect_left((GAPS * horizon).tolist(), gap)
    column = bisect_left(SINCE.tolist(), silent / max(gap, 1.0))
    return 9 + (63 if days > 3 else 0) + 9 * row + column


def followed(part: Cadence, raw: Raw, x: Sequence[float]) -> tuple[float, float, float]:
    """What followed others who stood there: spend, orders, share of buyers."""
    s, n90 = part.sums[cell(raw, part.horizon)].tolist(), x[INPUTS.index("n90")]
    money = min((2 * part.usual + max(raw[0] / UNIT, 0)) / (2 + max(raw[9], 0)), part.cap)
    bought, count = part.sums[:, BOUGHT].sum(), part.sums[:, COUNT].sum()
    share = (bought + PRIOR * (n90 / (1 + n90))) / (count + PRIOR)
    return (
        money * ((s[SPENT] + PRIOR * part.usual * n90) / (s[MONEY] + PRIOR * part.usual)),
        (s[ORDERED] + PRIOR * n90) / (s[COUNT] + PRIOR),
        (s[BOUGHT] + PRIOR * share) / (s[COUNT] + PRIOR),
    )


def mixed(part: Mix, x: Sequence[float], ridge: float, cadence: float) -> float:
    """The four experts by their weights."""
    r90, r30 = ("r90", "r30") if part.capped else ("n90", "n30")
    most = part.cap * max(1.0, x[INPUTS.index("n90")]) if part.capped else math.inf
    said = (x[INPUTS.index(r90)], x[INPUTS.index(r30)], ridge, cadence)
    shares: list[float] = part.weights.shares.tolist()
    return sum(min(each, most) * share for each, share in zip(said, shares, strict=True))


def chance(part: BuyMix, orders: float, buyers: float) -> float:
    """That anything is bought."""
    shares: list[float] = part.weights.shares.tolist()
    return min(shares[0] * -math.expm1(-orders) + shares[1] * buyers, orders, 1.0)


def bound(part: Upper, demand: float) -> float:
    """The bound of one prediction."""
    return max(demand, demand * float(part.limits[bisect_right(part.edges.tolist(), demand)]))


def worth(part: Value, raw: Raw, demand: float) -> float:
    """Twelve months: the demand carried on, orders of MBG/NBD times a purchase day, the chain; mixed."""
    days, tenure, recency = raw[9], raw[10], raw[11]
    money = min((2 * part.usual + max(raw[0] / UNIT, 0)) / (2 + max(days, 0)), part.cap)
    most, on_chain = part.window / part.horizon, money * float(part.chain[cell(raw, part.horizon)])
    if part.buying is None:
        said = (demand * most, 0.0, on_chain)
    else:
        r, alpha, a, b, near, far = part.buying
        repeats, seen = max(0, days - 1), max(0, tenure - 1)
        last = min(seen, max(0, tenure - recency)) if repeats else 0
        silence = (r + repeats) * math.log((alpha + seen) / (alpha + last))
        alive = 1 / (1 + a / (b + repeats) * math.exp(min(silence, 700.0)))
        ahead = math.exp(between(far, repeats, seen))
        growth = min(ahead / math.exp(between(near, repeats, seen)), most)
        said = (demand * growth, alive * ahead * money, on_chain)
    return part.level * sum(each * weight for each, weight in zip(said, part.weights, strict=True))


def between(table: Any, repeats: int, seen: int) -> float:
    """Of a table over REPEATS and SEEN, linear in the logarithms, and no farther than its ends."""
    x, y = math.log1p(min(repeats, REPEATS[-1])), math.log1p(min(seen, SEEN[-1]))
    columns = [float(np.interp(x, np.log1p(REPEATS), column)) for column in table.T]
    return float(np.interp(y, np.log1p(SEEN), columns))


def rfm(part: Quintiles, raw: Raw) -> int:
    """The three scores as digits: how many edges the customer is above."""
    edges = zip((raw[11], raw[8], raw[0]), (part.recency, part.orders, part.spend), strict=True)
    recency, orders, spend = (sum(value > edge for edge in below) for value, below in edges)
    return 100 * (5 - recency) + 10 * (1 + orders) + 1 + spend


def known(part: Offers, product: str) -> int:
    """The code of a product that stands in the offers, on either side; 0 for any other."""
    return code(product) if any(product in (beside, *offered) for beside, offered in part.beside.items()) else 0


ONE: dict[str, Callable[..., Any]] = {
    "segments": segment,
    "clusters": cluster,
    "spend": corrected,
    "orders": corrected,
    "cadence": followed,
    "spend_mix": mixed,
    "orders_mix": mixed,
    "buy_mix": chance,
    "upper": bound,
    "value": worth,
    "rfm": rfm,
    "offers": known,
}


def said(model: Model, raw: Raw) -> dict[str, Any]:
    """All that the parts say of one customer, by column, in a scale of its own; `raw`: one RAW record as `.item()` has
    it."""
    mine, scale = own(raw, model.usual)
    seen: dict[str, Any] = {"raw": raw, "own": mine, "inputs": inputs(mine, model.horizon, model.usual)}
    for name, role in PARTS.items():
        if role.gives:
            columns = ONE[name](getattr(model, name), *(seen[each] for each in role.sees))
            seen |= dict(zip(role.gives, columns if len(role.gives) > 1 else (columns,), strict=True))
    return seen | {"scale": scale}


def served(model: Model, raw: Raw) -> dict[str, Any]:
    """The same as it is served, money in major units."""
    seen = said(model, raw)
    return seen | {column: seen[column] * seen["scale"] for column in ("demand", "high", "value")}
