"""Training: that it learns, repeats itself bit for bit, survives kills, and refuses bad input."""

import errno
import json
import os
import random
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from cprec_lib import (
    Popularity,
    SequenceData,
    SequentialRecommender,
    TrainConfig,
    evaluate,
    fit,
    gru4rec,
    sasrec,
)
from cprec_lib.files import LOCK
from cprec_lib.train import evaluation
from cprec_lib.train.checkpoints import CHECKPOINT, Epoch
from tests.train.small import CONFIG, SHORT, assert_same, new_model, numbers, weights

ROOT = Path(__file__).parents[2]


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- learning ------------------------------------------------------------------------------------


def test_the_loss_falls_and_the_model_learns_to_walk_the_circle(data):
    model = new_model()
    config = TrainConfig(epochs=15, batch_size=16, learning_rate=0.03, patience=15)
    history = fit(model, data, config, progress=False)
    losses = [epoch.loss for epoch in history.epochs]
    assert losses[-1] < losses[len(losses) // 2] < losses[0]
    found, popular = evaluate(model, data).metrics(), evaluate(Popularity(data), data).metrics()
    assert found["hr@5"] > popular["hr@5"] + 0.2


@pytest.mark.parametrize("preset", [gru4rec, sasrec])
@pytest.mark.parametrize("bread", [{}, {"block_input": True, "block_softmax": True}])
def test_the_other_fillings_learn_to_walk_the_circle(data, preset, bread):
    config = preset(25, 8, (5, 12), dropout=0.1, **bread)
    model = new_model(config)
    history = fit(model, data, TrainConfig(15, 16, 0.03, patience=15), progress=False)
    losses = [epoch.loss for epoch in history.epochs]
    assert losses[-1] < losses[len(losses) // 2] < losses[0]
    found, popular = evaluate(model, data).metrics(), evaluate(Popularity(data), data).metrics()
    assert found["hr@5"] > popular["hr@5"] + 0.2


@pytest.mark.parametrize("preset", [gru4rec, sasrec])
def test_another_filling_goes_on_bit_for_bit(data, preset, tmp_path):
    config = preset(25, 8, dropout=0.2)
    whole, again = new_model(config), new_model(config)
    history = fit(whole, data, SHORT, progress=False)
    fit(new_model(config), data, replace(SHORT, epochs=2), tmp_path, progress=False)
    resumed = fit(again, data, SHORT, tmp_path, resume=True, progress=False)
    assert numbers(resumed) == numbers(history)
    assert_same(weights(again), weights(whole))


def test_one_step_is_adamw_on_the_mean_loss_of_all_windows(data):
    config = TrainConfig(epochs=1, batch_size=10_000, learning_rate=0.02, weight_decay=0.3)
    quiet = replace(CONFIG, dropout=0.0)
    trained, by_hand = new_model(quiet), new_model(quiet)
    history = fit(trained, data, config, progress=False)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.02, weight_decay=0.3)
    loss = by_hand.loss(data.train)
    loss.backward()
    optimizer.step()
    assert history.epochs[0].loss == pytest.approx(loss.item(), rel=1e-5)
    found, expected = weights(trained), weights(by_hand)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-4)


