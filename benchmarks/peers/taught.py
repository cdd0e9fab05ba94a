"""Faust as its guide teaches it: an agent that takes one event after the other, keeps a dict and sends one HSET each.

    python -m benchmarks.peers.taught worker --without-web    (CRM_KAFKA, CRM_REDIS_URL, CRM_EVENTS_TOPIC, PEER_GROUP)

Offsets are committed by Faust in its own time and states are in memory alone: after a restart they begin from nothing.
That of `make bench` (benchmarks/per_event.py) learns with river at each event besides, which no truth can repeat.
"""

import os
from collections import defaultdict
from typing import Any

import faust
import redis.asyncio

from benchmarks.peers.job import State, facts, fields, step

app = faust.App(
    os.environ["PEER_GROUP"],
    broker=f"kafka://{os.environ['CRM_KAFKA']}",
    topic_disable_leader=True,
    topic_allow_declare=False,
    consumer_auto_offset_reset="earliest",
    autodiscover=False,
    web_enabled=False,
    datadir=os.environ["PEER_DIRECTORY"],
)
topic = app.topic(os.environ["CRM_EVENTS_TOPIC"], key_type=bytes, key_serializer="raw", value_serializer="json")
store: Any = redis.asyncio.Redis.from_url(os.environ["CRM_REDIS_URL"])
states: defaultdict[str, State] = defaultdict(State)
offsets: dict[str, int] = {}


@app.agent(topic)  # type: ignore[untyped-decorator]
async def agent(stream: Any) -> None:
    """The loop of the guide; what tells how far it is costs no command of its own."""
    async for event in stream.events():
        name = event.value["customer_id"]
        state = states[name] = step(states[name], facts(event.value))
        await store.hset(f"peer:{name}", mapping=fields(state))
        offsets[f"offset:{event.message.partition}"] = event.message.offset + 1


@app.timer(0.005)  # type: ignore[untyped-decorator]
async def tell() -> None:
    """How far it is, for whoever measures it."""
    if offsets:
        await store.mset(offsets)


if __name__ == "__main__":
    app.main()
