"""`python -m offline segment` as a person types it, and what stands behind it: clusters, DBSCAN, words."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from refusal import one_line
from sklearn.cluster import DBSCAN
from sklearn.metrics import silhouette_samples

from models.segments import NAMES
from offline.__main__ import main
from offline.errors import OfflineError
from offline.segments import clusters, dbscan, profiles, rule
from offline.segments.kmeans import SegmentError

Floats = NDArray[np.float64]
ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs/segmenting.md").read_text()


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(main, ["segment", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def blobs(n: int, seed: int = 0) -> Floats:
    """Three round clouds of 3/6, 2/6 and 1/6 of n, the smallest first, and one customer far from all."""
    rng = np.random.default_rng(seed)
    at = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]], [n // 6, n // 3, n // 2], axis=0)
    return np.vstack([at + rng.normal(0, 0.5, at.shape), [[40.0, 40.0]]])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Customers of three kinds, every kind of column, cells that must come back as they are; the last is an outlier."""
    lines = ['Customer ID;spend;visits;city;grade;"note; free"']
    for i, (x, y) in enumerate(blobs(90)):
        spend = f"{x + 10:.2f}".replace(".", ",")
        texts = (f"0{i * 7919 % 1000:03}", "" if i == 3 else spend, f"{y + 20:.2f}", ("Berlin ", "Köln", "NA")[i % 3])
        lines.append(";".join([*texts, "high" if x > 5 else "low", f'"a ""{i}"""']))
    (tmp_path / "shop.csv").write_text("\ufeff" + "\n".join(lines) + "\n")
    return tmp_path / "shop.csv"


# ---- rows that are not each a customer -------------------------------------------------------------------------------


def mall(tmp_path: Path, *more: str, header: str = "CustomerID,age,income") -> Path:
    rng = np.random.default_rng(2)
    kinds = np.repeat([[25, 80], [60, 30], [40, 55]], 40, axis=0)
    rows = [f"{7 * n:04},{a:.0f},{b:.0f}" for n, (a, b) in enumerate(kinds + rng.normal(0, 2.5, kinds.shape))]
    (tmp_path / "mall.csv").write_text("\n".join([header, *rows, *more]) + "\n")
    return tmp_path / "mall.csv"


def test_exact_copies_leave_and_are_counted(tmp_path: Path) -> None:
    lines = mall(tmp_path).read_text().splitlines()
    again = [lines[1], *lines[5:8], lines[1]]
    printed = run(mall(tmp_path, *again), "--out", tmp_path / "r.csv")
    assert "read: 120 customers of " in printed
    assert "\nleft out: 5 rows, exact copies of rows before them\n" in printed
    assert (tmp_path / "r.csv").read_text().splitlines()[1].startswith(lines[1] + ",")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 121
    plain = run(mall(tmp_path), "--out", tmp_path / "r.csv")
    assert "left out" not in plain
    assert plain.splitlines()[2:] == printed.splitlines()[3:]


def test_rows_that_differ_anywhere_are_no_copies_and_without_an_id_nobody_is(tmp_path: Path) -> None:
    first = mall(tmp_path).read_text().splitlines()[1]
    said = one_line(tmp_path / "r.csv", "segment", mall(tmp_path, first + "0"), "--out", tmp_path / "r.csv")
    assert "'0000' comes again in row 121 of the id column 'CustomerID', and a row must be a customer" in said
    printed = run(mall(tmp_path, first, header="code,age,income"), "--out", tmp_path / "r.csv")
    assert "read: 121 customers of " in printed
    assert "left out" not in printed


