"""The course's exercises: one module per notebook, each problem with checks, hints and solution.

A problem lists wrong answers that learners give. If an answer equals one, `check` explains it.
"""

from importlib import import_module

from cprec_lib.course.exercises.problem import Outcome, Problem
from cprec_lib.course.exercises.slips import Slip

NOTEBOOKS = (
    "00_start_here",
    "01_long_tail",
    "02_block_decomposition",
    "03_dilated_cnn",
    "04_honest_evaluation",
    "05_sharing_schemes",
    "06_cprec",
    "07_full_training",
    "08_verdicts",
    "09_smaller_still",
    "10_serving",
)
"""The notebooks with exercises; a module is named after its notebook, without the number."""

__all__ = ["NOTEBOOKS", "Outcome", "Problem", "Slip", "problems"]


def problems(notebook: str) -> dict[str, Problem]:
    """The problems of a notebook, such as "01_long_tail", by name and in the notebook's order."""
    module = import_module(f"{__name__}.{notebook.partition('_')[2]}")
    return {name: value for name, value in vars(module).items() if isinstance(value, Problem)}
