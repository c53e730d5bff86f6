"""The registry of data sets; `load_interactions` turns a name or a path into a sorted table.

Each data set has one name, here and in every run and record; figures show its title.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from cprec_lib.files import named_path
from cprec_lib.logs import formats
from cprec_lib.logs.downloads import AGAIN, DataFile, Source, fetch, find, verify
from cprec_lib.logs.synthetic import PREFIX, Synthetic
from cprec_lib.logs.tables import (
    COLUMNS,
    brief,
    in_order,
    is_pattern,
    naming,
    read_log,
    read_table,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Dataset:
    """A data set of the registry: its title, its terms, and its sources in the order to try them.

    A data set without sources is put into the data folder by hand; `by_hand` says where to get it.
    `reader` names the package that reads it, if the library does not depend on that package.
    """

    name: str
    title: str
    licence: str
    citation: str
    sources: tuple[Source, ...] = ()
    reader: str = ""
    by_hand: str = ""


def load_interactions(
    name_or_path: str | Path = "ml-100k",
    data_dir: str | Path | None = None,
    *,
    user_column: str | int | None = None,
    item_column: str | int | None = None,
    time_column: str | int | None = None,
    separator: str | None = None,
) -> pd.DataFrame:
    """Table with columns user, item, timestamp, sorted by user and timestamp.

    Takes a name of `DATASETS`, the path of a log, or the description of a made-up log such as
    "synthetic:items=5000,users=2000,zipf=1.1" (see `Synthetic`).

    A log is text (.csv, .tsv, .inter, .dat, .data, .txt; also .gz, .bz2, .xz or .zip), .jsonl or
    .parquet, a folder of such parts, or a pattern such as logs/2024-*.parquet. Its columns are
    found by their usual names, or given by name or, in a text without header, by number from 0.
    `time_column` may also be "date+clock", two columns to join, or "order": the rows are in time
    order, as in a text of `user item` pairs, and the timestamp is the position in the user's
    sequence. With `item_column="1:"` each line of a
    text is a user followed by a sequence of items; with "0:" each line is a session.

    Ids are those of the file, whole numbers or text, without surrounding blanks. Times are the
    numbers of the file; dates become Unix seconds (UTC unless they name a zone). Rows with equal
    times keep the order of the file. In MovieLens, except ml-1m, a fixed seed shuffles the ratings
    of one second instead: an order by id would reveal the item to predict.

    A table DATA/NAME.parquet in the data folder, or a folder DATA/NAME of parts, replaces the data
    set NAME. Warns if a log mixes units of time or repeats rows, and if the order of its rows
    decides many users' last items. Raises ValueError for an unknown name and for a file that is not
    such a table, OSError if no source can be reached, the data folder cannot be written or the
    package that reads the data set is missing.
    """
    name = str(name_or_path)
    if name in DATASETS:
        prepared = _prepared(name, data_dir)
        if prepared:
            return in_order(read_table(prepared), ["user", "timestamp"])
        source, folder = _obtain(DATASETS[name], data_dir)
        return _read(source.read_interactions, folder / source.files[0].name)
    if name.startswith(PREFIX):
        return Synthetic.parse(name).interactions()
    path = named_path(name)
    if not (path.exists() or is_pattern(path)):
        _registered(name, "nor a file; the path of a .csv, .tsv or .parquet file works as well")
    return read_log(path, *as_given(user_column, item_column, time_column, separator))


def as_given(
    user_column: str | int | None = None,
    item_column: str | int | None = None,
    time_column: str | int | None = None,
    separator: str | None = None,
) -> tuple[dict[str, str], str | None]:
    """Options of `load_interactions` as `tables.read_table` takes them: columns and separator."""
    options = zip(COLUMNS, (user_column, item_column, time_column), strict=True)
    named = {role: str(column) for role, column in options if column is not None}
    return named, separator and separator.replace("\\t", "\t")


def load_titles(name: str, data_dir: str | Path | None = None) -> pd.Series:
    """Titles of a data set of the registry: a series from original item id to title.

    MovieLens titles look like "Usual Suspects, The (1995)". The second source of ml-100k has
    separate titles and years, which are joined to the same text. The title of a product of Online
    Retail is its most frequent description. For a prepared DATA/NAME.parquet, titles come from
    DATA/NAME.titles.csv with columns item and title. A data set without titles has an empty series.

    Raises ValueError for anything but a name of `DATASETS`, OSError as `load_interactions` does.
    """
    dataset = _registered(name, "and titles come only with these; make a pandas Series of your own")
    beside = data_folder(data_dir) / f"{name}.titles.csv"
    if beside.is_file():
        with naming(beside):
            titles = pd.read_csv(beside, index_col="item")["title"].dropna()
        return formats.title_series(titles.to_dict())
    if _prepared(name, data_dir) or not any(source.read_titles for source in dataset.sources):
        return formats.title_series({})
    source, folder = _obtain(dataset, data_dir)
    assert source.read_titles  # of one data set, all sources have titles or none
    return _read(source.read_titles, folder / source.files[-1].name)


def title_of(name: str) -> str:
    """Title of a log on a figure or in a claim, as "MovieLens-1M"; without one, its name."""
    return DATASETS[name].title if name in DATASETS else name


def find_item(titles: pd.Series, query: str) -> Any:
    """Original id of an item by its title, or by a part of the title that is unique.

    An exact match is preferred to one in another case, and that to a part; of several items with
    the same title the first is taken. Raises ValueError, naming up to five near titles, if no title
    contains `query` or several do.
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
    """Whether the data folder has all files of a data set of the registry, undamaged.

    Raises ValueError for anything but a name of `DATASETS`.
    """
    dataset, folder = _registered(name, "the data sets that can be fetched"), data_folder(data_dir)
    try:
        found = _prepared(name, folder) or find(dataset.sources, folder)
    except ValueError:
        return False
    return found is not None


