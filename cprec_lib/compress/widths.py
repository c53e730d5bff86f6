"""Widths of the blocks by a power law of popularity, instead of by a factor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

POWER = 0.3
"""Exponent that its authors found best; 0 makes all blocks equally wide."""


def power_law_widths(
    counts: np.ndarray, cutoffs: Sequence[int], width: int, power: float = POWER
) -> tuple[int, ...]:
    """Widths d_j = max(1, round(d (p_j / p_1)^power)), with p_j the mean count of block j.

    `counts` [N] are the training counts of the items 1..N. Ginart et al., "Mixed Dimension
    Embeddings with Application to Memory-Efficient Recommendation Systems", ISIT 2021. Raises
    ValueError for a negative power.
    """
    if not power >= 0:
        raise ValueError(f"power {power} is negative; {POWER} is usual")
    means = [block.mean() for block in np.split(counts, cutoffs)]
    return tuple(max(1, round(width * (mean / (means[0] or 1)) ** power)) for mean in means)
