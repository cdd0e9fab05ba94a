"""The models: the shared promises (tests/checks.py), each against its plain oracle, and the figures they must reach."""

import json
from typing import Any

import numpy as np
import pandas as pd
import plain
import pytest
from checks import CASES, CHECKS, FIRST, HORIZON, USUAL, Case, clusters, entries, names, raws, segments, untaught
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks import learning
from benchmarks.logs import cdnow
from models import cadence
from models.bound import QUANTILE, RATIOS, Upper
from models.cadence import Cadence
from models.clusters import RATE, Clusters
from models.events import Batch
from models.features import INPUTS, UNIT, inputs_exact, inputs_many, standing_many
from models.kinds import CART, PURCHASE, VIEW
from models.mix import EXPERTS, Mix, Weights
from models.model import PARTS, Model, Predictions, fit_history
from models.ridge import DECAY, ORDERS, SPEND, Ridge
from models.rows import DAY, ENTRY, RAW
from models.scales import FEW, in_own_scale, scales, usual_day
from offline.demand.metrics import compare, poisson_deviance

Array = NDArray[Any]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_model_keeps_every_promise(case: Case, check: Any) -> None:
    check(case)


# ---- features --------------------------------------------------------------------------------------------------------
def finite(kind: str) -> st.SearchStrategy[Any]:
    if kind[0] == "i":
        return st.integers(-(2 ** (8 * int(kind[1]) - 1)), 2 ** (8 * int(kind[1]) - 1) - 1)
    return st.floats(width=32, allow_nan=False, allow_infinity=False)


raw_rows = st.lists(st.tuples(*(finite(RAW[name].str[1:]) for name in RAW.names or ())), min_size=1, max_size=20)


@given(raw_rows, st.integers(1, 365), st.floats(0, 1e6))
def test_the_compiled_inputs_equal_the_scalar_ones(rows: list[Any], horizon: int, usual: float) -> None:
    raw = np.array(rows, RAW)
    exact = inputs_exact(raw, horizon, usual)
    each_row: Any = raw.tolist()
    assert exact.tobytes() == np.array([plain.inputs(each, horizon, usual) for each in each_row]).tobytes()
    assert np.isfinite(exact).all()
    assert exact.min() >= 0
    np.testing.assert_allclose(inputs_many(raw, horizon, usual), exact, rtol=1e-12, atol=0)
    np.testing.assert_allclose(
        standing_many(raw, 21.5), [plain.standing(each, 21.5) for each in raw.tolist()], rtol=1e-12, atol=0
    )


def test_learning_takes_exponentials_from_math() -> None:
    """Mutation caught: numpy's exp, which gives other bits for one number of days in 34 on some machines."""
    raw = np.zeros(5_000, RAW)
    raw["recency"], raw["orders"], raw["days"] = np.arange(5_000), 3, 2
    rows: Any = raw.tolist()
    one_by_one = [[*plain.inputs(each, HORIZON, USUAL)] for each in rows]
    assert inputs_exact(raw, HORIZON, USUAL).tolist() == one_by_one


def test_the_inputs_read_the_fields_they_name() -> None:
    raw = np.zeros(1, RAW)
    raw["spend"], raw["s30"], raw["s90"], raw["n30"], raw["n90"] = 120 * UNIT, 30 * UNIT, 60 * UNIT, 1, 2
    raw["v7"], raw["c7"], raw["orders"], raw["days"], raw["tenure"], raw["recency"] = 3, 0.5, 5, 4, 120, 90
    rate, per_day, orders_day = np.log(2) / 3, (72 + 120) / 6, 7 / 6
    expected = {"r30": 30 * 3 * rate, "r90": 60 * rate, "o90m": 2 * rate * per_day, "own": 24.0, "m90": per_day / np.e}
    expected |= {"v7m": 3 * per_day, "c7m": 0.5 * per_day, "n30": 3 * rate, "n90": 2 * rate, "own_orders": 1.0}
    expected |= {"e90_orders": orders_day / np.e, "v7_orders": 3 * orders_day, "c7_orders": 0.5 * orders_day}
    row: Any = raw.tolist()[0]
    assert dict(zip(INPUTS, plain.inputs(row, 30, 36.0), strict=True)) == pytest.approx(expected | {"one": 1.0})
    raw["orders"] = raw["days"] = raw["tenure"] = 0
    row = raw.tolist()[0]
    first = dict(zip(INPUTS, plain.inputs(row, 30, 36.0), strict=True))
    assert [first[name] for name in ("own", "v7m", "own_orders", "v7_orders")] == [120, 3 * 96, 0, 3]


def test_browsing_inputs_are_zero_without_browsing() -> None:
    raw = raws(100)
    raw["v7"] = raw["c7"] = 0
    browsing = [INPUTS.index(name) for name in ("v7m", "c7m", "v7_orders", "c7_orders")]
    assert not inputs_many(raw, HORIZON, USUAL)[:, browsing].any()


