"""The fold held to plain Python bit for bit and to pandas with ==, under any chunking, crashes, replays and sweeps."""

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import oracles
import pandas as pd
import pytest
from folding import HOUR, NEVER, Disk, Log, Worker, logs, named, plain, work
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from oracles import FIGURES, Event, Plain, batch, microseconds

from models import customers, scores
from models import rows as layouts
from models.customers import NOTED, Table
from models.kinds import CART, ERASE, PURCHASE, RETURN, VIEW
from models.model import Predictions
from models.rows import DAY, ENTRY, RAW, UnknownForm
from offline.history import fold as offline
from streams.recount import COMPARED, recount

Array = NDArray[Any]


# ---- the whole fold, against plain Python ----------------------------------------------------------------------------
@settings(max_examples=200)
@given(
    log=logs(50),
    sizes=st.lists(st.sampled_from([1, 2, 3, 8, 50]), min_size=1, max_size=4),
    block=st.sampled_from([1, 2, 3, 500]),
    crashes=st.frozensets(st.integers(1, 30), max_size=8),
)
def test_rows_and_entries_are_those_of_plain_python_whatever_happens(
    log: Log, sizes: list[int], block: int, crashes: frozenset[int]
) -> None:
    truth = plain(log)
    disk, _ = work(log, sizes, block, crashes)
    assert differing(disk.promised, truth.rows()) == {}
    assert disk.entries == truth.entries
    event(f"crashes: {sum(n <= disk.writes for n in crashes)}, entries: {min(len(disk.entries), 3)}")


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_a_replay_repeats_nothing_that_the_rings_forgot(crash: int) -> None:
    """Rule 5: two customers with 30 events each in one chunk, and a crash before, between or after their blocks."""
    log = Log(shop(60, 2, 0, days=300))
    disk, _ = work(log, [60], 1, frozenset([crash]))
    assert differing(disk.promised, plain(log).rows()) == {}
    assert disk.entries == plain(log).entries


@settings(max_examples=50)
@given(logs(60), st.sampled_from([1, 7, 100]))
def test_what_was_passed_over_is_counted(log: Log, size: int) -> None:
    _, worker = work(log, [size], 500)
    assert dict(zip(NOTED, worker.noted.tolist(), strict=True)) == {n: plain(log).noted[n] for n in NOTED}


@settings(max_examples=50)
@given(logs(40))
def test_who_passes_a_landmark_makes_no_difference(log: Log) -> None:
    """In time order, swept at every event's midnight or only at the end: the same rows and entries."""
    events = sorted((e for e in log.events if e.kind != ERASE), key=lambda e: e.t)
    lazy, eager = (Log(events, grace, log.horizon) for grace in (NEVER, 0))
    by_events, by_sweeps = (work(each, [5], 2)[0] for each in (lazy, eager))
    assert by_events.promised == by_sweeps.promised
    assert by_events.entries == by_sweeps.entries


def differing(found: dict[str, bytes], expected: dict[str, bytes]) -> dict[str, Any]:
    """Customers and fields that differ, for people to read."""
    dtype = np.dtype(layouts.FOLDED)
    one, other = ({n: np.frombuffer(row, dtype)[0] for n, row in rows.items()} for rows in (found, expected))
    wrong: dict[str, Any] = dict.fromkeys(one.keys() ^ other.keys(), "present or absent")
    for n in (n for n in one if n in other and found[n] != expected[n]):
        wrong[n] = {f: (one[n][f], other[n][f]) for f in dtype.names or () if (one[n][f] != other[n][f]).any()}
    return wrong


# ---- the figures of a customer, against pandas -----------------------------------------------------------------------
def figures(table: Table) -> pd.DataFrame:
    """FIGURES of everybody in the table."""
    names = list(table.index)
    rows = table.rows[list(table.index.values())]
    return pd.DataFrame({figure: rows[figure].astype(np.int64) for figure in FIGURES}, index=names)


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return one.sort_index().to_dict("index") == other.sort_index().to_dict("index")


@settings(max_examples=50)
@given(logs(60), st.sampled_from([1, 7, 100]))
def test_counts_money_and_dates_are_those_of_pandas_and_of_verify(log: Log, size: int) -> None:
    found, events = figures(work(log, [size], 500)[1].table), oracles.frame(log.events)
    assert same(found, oracles.group_by(events))
    assert same(found, recount(events))
    assert same(found, pd.DataFrame({n: c.figures for n, c in plain(log).customers.items()}, FIGURES).T)


def test_verify_compares_every_figure() -> None:
    assert set(COMPARED) == set(FIGURES)


