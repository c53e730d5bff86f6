"""The rules of `logs.columns` as SQL, for a column that is never in memory as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cprec_lib.logs.columns import FLOAT_LIKE, INTEGER_LIKE, MISSING

INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "")}
INTEGERS |= {"INTEGER", "UINTEGER"}
EXACT = {"FLOAT": 2**24, "DOUBLE": 2**53}
"""Floats below these numbers are exact."""
BLANKS = " \t\n\x0b\x0c\r"
WORDS = ", ".join(f"'{word}'" for word in MISSING.to_pylist())
WHOLE = "regexp_full_match({0}, '-?[1-9][0-9]*|0') AND try_cast({0} AS BIGINT) IS NOT NULL"
FILL = "fill in or omit these rows"
ISO = (
    r"\d{4}([-/]\d{1,2}){2}([ T]([01]?\d|2[0-3]):\d{2}(:\d{2}(\.\d{1,6}0*)?)?"
    r"( ?(Z|[+-]\d{2}(:?\d{2})?))?)?"
)
"""Dates that DuckDB reads as pandas does: it takes 20-02-13 as a day of the year 20."""


@dataclass(frozen=True)
class Raw:
    """The table `raw` of a connection to DuckDB: the columns of a log as the file has them.

    `types` are DuckDB's. With `text` the file was a text, whose whole numbers become integers.
    """

    connection: Any
    types: dict[str, str]
    text: bool

    def row(self, query: str) -> tuple[Any, ...]:
        """The first row of a query's result."""
        found: tuple[Any, ...] = self.connection.execute(query).fetchone()
        return found

    def all(self, condition: str, among: str = "true") -> bool:
        """Whether each row, of those `among`, fulfils a condition."""
        return not self.row(f"SELECT count(*) FROM raw WHERE {among} AND NOT ({condition})")[0]

    def refuse(self, bad: str, column: str, problem: str, way_out: str) -> None:
        """Raise ValueError, with the number of bad rows and the first of them, if there are any."""
        count, first = self.row(f"SELECT count(*), min(rowid) FROM raw WHERE {bad}")
        if not count:
            return
        value, total = self.row(
            f"SELECT (SELECT {column} FROM raw WHERE rowid = {first}), count(*) FROM raw"
        )
        raise ValueError(
            f"{problem} in {count:,} of {total:,} rows, first in row {first + 1} (without the "
            f"header), where it is {value!r}; {way_out}"
        )


def ids(raw: Raw, role: str) -> str:
    """The SQL of the ids of a column, as `columns.ids` reads them. Errors as there."""
    kind, missing = raw.types[role], f"the {role} is missing"
    raw.refuse(f"{role} IS NULL", role, missing, FILL)
    if kind in INTEGERS:
        return role
    if kind in EXACT:
        return _exact(raw, role, kind, role)
    if kind.startswith("DECIMAL"):
        return f"CAST({role} AS {'BIGINT' if _is_whole(raw, role) else 'VARCHAR'})"
    if kind == "UUID":
        return f"CAST({role} AS VARCHAR)"
    if kind == "BLOB":
        raw.refuse(f"octet_length({role}) = 0", role, missing, FILL)
        is_text = raw.all(f"try(decode({role})) IS NOT NULL")
        return _text_ids(raw, role, f"decode({role})") if is_text else f"lower(hex({role}))"
    if kind != "VARCHAR":
        raise ValueError(f"the {role} has the type {kind}; ids are whole numbers or text")
    return _text_ids(raw, role, role)


def _is_whole(raw: Raw, decimal: str) -> bool:
    return raw.all(f"{decimal} = trunc({decimal}) AND try_cast({decimal} AS BIGINT) IS NOT NULL")


def _text_ids(raw: Raw, role: str, column: str) -> str:
    text, missing = trimmed(column), f"the {role} is missing"
    raw.refuse(f"{text} = ''", role, missing, FILL)
    if raw.text and raw.all(WHOLE.format(text)):
        return f"CAST({text} AS BIGINT)"
    if raw.all(f"regexp_matches({text}, '{FLOAT_LIKE}')"):
        return _exact(raw, f"CAST({text} AS DOUBLE)", "DOUBLE", role)
    word = f"{text} IN ({WORDS})"
    others = raw.row(f"SELECT count(*), count(*) FILTER ({word}) FROM raw")
    if 0 < others[1] < others[0] and raw.all(
        f"regexp_matches({text}, '{INTEGER_LIKE}')", f"NOT {word}"
    ):
        raw.refuse(word, role, missing, "the others are whole numbers")
    return text


def _exact(raw: Raw, number: str, kind: str, role: str) -> str:
    """Floats as integers. Raises ValueError if a float may stand for several whole numbers."""
    whole = f"isfinite({number}) AND {number} = round({number})"
    raw.refuse(f"NOT ({whole})", role, f"the {role} is not whole", "ids are whole numbers or text")
    raw.refuse(
        f"abs({number}) >= {EXACT[kind]}",
        role,
        f"the {role} is a {kind.lower()}, which is exact only below {EXACT[kind]:,},",
        "two ids may have become one; export them as integers or text",
    )
    return f"CAST({number} AS BIGINT)"


def times(raw: Raw) -> tuple[str, str]:
    """The SQL by which to sort the times, and that of the times as numbers, as in `columns.times`.

    Raises ValueError, naming the first row, for a time that is missing, infinite or of another kind
    than the others, and for dates as text that are not ISO 8601.
    """
    kind, column = raw.types["timestamp"], "timestamp"
    if kind in INTEGERS and raw.all("timestamp IS NOT NULL"):
        return column, column
    if kind == "VARCHAR":
        column = _text_times(raw)
    elif kind.startswith("DECIMAL") and _is_whole(raw, column):
        column = "CAST(timestamp AS BIGINT)"
    elif kind.startswith("DECIMAL") or kind in INTEGERS | {*EXACT}:
        column = "CAST(timestamp AS DOUBLE)"
    elif kind == "DATE":
        column = "CAST(timestamp AS TIMESTAMP)"
    elif kind == "TIMESTAMPTZ_NS":  # which isfinite does not take; the zone is UTC
        column = "CAST(timestamp AS TIMESTAMP_NS)"
    elif not kind.startswith("TIMESTAMP"):
        raise ValueError(f"the timestamp has the type {kind}; times are numbers, dates or text")
    way_out = "give finite numbers or dates such as 2024-05-31 12:00"
    if kind == "VARCHAR":
        way_out += "; other dates are read by --engine pandas (engine='pandas')"
    finite = "true" if "BIGINT" in column else f"coalesce(isfinite({column}), false)"
    bad, problem = f"{column} IS NULL OR NOT {finite}", "the timestamp is missing, infinite or"
    raw.refuse(bad, "timestamp", f"{problem} unparsable", way_out)
    if "BIGINT" in column or "DOUBLE" in column:
        return column, column
    microseconds = f"epoch_us({column})"
    if raw.all(f"{microseconds} % 1000000 = 0"):
        return column, f"{microseconds} // 1000000"
    return column, f"CAST({microseconds} AS DOUBLE) / 1e6"


def _text_times(raw: Raw) -> str:
    """Texts as numbers if most of the first 100 are, else as dates."""
    text, sample = trimmed("timestamp"), "(SELECT * FROM raw WHERE rowid < 100)"
    number = f"CASE WHEN NOT contains({text}, '_') THEN try_cast({text} AS DOUBLE) END"
    numbers, rows = raw.row(f"SELECT count({number}), count(*) FROM {sample}")
    if numbers < rows / 2:
        is_date = f"regexp_full_match({text}, '{ISO}')"
        return f"CASE WHEN {is_date} THEN try_cast({text} AS TIMESTAMPTZ) END"
    whole = f"try_cast({text} AS BIGINT)"
    if raw.all(f"regexp_full_match({text}, '[+-]?[0-9]+') AND {whole} IS NOT NULL"):
        return whole
    return number


def trimmed(column: str) -> str:
    """The text of a column without the blanks of ASCII around it."""
    return f"trim({column}, '{BLANKS}')"
