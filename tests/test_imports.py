"""What `import cprec_lib` brings, and what it does not."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import cprec_lib
from cprec_lib import (
    BlockEmbedding,
    BlockPartition,
    BlockSoftmax,
    DilatedCNN,
    FullEmbedding,
    FullSoftmax,
    LowRankSoftmax,
    ModelConfig,
    Ranks,
    SequenceData,
    SequentialRecommender,
    compare,
    count_parameters,
    cprec,
    evaluate,
    fit,
    load_interactions,
    load_titles,
    nextitnet,
)

ROOT = Path(__file__).parents[1]
HEAVY = (
    "matplotlib",
    "seaborn",
    "pooch",
    "ipywidgets",
    "typer",
    "IPython",
    "jupyterlab",
    "sklearn",
    "onnx",
    "onnxruntime",
    "fastapi",
)


def test_importing_the_library_loads_no_plotting_widgets_downloads_or_server():
    code = f"import sys; from cprec_lib import *; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("before", ["", "from cprec_lib import Codes, Hashing, Rounding"])
def test_the_search_for_a_small_model_is_imported_from_its_package(before: str):
    """Cheaply, and whether or not modules of the package are loaded already."""
    code = f"""
import sys
{before}
import cprec_lib.compress
print("torch" in sys.modules)
from cprec_lib.compress import compress
from cprec_lib.compress import budget, codes
assert compress is budget.compress is cprec_lib.compress.compress
print(codes.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    expected = f"{bool(before)}\ncprec_lib.compress.codes\n"
    assert (done.stdout, done.stderr) == (expected, "")


def test_a_broken_torch_leaves_help_and_doctor_working():
    code = """
import sys
sys.modules["torch"] = None
from cprec_lib.cli.app import app
app(sys.argv[1:])
"""
    for verb, status, expected in (
        ("--help", 0, "recommend"),
        ("doctor", 1, "fault torch does not load (ModuleNotFoundError)"),
    ):
        command = [sys.executable, "-c", code, verb]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert expected in done.stdout


def test_a_torch_that_lacks_a_library_of_the_system_leaves_doctor_working():
    code = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise OSError(f"libgomp.so.1: cannot open shared object file in {sys.prefix}")
sys.meta_path.insert(0, Broken())
from cprec_lib.cli.app import app
app(["doctor"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "fault torch does not load (OSError)" in done.stdout
    assert "How long the notebooks take here is unknown" in done.stdout
    assert sys.prefix not in done.stdout


def test_the_names_of_the_contract_are_there():
    names = """SHARING Bigram BlockEmbedding BlockPartition BlockSoftmax DilatedCNN FullEmbedding
    FullSoftmax GRU Ledger LowRankSoftmax ModelConfig Popularity Ranks SelfAttention SequenceData
    SequentialRecommender TrainConfig compare count_parameters cprec evaluate fit gru4rec nextitnet
    sasrec"""
    assert set(names.split()) <= set(cprec_lib.__all__)
    assert all(hasattr(cprec_lib, name) for name in cprec_lib.__all__)
    assert set(cprec_lib.__all__) <= set(dir(cprec_lib))
    with pytest.raises(AttributeError, match="attribute nothing"):
        cprec_lib.nothing  # noqa: B018


CONFIG = "n_items width dilations kernel_size cutoffs factor block_input block_softmax sharing"
SIGNATURES: list[tuple[Callable[..., object], str]] = [
    (load_interactions, "name_or_path data_dir"),
    (load_titles, "name data_dir"),
    (SequenceData.from_interactions, "table max_len split seed"),
    (BlockPartition, "n_items cutoffs widths"),
    (BlockPartition.decaying, "n_items cutoffs width factor"),
    (FullEmbedding, "n_items width"),
    (BlockEmbedding, "partition"),
    (FullEmbedding.forward, "self ids"),
    (BlockEmbedding.forward, "self ids"),
    (DilatedCNN, "width dilations kernel_size sharing"),
    (FullSoftmax, "width n_items"),
    (BlockSoftmax, "partition"),
    (LowRankSoftmax, "partition"),
    *((kind.nll, "self hidden targets") for kind in (FullSoftmax, BlockSoftmax, LowRankSoftmax)),
    *((kind.log_prob, "self hidden") for kind in (FullSoftmax, BlockSoftmax, LowRankSoftmax)),
    *(
        (kind.top_k, "self hidden k exclude")
        for kind in (FullSoftmax, BlockSoftmax, LowRankSoftmax)
    ),
    (ModelConfig, CONFIG),
    (nextitnet, "n_items"),
    (cprec, "n_items"),
    (SequentialRecommender, "config"),
    (SequentialRecommender.forward, "self ids"),
    (SequentialRecommender.loss, "self ids"),
    (SequentialRecommender.recommend, "self histories k exclude_seen"),
    (SequentialRecommender.save, "self folder"),
    (SequentialRecommender.load, "folder"),
    (count_parameters, "config"),
    (fit, "model data config"),
    (evaluate, "model data part"),
    (Ranks.metrics, "self k"),
    (compare, "ranks_a ranks_b"),
]


@pytest.mark.parametrize(
    ("function", "names"), [pytest.param(f, names, id=f.__qualname__) for f, names in SIGNATURES]
)
def test_the_contract_can_be_called_by_place_and_by_name(function, names):
    """The parameters in their order; others may follow, if they have defaults."""
    parameters = list(inspect.signature(function).parameters.values())
    expected = names.split()
    assert [parameter.name for parameter in parameters][: len(expected)] == expected
    for parameter in parameters[: len(expected)]:
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    for parameter in parameters[len(expected) :]:
        assert parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD
