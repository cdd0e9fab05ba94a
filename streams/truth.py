"""How true the promises were, asked of Redis: what `model`, `status` and the API tell.

The rule: what is damaged is a line that says what to do, the same one whoever asks.
"""

import asyncio
from collections.abc import Sequence

from models import ledger
from models.truth import Truth, TruthError
from streams.deployment import Deployment, DeploymentError
from streams.store import Store


async def found(store: Store, deployment: Deployment, windows: Sequence[int], versions: Sequence[str] = ()) -> Truth:
    """windows: days; versions: those that are kept, if they are to be told of.

    Raises DeploymentError before the first publish, and for what is damaged.
    """
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
