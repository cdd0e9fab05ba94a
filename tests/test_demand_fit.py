"""`offline fit` and `evaluate` judge fairly: an example whose label window holds a cut is on neither side of it."""

import dataclasses
import itertools
import re
from typing import Any

import checks
import numpy as np
import pandas as pd
import plain
import pytest

from models.kinds import PURCHASE
from models.model import fit_history
from models.rows import DAY, ENTRY, RAW
from offline.demand import fit as job
from offline.demand.buytilldie import clv
from offline.demand.evaluate import BLIND, SERVED, browsing, evaluate, mbg_nbd, run, verdict
from offline.demand.examples import COLUMNS, LeakError, Target, check, examples_of, split
from offline.demand.metrics import compare, covered, poisson_deviance
from offline.demand.regressors import REGRESSORS, folds, tune
from offline.demand.served import EVERYBODY, stream, unseen
from offline.errors import OfflineError
from offline.history.fold import Day, Folded, fold

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


def judge(days: list[Day], target: Target = "spend", batch: tuple[str, ...] = ("linear",)) -> pd.DataFrame:
    """The figures at one cut."""
    return evaluate(days, [stream(days, CUT, HORIZON)], target, HORIZON, batch).figures


@pytest.fixture(scope="module")
def honest(folded: Folded) -> pd.DataFrame:
    """The figures of the true history."""
    return judge(folded.days)


def lying(days: list[Day], low: int, high: int) -> list[Day]:
    """Examples that close on days in [low, high) lie: who bought bought nothing, who bought nothing spent a million."""
    lies = []
    for day, names, entries in days:
        told = entries.copy()
        if low <= day < high:
            told["label"] = np.where(entries["label"] > 0, 0, 10**10)
            told["orders"] = np.where(entries["orders"] > 0, 0, 99)
            told["then"]["s90"] = 10**9
        lies.append((day, names, told))
    return lies


def test_the_examples_of_a_cut(folded: Folded) -> None:
    """Beside a plain loop over (day, example); mutation caught: one day more or less on any of the three edges."""
    examples, _ = examples_of(folded, "spend", HORIZON)
    teach, judged = split(examples.day, CUT, HORIZON)
    for day, teaches, judges in zip(examples.day.tolist(), teach.tolist(), judged.tolist(), strict=True):
        window = range(day - HORIZON, day)
        assert teaches == (window[-1] < CUT)
        assert judges == (CUT <= window[0] < CUT + HORIZON)
    assert 0 < judged.sum() <= len(folded.table)
    assert len(examples) == sum((entries["open"] == 1).sum() for _, _, entries in folded.days)


@pytest.mark.parametrize("day", [CUT + 1, CUT + HORIZON - 1])
def test_a_planted_leak_is_caught(folded: Folded, day: int) -> None:
    """An example that holds the cut, handed to either side, is told by `check`, whoever made the split."""
    examples, _ = examples_of(folded, "spend", HORIZON)
    teach, judged = (examples.day[mask] for mask in split(examples.day, CUT, HORIZON))
    check(teach, judged, CUT, HORIZON)
    for teaches, judges in ((np.append(teach, day), judged), (teach, np.append(judged, day))):
        with pytest.raises(LeakError, match=f"1 examples hold the cut of day {CUT}"):
            check(teaches, judges, CUT, HORIZON)


def test_tuning_purges_too(folded: Folded) -> None:
    """Each window of the search ends before the cut, and nothing that holds its own cut is on either side."""
    examples, _ = examples_of(folded, "spend", HORIZON)
    learned = examples.part(split(examples.day, CUT, HORIZON)[0])
    windows = folds(learned.day, CUT, HORIZON)
    assert len(windows) == 2
    for number, (teach, judged) in enumerate(windows):
        cut = CUT + 1 - (2 + number) * HORIZON
        assert learned.day[teach].max() <= cut
        assert learned.day[judged].min() - HORIZON >= cut
        assert learned.day[judged].max() <= CUT


def test_an_example_whose_window_holds_the_cut_is_on_neither_side(folded: Folded, honest: pd.DataFrame) -> None:
    """Its window is [day - horizon, day): a leak is planted in every one that holds the cut. Batch regressions and
    baselines do not move at all; the served model learns daily, as the stream does, and may know it later."""
    leaks = lying(folded.days, CUT + 1, CUT + HORIZON)
    assert any(
        (leak["label"] != true["label"]).any() for (*_, leak), (*_, true) in zip(leaks, folded.days, strict=True)
    )
    pd.testing.assert_frame_equal(judge(leaks).drop(SERVED), honest.drop(SERVED), check_exact=True)
    assert judge(leaks).deviance[SERVED] != honest.deviance[SERVED]


