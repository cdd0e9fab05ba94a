"""Alerts, dashboards and the profile `watch`: what they name exists, and each alert fires on what it is for."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from test_docs_index import anchors, section

from models.truth import Figures, Window
from streams.crm.shell import Shell
from streams.freshness import Freshness
from streams.metrics import Held, Meter, Now

ROOT = Path(__file__).parent.parent
PROMETHEUS, GRAFANA = ROOT / "deploy/prometheus", ROOT / "deploy/grafana"
OPERATIONS = ROOT / "docs/operations.md"
WATCH = ("prometheus", "grafana")


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus's own checker."""
    found = shutil.which("promtool")
    if found is None:
        missing = "promtool is not on PATH, so no alert was tried: apt-get install prometheus"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    return found


@pytest.mark.parametrize(
    "what",
    [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"), ("test", "rules", "rules.test.yml")],
)
def test_prometheus_takes_the_files_and_each_alert_fires_when_it_should(promtool: str, what: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *what], cwd=PROMETHEUS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """(where, what is asked) of every alert and panel."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for path in sorted((GRAFANA / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]


def metrics() -> set[str]:
    """Names of all families that a worker or an API shows."""
    served = Figures(None, None, 1.0, None)
    window = Window(1, "", "", 1, 1, 0, 1.0, 1.0, {"served": served, "r90": served}, {"all": 0.9}, None)
    held = Held(0, Freshness(0, 0.0, 0.0, 0, ""), 0, 0, 0)
    meter = Meter(lambda: Now(1, [held], "1-20240301-0a1b2c3d", window))
    ends = {"counter": "_total", "info": "_info"}
    of_api = CollectorRegistry()
    Shell(nothing, of_api)
    shown = (*meter.registry.collect(), *of_api.collect())
    return {family.name + ends.get(family.type, "") for family in shown}


async def nothing(*_: object) -> None:
    """An app that answers nobody."""


def test_alerts_and_dashboards_ask_for_what_there_is() -> None:
    known, asked = metrics(), dict(expressions())
    assert len(asked) > 30
    for where, expression in asked.items():
        named = {re.sub("_(bucket|count|sum)$", "", name) for name in re.findall(r"\b(?:crm|process)_\w+", expression)}
        assert named, where
        assert named <= known, f"{where}: {named - known}"


def test_every_metric_has_its_line() -> None:
    said = re.findall(r"^\| `(crm_\w+)", section("docs/operations.md", "Metrics"), re.MULTILINE)
    assert sorted(said) == sorted(name for name in metrics() if name.startswith("crm_"))


def test_every_alert_has_a_paragraph_and_every_one_a_test() -> None:
    alerts = {rule["alert"]: rule for rule in rules()}
    assert len(alerts) == 11
    tried = (PROMETHEUS / "rules.test.yml").read_text()
    for name, rule in alerts.items():
        place, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / place, anchor) == (OPERATIONS, name.lower())
        assert anchor in anchors(OPERATIONS)
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.search(rf"alertname: {name}\n", tried), f"{name} is fired by no test"
    paragraphs = re.findall(r"^### (Crm\w+)$", OPERATIONS.read_text(), re.MULTILINE)
    assert paragraphs == [*alerts]


@pytest.fixture(scope="module")
def watched() -> dict[str, Any]:
    """What Compose makes of the file with the profile."""
    program = [
        str(Path(sys.executable).with_name("docker-compose")),
        "--profile",
        "watch",
        "config",
        "--format",
        "json",
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "CRM_"))}
    found: dict[str, Any] = json.loads(subprocess.check_output(program, cwd=ROOT, env=clean))
    return found


def test_whoever_watches_is_bounded_pinned_and_on_this_machine_alone(watched: dict[str, Any]) -> None:
    for name in WATCH:
        service = watched["services"][name]
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert int(service["mem_limit"]) >= 1 << 30
        assert service["logging"]["options"]["max-size"] == "10m"
        mounts = {volume["target"]: volume for volume in service["volumes"]}
        assert all(mount.get("read_only") for mount in mounts.values() if mount["type"] == "bind")
        assert all(Path(mount["source"]).exists() for mount in mounts.values() if mount["type"] == "bind")


def test_grafana_asks_for_a_password_that_is_nobodys_default(watched: dict[str, Any], tmp_path: Path) -> None:
    grafana = watched["services"]["grafana"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana"
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert [secret["source"] for secret in grafana["secrets"]] == ["grafana"]
    subprocess.run([sys.executable, ROOT / "deploy/users.py", tmp_path / "secrets"], check=True)
    assert len((tmp_path / "secrets" / Path(watched["secrets"]["grafana"]["file"]).name).read_text()) == 64


def test_prometheus_and_grafana_find_what_they_read(watched: dict[str, Any]) -> None:
    """Workers at the port that they show, the dashboards where they are mounted, the datasource by its name here."""
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    (worker,) = [each["dns_sd_configs"][0] for each in scraped if each["job_name"] == "worker"]
    assert watched["services"]["worker"]["environment"]["CRM_METRICS"] == f"0.0.0.0:{worker['port']}"
    assert worker["names"] == ["worker"]
    (files,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/files.yml").read_text())["providers"]
    (mount,) = [volume for volume in watched["services"]["grafana"]["volumes"] if volume["type"] == "bind"]
    assert Path(mount["source"]) == GRAFANA
    assert (GRAFANA / Path(files["options"]["path"]).relative_to(mount["target"])).is_dir()
    assert watched["services"]["grafana"]["environment"]["GF_PATHS_PROVISIONING"] == f"{mount['target']}/provisioning"
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    for path in (GRAFANA / "dashboards").glob("*.json"):
        assert {panel["datasource"]["uid"] for panel in json.loads(path.read_text())["panels"]} == {source["uid"]}
