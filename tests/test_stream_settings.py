"""Settings: a bad one is one line and exit code 2, secrets come from files too, and docs/settings.md tells of all."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from click.testing import CliRunner
from kept import KEPT

from streams import settings
from streams.__main__ import main
from streams.settings import PREFIX, Settings, SettingsError
from streams.store import connect

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests counts."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def refused() -> str:
    """The one line with which a command ends, exit code 2."""
    done = CliRunner().invoke(main, ["model"])
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_defaults() -> None:
    assert settings.load() == Settings()
    assert Settings().rejected_topic == "crm.events.rejected"


def test_each_deployment_has_a_group_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of one group share partitions, so that two deployments in it are scored in part each."""
    assert settings.load().group == "crm-scorer"
    monkeypatch.setenv("CRM_PREFIX", "trial")
    assert settings.load().group == "trial-scorer"
    monkeypatch.setenv("CRM_GROUP", "crm-scorer")
    assert settings.load().group == "crm-scorer"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GRACE", "an hour", "CRM_GRACE='an hour': Input should be a valid integer"),
        ("GRACE", "", "CRM_GRACE='': Input should be a valid integer"),
        ("GRACE", "-1", "CRM_GRACE='-1': Input should be greater than or equal to 0"),
        ("GRACE", "3456001", "CRM_GRACE='3456001': Input should be less than or equal to 3456000"),
        ("CLOCK", "wall", "CRM_CLOCK=wall: midnights pass by the events alone"),
        ("CLOCK", "sun", "CRM_CLOCK=sun: midnights pass by the events alone"),
        ("PARTITIONER", "md5", "CRM_PARTITIONER='md5': Input should be 'murmur2' or 'crc32'"),
        ("BLOCK", "501", "CRM_BLOCK='501': Input should be less than or equal to 500"),
        ("CHANGES_KEPT", str(1 << 63), f"CRM_CHANGES_KEPT='{1 << 63}': Input should be less than or equal to"),
        ("CHANGES_KEPT", "-1", "CRM_CHANGES_KEPT='-1': Input should be greater than or equal to 0"),
        ("PREFIX", "a*b", "CRM_PREFIX='a*b': String should match pattern"),
        ("EVENTS_TOPIC", "crm events", "CRM_EVENTS_TOPIC='crm events': String should match pattern"),
        ("GROUP", "", "CRM_GROUP='': String should have at least 1 character"),
        ("KAFKA", "", "CRM_KAFKA='': say host:port"),
        ("KAFKA", "kafka", "CRM_KAFKA='kafka': say host:port"),
        ("KAFKA", "a:1, b:2", "CRM_KAFKA='a:1, b:2': say host:port"),
        ("REDIS_URL", "", "CRM_REDIS_URL: say redis://"),
        ("REDIS_SENTINELS", "a", "CRM_REDIS_SENTINELS='a': String should match pattern"),
        ("REDIS_SENTINELS", "a:1", "CRM_REDIS_SENTINELS, CRM_REDIS_SERVICE: set both or none"),
        ("REDIS_SERVICE", "it", "CRM_REDIS_SENTINELS, CRM_REDIS_SERVICE: set both or none"),
        ("REDIS_URL", "localhost:6379", "CRM_REDIS_URL: say redis://"),
    ],
)
def test_a_bad_value_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    assert refused().startswith(f"streams: {said}")


