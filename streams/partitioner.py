"""Which partition a customer's events belong to: what producers do with the key, so that strays are noticed."""

import zlib
from collections.abc import Callable
from functools import lru_cache


@lru_cache  # who asks again gets the same one, with all that it remembers: deployments are read once a second
def partitioner(kind: str, partitions: int) -> Callable[[str], int]:
    """customer_id -> partition, as Java's and aiokafka's default (murmur2) or librdkafka's (crc32) choose it.

    >>> [partitioner(kind, 4)("c1") for kind in ("murmur2", "crc32")]
    [3, 1]
    >>> partitioner("crc32", 4) is partitioner("crc32", 4)
    True
    """
    from aiokafka.partitioner import murmur2  # here, for most commands do without a third of a second

    @lru_cache(maxsize=1 << 17)
    def home(customer_id: str) -> int:
        key = customer_id.encode()
        chosen: int = (murmur2(key) & 0x7FFFFFFF) % partitions if kind == "murmur2" else zlib.crc32(key) % partitions
        return chosen

    return home
