"""A page for whoever teaches the course: every exercise with its solution and its wrong answers."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from textwrap import dedent
from typing import Any

from cprec_lib.exercises import Problem


def teacher_page(problems: Mapping[str, Mapping[str, Problem]]) -> str:
    """The page, as Markdown; `problems` are those of each notebook, by name."""
    of_notebooks = [problem for bank in problems.values() for problem in bank.values()]
    parts = [
        "# The exercises, for teachers",
        f"{len(of_notebooks)} exercises, {_minutes(of_notebooks)} minutes. This page holds the "
        "solutions: learners should not get it.",
        _overview(problems),
    ]
    for notebook, bank in problems.items():
        parts.append(f"## {notebook}: {_minutes(bank.values())} minutes")
        for name, problem in bank.items():
            parts += _exercise(name, problem)
    return "\n\n".join(parts) + "\n"


def _minutes(problems: Iterable[Problem]) -> int:
    return sum(problem.minutes for problem in problems)


def _overview(problems: Mapping[str, Mapping[str, Problem]]) -> str:
    lines = ["| notebook | exercises | minutes |", "|---|---:|---:|"]
    for notebook, bank in problems.items():
        lines.append(f"| {notebook} | {len(bank)} | {_minutes(bank.values())} |")
    return "\n".join(lines)


def _exercise(name: str, problem: Problem) -> Iterator[str]:
    yield f"### {problem.title}"
    yield f"`{name}`, {problem.minutes} minutes, {problem.difficulty}. {problem.purpose}"
    yield f"**Task.** {_prose(problem.task)}"
    for number, hint in enumerate(problem.hints, start=1):
        yield f"**Hint {number}.** {_prose(hint)}"
    yield f"**Solution.**\n\n{problem.solution()}"
    for number, slip in enumerate(problem.slips, start=1):
        yield f"**Wrong answer {number}.** {_prose(slip.message)}\n\n{_code(slip.answer)}"


def _prose(text: str) -> str:
    return inspect.cleandoc(text)


def _code(answer: Any) -> str:
    text = source(answer)
    fence = "```" if "```" not in text else "````"
    return f"{fence}python\n{text}\n{fence}"


def source(answer: Any) -> str:
    """The source of a function or a class, else the value as text."""
    try:
        if getattr(answer, "__name__", "") == "<lambda>":
            return _lambda(answer)
        return dedent(inspect.getsource(answer)).strip()
    except (OSError, TypeError):  # no source: a value, a partial function
        return repr(answer)


def _lambda(function: Callable[..., Any]) -> str:
    """A lambda without the call or the tuple that it stands in."""
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
