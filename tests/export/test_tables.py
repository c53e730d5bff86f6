"""The tensors of a file: stored once, narrow ones by column, scales as bits."""

import numpy as np
import pytest
import torch

from cprec_lib.compress.compressor import compress_with
from cprec_lib.compress.quantisation import Rounding
from cprec_lib.compress.tying import Tying
from cprec_lib.export.tables import embedding_ends, model_tables, softmax_tables, stored
from cprec_lib.model.recommender import SequentialRecommender
from tests.serve.exported import CONFIGS, build


def test_narrow_tables_are_stored_by_column_and_others_by_row():
    tensors = {"a.table": torch.randn(40, 4), "b.table": torch.randn(40, 32)}
    arrays, shared = stored(tensors.items())
    assert {name: array.shape for name, array in arrays.items()} == {
        "a.table.columns": (4, 40),
        "b.table": (40, 32),
    }
    assert all(array.flags.c_contiguous for array in arrays.values())
    assert shared == {}


def test_equal_tensors_are_two_and_the_same_tensor_is_one():
    one = torch.ones(40, 32)
    arrays, shared = stored([("a.table", one), ("b.table", one), ("c.table", one.clone())])
    assert [*arrays] == ["a.table", "c.table"]
    assert shared == {"b.table": "a.table"}


def test_scales_keep_their_bits():
    scales = torch.tensor([[1.0], [-0.5], [3e-38]], dtype=torch.bfloat16)
    arrays, _ = stored([("a.scales", scales)])
    bits = arrays["a.scales.columns"][0].astype(np.uint32) << np.uint32(16)
    assert bits.view(np.float32).tolist() == scales.float().flatten().tolist()


def test_a_tied_and_rounded_model_stores_each_table_once():
    tied = build(CONFIGS["tied"])
    arrays, shared = model_tables(compress_with(tied, Rounding(8)))
    assert {*arrays} == {"embedding.0.codes.columns", "embedding.0.scales.columns", "root.bias"}
    assert {*shared} == {"root.0.codes.columns", "root.0.scales.columns"}
    assert Tying() in tied.config.compressors


@pytest.mark.parametrize(
    ("name", "inner"),
    [
        ("tied codes", {"centroids.table"}),
        ("tied codes int4", {"centroids.codes", "centroids.scales"}),
        ("tied hashing", {"quotients.table", "remainders.table"}),
        (
            "tied hashing int8",
            {"quotients.codes", "quotients.scales", "remainders.codes", "remainders.scales"},
        ),
    ],
)
def test_a_table_made_of_tables_is_stored_once(name: str, inner: set[str]):
    arrays, shared = model_tables(build(CONFIGS[name]))
    parts = {f"{part}.columns" for part in inner | ({"codes"} if "codes" in name else set())}
    others = {name for name in arrays if name.endswith("places")}  # three numbers
    assert {*arrays} - others == {f"embedding.0.{part}" for part in parts} | {"root.bias"}
    assert {*shared} == {f"root.0.{part}" for part in parts}


def test_unknown_parts_are_refused():
    model = SequentialRecommender(CONFIGS["nextitnet"])
    with pytest.raises(ValueError, match="DilatedCNN cannot be exported yet; register"):
        embedding_ends(model.middle)
    with pytest.raises(ValueError, match="DilatedCNN cannot be exported yet; register"):
        [*softmax_tables(model.middle)]
