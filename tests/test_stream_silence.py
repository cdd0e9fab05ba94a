"""No line of a worker names a customer or holds a password, whatever happens: rejects, strays, erasures, outages."""

import json
import signal
import time
from pathlib import Path

from running import purchase, running, until
from shops import T0

from demo import services

SECRET = "correct-horse-0042"


def test_a_whole_run_names_nobody(kafka: str, shop: Path, tmp_path: Path) -> None:
    """Rejects of every sort, an erasure, Redis away and back, a state that cannot be read.

    Mutations caught: a line with the key of a customer's hash, with a record's content, or with the URL of Redis.
    """
    more = ["--requirepass", SECRET]
    with services.valkey(directory=tmp_path / "valkey", more=more) as valkey:
        url = f"redis://:{SECRET}@127.0.0.1:{valkey.port}/0"
        with running(kafka, url, shop, tmp_path, partitions=2) as run:
            names = [f"customer-{n}@example.org" for n in range(8)]
            home = [name for name in names if run.home(name) == 0]
            worker, producer = run.worker(), run.producer()

            def send(key: bytes | None, value: bytes | None, timestamp: int) -> None:
                producer.produce(run.name, value, key, partition=0, timestamp=timestamp)

            now = T0 * 86_400_000
            for name in names:  # those of the other partition are strays
                send(*purchase(name, f"e-{name}", T0))
            for broken in (b"no JSON", b"{}", json.dumps({"customer_id": names[0], "event_id": names[1]}).encode()):
                send(names[0].encode(), broken, now)
            key, value, timestamp = purchase(home[0], "e2", T0)
            send(names[1].encode(), value, timestamp)
            send(b"\xff", value, timestamp)
            send(key, value.replace(b"10.00", b"1e400"), timestamp)
            send(home[0].encode(), None, timestamp)
            producer.flush()
            end = len(names) + 7
            until(lambda: run.offset(0) == end, lambda: run.said)
            valkey.stop(signal.SIGKILL)
            time.sleep(1)
            send(*purchase(home[-1], "e3", T0))
            producer.flush()
            worker.says("waits: ")
            valkey.start()
            until(lambda: run.offset(0) == end + 1, lambda: run.said)
            run.redis.hset(f"{run.name}:state:0", home[-1], "damaged")
            run.redis.hset(f"{run.name}:guard:0", "token", "of somebody else")
            assert worker.ends() == 2
            said = worker.said
    assert "customer states of 7 bytes" in said
    assert not [name for name in (*names, "customer-", SECRET) if name in said]
