"""How an answer is judged, whatever it is and does."""

import linecache
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

from cprec_lib.course.exercises import Problem, Slip, problem


def scale(values: torch.Tensor, factor: float) -> torch.Tensor:
    """The values times the factor."""
    return values * factor


def make(**changes: Any) -> Problem:
    given: dict[str, Any] = {
        "title": "Scale",
        "task": "Multiply.",
        "minutes": 1,
        "difficulty": "easy",
        "purpose": "To test.",
        "answer": scale,
        "slips": (Slip(lambda values, factor: values + factor, "A sum is no product."),),
        "hints": ("Think.", "Use a product."),
        "cases": ((torch.tensor([1.0, 2.0]), 3.0), (torch.tensor([0.0, 4.0]), 2.0)),
        "why": "Products scale.",
    }
    return Problem(**given | changes)


def test_a_correct_answer_is_told_why():
    outcome = make().check(lambda values, factor: factor * values)
    assert (outcome.status, str(outcome)) == ("correct", "Correct. Products scale.")
    assert outcome._repr_markdown_() == "**Correct.** Products scale."


@pytest.mark.parametrize("answer", [None, ..., lambda v, f: None, lambda v, f: ...])
def test_an_untouched_stub_is_not_attempted(answer: Any):
    assert make().check(answer).status == "not attempted"


def test_not_implemented_is_not_attempted():
    def stub(values: torch.Tensor, factor: float) -> torch.Tensor:
        raise NotImplementedError

    assert make().check(stub).status == "not attempted"


def test_a_known_slip_is_named_with_a_counter_example():
    message = make().check(lambda v, f: f + v).message
    assert message.startswith("A sum is no product.")
    assert "values = [1.0, 2.0]" in message and "factor = 3" in message
    assert "gives `[4.0, 5.0]`; it should be `[3.0, 6.0]`" in message


@pytest.mark.parametrize("kind", [float, torch.tensor, np.float64])
def test_a_slip_is_named_however_its_number_is_held(kind: Callable[[float], Any]):
    number = make(
        answer=lambda n: 2.0 * n,
        slips=(Slip(lambda n: n + 2.0, "A sum is no product."),),
        cases=((1.0,), (4.0,)),
    )
    assert number.check(lambda n: kind(2.0 * n)).status == "correct"
    assert number.check(lambda n: kind(n + 2.0)).message.startswith("A sum is no product.")


def test_an_unknown_mistake_gets_the_first_case_that_shows_it():
    message = make().check(lambda v, f: v * 3).message
    assert message.startswith("With\n\n    values = [0.0, 4.0]")
    assert "it should be `[0.0, 8.0]`" in message


def walks_away(values: torch.Tensor, factor: float) -> None:
    raise SystemExit


def no_memory(values: torch.Tensor, factor: float) -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (5, "needs the function itself; this is 5"),
        (lambda v, f: "text", "gives a str, `'text'`; a tensor is expected"),
        (lambda v, f: v[:1], "has the shape [1]; it should be [2]"),
        (lambda v, f: (v * f).double(), "dtype torch.float64; it should be torch.float32"),
        (lambda v, f: (v * f).to("meta"), "device meta; it should be on cpu"),
        (lambda v, f: v * float("nan"), "gives `[nan, nan]`"),
        (lambda v: v, "`TypeError`"),
        (lambda v, f: v / "x", "`TypeError`"),
        (lambda v, f: [][1], "`IndexError`: list index out of range"),
        (walks_away, "`SystemExit`"),
        (no_memory, "`MemoryError`"),
        (type("Odd", (), {}), "`TypeError`"),
    ],
)
def test_nonsense_is_told_what_is_wrong(answer: Any, expected: str):
    outcome = make().check(answer)
    assert outcome.status == "incorrect"
    assert expected in outcome.message


def loops(values: torch.Tensor, factor: float) -> None:
    while True:
        pass


def loops_and_swallows(values: torch.Tensor, factor: float) -> None:
    while True:
        with suppress(Exception):
            values = values * factor


