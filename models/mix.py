"""Experts mixed online: what is served is a convex mix whose weights follow who would have served better.

ML-Poly on the gradient of the loss (Gaillard, Stoltz and van Erven, A second-order bound with excess losses, COLT
2014): the regret is bounded against the best fixed mix, with no rate to tune. Rules: regrets fade like all that is
learned, so the mix follows a shop that changes; losses are those of what the model of the day before says, in mean
labels, capped.
"""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.compiled import njit
from models.features import INPUTS
from models.ridge import DECAY, SOFT

R30, R90, N30, N90 = (INPUTS.index(name) for name in ("r30", "r90", "n30", "n90"))
EXPERTS = ("r90", "r30", "ridge", "cadence")

Floats = NDArray[np.float64]


class Weights:
    """Of k experts: each one's regret for not having been followed, over its squares; positive parts, scaled to 1."""

    def __init__(self, experts: int) -> None:
        self.regret, self.squares = np.zeros(experts), np.zeros(experts)
        self.shares = np.full(experts, 1 / experts)

    def mix(self, experts: Floats) -> Floats:
        """(n,) of (n, k): each row by itself, so that the same bits come out however many are asked for."""
        mixed: Floats = experts[:, 0] * self.shares[0]
        for k in range(1, len(self.shares)):
            mixed = mixed + experts[:, k] * self.shares[k]
        return mixed

    def learn(self, experts: Floats, slope: Floats) -> None:
        """One day: experts (n, k); slope (n,), the derivative of the loss at their mix; n may be 0."""
        regret = (slope[:, None] * (self.mix(experts)[:, None] - experts)).sum(0)
        self.regret, self.squares = DECAY * self.regret + regret, DECAY * self.squares + regret**2
        lead = np.maximum(self.regret, 0.0) / (self.squares + 1e-9)
        if lead.sum() > 0:
            self.shares = lead / lead.sum()

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers."""
        return {"regret": self.regret.tolist(), "squares": self.squares.tolist(), "shares": self.shares.tolist()}

    def take(self, state: Mapping[str, Any]) -> None:
        """What gave this snapshot; ValueError for another number of experts."""
        found = [np.array(state[name], np.float64) for name in ("regret", "squares", "shares")]
        if {each.shape for each in found} != {self.shares.shape}:
            raise ValueError(f"mix: weights of {len(found[0])} experts, not of {len(self.shares)}")
        self.regret, self.squares, self.shares = found


class Mix:
    """Of EXPERTS for one target. unit, cap: its scales, > 0, in the target's own unit. capped: does an expert say at
    most `cap` for each order that the 90-day rate expects (and for one)? Who bought for ten millions once, the day
    before, would be served by his own rate otherwise."""

    def __init__(self, unit: float, cap: float, capped: bool) -> None:
        self.unit, self.cap, self.capped, self.weights = float(unit), float(cap), capped, Weights(len(EXPERTS))

    def said(self, x: Floats, ridge: Floats, cadence: Floats) -> Floats:
        """(n, len(EXPERTS)): what each says before it is capped. x: (n, len(INPUTS))."""
        return np.stack([*(x[:, rate] for rate in self._rates), ridge, cadence], 1)

    def experts(self, x: Floats, ridge: Floats, cadence: Floats) -> Floats:
        """(n, len(EXPERTS)): what each says. x: (n, len(INPUTS))."""
        said = self.said(x, ridge, cadence)
        return np.minimum(said, (self.cap * np.maximum(1.0, x[:, N90]))[:, None]) if self.capped else said

    def predict_many(self, x: Floats, ridge: Floats, cadence: Floats) -> Floats:
        """(n,) expectations, >= 0."""
        out, (first, second) = np.empty(len(x)), self._rates
        _mixed(x, first, second, ridge, cadence, self.weights.shares, self.cap if self.capped else math.inf, out)
        return out

    @property
    def _rates(self) -> tuple[int, int]:
        """The inputs that are experts."""
        return (R90, R30) if self.capped else (N90, N30)

    def learn_many(self, x: Floats, ridge: Floats, cadence: Floats, labels: Floats) -> None:
        """One day, by the Poisson deviance: what was said of n examples, and their labels; n may be 0."""
        said = np.minimum(self.experts(x, ridge, cadence), self.cap) / self.unit
        mixed = self.weights.mix(said)
        self.weights.learn(said, (mixed - np.minimum(labels, self.cap) / self.unit) / (mixed + SOFT))

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers."""
        return {"unit": self.unit, "cap": self.cap, "capped": self.capped, **self.weights.snapshot()}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The mix that gave this snapshot, bit for bit."""
        new = cls(state["unit"], state["cap"], state["capped"])
        new.weights.take(state)
        return new


class BuyMix:
    """P(any order): a Poisson's with the expected orders, mixed with the share of buyers in the cell; at most the
    orders, for P(N >= 1) <= E N."""

    def __init__(self) -> None:
        self.weights = Weights(2)

    def predict_many(self, orders: Floats, buyers: Floats) -> Floats:
        """(n,) chances, 0 to 1."""
        return np.minimum(np.minimum(self.weights.mix(np.stack([-np.expm1(-orders), buyers], 1)), orders), 1.0)

    def learn_many(self, orders: Floats, buyers: Floats, bought: Floats) -> None:
        """One day, by the squared error: what was said of n examples, and whether they bought; n may be 0."""
        exact = np.array([-math.expm1(-each) for each in orders.tolist()], np.float64)
        said = np.stack([exact, buyers], 1)
        self.weights.learn(said, self.weights.mix(said) - bought)

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers."""
        return self.weights.snapshot()

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The mix that gave this snapshot, bit for bit."""
        new = cls()
        new.weights.take(state)
        return new


@njit
def _mixed(
    x: Any, first: int, second: int, ridge: Any, cadence: Any, shares: Any, cap: float, out: Any
) -> None:  # fmt: skip
    """`Weights.mix` of `Mix.experts`, to the same bits; cap: infinite where they are not capped."""
    for i in range(len(out)):
        most = cap * max(1.0, x[i, N90])
        mixed = min(x[i, first], most) * shares[0]
        mixed += min(x[i, second], most) * shares[1]
        mixed += min(ridge[i], most) * shares[2]
        out[i] = mixed + min(cadence[i], most) * shares[3]
