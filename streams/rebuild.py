"""`rebuild`: everything in Redis but models and examples made anew from the history and the log.

The rule: every guard first gets a new token and `state=rebuilding`, so that no worker writes or starts to read; `ready`
is set last. A broken rebuild is run again. What workers fold again announces no change twice.
"""

import uuid

from streams.kafka import Topic
from streams.publish import Kept, Progress, PublishError, seed_all
from streams.serving import Serving
from streams.store import Store


async def rebuild(store: Store, topic: Topic, kept: Kept, progress: Progress) -> None:
    """Seeds the states as of the cut-off; workers then fold the topic again from its start."""
    meta = await store.meta()
    if not meta:
        raise PublishError(f"{store.keys.meta} is missing: run `python -m streams publish DIR`")
    if kept.artefact.trained_through != int(meta["cut_off"]):
        raise PublishError("DIR was fitted to another cut-off than the deployment's: give the DIR of the first publish")
    partitions = range(int(meta["partitions"]))
    for p in partitions:
        guard = await store.guard(p)
        low, high = topic.bounds[p]
        quiet_until = max(guard.offset, guard.quiet_until) if guard is not None else high
        if low > 0:
            raise PublishError(
                f"partition {p} begins at offset {low}: older events are gone, they cannot be folded again"
            )
        mapping = {"token": uuid.uuid4().bytes, "state": "rebuilding", "quiet_until": quiet_until}
        await store.redis.hset(store.keys.guard(p), mapping=mapping)
    await _drop(store)
    serving = Serving(store)
    version = (await store.model()).get("version", "")
    if not await serving.use(version):
        raise PublishError(f"{store.keys.version(version)}, the serving model, is not in Redis: restore it")
    await seed_all(store, serving, meta, [low for low, _ in topic.bounds], kept, progress)
    for p in partitions:
        await store.redis.hset(store.keys.guard(p), "state", "ready")


async def _drop(store: Store) -> None:
    """States, customers' hashes, segment sets and reject counts; the counts are made again with the rejects."""
    for kind in ("state", "customer", "segment", "rejected"):
        found = store.redis.scan_iter(f"{store.keys.prefix}:{kind}:*", count=1000)
        await store.delete([key.decode() async for key in found])
