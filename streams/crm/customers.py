"""Customers by id: one, and up to a thousand at once.

The rule: a record is laid out from what Redis holds and what is known of its partition; whoever is not found was never
seen, or was erased, and that is told apart.
"""

import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

import msgspec
from fastapi import Request
from starlette.responses import Response

from streams.crm import routing
from streams.crm.access import READ
from streams.crm.looks import Look
from streams.crm.problems import ERASED_CUSTOMER, UNKNOWN_CUSTOMER, WRONG_REQUEST, Problem
from streams.crm.records import ContractError
from streams.crm.routing import Answers, Route, route
from streams.crm.schemas import ID_BYTES, RECORD, BatchGet, Customer
from streams.crm.scores import NAMES, Laid, chosen
from streams.crm.service import Service
from streams.crm.why import Reasons

BODY = 1 << 20  # bytes of a batch's body: a thousand ids of 128 bytes, each escaped
NAMED = (*NAMES, "as_of", "lag_seconds", "stale", "coverage", "served")  # what `fields` may name
UNKNOWN, ERASED, DAMAGED = "unknown", "erased", "damaged"
NOT_FOUND = b'{"customer_id":%b,"status":"%b","customer":null}'
FIELDS = "fields to answer, with commas between; all unless some are named; customer_id is always there"
_text = msgspec.json.encode
_numbers = msgspec.json.Encoder(decimal_format="number").encode
_batch = msgspec.json.Decoder(BatchGet).decode


