"""Read delimited text, compressed or not, with or without header and quotes."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

import pyarrow as pa
from pyarrow import compute

Find = Callable[[list[str]], tuple[list[int], bool]]
SEPARATORS = {"csv": ",", "tsv": "\t", "inter": "\t", "dat": "::", "data": "\t", "txt": " "}
BLOCK = 2**22  # bytes of text at a time, because all rows could take gigabytes


def member(path: Path) -> str:
    """Name of the file inside a compressed file, or of the file itself."""
    if path.suffix.lower() == ".zip":
        with ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not re.search("^__MACOSX|/$", name)]
        if len(names) != 1:
            raise ValueError(f"it holds {len(names)} files; unpack the one with the interactions")
        return names[0]
    return path.stem if path.suffix.lower() in _OPENERS else path.name


def opened(path: Path) -> IO[bytes]:
    """The bytes of a file, decompressed if its name says .gz, .bz2, .xz or .zip."""
    file: IO[bytes] = _OPENERS.get(path.suffix.lower(), open)(path, "rb")
    return file


def _open_zip(path: Path, _: str) -> IO[bytes]:
    with ZipFile(path) as archive:  # the file stays open until the member is closed
        return archive.open(member(path))


_OPENERS: dict[str, Callable[[Path, str], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": _open_zip,
}


def read_text(path: Path, find: Find, separator: str | None = None) -> list[Any]:
    """Columns of a text file, as integers where that loses nothing, else as text.

    `find` gets the fields of the first line and returns the positions of the wanted columns, and
    whether the line is a header. At first every line is taken for a row. If rows then differ in
    length or a wanted column has quotes, the file is read again as CSV, where a separator or a line
    end inside quotes is text.
    """
    mark, header = first_line(path, separator)
    positions, has_header = find(header)
    # "::" is read as ":" with empty columns in between.
    wanted = [str(len(mark) * i) for i in positions]
    width = len(mark) * (len(header) - 1) + 1
    read = partial(_read_columns, path, wanted, mark[0], width, has_header)
    try:
        return read(quote=False)
    except (pa.ArrowInvalid, _QuotesError):
        columns = read(quote='"')
    if len(columns[0]) + has_header < count_lines(path):
        _refuse_swallowed_rows(path, mark, len(header), positions[-1])
    return columns


def count_lines(path: Path) -> int:
    """Number of line ends, LF or CR, in a text, perhaps compressed."""
    with opened(path) as file:
        blocks = iter(lambda: file.read(BLOCK), b"")
        counts = [(block.count(b"\n"), block.count(b"\r")) for block in blocks]
    return max(map(sum, zip(*counts, strict=True)), default=0)


def first_line(path: Path, separator: str | None) -> tuple[str, list[str]]:
    """The separator, given or the most frequent one, and the fields of the first line."""
    with opened(path) as file:
        line = re.split("[\r\n]", file.readline(BLOCK).decode("utf-8-sig", "replace"))[0]
    if not line:
        raise ValueError("it is empty, or its first line is")
    if "\0" in line:
        raise ValueError("it is not text in UTF-8, perhaps UTF-16; save it as UTF-8")
    if separator and len(separator) > 1 and separator != "::":
        raise ValueError(f"the separator {separator!r} is neither one character nor ::")
    usual = SEPARATORS[Path(member(path)).suffix.lower().removeprefix(".")]
    marks = dict.fromkeys([usual, "::", "\t", ";", ",", "|", " "])
    # A blank only if no other separator occurs, because names and dates contain blanks.
    mark = separator or max(
        marks, key=lambda mark: (mark != " ") * line.count(mark) + (mark in line) / 2
    )
    fields = next(csv.reader([line], delimiter=mark)) if len(mark) == 1 else line.split(mark)
    return mark, fields


def _read_columns(
    path: Path, wanted: list[str], delimiter: str, width: int, skip: bool, quote: str | bool
) -> list[Any]:
    from pyarrow import csv as reader

    names = [str(i) for i in range(width)]
    types = dict.fromkeys(wanted, pa.string())
    options = {
        "parse_options": reader.ParseOptions(
            delimiter=delimiter, quote_char=quote, newlines_in_values=bool(quote)
        ),
        "convert_options": reader.ConvertOptions(include_columns=wanted, column_types=types),
    }

    def columns(use_threads: bool) -> list[list[Any]]:
        how = reader.ReadOptions(
            block_size=BLOCK, column_names=names, skip_rows=skip, use_threads=use_threads
        )
        with opened(path) as file, reader.open_csv(file, how, **options) as blocks:
            return [[_shortest(text, bool(quote)) for text in block.columns] for block in blocks]

    try:
        parts = columns(use_threads=True)
    except pa.ArrowInvalid:
        parts = columns(use_threads=False)  # fails again, and only one thread names the row
    return [joined([part[i] for part in parts]) for i in range(len(wanted))]


def read_sequences(path: Path, start: int, separator: str | None = None) -> list[Any]:
    """Users and items of a text file with one sequence per line; items start in column `start`.

    The user is the first column, or the number of the line if `start` is 0.
    """
    mark, _ = first_line(path, separator)
    with io.TextIOWrapper(opened(path), "utf-8-sig") as text:
        lines = compute.ascii_trim_whitespace(pa.array(text.read().split("\n")))
    lines = lines.filter(compute.greater(compute.binary_length(lines), 0))
    fields = compute.split_pattern(lines, mark)
    items = compute.list_slice(fields, start)
    line = compute.list_parent_indices(items)
    user = _shortest(compute.list_element(fields, 0).take(line)) if start else line
    found = compute.list_flatten(items)
    _check_plain(found, several=len(found) > len(compute.unique(line)))
    return [user, _shortest(found)]


def _check_plain(items: Any, several: bool) -> None:
    """Raise ValueError for an item in quotes or brackets.

    Unless `several` are in one line, items with a blank, comma or semicolon are refused as well:
    these may be the separator.
    """
    odd = compute.match_substring_regex(items, r'^["\[]' + (r"|[\t ,;]" if not several else ""))
    if compute.any(odd).as_py():
        raise ValueError(
            f"{items.filter(odd)[0].as_py()!r} is not a plain item; write items without quotes and "
            "brackets, or give the separator"
        )


def _refuse_swallowed_rows(path: Path, mark: str, width: int, time: int) -> None:
    """Raise ValueError if an unclosed quote has merged several rows into one."""
    lines: list[str] = []

    def is_row(line: str) -> bool:
        fields = line.rstrip("\r\n").split(mark)
        return len(fields) == width and re.fullmatch(r"\d[\d\s:./TZ+-]*", fields[time]) is not None

    with io.TextIOWrapper(opened(path), "utf-8", "replace", newline="") as text:
        noted = (lines.append(line) or line for line in text)  # type: ignore[func-returns-value]
        reader, start = csv.reader(noted, delimiter=mark[0], strict=True), 1
        try:
            for _ in reader:
                if sum(map(is_row, lines)) > 1:
                    raise csv.Error("it holds lines that are rows themselves")
                lines.clear()
                start = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f'a quote " that opens in line {start} is not closed there ({error}); close it, or '
                "export the table as parquet"
            ) from None


class _QuotesError(ValueError):
    """A column holds quotes."""


def _shortest(text: Any, quoted: bool = True) -> Any:
    """Integers if that loses nothing, as it would for "007", else the text."""
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
        text[:1].cast(pa.int64())  # alone, since a column of text takes long to fail
        whole = text.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    long = compute.greater(compute.binary_length(text), 1)
    padded = compute.and_(compute.starts_with(text, "0"), long)  # also hexadecimal numbers
    padded = compute.or_(padded, compute.starts_with(text, "-0"))
    return None if compute.any(padded).as_py() else whole


def joined(parts: list[Any]) -> Any:
    """Blocks or files of a column as one array: of their common type, as integers, or as text."""
    kinds = {part.type for part in parts}
    whole = all(pa.types.is_integer(kind) for kind in kinds)
    kind = next(iter(kinds)) if len(kinds) == 1 else pa.int64() if whole else pa.string()
    chunks = [
        part if isinstance(part, pa.ChunkedArray) else pa.chunked_array([part]) for part in parts
    ]
    return pa.chunked_array([chunk for part in chunks for chunk in part.cast(kind).chunks], kind)
