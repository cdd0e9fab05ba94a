"""Inner cuts are judged on what stood at the cut: which sales a later return takes back nobody knew then."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jobs
import numpy as np
import pandas as pd
import pytest

from models.artefact import decode
from models.handover import ARTEFACT, HORIZON
from models.rows import DAY
from offline.commands.fit import _differ
from offline.demand import customer_value, fit
from offline.demand.customer_value import Past
from offline.history import fold
from offline.history import read as history
from offline.history.policy import Policy
from offline.history.read import read_parquet
from offline.report import mining
from offline.report.mining import Shop
from offline.value import value

DAYS, CUT = 240, 180


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 customers order every 9 to 15 days; of half of them every other order comes back whole 25 days later, which a
    history cleaned at its end has forgotten: to it those order half as often."""
    rng, rows = np.random.default_rng(3), []
    for who in range(40):
        for i, day in enumerate(range(int(rng.integers(9)), DAYS, 9 + who % 7)):
            order = (f"c{who}", f"o{who}-{i}", f"{20 + (i * 7 + who) % 30}.00")
            rows.append((day, "purchase", *order))
            if who % 2 and i % 2 and day + 25 < DAYS:
                rows.append((day + 25, "return", *order))
    frame = pd.DataFrame(sorted(rows), columns=["day", "event_type", "customer_id", "order_id", "amount"])
    frame["occurred_at"] = pd.to_datetime("2024-01-01 12:00:00") + pd.to_timedelta(frame.pop("day"), unit="D")
    path = tmp_path_factory.mktemp("shop") / "orders.csv"
    frame.assign(product_id=frame["order_id"]).to_csv(path, index=False)
    return path


def test_nothing_from_after_a_cut_is_in_what_is_judged_there(shop: Path) -> None:
    """Landmarks up to the cut are those of a file that ends at the cut. Of the cleaned history they are not: that
    is the leak."""
    whole = history.read([shop], {})
    cut = whole.cut_off - (DAYS - CUT)
    then = history.read([shop], {}, until=cut * DAY, policy=Policy(cancelled=False))
    known = _landmarks(then, cut)
    assert _landmarks(whole.streamed, cut) == known
    assert _landmarks(whole, cut) != known


@pytest.mark.parametrize("how", ["mean", "median", "mode"])
def test_nothing_from_after_a_cut_is_filled_in_before_it(shop: Path, tmp_path: Path, how: str) -> None:
    """Prices rise at the cut, and a third of the amounts before it is missing. What is fitted up to the cut is what a
    file that ends there gives, and so is what an inner cut there is judged on, which holds no amount that was made from
    others. Mutations caught: a statistic of the whole file; filled rows among those that a stream counts."""
    rows = pd.read_csv(shop, dtype={"amount": float})
    day = (pd.to_datetime(rows["occurred_at"]) - pd.Timestamp("2024-01-01")).dt.days
    rows["amount"] *= np.where(day < CUT, 1, 50)
    rows.loc[(day < CUT) & (rows.index % 3 == 0), "amount"] = np.nan
    whole, ended = tmp_path / "whole.csv", tmp_path / "ended.csv"
    rows.to_csv(whole, index=False)
    rows[day < CUT].to_csv(ended, index=False)
    policy = Policy(missing={"amount": how})
    cut = pd.Timestamp("2024-01-01") + pd.Timedelta(days=CUT)
    until, at = int(cut.timestamp()) * 10**6, (cut - pd.Timestamp(0)).days
    then, known = (history.read([path], {}, until=until, policy=policy) for path in (whole, ended))
    pd.testing.assert_frame_equal(then.frame, known.frame)
    told = [[line for line in each.counts.notes if line.step == "missing"] for each in (then, known)]
    assert told[0] == told[1]
    assert f"\nfilled in: {then.counts.filled:,} rows hold values made from other rows" in _differ(then)
    for end in (until, None):
        judged = history.read([whole], {}, until=end, policy=policy)
        assert _landmarks(judged.streamed, at) == _landmarks(known.streamed, at)
        before = judged.streamed.frame[judged.streamed.frame["occurred_at"] < until]
        assert len(before) == rows.loc[day < CUT, "amount"].notna().sum()


def _landmarks(read: history.History, cut: int) -> list[tuple[int, list[str], bytes]]:
    folded = fold.fold(read.frame, read.cut_off)
    rows = [(day, names, entries.copy()) for day, names, entries in folded.days if day <= cut]
    for _, _, entries in rows:
        entries["row"] = 0
    return [(day, names, entries.tobytes()) for day, names, entries in rows]


@pytest.fixture(scope="module")
def both(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[tuple[str, Path], ...]]:
    """A command on this history, as it is and with `--cancelled keep`: what each printed, and its result."""

    def ran(command: str, *options: str) -> tuple[tuple[str, Path], ...]:
        where = tmp_path_factory.mktemp(command)
        outs = where / "drop", where / "keep"
        says = [jobs.run(command, "--history", shop, *options, "--cancelled", out.name, "--out", out) for out in outs]
        return tuple(zip(says, outs, strict=True))

    return ran


