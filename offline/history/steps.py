"""The cleaning steps that look at many rows at once: filling, ids, keys, cancelled sales, outliers.

Rule: a step says which rows it means (or what it changes) and nothing else; `read` and `finish` call them in order and
count. None of them does anything that was not asked for, but for cancelled sales and ids that became floats.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from models.kinds import PURCHASE, RETURN, TRADED
from offline.errors import HistoryError
from offline.history.files import File
from offline.history.formats import Formats
from offline.history.policy import CONSTANT, NUMBERS, Policy
from offline.history.quality import Line
from offline.history.values import Bools, Ints, matches, money
from offline.history.words import padded

FLOAT = r"^\d+\.0$"
MARKED = r"^(?:\d+\.0|\d{1,3}(?:[,.' \x{a0}\x{202f}]\d{3})+(?:\.0)?)$"  # a number as a program writes it, and no id


# ---- missing values --------------------------------------------------------------------------------------------------


def constants(policy: Policy) -> dict[str, str]:
    """The text that stands in for a missing value, by column, where it was said."""
    return {c: how.removeprefix(CONSTANT) for c, how in policy.missing.items() if how.startswith(CONSTANT)}


def statistics(
    blocks: Iterable[tuple[File, list[pa.Array]]], formats: Mapping[int, Formats], policy: Policy
) -> dict[str, str]:
    """The same where it is a mean, median or mode: of these rows alone, which must be such as count.

    Mean and median are rounded half-even, quantities to whole ones; of equally frequent values the smallest is the
    mode. Raises HistoryError where a column holds no value.
    """
    asked = {column: policy.missing[column] for column in policy.estimated}
    seen: dict[str, Counter[str]] = {column: Counter() for column in asked}
    for file, block in blocks:
        for column in asked.keys() & file.at.keys():
            seen[column].update(_values(column, block[file.at[column]], formats[file.number]))
    for column, how in asked.items():
        if not seen[column]:
            where = "no row from --from to the cut-off holds a value; say drop or"
            raise HistoryError(f"--missing {column}={how}: {where} {CONSTANT}VALUE")
    return {column: _statistic(column, how, seen[column]) for column, how in asked.items()}


def _values(column: str, text: pa.Array, formats: Formats) -> dict[str, int]:
    """How often each value stands there; numbers as units of 1/10,000."""
    text = text.filter(pa.array(~absent(text)))
    if column not in NUMBERS:
        return Counter(text.to_pylist())
    units, sound = money(formats.numbers[column].plain(text) if column in formats.numbers else text)
    return Counter(map(str, units[sound].tolist()))


def _statistic(column: str, how: str, seen: Counter[str]) -> str:
    if column not in NUMBERS:
        return min(seen, key=lambda value: (-seen[value], value))
    numbers = sorted((int(value), n) for value, n in seen.items())
    exact = Fraction(min(numbers, key=lambda pair: (-pair[1], pair[0]))[0])
    if how == "mean":
        exact = Fraction(sum(value * n for value, n in numbers), seen.total())
    if how == "median":
        values, upto = [value for value, _ in numbers], np.cumsum([n for _, n in numbers])
        low, high = (
            values[int(np.searchsorted(upto, at, "right"))] for at in ((seen.total() - 1) // 2, seen.total() // 2)
        )
        exact = Fraction(low + high, 2)
    units = round(exact / 10_000) * 10_000 if column == "quantity" else round(exact)
    return format(Decimal(units).scaleb(-4), "f")


def absent(text: pa.Array) -> Bools:
    """Which values are missing: null, blank, or a word for nothing between blanks."""
    bare = pc.utf8_trim_whitespace(text)
    gone: Bools = pc.equal(bare, "").fill_null(True).to_numpy(zero_copy_only=False)
    if bare.nbytes == text.nbytes:
        return gone
    words: Bools = padded(text).fill_null(True).to_numpy(zero_copy_only=False)
    return gone | words


# ---- ids -------------------------------------------------------------------------------------------------------------


def floats(column: pa.Array) -> bool:
    """Are all ids that are there whole numbers, with .0 or without? So a spreadsheet or data frame writes them beside
    missing ones, and a file that was made of several both ways.

    >>> floats(pa.array(["17850.0", None, "17851"])), floats(pa.array(["17850.0", "A1"]))
    (True, False)
    """
    return bool(matches(column.drop_null(), r"^\d+(?:\.0)?$").all())


def counted(table: pa.Table) -> dict[str, pa.Table]:
    """How often each id stands there, by column: id, rows."""
    counts = {name: table[name].drop_null().value_counts() for name in ("customer_id", "product_id")}
    return {name: pa.table({"id": n.field("values"), "rows": n.field("counts")}) for name, n in counts.items()}


def lost_zeros(parts: Sequence[Mapping[str, pa.Table]]) -> list[Line]:
    """Told of columns whose ids are numbers of one length but for a few, or written in two ways: with and without
    leading zeros, .0 or marks of thousands.

    parts: of each part of the rows what `counted` says. At most a fifth shorter and no leading zero anywhere: of random
    ids of one length every tenth begins with a zero. A plain counter may look the same; hence nothing is changed.
    """
    notes = []
    for column in parts[0]:
        ids = pa.concat_tables(part[column] for part in parts).group_by("id").aggregate([("rows", "sum")])
        texts, rows = ids["id"].combine_chunks(), ids["rows_sum"].to_numpy()
        length, numeric = pc.utf8_length(texts).to_numpy(), matches(texts, r"^\d+$")
        zero, longest = matches(texts, "^0"), int(length.max(initial=0))
        bare = pc.utf8_ltrim(texts, "0")
        if numeric.any() and len(bare.unique()) < len(bare):
            twice = bare.to_pandas().duplicated(keep=False).to_numpy() & numeric
            notes.append(Line("ids", column, "told: written with and without leading zeros", int(rows[twice].sum())))
        if (numbers := _numbers(texts)) is not None:
            twice = numbers.duplicated(keep=False).to_numpy() & numbers.isin(numbers[matches(texts, MARKED)]).to_numpy()
            if twice.any():
                one, other = texts.filter(pa.array((numbers == numbers[twice].iloc[0]).to_numpy())).to_pylist()[:2]
                what = f"told: {one!r} and {other!r} are one number; are they one id? Export it again as text"
                notes.append(Line("ids", column, what, int(rows[twice].sum())))
        shorter = length < longest
        if longest >= 4 and numeric.all() and not zero.any() and 0 < shorter.sum() <= len(texts) / 5:
            what = f"told: shorter than {longest} digits; leading zeros may be lost"
            notes.append(Line("ids", column, what, int(rows[shorter].sum())))
    return notes


def _numbers(texts: pa.Array) -> "pd.Series[str] | None":
    """The number that each id is, however a program wrote it; an id that is none is its own. None where no program did.

    >>> _numbers(pa.array(["17850.0", "17,850", "17850", "A1"])).tolist(), _numbers(pa.array(["17850", "A1"]))
    (['17850', '17850', '17850', 'A1'], None)
    """
    marked = matches(texts, MARKED)
    if not marked.any():
        return None
    digits = pc.replace_substring_regex(pc.replace_substring_regex(texts, r"\.0$", ""), r"\D", "")
    numbers: pd.Series[str] = pc.if_else(pa.array(marked), digits, texts).to_pandas()
    return numbers


# ---- rows ------------------------------------------------------------------------------------------------------------


def repeated(table: pa.Table, key: Sequence[str]) -> Bools:
    """Which rows have a key that came before; a row that lacks a part of the key equals no other."""
    frame = table.select(list(key)).to_pandas()
    again: Bools = (frame.duplicated() & frame.notna().all(axis=1)).to_numpy()
    return again


def cancelled(frame: pd.DataFrame) -> Bools:
    """Which rows are a sale that a later return takes back whole, or that return; one to one, the nearest sale first.

    frame: a history's columns, in its order, and named (is there a product or an order?). Equal must be customer,
    product, quantity and amount; where no product is named, the order instead. Whoever is not known is known by the
    order.
    """
    returned = (frame["kind"] == RETURN).to_numpy()
    gone = np.zeros(len(frame), np.bool_)
    if not returned.any():
        return gone
    traded = frame["kind"].isin(TRADED) & frame["named"]
    who = frame["customer_id"].fillna("\0" + frame["order_id"])  # no id begins so
    rows = frame.assign(customer_id=who)[traded & who.isin(who[returned])]
    order = rows["order_id"].where(rows["product_id"].isna(), "")
    same = [rows["customer_id"], rows["product_id"].fillna(""), order, rows["quantity"].abs(), rows["amount"].abs()]
    groups = rows.groupby(same, sort=False).ngroup()
    sales: dict[int, list[int]] = {}
    for row, group in zip(rows.index.tolist(), groups.tolist(), strict=True):
        if not returned[row]:
            sales.setdefault(group, []).append(row)
        elif sales.get(group):
            gone[[row, sales[group].pop()]] = True
    return gone


def outliers(frame: pd.DataFrame, method: str) -> Bools:
    """Which purchases have an unusual amount; logs are judged, for amounts are skewed and most large ones are usual.

    iqr: beyond 1.5 interquartile ranges from the quartiles (Tukey, Exploratory Data Analysis, 1977). zscore: beyond 3
    standard deviations. isolation-forest: the most isolated hundredth (Liu, Ting and Zhou, Isolation Forest, 2008),
    seeded. Amounts of 0 and returns are not judged. Raises HistoryError where quartiles are equal and amounts are not.
    """
    judged = ((frame["kind"] == PURCHASE) & (frame["amount"] > 0)).to_numpy(copy=True)
    x = np.log(frame["amount"].to_numpy()[judged])
    if not len(x) or np.ptp(x) == 0:
        return np.zeros(len(frame), np.bool_)
    if method == "iqr":
        low, high = np.quantile(x, [0.25, 0.75])
        if low == high:
            raise HistoryError("--outliers iqr: half of the purchases have one amount, so the range is 0; say zscore")
        unusual = (x < low - 1.5 * (high - low)) | (x > high + 1.5 * (high - low))
    elif method == "zscore":
        unusual = np.abs(x - x.mean()) > 3 * x.std()
    else:
        from sklearn.ensemble import IsolationForest

        unusual = IsolationForest(contamination=0.01, random_state=0).fit_predict(x[:, None]) == -1
    judged[judged] = unusual
    return judged


def capped(amount: Ints, unusual: Bools, usual: Bools) -> Ints:
    """The amounts with each unusual one moved to the nearest usual one.

    >>> out = np.array([False, False, True])
    >>> capped(np.array([10, 20, 900]), out, ~out).tolist()
    [10, 20, 20]
    """
    near, moved = np.unique(amount[usual]), amount.copy()
    at = np.clip(np.searchsorted(near, amount[unusual]), 1, len(near) - 1) if len(near) > 1 else np.zeros(1, np.int64)
    below, above = near[np.maximum(at - 1, 0)], near[at]
    moved[unusual] = np.where(amount[unusual] - below <= above - amount[unusual], below, above)
    return moved
