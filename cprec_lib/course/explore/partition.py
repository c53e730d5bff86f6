"""Three blocks: what they save in a catalogue's embedding and softmax."""

from dataclasses import replace
from functools import partial

from cprec_lib.course.explore.explorable import (
    FACTORS,
    Control,
    Explorable,
    check_cuts,
    join,
    named,
    percent,
)
from cprec_lib.course.figures.cost import Bread, bread
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.cost import count_parameters
from cprec_lib.model.partition import cutoffs_from_shares

FIRST, SECOND = (0.01, 0.02, 0.05, 0.1, 0.15), (0.2, 0.33, 0.5, 0.8)
WIDTHS = (16, 32, 64, 128, 256, 512)
NARROWER = "How many times narrower each block is than the one before."
CONTROLS = (
    Control("Head", "The share of the items that keep the full width.", percent(FIRST), 0.05),
    Control("Block 2 ends at", "The items beyond it form block 3.", percent(SECOND), 0.2),
    Control("Width", "The width of the head, and of the model.", named(WIDTHS), 64),
    Control("Factor", NARROWER, named(FACTORS), 4),
)


def count(n_items: int, first: float, second: float, width: int, factor: int) -> Bread:
    """Parameters of embedding and softmax by the ledger, uncut and cut at two shares of items."""
    cutoffs = cutoffs_from_shares(n_items, [first, second])
    whole = ModelConfig(n_items, width, dilations=(), cutoffs=cutoffs, factor=factor)
    config = replace(whole, block_input=True, block_softmax=True)
    parts = {"head": 0, "block 2": 0, "block 3": 0, "projections and tokens": 0}
    for entry in count_parameters(config).entries:
        name = entry.component.removesuffix(" table")
        parts[name if name in parts else "projections and tokens"] += entry.parameters
    sizes = (size * (2 * width + 1) for size in config.partition.sizes)
    times = count_parameters(whole).total / sum(parts.values())
    widths = join([str(each) for each in config.partition.widths])
    title = f"Cut at {first:.0%} and {second:.0%}, widths {widths}: {times:.1f} times smaller"
    return Bread(title, dict(zip(parts, (*sizes, 0), strict=True)), parts)


def say(state: Bread) -> str:
    """The state in words."""
    return (
        f"{state.title}, {sum(state.uncut.values()):,} parameters uncut and "
        f"{sum(state.cut.values()):,} cut, of them {state.cut['head']:,} in the head."
    )


def partition(n_items: int) -> Explorable:
    """What three blocks save in embedding and softmax of `n_items` items, by the ledger.

    Raises ValueError for fewer than 100 items.
    """
    check_cuts(n_items)
    return Explorable(
        "partition",
        CONTROLS,
        partial(count, n_items),
        bread,
        say,
        (
            (FIRST[0], SECOND[0], WIDTHS[-1], FACTORS[-1]),
            (0.05, 0.2, 64, 4),
            (FIRST[-1], SECOND[-1], WIDTHS[0], FACTORS[0]),
        ),
        f"Embedding and softmax of a catalogue of {n_items:,} items, uncut and cut into three "
        "blocks, by the ledger. Each panel has its own scale.",
    )
