"""What the ledger says: how good the served demand was lately, beside the experts and what needs no learning.

`streams model --json` writes a `Truth`, `offline report --truth` reads it. Rule: whatever the examples leave undefined
(none closed, nothing was spent, fewer than one in the top share) is None, never a guess. What is read keeps what the
records promise, or is refused: who shows it need not ask again.
"""

import itertools
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Self

import msgspec
import numpy as np
from msgspec import Meta

from models.ledger import SERVED, Amount, Count, Line, Name, Said, Share, Steps, Text, Weights, added

FORM = 1  # of the document
WINDOWS = (30, 90)  # days
SHARES = {"all": 1.0, "top_5": 0.05, "top_1": 0.01}  # of the examples, by what was predicted for them
_NO_STEPS = Steps([], [], [])
NONE = Line(0, 0, 0, 0, 0.0, _NO_STEPS, {SERVED: Said(0.0, 0.0, 0.0, _NO_STEPS)}, {})
DAYS = 1 << 16  # since the epoch: as many as a version can name (models/artefact.py)
Day = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]


class TruthError(ValueError):
    """It cannot be read; the text says why, in one line."""


class Figures(msgspec.Struct, frozen=True):
    """mae and deviance (mean Poisson deviance) in major units; ngini: 1 where the predictions rank as what was spent
    does, 0 at random; bias: predicted / spent."""

    ngini: float | None
    mae: Amount | None
    deviance: Amount | None
    bias: Amount | None


class Window(msgspec.Struct, frozen=True):
    """first, last: its days (ISO); learned: how many of them have a line; n: examples judged, mean: what each spent,
    major units, bought: share that ordered, left_out: opened without a serving model. demand: by who says it; held:
    share of examples up to their bound, of those with the highest predictions (SHARES); brier: of p_buy.
    """

    days: Annotated[int, Meta(ge=1, le=DAYS)]
    first: Day
    last: Day
    learned: Count
    n: Count
    left_out: Count
    mean: Amount | None
    bought: Share | None
    demand: dict[Name, Figures]
    held: dict[str, Share | None]
    brier: Share | None

    def wrong(self) -> str | None:
        """What of it does not hold together, in words."""
        if date.fromisoformat(self.last).toordinal() - date.fromisoformat(self.first).toordinal() + 1 != self.days:
            return f"its {self.days} days are not those from {self.first} to {self.last}"
        if self.learned > self.days:
            return f"of its {self.days} days {self.learned} have a line"
        needed = [self.mean, self.bought, *(of for each in self.demand.values() for of in (each.mae, each.deviance))]
        if SERVED not in self.demand or self.held.keys() != SHARES.keys() or (self.n and None in needed):
            return f"its {self.days} days are not whole"
        return None


class Standing(msgspec.Struct, frozen=True):
    """Of an expert: its weight now, and the last stretch of days (ISO, both in it) in which no other had more; None: it
    never had the most alone."""

    weight: Share
    led: tuple[Day, Day] | None


