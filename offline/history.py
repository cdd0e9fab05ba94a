"""History files (CSV, Parquet) become one canonical frame of events, and a table says what happened to every row.

Every column is read as text and every value comes from that text, exactly: money is int64 in 1/10,000 of the major
unit, rounded half-even like the stream's. Files are streamed in blocks. The steps of `read`: decode, find formats, fill
what is missing, judge each row, ids, exact duplicates, keys, cancelled sales, outliers.
Rule: each row is counted once, by the first that applies: without customer, other event type, missing by the policy,
bad time, future, bad number, duplicate, key, cancelled, outlier; else it is kept. A file with dates alone keeps its
duplicates: two equal purchases on one day are real as far as anyone knows. Errors are `HistoryError`, one line.
"""

import zoneinfo
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.events import END, ID_BYTES, LIMIT, PURCHASE, RETURN, SECOND
from offline import clean, files, formats
from offline.clean import IDS
from offline.errors import HistoryError as HistoryError
from offline.files import KINDS, SCHEMA, File
from offline.formats import Formats
from offline.policy import NUMBERS, OURS, Policy
from offline.quality import LABELS, Counts, Line
from offline.values import Bools, Ints, money, times


@dataclass(frozen=True, eq=False)
class History:
    """frame: a row for each event, index 0..n-1, sorted by (occurred_at, file order). counts: what became of the rows.

    Columns: event_id str, kind int8 (PURCHASE, RETURN, VIEW, CART of models.events), customer_id str, occurred_at int64
    (us since the epoch, UTC), order_id str, product_id str (NaN: none), amount int64 (1/10,000 major unit) and quantity
    int64 (1/10,000 unit, so that kilos are exact; one unit where the file gives none), both negative for a return and 0
    for views and carts.
    """

    frame: pd.DataFrame
    counts: Counts


@dataclass(frozen=True)
class _Plan:
    """What is the same for all files. fills: by column, what stands in for a missing value."""

    timezone: str
    until: int
    policy: Policy
    fills: dict[str, str]


def read(
    paths: Sequence[Path],
    columns: Mapping[str, str],
    timezone: str = "UTC",
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    policy: Policy | None = None,
) -> History:
    """The events of all files, in the order of (occurred_at, file, row).

    columns: our name -> theirs, for those that differ; ours are `OURS`. Needed: customer_id, occurred_at and amount, or
    quantity and unit_price (amount goes first). Optional: event_type (else purchase), event_id (else "h:<file>:<row>",
    counted from 0 and 1), order_id (else the event is its own order), product_id. A negative amount or quantity means
    return. timezone: of times without offset; a wall time that comes twice means the first, one that is skipped the
    moment after the gap. until: us, exclusive. progress: called with (bytes done, bytes in all). policy: how
    to clean, by default as `Policy` says. Raises HistoryError.
    """
    try:
        zoneinfo.ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise HistoryError(f"--timezone: {timezone!r} is not known; say for example Europe/Berlin") from None
    policy = policy or Policy()
    opened = files.look(paths, columns, policy)
    found = {file.number: formats.decide(file, policy) for file in opened}
    fills = clean.fills(opened, found, policy)
    plan = _Plan(timezone, END * SECOND if until is None else until, policy, fills)
    done, total = 0, sum(file.size for file in opened)
    parts: list[pa.Table] = []
    notes: list[Line] = []
    tally = np.zeros(6 + len(policy.dropped), np.int64)
    for file in opened:
        part, what, told = _file(file, found[file.number], plan, partial(_tell, progress, done, total))
        parts += part
        tally, notes, done = tally + what, [*notes, *told], done + file.size
    if not tally[0]:
        raise _nothing(opened, tally, policy)
    return _history(pa.concat_tables(parts), tally, notes, policy)


def _tell(progress: Callable[[int, int], None] | None, done: int, total: int, position: int) -> None:
    if progress:
        progress(done + position, total)


def _file(
    file: File, written: Formats, plan: _Plan, progress: Callable[[int], object]
) -> tuple[list[pa.Table], Ints, list[Line]]:
    """(usable events if there are rows, rows by what became of them, notes); ids are made whole over all blocks."""
    parts, rows, stamped, filled = [], 0, False, Counter[str]()
    tally, whole = np.zeros(6 + len(plan.policy.dropped), np.int64), set(IDS) & file.at.keys()
    for block, position in files.blocks(file):
        part, what, more, fills = _clean(file, written, plan, rows, block)
        whole = {name for name in whole if clean.floats(_present(block[file.at[name]]))}
        parts.append(part)
        rows, tally, stamped = rows + len(block[0]), tally + what, stamped or more
        filled += fills
        progress(position)
    sort = f"{file.encoding}, separated by {file.delimiter!r}" if file.delimiter else "Parquet"
    notes = [Line("decode", "", f"told: {file.path.name}: {sort}", rows), *written.notes(rows)]
    notes += [Line("missing", column, f"changed: filled with {plan.fills[column]}", n) for column, n in filled.items()]
    if not parts:
        return [], tally, notes
    table, changed = _ids(pa.concat_tables(parts), sorted(whole), file.cleaned)
    return [table.append_column("stamped", pa.repeat(stamped, len(table)))], tally, notes + changed


