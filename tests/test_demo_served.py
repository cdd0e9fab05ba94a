"""What `make demo KEEP=1` shows of the API: lines that work, and a purchase that moves its customer's scores."""

import json
import re
import shlex
import urllib.request
from pathlib import Path

import pytest
from running import running, until

from demo import __main__ as demo
from demo.services.process import free_port


def test_its_lines_work_and_the_scores_move(
    kafka: str, redis_url: str, nobody: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(kafka, redis_url, nobody, tmp_path, partitions=2) as deployment:
        deployment.worker()
        deployment.bought(demo.BUYER)
        until(lambda: deployment.orders(demo.BUYER) == "1", lambda: deployment.said)
        with demo.started(deployment.env, "streams", "api", "--port", str(port := free_port())):
            demo.served(deployment.env, f"http://127.0.0.1:{port}", tmp_path / "event.jsonl")
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