class Customers:
    """The routes that need the scope `read`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.reasons = Reasons(service.store.redis, service.store.keys)

    def routes(self) -> list[Route]:
        shown = routing.answer(
            "Customer", "The record", ETag="of what Redis holds of the customer, and whether it is stale"
        )
        shown["content"][routing.JSON]["schema"] = {"anyOf": RECORD}
        one: Answers = {
            200: shown,
            304: {"description": "It is the record that If-None-Match names"},
            404: routing.problem(
                "unknown-customer: never seen, or not yet; erased-customer: erased, and not seen since"
            ),
        }
        asked = [
            routing.parameter("path", "customer_id", "percent-encoded", {"type": "string"}, "00042"),
            routing.parameter("query", "fields", FIELDS, {"type": "string"}, "segment,predicted_demand,stale"),
            routing.parameter("header", "If-None-Match", "an ETag", {"type": "string"}, 'W/"5d41402abc4b2a76"'),
        ]
        why: Answers = {200: routing.answer("Why", "What the predicted demand is the sum of"), 404: one[404]}
        batch: Answers = {200: routing.answer("Batch", "What became of each id")}
        takes = routing.takes("BatchGet", {"ids": ["00042", "00043"], "fields": ["segment", "customer_value"]})
        return [
            route("GET", "/v1/customers/{customer_id}", self.one, one, READ, {"parameters": asked}),
            route("GET", "/v1/customers/{customer_id}/why", self.why, why, READ, {"parameters": asked[:1]}),
            route("POST", "/v1/customers:batchGet", self.batch_get, batch, READ, takes),
        ]

    async def one(self, request: Request) -> Response:
        """A customer's scores.

        As Redis holds them, with how fresh they are. An id that holds a slash is written with %2F.
        """
        customer_id = _id(request.path_params["customer_id"])
        look = self.service.looks.now
        fields = _fields(request.query_params.get("fields")) if request.scope["query_string"] else None
        laid = await self.service.scores.one(customer_id)
        if laid is None:
            raise await self._absent(look, customer_id)
        partition = look.deployment.home(customer_id)
        tag = _tag(laid, look.why[partition])
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if _matches(request.headers.get("if-none-match"), tag):
            return Response(status_code=304, headers=headers)
        told = record(_text(customer_id), laid, look.tails[partition], fields)
        return Response(told, 200, headers, routing.JSON)

    async def why(self, request: Request) -> Response:
        """Why a customer's predicted demand is what it is.

        Its parts add up to `predicted_demand`, to the cent. The first to ask waits until the model is loaded.
        """
        customer_id = _id(request.path_params["customer_id"])
        look = self.service.looks.now
        found = await self.reasons.of(customer_id, look.deployment.home(customer_id))
        if found is None:
            raise await self._absent(look, customer_id)
        return Response(_numbers(found), media_type=routing.JSON)

    async def batch_get(self, request: Request) -> Response:
        """Many customers' scores.

        Up to 1,000 ids. Each has its status, in the order of the ids; `missing` lists those that were not found.
        """
        asked = _asked(await routing.body(request, BODY))
        fields = None if asked.fields is None else _known(asked.fields)
        look = self.service.looks.now
        found = await self.service.scores.many(asked.ids)
        absent = [customer_id for customer_id, laid in zip(asked.ids, found, strict=True) if laid is None]
        erased = await self._erased(look, absent) if absent else {}
        parts = [_found(look, *each, fields, erased) for each in zip(asked.ids, found, strict=True)]
        missing = [
            customer_id for customer_id, laid in zip(asked.ids, found, strict=True) if not isinstance(laid, bytes)
        ]
        content = b'{"customers":[%b],"missing":%b}' % (b",".join(parts), _text(missing))
        return Response(content, media_type=routing.JSON)

    async def _absent(self, look: Look, customer_id: str) -> Problem:
        if (await self._erased(look, [customer_id]))[customer_id]:
            return Problem(ERASED_CUSTOMER, "whatever was held is gone; an event of theirs begins anew")
        return Problem(UNKNOWN_CUSTOMER, "a customer is known from the first purchase on")

    async def _erased(self, look: Look, ids: Sequence[str]) -> dict[str, bool]:
        """Whether each was erased: a keyed hash of the id is all that stays."""
        deployment, keys = look.deployment, self.service.store.keys
        async with self.service.store.redis.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hexists(keys.erased(deployment.home(each)), deployment.erasure(each))
            return dict(zip(ids, map(bool, await pipe.execute()), strict=True))


def _id(part: str) -> str:
    """The id in a path, which stands there percent-encoded. Raises Problem."""
    try:
        found = unquote_to_bytes(part)
        if not 1 <= len(found) <= ID_BYTES:
            raise Problem(WRONG_REQUEST, f"an id has 1 to {ID_BYTES} bytes")
        return found.decode()
    except UnicodeDecodeError:
        raise Problem(WRONG_REQUEST, "the id is not UTF-8, percent-encoded") from None


def _asked(body: bytes) -> BatchGet:
    try:
        found: BatchGet = _batch(body)
        long = any(len(each.encode()) > ID_BYTES for each in found.ids if len(each) > ID_BYTES // 4)
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        raise Problem(WRONG_REQUEST, f"the body: {error}") from None
    if long:
        raise Problem(WRONG_REQUEST, f"an id has 1 to {ID_BYTES} bytes")
    return found


def _fields(text: str | None) -> list[str] | None:
    return None if text is None else _known(text.split(","))


def _known(fields: Sequence[str]) -> list[str]:
    """Each once, in their order. Raises Problem for one that there is not."""
    if not {*NAMED, "customer_id"}.issuperset(fields):
        raise Problem(WRONG_REQUEST, f"fields: those of a record are {', '.join(NAMED)}")
    return [name for name in dict.fromkeys(fields) if name != "customer_id"]


def record(name: bytes, laid: bytes, tail: bytes, fields: Sequence[str] | None = None) -> bytes:
    """The JSON of a customer; name: the id, as JSON."""
    if fields is None:
        return b'{"customer_id":%b,%b,%b}' % (name, laid, tail)
    members = chosen(b"%b,%b" % (laid, tail), fields)
    return b'{"customer_id":%b%b%b}' % (name, b"," if members else b"", members)


def _found(
    look: Look,
    customer_id: str,
    laid: Laid | ContractError,
    fields: Sequence[str] | None,
    erased: Mapping[str, bool],
) -> bytes:
    """The JSON of what became of one id of a batch."""
    name = _text(customer_id)
    if isinstance(laid, ContractError):
        return NOT_FOUND % (name, DAMAGED.encode())
    if laid is None:
        return NOT_FOUND % (name, (ERASED if erased[customer_id] else UNKNOWN).encode())
    told = record(name, laid, look.tails[look.deployment.home(customer_id)], fields)
    return b'{"customer_id":%b,"status":"found","customer":%b}' % (name, told)


def _tag(laid: bytes, why: str | None) -> str:
    """Weak, for how fresh the scores are is told anew each time; but whether they are is in it: nobody who holds fresh
    ones is told that nothing changed when their partition stops."""
    return f'W/"{hashlib.blake2b(laid, digest_size=8, key=b"stale" if why else b"").hexdigest()}"'


def _matches(given: str | None, tag: str) -> bool:
    """Compared weakly, as GET does (RFC 9110)."""
    if given is None:
        return False
    return given.strip() == "*" or tag[2:] in [each.strip().removeprefix("W/") for each in given.split(",")]


assert {*NAMED, "customer_id"} == {*Customer.__struct_fields__}
