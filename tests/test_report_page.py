"""The report: a page that stands alone, says what the jobs found, and reads in a browser, in the dark and on paper."""

import itertools
import math
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path
from typing import Any

import jobs
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from playwright.sync_api import Browser, sync_playwright
from refusal import one_line

from models.features import INPUTS
from models.model import fit_history
from models.rows import ENTRY
from models.truth import Figures, Standing, Truth, Window
from offline.__main__ import main
from offline.demand import served
from offline.demand.evaluate import MODELS
from offline.demand.examples import Examples, split
from offline.demand.regressors import REGRESSORS
from offline.history import past
from offline.history import read as history
from offline.history.fold import fold
from offline.history.policy import NEEDS, Policy
from offline.report import mining, plots, sections, segments
from offline.report.card import FEATURES, card
from offline.report.make import PARTS
from offline.report.mining import Shop
from offline.rules.rules import COLUMNS
from offline.segments.dbscan import Density

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "report.md").read_text()
SCRIPT = "<script>alert(1)</script>"
DAYS, START = 140, 19_700
UNTIL = str(np.datetime64(START + DAYS, "D"))  # the whole of the shop's history
OPTIONS = ("--models", "all", "--discount-rate", "0.2", "--min-confidence", "0.5", "--until", UNTIL)
A4 = 688  # pixels between the margins of style.css
NAMES = [part.title for part in PARTS]
NOTHING = Figures(None, None, None, None)


class Page(HTMLParser):
    """Tags with their attributes, headings as (level, text), the cells of each table by caption, text by section."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.sections: dict[str, str] = {}
        self.open: list[str] = []
        self.caption = self.section = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self.open.append(tag)
        if tag == "section":
            self.section = given.get("id") or given.get("class") or ""
        elif tag == "figcaption":
            self.caption = ""
        elif tag == "table":
            self.tables[self.caption] = []
        elif tag == "tr":
            self.tables[self.caption].append([])
        elif tag in ("td", "th"):
            self.tables[self.caption][-1].append("")
        elif re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        self.sections[self.section] = self.sections.get(self.section, "") + data
        if inside == "figcaption":
            self.caption += data
        elif inside in ("td", "th"):
            self.tables[self.caption][-1][-1] += data
        elif re.fullmatch("h[1-6]", inside):
            self.headings[-1] = (int(inside[1]), self.headings[-1][1] + data)

    def table(self, caption: str) -> dict[str, dict[str, str]]:
        """Of the caption that begins so: cells by row and column."""
        ((_, (head, *rows)),) = [found for found in self.tables.items() if found[0].startswith(caption)]
        return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def write_shop(path: Path) -> Path:
    """80 customers who buy at rates of their own until they drop out; ids that want to be markup."""
    rng, lines = np.random.default_rng(3), ["customer_id,occurred_at,order_id,product_id,amount"]
    for n in range(80):
        who, at, gap = SCRIPT if n == 7 else f"c{n}", START + rng.uniform(0, 60), rng.gamma(2, 8)
        while at < START + DAYS:
            products = ["tea & <b>pot</b>", *([SCRIPT, "cup"] if rng.random() < 0.6 else ["milk"])]
            stamp = int(at * 86_400)
            lines += [f"{who},{stamp},o{stamp}-{n},{each},{rng.gamma(3, 3):.2f}" for each in products]
            at += rng.exponential(gap) + (1000 if rng.random() < 0.1 else 0)
    lines += ["c1,soon,o,cup,1", ",1,o,cup,1"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The shop's report made by two processes of different hash seeds."""
    made, path = [], write_shop(tmp_path_factory.mktemp("shop") / "a<b>&.csv")
    for seed in "01":
        out = path.parent / seed / "report.html"
        jobs.alone("report", "--history", path, *OPTIONS, "--out", out, hash_seed=seed)
        made.append(out.read_bytes())
    return made


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    path = write_shop(tmp_path_factory.mktemp("shop") / "shop.csv")
    read = history.read([path], {}, policy=Policy(needs=frozenset(), wants=NEEDS - {"customer_id"}))
    return Shop(("shop.csv",), read, fold(read.frame, START + DAYS), 30, "all", 0.2, 0.01, 0.5)


