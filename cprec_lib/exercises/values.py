"""Compare what an answer returned with what is right, and say the difference in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
import torch

LONGEST = 200  # characters of a value that a message shows


def difference(got: Any, right: Any) -> str:
    """What is wrong with `got`, as the end of a sentence's worth of text; "" if nothing is.

    Type, shape, dtype and device come first, then the values: whole numbers have to be equal, other
    numbers to four digits. Where a plain number is right, so is a tensor or array that holds one.
    """
    if isinstance(right, torch.Tensor):
        return _tensors(got, right)
    if isinstance(right, np.ndarray):
        return _arrays(got, right)
    if isinstance(right, pd.Series | pd.DataFrame):
        return _frames(got, right)
    if isinstance(right, bool | str):
        wrong = type(got) is not type(right) or got != right
        return _sentence(got, right) if wrong else ""
    if isinstance(right, Number):
        return _numbers(got, right)
    if isinstance(right, Mapping):
        return _mappings(got, right)
    if isinstance(right, Sequence):
        return _sequences(got, right)
    return "" if got == right else _sentence(got, right)


def describe(value: Any) -> str:
    """A value as text, tensors as nested lists, cut when it is long."""
    if isinstance(value, torch.Tensor):
        value = _rounded(value.detach().cpu().numpy())
        text = repr(value.tolist()) if value.size <= 40 else f"a tensor of shape {[*value.shape]}"
    elif isinstance(value, np.ndarray):
        text = (
            repr(_rounded(value).tolist())
            if value.size <= 40
            else f"an array of shape {[*value.shape]}"
        )
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, pd.Series | pd.DataFrame):
        text = repr(value.to_dict())
    else:
        text = repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _rounded(values: np.ndarray) -> np.ndarray:
    return values.astype(float).round(4) if values.dtype.kind == "f" else values


def _sentence(got: Any, right: Any) -> str:
    return f"the answer gives `{describe(got)}`; right is `{describe(right)}`."


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
        return f"the answer lies on the device {got.device}; it should lie on {right.device}."
    wrong = _values(got.detach().cpu().numpy(), right.detach().cpu().numpy())
    return _sentence(got, right) if wrong else ""


def _arrays(got: Any, right: np.ndarray) -> str:
    if isinstance(got, list | tuple):
        got = np.asarray(got)
    if not isinstance(got, np.ndarray):
        return f"the answer gives {_kind(got)}, `{describe(got)}`; an array is expected."
    if got.shape != right.shape:
        return f"the answer has the shape {[*got.shape]}; it should be {[*right.shape]}."
    if got.dtype.kind not in "iufb" or (right.dtype.kind in "iub") != (got.dtype.kind in "iub"):
        return f"the answer has the dtype {got.dtype}; it should be {right.dtype}."
    return _sentence(got, right) if _values(got, right) else ""


def _frames(got: Any, right: pd.Series | pd.DataFrame) -> str:
    if type(got) is not type(right):
        return f"the answer gives {_kind(got)}; {_kind(right)} is expected."
    testing = pd.testing.assert_series_equal, pd.testing.assert_frame_equal
    try:
        testing[isinstance(right, pd.DataFrame)](got, right, check_dtype=False, check_names=False)
    except AssertionError:
        return _sentence(got, right)
    return ""


def _numbers(got: Any, right: Any) -> str:
    if isinstance(got, torch.Tensor | np.ndarray | np.generic):
        if math.prod(got.shape) != 1:
            return f"the answer has the shape {[*got.shape]}; one number is expected."
        got = got.item()
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
    return not np.allclose(got, right, rtol=1e-4, atol=1e-6, equal_nan=True)
