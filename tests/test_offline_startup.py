"""What a command of `python -m offline` imports before it reads: nothing heavy for help, nor to refuse what it can."""

import json
import subprocess
import sys
from pathlib import Path

import click

from offline.__main__ import main

ROOT = Path(__file__).parent.parent
HEAVY = {"numba", "pandas", "scipy", "river", "sklearn", "mlxtend", "matplotlib", "faust", "distributed"}
LIGHT_ONLY = HEAVY | {"numpy", "pyarrow", "rich", "msgspec", "xxhash"}
# Commands one after the other in one process: what the first of them imports is there for all, so it is told once.
RUNS = """
import json, sys
from click.testing import CliRunner
from offline.__main__ import main
before = set()
for arguments in json.load(sys.stdin):
    done = CliRunner().invoke(main, arguments)
    packages = {name.partition(".")[0] for name in sys.modules}
    print(json.dumps([done.exit_code, done.output, sorted(packages - before)]))
    before = packages
"""
# A value that each option of free text refuses; of the others any text may be meant.
WRONG = {
    "--columns": "colour=Colour",
    "--timezone": "Mars/Olympus",
    "--until": "1998-02-30",
    "--encoding": "latin-9000",
    "--delimiter": "ab",
    "--missing": "amount=guess",
    "--key": "colour",
    "--separator": "",
    "--treat": "x=mini",
    "--basket": "0",
}
ANY_TEXT = {"--id", "--dask"}
BY_ARGUMENT = ("clean", "look")  # commands that take files as arguments
WITHOUT = ("begin",)  # commands that take none


def ran(commands: list[list[str]]) -> list[tuple[list[str], int, str, set[str]]]:
    """(the command, its exit code, what it said, packages it was the first to import) of each."""
    run = [sys.executable, "-c", RUNS]
    done = subprocess.run(run, input=json.dumps(commands), cwd=ROOT, capture_output=True, text=True, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return [(each, code, said, set(packages)) for each, (code, said, packages) in zip(commands, told, strict=True)]


def given(name: str, tmp_path: Path, *more: str, without: str = "") -> list[str]:
    """A command that has all it needs, a small history and a place for its result, and more; `without` an option."""
    file, out = tmp_path / "h.csv", tmp_path / f"{name}-out"
    file.write_text("customer_id,occurred_at,amount,order_id,product_id\na,2024-01-01,5,o,p\n")
    history = [str(file)] if name in BY_ARGUMENT else ["--history", str(file)]
    history = ["--basket", "40"] if name in WITHOUT else history
    needed = [*(history if without != history[0] else []), *(["--out", str(out)] if without != "--out" else [])]
    return [name, *needed, *more]


def parameters(kind: type[click.ParamType]) -> list[tuple[str, click.Parameter]]:
    """(command, parameter) of every parameter of this type."""
    return [(name, each) for name, job in main.commands.items() for each in job.params if isinstance(each.type, kind)]


def test_help_imports_next_to_nothing() -> None:
    for command, code, said, packages in ran([["--help"], *([name, "--help"] for name in main.commands)]):
        assert (code, packages & LIGHT_ONLY) == (0, set()), command
        assert said.startswith("Usage: ")


def test_a_wrong_option_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    for command, code, said, packages in ran([given(name, tmp_path, "--no-such-option") for name in main.commands]):
        assert (code, packages & LIGHT_ONLY) == (2, set()), command
        assert "--no-such-option" in said


def test_a_wrong_value_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    """Words for numbers, words that are no choice, and texts that cannot be meant."""
    options = [
        (name, each.opts[0])
        for kind in (click.types.StringParamType, click.types.IntParamType, click.types.FloatParamType, click.Choice)
        for name, each in parameters(kind)
        if each.opts[0] not in ANY_TEXT
    ]
    assert {option for _, option in options} > WRONG.keys()
    wrong = [given(name, tmp_path, option, WRONG.get(option, "no-such-value")) for name, option in options]
    for command, code, said, packages in ran(wrong):
        assert (code, packages & LIGHT_ONLY) == (2, set()), command
        assert command[-2] in said, command


def test_what_is_no_number_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    """Of every option that takes a number with a fraction. Mutation caught: a range of click's own, where nan is in."""
    found = parameters(click.types.FloatParamType)
    assert len(found) > 7
    wrong = [
        given(name, tmp_path, each.opts[0], text) for name, each in found for text in ("nan", "-nan", "inf", "1e400")
    ]
    for command, code, said, packages in ran(wrong):
        assert (code, packages & LIGHT_ONLY) == (2, set()), command
        assert command[-2] in said, command
        assert "Traceback" not in said


def test_a_path_that_can_neither_be_read_nor_written_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    """Of every file and directory that a command takes or leaves."""
    below, commands = str(tmp_path / "h.csv" / "below"), []
    for name, each in parameters(click.Path):
        if isinstance(each, click.Argument):
            instead = str(tmp_path / "h.csv") if name in BY_ARGUMENT else "--history"
            commands.append(given(name, tmp_path, below, without=instead))
        else:
            commands.append(given(name, tmp_path, each.opts[0], below, without=each.opts[0]))
    for command, code, said, packages in ran(commands):
        assert (code, packages & LIGHT_ONLY) == (2, set()), command
        assert said.startswith("offline: "), command
        assert below in said, command


def test_a_history_that_is_not_there_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.csv")
    there, commands = str(tmp_path / "h.csv"), []
    for name in main.commands.keys() - {*WITHOUT}:
        more = [nowhere] if name in BY_ARGUMENT else ["--history", nowhere]
        commands.append(given(name, tmp_path, *more, without=there if name in BY_ARGUMENT else ""))
    for command, code, said, packages in ran(commands):
        assert (code, packages & LIGHT_ONLY) == (2, set()), command
        assert said == f"offline: {nowhere}: cannot be read: No such file or directory\n"


def test_a_column_that_no_file_has_is_refused_before_pandas_is_imported(tmp_path: Path) -> None:
    wrong = [given(name, tmp_path, "--columns", "product_id=SKU") for name in main.commands.keys() - {"look", *WITHOUT}]
    for command, code, said, packages in ran(wrong):
        assert (code, packages & HEAVY) == (2, set()), command
        assert "no column 'SKU'" in said