def damaged_files(name: str, data_dir: str | Path | None = None) -> list[str]:
    """Names of a data set's files in the data folder whose checksum is wrong.

    Raises ValueError for anything but a name of `DATASETS`.
    """
    dataset, folder = _registered(name, "the data sets that can be fetched"), data_folder(data_dir)
    damaged = []
    for file in (file for source in dataset.sources for file in source.files):
        try:
            if (folder / file.name).is_file():
                verify(folder / file.name, file.known_hash)
        except ValueError:
            damaged.append(file.name)
    return damaged


def data_folder(data_dir: str | Path | None = None) -> Path:
    """The folder for downloads: `data_dir`, CPREC_DATA, data/ of a checkout, or a cache."""
    chosen = data_dir or os.environ.get("CPREC_DATA")
    if chosen:
        return named_path(chosen).absolute()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    import pooch

    return Path(pooch.os_cache("cprec"))


def _registered(name: str, hint: str) -> Dataset:
    if name not in DATASETS:
        raise ValueError(f"{str(name)!r} is none of the data sets {', '.join(DATASETS)}, {hint}")
    return DATASETS[name]


def _prepared(name: str, data_dir: str | Path | None) -> Path | None:
    """The user's own table of a data set, or a folder of its parts, in the data folder."""
    folder = data_folder(data_dir)
    table, parts = folder / f"{name}.parquet", folder / name
    return table if table.is_file() else parts if parts.is_dir() else None


def _obtain(dataset: Dataset, data_dir: str | Path | None) -> tuple[Source, Path]:
    folder = data_folder(data_dir)
    found = find(dataset.sources, folder)
    # Before the download, which may take minutes.
    if dataset.reader and find_spec(dataset.reader.replace("-", "_")) is None:
        raise OSError(
            f"{dataset.name} takes the package {dataset.reader} to read, which is not installed; "
            f"run `pip install {dataset.reader}`"
        )
    if dataset.by_hand:
        raise OSError(
            f"{dataset.name} cannot be fetched by a command. {dataset.by_hand} Put its files into "
            f"the folder {folder / dataset.name}, or a table with columns user, item and timestamp "
            f"as {folder / dataset.name}.parquet. {dataset.licence}"
        )
    if found is None:
        found = fetch(dataset.name, dataset.sources, folder)
        print(f"{dataset.licence} Please cite: {dataset.citation}")
    return found, folder


def _read(reader: Callable[[Path], T], path: Path) -> T:
    """Read a file of the registry. Raises ValueError, naming the file, if it is damaged."""
    try:
        return reader(path)
    except (ImportError, MemoryError, PermissionError):
        raise
    except Exception as error:  # zipfile, zlib, pandas and calamine raise many kinds
        raise ValueError(
            f"{path} is damaged or another edition ({brief(error)}). {AGAIN}"
        ) from error


