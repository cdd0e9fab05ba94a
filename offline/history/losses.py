"""What of a history could not be read, when that is too much to go unsaid.

Lost are rows of another length, without customer, of no known event type, with a bad time or number, or more than a day
after now, where dates were read wrong: what an owner would want mended. Blank rows, headers again and totals are no
events; duplicates, keys, cancelled sales, outliers, rows behind the cut-off and what `--missing column=drop` drops left
because somebody wanted it. Rule: above 5 % of the rows that are events, or of the money of all rows that can be read,
it is said; above half, asked for.
"""

from offline.history.quality import LABELS, Counts

SAID, ASKED = 0.05, 0.5
LOST = ("uneven", "without_customer", "other_types", "bad_times", "ahead", "bad_numbers")


def shares(counts: Counts) -> tuple[float, float]:
    """(share of the rows, share of the money) that was lost, each from 0 to 1.

    >>> shares(Counts(10, 1, 0, 2, 0, 0, 0, 5, 0, blank=2, money={"": 30.0, "bad_times": 10.0}))
    (0.375, 0.25)
    """
    rows = _events(counts)
    money = sum(counts.money.values())
    lost = sum(counts.money.get(name, 0) for name in LOST)
    return sum(getattr(counts, name) for name in LOST) / max(rows, 1), lost / money if money else 0.0


def _events(counts: Counts) -> int:
    return counts.read - counts.blank - counts.headers - counts.totals - counts.unwanted


def line(counts: Counts) -> str | None:
    """What is lost and the largest reason, in one line, where it is above SAID.

    >>> money, examples = {"": 30.0, "bad_times": 10.0}, {"bad_times": "times like 'soon' are not read"}
    >>> print(line(Counts(9, 1, 0, 3, 0, 0, 0, 5, 0, money=money, examples=examples)))
    44.4% of the rows (4 of 9) and 25.0% of the money, most for: bad time (3 rows; times like 'soon' are not read)
    """
    rows, money = shares(counts)
    if max(rows, money) <= SAID:
        return None
    counted = {name: getattr(counts, name) for name in LOST}
    by = counted if rows >= money else {name: counts.money.get(name, 0) for name in LOST}
    most = max(by, key=lambda name: by[name])
    of = _events(counts)
    said = f"{rows:.1%} of the rows ({sum(counted.values()):,} of {of:,}) and {money:.1%} of the money"
    example = f"; {counts.examples[most]}" if most in counts.examples else ""
    return f"{said}, most for: {LABELS[most].strip('- ')} ({counted[most]:,} rows{example})"


def guests(counts: Counts) -> str | None:
    """What left because nobody was named, in one line; None where nothing did.

    >>> money = {"": 30.0, "without_customer": 10.0}
    >>> guests(Counts(9, 1, 0, 0, 0, 0, 0, 8, 0, money=money)).partition(", left out")[0]
    'without customer: 1 of 9 rows (11.1%) and 25.0% of the money'
    """
    if not counts.without_customer:
        return None
    rows, money = _events(counts), sum(counts.money.values())
    worth = counts.money.get("without_customer", 0) / money if money else 0.0
    why = (
        f"; {counts.examples['without_customer']}" if "without_customer" in counts.examples and not line(counts) else ""
    )
    return (
        f"without customer: {counts.without_customer:,} of {rows:,} rows ({counts.without_customer / rows:.1%}) and"
        f" {worth:.1%} of the money, left out; rules, stock and report count sales to guests, given the file itself"
        f"{why}"
    )


def refused(counts: Counts) -> bool:
    """Is more than half lost?"""
    return max(shares(counts)) > ASKED
