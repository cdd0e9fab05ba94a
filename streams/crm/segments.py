"""Segments, how many customers each has and what they are worth, and who they are, by value.

The rule: whoever's value does not change between two pages is seen exactly once (reads.py); how many there are, and
what they are worth together, is counted for all who ask within a while.
"""

import asyncio
import base64
import math
from collections.abc import AsyncGenerator
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec
from fastapi import Query, Request
from starlette.responses import Response

from streams.crm import records, routing
from streams.crm.access import LISTS
from streams.crm.kept import Kept
from streams.crm.problems import UNKNOWN_SEGMENT, WRONG_REQUEST, Problem
from streams.crm.reader import PAGE
from streams.crm.records import Member, Page
from streams.crm.routing import CSV, Answers, Route, Stream, route
from streams.crm.schemas import LISTED, Segment
from streams.crm.service import Service
from streams.freshness import iso

RANKS = 2_000  # members that Redis adds up at once: it answers nobody else meanwhile
AT_ONCE = 2  # sets that are added up side by side
HEAD = ("customer_id", "customer_value")
_text = msgspec.json.encode
_cursor = msgspec.json.Decoder(tuple[float, str]).decode


class Segments:
    """The routes of segments."""

    def __init__(self, service: Service) -> None:
        self.service, self._counted = service, Kept(self._count)
        self._sums = service.store.redis.register_script((Path(__file__).parent / "sums.lua").read_text())
        self._free = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        every: Answers = {200: routing.answer("Segments", "All, by number")}
        page: Answers = {
            200: routing.answer("Members", "A page; as CSV all that are behind the cursor"),
            404: routing.problem("unknown-segment"),
        }
        page[200]["content"][CSV] = {
            "schema": {"type": "string"},
            "example": "customer_id,customer_value\r\n00042,12.00",
        }
        return [
            route("GET", "/v1/segments", self.segments, every, LISTS),
            route("GET", "/v1/segments/{number}/customers", self.members, page, LISTS),
        ]

    async def segments(self, request: Request) -> Response:
        """All segments.

        What each name means, how many customers it has, and what they are worth. Counted at most once in five seconds,
        and so seldom that it takes a fiftieth of the time.
        """
        _ = self.service.looks.now
        return Response(await self._counted.get(), media_type=routing.JSON)

    async def members(
        self,
        request: Request,
        number: int,
        limit: Annotated[int, Query(ge=1, le=LISTED, description="of a page of JSON")] = PAGE,
        cursor: Annotated[str | None, Query(max_length=1_024, description="`next` of the page before")] = None,
    ) -> Response:
        """The customers of a segment, by value.

        The highest first, a page at a time; with `Accept: text/csv` all of them at once, as they come.
        """
        whole, after = self.service.looks.now.whole, None if cursor is None else _member(cursor)
        store = self.service.store
        if not await store.redis.hexists(store.keys.segments, str(number)):
            raise Problem(UNKNOWN_SEGMENT, "see /v1/segments")
        if routing.prefers(request, CSV):
            first = await self._page(number, LISTED, after)
            return Stream(self._lines(number, first), CSV)
        page = await self._page(number, limit, after)
        members = [{"customer_id": each.customer_id, "customer_value": each.value} for each in page.members]
        return Response(_text({"members": members, "next": _next(page.after), **whole}), media_type=routing.JSON)

    async def _page(self, number: int, limit: int, after: Member | None) -> Page:
        return await self.service.read(self.service.reads.members(number, limit, after))

    async def _lines(self, number: int, page: Page) -> AsyncGenerator[str, None]:
        yield routing.table([HEAD])
        while True:
            yield routing.table((each.customer_id, f"{each.value:.2f}") for each in page.members)
            if page.after is None:
                return
            page = await self._page(number, LISTED, page.after)

    async def _count(self) -> bytes:
        look = self.service.looks.now
        found = await self.service.read(self.service.reads.segments())
        sums = await asyncio.gather(*(self._sum(each.number) for each in found))
        everybody = sum(each.customers for each in found)
        told = [_told(each, worth, everybody) for each, worth in zip(found, sums, strict=True)]
        counted = {"segments": told, "customers": everybody, "counted_at": iso(look.at), **look.whole}
        return _text(counted)

    async def _sum(self, number: int) -> Decimal:
        """What the members of a segment are worth; who moves meanwhile may be counted twice, or not at all."""
        keys, total = self.service.store.keys, Decimal(0)
        async with self._free:
            for partition in range(self.service.reads.partitions):
                key, start, n = keys.set(keys.members_of(number), partition), 0, RANKS
                while n == RANKS:
                    n, part = await self._sums(keys=[key], args=[start, start + RANKS - 1])
                    total, start = total + Decimal(part.decode()), start + RANKS
        return total


def _told(segment: records.Segment, worth: Decimal, everybody: int) -> Segment:
    mean = round(worth / segment.customers, 2) if segment.customers else None
    return Segment(
        segment.number,
        segment.name,
        segment.definition,
        segment.usual,
        segment.customers,
        segment.customers / everybody if everybody else None,
        float(worth),
        None if mean is None else float(mean),
    )


def _member(cursor: str) -> Member:
    """Behind whom the page begins. Raises Problem."""
    try:
        value, customer_id = _cursor(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if math.isfinite(value):
            return Member(customer_id, value)
    except (ValueError, RecursionError):  # of base64 and msgspec
        pass
    raise Problem(WRONG_REQUEST, "cursor: give `next` of the page before, as it is")


def _next(after: Member | None) -> str | None:
    if after is None:
        return None
    return base64.urlsafe_b64encode(_text((after.value, after.customer_id))).decode().rstrip("=")