def _ids(table: pa.Table, whole: Sequence[str], cleaned: bool) -> tuple[pa.Table, list[Line]]:
    """Floats of `whole` columns become the numbers they were; then an event without id gets one, and its own order."""
    notes = []
    for name in whole:
        if changed := len(table) - table[name].null_count:
            notes.append(Line("ids", name, "changed: 17850.0 to 17850 and the like", changed))
            text = pc.replace_substring_regex(table[name], r"\.0$", "")
            table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), text)
    event = pc.coalesce(table["event_id"], table["made"])
    named = pc.or_(table["product_id"].is_valid(), table["order_id"].is_valid())
    table = table.append_column("named", pc.and_(named, not cleaned))  # of a cleaned history, sales were cancelled
    for name, ids in (("event_id", event), ("order_id", pc.coalesce(table["order_id"], event))):
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), ids)
    return table.drop_columns("made"), notes


def _nothing(opened: Sequence[File], tally: Ints, policy: Policy) -> HistoryError:
    missing = [f"without {column}" for column in policy.dropped]
    labels = [LABELS[name].strip("- ") for name in list(LABELS)[1:6]]
    reasons = zip([*labels[:2], *missing, *labels[2:]], tally.tolist()[1:], strict=True)
    what = ", ".join(f"{n:,} {label}" for label, n in reasons if n) or "no rows"
    names = ", ".join(str(file.path) for file in opened)
    return HistoryError(f"{names}: no row can be used ({what}); times: ISO 8601, numbers: 1234.56")


def _history(table: pa.Table, tally: Ints, notes: list[Line], policy: Policy) -> History:
    """The steps over all rows, in order, and the counts."""
    _, no_customer, other_types, *missing, bad_times, future, bad_numbers = tally.tolist()
    again = _duplicates(table)
    duplicate = again & table["stamped"].to_numpy()
    table = table.filter(pa.array(~duplicate))
    notes += clean.lost_zeros(table)
    repeated = clean.repeated(table, policy.key) if policy.key else np.zeros(len(table), np.bool_)
    table = table.filter(pa.array(~repeated))
    table = table.take(pa.array(np.argsort(table["occurred_at"].to_numpy(), kind="stable")))
    frame = table.select([*SCHEMA.names, "named"]).to_pandas()
    cancelled = clean.cancelled(frame) if policy.cancelled else np.zeros(len(frame), np.bool_)
    frame = frame[SCHEMA.names][~cancelled].reset_index(drop=True)
    frame, unusual, told = _outliers(frame, policy)
    if frame.empty:
        raise HistoryError("no row is left: cancelled sales, or what the cleaning options drop, were all of them")
    counts = Counts(
        read=int(tally.sum()),
        without_customer=no_customer,
        other_types=other_types,
        missing=tuple(zip(policy.dropped, missing, strict=True)),
        bad_times=bad_times,
        future=future,
        bad_numbers=bad_numbers,
        duplicates=int(duplicate.sum()),
        duplicates_kept=int((again & ~duplicate).sum()),
        keys=int(repeated.sum()),
        cancelled=int(cancelled.sum()),
        outliers=unusual,
        kept=len(frame),
        notes=(*notes, *told),
    )
    return History(frame, counts)


def _outliers(frame: pd.DataFrame, policy: Policy) -> tuple[pd.DataFrame, int, list[Line]]:
    """(frame without dropped or with capped purchases, how many were dropped, notes)."""
    if policy.outliers is None:
        return frame, 0, []
    unusual = clean.outliers(frame, policy.outliers)
    if policy.action == "drop":
        return frame[~unusual].reset_index(drop=True), int(unusual.sum()), []
    if policy.action == "cap" and unusual.any():
        usual = ~unusual & ((frame["kind"] == PURCHASE) & (frame["amount"] > 0)).to_numpy()
        frame = frame.assign(amount=clean.capped(frame["amount"].to_numpy(), unusual, usual))
    done = "changed: capped at the nearest usual one" if policy.action == "cap" else "flagged"
    return frame, 0, [Line("outliers", "amount", f"{done} ({policy.outliers})", int(unusual.sum()))]


def _duplicates(table: pa.Table) -> Bools:
    """Which rows came before. Few rows share a hash of their whole text; those must also agree in every value read."""
    again = pd.Series(table["row"].to_numpy()).duplicated(keep=False).to_numpy(copy=True)
    same = table.select(["row", "customer_id", "kind", "occurred_at", "product_id", "amount"]).filter(pa.array(again))
    again[again] = same.to_pandas().duplicated().to_numpy()
    return again


# ---- rows: from text to values --------------------------------------------------------------------------------------


