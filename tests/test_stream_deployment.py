"""What was fixed at the first publish, guards, and the life of a partition, as they are read and as they may change."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deployment import Crash, Play, Stopped, World, crash
from shops import T0

from models import scores
from streams import spelled
from streams.deployment import Deployment, DeploymentError, Guard, GuardState
from streams.partition import MOVES, Life
from streams.settings import Settings

META = {  # as a program of before wrote it
    "topic": "crm.events",
    "topic_id": "onYhGy1GRm",
    "partitions": "4",
    "partitioner": "murmur2",
    "cut_off": "10227",
    "horizon": "30",
    "erasure_key": "ab" * 32,
}
GUARD = {b"offset": b"7", b"token": b"\x00\xff", b"swept_to": b"10300", b"state": b"ready"}  # likewise


# ---- crm:meta --------------------------------------------------------------------------------------------------------
def test_meta_is_read_by_name_and_written_as_it_was() -> None:
    read = Deployment.read(META, "crm:meta")
    assert (read.partitions, read.cut_off, read.horizon, read.topic) == (4, 10_227, 30, "crm.events")
    assert read.fields() == META | {"grace": "3600", "customers": "-1", "fitted": ""}
    assert Deployment.read(META | {"of_a_newer_program": "x"}, "crm:meta") == read
    assert [read.home(name) for name in ("c1", "c2")] == [3, 1]
    assert read.erasure("c1") != read.erasure("c2") != Deployment.read(META | {"erasure_key": "cd"}, "k").erasure("c2")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda meta: meta.pop("horizon"), "crm:meta lacks horizon: restore Redis"),
        (lambda meta: meta.update(cut_off="soon"), "crm:meta: .*'soon': restore Redis"),
    ],
)
def test_a_damaged_meta_is_refused_in_one_line(change: Callable[[dict[str, str]], Any], line: str) -> None:
    meta = dict(META)
    change(meta)
    with pytest.raises(DeploymentError, match=f"^{line}$"):
        Deployment.read(meta, "crm:meta")


def test_settings_and_topic_must_be_those_of_the_first_publish() -> None:
    deployment, same = Deployment.read(META, "crm:meta"), Settings()
    deployment.check(same, "onYhGy1GRm", 4)
    others: list[tuple[tuple[Settings, str, int], str]] = [
        ((Settings(events_topic="other"), "onYhGy1GRm", 4), "topic is other, but was crm.events at the first publish"),
        ((same, "another", 4), "topic_id is another, but was onYhGy1GRm .* deleted and made anew"),
        ((same, "onYhGy1GRm", 5), "partitions is 5, but was 4 .* would move, for those from 4 on were added"),
        ((Settings(partitioner="crc32"), "onYhGy1GRm", 4), "partitioner is crc32, but was murmur2"),
        (
            (Settings(grace=7200), "onYhGy1GRm", 4),
            "grace is 7200, but was 3600 .* set CRM_GRACE to it, or leave it unset",
        ),
    ]
    for now, line in others:
        with pytest.raises(DeploymentError, match=line):
            deployment.check(*now)


def test_the_grace_is_fixed_by_the_first_publish(play: Play, shop: Path) -> None:
    """Mutations caught: the setting of now taken, or 3,600 where the first publish said otherwise."""

    async def scenario(world: World) -> None:
        assert world.redis.hget(world.store.keys.meta, "grace") == b"3456000"
        for setting in (None, 3_456_000):
            world.store.settings = Settings(prefix=world.settings.prefix, grace=setting)
            deployment = await world.store.deployment()
            deployment.check(world.store.settings.model_copy(update={"events_topic": "t"}), "id", 1)
            assert deployment.grace == 3_456_000
        part = await world.located()
        world.log.buy("ann", T0 + 39)
        world.log.buy("ann", T0 + 41)
        await world.catch_up(part)
        assert world.guard() == (2, T0 + 1)

    play(scenario, shop, grace=3_456_000)


@pytest.mark.parametrize(("setting", "grace"), [(None, 3_600), (0, 0), (86_400, 86_400)])
def test_a_deployment_of_before_takes_the_grace_of_the_worker(play: Play, setting: int | None, grace: int) -> None:
    async def scenario(world: World) -> None:
        world.redis.hdel(world.store.keys.meta, "grace")
        deployment = await world.store.deployment()
        assert deployment.grace == grace
        await world.store.keep(deployment)
        world.store.settings = Settings(prefix=world.settings.prefix, grace=7)
        assert (await world.store.deployment()).grace == grace, "kept once, for all workers"
        deployment.check(world.settings, "id", 1)

    play(scenario, grace=setting)


# ---- guards ----------------------------------------------------------------------------------------------------------
def test_a_guard_of_before_has_the_defaults_of_what_it_lacks() -> None:
    assert Guard.read(GUARD, "k") == Guard(7, 10_300, b"\x00\xff", GuardState.READY, quiet_until=0, hashes=1)
    newer = GUARD | {b"quiet_until": b"3", b"hashes": b"2", b"rebuilt": b"10301", b"of_a_newer_program": b"x"}
    assert Guard.read(newer, "k") == Guard(
        7, 10_300, b"\x00\xff", GuardState.READY, quiet_until=3, hashes=2, rebuilt=10_301
    )


@pytest.mark.parametrize("change", [{b"offset": b"seven"}, {b"state": b"asleep"}, {b"token": None}])
def test_a_damaged_guard_ends_a_worker_with_one_line(play: Play, change: dict[bytes, Any]) -> None:
    broken = {name: value for name, value in (GUARD | change).items() if value is not None}
    with pytest.raises(DeploymentError, match=r"^k is damaged \(.+\): run `python -m streams rebuild`$"):
        Guard.read(broken, "k")

    async def scenario(world: World) -> None:
        world.redis.delete(world.store.keys.guard(0))
        world.redis.hset(world.store.keys.guard(0), mapping=broken)
        with pytest.raises(Stopped, match="guard:0 is damaged"):
            await world.located()

    play(scenario)


# ---- a partition's life ----------------------------------------------------------------------------------------------
def test_a_partition_makes_no_move_that_is_not_in_the_picture(play: Play) -> None:
    drawn = {"LOCATING": {"READY", "LOST", "REVOKED"}, "READY": {"LOST", "REVOKED"}, "LOST": set(), "REVOKED": set()}
    assert {before.name: {after.name for after in moves} for before, moves in MOVES.items()} == drawn

    async def scenario(world: World) -> None:
        for before, after in itertools.product(Life, Life):
            part = world.partition()
            part.life = before
            if after in MOVES[before]:
                part.become(after)
                assert part.life is after
            else:
                with pytest.raises(RuntimeError, match=f"partition 0: from {before.name} to {after.name} is no move"):
                    part.become(after)
                assert part.life is before

    play(scenario)


# ---- hashes with more fields -----------------------------------------------------------------------------------------
@pytest.fixture
def upgraded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Turns this program into one whose hashes have a field more, written the plain way."""
    texts, fields = scores.texts, scores.FIELDS

    def upgrade() -> None:
        monkeypatch.setattr(scores, "FIELDS", (*fields[:-4], "mood", *fields[-4:]))
        monkeypatch.setattr(scores, "texts", lambda *given: [(*row, "good") for row in texts(*given)])
        monkeypatch.setattr(scores, "FORM", scores.FORM + 1)
        monkeypatch.setattr(spelled, "lay_out", lambda *_: -1)
        monkeypatch.setattr(spelled.Texts, "now", lambda *_: None)

    return upgrade


