"""Who may ask the API for what: tokens, scopes, limits; the machine alone where there are no tokens."""

import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi import Request
from serving import Served, furnish, serving

from demo import services
from streams.__main__ import main
from streams.crm import access
from streams.crm.access import GUESSES, SCOPES, Access, AccessError
from streams.crm.problems import Problem
from streams.settings import Settings

OPEN = {"/health/live", "/health/ready", "/metrics"}


@pytest.fixture(scope="module")
def deployment(request: pytest.FixtureRequest) -> Settings:
    server: services.Valkey = request.getfixturevalue("valkey")
    return furnish(server.url, f"api-{secrets.token_hex(4)}")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A token of each scope, and where the file of them is."""
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    return {"file": str(file)} | {scope: access.new(file, f"of-{scope}", scope) for scope in SCOPES}


@pytest.fixture(scope="module")
def guarded(deployment: Settings, tokens: dict[str, str]) -> Iterator[Served]:
    with serving(deployment, Access(access.read(Path(tokens["file"])))) as served:
        yield served


def paths(served: Served) -> Iterator[tuple[str, str, list[str]]]:
    """(method, path, scopes) of every route that OpenAPI names."""
    for path, operations in served.app.openapi()["paths"].items():
        for method, said in operations.items():
            scopes = [scope for each in said["security"] for scope in each["bearer"]]
            yield method.upper(), re.sub(r"{\w+}", "1", path), scopes


def test_every_route_asks_for_the_scope_that_it_names(guarded: Served, tokens: dict[str, str]) -> None:
    """But for those that tell of nobody. Mutations caught: a route without a scope; one that asks for another's."""
    found = list(paths(guarded))
    assert {path for _, path, scopes in found if not scopes} == OPEN
    for method, path, scopes in found:
        if not scopes:
            continue
        assert guarded.ask(path, method).problem == (401, "no-token")
        for scope in SCOPES:
            answer = guarded.ask(path, method, token=tokens[scope])
            assert (answer.status == 403) == ([scope] != scopes), (path, scope, answer)


def test_every_route_is_described(guarded: Served) -> None:
    """All that the app answers to, but for the document itself."""
    there = {route.path for route in guarded.app.routes}  # type: ignore[attr-defined]  # of what FastAPI holds
    assert there == {*guarded.app.openapi()["paths"], "/openapi.json"}


def test_what_is_no_token_is_told_so(guarded: Served, tokens: dict[str, str]) -> None:
    bare = guarded.ask("/v1/customers/c-17")
    assert bare.headers["www-authenticate"] == 'Bearer realm="crm"'
    for wrong in ("x", tokens["read"][:-1], "ü", f"{tokens['read']} x", "' or 1=1"):
        answer = guarded.ask("/v1/customers/c-17", Authorization=f"Bearer {wrong}")
        assert answer.problem == (401, "no-token")
        assert answer.headers["www-authenticate"] == 'Bearer realm="crm", error="invalid_token"'
    assert guarded.ask("/v1/customers/c-17", Authorization=f"Basic {tokens['read']}").status == 401
    assert guarded.ask("/v1/customers/c-17", Authorization=f"bearer  {tokens['read']}").status == 200
    refused = guarded.ask("/v1/customers/c-17", token=tokens["admin"])
    assert refused.problem == (403, "not-allowed")
    assert 'scope="read"' in refused.headers["www-authenticate"]
    assert guarded.ask("/v1/customers/c-17", token=tokens["read"], Host="crm.example").status == 200


def test_guessing_is_slow(deployment: Settings, tokens: dict[str, str]) -> None:
    with serving(deployment, Access(access.read(Path(tokens["file"])))) as served:
        found = [served.ask("/v1/customers/c-17", token="guess").status for _ in range(3 * int(GUESSES))]
        assert found[: int(GUESSES)] == [401] * int(GUESSES)
        assert 429 in found
        assert served.ask("/v1/customers/c-17", token=tokens["read"]).status == 200, "who knows one is let through"


def test_without_tokens_each_address_has_a_rate_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation caught: one rate for all who have no name."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    guard, sent = Access(None, rate=2.0), {"type": "http", "headers": [(b"host", b"localhost")]}
    for host in ("127.0.0.1", "::1"):
        asked = Request(sent | {"client": (host, 1)})
        for _ in range(2):
            guard.admit(asked, ["read"])
        with pytest.raises(Problem, match="2 a second are let through"):
            guard.admit(asked, ["read"])


def guess(guard: Access, host: str) -> tuple[int, str]:
    """The status of a wrong token that comes from there, and after how many seconds to ask again."""
    sent = {"type": "http", "headers": [(b"authorization", b"Bearer guess")], "client": (host, 1)}
    with pytest.raises(Problem) as refused:
        guard.admit(Request(sent), [])
    return refused.value.kind.status, refused.value.headers.get("Retry-After", "")


