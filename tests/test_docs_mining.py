"""docs/mining.md, from file to report: its commands are run as they stand there, and print what it shows."""

import hashlib
import os
import pickle
import re
import shlex
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner

from offline.__main__ import main
from offline.segments import standing
from offline.stock import stock
from offline.value import value

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "mining.md").read_text()
CDNOW, JOURNEY = DOCUMENT.split("\n## ")[1:]
NUMBER = re.compile(r"\d[\d,]*\.?\d*")


def commands(section: str) -> list[tuple[list[str], list[str]]]:
    """(words after `python -m`, the lines shown below) of each command, in order."""
    blocks = re.findall(r"^    \$ python -m (.*)\n((?:    .*\n|\n(?=    ))*)", section, re.MULTILINE)
    return [(shlex.split(words), [line[4:] for line in shown.splitlines()]) for words, shown in blocks]


def printed(words: list[str]) -> list[str]:
    if words[0] == "offline":
        done = CliRunner().invoke(main, words[1:], catch_exceptions=False)
        assert (done.exit_code, done.stderr) == (0, ""), done.output
        return [line.rstrip() for line in done.stdout.splitlines()]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.check_output([sys.executable, "-m", *words], env=env, text=True).splitlines()


def alike(line: str, shown: str) -> bool:
    """The same text, and numbers that differ by less than 1 % (as BLAS kernels of other processors may)."""
    if NUMBER.sub("", line).split() != NUMBER.sub("", shown).split():
        return False
    pairs = zip_longest(NUMBER.findall(line), NUMBER.findall(shown), fillvalue="nan")
    ours, theirs = zip(*([float(text.strip(",.").replace(",", "")) for text in pair] for pair in pairs), strict=True)
    return ours == pytest.approx(theirs, rel=0.01, abs=0.001)


def follows(lines: list[str], shown: list[str]) -> str | None:
    """The first shown line that is not the next one printed; after `...` it may come later."""
    at, later = 0, False
    for text in shown:
        if text == "...":
            later = True
            continue
        found = next((i for i in range(at, len(lines)) if lines[i] == text or (text and alike(lines[i], text))), None)
        if found is None or (found > at and not later):
            return text
        at, later = found + 1, False
    return None if later or at == len(lines) else f"the end, not {lines[at]!r}"


@pytest.fixture(autouse=True)
def _computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report computes of the same rows what the jobs before it did: of the same bytes each is computed once."""
    found: dict[bytes, Any] = {}

    def once(module: ModuleType, name: str) -> None:
        computed = getattr(module, name)

        def of(*given: Any) -> Any:
            asked = pickle.dumps([name, *(each for each in given if not callable(each))])  # but for who is told of it
            key = hashlib.sha256(asked).digest()
            if key not in found:
                found[key] = computed(*given)
            return found[key]

        monkeypatch.setattr(module, name, of)

    once(standing, "choose_k")
    once(stock, "forecast")
    once(value, "fit")
    once(value, "judge")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("section", [CDNOW, JOURNEY], ids=["cdnow", "journey"])
def test_what_the_document_shows_is_printed(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = commands(section)
    for words, shown in run:
        wrong = follows(printed(words), shown)
        assert wrong is None, f"{shlex.join(words)}: {wrong}"
    jobs = {words[1] for words, _ in run if words[0] == "offline"}
    cdnow = {"clean", "segment", "demand", "value", "report"}
    assert jobs == (cdnow if section == CDNOW else {"rules", "stock", "fit", "report"})


def test_another_number_and_another_line_are_noticed() -> None:
    printed = ["rows 1,000", "", "mean 0.500", "bias 1.25, low", "written: x"]
    assert follows(printed, ["rows 1,000", "", "...", "bias 1.25, low", "..."]) is None
    assert follows(printed, ["rows 1,003", "..."]) is None  # another processor
    assert follows(printed, ["rows 1,020", "..."]) == "rows 1,020"
    assert follows(printed, ["rows 1,000", "mean 0.500"]) == "mean 0.500"
    assert follows(printed, ["...", "bias 1.25, high"]) == "bias 1.25, high"
    assert follows(printed, ["...", "bias 1.25, low"]) == "the end, not 'written: x'"
    assert follows(printed, ["...", "written: x", "mean 0.500"]) == "mean 0.500"
