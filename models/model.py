"""Everything that turns RAW rows into scores, as one value that learns one event-time day at a time.

Rules. `learn_day` is the only way to learn, in the stream as in a replay: it sorts by customer_id, takes every day
once and in order, empty ones too, and depends on raw examples only: the bound learns what the model of the day before
says to the opening features, whatever was served then. Predicting changes nothing. A snapshot is plain numbers, lists
and names; what is restored predicts and learns on to the same bits (on one kind of CPU, for BLAS differs among them).
The parts stand in one list, the annotated fields of `Model`; whatever goes over all of them goes over PARTS.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from typing import Annotated, Any, NamedTuple, Protocol, Self, get_type_hints

import numpy as np
from numpy.typing import NDArray

from models.bound import Upper
from models.cadence import Cadence
from models.clusters import Clusters
from models.features import UNIT, inputs_exact, inputs_many
from models.handover import HORIZON
from models.mix import EXPERTS, BuyMix, Mix
from models.offers import Offers
from models.rfm import Quintiles
from models.ridge import ORDERS, SPEND, Ridge
from models.rows import ENTRY
from models.scales import Floats, in_own_scale, scales, usual_day
from models.segments import Segments
from models.value import Value

BLOCK = 8192  # rows scored at a time: their inputs stay in the cache
Entries = NDArray[np.void]  # (n,) of ENTRY
Told = dict[str, NDArray[Any]]  # what a day tells the parts, by the names that a Role uses
NOTHING = np.empty(0, ENTRY)
OF_MONEY = ("demand", "high", "value")


class Predictions(NamedTuple):
    """(n,) each: demand (expected spend over the horizon) and high (its bound) in major units, high >= demand; segment
    and cluster stable numbers, rfm three digits, orders expected, p_buy P(any order) <= 1, value the expected spend of
    12 months; all finite and >= 0."""

    segment: NDArray[np.int64]
    cluster: NDArray[np.int64]
    rfm: NDArray[np.int64]
    demand: Floats
    high: Floats
    orders: Floats
    p_buy: Floats
    value: Floats


class Closed(NamedTuple):
    """The examples that a day closed, (n,) in customer_id order, and what they told: see `Model.told`."""

    entries: Entries
    told: Told


class Part(Protocol):
    """A part of the model: all have a snapshot, the rest where their `Role` says what it takes."""

    def predict_many(self, *seen: Any) -> Any:
        """The columns that it gives, (n,) each; changes nothing."""

    def learn_many(self, *told: Any) -> None:
        """One day, an empty one too."""

    def snapshot(self) -> Any:
        """All that it knows, in plain numbers, lists and names."""


class Role(NamedTuple):
    """How a part stands in the model.

    restore: the part that gave a snapshot, bit for bit; KeyError names what the snapshot lacks. sees: what
    `predict_many` takes: "raw", "own" and "inputs" (of customers in scales of their own, models/scales.py), or columns
    that parts before it give; gives: the columns that come out of it, money in the customer's own scale.
    learns: what `learn_many` takes: of the examples that closed, what the part saw at their openings ("own", "inputs"
    and columns, as the model of the day before said them), and their labels "spent" (major units, in the own scale),
    "ordered" and "bought" (0 or 1); or "standing", everybody at a landmark, which `fit_history` does not tell.
    """

    restore: Callable[[Any], Any]
    sees: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    learns: tuple[str, ...] = ()


SPEND_SAID, ORDERS_SAID = (("inputs", f"{target}_ridge", f"{target}_cadence") for target in ("spend", "orders"))


@dataclass(kw_only=True, eq=False)
class Model:
    """The models of a deployment, and the day that they have learned through (days since the epoch, UTC).

    horizon: days, >= 1; usual: spend on a usual purchase day, major units. The parts predict in the order in which
    they stand here. One that is added later needs a default: older snapshots are restored with it.
    """

    day: int
    horizon: int
    usual: float
    # A part a line: Role(restore, sees, gives, learns).
    segments: Annotated[Segments, Role(Segments.restore, ("raw",), ("segment",))]
    clusters: Annotated[Clusters, Role(Clusters.restore, ("raw",), ("cluster",), ("standing",))]
    spend: Annotated[Ridge, Role(partial(Ridge.restore, SPEND), ("inputs",), ("spend_ridge",), ("inputs", "spent"))]
    orders: Annotated[
        Ridge, Role(partial(Ridge.restore, ORDERS), ("inputs",), ("orders_ridge",), ("inputs", "ordered"))
    ]
    cadence: Annotated[
        Cadence,
        Role(
            Cadence.restore,
            ("own", "inputs"),
            ("spend_cadence", "orders_cadence", "buyers"),
            ("own", "spent", "ordered"),
        ),
    ]
    spend_mix: Annotated[Mix, Role(Mix.restore, SPEND_SAID, ("demand",), (*SPEND_SAID, "spent"))]
    orders_mix: Annotated[Mix, Role(Mix.restore, ORDERS_SAID, ("orders",), (*ORDERS_SAID, "ordered"))]
    buy_mix: Annotated[BuyMix, Role(BuyMix.restore, ("orders", "buyers"), ("p_buy",), ("orders", "buyers", "bought"))]
    upper: Annotated[Upper, Role(Upper.restore, ("demand",), ("high",), ("demand", "spent"))]
    value: Annotated[Value, Role(Value.restore, ("own", "demand"), ("value",))]
    rfm: Annotated[Quintiles, Role(Quintiles.restore, ("raw",), ("rfm",))] = field(default_factory=Quintiles)
    offers: Annotated[Offers, Role(Offers)] = field(default_factory=lambda: Offers({}))

    @classmethod
    def create(
        cls,
        day: int,
        spent: Floats,
        ordered: Floats,
        usual: float,
        segments: Segments,
        clusters: Clusters,
        horizon: int = HORIZON,
    ) -> Self:
        """A model as of `day` that has learned nothing; labels of matured examples, (n,) each, give only its scales.
        Its value is the demand, as often as twelve months have horizons. usual: spend on a purchase day, > 0."""
        money, counts = scales(spent, usual), scales(ordered, 1.0)
        return cls(
            day=day,
            horizon=horizon,
            usual=usual,
            segments=segments,
            clusters=clusters,
            spend=Ridge(SPEND, *money),
            orders=Ridge(ORDERS, *counts),
            cadence=Cadence(horizon, usual, money.cap, counts.cap),
            spend_mix=Mix(*money, capped=True),
            orders_mix=Mix(*counts, capped=False),
            buy_mix=BuyMix(),
            upper=Upper([]),
            value=Value(horizon, usual, money.cap),
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
        if len(raw) <= BLOCK:
            return self._predict_block(raw)
        blocks = [self._predict_block(raw[i : i + BLOCK]) for i in range(0, len(raw), BLOCK)]
        return Predictions(*(np.concatenate(columns) for columns in zip(*blocks, strict=True)))

    def learn_day(self, day: int, customer_ids: Sequence[str], entries: Entries) -> Closed:
        """Learns all entries of the next day; entries[i] is customer_ids[i]'s; any order, any number. What closed, as
        the model of the day before saw it.

        ValueError, and nothing learned: a day that is not the next one, an entry of another day, a customer twice.
        """
        if day != self.day + 1:
            raise ValueError(f"model: learned through day {self.day}, so day {self.day + 1} comes next, not {day}")
        entries = _ordered(day, customer_ids, entries)
        closed = _closed(entries)
        told = self.told(closed)
        self._learn(told | {"standing": entries["now"]})
        self.day = day
        return Closed(closed, told)

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, in plain numbers, lists and names: JSON carries it exactly."""
        plain = {"day": self.day, "horizon": self.horizon, "usual": self.usual}
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

    def told(self, closed: Entries) -> Told:
        """What examples that closed tell, (n,) each but inputs (n, len(INPUTS)): what was seen at their openings, what
        the model says to it now, and what followed; money in the customers' own scales, "scale"."""
        own, scale = in_own_scale(closed["then"], self.usual)
        seen = {"raw": closed["then"], "own": own, "inputs": inputs_exact(own, self.horizon, self.usual)}
        return self._said(seen, LEARNED_FROM) | _labels(closed, scale) | {"scale": scale}

    def _predict_block(self, raw: NDArray[np.void]) -> Predictions:
        own, scale = in_own_scale(raw, self.usual)
        seen = {"raw": raw, "own": own, "inputs": inputs_many(own, self.horizon, self.usual)}
        said = self._said(seen, PARTS)
        said |= {column: said[column] * scale for column in OF_MONEY}
        return Predictions(*(said[column] for column in Predictions._fields))

    def _said(self, seen: Told, parts: Iterable[str]) -> Told:
        """`seen` with the columns of these parts, in their order."""
        for name in parts:
            role = PARTS[name]
            if role.gives:
                columns = self._part(name).predict_many(*(seen[each] for each in role.sees))
                seen |= dict(zip(role.gives, columns if len(role.gives) > 1 else (columns,), strict=True))
        return seen

    def _learn(self, told: Told) -> None:
        """Every part that learns from these things alone learns them."""
        for name, role in PARTS.items():
            if role.learns and told.keys() >= {*role.learns}:
                self._part(name).learn_many(*(told[each] for each in role.learns))