def test_of_more_addresses_than_are_remembered_the_longest_unheard_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutations caught: nobody goes; the newest goes, or the first that came; more than 10 guesses; again after 0 s."""
    monkeypatch.setattr(access, "ADDRESSES", 3)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    guard = Access({})
    assert [guess(guard, "a") for _ in range(11)] == [(401, "")] * 10 + [(429, "1")]
    assert [guess(guard, host) for host in "bcad"] == [(401, ""), (401, ""), (429, "1"), (401, "")]
    assert [guess(guard, "d") for _ in range(10)] == [(401, "")] * 9 + [(429, "1")]
    assert [guess(guard, host) for host in "ac"] == [(429, "1"), (401, "")]
    assert {who for _, who in guard._buckets} == {"a", "c", "d"}


def test_each_token_has_a_rate_of_its_own(deployment: Settings, tokens: dict[str, str]) -> None:
    with serving(deployment, Access(access.read(Path(tokens["file"])), rate=0.1)) as served:
        assert served.ask("/v1/customers/c-17", token=tokens["read"]).status == 200
        again = served.ask("/v1/customers/c-17", token=tokens["read"])
        assert again.problem == (429, "too-many-requests")
        assert 1 <= int(again.headers["retry-after"]) <= 10
        assert served.ask("/v1/customers/c-17", token=tokens["admin"]).status == 403, "another's is not spent"
        assert served.ask("/health/live").status == 200
    with serving(deployment, Access(None, rate=0.1)) as served:
        assert [served.ask("/v1/customers/c-17").status for _ in range(2)] == [200, 429]


def test_without_tokens_this_machine_may_read_and_nobody_else(deployment: Settings) -> None:
    """A page of another site may have its own name lead to 127.0.0.1: its requests name that host."""
    with serving(deployment) as served:
        for method, path, scopes in paths(served):
            assert (served.ask(path, method).status == 403) == (scopes == ["admin"])
        for name in ("127.0.0.1:8080", "localhost", "[::1]:8080", "LOCALHOST:80"):
            assert served.ask("/v1/customers/c-17", Host=name).status == 200
        for name in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "10.0.0.1", "[::2]"):
            assert served.ask("/v1/customers/c-17", Host=name).problem == (421, "wrong-host")


# ---- the file of tokens ----------------------------------------------------------------------------------------------
def test_a_token_is_made_once_and_stands_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "tokens"

    def make(*more: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["api", "--tokens", str(file), "--new-token", *more])
        assert done.exit_code == code, done.output
        return done.output.strip()

    first, second = make("crm", "--scopes", "lists,read"), make("ops", "--scopes", "admin")
    assert first != second
    assert min(map(len, (first, second))) >= 43
    assert first not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"crm read,lists [0-9a-f]{64}\nops admin [0-9a-f]{64}\n", file.read_text())
    assert {each.name: each.scopes for each in access.read(file).values()} == {
        "crm": {"read", "lists"},
        "ops": {"admin"},
    }
    assert make("crm", code=2) == (
        f"streams: CRM_API_TOKENS={file} has a token of the name crm: take another, or remove its line"
    )
    for name in ("two words", "#crm", "crm#2"):  # a line that begins with # is passed over
        assert "a name of a token is one word" in make(name, code=2)
    assert (
        make("x", "--scopes", "all", code=2)
        == "streams: scopes are of read, lists, admin, with commas between, not 'all'"
    )
    done = CliRunner().invoke(main, ["api", "--new-token", "crm"])
    assert (done.exit_code, done.output) == (
        2,
        "streams: --new-token: say --tokens FILE, the file that it is added to\n",
    )


def test_a_token_is_added_to_a_file_as_it_stands(tmp_path: Path) -> None:
    """Others may have to read it, and its last line may lack its end. Mutations caught: a mode that is set each time;
    two lines glued together."""
    file = tmp_path / "tokens"
    access.new(file, "crm", "read")
    file.chmod(0o644)
    for ended in (file.read_text().rstrip("\n"), ""):
        file.write_text(ended)
        names = {caller.name for caller in access.read(file).values()}
        access.new(file, "events", "admin")
        assert {caller.name for caller in access.read(file).values()} == names | {"events"}
        assert file.stat().st_mode & 0o777 == 0o644
        assert not file.read_text().startswith("\n")


@pytest.mark.parametrize("path", ["none/tokens", "file/tokens", "link"])
def test_a_token_for_a_file_that_cannot_be_written_is_a_line(tmp_path: Path, path: str) -> None:
    """In a directory that is not there, or is none, and behind a link that leads to none."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "none" / "tokens")
    done = CliRunner().invoke(main, ["api", "--tokens", str(tmp_path / path), "--new-token", "crm"])
    assert done.exit_code == 2
    said = re.fullmatch(r"streams: CRM_API_TOKENS=(\S+): cannot be written: (No such file|Not a dir).*\n", done.output)
    assert said is not None
    assert said[1] == str(tmp_path / path)


@pytest.mark.parametrize("line", ["crm read", "crm all 00", "crm read zz", f"crm read {'0' * 62}", f"crm {'0' * 64}"])
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the shop\n\n{line}\n")
    with pytest.raises(AccessError, match=rf"^CRM_API_TOKENS={file}, line 3: say NAME SCOPE,SCOPE SHA-256"):
        access.read(file)


def test_beyond_this_machine_tokens_are_needed(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "crm.example"):
        done = CliRunner().invoke(main, ["api", "--host", host])
        line = f"streams: --host {host} is reached from other machines: give --tokens FILE (or CRM_API_TOKENS)\n"
        assert (done.exit_code, done.output) == (2, line)
    done = CliRunner(env={"CRM_API_TOKENS_FILE": str(tmp_path / "none")}).invoke(main, ["api", "--host", "0.0.0.0"])
    assert (done.exit_code, done.output) == (
        2,
        f"streams: CRM_API_TOKENS={tmp_path / 'none'}: cannot be read: No such file or directory\n",
    )
