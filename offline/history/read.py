"""History files (CSV, Parquet) become one canonical history of events, and a table says what happened to every row.

Every column is read as text and every value comes from that text, exactly: money is int64 in 1/10,000 of the major
unit, rounded half-even like the stream's. Files are streamed in blocks. The steps of `read`: decode, find formats, fill
what is missing, judge each row, ids, exact duplicates, keys, cancelled sales, outliers.
Rule: each row is counted once, by the first that applies: without customer, other event type, missing by the policy,
bad time, still to come, before the first day, at or after the cut-off,
bad number, duplicate, key, cancelled, outlier; else it is kept. A cut-off by default shows when all
is read: bad numbers then go before future ones. A file with dates alone keeps its duplicates: two equal purchases on
one day are real as far as anyone knows. Errors are `HistoryError`, one line.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.events import END, SECOND
from models.handover import CLEANED
from models.rows import DAY
from offline.errors import HistoryError as HistoryError
from offline.history import (
    csvs,
    currencies,
    far,
    files,
    formats,
    ids,
    judge,
    kinds,
    overlap,
    past,
    spill,
    steps,
    totals,
    wanted,
)
from offline.history.csvs import Uneven
from offline.history.files import SCHEMA, File
from offline.history.finish import Told, events, finish, finish_file, streamed
from offline.history.formats import Formats
from offline.history.judge import Plan
from offline.history.lacking import lacking
from offline.history.losses import LOST
from offline.history.overlap import Overlap
from offline.history.past import Cleaning
from offline.history.policy import ANY_CASE, IDS, NUMBERS, Policy, known
from offline.history.quality import LABELS, Counts, Line, Note
from offline.history.spill import Each, Spill
from offline.history.totals import Sums, Totals
from offline.history.values import matches
from offline.writing import replacing

SPAN = 1 << 18  # events
SAID = 0.01  # of the money: from there on it is said what goes with duplicates
PRICED = 0.9  # of a file's rows: from there on its amounts are those of lines, for quantity x price makes them


@dataclass(frozen=True, eq=False)
class History:
    """parts: the events, or the files of their parts, all of a customer in one, where they were too many to be held;
    counts: what became of the rows; last: occurred_at of the last event; cut_off: the day number of the midnight (UTC)
    at which it ends; timezone: of the shop's clock; lacking: what no file has, by `lacking.lacking`; stood: `parts`
    without the cleaning that looks at what came later, None where it found nothing; overlap: of several files, what of
    the later ones stands in an earlier one under another id, None where nothing does; totals: of orders whose lines
    have one amount, None where amounts are those of lines.
    """

    parts: pd.DataFrame | list[Path]
    counts: Counts
    last: int
    cut_off: int
    timezone: str = "UTC"
    lacking: Mapping[str, str] = field(default_factory=dict)
    stood: pd.DataFrame | list[Path] | None = None
    overlap: Overlap | None = None
    totals: Totals | Sums | None = None

    @property
    def streamed(self) -> Self:
        """The history as a stream counts it, which cannot know what comes: with both rows of each cancelled sale,
        outliers as they came, and nothing filled in that was made from other rows. Of equal keys the first in time is
        kept. What is judged as of an earlier moment is judged on this; itself where nothing differs.
        """
        return self if self.stood is None else replace(self, parts=self.stood, stood=None)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each event, index 0..n-1, sorted by (occurred_at, file order).

        Columns: event_id str, kind int8 (a number of models.kinds), customer_id str, occurred_at
        int64 (us since the epoch, UTC), order_id str, product_id str (NaN: none), amount int64 (1/10,000 major unit)
        and quantity int64 (1/10,000 unit, so that kilos are exact; one unit where the file gives none), both negative
        for a return and 0 for views and carts.
        """
        if isinstance(self.parts, list):
            whole: pd.DataFrame = pa.concat_tables(_in_order(self.parts)).to_pandas()
            return whole
        return self.parts

    def write_parquet(self, path: Path, cleanings: Sequence[Cleaning] = ()) -> None:
        """Writes the frame without holding it; `path` holds either what it held before or all of it. cleanings: that it
        went through, for people."""
        if isinstance(self.parts, list):
            _write(_in_order(self.parts), path, cleanings)
        else:
            write_parquet(self.parts, path, cleanings)


