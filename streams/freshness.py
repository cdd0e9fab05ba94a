"""Whether scores are fresh: what a worker writes each second of a partition that it holds, and what follows from it.

The rule: two clocks are never compared. When a worker looked is told by the clock of Redis, which a reader asks too;
how far behind it was, by the worker's, beside its own timestamps.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Self

GONE = 15  # seconds without a word after which a partition has no live owner
LATE = 60  # seconds behind the log from which on scores are called stale
SAID = ("as_of", "lag_seconds", "lag_records", "owner", "at")  # by a worker (freshness.lua)
UNHEARD = 5.0  # seconds without an answer of Kafka after which nobody knows what came since


class Freshness(NamedTuple):
    """Of a partition, as its worker found it.

    as_of: seconds since the epoch; what stood in the log then is in the scores. lag_seconds: age of the first record
    that is not, 0 where all are; while Kafka is silent, since it was heard. lag_records: how many are not. owner: host
    and process. at: when that was so, seconds since the epoch by the clock of Redis; 0 where it was not written yet.
    """

    partition: int
    as_of: float
    lag_seconds: float
    lag_records: int
    owner: str
    at: int = 0

    @classmethod
    def of(cls, partition: int, owner: str, now: float, heard: float, behind: int, since: float | None) -> Self:
        """now: the worker's clock, seconds; heard: seconds since Kafka answered, for what came since is not known;
        behind: records in the log that Redis does not hold; since: the timestamp of the first of them, or of the last
        that it holds, seconds.

        >>> Freshness.of(2, "w:1", now=1000.0, heard=0.5, behind=0, since=None)[1:4]
        (999.5, 0.0, 0)
        >>> Freshness.of(2, "w:1", now=1000.0, heard=0.5, behind=7, since=970.0)[1:4]
        (970.0, 30.0, 7)
        >>> Freshness.of(2, "w:1", now=1000.0, heard=80.0, behind=0, since=None)[1:4]
        (920.0, 80.0, 0)
        """
        known, unheard = now - heard, heard if heard > UNHEARD else 0.0
        if not behind or since is None:
            return cls(partition, known, unheard, behind, owner)
        return cls(partition, min(since, known), max(unheard, now - since), behind, owner)

    @property
    def fields(self) -> tuple[str, str, str]:
        """as_of, lag_seconds and lag_records as they stand in Redis.

        >>> Freshness(2, 970.7, 30.04, 7, "w:1").fields
        ('1970-01-01T00:16:10Z', '30.0', '7')
        """
        return iso(self.as_of), f"{self.lag_seconds:.1f}", str(self.lag_records)

    @classmethod
    def read(cls, partition: int, fields: Mapping[str, str]) -> Self | None:
        """From the fields of `crm:freshness:<p>`; None where none, or no such ones, stand there."""
        try:
            as_of = datetime.fromisoformat(fields["as_of"]).timestamp()
            lag = float(fields["lag_seconds"]), int(fields["lag_records"])
            return cls(partition, as_of, *lag, fields["owner"], int(fields["at"]))
        except (KeyError, ValueError):
            return None


def lag(found: Freshness | None, now: float) -> float | None:
    """Seconds that a partition is behind its log, None where that is not known, for nobody holds it; now: the clock of
    Redis, seconds.

    >>> lag(Freshness(2, 900.0, 0.0, 0, "w:1", at=999), 1000.0)
    0.0
    >>> lag(Freshness(2, 900.0, 0.0, 0, "w:1", at=900), 1000.0), lag(None, 1000.0)
    (None, None)
    """
    return None if found is None or now - found.at > GONE else found.lag_seconds


def stale(partition: int, found: Freshness | None, now: float, late: float = LATE) -> str | None:
    """Why the scores of a partition are not fresh, in words; None where they are.

    now: the clock of Redis, seconds; late: seconds behind the log that are borne.

    >>> stale(2, None, 1000.0)
    'partition 2: no worker has held it since the publish or rebuild'
    >>> stale(2, Freshness(2, 900.0, 0.0, 0, "w:1", at=900), 1000.0)
    'partition 2: no worker holds it since 1970-01-01T00:15:00Z'
    >>> stale(2, Freshness(2, 900.0, 99.0, 7, "w:1", at=999), 1000.0)
    'partition 2: counted up to 1970-01-01T00:15:00Z, 7 records wait'
    >>> stale(2, Freshness(2, 900.0, 99.0, 0, "w:1", at=999), 1000.0)
    'partition 2: counted up to 1970-01-01T00:15:00Z, Kafka has not answered its worker since'
    >>> stale(2, Freshness(2, 990.0, 9.0, 7, "w:1", at=999), 1000.0)
    """
    if found is None:
        return f"partition {partition}: no worker has held it since the publish or rebuild"
    if now - found.at > GONE:
        return f"partition {partition}: no worker holds it since {iso(found.at)}"
    if found.lag_seconds > late:
        waits = (
            f"{found.lag_records:,} records wait" if found.lag_records else "Kafka has not answered its worker since"
        )
        return f"partition {partition}: counted up to {iso(found.as_of)}, {waits}"
    return None


def iso(seconds: float) -> str:
    """ISO 8601 UTC of seconds since the epoch, to the second."""
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}"
