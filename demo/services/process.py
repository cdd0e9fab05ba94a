"""A server of our own as a child process: can be killed and started again, and ends with this process.

On an exception, Ctrl-C or SIGTERM the caller's `finally` ends it; on kill -9 a watcher does, which sees its pipe close.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from demo.services.jars import ServiceError, reason

LOOPBACK = "127.0.0.1"
# Below the range from which Linux and macOS take a client's own port: a client that retries a port of that range while
# its server is down ends up connected to itself, and the server cannot bind it again.
PORTS = range(15_000, 32_000)
START_SECONDS, STOP_SECONDS = 60, 10


class Process:
    """A server of our own on one port of loopback, in its own process group; can be started again after any death."""

    def __init__(self, name: str, port: int, command: Sequence[str | Path], log: Path, answers: Callable[[], bool]):
        self.name, self.port = name, port
        self._command, self._log, self._answers = command, log, answers
        self._running: tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]] | None = None

    @property
    def pid(self) -> int:
        """Leader of the server's group; for os.kill with SIGKILL, SIGSTOP, SIGCONT. ServiceError after `stop`."""
        if self._running is None:
            raise ServiceError(f"{self.name} is not running")
        return self._running[0].pid

    def start(self) -> None:
        """Start, on the data that stand there, and wait until it answers; a running one is stopped first."""
        self.stop()
        if not is_free(self.port):
            raise ServiceError(f"{self.name} cannot start: port {self.port} is taken by another program")
        with self._log.open("wb") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        self._running = process, _watch(process.pid)
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > until:
                raise ServiceError(f"{self.name} did not start: {reason(self._log.read_text(errors='replace'))}")
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the server if it runs (a SIGSTOPped one too), with SIGKILL when `how` has not done it in 10 s."""
        if self._running is None:
            return
        (process, watcher), self._running = self._running, None
        for number, seconds in ((how, STOP_SECONDS), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                os.killpg(process.pid, signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                break
        watcher.communicate(b"ended\n")


def _watch(group: int) -> subprocess.Popen[bytes]:
    """A shell that kills the group when its standard input ends without a line, that is, when this process has died.

    Not PR_SET_PDEATHSIG: Linux alone has it, and it fires when the thread that started the server ends.
    """
    script = f"read line || kill -s KILL -- -{group}"
    return subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)


@contextlib.contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in here, so that every `finally` runs, unless it is already handled."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def free_port() -> int:
    return next(port for port in iter(lambda: secrets.choice(PORTS), None) if is_free(port))


def is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server((LOOPBACK, port)):
        return True
    return False
