"""What the demo reads back from Redis: segments, and some customers.

`store` is a redis.Redis that answers in bytes; its type hints are unions that no caller can narrow, hence Any.
"""

from typing import Any

import pandas as pd

from streams.keys import Keys

KEYS = Keys()


def customers(store: Any) -> pd.DataFrame:
    """Every customer's hash, as a CRM reads it."""
    keys = sorted(store.scan_iter(KEYS.of_kind("customer"), count=5000))
    pipe = store.pipeline(transaction=False)
    for key in keys:
        pipe.hgetall(key)
    rows = [{k.decode(): v.decode() for k, v in row.items()} for row in pipe.execute()]
    return pd.DataFrame(rows, index=[key.decode().rsplit(":", 1)[1] for key in keys])


def segments(everybody: pd.DataFrame) -> pd.DataFrame:
    """Per segment: how many customers, their mean demand, the value of its top customer."""
    numbers = everybody[["predicted_demand", "customer_value"]].astype(float).assign(segment=everybody["segment"])
    by_segment = numbers.groupby("segment")
    return pd.DataFrame(
        {
            "customers": by_segment.size(),
            "mean demand": by_segment["predicted_demand"].mean().round(2),
            "value of the top customer": by_segment["customer_value"].max(),
        }
    ).sort_values("mean demand", ascending=False)
