"""Retention by month of the first purchase: what a plain loop counts, and nothing of months that are not over."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.kinds import PURCHASE, RETURN, VIEW
from models.rows import DAY
from offline.report.cohorts import cohorts

START = datetime.date(2023, 11, 15)
EVENT = st.tuples(st.sampled_from("abcd"), st.integers(0, 150), st.sampled_from([PURCHASE, PURCHASE, RETURN, VIEW]))


def frame(events: list[tuple[str, int, int]]) -> pd.DataFrame:
    """Of (customer, days after START, kind)."""
    day = np.array([number(START) + d for _, d, _ in events], np.int64)
    columns = {
        "customer_id": [who for who, *_ in events],
        "occurred_at": day * DAY + DAY - 1,
        "kind": [k for *_, k in events],
    }
    return pd.DataFrame(columns)


def number(date: datetime.date) -> int:
    return (date - datetime.date(1970, 1, 1)).days


def month(date: datetime.date) -> int:
    return 12 * date.year + date.month


@given(st.lists(EVENT, min_size=1, max_size=40), st.integers(0, 40))
def test_shares_are_what_a_plain_loop_counts(events: list[tuple[str, int, int]], beyond: int) -> None:
    events = [*events, ("a", 3, PURCHASE)]
    end = START + datetime.timedelta(max(d for _, d, _ in events) + 1 + beyond)
    found = cohorts(frame(events), number(end))
    came: dict[str, set[int]] = {}
    for who, d, kind in events:
        if kind == PURCHASE:
            came.setdefault(who, set()).add(month(START + datetime.timedelta(d)))
    firsts = sorted({min(months) for months in came.values()})
    assert found.shares.index.tolist() == [f"{(m - 1) // 12}-{(m - 1) % 12 + 1:02}" for m in firsts]
    for i, first in enumerate(firsts):
        cohort = [months for months in came.values() if min(months) == first]
        assert found.customers.iloc[i] == len(cohort)
        for since, share in enumerate(found.shares.iloc[i].tolist()):
            if since and first + since >= month(end):  # the month of the cut-off is not over
                assert np.isnan(share)
            else:
                assert share == pytest.approx(sum(first + since in months for months in cohort) / len(cohort))
    old = [months for months in came.values() if min(months) + 1 < month(end)]
    mean = np.mean([min(months) + 1 in months for months in old]) if old else np.nan
    assert found.mean(1) == pytest.approx(mean, nan_ok=True)
    assert np.isnan(found.mean(99))


def test_a_month_is_over_at_its_last_midnight() -> None:
    events = [("a", 0, PURCHASE), ("a", 20, PURCHASE)]  # 15 November, 5 December
    assert list(cohorts(frame(events), number(datetime.date(2023, 12, 31))).shares) == [0]
    assert cohorts(frame(events), number(datetime.date(2024, 1, 1))).shares.to_numpy().tolist() == [[1.0, 1.0]]
