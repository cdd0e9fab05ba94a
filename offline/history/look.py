"""`look`: what an unknown file seems to be, as a document that its owner edits and that every other job takes.

Rule: what was found out stands there as it will be read; what cannot be known is a question, and a line to be filled.
"""

from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import yaml
from yaml.reader import Reader

from models.kinds import NUMBER_OF
from offline.errors import HistoryError
from offline.history import currencies, files, formats, guess, ids, joined, judge, kinds, sheets, totals, wanted
from offline.history.files import File
from offline.history.formats import Formats
from offline.history.header import DELIMITERS, bare, lines_of
from offline.history.numerals import Numbers, Parts
from offline.history.policy import LINE, NAMED, NUMBERS, OPEN, ORDER, Named, Policy
from offline.history.values import matches, money

ROWS = 100_000  # that are looked at
SEVERAL, CENTS = 2, 100  # products that tell of a price; hundredths of a unit, in which a price is compared
TOGETHER = 0.1  # of the rows, above which they are lines of orders
STATUSES = 12  # different words that a status has at most
HEAD = """\
# {path}: {told}.
# What was found in its first {rows:,} rows. Read it, mend what is wrong, fill in what is {open}, then for example:
#   python -m offline clean {path} --shop {shop} --out cleaned.parquet
"""


@dataclass(frozen=True)
class Looked:
    """file: with the columns that were guessed; block: its first rows; missing: needed columns that were not guessed;
    questions: for a person, in sentences."""

    file: File
    block: list[pa.Array]
    columns: dict[str, str]
    missing: list[str]
    options: dict[str, object]
    types: dict[str, str]
    questions: list[str]


def look(path: Path, policy: Policy) -> Looked:
    """Looks into a file. Raises HistoryError for what is no table."""
    file = _opened(path, policy)
    if unnamed := files.no_header(file):
        raise unnamed
    block = _first(file)
    files.check_saved(file, [at for at, column in enumerate(block) if column.null_count == len(column)])
    columns = guess.columns(file.header, block)
    file = replace(file, at={ours: file.header.index(theirs) for ours, theirs in columns.items()})
    block = joined.moments(block, file.at)
    products = _grows(file, block, policy)
    if products:
        columns = {{"unit_price": "amount"}.get(ours, ours): theirs for ours, theirs in columns.items()}
        file = replace(file, at={ours: file.header.index(theirs) for ours, theirs in columns.items()})
    currencies.check_shown(file)
    options, questions = _formats(file, block, policy)
    if products:
        questions.append(
            f"{columns['amount']!r} grows with the quantity, of {products:,} products: is it what the line came to"
            " (amount, as below), or the price of one (unit_price)?"
        )
    of_orders = _totals(file, block, policy)
    if isinstance(of_orders, totals.Sums):
        questions.append(f"{of_orders} in {columns['amount']!r}: {of_orders.way_out.replace('--', '')}")
    elif of_orders:
        options["amount_of"] = OPEN
        name = columns["amount"]
        questions.append(
            f"{of_orders} in {name!r}: is it what the order came to (amount_of: {ORDER}), or the line"
            f" (amount_of: {LINE})?"
        )
    types = _types(file, block)
    missing = _missing(columns)
    which = [_which(column, file, block) for column in NAMED if column.name in missing]
    return Looked(file, block, columns, missing, options, types, [*which, *questions, *_asked(file, block, types)])


def _opened(path: Path, policy: Policy) -> File:
    """The file, its header found by the names that columns have."""
    file = files.look_into(path, policy)
    if file.sheet:
        names = sheets.names(path)
    elif file.layout:
        with file.layout.lines() as text:
            start = text.read(files.HEAD)
        names = {name for mark in DELIMITERS for _, row in lines_of(start, mark) for name in map(bare, row)}
    else:
        return file
    return files.look_into(path, policy, {name for name in names if guess.is_one(name)})


def _first(file: File) -> list[pa.Array]:
    rows = 0
    parts: list[list[pa.Array]] = []
    for block, _ in files.blocks(file):
        parts.append(block)
        rows += len(block[0])
        if rows >= ROWS:
            break
    if not parts:
        raise HistoryError(f"{file.path}: no row stands below the header")
    return [pa.concat_arrays([part[at] for part in parts]) for at in range(len(file.header))]


