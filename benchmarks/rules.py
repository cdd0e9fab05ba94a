"""How long and in how much memory both algorithms mine 100,000 orders of 4,000 products.

    python -m benchmarks.rules [MIN_SUPPORT ...]

Synthetic: 10 draws an order on average, the product of rank r drawn with a probability in proportion to 1/r (Zipf).
Each algorithm runs in a process of its own, from the events of a history to its frequent sets of up to 3; peak memory
is that of the whole process, the events included.
"""

import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from models.kinds import PURCHASE
from offline.rules.rules import Itemsets, apriori, baskets, costs, eclat

ORDERS, PRODUCTS, DRAWS, SEED = 100_000, 4_000, 10, 1
SUPPORTS = (0.01, 0.005, 0.002, 0.001)
ALGORITHMS = {"apriori": apriori, "eclat": eclat}


class Cost(NamedTuple):
    baskets: float  # seconds from events to the matrix, pairs counted, costs known
    mining: float  # seconds from there to the sets
    peak: float  # GB
    sets: Itemsets


def history(orders: int, products: int) -> pd.DataFrame:
    """The columns of a history frame that rules look at."""
    rng = np.random.default_rng(SEED)
    sizes = 1 + rng.poisson(DRAWS - 1, orders)
    weights = 1 / np.arange(1, products + 1)
    drawn = rng.choice(products, sizes.sum(), p=weights / weights.sum())
    order = np.repeat(np.arange(orders), sizes)
    columns: dict[str, Any] = {"customer_id": order // 10, "order_id": order, "product_id": drawn}
    frame = pd.DataFrame(columns).astype(str)
    return frame.assign(kind=np.int8(PURCHASE), amount=10_000)


def measure(algorithm: str, min_support: float, orders: int = ORDERS, products: int = PRODUCTS) -> Cost:
    """What the algorithm took in this process, whose peak is only its own where nothing else ran in it."""
    events = history(orders, products)
    clock = [time.perf_counter()]
    found = baskets(events)
    costs(found, min_support, 3)
    clock.append(time.perf_counter())
    sets = ALGORITHMS[algorithm](found, found.least(min_support), 3)
    clock.append(time.perf_counter())
    made, mined = np.diff(clock).tolist()
    return Cost(made, mined, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, sets)


def main() -> None:
    print(f"{ORDERS:,} orders, {PRODUCTS:,} products, sets of up to 3")
    spawn = multiprocessing.get_context("spawn")
    for support in map(float, sys.argv[1:] or SUPPORTS):
        results = {}
        for name in ALGORITHMS:
            with ProcessPoolExecutor(1, spawn) as pool:
                cost = results[name] = pool.submit(measure, name, support).result()
            print(f"support {support}: {name:8}{len(cost.sets):>8,} sets, baskets {cost.baskets:.1f} s,", end=" ")
            print(f"mining {cost.mining:6.1f} s, peak {cost.peak:.2f} GB")
        if results["apriori"].sets != results["eclat"].sets:
            raise AssertionError("the algorithms found different sets")


if __name__ == "__main__":
    main()
