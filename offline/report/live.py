"""The model as it serves: what `streams model --json` said of it, in the model card."""

import math

import numpy as np
import pandas as pd

from models.ledger import SERVED
from models.truth import Figures, Truth, Window
from offline.report.page import NONE, Shown, heading, paragraph, table

COLUMNS = {"ngini": "nGini", "mae": "MAE", "deviance": "deviance", "bias": "bias"}
PROMISES = {"all": "held: all", "top_5": "top 5 %", "top_1": "top 1 %"}
FORMATS = {"MAE": ",.2f", "deviance": ",.2f", "bias": ".2f", "weight": ".2f", "Brier": ".4f"}
READING = (
    "Of the examples that closed in these days: what was served when they opened, and what came. served mixes r90, r30"
    " (the customer's own rate, decayed over 90 and 30 days), ridge and cadence; r90, r30, own_rate and zero learn"
    " nothing. bias: total predicted over total spent. held: share up to the upper bound, of all and of those with the"
    " highest predictions; .9 is promised. Brier: of the chance to buy."
)


def live(truth: Truth, day: int) -> Shown:
    """A table of weights, and one of figures for each window in which something closed. day: midnight at which the
    history ends, days since the epoch; said where the truth ends elsewhere."""
    html = heading("Live") + paragraph(
        f"Version {truth.serving}, learned through {truth.learned_through} on {truth.examples:,} examples; truth by day"
        f" from {truth.begins or 'the next day'} on. {READING}"
    )
    apart = (np.datetime64(truth.learned_through) - np.datetime64(day, "D")).astype(int)
    elsewhere = (
        [f"The truth ends {abs(apart)} days {'behind' if apart > 0 else 'before'} the history: is it of this shop?"]
        if abs(apart) > truth.horizon_days
        else []
    )
    html += "".join(map(paragraph, elsewhere))
    for target, experts in truth.experts.items():
        rows = {name: (each.weight, *(each.led or ("-", "-"))) for name, each in experts.items()}
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=["weight", "led from", "to"])
        html += table(frame.rename_axis("expert"), f"Whom the mix follows: {target}", FORMATS)
    seen = [window for window in truth.windows if window.n]
    html += "".join(
        table(_figures(each, truth.promised_in(each)), _caption(each, truth), FORMATS, SERVED) for each in seen
    )
    if not seen:
        return Shown(html + paragraph("No example closed in these days yet."), elsewhere)
    return Shown(html, [_sentence(seen[0]), *elsewhere])


def _caption(window: Window, truth: Truth) -> str:
    others = f"; {told}" if (told := truth.by_others(window)) else ""
    left_out = f"; {window.left_out:,} more opened without a model" if window.left_out else ""
    return (
        f"Live, {window.days} days to {window.last} ({window.learned} with truth): {window.n:,} examples, mean"
        f" {window.mean:,.2f}, {window.bought:.1%} bought{left_out}{others}"
    )


def _figures(window: Window, promised: Figures | None) -> pd.DataFrame:
    """A row for each who says a demand, the last one what the fit found; what is undefined, or not said, is NaN."""
    rows = window.demand | ({"the fit's": promised} if promised else {})
    said = {name: {shown: _float(getattr(each, of)) for of, shown in COLUMNS.items()} for name, each in rows.items()}
    table = pd.DataFrame.from_dict(said, orient="index").rename_axis("demand by")
    for of, shown in PROMISES.items():
        table.loc[SERVED, shown] = _float(window.held[of])
    table.loc[SERVED, "Brier"] = _float(window.brier)
    return table


def _float(value: float | None) -> float:
    return math.nan if value is None else value


def _sentence(window: Window) -> str:
    found = sorted((_float(each.deviance), name.replace("_", " ")) for name, each in window.demand.items())
    bias, held = _told(window.demand[SERVED].bias, ".2f"), _told(window.held["all"], ".0%")
    return (
        f"Live, {window.days} days to {window.last}: predicted over spent {bias}, bound held for {held}; mean Poisson"
        f" deviance, the least first: {', '.join(f'{name} {deviance:,.3f}' for deviance, name in found)}."
    )


def _told(value: float | None, form: str) -> str:
    return NONE if value is None else f"{value:{form}}"
