"""What every request passes before and behind its route: a name, limits, headers, the time it took.

The rule: whatever happens inside ends as an answer with a status, and no label of a metric holds what somebody sent.
"""

import asyncio
import re
import secrets
import time
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.crm.problems import ENDING, OVERLOADED, TOO_LONG, TOO_MUCH_SAID, Problem, of, response

LONGEST = 32_768  # bytes of path and query: a cursor of the feed has a place a partition
HEADERS = 32_768  # bytes of all headers
UNDER_WAY = 1_000  # requests at once; probes are answered all the same
PATIENCE = 60.0  # seconds in which a client must take a part of a long answer
NAME = re.compile(rb"[A-Za-z0-9._:-]{1,64}")  # what a request may call itself
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 3, 10, 30)
SAFE = [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"default-src 'none'")]
NOT_KEPT = (b"cache-control", b"no-store")
CUSTOMER = b"/v1/customers/"
PROBES = ("/health/live", "/health/ready", "/metrics")


class Shell:
    """Around the app. registry: where `crm_http_request_seconds{route,code}` stands."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app, self.under_way = app, 0
        self._times: dict[tuple[str, int], Any] = {}
        said = "Seconds from a request's headers to its answer's end, by route and status"
        labels = ("route", "code")
        self._seconds = Histogram("crm_http_request_seconds", said, labels, buckets=BUCKETS, registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # a GET of which the server sends the head alone (RFC 9110)
            scope = {**scope, "method": "GET"}
        begun, status = time.perf_counter(), 0
        name = scope["request_id"] = _named(scope)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                kept = [] if any(each == b"cache-control" for each, _ in headers) else [NOT_KEPT]
                message["headers"] = [*headers, (b"x-request-id", name.encode()), *SAFE, *kept]
            if message.get("more_body"):
                async with asyncio.timeout(PATIENCE):
                    await send(message)
            else:
                await send(message)

        self.under_way += 1
        try:
            self._limit(scope)
            _keep_encoded(scope)
            await self.app(scope, receive, answer)
        except asyncio.CancelledError:  # by uvicorn, of what is under way still a while after it was asked to end
            if not status:
                await response(Problem(ENDING, "it was asked to end: ask again"), name)(scope, receive, answer)
        except Exception as error:
            if not (status and isinstance(error, TimeoutError)):  # else who asked takes nothing any more
                problem = of(error, name)
            if not status:
                await response(problem, name)(scope, receive, answer)
        finally:
            self.under_way -= 1
            self._observe(scope, status, time.perf_counter() - begun)

    def _limit(self, scope: Scope) -> None:
        """Raises Problem."""
        if self.under_way > UNDER_WAY and scope["path"] not in PROBES:
            raise Problem(OVERLOADED, f"{UNDER_WAY:,} are: ask again")
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > LONGEST:
            raise Problem(TOO_LONG, f"path and query may have {LONGEST:,} bytes")
        if sum(len(key) + len(value) for key, value in scope["headers"]) > HEADERS:
            raise Problem(TOO_MUCH_SAID, f"they may have {HEADERS:,} bytes")

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        """A status of 0: nobody was there any more to be answered."""
        route = getattr(scope.get("route"), "path", "none"), status
        child = self._times.get(route)
        if child is None:
            child = self._times[route] = self._seconds.labels(route[0], str(status or 499))
        child.observe(seconds)


def _named(scope: Scope) -> str:
    """What the request calls itself, if that is harmless anywhere; else a name of ours."""
    for key, value in scope["headers"]:
        if key == b"x-request-id" and NAME.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(8)


def _keep_encoded(scope: Scope) -> None:
    """An id may hold a slash, so routes see a customer's path as it was sent: %2F is no end of a part."""
    raw = scope.get("raw_path")
    if raw and raw.startswith(CUSTOMER):
        scope["path"] = raw.partition(b"?")[0].decode("latin-1")
