"""Kafka's client complains many times a second while no broker answers: one line as that begins, one at its end."""

import logging
import threading
import time
from collections.abc import Callable

QUIET = 5.0  # seconds without a complaint, after which it is over


class Outage(logging.Handler):
    """A handler for the client's logger. Messages may come from any thread."""

    def __init__(self, say: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.ERROR)
        self._say, self._now = say, now
        self._begun, self._last, self._left_out = 0.0, 0.0, -1
        self._mutex = threading.Lock()

    @classmethod
    def of(cls, logger: str, say: Callable[[str], None]) -> "Outage":
        """Takes over all that this logger says."""
        outage, client = cls(say), logging.getLogger(logger)
        client.handlers, client.propagate = [outage], False
        client.setLevel(logging.ERROR)
        return outage

    @property
    def lasts(self) -> bool:
        """Whether it complained and was not heard to be well again."""
        return self._left_out >= 0

    def emit(self, record: logging.LogRecord) -> None:
        with self._mutex:
            self._last, first = self._now(), self._left_out < 0
            self._left_out += 1
            if first:
                self._begun = self._last
        if first:
            self._say(f"Kafka does not answer as it should; its client says: {record.getMessage()}")

    def beat(self, answered: bool) -> None:
        """Once a second or so; answered: whether a broker did, lately."""
        with self._mutex:
            if self._left_out < 0 or not answered or self._now() < self._last + QUIET:
                return
            lasted, left_out, self._left_out = self._last - self._begun, self._left_out, -1
        more = f"; {left_out:,} lines of its client were left out" if left_out else ""
        self._say(f"Kafka answers again, after {lasted:.0f} s{more}")
