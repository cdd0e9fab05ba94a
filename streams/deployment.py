"""What the first publish fixed (`crm:meta`), and where a partition stands (its guard), as records.

Rule: they are read by field name. A field that an older program did not write has its default, one that a newer one
wrote is left alone; only what nobody can do without is missed, in one line.
"""

import enum
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from datetime import date, timedelta
from functools import cached_property
from typing import Any, Self

import xxhash

from streams.partitioner import partitioner
from streams.refusal import Refusal
from streams.settings import Settings

GRACE = 3_600  # seconds that a day stays open, where nobody said otherwise


class DeploymentError(Refusal):
    """Redis or Kafka are not those of the deployment, or not as it needs them."""


def age(cut_off: int) -> int:
    """Days since this midnight (a day since the epoch, UTC); negative for one to come."""
    return int(time.time() // 86_400) - cut_off


def date_of(day: int) -> str:
    """
    >>> date_of(10_227)
    '1998-01-01'
    """
    return str(date(1970, 1, 1) + timedelta(day))


def ended(cut_off: int, customers: int = -1) -> str:
    """How old a history is that ends at this midnight, in words; customers: in it, -1 if that is not known."""
    if not customers:
        return f"there is no history: all is the topic's from {date_of(cut_off)} on, {age(cut_off):,} days ago"
    return f"the history ended {age(cut_off):,} days ago, on {date_of(cut_off)}"


@dataclass(frozen=True)
class Deployment:
    """topic_id: Kafka's id of the topic; cut_off: the day before which events are in the history; horizon: days of a
    demand; erasure_key: hex, of the hashes that stand for erased customers; grace: seconds that a day stays open for
    late events; customers: in the history; fitted: the SHA-256 of DIR's artefact. Of a deployment that was published
    before these were kept they are -1 and empty.
    """

    topic: str
    topic_id: str
    partitions: int
    partitioner: str
    cut_off: int
    horizon: int
    erasure_key: str
    grace: int
    customers: int = -1
    fitted: str = ""

    @classmethod
    def read(cls, fields: Mapping[str, str], key: str, grace: int | None = None) -> Self:
        """From the fields of the hash `key`; grace: of a deployment that was published before it was kept.

        Raises DeploymentError.
        """
        fields = {"grace": str(GRACE if grace is None else grace), "customers": "-1", "fitted": "", **fields}
        kinds: dict[str, Any] = {each.name: each.type for each in dataclass_fields(cls)}
        missing = [name for name in kinds if name not in fields]
        if missing:
            raise DeploymentError(f"{key} lacks {', '.join(missing)}: restore Redis")
        try:
            return cls(**{name: kind(fields[name]) for name, kind in kinds.items()})
        except ValueError as error:
            raise DeploymentError(f"{key}: {error}: restore Redis") from None

    def fields(self) -> dict[str, str]:
        """As the hash holds it."""
        return {name: str(value) for name, value in asdict(self).items()}

    def check(self, settings: Settings, topic_id: str, partitions: int) -> None:
        """That settings and topic are as they were at the first publish. Raises DeploymentError."""
        added = f", for those from {self.partitions} on were added" if partitions > self.partitions else ""
        same = {
            "topic": (settings.events_topic, "set CRM_EVENTS_TOPIC to it, or use another CRM_PREFIX"),
            "topic_id": (
                topic_id,
                "the topic was deleted and made anew: restore it, or publish anew under another CRM_PREFIX",
            ),
            "partitions": (partitions, f"customers would move{added}: publish anew with another CRM_PREFIX and topic"),
            "partitioner": (settings.partitioner, "set CRM_PARTITIONER to it"),
            "grace": (
                self.grace if settings.grace is None else settings.grace,
                "set CRM_GRACE to it, or leave it unset",
            ),
        }
        for name, (now, way_out) in same.items():
            if now != (then := getattr(self, name)):
                raise DeploymentError(f"{name} is {now}, but was {then} at the first publish: {way_out}")

    def check_stands(self, found: Self | None, key: str) -> None:
        """That what stands at `key` now is still this one. Raises DeploymentError."""
        if found is None:
            raise DeploymentError(f"{key} is gone: restore Redis; if it lost everything, run `streams publish DIR`")
        if found != self:
            raise DeploymentError(f"{key} is not as it was read: it was published anew, or changed: start this again")

    def check_history(self, ended: int, fitted: str) -> None:
        """That a DIR whose history ended at this midnight, and whose artefact has this SHA-256, is that of the first
        publish. Raises DeploymentError."""
        if ended != self.cut_off:
            raise DeploymentError(
                "DIR was fitted to another cut-off than the deployment's"
                f" ({date_of(ended)}, not {date_of(self.cut_off)}): give the DIR of the first publish"
            )
        if self.fitted and fitted != self.fitted:
            raise DeploymentError(
                "DIR is another than that of the first publish, though its cut-off is the same: give that one (if it is"
                " lost: docs/operations.md)"
            )

    @property
    def begun(self) -> str:
        """How old its history is, in words."""
        return ended(self.cut_off, self.customers)

    @cached_property
    def home(self) -> Callable[[str], int]:
        """customer_id -> the partition that its events belong to."""
        return partitioner(self.partitioner, self.partitions)

    @property
    def life(self) -> str:
        """Tells it from one that is published anew under the same names; whoever reads it learns nothing else."""
        return hashlib.blake2b(b"life", key=bytes.fromhex(self.erasure_key), digest_size=4).hexdigest()

    def erasure(self, customer_id: str) -> str:
        """The keyed hash that stands for an erased customer."""
        key = bytes.fromhex(self.erasure_key)
        return hashlib.blake2b(customer_id.encode(), key=key, digest_size=16).hexdigest()


BROKE = "{} is damaged, for a write broke inside: run `streams rebuild`"  # whose key


class GuardState(enum.StrEnum):
    """Workers fold a partition that is READY and wait for the others."""

    SEEDING = enum.auto()  # the first publish writes the history
    REBUILDING = enum.auto()  # a rebuild drops everything, then writes the history
    READY = enum.auto()
    DAMAGED = enum.auto()  # a write broke inside: what it left out only a rebuild brings


@dataclass(frozen=True)
class Guard:
    """Where a partition stands. offset: the next one to fold; swept_to: a day; token: the fencing token, new with every
    write; quiet_until: changes by events below this offset are not announced; hashes: the form of the customers' hashes
    that everybody of the partition has at least; start: the first offset that was to be folded; mark: the last record
    before `offset`, as `marked` says it, by which another log is told from this one; empty where there is none. model:
    the version that it was last written by; empty of a program that did not say so. rebuilt: the day that the serving
    model had learned through at the last rebuild; None before one, and of a program that did not say so.
    """

    offset: int
    swept_to: int
    token: bytes
    state: GuardState
    quiet_until: int = 0
    hashes: int = 1
    start: int = 0
    mark: str = ""
    model: str = ""
    rebuilt: int | None = None

    @classmethod
    def read(cls, fields: Mapping[bytes, bytes], key: str) -> Self:
        """From the fields of the hash `key`. Raises DeploymentError."""
        try:
            return cls(
                offset=int(fields[b"offset"]),
                swept_to=int(fields[b"swept_to"]),
                token=fields[b"token"],
                state=GuardState(fields[b"state"].decode()),
                quiet_until=int(fields.get(b"quiet_until", 0)),
                hashes=int(fields.get(b"hashes", 1)),
                start=int(fields.get(b"start", 0)),
                mark=fields.get(b"mark", b"").decode(),
                model=fields.get(b"model", b"").decode(),
                rebuilt=int(fields[b"rebuilt"]) if b"rebuilt" in fields else None,
            )
        except (KeyError, ValueError) as error:
            raise DeploymentError(f"{key} is damaged ({error}): run `python -m streams rebuild`") from None


def beyond(key: str, offset: int, partition: str, low: int, high: int) -> str:
    """Why a guard at this offset cannot be gone on from in a log that holds [low, high), and the way out.

    >>> beyond("crm:guard:0", 7, "partition 0 of crm.events", 9, 20).split(": ")[1]
    'records 7 to 8 were deleted before they were counted'
    """
    stands = f"{key} stands at offset {offset}, but {partition} holds {low} to {high}"
    if offset < low:
        return (
            f"{stands}: records {offset} to {low - 1} were deleted before they were counted: restore the log; if they"
            " are gone for good, no rebuild brings them: fit on files that have them, and publish that under another"
            " CRM_PREFIX"
        )
    return f"{stands}: the log lost its end, or is another: restore it, or run `streams rebuild`"


def marked(offset: int, timestamp: int | None, key: bytes | None, value: bytes | None) -> str:
    """What tells a record of the log from any other: offset, timestamp (ms), a checksum (XXH3) of what it holds.

    >>> marked(7, 1000, b"c1", None)
    '7:1000:61d6d22709534b79'
    """
    held = b"%d:%b%b" % (len(key or b""), key or b"", value or b"")
    return f"{offset}:{timestamp}:{xxhash.xxh3_64_hexdigest(held)}"
