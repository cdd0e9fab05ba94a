"""`offline fit` judges fairly: an example whose label window crosses a cut is on neither side of it."""

import itertools

import numpy as np
import pandas as pd
import pytest

from models.customers import DAY, PURCHASE
from models.demand import MATURED
from models.segments import Segments
from offline import fit as job
from offline.fold import Day, Folded, fold

HORIZON, START, END = 30, 19_500, 19_800
CUTS = [END - 2 * HORIZON, END - 3 * HORIZON, END - 4 * HORIZON]
CUT = CUTS[0]


@pytest.fixture(scope="module")
def folded() -> Folded:
    """300 customers who buy every 3 to 39 days."""
    rows = [
        (f"c{n}", day * DAY + n, (4 + n * day % 50) * 10_000)
        for n in range(300)
        for day in range(START + n % 17, END, 3 + 6 * (n % 7))
    ]
    frame = pd.DataFrame(rows, columns=["customer_id", "occurred_at", "amount"])
    frame = frame.sort_values("occurred_at", kind="stable", ignore_index=True)
    ids = [f"e{i}" for i in range(len(frame))]
    return fold(frame.assign(event_id=ids, order_id=ids, kind=np.int8(PURCHASE)), END, HORIZON)


@pytest.fixture(scope="module")
def frozen(folded: Folded) -> Segments:
    return job.segments(folded)[0]


@pytest.fixture(scope="module")
def honest(folded: Folded, frozen: Segments) -> pd.DataFrame:
    """The figures of the true history."""
    return job.judge(folded.days, CUT, HORIZON, frozen)


def lying(days: list[Day], low: int, high: int) -> list[Day]:
    """Examples that close on days in [low, high) lie: who bought bought nothing, who bought nothing spent a million."""
    lies = []
    for day, names, entries in days:
        told = entries.copy()
        if low <= day < high:
            told["label"] = np.where(entries["label"] > 0, 0, 10**10)
            told["then"]["s90"] = 10**9
        lies.append((day, names, told))
    return lies


def test_an_example_whose_window_crosses_the_cut_is_on_neither_side(
    folded: Folded, frozen: Segments, honest: pd.DataFrame
) -> None:
    """Its window is [day - horizon, day): a leak is planted in every one that holds the cut, and changes nothing."""
    leaks = lying(folded.days, CUT + 1, CUT + HORIZON)
    assert any(
        (leak["label"] != true["label"]).any() for (*_, leak), (*_, true) in zip(leaks, folded.days, strict=True)
    )
    pd.testing.assert_frame_equal(job.judge(leaks, CUT, HORIZON, frozen), honest, check_exact=True)


@pytest.mark.parametrize("day", [CUT, CUT + HORIZON, CUT + 2 * HORIZON - 1])
def test_the_examples_beside_it_count(folded: Folded, frozen: Segments, honest: pd.DataFrame, day: int) -> None:
    """The last that closed by the cut is learned; those that opened in the horizon from the cut on are judged."""
    figures = job.judge(lying(folded.days, day, day + 1), CUT, HORIZON, frozen)
    labels_moved = figures.mae["zero"] != honest.mae["zero"]
    assert labels_moved == (day > CUT)
    assert figures.deviance["model"] != honest.deviance["model"]


def test_later_examples_are_not_looked_at(folded: Folded, frozen: Segments, honest: pd.DataFrame) -> None:
    figures = job.judge(lying(folded.days, CUT + 2 * HORIZON, END + 1), CUT, HORIZON, frozen)
    pd.testing.assert_frame_equal(figures, honest, check_exact=True)


def test_the_model_that_is_judged_has_learned(folded: Folded) -> None:
    """Otherwise its baseline would serve alone and the tests above see no leak into what is learned."""
    assert sum((entries["open"] == 1).sum() for day, _, entries in folded.days if day <= CUT) > MATURED


def test_cuts_leave_a_full_horizon_of_later_examples(folded: Folded, frozen: Segments) -> None:
    fitted = job.fit(folded, HORIZON)
    assert fitted.cuts == CUTS
    assert fitted.model.day == END
    assert fitted.figures.index.tolist() == ["zero", "last_period", "own_rate", "decayed_rate", "model"]
    tables = [job.judge(folded.days, cut, HORIZON, frozen) for cut in CUTS]
    for name, column in itertools.product(fitted.figures.index, ["deviance", "ngini"]):
        figures = [table[column][name] for table in tables]
        assert fitted.figures[column][name] == pytest.approx(np.mean(figures))
        assert fitted.figures[f"{column}_spread"][name] == pytest.approx(max(figures) - min(figures))


def test_a_short_history_is_fitted_but_not_judged(folded: Folded) -> None:
    early = [day for day in folded.days if day[0] <= START + 2 * HORIZON]
    fitted = job.fit(Folded(START + 2 * HORIZON, folded.table, early, {}), HORIZON)
    assert (fitted.cuts, len(fitted.figures)) == ([], 0)


def test_nothing_to_learn_from_is_said() -> None:
    frame = pd.DataFrame(
        {"event_id": ["e"], "kind": np.array([PURCHASE], np.int8), "customer_id": ["c"], "occurred_at": [START * DAY]}
    ).assign(order_id="e", product_id=None, amount=5)
    with pytest.raises(job.FitError, match="no customer's history spans a landmark: more than 30 days"):
        job.fit(fold(frame, START + 1, HORIZON), HORIZON)
