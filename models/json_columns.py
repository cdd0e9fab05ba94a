"""Events of usual form, from JSON text to columns in one pass of machine code; what models/events.py asks first.

A record is left out, be it right or wrong, unless it is one JSON object (RFC 8259) whose known fields stand there once,
with ids without escapes, numbers without exponents, and times as most clocks print them. Of what is not left out,
`decode_one` says the same. So a function here may refuse what it finds hard, and never guesses.

Behind every record stands a zero byte, at `end`. It is part of no JSON: whoever goes on only from a byte that it knows
stays within the record. Where the text is of another form, a function returns `end`, and nothing goes on from there.
Places in the text are unsigned: of a signed one numba asks each time whether it counts from the end.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import njit
from models.kinds import KINDS, RETURN

PART = 1 << 10  # records that are joined at once, so that their text fits in memory that the process has already

Array = npt.NDArray[Any]
Place = Any  # uint64: a place in the text, a number of bytes, or 8 bytes
Whole = Any  # int64
Flag = Any  # bool
Texts = Sequence[bytes | None]

INDEX, T, KIND, AMOUNT, ORDER, EVENT = range(6)  # rows of `columns`
END, AHEAD, MOST, ID_BYTES = range(4)  # of `bounds`
NAMES = (
    b"event_id",
    b"event_type",
    b"customer_id",
    b"occurred_at",
    b"order_id",
    b"product_id",
    b"quantity",
    b"unit_price",
)
EVENT_ID, EVENT_TYPE, CUSTOMER_ID, OCCURRED_AT, ORDER_ID, PRODUCT_ID, QUANTITY, UNIT_PRICE = range(8)

U64 = np.uint64
ZERO, ONE, TWO, EIGHT = U64(0), U64(1), U64(2), U64(8)
QUOTE, BACKSLASH, COLON, COMMA, POINT, PLUS, MINUS = (ord(c) for c in '"\\:,.+-')
ARRAY, OBJECT, CLOSE_ARRAY, CLOSE_OBJECT = (ord(c) for c in "[{]}")
LETTER_F, LETTER_N, LETTER_T, LETTER_U, LETTER_Z, DIGIT_0, DIGIT_9 = (ord(c) for c in "fnTuZ09")
ONES = U64(0x0101_0101_0101_0101)  # of a word, each byte
QUOTES, BACKSLASHES, CONTROLS, HIGHEST = ONES * U64(QUOTE), ONES * U64(BACKSLASH), ONES * U64(32), ONES * U64(128)
ESCAPED = np.isin(np.arange(256), [*b'"\\/bfnrt'])
HEX = np.full(256, 255, np.uint8)  # the value of a digit, 255 of what is none
HEX[[*b"0123456789abcdef"]] = HEX[[*b"0123456789ABCDEF"]] = range(16)

ODD = -1  # a kind, amount or time that is left to decode_one
DEEP = U64(2**60)  # what is nested deeper than 60 levels is no usual form
LONGEST = U64(18)  # characters of a number: so many digits fit in int64
SECOND, BILLION, LARGEST, TEN_TO = 10**6, 10**9, 2**63 - 1, 10 ** np.arange(19)
# Days from the epoch to the first of each month, until that in which the last allowed time of any offset is over.
MONTHS = np.arange("1970-01", "2200-03", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)
NO_PAIR, NO_OFFSET = -(10**6), 10**9  # make a year, a time that is not allowed

# Of XXH3: the first 128 bytes of the default secret, and the primes.
SECRET = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
        "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8"
        "fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    ),
    "<u8",
)
FLIP_3, FLIP_8 = (SECRET[0] ^ SECRET[0] >> U64(32)) & U64(2**32 - 1), SECRET[1] ^ SECRET[2]
FLIP_16_LOW, FLIP_16_HIGH = SECRET[3] ^ SECRET[4], SECRET[5] ^ SECRET[6]
PRIME_64_1, PRIME_64_2, PRIME_64_3 = U64(0x9E3779B185EBCA87), U64(0xC2B2AE3D27D4EB4F), U64(0x165667B19E3779F9)
PRIME_MX1, PRIME_MX2 = U64(0x165667919E3779F9), U64(0x9FB21C651E98DF25)
LOW_HALF, ODD_BYTES, ODD_PAIRS = U64(2**32 - 1), U64(0x00FF_00FF_00FF_00FF), U64(0x0000_FFFF_0000_FFFF)


def _little(text: bytes) -> np.uint64:
    return U64(int.from_bytes(text, "little"))


ALSE, NULL, TRUE = (_little(text) for text in (b"alse", b"null", b"true"))
UNKNOWN = U64(len(NAMES))
KNOWN = np.array([(len(name), _little(name[:8]), _little(name[-8:])) for name in NAMES], U64)  # 8 to 16 bytes each
WORDS = np.array([(_little(kind.word.encode()), kind.number, kind.traded) for kind in KINDS], U64)  # 1 to 8 bytes each


def parse(keys: Texts, values: Texts, stamps: Array, bounds: Array) -> tuple[Array, list[str], list[str | None]]:
    """Columns int64 (6, m) of the m records of usual form, in their order, their customer_ids and their product_ids.

    stamps: int64 (n,), the records' timestamps in milliseconds, negative if there is none. bounds: int64 (4,): END, of
    occurred_at in microseconds, exclusive; AHEAD, how far it may be ahead of the timestamp; MOST, of an amount in
    1/10,000; ID_BYTES, 128 or fewer. Rows of the columns: INDEX, which record; T, occurred_at; KIND; AMOUNT; ORDER and
    EVENT, the bits of the hashes, which are uint64.
    """
    found = [_parse(keys, values, stamps, bounds, first) for first in range(0, len(stamps) or 1, PART)]
    if len(found) == 1:
        return found[0]
    columns, customers, products = zip(*found, strict=True)
    return np.concatenate(columns, axis=1), [*chain(*customers)], [*chain(*products)]


def _parse(
    keys: Texts, values: Texts, stamps: Array, bounds: Array, first: int
) -> tuple[Array, list[str], list[str | None]]:
    part = slice(first, first + PART)
    texts, n = [text or b"" for text in chain(values[part], keys[part])], len(stamps[part])
    texts.append(bytes(8))  # so that the last one can be read by words
    joined, sizes = b"\0".join(texts), np.fromiter(map(len, texts), U64, len(texts))
    columns, names = np.empty((6, n), np.int64), np.empty(len(joined) + 2 * n, np.uint8)
    count, used = parse_kernel(
        np.frombuffer(joined, np.uint8), sizes, stamps[part], WORDS, bounds, first, columns, names
    )
    lines = names[:used].tobytes().decode().split("\n")
    return columns[:, :count], lines[: 2 * count : 2], [line or None for line in lines[1::2]]


@njit
def parse_kernel(
    text: Array, sizes: Array, stamps: Array, words: Array, bounds: Array, first: int, columns: Array, names: Array
) -> tuple[Whole, Whole]:
    """Fills `columns`, and `names` with customer_id and product_id (empty if absent) of each, a line each.

    text: uint8, n values and n keys, each with its zero byte behind it; sizes: uint64, their bytes; words: WORDS;
    first: INDEX of the first record; the others are those of `parse`. Returns how many records are of usual form, and
    the bytes of their names.
    """
    n = U64(len(stamps))
    at, key, count, used = ZERO, n + sizes[:n].sum(), ZERO, ZERO
    found, most = np.empty((len(NAMES), 2), np.uint64), U64(bounds[ID_BYTES])
    for i in range(n):
        end, size = at + sizes[i], sizes[n + i]
        if find_fields(text, at, end, found) and are_ids(text, found, most) and is_key(text, found, key, size):
            kind, traded = kind_of(text, found, words)
            t, amount = moment(text, found), money(text, found) if traded else 0
            if kind != ODD and 0 <= amount <= bounds[MOST] and in_time(t, stamps[i], bounds):
                event = hash_of(text, found, EVENT_ID)
                order = event if is_absent(text, found, ORDER_ID) else hash_of(text, found, ORDER_ID)
                columns[INDEX, count], columns[T, count], columns[KIND, count] = first + np.int64(i), t, kind
                columns[AMOUNT, count] = -amount if kind == RETURN else amount
                columns[ORDER, count], columns[EVENT, count] = order, event
                used = copied(text, found, CUSTOMER_ID, names, used)
                used = copied(text, found, PRODUCT_ID, names, used)
                count += ONE
        at, key = end + ONE, key + size + ONE
    return count, used


# ---- JSON ------------------------------------------------------------------------------------------------------------
@njit
def find_fields(text: Array, at: Place, end: Place, found: Array) -> Flag:
    """Is the record an object, whose known fields stand there once and hold no escapes?

    Fills `found` (fields, 2) with where each of their values begins and ends, quotes included; 0 if it is absent.
    """
    found[:] = ZERO
    at = spaces(text, at)
    if text[at] != OBJECT:
        return False
    while True:
        name = spaces(text, at + ONE)
        stop = plain_string_end(text, name, end)
        at = value_start(text, stop, end)
        field = field_of(text, name, stop)
        if field == UNKNOWN:
            stop = value_end(text, at, end)
        elif found[field, 0] != ZERO:
            return False
        else:
            stop = plain_string_end(text, at, end) if text[at] == QUOTE else value_end(text, at, end)
            found[field, 0], found[field, 1] = at, stop
        at = spaces(text, stop)
        if text[at] != COMMA:
            return text[at] == CLOSE_OBJECT and spaces(text, at + ONE) == end


@njit
def field_of(text: Array, start: Place, stop: Place) -> Place:
    """Which field has this name, quotes included: its length, its first and its last 8 bytes."""
    size = stop - start - TWO
    if size < EIGHT or size > U64(16):
        return UNKNOWN
    first, last = word(text, start + ONE), word(text, stop - U64(9))
    for field in range(UNKNOWN):
        if KNOWN[field, 0] == size and KNOWN[field, 1] == first and KNOWN[field, 2] == last:
            return field
    return UNKNOWN


@njit
def spaces(text: Array, at: Place) -> Place:
    """Behind the white space that begins here, if any."""
    while text[at] == 32 or text[at] == 10 or text[at] == 13 or text[at] == 9:
        at += ONE
    return at


@njit
def value_start(text: Array, at: Place, end: Place) -> Place:
    """Behind the colon that follows a name."""
    at = spaces(text, at)
    return spaces(text, at + ONE) if text[at] == COLON else end


@njit
def value_end(text: Array, at: Place, end: Place) -> Place:
    """Behind the value that begins here."""
    return nested_end(text, at, end) if text[at] == ARRAY or text[at] == OBJECT else scalar_end(text, at, end)


@njit
def nested_end(text: Array, at: Place, end: Place) -> Place:
    """Behind the array or object that begins here. Numba caches no function that calls itself: it would crash."""
    levels = ONE  # what is open: below a leading bit, one a level, 1 for an object
    while True:
        if text[at] == ARRAY or text[at] == OBJECT:
            if levels > DEEP:
                return end
            levels = levels << ONE | U64(text[at] == OBJECT)
            at = spaces(text, at + ONE)
            over = text[at] == closing(levels)
        else:
            at = spaces(text, scalar_end(text, at, end))
            over = True
        if over:
            while text[at] == closing(levels):
                levels >>= ONE
                if levels == ONE:
                    return at + ONE
                at = spaces(text, at + ONE)
            if text[at] != COMMA:
                return end
            at = spaces(text, at + ONE)
        if levels & ONE:
            at = value_start(text, string_end(text, at, end), end)


@njit
def closing(levels: Place) -> Whole:
    """What closes the innermost level."""
    return CLOSE_OBJECT if levels & ONE else CLOSE_ARRAY


@njit
def scalar_end(text: Array, at: Place, end: Place) -> Place:
    """Behind the string, number or literal that begins here."""
    if text[at] == QUOTE:
        return string_end(text, at, end)
    return number_end(text, at, end) if text[at] == MINUS or is_digit(text[at]) else literal_end(text, at, end)


@njit
def literal_end(text: Array, at: Place, end: Place) -> Place:
    """Behind null, true or false."""
    if half_word(text, at) == NULL or half_word(text, at) == TRUE:
        return at + U64(4)
    return at + U64(5) if text[at] == LETTER_F and half_word(text, at + ONE) == ALSE else end


@njit
def number_end(text: Array, at: Place, end: Place) -> Place:
    """Behind the number that begins here; an exponent is left, and nothing goes on there."""
    if text[at] == MINUS:
        at += ONE
    whole = digits_end(text, at)
    if whole == at or (text[at] == DIGIT_0 and whole != at + ONE):
        return end
    if text[whole] != POINT:
        return whole
    stop = digits_end(text, whole + ONE)
    return stop if stop != whole + ONE else end


@njit
def digits_end(text: Array, at: Place) -> Place:
    """Behind the digits that begin here, if any."""
    while is_digit(text[at]):
        at += ONE
    return at


@njit
def is_digit(byte: Whole) -> Flag:
    """Is it 0 to 9?"""
    return DIGIT_0 <= byte <= DIGIT_9


@njit
def plain_string_end(text: Array, at: Place, end: Place) -> Place:
    """Behind the string that begins here and holds no escapes."""
    if text[at] != QUOTE:
        return end
    stop = plain_end(text, at + ONE)
    return stop + ONE if text[stop] == QUOTE else end


@njit
def string_end(text: Array, at: Place, end: Place) -> Place:
    """Behind the string that begins here."""
    if text[at] != QUOTE:
        return end
    at = plain_end(text, at + ONE)
    while text[at] == BACKSLASH:
        at = plain_end(text, escape_end(text, at, end))
    return at + ONE if text[at] == QUOTE else end


@njit
def plain_end(text: Array, at: Place) -> Place:
    """The first quote, backslash, control character or byte that is no UTF-8."""
    while True:
        special = not_plain(word(text, at))
        if special == ZERO:
            at += EIGHT
        else:
            at += first_byte(special)
            stop = character_end(text, at)
            if stop == at:
                return at
            at = stop


@njit
def not_plain(eight: Place) -> Place:
    """The highest bit of each byte that is no ASCII or cannot stand in a string as it is.

    What stands behind the first such byte may be marked by mistake: it is borrowed from.
    """
    below_32, quotes, backslashes = eight - CONTROLS, (eight ^ QUOTES) - ONES, (eight ^ BACKSLASHES) - ONES
    return (eight | below_32 | quotes | backslashes) & HIGHEST


@njit
def first_byte(marks: Place) -> Place:
    """Which byte of a word is the first whose highest bit is set; one is."""
    up_to = (marks & (~marks + ONE)) - ONE  # every bit below the first mark
    return ((up_to & ONES) * ONES >> U64(56)) - ONE


@njit
def escape_end(text: Array, at: Place, end: Place) -> Place:
    """Behind the escape that begins here; a half of a surrogate pair is no usual form."""
    byte = text[at + ONE]
    if byte != LETTER_U:
        return at + TWO if ESCAPED[byte] else end
    for digit in range(TWO, U64(6)):
        if HEX[text[at + digit]] > 15:
            return end
    return at + U64(6) if HEX[text[at + TWO]] != 13 or HEX[text[at + U64(3)]] < 8 else end


@njit
def character_end(text: Array, at: Place) -> Place:
    """Behind the character of 2 to 4 bytes that begins here, or here if there is none (Unicode, table 3-7)."""
    first, second = text[at], text[at + ONE]
    low, high, size = 0x80, 0xBF, U64(3)
    if 0xC2 <= first <= 0xDF:
        size = TWO
    elif first == 0xE0:
        low = 0xA0
    elif first == 0xED:
        high = 0x9F  # beyond are the surrogates
    elif first == 0xF0:
        low, size = 0x90, U64(4)
    elif 0xF1 <= first <= 0xF3:
        size = U64(4)
    elif first == 0xF4:
        high, size = 0x8F, U64(4)
    elif first < 0xE1 or first > 0xEF:
        return at
    if second < low or second > high:
        return at
    for i in range(TWO, size):
        if text[at + i] < 0x80 or text[at + i] > 0xBF:
            return at
    return at + size


# ---- fields ----------------------------------------------------------------------------------------------------------
@njit
def is_absent(text: Array, found: Array, field: int) -> Flag:
    """Is the field not there, or null?"""
    return found[field, 0] == ZERO or text[found[field, 0]] == LETTER_N


@njit
def is_id(text: Array, found: Array, field: int, most: Place) -> Flag:
    """Is the field a string of 1 to `most` bytes?"""
    start, stop = found[field, 0], found[field, 1]
    return text[start] == QUOTE and TWO < stop - start <= most + TWO


@njit
def are_ids(text: Array, found: Array, most: Place) -> Flag:
    """Are all ids as they must be?"""
    if not is_id(text, found, EVENT_ID, most) or not is_id(text, found, CUSTOMER_ID, most):
        return False
    order = is_absent(text, found, ORDER_ID) or is_id(text, found, ORDER_ID, most)
    return order and (is_absent(text, found, PRODUCT_ID) or is_id(text, found, PRODUCT_ID, most))


@njit
def is_key(text: Array, found: Array, key: Place, size: Place) -> Flag:
    """Is customer_id the key, byte for byte?"""
    start, stop = found[CUSTOMER_ID, 0] + ONE, found[CUSTOMER_ID, 1] - ONE
    same = stop - start == size
    if same:
        for j in range(size):
            same &= text[start + j] == text[key + j]
    return same


@njit
def copied(text: Array, found: Array, field: int, names: Array, used: Place) -> Place:
    """Copies the id, unless it is absent, and a line's end behind what stands in `names` already."""
    if not is_absent(text, found, field):
        for at in range(found[field, 0] + ONE, found[field, 1] - ONE):
            names[used] = text[at]
            used += ONE
    names[used] = 10
    return used + ONE


