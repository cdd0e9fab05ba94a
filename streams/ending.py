"""How a worker ends when it is asked to (SIGTERM, SIGINT): within seconds and with exit code 0, whatever is away.

The rule: a thread of its own takes the signals, so that neither a busy event loop nor a client that waits for a server
holds them up; and the process is over after `PATIENCE` in any case. Dying is always safe.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable

SIGNALS = {signal.SIGINT, signal.SIGTERM}
PATIENCE = 8.0  # seconds
SAYING = 0.5  # seconds that the line of it may take
farewells: list[Callable[[], None]] = []  # what is done before, as far as the patience reaches


def prepare(tell: Callable[[str], None]) -> None:
    """To be called before any other thread is there: they inherit that the signals are not theirs.

    tell: says which one came, by its name.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    threading.Thread(target=_wait, args=(tell,), name="signals", daemon=True).start()


def _wait(tell: Callable[[str], None]) -> None:
    """The one thread that ends the process: what holds another up, a pipe that is full or a server, holds up no end."""
    asked = signal.Signals(signal.sigwait(SIGNALS)).name
    line, last = (threading.Thread(target=work, daemon=True) for work in (lambda: tell(asked), _bid_farewell))
    line.start()
    last.start()
    last.join(PATIENCE)
    line.join(SAYING)
    os._exit(0)


def _bid_farewell() -> None:
    for farewell in farewells:
        with contextlib.suppress(Exception):
            farewell()
