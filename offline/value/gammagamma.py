"""How much a customer spends on a paid purchase day: Gamma-Gamma, fitted by maximum likelihood.

A customer's spend on a day is gamma with shape p and a rate of their own, which is gamma with shape q and rate v.
Rule: only days of positive value count, and q stays above 1: below, the expected spend is infinite. The model takes
spend and frequency for independent; whether they are is the caller's to look at.
Source: Fader, Hardie (2013), "The Gamma-Gamma Model of Monetary Value", brucehardie.com/notes/025.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from offline.demand.buytilldie import REPEATERS, Floats, ValueModelError, least

LEAST = 1.05  # of q: the expected spend of who never paid again is then at most 20 p v
STARTS = ((5.0, 3.0, 1.0), (1.0, 1.0, 1.0), (50.0, 20.0, 0.5))  # p, q - LEAST, v in units of the mean spend


@dataclass(frozen=True)
class GammaGamma:
    """A fitted model: p > 0, q > 1, v > 0 (in the unit of money).

    In all methods x is the number of paid days (n,), >= 0, and mean their mean spend (n,), > 0 where x > 0.
    """

    p: float
    q: float
    v: float

    @property
    def mean_spend(self) -> float:
        """Expected spend on a paid day of a customer of whom nothing is known: p v / (q - 1)."""
        return self.p * self.v / (self.q - 1)

    def log_likelihood(self, x: ArrayLike, mean: ArrayLike) -> Floats:
        """(n,) of each customer, x >= 1: eq. 1a of the note."""
        n, z = np.asarray(x, np.float64), np.asarray(mean, np.float64)
        shape = self.p * n
        likelihood: Floats = (
            gammaln(shape + self.q)
            - gammaln(shape)
            - gammaln(self.q)
            - shape * np.log1p(self.v / (n * z))
            - self.q * np.log1p(n * z / self.v)
            - np.log(z)
        )
        return likelihood

    def expected_spend(self, x: ArrayLike, mean: ArrayLike) -> Floats:
        """(n,) > 0: expected spend on a paid day, between the customer's own mean and everybody's (eq. 5).

        >>> GammaGamma(6.25, 3.74, 15.44).expected_spend([0, 2], [0.0, 22.35]).round(2)
        array([35.22, 24.66])
        """
        n, z = np.asarray(x, np.float64), np.asarray(mean, np.float64)
        spend: Floats = self.p * (self.v + n * z) / (self.p * n + self.q - 1)
        return spend


def fit(x: ArrayLike, mean: ArrayLike) -> GammaGamma:
    """The model of greatest likelihood; p, q - 1.05 and v (in mean spends) within [1e-4, 1e4].

    x: paid days (n,), mean: their mean spend (n,); customers without a paid day are left out. ValueModelError where
    fewer than 2 are left.
    """
    n, z = np.asarray(x, np.float64), np.asarray(mean, np.float64)
    n, z = n[n > 0], z[n > 0]
    if len(n) < REPEATERS:
        raise ValueModelError(
            f"customers who came back and paid more than they returned: {len(n)}; at least {REPEATERS} are needed:"
            f" give a longer history"
        )
    unit = float(z.mean())

    def loss(parameters: Floats) -> float:
        p, excess, v = parameters
        return -float(GammaGamma(p, LEAST + excess, v).log_likelihood(n, z / unit).mean())

    p, excess, v = least(loss, STARTS)
    return GammaGamma(p, LEAST + excess, v * unit)
