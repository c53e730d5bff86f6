"""Which past items reach a prediction."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

from cprec_lib.course.explore.explorable import Control, Explorable, named
from cprec_lib.course.figures.convolution import Reach, reach_in_window
from cprec_lib.model.middle import DilatedCNN

STACKS = {
    "1 in every block": (1, 1, 1, 1),
    "1 and 4 in turn": (1, 4, 1, 4),
    "doubled from block to block": (1, 2, 4, 8),
    "4 in every block": (4, 4, 4, 4),
}
BLOCKS = (1, 2, 3, 4)
KERNELS = (2, 3, 5)
GOES_ON = "How the dilation changes from residual block to residual block."
CONTROLS = (
    Control("Dilations", GOES_ON, named(STACKS), "1 and 4 in turn", "list"),
    Control("Blocks", "How many residual blocks are stacked.", named(BLOCKS), 4),
    Control("Kernel size", "How many taps each convolution has.", named(KERNELS), 3),
)


def gradient_by_age(
    dilations: Sequence[int], kernel_size: int, length: int = 200, seed: int = 0
) -> np.ndarray:
    """Mean size [L] of the gradient of a `DilatedCNN`'s last output at each item, newest first.

    Random weights and vectors, width 16. Zero where an item cannot reach the output.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        middle = DilatedCNN(16, dilations, kernel_size)
        vectors = torch.randn(4, length, 16, requires_grad=True)
    with torch.enable_grad():
        [gradient] = torch.autograd.grad(middle(vectors)[:, -1].square().sum(), vectors)
    sizes: np.ndarray = gradient.abs().mean((0, 2)).numpy()[::-1]
    return sizes


def measure(name: str, blocks: int, kernel_size: int) -> Reach:
    """The gradients in a stack, and the oldest item that they reach."""
    dilations = STACKS[name][:blocks]
    sizes = gradient_by_age(dilations, kernel_size)
    back = np.flatnonzero(sizes)
    title = (
        f"Dilations {', '.join(map(str, dilations))}, kernel {kernel_size}: {len(back)} items "
        f"reach the prediction, the oldest {back.max()} back"
    )
    return Reach(title, sizes)


def reach(window: int = 50) -> Explorable:
    """Which past items reach a prediction, measured in a `DilatedCNN` for every choice."""
    table = {choice: measure(*choice) for choice in product(STACKS, BLOCKS, KERNELS)}

    def say(state: Reach) -> str:
        inside = int((state.sizes[:window] > 0).sum())
        return f"{state.title}; {inside} of them are in a window of {window} positions."

    first, *_, last = STACKS
    return Explorable(
        "reach",
        CONTROLS,
        lambda *choice: table[choice],
        lambda states: reach_in_window(states, window),
        say,
        (
            (first, 1, KERNELS[0]),
            ("1 and 4 in turn", 4, 3),
            ("1 and 4 in turn", 2, 5),
            (last, 2, 3),
            (last, 4, KERNELS[-1]),
        ),
        "Size of the gradient that reaches each past item (log scale), measured in untrained "
        f"stacks of width 16. Grey: a window of {window} positions. No line: the gradient "
        "is exactly zero.",
    )
