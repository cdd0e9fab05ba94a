"""Next-best offers: from rules into a model, from purchases into a ring, from the ring into the hash."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shops
from deployment import Play, World
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles import Event, batch
from shops import T0

from models import artefact
from models.artefact import ArtefactError
from models.customers import NOTED, Table
from models.kinds import PURCHASE, RETURN, VIEW
from models.offers import KEPT, MOST, PRODUCTS, Offers, code
from models.rows import DAY, RING, ROW
from offline.history import fold as offline

Bought = list[tuple[str, int]]  # product, day; the latest last
BESIDE = {"tea": ["pot", "cup", "milk"], "pot": ["tea"], "cup": ["saucer", "tea"], "milk": []}
PRODUCT = st.sampled_from([*"abcdefgh"])


def ring(*customers: Bought) -> NDArray[Any]:
    """Rows (n,) whose rings hold these purchases."""
    rows = np.zeros(len(customers), ROW)
    for row, bought in zip(rows, customers, strict=True):
        for i, (product, day) in enumerate(bought):
            row["offered"][i % RING], row["offered_day"][i % RING] = code(product), day % 65_536
        row["offered_slot"] = len(bought) % RING
    return rows


def plain(beside: dict[str, list[str]], bought: Bought, today: int) -> list[str]:
    """What `Offers.texts` must say, over lists."""
    kept = bought[-RING:]
    recent, chosen = {product for product, day in kept if today - day <= KEPT}, []
    for product, _ in reversed(kept):
        chosen += [o for o in beside.get(product, []) if o not in recent and o not in chosen]
    return chosen[:MOST]


def shown(beside: dict[str, list[str]], bought: Bought, today: int) -> list[str]:
    (text,) = Offers(beside).texts(ring(bought), np.array([today * DAY + 5]))
    found: list[str] = json.loads(text)
    return found


# ---- from the ring to the text ---------------------------------------------------------------------------------------
@given(
    st.dictionaries(PRODUCT, st.lists(PRODUCT, max_size=MOST, unique=True)),
    st.lists(st.tuples(PRODUCT, st.integers(0, 300)), max_size=40),
    st.integers(300, 400),
)
def test_offers_are_those_of_plain_python(beside: dict[str, list[str]], bought: Bought, today: int) -> None:
    known = {*beside, *(offer for offered in beside.values() for offer in offered)}
    bought = [(product, day) for product, day in bought if product in known]
    assert shown(beside, bought, today) == plain(beside, bought, today)


def test_the_latest_purchase_comes_first_and_earlier_ones_fill_up() -> None:
    assert shown(BESIDE, [("cup", 10), ("pot", 10)], 10) == ["tea", "saucer"]
    assert shown(BESIDE, [("tea", 10)], 10) == ["pot", "cup", "milk"]
    assert shown(BESIDE, [("milk", 10)], 10) == []
    assert shown(BESIDE, [], 10) == []


@pytest.mark.parametrize(("days", "offered"), [(0, False), (90, False), (91, True)])
def test_what_was_bought_within_90_days_is_not_offered(days: int, offered: bool) -> None:
    assert ("pot" in shown(BESIDE, [("pot", 70_000 - days), ("tea", 70_000)], 70_000)) == offered


def test_sixteen_purchases_are_remembered_and_the_seventeenth_is_forgotten() -> None:
    """The bound that docs/redis-contract.md states."""
    others = [("milk", 10)] * (RING - 2)
    assert "pot" not in shown(BESIDE, [("pot", 10), *others, ("tea", 10)], 10)
    assert "pot" in shown(BESIDE, [("pot", 10), ("milk", 10), *others, ("tea", 10)], 10)


def test_a_ring_filled_under_other_offers_is_passed_over() -> None:
    assert shown({"jam": ["bread"]}, [("jam", 5), ("tea", 10), ("pot", 10)], 10) == ["bread"]
    assert Offers({}).texts(ring([("tea", 10)], []), np.array([0, 0])) == ["[]", "[]"]


def test_any_text_is_a_product_id() -> None:
    name = 'a"b\\c,d\n🫖'
    assert shown({"tea": [name, "plain"]}, [("tea", 1)], 1) == [name, "plain"]


# ---- codes -----------------------------------------------------------------------------------------------------------
def test_codes_are_those_of_the_products_that_the_offers_name() -> None:
    codes = Offers(BESIDE).codes(["tea", None, "jam", "saucer"])
    assert codes is not None
    assert codes.dtype == np.uint32
    assert codes.tolist() == [code("tea"), 0, 0, code("saucer")]
    assert Offers({}).codes(["tea"]) is None
    assert code("tea") == 33_674_368  # the same in every publish: rows in Redis hold it


def test_of_two_products_with_one_code_the_later_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.offers.code", lambda product: 7 if product in ("pot", "tea") else ord(product[0]))
    offers = Offers({"cup": ["tea", "pot", "milk"], "tea": ["milk"]})
    assert offers.codes(["pot", "tea", "cup"]).tolist() == [7, 0, ord("c")]  # type: ignore[union-attr]
    rows = ring([])
    rows["offered"][0, :2], rows["offered_slot"] = (7, ord("c")), 2
    assert offers.texts(rows, np.array([200 * DAY])) == ['["pot","milk"]']


def test_more_than_a_model_version_should_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 10,000 products, with at most 3 offers each"):
        Offers({str(i): [] for i in range(PRODUCTS + 1)})
    with pytest.raises(ValueError, match="at most 3 offers each"):
        Offers({"a": list("bcde")})


# ---- from events to the ring -----------------------------------------------------------------------------------------
def test_purchases_of_named_products_are_remembered_once() -> None:
    """No view, no return, no copy of an event, no other product, and nobody else's row."""
    offers, table = Offers(BESIDE), Table()
    day = 20_000
    events = [
        Event("ann", day * DAY, PURCHASE, 100, "o1", "e1"),
        Event("ann", day * DAY + 1, PURCHASE, 100, "o1", "e2"),
        Event("ann", day * DAY + 1, PURCHASE, 100, "o1", "e2"),
        Event("ann", day * DAY + 2, RETURN, -100, "o1", "e3"),
        Event("ann", day * DAY + 3, VIEW, 0, "", "e4"),
        Event("bob", (day + 1) * DAY, PURCHASE, 100, "o2", "e5"),
        Event("ann", (day + 2) * DAY, PURCHASE, 100, "o3", "e6"),
    ]
    products = ["tea", "cup", "cup", "milk", "pot", "saucer", "jam"]
    log = batch(events)
    codes = offers.codes(products)
    table.fold(log, table.locate(log), log.index, -1, np.zeros(len(NOTED), np.int64), codes)
    ann, bob = table.rows[[table.index["ann"], table.index["bob"]]]
    assert ann["offered"].tolist() == [code("tea"), code("cup"), *[0] * 14]
    assert ann["offered_day"].tolist() == [day, day, *[0] * 14]
    assert (ann["offered_slot"], bob["offered_slot"]) == (2, 1)
    before = table.rows.copy()
    table.fold(log, table.locate(log), log.index, -1, np.zeros(len(NOTED), np.int64), codes)  # again: `seen`
    assert table.rows.tobytes() == before.tobytes()


