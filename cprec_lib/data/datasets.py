"""Tables of interactions: a data set's name, or a file's path, becomes a sorted, checked table.

A data set of the registry is fetched once, checked against its hash and kept in `data_folder()`.
Nothing that a data file holds is executed, and only members with fixed names leave an archive.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import pandas as pd

from cprec_lib.data.synthetic import PREFIX, Synthetic
from cprec_lib.data.tables import COLUMNS, brief, in_order, read_table, unix_seconds
from cprec_lib.files import check_writable, make_folder, write_bytes

RATING_COLUMNS = ["user", "item", "rating", "timestamp"]
RETAIL_COUNTS = (397_924, 4_339, 3_665)  # rows, users and items after cleaning


@dataclass(frozen=True)
class DataFile:
    """A file of a source, with its hash as "algorithm:digest", None where none is published."""

    name: str
    known_hash: str | None


@dataclass(frozen=True)
class Source:
    """One place to fetch a data set from; the first file holds interactions, the last titles.

    `address` is a URL or, with a `wheel_folder`, a requirement for pip such as recbole==1.2.1.
    """

    address: str
    megabytes: int
    files: tuple[DataFile, ...]
    read_interactions: Callable[[Path], pd.DataFrame]
    read_titles: Callable[[Path], pd.Series]
    wheel_folder: str = ""


@dataclass(frozen=True)
class Dataset:
    """A data set of the registry: its terms, and its sources in the order of trial.

    `reader` is the package that reads it, where that is none of the library's dependencies.
    """

    name: str
    licence: str
    citation: str
    sources: tuple[Source, ...]
    reader: str = ""


def load_interactions(
    name_or_path: str | Path = "ml-100k", data_dir: str | Path | None = None
) -> pd.DataFrame:
    """Table with columns user, item, timestamp, sorted by user and timestamp.

    Takes a name of `DATASETS`, the path of a .csv, .tsv or .parquet file, or the description of a
    made-up log such as "synthetic:items=5000,users=2000,zipf=1.1" (see `Synthetic`). Ids stay
    the file's own, whole numbers or text. Times stay the file's numbers; dates become Unix seconds
    (UTC where they name no zone, month first where they are ambiguous). Rows with equal times keep
    the order of the file, except in MovieLens, where many ratings of a user share their second: a
    fixed seed shuffles those. Any order by id would hand the last item, the one to predict, to
    whoever reads the ids.

    Raises ValueError for an unknown name and for a file that is no table with these columns whole,
    OSError if no source can be reached, the data folder cannot be written or the package that
    reads the data set is missing.
    """
    name = str(name_or_path)
    if name in DATASETS:
        source, folder = _obtain(DATASETS[name], data_dir)
        return source.read_interactions(folder / source.files[0].name)
    if name.startswith(PREFIX):
        return Synthetic.parse(name).interactions()
    path = Path(name)
    if path.is_dir():
        raise ValueError(f"{name!r} is a folder; give the path of a .csv, .tsv or .parquet file")
    if not path.is_file():
        _registered(name, "nor a file; the path of a .csv, .tsv or .parquet file works as well")
    return in_order(read_table(path), ["user", "timestamp"])


def load_titles(name: str, data_dir: str | Path | None = None) -> pd.Series:
    """Titles of a data set of the registry: a series from original item id to title.

    MovieLens titles look like "Usual Suspects, The (1995)", without blanks around them. The second
    source of ml-100k holds title and year apart; they are joined here, to the same text. A product
    of Online Retail goes by its most frequent description.

    Raises ValueError for anything but a name of `DATASETS`, OSError as `load_interactions` does.
    """
    dataset = _registered(name, "and titles come only with these; make a pandas Series of your own")
    source, folder = _obtain(dataset, data_dir)
    return source.read_titles(folder / source.files[-1].name)


def find_item(titles: pd.Series, query: str) -> Any:
    """Original id of an item by its title, or by a part of the title that no other title has.

    An exact match goes before one in another case, and that before a part; where items share the
    title, the first of them counts. Raises ValueError, with up to five nearest
    titles, if no title contains `query` or several do.
    """
    lower, wanted = titles.str.lower(), query.strip().lower()
    containing = lower.str.contains(wanted, regex=False)
    for fits in (titles == query, lower == wanted, containing):
        if lower[fits].nunique() == 1:
            return titles.index[fits].tolist()[0]
    candidates = (lower[containing] if containing.any() else lower).unique().tolist()
    original = dict(zip(lower, titles, strict=True))
    nearest = [original[near] for near in get_close_matches(wanted, candidates, n=5, cutoff=0)]
    raise ValueError(
        f"{'more than one title contains' if containing.any() else 'no title contains'} {query!r}; "
        f"the nearest are: {'; '.join(nearest)}"
    )


def is_present(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether a data set of the registry lies in the data folder, whole and with the right hash.

    Raises ValueError for anything but a name of `DATASETS`.
    """
    dataset = _registered(name, "the data sets that can be fetched")
    try:
        return _find(dataset, data_folder(data_dir)) is not None
    except ValueError:
        return False


