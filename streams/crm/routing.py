"""How a route of the API is said: path, scope and answers at once, for whoever calls it and for OpenAPI.

The rule: what OpenAPI says of a route's token is what is asked for; its answers' schemas are those of schemas.py.
"""

import contextlib
import csv
import io
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from streams.crm.problems import MEDIA, TOO_LARGE, WRONG_REQUEST, Problem
from streams.crm.schemas import ref

Handler = Callable[..., Awaitable[Response]]
Answers = dict[int | str, dict[str, Any]]  # of OpenAPI, by status
JSON, CSV = "application/json", "text/csv"
DROPPED = 8 << 20
LESS = re.compile(r";\s*q=(0(?:\.\d*)?)\s*(?:;|$)", re.IGNORECASE)  # a weight below 1


class Route(APIRoute):
    """Lets nobody through who has no token of its scope.

    One that takes the request alone is called as it is, without what FastAPI does to solve arguments, on which a hot
    route would spend a third of its time. What either raises is the shell's to answer.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.app = self._answer if _alone(self.dependant) else AsyncExitStackMiddleware(self.app)
        self._handle = self.get_route_handler()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._handle(Request(scope, receive, send))
        await answer(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle: Any = self.endpoint if _alone(self.dependant) else super().get_route_handler()
        scopes, asked = _scopes(self.openapi_extra or {}), _asked(self.dependant, self.openapi_extra or {})

        async def guarded(request: Request) -> Response:
            if scopes:
                request.app.state.access.admit(request, scopes)
                _check_query(request, asked)  # probes take any: watchers add some of their own
            answer: Response = await handle(request)
            return answer

        return guarded


class Stream(StreamingResponse):
    """A long answer, part by part.

    What makes it is closed however it ends: left where it stands it would keep its place, which is one of few, from
    others until garbage is collected.
    """

    def __init__(
        self, parts: AsyncGenerator[Any, None], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(parts, headers=headers, media_type=media_type)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._parts):
            await super().__call__(scope, receive, send)


def _alone(dependant: Dependant) -> bool:
    """Whether nothing is solved for it: neither parameters nor what it depends on."""
    names = ("path_params", "query_params", "header_params", "cookie_params", "body_params", "dependencies")
    return not any(getattr(dependant, name) for name in names)


def _asked(dependant: Dependant, said: Mapping[str, Any]) -> list[str]:
    """The parameters that a route's query may have."""
    own = [each["name"] for each in said.get("parameters", []) if each["in"] == "query"]
    return [*own, *(each.alias for each in dependant.query_params)]


def _check_query(request: Request, asked: list[str]) -> None:
    """Raises Problem for a parameter that the route does not have, or has twice: it would be passed over, and whoever
    follows the feed by another name than `after` would never come to know."""
    if not request.scope["query_string"]:
        return
    given = [name for name, _ in request.query_params.multi_items()]
    if not {*asked}.issuperset(given) or len({*given}) < len(given):
        said = f"each once of {', '.join(asked)}" if asked else "there is none here"
        raise Problem(WRONG_REQUEST, f"the query: {said}")


def _scopes(said: Mapping[str, Any]) -> list[str]:
    return [scope for each in said.get("security", []) for scope in each["bearer"]]


def route(
    method: str,
    path: str,
    endpoint: Handler,
    answers: Answers,
    scope: str = "",
    more: Mapping[str, Any] | None = None,
) -> Route:
    """endpoint: its docstring tells of the route, the first line in short; scope: of the token, "": none is needed;
    answers: by status, as `answer` and `absent` make them; more: of OpenAPI, what the signature does not say."""
    summary, _, description = (endpoint.__doc__ or "").partition("\n")
    extra: dict[str, Any] = {"security": [{"bearer": [scope]}] if scope else [], **(more or {})}
    return Route(
        path,
        endpoint,
        methods=[method],
        responses={**answers, "default": problem("A problem (RFC 9457)")},
        summary=summary.rstrip("."),
        description=" ".join(description.split()),
        openapi_extra=extra,
        response_class=Response,
        operation_id=f"{method.lower()}{''.join(part.title() for part in endpoint.__name__.split('_'))}",
    )


def answer(schema: str, said: str, **headers: str) -> dict[str, Any]:
    """One of JSON. schema: its name; headers: what each says."""
    told = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    return {"description": said, "content": {JSON: {"schema": ref(schema)}}, "headers": told}


def problem(said: str) -> dict[str, Any]:
    """Problem details."""
    return {"description": said, "content": {MEDIA: {"schema": ref("ProblemDetails")}}}


def parameter(place: str, name: str, said: str, schema: Mapping[str, Any], example: Any) -> dict[str, Any]:
    """One that the route reads by itself."""
    told = {"name": name, "in": place, "description": said, "schema": dict(schema), "example": example}
    return told | {"required": True} if place == "path" else told


def takes(schema: str, *examples: Any) -> dict[str, Any]:
    """A body of JSON that the route reads by itself."""
    content = {JSON: {"schema": ref(schema) | ({"examples": list(examples)} if examples else {})}}
    return {"requestBody": {"required": True, "content": content}}


def table(rows: Iterable[Iterable[str]]) -> str:
    """As CSV (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def prefers(request: Request, media: str) -> bool:
    """Whether who asks names this media type, and JSON less: a client that was made from OpenAPI may name all that a
    route answers in, and reads JSON."""
    weights = _weights(",".join(request.headers.getlist("accept")))
    return weights.get(media, 0.0) > weights.get(JSON, 0.0)


def _weights(accept: str) -> dict[str, float]:
    """What Accept names (RFC 9110), each with its weight.

    >>> _weights("application/json;q=0.5, TEXT/CSV; charset=utf-8")
    {'application/json': 0.5, 'text/csv': 1.0}
    """
    told = {each.partition(";")[0].strip().lower(): LESS.search(each) for each in accept.split(",")}
    return {media: float(less[1]) if less else 1.0 for media, less in told.items()}


async def body(request: Request, most: int) -> bytes:
    """The request's body. Raises Problem for more than `most` bytes.

    What is too much is read on and dropped, up to DROPPED bytes, so that whoever sends it comes to read the answer.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            parts.append(part)
        elif size > DROPPED:
            break
    if size > most:
        raise Problem(TOO_LARGE, f"it may have {most:,} bytes", {"Connection": "close"})
    return b"".join(parts)
