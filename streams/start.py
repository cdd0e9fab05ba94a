"""What a worker checks before it starts: that Redis and Kafka are those of the deployment. A doubt ends it."""

import asyncio

from streams import kafka
from streams.console import say
from streams.publish import PublishError
from streams.settings import Settings
from streams.store import Store


async def check(store: Store, settings: Settings) -> dict[str, str]:
    """`crm:meta`, if topic, partitions and partitioner are as they were at the first publish."""
    meta = await store.meta()
    if not meta:
        raise PublishError(f"{store.keys.meta} is missing: run `python -m streams publish DIR`, or restore Redis")
    topic = await asyncio.to_thread(kafka.describe, settings)
    same = {
        "topic": (settings.events_topic, "set CRM_EVENTS_TOPIC to it, or use another CRM_PREFIX"),
        "topic_id": (
            topic.id,
            "the topic was deleted and made anew: restore it, or publish anew under another CRM_PREFIX",
        ),
        "partitions": (str(topic.partitions), "customers would move: publish anew with another CRM_PREFIX and topic"),
        "partitioner": (settings.partitioner, "set CRM_PARTITIONER to it"),
    }
    for name, (now, way_out) in same.items():
        if now != meta[name]:
            raise PublishError(f"{name} is {now}, but was {meta[name]} at the first publish: {way_out}")
    if topic.retention_ms != -1:
        say(
            f"warning: {settings.events_topic} keeps records for {topic.retention_ms} ms only; a rebuild needs them:"
            " set retention.ms=-1"
        )
    return meta
