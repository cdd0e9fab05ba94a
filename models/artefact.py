"""The artefact: one JSON document of arrays and numbers that carries a model, on disk from `offline fit` and in Redis.

{"schema": 1, "sha256": "<hex digest of the payload's bytes>", "payload": {...}}: never pickle. Rules: the encoding is
canonical (sorted names, shortest exact numbers), so equal artefacts give equal bytes and decode(encode(a)) == a; what
cannot be carried exactly (NaN, infinity) is refused when written; what is damaged or of another schema is refused when
read, before anything of it is used, with one line.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

import msgspec

from models.model import Model

SCHEMA = 1


class ArtefactError(ValueError):
    """The document cannot be used; the text says why and what to do, in one line."""


class Artefact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model with what is known about it.

    trained_through: the day (since the epoch, UTC) whose examples were learned last; horizon: days; model: the
    snapshot of `Model`; feature_names: of the segments' features, in order; clusters and segments: stable numbers and
    business names, side by side; metrics: figures on held-out time, after the day metrics_cut (None: not measured).
    """

    schema: ClassVar[int] = SCHEMA

    trained_through: int
    horizon: int
    model: dict[str, Any]
    feature_names: list[str]
    clusters: list[int]
    segments: list[str]
    metrics: dict[str, Any] = {}
    metrics_cut: int | None = None

    @classmethod
    def of(cls, model: Model, metrics: dict[str, Any] | None = None, metrics_cut: int | None = None) -> Self:
        """The artefact of a model as it stands."""
        return cls(
            trained_through=model.day,
            horizon=model.horizon,
            model=model.snapshot(),
            feature_names=["log_recency", "log_orders", "log_spend"],
            clusters=list(model.segments.clusters),
            segments=list(model.segments.names),
            metrics=metrics or {},
            metrics_cut=metrics_cut,
        )

    def after(self, model: Model) -> "Artefact":
        """The same deployment's artefact once `model`, restored from this one, has learned on."""
        return msgspec.structs.replace(self, trained_through=model.day, model=model.snapshot())

    @property
    def figures(self) -> dict[str, Any]:
        """What `streams model` shows: the metrics, and how many matured examples were learned."""
        return {**self.metrics, "examples": self.model["spend"]["examples"]}

    def restored(self) -> Model:
        """The model, bit for bit; ArtefactError if it was learned on other inputs than this program computes."""
        try:
            return Model.restore(self.model)
        except (ValueError, KeyError, TypeError) as error:
            raise ArtefactError(
                f"artefact: its model is of another program ({error}); run `offline fit` again"
            ) from None


class _Document(msgspec.Struct, frozen=True):
    schema: int
    sha256: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"")


def encode(artefact: Artefact) -> bytes:
    """The document, UTF-8; ArtefactError for a number that JSON cannot carry."""
    try:
        payload = json.dumps(msgspec.structs.asdict(artefact), sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError) as error:
        raise ArtefactError(f"artefact: cannot be written exactly: {error}") from None
    digest = hashlib.sha256(payload.encode()).hexdigest()
    return f'{{"schema":{SCHEMA},"sha256":"{digest}","payload":{payload}}}\n'.encode()


def decode(document: bytes) -> Artefact:
    """The artefact in a document; ArtefactError if it is damaged, cut short or of another schema."""
    try:
        envelope = msgspec.json.decode(document, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(f"artefact: damaged ({error}); run `offline fit` again or restore the file") from None
    if envelope.schema != SCHEMA:
        raise ArtefactError(
            f"artefact: schema {envelope.schema}, but this program reads schema {SCHEMA}; run `offline fit` again"
        )
    if hashlib.sha256(envelope.payload).hexdigest() != envelope.sha256:
        raise ArtefactError("artefact: damaged (its sha256 is another); run `offline fit` again or restore the file")
    try:
        return msgspec.json.decode(envelope.payload, type=Artefact)
    except msgspec.DecodeError as error:
        raise ArtefactError(f"artefact: not the fields of schema {SCHEMA} ({error}); run `offline fit` again") from None


def version(n: int, day: int, payload: bytes) -> str:
    """The name of a model version: the n-th publish, the day learned through (since the epoch), the document's hash.

    >>> version(3, 10_227, b"...")
    '3-19980101-ab5df625'
    """
    learned = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return f"{n}-{learned:%Y%m%d}-{hashlib.sha256(payload).hexdigest()[:8]}"
