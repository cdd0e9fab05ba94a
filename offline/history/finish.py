"""The cleaning steps over all rows of a customer: ids, exact duplicates, keys, cancelled sales, outliers.

The last two look at what came later: a return, other amounts. So does what was filled in from other rows, and a key of
which a later sale stands first in its file. What comes of these is for what is known at the end; what is judged as of
an earlier moment takes the rows without them (`streamed`).
Rule: what happens to a row depends on what is told of its file and on rows of its own customer, unless the policy
compares customers; so a part of the customers is finished like all of them, in this process or another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from models.kinds import PURCHASE
from offline.history import overlap, spill, steps, totals
from offline.history.files import SCHEMA
from offline.history.judge import CAME, FILE, FILLED
from offline.history.policy import IDS, ORDER, Policy
from offline.history.quality import Line
from offline.history.values import Bools

PART = SCHEMA.append(pa.field("place", pa.int64()))


@dataclass(frozen=True)
class Told:
    """Of a file, known when all of it was read. cleaned: was it written here? timed: is any time not a midnight?
    stamped: holds it more than dates? last: occurred_at of its last usable event, -1 without one. whole: the columns
    whose ids are all floats. ordered: may its amounts be those of its orders?
    """

    cleaned: bool
    timed: bool
    stamped: bool
    last: int
    whole: frozenset[str]
    ordered: bool = False


@dataclass(frozen=True)
class Finished:
    """What the steps over a part's rows did to them. ids: how often each stands there, by column; differs: whether a
    stream counts other events; filled: rows that it counts without what was filled in, or not at all; overlap:
    `overlap.by_day` of the files, None of one alone; once: rows whose amount counts on another line of their order;
    amounts: `totals.by_amount`, None where amounts are those of lines."""

    future: int
    duplicates: int
    duplicates_kept: int
    keys: int
    cancelled: int
    outliers: int
    kept: int
    last: int
    ids: dict[str, pa.Table]
    notes: list[Line]
    differs: bool
    filled: int = 0
    lost: int = 0  # |amounts| of the duplicates that left
    overlap: pd.DataFrame | None = None
    once: int = 0
    amounts: pd.DataFrame | None = None


def finish_file(path: Path, told: Sequence[Told], policy: Policy, until: int) -> Finished:
    """Puts the events of a part beside its rows (`events`, and `streamed` where they are others), which may be finished
    again."""
    frame, stood, done = finish(spill.load(path), told, policy, until)
    for each, name in [(frame, events(path)), *([(stood, streamed(path))] if done.differs else [])]:
        spill.store(pa.Table.from_pandas(each, PART, preserve_index=False), name)
    return done


def events(path: Path) -> Path:
    return path.with_suffix(".events")


def streamed(path: Path) -> Path:
    return path.with_suffix(".streamed")


def finish(
    table: pa.Table, told: Sequence[Told], policy: Policy, until: int
) -> tuple[pd.DataFrame, pd.DataFrame, Finished]:
    """(the events before `until` (us; columns of PART, sorted by occurred_at and place) among usable rows, which are in
    file order, but for those as they came; the same as a stream counts them; what was done).
    """
    future, stands = table["occurred_at"].to_numpy() >= until, table["stands"].to_numpy()
    guessed = int((~future & (stands == FILLED)).sum())
    once, again, duplicate, lost = _once(table.filter(pa.array(~future & (stands != CAME))), told, policy)
    once, on_others = _of_orders(once, policy)
    ids, repeated = steps.counted(once), _repeated(once, policy)
    once = _by_time(once.filter(pa.array(~repeated)))
    frame = once.select([*PART.names, "named"]).to_pandas()
    cancelled = steps.cancelled(frame) if policy.cancelled else np.zeros(len(frame), np.bool_)
    before = frame[PART.names]
    frame, unusual, notes = _outliers(before[~cancelled].reset_index(drop=True), policy)
    others = guessed or repeated.any()
    stood = _stood(table.filter(pa.array(~future & (stands != FILLED))), told, policy) if others else before
    done = Finished(
        future=int((future & (stands != CAME)).sum()),
        duplicates=int(duplicate.sum()),
        duplicates_kept=int((again & ~duplicate).sum()),
        keys=int(repeated.sum()),
        cancelled=int(cancelled.sum()),
        outliers=unusual,
        kept=len(frame),
        last=int(frame["occurred_at"].max()) if len(frame) else -1,
        ids=ids,
        notes=notes,
        differs=guessed > 0 or any(not frame[name].equals(stood[name]) for name in ("place", "amount")),
        filled=guessed,
        lost=lost,
        overlap=overlap.by_day(before, before["place"].to_numpy() // FILE) if len(told) > 1 else None,
        once=on_others,
        amounts=_amounts(once, told) if policy.amount_of is None else None,
    )
    return frame, stood, done


def _once(table: pa.Table, told: Sequence[Told], policy: Policy) -> tuple[pa.Table, Bools, Bools, int]:
    """(rows with ids, without exact duplicates; of those that were given, which came before; which of these left;
    their |amounts|)."""
    table = _ids(table, told, policy.by_content)
    again = _duplicates(table)
    duplicate = again & _of_file(table, [file.stamped and not policy.keep_duplicates for file in told])
    lost = int(np.abs(table["amount"].to_numpy()[duplicate]).sum())
    return table.filter(pa.array(~duplicate)), again, duplicate, lost


def _of_orders(table: pa.Table, policy: Policy) -> tuple[pa.Table, int]:
    """(rows in file order with the amount of an order on its first line alone, where amounts are those of orders; how
    many others had it)."""
    if policy.amount_of != ORDER:
        return table, 0
    again = totals.again(table.select([*totals.KEY, "kind", "amount"]).to_pandas())
    return _with(table, "amount", pa.array(np.where(again, 0, table["amount"].to_numpy()))), int(again.sum())


def _amounts(table: pa.Table, told: Sequence[Told]) -> pd.DataFrame | None:
    """Of the purchases in files whose amounts may be those of orders."""
    if not any(file.ordered for file in told):
        return None
    bought = _of_file(table, [file.ordered for file in told]) & (table["kind"].to_numpy() == PURCHASE)
    lines = table.select([*totals.KEY, "product_id", "content", "amount"]).filter(pa.array(bought))
    return totals.by_amount(lines.to_pandas())


def _repeated(table: pa.Table, policy: Policy) -> Bools:
    return steps.repeated(table, policy.key) if policy.key else np.zeros(len(table), np.bool_)


def _by_time(table: pa.Table) -> pa.Table:
    return table.take(pa.array(np.argsort(table["occurred_at"].to_numpy(), kind="stable")))


def _stood(table: pa.Table, told: Sequence[Told], policy: Policy) -> pd.DataFrame:
    """Rows as they came, in any order, as a stream counts them; of equal keys the first in time."""
    in_order = table.take(pa.array(np.argsort(table["place"].to_numpy(), kind="stable")))
    table = _by_time(_of_orders(_once(in_order, told, policy)[0], policy)[0])
    stood: pd.DataFrame = table.filter(pa.array(~_repeated(table, policy))).select(PART.names).to_pandas()
    return stood


def _of_file(table: pa.Table, told: Sequence[bool]) -> Bools:
    """For each row what is told of its file."""
    of: Bools = np.array(told)[table["place"].to_numpy() // FILE]
    return of


def _ids(table: pa.Table, told: Sequence[Told], by_content: bool) -> pa.Table:
    """Floats of `whole` columns become the numbers they were; then an event without id gets one, and its own order.

    by_content: h:<hash of the row's text>:<rows before it of that text>, else h:<file>:<row>. Adds `named`: is there
    a product or an order? Not in a cleaned history, whose cancelled sales have left.
    """
    for name in IDS:
        whole = _of_file(table, [name in file.whole for file in told])
        if whole.any():
            text = pc.replace_substring_regex(table[name], r"\.0$", "")
            table = _with(table, name, pc.if_else(pa.array(whole), text, table[name]))
    number, row = np.divmod(table["place"].to_numpy(), FILE)
    if by_content:
        number = table["content"].to_numpy()
        row = pd.Series(number).groupby(number).cumcount().to_numpy()
    texts = (pa.array(of).cast(pa.large_string()) for of in (number, row))
    made = pc.binary_join_element_wise(pa.scalar("h", pa.large_string()), *texts, pa.scalar(":", pa.large_string()))
    event = pc.coalesce(table["event_id"], made)
    named = pc.or_(table["product_id"].is_valid(), table["order_id"].is_valid())
    named = pc.and_(named, pa.array(~_of_file(table, [file.cleaned for file in told])))
    table = _with(_with(table, "event_id", event), "order_id", pc.coalesce(table["order_id"], event))
    return table.append_column("named", named)


def _with(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)


def _outliers(frame: pd.DataFrame, policy: Policy) -> tuple[pd.DataFrame, int, list[Line]]:
    """(frame without dropped or with capped purchases, how many were dropped, notes)."""
    if policy.outliers is None:
        return frame, 0, []
    unusual = steps.outliers(frame, policy.outliers)
    if policy.action == "drop":
        return frame[~unusual].reset_index(drop=True), int(unusual.sum()), []
    if policy.action == "cap" and unusual.any():
        usual = ~unusual & ((frame["kind"] == PURCHASE) & (frame["amount"] > 0)).to_numpy()
        frame = frame.assign(amount=steps.capped(frame["amount"].to_numpy(), unusual, usual))
    done = "changed: capped at the nearest usual one" if policy.action == "cap" else "flagged"
    return frame, 0, [Line("outliers", "amount", f"{done} ({policy.outliers})", int(unusual.sum()))]


def _duplicates(table: pa.Table) -> Bools:
    """Which rows came before. Few rows share a hash of their whole text; those must also agree in every value read."""
    again = pd.Series(table["content"].to_numpy()).duplicated(keep=False).to_numpy(copy=True)
    same = table.select(["content", "customer_id", "kind", "occurred_at", "product_id", "amount"]).filter(
        pa.array(again)
    )
    again[again] = same.to_pandas().duplicated().to_numpy()
    return again
