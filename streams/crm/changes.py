"""The feed over HTTP: a page of it, or as it comes (server-sent events).

The rule: a cursor stands for all that came before it. Where what came behind it is gone the answer is 410, and says how
to copy everybody anew; nothing is passed over in silence.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Annotated, Literal

import msgspec
from fastapi import Query, Request
from starlette.responses import Response

from streams.crm import problems, routing, schemas
from streams.crm.access import LISTS
from streams.crm.feed import TYPES, Change, Changes, CursorError, Feed, Gap
from streams.crm.kept import Kept
from streams.crm.problems import GONE, OVERLOADED, WRONG_REQUEST, Problem
from streams.crm.routing import Answers, Route, Stream, route
from streams.crm.schemas import LISTED
from streams.crm.service import Service

EVENTS = "text/event-stream"
LOOK = 0.1  # seconds between two looks for what is new, for all who wait together
ALIVE = 15.0  # seconds after which somebody who waits hears that the connection stands
WAIT = 60  # seconds that a page waits at most
FOLLOWERS = 500  # who wait at once
OLD = 3  # looks that may be of before the cursor
CURSOR = "what an answer gave: `cursor`, `X-Changes-Cursor` or an event's `id`; without: from now on"
TYPED = f"entries to answer, with commas between: {', '.join(TYPES)}; all unless some are named"
_text = msgspec.json.encode


class Feeds:
    """The route of the feed."""

    def __init__(self, service: Service) -> None:
        self.service, self.feed = service, Feed(service.reads)
        self._numbers, self._pages = Kept(self._given, least=LOOK), dict[tuple[str, int], asyncio.Task[Changes]]()
        self._followers = 0

    def routes(self) -> list[Route]:
        page: Answers = {
            200: routing.answer("Changes", "A page, or all that comes"),
            410: routing.problem("gone: entries behind the cursor are: copy everybody anew by /v1/export"),
        }
        page[200]["content"][EVENTS] = {
            "schema": {"type": "string"},
            "example": 'event: moved\\ndata: {"type":"moved","customer_id":"00042",...}\\nid: 3f2a91bc.1764-0:7\\n\\n',
        }
        last = routing.parameter("header", "Last-Event-ID", CURSOR, {"type": "string"}, "3f2a91bc.1764-0:7")
        return [route("GET", "/v1/changes", self.changes, page, LISTS, {"parameters": [last]})]

    async def changes(
        self,
        request: Request,
        after: Annotated[str | None, Query(description=CURSOR)] = None,
        types: Annotated[str | None, Query(max_length=100, description=TYPED)] = None,
        limit: Annotated[int, Query(ge=1, le=LISTED, description="entries looked at for a page")] = LISTED,
        wait: Annotated[int, Query(ge=0, le=WAIT, description="seconds to wait where there is nothing yet")] = 0,
    ) -> Response:
        """Who is new, moved or was erased.

        A page, behind which `cursor` stands; `more` says whether to go on at once. With `Accept: text/event-stream` all
        that comes from here on: an event each, the cursor as the `id` of a page's last, so that a browser goes on where
        it was. A copy: take `X-Changes-Cursor` of /v1/export and everybody it lists, then follow from there; an entry
        may come twice, so apply what it says, and do not count. 410: copy anew.
        """
        named = _named(types)
        streamed = routing.prefers(request, EVENTS)
        if streamed:
            after = request.headers.get("last-event-id") or after
        page = await self._read(after, limit)
        if streamed:
            self._admit()
            lines = self._lines(after or page.cursor, page, limit, named)
            return Stream(lines, EVENTS, {"X-Accel-Buffering": "no"})
        until = time.monotonic() + wait
        while not (told := _told(page, named)) and (not page.whole or await self._waits(page.cursor, until)):
            page = await self._next(page.cursor, limit)
        answer = schemas.Changes(told, page.cursor, not page.whole)
        return Response(_text(answer), media_type=routing.JSON)

    async def _next(self, after: str, limit: int) -> Changes:
        """The same page for all who wait behind this cursor. Raises Problem."""
        task = self._pages.get((after, limit))
        if task is None:
            task = self._pages[after, limit] = asyncio.create_task(self._read(after, limit))
            task.add_done_callback(lambda done: (self._pages.pop((after, limit)), done.cancelled() or done.exception()))
        return await asyncio.shield(task)  # whoever goes away takes it from nobody else

    async def _read(self, after: str | None, limit: int) -> Changes:
        """Raises Problem."""
        try:
            return await self.service.read(self.feed.changes(after, limit))
        except CursorError as error:
            raise Problem(WRONG_REQUEST, f"after: {error}") from None
        except Gap as error:
            raise Problem(GONE, f"{error}: copy everybody anew by /v1/export, and go on from its cursor") from None

    def _admit(self) -> None:
        """Raises Problem where too many wait."""
        if self._followers >= FOLLOWERS:
            raise Problem(OVERLOADED, f"{FOLLOWERS} wait for the feed: ask again", {"Retry-After": "30"})

    async def _waits(self, cursor: str, until: float) -> bool:
        """`_comes`, as one of those who wait. Raises Problem."""
        if until <= time.monotonic():
            return False
        self._admit()
        with self._following():
            return await self._comes(cursor, until)

    @contextlib.contextmanager
    def _following(self) -> Iterator[None]:
        """Counts one who waits."""
        self._followers += 1
        try:
            yield
        finally:
            self._followers -= 1

    async def _comes(self, cursor: str, until: float) -> bool:
        """Waits until something stands behind the cursor; False where that is not so in time, or the process ends.

        Looks are shared, so one may be of before the cursor; several of them say that Redis went back.
        """
        known, older = Feed.numbers(cursor), 0
        while not self.service.ending.is_set():
            given = await self._numbers.get()
            older = older + 1 if any(n < mine for n, mine in zip(given, known, strict=False)) else 0
            if older > OLD or len(given) != len(known) or any(n > mine for n, mine in zip(given, known, strict=True)):
                return True
            left = until - time.monotonic()
            if left <= 0:
                break
            await asyncio.sleep(min(LOOK, left))
        return False

    async def _given(self) -> list[int]:
        return await self.service.read(self.feed.given())

    async def _lines(self, begins: str, page: Changes, limit: int, named: set[str]) -> AsyncGenerator[bytes, None]:
        with self._following():
            try:
                yield b"retry: 1000\nid: %b\n\n" % begins.encode()
                while not self.service.ending.is_set():
                    yield _events(page, named)
                    while page.whole and not await self._comes(page.cursor, time.monotonic() + ALIVE):
                        if self.service.ending.is_set():
                            return
                        yield b": nothing new\n\n"
                    page = await self._next(page.cursor, limit)
            except Exception as error:  # the answer has begun: an event says what a status no longer can
                problem = problems.of(error)
                yield _event("problem", _text({"type": problem.kind.urn, "detail": problem.detail}))


def _named(types: str | None) -> set[str]:
    """Raises Problem."""
    named = set(TYPES) if types is None else set(types.split(","))
    if not named.issubset(TYPES):
        raise Problem(WRONG_REQUEST, f"types: there are {', '.join(TYPES)}")
    return named


def _told(page: Changes, named: set[str]) -> list[Change]:
    return [each for each in page.entries if each.type in named]


def _events(page: Changes, named: set[str]) -> bytes:
    """Of a page. The last one has the cursor; where none was asked for the cursor comes alone, which is no event."""
    told = _told(page, named)
    if not told:
        return b"id: %b\n\n" % page.cursor.encode() if page.entries else b""
    return b"".join(_event(each.type, _text(each), page.cursor if each is told[-1] else "") for each in told)


def _event(name: Literal["new", "moved", "erased", "model", "problem"], data: bytes, id_: str = "") -> bytes:
    """As the HTML standard has server-sent events; data has no line break."""
    return b"event: %b\ndata: %b\n%b\n" % (name.encode(), data, b"id: %b\n" % id_.encode() if id_ else b"")
