"""The yardstick of learning: its logs are what they are named after, and its figures find what was planted."""

import json
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from benchmarks import figures, learning, logs
from benchmarks import served as asked
from benchmarks.logs import CHANGE, END, LOGS, SEED, YEAR, Log, Shop
from benchmarks.served import BASELINES, EXPERTS
from models import scores
from models.rows import DAY
from offline.segments import kmeans

GENERATED = [name for name in LOGS if name not in ("cdnow", "journey")]


@pytest.fixture(scope="module", params=GENERATED)
def named(request: pytest.FixtureRequest) -> tuple[str, Log]:
    return request.param, LOGS[request.param](SEED)


def day(log: Log) -> "pd.Series[int]":
    return log.frame["occurred_at"] // DAY


# ---- logs ------------------------------------------------------------------------------------------------------------
def test_a_log_is_a_function_of_its_name_and_its_seed(named: tuple[str, Log]) -> None:
    name, log = named
    pd.testing.assert_frame_equal(LOGS[name](SEED).frame, log.frame)
    assert not LOGS[name](SEED + 1).frame["amount"].equals(log.frame["amount"])


def test_a_log_is_a_history_in_time_order_that_ends_at_its_end(named: tuple[str, Log]) -> None:
    _, log = named
    t, amount = log.frame["occurred_at"], log.frame["amount"]
    assert t.is_monotonic_increasing
    assert (t % logs.SECOND == 0).all()
    assert (amount >= 100).all()
    assert (amount % 100 == 0).all()
    assert log.frame["event_id"].is_unique
    assert END - 3 <= int(t.iloc[-1] // DAY) < log.end == END
    assert len(log.batch) == len(log.frame) == len(log.before(END))
    assert len(log.before(log.cut)) == (day(log) < log.cut).sum()


def test_subscriptions_renew_monthly_or_yearly() -> None:
    log = LOGS["subscriptions"](SEED)
    months = log.frame["occurred_at"].to_numpy().astype("datetime64[us]").astype("datetime64[M]").astype(int)
    paid = pd.DataFrame({"who": log.frame["customer_id"], "month": months, "amount": log.frame["amount"]})
    pauses = paid.groupby("who")["month"].diff().dropna()
    assert set(pauses) == {1, 12}
    assert (paid.groupby("who")["amount"].nunique() == 1).all()
    assert (pauses == 12).sum() / paid["who"].nunique() > 0.02


def test_regulars_leave_the_shop_that_is_named_after_it() -> None:
    """Who ordered often before ordered nothing in the last year."""
    silent = {}
    for name in ("shop", "leaving"):
        log = LOGS[name](SEED)
        last, first = (day(log).groupby(log.frame["customer_id"]).agg(which) for which in ("max", "min"))
        orders = log.frame["customer_id"].value_counts()[last.index]
        regulars = (first < END - 2 * YEAR) & (orders >= 5)
        silent[name] = (last[regulars] < END - YEAR).mean()
    assert silent["shop"] < 0.05
    assert silent["leaving"] > 0.3


def test_nearly_nobody_comes_again_to_a_shop_of_one_time_buyers() -> None:
    once = {}
    for name in ("shop", "onetime"):
        once[name] = (LOGS[name](SEED).frame["customer_id"].value_counts() == 1).mean()
    assert once["shop"] < 0.5
    assert once["onetime"] > 0.9


def since_the_change(log: Log) -> tuple[float, float]:
    """Orders in its 150 days over those in the 150 before, and so the median amount."""
    before, after = (day(log).between(start, start + 149) for start in (END - 2 * CHANGE, END - CHANGE))
    amounts = log.frame["amount"]
    return after.sum() / before.sum(), amounts[after].median() / amounts[before].median()


@pytest.mark.parametrize(("name", "orders", "price"), [("halved", 0.5, 1), ("quartered", 0.25, 1), ("doubled", 2, 1),
                                                       ("cheaper", 1, 0.4)])  # fmt: skip
def test_a_change_changes_what_it_is_named_after(name: str, orders: float, price: float) -> None:
    """Against the shop without it, which grows a little: where fewer come, somewhat fewer order than by the rate."""
    changed, steady = LOGS[name](SEED), LOGS["shop"](SEED)
    assert (changed.change, steady.change) == (END - CHANGE, None)
    factors = np.array(since_the_change(changed)) / since_the_change(steady)
    assert factors == pytest.approx([orders, price], rel=0.1)


def test_a_giant_order_stands_alone_between_the_cut_and_the_middle_of_its_year() -> None:
    log = LOGS["giant"](SEED)
    amounts = log.frame["amount"].sort_values()
    assert amounts.iloc[-1] == 10**7 * 10_000
    assert amounts.iloc[-2] < 200 * 10_000
    assert day(log)[amounts.index[-1]] == END - YEAR + 273
    assert log.end - log.cut == 90


def test_one_in_a_hundred_orders_wholesale() -> None:
    """Every week, for fifty times as much as the others."""
    log = LOGS["wholesale"](SEED)
    of = log.frame.groupby("customer_id")["amount"]
    large = of.median() > 15 * 10 * 10_000
    assert large.sum() == 15
    assert of.median()[large].median() / of.median()[~large].median() == pytest.approx(50, rel=0.1)
    who = log.frame[log.frame["customer_id"].isin(large.index[large])]
    gaps = who.groupby("customer_id")["occurred_at"].diff().dropna() / DAY
    assert gaps.quantile(0.05) == pytest.approx(7, abs=0.01)
    assert len(large) == 1515


def test_december_is_the_season_of_christmas() -> None:
    log = LOGS["christmas"](SEED)
    month = log.frame["occurred_at"].to_numpy().astype("datetime64[us]").astype("datetime64[M]").astype(int)
    counts = pd.Series(month).value_counts().sort_index()
    for december in counts.index[counts.index % 12 == 11]:
        assert counts[december] > 2 * counts[december - 1]


def test_cdnow_is_whole_and_in_time_order() -> None:
    log = logs.cdnow()
    assert len(log.frame) == 69_659
    assert log.frame["customer_id"].nunique() == 23_570
    assert log.frame["occurred_at"].is_monotonic_increasing
    assert [str(np.datetime64(day, "D")) for day in (log.cut, log.end)] == ["1998-01-01", "1998-07-01"]


# ---- figures ---------------------------------------------------------------------------------------------------------
def handmade(*orders: tuple[str, int, float], change: int | None = None) -> Log:
    """Orders of (who, day, money), live from day 100 to day 190."""
    who, days, money = zip(*sorted(orders, key=lambda order: order[1]), strict=True)
    frame = logs._frame(list(who), np.array(days) * DAY, np.array([round(each * 10_000) for each in money]))
    return Log(frame, 100, 190, change)


def served(customers: int = 1000, **columns: Any) -> pd.DataFrame:
    """Examples of customers c0, c1 ...: all alike but for these columns."""
    rising = np.arange(customers) + 1.0
    blank: dict[str, Any] = {"who": [f"c{i}" for i in range(customers)], "opened": 100}
    blank |= dict.fromkeys(("online", *BASELINES, *EXPERTS), rising)
    blank |= {"high": 50.0, "orders": 1.0, "p_buy": 0.6, "wait": 10.0, "y": rising, "n": 1}
    return pd.DataFrame(blank | columns)


def test_the_served_is_measured_against_the_best_expert() -> None:
    rows = served(online=3.0, y=2.0)
    rows[[*EXPERTS]] = 4.0
    rows[EXPERTS[2]] = 2.5
    found = figures.demand(rows, handmade(("c0", 1, 5.0)), 0.01)
    loss = [2 * (2 * np.log(2 / p) - 2 + p) for p in (3.0, 2.5)]
    assert found["served / best expert"] == pytest.approx(loss[0] / loss[1])
    assert found["worst 30 days / r90"] is None


def test_the_worst_window_after_a_change_is_found_and_those_before_it_are_not_looked_at() -> None:
    """One bad day of openings, 118, is in no window that begins 15 days after day 110 or later."""
    log = handmade(("c0", 1, 5.0), change=85)
    rows = served(opened=np.repeat(np.arange(100, 160), 17)[:1000], y=2.0)
    rows["online"] = np.where(rows.opened == 118, 40.0, 3.0)
    rows["90-day rate"] = 3.0
    assert figures.demand(rows, log, 0.01)["worst 30 days / r90"] > 2
    later = Log(log.frame, 100, 190, change=110)
    assert figures.demand(rows, later, 0.01)["worst 30 days / r90"] == pytest.approx(1)


def test_a_bound_is_judged_in_the_top_and_by_decile() -> None:
    high = np.where(np.arange(1000) >= 980, 0.0, 1e6)
    found = figures.bound(served(high=high))
    assert [found[f"top {top}%"] for top in (1, 2, 5)] == [0, 0, pytest.approx(0.6)]
    assert found["deciles 8-10"] == pytest.approx([1, 1, 0.8])


def test_chances_are_judged_where_enough_bought() -> None:
    p_buy = np.repeat([0.1, 0.8], [5000, 5000])
    bought = np.concatenate([np.zeros(5000), np.tile([1, 0], 2500)])
    log = handmade(*((f"c{i}", 112, 5.0) for i in range(9000)))
    rows = served(10_000, p_buy=p_buy, n=bought, orders=0.7, wait=10.0, y=1.0, online=1.0)
    found = figures.chances(rows, log)
    assert found["p_buy / bought by decile"] == pytest.approx([1.6] * 5)
    assert found["p_buy above orders"] == 0.5
    assert found["likely"] == 0.5
    assert found["next order off, days"] == 2  # a fifth of them never comes
    assert found["of who came in 90 days"] == 2
    nobody = figures.chances(rows.assign(who="nobody"), log)
    assert nobody["next order off, days"] is None


def test_names_that_the_history_contradicts_are_counted() -> None:
    log = handmade(("new", 95, 1.0), ("old", 20, 1.0), ("often", 10, 1.0), ("often", 40, 1.0), ("often", 70, 1.0),
                   ("rare", 10, 1.0), ("rare", 20, 1.0))  # fmt: skip
    called = {"new": "Champions", "old": "Lost", "often": "At risk", "rare": "At risk"}
    standing = pd.DataFrame({"who": [*called], "segment": [*called.values()]})
    found = figures.names({100: standing}, log)  # `often` waits 30 days, as always; `rare` is 70 days late
    assert found == {"customers": 4, "first purchases": {"Champions": 1}, "not New": 1, "gone within own gap": 1}


def test_values_are_judged_in_all_and_by_decile_where_a_year_is_on_either_side() -> None:
    log = handmade(*((f"c{i}", 150, 2.0) for i in range(1000)))
    found = figures.value([f"c{i}" for i in range(1000)], np.repeat([1.0, 3.0], 500), log, 100)
    assert found["total"] == pytest.approx(1)
    assert found["deciles 6-10"] == pytest.approx([1.5] * 5)
    assert figures.valued(log) is None
    assert {name for name in GENERATED if figures.valued(LOGS[name](SEED))} == {
        *("subscriptions", "shop", "leaving", "onetime", "christmas", "wholesale")
    }


# ---- the command -----------------------------------------------------------------------------------------------------
def test_the_table_of_a_tiny_log_is_printed_and_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kmeans, "RESAMPLES", 1)  # half of a fit's time goes into how stable its segments are
    monkeypatch.setitem(LOGS, "tiny", partial(logs.generated, Shop(days=200, customers=60), live=60))
    done = CliRunner().invoke(learning.main, ["--logs", "tiny", "--json", str(tmp_path / "f.json")])
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "f.json").read_text())
    assert written["seed"] == SEED
    tables = written["logs"]["tiny"]
    assert [*tables] == ["demand", "bound", "chances", "names"]
    assert tables["demand"]["nGini served"] > 0.2
    for table in tables:
        assert figures.TITLES[table] in done.stdout
    assert f"{tables['demand']['deviance served']:.4g}" in done.stdout
    assert "log 1 of 1: tiny" in done.stderr


