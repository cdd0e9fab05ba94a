"""Which rows the person wants (`--only`, `--except`), which of the values that they name stand nowhere, and fields that
stand on the first line of an order only.

Rule: all look at columns under the names that the file gives them, before any value is read. A line without an order
belongs to the one above it if it says nothing of an order itself, and is neither blank nor a total.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from offline.errors import HistoryError, nearest
from offline.history import ids
from offline.history.files import File
from offline.history.header import bare
from offline.history.policy import Policy
from offline.history.quality import Line
from offline.history.values import Bools, matches
from offline.history.words import TOTAL, nothing

OF_ORDER = ("customer_id", "occurred_at", "event_type", "currency")


def check(file: File, policy: Policy) -> None:
    """Raises HistoryError for a column that the file has not."""
    for option, pairs in (("--only", policy.only), ("--except", policy.without)):
        for column, _ in pairs:
            if bare(column) not in file.header:
                raise HistoryError(f"{option}: {file.path} has no column {column!r}; {nearest(column, file.header)}")
    if policy.fill_down and "order_id" not in file.at:
        raise HistoryError(
            f"--fill-down order: {file.path} has no column order_id; name it with --columns order_id=..."
        )


class FillDown:
    """Of one file: what is empty in the columns of an order takes what stands above it in the same order."""

    def __init__(self, file: File, policy: Policy) -> None:
        ours = [file.at[name] for name in OF_ORDER if name in file.at]
        self.columns = [*dict.fromkeys([*ours, *_theirs(file, policy)])] if policy.fill_down else []
        self.ours = ours
        self.order = file.at.get("order_id", -1)
        self.last: dict[int, str | None] = {}  # of the row above the block
        self.filled = 0  # rows

    def __call__(self, block: list[pa.Array]) -> list[pa.Array]:
        """The block with those columns filled; blocks come in the order of the file."""
        if not self.columns or not len(block[0]):
            return block
        looked = (self.order, *self.columns)
        texts = {at: pd.Series([self.last.get(at), *block[at].to_pylist()], dtype=object) for at in looked}
        texts = {at: text.where(text.notna() & (text.astype(str).str.strip() != "")) for at, text in texts.items()}
        silent = [texts[at].isna() for at in (self.order, *self.ours)]
        below = pd.Series(np.append(False, np.all(silent, axis=0)[1:] & ~noise(block)))
        orders = texts[self.order][~below]
        run = (orders != orders.shift()).cumsum().reindex(below.index).ffill()
        filled, changed = list(block), np.zeros(len(block[0]), np.bool_)
        for at in (self.order, *self.columns):
            down = texts[at].groupby(run).ffill()
            changed |= (down.notna() & texts[at].isna()).to_numpy()[1:]
            filled[at] = pa.array(down[1:].where(down[1:].notna(), None).tolist(), pa.large_string())
            self.last[at] = _text(down.iloc[-1])
        self.filled += int(changed.sum())
        return filled


def below_first(order: pa.Array, column: pa.Array) -> Bools:
    """Which lines of an order lack what its first line has, in a column that no line below a first one has.

    >>> below_first(pa.array(["1", "1", "2", "2"]), pa.array(["paid", None, "open", " "])).tolist()
    [False, True, False, True]
    >>> below_first(pa.array(["1", "1", "2", "2"]), pa.array(["gift", None, None, "gift"])).any()
    np.False_
    """
    lacks, has = below(order, column)
    return lacks & (not has.any())


def below(order: pa.Array, column: pa.Array) -> tuple[Bools, Bools]:
    """Which lines below an order's first lack what another line of it has in a column, and which have something."""
    orders, values = (ids.present(each.cast(pa.large_string()))[0].to_pandas() for each in (order, column))
    under, here = orders.notna() & (orders == orders.shift()), values.notna()
    known = values.groupby(orders).transform("first").notna()
    return (under & ~here & known).to_numpy(), (under & here).to_numpy()


