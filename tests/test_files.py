"""Files arrive whole or not at all."""

import errno
import os
import re
import stat
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from cprec_lib.files import (
    LOCK,
    SECONDS_OF_A_WRITE,
    check_writable,
    file_hash,
    held,
    make_folder,
    named_path,
    save_tensors,
    sha256,
    write_bytes,
    write_text,
)


def test_files_are_written_and_replaced(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    write_text(path, "Amélie\n")
    assert path.read_bytes() == "Amélie\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_tensors_come_back_with_their_metadata(tmp_path):
    path = tmp_path / "tensors"
    strided = torch.arange(6.0).view(2, 3).T.requires_grad_()
    save_tensors(path, {"strided": strided, "count": torch.tensor(3)}, {"about": "a test"})
    with safe_open(path, "pt") as file:
        assert torch.equal(file.get_tensor("strided"), strided)
        assert file.get_tensor("count") == 3
        assert file.metadata() == {"about": "a test"}


class BrokenDisk:
    """Makes os.fsync fail: the content has then been written in part, as on a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.number = number
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        raise OSError(self.number, os.strerror(self.number))


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")
    BrokenDisk(monkeypatch, errno.ENOSPC)
    message = re.escape(f"cannot write file (3,000 bytes) into {tmp_path}: No space left on device")
    with pytest.raises(OSError, match=message) as caught:
        write_bytes(path, b"new" * 1000)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_there_until_the_new_one_is_on_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")
    seen = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(path.read_bytes()))
    write_bytes(path, b"new")
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"


def test_what_a_killed_writer_left_goes_with_a_later_write_and_nothing_else(tmp_path):
    """Another's write in progress is young; other files' temporary files are not ours to remove."""
    old = time.time() - SECONDS_OF_A_WRITE - 60
    orphan, young, others = (tmp_path / n for n in (".a[b].9.tmp", ".a[b].8.tmp", ".ab.9.tmp"))
    for temporary in (orphan, young, others):
        temporary.touch()
        if temporary != young:
            os.utime(temporary, (old, old))
    write_bytes(tmp_path / "a[b]", b"new")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a[b]", young, others])


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link, target = tmp_path / "link", tmp_path / "elsewhere" / "file"
    link.symlink_to("elsewhere/file")
    for content in (b"new", b"newer"):  # at first it points to nothing
        write_bytes(link, content)
        assert link.is_symlink() and target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=r"ymbolic links"):
        write_bytes(tmp_path / "a", b"new")


@pytest.mark.skipif(sys.platform == "win32", reason="no modes on Windows")
@pytest.mark.parametrize("mode", [0o600, 0o444, 0o664])
def test_an_old_file_keeps_its_mode_and_a_new_one_gets_the_usual(tmp_path, mode):
    new, old = tmp_path / "new", tmp_path / "old"
    new.touch()
    old.touch(mode)
    old.chmod(mode)
    write_bytes(old, b"content")
    assert stat.S_IMODE(old.stat().st_mode) == mode
    usual = new.stat().st_mode
    new.unlink()
    write_bytes(new, b"content")
    assert new.stat().st_mode == usual


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders on Windows")
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path):
    """As root, a new file would take the place of a device."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(os.devnull)
    for path in (tmp_path / "pipe", tmp_path / "folder", tmp_path / "link", Path(os.devnull)):
        kind = stat.S_IFMT(path.stat().st_mode)
        message = re.escape(f"{path} is not a regular file; choose another name")
        with pytest.raises(OSError, match=message):
            write_bytes(path, b"new")
        assert stat.S_IFMT(path.stat().st_mode) == kind
    assert len(list(tmp_path.iterdir())) == 3


def test_hashes_are_those_of_the_joined_parts_and_of_the_file(tmp_path):
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
    assert sha256([b"a", memoryview(b"bc")]) == known
    (tmp_path / "file").write_bytes(b"abc")
    assert file_hash(tmp_path / "file") == known
    assert file_hash(tmp_path / "file", "md5") == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_path_is_refused(text):
    """`Path("")` would be the current folder."""
    with pytest.raises(ValueError, match=r"the path is empty; give a name, or \. for the current"):
        named_path(text)
    assert named_path(".") == Path() and named_path("a b") == Path("a b")


def test_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    assert named_path("~/runs") == tmp_path / "runs"
    assert named_path("a~") == Path("a~")
    with pytest.raises(ValueError, match="~nosuchuser/runs: Could not determine home"):
        named_path("~nosuchuser/runs")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot write file .* into .*nowhere"):
        write_bytes(tmp_path / "nowhere" / "file", b"new")


def test_folders_are_made_with_their_parents_and_may_be_there(tmp_path):
    path = tmp_path / "a" / "b"
    assert make_folder(path) == path
    assert make_folder(path).is_dir()


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, path):
    (tmp_path / "file").touch()
    message = re.escape(f"cannot make the folder {tmp_path / path}: ") + ".*; choose another one"
    with pytest.raises(OSError, match=message):
        make_folder(tmp_path / path)


def test_a_folder_to_be_written_gets_nothing(tmp_path):
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_with_a_way_out(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "nowhere"):
        message = re.escape(f"the folder {folder} cannot be written (") + r".*\); call the keeper"
        with pytest.raises(OSError, match=message) as caught:
            check_writable(folder, "call the keeper")
        assert caught.value.errno in (errno.ENOTDIR, errno.ENOENT)


def test_a_folder_is_held_again_by_its_holder_and_by_nobody_afterwards(tmp_path):
    folder = tmp_path / "new"
    with held(folder), held(tmp_path / "." / "new"):
        assert sorted(path.name for path in folder.iterdir()) == [LOCK]
    with held(folder), pytest.raises(ValueError, match="in use by another process; wait until"):
        hold_elsewhere(folder)
    hold_elsewhere(folder)


def hold_elsewhere(folder):
    """In another thread, which is to the lock what another process is."""

    def hold():
        with held(folder):
            pass

    with ThreadPoolExecutor() as pool:
        pool.submit(hold).result()