@pytest.mark.parametrize("day", [CUT, CUT + HORIZON, CUT + 2 * HORIZON - 1])
def test_the_examples_beside_it_count(folded: Folded, honest: pd.DataFrame, day: int) -> None:
    """The last that closed by the cut is learned; those that opened in the horizon from the cut on are judged."""
    figures = judge(lying(folded.days, day, day + 1))
    labels_moved = figures.mae["zero"] != honest.mae["zero"]
    assert labels_moved == (day > CUT)
    assert (figures.deviance[["linear", SERVED]] != honest.deviance[["linear", SERVED]]).all()


def test_later_examples_are_not_looked_at(folded: Folded, honest: pd.DataFrame) -> None:
    figures = judge(lying(folded.days, CUT + 2 * HORIZON, END + 1))
    pd.testing.assert_frame_equal(figures, honest, check_exact=True)


# ---- whatever is judged ----------------------------------------------------------------------------------------------
Said = dict[str, np.ndarray[Any, np.dtype[np.float64]]]


def said(days: list[Day], target: Target) -> Said:
    """Every number that is judged at the cut, by who says it: predictions, the served bound, the floor beneath them."""
    found: Said = {}

    def compared(y: Any, predictions: Any, floor: float) -> pd.DataFrame:
        found.update(predictions, floor=np.full(len(y), floor))
        return compare(y, predictions, floor)

    def within(y: Any, predicted: Any, high: Any) -> pd.Series:
        found["high"] = high
        return covered(y, predicted, high)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("offline.demand.evaluate.compare", compared)
        patch.setattr("offline.demand.evaluate.covered", within)
        judge(days, target, ("mbg_nbd", "linear", "polynomial"))
    return found


@pytest.fixture(scope="module", params=["spend", "orders"])
def told(request: pytest.FixtureRequest, folded: Folded) -> tuple[Target, Said]:
    """The target, and what is said of the true history."""
    return request.param, said(folded.days, request.param)


def test_nothing_that_is_judged_hangs_on_what_came(folded: Folded, told: tuple[Target, Said]) -> None:
    """From the first closing of a judged example on, other labels, other customers at the closings: the same bits.
    Mutations caught: a usual purchase day, a floor or a bound from judged labels; `now` for `then`."""
    target, honest = told
    rng, others = np.random.default_rng(2), []
    for day, names, entries in folded.days:
        entries = entries.copy()
        if day >= CUT + HORIZON:
            entries["label"], entries["orders"] = (
                rng.integers(0, 10**8, len(entries)),
                rng.integers(0, 50, len(entries)),
            )
            entries["now"] = rng.permutation(entries["now"])
            for name in RAW.names or ():
                entries["now"][name] *= 7
        others.append((day, names, entries))
    found = said(others, target)
    assert found.keys() == honest.keys()
    assert {name for name, of in found.items() if of.tobytes() != honest[name].tobytes()} == set()


def test_nothing_that_is_judged_hangs_on_who_else_is(folded: Folded, told: tuple[Target, Said]) -> None:
    """Half of the judged examples never were: the others are told the same. Mutations caught: MBG/NBD, a scale or a
    pipeline fitted to the judged examples; a bound of all that was said of them."""
    target, honest = told
    rng, fewer, stay = np.random.default_rng(3), [], [np.empty(0, np.bool_)]
    for day, names, entries in folded.days:
        if CUT + HORIZON <= day < CUT + 2 * HORIZON:
            half = rng.random(len(entries)) < 0.5
            stay.append(half[entries["open"] == 1])
            names, entries = [*itertools.compress(names, half)], entries[half]
        fewer.append((day, names, entries))
    left, found = np.concatenate(stay), said(fewer, target)
    assert 0 < left.sum() < len(left)
    # A product of matrices may differ in its last bits with the number of its rows.
    assert {name for name, of in found.items() if not np.allclose(of, honest[name][left], rtol=1e-9, atol=0)} == set()


@pytest.mark.parametrize("fields", [("spend", "days"), ("s30", "n90", "c7"), ("recency", "tenure")])
def test_what_stood_at_a_closing_is_not_seen(folded: Folded, fields: tuple[str, ...]) -> None:
    """Nor is it in a scale: behind the cut everybody is told to have stood elsewhere when their examples closed.
    Mutations caught: `now` for `then` in `told` or in `Examples`; a usual purchase day of the last landmarks of all."""
    learned: list[Day] = [(day, checks.names(), checks.entries(day)) for day in range(CUT - 60, CUT + 2 * HORIZON)]
    for days, target in ((folded.days, "spend"), (learned, "orders")):
        elsewhere = [(day, names, entries.copy()) for day, names, entries in days]
        for day, _, entries in elsewhere:
            for name in fields:
                entries["now"][name] += np.where(day > CUT, 10_000, 0).astype(entries["now"][name].dtype)
        honest = judge(days, target)  # type: ignore[arg-type]  # a literal
        pd.testing.assert_frame_equal(judge(elsewhere, target), honest, check_exact=True)  # type: ignore[arg-type]


