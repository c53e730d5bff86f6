"""Who shares with whom."""

from cprec_lib.course.explore.explorable import Control, Explorable, named
from cprec_lib.course.figures.convolution import sharing_rows
from cprec_lib.model.sharing import SHARING, distinct_convolutions

MOST = 7
SAME = "Which convolutions share their weights."
MANY = "How many residual blocks the model has."
CONTROLS = (
    Control("Scheme", SAME, named(SHARING), "adjacent-block", "list"),
    Control("Blocks", MANY, named(range(1, MOST + 1)), 5),
)


def say(state: tuple[str, int]) -> str:
    """The state in words."""
    scheme, blocks = state
    stored = distinct_convolutions(scheme, blocks)
    plural = "s" * (stored > 1)
    return f"{scheme}, blocks: {blocks}. {2 * blocks} places use {stored} convolution{plural}."


def sharing() -> Explorable:
    """Who shares with whom: a scheme and a number of residual blocks."""
    return Explorable(
        "sharing",
        CONTROLS,
        lambda scheme, blocks: (scheme, blocks),
        lambda states: sharing_rows(states, columns=min(2, len(states))),
        say,
        tuple((scheme, blocks) for scheme in SHARING for blocks in (1, MOST)),
        "Who shares with whom, for one residual block and for seven. One letter, one convolution.",
    )
