"""From a history to the page: every part is mined and shown, or one sentence says why it cannot be.

A new section is a line of PARTS: a title, what mines it, what shows it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from models.features import UNIT
from models.rows import DAY
from offline.errors import OfflineError
from offline.report import mining, predictions, sections, segments
from offline.report.card import card
from offline.report.mining import Progress, Shop
from offline.report.page import Section, Shown, date, document, facts, paragraph


class Part(NamedTuple):
    """mine: from the shop to a result, OfflineError where the history does not allow it; show: from it to HTML."""

    title: str
    mine: Callable[[Shop, Progress], Any]
    show: Callable[[Any], Shown]


PARTS = (
    Part("Data quality", lambda shop, _: shop, sections.quality),
    Part("Segments", mining.segments, segments.segments),
    Part("Demand", mining.demand, predictions.demand),
    Part("Customer value", mining.value, predictions.value),
    Part("Retention", mining.retention, sections.retention),
    Part("Bought together", mining.rules, sections.rules),
    Part("Stock", mining.stock, sections.stock),
    Part("Model card", lambda shop, _: shop, card),
)


class Report(NamedTuple):
    """html: the page; says: the sentences of its summary."""

    html: str
    says: list[str]


def make(shop: Shop, progress: Progress = len) -> Report:
    """The report of a history; the same history and options give the same bytes."""
    shown = [_shown(part, shop, progress) for part in PARTS]
    made = [Section(part.title, html) for part, (html, _) in zip(PARTS, shown, strict=True)]
    says = [sentence for _, said in shown for sentence in said]
    lead = f"What the offline jobs find in {', '.join(shop.files)} as of {date(shop.folded.day)}."
    end = f"Made by python -m offline report from events before {date(shop.folded.day)}, 00:00 UTC."
    return Report(document("Customer report", lead, _opening(shop), says, made, end), says)


def _shown(part: Part, shop: Shop, progress: Progress) -> Shown:
    try:
        found = part.mine(shop, progress)
    except OfflineError as error:
        return Shown(paragraph(f"Not in this report: {error}", "why"), [])
    progress(f"drawing {part.title.lower()}")
    return part.show(found)


def _opening(shop: Shop) -> str:
    at = shop.history.frame["occurred_at"]
    return facts(
        {
            "Window": f"{date(int(at.min()) // DAY)} to {date(int(at.max()) // DAY)}",
            "Customers who bought": f"{len(shop.folded.table):,}",
            "Orders": f"{int(shop.folded.raw['orders'].sum()):,}",
            "Spend, net of returns": f"{shop.folded.raw['spend'].sum() / UNIT:,.2f}",
            "Horizon of demand": f"{shop.horizon} days",
        }
    )