def test_the_served_model_is_the_streams(folded: Folded) -> None:
    """Each example is predicted by the model that had learned through the day on which it opened."""
    model = fit_history([day for day in folded.days if day[0] <= CUT], CUT, *EVERYBODY, HORIZON)
    predicted, expected = stream(folded.days, CUT, HORIZON).predictions["orders"], []
    by_day = {day: (names, entries) for day, names, entries in folded.days}
    for opening in range(CUT, CUT + HORIZON):
        if opening > CUT:
            model.learn_day(opening, *by_day.get(opening, ([], np.empty(0, ENTRY))))
        for entry in by_day.get(opening + HORIZON, ([], np.empty(0, ENTRY)))[1]:
            if entry["open"]:
                expected.append(plain.said(model, entry["then"].item())["orders"])
    assert predicted.tolist() == pytest.approx(expected, rel=1e-12)


def test_orders_are_judged_on_orders(folded: Folded) -> None:
    figures = judge(folded.days, "orders")
    assert figures.index.tolist() == ["zero", "own_rate", "decayed_rate", "linear", SERVED]
    examples, _ = examples_of(folded, "orders", HORIZON)
    later = examples.part(split(examples.day, CUT, HORIZON)[1])
    assert figures.mae["zero"] == pytest.approx(later.label.mean())
    assert figures.deviance["linear"] < figures.deviance["zero"]


def test_browsing_is_judged_beside_the_same_log_without_it(folded: Folded) -> None:
    """On examples that follow carts. Mutation caught: a blind log that sees the carts of the openings."""
    days = [(day, checks.names(), checks.entries(day)) for day in range(CUT - 60, CUT + 2 * HORIZON)]
    seen, blind = (stream(each, CUT, HORIZON) for each in (days, unseen(days)))
    judged = evaluate(days, [seen], "orders", HORIZON, (), blind=[blind])
    assert judged.figures.index[-2:].tolist() == [SERVED, BLIND]
    assert judged.figures.deviance[SERVED] < 0.98 * judged.figures.deviance[BLIND]
    assert re.fullmatch(r"browsing: with views and carts the deviance is .*% lower and .*", judged.browsing)
    (none,) = {each.browsing for each in run(folded, HORIZON, 1, ()).values()}
    assert none == ""
    same = {each.browsing for each in run(folded, HORIZON, 1, (), without=True).values()}
    assert same == {"browsing: this history has no views and no carts, so there is nothing to leave out"}
    once = [(day, names, entries.copy()) for day, names, entries in folded.days]
    once[0][2]["now"]["v7"] = 1
    judged_too = run(dataclasses.replace(folded, days=once), HORIZON, 1, (), without=True).values()
    assert not same & {each.browsing for each in judged_too}


def test_cuts_leave_a_full_horizon_of_later_examples(folded: Folded) -> None:
    fitted = job.run(folded, HORIZON)
    judged = fitted.verdict.judged["spend"]
    assert judged.cuts == CUTS
    assert fitted.model.day == END
    assert judged.figures.index.tolist() == ["zero", "last_period", "own_rate", "decayed_rate", SERVED]
    for name, column in itertools.product(judged.figures.index, ["deviance", "ngini"]):
        figures = [judged.by_cut[column][cut, name] for cut in CUTS]
        assert judged.figures[column][name] == pytest.approx(np.mean(figures))
        assert judged.figures[f"{column}_spread"][name] == pytest.approx(max(figures) - min(figures))


@pytest.mark.parametrize(
    ("decayed", "own", "said"),
    [
        (10.0, 12.0, "10.0% less than decayed_rate"),
        (9.9, 8.0, "12.5% more than own_rate"),
        (9.01, 9.3, "as good as decayed_rate"),
    ],
)
def test_the_served_model_stands_beside_the_best_that_needs_no_learning(decayed: float, own: float, said: str) -> None:
    line = verdict(pd.Series({"zero": 90.0, "own_rate": own, "decayed_rate": decayed, SERVED: 9.0}))
    assert line == f"served: mean Poisson deviance 9.000, {said}, the best that needs no learning"


@pytest.mark.parametrize(("best", "served"), [(2e-6, 0.089), (1e-9, 2.0), (0.001, 0.012)])
def test_how_many_times_next_to_nothing_is_no_figure(best: float, served: float) -> None:
    """Where nobody came back after the cuts, and to expect nothing is right."""
    line = verdict(pd.Series({"zero": best, "own_rate": 17.0, SERVED: served}))
    assert line == f"served: mean Poisson deviance {served:.3f}, more than zero, the best that needs no learning"


