"""History files (CSV, Parquet) become one canonical frame of events, and a table says what happened to every row.

Every column is read as text and every value comes from that text, exactly: money is int64 in 1/10,000 of the major
unit, rounded half-even like the stream's; ids stay as they are written. Files are streamed in blocks.
Rule: each row is counted once, by the first that applies: without customer, other event type, bad time, future, bad
number, duplicate; else it is kept. A file with dates alone keeps its duplicates: two equal purchases on one day are
real as far as anyone knows. Errors are `HistoryError`, one line: what, where, what to do.
"""

import contextlib
import csv
import difflib
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.events import CART, END, ID_BYTES, LIMIT, PURCHASE, RETURN, SECOND, VIEW
from offline.errors import OfflineError

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

OURS = (
    *("customer_id", "occurred_at", "amount", "quantity", "unit_price"),
    *("event_type", "event_id", "order_id", "product_id"),
)
TYPES = {"purchase": PURCHASE, "return": RETURN, "view": VIEW, "cart": CART}
MISSING = ("", "NULL", "null", "NaN", "nan", "None", "NA", "<NA>", "\\N")  # in CSV, unless quoted
DAY = 86_400 * SECOND
BLOCK = 1 << 20  # bytes of CSV; pyarrow reads up to 32 blocks ahead
SCHEMA = pa.schema(
    [
        ("event_id", pa.large_string()),
        ("kind", pa.int8()),
        ("customer_id", pa.large_string()),
        ("occurred_at", pa.int64()),
        ("order_id", pa.large_string()),
        ("product_id", pa.large_string()),
        ("amount", pa.int64()),
    ]
)
LABELS = {
    "read": "rows read",
    "without_customer": f"- without customer (1 to {ID_BYTES} bytes)",
    "other_types": "- neither purchase, return, view nor cart",
    "bad_times": "- bad time",
    "future": "- at or after the cut-off",
    "bad_numbers": "- bad number",
    "duplicates": "- exact duplicate",
    "kept": "= kept",
    "duplicates_kept": "  of these exact duplicates (dates alone, no ids)",
}


class HistoryError(OfflineError):
    """A history that cannot be read; its text is one line for the user."""


@dataclass(frozen=True)
class Counts:
    """What happened to the rows: `read` is the sum of the seven after it; `duplicates_kept` are among the kept."""

    read: int
    without_customer: int
    other_types: int
    bad_times: int
    future: int
    bad_numbers: int
    duplicates: int
    kept: int
    duplicates_kept: int

    def __post_init__(self) -> None:
        read, *parts, _ = asdict(self).values()
        assert read == sum(parts), f"counts do not add up: {self}"

    def table(self) -> str:
        """A line for each count, for printing; duplicates that were kept only where there are any."""
        shown = {name: n for name, n in asdict(self).items() if name != "duplicates_kept" or n}
        return "\n".join(f"{LABELS[name]:<50}{n:>14,}" for name, n in shown.items())


@dataclass(frozen=True, eq=False)
class History:
    """frame: a row for each event, index 0..n-1, sorted by (occurred_at, file order). counts: what became of the rows.

    Columns: event_id str, kind int8 (PURCHASE, RETURN, VIEW, CART of models.events), customer_id str, occurred_at int64
    (us since the epoch, UTC), order_id str, product_id str (NaN: none), amount int64 (1/10,000 major unit; negative for
    a return, 0 for views and carts).
    """

    frame: pd.DataFrame
    counts: Counts


@dataclass(frozen=True)
class _File:
    number: int
    path: Path
    size: int
    parquet: bool
    header: list[str]
    at: dict[str, int]  # our name -> position of the column