PARTS: dict[str, Role] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Model, include_extras=True).items()
    if hasattr(hint, "__metadata__")
}
_LEARNED = {column for role in PARTS.values() for column in role.learns}
LEARNED_FROM = [name for name, role in PARTS.items() if _LEARNED & {*role.gives}]  # parts of which another one learns
WEIGHED = {  # by target: the part that mixes, and whom
    "demand": ("spend_mix", EXPERTS),
    "orders": ("orders_mix", EXPERTS),
    "p_buy": ("buy_mix", ("poisson", "cadence")),
}
NEEDED = [each.name for each in fields(Model) if each.default is MISSING and each.default_factory is MISSING]


def fit_history(
    days: Iterable[tuple[int, Sequence[str], Entries]],
    through: int,
    segments: Segments,
    clusters: Clusters,
    horizon: int = HORIZON,
) -> Model:
    """The model of a whole history: scales from all that matured, then the same daily learning, in order.

    days: (day, customer_ids, entries), ascending; days left out are days without landmarks. through: the day to have
    learned through (the cut-off). The bound's bins need what was said of all examples, so it learns when that is known;
    segments and clusters are taken as they are, for they were fitted as of the cut-off.
    """
    history = list(days)
    by_day = {day: (customer_ids, entries) for day, customer_ids, entries in history}
    if sorted(by_day) != [day for day, _, _ in history] or (history and through < history[-1][0]):
        raise ValueError("fit_history: days must ascend and none may be later than the day to learn through")
    every_day = range(history[0][0], through + 1) if history else range(0)
    usual = _usual(history)
    model = Model.create(through, *_labels_of(history, usual), usual, segments, clusters, horizon)
    said = []
    for day in every_day:
        told = model.told(_closed(_ordered(day, *by_day.get(day, ([], NOTHING)))))
        model._learn({name: of for name, of in told.items() if name != "demand"})
        said.append((told["demand"], told["spent"]))
    model.upper = Upper.create(np.concatenate([np.empty(0), *(demand for demand, _ in said)]))
    for demand, spent in said:
        model.upper.learn_many(demand, spent)
    return model