def _clean(
    file: File, written: Formats, plan: _Plan, rows: int, block: list[pa.Array]
) -> tuple[pa.Table, Ints, bool, Counter[str]]:
    """Of a block after `rows` others: (usable events, rows by what became of them, more than dates?, rows filled)."""
    n = len(block[0])
    columns = {ours: block[file.at[ours]] if ours in file.at else pa.nulls(n, pa.large_string()) for ours in OURS}
    columns |= {ours: numbers.plain(columns[ours]) for ours, numbers in written.numbers.items()}
    missing, filled = _missing(file, plan, columns)
    ids = {name: _present(columns[name]) for name in IDS}
    occurred_at, time_of_day = times(columns["occurred_at"], plan.timezone, written.dayfirst)
    kind, amount, quantity, sound = _amounts(columns, "amount" in file.at, _kinds(columns["event_type"]))
    named = pc.binary_length(ids["customer_id"]).fill_null(ID_BYTES + 1).to_numpy() <= ID_BYTES
    reasons = [~named, kind < 0, *missing, occurred_at < 0, occurred_at >= plan.until, ~sound]
    what = np.select(reasons, range(1, len(reasons) + 1), 0)
    if (what == len(reasons)).any():
        files.need_money(file)
    row = pa.array(np.arange(rows + 1, rows + n + 1)).cast(pa.string())
    made = pc.binary_join_element_wise(pa.scalar(f"h:{file.number}"), row, ":").cast(pa.large_string())
    numbers = {"kind": kind, "occurred_at": occurred_at, "amount": amount, "quantity": quantity}
    values = ids | {name: pa.array(column) for name, column in numbers.items()}
    table = pa.table([values[name] for name in SCHEMA.names], schema=SCHEMA)
    for name, column in {"made": made, "row": pa.array(_hashes(block))}.items():
        table = table.append_column(name, column)
    says_more = time_of_day or any(ids[name].null_count < n for name in ("event_id", "order_id"))
    return table.filter(pa.array(what == 0)), np.bincount(what, minlength=len(reasons) + 1), says_more, filled


def _missing(file: File, plan: _Plan, columns: dict[str, pa.Array]) -> tuple[list[Bools], Counter[str]]:
    """(rows to drop, for each column that says so; rows filled by column); `columns` gets the filled ones.

    Views and carts need no numbers, so they lack none.
    """
    drops, filled = [], Counter[str]()
    for name in sorted(plan.policy.missing, key=("event_type", *plan.policy.missing).index):
        gone = clean.absent(columns[name]) & (name in file.at)
        if name in NUMBERS:
            gone &= np.isin(_kinds(columns["event_type"]), [PURCHASE, RETURN])
        if name in plan.fills:
            filled[name] += int(gone.sum())
            columns[name] = pc.if_else(pa.array(gone), pa.scalar(plan.fills[name], pa.large_string()), columns[name])
        else:
            drops.append((name, gone))
    return [dict(drops)[name] for name in plan.policy.dropped], filled


def _present(text: pa.Array) -> pa.Array:
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
    number = pc.index_in(word, pa.array(list(KINDS), pa.large_string())).fill_null(len(KINDS)).to_numpy()
    kinds: NDArray[np.int8] = np.array([*KINDS.values(), -1], np.int8)[number]
    return kinds


def _amounts(
    columns: Mapping[str, pa.Array], whole_amounts: bool, kind: NDArray[np.int8]
) -> tuple[NDArray[np.int8], Ints, Ints, Bools]:
    """(kind, amount, quantity, sound): a negative amount or quantity makes a purchase a return; views are worth 0.

    What has an amount and no readable quantity is one unit.
    """
    bought = (kind == PURCHASE) | (kind == RETURN)
    quantity, counted = money(columns["quantity"])
    if whole_amounts:
        amount, sound = money(columns["amount"])
    else:
        price, sound = money(columns["unit_price"])
        sound &= counted & (quantity % 10_000 == 0) & (quantity != 0) & (price >= 0)
        sound &= np.abs(quantity / 10_000 * price) < 1.5 * LIMIT  # beyond, int64 would overflow
        amount = np.where(sound, quantity // 10_000, 0) * np.where(sound, price, 0)
        sound &= np.abs(amount) < LIMIT
    kind = np.where(bought & ((amount < 0) | (quantity < 0)), RETURN, kind).astype(np.int8)
    sign = np.select([kind == PURCHASE, kind == RETURN], [1, -1], 0)
    units = np.where(counted, np.abs(quantity), 10_000)
    return kind, sign * np.abs(amount), sign * units, sound | ~bought


# ---- the cleaned history on disk -------------------------------------------------------------------------------------


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Writes a history frame; `path` holds either what it held before or the whole frame."""
    fresh = path.with_name(path.name + ".new")
    pq.write_table(pa.Table.from_pandas(frame, SCHEMA, preserve_index=False), fresh, compression="zstd")
    fresh.replace(path)


def read_parquet(path: Path) -> pd.DataFrame:
    """The frame that `write_parquet` wrote, equal in every value and type. Raises HistoryError."""
    with files.readable(path):
        table = pq.read_table(path)
    if table.schema.remove_metadata() != SCHEMA:
        raise HistoryError(f"{path}: not a cleaned history of this version; make it anew from the history files")
    frame: pd.DataFrame = table.to_pandas()
    return frame
