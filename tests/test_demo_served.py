"""What `make demo KEEP=1` shows: lines that work, a purchase that moves its customer's scores, and who ends."""

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from running import HERE, running, until

from demo import __main__ as demo
from demo.services.process import free_port


def test_its_lines_work_and_the_scores_move(
    kafka: str, redis_url: str, nobody: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(kafka, redis_url, nobody, tmp_path, partitions=2) as deployment:
        watched = {"CRM_STATUS": str(tmp_path / "worker"), "CRM_METRICS": str(free_port())}
        deployment.worker(**watched)
        deployment.bought(demo.BUYER)
        until(lambda: deployment.orders(demo.BUYER) == "1", lambda: deployment.said)
        with demo.started(deployment.env, "streams", "api", "--port", str(port := free_port())):
            day = demo.served(deployment.env, f"http://127.0.0.1:{port}", tmp_path / "event.jsonl")
            told = capfd.readouterr().out
            lines = re.findall(r"^curl .*$", told, re.MULTILINE)
            assert len(lines) == 3
            for line in lines:
                (url,) = shlex.split(line)[1:]
                with urllib.request.urlopen(url, timeout=30) as answer:
                    assert isinstance(json.load(answer), dict)
        assert re.search(r"^orders +1 -> 2$", told, re.MULTILINE)
        assert re.search(r"^spend +10.0 -> 59.9$", told, re.MULTILINE)
        assert deployment.orders(demo.BUYER) == "2"
        keys = f'"{deployment.settings.redis_url}"'
        demo.look(deployment.env, watched, day)
        told = capfd.readouterr().out
        assert told.endswith(f"Its clock stands at {day}: an event of a later day sweeps every day between.\n")
        own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        lines = re.findall(r"^(?:export|CRM_|curl|\S*python).*$", told, re.MULTILINE)
        exports = "\n".join(line for line in lines if line.startswith("export"))
        for line in lines:
            asked = line.replace(".venv/bin/python", sys.executable).replace(keys, f'{keys}, "{deployment.name}"')
            if asked.startswith("curl"):
                with urllib.request.urlopen(asked.split()[1], timeout=30) as answer:
                    assert json.load(answer)["ok"] is True
            elif "--watch" not in asked and "streams worker" not in asked:
                script = f"{exports}\n{asked}"
                done = subprocess.run(["sh", "-c", script], cwd=HERE, env=own, capture_output=True, text=True)
                assert (done.returncode, done.stderr) == (0, ""), line
        (second,) = [line for line in lines if "streams worker" in line]
        shown = dict(pair.split("=", 1) for pair in second.split(" .venv")[0].split())
        deployment.worker(**shown).says("holds partitions ")


def test_a_process_that_ends_is_said_at_once_and_no_error_later(capfd: pytest.CaptureFixture[str]) -> None:
    """Somebody stops the worker, to see what comes. Mutation caught: told half an hour later, as a failure."""
    with demo.started({}, "http.server", str(free_port())) as child:
        demo.tell([child])
        child.process.terminate()
        child.process.wait()
        capfd.readouterr()
        demo.tell([child])
        demo.tell([child])
        assert capfd.readouterr().out.count(f"{child.command} ended with exit code -15: start another") == 1
    with (
        pytest.raises(demo.DemoError, match=r"http\.server nonsense ended with exit code 2"),
        demo.started({}, "http.server", "nonsense") as child,
    ):
        child.process.wait()
