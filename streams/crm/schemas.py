"""What the API takes and answers, as OpenAPI says it.

The rule: a record stands here once. Requests are decoded by it, answers that are laid out in another way are held to it
(tests/test_api_schemas.py), and its JSON Schema is what /openapi.json shows.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from models.truth import Truth
from streams.crm.feed import Change
from streams.crm.problems import ProblemDetails
from streams.versions import Known

MOST_IDS = 1_000  # in a batch
ID_BYTES = 128
LISTED = 1_000  # members of a page at most
EVENTS = 1_000  # sent at once


Money = Annotated[float, Meta(description="major unit, 2 decimals")]
Later = Meta(description="null: not written yet, by workers that were upgraded a moment ago")
Time = Annotated[str, Meta(min_length=1, description="ISO 8601, UTC", extra_json_schema={"format": "date-time"})]
Day = Annotated[str, Meta(min_length=1, extra_json_schema={"format": "date"})]
Reckoned = Annotated[Day, Meta(description="the day of the reckoning: the customer is looked at as of its begin")]
Text = Annotated[str, Meta(min_length=1)]
Id = Annotated[str, Meta(min_length=1, max_length=ID_BYTES, description="up to 128 bytes of UTF-8")]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
AsOf = Annotated[Time | None, Meta(description="what stood in the log then is in the scores; null: no worker yet")]
Lag = Annotated[
    Annotated[float, Meta(ge=0)] | None,
    Meta(description="seconds that the first record waits which is not; 0: none does; null: no worker says so now"),
]
Stale = Annotated[str | None, Meta(description="why the scores are not fresh, in words; null: they are")]


def ref(name: str) -> dict[str, str]:
    """Where a schema stands in OpenAPI."""
    return {"$ref": f"#/components/schemas/{name}"}


RECORD = [ref("Customer"), ref("Fields")]  # what a customer is answered by: all of it, or the fields asked for


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """The hash of a customer (docs/redis-contract.md): numbers are numbers, and what is empty there is null."""

    segment: Text
    segment_id: Annotated[int, Meta(ge=0)]
    previous_segment: str | None
    segment_since: Day
    cluster: int
    rfm: Annotated[str, Meta(pattern="^[1-5]-[1-5]-[1-5]$")]
    predicted_demand: Annotated[Money, Meta(ge=0)]
    predicted_demand_high: Annotated[Money, Meta(ge=0)]
    predicted_orders: Annotated[float, Meta(ge=0)]
    p_buy: Share
    customer_value: Annotated[Money, Meta(ge=0)]
    orders: Annotated[int, Meta(ge=1)]
    spend: Money
    average_order_value: Annotated[Money | None, Later]
    total_value: Annotated[Money | None, Later]
    first_purchase_at: Time
    last_purchase_at: Time
    last_event_at: Time
    mean_days_between_orders: float | None
    expected_next_order_at: Time | None
    next_offers: list[str]
    source: Text
    demand_horizon_days: Annotated[int, Meta(ge=1)]
    scored_at: Time
    model_version: Text
    schema: int


class Customer(Scores, frozen=True, kw_only=True):
    """A customer's scores, how fresh they are, and what they rest on."""

    customer_id: Id
    as_of: AsOf
    lag_seconds: Lag
    stale: Stale
    coverage: Annotated[
        Share | None,
        Meta(description="share of the bounds of the last 90 days that held, of all customers; null: none closed yet"),
    ]
    served: Annotated[
        Literal["learned", "baseline", "cold start"] | None,
        Meta(
            description="learned: by experts that learn; baseline: by the customers' own decayed rates; cold start: the"
            " model has learned no example yet; null: not known"
        ),
    ]


class Fields(msgspec.Struct, frozen=True):
    """Of a customer the fields that were asked for."""

    customer_id: Id


class BatchGet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """fields: all of them, unless some are named."""

    ids: Annotated[list[Id], Meta(min_length=1, max_length=MOST_IDS)]
    fields: Annotated[list[str], Meta(min_length=1)] | None = None


class Found(msgspec.Struct, frozen=True):
    """What became of one id. damaged: what Redis holds is not as the contract has it."""

    customer_id: Id
    status: Literal["found", "unknown", "erased", "damaged"]
    customer: dict[str, Any] | None


class Batch(msgspec.Struct, frozen=True):
    """In the order of the ids; missing: those that were not found."""

    customers: list[Found]
    missing: list[Id]


class Part(msgspec.Struct, frozen=True):
    """Of a demand: by whom and by what it is said (docs/models.md), what it adds, and the fact behind it in words."""

    expert: Literal["r90", "r30", "ridge", "cadence", "published"]
    input: Text
    amount: Money
    says: Text


