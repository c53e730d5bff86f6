"""Batches: parts of processes add up to the whole, sizes are right, streaming changes nothing."""

from types import SimpleNamespace

import pytest
import torch

from cprec_lib import (
    ModelConfig,
    SequentialRecommender,
    TrainConfig,
    cprec,
    fit,
    nextitnet,
)
from cprec_lib.train import batches
from cprec_lib.train.batches import Batches, fits
from cprec_lib.train.processes import Processes

CONFIG = cprec(25, 8, cutoffs=(5, 24), dilations=(1, 2))
FLAT = cprec(25, 8, cutoffs=(5, 24), dilations=(1, 2), tree=False)
CONFIGS = pytest.mark.parametrize(
    "config", [CONFIG, FLAT, nextitnet(25, 8, dilations=(1,))], ids=["tree", "flat", "full"]
)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_parts_loss_is_the_mean_over_all_positions_of_the_batch(data, count):
    """Also where windows predict nothing, which only data from elsewhere has."""
    nothing = torch.zeros(9, data.train.shape[1], dtype=torch.long)
    windows = torch.cat([data.train[:20], nothing])
    model = SequentialRecommender(CONFIG)
    order = torch.randperm(29, generator=torch.Generator().manual_seed(count))
    parts = []
    for index in range(count):
        own = SimpleNamespace(count=count, index=index)
        parts.append(Batches(windows, model, 7, own).parts(order))
    for batch, *those in zip(order.split(7), *parts, strict=True):
        found = sum(model.loss(part.windows) * part.weight for part in those) / count
        torch.testing.assert_close(found, model.loss(windows[batch]))
        assert {part.positions for part in those} == {
            int(model.softmax.count_targets(windows[batch]).sum())
        }


@CONFIGS
def test_sizes_spare_the_counting_and_change_nothing(data, config: ModelConfig):
    """What a GPU is given, on the CPU, where both ways run: losses and gradients, bit for bit."""
    model = SequentialRecommender(config)
    for part in Batches(data.train, model, 6, Processes()).parts(torch.arange(len(data.train))):
        found = []
        for sizes in (None, part.sizes):
            loss = model.loss(part.windows, sizes)
            found.append((loss, *torch.autograd.grad(loss, list(model.parameters()))))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_targets_are_counted_by_block(data):
    model = SequentialRecommender(CONFIG)
    windows = torch.tensor([[0, 0, 3, 5, 6, 24, 25], [0, 1, 0, 25, 25, 0, 0]])
    assert model.softmax.count_targets(windows).tolist() == [[1, 2, 1], [0, 0, 1]]
    flat = SequentialRecommender(FLAT).softmax.count_targets(windows)
    assert flat.tolist() == [[4], [1]]
    assert model.softmax.count_targets(data.train).sum() == sum(
        int(((w[:-1] > 0) & (w[1:] > 0)).sum()) for w in data.train
    )


def test_a_gpu_takes_the_windows_if_a_quarter_of_its_free_memory_will_do(monkeypatch):
    windows, gpu = torch.zeros(10, 10, dtype=torch.long), torch.device("cuda", 0)
    for free, expected in ((3200, True), (3199, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10**9))
        assert fits(windows, gpu) is expected
    assert fits(windows, torch.device("cpu"))


def test_windows_that_do_not_fit_are_streamed_with_the_same_result(data, monkeypatch):
    losses = []
    for fit_in in (True, False):
        monkeypatch.setattr(batches, "fits", lambda windows, device, answer=fit_in: answer)
        history = fit(SequentialRecommender(CONFIG), data, TrainConfig(epochs=2), progress=False)
        losses.append([epoch.loss for epoch in history.epochs])
    assert losses[0] == losses[1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@CONFIGS
def test_no_step_waits_for_the_gpu(data, monkeypatch, config, precision, resident):
    monkeypatch.setattr(batches, "fits", lambda windows, device: resident)
    parts, model = Batches.parts, SequentialRecommender(config).cuda()
    expected = SequentialRecommender(config)

    def watched(*arguments):
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield from parts(*arguments)  # each step is taken while its part is out
        finally:
            torch.cuda.set_sync_debug_mode("default")

    plan = TrainConfig(epochs=2, precision=precision)
    fit(model, data, plan, progress=False)  # the first use of a kernel may wait
    monkeypatch.setattr(Batches, "parts", watched)
    model.load_state_dict(expected.state_dict())
    found = fit(model, data, plan, progress=False)
    on_cpu = fit(expected, data, TrainConfig(epochs=2), progress=False)
    for one, other in zip(found.epochs, on_cpu.epochs, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4 if precision == "float32" else 0.02)
