"""Whether the API lives and is ready, and its metrics: for whoever watches it, without a token and without an id."""

from fastapi import Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

from streams.crm import routing
from streams.crm.routing import Answers, Route, route
from streams.crm.service import Service

ALIVE: Answers = {200: routing.answer("Alive", "It is")}
TEXT: Answers = {200: {"description": "Prometheus's text", "content": {"text/plain": {"schema": {"type": "string"}}}}}


class Probes:
    """The routes that ask for no token."""

    def __init__(self, service: Service, registry: CollectorRegistry) -> None:
        self.service, self.registry = service, registry

    def routes(self) -> list[Route]:
        return [
            route("GET", "/health/live", self.live, ALIVE),
            route("GET", "/health/ready", self.ready, ALIVE),
            route("GET", "/metrics", self.metrics, TEXT),
        ]

    async def live(self, request: Request) -> Response:
        """Whether the process answers."""
        return Response(b'{"status":"live"}', media_type=routing.JSON)

    async def ready(self, request: Request) -> Response:
        """Whether there is something to serve.

        Redis answered within the last seconds and holds a deployment; 503 says what is wrong. Stale scores are served.
        """
        _ = self.service.looks.now
        return Response(b'{"status":"ready"}', media_type=routing.JSON)

    async def metrics(self, request: Request) -> Response:
        """The API's own metrics.

        `crm_http_request_seconds` by route and status.
        """
        return Response(generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
