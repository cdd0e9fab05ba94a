"""The ledger: a line a day that adds up to what its examples say, and what is read out of lines."""

import json
from typing import Any

import checks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from benchmarks.served import experts
from models import ledger, truth
from models.artefact import Artefact
from models.features import INPUTS, UNIT, inputs_many
from models.judge import PER_OCTAVE, judge, step_of
from models.ledger import Line, Steps, added, sums
from models.model import Closed, Model
from models.rows import ENTRY
from models.truth import Truth, TruthError
from offline.demand import metrics

DAY = checks.FIRST + 1


def day_of(n: int, seed: int, model: Model) -> Any:
    """n entries that close as if this model had served their openings, but for some that none, or an older program
    did, which promised a demand alone."""
    rng = np.random.default_rng(seed)
    found = checks.entries(seed, n)
    found["day"] = model.day + 1
    told = model.predict_many(found["then"])
    for name in ("demand", "high", "p_buy"):
        found[f"open_{name}"] = getattr(told, name) * rng.lognormal(0, 0.3, n)
    found["open_p_buy"] = np.minimum(found["open_p_buy"], 1)
    found["open_version"] = rng.random(n) < 0.9
    found["open_high"][rng.random(n) < 0.1] = -1
    found["label"][rng.random(n) < 0.1] = 4_321  # less than one major unit
    return found


def told(model: Model, entries: Any) -> dict[str, Any]:
    """What each says of the openings that were served, by the model before it learns the day."""
    said = {name.removeprefix("expert "): column for name, column in experts(model, entries["then"]).items()}
    own = inputs_many(entries["then"], model.horizon, model.usual)[:, INPUTS.index("own")]
    served = entries["open_demand"].astype(np.float64)
    return {"served": served, **said, "own_rate": own, "zero": np.zeros(len(entries))}


def learned(sizes: list[int], seed: int) -> tuple[list[Line], Any, dict[str, Any], Model]:
    """The lines of days with so many entries; the examples that were served on them, and what each said of these."""
    model, lines, served, said = checks.untaught(), [], [], []
    for i, n in enumerate(sizes):
        entries = day_of(n, seed + i, model)
        mine = entries[(entries["open"] == 1) & (entries["open_version"] > 0)]
        served.append(mine)
        said.append(told(model, mine))
        lines.append(judge(model, model.learn_day(model.day + 1, checks.names(n), entries)))
    together = {name: np.concatenate([each[name] for each in said]) for name in said[0]}
    return lines, np.concatenate(served), together, model


# ---- what lines add up to --------------------------------------------------------------------------------------------
@settings(max_examples=15)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=5), st.integers(0, 10_000))
def test_the_sums_over_days_are_the_figures_of_their_examples(sizes: list[int], seed: int) -> None:
    """Mutations caught: examples judged that nobody served; high below 0 taken for a bound; p_buy of these in Brier;
    what the experts say after the day was learned; a deviance without its floor, or of whom spent up to one unit."""
    lines, entries, said, model = learned(sizes, seed)
    total, y = added(lines), entries["label"] / UNIT
    assert (total.n, total.bought) == (len(entries), int((entries["orders"] > 0).sum()))
    assert total.spent == pytest.approx(y.sum())
    assert [*total.said] == [*said] == ["served", "r90", "r30", "ridge", "cadence", "own_rate", "zero"]
    promised = entries[entries["open_high"] >= 0]
    bought = promised["orders"] > 0
    assert total.brier == pytest.approx(np.square(promised["open_p_buy"] - bought).sum())
    steps = total.said["served"].steps
    assert sum(steps.held) == (promised["label"] / UNIT <= promised["open_high"]).sum()
    assert sum(steps.held) + sum(steps.broken) == len(promised)
    if not len(y):
        return
    table = metrics.compare(y, said, model.floor)
    for name in said:
        found = truth.figures(total, name)
        assert found.mae == pytest.approx(table.mae[name])
        assert found.deviance == pytest.approx(table.deviance[name])
        assert found.bias == pytest.approx(table.bias[name], nan_ok=True) or not y.any()


def test_what_closed_without_a_promise_is_counted_and_left_out() -> None:
    model = checks.untaught()
    entries = day_of(100, 1, model)
    closed = entries[entries["open"] == 1]
    line = judge(model, model.learn_day(DAY, checks.names(100), entries))
    assert line.left_out == (closed["open_version"] == 0).sum() > 0
    assert line.n + line.left_out == len(closed) < 100


