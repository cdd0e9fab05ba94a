"""Deployments that earlier releases left (tests/keep_deployment.py made them), put on real servers again.

Kafka gives a topic made anew an id of its own: `crm:meta` is told that one. Nothing else differs from what was kept.
"""

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jobs
import redis
from confluent_kafka import Producer, admin

from models.events import encode_event, encode_tick
from models.rows import DAY, load_rows
from streams import kafka as topics
from streams.settings import Settings

HERE = Path(__file__).parent
KEPT = sorted((HERE / "data").glob("deployment-*"))
TOPIC, PARTITIONS, LAST_DAY = "kept.events", 2, 20_301  # 2025-08-01, the last midnight that was learned
PUT: dict[str, Any] = {
    "string": lambda store, key, value: store.set(key, value),
    "hash": lambda store, key, value: store.hset(key, mapping=dict(value)),
    "zset": lambda store, key, value: store.zadd(key, dict(value)),
    "set": lambda store, key, value: store.sadd(key, *value),
    "list": lambda store, key, value: store.rpush(key, *value),
    "stream": lambda store, key, value: [store.xadd(key, dict(fields), entry) for entry, fields in value],
}


def lines(path: Path) -> Iterator[Any]:
    with gzip.open(path) as file:
        yield from map(json.loads, file)


def raw(value: Any) -> Any:
    """Latin-1 text is bytes again, at any depth."""
    if isinstance(value, list):
        return [raw(each) for each in value]
    return value.encode("latin-1") if isinstance(value, str) else value


def load(kept: Path, store: Any) -> None:
    """Every key as it was."""
    for line in lines(kept / "redis.jsonl.gz"):
        PUT[line["type"]](store, line["key"], raw(line["value"]))


class Taken:
    """A kept deployment on servers of now: its whole log in the topic, all its keys in Redis, no worker yet."""

    def __init__(self, kept: Path, kafka: str, redis_url: str) -> None:
        self.fit = kept / "fit"
        self.redis: Any = redis.Redis.from_url(redis_url)  # redis-py types every answer as a union
        self.env = {"CRM_KAFKA": kafka, "CRM_REDIS_URL": redis_url, "CRM_EVENTS_TOPIC": TOPIC}
        self.env |= {"CRM_PARTITIONS": str(PARTITIONS), "CRM_MODELS_KEPT": "6"}
        self.settings = Settings(kafka=kafka, redis_url=redis_url, events_topic=TOPIC, partitions=PARTITIONS)
        config: dict[str, str | int | float | bool] = {"bootstrap.servers": kafka, "log_level": 0}
        self.producer, self.admin = Producer(config | {"partitioner": "murmur2_random"}), admin.AdminClient(config)
        topics.create(self.settings)
        load(kept, self.redis)
        for record in lines(kept / "log.jsonl.gz"):
            place = {"partition": record["partition"], "timestamp": record["timestamp"]}
            self.producer.produce(TOPIC, raw(record["value"]), raw(record["key"]), **place)
        self.producer.flush()
        self.redis.hset("crm:meta", "topic_id", topics.describe(self.settings).id)

    def close(self) -> None:
        self.redis.close()
        for future in self.admin.delete_topics([TOPIC, self.settings.rejected_topic]).values():
            future.result(15)

    def command(self, *args: str) -> str:
        """Runs a command of streams, which must end well."""
        run = [sys.executable, "-m", "streams", *args]
        done = subprocess.run(run, env=jobs.unmeasured(**self.env), cwd=HERE.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def worker(self) -> "subprocess.Popen[str]":
        run = [sys.executable, "-m", "streams", "worker"]
        env, pipe = jobs.unmeasured(**self.env), subprocess.PIPE
        return subprocess.Popen(run, env=env, cwd=HERE.parent, stdout=pipe, stderr=pipe, text=True)

    def send(self, days: range, customers: Iterable[str]) -> None:
        """On each day a purchase by each customer and the tick behind it."""
        for day in days:
            for customer in customers:
                t, event_id = day * DAY + 1, f"later-{customer}-{day}"
                more: dict[str, Any] = {"product_id": f"P-{day % 12}", "quantity": 1, "unit_price": "12.50"}
                value = encode_event(event_id, "purchase", customer, t, **more)
                self.producer.produce(TOPIC, value, customer.encode(), timestamp=t // 1000)
            self.producer.flush()
            at = (day + 1) * DAY + 3_600_000_000
            for p in range(PARTITIONS):
                self.producer.produce(TOPIC, encode_tick(at), partition=p, timestamp=at // 1000)
            self.producer.flush()

    def settled(self, worker: "subprocess.Popen[str]", day: int) -> None:
        """Waits until all is folded and the model of `day` stands."""
        until, found = time.monotonic() + 240, None
        while time.monotonic() < until and worker.poll() is None:
            ends = [high for _, high in topics.describe(self.settings).bounds]  # the worker itself may send ticks
            offsets = [int(self.redis.hget(f"crm:guard:{p}", "offset") or -1) for p in range(PARTITIONS)]
            found = (offsets, int(self.redis.hget("crm:model", "day") or 0))
            if found == (ends, day):
                return
            time.sleep(0.1)
        worker.kill()
        raise AssertionError(f"not settled on day {day}: {found}: {worker.communicate()}")

    def states(self) -> dict[str, Any]:
        """Every customer's row, as it stands in Redis."""
        found: dict[str, Any] = {}
        for p in range(PARTITIONS):
            states = self.redis.hgetall(f"crm:state:{p}")
            found |= zip([name.decode() for name in states], load_rows([*states.values()]), strict=True)
        return found

    def members(self) -> dict[str, int]:
        """The segment in whose set each customer stands; a customer in two sets is an error."""
        found: dict[str, int] = {}
        for key in self.redis.scan_iter("crm:members:*"):
            for name in self.redis.zrange(key, 0, -1):
                assert name.decode() not in found, f"{name} stands in two sets"
                found[name.decode()] = int(key.split(b":")[2])
        return found