@njit
def kind_of(text: Array, found: Array, words: Array) -> tuple[Whole, Flag]:
    """The event type's number, and whether it is traded."""
    start, stop = found[EVENT_TYPE, 0], found[EVENT_TYPE, 1]
    if text[start] == QUOTE and TWO < stop - start <= U64(10):
        name = ZERO
        for j in range(stop - start - TWO):
            name |= U64(text[start + ONE + j]) << (EIGHT * j)
        for i in range(U64(len(words))):
            if words[i, 0] == name:
                return np.int64(words[i, 1]), words[i, 2] == ONE
    return ODD, False


@njit
def number(text: Array, start: Place, stop: Place) -> tuple[Whole, Whole]:
    """A number's digits, and how many of them are decimals; ODD if it is negative, too long or absent."""
    digits: Whole = 0
    decimals, point = 0, 0
    if stop == start or stop - start > LONGEST:
        return ODD, 0
    for at in range(start, stop):
        if text[at] == POINT:
            point = 1
        elif is_digit(text[at]):
            digits, decimals = 10 * digits + np.int64(text[at] - DIGIT_0), decimals + point
        else:
            return ODD, 0
    return digits, decimals


@njit
def half_even(dividend: Whole, divisor: Whole) -> Whole:
    """The quotient of two numbers from 0 on, rounded half-even; the divisor is at most 2**62."""
    quotient = dividend // divisor
    twice = 2 * (dividend - quotient * divisor)
    return quotient + 1 if twice > divisor or (twice == divisor and quotient % 2 == 1) else quotient


