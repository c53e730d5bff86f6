"""Read a user's log: a file or a folder of parts becomes a table of checked columns."""

from __future__ import annotations

import json
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import compute

from cprec_lib.logs import columns
from cprec_lib.logs.text import SEPARATORS, Find, joined, member, opened, read_sequences, read_text

Reader = Callable[[Path, Find, str | None], list[Any]]
COLUMNS = ["user", "item", "timestamp"]
# Usual names of the columns. Of each role the first group with a match counts: a user before a
# session.
ALIASES = {
    "user": (
        "user user_id uid customer_id visitor_id reviewer_id member_id account_id u",
        "session session_id",
    ),
    "item": (
        "item item_id iid movie_id product_id asin article_id click_article_id track_id song_id "
        "book_id isbn business_id location_id poi_id venue_id aid sku stock_code i",
    ),
    "timestamp": (
        "timestamp event_timestamp click_timestamp ts unix_time unix_timestamp unix_review_time "
        "datetime",
        "time date event_time event_date invoice_date created_at t",
    ),
}
ORDER = "order"
TIES = 0.1
"""Largest share of the last items that may by accident have the same time as the item before."""
OPTIONS = (
    "rename them to user, item and timestamp, or, where there are such options, name them by "
    "user_column, item_column and time_column (--user-column and so on): a name, a number from 0 "
    "if there is no header, for times also date+clock, or order if the rows are in order of time; "
    'item_column="1:" is a sequence a line; give the separator if these are one'
)


