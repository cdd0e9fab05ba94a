"""Flink SQL: one query, told by the constants of the job, with checkpoints; a tiny copier takes its results to Redis.

    python -m benchmarks.peers.flink.peer    (CRM_KAFKA, CRM_REDIS_URL, CRM_EVENTS_TOPIC, PEER_GROUP, PEER_DIRECTORY)

Flink has no Redis sink of its own: results go to a topic, keyed and at least once, from which a thread of this process
copies them, the last of a customer. All values are absolute, so writing them again after a restart does no harm. One
slot, as the others have one process; mini-batches of at most 10 ms, which its guide advises; a checkpoint each 10 s. A
mini-batch comes in no order, so what is said of offsets is early by a part of it at most.
"""

import os
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment
from redis import Redis

from benchmarks.peers import job
from benchmarks.peers.flink.connector import JAR

KAFKA, TOPIC = os.environ["CRM_KAFKA"], os.environ["CRM_EVENTS_TOPIC"]
KEPT = Path(os.environ["PEER_DIRECTORY"])
SCORES = f"{os.environ['PEER_GROUP']}.scores"
NEAR, FAR = job.HALF_LIVES
SETTINGS = {
    "parallelism.default": "1",
    "execution.checkpointing.interval": "10s",
    "execution.checkpointing.dir": KEPT.as_uri(),
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "10ms",
    "table.exec.mini-batch.size": "5000",
    "table.exec.sink.upsert-materialize": "NONE",  # one aggregate in key order feeds it
}
EVENTS = f"""
CREATE TABLE events (
  customer_id STRING, event_type STRING, occurred_at TIMESTAMP_LTZ(6), quantity DOUBLE, unit_price DOUBLE,
  `partition` INT METADATA VIRTUAL, `offset` BIGINT METADATA VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '{TOPIC}', 'properties.bootstrap.servers' = '{KAFKA}',
  'properties.group.id' = '{os.environ["PEER_GROUP"]}', 'scan.startup.mode' = 'earliest-offset',
  'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601')"""
RESULTS = f"""
CREATE TABLE scores (
  customer_id STRING, `partition` INT, `offset` BIGINT, orders BIGINT, cents BIGINT, last_at BIGINT,
  rate_30 DOUBLE, rate_90 DOUBLE, demand DOUBLE, cluster INT, PRIMARY KEY (customer_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '{SCORES}', 'properties.bootstrap.servers' = '{KAFKA}',
  'properties.linger.ms' = '1', 'key.format' = 'raw', 'value.format' = 'json')"""


def weighted(half: int, per_day: float) -> str:
    """A rate as of the customer's last event."""
    return f"SUM(cents * POWER(2e0, last_at / {half}e0)) * POWER(2e0, -MAX(last_at) / {half}e0) * {per_day / 100!r}"


def query() -> str:
    """From events to the fields of the job, a step a subquery."""
    away = [
        " + ".join(f"POWER({x} - {c}, 2)" for x, c in zip(("x", "y", "z"), centre, strict=True))
        for centre in job.CENTRES
    ]
    names = [f"d{k}" for k in range(len(away))]
    nearest = " ".join(f"WHEN {name} THEN {k}" for k, name in enumerate(names))
    base, of_order, of_near, of_far = job.DEMAND
    begin = "TO_TIMESTAMP_LTZ(0, 0)"
    return f"""
INSERT INTO scores
WITH facts AS (
  SELECT customer_id, `partition`, `offset`, IF(event_type = 'purchase', 1, 0) AS ordered,
    CAST(ROUND(COALESCE(quantity * unit_price, 0) * 100) AS BIGINT) * IF(event_type = 'return', -1, 1) AS cents,
    CAST(TIMESTAMPDIFF(SECOND, {begin}, occurred_at) AS BIGINT) - {job.BEGIN} AS last_at
  FROM events),
customers AS (
  SELECT customer_id, MAX(`partition`) AS `partition`, MAX(`offset`) AS `offset`,
    SUM(CAST(ordered AS BIGINT)) AS orders, SUM(cents) AS cents, MAX(last_at) AS last_at,
    {weighted(NEAR, job.PER_DAY[0])} AS rate_30, {weighted(FAR, job.PER_DAY[1])} AS rate_90
  FROM facts GROUP BY customer_id),
placed AS (
  SELECT *, LN(1e0 + orders) AS x, LN(1e0 + GREATEST(0e0, cents / 100e0)) AS y, LN(1e0 + GREATEST(0e0, rate_30)) AS z
  FROM customers),
apart AS (SELECT *, {", ".join(f"{each} AS {name}" for each, name in zip(away, names, strict=True))} FROM placed)
SELECT customer_id, `partition`, `offset`, orders, cents, last_at, rate_30, rate_90,
  GREATEST(0e0, {base} + {of_order} * orders + {of_near} * rate_30 + {of_far} * rate_90),
  CASE LEAST({", ".join(names)}) {nearest} END
FROM apart"""


def copied(value: dict[str, Any]) -> tuple[str, ...]:
    """The values of job.FIELDS."""
    rates = (f"{value[name]:.4f}" for name in ("rate_30", "rate_90"))
    texts = str(value["orders"]), f"{value['cents'] / 100:.2f}", *rates, f"{value['demand']:.2f}"
    return (*texts, str(value["cluster"]), str(job.BEGIN + value["last_at"]))


def copy() -> None:
    """Results as they come, into Redis."""
    store: Any = Redis.from_url(os.environ["CRM_REDIS_URL"])
    place = {"bootstrap.servers": KAFKA, "group.id": SCORES, "auto.offset.reset": "earliest"}
    consumer = Consumer(place | {"enable.auto.offset.store": False})  # what is committed was written
    consumer.assign([TopicPartition(SCORES, 0)])
    offsets: dict[str, int] = {}
    while True:
        messages: list[Any] = consumer.consume(5_000, 0.01)
        last = {message.key(): orjson.loads(message.value()) for message in messages}
        with store.pipeline(transaction=False) as pipe:
            for value in last.values():
                pipe.hset(f"peer:{value['customer_id']}", mapping=dict(zip(job.FIELDS, copied(value), strict=True)))
                reached = f"offset:{value['partition']}"
                offsets[reached] = max(offsets.get(reached, 0), value["offset"] + 1)
            if messages:
                pipe.mset(offsets)
                pipe.execute()
                consumer.store_offsets(messages[-1])


def main() -> None:
    admin = AdminClient({"bootstrap.servers": KAFKA})
    if SCORES not in admin.list_topics().topics:
        admin.create_topics([NewTopic(SCORES, 1, 1)])[SCORES].result()
    threading.Thread(target=copy, daemon=True).start()
    configuration = Configuration()
    for name, value in SETTINGS.items():
        configuration.set_string(name, value)
    configuration.set_string("pipeline.jars", Path(sys.prefix, JAR).as_uri())
    if kept := sorted(KEPT.glob("*/chk-*/_metadata"), key=lambda path: path.stat().st_mtime):
        configuration.set_string("execution.state-recovery.path", kept[-1].parent.as_uri())
    settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    tables = TableEnvironment.create(settings)
    tables.execute_sql(EVENTS)
    tables.execute_sql(RESULTS)
    tables.execute_sql(query()).wait()


if __name__ == "__main__":
    main()
