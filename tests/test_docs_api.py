"""docs/api.md beside the API: each curl line of it is answered, and each number and word is the program's."""

import re
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from serving import Served, customer, everything, explained, furnish, serving
from test_api_events import Noted

from streams.crm import access, customers, events, problems, schemas, shell
from streams.crm.access import SCOPES
from streams.keys import Keys
from streams.settings import Settings

DOCUMENT = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
CURLS = re.findall(r"^    (curl .*)$", DOCUMENT, re.MULTILINE)


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    url, prefix = request.getfixturevalue("valkey").url, f"api-{secrets.token_hex(4)}"
    settings = furnish(url, prefix)
    with redis.Redis.from_url(url) as store, serving(settings, everything(), events=Noted(settings)) as found:
        customer(store, Keys(prefix), "00042")
        explained(store, Keys(prefix), "00042")
        yield found


@pytest.mark.parametrize("curl", CURLS)
def test_every_line_of_it_is_answered(served: Served, curl: str) -> None:
    words = iter(shlex.split(curl)[1:])
    path, headers, body = "", {}, None
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name.replace("-", "_")] = value
        elif word == "-d":
            body = next(words).encode()
        else:
            path = word.removeprefix("http://127.0.0.1:8080")
    headers["Authorization"] = "Bearer all"
    answer = served.ask(path, "GET" if body is None else "POST", body, **headers)
    assert answer.status == 200, answer


def test_every_route_and_problem_is_told_of(served: Served) -> None:
    for path in served.app.openapi()["paths"]:
        assert re.search(
            re.sub(r"{\w+}", r"\\w+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}")), DOCUMENT
        ), path
    kinds: list[Any] = [each for each in vars(problems).values() if isinstance(each, problems.Kind)]
    table = DOCUMENT.partition("## Errors")[2]
    for status in {each.status for each in kinds}:
        row = next(line for line in table.splitlines() if re.match(rf"\| [\d, ]*{status}\b", line))
        assert all(f"`{each.name}`" in row for each in kinds if each.status == status), row
    for scope in SCOPES:
        assert f"| `{scope}` |" in DOCUMENT


def test_every_limit_is_the_programs() -> None:
    limits = " ".join(DOCUMENT.partition("## Limits")[2].split())
    assert limits == (
        "A token, or without tokens an address, may ask `CRM_API_RATE` times a second"
        f" ({Settings().api_rate:,g}), a wrong token {access.GUESSES:g} times; path and query have"
        f" {shell.LONGEST:,} bytes, headers {shell.HEADERS:,}, a batch {schemas.MOST_IDS:,} ids and a megabyte, events"
        f" {schemas.EVENTS:,} and four, and {shell.UNDER_WAY:,} requests may be under way."
        f" Who takes nothing of a long answer (export, CSV, feed) for {shell.PATIENCE:.0f} seconds is given up: it"
        " breaks off, and the place is free for others."
    )
    assert (customers.BODY, events.BODY) == (1 << 20, 4 << 20)
