"""The figures of peers as tables: ratios to the loop first, then what was measured."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.table import Table

from benchmarks.peers.streaming import LOOP, VISITS

Figures = Mapping[str, Any]


def tables(found: Figures, lacks: Mapping[str, str]) -> Iterator[Table]:
    """found: by server, by topic and by peer."""
    for store, topics in found.items():
        for topic, peers in topics.items():
            yield backlog(f"{store}: a backlog, {topic}", peers, lacks)
        first = topics[next(iter(VISITS))]
        rates = {rate for peer in first.values() for rate in peer if rate.endswith("/s")}
        for rate in sorted(rates, key=lambda each: int(each[:-2])):
            yield steady(f"{store}: a steady {int(rate[:-2]):,}/s", rate, first)


def backlog(title: str, peers: Figures, lacks: Mapping[str, str]) -> Table:
    """us are of CPU an event: the peer's with all that it started, Redis's, and the broker's, which no ratio has.

    with start: of peer and Redis over the whole log, from the start of the process.
    """
    columns = ("CPU / loop", "rate / loop", "events/s", "us: peer", "Redis", "Kafka", "with start", "events", "wrong")
    table = _table(title, columns)
    table.add_column("does not do")
    loop = peers.get(LOOP, {})
    for name, peer in peers.items():
        if "failed" in peer:
            table.add_row(name, *["-"] * len(columns), _why(peer))
            continue
        ratios = _ratio(cpu(peer), cpu(loop)), _ratio(peer["rate"], loop.get("rate"))
        us = (f"{peer[each]:.1f}" for each in ("peer", "redis", "kafka", "whole"))
        wrong = "-" if peer["wrong"] is None else f"{peer['wrong']:,}"
        table.add_row(name, *ratios, f"{peer['rate']:,.0f}", *us, f"{peer['events']:,}", wrong, lacks[name])
    return table


def steady(title: str, rate: str, peers: Figures) -> Table:
    """ms are from arrival until an event can be read."""
    columns = ("CPU / loop", "p99 / loop", "p50, ms", "p99, ms", "max, ms", "us: peer", "Redis", "Kafka")
    table = _table(title, columns)
    loop = peers.get(LOOP, {}).get(rate, {})
    for name, figures in peers.items():
        if found := figures.get(rate):
            ratios = _ratio(cpu(found), cpu(loop)), _ratio(found["p99"], loop.get("p99"))
            times = (f"{found[each]:,.1f}" for each in ("p50", "p99", "max"))
            table.add_row(name, *ratios, *times, *(f"{found[each]:.0f}" for each in ("peer", "redis", "kafka")))
    return table


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table("peer", title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def cpu(found: Figures) -> float | None:
    """Of peer and Redis, us an event."""
    return float(found["peer"] + found["redis"]) if "peer" in found else None


def served(found: list[dict[str, float]]) -> Table:
    table = Table("customers of a request", "ratio", "API, requests/s", "Feast, requests/s")
    for each in found:
        ratio = f"{each['api'] / each['feast']:.1f} x"
        table.add_row(f"{each['customers']:,}", ratio, f"{each['api']:,.0f}", f"{each['feast']:,.1f}")
    return table


def _ratio(mine: float | None, loop: float | None) -> str:
    return f"{mine / loop:.2f} x" if mine is not None and loop else "-"


def _why(peer: Figures) -> str:
    return str(peer["failed"]).strip().splitlines()[-1][:120]
