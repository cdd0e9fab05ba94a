"""Every event type through all that an event passes: schema, decoder, fold, history, replay, verify.

A type that is added to models/kinds.py alone fails here: SAYS must name what it does to a customer.
"""

import csv
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from oracles import Event, batch

from models.customers import NOTED, Table
from models.events import decode_many, decode_one
from models.kinds import KINDS, NUMBER_OF, PURCHASE, WORD_OF, EventType
from models.rows import DAY, ROW
from offline.history.read import read
from streams import recount, replay

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parent.parent / "docs" / "event.schema.json").read_text())
)
NOW = 20_000 * DAY
# What an event of 2 x 9.50, a day after a first purchase of 10.00, does to its customer; `at` moves with each.
SAYS: dict[str, dict[str, Any]] = {
    "purchase": {"orders": 1, "spend": 190_000, "days": 1, "last": DAY},
    "return": {"spend": -190_000, "returned": 190_000},
    "view": {"v7": True},
    "cart": {"c7": True},
}
FIGURES = ("orders", "spend", "returned", "days", "first", "last", "at", "v7", "c7")


def record(word: str, event_id: str = "e2", t: int = NOW + DAY) -> bytes:
    """What a producer sends; every field that any type may have."""
    fields = {"event_id": event_id, "event_type": word, "customer_id": "c", "occurred_at": t / 1e6}
    return json.dumps(fields | {"quantity": 2, "unit_price": 9.5, "product_id": "p"}).encode()


def folded(*records: bytes) -> Any:
    """The row of c after these records."""
    table = Table()
    events, rejects = decode_many([b"c"] * len(records), records, [NOW // 1000 + 10**9] * len(records))
    assert not rejects
    table.fold(events, table.locate(events), events.index, 0, np.zeros(len(NOTED), np.int64))
    return table.rows[0]


def told(row: Any) -> dict[str, Any]:
    """The figures of a row; of a decayed sum only whether there is one."""
    return {name: bool(row[name]) if name in ("v7", "c7") else int(row[name]) for name in FIGURES}


FIRST = record("purchase", "e1", NOW).replace(b"9.5", b"5.0")


def test_the_words_are_listed_once() -> None:
    assert SAYS.keys() == {kind.word for kind in KINDS} == set(EventType.__args__)  # type: ignore[attr-defined]
    assert len({kind.number for kind in KINDS}) == len(KINDS)
    assert min(WORD_OF) >= 0, "a number below 0 is no event of a customer"
    assert SCHEMA.schema["properties"]["event_type"]["enum"] == [*NUMBER_OF, "tick"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.word)
def test_a_type_is_the_same_to_all_that_an_event_passes(kind: Any, tmp_path: Path) -> None:
    sent = record(kind.word)
    SCHEMA.validate(json.loads(sent))
    event = decode_one(b"c", sent, NOW // 1000 + 10**9)
    assert (event.kind, abs(event.amount)) == (kind.number, 190_000 if kind.traded else 0)

    # the fold: what SAYS says beside the first purchase, and no more
    before, after = told(folded(FIRST)), told(folded(FIRST, sent))
    moved = {name: after[name] - before[name] for name in FIGURES if after[name] != before[name]}
    assert moved == {"at": DAY} | SAYS[kind.word]

    # a history says the same, and what is replayed of it is the same event
    with (tmp_path / "history.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(json.loads(sent)))
        table.writeheader()
        table.writerows([json.loads(FIRST), json.loads(sent)])
    frame = read([tmp_path / "history.csv"], {}).frame
    assert frame["kind"].tolist() == [PURCHASE, kind.number]
    *_, (key, value, timestamp) = replay.records(frame)
    again = decode_one(key, value, timestamp)
    assert (again.kind, again.amount, again.occurred_at) == (event.kind, event.amount, event.occurred_at)

    # verify counts it as the fold does
    parsed = [recount.parse(b"c", each, NOW // 1000 + 10**9) for each in (FIRST, sent)]
    columns = ["event_id", "kind", "customer_id", "occurred_at", "order_id", "amount"]
    counted = recount.recount(pd.DataFrame(parsed, columns=columns).assign(place=[0, 1]))
    assert {name: int(counted[name]["c"]) for name in recount.COMPARED} == {n: after[n] for n in recount.COMPARED}


def test_a_type_that_the_fold_does_not_name_changes_nothing_of_a_customer() -> None:
    """Mutation caught: `else` for `purchase`: two purchase days, and a purchase moved, of a kind nobody knew."""
    known = Table()
    first = batch([Event("c", NOW, PURCHASE, 100_000, "o1", "e1")])
    known.fold(first, known.locate(first), first.index, 0, np.zeros(len(NOTED), np.int64))
    before = known.rows[0].copy()
    unknown = batch([Event("c", NOW + DAY, 99, 190_000, "o2", "e2")])
    assert len(known.fold(unknown, known.locate(unknown), unknown.index + 1, 0, np.zeros(len(NOTED), np.int64))) == 0
    remembered = ("browsed_low", "browsed_high", "browsed_slot", "traded_low", "traded_high", "traded_slot", "seen")
    same = [name for name in ROW.names or () if name not in remembered]
    assert [known.rows[0][name].tolist() for name in same] == [before[name].tolist() for name in same]
