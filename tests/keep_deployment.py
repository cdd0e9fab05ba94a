"""Keeps a small deployment just as a checkout makes it, for the tests of later releases: they must take it over.

    python tests/keep_deployment.py tests/data/deployment-NAME    (in the checkout that is to be kept)

It calls commands alone, so it runs in any checkout. What it leaves: `fit/`, the directory of the first publish;
`log.jsonl.gz`, every record of the topic; `redis.jsonl.gz`, every key in a form that any server can be given
(tests/kept.py reads both). Bytes stand as Latin-1 text there, a character a byte.
"""

import contextlib
import csv
import datetime
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from redis import Redis

sys.path.insert(0, str(Path.cwd()))
from demo import services

TOPIC, PARTITIONS, CUSTOMERS = "kept.events", 2, 80
BEGIN, CUT_OFF, END = (datetime.datetime(2025, month, 1, tzinfo=datetime.UTC) for month in (1, 7, 8))
PRODUCTS = [f"P-{n}" for n in range(12)]
HOUR = datetime.timedelta(hours=1)
FORGOTTEN = {"c11": CUT_OFF + 240 * HOUR, "c21": CUT_OFF + 480 * HOUR}  # c11 buys again, c21 never does


def purchases(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Orders of one or two lines by customers of quite different habits, now and then a return, a view, a cart."""
    for n in range(CUSTOMERS):
        every, price, day = rng.choice([4, 9, 20, 45]), rng.uniform(3, 60), rng.uniform(0, 90)
        while (at := BEGIN + datetime.timedelta(days=day)) < END:
            order, first = f"o{n}-{day:.0f}", rng.randrange(len(PRODUCTS))
            common = {"customer_id": f"c{n:02}", "occurred_at": at, "order_id": order}
            for line in range(rng.choice([1, 2, 2])):
                product = PRODUCTS[(first + line) % len(PRODUCTS)]
                yield common | {"event_type": "purchase", "product_id": product, "quantity": 1, "unit_price": price}
            if rng.random() < 0.1:
                late = {"event_type": "return", "occurred_at": at + 24 * HOUR, "quantity": 1, "unit_price": price / 2}
                yield common | late
            for kind in ("view", "cart"):
                if rng.random() < 0.3:
                    seen = {"event_type": kind, "customer_id": f"c{n:02}", "occurred_at": at - HOUR}
                    yield seen
            day += rng.expovariate(1 / every)


def events() -> list[dict[str, Any]]:
    """In order of time, each with an id of its own and its price to the cent."""
    found = sorted(purchases(random.Random(11)), key=lambda event: event["occurred_at"])
    for i, event in enumerate(found):
        event["event_id"] = f"e{i}"
        if "unit_price" in event:
            event["unit_price"] = round(event["unit_price"], 2)
    never_again = FORGOTTEN["c21"] - HOUR
    found = [e for e in found if e["customer_id"] != "c21" or e["occurred_at"] < never_again]
    return [event for event in found if BEGIN <= event["occurred_at"] < END]


def run(env: dict[str, str], *command: str) -> None:
    subprocess.run([sys.executable, "-m", *command], env=os.environ | env, check=True)


def send(kafka: str, live: list[dict[str, Any]]) -> None:
    """A day after the other with its ticks; a copy, garbage, and two customers who ask to be forgotten."""
    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})

    def put(key: str | None, value: bytes | None, at: datetime.datetime, **place: Any) -> None:
        producer.produce(TOPIC, value, key, timestamp=int(at.timestamp() * 1000), **place)

    day = CUT_OFF
    while day < END:
        for event in [e for e in live if day <= e["occurred_at"] < day + 24 * HOUR]:
            value = json.dumps(event | {"occurred_at": event["occurred_at"].isoformat()}).encode()
            for _ in range(2 if event["event_id"].endswith("7") else 1):
                put(event["customer_id"], value, event["occurred_at"])
        day += 24 * HOUR
        put("c00", b'{"event_id": "half', day - HOUR)
        for customer in [customer for customer, at in FORGOTTEN.items() if at == day]:
            put(customer, None, day - HOUR)
        producer.flush()
        tick = json.dumps({"event_type": "tick", "occurred_at": (day + HOUR).isoformat()}).encode()
        for partition in range(PARTITIONS):
            put(None, tick, day + HOUR, partition=partition)
        producer.flush()


def settled(store: Any, ends: list[int], day: int) -> None:
    """Waits until all is folded and the model of `day` stands."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        offsets = [int(store.hget(f"crm:guard:{p}", "offset")) for p in range(PARTITIONS)]
        if offsets == ends and int(store.hget("crm:model", "day")) == day:
            return
        time.sleep(0.2)
    raise SystemExit("the worker did not get to the end of the log")


@contextlib.contextmanager
def worker(env: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "streams", "worker"], env=os.environ | env)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def text(data: bytes | None) -> Any:
    return None if data is None else data.decode("latin-1")


