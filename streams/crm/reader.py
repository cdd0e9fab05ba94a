"""Scores for a CRM written in Python: `CustomerScores` waits, `AsyncCustomerScores` is awaited; both read the same.

    with CustomerScores("redis://reader:PASSWORD@127.0.0.1:6379/0") as scores:
        customer = scores.get("00042")
        best = scores.members(0, limit=10)
        cursor = scores.changes().cursor  # of now: copy everybody(), then follow the feed from here

Rule: nothing is known here but how commands get to Redis (reads.py has the rest). An answer comes within `timeout`
seconds or redis-py raises; nothing is repeated in silence.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self, TypeVar

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from streams.crm.feed import PAGE as ENTRIES
from streams.crm.feed import Changes, Feed
from streams.crm.reads import Reads, Steps
from streams.crm.records import Customer, Member, Page, Segment
from streams.freshness import LATE

PAGE = 100  # members of a page, unless told otherwise
TOGETHER = 500  # customers of `everybody` that are read in one turn
T = TypeVar("T")


def _options(timeout: float, retry: Any, more: dict[str, Any]) -> dict[str, Any]:
    patience = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry}
    return {"decode_responses": True} | patience | more


def batched(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """So many at a time that one turn to Redis stays short."""
    return (ids[start : start + TOGETHER] for start in range(0, len(ids), TOGETHER))


async def carry(client: Any, steps: Steps[T]) -> T:
    """What these steps find, by a client of redis-py's asyncio whose answers are texts."""
    try:
        commands = next(steps)
        while True:
            async with client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers = await pipe.execute()
            commands = steps.send(answers)
    except StopIteration as end:
        found: T = end.value
        return found


class CustomerScores:
    """url: of Redis, redis:// or rediss://; prefix: what every key begins with; late: seconds behind the log from which
    on scores are called stale; more: options of redis-py, `ssl_ca_certs` for one.

    All reads raise redis.RedisError where Redis does not answer, and ContractError where it holds another contract.
    """

    def __init__(self, url: str, prefix: str = "crm", late: float = LATE, timeout: float = 3.0, **more: Any) -> None:
        self.redis: Any = redis.Redis.from_url(url, **_options(timeout, Retry(NoBackoff(), 0), more))
        self.reads = Reads(prefix, late)
        self.feed = Feed(self.reads)

    def get(self, customer_id: str) -> Customer | None:
        """A customer's scores, with how fresh they are; None for who is not known."""
        return self.get_many([customer_id])[0]

    def get_many(self, ids: Sequence[str]) -> list[Customer | None]:
        """Those of these customers, in their order, in one turn to Redis."""
        return self._run(self.reads.customers(ids))

    def segments(self) -> list[Segment]:
        """All segments by number, with what their names mean and how many customers they have now."""
        return self._run(self.reads.segments())

    def members(self, segment: int, limit: int = PAGE, after: Member | None = None) -> Page:
        """The members of a segment by value, the highest first, behind `after` (`Page.after` of the page before).

        Over all pages whoever's value does not change meanwhile is seen exactly once.
        """
        return self._run(self.reads.members(segment, limit, after))

    def changes(self, after: str | None = None, limit: int = ENTRIES) -> Changes:
        """Who is new, moved or was erased behind `after`, the cursor of the answer before; without: the cursor of now.

        Raises Gap (streams.crm.feed) where entries behind it are gone: copy `everybody` anew, from a cursor of now on.
        """
        return self._run(self.feed.changes(after, limit))

    def everybody(self) -> Iterator[Customer]:
        """All customers. Who moves meanwhile comes once, as found; with the changes behind a cursor that was taken
        before, that is a whole copy."""
        for partition in range(self._run(self.reads.located())):
            for ids in batched(self._run(self.feed.names(partition))):
                yield from filter(None, self.get_many(ids))

    def close(self) -> None:
        self.redis.close()

    def _run(self, steps: Steps[T]) -> T:
        try:
            commands = next(steps)
            while True:
                with self.redis.pipeline(transaction=False) as pipe:
                    for command in commands:
                        pipe.execute_command(*command)
                    answers = pipe.execute()
                commands = steps.send(answers)
        except StopIteration as end:
            found: T = end.value
            return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncCustomerScores:
    """The same for asyncio."""

    def __init__(self, url: str, prefix: str = "crm", late: float = LATE, timeout: float = 3.0, **more: Any) -> None:
        self.redis: Any = redis.asyncio.Redis.from_url(url, **_options(timeout, AsyncRetry(NoBackoff(), 0), more))
        self.reads = Reads(prefix, late)
        self.feed = Feed(self.reads)

    async def get(self, customer_id: str) -> Customer | None:
        """A customer's scores, with how fresh they are; None for who is not known."""
        return (await self.get_many([customer_id]))[0]

    async def get_many(self, ids: Sequence[str]) -> list[Customer | None]:
        """Those of these customers, in their order, in one turn to Redis."""
        return await self._run(self.reads.customers(ids))

    async def segments(self) -> list[Segment]:
        """All segments by number, with what their names mean and how many customers they have now."""
        return await self._run(self.reads.segments())

    async def members(self, segment: int, limit: int = PAGE, after: Member | None = None) -> Page:
        """The members of a segment by value, the highest first, behind `after`; see `CustomerScores.members`."""
        return await self._run(self.reads.members(segment, limit, after))

    async def changes(self, after: str | None = None, limit: int = ENTRIES) -> Changes:
        """Who is new, moved or was erased behind `after`; see `CustomerScores.changes`."""
        return await self._run(self.feed.changes(after, limit))

    async def everybody(self) -> AsyncIterator[Customer]:
        """All customers; see `CustomerScores.everybody`."""
        for partition in range(await self._run(self.reads.located())):
            for ids in batched(await self._run(self.feed.names(partition))):
                for customer in filter(None, await self.get_many(ids)):
                    yield customer

    async def aclose(self) -> None:
        await self.redis.aclose()

    async def _run(self, steps: Steps[T]) -> T:
        return await carry(self.redis, steps)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
