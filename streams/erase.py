"""`erase`: the tombstone, then every place that holds the customer is cleaned, or named with the time until when.

The rule: from the tombstone on the log itself says that the customer is erased. What is done besides comes after the
partition has passed it and can be repeated; the receipt says a keyed hash in place of the id.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from models import handover
from models.events import Rejected, decode_one
from models.rows import NEVER, load_rows
from streams import kafka, rejected
from streams.compose import ERASED
from streams.customer import Change, Customer, erasures, in_log
from streams.deployment import Deployment, GuardState
from streams.kafka import Topic
from streams.refusal import Refusal
from streams.rejects import Outgoing
from streams.settings import Settings
from streams.store import SETS, Store

PATIENCE = 120.0  # seconds in which a partition does not move
AGAIN = "run `streams erase --again` to clean the rest"
PURGE = "yours to purge: docs/operations.md says how"
Progress = Callable[[], None]


class Tombstone(NamedTuple):
    """Where it stands in the log; at: its timestamp, in ms, None if it was not kept."""

    partition: int
    offset: int
    at: int | None


class Asked(NamedTuple):
    """histories: DIRs and cleaned histories to look into; wait: until the partition has passed the tombstone; log:
    count what the events topic holds, too; again: clean up behind the last tombstone, and send none.
    """

    histories: Sequence[Path] = ()
    wait: bool = True
    log: bool = True
    again: bool = False


class Place(NamedTuple):
    """What held the customer. found, removed: records, None if not counted; until: when what is left will be gone, None
    if nothing is left or nobody knows; whose: who cleans it, `ours` or `operator`.
    """

    place: str
    found: int | None
    removed: int
    until: str | None = None
    whose: str = "ours"
    note: str = ""


async def erase(
    store: Store,
    settings: Settings,
    topic: Topic,
    customer: Customer,
    asked: Asked,
    progress: Progress,
    told: Callable[[str], None],
) -> dict[str, Any]:
    """Erases the customer; the receipt. `told` of the tombstone as soon as it stands, and of who was not found.

    Raises Refusal, before anything is sent where a history cannot be read or a right is missing.
    """
    # 1. What can be refused, and what is held now: it is gone once the tombstone is passed.
    elsewhere = [place for path in asked.histories for place in _history(path, customer.id)]
    await asyncio.to_thread(kafka.check_topics, settings, _rights(settings, asked))
    held = await _held(customer)
    # 2. From here on the customer is erased, whatever becomes of this process.
    if asked.again:
        tombstone = await _last(store, settings, customer)
    else:
        tombstone = await asyncio.to_thread(_sent, settings, customer)
    if await _since(customer, tombstone):  # what is held is of whoever came back
        held = dict.fromkeys(held, 0)
    # 3. A worker has written that the customer is gone, and writes no more that came before.
    place = f"{topic.name}:{tombstone.partition}:{tombstone.offset}"
    told(f"the tombstone stands at {place}; should this break off, {AGAIN}")
    if asked.wait:
        await _passed(store, place, tombstone, progress)
    # 4. What no worker cleans; what nobody can clean is named.
    places = [
        *await _written(store, customer, held, tombstone, asked.wait),
        *await _cleaned(store, customer, tombstone, asked.wait),
        _rejects(settings, customer, progress),
        _events(settings, topic, customer, asked.log, progress),
        *elsewhere,
    ]
    if not asked.again and not any(each.found for each in places if each.place != store.keys.of_kind("erased")):
        told("warning: nothing of this customer was found where it was looked for: is it the id, letter by letter?")
    return {
        "customer": customer.hashed,
        "erased_at": None if tombstone.at is None else rejected.moment(tombstone.at),
        "tombstone": place,
        "passed": asked.wait,
        "places": [place._asdict() for place in places],
    }


async def again(
    store: Store, settings: Settings, topic: Topic, deployment: Deployment, progress: Progress
) -> tuple[int, int]:
    """Cleans up behind the last tombstone of everybody that the log names and a worker has passed, as where Redis came
    back older or was published anew; how many customers they are, and the records removed."""
    await asyncio.to_thread(kafka.check_topics, settings, {settings.events_topic: ["Read"]})
    customers = removed = 0
    for p, (low, high) in enumerate(topic.bounds[: deployment.partitions]):
        guard = await store.guard(p)
        passed = guard.offset if guard is not None and guard.state is GuardState.READY else low
        for customer_id, tombstone in _tombstones(settings, p, low, min(passed, high), progress).items():
            customer = Customer(store, deployment, customer_id)
            if customer.partition == p:
                places = await _cleaned(store, customer, tombstone, passed=True)
                customers, removed = customers + 1, removed + sum(place.removed for place in places)
    return customers, removed


async def listed(store: Store, deployment: Deployment) -> list[tuple[int, int, str | None, str]]:
    """(partition, offset, when, keyed hash) of each customer's last tombstone; when: None if it is not known."""
    found = []
    for p in range(deployment.partitions):
        for hashed, (offset, at) in (await store.erased(p)).items():
            found.append((p, offset, None if at is None else rejected.moment(at), hashed))
    return sorted(found)


