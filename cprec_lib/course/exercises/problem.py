"""Exercises: their cases, solutions and known slips, and how an answer is judged."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import InitVar, dataclass, field
from itertools import zip_longest
from textwrap import indent
from typing import Any, Literal

from cprec_lib.course.exercises.guard import Died, TookTooLong, limited
from cprec_lib.course.exercises.slips import Slip, slips_in
from cprec_lib.course.exercises.source import source
from cprec_lib.course.exercises.stubs import is_stub
from cprec_lib.course.exercises.values import cut, describe, difference

Status = Literal["not attempted", "correct", "incorrect", "cannot tell"]
SECONDS = 10.0
"""Seconds that an answer and its check may take for all cases of a problem."""


@dataclass(frozen=True)
class Outcome:
    """The result of `check`; a notebook shows it as the value of a cell's last line."""

    status: Status
    message: str

    def __repr__(self) -> str:
        text = f"{self.status.capitalize()}. {self.message}"
        return text.strip()

    def _repr_markdown_(self) -> str:
        return f"**{self.status.capitalize()}.** {self.message}"


@dataclass(frozen=True)
class Text:
    """A hint or a solution, as Markdown."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


@dataclass
class Problem:
    """An exercise.

    `answer` is a function, a class or a value. So are the wrong answers in `slips`; `wrong` adds
    slips written as text (see `slips_in`).

    `use` applies an answer to the arguments of a case and returns the result to compare. By
    default, a function or a class is called with the arguments, and a value is its own result.
    `judge` gets a result and the right one and says what is wrong, "" if nothing is; by default the
    two have to be equal. `why` explains the solution and is shown with a correct answer.
    `optional` takes the minutes out of those that a notebook states for its exercises.
    """

    title: str
    task: str
    minutes: int
    difficulty: Literal["easy", "medium", "hard"]
    purpose: str
    answer: Any
    hints: tuple[str, ...]
    slips: tuple[Slip, ...] = ()
    wrong: InitVar[str] = ""
    cases: Sequence[tuple[Any, ...]] = ((),)
    use: Callable[..., Any] | None = None
    judge: Callable[[Any, Any], str] = difference
    why: str = ""
    changes: tuple[str, ...] = ()
    optional: bool = False
    _hints_shown: int = field(default=0, repr=False)

    def __post_init__(self, wrong: str) -> None:
        module = (self.answer if callable(self.answer) else self.judge).__module__
        self.slips += tuple(slips_in(wrong, self.answer, module))

    @property
    def about(self) -> str:
        """What stands above the task: `7 minutes, easy. For ...`."""
        kind = f"{self.difficulty}, optional" if self.optional else self.difficulty
        return f"{self.minutes} minutes, {kind}. {self.purpose}"

    def check(self, answer: Any) -> Outcome:
        """Judge an answer. Never raises, and ends within seconds whatever the answer does.

        Does not change the state of random numbers or torch's default settings.
        """
        try:
            return limited(SECONDS, lambda: self._outcome(answer))
        except TookTooLong:
            return Outcome(
                "cannot tell",
                f"The answer and its check had not ended after {SECONDS:.0f} seconds. "
                "Does a loop run forever, or does it try too many choices?",
            )
        except Died as how:
            return Outcome(
                "cannot tell",
                f"The answer ended the process that ran it ({how}). Does it call itself without "
                "end, or call `os._exit`?",
            )
        except KeyboardInterrupt:
            return Outcome("cannot tell", "The check was interrupted.")
        except Exception as error:
            return _failed(error)

    def hint(self) -> Text:
        """The next hint; after the last hint, the first one again, with a sentence that says so."""
        number = self._hints_shown % len(self.hints)
        again = "That was the last hint. From the start again:\n\n" if self._hints_shown else ""
        self._hints_shown += 1
        text = f"**Hint {number + 1} of {len(self.hints)}.** {self.hints[number]}"
        return Text(text if number else again + text)

    def solution(self) -> Text:
        """One good answer, with its explanation if there is one."""
        code = f"```python\n{self.answer_text()}\n```"
        return Text("\n\n".join(filter(None, (code, self.why))))

    def yours(self, answer: Any) -> Any:
        """The answer if it is correct; otherwise the solution, with a sentence that says so."""
        if self.check(answer).status == "correct":
            return answer
        print(f"{self.title}: no correct answer of yours yet, so the course's own is used.")
        return self.answer

    def answer_text(self) -> str:
        """The source of the solution, or its value."""
        return source(self.answer)

    def _outcome(self, answer: Any) -> Outcome:
        try:
            return self._judge(answer)
        except Exception as error:
            return _failed(error)

    def _judge(self, answer: Any) -> Outcome:
        if answer is None or answer is ... or is_stub(answer):
            return _UNTOUCHED
        if callable(self.answer) and (other := self._other_kind(answer)):
            return Outcome("incorrect", other)
        return self._compare([*self._attempts(answer)])

    def _other_kind(self, answer: Any) -> str:
        """What is wrong if this is not a function or class where one is asked for; else ""."""
        wants_class = inspect.isclass(self.answer)
        if inspect.isclass(answer) if wants_class else callable(answer):
            return ""
        found = describe(answer)
        if hasattr(answer, "forward"):  # its text would list its layers
            found = f"an instance of `{type(answer).__name__}`: leave out the parentheses"
        wanted = "class" if wants_class else "function"
        return f"The check needs the {wanted} itself; this is {found}."

    def _results(self, answer: Any) -> Iterator[Any]:
        """The result of an answer for each case; the last one is a failure if it raises."""
        return (result for result, _ in self._attempts(answer))

    def _attempts(self, answer: Any) -> Iterator[tuple[Any, str]]:
        """For each case the result of an answer, and what it changed in its arguments, in words.

        It gets copies, so it cannot change the cases.
        """
        for case in self.cases:
            given = deepcopy(case)
            try:
                result = self._run(answer, *given)
            except (Exception, SystemExit) as error:
                yield _Failure(error), ""
                return
            yield result, self._changed(case, given)

    def _run(self, answer: Any, *case: Any) -> Any:
        if self.use is not None:
            return self.use(answer, *case)
        return answer(*case) if callable(answer) else answer

    def _changed(self, case: tuple[Any, ...], given: tuple[Any, ...]) -> str:
        """The first argument that is not what it was, in a sentence; "" if there is none."""
        for name, before, after in zip(self._names(case), case, given, strict=True):
            if name not in self.changes and difference(after, before):
                return (
                    f"The answer changes its argument: `{name}` is "
                    f"`{describe(after)}` afterwards. Work on a copy, or make a new value."
                )
        return ""

    def _compare(self, attempts: Sequence[tuple[Any, str]]) -> Outcome:
        results = [result for result, _ in attempts]
        if all(map(_unwritten, results)):
            return _UNTOUCHED
        for case, (result, changed) in zip(self.cases, attempts, strict=False):
            if isinstance(result, _Failure):
                return Outcome("incorrect", f"{self._call(case)}{result}")
            right = self._run(self.answer, *deepcopy(case))
            if result is None and right is not None:
                nothing = "The answer returns `None`. Is there a path that reaches no `return`?"
                return Outcome("incorrect", f"{self._call(case)}{nothing}")
            wrong = self.judge(result, right)
            if wrong:
                # An answer that changes its arguments may look like a slip that it is not.
                cause = f"{changed}\n\n" if changed else self._slip(results)
                example = f"{self._call(case)}{wrong[0].upper()}{wrong[1:]}"
                return Outcome("incorrect", f"{cause}{example}")
            if changed:
                return Outcome("incorrect", f"{self._call(case)}The result is right. {changed}")
        return Outcome("correct", self.why)

    def _slip(self, results: Sequence[Any]) -> str:
        """The message of the known wrong answer that gives exactly these results, else ""."""
        for slip in self.slips:
            if same(results, self._results(slip.answer)):
                return f"{slip.message}\n\n"
        return ""

    def _call(self, case: tuple[Any, ...]) -> str:
        """The case in words, as in "With sizes = (1, 2):"."""
        if not case:
            return ""
        given = (
            f"{name} = {describe(value)}"
            for name, value in zip(self._names(case), case, strict=True)
        )
        return "With\n\n" + indent("\n".join(given), "    ") + "\n\n"

    def _names(self, case: tuple[Any, ...]) -> list[str]:
        """The names of a case's values: those of the parameters that get them."""
        if not case:
            return []
        names = list(inspect.signature(self.use or self.answer).parameters)[bool(self.use) :]
        if len(names) < len(case):
            names = [f"argument {place}" for place in range(1, len(case) + 1)]
        return names[: len(case)]


