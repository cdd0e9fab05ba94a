"""What every model promises, as one list of checks, and the models as cases for it: each of PARTS, and the whole.

A case hides what a model sees and learns; a check takes a case and asserts one promise. Data are seeded. A new part
is found here by itself: it needs its plain oracle (plain.ONE), and a line in `told` if it learns something new.
"""

import gc
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import plain
from numpy.typing import NDArray

from models.bound import Upper
from models.cadence import CELLS
from models.clusters import Clusters
from models.features import INPUTS, UNIT, inputs_exact, inputs_many
from models.model import PARTS, Model, Predictions, Role
from models.offers import Offers
from models.rfm import Quintiles
from models.rows import ENTRY, RAW
from models.scales import in_own_scale
from models.segments import Segments
from models.value import REPEATS, SEEN, YEAR, Buying, Value

Array = NDArray[Any]
FIRST, PER_DAY, DAYS = 10_000, 120, 12
HORIZON, USUAL = 30, 36.0
R90 = INPUTS.index("r90")


def raws(n: int, seed: int = 0) -> Array:
    """(n,) plausible RAW rows."""
    rng = np.random.default_rng(seed)
    raw = np.zeros(n, RAW)
    raw["days"] = rng.geometric(0.3, n)
    raw["orders"] = raw["days"] + rng.poisson(0.2, n)
    raw["spend"] = raw["orders"] * rng.lognormal(3.3, 0.8, n) * UNIT - (rng.random(n) < 0.02) * 2_000_000
    raw["tenure"] = rng.integers(1, 500, n)
    raw["recency"] = rng.integers(0, raw["tenure"])
    for name, base, halflife in (
        ("s30", "spend", 30),
        ("s90", "spend", 90),
        ("n30", "orders", 30),
        ("n90", "orders", 90),
    ):
        raw[name] = raw[base] * 0.6 * 2.0 ** (-raw["recency"] / halflife)
    raw["v7"], raw["c7"] = rng.poisson(0.7, n) * rng.random(n), rng.poisson(0.2, n) * rng.random(n)
    mean = np.maximum(raw["spend"], 0) / raw["days"]  # one in ten spends much more again and again
    raw["peak"] = mean * np.where(raw["days"] > 1, rng.uniform(1, 2, n), 1)
    resellers = (rng.random(n) < 0.1) & (raw["days"] > 1)
    for name in ("spend", "peak", "s30", "s90"):
        raw[name][resellers] *= 40
    return raw


def entries(day: int, n: int = PER_DAY) -> Array:
    """(n,) entries of `day`, one in ten a first landmark; labels follow the opening sums."""
    rng = np.random.default_rng(day)
    out = np.zeros(n, ENTRY)
    out["day"], out["open"], out["row"] = day, rng.random(n) > 0.1, np.arange(n)
    out["now"], out["then"] = raws(n, 2 * day), raws(n, 2 * day + 1)
    rate = out["then"]["n90"] * 0.3 + out["then"]["c7"] * 0.4 + 0.02
    out["orders"] = rng.poisson(rate)
    out["label"] = out["orders"] * rng.lognormal(3.3, 0.8, n) * UNIT
    out["then"][out["open"] == 0] = np.zeros((), RAW)
    out["label"][out["open"] == 0], out["orders"][out["open"] == 0] = 0, 0
    return out


def names(n: int = PER_DAY) -> list[str]:
    """Customer ids whose order is not that of the rows."""
    return [hashlib.sha256(str(i).encode()).hexdigest()[:12] for i in range(n)]


def extremes(n: int = 3000) -> Array:
    """(n,) RAW rows of the smallest and the largest numbers that fit, in all mixtures."""
    rng = np.random.default_rng(1)
    raw = np.zeros(n, RAW)
    for name in RAW.names or ():
        kind = RAW[name]
        bounds = np.iinfo(kind) if kind.kind == "i" else np.finfo(kind)
        raw[name] = rng.choice(np.array([bounds.min, -1, 0, 1, 1000, bounds.max], kind), n)
    return raw


def segments() -> Segments:
    return Segments(21.5, 1.75, 2_000_000, sizes=[3, 1, 4, 1, 5, 9, 2])


