"""What a file is, by its first bytes: plain, packed, a spreadsheet, or something that is no table of text.

Rule: what can be unpacked without a doubt is read; whatever else begins with a known mark is refused by its name, with
what to do. A file's name says nothing.
"""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from offline.errors import HistoryError

UNPACK, SAVE = "unpack it", "save it as CSV in UTF-8"
PARQUET = b"PAR1"
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}
REFUSED = {
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", UNPACK),
    b"Rar!\x1a\x07": ("a RAR archive", UNPACK),
    b"\x1f\x9d": ("packed by compress (.Z)", UNPACK),
    b"\x04\x22\x4d\x18": ("packed by lz4", UNPACK),
    b"PK\x05\x06": ("an empty zip archive", "export it again"),
    b"PK\x07\x08": ("a zip archive in several parts", UNPACK),
    b"\xd0\xcf\x11\xe0": ("an old Excel file (.xls), or one with a password", SAVE),
    b"%PDF": ("a PDF", "export the table itself as CSV"),
    b"{\\rtf": ("a text document (RTF)", SAVE),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV"),
    b"ARROW1": ("an Arrow (Feather) file", "write it as Parquet or CSV"),
    b"ORC": ("an ORC file", "write it as Parquet or CSV"),
    b"Obj\x01": ("an Avro file", "write it as Parquet or CSV"),
    b"\x89HDF": ("an HDF5 file", "write it as Parquet or CSV"),
    b"\x80\x04\x95": ("a pickle of Python", "write it as Parquet or CSV"),
    b"$FL2": ("an SPSS file", SAVE),
    b"<stata_dta>": ("a Stata file", SAVE),
}
PAGES = {
    b"<!doctype html": "a web page (HTML), as some programs save under .xls",
    b"<html": "a web page (HTML), as some programs save under .xls",
    b"<table": "a web page (HTML), as some programs save under .xls",
    b"<?xml": "XML",
    b"{": "JSON",
    b"[{": "JSON",
    b"[[": "JSON",
}

OPENED: dict[str, Callable[[Path], IO[bytes]]] = {
    "": lambda path: path.open("rb"),
    "gzip": lambda path: cast(IO[bytes], gzip.GzipFile(path)),
    "bz2": lambda path: cast(IO[bytes], bz2.BZ2File(path)),
    "xz": lambda path: cast(IO[bytes], lzma.LZMAFile(path)),  # noqa: SIM115
    "zstd": lambda path: io.BufferedReader(pa.input_stream(str(path), compression="zstd")),
}


@dataclass(frozen=True)
class Container:
    """how: "" for a plain file, "xlsx", or a value of PACKED; member: of a zip archive."""

    path: Path
    how: str = ""
    member: str = ""

    def open(self) -> IO[bytes]:
        """The bytes that are in it, from their start."""
        if self.how == "zip":
            return zipfile.ZipFile(self.path).open(self.member)
        return OPENED[self.how](self.path)

    def stream(self) -> pa.NativeFile:
        """The same for Arrow, unpacked by its own code where it can."""
        if self.how in ("zip", "xz"):
            return pa.PythonFile(self.open(), "r")
        if self.how:
            return pa.input_stream(str(self.path), compression=self.how)
        return pa.OSFile(str(self.path))

    def __str__(self) -> str:
        return {"": "", "xlsx": "Excel"}.get(self.how, self.how) + (f" ({self.member})" if self.member else "")


def container(path: Path) -> Container:
    """What `path` is. Raises HistoryError for what is no table of text, OSError where it cannot be opened."""
    with path.open("rb") as file:
        start = file.read(512)
    how = next((how for mark, how in PACKED.items() if start.startswith(mark)), "")
    found = _zipped(path) if how == "zip" else Container(path, how)
    if how and found.how != "xlsx":
        with found.open() as inside:
            start = inside.read(512)
        if start.startswith((PARQUET, *PACKED)) or start[257:262] == b"ustar":
            what = "Parquet" if start.startswith(PARQUET) else "another archive"
            raise HistoryError(f"{path}: {what} packed by {how}: {UNPACK}")
    if found.how != "xlsx":
        _refuse(path, start)
    return found


def _refuse(path: Path, start: bytes) -> None:
    for mark, (what, do) in REFUSED.items():
        if start.startswith(mark):
            raise HistoryError(f"{path}: {what}: {do}")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"["):
        text = b"".join(text.split())
    for mark, what in PAGES.items():
        if text.startswith(mark):
            raise HistoryError(f"{path}: {what}: open it in the program that it is for and {SAVE}")


def _zipped(path: Path) -> Container:
    """A spreadsheet, or the one file in an archive."""
    try:
        names = zipfile.ZipFile(path).namelist()
    except zipfile.BadZipFile as error:
        raise HistoryError(f"{path}: a zip archive that is damaged ({error}): export it again") from None
    if "xl/workbook.xml" in names:
        return Container(path, "xlsx")
    if "xl/workbook.bin" in names:
        raise HistoryError(f"{path}: a binary Excel file (.xlsb): save it as .xlsx or CSV")
    if "mimetype" in names or "[Content_Types].xml" in names:
        raise HistoryError(f"{path}: an office document (.ods and the like): {SAVE}")
    inside = [name for name in names if not (name.endswith("/") or name.startswith("__MACOSX/") or "/." in f"/{name}")]
    if len(inside) != 1:
        some = ", ".join(map(repr, inside[:5])) + ", ..." * (len(inside) > 5)
        raise HistoryError(f"{path}: a zip archive of {len(inside)} files ({some}): {UNPACK} and give what is meant")
    if zipfile.ZipFile(path).getinfo(inside[0]).flag_bits & 1:
        raise HistoryError(f"{path}: a zip archive with a password: {UNPACK}")
    return Container(path, "zip", inside[0])
