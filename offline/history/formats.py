"""How a file writes its numbers and dates: decided per column from its values together, or asked of the person.

The first block decides; while it is undecided, later ones are looked at too. Rule: 9 of 10 different values that can
decide must agree (those that do not are bad ones, counted); where none can, one line asks, and nothing is guessed.
"""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from offline.errors import HistoryError
from offline.history import files
from offline.history.files import File
from offline.history.policy import NUMBERS, Policy
from offline.history.quality import Line
from offline.history.values import CURRENCY, SPACES, Numbers, matches

AGREE = 0.9
_MARKED = rf"^\d{{0,3}}(?:[{SPACES}.,]?\d+)*[.,]?\d*$"
_DATE = r"^(?P<a>\d{1,2})[/.-](?P<b>\d{1,2})[/.-](?P<year>\d{4}|\d\d)(?P<end>[ ,Tt]|$)"
_SHORT = r"^\d\d?-\d\d?-\d\d([ ,Tt]|$)"  # may begin with the year: not read


@dataclass(frozen=True)
class Formats:
    """Of one file. numbers: by column of ours; dayfirst: None where no date needs it."""

    numbers: dict[str, Numbers]
    dayfirst: bool | None

    def notes(self, rows: int) -> list[Line]:
        """What a person should know of it: the formats that are not plain, for so many rows."""
        told = [
            Line(
                "numbers",
                column,
                f"told: decimal {n.decimal!r}" + (f", currency {n.currency}" * bool(n.currency)),
                rows,
            )
            for column, n in self.numbers.items()
            if n.decimal == "," or n.currency
        ]
        if self.dayfirst is not None:
            order = "day/month/year" if self.dayfirst else "month/day/year"
            told.append(Line("dates", "occurred_at", f"told: dates that are not ISO 8601 read as {order}", rows))
        return told


class _Votes:
    """What the values of one column say: for each answer how many, and one that could mean both."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self.unclear: str | None = None
        self.currencies: Counter[str] = Counter()

    @property
    def open(self) -> bool:
        return self.unclear is not None and not self.of

    def winner(self, where: str, ask: str) -> str:
        """The answer of 9 in 10, "" where nothing was asked. Raises HistoryError with what to `ask` for."""
        if self.open:
            raise HistoryError(f"{where}: {self.unclear!r} can be read in two ways, and no value decides; {ask}")
        return _most(self.of, where, ask)


def _most(votes: Counter[str], where: str, ask: str) -> str:
    (best, n), *_ = votes.most_common(1) or [("", 0)]
    if n < AGREE * votes.total():
        both = " and ".join(f"{n:,} like {answer}" for answer, n in sorted(votes.items()))
        raise HistoryError(f"{where}: {both}: no format of its own; repair the file, or {ask}")
    return best


def decide(file: File, policy: Policy) -> Formats:
    """The formats of a file's columns. Raises HistoryError where its values leave them open."""
    written = {ours: at for ours, at in file.at.items() if at not in file.typed}
    votes = {ours: _Votes() for ours in (*NUMBERS, "occurred_at") if ours in written}
    for block, _ in files.blocks(file):
        for ours, found in votes.items():
            _dates(block[written[ours]], found) if ours == "occurred_at" else _numbers(block[written[ours]], found)
        if not any(found.open for ours, found in votes.items() if not _told(ours, policy)):
            break
    numbers = {ours: _format(file, ours, votes[ours], policy) for ours in NUMBERS if ours in votes}
    dayfirst = policy.dayfirst
    if dayfirst is None and "occurred_at" in votes:
        order = votes["occurred_at"].winner(_where(file, "occurred_at"), "say --dayfirst or --monthfirst")
        dayfirst = {"day/month": True, "month/day": False}.get(order)
    return Formats(numbers, dayfirst)


def _told(ours: str, policy: Policy) -> bool:
    return (policy.dayfirst if ours == "occurred_at" else policy.decimal) is not None


def _where(file: File, ours: str) -> str:
    return f"{file.path}: column {file.header[file.at[ours]]!r}"


def _format(file: File, ours: str, votes: _Votes, policy: Policy) -> Numbers:
    where = _where(file, ours)
    currency = _most(votes.currencies, where, "convert them into one currency")
    decimal = policy.decimal or votes.winner(where, "say --decimal . or --decimal ,")
    return Numbers(decimal or ("." if currency else ""), currency)


def _numbers(column: pa.Array, votes: _Votes) -> None:
    """A mark before one, two or more than three digits, after another mark, or after a lone 0 is a decimal mark."""
    text = pc.replace_substring_regex(pc.utf8_trim_whitespace(column.drop_null().unique()), "^[-+\u2212]", "")
    signed = rf"^{CURRENCY}[\s\x{{a0}}]*-?\d|\d[\s\x{{a0}}\x{{202f}}]*{CURRENCY}$"
    with_sign = text.filter(pc.match_substring_regex(text, signed))
    signs = pc.extract_regex(with_sign, rf"(?P<sign>{CURRENCY})")
    if len(with_sign):
        votes.currencies.update(pc.struct_field(signs, "sign").to_pylist())
    text = pc.replace_substring_regex(text, rf"^{CURRENCY}[\s\x{{a0}}]*-?|[\s\x{{a0}}\x{{202f}}]*{CURRENCY}$", "")
    text = text.filter(pa.array(matches(text, _MARKED) & matches(text, "[.,]")))
    for mark, other in (".,", ",."):
        m, o = rf"\{mark}", rf"\{other}"
        tail = rf"^\d*{m}(\d{{0,2}}|\d{{4,}})$|^(\d{{4,}}|0\d*|){m}\d+$"
        grouped = rf"^\d{{1,3}}([{SPACES}{o}]\d{{2,3}})+{m}\d*$|^\d{{1,3}}({o}\d{{2,3}})+{o}\d{{3}}$"
        if n := int(matches(text, f"{tail}|{grouped}").sum()):
            votes.of[mark] += n
    both = text.filter(pa.array(matches(text, r"^[1-9]\d{0,2}[.,]\d{3}$")))
    if votes.unclear is None and len(both):
        votes.unclear = both[0].as_py()


def _dates(column: pa.Array, votes: _Votes) -> None:
    """A number above 12 is a day."""
    words = pc.utf8_trim_whitespace(column.drop_null().unique())
    words = words.filter(pa.array(~matches(words, _SHORT)))
    parts = pc.extract_regex(words, _DATE)
    a, b = (pc.struct_field(parts, name).drop_null().cast(pa.int8()).to_numpy() for name in "ab")
    for answer, decides in (("day/month", (a > 12) & (b <= 12)), ("month/day", (b > 12) & (a <= 12))):
        if n := int(decides.sum()):
            votes.of[answer] += n
    unclear = (a <= 12) & (b <= 12) & (a != b)
    if votes.unclear is None and unclear.any():
        votes.unclear = words.filter(parts.is_valid())[int(unclear.argmax())].as_py()
