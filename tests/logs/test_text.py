"""Text files: quotes, separators, compression, sequences, and the kinds that others publish."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cprec_lib.logs.datasets import load_interactions
from tests.logs.writing import HEADER, load_text, quietly, rows, write


@pytest.mark.parametrize("user", ["01", "+1", "0x1F", "-0", "1.5", "1_0", "9" * 19, "a\u00e9"])
def test_text_that_is_no_plain_integer_stays_text(user: str, tmp_path: Path) -> None:
    table = load_text(tmp_path, HEADER + f"10,1,1\n{user},1,1\n")
    assert sorted(table["user"]) == sorted(["10", user])


def test_a_late_word_makes_all_ids_text(tmp_path: Path) -> None:
    n = 300_000  # several blocks of integers before it
    content = HEADER + "".join(f"1,{row},{row}\n" for row in range(n)) + f"1,last,{n}\n"
    items = load_text(tmp_path, content)["item"].tolist()
    assert items == [*map(str, range(n)), "last"]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zip"])
def test_compressed_text(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"my.log.csv{ending}"
    pd.DataFrame({"user": [1], "item": [2], "time": [3]}).to_csv(path, index=False)
    assert rows(load_interactions(str(path))) == [(1, 2, 3)]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\r\r\n"])
def test_line_ends_of_other_systems(end: str, tmp_path: Path) -> None:
    content = HEADER + '1,"a",1\n1,b,2\n'
    assert rows(load_text(tmp_path, content.replace("\n", end))) == [(1, "a", 1), (1, "b", 2)]
    path = write(tmp_path, f"1 5 6{end}2 5{end}", "log.txt")
    assert rows(load_interactions(path, item_column="1:")) == [(1, 5, 0), (1, 6, 1), (2, 5, 0)]


def test_a_quote_that_swallows_rows_between_cr_is_named(tmp_path: Path) -> None:
    lines = [
        "user,item,timestamp,title",
        '1,10,1,"a, b"',
        '1,11,2,"7 inch',
        "2,10,3,x",
        '2,11,4,12"',
    ]
    with pytest.raises(ValueError, match="opens in line 3"):
        load_text(tmp_path, "\r".join(lines) + "\r")


@pytest.mark.parametrize("name", ["log.csv", "log.txt", "log.zip"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_encodings_are_named(encoding: str, name: str, tmp_path: Path) -> None:
    content = "1 5 6\n1 7\n".encode(encoding)
    path = write(tmp_path, content, name)
    if name == "log.zip":
        with ZipFile(path, "w") as archive:
            archive.writestr("log.csv", content)
    with pytest.raises(ValueError, match=f"{name}: it is not text in UTF-8, perhaps UTF-16"):
        load_interactions(path, item_column="1:")


def test_lone_quotes_swallow_no_rows(tmp_path: Path) -> None:
    lines = [
        '1\t10\t1\t"7 inch tablet',
        "1\t11\t2\tCase",
        '2\t10\t3\t12" monitor"',
        "2\t11\t4\tPen",
    ]
    content = "user\titem\ttimestamp\ttitle\n" + "\n".join(lines)
    expected = [(1, 10, 1), (1, 11, 2), (2, 10, 3), (2, 11, 4)]
    assert rows(load_text(tmp_path, content, "log.tsv")) == expected
    assert rows(load_text(tmp_path, content.replace("\t", ","))) == expected
    assert rows(load_text(tmp_path, content, "log.inter")) == expected


def test_quotes_of_csv_hold_separators_quotes_and_lines(tmp_path: Path) -> None:
    content = '"user","text","item","time"\n"1","a, b","x ""y""","3"\n"2","first\nsecond","z","4"\n'
    assert rows(load_text(tmp_path, content)) == [(1, 'x "y"', 3), (2, "z", 4)]


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (['1,10,1,"a, b"', '1,11,2,"7 inch', "2,10,3,Case", '2,11,4,12"', "3,10,5,Pen"], 3),
        (['1,10,1,"a, b"', '1,11,2,"7 inch', "2,10,3,Case", '2,11,4,12" monitor"'], 3),
        (['1,10,1,"a, b"', '1,"11,2,x', "2,10,3,Case"], 3),
    ],
)
def test_a_quote_that_swallows_rows_is_named(lines: list[str], line: int, tmp_path: Path) -> None:
    content = "user,item,timestamp,title\n" + "\n".join(lines) + "\n"
    with pytest.raises(ValueError, match=f"log.csv.*(opens in line {line}|Row #)"):
        load_text(tmp_path, content)


TITLES = st.lists(st.text(st.sampled_from("ab\" '"), max_size=8), min_size=1, max_size=8)