def untold(file: File, policy: Policy, block: list[pa.Array]) -> dict[str, Bools]:
    """By column of `only` and `without` that first lines of orders alone have, the lines that it says nothing of."""
    if policy.fill_down or "order_id" not in file.at:
        return {}
    found = {at: below_first(block[file.at["order_id"]], block[at]) for at in dict.fromkeys(_theirs(file, policy))}
    return {file.header[at]: lines for at, lines in found.items()}


def columns_used(file: File, policy: Policy) -> list[int]:
    """The places of the columns that say what an event is, or whether it is wanted."""
    return [*dict.fromkeys([*file.at.values(), *_theirs(file, policy)])]


def _theirs(file: File, policy: Policy) -> list[int]:
    return [file.header.index(bare(column)) for column, _ in (*policy.only, *policy.without)]


def noise(block: list[pa.Array]) -> Bools:
    """Which rows are blank or a total."""
    cells = [pc.utf8_trim_whitespace(column).fill_null("") for column in block]
    blank = np.all([pc.equal(column, "").to_numpy(zero_copy_only=False) for column in cells], axis=0)
    noise: Bools = blank | np.any([matches(column, TOTAL) for column in cells], axis=0)
    return noise


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def unwanted(file: File, policy: Policy, block: list[pa.Array]) -> Bools:
    """Mask (n,): rows that `only` does not take (of each column one of its values), or that `without` takes out. Values
    compare without blanks around them and in any case."""
    mask = np.zeros(len(block[0]), np.bool_)
    for column, values in _by_column(policy.only).items():
        mask |= ~_is(file, block, column, values)
    for column, values in _by_column(policy.without).items():
        mask |= _is(file, block, column, values)
    return mask


def _by_column(pairs: Iterable[tuple[str, str]]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for column, value in pairs:
        found.setdefault(bare(column), set()).add(value.strip().lower())
    return found


def _is(file: File, block: list[pa.Array], column: str, values: set[str]) -> Bools:
    text = pc.utf8_lower(pc.utf8_trim_whitespace(block[file.header.index(column)])).fill_null("")
    if pc.any(nothing(pa.array(sorted(values), pa.large_string()))).as_py():
        values = values | {""}  # where a word for nothing stood, unquoted
    found: Bools = pc.is_in(text, pa.array(sorted(values), text.type)).to_numpy(zero_copy_only=False)
    return found


class Named(NamedTuple):
    """A value of the files that an option names. column: of theirs, "" where the option tells."""

    option: str
    column: str
    value: str

    def stands(self, file: File, block: list[pa.Array]) -> bool:
        """Is it in a row of the block? Currencies are found where they are converted."""
        if self.option in ("--only", "--except"):
            return bool(_is(file, block, bare(self.column), {self.value.strip().lower()}).any())
        if self.option == "--rate" or "event_type" not in file.at:
            return False
        words = pc.utf8_lower(ids.present(block[file.at["event_type"]])[0])
        return bool(pc.any(pc.equal(words, self.value)).as_py())


def named(policy: Policy) -> list[Named]:
    """All that a policy names, in the order of the table."""
    rows = [
        Named(option, column, value)
        for option, pairs in (("--only", policy.only), ("--except", policy.without))
        for column, value in dict.fromkeys(pairs)
    ]
    types = [Named("--types", "", word) for word in policy.types]
    return [*rows, *types, *(Named("--rate", "", name) for name in policy.rates)]


def nowhere(policy: Policy, absent: Sequence[set[Named]]) -> list[Line]:
    """absent: of each file, what does not stand there. Perhaps a slip of the pen: each is told once."""
    lines = []
    for each in named(policy):
        if all(each in missed for missed in absent):
            step, column = {"--types": ("types", "event_type"), "--rate": ("numbers", "amount")}.get(
                each.option, ("rows", "")
            )
            where = f" of {each.column!r}" if each.column else ""
            lines.append(Line(step, column, f"told: {each.option}: no row{where} has {each.value!r}", 0))
    return lines
