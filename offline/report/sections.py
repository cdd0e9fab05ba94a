"""The sections about rows, cohorts, baskets and stock: from what was mined to HTML, and to sentences of the summary."""

import numpy as np
import pandas as pd

from offline.history.past import dropped
from offline.report import plots
from offline.report.cohorts import Cohorts
from offline.report.mining import Shop
from offline.report.page import Shown, date, details, figure, items, paragraph, table
from offline.rules.rules import FEW, LIKELIER, Mined
from offline.stock.stock import StockForecast

COHORTS, MONTHS, RULES, PRODUCTS = 24, 24, 15, 15  # at most, on the page


def quality(shop: Shop) -> Shown:
    counts = shop.history.counts
    lines = pd.DataFrame(counts.lines()).set_index("step")
    html = paragraph(
        "Every row that was read was dropped once or kept. Lines that begin with told, changed or flagged speak of rows"
        " among these."
    )
    html += table(lines, "What happened to the rows, in the order of the steps")
    for cleaning in shop.cleaned:
        caption = f"What cleaning {', '.join(cleaning.files)} did before"
        html += table(pd.DataFrame(cleaning.lines).set_index("step"), caption)
    used = f"{counts.kept:,} of {counts.read:,} rows could be used{dropped(counts.lines())}."
    said = [*(cleaning.kept for cleaning in shop.cleaned), used]
    if shop.has_guests:
        said.append(
            f"Guests: {shop.of_guests}; they count in the revenue, in what is bought together and in the stock, and"
            " everything about customers leaves them out."
        )
    return Shown(html, said)


def retention(found: Cohorts) -> Shown:
    shares = found.shares.iloc[-COHORTS:, : MONTHS + 1]
    html = paragraph(
        "Of the customers who first bought in a month, the share that bought in each month after it. Months that were"
        " not over at the cut-off are left out. A sale that was taken back counts where cleaning kept it"
        " (--cancelled keep)."
    )
    if shares.shape != found.shares.shape:
        html += paragraph(f"Shown are the last {COHORTS} months of first purchases, and {MONTHS} months of each.")
    html += figure(
        plots.retention(shares),
        f"Heat map of {len(shares)} cohorts over {shares.shape[1]} months; its numbers are in the table below",
        "% of a cohort that bought. Along a row: how it thins out. Down a column: whether later cohorts are better.",
        wide=True,
    )
    numbers = shares.rename(columns=str)
    percent = dict.fromkeys(numbers.columns.tolist(), ".1%")
    numbers.insert(0, "customers", found.customers[shares.index])
    html += details("The numbers of this figure", table(numbers, "Share that bought, by months since", percent))
    said = [f"{found.mean(month):.0%} in month {month}" for month in (1, 6, 12) if np.isfinite(found.mean(month))]
    return Shown(html, [f"Of those who bought once, later bought: {', '.join(said)}."] if said else [])


def rules(found: Mined) -> Shown:
    top, (orders, products) = found.findings.head(RULES), found.baskets.matrix.shape
    html = paragraph(
        f"{len(found.table):,} rules from {orders:,} orders of {products:,} products; a set is frequent in"
        f" {found.least:,} orders and more. {found.table['few'].sum():,} rules stand on fewer than {FEW} orders."
    )
    if top.empty:
        none = f"none of {len(found.table):,} rules has a lift that is surely above {LIKELIER}"
        return Shown(html, [f"Bought together: no finding, {none}."])
    shown = top[["consequent", "lift", "lift_low", "confidence", "orders"]]
    shown = shown.rename(columns={"consequent": "then", "lift_low": "lift at least"})
    shown.index = pd.Index(top["antecedent"].map(" + ".join), name="if")
    caption = (
        f"The first {len(shown)} of {len(found.findings):,} findings by lift: how many times likelier the one makes the"
        f" other, surely more than {LIKELIER}"
    )
    html += table(shown, caption, {"lift": ",.2f", "lift at least": ",.2f"})
    html += paragraph("A lift says what was bought together, not what an offer would sell: only a test tells that.")
    first = top.iloc[0]
    pair = f"{' + '.join(first['antecedent'])} and {first['consequent']}"
    said = f"lift {first['lift']:.2f}, the highest, and surely above {first['lift_low']:.2f}"
    return Shown(html, [f"Bought together: {pair} ({said})."])


def stock(found: StockForecast) -> Shown:
    top = found.frame.drop(columns="model").head(PRODUCTS).set_index("product_id")
    says = [f"Stock: {found.reason}; upper_90 held for {found.coverage['held'].iloc[0]:.0%} of the products."]
    if "suggested_reorder" in top:
        suggested = found.frame["suggested_reorder"]
        says.append(f"To order: {suggested.sum():,} units of {(suggested > 0).sum():,} products.")
        top = top.astype({"suggested_reorder": float})  # NaN: the stock file does not name it
    products, kinds = len(found.frame), ", ".join(f"{n:,} {kind}" for kind, n in found.kinds.items())
    cuts = found.by_cut.index.get_level_values("cut").unique().tolist()
    html = paragraph(
        f"Units of each product in the {found.horizon} weeks from {date(found.weeks.end)} on. By how they sell:"
        f" {kinds}. Sales are not demand where the shelf was empty."
    )
    units = {"expected_units": ",.1f", "upper_90": ",.1f", "suggested_reorder": ",.0f"}
    caption = f"Most units: {len(top)} of {products:,} products; 9 of 10 such products stay at or under upper_90"
    html += table(top.rename_axis("product"), caption, units)
    html += table(found.figures, f"Products, mean of {len(cuts)} cuts, and spread", chosen=found.model)
    html += items([found.reason, *found.left_out])
    html += table(found.coverage, f"Products that upper_90, calibrated before {date(cuts[0])}, held", {"held": ".1%"})
    return Shown(html, says)
