"""Units by product: forecasts against plain loops, no look ahead, the bound, what to order, lines of refusal."""

import csv
import itertools
import math
from pathlib import Path

import jobs
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from refusal import one_line

from demo.data import complete_journey
from models.kinds import PURCHASE, RETURN, VIEW
from models.rows import DAY
from offline.__main__ import main
from offline.demand import regressors
from offline.stock import intermittent, stock, weeks
from offline.stock.conformal import Bound
from offline.stock.intermittent import ALPHA, BETA, KINDS
from offline.stock.weeks import StockError, Weeks, openings

Floats = NDArray[np.float64]
ROOT = Path(__file__).parent.parent
END = 19_700  # the cut-off


def sold(units: Floats, end: int = END) -> Weeks:
    """Products p0, p1, ... of which units (products, weeks) were sold."""
    return Weeks(units, [f"p{i}" for i in range(len(units))], (units > 0).argmax(1), end)


def drawn(products: int, length: int, seed: int = 0) -> Weeks:
    """Poisson sales of products as different as those of a shop; each one is sold at least once."""
    rng = np.random.default_rng(seed)
    units = rng.poisson(rng.gamma(0.5, 4, products)[:, None], (products, length)).astype(np.float64)
    units[np.arange(products), rng.integers(0, (length + 1) // 2, products)] += 1
    units[0, 0] += 1
    return sold(units)


some = npst.arrays(np.float64, (4, 9), elements=st.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0, 7.0])).map(
    lambda units: units + (units.sum(1, keepdims=True) == 0)  # each is sold
)


# ---- from events to weeks --------------------------------------------------------------------------------------------

lines = st.tuples(
    st.sampled_from(["a", "b", None]), st.sampled_from([PURCHASE, PURCHASE, RETURN, VIEW]),
    st.integers(0, 40 * DAY - 1), st.sampled_from([5_000, 10_000, 30_000, 0]),
)  # fmt: skip


