"""Code that hangs, fills the memory or ends its process, and what the notebook sees of it."""

import os
import random
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Timer
from typing import Any

import psutil
import pytest
import torch

from cprec_lib.course.exercises import Problem, guard, problem
from cprec_lib.course.exercises.guard import Died, TookTooLong, limited, within

copies = pytest.mark.skipif(not guard._forks(), reason="the code runs in a thread here")


@pytest.fixture(params=["copy", "thread"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test with both ways of limiting code."""
    if request.param == "thread":
        monkeypatch.setattr(guard, "_forks", lambda: False)
    elif not guard._forks():
        pytest.skip("no copies here")
    yield


def for_ever() -> None:
    while True:
        pass


def count_far() -> int:
    return sum(range(10**12))


def match_in_vain() -> Any:
    return re.match("(a+)+$", "a" * 40 + "b")


def print_for_ever() -> None:
    while True:
        print("again")


def swallow_everything() -> None:
    while True:
        with suppress(BaseException):
            for_ever()


def check(answer: Callable[[], Any]) -> problem.Outcome:
    return Problem(
        title="One",
        task="Return 1.",
        minutes=1,
        difficulty="easy",
        purpose="To test.",
        answer=lambda: 1,
        slips=(),
        hints=(),
    ).check(answer)


def test_within_returns_raises_and_ends():
    assert within(1, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(1, lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="end the program"):
        within(1, lambda: exit())
    with pytest.raises(TookTooLong):
        within(0.1, for_ever)


@pytest.mark.usefixtures("either")
def test_a_call_is_limited():
    assert limited(30, lambda: (3, "three")) == (3, "three")
    with pytest.raises(RuntimeError, match="end the program"):
        limited(30, exit)
    with pytest.raises(TookTooLong):
        limited(0.2, for_ever)


@copies
@pytest.mark.parametrize("answer", [count_far, match_in_vain, print_for_ever, swallow_everything])
def test_what_no_thread_can_end_is_killed(
    answer: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(problem, "SECONDS", 0.5)
    outcome = check(answer)
    assert outcome.status == "cannot tell"
    assert "had not ended after" in outcome.message


@pytest.mark.parametrize("where", ["os.fork", "torch.cuda.device_count"])
def test_a_thread_serves_where_no_copy_can(where: str, monkeypatch: pytest.MonkeyPatch):
    def refuse() -> int:
        raise BlockingIOError("too many processes")

    monkeypatch.setattr(where, refuse if where == "os.fork" else lambda: 1)
    assert limited(30, os.getpid) == os.getpid()


@copies
def test_a_copy_is_another_process():
    assert limited(30, os.getpid) != os.getpid()


@copies
def test_no_process_is_left_behind():
    before = psutil.Process().children()
    with pytest.raises(TookTooLong):
        limited(0.3, count_far)
    assert psutil.Process().children() == before


def fill_a_list() -> int:
    kept: list[bytes] = []
    while True:
        kept.append(bytes(2**24))


def fill_a_tensor() -> torch.Tensor:
    return torch.zeros(2**33)


@copies
@pytest.mark.parametrize("answer", [fill_a_list, fill_a_tensor, lambda: [0] * 10**12])
def test_memory_is_limited(answer: Callable[[], Any]):
    outcome = check(answer)
    assert outcome.status == "incorrect"
    assert "memory" in outcome.message


def call_itself(depth: int = 0) -> int:
    return call_itself(depth + 1) + 1


def call_itself_through_c(_: int = 0) -> int:
    """Fill the stack of C, which Python does not count."""
    sys.setrecursionlimit(10**9)
    return sorted([1], key=call_itself_through_c)[0]


@pytest.mark.usefixtures("either")
def test_deep_recursion_is_an_error():
    outcome = check(call_itself)
    assert outcome.status == "incorrect"
    assert "`RecursionError`" in outcome.message


@copies
@pytest.mark.parametrize(
    ("end", "how"),
    [(lambda: os._exit(0), "exit code 0"), (call_itself_through_c, "SIGSEGV")],
)
def test_the_end_of_the_process_is_told(end: Callable[[], Any], how: str):
    with pytest.raises(Died, match=how):
        limited(30, end)
    outcome = check(end)
    assert outcome.status == "cannot tell"
    assert f"({how})" in outcome.message and "os._exit" in outcome.message


@copies
def test_a_copy_computes_after_the_notebook_used_several_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        weights = torch.randn(300, 300, requires_grad=True)
        (weights @ weights).relu().sum().backward()

        def compute() -> float:
            (weights @ weights).relu().sum().backward()
            return float(torch.randn(10**6).exp().sum() + torch.randn(3000, 500).softmax(1).sum())

        assert limited(60, compute) > 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("either")
def test_what_is_printed_is_seen(capsys: pytest.CaptureFixture[str]):
    def speak() -> int:
        print("to the notebook", 1)
        print("of errors", file=sys.stderr)
        return 2

    assert limited(30, speak) == 2
    assert capsys.readouterr() == ("to the notebook 1\n", "of errors\n")


@pytest.mark.usefixtures("either")
def test_random_numbers_and_grad_mode_are_those_of_a_fresh_thread():
    random.seed(3)
    expected = random.Random(3).random()
    with torch.no_grad():
        assert limited(30, lambda: (random.random(), torch.is_grad_enabled())) == (expected, True)
    assert random.random() == expected


@pytest.mark.usefixtures("either")
def test_an_interrupt_ends_the_check():
    # A shell that starts the tests in the background makes them ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        assert check(for_ever).message == "The check was interrupted."
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    # Not `is_alive`, which an interrupted `join` makes wrong.
    running = [frame.f_code for frame in sys._current_frames().values()]
    assert for_ever.__code__ not in running