def shop(size: int, people: int, seed: int, days: int = 400) -> list[Event]:
    """A made-up log in time order, each time once, each order on one day; orders of some lines, returns, browsing."""
    rng = np.random.default_rng(seed)
    times = microseconds("2023-12-01") + np.sort(rng.choice(days * 86_400, size, replace=False)) * 1_000_000
    kinds = rng.choice([PURCHASE, RETURN, VIEW, CART], size, p=[0.5, 0.1, 0.3, 0.1])
    amounts = rng.integers(0, 10**7, size) * np.array([1, -1, 0, 0])[kinds]
    who, lines = rng.integers(people, size=size), rng.integers(3, size=size)
    return [
        Event(f"c{w}", t, k, a, f"o{w}-{t // DAY}-{line}", f"e{i}")
        for i, (t, k, a, w, line) in enumerate(
            zip(*(c.tolist() for c in (times, kinds, amounts, who, lines)), strict=True)
        )
    ]


@pytest.mark.parametrize("horizon", [7, 30, 90])
def test_the_examples_are_those_of_pandas(horizon: int) -> None:
    """Labels, windows and every feature at each landmark, each recounted from the events before it."""
    log = Log(shop(4_000, 60, horizon), HOUR, horizon)
    disk, _ = work(log, [97], 13)
    expected = oracles.examples(oracles.frame(log.events), horizon, log.end)
    assert len(disk.entries) == len(expected) > 300
    for (name, day), want in zip(expected.index, expected.to_dict("records"), strict=True):
        entry = np.frombuffer(disk.entries[day, name], ENTRY)[0]
        now = {field: entry["now"][field] for field in RAW.names or ()}
        assert (entry["label"], entry["orders"]) == (max(0, want["window"]), want.pop("window_orders"))
        assert now == pytest.approx(want, rel=1e-6, abs=1e-3)
        assert all(now[f] == want[f] for f in ("spend", "window", "orders", "days", "tenure", "recency"))
        before = disk.entries.get((day - horizon, name))
        assert entry["open"] == (before is not None)
        assert entry["then"] == (np.frombuffer(before, ENTRY)[0]["now"] if before else np.zeros((), RAW))


def test_a_large_log_with_everything_in_it_is_recounted_to_the_last_unit() -> None:
    """Duplicates near and far, late events, returns before their purchase, erasures: 20,000 events of 300 customers."""
    rng, events = np.random.default_rng(5), shop(20_000, 300, 5)
    for i in rng.integers(len(events), size=600).tolist():
        events.insert(min(i + int(rng.geometric(1 / 2_000)), len(events)), events[i])
    for i in rng.integers(len(events), size=600).tolist():
        late = events[i]._replace(t=max(0, events[i].t - int(rng.integers(80 * DAY))), event_id=f"late{i}")
        events[i] = late if rng.random() < 0.9 else Event(late.customer_id, 0, ERASE)
    found = figures(work(Log(events, HOUR), [1_000], 500)[1].table)
    assert same(found, recount(oracles.frame(events)))
    assert same(found, oracles.group_by(oracles.frame(events)))


# ---- one customer, rule by rule --------------------------------------------------------------------------------------
START = microseconds("2024-01-10T12:00")
FIRST_DAY = START // DAY


def story(*events: Event, swept_to: int = -1, horizon: int = 30) -> tuple[Table, Array, dict[str, int]]:
    """These events folded in one go: the table, its entries, what was passed over."""
    table, noted, events_ = Table(horizon), np.zeros(len(NOTED), np.int64), batch(events)
    entries = table.fold(events_, table.locate(events_), events_.index, swept_to, noted)
    return table, entries, dict(zip(NOTED, noted.tolist(), strict=True))


_numbers = itertools.count()


def buy(days: float, amount: int = 100, order: str = "", name: str = "c", event_id: str = "") -> Event:
    """A purchase so many days after START."""
    event_id = event_id or f"buy{next(_numbers)}"
    return Event(name, START + int(days * DAY), PURCHASE, amount, order or event_id, event_id)


def give_back(days: float, amount: int, name: str = "c") -> Event:
    return Event(name, START + int(days * DAY), RETURN, -amount, (own := f"return{next(_numbers)}"), own)


def look_at(days: float, kind: int = VIEW, name: str = "c") -> Event:
    return Event(name, START + int(days * DAY), kind, 0, (own := f"look{next(_numbers)}"), own)


def first_due(horizon: int = 30, name: str = "c") -> int:
    """The first landmark of one who begins on the day of START."""
    return next(d for d in itertools.count(FIRST_DAY + 1) if d % horizon == oracles.phase(name, horizon))


@pytest.mark.parametrize(("between", "counted"), [(0, False), (62, False), (63, False), (64, True), (100, True)])
def test_an_event_id_is_recognised_among_the_last_64_purchases_and_returns(between: int, counted: bool) -> None:
    """However much was browsed meanwhile. Mutation caught: one ring for both."""
    twice = buy(0, 100, "twice", event_id="twice")
    others = [give_back(1, 0) if n % 3 else buy(1, 0, "twice") for n in range(between)]
    table, _, noted = story(twice, *others, *(look_at(1, CART if n % 2 else VIEW) for n in range(100)), twice)
    assert (table.rows["spend"][0], noted["duplicate"]) == ((200, 0) if counted else (100, 1))
    assert (table.rows["orders"][0]) == (1)  # its order is known all the same


