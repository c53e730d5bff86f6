"""Tell a stub, as the notebooks hold it, from an answer that somebody has written."""

import dis
import inspect
from types import FunctionType
from typing import Any

_IDLE = {"RESUME", "NOP", "RETURN_VALUE"}
_LOADS = {"LOAD_CONST", "RETURN_CONST"}


def is_stub(answer: Any) -> bool:
    """Whether a function, or every method of a class, does nothing.

    Nothing is a docstring, `...`, `pass`, or the return of one of these; in a constructor it is
    whatever sets no attribute, as a stub's calls that of the base class.
    """
    if inspect.isclass(answer):
        methods = [value for value in vars(answer).values() if isinstance(value, FunctionType)]
        return bool(methods) and all(map(_does_nothing, methods))
    return isinstance(answer, FunctionType) and _does_nothing(answer)


def _does_nothing(function: FunctionType) -> bool:
    steps = [*dis.get_instructions(function)]
    if function.__name__ == "__init__":
        return all(step.opname != "STORE_ATTR" for step in steps)
    return all(
        step.opname in _IDLE or (step.opname in _LOADS and step.argval in (None, ...))
        for step in steps
    )
