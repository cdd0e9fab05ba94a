"""Scores spelled straight into commands to Redis: of each customer's hash an HSET of the fields that changed.

The rule: the text of a field is a function of a few whole numbers, its marks. Those of what was written last are kept,
and where none of them changed, the text that stands there is the one that would be written. models/scores.py is the
plain way, with which this one agrees letter by letter. Decimals are rounded as `printf` does, half to even of the exact
double: the error of its product with a power of ten is a double too (Dekker, A floating-point technique for extending
the available precision, Numerische Mathematik 18, 1971).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models import scores
from models.compiled import njit
from models.features import LN2
from models.offers import MOST
from models.rows import DAY

Array = npt.NDArray[Any]

# Marks, by column: who a customer is (segment, the one before, the day of the change) in one; amounts in steps of their
# texts; what the offers are by their places; the version that scores, its publish in the highest 16 bits.
MARKS = 17
RANK, COLUMNS = MARKS, MARKS + 1  # behind the marks: by what value a customer stands in its segment's set, in steps
WHO, CLUSTER, RFM, DEMAND, HIGH, EXPECTED, P_BUY, VALUE = range(8)
ORDERS, SPEND, FIRST, LAST, AT, NEXT, OFFERS, SEEN, SCORER = range(8, MARKS)
SPELLED_BY = (
    (WHO,), (WHO,), (WHO,), (WHO,), (CLUSTER,), (RFM,), (DEMAND,), (HIGH,), (EXPECTED,), (P_BUY,), (VALUE,), (ORDERS,),
    (SPEND,), (SPEND, ORDERS), (SPEND, VALUE), (FIRST,), (LAST,), (AT,), (FIRST, LAST, ORDERS), (NEXT,), (OFFERS,),
    (SEEN,), (), (), (SCORER,),
)  # fmt: skip
# Pieces of text: a field each, as it stands in a command, the COMMON texts, these, the segments' names behind "", then
# the offers.
FIELDS = len(scores.FIELDS)
(
    SEGMENT, SEGMENT_ID, PREVIOUS, SINCE, CLUSTER_ID, QUINTILES, SPENDS, BOUND, BUYS, CHANCE, WORTH, COUNT, SPENT, MEAN,
    TOTAL, BOUGHT_FIRST, BOUGHT_LAST, LAST_EVENT, GAP, EXPECTED_AT, BESIDE, SOURCE, HORIZON, SCORED_AT, VERSION, SCHEMA,
) = range(FIELDS)  # fmt: skip
COMMON = FIELDS - HORIZON
COMMAND, PREFIX, PLACE, HISTORY, NAMES = range(FIELDS + COMMON, FIELDS + COMMON + 5)
ALL = (1 << FIELDS) - 1
BITS = np.array([sum(1 << i for i, by in enumerate(SPELLED_BY) if j in by) for j in range(MARKS)], np.int64)
EXACT = 2.0**53 / 10_000  # amounts below it are exact in steps of their texts
NOT_SOON = -1
WIDEST = 32  # bytes of a number or a time, as a bulk string
MINUS, POINT, ZERO, COLON, T, Z, COMMA, OPEN, CLOSE, STAR, DOLLAR = map(ord, "-.0:TZ,[]*$")


class Texts:
    """What is the same for all customers that one model scores for one partition, laid out once.

    common: texts of scores.COMMON, whose lengths do not change; products: JSON texts, by their places in the offers.
    """

    def __init__(
        self, prefix: str, place: str, common: Sequence[str], segments: Iterable[str], products: Sequence[str]
    ) -> None:
        plain = ("$4\r\nHSET\r\n", prefix, f"{place}:", bulk("history"))
        named = map(bulk, ("", *segments))
        pieces = [each.encode() for each in (*map(bulk, (*scores.FIELDS, *common)), *plain, *named, *products)]
        self.bytes, self.ends = np.frombuffer(bytearray(b"".join(pieces)), np.uint8), np.cumsum([0, *map(len, pieces)])
        self.common, self.products = common, len(pieces) - len(products)
        longest = MOST * (max(map(len, products), default=0) + 1) + len("[]")
        self.text = np.empty(max(longest, WIDEST + len(place.encode())), np.uint8)  # room to spell one in
        names = 2 * max(map(len, pieces[NAMES : self.products]))
        self.most = int(self.ends[NAMES]) + names + (FIELDS + 1) * WIDEST + len(self.text)  # bytes of a command

    def now(self, common: Sequence[str]) -> None:
        """Takes over these texts of scores.COMMON."""
        if common != self.common:
            self.common, said = common, "".join(map(bulk, common)).encode()
            self.bytes[self.ends[FIELDS] : self.ends[FIELDS + COMMON]] = np.frombuffer(said, np.uint8)


def bulk(text: str) -> str:
    """As RESP.

    >>> bulk("née")
    '$4\\r\\nnée\\r\\n'
    """
    return f"${len(text.encode())}\r\n{text}\r\n"


def pairs(keys: tuple[Array, Array], values: Array, sizes: Array) -> bytes:
    """Each key and its value (n,), as RESP. keys: one behind the other, and where each ends; values likewise, and the
    bytes of each.

    >>> pairs((np.frombuffer(b"ab", np.uint8), np.array([1, 2])), np.frombuffer(b"123", np.uint8), np.array([1, 2]))
    b'$1\\r\\na\\r\\n$1\\r\\n1\\r\\n$1\\r\\nb\\r\\n$2\\r\\n23\\r\\n'
    """
    out = np.empty(len(keys[0]) + len(values) + 2 * WIDEST * len(sizes), np.uint8)
    return out[: pair(*keys, values, sizes, out)].tobytes()


@njit
def lay_out(
    rows: Array,
    keys: Array,
    key_ends: Array,
    state: Array,
    said: tuple[Array, ...],
    picks: Array,
    moments: tuple[int, int, int],
    told: Array,
    texts: Array,
    ends: Array,
    products: int,
    text: Array,
    written: Array,
    ranked: Array,
    out: Array,
) -> int:
    """Spells what changed of these customers into `out`, a command each; returns the bytes, or -1 for an amount beyond
    EXACT.

    rows (n,): which of `told` (., COLUMNS) are theirs, which are brought up to now; keys, key_ends: their ids, one
    behind the other; said: columns (n,) of Predictions; picks (n, MOST): of Offers; moments: the mark of the version
    that scores, the day swept to, and the horizon in days; texts, ends, products, text: of Texts; written (n,): the
    fields that are spelled, as bits; ranked (n,): whether they are to stand in their segments' sets anew.
    """
    o, begin = 0, 0
    scorer, swept_to, horizon = moments
    marks = np.empty(MARKS, np.int64)
    for i in range(len(rows)):
        if not mark(state[i], i, said, picks[i], swept_to, horizon, marks):
            return -1
        marks[SCORER] = scorer
        known, fields = told[rows[i]], 0
        bits = ALL if known[SCORER] >> 48 != scorer >> 48 else 1 << SCORED_AT
        for j in range(MARKS):
            if known[j] != marks[j]:
                known[j] = marks[j]
                bits |= BITS[j]
        for field in range(FIELDS):
            fields += bits >> field & 1
        written[i] = bits
        ranked[i] = bits >> SEGMENT & 1 or abs(marks[VALUE] - known[RANK]) * scores.NEAR > marks[VALUE]
        if ranked[i]:
            known[RANK] = marks[VALUE]
        out[o] = STAR
        o = end_line(out, put_whole(out, o + 1, 2 + 2 * fields, 1))
        o = put(out, o, texts, ends[COMMAND], ends[COMMAND + 1])
        out[o] = DOLLAR
        length = ends[PREFIX + 1] - ends[PREFIX] + key_ends[i] - begin
        o = end_line(out, put_whole(out, o + 1, length, 1))
        o = put(out, o, texts, ends[PREFIX], ends[PREFIX + 1])
        o = end_line(out, put(out, o, keys, begin, key_ends[i]))
        begin = key_ends[i]
        for field in range(FIELDS):
            if bits >> field & 1:
                o = put(out, o, texts, ends[field], ends[field + 1])
                piece = fixed(field, marks)
                if piece >= 0:
                    o = put(out, o, texts, ends[piece], ends[piece + 1])
                else:
                    o = put_bulk(out, o, text, 0, spell(field, marks, texts, ends, products, text))
    return o


@njit
def mark(r: Any, i: int, said: Any, picks: Any, swept_to: int, horizon: int, out: Array) -> bool:
    """Fills the marks of a customer but for the version's; False for an amount that is not exact in steps."""
    segment, cluster, rfm, demand, high, orders, p_buy, value = said
    for amount in (demand[i], high[i], orders[i], p_buy[i], value[i]):
        if not amount < EXACT:  # NaN, too
            return False
    out[WHO] = (segment[i] + 1) | (np.int64(r.segment_before) + 1) << 8 | np.int64(r.segment_since) << 16
    out[CLUSTER], out[RFM] = cluster[i], rfm[i]
    out[DEMAND], out[HIGH], out[VALUE] = steps(demand[i], 100.0), steps(high[i], 100.0), steps(value[i], 100.0)
    out[EXPECTED], out[P_BUY] = steps(orders[i], 10_000.0), steps(p_buy[i], 10_000.0)
    out[ORDERS], out[SPEND], out[FIRST], out[LAST] = r.orders, r.spend, r.first, r.last
    out[AT], out[SEEN], out[OFFERS] = r.at, r.seen, 0
    out[NEXT] = next_order(r, orders[i], p_buy[i], max(r.at, swept_to * DAY), horizon)
    for j in range(MOST):
        out[OFFERS] |= (picks[j] + 1) << (21 * j)
    return True


