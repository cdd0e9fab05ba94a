"""What the gates of `make check` and `make test` refuse, on copies in which it was planted.

`make check`: a clock, chance, a file or the environment in models/, in many spellings. `make test`: a room of which the
tests run too little.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLANTS = {
    "clock": [
        "import time; time.time()",
        "from time import monotonic",
        "import datetime; datetime.datetime.now()",
        "from datetime import datetime as d; d.now()",
        "from datetime import datetime as d; clock = d.utcnow",
        "import datetime as dt; dt.datetime.today()",
        "from datetime import date; date.today()",
        "from datetime import datetime; datetime.fromtimestamp(0)",
        "import numpy as np; np.datetime64('now')",
        "import numpy as np; np.datetime64('today', 'D')",
        "import pandas as pd; pd.Timestamp.now()",
        "from pandas import Timestamp as T; T('now')",
        "import pandas as pd; pd.to_datetime('now')",
    ],
    "chance": [
        "import random; random.random()",
        "from random import Random",
        "import secrets; secrets.token_hex()",
        "from uuid import uuid4; uuid4()",
        "import numpy; numpy.random.rand()",
        "import numpy as np; np.random.default_rng()",
        "import numpy.random as r; r.default_rng()",
        "from numpy import random",
        "from numpy.random import default_rng",
        "from scipy import stats; stats.norm.rvs(1)",
        "import scipy.stats; scipy.stats.norm",
        "def f(frame): return frame.sample(3)",
        "def f(word): return hash(word)",
        "sorted([object(), object()], key=id)",
    ],
    "file": [
        "open('x')",
        "opener = open",
        "def f(): return open('x', 'rb')",
        "import io; io.open('x')",
        "import builtins; builtins.open('x')",
        "from pathlib import Path; Path('x').read_text()",
        "import os; os.open('x', 0)",
        "import tempfile",
        "import shutil",
        "import pickle",
        "import sqlite3",
        "import pyarrow.parquet",
        "import numpy as np; np.save('x', 1)",
        "from numpy import load as l; l('x')",
        "import numpy as np; np.fromfile('x')",
        "import numpy as np; np.arange(3).tofile('x')",
        "import numpy as np; np.zeros(1).dump('x')",
        "import numpy as np; np.savez_compressed('x')",
        "import numpy as np; np.memmap('x')",
        "import numpy as np; np.lib.format.open_memmap('x')",
        "import pandas as pd; pd.read_parquet('x')",
        "from pandas import read_csv",
        "import pandas as pd; pd.DataFrame().to_csv('x')",
        "import scipy.io; scipy.io.loadmat('x')",
        "from river import datasets",
        "from hashlib import file_digest",
        "print(1)",
    ],
    "environment": [
        "import os; os.environ['X']",
        "from os import environ as e",
        "from os import path",
        "import sys; sys.argv",
        "import subprocess; subprocess.run(['x'])",
        "import socket",
        "import urllib.request",
        "import multiprocessing",
        "import threading",
        "import redis",
        "import importlib; importlib.import_module('os')",
        "__import__('os').environ",
        "eval('1')",
        "def f(): import ctypes",
        "import streams.settings",
    ],
}
# One of the two ways out of its `if` is taken in a process of its own; its kernel does not count.
ROOM = """import subprocess, sys

def njit(function):
    return function

@njit
def kernel(x):
    return x + 1

if len(sys.argv) == 1:
    subprocess.run([sys.executable, "models/room.py", "child"], check=True)
else:
    print("in a process of its own")
"""
NAMED = {f"planted_{kind}_{n}": plant for kind, plants in PLANTS.items() for n, plant in enumerate(plants)}


def commands() -> list[list[str]]:
    """What `make check` runs of the gate, as its recipe says it."""
    recipe = re.findall(r"^\t\$\(BIN\)/(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    chosen = [line.split() for line in recipe if line in ("ruff check", "lint-imports", "python tests/purity.py")]
    assert len(chosen) == 3, recipe
    return [[str(Path(sys.executable).with_name(program)), *rest] for program, *rest in chosen]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three packages, their configuration and nothing else."""
    made = tmp_path_factory.mktemp("copy")
    for package in ("models", "offline", "streams"):
        shutil.copytree(ROOT / package, made / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", made)
    (made / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "purity.py", made / "tests")
    return made


def run(copy: Path) -> list[tuple[int, str]]:
    """(exit code, what was said) of each command."""
    done = [subprocess.run(words, cwd=copy, capture_output=True, text=True) for words in commands()]
    return [(each.returncode, each.stdout + each.stderr) for each in done]


@pytest.fixture(scope="module")
def refused(copy: Path) -> set[str]:
    """The planted modules, a plant each, that the gate names; that ruff dislikes their style does not count."""
    paths = [copy / "models" / f"{name}.py" for name in NAMED]
    for path, plant in zip(paths, NAMED.values(), strict=True):
        path.write_text(plant + "\n")
    codes, said = zip(*run(copy), strict=True)
    for path in paths:
        path.unlink()
    assert 0 not in codes
    by_ruff = r"TID251 .*\n *--> models/(\w+)\.py"
    found = re.findall(rf"{by_ruff}|models\.(\w+) -> |models/(\w+)\.py:\d+: .* is not for models/", "\n".join(said))
    return {name for names in found for name in names if name}


@pytest.mark.parametrize("name", NAMED)
def test_a_plant_is_refused(refused: set[str], name: str) -> None:
    assert name in refused, NAMED[name]


def test_nothing_else_is(refused: set[str]) -> None:
    assert refused == NAMED.keys()


def test_models_as_they_are_pass(copy: Path) -> None:
    assert [code for code, _ in run(copy)] == [0, 0, 0]


# ---- coverage --------------------------------------------------------------------------------------------------------
def covered(directory: Path, program: str, floor: int) -> subprocess.CompletedProcess[str]:
    """What `make test` would say at its end if `program` were a room and its own test."""
    for package in ("models", "offline", "streams"):
        (directory / package).mkdir()
    (directory / "models" / "room.py").write_text(program)
    text = (ROOT / "pyproject.toml").read_text()
    (directory / "pyproject.toml").write_text(re.sub(r"(?m)^fail_under = .*$", f"fail_under = {floor}", text))
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    for words in (["-m", "coverage", "run", "models/room.py"], ["-m", "coverage", "combine", "-q"]):
        subprocess.run([sys.executable, *words], cwd=directory, env=env, check=True, capture_output=True)
    report = [sys.executable, str(ROOT / "tests" / "covered.py")]
    return subprocess.run(report, cwd=directory, env=env, capture_output=True, text=True)


def test_a_room_that_the_tests_do_not_run_is_refused(tmp_path: Path) -> None:
    done = covered(tmp_path, ROOM.replace("[sys.executable", "['true'"), 90)
    assert done.stdout.splitlines()[1].split() == ["models", "6", "5", "2", "1", "75.0%"]
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("models: 75.0% of lines and branches were run, less than")


def test_what_child_processes_run_counts_and_kernels_do_not(tmp_path: Path) -> None:
    done = covered(tmp_path, ROOM, 100)
    assert done.stdout.splitlines()[1].split() == ["models", "6", "6", "2", "2", "100.0%"]
    assert (done.returncode, done.stderr) == (0, "")
