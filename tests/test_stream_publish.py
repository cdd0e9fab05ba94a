"""`publish` and `rebuild` on a real Redis, with a log in memory: whole or begun anew, and never beside a worker."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import msgspec
import numpy as np
import pytest
import shops
from deployment import UNSURE, Crash, Play, Stopped, World, assert_agree, crash, run
from logs import busy
from redis.exceptions import ConnectionError as Gone
from redis.exceptions import ResponseError
from shops import T0, TOLD, learned

from models import artefact, scores
from models.rows import PROMISED
from streams import publish
from streams.kept import Kept
from streams.partition import Lost, Partition
from streams.rebuild import rebuild
from streams.refusal import Refusal
from streams.store import Store, connect


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shops.shop(tmp_path_factory.mktemp("small"), customers=12)


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's artefact of five days later, with its clusters in another order."""
    return shops.shop(tmp_path_factory.mktemp("later"), day=T0 + 5, order=(2, 0, 1))


def test_a_shop_without_a_history_is_served_from_its_first_day(play: Play, tmp_path_factory: Any) -> None:
    """And learns from it. Mutation caught: scales of nothing, which no example could leave."""
    directory = tmp_path_factory.mktemp("begin")
    until = str(np.datetime64(T0, "D"))
    said = jobs.run("begin", "--basket", "40", "--until", until, "--out", directory)
    assert "a purchase day: 40.00; expectations over 30 days; no example learned" in said

    async def scenario(world: World) -> None:
        part = await world.located()
        for day in range(T0, T0 + 100):
            for n in range(day % 7, 40, 7):
                world.log.buy(f"c{n}", day, "40.00")
        await world.catch_up(part)
        first = world.customer("c0")
        assert first["segment"] in ("Champions", "Loyal")
        while await world.learn():
            pass
        document = await world.store.document((await world.store.model())["version"])
        assert document is not None
        model = artefact.decode(document).restored()
        assert model.examples > 20
        weekly = model.predict_many(part.table.observe(np.arange(len(part.table)), T0 + 100))
        assert np.isfinite(weekly.demand).all()
        assert 0.5 < weekly.demand.mean() / (40 * 30 / 7) < 1.5

    play(scenario, directory)


