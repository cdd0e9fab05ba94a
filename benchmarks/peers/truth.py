"""What must stand in Redis when a peer is done: the job, event by event, on the log alone."""

import time
from collections.abc import Iterator
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from benchmarks.peers import job
from benchmarks.run import PARTITIONS, PATIENCE, BenchmarkError

PAGE = 2_000  # customers that are compared at once


class Truth:
    """Everybody's state by the log of a topic, as far as it was read."""

    def __init__(self, kafka: str, topic: str) -> None:
        self.states: dict[str, job.State] = {}
        self.read = 0
        self._consumer = Consumer({"bootstrap.servers": kafka, "group.id": "truth", "enable.auto.commit": False})
        self._consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])

    def catch_up(self, end: int) -> None:
        """Until so many records were read."""
        until = time.monotonic() + PATIENCE
        while self.read < end:
            messages = self._consumer.consume(10_000, 0.1)
            if messages:
                until = time.monotonic() + PATIENCE
            if time.monotonic() > until:
                raise BenchmarkError(f"the log gave {self.read:,} records of {end:,} in {PATIENCE:.0f} s")
            for message in messages:
                event = msgspec.json.decode(message.value() or b"")
                name = event["customer_id"]
                self.states[name] = job.step(self.states.get(name, job.State()), job.facts(event))
            self.read += len(messages)

    def wrong(self, store: Any) -> int:
        """How many customers are missing, too many, or have other fields."""
        found = 0
        differing = 0
        for name, texts in _hashes(store):
            state = self.states.get(name)
            found += state is not None
            differing += state is None or not job.same(texts, job.fields(state))
        return differing + len(self.states) - found


def _hashes(store: Any) -> Iterator[tuple[str, dict[str, str]]]:
    names = sorted({key.decode().removeprefix("peer:") for key in store.scan_iter("peer:*", count=PAGE)})
    for i in range(0, len(names), PAGE):
        pipe = store.pipeline(transaction=False)
        for name in names[i : i + PAGE]:
            pipe.hgetall(f"peer:{name}")
        for name, texts in zip(names[i : i + PAGE], pipe.execute(), strict=True):
            yield name, {field.decode(): text.decode() for field, text in texts.items()}
