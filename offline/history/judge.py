"""The rows of a block of text as usable events, each judged once by the first reason that applies.

Rule: a row's values come from its own text and from what was decided for all of its file; nothing is compared here.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.events import ID_BYTES
from models.kinds import PURCHASE, TRADED
from models.rows import DAY
from offline.history import currencies, files, ids, steps
from offline.history.amounts import amounts
from offline.history.files import SCHEMA, File
from offline.history.formats import Formats
from offline.history.kinds import kinds, words
from offline.history.policy import IDS, NUMBERS, OURS, Policy
from offline.history.quality import Note
from offline.history.times import times
from offline.history.values import Bools, Ints, matches, money
from offline.history.wanted import below, columns_used, untold, unwanted
from offline.history.words import TOTAL

ROWS = pa.schema([*SCHEMA, ("content", pa.uint64()), ("place", pa.int64()), ("stands", pa.int8())])
EVERYWHERE, FILLED, CAME = range(3)  # does a row stand in the cleaned history alone, or as a stream counts it alone?
NOISE = ("blank", "headers", "totals")
ASIDE = (*NOISE, "unwanted")  # no events, or none that are asked for
MANY = 100  # rows that are looked at for an example
BELOW = "price below 0: a discount? give the line's amount, which may be below 0 (--columns amount=...)"
UNCOUNTED = "told: no number that can be read, so each is one unit"
FIRST = "does it stand on an order's first line only? Say --fill-down order"
LOOKED_AT = {"bad_times": ("occurred_at",), "bad_numbers": NUMBERS}
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
    """usable: SCHEMA, with null where there is no id, and content (64 bits of the row's whole text), place, and stands:
    FILLED where a value was made from other rows. came: such rows, CAME, without it, where a stream takes them.

    what: rows by the reason for which they leave, "" where they are usable; money: |amounts| of these, as far as they
    can be read. timed: is any time not a midnight? stamped: more than dates? notes: rows that were changed or that one
    should know of, by step, column and words. words: of no known event type. currencies: usable rows of money by
    currency, "" where none is told. examples: of what was not read, by reason. products: usable rows whose amount is
    their quantity x price.
    """

    usable: pa.Table
    came: pa.Table
    what: Counter[str]
    money: Counter[str]
    timed: bool
    stamped: bool
    notes: Counter[Note]
    words: Counter[str]
    currencies: Counter[str]
    examples: dict[str, str]
    products: int


def reasons(policy: Policy) -> tuple[str, ...]:
    """Why a row may leave, in the order in which that is asked."""
    return (
        *ASIDE,
        "without_customer",
        "other_types",
        *policy.dropped,
        "bad_times",
        "ahead",
        "early",
        "future",
        "bad_numbers",
    )


def judge(file: File, written: Formats, plan: Plan, before: int, block: list[pa.Array]) -> Rows:
    """The rows of a block that stands after `before` others in its file."""
    n = len(block[0])
    raw = {ours: block[file.at[ours]] if ours in file.at else pa.nulls(n, pa.large_string()) for ours in OURS}
    priced = currencies.column(file)
    raw[priced], beside = currencies.apart(raw[priced], plan.policy)
    bare = raw | {ours: numbers.plain(raw[ours]) for ours, numbers in written.numbers.items()}
    columns, notes = dict(bare), Counter[Note]()
    missing, filled = _missing(file, plan, columns)
    found = {name: (columns[name], 0) if file.cleaned else ids.present(columns[name]) for name in IDS}
    occurred_at, time_of_day = times(columns["occurred_at"], plan.timezone, written.dayfirst, written.serial)
    of = currencies.of_rows(file, written.numbers.get(priced), block, beside)
    kind, amount, quantity, sound = _worth(file, plan, columns, of, notes)
    nobody = ID_BYTES + 1 if "customer_id" in plan.policy.needs else 0
    named = pc.binary_length(found["customer_id"][0]).fill_null(nobody).to_numpy() <= ID_BYTES
    aside = [*_noise(file, plan.policy, block, occurred_at), unwanted(file, plan.policy, block)]
    if "occurred_at" not in file.at:  # of a job that asks for no times, and all at once is as good as any
        occurred_at = np.zeros(n, np.int64)
    why = [*aside, ~named, kind < 0, *missing, *_times_off(plan, occurred_at), ~sound]
    what = np.select(why, range(1, len(why) + 1), 0)
    if (what == len(why)).any():
        files.need_money(file)
    numbers = {"kind": kind, "occurred_at": occurred_at, "amount": amount, "quantity": quantity}
    numbers |= {"content": hashes(block), "place": file.number * FILE + np.arange(before + 1, before + n + 1)}
    numbers |= {"stands": np.full(n, EVERYWHERE, np.int8)}
    values = {name: of for name, (of, _) in found.items()}
    values |= {name: pa.array(column) for name, column in numbers.items()}
    guessed = (what == 0) & np.any([filled[name] for name in plan.policy.estimated if name in filled], axis=0)
    bare |= {name: columns[name] for name in filled if name not in plan.policy.estimated}
    usable = pa.table({name: values[name] for name in ROWS.names}, ROWS)
    usable, came = _apart(file, plan, guessed, usable, bare, of) if guessed.any() else (usable, usable[:0])
    usable = usable.filter(pa.array(what == 0))
    stamped = time_of_day or any(values[name].null_count < n for name in ("event_id", "order_id"))
    names = ("", *reasons(plan.policy))
    notes["missing", "customer_id", "told: sales without a customer stay"] = usable["customer_id"].null_count
    for name, rows in filled.items():
        notes["missing", name, f"changed: filled with {plan.fills[name]}"] += int((rows & (what == 0)).sum())
    notes.update({("ids", name, "changed: blanks around them left"): changed for name, (_, changed) in found.items()})
    for name, lines in untold(file, plan.policy, block).items():
        notes["rows", "", f"told: {name!r} stands on an order's first line only; say --fill-down order"] = int(
            lines.sum()
        )
    notes["numbers", "quantity", UNCOUNTED] = int((_uncounted(file, columns, kind) & (what == 0)).sum())
    bad = _bad_numbers(file, columns, what == names.index("bad_numbers"), notes)
    below_first = {"without_customer": FIRST} if _first_lines(file, plan.policy, block) else {}
    return Rows(
        usable,
        came,
        Counter({name: rows for name, rows in zip(names, np.bincount(what).tolist(), strict=False) if rows}),
        _money(columns, "amount" in file.at, amount, what, names),
        time_of_day,
        stamped,
        notes,  # those of no row too, so that they stand in one order wherever a block begins
        words(raw["event_type"], what == names.index("other_types")),
        _counted(of.filter(pa.array((what == 0) & (amount != 0))).fill_null("")),
        below_first | _examples(raw, columns, what, names) | bad,
        int((_products(file, columns) & (what == 0)).sum()),
    )


def _products(file: File, columns: Mapping[str, pa.Array]) -> Bools:
    """Which rows have an amount that is quantity x price, as far as the file has all three."""
    n = len(columns["amount"])
    if not {"amount", "quantity", "unit_price"} <= file.at.keys():
        return np.zeros(n, np.bool_)
    (_, amount, *_), (_, product, _, sound) = (
        amounts(columns, whole, np.full(n, PURCHASE, np.int8)) for whole in (True, False)
    )
    same: Bools = sound & (np.abs(amount) == np.abs(product))
    return same


def _uncounted(file: File, columns: Mapping[str, pa.Array], kind: NDArray[np.int8]) -> Bools:
    """Which rows have an amount, and a quantity that is no number (500 g among pieces), so that nothing else tells."""
    if not {"amount", "quantity"} <= file.at.keys():
        return np.zeros(len(kind), np.bool_)
    _, counted = money(columns["quantity"])
    uncounted: Bools = np.isin(kind, TRADED) & ~counted & ~steps.absent(columns["quantity"])
    return uncounted


def _worth(
    file: File, plan: Plan, columns: Mapping[str, pa.Array], of: pa.Array, notes: Counter[Note]
) -> tuple[NDArray[np.int8], Ints, Ints, Bools]:
    """`amounts`, in the history's currency. of: the currency of each row."""
    kind, amount, quantity, sound = amounts(
        columns, "amount" in file.at, kinds(columns["event_type"], plan.policy.types)
    )
    amount, fits = currencies.convert(amount, of, plan.policy.rates, notes)
    return kind, amount, quantity, (sound & fits) | ("amount" not in plan.policy.needs and files.worthless(file))


def _times_off(plan: Plan, occurred_at: Ints) -> list[Bools]:
    """Which rows leave for their time: that cannot be read, is still to come, before the first day, behind the last."""
    until = occurred_at >= plan.until  # somebody wants these to leave, even of those to come
    return [occurred_at < 0, (occurred_at > plan.now + DAY) & ~until, occurred_at < plan.since, until]


def counting(file: File, written: Formats, plan: Plan, block: list[pa.Array]) -> list[pa.Array]:
    """The rows of a block that are wanted and of the plan's time: a statistic comes from no others."""
    gone = unwanted(file, plan.policy, block)
    if "occurred_at" in file.at:
        occurred_at, _ = times(block[file.at["occurred_at"]], plan.timezone, written.dayfirst, written.serial)
        gone |= np.any(_times_off(plan, occurred_at), axis=0)
    return [column.filter(pa.array(~gone)) for column in block]


def _apart(
    file: File, plan: Plan, guessed: Bools, table: pa.Table, bare: Mapping[str, pa.Array], of: pa.Array
) -> tuple[pa.Table, pa.Table]:
    """(rows with `Rows.usable.stands`, `Rows.came`). guessed: (n,) rows that hold what was made from other rows; bare:
    columns without it; of: the currency of each row."""
    rows = np.flatnonzero(guessed)
    filled = came = table.take(pa.array(rows))
    bare = {name: column.take(pa.array(rows)) for name, column in bare.items()}
    kind, amount, quantity, sound = _worth(file, plan, bare, of.take(pa.array(rows)), Counter())
    product = bare["product_id"] if file.cleaned else ids.present(bare["product_id"])[0]
    others = ~sound
    for name, column in {"kind": kind, "amount": amount, "quantity": quantity, "product_id": product}.items():
        came = _with(came, name, pa.array(column))
        ours, theirs = (each[name].to_pandas() for each in (filled, came))
        others |= ((ours != theirs) & (ours.notna() | theirs.notna())).to_numpy()
    stands = np.full(len(table), EVERYWHERE, np.int8)
    stands[rows[others]] = FILLED
    came = _with(came, "stands", pa.array(np.full(len(rows), CAME, np.int8)))
    return _with(table, "stands", pa.array(stands)), came.filter(pa.array(others & sound))


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(ROWS.names.index(name), ROWS.field(name), column)


def _counted(texts: pa.Array) -> Counter[str]:
    found = texts.drop_null().value_counts()
    return Counter(dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))


