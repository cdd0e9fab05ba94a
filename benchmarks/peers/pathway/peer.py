"""Pathway: a table of customers that its engine keeps up to date, persisted; what changed goes to Redis by `subscribe`.

    python -m benchmarks.peers.pathway.peer    (CRM_KAFKA, CRM_REDIS_URL, CRM_EVENTS_TOPIC, PEER_DIRECTORY)

It has no Redis sink, so the callbacks of `subscribe` gather what a moment of the engine changed and write it in one
pipeline. A restart reads its snapshots and writes what it has not persisted again: at least once, the same values. The
engine's moments are 20 ms apart, its snapshots 1 s.
"""

import os
from typing import Any

import pathway as pw
from redis import Redis

from benchmarks.peers import job

MOMENT, SNAPSHOT = 20, 1_000  # milliseconds


class Event(pw.Schema):  # type: ignore[misc]
    customer_id: str
    event_type: str
    occurred_at: str
    quantity: float = pw.column_definition(default_value=0)
    unit_price: float = pw.column_definition(default_value=0)


def customers(events: Any) -> Any:
    """One row a customer: the state, and the partition and offset of the last event."""
    moment = events.occurred_at.dt.strptime("%Y-%m-%dT%H:%M:%S%.fZ", contains_timezone=False)
    sign = pw.if_else(events.event_type == "return", -1, 1)
    known = events.select(
        events.customer_id,
        order=pw.cast(int, events.event_type == "purchase"),
        cents=pw.cast(int, (events.quantity * events.unit_price * 100).num.round(0)) * sign,
        at=pw.cast(int, moment.dt.timestamp(unit="s")) - job.BEGIN,
        partition=events._metadata["partition"].as_int(),
        offset=events._metadata["offset"].as_int(),
    )
    near, far = (2.0 ** (known.at / half) for half in job.HALF_LIVES)
    weighted = known.with_columns(near=known.cents * near, far=known.cents * far)
    return weighted.groupby(pw.this.customer_id).reduce(
        pw.this.customer_id,
        orders=pw.reducers.sum(pw.this.order),
        cents=pw.reducers.sum(pw.this.cents),
        last=pw.reducers.max(pw.this.at),
        near=pw.reducers.sum(pw.this.near),
        far=pw.reducers.sum(pw.this.far),
        partition=pw.reducers.any(pw.this.partition),
        offset=pw.reducers.max(pw.this.offset),
    )


class Hashes:
    """What a moment changed, written when it ends."""

    def __init__(self) -> None:
        self.pipe: Any = Redis.from_url(os.environ["CRM_REDIS_URL"]).pipeline(transaction=False)
        self.offsets: dict[str, int] = {}

    def changed(self, key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            state = job.State(*(row[name] for name in ("orders", "cents", "last", "near", "far")))
            self.pipe.hset(f"peer:{row['customer_id']}", mapping=job.fields(state))
            place = f"offset:{row['partition']}"
            self.offsets[place] = max(self.offsets.get(place, 0), row["offset"] + 1)

    def ended(self, time: int) -> None:
        if self.offsets:
            self.pipe.mset(self.offsets)
            self.pipe.execute()


def main() -> None:
    settings = {"bootstrap.servers": os.environ["CRM_KAFKA"], "group.id": os.environ["PEER_GROUP"]}
    settings |= {"auto.offset.reset": "earliest", "fetch.wait.max.ms": str(MOMENT)}
    events = pw.io.kafka.read(
        settings,
        topic=os.environ["CRM_EVENTS_TOPIC"],
        format="json",
        schema=Event,
        with_metadata=True,
        autocommit_duration_ms=MOMENT,
        name="events",
    )
    hashes = Hashes()
    pw.io.subscribe(customers(events), on_change=hashes.changed, on_time_end=hashes.ended)
    backend = pw.persistence.Backend.filesystem(os.environ["PEER_DIRECTORY"])
    kept = pw.persistence.Config(backend, snapshot_interval_ms=SNAPSHOT)
    pw.run(persistence_config=kept, monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    main()
