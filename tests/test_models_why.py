"""Why a demand is what it is: parts that add up to the cent, whoever the customer and whatever the model, and words."""

import math
from typing import Any

import checks
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import scores, why
from models.features import UNIT, inputs_many
from models.mix import EXPERTS
from models.model import Model
from models.rows import RAW
from models.scales import in_own_scale

NOTHING = np.empty(0)
LESS = ", since of customers otherwise alike those with more of this spent less later"


def cold() -> Model:
    """Of a shop without a history: equal weights, no example."""
    return Model.create(checks.FIRST, NOTHING, NOTHING, checks.USUAL, checks.segments(), checks.clusters())


def learned(seed: int) -> Model:
    """A model that holds anything: of each part that speaks of money, random numbers."""
    model, rng = checks.untaught(), np.random.default_rng(seed)
    model.spend.model._m_arr[: len(model.spend.columns)] = rng.normal(0, 10, len(model.spend.columns))
    model.cadence.sums = rng.exponential(100, model.cadence.sums.shape) * (rng.random(model.cadence.sums.shape) < 0.7)
    lead = np.maximum(rng.normal(0, 1, len(EXPERTS)), 0)
    model.spend_mix.weights.shares = lead / lead.sum() if lead.any() else model.spend_mix.weights.shares
    return model


MODELS = st.just(cold()) | st.integers(0, 10_000).map(learned)
ROWS = st.integers(0, 10_000).map(lambda seed: checks.raws(20, seed))


def customer(**given: Any) -> Any:
    """(1,) RAW of somebody who bought once, 12 days ago, for 50.00; and what is given, money in the major unit."""
    raw = np.zeros(1, RAW)
    known = {"spend": 50, "s30": 38, "s90": 46, "peak": 50} | {"n30": 0.76, "n90": 0.91, "orders": 1, "days": 1}
    for name, value in (known | {"tenure": 12, "recency": 12} | given).items():
        raw[name] = value * UNIT if name in ("spend", "s30", "s90", "peak", "window") else value
    return raw


def published(model: Model, raw: Any) -> list[int]:
    """What is served, in cents."""
    return [why.cents(f"{demand:.2f}") for demand in model.predict_many(raw).demand]


def of(parts: list[why.Part], *names: str) -> int:
    """Cents of an input, or of an expert's."""
    return sum(part.cents for part in parts if names in ((part.input,), (part.expert, part.input)))


# ---- sums ------------------------------------------------------------------------------------------------------------
@given(model=MODELS, raw=ROWS)
def test_shares_add_up_to_what_is_predicted(model: Model, raw: Any) -> None:
    """Mutations caught: an expert's share that is not weighed, a customer's own scale left out, no cap, no floor."""
    own, _ = in_own_scale(raw, model.usual)
    x = inputs_many(own, model.horizon, model.usual)
    ridge, followed = model.spend.shares(x), model.cadence.shares(own, x)
    np.testing.assert_allclose(ridge.sum(1), model.spend.predict_many(x), rtol=1e-9, atol=1e-9 * np.abs(ridge).max())
    np.testing.assert_allclose(followed.sum(1), model.cadence.predict_many(own, x).spend, rtol=1e-12)
    shares = why.shares(model, raw)
    np.testing.assert_allclose(shares.sum(1), model.predict_many(raw).demand, atol=1e-9 * np.abs(shares).max())


@given(model=MODELS, raw=ROWS, gaps=st.lists(st.integers(-10_000, 10_000), min_size=20, max_size=20))
def test_parts_add_up_to_what_is_published(model: Model, raw: Any, gaps: list[int]) -> None:
    """Mutations caught: parts rounded each by itself; a gap that is not told; another order of parts."""
    now = published(model, raw)
    told = why.parts(model, raw, [max(0, cents + gap) for cents, gap in zip(now, gaps, strict=True)])
    shares = 100 * why.shares(model, raw)
    for parts, cents, gap, terms in zip(told, now, gaps, shares.tolist(), strict=True):
        assert sum(part.cents for part in parts) == max(0, cents + gap)
        assert of(parts, "not_yet") == max(0, cents + gap) - cents
        assert abs(of(parts, "rounding")) <= 1e-9 * max(map(abs, terms)) + 1e-9
        for part, term in zip(parts, terms, strict=False):
            assert abs(part.cents - term) < 1


