"""Loading: every parser on small files of its format, every source, and every way to fail."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest

from cprec_lib.data import datasets, formats
from cprec_lib.data.datasets import (
    data_folder,
    find_item,
    is_present,
    load_interactions,
    load_titles,
    title_of,
)

COLUMNS = ["user", "item", "timestamp"]
# Out of order, with a tie inside user 1 that the item has to break.
RATINGS = [(2, 10, 5, 300), (1, 30, 4, 200), (1, 20, 3, 200), (1, 10, 1, 100), (2, 30, 2, 250)]
# Items 20 and 30 share a second; the loader's seed happens to turn them round.
SORTED = [(1, 10, 100), (1, 30, 200), (1, 20, 200), (2, 30, 250), (2, 10, 300)]
TITLES = {10: "Toy Story (1995)", 20: "Misérables, Les (1995)", 30: "Star Wars: IV (1977)"}
CSV_TITLES = 'movieId,title,genres\r\n10,Toy Story (1995),A|B\r\n20,"Misérables, Les (1995)",A\r\n'
CSV_TITLES += "30,Star Wars: IV (1977),A\r\n"
MEMBERS = {
    "ml-100k": {
        "u.data": "".join("\t".join(map(str, row)) + "\n" for row in RATINGS),
        "u.item": "".join(f"{i}|{t} |01-Jan-1995||http://x|0|1\n" for i, t in TITLES.items())
        + "\n",
    },
    "ml-1m": {
        "ratings.dat": "".join("::".join(map(str, row)) + "\n" for row in RATINGS),
        "movies.dat": "".join(f"{i}::{t}::Drama|War\n" for i, t in TITLES.items()),
    },
    "ml-20m": {
        "ratings.csv": "userId,movieId,rating,timestamp\n"
        + "".join(",".join(map(str, row)) + "\n" for row in RATINGS),
        "movies.csv": CSV_TITLES,
    },
}
# Items 1 and 2 share a second in another order than that of ids; item 9 has too few ratings.
ML_1M = [(user, item, 4, 50) for user in (7, 3, 4, 5, 6) for item in (2, 1)]
ML_1M += [(3, 9, 5, 10), (3, 4, 1, 40), *((user, 4, 1, 60) for user in (4, 5, 6, 7))]
MEMBERS["ml-1m"]["ratings.dat"] = "".join("::".join(map(str, row)) + "\n" for row in ML_1M)
SORTED_1M = [(3, 4, 0), (3, 2, 1), (3, 1, 2)]
SORTED_1M += [(u, i, n) for u in (4, 5, 6, 7) for n, i in enumerate((2, 1, 4))]
MEMBERS["ml-25m"] = MEMBERS["ml-32m"] = MEMBERS["ml-20m"]
RECBOLE = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    + MEMBERS["ml-100k"]["u.data"],
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    + "".join(f"{i}\t{t[:-7]}\t{t[-5:-1]}\tDrama\n" for i, t in TITLES.items()),
}


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip file with these members."""
    stream = io.BytesIO()
    with ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def archive_of(name: str) -> bytes:
    """A small archive in the format of a MovieLens data set."""
    encoding = "latin-1" if name in ("ml-100k", "ml-1m") else "utf-8"
    return zipped({f"{name}/{m}": text.encode(encoding) for m, text in MEMBERS[name].items()})


def expect(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    source: int,
    contents: list[bytes],
    address: str = "",
) -> list[str]:
    """Let the registry expect these contents of a source's files; returns the files' names."""
    dataset = datasets.DATASETS[name]
    old = dataset.sources[source]
    files = tuple(
        dataclasses.replace(file, known_hash=f"sha256:{hashlib.sha256(content).hexdigest()}")
        for file, content in zip(old.files, contents, strict=True)
    )
    new = dataclasses.replace(old, files=files, address=address or old.address)
    sources = (*dataset.sources[:source], new, *dataset.sources[source + 1 :])
    changed = dataclasses.replace(dataset, sources=sources)
    monkeypatch.setitem(datasets.DATASETS, name, changed)
    return [file.name for file in files]


