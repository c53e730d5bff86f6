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
from cprec_lib.compress.codes import CodedTable
from cprec_lib.compress.compressor import Table
from cprec_lib.compress.hashing import HashedTable
from cprec_lib.compress.pruning import PrunedTable, Pruning
from cprec_lib.compress.quantisation import RoundedLookup, RoundedTable, Rounding
from cprec_lib.export.tables import embedding_ends, embedding_tables, stored, tensors_of
from cprec_lib.serve import tables
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


def served(table: Table, width: int) -> tables.Table:
    """What serving reads of a table of torch."""
    tensors = {f"some.{part}": tensor for part, tensor in tensors_of(table).items()}
    return read_table(stored(tensors.items())[0], "some", width)


def inner_rounded(table: Table, rounding: Rounding | None, *names: str) -> Table:
    """A table whose inner tables are rounded."""
    for name in names if rounding else ():
        setattr(table, name, RoundedLookup(getattr(table, name), rounding))
    return table


def coded(n_rows: int, rounding: Rounding | None) -> Table:
    return inner_rounded(CodedTable(FullEmbedding(n_rows, 12), 3), rounding, "centroids")


def hashed(n_rows: int, rounding: Rounding | None) -> Table:
    """Six quotients, of which 13 rows use five."""
    table = HashedTable(FullEmbedding(n_rows, 12), 6)
    return inner_rounded(table, rounding, "quotients", "remainders")


def pruned(n_rows: int, rounding: Rounding | None) -> Table:
    """The first and the last rows and all of a chunk in between keep nothing."""
    weight = torch.randn(n_rows, 12)
    for some in (slice(2), slice(5, 11), slice(-2, None)):
        weight[some] *= 1e-9
    return PrunedTable(weight, Pruning(0.2))


MAKERS = {
    f"{make.__name__}, {rounding}": (make, rounding)
    for make in (coded, hashed)
    for rounding in (None, Rounding(8), Rounding(4, group=2))
} | {"pruned": (pruned, None)}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("at_once", [36, tables.CODES])
@pytest.mark.parametrize("n_rows", [13, 600])
def test_a_compressed_table_is_that_of_torch(name, at_once, n_rows, monkeypatch):
    monkeypatch.setattr(tables, "CODES", at_once)
    torch.manual_seed(0)
    make, rounding = MAKERS[name]
    table = make(n_rows, rounding)
    found, vectors = served(table, 12), torch.randn(4, 12)
    numbers = torch.tensor([n_rows - 1, 0, 7, 7, 1])
    with torch.no_grad():
        rows, expected = table.rows(numbers).numpy(), table.scores(vectors).numpy()
    np.testing.assert_allclose(found.rows(numbers.numpy()), rows, rtol=1e-6)
    np.testing.assert_allclose(found.product(vectors.numpy()), expected, atol=1e-5)
    np.testing.assert_allclose(found.product(vectors[:1].numpy()), expected[:1], atol=1e-5)


@pytest.mark.parametrize(("bits", "group"), [(8, None), (4, None), (4, 3), (8, 16)])
@pytest.mark.parametrize("width", [3, 5, 48])
@given(seed=st.integers(0, 100))
def test_a_rounded_table_is_that_of_torch(bits, group, width, seed):
    rounding = Rounding(bits, group if group and width % group == 0 else None)
    weight = torch.randn(2000, width, generator=torch.Generator().manual_seed(seed))
    rounded = RoundedTable(weight, rounding)
    table = served(rounded, width)
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


@pytest.mark.parametrize("make", [coded, hashed, pruned], ids=lambda make: make.__name__)
def test_a_product_unpacks_a_small_part_of_a_compressed_table(make):
    table, vectors = served(make(2**20, None), 12), np.ones((1, 12), np.float32)
    tracemalloc.start()
    found = table.product(vectors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < found.nbytes + 2**23  # all rows as floats would take 48 MiB


def test_the_tensors_of_a_file_are_mapped(tmp_path: Path):
    tensors = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([-1], np.int8),
        "c": np.array([0.5, -2], np.float16),
        "d": np.array([-300], np.int16),
    }
    content = save(tensors, {"note": "x"})
    (tmp_path / "tables").write_bytes(content)
    found = map_tensors(tmp_path / "tables")
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array)
        assert not found[name].flags.owndata
        assert not found[name].flags.writeable
