"""Files that arrive whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor


def make_folder(path: Path) -> Path:
    """Make a folder and its parents if they are not there. Raises OSError, naming it, if not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot make the folder {path}: {error.strerror}; choose another one"
        ) from error
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a crash, a kill or a full disk leaves the old one, if any, as it was.

    Raises OSError, which names the file and its folder, if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {path.name} ({len(content):,} bytes) into {path.parent}: "
            f"{error.strerror}; free some space there or choose another folder",
        ) from error
    finally:
        if temporary.exists():
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    write_bytes(path, text.encode())


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors as a safetensors file, whole or not at all."""
    write_bytes(
        path, save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, metadata)
    )