class Interrupted(Store):
    """A publish that is killed before its n-th HSET outside of scripts: guards, their state, and crm:meta."""

    def __init__(self, world: World, at: int) -> None:
        super().__init__(connect(world.settings), world.settings)
        world.reached.append(self)
        self.left, self.real = at, self.redis.hset
        self.redis.hset = self.hset

    async def hset(self, *args: Any, **kwargs: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Crash
        return await self.real(*args, **kwargs)


# ---- the first publish -----------------------------------------------------------------------------------------------
def test_everybody_stands_in_redis_before_the_first_event(play: Play, shop: Path) -> None:
    """Mutations caught: changes announced for customers who only were seeded; the last of them left out."""

    async def scenario(world: World) -> None:
        kept = Kept(shop)
        parts = [await world.located(p) for p in range(2)]
        assert sorted(parts[0].table.names + parts[1].table.names) == sorted(kept.names)
        assert all(world.deployment.home(name) == p for p in range(2) for name in parts[p].table.names)
        for name in kept.names:
            assert world.customer(name)["model_version"] == world.version
            assert world.customer(name)["source"] == "history"
        assert [world.changes(p) for p in range(2)] == [[], []]
        assert [world.guard(p) for p in range(2)] == [(0, T0)] * 2
        states = dict(zip(kept.names, kept.rows, strict=True))
        assert world.rows(0) | world.rows(1) == {n: r.tobytes()[:PROMISED] for n, r in states.items()}

    play(scenario, shop, partitions=2, block=7)


def test_a_first_publish_that_is_interrupted_starts_over(play: Play, shop: Path, small: Path) -> None:
    """Mutations caught: crm:meta written before the states, or before `ready`; what was left not deleted."""

    async def scenario(world: World) -> None:
        how: Callable[[World], Store] = interruptions[0]
        with pytest.raises(Crash):
            await world.publish(shop, how(world))
        with pytest.raises(Refusal, match="meta is missing: run `python -m streams publish DIR`"):
            await world.store.deployment()
        await world.publish(small)
        found.append(world.contents())

    async def undisturbed(world: World) -> None:
        await world.publish(small)
        found.append(world.contents())

    found: list[dict[str, Any]] = []
    play(undisturbed, None, partitions=2, block=10)
    interruptions: list[Any] = [lambda world, at=at: world.struck({at: crash}) for at in range(7)]
    interruptions += [lambda world, at=at: Interrupted(world, at) for at in range(5)]
    while interruptions:
        play(scenario, None, partitions=2, block=10)
        interruptions.pop(0)
    assert len(found) == 13
    assert all(contents == found[0] for contents in found)


@pytest.mark.parametrize(
    ("error", "lasts", "tries"),
    [
        (Gone("closed"), 2, 3),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), 6, 7),
        (Gone("closed"), 7, 7),
        (ResponseError("NOPERM no right"), 1, 1),
    ],
)
def test_a_write_is_tried_again_with_its_token_while_what_hinders_it_passes(
    monkeypatch: pytest.MonkeyPatch, error: Exception, lasts: int, tries: int
) -> None:
    """Mutations caught: what does not pass waited for; what does not end tried for ever; another token; tried again
    over the connection that broke."""
    told: list[Any] = []

    class Hiccup:
        async def write(self, *given: Any) -> tuple[bytes, str]:
            told.append(given)
            if len(told) <= lasts:
                raise error
            return given[2], ""

        async def connect_anew(self) -> None:
            anew.append(len(told))

    async def at_once(_: float) -> None:
        pass

    monkeypatch.setattr(publish, "patience", at_once)
    anew: list[int] = []
    hiccup: Any = Hiccup()
    position: Any = "position"
    block: Any = "block"
    written = publish._written(hiccup, 3, b"old", b"new", position, block)
    if lasts < tries:
        assert asyncio.run(written)
    else:
        with pytest.raises(type(error)):
            asyncio.run(written)
    assert told == [(3, b"old", b"new", "position", "block")] * tries
    assert anew == [*range(1, tries)]


def test_a_deployment_without_its_meta_is_not_deleted(play: Play, nobody: Path) -> None:
    """Mutation caught: the guards not looked at: a publish after a loss of one key would delete all others."""

    async def scenario(world: World) -> None:
        world.log.buy("ann", T0)
        await world.catch_up(await world.located())
        world.redis.delete(world.store.keys.meta)
        before = world.contents()
        with pytest.raises(Refusal, match=r"guard:0 stands at offset 1 but .*meta is gone: restore Redis"):
            await world.publish(nobody)
        assert world.contents() == before

    play(scenario)


def test_what_fit_did_not_leave_is_refused_in_one_line(tmp_path: Path, small: Path) -> None:
    with pytest.raises(Refusal, match=r"artefact.json is missing: .* is not what `offline fit --out` wrote"):
        Kept(tmp_path)
    for name in ("artefact.json", "states.parquet"):
        (tmp_path / name).write_bytes((small / name).read_bytes())
    assert len(Kept(tmp_path).names) == 12
    for damage in (b"", b"PAR1", (small / "artefact.json").read_bytes()):
        (tmp_path / "states.parquet").write_bytes(damage)
        with pytest.raises(Refusal) as refused:
            Kept(tmp_path)
        assert "\n" not in str(refused.value)
        assert str(tmp_path) in str(refused.value)


# ---- a second publish ------------------------------------------------------------------------------------------------
async def grown(world: World, days: int = 10) -> Partition:
    """Ten days of events, folded and learned."""
    for day in range(T0, T0 + days):
        world.log.buy(f"h{day % 7}", day)
    world.log.tick(T0 + days)
    part = await world.located()
    await world.catch_up(part)
    while await world.learn():
        pass
    await part.idle()
    return part


