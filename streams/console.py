"""Lines for whoever runs a worker, on the process's own stderr: Faust redirects the other one."""

import contextlib
import os
import sys
from typing import NoReturn


def say(line: str) -> None:
    """Prints one line. A terminal or pipe that is gone ends nothing."""
    with contextlib.suppress(OSError, ValueError):
        print(f"streams worker: {line}", file=sys.__stderr__, flush=True)


def stop(reason: str) -> NoReturn:
    """Ends the process at once, exit code 2. Dying is always safe: a write is applied as a whole or not at all."""
    say(reason)
    os._exit(2)
