"""Write files whole or not at all, in folders that only one process at a time may use."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:  # the command line checks its paths without torch
    from torch import Tensor

LOCK = "run.lock"
SECONDS_OF_A_WRITE = 3600
"""No write takes this long, so an older temporary file was left by a killed process."""


def sha256(parts: Iterable[bytes | memoryview]) -> str:
    """SHA-256, in hexadecimal digits, of the parts joined."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """A file's hash, in hexadecimal digits. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def named_path(text: str | Path) -> Path:
    """A path given by the user, with ~ expanded, which shells do not after --out=.

    Raises ValueError for a ~user without home, and for an empty text: `Path("")` is the current
    folder, into which an unset shell variable would make us write.
    """
    if not str(text).strip():
        raise ValueError("the path is empty; give a name, or . for the current folder")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text}: {error}") from error


def make_folder(path: Path, way_out: str = "choose another one") -> Path:
    """Make a folder and its parents unless they exist, and return it.

    Raises OSError, naming the folder and `way_out`, if it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot make the folder {path}: {error.strerror}; {way_out}"
        ) from error
    return path


def check_writable(folder: Path, way_out: str = "choose another one") -> None:
    """Raise OSError, naming the folder and `way_out`, unless files can be written there."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            error.errno, f"the folder {folder} cannot be written ({error.strerror}); {way_out}"
        ) from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make a folder and lock it against other processes; the lock of a dead process is void.

    The same process may lock it again in the body. The empty lock file stays. Raises ValueError if
    another process holds the lock, OSError if the folder cannot be made or written.
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
    """Write a file; a crash, a kill or a full disk leaves the old one, if any, unchanged.

    Links are followed, and an existing file keeps its mode. A kill can leave a hidden temporary
    file, which a later write removes when it is an hour old. Raises OSError, naming the file and
    its folder, if it cannot be written or is not a regular file.
    """
    mode = _mode(path)
    path = path.resolve() if path.is_symlink() else path
    _remove_orphans(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            if mode is not None:
                temporary.chmod(mode)
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


def _mode(path: Path) -> int | None:
    """A file's permissions; None if it does not exist. Raises OSError for a special file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(mode):  # the new file would replace a device, a pipe or a folder
        raise OSError(errno.EINVAL, f"{path} is not a regular file; choose another name")
    return stat.S_IMODE(mode)


def _remove_orphans(path: Path) -> None:
    """Remove temporary files of this file that killed processes left."""
    # An orphan is known by its age, not by its process id: another machine may be writing into
    # the same folder.
    oldest = time.time() - SECONDS_OF_A_WRITE
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):  # not ours to remove, or already removed
            if temporary.stat().st_mtime < oldest:
                temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all. Raises OSError as `write_bytes` does."""
    write_bytes(path, text.encode())


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write named tensors as a safetensors file, whole or not at all.

    `metadata` is text in the header of the file. Raises OSError as `write_bytes` does.
    """
    from safetensors.torch import save

    write_bytes(
        path, save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, metadata)
    )