def test_a_linear_schedule_ends_at_zero_and_starts_each_step_where_it_should(data, monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def noted(optimizer, *arguments):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    config = TrainConfig(epochs=2, batch_size=10, learning_rate=0.1, schedule="linear")
    fit(new_model(), data, config, progress=False)
    steps = -(-len(data.train) // 10)
    assert len(rates) == 2 * steps and rates[0] == 0.1
    assert rates[:steps] == [
        pytest.approx(0.1 - 0.05 * 10 * i / len(data.train)) for i in range(steps)
    ]
    assert rates[steps] == pytest.approx(0.05)
    assert 0 < rates[-1] < 0.01
    rates.clear()
    fit(new_model(), data, replace(config, schedule="constant"), progress=False)
    assert {*rates} == {0.1}


def test_a_linear_schedule_goes_on_bit_for_bit_and_with_its_epochs_alone(data, tmp_path):
    linear = replace(SHORT, schedule="linear")
    whole = new_model()
    fit(whole, data, linear, progress=False)

    def interrupt(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(new_model(), data, linear, tmp_path, progress=False, log=interrupt)
    with pytest.raises(ValueError, match="its epochs is 4, this run's is 5"):
        fit(new_model(), data, replace(linear, epochs=5), tmp_path, True, progress=False)
    model = new_model(seed=77)
    fit(model, data, linear, tmp_path, resume=True, progress=False)
    assert_same(weights(model), weights(whole))


def test_an_epoch_sees_every_window_once_in_a_new_order(data, monkeypatch):
    model, seen = new_model(), []
    loss = model.loss
    monkeypatch.setattr(model, "loss", lambda ids: seen.append(ids) or loss(ids))
    fit(model, data, replace(SHORT, epochs=2), progress=False)
    half = len(seen) // 2
    assert {len(ids) for ids in seen[: half - 1]} == {16}
    first, second = torch.cat(seen[:half]), torch.cat(seen[half:])
    for epoch in (first, second):
        assert sorted(epoch.tolist()) == sorted(data.train.tolist())
    assert not torch.equal(first, second)
    assert not torch.equal(first, data.train)


def test_validation_is_the_valid_part(data):
    model = new_model()
    history = fit(model, data, replace(SHORT, epochs=1), progress=False)
    assert history.epochs[0].valid == evaluate(model, data, "valid").metrics()


def test_what_is_held_out_does_not_change_the_training(data):
    """Other validation and test targets: the same losses and weights after the same epochs."""
    draw = torch.Generator().manual_seed(0)
    others = torch.randint(1, 26, data.test.targets.shape, generator=draw)
    changed = replace(data, valid=replace(data.valid, targets=others), test=data.valid)
    models = new_model(), new_model()
    histories = [
        fit(model, some, replace(SHORT, epochs=1), progress=False)
        for model, some in zip(models, (data, changed), strict=True)
    ]
    assert histories[0].epochs[0].loss == histories[1].epochs[0].loss
    assert_same(weights(models[0]), weights(models[1]))


# --- seeds ---------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_numbers_bit_for_bit(data):
    models = new_model(), new_model()
    histories = [fit(model, data, SHORT, progress=False) for model in models]
    assert numbers(histories[0]) == numbers(histories[1])
    assert_same(weights(models[0]), weights(models[1]))


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_another_seed_gives_other_numbers(data, dropout):
    config = replace(CONFIG, dropout=dropout)
    histories = [
        fit(new_model(config), data, replace(SHORT, seed=seed), progress=False) for seed in (0, 1)
    ]
    assert numbers(histories[0]) != numbers(histories[1])


def test_dropout_is_on_while_training_and_follows_the_seed(data):
    with_it, without = (
        fit(new_model(replace(CONFIG, dropout=p)), data, SHORT, progress=False) for p in (0.2, 0.0)
    )
    assert numbers(with_it) != numbers(without)


def test_the_callers_random_state_is_neither_read_nor_changed(data):
    torch.manual_seed(11)
    np.random.seed(11)
    random.seed(11)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = fit(new_model(), data, SHORT, progress=False)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    torch.manual_seed(12)
    assert numbers(fit(new_model(), data, SHORT, progress=False)) == numbers(first)


def test_on_a_cpu_no_other_device_is_seeded(data, monkeypatch):
    """torch.manual_seed would reseed every GPU; forking without devices would start them all."""
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("reseeds every device"))
    forked = []
    fork = torch.random.fork_rng
    monkeypatch.setattr(
        torch.random, "fork_rng", lambda devices: forked.append(devices) or fork(devices)
    )
    fit(new_model(), data, replace(SHORT, epochs=1), progress=False)
    assert forked and not any(forked)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_dropout_follows_the_seed_and_the_callers_state_comes_back(data):
    torch.cuda.manual_seed_all(3)
    before = torch.cuda.get_rng_state()
    losses = [
        [e.loss for e in fit(new_model().cuda(), data, SHORT, progress=False).epochs]
        for _ in range(2)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert torch.equal(torch.cuda.get_rng_state(), before)


# --- precision and compilation --------------------------------------------------------------------


def test_bfloat16_trains_about_as_well_and_leaves_float32_weights(data):
    losses = {}
    for precision in ("float32", "bfloat16"):
        model = new_model(replace(CONFIG, dropout=0.0))
        history = fit(model, data, replace(SHORT, precision=precision), progress=False)
        losses[precision] = [epoch.loss for epoch in history.epochs]
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def test_compile_gives_the_forward_pass_away_for_the_training_alone(data, monkeypatch):
    compiled, model = [], new_model()
    monkeypatch.setattr(torch, "compile", lambda f: lambda ids: compiled.append(len(ids)) or f(ids))
    found = fit(model, data, replace(SHORT, compile=True, epochs=2), progress=False)
    assert len(compiled) > 2 * len(data.train) / 16
    compiled.clear()
    assert numbers(found) == numbers(fit(new_model(), data, replace(SHORT, epochs=2)))
    evaluate(model, data)
    assert not compiled


# --- early stopping ------------------------------------------------------------------------------


class Script:
    """Stands in for `evaluate`: gives prepared NDCGs and keeps the weights of each epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ndcgs: float) -> None:
        self.ndcgs, self.weights = ndcgs, []
        monkeypatch.setattr(evaluation, "evaluate", self)

    def __call__(self, model: SequentialRecommender, data: SequenceData, part: str) -> "Script":
        assert part == "valid"
        self.weights.append(weights(model))
        return self

    def metrics(self) -> dict[str, float]:
        return {"hr@10": 0.5, "ndcg@10": self.ndcgs[len(self.weights) - 1]}


@pytest.mark.parametrize(
    ("ndcgs", "patience", "stops", "best"),
    [
        ((0.1, 0.3, 0.2, 0.2, 0.9), 2, 4, 2),
        ((0.1, 0.3, 0.2, 0.2, 0.9), 3, 5, 5),
        ((0.3, 0.3, 0.3, 0.3, 0.3), 2, 3, 1),
        ((0.1, 0.2, 0.3, 0.4, 0.3), 1, 5, 4),
        ((0.5, 0.4, 0.4, 0.4, 0.4), 1, 2, 1),
        ((0.0, 0.0, 0.1, 0.0, 0.0), 9, 5, 3),
    ],
)
def test_the_best_epochs_weights_are_kept(data, monkeypatch, ndcgs, patience, stops, best):
    script, model = Script(monkeypatch, *ndcgs), new_model()
    config = replace(SHORT, epochs=5, patience=patience)
    history = fit(model, data, config, progress=False)
    assert len(history.epochs) == stops
    assert history.best.epoch == best
    assert_same(weights(model), script.weights[best - 1])


def test_a_stopped_run_stays_stopped_when_it_is_resumed(data, monkeypatch, tmp_path):
    script = Script(monkeypatch, 0.3, 0.2, 0.2)
    config = replace(SHORT, epochs=9, patience=2)
    first = fit(new_model(), data, config, tmp_path, progress=False)
    model = new_model(seed=5)
    again = fit(model, data, config, tmp_path, resume=True, progress=False)
    assert numbers(again) == numbers(first)
    assert_same(weights(model), script.weights[0])


# --- checkpoints ---------------------------------------------------------------------------------


def test_a_checkpoint_does_not_change_the_run(data, tmp_path, whole):
    model = new_model()
    history = fit(model, data, SHORT, tmp_path / "new" / "folder", progress=False)
    assert numbers(history) == numbers(whole[0])
    assert_same(weights(model), whole[1])
    assert files_in(tmp_path / "new" / "folder") == [CHECKPOINT, LOCK]


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(data, tmp_path, whole, after):
    fit(new_model(), data, replace(SHORT, epochs=after), str(tmp_path), progress=False)
    model = new_model(seed=77)  # its weights must all come from the checkpoint
    torch.manual_seed(after)
    history = fit(model, data, SHORT, tmp_path, resume=True, progress=False)
    assert numbers(history) == numbers(whole[0])
    assert_same(weights(model), whole[1])


@pytest.mark.parametrize("batch", [1, 2, 6])
def test_a_run_interrupted_inside_an_epoch_loses_that_epoch_alone(
    data, tmp_path, whole, monkeypatch, batch
):
    model, calls = new_model(), []
    loss = model.loss

    def interrupted(ids: Tensor) -> Tensor:
        calls.append(len(ids))
        if len(calls) == batch:
            raise KeyboardInterrupt
        return loss(ids)

    monkeypatch.setattr(model, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, SHORT, tmp_path, progress=False)
    resumed = new_model()
    history = fit(resumed, data, SHORT, tmp_path, resume=True, progress=False)
    assert numbers(history) == numbers(whole[0])
    assert_same(weights(resumed), whole[1])


def test_a_resumed_run_knows_a_best_epoch_before_the_interruption(data, tmp_path, monkeypatch):
    script = Script(monkeypatch, 0.1, 0.9, 0.2, 0.3)
    fit(new_model(), data, replace(SHORT, epochs=3), tmp_path, progress=False)
    model = new_model()
    history = fit(model, data, SHORT, tmp_path, resume=True, progress=False)
    assert history.best.epoch == 2
    assert_same(weights(model), script.weights[1])


def test_resuming_without_a_checkpoint_starts_a_run(data, tmp_path, whole):
    model = new_model()
    history = fit(model, data, SHORT, tmp_path, resume=True, progress=False)
    assert numbers(history) == numbers(whole[0])


def test_a_folder_with_a_run_is_not_overwritten(data, tmp_path):
    fit(new_model(), data, replace(SHORT, epochs=1), tmp_path, progress=False)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with pytest.raises(ValueError, match="already holds a run; resume it, or choose another fold"):
        fit(new_model(), data, SHORT, tmp_path, progress=False)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


HOLDER = """
    import sys
    from pathlib import Path
    from cprec_lib.files import held
    with held(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
"""


def test_a_folder_that_another_process_uses_is_refused_until_that_dies(data, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        for resume in (False, True):
            with pytest.raises(ValueError, match=r"is in use by another process; wait until that"):
                fit(new_model(), data, SHORT, tmp_path, resume=resume, progress=False)
        other.kill()
    fit(new_model(), data, replace(SHORT, epochs=1), tmp_path, progress=False)
    assert (tmp_path / CHECKPOINT).exists()


KILLER = """
    import os, random, signal, sys, time
    from pathlib import Path
    import pandas as pd
    import torch._dynamo  # the first step of an optimizer needs it: once, not in each run
    from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, cprec, fit

    class SlowFile:
        '''Writes a sixteenth at a time, so that most kills fall into the middle of a write.'''
        def __init__(self, file): self.file = file
        def __enter__(self): return self
        def __exit__(self, *error): self.file.close()
        def __getattr__(self, name): return getattr(self.file, name)
        def write(self, content):
            for start in range(0, len(content), step := max(1, len(content) // 16)):
                self.file.write(content[start : start + step])
                self.file.flush()
                time.sleep(0.002)

    opened = Path.open
    Path.open = lambda path, *options, **more: SlowFile(opened(path, *options, **more))
    data = SequenceData.from_interactions(pd.read_pickle(sys.argv[1]), max_len=8)
    config = cprec(25, 8, cutoffs=(5, 12), dilations=(1, 2), dropout=0.2)
    settings = TrainConfig(epochs=100_000, batch_size=16, learning_rate=0.01, patience=100_000)
    for folder in map(Path, sys.argv[2:]):
        run = os.fork()
        if run == 0:
            fit(SequentialRecommender(config), data, settings, folder, progress=False)
        while not (folder / "checkpoint.safetensors").exists():
            time.sleep(0.005)
        time.sleep(random.Random(folder.name).uniform(0.01, 0.3))
        os.kill(run, signal.SIGKILL)
        os.waitpid(run, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and kill -9")
def test_runs_killed_at_any_moment_leave_checkpoints_that_go_on(data, table, tmp_path):
    table.to_pickle(tmp_path / "table")
    folders = [tmp_path / str(number) for number in range(6)]
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLER), tmp_path / "table", *folders],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        check=True,
        timeout=300,
    )
    for folder in folders:
        config = replace(SHORT, epochs=1, patience=100_000)
        done = len(fit(new_model(), data, config, folder, resume=True, progress=False).epochs)
        assert done >= 1
        config = replace(config, epochs=done + 1)
        history = fit(new_model(), data, config, folder, resume=True, progress=False)
        assert len(history.epochs) == done + 1


def test_a_full_disk_leaves_the_checkpoint_before_and_the_best_weights(
    data, tmp_path, monkeypatch, whole
):
    synced, fsync = [], os.fsync

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    script, model = Script(monkeypatch, 0.1, 0.3, 0.2), new_model()
    with pytest.raises(OSError, match=r"cannot write checkpoint\.safetensors .*free some space"):
        fit(model, data, SHORT, tmp_path, progress=False)
    assert files_in(tmp_path) == [CHECKPOINT, LOCK]
    assert_same(weights(model), script.weights[1])
    monkeypatch.undo()
    resumed = new_model()
    history = fit(resumed, data, SHORT, tmp_path, resume=True, progress=False)
    assert [epoch.loss for epoch in history.epochs] == [epoch.loss for epoch in whole[0].epochs]


# --- what cannot be trained ----------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_and_leaves_the_best_weights(data, tmp_path, monkeypatch):
    model, calls = new_model(), []
    loss = model.loss

    def broken(ids: Tensor) -> Tensor:
        calls.append(1)
        return loss(ids) * (float("inf") if len(calls) == 7 else 1)

    monkeypatch.setattr(model, "loss", broken)
    with pytest.raises(FloatingPointError, match=r"of epoch 2 is .*learning rate of 0\.0033\. "):
        fit(model, data, SHORT, tmp_path, progress=False)
    assert all(p.isfinite().all() for p in model.parameters())
    resumed = new_model()
    fit(resumed, data, replace(SHORT, epochs=1), tmp_path, resume=True, progress=False)
    assert_same(weights(model), weights(resumed))


def test_a_learning_rate_far_too_large_is_noticed(data):
    config = replace(SHORT, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"is nan; try a learning rate of 3\.3e\+29"):
        fit(new_model(), data, config, progress=False)


def test_weights_that_overflow_in_the_last_step_are_noticed(data, tmp_path):
    """The loss of that step, which came before, is finite, and no other follows."""
    model, config = new_model(), TrainConfig(epochs=1, batch_size=10_000, learning_rate=1e39)
    before = weights(model)
    with pytest.raises(FloatingPointError, match=r"weights after epoch 1 are not finite; try a le"):
        fit(model, data, config, tmp_path, progress=False)
    assert_same(weights(model), before)
    assert not (tmp_path / CHECKPOINT).exists()


def test_an_empty_folder_name_is_refused(data):
    with pytest.raises(ValueError, match="the path is empty; give a name"):
        fit(new_model(), data, SHORT, "", progress=False)


def out_of_memory_on_a_cpu() -> None:
    torch.empty(1 << 60)


def out_of_memory_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


@pytest.mark.parametrize("exhaust", [out_of_memory_on_a_cpu, out_of_memory_on_a_gpu])
def test_too_little_memory_ends_with_advice_and_the_last_checkpoint(
    data, tmp_path, monkeypatch, whole, exhaust
):
    model, calls = new_model(), []
    loss = model.loss

    def greedy(ids: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 7:
            exhaust()
        return loss(ids)

    monkeypatch.setattr(model, "loss", greedy)
    with pytest.raises(MemoryError, match=r"for a batch size of 16; try a batch size of 8\. "):
        fit(model, data, SHORT, tmp_path, progress=False)
    resumed = new_model()
    history = fit(resumed, data, SHORT, tmp_path, resume=True, progress=False)
    assert numbers(history) == numbers(whole[0])


def test_another_error_of_torch_stays_what_it_is_and_one_window_cannot_be_halved(data, monkeypatch):
    for raised, expected in (
        (RuntimeError("shapes"), pytest.raises(RuntimeError, match=r"^shapes$")),
        (torch.OutOfMemoryError(), pytest.raises(MemoryError, match="try a narrower model")),
    ):
        model = new_model()
        monkeypatch.setattr(model, "loss", lambda ids, raised=raised: raise_it(raised))
        with expected:
            fit(model, data, replace(SHORT, batch_size=1), progress=False)


def raise_it(error: Exception) -> None:
    raise error


def test_a_model_of_another_catalogue_is_refused(data):
    with pytest.raises(ValueError, match="the model knows 30 items, the data 25; build the model"):
        fit(new_model(replace(CONFIG, n_items=30)), data, SHORT, progress=False)


def test_data_without_a_transition_is_refused(data):
    empty = replace(data, train=data.train[:0])
    with pytest.raises(ValueError, match=r"nothing to train on: leave-one-out .* a user with 4"):
        fit(new_model(), empty, SHORT, progress=False)


def test_a_folder_that_cannot_be_made_is_named_before_training(data, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot make the folder .*file: .*; choose another one"):
        fit(new_model(), data, SHORT, tmp_path / "file", progress=False)


# --- what is logged and shown ---------------------------------------------------------------------


def test_every_saved_epoch_is_logged(data, tmp_path):
    logged = []

    def log(epoch: Epoch) -> None:
        with safe_open(tmp_path / CHECKPOINT, "pt") as file:
            assert len(json.loads(file.metadata()["run"])["history"]) == epoch.epoch
        logged.append(epoch)

    history = fit(new_model(), data, SHORT, tmp_path, progress=False, log=log)
    assert logged == history.epochs


def test_progress_goes_to_standard_output_or_nowhere(data, monkeypatch, capfd):
    fit(new_model(), data, replace(SHORT, epochs=2), progress=True)
    shown = capfd.readouterr()
    line = r"{}/2 epochs: loss \d\.\d{{3}}, valid NDCG@10 0\.\d{{4}}\n"
    assert re.fullmatch(line.format(1) + line.format(2), shown.out) and shown.err == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fit(new_model(), data, replace(SHORT, epochs=2), progress=True)
    shown = capfd.readouterr()
    assert "2/2 epochs" in shown.out and shown.err == ""
    assert re.search(r"positions/s, loss \d\.\d{3}, valid NDCG@10 0\.\d{4}\]", shown.out)
    fit(new_model(), data, replace(SHORT, epochs=1), progress=False)
    assert capfd.readouterr() == ("", "")
