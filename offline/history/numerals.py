"""How a column writes its numbers: decimal mark, thousands, signs, and the currency or unit beside them.

Rule: the values of a column decide together, and each is then read whole or not at all. A mark before one, two or more
than three digits, after another mark, or after a lone 0 is a decimal mark; one before three digits alone is neither.
"""

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from offline.errors import HistoryError
from offline.history.units import CURRENCIES, bare, code, one_currency, same, scaled
from offline.history.values import matches
from offline.history.words import padded

NO_TEXT = pa.scalar("", pa.large_string())
AGREE = 0.9  # of the different values that can decide
SPACES = " \u00a0\u2007\u2009\u202f'\u2019`"  # what groups thousands in one locale or another, beside point and comma
MINUS = "[\u2212\u2012\u2013\u2014\ufe63\uff0d]"

_PLAIN = r"^[+-]?\d+(?:\.\d+)?$"
_BLANK = r"[\s\x{a0}\x{2007}\x{2009}\x{202f}]*"
# Letters and signs: whatever is no ASCII punctuation, digit or blank; a named class of Unicode takes RE2 10 ms a time.
_LETTER = r"\x00-#&-@\[-`{-\x{a0}\x{2007}\x{2009}\x{2019}\x{202f}"
_UNIT = rf"(?:[^{_LETTER}][^{_LETTER}]{{0,5}}(?:[./]{{1,2}}[^{_LETTER}]{{0,3}})?)?"
_BODY = rf"(?:\d[\d{SPACES}.,]*|[.,]\d+)(?:[eE][-+]?\d{{1,4}})?"
_PARTS = (
    rf"^(?P<a>[-+]?){_BLANK}(?P<before>{_UNIT}){_BLANK}(?P<b>[-+]?){_BLANK}(?P<body>{_BODY}){_BLANK}"
    rf"(?P<c>-?){_BLANK}(?P<after>{_UNIT}){_BLANK}(?P<d>-?)$"
)
_IN_BRACKETS = r"^([^\d()]*)\(([^()]*\d[^()]*)\)([^\d()]*)$"
_NO_CENTS = r"(\d)([.,])-{1,2}"  # 100,- and 5.--

_CURRENCY = r"(\p{Sc}|^[A-Z]{3}$)"


@dataclass(frozen=True)
class Numbers:
    """decimal "": nothing told point from comma, so numbers are plain ones, as programs write them (1234.5, 1e3).

    decimal "." or ",": thousands may be grouped by the other one, a space or an apostrophe, as in India too. currency:
    the one sign, code, word or unit that may stand before or after. Negative is what has a minus at either end or
    stands in brackets.
    """

    decimal: str = ""
    currency: str = ""

    def plain(self, text: pa.Array) -> pa.Array:
        """The same numbers written plainly; "?" for what this format does not write, null for a word for nothing
        between blanks.

        >>> Numbers(",", "€").plain(pa.array(["1.234,5 €", "-7", "(1,50)", "3-", "12.5", "$3", " n/a "])).to_pylist()
        ['1234.5', '-7', '-1.50', '-3', '?', '?', None]
        """
        if self.decimal != "," and matches(text.drop_null(), _PLAIN).all():
            return text
        text, unit = text.cast(pa.large_string()), re.escape(self.currency)
        bare = pc.replace_substring_regex(pc.utf8_trim_whitespace(text), rf"^([-+]?){_BLANK}{unit}{_BLANK}", r"\1")
        bare = pc.replace_substring_regex(bare, rf"{_BLANK}{unit}$", "") if unit else bare
        simple = matches(bare, _written(self.decimal, "[-+]?"))
        found = pc.if_else(pa.array(simple), self._unmarked(bare), None)
        others = ~simple & text.is_valid().to_numpy(zero_copy_only=False)
        if not others.any():
            return found
        return pc.replace_with_mask(found, pa.array(others), self._taken_apart(text.filter(pa.array(others))))

    def _taken_apart(self, text: pa.Array) -> pa.Array:
        parts = Parts(text)
        sound = pc.and_(pc.match_substring_regex(parts.body, _written(self.decimal)), self._ours(parts.unit))
        plain = pc.binary_join_element_wise(
            pc.if_else(parts.negative, "-", "").cast(parts.body.type), self._unmarked(parts.body), NO_TEXT
        )
        unread = pc.if_else(padded(text), pa.scalar(None, plain.type), "?")
        return pc.if_else(sound.fill_null(False), plain, unread)

    def _unmarked(self, body: pa.Array) -> pa.Array:
        marks = (SPACES + ".,").replace(self.decimal or ".", "")
        return pc.replace_substring(pc.replace_substring_regex(body, f"[{marks}]", ""), self.decimal or ".", ".")

    def _ours(self, unit: pa.Array) -> pa.Array:
        return pc.is_in(_bared(unit), pa.array(["", *same(self.currency)], unit.type))