def records(kafka: str) -> list[dict[str, Any]]:
    """Every record of the topic."""
    consumer: Any = Consumer({"bootstrap.servers": kafka, "group.id": "kept", "enable.auto.commit": False})
    found = []
    for p in range(PARTITIONS):
        low, high = consumer.get_watermark_offsets(TopicPartition(TOPIC, p))
        consumer.assign([TopicPartition(TOPIC, p, low)])
        for _ in range(high - low):
            message = consumer.consume(1, 10)[0]
            place = {"partition": p, "offset": message.offset(), "timestamp": message.timestamp()[1]}
            found.append(place | {"key": text(message.key()), "value": text(message.value())})
    consumer.close()
    return found


def keys(store: Any) -> Iterator[dict[str, Any]]:
    """Every key with its type and what it holds."""

    def pairs(found: Any) -> list[list[Any]]:
        return sorted([text(name), text(value)] for name, value in found.items())

    read: dict[bytes, Callable[[bytes], Any]] = {
        b"string": lambda key: text(store.get(key)),
        b"hash": lambda key: pairs(store.hgetall(key)),
        b"zset": lambda key: [[text(name), score] for name, score in store.zrange(key, 0, -1, withscores=True)],
        b"set": lambda key: sorted(map(text, store.smembers(key))),
        b"list": lambda key: [text(each) for each in store.lrange(key, 0, -1)],
        b"stream": lambda key: [[text(entry), pairs(fields)] for entry, fields in store.xrange(key)],
    }
    for key in sorted(store.scan_iter("crm:*", count=1000)):
        kind = store.type(key)
        yield {"key": text(key), "type": text(kind), "value": read[kind](key)}


def write(path: Path, lines: Any) -> None:
    with path.open("wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
        packed.writelines(json.dumps(line).encode() + b"\n" for line in lines)


def keep(out: Path) -> None:
    fit, all_events = out / "fit", events()
    with tempfile.TemporaryDirectory() as scratch, services.kafka() as kafka, services.valkey() as valkey:
        env = {"CRM_KAFKA": kafka.address, "CRM_REDIS_URL": valkey.url}
        env |= {"CRM_EVENTS_TOPIC": TOPIC, "CRM_PARTITIONS": str(PARTITIONS), "CRM_MODELS_KEPT": "6"}
        history, offers = Path(scratch, "history.csv"), Path(scratch, "offers.csv")
        with history.open("w", newline="") as file:
            table = csv.DictWriter(file, sorted({name for event in all_events for name in event}))
            table.writeheader()
            table.writerows(event for event in all_events if event["occurred_at"] < CUT_OFF)
        past = ["--history", str(history), "--until", f"{CUT_OFF:%Y-%m-%d}"]
        run({}, "offline", "rules", *past, "--out", str(Path(scratch, "rules.csv")), "--offers", str(offers))
        run({}, "offline", "fit", *past, "--offers", str(offers), "--out", str(fit))
        run(env, "streams", "init")
        run(env, "streams", "publish", str(fit))
        with worker(env), Redis.from_url(valkey.url) as store:
            send(kafka.address, [event for event in all_events if event["occurred_at"] >= CUT_OFF])
            log = records(kafka.address)
            ends = [sum(record["partition"] == p for record in log) for p in range(PARTITIONS)]
            settled(store, ends, int(END.timestamp()) // 86_400)
        run(env, "streams", "verify", "--history", str(fit))
        with Redis.from_url(valkey.url) as store:
            write(out / "redis.jsonl.gz", keys(store))
        write(out / "log.jsonl.gz", log)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
