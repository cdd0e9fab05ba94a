"""How true the promises were, asked of Redis: what `model`, `status` and the API tell.

The rule: what is damaged is a line that says what to do, the same one whoever asks.
"""

import asyncio
from collections.abc import Sequence

from models import ledger
from models.truth import Truth, TruthError, Window
from streams.deployment import Deployment, DeploymentError
from streams.store import Store


async def found(store: Store, deployment: Deployment, windows: Sequence[int]) -> Truth:
    """windows: days. Raises DeploymentError before the first publish, and for what is damaged."""
    return await _found(store, deployment, windows, await store.versions())


async def lately(store: Store, deployment: Deployment, days: int) -> Window | None:
    """What came of what was served in these last days; None before an example closed. Raises as `found` does, and asks
    no more of Redis than a worker may."""
    (window,) = (await _found(store, deployment, [days], [])).windows
    return window if window.n else None


async def _found(store: Store, deployment: Deployment, windows: Sequence[int], versions: Sequence[str]) -> Truth:
    stored = await store.model()
    if not stored:
        raise DeploymentError(f"{store.keys.model} is missing: run `python -m streams publish DIR`, or restore Redis")
    lines = await store.ledger()
    try:  # in a thread, for there may be 400 lines, and a server has others to answer meanwhile
        known = await asyncio.to_thread(ledger.decoded, lines)
        return Truth.of(stored, versions, deployment.horizon, known, windows)
    except ledger.LedgerError as error:
        way_out = "use the program that wrote it, or HDEL that field"
        raise DeploymentError(f"{store.keys.ledger}: {error}: {way_out}") from None
    except TruthError as error:
        raise DeploymentError(f"{store.keys.model}: {error}: restore Redis, or publish again") from None
