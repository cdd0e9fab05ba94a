"""How much there must be room for: bytes a customer in Redis and in a worker, bytes an event on disk.

    python -m benchmarks.sizing [--events 1000000]

The shop and its log are synthetic (benchmarks/traffic.py): 50,000 customers with a purchase or more, then events of
theirs and of new ones. What is measured: Redis's own count of its memory before and after, the resident memory of a
process before and after it loads all customers as a worker does, and the files of Kafka and Redis.
"""

import argparse
import asyncio
import gc
import multiprocessing
import re
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from redis import Redis

from benchmarks import run, traffic
from demo import services
from models.customers import Table
from streams.keys import Keys
from streams.settings import Settings
from streams.store import Store, connect

DAYS, VISIT = 2.0, 6.0
Figures = dict[str, float]


def resident(what: str = "VmRSS", pid: int | str = "self") -> int:
    """Bytes of a process in memory; VmHWM: the most there ever were."""
    found = re.search(rf"^{what}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


async def _warm(store: Store) -> None:
    """What is imported and compiled is there before anything is measured."""
    few = [(name.decode(), packed) for name, packed in (await store.redis.hscan(store.keys.state(0)))[1].items()]
    Table().load([name for name, _ in few], [packed for _, packed in few])
    guard = await store.guard(0)
    assert guard is not None
    async for _ in store.load(0, guard.token):
        pass
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the most that there ever was begins anew


async def _load(url: str) -> Figures:
    store = Store(connect(Settings(redis_url=url)), Settings(redis_url=url))
    await _warm(store)
    before, tables = resident(), []
    for number in range(run.PARTITIONS):
        guard = await store.guard(number)
        assert guard is not None
        tables.append(Table(room=await store.customers(number)))
        async for names, packed in store.load(number, guard.token):
            tables[-1].load(names, packed)
    gc.collect()
    await store.close()
    return {"customers": sum(map(len, tables)), "held": resident() - before, "peak": resident("VmHWM") - before}


def load(url: str) -> Figures:
    """Bytes that all customers take in a process whose only work this is, and at the peak of loading them."""
    return asyncio.run(_load(url))


def files(directory: Path, pattern: str) -> int:
    """Bytes on disk of the files of that name."""
    return sum(path.stat().st_size for path in directory.rglob(pattern))


def of_customers(store: "Redis", url: str, empty: int) -> Figures:
    """Bytes a customer as they stand now, in Redis and in a worker."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        held = pool.submit(load, url).result()
    n = held["customers"]
    redis = int(store.info("memory")["used_memory"]) - empty
    return {"customers": n, "redis": redis / n, "worker": held["held"] / n, "loading": held["peak"] / n}


def measure(events: int, said: Callable[[str], None]) -> dict[str, Figures]:
    """Figures of the shop as it is published, and after so many events."""
    with (
        tempfile.TemporaryDirectory(prefix="sizing-") as scratch,
        services.kafka() as kafka,
        services.valkey() as valkey,
        Redis.from_url(valkey.url) as store,
    ):
        env = {"CRM_KAFKA": kafka.address, "CRM_REDIS_URL": valkey.url, "CRM_PARTITIONS": str(run.PARTITIONS)}
        made = run.Deployment(env | {"CRM_EVENTS_TOPIC": "crm.events"}, store, Path(scratch, "fit"))
        empty = int(store.info("memory")["used_memory"])
        said("offline fit, streams init, publish")
        history = Path(scratch, "history.csv")
        traffic.write_history(history)
        until = f"{traffic.CUT_OFF:%Y-%m-%d}"
        made.command("offline", "fit", "--history", str(history), "--until", until, "--out", str(made.directory))
        made.command("streams", "init")
        made.command("streams", "publish", str(made.directory))
        published = of_customers(store, valkey.url, empty)
        said(f"{events:,} events")
        log = traffic.records(events, traffic.START, DAYS, 3, VISIT)
        traffic.send(made.producer(compression_type="lz4", linger_ms=20), made.topic, log)
        with made.process("streams", "worker"):
            run.rate(lambda: sum(made.offsets()), made.end())
        end = of_customers(store, valkey.url, empty)
        days = list(store.scan_iter(f"{Keys().prefix}:training:*"))
        taken = sum(int(store.memory_usage(day, samples=0)) for day in days)
        disk = {
            "kafka": files(kafka.data, "*.log") / events,
            "redis": files(valkey.directory, "*.aof") / end["customers"],
            "example": taken / sum(int(store.hlen(day)) for day in days),
        }
        return {"published": published, "end": end, "disk": disk}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="of the log")
    given = parser.parse_args()
    found = measure(given.events, lambda step: print(f"  {step}", file=sys.stderr))
    for when, each in (("published", found["published"]), (f"after {given.events:,} events", found["end"])):
        print(f"{when}: {each['customers']:,.0f} customers")
        print(f"  bytes a customer in Redis          {each['redis']:8,.0f}")
        print(f"  in a worker                        {each['worker']:8,.0f}")
        print(f"  in a worker, while it loads them   {each['loading']:8,.0f}")
    disk = found["disk"]
    print(f"bytes of a training example in Redis {disk['example']:8,.0f}")
    print(f"append-only files, bytes a customer  {disk['redis']:8,.0f}")
    print(f"Kafka's log (lz4), bytes an event    {disk['kafka']:8,.0f}")


if __name__ == "__main__":
    main()
