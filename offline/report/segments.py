"""The section about segments and outliers."""

from offline.report import plots
from offline.report.mining import Segmented
from offline.report.page import Shown, figure, figures, heading, items, paragraph, table
from offline.segments.dbscan import Density


def segments(found: Segmented) -> Shown:
    by_segment, choice = found.table, found.choice
    html = paragraph(
        "A rule on three facts of each customer, with the numbers of this shop: what the stream serves as segment. What"
        " is true of everybody in it, and what sets them apart:"
    )
    html += items(found.words)
    shares, means = ("share", "share of spend"), ("days since last purchase", "orders", "spend", "demand")
    html += table(
        by_segment,
        "Size and means of each segment at the cut-off; demand: what is predicted for the horizon",
        dict.fromkeys(shares, ".1%") | dict.fromkeys(means, ",.2f"),
    )
    html += figures(_sizes(found), _map(found))
    html += heading("Clusters") + paragraph(
        "k-means on silence in usual gaps, orders and spend, standardised: what the stream serves as cluster, and"
        " learns. A cluster promises nothing about one member."
    )
    html += items(found.clusters) + items([choice.reason]) + _k(found)
    html += heading("Outliers") + _outliers(found)
    top = by_segment["share of spend"].idxmax()  # where a few are late who bring nearly all, it is not the Champions
    share, of_spend = by_segment.loc[[top], [*shares]].iloc[0]
    return Shown(
        html, [f"{len(by_segment)} segments; {top}: {share:.0%} of the customers, {of_spend:.0%} of the spend."]
    )


def _sizes(found: Segmented) -> str:
    rows = zip(found.table.index, found.table["share"], found.table["share of spend"], strict=True)
    return figure(
        plots.sizes(found.table),
        "Shares of customers and of spend: " + "; ".join(f"{name} {a:.0%} and {b:.0%}" for name, a, b in rows),
        "Who is many and who brings the money: the longer the line, the more the two differ.",
    )


def _map(found: Segmented) -> str:
    drawn = f"{len(found.map.at):,} of {found.table['customers'].sum():,} customers"
    return figure(
        plots.segment_map(found.map, found.table.index.tolist()),
        f"Map of {drawn} in two dimensions, a colour and a marker for each segment, outliers ringed",
        f"{drawn}, drawn with seed 0, in the plane that shows most of their differences"
        f" ({found.map.variance:.0%} of the variance). Look whether segments are apart or cut one cloud.",
    )


def _k(found: Segmented) -> str:
    choice = found.choice
    whole = dict.fromkeys(("calinski_harabasz", "inertia"), ",.0f")
    return figures(
        figure(
            plots.elbow(choice),
            f"Sum of squared distances falling with k; k = {choice.k} is chosen",
            "The elbow: where another cluster stops helping much. It decides nothing: real curves hardly bend.",
        ),
        figure(
            plots.silhouettes(choice),
            f"Silhouette and stability by k; k = {choice.k} is chosen",
            "How far apart the clusters are (silhouette); whether they come again when customers are drawn anew (ARI).",
        ),
    ) + table(choice.table, f"Every k that was tried, {choice.samples}", {"smallest": ".1%"} | whole, choice.k)


def _outliers(found: Segmented) -> str:
    density = found.density
    if not isinstance(density, Density):
        return paragraph(str(density), "why")
    count, share = found.table["outliers"].sum(), found.table["outliers"].sum() / found.table["customers"].sum()
    neighbour = density.min_samples - 1
    return (
        paragraph(
            f"DBSCAN on the same features finds {count:,} customers ({share:.1%}) outside of all dense places, of which"
            f" there are {density.labels.max() + 1}. They deserve a look one by one: resellers, staff, errors."
        )
        + items(density.reason.split("\n"))
        + figures(
            figure(
                plots.k_distances(density.curve, density.eps, neighbour),
                f"Distances to the nearest other customer number {neighbour}, ascending; eps is {density.eps:.3g}",
                f"Distance to the nearest other customer number {neighbour}, ascending. Sparse places begin where the"
                f" curve turns up: there eps is taken.",
            )
        )
    )