def _rights(settings: Settings, asked: Asked) -> dict[str, list[str]]:
    """What it does to the topics: operations by topic."""
    events = {"Read": asked.log or asked.again, "Write": not asked.again}
    return {
        settings.events_topic: [operation for operation, does in events.items() if does],
        settings.rejected_topic: ["Read", "DescribeConfigs"],
    }


# ---- the tombstone ---------------------------------------------------------------------------------------------------
async def _last(store: Store, settings: Settings, customer: Customer) -> Tombstone:
    """Raises Refusal where there is none."""
    passed_or_not = await erasures(store, settings, customer.deployment)
    found = passed_or_not[customer.partition].get(customer.hashed)
    if found is None:
        raise Refusal("--again: no tombstone of this customer is known: run it without")
    return Tombstone(customer.partition, *found)


def _sent(settings: Settings, customer: Customer) -> Tombstone:
    record = Outgoing(settings.events_topic, customer.id.encode(), None, partition=customer.partition)
    stands: list[Tombstone] = []
    kafka.append(
        kafka.producer(settings, customer.deployment.partitioner),
        [record],
        lambda _, sent: stands.append(Tombstone(customer.partition, sent.offset() or 0, sent.timestamp()[1])),
    )
    return stands[0]


def _tombstones(settings: Settings, partition: int, low: int, high: int, progress: Progress) -> dict[str, Tombstone]:
    """The last of each customer at these offsets."""
    found = {}
    for record in kafka.read(settings, partition, low, high):
        progress()
        key = record.key()
        if record.value() is None and key is not None:
            with contextlib.suppress(Rejected):
                decode_one(key, None, None)
                found[key.decode()] = Tombstone(partition, record.offset() or 0, record.timestamp()[1])
    return found


async def _passed(store: Store, place: str, tombstone: Tombstone, progress: Progress) -> None:
    """Waits until the partition's guard is behind the tombstone. Raises Refusal where it stands still."""
    stood, until = -1, time.monotonic() + PATIENCE
    while True:
        guard = await store.guard(tombstone.partition)
        now = guard.offset if guard is not None and guard.state is GuardState.READY else -1
        if now > tombstone.offset:
            return
        if now != stood:
            stood, until = now, time.monotonic() + PATIENCE
        if time.monotonic() > until:
            raise Refusal(
                f"the tombstone stands at {place}, but {store.keys.guard(tombstone.partition)} has not moved for"
                f" {PATIENCE:.0f} s: is a worker up? The customer is erased as soon as one passes it; then {AGAIN}"
            )
        progress()
        await asyncio.sleep(0.1)


# ---- Redis -----------------------------------------------------------------------------------------------------------
async def _held(customer: Customer) -> dict[str, int]:
    """How many records stand in each kind of key that a worker cleans."""
    hashed, state, sets = await customer.hash(), await customer.state(), await customer.sets()
    kinds = {kind: sum(name.startswith(f"{kind}:") for name in sets) for kind in SETS}
    return {"customer": int(bool(hashed)), "state": int(state is not None)} | kinds


async def _since(customer: Customer, tombstone: Tombstone) -> bool:
    """Whether the customer who is held now began after the tombstone."""
    state = await customer.state()
    return state is not None and bool(load_rows([state])[0]["seen"] > tombstone.offset)


