"""Programs in two processes on one machine, as a launcher starts them."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_two(program: str, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """What two processes of a program wrote to `folder`/record0 and record1, and printed.

    The program gets the folder and its number, 0 or 1, as arguments.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    programs = [_start(program, folder, rank, port) for rank in range(2)]
    printed = []
    for each in programs:
        output, errors = each.communicate(timeout=300)
        assert each.returncode == 0, errors
        printed.append(output)
    return [json.loads((folder / f"record{rank}").read_text()) for rank in range(2)], printed


def _start(program: str, folder: Path, rank: int, port: int) -> "subprocess.Popen[str]":
    group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), folder, str(rank)],
        cwd=ROOT,
        env={**os.environ, **{name: str(value) for name, value in (group | meeting).items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
