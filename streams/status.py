"""What a worker says of itself in a file, each second, and what `streams health` makes of it beside it.

The rule: the worker alone knows what it holds, so it writes it down; a file that is old is a worker that hangs.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

OLD = 10.0  # seconds: ten beats were missed


def write(path: Path, lives: Mapping[int, str]) -> None:
    """Replaces the file, so that no half of one is read. lives: of each partition held, as `Life` calls it."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps({"at": time.time(), "partitions": lives}))
    fresh.replace(path)


def read(path: Path) -> tuple[float, dict[int, str]] | None:
    """(seconds since it was written, life of each partition held); None where no worker wrote."""
    try:
        found = json.loads(path.read_text())
        return time.time() - found["at"], {int(number): life for number, life in found["partitions"].items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # none, or not what a worker wrote
        return None


def wrong(found: tuple[float, Mapping[int, str]] | None) -> Iterator[str]:
    """What is wrong with the worker, if anything is.

    >>> list(wrong((0.5, {0: "ready", 3: "ready"}))), list(wrong((0.5, {0: "ready", 3: "locating"})))
    ([], ['partition 3 is locating'])
    >>> list(wrong(None)), list(wrong((60.0, {}))), list(wrong((0.5, {})))
    (['no worker has written here'], ['the worker wrote last 60 s ago'], ['the worker holds no partition'])
    """
    if found is None:
        yield "no worker has written here"
    elif found[0] > OLD:
        yield f"the worker wrote last {found[0]:.0f} s ago"
    elif not found[1]:
        yield "the worker holds no partition"
    else:
        yield from (f"partition {number} is {life}" for number, life in found[1].items() if life != "ready")
