"""The history that workers have counted, and a fit of it beside what serves, on a real broker."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import jobs
import numpy as np
import pandas as pd
import pytest
import redis
import shops
from running import HERE, Running, purchase, running, until
from shops import T0

from demo import services
from models import artefact
from models.events import encode_event, encode_tick
from models.kinds import PURCHASE, RETURN
from models.rows import DAY, load_rows
from offline.demand import beside
from offline.demand.served import stream
from offline.history.fold import fold
from offline.history.read import read_parquet, write_parquet
from streams.__main__ import INTERRUPTED
from streams.commands import retrain
from streams.kept import Kept

LIVE = 40  # days
GERMAN = ("Stammkunden", "Treue", "Kommende", "Neue", "Gefährdete: bald fort", "Einmalige", "Nein")
OTHERS = (f"{name},2023-11-01T08:00:00Z,5\n" for name in ("elsewhere", "h7", "h8"))  # the latter were erased
CANCELLED = ("h9", "h10")
FIGURES = ("orders", "spend", "returned", "days", "first", "last", "at")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `offline fit` would leave of 130 customers."""
    return shops.shop(tmp_path_factory.mktemp("shop"), customers=130, names=GERMAN)


def cancelled(who: str, at: int) -> tuple[bytes, bytes]:
    """A sale, and the return that takes it back whole a day later."""
    sold: Any = {"order_id": f"{who}-o", "product_id": "q", "quantity": 2, "unit_price": "8"}
    sale = encode_event(f"{who}-sold", "purchase", who, at - DAY, **sold)
    return sale, encode_event(f"{who}-back", "return", who, at, **sold)


