"""Fetching: every source, and every way to fail."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cprec_lib.logs import datasets
from cprec_lib.logs.datasets import (
    is_present,
    load_interactions,
    load_titles,
)
from tests.logs.registry import (
    RECBOLE,
    SORTED,
    SORTED_1M,
    TITLES,
    Server,
    address_of,
    archive_of,
    expect,
    place,
    recbole_files,
    rows,
)


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
    with pytest.raises(OSError, match="the answer is not a zip file"):
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


@pytest.mark.network
def test_the_real_wheel_through_pip(
    tmp_path: Path, dead_host: None, request: pytest.FixtureRequest
) -> None:
    if "network" not in request.config.option.markexpr:
        pytest.skip("needs a package index; run it by `-m network`")
    table = load_interactions("ml-100k", tmp_path)
    assert (len(table), table["user"].nunique(), table["item"].nunique()) == (100_000, 943, 1_682)
    assert load_titles("ml-100k", tmp_path)[1] == "Toy Story (1995)"
