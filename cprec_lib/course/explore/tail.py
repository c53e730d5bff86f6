"""A cut through a catalogue, and what lies on each side of it."""

import numpy as np

from cprec_lib.course.explore.explorable import (
    FACTORS,
    Control,
    Explorable,
    check_cuts,
    named,
    percent,
)
from cprec_lib.course.figures.popularity import Cut, cut_sides
from cprec_lib.course.popularity import block_table
from cprec_lib.model.partition import BlockPartition, cutoffs_from_shares

CUTS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
CONTROLS = (
    Control("Head", "Where the catalogue is cut: its share of the items.", percent(CUTS), 0.2),
    Control("Factor", "How many times narrower the rows of the tail are.", named(FACTORS), 4),
)


def cut(counts: np.ndarray, width: int, share: float, factor: int) -> Cut:
    """Shares of head and tail: of the items, the interactions and the cut table's parameters."""
    head = cutoffs_from_shares(len(counts), [share])
    table = block_table(counts, BlockPartition.decaying(len(counts), head, width, factor))
    parts = {
        "items, and\nuncut table": table["share_of_items"],
        "interactions": table["share_of_interactions"],
        "cut table": table["decomposed"] / table["full"].sum(),
    }
    title = f"Head {share:.0%}, tail {factor} times narrower"
    return Cut(
        title, share, {name: (sides.iloc[0], sides.iloc[1]) for name, sides in parts.items()}
    )


def say(state: Cut) -> str:
    """The state in words."""
    served, kept = state.parts["interactions"][0], sum(state.parts["cut table"])
    return (
        f"{state.title}: the head has {served:.0%} of the interactions, and the cut table "
        f"{kept:.0%} of the parameters."
    )


def tail(counts: np.ndarray, width: int = 64) -> Explorable:
    """What lies on each side of a cut through a catalogue with falling `counts` [N].

    Raises ValueError for fewer than 100 items.
    """
    n_items = len(counts)
    check_cuts(n_items)
    spots = np.unique(np.linspace(0, n_items - 1, 150).round().astype(int))
    curve = (spots + 1) / n_items, counts[spots]
    table = {(s, factor): cut(counts, width, s, factor) for s in CUTS for factor in FACTORS}
    return Explorable(
        "tail",
        CONTROLS,
        lambda share, factor: table[share, factor],
        lambda states: cut_sides(states, curve),
        say,
        ((CUTS[0], FACTORS[0]), (0.2, 4), (CUTS[-1], FACTORS[-1])),
        f"One cut through an embedding table of {n_items:,} items and width {width}. The cut "
        "table's bar includes the tail's projection.",
    )
