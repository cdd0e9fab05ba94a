"""What the API knows beside a customer's hash: how fresh each partition is, what serves, how its bounds held.

The rule: it is asked once a second, never in a request's way, and thrown away where Redis has not answered for a while:
then whoever asks is told why, and not what was so before.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from streams.crm import problems
from streams.crm.problems import NOT_READY, Problem
from streams.deployment import Deployment
from streams.freshness import LATE, Freshness, lag, stale
from streams.refusal import Refusal
from streams.store import Store

if TYPE_CHECKING:
    from models.truth import Truth

EVERY = 1.0  # seconds between two looks
PATIENCE = 5.0  # seconds after which one says nothing any more
JUDGED = 60.0  # seconds between two looks into the ledger, at least
WINDOW = 90  # days
LEARN = ("ridge", "cadence")  # the experts that do (models/mix.py)
Served = Literal["learned", "baseline", "cold start"]
LOG = logging.getLogger("streams.api")
_text = msgspec.json.encode


class Model(msgspec.Struct, frozen=True):
    """served: what says the demand; coverage: share of the bounds of the last WINDOW days that held."""

    served: Served | None = None
    coverage: float | None = None


@dataclass(frozen=True)
class Look:
    """taken: by this process's steady clock; at: seconds since the epoch by Redis's; fresh, lags, why: of each
    partition how fresh it is, how far behind, if that is known, and why it is not fresh; tails: what of it stands in
    each of its customers' records, as members of a JSON object; model: what is told of it.
    """

    taken: float
    at: int
    deployment: Deployment
    fresh: Sequence[Freshness | None]
    lags: Sequence[float | None]
    why: Sequence[str | None]
    tails: Sequence[bytes]
    model: Model

    @property
    def whole(self) -> dict[str, Any]:
        """as_of, lag_seconds and stale of all partitions: those of the one furthest behind; None: of one not known."""
        known = [each for each in self.fresh if each is not None]
        lags = [each for each in self.lags if each is not None]
        return {
            "as_of": min(each.fields[0] for each in known) if len(known) == len(self.fresh) else None,
            "lag_seconds": round(max(lags), 1) if len(lags) == len(self.lags) else None,
            "stale": next(filter(None, self.why), None),
        }


class Looks:
    """late: seconds behind the log from which on scores are called stale."""

    def __init__(self, store: Store, late: float = LATE) -> None:
        self.store, self.late = store, late
        self._look: Look | None = None
        self._why: Problem | None = None
        self._model, self._judged, self._version = Model(), -JUDGED, ""

    @property
    def now(self) -> Look:
        """The last one. Raises Problem where that was too long ago."""
        look = self._look
        if look is None or time.monotonic() - look.taken > PATIENCE:
            raise self._why or Problem(NOT_READY, "Redis was not asked yet")
        return look

    async def go_on(self) -> None:
        """Looks each second until it is cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(EVERY)

    async def once(self) -> None:
        """Looks; what went wrong is what `now` raises, once the last look is too old."""
        try:
            self._look = await self._taken()
            self._why = None
        except Exception as error:  # also a fault of ours: the loop goes on, and requests are told
            self._why = problems.of(error)
            if isinstance(error, Refusal):
                self._look = None  # it is not the deployment any more

    async def _taken(self) -> Look:
        began, keys = time.monotonic(), self.store.keys
        deployment = await self.store.deployment()
        async with self.store.redis.pipeline(transaction=False) as pipe:
            pipe.time().hget(keys.model, "version")
            for p in range(deployment.partitions):
                pipe.hgetall(keys.freshness(p))
            (now, _), version, *found = await pipe.execute()
        fresh = [Freshness.read(p, _texts(told)) for p, told in enumerate(found)]
        lags = [lag(each, now) for each in fresh]
        why = [stale(p, each, now, self.late) for p, each in enumerate(fresh)]
        await self._judge(deployment, (version or b"").decode())
        tails = [_tail(*each, self._model) for each in zip(fresh, lags, why, strict=True)]
        return Look(began, now, deployment, fresh, lags, why, tails, self._model)

    async def _judge(self, deployment: Deployment, version: str) -> None:
        """Reads what only another model changes."""
        if version == self._version or time.monotonic() - self._judged < JUDGED:
            return
        from streams import truth  # numpy comes with it

        try:
            told = await truth.found(self.store, deployment, [WINDOW])
        except Refusal as error:
            LOG.error("%s", error)
            self._model = Model()
        else:
            self._model = Model(served_by(told), told.windows[0].held["all"])
        self._version, self._judged = version, time.monotonic()  # not where Redis was away: the next look tries again


def served_by(told: "Truth") -> Served:
    """What says the demand that is served."""
    return _served(told.examples, {name: each.weight for name, each in told.experts.get("demand", {}).items()})


def _served(examples: int, weights: Mapping[str, float]) -> Served:
    """examples: that were learned; weights: by expert.

    >>> _served(0, {}), _served(7, {"r90": 0.6, "ridge": 0.4}), _served(7, {"r90": 0.2, "ridge": 0.5, "cadence": 0.3})
    ('cold start', 'baseline', 'learned')
    """
    if not examples:
        return "cold start"
    return "learned" if sum(weights.get(name, 0.0) for name in LEARN) >= 0.5 else "baseline"


def _tail(fresh: Freshness | None, behind: float | None, why: str | None, model: Model) -> bytes:
    as_of, seconds, _ = fresh.fields if fresh else (None, "", "")
    held = b"null" if behind is None else seconds.encode()
    told = (_text(as_of), held, _text(why), _text(model.coverage), _text(model.served))
    return b'"as_of":%b,"lag_seconds":%b,"stale":%b,"coverage":%b,"served":%b' % told


def _texts(found: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): text.decode(errors="replace") for name, text in found.items()}
