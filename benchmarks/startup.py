"""CPU seconds that a command takes before it does anything: help, a refusal, a look at one customer.

python -m benchmarks.startup
"""

import os
import resource
import subprocess
import sys

from demo import services

TRIES = 3  # the least of them, for a machine may be busy


def seconds(*command: str, env: dict[str, str] | None = None) -> float:
    """User and system time of `python -m command`, whatever it ends with."""
    spent = []
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", *command], env=os.environ | (env or {}), capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def measure() -> dict[str, float]:
    """Seconds by command, the streams' beside a Redis that holds nothing yet."""
    with services.valkey() as valkey:
        env = {"CRM_REDIS_URL": valkey.url}
        return {
            "offline --help": seconds("offline", "--help"),
            "offline fit --help": seconds("offline", "fit", "--help"),
            "offline fit, a missing file": seconds("offline", "fit", "--history", "missing.csv", "--out", "build/none"),
            "streams --help": seconds("streams", "--help"),
            "streams publish, a missing directory": seconds("streams", "publish", "missing"),
            "streams show": seconds("streams", "show", "00042", env=env),
            "streams worker, before the first publish": seconds("streams", "worker", env=env),
        }


def rows(found: dict[str, float]) -> list[tuple[str, str]]:
    """The figures as the table of `make bench` shows them."""
    return [(f"CPU of `{command}`", f"{spent:.2f} s") for command, spent in found.items()]


if __name__ == "__main__":
    for name, value in rows(measure()):
        print(f"{name:60} {value}")
