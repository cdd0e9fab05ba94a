"""Amounts of several currencies: which each row is in, and what it is worth in the one of the history.

A row's currency is what its file's currency column says, for a sign may mean several ($, kr), else what stands beside
its number. Rule: without a rate
(`--rate`) no two currencies are ever added up; a converted amount is rounded half-even to 1/10,000 once.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.events import EXACT, MOST, whole
from offline.errors import HistoryError
from offline.history import sheets, units
from offline.history.files import File
from offline.history.numerals import Numbers, Parts, known
from offline.history.policy import Policy
from offline.history.quality import Line, Note
from offline.history.units import PIECES, bare, code
from offline.history.values import Bools, Ints, matches
from offline.history.words import nothing

WORD = r"^\d{1,3}$|[\p{L}\p{Sc}]"  # of a currency column; rates are none


def column(file: File) -> str:
    """Our name of the column whose currency counts."""
    return "amount" if "amount" in file.at else "unit_price"


def apart(text: pa.Array, policy: Policy) -> tuple[pa.Array, pa.Array]:
    """(numbers without the currencies that have a rate, those currencies).

    >>> policy = Policy(rates={"EUR": Decimal("1.08")})
    >>> [part.to_pylist() for part in apart(pa.array(["10,50 €", "$3", "EUR -7", None]), policy)]
    [['10,50', '$3', '-7', None], ['EUR', None, 'EUR', None]]
    """
    text, found = text.cast(pa.large_string()), pa.nulls(len(text), pa.large_string())
    if not policy.rates:
        return text, found
    parts = Parts(text)
    sign = pc.if_else(parts.negative, "-", "").cast(text.type)
    plain = pc.binary_join_element_wise(sign, parts.body, pa.scalar("", text.type))
    for unit in filter(None, parts.unit.unique().to_pylist()):
        if code(unit) in policy.rates:
            here = pc.and_(pc.equal(parts.unit, unit), plain.is_valid()).fill_null(False)
            text, found = pc.if_else(here, plain, text), pc.if_else(here, code(unit), found)
    return text, found


def of_rows(file: File, numbers: Numbers | None, block: list[pa.Array], beside: pa.Array) -> pa.Array:
    """The currency of each row, null where nothing tells it. numbers: how `column` is written; beside: what `apart`
    found."""
    if numbers and known(numbers.currency):
        beside = pc.coalesce(beside, pa.scalar(code(numbers.currency), pa.large_string()))
    if "currency" not in file.at:
        return beside
    return pc.coalesce(named(block[file.at["currency"]]), beside)


def named(column: pa.Array) -> pa.Array:
    """What a currency column says of each row: a code, or a word that is none known but never another one's; null where
    nothing, or no word, stands there.

    >>> named(pa.array(["Euro", " eur", "840", "U.S. Dollar", "USDT", "1.08", None])).to_pylist()
    ['EUR', 'EUR', 'USD', 'USD', 'USDT', None, None]
    """
    texts = pc.dictionary_encode(pc.utf8_trim_whitespace(column.cast(pa.large_string())))
    words = matches(texts.dictionary, WORD) & ~nothing(texts.dictionary).fill_null(True).to_numpy(zero_copy_only=False)
    pairs = zip(texts.dictionary.to_pylist(), words.tolist(), strict=True)
    return pa.array([units.named(word) if is_word else None for word, is_word in pairs], pa.large_string()).take(
        texts.indices
    )


def codes(units: pa.Array) -> pa.Array:
    """The currencies that units are, null where they are none."""
    texts = pc.dictionary_encode(units.cast(pa.large_string()))
    found = [code(unit) if unit and known(unit) else None for unit in texts.dictionary.to_pylist()]
    return pa.array(found, pa.large_string()).take(texts.indices)


def convert(amount: Ints, of: pa.Array, rates: Mapping[str, Decimal], notes: Counter[Note]) -> tuple[Ints, Bools]:
    """(amounts in the history's currency, which are no larger than may be); `notes` gets how many were converted.

    >>> convert(np.array([105_000, 30_000]), pa.array(["EUR", "USD"]), {"EUR": Decimal("1.08")}, Counter())[0].tolist()
    [113400, 30000]
    """
    amount = amount.copy()
    for name, rate in rates.items():
        here = pc.equal(of, name).fill_null(False).to_numpy(zero_copy_only=False)
        different, place = np.unique(amount[here], return_inverse=True)
        worth = [whole(EXACT.multiply(rate, Decimal(each))) for each in different.tolist()]
        fits = [worth_ if abs(worth_) <= MOST else MOST + 1 for worth_ in worth]
        amount[here] = np.array(fits, np.int64)[place]
        notes["numbers", "amount", converted(name, rate)] += len(place)
    return amount, np.abs(amount) <= MOST


def converted(name: str, rate: Decimal) -> str:
    """What the table says of amounts that were."""
    return f"changed: {name} times {rate}"


def check(files: Sequence[File], met: Iterable[Mapping[str, int]], policy: Policy) -> None:
    """met: of each file, rows by currency. Raises HistoryError where amounts of several would be added up."""
    others = [{name: n for name, n in found.items() if name and name not in policy.rates} for found in met]
    names = sum(map(Counter, others), Counter[str]())
    if len(names) > 1:
        (most, _), *rest = names.most_common()
        where = "; ".join(
            f"{file.path}: " + ", ".join(f"{n:,} rows in {name}" for name, n in found.items())
            for file, found in zip(files, others, strict=True)
            if found
        )
        rates = ",".join(f"{name}=..." for name, _ in rest)
        raise HistoryError(
            f"{where}: the sum of several currencies means nothing; say --rate {rates} (how much {most} one is), or"
            f" leave one out with --only or --except"
        )


def check_shown(file: File) -> None:
    """Raises HistoryError where the formats of an Excel file's cells alone tell one currency from another: values are
    what is read."""
    priced = file.at.get(column(file))
    if not file.sheet or priced is None or "currency" in file.at:
        return
    found = sheets.currencies(file.path, file.sheet, file.line, priced)
    if len(found) > 1:
        both = " and ".join(f"{name} ({n:,} cell{'s' * (n > 1)})" for name, n in found.most_common())
        raise HistoryError(
            f"{file.path}: {file.header[priced]!r} is shown in {both} by the formats of its cells alone: give it a"
            " column of currencies, or save it as CSV, where they stand beside the numbers"
        )


def untold(files: Sequence[File], met: Sequence[Mapping[str, int]], policy: Policy) -> list[Line]:
    """Told of files in which amounts are in no currency, where others are in one. met: of each file, rows by currency
    ("": none)."""
    named = sum((Counter(found) for found in met), Counter[str]())
    del named[""]
    known = [name for name, _ in named.most_common() if name not in policy.rates]
    what = f"read as {known[0]}" if known else "read as they are"
    return [
        Line("numbers", "amount", f"told: {file.path.name}: no currency, {what}", found[""])
        for file, found in zip(files, met, strict=True)
        if named and found.get("")
    ]


def check_units(files: Sequence[File], written: Mapping[int, Mapping[str, Numbers]]) -> None:
    """written: of each file, by its number, how it writes its columns. Raises HistoryError where units that are no
    currencies differ between files; none is one too, and what counts pieces is none."""
    for ours in ("amount", "unit_price", "quantity"):
        met = {file.path: written[file.number][ours].currency for file in files if ours in written[file.number]}
        met = {path: "" if bare(unit) in PIECES else unit for path, unit in met.items()}
        if len({*map(bare, met.values())}) > 1 and not all(unit == "" or known(unit) for unit in met.values()):
            where = "; ".join(f"{path}: {unit or 'none'}" for path, unit in met.items())
            raise HistoryError(f"{ours} has several units, {where}: make them one unit in the files")