@pytest.mark.parametrize("value", ["1e300", str(1 << 63), "9" * 25])
def test_no_number_is_taken_that_redis_would_refuse(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """One refused in the midst of a write leaves a damaged guard. Mutation caught: a setting without a bound."""
    numbers = [name for name, field in Settings.model_fields.items() if field.annotation in (int, float, int | None)]
    assert {"changes_kept", "models_kept", "grace", "api_rate"} <= {*numbers}
    for name in numbers:
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", value)
        assert refused().startswith(f"streams: {PREFIX}{name.upper()}='{value}': Input should be ")
        monkeypatch.delenv(f"{PREFIX}{name.upper()}")


@pytest.mark.parametrize(
    ("said", "urls"),
    [
        (
            "no # belongs there, and no @ behind the host: in a user, password or path write %23 for #",
            [
                *(f"redis://user:12{odd}hunter@host:6379/0" for odd in ("#", "?", "/", "//", "?a=", "#/", "\t", "\n")),
                *(
                    "redis://:12#@hunter",
                    "rediss://:12/@hunter:1",
                    "redis://user?:hunter@host",
                    "redis://host/0#hunter",
                ),
                *("unix://:12/hunter@/run/redis.sock", "unix:///run/redis#hunter.sock", "redis://host/0?db=1@hunter"),
            ],
        ),
        (
            "say redis://host:6379/0, rediss:// or unix:///path; IPv6 is [::1]; in a password write",
            [
                *("hunter", "redis:hunter:6379", "redis:/hunter", "http://:hunter@host", "redis://:hunter@host:port/0"),
                *(
                    "redis://:hunter@::1:6379",
                    "redis://:hun[ter@host",
                    "redis://:hunter@[::1",
                    "redis://:hunter@h:65536",
                ),
                *("redis://:hunter@[::1]6379", "redis://:hunter@h:0", "redis://:hunter@h:1,h:2/0", "redis://"[:-3]),
            ],
        ),
        (
            "behind the host stands the number of a database, as /0 or ?db=0, or nothing",
            [
                *(
                    f"redis://:hunter@host:6379/{n}"
                    for n in ("abc", "1a", "-1", "0/1", "0/", "/0", "%30", "٣", "1" * 5000)
                ),
                *(f"rediss://:hunter@host?db={n}" for n in ("", "abc", "-1", "1_0", "0.5", "%201")),
                "unix:///run/redis.sock?db=hunter",
            ],
        ),
        (
            "say unix:///path of the socket, with three /",
            ["unix://hunter/redis.sock", "unix://", "unix://:hunter@?db=0"],
        ),
        (
            "'foo' is no option here: db is, and redis-py's of TLS (ssl_",
            ["redis://host?foo=hunter", "redis://h/0?foo"],
        ),
        ("'ssl_hunt' is no option here", ["rediss://host?ssl_hunt=1"]),
        ("'a\\nb' is no option here", ["redis://host?a%0Ab=hunter"]),
        *(
            (f"'{name}' is no option here", [f"{kind}?{name}=3" for kind in ("redis://h/0", "rediss://h", "unix:///s")])
            for name in (
                "decode_responses",
                "protocol",
                "socket_timeout",
                "max_connections",
                "retry",
                "host",
                "password",
            )
        ),
        *(
            (f"{name} says nothing unless it begins with rediss://", [f"redis://h?{name}=1"])
            for name in settings.OF_TLS
        ),
        ("db: say it once, with a value", ["redis://host/1?db=2", "redis://host?db=1&db=1"]),
        ("ssl_ca_certs: say it once, with a value", ["rediss://h?ssl_ca_certs=", "rediss://h?ssl_ca_certs"]),
        ("ssl_min_version: its value is none that", ["rediss://h?ssl_min_version=hunter"]),
    ],
)
def test_a_url_of_redis_that_redis_py_would_read_as_another(
    monkeypatch: pytest.MonkeyPatch, said: str, urls: list[str]
) -> None:
    """And no password is printed. Mutation caught: each check of `_of_url` and `_of_options`."""
    for url in urls:
        monkeypatch.setenv("CRM_REDIS_URL", url)
        line = refused()
        assert line.startswith(f"streams: CRM_REDIS_URL: {said}"), url
        assert "hunter" not in line


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://host", {"host": "host"}),
        (" redis://host:6379/\r\n", {"host": "host", "port": 6379}),
        ("redis://[::1]:6379/11", {"host": "::1", "port": 6379, "db": 11}),
        ("redis://host/?db=2", {"host": "host", "db": 2}),
        (
            "redis://user:a:b@c%23%2F%3F%40@host:1/0",
            {"username": "user", "password": "a:b@c#/?@", "host": "host", "db": 0},
        ),
        (
            "unix://user:pw@/run/a%40b.sock?db=3",
            {"username": "user", "password": "pw", "path": "/run/a@b.sock", "db": 3},
        ),
        ("rediss://:pw@host/1?ssl_certfile=/c&ssl_keyfile=/k&ssl_password=p", {"db": 1, "ssl_keyfile": "/k"}),
        ("rediss://host?ssl_check_hostname=no&ssl_min_version=771", {"ssl_check_hostname": False}),
    ],
)
@pytest.mark.parametrize("sentinels", [{}, {"redis_sentinels": "host:26379", "redis_service": "crm"}])
def test_a_url_of_redis(
    monkeypatch: pytest.MonkeyPatch, url: str, meant: dict[str, object], sentinels: dict[str, str]
) -> None:
    """What it says is what the client does; the rest is the program's."""
    monkeypatch.setenv("CRM_REDIS_URL", url)
    given = settings.load()
    assert given.redis_url == url.strip()
    told = connect(given.model_copy(update=sentinels)).connection_pool.connection_kwargs
    meant = {name: value for name, value in meant.items() if not sentinels or name not in ("host", "port", "path")}
    assert told | {"socket_timeout": 3, "protocol": 2} | meant == told


@pytest.mark.parametrize("kafka", ["kafka:9092", "a:1,b.example:2,10.0.0.1:3", "[::1]:9092"])
def test_addresses(monkeypatch: pytest.MonkeyPatch, kafka: str) -> None:
    monkeypatch.setenv("CRM_KAFKA", kafka)
    assert settings.load().kafka == kafka


