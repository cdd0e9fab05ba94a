"""The feed without a connection: who is new, moved or was erased, behind a cursor, with no entry lost unnoticed.

The rule: numbers of a partition follow one another. Where one is missing, or the last one given (`feed` of
`crm:freshness:<p>`) is not the last one seen, entries are gone or nobody announced them, and Gap says so. So whoever
takes a cursor, copies everybody and then follows from the cursor has the members that Redis has.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Literal, NamedTuple, Self, get_args

from streams.crm.reads import Command, Reads, Steps, pairs

NOTHING = "0-0"  # the id before all others
Type = Literal["new", "moved", "erased", "model"]
TYPES: tuple[str, ...] = get_args(Type)
PAGE = 1_000  # entries of a stream, or members of a set, asked for at a time
Entry = tuple[str, Mapping[str, str]]  # as XRANGE tells it


class Gap(Exception):
    """Entries after the cursor are gone or were never announced: copy everybody anew, from a new cursor on."""


class CursorError(ValueError):
    """What is no cursor of this deployment."""


class Place(NamedTuple):
    """Behind this entry of a partition's stream. id: the stream's, "0-0" for none; n: the number given last."""

    id: str
    n: int


def _cursor(life: str, places: Sequence[Place]) -> str:
    """A place a partition, behind what tells the deployment from others: a text without blanks.

    >>> _cursor("3f2a91bc", [Place("1764-0", 7), Place("0-0", 0)])
    '3f2a91bc.1764-0:7,0-0:0'
    """
    return f"{life}.{','.join(f'{id}:{n}' for id, n in places)}"


def _read(cursor: str) -> tuple[str, list[Place]]:
    """What `_cursor` said. Raises CursorError.

    >>> _read("3f2a91bc.1764-0:7,0-0:0")
    ('3f2a91bc', [Place(id='1764-0', n=7), Place(id='0-0', n=0)])
    """
    life, dot, places = cursor.partition(".")
    found = [re.fullmatch(r"(\d{1,19}-\d{1,19}):(\d{1,18})", each, re.ASCII) for each in places.split(",")]
    if not (dot and re.fullmatch("[0-9a-f]{0,8}", life) and all(found)):
        raise CursorError(f"{cursor[:60]!r} is no cursor: take one that an answer gave")
    return life, [Place(each[1], int(each[2])) for each in found if each]


@dataclass(frozen=True)
class Change:
    """An entry of the feed. number: in its partition. customer_id, segments: None where the type has none;
    model_version: of `model`, the one from here on. at: event time, None of an erasure without one.
    """

    partition: int
    number: int
    type: Type
    customer_id: str | None
    from_segment: int | None
    to_segment: int | None
    model_version: str | None
    at: datetime | None
    source: str | None

    @classmethod
    def read(cls, partition: int, fields: Mapping[str, str]) -> Self:
        """From the fields of an entry with a number. Raises KeyError or ValueError for what is none."""
        type_, came = fields["type"], fields["from"]
        if type_ not in TYPES:
            raise ValueError(f"type {type_!r}")
        model, gone = type_ == "model", type_ == "erased"
        return cls(
            partition=partition,
            number=int(fields["n"]),
            type=type_,  # type: ignore[arg-type]  # one of TYPES
            customer_id=None if model else fields["customer"],
            from_segment=None if model or not came else int(came),
            to_segment=None if model or gone else int(fields["to"]),
            model_version=fields["to"] if model else None,
            at=datetime.fromisoformat(fields["at"]) if fields["at"] else None,
            source=fields["source"] or None,
        )


@dataclass(frozen=True)
class Changes:
    """Entries of the feed, those of a partition in their order. cursor: behind the last of them, a text; whole: nothing
    more stood there.
    """

    entries: list[Change]
    cursor: str
    whole: bool


class Feed:
    """Of one deployment."""

    def __init__(self, reads: Reads) -> None:
        self.reads, self.keys = reads, reads.keys

    def changes(self, after: str | None, limit: int) -> Steps[Changes]:
        """The entries behind this cursor, `limit` at most, by when they came; None: none, and the cursor of now.

        Raises Gap, and CursorError for what is no cursor of this deployment.
        """
        count = yield from self.reads.located()
        if after is None:
            return Changes([], _cursor(self.reads.life, (yield from self._now(count))), True)
        life, places = _read(after)
        if life != self.reads.life:
            raise Gap("the deployment was published anew")
        if len(places) != count:
            raise CursorError(f"the cursor is of {len(places)} partitions, and there are {count}")
        # What was given last is asked for first: what is announced in between is no gap.
        found = yield [
            command
            for p, place in enumerate(places)
            for command in (self._given(p), ("XRANGE", self.keys.changes(p), f"({place.id}", "+", "COUNT", limit))
        ]
        entries = []
        for p, place in enumerate(places):
            _check(p, place, found[2 * p], found[2 * p + 1], limit)
            entries += [(_moment(id_), p, id_, fields) for id_, fields in found[2 * p + 1]]
        entries.sort(key=itemgetter(0, 1))
        for *_, p, id_, fields in entries[:limit]:
            places[p] = Place(id_, int(fields["n"]))
        told = [Change.read(p, fields) for *_, p, _, fields in entries[:limit]]
        return Changes(told, _cursor(life, places), len(entries) < limit)

    def given(self) -> Steps[list[int]]:
        """The number that was given last, of each partition."""
        count = yield from self.reads.located()
        found = yield [self._given(p) for p in range(count)]
        return [int(n or 0) for n, _ in found]

    @staticmethod
    def numbers(cursor: str) -> list[int]:
        """The same as a cursor has them: where they are more, something stands behind it."""
        return [place.n for place in _read(cursor)[1]]

    def _now(self, count: int) -> Steps[list[Place]]:
        """Behind all that was announced, also by a program of before, whose entries have no number."""
        places: dict[int, Place] = {}
        while asked := [p for p in range(count) if p not in places]:
            answers = yield [command for p in asked for command in (self._given(p), self._last(p), self._given(p))]
            for p, before, last, after in zip(asked, answers[::3], answers[1::3], answers[2::3], strict=True):
                if before == after:  # else one was announced in between
                    ends = [before[1] or NOTHING, *(id_ for id_, _ in last)]
                    places[p] = Place(max(ends, key=_moment), int(before[0] or 0))
        return [places[p] for p in range(count)]

    def _last(self, partition: int) -> Command:
        return "XREVRANGE", self.keys.changes(partition), "+", "-", "COUNT", 1

    def _given(self, partition: int) -> Command:
        """The number that was given last, and the id of the last entry that has one, at one moment."""
        return "HMGET", self.keys.freshness(partition), "feed", "feed_id"

    def names(self, partition: int) -> Steps[list[str]]:
        """Everybody of a partition by id, as of the end of the read: of who moves meanwhile the feed tells."""
        while True:
            told: Changes = yield from self.changes(None, PAGE)
            found = yield from self._members(partition)
            try:
                while True:
                    told = yield from self.changes(told.cursor, PAGE)
                    for change in told.entries:
                        if change.partition == partition and change.customer_id is not None:
                            (found.discard if change.type == "erased" else found.add)(change.customer_id)
                    if told.whole:
                        return sorted(found)
            except Gap:
                continue

    def _members(self, partition: int) -> Steps[set[str]]:
        """Who stood in a segment's set at the begin and the end of the read, and some of the others."""
        (numbers,) = yield [("HKEYS", self.keys.segments)]
        scans: dict[str, int] = {self.keys.set(self.keys.members_of(int(n)), partition): 0 for n in numbers}
        found: set[str] = set()
        while scans:
            answers = yield [("ZSCAN", key, cursor, "COUNT", PAGE) for key, cursor in scans.items()]
            told = dict(zip(scans, answers, strict=True))
            found.update(name for _, members in answers for name, _ in pairs(members))
            scans = {key: int(cursor) for key, (cursor, _) in told.items() if int(cursor)}
        return found


def _check(
    partition: int, place: Place, given: tuple[str | None, str | None], entries: Sequence[Entry], limit: int
) -> None:
    """Raises Gap where the entries are not all that came behind the place, or are not all `limit` of them.

    given: what was given last, number and id, as of before the entries were read.
    """
    last, end = place.n, int(given[0] or 0)
    for id_, fields in entries:
        if fields.get("n") != str(last + 1):
            raise Gap(f"partition {partition}: behind number {last} comes {fields.get('n', 'none')} ({id_})")
        last += 1
    # Of the same number may be another entry, which is gone: that of a Redis that came back older and went on.
    other = not entries and (last > end or _moment(given[1] or NOTHING) > _moment(place.id))
    if other or (last < end and len(entries) < limit):
        raise Gap(f"partition {partition}: behind number {last} nothing stands, and {end} was given last")


def _moment(id_: str) -> tuple[int, ...]:
    """Of an entry: ids are ordered by it.

    >>> max(["9-0", "10-2", "10-1"], key=_moment)
    '10-2'
    """
    return tuple(map(int, id_.split("-")))
