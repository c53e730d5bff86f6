"""The registry: names, prepared tables, titles."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cprec_lib.logs import datasets
from cprec_lib.logs.datasets import (
    data_folder,
    find_item,
    is_present,
    load_interactions,
    load_titles,
    title_of,
)
from tests.logs.registry import Server, address_of, expect, rows


def test_amazon_beauty_is_pairs_in_order_of_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = b"1 9\n1 7\n3 9\n2 8\n1 9\n"
    expect(monkeypatch, "amazon-beauty", 0, [server.content], address_of(server))
    expected = [(1, 9, 0), (1, 7, 1), (1, 9, 2), (2, 8, 0), (3, 9, 0)]
    assert rows(load_interactions("amazon-beauty", tmp_path)) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["beauty.txt"]
    assert load_titles("amazon-beauty", tmp_path).empty


def test_globo_says_where_to_get_it_and_reads_its_clicks(tmp_path: Path, no_network: None) -> None:
    assert not is_present("globo", tmp_path)
    with pytest.raises(OSError, match=r"globo cannot be fetched by a command.*Kaggle") as caught:
        load_interactions("globo", tmp_path)
    assert str(tmp_path / "globo") in str(caught.value)
    (tmp_path / "globo").mkdir()
    header = "user_id,session_id,session_start,session_size,click_article_id,click_timestamp,x\n"
    for hour, row in enumerate(("0,1,5,2,119,1506826828020,4", "0,1,5,2,96,1506826800026,4")):
        (tmp_path / "globo" / f"clicks_hour_00{hour}.csv").write_text(header + row + "\n")
    assert is_present("globo", tmp_path)
    expected = [(0, 96, 1506826800026), (0, 119, 1506826828020)]
    assert rows(load_interactions("globo", tmp_path)) == expected


@pytest.mark.parametrize("name", ["ml-1m", "amazon-beauty", "globo"])
def test_a_prepared_table_is_the_data_set(name: str, tmp_path: Path, no_network: None) -> None:
    table = pd.DataFrame({"user": [2, 1, 1], "item": [5, 6, 6], "timestamp": [0, 1, 1]})
    table.to_parquet(tmp_path / f"{name}.parquet")
    assert is_present(name, tmp_path)
    assert rows(load_interactions(name, tmp_path)) == [(1, 6, 1), (1, 6, 1), (2, 5, 0)]
    assert load_titles(name, tmp_path).empty
    (tmp_path / f"{name}.titles.csv").write_text('item,title,genres\n5,"Heat, The ",x\n6,,y\n')
    assert load_titles(name, tmp_path).to_dict() == {5: "Heat, The"}


@pytest.mark.parametrize("content", [b"item,name\n5,x\n", b"id,title\n5,x\n", b"\xff\xfe", b""])
def test_titles_that_are_no_table_are_named(content: bytes, tmp_path: Path) -> None:
    pd.DataFrame({"user": [2], "item": [5], "timestamp": [0]}).to_parquet(
        tmp_path / "globo.parquet"
    )
    (tmp_path / "globo.titles.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"globo\.titles\.csv(: | cannot be read as a table)"):
        load_titles("globo", tmp_path)


def test_titles_for_figures() -> None:
    assert title_of("ml-1m") == "MovieLens-1M"
    assert title_of("logs/mine.csv") == "logs/mine.csv"
    assert all(dataset.name == name for name, dataset in datasets.DATASETS.items())
    assert len({title_of(name) for name in datasets.DATASETS}) == len(datasets.DATASETS)


def test_paths_without_a_home_and_empty_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.csv").write_text("user,item,time\n1,2,3\n")
    monkeypatch.chdir(tmp_path)
    assert len(load_interactions(".")) == 1
    with pytest.raises(ValueError, match="the path is empty"):
        load_interactions("")
    with pytest.raises(ValueError, match=r"~no-such-user/log\.csv: .*home"):
        load_interactions("~no-such-user/log.csv")
    monkeypatch.setenv("CPREC_DATA", "~no-such-user/data")
    with pytest.raises(ValueError, match=r"~no-such-user/data: .*home"):
        data_folder()


def test_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPREC_DATA", str(tmp_path / "room"))
    assert data_folder() == tmp_path / "room"
    assert data_folder(tmp_path) == tmp_path
    monkeypatch.delenv("CPREC_DATA")
    checkout = tmp_path / "checkout"
    package = checkout / "cprec_lib" / "logs"
    package.mkdir(parents=True)
    monkeypatch.setattr(datasets, "__file__", str(package / "datasets.py"))
    assert data_folder().name == "cprec"
    (checkout / "pyproject.toml").touch()
    assert data_folder() == checkout.resolve() / "data"


def test_unknown_name_lists_the_registry() -> None:
    with pytest.raises(ValueError, match=r"'ml-10m' is none of .*ml-100k, ml-1m.*\.csv") as caught:
        load_interactions("ml-10m")
    assert all(name in str(caught.value) for name in datasets.DATASETS)
    with pytest.raises(ValueError, match=r"titles come only with these"):
        load_titles("log.csv")
    with pytest.raises(ValueError, match="globo, online-retail"):
        is_present("ml-10m")


# ---- Titles ----

MOVIES = pd.Series(
    {
        1: "Alien (1979)",
        2: "Aliens (1986)",
        3: "Heat (1995)",
        4: "heat (1995)",
        5: "Godfather, The (1972)",
        6: "Alien (1979)",
    },
    name="title",
)


@pytest.mark.parametrize(
    ("query", "item"),
    [
        ("Alien (1979)", 1),
        ("heat (1995)", 4),
        ("HEAT (1995)", 3),
        (" aliens (1986) ", 2),
        ("godfather", 5),
        ("(1972)", 5),
    ],
)
def test_find_item(query: str, item: int) -> None:
    assert find_item(MOVIES, query) == item


def test_find_item_lists_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no title contains 'The Godfather'.*: Godfather, The"):
        find_item(MOVIES, "The Godfather")
    with pytest.raises(ValueError, match=r"more than one title contains 'alien'") as caught:
        find_item(MOVIES, "alien")
    assert str(caught.value).endswith("the nearest are: Alien (1979); Aliens (1986)")
