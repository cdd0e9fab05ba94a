"""Quix Streams: states in its RocksDB with a changelog topic, exactly once by its transactions, its own batching sink.

    python -m benchmarks.peers.quix.peer    (CRM_KAFKA, CRM_REDIS_URL, CRM_EVENTS_TOPIC, PEER_GROUP, PEER_DIRECTORY)

Its RedisSink writes one JSON string a key; this one is the same with an HSET, and says how far it is. A checkpoint
writes to Redis before it commits to Kafka: after a crash in between the same values are written again. It comes every
100 ms instead of 5 s, for a score is to be read soon.
"""

import os
from typing import Any

from quixstreams import Application, State
from quixstreams.sinks import BatchingSink, SinkBatch
from redis import Redis

from benchmarks.peers import job

EVERY = 0.1  # seconds from a checkpoint to the next


class Hashes(BatchingSink):  # type: ignore[misc]
    """A hash a customer: the last of a batch."""

    def setup(self) -> None:
        self.store: Any = Redis.from_url(os.environ["CRM_REDIS_URL"])

    def write(self, batch: SinkBatch) -> None:
        last: dict[Any, job.State] = {}
        for item in batch:
            last[item.key], offset = item.value, item.offset
        with self.store.pipeline(transaction=True) as pipe:
            for name, state in last.items():
                pipe.hset(f"peer:{name}", mapping=job.fields(job.State(*state)))
            pipe.set(f"offset:{batch.partition}", offset + 1)
            pipe.execute()


def fold(event: dict[str, Any], state: State) -> job.State:
    folded = job.step(job.State(*state.get("is", ())), job.facts(event))
    state.set("is", list(folded))
    return folded


def main() -> None:
    app = Application(
        broker_address=os.environ["CRM_KAFKA"],
        consumer_group=os.environ["PEER_GROUP"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=EVERY,
        consumer_poll_timeout=EVERY,  # else the last events of a stream wait a second for their checkpoint
        state_dir=os.environ["PEER_DIRECTORY"],
        loglevel="WARNING",
    )
    events = app.topic(os.environ["CRM_EVENTS_TOPIC"], key_deserializer="str", value_deserializer="json")
    app.dataframe(events).apply(fold, stateful=True).sink(Hashes())
    app.run()


if __name__ == "__main__":
    main()
