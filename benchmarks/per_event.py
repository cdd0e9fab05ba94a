"""The yardstick: one event at a time, as Faust's user guide teaches it, with river's models and one HSET an event.

    python -m benchmarks.per_event worker   (CRM_KAFKA, CRM_REDIS_URL, CRM_EVENTS_TOPIC)

It keeps running features in a dict, and that is all it keeps: no duplicates, late events, labels over a horizon,
restart or exactly-once. So it does less than the product, and each thing it does it does in the quickest plain way.
"""

import math
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import faust
import redis.asyncio
from river import cluster, linear_model, preprocessing

PREFIX, DAY = "per_event", 86_400.0
app = faust.App(
    f"{PREFIX}-{os.environ['CRM_EVENTS_TOPIC']}",
    broker=f"kafka://{os.environ['CRM_KAFKA']}",
    topic_partitions=4,
    topic_disable_leader=True,
    topic_allow_declare=False,
    consumer_auto_offset_reset="earliest",
    autodiscover=False,
    web_enabled=False,
    datadir=os.environ.get("CRM_DATADIR"),
)
events = app.topic(os.environ["CRM_EVENTS_TOPIC"], key_type=bytes, key_serializer="raw", value_serializer="json")
store: Any = redis.asyncio.Redis.from_url(os.environ["CRM_REDIS_URL"])
scaler: Any = preprocessing.StandardScaler()
segments: Any = cluster.KMeans(n_clusters=5, halflife=0.005, seed=1)
demand: Any = linear_model.LinearRegression()


@dataclass(slots=True)
class Customer:
    """Running sums of one customer; times in Unix seconds."""

    first: float
    last: float
    purchases: int = 0
    spend: float = 0.0
    views: int = 0
    carts: int = 0

    def features(self) -> dict[str, float]:
        return {
            "tenure": (self.last - self.first) / DAY,
            "orders": math.log1p(self.purchases),
            "spend": math.log1p(max(0.0, self.spend)),
            "views": math.log1p(self.views),
            "carts": math.log1p(self.carts),
        }

    def update(self, kind: str, amount: float, at: float) -> None:
        self.last = max(self.last, at)
        if kind == "view":
            self.views += 1
        elif kind == "cart":
            self.carts += 1
        else:
            self.purchases += kind == "purchase"
            self.spend += amount


customers: dict[str, Customer] = {}
seen = 0


def score(event: dict[str, Any]) -> dict[str, Any]:
    """Learns from the event, then predicts for its customer."""
    name, kind, when = event["customer_id"], event["event_type"], event["occurred_at"]
    at = datetime.fromisoformat(when).timestamp()
    amount = event.get("quantity", 0) * event.get("unit_price", 0.0) * (-1 if kind == "return" else 1)
    customer = customers.get(name)
    if customer is None:
        customer = customers[name] = Customer(at, at)
    customer.update(kind, amount, at)
    x = customer.features()
    scaler.learn_one(x)
    z = scaler.transform_one(x)
    segments.learn_one(z)
    demand.learn_one(z, amount)
    return {
        "cluster": segments.predict_one(z),
        "predicted_demand": f"{max(0.0, demand.predict_one(z)):.2f}",
        "orders": customer.purchases,
        "spend": f"{customer.spend:.2f}",
        "last_event_at": when,
    }


@app.agent(events)  # type: ignore[untyped-decorator]
async def agent(stream: Any) -> None:
    """The loop of the guide."""
    global seen
    async for event in stream:
        await store.hset(f"{PREFIX}:customer:{event['customer_id']}", mapping=score(event))
        seen += 1


@app.timer(0.5)  # type: ignore[untyped-decorator]
async def tell() -> None:
    """How far it is, for whoever measures it."""
    await store.set(f"{PREFIX}:seen", seen)


if __name__ == "__main__":
    app.main()
