"""`publish`: an artefact goes live. The first time everybody's state and scores, later the model alone; `rollback`: the
document of an earlier version does.

The rule: `crm:meta` is written last, and workers start only when it stands: an interrupted first publish starts over.
"""

import json
import secrets
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from redis.exceptions import RedisError

from models import artefact, scores
from models.artefact import Artefact, Version
from models.customers import Table
from models.model import Model
from models.rows import ENTRY
from streams import answers
from streams.compose import Ahead, compose, opened
from streams.deployment import GRACE, Deployment, age, date_of
from streams.kafka import Topic
from streams.kept import Kept
from streams.refusal import Refusal
from streams.serving import Serving, numbered, of_publish, read
from streams.settings import Settings
from streams.store import SLOWEST, Store, patience, pauses, token
from streams.told import Told
from streams.writes import Block, Position

Progress = Callable[[int], None]
_NO_ENTRIES = np.empty(0, ENTRY)


class PublishError(Refusal):
    """It cannot be published."""


async def publish(
    store: Store, settings: Settings, topic: Topic, kept: Kept, progress: Progress, over: int | None = None
) -> str:
    """Puts the artefact into Redis; returns its version. over: the publish that serves, if it must be that one: raises
    Overtaken where it is another by now."""
    if age(kept.artefact.trained_through) < 0:
        raise PublishError(
            f"the history's cut-off, {date_of(kept.artefact.trained_through)}, is still to come, and events"
            " before it would be passed over: fit with --until and a midnight that has passed"
        )
    deployment = await store.published()
    if deployment:
        deployment.check(settings, topic.id, topic.partitions)
    topic.check()
    if deployment:
        return await _swap(store, deployment, "the artefact", kept.artefact, kept.model(), over)
    return await _first(store, settings, topic, kept, progress)


async def rollback(store: Store, deployment: Deployment, version: str) -> str:
    """Publishes the document of a version that Redis keeps; returns what it is called now."""
    if (await store.model()).get("version") == version:
        raise PublishError(f"{version} is the version that serves")
    document = await store.document(version)
    if document is None:
        raise PublishError(f"{version}: no such version is kept: `streams models` lists them")
    what, model = read(document, store.keys.version(version))
    return await _swap(store, deployment, version, what, model)


async def _first(store: Store, settings: Settings, topic: Topic, kept: Kept, progress: Progress) -> str:
    # 1. No meta and a guard that moved: it is not a first publish, meta was lost. Nothing is touched (rule 8).
    for p, (low, _) in enumerate(topic.bounds):
        guard = await store.guard(p)
        if guard is not None and guard.offset > low:
            raise PublishError(
                f"{store.keys.guard(p)} stands at offset {guard.offset} but {store.keys.meta} is gone: restore Redis,"
                f" or delete the keys {store.keys.everything} and publish anew"
            )
    model = kept.model()
    # 2. What an interrupted first publish left.
    await store.drop_everything()
    deployment = Deployment(
        topic=settings.events_topic,
        topic_id=topic.id,
        partitions=topic.partitions,
        partitioner=settings.partitioner,
        cut_off=kept.artefact.trained_through,
        horizon=kept.artefact.horizon,
        erasure_key=secrets.token_hex(32),
        grace=GRACE if settings.grace is None else settings.grace,
        customers=len(kept.names),
        fitted=kept.fingerprint,
    )
    # 3. The model, for every score names the version that said it.
    document = artefact.encode(kept.artefact)
    version = str(Version.of(1, kept.artefact.trained_through, document))
    await _store_model(store, ("", ""), version, kept.artefact, document, topic.partitions)
    serving = Serving(store)
    serving.take(version, model)
    # 4. Everybody's state and score under guards that stand at the start of the log (rule 1).
    await seed_all(store, serving, deployment, [low for low, _ in topic.bounds], kept, progress)
    # 5. Guards first, meta last: a worker that finds meta finds every partition ready.
    for p in range(topic.partitions):
        await store.ready(p, quiet_until=0)
    await store.keep(deployment)
    await store.write_deployment(deployment)
    return version


async def seed_all(
    store: Store, serving: Serving, deployment: Deployment, starts: list[int], kept: Kept, progress: Progress
) -> None:
    """Seeds every partition from the kept states, but for erased customers."""
    homes = np.array([deployment.home(name) for name in kept.names], np.int64)
    for p, start in enumerate(starts):
        gone, here = await store.erased(p), np.flatnonzero(homes == p).tolist()
        mine = [i for i in here if not gone or deployment.erasure(kept.names[i]) not in gone]
        await seed(store, serving, deployment, p, start, [kept.names[i] for i in mine], kept.rows[mine], progress)


