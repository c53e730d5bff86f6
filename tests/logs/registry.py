"""Small data sets in the formats of the registry, and a server that sends them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pytest

from cprec_lib.logs import datasets

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


def address_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/data.zip"


def rows(table: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(table.itertuples(index=False, name=None))
