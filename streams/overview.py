"""A deployment on one screen: where each partition stands, who holds it, how fresh it is, what was rejected, the model.

The rule: all of it is asked of Redis and Kafka, nothing of a worker; so what a worker that is gone left undone shows.
"""

from collections import Counter

import msgspec

from models.truth import Window
from streams import truth
from streams.deployment import Deployment, Guard, GuardState, date_of
from streams.freshness import Freshness, iso, lag, stale
from streams.kafka import KafkaAway, Topic
from streams.store import Store

WINDOW = 30  # days of the served model's figures
PASSED_OVER = ("before_history_ends", "erased", "duplicate", "before_first_purchase", "late")  # good, but not counted


class Standing(msgspec.Struct, frozen=True):
    """Of a partition. state: of its guard, "missing" without one; owner, as_of (ISO): what its worker said last;
    lag_seconds: likewise, None where nobody holds it any more; behind: records in the log that Redis does not hold;
    swept_to: a date; wrong: why it is not well, in words.
    """

    partition: int
    state: str
    owner: str | None
    as_of: str | None
    lag_seconds: float | None
    behind: int | None
    swept_to: str | None
    customers: int
    wrong: str | None


class Overview(msgspec.Struct, frozen=True):
    """at: ISO, by the clock of Redis. rejected, passed_over: records by reason (docs/events.md). model: the version
    that serves; learned_through: a date; truth: of the last WINDOW days, None before an example of it closed; away: why
    Kafka did not say where the log ends, None where it did."""

    at: str
    topic: str
    partitions: list[Standing]
    rejected: dict[str, int]
    passed_over: dict[str, int]
    model: str
    learned_through: str
    truth: Window | None
    away: str | None = None

    @property
    def wrong(self) -> list[str]:
        """What somebody should look at, a line each; empty where all is well."""
        return [*filter(None, [self.away, *(each.wrong for each in self.partitions)])]


async def overview(store: Store, deployment: Deployment, topic: Topic | KafkaAway) -> Overview:
    """How the deployment stands now. Raises DeploymentError for what is damaged."""
    now, found = await store.looked_over(deployment.partitions)
    counted = sum((Counter(reasons) for *_, reasons in found), Counter[str]())
    told = await truth.found(store, deployment, [WINDOW])
    (window,) = told.windows
    ends = [None] * deployment.partitions if isinstance(topic, KafkaAway) else [end for _, end in topic.bounds]
    return Overview(
        at=iso(now),
        topic=deployment.topic,
        partitions=[_standing(p, end, each, now) for p, (end, each) in enumerate(zip(ends, found, strict=True))],
        rejected={reason: n for reason, n in counted.most_common() if reason not in PASSED_OVER},
        passed_over={reason: n for reason, n in counted.most_common() if reason in PASSED_OVER},
        model=told.serving,
        learned_through=told.learned_through,
        truth=window if window.n else None,
        away=str(topic) if isinstance(topic, KafkaAway) else None,
    )


def _standing(
    number: int, end: int | None, found: tuple[Guard | None, int, Freshness | None, dict[str, int]], now: int
) -> Standing:
    guard, customers, fresh, _ = found
    state = str(guard.state) if guard else "missing"
    wrong = stale(number, fresh, now) if guard and guard.state is GuardState.READY else f"partition {number}: {state}"
    return Standing(
        number,
        state,
        fresh.owner if fresh else None,
        fresh.fields[0] if fresh else None,
        lag(fresh, now),
        max(0, end - guard.offset) if guard and end is not None else None,
        date_of(guard.swept_to) if guard else None,
        customers,
        wrong,
    )