_UNTOUCHED = Outcome(
    "not attempted", "Write your answer in place of the three dots, then run the cell again."
)


class _Failure:
    """An error that an answer raised, without the values that its traceback keeps alive."""

    def __init__(self, error: BaseException):
        self.error, self.line = error, _own_line(error)
        error.__traceback__ = error.__context__ = None

    def __str__(self) -> str:
        where = f" in the line\n\n    {self.line}\n\n" if self.line else ", "
        return f"The answer stopped{where}with {_said(self.error)}"


def _failed(error: Exception) -> Outcome:
    return Outcome("cannot tell", f"The check itself failed: {_said(error)}")


def _said(error: BaseException) -> str:
    """The type and message of an error; `str` of a learner's own error class may raise."""
    try:
        message = cut(str(error))
        if isinstance(error, MemoryError) and not message:
            message = "it needs more memory than there is"
    except Exception:
        message = "its message cannot be shown"
    return f"`{type(error).__name__}`: {message}"


def _unwritten(result: Any) -> bool:
    return isinstance(result, _Failure) and isinstance(result.error, NotImplementedError)


def _own_line(error: BaseException) -> str:
    """The learner's line that raised: the last one of a notebook's cell."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "ipykernel" in f.filename or f.filename.startswith("<ipython")]
    return own[-1].line or "" if own else ""


def same(results: Iterable[Any], others: Iterable[Any]) -> bool:
    """Whether `results` equal `others`; errors are compared by type. Stops at a difference."""
    missing: Any = object()
    for one, other in zip_longest(results, others, fillvalue=missing):
        if one is missing or other is missing:
            return False
        if isinstance(one, _Failure) or isinstance(other, _Failure):
            both = isinstance(one, _Failure) and isinstance(other, _Failure)
            if not (both and type(one.error) is type(other.error)):
                return False
        elif difference(one, other):
            return False
    return True
