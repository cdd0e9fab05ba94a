"""What stands in the topic of rejects: the record as it came, with headers that say why and where it came from; and
notes, that one was sent to the events topic again.

The rule: a reject always fits. What is larger than the topic takes is cut, and headers say what, how long it was and
which bytes it were; nothing that anybody can send holds a partition up.
"""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

OVERHEAD = 4_096  # bytes of a record beside key and value: headers, and the batch around it
SMALLEST = 16_384  # bytes that a record of the topic must be allowed to have
KEPT = {"key": 1_024, "value": 65_536}  # bytes of what is cut


class Reject(NamedTuple):
    """record: as aiokafka gives it; detail: the field and what is wrong with it, never its content."""

    record: Any
    reason: str
    detail: str


class Outgoing(NamedTuple):
    """A record to be sent; partition -1: whichever; timestamp in ms, 0: now."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int = -1
    timestamp: int = 0


def laid_out(topic: str, origin: tuple[str, int], reject: Reject, limit: int) -> Outgoing:
    """The reject as a record of `topic`, which takes records of at most `limit` bytes; origin: topic and partition."""
    record, key, value = reject.record, reject.record.key, reject.record.value
    said = _said(reject.reason, reject.detail, *origin)
    at = -1 if record.timestamp is None else record.timestamp
    headers = [*said, ("offset", b"%d" % record.offset), ("timestamp", b"%d" % at)]
    if len(key or b"") + len(value or b"") > limit - OVERHEAD:
        key, value, more = _cut(key, value, limit - OVERHEAD)
        headers += more
    return Outgoing(topic, key, value, headers)


@functools.lru_cache(1_000)  # a producer that does something wrong does it again and again
def _said(reason: str, detail: str, topic: str, partition: int) -> list[tuple[str, bytes]]:
    said = {"reason": reason, "detail": detail, "topic": topic, "partition": str(partition)}
    return [(name, text.encode()) for name, text in said.items()]


class Held(NamedTuple):
    """A reject as its topic holds it; a record of before there were such headers has no detail and no timestamp.

    origin: partition and offset of the record in `topic`; timestamp: its own, in ms, -1 if it had none; rejected_at:
    when it came to stand here, in ms; size: bytes of its value as it came; cut: which of key and value are not whole.
    """

    topic: str
    origin: tuple[int, int]
    reason: str
    detail: str
    timestamp: int | None
    rejected_at: int
    size: int
    cut: str
    key: bytes | None
    value: bytes | None


class Replayed(NamedTuple):
    """That the record which came from there was sent again."""

    origin: tuple[int, int]


def note(topic: str, held: Held) -> Outgoing:
    """The note that a reject was sent again, as a record of `topic`, where rejects stand."""
    partition, offset = held.origin
    place = [("topic", held.topic.encode()), ("partition", b"%d" % partition), ("offset", b"%d" % offset)]
    return Outgoing(topic, None, None, [("replayed", b"yes"), *place])


def read(headers: Mapping[str, Any], key: bytes | None, value: bytes | None, at: int) -> Held | Replayed | None:
    """What a record of the topic of rejects says; None: it is of somebody else. at: its timestamp, in ms.

    >>> place = {"topic": b"crm.events", "partition": b"3", "offset": b"7"}
    >>> read({"replayed": b"yes", **place}, None, None, 0)
    Replayed(origin=(3, 7))
    >>> read({"reason": b"not_json", **place}, b"c1", b"{", 99)[1:7]
    ((3, 7), 'not_json', '', None, 99, 1)
    >>> read({"reason": b"not_json", "offset": b"x"}, None, None, 0)
    """
    said = {name: (text or b"").decode(errors="replace") for name, text in headers.items()}
    try:
        origin = int(said["partition"]), int(said["offset"])
        if "replayed" in said:
            return Replayed(origin)
        return Held(
            said["topic"],
            origin,
            said["reason"],
            said.get("detail", ""),
            int(said["timestamp"]) if "timestamp" in said else None,
            at,
            int(said.get("value_size", len(value or b""))),
            said.get("cut", ""),
            key,
            value,
        )
    except (KeyError, ValueError):
        return None


def _cut(
    key: bytes | None, value: bytes | None, room: int
) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]:
    """Key and value so that both fit into `room` bytes, and the headers that say which were cut."""
    kept = {"key": min(KEPT["key"], room // 4), "value": min(KEPT["value"], room // 2)}
    held = {"key": key, "value": value}
    long = {name: part for name, part in held.items() if part is not None and len(part) > kept[name]}
    headers = [("cut", ",".join(long).encode())]
    for name, part in long.items():
        sha256 = hashlib.sha256(part).hexdigest().encode()
        headers += [(f"{name}_size", b"%d" % len(part)), (f"{name}_sha256", sha256)]
        held[name] = part[: kept[name]]
    return held["key"], held["value"], headers
