"""Interpret the columns of a log: ids and times, by one rule for all rows of a column.

Every format delivers columns as pyarrow arrays, so that text and parquet follow the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute

MISSING = pa.array(["NA", "N/A", "NaN", "nan", "NULL", "null", "None", r"\N", "-"])
INTEGER_LIKE = r"^-?\d+(\.0)?$"
FLOAT_LIKE = r"^-?(\d+\.0|\d(\.\d+)?[eE]\+?\d+)$"
CLOCK = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(\s?[aApP][mM])?"
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
DAYS = (
    *(f"%d{mark}%m{mark}{year}" for mark in "./-" for year in ("%Y", "%y")),
    *(f"%m{mark}%d{mark}{year}" for mark in "/-" for year in ("%Y", "%y")),
    *(f"%y{mark}%m{mark}%d" for mark in "/-"),
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%m %d, %Y", "%d-%b-%Y"),
)
DATES = (
    "ISO8601",
    *(day + clock for day, clock in product(DAYS, CLOCKS)),
    *("%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z"),
)
SECONDS_1973 = 10**8  # larger numbers may be Unix times, smaller ones are counts


def ids(column: Any, role: str) -> Any:
    """Ids as integers or text, without surrounding blanks, from a column of almost any type.

    Floats become integers, decimals integers if all are whole, else text. Bytes and UUIDs become
    text. NA, null and the like are ids among text, but missing among integers. Raises ValueError,
    naming the first row, for missing ids, floats that are not exact, and other types.
    """
    column = decoded(column)
    kind = column.type
    _refuse(column.is_null(), column, f"the {role} is missing", "fill in or omit these rows")
    if pa.types.is_integer(kind):
        return column
    if pa.types.is_floating(kind):
        return _exact(column, role)
    if pa.types.is_decimal(kind):
        return _whole_or(pa.string(), column)
    if "binary" in str(kind) or "uuid" in str(kind):
        return _from_bytes(column, role)
    if not _is_text(kind):
        raise ValueError(f"the {role} has the type {kind}; ids are whole numbers or text")
    return _text_ids(column, role)


def decoded(column: Any) -> Any:
    """The column without the dictionaries or views that parquet may use for its values."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return decoded(column.cast(kind.value_type))
    return column.cast(pa.large_string()) if pa.types.is_string_view(kind) else column


def _whole_or(other: Any, decimals: Any) -> Any:
    """Decimals as integers if all are whole, else of another type."""
    try:
        return decimals.cast(pa.int64())
    except pa.ArrowInvalid:
        return decimals.cast(other)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _exact(floats: Any, role: str) -> Any:
    """Floats as integers. Raises ValueError if a float may stand for several whole numbers."""
    values = floats.to_numpy()
    limit = 2 ** (np.finfo(values.dtype).nmant + 1)
    whole = np.isfinite(values) & (values == np.round(values))
    _refuse(~whole, floats, f"the {role} is not whole", "ids are whole numbers or text")
    problem = f"the {role} is a {values.dtype}, which is exact only below {limit:,},"
    way_out = "two ids may have become one; export them as integers or text"
    _refuse(np.abs(values) >= limit, floats, problem, way_out)
    return pa.array(values.astype(np.int64))


def _from_bytes(column: Any, role: str) -> Any:
    if isinstance(column.type, pa.BaseExtensionType):
        storage = [chunk.storage for chunk in column.chunks]
        return pa.array([str(UUID(bytes=value.as_py())) for part in storage for value in part])
    column = column.cast(pa.binary())
    try:
        return _text_ids(column.cast(pa.string()), role)
    except pa.ArrowInvalid:
        _refuse_empty(column, role)
        return pa.array([value.as_py().hex() for value in column], pa.string())


def _refuse_empty(column: Any, role: str) -> None:
    empty = compute.equal(compute.binary_length(column), 0)
    _refuse(empty, column, f"the {role} is missing", "fill in or omit these rows")


def _text_ids(column: Any, role: str) -> Any:
    column = compute.ascii_trim_whitespace(column)
    _refuse_empty(column, role)
    if _match_all(column, FLOAT_LIKE):
        return _exact(column.cast(pa.float64()), role)
    word = compute.is_in(column, value_set=MISSING.cast(column.type))
    if compute.any(word).as_py():
        others = column.filter(compute.invert(word))
        if len(others) and _match_all(others, INTEGER_LIKE):
            _refuse(word, column, f"the {role} is missing", "the others are whole numbers")
    return column


def _match_all(column: Any, pattern: str) -> bool:
    """Whether each text of a column matches; for speed the first one is tested alone."""
    return all(
        compute.all(compute.match_substring_regex(part, pattern)).as_py()
        for part in (column[:1], column)
    )


