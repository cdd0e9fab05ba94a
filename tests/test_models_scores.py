"""What a CRM reads, letter by letter: money, dates, gaps, the next order, offers. The whole record, in its order, is
that of test_docs_redis_contract.py alone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models import scores
from models.model import Predictions
from models.offers import Offers, code
from models.rows import BLANK, DAY, RING

Array = NDArray[Any]
NO_OFFERS = Offers({})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def us(text: str) -> int:
    """Microseconds of an ISO 8601 time with offset."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def rows(*fields: dict[str, Any]) -> Array:
    """Rows (n,) with these fields, else blank."""
    made = np.full(len(fields), BLANK)
    for row, given_fields in zip(made, fields, strict=True):
        for name, value in given_fields.items():
            row[name] = value
    return made


def predictions(n: int, **columns: Sequence[float]) -> Predictions:
    """Of n customers: these columns, all else 0 but rfm."""
    found: dict[str, Any] = {name: np.zeros(n) for name in Predictions._fields} | {"rfm": np.full(n, 111)}
    found |= {name: np.array(column) for name, column in columns.items()}
    return Predictions(**found | {name: found[name].astype(np.int64) for name in ("segment", "cluster", "rfm")})


FIRST = {
    "orders": 3, "spend": 12_345_650, "seen": 42, "segment_before": 0, "segment_since": 19_783,
    "first": us("2024-02-28T23:59:59.999999+00:00"),
    "last": us("2024-03-09T12:00:00.999999+00:00"),
    "at": us("2024-03-10T08:30:15+01:00"),
}  # fmt: skip
SECOND = {
    "orders": 1, "spend": -150, "segment_since": 47_540,
    "first": us("2100-02-28T00:00:00+00:00"),
    "last": us("2100-02-28T00:00:00+00:00"),
    "at": us("2100-03-01T00:00:00+00:00"),
}  # fmt: skip


def test_each_field_is_written_in_its_own_form() -> None:
    predicted = predictions(
        2, segment=[2, 0], cluster=[7, 3], rfm=[543, 115], demand=[12.345, 0.0], high=[99.999, 0.005],
        orders=[0.6321, 1.0005], p_buy=[0.5, 0.00004], value=[150.196, 0.004],
    )  # fmt: skip
    swept_to = us("2024-03-09T00:00:00+00:00") // DAY
    made = scores.texts(
        rows(FIRST, SECOND), predicted, ["asleep", "", "loyal"], NO_OFFERS, 30, swept_to, "crm.events:3"
    )
    first, second = (dict(zip(scores.FIELDS, (*record, "", "", "", ""), strict=True)) for record in made)
    expected = {
        "segment": "loyal",
        "segment_id": "2",
        "previous_segment": "asleep",
        "segment_since": "2024-03-01",
        "cluster": "7",
        "rfm": "5-4-3",
        "predicted_demand": "12.35",
        "predicted_demand_high": "100.00",
        "predicted_orders": "0.6321",
        "p_buy": "0.5000",
        "customer_value": "150.20",
        "orders": "3",
        "spend": "1234.56",
        "average_order_value": "411.52",
        "total_value": "1384.76",
        "first_purchase_at": "2024-02-28T23:59:59Z",
        "last_purchase_at": "2024-03-09T12:00:00Z",
        "last_event_at": "2024-03-10T07:30:15Z",
        "mean_days_between_orders": "4.8",
        "expected_next_order_at": "2024-04-12T05:02:26Z",
        "next_offers": "[]",
        "source": "crm.events:3:41",
    }
    assert {name: first[name] for name in expected} == expected
    expected = {
        "segment": "asleep",
        "segment_id": "0",
        "previous_segment": "",
        "segment_since": "2100-02-28",
        "cluster": "3",
        "rfm": "1-1-5",
        "predicted_demand": "0.00",
        "predicted_demand_high": "0.01",
        "predicted_orders": "1.0005",
        "p_buy": "0.0000",
        "customer_value": "0.00",
        "orders": "1",
        "spend": "-0.02",
        "average_order_value": "-0.02",
        "total_value": "-0.02",
        "first_purchase_at": "2100-02-28T00:00:00Z",
        "last_purchase_at": "2100-02-28T00:00:00Z",
        "last_event_at": "2100-03-01T00:00:00Z",
        "mean_days_between_orders": "",
        "expected_next_order_at": "2100-03-21T18:48:59Z",
        "next_offers": "[]",
        "source": "history",
    }
    assert {name: second[name] for name in expected} == expected


