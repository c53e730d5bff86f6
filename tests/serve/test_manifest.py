"""A folder that is incomplete, changed, or of another version is refused with the way out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cprec_lib import serve
from cprec_lib.serve.manifest import GRAPH, ITEMS, MANIFEST, TABLES, Manifest
from tests.serve.conftest import Exported


@pytest.fixture
def folder(exported: Exported, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported("cross-block")[0], tmp_path / "copy"))


def change(folder: Path, **entries: Any) -> None:
    values = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**values, **entries}))


def test_a_manifest_is_read_as_it_was_written(folder: Path):
    manifest = Manifest.read(folder)
    manifest.write(folder)
    assert Manifest.read(folder) == manifest


def test_a_folder_without_a_manifest_is_no_model(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="cprec export --model RUN --out"):
        serve.load(tmp_path)


@pytest.mark.parametrize("name", [GRAPH, TABLES, ITEMS])
def test_a_changed_or_missing_file_is_named(folder: Path, name: str):
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not the file that manifest.json lists"):
        serve.load(folder)
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        serve.load(folder)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": 1}, "has the format 1, and this version of cprec-lib reads 2"),
        ({"n_items": "many"}, "n_items 'many' is not a whole number"),
        ({"window": 0}, "window 0 is below 1"),
        ({"lags": [[0]]}, "lag 0 is below 1"),
        ({"sha256": {}}, "not a model's files"),
        ({"sha256": {"../secret": "", GRAPH: "", TABLES: "", ITEMS: ""}}, "not a model's files"),
        ({"sha256": dict.fromkeys((GRAPH, TABLES, ITEMS), "")}, "not a model's files"),
        ({"sha256": [GRAPH, TABLES, ITEMS]}, "sha256 and shared are objects"),
        ({"shared": None}, "sha256 and shared are objects"),
        ({"name": float("nan")}, "name is a text"),
        ({"n_items": 59}, "embedding_ends does not end at the last item, 59"),
        ({"softmax_ends": []}, "softmax_ends does not end at the last item, 60"),
        ({"more": 1}, "unexpected keyword argument 'more'"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(folder: Path, entries, message):
    change(folder, **entries)
    with pytest.raises(ValueError, match=message):
        Manifest.read(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "no json", "[" * 100_000])
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str):
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match="is not that of an exported model"):
        Manifest.read(folder)
