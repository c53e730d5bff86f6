"""Trainings with split weights whose processes are killed at random and resumed by others."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import socket
import sys
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from cprec_lib import SequentialRecommender, fit
from cprec_lib.big import sharding
from cprec_lib.train.processes import Processes
from tests.big.test_sharding import CONFIG, TRAINING, sequences

SERVER = multiprocessing.get_context("forkserver")
COUNTS = (1, 2, 3)
"""Numbers of processes, of which each start draws one."""


def disturbed(folder: Path, kills: int, epochs: int, seed: int) -> list[dict[str, Any]]:
    """Train to the end in `folder`, interrupted by kills: where each of them struck.

    One process, drawn at random, is killed, and a moment later the ones that it left waiting. The
    moment is drawn too; about a third of the kills strike while a checkpoint is written.
    """
    draw, notes, count = random.Random(seed), [], 0
    expected = losses(folder.parent / "undisturbed")
    for number in range(kills + 1):
        count = draw.choice([n for n in COUNTS if n != count])
        half = made_at(folder / "run" / ".checkpoint.making")
        running = start(folder, count, epochs)
        if number == kills:
            finish(running)
            return notes
        wait(folder, running, draw.randrange(3))
        if draw.random() < 0.3:
            wait_for_writing(folder, running, half)
        else:
            time.sleep(draw.uniform(0, count * seconds_per_epoch(folder)))
        victim = draw.randrange(count)
        alive = running[victim].is_alive()
        running[victim].kill()
        running[victim].join()
        end(running)
        left = made_at(folder / "run" / ".checkpoint.making")
        whole = sharding.newest(folder / "run" / "checkpoint")
        notes.append(
            {
                "processes": count,
                "killed": victim,
                "while running": alive,
                "whole checkpoint": whole and whole.name,
                "half-written one": left not in (None, half),
                "difference": whole and apart(expected, losses_so_far(whole)),
            }
        )
        print(notes[-1], flush=True)
    raise AssertionError("not reached")


def undisturbed(folder: Path, epochs: int) -> list[float]:
    """The losses of a training by one process that nobody kills; notes its seconds."""
    finish(start(folder, 1, epochs))
    return losses(folder)


def start(folder: Path, count: int, epochs: int) -> list[BaseProcess]:
    """Start processes that train, and wait until the first of them begins with it."""
    began = folder / "began"
    began.unlink(missing_ok=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    SERVER.set_forkserver_preload(["tests.big.killing", "accelerate", "torch.distributed.fsdp"])
    made = [SERVER.Process(target=run, args=(folder, n, count, port, epochs)) for n in range(count)]
    for process in made:
        process.start()
    while not began.exists() and all(process.is_alive() for process in made):
        time.sleep(0.01)
    return made


def run(folder: Path, rank: int, count: int, port: int, epochs: int) -> None:
    """What each process does."""
    group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if count > 1:
        os.environ |= {name: str(value) for name, value in (group | meeting).items()}
    torch.set_num_threads(1)
    # A training can magnify the rounding of float32, by which other numbers of processes differ.
    torch.set_default_dtype(torch.float64)
    sys.stderr = open(folder / f"errors-{rank}", "w")  # noqa: SIM115
    data, processes = sequences(), Processes()
    began = time.time()
    if rank == 0:
        (folder / "began").touch()
    model = SequentialRecommender(CONFIG, seed=rank)
    plan = replace(TRAINING, epochs=epochs, patience=1000)
    history = fit(model, data, plan, folder / "run", resume=True, progress=False)
    if rank == 0:
        record = {"losses": [epoch.loss for epoch in history.epochs], "began": began}
        (folder / "record").write_text(json.dumps({**record, "ended": time.time()}))
    processes.leave()


def finish(running: list[BaseProcess]) -> None:
    """Wait for the processes, none of which may fail."""
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0] * len(running)


def end(running: list[BaseProcess]) -> None:
    """Kill what still runs after a moment."""
    for process in running:
        process.join(0.1)
        process.kill()
        process.join()


def wait(folder: Path, running: list[BaseProcess], checkpoints: int) -> None:
    """Wait until so many more checkpoints are written, or a process ends."""
    for _ in range(checkpoints):
        last = sharding.newest(folder / "run" / "checkpoint")
        while sharding.newest(folder / "run" / "checkpoint") == last:
            if not all(process.is_alive() for process in running):
                return
            time.sleep(0.002)


def wait_for_writing(folder: Path, running: list[BaseProcess], old: int | None) -> None:
    """Wait until another half-written checkpoint than the old one is there, or a process ends."""
    while made_at(folder / "run" / ".checkpoint.making") in (None, old):
        if not all(process.is_alive() for process in running):
            return
        time.sleep(0.0005)


def made_at(path: Path) -> int | None:
    """When a folder was changed, which tells it from a later one of the same name."""
    try:
        return path.stat().st_ctime_ns
    except FileNotFoundError:
        return None


def losses_so_far(checkpoint: Path) -> list[float]:
    """The losses in a checkpoint's history."""
    run = json.loads(json.loads((checkpoint / "run.json").read_text())["run"])
    return [epoch["loss"] for epoch in run["history"]]


def apart(expected: list[float], found: list[float]) -> float:
    """The largest difference between the losses of the same epochs."""
    return max(abs(a - b) for a, b in zip(expected, found, strict=False))


def seconds_per_epoch(folder: Path) -> float:
    """Those of the undisturbed run, which lies beside."""
    record = json.loads((folder.parent / "undisturbed" / "record").read_text())
    return float(record["ended"] - record["began"]) / len(record["losses"])


def losses(folder: Path) -> list[float]:
    """The losses of a training that ended."""
    return list(json.loads((folder / "record").read_text())["losses"])


def both(folder: Path, kills: int, seed: int = 0) -> tuple[list[float], list[float], list[Any]]:
    """Losses of the undisturbed and of the disturbed training, and where the kills struck."""
    epochs = 2 * kills + 4
    for name in ("undisturbed", "disturbed"):
        (folder / name).mkdir()
    expected = undisturbed(folder / "undisturbed", epochs)
    notes = disturbed(folder / "disturbed", kills, epochs, seed)
    return expected, losses(folder / "disturbed"), notes


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        expected, found, notes = both(Path(folder), *map(int, sys.argv[1:3]))
        differences = [abs(a - b) for a, b in zip(expected, found, strict=True)]
        print(f"{len(found)} epochs; the loss falls from {expected[0]} to {expected[-1]}")
        print(f"largest difference {max(differences):.1e}, in the last epoch {differences[-1]:.1e}")