@pytest.mark.parametrize(("between", "counted"), [(0, False), (14, False), (15, False), (16, True), (40, True)])
def test_an_event_id_is_recognised_among_the_last_16_views_and_carts(between: int, counted: bool) -> None:
    """However much was bought meanwhile."""
    twice = look_at(0, CART)
    table, _, noted = story(buy(0), twice, *(look_at(0) for _ in range(between)), *(buy(0) for _ in range(100)), twice)
    assert (table.rows["c7"][0], noted["duplicate"]) == (
        ((1 + counted) * customers.up(customers.UP7, FIRST_DAY, FIRST_DAY), int(not counted))
    )


@pytest.mark.parametrize(("lines", "counted"), [(17, 0), (64, 0), (65, 65)])
def test_a_whole_order_that_is_sent_again_counts_once(lines: int, counted: int) -> None:
    """Of up to 64 lines, in order. Mutation caught: a ring of 16, which forgets each line just before it comes."""
    order = [buy(0, 100, "order") for _ in range(lines)]
    again = [*order, *(look_at(0) for _ in range(20)), *order]
    table, _, noted = story(*again)
    assert (table.rows["spend"][0], noted["duplicate"]) == (100 * (lines + counted), lines - counted)
    assert table.rows["orders"][0] == 1
    assert same(figures(table), recount(oracles.frame(again)))
    assert same(figures(table), oracles.group_by(oracles.frame(again)))


def test_ids_are_told_apart_by_48_bits() -> None:
    """Of the two halves either alone decides nothing. Mutations caught: the high bits forgotten; an empty id found."""
    hashes = [1 << 32, 2 << 32, (1 << 32) + 1, (2 << 32) + 1, 1 << 48, 1 << 63]
    table = Table()
    noted = np.zeros(len(NOTED), np.int64)
    for place, number in enumerate([*hashes, *hashes]):
        one = batch([buy(0)])
        one.event[:] = number
        table.fold(one, table.locate(one), np.array([place]), -1, noted)
    low, high = layouts.short(np.array(hashes, np.uint64))
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 0), (1, 0)]
    assert dict(zip(NOTED, noted.tolist(), strict=True))["duplicate"] == 1 + len(hashes)


def test_an_event_of_a_day_that_was_swept_counts_and_is_late() -> None:
    """The day before `swept_to` is over, that day is not. A copy is no late event, and what comes before the first
    purchase is neither. Mutations caught: `<=` for `<`; counted before the copy is known."""
    late, early = buy(-1, 30), look_at(-3)
    table, _, noted = story(early, buy(1, 100), late, buy(0, 5), late, look_at(-1), swept_to=FIRST_DAY)
    assert noted == {"duplicate": 1, "before_first_purchase": 1, "late": 2}
    assert (table.rows["spend"][0], table.rows["orders"][0]) == (135, 3)


@pytest.mark.parametrize(("between", "orders"), [(0, 1), (6, 7), (7, 8), (8, 10), (30, 32)])
def test_an_order_id_is_recognised_among_the_last_8_orders(between: int, orders: int) -> None:
    table, _, _ = story(buy(0, 5, "long"), *(buy(1) for _ in range(between)), buy(2, 6, "long"))
    assert table.rows[["orders", "spend"]][0].item() == (orders, 11 + 100 * between)


def test_a_recognised_duplicate_is_not_remembered_anew() -> None:
    """The original is 64 accepted events back when it comes a third time, the duplicate only 54."""
    again = buy(0, 1, event_id="again")
    fillers = [give_back(1, 0) for _ in range(64)]
    table, _, noted = story(again, *fillers[:10], again, *fillers[10:], again)
    assert (table.rows["spend"][0], noted["duplicate"]) == (2, 1)


def test_lines_of_one_order_are_one_order_and_all_their_money() -> None:
    table, _, _ = story(buy(0, 10, "A"), buy(0, 20, "A"), buy(0, 30, "A"), buy(0.1, 40, "B"))
    row = table.rows[0]
    assert (row["orders"], row["window_orders"], row["days"]) == (2, 2, 1)
    assert (row["spend"], row["window"]) == (100, 100)
    assert row["s30"] / row["n30"] == pytest.approx(50, rel=1e-14)
    assert row["s90"] / row["n90"] == pytest.approx(50, rel=1e-14)


def test_a_return_is_netted_and_moves_neither_orders_nor_purchase_dates() -> None:
    table, entries, _ = story(buy(0, 100), give_back(1, 130), look_at(60))
    row = table.rows[0]
    assert (row["spend"], row["returned"], row["orders"], row["days"]) == (-30, 130, 1, 1)
    assert (row["first"], row["last"], row["at"]) == (START, START, START + 60 * DAY)
    assert entries["label"].tolist() == [0, 0]  # nobody spends less than nothing
    assert entries["now"]["window"].tolist() == [-30, 0]
    assert entries["now"]["spend"].tolist() == [-30, -30]


