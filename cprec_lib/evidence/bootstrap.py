"""Bootstrap intervals over users: of a metric, and of the difference of two models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # whoever has an array of values needs no torch
    from cprec_lib.train.evaluation import Ranks


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its bootstrap confidence interval."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"


def interval(
    values: np.ndarray, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of one value a user with its percentile bootstrap interval over users (Efron, 1979).

    Raises ValueError without values or resamples, or if `confidence` is not in (0, 1).
    """
    if len(values) == 0:
        raise ValueError("no values: an interval needs at least one user")
    if resamples < 1:
        raise ValueError(f"resamples {resamples} is below 1; 2000 is usual")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1; 0.95 is usual")
    means = _resampled_means(values, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def _resampled_means(
    values: np.ndarray, resamples: int, draw: np.random.Generator
) -> list[float] | np.ndarray:
    """Means over as many users as there are, drawn with replacement: one a resample."""
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if 1000 * len(distinct) > n:
        return [float(values[draw.integers(n, size=n)].mean()) for _ in range(resamples)]
    # How often each value is drawn is multinomial. With many users a value this is far quicker.
    means: np.ndarray = draw.multinomial(n, counts / n, resamples) @ distinct / n
    return means


def compare(
    ranks_a: Ranks,
    ranks_b: Ranks,
    metric: str = "ndcg@10",
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Metric of a minus metric of b, with its paired bootstrap interval over users.

    Paired: each resample draws users, and both models are judged on the same users. An interval
    that includes zero leaves open which model is better. Raises ValueError if the two do not have
    the same number of users.
    """
    a, b = ranks_a.values(metric), ranks_b.values(metric)
    if len(a) != len(b):
        raise ValueError(f"{len(a)} users against {len(b)}; a paired comparison needs the same")
    return interval(a - b, resamples, confidence, seed)
