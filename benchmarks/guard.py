"""Whether a run is worse than the committed one: by ratios alone, whose both sides are taken in one run.

The rule: a rate tells of the machine and of what else it does, a ratio of the program; and of two kinds of machines not
even that.
"""

from typing import Any

MOST = 0.2  # of a ratio, that it may fall
RATIOS = {
    "events/s over those of the per-event agent": ("ratio",),
    "requests/s over those of a bare app": ("serving", "ratio"),
}
KIND = ("cpu", "cores", "python")  # what makes two machines one kind


def fallen(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A line for each ratio that fell by more than MOST; none where the machine is of another kind.

    >>> on = {"machine": {"cpu": "AMD EPYC", "cores": "2", "python": "3.11.7"}}
    >>> fallen(on | {"ratio": 36.0}, on | {"ratio": 28.0})
    ['events/s over those of the per-event agent: 36 fell to 28, by more than 20 %']
    >>> fallen(on | {"ratio": 36.0}, on | {"ratio": 29.0, "serving": {"ratio": 0.1}})
    []
    """
    if any(before["machine"][name] != now["machine"][name] for name in KIND):
        return []
    found = ((name, _at(before, path), _at(now, path)) for name, path in RATIOS.items())
    return [
        f"{name}: {old:.3g} fell to {new:.3g}, by more than {100 * MOST:.0f} %"
        for name, old, new in found
        if new < (1 - MOST) * old
    ]


def _at(results: dict[str, Any], path: tuple[str, ...]) -> float:
    """0 where it was not measured."""
    found: Any = results
    for name in path:
        found = found.get(name, {})
    return float(found or 0)
