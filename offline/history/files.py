"""History files and tables (CSV, Excel, Parquet) from paths to blocks of columns, every value as text.

Whatever a file leaves unsaid (container, encoding, delimiter, where the header stands) is found out, or told by the
person. Rule: every file is looked into before any is read, so that a wrong name shows at once and not after an hour.
"""

import contextlib
import csv
import lzma
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from models.handover import CLEANED
from models.kinds import NUMBER_OF
from offline.errors import HistoryError, closest, nearest
from offline.history import csvs, guess, headless, joined, sheets
from offline.history.containers import PARQUET, Container, container
from offline.history.csvs import Layout, Uneven
from offline.history.encodings import cut_off, encoding_of
from offline.history.header import bare, head_of
from offline.history.policy import NEEDS, NUMBERS, OURS, Policy
from offline.history.words import MISSING

ENDS = ("unexpected end of data", "truncated data")  # what codecs say of a character that the end of a file cuts
HEAD = 1 << 16  # characters in which the header must stand
TELLING = {"customer_id", "product_id", "amount", "unit_price"}  # a file without any of them says nothing to any job

TYPES = {"text": pa.large_string(), "int8": pa.int8(), "int64": pa.int64()}
SCHEMA = pa.schema([(column.name, TYPES[column.type]) for column in CLEANED.columns])


@dataclass(frozen=True)
class File:
    """layout: of a CSV file; sheet: of an Excel file. typed: positions of columns whose values are no text. cleaned: is
    it a history that was written here? at: our name -> position of the column. told: what was found out, in words.
    line, above, sure: `Head`.
    """

    number: int
    path: Path
    size: int
    header: list[str]
    typed: frozenset[int]
    cleaned: bool
    at: dict[str, int]
    told: str
    layout: Layout | None = None
    sheet: str = ""
    line: int = 0
    above: int = 0
    sure: bool = True


def look(paths: Sequence[Path], columns: Mapping[str, str], policy: Policy) -> list[File]:
    """Looks into every file before any is read: a wrong name shows at once, not after an hour. Raises HistoryError that
    names all columns which are missing.
    """
    if not paths:
        raise HistoryError("no history file was given")
    columns = {ours: bare(theirs) for ours, theirs in columns.items()}
    asked = {columns.get(ours, ours) for ours in OURS}
    files = [look_into(Path(path), policy, asked, number, columns) for number, path in enumerate(paths)]
    told = (*columns, *policy.missing, *policy.key, *(["event_type"] if policy.types else []))
    nowhere = [ours for ours in told if not any(ours in file.at for file in files)]
    asks = narrowed(files, policy).needs
    for file in files:
        needs = asks if nowhere or TELLING & file.at.keys() else NEEDS
        needed = [ours for ours in ("customer_id", "occurred_at") if ours in needs and ours not in file.at]
        # a file with event types may hold views and carts only
        lacks = _no_money(file) if "amount" in needs and "event_type" not in file.at else []
        money = [ours for ours in lacks if ours not in nowhere]
        if lacking := [*dict.fromkeys((*nowhere, *needed, *money))]:
            raise _no_column(file, {ours: columns.get(ours, ours) for ours in lacking}, WHY if money else "")
    return files


def narrowed(opened: Sequence[File], policy: Policy) -> Policy:
    """The policy with what its job wants of every file, where one has it, among its needs."""
    found = {ours for ours in policy.wants if any(has(file, ours) for file in opened)}
    return replace(policy, needs=policy.needs | found)


def has(file: File, ours: str) -> bool:
    """Does it say what this column of NEEDS says?"""
    return not worthless(file) if ours == "amount" else ours in file.at


def look_into(
    path: Path,
    policy: Policy,
    asked: Collection[str] = (),
    number: int = 0,
    columns: Mapping[str, str] | None = None,
) -> File:
    """What a file is and names its columns. asked: names that are looked for. Raises HistoryError."""
    columns = columns or {}
    with readable(path):
        with path.open("rb") as start:
            parquet = start.read(4) == PARQUET
        inside = Container(path) if parquet else container(path)
        if parquet:
            found = _parquet_file(path)
        else:
            found = _sheet(path, asked) if inside.how == "xlsx" else _text_file(inside, policy, asked)
        size = path.stat().st_size
    header = found["header"]
    if not any(header):
        raise HistoryError(f"{path}: the file is empty; the first line must name the columns")
    at = {ours: header.index(theirs) for ours in OURS if (theirs := columns.get(ours, ours)) in header}
    file = File(number=number, path=path, size=size, at=at, **found)
    if "currency" not in at and {"amount", "unit_price"} & at.keys():
        place = guess.currency(header, at.values(), lambda: _first(file))
        at |= {} if place is None else {"currency": place}
    for position in at.values():
        if header.count(header[position]) > 1:
            raise HistoryError(f"{path}: column {header[position]!r} stands there more than once; rename one")
    return file


