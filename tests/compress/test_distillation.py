"""Distillation: the loss beside its formula, and trainings that follow a teacher."""

import pytest
import torch

from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, cprec, fit, nextitnet
from cprec_lib.compress import distillation
from cprec_lib.compress.budget import Trainer
from cprec_lib.compress.compressor import Compressor
from cprec_lib.compress.distillation import distilled_loss, learning_from
from cprec_lib.compress.pruning import Pruning
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.racers import Plan
from tests.compress.small import CONFIGS, N_ITEMS, contexts

WINDOWS = contexts(6, 9)


@pytest.fixture
def teacher() -> SequentialRecommender:
    return SequentialRecommender(nextitnet(N_ITEMS, 12, dilations=(1, 2)), seed=7).eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_loss_and_its_gradient_are_those_of_the_formula(name, teacher, monkeypatch) -> None:
    monkeypatch.setattr(distillation, "CELLS", 7 * N_ITEMS)  # several chunks
    model = SequentialRecommender(CONFIGS[name])
    inputs, targets = WINDOWS[:, :-1], WINDOWS[:, 1:]
    log_p, t = model.softmax.log_prob, teacher.softmax.log_prob
    terms = []
    for row, column in (inputs > 0).nonzero().tolist():
        ours = log_p(model(inputs[row : row + 1])[:, column])[0]
        theirs = t(teacher(inputs[row : row + 1])[:, column])[0].detach().exp()
        hard = -ours[targets[row, column] - 1]
        terms.append(0.7 * hard - 0.3 * (theirs * ours).sum())
    expected = torch.stack(terms).mean()
    found = distilled_loss(model, teacher, 0.3, WINDOWS)
    assert torch.allclose(found, expected, atol=1e-5)
    wanted, given = (
        torch.autograd.grad(loss, [*model.parameters()], allow_unused=True)
        for loss in (expected, found)
    )
    for one, other in zip(wanted, given, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-5)


def test_a_share_of_zero_is_the_models_own_loss(teacher) -> None:
    model = SequentialRecommender(cprec(N_ITEMS, 16, (6, 20), dilations=(1, 2)))
    assert torch.allclose(distilled_loss(model, teacher, 0.0, WINDOWS), model.loss(WINDOWS))


def test_another_forward_pass_such_as_a_compiled_one_is_used(teacher) -> None:
    model = SequentialRecommender(CONFIGS["full"])
    given = {"forward": lambda ids: 0 * model(ids)}  # as `fit` passes it with `compile`
    with learning_from(teacher, model, 0.5):
        assert not torch.allclose(model.loss(WINDOWS, **given), model.loss(WINDOWS))


def test_afterwards_the_model_has_its_own_loss_again(teacher) -> None:
    model = SequentialRecommender(CONFIGS["full"])
    own = model.loss(WINDOWS)
    with pytest.raises(KeyError), learning_from(teacher, model, 0.9):
        assert not torch.allclose(model.loss(WINDOWS), own)
        raise KeyError
    assert torch.equal(model.loss(WINDOWS), own)


def test_what_is_refused(teacher) -> None:
    model = SequentialRecommender(nextitnet(N_ITEMS + 1, 8))
    with pytest.raises(ValueError, match=r"the teacher knows 60 items, the model 61"):
        learning_from(teacher, model, 0.5).__enter__()
    with pytest.raises(ValueError, match=r"distillation 1.0 is not in"):
        learning_from(None, model, 1.0).__enter__()


def test_a_student_comes_closer_to_its_teacher(teacher, data: SequenceData) -> None:
    full = SequentialRecommender(nextitnet(data.n_items, 16, dilations=(1, 2)))
    training = TrainConfig(epochs=3, learning_rate=0.01)
    fit(full, data, training, progress=False)
    inputs = data.test.contexts

    def distance(share: float) -> float:
        """Cross-entropy of the test users' probabilities, ours after a training with the share."""
        model = SequentialRecommender(cprec(data.n_items, 16, dilations=(1, 2)))
        with learning_from(full if share else None, model, share):
            fit(model, data, training, progress=False)
        return float(-(full.scores(inputs).exp() * model.scores(inputs)).sum(1).mean())

    assert distance(0.9) < distance(0.0)


def test_a_trainer_trains_the_teacher_first_and_then_all_others_with_it(data, tmp_path) -> None:
    full = nextitnet(data.n_items, 16, dilations=(1, 2))
    small = Plan.of("small", nextitnet(data.n_items, 4, dilations=(1, 2)), None)
    training = TrainConfig(epochs=1, learning_rate=0.01)

    def scores(share: float) -> torch.Tensor:
        cpu = torch.device("cpu")
        trainer = Trainer(full, data, training, cpu, work=tmp_path, distillation=share)
        result = trainer.result(small)
        assert (full in trainer.trained) == (share > 0)
        return result.model.scores(data.test.contexts)

    alone, taught = scores(0.0), scores(0.5)
    assert not torch.allclose(alone, taught)  # and neither goes on from the other's folder
    assert torch.equal(scores(0.5), taught)


@pytest.mark.parametrize("last", [Pruning(0.3), Rounding(4, tunes=True)], ids=["pruned", "tuned"])
def test_what_is_tuned_learns_from_the_teacher_too(last: Compressor, data, monkeypatch) -> None:
    """The teacher is the model as it was before the tuning."""
    full = nextitnet(data.n_items, 8, dilations=(1,))
    plan, rest = Plan.of("tuned", full, last), (data, TrainConfig(epochs=2), torch.device("cpu"))
    losses: list[tuple[SequentialRecommender, float]] = []

    def watched(model, teacher, share, *rest, **others):
        losses.append((teacher, share))
        return distilled_loss(model, teacher, share, *rest, **others)

    monkeypatch.setattr(distillation, "distilled_loss", watched)
    assert Trainer(full, *rest).result(plan) and not losses
    trainer = Trainer(full, *rest, distillation=0.5)
    result = trainer.result(plan)
    assert result and result.tuning and len(result.tuning.epochs) == 3
    assert {*losses} == {(trainer.trained[full].model, 0.5)}  # and the teacher learns from nobody