def test_fit_judges_the_sales_that_it_cleans_away(both: Callable[..., tuple[tuple[str, Path], ...]]) -> None:
    """Its figures are those of the history that keeps them, its history is not. Mutations caught: the targets, or
    customer_value, judged on the cleaned history."""
    (said, out), (kept, stood) = both("fit", "--clusters", "2")
    cleaned, full = (read_parquet(each / "history.parquet") for each in (out, stood))
    gone = (len(full) - len(cleaned)) // 2
    assert f"\ntaken back: {gone:,} sales left the history with the returns that came later; a stream counts" in said
    assert "taken back: no sale left" in kept
    assert "begin at what was kept, below the orders that a stream counts (--cancelled keep: with all)" in said
    orders = {each: _begun(each) for each in (out, stood)}
    assert orders[out] < orders[stood]
    figures, others = (decode((each / ARTEFACT).read_bytes()).figures for each in (out, stood))
    judged = [name for name in figures if name != "weights"]  # those are of the model that is served
    assert {"spend/served", "orders/served", "customer_value"} <= {*judged}
    assert [figures[name] for name in judged] == [others[name] for name in judged]


def _begun(fitted: Path) -> float:
    """The orders that a fit predicts of everybody, in all."""
    artefact, events = decode((fitted / ARTEFACT).read_bytes()), read_parquet(fitted / "history.parquet")
    raw = fold.fold(events, artefact.trained_through).raw
    return float(artefact.restored().predict_many(raw).orders.sum())


@pytest.mark.parametrize("gone", [0, 1, 77])
def test_who_loses_sales_is_told_what_begins_lower(shop: Path, gone: int) -> None:
    read = history.read([shop], {})
    counts = replace(read.counts, cancelled=2 * gone, kept=read.counts.kept + read.counts.cancelled - 2 * gone)
    said = _differ(replace(read, counts=counts))
    assert (f"taken back: {gone:,} sales left" in said) == (gone > 0)
    assert ("predicted_orders and p_buy begin at what was kept" in said) == (gone > 0)


def test_the_other_jobs_judge_so_too(shop: Path, both: Callable[..., tuple[tuple[str, Path], ...]]) -> None:
    """Mutation caught, in each: the cleaned history is judged."""
    (_, out), (_, stood) = both("evaluate", "--models", "quick")
    assert out.read_bytes() == stood.read_bytes()
    (said, _), (kept, _) = both("value")
    judged = [text[text.index("net spend in") : text.index("written:")] for text in (said, kept)]
    assert judged[0] == judged[1]
    (said, _), (kept, _) = both("demand")
    assert said.split("chosen:")[0] == kept.split("chosen:")[0]
    last = history.read([shop], {}).last // DAY * DAY  # the cut-off by default
    read = history.read([shop], {}, until=last)
    paged = mining.demand(Shop(("orders.csv",), read, fold.fold(read.frame, read.cut_off), HORIZON), len)
    spend = pd.read_csv(out).query("target == 'spend'").groupby("model", sort=False)["deviance"].mean()
    assert paged.judged["spend"].figures["deviance"].tolist() == pytest.approx(spend.tolist())


@pytest.mark.parametrize("left", ["taken back", "an outlier", "made from others"])
def test_the_value_of_everybody_is_the_one_that_a_fit_serves(
    shop: Path, tmp_path: Path, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where history and stream differ. Mutation caught: experts weighed by the cleaned history."""
    rows = pd.read_csv(shop)
    if left != "taken back":
        rows = rows[rows["event_type"] == "purchase"].reset_index(drop=True)
        late = pd.to_datetime(rows["occurred_at"]) >= pd.Timestamp("2024-01-01") + pd.Timedelta(days=CUT)
        rows.loc[late & (rows["amount"] > 47), "amount"] = 90_000.0 if left == "an outlier" else np.nan
    rows.to_csv(tmp_path / "orders.csv", index=False)
    policy = Policy(missing={"amount": "mean"}, outliers="zscore" if left == "an outlier" else None, action="drop")
    read = history.read([tmp_path / "orders.csv"], {}, policy=policy)
    assert len(read.streamed.frame) != len(read.frame)
    folded, streamed = (fold.fold(each.frame, read.cut_off) for each in (read, read.streamed))
    verdict = fit.Verdict({}, None, customer_value.outcomes(Past(streamed.days, HORIZON), read.cut_off))
    fitted = fit.run(folded, k=2, verdict=verdict)
    monkeypatch.setattr(value, "windows", lambda *_: (0, []))  # how it is judged is looked at above
    valued = value.run(read, folded, HORIZON, 0.1)
    served = pd.Series(fitted.predicted.value, folded.table.names)[valued.table.index]
    assert valued.table["customer_value"].tolist() == pytest.approx(served.tolist())
