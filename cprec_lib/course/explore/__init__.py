"""Interactive explorables: pictures of a few presets, then controls for choices of your own.

Each function returns an `Explorable`, which is displayed as the last line of a notebook's cell.
"""

from cprec_lib.course.explore.load import load
from cprec_lib.course.explore.partition import partition
from cprec_lib.course.explore.race import recorded_race
from cprec_lib.course.explore.reach import reach
from cprec_lib.course.explore.recommendations import recommendations
from cprec_lib.course.explore.sharing import sharing
from cprec_lib.course.explore.tail import tail
from cprec_lib.course.explore.tree import tree

__all__ = [
    "load",
    "partition",
    "reach",
    "recommendations",
    "recorded_race",
    "sharing",
    "tail",
    "tree",
]
