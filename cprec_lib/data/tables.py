"""Read a user's table: a .csv, .tsv or .parquet file becomes checked columns, or a clear error."""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ["user", "item", "timestamp"]
ALIASES = {
    "user": ["user", "user_id", "uid", "customer_id"],
    "item": ["item", "item_id", "iid", "movie_id", "product_id", "asin"],
    "timestamp": ["timestamp", "time", "ts", "date", "datetime", "unix_time"],
}
DELIMITERS = {"csv": ",", "tsv": "\t", "inter": "\t"}
INTEGER = r"0|-?[1-9][0-9]{0,17}"  # text that loses nothing as an integer: "007" is not "7"


def read_table(path: Path) -> pd.DataFrame:
    """The checked columns user, item and timestamp of a file, in the order of the file."""
    ending = re.search(r"\.(csv|tsv|inter|parquet)(\.(gz|bz2|xz|zip))?$", path.name.lower())
    if ending is None:
        raise ValueError(
            f"{path} has an unknown ending; known are .parquet, .csv, .tsv and .inter, the last "
            "three also compressed as .gz, .bz2, .xz or .zip"
        )
    delimiter = DELIMITERS.get(ending[1])
    table = _read_text(path, delimiter) if delimiter else _read_parquet(path)
    if table.empty:
        raise ValueError(f"{path} has no rows; at least one interaction is needed")
    for role in ("user", "item"):
        table[role] = _checked_ids(table[role], path)
    return table.assign(timestamp=_checked_times(table["timestamp"], path))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in whatever a reader raises on one that is no table: there are many kinds."""
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a table ({brief(error)})") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    from pyarrow import parquet

    with _naming(path):
        header = parquet.read_schema(path).names
    names = [header[i] for i in _match_columns(header, path)]
    with _naming(path), parquet.ParquetFile(path) as file:
        table = file.read(names).to_pandas(ignore_metadata=True)
    return table[names].set_axis(COLUMNS, axis=1)


def _read_text(path: Path, delimiter: str) -> pd.DataFrame:
    """Read all as text, then integers where nothing is lost by it."""
    from pyarrow import ArrowException

    # Whatever is wrong with a file, the general way is the one to say so.
    with suppress(ArrowException, OSError, ValueError):
        return _read_integers(path, delimiter)
    with _naming(path):
        table = pd.read_csv(path, sep=delimiter, header=None, dtype=str)
    positions = _match_columns(table.iloc[0].fillna("").tolist(), path)
    columns = table.iloc[1:, positions].set_axis(COLUMNS, axis=1).reset_index(drop=True)
    for role, text in columns.items():
        if text.str.fullmatch(INTEGER, na=False).all():
            columns[role] = text.astype("int64")
    return columns


def _read_integers(path: Path, delimiter: str) -> pd.DataFrame:
    """A plain file whose ids and times are all integers, in a sixth of the general way's time.

    Raises ValueError, or what pyarrow does, for any other file.
    """
    from pyarrow import Table, csv, string

    _refuse_quotes(path)
    with path.open(encoding="ascii") as file:
        header = file.readline().rstrip("\n").split(delimiter)
    names = [header[i] for i in _match_columns(header, path)]
    # Integers 4 MB at a time: the text of all rows would take gigabytes.
    options = {
        "read_options": csv.ReadOptions(block_size=2**22),
        "parse_options": csv.ParseOptions(delimiter=delimiter),
        "convert_options": csv.ConvertOptions(
            include_columns=names, column_types=dict.fromkeys(names, string())
        ),
    }
    with csv.open_csv(path, **options) as blocks:
        integers = [_integers(block) for block in blocks]
    return Table.from_batches(integers).to_pandas()


def _integers(block: Any) -> Any:
    """A record batch of text as one of integers. Raises ValueError if something is lost by it."""
    from pyarrow import RecordBatch, compute, int64

    for text in block.columns:  # what INTEGER says, without the sign, in a fifth of its time
        length = compute.binary_length(text)
        padded = compute.and_(compute.starts_with(text, "0"), compute.greater(length, 1))
        exact = compute.and_not(compute.ascii_is_decimal(text), padded)
        if not compute.all(compute.and_(exact, compute.less(length, 19))).as_py():
            raise ValueError("not all are integers")
    return RecordBatch.from_arrays([text.cast(int64()) for text in block.columns], COLUMNS)


def _refuse_quotes(path: Path) -> None:
    """Raise ValueError unless a file is ASCII without quotes: all readers agree on its rows."""
    with path.open("rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            if not block.isascii() or b'"' in block:
                raise ValueError("quotes, or more than ASCII")


def _match_columns(header: list[str], path: Path) -> list[int]:
    """Positions of user, item and timestamp; RecBole's user_id:token counts as user_id."""

    def plain(name: str) -> str:
        return re.sub(r"[\s_-]", "", name.split(":")[0]).lower()

    positions = []
    for role, aliases in ALIASES.items():
        accepted = [plain(alias) for alias in aliases]
        matches = [i for i, name in enumerate(header) if plain(name) in accepted]
        if len(matches) != 1:
            raise ValueError(
                f"{path} has {len(matches) or 'no'} columns for {role}. Its columns are "
                f"{', '.join(repr(name[:40]) for name in header[:20])}; let exactly one be called "
                f"{', '.join(aliases[:-1])} or {aliases[-1]}, in any case, with or without _"
            )
        positions += matches
    return positions


