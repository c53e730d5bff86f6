"""Read a user's log: a file or a folder of parts becomes checked columns, or a clear error."""

from __future__ import annotations

import json
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
from pyarrow import compute

from cprec_lib.data import columns
from cprec_lib.data.text import SEPARATORS, Text, joined, member, opened

COLUMNS = ["user", "item", "timestamp"]
# Of each role the first group that a file has names its column: a user goes before a session.
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
ENDINGS = (*SEPARATORS, "parquet", "jsonl", "json")
ORDER = "order"
OPTIONS = (
    "name them by user_column, item_column and time_column (--user-column and so on): a name, a "
    "number from 0 if there is no header, for times also date+clock, or order if the rows are in "
    'order of time; item_column="1:" is a sequence a line; give the separator if these are one'
)


@dataclass(frozen=True)
class Layout:
    """Where a log has its columns, as the options of `load_interactions` say; None: find out."""

    user: str | int | None = None
    item: str | int | None = None
    timestamp: str | int | None = None
    separator: str | None = None

    def given(self, role: str) -> str | None:
        """The option of a role as text."""
        value = getattr(self, role)
        return None if value is None else str(value)


class Format(Protocol):
    """A file of a kind: the names of its columns, and some of them as pyarrow arrays."""

    header: list[str]

    def read(self, positions: list[int], has_header: bool) -> list[Any]: ...


class Parquet:
    """A parquet file."""

    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self.path, self.header = path, parquet.read_schema(path).names

    def read(self, positions: list[int], has_header: bool) -> list[Any]:
        """Columns by their position, as the file has them."""
        from pyarrow import parquet

        names = [self.header[i] for i in positions]
        with parquet.ParquetFile(self.path) as file:
            table = file.read(names)
        return [table[name] for name in names]


class JsonLines:
    """A file with a JSON object a line; the first one tells names and types."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened(path) as file:
            self.first = json.loads(file.readline())
        self.header = [str(name) for name in self.first]

    def read(self, positions: list[int], has_header: bool) -> list[Any]:
        """Columns by their position, with the types of the first row."""
        from pyarrow import json as reader

        names = [self.header[i] for i in positions]
        schema = pa.schema([(name, pa.array([self.first[name]]).type) for name in names])
        options = reader.ParseOptions(schema, unexpected_field_behavior="ignore")
        with opened(self.path) as file:
            table = reader.read_json(file, reader.ReadOptions(block_size=2**24), options)
        return [table[name] for name in names]


@dataclass(frozen=True)
class _Found:
    """Positions of user, item and, unless the rows are in order of time, one or two of times.

    `sequence` is the first column of items where a line holds a whole sequence.
    """

    positions: list[int]
    has_header: bool = True
    sequence: int | None = None


def read_table(path: Path, layout: Layout | None = None) -> pd.DataFrame:
    """Checked columns user, item and timestamp of a file or a folder of parts, in its order.

    Times are numbers, or moments in UTC where the file has dates. Raises ValueError, naming the
    file, for whatever is no such table.
    """
    layout = layout or Layout()
    with _naming(path):
        parts = [_read(part, layout) for part in _parts(path)]
        user, item, *clocks = (joined(list(same)) for same in zip(*parts, strict=True))
        del parts
        if not len(user):
            raise ValueError("it has no rows; at least one interaction is needed")
        users, items = (
            columns.ids(ids, role).to_pandas() for ids, role in ((user, "user"), (item, "item"))
        )
        del user, item
        if len(clocks) > 1:
            texts = [columns.decoded(clock).cast(pa.string()) for clock in clocks]
            clocks = [compute.binary_join_element_wise(*texts, " ")]
        times = columns.times(clocks[0]) if clocks else users.groupby(users).cumcount()
        return pd.DataFrame({"user": users, "item": items, "timestamp": times}, copy=False)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in whatever a reader raises on one that is no table: there are many kinds."""
    try:
        yield
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        if type(error) is ValueError:  # our own
            raise ValueError(f"{path}: {error}") from error
        raise ValueError(f"{path} cannot be read as a table ({brief(error)})") from error


def _ending(path: Path) -> str:
    """The kind of file that its name tells, or nothing."""
    ending = Path(member(path)).suffix.lower().removeprefix(".")
    return ending if ending in ENDINGS else ""


def _parts(path: Path) -> list[Path]:
    """The files of a folder that are tables, by name; or the file."""
    if not path.is_dir():
        return [path]
    shown = (file for file in sorted(path.rglob("*")) if not file.name.startswith((".", "_")))
    parts = [file for file in shown if file.is_file() and _ending(file)]
    if not parts:
        raise ValueError(f"this folder holds no file that ends in .{', .'.join(ENDINGS)}")
    return parts