def _formats(file: File, block: list[pa.Array], policy: Policy) -> tuple[dict[str, object], list[str]]:
    """What must be said of numbers and dates, and what a person must decide of them."""
    options: dict[str, object] = {}
    questions = []
    if codes := _currencies(file, block):
        (most, _), *rest = codes.most_common()
        both = " and ".join(f"{name} ({n:,} rows)" for name, n in codes.most_common())
        questions.append(
            f"its amounts are in {both}: how much {most} is one {rest[0][0]} (rate), or which is wanted (only)?"
        )
        options["rate"] = {name: OPEN for name, _ in rest}
        policy = replace(policy, rates={name: Decimal(1) for name, _ in rest})
    for names in (NUMBERS, ("occurred_at",)):
        option = "decimal" if names == NUMBERS else "dayfirst"
        for found in _decided(file, policy, [ours for ours in names if ours in file.at]):
            if isinstance(found, HistoryError):
                questions.append(str(found).removeprefix(f"{file.path}: "))
                options[option] = OPEN
            elif found.dayfirst is not None:
                options["dayfirst"] = found.dayfirst
            elif any(numbers.decimal == "," for numbers in found.numbers.values()):
                options["decimal"] = ","
    return options, questions


def _decided(file: File, policy: Policy, names: list[str]) -> list[Formats | HistoryError]:
    """How these columns are written, together, for one tells another's decimal mark to whoever reads the file; where
    that leaves a question, what is found or asked of each."""
    try:
        return [formats.decide(replace(file, at={ours: file.at[ours] for ours in names}), policy)] if names else []
    except HistoryError as error:
        return [error] if len(names) == 1 else [found for ours in names for found in _decided(file, policy, [ours])]


def _currencies(file: File, block: list[pa.Array]) -> Counter[str]:
    """Rows by currency, where there are several."""
    priced = file.at.get(currencies.column(file), file.at.get("currency"))
    if priced is None:
        return Counter()
    beside = currencies.codes(Parts(block[priced]).unit)
    found = Counter(currencies.of_rows(file, None, block, beside).drop_null().to_pylist())
    return found if len(found) > 1 else Counter()


def _totals(file: File, block: list[pa.Array], policy: Policy) -> totals.Totals | totals.Sums | None:
    """Of orders whose lines have one amount, or one that is the sum of the others; None where it may be each line's."""
    if not {"amount", "order_id"} <= file.at.keys() or {"quantity", "unit_price"} <= file.at.keys():
        return None
    at = {"amount": file.at["amount"]}
    try:
        amount, sound = money(
            formats.decide(replace(file, at=at), policy).numbers.get("amount", Numbers()).plain(block[at["amount"]])
        )
    except HistoryError:  # it is asked how they are written
        return None
    names = {name: ids.present(block[file.at[name]])[0] for name in ("order_id", "product_id") if name in file.at}
    lines = pd.DataFrame({"customer_id": None, "product_id": None} | {k: v.to_pandas() for k, v in names.items()})
    lines = lines.assign(content=judge.hashes(block), amount=amount)[sound]
    return totals.found([totals.by_amount(lines.dropna(subset=["order_id"]))])


def _grows(file: File, block: list[pa.Array], policy: Policy) -> int:
    """Of how many products the price is that of all units of a line: divided by the quantity it takes fewer values.
    0 where that is seldom so among those that were sold in several quantities."""
    if not {"product_id", "quantity", "unit_price"} <= file.at.keys() or "amount" in file.at:
        return 0
    both = {ours: file.at[ours] for ours in ("quantity", "unit_price")}
    try:
        numbers = formats.decide(replace(file, at=both), policy).numbers
    except HistoryError:  # it is asked how they are written
        return 0
    lines = pd.DataFrame({"product": ids.present(block[file.at["product_id"]])[0].to_pandas()})
    for ours, at in both.items():
        lines[ours], sound = money(numbers.get(ours, Numbers()).plain(block[at]))
        lines = lines.assign(**{ours: lines[ours].where(sound & (lines[ours] > 0))})
    lines = lines.dropna().assign(one=lambda of: (of["unit_price"] / of["quantity"] * CENTS).round())
    lines = lines[lines["one"] >= 10]  # of fewer cents, all prices look alike
    taken = lines.groupby("product")[["quantity", "unit_price", "one"]].nunique()
    taken = taken[taken["quantity"] > 1]
    fewer, more = (
        int(which.sum()) for which in (taken["one"] < taken["unit_price"], taken["one"] > taken["unit_price"])
    )
    return fewer if fewer >= SEVERAL and fewer >= totals.NEARLY * (fewer + more) else 0


def _types(file: File, block: list[pa.Array]) -> dict[str, str]:
    """Each word of the file's event types -> ours, OPEN where there is no guess."""
    if "event_type" not in file.at:
        return {}
    words = Counter(ids.present(block[file.at["event_type"]])[0].drop_null().to_pylist())
    known = {word.strip(): word.strip().lower() for word in words if word.strip().lower() in NUMBER_OF}
    return {word: known.get(word) or kinds.guess(word) or OPEN for word, _ in words.most_common(30)}


