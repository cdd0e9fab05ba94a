"""The ledger on a real Redis: a day's line goes with its model, once; and what is printed of it is what came."""

import re
from math import log
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
import redis
from click.testing import CliRunner
from deployment import Play, World
from logs import busy
from running import Running, running
from shops import T0, history
from test_stream_rights import USER, as_user, grant
from test_stream_trainer import Beside, folded

from models import ledger, truth
from models.artefact import Version, decode
from models.customers import phase
from models.features import UNIT
from models.judge import judge
from models.model import Model
from models.rows import DAY, load_examples
from models.truth import NONE, Figures, Standing, Truth, Window
from offline.demand import metrics
from offline.history.fold import fold
from offline.history.read import write_parquet
from streams import rebuild, rights, trainer
from streams.__main__ import main
from streams.commands.model import shown
from streams.kept import Kept
from streams.store import LEDGER_DAYS


def lines(world: World) -> dict[int, bytes]:
    """As they stand, by day."""
    return {int(day): line for day, line in world.redis.hgetall(f"{world.settings.prefix}:ledger").items()}


async def plain(world: World, day: int) -> bytes:
    """The line of a day from its stored examples and the document of the day before."""
    versions = [v.decode() for v in world.redis.lrange(world.store.keys.versions, 0, -1)]
    document = await world.store.document(versions[versions.index((await world.store.model())["version"]) - 1])
    assert document is not None
    model = decode(document).restored()
    found = {name: packed for p in range(world.count) for name, packed in world.examples(p).get(day, {}).items()}
    return ledger.encoded(judge(model, model.learn_day(day, [*found], load_examples([*found.values()]))))


@pytest.mark.long
def test_each_day_that_is_learned_has_its_line(play: Play, shop: Path) -> None:
    """Mutations caught: no line of a day without examples; one partition left out; a line that names customers."""

    async def scenario(world: World) -> None:
        assert lines(world) == {}  # a publish knows no truth
        await folded(world, 45)
        for day in range(T0 + 1, T0 + 46):
            assert await world.learn()
            assert lines(world).keys() == {*range(T0 + 1, day + 1)}
            assert lines(world)[day] == await plain(world, day)
        total = ledger.added([*ledger.decoded(await world.store.ledger()).values()])
        examples = [load_examples([*each.values()]) for p in range(2) for each in world.examples(p).values()]
        closed = np.concatenate([each[each["open"] == 1] for each in examples])
        assert total.n == (closed["open_version"] > 0).sum() > 30
        assert total.left_out == (closed["open_version"] == 0).sum() > 30
        names = {name for p in range(2) for each in world.examples(p).values() for name in each}
        assert not [name for name in names if any(name.encode() in line for line in lines(world).values())]

    play(scenario, shop, partitions=2, models_kept=100, training_days=100)


def test_a_line_is_written_with_its_model_or_not_at_all(play: Play, shop: Path) -> None:
    """Mutations caught: the line written before version and token are compared, or by a call of its own."""

    async def scenario(world: World) -> None:
        async def other() -> None:
            assert await world.learn()
            world.redis.delete(world.store.keys.ledger)

        await folded(world, 3)
        late = Beside(world, other)
        assert not await trainer.step(late, world.count)
        assert lines(world) == {}
        assert await trainer.step(late, world.count)
        assert lines(world).keys() == {T0 + 2}

    play(scenario, shop, partitions=2)


@pytest.mark.parametrize("back", ["published", "rolled back"])
def test_days_that_are_learned_again_replace_their_lines(play: Play, shop: Path, back: str) -> None:
    """Mutations caught: HSETNX for HSET; lines of both counted; a publish that takes lines away.

    After a rollback of the model the same lines come again; a model of its own has its own weights.
    """

    async def scenario(world: World) -> None:
        await folded(world, 40)
        keys, older = world.store.keys, world.redis.hgetall(world.store.keys.model)
        while await world.learn():
            pass
        before = lines(world)
        world.redis.hset(keys.ledger, T0 + 3, b"of a program that was wrong")
        if back == "published":
            await world.publish(shop)
        else:
            world.redis.delete(keys.model)
            world.redis.hset(keys.model, mapping=older)
        assert lines(world).keys() == before.keys()
        while await world.learn():
            pass
        assert lines(world) == before

    play(scenario, shop, models_kept=100, training_days=100)


