"""What counts as untouched."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from cprec_lib.course.exercises.stubs import is_stub


def documented(values: list[int]) -> None:
    """Has a docstring only."""
    ...


def passes(values: list[int]) -> None:
    pass


def forgets_to_return(values: list[int]) -> None:
    sum(values)


class Stub(nn.Module):
    """As a notebook holds it."""

    def __init__(self) -> None:
        super().__init__()
        ...

    def forward(self, values: Any) -> None: ...


class Started(Stub):
    """One attribute, and nothing else yet."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 2


@pytest.mark.parametrize("stub", [documented, passes, lambda: None, lambda x: ..., Stub])
def test_stubs(stub: Callable[..., Any]) -> None:
    assert is_stub(stub)


@pytest.mark.parametrize(
    "answer", [forgets_to_return, lambda: 0, lambda x: x, Started, type("Empty", (), {}), len, 3]
)
def test_answers(answer: Any) -> None:
    assert not is_stub(answer)