@pytest.mark.parametrize("answer", [loops, loops_and_swallows])
def test_an_endless_loop_is_ended(answer: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(problem, "SECONDS", 0.2)
    outcome = make().check(answer)
    assert outcome.status == "cannot tell"
    assert "Does a loop run forever, or does it try too many choices?" in outcome.message


class Mute:
    """Neither shown nor compared."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


class Quits:
    """Ends the program when it is shown."""

    def __repr__(self) -> str:
        raise SystemExit


class Hangs:
    """Is never done with showing itself."""

    def __repr__(self) -> str:
        while True:
            pass


class Speechless(Exception):
    """An error that raises itself when it is printed."""

    def __str__(self) -> str:
        raise self


def speechless(values: torch.Tensor, factor: float) -> None:
    raise Speechless


def verbose(values: torch.Tensor, factor: float) -> None:
    raise ValueError("x" * 10**6)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Mute(), "this is a Mute that cannot be shown (RuntimeError)"),
        (lambda v, f: Mute(), "`a Mute that cannot be shown (RuntimeError)`"),
        (lambda v, f: (v * f).to_sparse(), "cannot be compared with a Tensor (TypeError)"),
        (speechless, "`Speechless`: its message cannot be shown"),
        (verbose, "xx…"),
    ],
)
def test_what_cannot_be_shown_or_compared_is_incorrect(answer: Any, expected: str):
    outcome = make().check(answer)
    assert outcome.status == "incorrect"
    assert expected in outcome.message and len(outcome.message) < 500


@pytest.mark.parametrize("strange", [["a", "b"], [[1], [1, 2]], [None, 1], [Mute(), Mute()]])
@pytest.mark.parametrize("kind", [list, lambda parts: np.array(parts, dtype=object)])
def test_arrays_that_hold_no_numbers_are_incorrect(strange: list[Any], kind: Callable[..., Any]):
    slips = (Slip(lambda: np.array([2.0, 2.0]), "Other numbers."),)
    arrays = make(answer=lambda: np.array([1.0, 2.0]), slips=slips, cases=((),))
    assert arrays.check(lambda: kind(strange)).status == "incorrect"


def test_a_value_that_ends_the_program_or_hangs_when_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(problem, "SECONDS", 0.5)
    assert "asked to end the program" in make().check(lambda v, f: Quits()).message
    assert "had not ended" in make().check(lambda v, f: Hangs()).message


def test_an_answer_cannot_change_the_notebooks_later_numbers():
    def meddles(values: torch.Tensor, factor: float) -> torch.Tensor:
        for seed in (torch.manual_seed, np.random.seed, random.seed):
            seed(0)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.set_grad_enabled(False)
        torch.set_default_device("meta")
        return values * factor

    def state() -> list[Any]:
        return [
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            random.getstate(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_grad_enabled(),
            torch.get_default_device(),
        ]

    before = state()
    assert make().check(meddles).status == "correct"
    assert state() == before


def in_place(values: torch.Tensor, factor: float) -> torch.Tensor:
    return values.mul_(factor)


def test_an_answer_that_changes_its_argument_is_told_so():
    tried = make()
    for outcome in (tried.check(in_place), tried.check(in_place)):  # the cases are not spoilt
        assert outcome.status == "incorrect"
        assert "changes its argument: `values` is `[3.0, 6.0]` afterwards" in outcome.message
    assert make(changes=("values",)).check(in_place).status == "correct"


def test_a_function_that_returns_nothing_was_attempted():
    def forgets(values: torch.Tensor, factor: float) -> None:
        values * factor

    outcome = make().check(forgets)
    assert outcome.status == "incorrect"
    assert "The answer returns `None`. Is there a path that reaches no `return`?" in outcome.message


def test_an_error_names_the_line_of_the_cell():
    """Also if it is raised in a library that the line calls."""
    cell = "def answer(values, factor):\n    wide = values.reshape(3, 3)\n    return wide\n"
    file, names = "/somewhere/ipykernel_1/2.py", {}
    linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
    exec(compile(cell, file, "exec"), names)
    message = make().check(names["answer"]).message
    assert "The answer stopped in the line\n\n    wide = values.reshape(3, 3)\n\nwith" in message


def test_a_check_that_fails_itself_says_so():
    def broken(got: Any, right: Any) -> str:
        raise KeyError("oops")

    outcome = make(judge=broken).check(scale)
    assert (outcome.status, "oops" in outcome.message) == ("cannot tell", True)


def test_values_and_judged_answers():
    chosen = make(
        answer=(1, 2),
        cases=((),),
        slips=(Slip((2, 1), "The other way round."),),
        judge=lambda got, right: "" if sum(got) == sum(right) and got[0] < got[1] else "not so",
    )
    assert chosen.check((0, 3)).status == "correct"
    assert chosen.check((2, 1)).message.startswith("The other way round.")
    assert chosen.check((5, 5)).message == "Not so"
    assert chosen.answer_text() == "(1, 2)"


def test_a_class_is_put_to_use():
    class Doubler(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return 2 * values

    class Identity(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values

    used = make(
        answer=Doubler,
        use=lambda module, values: module()(values),
        cases=((torch.ones(2),),),
        slips=(Slip(Identity, "Nothing changes."),),
    )
    assert used.check(Doubler).status == "correct"
    assert "an instance of `Doubler`: leave out the parentheses" in used.check(Doubler()).message
    assert "needs the class itself" in used.check(lambda values: values).message
    assert used.check(Identity).message.startswith("Nothing changes.\n\nWith\n\n    values = ")


def test_a_correct_answer_is_used_and_a_missing_one_replaced(capsys: pytest.CaptureFixture[str]):
    def mine(values: torch.Tensor, factor: float) -> torch.Tensor:
        return factor * values

    assert make().yours(mine) is mine
    assert capsys.readouterr().out == ""
    for missing in (..., lambda values, factor: values):
        assert make().yours(missing) is scale
        assert capsys.readouterr().out == (
            "Scale: no correct answer of yours yet, so the course's own is used.\n"
        )


def test_hints_come_one_after_the_other():
    tried = make()
    assert [str(tried.hint()) for _ in range(3)] == [
        "**Hint 1 of 2.** Think.",
        "**Hint 2 of 2.** Use a product.",
        "That was the last hint. From the start again:\n\n**Hint 1 of 2.** Think.",
    ]


def test_the_solution_shows_its_source():
    text = str(make().solution())
    assert "def scale(" in text and text.endswith("Products scale.")