def test_a_new_field_reaches_everybody_by_itself(play: Play, shop: Any, upgraded: Callable[[], None]) -> None:
    """Mutations caught: nobody rescored; `hashes` moved with the first block; everybody rescored for ever."""

    async def scenario(world: World) -> None:
        before = await world.located()
        await before.idle()
        await world.settled(before)
        upgraded()
        part = await world.located(store=world.struck({2: crash}))
        with pytest.raises(Crash):
            await part.idle()
        told = [len(world.customer(name)) for name in part.table.names]
        assert 0 < told.count(len(scores.FIELDS)) < len(told), "it was not in the middle"
        assert world.redis.hget(world.store.keys.guard(0), "hashes") == str(scores.FORM - 1).encode()

        part = await world.located()
        await part.idle()
        await world.settled(part)
        assert {tuple(world.customer(name)) for name in part.table.names} == {tuple(sorted_as_written())}
        assert {world.customer(name)["mood"] for name in part.table.names} == {"good"}
        assert world.redis.hget(world.store.keys.guard(0), "hashes") == str(scores.FORM).encode()
        counted = world.struck({})
        again = await world.located(store=counted)
        await again.idle()
        await world.settled(again)
        assert counted.writes == 0, "everybody has it already"

    play(scenario, shop, block=10)


def sorted_as_written() -> tuple[str, ...]:
    """Redis keeps the order in which fields came: the new one is the last."""
    return (*[name for name in scores.FIELDS if name != "mood"], "mood")


def test_a_sweep_brings_a_new_field_too(play: Play, shop: Any, upgraded: Callable[[], None]) -> None:
    async def scenario(world: World) -> None:
        upgraded()
        world.log.tick(T0 + 1)
        part = await world.located()
        await world.catch_up(part)
        assert {world.customer(name).get("mood") for name in part.table.names} == {"good"}
        assert world.redis.hget(world.store.keys.guard(0), "hashes") == str(scores.FORM).encode()

    async def published_before(world: World) -> None:
        world.redis.hset(world.store.keys.guard(0), "hashes", 1)
        await scenario(world)

    play(published_before, shop)


def test_an_older_worker_ends_where_a_newer_one_wrote(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.redis.hset(world.store.keys.guard(0), "hashes", scores.FORM + 1)
        with pytest.raises(Stopped, match="guard:0: a newer program wrote the customers' hashes: upgrade this worker"):
            await world.located()

    play(scenario)