def test_offers_are_a_json_array_the_latest_purchase_first() -> None:
    today = us("2024-03-10T00:00:00+00:00") // DAY
    bought = {"offered": [code("tea"), code("pot"), *[0] * (RING - 2)], "offered_day": today - 91, "offered_slot": 2}
    offers = Offers({"tea": ['"blue" pot', "pot"], "pot": ["tasse à thé"]})
    (record,) = scores.texts(rows(FIRST | bought), predictions(1), ["s"], offers, 30, today, "t:0")
    assert record[scores.FIELDS.index("next_offers")] == r'["tasse à thé","\"blue\" pot","pot"]'


def test_what_a_write_has_in_common_comes_last() -> None:
    assert scores.COMMON == ("demand_horizon_days", "scored_at", "model_version", "schema")
    assert scores.FIELDS[-4:] == scores.COMMON


def test_no_customers_make_no_records() -> None:
    assert scores.texts(rows(), predictions(0), [], NO_OFFERS, 30, 0, "t:0") == []


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.00"), (49, "0.00"), (50, "0.00"), (51, "0.01"), (150, "0.02"), (250, "0.02"), (251, "0.03"),
        (-49, "0.00"), (-50, "0.00"), (-51, "-0.01"), (-150, "-0.02"), (-250, "-0.02"), (-251, "-0.03"),
        (10_000, "1.00"), (-10_000, "-1.00"), (999_950, "100.00"), (999_949, "99.99"), (12_345_050, "1234.50"),
        (2**63 - 1, "922337203685477.58"), (-(2**63), "-922337203685477.58"),
    ],
)  # fmt: skip
def test_money_is_rounded_half_even_without_a_negative_zero(amount: int, text: str) -> None:
    assert scores.money(scores.cents(np.array([amount]))) == [text]


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-1000, 1000).map(lambda n: n * 50)))
def test_money_is_that_of_decimal(amounts: list[int]) -> None:
    cents = [Decimal(a).scaleb(-4).quantize(Decimal("0.01"), ROUND_HALF_EVEN) + 0 for a in amounts]
    assert scores.money(scores.cents(np.array(amounts, np.int64))) == [f"{c:f}" for c in cents]


@pytest.mark.parametrize(
    ("t", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (999_999, "1970-01-01T00:00:00Z"),
        (us("2000-02-29T12:00:00+00:00"), "2000-02-29T12:00:00Z"),
        (us("2024-02-29T23:59:59.999999+00:00"), "2024-02-29T23:59:59Z"),
        (us("2100-03-01T00:00:00+00:00") - 1, "2100-02-28T23:59:59Z"),
        (us("2199-12-31T23:59:59+00:00"), "2199-12-31T23:59:59Z"),
    ],
)
def test_dates_are_utc_cut_to_the_second(t: int, text: str) -> None:
    assert scores.iso(np.array([t])) == [text]


