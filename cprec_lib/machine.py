"""Facts of the machine: devices, memory, versions, and the commit of the checkout."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import cprec_lib

Device = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(name: Device) -> torch.device:
    """The device of that name; "auto" is a GPU if torch sees one, else the CPU.

    Raises ValueError for another name, or if torch sees no such device.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if present[device])
    if name not in present:
        raise ValueError(f"unknown device {name!r}; choose one of auto, {', '.join(present)}")
    if not present[name]:
        raise ValueError(
            f"device {name!r}: torch {torch.__version__} sees none on this machine; choose auto "
            "or cpu, or install a build of torch for it"
        )
    return torch.device(name)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What a run's record says of the machine and of the versions of its software."""
    cuda = device.type == "cuda"
    return {
        "device": device.type,
        "hardware": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "cprec_lib": cprec_lib.__version__,
        },
    }


def peak_bytes(device: torch.device) -> int | None:
    """Peak memory: allocated on a GPU, else resident of this process; None where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where a process would inherit `ru_maxrss` from its parent
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii", errors="replace"))
        return 1024 * int(peak[1]) if peak else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def commit() -> str | None:
    """The checkout's commit, with a + if files differ from it; None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