@pytest.mark.parametrize("whales", [["x1,1000,9000"], ["x1,0,9000", "x2,-800,0", "x3,900,-9000", "x4,7000,7000"]])
def test_whales_are_named_and_get_no_cluster_of_their_own(tmp_path: Path, whales: list[str]) -> None:
    path = mall(tmp_path, *whales)
    printed = run(path, "--treat", "age=standard,income=standard", "--out", tmp_path / "r.csv")
    ids = ", ".join(whale.split(",")[0] for whale in whales)
    assert f"outliers: {len(whales)}, who with every k would be in a cluster of fewer than 5: {ids}\n" in printed
    table = pd.read_csv(tmp_path / "r.csv", dtype=str).set_index("CustomerID")
    assert table.loc[ids.split(", "), "cluster"].tolist() == ["-1"] * len(whales)
    assert table.loc[ids.split(", "), ["distance", "silhouette"]].isna().all(axis=None)
    assert table["cluster"].value_counts().drop("-1").tolist() == [40, 40, 40]
    assert f"outliers ({len(whales)} customers, " in printed


EVENTS = [f"c{n % 12},2024-{1 + n // 20:02}-{1 + n % 28:02},{5 + n % 12 * 3 + n % 2}.50,{n}" for n in range(200)]


@pytest.mark.parametrize(
    ("header", "options", "read_as"),
    [
        ("customer_id,occurred_at,amount,line", [], "customer_id=customer_id,occurred_at=occurred_at,amount=amount"),
        ("CustomerNo,Order Date,Total,line", [], "customer_id=CustomerNo,occurred_at=Order Date,amount=Total"),
        ("CustomerNo,Order Date,x,line", ["--columns", "amount=x"],
         "amount=x,customer_id=CustomerNo,occurred_at=Order Date"),
        ("client_id,Bestelldatum,Nettobetrag,x", [],
         "customer_id=client_id,occurred_at=Bestelldatum,amount=Nettobetrag"),
        ("user_id,day of it,price,x", [], "customer_id=user_id,occurred_at=day of it,amount=price"),
        ("user_id,when,order_total,tax_amount", [], "customer_id=user_id,occurred_at=when,amount=order_total"),
    ],
)  # fmt: skip
def test_a_table_of_events_is_said_to_be_one_and_read_as_such(
    tmp_path: Path, header: str, options: list[str], read_as: str
) -> None:
    (tmp_path / "orders.csv").write_text("\n".join([header, *EVENTS]) + "\n")
    printed = run(tmp_path / "orders.csv", *options, "--clusters", "3", "--out", tmp_path / "r.csv")
    first, rest = printed.split("\n", 1)
    assert first.startswith(f"{tmp_path}/orders.csv: 'c0' comes again in row 13 of the id column")
    shown = first.rsplit(" --columns ", 1)[1].strip("'")
    assert {*shown.split(",")} | {"customer_id=customer_id", "occurred_at=occurred_at", "amount=amount"} >= {
        *read_as.split(",")
    }
    given = ["--history", f"{tmp_path}/orders.csv", "--columns", read_as, "--clusters", "3"]
    assert run(*given, "--out", tmp_path / "r.csv") == rest


@pytest.mark.parametrize(
    ("header", "rest", "names"),
    [
        ("client_id,when,Betrag", "soon,5", "customer_id=client_id,occurred_at=...,amount=Betrag"),
        ("client_id,day,x", "2024-01-0{n},5", "customer_id=client_id,occurred_at=day,amount=..."),
    ],
)
def test_what_cannot_be_guessed_is_asked_for_with_the_command_to_type(
    tmp_path: Path, header: str, rest: str, names: str
) -> None:
    rows = [f"c,{rest.format(n=n)}" for n in range(1, 9)]
    (tmp_path / "t.csv").write_text("\n".join([header, *(f"{row}{n}" for n, row in enumerate(rows))]) + "\n")
    said = one_line(tmp_path / "r.csv", "segment", tmp_path / "t.csv", "--out", tmp_path / "r.csv")
    assert "'c' comes again in row 2 of the id column 'client_id'" in said
    command = f"python -m offline segment --history {tmp_path}/t.csv --columns {names} --out {tmp_path}/r.csv"
    assert said.rstrip().endswith(f"if it is one of events: {command}")


