"""Files that arrive whole or not at all, in folders that one process at a time writes."""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors.torch import save
from torch import Tensor

LOCK = "run.lock"
SECONDS_OF_A_WRITE = 3600
"""No write takes this long: a temporary file untouched for so long has no writer any more."""


def make_folder(path: Path, way_out: str = "choose another one") -> Path:
    """Make a folder and its parents if they are not there; returns it.

    Raises OSError, which names the folder and `way_out`, if it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot make the folder {path}: {error.strerror}; {way_out}"
        ) from error
    return path


def check_writable(folder: Path, way_out: str = "choose another one") -> None:
    """Raise OSError, which names the folder and `way_out`, unless files can be put into it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            error.errno, f"the folder {folder} cannot be written ({error.strerror}); {way_out}"
        ) from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder and keep it from other processes that ask for it; one that dies lets go of it.

    The same process may hold it again inside. The file of the lock stays behind, empty. Raises
    ValueError if another process holds the folder, OSError if it cannot be made or written.
    """
    check_writable(make_folder(folder))
    lock = FileLock(folder.resolve() / LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{folder} is in use by another process; wait until that has ended, or choose another "
            "folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a crash, a kill or a full disk leaves the old one, if any, as it was.

    A kill can leave a hidden temporary file beside it, which a write an hour later or more removes.
    Raises OSError, which names the file and its folder, if it cannot be written.
    """
    _remove_orphans(path)
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


def _remove_orphans(path: Path) -> None:
    """Remove the temporary files of this file that killed writers left."""
    # Age tells an orphan from a file in use, and a process id does not: another machine may be
    # writing into a shared folder.
    oldest = time.time() - SECONDS_OF_A_WRITE
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):  # it cannot be removed, or somebody else just did
            if temporary.stat().st_mtime < oldest:
                temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all. Raises OSError as `write_bytes` does."""
    write_bytes(path, text.encode())


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors as a safetensors file, whole or not at all.

    `metadata` is text kept in the file's header. Raises OSError as `write_bytes` does.
    """
    write_bytes(
        path, save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, metadata)
    )
