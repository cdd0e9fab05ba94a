"""`replay`: the events of a file go through the topic as if they happened now, a day at a time.

The rule: records carry occurred_at as their timestamp; a grace after every midnight each partition gets a tick, and the
replay waits until the model of that day stands. So every prediction that was served can be computed again.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from decimal import Decimal

import numpy as np
import pandas as pd

from models.events import encode_event, encode_tick
from models.kinds import TRADED, WORD_OF
from models.rows import DAY
from streams import kafka
from streams.customer import erasures
from streams.deployment import Deployment
from streams.refusal import Refusal
from streams.rejects import Outgoing
from streams.settings import Settings
from streams.store import Store

PATIENCE = 120.0  # seconds without a new model


class ReplayError(Refusal):
    """The replay cannot go on."""


def records(frame: pd.DataFrame) -> Iterator[tuple[bytes, bytes, int]]:
    """(key, value, timestamp in ms) of each event; an amount is sent as quantity 1 at that price."""
    columns = ("event_id", "kind", "customer_id", "occurred_at", "order_id", "product_id", "amount")
    for event_id, kind, customer, t, order, product, amount in zip(*(frame[c].tolist() for c in columns), strict=True):
        money = kind in TRADED
        value = encode_event(
            event_id,
            WORD_OF[kind],
            customer,
            t,
            order,
            product if isinstance(product, str) else None,
            1 if money else None,
            Decimal(abs(amount)).scaleb(-4) if money else None,
        )
        yield customer.encode(), value, t // 1000


async def replay(
    store: Store, settings: Settings, frame: pd.DataFrame, free: bool, progress: Callable[[int, str], None]
) -> tuple[int, int, list[str]]:
    """Sends the events of a cleaned history from the cut-off on; returns how many it sent, how many not, for their
    customers were erased, and who was erased meanwhile: of theirs some may stand behind the tombstone. `free`: does not
    wait for models."""
    deployment = await store.deployment()
    partitions, cut_off = deployment.partitions, deployment.cut_off
    frame = frame[frame["occurred_at"] >= cut_off * DAY].sort_values("occurred_at", kind="stable")
    if not len(frame):
        raise ReplayError("the file holds no event from the cut-off on: nothing to replay")
    gone, all_ = await _erased(store, settings, deployment), len(frame)
    frame = frame[~_of(gone, deployment, frame["customer_id"])]
    if not len(frame):
        return 0, all_, []
    sender, sent = kafka.producer(settings, deployment.partitioner), 0
    days = frame["occurred_at"].to_numpy() // DAY
    last = int(days[-1]) + 1
    edges = np.searchsorted(days, np.arange(cut_off, last + 1))
    for day, start, end in zip(range(cut_off, last), edges, edges[1:], strict=False):
        # Who was erased since it began: what a worker has passed, for the log is long to be read each day.
        passed = {hashed for p in range(partitions) for hashed in await store.erased(p)}
        part = frame.iloc[start:end]
        part = part[~_of(passed - gone, deployment, part["customer_id"])]
        topic, at = settings.events_topic, (day + 1) * DAY + deployment.grace * 1_000_000
        kafka.append(sender, (Outgoing(topic, key, value, timestamp=t) for key, value, t in records(part)))
        sent += len(part)
        if at <= time.time_ns() // 1000:  # else the day is open still, and closes when the log comes to its end
            # Ticks stand behind the day's events: they are sent once those stand.
            kafka.append(sender, (Outgoing(topic, None, encode_tick(at), (), p, at // 1000) for p in range(partitions)))
            if not free:
                await _learned(store, day + 1)
        progress(int(end - start), f"day {np.datetime64(day, 'D')}")
    names = frame["customer_id"]
    meanwhile = names[_of(await _erased(store, settings, deployment) - gone, deployment, names)]
    return sent, all_ - sent, sorted(meanwhile.unique())


async def _erased(store: Store, settings: Settings, deployment: Deployment) -> set[str]:
    """Keyed hashes of who was erased."""
    return {hashed for each in await erasures(store, settings, deployment) for hashed in each}


def _of(gone: set[str], deployment: Deployment, names: "pd.Series[str]") -> "pd.Series[bool]":
    """Mask (n,): whose customer is one of these; nothing read from a file brings anybody back."""
    return names.isin([name for name in names.unique() if deployment.erasure(name) in gone] if gone else [])


async def _learned(store: Store, day: int) -> None:
    """Waits until the model of `day` stands."""
    until = time.monotonic() + PATIENCE
    while True:
        stored = await store.model()
        if not stored:
            raise ReplayError(f"{store.keys.model} is gone: restore Redis, or publish anew")
        if int(stored["day"]) >= day:
            return
        if time.monotonic() > until:
            raise ReplayError(f"no model of {np.datetime64(day, 'D')} in {PATIENCE:.0f} s: are workers up?")
        await asyncio.sleep(0.01)