@pytest.mark.parametrize("steps", [(1, 2, 3), (3,), (3, -1, 3)])
def test_lines_are_kept_for_so_many_days(play: Play, steps: tuple[int, ...]) -> None:
    """Mutations caught: no line dropped; one dropped where a publish passes over several days; one too many."""

    async def scenario(world: World) -> None:
        for day in range(T0 - LEDGER_DAYS - 5, T0 + 4):
            world.redis.hset(world.store.keys.ledger, day, b"line")
        world.redis.hdel(world.store.keys.ledger, *range(T0 - LEDGER_DAYS - 5, T0 - LEDGER_DAYS + 1))
        for step in steps:
            stored = await world.store.model()
            held = (stored["version"], stored["token"])
            assert await world.store.learned(held, f"1-v{T0 + step}", f"t{step}", T0 + step, b"document", "{}", 1)
        assert min(lines(world)) == T0 + 3 - LEDGER_DAYS + 1
        assert len(lines(world)) == LEDGER_DAYS

    play(scenario)


def test_a_rebuild_and_an_erasure_leave_the_lines_as_they_are(play: Play, shop: Path) -> None:
    async def scenario(world: World) -> None:
        busy(world.log, T0, 40, ["h0", "h1", "h2"], seed=1)
        await world.catch_up(await world.located())
        while await world.learn():
            pass
        before = lines(world)
        assert len(before) == 40
        world.log.erase("h0", T0 + 40)
        await world.catch_up(await world.located())
        await rebuild.rebuild(world.store, world.topic, Kept(shop), lambda _: None)
        await world.catch_up(await world.located())
        assert lines(world) == before

    play(scenario, shop, training_days=100)


def test_a_user_without_the_right_is_told_before_anything_is_written(play: Play) -> None:
    """Mutation caught: the ledger left out of what is asked."""

    async def scenario(world: World) -> None:
        prefix = world.settings.prefix
        others: Any = (f"~{prefix}:{kind}*" for kind in rights.RIGHTS if kind != "ledger")
        grant(world, "+@all", "~*", "-hdel", f"(+hdel {' '.join(others)})")
        store, _ = as_user(world)
        assert await store.lacking(0) == f"HDEL {prefix}:ledger"
        world.redis.execute_command("ACL", "DELUSER", USER)

    play(scenario)


# ---- what is printed -------------------------------------------------------------------------------------------------
LIVE = 66  # days
SCREEN = """\
serving 1-19980701-0a1b2c3d, learned through 1998-07-01: 371,633 examples
kept: 182 versions from 1-19980101-ffffffff on; truth by day from 1998-01-02 on

weight   for demand                   for p_buy
r90      0.00 led until 1998-04-14
ridge    0.79 leads since 1998-04-19
cadence  0.21                         0.25
poisson                               0.75 leads since 1998-01-02

30 days to 1998-07-01: 23,570 examples of 30 days, mean 3.20, 6.5% bought
            nGini          MAE     deviance    bias   held: all  top 5 %  top 1 %    Brier
served      0.778     4,123.54        11.96    0.96       0.960    0.919        -   0.0502
own rate        -         7.00        14.69    1.95
the fit's   0.676         5.94            -    0.87

90 days to 1998-07-01, 7 seen: 0 examples of 30 days
12 more had opened without a model: in no figure
"""


def test_the_screen_line_by_line() -> None:
    demand = {"served": Figures(0.778, 4123.54, 11.96, 0.96), "own_rate": Figures(None, 7, 14.69, 1.95)}
    held = {"all": 0.96, "top_5": 0.919, "top_1": None}
    month = Window(30, "1998-06-02", "1998-07-01", 30, 23_570, 0, 3.2, 0.065, demand, held, 0.0502)
    quarter = Window(90, "1998-04-03", "1998-07-01", 7, 0, 12, None, None, {}, {}, None)
    experts = {
        "demand": {
            "r90": Standing(0.0, ("1998-01-02", "1998-04-14")),
            "ridge": Standing(0.79, ("1998-04-19", "1998-07-01")),
            "cadence": Standing(0.21, None),
        },
        "p_buy": {"poisson": Standing(0.75, ("1998-01-02", "1998-07-01")), "cadence": Standing(0.25, None)},
    }
    fit = {"spend/served": {"ngini": 0.676, "mae": 5.94, "bias": 0.87}}
    names = ("1-19980701-0a1b2c3d", "1998-07-01", 30, 371_633, fit, 182, "1-19980101-ffffffff", "1998-01-02")
    assert shown(Truth(1, *names, experts, [month, quarter])) + "\n" == SCREEN
    document = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    assert f"    {SCREEN.splitlines()[9]}\n" in document  # what is shown there has these columns


