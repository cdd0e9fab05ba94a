"""The model that a worker serves: read from Redis when the serving version changes, shared by all its partitions."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy.typing as npt

from models import artefact, scores
from models.artefact import Artefact, Version
from models.clusters import Clusters
from models.handover import HORIZON
from models.model import Model, Predictions
from models.rows import joined
from models.segments import Segments
from streams import freshness
from streams.deployment import DeploymentError
from streams.refusal import Refusal
from streams.store import Store

Array = npt.NDArray[Any]
_second = lru_cache(1)(freshness.iso)  # the writes of a second share its text


class Overtaken(Refusal):
    """Another publish came than the one that something was found out about."""


class Serving:
    """`version` is what stands in `crm:model`; `number` is what rows carry of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.version, self.number, self.horizon = "", 0, HORIZON
        self.segments: list[str] = []  # names by number
        self.model: Model
        self._asked: list[tuple[Array, asyncio.Future[tuple[str, Predictions]]]] = []

    async def use(self, version: str) -> bool:
        """Serves this version from now on; False if Redis does not hold it. Without an await between, so never half."""
        document = await self._store.document(version) if version else None
        if document is not None:
            self.read(version, document)
        return document is not None

    def read(self, version: str, document: bytes) -> None:
        """Serves this version, as its document says. Raises DeploymentError."""
        self.take(version, read(document, self._store.keys.version(version))[1])

    def take(self, version: str, model: Model) -> None:
        """Serves this model."""
        self.version, self.model, self.horizon = version, model, model.horizon
        self.number = Version.parse(version).number
        self.segments = model.segments.names

    async def said(self, raw: Array) -> tuple[str, Predictions]:
        """A version, and what it says of these customers, (n,) of RAW: in one call with what else is asked for in this
        turn of the event loop, for a call costs as much as two hundred customers."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._answer)
        answer: asyncio.Future[tuple[str, Predictions]] = loop.create_future()
        self._asked.append((raw, answer))
        return await answer

    def _answer(self) -> None:
        asked, self._asked = self._asked, []
        waiting = [(raw, answer) for raw, answer in asked if not answer.done()]
        if waiting:
            try:
                said: Sequence[Array] = self.model.predict_many(joined([raw for raw, _ in waiting]))
            except Exception as error:
                for _, answer in waiting:
                    answer.set_exception(error)
                return
            edges = itertools.pairwise([0, *itertools.accumulate(len(raw) for raw, _ in waiting)])
            for (_, answer), edge in zip(waiting, edges, strict=True):
                answer.set_result((self.version, Predictions(*(column[slice(*edge)] for column in said))))

    def common(self) -> tuple[str, ...]:
        """The fields that all customers of a write share, in the order of scores.COMMON."""
        return str(self.horizon), _second(int(time.time())), self.version, str(scores.SCHEMA)


def of_publish(publish: int, version: str) -> None:
    """That this version, which serves, is of this publish still. Raises Overtaken."""
    now = Version.parse(version).n
    if now != publish:
        raise Overtaken(f"publish {now} came meanwhile, and this began under publish {publish}: run it again")


def read(document: bytes, key: str) -> tuple[Artefact, Model]:
    """What stands in the document at `key`. Raises DeploymentError."""
    with _refused(key):
        what = artefact.decode(document)
        return what, what.restored()


def segments_of(document: bytes, key: str) -> Segments:
    """Those of the model in the document that stands at `key`, whatever else of it this program cannot serve."""
    with _refused(key):
        return artefact.decode(document).segments


def numbered(clusters: Clusters, document: bytes, key: str) -> Clusters:
    """These under the numbers of those in the document that stands at `key`, likewise."""
    with _refused(key):
        return artefact.decode(document).numbered(clusters)


@contextlib.contextmanager
def _refused(key: str) -> Iterator[None]:
    """What is no artefact, or of another program, is a DeploymentError."""
    try:
        yield
    except artefact.ArtefactError as error:
        raise DeploymentError(f"{key}: {error}") from None