def test_any_memory_layout_is_scored_alike() -> None:
    day = entries(FIRST)
    stored = np.frombuffer(day.tobytes(), ENTRY)["now"]  # read-only and strided, as the store hands it over
    np.testing.assert_array_equal(inputs_many(stored, 30, 36.0), inputs_many(day["now"].copy(), 30, 36.0))


# ---- clusters --------------------------------------------------------------------------------------------------------
def test_ties_go_to_the_lower_number() -> None:
    model = Clusters([[1.0, 2, 3]] * 3, [0.0] * 3, [1.0] * 3, 30.0, [2, 4, 7], ["a", "b", "c"], [0] * 3)
    assert {plain.cluster(model, raw) for raw in raws(50).tolist()} == {2}
    assert set(model.predict_many(raws(50)).tolist()) == {2}


def test_learning_moves_the_nearest_centre_by_the_rate() -> None:
    model, raw = clusters(), raws(300)
    centres, scaled = model.centres, (standing_many(raw, model.gap) - model.mean) / model.sd
    for z in scaled:
        nearest = ((centres - z) ** 2).sum(1).argmin()
        centres[nearest] += RATE * (z - centres[nearest])
    model.learn_many(raw)
    np.testing.assert_allclose(model.centres, centres, rtol=1e-9)


def test_a_constant_feature_does_no_harm() -> None:
    model = Clusters(np.eye(3), [1.0, 2, 3], [0.0, 1, 1], 30.0, [0, 1, 2], list("abc"), [0] * 3)
    model.learn_many(raws(100))
    assert np.isfinite(model.centres).all()


@pytest.mark.parametrize(
    ("centres", "numbers", "told"),
    [([[0, 0, 0]], [0, 1], "ab"), ([[0, 0]], [0], "a"), (np.eye(3), [0, 2, 1], "abc"), (np.eye(3), [0, 1, 2], "ab")],
)
def test_clusters_that_do_not_fit_together_are_refused(centres: Any, numbers: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=r"^clusters: "):
        Clusters(centres, [0, 0, 0], [1, 1, 1], 30.0, numbers, list(told), [0] * len(told))


# ---- demand ----------------------------------------------------------------------------------------------------------
def example(n: int, seed: int) -> tuple[Array, Array]:
    x = inputs_exact(raws(n, seed), HORIZON, USUAL)
    labels = np.random.default_rng(seed).poisson(x[:, INPUTS.index("r30")] * 0.1) * 3.0
    return x, labels


def test_the_correction_is_a_decayed_weighted_ridge() -> None:
    model, unit, cap = Ridge(SPEND, 8.0, 400.0), 8.0, 400.0
    columns, precision, eta = [INPUTS.index(name) for name in SPEND.names], 100 * np.eye(8), np.zeros(8)
    for day in range(15):
        x, labels = example(100, day)
        model.learn_many(x, labels)
        base = x[:, INPUTS.index("r90")]
        rows = np.minimum(x[:, columns], cap) / unit
        rows[:, -1] = 1
        weight = 1 / (base / unit + 0.05)
        precision = 100 * np.eye(8) + DECAY * (precision - 100 * np.eye(8)) + (rows * weight[:, None]).T @ rows
        eta = DECAY * eta + rows.T @ (weight * (np.minimum(labels, cap) - base) / unit)
    fitted = np.maximum(0, base + unit * rows @ np.linalg.solve(precision, eta))
    np.testing.assert_allclose(model.predict_many(x), fitted, rtol=1e-8, atol=1e-10)


def test_a_day_learned_at_once_equals_rivers_learn_one() -> None:
    model, one = Ridge(ORDERS, 1.0, 1.0), Ridge(ORDERS, 1.0, 1.0)
    x, labels = example(50, 1)
    model.learn_many(x, labels.clip(0, 1))
    for row, y, base in zip(one.rows(x), labels.clip(0, 1), x[:, INPUTS.index("n90")], strict=True):
        weight = np.sqrt(1 / (base + 0.05))
        one.model.learn_one(dict(zip(ORDERS.names, (weight * row).tolist(), strict=True)), float(weight * (y - base)))
    np.testing.assert_allclose(model.coefficients, one.model._ss_inv_arr[:7, :7] @ one.model._eta_arr[:7], rtol=1e-9)


def test_a_day_is_learned_to_the_bits_of_a_frame_of_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Ridge(SPEND, 8.0, 400.0), Ridge(SPEND, 8.0, 400.0)
    days = [example(n, n) for n in (1, 2, 7, 1500)]
    for day in days:
        ours.learn_many(*day)
    monkeypatch.setattr(
        "models.ridge._Frame", lambda values, names: pd.DataFrame(np.array(values, order="C"), columns=list(names))
    )
    monkeypatch.setattr("models.ridge._Series", pd.Series)
    for day in days:
        theirs.learn_many(*day)
    assert ours.snapshot() == theirs.snapshot()


