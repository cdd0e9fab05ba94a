"""The API on a socket of its own, beside the test that asks it, and a small deployment for it to serve.

Every answer that a test sees is one that /openapi.json describes: `Served.ask` holds it to that.
"""

import asyncio
import contextlib
import hashlib
import http.client
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import checks
import jsonschema
import numpy as np
import redis
import uvicorn
from fastapi import FastAPI
from running import until
from shops import T0
from test_docs_redis_contract import RECORD

from models import artefact
from models.rows import BLANK, DAY, packed_rows
from streams.crm.access import SCOPES, Access, Caller
from streams.crm.api import build
from streams.deployment import Deployment
from streams.keys import Keys
from streams.settings import Settings
from streams.store import Store, connect


@dataclass
class Answer:
    """headers: by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """(status, the kind of problem)."""
        assert self.headers["content-type"] == "application/problem+json", self
        assert self.headers["x-request-id"] == self.json["request_id"]
        assert self.json["status"] == self.status
        return self.status, self.json["type"].removeprefix("urn:problem:crm:")


class Served:
    """A server in a thread; app: once it has started."""

    app: FastAPI

    def __init__(self, settings: Settings, access: Access | None = None, **more: Any) -> None:
        self.settings, self.access, self.more = settings, access or Access(None), more
        self.server: Any = None
        self.at = 0  # a port, where somebody else serves
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        store, client = Store(connect(self.settings), self.settings), connect(self.settings, decode_responses=True)
        self.app = build(store, client, self.access, **self.more)
        config = uvicorn.Config(self.app, port=0, lifespan="on", log_level="critical", timeout_graceful_shutdown=2)
        self.server = uvicorn.Server(config)
        await self.server.serve()
        await client.aclose()
        await store.close()
        self.tasks = asyncio.all_tasks() - {asyncio.current_task()}

    def requests(self) -> list[Any]:
        """Those under way: uvicorn has a task each."""
        tasks = asyncio.all_tasks(self.loop)
        return [each for each in tasks if "RequestResponseCycle" in repr(each.get_coro())]

    def in_use(self) -> int:
        """Connections to Redis that somebody uses."""
        service = self.app.state.service
        return sum(len(each.connection_pool._in_use_connections) for each in (service.store.redis, service.client))

    def looked(self) -> None:
        """Looks now, not only each second."""
        asyncio.run_coroutine_threadsafe(self.app.state.service.looks.once(), self.loop).result(30)

    @property
    def port(self) -> int:
        if self.at:
            return self.at
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    def ask(self, path: str, method: str = "GET", body: Any = None, token: str = "", **headers: str) -> Answer:
        """body: of JSON, unless it is bytes; headers: with _ for -."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent |= {"Authorization": f"Bearer {token}"} if token else {}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, content, sent)
            found = connection.getresponse()
            answer = Answer(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())
        if not self.at and method != "HEAD":  # of which it says nothing
            self.check(method, path.partition("?")[0], answer)
        return answer

    def check(self, method: str, path: str, answer: Answer) -> None:
        """That OpenAPI says what was answered: status, media type, headers that it names, and the body."""
        said = described(self.app.openapi(), method, path, answer.status)
        media = answer.headers.get("content-type", "").partition(";")[0]
        assert media in said.get("content", {"": {}}), (method, path, answer)
        assert {name.lower() for name in said.get("headers", {})} <= answer.headers.keys()
        if media.endswith(("/json", "+json")):
            schema = {**said["content"][media]["schema"], "components": self.app.openapi()["components"]}
            jsonschema.Draft202012Validator(schema).validate(answer.json)


def described(document: Any, method: str, path: str, status: int) -> Any:
    """What an OpenAPI document says of an answer."""
    if path == "/openapi.json":
        return {"content": {"application/json": {"schema": {}}}}
    for template, operations in document["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path) and method.lower() in operations:
            answers = operations[method.lower()]["responses"]
            return answers.get(str(status), answers["default"])
    assert status in (404, 405, 414), f"{method} {path} is not described"
    return {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}}


def everything() -> Access:
    """Of one token, `all`, which allows all."""
    return Access({hashlib.sha256(b"all").digest(): Caller("all", frozenset(SCOPES))})


RECORDED = RECORD | {b"scored_at": b"2023-12-21T18:00:01Z", b"model_version": b"1-20231209-288f78d4"}
DEPLOYMENT = Deployment("crm.events", "id", 2, "murmur2", T0, 30, "00" * 16, 3_600, 0)


def furnish(url: str, prefix: str) -> Settings:
    """Settings of a deployment: two partitions, a model that has learned nothing, segments, and one customer, c-17."""
    keys = Keys(prefix)
    with redis.Redis.from_url(url) as store:
        store.hset(keys.meta, mapping=dict(DEPLOYMENT.fields()))
        store.hset(keys.partitions, mapping={"partitions": 2, "partitioner": "murmur2", "life": "3f2a91bc"})
        store.hset(keys.model, mapping={"version": "1-20231209-288f78d4", "day": T0, "token": "t", "metrics": "{}"})
        for number, name in enumerate(("Champions", "Loyal", "Promising")):
            told = {"name": name, "definition": f"is {name}", "usual": "usual gap: 9 days"}
            store.hset(keys.segments, str(number), json.dumps(told))
        customer(store, keys, "c-17")
    return Settings(redis_url=url, prefix=prefix)


def customer(store: Any, keys: Keys, customer_id: str, **changes: str) -> None:
    """One of segment 2 in Redis, as a worker leaves it."""
    store.hset(keys.customer(customer_id), mapping=RECORDED | {name.encode(): of for name, of in changes.items()})
    value = float(changes.get("customer_value", RECORDED[b"customer_value"]))
    store.zadd(keys.set(keys.members_of(2), DEPLOYMENT.home(customer_id)), {customer_id: value})


def explained(store: Any, keys: Keys, *names: str) -> None:
    """What the reasons of these customers need beside their hashes: a state, how far it was swept, the model."""
    row = np.full(1, BLANK)
    row["first"], row["last"], row["at"], row["spend"], row["orders"], row["days"] = *[T0 * DAY] * 3, 500_000, 1, 1
    for name in names:
        store.hset(keys.state(DEPLOYMENT.home(name)), name, packed_rows(row)[0])
    for p in range(DEPLOYMENT.partitions):
        store.hset(keys.guard(p), "swept_to", T0 + 9)
    store.set(keys.version("1-20231209-288f78d4"), artefact.encode(artefact.Artefact.of(checks.untaught())))


@contextlib.contextmanager
def serving(settings: Settings, access: Access | None = None, **more: Any) -> Iterator[Served]:
    """Nothing of it is left at the end: no task."""
    served = Served(settings, access, **more)
    served.thread.start()
    try:
        until(lambda: (served.server and served.server.started) or not served.thread.is_alive())
        yield served
    finally:
        if served.server:
            served.server.should_exit = True
        served.thread.join()
    assert not served.tasks
