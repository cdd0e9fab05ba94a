"""`verify`: every customer recounted from the history and the log, beside what stands in Redis.

The rule: workers may write meanwhile, and nothing is found wrong for that. So a page of customers is read as of one
moment (state, hash, segment sets, and the offset where the partition stands), and each is recounted up to the later of
that offset and its own `seen`.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from redis import exceptions

from models.artefact import ArtefactError, Version
from models.rows import BLANK, DAY, UnknownForm, joined, load_rows, packed_rows
from models.scores import FORM, NEAR, dates
from streams import kafka
from streams.deployment import BROKE, Deployment, DeploymentError, Guard, GuardState, beyond
from streams.kafka import Topic
from streams.keys import Keys
from streams.recount import COMPARED, EPOCH, log, recount
from streams.serving import segments_of
from streams.settings import Settings
from streams.store import SETS, Store

PAGE = 500  # customers read at once: Redis answers nobody else meanwhile
DATES = {"first_purchase_at": "first", "last_purchase_at": "last", "last_event_at": "at"}
STATED = ("segment", "segment_before", "segment_since", "cluster")  # of its state
SEGMENT = ("segment", "segment_id", "previous_segment", "segment_since", "cluster")
WORTH = ("average_order_value", "customer_value", "total_value")
SHOWN = ("orders", "spend", *DATES, *SEGMENT, *WORTH, "model_version")  # of a customer's hash
Names = dict[int, dict[int, str]]  # publish -> the segments' names by number: only a publish changes them
Difference = tuple[str, str, Any, Any]  # customer_id, what, in Redis, as it should be


@dataclass(frozen=True)
class Verdict:
    """How many customers there are, what differs, and why some could not be recounted."""

    customers: int
    wrong: list[Difference]
    unknown: tuple[str, ...] = ()

    @property
    def wrong_customers(self) -> int:
        return len({name for name, *_ in self.wrong})


async def verify(
    store: Store, settings: Settings, past: pd.DataFrame, topic: Topic, progress: Callable[[str], None]
) -> Verdict:
    """Compares all customers of all partitions, and whatever else stands in Redis under a customer's name.

    past: the cleaned history. Raises DeploymentError where there is nothing to compare with.
    """
    server = await store.run_id()
    run = _Run(store, settings, topic, await store.deployment(), past)
    customers, wrong = 0, await run.scan()
    for p in range(topic.partitions):
        progress(f"partition {p}")
        counted, differing = await run.partition(p)
        customers, wrong = customers + counted, wrong + differing
    if await store.run_id() != server:
        raise exceptions.ConnectionError("Redis was started anew in the middle of verify: run it again")
    return Verdict(customers, sorted(wrong, key=lambda difference: difference[0]), tuple(run.unknown))


class _Run:
    """One look at a deployment, partition by partition."""

    def __init__(
        self, store: Store, settings: Settings, topic: Topic, deployment: Deployment, past: pd.DataFrame
    ) -> None:
        self.store, self.settings, self.topic, self.deployment = store, settings, topic, deployment
        self.past = past[past["occurred_at"] < deployment.cut_off * DAY].assign(offset=-1)
        self.homes = self.past["customer_id"].map(deployment.home)
        self.hashes: dict[int, list[str]] = {}  # by partition: whose hash there is
        self.sets: dict[int, set[str]] = {}  # by partition: which segment sets there are, as Keys.set names them
        self.names: Names = {}
        self.unknown: list[str] = []  # a line for each partition whose log is not whole any more

    def home(self, name: str) -> int:
        """The partition of a customer; -1 for a name that is not UTF-8, which nobody can have."""
        try:
            return self.deployment.home(name)
        except UnicodeEncodeError:
            return -1

    async def scan(self) -> list[Difference]:
        """Notes which hashes and segment sets there are; answers with the hashes that can be nobody's."""
        for name in await self.store.scan("customer"):
            self.hashes.setdefault(self.home(name), []).append(name)
        for kind in SETS:
            for name in await self.store.scan(kind):
                if found := re.fullmatch(r"(\d+):(\d+)", name):
                    self.sets.setdefault(int(found[2]), set()).add(f"{kind}:{found[1]}")
        return [(_printable(name), "hash", "present", "absent") for name in self.hashes.pop(-1, [])]

    async def partition(self, p: int) -> tuple[int, list[Difference]]:
        """How many customers there must be, and what differs."""
        guard = await self.store.guard(p)
        offset = self._offset(p, guard)
        low, high = self.topic.bounds[p]
        if offset > high:  # of before; workers have gone on
            low, high = (await asyncio.to_thread(kafka.bounds, self.settings, self.topic.name))[p]
        if not low <= offset <= high:
            place = f"partition {p} of {self.topic.name}"
            raise DeploymentError(beyond(self.store.keys.guard(p), offset, place, low, high))
        past, live = self.past[self.homes == p], self._log(p, low, offset)
        stored = await self.store.names(p, self.sets.get(p, ()))
        strays = {name for name in stored if self.home(name) != p}
        wrong: list[Difference] = [(_printable(name), f"partition {p}", "present", "absent") for name in strays]
        everybody = stored - strays | {*self.hashes.get(p, ()), *past["customer_id"], *live["customer_id"]}
        if not everybody:
            return 0, wrong
        found = await self._read(p, sorted(everybody))
        late = self._log(p, offset, int(found["upto"].max()))
        events = pd.concat([past, live, late], ignore_index=True)
        events = events[events["offset"] < events["customer_id"].map(found["upto"])]
        if guard is not None and low > guard.start:
            what = f"records {guard.start:,} to {low - 1:,} of it were deleted"
            self.unknown.append(
                f"partition {p}: {what}, so {int(found['state'].sum()):,} customers cannot be recounted"
            )
            return int(found["state"].sum()), wrong + differences(found, None, self.names)
        counted = recount(events.assign(place=np.arange(len(events))))
        return len(counted), wrong + differences(found, counted, self.names)

    def _log(self, p: int, start: int, end: int) -> pd.DataFrame:
        return log(self.settings, p, start, end, self.deployment.cut_off, self.home)

    def _offset(self, p: int, guard: Guard | None) -> int:
        """Where a partition stands. Raises DeploymentError for one that is not ready: customers are still missing."""
        key = self.store.keys.guard(p)
        if guard is None:
            raise DeploymentError(f"{key} is missing: restore Redis, or run `python -m streams rebuild`")
        if guard.state is GuardState.DAMAGED:
            raise DeploymentError(BROKE.format(key))
        if guard.state != GuardState.READY:
            raise DeploymentError(f"{key} is {guard.state}: wait for it to be ready")
        if guard.hashes < FORM:
            raise DeploymentError(
                f"{key}: some customers have no segment yet, for an older program wrote them: verify again when its"
                f" field `hashes` says {FORM}, which a worker does"
            )
        return guard.offset

    async def _read(self, p: int, names: list[str]) -> pd.DataFrame:
        """These customers as they stand in Redis, and what their segments are called."""
        pages = [await self._page(p, names[i : i + PAGE]) for i in range(0, len(names), PAGE)]
        found = pd.concat(pages)
        await self._learn_names(found["hash: model_version"].unique())
        return found

    async def _page(self, p: int, names: list[str]) -> pd.DataFrame:
        """Asks again where a state names a segment set that was not asked for: it had no member before."""
        sets = self.sets.setdefault(p, set())
        while True:
            asked = sorted(sets)
            guard, packed, hashes, values = await self.store.look(p, names, SHOWN, asked)
            upto = self._offset(p, guard)
            sets.update(Keys.members_of(segment) for segment in _rows(packed)["segment"].tolist() if segment >= 0)
            if len(sets) == len(asked):
                return table(names, upto, packed, hashes, dict(zip(asked, values, strict=True)))

    async def _learn_names(self, versions: Iterable[str]) -> None:
        """What the segments are called under the publishes of these versions, if Redis keeps any model of theirs."""
        serving = (await self.store.model()).get("version", "")
        for version in filter(None, map(_version, sorted({*versions, serving}, reverse=True))):
            if version.n not in self.names and (document := await self.store.document(str(version))) is not None:
                segments = segments_of(document, self.store.keys.version(str(version)))
                self.names[version.n] = dict(enumerate(segments.names))


