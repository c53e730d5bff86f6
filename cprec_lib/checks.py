"""Checks of arguments."""

from collections.abc import Iterable
from numbers import Integral
from typing import Any


def whole_number(name: str, value: Any) -> int:
    """`value` as an int. Raises ValueError, naming it, for a fraction, a bool or text."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} {value!r} is no whole number; give an int")
    return int(value)


def whole_numbers(name: str, values: Iterable[Any]) -> tuple[int, ...]:
    """`values` as a tuple of ints. Raises ValueError if one is no whole number."""
    return tuple(whole_number(name, value) for value in values)
