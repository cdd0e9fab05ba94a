"""The reads of a CRM, without a connection: each yields the commands it needs and is sent their answers.

The rule: how a read works stands here once; readers (reader.py) only carry commands to Redis and answers back, waiting
or awaiting. A read that needs several turns yields several times; the commands of a turn are one pipeline.
"""

import itertools
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from streams.crm.records import ContractError, Customer, Member, Page, Segment
from streams.freshness import LATE, Freshness, lag, stale
from streams.keys import Keys
from streams.partitioner import partitioner

Command = tuple[Any, ...]
T = TypeVar("T")
Steps = Generator[list[Command], list[Any], T]


class Reads:
    """Of one deployment. late: seconds behind the log from which on scores are called stale."""

    def __init__(self, prefix: str, late: float = LATE) -> None:
        self.keys, self.late, self.partitions, self.life = Keys(prefix), late, 0, ""  # until it is asked
        self.told: Mapping[str, str] | None = None
        self.home: Callable[[str], int]

    def located(self) -> Steps[int]:
        """The number of partitions, asked anew: it may be another deployment. ContractError: there is none."""
        (told,) = yield [("HGETALL", self.keys.partitions)]
        self._learn(told)
        return self.partitions

    def _learn(self, told: Mapping[str, str]) -> bool:
        """Whether the deployment is another than the one that was known; from here on it is known. Raises likewise."""
        if told == self.told:
            return False
        try:
            self.partitions, self.life = int(told["partitions"]), told.get("life", "")
            self.home = partitioner(told["partitioner"], self.partitions)
        except (KeyError, ValueError):
            raise ContractError(f"{self.keys.partitions} is missing: publish, or start a worker") from None
        self.told = told
        return True

    def customers(self, ids: Sequence[str]) -> Steps[list[Customer | None]]:
        """The customers of these ids in their order, None for who is not known."""
        if self.told is None:
            yield from self.located()
        while True:
            homes = {each: self.home(each) for each in ids}
            asked = sorted(set(homes.values()))
            commands: list[Command] = [("HGETALL", self.keys.partitions), ("TIME",)]
            commands += [("HGETALL", self.keys.freshness(p)) for p in asked]
            told, now, *answers = yield [*commands, *(("HGETALL", self.keys.customer(each)) for each in ids)]
            if not self._learn(told):  # else their partitions are others
                break
        fresh = {p: Freshness.read(p, found) for p, found in zip(asked, answers, strict=False)}
        how = {p: (found, lag(found, now[0]), stale(p, found, now[0], self.late)) for p, found in fresh.items()}
        hashes = answers[len(asked) :]
        return [
            Customer.read(each, fields, *how[homes[each]]) if fields else None
            for each, fields in zip(ids, hashes, strict=True)
        ]

    def segments(self) -> Steps[list[Segment]]:
        """All segments by number."""
        count = yield from self.located()
        (told,) = yield [("HGETALL", self.keys.segments)]
        texts = {int(number): json.loads(text) for number, text in told.items()}
        numbers = sorted(texts)
        sets = [self.keys.set(self.keys.members_of(n), p) for n in numbers for p in range(count)]
        sizes = yield [("ZCARD", key) for key in sets]
        return [
            Segment(n, **{each: texts[n][each] for each in ("name", "definition", "usual")}, customers=sum(held))
            for n, held in zip(numbers, _parts(sizes, count), strict=True)
        ]

    def members(self, segment: int, limit: int, after: Member | None) -> Steps[Page]:
        """The members behind `after` (None: from the highest value on), `limit` at most, of all partitions."""
        count = yield from self.located()
        sets = [self.keys.set(self.keys.members_of(segment), p) for p in range(count)]
        whole: dict[str, list[Member]] = {}
        while asked := [key for key in sets if key not in whole]:
            starts = [0] * len(asked) if after is None else (yield from self._starts(asked, after))
            # From the one before on, so that it shows whether a set changed since it was looked for: then once more.
            befores = [max(0, start - 1) for start in starts]
            found = yield [
                ("ZRANGE", key, before, before + limit + 1, "REV", "WITHSCORES")
                for key, before in zip(asked, befores, strict=True)
            ]
            for key, before, answer in zip(asked, befores, found, strict=True):
                held = list(map(_member, pairs(answer)))
                rest = [each for each in held if _is_behind(each, after)]
                begins = before == 0 or (held and not _is_behind(held[0], after))
                if begins and (len(rest) > limit or len(held) < limit + 2):
                    whole[key] = rest
        # By value, then by id, both downwards, as each set has them: so a page begins where the one before ended.
        rest = sorted(itertools.chain.from_iterable(whole.values()), key=_order, reverse=True)
        return Page(rest[:limit], rest[limit - 1] if len(rest) > limit else None)

    def _starts(self, sets: Sequence[str], after: Member) -> Steps[list[int]]:
        """The rank of the first one behind `after` in each of these sets, searched for by halves: many may have its
        value."""
        value = repr(after.value)
        counts = yield [
            ("ZCOUNT", key, low, high) for key in sets for low, high in ((f"({value}", "+inf"), (value, value))
        ]
        low, high = counts[::2], [more + same for more, same in zip(counts[::2], counts[1::2], strict=True)]
        while asked := [i for i in range(len(sets)) if low[i] < high[i]]:
            middle = {i: (low[i] + high[i]) // 2 for i in asked}
            found = yield [("ZRANGE", sets[i], rank, rank, "REV", "WITHSCORES") for i, rank in middle.items()]
            for (i, rank), answer in zip(middle.items(), found, strict=True):
                if not answer or _is_behind(_member(pairs(answer)[0]), after):
                    high[i] = rank
                else:
                    low[i] = rank + 1
        return low


def _parts(sizes: Sequence[int], count: int) -> Iterator[Sequence[int]]:
    """So many at a time."""
    return (sizes[start : start + count] for start in range(0, len(sizes), count))


def _order(member: Member) -> tuple[float, str]:
    return member.value, member.customer_id


def _is_behind(member: Member, after: Member | None) -> bool:
    return after is None or _order(member) < _order(after)


def _member(pair: tuple[str, Any]) -> Member:
    return Member(pair[0], float(pair[1]))


def pairs(answer: Sequence[Any]) -> list[tuple[str, Any]]:
    """(member, score) of an answer WITHSCORES: one behind the other, or in pairs (RESP3)."""
    flat = answer if not answer or isinstance(answer[0], str) else [each for pair in answer for each in pair]
    return list(zip(flat[::2], flat[1::2], strict=True))
