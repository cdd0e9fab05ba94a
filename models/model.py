"""Everything that turns RAW rows into scores, as one value that learns one event-time day at a time.

Rules. `learn_day` is the only way to learn, in the stream as in a replay: it sorts by customer_id, takes every day
once and in order, empty ones too, and depends on raw examples only: the bound learns what the model of the day before
says to the opening features, whatever was served then. Predicting changes nothing. A snapshot is plain numbers, lists
and names; what is restored predicts and learns on to the same bits (on one kind of CPU, for BLAS differs among them).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.demand import BUY, ORDERS, SPEND, Correction, Floats, Upper, scales
from models.features import UNIT, Raw, inputs_exact, inputs_many, inputs_one
from models.offers import Offers
from models.rfm import Quintiles
from models.rows import ENTRY, HORIZON
from models.segments import Segments

BLOCK = 8192  # rows scored at a time: their inputs stay in the cache
Entries = NDArray[np.void]  # (n,) of ENTRY
Example = tuple[Floats, Floats, Floats]  # of closed entries: inputs (n, len(INPUTS)), spend in major units, orders
NOTHING = np.empty(0, ENTRY)


class Prediction(NamedTuple):
    """One customer: stable cluster number, RFM scores as three digits, expected spend over the horizon and its bound,
    orders, P(any order)."""

    cluster: int
    rfm: int
    demand: float
    high: float
    orders: float
    p_buy: float


class Predictions(NamedTuple):
    """(n,) each: demand and high in major units, high >= demand; all finite and >= 0; p_buy <= 1."""

    cluster: NDArray[np.int64]
    rfm: NDArray[np.int64]
    demand: Floats
    high: Floats
    orders: Floats
    p_buy: Floats


class Model:
    """The models of a deployment, and the day that they have learned through (days since the epoch, UTC)."""

    def __init__(
        self,
        day: int,
        horizon: int,
        mean_day: float,
        segments: Segments,
        spend: Correction,
        orders: Correction,
        p_buy: Correction,
        upper: Upper,
        rfm: Quintiles | None = None,
        offers: Offers | None = None,
    ) -> None:
        self.day, self.horizon, self.mean_day = day, horizon, mean_day
        self.segments, self.spend, self.orders, self.p_buy, self.upper = segments, spend, orders, p_buy, upper
        self.rfm, self.offers = rfm or Quintiles(), offers or Offers({})

    @classmethod
    def create(cls, day: int, matured: Entries, mean_day: float, segments: Segments, horizon: int = HORIZON) -> Self:
        """A model as of `day` that has learned nothing; `matured` examples (any number, 0 too) give only its scales.

        mean_day: mean spend on a purchase day, major units; horizon: days, >= 1.
        """
        x, spent, bought = _example(matured, horizon, mean_day)
        return cls._scaled(day, x, spent, bought, mean_day, segments, horizon)

    @classmethod
    def _scaled(
        cls, day: int, x: Floats, spent: Floats, bought: Floats, mean_day: float, segments: Segments, horizon: int
    ) -> Self:
        """x: inputs of the examples that give the bound its bins, or of none."""
        money, counts = scales(spent, mean_day if mean_day > 0 else 1.0), scales(bought, 1.0)
        spend = Correction(SPEND, money.unit, money.cap)
        return cls(
            day=day,
            horizon=horizon,
            mean_day=mean_day,
            segments=segments,
            spend=spend,
            orders=Correction(ORDERS, counts.unit, counts.cap),
            p_buy=Correction(BUY, 1.0, 1.0),
            upper=Upper.create(spend.predict_many(x), money.lowest, money.highest),
        )

    @property
    def examples(self) -> int:
        """Matured examples learned so far."""
        return self.spend.examples

    @property
    def floor(self) -> float:
        """The least expectation with which a deviance is computed: a hundredth of the mean label, major units."""
        return 0.01 * self.spend.unit

    def predict_one(self, raw: Raw) -> Prediction:
        """The plain way, through river's own predictions; `raw` is one RAW record as a tuple (`.item()`)."""
        x = inputs_one(raw, self.horizon, self.mean_day)
        demand, orders, p_buy = (part.predict_one(x) for part in (self.spend, self.orders, self.p_buy))
        who = self.segments.predict_one(raw), self.rfm.predict_one(raw)
        return Prediction(*who, demand, self.upper.predict_one(demand), orders, p_buy)

    def predict_many(self, raw: NDArray[np.void]) -> Predictions:
        """The fast way: (n,) of RAW in; equals `predict_one` to 1e-12 relative."""
        blocks = [self._predict_block(raw[i : i + BLOCK]) for i in range(0, max(1, len(raw)), BLOCK)]
        return Predictions(*(np.concatenate(columns) for columns in zip(*blocks, strict=True)))

    def learn_day(self, day: int, customer_ids: Sequence[str], entries: Entries) -> None:
        """Learns all entries of the next day; entries[i] is customer_ids[i]'s; any order, any number.

        ValueError, and nothing learned: a day that is not the next one, an entry of another day, a customer twice.
        """
        if day != self.day + 1:
            raise ValueError(f"model: learned through day {self.day}, so day {self.day + 1} comes next, not {day}")
        entries = _ordered(day, customer_ids, entries)
        x, spent, bought = _example(_closed(entries), self.horizon, self.mean_day)
        self.upper.learn_many(self.spend.predict_many(x), spent)
        self._correct(x, spent, bought)
        self.segments.learn_many(entries["now"])
        self.day = day

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers, lists and names: JSON carries it exactly."""
        parts = ("segments", "spend", "orders", "p_buy", "upper", "rfm", "offers")
        plain = {"day": self.day, "horizon": self.horizon, "mean_day": self.mean_day}
        return plain | {name: getattr(self, name).snapshot() for name in parts}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The model that gave this snapshot, bit for bit; ValueError if its regressions know other inputs."""
        return cls(
            day=state["day"],
            horizon=state["horizon"],
            mean_day=state["mean_day"],
            segments=Segments.restore(state["segments"]),
            spend=Correction.restore(SPEND, state["spend"]),
            orders=Correction.restore(ORDERS, state["orders"]),
            p_buy=Correction.restore(BUY, state["p_buy"]),
            upper=Upper.restore(state["upper"]),
            rfm=Quintiles.restore(state["rfm"]),
            offers=Offers(state["offers"]),
        )

    def _predict_block(self, raw: NDArray[np.void]) -> Predictions:
        x = inputs_many(raw, self.horizon, self.mean_day)
        demand, orders, p_buy = (part.predict_many(x) for part in (self.spend, self.orders, self.p_buy))
        who = self.segments.predict_many(raw), self.rfm.predict_many(raw)
        return Predictions(*who, demand, self.upper.predict_many(demand), orders, p_buy)

    def _correct(self, x: Floats, spent: Floats, bought: Floats) -> None:
        self.spend.learn_many(x, spent)
        self.orders.learn_many(x, bought)
        self.p_buy.learn_many(x, (bought > 0).astype(np.float64))


