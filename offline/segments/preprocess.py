"""Preprocessing: a plan says how each column of a customer table becomes features, then scikit-learn does it.

The rule, by what a column holds: nothing, one value, a key, code or row numbers (`keys`): drop; two values: one-hot;
numbers: log where none is below 0 and the skewness is above 1, robust where some are or it is below -1, and a tail is
long; else standardise; texts: one-hot up to 20 different ones, else drop. Texts that differ in case or blanks are one.
Every choice is told with its reason and can be overridden (`--treat`). Gaps: numbers take the median, categories are a
level of their own. All numbers are standardised last, so every one has variance 1. One-hot columns stay 0 and 1, and
two levels make one column: next to a number they weigh at most a quarter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kurtosis, skew
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from offline.errors import nearest
from offline.segments import keys, treatments
from offline.segments.table import ID, CustomerTable
from offline.segments.treatments import NUMERIC, Asked, TreatError

SKEWED = 1.0  # "highly skewed" in Bulmer (1979), Principles of Statistics, p. 63
TAILED = 6.0  # excess kurtosis, that of an exponential: beyond, a few values decide where everybody stands
LEVELS, MOST_LEVELS = 20, 100  # chosen by itself up to the first, asked for up to the second
GAP = "(missing)"


@dataclass(frozen=True)
class Treatment:
    """What becomes of a column: kind "number" or "category", gaps counted, `treatment` of TREATMENTS, and the reason.

    levels: of an ordinal column, the lowest first.
    """

    column: str
    kind: str
    missing: int
    treatment: str
    why: str
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A treatment for each column, in the order of the table."""

    treatments: tuple[Treatment, ...]

    @property
    def used(self) -> list[Treatment]:
        return [each for each in self.treatments if each.treatment != "drop"]

    def __str__(self) -> str:
        rows = [("column", "type", "missing", "treatment", "why")]
        rows += [(t.column, t.kind, f"{t.missing:,}", t.treatment, t.why) for t in self.treatments]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def plan(table: CustomerTable, wanted: Asked | None = None, keyed: bool = True) -> Plan:
    """How each column is treated, by the rule or as it was asked for. keyed: may there be keys beside the id?

    Raises TreatError.
    """
    wanted, header = wanted or {}, table.frame.columns.tolist()
    for column in wanted:
        if column not in header:
            raise TreatError(f"--treat: {table.where} has no column {column!r}; {nearest(column, header)}")
    made = [
        _override(table, column, *wanted[column]) if column in wanted else _choose(table, column, keyed)
        for column in header
    ]
    result = Plan(tuple(made))
    if not result.used:
        reasons = "; ".join(f"{each.column}: {each.why}" for each in made)
        raise TreatError(
            f"{table.where}: no column is left to segment by ({reasons}); keep one with --treat column=..."
        )
    return result


def _choose(table: CustomerTable, column: str, keyed: bool) -> Treatment:
    values, bad = table.numbers(column)
    texts = levels(table, column)
    different = texts.nunique() if bad else values.nunique()
    kind = "category" if bad else "number"
    cells = (texts, values.dropna() if bad is None else None)
    like = keys.key(column, *cells) if keyed and different > 2 and column != table.id else None
    treatment, why = _rule(column == table.id, column, values, bad, different, like)
    if treatment == "onehot":
        kind = "category"
    return Treatment(column, kind, int(table.missing(column).sum()), treatment, why)


def levels(table: CustomerTable, column: str) -> pd.Series:
    """The texts of a column where it holds something; those that differ in case or blanks alone are spelled as the most
    frequent of them is, of as frequent ones as the first. 1 and True are two: who wrote what is not known."""
    texts = table.frame[column].str.strip()[~table.missing(column)]
    folded = texts.str.casefold().str.split().str.join(" ")
    each = pd.DataFrame({"folded": folded, "text": texts}).groupby(["folded", "text"], sort=False).size()
    frequent_first = each.sort_values(ascending=False, kind="stable").reset_index().drop_duplicates("folded")
    result: pd.Series = folded.map(frequent_first.set_index("folded")["text"]).astype("str")
    return result


def _rule(
    key: bool, column: str, values: pd.Series, bad: str | None, different: int, like: str | None
) -> tuple[str, str]:
    """(treatment, why) of a column with so many different values; bad: one that is no number; like: why it is a key."""
    if key or ID.fullmatch(column.strip()):
        return "drop", "the id" if key else "named like an id"
    if different < 2:
        return "drop", "one value throughout" if different else "holds nothing"
    if bad is None and len(values) > 2 and (values.diff()[1:] == 1).all():
        return "drop", f"numbers the rows; {_anyway(column, 'standard')}"
    if different == 2:
        return "onehot", "two values"
    if like is not None:
        return "drop", f"{like}; {_anyway(column, 'onehot' if bad else 'standard')}"
    if bad is not None:
        some = f"{different:,} different texts, such as {bad[:20]!r}"
        return ("onehot", some) if different <= LEVELS else ("drop", f"{some}: more than {LEVELS}")
    return _scale(values)


