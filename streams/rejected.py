"""`rejected`: what stands in the topic of rejects; sending again what is accepted now.

The rule: a reject is known by where it came from, and counts once however often it stands there. A replay sends events
and the notes that say so in one Kafka transaction: what broke off has sent nothing, and nobody sends an event again.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from models.events import EPOCH, Event, Rejected, decode_one
from models.kinds import ERASE, TICK
from streams import kafka, rejects
from streams.customer import about, erasures
from streams.deployment import Deployment
from streams.rejects import Held, Outgoing, Replayed
from streams.settings import Settings
from streams.store import Store

TOGETHER, BYTES = 1_000, 8 << 20  # events in a transaction, and of them: workers wait for its end
Origin = tuple[int, int]
Progress = Callable[[], None]


class Wanted(NamedTuple):
    """Which rejects; None: all. partition: of the events topic; times in ms, of the rejection, `until` exclusive."""

    reason: str | None = None
    partition: int | None = None
    since: int | None = None
    until: int | None = None

    def takes(self, held: Held) -> bool:
        """Whether it is one of them."""
        return (
            self.reason in (None, held.reason)
            and self.partition in (None, held.origin[0])
            and (self.since is None or self.since <= held.rejected_at)
            and (self.until is None or held.rejected_at < self.until)
        )


def stored(settings: Settings, progress: Progress) -> Iterator[Held | Replayed]:
    """All that stands in the topic of rejects, in its order; a reject may come twice."""
    topic = settings.rejected_topic
    for p, (low, high) in enumerate(kafka.bounds(settings, topic)):
        for record in kafka.read(settings, p, low, high, topic):
            progress()
            found = rejects.read(dict(record.headers() or ()), record.key(), record.value(), record.timestamp()[1])
            if found is not None:
                yield found


def listed(found: Iterable[Held | Replayed], wanted: Wanted) -> tuple[list[Held], set[Origin]]:
    """The rejects that are wanted, without key and value, in the order of origin; and which of all were sent again."""
    held: dict[Origin, Held] = {}
    notes = set()
    for each in found:
        if isinstance(each, Replayed):
            notes.add(each.origin)
        elif wanted.takes(each):
            held.setdefault(each.origin, each._replace(key=None, value=None))
    return [held[origin] for origin in sorted(held)], notes


def one(found: Iterable[Held | Replayed], origin: Origin) -> tuple[Held | None, bool]:
    """The reject that came from there, whole; whether it was sent again."""
    mine = [each for each in found if each.origin == origin]
    return next((each for each in mine if isinstance(each, Held)), None), any(
        isinstance(each, Replayed) for each in mine
    )


def of_customer(settings: Settings, customer_id: str, progress: Progress) -> list[Held]:
    """The rejects that are about the customer, whole, in the order of origin."""
    held: dict[Origin, Held] = {}
    for each in stored(settings, progress):
        if isinstance(each, Held) and about(customer_id, each.key, each.value):
            held.setdefault(each.origin, each)
    return [held[origin] for origin in sorted(held)]


# ---- replay ----------------------------------------------------------------------------------------------------------
@dataclass
class Outcome:
    """sent, or to be sent; refused: by reason, what the decoder still refuses; cut: it is not whole; erased: of a
    customer who was erased since; before: sent by an earlier replay.
    """

    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    erased: int = 0
    before: int = 0


async def replay(
    store: Store, settings: Settings, deployment: Deployment, wanted: Wanted, dry: bool, progress: Progress
) -> Outcome:
    """Sends what is accepted now, once, in the order of origin; dry: only says so. Raises Refusal."""
    # 0. Half a right is none: events and notes are sent together.
    if not dry:
        needed = dict.fromkeys((settings.events_topic, settings.rejected_topic), ("Read", "Write"))
        await asyncio.to_thread(kafka.check_topics, settings, needed)
    # 1. From here on nobody else replays, and what was is committed: the notes that are read next are all there are.
    name = f"{settings.rejected_topic}.replay"
    sender = None if dry else await asyncio.to_thread(kafka.transactional, settings, deployment.partitioner, name)
    # 2. What is accepted now, but for customers who were erased since: nothing brings them back.
    gone = await erasures(store, settings, deployment)
    judge = _Judge(deployment, gone)
    for each in stored(settings, progress):
        judge.take(each, wanted)
    accepted = judge.left()
    judge.outcome.sent = len(accepted)
    # 3. Events and their notes together, or neither.
    if sender is not None:
        for part in _parts(accepted):
            judge.gone = await erasures(store, settings, deployment)  # those of since: the reading takes its time
            part = judge.still(part)
            with kafka.transaction(sender, settings.events_topic):
                kafka.append(sender, _records(settings, part))
    return judge.outcome


class _Judge:
    """Keeps of all rejects those that can be sent."""

    def __init__(self, deployment: Deployment, gone: list[dict[str, tuple[int, int | None]]]) -> None:
        self.deployment, self.gone, self.outcome = deployment, gone, Outcome()
        self.accepted: dict[Origin, tuple[Held, Event]] = {}
        self.seen: set[Origin] = set()
        self.notes: set[Origin] = set()

    def take(self, each: Held | Replayed, wanted: Wanted) -> None:
        if isinstance(each, Replayed):
            self.notes.add(each.origin)
        elif wanted.takes(each) and each.origin not in self.seen:
            self.seen.add(each.origin)
            self._judge(each)

    def left(self) -> list[tuple[Held, Event]]:
        """What was not sent before, in the order of origin."""
        fresh = sorted(self.accepted.keys() - self.notes)
        self.outcome.before = len(self.accepted) - len(fresh)
        return [self.accepted[origin] for origin in fresh]

    def still(self, part: list[tuple[Held, Event]]) -> list[tuple[Held, Event]]:
        """Without those whose customers were erased since they were accepted."""
        kept = [each for each in part if not self._erased(*each)]
        self.outcome.sent -= len(part) - len(kept)
        self.outcome.erased += len(part) - len(kept)
        return kept

    def _judge(self, held: Held) -> None:
        if held.cut:
            self.outcome.cut += 1
            return
        try:
            event = decode_one(held.key, held.value, timestamp(held))
        except Rejected as error:
            self.outcome.refused[error.reason] += 1
            return
        if event.kind == ERASE:  # its customer may have come back since
            self.outcome.refused["a tombstone: streams erase sends one"] += 1
        elif self._erased(held, event):
            self.outcome.erased += 1
        else:
            self.accepted[held.origin] = held, event

    def _erased(self, held: Held, event: Event) -> bool:
        """Whether the customer was erased and the record is not known to have come after that."""
        if event.kind == TICK:
            return False
        home, (partition, offset) = self.deployment.home(event.customer_id), held.origin
        tombstone, _ = self.gone[home].get(self.deployment.erasure(event.customer_id), (-1, None))
        return tombstone >= 0 and not (partition == home and offset > tombstone)


def timestamp(held: Held) -> int:
    """The record's own, in ms; of a reject that was laid out without it, when it was rejected."""
    return held.rejected_at if held.timestamp is None else held.timestamp