def place(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, source: int, contents: list[bytes]
) -> None:
    """Put the files of a source where a user would put them by hand."""
    for file, content in zip(expect(monkeypatch, name, source, contents), contents, strict=True):
        (folder / file).write_bytes(content)


def recbole_files() -> list[bytes]:
    return [text.encode() for text in RECBOLE.values()]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every attempt to reach a network, and to start pip, fail loudly."""

    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)


class Server(ThreadingHTTPServer):
    """Serves `content`, or only its first half under the length of the whole."""

    content = b""
    breaks_off = False
    requests = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        content = self.server.content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.server.breaks_off else content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def address_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/data.zip"


@pytest.fixture
def fake_pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A pip whose download brings a wheel with the small RecBole files; lists the commands."""
    commands: list[list[str]] = []
    folder = "recbole/dataset_example/ml-100k"
    wheel = zipped({f"{folder}/{name}": text.encode() for name, text in RECBOLE.items()})

    def run(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        (target,) = (Path(o.removeprefix("--dest=")) for o in command if o.startswith("--dest="))
        (target / "recbole-1.2.1-py3-none-any.whl").write_bytes(wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    expect(monkeypatch, "ml-100k", 1, recbole_files())
    return commands


@pytest.fixture
def broken_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no recbole here")

    monkeypatch.setattr(subprocess, "run", run)


@pytest.fixture
def dead_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every address resolves to nothing."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def rows(table: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(table.itertuples(index=False, name=None))


# ---- The parsers of the registry ----


def test_ratings_of_one_second_are_in_no_order_of_ids(tmp_path: Path) -> None:
    table = pd.DataFrame({"user": 1, "item": range(200), "rating": 5, "timestamp": 7})
    forward, backward = tmp_path / "forward.inter", tmp_path / "backward.inter"
    table.to_csv(forward, sep="\t", index=False)
    table[::-1].to_csv(backward, sep="\t", index=False)
    items = formats.read_recbole(forward)["item"]
    assert items.tolist() == formats.read_recbole(backward)["item"].tolist()
    assert sorted(items) == list(range(200))
    assert abs(np.corrcoef(items, np.arange(200))[0, 1]) < 0.2


@pytest.mark.parametrize("name", MEMBERS)
def test_movielens_archives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    place(monkeypatch, tmp_path, name, 0, [archive_of(name)])
    table = load_interactions(name, tmp_path)
    assert list(table.columns) == COLUMNS
    assert [str(kind) for kind in table.dtypes] == ["int32", "int32", "int64"]
    assert rows(table) == (SORTED_1M if name == "ml-1m" else SORTED)
    assert table.index.equals(pd.RangeIndex(len(table)))
    titles = load_titles(name, tmp_path)
    assert (titles.index.name, titles.name) == ("item", "title")
    assert titles.to_dict() == TITLES


def test_both_sources_of_ml_100k_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    (tmp_path / "zip").mkdir()
    (tmp_path / "wheel").mkdir()
    place(monkeypatch, tmp_path / "zip", "ml-100k", 0, [archive_of("ml-100k")])
    shuffled = [text.encode() for text in RECBOLE.values()]
    header, *lines = shuffled[0].decode().splitlines()
    shuffled[0] = "\n".join([header, *reversed(lines)]).encode()
    place(monkeypatch, tmp_path / "wheel", "ml-100k", 1, shuffled)
    both = [tmp_path / "zip", tmp_path / "wheel"]
    pd.testing.assert_frame_equal(*(load_interactions("ml-100k", folder) for folder in both))
    pd.testing.assert_series_equal(*(load_titles("ml-100k", folder) for folder in both))


def test_recbole_titles_of_movies_with_unusual_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = RECBOLE["ml-100k.item"] + "267\tunkonwn\tunkonwn\tunknown\n"
    items += "1412\tLand Before Time III (1995)\tV\tAnimation\n"
    place(monkeypatch, tmp_path, "ml-100k", 1, [recbole_files()[0], items.encode()])
    titles = load_titles("ml-100k", tmp_path)
    assert titles[267] == "unknown"
    assert titles[1412] == "Land Before Time III (1995) (V)"


RETAIL = [  # InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID
    (536365, "85123A", "WHITE LANTERN ", 6, 40513.25, 2.5, 17850),
    (536365, 71053, "METAL LANTERN", 6, 40513.25, 2.5, 17850),
    ("C536379", 71053, "Discount", -1, 40514, 2.5, 17850),
    ("C536380", 71053, "Cancelled", 1, 40514, 2.5, 17850),
    (536381, 71053, "Returned", -3, 40514, 2.5, 17850),
    (536382, 71053, "Nobody", 3, 40514, 2.5, None),
    (536383, 71053, "METAL BOX", 3, 40512.5, 2.5, 12346),
    (536384, 71053, "METAL BOX", 3, 40512.75, 2.5, 12346),
]


def workbook(table: list[tuple[object, ...]]) -> bytes:
    """The fewest parts that make a workbook; the fifth column is in a date format."""
    names = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice")
    lines = []
    for row in [(*names, "CustomerID"), *table]:
        cells = [
            f'<c t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'
            if isinstance(value, str)
            else f"<c{' s=' + chr(34) + '1' + chr(34) if column == 4 else ''}><v>{value}</v></c>"
            if value is not None
            else "<c/>"
            for column, value in enumerate(row)
        ]
        lines.append(f"<row>{''.join(cells)}</row>")
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    part = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{part}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{part}.styles+xml"/>'
        f'<Override PartName="/xl/sheet1.xml" ContentType="{part}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Online Retail" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{office}/worksheet" Target="sheet1.xml"/>'
        f'<Relationship Id="rId2" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>',
        "xl/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData>'
        "</worksheet>",
    }
    return zipped({name: text.encode() for name, text in parts.items()})


@pytest.fixture
def retail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Path:
    (tmp_path / "online-retail.zip").write_bytes(zipped({"Online Retail.xlsx": workbook(RETAIL)}))
    monkeypatch.setattr(formats, "RETAIL_COUNTS", (4, 2, 2))
    return tmp_path


def test_online_retail(retail: Path) -> None:
    pytest.importorskip("python_calamine")
    table = load_interactions("online-retail", retail)
    day = 1291075200  # 2010-11-30, day 40512 of the workbook
    assert rows(table) == [
        (12346, "71053", day + 43200),
        (12346, "71053", day + 64800),
        (17850, "85123A", day + 86400 + 21600),
        (17850, "71053", day + 86400 + 21600),
    ]
    assert load_titles("online-retail", retail).to_dict() == {
        "71053": "METAL BOX",
        "85123A": "WHITE LANTERN",
    }


def test_online_retail_with_other_counts_is_refused(
    retail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("python_calamine")
    monkeypatch.setattr(formats, "RETAIL_COUNTS", (5, 2, 2))
    with pytest.raises(ValueError, match=r"has \(4, 2, 2\) rows, users and items instead of \(5,"):
        load_interactions("online-retail", retail)


@pytest.mark.parametrize("there", [True, False])
def test_online_retail_names_the_package_that_reads_it_before_the_download(
    there: bool, retail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    if not there:
        (retail / "online-retail.zip").unlink()
    for load in (load_interactions, load_titles):
        with pytest.raises(OSError, match="not installed; run `pip install python-calamine`"):
            load("online-retail", retail)


@pytest.mark.parametrize("damage", ["half", "no sheet", "no workbook"])
def test_a_damaged_online_retail_is_a_sentence(damage: str, retail: Path) -> None:
    pytest.importorskip("python_calamine")
    path = retail / "online-retail.zip"
    content = path.read_bytes()
    middle = len(content) // 3
    path.write_bytes(
        {
            "half": content[:middle] + bytes(200) + content[middle + 200 :],
            "no sheet": zipped({"another.txt": b""}),
            "no workbook": zipped({"Online Retail.xlsx": b"no workbook"}),
        }[damage]
    )
    for load in (load_interactions, load_titles):
        with pytest.raises(ValueError, match=r"online-retail\.zip is damaged or another edition"):
            load("online-retail", retail)


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


def test_titles_for_figures() -> None:
    assert title_of("ml-1m") == "MovieLens-1M"
    assert title_of("logs/mine.csv") == "logs/mine.csv"
    assert all(dataset.name == name for name, dataset in datasets.DATASETS.items())
    assert len({title_of(name) for name in datasets.DATASETS}) == len(datasets.DATASETS)


# ---- Fetching ----


def test_a_download_longer_than_registered_is_broken_off(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = bytes(20 * 2**20)
    expect(monkeypatch, "ml-1m", 0, [server.content], address_of(server))
    with pytest.raises(OSError, match="the answer is longer than the 6 MB that are expected"):
        load_interactions("ml-1m", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_download_then_no_network(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    server.content = archive_of("ml-1m")
    expect(monkeypatch, "ml-1m", 0, [server.content], address_of(server))
    folder = tmp_path / "new" / "data"
    assert not is_present("ml-1m", folder)
    assert rows(load_interactions("ml-1m", folder)) == SORTED_1M
    first = capfd.readouterr()
    assert first.out.count("Licence: ") == first.out.count("doi 10.1145/2827872") == 1
    assert first.err == ""
    assert is_present("ml-1m", folder)
    assert [path.name for path in folder.iterdir()] == ["ml-1m.zip"]
    if os.name == "posix":
        assert (folder / "ml-1m.zip").stat().st_mode & 0o777 == 0o644

    request.getfixturevalue("no_network")
    assert rows(load_interactions("ml-1m", folder)) == SORTED_1M
    assert load_titles("ml-1m", folder).to_dict() == TITLES
    assert capfd.readouterr() == ("", "")
    assert server.requests == 1


def test_download_that_breaks_off_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content, server.breaks_off = archive_of("ml-1m"), True
    expect(monkeypatch, "ml-1m", 0, [server.content], address_of(server))
    with pytest.raises(OSError, match="ml-1m could not be fetched"):
        load_interactions("ml-1m", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_download_with_another_hash_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = archive_of("ml-1m")
    expect(monkeypatch, "ml-1m", 0, [b"something else"], address_of(server))
    with pytest.raises(OSError, match="does not match the known hash"):
        load_interactions("ml-1m", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_download_without_a_known_hash_must_be_a_zip_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = b"<html>Sorry, we moved</html>"
    dataset = datasets.DATASETS["online-retail"]
    source = dataclasses.replace(dataset.sources[0], address=address_of(server))
    changed = dataclasses.replace(dataset, sources=(source,), reader="")
    monkeypatch.setitem(datasets.DATASETS, "online-retail", changed)
    with pytest.raises(OSError, match="the answer is no zip file"):
        load_interactions("online-retail", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", [0, 1])
def test_full_disk_names_the_folder_and_leaves_nothing(
    source: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dead_host: None,
    fake_pip: list[list[str]],
) -> None:
    import pooch

    def fill_up(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if source == 0:
        monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fill_up)
    else:
        monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(OSError, match=r"needs [52] MB in .*, whose disk is full") as caught:
        load_interactions("ml-100k", tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(caught.value)
    assert "CPREC_DATA" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_second_source_when_the_first_fails(
    tmp_path: Path,
    dead_host: None,
    fake_pip: list[list[str]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert rows(load_interactions("ml-100k", tmp_path)) == SORTED
    assert load_titles("ml-100k", tmp_path).to_dict() == TITLES
    assert sorted(path.name for path in tmp_path.iterdir()) == list(RECBOLE)
    (command,) = fake_pip
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "recbole==1.2.1"} < set(command)
    out, err = capfd.readouterr()
    assert "This source failed: ConnectionError" in out
    assert out.count("Licence: ") == 1
    assert err == ""


def test_wheel_with_another_file_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead_host: None, fake_pip: list[list[str]]
) -> None:
    expect(monkeypatch, "ml-100k", 1, [b"another", b"file"])
    with pytest.raises(OSError, match=r"recbole==1.2.1: ValueError: .*ml-100k.inter is damaged"):
        load_interactions("ml-100k", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pip_that_brings_no_wheel_is_a_source_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead_host: None
) -> None:
    done = subprocess.CompletedProcess([], 0, "", "")
    monkeypatch.setattr(subprocess, "run", lambda command, **kwargs: done)
    with pytest.raises(OSError, match=r"OSError: pip download brought no wheel of recbole==1"):
        load_interactions("ml-100k", tmp_path)


def test_no_source_says_what_was_tried_and_what_to_do(
    tmp_path: Path, dead_host: None, broken_pip: None
) -> None:
    with pytest.raises(OSError, match="ml-100k could not be fetched") as caught:
        load_interactions("ml-100k", tmp_path)
    message = str(caught.value)
    assert "files.grouplens.org/datasets/movielens/ml-100k.zip: ConnectionError" in message
    assert "recbole==1.2.1: OSError: pip download failed: ERROR: no recbole here" in message
    for file in ("ml-100k.zip", "ml-100k.inter", "ml-100k.item"):
        assert str(tmp_path / file) in message


def test_damaged_file_names_both_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    content = archive_of("ml-1m")
    place(monkeypatch, tmp_path, "ml-1m", 0, [content])
    assert is_present("ml-1m", tmp_path)
    (tmp_path / "ml-1m.zip").write_bytes(content[:-1])
    assert not is_present("ml-1m", tmp_path)
    with pytest.raises(ValueError, match="Delete it") as caught:
        load_interactions("ml-1m", tmp_path)
    for part in (
        tmp_path / "ml-1m.zip",
        *(hashlib.sha256(c).hexdigest() for c in (content, content[:-1])),
    ):
        assert str(part) in str(caught.value)


def test_hand_placed_file_without_a_known_hash_must_be_a_zip_file(
    tmp_path: Path, no_network: None
) -> None:
    (tmp_path / "online-retail.zip").write_bytes(b"<html>Sorry, we moved</html>")
    assert not is_present("online-retail", tmp_path)
    with pytest.raises(ValueError, match=r"online-retail\.zip .*expected a zip file.*Delete it"):
        load_interactions("online-retail", tmp_path)


def test_half_of_a_source_is_not_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch, tmp_path, "ml-100k", 1, recbole_files())
    assert is_present("ml-100k", tmp_path)
    (tmp_path / "ml-100k.item").unlink()
    assert not is_present("ml-100k", tmp_path)


def test_folder_that_cannot_be_written(tmp_path: Path, no_network: None) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "data"
    with pytest.raises(OSError, match=r"cannot make the folder .*; set CPREC_DATA") as caught:
        load_interactions("ml-100k", folder)
    assert str(folder) in str(caught.value)


def test_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPREC_DATA", str(tmp_path / "room"))
    assert data_folder() == tmp_path / "room"
    assert data_folder(tmp_path) == tmp_path
    monkeypatch.delenv("CPREC_DATA")
    checkout = tmp_path / "checkout"
    package = checkout / "cprec_lib" / "data"
    package.mkdir(parents=True)
    monkeypatch.setattr(datasets, "__file__", str(package / "datasets.py"))
    assert data_folder().name == "cprec"
    (checkout / "pyproject.toml").touch()
    assert data_folder() == checkout.resolve() / "data"


@pytest.mark.network
def test_the_real_wheel_through_pip(
    tmp_path: Path, dead_host: None, request: pytest.FixtureRequest
) -> None:
    if "network" not in request.config.option.markexpr:
        pytest.skip("needs a package index; run it by `-m network`")
    table = load_interactions("ml-100k", tmp_path)
    assert (len(table), table["user"].nunique(), table["item"].nunique()) == (100_000, 943, 1_682)
    assert load_titles("ml-100k", tmp_path)[1] == "Toy Story (1995)"


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