def _missing(columns: dict[str, str]) -> list[str]:
    needed = [name for name in ("customer_id", "occurred_at") if name not in columns]
    if "amount" not in columns and not {"quantity", "unit_price"} <= columns.keys():
        needed.append("amount")
    return needed


def _which(column: Named, file: File, block: list[pa.Array]) -> str:
    """Asks for a column; where one has such a name, with what speaks against it."""
    asked = f"which column is {column.name} ({column.type})?"
    others = [name for at, name in enumerate(file.header) if at not in file.at.values()]
    if (theirs := guess.named(column.name, others)) is None:
        return asked
    return f"{asked} {theirs!r} has such a name, but {guess.unread(column.name, block[file.header.index(theirs)])}"


def _asked(file: File, block: list[pa.Array], types: dict[str, str]) -> list[str]:
    """What values alone cannot say."""
    found = []
    if open_ := [word for word, ours in types.items() if ours == OPEN]:
        found.append(
            f"what do the event types {', '.join(map(repr, open_[:5]))} mean? (a line that stays {OPEN} is dropped)"
        )
    real = pa.array(~wanted.noise(block))
    events = [column.filter(real) for column in block]
    who = file.at.get("customer_id")
    if who is not None and (guests := ids.present(events[who])[0].null_count):
        found.append(
            f"{guests:,} of {len(events[0]):,} rows have no customer: guests, or does it stand on an order's first line"
            " only (fill_down: order)?"
        )
    if who is not None and (most := _of_many(events[who])):
        except_ = f"except: {{{_scalar(file.header[who])}: {_scalar(most.customer)}}}"
        found.append(f"{most}: is it one customer, or does it stand for guests ({except_})?")
    if together := _together(file, events):
        found.append(
            f"{together:,} rows have customer and time of another: are they lines of one order? Without its number"
            " (order_id) each is an order"
        )
    for name, words in _statuses(file, events):
        values = ", ".join(f"{word!r} ({n:,} rows)" for word, n in words)
        found.append(f"are all of {name!r} wanted: {values}? (only: {{{_scalar(name)}: {_scalar(words[0][0])}}})")
        if below := _below_first(file, events, file.header.index(name)):
            found.append(
                f"{below:,} rows have no {name!r}: does it stand on an order's first line only (fill_down: order)?"
            )
    found += _undone(file, events) + _discounts(file, events)
    when = file.at.get("occurred_at")
    as_text = when not in file.typed or bool(file.sheet) or "time_of_day" in file.at
    if when is not None and as_text and _naive(block[when]):
        found.append("of which zone are its times (timezone: Europe/Berlin)? UTC unless it is said")
    return found


def _together(file: File, block: list[pa.Array]) -> int:
    """Rows that another one equals in customer and time, where nothing tells which order they are of; 0 of few."""
    if "order_id" in file.at or not {"customer_id", "occurred_at"} <= file.at.keys():
        return 0
    both = pd.DataFrame({ours: block[file.at[ours]].to_pandas() for ours in ("customer_id", "occurred_at")}).dropna()
    together = int(both.duplicated(keep=False).sum())
    return together if together > TOGETHER * len(both) else 0


def _of_many(customers: pa.Array) -> ids.Most | None:
    counts = ids.present(customers)[0].drop_null().value_counts()
    return ids.of_many(counts.field("values"), counts.field("counts").to_numpy())


