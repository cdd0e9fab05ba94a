"""What a product's own past says of its next weeks: naive and smoothed forecasts, for all products at once.

In every function units holds what was sold, shape (products, weeks), oldest week first, and start (products,) the week
of each product's first sale; before it units are 0. Rule: only the weeks that are handed over are looked at, so a
forecast as of a cut is that of `units[:, :cut]`. Sources: Croston, Operational Research Quarterly 23 (1972); SBA, which
corrects its bias: Syntetos and Boylan, Int. Journal of Forecasting 21 (2005); TSB: Teunter, Syntetos and Babai,
European Journal of Operational Research 214 (2011); classes: Syntetos, Boylan and Croston, Journal of the Operational
Research Society 56 (2005).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

YEAR = 52  # weeks
ALPHA = BETA = 0.1  # smoothing of sizes and intervals, and of the chance of a sale
HALF_LIFE = 90 / 7  # weeks
ADI, CV2 = 1.32, 0.49  # where the classes part
KINDS = ("smooth", "erratic", "intermittent", "lumpy")


def forecasts(units: Floats, start: Ints, horizon: int) -> dict[str, Floats]:
    """Expected units of the next `horizon` weeks (products,) by model, the simplest first.

    >>> sold = forecasts(np.array([[4.0, 0.0, 2.0, 0.0]]), np.array([0]), 2)
    >>> {name: round(float(units[0]), 2) for name, units in sold.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'zero': 0.0, 'last_period': 2.0, 'own_rate': 3.0, 'decayed_rate': 2.87, 'seasonal_naive': 3.0, 'croston': 3.8,
     'sba': 3.61, 'tsb': 3.45}
    """
    size, interval, chance = smoothed(units, start)
    own = horizon * own_rate(units, start)
    return {
        "zero": np.zeros(len(units)),
        "last_period": units[:, -horizon:].sum(1),
        "own_rate": own,
        "decayed_rate": horizon * decayed_rate(units, start),
        "seasonal_naive": np.where(start <= units.shape[1] - YEAR, a_year_ago(units, horizon), own),
        "croston": horizon * size / interval,
        "sba": horizon * (1 - ALPHA / 2) * size / interval,
        "tsb": horizon * chance * size,
    }


def own_rate(units: Floats, start: Ints) -> Floats:
    """Units a week since the first sale."""
    rate: Floats = units.sum(1) / (units.shape[1] - start)
    return rate


def decayed_rate(units: Floats, start: Ints) -> Floats:
    """Units a week since the first sale, weeks weighed by half every 90 days."""
    weight = 0.5 ** (np.arange(units.shape[1])[::-1] / HALF_LIFE)
    rate: Floats = (units * weight).sum(1) / weight[::-1].cumsum()[::-1][start]
    return rate


def a_year_ago(units: Floats, horizon: int) -> Floats:
    """Units of the same weeks a year ago, horizon <= 52; 0 where less than a year is known."""
    first = units.shape[1] - YEAR
    return units[:, first : first + horizon].sum(1) if first >= 0 else np.zeros(len(units))


def smoothed(units: Floats, start: Ints, alpha: float = ALPHA, beta: float = BETA) -> tuple[Floats, Floats, Floats]:
    """(size of a sale, weeks from sale to sale, chance of a sale in a week), each exponentially smoothed.

    Croston's forecast of a week is size / interval, TSB's chance x size. Sizes and intervals move with a sale, the
    chance moves every week: only TSB forgets a product that is no longer sold. The size starts with the first sale, the
    interval with the first one (the whole time since, if there was no second sale), the chance with its inverse.
    """
    weeks = units.shape[1]
    size, interval = units[np.arange(len(units)), start], _first_interval(units, start)
    chance, since = 1 / interval, np.zeros(len(units))
    for week in range(weeks):
        known = week > start
        sold = known & (units[:, week] > 0)
        since += known
        size = np.where(sold, size + alpha * (units[:, week] - size), size)
        interval = np.where(sold, interval + alpha * (since - interval), interval)
        chance = np.where(known, chance + beta * (sold - chance), chance)
        since[sold] = 0
    return size, interval, chance


def _first_interval(units: Floats, start: Ints) -> Floats:
    later = (units > 0) & (np.arange(units.shape[1]) > start[:, None])
    second = np.where(later.any(1), later.argmax(1), units.shape[1])
    interval: Floats = (second - start).astype(np.float64)
    return interval


def usual(units: Floats) -> Floats:
    """Units of a product's usual week, (products,): the mean of the weeks in which it was sold."""
    mean: Floats = units.sum(1) / (units > 0).sum(1)
    return mean


def kinds(units: Floats, start: Ints) -> NDArray[np.str_]:
    """The class of each product, one of KINDS: by the weeks from sale to sale (ADI) and how sizes vary (CV²).

    >>> kinds(np.array([[2.0, 2.0, 2.0], [9.0, 1.0, 1.0], [2.0, 0.0, 2.0], [9.0, 0.0, 1.0]]), np.zeros(4, int)).tolist()
    ['smooth', 'erratic', 'intermittent', 'lumpy']
    """
    sales = (units > 0).sum(1)
    spaced = (units.shape[1] - start) / sales > ADI
    varied = np.square(units).sum(1) / sales / np.square(usual(units)) - 1 > CV2
    found: NDArray[np.str_] = np.array(KINDS)[2 * spaced + varied]
    return found


def naive_error(units: Floats, start: Ints) -> Floats:
    """Mean absolute change from week to week since the first sale, (products,); 0 where there is one week or no change.

    By it MASE divides (Hyndman and Koehler, International Journal of Forecasting 22, 2006).
    """
    counts = np.arange(1, units.shape[1]) > start[:, None]
    change = np.where(counts, np.abs(np.diff(units)), 0.0).sum(1)
    error: Floats = change / np.maximum(counts.sum(1), 1)
    return error
