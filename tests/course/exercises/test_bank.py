"""Every exercise of the course: its solution, its stub and the wrong answers that it knows."""

import ast
import inspect
import os
import re
from collections import deque
from pathlib import Path

import nbformat
import pytest
import torch

from cprec_lib.course.exercises import NOTEBOOKS, Problem, problems
from cprec_lib.course.exercises.problem import same

FOLDER = Path(__file__).parents[3] / "notebooks"
ALL = {
    f"{notebook}/{name}": problem
    for notebook in NOTEBOOKS
    for name, problem in problems(notebook).items()
}
each = pytest.mark.parametrize("problem", ALL.values(), ids=ALL.keys())


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def cells(notebook: str, kind: str) -> list[nbformat.NotebookNode]:
    content = nbformat.read(FOLDER / f"{notebook}.ipynb", as_version=4)
    return [cell for cell in content.cells if cell.cell_type == kind]


def test_there_are_enough():
    counts = [len(problems(notebook)) for notebook in NOTEBOOKS]
    assert counts[0] >= 2
    assert all(count >= 3 for count in counts[1:])


def seconds_of_cpu() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


@each
def test_the_solution_is_correct_and_quickly_so(problem: Problem):
    start = seconds_of_cpu()
    outcome = problem.check(problem.answer)
    assert seconds_of_cpu() - start < 1
    assert (outcome.status, outcome.message) == ("correct", problem.why)
    assert problem.answer_text() in str(problem.solution())


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_solutions_that_are_shown_run_in_the_notebook(notebook: str):
    names: dict[str, object] = {}
    tree = ast.parse("\n".join(cell.source for cell in cells(notebook, "code")))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), notebook, "exec"), names)
    for problem in problems(notebook).values():
        if callable(problem.answer):
            exec(problem.answer_text(), names)
            assert problem.check(names[problem.answer.__name__]).status == "correct"


@each
def test_known_slips_are_named(problem: Problem):
    assert len(problem.slips) >= 3
    assert len({slip.message for slip in problem.slips}) == len(problem.slips)
    for slip in problem.slips:
        outcome = problem.check(slip.answer)
        assert outcome.status == "incorrect", slip.message
        assert outcome.message.startswith(slip.message)


@each
def test_the_cases_tell_the_slips_apart(problem: Problem):
    results = [[*problem._results(slip.answer)] for slip in problem.slips]
    for place, one in enumerate(results):
        for other in results[place + 1 :]:
            assert not same(one, other)


@each
def test_messages_name_the_arguments(problem: Problem):
    if inspect.isfunction(problem.answer):
        asked = inspect.signature(problem.answer).parameters
        assert {*problem._names(problem.cases[0])} <= {*asked}


def test_shared_gradients_are_not_added_into_the_argument():
    def add_into(names, gradients):
        total = {}
        for name, gradient in zip(names, gradients, strict=True):
            if name in total:
                total[name] += gradient
            else:
                total[name] = gradient
        return total

    problem = ALL["05_sharing_schemes/shared_gradient"]
    assert "changes its argument: `gradients`" in problem.check(add_into).message


def test_a_changed_argument_is_named_before_a_slip_that_it_resembles():
    def in_place(targets, cutoffs):
        sizes = torch.tensor(cutoffs)
        place = torch.bucketize(targets, sizes)
        targets[place > 0] = sizes[0] + place[place > 0]
        return targets + 1

    root_loss = ALL["02_block_decomposition/root_loss"]
    assert "changes its argument: `targets`" in root_loss.check(in_place).message


def test_a_tie_that_returns_the_blocks_is_correct():
    def tie_and_return(blocks, table):
        tied_blocks.answer(blocks, table)
        return blocks

    tied_blocks = ALL["05_sharing_schemes/tied_blocks"]
    assert tied_blocks.check(tie_and_return).status == "correct"


def test_a_written_tie_that_does_nothing_is_incorrect():
    outcome = ALL["05_sharing_schemes/tied_blocks"].check(lambda blocks, table: len(table) and None)
    assert outcome.status == "incorrect"


def one_after_another(shards):
    total = shards[0].logsumexp(1)
    for logits in shards[1:]:
        total = torch.logaddexp(total, logits.logsumexp(1))
    return [logits - total[:, None] for logits in shards]


def to_the_first(shards):
    sums = [logits.logsumexp(1, keepdim=True) for logits in shards]
    total = torch.cat(sums, dim=1).logsumexp(1, keepdim=True)
    return tuple(logits - total for logits in shards)


def anew_for_each_machine(shards):
    return [
        logits - torch.stack([part.logsumexp(1) for part in shards]).logsumexp(0)[:, None]
        for logits in shards
    ]


@pytest.mark.parametrize("answer", [one_after_another, to_the_first, anew_for_each_machine])
def test_machines_may_send_one_number_in_any_way(answer):
    assert ALL["07_full_training/shards"].check(answer).status == "correct"


