"""Readers for the sources of the registry: GroupLens, RecBole, UCI."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd

from cprec_lib.logs.columns import unix_seconds
from cprec_lib.logs.tables import COLUMNS, in_order, read_table

RATING_COLUMNS = ["user", "item", "rating", "timestamp"]
TYPES = {"user": "int32", "item": "int32", "timestamp": "int64"}
LEAST_RATINGS = 5
RETAIL_COUNTS = (397_924, 4_339, 3_665)  # rows, users and items after cleaning


def read_grouplens(path: Path) -> pd.DataFrame:
    """The ratings of a GroupLens archive, read from the zip without unpacking it."""
    if path.stem == "ml-100k":
        return _shuffled_seconds(_ratings(path, "u.data", sep="\t", names=RATING_COLUMNS))
    return _shuffled_seconds(_ratings(path, "ratings.csv", header=0, names=RATING_COLUMNS))


def read_ml_1m(path: Path) -> pd.DataFrame:
    """MovieLens-1M: films with 5 ratings or more, each user's in time order.

    Ratings of one second keep the order of the file, which does not follow the ids. The timestamp
    is the position in the user's sequence. The recorded runs used this table.
    """
    # The separator "::" makes empty columns. Unwanted columns have numbers as names.
    names = ["user", "1", "item", "2", "3", "4", "timestamp"]
    table = in_order(_ratings(path, "ratings.dat", sep=":", names=names), ["user", "timestamp"])
    often = table.groupby("item")["user"].transform("size") >= LEAST_RATINGS
    table = table[often].reset_index(drop=True)
    return table.assign(timestamp=table.groupby("user").cumcount())


def read_recbole(path: Path) -> pd.DataFrame:
    """The ratings of MovieLens-100K in RecBole's format."""
    return _shuffled_seconds(read_table(path).astype(TYPES))


def _ratings(path: Path, member: str, **layout: Any) -> pd.DataFrame:
    with ZipFile(path) as archive, archive.open(f"{path.stem}/{member}") as ratings:
        return pd.read_csv(ratings, usecols=COLUMNS, dtype=TYPES, **layout)


def _shuffled_seconds(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by user and time; equal times get an order drawn by a fixed seed."""
    # Sorted by item too, so that all sources of a data set give the same order.
    table = in_order(table, ["user", "timestamp", "item"])
    draw = np.random.default_rng(0).permutation(len(table))
    # One number per user and second: sorting it takes two thirds of sorting three columns.
    steps = [np.diff(table[name], prepend=table[name][:1]) for name in ("user", "timestamp")]
    second = ((steps[0] != 0) | (steps[1] != 0)).cumsum()
    order = np.argsort(second * len(table) + draw, kind="stable")
    return table.iloc[order].reset_index(drop=True)


def read_grouplens_titles(path: Path) -> pd.Series:
    """The titles of a GroupLens archive."""
    member, separator, encoding = {
        "ml-100k": ("u.item", "|", "latin-1"),
        "ml-1m": ("movies.dat", "::", "latin-1"),
    }.get(path.stem, ("movies.csv", ",", "utf-8"))
    with ZipFile(path) as archive:
        lines = archive.read(f"{path.stem}/{member}").decode(encoding).split("\n")
    rows = csv.reader(lines) if separator == "," else (line.split(separator) for line in lines)
    return title_series({int(row[0]): row[1] for row in rows if row and row[0].isdigit()})


def read_recbole_titles(path: Path) -> pd.Series:
    """Title and year of RecBole's .item file, joined."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:] if line]
    titles = title_series({int(row[0]): f"{row[1]} ({row[2]})" for row in rows})
    # Movie 267 has neither title nor year: "unknown" at GroupLens, misspelt in this file.
    return titles.replace("unkonwn (unkonwn)", "unknown")


def title_series(titles: dict[Any, str]) -> pd.Series:
    """Titles by original item id, without surrounding blanks."""
    return pd.Series(titles, name="title", dtype="str").str.strip().rename_axis("item")


def read_retail(path: Path) -> pd.DataFrame:
    """Purchases of Online Retail; those of one basket keep the order of the invoice."""
    sheet = _read_sheet(path)
    times = unix_seconds(pd.to_datetime(sheet["InvoiceDate"], utc=True))
    table = sheet.assign(user=sheet["CustomerID"].astype("int64"), timestamp=times)
    return in_order(table.rename(columns={"StockCode": "item"})[COLUMNS], ["user", "timestamp"])


def read_retail_titles(path: Path) -> pd.Series:
    """Each product's most frequent description."""
    sheet = _read_sheet(path)
    by_item = sheet["Description"].groupby(sheet["StockCode"])
    return title_series(by_item.agg(lambda texts: texts.value_counts().index[0]).to_dict())


def _read_sheet(path: Path) -> pd.DataFrame:
    """Purchases by known customers in Online Retail, without cancelled invoices (C...)."""
    text = {"InvoiceNo": str, "StockCode": str, "Description": str}
    columns = [*text, "Quantity", "InvoiceDate", "CustomerID"]
    with ZipFile(path) as archive:
        workbook = io.BytesIO(archive.read("Online Retail.xlsx"))
    # calamine takes ten seconds; openpyxl, the default engine, takes minutes.
    sheet = pd.read_excel(workbook, usecols=columns, dtype=text, engine="calamine")
    sheet = sheet[sheet["CustomerID"].notna() & (sheet["Quantity"] > 0)]
    sheet = sheet[~sheet["InvoiceNo"].str.startswith("C")]
    counts = (len(sheet), sheet["CustomerID"].nunique(), sheet["StockCode"].nunique())
    if counts != RETAIL_COUNTS:
        raise ValueError(f"it has {counts} rows, users and items instead of {RETAIL_COUNTS}")
    return sheet
