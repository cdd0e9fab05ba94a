"""The model card of a report: what the models know, how they were judged, and what they must not be used for.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Rule: what depends on the history is read from it.
"""

import platform
from importlib import metadata

import pandas as pd

from models.features import INPUTS
from models.kinds import TRADED
from models.rows import DAY
from offline.demand.evaluate import MODELS
from offline.report.live import live
from offline.report.mining import Shop
from offline.report.page import Shown, date, heading, items, paragraph, table

FEATURES = {
    "r30": "spend of the last weeks as a rate over the horizon, halved every 30 days",
    "r90": "the same, halved every 90 days: the baseline of spend",
    "o90m": "orders at their 90-day rate times spend on a purchase day",
    "own": "spend so far as a rate since the first purchase",
    "m90": "spend on a purchase day, fading with the days since the last purchase",
    "v7m": "views of the last days (halved every 7) times spend on a purchase day",
    "c7m": "carts of the last days, likewise",
    "n30": "orders of the last weeks as a rate over the horizon, halved every 30 days",
    "n90": "the same, halved every 90 days: the baseline of orders",
    "own_orders": "orders so far as a rate since the first purchase",
    "e90_orders": "orders on a purchase day, fading with the days since the last purchase",
    "v7_orders": "views of the last days times orders on a purchase day",
    "c7_orders": "carts of the last days, likewise",
    "one": "a constant",
}
LIBRARIES = ("numpy", "pandas", "scikit-learn", "scipy", "river", "mlxtend", "matplotlib")
MUST_NOT = (
    "Decisions with legal or similar effect on a person: credit, employment, insurance, housing.",
    "Prices or terms set against a person, or the exclusion of a person from a service.",
    "Causes: a prediction says what is likely, not what a campaign would change. Only a controlled test tells that.",
    "Another shop, country or currency than the history's, or customers it has not seen.",
)


def card(shop: Shop) -> Shown:
    frame = shop.history.frame
    first, last = (date(int(at) // DAY) for at in (frame["occurred_at"].min(), frame["occurred_at"].max()))
    browsing = int((~frame["kind"].isin(TRADED)).sum())
    versions = [f"{name} {metadata.version(name)}" for name in LIBRARIES]
    html = heading("Data") + items(
        [
            f"Events from {first} to {last}, before the cut-off {date(shop.folded.day)} (midnight, UTC).",
            f"Rows used: {len(frame):,} of {shop.history.counts.read:,}, of {len(shop.folded.table):,} customers.",
            "Of a person: an id, times, orders, amounts, products, browsing. No name, address, age, sex or location.",
        ]
    )
    html += heading("Models") + items(
        [
            "Segments: a rule on purchase days, silence in the customer's own usual gaps and spend.",
            "Clusters: k-means on the logarithms of that silence, orders and spend (10 k-means++ starts, seed 0), k by"
            " the rule there; DBSCAN for outliers.",
            f"Demand, orders and the chance to buy in {shop.horizon} days: four experts (90- and 30-day rates, a ridge"
            " correction, a table of rhythms), mixed by what each would have cost, learning daily. Beside:"
            f" {', '.join(MODELS[shop.models])}.",
            "Value: of 12 months, the served demand carried on, MBG/NBD times the mean purchase day, and a Markov chain"
            " over rhythms, mixed by what each would have cost. Beside: BG/NBD, MBG/NBD and Gamma-Gamma.",
            "Judged on later time only: examples whose window holds a cut neither teach nor judge.",
        ]
    )
    served = live(shop.truth, shop.folded.day) if shop.truth else Shown("", [])
    html += served.html
    features = pd.Series({name: FEATURES[name] for name in INPUTS}, name="is").rename_axis("input").to_frame()
    html += table(features, "What the served models see of a customer")
    html += heading("Limits") + items(
        [
            f"Views and carts in this history: {browsing:,}. What is not in it was not learned.",
            "One currency: amounts are added as they stand. No costs or margins: spend is not profit.",
            "No season, campaign, price or stock is known to the models; a year that differs will be predicted worse.",
            "The bound of demand is for one customer; sums over customers have far narrower ones.",
            "Who never bought is not scored.",
        ]
    )  # fmt: skip
    html += heading("It must not be used for") + items(MUST_NOT)
    html += heading("Erasing a customer") + paragraph(
        "A record with the customer's key and a null value erases what is served (docs/operations.md: what remains, and"
        " where). History files and what the jobs left are yours to make anew without the person. This page shows sums,"
        " means and products, but no customer ids."
    )
    html += paragraph(f"Made with Python {platform.python_version()}, {', '.join(versions)}.", "lead")
    return Shown(html, served.says)