def test_equal_inputs_give_rivers_own_bits() -> None:
    """What the bound learns by (`predict_many` on exact inputs) is what river's `predict_one` would say."""
    model = Ridge(SPEND, 8.0, 400.0)
    model.learn_many(*example(1500, 2))
    x, _ = example(200, 3)
    assert model.predict_many(x).tolist() == [plain.corrected(model, row) for row in x.tolist()]


def test_what_was_learned_fades_but_the_prior_does_not() -> None:
    model = Ridge(SPEND, 8.0, 400.0)
    model.learn_many(*example(1500, 2))
    learned = model.coefficients
    for _ in range(90):
        model.learn_many(np.empty((0, len(INPUTS))), np.empty(0))
    assert model.snapshot()["examples"] == 1500
    assert 0 < np.abs(model.coefficients).sum() < np.abs(learned).sum()
    for _ in range(9000):
        model.learn_many(np.empty((0, len(INPUTS))), np.empty(0))
    np.testing.assert_allclose(model.coefficients, 0, atol=1e-9)
    np.testing.assert_allclose(model.snapshot()["precision"], np.eye(8), atol=1e-9)


def test_one_giant_order_does_not_move_the_others() -> None:
    calm, struck = Ridge(SPEND, 8.0, 400.0), Ridge(SPEND, 8.0, 400.0)
    x, labels = example(3000, 2)
    calm.learn_many(x, labels)
    giant = labels.copy()
    giant[5] = 1e9
    struck.learn_many(x, giant)
    assert np.abs(struck.predict_many(x) - calm.predict_many(x)).mean() < 1.0


@pytest.mark.parametrize(("unit", "cap"), [(0, 1), (1, 0), (np.inf, 1), (1, np.nan)])
def test_a_scale_that_is_none_is_refused(unit: float, cap: float) -> None:
    with pytest.raises(ValueError, match="must be positive and finite"):
        Ridge(SPEND, unit, cap)


def test_a_snapshot_from_another_kind_of_cpu_serves_its_own_coefficients() -> None:
    """Solved here they might differ in the last bits; a worker serves what the trainer did, and learns by the sums."""
    model = Ridge(SPEND, 8.0, 400.0)
    model.learn_many(*example(1500, 2))
    state = model.snapshot()
    elsewhere = state | {"coefficients": [np.nextafter(c, 9.0) for c in state["coefficients"]]}
    restored = Ridge.restore(SPEND, elsewhere)
    assert restored.snapshot() == elsewhere
    for each in (model, restored):
        each.learn_many(*example(100, 3))
    assert restored.snapshot() == model.snapshot()


def test_a_snapshot_of_other_inputs_is_refused() -> None:
    with pytest.raises(ValueError, match="learned on n30"):
        Ridge.restore(SPEND, Ridge(ORDERS, 1.0, 1.0).snapshot())


# ---- scales ----------------------------------------------------------------------------------------------------------
@given(st.lists(st.floats(0, 1e6), max_size=30), st.floats(0.01, 1e4), st.booleans())
def test_scales_are_positive_for_any_labels(labels: list[float], usual: float, many: bool) -> None:
    found = scales(np.array(labels * (FEW if many else 1)), usual)
    assert max(labels, default=1) < 1e-300 or all(0 < x < np.inf for x in found)


@pytest.mark.parametrize("n", [50, 5_000])
@pytest.mark.parametrize("giant", [1e6, 1e12])
def test_a_giant_moves_no_scale(n: int, giant: float) -> None:
    """Mutations caught: a mean without a cap, a quantile of few labels, a median over nothing."""
    rng = np.random.default_rng(n)
    labels, days = rng.lognormal(3, 1, n) * (rng.random(n) < 0.3), np.full(n, 2.0)
    struck, most = np.append(labels, giant), 2.0 if n < FEW else 1.1
    for calm, moved in zip(scales(labels, 20.0), scales(struck, 20.0), strict=True):
        assert calm <= moved < most * calm
    usual = usual_day(labels, days)
    assert usual <= usual_day(struck, np.append(days, 1.0)) < most * usual


def test_of_many_labels_the_highest_quantile_caps_them() -> None:
    """Of few it means nothing: then twenty medians do. Mutations caught: the quantile left out; asked of few."""
    for n, part in ((FEW, 0.5005), (2 * FEW, 0.0005)):  # of the way from the last 1 to the 40
        assert scales(np.append(np.ones(n - 1), 40.0), 5.0).cap == pytest.approx(1 + 39 * part)
    assert scales(np.append(np.ones(FEW - 2), 40.0), 5.0).cap == 20.0


def test_nobody_who_spent_has_a_usual_day_of_one() -> None:
    assert usual_day(np.empty(0), np.empty(0)) == 1.0
    assert usual_day(np.array([-5.0, 0.0]), np.array([1, 2])) == 1.0


