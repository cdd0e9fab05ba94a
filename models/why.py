"""Why a customer's demand is what it is: the published amount as a sum of parts, in cents and in words.

Rule: every part is the model's own share (its experts, their weights, what caps and floors them), and all of them add
up to what is published, to the cent. Parts are rounded down to cents, and the cents that are then missing go to those
that lost most by it (largest remainder), so none is a cent away from what it is.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.cadence import gap_of
from models.features import UNIT, Raw, inputs_many
from models.mix import EXPERTS, R30, R90
from models.model import Model
from models.ridge import SPEND
from models.scales import Floats, in_own_scale

SAID = {"r90": ("r90",), "r30": ("r30",), "ridge": (*SPEND.names, "floor"), "cadence": ("others", "o90m")}
# (expert, input) of each share of a prediction: what the experts say, by what they say it from; then what caps each.
SHARES = (*((expert, each) for expert in EXPERTS for each in SAID[expert]), *((expert, "cap") for expert in EXPERTS))
ROUNDING, NOT_YET = ("published", "rounding"), ("published", "not_yet")  # the gap to what is published
TOLD = 3  # reasons that are told in words
UNTOLD = ("one", "floor", "rounding")  # inputs that are no facts about the customer: parts of the sum, never a reason
CENT = UNIT // 100
PLAIN = ("cap", "not_yet")  # inputs whose fact says by itself why it takes off


class Part(NamedTuple):
    """cents: whole 1/100 of the major unit, below 0 where it takes off; says: the fact behind it, a sentence without an
    end; parts of one input say the same."""

    expert: str
    input: str
    cents: int
    says: str


def shares(model: Model, raw: Any) -> Floats:
    """(n, len(SHARES)) whose rows are the terms of the demand predicted to (n,) RAW, major units."""
    own, scale = in_own_scale(raw, model.usual)
    x = inputs_many(own, model.horizon, model.usual)
    mix, seen = model.spend_mix, (x, model.spend.predict_many(x), model.cadence.predict_many(own, x).spend)
    said = (x[:, [R90]], x[:, [R30]], model.spend.shares(x), model.cadence.shares(own, x))
    weighed = [each * weight for each, weight in zip(said, mix.weights.shares.tolist(), strict=True)]
    capped = (mix.experts(*seen) - mix.said(*seen)) * mix.weights.shares
    return np.hstack([*weighed, capped]) * scale[:, None]


def parts(model: Model, raw: Any, published: Sequence[int]) -> list[list[Part]]:
    """Of (n,) published demands, in cents: each the sum of its parts. raw: (n,) RAW of the customers as they stand."""
    demands = (f"{demand:.2f}" for demand in model.predict_many(raw).demand.tolist())
    every = zip(map(cents, demands), shares(model, raw).tolist(), facts(raw), published, strict=True)
    return [_parts(*each) for each in every]


def _parts(now: int, terms: Sequence[float], told: Mapping[str, str], published: int) -> list[Part]:
    found = whole([100 * each for each in terms])
    gaps = {ROUNDING: now - sum(found), NOT_YET: published - now}
    named = [*zip(SHARES, found, strict=True), *gaps.items()]
    return [Part(expert, each, amount, told[each]) for (expert, each), amount in named]


def cents(text: str) -> int:
    """Of an amount as it is published.

    >>> cents("14.20"), cents("0.00")
    (1420, 0)
    """
    return int(text.replace(".", ""))


def whole(amounts: Sequence[float]) -> list[int]:
    """Whole numbers, none a whole one away from its amount, whose sum is that of the amounts, rounded.

    >>> whole([0.4, 0.4, 0.4, -7.0]), whole([-0.5, 2.25, 2.25])
    ([1, 0, 0, -7], [0, 2, 2])
    """
    down = [math.floor(amount) for amount in amounts]
    lost = [amount - floor for amount, floor in zip(amounts, down, strict=True)]
    most = sorted(range(len(lost)), key=lambda i: -lost[i])  # of equal ones those that stand first
    for i in most[: round(math.fsum(lost))]:
        down[i] += 1
    return down


def words(found: Sequence[Part]) -> list[str]:
    """The TOLD largest reasons of these parts, the largest first, in sentences; parts that say the same are one reason.

    Of reasons of one size that which stands first; where none has a cent, or all are nothing, one sentence says so.
    """
    ordered = next((part.says for part in found if part.input == "o90m"), "")
    if not (sum(part.cents for part in found) or any(part.cents for part in found if part.input == "not_yet")):
        return [f"{ordered}: less than 0.01 is expected"]
    sums: dict[tuple[str, bool], int] = {}
    for part in found:
        if part.input not in UNTOLD:
            reason = part.says, part.input in PLAIN
            sums[reason] = sums.get(reason, 0) + part.cents
    reasons = sorted(((*reason, amount) for reason, amount in sums.items() if amount), key=lambda each: -abs(each[2]))
    return [_sentence(*each) for each in reasons[:TOLD]] or [f"{ordered}: adds less than 0.01"]


def _sentence(says: str, plain: bool, amount: int) -> str:
    """A fact and what it does. One that takes off has a weight below 0: it is compared with customers otherwise alike.

    >>> _sentence("Ordered twice", False, 250), _sentence("One large order does not count in full", True, -5)
    ('Ordered twice: adds 2.50', 'One large order does not count in full: takes off 0.05')
    >>> _sentence("Ordered twice", False, -250)
    'Ordered twice: takes off 2.50, since of customers otherwise alike those with more of this spent less later'
    """
    if amount > 0:
        return f"{says}: adds {amount / 100:,.2f}"
    why = "" if plain else ", since of customers otherwise alike those with more of this spent less later"
    return f"{says}: takes off {-amount / 100:,.2f}{why}"


def facts(raw: Any) -> list[dict[str, str]]:
    """What each input goes by, in the customer's own figures, by its name; raw: (n,) RAW."""
    return [_facts(*each) for each in zip(raw.tolist(), gap_of(raw).tolist(), strict=True)]


