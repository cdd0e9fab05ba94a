"""What a command of the streams imports before it does anything: next to nothing for help, no model to refuse."""

import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from streams.__main__ import main

HERE = Path(__file__).parent.parent
HEAVY = {"numba", "pandas", "scipy", "river", "sklearn", "pyarrow", "faust", "matplotlib", "aiokafka"}
LIGHT_ONLY = HEAVY | {"numpy", "redis", "pydantic", "confluent_kafka", "rich"}
TELLS = """
import runpy, sys
sys.argv = ["streams", *sys.argv[1:]]
try:
    runpy.run_module("streams", run_name="__main__")
except SystemExit as end:
    print("ended", end.code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
LEARNS = """
import sys
import streams.worker
from models.rows import EXAMPLE
from streams.rehearsal import LATER, _serving
import numpy
examples = numpy.zeros(3, EXAMPLE)
examples["day"] = LATER + 1
_serving().model.learn_day(LATER + 1, ["a", "b", "c"], examples)
print(*sys.modules)
"""
NOBODY = {"CRM_REDIS_URL": "redis://127.0.0.1:1/0", "CRM_KAFKA": "127.0.0.1:1"}


def imported(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, set[str], str]:
    """(exit code, packages imported, what was said) of a command."""
    run = [sys.executable, "-c", TELLS, *arguments]
    done = subprocess.run(run, env=os.environ | NOBODY | (env or {}), cwd=HERE, capture_output=True, text=True)
    *said, last = done.stderr.strip().splitlines()
    _, code, *packages = last.split()
    return int(code), set(packages), "\n".join(said)


def words(group: click.Group) -> Iterator[list[str]]:
    """What calls each command, those of a group too."""
    for name, command in group.commands.items():
        yield [name]
        if isinstance(command, click.Group):
            yield from ([name, *rest] for rest in words(command))


COMMANDS = list(words(main))


def test_help_imports_next_to_nothing() -> None:
    for arguments in [[], *COMMANDS]:
        code, packages, _ = imported(*arguments, "--help")
        assert (code, packages & LIGHT_ONLY) == (0, set()), arguments


def test_a_worker_that_learns_does_without_pandas() -> None:
    done = subprocess.run([sys.executable, "-c", LEARNS], cwd=HERE, check=True, capture_output=True, text=True)
    assert {"river", "faust", "pandas", "pyarrow"} & {*done.stdout.split()} == {"river", "faust"}


def needing(kind: type[click.Parameter]) -> list[str]:
    return [
        name
        for name, command in main.commands.items()
        if any(
            isinstance(each, kind) and isinstance(each.type, click.Path) and each.type.exists for each in command.params
        )
    ]


@pytest.mark.parametrize("name", needing(click.Argument) + needing(click.Option))
def test_what_is_missing_is_refused_before_anything_heavy_is_imported(name: str, tmp_path: Path) -> None:
    """Whatever the command is told to read does not exist; or is a directory that `offline fit` did not write."""
    out = any(each.name == "out" and each.required for each in main.commands[name].params)
    given = [*(["--out", str(tmp_path / "out")] if out else []), *(["--history"] * (name in needing(click.Option)))]
    code, packages, said = imported(name, *given, str(tmp_path / "missing"))
    assert (code, packages & LIGHT_ONLY) == (2, set())
    assert "missing" in said
    if name not in ("replay", "send", "erase"):
        code, packages, said = imported(name, *given, str(tmp_path))
        assert (code, packages & HEAVY) == (2, set())
        assert f"is missing: {tmp_path} is not what `offline fit --out` wrote" in said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_wrong_option_is_refused_before_anything_is_imported(command: list[str]) -> None:
    code, packages, said = imported(*command, "--no-such-option")
    assert (code, packages & LIGHT_ONLY) == (2, set())
    assert "--no-such-option" in said


@pytest.mark.parametrize("arguments", [["show", "00042"], ["model"], ["worker"]])
def test_a_look_at_redis_needs_no_model(arguments: list[str], redis_url: str, store_prefix: str) -> None:
    """On a Redis that holds nothing: a customer nobody knows, no model, no deployment."""
    code, packages, said = imported(*arguments, env={"CRM_REDIS_URL": redis_url, "CRM_PREFIX": store_prefix})
    assert (code, packages & (HEAVY | {"numpy"})) == (2 if arguments == ["worker"] else 1, set()), said


def test_console_scripts_are_the_two_programs() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    assert set(project["scripts"]) == {"crm-offline", "crm-streams"}
    for place in project["scripts"].values():
        module, _, name = place.partition(":")
        assert isinstance(getattr(importlib.import_module(module), name), click.Group)


def test_a_wrong_setting_is_refused_before_anything_heavy_is_imported() -> None:
    code, packages, said = imported("worker", env={"CRM_PARTITIONS": "none"})
    assert (code, packages & HEAVY) == (2, set())
    assert "CRM_PARTITIONS='none'" in said
