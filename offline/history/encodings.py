"""The encoding of text, from its bytes alone.

Rule: by the mark at the beginning; else UTF-16 by its zero bytes; else UTF-8 if all of it is; else what Western
programs write without saying so.
"""

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from offline.errors import HistoryError

BLOCK = 1 << 20
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
OTHERS = "shift_jis, gb18030, big5, euc-kr, cp1250, cp1251 or mac-roman"
Open = Callable[[], IO[bytes]]


def encoding_of(path: Path, opened: Open, told: str | None = None) -> str:
    """The name of a codec: `told`, but for what it leaves open (the order of bytes in UTF-16 without a mark).

    Raises HistoryError for a file with zero bytes, or one that is UTF-8 but for a few damaged bytes or its cut off end.
    """
    with opened() as file:
        start = file.read(1 << 12)
    marked = next((name for mark, name in MARKS.items() if start.startswith(mark)), "")
    if told is not None:
        return _by_zeros(start) or told if codecs.lookup(told).name == "utf-16" and not marked else told
    return marked or _by_zeros(start) or _eight_bits(path, opened)


def _by_zeros(start: bytes) -> str:
    """UTF-16 without a mark: digits, delimiters and line ends have a zero byte, always at the same place.

    >>> [_by_zeros("c1,5\\n".encode(code)) for code in ("utf-16-le", "utf-16-be", "utf-8")]
    ['utf-16-le', 'utf-16-be', '']
    """
    first, second = start[::2].count(0), start[1::2].count(0)
    if max(first, second) < max(4, len(start) // 20):
        return ""
    return "utf-16-le" if 10 * first < second else "utf-16-be" if 10 * second < first else ""


def _eight_bits(path: Path, opened: Open) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with opened() as file:
            while block := file.read(BLOCK):
                _no_zeros(path, decoder.decode(block))
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return _western(path, opened)
    return "utf-8"


def _western(path: Path, opened: Open) -> str:
    """Latin-1, or Windows' own where bytes say so; a UTF-8 file with a damaged byte would turn into wrong names."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    marks, wrong, windows, others = 0, 0, False, False
    with opened() as file:
        while block := file.read(BLOCK):
            text = decoder.decode(block)
            _no_zeros(path, text)
            marks += len(re.findall("[^\0-\x7f]", text))
            wrong += len(re.findall("[\udc80-\udcff]", text))
            windows |= bool(re.search("[\udc80-\udc9f]", text))
            others |= bool(re.search(b"[\x81\x8d\x8f\x90\x9d]", block))  # no letters in Windows-1252
    begun = len(decoder.getstate()[0])  # bytes of a character that the end cuts; a single one may be Latin-1's last
    if not wrong and (marks or begun > 1):
        raise cut_off(path, "UTF-8")
    if 2 * wrong < marks:
        raise HistoryError(f"{path}: not UTF-8 in {wrong:,} bytes, but in most others; repair it, or say --encoding")
    if others:
        raise HistoryError(f"{path}: neither UTF-8 nor Windows-1252; say its --encoding, as {OTHERS}")
    return "cp1252" if windows else "latin-1"


def cut_off(path: Path, encoding: str) -> HistoryError:
    """A file that was not written or copied to its end."""
    what = f"ends within a character of {encoding}, so it was cut off"
    return HistoryError(f"{path}: {what}: fetch it again, or say another --encoding")


def _no_zeros(path: Path, text: str) -> None:
    if "\0" in text:
        raise HistoryError(f"{path}: holds zero bytes: neither CSV nor Parquet; if it is, say --encoding")
