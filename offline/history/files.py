"""History files (CSV, Parquet) from paths to blocks of columns, every value as text.

A CSV file's encoding and delimiter are found out, or told by the person. Rule: every file is looked into before any is
read, so that a wrong name shows at once and not after an hour.
"""

import codecs
import contextlib
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from models.handover import CLEANED
from models.kinds import NUMBER_OF
from offline.errors import HistoryError, nearest
from offline.history.policy import OURS, Policy

MISSING = ("", "NULL", "null", "NaN", "nan", "None", "NA", "<NA>", "\\N")  # in CSV, unless quoted
BLOCK = 1 << 20  # bytes of CSV; pyarrow reads up to 32 blocks ahead
DELIMITERS = ",;\t|"

TYPES = {"text": pa.large_string(), "int8": pa.int8(), "int64": pa.int64()}
SCHEMA = pa.schema([(column.name, TYPES[column.type]) for column in CLEANED.columns])


@dataclass(frozen=True)
class File:
    """encoding and delimiter are "" for Parquet. typed: positions of columns whose values are no text. cleaned: is it a
    history that was written here?
    """

    number: int
    path: Path
    size: int
    encoding: str
    delimiter: str
    header: list[str]
    typed: frozenset[int]
    cleaned: bool
    at: dict[str, int]  # our name -> position of the column


def look(paths: Sequence[Path], columns: Mapping[str, str], policy: Policy) -> list[File]:
    """Looks into every file before any is read: a wrong name shows at once, not after an hour."""
    if not paths:
        raise HistoryError("no history file was given")
    files = [_look(number, Path(path), columns, policy) for number, path in enumerate(paths)]
    for ours in (*columns, *policy.missing, *policy.key):
        if not any(ours in file.at for file in files):
            raise _no_column(files[0], columns.get(ours, ours), ours)
    for file in files:
        for ours in ("customer_id", "occurred_at"):
            if ours not in file.at:
                raise _no_column(file, columns.get(ours, ours), ours)
        if "event_type" not in file.at:  # else it may hold views and carts only
            need_money(file)
    return files


def _look(number: int, path: Path, columns: Mapping[str, str], policy: Policy) -> File:
    encoding = delimiter = ""
    typed: frozenset[int] = frozenset()
    cleaned = False
    with readable(path):
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
        if parquet:
            schema = pq.read_schema(path)
            if cleaned := is_cleaned(schema, path):
                schema = SCHEMA
            header, typed = schema.names, _typed(schema)
            header = ["event_type" if cleaned and name == "kind" else name for name in header]
        else:
            encoding = policy.encoding or encoding_of(path)
            with path.open(encoding=encoding, newline="") as file:
                delimiter, header = header_of(file.read(1 << 16), policy.delimiter)
        size = path.stat().st_size
    if not header:
        raise HistoryError(f"{path}: the file is empty; the first line must name the columns")
    at = {ours: header.index(theirs) for ours in OURS if (theirs := columns.get(ours, ours)) in header}
    for position in at.values():
        if header.count(header[position]) > 1:
            raise HistoryError(f"{path}: column {header[position]!r} stands there more than once; rename one")
    return File(number, path, size, encoding, delimiter, header, typed, cleaned, at)


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


def encoding_of(path: Path) -> str:
    """By its first bytes, else UTF-8 if all of it is, else what Western programs write without saying so.

    Raises HistoryError for a file with zero bytes, or one that is UTF-8 but for a few damaged bytes.
    """
    with path.open("rb") as file:
        start = file.read(4)
        if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while block := file.read(BLOCK):
                if "\0" in decoder.decode(block):
                    raise HistoryError(f"{path}: holds zero bytes: neither CSV nor Parquet; if it is, say --encoding")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
            return _western(path, file)
    return "utf-8-sig" if start.startswith(codecs.BOM_UTF8) else "utf-8"


def _western(path: Path, file: IO[bytes]) -> str:
    """Latin-1, or Windows' own where bytes say so; a UTF-8 file with a damaged byte would turn into wrong names."""
    decoder, marks, wrong, windows = codecs.getincrementaldecoder("utf-8")("surrogateescape"), 0, 0, False
    while block := file.read(BLOCK):
        text = decoder.decode(block)
        if "\0" in text:
            raise HistoryError(f"{path}: holds zero bytes: neither CSV nor Parquet; if it is, say --encoding")
        marks += len(re.findall("[^\0-\x7f]", text))
        wrong += len(re.findall("[\udc80-\udcff]", text))
        windows |= bool(re.search("[\udc80-\udc9f]", text))
    if 2 * wrong < marks:
        raise HistoryError(f"{path}: not UTF-8 in {wrong:,} bytes, but in most others; repair it, or say --encoding")
    return "cp1252" if windows else "latin-1"


def header_of(start: str, told: str | None = None) -> tuple[str, list[str]]:
    """(delimiter, names) in the first characters of a file: the delimiter that finds most names, comma if none does."""
    found = {
        mark: next(csv.reader(io.StringIO(start, newline=""), delimiter=mark), [])
        for mark in ([told] if told else DELIMITERS)
    }
    best = max(found, key=lambda mark: len(found[mark]))
    return best, found[best]


def need_money(file: File) -> None:
    if "amount" not in file.at and not {"quantity", "unit_price"} <= file.at.keys():
        missing = next((ours for ours in ("quantity", "unit_price") if ours not in file.at), "amount")
        wanted = "amount" if not {"quantity", "unit_price"} & file.at.keys() else missing
        raise _no_column(file, wanted, wanted, " (amount, or quantity and unit_price, is needed)")


def _no_column(file: File, theirs: str, ours: str, why: str = "") -> HistoryError:
    if len(file.header) == 1 and (found := re.search("[,;\t|]", file.header[0])):
        return HistoryError(f"{file.path}: columns look separated by {found[0]!r}; say so with --delimiter")
    return HistoryError(
        f"{file.path}: no column {theirs!r}{why}; {nearest(theirs, file.header)}; name it with --columns {ours}=..."
    )


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever opening or parsing `path` raises becomes one line."""
    try:
        yield
    except UnicodeError as error:
        raise HistoryError(
            f"{path}: not {getattr(error, 'encoding', 'that encoding')}; say another --encoding"
        ) from None
    except (pa.ArrowException, OSError, csv.Error) as error:
        text = " ".join(str(getattr(error, "strerror", None) or error).split())
        if "UTF8" in text:
            text = "not UTF-8; convert it, or say --encoding"
        raise HistoryError(f"{path}: cannot be read: {text}") from None


def blocks(file: File) -> Iterator[tuple[list[pa.Array], int]]:
    """The columns of each block as text, and how many bytes of the file are done."""
    with readable(file.path):
        for columns, position in _csv(file) if file.delimiter else _parquet(file):
            yield [_text(column) for column in columns], position


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


def _csv(file: File) -> Iterator[tuple[list[pa.Array], int]]:
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(file.header, pa.string()),
        null_values=MISSING,
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    blocks = pyarrow.csv.ReadOptions(block_size=BLOCK, encoding=file.encoding.removesuffix("-sig"))
    lines = pyarrow.csv.ParseOptions(delimiter=file.delimiter, newlines_in_values=True)
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
