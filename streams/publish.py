"""`publish`: an artefact goes live. The first time everybody's state and scores, later the model alone.

The rule: `crm:meta` is written last, and workers start only when it stands: an interrupted first publish starts over.
"""

import json
import secrets
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models import artefact
from models.artefact import Artefact
from models.customers import ROW
from streams.kafka import Topic
from streams.partition import Partition, Rules
from streams.partitioner import partitioner
from streams.serving import Serving
from streams.settings import Settings
from streams.store import Store, erasure

Progress = Callable[[int], None]


class PublishError(ValueError):
    """It cannot be published; one line says why and what to do."""


class Kept:
    """What `offline fit` left in DIR: the artefact, and everybody's packed rows at the cut-off."""

    def __init__(self, directory: Path) -> None:
        try:
            self.artefact: Artefact = artefact.decode((directory / "artefact.json").read_bytes())
            states = pq.read_table(directory / "states.parquet")
            self.names: list[str] = states["customer_id"].to_pylist()
            self.rows = np.frombuffer(b"".join(states["state"].to_pylist()), ROW).copy()
        except FileNotFoundError as error:
            raise PublishError(
                f"{error.filename} is missing: {directory} is not what `offline fit --out` wrote"
            ) from None
        except (artefact.ArtefactError, pa.ArrowInvalid, KeyError, ValueError) as error:
            raise PublishError(f"{directory}: {error}") from None
        if len(self.rows) != len(self.names):
            raise PublishError(f"{directory}/states.parquet is of another version: run `offline fit` again")


def _refuse(reason: str) -> NoReturn:
    raise PublishError(reason)


async def seed(
    store: Store,
    serving: Serving,
    rules: Rules,
    number: int,
    offset: int,
    names: list[str],
    rows: Any,
    progress: Progress,
) -> None:
    """Writes everybody of one partition under a fresh guard, as workers write; the guard is not `ready` yet."""
    token = uuid.uuid4().bytes
    guard = {"offset": offset, "token": token, "swept_to": rules.cut_off, "state": "seeding"}
    await store.redis.hset(store.keys.guard(number), mapping=guard)
    part = Partition(number, 0, store, NoLog(), serving, rules, _refuse)
    part.table.load(names, rows.tobytes())
    part.seeded(token, offset)
    for i in range(0, max(1, len(names)), 10_000):
        await part.score_rows(np.arange(i, min(i + 10_000, len(names))))
        progress(min(10_000, len(names) - i))
    await part.settle()


class NoLog:
    """Seeding reads no log, and nobody else writes meanwhile."""

    TRANSIENT: tuple[type[Exception], ...] = ()

    async def bounds(self, partition: int) -> tuple[int, int]:
        raise AssertionError("not asked while seeding")

    async def seek(self, partition: int, offset: int, epoch: int) -> None:
        raise AssertionError("not asked while seeding")

    async def reject(self, partition: int, rejects: Any) -> None:
        raise AssertionError("not asked while seeding")

    def home(self, customer_id: str) -> int:
        raise AssertionError("not asked while seeding")

    def lose(self, partition: Partition) -> None:
        _refuse(f"{partition.store.keys.guard(partition.number)} was changed by somebody else meanwhile: publish again")


async def publish(store: Store, settings: Settings, topic: Topic, kept: Kept, progress: Progress) -> str:
    """Puts the artefact into Redis; returns its version."""
    meta = await store.meta()
    if meta:
        return await _swap(store, meta, kept)
    return await _first(store, settings, topic, kept, progress)


