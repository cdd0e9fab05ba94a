"""Two sources that hold the same sales under other ids are told; the same ids, equal rows and chance are not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import run

from models.kinds import PURCHASE, VIEW
from models.rows import DAY
from offline.history import read as history
from offline.history.overlap import Overlap, by_day, found

Row = tuple[str, int, int, str]  # customer, day, amount, event_id


def rows(first: int, last: int, ids: str) -> list[Row]:
    """Sales of 7 customers a day, by day, whose ids begin so."""
    return [(f"c{n}", day, 5 + (day * 7 + n) % 90, f"{ids}{day}-{n}") for day in range(first, last) for n in range(7)]


def store(path: Path, held: Sequence[Row], ids: bool = True, hour: int = 9, kind: str = "purchase") -> Path:
    """As CSV; without ids: dates alone, as an export of a ledger."""
    frame = pd.DataFrame(held, columns=["customer_id", "day", "amount", "event_id"])
    days = pd.to_datetime(frame["day"], unit="D")
    frame["occurred_at"] = (days + pd.Timedelta(hours=hour)).astype(str) if ids else days.dt.strftime("%Y-%m-%d")
    frame["event_type"] = kind
    frame.drop(columns=["day"] if ids else ["day", "event_id"]).to_csv(path, index=False)
    return path


OTHER_IDS = rows(19_800, 19_860, "b")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"held": OTHER_IDS}, Overlap(140, 140, 420, 19_800, 19_819)),  # by another id, and at another hour
        ({"held": OTHER_IDS, "ids": False}, Overlap(140, 140, 420, 19_800, 19_819)),
        ({"held": [*OTHER_IDS, *rows(19_600, 19_601, "b")]}, Overlap(140, 140, 427, 19_800, 19_819)),
        ({"held": rows(19_800, 19_860, "a")}, None),  # known by their ids
        ({"held": rows(19_820, 19_860, "b")}, None),  # behind the first file
        ({"held": OTHER_IDS, "kind": "view"}, None),
        ({"held": [(f"d{who}", *sale) for who, *sale in OTHER_IDS]}, None),
    ],
)
def test_the_same_sales_by_other_ids(more: dict[str, object], expected: Overlap | None, tmp_path: Path) -> None:
    """Mutations caught: equal ids counted; times compared to the microsecond; any file's rows counted as the later's;
    browsing counted, which has no amount to tell it by."""
    first = store(tmp_path / "a.csv", rows(19_700, 19_820, "a"))
    second = store(tmp_path / "b.csv", **({"hour": 17} | more))  # type: ignore[arg-type]
    assert history.read([first, second], {}).overlap == expected
    assert history.read([second], {}).overlap is None


def test_it_is_said_where_a_history_is_read(tmp_path: Path) -> None:
    first = store(tmp_path / "a.csv", rows(19_700, 19_820, "a"))
    second = store(tmp_path / "b.csv", OTHER_IDS, hour=17)
    said = run("clean", first, second, "--out", tmp_path / "out.parquet")
    assert said.endswith(
        "\noverlap: 140 of 140 purchases and returns from 2024-03-18 to 2024-04-06 agree in customer, type, amount and"
        " day with one of an earlier file, not in their id; each counts twice: leave a file out, or cut it with"
        " `offline clean --until 2024-03-18`\n"
    )
    few = store(tmp_path / "few.csv", [*rows(19_815, 19_816, "b"), *rows(19_820, 20_200, "b")])
    assert "not in their id; few enough to be chance" in run("clean", first, few, "--out", tmp_path / "out.parquet")
    assert "overlap" not in run("clean", second, "--out", tmp_path / "out.parquet")


def test_customers_apart_add_up() -> None:
    """As the parts of a long history do."""
    rng, n = np.random.default_rng(5), 4_000
    events = pd.DataFrame(
        {
            "customer_id": [f"c{i}" if i < 40 else None for i in rng.integers(0, 42, n).tolist()],
            "kind": rng.choice([PURCHASE, VIEW], n),
            "amount": rng.integers(0, 9, n),
            "occurred_at": rng.integers(0, 60 * DAY, n),
            "event_id": rng.integers(0, 2_000, n).astype(str),
        }
    )
    source = rng.integers(0, 3, n)
    whole = found([by_day(events, source)])
    home = events["customer_id"].map(lambda name: hash(name) % 4).to_numpy()
    assert found(by_day(events[home == p], source[home == p]) for p in range(4)) == whole
    plain = 0
    for row, of in zip(events.itertuples(), source, strict=True):
        if row.kind == PURCHASE and row.customer_id is not None:
            other = events[(events["customer_id"] == row.customer_id) & (events["kind"] == PURCHASE) & (source < of)]
            same = other[(other["amount"] == row.amount) & (other["occurred_at"] // DAY == row.occurred_at // DAY)]  # type: ignore[operator]
            plain += bool(len(same)) and row.event_id not in set(same["event_id"])
    assert whole is not None
    assert whole.again == plain > 20