def test_before_the_first_purchase_there_is_nobody() -> None:
    """Views, carts and returns are passed over and counted, in the batch of the purchase or before it."""
    early = [look_at(-1), look_at(0, CART), give_back(0, 50)]
    table, _, noted = story(*early, buy(1), *early[:1])
    assert noted == {"duplicate": 0, "before_first_purchase": 3, "late": 0}
    row = table.rows[0]
    assert (row["spend"], row["returned"], row["c7"]) == (100, 0, 0)
    assert row["v7"] > 0  # what was passed over is not remembered either
    none, entries, noted = story(*early)
    assert (len(none), len(entries), noted["before_first_purchase"]) == (0, 0, 3)


@pytest.mark.parametrize("sweep", [False, True])
def test_an_event_on_a_midnight_belongs_to_the_window_that_opens_there(sweep: bool) -> None:
    midnight = (first_due() * DAY - START) / DAY
    table, entries, _ = story(buy(0, 1), buy(midnight, 20))
    assert table.rows["window"][0] == 20
    assert entries["now"]["spend"].tolist() == [1]
    last_moment = Event("c", first_due() * DAY - 1, PURCHASE, 20, "o", "e")
    table, entries, _ = story(buy(0, 1), last_moment, *([] if sweep else [look_at(midnight)]))
    entries = table.sweep(first_due()) if sweep else entries
    assert table.rows["window"][0] == 0
    assert (entries["now"]["spend"].tolist(), entries["label"].tolist()) == ([21], [21])


def test_a_purchase_on_a_landmark_of_ones_own_begins_with_the_next() -> None:
    d = first_due() - 30
    table, _, _ = story(Event("c", d * DAY, PURCHASE, 1, "o", "e"))
    assert table.rows["due"][0] == d + 30
    table, _, _ = story(Event("c", d * DAY - 1, PURCHASE, 1, "o", "e"))
    assert table.rows["due"][0] == d


def test_several_landmarks_are_passed_at_once_in_order() -> None:
    table, entries, _ = story(buy(0, 7), buy(200, 9))
    days = list(range(first_due(), FIRST_DAY + 201, 30))
    assert entries["day"].tolist() == days
    assert entries["open"].tolist() == [0] + [1] * (len(days) - 1)
    assert entries["label"].tolist() == [7] + [0] * (len(days) - 1)
    assert entries["now"]["tenure"].tolist() == [d - FIRST_DAY for d in days]
    assert (entries["then"][1:] == entries["now"][:-1]).all()
    assert table.rows[["due", "window", "window_orders"]][0].item() == (days[-1] + 30, 9, 1)


def test_leap_days_are_days() -> None:
    """2024 has a February 29th, 2000 too, 2100 has none."""
    for year, gap in ((2024, 2), (2000, 2), (2100, 1), (2023, 1)):
        bought, seen = microseconds(f"{year}-02-28T23:59"), microseconds(f"{year}-03-01")
        table, _, _ = story(Event("c", bought, PURCHASE, 1, "o", "e"), Event("c", seen, VIEW, 0, "v", "v"))
        raw = table.observe(np.array([0]), -1)[0]
        assert (raw["tenure"], raw["recency"]) == (gap + 1, gap + 1)
    leap = microseconds("2024-02-29T10:00")
    table, _, _ = story(Event("c", leap, PURCHASE, 1, "o", "e"), Event("c", leap + 366 * DAY, PURCHASE, 1, "p", "f"))
    assert table.rows["last"][0] == microseconds("2025-03-01T10:00")
    assert table.rows["days"][0] == 2


@pytest.mark.parametrize("late", [1, 63, 64, 65, 500])
def test_a_late_purchase_before_all_others_is_a_day_of_its_own(late: int) -> None:
    """However late: else the first purchase moves, and one long gap is all that is known of a customer with one day."""
    table, _, _ = story(buy(0, 1), buy(-late, 2), buy(-late, 4))
    row = table.rows[0]
    assert (row["days"], row["orders"], row["spend"]) == (2, 3, 7)
    assert (row["first"], row["last"], row["at"]) == (START - late * DAY, START, START)


@pytest.mark.parametrize(("late", "days"), [(63, 3), (64, 2), (99, 2)])
def test_a_purchase_more_than_63_days_late_among_others_is_no_day_of_its_own(late: int, days: int) -> None:
    """Nobody knows any more whether it is one that was counted."""
    table, _, _ = story(buy(-100, 1), buy(0, 1), buy(-late, 2))
    row = table.rows[0]
    assert (row["days"], row["orders"], row["spend"], row["first"]) == (days, 3, 4, START - 100 * DAY)


