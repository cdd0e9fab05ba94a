"""`make test`, at its end: how much of each room the tests ran, and exit code 1 if that is less than the floor.

A room is a directory of the three packages. Counted are statements and the ways out of each branch, in the tests' own
processes and in those that they start. The floor is `fail_under` of pyproject.toml; each room is held to it.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from coverage import Coverage


class Ran(NamedTuple):
    """What there is and what was run of it."""

    lines: int = 0
    lines_run: int = 0
    branches: int = 0
    branches_run: int = 0

    def __add__(self, other: tuple[int, ...]) -> "Ran":  # type: ignore[override]
        return Ran(*map(sum, zip(self, other, strict=True)))

    @property
    def percent(self) -> float:
        """Of lines and branches together, as `coverage report` counts."""
        return 100 * (self.lines_run + self.branches_run) / max(1, self.lines + self.branches)


def rooms(measured: Coverage) -> dict[str, Ran]:
    """By directory, and of all."""
    found: dict[str, Ran] = defaultdict(Ran)
    for name in measured.get_data().measured_files():
        _, lines, _, missing, _ = measured.analysis2(name)
        ways = measured.branch_stats(name).values()
        ran = Ran(len(lines), len(lines) - len(missing), sum(n for n, _ in ways), sum(n for _, n in ways))
        for room in (str(Path(name).parent.relative_to(Path.cwd())), "all"):
            found[room] += ran
    return found


def table(found: Mapping[str, Ran]) -> str:
    """A line each.

    >>> print(table({"models": Ran(10, 9, 4, 4)}))
    room                      lines   run  branches   run  covered
    models                       10     9         4     4    92.9%
    """
    head = f"{'room':<24}{'lines':>7}{'run':>6}{'branches':>10}{'run':>6}{'covered':>9}"
    return "\n".join(
        [
            head,
            *(
                f"{room:<24}{a:>7}{b:>6}{c:>10}{d:>6}{r.percent:>8.1f}%"
                for room, r in found.items()
                for a, b, c, d in [r]
            ),
        ]
    )


def below(found: Mapping[str, Ran], floor: float) -> list[str]:
    """A line for each room that is not held.

    >>> below({"models": Ran(10, 9, 4, 4), "streams": Ran(10, 10)}, 95)
    ['models: 92.9% of lines and branches were run, less than the floor of 95%']
    """
    what = "of lines and branches were run, less than the floor of"
    return [f"{room}: {ran.percent:.1f}% {what} {floor:g}%" for room, ran in found.items() if ran.percent < floor]


if __name__ == "__main__":
    measured = Coverage()
    measured.load()
    found = dict(sorted(rooms(measured).items(), key=lambda one: (one[0] == "all", one[0])))
    print(table(found))
    sys.exit("\n".join(below(found, float(str(measured.get_option("report:fail_under"))))) or None)
