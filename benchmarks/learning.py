"""How well the models learn online: CDNOW event by event, fitted on its first 12 months, then learning daily for 6.

    python -m benchmarks.learning

Every example is judged by the prediction served when it opened, by the model of the day before. Boosting or a monthly
refit is not run here; the baselines are zero, last period, own rate, the 90-day decayed rate and the model left frozen.
"""

import importlib.metadata
import itertools
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import brier_score_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from models.customers import NOTED, Table
from models.events import Batch
from models.features import INPUTS, UNIT, inputs_many, log_rfm_many
from models.kinds import PURCHASE
from models.model import Model, fit_history
from models.rows import DAY, ENTRY
from models.segments import Segments
from offline.demand.metrics import compare

K = 4
EPOCH = date(1970, 1, 1)
CUT, END = (date(1998, 1, 1) - EPOCH).days, (date(1998, 7, 1) - EPOCH).days
OWN, R90 = INPUTS.index("own"), INPUTS.index("r90")
BASELINES = ("zero", "last period", "own rate", "90-day rate", "frozen")
Array = NDArray[Any]


class Day(NamedTuple):
    """One midnight: the landmarks passed there, and the table as it stands (a view: read it before the next)."""

    day: int
    customer_ids: list[str]
    entries: Array
    table: Table


def cdnow() -> Batch:
    """CDNOW (PyPI `lifetimes`, 69,659 purchases) as events in time order; each row is its own order."""
    files = importlib.metadata.files("lifetimes") or []
    path = Path(str(next(f for f in files if f.name == "CDNOW_master.txt").locate()))
    rows = [line.split() for line in path.read_text().splitlines()[1:] if line.strip()]
    day = {d: (date(int(d[:4]), int(d[4:6]), int(d[6:])) - EPOCH).days for _, d, _, _ in rows}
    rows.sort(key=lambda row: row[1])
    number = np.arange(1, len(rows) + 1)
    return Batch(
        index=number - 1,
        customer_id=[row[0] for row in rows],
        t=np.array([day[row[1]] * DAY for row in rows]),
        kind=np.full(len(rows), PURCHASE, np.int8),
        amount=np.array([int(Decimal(row[3]) * 10_000) for row in rows]),
        order=number.astype(np.uint64),
        event=number.astype(np.uint64),
    )


