"""The fold: a customer's state is a function of that customer's own events and of nothing else.

One row a customer in a columnar table, one kernel for history, stream, replay and rebuild. The rules it keeps:
 1. Only its own events change a row. A landmark is passed by the customer's next event or by a sweep, to the same bits.
 2. Decay has the grain of a day: 2**(d / h) = 2**(d // h) * TABLE[d % h], the table correctly rounded, the rest a power
    of two. So no advance ever rounds, no libm is asked, and every platform gives the same bits.
 3. `due` > `swept_to` for every row at every time: once a partition is swept to d, it makes no example of a day <= d.
 4. A late event counts in the sums with its own day's weight, never in a window that closed; `last`, `at` only grow.
 5. An event below the row's `seen` is skipped: a replay repeats nothing.
 6. A sum of money that int64 cannot hold stays at the end of its range: it never changes its sign.
"""

import decimal
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from models.compiled import njit
from models.events import Batch
from models.handover import HORIZON
from models.ids import Ids
from models.kinds import CART, ERASE, PURCHASE, RETURN, VIEW
from models.rows import (
    BLANK,
    BROWSED_IDS,
    DAY,
    ENTRY,
    LARGEST,
    NONE,
    ORDERS,
    RAW,
    RING,
    ROW,
    TRADED_IDS,
    Array,
    joined,
    load_rows,
    short,
    whole,
)

# What the fold counts of events, by column of `noted`: those that it passed over, and those of a day already swept.
NOTED = ("duplicate", "before_first_purchase", "late")

PART = 1 << 14  # stored rows that are unpacked at once


def powers(halflife: int, sign: int) -> Array:
    """2 ** (sign * j / halflife) for j in 0..halflife-1, correctly rounded."""
    with decimal.localcontext(decimal.Context(prec=40)):
        return np.array([float(decimal.Decimal(2) ** (decimal.Decimal(sign * j) / halflife)) for j in range(halflife)])


UP30, UP90, UP7 = (powers(h, 1) for h in (30, 90, 7))
DOWN30, DOWN90, DOWN7 = (powers(h, -1) for h in (30, 90, 7))


