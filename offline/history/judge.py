"""The rows of a block of text as usable events, each judged once by the first reason that applies.

Rule: a row's values come from its own text and from what was decided for all of its file; nothing is compared here.
"""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.events import ID_BYTES
from models.kinds import NUMBER_OF, TRADED
from models.rows import DAY
from offline.history import files, steps
from offline.history.amounts import amounts
from offline.history.files import SCHEMA, File
from offline.history.formats import Formats
from offline.history.policy import NUMBERS, OURS, Policy
from offline.history.steps import IDS
from offline.history.values import Bools, Ints, times

ROWS = SCHEMA.append(pa.field("content", pa.uint64())).append(pa.field("place", pa.int64()))
FILE = 1 << 40  # rows that a file may have: a row's `place` is its file's number times this, plus its own from 1


@dataclass(frozen=True)
class Plan:
    """What is the same for all files. now: us; what is more than a day later has not happened. [since, until): us.
    fills: by column, what stands in for a missing value.
    """

    timezone: str
    now: int
    since: int
    until: int
    policy: Policy
    fills: dict[str, str]


class Rows(NamedTuple):
    """usable: SCHEMA, with null where there is no id, and content (64 bits of the row's whole text) and place.

    what: rows by what became of them, the usable first. timed: is any time not a midnight? stamped: more than dates?
    filled: rows filled by column.
    """

    usable: pa.Table
    what: Ints
    timed: bool
    stamped: bool
    filled: Counter[str]


def judge(file: File, written: Formats, plan: Plan, before: int, block: list[pa.Array]) -> Rows:
    """The rows of a block that stands after `before` others in its file."""
    n = len(block[0])
    columns = {ours: block[file.at[ours]] if ours in file.at else pa.nulls(n, pa.large_string()) for ours in OURS}
    columns |= {ours: numbers.plain(columns[ours]) for ours, numbers in written.numbers.items()}
    missing, filled = _missing(file, plan, columns)
    ids = {name: present(columns[name]) for name in IDS}
    occurred_at, time_of_day = times(columns["occurred_at"], plan.timezone, written.dayfirst)
    kind, amount, quantity, sound = amounts(columns, "amount" in file.at, _kinds(columns["event_type"]))
    named = pc.binary_length(ids["customer_id"]).fill_null(ID_BYTES + 1).to_numpy() <= ID_BYTES
    times_off = [occurred_at < 0, occurred_at > plan.now + DAY, occurred_at < plan.since, occurred_at >= plan.until]
    reasons = [~named, kind < 0, *missing, *times_off, ~sound]
    what = np.select(reasons, range(1, len(reasons) + 1), 0)
    if (what == len(reasons)).any():
        files.need_money(file)
    numbers = {"kind": kind, "occurred_at": occurred_at, "amount": amount, "quantity": quantity}
    numbers |= {"content": _hashes(block), "place": file.number * FILE + np.arange(before + 1, before + n + 1)}
    values = ids | {name: pa.array(column) for name, column in numbers.items()}
    usable = pa.table({name: values[name] for name in ROWS.names}, ROWS).filter(pa.array(what == 0))
    stamped = time_of_day or any(ids[name].null_count < n for name in ("event_id", "order_id"))
    return Rows(usable, np.bincount(what, minlength=len(reasons) + 1), time_of_day, stamped, filled)


def _missing(file: File, plan: Plan, columns: dict[str, pa.Array]) -> tuple[list[Bools], Counter[str]]:
    """(rows to drop, for each column that says so; rows filled by column); `columns` gets the filled ones.

    Views and carts need no numbers, so they lack none.
    """
    drops, filled = [], Counter[str]()
    for name in sorted(plan.policy.missing, key=("event_type", *plan.policy.missing).index):
        gone = steps.absent(columns[name]) & (name in file.at)
        if name in NUMBERS:
            gone &= np.isin(_kinds(columns["event_type"]), TRADED)
        if name in plan.fills:
            filled[name] += int(gone.sum())
            columns[name] = pc.if_else(pa.array(gone), pa.scalar(plan.fills[name], pa.large_string()), columns[name])
        else:
            drops.append((name, gone))
    return [dict(drops)[name] for name in plan.policy.dropped], filled


def present(text: pa.Array) -> pa.Array:
    """The text, null where it is blank."""
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(text), ""), None, text)


def _hashes(block: list[pa.Array]) -> NDArray[np.uint64]:
    """64 bits of each row's whole text: columns that are not read also tell two rows apart."""
    between = pa.scalar("\x1f", pa.large_string())
    rows = pc.binary_join_element_wise(*block, between, null_handling="replace", null_replacement="\x00")
    hashes: NDArray[np.uint64] = pd.util.hash_array(rows.to_numpy(zero_copy_only=False), categorize=False)
    return hashes


def _kinds(text: pa.Array) -> NDArray[np.int8]:
    """The kind of each event type, purchase where there is none, -1 for any other."""
    word = pc.utf8_lower(pc.utf8_trim_whitespace(text)).fill_null("purchase")
    number = pc.index_in(word, pa.array([*NUMBER_OF], pa.large_string())).fill_null(len(NUMBER_OF)).to_numpy()
    kinds: NDArray[np.int8] = np.array([*NUMBER_OF.values(), -1], np.int8)[number]
    return kinds
