"""Fetch the files of a data set once, check their hashes, and keep them in a folder.

No content of a data file is executed, and only members with known names are taken from an archive.
"""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import pandas as pd

from cprec_lib.files import check_writable, file_hash, make_folder, write_bytes
from cprec_lib.logs.tables import brief

MEGABYTE = 2**20
AGAIN = "Delete it, and it is fetched again"


@dataclass(frozen=True)
class DataFile:
    """A file of a source with its hash "algorithm:digest", or None for a zip file without hash."""

    name: str
    known_hash: str | None


@dataclass(frozen=True)
class Source:
    """A source of a data set; its first file holds interactions, its last titles.

    `address` is a URL or, with a `wheel_folder`, a requirement for pip such as recbole==1.2.1. A
    download stops when it exceeds `megabytes` by more than one.
    """

    address: str
    megabytes: int
    files: tuple[DataFile, ...]
    read_interactions: Callable[[Path], pd.DataFrame]
    read_titles: Callable[[Path], pd.Series] | None = None
    wheel_folder: str = ""


def find(sources: tuple[Source, ...], folder: Path) -> Source | None:
    """The first source with all files in the folder. Raises ValueError for a damaged file."""
    for source in sources:
        if all((folder / file.name).is_file() for file in source.files):
            for file in source.files:
                verify(folder / file.name, file.known_hash)
            return source
    return None


def verify(path: Path, known_hash: str | None) -> None:
    """Raise ValueError unless a file has its known hash or, without one, is a zip file."""
    if known_hash is None:  # reading it will check its content
        found, expected = ("a zip file" if is_zipfile(path) else "no zip file"), "a zip file"
    else:
        algorithm, _, expected = known_hash.partition(":")
        found = file_hash(path, algorithm)
    if found != expected:
        raise ValueError(
            f"{path} is damaged or another file: expected {expected}, found {found}. {AGAIN}"
        )


def fetch(name: str, sources: tuple[Source, ...], folder: Path) -> Source:
    """Try the sources of the data set `name` in turn; returns the first that succeeds.

    If none does, raises OSError, which says what was tried and which files to put where by hand.
    """
    way_out = "set CPREC_DATA to one that can be written"
    check_writable(make_folder(folder, way_out), way_out)
    failures = []
    for source in sources:
        print(f"Fetching {name} (about {source.megabytes} MB) from {source.address}")
        try:
            (_fetch_from_wheel if source.wheel_folder else _fetch_url)(source, folder)
        except (OSError, ValueError, LookupError, BadZipFile, subprocess.SubprocessError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                room = f"{name} needs {source.megabytes} MB in {folder}, whose disk is full"
                raise OSError(errno.ENOSPC, f"{room}; free some, or set CPREC_DATA") from error
            failures.append(f"{source.address}: {brief(error)}")
            print(f"This source failed: {brief(error)}")
        else:
            return source
    by_hand = [
        f"{' and '.join(str(folder / file.name) for file in source.files)}, "
        f"from {source.address} {source.wheel_folder}".rstrip()
        for source in sources
    ]
    raise OSError(
        f"{name} could not be fetched. Tried:\n- " + "\n- ".join(failures) + "\nPut it "
        "there by hand, and it is checked and used without network:\n- " + "\n- or ".join(by_hand)
    )


def _fetch_url(source: Source, folder: Path) -> None:
    """Download one file; pooch gives it its name only when it is complete and its hash right."""
    import pooch

    (file,) = source.files

    def download(url: str, path: str, _: object) -> None:
        with _progress(source.megabytes) as bar:
            get = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=(15, 60))
            get(url, path, None)
        if file.known_hash is None and not is_zipfile(path):
            raise ValueError("the answer is not a zip file")

    pooch.get_logger().setLevel("ERROR")  # nothing on stderr, which notebooks would show in red
    pooch.retrieve(source.address, file.known_hash, file.name, folder, downloader=download)
    (folder / file.name).chmod(0o644)  # pooch sets 0600, but a class may share the folder


def _progress(megabytes: int) -> Any:
    """A bar, shown on terminals only, that stops a download longer than the registered size."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        received = 0

        def update(self, n: float | None = 1) -> Any:
            self.received += int(n or 0)
            if self.received > (megabytes + 1) * MEGABYTE:
                raise ValueError(f"the answer is longer than the {megabytes} MB that are expected")
            return super().update(n)

        def reset(self, total: float | None = None) -> None:
            self.received = 0
            super().reset(total)

    total = megabytes * MEGABYTE  # until the server names the size
    return Bar(total=total, unit="B", unit_scale=True, leave=False, file=sys.stdout, disable=None)


def _fetch_from_wheel(source: Source, folder: Path) -> None:
    """Take files from a wheel, which pip downloads from its configured package index."""
    with tempfile.TemporaryDirectory() as scratch:
        # Wheels only, because pip runs the code of a source distribution to download it.
        options = ["--quiet", "--no-input", "--disable-pip-version-check", "--only-binary=:all:"]
        options += ["--no-deps", "--retries=1", "--timeout=15", f"--dest={scratch}"]
        command = [sys.executable, "-m", "pip", "download", *options, source.address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise OSError(f"pip download failed: {done.stderr.strip()}")
        wheels = list(Path(scratch).glob("*.whl"))
        if not wheels:
            raise OSError(f"pip download brought no wheel of {source.address}")
        with ZipFile(wheels[0]) as wheel:
            for file in source.files:
                taken = Path(scratch) / file.name
                taken.write_bytes(wheel.read(f"{source.wheel_folder}/{file.name}"))
                verify(taken, file.known_hash)
                write_bytes(folder / file.name, taken.read_bytes())
