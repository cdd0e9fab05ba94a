"""Lines for whoever runs a worker, on the process's own stderr: Faust redirects the other one.

The rule: one line an event, with its time (UTC), its level and the partition it is about, for a person or as JSON; what
libraries log comes the same way, as a warning at most: an error is ours.
"""

import contextlib
import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, NoReturn

import structlog

Level = Literal["info", "warning", "error"]
How = Literal["console", "json"]


def plain(_: object, __: str, told: MutableMapping[str, Any]) -> str:
    """A line as a person reads it: the partition stands in its text, and below it how an exception came about.

    >>> plain(None, "", {"time": "2024-03-01T00:00:00Z", "level": "info", "event": "goes on", "partition": 0})
    '2024-03-01T00:00:00Z info: goes on'
    """
    line = f"{told['time']} {told['level']}: {told['event']}"
    return f"{line}\n{told['exception']}" if "exception" in told else line


def logger(how: How) -> Any:
    """One that writes its lines so."""
    render = structlog.processors.JSONRenderer() if how == "json" else plain
    stamp = structlog.processors.TimeStamper(fmt="iso", key="time")
    named: list[Any] = [structlog.processors.add_log_level, stamp, structlog.processors.format_exc_info, render]
    wrapper = structlog.make_filtering_bound_logger(logging.INFO)
    return structlog.wrap_logger(structlog.PrintLogger(sys.__stderr__), processors=named, wrapper_class=wrapper)


_log = logger("console")


def use(how: How) -> None:
    """From here on lines come so."""
    global _log
    _log = logger(how)


def say(line: str, *, level: Level = "info", **more: object) -> None:
    """Says one line; more: what it is about, such as partition=2. A terminal or pipe that is gone ends nothing."""
    with contextlib.suppress(OSError, ValueError):
        getattr(_log, level)(line, **more)


def stop(reason: str, **more: object) -> NoReturn:
    """Ends the process at once, exit code 2. Dying is always safe: a write is applied as a whole or not at all."""
    say(reason, level="error", **more)
    os._exit(2)


class Lines(logging.Handler):
    """What a library logs, said as a line of ours that names its logger; the API's own faults are logged, too."""

    def emit(self, record: logging.LogRecord) -> None:
        level: Level = "error" if record.name.startswith("streams.") else "warning"
        trouble = {"exc_info": record.exc_info} if record.exc_info else {}
        say(record.getMessage(), level=level, logger=record.name, **trouble)


LIBRARIES = {  # for logging.config: of Faust, mode and whatever else has no handler of its own, errors alone
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"lines": {"()": Lines, "level": "ERROR"}},
    "root": {"level": "ERROR", "handlers": ["lines"]},
}