def test_an_own_softmax_on_each_machine_is_named_however_it_is_written():
    shards = ALL["07_full_training/shards"]
    outcome = shards.check(lambda parts: [part.softmax(-1).log() for part in parts])
    assert outcome.message.startswith("Each machine divides by the sum over its own items")


def test_values_are_judged_before_the_numbers_that_a_machine_sends():
    def two_numbers_that_overflow(shards):
        tops = torch.stack([logits.amax(1) for logits in shards])
        total = torch.stack([logits.exp().sum(1) for logits in shards]).sum(0)
        return [logits - (total.log() + tops.sum(0) - tops.sum(0))[:, None] for logits in shards]

    message = ALL["07_full_training/shards"].check(two_numbers_that_overflow).message
    assert message.startswith("Right on paper, but in float32")


def test_a_sum_over_positions_is_not_mistaken_for_too_many_numbers():
    def over_positions(shards):
        total = torch.cat([logits.logsumexp(0) for logits in shards]).logsumexp(0)
        return [logits - total for logits in shards]

    message = ALL["07_full_training/shards"].check(over_positions).message
    assert message.startswith("One total is used for all positions")


def test_shards_are_called_tensors():
    for answer in (lambda shards: shards[0], lambda shards: shards[0] - None):
        message = ALL["07_full_training/shards"].check(answer).message
        assert "Tensor" in message and "_Placed" not in message


class Neighbours:
    """A table in which neighbouring codes share a byte."""

    def __init__(self, weights, group):
        groups = weights.unflatten(1, (-1, group))
        self.scales, self.group = (groups.abs().amax(2) / 7).bfloat16(), group
        codes = (groups / self.scales[..., None]).round().flatten(1).add(8).byte()
        self.packed = codes[:, ::2] + 16 * codes[:, 1::2]

    def rows(self, index):
        pairs = self.packed[index]
        codes = torch.stack([pairs % 16, pairs // 16], 2).flatten(1) - 8.0
        return codes * self.scales[index].float().repeat_interleave(self.group, 1)


def test_codes_may_share_a_byte_in_any_order():
    assert ALL["09_smaller_still/four_bits"].check(Neighbours).status == "correct"


def test_a_block_may_draw_its_first_weights_in_its_own_way():
    rezero_block = ALL["03_dilated_cnn/rezero_block"]

    class OwnStart(rezero_block.answer):
        def __init__(self, width, dilation):
            super().__init__(width, dilation)
            self.first = torch.nn.init.xavier_normal_(self.conv1.weight)

    assert rezero_block.check(OwnStart).status == "correct"


class Queue:
    """A buffer whose oldest row falls out by itself."""

    def __init__(self, weight, bias, dilation):
        self.taps, self.bias, self.dilation = weight.unbind(2), bias, dilation
        size = (len(self.taps) - 1) * dilation
        self.rows = deque([torch.zeros(len(bias))] * size, size)

    def step(self, x):
        inputs = [*self.rows, x][:: self.dilation]
        self.rows.append(x)
        return self.bias + sum(tap @ row for tap, row in zip(self.taps, inputs, strict=True))


def test_a_buffer_need_not_be_a_tensor():
    assert ALL["10_serving/ring"].check(Queue).status == "correct"


@each
def test_an_untouched_answer_is_not_attempted(problem: Problem):
    assert problem.check(...).status == "not attempted"


@each
def test_nonsense_never_raises(problem: Problem):
    for nonsense in (3, "text", float("nan"), [], {}, lambda: 1, lambda *a: a, lambda *a: 1 / 0):
        assert problem.check(nonsense).status in ("incorrect", "cannot tell")


@each
def test_two_hints_at_least(problem: Problem):
    assert len(problem.hints) >= 2
    assert all(hint not in problem.answer_text() for hint in problem.hints)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_notebook_asks_for_every_exercise(notebook: str):
    code = "\n".join(cell.source for cell in cells(notebook, "code"))
    prose = "\n".join(cell.source for cell in cells(notebook, "markdown"))
    for name, problem in problems(notebook).items():
        assert f"exercises.{name}.check(" in code
        assert f"# exercises.{name}.hint()" in code
        assert f"# exercises.{name}.solution()" in code
        heading = f"Exercise: {problem.title}"
        assert heading in prose
        about = prose[prose.index(heading) :].split("\n", 3)[2]
        assert about == f"*{problem.about}*"


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_stubs_are_not_attempted(notebook: str):
    for name in problems(notebook):
        [cell] = [c for c in cells(notebook, "code") if f"exercises.{name}.check(" in c.source]
        [output] = cell.outputs
        assert output.data["text/plain"].startswith("Not attempted.")


@each
def test_no_notebook_gives_the_solution_away(problem: Problem):
    body = problem.answer_text().rsplit('"""', 1)[-1]
    if callable(problem.answer):
        body = body.split(":\n", 1)[-1]
        for notebook in NOTEBOOKS:
            text = "\n".join(
                c.source for c in cells(notebook, "code") + cells(notebook, "markdown")
            )
            assert plain(body).strip() not in plain(text)
