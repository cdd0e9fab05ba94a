"""The rule of segments, fitted: the shop's usual gap, what is late, what a champion spends (`models.segments`)."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.cadence import gap_of
from models.features import UNIT
from models.segments import LATE, NAMES, USUAL, Segments
from offline import yamls
from offline.errors import OfflineError
from offline.history.fold import Folded

LONGEST, LATEST = 0.9, (1.25, 3.0)  # quantile of pauses that ended, in usual gaps, and its bounds
BEST = 0.8  # quantile of spend that a champion reaches
CENT = int(UNIT / 100)
ENOUGH = 20  # pauses that a quantile needs
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's categories of what moves, turns or hides text around it
# What no font shows, though Unicode counts it among letters, marks and symbols: fillers and selectors of variants.
BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def named(path: Path) -> tuple[str, ...]:
    """The names by number that a YAML file gives (`Champions: Stammkunden`), all seven; what they mean stays.

    Raises OfflineError, one line: also for a name that cannot be seen as it is, that looks like another one, or that
    is ours for another segment.
    """
    where, found = f"--names {path}", yamls.read(path, "--names")
    if not isinstance(found, dict) or {*found} != {*NAMES}:
        raise OfflineError(f"{where}: say another name for each of {', '.join(NAMES)}: `Lost: Verloren`")
    names = [found[ours].strip() if isinstance(found[ours], str) else "" for ours in NAMES]
    meant, seen = {_look(ours): ours for ours in NAMES}, dict[str, str]()
    for ours, name in zip(NAMES, names, strict=True):
        look = _seen(name, f"{where}: {ours}")
        if look in seen:
            raise OfflineError(f"{where}: {seen[look]} and {ours} are both {name!r}: give each a name of its own")
        if meant.get(look, ours) != ours:
            raise OfflineError(f"{where}: {ours}: {name!r} means {meant[look]} here: give another word")
        seen[look] = ours
    return tuple(names)


def _seen(name: str, where: str) -> str:
    """How it looks. Raises OfflineError where that is nothing, or not all of it."""
    if hidden := [each for each in name if unicodedata.category(each) in UNSEEN]:
        raise OfflineError(f"{where}: {name!r} holds U+{ord(hidden[0]):04X}, which nobody sees: take it out")
    look = _look(name)
    if not any(unicodedata.category(each)[0] in "LNPS" for each in look):
        raise OfflineError(f"{where}: {name!r} is nothing that is seen: give it a name")
    return look


def _look(name: str) -> str:
    """Names that look the same, but for case and space, have the same one."""
    folded = BLANK.sub("", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()))
    return " ".join(folded.split())


def fit(folded: Folded, names: Sequence[str] = NAMES) -> Segments:
    """The rule as of the cut-off, and how many customers are in each segment then.

    gap: the median of the mean gaps of who came back. late: nine of ten pauses after which somebody came back were
    shorter. top: what a fifth of all customers spent, or the median of who bought on three days, if that is more.
    """
    raw = folded.raw
    several, often = raw["days"] > 1, raw["spend"][raw["days"] > 2]
    gap = float(np.median(gap_of(raw)[several])) if several.any() else USUAL
    top = max(np.quantile(raw["spend"], BEST), np.median(often) if len(often) else 0, 1) if len(raw) else 1
    pause, known, span = folded.pauses[folded.pauses[:, 1] > 0].T
    ratio = pause / np.maximum(1.0, (gap + span) / (1.0 + known))
    late = float(np.clip(np.quantile(ratio, LONGEST), *LATEST)) if len(ratio) >= ENOUGH else LATE
    # As the words say them: what a name says is true of who bears it, to the last digit.
    found = Segments(round(gap, 1), round(late, 2), -(-int(top) // CENT) * CENT, names)
    found.sizes = np.bincount(found.predict_many(raw), minlength=len(NAMES)).tolist()
    return found
