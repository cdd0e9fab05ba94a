"""The trainer: the model of day d from the model of day d-1 and the examples of day d, once nothing can add to them.

It runs in the worker that holds partition 0. It remembers nothing: each step reads Redis, learns in a thread and writes
only if the model it read still stands, and the day's line of the ledger with it. So two trainers, a crash or a rollback
at worst repeat a step, to the same bits.
"""

import asyncio
import json
import sys
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from models import artefact, ledger
from models.artefact import Artefact, Version
from models.judge import judge
from models.rows import UnknownForm, load_examples
from streams.deployment import DeploymentError
from streams.store import Store

TURN = 0.0002  # seconds


class Learned(NamedTuple):
    """A day: its artefact, that one's document, and its line of the ledger."""

    artefact: Artefact
    document: bytes
    line: bytes


def learn(document: bytes, day: int, examples: Sequence[tuple[str, bytes]]) -> Learned:
    """`day`, from the document of the day before; examples: (customer_id, packed EXAMPLE)."""
    before = artefact.decode(document)
    model = before.restored()
    names = [name for name, _ in examples]
    closed = model.learn_day(day, names, load_examples([packed for _, packed in examples]))
    after = before.after(model)
    return Learned(after, artefact.encode(after), ledger.encoded(judge(model, closed)))


async def aside(document: bytes, day: int, examples: Sequence[tuple[str, bytes]]) -> Learned:
    """`learn` in a thread. Others have their turn after TURN instead of Python's 5 ms meanwhile, for a write of the
    event loop takes several turns (`python -m benchmarks.training`)."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN)
    try:
        return await asyncio.to_thread(learn, document, day, examples)
    finally:
        sys.setswitchinterval(before)


async def step(store: Store, partitions: int) -> bool:
    """Learns the next day if every partition is swept to it; False if there is nothing to learn yet."""
    stored = await store.model()
    if not stored:
        return False  # Redis was emptied: whoever holds a partition finds that out, and says so
    day, held = int(stored["day"]) + 1, (stored["version"], stored["token"])
    if min(await store.swept(partitions)) < day:
        return False
    pages = [await store.examples(p, day, held[0]) for p in range(partitions)]
    serving, document = await store.served()
    if serving.get("version") != held[0] or any(page is None for page in pages):
        return False  # another model was written meanwhile: start over
    if document is None:
        raise DeploymentError(f"{store.keys.version(held[0])}, the serving model, is not in Redis: restore it")
    found = [example for page in pages if page is not None for example in page]
    try:
        learned = await aside(document, day, found)
    except (artefact.ArtefactError, UnknownForm) as error:
        raise DeploymentError(f"day {day} cannot be learned: {error}: upgrade this worker") from None
    version = str(Version.of(Version.parse(held[0]).n, day, learned.document))
    metrics = json.dumps(learned.artefact.figures)
    fresh, document = uuid.uuid4().hex, learned.document
    return await store.learned(held, version, fresh, day, document, metrics, partitions, line=learned.line)