# ---- The registry ----


def _movielens(name: str, title: str, md5: str, megabytes: int, *others: Source) -> Dataset:
    address = f"https://files.grouplens.org/datasets/movielens/{name}.zip"
    files = (DataFile(f"{name}.zip", f"md5:{md5}"),)
    read = formats.read_ml_1m if name == "ml-1m" else formats.read_grouplens
    source = Source(address, megabytes, files, read, formats.read_grouplens_titles)
    sharing = "pass it on under the same terms only" if name == "ml-32m" else "do not pass it on"
    licence = f"Licence: use {name} for research, not for commerce; {sharing}."
    citation = (
        "F. M. Harper, J. A. Konstan (2015), The MovieLens Datasets: History and Context, "
        "ACM Transactions on Interactive Intelligent Systems 5(4), doi 10.1145/2827872."
    )
    return Dataset(name, title, licence, citation, (source, *others))


RATINGS_SHA256 = "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff"
MOVIES_SHA256 = "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532"
BEAUTY_SHA256 = "f480b7a7403852342ffd8f9809bb30697dd669be31813d0e204b698fec86ef49"
RECBOLE = Source(
    address="recbole==1.2.1",
    megabytes=2,
    files=(
        DataFile("ml-100k.inter", f"sha256:{RATINGS_SHA256}"),
        DataFile("ml-100k.item", f"sha256:{MOVIES_SHA256}"),
    ),
    read_interactions=formats.read_recbole,
    read_titles=formats.read_recbole_titles,
    wheel_folder="recbole/dataset_example/ml-100k",
)
BEAUTY = Dataset(
    name="amazon-beauty",
    title="Amazon Beauty",
    licence="Licence: research use; the rows of the repository FeiSun/BERT4Rec.",
    citation="J. McAuley et al. (2015), Image-based Recommendations on Styles and Substitutes, "
    "SIGIR; F. Sun et al. (2019), BERT4Rec, CIKM.",
    sources=(
        Source(
            address="https://raw.githubusercontent.com/FeiSun/BERT4Rec/"
            "615eaf2004abecda487a38d5b0c72f3dcfcae5b3/data/beauty.txt",
            megabytes=4,
            files=(DataFile("beauty.txt", f"sha256:{BEAUTY_SHA256}"),),
            read_interactions=lambda path: in_order(read_table(path), ["user", "timestamp"]),
        ),
    ),
)
GLOBO = Dataset(
    name="globo",
    title="Globo.com news",
    licence="Licence: academic and educational use only.",
    citation="G. de Souza P. Moreira et al. (2018), News Session-Based Recommendations Using Deep "
    "Neural Networks, DLRS.",
    by_hand="Get 'News Portal User Interactions by Globo.com' of G. Moreira from Kaggle, where one "
    "has to sign in and accept the terms, and unpack its clicks, clicks_hour_000.csv and so on.",
)
ONLINE_RETAIL = Dataset(
    name="online-retail",
    title="Online Retail",
    licence="Licence: CC BY 4.0.",
    citation="D. Chen (2015), Online Retail, UCI Machine Learning Repository, doi 10.24432/C5BW33.",
    reader="python-calamine",
    sources=(
        Source(
            address="https://archive.ics.uci.edu/static/public/352/online+retail.zip",
            megabytes=23,
            files=(DataFile("online-retail.zip", None),),
            read_interactions=formats.read_retail,
            read_titles=formats.read_retail_titles,
        ),
    ),
)
DATASETS = {
    dataset.name: dataset
    for dataset in (
        _movielens("ml-100k", "MovieLens-100K", "0e33842e24a9c977be4e0107933c0723", 5, RECBOLE),
        _movielens("ml-1m", "MovieLens-1M", "c4d9eecfca2ab87c1945afe126590906", 6),
        _movielens("ml-20m", "MovieLens-20M", "cd245b17a1ae2cc31bb14903e1204af3", 190),
        _movielens("ml-25m", "MovieLens-25M", "6b51fb2759a8657d3bfcbfc42b592ada", 250),
        _movielens("ml-32m", "MovieLens-32M", "d472be332d4daa821edc399621853b57", 239),
        BEAUTY,
        GLOBO,
        ONLINE_RETAIL,
    )
}