def _read(path: Path, layout: Layout) -> list[Any]:
    """The arrays of user, item and times of one file."""
    file = _format(path, layout.separator)
    found = _find_columns(file.header, layout)
    if found.sequence is not None:
        if not isinstance(file, Text):
            raise ValueError("only text has a sequence a line")
        return file.sequences(found.sequence)
    read = file.read(found.positions, found.has_header)
    return _flat(read) if pa.types.is_list(read[1].type) else read


def _format(path: Path, separator: str | None) -> Format:
    ending = _ending(path)
    if not ending:
        raise ValueError(
            f"its ending is unknown; known are .{', .'.join(ENDINGS)}, all but the first of "
            "parquet also compressed as .gz, .bz2, .xz or .zip, and a folder of such files"
        )
    if ending == "parquet":
        return Parquet(path)
    return JsonLines(path) if ending.startswith("json") else Text(path, ending, separator)


def _find_columns(header: list[str], layout: Layout) -> _Found:
    user, item, time = (layout.given(role) for role in COLUMNS)
    sequence = re.fullmatch(r"(\d):", item or "")
    if sequence and item not in header:
        return _Found([], sequence=int(sequence[1]))
    if not (user or item or time) and _is_pair(header):
        return _Found([0, 1], has_header=False)
    numbered = any(name.isdecimal() for name in (user, item, time) if name)
    found = [*_columns_of("user", user, header), *_columns_of("item", item, header)]
    if not (time == ORDER and ORDER not in header) and not (time is None and _is_pair(header)):
        dates = (time or "").split("+") if time not in header else [time]
        found += [i for name in dates for i in _columns_of("timestamp", name or None, header)]
    return _Found(found, not numbered or header == [*map(str, range(len(header)))])


def _is_pair(header: list[str]) -> bool:
    """Whether a first line holds two whole numbers: a user and an item, and no names."""
    return len(header) == 2 and all(re.fullmatch(r"-?\d+", name) for name in header)


def _columns_of(role: str, name: str | None, header: list[str]) -> list[int]:
    """Position of the column `name`, or of the column that is known to have this role.

    Two columns of times may be a date and a clock; the date comes first.
    """
    if name and name.isdecimal() and int(name) < len(header):
        return [int(name)]
    spellings = [[name, _plain(name)]] if name else [group.split() for group in ALIASES[role]]
    for group in spellings:
        known = {_plain(spelling) for spelling in group}
        matches = [i for i, column in enumerate(header) if column == name]
        matches = matches or [i for i, column in enumerate(header) if _plain(column) in known]
        is_date = ["date" in _plain(header[i]) for i in matches]
        if len(matches) == 2 and role == "timestamp" and not name and is_date[0] != is_date[1]:
            return sorted(matches, key=lambda i: "date" not in _plain(header[i]))
        if len(matches) == 1:
            return matches
        if matches:
            break
    listed = ", ".join(f"{i}: {column[:40]!r}" for i, column in enumerate(header[:20]))
    wanted = f" {name!r}" if name else ""
    raise ValueError(
        f"it has {len(matches) or 'no'} columns{wanted} for {role}. Its columns are {listed}; "
        f"{OPTIONS}"
    )


def _plain(name: str) -> str:
    """A column's name without case and marks; RecBole's user_id:token is its user_id."""
    return re.sub(r"[\s_.-]", "", name.split(":")[0]).lower()


def _flat(read: list[Any]) -> list[Any]:
    """Rows of a table whose items are lists: one for each item of a list."""
    line = compute.list_parent_indices(read[1])
    return [
        compute.list_flatten(array) if pa.types.is_list(array.type) else array.take(line)
        for array in read
    ]


def in_order(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Stable sort by the columns `by`: for 32 million rows in 5 s, where pandas takes 30 s."""
    keys = pa.Table.from_pandas(table[by], preserve_index=False)
    order = compute.sort_indices(keys, [(column, "ascending") for column in by])
    return table.iloc[order.to_numpy()].reset_index(drop=True)


def read_log(path: Path, layout: Layout | None = None) -> pd.DataFrame:
    """The table of `read_table` by user and time, times as numbers, with warnings about doubts."""
    table = in_order(read_table(path, layout), ["user", "timestamp"])
    if table["timestamp"].dtype.kind == "M":
        table["timestamp"] = columns.unix_seconds(table["timestamp"])  # sorted first: they round
    mixed, doubled = columns.mixed_units(table["timestamp"]), columns.duplicates(table)
    if mixed:
        warnings.warn(
            f"{path}: times span a factor of 1,000, so that seconds and milliseconds may be mixed; "
            f"{mixed:,} of {len(table):,} are the smaller kind",
            stacklevel=3,
        )
    if doubled:
        warnings.warn(
            f"{path}: {doubled:,} of {len(table):,} rows repeat user, item and time of another "
            "one; they are kept",
            stacklevel=3,
        )
    return table


def brief(error: BaseException) -> str:
    """The kind and the text of an error on one line of at most 300 characters."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", width=300)