# ---- a table ---------------------------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_with_cluster_distance_and_silhouette(shop: Path, tmp_path: Path) -> None:
    treat = "spend=standard,visits=minmax,city=drop,grade=drop"
    printed = run(shop, "--clusters", "3", "--treat", treat, "--out", tmp_path / "new" / "r.csv")
    files = (shop, tmp_path / "new" / "r.csv")
    before, after = (pd.read_csv(file, sep=";", dtype="str", keep_default_na=False) for file in files)
    assert list(after) == [*before, "cluster", "distance", "silhouette"]
    pd.testing.assert_frame_equal(after[list(before)], before)
    spend = pd.to_numeric(before["spend"].str.replace(",", "."))
    visits = before["visits"].astype(float)
    x = np.c_[spend.fillna(spend.median()), visits]
    z = (x - [x[:, 0].mean(), x[:, 1].min()]) / [x[:, 0].std(), np.ptp(x[:, 1])]
    labels = after["cluster"].astype(int).to_numpy()
    assert (np.diff(np.bincount(labels)) <= 0).all()  # the largest first
    centres = np.array([z[labels == k].mean(0) for k in range(3)])
    np.testing.assert_allclose(after["distance"].astype(float), np.linalg.norm(z - centres[labels], axis=1), atol=1e-6)
    np.testing.assert_allclose(after["silhouette"].astype(float), silhouette_samples(z, labels), atol=1e-6)
    told = pd.read_csv(tmp_path / "new" / "r_centres.csv", sep=";", index_col="cluster")
    assert told["customers"].tolist() == np.bincount(labels).tolist()
    np.testing.assert_allclose(told["spend"], spend.groupby(labels).mean())
    np.testing.assert_allclose(told["visits"], visits.groupby(labels).mean())
    assert "k = 3 was asked for" in printed
    assert re.search(r"spend +number +1 +standard +asked for", printed)


def test_dbscan_finds_the_clouds_and_the_outlier(shop: Path, tmp_path: Path) -> None:
    treat = "spend=standard,visits=standard,city=drop,grade=drop"
    printed = run(shop, "--method", "dbscan", "--treat", treat, "--out", tmp_path / "r.csv")
    found = pd.read_csv(tmp_path / "r.csv", sep=";")
    assert found["cluster"].iloc[-1] == -1
    assert found[["distance", "silhouette"]].iloc[-1].isna().all()
    assert found["cluster"].value_counts().loc[[0, 1, 2]].tolist() == pytest.approx([45, 30, 15], abs=2)
    assert pd.read_csv(tmp_path / "r_centres.csv", sep=";")["cluster"].tolist() == [0, 1, 2, -1]
    assert "is the knee of the 3-distance curve" in printed
    assert re.search(r"^clusters: 3; outliers: [123] ", printed, re.MULTILINE)
    assert "\noutliers (" in printed
    fixed = run(shop, "--method", "dbscan", "--eps", "99", "--min-samples", "2", "--out", tmp_path / "r.csv")
    assert "eps = 99 was asked for; min_samples = 2\nclusters: 1; outliers: 0 (0.0%)" in fixed
    assert "silhouette of each: none, there are not two clusters" in fixed


BOTH = """
import sys
from models.segments import NAMES
from offline.__main__ import main
from offline.errors import OfflineError
for options in (["--clusters", "3"], ["--method", "dbscan"]):
    main(["segment", sys.argv[1], *options, "--out", f"{options[-1]}.csv"], standalone_mode=False)
"""