@njit
def next_order(r: Any, orders: float, p_buy: float, at: int, horizon: int) -> int:
    """As scores.next_orders; NOT_SOON beyond a year."""
    days = max(np.int64(r.days) - 1, 1)
    gap, since = (r.last - r.first) / days, at - r.last
    if p_buy >= scores.LIKELY and r.days >= 2 and since <= scores.KEEPS * gap:
        wait = max(gap - since, np.float64(DAY))
    else:
        wait = LN2 * horizon * DAY / max(orders, 1e-4)
    return at + int(np.rint(wait)) if wait <= scores.YEAR else NOT_SOON


@njit
def steps(x: float, by: float) -> int:
    """x * by, at least 0 and less than 2**53, rounded half to even as if it were exact."""
    product = x * by
    whole = math.floor(product)
    over = product - whole - 0.5  # exact; only where it is 0 the error of the product decides
    if over == 0:
        over = error(x, by, product)
        if over == 0:
            over = whole % 2 - 0.5
    return whole + (over > 0)


@njit
def error(x: float, y: float, product: float) -> float:
    """x * y - product, exactly."""
    a, c = 134_217_729.0 * x, 134_217_729.0 * y
    a, c = a - (a - x), c - (c - y)
    b, d = x - a, y - c
    return ((a * c - product) + a * d + b * c) + b * d