def read(
    paths: Sequence[Path],
    columns: Mapping[str, str],
    timezone: str = "UTC",
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    policy: Policy | None = None,
    scratch: Path | None = None,
    each: Each = map,
) -> History:
    """The events of all files, in the order of (occurred_at, file, row).

    columns: our name -> theirs, for those that differ; ours are `OURS`. Needed: customer_id, occurred_at and amount, or
    quantity and unit_price (amount goes first). Optional: event_type (else purchase), event_id (else "h:<file>:<row>",
    counted from 0 and 1), order_id (else the event is its own order), product_id. A negative amount or quantity means
    return. timezone: of times without offset; a wall time that comes twice means the first, one that is skipped the
    moment after the gap. until: the cut-off, us, exclusive. progress: called with (bytes done, bytes in all). policy:
    how to clean, by default as `Policy` says. scratch: a directory for the rows of a long history, which are then
    finished a part at a time by `each` and must be used while it stands. Raises HistoryError.
    """
    known(columns, timezone)
    policy = policy or Policy()
    return clean(files.look(paths, columns, policy), timezone, until, progress, policy, scratch, each)


def clean(
    opened: Sequence[File],
    timezone: str,
    until: int | None,
    progress: Callable[[int, int], None] | None,
    policy: Policy,
    scratch: Path | None = None,
    each: Each = map,
    now: int | None = None,
    whole: bool = False,
    since: int | None = None,
) -> History:
    """What `read` makes of files that were looked into. now (us): rows more than a day later are dropped, dates that
    stand alone are asked about, and without `until` it ends where `ends` says, unless `whole`. since: us, inclusive.

    Raises HistoryError.
    """
    policy = files.narrowed(opened, policy)
    for file in opened:
        wanted.check(file, policy)
    found = {file.number: formats.decide(file, policy) for file in opened}
    currencies.check_units(opened, {number: formats.numbers for number, formats in found.items()})
    last, days = END * SECOND, far.Days()
    plan = Plan(timezone, last if now is None else now, since or 0, last if until is None else until, policy, {})
    cut = None if whole or until is not None else now
    plan = replace(plan, fills=steps.constants(policy) | _statistics(opened, found, plan, cut))
    done, total = 0, sum(file.size for file in opened)
    usable, one = Spill(None if policy.compares_customers else scratch), ids.AnyCase()
    met: list[_Met] = []
    for file in opened:
        tell = partial(_tell, progress, done, total)
        met.append(_file(file, found[file.number], plan, usable.add, days, one, tell))
        done += file.size
    if "amount" in policy.needs:
        currencies.check(opened, [each.currencies for each in met], policy)
    tally = sum((each.what for each in met), Counter[str]())
    if not tally[""]:
        raise _nothing(opened, tally, met, policy)
    if now is not None:
        _ask(days, opened, since is not None, until is not None)
        until = until if until is not None or whole else ends([each.told for each in met], now) * DAY
    return _history(usable.close(), met, opened, plan, until, each)


def _statistics(opened: Sequence[File], found: Mapping[int, Formats], plan: Plan, now: int | None) -> dict[str, str]:
    """What `steps.statistics` says of the plan's rows. now: where they end at the cut-off by default, which shows only
    when all was read, with anything at all for what is missing."""
    if not plan.policy.estimated:
        return {}
    if now is not None:
        constant = steps.constants(plan.policy)
        some = {name: "1" if name in NUMBERS else "purchase" for name in plan.policy.estimated}
        trial, days, one = replace(plan, fills=some | constant), far.Days(), ids.AnyCase()
        met = [_file(file, found[file.number], trial, len, days, one, str) for file in opened]
        plan = replace(plan, until=ends([each.told for each in met], now) * DAY)
    return steps.statistics(_counting(opened, found, plan), found, plan.policy)


def _counting(
    opened: Sequence[File], found: Mapping[int, Formats], plan: Plan
) -> Iterator[tuple[File, list[pa.Array]]]:
    for file in opened:
        down = wanted.FillDown(file, plan.policy)
        for block, _ in files.blocks(file):
            yield file, judge.counting(file, found[file.number], plan, down(block))