@pytest.fixture(scope="module")
def small(pages: list[bytes]) -> Page:
    return Page(pages[0].decode())


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The report of CDNOW's 1/10 sample by the recipe of docs/report.md, and what the command printed."""
    scratch = tmp_path_factory.mktemp("cdnow")
    shipped = next(f for f in metadata.files("lifetimes") or () if f.name == "CDNOW_sample.txt").locate()
    rows = [line.split() for line in Path(str(shipped)).read_text().splitlines()]
    lines = [f"{row[1]},{row[2]},{row[4]}\n" for row in rows]
    (scratch / "cdnow_sample.csv").write_text("customer_id,occurred_at,amount\n" + "".join(lines))
    done = CliRunner().invoke(
        main, ["report", "--history", str(scratch / "cdnow_sample.csv"), "--out", str(scratch / "report.html")]
    )
    assert done.exit_code == 0, done.output
    return scratch / "report.html", done.stdout.replace(f"{scratch}/", "")


# ---- the page --------------------------------------------------------------------------------------------------------


def test_a_second_run_under_another_hash_seed_gives_the_same_bytes(pages: list[bytes]) -> None:
    assert pages[0] == pages[1]


@pytest.mark.long
@pytest.mark.parametrize("which", ["small", "sample"])
def test_the_page_stands_alone_and_is_well_made(which: str, request: pytest.FixtureRequest) -> None:
    if which == "small":
        html = request.getfixturevalue("pages")[0].decode()
    else:
        html = request.getfixturevalue("sample")[0].read_text()
    page = Page(html)
    assert "http:" not in html
    assert "https:" not in html
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "iframe", "object", "base"} & {*names}
    assert not [name for _, given in page.tags for name in given if name.startswith("on") or name == "src"]
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    levels = [level for level, _ in page.headings]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert [text for level, text in page.headings if level == 2] == ["What it says", *NAMES]
    svgs = [given for tag, given in page.tags if tag == "svg"]
    assert len(svgs) >= 12
    assert all(given["role"] == "img" and given["aria-label"] for given in svgs)
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert len(ids) == len(set(ids))
    targets = re.findall(r'href="#([^"]+)"', html) + re.findall(r"url\(#([^)]+)\)", html)
    assert {*targets} <= {*ids}


def test_ids_and_names_are_never_markup(pages: list[bytes], small: Page) -> None:
    assert SCRIPT.encode() not in pages[0]
    assert "b" not in [tag for tag, _ in small.tags]
    assert "a<b>&.csv" in "".join(small.sections.values())
    rules = small.table("The first")
    assert SCRIPT in rules
    assert {"cup", SCRIPT} == {row["then"] for row in rules.values()}
    assert any("tea & <b>pot</b>" in antecedent for antecedent in rules)


@pytest.mark.parametrize("paper", re.findall(r"--paper: (#\w{6})", (ROOT / "offline/report/style.css").read_text()))
def test_colours_of_figures_read_on_either_background(paper: str) -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for colour in plots.PALETTE:
        low, high = sorted((luminance(colour), luminance(paper)))
        assert (high + 0.05) / (low + 0.05) >= 3, colour  # WCAG 2.2, 1.4.11
    assert len(plots.PALETTE) == len(set(plots.PALETTE)) == len(set(plots.MARKERS)) == 8  # segments, at most