async def _written(
    store: Store, customer: Customer, before: dict[str, int], tombstone: Tombstone, passed: bool
) -> list[Place]:
    """What the write that passed the tombstone removed; who came since is somebody else under the same id."""
    left = await _held(customer)
    new = passed and await _since(customer, tombstone)
    note = "" if passed else f"goes when a worker passes the tombstone; then {AGAIN}"
    note = "a new customer of this id has begun since" if new else note
    return [
        Place(store.keys.of_kind(kind), found, found if new else found - left[kind], note=note)
        for kind, found in before.items()
    ]


async def _cleaned(store: Store, customer: Customer, tombstone: Tombstone, passed: bool) -> list[Place]:
    """What workers leave: closed examples, which would be learned from again, and changes that were announced."""
    changes = await customer.changes()
    end = NEVER if tombstone.at is None else tombstone.at // kafka.DAY + 1  # whoever came back learns anew
    examples = [day for day in await customer.examples() if day <= end]
    told = [change for change in changes if _before(change, tombstone)]
    last = sum(change["to"] == ERASED for _, change in changes)
    note = "" if passed else f"when a worker has passed the tombstone, {AGAIN}"
    kept = await customer.erased()  # before a worker has passed it there is one of an earlier erasure alone
    taught = await customer.forget_examples(examples) if passed else 0
    forgotten = await customer.forget_changes([at for at, _ in told]) if passed else 0
    return [
        Place(store.keys.of_kind("training"), len(examples), taught, note=note),
        Place(store.keys.of_kind("changes"), len(told), forgotten, note=note),
        Place(
            store.keys.of_kind("changes"), last, 0,
            note="that the customer was erased, for whoever holds copies; trimmed as CRM_CHANGES_KEPT says",
        ),
        Place(
            store.keys.of_kind("erased"), int(kept is not None), 0,
            note="the keyed hash, so that nothing brings the customer back",
        ),
    ]  # fmt: skip


def _before(change: Change, tombstone: Tombstone) -> bool:
    """Whether it was announced of the customer who was erased, and is not that."""
    source = change[1]["source"].rpartition(":")[2]
    return change[1]["to"] != ERASED and (not source.isdecimal() or int(source) < tombstone.offset)


# ---- Kafka and files -------------------------------------------------------------------------------------------------
def _rejects(settings: Settings, customer: Customer, progress: Progress) -> Place:
    """Kafka removes whole segments: the last record of one may be as much younger as a segment is long."""
    held = rejected.of_customer(settings, customer.id, progress)
    config = kafka.config(settings, settings.rejected_topic)
    kept = int(config["retention.ms"])
    if not held or kept < 0:
        return Place(settings.rejected_topic, len(held), 0, note=kafka.kept_otherwise(settings, config) or "")
    until = max(each.rejected_at for each in held) + kept + int(config["segment.ms"])
    return Place(settings.rejected_topic, len(held), 0, until=rejected.moment(until))


def _events(settings: Settings, topic: Topic, customer: Customer, log: bool, progress: Progress) -> Place:
    found = sum(1 for _ in in_log(settings, topic, customer.id, progress)) if log else None
    return Place(topic.name, found, 0, whose="operator", note=PURGE)


def _history(path: Path, customer_id: str) -> list[Place]:
    """A DIR's files, or a cleaned history. Raises Refusal for what is neither."""
    files = [path / handover.HISTORY, path / handover.STATES] if path.is_dir() else [path]
    return [Place(str(file), _rows(file, customer_id), 0, whose="operator", note=PURGE) for file in files]


def _rows(file: Path, customer_id: str) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            batches = opened.iter_batches(columns=["customer_id"])
            return sum(pc.sum(pc.equal(batch.column(0), customer_id)).as_py() or 0 for batch in batches)
    except FileNotFoundError:
        raise Refusal(f"{file} is missing: {file.parent} is not what `offline fit --out` wrote") from None
    except (pa.ArrowException, IndexError):
        raise Refusal(f"{file} is no cleaned history: --history takes a DIR, or what `offline clean` wrote") from None