@dataclass(frozen=True)
class _Met:
    """Of a file, when all of it was read: rows and money by the reason for which they leave ("" where they are usable),
    what usable rows come to and how many of them are below 0, examples of what was not read, event types that are none
    of ours, rows by currency, what to tell, what was named by the person and does not stand there, and what its steps
    over many rows need."""

    what: Counter[str]
    money: Counter[str]
    net: float
    below: int
    examples: dict[str, str]
    words: Counter[str]
    currencies: Counter[str]
    notes: list[Line]
    absent: set[wanted.Named]
    told: Told


def _examples(met: Sequence[_Met]) -> dict[str, str]:
    words = sum((each.words for each in met), Counter[str]())
    found = {"other_types": kinds.asked(words)} if words else {}
    return found | {reason: text for each in reversed(met) for reason, text in each.examples.items()}


def ends(told: Sequence[Told], now: int) -> int:
    """The day number of the cut-off by default: the midnight (UTC) that begins the day of the last event, for the rest
    of that day is the topic's. Of dates alone the one at which the last date ends, or nearest to it where the day is
    another zone's, for a date holds its whole day. Never one to come.

    >>> files = [Told(False, timed, timed, 7 * DAY, frozenset()) for timed in (True, False)]
    >>> [ends([file], now=99 * DAY) for file in files], ends(files, now=99 * DAY), ends(files[1:], now=8 * DAY - 1)
    ([7, 8], 7, 7)
    """
    last = max(file.last for file in told)
    if last < 0:  # all of it is still to come
        return now // DAY
    found = last // DAY if any(file.timed for file in told) else (last + DAY // 2) // DAY + 1
    return min(found, now // DAY)


def _ask(days: far.Days, opened: Sequence[File], from_told: bool, until_told: bool) -> None:
    """Raises HistoryError where dates stand alone at an end that nobody told."""
    alone = [each for each, told in zip(days.alone(), (from_told, until_told), strict=True) if each and not told]
    if alone:
        raise HistoryError("; ".join(each.question({file.number: file.path for file in opened}) for each in alone))


def _tell(progress: Callable[[int, int], None] | None, done: int, total: int, position: int) -> None:
    if progress:
        progress(done + position, total)


def _file(
    file: File,
    written: Formats,
    plan: Plan,
    usable: Callable[[pa.Table], object],
    days: far.Days,
    one: ids.AnyCase,
    progress: Callable[[int], object],
) -> _Met:
    """Reads a file; `usable` gets the usable events, `days` when they were. What is after now is no last event."""
    before, timed, stamped, last, there, products, net, below = 0, False, False, -1, Counter[str](), 0, 0.0, 0
    what, money, strange, of = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    examples, notes = dict[str, str](), Counter[Note]()
    whole = set[str]() if file.cleaned else set(IDS) & file.at.keys()
    uneven, down = Uneven(), wanted.FillDown(file, plan.policy)
    absent, empty = {*wanted.named(plan.policy)}, {*file.at.values()}
    for block, position in files.blocks(file, uneven):
        block = down(block)
        empty = {at for at in empty if block[at].null_count == len(block[at])}
        absent -= {each for each in absent if each.stands(file, block)}
        found = judge.judge(file, written, plan, before, block)
        for rows, counted in ((found.usable, notes), (found.came, Counter[Note]())):
            usable(one(rows, counted) if ANY_CASE in plan.policy.ids else rows)
        whole = {name for name in whole if steps.floats(ids.present(block[file.at[name]])[0])}
        there.update({name: int(matches(found.usable[name].combine_chunks(), steps.FLOAT).sum()) for name in whole})
        before, examples = before + len(block[0]), found.examples | examples
        for counter, more in ((what, found.what), (money, found.money), (strange, found.words), (of, found.currencies)):
            counter.update(more)
        notes.update(found.notes)
        timed, stamped, products = timed or found.timed, stamped or found.stamped, products + found.products
        times, amount = found.usable["occurred_at"].to_numpy(), found.usable["amount"].to_numpy()
        net, below = net + float(amount.sum(dtype=np.float64)), below + int((amount < 0).sum())
        last = max(last, int(times[times <= plan.now].max(initial=-1)))
        if "occurred_at" in file.at:
            days.add(times, found.usable["place"].to_numpy())
        progress(position)
    files.check_saved(file, empty)
    if "amount" in plan.policy.needs:
        currencies.check_shown(file)
    whole = {name for name in whole if there[name]}
    rates = plan.policy.rates.items()
    absent -= {
        wanted.Named("--rate", "", n) for n, rate in rates if notes["numbers", "amount", currencies.converted(n, rate)]
    }
    lines = [Line("decode", "", f"told: {file.path.name}: {file.told}", before), *written.notes(before)]
    if uneven.others and file.layout:
        examples["uneven"] = csvs.where(file.layout)
        lines.append(Line("rows", "", f"told: {file.path.name}: {examples['uneven']}", uneven.others))
    what.update({"uneven": uneven.others, "blank": uneven.blank, "totals": uneven.totals})
    notes["missing", "", "changed: filled down from the order's first line"] = down.filled
    floats = "changed: 17850.0 to 17850 and the like"
    notes.update({("ids", name, floats): there[name] for name in sorted(whole)})
    lines += [
        Line("types", "event_type", kinds.told(word, plan.policy.types), n)
        for word, n in strange.most_common(kinds.WORDS)
    ]
    lines += [Line(*note, n) for note, n in (+notes).items()]
    asked = not file.cleaned and "amount" in plan.policy.needs
    ordered = asked and {"order_id", "amount"} <= file.at.keys() and products < PRICED * what[""]
    end = Told(file.cleaned, timed, stamped, last, frozenset(whole), ordered)
    return _Met(what, money, net, below, examples, strange, of, lines, absent, end)


def _ledger(met: Sequence[_Met]) -> list[Line]:
    """Told where returns come to more than purchases: so no shop sells, but a ledger has its sales below 0."""
    if sum(of.net for of in met) >= 0:
        return []
    what = "told: returns come to more than purchases; if it is a ledger with sales below 0, turn the signs in the file"
    return [Line("numbers", "amount", what, sum(of.below for of in met))]


def _names(opened: Sequence[File]) -> str:
    return ", ".join(str(file.path) for file in opened)


def _nothing(opened: Sequence[File], tally: Counter[str], met: Sequence[_Met], policy: Policy) -> HistoryError:
    reasons, examples = ("uneven", *judge.reasons(policy)), _examples(met)
    labels = {reason: LABELS.get(reason, f"without {reason}").strip("- ") for reason in reasons}
    what = ", ".join(f"{tally[reason]:,} {label}" for reason, label in labels.items() if tally[reason]) or "no rows"
    why = [examples[reason] for reason in LOST if reason in examples]
    why += [line.what.removeprefix("told: ") for line in wanted.nowhere(policy, [of.absent for of in met])]
    return HistoryError(f"{_names(opened)}: no row can be used ({what})" + "".join(f"; {each}" for each in why))


def _history(
    usable: pa.Table | list[Path],
    met: Sequence[_Met],
    opened: Sequence[File],
    plan: Plan,
    until: int | None,
    each: Each,
) -> History:
    """The steps over all rows of a customer, in order, and the counts."""
    policy = plan.policy
    parts: pd.DataFrame | list[Path]
    stood: pd.DataFrame | list[Path] | None
    told, before = [of.told for of in met], END * SECOND if until is None else until
    tally = sum((of.what for of in met), Counter[str]())
    if isinstance(usable, list):
        done = [*each(partial(finish_file, told=told, policy=policy, until=before), usable)]
        parts = [events(path) for path, part in zip(usable, done, strict=True) if part.kept]
        counted = [streamed(path) if part.differs else events(path) for path, part in zip(usable, done, strict=True)]
        some = [path for path in counted if len(spill.load(path))] or counted[:1]
        stood = some if any(part.differs for part in done) else None
        for path in usable:
            path.unlink()
    else:
        *both, one = finish(usable, told, policy, before)
        parts, stood = (frame[SCHEMA.names] for frame in both)
        stood, done = stood if one.differs else None, [one]
    if not any(part.kept for part in done):
        if sum(part.future for part in done) == tally[""]:
            midnight = np.datetime64(before // DAY, "D")
            raise HistoryError(f"no event before the cut-off {midnight}, by default the last one's day: say --until")
        raise HistoryError("no row is left: cancelled sales, or what the cleaning options drop, were all of them")
    known = [part.ids for part in done]
    notes = (
        *(line for of in met for line in of.notes),
        *_ledger(met),
        *(currencies.untold(opened, [of.currencies for of in met], policy) if "amount" in policy.needs else ()),
        *wanted.nowhere(policy, [of.absent for of in met]),
        *steps.lost_zeros(known),
        *ids.told(known, _names(opened), policy.ids),
    )
    money = sum((of.money for of in met), Counter[str]())
    if (lost := sum(part.lost for part in done)) > SAID * money[""]:
        n = sum(part.duplicates for part in done)
        what = f"told: {lost / 10_000:,.2f} of {money[''] / 10_000:,.2f} go with them; --keep-duplicates keeps them"
        notes += (Line("duplicates", "amount", what, n),)
    if once := sum(part.once for part in done):
        notes += (Line("numbers", "amount", "changed: counts on another line of its order", once),)
    if filled := sum(part.filled for part in done):
        notes += (Line("missing", "", "told: filled in from other rows, which no stream does", filled),)
    dropped = ("duplicates", "duplicates_kept", "keys", "cancelled", "outliers", "kept")
    counts = Counts(
        read=tally.total(),
        missing=tuple((column, tally[column]) for column in policy.dropped),
        future=tally["future"] + sum(part.future for part in done),
        notes=(*notes, *(line for part in done for line in part.notes)),
        money=money,
        examples=_examples(met),
        **{name: tally[name] for name in ("uneven", *judge.reasons(policy)) if name not in ("future", *policy.dropped)},
        **{name: sum(getattr(part, name) for part in done) for name in (*dropped, "filled")},
    )
    last = max(part.last for part in done)
    cut_off = last // DAY + 1 if until is None else -(-until // DAY)
    twice = overlap.found(part.overlap for part in done if part.overlap is not None)
    amounts = [part.amounts for part in done if part.amounts is not None]
    of_orders = totals.found(amounts) if amounts else None
    return History(parts, counts, last, cut_off, plan.timezone, lacking(opened), stood, twice, of_orders)


# ---- the cleaned history on disk -------------------------------------------------------------------------------------


def _in_order(parts: Sequence[Path]) -> Iterator[pa.Table]:
    """All events in order, SPAN or so at a time: a span of time is a span of every part."""
    times = np.sort(np.concatenate([spill.load(path)["occurred_at"].to_numpy() for path in parts]))
    if not len(times):
        yield SCHEMA.empty_table()
        return
    edges = np.unique([*times[::SPAN], times[-1] + 1])
    for span in itertools.pairwise(edges):
        table = pa.concat_tables(_between(spill.load(path), *span) for path in parts)
        order = np.lexsort((table["place"].to_numpy(), table["occurred_at"].to_numpy()))
        yield table.take(pa.array(order)).select(SCHEMA.names)


def _between(part: pa.Table, start: int, end: int) -> pa.Table:
    low, high = np.searchsorted(part["occurred_at"].to_numpy(), [start, end])
    return part.slice(low, high - low)


def write_parquet(frame: pd.DataFrame, path: Path, cleanings: Sequence[Cleaning] = ()) -> None:
    """Writes a history frame; `path` holds either what it held before or the whole frame."""
    _write([pa.Table.from_pandas(frame, SCHEMA, preserve_index=False)], path, cleanings)


def _write(tables: Iterable[pa.Table], path: Path, cleanings: Sequence[Cleaning]) -> None:
    schema = SCHEMA.with_metadata(CLEANED.metadata | past.metadata(cleanings))
    with replacing(path) as fresh, pq.ParquetWriter(fresh, schema, compression="zstd") as file:
        for table in tables:
            file.write_table(table)


def read_parquet(path: Path) -> pd.DataFrame:
    """The frame that `write_parquet` wrote, equal in every value and type; columns it did not write are left out.

    Raises HistoryError.
    """
    with files.readable(path):
        if not files.is_cleaned(pq.read_schema(path), path):
            raise HistoryError(f"{path}: not a cleaned history; `offline clean` makes one from history files")
        table = pq.read_table(path)
        columns = [files.by_name(table, name) for name in SCHEMA.names]
        frame: pd.DataFrame = pa.table(columns, SCHEMA).to_pandas()
    return frame
