"""The loop without its guarantees: offsets committed by Kafka's client in its own time, states in memory alone.

    python -m benchmarks.peers.unguarded MILLISECONDS    (CRM_KAFKA, CRM_REDIS_URL, CRM_EVENTS_TOPIC, PEER_GROUP)

MILLISECONDS: how long it gathers a batch of at most 5,000 events. After a restart or a rebalance it goes on from a
committed offset with no state at all: right for as long as it runs, and nothing tells when it no longer is.
"""

import os
import sys
from typing import Any

from confluent_kafka import Consumer
from redis import Redis

from benchmarks.peers.batch import Customers
from benchmarks.peers.loop import flat, said


def main(milliseconds: int) -> None:
    connection: Any = Redis.from_url(os.environ["CRM_REDIS_URL"]).connection_pool.get_connection()
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["CRM_KAFKA"],
            "group.id": os.environ["PEER_GROUP"],
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": milliseconds,
        }
    )
    consumer.subscribe([os.environ["CRM_EVENTS_TOPIC"]])
    customers, offsets = Customers(), {}
    while True:
        messages: list[Any] = consumer.consume(5_000, milliseconds / 1_000)
        for message in messages:
            if message.error():
                sys.exit(str(message.error()))
            offsets[f"offset:{message.partition()}"] = message.offset() + 1
        if not messages:
            continue
        at = customers.fold(message.value() for message in messages)
        commands = said(customers, at)
        commands.append(("MSET", *flat(offsets.items())))
        connection.send_packed_command(connection.pack_commands(commands))
        for _ in commands:
            connection.read_response()


if __name__ == "__main__":
    main(int(sys.argv[1]))
