"""The log is the only clock: midnights pass by events, in all partitions once in one; a silent stream stands still."""

import time
from pathlib import Path

import jobs
import numpy as np
import shops
from running import Running, purchase, running, until
from shops import T0

from demo import services
from models.rows import DAY


def swept(run: Running) -> list[int]:
    return [int(run.redis.hget(f"{run.name}:guard:{p}", "swept_to")) for p in range(run.partitions)]


def buy(run: Running, partition: int, event: str, day: int) -> None:
    """A purchase by somebody of that partition."""
    customer = next(f"c{n}" for n in range(1000) if run.home(f"c{n}") == partition)
    key, value, timestamp = purchase(customer, event, day)
    producer = run.producer()
    producer.produce(run.name, value, key, timestamp=timestamp)
    producer.flush()


def test_midnights_pass_by_events_alone(kafka: str, valkey: services.Valkey, shop: Path, tmp_path: Path) -> None:
    """The shop's history ended years ago. Nothing is swept until an event of a later day comes; then all partitions
    are, to that day and no further.

    Mutations caught: a tick to the day of the machine's clock; no tick to a partition whose siblings moved.
    """
    with running(kafka, valkey.url, shop, tmp_path, partitions=2) as run:
        worker = run.worker(CRM_CLOCK="event")
        buy(run, 0, "e1", T0)
        run.reaches(1, 0)
        assert swept(run) == [T0, T0]
        buy(run, 0, "e2", T0 + 3)
        until(lambda: swept(run) == [T0 + 3, T0 + 3], lambda: f"{swept(run)}, not {T0 + 3}: {run.said}")
        assert worker.stop() == 0
        assert worker.said.count("CRM_CLOCK=event is how every deployment works now: remove it") == 1


def test_publish_worker_and_replay_tell_how_old_the_history_is(
    kafka: str, valkey: services.Valkey, tmp_path: Path
) -> None:
    """A cut-off to come is refused, the first time and later.

    Mutations caught: a check of the first publish alone; a cut-off of today refused; the age told by `publish`
    alone, or of another day than the cut-off's.
    """
    today = int(time.time() * 1e6) // DAY
    past, future = (str(shops.shop(tmp_path / f"{day}", customers=30, day=day)) for day in (today - 5, today + 2))
    cut_off = np.datetime64(today - 5, "D")
    aged = f"the history ended 5 days ago, on {cut_off}"
    with running(kafka, valkey.url, None, tmp_path) as run:
        for _ in range(2):
            said = run.call("publish", future, code=2)
            assert said.startswith("streams: the history's cut-off, ")
            assert said.endswith(
                "is still to come, and events before it would be passed over: fit with --until and a midnight"
                " that has passed\n"
            )
            if not run.redis.exists(f"{run.name}:meta"):
                said = run.call("publish", past)
                assert f"{aged}\n" in said
                assert f"from {cut_off} on the topic must hold all events\n" in said
                assert "more than a year" not in said
        worker = run.worker()
        through = f"{aged}; the model that serves has learned through {cut_off}\n"
        worker.says(through)
        assert worker.stop() == 0
        assert worker.said.count("the history ended") == 1
        said = run.command("replay", f"{past}/history.parquet", code=2)
        assert said.startswith(through)
        assert "streams: the file holds no event from the cut-off on" in said


def test_what_a_history_of_years_ago_means_is_said(
    kafka: str, valkey: services.Valkey, shop: Path, tmp_path: Path
) -> None:
    with running(kafka, valkey.url, None, tmp_path) as run:
        said = run.call("publish", str(shop))
        assert "that is more than a year: the first event of today sweeps every day between" in said


def test_of_a_model_that_was_fitted_later_its_own_age_is_said(
    kafka: str, valkey: services.Valkey, tmp_path: Path
) -> None:
    """Beside the deployment's, by all who say one; and how many days are learned again. Mutations caught: the age of
    the first publish said of every model; a model of nothing published without a word; a year said of a swap."""
    today = int(time.time() * 1e6) // DAY
    names = {ago: str(np.datetime64(today - ago, "D")) for ago in (370, 372, 375, 376)}
    first, newer, older = (str(shops.shop(tmp_path / f"{ago}", day=today - ago)) for ago in (375, 370, 376))
    jobs.run("begin", "--basket", "40", "--until", names[372], "--out", tmp_path / "begin")
    with running(kafka, valkey.url, None, tmp_path) as run:
        assert "days that had been learned" not in run.call("publish", first)
        said = run.call("publish", newer)
        fitted = f"fitted on what was before {names[370]}, 370 days ago"
        assert said.splitlines()[1:] == [f"the model was {fitted}"]
        aged = f"the history ended 375 days ago, on {names[375]}; the model that serves was {fitted}, and has learned"
        worker = run.worker()
        worker.says(f"{aged} through {names[370]}\n")
        assert worker.stop() == 0
        assert f"\n{aged} through {names[370]}\n" in run.call("replay", f"{first}/history.parquet", code=2)
        served = run.redis.hget(f"{run.name}:model", "version")
        said = run.call("publish", str(tmp_path / "begin"))
        assert "there is no history" not in said
        assert f"warning: {tmp_path / 'begin'} is of no history: the model has learned nothing" in said
        assert f"`python -m streams rollback {served}` publishes again what served\n" in said
        again = "days that had been learned are learned again, from"
        assert said.splitlines()[-1].startswith(f"{again} {np.datetime64(today - 371, 'D')} on, 2 in all: ")
        assert again not in run.call("rollback", served)
        assert f"{again} {names[375]} on, 6 in all: `streams model` tells how far that is\n" in run.call(
            "publish", older
        )
        version = run.redis.lindex(f"{run.name}:models", 0)
        assert f"{again} {np.datetime64(today - 374, 'D')} on, 5 in all: " in run.call("rollback", version)


def test_where_there_is_no_history_that_is_said(kafka: str, valkey: services.Valkey, tmp_path: Path) -> None:
    """Mutation caught: the age of a history that never was."""
    cut_off = np.datetime64(int(time.time() * 1e6) // DAY - 3, "D")
    jobs.run("begin", "--basket", "40", "--until", cut_off, "--out", tmp_path / "begin")
    with running(kafka, valkey.url, None, tmp_path) as run:
        nothing = f"there is no history: all is the topic's from {cut_off} on, 3 days ago\n"
        begun = run.call("publish", str(tmp_path / "begin"))
        assert nothing in begun
        assert "warning" not in begun
        worker = run.worker()
        worker.says(nothing.strip())
        assert worker.stop() == 0
        for text, why in (
            ("", "'' is none"),
            ("1-2024", "'1-2024' is none"),
            ("1-20240101-00000000", "no such version"),
        ):
            for command in ("keep", "rollback"):
                assert why in run.call(command, text, code=2)
