"""Customers sent through Kafka by hand get scores that each of them would call fair."""

import random
from datetime import datetime
from pathlib import Path
from typing import Any

import jobs
import numpy as np
import pytest
from confluent_kafka import Producer
from running import Running, purchase, running, until
from shops import T0

from demo import services
from models.events import encode_tick
from models.rows import DAY

BEFORE, LIVE = 300, 125  # days of history, and of the stream behind it
END = T0 + LIVE

Bought = tuple[int, str, str]  # day, customer, price


def shop(seed: int = 7) -> list[Bought]:
    """90 who buy for about 20 every 25 days or so and leave in time, and 30 who pay 12 every 30 days."""
    rng, rows = random.Random(seed), []
    for n in range(90):
        day, leaves = T0 - BEFORE + rng.randrange(200), T0 - BEFORE + 100 + rng.expovariate(1 / 400)
        while day < min(END, leaves):
            rows.append((day, f"shopper{n}", f"{rng.lognormvariate(3, 0.4):.2f}"))
            day += 1 + int(rng.expovariate(1 / 25))
    for n in range(30):
        rows += [(day, f"payer{n}", "12.00") for day in range(T0 - BEFORE + 3 * n, END, 30)]
    return sorted(rows)


BY_HAND = [
    *((day, "monthly", "12.00") for day in range(T0, END, 30)),
    *((day, "sleeper", "25.00") for day in range(T0 + 30, T0 + 66, 7)),
    *((day, "wholesaler", "300.00") for day in range(T0, END, 14)),
    *((day, "reseller", "3000.00") for day in range(T0 + 1, END, 14)),
    (END - 2, "first", "12.00"),
]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `offline fit` leaves of the shop's history."""
    directory = tmp_path_factory.mktemp("fair")
    rows = [f"{name},{np.datetime64(day, 'D')}T12:00:00Z,{price}" for day, name, price in shop() if day < T0]
    (directory / "h.csv").write_text("\n".join(["customer_id,occurred_at,amount", *rows]) + "\n")
    until_day = str(np.datetime64(T0, "D"))
    jobs.run("fit", "--history", directory / "h.csv", "--until", until_day, "--out", directory / "fit")
    return directory / "fit"


def send(deployment: Running, producer: Producer) -> None:
    """Each day's purchases, then the tick that passes its midnight; the next day comes when its model serves."""
    sales = sorted([row for row in shop() if row[0] >= T0] + BY_HAND)
    for day in range(T0, END):
        for at, name, price in sales:
            if at == day:
                key, value, timestamp = purchase(name, f"{name}-{day}", day, price)
                producer.produce(deployment.name, value, key, timestamp=timestamp)
        tick = (day + 1) * DAY + DAY // 12
        producer.produce(deployment.name, encode_tick(tick), partition=0, timestamp=tick // 1000)
        producer.flush()
        learned(deployment, day + 1)


def learned(deployment: Running, day: int) -> None:
    model = f"{deployment.name}:model"
    until(lambda: int(deployment.redis.hget(model, "day")) == day, lambda: deployment.said)


@pytest.mark.e2e
def test_four_customers_find_their_scores_fair(kafka: str, valkey: services.Valkey, fit: Path, tmp_path: Path) -> None:
    with running(kafka, valkey.url, fit, tmp_path) as deployment:
        deployment.worker()
        send(deployment, deployment.producer())
        found: dict[str, Any] = {
            name: deployment.redis.hgetall(f"{deployment.name}:customer:{name}")
            for name in ("first", "monthly", "sleeper", "wholesaler", "reseller")
        }
        demand = {name: float(told["predicted_demand"]) for name, told in found.items()}
        high = {name: float(told["predicted_demand_high"]) for name, told in found.items()}
        value = {name: float(told["customer_value"]) for name, told in found.items()}
        chance = {name: float(told["p_buy"]) for name, told in found.items()}

        # Who came for 12.00 two days ago is new, and no champion: nobody knows yet whether they come back.
        assert (found["first"]["segment"], found["first"]["previous_segment"]) == ("New", "")
        assert 1 < demand["first"] < 40
        assert value["first"] < 12 * 40
        # Who pays 12.00 every 30 days is expected on the day, to pay 12.00.
        assert found["monthly"]["segment"] in ("Loyal", "Champions")
        due = datetime.fromisoformat(found["monthly"]["expected_next_order_at"]).timestamp() / 86_400
        assert due == pytest.approx(T0 + 150.5, abs=2)
        assert chance["monthly"] > 0.7
        assert demand["monthly"] == pytest.approx(12, rel=0.35)
        assert value["monthly"] == pytest.approx(146, rel=0.5)
        # Who came weekly and has been away for two months is missed: no loyal customer, and not expected to go on.
        assert found["sleeper"]["segment"] == "At risk"
        assert found["sleeper"]["previous_segment"] in ("Loyal", "Champions")
        assert demand["sleeper"] < 0.5 * 25 * 30 / 7
        assert chance["sleeper"] < chance["monthly"]
        # Who buys for 300.00 or 3,000.00 every fortnight is among the best customers, by what they buy.
        for name, price in (("wholesaler", 300), ("reseller", 3_000)):
            assert found[name]["segment"] == "Champions"
            assert 0.6 < demand[name] / (price * 30 / 14) < 1.4
            assert high[name] > demand[name]
            assert 5 * demand[name] < value[name] < price * 365 / 14  # here customers leave
        assert sorted(value, key=value.__getitem__)[-2:] == ["wholesaler", "reseller"]
        # And the others are what they were without them: nobody's demand follows a wholesaler.
        others = [
            float(deployment.redis.hget(key, "predicted_demand"))
            for key in deployment.redis.scan_iter(f"{deployment.name}:customer:shopper*")
        ]
        assert np.median(others) < 40
        assert deployment.verify().count("wrong: 0") == 1
