"""`python -m streams api`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streams.commands.common import cannot, deployed, run

if TYPE_CHECKING:
    import asyncio
    import socket

    import uvicorn

    from streams.crm.access import Tokens
    from streams.crm.schemas import Verdict
    from streams.deployment import Deployment
    from streams.ingest import Ingest
    from streams.settings import Settings
    from streams.store import Store


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="To listen at; beyond this machine with --tokens.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65_535), help="0: a free one.")
@click.option("--tokens", type=click.Path(dir_okay=False, path_type=Path), help="File of tokens.  [CRM_API_TOKENS]")
@click.option("--new-token", "name", metavar="NAME", help="Add a token to that file, print it once, and end.")
@click.option("--scopes", default="read", show_default=True, help="Of a new token: read, lists, admin.")
def api(host: str, port: int, tokens: Path | None, name: str | None, scopes: str) -> None:
    """Serve scores over HTTP: customers, segments, their members, the model; and take events. See /openapi.json.

    Without tokens it answers on this machine alone, and takes no events.

    \b
    Example:
      python -m streams api --tokens tokens --new-token crm --scopes read,lists
      python -m streams api --tokens tokens --host 0.0.0.0
      curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/v1/customers/00042
    """
    from streams import settings as settings_module
    from streams.refusal import Refusal

    try:
        given = settings_module.load()
        file = tokens or (Path(given.api_tokens) if given.api_tokens else None)
        from streams.crm import access

        if name is not None:
            if file is None:
                cannot("--new-token: say --tokens FILE, the file that it is added to")
            click.echo(access.new(file, name, scopes))
            return
        known = None if file is None else access.read(file)
        access.check_host(host, known)
    except Refusal as error:
        cannot(error)

    import uvloop

    async def work(store: "Store", settings: "Settings") -> None:
        await _serve(store, settings, host, port, known)

    sys.exit(run(work, uvloop.new_event_loop))


async def _serve(store: "Store", settings: "Settings", host: str, port: int, tokens: "Tokens | None") -> None:
    """Until SIGTERM or SIGINT."""
    import uvicorn

    from streams import console
    from streams.crm.access import Access
    from streams.crm.api import build
    from streams.store import connect

    console.use(settings.log)
    with _listening(host, port) as listening:
        client = connect(settings, decode_responses=True)
        try:
            app = build(store, client, Access(tokens, settings.api_rate), _Later(store, settings))
            config = uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=console.LIBRARIES,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=4,  # and ended is within 5
            )
            await _run(uvicorn.Server(config), listening, app.state.service.ending)
        finally:
            await client.aclose()


class _Later:
    """Loads Kafka's client with the first event: most of these processes never see one."""

    def __init__(self, store: "Store", settings: "Settings") -> None:
        self.store, self.settings = store, settings
        self.ingest: Ingest | None = None

    async def send(self, events: "Sequence[bytes]") -> "list[Verdict]":
        if self.ingest is None:
            from streams.ingest import Ingest

            self.ingest = Ingest(self.settings, self._located)
        return await self.ingest.send(events)

    async def _located(self) -> "Deployment":
        return (await deployed(self.store, self.settings))[0]


def _listening(host: str, port: int) -> "socket.socket":
    """Raises Refusal for what cannot be listened at."""
    import socket

    from streams.refusal import Refusal

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2_048)
    except OSError as error:
        raise Refusal(f"--host {host} --port {port}: {error.strerror}: take another") from None


async def _run(server: "uvicorn.Server", listening: "socket.socket", ending: "asyncio.Event") -> None:
    """Says where it listens, and ends well when it is asked to."""
    import asyncio
    import contextlib
    import gc
    import signal

    from streams.console import say

    def end() -> None:
        server.should_exit = True
        ending.set()

    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)  # the default stops every request for tens of ms, more than once a second
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # it would raise them again
    where, port = listening.getsockname()[:2]
    say(f"serves at http://{f'[{where}]' if ':' in where else where}:{port}")
    await server.serve([listening])
