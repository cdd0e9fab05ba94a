"""Customer value: who still buys (BG/NBD, MBG/NBD) times what a day is worth (Gamma-Gamma), beside the served value.

A purchase is a purchase day, time is in days, and time observed ends with the last whole day, as in the published data.
A return takes from the customer's purchase days before it, the latest first, down to 0 each. A day that brought nothing
is a purchase day and no paid one: what a day is worth is the mean of paid days times their share (beta-binomial).
Days are those of the shop's clock (`--timezone`), also where the served demand is folded to be judged.
The rule of judging: models are fitted on what happened before a cut and judged on the net spend in a window after it,
both of the history as a stream counts it, for nobody knew at the cut which sales would be taken back.
All expect of that window alone: the served value is fitted as of the cut, for as many days.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from models.features import UNIT
from models.kinds import PURCHASE, TRADED
from models.model import Model
from models.rows import DAY
from offline.demand import buytilldie, customer_value
from offline.demand.buytilldie import REPEATERS, BuyTillDie, Floats
from offline.demand.customer_value import Outcomes, Past
from offline.demand.evaluate import SERVED
from offline.demand.metrics import compare, deciles, spearman
from offline.history import clock
from offline.history.fold import Folded, fold
from offline.history.read import History
from offline.value import gammagamma, paiddays
from offline.value.gammagamma import GammaGamma
from offline.value.paiddays import PaidDays

YEAR, MONTHS = 365, 12
NO_DROPOUT = 0.001  # mean dropout a purchase below which nobody can be told to have left; as near to 1 nobody stays
CORRELATED = 0.1  # |Spearman| beyond which spend and frequency cannot be called independent
SHORTEST = 30  # days that a held-out window must have
SAME = {"deviance": 0.005, "ngini": 0.002}  # differences up to these mean nothing (docs/models.md)

Progress = Callable[[str], object]


# ---- the history as the models take it -------------------------------------------------------------------------------


def summary(frame: pd.DataFrame, day: int) -> pd.DataFrame:
    """One row for each customer who bought before midnight `day`, index customer_id, ascending.

    frame: as offline.history leaves it. Columns, in days and major units: frequency (purchase days after the first),
    recency (last less first purchase day), T (last observed day, day - 1, less the first), paid_days (repeat purchase
    days of which something was kept), monetary_value (their mean; 0 where there are none).
    """
    chosen = frame["kind"].isin(TRADED) & (frame["occurred_at"] < day * DAY)
    events = frame.loc[chosen, ["customer_id", "amount"]].assign(day=frame["occurred_at"] // DAY)
    events["day"] = events["day"].where(frame["kind"] == PURCHASE)
    events["day"] = events.groupby("customer_id")["day"].ffill()
    net = events.dropna(subset="day").groupby(["customer_id", "day"])["amount"].sum()
    days = kept(net.reset_index())
    each = days.groupby("customer_id")["day"]
    first, last = each.min().astype(np.int64), each.max().astype(np.int64)
    repeats = days[days["day"] > each.transform("min")]
    paid = repeats[repeats["amount"] > 0].groupby("customer_id")["amount"]
    return pd.DataFrame(
        {
            "frequency": each.size() - 1,
            "recency": last - first,
            "T": day - 1 - first,
            "paid_days": paid.size().reindex(first.index, fill_value=0),
            "monetary_value": (paid.mean() / UNIT).reindex(first.index, fill_value=0.0),
        }
    )


def kept(days: pd.DataFrame) -> pd.DataFrame:
    """The same days with what was kept of them, at least 0: what a day lacks is taken from those before it.

    days: customer_id, day, amount (net, may be below 0), ascending.

    >>> days = pd.DataFrame({"customer_id": list("aaab"), "day": [1, 2, 3, 1], "amount": [50, 20, -30, 7]})
    >>> kept(days)["amount"].tolist()
    [40, 0, 0, 7]
    """
    latest_first = days.iloc[::-1]
    customer = latest_first["customer_id"]
    # From the end, a day adds to what is kept as far as it lifts the running sum above all it was before.
    so_far = latest_first.groupby(customer, sort=False)["amount"].cumsum().clip(lower=0).groupby(customer).cummax()
    return days.assign(amount=so_far - so_far.groupby(customer).shift(fill_value=0))


def spent(frame: pd.DataFrame, customers: pd.Index, cut: int, window: int) -> pd.Series:
    """Net spend of these customers in the `window` days from midnight `cut` on, at least 0, major units."""
    within = frame[(frame["occurred_at"] >= cut * DAY) & (frame["occurred_at"] < (cut + window) * DAY)]
    net = within.groupby("customer_id")["amount"].sum().reindex(customers, fill_value=0)
    return net.clip(lower=0) / UNIT


# ---- the models ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Fitted:
    """The models of who still buys, by name, those of spend on a paid day and of which days are paid, and
    Spearman(frequency, mean spend)."""

    buying: dict[str, BuyTillDie]
    spend: GammaGamma
    paid: PaidDays
    correlation: float

    def __str__(self) -> str:
        buying = [
            f"{name:<12}r {m.r:.4f}  alpha {m.alpha:.4f} days  a {m.a:.4f}  b {m.b:.4f}  dropout {m.mean_dropout:.4f}"
            for name, m in self.buying.items()
        ]
        spend = f"{'gamma_gamma':<12}p {self.spend.p:.4f}  q {self.spend.q:.4f}  v {self.spend.v:.4f}"
        paid = f"{'paid_days':<12}mean share {self.paid.mean_share:.4f}"
        return "\n".join([*buying, f"{spend}  Spearman(frequency, mean spend) {self.correlation:.3f}", paid])

    def warnings(self) -> list[str]:
        """What a reader must know before using a value; empty where the models' assumptions hold."""
        said = [
            f"{name}: no dropout identifiable (mean {model.mean_dropout:.1e}, below {NO_DROPOUT}): p_alive says nothing"
            for name, model in self.buying.items()
            if model.mean_dropout < NO_DROPOUT
        ]
        said += [
            f"{name}: everybody drops out at once (mean {model.mean_dropout:.4f}, above {1 - NO_DROPOUT}): whoever came"
            " back is worth nothing by it; the history may be too short to see them come again"
            for name, model in self.buying.items()
            if model.mean_dropout > 1 - NO_DROPOUT
        ]
        if abs(self.correlation) > CORRELATED:
            said.append(
                f"gamma_gamma: |Spearman(frequency, mean spend)| is {abs(self.correlation):.3f}, above {CORRELATED}:"
                f" it takes the two for independent, so values of the most and the least frequent are off"
            )
        return said

    def mean_spend(self, customers: pd.DataFrame) -> Floats:
        """(n,) expected spend on a purchase day, paid or not, for a `summary`."""
        on_paid = self.spend.expected_spend(customers["paid_days"], customers["monetary_value"])
        return on_paid * self.paid.share(customers["frequency"], customers["paid_days"])

    def value(self, name: str, customers: pd.DataFrame, days: ArrayLike, factors: ArrayLike) -> Floats:
        """(n,) expected spend of the periods that end `days` (m,) from now, ascending, each times its factor (m,)."""
        orders = self.buying[name].expected_orders(days, *_who(customers))
        weighted: Floats = (np.diff(orders, prepend=0.0) * np.asarray(factors)).sum(1)
        return weighted * self.mean_spend(customers)