def test_a_log_that_there_is_not_is_refused_in_one_line() -> None:
    done = CliRunner().invoke(learning.main, ["--logs", "shop,smalltown"])
    assert done.exit_code == 2
    assert "there is no log 'smalltown'; there are cdnow, journey" in done.stderr


def test_what_is_judged_is_what_a_crm_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "RESAMPLES", 1)
    log = logs.generated(Shop(days=200, customers=60), SEED, live=60)
    model, folded = asked.fitted(log, log.cut)
    rows, raw = folded.table.rows, folded.raw
    told = asked.served(model, rows, raw, log.cut)
    names = model.segments.names
    texts = scores.texts(rows, model.predict_many(raw), names, model.offers, model.horizon, log.cut, "history")
    at = {"value": "customer_value", "segment": "segment", "wait": "expected_next_order_at"}
    value, segment, due = ([each[scores.FIELDS.index(name)] for each in texts] for name in at.values())
    assert told["value"].tolist() == [*map(float, value)]
    assert told["segment"].tolist() == segment
    seconds = [datetime.fromisoformat(text).timestamp() - log.cut * 86_400 if text else np.inf for text in due]
    assert told["wait"] * 86_400 == pytest.approx(np.array(seconds), abs=1)
    assert np.isfinite(seconds).any()
