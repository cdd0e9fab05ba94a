"""From a history to the page: every part is mined and shown, or one sentence says why it cannot be.

A new section is a line of PARTS: a title, what mines it, what shows it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from offline.errors import OfflineError
from offline.report import mining, predictions, sections, segments
from offline.report.card import card
from offline.report.mining import ALL, CUSTOMERS, DATES, Progress, Shop
from offline.report.opening import end, lead, opening
from offline.report.page import Section, Shown, document, paragraph


class Part(NamedTuple):
    """mine: from the shop to a result, OfflineError where the history does not allow it; show: from it to HTML; needs:
    the columns without which there is none; sells: is it about sales, whoever bought?"""

    title: str
    mine: Callable[[Shop, Progress], Any]
    show: Callable[[Any], Shown]
    needs: frozenset[str] = frozenset()
    sells: bool = False


PARTS = (
    Part("Data quality", lambda shop, _: shop, sections.quality),
    Part("Segments", mining.segments, segments.segments, ALL),
    Part("Demand", mining.demand, predictions.demand, ALL),
    Part("Customer value", mining.value, predictions.value, ALL),
    Part("Retention", mining.retention, sections.retention, CUSTOMERS | DATES),
    Part("Bought together", mining.rules, sections.rules, sells=True),
    Part("Stock", mining.stock, sections.stock, DATES, sells=True),
    Part("Model card", lambda shop, _: shop, card, ALL),
)


class Report(NamedTuple):
    """html: the page; says: the sentences of its summary."""

    html: str
    says: list[str]


def make(shop: Shop, progress: Progress = len) -> Report:
    """The report of a history; the same history and options give the same bytes."""
    shown = [_shown(part, shop, progress) for part in PARTS]
    made = [Section(part.title, html) for part, (html, _) in zip(PARTS, shown, strict=True)]
    says = [sentence for _, said in shown for sentence in said] + _left_out(shop)
    return Report(document("Customer report", lead(shop), opening(shop), says, made, end(shop)), says)


def _shown(part: Part, shop: Shop, progress: Progress) -> Shown:
    try:
        if why := shop.why(part.needs):
            raise OfflineError(why)
        found = part.mine(shop, progress)
    except OfflineError as error:
        return Shown(paragraph(f"Not in this report: {error}", "why"), [])
    progress(f"drawing {part.title.lower()}")
    html, says = part.show(found)
    return Shown(_guests(part, shop) + html, says)


def _guests(part: Part, shop: Shop) -> str:
    """Whether a section counts them."""
    if not shop.has_guests or not (part.sells or part.needs >= CUSTOMERS):
        return ""
    return paragraph(f"{'Sales to guests count here' if part.sells else 'Guests are left out here'}: {shop.of_guests}.")


def _left_out(shop: Shop) -> list[str]:
    """What the columns of the history do not allow, a sentence for each reason."""
    titles: dict[str, list[str]] = {}
    for part in PARTS:
        if why := shop.why(part.needs):
            titles.setdefault(why, []).append(part.title)
    return [f"Not in this report: {', '.join(each)}: {why}." for why, each in titles.items()]
