"""An answer that is long in the making, kept for a while.

The rule: it is made once for all who wait for it, and kept so long that the making takes at most a SHARE of the time;
what failed is not kept.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

SHARE = 50  # times as long as it took
LEAST = 5.0  # seconds
T = TypeVar("T")


class Kept(Generic[T]):
    """make: what makes it anew; least: seconds that it is kept at least."""

    def __init__(self, make: Callable[[], Awaitable[T]], least: float = LEAST) -> None:
        self._make, self._least = make, least
        self._task: asyncio.Task[T] | None = None
        self._until = 0.0

    async def get(self) -> T:
        """Raises whatever making it raises."""
        task = self._task
        if task is None or (task.done() and time.monotonic() >= self._until):
            self._until = 0.0
            task = self._task = asyncio.create_task(self._made())
        return await asyncio.shield(task)  # whoever goes away takes it from nobody else

    async def _made(self) -> T:
        began = time.monotonic()
        found = await self._make()
        ended = time.monotonic()
        self._until = ended + max(self._least, SHARE * (ended - began))
        return found
