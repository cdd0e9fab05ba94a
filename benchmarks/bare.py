"""The yardstick of serving: an ASGI app that does nothing but read and answer, under the options of `streams api`.

    python -m benchmarks.bare PORT

GET /v1/customers/ID makes the very call to Redis that the API makes (streams/crm/scores.py), gathered as there, and
answers what it gave. No routing, no tokens, no limits, no headers, no ETag, no freshness, no metrics.
"""

import sys
from typing import Any

import uvicorn
import uvloop

from streams import settings
from streams.crm.scores import ScoreReads
from streams.keys import Keys
from streams.store import connect

PATH = "/v1/customers/"


async def serve(port: int) -> None:
    given = settings.load()
    client = connect(given)
    reads = ScoreReads(client, Keys(given.prefix))

    async def app(scope: Any, _: Any, send: Any) -> None:
        content = await reads.one(scope["path"].removeprefix(PATH)) or b""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    options: dict[str, Any] = {"http": "httptools", "ws": "none", "lifespan": "off", "log_level": "warning"}
    options |= {"access_log": False, "server_header": False, "proxy_headers": False, "timeout_keep_alive": 30}
    await uvicorn.Server(uvicorn.Config(app, port=port, **options)).serve()
    await client.aclose()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