@pytest.mark.parametrize("model", [cold(), learned(1), checks.CASES[-1].taught()], ids=["cold", "random", "taught"])
def test_numbers_at_the_ends_of_their_range_add_up(model: Model) -> None:
    """As far as a double holds them; the rest is told as rounding."""
    raw = checks.extremes(500)
    told = why.parts(model, raw, published(model, raw))
    for parts, cents in zip(told, published(model, raw), strict=True):
        assert sum(part.cents for part in parts) == cents
        assert abs(of(parts, "rounding")) <= 1 + 1e-14 * max(abs(part.cents) for part in parts)
        assert all(part.says for part in parts)
        assert why.words(parts)


def test_what_caps_and_what_floors_are_parts_of_their_own() -> None:
    """Who bought for a fortune yesterday is served by what an order of this shop brings at most."""
    model = checks.untaught()
    (giant,) = why.parts(model, customer(spend=1e7, s30=1e7, s90=1e7, peak=1e7, recency=1), [0])
    assert of(giant, "r90", "cap") < -1e7
    assert of(giant, "r90", "r90") + of(giant, "r90", "cap") == pytest.approx(
        100 * model.spend_mix.cap / len(EXPERTS), abs=2
    )
    model.spend.model._m_arr[:] = -100
    (nothing,) = why.parts(model, customer(), [0])
    ridge = [part.cents for part in nothing if part.expert == "ridge"]
    assert of(nothing, "floor") > 0
    assert sum(ridge) == pytest.approx(0, abs=len(ridge))


@given(st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=30))
def test_whole_numbers_keep_the_sum(amounts: list[float]) -> None:
    found = why.whole(amounts)
    assert all(abs(each - amount) < 1 for each, amount in zip(found, amounts, strict=True))
    assert abs(sum(found) - math.fsum(amounts)) <= 0.5 + 1e-15 * sum(map(abs, amounts))


# ---- words -----------------------------------------------------------------------------------------------------------
def shop() -> Model:
    """A model whose every part is known: all cells of the rhythm followed alike, the 30-day rate has no weight."""
    model = checks.untaught()
    model.spend.model._m_arr[: len(model.spend.columns)] = [1.3, -7.4, 3.7, 0.5, -0.9, 1.2, 4.0, 0.8]
    model.cadence.sums[:] = [900, 3000, 25, 20, 80]
    model.spend_mix.weights.shares = np.array([0.3, 0, 0.3, 0.4])
    return model


def told(raw: Any, gap: int = 0) -> list[str]:
    (parts,) = why.parts(shop(), raw, [published(shop(), raw)[0] + gap])
    return why.words(parts)


def test_words_of_three_typical_customers() -> None:
    """Somebody who comes often and looks around, somebody new whose score is a little older, and somebody who left."""
    sums = {"s30": 102, "s90": 341.55, "n30": 1.6, "n90": 5.3, "v7": 3.4, "c7": 1.2}
    regular = customer(**sums, spend=1234.5, peak=99, orders=19, days=18, tenure=400, recency=9)
    sums = {"s30": 0, "s90": 0.4, "n30": 0, "n90": 0.01}
    gone = customer(**sums, spend=80, peak=50, orders=2, days=2, tenure=700, recency=640)
    assert told(regular) == [
        "Spent 341.55 in recent months, older amounts counting less: adds 29.82",
        "Ordered 19 times, last 9 days ago: adds 12.31",
        "Put about 1 product into the cart in recent days: adds 9.41",
    ]
    assert told(customer(), gap=-250) == [
        "What others spent who bought once, 12 days ago: adds 4.36",
        "Spent 46.00 in recent months, older amounts counting less: adds 4.02",
        "Not published yet (it will be with the next event, or once it moved by a tenth): takes off 2.50",
    ]
    assert told(gone) == [
        "What others spent who bought every 60 days, last 640 days ago: adds 4.07",
        "Spent 80.00 in the 700 days since the first purchase: adds 0.05",
        "Spent 0.40 in recent months, older amounts counting less: adds 0.04",
    ]


def test_words_of_nothing_and_of_reasons_alike() -> None:
    """Of reasons as large as each other the first; parts that say the same are one reason, and none of them at 0."""

    def part(each: str, cents: int) -> why.Part:
        return why.Part("ridge", each, cents, f"Of {each}")

    assert why.words([part("a", 5), part("b", -5), part("c", 5), part("d", 5)]) == [
        "Of a: adds 0.05", f"Of b: takes off 0.05{LESS}", "Of c: adds 0.05",
    ]  # fmt: skip
    assert why.words([part("a", 700), part("b", 3), part("a", -700), part("b", -123_456)]) == [
        f"Of b: takes off 1,234.53{LESS}"
    ]