# ---- rhythms ---------------------------------------------------------------------------------------------------------
def rhythmic(n: int, gap: int, recency: Any, days: int = 6) -> Array:
    """Customers who bought every `gap` days, `recency` days ago for the last time; 20 a time."""
    raw = np.zeros(n, RAW)
    raw["days"], raw["orders"], raw["recency"], raw["tenure"] = days, days, recency, recency + gap * (days - 1)
    raw["spend"], raw["n90"] = days * 20 * UNIT, 1.0
    return raw


def test_each_of_the_cells_is_reached_and_no_other() -> None:
    once = np.zeros(400, RAW)
    once["days"], once["recency"] = 1, np.arange(400)
    ratios = (0.2, 0.4, 0.6, 0.8, 1, 1.3, 2, 4, 6)
    some = [
        rhythmic(len(ratios), gap, np.rint(np.array(ratios) * gap), days)
        for gap in (5, 10, 20, 31, 50, 99, 300)
        for days in (2, 3, 4, 9)
    ]
    found = np.unique(np.concatenate([cadence.cells(each, HORIZON) for each in (once, *some)]))
    assert found.tolist() == [*range(cadence.CELLS)]


def test_who_is_due_is_told_from_who_is_not() -> None:
    """Every 28 days, of whom the due ones buy: a rate over 90 days knows no such thing."""
    model = Cadence(7, 20.0, 400.0, 20.0)
    rng = np.random.default_rng(1)
    for _ in range(60):
        silent = rng.integers(0, 28, 100)
        due = np.where(silent >= 21, 1.0, 0.0)
        model.learn_many(rhythmic(100, 28, silent), 20 * due, due)
    raw = rhythmic(2, 28, np.array([3, 26]))
    follows = model.predict_many(raw, inputs_exact(raw, 7, 20.0))
    for early, late, truth in zip(*np.stack(follows, 1), (20.0, 1.0, 1.0), strict=True):
        assert early < 0.15 * truth
        assert late == pytest.approx(truth, rel=0.15)


def test_a_cell_without_examples_believes_the_customers_own_rate() -> None:
    raw = raws(100)
    x, model = inputs_exact(raw, HORIZON, USUAL), Cadence(HORIZON, USUAL, 1e6, 1e3)
    follows = model.predict_many(raw, x)
    np.testing.assert_allclose(follows.orders, x[:, INPUTS.index("n90")], rtol=1e-12)
    n90 = x[:, INPUTS.index("n90")]
    np.testing.assert_allclose(follows.buyers, n90 / (1 + n90), rtol=1e-12)  # of who buys at that rate, at any time


def test_a_cell_keeps_what_followed_capped_and_half_of_it_after_180_days() -> None:
    """Mutations caught: nothing fades; spend, or orders, counted beyond their caps; a buyer who counts as often as they
    ordered."""
    model, raw = Cadence(30, 20.0, 50.0, 3.0), rhythmic(4, 28, np.array([1, 1, 1, 14]))
    model.learn_many(raw, np.array([80.0, 10.0, 0.0, 7.0]), np.array([5.0, 1.0, 0.0, 2.0]))
    for _ in range(180):
        model.learn_many(raw[:0], np.empty(0), np.empty(0))
    here, other = cadence.cells(raw, 30)[[0, 3]]
    money = cadence.a_day(raw, 20.0, 50.0)
    np.testing.assert_allclose(2 * model.sums[here], [60, money[:3].sum(), 4, 2, 3])
    np.testing.assert_allclose(2 * model.sums[other], [7, money[3], 2, 1, 1])
    assert np.count_nonzero(model.sums.any(1)) == 2