def _checked_ids(ids: pd.Series, path: Path) -> pd.Series:
    if isinstance(ids.dtype, pd.CategoricalDtype):  # parquet keeps repeated text this way
        ids = ids.astype(ids.cat.categories.dtype)
    _refuse_rows(ids.isna(), ids, f"{path}: the {ids.name} is missing", "fill in or drop them")
    rule = "ids are whole numbers or text"
    if ids.dtype.kind == "f":
        whole = np.isfinite(ids) & (ids == ids.round())
        _refuse_rows(~whole, ids, f"{path}: the {ids.name} is not whole", rule)
        return ids.astype("int64")
    if pd.api.types.infer_dtype(ids) not in ("integer", "string"):
        raise ValueError(f"{path}: the {ids.name} has the type {ids.dtype}; {rule}")
    return ids


def _checked_times(times: pd.Series, path: Path) -> pd.Series:
    if isinstance(times.dtype, np.dtype) and times.dtype.kind in "iu":
        return times  # nothing can be missing or infinite
    if times.dtype.kind == "M":
        seconds = unix_seconds(pd.to_datetime(times, utc=True))
    else:
        seconds = times if times.dtype.kind in "iuf" else _parsed_times(times.astype(str))
    bad = ~np.isfinite(seconds.astype("float64"))
    problem = f"{path}: the timestamp is missing, infinite or unparsable"
    _refuse_rows(bad, times, problem, "give finite numbers or dates such as 2024-05-31 12:00")
    return seconds


def _refuse_rows(bad: pd.Series, values: pd.Series, problem: str, way_out: str) -> None:
    if bad.any():
        first = int(bad.to_numpy().argmax())
        value = values.iloc[[first]].tolist()[0]
        raise ValueError(
            f"{problem} in {bad.sum():,} of {len(bad):,} rows, first in row {first + 1} below the "
            f"header, where it is {value!r}; {way_out}"
        )


def _parsed_times(text: pd.Series) -> pd.Series:
    """Times from text: as what most of it is, numbers, ISO dates, or dates that pandas guesses."""
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.count() >= text.count() / 2:
        return numbers
    dates = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
    if dates.count() < text.count() / 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas warns when it has to guess row by row
            dates = pd.to_datetime(text, errors="coerce", utc=True)
    return unix_seconds(dates)


def unix_seconds(moments: pd.Series) -> pd.Series:
    """Unix seconds of UTC moments: integers, or floats if some moment lies within a second."""
    microseconds = (moments - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(microseconds=1)
    seconds = microseconds / 1e6
    return seconds.astype("int64") if (seconds % 1 == 0).all() else seconds


def in_order(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Stable sort by the columns `by`: for 32 million rows in 5 s, where pandas takes 30 s."""
    import pyarrow as pa
    from pyarrow import compute

    keys = pa.Table.from_pandas(table[by], preserve_index=False)
    order = compute.sort_indices(keys, [(column, "ascending") for column in by])
    return table.iloc[order.to_numpy()].reset_index(drop=True)


def brief(error: BaseException) -> str:
    """The kind and the text of an error on one line of at most 300 characters."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", width=300)
