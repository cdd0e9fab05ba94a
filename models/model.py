"""Everything that turns RAW rows into scores, as one value that learns one event-time day at a time.

Rules. `learn_day` is the only way to learn, in the stream as in a replay: it sorts by customer_id, takes every day
once and in order, empty ones too, and depends on raw examples only: the bound learns what the model of the day before
says to the opening features, whatever was served then. Predicting changes nothing. A snapshot is plain numbers, lists
and names; what is restored predicts and learns on to the same bits (on one kind of CPU, for BLAS differs among them).
The parts stand in one list, the annotated fields of `Model`; whatever goes over all of them goes over PARTS.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from typing import Annotated, Any, NamedTuple, Protocol, Self, get_type_hints

import numpy as np
from numpy.typing import NDArray

from models.demand import BUY, ORDERS, SPEND, Correction, Floats, Upper, scales
from models.features import UNIT, inputs_exact, inputs_many
from models.handover import HORIZON
from models.offers import Offers
from models.rfm import Quintiles
from models.rows import ENTRY
from models.segments import Segments

BLOCK = 8192  # rows scored at a time: their inputs stay in the cache
Entries = NDArray[np.void]  # (n,) of ENTRY
Told = dict[str, NDArray[Any]]  # what a day tells the parts, by the names that a Role uses
NOTHING = np.empty(0, ENTRY)


class Predictions(NamedTuple):
    """(n,) each: demand (expected spend over the horizon) and high (its bound) in major units, high >= demand; cluster
    a stable number, rfm three digits, orders expected, p_buy P(any order) <= 1; all finite and >= 0."""

    cluster: NDArray[np.int64]
    rfm: NDArray[np.int64]
    demand: Floats
    high: Floats
    orders: Floats
    p_buy: Floats


class Part(Protocol):
    """A part of the model: all have a snapshot, the rest where their `Role` says what it takes."""

    def predict_many(self, seen: Any, /) -> NDArray[Any]:
        """(n,), a column of Predictions; changes nothing."""

    def learn_many(self, *told: Any) -> None:
        """One day, an empty one too."""

    def snapshot(self) -> Any:
        """All that it knows, in plain numbers, lists and names."""


class Role(NamedTuple):
    """How a part stands in the model.

    restore: the part that gave a snapshot, bit for bit; KeyError names what the snapshot lacks. sees: what
    `predict_many` takes: "raw", "inputs" or a column that a part before it gives; gives: its column of Predictions.
    learns: what `learn_many` takes, of "inputs" of the examples that closed and their labels "spent" (major units),
    "orders" and "bought" (0 or 1); and of what each day tells but `fit_history` does not: "raw", everybody at a
    landmark, and "demand", as the model of the day before predicted it.
    """

    restore: Callable[[Any], Any]
    sees: str = ""
    gives: str = ""
    learns: tuple[str, ...] = ()


@dataclass(kw_only=True, eq=False)
class Model:
    """The models of a deployment, and the day that they have learned through (days since the epoch, UTC).

    horizon: days, >= 1; mean_day: mean spend on a purchase day, major units. The parts predict in the order in which
    they stand here. One that is added later needs a default: older snapshots are restored with it.
    """

    day: int
    horizon: int
    mean_day: float
    # A part a line: Role(restore, sees, gives, learns).
    segments: Annotated[Segments, Role(Segments.restore, "raw", "cluster", ("raw",))]
    spend: Annotated[Correction, Role(partial(Correction.restore, SPEND), "inputs", "demand", ("inputs", "spent"))]
    upper: Annotated[Upper, Role(Upper.restore, "demand", "high", ("demand", "spent"))]
    orders: Annotated[Correction, Role(partial(Correction.restore, ORDERS), "inputs", "orders", ("inputs", "orders"))]
    p_buy: Annotated[Correction, Role(partial(Correction.restore, BUY), "inputs", "p_buy", ("inputs", "bought"))]
    rfm: Annotated[Quintiles, Role(Quintiles.restore, "raw", "rfm")] = field(default_factory=Quintiles)
    # No column: `streams` asks it for the codes of what was bought and for the texts of what to offer.
    offers: Annotated[Offers, Role(Offers)] = field(default_factory=lambda: Offers({}))

    @classmethod
    def create(
        cls, day: int, spent: Floats, orders: Floats, mean_day: float, segments: Segments, horizon: int = HORIZON
    ) -> Self:
        """A model as of `day` that has learned nothing; labels of matured examples, (n,) each, give only its scales."""
        money, counts = scales(spent, mean_day if mean_day > 0 else 1.0), scales(orders, 1.0)
        return cls(
            day=day,
            horizon=horizon,
            mean_day=mean_day,
            segments=segments,
            spend=Correction(SPEND, money.unit, money.cap),
            upper=Upper.create(np.empty(0), money.lowest, money.highest),
            orders=Correction(ORDERS, counts.unit, counts.cap),
            p_buy=Correction(BUY, 1.0, 1.0),
        )

    @property
    def examples(self) -> int:
        """Matured examples learned so far."""
        return self.spend.examples

    @property
    def floor(self) -> float:
        """The least expectation with which a deviance is computed: a hundredth of the mean label, major units."""
        return 0.01 * self.spend.unit

    def predict_many(self, raw: NDArray[np.void]) -> Predictions:
        """What is served to these customers, (n,) of RAW."""
        blocks = [self._predict_block(raw[i : i + BLOCK]) for i in range(0, max(1, len(raw)), BLOCK)]
        return Predictions(*(np.concatenate(columns) for columns in zip(*blocks, strict=True)))

    def learn_day(self, day: int, customer_ids: Sequence[str], entries: Entries) -> None:
        """Learns all entries of the next day; entries[i] is customer_ids[i]'s; any order, any number.

        ValueError, and nothing learned: a day that is not the next one, an entry of another day, a customer twice.
        """
        if day != self.day + 1:
            raise ValueError(f"model: learned through day {self.day}, so day {self.day + 1} comes next, not {day}")
        entries = _ordered(day, customer_ids, entries)
        told = _told(_closed(entries), self.horizon, self.mean_day)
        self._teach(told | {"demand": self.spend.predict_many(told["inputs"]), "raw": entries["now"]})
        self.day = day

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers, lists and names: JSON carries it exactly."""
        plain = {"day": self.day, "horizon": self.horizon, "mean_day": self.mean_day}
        return plain | {name: self._part(name).snapshot() for name in PARTS}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """The model that gave this snapshot, bit for bit. Names that it does not know are passed over.

        ValueError: says which names are missing, but for those with a default; or which inputs a part learned on.
        """
        if lacking := [name for name in NEEDED if name not in state]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        known = {each.name: state[each.name] for each in fields(cls) if each.name in state}
        return cls(**known | {name: _restored(name, known[name]) for name in PARTS if name in known})

    def _part(self, name: str) -> Part:
        part: Part = getattr(self, name)
        return part

    def _predict_block(self, raw: NDArray[np.void]) -> Predictions:
        seen: Told = {"raw": raw, "inputs": inputs_many(raw, self.horizon, self.mean_day)}
        for name, role in PARTS.items():
            if role.gives:
                seen[role.gives] = self._part(name).predict_many(seen[role.sees])
        return Predictions(*(seen[column] for column in Predictions._fields))

    def _teach(self, told: Told) -> None:
        """Every part that learns from these things alone learns them."""
        for name, role in PARTS.items():
            if role.learns and told.keys() >= {*role.learns}:
                self._part(name).learn_many(*(told[each] for each in role.learns))


