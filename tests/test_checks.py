"""Checks of arguments: what they return, what they refuse, and that they need no torch."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from cprec_lib.checks import (
    check_choice,
    check_fields,
    check_histories,
    check_share,
    outside,
    whole_number,
)


@dataclass(frozen=True)
class Settings:
    size: "int" = 3
    sizes: "tuple[int, ...]" = ()
    flag: "bool" = True
    more: "int | None" = None
    rate: "float" = 0.5

    def __post_init__(self) -> None:
        check_fields(self)


def test_fields_become_plain_ints_and_tuples():
    made = Settings(np.int64(4), np.array([1, 2]), more=np.int32(7))  # type: ignore[arg-type]
    assert made == Settings(4, (1, 2), more=7)
    assert {type(number) for number in (made.size, *made.sizes, made.more)} == {int}
    assert Settings().more is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size 0 is below 1; give a whole number of at least 1"),
        ({"size": 1.0}, r"size 1\.0 is not a whole number"),
        ({"size": True}, "size True is not a whole number"),
        ({"size": None}, "size None is not a whole number"),
        ({"sizes": [2, 0]}, "sizes 0 is below 1"),
        ({"sizes": "12"}, "sizes '1' is not a whole number"),
        ({"flag": 1}, "flag 1 is neither True nor False"),
        ({"more": "7"}, "more '7' is not a whole number"),
    ],
)
def test_a_field_that_its_annotation_does_not_allow_is_refused(wrong: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)


def test_a_whole_number_may_be_negative_unless_a_least_one_is_given():
    assert whole_number("n", -3) == -3
    with pytest.raises(ValueError, match="n -3 is below 0; give a whole number of at least 0"):
        whole_number("n", -3, least=0)


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_a_share_is_at_least_0_and_below_1(share: float):
    check_share("dropout", 0.0)
    with pytest.raises(ValueError, match=r"dropout .* is not in \[0, 1\)"):
        check_share("dropout", share)


@pytest.mark.parametrize("value", ["c", None, ["a"], 1])
def test_a_choice_is_one_of_the_known_names(value: object):
    check_choice("kind", "a", {"a": 1, "b": 2})
    with pytest.raises(ValueError, match=r"unknown kind .*; choose one of a, b"):
        check_choice("kind", value, {"a": 1, "b": 2})


def test_histories_become_arrays_of_int64():
    checked = check_histories([[3, 1], np.array([2], np.uint8)], 3)
    assert [ids.tolist() for ids in checked] == [[3, 1], [2]]
    assert {ids.dtype for ids in checked} == {np.dtype(np.int64)}


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([], "no histories"),
        ([[1], []], "history 1 is empty"),
        ([3], "history 0 is 3; each history is a list"),
        ([[1.5]], r"history 0 is \[1\.5\]; each"),
        ([[1, 4]], r"history 0: item id 4 is outside 1\.\.3"),
        ([[0]], "item id 0 is outside"),
    ],
)
def test_what_is_no_history_is_named(histories: list[Any], message: str):
    with pytest.raises(ValueError, match=message):
        check_histories(histories, 3)


@pytest.mark.parametrize(
    ("values", "found"), [([], None), ([1, 5], None), ([1, 6, 3], 6), ([0, 6], 0), ([[3, -2]], -2)]
)
def test_a_value_outside_is_named(values: list[Any], found: int | None):
    assert outside(torch.tensor(values, dtype=torch.long), 1, 5) == found


def test_values_elsewhere_than_on_the_cpu_are_not_read():
    assert outside(torch.full((2,), 9, device="meta"), 1, 5) is None


def test_checks_need_no_torch():
    code = "import sys; sys.modules['torch'] = None; import cprec_lib.checks"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
