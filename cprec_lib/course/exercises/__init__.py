"""The course's exercises: one module a notebook, each problem with its checks, hints and solution.

A problem knows the wrong answers that learners give. `check` names the one that an answer equals.
"""

from importlib import import_module

from cprec_lib.course.exercises.problem import Outcome, Problem, Slip

NOTEBOOKS = {
    "00_start_here": "start",
    "01_long_tail": "long_tail",
    "02_block_decomposition": "decomposition",
    "03_dilated_cnn": "convolution",
    "04_sharing_schemes": "sharing",
    "05_cprec": "compression",
    "06_full_training": "scale",
}
"""Notebook to the module of its problems."""

__all__ = ["NOTEBOOKS", "Outcome", "Problem", "Slip", "problems"]


def problems(notebook: str) -> dict[str, Problem]:
    """The problems of a notebook, such as "01_long_tail", by name and in the notebook's order."""
    module = import_module(f"{__name__}.{NOTEBOOKS[notebook]}")
    return {name: value for name, value in vars(module).items() if isinstance(value, Problem)}