def fit_history(
    days: Iterable[tuple[int, Sequence[str], Entries]], through: int, segments: Segments, horizon: int = HORIZON
) -> Model:
    """The model of a whole history: scales from all that matured, then the same daily learning, in order.

    days: (day, customer_ids, entries), ascending; days left out are days without landmarks. through: the day to have
    learned through (the cut-off). The bound's bins need the fitted predictions, so it learns in a second pass; segments
    are taken as they are, for their centres were fitted on the customers as of the cut-off.
    """
    history = list(days)
    by_day = {day: (customer_ids, entries) for day, customer_ids, entries in history}
    if sorted(by_day) != [day for day, _, _ in history] or (history and through < history[-1][0]):
        raise ValueError("fit_history: days must ascend and none may be later than the day to learn through")
    mean_day, every_day = _mean_day(history), range(history[0][0], through + 1) if history else range(0)

    def examples(of: Iterable[int]) -> Iterator[Example]:
        """Made anew for each pass: all of them at once take as much memory as the history."""
        for day in of:
            yield _example(_closed(_ordered(day, *by_day.get(day, ([], NOTHING)))), horizon, mean_day)

    none, labels = _example(NOTHING, horizon, mean_day), [each[1:] for each in examples(by_day)]
    spent, bought = (np.concatenate(column) for column in zip(none[1:], *labels, strict=True))
    model = Model._scaled(through, none[0], spent, bought, mean_day, segments, horizon)
    for example in examples(every_day):
        model._correct(*example)
    _fit_upper(model, examples(every_day))
    return model


def _fit_upper(model: Model, examples: Iterable[Example]) -> None:
    learned = [(model.spend.predict_many(x), spent) for x, spent, _ in examples]
    if not learned:
        return
    bounds = model.upper.bounds
    model.upper = Upper.create(np.concatenate([prediction for prediction, _ in learned]), bounds[0], bounds[-1])
    for prediction, spent in learned:
        model.upper.learn_many(prediction, spent)


def _example(closed: Entries, horizon: int, mean_day: float) -> Example:
    x = inputs_exact(closed["then"], horizon, mean_day)
    return x, closed["label"] / UNIT, closed["orders"].astype(np.float64)


def _closed(entries: Entries) -> Entries:
    """Those that close an example: a customer's first landmark closes none."""
    closed: Entries = entries[entries["open"] == 1]
    return closed


def _mean_day(history: Sequence[tuple[int, Sequence[str], Entries]]) -> float:
    """Mean spend on a purchase day, over the customers as of their last landmark; major units, >= 0."""
    seen: set[str] = set()
    spend = days = 0
    for _, customer_ids, entries in reversed(history):
        last = np.array([name not in seen for name in customer_ids], np.bool_)
        seen.update(customer_ids)
        spend, days = (
            total + sum(entries["now"][name][last].tolist()) for total, name in ((spend, "spend"), (days, "days"))
        )
    return max(0.0, spend / UNIT) / max(1, days)


def _ordered(day: int, customer_ids: Sequence[str], entries: Entries) -> Entries:
    """The entries in customer_id order: a sum of floats depends on its order."""
    if len(customer_ids) != len(entries) or len(set(customer_ids)) != len(entries):
        raise ValueError(f"model: day {day} has {len(entries)} entries of {len(set(customer_ids))} customers")
    others = entries["day"][entries["day"] != day]
    if len(others):
        raise ValueError(f"model: among the entries of day {day} is one of day {others[0]}")
    order = sorted(range(len(entries)), key=customer_ids.__getitem__)
    return entries if order == [*range(len(entries))] else entries[order]
