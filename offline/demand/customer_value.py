"""What goes live as customer_value: how the twelve months ahead are told, fitted on what windows of the past brought.

The landmarks of a history are all that is needed, and it is folded once. As of a cut: everybody as the landmarks of the
last horizon found them; judged are those who pass a landmark in the horizon from the cut on, by what they spend from
there on in a whole number of horizons. Rule: nothing after a cut is known to what is judged there, neither scale nor
example nor weight; giants count up to a cap on both sides, but for the bias that is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from models.cadence import CELLS, Raw, a_day, cells
from models.features import UNIT
from models.model import Model, fit_history
from models.rows import RAW, whole
from models.scales import in_own_scale, scales
from models.value import REPEATS, SEEN, SHAPE, SIMPLE, YEAR, Buying, Floats, Value
from offline.demand import buytilldie
from offline.demand.buytilldie import BuyTillDie, ValueModelError
from offline.demand.served import EVERYBODY
from offline.history.fold import Day, Folded

DRAWN = 20_000  # customers that the four parameters of MBG/NBD are told by
PRIOR, HALFLIFE = 3.0, 365.0  # of the chain: examples, days
SEASON = 150  # days of history that a year-old model needs to say what a season is
SPREAD = (0.25, 4.0)  # of what came over what was expected, before its root is taken
STEPS = 10  # of a weight, from 0 to 1
USABLE = (0.8, 1.25)  # of predicted over what came: a total beyond says so, and one raised beyond it
LEAST = 0.01  # of the mean label: the least expectation of a deviance


@dataclass(frozen=True, eq=False)
class Past:
    """A history's landmarks by day, and the models of demand as of cuts in it, each fitted once."""

    days: Sequence[Day]
    horizon: int
    models: dict[int, Model] = field(default_factory=dict)

    def model(self, cut: int) -> Model:
        """What `offline fit` would have made of what was known at midnight `cut`, segments aside."""
        if cut not in self.models:
            self.models[cut] = fit_history(self.until(cut), cut, *EVERYBODY, self.horizon)
        return self.models[cut]

    def until(self, cut: int) -> list[Day]:
        """The days up to midnight `cut`."""
        return [each for each in self.days if each[0] <= cut]

    def standing(self, begin: int) -> tuple[Raw, Any]:
        """(RAW, row numbers) of who passes a landmark in the horizon from day `begin` on, as it finds them."""
        of = [entries for day, _, entries in self.days if begin <= day < begin + self.horizon]
        raw = np.concatenate([np.empty(0, f"V{RAW.itemsize}"), *(whole(each["now"]) for each in of)]).view(RAW)
        return raw, np.concatenate([np.empty(0, np.int64), *(each["row"] for each in of)])


@dataclass(frozen=True)
class Window:
    """A window of the past that is judged: openings in the horizon from the cut on, days from each that count."""

    cut: int
    days: int