def _first(file: File) -> list[pa.Array]:
    """Its first block; none of a file without rows."""
    block, _ = next(blocks(file), ([], 0))
    return block


def _parquet_file(path: Path) -> dict[str, Any]:
    schema = pq.read_schema(path)
    if cleaned := is_cleaned(schema, path):
        schema = SCHEMA
    header = ["event_type" if cleaned and name == "kind" else bare(name) for name in schema.names]
    return {"header": header, "typed": _typed(schema), "cleaned": cleaned, "told": "Parquet"}


def _sheet(path: Path, asked: Collection[str]) -> dict[str, Any]:
    sheet, header, line, above, typed, told = sheets.head(path, asked)
    told = f"Excel, {told}" + _passed(above)
    found = {"header": header, "typed": typed, "cleaned": False, "told": told}
    return found | {"sheet": sheet, "line": line, "above": above}


def _text_file(inside: Container, policy: Policy, asked: Collection[str]) -> dict[str, Any]:
    encoding = encoding_of(inside.path, inside.open, policy.encoding)
    with Layout(inside, encoding, ",", 0, 0).lines() as text:
        head = head_of(text.read(HEAD), asked, policy.delimiter)
    layout = Layout(inside, encoding, head.delimiter, len(head.names), head.line)
    told = f"{encoding}, separated by {head.delimiter!r}" + f", {inside}" * bool(str(inside)) + _passed(head.above)
    found = {"header": head.names, "typed": frozenset[int](), "cleaned": False, "told": told}
    return found | {"layout": layout, "line": head.line, "above": head.above, "sure": head.sure}


def _passed(above: int) -> str:
    return f", {above} line{'s' * (above > 1)} above the header passed over" if above else ""


def is_cleaned(schema: pa.Schema, path: Path) -> bool:
    """Is it a history that was written here, by this program or an earlier one? Raises HistoryError where it was, and
    cannot be read: of a newer form, or without a column that is needed.
    """
    wanted = {column.name for column in CLEANED.columns if column.wanted}
    if CLEANED.key not in (schema.metadata or {}) and not wanted <= set(schema.names):
        return False
    if why := CLEANED.refused(schema.metadata, schema.names):
        raise HistoryError(f"{path}: {why}")
    return True


def _typed(schema: pa.Schema) -> frozenset[int]:
    text = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
    types = [t.value_type if pa.types.is_dictionary(t) else t for t in schema.types]
    return frozenset(position for position, type_ in enumerate(types) if type_ not in text)


WHY = " (amount, or quantity and unit_price, is needed)"


def worthless(file: File) -> bool:
    """Has it no column that says what a purchase is worth?"""
    return bool(_no_money(file))


def need_money(file: File) -> None:
    """Raises HistoryError where a file does not say what a purchase is worth."""
    if lacking := _no_money(file):
        raise _no_column(file, dict(zip(lacking, lacking, strict=True)), WHY)


def _no_money(file: File) -> list[str]:
    if "amount" in file.at or {"quantity", "unit_price"} <= file.at.keys():
        return []
    lacking = [ours for ours in ("quantity", "unit_price") if ours not in file.at]
    return lacking if len(lacking) == 1 else ["amount"]


def _no_column(file: File, lacking: Mapping[str, str], why: str = "") -> HistoryError:
    """lacking: our name -> the one that is not there; why: of the last."""
    if unnamed := no_header(file):
        return unnamed
    if len(file.header) == 1 and (found := re.search("[,;\t|]", file.header[0])):
        return HistoryError(f"{file.path}: columns look separated by {found[0]!r}; say so with --delimiter")
    (first, *others), names = lacking.values(), ",".join(f"{ours}=..." for ours in lacking)
    nor = ", ".join(f"{theirs!r} (nearest is {closest(theirs, file.header)!r})" for theirs in others)
    also = f"; nor {nor}{why}" if others else ""
    here = "" if file.sure else f"; the header seems to be line {file.line}"
    name = f"name {'them' if others else 'it'} with --columns {names}"
    why = "" if others else why
    return HistoryError(f"{file.path}: no column {first!r}{why}{here}; {nearest(first, file.header)}{also}; {name}")


def no_header(file: File) -> HistoryError | None:
    """What to say of a CSV or Excel file whose first row holds values where names should be."""
    if file.at or not (file.layout or file.sheet):
        return None
    first = next((columns for columns, _ in blocks(file)), [])
    if not (found := first and headless.values(file.header, first)):
        return None
    holds = f"line {file.line} holds values ({', '.join(map(repr, found[:3]))}) where names should be"
    return HistoryError(f"{file.path}: there seems to be no header: {holds}; write a line of names above it")


