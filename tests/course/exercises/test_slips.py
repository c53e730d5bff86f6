"""Wrong answers as text: edits of a solution, and expressions."""

from collections import Counter

import pytest
import torch

from cprec_lib.course.exercises import Problem, Slip
from cprec_lib.course.exercises.slips import slips_in
from cprec_lib.course.exercises.source import source


def shifted(values: list[int], step: int) -> list[int]:
    """Each value plus step; step + value is not what the text of this line is for."""
    counted = Counter(values)
    return [step + value for value in counted.elements()]


class Doubling(torch.nn.Module):
    """Twice the input."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return 2 * values


def helper(values: list[int], step: int) -> list[int]:
    return values


def slips(text: str, solution: object = shifted) -> list[Slip]:
    return [*slips_in(text, solution, __name__)]


def test_an_edit_changes_the_solution():
    [slip] = slips("""
    step + value => step * value
        A product is no sum, and this
        message has two lines.
    """)
    assert slip.message == "A product is no sum, and this message has two lines."
    assert slip.answer([1, 2], 3) == [3, 6]
    assert shifted([1, 2], 3) == [4, 5]


def test_edits_follow_each_other_and_an_empty_side_leaves_out():
    first, second = slips("""
    step + =>
        One.
    step + => -step +
    + value => + 2 * value
        Two.
    """)
    assert first.answer([1, 2], 3) == [1, 2]
    assert second.answer([1, 2], 3) == [-1, 1]


def test_an_expression_sees_the_names_of_the_module():
    named, called, wrapped = slips("""
    helper
        A function of the module.
    lambda *case: shifted(*case)[::-1]
        In two
        lines.
    lambda values,
    step: helper(values, step) * 2
        An expression may take two lines.
    """)
    assert named.answer is helper
    assert called.answer([1, 2], 3) == [5, 4]
    assert wrapped.answer([1], 3) == [1, 1]


def test_the_methods_of_a_class_are_edited():
    [slip] = slips("2 * values => 3 * values\n    Thrice.", Doubling)
    assert slip.answer()(torch.ones(1)).item() == 3


def test_a_slip_shows_its_source_without_docstring_and_annotations():
    edited, written, named = slips("""
    step + => step *
        One.
    lambda values, step: values
        Two.
    helper
        Three.
    """)
    assert source(edited.answer) == (
        "from collections import Counter\n\n\n"
        "def shifted(values, step):\n"
        "    counted = Counter(values)\n"
        "    return [step * value for value in counted.elements()]"
    )
    assert source(written.answer) == "lambda values, step: values"
    assert source(named.answer).startswith("def helper(values, step):")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no such piece => x\n    Wrong.", "does not contain 'no such piece'"),
        ("Each value => x\n    The docstring is not there to be edited.", "does not contain"),
        ("step => x", "zip"),
    ],
)
def test_what_cannot_be_a_slip_is_refused(text: str, expected: str):
    with pytest.raises(ValueError, match=expected):
        slips(text)


def test_a_problem_lists_its_slips_and_names_them():
    problem = Problem(
        title="Shift",
        task="Add.",
        minutes=1,
        difficulty="easy",
        purpose="To test.",
        answer=shifted,
        cases=(([1, 2], 3),),
        slips=(Slip(helper, "Nothing changes."),),
        wrong="step + => step *\n    A product is no sum.",
        hints=("Add.",),
    )
    assert [slip.message for slip in problem.slips] == ["Nothing changes.", "A product is no sum."]
    outcome = problem.check(lambda values, step: [value * step for value in values])
    assert outcome.message.startswith("A product is no sum.")


def test_a_value_is_written_as_an_expression():
    pair = Problem(
        title="Pair",
        task="Choose.",
        minutes=1,
        difficulty="easy",
        purpose="To test.",
        answer=(1, 2),
        judge=judge,
        wrong="(2, 1)\n    The other way round.",
        hints=("Think.",),
    )
    assert pair.check((2, 1)).message.startswith("The other way round.")


def judge(got: tuple[int, int], right: tuple[int, int]) -> str:
    return "" if got == right else "not so"
