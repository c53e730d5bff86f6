"""Checks of arguments, shared by the modules; a message names the argument and a remedy."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from numbers import Integral
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

if TYPE_CHECKING:  # `cprec doctor` imports this module where torch is broken
    import numpy as np
    from torch import Tensor


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """`value` as an int. Raises ValueError for a fraction, a bool or text, or below `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} {value!r} is not a whole number; give an int")
    if least is not None and value < least:
        raise ValueError(
            f"{name} {value} is below {least}; give a whole number of at least {least}"
        )
    return int(value)


def whole_numbers(name: str, values: Iterable[Any], least: int | None = None) -> tuple[int, ...]:
    """`values` as a tuple of ints. Raises ValueError as `whole_number` does."""
    return tuple(whole_number(name, value, least) for value in values)


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def check_fields(config: Any) -> None:
    """Check the fields of a frozen dataclass by their types.

    An int must be a whole number of at least 1, a tuple[int, ...] a sequence of them, a bool True
    or False. Numbers and sequences become plain ints and tuples, for JSON and for equality; None
    is kept where the annotation allows it. Raises ValueError, naming the field.
    """
    for name, kind in _types(type(config)).items():  # type: ignore[arg-type]  # classes are hashable
        value = getattr(config, name)
        if value is None and NoneType in get_args(kind):
            continue
        if kind in (int, int | None):
            object.__setattr__(config, name, whole_number(name, value, least=1))
        elif kind in (tuple[int, ...], tuple[int, ...] | None):
            object.__setattr__(config, name, whole_numbers(name, value, least=1))
        elif kind is bool and not isinstance(value, bool):
            raise ValueError(f"{name} {value!r} is neither True nor False")


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless 0 <= value < 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} {value} is not in [0, 1)")


def check_choice(name: str, value: object, known: Collection[str]) -> None:
    """Raise ValueError unless the value is one of the known names."""
    if value not in tuple(known):
        raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(known)}")


def check_histories(histories: Sequence[Sequence[int]], n_items: int) -> list[np.ndarray]:
    """Histories of items 1..N as arrays of int64.

    Raises ValueError if there is none, for an empty one, for what is not a list of whole numbers,
    and for an item outside 1..N.
    """
    import numpy as np

    if len(histories) == 0:
        raise ValueError("no histories: give a list of lists of item ids")
    checked = []
    for row, history in enumerate(histories):
        ids = np.asarray(history)
        if ids.size == 0:
            raise ValueError(f"history {row} is empty; give at least one item")
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                f"history {row} is {history!r}; each history is a list of item ids such as [3, 1]"
            )
        if len(wrong := ids[(ids < 1) | (ids > n_items)]):
            raise ValueError(f"history {row}: item id {wrong[0]} is outside 1..{n_items}")
        checked.append(ids.astype(np.int64))
    return checked


def outside(values: Tensor, low: int, high: int) -> int | None:
    """A value of a tensor that lies outside low..high, or None if there is none.

    Values on a GPU are not checked, because reading them would stall every training step; nor are
    those of a model that `torch.export` traces, which have no values yet.
    """
    from torch.compiler import is_exporting

    if is_exporting() or values.device.type != "cpu" or values.numel() == 0:
        return None
    least, most = (int(end) for end in values.aminmax())
    return least if least < low else most if most > high else None