def date_and_clock(parts: Iterable[Any]) -> Any:
    """The text of several columns as one, which is missing where one of them is empty."""
    texts = (decoded(part).cast(pa.string()) for part in parts)
    known = (compute.if_else(compute.match_substring_regex(t, r"\S"), t, None) for t in texts)
    return compute.binary_join_element_wise(*known, " ")


def times(column: Any) -> pd.Series:
    """Times as numbers, or as moments in UTC, from numbers, dates or text.

    Raises ValueError, naming the first row, if a time is missing, infinite or of another kind than
    the others, and if dates can be read in two ways.
    """
    column = decoded(column)
    if pa.types.is_decimal(column.type):
        column = _whole_or(pa.float64(), column)
    kind = column.type
    if pa.types.is_integer(kind) and not column.null_count:
        return column.to_pandas()
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        found = pd.to_datetime(column.to_pandas(), utc=True)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        found = column.cast(pa.float64(), safe=False).to_pandas()
    elif _is_text(kind):
        found = _text_times(compute.ascii_trim_whitespace(column.fill_null("")).to_pandas())
    else:
        raise ValueError(f"the timestamp has the type {kind}; times are numbers, dates or text")
    bad = found.isna() | found.isin([np.inf, -np.inf])
    problem = "the timestamp is missing, infinite or unparsable"
    way_out = "give finite numbers or dates such as 2024-05-31 12:00"
    if _is_text(kind) and compute.any(compute.match_substring_regex(column, f"^{CLOCK}$")).as_py():
        way_out = 'a time of day needs its date: join two columns by time_column="date+time"'
    elif bad.any() and not bad.all():
        good = int((~bad).to_numpy().argmax())
        way_out += f". Row {good + 1} has {column[good].as_py()!r}"
    _refuse(bad, column, problem, way_out)
    return found


def _text_times(text: pd.Series) -> pd.Series:
    """Read texts by the rule that fits most of the first 100 rows: numbers, or one of `DATES`."""
    sample = text.iloc[:100]
    if pd.to_numeric(sample, errors="coerce").count() >= len(sample) / 2:
        return pd.to_numeric(text, errors="coerce")
    formats = [form for form in DATES if _dates(sample, form).count() >= len(sample) / 2]
    readings = sorted((_dates(text, form) for form in formats), key=pd.Series.count)
    *others, best = readings or [pd.Series(pd.NaT, text.index)]
    for other in others:
        differs = (other != best).to_numpy()
        if other.notna().all() and differs.any():
            row = int(differs.argmax())
            raise ValueError(
                f"the timestamp may have the day, the month or the year first, as "
                f"{text.iloc[row]!r} in row {row + 1}; write dates such as 2024-05-31"
            )
    return best


def _dates(text: pd.Series, form: str) -> pd.Series:
    text = text.where(text.str.contains(r"\d", regex=True))  # pandas would read "today" and "now"
    return pd.to_datetime(text, errors="coerce", utc=True, format=form)


def _refuse(bad: Any, values: Any, problem: str, way_out: str) -> None:
    """Raise ValueError, with the number of bad rows and the first of them, if there are any."""
    bad = np.asarray(bad)
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"{problem} in {bad.sum():,} of {len(bad):,} rows, first in row {first + 1} (without "
            f"the header), where it is {values[first].as_py()!r}; {way_out}"
        )


def unix_seconds(moments: pd.Series) -> pd.Series:
    """Unix seconds of UTC moments: integers, or floats if a moment has a fraction of a second."""
    microseconds = moments.dt.as_unit("us").astype("int64")
    whole = (microseconds % 10**6 == 0).all()
    return microseconds // 10**6 if whole else microseconds / 1e6


def mixed_units(times: pd.Series) -> int:
    """Number of Unix times that look like seconds in a column of milliseconds.

    They are over 100 times smaller than the largest one. Zeros, which may stand for no time, do not
    count.
    """
    known = times[times > 0]
    if known.min() < SECONDS_1973:
        return 0
    return int((known < known.max() / 100).sum())


def repeats(table: pd.DataFrame) -> np.ndarray:
    """Of a sorted table, the rows that repeat user, item and timestamp of an earlier row, the last
    rows of users with the timestamp of the row before, and all that have a row before [3].
    """
    user, time = np.zeros((2, len(table)), dtype=bool)
    for as_before, name in ((user, "user"), (time, "timestamp")):
        values = table[name].array
        as_before[1:] = np.asarray(values[1:] == values[:-1], dtype=bool)
    same, last = user & time, user.copy()
    last[:-1] &= ~user[1:]
    tied = same.copy()
    tied[:-1] |= same[1:]
    items, known = pd.factorize(table["item"].array[tied])
    # A number for each pair of a moment and an item; sorting brings equal pairs together.
    keys = np.sort((~same)[tied].cumsum() * len(known) + items)
    return np.array([np.sum(keys[1:] == keys[:-1]), np.sum(last & time), np.sum(last)])
