"""Upgrading: the deployments of earlier releases, as they were kept, go on under the code of now."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jobs
import kept
import pytest
import redis
from running import WELL

from demo import services
from streams.crm.reader import CustomerScores


@pytest.fixture(params=kept.KEPT, ids=lambda path: path.name)
def taken(request: pytest.FixtureRequest, kafka: str) -> Iterator[kept.Taken]:
    """A deployment of before on a Valkey of its own."""
    with services.valkey() as valkey:
        made = kept.Taken(request.param, kafka, valkey.url)
        yield made
        made.close()


def ended(worker: "subprocess.Popen[str]") -> None:
    """Asked to end, it ends well and has said nothing but what it held."""
    worker.terminate()
    _, said = worker.communicate()
    assert worker.returncode == 0, said
    assert [line for line in said.splitlines() if line and not re.search(WELL, line)] == []


def check(taken: kept.Taken) -> None:
    """Everybody recounted, and each in the set of the segment that the state names, and of schema 1 nothing is left."""
    assert "wrong: 0" in taken.command("verify", "--history", str(taken.fit))
    assert taken.members() == {name: int(row["segment"]) for name, row in taken.states().items()}
    assert [*taken.redis.scan_iter("crm:segment:*")] == []


def refitted(taken: kept.Taken, out: Path) -> None:
    """A model of another program serves: workers of now end with one line until a fit of now is published."""
    worker = taken.worker()
    _, said = worker.communicate(timeout=120)
    assert worker.returncode == 2
    assert "of another program (it lacks " in said.splitlines()[-1]
    assert "and `publish` what it leaves: workers of the version that published this one serve until then" in said
    jobs.run("fit", "--history", taken.fit / "history.parquet", "--until", "2025-07-01", "--out", out)
    taken.command("publish", str(out))


@pytest.mark.e2e
def test_a_worker_takes_it_over_and_goes_on_learning(taken: kept.Taken, tmp_path: Path) -> None:
    before = taken.states()
    refitted(taken, tmp_path)
    worker = taken.worker()
    taken.send(range(kept.LAST_DAY, kept.LAST_DAY + 1), ["c00", "c01"])
    taken.settled(worker, kept.LAST_DAY + 1)
    with CustomerScores(taken.settings.redis_url) as scores:  # the feed of before has no numbers: one follows from here
        cursor = scores.changes().cursor
        copy = {each.customer_id: each.segment_id for each in scores.everybody()}
        taken.send(range(kept.LAST_DAY + 1, kept.LAST_DAY + 4), ["c00", "c01", "brand-new"])
        taken.settled(worker, kept.LAST_DAY + 4)
        told = scores.changes(cursor).entries
        copy |= {each.customer_id: each.to_segment for each in told if each.customer_id and each.to_segment is not None}
        assert "brand-new" in copy
        assert copy == taken.members()
    ended(worker)
    check(taken)
    after = taken.states()
    assert after.keys() == before.keys() | {"brand-new"}
    assert [after[name]["orders"] - before[name]["orders"] for name in ("c00", "c01", "c02")] == [4, 4, 0]
    assert taken.command("show", "brand-new").count("\n") >= 20
    assert "truth by day from 2025-07-02 on" in taken.command(
        "model"
    )  # which had no ledger: it begins with the next day


@pytest.mark.e2e
def test_it_is_rebuilt_from_the_directory_of_its_first_publish(taken: kept.Taken, tmp_path: Path) -> None:
    """The customer who was erased and never came back stays erased."""
    before = taken.states()
    refitted(taken, tmp_path)
    taken.redis.delete("crm:state:1")
    taken.command("rebuild", "--history", str(taken.fit))
    worker = taken.worker()
    taken.settled(worker, kept.LAST_DAY)
    ended(worker)
    check(taken)
    assert taken.states().keys() == before.keys()
    assert "c21" not in before


@pytest.mark.parametrize("where", kept.KEPT, ids=lambda path: path.name)
def test_every_server_can_hold_it(servers: str, where: Path) -> None:
    with redis.Redis.from_url(servers) as store:
        store.flushdb()
        kept.load(where, store)
        found: dict[str, Any] = {line["key"]: line["type"] for line in kept.lines(where / "redis.jsonl.gz")}
        assert {key.decode(): store.type(key).decode() for key in store.scan_iter("*")} == found
        store.flushdb()
