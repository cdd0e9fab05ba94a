"""What mining will cost, said before it is paid: how many sets, how long, how much memory.

Products and pairs are counted; of larger sets a thousand seeded walks down the tree of sets tell how many there are
(Knuth, "Estimating the efficiency of backtrack programs", Mathematics of Computation 1975).
Rule: nothing is refused for being long or many; only what the memory left to this process cannot hold.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bits = NDArray[np.uint64]

A_SET = 1_600  # bytes at the peak, with all the rules that can be made of it
WALKS, SEED = 1_000, 0
LONG, LARGE = 5, 10**9  # seconds and bytes from which on a cost is worth a line
# Seconds of one intersection, and of each 64 orders in it; the same of a set that mlxtend's apriori tries to enlarge.
ECLAT, APRIORI = (5e-7, 3e-9), (1e-4, 1e-6)


@dataclass(frozen=True)
class Cost:
    """sets: about how many products, pairs and larger sets pass; seconds, bytes: about what they take."""

    products: int
    pairs: int
    sets: int
    seconds: float
    bytes: int

    @property
    def notable(self) -> bool:
        return self.seconds >= LONG or self.bytes >= LARGE

    def __str__(self) -> str:
        """
        >>> print(Cost(921, 13299, 30153, 12.3, 240_000_000))
        921 products and 13,299 pairs pass, about 30,000 sets in all: mining takes about 12 s and 0.2 GB
        """
        rounded = round(self.sets, 1 - len(str(self.sets)))
        long = f"{self.seconds:.0f} s" if self.seconds < 120 else f"{self.seconds / 60:.0f} minutes"
        return (
            f"{self.products:,} products and {self.pairs:,} pairs pass, about {rounded:,} sets in all:"
            f" mining takes about {long} and {self.bytes / 1e9:.1f} GB"
        )


def cost(pairs: Any, bits: Bits, least: int, max_length: int, algorithm: str) -> Cost:
    """Of mining sets of up to `max_length` products that `least` orders hold.

    pairs: COO matrix above its diagonal, orders that each two of the products share; bits: their orders, shape
    (products, orders / 64).
    """
    passing = pairs.data >= least
    order = np.lexsort((pairs.col[passing], pairs.row[passing]))
    first, second = pairs.row[passing][order], pairs.col[passing][order]
    (products, words), count = bits.shape, len(first)
    sets, tried = _larger(first, second, bits, least, max_length)
    inner = products + count + sum(sets[:-1]) if max_length > 2 else products  # sets that may grow
    once, each = APRIORI if algorithm == "apriori" else ECLAT
    looked = inner if algorithm == "apriori" else math.comb(products, 2) + sum(tried)
    total = products + count + round(sum(sets))
    return Cost(products, count, total, looked * (once + each * words), total * A_SET + 3 * bits.nbytes)


def _larger(first: Ints, second: Ints, bits: Bits, least: int, max_length: int) -> tuple[list[float], list[float]]:
    """(about how many sets of 3, 4, ... max_length products pass, how many are tried) from walks that begin at random
    pairs (first, second), which are in ascending order."""
    rng = np.random.default_rng(SEED)
    sets, tried = np.zeros((2, max(0, max_length - 2)))
    ends = np.searchsorted(first, first, side="right")
    for at in rng.integers(0, len(first), min(WALKS, len(first))):
        orders, items = bits[first[at]] & bits[second[at]], second[at + 1 : ends[at]]
        weight = len(first) / min(WALKS, len(first))
        for level in range(len(sets)):
            shared = bits[items] & orders
            passing = np.bitwise_count(shared).sum(axis=1, dtype=np.int64) >= least
            tried[level] += weight * len(items)
            sets[level] += weight * passing.sum()
            if not passing.any():
                break
            chosen = rng.integers(passing.sum())
            weight, orders, items = weight * passing.sum(), shared[passing][chosen], items[passing][chosen + 1 :]
    return sets.tolist(), tried.tolist()


# ---- what is left ----------------------------------------------------------------------------------------------------


def free(root: Path = Path("/")) -> int | None:
    """Bytes left to this process: of the machine, and of its container (cgroup v2); None where neither can be read."""
    left = [_available(root / "proc/meminfo"), _of_container(root / "sys/fs/cgroup")]
    return min((each for each in left if each is not None), default=None)


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
