"""What an answer returned, compared with what is right, and put into words."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from cprec_lib.course.exercises.values import describe, difference, rows_of


@pytest.mark.parametrize(
    ("got", "right"),
    [
        (3, 3),
        (torch.tensor(3), 3),
        (np.float64(0.5), 0.5),
        (0.50001, 0.5),
        ([1, 2], (1, 2)),
        ((1.0, [2.0]), [1.0, (2.0,)]),
        ({"a": 1}, {"a": 1}),
        ([1.0, 2.0], np.array([1.0, 2.0])),
        (pd.Series([1, 2]), pd.Series([1.0, 2.0])),
        ("yes", "yes"),
        (True, True),
        (np.True_, True),
        (torch.tensor(True), True),
        (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
        ({1, 2}, {2, 1}),
    ],
)
def test_equal_values(got: Any, right: Any):
    assert difference(got, right) == ""


@pytest.mark.parametrize(
    ("got", "right", "expected"),
    [
        (4, 3, "gives `4`; it should be `3`"),
        (True, 1, "gives a bool"),
        (1, True, "gives `1`; it should be `True`"),
        (0.51, 0.5, "gives `0.51`; it should be `0.5`"),
        ("3", 3, "gives a str, `'3'`; one number"),
        (torch.ones(2), 1, "shape [2]; one number"),
        ([1], [1, 2], "has 1 part, `[1]`; there should be 2"),
        ("ab", ["a", "b"], "gives a str"),
        ({"a": 1}, {"b": 1}, "has the keys ['a']; they should be ['b']"),
        ({"a": 1}, {"a": 2}, "at 'a', the answer gives `1`"),
        ([[1, 2]], [[1, 3]], "in part 0, the answer gives `[1, 2]`"),
        (np.array([0.5]), np.array([1]), "dtype float64; it should be int"),
        (pd.Series([1]), pd.Series([2]), "it should be"),
        (3, pd.Series([2]), "a Series is expected"),
        ({1}, {2}, "it should be `{2}`"),
        (
            torch.ones(1).bfloat16(),
            torch.zeros(1).bfloat16(),
            "gives `[1.0]`; it should be `[0.0]`",
        ),
        (np.ones(2), None, "cannot be compared with a NoneType"),
        (10**400, 0.5, "cannot be compared with a float"),
        (torch.ones(1, device="meta"), 0.5, "a Tensor that cannot be shown"),
    ],
)
def test_differences(got: Any, right: Any, expected: str):
    assert expected in difference(got, right)


def test_long_values_are_cut():
    assert describe(10**5000) == "an int that cannot be shown (ValueError)"
    assert describe(torch.zeros(50)) == "a tensor of shape [50]"
    assert len(describe(list(range(1000)))) == 200


def test_rows_are_read_from_text():
    assert rows_of("ann B 1, bob C .5") == [("ann", "B", 1), ("bob", "C", 0.5)]


def test_of_a_large_tensor_the_first_number_that_differs_is_shown():
    right = torch.zeros(2, 7, 4)
    got = right.clone()
    got[1, 3, 2:] = 0.5
    assert difference(got, right) == "at [1, 3, 2] the answer has `0.5`; it should be `0`."
    assert difference(got.numpy().astype(int), right.numpy().astype(int)) == ""


def test_a_table_is_shown_by_its_rows():
    table = pd.DataFrame({"user": [1, 2], "item": ["a", "b"]})
    assert describe(table) == "user, item: [(1, 'a'), (2, 'b')]"