def _bared(unit: pa.Array) -> pa.Array:
    return pc.utf8_lower(pc.utf8_rtrim(unit, "."))


def _written(decimal: str, sign: str = "") -> str:
    """What a number's body looks like; without a known mark, thousands may be grouped by what is none."""
    marks = (SPACES + ".,").replace(decimal, "") if decimal else SPACES
    mark = re.escape(decimal or ".")
    groups = "|".join(rf"\d{{1,3}}(?:{re.escape(mark)}\d{{2,3}})*{re.escape(mark)}\d{{3}}" for mark in marks)
    return rf"^{sign}(?:{groups}|\d*)(?:{mark}\d*)?(?:[eE][-+]?\d{{1,4}})?$"


class Parts:
    """Of the texts of a column. body: digits and marks, null where a text is no number; unit: what stands beside them
    (`before`, or behind); negative: is it below 0? What stands on both sides is a unit where it is one currency
    ($5 CAD); else the text is a code (A12X).
    """

    def __init__(self, text: pa.Array) -> None:
        text = pc.replace_substring_regex(pc.utf8_trim_whitespace(text.cast(pa.large_string())), MINUS, "-")
        text = pc.replace_substring_regex(text, _NO_CENTS, r"\1\20")
        text = pc.replace_substring_regex(text, _IN_BRACKETS, r"-\1\2\3")
        found = pc.extract_regex(text, _PARTS)
        part = {name: pc.struct_field(found, name) for name in ("a", "before", "b", "body", "c", "after", "d")}
        signs = pc.binary_join_element_wise(part["a"], part["b"], part["c"], part["d"], NO_TEXT)
        one = pc.less_equal(pc.binary_length(signs), 1)
        both = pc.and_(pc.not_equal(part["before"], ""), pc.not_equal(part["after"], ""))
        unit = pc.binary_join_element_wise(part["before"], part["after"], NO_TEXT)
        if pc.any(both).as_py():
            unit = pc.if_else(both, _both(part["before"], part["after"]), unit)
        self.unit = unit
        self.body = pc.if_else(pc.and_(one, unit.is_valid()), pc.utf8_trim_whitespace(part["body"]), None)
        self.before = part["before"]
        self.negative = pc.equal(signs, "-")


def _both(before: pa.Array, after: pa.Array) -> pa.Array:
    """The one currency that two texts mean, null where they mean none; a code tells which of several a sign is.

    >>> _both(pa.array(["$", "$", "kr", "EUR", "A", "€"]), pa.array(["USD", "CAD", "SEK", "€", "X", "USD"])).to_pylist()
    ['USD', 'CAD', 'SEK', 'EUR', None, None]
    """
    pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
    return pa.array([one_currency(*pair) if all(pair) else None for pair in pairs], pa.large_string())


