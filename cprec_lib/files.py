"""Files that arrive whole or not at all, in folders that one process at a time writes."""

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
"""No write takes this long: a temporary file untouched for so long has no writer any more."""


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
    """A path that somebody named. Raises ValueError for an empty text.

    `Path("")` is the current folder, where a shell variable that is not set would write.
    """
    if not str(text).strip():
        raise ValueError("the path is empty; give a name, or . for the current folder")
    return Path(text)


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

    A link is followed, and an old file keeps its mode. A kill can leave a hidden temporary file
    beside it, which a write an hour later or more removes. Raises OSError, which names the file and
    its folder, if it cannot be written or if something is there that is no regular file.
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
    """A file's permissions, None if there is no file. Raises OSError if it is no regular file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(mode):  # the new file would replace a device, a pipe or a folder
        raise OSError(errno.EINVAL, f"{path} is no regular file; choose another name")
    return stat.S_IMODE(mode)


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
    from safetensors.torch import save

    write_bytes(
        path, save({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, metadata)
    )
