"""Dates that stand alone at either end: asked about where they are a mistake, and not where a shop is as shops are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs import run

from models.rows import DAY
from offline.commands import common
from offline.history import read as history
from offline.history.far import GAP, LONG, OTHERS, RARE, TIMES, Days

BEGIN, SPAN = 19_000, 400  # day numbers: from 2022-01-08 on


def alone(times: Any) -> tuple[int, int]:
    """(rows before, rows after) that stand alone; times in days."""
    days = Days()
    for part in np.array_split((np.array(times) * DAY).astype(np.int64), 3):
        days.add(part, np.arange(len(part)))
    before, after = days.alone()
    return before.rows if before else 0, after.rows if after else 0


def plain(times: Any) -> tuple[int, int]:
    """Row by row: the fewest at either end, of days, each of one moment."""
    t = np.sort(times)
    most = max(1, len(t) // RARE)
    epoch = np.searchsorted(t, 1) if t[0] == 0 else 0
    epoch = int(epoch) if epoch < len(t) - 1 and t[epoch] > GAP else 0
    high = ended(-t[epoch:][::-1], most)
    return epoch + ended(t[epoch : len(t) - high], most), high


def ended(t: Any, most: int) -> int:
    for n in range(1, len(t) - 1):
        gap, span, fewer, once = t[n] - t[n - 1], t[-1] - t[n], n < len(t) - n, t[0] == t[n - 1]
        if gap <= max(GAP, span / 2):
            continue
        made_up = fewer and ((once and len({*t[n:].tolist()}) > OTHERS) or gap > max(LONG, TIMES * span))
        if n <= most or made_up:
            return n
    return 0


@given(st.lists(st.integers(0, 80_000), min_size=1, max_size=12), st.integers(0, 3_000), st.integers(1, 900))
@settings(max_examples=200)
def test_it_is_what_a_plain_search_finds(odd: list[int], usual: int, span: int) -> None:
    times = np.array([*odd, *(BEGIN + np.arange(usual) * span // max(usual, 1))])
    assert alone(times) == plain(times)


USUAL = BEGIN + np.sort(np.random.default_rng(0).integers(SPAN, size=2_000))


@pytest.mark.parametrize(
    ("odd", "found"),
    [
        ([0], (1, 0)),  # 1970: a time that was 0
        ([BEGIN + 10 * 365], (0, 1)),
        ([10_957, 10_957], (2, 0)),  # the first day of 2000, twice
        ([BEGIN - 9_000, BEGIN + 27_000], (1, 1)),
        ([], (0, 0)),
        ([BEGIN + SPAN + 150], (0, 0)),  # closed for five months
        ([BEGIN + SPAN + 300 + n for n in range(9)], (0, 0)),  # opened again
        ([BEGIN - 400 + n for n in range(3)], (0, 0)),  # more than 1 in 1,000
        ([0] * 6, (6, 0)),  # what a program writes where it knows no date
        ([10_957] * 6, (6, 0)),
        ([10_956] * 700, (700, 0)),
        ([0] * 3_000, (3_000, 0)),
        ([10_956, 10_956, 10_957, 10_957, 10_958], (5, 0)),
        ([BEGIN + 10 * 365] * 9, (0, 9)),
    ],
)
def test_mistakes_are_found_and_shops_are_let_alone(odd: list[int], found: tuple[int, int]) -> None:
    assert alone([*USUAL, *odd]) == found


@pytest.mark.parametrize(
    "times",
    [
        [365 * year + BEGIN for year in range(4) for _ in range(30)],  # a fair, one day a year
        [365 * year + BEGIN + day for year in range(2) for day in range(24)],  # a market before Christmas
        [BEGIN - 300 + n / 10 for n in range(9)] + [*USUAL],  # a day of sales before it opened
        [0] * 30 + [90 + n for n in range(40)],  # in the spring of 1970
    ],
)
def test_shops_that_open_seldom_are_let_alone(times: list[float]) -> None:
    assert alone(times) == (0, 0)


@pytest.mark.parametrize("moment", ["1970-01-01T00:00:00Z", "2000-01-01", "1999-12-31T23:59:59Z"])
def test_two_rows_of_one_moment_are_asked_about_in_a_small_file(moment: str, tmp_path: Path) -> None:
    """Mutation caught: 1 in 1,000 asked of what stands at one moment."""
    days = [np.datetime64("2024-01-03") + np.timedelta64(17 * n, "D") for n in range(40)]
    rows = [f"c{n % 9},{day},20" for n, day in enumerate([*days, moment, moment])]
    (tmp_path / "till.csv").write_text("customer_id,occurred_at,amount\n" + "\n".join(rows) + "\n")
    said = run("clean", tmp_path / "till.csv", "--keep-duplicates", "--out", tmp_path / "out", code=2)
    assert "2 rows stand alone, " in said
    assert f"days before all others: {moment[:10]} (row 4" in said
    assert "say --from 2024-01-03 to leave them out" in said


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """200 purchases of two years, one of 1970 in row 201 and one of 2062 in row 202; now is long after all of it."""
    monkeypatch.setattr(common, "now", lambda: int(np.datetime64("2090-01-01", "us").astype(np.int64)))
    days = [np.datetime64("2022-01-01") + np.timedelta64(n * 3, "D") for n in range(200)]
    rows = [f"c{n % 9},{day},20" for n, day in enumerate([*days, "1970-01-01", "2062-05-05"])]
    (tmp_path / "till.csv").write_text("customer_id,occurred_at,amount\n" + "\n".join(rows) + "\n")
    return tmp_path / "till.csv"


@pytest.mark.parametrize("command", ["clean", "fit"])
def test_a_job_asks_and_takes_the_answer(shop: Path, tmp_path: Path, command: str) -> None:
    """Mutations caught: a cut-off told does not answer for the end; --from drops its own day."""
    what = [shop] if command == "clean" else ["--history", shop]
    out = ["--out", tmp_path / "out"]
    said = run(command, *what, *out, code=2)
    assert "1 row stands alone, 18,993 days before all others: 1970-01-01 (row 201 of " in said
    assert "till.csv); say --from 2022-01-01 to leave it out, --from 1970-01-01 if it is meant; 1 row stands" in said
    assert "stands alone, 14,137 days after all others: 2062-05-05 (row 202 of" in said
    assert "say --until 2023-08-22 to leave it out, --until 2062-05-06 if it is meant" in said
    said = run(command, *what, *out, "--from", "2022-01-01", "--until", "2023-08-22")
    assert "- before --from                                                1" in said
    if command == "clean":
        assert len(history.read_parquet(tmp_path / "out")) == 200
        assert "2062-05-05" not in run(command, *what, *out, "--from", "1970-01-01", "--until", "2020-01-01")


def test_what_is_still_to_come_is_dropped_and_counted_first(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by `clean`, which has no cut-off; a day's grace, for clocks and zones differ."""
    monkeypatch.setattr(common, "now", lambda: int(np.datetime64("2023-08-20T12:00", "us").astype(np.int64)))
    said = run("clean", shop, "--from", "2022-01-01", "--out", tmp_path / "out")
    assert "- more than a day after now                                    1" in said
    assert history.read_parquet(tmp_path / "out")["occurred_at"].max() // DAY == 19_590  # 2023-08-21
