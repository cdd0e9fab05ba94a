"""docs/redis-contract.md beside the code, and the record that a CRM reads byte by byte."""

import re
from pathlib import Path

import numpy as np

from models import scores
from models.customers import DAY, ROW
from models.model import Predictions
from streams.store import Keys

DOCUMENT = (Path(__file__).parent.parent / "docs" / "redis-contract.md").read_text()


def test_the_document_names_every_field_in_order() -> None:
    section = DOCUMENT.split("## ")[1]
    assert tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == scores.FIELDS


def test_the_document_names_every_key() -> None:
    keys = Keys("crm")
    named = [
        keys.customer("<customer_id>"),
        keys.meta,
        keys.model,
        keys.versions,
        keys.pinned,
        keys.version("<version>"),
    ]
    for key in named:
        assert f"`{key}`" in DOCUMENT
    for kind in ("state", "guard", "rejected", "erased", "changes"):
        key = getattr(keys, kind)(7)
        assert key == f"crm:{kind}:7"
        assert f"`crm:{kind}:<p" in DOCUMENT
    assert (keys.training(7, 19_700), keys.segment(2, 7)) == ("crm:training:7:19700", "crm:segment:2:7")


def test_a_record_byte_by_byte() -> None:
    rows = np.zeros(2, ROW)
    rows["first"], rows["last"] = 19_700 * DAY, (19_720 * DAY, 19_700 * DAY)
    rows["at"], rows["orders"], rows["seen"] = 19_721 * DAY + 1_999_999, (3, 1), (43, 0)
    rows["spend"] = (1_234_550, -150)
    predicted = Predictions(
        np.array([2, 0]), np.array([10.25, 0.0]), np.array([55.5, 0.0]), np.array([0.75, 0.0]), np.array([0.5, 0.0])
    )
    first, second = scores.texts(rows, predicted, {0: "Lost", 2: "Loyal"}, 30, 19_730, "crm.events:1")
    named = dict(zip(scores.FIELDS, first, strict=False))
    assert named == {
        "cluster": "2",
        "segment": "Loyal",
        "predicted_demand": "10.25",
        "predicted_demand_high": "55.50",
        "predicted_orders": "0.750",
        "p_buy": "0.5000",
        "customer_value": "124.71",
        "orders": "3",
        "spend": "123.46",
        "first_purchase_at": "2023-12-09T00:00:00Z",
        "last_purchase_at": "2023-12-29T00:00:00Z",
        "last_event_at": "2023-12-30T00:00:01Z",
        "mean_days_between_orders": "10.0",
        "expected_next_order_at": "2024-02-20T06:44:25Z",
        "source": "crm.events:1:42",
    }
    assert second == (
        *("0", "Lost", "0.00", "0.00", "0.000", "0.0000", "0.00", "1", "-0.02"),
        *("2023-12-09T00:00:00Z", "2023-12-09T00:00:00Z", "2023-12-30T00:00:01Z", "", "", "history"),
    )
