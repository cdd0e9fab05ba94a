"""Columns that name somebody or something instead of telling how much: keys, codes, row numbers, phones, postal codes.

Clusters would follow them, since they vary most, and mean nothing.
Rule: by the name where it leaves no doubt (order_id, zip); by the name and the cells where it might be a count (ticket
number); by the cells alone where chance does not make them: all different though so many whole numbers in so narrow a
range would repeat, of 6 and more digits one as long as the other, written with zeros before them. Each is told with its
reason, and `--treat` takes it in.
"""

import re

import numpy as np
import pandas as pd
from scipy.stats import kstest, poisson

KEY = frozenset(["id", "ids", "uuid", "guid", "key", "pk", "oid", "ref"])
NUMBER = frozenset(["num", "no", "nr", "number", "code"])
POSTAL = frozenset(["zip", "zipcode", "postal", "postcode", "postalcode", "plz", "pincode", "cep"])
PHONE = frozenset(["phone", "telephone", "tel", "telefon", "mobile", "cell", "cellphone", "fax", "handy"])
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
CHANCE = 1e-5  # of so few repeats, below which somebody made the numbers different
DIFFERENT = 0.98  # share of different values from which on they name their rows
LONG, LONGER, PHONES, PADDED = 6, 8, 6, 4  # digits
FEW = 20  # rows of which cells alone say nothing
EVEN = 0.01  # p of a uniform spread, above which amounts are ruled out: those are skewed


def key(name: str, texts: pd.Series, values: pd.Series | None) -> str | None:
    """Why a column is no feature; None if it may be one.

    name: of the column; texts: (n,) its cells that hold something; values: (n,) the same as float64, None where they
    are no numbers.
    """
    words = [word.lower() for word in WORD.findall(name)] or [""]
    if words[-1] in KEY:
        return "named like a key"
    if values is None or len(values) < 3:
        return None
    different = values.nunique() / len(values)
    if POSTAL & {*words, "".join(words[-2:])}:
        return "named like a postal code"
    if PHONE & {*words} and _digits(values).median() >= PHONES:
        return "named like a phone number"
    if words[-1] in NUMBER and (different >= DIFFERENT or words[-1] == "code"):
        return f"named like a {'code' if words[-1] == 'code' else 'number of something, and nearly all different'}"
    return _by_cells(texts.str.strip(), values, different)


def _by_cells(texts: pd.Series, values: pd.Series, different: float) -> str | None:
    widths = texts.str.len()
    zeros = texts.str.fullmatch(r"0\d+")
    if zeros.any() and widths.nunique() == 1 and widths.iloc[0] >= PADDED:
        return f"written with zeros before it, such as {texts[zeros].iloc[0]!r}: a code"
    if different < DIFFERENT or len(values) < FEW or not (values == np.floor(values)).all():
        return None
    if _made_different(values):
        span = f"from {values.min():.0f} to {values.max():.0f}"
        return f"whole numbers {span}, different where chance would repeat some: like a key"
    digits = _digits(values)
    if digits.nunique() > 1 or digits.iloc[0] < LONG or (values < 0).any():
        return None
    if digits.iloc[0] >= LONGER or _even(values):
        return f"whole numbers of {digits.iloc[0]:.0f} digits, nearly all different: like a key"
    return None


def _made_different(values: pd.Series) -> bool:
    """Do whole numbers, nearly all different, repeat less than drawn evenly, which repeats the fewest? (Poisson)"""
    n, span = len(values), float(values.max() - values.min()) + 1
    expected = n + span * np.expm1(n * np.log1p(-1 / span))
    return bool(poisson.cdf(n - values.nunique(), expected) < CHANCE)


def _even(values: pd.Series) -> bool:
    spread = (values - values.min()) / (values.max() - values.min())
    return bool(kstest(spread, "uniform").pvalue > EVEN)


def _digits(values: pd.Series) -> pd.Series:
    digits: pd.Series = np.floor(np.log10(values.abs().clip(lower=1))) + 1
    return digits
