"""The popularity curve of a catalogue, and what a cut into blocks saves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cprec_lib.model.partition import BlockPartition


def sorted_counts(counts: np.ndarray) -> np.ndarray:
    """Counts in falling order, as a rank-frequency curve shows them.

    Raises ValueError if there are none, if one is negative or not finite, or if all are zero.
    """
    counts = np.sort(np.asarray(counts))[::-1]
    # After sorting, a NaN comes first.
    if len(counts) == 0 or counts[-1] < 0 or not 0 < counts[0] < np.inf:
        found = f"they run from {counts[-1]} to {counts[0]}" if len(counts) else "there are none"
        raise ValueError(
            f"counts must be finite, non-negative and not all zero; {found}. Count the "
            "interactions of each item"
        )
    return counts


def log_spaced_ranks(n_items: int, points: int = 50) -> np.ndarray:
    """Up to `points` different ranks from 1 to n_items, evenly spaced on a logarithmic axis.

    There are fewer if several round to the same whole rank, as at the start of the axis.
    """
    return np.unique(np.geomspace(1, n_items, points).round().astype(int))


@dataclass(frozen=True)
class ZipfFit:
    """Fitted power law count(rank) = scale * rank^-exponent, and its R^2 in log-log space."""

    exponent: float
    scale: float
    r_squared: float

    def counts(self, ranks: np.ndarray) -> np.ndarray:
        """Counts that the fitted law gives at `ranks` (1 is the most popular item)."""
        return self.scale * np.asarray(ranks, dtype=float) ** -self.exponent


def fit_zipf(counts: np.ndarray, points: int = 50) -> ZipfFit:
    """Least-squares line through log count against log rank, at log-spaced ranks.

    Log-spaced ranks give every stretch of the curve the same weight; with all ranks the many
    items of the far tail would decide alone. Items without interactions are ignored. Raises
    ValueError if fewer than 3 items have interactions.
    """
    counts = sorted_counts(counts)
    counts = counts[counts > 0]
    if len(counts) < 3:
        raise ValueError(f"{len(counts)} items with interactions are too few to fit a line; need 3")
    ranks = log_spaced_ranks(len(counts), points)
    x, y = np.log(ranks), np.log(counts[ranks - 1])
    slope, intercept = np.polyfit(x, y, 1)
    spread = ((y - y.mean()) ** 2).sum()
    residual = ((y - slope * x - intercept) ** 2).sum()
    # A flat curve has no spread to explain, only rounding; the fitted line is then exact.
    r_squared = 1 - residual / spread if y[0] > y[-1] else 1.0
    return ZipfFit(float(-slope), float(np.exp(intercept)), float(r_squared))


def lorenz_curve(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of items and share of interactions, both [N + 1] from 0 to 1, least popular first."""
    rising = sorted_counts(counts)[::-1]
    interactions = np.concatenate([[0.0], rising.cumsum() / rising.sum()])
    return np.linspace(0, 1, len(interactions)), interactions


def gini(counts: np.ndarray) -> float:
    """Gini coefficient: 0 if all items are equally popular, near 1 if few have everything.

    Twice the area between the diagonal and the Lorenz curve.
    """
    items, interactions = lorenz_curve(counts)
    return float(1 - 2 * np.trapezoid(interactions, items))


def top_share(counts: np.ndarray, share: float) -> float:
    """Share of all interactions that belong to the most popular `share` of the items.

    The number of items is rounded to the nearest whole number, at least 1. Raises ValueError if
    `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} is not in (0, 1]; 0.05 means the top 5 %")
    counts = sorted_counts(counts)
    return float(counts[: max(1, round(share * len(counts)))].sum() / counts.sum())


def block_table(counts: np.ndarray, partition: BlockPartition) -> pd.DataFrame:
    """One row per block: items, their share of the interactions, and table parameters.

    `full` is the number of parameters of the block's items in an uncompressed table, `decomposed`
    their number at the block's own width (for tail blocks, with the projection).
    `full_per_interaction` is `full` divided by the interactions, infinite in a block without any.
    Raises ValueError if there is not one count for each item of the partition.
    """
    counts = sorted_counts(counts)
    if len(counts) != partition.n_items:
        raise ValueError(
            f"{len(counts)} counts for a partition of {partition.n_items} items; "
            f"build the partition with n_items={len(counts)}"
        )
    sizes, widths = np.array(partition.sizes), np.array(partition.widths)
    interactions = np.add.reduceat(counts, [start for start, _ in partition.bounds])
    projections = widths * partition.width
    projections[0] = 0
    full = sizes * partition.width
    per_interaction = np.full(len(sizes), np.inf)
    np.divide(full, interactions, out=per_interaction, where=interactions > 0)
    return pd.DataFrame(
        {
            "items": sizes,
            "share_of_items": sizes / partition.n_items,
            "interactions": interactions,
            "share_of_interactions": interactions / counts.sum(),
            "width": widths,
            "full": full,
            "decomposed": sizes * widths + projections,
            "full_per_interaction": per_interaction,
        },
        index=pd.RangeIndex(1, partition.n_blocks + 1, name="block"),
    )
