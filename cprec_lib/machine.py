"""Facts about the machine: devices, memory, versions, and the commit of the checkout."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

import cprec_lib

if TYPE_CHECKING:  # `cprec doctor` asks for facts where torch does not load
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]


class MachineRecord(TypedDict):
    """The machine and its software versions, as a record describes them."""

    device: str
    hardware: str
    threads: int
    versions: dict[str, str]


def choose_device(name: Device) -> torch.device:
    """The device of that name; "auto" is a GPU if torch sees one, else the CPU.

    Raises ValueError for another name, or if torch sees no such device.
    """
    import torch

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


def describe_machine(device: torch.device) -> MachineRecord:
    """This machine, as a record of work on `device` describes it."""
    import numpy as np
    import torch

    cuda = device.type == "cuda"
    return {
        "device": device.type,
        "hardware": torch.cuda.get_device_name(device) if cuda else _processor(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "cprec_lib": cprec_lib.__version__,
        },
    }


def _processor() -> str:
    """The processor, and the instructions for which torch has chosen its kernels.

    Other kernels add numbers in another order, which changes a trained model.
    """
    import torch

    facts = Path("/proc/cpuinfo")
    text = facts.read_text(encoding="utf-8", errors="replace") if facts.exists() else ""
    found = dict(re.findall(r"^(model|model name)\s*: (.+)$", text, re.MULTILINE))
    name = found.get("model name") or platform.processor() or platform.machine()
    model = f" (model {found['model']})" if "model" in found else ""
    return f"{name}{model}, {torch.backends.cpu.get_cpu_capability()}"


def cpu_cores() -> int:
    """Number of cores that this process may use; a container may grant fewer than there are."""
    if hasattr(os, "sched_getaffinity"):  # Linux; elsewhere a process may use all cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU, or else of the machine."""
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free
    import psutil  # type: ignore[import-untyped]

    available: int = psutil.virtual_memory().available
    return available


def require_memory(n_bytes: int, device: torch.device) -> None:
    """Raise MemoryError if the training of a model needs more than the free memory."""
    free = free_bytes(device)
    if n_bytes > free:
        raise MemoryError(
            f"weights, gradients and the optimiser's moments need {n_bytes / 1e9:,.1f} GB, and "
            f"{free / 1e9:,.1f} GB are free; choose a narrower model"
        )


def peak_bytes(device: torch.device) -> int | None:
    """Peak memory allocated on a GPU, or else resident in this process; None where unknown."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where a process inherits `ru_maxrss` from its parent
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii", errors="replace"))
        return 1024 * int(peak[1]) if peak else None
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def commit() -> str | None:
    """The commit of the checkout, with a + if files have changed; None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