def test_a_new_artefact_is_swapped_in_and_everybody_is_scored_under_stable_numbers(
    play: Play, shop: Path, later: Path
) -> None:
    """Mutations caught: the new artefact's clusters under their own numbers; `idle` not looking for rows of an older
    publish."""

    async def scenario(world: World) -> None:
        part = await grown(world)
        before, numbers = {name: world.customer(name) for name in part.table.index}, part.serving.model.clusters.numbers
        version = await world.publish(later)
        assert version.startswith("2-20231214-")  # as of its own day
        await part.idle()
        await world.settled(part)
        clusters = part.serving.model.clusters
        assert (clusters.numbers, clusters.told) == (numbers, TOLD)
        after = {name: world.customer(name) for name in before}
        assert {found["model_version"] for found in after.values()} == {version}
        assert all(before[n]["model_version"].startswith("1-") for n in before)
        moved = sum(before[n]["cluster"] != after[n]["cluster"] for n in before)
        assert moved < len(before) / 4  # with exchanged numbers it would be nearly all
        assert_agree(world, part)
        token = part.token
        await part.idle()
        assert part.token == token  # nothing left to write

    play(scenario, shop)


def test_what_segments_and_clusters_mean_stands_beside_the_model(play: Play, shop: Path, later: Path) -> None:
    """Mutations caught: descriptions of a learned version, which has none; a cluster, or a segment, of before
    left standing."""

    async def scenario(world: World) -> None:
        await grown(world)
        for directory, n in ((shop, 0), (later, 1)):
            if n:
                for key in (world.store.keys.segments, world.store.keys.clusters):
                    world.redis.hset(key, mapping=dict.fromkeys((7, 12), '{"name": "of before"}'))
                await world.publish(later)
            model = artefact.decode((directory / "artefact.json").read_bytes()).restored()
            segments, clusters = (
                {int(number): json.loads(text) for number, text in sorted(world.redis.hgetall(key).items())}
                for key in (world.store.keys.segments, world.store.keys.clusters)
            )
            assert [each["name"] for each in segments.values()] == model.segments.names
            assert [each["definition"] for each in segments.values()] == model.segments.definitions()
            assert {each["usual"] for each in segments.values()} == {model.segments.usual()}
            assert sum(each["size"] for each in segments.values()) == 60
            assert [*segments] == [*range(7)]
            assert {number: each["description"] for number, each in clusters.items()} == dict(enumerate(TOLD))
            assert {each["as_of"] for each in clusters.values()} == {scores.dates(np.array([model.day]))[0]}

    play(scenario, shop)


def test_the_days_since_a_new_artefact_are_learned_from_the_kept_examples(play: Play, shop: Path, later: Path) -> None:
    """Mutation caught: the model's day left where it stood, so that the days between are never learned."""

    async def scenario(world: World) -> None:
        await grown(world)
        document = await world.store.document(await world.publish(later))
        assert document is not None
        while await world.learn():
            pass
        stored = await world.store.model()
        assert stored["day"] == str(T0 + 10)
        assert stored["version"].startswith("2-20231219-")
        assert await world.store.document(stored["version"]) == learned(document, world.examples(), T0 + 10)

    play(scenario, shop)


def test_a_model_that_learned_on_other_inputs_is_replaced_by_a_publish(play: Play, shop: Path, later: Path) -> None:
    """Mutation caught: the whole old model restored for its clusters' sake: nothing could be published any more."""

    async def scenario(world: World) -> None:
        await grown(world)
        version = (await world.store.model())["version"]
        key = world.store.keys.version(version)
        was = artefact.decode(world.redis.get(key))
        spend = was.model["spend"] | {"names": [*was.model["spend"]["names"][:-1], "an input of before"]}
        other = msgspec.structs.replace(was, model=was.model | {"spend": spend})
        world.redis.set(key, artefact.encode(other))
        with pytest.raises(Stopped, match=rf"{version}: artefact: its model is of another program .*run `offline fit`"):
            await world.located()
        await world.publish(later)
        part = await world.located()
        await part.idle()
        await world.settled(part)
        assert {world.customer(name)["model_version"][:2] for name in part.table.names} == {"2-"}
        assert part.serving.model.clusters.numbers == was.clusters.numbers, "the numbers stay"

    play(scenario, shop)