@pytest.mark.parametrize("most", [7.0, 1_600.0, 10_000.0, 18_000.0, 640_000.0, 12_000_000.0])
def test_the_numbers_below_a_calibration_stand_apart(most: float) -> None:
    """Of a shop of any currency: on axes of roots 8,000 and 10,000 ran into each other."""
    tenths = pd.DataFrame({("served", what): [0.0, most] for what in ("predicted", "actual")})
    with mpl.rc_context(plots.STYLE):
        figure = Figure((4.6, 3.1), layout="constrained")
        axes = figure.subplots()
        plots.calibration.__wrapped__(axes, tenths, ["served"], "spend")  # type: ignore[attr-defined]  # as `drawn` does
        figure.canvas.draw()
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_position()[0] <= 1.1 * most]
    assert len(boxes) > 2
    assert all(left.x1 + 2 < right.x0 for left, right in itertools.pairwise(boxes))


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_rows_and_header(shop: Shop, small: Page) -> None:
    ((_, (_, *rows)),) = [found for found in small.tables.items() if found[0].startswith("What happened")]
    assert [row[-1] for row in rows] == [f"{line.rows:,}" for line in shop.history.counts.lines()]
    assert f"{shop.history.counts.kept:,} of {shop.history.counts.read:,} rows" in small.sections["says"]
    header = small.sections[""]
    assert f"{shop.history.frame['amount'].sum() / 10_000:,.2f}" in header
    assert f"{shop.history.frame['order_id'].nunique():,}" in header
    assert f"{np.datetime64(START, 'D')} to {np.datetime64(START + DAYS - 1, 'D')}" in header


def test_segments_are_those_of_the_fit(shop: Shop, small: Page) -> None:
    found = mining.segments(shop, len)
    shown = small.table("Size and means")
    assert list(shown) == found.table.index.tolist()
    spend = shop.history.frame.groupby("customer_id")["amount"].sum() / 10_000
    assert sum(int(row["customers"].replace(",", "")) for row in shown.values()) == len(spend) == 80
    weighted = sum(int(row["customers"]) * float(row["spend"].replace(",", "")) for row in shown.values())
    assert weighted == pytest.approx(spend.sum(), rel=1e-3)
    top = next(iter(shown.values()))
    share = int(top["customers"]) * float(top["spend"].replace(",", "")) / spend.sum()
    assert float(top["share of spend"].rstrip("%")) == pytest.approx(100 * share, abs=0.1)
    for name, row in found.table.iterrows():
        assert shown[str(name)]["demand"] == f"{row['demand']:,.2f}"
        assert shown[str(name)]["share of spend"] == f"{row['share of spend']:.1%}"
    tried = small.table("Every k")
    assert [row["silhouette"] for row in tried.values()] == [f"{x:.3f}" for x in found.choice.table["silhouette"]]
    assert isinstance(found.density, Density)
    outliers = int((found.density.labels < 0).sum())
    assert sum(int(row["outliers"]) for row in shown.values()) == outliers
    assert found.map.outlier.tolist() == [False] * (80 - outliers) + [True] * outliers
    assert f"finds {outliers} customers" in small.sections["segments"]
    assert found.choice.reason in small.sections["segments"]


@pytest.mark.parametrize("at", [1, -1])
def test_the_segment_that_is_said_is_the_one_that_brings_most(at: int, shop: Shop) -> None:
    """Wherever it stands: a wholesaler who is late brought more than all Champions."""
    found = mining.segments(shop, len)
    table, most = found.table.assign(share=0.25), found.table.index[at]
    table["share of spend"] = np.where(table.index == most, 0.7, 0.1)
    said = f"{len(table)} segments; {most}: 25% of the customers, 70% of the spend."
    assert segments.segments(replace(found, table=table)).says == [said]