def daily(events: Batch, end: int) -> Iterator[Day]:
    """Folds the events day by day and sweeps at each midnight up to `end`; the examples of a history, in order."""
    table, first = Table(), int(events.t[0] // DAY)
    cuts = np.searchsorted(events.t, np.arange(first, end + 1) * DAY)
    for day, (i, j) in enumerate(itertools.pairwise(cuts), first + 1):
        batch = events.part(i, j)
        table.fold(batch, table.locate(batch), batch.index, day - 1, np.zeros(len(NOTED), np.int64))
        entries = table.sweep(day)
        yield Day(day, [table.names[row] for row in entries["row"].tolist()], entries, table)


def clustered(rows: Array) -> KMeans:
    """On one thread: of several, those that are done turn in circles until the machine has run the last."""
    with threadpool_limits(limits=1):
        return KMeans(K, n_init=10, random_state=0).fit(rows)


def segments(table: Table, day: int) -> Segments:
    """scikit-learn's centres of the customers as of `day`, under a scaler frozen there."""
    rfm = log_rfm_many(table.observe(np.arange(len(table)), day))
    mean, sd = rfm.mean(0), rfm.std(0)
    return Segments(clustered((rfm - mean) / sd).cluster_centers_, mean, sd, range(K), [str(k) for k in range(K)])


class Judge:
    """Keeps what was served at each opening until the example closes; k-means is judged at month ends."""

    def __init__(self, frozen: Model) -> None:
        self.frozen = frozen
        self.open: dict[str, tuple[float, ...]] = {}
        self.rows: list[tuple[float, ...]] = []
        self.inertia: list[tuple[float, ...]] = []

    def close(self, at: Day) -> None:
        """Joins the closing examples with what was served for them."""
        spent, bought = (at.entries["label"] / UNIT).tolist(), at.entries["orders"].tolist()
        outcome = zip(at.customer_ids, spent, bought, strict=True)
        self.rows += [(*self.open.pop(name), y, n) for name, y, n in outcome if name in self.open]

    def serve(self, at: Day, model: Model) -> None:
        """Predictions for the examples that open, by `model` and by the baselines."""
        raw, frozen = at.entries["now"], self.frozen
        x, served = inputs_many(raw, model.horizon, model.usual), model.predict_many(raw)
        columns = (
            np.full(len(raw), at.day),
            np.zeros(len(raw)),
            np.maximum(0, raw["window"]) / UNIT,
            x[:, OWN],
            x[:, R90],
            frozen.predict_many(raw).demand,
            *(served.demand, served.high, served.orders, served.p_buy),
        )
        self.open.update(zip(at.customer_ids, zip(*(c.tolist() for c in columns), strict=True), strict=True))

    def served(self) -> pd.DataFrame:
        """One row a judged example: the day it opened, what was served for it, and what came (y spent, n orders)."""
        return pd.DataFrame(self.rows, columns=["opened", *BASELINES, "online", "high", "orders", "p_buy", "y", "n"])

    def cluster(self, at: Day, model: Model) -> None:
        """Inertia of the learning and of the frozen centres over a batch refit's, and the smallest cluster's share."""
        z = (log_rfm_many(at.table.observe(np.arange(len(at.table)), at.day)) - model.segments.mean) / model.segments.sd
        refit = clustered(z).inertia_
        distance = [((z[:, None] - m.segments.centres) ** 2).sum(2) for m in (model, self.frozen)]
        share = np.bincount(distance[0].argmin(1), minlength=K).min() / len(z)
        self.inertia.append((*(float(d.min(1).sum() / refit) for d in distance), float(share)))


def simulate(days: Iterator[Day], cut: int) -> tuple[Model, Judge, Table]:
    """Fits at the cut, then serves and learns daily."""
    history = []
    for at in days:
        history.append((at.day, at.customer_ids, at.entries))
        if at.day == cut:
            break
    model = fit_history(history, cut, segments(at.table, cut))
    judge = Judge(Model.restore(model.snapshot()))
    judge.serve(at, model)
    for at in days:
        judge.close(at)
        judge.serve(at, model)
        model.learn_day(at.day, at.customer_ids, at.entries)
        if (at.day - cut) % 30 == 0:
            judge.cluster(at, model)
    return model, judge, at.table


def covered(served: pd.DataFrame) -> Array:
    """(10,) P(label <= high) by decile of the prediction."""
    decile = pd.qcut(served.online.rank(method="first"), 10, labels=False)
    return np.array([(served.y <= served.high)[decile == k].mean() for k in range(10)])


def report(judge: Judge, floor: float) -> None:
    """Prints the figures beside the baselines."""
    served = judge.served()
    table = compare(served.y, {name: served[name] for name in (*BASELINES, "online")}, floor)
    month, bought = served.groupby((served.opened - CUT) // 30), served.n > 0
    print(f"{len(served)} examples judged, mean label {served.y.mean():.3f}, P(label = 0) {(served.y == 0).mean():.3f}")
    print(table[["ngini", "mae", "deviance", "bias", "top_share", "spearman"]].round(4).to_string())
    print("total bias by month", (month.online.sum() / month.y.sum()).round(2).tolist())
    print("P(label <= high) by decile", covered(served).round(3).tolist())
    print(f"p_buy: Brier {brier_score_loss(bought, served.p_buy):.4f}, AUC {roc_auc_score(bought, served.p_buy):.3f}")
    print(f"mean p_buy {served.p_buy.mean():.3f} of {bought.mean():.3f}, orders {served.orders.mean():.3f}", end="")
    print(f" of {served.n.mean():.3f}")
    online, frozen, smallest = (np.round(c, 3).tolist() for c in zip(*judge.inertia, strict=True))
    print("k-means inertia / batch refit at month ends", online, "never learning", frozen, "smallest cluster", smallest)


def speed(model: Model, raw: Array) -> None:
    """Rows scored a second, and a day of 1,000 examples learned, on one core."""
    entries = np.zeros(1000, ENTRY)
    entries["now"], entries["then"], entries["day"], entries["open"] = raw[:1000], raw[:1000], model.day + 1, 1
    many = np.resize(raw, 1_000_000)
    started = time.process_time()
    model.predict_many(many)
    scored = time.process_time()
    model.learn_day(model.day + 1, [str(i) for i in range(1000)], entries)
    learned = time.process_time()
    print(f"predict_many {1 / (scored - started):.2f} M rows/s, learn_day of 1,000 {1000 * (learned - scored):.0f} ms")


def main() -> None:
    started = time.process_time()
    model, judge, table = simulate(daily(cdnow(), END), CUT)
    report(judge, judge.frozen.floor)
    print(f"model of day {model.day}: {model.examples} examples learned, {time.process_time() - started:.1f} s of CPU")
    speed(model, table.observe(np.arange(len(table)), END))


if __name__ == "__main__":
    main()