@njit
def up(weights: Array, day: int, base: int) -> float:
    """Weight of an event of `day` in a sum that is kept for the block of `base`."""
    n = len(weights)
    return math.ldexp(weights[day % n], day // n - base // n)


@njit
def down(total: float, weights: Array, at: int, day: int) -> float:
    """The decayed sum, kept for the block of `at`, as it stands on `day` >= at."""
    n = len(weights)
    return math.ldexp(total * weights[day % n], at // n - day // n)


@njit
def look(r: Any, day: int, raw: Any) -> None:
    """Fills `raw` with the row as it stands at midnight `day`; every event of the row is older than that."""
    at = r.at // DAY
    raw.s30, raw.n30 = down(r.s30, DOWN30, at, day), down(r.n30, DOWN30, at, day)
    raw.s90, raw.n90 = down(r.s90, DOWN90, at, day), down(r.n90, DOWN90, at, day)
    raw.v7, raw.c7 = down(r.v7, DOWN7, at, day), down(r.c7, DOWN7, at, day)
    raw.spend, raw.orders, raw.days, raw.window, raw.peak = r.spend, r.orders, r.days, r.window, r.peak
    raw.tenure, raw.recency = day - r.first // DAY, day - r.last // DAY


@njit
def landmark(r: Any, horizon: int, out: Any) -> None:
    """Passes landmark r.due: the open example closes into `out`, and the next one opens."""
    out.then, out.label, out.day, out.orders, out.open = r.raw, max(0, r.window), r.due, r.window_orders, r.open
    out.open_version, out.open_demand = r.open_version, r.open_demand
    out.open_high, out.open_p_buy = r.open_high, r.open_p_buy
    look(r, r.due, r.raw)
    out.now = r.raw
    r.window, r.window_orders, r.open, r.due = 0, 0, 1, r.due + horizon
    r.open_version, r.open_demand, r.open_high, r.open_p_buy = 0, 0.0, -1.0, 0.0  # set when its score is served


@njit
def added(total: int, amount: int) -> int:
    """The sum, held at the ends of int64."""
    if amount > 0:
        return LARGEST if total > LARGEST - amount else total + amount
    return -LARGEST if total < -LARGEST - amount else total + amount


@njit
def rescale(r: Any, day: int) -> None:
    """Moves the decayed sums from the blocks of their day to those of `day`: powers of two, exact."""
    base = r.at // DAY
    a, b, c = base // 30 - day // 30, base // 90 - day // 90, base // 7 - day // 7
    r.s30, r.n30, r.s90, r.n90 = math.ldexp(r.s30, a), math.ldexp(r.n30, a), math.ldexp(r.s90, b), math.ldexp(r.n90, b)
    r.v7, r.c7 = math.ldexp(r.v7, c), math.ldexp(r.c7, c)


@njit
def purchase_day(r: Any, day: int) -> None:
    """Counts distinct purchase days; bit i of the mask is a purchase i days before the last one's day. Further back
    only a day before all others is known to be another one."""
    back = r.last // DAY - day
    if back < 0:
        shifted = r.day_mask << np.uint64(-back) if back > -64 else np.uint64(0)
        r.day_mask, r.days = shifted | np.uint64(1), r.days + 1
    elif back < 64 and not (r.day_mask >> np.uint64(back)) & np.uint64(1):
        r.day_mask, r.days = r.day_mask | np.uint64(1) << np.uint64(back), r.days + 1
    elif back >= 64 and day < r.first // DAY:
        r.days += 1


@njit
def day_spend(r: Any, day: int, amount: int) -> None:
    """What the last purchase day brought so far, and the most that any did; a late purchase counts by itself."""
    if r.first != NONE and day < r.last // DAY:
        r.peak = max(r.peak, amount)
        return
    r.today = added(r.today if r.first != NONE and day == r.last // DAY else 0, amount)
    r.peak = max(r.peak, r.today)


@njit
def purchase(r: Any, t: int, swept_to: int, horizon: int) -> None:
    """First and last purchase; a first one, however late, opens its example after all that was swept (rule 3)."""
    day = t // DAY
    if r.first == NONE:
        after = max(day, swept_to) + 1
        r.first, r.last, r.days, r.day_mask, r.due = t, t, 1, 1, after + (r.phase - after) % horizon
    else:
        purchase_day(r, day)
        r.first, r.last = min(r.first, t), max(r.last, t)


@njit
def reach(r: Any, t: int) -> int:
    """Moves the row on to time t, unless it is there already; returns the day that its sums are kept for."""
    if t > r.at:
        if r.at != NONE:
            rescale(r, t // DAY)
        r.at = t
    base: int = r.at // DAY
    return base


@njit
def trade(r: Any, t: int, kind: int, amount: int, order: int, swept_to: int, horizon: int) -> None:
    """A purchase or a return: money, and the order if it is a new one."""
    day, base = t // DAY, reach(r, t)
    if kind == PURCHASE:
        day_spend(r, day, amount)
        purchase(r, t, swept_to, horizon)
    else:
        r.returned = added(r.returned, -amount)
    w30, w90 = up(UP30, day, base), up(UP90, day, base)
    current = day >= r.due - horizon  # else too late for the open window
    if kind == PURCHASE and order not in r.order_ids:
        r.order_ids[r.order_slot], r.order_slot = order, (r.order_slot + 1) % ORDERS
        r.orders, r.n30, r.n90, r.window_orders = r.orders + 1, r.n30 + w30, r.n90 + w90, r.window_orders + current
    r.spend, r.s30, r.s90 = added(r.spend, amount), r.s30 + amount * w30, r.s90 + amount * w90
    r.window = added(r.window, amount if current else 0)


@njit
def apply(r: Any, t: int, kind: int, amount: int, order: int, swept_to: int, horizon: int) -> None:
    """One event into one row; one of a kind that has no name here does nothing."""
    if kind == VIEW:
        base = reach(r, t)  # before the sum is read
        r.v7 += up(UP7, t // DAY, base)
    elif kind == CART:
        base = reach(r, t)
        r.c7 += up(UP7, t // DAY, base)
    elif kind in (PURCHASE, RETURN):
        trade(r, t, kind, amount, order, swept_to, horizon)


@njit
def remember(r: Any, product: int, day: int) -> None:
    """A purchase of a product that the offers name, over the oldest of the ring."""
    r.offered[r.offered_slot], r.offered_day[r.offered_slot] = product, day % 65_536
    r.offered_slot = (r.offered_slot + 1) % RING


@njit
def found(lows: Array, highs: Array, low: int, high: int) -> bool:
    """Is the id in the ring? All are compared: a loop without a way out is done many at a time."""
    hits = 0
    for i in range(len(lows)):
        hits += lows[i] == low
    if hits:
        for i in range(len(lows)):
            if lows[i] == low and highs[i] == high:
                return True
    return False


@njit
def copy(r: Any, kind: int, low: int, high: int) -> bool:
    """Is it one of the row's last events of its sort?"""
    if kind in (PURCHASE, RETURN):
        return found(r.traded_low, r.traded_high, low, high)
    return found(r.browsed_low, r.browsed_high, low, high)


@njit
def note(r: Any, kind: int, low: int, high: int) -> None:
    """The event's id over the oldest of its ring."""
    if kind in (PURCHASE, RETURN):
        r.traded_low[r.traded_slot], r.traded_high[r.traded_slot] = low, high
        r.traded_slot = (r.traded_slot + 1) % TRADED_IDS
    else:
        r.browsed_low[r.browsed_slot], r.browsed_high[r.browsed_slot] = low, high
        r.browsed_slot = (r.browsed_slot + 1) % BROWSED_IDS


@njit
def fold_kernel(
    rows: Array,
    index: Array,
    t: Array,
    kind: Array,
    amount: Array,
    order: Array,
    low: Array,
    high: Array,
    product: Array,
    offset: Array,
    swept_to: int,
    horizon: int,
    noted: Array,
    out: Array,
    start: int,
) -> tuple[int, int]:
    """Folds events[start:] in the order given; returns (next event, entries written); stops when `out` is full."""
    k = 0
    for i in range(start, len(index)):
        if index[i] < 0:  # nobody's row: no purchase of this customer was seen
            noted[1] += 1
            continue
        r = rows[index[i]]
        if offset[i] < r.seen:
            continue
        if copy(r, kind[i], low[i], high[i]):
            noted[0] += 1
        elif kind[i] != PURCHASE and r.first == NONE:
            noted[1] += 1
        else:
            while r.due <= t[i] // DAY:
                if k == len(out):
                    return i, k
                out[k].row = index[i]
                landmark(r, horizon, out[k])
                k += 1
            noted[2] += t[i] // DAY < swept_to
            note(r, kind[i], low[i], high[i])
            apply(r, t[i], kind[i], amount[i], order[i], swept_to, horizon)
            if kind[i] == PURCHASE and product[i]:
                remember(r, product[i], t[i] // DAY)
        r.seen = offset[i] + 1
    return len(index), k


@njit
def sweep_kernel(rows: Array, due: Array, day: int, horizon: int, out: Array, start: int) -> tuple[int, int]:
    """Passes every landmark <= day of the rows `due[start:]`; returns (next, entries written)."""
    k = 0
    for i in range(start, len(due)):
        r = rows[due[i]]
        while r.due <= day:
            if k == len(out):
                return i, k
            out[k].row = due[i]
            landmark(r, horizon, out[k])
            k += 1
    return len(due), k


@njit
def observe_kernel(rows: Array, index: Array, swept_to: int, out: Array) -> None:
    for i in range(len(index)):
        r = rows[index[i]]
        look(r, max(r.at // DAY + 1, swept_to), out[i])


@njit
def note_kernel(
    rows: Array,
    index: Array,
    segment: Array,
    cluster: Array,
    rfm: Array,
    demand: Array,
    value: Array,
    version: int,
    swept_to: int,
    before: Array,
    clusters: Array,
    at: Array,
) -> None:
    for i in range(len(index)):
        r = rows[index[i]]
        before[i], clusters[i], at[i] = r.segment, r.cluster, max(r.at, swept_to * DAY)
        if before[i] != segment[i]:
            r.segment_before, r.segment_since = r.segment, at[i] // DAY
        r.segment, r.cluster, r.rfm = segment[i], cluster[i], rfm[i]
        r.demand, r.value, r.version = demand[i], value[i], version


def phase(customer_id: str, horizon: int) -> int:
    """The customer's landmarks are the days d with d % horizon == phase."""
    return (zlib.crc32(customer_id.encode()) >> 16) % horizon


class Table:
    """The customers of one partition, a row each.

    An erased customer's row is blank, without an id; it is taken by the next new customer.
    """

    def __init__(self, horizon: int = HORIZON, room: int = 1024) -> None:
        """room: customers for whom there is room at first; what nobody has taken yet takes no memory."""
        self.horizon = horizon
        self.ids = Ids(room)
        self.free: list[int] = []
        self._rows = np.empty(room, ROW)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> Array:
        """The rows in use, a view (n,) of ROW."""
        return self._rows[: len(self.ids)]

    @property
    def names(self) -> list[str]:
        """The customer_id of each row, "" where it is free; made anew each time: for some of them, ask `ids`."""
        return self.ids.of(np.arange(len(self.ids)))

    @property
    def index(self) -> dict[str, int]:
        """The row of each customer, likewise made anew."""
        linked = self.ids.linked()
        return dict(zip(self.ids.of(linked), linked.tolist(), strict=True))

    @property
    def customers(self) -> int:
        """How many have a row."""
        return len(self.ids) - len(self.free)

    def add(self, names: Sequence[str]) -> Array:
        """Gives each of these new customers, distinct, a row; returns the row numbers."""
        rows = self._born(names)
        self.ids.link(rows)
        return rows

    def _born(self, names: Sequence[str]) -> Array:
        """A blank row (n,) for each of these lives, whom no event finds yet."""
        rows = self._taken(names)
        whole(self._rows)[rows] = whole(BLANK)
        self._rows["phase"][rows] = [phase(name, self.horizon) for name in names]
        return rows

    def _taken(self, names: Sequence[str]) -> Array:
        """Likewise, with whatever stands in those rows."""
        again, before = [self.free.pop() for _ in names[: len(self.free)]], len(self.ids)
        rows = np.array([*again, *range(before, before + len(names) - len(again))], np.int64)
        self.ids.store(rows, names)
        if (room := len(self._rows)) < len(self.ids):
            grown = np.empty(max(len(self.ids), room + room // 2), ROW)
            whole(grown)[:room] = whole(self._rows)
            self._rows = grown
        return rows

    def load(self, names: Sequence[str], packed: Sequence[bytes]) -> None:
        """Adds customers with their rows as the store keeps them, of any known form; whoever is here already is passed
        over. Raises UnknownForm.

        A part at a time: in memory a row is longer than stored, and all would stand there twice.
        """
        known = self.ids.find(names) >= 0
        if known.any() or len({*names}) < len(names):
            fresh = {name: row for name, row, here in zip(names, packed, known.tolist(), strict=True) if not here}
            names, packed = [*fresh], [*fresh.values()]
        numbers = self._taken(names)
        self.ids.link(numbers)
        for start in range(0, len(packed), PART):
            part = slice(start, start + PART)
            whole(self._rows)[numbers[part]] = whole(load_rows(packed[part]))

    def take(self, names: Sequence[str], rows: Array) -> None:
        """Adds customers with these rows (n,) of ROW."""
        numbers = self._taken(names)  # may move the rows
        self.ids.link(numbers)
        whole(self._rows)[numbers] = whole(rows)

    def locate(self, batch: Batch, found: Array | None = None) -> Array:
        """Row numbers (n,) of the batch's customers; a purchase makes its customer's row, -1 where there is none.

        found: what `ids.find` says of them, where that is known.
        """
        rows = self.ids.find(batch.customer_id) if found is None else found.copy()
        unknown = np.flatnonzero(rows < 0)
        first = unknown[batch.kind[unknown] == PURCHASE].tolist()
        if first:
            self.add([*dict.fromkeys(batch.customer_id[i] for i in first)])
            rows[unknown] = self.ids.find([batch.customer_id[i] for i in unknown.tolist()])
        return rows

    def lives(self, batch: Batch, found: Array) -> tuple[Array, list[int]]:
        """`locate` of a batch with tombstones among its events: also, of each tombstone, the row that it ends, or -1.

        No later event finds that row, but it stays as it is until `forget`; who buys again gets another. So the events
        of all lives can be folded at once.
        """
        erases = batch.kind == ERASE
        if not erases.any():
            return self.locate(batch, found), []
        rows = found.copy()
        now = dict(zip(batch.customer_id, rows.tolist(), strict=True))
        born: list[str] = []  # row -2 - i is the i-th of these lives, until it has one
        for i, (name, kind) in enumerate(zip(batch.customer_id, batch.kind.tolist(), strict=True)):
            rows[i] = now[name]
            if kind == ERASE:
                now[name] = -1
            elif kind == PURCHASE and rows[i] == -1:
                rows[i] = now[name] = -2 - len(born)
                born.append(name)
        numbers = self._born(born)
        rows[rows < -1] = numbers[-2 - rows[rows < -1]]
        self.ids.unlink(np.unique(found[erases & (found >= 0)]))
        last = [-2 - now[name] for name in dict.fromkeys(born) if now[name] < -1]
        self.ids.link(numbers[last])
        return np.where(erases, -1, rows), rows[erases].tolist()

    def fold(
        self, batch: Batch, rows: Array, offset: Array, swept_to: int, noted: Array, codes: Array | None = None
    ) -> Array:
        """Folds the batch, in its order, into `rows` (from `locate`); returns the entries of the landmarks passed.

        noted: int64, a count for each of NOTED, to which this batch's are added.
        codes: of the batch's products in the offers, uint32 (n,), 0 for all others; None: there are no offers.
        """
        codes = np.zeros(len(batch), np.uint32) if codes is None else codes
        columns = (batch.t, batch.kind, batch.amount, batch.order, *short(batch.event), codes, offset)

        def kernel(out: Array, start: int) -> tuple[int, int]:
            return fold_kernel(self._rows, rows, *columns, swept_to, self.horizon, noted, out, start)

        return gathered(_buffers(kernel, len(rows)))

    def sweep(self, day: int) -> Array:
        """Passes every landmark up to `day`, inclusive; returns the entries, by row and in order."""
        return gathered(self.sweeping(day))

    def sweeping(self, day: int) -> Iterator[Array]:
        """The same, some milliseconds' worth at a time."""
        due = np.flatnonzero(self.rows["due"] <= day)

        def kernel(out: Array, start: int) -> tuple[int, int]:
            return sweep_kernel(self._rows, due, day, self.horizon, out, start)

        return _buffers(kernel, len(due))

    def observe(self, rows: Array, swept_to: int) -> Array:
        """RAW (n,) of these rows as a model sees them: at the first midnight after the last event, or at `swept_to`."""
        return observed(self._rows, rows, swept_to)

    def note(self, rows: Array, said: Any, version: int, swept_to: int) -> tuple[Array, Array, Array]:
        """Notes in these rows what is published of them: said: columns (n,) of Predictions, version: by which number.
        Returns the segments and clusters (n,) that were published before, and as of when they are scored now (us)."""
        before, clusters, at = np.empty((3, len(rows)), np.int64)
        note_kernel(
            self._rows,
            rows,
            *(said.segment, said.cluster, said.rfm, said.demand, said.value),
            *(version, swept_to, before, clusters, at),
        )
        return before, clusters, at

    def erase(self, name: str) -> None:
        """Forgets the customer; nothing if unknown."""
        row = self.ids.find([name])
        if row[0] >= 0:
            self.ids.unlink(row)
            self.forget(row.tolist())

    def forget(self, rows: Sequence[int]) -> None:
        """Blanks these rows, which no event finds any more, for new customers."""
        self.ids.forget(np.array(rows, np.int64))
        for row in rows:
            self._rows[row] = BLANK
            self.free.append(row)


def observed(rows: Array, index: Array, swept_to: int) -> Array:
    """RAW (n,) of these of the rows of ROW: see `Table.observe`."""
    out = np.zeros(len(index), RAW)
    observe_kernel(rows, index, swept_to, out)
    return out


def gathered(buffers: Iterable[Array]) -> Array:
    """All entries in one array."""
    found = [*buffers] or [np.empty(0, ENTRY)]
    return joined(found) if len(found) > 1 else found[0]


def _buffers(kernel: Any, end: int) -> Iterator[Array]:
    """Runs a kernel that stops when its buffer is full until it is through."""
    at = 0
    while at < end:
        out = np.zeros(max(16, min(end - at, 65_536)), ENTRY)
        at, k = kernel(out, at)
        yield out[:k]
