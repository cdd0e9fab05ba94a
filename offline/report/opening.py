"""What stands above and below the sections of a report: of which events it is, and what all of them come to.

Rule: revenue is that of all sales, and how much of it is of guests is said beside it.
"""

from collections.abc import Iterator

from models.features import UNIT
from models.kinds import PURCHASE
from models.rows import DAY
from offline.report.mining import ALL, CUSTOMERS, DATES, MONEY, Shop
from offline.report.page import date, facts


def lead(shop: Shop) -> str:
    when = "" if shop.why(DATES) else f" as of {date(shop.folded.day)}"
    return f"What the offline jobs find in {', '.join(shop.files)}{when}."


def end(shop: Shop) -> str:
    when = "" if shop.why(DATES) else f" from events before {date(shop.folded.day)}, 00:00 UTC"
    return f"Made by python -m offline report{when}."


def opening(shop: Shop) -> str:
    return facts(dict(_facts(shop)))


def _facts(shop: Shop) -> Iterator[tuple[str, str]]:
    """Terms with what they are, those that the history has."""
    sales = shop.sales.frame
    if not shop.why(DATES):
        at = sales["occurred_at"]
        yield "Window", f"{date(int(at.min()) // DAY)} to {date(int(at.max()) // DAY)}"
    if not shop.why(CUSTOMERS):
        yield "Customers who bought", f"{len(shop.folded.table):,}"
    of_guests = f" ({shop.guests.orders:,} of guests)" if shop.has_guests else ""
    yield "Orders", f"{_orders(shop) + shop.guests.orders:,}{of_guests}"
    if shop.why(MONEY):
        yield "Units, net of returns", f"{sales['quantity'].sum() / UNIT:,.0f}"
    elif len(shop.guests):
        of_guests = f" ({shop.guests_revenue:,.2f} of guests)" if shop.has_guests else ""
        yield "Revenue, net of returns", f"{sales['amount'].sum() / UNIT:,.2f}{of_guests}"
    else:
        yield "Spend, net of returns", f"{shop.folded.raw['spend'].sum() / UNIT:,.2f}"
    if not shop.why(ALL):
        yield "Horizon of demand", f"{shop.horizon} days"


def _orders(shop: Shop) -> int:
    """Of customers, as their models count them; without dates, each order once."""
    if not shop.why(DATES):
        return int(shop.folded.raw["orders"].sum())
    bought = shop.history.frame.query(f"kind == {PURCHASE}")
    return int(bought.groupby(["customer_id", "order_id"]).ngroups)