def test_demand_and_its_bound_are_those_of_the_evaluation(shop: Shop, small: Page, sample: tuple[Path, str]) -> None:
    found = mining.demand(shop, len)
    for target, judged in found.judged.items():
        shown = small.table(f"{target.capitalize()}, mean")
        assert list(shown) == judged.figures.index.tolist()
        for name, row in judged.figures.iterrows():
            assert shown[str(name)]["deviance"] == f"{row['deviance']:,.3f}"
            assert shown[str(name)]["ngini_spread"] == f"{row['ngini_spread']:,.3f}"
        assert judged.verdict in small.sections["demand"]
    assert "Left out" not in small.sections["demand"]
    others = " and ".join(name for name in REGRESSORS if name not in MODELS["quick"])
    assert f"{others} (--models all)" in Page(sample[0].read_text()).sections["demand"]
    spend = found.judged["spend"]
    assert len(spend.cuts) == 2
    expected = pd.concat([tenths(shop, cut) for cut in spend.cuts]).groupby(level=0).mean()
    mean = np.mean([spend.by_cut["mae"][cut, "zero"] for cut in spend.cuts])
    shown = small.table("Served, by tenth")
    for k, means in zip(range(1, 11), expected.to_dict("records"), strict=True):
        assert shown[str(k)]["predicted"] == f"{means['predicted']:,.2f}"
        assert shown[str(k)]["lift"] == f"{means['actual'] / mean:,.2f}"
        assert shown[str(k)]["covered"] == f"{means['covered']:.1%}"


def tenths(shop: Shop, cut: int) -> pd.DataFrame:
    """Means by tenth of the served prediction of spend, of the examples that open in the horizon from the cut on."""
    stream = served.stream(shop.folded.days, cut, 30)
    examples = Examples.of(shop.folded.days, "spend", 30, stream.usual)
    label, predicted = examples.label[split(examples.day, cut, 30)[1]], stream.predictions["spend"]
    np.testing.assert_array_equal(stream.high, np.concatenate(list(bounds(shop, cut))))
    found = pd.DataFrame({"predicted": predicted, "actual": label, "covered": label <= stream.high})
    return found.groupby(np.ceil(10 * found["predicted"].rank() / len(found))).mean()


def bounds(shop: Shop, cut: int) -> Iterator[Any]:
    """predicted_demand_high as the stream says it: by the whole model of each opening day."""
    days: dict[int, Any] = {day: ([], np.empty(0, ENTRY)) for day in range(cut, cut + 60)}
    days |= {day: (names, entries) for day, names, entries in shop.folded.days}
    model = fit_history([day for day in shop.folded.days if day[0] <= cut], cut, *served.EVERYBODY)
    for opening in range(cut, cut + 30):
        if opening > cut:
            model.learn_day(opening, *days[opening])
        closing = days[opening + 30][1]
        yield model.predict_many(closing["then"][closing["open"] == 1]).high


def test_value_retention_and_rules_are_those_of_the_jobs(shop: Shop, small: Page) -> None:
    found = mining.value(shop, len)
    assert found.judged is not None
    shown = small.table("Parameters")
    assert shown["mbg_nbd"]["mean dropout"] == f"{found.fitted.buying['mbg_nbd'].mean_dropout:,.3f}"
    assert shown["gamma_gamma"] | {"r": "-", "p": f"{found.fitted.spend.p:,.3f}"} == shown["gamma_gamma"]
    worth = small.table("12-month value")
    assert worth["total"]["served"] == f"{found.table['customer_value'].sum():,.2f}"
    assert worth["50%"]["bg_nbd"] == f"{found.table['bg_nbd_value_12m'].median():,.2f}"
    held_out = small.table("Net spend")
    assert [row["ngini"] for row in held_out.values()] == [f"{x:.3f}" for x in found.judged.figures["ngini"]]
    assert all(line in small.sections["customer-value"] for line in found.judged.verdict())
    cohorts, months = mining.retention(shop, len), small.table("Share that bought")
    assert list(months) == cohorts.shares.index.tolist()
    assert [row["customers"] for row in months.values()] == [str(n) for n in cohorts.customers]
    assert [row["1"] for row in months.values()] == ["-" if x != x else f"{x:.1%}" for x in cohorts.shares[1]]
    ruled = mining.rules(shop, len)
    assert (
        f"{len(ruled.table)} rules from {shop.history.frame['order_id'].nunique():,} orders"
        in (small.sections["bought-together"])
    )
    ((_, (_, *rows)),) = [found for found in small.tables.items() if found[0].startswith("The first")]
    assert [row[2] for row in rows] == [f"{lift:,.2f}" for lift in ruled.findings["lift"].head(15)]
    assert 0 < len(ruled.findings) < len(ruled.table)  # everybody buys tea, which nothing makes likelier