def read(
    paths: Sequence[Path],
    columns: Mapping[str, str],
    timezone: str = "UTC",
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> History:
    """The events of all files, in the order of (occurred_at, file, row).

    columns: our name -> theirs, for those that differ; ours are `OURS`. Needed: customer_id, occurred_at and amount, or
    quantity and unit_price (amount goes first). Optional: event_type (else purchase), event_id (else "h:<file>:<row>",
    counted from 0 and 1), order_id (else the event is its own order), product_id. A negative amount or quantity means
    return. timezone: of times without offset; a wall time that comes twice means the first, one that is skipped the
    moment after the gap. until: us, exclusive. progress: called with (bytes done, bytes in all). Raises HistoryError.
    """
    try:
        zoneinfo.ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise HistoryError(f"--timezone: {timezone!r} is not known; say for example Europe/Berlin") from None
    files = _open(paths, columns)
    done, total = 0, sum(file.size for file in files)
    parts, tally = [], np.zeros(6, np.int64)
    for file in files:
        blocks, rows, stamped = [], 0, False
        for block, position in _blocks(file):
            cleaned, what, says_more = _clean(file, rows, block, timezone, END * SECOND if until is None else until)
            blocks.append(cleaned)
            rows, tally, stamped = rows + len(block[0]), tally + what, stamped or says_more
            if progress:
                progress(done + position, total)
        parts += [block.append_column("stamped", pa.repeat(stamped, len(block))) for block in blocks]
        done += file.size
    return _history(files, parts, tally)


def _history(files: list[_File], parts: list[pa.Table], tally: Ints) -> History:
    """Drops duplicates of files that say more than dates, sorts, counts."""
    kept, no_customer, other_types, bad_times, future, bad_numbers = tally.tolist()
    if not kept:
        reasons = zip(list(LABELS)[1:6], tally.tolist()[1:], strict=True)
        what = ", ".join(f"{n:,} {LABELS[name].strip('- ')}" for name, n in reasons if n) or "no rows"
        names = ", ".join(str(file.path) for file in files)
        raise HistoryError(f"{names}: no row can be used ({what}); times: ISO 8601, numbers: 1234.56")
    table = pa.concat_tables(parts)
    again = _duplicates(table)
    drop = again & table["stamped"].to_numpy()
    duplicates = int(drop.sum())
    counts = Counts(
        read=int(tally.sum()),
        without_customer=no_customer,
        other_types=other_types,
        bad_times=bad_times,
        future=future,
        bad_numbers=bad_numbers,
        duplicates=duplicates,
        kept=kept - duplicates,
        duplicates_kept=int(again.sum()) - duplicates,
    )
    table = table.select(SCHEMA.names).filter(pa.array(~drop))
    order = np.argsort(table["occurred_at"].to_numpy(), kind="stable")
    return History(table.take(pa.array(order)).to_pandas(), counts)


def _duplicates(table: pa.Table) -> Bools:
    """Which rows came before. Few rows share a hash of their whole text; those must also agree in every value read."""
    again = pd.Series(table["row"].to_numpy()).duplicated(keep=False).to_numpy(copy=True)
    same = table.select(["row", "customer_id", "kind", "occurred_at", "product_id", "amount"]).filter(pa.array(again))
    again[again] = same.to_pandas().duplicated().to_numpy()
    return again


# ---- files: from paths to blocks of columns ------------------------------------------------------------------------


def _open(paths: Sequence[Path], columns: Mapping[str, str]) -> list[_File]:
    """Looks into every file before any is read: a wrong name shows at once, not after an hour."""
    if not paths:
        raise HistoryError("no history file was given")
    for ours in columns:
        if ours not in OURS:
            raise HistoryError(f"--columns: {ours!r} is no name of ours; {_nearest(ours, OURS)}")
    files = [_look(number, Path(path), columns) for number, path in enumerate(paths)]
    for ours, theirs in columns.items():
        if not any(ours in file.at for file in files):
            raise _no_column(files[0], theirs, ours)
    for file in files:
        for ours in ("customer_id", "occurred_at"):
            if ours not in file.at:
                raise _no_column(file, columns.get(ours, ours), ours)
        if "event_type" not in file.at:  # else it may hold views and carts only
            _need_money(file)
    return files


def _look(number: int, path: Path, columns: Mapping[str, str]) -> _File:
    with _readable(path):
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        if parquet:
            header = pq.read_schema(path).names
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                header = next(csv.reader(file), [])
        size = path.stat().st_size
    if not header:
        raise HistoryError(f"{path}: the file is empty; the first line must name the columns")
    at = {ours: header.index(theirs) for ours in OURS if (theirs := columns.get(ours, ours)) in header}
    for position in at.values():
        if header.count(header[position]) > 1:
            raise HistoryError(f"{path}: column {header[position]!r} stands there more than once; rename one")
    return _File(number, path, size, parquet, header, at)


def _need_money(file: _File) -> None:
    if "amount" not in file.at and not {"quantity", "unit_price"} <= file.at.keys():
        missing = next((ours for ours in ("quantity", "unit_price") if ours not in file.at), "amount")
        wanted = "amount" if not {"quantity", "unit_price"} & file.at.keys() else missing
        raise _no_column(file, wanted, wanted, " (amount, or quantity and unit_price, is needed)")


def _no_column(file: _File, theirs: str, ours: str, why: str = "") -> HistoryError:
    if len(file.header) == 1 and (found := re.search("[;\t|]", file.header[0])):
        return HistoryError(f"{file.path}: columns are separated by {found[0]!r}; only commas are read")
    return HistoryError(
        f"{file.path}: no column {theirs!r}{why}; {_nearest(theirs, file.header)}; name it with --columns {ours}=..."
    )


def _nearest(name: str, present: Sequence[str]) -> str:
    lower = {other.lower(): other for other in reversed(present)}
    best = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0)[0]
    return f"nearest is {lower[best]!r} of {', '.join(map(repr, present))}"


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever opening or parsing `path` raises becomes one line."""
    try:
        yield
    except UnicodeError:
        raise HistoryError(f"{path}: not UTF-8; convert it, for example: iconv -f LATIN1 -t UTF-8") from None
    except (pa.ArrowException, OSError, csv.Error) as error:
        text = " ".join(str(getattr(error, "strerror", None) or error).split())
        if "UTF8" in text:
            text = "not UTF-8; convert it, for example: iconv -f LATIN1 -t UTF-8"
        raise HistoryError(f"{path}: cannot be read: {text}") from None


def _blocks(file: _File) -> Iterator[tuple[list[pa.Array], int]]:
    """The columns of each block as text, and how many bytes of the file are done."""
    with _readable(file.path):
        for columns, position in _parquet(file) if file.parquet else _csv(file):
            yield [_text(column) for column in columns], position


def _parquet(file: _File) -> Iterator[tuple[list[pa.Array], int]]:
    with pq.ParquetFile(file.path) as source:
        rows = 0
        for batch in source.iter_batches():
            batch.validate(full=True)  # text that is not UTF-8 would fail later, far from its file
            rows += batch.num_rows
            yield batch.columns, file.size * rows // source.metadata.num_rows


def _csv(file: _File) -> Iterator[tuple[list[pa.Array], int]]:
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(file.header, pa.string()),
        null_values=MISSING,
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    blocks, lines = pyarrow.csv.ReadOptions(block_size=BLOCK), pyarrow.csv.ParseOptions(newlines_in_values=True)
    with pyarrow.csv.open_csv(file.path, blocks, lines, convert) as source:
        for number, batch in enumerate(source, 1):
            yield batch.columns, min(number * BLOCK, file.size)


def _text(column: pa.Array) -> pa.Array:
    """Any column as text; floats by their shortest decimal (what was meant by 0.1), NaN is missing."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False)
        texts = map(repr, values.tolist()) if values.dtype == np.float64 else map(str, values)
        return pa.array(list(texts), pa.large_string(), mask=np.isnan(values))
    try:
        return column.cast(pa.large_string())
    except pa.ArrowNotImplementedError:  # lists and structs: only compared, to find duplicates
        return pa.array([None if value is None else repr(value) for value in column.to_pylist()], pa.large_string())