@given(st.lists(lines, max_size=20))
def test_units_are_what_was_sold_in_whole_weeks_before_the_cut_off(
    rows: list[tuple[str | None, int, int, int]],
) -> None:
    signed = [(product, kind, END * DAY - 1 - back, -q if kind == RETURN else q) for product, kind, back, q in rows]
    frame = pd.DataFrame(signed, columns=["product_id", "kind", "occurred_at", "quantity"])
    frame["product_id"] = frame["product_id"].astype("str")
    bought = [(product, back, q) for product, kind, back, q in rows if product and kind == PURCHASE and q]
    known = max((back // DAY + 1 for _, back, _ in bought), default=0) // 7  # the first day counts as a whole one
    expected: dict[tuple[str, int], float] = {}
    for product, back, q in bought:
        if (week := back // (7 * DAY)) < known:
            expected[product, week] = expected.get((product, week), 0.0) + q / 10_000
    if not expected:
        with pytest.raises(StockError, match="no product was bought in a whole week"):
            Weeks.of(frame, END)
        return
    found = Weeks.of(frame, END)
    last = found.units.shape[1] - 1
    got = {(found.products[i], last - w): found.units[i, w] for i, w in zip(*np.nonzero(found.units), strict=True)}
    assert got == expected
    assert last == max(week for _, week in expected)
    assert found.products == sorted({product for product, _ in expected})
    assert found.start.tolist() == [min(last - week for p, week in expected if p == name) for name in found.products]
    assert (found.day(last), found.day(last + 1)) == (END - 7, END)


# ---- what a product's own past says ----------------------------------------------------------------------------------


def plain(series: list[float], horizon: int) -> dict[str, float]:
    """One product, one week after the other, from its first sale on."""
    whole, series = series, series[next(i for i, y in enumerate(series) if y) :]
    n, at = len(series), [i for i, y in enumerate(series) if y]
    size, interval = series[0], float(at[1] if len(at) > 1 else n)
    chance, before = 1 / interval, 0
    for week in range(1, n):
        chance += BETA * ((series[week] > 0) - chance)
        if series[week]:
            size += ALPHA * (series[week] - size)
            interval += ALPHA * (week - before - interval)
            before = week
    weights = [0.5 ** ((n - 1 - week) * 7 / 90) for week in range(n)]
    return {
        "zero": 0.0,
        "last_period": sum(whole[-horizon:]),
        "own_rate": horizon * sum(series) / n,
        "decayed_rate": horizon * sum(w * y for w, y in zip(weights, series, strict=True)) / sum(weights),
        "seasonal_naive": sum(whole[-52:][:horizon]) if n >= 52 else horizon * sum(series) / n,
        "croston": horizon * size / interval,
        "sba": horizon * 0.95 * size / interval,
        "tsb": horizon * chance * size,
    }


@given(some, st.integers(1, 6))
def test_forecasts_are_those_of_a_plain_loop(units: Floats, horizon: int) -> None:
    found = intermittent.forecasts(units, (units > 0).argmax(1), horizon)
    for i, series in enumerate(units.tolist()):
        assert {name: values[i] for name, values in found.items()} == pytest.approx(plain(series, horizon))


def test_a_year_ago_is_asked_where_a_year_is_known() -> None:
    units = np.arange(1.0, 61.0) * np.ones((3, 1))
    units[1, :8], units[2, :9] = 0, 0  # 52 and 51 weeks old
    found = intermittent.forecasts(units, (units > 0).argmax(1), 3)
    assert found["seasonal_naive"].tolist() == [9 + 10 + 11, 9 + 10 + 11, pytest.approx(3 * found["own_rate"][2] / 3)]
    for i, series in enumerate(units.tolist()):
        assert {name: values[i] for name, values in found.items()} == pytest.approx(plain(series, 3))


def test_croston_by_hand() -> None:
    """Sales of 6, 3 and 9 in weeks 1, 3 and 7 of 8: intervals 2, then 2 and 4; half of each error is learned."""
    units = np.array([[6.0, 0, 3, 0, 0, 0, 9, 0]])
    size, interval, chance = intermittent.smoothed(units, np.array([0]), alpha=0.5, beta=0.5)
    assert (size[0], interval[0]) == ((6 + 3) / 2 / 2 + 9 / 2, 3.0)
    assert chance[0] == (((0.5 / 2 + 1) / 2) / 8 + 1) / 2 / 2  # nothing, a sale, three times nothing, a sale, nothing


def test_only_tsb_forgets_what_is_no_longer_sold() -> None:
    """Teunter, Syntetos and Babai's point: Croston moves with a sale alone."""
    units = np.concatenate([np.ones((1, 10)), np.zeros((1, 30))], axis=1)
    found = intermittent.forecasts(units, np.array([0]), 1)
    assert found["croston"][0] == 1
    assert found["tsb"][0] == pytest.approx(0.9**30)


def test_sba_takes_off_the_bias_of_croston() -> None:
    """Syntetos and Boylan: by chance 0.2 a week, sizes of mean 3, Croston expects too much; 0.6 a week is right."""
    rng = np.random.default_rng(4)
    units = np.where(rng.random((4_000, 150)) < 0.2, rng.integers(1, 6, (4_000, 150)), 0.0)
    found = intermittent.forecasts(units, (units > 0).argmax(1), 1)
    assert found["croston"].mean() > 0.62
    assert found["sba"].mean() == pytest.approx(0.6, rel=0.02)


@given(some)
def test_classes_and_naive_errors_are_those_of_their_definitions(units: Floats) -> None:
    start = (units > 0).argmax(1)
    kinds, errors = intermittent.kinds(units, start).tolist(), intermittent.naive_error(units, start)
    for row, first, kind, error in zip(units.tolist(), start.tolist(), kinds, errors.tolist(), strict=True):
        sales = [y for y in row if y]
        spaced, varied = (len(row) - first) / len(sales) > 1.32, (np.std(sales) / np.mean(sales)) ** 2 > 0.49
        assert kind == KINDS[2 * spaced + varied]
        steps = [abs(b - a) for a, b in zip(row[first:], row[first + 1 :], strict=False)]
        assert error == pytest.approx(sum(steps) / len(steps) if steps else 0)


# ---- learned and judged on time --------------------------------------------------------------------------------------


def test_what_comes_after_a_cut_changes_nothing_that_is_expected_at_it() -> None:
    """A spike is planted in every week from the cut on, and a product that is new."""
    before = drawn(60, 40)
    cut = openings(before, 4)[-3]
    units = before.units.copy()
    units[:, cut.week :] += 1e6
    after = sold(np.concatenate([units, np.eye(40)[[39]]]))
    windows = openings(after, 4)
    planted = windows[-3]
    assert (planted.week, planted.rows.tolist()) == (cut.week, cut.rows.tolist())
    assert planted.sold.min() > cut.sold.max()
    for name in [*cut.forecasts, *stock.POOLED]:
        assert (stock.expected(name, openings(before, 4), cut, 4) == stock.expected(name, windows, planted, 4)).all()


@given(st.integers(1, 6), st.integers(1, 30))
def test_windows_lie_a_horizon_apart_and_the_last_opens_at_the_cut_off(horizon: int, length: int) -> None:
    found = openings(drawn(3, length), horizon)
    assert [each.week for each in found] == sorted(range(length, 0, -horizon))
    for before, after in itertools.pairwise(found):
        rows = np.isin(after.rows, before.rows)
        last = (after.forecasts["last_period"] * after.usual)[rows]
        np.testing.assert_allclose(before.sold * before.usual, last)
    assert not found[-1].sold.any()


def test_inputs_are_measured_in_usual_weeks() -> None:
    """A product in grams beside the same one in kilos: equal inputs, and a forecast 1,000 times as large."""
    units = drawn(40, 30).units
    found = stock.forecast(sold(np.concatenate([units, 1_000 * units])), 4, 3)
    at = found.frame.set_index("product_id")
    for column in ("expected_units", "upper_90"):
        kilos, grams = at.loc[[f"p{i}" for i in range(40)], column], at.loc[[f"p{i + 40}" for i in range(40)], column]
        np.testing.assert_allclose(grams, 1_000 * kilos.to_numpy(), atol=0.06, rtol=1e-6)


def test_figures_choice_and_coverage_are_those_of_the_windows() -> None:
    found = stock.forecast(drawn(150, 70), 4, 3)
    cuts = openings(found.weeks, 4)[-4:-1]
    assert found.by_cut.index.get_level_values("cut").unique().tolist() == [END - 28, END - 56, END - 84]
    for cut in cuts:
        row = found.by_cut.xs("tsb", level="model").loc[found.weeks.day(cut.week)]
        error = np.abs(cut.sold - cut.forecasts["tsb"])
        assert row["wape"] == pytest.approx(error.sum() / cut.sold.sum())
        some = cut.naive_error > 0
        assert row["mase"] == pytest.approx((error[some] / 4 / cut.naive_error[some]).mean())
    assert found.figures.loc["zero", "wape"] == 1
    assert found.figures.deviance[found.model] <= found.figures.deviance.min() * 1.005
    assert found.left_out == () or "mase" in found.left_out[0]
    assert "seasonal_naive" in found.figures.index
    p = [stock.expected(found.model, openings(found.weeks, 4), cut, 4) for cut in cuts]
    bound = Bound.of(np.concatenate(p[:2]), np.concatenate([cut.sold for cut in cuts[:2]]))
    assert found.coverage.held["products"] == (cuts[2].sold <= bound.predict(p[2])).mean()
    assert found.coverage.judged["products"] == len(cuts[2].rows)
    classes = found.coverage.drop("products")
    assert classes.judged.sum() == len(cuts[2].rows)
    assert (classes.judged * classes.held).sum() / classes.judged.sum() == pytest.approx(
        found.coverage.held["products"]
    )
    assert found.kinds.sum() == len(found.frame) == 150


def test_a_year_that_is_not_known_is_told_not_made_up() -> None:
    found = stock.forecast(drawn(20, 63), 4, 3)
    assert found.left_out[0] == "seasonal_naive is left out: 51 weeks come before the earliest cut, not 52"
    assert "seasonal_naive" not in found.figures.index


@pytest.mark.parametrize("horizon", [2, 4])
def test_a_year_before_the_earliest_cut_is_known(horizon: int) -> None:
    """Mutation caught: one week more asked for."""
    cuts = [each for each in openings(drawn(20, 52 + 3 * horizon), horizon) if each.week >= 52][-2::-1]
    assert [each.week for each in cuts] == [52 + 2 * horizon, 52 + horizon, 52]
    names, left_out = stock._judged(cuts)
    assert "seasonal_naive" in names
    assert not any(line.startswith("seasonal_naive") for line in left_out)


@pytest.mark.parametrize("name", ["linear", "boosting"])
def test_where_nothing_was_sold_nothing_is_expected(name: str) -> None:
    """Also where only the latest windows sold something: a fold that learns from nothing is passed over."""
    units = np.zeros((3, 16))
    units[:, 0] = 1
    assert not stock.expected(name, openings(sold(units), 4), openings(sold(units), 4)[-1], 4).any()
    units[:, 14] = 1
    assert stock.expected(name, openings(sold(units), 4), openings(sold(units), 4)[-1], 4).sum() > 0


def test_a_regression_learns_from_the_latest_examples() -> None:
    found = drawn(10, 20)
    closing, x, label = weeks.together(openings(found, 4)[:-1], 4, 15)
    assert (len(x), len(label)) == (15, 15)
    assert closing.tolist() == [16] * 5 + [20] * 10
    assert regressors.folds(closing, 20, 4) == []


# ---- the bound, and what to order ------------------------------------------------------------------------------------

errors = st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=1, max_size=60)


@given(errors, st.lists(st.floats(0, 1e7), min_size=1, max_size=20))
def test_a_bound_is_never_below_its_prediction_and_holds_where_it_was_calibrated(
    pairs: list[tuple[float, float]], later: list[float]
) -> None:
    predicted, actual = (np.array(values) for values in zip(*pairs, strict=True))
    bound = Bound.of(predicted, actual)
    assert (bound.predict(np.array(later)) >= later).all()
    assert (actual <= bound.predict(predicted) * (1 + 1e-9) + 1e-9).mean() >= 0.9


def test_a_bound_holds_for_nine_of_ten_in_every_bin_and_is_not_wide() -> None:
    rng = np.random.default_rng(2)
    mean = rng.gamma(0.7, 10, 40_000)
    actual = rng.poisson(rng.gamma(3, mean / 3)).astype(np.float64)
    bound = Bound.of(mean[:20_000], actual[:20_000])
    assert len(bound.quantiles) == 10
    upper, order = bound.predict(mean[20_000:]), np.argsort(mean[20_000:])
    for part in np.array_split(order, 10):
        assert (actual[20_000:][part] <= upper[part]).mean() == pytest.approx(0.9, abs=0.06)
    assert (actual[20_000:] <= upper).mean() == pytest.approx(0.9, abs=0.015)


@given(st.floats(0, 1e6), st.floats(-1e3, 1e6))
def test_what_is_ordered_reaches_the_bound_and_not_a_unit_more(upper: float, available: float) -> None:
    units = stock.reorder(pd.Series({"a": upper}), pd.Series({"a": available}))["a"]
    if units:
        assert available + units >= upper - 1e-4
        assert available + units - 1 < upper
    else:
        assert available >= upper - 1e-4


def test_who_sold_in_whole_units_needs_no_part_of_one() -> None:
    """Ten slow products and one that sells week by week in pieces, one by weight. Mutation caught: one unit each."""
    rng = np.random.default_rng(2)
    slow, steady = np.eye(40)[rng.integers(0, 36, 10)], rng.poisson(9, 40)
    found = stock.forecast(sold(np.vstack([slow, steady, steady + 0.25])), 4, 4)
    told = stock.ordered(found, dict.fromkeys(found.weeks.products, 0.5)).set_index("product_id")
    upper, suggested = told["upper_90"], told["suggested_reorder"]
    assert (upper[[f"p{i}" for i in range(10)]] < 1).all()
    assert (suggested[[f"p{i}" for i in range(10)]] == 0).all()
    assert upper["p10"] % 1 > 0.01
    assert suggested["p10"] == math.ceil(math.floor(upper["p10"]) - 0.5)
    assert suggested["p11"] == math.ceil(upper["p11"] - 0.5)


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 products over 30 weeks, some in halves; p7 is returned in part, and a line names no product."""
    units = drawn(40, 30, 3).units
    path = tmp_path_factory.mktemp("stock") / "orders.csv"
    with path.open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["customer_id", "occurred_at", "SKU", "amount", "quantity"])
        day = np.datetime64(END - 7 * 30, "D")
        for product, week in zip(*np.nonzero(units), strict=True):
            when = day + np.timedelta64(int(7 * week), "D")
            table.writerow([f"c{week}", when, f"p{product}", 5, units[product, week] / 2])
        table.writerow(["c1", day + np.timedelta64(7 * 30 - 1, "D"), "p7", -2, -1])
        table.writerow(["c1", day + np.timedelta64(7 * 30 - 1, "D"), "", 2, 99])
    return path


COLUMNS = ["--columns", "product_id=SKU"]


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(main, ["stock", *map(str, arguments)], catch_exceptions=False)
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return done.stdout


def run_anew(hash_seed: str, *arguments: str | Path) -> str:
    return jobs.alone("stock", *arguments, hash_seed=hash_seed)


def test_what_is_written_and_printed_is_the_same_again(shop: Path, tmp_path: Path) -> None:
    held, out, again = tmp_path / "held.csv", tmp_path / "new" / "stock.csv", tmp_path / "again.csv"
    held.write_text("on_order,product_id,on_hand\n1.5,p0,2\n0,p1,1000000\n0,gone,7\n")
    options: tuple[str | Path, ...] = ("--history", shop, *COLUMNS, "--stock", held, "--out")
    printed = run_anew("0", *options, out)
    assert run_anew("1", *options, again) == printed.replace(str(out), str(again))
    assert again.read_bytes() == out.read_bytes()
    table = pd.read_csv(out, dtype={"suggested_reorder": "Int64"})
    columns = "product_id expected_units upper_90 suggested_reorder model weeks_of_history"
    assert list(table) == columns.split()
    assert table["expected_units"].is_monotonic_decreasing
    assert (table["upper_90"] >= table["expected_units"]).all()
    assert sorted(table["product_id"]) == sorted(f"p{i}" for i in range(40))
    by = table.set_index("product_id")
    assert by["suggested_reorder"].drop(["p0", "p1"]).isna().all()
    assert by["suggested_reorder"]["p0"] == max(0, math.ceil(round(by["upper_90"]["p0"] - 3.5, 4)))
    assert by["suggested_reorder"]["p1"] == 0
    assert by["weeks_of_history"]["p0"] == 30
    assert "40 products in 30 weeks up to 2023-12-09: " in printed
    assert f"{by['model'].iloc[0]} is used: mean Poisson deviance" in printed
    assert "no suggestion for 38 products that --stock does not name" in printed
    assert "in --stock, but never sold in these weeks: 'gone'\n" in printed
    without = run("--history", shop, *COLUMNS, "--out", again)
    assert "suggest" not in without
    pd.testing.assert_frame_equal(pd.read_csv(again), table.drop(columns="suggested_reorder"))


def test_a_cleaned_history_says_the_same(shop: Path, tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned.parquet"
    done = CliRunner().invoke(main, ["clean", str(shop), *COLUMNS, "--out", str(cleaned)])
    assert done.exit_code == 0, done.output
    run("--history", shop, *COLUMNS, "--out", tmp_path / "raw.csv")
    run("--history", cleaned, "--out", tmp_path / "cleaned.csv")
    assert (tmp_path / "cleaned.csv").read_bytes() == (tmp_path / "raw.csv").read_bytes()


# ---- whatever goes wrong ---------------------------------------------------------------------------------------------


def refused(tmp_path: Path, *arguments: str | Path) -> str:
    return one_line(tmp_path / "refused.csv", "stock", "--out", tmp_path / "refused.csv", *arguments)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([""], "the file is empty"),
        (
            ["customer_id,occurred_at,amount,Product", "c,2024-01-01,5,a"],
            "no column 'product_id'; nearest is 'Product'",
        ),
        (["customer_id,occurred_at,amount,product_id", "c,2024-01-01,5,"], "no product was bought in a whole week"),
        (["customer_id,occurred_at,amount,product_id", "c,2024-01-01,5,a"], "no product was bought in a whole week"),
        (
            ["customer_id,occurred_at,amount,product_id", "c,2024-01-01,5,a", "c,2024-03-03,5,a"],
            "9 whole weeks of sales are too short a history: --weeks 4 needs 13; enough for --weeks 2",
        ),
        (
            ["customer_id,occurred_at,amount,product_id", "c,2024-01-01,5,a", "c,2024-01-21,5,a"],
            "3 whole weeks of sales are too short a history: --weeks 4 needs 13",
        ),
    ],
)
def test_histories_that_say_too_little(tmp_path: Path, lines: list[str], said: str) -> None:
    (tmp_path / "h.csv").write_text("\n".join(lines) + "\n")
    line = refused(tmp_path, "--history", tmp_path / "h.csv")
    assert said in line
    assert line.endswith(said) or "3 whole weeks" not in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no column 'product_id' among its comma-separated columns; the file is empty"),
        ("product_id,On hand\n", "no column 'on_hand' among its comma-separated columns; nearest is 'On hand'"),
        ("product_id,on_hand\np1,1\np1,2\n", "line 3: product_id 'p1' came before"),
        ("product_id,on_hand\np1,\n", "on_hand of product 'p1' is ''; say a number like 12.5"),
        ("product_id,on_hand,on_order\np1,1,nan\n", "on_order of product 'p1' is 'nan'; say a number like 12.5"),
    ],
)
def test_stock_that_cannot_be_read(shop: Path, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "held.csv").write_text(content)
    assert said in refused(tmp_path, "--history", shop, *COLUMNS, "--stock", tmp_path / "held.csv")


def test_a_smallest_history_is_enough(tmp_path: Path) -> None:
    dates = ["2024-01-01", "2024-01-09", "2024-01-28"]
    rows = [f"c,{day},5,{product}" for day in dates for product in "ab"]
    (tmp_path / "h.csv").write_text("\n".join(["customer_id,occurred_at,amount,product_id", *rows]))
    printed = run("--history", tmp_path / "h.csv", "--weeks", "1", "--out", tmp_path / "s.csv")
    assert "2 products in 4 weeks" in printed
    assert len(pd.read_csv(tmp_path / "s.csv")) == 2


# ---- the document ----------------------------------------------------------------------------------------------------


def test_the_document_shows_what_is_printed(tmp_path: Path) -> None:
    """The whole of the Complete Journey, by product type."""
    history, out = tmp_path / "journey.parquet", tmp_path / "stock.csv"
    complete_journey.write_history(history)
    done = CliRunner().invoke(main, ["stock", "--history", str(history), "--until", "2018-01-02", "--out", str(out)])
    assert done.exit_code == 0, done.output
    shown = done.stdout[done.stdout.index("2,230 products") :].replace(str(out), "build/stock.csv").rstrip()
    text = (ROOT / "docs" / "stock.md").read_text()
    for line in shown.splitlines():
        assert f"    {line}".rstrip() in text.splitlines(), line