def test_the_largest_purchase_day_is_known() -> None:
    """Its lines add up; of a late one nobody knows the day's others, and a return takes nothing back. Mutations caught:
    a day that goes on after a late event begins anew, or takes it in."""
    story_ = [buy(0, 5), buy(0, 4), buy(3, 8), buy(1, 7), buy(3, 2)]
    for n, (today, peak) in enumerate([(5, 5), (9, 9), (8, 9), (8, 9), (10, 10)], 1):
        (row,) = story(*story_[:n])[0].rows
        assert (row["today"], row["peak"]) == (today, peak)
    (row,) = story(*story_, buy(2, 30), give_back(4, 10))[0].rows
    assert (row["today"], row["peak"], row["raw"]["peak"]) == (10, 30, 0)
    entries = story(buy(0, 5), buy(1, 6), buy(45, 1))[1]
    assert entries["now"]["peak"].tolist() == [6]


def test_purchase_days_are_counted_once_however_late() -> None:
    table, _, _ = story(*(buy(d) for d in (0, 63, 126, 64, 126, 63, 127, 63, 62, 100, 100)))
    assert table.rows["days"][0] == 6  # 0, 63, 126, 64, 127, 100; 63 came again, 62 is too late


@pytest.mark.parametrize("late", [0, 1, 29, 30, 31, 64, 500])
def test_a_first_purchase_however_late_opens_after_all_that_was_swept(late: int) -> None:
    """Rule 3: nothing makes an example of a day that the partition was swept to."""
    swept_to = FIRST_DAY + late
    table, entries, _ = story(buy(0, 3), swept_to=swept_to)
    due = int(table.rows["due"][0])
    assert swept_to < due <= swept_to + 30
    assert due % 30 == oracles.phase("c", 30)
    assert len(entries) == len(table.sweep(swept_to)) == 0
    passed = table.sweep(due)
    assert (passed["day"].tolist(), passed["open"].tolist(), passed["now"]["tenure"].tolist()) == (
        [due],
        [0],
        [due - FIRST_DAY],
    )
    inside = due - 30 <= FIRST_DAY
    assert passed["label"].tolist() == [3 if inside else 0]