@given(titles=TITLES, kind=st.sampled_from(["tsv", "csv"]))
def test_quotes_in_another_column_never_change_the_rows(
    titles: list[str], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mark = "\t" if kind == "tsv" else ","
    lines = [mark.join([str(i), "7", str(i), title]) for i, title in enumerate(titles)]
    path = tmp_path_factory.mktemp("quotes") / f"log.{kind}"
    path.write_text("\n".join([mark.join(["user", "item", "time", "title"]), *lines]) + "\n")
    assert rows(load_interactions(path)) == [(i, 7, i) for i in range(len(titles))]


TEXTS = st.lists(st.text(st.sampled_from('ab",\n '), max_size=8), min_size=1, max_size=6)


@given(texts=TEXTS)
def test_text_that_pandas_quoted_comes_back(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    n = range(len(texts))
    table = pd.DataFrame({"user": n, "note": texts, "item": [f"i{i}" for i in n], "time": n})
    path = tmp_path_factory.mktemp("quoted") / "log.csv"
    table.to_csv(path, index=False)
    assert rows(load_interactions(path)) == rows(table[["user", "item", "time"]])


RECBOLE = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n2\t7\t4\t5\n1\t8\t3\t6\n"


YOOCHOOSE = "2,1970-01-01T00:00:05.000Z,7,0\n1,1970-01-01T00:00:06.000Z,8,S\n"


RETAILROCKET = "timestamp,visitorid,event,itemid,transactionid\n5,2,view,7,\n6,1,view,8,\n"


LIBRECOMMENDER = "2::7::4::5\n1::8::3::6\n"


GOWALLA = "2\t1970-01-01T00:00:05Z\t30.2\t-97.7\t7\n1\t1970-01-01T00:00:06Z\t30.2\t-97.7\t8\n"


AMAZON = "".join(
    json.dumps({"reviewerID": user, "asin": item, "reviewText": 'say "a"', "unixReviewTime": time})
    + "\n"
    for user, item, time in ((2, 7, 5), (1, 8, 6))
)


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("ml.inter", RECBOLE, {}),
        ("yoochoose-clicks.dat", YOOCHOOSE, {"user_column": 0, "item_column": 2, "time_column": 1}),
        ("events.csv", RETAILROCKET, {}),
        ("ratings.dat", LIBRECOMMENDER, {"user_column": 0, "item_column": 1, "time_column": "3"}),
        ("Gowalla.txt", GOWALLA, {"user_column": "0", "item_column": "4", "time_column": "1"}),
        ("Beauty_5.json", AMAZON, {}),
        ("european.csv", "user;item;date\n2;7;01.01.1970 00:00:05\n1;8;01.01.1970 00:00:06\n", {}),
        ("pipes.txt", "user|item|time\n2|7|5\n1|8|6\n", {}),
        (
            "odd.csv",
            "who/what/when\n2/7/5\n1/8/6\n",
            {"separator": "/", "user_column": "who"}
            | {"item_column": "what", "time_column": "when"},
        ),
        ("titled.dat", "user::note::item::time\n2::a::7::5\n1::::8::6\n", {}),
    ],
)
def test_kinds_of_text(
    name: str, content: str, options: dict[str, str | int], tmp_path: Path
) -> None:
    expected = [(1, 8, 6), (2, 7, 5)]
    path = write(tmp_path, content, name)
    assert rows(load_interactions(path, **options)) == expected
    with gzip.open(tmp_path / f"{name}.gz", "wb") as file:
        file.write(content.encode())
    with ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr(f"inside/{name}", content)
    for other in (f"{name}.gz", "log.zip"):
        assert rows(load_interactions(tmp_path / other, **options)) == expected


def test_pairs_are_in_order_of_time(tmp_path: Path) -> None:
    expected = [(1, 9, 0), (1, 7, 1), (2, 8, 0)]
    assert rows(load_text(tmp_path, "1 9\n2 8\n1 7\n", "Beauty.txt")) == expected
    assert rows(load_text(tmp_path, "1,9\n2,8\n1,7\n")) == expected
    named = write(tmp_path, "user,item\n1,9\n2,8\n1,7\n")
    with pytest.raises(ValueError, match=r"no columns for timestamp.* order if the rows are in"):
        load_interactions(named)
    assert rows(load_interactions(named, time_column="order")) == expected
    by_number = load_interactions(named, user_column=0, item_column=1, time_column="order")
    assert rows(by_number) == expected


def test_one_name_is_enough_for_a_header(tmp_path: Path) -> None:
    path = write(tmp_path, "who,what,when\n1,7,5\n")
    options = {"user_column": 0, "item_column": 1, "time_column": "when"}
    assert rows(load_interactions(path, **options)) == [(1, 7, 5)]
    path = write(tmp_path, "user,item,when\n1,7,5\n")
    assert rows(load_interactions(path, time_column=2)) == [(1, 7, 5)]