# ---- experts mixed ---------------------------------------------------------------------------------------------------
def days_of(n: int, best: int, seed: int, good: float = 1.0) -> Any:
    """Days of (what four experts say, what comes): one of them tells the truth, the others a multiple of it."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        truth = rng.lognormal(0, 1, 50)
        said = np.stack([truth * factor for factor in (0.3, 0.5, 2.0, 3.0)], 1)
        said[:, best] = truth * good
        yield said, rng.poisson(truth).astype(float)


def losses(said: Array, y: Array) -> Array:
    said = said + 0.05
    found: Array = said - y * np.log(said)
    return found


@pytest.mark.parametrize("best", range(4))
def test_weight_goes_to_the_expert_that_is_right_and_follows_when_another_is(best: int) -> None:
    weights, other = Weights(4), (best + 1) % 4
    for leader in (best, other):
        for said, y in days_of(400, leader, leader):
            mixed = weights.mix(said)
            weights.learn(said, (mixed - y) / (mixed + 0.05))
        assert weights.shares[leader] > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_the_mix_loses_no_more_than_the_best_expert_by_much(seed: int) -> None:
    """Even where none is right: a mix of two that err to either side is better than both."""
    weights, served, each = Weights(4), 0.0, np.zeros(4)
    for said, y in days_of(300, 1, seed, good=0.8):
        mixed = weights.mix(said)
        served += losses(mixed, y).sum()
        each += losses(said, y[:, None]).sum(0)
        weights.learn(said, (mixed - y) / (mixed + 0.05))
    assert served < each.min() + 0.01 * abs(each.min())


def test_weights_are_equal_at_first_and_convex_ever_after() -> None:
    weights = Weights(4)
    assert weights.shares.tolist() == [0.25] * 4
    for said, y in days_of(50, 2, 9):
        weights.learn(said, weights.mix(said) - y)
        assert weights.shares.min() >= 0
        assert weights.shares.sum() == pytest.approx(1)
    weights.learn(np.empty((0, 4)), np.empty(0))
    assert weights.shares.sum() == pytest.approx(1)


def test_nobody_is_served_more_than_the_cap_for_each_order_expected() -> None:
    """Who ordered for ten million yesterday is a giant to every expert that knows his rate."""
    mix = Mix(3.0, 400.0, capped=True)
    x = np.zeros((2, len(INPUTS)))
    x[:, INPUTS.index("r90")], x[:, INPUTS.index("n90")] = 1e7, [0.2, 3.0]
    assert mix.predict_many(x, np.full(2, 1e7), np.full(2, 1e7)).tolist() == [300.0, 900.0]  # of 400: r30 says 0
    orders = Mix(1.0, 5.0, capped=False)
    assert orders.experts(x, np.full(2, 9.0), np.full(2, 9.0))[0].tolist() == [0.2, 0.0, 9.0, 9.0]
    assert len(EXPERTS) == 4


@pytest.mark.parametrize("capped", [True, False])
def test_a_mix_learns_of_a_giant_what_it_learns_of_the_cap(capped: bool) -> None:
    """Who ordered for a thousand million teaches no more than 50, nor does an expert who said so. Mutations caught: the
    label, or what was said, taken as it is."""
    x = np.zeros((2, len(INPUTS)))
    x[:, [INPUTS.index(name) for name in ("r30", "r90", "n30", "n90")]] = 3.0
    states = []
    for most in (50.0, 1e9):
        mix = Mix(2.0, 50.0, capped)
        mix.learn_many(x, np.array([most, 4.0]), np.array([4.0, most]), np.array([most, 1.0]))
        states.append(mix.snapshot())
    assert states[0] == states[1]
    assert len({*states[0]["shares"]}) > 1


# ---- the bound -------------------------------------------------------------------------------------------------------
def test_nine_of_ten_like_customers_stay_under_the_bound() -> None:
    rng = np.random.default_rng(3)
    predictions = rng.lognormal(1, 1, 40_000)
    labels = predictions * rng.lognormal(0, 1.0, 40_000) * (rng.random(40_000) < 0.7)
    model = Upper.create(predictions)
    for day in range(20):
        model.learn_many(predictions[day::20], labels[day::20])
    bound = model.predict_many(predictions)
    which = np.searchsorted(model.edges, predictions, side="right")
    assert len(model.edges) == 21
    for k in range(22):  # the outer bins too: what is counted are ratios
        assert QUANTILE - 0.02 < np.mean(labels[which == k] <= bound[which == k]) < QUANTILE + 0.06


def test_one_price_is_within_the_bound() -> None:
    """Who buys at all pays 12.00. Mutation caught: a quantile inside of the bucket that holds the price."""
    model = Upper([])
    model.learn_many(np.full(1_000, 10.0), np.where(np.arange(1_000) % 8 < 7, 12.0, 0.0))
    assert 12 <= model.predict_many(np.array([10.0]))[0] < 12 * RATIOS[1] / RATIOS[0]


@pytest.mark.parametrize(("nine", "bound"), [(12.0, 12.0), (0.0, 10.0)])
def test_who_is_just_nine_of_ten_bounds_by_the_largest_of_them(nine: float, bound: float) -> None:
    """Mutation caught: a quantile of more than nine of ten, by which the largest of all would bound."""
    model = Upper([])
    model.learn_many(np.full(10, 10.0), np.array([*[nine] * 9, 90.0]))
    assert bound <= model.predict_many(np.array([10.0]))[0] < 1.3 * bound


def test_the_bound_without_labels_is_the_prediction() -> None:
    model = Upper([1.0, 2.0])
    assert model.predict_many(np.array([0.0, 1.5, 7.0])).tolist() == [0, 1.5, 7.0]
    model.learn_many(np.full(100, 1.5), np.full(100, 8.0))  # the bins beside it know nothing: they take what all know
    assert (model.predict_many(np.array([0.5, 1.5, 9.0])) >= np.array([0.5, 1.5, 9.0]) * 8 / 1.5).all()


def test_a_bin_with_one_label_is_bound_by_it_and_an_edge_is_of_the_bin_above() -> None:
    """Mutations caught: what all know taken for it; a prediction on an edge looked up in the bin below."""
    model = Upper([5.0])
    model.learn_many(np.array([4.0, 5.0]), np.array([4.0, 50.0]))
    below, on = model.predict_many(np.array([4.0, 5.0]))
    assert (4.0 <= below < 1.3 * 4.0, 50.0 <= on < 1.3 * 50.0) == (True, True)


def test_the_bound_forgets_half_in_90_days() -> None:
    """Mutation caught: every label that ever came counted alike."""
    model = Upper([5.0])
    model.learn_many(np.array([4.0, 4.0, 6.0]), np.array([0.0, 8.0, 6.0]))
    before = model.counts.copy()
    for _ in range(90):
        model.learn_many(np.empty(0), np.empty(0))
    np.testing.assert_allclose(2 * model.counts, before)
    assert before.sum() == 3


def test_labels_on_the_edges_are_counted_in_the_right_bucket() -> None:
    model, last = Upper([5.0]), len(RATIOS)
    model.learn_many(np.array([5.0, 4.0, 4.0, 4.0]), np.array([0.0, 4 * RATIOS[0], 4 * RATIOS[7] * 1.0001, 1e9]))
    where = np.argwhere(model.counts).tolist()
    assert where == [[0, 1], [0, 9], [0, last], [1, 0]]


@pytest.mark.parametrize("part", ["cadence", "spend_mix", "buy_mix", "upper"])
def test_a_snapshot_of_another_shape_is_refused(part: str) -> None:
    state = untaught().snapshot()[part]
    for name in ("sums", "regret", "counts"):
        if name in state:
            state |= {name: state[name][:-1]}
    with pytest.raises(ValueError, match=r"of \(?\d"):
        PARTS[part].restore(state)


# ---- the model as a whole --------------------------------------------------------------------------------------------
def test_each_column_has_one_part_and_whoever_can_learn_is_taught() -> None:
    """Mutations caught: a part in the list without a `gives` or a `learns`, which would be served or taught nowhere."""
    columns = [column for role in PARTS.values() for column in role.gives]
    assert len(set(columns)) == len(columns)
    assert set(Predictions._fields) < set(columns)
    for name, role in PARTS.items():
        part = getattr(untaught(), name)
        assert hasattr(part, "predict_many") == bool(role.sees) == bool(role.gives)
        assert hasattr(part, "learn_many") == bool(role.learns)


def cold() -> Model:
    return Model.create(FIRST, np.empty(0), np.empty(0), USUAL, segments(), clusters(), HORIZON)


def history(days: int, skip: tuple[int, ...] = ()) -> list[tuple[int, list[str], Array]]:
    return [(day, names(), entries(day)) for day in range(FIRST + 1, FIRST + 1 + days) if day not in skip]


def test_a_restored_model_learns_on_to_the_same_bits_for_seventy_days() -> None:
    model = untaught(entries(FIRST))
    for day in range(FIRST + 1, FIRST + 71):
        n = day % 5 * 30  # empty days too
        text = json.dumps(model.snapshot())
        restored = Model.restore(json.loads(text))
        assert json.dumps(restored.snapshot()) == text
        model.learn_day(day, names(n), entries(day, n))
        restored.learn_day(day, names(n), entries(day, n))
        assert json.dumps(restored.snapshot()) == json.dumps(model.snapshot())
        ours, theirs = model.predict_many(raws(100, day)), restored.predict_many(raws(100, day))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True))
    assert model.examples > 1_000


@settings(max_examples=10)
@given(st.permutations(range(40)))
def test_the_order_of_arrival_does_not_matter(order: list[int]) -> None:
    model, other, day = cold(), cold(), entries(FIRST + 1, 40)
    model.learn_day(FIRST + 1, names(40), day)
    other.learn_day(FIRST + 1, [names(40)[i] for i in order], day[order])
    assert other.snapshot() == model.snapshot()


def test_what_was_served_and_where_a_row_stood_are_not_learned() -> None:
    model, other, day = cold(), cold(), entries(FIRST + 1)
    model.learn_day(FIRST + 1, names(), day)
    day["open_version"], day["open_demand"], day["row"] = 7, 99.0, 5
    other.learn_day(FIRST + 1, names(), day)
    assert other.snapshot() == model.snapshot()


def test_a_first_landmark_teaches_the_clusters_only() -> None:
    model, day = cold(), entries(FIRST + 1)
    day["open"] = 0
    idle = cold()
    idle.learn_day(FIRST + 1, [], entries(FIRST + 1, 0))
    model.learn_day(FIRST + 1, names(), day)
    ours, theirs = model.snapshot(), idle.snapshot()
    assert ours.pop("clusters") != theirs.pop("clusters")
    assert ours == theirs


def test_a_day_teaches_each_part_its_own_label() -> None:
    """And to whoever learns from what is said what the model of the day before says."""
    model = fit_history(history(12), FIRST + 12, segments(), clusters())
    before, day = Model.restore(model.snapshot()), entries(FIRST + 13)
    model.learn_day(FIRST + 13, names(), day)
    everybody = day[sorted(range(len(day)), key=names().__getitem__)]
    closed = everybody[everybody["open"] == 1]
    raw, scale = in_own_scale(closed["then"], before.usual)
    spent, ordered = closed["label"] / UNIT / scale, closed["orders"] * 1.0
    assert ordered.max() > 1 < scale.max()
    x = inputs_exact(raw, before.horizon, before.usual)
    by_spend, by_orders = before.spend.predict_many(x), before.orders.predict_many(x)
    table = before.cadence.predict_many(raw, x)
    demand = before.spend_mix.predict_many(x, by_spend, table.spend)
    orders = before.orders_mix.predict_many(x, by_orders, table.orders)
    before.upper.learn_many(demand, spent)
    before.spend_mix.learn_many(x, by_spend, table.spend, spent)
    before.orders_mix.learn_many(x, by_orders, table.orders, ordered)
    before.buy_mix.learn_many(orders, table.buyers, np.where(ordered > 0, 1.0, 0.0))
    before.cadence.learn_many(raw, spent, ordered)
    before.spend.learn_many(x, spent)
    before.orders.learn_many(x, ordered)
    before.clusters.learn_many(everybody["now"])
    for name, taught in before.snapshot().items():
        assert name == "day" or model.snapshot()[name] == taught, name


@pytest.mark.parametrize(
    ("day", "ids", "rows", "said"),
    [
        (FIRST + 2, names(3), entries(FIRST + 2, 3), f"day {FIRST + 1} comes next, not {FIRST + 2}"),
        (FIRST, names(3), entries(FIRST, 3), f"day {FIRST + 1} comes next, not {FIRST}"),
        (FIRST + 1, names(3), entries(FIRST + 2, 3), f"one of day {FIRST + 2}"),
        (FIRST + 1, names(2), entries(FIRST + 1, 3), "3 entries of 2 customers"),
        (FIRST + 1, ["a", "b", "a"], entries(FIRST + 1, 3), "3 entries of 2 customers"),
    ],
)
def test_what_is_not_the_next_day_is_refused_and_teaches_nothing(day: int, ids: Any, rows: Any, said: str) -> None:
    model = cold()
    with pytest.raises(ValueError, match=said):
        model.learn_day(day, ids, rows)
    assert model.snapshot() == cold().snapshot()


@pytest.mark.parametrize("days", [0, 1, 3, 12])
def test_a_young_shop_is_served_from_the_first_day(days: int) -> None:
    model = fit_history(history(days), FIRST + 20, segments(), clusters())
    served = model.predict_many(raws(500))
    assert model.day == FIRST + 20
    assert all(np.isfinite(column).all() and column.min() >= 0 for column in served)
    assert (served.high >= served.demand).all()
    assert served.p_buy.max() <= 1
    assert (served.p_buy <= served.orders).all()
    for day, ids, rows in [(FIRST + 21 + i, names(), entries(FIRST + 21 + i)) for i in range(12)]:
        model.learn_day(day, ids, rows)
    assert all(np.isfinite(column).all() for column in model.predict_many(raws(500)))


def test_a_history_is_learned_as_the_stream_would_learn_it() -> None:
    days = history(14, skip=(FIRST + 5,))
    model = fit_history(days, FIRST + 16, segments(), clusters())
    closed = np.concatenate([rows[rows["open"] == 1] for _, _, rows in days])
    spent = closed["label"] / UNIT / in_own_scale(closed["then"], model.usual)[1]
    live = Model.create(FIRST, spent, closed["orders"] * 1.0, model.usual, segments(), clusters())
    live.upper = Upper(model.upper.edges.tolist())
    by_day = {day: (ids, rows) for day, ids, rows in days}
    for day in range(FIRST + 1, FIRST + 17):
        live.learn_day(day, *by_day.get(day, ([], np.empty(0, ENTRY))))
    for part in PARTS.keys() - {"clusters"}:
        assert getattr(model, part).snapshot() == getattr(live, part).snapshot()
    assert model.clusters.snapshot() == clusters().snapshot()
    last = days[-1][2]["now"]
    assert model.usual == pytest.approx(usual_day(last["spend"] / UNIT, last["days"]))


@pytest.mark.parametrize(("days", "through"), [(history(3)[::-1], FIRST + 3), (history(3), FIRST + 2)])
def test_a_history_out_of_order_is_refused(days: Any, through: int) -> None:
    with pytest.raises(ValueError, match="days must ascend"):
        fit_history(days, through, segments(), clusters())


@pytest.mark.parametrize("times", [30, 1_000, 1_000_000])
def test_who_spends_so_many_times_as_much_again_and_again_is_served_as_much_more(times: int) -> None:
    """And whoever did so once is not. Mutations caught: a cap for all; a scale that the largest day proves."""
    model, raw = fit_history(history(12), FIRST + 12, segments(), clusters()), raws(300)
    raw = raw[(raw["days"] > 2) & (raw["spend"] > 0)]
    large, larger = raw.copy(), raw.copy()
    for name in ("spend", "window", "peak", "s30", "s90"):
        large[name], larger[name] = raw[name] * 1_000, raw[name] * 1_000.0 * times
    before, after = model.predict_many(large), model.predict_many(larger)
    for column in ("demand", "high", "value"):
        np.testing.assert_allclose(getattr(after, column), getattr(before, column) * times, rtol=1e-5)
    for column in ("orders", "p_buy"):
        np.testing.assert_allclose(getattr(after, column), getattr(before, column))
    once = raw.copy()
    once["peak"] += 10**11
    once["spend"] += 10**11
    assert (in_own_scale(once, model.usual)[1] == in_own_scale(raw, model.usual)[1]).all()


def test_a_large_block_is_scored_like_small_ones() -> None:
    model = fit_history(history(12), FIRST + 12, segments(), clusters())
    raw = raws(20_000)
    whole, parts = model.predict_many(raw), [model.predict_many(raw[i : i + 999]) for i in range(0, len(raw), 999)]
    for column, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert column.tobytes() == np.concatenate(pieces).tobytes()


# ---- figures to reach ------------------------------------------------------------------------------------------------
@pytest.mark.long
def test_cdnow_is_learned_as_well_as_was_measured() -> None:
    """The bars stand in docs/learning.md; `python -m benchmarks.learning` prints all figures."""
    log = cdnow()
    _, judge, _ = learning.simulate(learning.daily(log.batch, log.end), log.cut)
    served = judge.served()
    table = compare(served.y, {"online": served.online, "r90": served["90-day rate"]}, judge.frozen.floor)
    online, r90 = table.loc["online"], table.loc["r90"]
    assert len(served) > 119_000
    assert online.ngini > max(0.743, r90.ngini - 0.005)
    assert online.mae < 5.05
    assert online.deviance < min(13.10, r90.deviance)
    assert 0.9 < online.bias < 1.1
    assert all(0.87 < share < 0.97 for share in learning.covered(served)[7:])
    assert roc_auc_score(served.n > 0, served.p_buy) > 0.825
    assert max(inertia for inertia, _, _ in judge.inertia) < 1.01


def shop(customers: int = 700, days: int = 270) -> Batch:
    """A seeded log of a shop whose visitors look around for days, fill a cart, and often buy a week later."""
    rng = np.random.default_rng(11)
    events: list[tuple[int, int, int, int]] = [(int(rng.integers(0, 30)), c, PURCHASE, 30) for c in range(customers)]
    for c in range(customers):
        for start in np.cumsum(rng.exponential(rng.choice([25, 100]), 10)).astype(int):
            keen = rng.random() < 0.6
            events += [(int(start + d), c, VIEW, 0) for d in rng.integers(0, 6, rng.poisson(4 if keen else 2) + 1)]
            if keen:
                events += [(int(start + 5), c, CART, 0), (int(start + 8 + rng.integers(0, 12)), c, PURCHASE, 30)]
    events = sorted(event for event in events if event[0] < days)
    day, who, kind, price = (np.array(column) for column in zip(*events, strict=True))
    number = np.arange(1, len(events) + 1)
    times, amount = day * DAY + number, np.where(kind == PURCHASE, price * int(UNIT), 0)
    ids = [f"c{c}" for c in who.tolist()]
    hashes = number.astype(np.uint64)
    return Batch(number - 1, ids, times, kind.astype(np.int8), amount, hashes, hashes)


def purchases(log: Batch) -> Batch:
    kept = np.flatnonzero(log.kind == PURCHASE)
    ids = [log.customer_id[i] for i in kept.tolist()]
    return Batch(log.index[kept], ids, log.t[kept], log.kind[kept], log.amount[kept], log.order[kept], log.event[kept])


def test_browsing_that_precedes_orders_is_used() -> None:
    found = []
    for log in (purchases(shop()), shop()):
        _, judge, _ = learning.simulate(learning.daily(log, 270), 180)
        served, floor = judge.served(), judge.frozen.floor
        auc = roc_auc_score(served.n > 0, served.p_buy)
        found.append((len(served), poisson_deviance(served.y, served.online, floor), auc))
    (plain_n, plain_deviance, plain_auc), (n, deviance, auc) = found
    assert n == plain_n > 1000
    assert deviance < 0.97 * plain_deviance
    assert auc > plain_auc + 0.03
