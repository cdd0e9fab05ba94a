"""Why a customer's predicted demand is what it is, as the model that serves explains it (models/why.py).

The rule: state, guard, hash and the serving version are read at one moment, so that they speak of the same customer,
and the parts add up to what that hash says. The model is loaded when somebody first asks, off the loop, and kept while
it serves: who never asks pays nothing for it.
"""

import asyncio
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from streams.crm.records import ContractError
from streams.keys import Keys

if TYPE_CHECKING:
    from models.model import Model

EPOCH = date(1970, 1, 1)
TRIES = 5  # the serving document may be gone when it is read, for the next one serves


@dataclass(frozen=True, kw_only=True)
class Part:
    """expert: `r90`, `r30`, `ridge`, `cadence`, or `published`; input: by what it says so (docs/models.md); amount: in
    major units, below 0 where it takes off; says: the fact behind it."""

    expert: str
    input: str
    amount: Decimal
    says: str


@dataclass(frozen=True, kw_only=True)
class Why:
    """predicted_demand: what the hash says, the sum of all parts; total: what the serving model says of the customer
    now, the sum of all but `not_yet`; model_version: the one that serves; as_of: the midnight as of which it looks at
    the customer; words: the largest reasons in sentences, the largest first. Money is in major units."""

    customer_id: str
    predicted_demand: Decimal
    total: Decimal
    demand_horizon_days: int
    model_version: str
    as_of: date
    words: list[str]
    parts: list[Part]


class Seen(NamedTuple):
    """What stood in Redis at one moment: the packed state, the day its partition was swept to, the version that serves,
    and of the hash the predicted demand."""

    state: bytes
    swept_to: int
    version: str
    demand: str


class Reasons:
    """Of one deployment. redis: an asyncio client that gives bytes."""

    def __init__(self, redis: Any, keys: Keys) -> None:
        self.redis, self.keys = redis, keys
        self._served: tuple[str, Model] | None = None

    async def of(self, customer_id: str, partition: int) -> Why | None:
        """Why the demand of a customer, whose partition this is, is what it is; None for who is not known.

        Raises ContractError where what stands in Redis is not whole, or of another program; redis.RedisError.
        """
        for _ in range(TRIES):
            seen = await self._look(customer_id, partition)
            if seen is None:
                return None
            if (model := await self._model(seen.version)) is not None:
                return await asyncio.to_thread(explained, customer_id, seen, model)
        raise ContractError(f"{self.keys.model}: the version that serves is not in Redis: run `streams publish DIR`")

    async def _look(self, customer_id: str, partition: int) -> Seen | None:
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hget(self.keys.customer(customer_id), "predicted_demand")
            pipe.hget(self.keys.state(partition), customer_id).hget(self.keys.guard(partition), "swept_to")
            pipe.hget(self.keys.model, "version")
            demand, state, swept_to, version = await pipe.execute()
        if demand is None:
            return None
        if None in (state, swept_to, version):
            raise ContractError(f"customer {customer_id!r} has scores, but no state or no model stands beside them")
        return Seen(state, int(swept_to), version.decode(), demand.decode())

    async def _model(self, version: str) -> "Model | None":
        if self._served is None or self._served[0] != version:
            document = await self.redis.get(self.keys.version(version))
            if document is None:
                return None
            self._served = version, await asyncio.to_thread(_read, document, self.keys.version(version))
        return self._served[1]


def explained(customer_id: str, seen: Seen, model: "Model") -> Why:
    """The answer about one customer. Raises ContractError for a state of a newer program."""
    import numpy as np

    from models import why
    from models.customers import observed
    from models.rows import DAY, UnknownForm, load_rows

    try:
        rows = load_rows([seen.state])
    except UnknownForm as error:
        raise ContractError(f"customer {customer_id!r}: {error}") from None
    raw = observed(rows, np.arange(1), seen.swept_to)
    published = why.cents(seen.demand)
    (parts,) = why.parts(model, raw, [published])
    gap = sum(part.cents for part in parts if (part.expert, part.input) == why.NOT_YET)
    return Why(
        customer_id=customer_id,
        predicted_demand=_amount(published),
        total=_amount(published - gap),
        demand_horizon_days=model.horizon,
        model_version=seen.version,
        as_of=EPOCH + timedelta(int(rows["first"][0] // DAY + raw["tenure"][0])),
        words=why.words(parts),
        parts=[Part(expert=p.expert, input=p.input, amount=_amount(p.cents), says=p.says) for p in parts],
    )


def _read(document: bytes, key: str) -> "Model":
    from models import artefact

    try:
        return artefact.decode(document).restored()
    except artefact.ArtefactError as error:
        raise ContractError(f"{key}: {error}") from None


def _amount(cents: int) -> Decimal:
    return Decimal(f"{cents}e-2")  # exact, whatever it is