def named_anew(file: File, cells: Sequence[str]) -> HistoryError:
    """What to say of a row of names below which the columns are others. cells: its texts."""
    line = csvs.line_of(file.layout, cells) if file.layout else 0
    where = f"line {line:,}" if line else "a row"
    at = [name.lower() for name in file.header]
    order = ", in another order" if sorted(at) == sorted(bare(cell).lower() for cell in cells) else ""
    names = ", ".join(map(repr, map(bare, cells[:5]))) + ", ..." * (len(cells) > 5)
    return HistoryError(f"{file.path}: {where} names the columns anew{order} ({names}): split the file there")


def check_saved(file: File, empty: Collection[int]) -> None:
    """Raises HistoryError where columns of an Excel file are empty because what its formulas come to was not saved."""
    if not file.sheet or not empty:
        return
    held = sheets.formulas(file.path, file.sheet, file.line, len(file.header))
    if unsaved := [file.header[at] for at in sorted(held & {*empty})]:
        names = ", ".join(map(repr, unsaved))
        raise HistoryError(
            f"{file.path}: {names}: formulas without their values, which the program that wrote them did not save: open"
            " it in Excel or LibreOffice and save it there"
        )


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever opening or parsing `path` raises becomes one line."""
    try:
        yield
    except UnicodeError as error:
        if getattr(error, "reason", "") in ENDS:
            raise cut_off(path, error.encoding.upper()) from None  # type: ignore[attr-defined]
        name = getattr(error, "encoding", "charmap")
        name = "that encoding" if name == "charmap" else name  # what Python calls all of 8 bits
        raise HistoryError(f"{path}: not {name}; say another --encoding") from None
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError) as error:
        raise HistoryError(f"{path}: a packed file that is damaged ({error}): fetch it again, or unpack it") from None
    except (pa.ArrowException, OSError, csv.Error) as error:
        text = " ".join(str(getattr(error, "strerror", None) or error).split())
        if "UTF8" in text:
            text = "not UTF-8; convert it, or say --encoding"
        raise HistoryError(f"{path}: cannot be read: {text}") from None


def blocks(
    file: File,
    uneven: Uneven | None = None,
    missing: Sequence[str] = MISSING,
    unmarked: Collection[int] | None = None,
) -> Iterator[tuple[list[pa.Array], int]]:
    """The columns of each block as text, and how many bytes of the file are done. uneven: gets what rows of a CSV file
    are of another length. missing: words for nothing, null unless quoted. unmarked: columns of an Excel file whose
    number cells are written without a decimal mark (1125e-3), so that any format reads them; None: NUMBERS.
    """
    with readable(file.path):
        if file.layout:
            found = csvs.blocks(file.layout, uneven or Uneven(), missing)
        else:
            found = _rows_of_sheet(file, missing, unmarked) if file.sheet else _parquet(file)
        for columns, position in found:
            yield joined.moments([*map(_text, columns)], file.at), min(position, file.size)


def _rows_of_sheet(
    file: File, missing: Sequence[str], unmarked: Collection[int] | None
) -> Iterator[tuple[list[pa.Array], int]]:
    numbers = {file.at[ours] for ours in NUMBERS if ours in file.at} if unmarked is None else {*unmarked}
    mixed = numbers - file.typed
    for columns, _ in sheets.blocks(file.path, file.sheet, file.line, len(file.header), missing, mixed):
        yield columns, file.size


def _parquet(file: File) -> Iterator[tuple[list[pa.Array], int]]:
    with pq.ParquetFile(file.path) as source:
        rows = 0
        for batch in source.iter_batches():
            batch.validate(full=True)  # text that is not UTF-8 would fail later, far from its file
            rows += batch.num_rows
            yield _raw(batch) if file.cleaned else batch.columns, file.size * rows // source.metadata.num_rows


def _raw(batch: pa.RecordBatch) -> list[pa.Array]:
    """A cleaned history in the values of a raw one, its columns by name in the order of SCHEMA."""
    words = pa.array([*NUMBER_OF], pa.large_string())
    number = pc.index_in(batch["kind"].cast(pa.int8()), pa.array([*NUMBER_OF.values()], pa.int8()))
    kind = words.take(number).fill_null("a newer program's")  # else it would be a purchase, as where nothing is said
    moment = batch["occurred_at"].cast(pa.timestamp("us", "UTC"))
    raw = {"kind": kind, "occurred_at": moment}
    for name in ("amount", "quantity"):
        raw[name] = pc.multiply(batch[name].cast(pa.decimal128(19)), pa.scalar(Decimal("0.0001")))
    return [raw[name] if name in raw else by_name(batch, name) for name in SCHEMA.names]


def by_name(table: Any, name: str) -> Any:
    """A column of SCHEMA; nulls where an older history has none. table: a batch or a table of Arrow."""
    type_ = SCHEMA.field(name).type
    return table[name].cast(type_) if name in table.schema.names else pa.nulls(len(table), type_)


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
