"""The block partition: a catalogue cut into contiguous blocks of falling popularity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cprec_lib.checks import whole_number, whole_numbers


def cutoffs_from_shares(n_items: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Turn cumulative shares of the catalogue, such as (0.05, 0.2), into item counts.

    Each share is rounded to the nearest count. Raises ValueError if a share lies outside (0, 1)
    or if the counts do not increase, which happens when the catalogue is too small for the shares.
    """
    for share in shares:
        if not 0 < share < 1:
            raise ValueError(
                f"share {share} is not between 0 and 1; give cumulative shares such as 0.05, 0.2"
            )
    cutoffs = tuple(round(share * n_items) for share in shares)
    try:
        _check_cutoffs(n_items, cutoffs)
    except ValueError as error:
        raise ValueError(
            f"{n_items} items are too few for cutoffs at the shares {_listed(shares)} "
            f"(the item counts {_listed(cutoffs)}): {error}. Give item counts, such as "
            f"{_listed(range(1, len(cutoffs) + 1))}"
        ) from error
    return cutoffs


def _listed(numbers: Iterable[float]) -> str:
    return ",".join(str(number) for number in numbers)


def decaying_widths(width: int, n_blocks: int, factor: float = 4) -> tuple[int, ...]:
    """Widths d_j = max(1, floor(d / factor^(j-1))) of blocks j = 1 .. n (CpRec, section 3.2)."""
    if width < 1:
        raise ValueError(f"width {width} is below 1; a vector needs at least one component")
    if not factor >= 1:
        raise ValueError(f"factor {factor} is below 1; tail blocks may not be wider than the head")
    # Every factor above the width makes all tails 1 wide; powers of a huge one would overflow.
    factor = min(factor, width)
    return tuple(max(1, int(width / factor**j)) for j in range(n_blocks))


def _check_cutoffs(n_items: int, cutoffs: tuple[int, ...]) -> None:
    if not cutoffs:
        raise ValueError("no cutoffs: give at least one, such as (100,), to have a head and a tail")
    if cutoffs[0] < 1:
        raise ValueError(f"first cutoff {cutoffs[0]} is below 1; the head needs at least one item")
    if any(later <= earlier for earlier, later in pairwise(cutoffs)):
        raise ValueError(
            f"cutoffs {cutoffs} do not increase; "
            f"each must be a larger item count than the one before (catalogue: {n_items} items)"
        )
    if cutoffs[-1] >= n_items:
        raise ValueError(
            f"last cutoff {cutoffs[-1]} leaves no tail in a catalogue of {n_items} items; "
            f"it must be at most {n_items - 1}"
        )


@dataclass(frozen=True)
class BlockPartition:
    """A catalogue of items 1..n_items in contiguous blocks, each with a width of its own.

    Items are numbered by falling popularity, so block 0 is the head and the last block the far
    tail. `cutoffs` are cumulative item counts with n_items left out, as in
    `torch.nn.AdaptiveLogSoftmaxWithLoss`; `widths` has one entry per block, the head's first.

    Raises ValueError if the cutoffs do not increase or leave the head or the tail empty, if there
    is not one width of at least 1 per block, or if a number is not whole.
    """

    n_items: int
    cutoffs: tuple[int, ...]
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_items", whole_number("n_items", self.n_items))
        object.__setattr__(self, "cutoffs", whole_numbers("cutoff", self.cutoffs))
        object.__setattr__(self, "widths", whole_numbers("width", self.widths))
        _check_cutoffs(self.n_items, self.cutoffs)
        if len(self.widths) != self.n_blocks:
            raise ValueError(
                f"{len(self.widths)} widths {self.widths} for {self.n_blocks} blocks; "
                f"{len(self.cutoffs)} cutoffs make {self.n_blocks} blocks, each needs one width"
            )
        if min(self.widths) < 1:
            raise ValueError(f"widths {self.widths}: each must be at least 1")

    @classmethod
    def decaying(
        cls, n_items: int, cutoffs: Sequence[int], width: int, factor: float = 4
    ) -> BlockPartition:
        """Partition whose widths fall by `factor` from block to block (see `decaying_widths`)."""
        return cls(n_items, tuple(cutoffs), decaying_widths(width, len(cutoffs) + 1, factor))

    @property
    def n_blocks(self) -> int:
        """Number of blocks, head included."""
        return len(self.cutoffs) + 1

    @property
    def width(self) -> int:
        """Width d of the head, and of the hidden vectors that all blocks share."""
        return self.widths[0]

    @property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """(start, end) of each block: it holds the items start + 1 .. end."""
        return tuple(pairwise((0, *self.cutoffs, self.n_items)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of items k_j of each block."""
        return tuple(end - start for start, end in self.bounds)
