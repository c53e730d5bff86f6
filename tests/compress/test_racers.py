"""The racers: as large as a budget allows, in all kinds of models."""

import numpy as np
import pytest

from cprec_lib import (
    ModelConfig,
    SequentialRecommender,
    count_parameters,
    gru4rec,
    nextitnet,
    sasrec,
)
from cprec_lib.compress.compressor import compress_with
from cprec_lib.compress.racers import CONTROL, RACERS, Plan, Racer, plans

COUNTS = np.arange(400, 0, -1)


@pytest.mark.parametrize("racer", [*RACERS, CONTROL], ids=lambda racer: racer.label)
@pytest.mark.parametrize(
    "full",
    [
        nextitnet(400, 32, dilations=(1, 2)),
        sasrec(400, 32, heads=2, max_positions=8),
        gru4rec(400, 32),
    ],
    ids=lambda config: config.middle,
)
def test_a_racer_is_as_large_as_the_budget_allows(racer: Racer, full: ModelConfig) -> None:
    most = count_parameters(full).bytes // 2
    plan = racer.widest(full, COUNTS, most)
    assert plan is not None
    model = SequentialRecommender(plan.config)
    if plan.last:
        model = compress_with(model, plan.last)
    assert sum(p.nbytes for p in model.parameters()) == plan.bytes <= most
    larger = [each.bytes for each in _before(racer, full, plan)]
    assert all(size > most for size in larger)
    if full.middle == "cnn" and plan.config.width < full.width:
        assert larger  # the next wider one was looked at


def _before(racer: Racer, full: ModelConfig, plan: Plan) -> list[Plan]:
    """The versions that are larger than a plan."""
    every = [*racer.plans(full, COUNTS)]
    return every[: every.index(plan)]


def test_labels_name_racers() -> None:
    labels = [racer.label for racer in (*RACERS, CONTROL)]
    assert len({*labels}) == len(labels)


def test_widths_by_popularity_leave_whole_groups() -> None:
    """Else no wide model of blocks could be rounded in groups of 16."""
    racer = next(r for r in RACERS if r.label == "CpRec by popularity, int4 in groups of 16")
    full = nextitnet(400, 64, dilations=(1,))
    plan = racer.widest(full, COUNTS, count_parameters(full).bytes)
    assert plan and plan.config.width == 64
    assert all(width <= 16 or width % 16 == 0 for width in plan.config.partition.widths)
    assert plan.config.partition.widths[1] > 16


def test_what_needs_no_training_comes_first_and_float32_last() -> None:
    full = nextitnet(400, 32, dilations=(1, 2))
    found = plans(full, COUNTS, count_parameters(full).bytes // 4)
    order = [(plan.trains(full), plan.last is None) for plan in found]
    assert order == sorted(order) and {*order} == {(False, False), (True, False), (True, True)}
