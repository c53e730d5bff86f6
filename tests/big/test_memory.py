"""What a training will need, as said before it and as measured."""

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cprec_lib import (
    ModelConfig,
    TrainConfig,
    count_parameters,
    cprec,
    gru4rec,
    nextitnet,
    sasrec,
)
from cprec_lib.big import memory
from cprec_lib.big.memory import training_need

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, tuple[Callable[[int], ModelConfig], int, int, int]] = {
    "a large table": (lambda n: nextitnet(n, 64), 150_000, 16, 20),
    "large blocks": (lambda n: cprec(n, 64), 700_000, 16, 20),
    "a narrow table": (lambda n: nextitnet(n, 16), 500_000, 16, 20),
    "recurrent": (lambda n: gru4rec(n, 128), 60_000, 64, 20),
    "attention": (lambda n: sasrec(n, 64, max_positions=50), 90_000, 16, 50),
    "a large batch": (lambda n: nextitnet(n, 64), 3_000, 256, 50),
}
"""Ways to build a model, the number of items, the batch size and the length."""
PROGRAM = """
    import ctypes, json, os, re
    from pathlib import Path
    import accelerate, numpy as np, torch
    from cprec_lib import SequenceData, SequentialRecommender, TrainConfig, fit
    from cprec_lib.data.sequences import Catalogue, HeldOut
    from tests.big.test_memory import SETTINGS

    def train(config, batch, length):
        n = config.n_items
        drawn = torch.Generator().manual_seed(0)
        windows = torch.randint(1, n + 1, (2 * batch, length + 1), generator=drawn)
        held = HeldOut(windows[:4, :-1], windows[:4, -1])
        catalogue = Catalogue(np.arange(n), np.ones(n))
        data = SequenceData(catalogue, windows, held, held, length, "leave_one_out", 0)
        model = SequentialRecommender(config)
        fit(model, data, TrainConfig(epochs=1, batch_size=batch), progress=False)

    def status(name):
        text = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(name + r":\\s+(\\d+) kB", text)[1])

    def grown(build, n_items, batch, length):
        train(build(50), 2, length)  # loads what torch loads at the first step
        if batch > 200:  # else glibc keeps most of the freed blocks, as large as the others
            assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD := -3, 100_000)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = status("VmRSS")
        train(build(n_items), batch, length)
        return status("VmHWM") - before

    for name, setting in SETTINGS.items():
        if os.fork() == 0:  # memory that is freed stays with a process, so each has its own
            print(json.dumps([name, grown(*setting)]), flush=True)
            os._exit(0)
        assert os.wait()[1] == 0
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, int]:
    """By how many bytes a process grew at its peak, by setting."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(line) for line in done.stdout.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("name", SETTINGS)
def test_the_measured_peak_is_what_was_said(measured: dict[str, int], name: str) -> None:
    build, n_items, batch, length = SETTINGS[name]
    said = training_need(build(n_items), batch, length, checkpoints=False).total
    assert measured[name] == pytest.approx(said, rel=0.15)


def test_fixed_parts_are_the_ledgers_bytes() -> None:
    config = cprec(1000, 32)
    total = count_parameters(config).total
    need = training_need(config, 32, 50)
    assert (need.weights, need.gradients, need.optimizer) == (4 * total, 4 * total, 8 * total)
    split = training_need(config, 32, 50, processes=2, shard=True)
    assert split.optimizer == pytest.approx(need.optimizer / 2, rel=0.01)
    assert need.total == 20 * total + max(need.activations, 16 * total)


def test_the_plan_on_paper() -> None:
    page = (ROOT / "docs" / "big.md").read_text(encoding="utf-8")
    stated = re.findall(
        r"^\| (NextItNet|CpRec) \| (one|two|four),.* \| (\S+) \| (\S+) \|$", page, re.M
    )
    assert len(stated) == 6
    for model, processes, stays, peak in stated:
        config = (nextitnet if model == "NextItNet" else cprec)(10_000_000, 64)
        count = {"one": 1, "two": 2, "four": 4}[processes]
        need = training_need(config, 32 * count, 50, count, count > 1, checkpoints=False)
        fixed = need.weights + need.gradients + need.optimizer + need.kept
        assert (stays, peak) == (f"{fixed / 1e9:.1f}", f"{need.total / 1e9:.1f}")


def test_activations_grow_evenly_with_the_batch() -> None:
    config = nextitnet(1000, 32)
    few, many = (training_need(config, size, 50).activations for size in (64, 128))
    assert many == pytest.approx(2 * few, rel=0.1)


def test_it_is_printed_and_a_need_that_does_not_fit_has_ways_out(capsys, monkeypatch) -> None:
    config, plan = nextitnet(10_000, 64), TrainConfig()
    memory.announce(config, plan, 50, 1, torch.device("cpu"))
    printed = capsys.readouterr().out
    need = training_need(config, plan.batch_size, 50)
    assert f"will need about {need.total / 1e6:.2f} MB at most (weights 5.56," in printed
    assert re.search(r"besides the [1-9]\d*\.\d\d [MG]B of torch and the data\n$", printed)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10_000_000)
    with pytest.warns(UserWarning, match=r"10\.00 MB are free.*--shard \(.* in each of 2 .*--fact"):
        memory.announce(config, plan, 50, 1, torch.device("cpu"))
