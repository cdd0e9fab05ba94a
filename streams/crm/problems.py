"""What the API answers where it cannot do what it was asked: problem details (RFC 9457), one kind each.

The rule: a detail says what is wrong and what to do, in a line; nothing of the program's inside, no trace, leaves it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from streams import answers
from streams.crm.records import ContractError
from streams.refusal import Refusal

MEDIA = "application/problem+json"
LOG = logging.getLogger("streams.api")
SEE = {"number": ": see /v1/segments"}  # where the values of a parameter are listed


@dataclass(frozen=True)
class Kind:
    """Of problem: the last word of its `type`, its status, its title."""

    name: str
    status: int
    title: str

    @property
    def urn(self) -> str:
        return f"urn:problem:crm:{self.name}"


WRONG_REQUEST = Kind("wrong-request", 422, "The request is not as the API takes it")
NO_TOKEN = Kind("no-token", 401, "A bearer token is needed")
NOT_ALLOWED = Kind("not-allowed", 403, "The token does not allow this")
WRONG_HOST = Kind("wrong-host", 421, "This is no name of this machine")
UNKNOWN_CUSTOMER = Kind("unknown-customer", 404, "No such customer is known")
ERASED_CUSTOMER = Kind("erased-customer", 404, "The customer was erased")
GONE = Kind("gone", 410, "What came behind the cursor is gone")
UNKNOWN_SEGMENT = Kind("unknown-segment", 404, "There is no such segment")
NO_ROUTE = Kind("no-route", 404, "There is nothing under this path")
WRONG_METHOD = Kind("wrong-method", 405, "The path does not take this method")
TOO_LARGE = Kind("too-large", 413, "The body is too large")
TOO_LONG = Kind("too-long", 414, "The path is too long")
TOO_MUCH_SAID = Kind("headers-too-large", 431, "The headers are too large")
TOO_MANY = Kind("too-many-requests", 429, "Too many requests")
FAULT = Kind("fault", 500, "A fault of the program")
REDIS_AWAY = Kind("redis-away", 503, "Redis does not answer")
KAFKA_AWAY = Kind("kafka-away", 503, "Kafka does not answer")
NOT_READY = Kind("not-ready", 503, "There is nothing to serve yet")
DAMAGED = Kind("damaged", 503, "What Redis holds is not as the contract has it")
ENDING = Kind("ending", 503, "The API ends")
OVERLOADED = Kind("overloaded", 503, "Too many requests are under way")


class Problem(Exception):
    """Ends a request. detail: what is wrong and what to do, one line; headers: more of the answer's."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail
        again = {"Retry-After": "1"} if kind.status == 503 else {}
        self.headers = again | dict(headers or {})


class ProblemDetails(msgspec.Struct, frozen=True, rename={"kind": "type"}):
    """The body of a problem."""

    kind: str
    title: str
    status: int
    detail: str
    request_id: str


def response(problem: Problem, request_id: str) -> Response:
    """The problem as an answer."""
    kind = problem.kind
    said = ProblemDetails(kind.urn, kind.title, kind.status, problem.detail, request_id)
    return Response(msgspec.json.encode(said), kind.status, problem.headers, MEDIA)


def of(error: Exception, request_id: str = "") -> Problem:
    """What whoever asked is told of an error; the log has the trace of a fault."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return Problem(WRONG_REQUEST, "; ".join(_wrong(each) for each in error.errors()))
        case HTTPException(status_code=404):
            return Problem(NO_ROUTE, "see /openapi.json; in an id write %2F for /")
        case HTTPException(status_code=405):
            return Problem(WRONG_METHOD, "see /openapi.json", error.headers)
        case RedisError() | OSError():
            waits = answers.waits(error)
            return Problem(REDIS_AWAY, waits or (answers.ends(error) if isinstance(error, RedisError) else str(error)))
        case ContractError():
            return Problem(DAMAGED, str(error))
        case Refusal():
            return Problem(NOT_READY, str(error))
    LOG.error("fault%s", f" in request {request_id}" if request_id else "", exc_info=error)
    return Problem(FAULT, "it was written to the program's log under this request_id")


def _wrong(error: Mapping[str, object]) -> str:
    """Of a parameter that FastAPI refuses: its name and why, without what was given."""
    place = error["loc"]
    name = place[-1] if isinstance(place, tuple | list) else place
    return f"{name}: {error['msg']}{SEE.get(str(name), '')}"