# ---- rows: from text to values --------------------------------------------------------------------------------------


def _clean(file: _File, rows: int, block: list[pa.Array], timezone: str, until: int) -> tuple[pa.Table, Ints, bool]:
    """(usable events of a block after `rows` others, rows by what became of them, does it say more than dates?)."""
    n = len(block[0])
    columns = {ours: block[file.at[ours]] if ours in file.at else pa.nulls(n, pa.large_string()) for ours in OURS}
    ids = {name: _present(columns[name]) for name in ("customer_id", "event_id", "order_id", "product_id")}
    occurred_at, time_of_day = times(columns["occurred_at"], timezone)
    kind, amount, sound = _amounts(columns, "amount" in file.at, _kinds(columns["event_type"]))
    named = pc.binary_length(ids["customer_id"]).fill_null(ID_BYTES + 1).to_numpy() <= ID_BYTES
    reasons = [~named, kind < 0, occurred_at < 0, occurred_at >= until, ~sound]
    what = np.select(reasons, [1, 2, 3, 4, 5], 0)
    if (what == 5).any():
        _need_money(file)
    row = pa.array(np.arange(rows + 1, rows + n + 1)).cast(pa.string())
    made = pc.binary_join_element_wise(pa.scalar(f"h:{file.number}"), row, ":").cast(pa.large_string())
    event_id = pc.coalesce(ids["event_id"], made)
    order_id = pc.coalesce(ids["order_id"], event_id)
    values = [
        event_id,
        pa.array(kind),
        ids["customer_id"],
        pa.array(occurred_at),
        order_id,
        ids["product_id"],
        pa.array(amount),
    ]
    table = pa.table(values, schema=SCHEMA).append_column("row", pa.array(_hashes(block)))
    says_more = time_of_day or any(ids[name].null_count < n for name in ("event_id", "order_id"))
    return table.filter(pa.array(what == 0)), np.bincount(what, minlength=6), says_more


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
    number = pc.index_in(word, pa.array(list(TYPES), pa.large_string())).fill_null(len(TYPES)).to_numpy()
    kinds: NDArray[np.int8] = np.array([*TYPES.values(), -1], np.int8)[number]
    return kinds