@pytest.mark.parametrize(
    ("more", "policy", "said"),
    [
        (["c1,2024-01-20,-1.5,p1", "c2,2024-01-20,-2.5,p2"], {}, "; dropped: 4 cancelled sale or its return"),
        (["c1,2024-01-02,1.5,p1,p"] * 2, {}, "; dropped: 2 of another length than the header"),
        (["c9,2024-01-20,9000,p1"], {"outliers": "iqr", "action": "drop"}, "; dropped: 1 outlier"),
        (["c1,soon,3,p1", ",2024-01-01,9,p"], {}, "; dropped: 1 without customer (1 to 128 bytes), 1 bad time"),
        ([], {}, ""),
    ],
)
def test_why_rows_could_not_be_used_is_told_beside_how_many(
    tmp_path: Path, more: list[str], policy: dict[str, str], said: str
) -> None:
    """A sale that was taken back is no bad row."""
    rows = [f"c{n},2024-01-{1 + n:02},{n}.5,p{n}" for n in range(1, 9)]
    (tmp_path / "a.csv").write_text("\n".join(["customer_id,occurred_at,amount,product_id", *rows, *more]))
    read = history.read([tmp_path / "a.csv"], {}, policy=Policy(**policy))  # type: ignore[arg-type]
    shown = sections.quality(Shop(("a.csv",), read, fold(read.frame, 19_800), 30))
    assert shown.says == [f"{len(read.frame)} of {8 + len(more)} rows could be used{said}."]


def test_what_cleaning_dropped_before_is_told(tmp_path: Path) -> None:
    """Of a history that was cleaned twice, from two files that lost rows for other reasons; whatever was kept in it."""
    rows = [f"c{n % 9},2024-01-{1 + n % 28:02},{n}.5,p{n % 3}" for n in range(60)]
    head, middle, end = "customer_id,occurred_at,amount,product_id", tmp_path / "m.parquet", tmp_path / "e.parquet"
    (tmp_path / "a<b>.csv").write_text("\n".join([head, *rows, "c1,soon,3,p1", "c1,never,3,p1", ",2024-01-01,9,p"]))
    (tmp_path / "b.csv").write_text("\n".join([head, "c1,2024-01-01,much,p1", "c1,2024-03-01,3,p1"]))
    files = [str(tmp_path / name) for name in ("a<b>.csv", "b.csv")]
    for given, out in ((files, middle), ([str(middle), "--until", "2024-02-01"], end)):
        done = CliRunner().invoke(main, ["clean", *given, "--out", str(out)])
        assert done.exit_code == 0, done.output
    first, second = (cleaning.kept for cleaning in past.before([end]))
    assert first == (
        "Cleaning a<b>.csv, b.csv before kept 61 of 65 rows;"
        " dropped: 1 without customer (1 to 128 bytes), 2 bad time, 1 bad number."
    )
    assert second == "Cleaning m.parquet before kept 60 of 61 rows; dropped: 1 at or after the cut-off."
    read = history.read([end], {})
    shown = sections.quality(Shop(("e",), read, fold(read.frame, 19_800), 30, cleaned=tuple(past.before([end]))))
    assert shown.says == [first, second, "60 of 60 rows could be used."]
    tables = Page(shown.html).tables
    assert ["dates", "occurred_at", "dropped: bad time", "2"] in tables["What cleaning a<b>.csv, b.csv did before"]
    assert past.before([tmp_path / "b.csv", tmp_path / "nowhere.parquet"]) == []


