"""Wrong answers that learners give, written as edits of the solution."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from textwrap import dedent
from typing import Any


@dataclass(frozen=True)
class Slip:
    """A wrong answer that learners give, and what helps them."""

    answer: Any
    message: str


def slips_in(text: str, solution: Any, module: str) -> Iterator[Slip]:
    """The slips that a text lists, for a solution that uses the names of a module.

    A wrong answer starts at the margin; its message follows below, indented. The wrong answer is an
    expression, or edits of the solution, one per line: `old => new` replaces a piece of its source
    wherever it occurs; with nothing after the arrow the piece is deleted. Raises ValueError if a
    piece does not occur.

        tail.sum() => tail.max()
            The token has the probability of the block's best item. It stands for all of them.
    """
    right = _bare_source(solution) if "=>" in text else ""
    lines = [line for line in dedent(text).splitlines() if line]
    groups = [[*group] for _, group in groupby(lines, lambda line: line.startswith(" "))]
    for code, message in zip(groups[::2], groups[1::2], strict=True):
        edits = "=>" in code[0]
        source = _edited(right, code) if edits else "\n".join(code)
        yield Slip(_value(source, edits, module), " ".join(map(str.strip, message)))


def _bare_source(solution: Any) -> str:
    """The source of the solution without its docstring, which describes the right answer."""
    source = dedent(inspect.getsource(solution))
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef | ast.ClassDef)
    if ast.get_docstring(definition) is None:
        return source
    docstring, lines = definition.body[0], source.splitlines()
    return "\n".join(lines[: docstring.lineno - 1] + lines[docstring.end_lineno :])


def _edited(source: str, edits: list[str]) -> str:
    for edit in edits:
        old, new = (side.strip() for side in edit.split("=>"))
        if old not in source:
            raise ValueError(f"the solution does not contain {old!r}, which a slip edits")
        source = source.replace(old, new)
    return source


def _value(source: str, defines: bool, module: str) -> Any:
    """The value that the source defines or evaluates to; it keeps its source, as no file has it."""
    names, defined = vars(sys.modules[module]), dict[str, Any]()
    if defines:
        exec(source, names, defined)
        [value] = defined.values()
    else:
        value = eval(f"({source})", names)
    if callable(value) and not source.isidentifier():
        value.__source__ = source
    return value
