"""All scores of everybody as one file, for who works with files: a row each, under the names of Redis's hash."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from models import scores
from models.model import Model, Predictions
from offline.history.fold import Folded
from offline.writing import replacing

LEFT_OUT = {"previous_segment", "segment_since", "last_event_at", "source", *scores.COMMON}  # nothing to a history
BLOCK = 1 << 14


def write(path: Path, folded: Folded, model: Model, predicted: Predictions) -> None:
    """CSV, a row for everybody in the order of the table: customer_id, then fields as docs/redis-contract.md has them.

    predicted: of everybody at the cut-off; `path` holds either what it held before or all of them.
    """
    fields = [name for name in scores.FIELDS if name not in LEFT_OUT]
    places = [scores.FIELDS.index(name) for name in fields]
    with replacing(path) as fresh, fresh.open("w", newline="", encoding="utf-8") as file:
        names, table = folded.table.names, csv.writer(file, lineterminator="\n")
        table.writerow(["customer_id", *fields])
        for start in range(0, len(folded.table), BLOCK):
            part = slice(start, start + BLOCK)
            said: Any = SimpleNamespace(**{name: column[part] for name, column in predicted._asdict().items()})
            told = scores.texts(
                folded.table.rows[part], said, model.segments.names, model.offers, model.horizon, folded.day, ""
            )
            table.writerows([name, *(text[i] for i in places)] for name, text in zip(names[part], told, strict=True))