PARTS: dict[str, Role] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Model, include_extras=True).items()
    if hasattr(hint, "__metadata__")
}
NEEDED = [each.name for each in fields(Model) if each.default is MISSING and each.default_factory is MISSING]


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

    def passing() -> Iterator[Told]:
        """Made anew for each pass: all of them at once take as much memory as the history."""
        for day in every_day:
            yield _told(_closed(_ordered(day, *by_day.get(day, ([], NOTHING)))), horizon, mean_day)

    model = Model.create(through, *_labels_of(history), mean_day, segments, horizon)
    for told in passing():
        model._teach(told)
    _fit_upper(model, passing())
    return model


def _fit_upper(model: Model, days: Iterable[Told]) -> None:
    learned = [(model.spend.predict_many(told["inputs"]), told["spent"]) for told in days]
    if not learned:
        return
    bounds = model.upper.bounds
    model.upper = Upper.create(np.concatenate([demand for demand, _ in learned]), bounds[0], bounds[-1])
    for demand, spent in learned:
        model.upper.learn_many(demand, spent)


def _restored(name: str, state: Any) -> Part:
    try:
        part: Part = PARTS[name].restore(state)
    except KeyError as error:
        raise ValueError(f"it lacks {name}.{error.args[0]}") from None
    return part


def _told(closed: Entries, horizon: int, mean_day: float) -> Told:
    """What closed entries tell, (n,) each but inputs (n, len(INPUTS)); see `Role`."""
    spent, orders = _labels(closed)
    inputs = inputs_exact(closed["then"], horizon, mean_day)
    return {"inputs": inputs, "spent": spent, "orders": orders, "bought": (orders > 0).astype(np.float64)}


def _labels(closed: Entries) -> tuple[Floats, Floats]:
    return closed["label"] / UNIT, closed["orders"].astype(np.float64)


def _labels_of(history: Sequence[tuple[int, Sequence[str], Entries]]) -> tuple[Floats, Floats]:
    """(spent, orders) of all examples, those of a day in customer_id order."""
    each = [_labels(NOTHING), *(_labels(_closed(_ordered(*day))) for day in history)]
    spent, orders = (np.concatenate(column) for column in zip(*each, strict=True))
    return spent, orders


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