@pytest.mark.parametrize("behind", [35, 36])
def test_an_artefact_older_than_the_kept_examples_is_refused_with_the_days(
    play: Play, nobody: Path, behind: int
) -> None:
    """Mutations caught: the bound a day too strict; a day too lax, which leaves a day unlearned for ever."""

    async def scenario(world: World) -> None:
        world.redis.hset(world.store.keys.model, "day", T0 + behind)
        before = world.contents()
        if behind == 36:
            with pytest.raises(Refusal, match=r"36 days before the last .*, 2024-01-14, .* it is 1 days too old"):
                await world.publish(nobody)
            assert world.contents() == before
        else:
            assert (await world.publish(nobody)).startswith("2-20231209-")

    play(scenario)


def test_other_artefacts_are_refused(play: Play, tmp_path: Path, nobody: Path) -> None:
    """Mutation caught: the horizon not compared: landmarks and labels would span other days than predictions."""

    async def scenario(world: World) -> None:
        before = world.contents()
        with pytest.raises(Refusal, match="horizon is 60 days, the deployment's 30: fit again"):
            await world.publish(other)
        assert world.contents() == before
        world.redis.delete(world.store.keys.version(world.version))
        with pytest.raises(Refusal, match=f"{world.version} is not in Redis: restore it"):
            await world.publish(nobody)

    other = shops.shop(tmp_path, customers=12, horizon=60)
    play(scenario)


def test_a_publish_beside_the_trainer_writes_nothing_over_its_model(play: Play, nobody: Path) -> None:
    """Mutation caught: learn.lua without the comparison of version and token."""

    async def scenario(world: World) -> None:
        class Beside(Store):
            async def document(self, version: str) -> bytes | None:
                found = await super().document(version)
                assert await world.learn()
                return found

        world.log.tick(T0 + 2)
        await world.catch_up(await world.located())
        store = Beside(connect(world.settings), world.settings)
        world.reached.append(store)
        with pytest.raises(Refusal, match="model was changed by somebody else meanwhile: publish again"):
            await world.publish(nobody, store)
        assert (await world.store.model())["version"].startswith("1-20231210-")
        assert (await world.publish(nobody)).startswith("2-20231209-")

    play(scenario)


# ---- rebuild ---------------------------------------------------------------------------------------------------------
async def rebuilt(world: World, directory: Path, store: Store | None = None) -> None:
    await rebuild(store or world.store, world.topic, Kept(directory), lambda _: None)


def comparable(contents: dict[str, Any]) -> dict[str, Any]:
    """Without what a rebuild may change: it folds who was erased without their history, and makes feeds void."""
    guard = {k: v for k, v in contents["guard:0"].items() if k not in (b"quiet_until", b"rebuilt")}
    return contents | {
        "freshness:0": None,
        "guard:0": guard,
        "rejected:0": {k: v for k, v in contents["rejected:0"].items() if k not in UNSURE},
    }