def _statuses(file: File, block: list[pa.Array]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Of each column that says how far an order came, its words with their rows, the most frequent first."""
    found = []
    for at, name in enumerate(file.header):
        if guess.bare(name).endswith(guess.STATUS) and at not in file.at.values():
            words = Counter(ids.present(block[at])[0].drop_null().to_pylist())
            if 1 < len(words) <= STATUSES:
                found.append((name, words.most_common()))
    return found


def _undone(file: File, block: list[pa.Array]) -> list[str]:
    """Of each column that says of some sales that they were cancelled, given back or tests: whether they count. Its
    name says so, or some of its few words."""
    found = []
    for at, name in enumerate(file.header):
        if at in file.at.values() or guess.bare(name).endswith(guess.STATUS):
            continue
        texts = pc.utf8_trim_whitespace(block[at]).fill_null("")
        if not guess.UNDONE.search(name):
            found += _undone_words(name, texts)
            continue
        stays = matches(texts, guess.NOT_SO)
        if 0 < (n := int((~stays).sum())) < len(texts):
            some = guess.examples(texts.filter(pa.array(~stays)), 2)
            none = [text or "N/A" for text in texts.filter(pa.array(stays)).unique().to_pylist()]
            found.append(
                f"{n:,} rows have {name!r} ({' | '.join(some)}): are they sales as they stand?"
                f" (only: {{{_scalar(name)}: {_one_or_all(none)}}})"
            )
    return found


def _undone_words(name: str, texts: pa.Array) -> list[str]:
    words = Counter({each["values"]: each["counts"] for each in texts.value_counts().to_pylist()})
    undone = [word for word in words if guess.UNDONE.search(word)] if 1 < len(words) <= STATUSES else []
    if not 0 < len(undone) < len(words):
        return []
    n = sum(words[word] for word in undone)
    return [
        f"{n:,} rows have {' or '.join(map(repr, undone))} in {name!r}: are they sales as they stand?"
        f" (except: {{{_scalar(name)}: {_one_or_all(undone)}}}; or, if they give back, it is the event_type)"
    ]


def _one_or_all(words: list[str]) -> str:
    return _scalar(words if len(words) > 1 else words[0])


def _discounts(file: File, block: list[pa.Array]) -> list[str]:
    """Of each column that is a discount somewhere, whether what counts is less by it."""
    worth = next((file.header[file.at[ours]] for ours in ("amount", "unit_price") if ours in file.at), None)
    found = []
    for at, name in enumerate(file.header):
        if worth is None or at in file.at.values() or not guess.DISCOUNT.search(name):
            continue
        texts = pc.utf8_trim_whitespace(block[at]).fill_null("")
        taken = texts.filter(pa.array(~matches(texts, guess.NOT_SO)))
        if len(taken) and guess.numbers(taken.unique()):
            some = " | ".join(guess.examples(taken, 2))
            found.append(
                f"{len(taken):,} rows have {name!r} ({some}): is it taken off {worth!r}? If not, name what was paid"
                " (amount)"
            )
    return found


def _below_first(file: File, block: list[pa.Array], at: int) -> int:
    """Lines that a column says nothing of, for it has a value on an order's first line alone; of those without a
    customer it is asked anyway."""
    if not {"order_id", "customer_id"} <= file.at.keys():
        return 0
    below = wanted.below_first(block[file.at["order_id"]], block[at])
    return int((below & ids.present(block[file.at["customer_id"]])[0].is_valid().to_numpy(zero_copy_only=False)).sum())


def _naive(column: pa.Array) -> bool:
    """Has it times of day without a zone?"""
    text = pc.utf8_trim_whitespace(column.drop_null())
    timed = text.filter(pc.match_substring_regex(text, r"\d:\d\d"))
    zoned = pc.match_substring_regex(timed, r"(Z|[A-Z]{3,4}|[+-]\d\d:?\d\d|\])$")
    return len(timed) > 0 and not pc.any(zoned).as_py()


def document(looked: Looked, shop: str) -> str:
    """The YAML document."""
    file, rows = looked.file, len(looked.block[0])
    lines = [HEAD.format(path=file.path, told=file.told, rows=rows, open=OPEN, shop=shop)]
    lines += [f"# Question: {_in_a_line(question)}\n" for question in looked.questions]
    lines.append("columns:\n")
    lines += [_column(looked, ours, theirs) for ours, theirs in looked.columns.items()]
    lines += [f"  {ours}: {OPEN!r}\n" for ours in looked.missing]
    others = [name for name in file.header if name and name not in looked.columns.values()]
    lines += [f"  # not mapped: {_said(looked, name)}\n" for name in others]
    if looked.types:
        lines.append("types: # theirs: ours (purchase, return, view, cart)\n")
        lines += [f"  {_scalar(theirs)}: {_scalar(ours)}\n" for theirs, ours in looked.types.items()]
    lines += [f"{name}: {_scalar(value)}\n" for name, value in looked.options.items()]
    return Reader.NON_PRINTABLE.sub(lambda found: ascii(found[0])[1:-1], "".join(lines))  # YAML takes none as they are


def _column(looked: Looked, ours: str, theirs: str) -> str:
    return f"  {ours}: {_scalar(theirs)} # {_examples(looked, theirs)}\n"


def _said(looked: Looked, theirs: str) -> str:
    return f"{_scalar(theirs)} ({_examples(looked, theirs)})"


def _examples(looked: Looked, theirs: str) -> str:
    found = guess.examples(looked.block[looked.file.header.index(theirs)])
    return " | ".join(map(_in_a_line, found)) or "empty"


def _in_a_line(text: str) -> str:
    return " ".join(text.split())


def _scalar(value: object) -> str:
    """In one line, quoted where YAML needs it."""
    return yaml.safe_dump(value, allow_unicode=True, width=10**6, default_flow_style=True).removesuffix("...\n").strip()