@pytest.mark.long
def test_a_second_run_writes_the_same_bytes_under_another_hash_seed(shop: Path, tmp_path: Path) -> None:
    written = []
    for seed in "01":
        (tmp_path / seed).mkdir()
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONWARNINGS": "error", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", BOTH, str(shop)]
        done = subprocess.run(command, cwd=tmp_path / seed, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        written.append([done.stdout, *(file.read_bytes() for file in sorted((tmp_path / seed).iterdir()))])
    assert written[0] == written[1]
    assert len(written[0]) == 5


def test_help_has_an_example() -> None:
    assert "python -m offline segment customer_data.csv --clusters 3 --out" in run("--help")


# ---- a history -------------------------------------------------------------------------------------------------------


def test_a_history_becomes_a_row_for_each_customer(tmp_path: Path) -> None:
    lines = ["who,when,event_type,amount"]
    for n in range(12):
        lines += [f"c{n},2024-01-{day:02},purchase,{n + 0.5}" for day in range(1, 2 + n % 4)]
        lines += [f"c{n},2024-01-24,view,"] * (n % 5)
    lines += ["c1,2024-01-25,cart,", "c0,2024-01-30,return,99", "lurker,2024-01-03,view,", "bad,soon,purchase,1"]
    (tmp_path / "orders.csv").write_text("\n".join(lines) + "\n")
    options = ["--history", str(tmp_path / "orders.csv"), "--columns", "customer_id=who,occurred_at=when"]
    printed = run(*options, "--until", "2024-01-31", "--clusters", "2", "--out", tmp_path / "r.csv")
    assert re.search(r"^- bad time +1$", printed, re.MULTILINE)
    found = pd.read_csv(tmp_path / "r.csv", index_col="customer_id")
    names = ["recency_days", "orders", "spend", "views", "carts", "segment", "cluster", "distance", "silhouette"]
    assert list(found) == names
    assert sorted(found.index) == sorted(f"c{n}" for n in range(12))
    assert found["orders"].to_dict() == {f"c{n}": 1 + n % 4 for n in range(12)}
    assert found["spend"].to_dict() == {f"c{n}": (n + 0.5) * (1 + n % 4) if n else 0 for n in range(12)}
    assert found["recency_days"].to_dict() == {f"c{n}": 30 - n % 4 for n in range(12)}
    assert found["views"].to_dict() == {f"c{n}": n % 5 / 2 for n in range(12)}  # 7 days on: halved
    assert found["carts"]["c1"] == pytest.approx(2 ** (-6 / 7))


def silent(path: Path) -> Path:
    """30 customers who bought every 3 to 12 days for 100 days, 200 days ago."""
    lines = [f"c{n},{19_000 + day},{5 + n}" for n in range(30) for day in range(n % 9, 100, 3 + n % 10)]
    frame = pd.DataFrame([line.split(",") for line in lines], columns=["customer_id", "occurred_at", "amount"])
    frame["occurred_at"] = pd.to_datetime(frame["occurred_at"].astype(int), unit="D").dt.strftime("%Y-%m-%d")
    frame.to_csv(path, index=False)
    return path


def test_clusters_that_were_asked_for_are_warned_of_by_who_is_in_them(tmp_path: Path) -> None:
    """Who buys is in other clusters than who stands at the cut-off. Mutations caught: landmarks counted, or called
    customers."""
    orders, last = silent(tmp_path / "orders.csv"), str(np.datetime64(19_300, "D"))
    printed = run("--history", orders, "--until", last, "--clusters", "6", "--out", tmp_path / "r.csv")
    sizes = pd.read_csv(tmp_path / "r.csv")["cluster"].value_counts()
    assert set(sizes.index) < set(range(6))
    assert "\nk = 6 was asked for; WARNING: its smallest cluster has 0 customers at the cut-off\n" in printed


@pytest.mark.parametrize("asked", [["--clusters", "6"], ["--clusters", "3"], []])
def test_clusters_that_nobody_is_in_any_more_are_told(asked: list[str], tmp_path: Path) -> None:
    """Their number is in the reason for k, and neither in the words nor in the centres."""
    orders, last = silent(tmp_path / "orders.csv"), str(np.datetime64(19_300, "D"))
    printed = run("--history", orders, "--until", last, *asked, "--out", tmp_path / "r.csv")
    k = int(re.search(r"k = (\d+) (?:was asked|is the largest|has the best)", printed)[1])  # type: ignore[index]
    empty = sorted({*range(k)} - {*pd.read_csv(tmp_path / "r.csv")["cluster"]})
    assert bool(empty) == ("is nobody at the cut-off" in printed)
    assert not empty or f"in cluster {', '.join(map(str, empty))} is nobody at the cut-off" in printed


def test_a_history_has_the_names_that_a_fit_has(tmp_path: Path) -> None:
    """Mutations caught: names that are read and forgotten; a file that says nothing to a table, taken in silence."""
    orders, names = silent(tmp_path / "orders.csv"), names_of(tmp_path / "names.yml")
    asked = ("--history", orders, "--until", "2022-05-01", "--names", names, "--clusters", "2")
    printed = run(*asked, "--out", tmp_path / "r.csv")
    more = ("--customers", tmp_path / "c.csv", "--out", tmp_path / "fit")
    done = CliRunner().invoke(main, [*map(str, ("fit", *asked, *more))], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    ours, theirs = (pd.read_csv(tmp_path / name, index_col="customer_id")["segment"] for name in ("r.csv", "c.csv"))
    assert ours.sort_index().to_dict() == theirs.sort_index().to_dict()
    assert set(ours) <= {*GERMAN}
    assert re.search(rf"^{GERMAN[0]} \(\d+ customers\): bought on 3 days or more", printed, re.MULTILINE)
    table = mall(tmp_path, "1,20,30", "2,30,40")
    assert "--names says nothing to a table of customers; leave it out" in refused(tmp_path, table, "--names", names)


# ---- what stands behind it -------------------------------------------------------------------------------------------


def test_silhouettes_stand_on_a_bounded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "SAMPLE", 50)
    rows = blobs(120)
    found = clusters.nearest(rows, rows[[0, 30, 80]])
    sampled = np.isfinite(found.silhouette)
    assert found.sampled == sampled.sum() == 50
    np.testing.assert_allclose(found.silhouette[sampled], silhouette_samples(rows[sampled], found.labels[sampled]))


def test_the_knee_is_where_the_curve_is_farthest_below_its_chord() -> None:
    x = np.linspace(0, 1, 101)
    assert dbscan.knee(x**2) == 50  # where the slope is that of the chord
    assert dbscan.knee(np.ones(5)) == 0


def test_min_samples_is_twice_the_features_and_eps_a_distance_of_the_curve() -> None:
    rows = np.random.default_rng(1).normal(size=(60, 5))
    found = dbscan.dbscan(rows)
    assert found.min_samples == 10
    apart = np.sort(np.linalg.norm(rows[:, None] - rows, axis=2), axis=1)
    np.testing.assert_allclose(found.curve, np.sort(apart[:, 9]))  # the customer itself is the first
    assert found.eps in found.curve
    expected = DBSCAN(eps=found.eps, min_samples=10).fit_predict(rows)
    np.testing.assert_array_equal(found.labels, expected)


def test_beyond_the_sample_customers_join_the_nearest_core_within_eps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbscan, "SAMPLE", 150)
    rows = blobs(300)
    found = dbscan.dbscan(rows, eps=0.6, min_samples=4, seed=3)
    sample = np.sort(np.random.default_rng(3).choice(301, 150, replace=False))
    fit = DBSCAN(eps=0.6, min_samples=4).fit(rows[sample])
    core = sample[fit.core_sample_indices_]
    for i in np.setdiff1d(np.arange(301), sample):
        apart = np.linalg.norm(rows[core] - rows[i], axis=1)
        assert found.labels[i] == (found.labels[core[apart.argmin()]] if apart.min() <= 0.6 else -1)
    np.testing.assert_array_equal(found.labels[sample], fit.labels_)
    assert "clustered: 150 of 301 customers (seed 3)" in found.reason