def test_a_rebuild_gives_the_same_states_and_announces_nothing_twice(play: Play, shop: Path) -> None:
    """Mutations caught: `quiet_until` not set; set to the log's end; erased customers seeded; counts kept."""

    async def scenario(world: World) -> None:
        busy(world.log, T0, 45, ["h0", "h1", "h2"], seed=1)
        zombie, log = await world.located(), world.log.records[0]
        await world.catch_up(zombie)
        before = comparable(world.contents())
        gone = {r.key.decode() for r in log if r.key and r.value is None and r.key.startswith(b"h")}
        assert gone
        world.log.buy("new", T0 + 46)  # not folded before the rebuild: still to be announced
        await rebuilt(world, shop)
        await zombie.process(world.log.chunk(zombie.reached))
        with pytest.raises(Lost):
            await zombie.settle()
        assert world.rows().keys() == {f"h{n}" for n in range(60)} - gone
        assert [world.customer(name) for name in gone] == [{}] * len(gone)
        part = await world.located()
        await world.catch_up(part, len(log) - 1)
        assert comparable(world.contents()) == before
        await world.catch_up(part)
        told = [change for change in world.changes() if change["customer"] == "new"]
        assert (len(told), len(world.changes())) == (1, len(before["changes:0"]) + 1)

    play(scenario, shop)


def test_a_rebuild_that_breaks_is_run_again_and_workers_wait_for_it(
    redis_url: str, store_prefix: str, small: Path
) -> None:
    """Mutations caught: guards made ready before everybody is seeded; `quiet_until` not set."""

    async def scenario(world: World) -> None:
        async def located() -> None:
            waiting.append(world.partition())
            tasks.append(asyncio.create_task(waiting[0].locate()))
            await asyncio.sleep(0.05)
            raise Crash

        waiting: list[Partition] = []
        tasks: list[Any] = []
        busy(world.log, T0, 45, ["h0", "h1", "h2"], seed=1)
        await world.catch_up(await world.located())
        before = comparable(world.contents())
        for at in range(3):
            with pytest.raises(Crash):
                await rebuilt(world, small, world.struck({at: crash if at else located}))
        await rebuilt(world, small)
        assert waiting[0].life.name == "LOCATING"
        await tasks[0]
        assert waiting[0].life.name == "READY"
        await world.catch_up(waiting[0])
        assert comparable(world.contents()) == before

    run(scenario, World(redis_url, store_prefix, block=4), small)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_who_comes_between_a_publish_or_rebuild_is_told_and_the_command_named_that_mends_it(
    play: Play, small: Path, at: int
) -> None:
    """Another one from another machine, for example; a rebuild is not mended by a publish. Mutation caught: `publish
    again` said by a rebuild."""

    async def scenario(world: World) -> None:
        async def another() -> None:
            world.redis.hset(world.store.keys.guard(0), "token", b"of another")

        said = "guard:0 was changed by somebody else meanwhile: if that was the same .* else run this one again"
        with pytest.raises(Refusal, match=said):
            await world.publish(small, world.struck({at: another}))
        await world.publish(small)
        with pytest.raises(Refusal, match=said):
            await rebuilt(world, small, world.struck({at: another}))
        await rebuilt(world, small)
        assert (await world.located()).life.name == "READY"

    play(scenario, None, block=4)


def test_a_rebuild_that_cannot_be_complete_is_refused(play: Play, small: Path, later: Path, tmp_path: Path) -> None:
    """Mutations caught: the log's start not looked at, so that older events would be missing; states dropped before;
    another shop's DIR taken, for its history ends on the same day."""
    another = shops.shop(tmp_path / "another", customers=7)

    async def scenario(world: World) -> None:
        world.log.buy("h1", T0)
        await world.catch_up(await world.located())
        before = world.contents()
        with pytest.raises(Refusal, match="fitted to another cut-off than the deployment's"):
            await rebuilt(world, later)
        with pytest.raises(Refusal, match="another than that of the first publish, though its cut-off is the same"):
            await rebuilt(world, another)
        world.log.low = 1
        with pytest.raises(Refusal, match="partition 0 begins at offset 1: older events are gone"):
            await rebuilt(world, small)
        assert world.contents() == before
        world.redis.delete(world.store.keys.meta)
        with pytest.raises(Refusal, match="meta is missing"):
            await rebuilt(world, small)

    play(scenario, small)
