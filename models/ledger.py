"""The ledger: truth by day, what was promised of the examples that a day closed beside what came of them.

Rules: a line holds sums and counts alone, so no customer is in it, and lines add up: those of any days together are the
line of all their examples. Ranks do not add up, so examples are counted by steps of an amount, some to each doubling
(models/judge.py); what a rank would tell follows from the steps, but for the order within one.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

SERVED, OWN, ZERO = "served", "own_rate", "zero"  # who says a demand, beside the experts

Ints = NDArray[np.int64]


# What is stored, as it is read again.
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Amount = Annotated[float, Meta(ge=0, le=1e30)]  # sums of it are finite
Share = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(pattern=r"\A[ -~]{0,100}\Z")]  # on a terminal it is what it seems
Name = Annotated[str, Meta(pattern=r"\A[ -~]{1,100}\Z")]
Weights = dict[Name, Annotated[dict[Name, Share], Meta(min_length=1)]]  # by target and expert


class LedgerError(ValueError):
    """A line cannot be read; the text says why, in one line."""


class Steps(msgspec.Struct, frozen=True, omit_defaults=True):
    """Examples by the step of an amount, ascending: its number, how many, what they spent (1/10,000 of the major unit);
    of those of whom a bound was promised, how many stayed up to it and how many did not."""

    at: list[Annotated[int, Meta(ge=-10_000, le=10_000)]]
    n: list[Count]
    spent: list[Count]
    held: list[Count] = []
    broken: list[Count] = []

    def of(self, n: int, bound: bool) -> bool:
        """Are they those of n examples, with a bound or without?"""
        whole = [self.at, self.n, self.spent, *([self.held, self.broken] if bound else [])]
        ascending = all(low < high for low, high in itertools.pairwise(self.at))
        fits = all(len(each) == len(self.at) for each in whole) and (bound or not (self.held or self.broken))
        return ascending and fits and sum(self.n) == n


class Said(msgspec.Struct, frozen=True):
    """Sums over the examples of what was said of each: itself, its distance from what was spent, its Poisson deviance
    (major units); and the examples by its steps."""

    predicted: Amount
    error: Amount
    deviance: Annotated[float, Meta(ge=-1e30, le=1e30)]
    steps: Steps


class Line(msgspec.Struct, frozen=True):
    """n: examples judged; left_out: those that closed too, but had opened without a serving model; spent: major
    units; bought: of n, who ordered; brier: sum of squared errors of p_buy over those of whom it was promised,
    which are those with a bound; labels: the examples by what was spent; said: by who says it; weights: by target and
    expert, as the day left them.
    """

    n: Count
    left_out: Count
    spent: Amount
    bought: Count
    brier: Amount
    labels: Steps
    said: dict[Name, Said]
    weights: Weights

    def wrong(self) -> str | None:
        """What of it does not add up, in words."""
        if SERVED not in self.said:
            return "nothing was served"
        steps = {"labels": self.labels, **{name: said.steps for name, said in self.said.items()}}
        if odd := [name for name, each in steps.items() if not each.of(self.n, name == SERVED)]:
            return f"the steps of {odd[0]} are not those of its {self.n} examples"
        bound = sum(self.said[SERVED].steps.held) + sum(self.said[SERVED].steps.broken)
        if not max(self.bought, bound) <= self.n or self.brier > bound:
            return f"of its {self.n} examples {self.bought} bought, {bound} had a bound, Brier {self.brier}"
        return None


def added(lines: Sequence[Line]) -> Line:
    """The line of all their examples, at least one line; the weights are the last one's. What only some of them say,
    for programs of before knew other experts, is left out."""
    names = [name for name in lines[-1].said if all(name in line.said for line in lines)]
    return Line(
        n=sum(line.n for line in lines),
        left_out=sum(line.left_out for line in lines),
        spent=math.fsum(line.spent for line in lines),
        bought=sum(line.bought for line in lines),
        brier=math.fsum(line.brier for line in lines),
        labels=_together([line.labels for line in lines]),
        said={name: _all_said([line.said[name] for line in lines]) for name in names},
        weights=lines[-1].weights,
    )


def _all_said(parts: Sequence[Said]) -> Said:
    return Said(
        predicted=math.fsum(part.predicted for part in parts),
        error=math.fsum(part.error for part in parts),
        deviance=math.fsum(part.deviance for part in parts),
        steps=_together([part.steps for part in parts]),
    )


def _together(parts: Sequence[Steps]) -> Steps:
    at, place = np.unique(np.concatenate([np.array(part.at, np.int64) for part in parts]), return_inverse=True)
    names = ["n", "spent", *(name for name in ("held", "broken") if any(getattr(part, name) for part in parts))]
    columns = {name: np.concatenate([np.array(getattr(part, name), np.int64) for part in parts]) for name in names}
    return Steps(at.tolist(), **{name: sums(place, each, len(at)) for name, each in columns.items()})


def sums(place: Ints, values: Ints, steps: int) -> list[int]:
    """Of whole numbers (n,) by their place (n,), exactly: floats would lose the last digits of large ones."""
    found = np.zeros(steps, np.int64)
    np.add.at(found, place, values)
    return [*map(int, found)]


def encoded(line: Line) -> bytes:
    """JSON, UTF-8: equal lines give equal bytes."""
    return msgspec.json.encode(line)


def decoded(stored: Mapping[int, bytes]) -> dict[int, Line]:
    """Lines by day. Raises LedgerError, which names the day."""
    found = {}
    for day, line in stored.items():
        try:
            found[day] = msgspec.json.decode(line, type=Line)
            wrong = found[day].wrong()
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            wrong = str(error)
        if wrong:
            raise LedgerError(f"the line of day {day} cannot be read ({wrong})")
    return found
