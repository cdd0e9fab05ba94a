"""`make bench`: the product beside an agent that handles one event at a time, in one run, on one machine, on one topic.

    python -m benchmarks [--events 1000000] [--history 10000000]

The log is synthetic (benchmarks/traffic.py says how). Then what the API answers (benchmarks/serving.py), and a long
history is fitted (benchmarks/scale.py). Prints a table and writes benchmarks/results.json, unless a ratio fell by more
than a fifth against what stands there (benchmarks/guard.py): then it fails.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import fold, guard, history, run, scale, serving, startup, traffic
from models.events import decode_many
from models.rows import DAY

RESULTS = Path(__file__).with_name("results.json")
YARDSTICK_SECONDS, LATENCY_RATE, LATENCY_SECONDS = 20.0, 5_000, 20.0
VISIT, DAYS = 6.0, 2.0  # events of a visit on average; days that a backlog spans
console = Console(soft_wrap=True, highlight=False)


def kernels(n: int = 200_000) -> dict[str, float]:
    """Events a second on one core, without Kafka and Redis: the decoder, and the fold (benchmarks/fold.py)."""
    keys, values, times = zip(*traffic.records(n, traffic.START, DAYS, 7, VISIT), strict=True)
    decode_many(keys[:1], values[:1], times[:1])  # compiles
    begun = time.perf_counter()
    decode_many(keys, values, times)
    decoded = n / (time.perf_counter() - begun)
    speed = fold.measure(30)
    return {"decode": decoded, "fold": speed.fold, "fold_in_chunks": speed.chunked}


def backlog(where: run.Deployment, log: Iterator[traffic.Record]) -> int:
    """Sends a log; returns the records that stand in the topic now."""
    traffic.send(where.producer(compression_type="lz4", linger_ms=20), where.topic, log)
    return where.end()


def product(where: run.Deployment, events: int) -> dict[str, float]:
    """A backlog drained by one worker with everything on, a steady stream, then a backlog in the dear case."""
    later = traffic.START + int(DAYS * DAY)
    console.print("one worker drains a backlog", style="dim")
    end = backlog(where, traffic.records(events, traffic.START, DAYS, 3, VISIT))
    with where.process("streams", "worker"):
        rate = run.rate(lambda: sum(where.offsets()), end)
        console.print("latency at a steady rate", style="dim")
        steady = traffic.records(int(LATENCY_RATE * LATENCY_SECONDS), later, LATENCY_SECONDS / 86_400, 4, VISIT)
        latency = run.Latency(where, LATENCY_RATE).measure(steady) * 1e3
    console.print("one worker drains a backlog of visits of one event", style="dim")
    end = backlog(where, traffic.records(events // 2, later, DAYS, 5, 1.0))
    with where.process("streams", "worker"):
        dear = run.rate(lambda: sum(where.offsets()), end)
    console.print("one worker drains a backlog in which one record in three is a tombstone", style="dim")
    end = backlog(where, traffic.erasing(traffic.records(events // 5, later + int(DAYS * DAY), DAYS, 6, VISIT)))
    with where.process("streams", "worker"):
        erasing = run.rate(lambda: sum(where.offsets()), end)
    console.print("one worker drains a backlog of rejects", style="dim")
    end = backlog(where, traffic.spoilt(traffic.records(events // 2, later + int(2 * DAYS * DAY), DAYS, 7, VISIT)))
    with where.process("streams", "worker"):
        rejecting = run.rate(lambda: sum(where.offsets()), end)
    console.print("verify", style="dim")
    if "wrong: 0" not in where.command("streams", "verify", "--history", str(where.directory)):
        raise run.BenchmarkError("verify found wrong customers")
    return {
        "rate": rate,
        "rate_single": dear,
        "rate_erasing": erasing,
        "rate_rejecting": rejecting,
        "p50_ms": float(np.percentile(latency, 50)),
        "p99_ms": float(np.percentile(latency, 99)),
    }


def yardstick(where: run.Deployment) -> float:
    """The same topic, from its start, by the per-event agent."""
    console.print("the per-event agent, on the same topic", style="dim")
    where.store.set("per_event:seen", 0)
    with where.process("benchmarks.per_event", "worker", "--without-web", "-l", "error"):
        return run.rate(lambda: int(where.store.get("per_event:seen")), where.end(), YARDSTICK_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog="Example: make bench")
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the backlog")
    parser.add_argument("--history", type=int, default=history.EVENTS, help="events of the long history")
    parser.add_argument("--accept", action="store_true", help="write the results also where a ratio fell")
    given = parser.parse_args()
    on = run.machine()
    results = {"kernels": kernels()}
    with run.deployment(lambda step: console.print(step, style="dim")) as where:
        results["product"] = product(where, given.events)
        results["serving"] = serving.measure(where)
        results["per_event"] = {"rate": yardstick(where)}
    results["startup"] = startup.measure()
    results["scale"] = scale.measure(given.history)
    ratio = results["product"]["rate"] / results["per_event"]["rate"]
    table = Table("figure", "value")
    for name, value in (
        ("product, one worker, events/s", f"{results['product']['rate']:,.0f}"),
        ("the same, visits of one event", f"{results['product']['rate_single']:,.0f}"),
        ("one tombstone in three records, records/s", f"{results['product']['rate_erasing']:,.0f}"),
        ("rejects, nothing else, records/s", f"{results['product']['rate_rejecting']:,.0f}"),
        ("per-event Faust + river + redis, events/s", f"{results['per_event']['rate']:,.0f}"),
        ("ratio", f"{ratio:.1f} x"),
        (f"arrival to readable at {LATENCY_RATE:,} events/s, p50", f"{results['product']['p50_ms']:.1f} ms"),
        (f"arrival to readable at {LATENCY_RATE:,} events/s, p99", f"{results['product']['p99_ms']:.1f} ms"),
        ("decode alone, events/s on one core", f"{results['kernels']['decode']:,.0f}"),
        ("fold alone, events/s on one core", f"{results['kernels']['fold']:,.0f}"),
        ("fold in chunks, rows found, daily sweeps", f"{results['kernels']['fold_in_chunks']:,.0f}"),
        *serving.rows(results["serving"]),
        *startup.rows(results["startup"]),
        *scale.rows(results["scale"]),
    ):
        table.add_row(name, value)
    console.print(table)
    taken = {"machine": on, "ratio": ratio, **results}
    if not given.accept and (worse := guard.fallen(json.loads(RESULTS.read_text()), taken)):
        raise run.BenchmarkError(f"{'; '.join(worse)}; not written: see why, or run it with --accept")
    RESULTS.write_text(json.dumps(taken, indent=2) + "\n")
    console.print(f"written: {RESULTS.name}; {on['cpu']}, {on['cores']} cores, load before {on['load_before']}")
    return 0


if __name__ == "__main__":
    run.end(main)
