"""`replay`: the events of a file go through the topic as if they happened now, a day at a time.

The rule: records carry occurred_at as their timestamp; a grace after every midnight each partition gets a tick, and the
replay waits until the model of that day stands. So every prediction that was served can be computed again.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from confluent_kafka import Producer

from models.customers import DAY
from models.events import CART, PURCHASE, RETURN, VIEW, encode_event, encode_tick
from streams import kafka
from streams.settings import Settings
from streams.store import Store

NAMES = {PURCHASE: "purchase", RETURN: "return", VIEW: "view", CART: "cart"}
PATIENCE = 120.0  # seconds without a new model


class ReplayError(RuntimeError):
    """The replay cannot go on; one line says why."""


def read(path: Path) -> pd.DataFrame:
    """A cleaned history (the Parquet file that `offline fit` writes), in event-time order."""
    wanted = {"event_id", "kind", "customer_id", "occurred_at", "order_id", "product_id", "amount"}
    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
    except (OSError, ValueError) as error:
        raise ReplayError(f"{path}: {error}") from None
    if not wanted <= set(frame.columns):
        raise ReplayError(f"{path}: lacks {', '.join(sorted(wanted - set(frame.columns)))}: give a history.parquet")
    return frame.sort_values("occurred_at", kind="stable")


def records(frame: pd.DataFrame) -> Iterator[tuple[bytes, bytes, int]]:
    """(key, value, timestamp in ms) of each event; an amount is sent as quantity 1 at that price."""
    columns = ("event_id", "kind", "customer_id", "occurred_at", "order_id", "product_id", "amount")
    for event_id, kind, customer, t, order, product, amount in zip(*(frame[c].tolist() for c in columns), strict=True):
        money = kind in (PURCHASE, RETURN)
        value = encode_event(
            event_id,
            NAMES[kind],
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
) -> int:
    """Sends the frame's events from the cut-off on; returns how many. `free`: does not wait for models."""
    meta = await store.meta()
    if not meta:
        raise ReplayError(f"{store.keys.meta} is missing: run `python -m streams publish DIR` first")
    partitions, cut_off = int(meta["partitions"]), int(meta["cut_off"])
    frame = frame[frame["occurred_at"] >= cut_off * DAY]
    if not len(frame):
        raise ReplayError("the file holds no event from the cut-off on: nothing to replay")
    sender = kafka.producer(settings, meta["partitioner"])
    days = frame["occurred_at"].to_numpy() // DAY
    last = int(days[-1]) + 1
    edges = np.searchsorted(days, np.arange(cut_off, last + 1))
    for day, start, end in zip(range(cut_off, last), edges, edges[1:], strict=False):
        for key, value, timestamp in records(frame.iloc[start:end]):
            sender.produce(settings.events_topic, value, key, timestamp=timestamp)
        await _tick(sender, settings, partitions, (day + 1) * DAY + settings.grace * 1_000_000)
        if not free:
            await _learned(store, day + 1)
        progress(int(end - start), f"day {np.datetime64(day, 'D')}")
    return len(frame)


async def _tick(sender: Producer, settings: Settings, partitions: int, at: int) -> None:
    sender.flush()  # the tick must stand behind the day's events
    for p in range(partitions):
        sender.produce(settings.events_topic, encode_tick(at), partition=p, timestamp=at // 1000)
    sender.flush()


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
            raise ReplayError(
                f"no model of {np.datetime64(day, 'D')} in {PATIENCE:.0f} s: are workers up, with the same CRM_GRACE?"
            )
        await asyncio.sleep(0.01)
