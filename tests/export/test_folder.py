"""What an export writes, in which order, and what it refuses."""

from pathlib import Path

import pytest
import torch

from cprec_lib import (
    ModelConfig,
    SequentialRecommender,
    count_parameters,
    cprec,
    nextitnet,
    serve,
)
from cprec_lib.compress.codes import Codes
from cprec_lib.compress.compressor import Compressor, compress_with
from cprec_lib.compress.hashing import Hashing
from cprec_lib.compress.pruning import Pruning
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.runs import check_free
from cprec_lib.compress.tying import Tying
from cprec_lib.export import folder as exporting
from cprec_lib.export.folder import export_model, export_run
from cprec_lib.files import file_hash
from cprec_lib.serve.manifest import GRAPH, ITEMS, MANIFEST, STEP, TABLES, Manifest
from cprec_lib.serve.tables import map_tensors
from cprec_lib.train.checkpoints import CHECKPOINT
from cprec_lib.train.run_folder import Run, train
from tests.serve.exported import CONFIGS, ORIGINALS, TITLES, build, export

BLOCKS, WHOLE = cprec(3000, 64, (300, 1000)), nextitnet(3000, 64)


def test_a_run_is_exported_with_its_items(trained: Path, tmp_path: Path):
    manifest = export_run(trained, tmp_path / "out")
    run, served = Run.load(trained), serve.load(tmp_path / "out")
    assert manifest.name == "cprec"
    assert [*served.originals] == [*run.items["original"]]
    assert served.titles is served.originals  # a user's own table has no titles
    _, items = run.model.recommend([[3, 1]], 5)
    assert served.recommend([[3, 1]], 5)[1].tolist() == items.tolist()


def test_the_manifest_lists_every_file(tmp_path: Path):
    export("cross-block", tmp_path)
    written = {path.name for path in tmp_path.iterdir()} - {"run.lock"}
    assert written == {GRAPH, STEP, TABLES, ITEMS, MANIFEST}
    manifest = Manifest.read(tmp_path)
    assert manifest.sha256 == {name: file_hash(tmp_path / name) for name in manifest.sha256}
    assert {*manifest.sha256} == written - {MANIFEST}


def test_a_second_export_replaces_the_first(tmp_path: Path):
    export("cross-block", tmp_path)
    model = export("sasrec", tmp_path, seed=1)
    served = serve.load(tmp_path)
    assert served.recommend([[5]], 9)[1].tolist() == model.recommend([[5]], 9)[1].tolist()


def test_an_interrupted_export_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    export("cross-block", tmp_path)

    def stop(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        export("cross-block", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing"):
        serve.load(tmp_path)


def test_a_run_is_not_exported_into_its_own_folder(trained: Path):
    with pytest.raises(ValueError, match="already holds a run; choose another folder"):
        export_run(trained, trained)
    Run.load(trained)


def test_no_run_is_written_over_an_exported_model(tmp_path: Path):
    export("cross-block", tmp_path)
    with pytest.raises(ValueError, match="holds an exported model; choose another folder"):
        train(tmp_path, "synthetic:users=20", "nextitnet", resume=True)
    with pytest.raises(ValueError, match="holds an exported model; choose another folder"):
        check_free(tmp_path)
    serve.load(tmp_path)


def test_no_model_is_exported_over_a_run_that_was_interrupted(tmp_path: Path):
    (tmp_path / CHECKPOINT).touch()
    with pytest.raises(ValueError, match="already holds a run"):
        export("cross-block", tmp_path)


@pytest.mark.parametrize(
    ("config", "compressors"),
    [
        (BLOCKS, ()),
        (BLOCKS, (Rounding(8),)),
        (BLOCKS, (Rounding(4),)),
        (BLOCKS, (Pruning(0.1),)),
        (WHOLE, (Tying(), Codes(8))),
        (WHOLE, (Tying(), Codes(8), Rounding(4))),
        (WHOLE, (Tying(), Hashing(4))),
        (WHOLE, (Tying(), Hashing(4), Rounding(8))),
        (WHOLE, (Pruning(0.1),)),
    ],
    ids=str,
)
def test_a_compressed_model_takes_the_bytes_that_its_run_takes(
    config: ModelConfig, compressors: tuple[Compressor, ...], tmp_path: Path
):
    """Apart from biases and norms, names of the graph's nodes, and bounds."""
    model = SequentialRecommender(config)
    for compressor in compressors:
        model = compress_with(model, compressor)
    export_model(model, tmp_path, ["x"] * 3000)
    expected = count_parameters(model.config).bytes
    assert expected < serve.load(tmp_path).bytes < expected + 40_000


def test_a_tied_model_stores_its_tables_once(tmp_path: Path):
    export("tied blocks int4", tmp_path)
    shared = Manifest.read(tmp_path).shared
    assert shared["root.0.codes.columns"] == "embedding.0.codes.columns"
    assert shared["tail.1.scales.columns"] == "embedding.2.scales.columns"
    assert not {*shared} & {*map_tensors(tmp_path / TABLES)}


def test_what_cannot_be_exported_is_refused(tmp_path: Path):
    model = build(CONFIGS["nextitnet"])
    with pytest.raises(ValueError, match="59 titles for a model of 60 items"):
        export_model(model, tmp_path, ORIGINALS, TITLES[:-1])
    with torch.no_grad():
        model.softmax.output.bias[3] = torch.nan
    with pytest.raises(ValueError, match=r"softmax\.output\.bias holds NaN or infinity"):
        export_model(model, tmp_path, ORIGINALS)
    assert [*tmp_path.iterdir()] == []