def _noise(file: File, policy: Policy, block: list[pa.Array], occurred_at: Ints) -> list[Bools]:
    """Which rows are no events: blank ones, the header again, and totals. None of them has a time that can be read, so
    only such rows are looked at. Raises HistoryError where the header comes again with other columns."""
    found = [np.zeros(len(occurred_at), np.bool_) for _ in NOISE]
    if not len(rows := np.flatnonzero(occurred_at < 0)):
        return found
    cells = [column.take(pa.array(rows)) for column in block]
    gone = [steps.absent(column) for column in cells]
    again, anew = _headers(file, columns_used(file, policy), cells, gone)
    if anew.any():
        raise files.named_anew(file, [cells[at][int(anew.argmax())].as_py() or "" for at in range(len(cells))])
    ended = [matches(column, TOTAL) for column in cells]
    bare = [gone[at] | ended[at] for ours in ("occurred_at", "customer_id") if (at := file.at.get(ours)) is not None]
    found[0][rows] = np.all(gone, axis=0)
    found[1][rows] = again
    found[2][rows] = np.any(ended, axis=0) & np.all(bare, axis=0)
    return found


def _headers(file: File, used: Sequence[int], cells: list[pa.Array], gone: list[Bools]) -> tuple[Bools, Bools]:
    """(rows that are the header again, rows that name the columns anew, so that what is used stands elsewhere below).
    At least two cells of such a row are names, and more than half of them. gone: cells in which nothing stands."""
    names, ours = ids.folded(pa.array(file.header, pa.large_string())), [*file.at.values()]
    some = np.any([_among(ids.folded(cells[at]), names) for at in ours], axis=0)  # of most rows no cell is a name
    texts = [ids.folded(column.filter(pa.array(some))) for column in cells]
    filled = [~none[some] for none in gone]
    same = {at: _among(texts[at], names.slice(at, 1)) for at in used}
    hits = np.sum([_among(text, names) & there for text, there in zip(texts, filled, strict=True)], axis=0)
    header = np.all([same[at] for at in ours], axis=0) | ((hits >= 2) & (2 * hits > np.sum(filled, axis=0)))
    other = header & np.any([~same[at] & filled[at] for at in used], axis=0)
    again, anew = np.zeros_like(some), np.zeros_like(some)
    again[some], anew[some] = header & ~other, other
    return again, anew