def test_equal_customers_have_no_knee() -> None:
    with pytest.raises(SegmentError, match=r"each customer equals 3 others or more; say --eps 0\.5"):
        dbscan.dbscan(np.repeat([[0.0], [1.0]], 9, axis=0))
    with pytest.raises(SegmentError, match="4 customers; more than min_samples = 4 are needed"):
        dbscan.dbscan(np.arange(4.0)[:, None])


def test_words_tell_what_sets_a_cluster_apart() -> None:
    labels = np.repeat([0, 1, -1], [70, 25, 5])
    values = pd.DataFrame(
        {
            "spend": np.repeat([10.0, 40.0, 10.0], [70, 25, 5]),
            "balance": np.repeat([1.0, -1.0, 1.0], [70, 25, 5]),
            "age": [30.0, 50.0] * 50,
            "city": np.repeat(["Bonn", "Köln", "Berlin", "Bonn"], [65, 5, 25, 5]),
        }
    )
    first, second, outliers = profiles.words(values, labels)
    assert first == (
        "cluster 0 (70 customers, 70%): spend 0.57 x the average, balance 1.00 (average 0.50);"
        " mostly city = Bonn (93% against 70%)"
    )
    assert second == (
        "cluster 1 (25 customers, 25%): spend 2.3 x the average, balance -1.00 (average 0.50);"
        " all city = Berlin (100% against 25%)"
    )
    assert outliers.startswith("outliers (5 customers, 5%): spend 0.57 x the average")
    assert profiles.words(values[["age"]], np.zeros(100, np.int64)) == [
        "cluster 0 (100 customers, 100%): like the average"
    ]