def lived(deployment: Running) -> None:
    """The shop's customers go on as before; among their events is whatever a worker leaves out."""
    producer, name = deployment.producer(), deployment.name
    send: Any = lambda key, value, at, **more: producer.produce(name, value, key, timestamp=at, **more)  # noqa: E731
    events = shops.history(130, T0 + LIVE)
    row: Any
    for row in events[events["occurred_at"] >= T0 * DAY].itertuples():
        price = f"{row.amount / 10_000:.4f}"
        value = encode_event(
            row.event_id, "purchase", row.customer_id, row.occurred_at, quantity=1, unit_price=price, product_id="p"
        )
        send(row.customer_id.encode(), value, row.occurred_at // 1000)
    at = (T0 + 3) * DAY
    back = encode_event("back", "return", "h2", at, quantity=Decimal("1.5"), unit_price="2", order_id="o")
    odd: list[tuple[bytes, bytes | None]] = [
        (b"h2", back),
        (b"h2", back),  # twice
        (b"h3", encode_event("early", "purchase", "h3", (T0 - 2) * DAY, quantity=1, unit_price="9")),
        (b"h4", b"{no json"),
        (b"h5", encode_event("other", "purchase", "h6", at, quantity=1, unit_price="9")),
        (b"h7", None),  # is erased, and comes back
        (b"h8", None),  # is erased
        (b"looked", encode_event("seen", "view", "looked", at)),  # and never bought
        *((who.encode(), value) for who in CANCELLED for value in cancelled(who, at)),
    ]
    for whose, said in odd:
        send(whose, said, at // 1000)
    key, good, timestamp = purchase("h7", "again", T0 + LIVE - 1, "7.00")
    send(key, good, timestamp)
    for p in range(deployment.partitions):
        tick = (T0 + LIVE) * DAY + DAY // 12
        producer.produce(name, encode_tick(tick), partition=p, timestamp=tick // 1000)
    producer.flush()
    model = f"{name}:model"
    until(lambda: int(deployment.redis.hget(model, "day")) == T0 + LIVE, lambda: deployment.said)


@pytest.fixture(scope="module")
def deployment(kafka: str, valkey: services.Valkey, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running(kafka, valkey.url, shop, tmp_path_factory.mktemp("running"), partitions=2) as made:
        made.worker()
        lived(made)
        yield made


def states(deployment: Running) -> dict[str, tuple[int, ...]]:
    """The counted figures of every customer, as they stand in Redis."""
    found: dict[str, tuple[int, ...]] = {}
    with redis.Redis.from_url(deployment.settings.redis_url) as client:
        for p in range(deployment.partitions):
            packed = client.hgetall(f"{deployment.name}:state:{p}")
            rows = load_rows([*packed.values()])
            found |= {
                name.decode(): tuple(int(row[figure]) for figure in FIGURES)
                for name, row in zip(packed, rows, strict=True)
            }
    return found


@pytest.mark.e2e
def test_the_history_of_the_topic_is_what_workers_counted(deployment: Running, shop: Path, tmp_path: Path) -> None:
    """Mutations caught: whom nobody erased left out; who only looked a customer; what came before a tombstone, or
    before the cut-off, or under another's key, taken in; a return that is none."""
    out = tmp_path / "h.parquet"
    said = deployment.command("history", "--history", str(shop), "--out", str(out))
    found = read_parquet(out)
    buyers = found[found["kind"] == PURCHASE]["customer_id"].nunique()
    assert f"{len(found):,} events of {buyers} customers and 1 more who bought nothing, whom workers do not" in said
    table = fold(found, T0 + LIVE).table
    counted = {name: tuple(int(table.rows[figure][row]) for figure in FIGURES) for name, row in table.index.items()}
    assert counted == states(deployment)
    assert "h8" not in counted
    assert counted["h7"][:2] == (1, 70_000)
    returned = found[found["kind"] == RETURN]
    back = returned[["event_id", "order_id", "amount", "quantity"]].drop_duplicates().values.tolist()
    assert sorted(back) == [
        ["back", "o", -30_000, -15_000],
        *([f"{who}-back", f"{who}-o", -160_000, -20_000] for who in sorted(CANCELLED)),
    ]
    assert found["occurred_at"].is_monotonic_increasing


@pytest.mark.e2e
def test_a_retrain_is_published_unless_it_is_worse(deployment: Running, shop: Path, tmp_path: Path) -> None:
    version = deployment.redis.hget(f"{deployment.name}:model", "version")
    given = ("--history", str(shop), "--out", str(tmp_path / "new"))
    told = deployment.look("retrain", *given, "--dry-run", "--clusters", "4")
    assert "serving" in told
    assert told.endswith(f"not published: --dry-run; the fit is in {tmp_path / 'new'}")
    assert "next: python -m streams publish" not in told  # it may be worse
    assert "the serving publish, 1 of 2023-12-09, has promised only" in told
    assert deployment.redis.hget(f"{deployment.name}:model", "version") == version
    fitted = artefact.decode((tmp_path / "new" / "artefact.json").read_bytes())
    assert fitted.segments.names == [*GERMAN]  # those that serve
    assert len(fitted.clusters.numbers) == 4
    more = tmp_path / "more.csv"
    more.write_text(f"customer_id,occurred_at,amount\n{''.join(OTHERS)}")
    assert "name another one" in deployment.call("retrain", *given[:2], "--out", str(shop), code=2)
    said = deployment.command("retrain", *given, "--files", str(more), "--force")
    fresh = read_parquet(tmp_path / "new" / "history.parquet")
    customers = set(fresh["customer_id"])
    counted = [f"{who}-{what}" for who in CANCELLED for what in ("sold", "back")]
    assert {*counted} <= {*fresh["event_id"]}  # mutation caught: what workers counted is cleaned of them after all
    assert "elsewhere" in customers
    assert "h8" not in customers | {*Kept(tmp_path / "new").names}  # was erased
    assert "--files: 2 events of 2 erased customers are left out" in said
    assert "published: model 2-" in said
    assert deployment.redis.hget(f"{deployment.name}:model", "version").startswith("2-")
    again = deployment.call("retrain", *given[:2], "--out", str(tmp_path / "again"), code=1)
    assert "the serving publish, 2 of 2024-01-18, has promised only 0 examples that closed" in again
    assert "those of all customers by 2024-03-18\nnot fitted, not published" in again
    assert not (tmp_path / "again").exists()
    until(lambda: deployment.redis.hget(f"{deployment.name}:customer:h1", "model_version").startswith("2-"))
    assert deployment.call("keep", version)
    kept = [line for line in deployment.call("models").splitlines() if line.endswith("kept")]
    assert [line.split()[0] for line in kept] == [version]
    assert "3-" in deployment.call("rollback", version)
    assert deployment.redis.hget(f"{deployment.name}:model", "version").startswith("3-")


@pytest.mark.e2e
def test_a_publish_that_came_while_it_was_fitting_stands(
    deployment: Running, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --force too. Mutation caught: the publish not handed on, so that a rollback is undone in silence."""
    model, fit = f"{deployment.name}:model", retrain._fit

    def beside(*given: Any) -> None:
        fit(*given)
        version = deployment.redis.lindex(f"{deployment.name}:models", -3)
        came.append(re.findall(r"model (\S+),", deployment.command("rollback", version))[0])

    came: list[str] = []
    before = int(deployment.redis.hget(model, "version").split("-")[0])
    monkeypatch.setattr(retrain, "_fit", beside)
    said = deployment.call("retrain", "--history", str(shop), "--out", str(tmp_path / "new"), "--force", code=1)
    overtaken = f"publish {before + 1} came meanwhile, and this began under publish {before}: run it again"
    assert said.splitlines()[-1] == f"not published: {overtaken}"
    assert deployment.redis.hget(model, "version").split("-")[0] == came[0].split("-")[0] == str(before + 1)


@pytest.mark.e2e
def test_whoever_is_erased_while_it_is_fitting_is_named(
    deployment: Running, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand in the new DIR. h7 was erased before and came back. Mutations caught: it is asked before the fit
    alone; whoever was ever erased is named."""
    key = bytes.fromhex(deployment.redis.hget(f"{deployment.name}:meta", "erasure_key"))
    hashed = {who: hashlib.blake2b(who.encode(), key=key, digest_size=16).hexdigest() for who in ("h1", "h2")}
    erased = {who: f"{deployment.name}:erased:{deployment.home(who)}" for who in hashed}

    def fits(*_: Any) -> None:
        for who in hashed:
            deployment.redis.hset(erased[who], hashed[who], "9000")

    monkeypatch.setattr(retrain, "_fit", fits)
    monkeypatch.setattr(retrain, "_judged", lambda *_: True)
    out = tmp_path / "new"
    said = deployment.call("retrain", "--history", str(shop), "--out", str(out), "--dry-run")
    for who in hashed:
        deployment.redis.hdel(erased[who], hashed[who])
    assert f"warning: erased meanwhile, and still in {out}: h1, h2: yours to purge" in said


@pytest.mark.e2e
@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_retrain_that_is_asked_to_end_leaves_nothing_behind(
    deployment: Running, shop: Path, tmp_path: Path, asked: signal.Signals
) -> None:
    """Mutations caught: the signal not taken, or passed over; the fit not ended with it; the history in $TMPDIR."""
    out, elsewhere = tmp_path / "new", tmp_path / "tmp"
    elsewhere.mkdir()
    run = [sys.executable, "-m", "streams", "retrain", "--history", str(shop), "--out", str(out), "--force"]
    env = os.environ | deployment.env | {"TMPDIR": str(elsewhere)}
    process = subprocess.Popen(run, env=env, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: len([*out.glob(".parts-*")]) == 2 or process.poll() is not None)  # its own, and that of the fit
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert any(file.name == "history.parquet" for file in out.glob(".parts-*/*"))
    assert [*elsewhere.iterdir()] == []
    process.send_signal(asked)
    said, _ = process.communicate()
    assert process.returncode == (-asked if asked == signal.SIGTERM else INTERRUPTED), said
    assert not Path(f"/proc/{child}").exists()
    assert [*out.iterdir()] == []


@pytest.mark.e2e
def test_before_anything_was_counted_there_is_no_history(kafka: str, valkey: services.Valkey, tmp_path: Path) -> None:
    """Mutation caught: an empty file written, of which the fit says that no row of it can be used."""
    begun, out = tmp_path / "begun", tmp_path / "h.parquet"
    jobs.run("begin", "--basket", "40", "--until", str(np.datetime64(T0, "D")), "--out", begun)
    with running(kafka, valkey.url, begun, tmp_path) as made:
        for name, *more in (["history", "--out", str(out)], ["retrain", "--force", "--out", str(tmp_path / "new")]):
            said = made.call(name, "--history", str(begun), *more, code=2)
            assert "streams: nothing has been counted yet: DIR holds no event" in said
    assert not out.exists()


@pytest.mark.e2e
def test_a_retrain_refuses_what_would_count_twice(deployment: Running, shop: Path, tmp_path: Path) -> None:
    """Other files that hold the shop's last months under ids of their own, and whose columns nobody named. Mutations
    caught: only the topic looked at, or DIR alone; equal ids refused too."""
    given = ("retrain", "--history", str(shop), "--out", str(tmp_path / "new"), "--force", "--files")
    events = shops.history(130, T0 + LIVE).assign(product_id=None, quantity=np.int64(10_000))
    found, other = tmp_path / "found.parquet", tmp_path / "other.parquet"
    deployment.call("history", "--history", str(shop), "--out", str(found))
    held = {*read_parquet(found)["event_id"]}
    for first, last in ((T0 - 30, T0 - 1), (T0 + 1, T0 + 20)):
        part = events[events["occurred_at"].between(first * DAY, last * DAY)]
        mine = part.assign(event_id="e" + part["event_id"])
        write_parquet(mine, other)
        known = int(part["event_id"].isin(held).sum())
        begins = str(np.datetime64(first, "D"))
        said = deployment.call(*given, str(other), code=2)
        assert f"--files: {known} of {known} purchases and returns from {begins}" in said
        assert f"cut it with `python -m offline clean --until {begins}`" in said
    raw = tmp_path / "raw.csv"
    raw.write_text("Kunde,Datum,Betrag\na,2023-11-01,5\n")
    assert "`python -m offline clean`, which takes options, makes a file of it" in deployment.call(
        *given, str(raw), code=2
    )


@pytest.mark.e2e
def test_the_first_publish_is_neither_mistaken_nor_written_over(
    deployment: Running, shop: Path, tmp_path: Path
) -> None:
    """Mutations caught: a DIR of another cut-off taken, whose events leave a hole, or stand in the topic too; another
    shop's of the same cut-off."""
    other, same = (shops.shop(tmp_path / str(day), customers=20, day=day) for day in (T0 - 5, T0))
    here = str(tmp_path / "h.parquet")
    for asked in (("history", "--out", here), ("retrain", "--out", str(tmp_path / "new")), ("verify",)):
        said = deployment.call(asked[0], "--history", str(other), *asked[1:], code=2)
        assert "DIR was fitted to another cut-off than the deployment's (2023-12-04, not 2023-12-09)" in said
        said = deployment.call(asked[0], "--history", str(same), *asked[1:], code=2)
        assert "DIR is another than that of the first publish, though its cut-off is the same" in said
    before = (shop / "history.parquet").read_bytes()
    for name in ("history.parquet", "../" + shop.name + "/states.parquet"):
        said = deployment.call("history", "--history", str(shop), "--out", str(shop / name), code=2)
        assert "belongs to the first publish" in said
    assert (shop / "history.parquet").read_bytes() == before


# ---- the comparison --------------------------------------------------------------------------------------------------
def test_both_are_judged_on_the_same_examples_and_by_nothing_they_had_learned() -> None:
    """What served is what the new way would have served: as good. Mutations caught: predictions of the closing day;
    examples of other days; labels that were learned."""
    events, day = shops.history(200, T0 + 60), T0 + 60
    folded = fold(events, day)
    honest = stream(folded.days, day - 59, 30).predictions["spend"]
    closing = [each for each in folded.days if day - 29 <= each[0] <= day]
    rows = [
        (name, closes, label / 1e4)
        for closes, names, entries in closing
        for name, label in zip(
            np.array(names, object)[entries["open"] == 1], entries["label"][entries["open"] == 1], strict=True
        )
    ]
    served = pd.DataFrame(rows, columns=["customer_id", "day", "label"]).set_index(["customer_id", "day"])
    same = beside.beside(folded, served.assign(demand=honest), 30)
    assert same["n"].tolist() == [len(honest)] * 2
    assert len({*map(tuple, same.to_numpy().tolist())}) == 1
    assert beside.verdict(same) == (True, f"the new fit is as good as what was served, on {len(honest)} examples")
    worse = beside.beside(folded, served.assign(demand=served["label"].to_numpy()), 30)
    assert not beside.verdict(worse)[0]
    few = beside.beside(folded, served.assign(demand=1.0)[:50], 30)
    assert beside.verdict(few) == (
        False,
        "the new fit cannot be judged: 50 examples are known to both, and 100 are needed",
    )
    none = beside.beside(folded, served.assign(demand=1.0)[:0], 30)
    assert "0 examples" in beside.verdict(none)[1]