def test_what_other_publishes_promised_is_said() -> None:
    """Mutations caught: the promise of this fit beside what another one promised; a day too many or too few."""
    held: dict[str, float | None] = {"all": 0.96, "top_5": 0.9, "top_1": 0.9}
    demand = {"served": Figures(0.7, 4.0, 12.0, 1.0)}

    def told(version: str, since: str | None) -> tuple[bool, str]:
        window = Window(30, "1998-06-02", "1998-07-01", 30, 100, 0, 3.2, 0.065, demand, held, 0.05)
        fit = {"spend/served": {"ngini": 0.676, "mae": 5.94, "deviance": 17.05, "bias": 0.87}}
        names = (version, "1998-07-01", 30, 100, fit, 7, "1-19980101-ffffffff", "1998-01-02")
        truth = Truth(1, *names, {}, [window], since)
        assert Truth.read(truth.document()) == truth
        lines = shown(truth).splitlines()
        return "the fit's" in lines[-1], next((line for line in lines if line.startswith("publish ")), "")

    second = "2-19980701-0a1b2c3d"
    others = "publish 2 serves since 1998-06-{}: {} was promised by the one before it"
    assert told(second, "1998-06-10") == (False, others.format("10", "all of this"))
    assert told(second, "1998-06-02") == (False, others.format("02", "all of this"))
    assert told(second, "1998-06-01") == (True, others.format("01", "what closed before 1998-07-01"))
    assert told(second, "1998-05-03") == (True, "")
    assert told("1-19980701-0a1b2c3d", "1998-06-10") == (True, "")  # there was none before it
    assert told(second, None) == (True, "")  # it stands since before that was noted


def test_who_began_without_examples_is_told_from_when_on_scores_rest_on_some() -> None:
    """Mutations caught: days without examples; a fit that had learned some."""
    some = msgspec.structs.replace(NONE, n=7, left_out=3)
    lines = {10_400: NONE, 10_401: some, 10_402: some}
    stored = {"version": "1-19980701-0a1b2c3d", "day": "10402", "metrics": '{"examples": 20}', "since": "10399"}
    told = Truth.of(stored, [], 30, lines)
    assert (told.first, told.since) == ("1998-06-24", "1998-06-22")
    assert "it began without examples: scores of before 1998-06-24 rest on defaults" in shown(told)
    assert Truth.of(stored | {"metrics": '{"examples": 21}'}, [], 30, lines).first is None


def test_before_the_first_line_and_with_a_damaged_one(play: Play) -> None:
    """Mutation caught: a damaged line ends in a traceback."""

    async def scenario(world: World) -> None:
        env.update(CRM_REDIS_URL=world.settings.redis_url, CRM_PREFIX=world.settings.prefix)

    env: dict[str, str] = {}
    play(scenario)
    done = CliRunner(env=env).invoke(main, ["model"])
    assert done.exit_code == 0, done.output
    told = done.output.splitlines()
    assert told[1].endswith("truth by day from the next on")
    assert [line.split() for line in told[4:9]] == [
        *[[expert, "0.25", "0.25"] for expert in ("r90", "r30", "ridge")],
        *[["cadence", "0.25", "0.25", "0.50"], ["poisson", "0.50"]],
    ]
    assert told[10] == "30 days to 2023-12-09, 0 seen: 0 examples of 30 days"
    data = CliRunner(env=env).invoke(main, ["model", "--json"])
    assert Truth.read(data.output.encode()).begins is None
    with redis.Redis.from_url(env["CRM_REDIS_URL"]) as store:
        store.hset(f"{env['CRM_PREFIX']}:ledger", str(T0), b'{"n":')
    done = CliRunner(env=env).invoke(main, ["model"])
    (line,) = done.stderr.splitlines()
    assert done.exit_code == 2
    assert line.startswith(f"streams: {env['CRM_PREFIX']}:ledger: the line of day {T0} cannot be read (")


