"""The figures of a report, one function each: SVG that stands inline in the page.

Rules. Ink takes the colour of the page's text, and every other colour has a contrast of 3:1 and more on light and on
dark; what differs by colour differs by marker or line, too. The same data give the same bytes: no date, no chance, ids
by content. No state of pyplot is touched.
"""

import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from offline.report.mining import Map
from offline.segments.kmeans import STABLE, Choice

P = ParamSpec("P")
Floats = NDArray[np.float64]

INK = "#000001"  # becomes currentColor
PALETTE = ("#2f7fd0", "#d9730d", "#119a78", "#a668c9", "#d64f76", "#8c8a16", "#7d8793", "#a8703f")
MARKERS, LINES = ("o", "s", "^", "D", "v", "P", "X", "p"), ("-", "--", ":")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 9,
    "legend.frameon": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.15,
    "axes.prop_cycle": cycler(color=PALETTE),
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}
NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
Draw = Callable[Concatenate[Axes, P], None]


def drawn(width: float = 4.6, height: float = 3.1) -> Callable[[Draw[P]], Callable[P, str]]:
    """Makes of a function that draws on axes one that gives the figure, of so many inches."""

    def decorate(draw: Draw[P]) -> Callable[P, str]:
        @wraps(draw)
        def svg(*args: P.args, **kwargs: P.kwargs) -> str:
            with mpl.rc_context(STYLE):
                figure = Figure((width, height), layout="constrained")
                draw(figure.subplots(), *args, **kwargs)
                text = io.StringIO()
                figure.savefig(text, format="svg", metadata=NO_METADATA)
            return _inline(text.getvalue())

        return svg

    return decorate


def _inline(svg: str) -> str:
    """The element alone, its ids its own on a page with others."""
    head, body = svg[svg.index("<svg") :].strip().replace(INK, "currentColor").split(">", 1)
    svg = re.sub(r'\s(xmlns(:xlink)?|version|width|height)="[^"]*"', "", head) + ">" + body
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    own = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\1{own}", svg)


def _plain(axes: Axes) -> None:
    """Numbers as people write them, on logarithmic axes too."""
    axes.xaxis.set_major_formatter("{x:,.6g}")
    axes.yaxis.set_major_formatter("{x:,.6g}")


def _legend(axes: Axes) -> None:
    """Above the axes, where it hides nothing."""
    handles, names = axes.get_legend_handles_labels()
    _figure(axes).legend(handles, names, loc="outside upper center", ncols=3)


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


# ---- segments --------------------------------------------------------------------------------------------------------


@drawn()
def elbow(axes: Axes, choice: Choice) -> None:
    inertia = choice.table["inertia"]
    axes.plot(inertia.index, inertia, marker="o", label="inertia")
    _chosen(axes, choice)
    axes.set(ylabel="sum of squared distances", ylim=(0, 1.08 * inertia.max()))
    _plain(axes)
    _legend(axes)


@drawn()
def silhouettes(axes: Axes, choice: Choice) -> None:
    axes.plot(choice.table["silhouette"], marker="o", label="silhouette")
    axes.plot(choice.table["ari"], marker="s", linestyle="--", label="ARI")
    axes.axhline(STABLE, color=INK, linestyle=":", linewidth=1, label=f"{STABLE}: stable")
    _chosen(axes, choice)
    axes.set(ylim=(min(0.0, choice.table["silhouette"].min()), 1.05))
    _legend(axes)


def _chosen(axes: Axes, choice: Choice) -> None:
    axes.axvline(choice.k, color=INK, alpha=0.15, linewidth=9, zorder=0)
    axes.set(xlabel="clusters k (band: chosen)", xticks=choice.table.index)


@drawn()
def k_distances(axes: Axes, curve: Floats, eps: float, neighbour: int) -> None:
    """curve: (n,) ascending; drawn at no more than 400 of its points."""
    places = np.unique(np.linspace(0, len(curve) - 1, 400).astype(int))
    axes.plot(100 * (places + 1) / len(curve), curve[places], label="distance")
    axes.axhline(eps, color=PALETTE[1], linestyle="--", label=f"eps = {eps:.3g}")
    axes.set(xlabel="% of the customers", ylabel=f"distance to other {neighbour}", xlim=(0, 101), ylim=(0, None))
    _legend(axes)


@drawn()
def sizes(axes: Axes, segments: pd.DataFrame) -> None:
    """segments: index names, columns share and share of spend."""
    at, pair = np.arange(len(segments))[::-1], segments[["share", "share of spend"]].to_numpy() * 100
    axes.hlines(at, pair.min(1), pair.max(1), color=INK, alpha=0.4, linewidth=1)
    axes.plot(pair[:, 0], at, "o", markersize=8, label="customers")
    axes.plot(pair[:, 1], at, "s", markersize=7, label="spend")
    axes.set_yticks(at, segments.index.tolist())
    axes.set(xlabel="%", xlim=(0, None), ylim=(-0.6, len(segments) - 0.4))
    _legend(axes)


