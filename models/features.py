"""From a customer's raw sums (RAW of models.customers) to what the models see: expectations in the target's own unit.

The formulae stand once, in plain Python on scalars, and are compiled for blocks; arithmetic gives the same bits either
way. exp, log1p and log2 may differ in the last bits when compiled (a test holds them to 1e-12 relative), so what is
learned takes them from `math`, which gives the same bits in every process of one machine; only serving compiles them.
Bounds: every input is finite and >= 0 for any finite RAW; counts, days and sums below 0 are taken as 0.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.compiled import njit
from models.rows import RAW

UNIT = 1e4  # RAW holds money in 1/10,000 of the major unit
LN2 = 0.6931471805599453
SPEND_INPUTS = ("r30", "r90", "o90m", "own", "m90", "v7m", "c7m")
ORDER_INPUTS = ("n30", "n90", "own_orders", "e90_orders", "v7_orders", "c7_orders")
INPUTS = (*SPEND_INPUTS, *ORDER_INPUTS, "one")

# One RAW record as `.item()` gives it.
Raw = tuple[int, int, float, float, float, float, float, float, int, int, int, int, int]


def expectations(
    spend: int,
    s30: float,
    s90: float,
    n30: float,
    n90: float,
    v7: float,
    c7: float,
    orders: int,
    days: int,
    tenure: int,
    e90: float,
    horizon: int,
    usual: float,
) -> tuple[float, ...]:
    """The inputs in the order of INPUTS; docs/models.md lists the formulae.

    e90: exp(-recency / 90); usual: spend on a usual purchase day, major units.
    """
    days, orders, since = max(0, days), max(0, orders), horizon + max(0, tenure)
    per_day = max(0.0, (2 * usual + spend / UNIT) / (2 + days))  # spend on a purchase day, shrunk by two days' worth
    orders_day = (2 + orders) / (2 + days)
    rate30, rate90 = LN2 / 30 * horizon, LN2 / 90 * horizon  # times a decayed sum: its expectation over the horizon
    n_30, n_90 = max(0.0, n30) * rate30, max(0.0, n90) * rate90
    views, carts = max(0.0, v7), max(0.0, c7)
    return (
        max(0.0, s30) / UNIT * rate30,
        max(0.0, s90) / UNIT * rate90,
        n_90 * per_day,
        max(0.0, spend / UNIT) * horizon / since,
        per_day * e90,
        views * per_day,
        carts * per_day,
        n_30,
        n_90,
        orders * horizon / since,
        orders_day * e90,
        views * orders_day,
        carts * orders_day,
        1.0,
    )


def fading(recency: int) -> float:
    """How much of a habit is left after so many days."""
    return math.exp(-max(0, recency) / 90)


def silence(days: int, tenure: int, recency: int, gap: float) -> float:
    """Days since the last purchase in the customer's own usual gaps: the mean of the gaps between their purchase days
    and of one of the shop's, `gap` days; a day at the least.

    >>> silence(4, 120, 9, 30.0), silence(1, 15, 15, 30.0)
    (0.2553191489361702, 0.5)
    """
    return max(0, recency) / max(1.0, (gap + max(0, tenure - recency)) / max(1, days))


def standing(silent: float, spend: int, orders: int) -> tuple[float, float, float]:
    """How a customer stands: log2 of the silence in usual gaps (1/4 to 16 of them), log(1 + orders), log(1 + net spend
    in major units)."""
    rhythm = min(4.0, max(-2.0, math.log2(max(0.25, silent))))
    return rhythm, math.log1p(max(0, orders)), math.log1p(max(0.0, spend / UNIT))


def standing_one(raw: Raw, gap: float) -> tuple[float, float, float]:
    """The standing of one customer. gap: the shop's usual one, days.

    >>> [round(x, 3) for x in standing_one((1_200_000, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4, 4, 120, 9, 0), 30.0)]
    [-1.97, 1.609, 4.796]
    """
    return standing(silence(raw[9], raw[10], raw[11], gap), raw[0], raw[8])


def inputs_exact(raw: NDArray[np.void], horizon: int, usual: float) -> NDArray[np.float64]:
    """(n, len(INPUTS)) in the order of INPUTS, exponentials by `math`: what learning reads.

    >>> raw = np.array([(1_200_000, 0, 300_000, 600_000, 1, 2, 3, 0, 4, 4, 120, 9, 0)], RAW)
    >>> x = dict(zip(INPUTS, inputs_exact(raw, 30, 36.0)[0].tolist()))
    >>> {name: round(x[name], 2) for name in ("r30", "r90", "own", "v7m")}
    {'r30': 20.79, 'r90': 13.86, 'own': 24.0, 'v7m': 96.0}
    """
    out = np.empty((len(raw), len(INPUTS)))
    recency, each = np.unique(raw["recency"], return_inverse=True)
    e90 = np.array([fading(days) for days in recency.tolist()], np.float64)[each]
    _fill_expectations(laid_out(raw), e90, horizon, float(usual), out)
    return out


def inputs_many(raw: NDArray[np.void], horizon: int, usual: float) -> NDArray[np.float64]:
    """(n, len(INPUTS)) by the compiled formulae: what serving reads; equals `inputs_exact` to 1e-12 relative."""
    out = np.empty((len(raw), len(INPUTS)))
    _fill_inputs(laid_out(raw), horizon, float(usual), out)
    return out


def silence_many(raw: NDArray[np.void], gap: float) -> NDArray[np.float64]:
    """(n,) silence in usual gaps, by the compiled formula: the same bits as `silence`."""
    out = np.empty(len(raw))
    _fill_silence(laid_out(raw), float(gap), out)
    return out


def standing_many(raw: NDArray[np.void], gap: float) -> NDArray[np.float64]:
    """(n, 3) standing, by the compiled formula."""
    out = np.empty((len(raw), 3))
    _fill_standing(laid_out(raw), float(gap), out)
    return out


def laid_out(raw: NDArray[np.void]) -> NDArray[np.void]:
    """`raw` in the one memory layout that the kernels are compiled for (copied only when it has another)."""
    as_it_is = raw.dtype is RAW and raw.flags.c_contiguous and raw.flags.writeable
    return raw if as_it_is else np.require(raw, RAW, ["C", "W"])


_fading = njit(fading)
_expectations = njit(expectations)
_silence = njit(silence)
_standing = njit(standing)


@njit
def _fill_expectations(raw: Any, e90: Any, horizon: int, usual: float, out: Any) -> None:
    for i in range(len(raw)):
        r = raw[i]
        x = _expectations(
            r.spend,
            np.float64(r.s30),
            np.float64(r.s90),
            np.float64(r.n30),
            np.float64(r.n90),
            np.float64(r.v7),
            np.float64(r.c7),
            r.orders,
            r.days,
            r.tenure,
            e90[i],
            horizon,
            usual,
        )
        for j in range(len(x)):
            out[i, j] = x[j]


@njit
def _fill_inputs(raw: Any, horizon: int, usual: float, out: Any) -> None:
    e90 = np.empty(len(raw))
    for i in range(len(raw)):
        e90[i] = _fading(raw[i].recency)
    _fill_expectations(raw, e90, horizon, usual, out)


@njit
def _fill_silence(raw: Any, gap: float, out: Any) -> None:
    for i in range(len(raw)):
        out[i] = _silence(raw[i].days, raw[i].tenure, raw[i].recency, gap)


@njit
def _fill_standing(raw: Any, gap: float, out: Any) -> None:
    for i in range(len(raw)):
        r = raw[i]
        silent = _silence(r.days, r.tenure, r.recency, gap)
        out[i, 0], out[i, 1], out[i, 2] = _standing(silent, r.spend, r.orders)
