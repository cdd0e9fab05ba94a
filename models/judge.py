"""The day's line of the ledger, from the examples that it closed.

Rules. Judged is what was served when an example opened, as it was published. Beside it, of the same opening: what the
experts of the model of the day before say, the customer's own rate, and nothing. An example that opened without a
serving model was promised nothing: it is counted and left out. The same examples in any order give the same bytes.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.features import INPUTS, UNIT
from models.ledger import OWN, SERVED, ZERO, Ints, Line, Said, Steps, sums
from models.mix import EXPERTS
from models.model import WEIGHED, Closed, Entries, Model, Told, weights

PER_OCTAVE = 8  # steps to each doubling of an amount
NOTHING = int(np.floor(PER_OCTAVE * np.log2(1 / UNIT))) - 1  # the step of less than the least that money can be

Floats = NDArray[np.float64]


def judge(model: Model, closed: Closed) -> Line:
    """The line of a day. closed: what `learn_day` answered; model: as that day left it."""
    served = closed.entries["open_version"] > 0
    entries, told = closed.entries[served], {name: column[served] for name, column in closed.told.items()}
    spent, high = entries["label"], entries["open_high"].astype(np.float64)
    bound = high >= 0  # an example of a form of before has none, nor a chance
    held = bound & (spent / UNIT <= high)
    promised = {"held": held.astype(np.int64), "broken": (bound & ~held).astype(np.int64)}
    missed = (entries["open_p_buy"].astype(np.float64) - told["bought"])[bound]
    predictions = _predictions(model, entries, told)
    return Line(
        n=len(entries),
        left_out=int((~served).sum()),
        spent=int(spent.sum()) / UNIT,
        bought=int(told["bought"].sum()),
        brier=float(np.square(missed).sum()),
        labels=_steps(spent / UNIT, spent),
        said={
            name: _said(said, spent, model.floor, promised if name == SERVED else None)
            for name, said in predictions.items()
        },
        weights=weights({part: getattr(model, part).snapshot() for part, _ in WEIGHED.values()}),
    )


def step_of(amounts: Floats) -> Ints:
    """(n,) numbers of the steps of amounts >= 0, major units.

    >>> step_of(np.array([0.0, 0.0001, 1.0, 1.05, 1.1, 2.0])).tolist()
    [-108, -107, 0, 0, 1, 8]
    """
    least = 1 / UNIT
    steps = np.floor(PER_OCTAVE * np.log2(np.maximum(amounts, least))).astype(np.int64)
    return np.where(amounts < least, NOTHING, steps)


def _predictions(model: Model, entries: Entries, told: Told) -> dict[str, Floats]:
    """Of each example (n,), by who says it, major units."""
    x, scale = told["inputs"], told["scale"]
    experts = model.spend_mix.experts(x, told["spend_ridge"], told["spend_cadence"]) * scale[:, None]
    return {
        SERVED: entries["open_demand"].astype(np.float64),
        **dict(zip(EXPERTS, experts.T, strict=True)),
        OWN: x[:, INPUTS.index("own")] * scale,
        ZERO: np.zeros(len(x)),
    }


def _said(said: Floats, spent: Ints, floor: float, promised: Mapping[str, Ints] | None) -> Said:
    label, raised = spent / UNIT, np.maximum(said, floor)
    logs = np.log(np.where(label > 0, label, raised) / raised)
    return Said(
        predicted=float(said.sum()),
        error=float(np.abs(label - said).sum()),
        deviance=float(2 * (label * logs - label + raised).sum()),
        steps=_steps(said, spent, promised),
    )


def _steps(amounts: Floats, spent: Ints, promised: Mapping[str, Ints] | None = None) -> Steps:
    at, place = np.unique(step_of(amounts), return_inverse=True)
    columns = {"n": np.ones(len(spent), np.int64), "spent": spent, **(promised or {})}
    return Steps(at.tolist(), **{name: sums(place, each, len(at)) for name, each in columns.items()})
