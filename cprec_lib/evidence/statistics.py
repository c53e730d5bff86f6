"""What numbers of users, seeds and rounds allow us to say. Needs no torch."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence


def speed_up(times: Mapping[str, Sequence[float]], name: str, baseline: str) -> tuple[float, ...]:
    """How many times faster a model is than the baseline: median, lowest and highest round."""
    ratios = [b / a for a, b in zip(times[name], times[baseline], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)
