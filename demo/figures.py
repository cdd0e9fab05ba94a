"""What the demo reads back from Redis: segments, some customers, and the live predictions beside the baselines.

`store` is a redis.Redis that answers in bytes; its type hints are unions that no caller can narrow, hence Any.
"""

from typing import Any

import numpy as np
import pandas as pd

from models import artefact
from models.features import INPUTS, UNIT, inputs_many
from models.rows import load_examples
from offline.demand.metrics import compare
from streams.keys import Keys

KEYS = Keys()
SHOWN = ("mae", "deviance", "ngini", "bias")


def judged(store: Any, cut_off: int) -> Any:
    """The closed examples whose prediction was served live."""
    days = [
        key for key in store.scan_iter(KEYS.of_kind("training"), count=1000) if int(key.rsplit(b":", 1)[1]) > cut_off
    ]
    entries = load_examples([packed for key in days for packed in store.hvals(key)])
    return entries[(entries["open"] == 1) & (entries["open_version"] > 0)]


def live_error(store: Any, version: str, cut_off: int) -> pd.DataFrame:
    """Figures of the served demand and of the baselines on the same examples."""
    entries, model = judged(store, cut_off), artefact.decode(store.get(KEYS.version(version)) or b"").restored()
    x = inputs_many(entries["then"], model.horizon, model.usual)
    predictions = {
        "served": entries["open_demand"].astype(np.float64),
        "own_rate": x[:, INPUTS.index("own")],
        "decayed_rate": x[:, INPUTS.index("r90")],
    }
    return compare(entries["label"] / UNIT, predictions, model.floor)


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