def _parts(accepted: list[tuple[Held, Event]]) -> Iterator[list[tuple[Held, Event]]]:
    """Cut so that each fits into a transaction, whose time is short; one alone always does."""
    part, size = list[tuple[Held, Event]](), 0
    for each in accepted:
        size += each[0].size
        if part and (len(part) == TOGETHER or size > BYTES):
            yield part
            part, size = [], each[0].size
        part.append(each)
    if part:
        yield part


def _records(settings: Settings, accepted: list[tuple[Held, Event]]) -> Iterator[Outgoing]:
    """Each event as it came, then its note; a tick asks the partition that it was sent to."""
    for held, event in accepted:
        partition = held.origin[0] if event.kind == TICK else -1
        yield Outgoing(settings.events_topic, held.key, held.value, (), partition, timestamp(held))
        yield rejects.note(settings.rejected_topic, held)


# ---- how it is told --------------------------------------------------------------------------------------------------
def moment(ms: int) -> str:
    """ISO 8601 in UTC; of a time that no calendar has, the number.

    >>> moment(1_700_000_000_007), moment(1_700_000_000_000_000_000)
    ('2023-11-14T22:13:20.007Z', '1700000000000000000 ms')
    """
    with contextlib.suppress(OverflowError):
        return _moment(ms)
    return f"{ms} ms"


def _moment(ms: int) -> str:
    return f"{EPOCH + timedelta(milliseconds=ms):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def printable(content: bytes | str | None) -> str:
    r"""As a terminal may show it: what is no text, or would move the cursor or the reading order, as an escape.

    >>> print(printable(b"caf\xc3\xa9 \xff\x1b[2J"), printable("\u202ea\nb"), printable(None))
    café \xff\x1b[2J \u202ea\x0ab null
    """
    if content is None:
        return "null"
    text = content.decode(errors="backslashreplace") if isinstance(content, bytes) else content
    return "".join(letter if letter.isprintable() else _escape(ord(letter)) for letter in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def as_fields(held: Held) -> dict[str, str | int | None]:
    """What is told of a reject, but for its content."""
    return {
        "record": place(held),
        "reason": held.reason,
        "detail": held.detail,
        "timestamp": moment(held.timestamp) if held.timestamp is not None and held.timestamp >= 0 else None,
        "rejected_at": moment(held.rejected_at),
        "size": held.size,
        "cut": held.cut,
    }


def place(held: Held) -> str:
    """topic:partition:offset of the record."""
    return f"{held.topic}:{held.origin[0]}:{held.origin[1]}"