def clusters() -> Clusters:
    """Four whose numbers have a gap, as after a retrain."""
    centres = [[-1.0, 1.0, 1.2], [0.8, -0.7, -0.9], [0.3, 0.5, 0.4], [-0.6, -0.5, 0.1]]
    told = ["the best", "gone", "often here", "just come"]
    return Clusters(centres, [0.4, 1.1, 4.1], [1.3, 0.5, 1.0], 21.5, [0, 1, 2, 5], told, [1, 2, 3, 4])


@dataclass(frozen=True)
class Case:
    """A model and how to drive it: `learn(model, i)` is its i-th day; `one` and `many` predict, a column a number."""

    name: str
    make: Callable[[], Any]
    learn: Callable[[Any, int], None]
    one: Callable[[Any, Any], tuple[float, ...]]
    many: Callable[[Any, Array], tuple[Array, ...]]
    restore: Callable[[Any], Any]

    def taught(self, days: int = DAYS) -> Any:
        """The model after so many days."""
        model = self.make()
        for i in range(days):
            self.learn(model, i)
        return model

    def bits(self, model: Any) -> bytes:
        """Predictions for 500 customers, every bit of them."""
        return b"".join(np.asarray(column).tobytes() for column in self.many(model, raws(500, 99)))

    def state(self, model: Any) -> str:
        """The snapshot as text; equal texts are equal bits."""
        return json.dumps(model.snapshot(), sort_keys=True, allow_nan=False)


def _closed(i: int) -> Array:
    day = entries(FIRST + 1 + i)
    closed: Array = day[day["open"] == 1]
    return closed


def valued() -> Value:
    """A value that looks ahead by all of its experts; its tables are of a plausible shop, to two places, and its level
    has no end in decimals."""
    x, seen = np.meshgrid(REPEATS, SEEN, indexing="ij")
    near, far = (np.log((0.6 + x) * days / (60 + seen + days / 2)).round(2) for days in (HORIZON, YEAR))
    buying = Buying(0.6, 60.0, 0.6, 1.5, near, far)
    weights, chain = (0.3, 0.4, 0.3), np.linspace(0.1, 9, CELLS)
    return Value(HORIZON, USUAL, 700.0, chain=chain, buying=buying, weights=weights, level=20 / 21)


def untaught(closed: Array | None = None) -> Model:
    """A model as of FIRST with scales, bins, quintiles and offers that has learned nothing."""
    closed = _closed(-1) if closed is None else closed
    spent, orders = closed["label"] / UNIT, closed["orders"].astype(np.float64)
    made = Model.create(FIRST, spent, orders, USUAL, segments(), clusters(), HORIZON)
    made.upper = Upper.create(inputs_exact(raws(1000), HORIZON, USUAL)[:, R90])
    made.value = valued()
    made.rfm, made.offers = Quintiles.fit(raws(1000)), Offers({"tea": ["pot", "cup"], "pot": []})
    return made


WITNESS = untaught()  # whose predictions the parts see that see another's


def told(i: int) -> dict[str, Any]:
    """What the i-th day tells the parts."""
    return WITNESS.told(_closed(i)) | {"standing": entries(FIRST + 1 + i)["now"]}


def _shelf(raw: Array) -> list[str]:
    """A product for each customer, offered or not."""
    return [("tea", "pot", "cup", "jam")[orders % 4] for orders in raw["orders"].tolist()]


def _seen(role: Role, raw: Array) -> list[Any]:
    """What such a part sees of these customers; offers, which give no column, are asked for codes of products."""
    if not role.gives:
        return [_shelf(raw)]
    mine, _ = in_own_scale(raw, USUAL)
    said = WITNESS._said({"raw": raw, "own": mine, "inputs": inputs_many(mine, HORIZON, USUAL)}, PARTS)
    return [said[each] for each in role.sees]


def _seen_one(role: Role, raw: Any) -> list[Any]:
    """What it sees of one customer."""
    if not role.gives:
        return [_shelf(np.array([raw], RAW))[0]]
    said = plain.said(WITNESS, raw)
    return [said[each] for each in role.sees]


def _columns(role: Role, found: Any) -> tuple[Any, ...]:
    return tuple(found) if len(role.gives) > 1 else (found,)