def _who(customers: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    return customers["frequency"], customers["recency"], customers["T"]


def fit(customers: pd.DataFrame) -> Fitted:
    """Fits all four models to a `summary`. Raises ValueModelError."""
    buying = {name: buytilldie.fit(*_who(customers), chances) for chances, name in enumerate(("bg_nbd", "mbg_nbd"))}
    spend = gammagamma.fit(customers["paid_days"], customers["monetary_value"])
    share = paiddays.fit(customers["frequency"], customers["paid_days"])
    paid = customers[customers["paid_days"] > 0]
    correlation = spearman(paid["frequency"], paid["monetary_value"])
    return Fitted(buying, spend, share, float(np.nan_to_num(correlation)))  # NaN: everybody came equally often


def values(fitted: Fitted, customers: pd.DataFrame, rate: float) -> pd.DataFrame:
    """What is expected of each customer in the next 12 months; all finite, index as in `customers`.

    rate: of discount a year, >= 0; a month's spend is discounted from the month's end. Columns: frequency, recency, T,
    monetary_value, expected_mean_spend, then p_alive, expected_orders_12m and value_12m of each model.
    """
    months = np.arange(1, MONTHS + 1) / MONTHS
    table = customers[["frequency", "recency", "T", "monetary_value"]].copy()
    table["expected_mean_spend"] = fitted.mean_spend(customers)
    for name, model in fitted.buying.items():
        table[f"{name}_p_alive"] = model.p_alive(*_who(customers))
        table[f"{name}_expected_orders_12m"] = model.expected_orders([YEAR], *_who(customers))[:, 0]
        table[f"{name}_value_12m"] = fitted.value(name, customers, YEAR * months, (1 + rate) ** -months)
    return table


# ---- the models beside the served value ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Judged:
    """On the windows of `cuts` (day numbers), each `window` days: figures (mean over cuts, demand.metrics.compare),
    the same of each cut, and `deciles` of the latest."""

    window: int
    cuts: list[int]
    each: list[pd.DataFrame]
    deciles: pd.DataFrame

    @property
    def figures(self) -> pd.DataFrame:
        return pd.concat(self.each).groupby(level=0, sort=False).mean()

    def verdict(self) -> list[str]:
        """A line each for deviance (expectations) and nGini (ranking): which is better than the other, by how much."""
        return [self._better("deviance", 1), self._better("ngini", -1)]

    def _better(self, figure: str, sign: int) -> str:
        mean = sign * self.figures[figure]
        best = str(mean.drop(SERVED).idxmin())
        gains = [self._gain(sign * table[figure], figure, best) for table in self.each]
        gain = self._gain(mean, figure, best)
        by = f"{abs(gain):.1%}" if figure == "deviance" else f"{abs(gain):.3f}"
        if abs(gain) <= SAME[figure]:
            return f"{figure}: {best} and {SERVED} are as good as each other (they differ by {by})"
        better, other = (best, SERVED) if gain > 0 else (SERVED, best)
        won = sum((each > 0) == (gain > 0) for each in gains)
        return f"{figure}: {better} is better than {other} by {by}, on {won} of {len(gains)} windows"

    @staticmethod
    def _gain(losses: pd.Series, figure: str, best: str) -> float:
        gain = float(losses[SERVED] - losses[best])
        return gain / float(losses[SERVED]) if figure == "deviance" else gain


def windows(frame: pd.DataFrame, day: int) -> tuple[int, list[int]]:
    """(days of the held-out window, cuts, latest first): a third of the history and at most a year.

    The windows end at midnight `day` and half a window before. Only cuts before which the models can be fitted and
    after which something was spent: there may be none.
    """
    first = int(frame.loc[frame["kind"] == PURCHASE, "occurred_at"].min()) // DAY
    window = min(YEAR, (day - first) // 3)
    if window < SHORTEST:
        return window, []
    return window, [cut for cut in (day - window, day - window - window // 2) if _can_be_judged(frame, cut, window)]


def _can_be_judged(frame: pd.DataFrame, cut: int, window: int) -> bool:
    customers = summary(frame, cut)
    repeaters = int((customers["paid_days"] > 0).sum())
    return repeaters >= REPEATERS and bool(spent(frame, customers.index, cut, window).any())


def judge(frame: pd.DataFrame, cuts: list[int], window: int, horizon: int, progress: Progress) -> Judged:
    """Fits all models before each cut (>= 1 of them) and judges them on the window after it."""
    each, tables = [], []
    for cut in cuts:
        progress(f"judging on {window} days from {np.datetime64(cut, 'D')} on")
        before = frame[frame["occurred_at"] < cut * DAY]
        customers = summary(before, cut)
        labels = spent(frame, customers.index, cut, window)
        fitted = fit(customers)
        predictions = {name: fitted.value(name, customers, [window], [1.0]) for name in fitted.buying}
        served, model, _ = customer_value.served(fold(before, cut, horizon), horizon, window)
        predictions[SERVED] = served[customers.index].to_numpy()
        each.append(compare(labels, predictions, model.floor * window / horizon))
        tables.append(deciles(labels.to_numpy(), predictions))
    return Judged(window, cuts, each, tables[0])


# ---- the job ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Valued:
    """fitted: the models. table: a row for each customer who bought (index customer_id): the columns of `values`, then
    the served customer_value, major units in 12 months. judged: None where no window can be. rate: of discount a year;
    level: of the served value."""

    fitted: Fitted
    table: pd.DataFrame
    judged: Judged | None
    rate: float
    level: float

    @property
    def total(self) -> str:
        """What all customers are worth as it is served, with how far that erred in the latest window, in words."""
        last = None
        if self.judged is not None:
            bias = float(self.judged.each[0]["bias"][SERVED])
            last = customer_value.Judged(self.judged.cuts[0], self.judged.window, bias)
        return customer_value.told(float(self.table["customer_value"].sum()), last, self.level)


def run(
    history: History,
    folded: Folded,
    horizon: int,
    rate: float,
    progress: Progress = len,
    model: Model | None = None,
) -> Valued:
    """Fits the models to a history, values its customers as of the cut-off, and judges on held-out windows.

    folded: the history; horizon: of the served demand, days; rate: as `values` takes it; model: of that demand, where
    it is fitted already. Raises ValueModelError where hardly anybody came back.
    """
    frame, day = clock.on(history)
    progress("fitting")
    customers = summary(frame, day)
    fitted = fit(customers)
    progress("valuing")
    table = values(fitted, customers, rate)
    served, _, level = customer_value.served(folded, horizon, YEAR, model, _told(history, horizon))
    table["customer_value"] = served[table.index].to_numpy()
    streamed, _ = clock.on(history.streamed)
    window, cuts = windows(streamed, day)
    return Valued(fitted, table, judge(streamed, cuts, window, horizon, progress) if cuts else None, rate, level)


def _told(history: History, horizon: int) -> Outcomes | None:
    """What weighs the served value, asked of the same history as in `offline fit`; None where a stream counts this one
    as it is."""
    streamed = history.streamed
    if streamed is history:
        return None
    days = fold(streamed.frame, streamed.cut_off, horizon).days
    return customer_value.outcomes(Past(days, horizon), streamed.cut_off)