def _amounts(
    columns: Mapping[str, pa.Array], whole_amounts: bool, kind: NDArray[np.int8]
) -> tuple[NDArray[np.int8], Ints, Bools]:
    """(kind, amount, sound): a negative amount or quantity makes a purchase a return; views and carts are worth 0."""
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
    amount = np.select([kind == PURCHASE, kind == RETURN], [amount, -np.abs(amount)], 0)
    return kind, amount, sound | ~bought


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def money(text: pa.Array) -> tuple[Ints, Bools]:
    """(units, sound): decimal text in 1/10,000, half-even; 0 and False where it is no number or 2**62 units or more.

    >>> units, sound = money(pa.array(["12.5", "-0.00005", "1e3", "1,000", None]))
    >>> units.tolist(), sound.tolist()
    ([125000, 0, 10000000, 0, 0], [True, True, True, False, False])
    """
    plain = pc.match_substring_regex(text, r"^[+-]?\d{1,13}(\.\d{1,4})?$").fill_null(False)
    fixed = pc.if_else(plain, text, None).cast(pa.decimal64(18, 4))
    units = fixed.view(pa.int64()).fill_null(0).to_numpy().copy()
    sound = plain.to_numpy(zero_copy_only=False).copy()
    others = np.flatnonzero(~sound)
    for i, other in zip(others, text.filter(pa.array(~sound)).to_pylist(), strict=True):
        exact = _units(other)
        units[i], sound[i] = exact or 0, exact is not None
    return units, sound


