"""What a worker says of itself each second, and what makes it live and ready: over HTTP and in a file alike.

The rule: the worker alone knows what it holds, so it says so, and whoever asks judges by the same words, whether by
/health/ready or by `streams health` beside it. What was said long ago is a worker that hangs.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from streams.freshness import LATE
from streams.refusal import Refusal

OLD = 10.0  # seconds: ten beats were missed
UNHEARD = 5.0  # seconds without an answer of Redis: the beat that asked it ends after 3


class Status(msgspec.Struct, frozen=True):
    """at: seconds since the epoch. partitions: of each that is held, what `Life` calls it; behind: how many seconds it
    is behind its log, where that is known. answered: when Redis took something last; None: nothing was written;
    refused: what it says since, "" where it does not answer. model: the version that serves, "" for none.
    """

    at: float
    partitions: dict[int, str] = {}
    behind: dict[int, float] = {}
    answered: float | None = None
    model: str = ""
    refused: str = ""

    def hangs(self, now: float) -> Iterator[str]:
        """Why the worker is not live, if it is not.

        >>> list(Status(990.5).hangs(1000.0)), list(Status(940.0).hangs(1000.0))
        ([], ['the worker said nothing for 60 s'])
        """
        if now - self.at > OLD:
            yield f"the worker said nothing for {now - self.at:.0f} s"

    def wrong(self, now: float) -> Iterator[str]:
        """Why it is not ready, if it is not.

        >>> well = Status(1000.0, {0: "ready", 3: "ready"}, {0: 0.2, 3: 1.0}, 999.5, "1-20240301-0a1b2c3d")
        >>> list(well.wrong(1000.4)), list(well.wrong(1060.0))
        ([], ['the worker said nothing for 60 s'])
        >>> list(Status(1000.0).wrong(1000.0))
        ['the worker holds no partition']
        >>> list(Status(1000.0, {0: "ready", 3: "locating"}, {0: 61.0}, 990.0).wrong(1000.0))
        ['partition 0 is 61 s behind', 'partition 3 is locating', 'Redis did not answer for 10 s', 'no model is loaded']
        >>> list(Status(1000.0, {0: "ready"}, {0: 0.2}, 990.0, "1-20240301-0a1b2c3d", "OOM: it is full").wrong(1000.0))
        ['Redis took nothing for 10 s: OOM: it is full']
        """
        if hangs := list(self.hangs(now)):
            yield from hangs
        elif not self.partitions:
            yield "the worker holds no partition"
        else:
            yield from self._of_partitions()
            if "ready" in self.partitions.values():
                yield from self._of_what_they_need()

    def _of_partitions(self) -> Iterator[str]:
        for number, life in self.partitions.items():
            if life != "ready":
                yield f"partition {number} is {life}"
            elif (behind := self.behind.get(number)) is None:
                yield f"partition {number} was not looked at yet"
            elif behind > LATE:
                yield f"partition {number} is {behind:,.0f} s behind"

    def _of_what_they_need(self) -> Iterator[str]:
        if self.answered is not None and self.at - self.answered > UNHEARD:
            does = "took nothing" if self.refused else "did not answer"
            yield f"Redis {does} for {self.at - self.answered:.0f} s{': ' if self.refused else ''}{self.refused}"
        if not self.model:
            yield "no model is loaded"


def write(path: Path, status: Status) -> None:
    """Replaces the file, so that no half of one is read. Raises Refusal where it cannot be."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(msgspec.json.encode(status))
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise _refusal(path, error) from None


def read(path: Path) -> Status | None:
    """What the worker wrote; None where none did. Raises Refusal for what is no file, or not for us."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Status)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    except OSError as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: OSError) -> Refusal:
    return Refusal(
        f"CRM_STATUS={path}: {error.strerror}: a worker must be able to write this file and `health` to read it"
    )


def wrong(found: Status | None) -> Iterator[str]:
    """What is wrong with the worker that wrote this, if anything is.

    >>> list(wrong(None)), list(wrong(Status(0.0)))[0].partition(" for ")[0]
    (['no worker has written here'], 'the worker said nothing')
    """
    if found is None:
        yield "no worker has written here"
    else:
        yield from found.wrong(time.time())
