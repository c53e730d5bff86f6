"""A drawing with little in it and one with much, for each function that draws, and others."""

import inspect
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cprec_lib import SHARING, BlockPartition, count_parameters, cprec, nextitnet
from cprec_lib.course import figures
from cprec_lib.course.popularity import ZipfFit, fit_zipf, lorenz_curve
from cprec_lib.evidence.bootstrap import Interval
from cprec_lib.evidence.claims import Part
from cprec_lib.evidence.comparisons import Asked, Comparison, Recorded, find
from cprec_lib.evidence.statistics import Difference
from cprec_lib.model.sharing import sharing_table
from cprec_lib.train.checkpoints import Epoch, History
from tests.evidence.samples import record

LONG = "A Very Long Title of a Film, or How a Name Goes on and on (1998)"
NARROW, WIDE = Interval(0.1, 0.1, 0.1), Interval(0.2, 0.01, 0.9)


def history(n: int) -> History:
    """n epochs, the best of them in the middle."""
    scores = [0.1 - abs(epoch - n // 2) * 0.001 for epoch in range(n)]
    return History([Epoch(i + 1, 7 - i, 1.0, {"ndcg@10": s}) for i, s in enumerate(scores)])


def counts(n: int) -> np.ndarray:
    """Falling counts of n items."""
    return np.ceil(1000 / np.arange(1, n + 1))


def names(n: int) -> list[str]:
    """n names."""
    return [f"name {number}" for number in range(n)]


def ledgers(n: int) -> dict:
    """n models, every second of them compressed."""
    return {
        name: count_parameters((nextitnet, cprec)[number % 2](1000 * (number + 1), 8))
        for number, name in enumerate(names(n))
    }


def causal(length: int) -> np.ndarray:
    """Connections of each position with itself and all before it."""
    return np.tri(length, dtype=bool)


def models(n: int) -> dict[str, Interval]:
    """n models, with a narrow interval or a wide one."""
    return {name: (NARROW, WIDE)[number % 2] for number, name in enumerate(names(n))}


def forest(rows: list[int]) -> Figure:
    """A part of a claim for each number of rows, every second row of which is not counted."""
    parts = []
    for name, n in zip(names(len(rows)), rows, strict=True):
        logs = [f"{log} {row}" for row, log in enumerate(names(n))]
        runs = [record("cprec", [1, 5], dataset=log, test_by_popularity=[]) for log in logs]
        gap = Difference(-0.05, 1.0, 1e-4, 1e-4, 9.0)
        compared = [
            Comparison(
                Recorded("a", {}, {"cprec": [run]}), "cprec", "cprec", gap, ("flaw",) * (i % 2)
            )
            for i, run in enumerate(runs)
        ]
        parts.append(Part(name, find(Asked(compared))[0]))
    return figures.forest(parts)


def sizes(catalogues: int, schemes: int) -> pd.DataFrame:
    """A table for `compression_bars`."""
    rows = [
        (name, "5/20 %", sharing, 2.5)
        for name in names(catalogues)
        for sharing in SHARING[:schemes]
    ]
    return pd.DataFrame(rows, columns=["catalogue", "cutoffs", "sharing", "times smaller"])


def many_blocks(n_items: int) -> BlockPartition:
    """Five blocks."""
    cutoffs = [round(share * n_items) for share in (0.01, 0.1, 0.3, 0.6)]
    return BlockPartition.decaying(n_items, cutoffs, 1024)


def tails(n: int, items: int) -> Figure:
    """n data sets of so many items."""
    ranks = range(1, items + 1)
    tops = dict(zip(names(2), (0.0, 1.0), strict=True))
    return figures.tails(
        {name: (ranks, counts(items)) for name in names(n)}, dict.fromkeys(names(n), tops)
    )


# A drawing with little in it and one with much, for each function that returns a figure.
DRAWINGS: dict[str, tuple[Callable[[], Figure], Callable[[], Figure]]] = {
    "parameter_bars": (
        lambda: figures.parameter_bars(ledgers(1)),
        lambda: figures.parameter_bars(ledgers(8)),
    ),
    "learning_curves": (
        lambda: figures.learning_curves({"one": history(1)}),
        lambda: figures.learning_curves({name: history(30) for name in names(5)}),
    ),
    "middle_share": (
        lambda: figures.middle_share(np.array([10, 20]), {"a": {"b": np.array([0, 1])}}, {}),
        lambda: figures.middle_share(
            np.geomspace(10, 1e6, 50),
            {name: dict.fromkeys(names(4), np.linspace(1, 0, 50)) for name in names(2)},
            dict(zip(names(2), (11, 900_000), strict=True)),
        ),
    ),
    "sharing_panels": (
        lambda: figures.sharing_panels({"none": sharing_table("none", 1)}, (1,)),
        lambda: figures.sharing_panels(
            {name: sharing_table("none", 8) for name in names(5)}, (1, 4) * 4
        ),
    ),
    "impulse_responses": (
        lambda: figures.impulse_responses({"one": np.array([1.0])}),
        lambda: figures.impulse_responses(dict.fromkeys(names(8), np.eye(20)[0])),
    ),
    "estimates": (
        lambda: figures.estimates(models(1), "NDCG@10", names(1)[0]),
        lambda: figures.estimates(models(12), "NDCG@10", names(1)[0], reference=0.1),
    ),
    "forest": (lambda: forest([1]), lambda: forest([12, 0, 8])),
    "seeds": (
        lambda: figures.seeds({"one": [0.1]}, "NDCG@10", names(1)[0]),
        lambda: figures.seeds({name: [0.1, 0.2, 0.3] for name in names(9)}, "NDCG@10", names(1)[0]),
    ),
    "growth": (
        lambda: figures.growth({"one": ([1, 10], [1, 10])}, {}, {}, "B", names(1)[0]),
        lambda: figures.growth(
            {name: ([10, 1e8], [n, 1e8]) for n, name in enumerate(names(6), 1)},
            {name: ([10, 100], [n, 100]) for n, name in enumerate(names(2), 1)},
            dict(zip(names(2), (1e6, 1e7), strict=True)),
            "B",
            names(1)[0],
        ),
    ),
    "influence": (
        lambda: figures.influence({"one": causal(1)}),
        lambda: figures.influence({name: causal(12) for name in names(3)}),
    ),
    "wiring": (
        lambda: figures.wiring({"one": causal(1)}),
        lambda: figures.wiring({name: causal(16) for name in names(4)}),
    ),
    "reach": (
        lambda: figures.reach({"one": np.array([1.0])}),
        lambda: figures.reach({name: np.geomspace(1e-6, 1, 50) for name in names(4)}),
    ),
    "signal_by_depth": (
        lambda: figures.signal_by_depth([1], {"one": [1.0]}),
        lambda: figures.signal_by_depth([1, 2, 64], {name: [1, 1e-3, 1e-9] for name in names(4)}),
    ),
    "bootstrap": (
        lambda: figures.bootstrap(np.array([0.5]), Interval(0.5, 0.5, 0.5), "HR@10"),
        lambda: figures.bootstrap(np.linspace(0, 1, 2000), Interval(0.5, 0, 1), "HR@10"),
    ),
    "protocols": (
        lambda: figures.protocols({"whole": {"one": 0.0}}, "HR@10"),
        lambda: figures.protocols(dict.fromkeys(names(3), dict.fromkeys(names(5), 1.0)), "HR@10"),
    ),
    "tie_orders": (
        lambda: figures.tie_orders({"one": {"file": [0.1]}}, "NDCG@10"),
        lambda: figures.tie_orders(
            {model: {order: [0.1, 0.2] for order in names(4)} for model in names(3)}, "NDCG@10"
        ),
    ),
    "compression_bars": (
        lambda: figures.compression_bars(sizes(1, 1)),
        lambda: figures.compression_bars(sizes(3, len(SHARING))),
    ),
    "trade_off": (
        lambda: figures.trade_off({"name 0": 1}, models(1), "NDCG@10", names(1)[0]),
        lambda: figures.trade_off(
            dict.fromkeys(names(12), 10**8), models(12), "NDCG@10", names(1)[0]
        ),
    ),
    "sandwich": (
        lambda: figures.sandwich(["A"], n_items=1, width=1),
        lambda: figures.sandwich([LONG, *names(4)], n_items=10**7, width=1024),
    ),
    "id_grid": (
        lambda: figures.id_grid(np.array([[0]]), names(1)[0], ["a"], ["1"]),
        lambda: figures.id_grid(np.arange(60).reshape(6, 10), names(1)[0], names(6), names(10)),
    ),
    "network": (
        lambda: figures.network("ids [1, 1]", {"one": "[1, 1]"}),
        lambda: figures.network("ids [32, 50]", dict.fromkeys(names(8), "[32, 50, 512]")),
    ),
    "window_and_prefixes": (
        lambda: figures.window_and_prefixes([7]),
        lambda: figures.window_and_prefixes(range(100, 108)),
    ),
    "rank_frequency": (
        lambda: figures.rank_frequency(counts(3), fit_zipf(counts(3))),
        lambda: figures.rank_frequency(counts(5000), ZipfFit(2.0, 10**6, 0.5)),
    ),
    "lorenz_curves": (
        lambda: figures.lorenz_curves({"one": lorenz_curve(np.array([5]))}),
        lambda: figures.lorenz_curves({name: lorenz_curve(counts(5000)) for name in names(4)}),
    ),
    "share_bars": (
        lambda: figures.share_bars({"one": [1.0]}, ["all"], names(1)[0]),
        lambda: figures.share_bars(
            {row: [0.9, 0.07, 0.03, 0] for row in names(6)}, names(4), names(1)[0]
        ),
    ),
    "block_areas": (
        lambda: figures.block_areas(BlockPartition(2, (1,), (1, 1)), [0.5, 0.5]),
        lambda: figures.block_areas(many_blocks(10**6), [0.2] * 5),
    ),
    "decomposed_table": (
        lambda: figures.decomposed_table(BlockPartition(2, (1,), (1, 1))),
        lambda: figures.decomposed_table(many_blocks(10**4)),
    ),
    "item_plane": (
        lambda: figures.item_plane(np.ones((1, 2)), np.ones((1, 2)), (0, 1)),
        lambda: figures.item_plane(1e3 * np.eye(2)[[0, 1] * 50], -1e3 * np.eye(2), (1, -1)),
    ),
    "probability_tree": (
        lambda: figures.probability_tree(
            np.array([0.0, 1.0]), BlockPartition(2, (1,), (1, 1)), {}, names(1)[0]
        ),
        lambda: figures.probability_tree(
            np.full(500, 1 / 500),
            many_blocks(500),
            dict(enumerate([LONG, *names(9)], 1)),
            names(1)[0],
        ),
    ),
    "boxes": (
        lambda: figures.boxes([np.zeros((1, 2))], (1, 0)),
        lambda: figures.boxes([np.eye(2) + 3 * n for n in range(9)], (-1, 30)),
    ),
    "latencies": (
        lambda: figures.latencies([1.0, 1.5], "one"),
        lambda: figures.latencies([0.1, 4.0, 2e4] * 40, LONG),
    ),
    "by_block": (
        lambda: figures.by_block({"HR@10": {"one": [NARROW]}}, ["head"]),
        lambda: figures.by_block(
            {panel: {model: [NARROW, WIDE] * 2 for model in names(4)} for panel in names(2)},
            names(4),
        ),
    ),
    "tails": (lambda: tails(1, 1), lambda: tails(7, 100)),
    "grouped_bars": (
        lambda: figures.grouped_bars(pd.DataFrame({"a": [0.1]}), "share", names(1)[0]),
        lambda: figures.grouped_bars(
            pd.DataFrame(0.5, names(4), names(5)),
            "share",
            names(1)[0],
            "the film to predict",
            pd.DataFrame([[(0.0, 1.0)] * 5] * 4, names(4), names(5)),
        ),
    ),
}


def nine(values: Any) -> dict[str, Any]:
    """Nine series of the same values."""
    return {name: values for name in names(9)}


NINE_SERIES: dict[str, Callable[[], Figure]] = {
    "learning_curves": lambda: figures.learning_curves(nine(history(2))),
    "middle_share": lambda: figures.middle_share(np.array([1, 2]), {"a": nine(np.zeros(2))}, {}),
    "signal_by_depth": lambda: figures.signal_by_depth([1], nine([1.0])),
    "tie_orders": lambda: figures.tie_orders(nine({"file": [0.1]}), "NDCG@10"),
    "lorenz_curves": lambda: figures.lorenz_curves(nine(lorenz_curve(counts(5)))),
    "tails": lambda: tails(9, 5),
    "tails, top shares": lambda: figures.tails({"one": ([1], [1])}, {"one": nine(0.5)}),
    "grouped_bars": lambda: figures.grouped_bars(pd.DataFrame(nine([0.5])), "share", names(1)[0]),
    "by_block": lambda: figures.by_block({"HR@10": nine([NARROW])}, ["head"]),
}


def drawing_functions(of_states: bool) -> set[str]:
    """Names of the functions of all modules that return a figure from states, or from others."""
    names = set()
    for module in iter_modules(figures.__path__, f"{figures.__name__}."):
        for name, function in inspect.getmembers(import_module(module.name), inspect.isfunction):
            signature = inspect.signature(function)
            drawing = signature.return_annotation is Figure
            if drawing and (next(iter(signature.parameters)) == "states") == of_states:
                names.add(name)
    return names