def test_stock_is_that_of_the_forecast(shop: Shop, small: Page) -> None:
    found = mining.stock(shop, len)
    products = next(rows for caption, rows in small.tables.items() if caption.startswith("Most units"))
    assert products[0] == ["product", "expected_units", "upper_90", "weeks_of_history"]
    for cells, row in zip(products[1:], found.frame.itertuples(), strict=True):
        assert cells == [
            row.product_id, f"{row.expected_units:,.1f}", f"{row.upper_90:,.1f}", str(row.weeks_of_history)
        ]  # fmt: skip
    shown = small.table("Products, mean")
    assert [row["mase"] for row in shown.values()] == [f"{x:,.3f}" for x in found.figures["mase"]]
    assert found.reason in small.sections["stock"]
    assert small.table("Products that upper_90")["products"]["held"] == f"{found.coverage['held'].iloc[0]:.1%}"


def test_stock_says_what_to_order_where_a_stock_file_is_given(shop: Shop) -> None:
    plain = mining.stock(shop, len).frame
    first, second = plain["product_id"].head(2)
    asked = replace(shop, available={first: 1.0, second: 1e9})
    html, says = sections.stock(mining.stock(asked, len))
    page = Page(html)
    products = next(rows for caption, rows in page.tables.items() if caption.startswith("Most units"))
    assert products[0] == ["product", "expected_units", "upper_90", "suggested_reorder", "weeks_of_history"]
    short = math.floor(plain["upper_90"][0]) - 1  # it sold in whole units
    assert [row[3] for row in products[1:4]] == [f"{short:,}", "0", "-"]
    assert says[1] == f"To order: {short:,} units of 1 products."


def test_each_command_writes_what_the_report_shows(shop: Shop, tmp_path: Path) -> None:
    """Value, rules and stock of one history with the same options: one `run` behind both."""
    history, out = write_shop(tmp_path / "shop.csv"), tmp_path / "out.csv"
    rules = mining.rules(shop, len).table
    shown = {
        ("value", "--discount-rate", "0.2"): mining.value(shop, len).table.reset_index(),
        ("rules", "--min-confidence", "0.5"): rules.assign(antecedent=rules["antecedent"].map(" + ".join))[COLUMNS],
        ("stock",): mining.stock(shop, len).frame,
    }
    for options, table in shown.items():
        done = CliRunner().invoke(main, [*options, "--until", UNTIL, "--history", str(history), "--out", str(out)])
        assert done.exit_code == 0, done.output
        written = pd.read_csv(out, dtype={"customer_id": str, "product_id": str})
        pd.testing.assert_frame_equal(written, table, check_dtype=False, rtol=0, atol=5.1e-5)


def test_the_card_names_every_input(small: Page) -> None:
    assert {name: row["is"] for name, row in small.table("What the served models see").items()} == FEATURES
    assert list(FEATURES) == list(INPUTS)
    assert "credit, employment" in small.sections["model-card"]


def truth_of(**serves: float) -> Truth:
    """What `streams model --json` says of a shop whose demand was served so, with three experts."""
    said = {name: Figures(0.5, 2.0, deviance, None) for name, deviance in serves.items()}
    held = {"all": 0.95, "top_5": 0.9, "top_1": None}
    window = Window(30, "2024-01-01", "2024-01-30", 28, 1234, 5, 1.5, 0.1, said, held, 0.08)
    empty = Window(90, "2023-11-02", "2024-01-30", 28, 0, 0, None, None, {"served": NOTHING}, {**held}, None)
    experts = {"demand": {"r90": Standing(0.25, None), SCRIPT: Standing(0.75, ("2024-01-03", "2024-01-30"))}}
    fit = {"spend/served": {"ngini": 0.6, "mae": 3.0, "deviance": 12.0, "bias": 1.1, "rmse": 9.0}}
    return Truth(1, "2-20240130-abcdef01", "2024-01-30", 30, 999, fit, 7, "1-x", "2024-01-03", experts, [window, empty])


