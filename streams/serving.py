"""The model that a worker serves: read from Redis when the serving version changes, shared by all its partitions."""

import time
from datetime import UTC, datetime

from models import artefact, scores
from models.artefact import Version
from models.handover import HORIZON
from models.model import Model
from streams.deployment import DeploymentError
from streams.store import Store


class Serving:
    """`version` is what stands in `crm:model`; `number` is what rows carry of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.version, self.number, self.horizon = "", 0, HORIZON
        self.segments: dict[int, str] = {}
        self.model: Model

    async def use(self, version: str) -> bool:
        """Serves this version from now on; False if Redis does not hold it. Without an await between, so never half."""
        document = await self._store.document(version) if version else None
        if document is None:
            return False
        self.take(version, restored(document, self._store.keys.version(version)))
        return True

    def take(self, version: str, model: Model) -> None:
        """Serves this model."""
        self.version, self.model, self.horizon = version, model, model.horizon
        self.number = Version.parse(version).number
        self.segments = dict(zip(model.segments.clusters, model.segments.names, strict=True))

    def common(self) -> tuple[str, ...]:
        """The fields that all customers of a write share, in the order of scores.COMMON."""
        now = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return str(self.horizon), now, self.version, str(scores.SCHEMA)


def restored(document: bytes, key: str) -> Model:
    """The model in the document that stands at `key`. Raises DeploymentError."""
    try:
        return artefact.decode(document).restored()
    except artefact.ArtefactError as error:
        raise DeploymentError(f"{key}: {error}") from None