def test_a_sequence_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "5 9 8 9\n\n3 7\n4\n", "log.txt")
    assert rows(load_interactions(path, item_column="1:")) == [
        (3, 7, 0),
        (5, 9, 0),
        (5, 8, 1),
        (5, 9, 2),
    ]
    sessions = load_interactions(path, item_column="0:")
    assert sessions.groupby("user")["item"].agg(list).tolist() == [[5, 9, 8, 9], [3, 7], [4]]
    path = write(tmp_path, "ann\tx,y\nbob\t007\n", "log.tsv")
    path = write(tmp_path, path.read_text().replace("\t", ","), "log.csv")
    assert load_interactions(path, item_column="1:")["item"].tolist() == ["x", "y", "007"]
    path = tmp_path / "log.parquet"
    lists = pd.DataFrame({"user": ["a", "b"], "item": [[3, 1], [2]], "time": [[1, 2], [1]]})
    lists.to_parquet(path)
    assert rows(load_interactions(path)) == [("a", 3, 1), ("a", 1, 2), ("b", 2, 1)]
    with pytest.raises(ValueError, match=r"log\.parquet: only a text has a sequence a line"):
        load_interactions(path, item_column="1:")
    lists.assign(time=[[1, 2], [1, 2]]).to_parquet(path)
    with pytest.raises(ValueError, match=r"log\.parquet: row 2 has 1 items and 2 times"):
        load_interactions(path)


@pytest.mark.parametrize(
    ("content", "item"),
    [
        ("1\t2 3 4\n5\t6 7\n", "'2 3 4'"),
        ("1,2 3 4\n", "'2 3 4'"),
        ('1 "2" "3"\n', "'\"2\"'"),
        ("1,[2,3]\n", r"'\[2'"),
    ],
)
def test_sequences_with_a_second_separator_or_quotes_are_refused(
    content: str, item: str, tmp_path: Path
) -> None:
    path = write(tmp_path, content, "log.txt")
    with pytest.raises(ValueError, match=rf"log\.txt: {item} is not a plain item.*the separator"):
        load_interactions(path, item_column="1:")


def test_other_columns_of_sequences_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "1 2 3\n", "log.txt")
    for options in ({"user_column": 1}, {"time_column": 2}):
        with pytest.raises(ValueError, match=r"log\.txt: a line is a user and items"):
            load_interactions(path, item_column="1:", **options)
    assert len(load_interactions(path, item_column="1:", user_column=0, time_column="order")) == 2


@given(
    log=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=5),
    mark=st.sampled_from([" ", ",", "\t", "::", ";"]),
)
def test_all_kinds_of_sequences_agree(
    log: list[list[int]], mark: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sequences")
    expected = [(u, i, n) for u, items in enumerate(log) for n, i in enumerate(items)]
    lines = [mark.join(map(str, [u, *items])) for u, items in enumerate(log)]
    path = write(folder, "\n".join(lines), "lines.txt")
    assert rows(load_interactions(path, item_column="1:", separator=mark)) == expected
    path = write(folder, "\n".join(line.split(mark, 1)[1] for line in lines), "sessions.txt")
    assert rows(load_interactions(path, item_column="0:", separator=mark)) == expected
    path = write(folder, "\n".join(f"{u}{mark}{i}" for u, i, _ in expected), "pairs.txt")
    assert rows(load_interactions(path)) == expected


def test_a_folder_in_a_zip_is_no_second_file(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("log/", "")
        archive.writestr("log/a.csv", HEADER + "1,2,3\n")
    assert rows(load_interactions(tmp_path / "log.zip")) == [(1, 2, 3)]


def test_several_files_in_a_zip_are_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("a.csv", HEADER + "1,2,3\n")
        archive.writestr("b.csv", HEADER + "1,2,3\n")
    with pytest.raises(ValueError, match=r"log\.zip: it holds 2 files; unpack"):
        load_interactions(tmp_path / "log.zip")


COUNTED = pa.proxy_memory_pool(pa.default_memory_pool())  # must outlive what it holds


def test_other_columns_and_long_ids_cost_little(tmp_path: Path) -> None:
    content = "user,item,review,time\n" + f"1,7,{'x' * 500},5\n" * 100_000
    path = write(tmp_path, content + f"{'y' * 20_000},7,,5\n")
    default = pa.default_memory_pool()
    pa.set_memory_pool(COUNTED)
    try:
        table = quietly(path)
    finally:
        pa.set_memory_pool(default)
    assert len(table) == 100_001
    assert 10**6 < COUNTED.max_memory() < path.stat().st_size / 2