def _facts(raw: Raw, gap: float) -> dict[str, str]:
    spend, _, s30, s90, _, _, v7, c7, orders, days, tenure, recency, _ = raw
    ago = _days(recency)
    ordered = f"once, {ago} ago" if orders < 2 else f"{_times(orders)}, last {ago} ago"
    rhythm = f"once, {ago} ago" if days < 2 else f"every {_every(gap)}, last {ago} ago"
    return {
        "r30": f"Spent {_money(s30)} in recent weeks, older amounts counting less",
        "r90": f"Spent {_money(s90)} in recent months, older amounts counting less",
        "o90m": f"Ordered {ordered}",
        "own": f"Spent {_money(spend)} in the {_days(tenure)} since the first purchase",
        "m90": f"Spends {_money(spend / max(1, days))} on a day with purchases, last {ago} ago",
        "v7m": f"Viewed {_products(v7)} in recent days",
        "c7m": f"Put {_products(c7)} into the cart in recent days",
        "one": "For every customer of the shop alike",
        "others": f"What others spent who bought {rhythm}",
        "floor": "No prediction is below nothing",
        "cap": "One large order does not count in full",
        "rounding": "Rounding of very large amounts",
        "not_yet": "Not published yet (it will be with the next event, or once it moved by a tenth)",
    }


def _money(amount: float) -> str:
    """Of 1/10,000 of the major unit; nothing below 0, as the inputs have it. Half-even, as the record's amounts are.

    >>> _money(11_697_650), _money(11_697_750)
    ('1,169.76', '1,169.78')
    """
    return f"{max(0, round(amount / CENT)) / 100:,.2f}"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count:,} days"


def _every(gap: float) -> str:
    return "day" if gap < 1.5 else _days(round(gap))


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count:,} times"


def _products(count: float) -> str:
    """Of a sum that halves every 7 days: one of 7 days ago is .5, and is told.

    >>> [_products(count) for count in (0.49, 0.5, 1.5, 2.5)]
    ['nothing', 'about 1 product', 'about 2 products', 'about 3 products']
    """
    return f"about {int(count + 0.5):,} product{'s' * (count >= 1.5)}" if count >= 0.5 else "nothing"
