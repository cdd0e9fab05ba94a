"""What a CRM reads, as records with types: customers, segments, members of a segment.

The rule: every field is that of the contract (docs/redis-contract.md), by its name; what a later version of the program
adds to a hash is passed over, and the fields that came last are None where they are not written yet.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Self

import msgspec

from streams.freshness import Freshness


@dataclass(frozen=True, kw_only=True)
class Customer:
    """A customer's scores. Money is in major units; what the contract leaves empty is None.

    as_of, lag_seconds: how fresh the scores are (`crm:freshness`), None before the first worker, lag_seconds also while
    no worker holds the partition; stale: why they are not fresh, in words, None where they are.
    """

    customer_id: str
    segment: str
    segment_id: int
    previous_segment: str | None
    segment_since: date
    cluster: int
    rfm: str
    predicted_demand: Decimal
    predicted_demand_high: Decimal
    predicted_orders: float
    p_buy: float
    customer_value: Decimal
    orders: int
    spend: Decimal
    average_order_value: Decimal | None = None
    total_value: Decimal | None = None
    first_purchase_at: datetime
    last_purchase_at: datetime
    last_event_at: datetime
    mean_days_between_orders: float | None
    expected_next_order_at: datetime | None
    next_offers: list[str]
    source: str
    demand_horizon_days: int
    scored_at: datetime
    model_version: str
    schema: int
    as_of: datetime | None
    lag_seconds: float | None
    stale: str | None

    @classmethod
    def read(
        cls, customer_id: str, fields: Mapping[str, str], fresh: Freshness | None, lag: float | None, why: str | None
    ) -> Self:
        """From the fields of a hash; lag: seconds, if that is known. Raises ContractError for what is none of ours."""
        told: dict[str, Any] = {name: text or None for name, text in fields.items()}
        told |= {"customer_id": customer_id, "stale": why, "as_of": None, "lag_seconds": lag}
        if fresh is not None:
            told["as_of"] = datetime.fromtimestamp(fresh.as_of, UTC)
        try:
            told["next_offers"] = json.loads(fields["next_offers"])
            return msgspec.convert(told, cls, strict=False)
        except (KeyError, ValueError) as error:  # msgspec's are ValueErrors
            raise ContractError(f"customer {customer_id!r}: not a hash of this contract: {error}") from None


@dataclass(frozen=True)
class Segment:
    """number, name, definition and usual as `crm:segments` has them; customers: how many stand in it now."""

    number: int
    name: str
    definition: str
    usual: str
    customers: int


@dataclass(frozen=True)
class Member:
    """A customer of a segment. value: `customer_value` to within 1 % of the customer's record, major units."""

    customer_id: str
    value: float


@dataclass(frozen=True)
class Page:
    """Some members of a segment by value, the highest first. after: of the next page, None behind the last one."""

    members: list[Member]
    after: Member | None


class ContractError(ValueError):
    """Redis holds what is not of this contract; the line says what."""
