"""Interaction tables: a name or a path becomes a sorted table of user, item and time.

A data set of the registry is downloaded once, checked against its hash and kept in `data_folder()`.
Nothing that a data file holds is ever executed, and only members with fixed names leave an archive.
"""

import csv
import difflib
import errno
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = ["user", "item", "timestamp"]
ALIASES = {
    "user": ("user", "user_id", "uid", "customer_id"),
    "item": ("item", "item_id", "iid", "movie_id", "product_id", "asin"),
    "timestamp": ("timestamp", "time", "ts", "date", "datetime", "unix_time"),
}
DELIMITERS = {".csv": ",", ".tsv": "\t", ".inter": "\t"}
COMPRESSIONS = ("", ".gz", ".bz2", ".zst")
CACHE_VERSION = 1  # raise it when a parser below changes what it returns


@dataclass(frozen=True)
class DataFile:
    """One file of a source, and its hash as `algorithm:digest` (None where none is published)."""

    name: str
    known_hash: str | None


@dataclass(frozen=True)
class Source:
    """One place that a data set can come from; the first file holds the events, the last the titles.

    `address` is an URL, or a requirement such as `recbole==1.2.1` that pip can download.
    """

    address: str
    megabytes: int
    files: tuple[DataFile, ...]
    interactions: Callable[[Path], pd.DataFrame]
    titles: Callable[[Path], pd.Series]
    wheel_folder: str = ""


@dataclass(frozen=True)
class Dataset:
    """A data set of the registry: its sources in the order in which they are tried, and its terms."""

    name: str
    sources: tuple[Source, ...]
    licence: str
    citation: str


def load_interactions(
    name_or_path: str | Path = "ml-100k", data_dir: str | Path | None = None
) -> pd.DataFrame:
    """Load a data set of the registry, or a .csv, .tsv or .parquet file, as a table of interactions.

    Returns columns user, item, timestamp, sorted by user and timestamp. Rows with equal times keep
    the order of the file; MovieLens breaks such ties by item, because its sources differ in order.
    Ids stay the file's own (integers or text). Times stay numbers; dates become Unix seconds, read
    as UTC where they name no zone, and month first where they are ambiguous.

    Raises:
        ValueError: the name is unknown, or the file is no table with these three columns whole.
        OSError: no source can be reached, or the data folder cannot be written or is full.
    """
    name = str(name_or_path)
    if name in DATASETS:
        source, folder = _obtain(DATASETS[name], data_dir)
        return source.interactions(folder / source.files[0].name)
    return _in_order(_read_interactions(_existing_file(name)), ["user", "timestamp"])


def load_titles(name: str, data_dir: str | Path | None = None) -> pd.Series:
    """Titles of a data set of the registry: a series from the original item id to its title.

    MovieLens titles read "Toy Story (1995)". For ml-100k the second source stores title and year
    apart; they are joined again and are the same but for surrounding blanks and the letters of a
    few accented names. Online Retail's title is the product's most frequent description.

    Raises:
        ValueError: `name` is not in the registry.
        OSError: as `load_interactions`.
    """
    if name not in DATASETS:
        raise ValueError(
            f"There are no titles for {str(name)!r}: only {', '.join(DATASETS)} come with titles. "
            "For a file of your own, build a pandas Series from item id to title."
        )
    source, folder = _obtain(DATASETS[name], data_dir)
    return source.titles(folder / source.files[-1].name)


def find_item(titles: pd.Series, query: str) -> Any:
    """The original id of the item with this title: exact, else ignoring case, else the one title
    that contains it. Where several items share the title, the first of them.

    Raises:
        ValueError: no title or more than one title fits; the message lists the nearest.
    """
    names = titles.astype(str)
    lower, wanted = names.str.lower(), query.strip().lower()
    for matches in (names == query, lower == wanted):
        if matches.any():
            return titles.index[int(np.argmax(matches))]
    containing = lower[lower.str.contains(wanted, regex=False)].drop_duplicates()
    if wanted and len(containing) == 1:
        return titles.index[int(np.argmax(lower == containing.iloc[0]))]
    candidates = containing if wanted and len(containing) else lower.drop_duplicates()
    nearest = difflib.get_close_matches(wanted, candidates.tolist(), n=5, cutoff=0.0)
    listed = "; ".join(repr(str(names[(lower == title).to_numpy()].iloc[0])) for title in nearest)
    problem = f"{len(containing)} titles contain" if wanted and len(containing) else "No title is"
    raise ValueError(f"{problem} {query!r}. Give one of the nearest titles: {listed}.")