def test_words_are_facts_about_the_customer() -> None:
    """What keeps all customers alike, or above nothing, is a part and no reason; where only such a part is left, or all
    come to nothing, there is one sentence."""

    def part(each: str, cents: int) -> why.Part:
        return why.Part("ridge", each, cents, f"Of {each}")

    ours = [part("one", 900), part("floor", -800), part("rounding", 700), part("o90m", 1)]
    assert why.words(ours) == ["Of o90m: adds 0.01"]
    assert why.words([part("one", 36), part("o90m", 0)]) == ["Of o90m: adds less than 0.01"]
    assert why.words([part("own", -500), part("floor", 500), part("o90m", 0)]) == [
        "Of o90m: less than 0.01 is expected"
    ]
    assert why.words([part("own", 500), part("o90m", 0), part("not_yet", -500)]) == [
        "Of own: adds 5.00", "Of not_yet: takes off 5.00",
    ]  # fmt: skip
    assert why.words([part("own", 500), part("cap", -400)])[1] == "Of cap: takes off 4.00"


def test_facts_in_the_singular_and_at_their_ends() -> None:
    """Who bought yesterday, every day, looked at one thing; and whose money was all taken back."""
    (facts,) = why.facts(customer(spend=-3, s90=-1, days=5, orders=2, tenure=5, recency=1, v7=1.2, c7=0.3))
    assert [facts[name] for name in ("r90", "o90m", "own", "others", "v7m", "c7m")] == [
        "Spent 0.00 in recent months, older amounts counting less",
        "Ordered twice, last 1 day ago",
        "Spent 0.00 in the 5 days since the first purchase",
        "What others spent who bought every day, last 1 day ago",
        "Viewed about 1 product in recent days",
        "Put nothing into the cart in recent days",
    ]


def test_facts_are_told_by_orders_and_by_days_with_purchases() -> None:
    """Three orders on two days; and one of ever. Mutations caught: what a day brings told of an order; who ordered once
    told as of a customer with a rhythm; half a day of a gap lost; thousands run together."""
    (facts,) = why.facts(customer(spend=2_400, days=2, orders=3, tenure=1_200, recency=9))
    assert [facts[name] for name in ("m90", "o90m", "others")] == [
        "Spends 1,200.00 on a day with purchases, last 9 days ago",
        "Ordered 3 times, last 9 days ago",
        "What others spent who bought every 1,191 days, last 9 days ago",
    ]
    (facts,) = why.facts(customer(days=1, orders=1, tenure=3, recency=3))
    assert facts["o90m"] == "Ordered once, 3 days ago"
    assert facts["others"] == "What others spent who bought once, 3 days ago"
    assert [why._every(gap) for gap in (1.49, 1.5, 2.5, 2.51)] == ["day", "2 days", "2 days", "3 days"]
    assert why._sentence("Ordered twice", False, 123_456_789) == "Ordered twice: adds 1,234,567.89"


@pytest.mark.parametrize("spend", [1_169.765, 43.125, 1_058.645, 0.005])
def test_amounts_are_those_of_the_record(spend: float) -> None:
    """Goods by weight cost half cents: both round them half-even. Mutation caught: the text of a double (`.2f`)."""
    raw = customer(spend=spend, days=1)
    (record,) = scores.money(scores.cents(np.array([round(spend * UNIT)])))
    (facts,) = why.facts(raw)
    assert facts["own"] == f"Spent {float(record):,.2f} in the 12 days since the first purchase"
    assert facts["m90"].startswith(f"Spends {float(record):,.2f} on a day")


@pytest.mark.parametrize(("v7", "said"), [(0.5, "about 1 product"), (2.5, "about 3 products"), (0.25, "nothing")])
def test_what_was_looked_at_whole_weeks_ago_is_no_part_of_a_product(v7: float, said: str) -> None:
    """One 7 days ago comes to .5 exactly. Mutation caught: halves rounded to even, so that it is `about 0`."""
    (facts,) = why.facts(customer(v7=v7, c7=v7))
    assert (facts["v7m"], facts["c7m"]) == (f"Viewed {said} in recent days", f"Put {said} into the cart in recent days")