def _units(text: str | None) -> int | None:
    if text is None or not _NUMBER.fullmatch(text := text.strip()):
        return None
    try:
        units = int(Decimal(text).quantize(Decimal("0.0001"), context=_EXACT).scaleb(4, _EXACT))
    except InvalidOperation:  # more than 60 digits
        return None
    return units if abs(units) < LIMIT else None


_ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?$"


def times(text: pa.Array, timezone: str) -> tuple[Ints, bool]:
    """(us since the epoch, is any not a midnight of its own clock?); -1 for what is no time from 1970 to 2199.

    Read are ISO 8601 dates and times (without offset: in `timezone`), YYYYMMDD, and Unix seconds of 9 or 10 digits.

    >>> t, time_of_day = times(pa.array(["1970-01-02", "1970-01-02T01:00:00+01:00", "100000000.5", "1/2/70"]), "UTC")
    >>> t.tolist(), time_of_day
    ([86400000000, 86400000000, 100000000500000, -1], True)
    """
    encoded = text.dictionary_encode()  # times repeat, dates above all
    words = pc.utf8_upper(pc.utf8_trim_whitespace(encoded.dictionary))
    words = pc.replace_substring_regex(words, r"^(\d{4})(\d\d)(\d\d)(\.0)?$", r"\1-\2-\3")
    seconds = _matches(words, r"^\d{9,10}(\.\d+)?$")
    t = _iso(words, timezone)
    t[seconds] = np.rint(words.filter(pa.array(seconds)).cast(pa.float64()).to_numpy() * SECOND).astype(np.int64)
    t[(t < 0) | (t >= END * SECOND)] = -1
    time_of_day = (t >= 0) & np.where(seconds, t % DAY != 0, _matches(words, r"[T ][0:.]*[1-9]"))
    each = encoded.indices.fill_null(len(words)).to_numpy()
    return np.append(t, -1)[each], bool(time_of_day.any())


def _iso(words: pa.Array, timezone: str) -> Ints:
    """us of ISO 8601 words, negative for others; digits beyond are rounded half up, as msgspec does in the stream."""
    half = _matches(words, r"\.\d{6}[5-9]")
    short = pc.replace_substring_regex(words, r"(\.\d{6})\d+", r"\1")
    known = pc.if_else(pa.array(_matches(words, _ISO)), short, None)
    moment = pd.to_datetime(pd.Series(known.to_pylist(), dtype="str"), format="ISO8601", errors="coerce", utc=True)
    naive = ~_matches(words, r"[T ].*(Z|[+-]\d\d(:?\d\d)?)$")
    if timezone != "UTC":
        wall = moment[naive].dt.tz_localize(None)
        local = wall.dt.tz_localize(timezone, ambiguous=np.ones(len(wall), np.bool_), nonexistent="shift_forward")
        moment[naive] = local.dt.tz_convert("UTC")
    return moment.dt.as_unit("us").to_numpy("datetime64[us]").astype(np.int64) + half


def _matches(words: pa.Array, pattern: str) -> Bools:
    found: Bools = pc.match_substring_regex(words, pattern).fill_null(False).to_numpy(zero_copy_only=False)
    return found


# ---- the cleaned history on disk -------------------------------------------------------------------------------------


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Writes a history frame; `path` holds either what it held before or the whole frame."""
    fresh = path.with_name(path.name + ".new")
    pq.write_table(pa.Table.from_pandas(frame, SCHEMA, preserve_index=False), fresh, compression="zstd")
    fresh.replace(path)


def read_parquet(path: Path) -> pd.DataFrame:
    """The frame that `write_parquet` wrote, equal in every value and type. Raises HistoryError."""
    with _readable(path):
        table = pq.read_table(path)
    if table.schema.remove_metadata() != SCHEMA:
        raise HistoryError(f"{path}: not a cleaned history of this version; make it anew from the history files")
    frame: pd.DataFrame = table.to_pandas()
    return frame