def test_the_card_shows_how_true_the_serving_model_was(shop: Shop) -> None:
    """Mutations caught: the promise of the fit left out; a window without examples drawn; ids as markup."""
    html, says = card(replace(shop, truth=truth_of(served=10.0, r90=12.5, zero=40.0)))
    page = Page(f"<section id='card'>{html}</section>")
    figures = page.table("Live, 30 days to 2024-01-30 (28 with truth): 1,234 examples, mean 1.50, 10.0% bought; 5 more")
    assert figures["served"] == {
        "nGini": "0.500",
        "MAE": "2.00",
        "deviance": "10.00",
        "bias": "-",
        "held: all": "0.950",
        "top 5 %": "0.900",
        "top 1 %": "-",
        "Brier": "0.0800",
    }
    assert (figures["zero"]["deviance"], figures["zero"]["Brier"]) == ("40.00", "-")
    assert list(figures["the fit's"].values())[:4] == ["0.600", "3.00", "12.00", "1.10"]
    assert page.table("Whom the mix follows: demand") == {
        "r90": {"weight": "0.25", "led from": "-", "to": "-"},
        SCRIPT: {"weight": "0.75", "led from": "2024-01-03", "to": "2024-01-30"},
    }
    assert "Live, 90 days" not in html
    said, elsewhere = says
    assert re.fullmatch(r"The truth ends \d+ days (before|behind) the history: is it of this shop\?", elsewhere)
    assert said.endswith(
        "bound held for 95%; mean Poisson deviance, the least first: served 10.000, r90 12.500, zero 40.000."
    )
    assert "Live" not in card(shop).html


def test_truth_stands_on_the_page_or_is_refused_in_one_line(tmp_path: Path) -> None:
    """Before the history is read: there is none."""
    out, file = tmp_path / "report.html", tmp_path / "truth.json"
    given = ("report", "--history", write_shop(tmp_path / "shop.csv"), "--out", out, "--truth", file)
    assert f"--truth {file}: cannot be read: No such file" in one_line(out, *given)
    for wrong in (b"", b"customer_id,amount\na,1\n", b'{"serving": "1-x"}', b"\xff\xfe{", b'{"form":' + b"[" * 3000):
        file.write_bytes(wrong)
        assert f"--truth {file}: not what `streams model --json` writes (" in one_line(out, *given)
    lacking = truth_of(r90=1.0)
    file.write_bytes(lacking.document())
    assert "(its 30 days are not whole)" in one_line(out, *given)
    file.write_bytes(truth_of(served=10.0).document())
    done = CliRunner().invoke(main, [*map(str, given), "--until", UNTIL])
    assert done.exit_code == 0, done.output
    assert "Live, 30 days to 2024-01-30: predicted over spent -, bound held for 95%" in done.output
    assert "2-20240130-abcdef01" in out.read_text()


# ---- small and odd histories -----------------------------------------------------------------------------------------


def events(*rows: tuple[str, str, object]) -> str:
    return "customer_id,occurred_at,amount\n" + "".join(f"{who},{day},{amount}\n" for who, day, amount in rows)


ONE = events(("a", "2024-01-05", 3))
SHORT = events(*((f"c{i}", f"2024-01-{1 + i * j % 28:02}", i + j + 1) for i in range(40) for j in range(1 + i % 5)))
FREE = events(*((f"c{i}", f"2024-{1 + (i + j) % 12:02}-02", 0) for i in range(12) for j in range(1 + i % 4)))