@settings(deadline=None)  # pandas takes longer the first time, and on a busy machine
@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 9), st.sampled_from("ab")), min_size=1, max_size=30))
def test_centres_are_the_means_of_pandas(rows: list[tuple[int, int, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["label", "x", "city"]).astype({"x": float})
    found = profiles.centres(frame[["x", "city"]], frame["label"].to_numpy())
    assert found.index.tolist() == sorted(set(frame["label"]), key=lambda label: label % 9)
    for label, group in frame.groupby("label"):
        assert list(found.loc[label, ["customers", "share"]]) == [len(group), len(group) / len(frame)]
        assert found.at[label, "x"] == pytest.approx(group["x"].mean())
        for city in set(frame["city"]):
            assert found.at[label, f"city={city}"] == pytest.approx((group["city"] == city).mean())


# ---- whatever goes wrong ---------------------------------------------------------------------------------------------


def refused(tmp_path: Path, *arguments: str | Path) -> str:
    out: list[str | Path] = [] if "--out" in arguments else ["--out", tmp_path / "out.csv"]
    return one_line(tmp_path / "out.csv", "segment", *arguments, *out)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ("id,x\n1,2\n", [], "no column is left to segment by (id: the id; x: one value throughout)"),
        ("id,x\n1,\n2,\n", [], "x: holds nothing"),
        ("id,x\n" + "".join(f"{n},5\n" for n in range(9)), [], "x: one value throughout"),
        (
            "id,x\n" + "".join(f"{n},{n % 2}\n" for n in range(9)),
            [],
            "different customers by the features: 2; at least 4",
        ),
        ("id,x\n1,2\n3,4\n", ["--clusters", "2"], "at least 3 are needed for 2 clusters"),
        ("id,x\n1,2\n3,4\n", ["--method", "dbscan"], "2 customers; more than min_samples = 4"),
        ("id,cluster\n1,2\n", [], "a column 'cluster' is there already; remove or rename it"),
        ("id,x\n1,2\n", ["--id", "ID"], "no column 'ID'; nearest is 'id' of 'id', 'x'"),
        ("id,x\n1,2\n", ["--treat", "y=log"], "no column 'y'; nearest is"),
        ("", [], "the file is empty"),
        ("id,x\n1,2\n", ["--eps", "1"], "--eps says nothing to --method kmeans"),
        ("id,x\n1,2\n", ["--method", "dbscan", "--clusters", "3"], "--clusters says nothing to --method dbscan"),
        ("id,x\n1,2\n", ["--history", "h.csv"], "give either a table of customers or --history"),
    ],
)
def test_what_cannot_be_segmented_is_one_line(tmp_path: Path, rows: str, options: list[str], said: str) -> None:
    (tmp_path / "t.csv").write_text(rows)
    assert said in refused(tmp_path, tmp_path / "t.csv", *options)


