"""/openapi.json: a valid document, what the code says, and what holds when somebody tries at random what it allows."""

import secrets
from collections.abc import Iterator
from typing import Any

import hypothesis
import hypothesis.strategies as st
import msgspec
import openapi_spec_validator
import pytest
import redis
import schemathesis
from hypothesis import Phase
from jsonschema import Draft202012Validator
from schemathesis import checks
from serving import Served, customer, everything, explained, furnish, serving
from test_api_events import Noted

from streams.crm import schemas
from streams.crm.changes import WAIT
from streams.keys import Keys

EXAMPLES = 25  # of each operation
ALL = {"Authorization": "Bearer all"}
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    url, prefix = request.getfixturevalue("valkey").url, f"api-{secrets.token_hex(4)}"
    settings = furnish(url, prefix)
    with redis.Redis.from_url(url) as store, serving(settings, everything(), events=Noted(settings)) as found:
        for name in (known := ("0", "1", "00", "a/b")):
            customer(store, Keys(prefix), name)
        explained(store, Keys(prefix), *known)
        yield found


def test_the_document_is_valid_and_whole(served: Served) -> None:
    document = served.ask("/openapi.json").json
    assert document == served.app.openapi()
    assert document["openapi"].startswith("3.1")
    openapi_spec_validator.validate(document)
    operations = [said for each in document["paths"].values() for said in each.values()]
    assert len({said["operationId"] for said in operations}) == len(operations)
    assert all(said["summary"] and said["responses"]["default"] for said in operations)
    assert set(document["components"]["schemas"]) == set(schemas.components())
    text = str(document)
    assert [name for name in document["components"]["schemas"] if f"/schemas/{name}'" not in text] == []


class Pair(msgspec.Struct):
    """What has tuples, also within others."""

    place: tuple[int, int]
    spans: dict[str, list[tuple[str, float, bool]]]


def test_every_schema_is_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makers of clients (openapi-python-client) stop at `"items": false`, which msgspec says of a tuple; how many there
    are is said all the same. Mutations caught: it stays; it is taken out of what is not deep."""
    monkeypatch.setattr(schemas, "SHOWN", (*schemas.SHOWN, Pair))
    found = schemas.components()
    assert [name for name, schema in found.items() if "'items': False" in str(schema)] == []
    fields = found["Pair"]["properties"]
    spans = fields["spans"]["additionalProperties"]["items"]
    for schema, good in ((fields["place"], [1, 2]), (spans, ["a", 0.5, True])):
        assert Draft202012Validator(schema).is_valid(good)
        assert not any(Draft202012Validator(schema).is_valid(bad) for bad in (good[:-1], [*good, 1], [None, *good[1:]]))


NAMED = {"customer_id": "0", "number": "2"}  # what stands in a path


def test_no_parameter_is_passed_over(served: Served) -> None:
    """Of any route that asks for a token; probes take what watchers add. Mutations caught: a name alone is looked at,
    and the first of two values passed over; routes that read the request by themselves."""
    for path, operations in served.app.openapi()["paths"].items():
        for method, said in operations.items():
            asked = [each["name"] for each in said.get("parameters", []) if each["in"] == "query"]
            wrong = ["unheard=1", *(f"{name}=1&{name}=1" for name in asked), *(f"{name.upper()}=1" for name in asked)]
            for query in wrong if said["security"] else []:
                answer = served.ask(f"{path.format(**NAMED)}?{query}", method.upper(), b"", "all")
                assert answer.problem == (422, "wrong-request")
                assert answer.json["detail"].endswith(", ".join(asked) or "there is none here")
    cursor = served.ask("/v1/changes", token="all").json["cursor"]
    for path in (f"/v1/changes?cursor={cursor}", "/v1/segments/2/customers?after=x", "/v1/customers/0?field=segment"):
        assert served.ask(path, token="all").problem == (422, "wrong-request")
    assert served.ask("/metrics?name=x").status == served.ask("/health/ready?at=1").status == 200


@pytest.mark.long
def test_whatever_is_sent_is_answered_as_it_says(served: Served) -> None:
    """What its schema allows, and what it does not: no 500, and no answer that it does not describe."""
    schema: Any = schemathesis.openapi.from_dict(served.ask("/openapi.json").json)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 4
    for operation in operations:
        both = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]

        @hypothesis.settings(max_examples=EXAMPLES, database=None, derandomize=True, phases=[Phase.generate])
        @hypothesis.given(case=st.one_of(both))
        def tried(case: Any) -> None:
            query = case.query if isinstance(case.query, dict) else {}
            case.query |= {"wait": "0"} if str(query.get("wait")) in map(str, range(WAIT + 1)) else {}
            case.call_and_validate(base_url=f"http://127.0.0.1:{served.port}", headers=ALL, checks=CHECKS)

        tried()
