"""Three exports from look to fit: the commands of docs/cleaning.md run as they stand there, and print what it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from jobs import run
from test_docs_mining import follows

from offline.history import read as history

ROOT = Path(__file__).parent.parent
SECTION = (ROOT / "docs" / "cleaning.md").read_text().partition("\n## Three exports")[2].partition("\n## ")[0]


def printed(words: str) -> list[str]:
    """What a command line prints; our own programs run as they are here."""
    job = shlex.split(words)
    if job[:3] == ["python", "-m", "offline"]:
        said = run(*job[3:])
    else:
        text = words.replace("python -m", f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m")
        said = subprocess.check_output(["bash", "-c", text], text=True)
    return [line.rstrip() for line in said.splitlines()]


@pytest.mark.long
def test_what_the_document_shows_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all three tell the same sales. Mutation caught: any line of the document changed."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^    \$ (.*)\n((?:    .*\n|\n(?=    [^$]))*)", SECTION, re.MULTILINE)
    assert len(blocks) == 13
    for words, shown in blocks:
        wrong = follows(printed(words), [line[4:] for line in shown.splitlines()])
        assert wrong is None, f"{words}: {wrong}"
    paid = [sales(tmp_path / name / "history.parquet") for name in ("web", "books", "sheet")]
    assert paid[0] == paid[1] == paid[2]
    assert paid[0][0] > 150


def sales(path: Path) -> tuple[int, list[int]]:
    """(orders that were not given back, what each customer kept, sorted)."""
    frame = history.read_parquet(path)
    back = frame.loc[frame["kind"] == 1, "order_id"].str[1:]
    orders = frame.loc[frame["kind"] == 0, "order_id"].str.lstrip("#R")
    kept: pd.Series = frame.groupby("customer_id")["amount"].sum()
    return len(set(orders) - set(back)), sorted(kept.tolist())