async def _first(store: Store, settings: Settings, topic: Topic, kept: Kept, progress: Progress) -> str:
    for p, (low, _) in enumerate(topic.bounds):
        guard = await store.guard(p)
        if guard is not None and guard.offset > low:
            raise PublishError(
                f"{store.keys.guard(p)} stands at offset {guard.offset} but {store.keys.meta} is gone: restore Redis,"
                f" or delete the keys {settings.prefix}:* and publish anew"
            )
    await store.delete([key.decode() async for key in store.redis.scan_iter(f"{settings.prefix}:*", count=1000)])
    meta = {
        "topic": settings.events_topic,
        "topic_id": topic.id,
        "partitions": str(topic.partitions),
        "partitioner": settings.partitioner,
        "cut_off": str(kept.artefact.trained_through),
        "horizon": str(kept.artefact.horizon),
        "erasure_key": secrets.token_hex(32),
    }
    document = artefact.encode(kept.artefact)
    version = artefact.version(1, kept.artefact.trained_through, document)
    await _store_model(store, ("", ""), version, kept.artefact, document, topic.partitions)
    serving = Serving(store)
    serving.take(version, kept.artefact.restored())
    await seed_all(store, serving, meta, [low for low, _ in topic.bounds], kept, progress)
    for p in range(topic.partitions):
        await store.redis.hset(store.keys.guard(p), mapping={"state": "ready", "quiet_until": 0})
    await store.redis.hset(store.keys.meta, mapping=meta)
    return version


async def seed_all(
    store: Store, serving: Serving, meta: dict[str, str], starts: list[int], kept: Kept, progress: Progress
) -> None:
    """Seeds every partition from the kept states, but for erased customers."""
    home = partitioner(meta["partitioner"], len(starts))
    homes = np.array([home(name) for name in kept.names], np.int64)
    rules = rules_of(meta, grace=0)
    for p, start in enumerate(starts):
        erased = await store.redis.hkeys(store.keys.erased(p))
        gone = {name.decode() for name in erased}
        mine = [
            i
            for i in np.flatnonzero(homes == p).tolist()
            if not gone or erasure(kept.names[i], meta["erasure_key"]) not in gone
        ]
        await seed(store, serving, rules, p, start, [kept.names[i] for i in mine], kept.rows[mine], progress)


def rules_of(meta: dict[str, str], grace: int) -> Rules:
    """What `crm:meta` fixed; grace in seconds."""
    return Rules(meta["topic"], int(meta["cut_off"]), int(meta["horizon"]), grace * 1_000_000, meta["erasure_key"])


async def _store_model(
    store: Store, held: tuple[str, str], version: str, what: Artefact, document: bytes, partitions: int
) -> None:
    metrics = json.dumps(what.figures)
    token, day = uuid.uuid4().hex, what.trained_through
    if not await store.learned(held, version, token, day, document, metrics, partitions):
        raise PublishError(f"{store.keys.model} was changed by somebody else meanwhile: publish again")


async def _swap(store: Store, meta: dict[str, str], kept: Kept) -> str:
    """A new model beside a running stream: it enters at its own day, and the trainer learns the days since."""
    stored, new = await store.model(), kept.artefact
    behind, kept_days = int(stored["day"]) - new.trained_through, store.settings.training_days
    if behind > kept_days:
        raise PublishError(
            f"the artefact has learned through a day {behind} days before the serving model's, and examples are kept"
            f" for {kept_days} days: it is {behind - kept_days} days too old; fit on a newer history"
        )
    if str(new.horizon) != meta["horizon"]:
        raise PublishError(
            f"the artefact's horizon is {new.horizon} days, the deployment's {meta['horizon']}: fit again"
        )
    document = await store.document(stored["version"])
    if document is None:
        raise PublishError(f"{store.keys.version(stored['version'])} is not in Redis: restore it")
    old, model = artefact.decode(document).restored(), new.restored()
    model.segments = model.segments.continuing(old.segments)
    what = Artefact.of(model, new.metrics, new.metrics_cut)
    document = artefact.encode(what)
    version = artefact.version(int(stored["version"].split("-")[0]) + 1, what.trained_through, document)
    held = (stored["version"], stored["token"])
    await _store_model(store, held, version, what, document, int(meta["partitions"]))
    return version
