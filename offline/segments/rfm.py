"""A history as a table of customers: recency, frequency, money and browsing, from the same fold as the stream's."""

import numpy as np
import pandas as pd

from models.features import UNIT
from offline.history.fold import Folded
from offline.segments.table import CustomerTable


def table(folded: Folded) -> CustomerTable:
    """RFM and browsing of everybody who ever bought, at the cut-off: the decayed sums that the models see.

    recency_days since the last purchase; orders; spend, net of returns but at least 0, in major units; views and carts
    that halve every 7 days.
    """
    raw = folded.raw
    columns = {
        "recency_days": raw["recency"],
        "orders": raw["orders"],
        "spend": np.maximum(raw["spend"], 0) / UNIT,
        "views": raw["v7"],
        "carts": raw["c7"],
    }
    texts = {name: list(map(str, values.tolist())) for name, values in columns.items()}
    frame = pd.DataFrame({"customer_id": folded.table.names} | texts, dtype="str")
    return CustomerTable(frame, "customer_id", where="the history")
