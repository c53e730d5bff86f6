"""Random partitions, model configurations and interaction tables for property tests."""

import pandas as pd
from hypothesis import strategies as st

from cprec_lib import SHARING, BlockPartition, ModelConfig
from cprec_lib.model.middle import MIDDLES


@st.composite
def partitions(draw: st.DrawFn, max_items: int = 30, max_width: int = 6) -> BlockPartition:
    """2 to 5 blocks with widths that need not fall."""
    n_items = draw(st.integers(2, max_items))
    cutoffs = draw(st.sets(st.integers(1, n_items - 1), min_size=1, max_size=min(4, n_items - 1)))
    n_blocks = len(cutoffs) + 1
    widths = draw(st.lists(st.integers(1, max_width), min_size=n_blocks, max_size=n_blocks))
    return BlockPartition(n_items, tuple(sorted(cutoffs)), tuple(widths))


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    """Every kind of model: either side decomposed or not, tree or flat, each middle, each sharing
    scheme."""
    partition = draw(partitions())
    middle = draw(st.sampled_from(tuple(MIDDLES)))
    heads = [n for n in range(1, partition.width + 1) if partition.width % n == 0]
    options = {
        "dilations": st.lists(st.integers(1, 4), max_size=5).map(tuple),
        "kernel_size": st.integers(1, 4),
        "sharing": st.sampled_from(SHARING),
        "layers": st.integers(1, 3),
        "heads": st.sampled_from(heads),
        "max_positions": st.integers(8, 12),
    }
    return ModelConfig(
        partition.n_items,
        partition.width,
        cutoffs=partition.cutoffs,
        factor=draw(st.floats(1, 8)),
        widths=draw(st.sampled_from([None, partition.widths])),
        block_input=draw(st.booleans()),
        block_softmax=draw(st.booleans()),
        tree=draw(st.booleans()),
        middle=middle,
        **{name: draw(options[name]) for name in MIDDLES[middle].options()},
    )


@st.composite
def tables(draw: st.DrawFn, max_users: int = 6, min_length: int = 1) -> pd.DataFrame:
    """Interactions in a random order, with equal times, repeated items and gaps in the ids."""
    rows = []
    for user in draw(st.sets(st.integers(-5, 50), min_size=1, max_size=max_users)):
        events = st.tuples(st.just(user), st.integers(0, 9).map(lambda i: 7 * i), st.integers(0, 6))
        rows += draw(st.lists(events, min_size=min_length, max_size=14))
    rows = draw(st.permutations(rows))
    return pd.DataFrame(rows, columns=["user", "item", "timestamp"])
