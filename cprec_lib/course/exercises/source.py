"""The source code of an answer, as a learner would write it in a notebook."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from textwrap import dedent
from typing import Any

Place = tuple[int, int]
"""A line, and a byte in that line, both counted from 0."""


def source(answer: Any) -> str:
    """The source of a function or a class; any other value as text.

    Type annotations are removed, because their names need imports. The source starts with the
    imports from the standard library that it needs; the notebook has all others.
    """
    try:
        written = getattr(answer, "__source__", None)
        if written is None and getattr(answer, "__name__", "") == "<lambda>":
            return _lambda(answer)
        text = dedent(written or inspect.getsource(answer)).strip()
    except (OSError, TypeError):  # no source: a value, a partial function
        return repr(answer)
    lines = text.encode().split(b"\n")
    for (line, start), (last, end) in sorted(_annotations(ast.parse(text), lines), reverse=True):
        lines[line : last + 1] = [lines[line][:start] + lines[last][end:]]
    code = b"\n".join(lines).decode()
    imports = "\n".join(_imports(answer, ast.parse(code)))
    return f"{imports}\n\n\n{code}" if imports else code


def _imports(solution: Callable[..., Any], tree: ast.AST) -> Iterator[str]:
    """The imports from the standard library in the solution's module that the code uses."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    module = ast.parse(inspect.getsource(sys.modules[solution.__module__]))
    for node in module.body:
        if isinstance(node, ast.ImportFrom) and node.module in sys.stdlib_module_names:
            for name in node.names:
                if name.name in used:
                    yield f"from {node.module} import {name.name}"


def _annotations(tree: ast.AST, lines: list[bytes]) -> Iterator[tuple[Place, Place]]:
    """Start and end of each annotation, including the colon or arrow before it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation:
            start = node.lineno - 1, node.col_offset + len(node.arg.encode())
            yield start, _end(node.annotation)
        elif isinstance(node, ast.AnnAssign) and node.value:
            yield _end(node.target), _end(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.returns:
            line = node.returns.lineno - 1
            arrow = lines[line].rindex(b" ->", 0, node.returns.col_offset)
            yield (line, arrow), _end(node.returns)


def _end(node: ast.expr) -> Place:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.end_lineno - 1, node.end_col_offset


def _lambda(function: Callable[..., Any]) -> str:
    """The source of a lambda, without the call or the tuple around it."""
    text = "".join(inspect.findsource(function)[0])
    code = function.__code__
    lines = {line for line, *_ in code.co_positions() if line is not None}
    first = code.co_firstlineno
    columns = [column for line, _, column, _ in code.co_positions() if line == first and column]
    around = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Lambda)
        and node.lineno == first
        and (not columns or node.col_offset < min(columns))  # its body starts after "lambda"
        and (node.end_lineno or 0) >= max(lines)
    ]
    innermost = max(around, key=lambda node: node.col_offset, default=None)
    found = ast.get_source_segment(text, innermost) if innermost else None
    return dedent(found or inspect.getsource(function)).strip()
