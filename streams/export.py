"""`export`: all that is held on one customer, as values that a person can read.

The rule: a field of a state or an example is told under its own name, whatever form it has; here stand the units alone.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from confluent_kafka import Message

from models.events import EPOCH
from models.rows import DAY, NEVER, NONE, RINGS, load_examples, load_rows
from streams import rejected
from streams.customer import Customer, in_log
from streams.kafka import Topic
from streams.rejects import Held
from streams.settings import Settings

TIMES, DATES = ("first", "last", "at"), ("due", "day")
MONEY = ("spend", "returned", "window", "today", "peak", "label")
DECAYED = {"s30": 30, "s90": 90, "n30": 30, "n90": 90, "v7": 7, "c7": 7}  # days to the half
OF_MONEY = ("s30", "s90")
Told = dict[str, Any]


async def export(settings: Settings, topic: Topic, customer: Customer, log: bool, progress: Callable[[], None]) -> Told:
    """What Redis and the topic of rejects hold, and with `log` the events; a part is empty where there is nothing."""
    row, examples = await customer.state(), await customer.examples()
    erased = await customer.erased()
    told: Told = {
        "customer_id": customer.id,
        "erased": erased and {"offset": erased[0], "at": erased[1] and rejected.moment(erased[1])},
        "hash": await customer.hash(),
        "state": row and state(load_rows([row])[0]),
        "segment_sets": [{"set": each, "score": score} for each, score in (await customer.sets()).items()],
        "examples": [fields(example) for example in load_examples(list(examples.values()))],
        "changes": [change for _, change in await customer.changes()],
        "rejected": [_reject(held) for held in rejected.of_customer(settings, customer.id, progress)],
    }
    if log:
        told["events"] = [_event(topic, *found) for found in in_log(settings, topic, customer.id, progress)]
    return told


def _event(topic: Topic, partition: int, record: Message) -> Told:
    return {
        "record": f"{topic.name}:{partition}:{record.offset()}",
        "timestamp": rejected.moment(record.timestamp()[1]),
        "key": _text(record.key()),
        "value": _text(record.value()),
    }


def _reject(held: Held) -> Told:
    return rejected.as_fields(held) | {"key": _text(held.key), "value": _text(held.value)}


def _text(content: bytes | None) -> str | None:
    r"""A record's key or value; bytes that are no text are escaped.

    >>> _text("é".encode()), _text(b"\xff{}"), _text(None)
    ('é', '\\xff{}', None)
    """
    return None if content is None else content.decode(errors="backslashreplace")


# ---- records as they are stored --------------------------------------------------------------------------------------
def state(row: Any) -> Told:
    """A row by field name. Decayed sums as of the day of the last event, for they are kept in a form of their own; the
    halves of an event's id together.
    """
    told, day = fields(row), int(row["at"]) // DAY
    for name in ("traded", "browsed"):
        low, high = (row[half] for half in RINGS[name])
        told |= {
            f"{name}_ids": [f"{h << 32 | n:x}" for n, h in zip(low.tolist(), high.tolist(), strict=True) if n or h]
        }
        del told[f"{name}_low"], told[f"{name}_high"]
    for name, halflife in DECAYED.items():
        worth = float(row[name]) * 2.0 ** -(day % halflife / halflife)
        told[name] = worth / 10_000 if name in OF_MONEY else worth
    return told


def fields(record: Any) -> Told:
    """A record by field name: times and dates as ISO 8601 in UTC, money in the major unit, ids as hashes in hex.

    >>> from models.rows import BLANK
    >>> [fields(BLANK)[name] for name in ("first", "due", "spend", "order_ids", "cluster")]
    [None, None, '0.0000', [], -1]
    """
    return {name: _told(name, record[name]) for name in record.dtype.names}


def _told(name: str, value: Any) -> Any:
    if value.dtype.names:
        return fields(value)
    if value.ndim:
        return [f"{each:x}" if name.endswith("_ids") else each for each in value.tolist() if each]
    number = value.item()
    if name in TIMES:
        return None if number == NONE else f"{EPOCH + timedelta(microseconds=number):%Y-%m-%dT%H:%M:%S.%fZ}"
    if name in DATES:
        return None if number == NEVER else str(np.datetime64(number, "D"))
    if name in OF_MONEY:
        return number / 10_000
    return f"{Decimal(number).scaleb(-4):.4f}" if name in MONEY else number
