"""A page for teachers: every exercise with its solution and its known wrong answers."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cprec_lib.course.exercises import Problem
from cprec_lib.course.exercises.source import source


def teacher_page(problems: Mapping[str, Mapping[str, Problem]]) -> str:
    """The page, as Markdown; `problems` are those of each notebook, by name."""
    of_notebooks = [problem for bank in problems.values() for problem in bank.values()]
    parts = [
        "# The exercises, for teachers",
        f"{len(of_notebooks)} exercises, {_minutes(of_notebooks)} minutes. This page holds the "
        "solutions, so learners should not get it.",
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
    yield f"`{name}`, {problem.about}"
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
