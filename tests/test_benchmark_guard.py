"""`make bench` fails where a ratio fell by more than a fifth, on a machine of the same kind."""

from typing import Any

import pytest

from benchmarks.guard import fallen

ON = {"cpu": "AMD EPYC", "cores": "2", "python": "3.11.7", "load_before": "0.79"}
BEFORE: dict[str, Any] = {"machine": ON, "ratio": 36.0, "serving": {"ratio": 0.5}}


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        ({}, 0),
        ({"ratio": 28.9, "serving": {"ratio": 0.41}}, 0),
        ({"ratio": 28.7}, 1),
        ({"ratio": 28.7, "serving": {"ratio": 0.39}}, 2),
        ({"serving": {}}, 1),  # not measured any more
        ({"ratio": 1.0, "machine": ON | {"cores": "4"}}, 0),
        ({"ratio": 1.0, "machine": ON | {"load_before": "3.00"}}, 1),
    ],
)
def test_a_ratio_that_fell_is_told(now: dict[str, Any], lines: int) -> None:
    """Mutations caught: the other way round; rates of other machines compared; a ratio that is gone passed over."""
    assert len(fallen(BEFORE, BEFORE | now)) == lines


def test_what_was_not_measured_before_has_not_fallen() -> None:
    assert fallen({"machine": ON}, BEFORE) == []