@pytest.mark.parametrize(("served", "said"), [(0.0, "as good as last_period"), (1e-9, "0.000, more than last_period")])
def test_a_best_that_errs_in_nothing_is_no_division(served: float, said: str) -> None:
    """Where everybody always buys alike. Mutation caught: the share of nothing."""
    assert said in verdict(pd.Series({"zero": 9.0, "last_period": 0.0, SERVED: served}))
    figures = pd.Series({"deviance": served, "ngini": float("nan")}), pd.Series({"deviance": 0.0, "ngini": 0.5})
    assert not re.search("nan|inf", browsing(*figures))


def test_a_better_ranking_alone_is_told_too() -> None:
    """Mutation caught: as good as without, where only the deviance is."""
    seen, unseen = (pd.Series({"deviance": 10.0, "ngini": ngini}) for ngini in (0.75, 0.74))
    assert browsing(seen, unseen).endswith("and nGini .010 higher than without")
    assert browsing(seen, seen) == "browsing: with views and carts the served model is as good as without"


@pytest.mark.parametrize("name", REGRESSORS)
def test_each_regression_beats_nothing_and_repeats_itself(folded: Folded, name: str, monkeypatch: Any) -> None:
    """Twice the same bits, never below 0, finite on what no customer looks like, less deviance than the mean."""
    monkeypatch.setitem(REGRESSORS, "svr", dataclasses.replace(REGRESSORS["svr"], rows=600))
    examples, _ = examples_of(folded, "spend", HORIZON)
    teach, judged = split(examples.day, CUT, HORIZON)
    learned, later = examples.part(teach), examples.part(judged)
    first, second = (tune(name, learned, "spend", HORIZON) for _ in range(2))
    predicted = first.predict(later.x)
    assert predicted.tobytes() == second.predict(later.x).tobytes()
    assert first.rows == (600 if name == "svr" else len(learned))
    assert len(first.scores) >= 2
    odd = first.predict(np.vstack([np.zeros(len(COLUMNS)), np.full(len(COLUMNS), 1e9)]))
    assert np.isfinite(odd).all()
    assert min(predicted.min(), odd.min()) >= 0
    mean = np.full(len(later), learned.label.mean())
    assert poisson_deviance(later.label, predicted, 0.01) < poisson_deviance(later.label, mean, 0.01)


def test_a_sample_is_half_buyers_and_its_total_is_put_right(folded: Folded, monkeypatch: Any) -> None:
    """Mutation caught: the factor left out: half a sample of buyers predicts twice what is bought."""
    monkeypatch.setitem(REGRESSORS, "svr", dataclasses.replace(REGRESSORS["svr"], rows=600))
    examples, _ = examples_of(folded, "spend", HORIZON)
    tuned = tune("svr", examples, "spend", HORIZON)
    assert tuned.predict(examples.x).mean() == pytest.approx(examples.label.mean(), rel=0.1)


def test_a_short_history_is_fitted_but_not_judged(folded: Folded) -> None:
    early = [day for day in folded.days if day[0] <= START + 2 * HORIZON]
    fitted = job.run(Folded(START + 2 * HORIZON, folded.table, early, {}, folded.pauses), HORIZON)
    assert fitted.verdict.judged == {}
    assert fitted.model.examples > 0


def test_nothing_to_learn_from_is_said() -> None:
    frame = pd.DataFrame(
        {"event_id": ["e"], "kind": np.array([PURCHASE], np.int8), "customer_id": ["c"], "occurred_at": [START * DAY]}
    ).assign(order_id="e", product_id=None, amount=5)
    with pytest.raises(OfflineError, match="no customer's history spans a landmark: more than 30 days"):
        job.run(fold(frame, START + 1, HORIZON), HORIZON)


def test_mbg_nbd_is_that_of_the_summary(folded: Folded) -> None:
    """The features of the fold say what the value job counts from the history: x, t_x and T of every customer."""
    raw = folded.table.observe(np.arange(len(folded.table)), END)
    x, last, span = clv(raw)
    days = [range(START + n % 17, END, 3 + 6 * (n % 7)) for n in range(300)]
    rows = folded.table.ids.find([f"c{n}" for n in range(300)])
    assert x[rows].tolist() == [len(d) - 1 for d in days]
    assert last[rows].tolist() == [d[-1] - d[0] for d in days]
    assert span[rows].tolist() == [END - 1 - d[0] for d in days]
    examples, _ = examples_of(folded, "orders", HORIZON)
    learned, later = (examples.part(mask) for mask in split(examples.day, CUT, HORIZON))
    predicted = mbg_nbd(learned, later, "orders", CUT, HORIZON)
    assert np.corrcoef(predicted, later.label)[0, 1] > 0.9
    assert predicted.sum() == pytest.approx(later.label.sum(), rel=0.2)
