"""Who still buys, and how often: BG/NBD and MBG/NBD, two buy-till-you-die models of repeat purchases, fitted by ML.

While alive a customer buys at a rate of their own (gamma with shape r and rate alpha) and may drop out after each
purchase with a probability of their own (beta with a and b). BG/NBD gives the first purchase no such chance, MBG/NBD
does: that is their only difference, and here one number, `chances`.
Rule: sums of logarithms and averages of positive terms only. The published expectation has a pole at a = 1 and a 2F1
that overflows; here the same expectation is an average over the dropout probability, so it is finite and grows with t.
Sources: Fader, Hardie, Lee (2005), "Counting Your Customers the Easy Way", Marketing Science 24(2), "FHL" below;
Batislam, Denizel, Filiztekin (2007), Int. Journal of Research in Marketing 24(3), "BDF".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import betainccinv, betaincinv, betaln, expit, gammaln, xlog1py
from threadpoolctl import threadpool_limits

from offline.errors import OfflineError

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# What a maximum-likelihood fit of this package may find: a wider range gives no other expectation, only worse numerics.
LOWEST, HIGHEST = 1e-4, 1e4
REPEATERS = 2  # of one customer's repeats no spread between customers can be told


class ValueModelError(OfflineError):
    """The history does not allow a customer-value model; one line for the user."""


@dataclass(frozen=True)
class BuyTillDie:
    """A fitted model: heterogeneity of the rate (r, alpha) and of the dropout (a, b), all > 0.

    alpha is in the unit of time of the data. chances: of dropping out that the first purchase brings, 0 (BG/NBD) or 1
    (MBG/NBD). In all methods x (repeat purchases), t_x (time of the last one) and T (time observed) are (n,), since the
    first purchase, 0 <= t_x <= T, and t_x = 0 where x = 0.
    """

    r: float
    alpha: float
    a: float
    b: float
    chances: int = 0

    @property
    def mean_dropout(self) -> float:
        """The probability that an average customer drops out at a purchase, in (0, 1)."""
        return self.a / (self.a + self.b)

    def log_likelihood(self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> Floats:  # noqa: N803
        """(n,) of each customer: FHL eq. 3 integrated over rate and dropout (their eq. 6); BDF's for `chances` = 1."""
        n, last, seen = _arrays(x, t_x, T)
        return self._likelihood(n, last, seen, *np.unique(n, return_inverse=True))

    def _likelihood(self, n: Floats, last: Floats, seen: Floats, counts: Floats, which: Ints) -> Floats:
        """counts: the different n, a few dozen: the gammas of all would take most of the time; which: of each n."""
        bought = (gammaln(self.r + counts) - gammaln(self.r) + self.r * np.log(self.alpha))[which]
        bought -= (self.r + n) * np.log(self.alpha + seen)
        stayed = (betaln(self.a, self.b + (counts + self.chances)) - betaln(self.a, self.b))[which]
        likelihood: Floats = bought + stayed + np.logaddexp(0.0, self._log_odds_dead(n, last, seen))
        return likelihood

    def p_alive(self, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> Floats:  # noqa: N803
        """(n,) in [0, 1]: P(not dropped out by T). 1 for x = 0 under BG/NBD, which cannot lose who never came back.

        Fader, Hardie, Lee (2008), "Computing P(alive) Using the BG/NBD Model", eq. 1.

        >>> BuyTillDie(0.2426, 4.4136, 0.7929, 2.4259).p_alive([0, 2], [0, 30.43], [38.86, 38.86]).round(4)
        array([1.    , 0.7266])
        """
        alive: Floats = expit(-self._log_odds_dead(*_arrays(x, t_x, T)))
        return alive

    def expected_orders(self, t: ArrayLike, x: ArrayLike, t_x: ArrayLike, T: ArrayLike) -> Floats:  # noqa: N803
        """(n, m): expected purchases in (T, T + t] for each of the m times t >= 0; finite, >= 0, growing with t.

        FHL eq. 10, as P(alive) times the mean of (1 - (1 + p t / (alpha + T))^-(r + x)) / p over the dropout
        probability p of who is still alive, beta with a and b + x (+ 1 under MBG/NBD).

        >>> BuyTillDie(0.2426, 4.4136, 0.7929, 2.4259).expected_orders([39], [2], [30.43], [38.86]).round(3)
        array([[1.226]])
        """
        orders: Floats = self.expected_while_alive(t, x, T) * self.p_alive(x, t_x, T)[:, None]
        return orders

    def expected_while_alive(self, t: ArrayLike, x: ArrayLike, T: ArrayLike) -> Floats:  # noqa: N803
        """(n, m): the same of who has not dropped out by T; > 0 for t > 0."""
        n, seen = _arrays(x, T)
        times = np.asarray(t, np.float64)
        orders = np.empty((len(n), len(times)))
        for count in np.unique(n):
            rows = np.flatnonzero(n == count)
            p, weight = _beta_nodes(self.a, self.b + count + self.chances)
            tenures, which = np.unique(seen[rows], return_inverse=True)
            ahead = (times / (self.alpha + tenures)[:, None])[:, :, None]
            orders[rows] = (-np.expm1(xlog1py(-(self.r + count), p * ahead)) / p * weight).sum(2)[which]
        return orders

    def _log_odds_dead(self, x: Floats, t_x: Floats, T: Floats) -> Floats:  # noqa: N803
        """log P(dropped out at t_x) - log P(alive at T); -inf where no purchase could have been the last."""
        survived = x + self.chances
        certain = survived == 0
        odds = np.log(self.a / (self.b + np.where(certain, 1.0, survived) - 1))
        odds += (self.r + x) * np.log1p((T - t_x) / (self.alpha + t_x))
        return np.where(certain, -np.inf, odds)


def fit(x: ArrayLike, t_x: ArrayLike, T: ArrayLike, chances: int = 0) -> BuyTillDie:  # noqa: N803
    """The model of greatest likelihood, each parameter within [1e-4, 1e4] (alpha: times the longest T).

    x, t_x, T: (n,), as BuyTillDie says, any unit of time; chances: 0 for BG/NBD, 1 for MBG/NBD. ValueModelError where
    fewer than 2 customers bought again.
    """
    n, last, seen = _arrays(x, t_x, T)
    if (repeaters := int((n > 0).sum())) < REPEATERS:
        raise ValueModelError(
            f"customers who bought on a second day: {repeaters} of {len(n)}; at least {REPEATERS} are needed:"
            f" give a longer history"
        )
    span = seen.max()
    different, times = np.unique(np.column_stack([n, last / span, seen / span]), axis=0, return_counts=True)
    repeats, latest, tenure = np.ascontiguousarray(different.T)
    counts, which = np.unique(repeats, return_inverse=True)

    def loss(parameters: Floats) -> float:
        r, alpha, a, b = parameters
        told = BuyTillDie(r, alpha, a, b, chances)._likelihood(repeats, latest, tenure, counts, which)
        return float(-(times * told).sum() / len(n))

    r, alpha, a, b = least(loss, STARTS)
    return BuyTillDie(r, alpha * float(span), a, b, chances)


def clv(raw: NDArray[np.void]) -> tuple[Floats, Floats, Floats]:
    """(x, t_x, T) in days of (n,) RAW: purchase days after the first, first to last, first to the last whole day."""
    x, span = np.maximum(raw["days"] - 1.0, 0.0), np.maximum(raw["tenure"] - 1.0, 0.0)
    last = np.clip(raw["tenure"] - raw["recency"], 0.0, span)
    return x, np.where(x > 0, last, 0.0), span


# Times in units of the longest T: a usual shop, few who come back, much dropout, hardly any.
STARTS = ((1.0, 0.1, 1.0, 3.0), (0.2, 0.1, 0.5, 0.5), (1.0, 1.0, 5.0, 5.0), (1.0, 0.1, 0.1, 100.0))


def least(loss: Callable[[Floats], float], starts: Sequence[Sequence[float]]) -> list[float]:
    """The parameters, each within [LOWEST, HIGHEST], of least loss over all starts; searched as their logarithms."""
    within = [(np.log(LOWEST), np.log(HIGHEST))] * len(starts[0])
    with threadpool_limits(limits=1):  # each step solves for four numbers: threads would only wait for one another
        found = [
            minimize(
                lambda logs: loss(np.exp(logs)),
                np.log(start),
                method="L-BFGS-B",
                jac="3-point",
                bounds=within,
                options={"ftol": 1e-12},
            )
            for start in starts
        ]
    best = min(found, key=lambda result: float(result.fun))
    return [float(value) for value in np.exp(best.x)]


def _arrays(*columns: ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.asarray(column, np.float64) for column in columns)


def _beta_nodes(a: float, b: float) -> tuple[Floats, Floats]:
    """Nodes p in (0, 1] and weights (sum 1) whose weighted mean is that over a beta with a, b: quantiles at tanh-sinh
    nodes, for these take singular ends, which a quantile function has, as they are (Takahasi, Mori 1974)."""
    step = np.arange(-30, 31) / 10  # beyond 3 the tails are below 1e-15, where SciPy's quantiles near b = 1 are NaN
    tail = expit(-np.pi * np.abs(np.sinh(step)))  # the distance to the nearer end, exact where 1 - tail is not
    p = np.where(step < 0, betaincinv(a, b, tail), betainccinv(a, b, tail))
    weight = np.cosh(step) * tail * (1 - tail)
    return np.maximum(p, 1e-200), weight / weight.sum()