async def seed(
    store: Store,
    serving: Serving,
    deployment: Deployment,
    number: int,
    offset: int,
    names: list[str],
    rows: Any,
    progress: Progress,
) -> None:
    """Writes everybody of one partition as workers write, under a fresh guard of our own that is not ready yet."""
    position = Position(offset, deployment.cut_off, scores.FORM, model=serving.version)
    stands = await store.seeding(number, position)
    table, written, place = Table(deployment.horizon), Told(store.keys), f"{deployment.topic}:{number}"
    table.take(names, rows)
    # The examples that opened at the cut-off were served by this model.
    rows = table.rows
    opened(table, serving, np.flatnonzero((rows["open"] == 1) & (rows["due"] == deployment.cut_off + table.horizon)))
    ahead = Ahead(table, serving, np.arange(len(names)), deployment.cut_off)
    for part in _parts(len(names), store.settings.block):
        # Nobody moved: changes of the history, whose events are no offsets of this log, are not announced.
        block = compose(ahead, part, _NO_ENTRIES, place, offset, written)
        new = token()
        if not await _written(store, number, stands, new, position, block):
            raise PublishError(
                f"{store.keys.guard(number)} was changed by somebody else meanwhile: if that was the same command, let"
                " it end; else run this one again"
            )
        stands = new
        progress(len(part))


def _parts(customers: int, size: int) -> Iterator[Any]:
    """Row numbers, so many at a time."""
    for start in range(0, customers, size):
        yield np.arange(start, min(start + size, customers))


async def _written(store: Store, number: int, stands: bytes, new: bytes, position: Position, block: Block) -> bool:
    """The guarded write, repeated with the same token (rule 3) over a hiccup; whether it was applied."""
    for pause in pauses():
        try:
            found, _ = await store.write(number, stands, new, position, block)
            return found == new
        except (RedisError, OSError) as error:
            if pause == SLOWEST or not answers.waits(error):
                raise
            await store.connect_anew()
            await patience(pause)
    raise AssertionError("pauses never end")


async def _store_model(
    store: Store, held: tuple[str, str], version: str, what: Artefact, document: bytes, partitions: int
) -> None:
    metrics = json.dumps(what.figures)
    fresh, day = uuid.uuid4().hex, what.trained_through
    if not await store.learned(held, version, fresh, day, document, metrics, partitions, described=described(what)):
        raise PublishError(f"{store.keys.model} was changed by somebody else meanwhile: publish again")


def described(what: Artefact) -> list[list[str]]:
    """Of segments and of clusters, what they mean, by number: a field and a JSON text, one behind the other."""
    segments, clusters = what.segments, what.clusters
    names = zip(range(len(segments.names)), segments.names, segments.definitions(), segments.sizes, strict=True)
    told = zip(clusters.numbers, clusters.told, clusters.sizes, strict=True)
    usual = segments.usual()
    as_of = date_of(what.as_of)
    texts: list[list[tuple[int, dict[str, str | int]]]] = [
        [(n, {"name": name, "definition": text, "usual": usual, "size": size}) for n, name, text, size in names],
        [(n, {"description": text, "size": size}) for n, text, size in told],
    ]
    return [
        [text for n, fields in each for text in (str(n), json.dumps(fields | {"as_of": as_of}, ensure_ascii=False))]
        for each in texts
    ]


async def _swap(
    store: Store, deployment: Deployment, name: str, new: Artefact, model: Model, over: int | None = None
) -> str:
    """A new model beside a running stream: it enters at its own day, and the trainer learns the days since."""
    stored, document = await store.served()
    if document is None:
        missing = store.keys.version(stored["version"]) if stored else store.keys.model
        raise PublishError(f"{missing} is not in Redis: restore it")
    if over is not None:
        of_publish(over, stored["version"])
    # Not the serving model's day: examples go with the last day that any model learned, and do not come back.
    behind, kept_days = int(stored["furthest"]) - new.trained_through, store.settings.training_days
    if behind > kept_days:
        raise PublishError(
            f"{name} has learned through a day {behind} days before the last that was learned,"
            f" {date_of(int(stored['furthest']))}, and examples are kept"
            f" for {kept_days} days: it is {behind - kept_days} days too old; fit on a newer history"
        )
    if new.horizon != deployment.horizon:
        raise PublishError(f"{name}'s horizon is {new.horizon} days, the deployment's {deployment.horizon}: fit again")
    model.clusters = numbered(model.clusters, document, store.keys.version(stored["version"]))
    what = new.after(model)
    document = artefact.encode(what)
    version = str(Version.of(Version.parse(stored["version"]).n + 1, what.trained_through, document))
    held = (stored["version"], stored["token"])
    try:
        await _store_model(store, held, version, what, document, deployment.partitions)
    except PublishError:
        if over is not None:  # whoever changed it may have been a publish, not the trainer
            of_publish(over, (await store.model())["version"])
        raise
    return version
