"""The closed forms of the ledger against the models that they describe."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cprec_lib import (
    SHARING,
    SequentialRecommender,
    count_parameters,
    cprec,
    gru4rec,
    nextitnet,
    sasrec,
)
from tests.strategies import configs

PARTS = ("embedding", "middle", "softmax")


def counted(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@given(configs())
def test_the_ledger_counts_each_part_of_the_model(config):
    model, ledger = SequentialRecommender(config), count_parameters(config)
    assert ledger.by_part() == {part: counted(getattr(model, part)) for part in PARTS}
    assert ledger.total == counted(model)
    assert ledger.bytes == 4 * ledger.total


@pytest.mark.parametrize("sharing", SHARING)
@pytest.mark.parametrize("n_blocks", [0, 1, 2, 5])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tree": False},
        {"block_softmax": False},
        {"block_input": False},
        {"block_input": False, "tree": False},
        {"block_input": False, "block_softmax": False},
    ],
)
def test_every_kind_of_model_is_counted(sharing, n_blocks, options):
    config = cprec(40, 6, (5, 12, 30), sharing, dilations=(1,) * n_blocks, factor=2, **options)
    assert count_parameters(config).total == counted(SequentialRecommender(config))


@given(configs())
def test_every_component_is_a_parameter_or_more_of_the_model(config):
    """Component by component, under the names that the ledger gives."""
    model, frame = SequentialRecommender(config), count_parameters(config).to_frame()
    parameters = frame["parameters"].to_dict()
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm)]
    assert parameters.get(("middle", "layer norms"), 0) == sum(counted(norm) for norm in norms)
    if config.middle == "attention":
        blocks = model.middle.blocks
        assert parameters["middle", "positions"] == model.middle.positions.numel()
        for component, name in (("attention", "projection"), ("feed-forward", "feed_forward")):
            layers = sum(counted(getattr(block, name)) for block in blocks)
            assert parameters["middle", component] == layers
    if config.block_input:
        tables = model.embedding.tables
        assert parameters["embedding", "head"] == counted(tables[0])
        for j, table in enumerate(tables[1:], start=2):
            assert parameters["embedding", f"block {j} table"] == counted(table)
            projection = model.embedding.projections[j - 1]
            assert parameters["embedding", f"block {j} projection"] == counted(projection)
    if config.block_softmax:
        for j, table in enumerate(model.softmax.tail_tables, start=2):
            assert parameters["softmax", f"block {j} table"] == counted(table)
            projection = model.softmax.tail_projections[j - 2]
            assert parameters["softmax", f"block {j} projection"] == counted(projection)


@given(
    n_items=st.integers(1, 5000),
    width=st.integers(1, 600),
    n_blocks=st.integers(0, 9),
    kernel_size=st.integers(1, 5),
)
def test_the_uncompressed_model_by_the_papers_arithmetic(n_items, width, n_blocks, kernel_size):
    """2 N d + N + 2 B (k d^2 + d + 2 d), without building the model."""
    config = nextitnet(n_items, width, dilations=(1,) * n_blocks, kernel_size=kernel_size)
    middle = 2 * n_blocks * (kernel_size * width**2 + 3 * width)
    assert count_parameters(config).total == 2 * n_items * width + n_items + middle


@pytest.mark.parametrize(
    ("n_items", "width", "n_blocks", "cutoffs", "sharing", "times"),
    [
        (26_744, 512, 4, (7000, 15_000), "none", 2.1),
        (26_744, 512, 4, (7000, 15_000), "cross-block", 2.9),
        (26_744, 512, 4, (0.05, 0.2), "none", 3.3),
        (26_744, 512, 4, (0.05, 0.2), "adjacent-block", 4.8),
        (26_744, 512, 4, (0.05, 0.2), "adjacent-layer", 4.8),
        (26_744, 512, 4, (0.05, 0.2), "cross-block", 6.1),
        (3416, 256, 8, (0.05, 0.2), "none", 1.4),
        (3416, 256, 8, (0.05, 0.2), "cross-block", 7.2),
    ],
)
def test_the_compression_that_the_course_quotes(n_items, width, n_blocks, cutoffs, sharing, times):
    dilations = (1, 4) * (n_blocks // 2)
    full = count_parameters(nextitnet(n_items, width, dilations=dilations))
    small = count_parameters(cprec(n_items, width, cutoffs, sharing, dilations=dilations))
    assert full.total / small.total == pytest.approx(times, abs=0.05)


def test_multiply_adds_by_hand():
    """Width 4, kernel 3, one block; 10 items of which 3 head, 2 + 5 tail at widths 2 and 1."""
    config = cprec(10, 4, cutoffs=(3, 5), factor=2, dilations=(1,))
    ledger = count_parameters(config)
    assert config.partition.widths == (4, 2, 1)
    embedding = 2 * 4 + 1 * 4
    middle = 2 * 3 * 4 * 4 + 2 * 4
    softmax = 3 * 4 + 2 * 4 + (4 * 2 + 2 * 2) + (4 * 1 + 5 * 1)
    assert ledger.multiply_adds == embedding + middle + softmax
    full = count_parameters(nextitnet(10, 4, dilations=(1,)))
    assert full.multiply_adds == middle + 10 * 4


def test_multiply_adds_of_the_other_middles_by_hand():
    """Width 4; two layers; an attention to 10 positions."""
    softmax = 9 * 4
    gru = 2 * (3 * (4 * 4 + 4 * 4) + 3 * 4)
    assert count_parameters(gru4rec(9, 4, layers=2)).multiply_adds == gru + softmax
    scores, mixture = 10 * 4, 10 * 4
    block = 3 * 4 * 4 + scores + mixture + 2 * 4 * 4 + 2 * 4
    attention = count_parameters(sasrec(9, 4, heads=2, max_positions=10))
    assert attention.multiply_adds == 4 + 2 * block + 4 + softmax


@pytest.mark.parametrize("preset", [gru4rec, sasrec])
def test_the_bread_of_cprec_is_counted_alike_around_every_middle(preset):
    bread = {"cutoffs": (5, 12), "block_input": True, "block_softmax": True}
    parts = count_parameters(preset(40, 8, **bread)).by_part()
    compressed = count_parameters(cprec(40, 8, (5, 12))).by_part()
    assert {**parts, "middle": 0} == {**compressed, "middle": 0}


@given(configs())
def test_sharing_saves_parameters_but_no_multiply_adds(config):
    unshared = replace(config, sharing=config.sharing and "none")
    assert count_parameters(config).multiply_adds == count_parameters(unshared).multiply_adds
    assert count_parameters(config).total <= count_parameters(unshared).total


def test_the_frame_lists_each_component_with_its_share():
    ledger = count_parameters(cprec(40, 8, cutoffs=(5, 12), dilations=(1, 2)))
    frame = ledger.to_frame()
    tails = [f"block {j} {part}" for j in (2, 3) for part in ("table", "projection")]
    assert frame.loc["embedding"].index.tolist() == ["head", *tails]
    assert frame.loc["softmax"].index.tolist() == ["head", "block tokens", *tails]
    assert frame.index.names == ["part", "component"]
    assert frame["parameters"].sum() == ledger.total
    assert frame["multiply_adds"].sum() == ledger.multiply_adds
    assert frame["share"].sum() == pytest.approx(1)
    assert frame.loc[("softmax", "block tokens"), "parameters"] == 2 * 8