@pytest.mark.parametrize("metrics", ["9464", "0.0.0.0:9464", "host:0", "[::1]:9464", "[::]:0", "[::ffff:10.0.0.1]:1"])
def test_where_metrics_are_shown(monkeypatch: pytest.MonkeyPatch, metrics: str) -> None:
    monkeypatch.setenv("CRM_METRICS", metrics)
    assert settings.load().metrics == metrics


@pytest.mark.parametrize(
    "metrics", ["::1:9464", "[::1]", "[::1]9464", "[host]:1", "[]:1", "[::1:1", "[::1]:65536", ":1"]
)
def test_where_metrics_cannot_be_shown(monkeypatch: pytest.MonkeyPatch, metrics: str) -> None:
    monkeypatch.setenv("CRM_METRICS", metrics)
    assert (
        refused() == f"streams: CRM_METRICS={metrics!r}: say host:port, [IPv6]:port, or a port alone, of this machine"
    )


def test_sentinels_are_asked_at_their_addresses() -> None:
    """Mutation caught: the brackets of IPv6 go to the resolver, which knows no such host."""
    given = Settings(redis_sentinels="[::1]:1,::1:2,host:3,[fe80::1%eth0]:4", redis_service="crm")
    pool: Any = connect(given).connection_pool
    told = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in told] == [("::1", 1), ("::1", 2), ("host", 3), ("fe80::1%eth0", 4)]


@pytest.mark.parametrize("url", ["redis://user:hunter@host:6379/0", "rediss://host?ssl_password=hunter"])
def test_sentinels_that_are_away(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Mutation caught: redis-py's own text, which quotes a client for each of them."""
    for name, value in {"SENTINELS": "127.0.0.1:1,[::1]:1", "SERVICE": "a : b", "URL": url}.items():
        monkeypatch.setenv(f"CRM_REDIS_{name}", value)
    said = "none of them answers and names a primary of CRM_REDIS_SERVICE='a : b'"
    assert refused() == f"streams: CRM_REDIS_SENTINELS: {said}"


def test_a_secret_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the line's end, and before the variable."""
    (tmp_path / "url").write_text("rediss://user:hunter2@redis:6380/1\n")
    monkeypatch.setenv("CRM_REDIS_URL", "redis://elsewhere:6379/0")
    monkeypatch.setenv("CRM_REDIS_URL_FILE", str(tmp_path / "url"))
    assert settings.load().redis_url == "rediss://user:hunter2@redis:6380/1"


def test_a_file_for_any_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "grace").write_text("7")
    monkeypatch.setenv("CRM_GRACE_FILE", str(tmp_path / "grace"))
    assert settings.load().grace == 7
    (tmp_path / "grace").write_text("seven")
    with pytest.raises(SettingsError, match="CRM_GRACE='seven': Input should be a valid integer"):
        settings.load()


def test_a_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CRM_REDIS_URL_FILE", str(tmp_path / "none"))
    assert refused() == f"streams: CRM_REDIS_URL_FILE: No such file or directory: {tmp_path / 'none'}"
    (tmp_path / "none").write_bytes(b"redis://\xff")
    assert refused() == f"streams: CRM_REDIS_URL_FILE: not UTF-8 text: {tmp_path / 'none'}"
    (tmp_path / "none").write_text("\n")
    assert refused().startswith("streams: CRM_REDIS_URL: say redis://")


@pytest.mark.parametrize(
    "command", [["init"], ["worker"], ["show", "c1"], ["publish", "."], ["verify", "--history", str(KEPT[0] / "fit")]]
)
def test_every_command_says_so(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("CRM_GRACE", "x")
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0].startswith("streams: CRM_GRACE='x'")


def test_a_process_of_its_own() -> None:
    """No trace and no warning from anything that is imported."""
    env = os.environ | {"CRM_CHUNK": "0", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-m", "streams", "worker"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    said = "streams: CRM_CHUNK='0': Input should be greater than or equal to 1\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


# ---- docs/settings.md ------------------------------------------------------------------------------------------------


def allowed(name: str) -> str:
    """What the document says of a setting's values."""
    field = Settings.model_fields[name]
    low, high = (next((getattr(m, kind) for m in field.metadata if hasattr(m, kind)), None) for kind in ("ge", "le"))
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    if field.annotation is bool:
        return "true, false"
    if field.annotation is str:
        return "text"
    return f"{low:,} to {high:,}"


def default(name: str) -> object:
    found = Settings.model_fields[name].get_default(call_default_factory=True, validated_data={"prefix": "crm"})
    return "unset" if found is None else found


def test_the_document_holds_every_setting_and_no_other() -> None:
    rows = re.findall(r"^\| `.*$", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE)
    assert rows == [
        f"| `{PREFIX}{name.upper()}` | `{default(name)}` | {allowed(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