def test_a_history_fills_the_rings_as_the_stream_does() -> None:
    frame = shops.history(5, T0)
    frame["product_id"] = [[*BESIDE, None][i % 5] for i in range(len(frame))]
    offers = Offers(BESIDE)
    folded = offline.fold(frame, T0, offers=offers)
    for name, row in zip(folded.table.names, folded.table.rows, strict=True):
        mine = frame[(frame["customer_id"] == name) & frame["product_id"].notna()]
        expected = ring([*zip(mine["product_id"], (mine["occurred_at"] // DAY).tolist(), strict=True)])
        for column in ("offered", "offered_day", "offered_slot"):
            assert row[column].tolist() == expected[column][0].tolist()
    assert not offline.fold(frame, T0).table.rows["offered"].any()


# ---- live ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def tea_shop(tmp_path: Path) -> Path:
    return shops.shop(tmp_path / "tea", offers=Offers(BESIDE))


def test_a_purchase_brings_its_offers_into_the_hash_with_the_same_write(play: Play, tea_shop: Path) -> None:
    async def scenario(world: World) -> None:
        part = await world.located()
        assert world.customer("h0")["next_offers"] == "[]"
        world.log.buy("h0", T0 + 1, product_id="tea")
        await world.catch_up(part)
        assert world.customer("h0")["next_offers"] == '["pot","cup","milk"]'
        world.log.buy("h0", T0 + 2, product_id="cup")
        world.log.event("view", "h0", T0 + 2.5, product_id="pot")
        world.log.buy("new", T0 + 2, product_id="jam")
        await world.catch_up(part)
        assert world.customer("h0")["next_offers"] == '["saucer","pot","milk"]'
        assert world.customer("new")["next_offers"] == "[]"
        again = await world.located()  # another worker: the ring stands in the state
        world.log.event("view", "h0", T0 + 3)
        await world.catch_up(again)
        assert world.customer("h0")["next_offers"] == '["saucer","pot","milk"]'
        world.log.tick(T0 + 130)  # tea and cup may be offered again
        await world.catch_up(again)
        assert world.customer("h0")["next_offers"] == '["saucer","tea","pot"]'
        world.log.erase("h0", T0 + 130)
        world.log.buy("h0", T0 + 130.5, product_id="jam")
        await world.catch_up(again)
        assert world.customer("h0")["next_offers"] == "[]"

    play(scenario, tea_shop)


def test_new_offers_come_with_the_next_publish(play: Play, tea_shop: Path, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        part = await world.located()
        world.log.buy("h0", T0 + 0.5, product_id="tea")
        await world.catch_up(part)
        await world.publish(shops.shop(tmp_path / "other", offers=Offers({"tea": ["jam"]})))
        await part.idle()
        await world.settled(part)
        assert world.customer("h0")["next_offers"] == '["jam"]'
        await world.learn()
        document = await world.store.document((await world.store.model())["version"])
        assert document is not None
        assert artefact.decode(document).restored().offers.beside == {"tea": ["jam"]}

    play(scenario, tea_shop)


def test_an_artefact_with_too_many_offers_is_refused(tea_shop: Path) -> None:
    found = artefact.decode((tea_shop / "artefact.json").read_bytes())
    found.model["offers"] = {"tea": list("abcd")}
    with pytest.raises(ArtefactError, match="at most 10,000 products"):
        found.restored()
