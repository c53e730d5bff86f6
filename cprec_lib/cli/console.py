"""What the verbs print: text that cannot steer the terminal, and errors as one sentence."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TextIO

import typer

# Control characters but line ends, what changes the direction of text, and halves of characters.
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# What libraries raise as RuntimeError, but a user can mend.
_MENDABLE = {
    "home directory": "give a path without ~",
    "Symlink loop": "name another path",
    "alloc|not enough memory|out of memory|overflow": "choose smaller numbers",
}


def say(text: object) -> None:
    """Write to standard output, with escapes for characters that would steer the terminal."""
    typer.echo(harmless(str(text)))


def complain(text: str) -> None:
    """Write to standard error as `say` does, from only one of several processes."""
    if speaks():
        typer.echo(harmless(text), err=True)


def harmless(text: str) -> str:
    """The text with escapes such as \\x1b for characters that would steer a terminal."""
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def line(text: str) -> str:
    """A name or title on one line, harmless."""
    return harmless(text).replace("\n", "\\n")


def replace_unknown_characters() -> None:
    """Let the terminal show ? for characters that its code page does not have."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it is not a text stream, or is closed
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def check_launcher() -> None:
    """Unset the empty variables of a launcher. Raises ValueError for one that is not a number."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        value = os.environ.get(name, "0")
        if not re.fullmatch(r"-?[0-9]+", value):
            del os.environ[name]  # or `speaks` might keep the error to itself
            if value.strip():
                raise ValueError(f"{name} is {value!r} in the environment, not a number; unset it")


def speaks() -> bool:
    """Whether this is the main one of the processes that a launcher started, if one did."""
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    return not several or os.environ.get("RANK", "0") == "0"


def sentence(error: Exception) -> str | None:
    """What to tell the user of an error; None if it is a fault of the library."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, ImportError):
        return f"{error}; `cprec doctor` checks what is installed"
    if isinstance(error, UnicodeEncodeError):  # of the command line's bytes
        return f"{error.object[:40]!r} is not text in UTF-8; type it again"
    if isinstance(error, OverflowError):
        return f"a number is too large: {error}"
    if isinstance(error, MemoryError) and not str(error):
        return "the memory does not suffice"
    if isinstance(error, RuntimeError):
        for pattern, way_out in _MENDABLE.items():
            if re.search(pattern, str(error), re.IGNORECASE):
                return f"{str(error).splitlines()[0].rstrip('.')}; {way_out}"
        return None
    plain = (ValueError, OSError, FloatingPointError, MemoryError)
    return str(error) if isinstance(error, plain) else None


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning without the line of code that gave it."""
    complain(f"Warning: {message}")