@pytest.mark.parametrize(
    ("rows", "missing"),
    [
        (
            ONE,
            {
                "segments": "different customers: 1; at least 4 are needed",
                "demand": "no customer's history spans a landmark: more than 30 days",
                "customer-value": "customers who bought on a second day: 0 of 1",
                "bought-together": "no purchase that was kept names a product",
                "stock": "no product was bought in a whole week",
            },
        ),
        (
            SHORT,
            {
                "demand": "a history of 4 horizons (120 days) is needed",
                "customer-value": "Not judged: no third of the history has 30 days",
                "bought-together": "no purchase that was kept names a product",
                "stock": "no product was bought in a whole week",
            },
        ),
        (
            FREE,
            {
                "demand": "nothing was spent after the cuts",
                "customer-value": "customers who came back and paid more than they returned: 0",
                "bought-together": "no purchase that was kept names a product",
                "stock": "no product was bought in a whole week",
            },
        ),
    ],
)
def test_what_a_history_does_not_allow_is_one_sentence(tmp_path: Path, rows: str, missing: dict[str, str]) -> None:
    (tmp_path / "h.csv").write_text(rows)
    out = tmp_path / "new" / "report.html"
    done = CliRunner().invoke(main, ["report", "--history", str(tmp_path / "h.csv"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    html = out.read_text()
    page = Page(html)
    assert [text for level, text in page.headings if level == 2] == ["What it says", *NAMES]
    for section, said in missing.items():
        assert said in page.sections[section]
    assert html.count('class="why"') == len(missing)
    assert "nan" not in html.lower()


def test_who_cannot_be_clustered_by_density_is_still_segmented(tmp_path: Path) -> None:
    rows = [(f"c{i}", f"2024-01-{1 + 5 * j:02}", i + 1) for i in range(5) for j in range(1 + i)]
    (tmp_path / "h.csv").write_text(events(*rows))
    out = tmp_path / "report.html"
    done = CliRunner().invoke(main, ["report", "--history", str(tmp_path / "h.csv"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    page = Page(out.read_text())
    assert {row["outliers"] for row in page.table("Size and means").values()} == {"0"}
    assert "5 customers; more than min_samples = 6 are needed" in page.sections["segments"]


def test_what_cannot_be_reported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "views.csv").write_text("customer_id,occurred_at,amount,event_type\na,2024-01-05,,view\n")
    out = tmp_path / "report.html"
    assert "nobody bought anything" in one_line(out, "report", "--history", tmp_path / "views.csv", "--out", out)
    assert "No such file" in one_line(out, "report", "--history", tmp_path / "nowhere.csv", "--out", out)
    (tmp_path / "place").mkdir()
    given = ("report", "--history", tmp_path / "views.csv", "--out", tmp_path / "place")
    assert "is a directory; name a file in it" in one_line(out, *given)


# ---- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        missing = "chromium is not on PATH, so the page was not looked at: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.mark.parametrize(
    ("width", "media"), [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark"), (A4, "print")]
)
def test_the_page_never_scrolls_sideways(browser: Browser, sample: tuple[Path, str], width: int, media: str) -> None:
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme="light" if media == "light" else "dark"
    )
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    if media == "print":
        page.emulate_media(media="print")
    page.goto(sample[0].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(22, 24, 28)" if media == "dark" else "rgb(255, 255, 255)")
    assert page.evaluate("getComputedStyle(document.querySelector('svg text')).fill") == page.evaluate(
        "getComputedStyle(document.body).color"
    )
    if media == "print":
        cut = "e => e.getBoundingClientRect().right > innerWidth || e.scrollWidth > e.clientWidth"
        assert page.evaluate(f"[...document.querySelectorAll('figure, .scroll')].filter({cut}).length") == 0
        assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert said == []
    page.close()


# ---- docs/report.md --------------------------------------------------------------------------------------------------


def test_the_document_shows_what_the_command_prints(sample: tuple[Path, str]) -> None:
    (shown,) = re.findall(r"<!-- printed -->\n\n((?:    .*\n|\n)+)<!-- end -->", DOCUMENT)
    assert [line.removeprefix("    ") for line in shown.rstrip().splitlines()] == sample[1].rstrip().splitlines()
    for name in NAMES:
        assert f"**{name}**" in DOCUMENT