class Truth(msgspec.Struct, frozen=True):
    """serving: the model's version; learned_through, begins: days (ISO), the last one and the ledger's first (None: it
    is empty); horizon_days: of a demand; fit: the figures that the fit left; versions: how many are kept, from oldest
    on; experts: by target and name; since: the day that was learned last when the publish that serves came (None: not
    known); first: the day whose examples were the first that were learned (None: a fit learned from some before).
    """

    form: int
    serving: Name
    learned_through: Day
    horizon_days: Annotated[int, Meta(ge=1, le=255)]
    examples: Count
    fit: dict[str, dict[str, float]]
    versions: Count
    oldest: Text
    begins: Day | None
    experts: dict[Name, dict[Name, Standing]]
    windows: list[Window]
    since: Day | None = None
    first: Day | None = None

    @classmethod
    def of(
        cls,
        stored: Mapping[str, str],
        versions: Sequence[str],
        horizon: int,
        lines: Mapping[int, Line],
        windows: Sequence[int] = WINDOWS,
    ) -> Self:
        """stored: the fields of `crm:model`; lines: by day; windows: days, each from the last one learned backwards.

        Lines of later days say nothing: an older model was published since, and learns those days again. Raises
        TruthError where the metrics that `crm:model` holds cannot be read.
        """
        day, metrics, fit = int(stored["day"]), *_metrics(stored["metrics"])
        now = {day: metrics.weights} if metrics.weights is not None else {}
        known = {each: lines[each] for each in sorted(lines) if each <= day}
        return cls(
            form=FORM,
            serving=stored["version"],
            learned_through=iso(day),
            horizon_days=horizon,
            examples=metrics.examples,
            fit=fit,
            versions=len(versions),
            oldest=versions[0] if versions else "",
            begins=iso(next(iter(known))) if known else None,
            experts=_experts({**{each: line.weights for each, line in known.items()}, **now}),
            windows=[_window(known, day, days) for days in windows],
            since=iso(int(stored["since"])) if "since" in stored else None,
            first=_first(known, metrics.examples),
        )

    @property
    def promised(self) -> Figures | None:
        """What the fit found of the served demand on later time of its history; None: it could not judge."""
        found = self.fit.get("spend/served")
        return Figures(*map(found.get, Figures.__struct_fields__)) if found else None

    def promised_in(self, window: Window) -> Figures | None:
        """The same; None too where others promised all that closed in the window."""
        return None if self.own and window.last < self.own else self.promised

    def by_others(self, window: Window) -> str | None:
        """That not all of what closed in the window was promised by the publish that serves, in words."""
        if not self.own or self.own <= window.first:
            return None
        what = "all of this" if window.last < self.own else f"what closed before {self.own}"
        return f"publish {self.publish} serves since {self.since}: {what} was promised by the one before it"

    @property
    def publish(self) -> int:
        """The number of the publish that serves; 0 where the version is none of this program's."""
        number = self.serving.partition("-")[0]
        return int(number) if number.isdecimal() else 0

    @property
    def own(self) -> Day | None:
        """The first day on which what this publish promised closes; None: there was none before it, or nobody knows."""
        if self.since is None or self.publish < 2:
            return None
        return str(np.datetime64(self.since, "D") + np.timedelta64(self.horizon_days, "D"))

    @classmethod
    def read(cls, document: bytes) -> Self:
        """What `streams model --json` wrote. Raises TruthError."""
        try:
            found = msgspec.json.decode(document, type=cls)
            wrong = found.form == FORM and found.wrong()
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise TruthError(f"not what `streams model --json` writes ({error})") from None
        if found.form != FORM:
            raise TruthError(f"of form {found.form}, and this program reads form {FORM}: use one version everywhere")
        if wrong:
            raise TruthError(f"not what `streams model --json` writes ({wrong})")
        return found

    def wrong(self) -> str | None:
        """What of it does not hold together, in words. Raises ValueError for a date or a figure that is none."""
        through = self.learned_through
        led = [each.led for experts in self.experts.values() for each in experts.values() if each.led]
        for first, last in ((self.begins or through, through), (self.first or through, through), *led):
            if not date.fromisoformat(first) <= date.fromisoformat(last) <= date.fromisoformat(through):
                return f"{first} to {last} is no time up to {through}"
        if self.promised:
            msgspec.convert(msgspec.to_builtins(self.promised), Figures)
        for window in self.windows:
            if window.last != through:
                return f"its {window.days} days end on {window.last}, and {through} was learned last"
            if wrong := window.wrong():
                return wrong
        return None

    def document(self) -> bytes:
        """JSON, UTF-8: read(document()) is the same."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


class _Metrics(msgspec.Struct):
    """What stands beside the serving version of its own; the rest is the fit's."""

    examples: Count = 0
    weights: Weights | None = None


def _metrics(stored: str) -> tuple[_Metrics, dict[str, dict[str, float]]]:
    """What stands beside the serving version, and by name the fit's figures there. Raises TruthError."""
    try:
        found = msgspec.json.decode(stored, type=dict[str, Any])
        own = {"examples", "weights"}
        fit = {name: each for name, each in found.items() if isinstance(each, dict) and name not in own}
        return msgspec.convert(found, _Metrics), msgspec.convert(fit, dict[str, dict[str, float]])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise TruthError(f"its metrics cannot be read ({error})") from None


