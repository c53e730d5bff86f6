"""Compare the result of an answer with the right one, and describe the difference in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
import torch

SHOWN = 40  # numbers of a tensor or array that a message shows
LONGEST = 200  # characters of a value or an error that a message shows


def difference(got: Any, right: Any) -> str:
    """What is wrong with `got`, in a sentence that starts in lower case; "" if nothing is.

    Type, shape, dtype and device are compared first, then the values: whole numbers have to be
    equal, other numbers to four digits; modules are compared by their weights. If the right value
    is a plain number or bool, a tensor or array that holds one value is accepted. A value that
    cannot be compared is wrong.
    """
    try:
        return _difference(got, right)
    except Exception as error:
        reason = f"cannot be compared with {_kind(right)} ({type(error).__name__})"
        return f"the answer gives {_kind(got)}, `{describe(got)}`, which {reason}."


def _difference(got: Any, right: Any) -> str:
    if isinstance(right, torch.Tensor):
        return _tensors(got, right)
    if isinstance(right, np.ndarray):
        return _arrays(got, right)
    if isinstance(right, pd.Series | pd.DataFrame):
        return _frames(got, right)
    if isinstance(right, bool | str):
        got = _scalar(got)
        wrong = type(got) is not type(right) or got != right
        return _sentence(got, right) if wrong else ""
    if isinstance(right, Number):
        return _numbers(got, right)
    if isinstance(right, torch.nn.Module) and isinstance(got, torch.nn.Module):
        return _mappings(got.state_dict(), right.state_dict())
    if isinstance(right, Mapping):
        return _mappings(got, right)
    if isinstance(right, Sequence):
        return _sequences(got, right)
    return "" if got == right else _sentence(got, right)


def describe(value: Any) -> str:
    """A value as text, tensors as nested lists; a long text is cut. Never raises."""
    try:
        return cut(_text(value))
    except Exception as error:  # a `__repr__` of the learner's, a tensor without values
        return f"{_kind(value)} that cannot be shown ({type(error).__name__})"


def cut(text: str) -> str:
    """The start of a text, with an ellipsis if there is more."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def rows_of(text: str) -> list[tuple[Any, ...]]:
    """A small table: "ann B 1, bob C .5" is [("ann", "B", 1), ("bob", "C", 0.5)]."""
    return [tuple(map(_cell, row.split())) for row in text.split(",")]


def _cell(text: str) -> str | int | float:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _text(value: Any) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        kind = "a tensor" if isinstance(value, torch.Tensor) else "an array"
        if math.prod(value.shape) > SHOWN:
            return f"{kind} of shape {[*value.shape]}"
        values = _array(value)
        rounded = values.astype(float).round(4) if values.dtype.kind == "f" else values
        return repr(rounded.tolist())
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, pd.DataFrame):
        rows = [tuple(row) for row in value.itertuples(index=False)]
        return f"{', '.join(map(str, value.columns))}: {rows}"
    return repr(value.to_dict() if isinstance(value, pd.Series) else value)


def _array(values: torch.Tensor | np.ndarray) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values
    values = values.detach().cpu()
    # numpy has no bfloat16.
    array: np.ndarray = (values.double() if values.is_floating_point() else values).numpy()
    return array


def _sentence(got: Any, right: Any) -> str:
    return f"the answer gives `{describe(got)}`; it should be `{describe(right)}`."


def _kind(value: Any) -> str:
    name = type(value).__name__
    vowel = name[0].lower() in "aeiou" or name == "ndarray"
    return f"{'an' if vowel else 'a'} {name}"


def _tensors(got: Any, right: torch.Tensor) -> str:
    if not isinstance(got, torch.Tensor):
        return f"the answer gives {_kind(got)}, `{describe(got)}`; a tensor is expected."
    if got.shape != right.shape:
        return f"the answer has the shape {[*got.shape]}; it should be {[*right.shape]}."
    if got.dtype != right.dtype:
        return f"the answer has the dtype {got.dtype}; it should be {right.dtype}."
    if got.device != right.device:
        return f"the answer is on the device {got.device}; it should be on {right.device}."
    return _unequal(got, right, _array(got), _array(right))