@njit
def cents(amount: int, by: int) -> int:
    """As scores.cents."""
    whole, rest = amount // (100 * by), amount % (100 * by)
    return whole + (2 * rest > 100 * by or (2 * rest == 100 * by and whole % 2 == 1))


@njit
def fixed(field: int, m: Array) -> int:
    """The piece that is the text of the field, as a bulk string; -1 where it is to be spelled."""
    if field == SEGMENT:
        return NAMES + int(m[WHO] & 255)
    if field == PREVIOUS:
        return NAMES + int(m[WHO] >> 8 & 255)
    if field == SOURCE and m[SEEN] == 0:
        return HISTORY
    return field + COMMON if field >= HORIZON else -1


@njit
def spell(field: int, m: Array, texts: Array, ends: Array, products: int, out: Array) -> int:
    """Spells the text of the field; returns its bytes."""
    if field == SEGMENT_ID:
        return put_whole(out, 0, (m[WHO] & 255) - 1, 1)
    if field == SINCE:
        return put_date(out, 0, m[WHO] >> 16)
    if field == CLUSTER_ID:
        return put_whole(out, 0, m[CLUSTER], 1)
    if field == QUINTILES:
        out[1] = out[3] = MINUS
        out[0], out[2], out[4] = ZERO + m[RFM] // 100, ZERO + m[RFM] // 10 % 10, ZERO + m[RFM] % 10
        return 5
    if SPENDS <= field <= BOUND:
        return put_decimal(out, 0, m[DEMAND + field - SPENDS], 2)
    if BUYS <= field <= CHANCE:
        return put_decimal(out, 0, m[EXPECTED + field - BUYS], 4)
    if field == WORTH:
        return put_decimal(out, 0, m[VALUE], 2)
    if field == COUNT:
        return put_whole(out, 0, m[ORDERS], 1)
    if field == SPENT:
        return put_decimal(out, 0, cents(m[SPEND], 1), 2)
    if field == MEAN:
        return put_decimal(out, 0, cents(m[SPEND], max(m[ORDERS], 1)), 2)
    if field == TOTAL:
        return put_decimal(out, 0, cents(m[SPEND], 1) + m[VALUE], 2)
    if BOUGHT_FIRST <= field <= LAST_EVENT:
        return put_time(out, 0, m[FIRST + field - BOUGHT_FIRST])
    if field == GAP:
        between = (m[LAST] - m[FIRST]) / DAY / max(m[ORDERS] - 1, 1)
        return put_decimal(out, 0, steps(between, 10.0), 1) if m[ORDERS] > 1 else 0
    if field == EXPECTED_AT:
        return put_time(out, 0, m[NEXT]) if m[NEXT] != NOT_SOON else 0
    if field == BESIDE:
        return put_offers(out, m[OFFERS], texts, ends, products)
    if field == SOURCE:
        return put_whole(out, put(out, 0, texts, ends[PLACE], ends[PLACE + 1]), m[SEEN] - 1, 1)
    return 0


