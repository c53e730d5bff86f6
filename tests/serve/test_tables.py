"""Tables and blocks against the embeddings of torch."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from cprec_lib import BlockEmbedding, FullEmbedding
from cprec_lib.compress.quantisation import RoundedTable, Rounding
from cprec_lib.export.tables import embedding_ends, embedding_tables, stored, tensors_of
from cprec_lib.serve.tables import Embedding, map_tensors, read_blocks, read_table
from cprec_lib.serve.tables import RoundedTable as RoundedRows
from tests.strategies import partitions


@pytest.mark.parametrize("decomposed", [False, True])
@given(partition=partitions(), seed=st.integers(0, 100))
def test_an_embedding_is_that_of_torch(decomposed, partition, seed):
    torch.manual_seed(seed)
    full = FullEmbedding(partition.n_items, partition.width)
    embedding = BlockEmbedding(partition) if decomposed else full
    blocks = read_blocks(stored(embedding_tables(embedding))[0], "embedding", partition.width)
    served = Embedding(blocks, embedding_ends(embedding), partition.width)
    ids = torch.randint(0, partition.n_items + 1, (3, 5))
    with torch.no_grad():
        np.testing.assert_allclose(served(ids.numpy()), embedding(ids).numpy(), atol=1e-5)


def test_a_product_with_one_vector_is_that_with_several():
    weights = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    table = read_table({"some.table": weights}, "some", 3)
    vectors = weights[:2]
    np.testing.assert_allclose(table.product(vectors)[:1], table.product(vectors[:1]), rtol=1e-6)
    np.testing.assert_array_equal(table.rows(np.array([2, 0])), weights[[2, 0]])


def test_a_table_that_is_not_there_is_an_error():
    with pytest.raises(KeyError, match="root"):
        read_table({}, "root.0", 3)


@pytest.mark.parametrize(("bits", "group"), [(8, None), (4, None), (4, 3), (8, 16)])
@pytest.mark.parametrize("width", [3, 5, 48])
@given(seed=st.integers(0, 100))
def test_a_rounded_table_is_that_of_torch(bits, group, width, seed):
    rounding = Rounding(bits, group if group and width % group == 0 else None)
    weight = torch.randn(2000, width, generator=torch.Generator().manual_seed(seed))
    rounded = RoundedTable(weight, rounding)
    tensors = {f"some.{part}": tensor for part, tensor in tensors_of(rounded).items()}
    table = read_table(stored(tensors.items())[0], "some", width)
    numbers, vectors = np.array([1999, 0, 7]), np.ascontiguousarray(weight[:4].numpy())
    np.testing.assert_array_equal(table.rows(numbers), rounded.rows(torch.from_numpy(numbers)))
    expected = rounded.scores(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(table.product(vectors), expected, atol=1e-4)
    np.testing.assert_allclose(table.product(vectors[:1]), expected[:1], atol=1e-4)


def test_a_product_unpacks_a_small_part_of_a_rounded_table():
    codes = np.ones((2**21, 16), np.int8)
    table = RoundedRows(codes, np.full((len(codes), 1), 0x3F80, np.uint16), 16)
    tracemalloc.start()
    found = table.product(np.ones((1, 16), np.float32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found == 16).all()
    assert peak < found.nbytes + 2**23  # all codes as floats would take 128 MiB


def test_the_tensors_of_a_file_are_mapped(tmp_path: Path):
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([-1], np.int8)}
    content = save(tensors, {"note": "x"})
    (tmp_path / "tables").write_bytes(content)
    found = map_tensors(tmp_path / "tables")
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array)
        assert not found[name].flags.owndata
        assert not found[name].flags.writeable
