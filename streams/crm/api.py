"""The app: every route, and what stands around them.

The rule: it is built of what it is given (clients, tokens, who sends events) and begins and ends with its lifespan.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry

from streams.crm import schemas
from streams.crm.access import Access
from streams.crm.changes import Feeds
from streams.crm.customers import Customers
from streams.crm.events import Events
from streams.crm.export import Exports
from streams.crm.looks import Looks
from streams.crm.models import Models
from streams.crm.probes import Probes
from streams.crm.reads import Reads
from streams.crm.routing import Route
from streams.crm.scores import ScoreReads
from streams.crm.segments import Segments
from streams.crm.service import Sends, Service
from streams.crm.shell import Shell
from streams.freshness import LATE
from streams.store import Store

TITLE = "Scores of customers"
ABOUT = (
    "Every customer's segment, predicted demand and value, as Redis holds them, and how fresh they are. Errors are"
    " problem details (RFC 9457); docs/api.md tells of each."
)
LOST = 0.1  # seconds after which a task is cancelled again: redis-py's `wait_for` may lose it, before Python 3.12
UNTOLD: Any = {"tracing": False, "metrics": False, "logs": False}  # nobody listens, and each request would look
BEARER = {"bearer": {"type": "http", "scheme": "bearer", "description": "A token of one of the scopes that are named"}}


def build(store: Store, client: Any, access: Access, events: Sends | None = None, late: float = LATE) -> FastAPI:
    """store: of bytes, client: of texts, both of one Redis and closed by whoever made them; events: None: none are
    taken; late: seconds behind the log from which on scores are called stale."""
    keys = store.keys
    service = Service(
        store, client, Reads(keys.prefix, late), ScoreReads(store.redis, keys), Looks(store, late), events
    )
    registry = CollectorRegistry()
    routes = [
        *Customers(service).routes(),
        *Segments(service).routes(),
        *Feeds(service).routes(),
        *Exports(service).routes(),
        *Models(service).routes(),
        *Events(service).routes(),
        *Probes(service, registry).routes(),
    ]
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, routes=[*routes], lifespan=_lifespan, telemetry=UNTOLD)
    app.router.redirect_slashes = False  # who asks for another path is told so, and sent nowhere
    app.state.access, app.state.service = access, service
    shell = Shell(app.router, registry)  # which answers whatever is raised: nothing else stands around the routes
    app.build_middleware_stack = lambda: shell  # type: ignore[method-assign]
    document = openapi(routes)
    app.openapi = lambda: document  # type: ignore[method-assign]  # as FastAPI's documentation does it
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    looks: Looks = app.state.service.looks
    await looks.once()
    task = asyncio.create_task(looks.go_on())
    try:
        yield
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=LOST)


def openapi(routes: list[Route]) -> dict[str, Any]:
    """The document that /openapi.json serves."""
    try:
        number = version("streaming-crm-scorer")
    except PackageNotFoundError:  # run from its directory
        number = "0"
    found = get_openapi(title=TITLE, version=number, description=ABOUT, routes=routes)
    found["components"] = {"schemas": schemas.components(), "securitySchemes": BEARER}
    return found
