"""One history in forty dialects, as programs all over the world write them: each is read to the same frame, or refused
with a line that names the cause, and then read as it was told."""

import bz2
import csv
import gzip
import io
import itertools
import lzma
import zipfile
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline.errors import HistoryError
from offline.history import read as history
from offline.history.policy import Policy

HEADER = ["Kunde", "Datum", "Betrag", "Beleg", "Artikel", "Notiz"]
COLUMNS = dict(zip(("customer_id", "occurred_at", "amount", "event_id", "product_id"), HEADER, strict=False))
MONTHS = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()  # noqa: SIM905
NBSP, NARROW, MINUS = "\u00a0", "\u202f", "\u2212"


class Event(NamedTuple):
    customer: str
    moment: datetime
    amount: Decimal
    product: str | None
    note: str


def marks(group: str, decimal: str) -> Callable[[Decimal], str]:
    return lambda n: f"{n:,.2f}".translate({ord(","): group, ord("."): decimal})


def indian(n: Decimal) -> str:
    whole, cents = f"{abs(n):.2f}".split(".")
    head, tail = whole[:-3], whole[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return ("-" if n < 0 else "") + ",".join([*pairs, tail]) + "." + cents


def bracketed(write: Callable[[Decimal], str]) -> Callable[[Decimal], str]:
    return lambda n: f"({write(-n)})" if n < 0 else write(n)


def behind(write: Callable[[Decimal], str]) -> Callable[[Decimal], str]:
    return lambda n: f"{write(-n)}-" if n < 0 else write(n)


US, GERMAN = marks(",", "."), marks(".", ",")
NUMBERS: dict[str, Callable[[Decimal], str]] = {
    "plain": lambda n: f"{n:.2f}",
    "US": US,
    "German": GERMAN,
    "Swiss": marks("\u2019", "."),
    "nbsp": marks(NBSP, ","),
    "narrow nbsp": marks(NARROW, ","),
    "Indian": indian,
    "brackets": bracketed(US),
    "minus behind": behind(GERMAN),
    "a real minus": lambda n: US(n).replace("-", MINUS),
    "$": lambda n: f"${US(n)}".replace("$-", "-$"),
    "$ in brackets": bracketed(lambda n: f"${US(n)}"),
    "€ behind": lambda n: f"{GERMAN(n)} €",
    "kr": lambda n: f"kr {marks(NBSP, ',')(n)}",
    "zł": lambda n: f"{n:.2f} zł".replace(".", ","),
    "EUR": lambda n: f"EUR {GERMAN(n)}",
    "Fr.": lambda n: f"Fr. {marks(chr(39), '.')(n)}",
    "R$": lambda n: f"R$ {GERMAN(n)}",
    "руб.": lambda n: f"{marks(' ', ',')(n)} руб.",  # noqa: RUF001
}


def strftime(form: str) -> Callable[[datetime], str]:
    return lambda moment: moment.strftime(form)


def since(unit: timedelta, zero: datetime = datetime(1970, 1, 1, tzinfo=UTC)) -> Callable[[datetime], str]:
    return lambda moment: str((moment - zero) // unit)


DATES: dict[str, Callable[[datetime], str]] = {
    "ISO": strftime("%Y-%m-%dT%H:%M:%SZ"),
    "blank before the offset": lambda moment: moment.astimezone(timezone(timedelta(hours=-4))).strftime("%F %T %z"),
    "UTC": strftime("%Y-%m-%d %H:%M:%S UTC"),
    "EST": lambda moment: moment.astimezone(timezone(timedelta(hours=-5))).strftime("%F %T EST"),
    "in brackets": lambda moment: f"{moment.astimezone(timezone(timedelta(hours=1))).isoformat()}[Europe/Paris]",
    "German": strftime("%d.%m.%Y %H:%M:%S"),
    "US": strftime("%m/%d/%Y %I:%M:%S %p"),
    "Oracle": strftime("%d-%b-%Y %H.%M.%S"),
    "a month's name": strftime("%b %d, %Y %I:%M:%S %p"),
    "a German month": lambda moment: f"{moment.day}. {MONTHS[moment.month - 1]} {moment:%Y, %H:%M:%S} Uhr",
    "RFC 2822": format_datetime,
    "ctime": strftime("%a %b %e %H:%M:%S %Y"),
    "seconds": since(timedelta(seconds=1)),
    "milliseconds": since(timedelta(milliseconds=1)),
    "microseconds": since(timedelta(microseconds=1)),
    "nanoseconds": lambda moment: since(timedelta(microseconds=1))(moment) + "000",
    "digits": strftime("%Y%m%d%H%M%S"),
    "a spreadsheet's days": lambda moment: repr((moment - datetime(1899, 12, 30, tzinfo=UTC)) / timedelta(days=1)),
}


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export/May.csv", data)
        archive.writestr("__MACOSX/export/._May.csv", b"\0")
    return out.getvalue()


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": lambda data: gzip.compress(data, mtime=0),
    "zip": zipped,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}
ENCODINGS = ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
NOISE = ["", "sep", "blank", "title", "comment", "again", "total", "padded", "blank rows"]


class Dialect(NamedTuple):
    encoding: str
    delimiter: str
    date: str
    number: str
    quoting: int
    noise: str
    container: str
    nothing: str


WHEELS: tuple[Collection[Any], ...] = (
    ENCODINGS,
    ",;\t|",
    DATES,
    NUMBERS,
    (csv.QUOTE_MINIMAL, csv.QUOTE_ALL),
    NOISE,
    CONTAINERS,
    ("", "#N/A", "null"),
)
DIALECTS = [Dialect(*each) for each in itertools.islice(zip(*map(itertools.cycle, map(list, WHEELS)), strict=True), 40)]


def encodable(dialect: Dialect) -> bool:
    try:
        NUMBERS[dialect.number](Decimal(-1000)).encode(dialect.encoding)
    except UnicodeEncodeError:
        return False
    return True


def written(events: list[Event], dialect: Dialect) -> bytes:
    out = io.StringIO()
    noise, number = dialect.noise, NUMBERS[dialect.number if encodable(dialect) else "plain"]
    nothing = "" if dialect.quoting == csv.QUOTE_ALL else dialect.nothing
    out.write({"sep": f"sep={dialect.delimiter}\n", "blank": "\n\n", "title": "Export, May 2024\n\n"}.get(noise, ""))
    out.write("# written by the shop\n" if noise == "comment" else "")
    lines = csv.writer(out, delimiter=dialect.delimiter, quoting=dialect.quoting, lineterminator="\r\n")  # type: ignore[arg-type]
    lines.writerow(HEADER)
    for n, event in enumerate(events):
        row = [event.customer, DATES[dialect.date](event.moment), number(event.amount), f"e{n}"]
        row += [event.product or nothing, event.note]
        lines.writerow([f" {row[0]}\u00a0", f"{row[1]} ", f" {row[2]}", *row[3:]] if noise == "padded" else row)
        if n == 0:
            lines.writerows({"again": [HEADER], "blank rows": [[""] * len(HEADER)]}.get(noise, []))
    if noise == "total":
        lines.writerow(["Total", "", number(sum((event.amount for event in events), Decimal())), "", "", ""])
    return CONTAINERS[dialect.container](out.getvalue().encode(dialect.encoding))


amounts = st.decimals(-(10**7), 10**7, places=2).map(lambda n: n or Decimal("0.01"))
moments = st.datetimes(datetime(2002, 1, 1), datetime(2060, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))
events = st.builds(
    Event,
    st.sampled_from(["Müller", "c 1", 'Zoë "Z"', "x,y;z|\t.", "0017", "17850"]),
    moments,
    amounts,
    st.sampled_from(["Käse", "p-1", None]),
    st.sampled_from(["", "two\nlines, of text", "5' x 12\"", "a;b,c"]),
)


def read(path: Path, **policy: Any) -> pd.DataFrame:
    return history.read([path], COLUMNS, policy=Policy(cancelled=False, **policy)).frame


def asked(path: Path, dialect: Dialect) -> pd.DataFrame:
    """What is read, if need be as the line says that it must be told."""
    if dialect.date not in ("German", "US"):
        return read(path)
    try:
        return read(path)
    except HistoryError as error:
        said = str(error)
    assert "can be read in two ways, and no value decides; say --dayfirst or --monthfirst" in said
    return read(path, dayfirst=dialect.date == "German")


@settings(max_examples=3, deadline=None)
@given(st.lists(events, min_size=1, max_size=30))
def test_every_dialect_is_read_to_the_same_frame_or_asked_about(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    path = tmp_path_factory.mktemp("dialects") / "export"
    path.write_bytes(written(events, Dialect("utf-8", ",", "ISO", "plain", csv.QUOTE_MINIMAL, "", "plain", "")))
    meant = read(path)
    assert meant["amount"].tolist() == [int(e.amount * 10_000) for e in sorted(events, key=lambda event: event.moment)]
    for dialect in DIALECTS:
        path.write_bytes(written(events, dialect))
        found = asked(path, dialect)
        pd.testing.assert_frame_equal(found, meant, obj=str(dialect))


def test_the_dialects_have_every_way_in_them() -> None:
    for wheel, spoken in zip(WHEELS, zip(*DIALECTS, strict=True), strict=True):
        assert set(wheel) == set(spoken)
    assert sum(map(encodable, DIALECTS)) > 30
