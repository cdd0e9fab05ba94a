"""What `offline fit` leaves, made in a moment: artefact and states of a small shop, for what is published in tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import logs
from models import artefact
from models.clusters import Clusters
from models.features import standing_many
from models.handover import HISTORY
from models.kinds import PURCHASE
from models.model import Model, fit_history
from models.offers import Offers
from models.rfm import Quintiles
from models.rows import DAY, ENTRY
from models.segments import NAMES, USUAL, Segments
from offline.history.fold import Folded, fold, write_states
from offline.history.read import write_parquet
from offline.segments import rule

T0 = 19_700  # the cut-off: 2023-12-09
TOLD = ["the best", "gone", "regulars"]


def nobody(directory: Path) -> Path:
    """The artefact of a shop that never sold anything, with RFM edges and offers from elsewhere."""
    centres = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    clusters = Clusters(centres, np.zeros(3), np.ones(3), USUAL, [0, 1], TOLD[:2], [0, 0])
    model = Model.create(T0, np.empty(0), np.empty(0), 10.0, Segments(top=2_000_000), clusters)
    model.rfm = Quintiles((7, 30, 90, 365), (1, 2, 3, 5), (250_000, 500_000, 1_000_000, 2_000_000))
    model.offers = Offers({"P-1": ["P-7", "P-2", "P-9"], "P-2": ["P-1"]})
    return _left(directory, model, fold(history(0, T0), T0), history(0, T0))


def shop(
    directory: Path,
    customers: int = 60,
    day: int = T0,
    horizon: int = 30,
    order: tuple[int, ...] = (0, 1, 2),
    offers: Offers | None = None,
    names: Sequence[str] = NAMES,
) -> Path:
    """A small history up to `day`, folded and fitted; its three clusters stand in this order."""
    folded = fold(history(customers, day), day, horizon)
    segments = rule.fit(folded, names)
    x = standing_many(folded.table.observe(np.arange(customers), day), segments.gap)
    centres = np.array([[-1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [0.0, 0.0, 0.0]])[[*order]]
    told = [TOLD[i] for i in order]
    clusters = Clusters(centres, x.mean(0), x.std(0), segments.gap, [0, 1, 2], told, [0, 0, 0])
    model = fit_history(folded.days, day, segments, clusters, horizon)
    model.rfm, model.offers = Quintiles.fit(folded.table.observe(np.arange(customers), day)), offers or model.offers
    return _left(directory, model, folded, history(customers, day))


def cdnow(directory: Path) -> Path:
    """CDNOW as of the demo's cut-off: its demand is the one that `offline fit` finds; its clusters are of nobody."""
    log = logs.cdnow()
    past = log.before(log.cut)
    folded, (centres, told) = fold(past, log.cut), (np.eye(2, 3), TOLD[:2])
    segments = rule.fit(folded, NAMES)
    clusters = Clusters(centres, np.zeros(3), np.ones(3), segments.gap, [0, 1], told, [0, 0])
    model = fit_history(folded.days, log.cut, segments, clusters)
    model.rfm = Quintiles.fit(folded.raw)
    return _left(directory, model, folded, past)


def history(customers: int, end: int) -> pd.DataFrame:
    """The canonical history of customers h0, h1, ..., who buy every 3 to 41 days for 200 days."""
    rows = [
        (f"h{n}", day * DAY + n * 1_000_003, (3 + n * day % 90) * 5_000)
        for n in range(customers)
        for day in range(T0 - 200 + n % 23, end, 3 + n * 7 % 39)
    ]
    frame = pd.DataFrame(rows, columns=["customer_id", "occurred_at", "amount"])
    frame = frame.astype({"occurred_at": "int64", "amount": "int64"})
    frame = frame.sort_values("occurred_at", kind="stable", ignore_index=True)
    ids = [f"past{i}" for i in range(len(frame))]
    return frame.assign(event_id=ids, order_id=ids, kind=np.int8(PURCHASE))


def _left(directory: Path, model: Model, folded: Folded, events: pd.DataFrame) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    write_parquet(events.assign(product_id=None, quantity=np.int64(10_000)), directory / HISTORY)
    (directory / "artefact.json").write_bytes(artefact.encode(artefact.Artefact.of(model)))
    write_states(folded.table, directory / "states.parquet")
    return directory


def learned(document: bytes, days: Mapping[int, Mapping[str, bytes]], through: int) -> bytes:
    """The artefact that a one-process chain of `Model.learn_day` makes of this one, day by day."""
    before = artefact.decode(document)
    model = before.restored()
    for day in range(before.trained_through + 1, through + 1):
        names = sorted(days.get(day, {}), reverse=True)  # any order is as good
        model.learn_day(day, names, np.frombuffer(b"".join(days[day][name] for name in names), ENTRY))
    return artefact.encode(before.after(model))
