"""A long history goes through files, a part of the customers at a time, here or on a cluster: to the same bits."""

import csv
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import refusal
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks import history as synthetic
from models.kinds import PURCHASE, RETURN
from models.rows import DAY
from offline.__main__ import main
from offline.errors import HistoryError, OfflineError
from offline.history import csvs, elsewhere, finish, fold, spill
from offline.history import read as history
from offline.history.policy import Policy
from offline.segments import kmeans

distributed = pytest.importorskip("distributed")
HEAD = ["customer_id", "occurred_at", "event_type", "order_id", "product_id", "quantity", "unit_price"]
WRITTEN = ["artefact.json", "history.parquet", "states.parquet"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if some hundred rows were too many to be held."""
    monkeypatch.setattr(spill, "HELD", 500)
    monkeypatch.setattr(spill, "PARTS", 5)
    monkeypatch.setattr(csvs, "BLOCK", 10_000)


# ---- the same history ------------------------------------------------------------------------------------------------
IDS = ["17850", "17850.0", "0017", "17", "a", "ü", "b.0"]
rows = st.tuples(
    st.sampled_from(IDS),
    st.integers(0, 3).map(lambda n: f"2020-0{1 + n}-01") | st.just("2020-01-05 10:00:00"),
    st.sampled_from(["purchase"] * 4 + ["return", "view", "cart"]),
    st.sampled_from(["o1", "o2", "3.0", ""]),
    st.sampled_from(["p", "07", "7", ""]),
    st.sampled_from(["1", "2", "1", "2", ""]),
    st.sampled_from(["5", "7.5", "5", "7.5", ""]),
)
POLICIES = [
    {},
    {"cancelled": False},
    {"key": ("customer_id", "order_id")},
    {"key": ("order_id",)},
    {"outliers": "zscore", "action": "drop"},
    {"missing": {"product_id": "drop"}},
    {"missing": {"unit_price": "mean", "product_id": "mode"}},
    {"missing": {"unit_price": "mode", "quantity": "median"}, "key": ("order_id",), "outliers": "zscore"},
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose files examples of hypothesis write over."""
    return tmp_path_factory.mktemp("scale")


def read(paths: list[Path], policy: dict[str, Any], scratch: Path | None = None) -> history.History | str:
    """A history, or what is said where nothing of it is left."""
    try:
        return history.read(paths, {}, policy=Policy(**policy), scratch=scratch)
    except HistoryError as error:
        return str(error)


CANCELLED = [
    (c, f"2020-0{1 + (t == 'return')}-01", t, "o1", "p", "1", "5") for c in "ab" for t in ("purchase", "return")
]


@settings(max_examples=150)
@given(st.lists(st.lists(rows, max_size=25), min_size=1, max_size=3), st.sampled_from(POLICIES), st.integers(1, 4))
@example([CANCELLED[:2], CANCELLED[2:]], {}, 2)
@pytest.mark.long
def test_a_history_in_parts_is_the_history(
    shared: Path, logs: list[list[tuple[str, ...]]], policy: dict[str, Any], parts: int
) -> None:
    """Frame, counts, what is told, customers in their order, rows, entries; as a stream counts it. Mutations caught:
    parts by the id as it is written, no order among equal times, customers in the order of the parts, nothing said of
    parts that are empty; streamed: parts alone in which something was taken back, outliers left out, what was filled
    in, keys in the order of the file."""
    paths = [_csv(shared / f"{number}.csv", each) for number, each in enumerate(logs)]
    whole = read(paths, policy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "HELD", 3)
        patch.setattr(history, "SPAN", 3)
        patch.setattr(spill, "PARTS", parts)
        patch.setattr(csvs, "BLOCK", 512)
        split = read(paths, policy, shared)
        if isinstance(whole, str) or isinstance(split, str):
            assert split == whole
            return
        pd.testing.assert_frame_equal(split.frame, whole.frame)
        pd.testing.assert_frame_equal(split.streamed.frame, whole.streamed.frame)
        split.write_parquet(shared / "written")
    drops = {name: how for name, how in policy.get("missing", {}).items() if how == "drop"}
    _is_as_it_came(whole.streamed, read(paths, {"cancelled": False, "missing": drops}), [*policy.get("key", ())])
    pd.testing.assert_frame_equal(history.read_parquet(shared / "written"), whole.frame)
    assert (split.counts, split.counts.notes, split.last) == (whole.counts, whole.counts.notes, whole.last)
    if isinstance(split.parts, list):
        day = whole.last // DAY + 40
        _same(fold.fold_parts(split.parts, day, 7), fold.fold(whole.frame, day, 7))


def _is_as_it_came(streamed: history.History, plain: history.History | str, key: list[str]) -> None:
    """plain: read without all that looks at what came later, and without keys."""
    if isinstance(plain, str):
        assert streamed.frame.empty
        return
    frame = plain.frame
    once = frame[~(frame.duplicated(key) & frame[key].notna().all(axis=1))] if key else frame
    pd.testing.assert_frame_equal(streamed.frame, once.reset_index(drop=True))


def test_ids_that_became_floats_go_to_the_part_of_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one file all customers are floats, in the other some: 17850.0 is 17850 in the one and itself in the other."""
    monkeypatch.setattr(spill, "HELD", 3)
    rest = ("2020-01-01", "purchase", "", "p", "1", "5")
    floats = _csv(tmp_path / "0.csv", [(f"{n}.0", *rest) for n in range(40)])
    mixed = _csv(tmp_path / "1.csv", [("a", *rest), *((f"{n}.0" if n % 2 else f"{n}", *rest) for n in range(40))])
    whole, split = (history.read([floats, mixed], {}, scratch=scratch) for scratch in (None, tmp_path))
    pd.testing.assert_frame_equal(split.frame, whole.frame)
    assert isinstance(split.parts, list)
    customers = [set(spill.load(path)["customer_id"].to_pylist()) for path in split.parts]
    assert sum(map(len, customers)) == len(set().union(*customers)) == 61


def _csv(path: Path, rows: list[tuple[str, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEAD, *rows])
    return path


def _same(one: fold.Folded, other: fold.Folded) -> None:
    assert (one.day, one.table.names, one.noted) == (other.day, other.table.names, other.noted)
    assert one.table.rows.tobytes() == other.table.rows.tobytes()
    plain, again = ([(day, names, found.tobytes()) for day, names, found in each.days] for each in (one, other))
    assert plain == again


@pytest.mark.usefixtures("small")
def test_examples_of_a_day_stand_in_the_order_of_their_customers(shop: Path, tmp_path: Path) -> None:
    """As models learn them: what is learned and judged cannot depend on how the customers were split."""
    read = history.read([shop], {}, scratch=tmp_path)
    assert isinstance(read.parts, list)
    folded = fold.fold_parts(read.parts, read.last // DAY + 1)
    assert len(folded.days) > 100
    assert all(names == sorted(names) for _, names, _ in folded.days)
    assert all(names == folded.table.ids.of(found["row"]) for _, names, found in folded.days)


def test_few_rows_make_no_files(shop: Path, tmp_path: Path) -> None:
    assert isinstance(history.read([shop], {}, scratch=tmp_path).parts, pd.DataFrame)
    assert [*tmp_path.iterdir()] == []


# ---- the same fit ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop") / "history.csv"
    synthetic.write(path, 3_000)
    return path


def fit(shop: Path, out: Path, *more: str) -> tuple[str, list[bytes]]:
    """(what was printed, what was left); the history for its events alone: they lie in other row groups."""
    done = CliRunner().invoke(main, ["fit", "--history", str(shop), "--out", str(out), *more])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == WRITTEN
    events = history.read_parquet(out / "history.parquet").to_csv().encode()
    return done.output.replace(str(out), "DIR"), [*((out / name).read_bytes() for name in WRITTEN[::2]), events]


@pytest.fixture(scope="module")
def plain(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[bytes]]:
    return fit(shop, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Of a cluster of two processes."""
    with distributed.LocalCluster(2, processes=True, threads_per_worker=1, dashboard_address=None) as made:
        yield made.scheduler_address


@pytest.mark.usefixtures("small")
def test_a_fit_in_parts_is_the_fit(shop: Path, plain: tuple[str, list[bytes]], tmp_path: Path) -> None:
    """Artefact, states, events and all that is printed."""
    assert fit(shop, tmp_path / "fit") == plain


@pytest.mark.long
@pytest.mark.usefixtures("small")
def test_a_fit_on_a_cluster_is_the_fit(
    shop: Path, plain: tuple[str, list[bytes]], tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutation caught: --dask left unused: nothing may be finished or folded here."""
    monkeypatch.setattr(finish, "finish", None)
    monkeypatch.setattr(fold, "batch", None)
    assert fit(shop, tmp_path / "fit", "--dask", scheduler) == plain


def test_a_worker_that_does_not_see_the_parts_is_told(scheduler: str, tmp_path: Path) -> None:
    job = partial(fold.fold_file, day=1, horizon=30, offers=None)
    with elsewhere.each(scheduler) as each, pytest.raises(OfflineError, match=r"a worker failed .*directory of --out$"):
        each(job, [tmp_path / "0.events"])


@pytest.mark.parametrize(
    ("address", "said"), [("tcp://127.0.0.1:1", "Timed out"), ("host", "missing port"), ("x://h:1", "unknown address")]
)
def test_a_cluster_that_is_not_there_is_told(
    shop: Path, tmp_path: Path, address: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "WAIT", 1)
    line = refusal.one_line(tmp_path / "fit/artefact.json", *arguments(shop, tmp_path), "--dask", address)
    assert line.startswith(f"offline: --dask {address}: {said}")


def test_a_missing_extra_is_told(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    line = refusal.one_line(tmp_path / "fit/artefact.json", *arguments(shop, tmp_path), "--dask", "tcp://host:8786")
    assert line == "offline: --dask: Dask is not installed; pip install '.[dask]'"


def arguments(shop: Path, directory: Path) -> list[str | Path]:
    return ["fit", "--history", shop, "--out", directory / "fit"]


def test_many_customers_are_clustered_in_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, repeats itself and is about as good as k-means."""
    rng = np.random.default_rng(1)
    z = rng.integers(0, 4, (3_000, 1)) * [3.0, 0, 0] + rng.normal(size=(3_000, 3))
    whole = kmeans.choose_k(z, clusters=4)
    monkeypatch.setattr(kmeans, "MANY", 2_000)
    first, second = (kmeans.choose_k(z, clusters=4) for _ in range(2))
    assert first.centres.tobytes() == second.centres.tobytes() != whole.centres.tobytes()
    assert first.table.inertia[4] == pytest.approx(whole.table.inertia[4], rel=0.05)
    assert "mini-batch k-means, for they are more than 2,000" in str(first)
    assert "mini-batch" not in str(whole)


# ---- the synthetic history -------------------------------------------------------------------------------------------
@pytest.mark.long
def test_the_synthetic_history_is_what_its_module_says(shop: Path, tmp_path: Path) -> None:
    assert synthetic.write(tmp_path / "again.csv", 3_000) == pytest.approx(3_000, rel=0.03)
    assert (tmp_path / "again.csv").read_bytes() == shop.read_bytes()
    read = history.read([shop], {}, policy=Policy(cancelled=False))
    assert read.counts.kept == read.counts.read
    frame = read.frame
    bought = frame[frame.kind == PURCHASE]
    assert bought.customer_id.nunique() == frame.customer_id.nunique() == 300
    assert (frame.occurred_at // DAY - synthetic.FIRST).between(0, synthetic.DAYS - 1).all()
    returned = frame[frame.kind == RETURN].assign(
        amount=lambda rows: -rows.amount, quantity=lambda rows: -rows.quantity
    )
    same = ["customer_id", "order_id", "product_id", "amount", "quantity"]
    assert len(returned.merge(bought, on=same).drop_duplicates("event_id_x")) == len(returned) > 0