def weights(state: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Of a snapshot: whom each mix follows, by target and expert; shares that add up to 1, rounded."""
    return {
        target: {name: round(share, 6) for name, share in zip(experts, state[part]["shares"], strict=True)}
        for target, (part, experts) in WEIGHED.items()
    }


def _restored(name: str, state: Any) -> Part:
    try:
        part: Part = PARTS[name].restore(state)
    except KeyError as error:
        raise ValueError(f"it lacks {name}.{error.args[0]}") from None
    return part


def _labels(closed: Entries, scale: Floats) -> Told:
    ordered = closed["orders"].astype(np.float64)
    spent = closed["label"] / UNIT / scale
    return {"spent": spent, "ordered": ordered, "bought": (ordered > 0).astype(np.float64)}


def _labels_of(history: Sequence[tuple[int, Sequence[str], Entries]], usual: float) -> tuple[Floats, Floats]:
    """(spent, ordered) of all examples, those of a day in customer_id order."""
    closing = itertools.chain([NOTHING], (_closed(_ordered(*day)) for day in history))
    each = [_labels(closed, in_own_scale(closed["then"], usual)[1]) for closed in closing]
    spent, ordered = (np.concatenate([labels[name] for labels in each]) for name in ("spent", "ordered"))
    return spent, ordered


def _closed(entries: Entries) -> Entries:
    """Those that close an example: a customer's first landmark closes none."""
    closed: Entries = entries[entries["open"] == 1]
    return closed


def _usual(history: Sequence[tuple[int, Sequence[str], Entries]]) -> float:
    """Spend on a usual purchase day of the customers as of their last landmark, in customer_id order."""
    last = {name: row for _, names, entries in history for name, row in zip(names, _bought(entries), strict=True)}
    spend, days = np.array([last[name] for name in sorted(last)], np.float64).reshape(-1, 2).T
    return usual_day(spend / UNIT, days)


def _bought(entries: Entries) -> Any:
    return entries["now"][["spend", "days"]].tolist()


def _ordered(day: int, customer_ids: Sequence[str], entries: Entries) -> Entries:
    """The entries in customer_id order: a sum of floats depends on its order."""
    if len(customer_ids) != len(entries) or len(set(customer_ids)) != len(entries):
        raise ValueError(f"model: day {day} has {len(entries)} entries of {len(set(customer_ids))} customers")
    others = entries["day"][entries["day"] != day]
    if len(others):
        raise ValueError(f"model: among the entries of day {day} is one of day {others[0]}")
    order = sorted(range(len(entries)), key=customer_ids.__getitem__)
    return entries if order == [*range(len(entries))] else entries[order]
