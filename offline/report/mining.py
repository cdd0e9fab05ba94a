"""What a report shows, mined by the offline jobs: a function and a record of results for each section.

Rule: whatever a history does not allow is an OfflineError of one line, which its section shows instead; the other
sections stand. Seeded, and without a look at a clock: the same history gives the same results.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from models.features import UNIT, standing_many
from models.model import Model
from models.truth import Truth
from offline.demand import evaluate, fit, served
from offline.demand.evaluate import MODELS, Evaluation
from offline.demand.examples import Target
from offline.errors import OfflineError
from offline.history import clock
from offline.history.fold import Folded, fold
from offline.history.guests import NOBODY, Guests, together
from offline.history.past import Cleaning
from offline.history.read import History
from offline.report import cohorts
from offline.report.cohorts import Cohorts
from offline.rules import rules as rules_job
from offline.rules.rules import Mined
from offline.segments import profiles, rfm, rule, standing
from offline.segments.clusters import OUTLIER
from offline.segments.dbscan import Density, dbscan
from offline.segments.kmeans import Choice, draw
from offline.stock import stock as stock_job
from offline.stock.stock import StockForecast
from offline.value import value as value_job
from offline.value.value import Valued

Floats = NDArray[np.float64]
Progress = Callable[[str], object]

DRAWN, OUTLIERS_DRAWN = 2_000, 300  # points of the map
WEEKS, WEEKS_CUTS = 4, 4  # of stock: the horizon, and cut dates at most
CUSTOMERS, DATES, MONEY = frozenset({"customer_id"}), frozenset({"occurred_at"}), frozenset({"amount"})
ALL = CUSTOMERS | DATES | MONEY


@dataclass(frozen=True, eq=False)
class Shop:
    """A history with what was asked about it. files: names; history: the events of customers, guests: the others;
    rate: of discount a year; the rest as the jobs take it.

    Raises OfflineError where nobody bought anything.
    """

    files: tuple[str, ...]
    history: History
    folded: Folded
    horizon: int
    models: str = "quick"
    rate: float = 0.10
    min_support: float = 0.01
    min_confidence: float = 0.2
    min_orders: int = rules_job.FEW
    available: dict[str, float] | None = None  # units by product, to say what to order
    cleaned: tuple[Cleaning, ...] = ()  # what was done to the files before
    guests: Guests = NOBODY
    truth: Truth | None = None  # of the serving model, where `streams model` was asked

    def __post_init__(self) -> None:
        if not len(self.folded.table) and not self.guests.orders:
            raise OfflineError("nobody bought anything in this history; a report needs purchases")

    @property
    def sales(self) -> History:
        """The events of customers and guests, made anew each time: who holds them twice needs the memory twice."""
        return together(self.history, self.guests)

    @property
    def has_guests(self) -> bool:
        """Are there rows without a customer in a history that names customers?"""
        return len(self.guests) > 0 and "customer_id" not in self.history.lacking

    @property
    def guests_revenue(self) -> float:
        return float(self.guests.frame["amount"].sum()) / UNIT

    @cached_property
    def of_guests(self) -> str:
        """How much is of guests, in words."""
        said = f"{len(self.guests):,} rows without a customer, {self.guests.orders:,} orders"
        every = (self.history.frame["amount"].sum() + self.guests.frame["amount"].sum()) / UNIT
        share = f" ({self.guests_revenue / every:.1%})" if every > 0 else ""
        return said if self.why(MONEY) else f"{said}, {self.guests_revenue:,.2f}{share} of the revenue"

    def why(self, needs: Set[str]) -> str | None:
        """Why the history cannot feed what needs these of `policy.NEEDS`, in a sentence without its end; else None."""
        if gone := {ours: theirs for ours, theirs in self.history.lacking.items() if ours in needs}:
            files, columns = ", ".join(self.files), " nor ".join(gone)
            names = ",".join(map("=".join, gone.items()))
            return f"there is no column {columns} in {files}; say --columns {names} where one has another name"
        return "no purchase names a customer" if "customer_id" in needs and not len(self.folded.table) else None

    @property
    def streamed(self) -> Folded:
        """As a stream counts them, which does not know what will be taken back: what is judged is judged on this."""
        streamed = self.history.streamed
        return self.folded if streamed is self.history else fold(streamed.frame, streamed.cut_off, self.horizon)

    @cached_property
    def model(self) -> Model:
        """What serves demand, segments aside."""
        return served.model(self.folded, self.horizon)

    @cached_property
    def demand(self) -> pd.Series:
        """The served demand of the next horizon by customer_id, in the order of the table."""
        return pd.Series(self.model.predict_many(self.folded.raw).demand, self.folded.table.names)


# ---- segments --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Map:
    """Some customers in the plane of most variance, whose share it is. at: (m, 2); names: of their segments, (m,);
    outlier: (m,)."""

    at: Floats
    names: list[str]
    outlier: NDArray[np.bool_]
    variance: float


@dataclass(frozen=True, eq=False)
class Segmented:
    """table: a row a segment (index: its name), by number; words: what is true of its members and what sets them apart;
    clusters: a line each; choice: of k; density: DBSCAN on the same features, or why there is none."""

    table: pd.DataFrame
    words: list[str]
    clusters: list[str]
    choice: Choice
    density: Density | OfflineError
    map: Map


def segments(shop: Shop, progress: Progress) -> Segmented:
    """The segments and clusters that `offline fit` would publish. Raises OfflineError."""
    progress("segments")
    fitted, raw = rule.fit(shop.folded), shop.folded.raw
    clusters, choice = standing.fit(shop.folded, fitted.gap)
    standing.describe(clusters, raw, shop.demand.to_numpy(), shop.horizon)
    numbers = fitted.predict_many(raw)
    names = [fitted.names[number] for number in numbers.tolist()]
    z = (standing_many(raw, fitted.gap) - clusters.mean) / clusters.sd
    progress("DBSCAN")
    density = _density(z)
    outlier = density.labels == OUTLIER if isinstance(density, Density) else np.zeros(len(z), np.bool_)
    values = rfm.table(shop.folded).frame.drop(columns="customer_id").astype(float)
    values = values.rename(columns={"recency_days": "days since last purchase"})
    table = _table(values, numbers, shop.demand, outlier).rename(index=dict(enumerate(fitted.names)))
    meant = dict(zip(fitted.names, fitted.definitions(), strict=True))
    words = [f"{name}: {meant[name]}; {profiles.apart(values, np.array(names) == name)}" for name in table.index]
    words.append(fitted.usual())
    told = [f"cluster {number}: {text}" for number, text in zip(clusters.numbers, clusters.told, strict=True)]
    return Segmented(table, words, told, choice, density, _map(z, names, outlier))


def _density(z: Floats) -> Density | OfflineError:
    try:
        return dbscan(z)
    except OfflineError as error:
        return error


def _table(
    values: pd.DataFrame, numbers: NDArray[np.int64], demand: pd.Series, outlier: NDArray[np.bool_]
) -> pd.DataFrame:
    groups = values.assign(demand=demand.to_numpy(), outliers=outlier).groupby(numbers)
    table = groups[["days since last purchase", "orders", "spend", "demand"]].mean()
    table.insert(0, "customers", groups.size())
    table.insert(1, "share", groups.size() / len(values))
    table.insert(2, "share of spend", groups["spend"].sum() / max(values["spend"].sum(), 1 / UNIT))
    table["outliers"] = groups["outliers"].sum()
    return table.rename_axis("segment")


def _map(z: Floats, names: list[str], outlier: NDArray[np.bool_]) -> Map:
    """A seeded sample of the customers in clusters, and of the outliers one of its own: they are few."""
    rng = np.random.default_rng(0)
    few, many = np.flatnonzero(outlier), np.flatnonzero(~outlier)
    drawn = np.concatenate([many[draw(rng, len(many), DRAWN)], few[draw(rng, len(few), OUTLIERS_DRAWN)]])
    with threadpool_limits(limits=1):
        plane = PCA(2, svd_solver="full").fit(z)
        at = plane.transform(z[drawn])
    return Map(at, [names[i] for i in drawn.tolist()], outlier[drawn], float(plane.explained_variance_ratio_.sum()))


# ---- demand, value ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Demand:
    """Each target's figures on later time, and the batch models that were not tried."""

    judged: dict[Target, Evaluation]
    left_out: list[str]