@njit
def money(text: Array, found: Array) -> Whole:
    """The exact product of quantity and unit_price in 1/10,000, rounded half-even once.

    A quantity of at most 4 decimals is exact below 1e9, though it is read as a double.
    """
    quantity, places = number(text, found[QUANTITY, 0], found[QUANTITY, 1])
    price, decimals = number(text, found[UNIT_PRICE, 0], found[UNIT_PRICE, 1])
    if quantity <= 0 or places > 4 or quantity // TEN_TO[places] >= BILLION:
        return ODD
    if price == ODD or price // TEN_TO[decimals] >= BILLION:
        return ODD
    if decimals < 4:
        price, decimals = price * TEN_TO[4 - decimals], 4
    if price > LARGEST // quantity:
        return ODD
    return half_even(price * quantity, TEN_TO[decimals + places - 4])


# ---- times -----------------------------------------------------------------------------------------------------------
@njit
def moment(text: Array, found: Array) -> Whole:
    """Microseconds since the epoch of an ISO 8601 time with offset, or of Unix seconds."""
    start, stop = found[OCCURRED_AT, 0], found[OCCURRED_AT, 1]
    return iso_time(text, start + ONE, stop - ONE) if text[start] == QUOTE else unix_time(text, start, stop)


@njit
def in_time(t: int, stamp: int, bounds: Array) -> Flag:
    """Is the time one that is allowed, and not too far ahead of the record's timestamp?"""
    return 0 <= t < bounds[END] and stamp >= 0 and -((bounds[AHEAD] - t) // 1000) <= stamp  # which may be near 2**63


@njit
def unix_time(text: Array, start: Place, stop: Place) -> Whole:
    """Seconds with decimals are the nearest double, whose microseconds are rounded half-even."""
    digits, decimals = number(text, start, stop)
    if digits == ODD:
        return ODD
    seconds, rest = digits // TEN_TO[decimals], digits % TEN_TO[decimals]
    if decimals == 0:
        return seconds * SECOND if seconds < 10 * BILLION else ODD
    if not 2**30 <= seconds < 2**31:  # 2004 to 2037, where doubles have steps of 2**-22 seconds
        return ODD
    steps = half_even(rest << 22, TEN_TO[decimals])
    return int(np.rint((seconds + steps / 2.0**22) * 1e6))


@njit
def iso_time(text: Array, at: Place, stop: Place) -> Whole:
    """YYYY-MM-DDThh:mm:ss, up to 9 decimals, then Z or an offset; below a microsecond it is rounded half up."""
    if not U64(20) <= stop - at <= U64(35):
        return ODD
    year, month, day = 100 * pair(text, at) + pair(text, at + TWO), pair(text, at + U64(5)), pair(text, at + EIGHT)
    hour, minute, second = pair(text, at + U64(11)), pair(text, at + U64(14)), pair(text, at + U64(17))
    fine = text[at + U64(4)] == MINUS and text[at + U64(7)] == MINUS and text[at + U64(10)] == LETTER_T
    fine &= text[at + U64(13)] == COLON and text[at + U64(16)] == COLON
    fine &= year >= 1970 and 1 <= month <= 12 and 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60
    this = U64(12 * (year - 1970) + month - 1)
    if not fine or this + ONE >= U64(len(MONTHS)) or not 1 <= day <= MONTHS[this + ONE] - MONTHS[this]:
        return ODD
    at += U64(19)
    nanoseconds: Whole = 0
    if text[at] == POINT:
        first, at = at + ONE, digits_end(text, at + ONE)
        nanoseconds, size = number(text, first, at)[0], np.int64(at - first)
        if nanoseconds == ODD or size > 9:
            return ODD
        nanoseconds *= TEN_TO[9 - size]
    minutes = 60 * (24 * (MONTHS[this] + day - 1) + hour) + minute - offset(text, at, stop)
    return SECOND * (60 * minutes + second) + (nanoseconds + 500) // 1000


@njit
def pair(text: Array, at: Place) -> Whole:
    """The number of two digits; far below 0 if there are others."""
    if is_digit(text[at]) and is_digit(text[at + ONE]):
        return 10 * np.int64(text[at] - DIGIT_0) + np.int64(text[at + ONE] - DIGIT_0)
    return NO_PAIR


@njit
def offset(text: Array, at: Place, stop: Place) -> Whole:
    """Minutes from UTC that Z or ±hh:mm says up to `stop`; else so many that no time is allowed."""
    if text[at] == LETTER_Z and at + ONE == stop:
        return 0
    if at + U64(6) == stop and text[at + U64(3)] == COLON and (text[at] == PLUS or text[at] == MINUS):
        hours, minutes = pair(text, at + ONE), pair(text, at + U64(4))
        if 0 <= hours < 24 and 0 <= minutes < 60:
            return 60 * hours + minutes if text[at] == PLUS else -60 * hours - minutes
    return NO_OFFSET


# ---- hashes ----------------------------------------------------------------------------------------------------------
@njit
def word(text: Array, at: Place) -> Place:
    """The 8 bytes from here on, little-endian."""
    return half_word(text, at) | half_word(text, at + U64(4)) << U64(32)


@njit
def half_word(text: Array, at: Place) -> Place:
    """The 4 bytes from here on, little-endian."""
    return (
        U64(text[at])
        | U64(text[at + ONE]) << U64(8)
        | U64(text[at + TWO]) << U64(16)
        | U64(text[at + U64(3)]) << U64(24)
    )


@njit
def hash_of(text: Array, found: Array, field: int) -> Place:
    """What `models.events.hash_ids` says of the id: its XXH3-64, and 1 for 0, which means "no id"."""
    return max(digest(text, found[field, 0] + ONE, found[field, 1] - ONE), ONE)


@njit
def digest(text: Array, start: Place, stop: Place) -> Place:
    """XXH3-64 of 1 to 128 bytes, with seed 0 and the default secret.

    https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md#xxh3-algorithm-overview
    """
    size = stop - start
    if size > U64(16):
        found = size * PRIME_64_1
        for i in range((size + U64(31)) >> U64(5)):
            found += mixed(text, start + U64(16) * i, U64(4) * i)
            found += mixed(text, stop - U64(16) * i - U64(16), U64(4) * i + TWO)
        found = avalanche(found)
    elif size > EIGHT:
        low, high = word(text, start) ^ FLIP_16_LOW, word(text, stop - EIGHT) ^ FLIP_16_HIGH
        found = avalanche(size + swapped(low) + high + folded_product(low, high))
    elif size > U64(3):
        found = half_word(text, stop - U64(4)) + (half_word(text, start) << U64(32)) ^ FLIP_8
        found ^= rotated(found, U64(49)) ^ rotated(found, U64(24))
        found *= PRIME_MX2
        found = (found ^ (found >> U64(35)) + size) * PRIME_MX2
        found ^= found >> U64(28)
    else:
        first, middle, last = U64(text[start]), U64(text[start + (size >> ONE)]), U64(text[stop - ONE])
        found = (first << U64(16) | middle << U64(24) | last | size << U64(8)) ^ FLIP_3
        found = (found ^ found >> U64(33)) * PRIME_64_2
        found = (found ^ found >> U64(29)) * PRIME_64_3
        found ^= found >> U64(32)
    return found


@njit
def mixed(text: Array, at: Place, secret: Place) -> Place:
    """16 bytes with two words of the secret."""
    return folded_product(word(text, at) ^ SECRET[secret], word(text, at + EIGHT) ^ SECRET[secret + ONE])


@njit
def folded_product(a: Place, b: Place) -> Place:
    """The two halves of the product's 128 bits, one upon the other."""
    a_low, a_high, b_low, b_high = a & LOW_HALF, a >> U64(32), b & LOW_HALF, b >> U64(32)
    middle = a_high * b_low
    cross = (a_low * b_low >> U64(32)) + (middle & LOW_HALF) + a_low * b_high
    return a * b ^ (a_high * b_high + (middle >> U64(32)) + (cross >> U64(32)))


@njit
def avalanche(found: Place) -> Place:
    """The last step for more than 8 bytes."""
    found = (found ^ found >> U64(37)) * PRIME_MX1
    return found ^ found >> U64(32)


@njit
def rotated(found: Place, bits: Place) -> Place:
    """So many bits to the left."""
    return found << bits | found >> (U64(64) - bits)


@njit
def swapped(found: Place) -> Place:
    """The 8 bytes in reverse order."""
    found = (found & ODD_BYTES) << EIGHT | (found >> EIGHT) & ODD_BYTES
    found = (found & ODD_PAIRS) << U64(16) | (found >> U64(16)) & ODD_PAIRS
    return rotated(found, U64(32))
