"""Events that come over HTTP go into the topic: judged as `send` judges them, and answered once Kafka holds them.

The rule: an event goes as it came, or its reject is told; where Kafka does not say that it holds all of them, nobody is
told that it does. Whoever sends again is safe: copies are told by their event_id.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from models.events import Rejected
from models.rows import DAY
from streams import kafka
from streams.crm.schemas import Verdict
from streams.deployment import Deployment
from streams.refusal import Refusal
from streams.rejects import Outgoing
from streams.send import LONGEST, PADDED, Good, judge
from streams.settings import Settings

PATIENCE = 10_000  # ms that Kafka has for a record
KNOWN = 60.0  # seconds that the deployment and its topic are taken for what they were
AGAIN = 2.0  # seconds after which Kafka is tried again, once it was away
PASSED_OVER = "from before the cut-off: workers pass it over (before_history_ends)"


class Ingest:
    """located: the deployment, once its topic was found to be its own; raises Refusal."""

    def __init__(self, settings: Settings, located: Callable[[], Awaitable[Deployment]]) -> None:
        self.settings, self._located = settings, located
        self._deployment: Deployment | None = None
        self._until = 0.0
        self._producer: Any = None
        self._lock = asyncio.Lock()
        self._away: tuple[float, Refusal] | None = None

    async def send(self, events: Sequence[bytes]) -> list[Verdict]:
        """A verdict each, in their order, once the good ones stand in Kafka. Raises Refusal where they may not."""
        now = time.time_ns() // 1_000_000
        judged = [_judged(event, now) for event in events]
        good = [each for each in judged if isinstance(each, Good)]
        if not good:
            return [each for each in judged if isinstance(each, Verdict)]
        async with self._lock:
            deployment = await self._append(good)
        first = deployment.cut_off * DAY
        return [each if isinstance(each, Verdict) else _sent(each, first) for each in judged]

    async def _append(self, good: Sequence[Good]) -> Deployment:
        if self._away and time.monotonic() < self._away[0]:
            raise self._away[1]
        try:
            deployment = await self._known()
            topic = self.settings.events_topic
            records = [Outgoing(topic, each.key, each.value, timestamp=each.timestamp) for each in good]
            await asyncio.to_thread(self._appended, deployment, records)
        except Refusal as error:
            self._producer, self._until = None, 0.0  # one that gave up may send nothing more
            self._away = time.monotonic() + AGAIN, error
            raise
        self._away = None
        return deployment

    async def _known(self) -> Deployment:
        """The deployment; its topic is looked at now and then, for one that was made anew is another."""
        if self._deployment is None or time.monotonic() > self._until:
            self._deployment = await self._located()
            self._until = time.monotonic() + KNOWN
        return self._deployment

    def _appended(self, deployment: Deployment, records: Sequence[Outgoing]) -> None:
        """In a thread: it returns once all of them are acknowledged by all replicas that are in step."""
        if self._producer is None:
            more: kafka.Config = {"message.timeout.ms": PATIENCE, "acks": "all"}
            self._producer = kafka.producer(self.settings, deployment.partitioner, more)
        kafka.append(self._producer, records)


def _sent(event: Good, first: int) -> Verdict:
    """On a good one. first: the cut-off, in microseconds."""
    if event.occurred_at < first:
        return Verdict("sent", note=PASSED_OVER)
    return Verdict("sent", note=PADDED if event.padded else "")


def _judged(event: bytes, now: int) -> Good | Verdict:
    if len(event) > LONGEST:
        return Verdict("rejected", "too_long", f"an event has at most {LONGEST:,} bytes")
    try:
        return judge(event, False, now) or Verdict("rejected", "tick", "ticks are sent by workers")
    except Rejected as error:
        return Verdict("rejected", str(error.reason), error.detail)
