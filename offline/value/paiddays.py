"""How many of a customer's purchase days bring money: beta-binomial, fitted by maximum likelihood.

Who still buys is told from all purchase days, what a day is worth from the paid ones; this is what joins the two.
Rule: a customer's own share counts as far as they have shown it, between that of everybody and their own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln

from offline.demand.buytilldie import Floats, least

STARTS = ((1.0, 1.0), (10.0, 0.1), (10.0, 10.0))  # a, b: every share alike, hardly a day unpaid, half of them


@dataclass(frozen=True)
class PaidDays:
    """A fitted model: each repeat purchase day of a customer is paid with a probability of their own, beta(a, b)."""

    a: float
    b: float

    @property
    def mean_share(self) -> float:
        """Of a customer of whom nothing is known."""
        return self.a / (self.a + self.b)

    def share(self, x: ArrayLike, paid: ArrayLike) -> Floats:
        """(n,) in 0..1: the expected share of paid days in those to come. x: days (n,), >= 0; paid: of them (n,).

        >>> PaidDays(3.0, 1.0).share([0, 8, 96], [0, 0, 96]).round(2)
        array([0.75, 0.25, 0.99])
        """
        share: Floats = (self.a + np.asarray(paid, np.float64)) / (self.a + self.b + np.asarray(x, np.float64))
        return share


def fit(x: ArrayLike, paid: ArrayLike) -> PaidDays:
    """The model of greatest likelihood, a and b within [1e-4, 1e4].

    x: repeat purchase days (n,), >= 0; paid: of them (n,).
    """
    pairs = np.column_stack([np.asarray(x, np.float64), np.asarray(paid, np.float64)])
    different, times = np.unique(pairs, axis=0, return_counts=True)
    n, k = different.T

    def loss(parameters: Floats) -> float:
        a, b = parameters
        return -float((times * (betaln(a + k, b + n - k) - betaln(a, b))).sum() / len(pairs))

    return PaidDays(*least(loss, STARTS))