def damaged_files(name: str, data_dir: str | Path | None = None) -> list[str]:
    """Names of a data set's files in the data folder that do not have the published checksum.

    Raises ValueError for anything but a name of `DATASETS`.
    """
    dataset, folder = _registered(name, "the data sets that can be fetched"), data_folder(data_dir)
    damaged = []
    for file in (file for source in dataset.sources for file in source.files):
        try:
            if (folder / file.name).is_file():
                _verify(folder / file.name, file.known_hash)
        except ValueError:
            damaged.append(file.name)
    return damaged


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Where downloads go: `data_dir`, else CPREC_DATA, else a checkout's data/, else a cache."""
    chosen = data_dir or os.environ.get("CPREC_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    import pooch

    return Path(pooch.os_cache("cprec"))


def _registered(name: str, hint: str) -> Dataset:
    if name not in DATASETS:
        raise ValueError(f"{str(name)!r} is none of the data sets {', '.join(DATASETS)}, {hint}")
    return DATASETS[name]


# ---- Fetch and verify ----


def _obtain(dataset: Dataset, data_dir: str | Path | None) -> tuple[Source, Path]:
    folder = data_folder(data_dir)
    found = _find(dataset, folder)
    # Before the download, which may take minutes.
    if dataset.reader and find_spec(dataset.reader.replace("-", "_")) is None:
        raise OSError(
            f"{dataset.name} takes the package {dataset.reader} to read, which is not installed; "
            f"run `pip install {dataset.reader}`"
        )
    return found or _fetch(dataset, folder), folder


def _find(dataset: Dataset, folder: Path) -> Source | None:
    """The first source all of whose files lie in the folder, verified."""
    for source in dataset.sources:
        if all((folder / file.name).is_file() for file in source.files):
            for file in source.files:
                _verify(folder / file.name, file.known_hash)
            return source
    return None


def _verify(path: Path, known_hash: str | None) -> None:
    if known_hash is None:  # its content is checked when it is parsed
        found, expected = ("a zip file" if is_zipfile(path) else "no zip file"), "a zip file"
    else:
        algorithm, _, expected = known_hash.partition(":")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is damaged or another file: expected {expected}, found {found}. "
            "Delete it, and it is fetched again"
        )


def _fetch(dataset: Dataset, folder: Path) -> Source:
    """Try the sources in turn; print the terms of the data set when one has delivered."""
    way_out = "set CPREC_DATA to one that can be written"
    check_writable(make_folder(folder, way_out), way_out)
    failures = []
    for source in dataset.sources:
        print(f"Fetching {dataset.name} (about {source.megabytes} MB) from {source.address}")
        try:
            (_fetch_from_wheel if source.wheel_folder else _fetch_url)(source, folder)
        except (OSError, ValueError, LookupError, BadZipFile, subprocess.SubprocessError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                room = f"{dataset.name} needs {source.megabytes} MB in {folder}, whose disk is full"
                raise OSError(errno.ENOSPC, f"{room}; free some, or set CPREC_DATA") from error
            failures.append(f"{source.address}: {brief(error)}")
            print(f"This source failed: {brief(error)}")
        else:
            print(f"{dataset.licence} Please cite: {dataset.citation}")
            return source
    by_hand = [
        f"{' and '.join(str(folder / file.name) for file in source.files)}, "
        f"from {source.address} {source.wheel_folder}".rstrip()
        for source in dataset.sources
    ]
    raise OSError(
        f"{dataset.name} could not be fetched. Tried:\n- " + "\n- ".join(failures) + "\nPut it "
        "there by hand, and it is checked and used without network:\n- " + "\n- or ".join(by_hand)
    )


def _fetch_url(source: Source, folder: Path) -> None:
    """Download one zip file; pooch gives it its name only when it is whole and its hash right."""
    import pooch
    from tqdm import tqdm

    def download(url: str, path: str, _: object) -> None:
        size = source.megabytes * 10**6  # until the server tells
        with tqdm(total=size, unit="B", unit_scale=True, leave=False, file=sys.stdout) as bar:
            get = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=(15, 60))
            get(url, path, None)
        if not is_zipfile(path):
            raise ValueError("the answer is no zip file")

    pooch.get_logger().setLevel("ERROR")  # it would write to stderr, which notebooks keep clean
    (file,) = source.files
    pooch.retrieve(source.address, file.known_hash, file.name, folder, downloader=download)
    (folder / file.name).chmod(0o644)  # pooch leaves 0600, and a class may share the folder