@dataclass(frozen=True)
class Judged:
    """bias: predicted over what came, in all, in the `days` from a cut on that nothing of the fit had seen."""

    cut: int
    days: int
    bias: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """Of a window: the experts as of its cut, what each said of each customer (n, experts), and what came (n,), in the
    customers' own scales; both capped as labels are."""

    value: Value
    said: Floats
    came: Floats


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Of the windows that weigh the experts, and of the last year, where a history holds it."""

    windows: list[Outcome]
    year: Outcome | None


def outcomes(past: Past, day: int) -> Outcomes:
    """What the past before midnight `day` tells about the experts."""
    ago = year_ago(past, day)
    return Outcomes([_outcome(past, each) for each in windows(past, day)], _outcome(past, ago) if ago else None)


def fit(past: Past, day: int, window: float = YEAR, told: Outcomes | None = None) -> Value:
    """The value of `window` days as of the cut-off, midnight `day`; of a history too short to hold two windows, demand
    alone, times what MBG/NBD expects beyond the horizon. told: by the history as a stream counts it, where that is
    another."""
    new, told = _unweighed(past, day, window), told or outcomes(past, day)
    new.weights = _weights([each for each in told.windows if (each.value.buying is None) == (new.buying is None)], new)
    if told.year:
        new.level = _level(told.year, new.weights)
    return new


def judge(past: Past, day: int) -> Judged | None:
    """What a fit as of the last window would have said of it; None where there is no window, or nothing came."""
    found = windows(past, day)
    if not found:
        return None
    last = found[0]
    raw, came = _came(past, last)
    predicted = _predicted(fit(past, last.cut, last.days), raw, past.model(last.cut))
    return Judged(last.cut, last.days, float(predicted.sum() / came.sum())) if came.any() else None


def served(
    folded: Folded, horizon: int, window: float = YEAR, model: Model | None = None, told: Outcomes | None = None
) -> tuple[pd.Series, Model, float]:
    """(what is served of everybody for `window` days by customer_id, major units; the model of demand, which may be
    given where it is fitted already; the level). told: as `fit` takes it."""
    past = Past(folded.days, horizon, {folded.day: model} if model else {})
    value, model = fit(past, folded.day, window, told), past.model(folded.day)
    return pd.Series(_predicted(value, folded.raw, model), folded.table.names), model, value.level


def _predicted(value: Value, raw: Raw, model: Model) -> Floats:
    """(n,) what is told of these customers, major units. model: of demand."""
    mine, scale = in_own_scale(raw, value.usual)
    return value.predict_many(mine, model.predict_many(raw).demand / scale) * scale


def told(total: float, judged: Judged | None, level: float = 1.0) -> str:
    """A total of 12 months in a line, beside what comes if the model is as far off as it was in the last window; with
    a level that raises it far.

    >>> told(99.0, Judged(0, 90, 1.1))
    '99 in the next 12 months, 90 if it is as far off again (in the last 90 held-out days it told 1.10 times what came)'
    """
    raised = ""
    if level > USABLE[1]:
        raised = f"; raised {level:.2f} times by the last year, which is too much where little was known a year ago"
    if judged is None:
        why = "the history is too short for a window, or nothing was spent in it"
        return f"{total:,.0f} in the next 12 months, not judged: {why}{raised}"
    said = f"{total:,.0f} in the next 12 months, {total / max(judged.bias, 1e-9):,.0f} if it is as far off again"
    off = f"in the last {judged.days} held-out days it told {judged.bias:.2f} times what came"
    if USABLE[0] <= judged.bias <= USABLE[1]:
        return f"{said} ({off}){raised}"
    return f"not to be relied on: {off}; {said}{raised}"


def windows(past: Past, day: int) -> list[Window]:
    """A third of the history and at most a year, in whole horizons: the last one, and one half its length before."""
    horizon, span = past.horizon, day - past.days[0][0] if past.days else 0
    n = min(max(1, int(YEAR) // horizon), span // 3 // horizon)
    last = day - (n + 1) * horizon + 1
    return [Window(cut, n * horizon) for cut in (last, last - n * horizon // 2)] if n else []


def year_ago(past: Past, day: int) -> Window | None:
    """The last year, as it was to be expected at its beginning; None where too little was known then."""
    n = max(1, int(YEAR) // past.horizon)
    cut = day - (n + 1) * past.horizon + 1
    return Window(cut, n * past.horizon) if past.days and cut - past.days[0][0] >= SEASON else None


def _unweighed(past: Past, cut: int, window: float) -> Value:
    """The experts as of a cut, in a mix that nothing has told."""
    model, (raw, _) = past.model(cut), past.standing(cut + 1 - past.horizon)
    usual, cap = model.usual, model.spend_mix.cap
    ahead = chain(past.until(cut), cut, past.horizon, usual, cap, window)
    return Value(past.horizon, usual, cap, window=window, chain=ahead, buying=buying(raw, past.horizon, window))


def _came(past: Past, window: Window) -> tuple[Raw, Floats]:
    """(RAW at the opening, net spend from there on, at least 0, major units) of everybody judged in a window."""
    (raw, row), (then, later) = past.standing(window.cut), past.standing(window.cut + window.days)
    at = np.argsort(later)
    spent = then["spend"][at[np.searchsorted(later[at], row)]] - raw["spend"]
    return raw, np.maximum(spent / UNIT, 0.0)


def _outcome(past: Past, window: Window) -> Outcome:
    value, (raw, came) = _unweighed(past, window.cut, window.days), _came(past, window)
    mine, scale = in_own_scale(raw, value.usual)
    said = value.experts(mine, past.model(window.cut).predict_many(raw).demand / scale)
    came = came / scale
    cap = scales(came, value.usual).cap
    return Outcome(value, np.minimum(said, cap), np.minimum(came, cap))


def _weights(told: list[Outcome], new: Value) -> tuple[float, ...]:
    """The convex mix of least Poisson deviance, in units of the mean of each window; SIMPLE of no window."""
    scaled = [(each.said / each.came.mean(), each.came / each.came.mean()) for each in told if each.came.any()]
    if not scaled:
        return SIMPLE
    said, came = (np.concatenate(parts) for parts in zip(*scaled, strict=True))
    grid = [each for each in product(range(STEPS + 1), repeat=3) if sum(each) == STEPS]
    mixes = [np.array(each) / STEPS for each in grid if new.buying is not None or not each[1]]

    def loss(mix: Floats) -> float:
        expected = np.maximum(said @ mix, LEAST)
        return float((expected - came * np.log(expected)).mean())

    return tuple(min(mixes, key=loss).tolist())


def _level(year: Outcome, weights: tuple[float, ...]) -> float:
    """The root of what came in the last year over what was expected of it: the whole ratio overshoots."""
    return float(np.sqrt(np.clip(year.came.sum() / max(float((year.said @ weights).sum()), 1e-9), *SPREAD)))


def buying(raw: Raw, horizon: int, window: float) -> Buying | None:
    """MBG/NBD of these customers; None where hardly anybody came back."""
    drawn = raw[:: 1 + len(raw) // DRAWN]
    try:
        model = buytilldie.fit(*buytilldie.clv(drawn), chances=1)
    except ValueModelError:
        return None
    near, far = (while_alive(model, days).round(5) for days in (horizon, window))
    return Buying(model.r, model.alpha, model.a, model.b, near, far)


def while_alive(model: BuyTillDie, days: float) -> Floats:
    """Logarithms of the purchase days that it expects in `days` of who still buys, SHAPE, at REPEATS and SEEN."""
    x, seen = (grid.ravel() for grid in np.meshgrid(REPEATS, SEEN, indexing="ij"))
    table: Floats = np.log(model.expected_while_alive([days], x, seen)[:, 0]).reshape(SHAPE)
    return table


def chain(days: Sequence[Day], cut: int, horizon: int, usual: float, cap: float, window: float) -> Floats:
    """(CELLS,) purchase days' worth that a customer of each cell spends in the window: by what the closed examples say
    of a horizon, and of the cell that one stands in after it."""
    moves, spend, money, count = np.zeros(CELLS * CELLS), *np.zeros((3, CELLS))
    for day, _, entries in days:
        closed, weight = entries[entries["open"] == 1], 2 ** ((day - cut) / HALFLIFE)
        opened, scale = in_own_scale(closed["then"], usual)
        then = cells(opened, horizon)
        moves += weight * np.bincount(then * CELLS + cells(closed["now"], horizon), minlength=CELLS * CELLS)
        spend += weight * np.bincount(then, np.minimum(closed["label"] / UNIT / scale, cap), CELLS)
        money += weight * np.bincount(then, a_day(opened, usual, cap), CELLS)
        count += weight * np.bincount(then, minlength=CELLS)
    reward = spend / (money + PRIOR * usual)
    onward = moves.reshape(CELLS, CELLS) / (count + PRIOR)[:, None]  # what is missing has left
    whole_steps, part = divmod(window / horizon, 1)
    ahead: Floats = part * reward
    for _ in range(int(whole_steps)):
        ahead = reward + onward @ ahead
    return ahead
