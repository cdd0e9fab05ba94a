"""What a customer will spend in twelve months: three ways to look so far ahead, mixed.

(a) the served demand, times how many more orders MBG/NBD expects in the window than in the horizon; (b) the orders that
it expects, times what a purchase day brings; (c) a Markov chain over the cells of the rhythm (models/cadence.py), whose
steps are horizons: Pfeifer and Carraway, Modeling customer relationships as Markov chains, Journal of Interactive
Marketing 14 (2000). Rule: all comes from the row as it stands and from the demand; what the fit found stands until the
next one, and it learns nothing from day to day. What MBG/NBD expects of who still buys hangs on two numbers alone and
is smooth in both, so it stands in two tables.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.cadence import CELLS, Raw, a_day, cells
from models.compiled import njit
from models.features import laid_out

YEAR = 365.0
EXPERTS = ("demand", "mbg_nbd", "chain")
SIMPLE = (1.0, 0.0, 0.0)  # weights of a mix that no window of the history could tell
REPEATS = np.unique(np.r_[0:9, np.rint(8 * 2 ** (np.arange(1, 19) / 2))])  # nodes: purchase days after the first
SEEN = np.geomspace(1, 20_001, 32) - 1  # and days since the first, to the last whole one
SHAPE = (len(REPEATS), len(SEEN))
LOG_REPEATS, STEP = np.log1p(REPEATS), math.log1p(SEEN[1])

Floats = NDArray[np.float64]


class Buying(NamedTuple):
    """MBG/NBD: its four parameters (offline/demand/buytilldie.py), all > 0, alpha in days; and logarithms of the
    purchase days that it expects of who still buys, SHAPE, at REPEATS and SEEN: in the horizon (near), in the window
    (far)."""

    r: float
    alpha: float
    a: float
    b: float
    near: Floats
    far: Floats


NUMBERS, TABLES = Buying._fields[:4], Buying._fields[4:]
UNKNOWN = Buying(1.0, 1.0, 1.0, 1.0, np.zeros(SHAPE), np.zeros(SHAPE))


class Value:
    """horizon: of the demand; window: to be looked at, both in days; usual: spend on a purchase day, cap: the most of
    it that counts, major units. chain: (CELLS,) own purchase days' worth that a customer of each cell spends in the
    window, >= 0; buying: None where hardly anybody came back; weights: (len(EXPERTS),), >= 0; level: a factor on their
    mix, > 0."""

    def __init__(
        self,
        horizon: int,
        usual: float,
        cap: float,
        *,
        window: float = YEAR,
        chain: Floats | None = None,
        buying: Buying | None = None,
        weights: tuple[float, ...] = SIMPLE,
        level: float = 1.0,
    ) -> None:
        self.horizon, self.usual, self.cap, self.window = horizon, float(usual), float(cap), float(window)
        self.chain = np.zeros(CELLS) if chain is None else np.array(chain, np.float64)
        self.buying, self.weights, self.level = buying, tuple(map(float, weights)), float(level)
        tables = () if buying is None else (buying.near, buying.far)
        shapes = [self.chain.shape, np.shape(weights), *(table.shape for table in tables)]
        if shapes != [(CELLS,), (len(EXPERTS),), *[SHAPE for _ in tables]]:
            raise ValueError(f"value: tables of {shapes}, not of {(CELLS,)}, {(len(EXPERTS),)} and {SHAPE}")

    def experts(self, raw: Raw, demand: Floats) -> Floats:
        """(n, len(EXPERTS)): what each expects of (n,) RAW in the window, major units. demand: (n,), >= 0."""
        out = np.empty((len(raw), len(EXPERTS)))
        money = a_day(raw, self.usual, self.cap)
        parameters = UNKNOWN if self.buying is None else self.buying
        known, horizons = self.buying is not None, self.window / self.horizon
        _fill(laid_out(raw), demand, money, *parameters, known, horizons, self.chain, cells(raw, self.horizon), out)
        return out

    def predict_many(self, raw: Raw, demand: Floats) -> Floats:
        """(n,) expected spend in the window, major units, >= 0; in one of a horizon or more at least the demand, for a
        mix may follow one expert alone, and each of them knows nothing of some."""
        out, least = np.empty(len(raw)), float(self.window >= self.horizon)
        _mixed(self.experts(raw, demand), self.weights, self.level, demand, least, out)
        return out

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers."""
        plain = {"horizon": self.horizon, "window": self.window, "usual": self.usual, "cap": self.cap}
        told = {} if self.buying is None else self.buying._asdict()
        tables = {name: each.tolist() if isinstance(each, np.ndarray) else each for name, each in told.items()}
        found = {"weights": [*self.weights], "level": self.level, "chain": self.chain.tolist()}
        return plain | found | {"buying": tables}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The part that gave this snapshot, bit for bit; ValueError for other tables."""
        told = state["buying"]
        buying = Buying(*(told[name] for name in NUMBERS), *(np.array(told[name]) for name in TABLES)) if told else None
        return cls(
            state["horizon"],
            state["usual"],
            state["cap"],
            window=state["window"],
            chain=state["chain"],
            buying=buying,
            weights=tuple(state["weights"]),
            level=state["level"],
        )


@njit
def _between(table: Any, repeats: float, seen: float) -> float:
    """A table of logarithms between its nodes, and at its ends beyond them."""
    at = min(math.log1p(seen) / STEP, len(SEEN) - 1.0)
    i, j = 0, min(int(at), len(SEEN) - 2)
    while i < len(REPEATS) - 2 and REPEATS[i + 1] <= repeats:
        i += 1
    u, v = min(1.0, (math.log1p(repeats) - LOG_REPEATS[i]) / (LOG_REPEATS[i + 1] - LOG_REPEATS[i])), at - j
    below = (1 - v) * table[i, j] + v * table[i, j + 1]
    above = (1 - v) * table[i + 1, j] + v * table[i + 1, j + 1]
    return math.exp((1 - u) * below + u * above)


@njit
def _fill(
    raw: Any,
    demand: Any,
    money: Any,
    r: float,
    alpha: float,
    a: float,
    b: float,
    near: Any,
    far: Any,
    known: bool,
    horizons: float,
    chain: Any,
    cell: Any,
    out: Any,
) -> None:
    """What the experts say; the chance to be alive as BuyTillDie.p_alive has it."""
    for i in range(len(raw)):
        row = raw[i]
        out[i, 2] = money[i] * chain[cell[i]]
        if not known:
            out[i, 0], out[i, 1] = demand[i] * horizons, 0.0
            continue
        repeats, seen = float(max(0, row.days - 1)), float(max(0, row.tenure - 1))
        last = min(seen, float(max(0, row.tenure - row.recency))) if repeats > 0 else 0.0
        silence = (r + repeats) * math.log((alpha + seen) / (alpha + last))
        alive = 1 / (1 + a / (b + repeats) * math.exp(silence))
        ahead = _between(far, repeats, seen)
        out[i, 0] = demand[i] * min(ahead / _between(near, repeats, seen), horizons)
        out[i, 1] = alive * ahead * money[i]


@njit
def _mixed(said: Any, weights: Any, level: float, demand: Any, least: float, out: Any) -> None:
    for i in range(len(said)):
        mixed = said[i, 0] * weights[0]
        for k in range(1, len(weights)):
            mixed += said[i, k] * weights[k]
        out[i] = max(mixed * level, demand[i] * least)
