"""Read, clean and sort a log with DuckDB, which keeps on disk what the memory does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from cprec_lib.big.cleaning import Raw, ids, times, trimmed
from cprec_lib.logs import tables, text
from cprec_lib.logs.columns import SECONDS_1973
from cprec_lib.machine import cpu_cores

ROWS = 2**20
ROLES = tables.COLUMNS
ELSE = "or use --engine pandas (engine='pandas'), which needs memory for all rows"


def is_installed() -> bool:
    """Whether the extra `big` is installed."""
    return find_spec("duckdb") is not None


def check_installed() -> None:
    """Raise OSError, with the command to run, if DuckDB is missing."""
    if not is_installed():
        raise OSError("duckdb is not installed; run `pip install duckdb`")


@contextmanager
def connected(folder: Path, memory: int, log: Path) -> Iterator[Any]:
    """A connection to DuckDB, which may use `memory` bytes, and files in a new folder.

    In the body, an error of DuckDB becomes a ValueError that names the log, or an OSError if the
    disk is the cause.
    """
    import duckdb

    folder.mkdir()

    limits: dict[str, Any] = {"memory_limit": f"{memory // 2**20}MiB", "threads": cpu_cores()}
    files = {"temp_directory": str(folder / "sorting")}
    try:
        with duckdb.connect(folder / "log.duckdb", config={**limits, **files}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException) as error:
        raise OSError(
            f"DuckDB cannot sort the log in {folder.parents[1]} ({tables.brief(error)}); free some "
            "space there, or choose another data folder by CPREC_DATA"
        ) from error
    except duckdb.Error as error:
        raise ValueError(
            f"{log} cannot be read by DuckDB ({tables.brief(error)}); repair it, {ELSE}"
        ) from error


def read(connection: Any, path: Path, given: Mapping[str, str], separator: str | None) -> None:
    """Make the view `clean` with the columns user, item, key, timestamp and place of a log's rows.

    Rows are ordered by user, key and place. The rules are those of `tables.read_table`. Raises
    ValueError, naming the file, for a log that is none of parquet and delimited text, whose parts
    differ, or that cannot be cleaned.
    """
    with tables.naming(path):
        files = tables.parts(path)
    source, names, is_text = _source(files, given, separator)
    user, item, *clocks = (f'"{name.replace(chr(34), chr(34) * 2)}"' for name in names)
    if len(clocks) > 1:  # the joined text is missing where a part is empty
        clocks = [" || ' ' || ".join(f"nullif({trimmed(f'{c}::VARCHAR')}, '')" for c in clocks)]
    [time] = clocks or ["0"]
    connection.execute(
        f"CREATE TABLE raw AS SELECT {user} AS user, {item} AS item, {time} AS timestamp "
        f"FROM {source}"
    )
    with tables.naming(path):
        described = connection.execute("DESCRIBE raw").fetchall()
        raw = Raw(connection, {row[0]: row[1] for row in described}, is_text)
        _check_rows(raw, files, is_text)
        columns = [ids(raw, role) for role in ROLES[:2]]
        key, timestamp = times(raw) if clocks else ("rowid", "0")
    if not clocks:  # the order of the rows is that of time
        timestamp = f"row_number() OVER (PARTITION BY {columns[0]} ORDER BY rowid) - 1"
    connection.execute(
        f"CREATE VIEW clean AS SELECT {columns[0]} AS user, {columns[1]} AS item, {key} AS key, "
        f"{timestamp} AS timestamp, rowid AS place FROM raw"
    )


def _source(
    files: Sequence[Path], given: Mapping[str, str], separator: str | None
) -> tuple[str, list[str], bool]:
    """The files as a table of SQL, its columns user, item and times, and whether it is text."""
    heads = {}
    for file in files:
        with tables.naming(file):
            heads[file] = _head(file, given, separator)
    first, head = next(iter(heads.items()))
    for file, other in heads.items():
        if other != head:
            raise ValueError(
                f"{file} has other columns or types ({_shown(other)}) than {first} "
                f"({_shown(head)}); write all parts with the same ones, {ELSE}"
            )
    names = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    if "mark" not in head:
        return f"read_parquet([{names}])", list(head["columns"]), False
    fields = ", ".join(f"'{i}': 'VARCHAR'" for i in range(head["width"]))
    mark = head["mark"].replace("'", "''")
    return (
        f"read_csv([{names}], auto_detect=false, header={head['header']}, delim='{mark}', "
        f"quote='\"', escape='\"', columns={{{fields}}})",
        [str(i) for i in head["positions"]],
        True,
    )


def _shown(head: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in (head.get("columns") or head).items())


def _head(file: Path, given: Mapping[str, str], separator: str | None) -> dict[str, Any]:
    """What the parts of a log must have in common."""
    ending = Path(text.member(file)).suffix.lower().removeprefix(".")
    if ":" in given.get("item", "")[1:2]:
        raise ValueError(f"DuckDB reads no sequence a line; write a row for each item, {ELSE}")
    if ending == "parquet":
        from pyarrow import parquet

        schema = parquet.read_schema(file)
        names = [schema.names[i] for i in tables.find_columns(schema.names, given)[0]]
        lower = [name.lower() for name in schema.names]
        if alike := [name for name in names if lower.count(name.lower()) > 1]:
            raise ValueError(f"DuckDB takes several columns for {alike[0]!r}; rename them, {ELSE}")
        kinds = {name: schema.field(name).type for name in names}
        if any(pa.types.is_nested(kind) for kind in kinds.values()):
            raise ValueError(f"DuckDB reads no lists here; write a row for each item, {ELSE}")
        return {"columns": {name: str(kind) for name, kind in kinds.items()}}
    if ending not in text.SEPARATORS or file.suffix.lower() in (".bz2", ".xz", ".zip"):
        raise ValueError(f"DuckDB reads .parquet, text and text as .gz here; convert it, {ELSE}")
    mark, header = text.first_line(file, separator)
    positions, has_header = tables.find_columns(header, given)
    return {"mark": mark, "width": len(header), "positions": positions, "header": has_header}


def _check_rows(raw: Raw, files: Sequence[Path], is_text: bool) -> None:
    """Raise ValueError without rows, or if values of a text hold line ends, perhaps by a slip."""
    (rows,) = raw.row("SELECT count(*) FROM raw")
    if not rows:
        raise ValueError("it has no rows; at least one interaction is needed")
    if is_text and sum(map(text.count_lines, files)) > rows + len(files):
        raise ValueError(f"it has empty lines, or line ends in quotes; write it as parquet, {ELSE}")


def sorted_rows(connection: Any, shortest: int) -> tuple[pa.Array, Iterator[pa.RecordBatch]]:
    """The items of the users with `shortest` rows, in order, and all rows by user and time.

    Rows have the columns user, item, timestamp and code, the number of the item from 0. A batch may
    end in the middle of a user.
    """
    connection.execute(
        "CREATE TABLE items AS SELECT item, row_number() OVER (ORDER BY item) - 1 AS code FROM "
        "(SELECT DISTINCT item FROM clean WHERE user IN "
        f"(SELECT user FROM clean GROUP BY user HAVING count(*) >= {shortest}))"
    )
    items = connection.sql("SELECT item FROM items ORDER BY code").to_arrow_table()["item"]
    rows = connection.sql(
        "SELECT user, item, timestamp, coalesce(code, 0) AS code FROM clean LEFT JOIN items "
        "USING (item) ORDER BY user, key, place"
    )
    return items, iter(rows.to_arrow_reader(ROWS))


def count(connection: Any) -> tuple[int, ...]:
    """The number of users, and then the number of rows of each item, falling."""
    (users,) = connection.execute("SELECT count(DISTINCT user) FROM clean").fetchone()
    counts = connection.execute("SELECT count(*) AS n FROM clean GROUP BY item ORDER BY n DESC")
    return (users, *counts.fetchnumpy()["n"].tolist())


def mixed_units(connection: Any) -> int:
    """`columns.mixed_units` of the rows."""
    low, high = connection.execute(
        "SELECT min(timestamp), max(timestamp) FROM clean WHERE timestamp > 0"
    ).fetchone()
    if low is None or low < SECONDS_1973:
        return 0
    few = "SELECT count(*) FROM clean WHERE timestamp > 0 AND timestamp < ?"
    return int(connection.execute(few, [high / 100]).fetchone()[0])


def moments(connection: Any, percents: Sequence[int], shortest: int) -> list[Any]:
    """The times at so many percent of the rows of users with `shortest` rows, in order of time."""
    kept = f"user IN (SELECT user FROM clean GROUP BY user HAVING count(*) >= {shortest})"
    number = "row_number() OVER (ORDER BY timestamp) - 1 AS n"
    ordered = f"SELECT timestamp, {number} FROM clean WHERE {kept}"
    (total,) = connection.execute(f"SELECT count(*) FROM clean WHERE {kept}").fetchone()
    wanted = [total * percent // 100 for percent in percents]
    places = ", ".join(map(str, wanted))
    found = connection.execute(f"SELECT n, timestamp FROM ({ordered}) WHERE n IN ({places})")
    by_place = dict(found.fetchall())
    return [by_place[place] for place in wanted]
