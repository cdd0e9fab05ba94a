"""docker-compose.yml and Dockerfile keep their promises, as far as that shows without an engine to run them.

Compose itself checks and expands the file (`docker-compose config`, from the development requirements).
"""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("init", "worker")


def compose(*arguments: str) -> str:
    program = Path(sys.executable).with_name("docker-compose")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    return subprocess.run(
        [program, "--file", "docker-compose.yml", *arguments],
        cwd=ROOT,
        env=clean,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services as Compose understands them, with all references expanded."""
    expanded: dict[str, Any] = json.loads(compose("config", "--format", "json"))["services"]
    return expanded


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each (name, rest) with its continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(name, rest) for name, rest in pairs]


def test_compose_accepts_the_file_without_a_warning() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("docker-compose"), "config", "-q"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    assert all(service.get("network_mode") is None for service in services.values())


def test_images_are_pinned(services: dict[str, Any], steps: list[tuple[str, str]]) -> None:
    assert services["kafka"]["image"] == "apache/kafka:4.3.1"
    assert services["valkey"]["image"] == "valkey/valkey:9.1.4"
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert {services[name]["image"] for name in OURS} == {f"streaming-crm-scorer:{version[1]}"}
    assert [rest for name, rest in steps if name == "FROM"] == ["python:3.12-slim"]


def test_what_is_waited_for_is_known_to_be_ready(services: dict[str, Any]) -> None:
    """Each store has a health check, and everything that needs a service waits for it to be healthy or done."""
    assert [name for name, service in services.items() if "healthcheck" in service] == ["kafka", "valkey"]
    waits = {name: service.get("depends_on", {}) for name, service in services.items()}
    assert {other: how["condition"] for other, how in waits["worker"].items()} == {
        "init": "service_completed_successfully",
        "valkey": "service_healthy",
    }
    assert waits["init"]["kafka"]["condition"] == "service_healthy"


def test_data_stand_in_named_volumes(services: dict[str, Any]) -> None:
    stores = {
        name: [(volume["type"], volume["source"], volume["target"]) for volume in services[name]["volumes"]]
        for name in ("kafka", "valkey")
    }
    assert stores == {"kafka": [("volume", "kafka", "/var/lib/kafka/data")], "valkey": [("volume", "valkey", "/data")]}
    assert services["kafka"]["environment"]["KAFKA_LOG_DIRS"] == "/var/lib/kafka/data"


def test_the_store_appends_and_evicts_nothing(services: dict[str, Any]) -> None:
    command = " ".join(services["valkey"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_two_workers_start_again_and_topics_are_made_once(services: dict[str, Any]) -> None:
    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["worker"]["restart"] == "unless-stopped"
    assert services["init"].get("restart", "no") == "no"
    assert services["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_every_setting_is_one_that_streams_reads(services: dict[str, Any]) -> None:
    from streams.settings import PREFIX, Settings

    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in OURS:
        assert set(services[name]["environment"]) <= known
        settings = {key.removeprefix(PREFIX).lower(): value for key, value in services[name]["environment"].items()}
        assert Settings(**settings).kafka == "kafka:19092"


def test_commands_are_those_of_streams(services: dict[str, Any], steps: list[tuple[str, str]]) -> None:
    main = importlib.import_module("streams.__main__").main
    last = dict(steps)
    assert json.loads(last["ENTRYPOINT"]) == ["python", "-m", "streams"]
    shown = re.findall(r"^#.* worker (\w+) ", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    assert shown == ["publish"]
    used = [json.loads(last["CMD"]), *(services[name]["command"] for name in OURS), shown]
    assert {words[0] for words in used} <= set(main.commands)


def test_the_image_runs_as_nobody_special(services: dict[str, Any], steps: list[tuple[str, str]]) -> None:
    names = [name for name, _ in steps]
    assert dict(steps)["USER"] == "crm"
    assert names.index("USER") < names.index("ENTRYPOINT")
    for name in OURS:
        assert "user" not in services[name]
        assert services[name]["cap_drop"] == ["ALL"]


def test_the_image_holds_what_it_needs_and_no_more(steps: list[tuple[str, str]]) -> None:
    copied = [rest.split()[0] for name, rest in steps if name == "COPY"]
    assert copied == ["requirements/run.txt", "models", "offline", "streams"]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert allowed == copied
    (install,) = [rest for name, rest in steps if rest.startswith("pip install")]
    assert "--require-hashes" in install


def test_the_kernels_are_compiled_as_the_user_who_runs_them(steps: list[tuple[str, str]], tmp_path: Path) -> None:
    """Runs the image's own command; a second process finds every kernel and writes none."""
    (warm,) = [(i, rest) for i, (name, rest) in enumerate(steps) if name == "RUN" and rest.startswith("python -c")]
    users = [i for i, (name, _) in enumerate(steps) if name == "USER"]
    assert users[0] < warm[0]
    environment = dict(os.environ, NUMBA_CACHE_DIR=str(tmp_path))
    command = warm[1].replace("python", sys.executable, 1)
    seen = []
    for _ in range(2):
        subprocess.run(["sh", "-c", command], cwd=ROOT, env=environment, check=True)
        seen.append(sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.nb?")))
    assert {name.split(".")[0] for name, _ in seen[0]} >= {"customers", "features", "demand", "segments"}
    assert seen[0] == seen[1]
