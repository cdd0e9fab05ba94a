"""The artefact: one JSON document of arrays and numbers that carries a model, on disk from `offline fit` and in Redis.

{"schema": 1, "sha256": "<hex digest of the payload's bytes>", "payload": {...}}: never pickle. Rules: the encoding is
canonical (sorted names, shortest exact numbers), so equal artefacts give equal bytes and decode(encode(a)) == a; what
cannot be carried exactly (NaN, infinity) is refused when written; what is damaged or of another schema is refused when
read, before anything of it is used, with one line. Fields are read by name: one that this program does not know is
passed over, one that is missing has its default. Only a change that neither can bear gives `schema` another number.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Self, TypeVar

import msgspec

from models.clusters import Clusters
from models.model import Model, weights
from models.segments import Segments

SCHEMA = 1
T = TypeVar("T")
EPOCH = date(1970, 1, 1)


class ArtefactError(ValueError):
    """The document cannot be used; the text says why and what to do, in one line."""


class Artefact(msgspec.Struct, frozen=True):
    """A model with what is known about it.

    trained_through: the day (since the epoch, UTC) whose examples were learned last; horizon: days; model: the
    snapshot of `Model`; metrics: figures on held-out time, after the day metrics_cut (None: not measured); fitted_on:
    the day through which the fit itself learned, which sizes and descriptions are as of, whatever was learned since
    (None: a document of before, which does not tell).
    """

    schema: ClassVar[int] = SCHEMA

    trained_through: int
    horizon: int
    model: dict[str, Any]
    metrics: dict[str, Any] = {}
    metrics_cut: int | None = None
    fitted_on: int | None = None

    @classmethod
    def of(cls, model: Model, metrics: dict[str, Any] | None = None, metrics_cut: int | None = None) -> Self:
        """The artefact of a model that was fitted as it stands."""
        return cls(
            trained_through=model.day,
            horizon=model.horizon,
            model=model.snapshot(),
            metrics=metrics or {},
            metrics_cut=metrics_cut,
            fitted_on=model.day,
        )

    def after(self, model: Model) -> "Artefact":
        """The same fit's artefact with `model`, which was restored from this one and learned on, or was renumbered."""
        return msgspec.structs.replace(self, trained_through=model.day, model=model.snapshot())

    @property
    def as_of(self) -> int:
        """The day that sizes and descriptions are of; of a document that does not tell, the one learned through."""
        return self.trained_through if self.fitted_on is None else self.fitted_on

    @property
    def figures(self) -> dict[str, Any]:
        """What stands beside the version that serves: the metrics, how many matured examples were learned, and whom the
        mixes follow."""
        return {**self.metrics, "examples": self.model["spend"]["examples"], "weights": weights(self.model)}

    @property
    def segments(self) -> Segments:
        """Its segments alone, whatever the rest was learned on; ArtefactError for what they lack."""
        return self._part("segments", Segments.restore)

    @property
    def clusters(self) -> Clusters:
        """Its clusters, likewise."""
        return self._part("clusters", Clusters.restore)

    def numbered(self, clusters: Clusters) -> Clusters:
        """These clusters under the numbers of its own that they continue, whatever the rest of it was learned on.

        Clusters of before segments were a rule stand elsewhere: none is continued, and their numbers stay theirs.
        """
        if "clusters" in self.model:
            return clusters.continuing(self.clusters)
        return clusters.after(self._part("segments", lambda of_before: int(of_before["unused"])))

    def _part(self, name: str, read: Callable[[Any], T]) -> T:
        """What `read` makes of a part's state; ArtefactError for what that lacks."""
        try:
            return read(self.model[name])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(f"artefact: its {name} cannot be read ({error})") from None

    def restored(self) -> Model:
        """The model, bit for bit; ArtefactError for what it lacks, or for inputs that are not computed."""
        try:
            return Model.restore(self.model)
        except (AttributeError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"artefact: its model is of another program ({error}); run `offline fit` again and `publish` what it"
                " leaves: workers of the version that published this one serve until then (docs/upgrading.md)"
            ) from None


class Version(msgspec.Struct, frozen=True):
    """What a model version is called: the n-th publish, the day learned through (since the epoch, UTC), the document.

    n: 1 to 65,535 and day: 0 to 65,535 (June 2149), for rows carry both in 32 bits; digest: the first 8 hexadecimal
    digits of the document's sha256. ArtefactError for any other.

    >>> str(Version.of(3, 10_227, b"..."))
    '3-19980101-ab5df625'
    """

    n: int
    day: int
    digest: str

    def __post_init__(self) -> None:
        if not (0 < self.n < 1 << 16 and 0 <= self.day < 1 << 16 and re.fullmatch("[0-9a-f]{8}", self.digest)):
            raise ArtefactError(
                f"model version: publish {self.n}, day {self.day} and hash {self.digest!r} are not 1 to 65535,"
                " 0 to 65535 and 8 hexadecimal digits"
            )

    @classmethod
    def of(cls, n: int, day: int, document: bytes) -> Self:
        """The version of this document."""
        return cls(n, day, hashlib.sha256(document).hexdigest()[:8])

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version of this name: parse(str(v)) == v, and ArtefactError for what no version is called.

        >>> Version.parse("3-19980101-ab5df625")
        Version(n=3, day=10227, digest='ab5df625')
        """
        try:
            n, learned, digest = text.split("-")
            found = cls(int(n), (datetime.strptime(learned, "%Y%m%d").date() - EPOCH).days, digest)
            if str(found) == text:
                return found
        except ValueError:
            pass
        raise ArtefactError(f"model version: {text!r} is none; 3-19980101-ab5df625 is one")

    def __str__(self) -> str:
        return f"{self.n}-{EPOCH + timedelta(days=self.day):%Y%m%d}-{self.digest}"

    @property
    def number(self) -> int:
        """What rows carry, 32 bits: the publish in the upper half, the day learned in the lower.

        >>> Version.parse("3-19980101-ab5df625").number == (3 << 16) + 10_227
        True
        """
        return self.n << 16 | self.day

    @staticmethod
    def publish_of(number: Any) -> Any:
        """The n of such a number, or (n,) of an array of them.

        >>> Version.publish_of(Version.parse("3-19980101-ab5df625").number)
        3
        """
        return number >> 16

    @staticmethod
    def day_of(number: Any) -> Any:
        """The day learned of such a number, or (n,) of an array of them.

        >>> Version.day_of(Version.parse("3-19980101-ab5df625").number)
        10227
        """
        return number & 0xFFFF


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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactError(f"artefact: damaged ({error}); run `offline fit` again or restore the file") from None
    if envelope.schema != SCHEMA:
        raise ArtefactError(
            f"artefact: schema {envelope.schema}, but this program reads schema {SCHEMA}; run `offline fit` again"
        )
    if hashlib.sha256(envelope.payload).hexdigest() != envelope.sha256:
        raise ArtefactError("artefact: damaged (its sha256 is another); run `offline fit` again or restore the file")
    try:
        return msgspec.json.decode(envelope.payload, type=Artefact)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ArtefactError(f"artefact: not the fields of schema {SCHEMA} ({error}); run `offline fit` again") from None