@drawn()
def segment_map(axes: Axes, some: Map, names: Sequence[str]) -> None:
    """names: of the segments, in the order of their colours."""
    which = np.array(some.names)
    for name, colour, marker in zip(names, PALETTE, MARKERS, strict=False):
        axes.plot(*some.at[which == name].T, marker, color=colour, markersize=2.6, alpha=0.7, markeredgewidth=0)
        axes.plot([], [], marker, color=colour, label=name)
    if some.outlier.any():
        ring: Any = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 0.7, "alpha": 0.7}
        axes.plot(*some.at[some.outlier].T, "o", markersize=6, label="outlier", **ring)
    axes.set(xlabel="first principal component", ylabel="second")
    _legend(axes)


# ---- predictions beside what came ------------------------------------------------------------------------------------


@drawn()
def lift(axes: Axes, deciles: pd.DataFrame, models: Sequence[str], mean: float) -> None:
    """deciles: as `metrics.deciles`; mean: of all labels."""
    for model, marker, line in zip(models, MARKERS, LINES, strict=False):
        axes.plot(deciles[model]["actual"] / mean, marker=marker, linestyle=line, label=model)
    axes.axhline(1, color=INK, linestyle=":", linewidth=1)
    axes.set(ylabel="spend over the average", ylim=(0, None))
    _tenths(axes)
    _legend(axes)


@drawn()
def calibration(axes: Axes, deciles: pd.DataFrame, models: Sequence[str], what: str) -> None:
    for model, marker in zip(models, MARKERS, strict=False):
        axes.plot(deciles[model]["predicted"], deciles[model]["actual"], marker, label=model, alpha=0.85)
    most = 1.1 * float(np.nanmax(deciles[[*models]]))
    axes.plot([0, most], [0, most], color=INK, linestyle=":", linewidth=1)
    roots = (lambda x: np.sqrt(np.maximum(x, 0)), np.square)  # small and large amounts on one axis, and 0 on it
    axes.set_xscale("function", functions=roots)
    axes.set_yscale("function", functions=roots)
    axes.xaxis.set_major_locator(MaxNLocator(4))  # by roots large numbers stand close: more would run into each other
    axes.set(xlabel=f"{what}, predicted", ylabel="actual", xlim=(0, most), ylim=(0, most))
    _plain(axes)
    _legend(axes)


@drawn()
def coverage(axes: Axes, covered: pd.Series, promised: float) -> None:
    percent = 100 * covered
    axes.plot(percent, marker="o", label="served")
    axes.axhline(100 * promised, color=PALETTE[1], linestyle="--", label=f"{promised:.0%} promised")
    axes.set(ylabel="% who spent no more", ylim=(min(80.0, percent.min() - 5), 101))
    _tenths(axes)
    _legend(axes)


def _tenths(axes: Axes) -> None:
    axes.set(xlabel="tenth of the customers by prediction", xticks=range(1, 11), xlim=(0.5, 10.5))


# ---- value and retention ---------------------------------------------------------------------------------------------


@drawn()
def histogram(axes: Axes, columns: Mapping[str, Floats], edges: Floats, xlabel: str, log: bool = False) -> None:
    """columns: by name, the values of all customers, within the edges."""
    for (name, values), line in zip(columns.items(), LINES, strict=False):
        count, _ = np.histogram(values, edges)
        axes.stairs(100 * count / len(values), edges, label=name, linestyle=line, linewidth=1.6)
    if log:
        axes.set_xscale("log")
    axes.set(xlabel=xlabel, ylabel="% of the customers")
    _plain(axes)
    _legend(axes)


@drawn(width=9.4)
def retention(axes: Axes, shares: pd.DataFrame) -> None:
    """shares: (cohorts, months) of 0..1, NaN where nothing is known yet; the deeper the blue, the more came."""
    cohorts, months = shares.shape
    _figure(axes).set_figheight(0.7 + 0.28 * cohorts)
    most = max(0.01, np.nanmax(shares.to_numpy()[:, 1:], initial=0.0))  # column 0 is 1 throughout
    for (row, month), share in np.ndenumerate(shares.to_numpy()):
        if share >= 0:
            depth = 0.75 * min(1.0, share / most)
            axes.add_patch(Rectangle((month - 0.5, row - 0.5), 1, 1, color=PALETTE[0], alpha=depth, linewidth=0))
            axes.text(month, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8)
    axes.set(xlabel="months since the month of the first purchase", xlim=(-0.5, months - 0.5), xticks=range(months))
    axes.set_ylim(cohorts - 0.5, -0.5)
    axes.set_yticks(range(cohorts), shares.index.tolist())
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
