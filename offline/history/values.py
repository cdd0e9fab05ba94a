"""From plain decimal text to exact values: money in 1/10,000 of the major unit.

Rule: a value is read whole or not at all; how its column writes numbers was decided before (`numerals`).
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.events import SECOND

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

DAY = 86_400 * SECOND

PLAIN = r"^[+-]?\d{1,13}(\.\d{1,4})?$"


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def money(text: pa.Array) -> tuple[Ints, Bools]:
    """(units, sound): decimal text in 1/10,000, half-even; 0 and False where it is no number or 2**62 units or more.

    >>> units, sound = money(pa.array(["12.5", "-0.00005", "1e3", "1,000", None]))
    >>> units.tolist(), sound.tolist()
    ([125000, 0, 10000000, 0, 0], [True, True, True, False, False])
    """
    plain = pc.match_substring_regex(text, PLAIN).fill_null(False)
    fixed = pc.if_else(plain, text, None).cast(pa.decimal64(18, 4))
    units = fixed.view(pa.int64()).fill_null(0).to_numpy().copy()
    sound = plain.to_numpy(zero_copy_only=False).copy()
    others = ~sound & text.is_valid().to_numpy(zero_copy_only=False)
    for i, other in zip(np.flatnonzero(others), text.filter(pa.array(others)).to_pylist(), strict=True):
        exact = _units(other)
        units[i], sound[i] = exact or 0, exact is not None
    return units, sound


def _units(text: str) -> int | None:
    if not _NUMBER.fullmatch(text := text.strip()):
        return None
    try:
        units = int(Decimal(text).quantize(Decimal("0.0001"), context=_EXACT).scaleb(4, _EXACT))
    except InvalidOperation:  # more than 60 digits
        return None
    return units if abs(units) < 2**62 else None


def matches(words: pa.Array, pattern: str) -> Bools:
    found: Bools = pc.match_substring_regex(words, pattern).fill_null(False).to_numpy(zero_copy_only=False)
    return found
