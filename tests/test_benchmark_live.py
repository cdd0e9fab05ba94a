"""Who waited for a core while events were late: the arithmetic of it, and one short run."""

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running import HERE

from benchmarks import live, run


def test_no_event_late_is_no_stall() -> None:
    assert not list(live.stalls(np.array([1.0, 2.0]), np.array([0.01, live.LATE])))
    assert not list(live.stalls(np.empty(0), np.empty(0)))


def test_whoever_waited_longest_of_a_process_is_told_of_a_stall(tmp_path: Path) -> None:
    """Seconds, of looks that touch the stall. Mutations caught: the threads' sum; what was waited for before; children
    that came later."""

    def stand(**waited: int) -> None:
        for thread, total in waited.items():
            path = tmp_path / "7" / "task" / thread.removeprefix("t") / "schedstat"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"5 {total} 9\n")

    stand(t7=9_000_000_000, t8=0)
    looks = live.Looks({"worker": 7, "gone": 8}, "worker", tmp_path)
    children = tmp_path / "7" / "task" / "7" / "children"
    for now, (one, other) in ((1.0, (9.5, 0.25)), (2.0, (9.5, 1.0)), (3.0, (9.75, 1.125)), (4.0, (12.0, 1.125))):
        stand(t7=int(one * 1e9), t8=int(other * 1e9))
        children.write_text("9 " if now > 2 else "")
        looks.look(now)
    assert looks.between(1.5, 2.5) == ({"worker": 0.75 + 0.25, "gone": 0.0}, True)
    assert looks.between(0.5, 1.5) == ({"worker": 0.5 + 0.75, "gone": 0.0}, False)


def test_nothing_is_collected_while_events_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the watcher sees nothing for as long as it takes, and events look late. Also where the stream fails."""
    enabled = []

    def send(*_: object) -> None:
        enabled.append(gc.isenabled())
        raise run.BenchmarkError("no broker")

    monkeypatch.setattr(run.Latency, "_watch", lambda _: None)
    monkeypatch.setattr(run.Latency, "_send", send)
    with pytest.raises(run.BenchmarkError, match="no broker"):
        run.Latency(run.Deployment({}, None, Path()), 500).measure(iter(()))
    assert (enabled, gc.isenabled()) == ([False], True)


@pytest.mark.long
@pytest.mark.e2e
def test_a_short_run_says_how_late_events_were() -> None:
    asked = [sys.executable, "-m", "benchmarks.live", "--rate", "500", "--seconds", "2", "--customers", "500"]
    done = subprocess.run(asked, cwd=HERE, capture_output=True, text=True, check=True)
    assert "1,000" in done.stdout
    assert "later than 50 ms" in done.stdout