class Why(msgspec.Struct, frozen=True):
    """predicted_demand: what is published, the sum of all parts; total: what the model that serves says of the customer
    now, the sum of all but `not_yet`; as_of: the midnight as of which it looks at the customer; words: the largest
    reasons, the largest first."""

    customer_id: Id
    predicted_demand: Annotated[Money, Meta(ge=0)]
    total: Annotated[Money, Meta(ge=0)]
    demand_horizon_days: Annotated[int, Meta(ge=1)]
    model_version: Text
    as_of: Reckoned
    words: Annotated[list[Text], Meta(min_length=1, max_length=3)]
    parts: list[Part]


class Segment(msgspec.Struct, frozen=True):
    """share: of all customers; the values: of its customers' `customer_value`, of each to within 1 %."""

    number: Count
    name: Text
    definition: str
    usual: str
    customers: Count
    share: Share | None
    customer_value_sum: Money
    customer_value_mean: Money | None


class Segments(msgspec.Struct, frozen=True):
    """counted_at: when all were counted; as_of, lag_seconds, stale: of then, of the partition furthest behind."""

    segments: list[Segment]
    customers: Count
    counted_at: Time
    as_of: AsOf
    lag_seconds: Lag
    stale: Stale


class Member(msgspec.Struct, frozen=True):
    """Of a segment. customer_value: to within 1 % of the customer's record."""

    customer_id: Id
    customer_value: Money


class Members(msgspec.Struct, frozen=True):
    """By value, the highest first. next: the cursor of the page behind this one, null behind the last one."""

    members: list[Member]
    next: str | None
    as_of: AsOf
    lag_seconds: Lag
    stale: Stale


class Changes(msgspec.Struct, frozen=True):
    """Entries of the feed (docs/redis-contract.md), those of a partition in their order. cursor: behind them; more:
    whether to ask again at once."""

    changes: list[Change]
    cursor: Text
    more: bool


class Serving(msgspec.Struct, frozen=True):
    """The model that serves. fit: the figures that its fit left, by name."""

    version: Text
    learned_through: Day
    horizon_days: Annotated[int, Meta(ge=1)]
    examples: Count
    served: Literal["learned", "baseline", "cold start"]
    fit: dict[str, dict[str, float]]


class Versions(msgspec.Struct, frozen=True):
    """Those that are kept, in the order of publish and day."""

    models: list[Known]


class Event(msgspec.Struct, frozen=True):
    """As docs/events.md has it; whatever else it holds is ignored. quantity, unit_price: of a purchase or return."""

    event_id: Id
    event_type: Literal["purchase", "return", "view", "cart"]
    customer_id: Id
    occurred_at: Annotated[Time | float, Meta(description="ISO 8601 with offset, or Unix seconds")]
    order_id: Id | None = None
    product_id: Id | None = None
    quantity: float | None = None
    unit_price: float | None = None


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """On one event. reason, detail: of a reject (docs/events.md); note: what workers will make of a good one."""

    verdict: Literal["sent", "rejected"]
    reason: str = ""
    detail: str = ""
    note: str = ""


class Judged(msgspec.Struct, frozen=True):
    """In the order of the events."""

    verdicts: list[Verdict]
    sent: Count
    rejected: Count


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["live", "ready"]


SHOWN = (
    BatchGet,
    Customer,
    Fields,
    Batch,
    Why,
    Segments,
    Members,
    Changes,
    Serving,
    Versions,
    Truth,
    Event,
    Judged,
    Alive,
    ProblemDetails,
)


def components() -> dict[str, Any]:
    """The JSON Schemas of all of them by name, as OpenAPI's components hold them."""
    _, found = msgspec.json.schema_components(SHOWN, ref_template="#/components/schemas/{name}")
    found["Found"]["properties"]["customer"] = {"anyOf": [*RECORD, {"type": "null"}]}
    return {name: _tidied(schema) for name, schema in found.items()}


def _tidied(schema: Any) -> Any:
    """Patterns as JSON Schema has them (its dialect knows no \\A and \\Z), descriptions in one line."""
    if isinstance(schema, list):
        return [_tidied(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: _tidied(each) for name, each in schema.items()}
    if isinstance(told.get("pattern"), str):
        told["pattern"] = told["pattern"].replace("\\A", "^").replace("\\Z", "$")
    if isinstance(told.get("description"), str):
        told["description"] = " ".join(told["description"].split())
    if told.get("items") is False:  # maxItems says it too, and makers of clients stop at a schema that is no object
        del told["items"]
    return told
