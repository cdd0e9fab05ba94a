"""`python -m offline fit` as a person types it: what it prints and leaves, and one line for whatever goes wrong."""

import csv
import datetime
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import jobs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checks import raws
from click.testing import CliRunner
from refusal import one_line

from demo.data import cdnow
from models import artefact
from models.events import MOST
from models.offers import code
from models.rows import load_rows
from offline.__main__ import INTERRUPTED, main
from offline.demand.examples import Examples, Target
from offline.demand.regressors import REGRESSORS, Tuned, tune
from offline.history.quality import LABELS
from offline.history.read import read_parquet
from offline.segments import kmeans

LINES = ["customer_id,occurred_at,amount"]
ROOT = Path(__file__).parent.parent


def store(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 customers who buy every 4 to 40 days through 300 days, with times of day, and 7 rows that are of no use."""
    path, start = tmp_path_factory.mktemp("shop") / "orders.csv", 19_500
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Customer", "When", "Total", "Order"])
        for n in range(60):
            for day in range(start + n % 17, start + 300, 4 + 6 * (n % 7)):
                table.writerow([f"c{n}", day * 86_400 + 3600 + n, f"{4 + (n * day) % 50}.50", f"o{n}-{day}"])
        table.writerow(["c1", start * 86_400 + 7200, "9.99", "twice"])
        table.writerow(["c1", start * 86_400 + 7200, "9.99", "twice"])
        table.writerow(["", start * 86_400, "9.99", "nobody"])
        table.writerow(["c1", "yesterday", "9.99", "when"])
        table.writerow(["c1", "", "9.99", "never"])
        table.writerow(["c1", start * 86_400, "9,99", "comma"])
        table.writerow(["c1", start * 86_400, "", "nothing"])
        table.writerow(["c1", (start + 300) * 86_400, "9.99", "later"])
    return path


def arguments(shop: Path, out: Path) -> list[str]:
    columns = "customer_id=Customer,occurred_at=When,amount=Total,order_id=Order"
    until = str(np.datetime64(19_800, "D"))
    return ["fit", "--history", str(shop), "--columns", columns, "--until", until, "--out", str(out)]


@pytest.fixture(scope="module")
def fitted(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(DIR, what was printed)."""
    out = tmp_path_factory.mktemp("fit") / "new" / "fit"
    return out, jobs.alone(*arguments(shop, out))


def figure(printed: str, name: str) -> int:
    """A count of the cleaning table."""
    found = re.search(rf"^{re.escape(LABELS[name])} +([\d,]+)$", printed, re.MULTILINE)
    return int(found[1].replace(",", "")) if found else 0


# ---- a good file -----------------------------------------------------------------------------------------------------


def test_counts_are_printed_and_add_up(shop: Path, fitted: tuple[Path, str]) -> None:
    out, printed = fitted
    counts = {name: figure(printed, name) for name in LABELS}
    with shop.open() as file:
        assert counts["read"] == sum(1 for _ in file) - 1
    assert counts["without_customer"] == 1
    assert counts["bad_times"] == 2
    assert counts["bad_numbers"] == 2
    assert counts["future"] == 1
    assert counts["duplicates"] == 1
    assert counts["read"] == sum(n for name, n in counts.items() if name not in ("read", "duplicates_kept"))
    assert counts["kept"] == len(read_parquet(out / "history.parquet"))


def test_everything_that_publish_needs_is_left(fitted: tuple[Path, str]) -> None:
    out, printed = fitted
    assert sorted(path.name for path in out.iterdir()) == ["artefact.json", "history.parquet", "states.parquet"]
    found = artefact.decode((out / "artefact.json").read_bytes())
    assert (found.trained_through, found.horizon) == (19_800, 30)
    states = pq.read_table(out / "states.parquet").to_pydict()
    assert sorted(states["customer_id"]) == sorted(f"c{n}" for n in range(60))
    assert len(load_rows([*states["state"]])) == 60
    assert f"next: python -m streams publish {out}" in printed


def test_reasons_and_figures_are_printed(fitted: tuple[Path, str]) -> None:
    out, printed = fitted
    found = artefact.decode((out / "artefact.json").read_bytes())
    assert "folded: 60 customers" in printed
    assert re.search(r"^(WARNING: no k passes|k = )", printed, re.MULTILINE)
    for name in (
        *found.restored().segments.names,
        "zero",
        "last_period",
        "own_rate",
        "decayed_rate",
        "served",
        "deviance",
        "ngini",
    ):
        assert re.search(rf"\b{name}\b", printed), name
    assert sorted(found.metrics) == [
        "customer_value",
        *(f"orders/{name}" for name in ("decayed_rate", "own_rate", "served", "zero")),
        *(f"spend/{name}" for name in ("decayed_rate", "last_period", "own_rate", "served", "zero")),
    ]
    judged = found.metrics["customer_value"]
    assert judged["cut"] + judged["days"] + 30 - 1 == 19_800  # the last window ends by the cut-off
    told = re.search(
        r"^customer_value: .*in the last (\d+) held-out days it told ([\d.]+) times", printed, re.MULTILINE
    )
    assert told is not None
    assert [float(each) for each in told.groups()] == pytest.approx([judged["days"], judged["bias"]], abs=0.006)
    assert found.metrics_cut == 19_800 - 4 * 30  # the first of three cuts: all that was judged is later


def test_rfm_edges_and_offers_go_into_the_artefact_and_the_rings_into_the_states(tmp_path: Path) -> None:
    rows = [f"c{n},{np.datetime64(19_500 + 9 * i + n % 9, 'D')},{n}.50,p{i % 2}" for n in range(40) for i in range(12)]
    history = store(tmp_path / "h.csv", [f"{LINES[0]},product_id", *rows])
    offers = store(tmp_path / "offers.csv", ["product,offer_1,offer_2,offer_3", "p1,p0,p7,"])
    printed = jobs.alone("fit", "--history", history, "--offers", offers, "--out", tmp_path / "fit")
    model = artefact.decode((tmp_path / "fit" / "artefact.json").read_bytes()).restored()
    assert model.offers.beside == {"p1": ["p0", "p7"]}
    assert model.rfm.recency == (2, 4, 6, 8)  # 40 customers, nine last days: 1 to 9 days before the cut-off
    assert model.rfm.spend == tuple(12 * int((8 * i - 0.5) * 10_000) for i in range(1, 5))
    assert (
        "rfm, edges between fifths: days since last purchase 2, 4, 6, 8; orders 12, 12, 12, 12; spend 90.00, "
        in printed
    )
    assert "next offers: beside 1 products" in printed
    states = pq.read_table(tmp_path / "fit" / "states.parquet").to_pydict()["state"]
    ring = [code(f"p{i % 2}") for i in range(12)]
    assert {tuple(row["offered"][:12].tolist()) for row in load_rows([*states])} == {tuple(ring)}


@pytest.mark.parametrize(
    ("column", "offers", "said"),
    [
        ("product_id", ["001,002,,", "002,001,,"], ""),
        ("product_id", ["1,2,,", "2,1,,"], "2 are in no event of this history: '1', '2'; did"),
        ("product_id", ["001,002,9,8", "7,001,6,"], "of the 6 products that --offers names 4 are in no event of this"),
        ("sku", ["001,002,,"], "of the 2 products that --offers names 2 are in no event of this"),
    ],
)  # fmt: skip
def test_offers_of_products_that_nobody_bought_are_told(
    column: str, offers: list[str], said: str, tmp_path: Path
) -> None:
    """A spreadsheet takes the zeros off 001; the file still reads well, and nobody would ever be offered anything."""
    rows = [
        f"c{n},{np.datetime64(19_500 + 9 * i + n % 9, 'D')},{n}.50,00{1 + i % 2}" for n in range(9) for i in range(9)
    ]
    history = store(tmp_path / "h.csv", [f"{LINES[0]},{column}", *rows])
    beside = store(tmp_path / "offers.csv", ["product,offer_1,offer_2,offer_3", *offers])
    printed = jobs.run("fit", "--history", history, "--offers", beside, "--out", tmp_path / "fit")
    assert ("WARNING: of the" in printed) == bool(said)
    assert said in printed


def test_offers_that_cannot_be_read_show_before_the_history_is(shop: Path, tmp_path: Path) -> None:
    offers = store(tmp_path / "o.csv", ["Product,offer_1", "a,b"])
    left = tmp_path / "fit" / "artefact.json"
    said = one_line(left, *arguments(shop, tmp_path / "fit"), "--offers", offers)
    assert f"--offers {offers}: no column 'product'" in said


def test_fit_leaves_the_history_that_clean_makes_with_the_same_options(shop: Path, tmp_path: Path) -> None:
    told = [*arguments(shop, tmp_path)[3:-2], "--key", "order_id", "--quality-report", str(tmp_path / "quality.csv")]
    for command in (
        ["fit", "--history", str(shop), "--out", str(tmp_path)],
        ["clean", str(shop), "--out", str(tmp_path / "c")],
    ):
        done = CliRunner().invoke(main, [*command, *told])
        assert done.exit_code == 0, done.output
        (tmp_path / "quality.csv").rename(tmp_path / f"{command[0]}.csv")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "history.parquet").read_bytes()
    assert (tmp_path / "fit.csv").read_text() == (tmp_path / "clean.csv").read_text()


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_a_second_run_leaves_the_same_bytes(
    shop: Path, fitted: tuple[Path, str], tmp_path: Path, hash_seed: str
) -> None:
    out, printed = fitted
    again = jobs.alone(*arguments(shop, tmp_path), hash_seed=hash_seed)
    assert again.replace(str(tmp_path), str(out)) == printed
    for name in ("artefact.json", "history.parquet", "states.parquet"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


@pytest.mark.parametrize("job", [["demand", "--model", "boosting"], ["demand", "--model", "svr"], ["evaluate"]])
def test_predictions_and_figures_are_the_same_under_another_hash_seed(
    shop: Path, tmp_path: Path, job: list[str]
) -> None:
    said = []
    for seed in "01":
        printed = jobs.alone(*job, *arguments(shop, tmp_path / seed)[1:], hash_seed=seed)
        said.append(printed.replace(str(tmp_path / seed), "OUT"))
    assert said[0] == said[1]
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


@pytest.mark.long
def test_cdnow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of it: nothing is dropped, and the model beats the baselines in deviance on later time."""
    monkeypatch.setattr(kmeans, "RESAMPLES", 1)  # its segments tests/test_docs_mining.py looks at
    rows = cdnow.write_csv(tmp_path / "purchases.csv")
    columns = ["--columns", "customer_id=customer,occurred_at=date"]
    printed = jobs.run("fit", "--history", tmp_path / "purchases.csv", *columns, "--out", tmp_path / "fit")
    assert (figure(printed, "read"), figure(printed, "kept"), rows) == (69_659, 69_659, 69_659)
    assert figure(printed, "duplicates_kept") == 255
    left = artefact.decode((tmp_path / "fit" / "artefact.json").read_bytes())
    metrics = left.metrics
    deviance = {name.removeprefix("spend/"): each["deviance"] for name, each in metrics.items() if "deviance" in each}
    assert 0.8 < metrics["customer_value"]["bias"] < 1.25
    assert deviance["served"] < deviance["decayed_rate"] < deviance["own_rate"] < deviance["zero"]


# ---- whatever goes wrong ---------------------------------------------------------------------------------------------


def refused(tmp_path: Path, *arguments: str | Path) -> str:
    out: list[str | Path] = [] if "--out" in arguments else ["--out", tmp_path / "out"]
    return one_line(tmp_path / "out" / "artefact.json", "fit", *arguments, *out)


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    assert "empty.csv: the file is empty" in refused(tmp_path, "--history", tmp_path / "empty.csv")


def test_header_alone(tmp_path: Path) -> None:
    file = store(tmp_path / "h.csv", LINES)
    assert "h.csv: no row can be used (no rows)" in refused(tmp_path, "--history", file)


@pytest.mark.parametrize(
    ("amounts", "why"),
    [
        ([5], "different customers: 1; at least 4 are needed"),
        ([5, 10, 15], "different customers: 3; at least 4 are needed"),
        ([5] * 40, "different customers: 1; at least 4 are needed"),
    ],
)
def test_customers_too_few_or_alike_are_one_cluster_and_served(tmp_path: Path, amounts: list[int], why: str) -> None:
    """Segments are a rule and need nobody else. Mutations caught: no fit; a cluster said to stand elsewhere."""
    rows = [f"c{n},2024-0{month}-01,{amount}" for n, amount in enumerate(amounts) for month in range(1, 10)]
    file = store(tmp_path / "few.csv", LINES + rows)
    printed = jobs.run("fit", "--history", file, "--out", tmp_path / "fit")
    assert f"\nclusters\nk = 1, everybody in one cluster: {why}\n0: silent for " in printed
    clusters = artefact.decode((tmp_path / "fit" / "artefact.json").read_bytes()).restored().clusters
    assert (clusters.numbers, clusters.sizes) == ([0], [len(amounts)])
    assert " 100% of the customers" in clusters.told[0]
    orders = float(re.findall(r"([\d.]+) orders", clusters.told[0])[0])
    assert 1 < orders < 9, "the mean of what they stood at, of one to nine orders"
    assert why in refused(tmp_path, "--history", file, "--clusters", "2"), "what is asked for is not given up"


@pytest.mark.parametrize("rows", [["a,2024-01-01,5"], ["a,2024-01-01,5", "b,2024-01-09,7"]])
def test_too_short_a_history(tmp_path: Path, rows: list[str]) -> None:
    line = refused(tmp_path, "--history", store(tmp_path / "short.csv", LINES + rows))
    assert "no customer's history spans a landmark: more than 30 days" in line


def test_browsing_alone(tmp_path: Path) -> None:
    lines = ["customer_id,occurred_at,event_type", *(f"a,2024-0{month}-01,view" for month in range(1, 10))]
    line = refused(tmp_path, "--history", store(tmp_path / "views.csv", lines))
    assert "nobody bought anything in this history: none of its 9 events is a purchase" in line


def test_all_rows_bad(tmp_path: Path) -> None:
    file = store(tmp_path / "bad.csv", [*LINES, "a,soon,5", ",2024-01-01,5", "b,2024-01-01,five"])
    line = refused(tmp_path, "--history", file)
    assert "no row can be used (1 without customer" in line
    assert "1 bad time, 1 bad number" in line


def test_missing_column_and_the_nearest_name(tmp_path: Path) -> None:
    file = store(tmp_path / "names.csv", ["Customer ID,date,Total", "a,2024-01-01,5"])
    line = refused(tmp_path, "--history", file)
    assert "no column 'customer_id'; nearest is 'Customer ID' of" in line
    assert "--columns customer_id=" in line
    assert "--columns customer_id=" in line
    line = refused(tmp_path, "--history", file, "--columns", "customer_id=Customer ID,occurred_at=Date,amount=Totals")
    assert "no column 'Date'; nearest is 'date'" in line


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("customer_id", "say ours=theirs"),
        ("customer_id=", "say ours=theirs"),
        ("customer_id=a,customer_id=b", "named twice"),
        ("customerid=a", "'customerid' is no name of ours; nearest is 'customer_id'"),
    ],
)
def test_wrong_columns(tmp_path: Path, columns: str, said: str) -> None:
    line = refused(tmp_path, "--history", store(tmp_path / "h.csv", LINES), "--columns", columns)
    assert "--columns" in line
    assert said in line


def test_unreadable_parquet(tmp_path: Path) -> None:
    good = tmp_path / "good.parquet"
    pq.write_table(
        pa.table({"customer_id": ["a"] * 999, "occurred_at": ["2024-01-01"] * 999, "amount": [1] * 999}), good
    )
    (tmp_path / "cut.parquet").write_bytes(good.read_bytes()[:-100])
    damaged = bytearray(good.read_bytes())
    damaged[4:60] = b"\xff" * 56
    (tmp_path / "damaged.parquet").write_bytes(damaged)
    for name in ("cut.parquet", "damaged.parquet"):
        assert f"{name}: cannot be read: " in refused(tmp_path, "--history", tmp_path / name)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    assert "nowhere.csv: cannot be read: No such file" in refused(tmp_path, "--history", tmp_path / "nowhere.csv")
    assert "cannot be read: Is a directory" in refused(tmp_path, "--history", tmp_path)
    (tmp_path / "latin.csv").write_bytes("customer_id,occurred_at,amount\nMüller,2024-01-01,5\n".encode("latin-1"))
    line = refused(tmp_path, "--history", tmp_path / "latin.csv", "--encoding", "utf-8")
    assert "not utf-8; say another --encoding" in line


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--until", "1998-02-30", "--until '1998-02-30': not a date like 1998-01-01"),
        ("--until", "1970-01-02", "(1 at or after the cut-off)"),
        ("--timezone", "Mars", "--timezone: 'Mars' is not known"),
    ],
)
def test_other_options(tmp_path: Path, option: str, value: str, said: str) -> None:
    file = store(tmp_path / "h.csv", [*LINES, "a,2024-01-01,5"])
    assert said in refused(tmp_path, "--history", file, option, value)


def test_a_directory_that_cannot_be_written_shows_before_anything_is_read(tmp_path: Path) -> None:
    store(tmp_path / "taken", LINES)
    for out in (tmp_path / "taken", tmp_path / "taken" / "below"):
        assert f"--out {out}: " in refused(tmp_path, "--history", tmp_path / "nowhere.csv", "--out", out)


@pytest.mark.parametrize(
    ("command", "at"),
    [("value", "history.read.clean"), ("evaluate", "history.fold.fold"), ("stock", "stock.stock.run")],
)
def test_ctrl_c_says_so_and_leaves_what_was_there(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, at: str
) -> None:
    """While it reads, folds and predicts. Mutation caught: click's `Aborted!` and exit code 1."""
    (tmp_path / "out.csv").write_text("of an earlier run")
    monkeypatch.setattr(f"offline.{at}", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    columns = "customer_id=Customer,occurred_at=When,amount=Total,order_id=Order,product_id=Order"
    words = [command, "--history", str(shop), "--columns", columns, "--out", str(tmp_path / "out.csv")]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stdout) == (INTERRUPTED, "")
    assert done.stderr.splitlines()[-1] == "offline: interrupted"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["of an earlier run"]


@pytest.mark.parametrize("job", [("segment", "--method", "dbscan", "--out"), ("value", "--out")])
def test_who_reads_no_further_is_told_of_by_name(shop: Path, tmp_path: Path, job: tuple[str, ...]) -> None:
    """As `| head` does. Mutation caught: `--out ...: Broken pipe` of a file that can be written."""
    words = [*job, str(tmp_path / "out.csv"), *arguments(shop, tmp_path)[1:-2]]
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([sys.executable, "-m", "offline", *words], stdout=writes, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writes)
    (line,) = done.stderr.decode().splitlines()
    assert (done.returncode, line.partition(",")[0]) == (2, "offline: it broke off")
    assert [*tmp_path.iterdir()] == []


def test_a_fit_that_breaks_off_leaves_nothing_to_publish(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk under the second fit into one directory: its files must not meet the artefact of the first."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "artefact.json").write_text("of an earlier fit")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("offline.history.fold.write_states", full)
    done = CliRunner().invoke(main, arguments(shop, tmp_path / "out"))
    assert (done.exit_code, done.stderr) == (2, f"offline: --out {tmp_path / 'out'}: No space left on device\n")
    assert not (tmp_path / "out" / "artefact.json").exists()


def test_evaluate_sets_every_model_beside_the_baselines(shop: Path, tmp_path: Path) -> None:
    """A CSV of target, cut and model; the reason of the choice and what batch would gain are told."""
    given, out = arguments(shop, tmp_path)[1:-2], tmp_path / "new" / "figures.csv"
    done = CliRunner().invoke(main, ["evaluate", *given, "--cuts", "1", "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with out.open() as file:
        rows = list(csv.DictReader(file))
    models = ["zero", "own_rate", "decayed_rate", "mbg_nbd", *REGRESSORS, "served"]
    assert [row["model"] for row in rows if row["target"] == "orders"] == models
    assert [row["model"] for row in rows if row["target"] == "spend"] == ["zero", "last_period", *models[1:]]
    assert {row["cut"] for row in rows} == {str(np.datetime64(19_800 - 60, "D"))}
    for row in rows:
        assert row["deviance"] in done.stdout or f"{float(row['deviance']):.3f}" in done.stdout
    assert done.stdout.count("served: mean Poisson deviance ") == 2
    assert done.stdout.count("the best batch model, ") == 2


@pytest.mark.parametrize(
    ("failing", "why"),
    [
        ("mbg_nbd", "customers who bought on a second day: 1 of 1; at least 2 are needed: give a longer history"),
        ("linear", "Solver did not converge."),
        ("polynomial", "Solver did not converge."),
    ],
)
def test_evaluate_goes_on_where_a_model_cannot_be_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, why: str
) -> None:
    """MBG/NBD needs two who came back; a library may refuse any data, at one cut of two. The row says why, the others
    have figures. Mutation caught: the figures of the other cut beside it."""
    days = [datetime.date(2023, 1, 1) + datetime.timedelta(9 * n) for n in range(60)]
    shop = store(tmp_path / "one.csv", ["customer_id,occurred_at,amount", *(f"c,{day},{day.day}" for day in days)])

    cuts: dict[str, int] = {}

    def tried(name: str, learned: Examples, target: Target, horizon: int) -> Tuned:
        if name == failing and cuts.setdefault(target, learned.day.max()) != learned.day.max():
            raise ValueError("Solver did not converge.\nSee the user guide")
        return tune(name, learned, target, horizon)

    monkeypatch.setattr("offline.demand.evaluate.tune", tried)
    out = tmp_path / "figures.csv"
    words = ["evaluate", "--history", str(shop), "--models", "quick", "--cuts", "2", "--out", str(out)]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert (done.exit_code, done.stderr) == (0, "")
    with out.open() as file:
        rows = list(csv.DictReader(file))
    failed = {row["model"]: row["why"] for row in rows if row["why"]}
    assert set(failed) == {failing, "mbg_nbd"}
    assert failed[failing].startswith("cannot be fitted before 20")
    assert failed[failing].endswith(why)
    assert all(bool(row["deviance"]) != bool(row["why"]) for row in rows)
    assert {"linear", "polynomial", "served", "zero"} - {failing} <= {row["model"] for row in rows if row["deviance"]}
    assert not {"svr", "boosting"} & {row["model"] for row in rows}
    assert re.search(rf"^{failing} +NaN .* {re.escape(failed[failing])}$", done.stdout, re.MULTILINE)
    assert done.stdout.count("the best batch model, ") == 2


@pytest.mark.parametrize("name", REGRESSORS)
def test_demand_predicts_every_customer(shop: Path, tmp_path: Path, name: str) -> None:
    """The same bytes twice; one who buys every 4 days buys more than one who buys every 40."""
    given, out = arguments(shop, tmp_path)[1:-2], tmp_path / "demand.csv"
    words = ["demand", *given, "--model", name, "--target", "orders", "--out", str(out)]
    first = CliRunner().invoke(main, words, catch_exceptions=False)
    assert first.exit_code == 0, first.output
    written = out.read_bytes()
    assert CliRunner().invoke(main, words).stdout == first.stdout
    assert out.read_bytes() == written
    with out.open() as file:
        predicted = {row["customer_id"]: float(row["predicted_orders"]) for row in csv.DictReader(file)}
    assert sorted(predicted) == sorted(f"c{n}" for n in range(60))
    assert min(predicted[f"c{n}"] for n in range(0, 60, 7)) > max(predicted[f"c{n}"] for n in range(6, 60, 7))
    assert "chosen: " in first.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate"], "nothing to judge on: a history of 4 horizons (120 days) is needed"),
        (["demand"], "no example of 30 days has closed: more than 60 days of purchases are needed"),
    ],
)
def test_a_history_too_short_to_predict_from_is_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    lines = [*LINES, *(f"c{n},2020-01-{day:02},{n}.50" for n in range(20) for day in (1, 9, 15))]
    if words == ["evaluate"]:
        lines += [f"c{n},2020-03-{day:02},{n}.50" for n in range(20) for day in (1, 9, 15)]
    given = ["--history", str(store(tmp_path / "short.csv", lines)), "--out", str(tmp_path / "out.csv")]
    done = CliRunner().invoke(main, [*words, *given])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert said in done.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("basket", [0.01, MOST / 1e4])
def test_a_shop_begins_with_any_basket_that_an_event_may_hold(tmp_path: Path, basket: float) -> None:
    """And all of its scores can be told. Mutation caught: a basket whose tenfold no state can hold."""
    words = ["begin", "--until", "2024-01-01", "--out", str(tmp_path), "--basket"]
    done = CliRunner().invoke(main, [*words, f"{basket:f}"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    model = artefact.decode((tmp_path / "artefact.json").read_bytes()).restored()
    assert all(np.isfinite(column).all() for column in model.predict_many(raws(100)))
    for beyond in (basket / 2 if basket < 1 else basket * 1.01, -1):
        done = CliRunner().invoke(main, [*words, f"{beyond:f}"], catch_exceptions=False)
        assert (done.exit_code, "not in the range" in done.stderr) == (2, True)
