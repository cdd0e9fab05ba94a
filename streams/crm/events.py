"""Events of shops without a Kafka client: judged one by one, answered once Kafka holds them.

The rule: each event is taken as the bytes that came; what is no event is told, and keeps no other back.
"""

import logging

import msgspec
from fastapi import Request
from starlette.responses import Response

from streams.crm import routing
from streams.crm.access import ADMIN
from streams.crm.problems import KAFKA_AWAY, WRONG_REQUEST, Problem
from streams.crm.routing import Answers, Route, route
from streams.crm.schemas import EVENTS, Judged, ref
from streams.crm.service import Service
from streams.refusal import Refusal

BODY = 4 << 20  # bytes
AWAY = "some of them may stand in the topic: send all of them again, copies are told by their event_id"
LOG = logging.getLogger("streams.api")
EXAMPLE = {
    "event_id": "e1",
    "event_type": "purchase",
    "customer_id": "00042",
    "occurred_at": "2026-03-01T12:00:07Z",
    "quantity": 2,
    "unit_price": 9.9,
}
_many = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Events:
    """The route that takes events."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def routes(self) -> list[Route]:
        several = {"type": "array", "items": ref("Event"), "minItems": 1, "maxItems": EVENTS}
        schema = {"anyOf": [ref("Event"), several]}
        takes = {"requestBody": {"required": True, "content": {routing.JSON: {"schema": schema, "example": EXAMPLE}}}}
        judged: Answers = {200: routing.answer("Judged", "What became of each: look at the verdicts")}
        return [route("POST", "/v1/events", self.events, judged, ADMIN, takes)]

    async def events(self, request: Request) -> Response:
        """Sends events.

        One object, or an array of up to 1,000, each judged as a worker will judge it. Good ones stand in Kafka
        (acks=all) when this is answered; each has its verdict, in their order. Sent again an event counts once, by its
        event_id.
        """
        events = _each(await routing.body(request, BODY))
        if self.service.events is None:
            raise Problem(KAFKA_AWAY, "this API was started without Kafka")
        try:
            verdicts = await self.service.events.send(events)
        except Refusal as error:
            LOG.error("events were not sent: %s", error)
            raise Problem(KAFKA_AWAY, AWAY) from None
        sent = sum(each.verdict == "sent" for each in verdicts)
        return Response(msgspec.json.encode(Judged(verdicts, sent, len(verdicts) - sent)), media_type=routing.JSON)


def _each(body: bytes) -> list[bytes]:
    """The bytes of each event: an array's items, else the body itself. Raises Problem."""
    if body.lstrip()[:1] != b"[":
        return [body.strip()]
    try:
        found = [bytes(each) for each in _many(body)]
    except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors
        raise Problem(WRONG_REQUEST, f"the body: {error}") from None
    if not 1 <= len(found) <= EVENTS:
        raise Problem(WRONG_REQUEST, f"the body: 1 to {EVENTS:,} events at once")
    return found
