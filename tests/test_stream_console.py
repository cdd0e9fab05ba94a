"""A worker's lines: time, level and partition, for a person or as JSON; a library's come the same way."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
SAYS = """
import logging.config, sys
from streams import console
console.use(sys.argv[1])
logging.config.dictConfig(console.LIBRARIES)
console.say("holds partitions 0, 2")
console.say('goes on: "100%s" \\u20ac', level="warning", partition=2)
logging.getLogger("faust.app").warning("of no interest")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("faust.app").exception("what %s", "happened")
logging.getLogger("aiokafka.conn").critical("gone")
logging.getLogger("streams.api").error("a fault")
console.stop("no guard", partition=1)
"""
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


def said(how: str) -> list[str]:
    """What the program says, which ends with code 2."""
    done = subprocess.run([sys.executable, "-c", SAYS, how], cwd=HERE, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.splitlines()


def test_each_line_is_an_object_of_its_own() -> None:
    """Mutations caught: a library's trace over several lines; texts taken for patterns; the time of a place; what a
    library complains of called an error, which is what ends a worker."""
    lines = [json.loads(line) for line in said("json")]
    assert all(re.fullmatch(TIME, line.pop("time")) for line in lines)
    assert lines[2].pop("exception").endswith("ZeroDivisionError: division by zero")
    assert lines == [
        {"level": "info", "event": "holds partitions 0, 2"},
        {"level": "warning", "event": 'goes on: "100%s" \u20ac', "partition": 2},
        {"level": "warning", "event": "what happened", "logger": "faust.app"},
        {"level": "warning", "event": "gone", "logger": "aiokafka.conn"},
        {"level": "error", "event": "a fault", "logger": "streams.api"},
        {"level": "error", "event": "no guard", "partition": 1},
    ]


def test_a_person_reads_time_level_and_text() -> None:
    lines = said("console")
    found = [re.sub(TIME, "NOW", line) for line in lines if re.match(TIME, line)]
    assert found == [
        "NOW info: holds partitions 0, 2",
        'NOW warning: goes on: "100%s" \u20ac',
        "NOW warning: what happened",
        "NOW warning: gone",
        "NOW error: a fault",
        "NOW error: no guard",
    ]
    assert "ZeroDivisionError: division by zero" in lines


def test_who_does_not_listen_ends_nothing() -> None:
    """A pipe that is closed: the worker goes on, and ends as it would have."""
    program = f"import os, sys; os.close(2); sys.argv = ['', 'console']\n{SAYS}"
    done = subprocess.run([sys.executable, "-c", program, "console"], cwd=HERE, capture_output=True)
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("command", "wrong", "why"),
    [
        (["worker"], {}, "CRM_REDIS_URL: "),
        (["worker"], {"CRM_GRACE": "1 h"}, "CRM_GRACE='1 h': "),
        (["api", "--tokens", "nowhere"], {}, "CRM_API_TOKENS"),
        (["api"], {"CRM_REDIS_URL": "http://h"}, "CRM_REDIS_URL: say "),
    ],
)
def test_who_could_not_begin_says_so_as_an_object_too(command: list[str], wrong: dict[str, str], why: str) -> None:
    """Else whoever collects the lines stops at the one that matters, as `jq` does. Mutation caught: settings that are
    wrong told before the form of lines is known."""
    env = {"CRM_REDIS_URL": "redis://127.0.0.1:1/0"} | wrong
    told = json.loads(refused(command, env | {"CRM_LOG": "json"}))
    assert (told["level"], told["event"][: len(why)]) == ("error", why)
    assert re.fullmatch(TIME, told["time"])
    assert refused(command, env) == f"streams: {told['event']}"


def test_a_command_speaks_to_a_person_however_workers_write() -> None:
    assert refused(["status"], {"CRM_GRACE": "1 h", "CRM_LOG": "json"}).startswith("streams: CRM_GRACE='1 h': ")


def refused(command: list[str], env: dict[str, str]) -> str:
    """The one line with which it ends, exit code 2."""
    run = [sys.executable, "-m", "streams", *command]
    done = subprocess.run(run, cwd=HERE, env=os.environ | env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line
