"""Layer sharing: which residual blocks use the same convolutions."""

from __future__ import annotations

from collections.abc import Callable

from cprec_lib.checks import check_choice

# Number b of a residual block -> the indices of its first and its second convolution.
_SCHEMES: dict[str, Callable[[int], tuple[int, int]]] = {
    "none": lambda b: (2 * b, 2 * b + 1),
    "cross-layer": lambda b: (0, 0),
    "cross-block": lambda b: (0, 1),
    "adjacent-layer": lambda b: (b, b),
    "adjacent-block": lambda b: (2 * (b // 2), 2 * (b // 2) + 1),
}

SHARING = tuple(_SCHEMES)
"""Names of the schemes: none, ALBERT's (one layer for all), and three of CpRec, section 3.3."""


def sharing_table(scheme: str, n_blocks: int) -> tuple[tuple[int, int], ...]:
    """For each of `n_blocks` residual blocks, the indices of its first and second convolution.

    Equal indices mean one shared convolution (weight and bias). Layer normalisations are never
    shared. Raises ValueError for an unknown scheme.
    """
    check_choice("sharing scheme", scheme, SHARING)
    return tuple(_SCHEMES[scheme](b) for b in range(n_blocks))


def distinct_convolutions(scheme: str, n_blocks: int) -> int:
    """Number of distinct convolutions among the 2 n_blocks that the model applies."""
    return len({index for pair in sharing_table(scheme, n_blocks) for index in pair})
