"""`rebuild`: everything in Redis but models and examples made anew from the history and the log.

The rule: every guard first gets a new token and is `rebuilding`, so that no worker writes or starts to read; `ready`
is set last. A broken rebuild is run again. What workers fold again announces no change twice.
"""

from streams.deployment import DeploymentError, Guard
from streams.kafka import Topic
from streams.kept import Kept
from streams.publish import Progress, seed_all
from streams.serving import Serving
from streams.store import Store


async def rebuild(store: Store, topic: Topic, kept: Kept, progress: Progress) -> None:
    """Seeds the states as of the cut-off; workers then fold the topic again from its start."""
    # 1. Refusals come before anything is touched.
    deployment = await store.deployment()
    deployment.check(store.settings, topic.id, topic.partitions)
    topic.check()
    deployment.check_history(kept.artefact.trained_through, kept.fingerprint)
    serving, (stored, document) = Serving(store), await store.served()
    version = stored.get("version", "")
    if document is None:
        raise DeploymentError(f"{store.keys.version(version)}, the serving model, is not in Redis: restore it")
    serving.read(version, document)
    bounds = topic.bounds[: deployment.partitions]
    for p, (low, _) in enumerate(bounds):
        guard = await _guard(store, p)
        if low > (guard.start if guard else 0):
            raise DeploymentError(
                f"partition {p} begins at offset {low}: older events are gone, they cannot be folded again"
            )
    # 2. Every guard gets a new token: no write of a worker that is under way can be applied any more (rule 2).
    quiet = [await _quiet_until(store, p, high) for p, (_, high) in enumerate(bounds)]
    for p, until in enumerate(quiet):
        await store.rebuilding(p, until)
        await store.unheard(p)
    # 3. Only now is anything dropped; readers see nobody until they are seeded.
    await store.drop_scores()
    # 4. The history, under a fresh token a partition; erased customers stay erased.
    await seed_all(store, serving, deployment, [low for low, _ in bounds], kept, progress)
    # 5. Workers may locate: they fold the log from its start. Who follows the feed copies everybody anew when they are
    #    through, which they are where nothing was announced. Until then no day is learned.
    day = int((await store.model())["day"])
    for p, (low, _) in enumerate(bounds):
        if quiet[p] <= low:
            await store.void(p)
        await store.unheard(p)  # once more: a worker takes its partition for its own for a moment longer
        await store.ready(p, rebuilt=day)


async def _quiet_until(store: Store, partition: int, high: int) -> int:
    """Up to where changes may have been announced: as the guard says; all of the log where none can be read."""
    guard = await _guard(store, partition)
    return high if guard is None else max(guard.offset, guard.quiet_until)


async def _guard(store: Store, partition: int) -> Guard | None:
    """None for a damaged one too: a rebuild is the way out."""
    try:
        return await store.guard(partition)
    except DeploymentError:
        return None