def is_present(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether the data set lies in the data folder, whole and with the right hash.

    Raises:
        ValueError: `name` is not in the registry.
    """
    if name not in DATASETS:
        raise ValueError(f"{name!r} is not in the registry: {', '.join(DATASETS)}.")
    try:
        return _find(DATASETS[name], data_folder(data_dir)) is not None
    except ValueError:
        return False


def data_folder(data_dir: str | Path | None = None) -> Path:
    """The folder of the downloads: `data_dir`, else CPREC_DATA, else `data/` of a checkout, else
    the user's cache folder."""
    chosen = data_dir or os.environ.get("CPREC_DATA")
    if chosen:
        return Path(chosen).expanduser().resolve()
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    import pooch

    return Path(pooch.os_cache("cprec"))


# Downloads


def _obtain(dataset: Dataset, data_dir: str | Path | None) -> tuple[Source, Path]:
    folder = data_folder(data_dir)
    return _find(dataset, folder) or _fetch(dataset, folder), folder


def _find(dataset: Dataset, folder: Path) -> Source | None:
    """The first source whose files are all in the folder, verified."""
    for source in dataset.sources:
        if all((folder / file.name).is_file() for file in source.files):
            for file in source.files:
                _verify(folder / file.name, file)
            return source
    return None


def _verify(path: Path, file: DataFile) -> None:
    if file.known_hash is None:
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is no whole zip file. Delete it, so that it is fetched anew.")
        return
    algorithm, expected = file.known_hash.split(":")
    found = _digest(path, algorithm)
    if found != expected:
        raise ValueError(
            f"{path} has the {algorithm} hash {found}, but {expected} is expected: it is damaged "
            "or another version. Delete it, so that it is fetched anew."
        )


def _digest(path: Path, algorithm: str) -> str:
    # The hashes guard against damage; naming that use lets MD5 work on machines in FIPS mode.
    with path.open("rb") as stream:
        return hashlib.file_digest(
            stream, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()


def _fetch(dataset: Dataset, folder: Path) -> Source:
    """Fetch the data set from the first source that works, and print its terms."""
    _require_writable(folder)
    failures = []
    for source in dataset.sources:
        print(f"{dataset.name}: fetching {source.address} (about {source.megabytes} MB)")
        try:
            _fetch_from(source, folder)
        except (OSError, ValueError, LookupError, zipfile.BadZipFile, subprocess.SubprocessError) as e:
            if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(
                    e.errno,
                    f"The disk that holds {folder} is full, and {dataset.name} needs about "
                    f"{source.megabytes} MB there. Free some space, or set CPREC_DATA to a folder "
                    "on another disk.",
                ) from e
            reason = textwrap.shorten(f"{type(e).__name__}: {e}", width=240)
            failures.append(f"{source.address}: {reason}")
            print(f"{dataset.name}: {source.address} failed ({reason})")
            continue
        print(f"{dataset.name}: {dataset.licence}\nPlease cite: {dataset.citation}")
        return source
    raise OSError(_by_hand(dataset, folder, failures))


def _by_hand(dataset: Dataset, folder: Path, failures: list[str]) -> str:
    ways = [
        " and ".join(str(folder / file.name) for file in source.files)
        + f" (from {source.address}{source.wheel_folder and ', folder '}{source.wheel_folder})"
        for source in dataset.sources
    ]
    return (
        f"{dataset.name} could not be fetched. Tried:\n  " + "\n  ".join(failures) + "\n"
        "Without network, put by hand:\n  " + "\n  or ".join(ways) + "\n"
        "The files are then verified and used as they are."
    )


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            error.errno,
            f"The data folder {folder} cannot be written ({error.strerror}). Set CPREC_DATA to a "
            "folder that can be.",
        ) from error


@contextmanager
def _arriving(path: Path) -> Iterator[Path]:
    """A temporary neighbour of `path` that takes its place at the end, or vanishes on failure."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp gives 0600, and a class may share the folder
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _fetch_from(source: Source, folder: Path) -> None:
    if source.wheel_folder:
        _fetch_wheel(source, folder)
        return
    (file,) = source.files
    with _arriving(folder / file.name) as temporary:
        _download(source.address, temporary)
        _verify(temporary, file)


def _download(url: str, path: Path) -> None:
    import pooch
    from tqdm import tqdm

    with tqdm(unit="B", unit_scale=True, leave=False, file=sys.stdout) as progress:
        download = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**16, timeout=(15, 60))
        download(url, str(path), None)


def _fetch_wheel(source: Source, folder: Path) -> None:
    """Take a source's files out of a wheel that pip downloads from the index it is set up with."""
    with tempfile.TemporaryDirectory() as scratch:
        # Only wheels: building a source distribution would run its code.
        options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
        options += ["--only-binary=:all:", "--retries=1", "--timeout=15", "--dest", scratch]
        command = [sys.executable, "-m", "pip", "download", *options, source.address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise OSError(f"pip download failed: {done.stderr.strip() or done.stdout.strip()}")
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            for file in source.files:
                with _arriving(folder / file.name) as temporary:
                    temporary.write_bytes(wheel.read(f"{source.wheel_folder}/{file.name}"))
                    _verify(temporary, file)


def _cached(path: Path, read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    """`read(path)`, kept as parquet beside `path` under a name made of its hash."""
    key = f"{_digest(path, 'sha256')[:12]}-v{CACHE_VERSION}"
    cache = path.with_name(f"{path.stem}-{key}.parquet")
    if cache.is_file():
        try:
            return pd.read_parquet(cache)
        except (OSError, ValueError):
            print(f"{cache.name} is damaged and is made anew.")
    table = read(path)
    try:
        with _arriving(cache) as temporary:
            table.to_parquet(temporary, index=False)
    except OSError as error:  # a shared folder may be read-only: slower, but no reason to stop
        print(f"{cache.name} could not be kept ({error.strerror}); the next load parses again.")
    return table


# Files of the user


def _existing_file(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        raise ValueError(f"{name!r} is a folder. Give the path of a .csv, .tsv or .parquet file.")
    if not path.is_file():
        raise ValueError(
            f"{name!r} is neither a data set of the registry ({', '.join(DATASETS)}) nor an "
            "existing file. The path of a .csv, .tsv or .parquet file works as well."
        )
    return path


def _read_interactions(path: Path) -> pd.DataFrame:
    """Read and check the three columns of a user's file, in the order of the file."""
    stem = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS[1:] else path
    ending = stem.suffix.lower()
    if ending not in DELIMITERS and (ending != ".parquet" or stem != path):
        raise ValueError(
            f"{path} has an unknown ending. Known are .parquet and {', '.join(DELIMITERS)}, the "
            f"latter also with {', '.join(COMPRESSIONS[1:])} behind."
        )
    try:
        columns = _read_parquet(path) if ending == ".parquet" else _read_text(path, DELIMITERS[ending])
    except _ColumnError as error:
        raise ValueError(f"{path}: {error}") from None
    except PermissionError:
        raise
    except Exception as error:  # the readers raise many kinds on a file that is no table
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", width=240)
        raise ValueError(f"{path} cannot be read as a {ending} table ({reason}).") from error
    if not len(columns["user"]):
        raise ValueError(f"{path} has no rows. A table needs at least one interaction.")
    table = {role: _checked_ids(columns[role], f"{path}: {role}") for role in ("user", "item")}
    return pd.DataFrame(table | {"timestamp": _checked_times(columns["timestamp"], str(path))})


class _ColumnError(ValueError):
    """The header lacks a column, or has it twice."""


def _match_columns(header: list[str]) -> dict[str, str]:
    """The name in the file of each of the three columns; `user_id:token` is RecBole's spelling."""

    def plain(name: str) -> str:
        return re.sub(r"[\s_\-]", "", name.split(":")[0]).lower()

    found = {}
    for role, aliases in ALIASES.items():
        matches = [name for name in header if plain(name) in {plain(alias) for alias in aliases}]
        if not matches:
            listed = ", ".join(repr(name[:40]) for name in header[:20])
            raise _ColumnError(
                f"there is no {role} column. The first line names {listed}; accepted are "
                f"{', '.join(aliases)}, in any case. Rename the column."
            )
        if len(matches) > 1:
            raise _ColumnError(
                f"the columns {', '.join(map(repr, matches))} all stand for {role}, and one is "
                "needed. Rename or drop the others."
            )
        found[role] = matches[0]
    return found


def _read_parquet(path: Path) -> Mapping[str, Any]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        found = _match_columns(file.schema_arrow.names)
        table = file.read(columns=list(found.values()))
    return {role: _decoded(table[name]) for role, name in found.items()}


def _decoded(column: Any) -> Any:
    import pyarrow as pa

    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _read_text(path: Path, delimiter: str) -> Mapping[str, Any]:
    """Read the three columns as text first: "007" and "7" are different ids."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    parse = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with arrow_csv.open_csv(str(path), parse_options=parse) as reader:
        found = _match_columns(reader.schema.names)
    convert = arrow_csv.ConvertOptions(
        include_columns=list(found.values()),
        column_types={name: pa.string() for name in found.values()},
        strings_can_be_null=True,
    )
    table = arrow_csv.read_csv(str(path), parse_options=parse, convert_options=convert)
    columns = {role: table[name] for role, name in found.items()}
    return columns | {role: _integers_if_all(columns[role]) for role in ("user", "item")}


def _integers_if_all(column: Any) -> Any:
    import pyarrow as pa
    from pyarrow import compute

    trimmed = compute.utf8_trim_whitespace(column)
    plain = compute.match_substring_regex(trimmed, r"^(0|-?[1-9][0-9]{0,17})$")
    return trimmed.cast(pa.int64()) if compute.all(plain).as_py() else column


def _checked_ids(column: Any, what: str) -> pd.Series:
    import pyarrow as pa
    from pyarrow import compute

    missing = compute.is_null(column, nan_is_null=True).to_numpy()
    _refuse_rows(missing, column, f"{what} is missing", "Every row needs an id: fill or drop them.")
    if pa.types.is_floating(column.type):
        fraction = compute.not_equal(compute.floor(column), column).to_numpy()
        _refuse_rows(fraction, column, f"{what} is no id", "Ids are whole numbers or text.")
        return column.cast(pa.int64()).to_pandas()
    kinds = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    if not any(kind(column.type) for kind in kinds):
        raise ValueError(f"{what} has the type {column.type}. Ids are whole numbers or text.")
    return column.to_pandas()


def _checked_times(column: Any, path: str) -> pd.Series:
    import pyarrow as pa

    kind = pa.types
    if kind.is_timestamp(column.type) or kind.is_date(column.type):
        moments = column.cast(pa.timestamp("us"), safe=False)
        times = moments.cast(pa.int64()).to_pandas() / 1e6
    elif kind.is_integer(column.type) or kind.is_floating(column.type):
        times = column.to_pandas()
    else:
        times = _parsed_times(column.cast(pa.string()).to_pandas())
    bad = ~np.isfinite(times.to_numpy(dtype=float, na_value=np.nan))
    rule = "Times are finite numbers or dates such as 2024-05-31 12:00:00: fix or drop these rows."
    _refuse_rows(bad, column, f"{path}: timestamp is missing, infinite or unparsable", rule)
    dates = not (kind.is_integer(column.type) or kind.is_floating(column.type))
    return _whole(times) if dates else times


def _parsed_times(text: pd.Series) -> pd.Series:
    """Text as numbers, else as ISO dates, else as dates of another format: what reads most rows."""
    attempts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas warns where it guesses the format
        for date_format in (None, "ISO8601", "guess"):
            ...
    return min(attempts, key=lambda times: int(times.isna().sum()))
