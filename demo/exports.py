"""Three exports of one small shop, as three programs write them: a web shop, bookkeeping software, a spreadsheet.

Rule: all three tell the same sales, so whoever reads them as they are meant finds the same customers in each.
"""

import argparse
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

CUSTOMERS, DAYS, FIRST = 150, 300, datetime(2025, 1, 6)
GOODS = (("T-1", "Green tea", 450), ("C-3", "Cup, blue", 790), ("P-7", "Teapot", 2_400), ("K-2", "Kettle", 6_450))


class Order(NamedTuple):
    """customer: a number; lines: (place in GOODS, quantity); back: when all of it was given back, or None."""

    number: int
    customer: int
    at: datetime
    lines: list[tuple[int, int]]
    back: datetime | None

    @property
    def cents(self) -> int:
        return sum(GOODS[good][2] * quantity for good, quantity in self.lines)


def orders(seed: int = 7) -> list[Order]:
    """Some customers come every week, most seldom; one order in twenty is given back after a few days."""
    rng = np.random.default_rng(seed)
    found = []
    for customer in range(CUSTOMERS):
        day, gap = float(rng.uniform(0, DAYS / 2)), float(rng.lognormal(3.2, 0.8))
        while day < DAYS:
            at = FIRST + timedelta(days=int(day), minutes=int(rng.integers(10 * 60, 16 * 60)))
            goods = np.sort(rng.choice(len(GOODS), rng.integers(1, 3), replace=False, p=(0.5, 0.3, 0.15, 0.05)))
            lines = [(good, int(rng.integers(1, 4))) for good in goods.tolist()]
            back = at + timedelta(days=int(rng.integers(2, 9))) if rng.random() < 0.05 else None
            found.append(Order(0, customer, at, lines, back))
            day += max(1.0, float(rng.exponential(gap)))
    found.sort(key=lambda order: order.at)
    return [order._replace(number=number) for number, order in enumerate(found, 1001)]


def web_shop(found: list[Order]) -> Iterator[str]:
    """Fields of an order stand on its first line only; what was given back is refunded; a blank before offsets."""
    yield "Name,Email,Financial Status,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku"
    for order in found:
        status = "refunded" if order.back else "paid"
        head = f"c{order.customer:03}@example.org,{status},{order.at:%Y-%m-%d %H:%M:%S} -0400"
        for good, quantity in order.lines:
            sku, name, cents = GOODS[good]
            yield f'#{order.number},{head},{quantity},"{name}",{cents / 100:.2f},{sku}'
            head = ",,"


def books(found: list[Order]) -> Iterator[str]:
    """German: a title, semicolons, decimal commas, days first, credit notes for what was given back, reminders."""
    rows = [(order.at, "Rechnung", f"R{order.number}", order) for order in found]
    rows += [(order.back, "Gutschrift", f"G{order.number}", order) for order in found if order.back]
    rows += [(order.at + timedelta(days=14), "Mahnung", f"M{order.number}", order) for order in found[::80]]
    yield "Buchungen 2025;;;;"
    yield ""
    yield "Kunden-Nr.;Buchungsdatum;Belegart;Belegnr;Betrag in EUR"
    for at, kind, number, order in sorted(rows, key=lambda row: row[:3]):
        amount = f"{order.cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))
        yield f"{10_000 + order.customer};{at:%d.%m.%Y};{kind};{number};{amount if kind != 'Mahnung' else '5,00'}"


def spreadsheet(found: list[Order]) -> Iterator[str]:
    """Saved by hand: titles, months first, dollars, what was given back in brackets, a header again, a total."""
    rows = [(order.at, order, 1) for order in found]
    rows += [(order.back, order, -1) for order in found if order.back]
    header = "Date,Client,Invoice,Total"
    yield ",,,"
    yield "Sales of the year,,,"
    yield header
    for line, (at, order, sign) in enumerate(sorted(rows), 1):
        dollars = f"${order.cents / 100:,.2f}"
        total = dollars if sign > 0 else f"({dollars})"
        when = f"{at.month}/{at.day}/{at.year} {at:%I:%M %p}"
        yield f'{when},K{order.customer},{order.number},"{total}"'
        if line % 500 == 0:
            yield header
    yield f',,Total,"${sum(sign * order.cents for _, order, sign in rows) / 100:,.2f}"'


FILES = {"web-shop.csv": web_shop, "books.csv": books, "spreadsheet.csv": spreadsheet}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m demo.exports",
        description="Write three exports of one small shop, as three programs write them.",
        epilog="example: python -m demo.exports exports",
    )
    parser.add_argument("directory", type=Path, help="where to write web-shop.csv, books.csv and spreadsheet.csv")
    directory = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    found = orders()
    for name, lines in FILES.items():
        encoding = "cp1252" if name == "books.csv" else "utf-8"
        (directory / name).write_text("\n".join(lines(found)) + "\n", encoding=encoding)
    print(f"written: {', '.join(FILES)} in {directory}: {len(found):,} orders of {CUSTOMERS} customers")


if __name__ == "__main__":
    main()