# ---- what was found, beside what must be -----------------------------------------------------------------------------
def table(
    names: list[str],
    upto: int,
    packed: Sequence[bytes | None],
    hashes: Sequence[Sequence[bytes | None]],
    sets: dict[str, Sequence[float | None]],
) -> pd.DataFrame:
    """A line a customer: figures of the state, texts of the hash, which sets it is in and with what value."""
    rows = _rows(packed)
    found = pd.DataFrame({name: rows[name] for name in (*COMPARED, *STATED, "version")}, index=names)
    found["upto"] = np.maximum(rows["seen"], upto)
    found["state"] = [state is not None for state in packed]
    found["hash"] = [any(text is not None for text in mine) for mine in hashes]
    for name, texts in zip(SHOWN, zip(*hashes, strict=True), strict=True):
        found[f"hash: {name}"] = [(text or b"").decode(errors="replace") for text in texts]
    values = [{each: sets[each][i] for each in sets if sets[each][i] is not None} for i in range(len(names))]
    found["sets"] = [", ".join(mine) or "none" for mine in values]
    found["set"] = [Keys.members_of(segment) for segment in rows["segment"].tolist()]
    own = zip(found["set"], values, strict=True)
    found["value"] = [f"{mine[each]:.2f}" if each in mine else "" for each, mine in own]
    return found


def _rows(packed: Sequence[bytes | None]) -> Any:
    """The states as rows; blank where there is none, or one of no form that is known."""
    try:
        (blank,) = packed_rows(np.array([BLANK]))
        return load_rows([blank if state is None else state for state in packed])
    except UnknownForm:
        half = len(packed) // 2
        return joined([_rows(packed[:half]), _rows(packed[half:])]) if half else _rows([None])


