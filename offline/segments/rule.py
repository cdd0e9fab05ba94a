"""The rule of segments, fitted: the shop's usual gap, what is late, what a champion spends (`models.segments`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.cadence import gap_of
from models.segments import LATE, NAMES, USUAL, Segments
from offline.errors import OfflineError
from offline.history.fold import Folded

LONGEST, LATEST = 0.9, (1.25, 3.0)  # quantile of pauses that ended, in usual gaps, and its bounds
BEST = 0.8  # quantile of spend that a champion reaches
ENOUGH = 20  # pauses that a quantile needs


def named(path: Path) -> tuple[str, ...]:
    """The names by number that a YAML file gives (`Champions: Stammkunden`), all seven; what they mean stays.

    Raises OfflineError.
    """
    import yaml

    try:
        found = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OfflineError(f"--names {path}: no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict) or {*found} != {*NAMES}:
        raise OfflineError(f"--names {path}: say another name for each of {', '.join(NAMES)}: `Lost: Verloren`")
    names = tuple(found[name].strip() if isinstance(found[name], str) else "" for name in NAMES)
    if "" in names or len({*names}) < len(NAMES):
        raise OfflineError(f"--names {path}: each segment needs a name of its own, not {', '.join(map(repr, names))}")
    return names


def fit(folded: Folded, names: Sequence[str] = NAMES) -> Segments:
    """The rule as of the cut-off, and how many customers are in each segment then.

    gap: the median of the mean gaps of who came back. late: nine of ten pauses after which somebody came back were
    shorter. top: what a fifth of all customers spent, or the median of who bought on three days, if that is more.
    """
    raw = folded.raw
    several, often = raw["days"] > 1, raw["spend"][raw["days"] > 2]
    gap = float(np.median(gap_of(raw)[several])) if several.any() else USUAL
    top = max(np.quantile(raw["spend"], BEST), np.median(often) if len(often) else 0, 1) if len(raw) else 1
    pause, known, span = folded.pauses.T.astype(np.float64)
    ratio = (pause / np.maximum(1.0, (gap + span) / (1 + known)))[known > 0]
    late = float(np.clip(np.quantile(ratio, LONGEST), *LATEST)) if len(ratio) >= ENOUGH else LATE
    found = Segments(gap, late, int(top), names)
    found.sizes = np.bincount(found.predict_many(raw), minlength=len(NAMES)).tolist()
    return found
