"""Where Prometheus and whoever restarts workers ask: GET /metrics, /health/live and /health/ready.

The rule: it answers from a thread of its own, so that a worker whose loop hangs can be found hanging; it tells no
customer and needs no password, and listens on loopback unless it is told otherwise.
"""

import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from socketserver import TCPServer

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streams.refusal import Refusal
from streams.settings import parted
from streams.status import Status

LOOPBACK, PATIENCE = "127.0.0.1", 5.0  # seconds that a client may take to ask
Answer = tuple[HTTPStatus, str, bytes]  # status, type, body


class Handler(BaseHTTPRequestHandler):
    """One request; `answers` are the places that there are."""

    timeout = PATIENCE
    server: "Server"

    def do_GET(self) -> None:
        status, kind, body = self._answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, path: str) -> Answer:
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            return HTTPStatus.OK, kind, encode(self.server.registry)
        now, status = time.time(), self.server.status()
        if path == "/health/live":
            return _judged(status, status.hangs(now))
        if path == "/health/ready":
            return _judged(status, status.wrong(now))
        return HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /health/live, /health/ready\n"

    def version_string(self) -> str:
        return "crm-scorer"

    def log_message(self, *_: object) -> None:
        """Nothing: a probe each few seconds is no news."""


def _judged(status: Status, wrong: Iterator[str]) -> Answer:
    """200 where nothing is wrong, else 503; the reasons and what the worker said, as JSON."""
    reasons = list(wrong)
    body = msgspec.json.encode({"ok": not reasons, "reasons": reasons, "worker": status})
    return HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK, "application/json", body


class Server(ThreadingHTTPServer):
    """Listens from its making on. registry: what /metrics shows; status: what the worker said last."""

    daemon_threads = True
    server_bind = TCPServer.server_bind  # HTTPServer's asks a resolver for a name that nobody needs

    def __init__(self, address: str, registry: CollectorRegistry, status: Callable[[], Status]) -> None:
        host, port = parted(address)
        self.address_family = AF_INET6 if ":" in host else AF_INET
        self.registry, self.status = registry, status
        try:
            super().__init__((host or LOOPBACK, port), Handler)
        except OSError as error:
            reason = f"{error.strerror}: workers of one machine need a port each, or 0 for any that is free"
            raise Refusal(f"CRM_METRICS={address}: {reason}") from None
        threading.Thread(target=self.serve_forever, name="probes", daemon=True).start()

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}" if self.address_family is AF_INET6 else f"http://{host!s}:{port}"