def differences(found: pd.DataFrame, counted: pd.DataFrame | None, names: Names) -> list[Difference]:
    """Customers of the recount have a state, a hash and a place in one segment set, nobody else has any of them; the
    state has the figures of the recount, the hash those of both, the set the value of the hash or one near it.

    counted: None where it is not known; then what stands in Redis must agree with itself.
    """
    state, shown = found["state"], found["hash"]
    real = state if counted is None else pd.Series(found.index.isin(counted.index), index=found.index)
    wrong = [
        *_unequal("state", found.index, _there(state), _there(real)),
        *_unequal("hash", found.index, _there(shown), _there(real)),
        *_unequal("segment sets", found.index, found["sets"], found["set"].where(state, "none")),
    ]
    held, read, scored = found[state & real], found[shown & real], found[state & shown]
    figures = held if counted is None else counted
    for name in COMPARED:
        wrong += _unequal(f"state: {name}", held.index, held[name].tolist(), figures.loc[held.index, name].tolist())
    for name, texts in _recounted(figures.loc[read.index]).items():
        wrong += _unequal(f"hash: {name}", read.index, read[f"hash: {name}"], texts)
    for name, texts in _served(scored, names).items():
        wrong += _unequal(f"hash: {name}", scored.index, scored[f"hash: {name}"], texts)
    worth = map(_together, read["hash: spend"], read["hash: customer_value"])
    wrong += _unequal("hash: total_value", read.index, read["hash: total_value"], worth)
    placed = scored[scored["value"] != ""]
    near = map(_near, placed["value"], placed["hash: customer_value"])
    return wrong + _unequal("value in its segment set", placed.index, placed["value"], near)


def _unequal(what: str, names: Iterable[str], found: Iterable[Any], must: Iterable[Any]) -> list[Difference]:
    return [(name, what, a, b) for name, a, b in zip(names, found, must, strict=True) if a != b]


def _there(mask: Iterable[bool]) -> list[str]:
    return ["present" if there else "absent" for there in mask]


def _recounted(counted: pd.DataFrame) -> dict[str, list[str]]:
    """What the hash must say by the recount."""
    spend, orders = counted["spend"].tolist(), counted["orders"].tolist()
    texts = {
        "orders": [str(n) for n in orders],
        "spend": [_money(Fraction(n, 10_000)) for n in spend],
        "average_order_value": [_money(Fraction(n, 10_000 * by)) for n, by in zip(spend, orders, strict=True)],
    }
    for name, figure in DATES.items():
        moments = (EPOCH + timedelta(seconds=t // 1_000_000) for t in counted[figure].tolist())
        texts[name] = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in moments]
    return texts


def _money(amount: Fraction) -> str:
    """With 2 decimals, half-even, and no -0.00.

    >>> _money(Fraction(-1, 800)), _money(Fraction(1, 8))
    ('0.00', '0.12')
    """
    return f"{Decimal(round(amount * 100)).scaleb(-2) + 0:.2f}"


def _together(spend: str, value: str) -> str:
    """The sum of two texts of money; empty where one of them is none."""
    try:
        return f"{Decimal(spend) + Decimal(value):f}"
    except (InvalidOperation, TypeError):
        return ""


def _near(ranked: str, value: str) -> str:
    """The score that is right for this value: the one that stands, if it is near, else the value.

    >>> _near("101.00", "100.00"), _near("101.01", "100.00"), _near("inf", "100.00"), _near("101.00", "?")
    ('101.00', '100.00', '100.00', '?')
    """
    try:
        near = abs(Decimal(value) - Decimal(ranked)) * NEAR <= Decimal(value)
    except InvalidOperation:  # of what is no number
        near = False
    return ranked if near else value


def _served(scored: pd.DataFrame, names: Names) -> dict[str, list[str]]:
    """What the hash must say by the state: segment, the one before it, cluster and model."""
    columns = (*STATED, "version", "hash: segment", "hash: previous_segment", "hash: model_version")
    said = []
    for now, before, since, cluster, number, *texts in zip(*(scored[name].tolist() for name in columns), strict=True):
        version, publish = _version(texts[-1]), Version.publish_of(number)
        called = texts[:2]
        if publish in names:  # else no model of it is kept
            called = [names[publish].get(each, "") for each in (now, before)]
        model = texts[-1] if version is not None and version.number == number else f"one of number {number}"
        said.append((*called, str(now), dates(np.array([since]))[0], str(cluster), model))
    served = ("segment", "previous_segment", "segment_id", "segment_since", "cluster", "model_version")
    return dict(zip(served, map(list, zip(*said, strict=True)), strict=True)) if said else {}


def _version(text: str) -> Version | None:
    try:
        return Version.parse(text)
    except ArtefactError:
        return None


def _printable(name: str) -> str:
    """The name with escapes for bytes that are not UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
