"""docker-compose.yml and Dockerfile keep their promises, as far as that shows without an engine to run them.

Compose itself checks and expands the file (`docker-compose config`, from the development requirements).
"""

import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jobs
import pytest

from demo.services.servers import APPENDS
from streams.crm import access
from streams.crm.access import Access

ROOT = Path(__file__).parent.parent
OURS = ("init", "worker", "api", "command")
IMAGE = (*OURS, "offline")  # whose image is ours


def compose(*arguments: str, **given: str) -> str:
    program = Path(sys.executable).with_name("docker-compose")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "CRM_"))}
    return subprocess.run(
        [program, "--file", "docker-compose.yml", "--profile", "command", *arguments],
        cwd=ROOT,
        env=clean | given,
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
    assert {service.get("network_mode", "none") for service in services.values()} == {"none"}


def test_images_are_pinned(services: dict[str, Any], steps: list[tuple[str, str]]) -> None:
    assert services["kafka"]["image"] == "apache/kafka:4.3.1"
    assert services["valkey"]["image"] == "valkey/valkey:9.1.4"
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert {services[name]["image"] for name in IMAGE} == {f"streaming-crm-scorer:{version[1]}"}
    (base,) = [rest for name, rest in steps if name == "FROM"]
    found = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-[a-z]+", base)
    assert found is not None
    assert f"with Python {found[1]}, which `Dockerfile` takes too" in (ROOT / "README.md").read_text()


def test_what_is_waited_for_is_known_to_be_ready(services: dict[str, Any]) -> None:
    """Each store has a health check, and everything that needs a service waits for it to be healthy or done."""
    checked = {name for name, service in services.items() if "healthcheck" in service}
    assert checked == {"kafka", "valkey", "worker", "api"}
    waits = {name: service.get("depends_on", {}) for name, service in services.items()}
    for name in ("worker", "api"):
        assert {other: how["condition"] for other, how in waits[name].items()} == {
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
    assert " ".join(APPENDS) in command  # as the one that the tests use, and that is measured
    assert "--maxmemory-policy noeviction" in command


def test_two_workers_start_again_and_topics_are_made_once(services: dict[str, Any]) -> None:
    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["worker"]["restart"] == "unless-stopped"
    assert services["init"].get("restart", "no") == "no"
    assert services["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_every_setting_is_one_that_streams_reads(services: dict[str, Any]) -> None:
    from streams.settings import PREFIX, Settings

    known = {f"{PREFIX}{name.upper()}{end}" for name in Settings.model_fields for end in ("", "_FILE")}
    for name in OURS:
        assert set(services[name]["environment"]) <= known
        said = {key: value for key, value in services[name]["environment"].items() if value is not None}
        settings = {key.removeprefix(PREFIX).lower(): value for key, value in said.items()}
        settings |= {"redis_url": "redis://worker:password@valkey:6379/0"} if settings.pop("redis_url_file") else {}
        assert Settings(**settings).kafka == "kafka:19092"


# Compose says itself where Kafka and Redis are, how they are spoken to, and what of a container's files is what.
FIXED = {"kafka", "kafka_tls", "kafka_ca", "kafka_certificate", "kafka_key", "kafka_sasl", "kafka_user"}
FIXED |= {"kafka_password", "kafka_insecure", "redis_url", "redis_ca", "redis_sentinels", "redis_service"}
FIXED |= {"status", "metrics", "api_tokens"}


@pytest.mark.parametrize("by_file", [False, True])
def test_every_setting_that_is_not_fixed_here_is_handed_on(by_file: bool, tmp_path: Path) -> None:
    """From the shell and from a file .env. Mutation caught: a setting that is known to `streams` and not to Compose."""
    from streams.settings import PREFIX, Settings

    given = {f"{PREFIX}{name.upper()}": f"of-{name}" for name in Settings.model_fields if name not in FIXED}
    file = tmp_path / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in given.items()) if by_file else "")
    config = ("--env-file", str(file), "config", "--format", "json")
    services = json.loads(compose(*config, **({} if by_file else given)))["services"]
    lines = {"CRM_LOG"}  # of those that go on; a command's are for whoever called it
    for name in OURS:
        wanted = given if name in ("worker", "api") else {each: given[each] for each in given.keys() - lines}
        assert wanted.items() <= services[name]["environment"].items()
    assert Settings.model_fields.keys() >= FIXED


def test_commands_are_those_of_streams(services: dict[str, Any], steps: list[tuple[str, str]]) -> None:
    main = importlib.import_module("streams.__main__").main
    last = dict(steps)
    assert json.loads(last["ENTRYPOINT"]) == ["python", "-m", "streams"]
    shown = re.findall(r"^#.* command (\w+) ", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    assert shown == ["publish"]
    _, *checked = services["worker"]["healthcheck"]["test"]
    assert checked[:3] == json.loads(last["ENTRYPOINT"])
    used = [
        json.loads(last["CMD"]),
        *(services[name]["command"] for name in ("init", "worker", "api")),
        shown,
        checked[3:],
    ]
    assert {words[0] for words in used} <= set(main.commands)


def test_the_image_reads_what_shops_have(steps: list[tuple[str, str]]) -> None:
    """Excel files too, though openpyxl is an extra elsewhere: nothing can be added in a container."""
    assert any(rest.endswith("-r requirements/run.txt") for _, rest in steps)
    assert re.search("^openpyxl==", (ROOT / "requirements" / "run.txt").read_text(), re.MULTILINE)


def test_the_programs_are_found_wherever_a_container_works(
    services: dict[str, Any], steps: list[tuple[str, str]]
) -> None:
    """Mutation caught: `python -m offline` in /data, which holds the files of whoever runs it and no program."""
    told = dict(steps)
    assert f"PYTHONPATH={told['WORKDIR']}" in told["ENV"].split()
    assert services["offline"]["working_dir"] == "/data"


def test_the_image_runs_as_nobody_special(services: dict[str, Any], steps: list[tuple[str, str]]) -> None:
    names = [name for name, _ in steps]
    assert dict(steps)["USER"] == "crm"
    assert names.index("USER") < names.index("ENTRYPOINT")
    for name in IMAGE:
        assert "user" not in services[name]
        assert services[name]["cap_drop"] == ["ALL"]


def test_the_image_holds_what_it_needs_and_no_more(steps: list[tuple[str, str]]) -> None:
    copied = [rest.split()[0] for name, rest in steps if name == "COPY"]
    assert copied == ["requirements/run.txt", "models", "offline", "streams"]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert allowed == copied
    (install,) = [rest for name, rest in steps if rest.startswith("pip install")]
    assert "--require-hashes" in install


@pytest.mark.parametrize(("machine", "source"), [("x86_64", ""), ("aarch64", " --no-binary faust-streaming")])
def test_what_is_installed_from_source(steps: list[tuple[str, str]], tmp_path: Path, machine: str, source: str) -> None:
    """Wheels alone, but for Faust where it has none: on arm64, by the machine's own word."""
    (install,) = [rest for name, rest in steps if rest.startswith("pip install")]
    for name, says in {"uname": machine, "pip": '"$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {says}\n")
        (tmp_path / name).chmod(0o755)
    said = subprocess.check_output(["sh", "-c", install], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, text=True)
    assert said == f"install --no-cache-dir --require-hashes --only-binary :all:{source} -r requirements/run.txt\n"


def test_ours_write_nowhere_but_where_they_must(services: dict[str, Any], steps: list[tuple[str, str]]) -> None:
    """A root that is read-only, /tmp and the status in memory, kernels in a volume that the image has filled."""
    for name in IMAGE:
        assert services[name]["read_only"] is True
        assert [entry.split(":")[0] for entry in services[name]["tmpfs"]] == ["/tmp", "/run/crm"]
    assert services["worker"]["environment"]["CRM_STATUS"].startswith("/run/crm/")
    names = [name for name, _ in steps]
    assert dict(steps)["VOLUME"] == "$NUMBA_CACHE_DIR"
    assert names.index("VOLUME") > max(i for i, name in enumerate(names) if name == "RUN")


def test_memory_and_logs_are_bounded(services: dict[str, Any]) -> None:
    for service in services.values():
        assert int(service["mem_limit"]) >= 1 << 30
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_what_an_operator_chooses_is_a_variable() -> None:
    given = {"KAFKA_PORT": "19999", "REDIS_PORT": "16379", "CRM_PARTITIONS": "12", "WORKERS": "5", "CRM_SECRETS": "/s"}
    found = json.loads(compose("config", "--format", "json", **given))
    services = found["services"]
    assert [services[name]["ports"][0]["published"] for name in ("kafka", "valkey")] == ["19999", "16379"]
    assert "OUTSIDE://127.0.0.1:19999" in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert services["init"]["environment"]["CRM_PARTITIONS"] == "12"
    assert services["worker"]["deploy"]["replicas"] == 5
    assert {each["file"] for each in found["secrets"].values()} == {
        f"/s/{name}" for name in ("users.acl", "worker.url", "publisher.url", "reader", "api.url", "tokens")
    }


def test_each_has_the_secret_of_its_own_user(services: dict[str, Any], tmp_path: Path) -> None:
    """And the files that deploy/users.py leaves are those that are mounted; nobody may do anything without a name."""
    held = {name: [each["source"] for each in service.get("secrets", [])] for name, service in services.items()}
    assert held == {
        "kafka": [],
        "valkey": ["users", "reader"],
        "init": ["publisher"],
        "worker": ["worker"],
        "api": ["api", "tokens"],
        "offline": [],
        "command": ["publisher"],
    }
    for name in OURS:
        source = held[name][0]
        assert services[name]["environment"]["CRM_REDIS_URL_FILE"] == f"/run/secrets/{source}"
    assert "--aclfile /run/secrets/users" in " ".join(services["valkey"]["command"])
    subprocess.run([sys.executable, ROOT / "deploy" / "users.py", tmp_path / "secrets"], check=True)
    files = json.loads(compose("config", "--format", "json", CRM_SECRETS=str(tmp_path / "secrets")))["secrets"]
    assert all(Path(each["file"]).stat().st_mode & 0o777 == 0o644 for each in files.values())
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    rules = Path(files["users"]["file"]).read_text()
    assert rules.startswith("user default off resetpass resetkeys resetchannels -@all\n")
    passwords = [(tmp_path / "secrets" / name).read_text() for name in ("worker", "publisher", "reader", "api")]
    assert not [password for password in passwords if password in rules]


def test_the_api_takes_the_tokens_that_are_made_for_it(services: dict[str, Any], tmp_path: Path) -> None:
    """And those that somebody added stay when the file is made again; one whose file was deleted is another then."""
    held = tmp_path / "secrets"
    make: list[str | Path] = [sys.executable, ROOT / "deploy" / "users.py", held]
    subprocess.run(make, check=True)
    added = access.new(held / "tokens", "added", "read")
    found = {}
    for again in (False, True):
        subprocess.run(make, check=True)
        known = Access(access.read(held / "tokens"))
        assert known.tokens is not None
        shown = {name: (held / f"{name}.token").read_text() for name in ("crm", "events")} | {"added": added}
        callers = {name: known.tokens[hashlib.sha256(token.encode()).digest()] for name, token in shown.items()}
        assert {name: caller.name for name, caller in callers.items()} == {name: name for name in shown}
        assert [sorted(callers[name].scopes) for name in ("crm", "events")] == [["lists", "read"], ["admin"]]
        assert len(known.tokens) == 3
        assert not [token for token in shown.values() if token in (held / "tokens").read_text()]
        found[again] = shown["crm"]
        (held / "crm.token").unlink()
    assert found[False] != found[True]
    command = services["api"]["command"]
    assert command[command.index("--tokens") + 1] == "/run/secrets/tokens"


def test_offline_jobs_run_in_the_image_with_nothing_but_their_files(services: dict[str, Any]) -> None:
    """No network, no secret; and whoever runs it, as it is shown, can write its caches."""
    offline = services["offline"]
    assert offline["entrypoint"] == ["python", "-m", "offline"]
    assert (offline["network_mode"], offline.get("secrets", [])) == ("none", [])
    assert all(Path(place).is_relative_to("/tmp") for place in offline["environment"].values())


@pytest.mark.long
def test_the_kernels_are_compiled_as_the_user_who_runs_them(steps: list[tuple[str, str]], tmp_path: Path) -> None:
    """Runs the image's own command; a second process finds every kernel and writes none."""
    (warm,) = [(i, rest) for i, (name, rest) in enumerate(steps) if name == "RUN" and rest.startswith("python -c")]
    users = [i for i, (name, _) in enumerate(steps) if name == "USER"]
    assert users[0] < warm[0]
    environment = jobs.unmeasured(NUMBA_CACHE_DIR=str(tmp_path))
    command = warm[1].replace("python", sys.executable, 1)
    seen = []
    for _ in range(2):
        subprocess.run(["sh", "-c", command], cwd=ROOT, env=environment, check=True)
        seen.append(sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.nb?")))
    kernels = {
        f"{path.stem}.{name}"
        for path in sorted([*(ROOT / "models").glob("*.py"), *(ROOT / "streams").glob("*.py")])
        for name in re.findall(r"^(?:@njit\ndef |\w+ = njit\()(\w+)", path.read_text(), re.M)
    }
    compiled = {name.split("-")[0] for name, _ in seen[0]}
    assert len(kernels) > 20
    assert kernels <= compiled, kernels - compiled
    assert seen[0] == seen[1]
