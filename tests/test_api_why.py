"""The reasons of a demand over HTTP."""

from datetime import date
from decimal import Decimal

import redis
from serving import customer, explained, furnish, serving

from streams.keys import Keys


def test_parts_add_up_in_the_answer(redis_url: str, store_prefix: str) -> None:
    """Amounts are numbers of two decimals. Who is not known is told as where the scores are asked for."""
    settings, keys = furnish(redis_url, store_prefix), Keys(store_prefix)
    with redis.Redis.from_url(redis_url) as store, serving(settings) as served:
        assert served.ask("/v1/customers/c-17/why").problem == (503, "damaged")
        customer(store, keys, "a/b", predicted_demand="17.03")
        explained(store, keys, "c-17", "a/b")
        found = served.ask("/v1/customers/a%2Fb/why")
        assert (found.status, found.json["customer_id"]) == (200, "a/b")
        assert b'"predicted_demand":17.03,' in found.body
        assert sum(Decimal(str(part["amount"])) for part in found.json["parts"]) == Decimal("17.03")
        assert served.ask("/v1/customers/nobody/why").problem == (404, "unknown-customer")
        told = served.ask("/openapi.json").json["components"]["schemas"]["Why"]["properties"]["as_of"]
        assert (told["format"], "day of the reckoning" in told["description"]) == ("date", True)
        assert date.fromisoformat(found.json["as_of"])
        assert served.in_use() == 0