def demand(shop: Shop, progress: Progress) -> Demand:
    """Raises OfflineError where the history is too short to judge on, or nothing was spent in what it judges on."""
    batch = MODELS[shop.models]
    judged = evaluate.run(shop.streamed, shop.horizon, fit.CUTS, batch, progress)
    if not judged["spend"].figures["mae"]["zero"]:  # who predicts nothing is right
        raise OfflineError("nothing to judge on: nothing was spent after the cuts")
    return Demand(judged, [name for name in MODELS["all"] if name not in batch])


def value(shop: Shop, progress: Progress) -> Valued:
    """Raises OfflineError where hardly anybody came back."""
    return value_job.run(shop.history, shop.folded, shop.horizon, shop.rate, progress, shop.model)


# ---- retention, rules, stock -----------------------------------------------------------------------------------------


def retention(shop: Shop, progress: Progress) -> Cohorts:
    progress("retention")
    return cohorts.cohorts(*clock.on(shop.history))


def rules(shop: Shop, progress: Progress) -> Mined:
    """Raises OfflineError where orders hold no two products, or no rule is left."""
    support, confidence = shop.min_support, shop.min_confidence
    return rules_job.run(shop.sales, support, confidence, progress=progress, min_orders=shop.min_orders)


def stock(shop: Shop, progress: Progress) -> StockForecast:
    """Raises OfflineError where no purchase names a product, or the history is too short."""
    return stock_job.run(shop.sales, shop.folded.day, WEEKS, WEEKS_CUTS, shop.available, progress)
