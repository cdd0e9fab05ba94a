"""The history of a deployment: what its first publish had before the cut-off, and what workers have counted since.

The rule: a record of the log is in it if a worker counts it: good, in its customer's partition, from the cut-off on,
behind the customer's last tombstone, below the offset where the partition stands. Of who was erased it holds what they
did after.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from models.artefact import Version
from models.events import decode_many
from models.features import UNIT
from models.kinds import ERASE, RETURN, TICK, TRADED
from models.rows import DAY, load_examples
from streams import kafka
from streams.deployment import Deployment, DeploymentError, Guard, GuardState
from streams.kafka import Topic
from streams.serving import of_publish
from streams.settings import Settings
from streams.store import Store

COLUMNS = ("event_id", "kind", "customer_id", "occurred_at", "order_id", "product_id", "amount", "quantity")
CHUNK = 10_000  # records decoded at once
PLACES = 10_000  # of a quantity, in a unit


class _Texts(msgspec.Struct):
    """What decoding for the fold leaves out of a good event."""

    event_id: str
    order_id: str | None = None
    product_id: str | None = None
    quantity: float | None = None


async def gather(
    store: Store, settings: Settings, topic: Topic, past: pd.DataFrame, progress: Callable[[int], object] = abs
) -> pd.DataFrame:
    """The canonical history up to where the partitions stand, in the order of (occurred_at, history first, log).

    past: the cleaned history of the first publish. Raises DeploymentError where a partition is not ready, or its log no
    longer holds what was counted.
    """
    deployment = await store.deployment()
    lives = []
    for p, (low, _) in enumerate(topic.bounds):
        end = (await _stands(store, p, low)).offset
        lives.append((end, _live(settings, deployment, p, low, end, progress)))
    # Asked when all is read: who was erased meanwhile leaves too, with what came before a tombstone that was not read.
    before = past[past["occurred_at"] < deployment.cut_off * DAY]
    parts = [before[~before["customer_id"].isin([*await erased(store, deployment, before["customer_id"].unique())])]]
    for end, live in lives:
        gone = await erased(store, deployment, live["customer_id"].unique())
        parts.append(live[~live["customer_id"].isin([name for name, offset in gone.items() if offset >= end])])
    whole = pd.concat([part[list(COLUMNS)] for part in parts if len(part)] or [before[list(COLUMNS)]])
    return whole.sort_values("occurred_at", kind="stable", ignore_index=True)


async def erased(store: Store, deployment: Deployment, names: Iterable[str]) -> dict[str, int]:
    """Of those of these customers whom `crm:erased` names, the offset of the last tombstone."""
    held = [await store.erased(p) for p in range(deployment.partitions)]
    found = {name: held[deployment.home(name)].get(deployment.erasure(name)) for name in names}
    return {name: kept[0] for name, kept in found.items() if kept}


class Promised(NamedTuple):
    """day: through which the model that serves has learned; days: so many to that day are looked at; table: columns
    label and demand, major units, by (customer_id, day); rebuilt: the model's day when a rebuild last noted promises
    anew; None where none has.
    """

    day: int
    days: int
    table: pd.DataFrame
    rebuilt: int | None


async def promised(store: Store, partitions: int, horizon: int, publish: int) -> Promised:
    """What this publish, which serves, promised of the kept examples that closed in the `horizon` days to its model's
    day (in fewer, where examples are kept for fewer), and what came.

    Left out is what another publish promised, and what was noted by a model that had learned days behind the opening,
    as a rebuild notes it: neither tells how good this publish is. Raises Overtaken where another publish comes, and
    DeploymentError where a partition is not ready.
    """
    while True:
        stored = await store.model()
        if not stored:
            raise DeploymentError(f"{store.keys.model} is missing: restore Redis")
        of_publish(publish, stored["version"])
        found = await _promised(store, partitions, horizon, stored)
        if found is not None:  # else the model moved on in the middle, and with it the days that are kept
            return found


async def _promised(store: Store, partitions: int, horizon: int, stored: dict[str, str]) -> Promised | None:
    """The same of the model as it is stored; None where another one serves by now."""
    day, publish = int(stored["day"]), Version.parse(stored["version"]).n
    first = max(day - horizon, int(stored["furthest"]) - store.settings.training_days) + 1
    rows, rebuilt = [], set[int]()
    for p in range(partitions):
        guard = await _stands(store, p)
        rebuilt |= set() if guard.rebuilt is None else {guard.rebuilt}
        for closing in range(first, min(day, guard.swept_to) + 1):
            found = await store.examples(p, closing, stored["version"])
            if found is None:
                return None
            entries = load_examples([packed for _, packed in found])
            by = entries["open_version"]
            ours = (Version.publish_of(by) == publish) & (Version.day_of(by) <= closing - horizon)
            closed = ((entries["open"] == 1) & ours).tolist()
            told = zip(found, closed, entries["label"].tolist(), entries["open_demand"].tolist(), strict=True)
            rows += [(name, closing, label / UNIT, demand) for (name, _), closes, label, demand in told if closes]
    table = pd.DataFrame(rows, columns=["customer_id", "day", "label", "demand"]).set_index(["customer_id", "day"])
    return Promised(day, day - first + 1, table, max(rebuilt, default=None))


async def _stands(store: Store, partition: int, low: int = 0) -> Guard:
    """The guard of a partition whose records are all counted up to its offset. low: the log begins there."""
    guard, key = await store.guard(partition), store.keys.guard(partition)
    if guard is None or guard.state is not GuardState.READY:
        raise DeploymentError(
            f"{key} is {guard.state if guard else 'missing'}: wait for it to be ready, or restore Redis"
        )
    if guard.offset < guard.quiet_until:
        raise DeploymentError(
            f"{key}: a rebuild is folding the log again: wait until its offset is {guard.quiet_until}"
        )
    if low > guard.start:
        raise DeploymentError(
            f"records {guard.start:,} to {low - 1:,} of partition {partition} were deleted (retention): make the"
            " history of the shop's files"
        )
    return guard


def _live(
    settings: Settings, deployment: Deployment, partition: int, start: int, end: int, progress: Callable[[int], object]
) -> pd.DataFrame:
    """What a worker counts of the records at offsets [start, end)."""
    tombstones: dict[str, int] = {}
    found = []
    for records in _chunks(kafka.read(settings, partition, start, end)):
        found.append(_counted(records, deployment, partition, tombstones))
        progress(len(records))
    table = pd.concat(found) if found else pd.DataFrame(columns=["offset", *COLUMNS])
    last = table["customer_id"].map(tombstones).fillna(-1)
    return table[table["offset"].astype("int64") > last.astype("int64")].drop(columns="offset")


def _chunks(records: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(records, CHUNK)):
        yield chunk


def _counted(records: list[Any], deployment: Deployment, partition: int, tombstones: dict[str, int]) -> pd.DataFrame:
    """Of these records the events, with their offsets; the last tombstone of each customer is noted."""
    keys, values = [record.key() for record in records], [record.value() for record in records]
    batch, _ = decode_many(keys, values, [record.timestamp()[1] for record in records])
    homes = {name: deployment.home(name) for name in set(batch.customer_id) if name}
    ours = np.array([homes.get(name, -1) == partition for name in batch.customer_id], np.bool_)
    offsets = np.array([record.offset() for record in records], np.int64)[batch.index]
    for name, offset, kind in zip(batch.customer_id, offsets.tolist(), batch.kind.tolist(), strict=True):
        if kind == ERASE and homes.get(name) == partition:
            tombstones[name] = offset
    kept = ours & (batch.kind != ERASE) & (batch.kind != TICK) & (batch.t >= deployment.cut_off * DAY)
    events = batch.keep(kept)
    texts = [msgspec.json.decode(values[i], type=_Texts) for i in events.index.tolist()]
    traded = np.isin(events.kind, list(TRADED))
    sign = np.where(events.kind == RETURN, -1, 1)
    quantity = np.array([round((text.quantity or 0) * PLACES) for text in texts], np.int64)
    return pd.DataFrame(
        {
            "offset": offsets[kept],
            "event_id": [text.event_id for text in texts],
            "kind": events.kind,
            "customer_id": events.customer_id,
            "occurred_at": events.t,
            "order_id": [text.event_id if text.order_id is None else text.order_id for text in texts],
            "product_id": [text.product_id for text in texts],
            "amount": events.amount,
            "quantity": np.where(traded, sign * quantity, 0),
        }
    )