def test_sources_and_places_that_cannot_be(tmp_path: Path) -> None:
    assert "give either a table of customers or --history" in refused(tmp_path)
    assert "for a history say --columns customer_id=" in refused(tmp_path, "--history", "h.csv", "--id", "x")
    assert "cannot be read: No such file" in refused(tmp_path, tmp_path / "nowhere.csv")
    (tmp_path / "t.csv").write_text("id,x\n1,2\n")
    assert "TABLE names the same file; name another one" in refused(
        tmp_path, tmp_path / "t.csv", "--out", tmp_path / "t.csv"
    )
    assert "t.csv/r.csv: " in refused(tmp_path, tmp_path / "t.csv", "--out", tmp_path / "t.csv" / "r.csv")


@pytest.mark.parametrize("seed", [2**32 - 1, 2**32, 5_000_000_000])
@pytest.mark.parametrize("method", ["kmeans", "dbscan"])
def test_a_seed_is_taken_or_refused_and_never_a_trace(tmp_path: Path, seed: int, method: str) -> None:
    """scikit-learn takes 32 bits."""
    (tmp_path / "t.csv").write_text("id,x\n" + "".join(f"{n},{n * n % 17}\n" for n in range(40)))
    out = tmp_path / "out.csv"
    done = CliRunner().invoke(
        main, ["segment", f"{tmp_path}/t.csv", *f"--seed {seed} --method {method} --out {out}".split()]
    )
    assert (done.exit_code == 2) == (seed >= 2**32)
    assert ("Invalid value for '--seed'" in done.output) != out.exists()


# ---- docs/segmenting.md ----------------------------------------------------------------------------------------------