def _anyway(column: str, treatment: str) -> str:
    return f"to take it in: --treat {treatments.name(column)}={treatment}"


def _scale(values: pd.Series) -> tuple[str, str]:
    """(treatment, why) of numbers. A log where it can be had: it is what a person knows."""
    skewness, tails = float(skew(values.dropna())), float(kurtosis(values.dropna()))
    if values.min() >= 0 and skewness > SKEWED:
        return "log", f"skewness {skewness:.1f}, above {SKEWED:g}"
    below = f"from {values.min():g} to {values.max():g}: no log below 0"
    if abs(skewness) > SKEWED:
        return "robust", f"skewness {skewness:.1f}" + (f", {below}" if values.min() < 0 else f", below {-SKEWED:g}")
    if tails > TAILED:
        return "robust", f"heavy tails: excess kurtosis {tails:.1f}, above {TAILED:g}"
    return "standard", below if values.min() < 0 else f"skewness {skewness:.1f}, at most {SKEWED:g}"


def _override(table: CustomerTable, column: str, treatment: str, order: tuple[str, ...]) -> Treatment:
    kind = "number" if treatment in NUMERIC else "category"
    if treatment == "drop":
        kind = "category" if table.numbers(column)[1] else "number"
    elif (reason := _misfit(table, column, treatment, order)) is not None:
        raise TreatError(f"{table.where}: --treat {column}={treatment}: {reason}")
    return Treatment(column, kind, int(table.missing(column).sum()), treatment, "asked for", order)


def _misfit(table: CustomerTable, column: str, treatment: str, order: tuple[str, ...]) -> str | None:
    """Why the treatment cannot be, and what can."""
    values, bad = table.numbers(column)
    texts = levels(table, column).unique().tolist()
    if not texts:
        return "the column holds nothing; say drop"
    if treatment in NUMERIC and bad is not None:
        return f"{bad!r} is not a number; say onehot, ordinal or drop"
    if treatment == "log" and values.min() < 0:
        return f"there is no log of {values.min():g}; say robust"
    if treatment == "onehot" and len(texts) > MOST_LEVELS:
        return f"{len(texts):,} different values, at most {MOST_LEVELS} become columns; say drop"
    known = {level.casefold() for level in order}
    unknown = next((text for text in texts if treatment == "ordinal" and text.casefold() not in known), None)
    return None if unknown is None else f"{unknown!r} stands in the column but not in {'<'.join(order)}; add it"


def values(table: CustomerTable, plan: Plan) -> pd.DataFrame:
    """The columns that are used, as values in their own units: float64 with NaN, or text with GAP as a level."""
    columns = {}
    for each in plan.used:
        if each.kind == "number":
            columns[each.column] = table.numbers(each.column)[0]
        else:
            texts = levels(table, each.column)
            if each.levels:
                texts = texts.str.casefold().map({level.casefold(): level for level in each.levels})
            columns[each.column] = texts.reindex(table.frame.index, fill_value=GAP)
    return pd.DataFrame(columns)


def pipeline(plan: Plan) -> ColumnTransformer:
    """The unfitted transformer from `values` to features, shape (n, features), without NaN."""
    steps = [(f"{i}", _steps(each), [each.column]) for i, each in enumerate(plan.used)]
    return ColumnTransformer(steps, sparse_threshold=0)


def _steps(each: Treatment) -> Any:
    if each.treatment == "onehot":
        return OneHotEncoder(drop="if_binary", sparse_output=False)
    if each.treatment == "ordinal":
        ranks = OrdinalEncoder(categories=[[*each.levels]], handle_unknown="use_encoded_value", unknown_value=np.nan)
        return make_pipeline(ranks, SimpleImputer(strategy="median"), StandardScaler())
    scale: Mapping[str, Callable[[], Any]] = {
        "standard": StandardScaler,
        "minmax": MinMaxScaler,
        "log": lambda: make_pipeline(FunctionTransformer(np.log1p), StandardScaler()),
        # Linear within the middle half and logarithmic far out, on both sides of the median.
        "robust": lambda: make_pipeline(RobustScaler(), FunctionTransformer(np.arcsinh), StandardScaler()),
    }
    return make_pipeline(SimpleImputer(strategy="median"), scale[each.treatment]())


def features(table: CustomerTable, plan: Plan) -> NDArray[np.float64]:
    """Shape (n, features): the plan carried out."""
    matrix: NDArray[np.float64] = pipeline(plan).fit_transform(values(table, plan))
    return matrix