def test_late_money_counts_at_its_own_day_and_never_in_a_closed_window() -> None:
    """Rule 4; the partition was swept past the landmark, the late purchases belong before and after it."""
    due = first_due()
    table, _, _ = story(buy(0, 1000))
    closed = table.sweep(due)
    seen = look_at(due - FIRST_DAY + 10)
    late = batch([seen, buy(due - FIRST_DAY - 2, 200), buy(due - FIRST_DAY + 2, 400)])
    assert len(table.fold(late, table.locate(late), np.arange(1, 4), due, np.zeros(len(NOTED), np.int64))) == 0
    row = table.rows[0]
    assert (row["spend"], row["orders"], row["window"], row["window_orders"]) == (1600, 3, 400, 1)
    assert closed["label"].tolist() == [1000]
    assert row["at"] == seen.t
    opened = table.sweep(due + 30)
    ages = [due + 30 - e.t // DAY for e in (buy(0), buy(due - FIRST_DAY - 2), buy(due - FIRST_DAY + 2))]
    weighed = sum(amount * 0.5 ** (age / 30) for amount, age in zip((1000, 200, 400), ages, strict=True))
    assert opened["now"]["s30"][0] == pytest.approx(weighed, rel=1e-6)
    assert opened["label"].tolist() == [400]


@settings(max_examples=50)
@given(logs(40))
def test_last_and_at_never_move_back_and_due_stays_ahead(log: Log) -> None:
    """Rules 3 and 4 after each single event; an erasure begins anew."""
    events = [e for e in log.events if e.kind != ERASE]
    swept = Log(events, log.grace, log.horizon).swept
    table, before = Table(log.horizon), dict[str, Any]()
    for i, e in enumerate(events):
        table.sweep(swept[i])
        one = batch([e])
        table.fold(one, table.locate(one), np.array([i]), swept[i], np.zeros(len(NOTED), np.int64))
        assert (table.rows["due"] > swept[i]).all()
        for name, number in table.index.items():
            row = table.rows[number].copy()
            was = before.get(name, row)
            assert row["last"] >= was["last"]
            assert row["at"] >= was["at"]
            assert row["first"] <= was["first"]
            assert row["due"] >= was["due"]
            assert row["at"] // DAY < row["due"]
            before[name] = row


def test_an_example_keeps_the_prediction_that_was_served_when_it_opened() -> None:
    table, _, _ = story(buy(0))
    due = first_due()
    assert table.sweep(due)["open"].tolist() == [0]
    opened = ["open_version", "open_demand", "open_high", "open_p_buy"]
    assert table.rows[opened][0].item() == (0, 0.0, -1.0, 0.0)
    table.rows[opened] = (7, 2.5, 4.0, 0.5)
    closed = table.sweep(due + 30)
    assert closed[["open", *opened]][0].item() == (1, 7, 2.5, 4.0, 0.5)
    assert table.rows[opened][0].item() == (0, 0.0, -1.0, 0.0)


# ---- decay -----------------------------------------------------------------------------------------------------------
def test_the_weights_are_correctly_rounded() -> None:
    """Against roots in whole numbers, and by definition: half a unit in the last place is further off."""
    for h, up, down in (
        (30, customers.UP30, customers.DOWN30),
        (90, customers.UP90, customers.DOWN90),
        (7, customers.UP7, customers.DOWN7),
    ):
        for j in range(h):
            assert (up[j], down[j]) == (oracles.root(h, j), oracles.root(h, -j))
            for weight, true in ((float(up[j]), Fraction(2**j)), (float(down[j]), Fraction(1, 2**j))):
                half = Fraction(math.ulp(weight)) / 2
                assert (Fraction(weight) - half) ** h < true < (Fraction(weight) + half) ** h


SUMS = ["s30", "s90", "n30", "n90", "v7", "c7"]


@settings(max_examples=60)
@given(st.integers(0, 29), st.lists(st.integers(1, 3_000), max_size=30, unique=True), st.integers(3_001, 3_300))
def test_many_steps_decay_to_the_same_bits_as_one(begin: int, days: list[int], end: int) -> None:
    """The last step is an event of no weight: in between, one customer was met often, the other never."""
    start = [buy(begin, 123_457), look_at(begin + 0.1), look_at(begin + 0.2, CART)]
    often = [give_back(begin + step, 0) for step in sorted(days)]
    (one, once, _), (many, passed, _) = (story(*start, *steps, give_back(begin + end, 0)) for steps in ([], often))
    assert [one.rows[name].tobytes() for name in SUMS] == [many.rows[name].tobytes() for name in SUMS]
    assert once.tobytes() == passed.tobytes()
    assert one.sweep(FIRST_DAY + 4_000).tobytes() == many.sweep(FIRST_DAY + 4_000).tobytes()
    assert one.observe(np.array([0]), 0).tobytes() == many.observe(np.array([0]), 0).tobytes()


@settings(max_examples=60)
@given(logs(30), st.integers(-3, 200))
def test_observe_is_the_customer_at_the_midnight_after_or_where_swept(log: Log, ahead: int) -> None:
    truth, table = plain(log), work(log, [10], 500)[1].table
    swept_to = log.end + ahead - 2 * log.horizon
    for name, number in table.index.items():
        customer = truth.customers[name]
        day = max(customer.figures["at"] // DAY + 1, swept_to)
        assert table.observe(np.array([number]), swept_to)[0].item() == pytest.approx(customer.look(day), rel=0, abs=0)


def test_ends_of_time_meet_in_one_customer() -> None:
    """1970 and 2199, in both orders: what is too small becomes 0; nothing overflows."""
    ends = [Event("c", t, PURCHASE, 2**61, f"o{t}", f"e{t}") for t in (0, microseconds("2199-12-31T23:59:59.999999"))]
    for events in (ends, ends[::-1]):
        table, entries, _ = story(*events, *(Event("c", e.t, VIEW, 0, "", f"v{e.t}") for e in events))
        row = table.rows[0]
        assert (row["first"], row["last"], row["orders"], row["spend"]) == (ends[0].t, ends[1].t, 2, 2**62)
        sums = np.array(row[SUMS].item())
        assert np.isfinite(sums).all()
        assert row["n30"] == customers.up(customers.UP30, ends[1].t // DAY, ends[1].t // DAY)
        assert (np.isfinite(entries["now"]["s30"])).all()
        assert len(entries) == (0 if events[0].t else len(range(int(entries["day"][0]), ends[1].t // DAY + 1, 30)))


def test_a_sum_that_int64_cannot_hold_stays_at_the_end_of_its_range() -> None:
    """And what is taken back goes down from there, as `verify` counts it. Mutation caught: sums that wrap around."""
    most, day = 2**63 - 1, FIRST_DAY * DAY
    steps = [(PURCHASE, 2**62)] * 3 + [(RETURN, -(2**61))] + [(PURCHASE, 5)]
    back = [(PURCHASE, 1)] + [(RETURN, -(2**62))] * 3 + [(PURCHASE, 7)]
    for pairs, spend, returned in ((steps, most - 2**61 + 5, 2**61), (back, -most + 7, most)):
        events = [Event("c", day, kind, n, f"o{i}", f"e{i}") for i, (kind, n) in enumerate(pairs)]
        row = story(*events)[0].rows[0]
        assert (row["spend"], row["window"], row["returned"]) == (spend, spend, returned)
        counted = recount(oracles.frame([*events, Event("d", day, PURCHASE, 3, "o", "e")]))
        assert counted.loc[["c", "d"], ["spend", "returned"]].to_numpy().tolist() == [[spend, returned], [3, 0]]


# ---- the table -------------------------------------------------------------------------------------------------------
def test_what_is_published_is_noted_and_a_move_of_segment_as_of_when_it_is_scored() -> None:
    """Whoever had their last event after the midnight that is swept to is scored as of that event. Mutations caught: a
    move noted of who stays; the day of the last event, or the day swept to, for everybody."""
    table, swept_to = Table(), 100
    rows = table.add(["stays", "moves", "is new", "moves later"])
    table.rows["at"], table.rows["segment"] = np.array([99, 99, 99, 101]) * DAY + 1, [3, 3, -1, 5]
    table.rows["segment_before"], table.rows["segment_since"], table.rows["cluster"] = 1, 50, [0, 0, -1, 2]
    said = Predictions(
        *(np.array(column) for column in ([3, 4, 3, 0], [9, 8, 7, 6], [111, 112, 113, 114])),
        *(np.array([money, 0.0, 0.0, 0.0]) for money in (1.5, 2.5, 0.5, 0.25, 7.5)),
    )
    before, clusters, at = table.note(rows, said, 77, swept_to)
    assert (before.tolist(), clusters.tolist()) == ([3, 3, -1, 5], [0, 0, -1, 2])
    assert at.tolist() == scores.moment(table.rows, swept_to).tolist() == [100 * DAY] * 3 + [101 * DAY + 1]
    assert table.rows["segment_before"].tolist() == [1, 3, -1, 5]
    assert table.rows["segment_since"].tolist() == [50, 100, 100, 101]
    for name in ("segment", "cluster", "rfm", "demand", "value"):
        assert table.rows[name].tolist() == getattr(said, name).tolist()
    assert set(table.rows["version"].tolist()) == {77}


def test_an_empty_history_is_an_empty_table() -> None:
    table, entries, noted = story()
    assert (len(table), len(entries), sum(noted.values())) == (0, 0, 0)
    table.load([], [])
    assert len(table.sweep(20_000)) == len(table.observe(np.empty(0, np.int64), 20_000)) == 0
    table.erase("nobody")
    folded = offline.fold(history([]), 20_000)
    assert (len(folded.table), folded.days, set(folded.noted.values())) == (0, [], {0})
    assert work(Log([]), [1], 1)[0].rows == {}
    assert len(recount(oracles.frame([]))) == len(oracles.group_by(oracles.frame([]))) == 0


def test_who_was_erased_and_comes_back_is_new() -> None:
    events = [buy(0, 5), buy(40, 6), Event("c", 0, ERASE), look_at(50), buy(60, 7), buy(60, 8, name="d")]
    alone = [buy(60, 7, name="c"), buy(60, 8, name="d")]
    table = work(Log(events), [10], 500)[1].table
    assert figures(table).to_dict("index") == figures(work(Log(alone), [10], 500)[1].table).to_dict("index")
    assert figures(table).to_dict("index")["c"] == dict(
        zip(FIGURES, [1, 7, 0, 1, *[START + 60 * DAY] * 3], strict=True)
    )


def test_an_erased_row_is_blank_nameless_and_taken_by_the_next() -> None:
    table, _, _ = story(buy(0, name="a"), buy(0, name="b"))
    table.erase("a")
    table.erase("a")
    assert (table.names, table.index, table.free) == (["", "b"], {"b": 1}, [0])
    assert table.rows[0].tobytes() == layouts.BLANK.tobytes()
    assert set(table.sweep(FIRST_DAY + 100)["row"].tolist()) == {1}
    new = batch([buy(0, name="z"), buy(0, name="y")])
    assert table.locate(new).tolist() == [0, 2]
    assert (table.names, table.free) == (["z", "b", "y"], [])


def test_locate_makes_rows_for_purchases_only() -> None:
    table = Table()
    events = batch(
        [look_at(0, name="a"), buy(0, name="b"), look_at(0, name="b"), give_back(0, 1, "d"), buy(0, name="b")]
    )
    assert table.locate(events).tolist() == [-1, 0, 0, -1, 0]
    assert table.names == ["b"]
    assert table.rows["phase"].tolist() == [oracles.phase("b", 30)]


def test_events_below_seen_are_skipped_without_a_trace() -> None:
    """Rule 5, by offset alone: event ids are new, and nothing is counted as passed over."""
    table, _, _ = story(buy(0, 1), buy(1, 2))
    before, again, noted = table.rows.tobytes(), batch([buy(2, 4), buy(70, 8)]), np.zeros(len(NOTED), np.int64)
    assert len(table.fold(again, table.locate(again), np.array([0, 1]), -1, noted)) == 0
    assert (table.rows.tobytes(), noted.tolist()) == (before, [0, 0, 0])
    table.fold(again, table.locate(again), np.array([1, 2]), -1, noted)
    assert table.rows[["spend", "seen"]][0].item() == (11, 3)


def test_more_landmarks_than_a_buffer_holds() -> None:
    """A horizon of a day: 300 landmarks by one event, and 90,000 by one sweep, each once and in order."""
    people = [f"c{i}" for i in range(300)]
    table, entries, _ = story(buy(0), look_at(300), horizon=1)
    assert entries["day"].tolist() == list(range(FIRST_DAY + 1, FIRST_DAY + 301))
    table, entries, _ = story(*(buy(0, name=name) for name in people), horizon=1)
    entries = table.sweep(FIRST_DAY + 300)
    assert entries["row"].tolist() == [row for row in range(300) for _ in range(300)]
    assert entries["day"].reshape(300, 300).tolist() == [list(range(FIRST_DAY + 1, FIRST_DAY + 301))] * 300
    assert len(table.sweep(FIRST_DAY + 300)) == 0


def test_a_table_grows_and_keeps_what_it_holds() -> None:
    table, _, _ = story(*(buy(i / 100, i, name=f"customer {i}") for i in range(1_000)))
    more = batch([buy(i / 100, i, name=f"customer {i}") for i in range(1_000, 3_000)])
    table.fold(more, table.locate(more), more.index, -1, np.zeros(len(NOTED), np.int64))
    assert len(table) == len(table.rows) == 3_000
    assert table.rows["spend"].tolist() == list(range(3_000))
    assert table.rows["phase"].tolist() == [oracles.phase(name, 30) for name in table.names]
    assert table.ids.find(table.names).tolist() == list(range(3_000))
    other = Table()
    other.load(table.names[::-1], layouts.packed_rows(table.rows[::-1]))
    assert (other.names, other.rows.tobytes()) == (table.names[::-1], table.rows[::-1].tobytes())


def test_who_is_read_twice_stands_once() -> None:
    """A scan of Redis may give a customer in two pages, or in one twice. Mutations caught: a row for each."""
    table, _, _ = story(*(buy(i, i + 1, name=name) for i, name in enumerate("abc")))
    packed, other = layouts.packed_rows(table.rows), Table(room=0)
    other.load(["a", "b", "a"], [packed[0], packed[1], packed[0]])
    other.load(table.names[1:], packed[1:])
    assert (other.names, other.index) == (["a", "b", "c"], {"a": 0, "b": 1, "c": 2})
    assert other.rows.tobytes() == table.rows.tobytes()


def test_a_new_customers_row_is_blank_whatever_stood_there() -> None:
    """Room is memory as it was found. Mutation caught: rows of new customers that are not blanked."""
    table, blank = Table(room=8), layouts.BLANK.copy()
    layouts.whole(table._rows)[:] = b"\xff" * layouts.ROW.itemsize
    table.add([f"c{i}" for i in range(20)])
    for row, name in zip(table.rows, table.names, strict=True):
        blank["phase"] = oracles.phase(name, 30)
        assert row.tobytes() == blank.tobytes()


def test_states_of_another_schema_are_refused_in_one_line() -> None:
    table, _, _ = story(buy(0))
    (good,) = layouts.packed_rows(table.rows)
    newer = (-6).to_bytes(8, "little", signed=True) + good[8:]
    with pytest.raises(UnknownForm, match=r"^customer states say that they are of form 6$"):
        Table().load(["c"], [newer])
    for packed in (good[:-1], b"", good * 2):
        with pytest.raises(UnknownForm, match=rf"^customer states of {len(packed)} bytes are of no form that this"):
            Table().load(["c", "d"], [good, packed])


# ---- history ---------------------------------------------------------------------------------------------------------
def history(events: Sequence[Event]) -> pd.DataFrame:
    """The canonical frame of `offline.history`, as far as the fold reads it."""
    return oracles.frame(events).drop(columns="place").reset_index(drop=True)


@settings(max_examples=60)
@given(logs(40), st.integers(0, 40), st.sampled_from([1, 9]))
def test_a_history_folded_offline_goes_on_in_the_stream(log: Log, past: int, size: int) -> None:
    """Plain Python takes it all in one go; only offsets start anew at the cut-off."""
    events = sorted((e for e in log.events if e.kind != ERASE), key=lambda e: e.t)
    cut_off = events[min(past, len(events)) - 1].t // DAY + 1 if past and events else 0
    old = [e for e in events if e.t < cut_off * DAY]
    folded, truth = offline.fold(history(old), cut_off, log.horizon), Plain(log.horizon)
    for e in old:
        truth.add(e, -1)
    truth.sweep(cut_off)
    found = {key: packed for _, _, day in folded.days for key, packed in named(folded.table, day).items()}
    assert found == truth.entries
    assert [day for day, _, _ in folded.days] == sorted({day for day, _ in truth.entries})
    assert all(names == folded.table.ids.of(day["row"]) for _, names, day in folded.days)
    assert folded.noted == {name: truth.noted[name] for name in NOTED}
    truth.offset, rest = 0, Log(events[len(old) :], log.grace, log.horizon)
    for customer in truth.customers.values():
        customer.seen = 0
    rows = dict(zip(folded.table.names, layouts.packed_rows(folded.table.rows), strict=True))
    rest.swept = [max(cut_off, day) for day in rest.swept]
    disk = Disk(rows=rows, entries=found, swept_to=cut_off)
    Worker(disk, rest, 3).run(itertools.repeat(size))
    for e, swept_to in zip(rest.events, rest.swept, strict=True):
        truth.add(e, swept_to)
    truth.sweep(max(rest.end, cut_off))
    assert differing(disk.promised, truth.rows()) == {}
    assert disk.entries == truth.entries
