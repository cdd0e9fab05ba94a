"""What is to be known of a learning model on one log: whether what it promised each customer came true.

Every function takes what was served and what came and returns figures by name: numbers, lists or counts by name, as
JSON has them. `served` frames have a row a judged example: who (customer_id), opened (day), the demand of each baseline
and of what was served (online), high, orders, p_buy, wait (days), and what came in the horizon: y (spend), n (orders).
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from benchmarks.logs import YEAR, Log
from benchmarks.served import EXPERTS
from models.handover import HORIZON
from models.kinds import PURCHASE
from models.rows import DAY
from offline.demand.metrics import ngini, poisson_deviance
from offline.value.value import spent

Figures = dict[str, Any]
Array = NDArray[Any]
TOPS = (0.01, 0.02, 0.05)
BUYERS = 100  # in a tenth, for the ratio of the predicted to be told
FRESH, LIKELY, SOON = 14, 0.5, 90  # days since a first purchase; p_buy; days
LATE = 15  # days after a change from which on its windows are judged
GONE = ("At risk", "Lost")


def tenths(by: ArrayLike, **columns: ArrayLike) -> pd.DataFrame:
    """Sums of the columns by tenth of `by`, 0 (least) to 9; equal ones in the order given."""
    rank = pd.Series(np.asarray(by)).rank(method="first")
    return pd.DataFrame(columns).groupby(pd.qcut(rank, 10, labels=False).to_numpy()).sum()


def demand(served: pd.DataFrame, log: Log, floor: float) -> Figures:
    """nGini and deviance of the served and of the baselines; over the best single expert, whole log; and over the
    90-day rate in the worst 30 days of openings after a change."""
    told = {"served": "online", "r90": "90-day rate", "own": "own rate"}
    deviance = {name: poisson_deviance(served.y, served[name], floor) for name in {*told.values(), *EXPERTS}}
    found: Figures = {"examples": len(served)}
    found |= {f"nGini {name}": ngini(served.y, served[column]) for name, column in told.items()}
    found |= {f"deviance {name}": deviance[column] for name, column in told.items()}
    found["served / best expert"] = deviance["online"] / min(deviance[name] for name in EXPERTS)
    return found | {"worst 30 days / r90": worst(served, log, floor)}


def worst(served: pd.DataFrame, log: Log, floor: float) -> float | None:
    """None for a log without a change."""
    if log.change is None:
        return None
    found = []
    for start in range(log.change + LATE, log.end - 2 * HORIZON + 2):
        window = served[(served.opened >= start) & (served.opened < start + HORIZON)]
        online, r90 = (poisson_deviance(window.y, window[name], floor) for name in ("online", "90-day rate"))
        found.append(online / r90)
    return max(found)


def bound(served: pd.DataFrame) -> Figures:
    """P(label <= high) in the top of the predictions, and in their tenths 8, 9 and 10."""
    inside = (served.y <= served.high + 1e-9).to_numpy()
    n, rank = len(served), np.argsort(np.argsort(served.online.to_numpy(), kind="stable"))
    found: Figures = {f"top {top:.0%}": float(inside[rank >= min(n * (1 - top), n - 1)].mean()) for top in TOPS}
    sums = tenths(served.online, inside=inside, n=np.ones(n))
    return found | {"deciles 8-10": (sums.inside / sums.n).tolist()[7:]}


def chances(served: pd.DataFrame, log: Log) -> Figures:
    """p_buy over the share of buyers by tenth, where there are BUYERS; how often it is above the expected orders; and
    the median error in days of the next order where it is LIKELY. Who does not come again counts as endlessly wrong."""
    sums = tenths(served.p_buy, p=served.p_buy, bought=served.n > 0)
    ratio, likely = (sums.p / sums.bought)[sums.bought >= BUYERS], served[served.p_buy >= LIKELY]
    came = awaited(likely, log)
    off = np.abs(likely.wait.to_numpy() - came)
    return {
        "p_buy / bought by decile": ratio.tolist(),
        "p_buy above orders": float((served.p_buy > served.orders + 1e-9).mean()),
        "likely": len(likely) / len(served),
        "next order off, days": _median(off),
        f"of who came in {SOON} days": _median(off[came <= SOON]),
    }


def awaited(served: pd.DataFrame, log: Log) -> Array:
    """(n,) days from each opening to the customer's next order in the log; inf: none."""
    orders = log.frame.loc[log.frame["kind"] == PURCHASE, ["customer_id", "occurred_at"]]
    openings = {"customer_id": served.who, "occurred_at": served.opened * DAY}
    asked = pd.DataFrame(openings | {"asked": np.arange(len(served))})
    orders = orders.assign(next=orders["occurred_at"]).sort_values("occurred_at")
    found = pd.merge_asof(
        asked.sort_values("occurred_at"), orders, on="occurred_at", by="customer_id", direction="forward"
    ).sort_values("asked")
    wait = (found["next"] - found["occurred_at"]) / DAY
    return wait.fillna(np.inf).to_numpy()


