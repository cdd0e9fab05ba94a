"""How well the models learn online: logs event by event, fitted on their history, then learning daily.

    python -m benchmarks.learning

Every example is judged by the prediction served when it opened, by the model of the day before. CDNOW first, in detail,
as `fit_history` leaves it; then CDNOW, the Complete Journey and ten generated logs as `offline fit` does, and whether
what was promised to each customer came true (figures.py). Boosting or a monthly refit is not run here.
"""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import brier_score_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks import figures
from benchmarks.logs import LOGS, SEED, Log, cdnow
from benchmarks.served import BASELINES, baselines, experts, fitted, served
from models import ledger
from models.clusters import Clusters
from models.customers import NOTED, Table
from models.events import Batch
from models.features import UNIT, standing_many
from models.judge import judge
from models.model import Model, fit_history
from models.rows import DAY, ENTRY
from models.segments import USUAL, Segments
from offline.demand.metrics import compare

K = 4
Array = NDArray[Any]


class Day(NamedTuple):
    """One midnight: the landmarks passed there, and the table as it stands (a view: read it before the next)."""

    day: int
    customer_ids: list[str]
    entries: Array
    table: Table


def daily(events: Batch, end: int) -> Iterator[Day]:
    """Folds the events day by day and sweeps at each midnight up to `end`; the examples of a history, in order."""
    table, first = Table(), int(events.t[0] // DAY)
    cuts = np.searchsorted(events.t, np.arange(first, end + 1) * DAY)
    for day, (i, j) in enumerate(itertools.pairwise(cuts), first + 1):
        batch = events.part(i, j)
        table.fold(batch, table.locate(batch), batch.index, day - 1, np.zeros(len(NOTED), np.int64))
        entries = table.sweep(day)
        yield Day(day, table.ids.of(entries["row"]), entries, table)


def clustered(rows: Array, k: int = K) -> KMeans:
    """On one thread: of several, those that are done turn in circles until the machine has run the last."""
    with threadpool_limits(limits=1):
        return KMeans(k, n_init=10, random_state=0).fit(rows)


def clusters(table: Table, day: int) -> Clusters:
    """scikit-learn's centres of the customers as of `day`, under a scaler frozen there."""
    x = standing_many(table.observe(np.arange(len(table)), day), USUAL)
    mean, sd = x.mean(0), x.std(0)
    return Clusters(clustered((x - mean) / sd).cluster_centers_, mean, sd, USUAL, range(K), [""] * K, [0] * K)


class Judge:
    """Keeps what was served at each opening until the example closes, and who bore which name at the cut and at the
    end; k-means is judged at month ends."""

    def __init__(self, frozen: Model) -> None:
        self.frozen = frozen
        self.open: dict[str, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        self.inertia: list[tuple[float, ...]] = []
        self.standing: dict[int, pd.DataFrame] = {}

    def close(self, at: Day) -> None:
        """Joins the closing examples with what was served for them."""
        spent, bought = (at.entries["label"] / UNIT).tolist(), at.entries["orders"].tolist()
        outcome = zip(at.customer_ids, spent, bought, strict=True)
        self.rows += [self.open.pop(name) | {"y": y, "n": n} for name, y, n in outcome if name in self.open]

    def serve(self, at: Day, model: Model) -> None:
        """Predictions for the examples that open, by `model` and by the baselines."""
        raw, rows = at.entries["now"], at.table.rows[at.entries["row"]]
        told = baselines(self.frozen, raw) | experts(model, raw) | served(model, rows, raw, at.day)
        said: Any = pd.DataFrame({"who": at.customer_ids, "opened": at.day} | told).to_dict("records")
        self.open.update(zip(at.customer_ids, said, strict=True))

    def served(self) -> pd.DataFrame:
        """One row a judged example: who, the day it opened, what was served, and what came (y spent, n orders)."""
        return pd.DataFrame(self.rows)

    def look(self, at: Day, model: Model) -> None:
        """What everybody is called."""
        raw = at.table.observe(np.arange(len(at.table)), at.day)
        called = served(model, at.table.rows, raw, at.day)["segment"]
        self.standing[at.day] = pd.DataFrame({"who": at.table.names, "segment": called})

    def cluster(self, at: Day, model: Model) -> None:
        """Inertia of the learning and of the frozen centres over a batch refit's, and the smallest cluster's share."""
        ours = model.clusters
        z = (standing_many(at.table.observe(np.arange(len(at.table)), at.day), ours.gap) - ours.mean) / ours.sd
        k = len(ours.numbers)
        refit = clustered(z, k).inertia_
        distance = [((z[:, None] - m.clusters.centres) ** 2).sum(2) for m in (model, self.frozen)]
        share = np.bincount(distance[0].argmin(1), minlength=k).min() / len(z)
        self.inertia.append((*(float(d.min(1).sum() / refit) for d in distance), float(share)))


def simulate(days: Iterator[Day], cut: int, model: Model | None = None) -> tuple[Model, Judge, Table]:
    """From the cut on serves and learns daily. model: the one of the cut, by default what `fit_history` gives there."""
    history = []
    for at in days:
        history.append((at.day, at.customer_ids, at.entries))
        if at.day == cut:
            break
    model = model or fit_history(history, cut, Segments(), clusters(at.table, cut))
    judge = Judge(Model.restore(model.snapshot()))
    judge.look(at, model)
    judge.serve(at, model)
    for at in days:
        judge.close(at)
        judge.serve(at, model)
        model.learn_day(at.day, at.customer_ids, at.entries)
        if (at.day - cut) % 30 == 0:
            judge.cluster(at, model)
    judge.look(at, model)
    return model, judge, at.table


# ---- CDNOW in detail -------------------------------------------------------------------------------------------------
def covered(served: pd.DataFrame) -> Array:
    """(10,) P(label <= high) by decile of the prediction."""
    decile = pd.qcut(served.online.rank(method="first"), 10, labels=False)
    return np.array([(served.y <= served.high)[decile == k].mean() for k in range(10)])


def report(judge: Judge, cut: int) -> None:
    """Prints the figures beside the baselines."""
    served = judge.served()
    table = compare(served.y, {name: served[name] for name in (*BASELINES, "online")}, judge.frozen.floor)
    month, bought = served.groupby((served.opened - cut) // 30), served.n > 0
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
    """Rows scored a second, and a day of 1,000 examples learned and judged, on one core."""
    entries, told = np.zeros(1000, ENTRY), model.predict_many(raw[:1000])
    entries["now"], entries["then"], entries["day"], entries["open"] = raw[:1000], raw[:1000], model.day + 1, 1
    entries["open_demand"], entries["open_high"], entries["open_version"] = told.demand, told.high, 1
    many = np.resize(raw, 1_000_000)
    started = time.process_time()
    model.predict_many(many)
    scored = time.process_time()
    closed = model.learn_day(model.day + 1, [str(i) for i in range(1000)], entries)
    learned = time.process_time()
    line = ledger.encoded(judge(model, closed))
    judged = time.process_time()
    print(f"predict_many {1 / (scored - started):.2f} M rows/s, learn_day of 1,000 {1000 * (learned - scored):.0f} ms")
    print(f"their line of the ledger {1000 * (judged - learned):.1f} ms, {len(line):,} bytes")


def detail() -> None:
    started, log = time.process_time(), cdnow()
    model, judge, table = simulate(daily(log.batch, log.end), log.cut)
    report(judge, log.cut)
    print(f"model of day {model.day}: {model.examples} examples learned, {time.process_time() - started:.1f} s of CPU")
    speed(model, table.observe(np.arange(len(table)), log.end))


# ---- all logs, as `offline fit` fits them ----------------------------------------------------------------------------
def judged(log: Log) -> dict[str, figures.Figures]:
    """The figures of one log, by table."""
    model, _ = fitted(log, log.cut)
    _, judge, _ = simulate(daily(log.batch, log.end), log.cut, model)
    seen = judge.served()
    found = {
        "demand": figures.demand(seen, log, judge.frozen.floor),
        "bound": figures.bound(seen),
        "chances": figures.chances(seen, log),
        "names": figures.names(judge.standing, log),
    }
    if cut := figures.valued(log):
        model, folded = fitted(log, cut)
        predicted = served(model, folded.table.rows, folded.raw, cut)["value"]
        found["value"] = figures.value(folded.table.names, predicted, log, cut)
    return found


def chosen(_: Any, __: Any, text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in LOGS]:
        raise click.BadParameter(f"there is no log {unknown[0]!r}; there are {', '.join(LOGS)}")
    return names


@click.command()
@click.option("--logs", default=",".join(LOGS), callback=chosen, show_default=True, help="Which, with commas between.")
@click.option("--seed", default=SEED, show_default=True, help="Of the generated logs.")
@click.option("--json", "out", type=click.File("w", lazy=False), help="File to write the figures to as well.")
def main(logs: list[str], seed: int, out: TextIO | None) -> None:
    """Judge the served models on real and generated logs, and print what came of their promises.

    All logs take some ten minutes of one core; progress goes to stderr.

    \b
    Example:
      python -m benchmarks.learning --logs shop,giant --seed 11 --json build/learning.json
    """
    found = {}
    if "cdnow" in logs:
        detail()
    for number, name in enumerate(logs, 1):
        click.echo(f"log {number} of {len(logs)}: {name}", err=True)
        found[name] = judged(LOGS[name](seed))
    click.echo(figures.shown(found))
    if out:
        json.dump({"seed": seed, "logs": found}, out, indent=1)
    click.echo(f"\n{time.process_time():.0f} s of CPU")


if __name__ == "__main__":
    main()
