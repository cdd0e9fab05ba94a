"""`verify` on a partition whose log holds no event: right after a publish, or silent ever since."""

import secrets

import pandas as pd
import pytest

from models.kinds import PURCHASE
from models.rows import DAY
from streams import kafka as topics
from streams import verify
from streams.settings import Settings

PAST = pd.DataFrame(
    {
        "event_id": ["e1", "e2"],
        "kind": [PURCHASE, PURCHASE],
        "customer_id": ["ann", "ann"],
        "occurred_at": [19_600 * DAY, 19_601 * DAY],
        "order_id": ["o1", "o2"],
        "amount": [10_000, 20_000],
        "offset": [-1, -1],
    }
)


@pytest.fixture
def topic(kafka: str) -> Settings:
    """A new topic of one partition."""
    made = Settings(kafka=kafka, events_topic=f"verify-{secrets.token_hex(4)}", partitions=1)
    topics.create(made)
    return made


def test_history_is_counted_where_the_log_is_empty(topic: Settings) -> None:
    empty = verify.log(topic, 0, 0, 0, 19_700, lambda _: 0)
    events = pd.concat([PAST, empty], ignore_index=True)
    counted = verify.recount(events.assign(place=range(len(events))))
    assert [int(counted[name]["ann"]) for name in ("orders", "spend", "days")] == [2, 30_000, 2]


def test_nothing_is_counted_where_there_is_nothing(topic: Settings) -> None:
    empty = verify.log(topic, 0, 0, 0, 19_700, lambda _: 0)
    assert len(verify.recount(empty.assign(place=range(0)))) == 0