def names(standing: dict[int, pd.DataFrame], log: Log) -> Figures:
    """Names that the history contradicts: what a first purchase of at most FRESH days is called, and who is called
    GONE before the own mean gap has passed. standing: at a midnight everybody's `who` and `segment`."""
    first: dict[str, int] = {}
    looked = gone = 0
    for day, everybody in standing.items():
        dates = _dates(log, day).reindex(everybody["who"])
        silence, called = day - dates["last"].to_numpy(), everybody["segment"].to_numpy()
        n, span = dates["days"].to_numpy(), (dates["last"] - dates["first"]).to_numpy()
        for name in called[(n == 1) & (silence <= FRESH)].tolist():
            first[name] = first.get(name, 0) + 1
        gone += int((np.isin(called, GONE) & (n > 1) & (silence <= span / np.maximum(n - 1, 1))).sum())
        looked += len(everybody)
    others = sum(count for name, count in first.items() if name != "New")
    return {"customers": looked, "first purchases": first, "not New": others, "gone within own gap": gone}


def _dates(log: Log, day: int) -> pd.DataFrame:
    """Of who bought before midnight `day`: number of purchase days, the first and the last of them."""
    before = log.before(day)
    bought = before[before["kind"] == PURCHASE]
    dates = (bought["occurred_at"] // DAY).groupby(bought["customer_id"]).agg(["nunique", "min", "max"])
    return dates.set_axis(["days", "first", "last"], axis=1)


def valued(log: Log) -> int | None:
    """The midnight at which the value of 12 months is judged; None: no year before it, or a change within."""
    cut = log.end - YEAR
    return cut if log.change is None and cut - YEAR >= log.frame["occurred_at"].iloc[0] // DAY else None


def value(customers: list[str], predicted: Array, log: Log, cut: int) -> Figures:
    """Predicted over what came in 12 months, in all and by tenths 6 to 10 of the prediction."""
    came = spent(log.frame, pd.Index(customers), cut, YEAR).to_numpy()
    sums = tenths(predicted, p=predicted, came=came)
    return {"customers": len(came), "total": float(predicted.sum() / came.sum())} | {
        "deciles 6-10": (sums.p / sums.came).tolist()[5:]
    }


def _median(off: Array) -> float | None:
    """None of nobody, or endless."""
    middle = float(np.median(off)) if len(off) else np.inf
    return middle if np.isfinite(middle) else None


# ---- as text ---------------------------------------------------------------------------------------------------------
TITLES = {
    "demand": "demand of the horizon, of each example as it opened",
    "bound": "P(label <= high) in the top of the predictions",
    "chances": "p_buy, and the next order of those with p_buy of .5 or more",
    "names": "names of everybody at the cut and at the end",
    "value": "value of 12 months: predicted / came",
}


def shown(found: dict[str, dict[str, Figures]]) -> str:
    """The figures of logs, by name and by table, as tables with a line a log."""
    tables = dict.fromkeys(table for each in found.values() for table in each)
    return "\n\n".join(f"{TITLES[table]}\n{_table(table, found)}" for table in tables)


def _table(name: str, found: dict[str, dict[str, Figures]]) -> str:
    lines = {log: each[name] for log, each in found.items() if name in each}
    return pd.DataFrame({log: {k: _text(v) for k, v in line.items()} for log, line in lines.items()}).T.to_string()


def _text(figure: Any) -> str:
    match figure:
        case None:
            return "-"
        case dict():
            return ", ".join(f"{name} {count}" for name, count in figure.items()) or "-"
        case list():
            return " ".join(f"{each:.2f}" for each in figure) or "-"
        case float():
            return f"{figure:.4g}" if figure < 10_000 else f"{figure:,.0f}"
    return f"{figure:,}"
