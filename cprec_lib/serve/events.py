"""Events in a file that only grows: what is acknowledged survives a kill at any moment."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from filelock import FileLock, Timeout

START = b'{"user": '
"""How each line starts."""
WAY_OUT = "move the file away to start without these events"


class Event(NamedTuple):
    """A user chose an item; both are names of the outside, which no new model renumbers."""

    user: str
    item: str


class EventFile:
    """An append-only file with an event a line, as JSON: {"user": ..., "item": ...}.

    One process at a time may hold it. A last line without its end was never acknowledged: a kill
    cut it short, and opening the file removes it. The events are with the operating system when
    `append` returns, so they survive the end of the process, but not a power cut within the seconds
    until the system has written them to the disk.

    Raises ValueError if another process holds the file and for a file that starts or ends in
    something else, OSError if it cannot be written. A refused file gets no lock beside it.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_file():
            problem = f"cannot write events into {path}: not a regular file; name another file"
            raise OSError(errno.EINVAL, problem)
        self.path = path
        try:
            self._file: BinaryIO = path.open("a+b", buffering=0)
        except OSError as error:
            raise OSError(
                error.errno, f"cannot write events into {path}: {error.strerror}; name another file"
            ) from error
        self._lock = FileLock(f"{path}.lock")
        try:
            self._check()
            self._lock.acquire(timeout=0)
        except (Timeout, ValueError) as error:
            self._file.close()
            used = f"{path} is in use by another process; end that, or name another file"
            raise ValueError(used if isinstance(error, Timeout) else str(error)) from None
        self._end = self._whole_lines()
        self._file.truncate(self._end)  # what follows was never acknowledged

    def close(self) -> None:
        """Close the file and let other processes have it."""
        self._file.close()
        self._lock.release()

    def append(self, event: Event) -> int:
        """Add an event and return where it ends; when this returns, a kill cannot lose it.

        Raises OSError, and leaves the file as it was, if there is no space.
        """
        line = json.dumps(event._asdict(), ensure_ascii=False).encode() + b"\n"
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._file.truncate(self._end)
            raise OSError(
                error.errno,
                f"cannot write an event into {self.path}: {error.strerror}; free some space there",
            ) from error
        self._end += len(line)
        return self._end

    def read(self, start: int = 0) -> Iterator[tuple[Event, int]]:
        """The events from a byte of the file on, each with the byte at which it ends.

        Raises ValueError, naming the line's first byte, for a line that holds no event.
        """
        with self.path.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):  # another thread is still writing it
                    return
                try:
                    event = Event(**json.loads(line))
                    if not (isinstance(event.user, str) and isinstance(event.item, str)):
                        raise TypeError("a user and an item are texts")
                except (ValueError, TypeError, RecursionError) as error:
                    raise ValueError(
                        f"{self.path} holds no event at byte {start:,} ({error}); {WAY_OUT}"
                    ) from error
                start += len(line)
                yield event, start

    def _check(self) -> None:
        """Raise ValueError unless the first line is an event, and an unfinished last one may be."""
        self._file.seek(self._whole_lines())
        torn = self._file.read(len(START))
        try:
            if torn != START[: len(torn)]:
                raise ValueError
            next(self.read(), None)
        except ValueError:
            raise ValueError(f"{self.path} is not a file of events; name another file") from None

    def _whole_lines(self) -> int:
        """Bytes up to the end of the last whole line."""
        end = self._file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 2**16)
            self._file.seek(start)
            found = self._file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0
