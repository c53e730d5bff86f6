"""What a training will need, as said before it and as measured."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from cprec_lib import TrainConfig, count_parameters, cprec, nextitnet
from cprec_lib.big import memory
from cprec_lib.big.memory import training_need

ROOT = Path(__file__).parents[2]
PROGRAM = """
    import json, re, sys
    from pathlib import Path
    import numpy as np, torch
    from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, cprec, fit, nextitnet
    from cprec_lib.data.sequences import Catalogue, HeldOut

    def train(config, batch):
        n = config.n_items
        drawn = torch.Generator().manual_seed(0)
        windows = torch.randint(1, n + 1, (2 * batch, 21), generator=drawn)
        held = HeldOut(windows[:4, :-1], windows[:4, -1])
        catalogue = Catalogue(np.arange(n), np.ones(n))
        data = SequenceData(catalogue, windows, held, held, 20, "leave_one_out", 0)
        model = SequentialRecommender(config)
        fit(model, data, TrainConfig(epochs=1, batch_size=batch), progress=False)

    def status(name):
        text = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(name + r":\\s+(\\d+) kB", text)[1])

    train(nextitnet(50, 8), 2)  # loads what torch loads at the first step
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    train({"nextitnet": nextitnet, "cprec": cprec}[sys.argv[1]](int(sys.argv[2]), 64), 32)
    print(json.dumps(status("VmHWM") - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(("preset", "n_items"), [(nextitnet, 150_000), (cprec, 700_000)])
def test_the_measured_peak_is_what_was_said(preset, n_items: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), preset.__name__, str(n_items)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said = training_need(preset(n_items, 64), 32, 20, checkpoints=False)
    # What was said is an upper bound: the loss may need fewer rows of logits at once.
    assert 0.8 * said.total <= json.loads(done.stdout) <= 1.15 * said.total


def test_fixed_parts_are_the_ledgers_bytes() -> None:
    config = cprec(1000, 32)
    total = count_parameters(config).total
    need = training_need(config, 32, 50)
    assert (need.weights, need.gradients, need.optimizer) == (4 * total, 4 * total, 8 * total)
    split = training_need(config, 32, 50, processes=2, shard=True)
    assert split.optimizer == pytest.approx(need.optimizer / 2, rel=0.01)
    assert need.total == 20 * total + max(need.activations, 16 * total)


def test_activations_grow_evenly_with_the_batch() -> None:
    config = nextitnet(1000, 32)
    few, many = (training_need(config, size, 50).activations for size in (64, 128))
    assert many == pytest.approx(2 * few, rel=0.1)


def test_it_is_printed_and_a_need_that_does_not_fit_has_ways_out(capsys, monkeypatch) -> None:
    config, plan = nextitnet(10_000, 64), TrainConfig()
    memory.announce(config, plan, 50, 1, torch.device("cpu"))
    assert "A process will need about 0.0" in capsys.readouterr().out
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10_000_000)
    with pytest.warns(UserWarning, match=r"0\.01 GB are free.*--shard \(.* in each of 2 .*--fact"):
        memory.announce(config, plan, 50, 1, torch.device("cpu"))