def iso(day: int) -> str:
    """The date of a day since the epoch.

    >>> iso(10_227)
    '1998-01-01'
    """
    return str(np.datetime64(day, "D"))


def figures(total: Line, name: str) -> Figures:
    """Of what `name` said of the examples of a line."""
    said = total.said[name]
    return Figures(
        ngini=ngini(said.steps, total.labels),
        mae=_over(said.error, total.n),
        deviance=_over(max(0.0, said.deviance), total.n),  # of a perfect prediction rounding may leave less than 0
        bias=_over(said.predicted, total.spent),
    )


def ngini(said: Steps, labels: Steps) -> float | None:
    """Normalised Gini of the same examples by what was said and by what was spent; None where all spent the same.

    Of examples in one step every order is as likely, as among ties.

    >>> ngini(Steps([0, 8], [2, 1], [0, 10_000]), Steps([0, 8], [2, 1], [0, 10_000]))
    1.0
    """
    return _gini(said) / _gini(labels) if len(labels.at) > 1 else None


def held(steps: Steps, share: float) -> float | None:
    """Share of the examples up to their bound, of the `share` with the highest predictions; None where that is less
    than one.

    Where the last step belongs to it in part, so do those that it held.
    """
    stayed, broke = (np.array([0, *each[::-1]], np.float64).cumsum() for each in (steps.held, steps.broken))
    top = share * float(stayed[-1] + broke[-1])
    return float(np.interp(top, stayed + broke, stayed)) / top if top >= 1 else None


def _gini(steps: Steps) -> float:
    """Area between the capture curve of the highest steps and the diagonal; 0 where nothing was spent."""
    n, spent = (np.array(each[::-1], np.float64) for each in (steps.n, steps.spent))
    if not spent.sum():
        return 0.0
    before = spent.cumsum() - spent
    return float((n * before + spent * (n + 1) / 2).sum() / spent.sum() - (n.sum() + 1) / 2)


def _over(total: float, count: float) -> float | None:
    return total / count if count else None


def _window(lines: Mapping[int, Line], through: int, days: int) -> Window:
    """lines: none later than `through`."""
    inside = [line for day, line in lines.items() if day > through - days]
    total = added(inside) if inside else NONE
    served = total.said[SERVED].steps
    return Window(
        days=days,
        first=iso(through - days + 1),
        last=iso(through),
        learned=len(inside),
        n=total.n,
        left_out=total.left_out,
        mean=_over(total.spent, total.n),
        bought=_over(total.bought, total.n),
        demand={name: figures(total, name) for name in total.said},
        held={name: held(served, share) for name, share in SHARES.items()},
        brier=_over(total.brier, sum(served.held) + sum(served.broken)),
    )


def _first(lines: Mapping[int, Line], examples: int) -> Day | None:
    """The first day that taught anything, if these lines, by day and in its order, tell of all examples."""
    closed = {day: line.n + line.left_out for day, line in lines.items() if line.n + line.left_out}
    return iso(next(iter(closed))) if closed and sum(closed.values()) >= examples else None


def _experts(by_day: Mapping[int, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Standing]]:
    """by_day: weights by target and expert, the last day's those of now."""
    if not by_day:
        return {}
    days = sorted(by_day)
    leaders = {day: {target: _leader(each) for target, each in by_day[day].items()} for day in days}
    return {
        target: {
            name: Standing(weight, _last_stretch([(day, leaders[day].get(target) == name) for day in days]))
            for name, weight in weights.items()
        }
        for target, weights in by_day[days[-1]].items()
    }


def _leader(weights: Mapping[str, float]) -> str | None:
    """Who alone has the most; None at the start, when all have the same."""
    most = max(weights.values())
    first, *others = [name for name, weight in weights.items() if weight == most]
    return None if others else first


def _last_stretch(led: Sequence[tuple[int, bool]]) -> tuple[str, str] | None:
    """The last run of days on which it led; a day without a line ends none."""
    runs = [[day for day, _ in run] for leads, run in itertools.groupby(led, lambda each: each[1]) if leads]
    return (iso(runs[-1][0]), iso(runs[-1][-1])) if runs else None
