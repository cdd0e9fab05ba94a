"""The plain loop that a careful engineer writes in an afternoon, with confluent-kafka, numpy and no framework.

    python -m benchmarks.peers.loop MILLISECONDS    (CRM_KAFKA, CRM_REDIS_URL, CRM_EVENTS_TOPIC, PEER_GROUP)

MILLISECONDS: how long it gathers a batch of at most 5,000 events. Scores, packed states and next offsets of a batch are
one MULTI behind a WATCH of the offsets, and a start takes states and offsets from Redis: exactly once for as long as
Redis keeps its data, and who was overtaken ends. No duplicates, labels, training, erasure, repair.
"""

import os
import sys
from collections import defaultdict
from typing import Any

from confluent_kafka import Consumer
from redis import Redis

from benchmarks.peers.batch import Customers
from benchmarks.peers.job import FIELDS


class Part:
    """A partition: where it stands and its customers, both as of one moment."""

    def __init__(self, store: Any, number: int) -> None:
        offset, packed = store.pipeline().get(f"offset:{number}").hgetall(f"state:{number}").execute()
        self.number, self.offset = number, int(offset or 0)
        self.customers = Customers({name.decode(): row for name, row in packed.items()})

    def commands(self, values: list[bytes], end: int) -> list[tuple[Any, ...]]:
        """Folds events up to offset `end`; all that is to be written of them."""
        at, of = self.customers.fold(values), self.customers
        names = [of.names[i] for i in at.tolist()]
        states = flat(zip(names, (row.tobytes() for row in of.rows[at]), strict=True))
        return [*said(of, at), ("HSET", f"state:{self.number}", *states), ("SET", f"offset:{self.number}", end)]


def said(of: Customers, at: Any) -> list[tuple[Any, ...]]:
    """What is to be written of the hashes of these rows."""
    hashes = zip((of.names[i] for i in at.tolist()), of.hashes(at), strict=True)
    return [("HSET", f"peer:{name}", *flat(zip(FIELDS, texts, strict=True))) for name, texts in hashes]


def flat(pairs: Any) -> list[Any]:
    return [each for pair in pairs for each in pair]


def write(connection: Any, parts: list[Part], commands: list[tuple[Any, ...]]) -> None:
    """All of it or, if somebody else has written any of these partitions, nothing and the end."""
    watched = [f"offset:{part.number}" for part in parts]
    connection.send_packed_command(connection.pack_commands([("WATCH", *watched), ("MGET", *watched)]))
    connection.read_response()
    if [int(offset or 0) for offset in connection.read_response()] != [part.offset for part in parts]:
        sys.exit("somebody else writes a partition of ours")
    connection.send_packed_command(connection.pack_commands([("MULTI",), *commands, ("EXEC",)]))
    answers = [connection.read_response() for _ in range(len(commands) + 2)]
    if answers[-1] is None:
        sys.exit("somebody else writes a partition of ours")


def main(milliseconds: int) -> None:
    store = Redis.from_url(os.environ["CRM_REDIS_URL"])
    connection: Any = store.connection_pool.get_connection()
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["CRM_KAFKA"],
            "group.id": os.environ["PEER_GROUP"],
            "group.instance.id": "1",  # a restart takes its partitions over at once
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": milliseconds,
        }
    )
    parts: dict[int, Part] = {}

    def assigned(_: Any, places: list[Any]) -> None:
        parts.clear()
        for place in places:
            parts[place.partition] = Part(store, place.partition)
            place.offset = parts[place.partition].offset
        consumer.assign(places)

    consumer.subscribe([os.environ["CRM_EVENTS_TOPIC"]], on_assign=assigned)
    while True:
        fetched: dict[Part, list[Any]] = defaultdict(list)
        for message in consumer.consume(5_000, milliseconds / 1_000):
            if message.error():
                sys.exit(str(message.error()))
            fetched[parts[int(message.partition() or 0)]].append(message)
        if not fetched:
            continue
        ends = {part: messages[-1].offset() + 1 for part, messages in fetched.items()}
        made = [part.commands([m.value() for m in messages], ends[part]) for part, messages in fetched.items()]
        write(connection, list(fetched), [each for commands in made for each in commands])
        for part, end in ends.items():
            part.offset = end


if __name__ == "__main__":
    main(int(sys.argv[1]))
