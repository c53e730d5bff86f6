"""The source of an answer that has no name of its own."""

from typing import Any

from cprec_lib.course.exercises.source import source


def two(flag: bool) -> Any:
    return (lambda x: x + 1) if flag else (lambda x: x - 1)


def outer() -> Any:
    return lambda x: (
        x
        * 2
    )  # fmt: skip


def test_lambdas_are_told_apart() -> None:
    assert source(two(True)) == "lambda x: x + 1"
    assert source(two(False)) == "lambda x: x - 1"
    assert source(outer()).startswith("lambda x: (\n")
    assert source(lambda: lambda y: y) == "lambda: lambda y: y"
