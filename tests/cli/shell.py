"""What the tests of the command line share: a small table, and how a command is called."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from typer.testing import CliRunner, Result

from cprec_lib.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
N_USERS, N_ITEMS = 30, 25
SMALL = ["--width", "8", "--dilations", "1,2", "--epochs", "2"]
# At this rate the third of the four epochs is the best one, so that best and last differ.
LONGER = [*SMALL, "--epochs", "4", "--patience", "4", "--learning-rate", "0.03"]


def table(seed: int = 0) -> pd.DataFrame:
    """30 users with 12 interactions each; every item from 100 to 124 occurs."""
    draw = np.random.default_rng(seed)
    popular = draw.integers(0, N_ITEMS, size=N_USERS * 12) * draw.random(N_USERS * 12)
    item = np.concatenate([np.arange(N_ITEMS), popular[N_ITEMS:].astype(int)]) + 100
    return pd.DataFrame(
        {
            "user": np.repeat(np.arange(N_USERS), 12),
            "item": item,
            "timestamp": np.tile(np.arange(12), N_USERS),
        }
    )


def cprec_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments: object) -> str:
    result = cprec_command(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(*arguments: object, status: int = 1) -> str:
    """The message of a command that must fail, which may hold no traceback."""
    result = cprec_command(*arguments)
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert result.stderr.startswith("Error: " if status == 1 else "Usage: ")
    return " ".join(result.stderr.split())


def no_work(*_: object, **__: object) -> None:
    """In place of work that must not begin."""
    raise AssertionError("the work was done first")


def read_metrics(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def start(*arguments: object, folder: Path) -> "subprocess.Popen[str]":
    threads = str(torch.get_num_threads())  # another number may round differently
    # A job that a shell runs in the background ignores Ctrl-C, and its children would, too.
    program = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    program += "; runpy.run_module('cprec_lib', run_name='__main__')"
    return subprocess.Popen(
        [sys.executable, "-c", f"import runpy, signal; {program}", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