LINE = (
    b'{"n":0,"left_out":0,"spent":0,"bought":0,"brier":0,"labels":{"at":[],"n":[],"spent":[]},"said":{"served":'
    b'{"predicted":0,"error":0,"deviance":0,"steps":{"at":[],"n":[],"spent":[]}}},"weights":{}}'
)
DAMAGES = [  # the key, its field and what stands there (None: it is gone), and how the line goes on
    *(("ledger", name, LINE, r"its field b'.*' is no day: HDEL") for name in ("x", "-1", "007", "1e3", b"\xff", "")),
    *(
        ("ledger", str(T0), LINE.replace(*change), f"the line of day {T0} cannot be read")
        for change in (
            (LINE[LINE.index(b'{"served"') : -14], b"{}"),
            (b'"n":0', b'"n":1'),
            (b'"at":[]', b'"at":[7]'),
            (b'"weights":{}', b'"weights":{"demand":{}}'),
            (LINE, b'{"n":' * 3000),
        )
    ),
    *(
        ("model", "metrics", text, r"its metrics cannot be read \(.*\): restore Redis, or publish again")
        for text in (
            *("", "{", "[]", "[" * 3000, '{"examples":"many"}', '{"examples":-1}', '{"weights":{"demand":{}}}'),
            *('{"weights":{"demand":{"r90":7}}}', '{"spend/served":{"mae":null}}', '{"spend/served":{"mae":1e999}}'),
        )
    ),
    ("model", "day", "soon", "its day, 'soon', is none: restore Redis"),
    ("model", "furthest", "later", "its furthest, 'later', is none: restore Redis"),
    ("model", "day", None, " lacks day: restore Redis"),
    ("model", "metrics", None, " lacks metrics: restore Redis"),
    ("model", "version", b"\xff", " holds what is no text: restore Redis"),
    ("models", None, b"\xff", " holds what is no text: restore Redis"),
]


def test_whatever_is_damaged_is_one_line_that_names_its_key(play: Play) -> None:
    """Mutation caught: any one of the questions left out: a traceback, or figures of nothing."""

    async def scenario(world: World) -> None:
        env.update(CRM_REDIS_URL=world.settings.redis_url, CRM_PREFIX=world.settings.prefix)

    env: dict[str, str] = {}
    play(scenario)
    with redis.Redis.from_url(env["CRM_REDIS_URL"]) as store:
        for kind, name, text, says in DAMAGES:
            key = f"{env['CRM_PREFIX']}:{kind}"
            before: Any = store.dump(key)
            if name is None:
                store.rpush(key, text or b"")
            elif text is None:
                store.hdel(key, name)
            else:
                store.hset(key, name, text)
            done = CliRunner(env=env).invoke(main, ["model"])
            assert (done.exit_code, done.stdout) == (2, ""), (kind, name, text, done.exception)
            (line,) = done.stderr.splitlines()
            assert re.match(rf"streams: {key}:? ?{says}", line), (kind, name, text, line)
            store.delete(key)
            if before:
                store.restore(key, 0, before)
        assert CliRunner(env=env).invoke(main, ["model"]).exit_code == 0
        store.hset(f"{env['CRM_PREFIX']}:ledger", str(T0), LINE)
        assert CliRunner(env=env).invoke(main, ["model"]).exit_code == 0


def examples(events: pd.DataFrame) -> pd.DataFrame:
    """From the events alone, those that closed live: when they opened, what was known of the customer then, and what
    came: spend of the 30 days, and orders."""
    day, amount = events["occurred_at"] // DAY, events["amount"] / UNIT
    found = []
    for name, mine in events.assign(day=day, amount=amount).groupby("customer_id"):
        first = int(mine["day"].min())
        landmark = first + 1 + (phase(str(name), 30) - first - 1) % 30
        for opened in range(landmark, T0 + LIVE - 29, 30):
            before, after = mine[mine["day"] < opened], mine[mine["day"].between(opened, opened + 29)]
            rates = {
                h: log(2) / h * 30 * (before["amount"] * 2.0 ** ((before["day"] - opened) / h)).sum() for h in (30, 90)
            }
            own = before["amount"].sum() * 30 / (30 + opened - first)
            found.append((name, opened, after["amount"].sum(), len(after), rates[90], rates[30], own))
    table = pd.DataFrame(found, columns=["name", "opened", "spent", "orders", "r90", "r30", "own_rate"])
    return table[table["opened"] + 30 > T0].assign(zero=0.0)