def test_everybodys_file_is_as_the_document_says(tmp_path: Path) -> None:
    """Mutations caught: names of the document that are refused; a column that it does not tell; another moment."""
    (names,) = re.findall(r"^((?:    [A-Z][a-z -]+: .+\n){7})", DOCUMENT, re.MULTILINE)
    (tmp_path / "german.yml").write_text(names, encoding="utf-8")
    with (tmp_path / "orders.csv").open("w") as file:
        file.write("customer_id,occurred_at,amount\n")
        for n in range(40):
            file.writelines(f"c{n},{19_600 * 86_400 + day * 86_400},{5 + n}\n" for day in range(n % 9, 200, 3 + n % 20))
    out, wanted = tmp_path / "customers.csv", ("--names", tmp_path / "german.yml", "--until", "2024-03-01")
    asked = ("--history", tmp_path / "orders.csv", *wanted, "--clusters", "2", "--out", tmp_path / "fit")
    done = CliRunner().invoke(main, [*map(str, ("fit", *asked, "--customers", out))], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = pd.read_csv(out, keep_default_na=False)
    assert f"\n    {','.join(found.columns)}\n" in DOCUMENT
    assert len(found) == 40
    assert set(found["segment"]) <= {line.partition(": ")[2] for line in names.strip().splitlines()}
    assert found["last_purchase_at"].max() < "2024-03-01"
    assert set(found["next_offers"]) == {"[]"}


def test_the_document_shows_what_its_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    exec(program, {})
    blocks = re.findall(r"^    \$ python (.*)\n((?:(?!    \$ )(?:    .*)?\n)*)", DOCUMENT, re.MULTILINE)
    for command, shown in blocks:
        words = shlex.split(command)
        if words[0] == "-c":
            exec(words[1], {})
        else:
            assert words[:3] == ["-m", "offline", "segment"]
            printed = [line.rstrip() for line in run(*words[3:]).splitlines()]
            assert printed == [line.removeprefix("    ") for line in shown.strip("\n").splitlines()]
    assert len(blocks) == 4


# ---- names of the rule's segments ------------------------------------------------------------------------------------
GERMAN = ("Stammkunden", "Treue", "Vielversprechende", "Neue", "Gef\u00e4hrdete", "Einmalk\u00e4ufer", "Verlorene")


def names_of(path: Path, *instead: str, **names: str) -> Path:
    """The file with these names, but for what is given by name or in the place of lines."""
    known = dict(zip(NAMES, GERMAN, strict=True)) | names
    lines = [f'{ours}: "{name}"' for ours, name in known.items()]
    path.write_text("\n".join(instead or lines) + "\n", encoding="utf-8")
    return path


def test_names_are_those_of_the_file_in_any_order_and_language(tmp_path: Path) -> None:
    """Mutation caught: half of a character that JSON writes as two escapes."""
    path = tmp_path / "names.yml"
    assert rule.named(names_of(path)) == GERMAN
    assert rule.named(names_of(path, *[f"{ours}: {ours}" for ours in reversed(NAMES)])) == NAMES
    others = {
        "Lost": " \u0645\u0641\u0642\u0648\u062f ",
        "New": "\U0001f331",
        "Loyal": "\u304a\u5f97\u610f\u69d8",
        "Champions": "\\ud83d\\udc51 LOYAL customers",
    }
    found = dict(zip(NAMES, rule.named(names_of(path, **others)), strict=True))
    assert {ours: found[ours] for ours in others} == {
        **others, "Lost": others["Lost"].strip(), "Champions": "\U0001f451 LOYAL customers"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "line"),
    [
        *(
            ({"Lost": f"Ver{text}loren"}, f"Lost: .* holds U\\+{number}, which nobody sees")
            for text, number in [
                ("\\n", "000A"), ("\\e[2J", "001B"), ("\\0", "0000"), ("\u202e", "202E"), ("\u200b", "200B"),
                ("\\u2028", "2028"), ("\u00ad", "00AD"), ("\\x9b", "009B"),
            ]
        ),
        *(
            ({"New": text}, "New: .* is nothing that is seen")
            for text in ("", " \u00a0 ", "\u3164", "\u0301", "\u2800")
        ),
        ({"New": "\\ud800"}, "no YAML at line 4: half a character"),
        ({"New": "TREUE"}, "Loyal and New are both 'TREUE': give each a name"),
        ({"New": "Gefa\u0308hrdete"}, "New and At risk are both"),
        ({"New": "\uff34\uff52\uff45\uff55\uff45"}, "Loyal and New are both"),
        ({"New": "  treue\u034f\u00a0"}, "Loyal and New are both"),
        ({"Champions": "Lost", "Lost": "Champions"}, "Champions: 'Lost' means Lost here"),
        ({"New": "AT  RISK"}, "New: 'AT  RISK' means At risk here"),
    ],
)  # fmt: skip
def test_names_that_mislead_are_one_line(tmp_path: Path, names: dict[str, str], line: str) -> None:
    """Mutations caught: a name that moves a terminal's text; names told apart by their bytes; our own for others."""
    with pytest.raises(OfflineError, match=rf"^--names .*: {line}") as caught:
        rule.named(names_of(tmp_path / "names.yml", **names))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["Lost: a", *(f"{ours}: {n}" for n, ours in enumerate(NAMES))], "no YAML at line 8: 'Lost' is given twice"),
        ([f"{ours}: {n}" for n, ours in enumerate(NAMES[1:])], "say another name for each of Champions, Loyal"),
        (["- Champions"], "say another name for each of"),
        (["{" * 3000], "too deeply nested"),
        (["Lost: [a]", *(f"{ours}: {n}" for n, ours in enumerate(NAMES[:-1]))], "Lost: '' is nothing that is seen"),
    ],
)
def test_a_file_of_names_is_refused_before_the_history_is_read(tmp_path: Path, lines: list[str], line: str) -> None:
    path = names_of(tmp_path / "names.yml", *lines)
    history = tmp_path / "h.csv"
    history.write_text("of no use\n")
    assert line in one_line(
        tmp_path / "out" / "artefact.json", "fit", "--history", history, "--names", path, "--out", tmp_path / "out"
    )