@dataclass
class Votes:
    """What the values of one column say: for each answer how many, and one that could mean both.

    named: did a person say that the column holds numbers? Else P12 is a code, as 12 kg is not.
    """

    named: bool = True
    of: Counter[str] = field(default_factory=Counter)
    unclear: str | None = None
    units: Counter[str] = field(default_factory=Counter)
    before: set[str] = field(default_factory=set)
    numbers: int = 0
    seen: int = 0

    @property
    def open(self) -> bool:
        return self.unclear is not None and not self.of

    def winner(self, where: str, ask: str) -> str:
        """The answer of 9 in 10, "" where nothing was asked. Raises HistoryError with what to `ask` for."""
        if self.open:
            raise HistoryError(f"{where}: {self.unclear!r} can be read in two ways, and no value decides; {ask}")
        return most(self.of, where, ask)

    @property
    def currencies(self) -> Counter[str]:
        """Units that are currencies, and any other word that stands beside nine in ten numbers."""
        units = {unit: n for unit, n in self.units.items() if known(unit) or n >= AGREE * self.numbers}
        codes = set() if self.named else {bare(unit) for unit in self.before if not known(unit)}
        return Counter({unit: n for unit, n in units.items() if bare(unit) not in codes and not scaled(unit)})

    def count(self, column: pa.Array) -> None:
        """Adds the different values of a block's column."""
        text = column.drop_null().unique()
        self.seen += len(text)
        plain = matches(text, _PLAIN)
        self.numbers += int(plain.sum())
        self._marks(pc.utf8_ltrim(text.filter(pa.array(plain)), "+-"))
        if plain.all():
            return
        parts = Parts(text.filter(pa.array(~plain)))
        number = _either(parts.body)
        self.numbers += pc.sum(number).as_py() or 0
        self.before |= set(parts.before.filter(number).to_pylist())
        beside = parts.unit.filter(pc.and_(number, pc.not_equal(parts.unit, "")))
        for unit, n in Counter(beside.to_pylist()).items():
            first = next((other for other in self.units if code(other) == code(unit)), unit)
            self.units[first] += n
        self._marks(parts.body.filter(number))

    def _marks(self, body: pa.Array) -> None:
        body = pc.replace_substring_regex(body, "[eE].*", "")
        body = body.filter(pa.array(matches(body, "[.,]")))
        for mark, other in (".,", ",."):
            m, o = rf"\{mark}", rf"\{other}"
            tail = rf"^\d*{m}(\d{{0,2}}|\d{{4,}})$|^(\d{{4,}}|0\d*|){m}\d+$"
            grouped = rf"^\d{{1,3}}([{SPACES}{o}]\d{{2,3}})+{m}\d*$|^\d{{1,3}}({o}\d{{2,3}})+{o}\d{{3}}$"
            if n := int(matches(body, f"{tail}|{grouped}").sum()):
                self.of[mark] += n
        both = body.filter(pa.array(matches(body, r"^[1-9]\d{0,2}[.,]\d{3}$")))
        if self.unclear is None and len(both):
            self.unclear = both[0].as_py()


def share(text: pa.Array, votes: Votes) -> float:
    """How many of a column's values, of which `votes` heard the different ones, are numbers.

    >>> text = pa.array(["1", "2", "2", "unknown"])
    >>> votes = Votes()
    >>> votes.count(text)
    >>> share(text, votes)
    0.75
    """
    if not len(text):
        return 0.0
    counts = text.value_counts()
    different, rows = counts.field("values"), counts.field("counts").to_numpy()
    number = matches(different, _PLAIN)
    if not number.all():
        parts = Parts(different.filter(pa.array(~number)))
        ours = pa.array(["", *itertools.chain(*map(same, votes.currencies))], pa.large_string())
        found = pc.and_(_either(parts.body), pc.is_in(_bared(parts.unit), ours))
        number[~number] = found.to_numpy(zero_copy_only=False)
    return int(rows[number].sum()) / len(text)


def _either(body: pa.Array) -> pa.Array:
    """Which are numbers with either mark."""
    point, comma = (pc.match_substring_regex(body, _written(mark)) for mark in ".,")
    return pc.or_(point, comma).fill_null(False)


def known(unit: str) -> bool:
    """Is it a currency's sign, code or word?

    >>> known("US$"), known("kr."), known("CHF"), known("kg")
    (True, True, True, False)
    """
    return bool(matches(pa.array([unit]), _CURRENCY)[0]) or bare(unit) in CURRENCIES


def most(votes: Counter[str], where: str, ask: str) -> str:
    """The answer of nine in ten. Raises HistoryError."""
    (best, n), *_ = votes.most_common(1) or [("", 0)]
    if n < AGREE * votes.total():
        both = " and ".join(f"{n:,} like {answer}" for answer, n in sorted(votes.items()))
        raise HistoryError(f"{where}: {both}: no format of its own; repair the file, or {ask}")
    return best
