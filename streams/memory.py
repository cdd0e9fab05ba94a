"""What a partition's customers take in memory, and what this process can still have."""

from pathlib import Path

PER_CUSTOMER = 1_250  # bytes: a row, the id, and what was last written of the hash


def free(root: Path = Path("/")) -> int | None:
    """Bytes left to this process: of the machine, and of its container (cgroup v2); None where neither can be read."""
    left = [_available(root / "proc/meminfo"), _of_container(root / "sys/fs/cgroup")]
    return min((each for each in left if each is not None), default=None)


def warning(partition: int, customers: int, left: int | None) -> str | None:
    """What to say before so many customers are loaded, if that is more than is left (bytes).

    >>> warning(3, 1_000_000, 1_100_000_000)
    'partition 3 holds 1,000,000 customers: about 1.2 GB to load them, 1.1 GB are free; add memory or workers'
    >>> warning(3, 1_000_000, 1_300_000_000)
    """
    needed = customers * PER_CUSTOMER
    if left is None or needed <= left:
        return None
    return (
        f"partition {partition} holds {customers:,} customers: about {needed / 1e9:.1f} GB to load them,"
        f" {left / 1e9:.1f} GB are free; add memory or workers"
    )


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _of_container(cgroup: Path) -> int | None:
    try:
        most, taken = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return None
    return None if most == "max" else max(0, int(most) - int(taken))
