"""Only what was committed happened: worker and verify on a log with aborted and open transactions and their markers."""

from pathlib import Path

import pytest
from confluent_kafka import Producer
from running import Running, purchase, running, until
from shops import T0

from demo import services


def begun(deployment: Running, name: str) -> Producer:
    """A producer with a transaction begun."""
    producer = deployment.producer(**{"transactional.id": f"{deployment.name}-{name}", "linger.ms": 0})
    producer.init_transactions(30)
    producer.begin_transaction()
    return producer


def bought(producer: Producer, topic: str, *customers: str) -> None:
    for customer in customers:
        key, value, timestamp = purchase(customer, f"of-{customer}", T0)
        producer.produce(topic, value, key, timestamp=timestamp, partition=0)
    producer.flush()


@pytest.mark.e2e
def test_aborted_records_are_nobody_and_open_ones_wait(
    kafka: str, valkey: services.Valkey, nobody: Path, tmp_path: Path
) -> None:
    """Mutations caught: a consumer that reads uncommitted; bounds up to the end of the log in place of the last stable
    offset (`verify` would wait for records that it may not read)."""
    with running(kafka, valkey.url, nobody, tmp_path) as deployment:
        worker, plain = deployment.worker(), deployment.producer()
        bought(plain, deployment.name, "first")
        aborted, kept, open_one = (begun(deployment, name) for name in ("aborted", "kept", "open"))
        bought(aborted, deployment.name, *(f"nobody{n}" for n in range(50)))
        bought(kept, deployment.name, "kept")
        aborted.abort_transaction(30)
        kept.commit_transaction(30)
        deployment.reaches(54)  # 1 + 50 + 1 records and two markers: holes at the end of what there is
        assert [deployment.orders(name) for name in ("first", "kept", "nobody0", "nobody49")] == ["1", "1", None, None]
        bought(open_one, deployment.name, "open")
        bought(plain, deployment.name, "behind")
        assert "customers: 2; wrong: 0" in deployment.verify()
        worker.says("2 records wait behind offset 54")
        assert "a producer's transaction is open" in worker.said
        assert deployment.orders("open") is deployment.orders("behind") is None
        open_one.commit_transaction(30)
        deployment.reaches(57)
        until(lambda: deployment.orders("behind") == deployment.orders("open") == "1")
        worker.says("goes on behind offset 54")
        assert "customers: 4; wrong: 0" in deployment.verify()
        deployment.call("rebuild", "--history", str(nobody))
        deployment.reaches(57)
        assert deployment.orders("nobody7") is None
        assert "customers: 4; wrong: 0" in deployment.verify()