def _fetch_from_wheel(source: Source, folder: Path) -> None:
    """Take files out of a wheel, which pip brings from the package index that it is set up for."""
    with tempfile.TemporaryDirectory() as scratch:
        # Wheels only: to download a source distribution, pip would run its code.
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
                _verify(taken, file.known_hash)
                write_bytes(folder / file.name, taken.read_bytes())


# ---- Read the files of the registry ----


def _read_ratings(ratings: Any, **layout: Any) -> pd.DataFrame:
    types = {"user": "int32", "item": "int32", "timestamp": "int64"}
    table = pd.read_csv(ratings, usecols=COLUMNS, dtype=types, **layout)
    # Sorted by item first, so that the sources of a data set, whose files differ in order, agree.
    table = in_order(table, ["user", "timestamp", "item"])
    draw = np.random.default_rng(0).permutation(len(table))
    # A number for each user's second: sorting these takes two thirds of sorting three columns.
    steps = [np.diff(table[name], prepend=table[name][:1]) for name in ("user", "timestamp")]
    second = ((steps[0] != 0) | (steps[1] != 0)).cumsum()
    order = np.argsort(second * len(table) + draw, kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _read_zipped_ratings(path: Path) -> pd.DataFrame:
    """The ratings of a GroupLens archive, read from the zip without unpacking it."""
    # The separator of ml-1m is "::", hence the empty columns. Columns not wanted have numbers.
    columns_1m = ["user", "1", "item", "2", "3", "4", "timestamp"]
    member, layout = {
        "ml-100k": ("u.data", {"sep": "\t", "names": RATING_COLUMNS}),
        "ml-1m": ("ratings.dat", {"sep": ":", "names": columns_1m}),
    }.get(path.stem, ("ratings.csv", {"header": 0, "names": RATING_COLUMNS}))
    with ZipFile(path) as archive, archive.open(f"{path.stem}/{member}") as ratings:
        return _read_ratings(ratings, **layout)


def _read_zipped_movies(path: Path) -> pd.Series:
    member, separator, encoding = {
        "ml-100k": ("u.item", "|", "latin-1"),
        "ml-1m": ("movies.dat", "::", "latin-1"),
    }.get(path.stem, ("movies.csv", ",", "utf-8"))
    with ZipFile(path) as archive:
        lines = archive.read(f"{path.stem}/{member}").decode(encoding).split("\n")
    rows = csv.reader(lines) if separator == "," else (line.split(separator) for line in lines)
    return _title_series({int(row[0]): row[1] for row in rows if row and row[0].isdigit()})


def _read_recbole_ratings(path: Path) -> pd.DataFrame:
    return _read_ratings(path, sep="\t", header=0, names=RATING_COLUMNS)


def _title_series(titles: dict[Any, str]) -> pd.Series:
    return pd.Series(titles, name="title").str.strip().rename_axis("item")


def _read_recbole_movies(path: Path) -> pd.Series:
    """Join title and year of RecBole's .item file; the year is whatever the last brackets held."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:] if line]
    titles = _title_series({int(row[0]): f"{row[1]} ({row[2]})" for row in rows})
    # Movie 267 has neither title nor year: "unknown" at GroupLens, misspelt in this file.
    return titles.replace("unkonwn (unkonwn)", "unknown")


def _read_sheet(path: Path) -> pd.DataFrame:
    """Purchases by known customers in Online Retail; cancelled invoices begin with C."""
    text = {"InvoiceNo": str, "StockCode": str, "Description": str}
    columns = [*text, "Quantity", "InvoiceDate", "CustomerID"]
    with ZipFile(path) as archive:
        workbook = io.BytesIO(archive.read("Online Retail.xlsx"))
    # openpyxl, the default engine, takes minutes where calamine takes ten seconds.
    sheet = pd.read_excel(workbook, usecols=columns, dtype=text, engine="calamine")
    sheet = sheet[sheet["CustomerID"].notna() & (sheet["Quantity"] > 0)]
    sheet = sheet[~sheet["InvoiceNo"].str.startswith("C")]
    counts = (len(sheet), sheet["CustomerID"].nunique(), sheet["StockCode"].nunique())
    if counts != RETAIL_COUNTS:
        raise ValueError(
            f"{path} has {counts} rows, users and items instead of {RETAIL_COUNTS}: it is damaged "
            "or another edition. Delete it, and it is fetched again"
        )
    return sheet


def _read_purchases(path: Path) -> pd.DataFrame:
    sheet = _read_sheet(path)
    times = unix_seconds(pd.to_datetime(sheet["InvoiceDate"], utc=True))
    table = sheet.assign(user=sheet["CustomerID"].astype("int64"), timestamp=times)
    return in_order(table.rename(columns={"StockCode": "item"})[COLUMNS], ["user", "timestamp"])


def _read_products(path: Path) -> pd.Series:
    sheet = _read_sheet(path)
    by_item = sheet["Description"].groupby(sheet["StockCode"])
    return _title_series(by_item.agg(lambda texts: texts.value_counts().index[0]).to_dict())


# ---- The registry ----


def _movielens(name: str, md5: str, megabytes: int, *others: Source) -> Dataset:
    address = f"https://files.grouplens.org/datasets/movielens/{name}.zip"
    files = (DataFile(f"{name}.zip", f"md5:{md5}"),)
    source = Source(address, megabytes, files, _read_zipped_ratings, _read_zipped_movies)
    sharing = "pass it on under the same terms only" if name == "ml-32m" else "do not pass it on"
    licence = f"Licence: use {name} for research, not for commerce; {sharing}."
    citation = (
        "F. M. Harper, J. A. Konstan (2015), The MovieLens Datasets: History and Context, "
        "ACM Transactions on Interactive Intelligent Systems 5(4), doi 10.1145/2827872."
    )
    return Dataset(name, licence, citation, (source, *others))


RECBOLE = Source(
    address="recbole==1.2.1",
    megabytes=2,
    files=(
        DataFile(
            "ml-100k.inter",
            "sha256:4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
        ),
        DataFile(
            "ml-100k.item",
            "sha256:51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
        ),
    ),
    read_interactions=_read_recbole_ratings,
    read_titles=_read_recbole_movies,
    wheel_folder="recbole/dataset_example/ml-100k",
)
ONLINE_RETAIL = Dataset(
    name="online-retail",
    licence="Licence: CC BY 4.0.",
    citation="D. Chen (2015), Online Retail, UCI Machine Learning Repository, doi 10.24432/C5BW33.",
    reader="python-calamine",
    sources=(
        Source(
            address="https://archive.ics.uci.edu/static/public/352/online+retail.zip",
            megabytes=23,
            files=(DataFile("online-retail.zip", None),),
            read_interactions=_read_purchases,
            read_titles=_read_products,
        ),
    ),
)
DATASETS = {
    "ml-100k": _movielens("ml-100k", "0e33842e24a9c977be4e0107933c0723", 5, RECBOLE),
    "ml-1m": _movielens("ml-1m", "c4d9eecfca2ab87c1945afe126590906", 6),
    "ml-20m": _movielens("ml-20m", "cd245b17a1ae2cc31bb14903e1204af3", 190),
    "ml-25m": _movielens("ml-25m", "6b51fb2759a8657d3bfcbfc42b592ada", 250),
    "ml-32m": _movielens("ml-32m", "d472be332d4daa821edc399621853b57", 239),
    "online-retail": ONLINE_RETAIL,
}
