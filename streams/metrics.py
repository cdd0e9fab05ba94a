"""What a worker counts and shows to Prometheus: names begin with crm_, units are seconds and bytes.

The rule: a chunk or a write is one touch of a counter, however many events it has; what is true of now is looked at
when somebody asks, so a partition that is gone is not told of; and no label holds what a customer or a producer chose.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from models.artefact import Version
from models.events import Reason
from models.kinds import ERASE, KINDS, TICK
from models.ledger import SERVED
from models.rows import DAY
from models.truth import Window
from streams.freshness import Freshness
from streams.overview import PASSED_OVER

WORDS = {ERASE: "erase", TICK: "tick"} | {kind.number: kind.word for kind in KINDS}
SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
LONG = (*SHORT, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0)
SIZES = (1, 10, 100, 1_000, 5_000, 10_000, 20_000, 100_000)  # events
disable_created_metrics()  # type: ignore[no-untyped-call]  # a moment beside each counter, which nobody asks for


class Held(NamedTuple):
    """A partition that is ready. fresh: None until it was looked at; swept_to: a day since the epoch; table_bytes: of
    the rows in memory."""

    partition: int
    fresh: Freshness | None
    swept_to: int
    customers: int
    table_bytes: int


class Now(NamedTuple):
    """What a worker holds and serves. partitions: of the deployment, whoever holds them; version: "" where no model is
    loaded; truth: what came of what was served, of the worker that trains alone."""

    partitions: int = 0
    held: Sequence[Held] = ()
    version: str = ""
    truth: Window | None = None


GAUGES: tuple[tuple[str, str, Callable[[Held], float | None]], ...] = (
    ("lag_records", "Records of the log that Redis does not hold", lambda p: p.fresh and p.fresh.lag_records),
    ("lag_seconds", "Age of the first of them, 0 where there is none", lambda p: p.fresh and p.fresh.lag_seconds),
    ("freshness_seconds", "Age of what the scores rest on", lambda p: p.fresh and time.time() - p.fresh.as_of),
    ("swept_to_timestamp_seconds", "The midnight that all were scored as of", lambda p: p.swept_to * (DAY // 10**6)),
    ("customers", "Customers in memory", lambda p: p.customers),
)


class Ages(Collector):
    """A histogram that takes many values at once."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], registry: CollectorRegistry) -> None:
        self.name, self.documentation, self.bounds = name, documentation, np.array(bounds)
        self.told = np.zeros(len(bounds) + 1, np.int64), 0.0  # how many in each bucket; their sum
        registry.register(self)

    def add(self, values: NDArray[np.float64]) -> None:
        """Values (n,): a bucket holds those up to its bound, inclusive."""
        counts, total = self.told
        found = np.bincount(self.bounds.searchsorted(values), minlength=len(counts))
        self.told = counts + found, total + float(values.sum())

    def collect(self) -> Iterator[Metric]:
        counts, total = self.told
        names = [*map(floatToGoString, self.bounds.tolist()), "+Inf"]
        buckets = list(zip(names, np.cumsum(counts).tolist(), strict=True))
        yield HistogramMetricFamily(self.name, self.documentation, buckets=buckets, sum_value=total)