@pytest.mark.parametrize(
    ("orders", "days", "text"),
    [(1, 0, ""), (1, 50, ""), (2, 0, "0.0"), (2, 1, "1.0"), (3, 1, "0.5"), (4, 10, "3.3"), (31, 3_650, "121.7")],
)
def test_gaps_are_mean_days_between_orders(orders: int, days: int, text: str) -> None:
    assert scores.gaps(rows({"orders": orders, "first": DAY // 3, "last": DAY // 3 + days * DAY})) == [text]


NEW_YEAR = us("2024-01-01T00:00:00+00:00")


def expected_at(p_buy: float, orders: float, horizon: int, days: int, since: float, gap: float = 10) -> str:
    """Of a customer of so many purchase days, `gap` days from each to the next, the last one `since` days ago."""
    last = NEW_YEAR - int(since * DAY)
    row = rows({"days": days, "last": last, "first": last - int(gap * DAY) * (days - 1)})
    (text,) = scores.next_orders(row, np.array([orders]), np.array([p_buy]), np.array([NEW_YEAR]), horizon)
    return text


@pytest.mark.parametrize(
    ("p_buy", "orders", "horizon", "days", "since", "text"),
    [
        (0.9, 3.0, 30, 4, 3.0, "2024-01-08T00:00:00Z"),  # in rhythm: the gap ends in 7 days
        (0.5, 0.7, 30, 2, 0.0, "2024-01-11T00:00:00Z"),
        (0.9, 3.0, 30, 4, 9.5, "2024-01-02T00:00:00Z"),  # due: a day from now on at the least
        (0.9, 3.0, 30, 4, 12.5, "2024-01-02T00:00:00Z"),
        (0.9, 3.0, 30, 4, 12.6, "2024-01-07T22:21:19Z"),  # out of rhythm: ln 2 of 10 days, the median wait
        (0.49, 1.0, 30, 4, 3.0, "2024-01-21T19:03:57Z"),  # not likely
        (0.9, 3.0, 30, 1, 3.0, "2024-01-07T22:21:19Z"),  # one purchase day has no gap
        (0.9, 1.0, 7, 1, 3.0, "2024-01-05T20:26:55Z"),
        (0.1, 30 * np.log(2) / 364.99, 30, 4, 3.0, "2024-12-30T23:45:36Z"),  # 2024 is a leap year
        (0.1, 30 * np.log(2) / 365.01, 30, 4, 3.0, ""),
        (0.0, 0.0, 30, 4, 3.0, ""),
        (0.0, 0.0, 1, 1, 3.0, ""),
    ],
)
def test_the_next_order_is_due_in_rhythm_or_half_way_to_be_expected(
    p_buy: float, orders: float, horizon: int, days: int, since: float, text: str
) -> None:
    assert expected_at(p_buy, orders, horizon, days, since) == text


def test_the_next_order_is_told_up_to_a_year_ahead() -> None:
    """Mutation caught: a year to the microsecond is too late."""
    found = [expected_at(0.9, 3.0, 30, 3, 0.0, gap=gap) for gap in (365, 365.01)]
    assert found == ["2024-12-31T00:00:00Z", ""]


def test_the_moment_of_a_score_is_the_last_event_or_the_midnight_swept_to() -> None:
    noon = 100 * DAY + DAY // 2
    assert scores.moment(rows({"at": noon}, {"at": noon}), 100).tolist() == [noon, noon]
    assert scores.moment(rows({"at": noon}), 101).tolist() == [101 * DAY]
    assert scores.moment(rows({"at": noon}), -1).tolist() == [noon]


def test_the_source_is_the_last_event_in_the_log() -> None:
    found = scores.sources(np.array([0, 1, 2**40]), "t:7")
    assert found == ["history", "t:7:0", "t:7:1099511627775"]


@given(st.lists(st.tuples(*[st.floats(0, 1e12)] * 3, st.floats(0, 1), st.floats(0, 1e13)), max_size=5))
def test_every_field_can_be_read_back(predicted: list[tuple[float, ...]]) -> None:
    """Plain decimal numbers, whatever their size: no exponent, no locale, nothing but the places promised."""
    n = len(predicted)
    demand, high, orders, p_buy, value = [list(column) for column in zip(*predicted, strict=True)] or [[]] * 5
    made = predictions(n, demand=demand, high=high, orders=orders, p_buy=p_buy, value=value)
    places = {"predicted_demand": 2, "predicted_demand_high": 2, "predicted_orders": 4, "p_buy": 4, "customer_value": 2}
    records = scores.texts(rows(*[FIRST] * n), made, ["s"], NO_OFFERS, 30, 0, "t:0")
    for record, numbers in zip(records, predicted, strict=True):
        found = dict(zip(scores.FIELDS, record, strict=False))
        for (name, digits), number in zip(places.items(), numbers, strict=True):
            whole, part = found[name].split(".")
            assert whole.isdigit()
            assert len(part) == digits
            assert float(found[name]) == pytest.approx(number, abs=0.51 * 10**-digits, rel=1e-12)


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1) | st.just(1.0)), min_size=1, max_size=50))
@example([(0.0004, 1.0), (0.6324, 1.0)])
def test_as_printed_p_buy_is_never_above_the_orders(predicted: list[tuple[float, float]]) -> None:
    """Mutation caught: fewer decimals for the orders, which say 0.000 where p_buy says 0.0004."""
    orders = [expected for expected, _ in predicted]
    p_buy = [min(1.0, expected * share) for expected, share in predicted]
    made = predictions(len(orders), orders=orders, p_buy=p_buy)
    for record in scores.texts(rows(*[FIRST] * len(orders)), made, ["s"], NO_OFFERS, 30, 0, "t:0"):
        found = dict(zip(scores.FIELDS, record, strict=False))
        assert float(found["p_buy"]) <= float(found["predicted_orders"])


@given(st.integers(-(2**62), 2**62), st.integers(1, 2**31 - 1), st.decimals(0, 10**9, places=2))
def test_what_an_order_is_worth_and_all_together_is_exact(spend: int, orders: int, value: Decimal) -> None:
    """Beside decimals; mutations caught: rounded twice, a half away from zero, a sign lost below one."""
    with localcontext(prec=60, rounding=ROUND_HALF_EVEN):
        spent, a_day = (round(Decimal(spend) / 10_000 / by, 2) for by in (1, orders))
    amount = scores.cents(np.array([spend]))
    assert Decimal(scores.money(scores.cents(np.array([spend]), np.array([orders])))[0]) == a_day
    assert Decimal(scores.totals(amount, [f"{value:.2f}"])[0]) == spent + value
