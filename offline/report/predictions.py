"""The sections about demand and value: predictions beside what came."""

import numpy as np
import pandas as pd

from models.bound import QUANTILE
from offline.demand.evaluate import SERVED, Evaluation
from offline.report import plots
from offline.report.mining import Demand
from offline.report.page import Shown, date, details, figure, figures, heading, items, paragraph, table
from offline.value.value import SHORTEST, Judged, Valued

BASELINE = "decayed_rate"  # that is shown beside
READING = (
    "mae, rmse, wape: sizes of errors; deviance: of expectations (Poisson); less is better. spearman, ngini, top_share"
    " (of what came, the share of the tenth predicted highest): the ranking; more is better. bias: total predicted over"
    " total actual; 1 is right. Spread: largest less smallest over the cuts; smaller differences mean little."
)


def demand(found: Demand) -> Shown:
    spend, orders = found.judged["spend"], found.judged["orders"]
    html = paragraph(
        f"Every way to predict is judged on time it has not seen, after each of these cuts:"
        f" {', '.join(map(date, spend.cuts))}. {READING}"
    )
    if found.left_out:
        html += paragraph(f"Left out, for they take minutes: {' and '.join(found.left_out)} (--models all).")
    html += heading("Spend") + _figures(spend) + _deciles(spend) + heading("Orders") + _figures(orders)
    top = spend.figures["top_share"][SERVED]
    says = [f"Spend: {spend.verdict}; the tenth predicted highest made {top:.0%} of the spend."]
    return Shown(html, [*says, f"Orders: {orders.verdict}."])


def _figures(judged: Evaluation) -> str:
    caption = f"{judged.target.capitalize()}, mean of {len(judged.cuts)} cuts; the row that stands out is served"
    return table(judged.shown(), caption, {"top_share": ".1%"}, SERVED) + items([judged.verdict, judged.gain])


def _deciles(spend: Evaluation) -> str:
    best = str(spend.figures["deviance"].drop([SERVED, BASELINE]).idxmin())
    shown, promised = (SERVED, BASELINE, best), f"{QUANTILE:.0%}"
    mean = float(spend.figures["mae"]["zero"])  # who predicts nothing errs by the label
    served = spend.deciles[SERVED]
    numbers = served.assign(lift=served["actual"] / mean, covered=spend.covered)
    formats = {"predicted": ",.2f", "actual": ",.2f", "lift": ",.2f", "covered": ".1%"}
    return figures(
        figure(
            plots.lift(spend.deciles, shown, mean),
            f"Actual spend of each tenth over the average, by the predictions of {', '.join(shown)}",
            "Lift: tenth 10 holds the highest predictions. The steeper to the right, the better the ranking.",
        ),
        figure(
            plots.calibration(spend.deciles, shown, "mean spend"),
            f"Mean spend of each tenth, predicted against actual, for {', '.join(shown)}",
            "Calibration: a point for each tenth, square-root axes. Below the dotted line less came than predicted.",
        ),
        figure(
            plots.coverage(spend.covered, QUANTILE),
            f"Share of customers up to their bound by tenth of the prediction; {promised} are promised",
            f"predicted_demand_high: {promised} of like customers spend no more. Where most spend nothing, more do.",
        ),
    ) + details("The numbers of these figures", table(numbers, "Served, by tenth of its prediction", formats))


def value(found: Valued) -> Shown:
    names = {f"{name}_value_12m": name for name in found.fitted.buying} | {"customer_value": SERVED}
    worth = found.table[[*names]].rename(columns=names)
    html = paragraph(
        f"Spend of the next 12 months. BG/NBD and MBG/NBD say who still buys, Gamma-Gamma what a purchase day is worth,"
        f" discounted by {found.rate:.0%} a year; served is customer_value, not discounted."
    )
    html += "".join(paragraph(f"Warning: {text}.", "warning") for text in found.fitted.warnings())
    html += table(_parameters(found), "Parameters, by maximum likelihood; time in days")
    spread = worth.describe(percentiles=[0.5, 0.9, 0.99]).drop("count").rename_axis("of customers")
    spread.loc["total"] = worth.sum()
    html += table(spread, f"12-month value of {len(worth):,} customers", dict.fromkeys(map(str, worth), ",.2f"))
    html += figures(_alive(found), _worth(worth))
    total = f"What customers spend by the served value: {found.total}."
    html += paragraph(total)
    if found.judged is None:
        why = f"no third of the history has {SHORTEST} days, repeat purchases before it and spend within it"
        return Shown(html + paragraph(f"Not judged: {why}.", "why"), [total])
    return Shown(html + _judged(found.judged), [f"{total} On held-out windows, {found.judged.verdict()[0]}."])


def _parameters(found: Valued) -> pd.DataFrame:
    buying = {
        name: {"r": m.r, "alpha": m.alpha, "a": m.a, "b": m.b, "mean dropout": m.mean_dropout}
        for name, m in found.fitted.buying.items()
    }
    spend, paid = found.fitted.spend, found.fitted.paid
    rows = buying | {"gamma_gamma": {"p": spend.p, "q": spend.q, "v": spend.v}}
    rows |= {"paid_days": {"mean share": paid.mean_share}}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _alive(found: Valued) -> str:
    alive = {name: found.table[f"{name}_p_alive"].to_numpy() for name in found.fitted.buying}
    return figure(
        plots.histogram(alive, np.linspace(0, 1, 21), "P(alive)"),
        "Distribution of the probability that a customer still buys, by model",
        "P(alive). BG/NBD counts whoever never came back as alive for certain; MBG/NBD does not.",
    )


def _worth(worth: pd.DataFrame) -> str:
    columns = {str(name): worth[name].to_numpy() for name in worth}
    everything = np.concatenate([*columns.values()])
    low, high = np.quantile(everything[everything > 0], [0.005, 1]) if everything.any() else (1.0, 1.0)
    edges = np.geomspace(low, max(high, 1.01 * low), 31)
    within = {name: values.clip(edges[0], edges[-1]) for name, values in columns.items()}
    return figure(
        plots.histogram(within, edges, "12-month value (logarithmic)", log=True),
        "Distribution of the 12-month value of the customers, by model",
        "How unequal customers are: each step is worth a multiple. The first step holds what lies below it, too.",
    )


def _judged(judged: Judged) -> str:
    shown = judged.figures.index.tolist()
    numbers = judged.deciles.set_axis([" ".join(pair) for pair in judged.deciles.columns.tolist()], axis=1)
    when = f"{judged.window} held-out days from {' and '.join(map(date, judged.cuts))} on"
    latest = f"{judged.window} held-out days from {date(judged.cuts[0])} on"
    return (
        heading("Judged")
        + table(judged.figures[["deviance", "ngini", "mae", "bias"]], f"Net spend in {when}, mean")
        + items(judged.verdict())
        + figures(
            figure(
                plots.calibration(judged.deciles, shown, f"mean spend in {judged.window} days"),
                f"Mean spend of each tenth in {latest}, predicted against actual, for {', '.join(shown)}",
                f"Calibration in {latest}: a point for each tenth, square-root axes. Near the dotted line is right.",
            )
        )
        + details(
            "The numbers of this figure",
            table(numbers, "Mean spend by tenth of each prediction", dict.fromkeys(numbers.columns.tolist(), ",.2f")),
        )
    )