def test_a_bound_holds_what_is_spent_up_to_it() -> None:
    """Mutation caught: < for <=: where nothing is expected and nothing came, no bound would hold."""
    model, entries = checks.untaught(), np.zeros(4, ENTRY)
    entries["label"], entries["open_high"], entries["open_version"] = [0, 5_000, 5_001, 0], [0, 0.5, 0.5, -1], 1
    steps = judge(model, Closed(entries, model.told(entries))).said["served"].steps
    assert (steps.held, steps.broken) == ([2], [1])


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-3, 9)), min_size=2, max_size=60))
def test_amounts_of_a_step_each_rank_as_they_are(pairs: list[tuple[int, int]]) -> None:
    """Mutations caught: ascending steps; ties counted in their order; the diagonal off by one."""
    middle = [2 ** ((2 * k + 1) / (2 * PER_OCTAVE)) for k in range(-3, 41)]  # of steps: none shares one with another
    y, p = (np.array([round(middle[each + 3] * UNIT) for each in column]) for column in zip(*pairs, strict=True))
    y[::3] = 0
    found = truth.ngini(steps(p / UNIT, y), steps(y / UNIT, y))
    assert found == pytest.approx(metrics.ngini(y, p)) if np.ptp(y) else found is None


def steps(amounts: Any, spent: Any) -> Steps:
    at, place = np.unique(step_of(amounts), return_inverse=True)
    return Steps(at.tolist(), sums(place, np.ones_like(spent), len(at)), sums(place, spent, len(at)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("prices", [False, True])
def test_a_window_tells_ranks_and_the_top_nearly_as_its_examples_do(seed: int, prices: bool) -> None:
    """Mutation caught: two steps to a doubling. prices: what is spent is one of few prices."""
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(0, 2, 5_000)
    money = rng.choice([9.99, 19.99, 49.0], 5_000) if prices else rng.gamma(1, mean)
    y = np.round(np.where(rng.random(5_000) < mean / (1 + mean), money, 0) * UNIT).astype(np.int64)
    p, high = mean * rng.lognormal(0, 0.5, 5_000), mean * rng.lognormal(1, 0.5, 5_000)
    assert truth.ngini(steps(p, y), steps(y / UNIT, y)) == pytest.approx(metrics.ngini(y, p), abs=0.002)
    at, place = np.unique(step_of(p), return_inverse=True)
    kept = y / UNIT <= high
    table = Steps(at.tolist(), [], [], *(sums(place, each.astype(np.int64), len(at)) for each in (kept, ~kept)))
    for share in truth.SHARES.values():
        top = np.argsort(-p)[: round(share * len(p))]
        assert truth.held(table, share) == pytest.approx(kept[top].mean(), abs=0.02)


def test_lines_add_up_in_any_parts() -> None:
    lines, *_ = learned([40, 0, 30, 50], 7)
    whole, parts = added(lines), added([added(lines[:1]), added(lines[1:3]), lines[3]])
    assert (parts.n, parts.left_out, parts.labels) == (whole.n, whole.left_out, whole.labels)
    for name, said in whole.said.items():
        assert parts.said[name].steps == said.steps
        assert parts.said[name].deviance == pytest.approx(said.deviance)
    steps = [line.said["served"].steps for line in lines]
    assert sum(whole.said["served"].steps.held) == sum(sum(each.held) for each in steps) > 0 == sum(steps[1].held)
    assert whole.weights == lines[-1].weights != lines[0].weights


def test_what_not_every_day_has_is_in_no_sum() -> None:
    """Mutation caught: a prediction that began within the window divided by all of its examples."""
    (first, second), *_ = learned([30, 30], 3)
    more = structs.replace(first, said={**first.said, "median": first.said["zero"]})
    assert [*added([more, second]).said] == [*added([first, structs.replace(more)]).said] == [*first.said]


# ---- what is stored --------------------------------------------------------------------------------------------------
NONE = '"predicted":0.0,"error":0.01,"deviance":0.02,"steps":{"at":[-108],"n":[2],"spent":[100]}'
LINE = (
    '{"n":2,"left_out":1,"spent":0.01,"bought":1,"brier":0.3125,'
    '"labels":{"at":[-108,-54],"n":[1,1],"spent":[0,100]},'
    '"said":{"served":{"predicted":0.25,"error":0.26,"deviance":0.5,'
    '"steps":{"at":[-108,-16],"n":[1,1],"spent":[100,0],"held":[0,1],"broken":[1,0]}},'
    + ",".join(f'"{name}":{{{NONE}}}' for name in ("r90", "r30", "ridge", "cadence", "own_rate", "zero"))
    + '},"weights":{"demand":{"r90":0.25,"r30":0.25,"ridge":0.25,"cadence":0.25},'
    '"orders":{"r90":0.25,"r30":0.25,"ridge":0.25,"cadence":0.25},"p_buy":{"poisson":0.5,"cadence":0.5}}}'
)


def test_a_line_byte_by_byte() -> None:
    """Of three who had bought nothing that is still seen: one spends nothing, one a cent, one was promised nothing."""
    model = checks.untaught()
    model.spend.unit = 1.0
    entries = np.zeros(3, ENTRY)
    entries["label"], entries["orders"], entries["open_version"] = [0, 100, 5], [0, 1, 1], [1, 1, 0]
    entries["open_demand"], entries["open_high"], entries["open_p_buy"] = [0.25, 0, 9], [0.5, 0, 9], [0.25, 0.5, 0]
    line = judge(model, Closed(entries, model.told(entries)))
    assert ledger.encoded(line) == LINE.encode()
    assert ledger.decoded({DAY: LINE.encode()}) == {DAY: line}


@pytest.mark.parametrize("stored", [b"", b"{", b"[]", b'{"n":1}', LINE.encode()[:-1], b"\xff"])
def test_what_is_no_line_is_refused_with_its_day(stored: bytes) -> None:
    with pytest.raises(ledger.LedgerError, match=f"^the line of day {DAY} cannot be read"):
        ledger.decoded({DAY - 1: LINE.encode(), DAY: stored})


def test_a_line_with_fields_more_is_read() -> None:
    newer = json.loads(LINE) | {"added": 1}
    assert ledger.decoded({DAY: json.dumps(newer).encode()}) == ledger.decoded({DAY: LINE.encode()})


def test_the_same_examples_in_any_order_give_the_same_bytes() -> None:
    """Mutation caught: entries judged in the order in which they came."""
    names, entries = checks.names(80), day_of(80, 5, checks.untaught())
    order = np.random.default_rng(0).permutation(80)
    found = []
    for mine, ids in ((entries, names), (entries[order], [names[i] for i in order])):
        model = checks.untaught()
        found.append(ledger.encoded(judge(model, model.learn_day(DAY, ids, mine))))
    assert found[0] == found[1]
    assert not any(name.encode() in found[0] for name in names)
    assert ledger.decoded({DAY: found[0]})[DAY] == ledger.decoded({DAY: found[1]})[DAY]


# ---- what is read out of lines ---------------------------------------------------------------------------------------
STORED = {"version": "1-19970519-00000000", "day": str(checks.FIRST), "metrics": "{}"}


def weighed(line: Line, r90: float) -> Line:
    """The line of a day that left r90 this weight, and ridge the rest."""
    return structs.replace(line, weights={"demand": {"r90": r90, "ridge": 1 - r90}})


def read(lines: dict[int, Line], day: int, windows: tuple[int, ...] = (30, 90)) -> Truth:
    return Truth.of(STORED | {"day": str(day)}, ["1-a", "1-b"], 30, lines, windows)


def test_windows_end_with_the_day_learned_and_pass_over_days_without_a_line() -> None:
    """Mutations caught: a window that ends with the ledger, where an older model was published since; one day more."""
    line = ledger.decoded({0: LINE.encode()})[0]
    lines = dict.fromkeys((*range(10_000, 10_040), *range(10_045, 10_061)), line)
    found = read(lines, 10_050)
    assert (found.begins, found.learned_through) == ("1997-05-19", "1997-07-08")
    windows = [(each.first, each.last, each.learned, each.n, each.left_out) for each in found.windows]
    assert windows == [("1997-06-09", "1997-07-08", 25, 50, 25), ("1997-04-10", "1997-07-08", 46, 92, 46)]
    assert found.windows[0].demand["served"] == truth.Figures(-1.0, 0.13, 0.25, 25.0)
    assert found.windows[0].held == {"all": 0.5, "top_5": 1.0, "top_1": None}
    assert found.windows[0].brier == 0.15625


@pytest.mark.parametrize(
    ("weights", "r90", "ridge"),
    [
        ([0.5, 0.5], None, None),  # nobody has more than another
        ([0.5, 0.6, 0.7], (1, 2), None),
        ([0.6, 0.4, 0.7, 0.6, 0.3], (2, 3), (4, 4)),
        ([0.6, 0.5, 0.5], (0, 0), None),
    ],
)
def test_who_leads_since_when(weights: list[float], r90: Any, ridge: Any) -> None:
    """Mutations caught: the first stretch in place of the last; who stands first taken for the leader of equals."""
    line = ledger.decoded({0: LINE.encode()})[0]
    found = read({DAY + i: weighed(line, weight) for i, weight in enumerate(weights)}, DAY + len(weights) - 1)
    days = [None if led is None else tuple(truth.iso(DAY + i) for i in led) for led in (r90, ridge)]
    assert [found.experts["demand"][name].led for name in ("r90", "ridge")] == days
    assert found.experts["demand"]["r90"].weight == weights[-1]


def test_whom_the_mix_follows_is_what_the_serving_model_says() -> None:
    """Mutation caught: the weights of a line that a model of before left, though another was published since."""
    line = ledger.decoded({0: LINE.encode()})[0]
    metrics = json.dumps({"weights": {"demand": {"r90": 0.3, "ridge": 0.7}}})
    published = STORED | {"day": str(DAY + 1), "metrics": metrics}
    found = Truth.of(published, ["1-a"], 30, {day: weighed(line, 0.9) for day in (DAY, DAY + 1)})
    assert found.fit == {}
    assert found.experts["demand"] == {
        "r90": truth.Standing(0.3, (truth.iso(DAY), truth.iso(DAY))),
        "ridge": truth.Standing(0.7, (truth.iso(DAY + 1), truth.iso(DAY + 1))),
    }
    weights = Artefact.of(checks.untaught()).figures["weights"]
    assert weights["demand"] == dict.fromkeys(("r90", "r30", "ridge", "cadence"), 0.25)
    assert weights["p_buy"] == {"poisson": 0.5, "cadence": 0.5}


def test_without_a_line_nothing_is_said() -> None:
    found = read({}, DAY)
    assert (found.begins, found.experts) == (None, {})
    assert [(each.n, each.demand["served"], each.brier) for each in found.windows] == [
        (0, truth.Figures(None, None, None, None), None)
    ] * 2


def test_the_document_comes_back_the_same() -> None:
    lines, *_ = learned([40, 30], 2)
    found = read({DAY: lines[0], DAY + 1: lines[1]}, DAY + 1)
    assert Truth.read(found.document()) == found
    for wrong in (b"", b"{}", b"customer_id,amount\n", found.document()[:-9], b"\xff\xfe"):
        with pytest.raises(TruthError, match=r"^not what `streams model --json` writes"):
            Truth.read(wrong)
    with pytest.raises(TruthError, match=r"^of form 2, and this program reads form 1"):
        Truth.read(structs.replace(found, form=2).document())


PLACES: list[tuple[str, Any]] = [  # of a document, and what cannot stand there
    *((f"windows.0.{name}", wrong) for name in ("n", "left_out", "learned", "mean") for wrong in (-5, "5")),
    *((f"windows.0.{name}", wrong) for name in ("bought", "held.all", "brier") for wrong in (7, -0.1, 1e300)),
    *((f"windows.0.{name}", None) for name in ("mean", "bought", "demand.served.mae", "demand.zero.deviance")),
    *((f"windows.1.demand.served.{name}", -1) for name in ("mae", "deviance", "bias")),
    *(("windows.0.days", wrong) for wrong in (0, 31, 10**9, 1.5)),
    *(("windows.0.learned", wrong) for wrong in (31, 500)),
    *(("windows.1.first", wrong) for wrong in ("x", "1997-02-30", "1997-05-20\n", "1997-5-2", "9999-99-99", None)),
    *((name, wrong) for name in ("learned_through", "begins") for wrong in ("x", "1997-13-01", "2100-01-01", 10_000)),
    *(("experts.demand.r90.led", wrong) for wrong in (["x", "y"], ["1997-05-21", "1997-05-20"], ["1997-05-20"])),
    *(("experts.demand.r90.weight", wrong) for wrong in (-0.1, 1.1, None)),
    *((name, wrong) for name in ("serving", "oldest") for wrong in ("a\nb", "\x1b[2J", 7, "x" * 1000)),
    *((name, wrong) for name in ("examples", "versions", "horizon_days") for wrong in (-1, None, 10**40)),
    *(("fit", wrong) for wrong in ({"spend/served": {"mae": -1.0}}, {"spend/served": {"mae": None}})),
    *((name, {"\x1b": wrong}) for name, wrong in (("experts", {}), ("windows.0.demand", None))),
]


@pytest.mark.parametrize(("place", "wrong"), PLACES)
def test_a_document_that_breaks_a_promise_is_refused(place: str, wrong: Any) -> None:
    """Mutation caught: any bound of a record, and any question of what holds together, left out."""
    lines, *_ = learned([40, 30], 2)
    document = json.loads(read({DAY: lines[0], DAY + 1: lines[1]}, DAY + 1).document())
    *inner, last = place.split(".")
    at = document
    for step in inner:
        at = at[int(step)] if isinstance(at, list) else at[step]
    assert last in at
    at[last] = {**at[last], **wrong} if isinstance(wrong, dict) and place != "fit" else wrong
    with pytest.raises(TruthError, match=r"^not what `streams model --json` writes \(") as caught:
        Truth.read(json.dumps(document).encode())
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", [b'{"form":' + b"[" * 3000, b'{"other":' + b'{"a":' * 3000, b"[" * 3000])
def test_a_document_of_any_depth_is_refused(text: bytes) -> None:
    with pytest.raises(TruthError, match=r"^not what `streams model --json` writes \("):
        Truth.read(text)


@settings(max_examples=15)
@given(st.lists(st.integers(0, 60), max_size=5), st.integers(0, 10_000), st.integers(1, 400))
def test_whatever_the_lines_are_their_document_is_read(sizes: list[int], seed: int, days: int) -> None:
    lines = learned(sizes, seed)[0] if sizes else []
    found = read({DAY + i: line for i, line in enumerate(lines)}, DAY + len(lines), (1, days))
    assert Truth.read(found.document()) == found


def test_a_perfect_prediction_has_no_deviance_below_0() -> None:
    """Whatever rounding leaves."""
    line = ledger.decoded({0: LINE.encode()})[0]
    said = {"served": structs.replace(line.said["served"], deviance=-1e-17)}
    assert truth.figures(structs.replace(line, said=said), "served").deviance == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"n":2,"left_out"', '"n":3,"left_out"'), "the steps of labels are not those of its 3 examples"),
        (('"at":[-108,-54]', '"at":[-54,-108]'), "the steps of labels"),
        (('"at":[-108,-54]', '"at":[-108,-108]'), "the steps of labels"),
        (('"held":[0,1],"broken":[1,0]', '"held":[0,1]'), "the steps of served"),
        (('"held":[0,1],"broken":[1,0]', '"held":[1,1],"broken":[1,0]'), "3 had a bound"),
        (('"n":[2],"spent":[100]', '"n":[2],"spent":[100],"held":[2],"broken":[0]'), "the steps of r90"),
        (('"at":[-108],"n":[2],"spent":[100]', '"at":[-108],"n":[2],"spent":[]'), "the steps of r90"),
        (('"spent":[0,100]', '"spent":[0,9223372036854775808]'), "Expected `int` <="),
        (('"bought":1', '"bought":3'), "of its 2 examples 3 bought"),
        (('"brier":0.3125', '"brier":2.5'), "Brier 2.5"),
        (('"served":', '"nobody":'), "nothing was served"),
        (('"error":0.26', '"error":1e308'), "Expected `float` <="),
        (('{"poisson":0.5,"cadence":0.5}', "{}"), "length >= 1"),
        (('"zero":', '"\\u001b[2J":'), "regex"),
        (('"brier":0.3125', '"brier":' + "[" * 3000), ""),
        (('{"n":2', '{"added":' + "[" * 100_000), ""),
    ],
)
def test_a_line_that_does_not_add_up_is_refused(change: tuple[str, str], says: str) -> None:
    assert change[0] in LINE
    with pytest.raises(ledger.LedgerError, match=rf"^the line of day {DAY} cannot be read \(.*{says}") as caught:
        ledger.decoded({DAY: LINE.replace(*change, 1).encode()})
    assert str(caught.value).isprintable()
