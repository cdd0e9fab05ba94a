"""Everybody's scores as one answer, and where to go on from.

The rule: the cursor is taken before anybody is read. So whatever the export has of a customer who moves meanwhile, the
feed says the rest.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, Literal, TypeGuard

import msgspec
from fastapi import Query, Request
from starlette.responses import Response

from streams.crm import routing
from streams.crm.access import LISTS
from streams.crm.customers import record
from streams.crm.feed import Feed
from streams.crm.problems import OVERLOADED, Problem
from streams.crm.reader import batched
from streams.crm.records import ContractError
from streams.crm.routing import CSV, Answers, Route, Stream, route
from streams.crm.schemas import Customer
from streams.crm.scores import Laid
from streams.crm.service import Service

LOG = logging.getLogger("streams.api")
AT_ONCE = 2  # exports
NDJSON = "application/x-ndjson"
HEAD = ("customer_id", *(name for name in Customer.__struct_fields__ if name != "customer_id"))
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.encode


class Exports:
    """The route of the export."""

    def __init__(self, service: Service) -> None:
        self.service, self.feed = service, Feed(service.reads)
        self._free = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        cursor = "where the feed stood before the first line was read"
        every: Answers = {200: routing.answer("Customer", "A record a line", **{"X-Changes-Cursor": cursor})}
        every[200]["content"] = {
            NDJSON: {"schema": {"type": "string"}, "example": '{"customer_id":"00042","segment":"Loyal",...}\\n'},
            CSV: {"schema": {"type": "string"}, "example": f"{','.join(HEAD)}\\r\\n"},
        }
        return [route("GET", "/v1/export", self.export, every, LISTS)]

    async def export(
        self,
        request: Request,
        format: Annotated[Literal["ndjson", "csv"], Query(description="a JSON object a line, or a table")] = "ndjson",
    ) -> Response:
        """Everybody's scores.

        As they are found, each customer once; the answer's length is not known before. With the feed from
        `X-Changes-Cursor` on it is a whole copy.
        """
        _ = self.service.looks.now
        if self._free.locked():
            raise Problem(OVERLOADED, f"{AT_ONCE} exports are under way: ask again", {"Retry-After": "30"})
        cursor = (await self.service.read(self.feed.changes(None, 1))).cursor
        headers = {"X-Changes-Cursor": cursor}
        if format == "csv":
            return Stream(self._parts(_csv, routing.table([HEAD])), CSV, headers)
        return Stream(self._parts(_ndjson), NDJSON, headers)

    async def _parts(self, spelled: Callable[[list[bytes]], bytes | str], head: str = "") -> AsyncGenerator[Any, None]:
        """What `spelled` makes of the JSON of some customers at a time, behind the head."""
        if head:
            yield head
        async with self._free:
            for partition in range(await self.service.read(self.service.reads.located())):
                for ids in batched(await self.service.read(self.feed.names(partition))):
                    found = await self.service.scores.many(ids)
                    tail = self.service.looks.now.tails[partition]
                    yield spelled(
                        [record(_text(each), laid, tail) for each, laid in zip(ids, found, strict=True) if _whole(laid)]
                    )


def _ndjson(records: list[bytes]) -> bytes:
    return b"".join(each + b"\n" for each in records)


def _csv(records: list[bytes]) -> str:
    return routing.table([[_cell(bytes(found[name])) for name in HEAD] for found in map(_members, records)])


def _whole(laid: Laid | ContractError) -> TypeGuard[bytes]:
    """Whether there is a record. Who is damaged is told to the operator, and keeps nobody else from the answer."""
    if isinstance(laid, ContractError):
        LOG.error("left out of the export: %s", laid)
    return isinstance(laid, bytes)


def _cell(value: bytes) -> str:
    """Of a JSON value: a text without its quotes, nothing for null, all else as it is.

    >>> _cell(b"140.00"), _cell(b'"a b"'), _cell(b"null"), _cell(b'["P-7"]')
    ('140.00', 'a b', '', '["P-7"]')
    """
    if value == b"null":
        return ""
    return str(msgspec.json.decode(value)) if value.startswith(b'"') else value.decode()
