"""What the product serves, and what it might have: the one place where the benchmark of learning asks the models.

Rule: through the entry points that `offline fit` and a worker use, so what changes within the models changes nothing
else of the benchmark. EXPERTS: whom the served mixes; the best one on a whole log is what it is held against.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.logs import Log
from models import mix, scores
from models.features import INPUTS, UNIT, inputs_many
from models.model import Model
from models.rows import DAY
from models.scales import in_own_scale
from offline.demand import fit
from offline.history.fold import Folded, fold

OWN, R90 = INPUTS.index("own"), INPUTS.index("r90")
BASELINES = ("zero", "last period", "own rate", "90-day rate", "frozen")
EXPERTS = tuple(f"expert {name}" for name in mix.EXPERTS)
Array = NDArray[Any]


def fitted(log: Log, day: int) -> tuple[Model, Folded]:
    """What `offline fit` makes of the log before midnight `day`, and everybody as of there."""
    folded = fold(log.before(day), day)
    return fit.run(folded).model, folded


def baselines(frozen: Model, raw: Array) -> dict[str, Array]:
    """Of customers (n,) of RAW: the demand by each of BASELINES, major units. frozen: the model as it was fitted."""
    x = inputs_many(raw, frozen.horizon, 1.0)  # what is taken of them does not hang on a usual purchase day
    demand = np.zeros(len(raw)), np.maximum(0, raw["window"]) / UNIT, x[:, OWN], x[:, R90]
    return dict(zip(BASELINES, (*demand, frozen.predict_many(raw).demand), strict=True))


def experts(model: Model, raw: Array) -> dict[str, Array]:
    """Of customers (n,) of RAW: the demand by each of EXPERTS, major units."""
    mine, scale = in_own_scale(raw, model.usual)
    x = inputs_many(mine, model.horizon, model.usual)
    said = model.spend_mix.experts(x, model.spend.predict_many(x), model.cadence.predict_many(mine, x).spend)
    return dict(zip(EXPERTS, (said * scale[:, None]).T, strict=True))


def served(model: Model, rows: Array, raw: Array, day: int) -> dict[str, Array]:
    """What a CRM reads of customers, `rows` (n,) of ROW, at midnight `day`, where a model sees them as `raw` (n,).

    online, high, orders, p_buy as they are predicted; wait: days until the next order is expected (inf: beyond a
    year), value: of 12 months, major units, and segment: the business name, out of the texts of the hash.
    """
    predicted = model.predict_many(raw)
    texts = scores.texts(rows, predicted, model.segments.names, model.offers, model.horizon, day, "history")
    hashes = pd.DataFrame(texts, columns=list(scores.FIELDS[: -len(scores.COMMON)]))
    due = hashes["expected_next_order_at"].str.removesuffix("Z").to_numpy(str).astype("datetime64[us]")
    wait = (due.astype(np.int64) - scores.moment(rows, day)) / DAY
    numbers = {"online": predicted.demand, "high": predicted.high, "orders": predicted.orders, "p_buy": predicted.p_buy}
    told = {"value": hashes["customer_value"].to_numpy(np.float64), "segment": hashes["segment"].to_numpy(object)}
    return numbers | {"wait": np.where(np.isnat(due), np.inf, wait)} | told