def promised(run: Running, events: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """What the versions that served at these openings say of the customers, folded anew: demand, high, p_buy."""
    then = {
        (name, day - 30): entry["then"]
        for day, names, entries in fold(events, T0 + LIVE).days
        for name, entry in zip(names, entries, strict=True)
    }
    client: Any = redis.Redis.from_url(run.settings.redis_url)
    versions = {Version.parse(v.decode()).number: v.decode() for v in client.lrange(f"{run.name}:models", 0, -1)}
    models: dict[int, Model] = {}
    found = []
    for name, opened in zip(rows["name"], rows["opened"], strict=True):
        (example,) = load_examples([client.hget(f"{run.name}:training:0:{opened + 30}", name)])
        number = int(example["open_version"])
        if number not in models:
            models[number] = decode(client.get(f"{run.name}:model:{versions[number]}")).restored()
        said = models[number].predict_many(np.array([then[name, opened]]))
        found.append((said.demand[0], said.high[0], said.p_buy[0]))
    client.close()
    return pd.DataFrame(found, columns=["served", "high", "p_buy"], index=rows.index)


@pytest.mark.e2e
def test_what_is_printed_is_what_the_events_say(kafka: str, valkey: Any, shop: Path, tmp_path: Path) -> None:
    """A real broker and worker, a day at a time; everything is recomputed from the events sent, with pandas.

    Mutations caught: an example judged by what a later model says; what opened in the history judged; a window one day
    too long; a label of another window.
    """
    events = history(60, T0 + LIVE)
    write_parquet(events.assign(product_id=None, quantity=np.int64(10_000)), tmp_path / "live.parquet")
    with running(kafka, valkey.url, shop, tmp_path, models_kept=1000, training_days=400) as run:
        run.worker()
        run.call("replay", str(tmp_path / "live.parquet"))
        told = Truth.read(run.call("model", "--days", "20", "--days", str(LIVE), "--json").encode())
        screen = run.call("model")
        rows = examples(events)
        served = rows[rows["opened"] >= T0]
        served = served.join(promised(run, events, served))
    assert told.learned_through == truth.iso(T0 + LIVE)
    floor = decode((shop / "artefact.json").read_bytes()).restored().floor
    for window in told.windows:
        inside = served["opened"] + 30 > T0 + LIVE - window.days
        judged, closed = served[inside], rows["opened"] + 30 > T0 + LIVE - window.days
        assert (window.n, window.left_out) == (len(judged), (closed & (rows["opened"] < T0)).sum())
        assert window.mean == pytest.approx(judged["spent"].mean())
        assert window.bought == (judged["orders"] > 0).mean()
        names = ["served", "r90", "r30", "own_rate", "zero"]
        table = metrics.compare(judged["spent"], {name: judged[name] for name in names}, floor)
        for name in names:
            found = window.demand[name]
            assert found.mae == pytest.approx(table.mae[name], rel=1e-5)
            assert found.deviance == pytest.approx(table.deviance[name], rel=1e-5)
            assert found.bias == pytest.approx(table.bias[name], rel=1e-5)
            assert found.ngini == pytest.approx(table.ngini[name], abs=0.02)
        held = judged["spent"] <= judged["high"].astype(np.float32)
        assert window.held["all"] == held.mean()
        assert window.brier == pytest.approx(np.square(judged["p_buy"] - (judged["orders"] > 0)).mean(), rel=1e-5)
    assert told.windows[0].n >= 30
    assert told.windows[1].left_out >= 30
    assert max(map(len, screen.splitlines())) <= 100
    assert f"serving {told.serving}, learned through {truth.iso(T0 + LIVE)}" in screen
    assert screen.count("\nserved ") == 2