@njit
def pair(keys: Array, key_ends: Array, values: Array, sizes: Array, out: Array) -> int:
    """Returns the bytes."""
    o, key, value = 0, 0, 0
    for i in range(len(sizes)):
        o = put_bulk(out, o, keys, key, key_ends[i])
        o = put_bulk(out, o, values, value, value + sizes[i])
        key, value = key_ends[i], value + sizes[i]
    return o


@njit
def put_bulk(out: Array, o: int, source: Array, start: int, end: int) -> int:
    """As `put`, as a bulk string."""
    out[o] = DOLLAR
    o = end_line(out, put_whole(out, o + 1, end - start, 1))
    return end_line(out, put(out, o, source, start, end))


@njit
def put(out: Array, o: int, source: Array, start: int, end: int) -> int:
    """Copies bytes to out[o:]; returns where the next begin."""
    for i in range(start, end):
        out[o] = source[i]
        o += 1
    return o


@njit
def end_line(out: Array, o: int) -> int:
    out[o], out[o + 1] = 13, 10
    return o + 2


@njit
def put_whole(out: Array, o: int, number: int, width: int) -> int:
    """A number of at least so many digits."""
    if number < 0:
        out[o], o, number = MINUS, o + 1, -number
    digits, rest = 1, number // 10
    while rest:
        digits, rest = digits + 1, rest // 10
    digits = max(digits, width)
    for i in range(digits):
        out[o + digits - 1 - i] = ZERO + number % 10
        number //= 10
    return o + digits


@njit
def put_decimal(out: Array, o: int, number: int, places: int) -> int:
    """A number that is given in steps of its last place."""
    if number < 0:
        out[o], o, number = MINUS, o + 1, -number
    o = put_whole(out, o, number // 10**places, 1)
    out[o] = POINT
    return put_whole(out, o + 1, number % 10**places, places)


@njit
def put_date(out: Array, o: int, day: int) -> int:
    """ISO 8601 of days since the epoch (Hinnant, chrono-compatible low-level date algorithms, civil_from_days)."""
    z = day + 719_468
    era = z // 146_097
    of_era = z - era * 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153  # months since March
    month = shifted + 3 if shifted < 10 else shifted - 9
    o = put_whole(out, o, year + era * 400 + (month <= 2), 4)
    out[o] = MINUS
    o = put_whole(out, o + 1, month, 2)
    out[o] = MINUS
    return put_whole(out, o + 1, of_year - (153 * shifted + 2) // 5 + 1, 2)


@njit
def put_time(out: Array, o: int, t: int) -> int:
    """ISO 8601 UTC of microseconds, to the second."""
    seconds = t // 1_000_000
    o = put_date(out, o, seconds // 86_400)
    for mark, part in ((T, seconds // 3_600 % 24), (COLON, seconds // 60 % 60), (COLON, seconds % 60)):
        out[o] = mark
        o = put_whole(out, o + 1, part, 2)
    out[o] = Z
    return o + 1


@njit
def put_offers(out: Array, places: int, texts: Array, ends: Array, products: int) -> int:
    """A JSON array of the products at these places."""
    out[0], o = OPEN, 1
    for j in range(MOST):
        place = (places >> (21 * j) & 0x1F_FFFF) - 1
        if place >= 0:
            if o > 1:
                out[o], o = COMMA, o + 1
            o = put(out, o, texts, ends[products + place], ends[products + place + 1])
    out[o] = CLOSE
    return o + 1
