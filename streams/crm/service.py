"""What the routes of the API share."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from streams.crm.looks import Looks
from streams.crm.reader import carry
from streams.crm.reads import Reads, Steps
from streams.crm.schemas import Verdict
from streams.crm.scores import ScoreReads
from streams.store import Store

T = TypeVar("T")


class Sends(Protocol):
    """Puts events into the log."""

    async def send(self, events: Sequence[bytes]) -> list[Verdict]:
        """A verdict each, in their order, once the good ones stand in Kafka. Raises Refusal where they may not."""


@dataclass(frozen=True)
class Service:
    """client: of redis-py's asyncio, whose answers are texts; events: None where they are not taken; ending: set when
    the process is asked to end, for answers that would go on."""

    store: Store
    client: Any
    reads: Reads
    scores: ScoreReads
    looks: Looks
    events: Sends | None = None
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, steps: Steps[T]) -> T:
        """What a read of reads.py finds."""
        return await carry(self.client, steps)