def _among(texts: pa.Array, names: pa.Array) -> Bools:
    found: Bools = pc.is_in(texts, names).to_numpy(zero_copy_only=False)
    return found


def _money(
    columns: Mapping[str, pa.Array], whole_amounts: bool, amount: Ints, what: NDArray[np.int64], names: Sequence[str]
) -> Counter[str]:
    """|amounts| of rows by what became of them; of those that leave, what they would be worth as purchases."""
    money = Counter({"": float(np.abs(amount[what == 0]).sum(dtype=np.float64))})
    if len(rows := np.flatnonzero(what > len(ASIDE))):
        lost = {ours: columns[ours].take(pa.array(rows)) for ours in NUMBERS}
        lost["unit_price"] = pc.replace_substring_regex(lost["unit_price"], r"^\s*-", "")  # no amount is one below 0
        _, worth, _, _ = amounts(lost, whole_amounts, np.full(len(rows), PURCHASE, np.int8))
        sums = np.bincount(what[rows], np.abs(worth), minlength=len(names))
        money.update({name: each for name, each in zip(names, sums.tolist(), strict=True) if each})
    return money


def _bad_numbers(file: File, columns: Mapping[str, pa.Array], bad: Bools, notes: Counter[Note]) -> dict[str, str]:
    """Why most of the rows with a bad number have one, where it is no number that cannot be read; `notes` gets it."""
    price, sound = money(columns["unit_price"])
    counting = ("amount",) if "amount" in file.at else ("quantity", "unit_price")
    why = [("missing", ours, f"no {ours}: --missing {ours}=drop, if they are no sales") for ours in counting]
    rows = [steps.absent(columns[ours]) & bad & (ours in file.at) for ours in counting]
    why, rows = [*why, ("numbers", "unit_price", BELOW)], [*rows, sound & (price < 0) & bad & ("amount" not in file.at)]
    notes.update(
        {(step, ours, f"told: {what}"): int(of.sum()) for (step, ours, what), of in zip(why, rows, strict=True)}
    )
    most = max(range(len(rows)), key=lambda n: rows[n].sum())
    return {"bad_numbers": why[most][2]} if rows[most].sum() * 2 > bad.sum() else {}


