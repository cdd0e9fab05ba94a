"""Where a history ends unless told: before the last event's day, of dates alone after it, never in the time to come."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import run

from models.artefact import decode
from models.handover import ARTEFACT, HISTORY
from models.rows import DAY
from offline.commands import common
from offline.errors import HistoryError
from offline.history import csvs, files, spill
from offline.history import read as history
from offline.history.policy import Policy
from offline.history.read import History

COLUMNS = {"customer_id": "c", "occurred_at": "t", "amount": "a"}
LATER = "2030-01-01"


def us(text: str) -> int:
    return int(np.datetime64(text, "us").astype(np.int64))


def day(text: str) -> int:
    return us(text) // DAY


@pytest.fixture
def clean(tmp_path: Path) -> Callable[..., History]:
    """Of files with a purchase at each of these times, as a job reads them at the moment `now`."""

    def run(*times: list[str], now: str = LATER, zone: str = "UTC", scratch: Path | None = None) -> History:
        paths = [tmp_path / f"{number}.csv" for number in range(len(times))]
        for path, column in zip(paths, times, strict=True):
            path.write_text("c,t,a\n" + "".join(f"c{n},{t},1\n" for n, t in enumerate(column)))
        policy = Policy()
        opened = files.look(paths, COLUMNS, policy)
        return history.clean(opened, zone, None, None, policy, scratch, now=us(now))

    return run


@pytest.mark.parametrize(
    ("times", "now", "cut_off", "future"),
    [
        (["2024-01-03", "2024-01-05"], LATER, "2024-01-06", 0),  # dates alone
        (["2024-01-03", "2024-01-05T09:30"], LATER, "2024-01-05", 1),  # what came today is the topic's
        (["2024-01-03T09:30", "2024-01-05"], LATER, "2024-01-05", 1),  # an event at a midnight is of the day it begins
        (["2024-01-03", "2024-01-05"], "2024-01-05T23:59", "2024-01-05", 1),  # the date is not over
        (["2024-01-03", "2024-01-05"], "2024-01-06", "2024-01-06", 0),
        (
            ["2024-01-03T10:00", "2024-01-05T10:00", "2024-01-09T10:00"],
            "2024-01-07T12:00",
            "2024-01-05",
            2,
        ),  # not yet come
        (["2024-01-03", "2024-01-05", "2031-01-01"], "2024-01-07T12:00", "2024-01-06", 1),  # a typing error
        (["2024-01-03T10:00", "2024-01-05T10:00"], "2024-01-05T10:01", "2024-01-05", 1),
    ],
)
def test_by_default(clean: Callable[..., History], times: list[str], now: str, cut_off: str, future: int) -> None:
    """Mutations caught: the midnight after the last event for times too; no look at the clock; `>` at the cut-off."""
    found = clean(times, now=now)
    assert found.cut_off == day(cut_off)
    assert (found.counts.future + found.counts.ahead, found.counts.kept) == (future, len(times) - future)
    assert found.last < found.cut_off * DAY


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Tokyo", "America/New_York"])
def test_a_date_of_any_zone_is_whole(clean: Callable[..., History], zone: str) -> None:
    """Mutation caught: the midnight (UTC) after the last moment, in Berlin hours after the last date began."""
    assert clean(["2024-06-03", "2024-06-05"], zone=zone).cut_off == day("2024-06-06")


def test_one_file_with_times_decides_for_all(clean: Callable[..., History]) -> None:
    assert clean(["2024-01-03", "2024-01-05"], ["2024-01-04T10:00"]).cut_off == day("2024-01-05")


def test_a_history_in_parts_is_cut_alike(
    clean: Callable[..., History], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill, "HELD", 2)
    monkeypatch.setattr(csvs, "BLOCK", 256)
    times = [f"2024-01-{1 + n % 5:02}T0{n % 9}:00" for n in range(60)]
    held, split = clean(times), clean(times, scratch=tmp_path)
    assert isinstance(split.parts, list)
    assert (split.cut_off, split.counts, split.last) == (held.cut_off, held.counts, held.last)
    assert held.counts.future == 12
    pd.testing.assert_frame_equal(split.frame, held.frame)


def test_a_history_of_one_day_asks(clean: Callable[..., History]) -> None:
    with pytest.raises(HistoryError, match="no event before the cut-off 2024-01-05, by default the last one's day"):
        clean(["2024-01-05T10:00", "2024-01-05T11:00"])


def test_what_may_be_read_whole_is(clean: Callable[..., History], tmp_path: Path) -> None:
    clean(["2024-01-03T10:00", "2024-01-05T10:00"])
    read = history.read([tmp_path / "0.csv"], COLUMNS)
    assert (read.cut_off, read.counts.future) == (day("2024-01-06"), 0)


# ---- the commands ----------------------------------------------------------------------------------------------------


def shop(path: Path, last: str) -> list[str]:
    """The options that name a history of 40 customers until `last`."""
    end = us(last)
    rows = [f"c{n},{np.datetime64(end - k * (n % 7 + 3) * DAY, 'us')},{10 + n}" for n in range(40) for k in range(30)]
    path.write_text("\n".join(["c,t,a", *rows]))
    return ["--history", str(path), "--columns", "customer_id=c,occurred_at=t,amount=a"]


def test_fit_leaves_the_last_day_to_the_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its artefact and its history agree with what it prints; what was still to come was no last event."""
    source = shop(tmp_path / "shop.csv", "2024-03-10T15:00")
    for now, expected in (("2024-03-10T15:01", "2024-03-10"), ("2024-03-05T12:00", "2024-03-04")):
        monkeypatch.setattr(common, "now", lambda now=now: us(now))
        out = tmp_path / now
        assert f"cut-off: {expected} (midnight, UTC)" in run("fit", *source, "--out", out)
        assert decode((out / ARTEFACT).read_bytes()).trained_through == day(expected)
        last = history.read_parquet(out / HISTORY)["occurred_at"].max()
        assert day(expected) - 4 <= last // DAY < day(expected)
    monkeypatch.setattr(common, "now", lambda: us(LATER))
    run("clean", tmp_path / "shop.csv", *source[2:], "--out", tmp_path / "cleaned.parquet")
    assert history.read_parquet(tmp_path / "cleaned.parquet")["occurred_at"].max() == us("2024-03-10T15:00")
