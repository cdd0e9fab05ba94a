"""Offline commands in the test's own process, or in one of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from offline.__main__ import main
from offline.segments import kmeans

ROOT = Path(__file__).parent.parent


def run(*args: object, code: int = 0, resamples: int = 2) -> str:
    """All that the command prints; it must end with this code.

    resamples: by which it tells how stable segments are, which is half of a fit's time and seldom looked at.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kmeans, "RESAMPLES", resamples)
        done = CliRunner().invoke(main, [*map(str, args)])
    assert done.exit_code == code, f"{done.output}{done.exception!r}"
    return done.output


def alone(*args: object, hash_seed: str = "0") -> str:
    """What the command prints in a process of this hash seed; it must end well, without a warning."""
    env = unmeasured(PYTHONHASHSEED=hash_seed, PYTHONWARNINGS="error")
    command = [sys.executable, "-m", "offline", *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def unmeasured(**more: str) -> dict[str, str]:
    """Environment of a process of which coverage is not measured, which makes it slower."""
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"} | more