def _part(name: str) -> Case:
    role, one = PARTS[name], plain.ONE[name]

    def learn(part: Any, i: int) -> None:
        if role.learns:
            day = told(i)
            part.learn_many(*(day[each] for each in role.learns))

    def many(part: Any, raw: Array) -> tuple[Array, ...]:
        predict = part.predict_many if role.gives else part.codes
        return _columns(role, predict(*_seen(role, raw)))

    return Case(
        name,
        lambda: getattr(untaught(), name),
        learn,
        lambda part, raw: _columns(role, one(part, *_seen_one(role, raw))),
        many,
        role.restore,
    )


def _learn_day(model: Model, i: int) -> None:
    day = FIRST + 1 + i
    position = dict(zip(names(), range(PER_DAY), strict=True))
    arrived = list(set(names()))  # in an order that differs between hash seeds
    model.learn_day(day, arrived, entries(day)[[position[name] for name in arrived]])


def _predict_one(model: Model, raw: Any) -> tuple[float, ...]:
    said = plain.served(model, raw)
    return tuple(said[column] for column in Predictions._fields)


CASES = (
    *map(_part, PARTS),
    Case("model", untaught, _learn_day, _predict_one, lambda model, raw: tuple(model.predict_many(raw)), Model.restore),
)


def predicting_changes_nothing(case: Case) -> None:
    for model in (case.make(), case.taught()):
        before, raw = case.state(model), raws(50, 3)
        case.many(model, raw)
        for each in raw.tolist():
            case.one(model, each)
        assert case.state(model) == before


def works_before_it_learned(case: Case) -> None:
    columns = case.many(case.make(), raws(100))
    assert all(len(column) == 100 and np.isfinite(column).all() for column in columns)
    assert all(len(column) == 0 for column in case.many(case.make(), raws(0)))


def restored_predicts_and_learns_the_same_bits(case: Case) -> None:
    model = case.make()
    for i in range(DAYS):
        restored = case.restore(json.loads(case.state(model)))
        assert case.bits(restored) == case.bits(model)
        case.learn(model, i)
        case.learn(restored, i)
        assert case.state(restored) == case.state(model)


def a_snapshot_is_a_copy(case: Case) -> None:
    model = case.taught(2)
    state = model.snapshot()
    text = json.dumps(state, sort_keys=True)
    case.learn(model, 2)
    assert json.dumps(state, sort_keys=True) == text


def many_equals_one_by_one(case: Case) -> None:
    for model in (case.make(), case.taught()):
        for raw in (raws(500, 5), extremes(500)):
            many = zip(*(column.tolist() for column in case.many(model, raw)), strict=True)
            for fast, each in zip(many, raw.tolist(), strict=True):
                np.testing.assert_allclose(fast, case.one(model, each), rtol=1e-12, atol=1e-12)


def outputs_are_finite_and_not_negative(case: Case) -> None:
    for model in (case.make(), case.taught()):
        for column in case.many(model, extremes()):
            assert np.isfinite(column).all()
            assert column.min() >= 0


def same_under_two_hash_seeds(case: Case) -> None:
    assert _digests("1")[case.name] == _digests("2")[case.name] == digest(case)


def memory_is_bounded(case: Case) -> None:
    """What the libraries keep of small blocks grows to some 35 kB and stays there; a day's inputs alone are 16 kB."""
    model = case.taught()
    size = len(case.state(model))
    tracemalloc.start()
    try:
        for i in range(DAYS, DAYS + 20):
            case.learn(model, i)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for i in range(DAYS + 20, DAYS + 60):
            case.learn(model, i)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 40_000
    finally:
        tracemalloc.stop()
    assert len(case.state(model)) < 1.5 * size + 1000


CHECKS: tuple[Callable[[Case], None], ...] = (
    predicting_changes_nothing,
    works_before_it_learned,
    restored_predicts_and_learns_the_same_bits,
    a_snapshot_is_a_copy,
    many_equals_one_by_one,
    outputs_are_finite_and_not_negative,
    same_under_two_hash_seeds,
    memory_is_bounded,
)


def digest(case: Case) -> str:
    """The taught model's snapshot and predictions as one hash."""
    model = case.taught()
    return hashlib.sha256(case.state(model).encode() + case.bits(model)).hexdigest()


@cache
def _digests(seed: str) -> dict[str, str]:
    """The digest of every case, as a process of this hash seed finds it."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent)])
    code = "import json, checks; print(json.dumps({case.name: checks.digest(case) for case in checks.CASES}))"
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
