"""Delimited text as a table: compressed or not, with a header or without, quoted or not."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import pyarrow as pa
from pyarrow import compute

SEPARATORS = {"csv": ",", "tsv": "\t", "inter": "\t", "dat": "::", "data": "\t", "txt": " "}
UNIT = "\x1f"  # stands for a separator of several characters, which the readers do not take
BLOCK = 2**22  # bytes of text at a time: that of all rows would take gigabytes


def member(path: Path) -> str:
    """Name of the file inside a compressed one, or of the file itself."""
    if path.suffix.lower() == ".zip":
        with ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
        if len(names) != 1 or names[0].endswith("/"):
            raise ValueError(f"it holds {len(names)} files; unpack the one with the interactions")
        return names[0]
    return path.stem if path.suffix.lower() in _OPENERS else path.name


def opened(path: Path) -> IO[bytes]:
    """The bytes of a file, decompressed if its name says .gz, .bz2, .xz or .zip."""
    file: IO[bytes] = _OPENERS.get(path.suffix.lower(), open)(path, "rb")
    return file


def _open_zip(path: Path, _: str) -> IO[bytes]:
    with ZipFile(path) as archive:  # its file stays open until the member is closed
        return archive.open(member(path))


_OPENERS: dict[str, Callable[[Path, str], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _open_zip,
}


class _Units:
    """A file in which the separator of several characters is one character."""

    def __init__(self, file: IO[bytes], separator: str) -> None:
        self.file, self.separator, self.closed = file, separator.encode(), False

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; no separator is cut in two."""
        block = self.file.read(size // 2)
        while block.endswith(self.separator[:1]) and (more := self.file.read(1)):
            block += more
        return block.replace(self.separator, UNIT.encode())

    def close(self) -> None:
        """Close the file."""
        self.closed = True
        self.file.close()


class Text:
    """A text file: `header` is its first line, `read` gives columns by their position."""

    def __init__(self, path: Path, ending: str, separator: str | None = None) -> None:
        self.path = path
        with opened(path) as file:
            first = file.readline(BLOCK).decode("utf-8-sig", "replace").rstrip("\r\n")
        if not first:
            raise ValueError("it is empty, or its first line is")
        usual = SEPARATORS.get(ending, ",")
        self.separator = separator or _most_frequent(first, usual)
        self.unit = UNIT if len(self.separator) > 1 else self.separator
        self.header = next(csv.reader([first.replace(self.separator, self.unit)], **self._style))

    @property
    def _style(self) -> dict[str, Any]:
        return {"delimiter": self.unit}

    def read(self, positions: list[int], has_header: bool) -> list[Any]:
        """Columns as integers where nothing is lost by it, else as text.

        A row is a line. Only where that leaves rows of unequal length, or quotes in these columns,
        are quotes read as those of CSV, within which a separator or a line's end is text.
        """
        try:
            return self._read(positions, has_header, quote=False)
        except (pa.ArrowInvalid, _QuotesError):
            columns = self._read(positions, has_header, quote='"')
        with opened(self.path) as file:
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))
        if len(columns[0]) + has_header < lines:
            self._refuse_swallowed_rows(positions[-1])
        return columns

    def _read(self, positions: list[int], has_header: bool, quote: str | bool) -> list[Any]:
        from pyarrow import csv as reader

        names = [str(i) for i in range(len(self.header))]
        wanted = [names[i] for i in positions]
        options = {
            "read_options": reader.ReadOptions(
                block_size=BLOCK, column_names=names, skip_rows=int(has_header)
            ),
            "parse_options": reader.ParseOptions(
                delimiter=self.unit, quote_char=quote, newlines_in_values=bool(quote)
            ),
            "convert_options": reader.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
            ),
        }
        with self._open() as file, reader.open_csv(file, **options) as blocks:
            parts = [[_shortest(text, bool(quote)) for text in block.columns] for block in blocks]
        return [joined([part[i] for part in parts]) for i in range(len(positions))]

    def _open(self) -> Any:
        file = opened(self.path)
        return pa.PythonFile(_Units(file, self.separator) if self.unit == UNIT else file, "r")

    def sequences(self, start: int) -> list[Any]:
        """Users and items of a file with a sequence a line, whose items start in column `start`.

        The user is the line's first column, or the number of the line if `start` is 0.
        """
        with io.TextIOWrapper(opened(self.path), "utf-8-sig") as text:
            lines = compute.ascii_trim_whitespace(pa.array(text.read().split("\n")))
        lines = lines.filter(compute.greater(compute.binary_length(lines), 0))
        fields = compute.split_pattern(lines, self.separator)
        items = compute.list_slice(fields, start)
        line = compute.list_parent_indices(items)
        user = compute.list_element(fields, 0).take(line) if start else line
        return [_shortest(user) if start else user, _shortest(compute.list_flatten(items))]

    def _refuse_swallowed_rows(self, time: int) -> None:
        """Raise ValueError where a quote that no other one closes has made one of several rows."""
        with io.TextIOWrapper(opened(self.path), "utf-8", "replace", newline="") as text:
            lines: list[str] = []
            reader, start = csv.reader(_noting(text, lines), strict=True, **self._style), 1
            try:
                for _ in reader:
                    if sum(self._is_row(line, time) for line in lines) > 1:
                        raise csv.Error("it holds lines that are rows themselves")
                    lines.clear()
                    start = reader.line_num + 1
            except csv.Error as error:
                raise ValueError(
                    f'a quote " that opens in line {start} is not closed there ({error}); close '
                    "it, or export the table as parquet"
                ) from None

    def _is_row(self, line: str, time: int) -> bool:
        fields = line.rstrip("\r\n").split(self.separator)
        same = len(fields) == len(self.header)
        return same and re.fullmatch(r"\d[\d\s:./TZ+-]*", fields[time]) is not None


class _QuotesError(ValueError):
    """A column holds quotes."""


def _noting(lines: Iterator[str] | IO[str], noted: list[str]) -> Iterator[str]:
    for line in lines:
        noted.append(line)
        yield line


def _most_frequent(line: str, usual: str) -> str:
    """The separator that a line has most often; a blank only where it has no other."""
    counts = {mark: line.count(mark) for mark in (usual, "::", "\t", ";", ",", "|") if mark != " "}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else " " if " " in line else usual


def _shortest(text: Any, quoted: bool = True) -> Any:
    """Integers if no text loses anything by it, as "007" would, else the text."""
    whole = _integers(text)
    if whole is not None:
        return whole
    if not quoted and compute.any(compute.match_substring(text, '"')).as_py():
        raise _QuotesError
    text = compute.ascii_trim_whitespace(text)
    whole = _integers(text)
    return text if whole is None else whole


def _integers(text: Any) -> Any:
    try:
        whole = text.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    long = compute.greater(compute.binary_length(text), 1)
    padded = compute.and_(compute.starts_with(text, "0"), long)  # or hexadecimal
    padded = compute.or_(padded, compute.starts_with(text, "-0"))
    return None if compute.any(padded).as_py() else whole


def joined(parts: list[Any]) -> Any:
    """Blocks or files of a column as one: all of one type, all integers, or all text."""
    kinds = {part.type for part in parts}
    whole = all(pa.types.is_integer(kind) for kind in kinds)
    kind = next(iter(kinds)) if len(kinds) == 1 else pa.int64() if whole else pa.string()
    chunks = [
        part if isinstance(part, pa.ChunkedArray) else pa.chunked_array([part]) for part in parts
    ]
    return pa.chunked_array([chunk for part in chunks for chunk in part.cast(kind).chunks], kind)