def read_table(
    path: Path, given: Mapping[str, str] | None = None, separator: str | None = None
) -> pd.DataFrame:
    """Checked columns user, item and timestamp of a file or a folder of parts, in its order.

    `given` are the options of `load_interactions` for some of these columns. Times are numbers or,
    where the file has dates, moments in UTC. Raises ValueError, naming the file, for other files.
    """
    with naming(path):
        files, given = parts(path), given or {}
        if len(files) > 1 and given.get("item") == "0:":
            raise ValueError("lines of several files have no numbers to tell the sessions by")
    found = []
    for file in files:
        with naming(file):
            found.append(_read_file(file, given, separator))
            if len(files) > 1:  # whole floats in one part are the integers of another one
                found[-1][:2] = map(columns.ids, found[-1][:2], COLUMNS[:2])
    with naming(path):
        if len({*map(len, found)}) > 1:
            raise ValueError("its parts differ in the number of time columns")
        user, item, *clocks = (joined(list(same)) for same in zip(*found, strict=True))
        del found
        if not len(user):
            raise ValueError("it has no rows; at least one interaction is needed")
        users = columns.ids(user, "user").to_pandas()
        items = columns.ids(item, "item").to_pandas()
        del user, item
        if len(clocks) > 1:
            clocks = [columns.date_and_clock(clocks)]
        times = columns.times(clocks[0]) if clocks else users.groupby(users).cumcount()
        return pd.DataFrame({"user": users, "item": items, "timestamp": times}, copy=False)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise ValueError, naming the file, for any of the many errors that readers raise."""
    try:
        yield
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        if type(error) is ValueError:  # raised here
            raise ValueError(f"{path}: {error}") from error
        raise ValueError(f"{path} cannot be read as a table ({brief(error)})") from error


def parts(path: Path) -> list[Path]:
    """The tables of a folder or of a pattern such as logs/*.parquet, by name; or the file itself.

    Files and folders whose names start with . or _ are omitted, and a file with several links
    counts once. Raises ValueError if no table is left, for formats that keep deleted rows, and for
    a link to a folder or to nothing, which would be omitted silently.
    """
    if path.is_file():
        return [path]
    if not (path.is_dir() or is_pattern(path)):
        raise ValueError("it is not a file or folder; save the output of a pipe as a file first")
    if any((path / name).exists() for name in ("_delta_log", ".hoodie")):
        raise ValueError("its files keep deleted rows (Delta Lake or Hudi); export it as parquet")
    found = path.rglob("*") if path.is_dir() else map(Path, glob(str(path), recursive=True))
    tables: dict[Path, Path] = {}
    for file in sorted(found):
        if any(name.startswith((".", "_")) for name in {*file.parts} - {*path.parts}):
            continue
        if file.is_symlink() and not file.is_file():
            raise ValueError(f"{file} is a link to a folder or to nothing; replace it by the files")
        with naming(file):
            if file.is_file() and _reader(file):
                tables.setdefault(file.resolve(), file)
    if not tables:
        what = "folder holds" if path.is_dir() else "pattern matches"
        raise ValueError(f"this {what} no file that ends in .{', .'.join(READERS)}")
    return list(tables.values())


def is_pattern(path: Path) -> bool:
    """Whether a path that does not exist stands for all files that match it."""
    return any(sign in str(path) for sign in "*?[") and not path.exists()


def _reader(path: Path) -> Reader | None:
    return READERS.get(Path(member(path)).suffix.lower().removeprefix("."))


def _read_file(path: Path, given: Mapping[str, str], separator: str | None) -> list[Any]:
    """The arrays of user, item and times of one file."""
    reader = _reader(path)
    if reader is None:
        raise ValueError(
            f"its ending is unknown; known are .{', .'.join(READERS)}, all but parquet also "
            "compressed as .gz, .bz2, .xz or .zip, and a folder of such files"
        )
    sequence = re.fullmatch(r"(\d):", given.get("item", ""))
    if sequence and reader is not read_text:
        raise ValueError("only a text has a sequence a line; name the column that holds the lists")
    if sequence and (given.get("user", "0"), given.get("timestamp", ORDER)) != ("0", ORDER):
        raise ValueError("a line is a user and items in order of time; omit the other two columns")
    if sequence:
        return read_sequences(path, int(sequence[1]), separator)
    arrays = reader(path, lambda header: find_columns(header, given), separator)
    if not pa.types.is_list(arrays[1].type):
        return arrays
    _check_lengths(arrays)
    line = compute.list_parent_indices(arrays[1])  # a row for each item of a list
    return [
        compute.list_flatten(array) if pa.types.is_list(array.type) else array.take(line)
        for array in arrays
    ]


def _check_lengths(arrays: list[Any]) -> None:
    """Raise ValueError unless all lists of a row are as long as its list of items."""
    length, *others = (
        compute.list_value_length(array).fill_null(0).to_numpy()
        for array in arrays[1:]
        if pa.types.is_list(array.type)
    )
    for other in others:
        if (differs := length != other).any():
            row = int(differs.argmax())
            raise ValueError(f"row {row + 1} has {length[row]} items and {other[row]} times")


def _read_parquet(path: Path, find: Find, _: str | None) -> list[Any]:
    from pyarrow import parquet

    # As nanoseconds, dates such as 9999-12-31 would overflow without an error.
    with parquet.ParquetFile(path, coerce_int96_timestamp_unit="us") as file:
        header = file.schema_arrow.names
        names = [header[i] for i in find(header)[0]]
        table = file.read(names)
    table.validate(full=True)  # finds text that is not UTF-8
    return [_usual_list(table[name]) for name in names]


def _usual_list(column: Any) -> Any:
    """Large lists, which polars writes, and lists of a fixed size as usual lists."""
    kind = column.type
    if pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return column.cast(pa.list_(kind.value_type))
    return column


def _read_json_lines(path: Path, find: Find, _: str | None) -> list[Any]:
    """One JSON object per line; the first one sets names and types."""
    from pyarrow import json as reader

    with opened(path) as file:
        first = json.loads(file.readline())
    if not isinstance(first, dict):
        raise ValueError('its lines are not objects such as {"user": 1, "item": 2, "time": 3}')
    header = [str(name) for name in first]
    names = [header[i] for i in find(header)[0]]
    schema = pa.schema([(name, pa.array([first[name]]).type) for name in names])
    options = reader.ParseOptions(schema, unexpected_field_behavior="ignore")
    with opened(path) as file:
        table = reader.read_json(file, reader.ReadOptions(block_size=2**24), options)
    return [table[name] for name in names]


READERS: dict[str, Reader] = {
    **dict.fromkeys(SEPARATORS, read_text),
    **dict.fromkeys(("jsonl", "json"), _read_json_lines),
    "parquet": _read_parquet,
}


def find_columns(header: list[str], given: Mapping[str, str]) -> tuple[list[int], bool]:
    """Positions of user, item and 0 to 2 columns of times; whether the first line is a header.

    A first line of two whole numbers is not a header but the first pair of user and item.
    """
    pair = len(header) == 2 and all(re.fullmatch(r"-?\d+", name) for name in header)
    if pair and not given:
        return [0, 1], False
    found = [_column(role, given.get(role), header)[0] for role in COLUMNS[:2]]
    time = given.get("timestamp", ORDER if pair else "")
    if time != ORDER or ORDER in header:
        for name in [time] if time in header else time.split("+"):
            found += _column("timestamp", name, header)
    if len(set(found)) < len(found):
        raise ValueError(f"one column cannot be two of user, item and timestamp; {OPTIONS}")
    return found, _has_header(header, given, found)


def _has_header(header: list[str], given: Mapping[str, str], found: list[int]) -> bool:
    """Whether the first line is a header: if a column was found by name, or users and items could
    have been.
    """
    named = {name for name in given.values() if not name.replace("+", "").isdecimal()}
    if len(given) < len(COLUMNS) or named - {ORDER} or header == [*map(str, range(len(header)))]:
        return True
    usual = [{_plain(name) for name in " ".join(ALIASES[role]).split()} for role in COLUMNS[:2]]
    return all(_plain(header[i]) in names for i, names in zip(found[:2], usual, strict=True))


def _column(role: str, name: str | None, header: list[str]) -> list[int]:
    """Position of the column `name`, or of the one with a usual name for this role.

    Times may have two columns, a date and a clock, in this order.
    """
    if name and name.isdecimal() and int(name) < len(header):
        return [int(name)]
    plain = [_plain(column) for column in header]
    for group in [[name]] if name else [group.split() for group in ALIASES[role]]:
        known = {_plain(spelling) for spelling in group}
        matches = [i for i, column in enumerate(header) if column == name]
        matches = matches or [i for i, column in enumerate(plain) if column in known]
        dates = [i for i in matches if "date" in plain[i]]
        if role == "timestamp" and not name and (len(dates), len(matches)) == (1, 2):
            return sorted(matches, key=lambda i: i not in dates)
        if len(matches) == 1:
            return matches
        if matches:
            break
    listed = ", ".join(f"{i}: {column[:40]!r}" for i, column in enumerate(header[:20]))
    wanted = f"{len(matches) or 'no'} columns{f' {name!r}' if name else ''} for {role}"
    raise ValueError(f"it has {wanted}. Its columns are {listed}; {OPTIONS}")


def _plain(name: str) -> str:
    """A column's name without case and punctuation; RecBole's user_id:token becomes userid."""
    return re.sub(r"[\s_.-]", "", name.split(":")[0]).lower()


def in_order(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Stable sort by the columns `by`: 5 s for 32 million rows, for which pandas takes 30 s."""
    keys = pa.table({column: pa.array(table[column]) for column in by})
    order = compute.sort_indices(keys, [(column, "ascending") for column in by])
    return table.iloc[order.to_numpy()].reset_index(drop=True)


def read_log(
    path: Path, given: Mapping[str, str] | None = None, separator: str | None = None
) -> pd.DataFrame:
    """The table of `read_table`, sorted by user and time, with times as numbers.

    Warns of mixed units of time, of repeated rows, and of last items with the time of others.
    """
    table = in_order(read_table(path, given, separator), ["user", "timestamp"])
    if table["timestamp"].dtype.kind == "M":
        with naming(path):  # after sorting, because they are rounded
            table["timestamp"] = columns.unix_seconds(table["timestamp"])
    mixed = columns.mixed_units(table["timestamp"])
    warn_of_doubts(path, len(table), mixed, *columns.repeats(table))
    return table


def warn_of_doubts(path: Path, rows: int, mixed: int, doubled: int, tied: int, last: int) -> None:
    """Warn of so many rows with mixed units of time, of repeated rows, and of tied last items."""
    doubts = [
        (
            mixed,
            rows,
            "times are over 100 times smaller than the largest: seconds among milliseconds?",
        ),
        (doubled, rows, "rows repeat user, item and time of another one; they are kept"),
        (
            tied if tied > TIES * last else 0,
            last,
            "users' last items have the same time as the item before; the order of the rows "
            "decides which is last. Keep one row per basket, or give times that order its rows",
        ),
    ]
    for count, of, doubt in doubts:
        if count:
            warnings.warn(f"{path}: {count:,} of {of:,} {doubt}", stacklevel=4)


def brief(error: BaseException) -> str:
    """The kind and the text of an error on one line of at most 300 characters."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", width=300)
