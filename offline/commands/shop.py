"""`--shop FILE`: what `look` wrote and its owner edited, as defaults of the options of a command.

Rule: every key is an option of `clean` by its name, and what is typed on the command line wins.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from offline.errors import OfflineError, nearest
from offline.history.policy import NAMED, OPEN

Value = Any


def quoted(pairs: Iterable[tuple[str, str]]) -> str:
    """`left=right,...` as an option takes it, whatever the names hold.

    >>> quoted([("amount", "Total, EUR"), ("customer_id", "Kunde")])
    'amount="Total, EUR",customer_id="Kunde"'
    """
    return ",".join(f'{left}="{right.replace(chr(34), chr(34) * 2)}"' for left, right in pairs)


def _texts(value: Value) -> list[str]:
    found = value if isinstance(value, list) else [value]
    return [_text(each) for each in found]


def _text(value: Value) -> str:
    """As it would be typed. Raises ValueError for what is no single value."""
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _columns(value: Value) -> str:
    return quoted(_pairs(value).items())


def _types(value: Value) -> str:
    return quoted((ours, theirs) for theirs, ours in _pairs(value).items() if ours != OPEN)


def _rows(value: Value) -> list[str]:
    if not isinstance(value, Mapping):
        raise ValueError("column: value")
    return [f"{column}={text}" for column, texts in value.items() for text in _texts(texts)]


def _pairs(value: Value) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("name: name")
    return {left: _text(right) for left, right in value.items()}


def _listed(value: Value) -> str:
    return ",".join(_texts(value))


def _flag(value: Value) -> bool:
    if value not in ("true", "false"):
        raise ValueError("true or false")
    return bool(value == "true")


# By key: the name of the option's parameter, and how a value becomes what would be typed.
KEYS: dict[str, tuple[str, Callable[[Value], Value]]] = {
    "columns": ("columns", _columns),
    "types": ("types", _types),
    "only": ("only", _rows),
    "except": ("without", _rows),
    "fill_down": ("fill_down", _text),
    "rate": ("rates", _columns),
    "ids": ("ids", _texts),
    "timezone": ("timezone", _text),
    "from": ("since", _text),
    "until": ("until", _text),
    "encoding": ("encoding", _text),
    "delimiter": ("delimiter", _text),
    "decimal": ("decimal", _text),
    "dayfirst": ("dayfirst", _flag),
    "missing": ("missing", lambda value: ",".join(map("=".join, _pairs(value).items()))),
    "key": ("key", _listed),
    "keep_duplicates": ("keep_duplicates", _flag),
    "amount_of": ("amount_of", _text),
    "cancelled": ("cancelled", _text),
    "outliers": ("outliers", _text),
    "outlier_action": ("outlier_action", _text),
    "allow_loss": ("allow_loss", _flag),
}


def read(path: Path) -> dict[str, Value]:
    """By parameter what would be typed. Raises OfflineError, one line that names the key."""
    from offline import yamls

    found = yamls.read(path, "--shop")
    if not isinstance(found, Mapping):
        raise OfflineError(f"--shop {path}: says nothing; `python -m offline look FILE` writes one")
    given = {}
    for key, value in found.items():
        if key not in KEYS:
            raise OfflineError(f"--shop {path}: {key!r} is no option; {nearest(str(key), [*KEYS])}")
        if value == OPEN:
            raise OfflineError(f"--shop {path}: {key} is still {OPEN}: fill it in, or take the line out")
        if value == "":
            continue
        parameter, typed = KEYS[key]
        try:
            given[parameter] = typed(value)
        except (ValueError, AttributeError) as error:
            raise OfflineError(f"--shop {path}: {key}: say {error}") from None
    _columns_known(path, found.get("columns") or {})
    if OPEN in (found.get("rate") or {}).values():
        raise OfflineError(
            f"--shop {path}: rate is still {OPEN}: say how much of the history's currency one is, or take"
            " the line out and say which rows are wanted (only)"
        )
    return given


def _columns_known(path: Path, columns: Value) -> None:
    still = [ours for ours, theirs in columns.items() if theirs == OPEN]
    if still:
        raise OfflineError(
            f"--shop {path}: columns: {', '.join(still)} still {OPEN}: name a column of the file, or take the line out"
        )
    for ours in columns:
        if ours not in {column.name for column in NAMED}:
            raise OfflineError(f"--shop {path}: columns: {nearest(str(ours), [column.name for column in NAMED])}")


def defaults(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Callback of the option, before all others are looked at."""
    if path is None:
        return
    context.meta["offline.shop"] = path
    try:
        context.default_map = {**(context.default_map or {}), **read(path)}
    except OfflineError as error:
        click.echo(f"offline: {error}", err=True)
        context.exit(2)