class Meter(Collector):
    """Methods are named after what happened. `registry` is what is shown; look: what is so now, asked for from the
    thread that shows it."""

    def __init__(self, look: Callable[[], Now] = Now) -> None:
        self.look, self.registry, self.heard = look, CollectorRegistry(), time.monotonic()
        own: Any = {"registry": self.registry}
        self._events = Counter(
            "crm_events", "Events accepted, by type; erase: tombstones, tick: of workers", ["kind"], **own
        )
        self._rejected = Counter("crm_events_rejected", "Records rejected: docs/events.md", ["reason"], **own)
        self._passed = Counter(
            "crm_events_passed_over", "Events accepted, not counted: docs/events.md", ["reason"], **own
        )
        self._repeats = Counter("crm_write_retries", "Calls to Redis or Kafka made again, by what came", ["why"], **own)
        self._lost = Counter("crm_partitions_lost", "Partitions located anew though still held", **own)
        self._chunk = Histogram("crm_chunk_events", "Records of a chunk", buckets=SIZES, **own)
        self._fold = Histogram(
            "crm_fold_seconds", "From a chunk taken up to its last write begun", buckets=SHORT, **own
        )
        self._sweep = Histogram(
            "crm_sweep_seconds", "Of a sweep: landmarks passed, everybody scored", buckets=LONG, **own
        )
        self._write = Histogram("crm_write_seconds", "Of a guarded write, with its repeats", buckets=SHORT, **own)
        self._ages = Ages("crm_end_to_end_seconds", "Age of records as Redis held what follows", LONG, self.registry)
        self._kinds = [(number - ERASE, self._events.labels(word)) for number, word in WORDS.items()]
        for counter, reasons in ((self._rejected, Reason), (self._passed, PASSED_OVER)):
            for reason in reasons:
                counter.labels(reason)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # ---- what happened -----------------------------------------------------------------------------------------------

    def folded(self, records: int, kinds: NDArray[np.int8], seconds: float) -> None:
        """A chunk of so many records, among them events of these kinds (n,)."""
        self._chunk.observe(records)
        self._fold.observe(seconds)
        counts = np.bincount(kinds.astype(np.int64) - ERASE, minlength=len(WORDS)).tolist()
        for place, counter in self._kinds:
            if counts[place]:
                counter.inc(counts[place])
        if sum(counts) > counts[TICK - ERASE]:
            self.heard = time.monotonic()

    def swept(self, seconds: float) -> None:
        self._sweep.observe(seconds)

    def written(self, times: NDArray[np.int64], counts: Iterable[tuple[str, int]], seconds: float) -> None:
        """A write was applied. times (n,): timestamps in ms of the records that it left behind, negative where a record
        has none; counts: those of them that are no events, or did not count, by reason."""
        self._write.observe(seconds)
        self._ages.add(np.maximum(time.time() - times[times >= 0] / 1000, 0.0))
        for reason, n in counts:
            (self._passed if reason in PASSED_OVER else self._rejected).labels(reason).inc(n)

    def repeated(self, why: str) -> None:
        """why: one of few words."""
        self._repeats.labels(why).inc()

    def lost(self) -> None:
        self._lost.inc()

    # ---- what is so now ----------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        now = self.look()
        yield GaugeMetricFamily("crm_partitions", "Of the deployment, whoever holds them", value=now.partitions)
        yield from _of_partitions(now.held)
        bytes_ = sum(each.table_bytes for each in now.held)
        yield GaugeMetricFamily("crm_table_bytes", "Of all rows in memory", value=bytes_)
        silent = time.monotonic() - self.heard
        yield GaugeMetricFamily("crm_feed_silent_seconds", "Since an event came, or since the start", value=silent)
        if now.version:
            yield InfoMetricFamily("crm_model", "The version that serves", value={"version": now.version})
            day = Version.parse(now.version).day
            yield GaugeMetricFamily("crm_model_day", "Learned through, days since 1970-01-01", value=day)
        if now.truth:
            yield from _of_truth(now.truth)


def _of_partitions(held: Sequence[Held]) -> Iterator[Metric]:
    for name, documentation, told in GAUGES:
        family = GaugeMetricFamily(f"crm_{name}", documentation, labels=["partition"])
        for each in held:
            if (value := told(each)) is not None:
                family.add_metric([str(each.partition)], value)
        yield family


def _of_truth(window: Window) -> Iterator[Metric]:
    """How the served demand did beside the experts and what costs nothing, as `streams model` tells of 30 days."""
    family = GaugeMetricFamily(
        "crm_model_deviance_ratio", "Deviance of the served demand over another's, of 30 days", labels=["against"]
    )
    served = window.demand[SERVED].deviance
    for name, each in window.demand.items():
        if name != SERVED and served is not None and each.deviance:
            family.add_metric([name], served / each.deviance)
    yield family
    if (held := window.held["all"]) is not None:
        yield GaugeMetricFamily("crm_bound_coverage", "Share up to their predicted_demand_high, of 30 days", value=held)