def _arrays(got: Any, right: np.ndarray) -> str:
    if isinstance(got, list | tuple):
        got = np.asarray(got)
    if not isinstance(got, np.ndarray):
        return f"the answer gives {_kind(got)}, `{describe(got)}`; an array is expected."
    if got.shape != right.shape:
        return f"the answer has the shape {[*got.shape]}; it should be {[*right.shape]}."
    if got.dtype.kind not in "iufb" or (right.dtype.kind in "iub") != (got.dtype.kind in "iub"):
        return f"the answer has the dtype {got.dtype}; it should be {right.dtype}."
    return _unequal(got, right, got, right)


def _unequal(got: Any, right: Any, numbers: np.ndarray, others: np.ndarray) -> str:
    """What differs between two tensors or arrays of one shape; of large ones the first number."""
    if not _values(numbers, others):
        return ""
    if others.size <= SHOWN:
        return _sentence(got, right)
    differ = numbers != others if others.dtype.kind in "iub" else ~_close(numbers, others)
    place = tuple(int(index) for index in np.argwhere(differ)[0])
    pair = describe(numbers[place].item()), describe(others[place].item())
    return f"at {[*place]} the answer has `{pair[0]}`; it should be `{pair[1]}`."


def _frames(got: Any, right: pd.Series | pd.DataFrame) -> str:
    if type(got) is not type(right):
        return f"the answer gives {_kind(got)}; {_kind(right)} is expected."
    testing = pd.testing.assert_series_equal, pd.testing.assert_frame_equal
    try:
        testing[isinstance(right, pd.DataFrame)](got, right, check_dtype=False, check_names=False)
    except AssertionError:
        return _sentence(got, right)
    return ""


def _scalar(got: Any) -> Any:
    """The plain value of a tensor or array that holds one value; anything else unchanged."""
    held = isinstance(got, torch.Tensor | np.ndarray | np.generic)
    return got.item() if held and math.prod(got.shape) == 1 else got


def _numbers(got: Any, right: Any) -> str:
    got = _scalar(got)
    if isinstance(got, torch.Tensor | np.ndarray):
        return f"the answer has the shape {[*got.shape]}; one number is expected."
    if isinstance(got, bool) or not isinstance(got, int | float):
        return f"the answer gives {_kind(got)}, `{describe(got)}`; one number is expected."
    return _sentence(got, right) if _values(np.asarray(got), np.asarray(right)) else ""


def _mappings(got: Any, right: Mapping[Any, Any]) -> str:
    if not isinstance(got, Mapping):
        return f"the answer gives {_kind(got)}; a dict is expected."
    if {*got} != {*right}:
        return f"the answer has the keys {describe([*got])}; they should be {describe([*right])}."
    return next(
        (f"at {key!r}, {w}" for key in right if (w := difference(got[key], right[key]))), ""
    )


def _sequences(got: Any, right: Sequence[Any]) -> str:
    if not isinstance(got, list | tuple):
        return f"the answer gives {_kind(got)}, `{describe(got)}`; {_kind(right)} is expected."
    if len(got) != len(right):
        return (
            f"the answer has {len(got)} {'part' if len(got) == 1 else 'parts'}, "
            f"`{describe(got)}`; there should be {len(right)}: "
            f"`{describe(right)}`."
        )
    plain = all(isinstance(part, Number | str) for part in right)
    for place, (part, other) in enumerate(zip(got, right, strict=True)):
        if wrong := difference(part, other):
            return _sentence(got, right) if plain else f"in part {place}, {wrong}"
    return ""


def _values(got: np.ndarray, right: np.ndarray) -> bool:
    """Whether numbers differ."""
    if right.dtype.kind in "iub":
        return not np.array_equal(got, right)
    return not _close(got, right).all()


def _close(got: np.ndarray, right: np.ndarray) -> np.ndarray:
    close: np.ndarray = np.isclose(got, right, rtol=1e-4, atol=1e-6, equal_nan=True)
    return close