def _first_lines(file: File, policy: Policy, block: list[pa.Array]) -> bool:
    """Does a customer stand on the first line of an order only, and nobody said so?"""
    if policy.fill_down or not {"customer_id", "order_id"} <= file.at.keys():
        return False
    if not ids.present(block[file.at["customer_id"]])[0].null_count:
        return False
    lacks, _ = below(*(block[file.at[name]] for name in ("order_id", "customer_id")))
    return bool(lacks.any())


def _examples(
    raw: Mapping[str, pa.Array], plain: Mapping[str, pa.Array], what: NDArray[np.int64], names: Sequence[str]
) -> dict[str, str]:
    """The first time and number that were not read; of a number, which may be a name, its form alone."""
    found = {}
    for reason, columns in LOOKED_AT.items():
        rows = np.flatnonzero(what == names.index(reason))[:MANY].tolist()
        at = ((ours, row) for row in rows for ours in columns if raw[ours][row].as_py())
        if reason == "bad_numbers":
            at = ((ours, row) for ours, row in at if not money(plain[ours].slice(row, 1))[1][0])
        if first := next(at, None):
            text = raw[first[0]][first[1]].as_py()
            number = reason == "bad_numbers"
            example = repr((_form(text) if number else text)[:40])
            found[reason] = f"{'numbers' if number else 'times'} like {example} are not read"
    return found


def _form(text: str) -> str:
    """What a text looks like.

    >>> _form("Zoë, 12.5")
    'aaa, 99.9'
    """
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", text))


def _missing(file: File, plan: Plan, columns: dict[str, pa.Array]) -> tuple[list[Bools], dict[str, Bools]]:
    """(the rows to drop, for each column that says so; those that were filled, by column); `columns` gets the filled
    ones. Views and carts need no numbers, so they lack none.
    """
    drops, filled = dict[str, Bools](), dict[str, Bools]()
    for name in sorted(plan.policy.missing, key=("event_type", *plan.policy.missing).index):
        gone = steps.absent(columns[name]) & (name in file.at)
        if name in NUMBERS:
            gone &= np.isin(kinds(columns["event_type"], plan.policy.types), TRADED)
        if name in plan.fills:
            filled[name] = gone
            columns[name] = pc.if_else(pa.array(gone), pa.scalar(plan.fills[name], pa.large_string()), columns[name])
        else:
            drops[name] = gone
    return [drops[name] for name in plan.policy.dropped], filled


def hashes(block: list[pa.Array]) -> NDArray[np.uint64]:
    """64 bits of each row's whole text: columns that are not read also tell two rows apart."""
    between = pa.scalar("\x1f", pa.large_string())
    rows = pc.binary_join_element_wise(*block, between, null_handling="replace", null_replacement="\x00")
    hashes: NDArray[np.uint64] = pd.util.hash_array(rows.to_numpy(zero_copy_only=False), categorize=False)
    return hashes
