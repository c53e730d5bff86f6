"""Runs of compressed models, which `evaluate` and `recommend` take like those of `train`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from cprec_lib.compress.budget import Race
from cprec_lib.data.sequences import SequenceData
from cprec_lib.machine import describe_machine
from cprec_lib.model.cost import count_parameters
from cprec_lib.serve.manifest import check_no_export
from cprec_lib.train import run_folder
from cprec_lib.train.checkpoints import CHECKPOINT, Checkpoint, Epoch, History
from cprec_lib.train.config import TrainConfig
from cprec_lib.train.evaluation import Ranks, evaluate
from cprec_lib.train.run_folder import FILES, HISTORY, Run, RunRecord
from cprec_lib.train.training import OutOfTime

UNCOMPRESSED = "uncompressed"
"""Subfolder with the run of the uncompressed model, if it was not given."""


def check_free(folder: Path) -> None:
    """Raise ValueError if the folder holds a run or an exported model."""
    check_no_export(folder)
    check_no_run(folder)


def check_no_run(folder: Path) -> None:
    """Raise ValueError if the folder holds a run, finished or not."""
    if any((folder / name).exists() for name in (*FILES, CHECKPOINT)):
        raise ValueError(f"{folder} already holds a run; choose another folder")


def train_uncompressed(
    folder: Path,
    dataset: str,
    training: TrainConfig,
    deadline: float | None = None,
    **options: Any,
) -> Run:
    """The run of NextItNet in a folder, trained or, if it was begun there, trained further.

    At half of the time until the `deadline` (seconds of `time.time()`) it ends with the epochs
    done, of which there is at least one; the other half is for the compressed models. `options` are
    those of `run_folder.train`. Raises TimeoutError if the deadline leaves no time for an epoch,
    ValueError if the folder holds anything but such a training, and errors as `train` does.
    """
    half = None if deadline is None else (time.time() + deadline) / 2
    if not (folder / CHECKPOINT).exists():
        check_free(folder)
    options |= {"dataset": dataset, "preset": "nextitnet", "resume": True}
    try:
        run_folder.train(folder, training=training, deadline=half, **options)
    except OutOfTime:
        begun = (folder / CHECKPOINT).exists()
        if not begun and deadline is not None and time.time() > deadline:
            raise TimeoutError(
                "the time ends before the first epoch of the uncompressed model; give more minutes"
            ) from None
        done = len(Checkpoint.read(folder / CHECKPOINT).history.epochs) if begun else 1
        run_folder.train(folder, training=replace(training, epochs=done), **options)
    return Run.load(folder)


def write_best(folder: Path, run: Run, data: SequenceData, race: Race) -> Ranks:
    """Write the best model of a race as a run; returns the ranks of its test.

    `run` is that of the uncompressed model, from whose record the data and the training are copied.
    metrics.json also says how many bytes the model has, how many the budget allows, how many the
    uncompressed model has, how many epochs of tuning the model had, whether the deadline ended its
    training, and how many models were not tried. Raises OSError if the
    folder cannot be written.
    """
    best = race.best
    history = best.history or _read_history(run.folder / HISTORY)
    test = evaluate(best.model, data, "test")
    record = {
        **run.record,
        **history.describe(),
        **describe_machine(next(best.model.parameters()).device),
        "model": best.label,
        "parameters": count_parameters(best.model.config).total,
        "valid": best.valid.metrics(),
        "test": test.metrics(),
        "model_config": asdict(best.model.config),
        "bytes": best.bytes,
        "budget": race.budget,
        "uncompressed_bytes": race.full.bytes,
        "tuning_epochs": len(best.tuning.epochs) if best.tuning else 0,
        "cut_short": best.cut_short,
        "untried": len(race.untried),
    }
    run_folder.write_run(folder, best.model, run.items, history, cast(RunRecord, record))
    return test


def _read_history(path: Path) -> History:
    lines = path.read_text(encoding="utf-8").splitlines()
    return History([Epoch(**json.loads(line)) for line in lines])


def stored_bytes(path: Path) -> int:
    """Bytes of the tensors of a safetensors file: all of it but its header.

    Raises OSError if the file cannot be read.
    """
    return path.stat().st_size - header_bytes(path)


def header_bytes(path: Path) -> int:
    """Bytes of the header of a safetensors file.

    Eight bytes with the length of the rest, which is JSON with names and shapes: a few kB, which do
    not grow with the catalogue. Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")
