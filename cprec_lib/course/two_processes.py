"""Two processes of this machine train one model together, as notebook 07 compares them."""

from __future__ import annotations

import gc
import os
import socket
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cprec_lib.data.sequences import SequenceData
from cprec_lib.logs.datasets import load_interactions
from cprec_lib.model.config import ModelConfig
from cprec_lib.model.recommender import SequentialRecommender
from cprec_lib.train.checkpoints import Epoch
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.processes import Processes
from cprec_lib.train.training import fit


@dataclass(frozen=True)
class Report:
    """What the first process says after the last epoch: its loss (nats) and the bytes it holds."""

    loss: float
    held_bytes: int


def train_in_two(log: str, model: ModelConfig, plan: TrainConfig) -> Report:
    """Train a new model on a log (see `load_interactions`) with `fit` in two processes.

    They run on the CPU, with one thread each. Raises ProcessRaisedException, with the traceback, if
    one of them fails.
    """
    from torch.multiprocessing.spawn import spawn

    reports = torch.multiprocessing.get_context("spawn").SimpleQueue()
    spawn(_train, (_free_port(), reports, log, model, plan), nprocs=2)
    report: Report = reports.get()
    return report


def held_bytes() -> int:
    """Bytes of all numbers that this process holds: of split tensors, its own part."""
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
    own = [t for t in tensors if not hasattr(t, "to_local") and t.is_floating_point()]
    storages = [tensor.untyped_storage() for tensor in own]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _train(
    number: int, port: int, reports: Any, log: str, model: ModelConfig, plan: TrainConfig
) -> None:
    """One process, which finds the other one through the variables that a launcher sets."""
    group = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    meeting = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": 1,  # else accelerate warns that it sets this
    }
    os.environ.update({name: str(value) for name, value in (group | meeting).items()})
    torch.set_num_threads(1)
    found: list[Report] = []

    def note(epoch: Epoch) -> None:
        found[:] = [Report(epoch.loss, held_bytes())]

    data = SequenceData.from_interactions(load_interactions(log))
    fit(SequentialRecommender(model, seed=0), data, plan, progress=False, log=note)
    for report in found:  # `fit` calls `log` in the first process alone
        reports.put(report)
    Processes.leave()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
